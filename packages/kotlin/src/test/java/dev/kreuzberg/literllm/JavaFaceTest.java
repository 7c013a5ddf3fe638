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
    void messagesAreMadeByName() {
        List<Message> messages = List.of(ChatMessage.user("hi"), ChatMessage.assistant("ho"));
        assertEquals("ho", Messages.getText(messages.get(1)));
    }
}
