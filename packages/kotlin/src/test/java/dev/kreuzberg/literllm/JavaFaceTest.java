package dev.kreuzberg.literllm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;

/** What Java sees: blocking calls, iterators and streams to be closed, futures. */
class JavaFaceTest {
    private static final LlmClient client = Mock.INSTANCE.client();
    private static final BlockingLlmClient blocking = client.blocking();

    @AfterAll
    static void close() {
        client.close();
    }

    private static ChatCompletionRequest request() {
        return new ChatRequest("openai/demo").system("Be brief").user("Tell me a story").maxTokens(100).build();
    }

    @Test
    void anAnswerIsWaitedFor() {
        ChatCompletion answer = blocking.chat(request(), Mock.INSTANCE.options("text=one two; usage=3,2"));
        assertEquals("one two", Messages.getText(answer));
        assertEquals(5L, answer.getUsage().getTotalTokens());
        assertEquals(0, answer.getChoices().get(0).getIndex());
    }

    @Test
    void aFutureBringsTheAnswer() throws Exception {
        CompletableFuture<ChatCompletion> answer = blocking.chatAsync(request(), Mock.INSTANCE.options("text=one two"));
        assertEquals("one two", Messages.getText(answer.get(20, TimeUnit.SECONDS)));
    }

    @Test
    void cancellingTheFutureClosesTheConnection() {
        String id = Mock.INSTANCE.name();
        CompletableFuture<ChatCompletion> answer =
                blocking.chatAsync(request(), Mock.INSTANCE.options("headers_after=60000; id=" + id));
        Mock.INSTANCE.wait(id, "request");
        answer.cancel(true);
        Mock.INSTANCE.wait(id, "left");
        assertTrue(answer.isCancelled());
    }

    @Test
    void aStreamIsRead() {
        try (var chunks = blocking.chatStream(request(), Mock.INSTANCE.options("text=one two"))) {
            StringBuilder text = new StringBuilder();
            while (chunks.hasNext()) {
                text.append(Messages.getText(chunks.next()));
            }
            assertEquals("one two", text.toString());
            assertEquals("one two", Messages.getText(chunks.completion()));
        }
        try (var chunks = blocking.chatStream(request(), Mock.INSTANCE.options("text=one two")).stream()) {
            assertEquals("one two", chunks.map(Messages::getText).collect(Collectors.joining()));
        }
    }

    @Test
    void leavingTheBlockClosesTheConnection() {
        String id = Mock.INSTANCE.name();
        try (var chunks = blocking.chatStream(request(), Mock.INSTANCE.options("chunks=100000; bytes=200; pace=5; id=" + id))) {
            chunks.next();
        }
        Mock.INSTANCE.wait(id, "left");
    }

    @Test
    void anErrorHasItsClassAndFields() {
        LlmException.RateLimited error = assertThrows(LlmException.RateLimited.class, () -> {
            var config = "{\"api_keys\": {\"openai\": \"k\"}, \"max_retries\": 0, \"base_urls\": {\"openai\": \""
                    + Mock.INSTANCE.getAddress() + "/v1\"}}";
            try (var client = LlmClient.fromJson(config)) {
                client.blocking().chat(request(), Mock.INSTANCE.options("status=429; retry_after=7"));
            }
        });
        assertEquals(429, error.getStatus());
        assertEquals(7.0, error.getRetryAfter());
        assertTrue(error.isRetryable());
    }

    @Test
    void hooksMayBlock() {
        String id = Mock.INSTANCE.name();
        BlockingHooks hooks = new BlockingHooks() {
            @Override
            public Before beforeRequest(HookContext at, ChatCompletionRequest request) {
                if (at.getModel().contains("forbidden")) {
                    throw CallHooks.llmException(ErrorKind.PERMISSION, "not this one");
                }
                return new Before.Ask(request);
            }
        };
        var config = "{\"api_keys\": {\"openai\": \"k\"}, \"base_urls\": {\"openai\": \"" + Mock.INSTANCE.getAddress() + "/v1\"}}";
        try (var client = LlmClient.fromJson(config, List.of(hooks))) {
            var well = new ChatRequest("openai/demo?text=one").user("Hi").build();
            assertEquals("one", Messages.getText(client.blocking().chat(well)));
            var ill = new ChatRequest("openai/forbidden?id=" + id).user("Hi").build();
            assertThrows(LlmException.Permission.class, () -> client.blocking().chat(ill));
        }
        assertEquals(0, Mock.INSTANCE.log(id).size());
    }

    @Test
    void aListOfModelsGoesOn() {
        var request = new ChatRequest(List.of("openai/demo?status=500", "openai/other?text=one")).user("Hi").build();
        assertEquals("one", Messages.getText(blocking.chat(request)));
        assertEquals(2, Messages.getModels(request).size());
    }

    @Test
    void messagesAreMadeByName() {
        List<Message> messages = List.of(ChatMessage.user("hi"), ChatMessage.assistant("ho"));
        assertEquals("ho", Messages.getText(messages.get(1)));
    }
}
