/* The C ABI over the mock provider: every function, every ending. Run as: abi http://127.0.0.1:PORT [test…] */
#include "harness.h"

static void every_function_takes_null(void) {
    literllm_client *client = client_with("");
    literllm_text request = ask("text=hi");
    literllm_call_resume(NULL);
    literllm_call_cancel(NULL);
    literllm_call_free(NULL);
    CHECK(literllm_call_response(NULL) == NULL, "the answer so far of NULL");
    literllm_client_free(NULL);
    literllm_error_free(NULL);
    literllm_response_free(NULL);
    literllm_stream_free(NULL);
    literllm_stream_cancel(NULL);
    CHECK(literllm_stream_next(NULL, NULL, NULL) == LITERLLM_NEXT_ERROR, "next of NULL");
    CHECK(literllm_stream_fd(NULL) == -1, "descriptor of NULL");
    CHECK(literllm_stream_response(NULL) == NULL && literllm_stream_error(NULL) == NULL, "ending of NULL");
    CHECK(literllm_chunk_json(NULL).data == NULL && literllm_response_json(NULL).data == NULL && literllm_error_json(NULL).data == NULL, "json of NULL");
    CHECK(literllm_text_of(NULL).data == NULL, "text of NULL");

    literllm_error *errors[] = {
        literllm_client_new(NONE, NULL),
        literllm_client_new_with(NULL, NULL),
        literllm_client_chat_blocking(NULL, request, NONE, NULL),
        literllm_client_chat_blocking(client, NONE, NONE, NULL),
        literllm_client_chat_stream_blocking(NULL, request, NONE, on_chunks, NULL, NULL),
        literllm_client_open_stream(NULL, request, NONE, NULL),
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        CHECK(errors[i] && errors[i]->kind == LITERLLM_ERROR_KIND_INVALID_REQUEST, "call %zu with NULL", i);
        literllm_error_free(errors[i]);
    }
    CHECK(literllm_client_open_stream(client, request, NONE, NULL) == NULL, "an unwanted stream");
    CHECK(literllm_client_chat_blocking(client, request, NONE, NULL) == NULL, "an unwanted response");
    CHECK(literllm_client_chat_stream_blocking(client, request, NONE, NULL, NULL, NULL) == NULL, "no callback");

    /* Without on_done nothing is done; a NULL handle or request ends in on_done before the return. */
    literllm_client_chat(client, request, NONE, NULL, NULL, NULL);
    literllm_client_chat_stream(client, request, NONE, on_chunks, NULL, NULL, NULL);
    outcome o;
    outcome_init(&o);
    literllm_client_chat_stream(NULL, request, NONE, on_chunks, on_done, &o, &o.call);
    CHECK(o.done == 1 && o.kind == LITERLLM_ERROR_KIND_INVALID_REQUEST && o.call == NULL, "no client");
    literllm_client_chat(client, NONE, NONE, on_done, &o, &o.call);
    CHECK(o.done == 2 && o.kind == LITERLLM_ERROR_KIND_INVALID_REQUEST && o.call == NULL, "no request");
    literllm_client_chat(client, literllm_text_of("{"), NONE, on_done, &o, NULL);
    CHECK(o.done == 3 && o.kind == LITERLLM_ERROR_KIND_INVALID_REQUEST, "half a request");
    literllm_client_chat(client, request, literllm_text_of("{\"tiemout\":1}"), on_done, &o, NULL);
    CHECK(o.done == 4 && strstr(o.message, "tiemout"), "misspelt options: %s", o.message);
    outcome quiet;
    outcome_init(&quiet);
    literllm_client_chat_stream(client, request, NONE, NULL, on_done, &quiet, NULL);
    CHECK(wait_for(&quiet, &quiet.done, 1) && quiet.complete, "a stream without on_chunks and without a handle: %s", quiet.message);
    literllm_client_free(client);
}

static void clients_are_made_of_json_and_of_options(void) {
    char url[128];
    snprintf(url, sizeof url, "%s/v1", mock_url);
    literllm_client_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.api_key = "test-key-1234";
    options.base_url = url;
    options.provider = "openai";
    options.max_retries = -1;
    options.first_token_timeout = 0.3;
    literllm_client *client = NULL;
    literllm_error *error = literllm_client_new_with(&options, &client);
    CHECK(error == NULL, "options");
    literllm_response *response = NULL;
    error = literllm_client_chat_blocking(client, ask("text=good"), NONE, &response);
    CHECK(error == NULL && response && same(response->choices[0]->message->content, "good"), "an answer");
    literllm_response_free(response);
    error = literllm_client_chat_stream_blocking(client, ask("stall=0"), NONE, NULL, NULL, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_TIMEOUT && error->retryable, "the deadline of the options");
    literllm_error_free(error);
    literllm_client_free(client);

    /* An older caller's struct is shorter. */
    options.size = offsetof(literllm_client_options, connect_timeout);
    error = literllm_client_new_with(&options, &client);
    CHECK(error == NULL, "a short struct");
    literllm_client_free(client);

    client = NULL;
    error = literllm_client_new(literllm_text_of("{\"api_keey\":\"sk-secret-secret\"}"), &client);
    CHECK(error && client == NULL && error->kind == LITERLLM_ERROR_KIND_INVALID_REQUEST, "a misspelt field");
    CHECK(error && !strstr(error->message.data, "sk-secret"), "the key is in the message");
    literllm_error_free(error);
    options.size = sizeof options;
    options.base_url = "\xff";
    error = literllm_client_new_with(&options, &client);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_INVALID_REQUEST, "text that is not UTF-8");
    literllm_error_free(error);
    error = literllm_client_new(NONE, &client);
    CHECK(error == NULL, "the default client");
    literllm_client_free(client);
    CHECK(strchr(literllm_version(), '.') != NULL, "version %s", literllm_version());
}

static void a_whole_answer_has_its_fields(void) {
    literllm_client *client = client_with("");
    literllm_response *response = NULL;
    literllm_error *error = literllm_client_chat_blocking(
        client, ask("text=Hello there&usage=9,3,4,2&request_id=req_7&tool=weather:{\\\"city\\\":\\\"Oslo\\\"}"), NONE, &response);
    CHECK(error == NULL, "%s", error ? error->message.data : "");
    CHECK(response->size == sizeof *response && response->choices_length == 1, "shape");
    const literllm_choice *choice = response->choices[0];
    CHECK(same(choice->message->content, "Hello there") && same(choice->message->role, "assistant"), "message");
    CHECK(same(choice->finish_reason, "tool_calls"), "finish reason");
    CHECK(choice->message->tool_calls_length == 1 && same(choice->message->tool_calls[0]->name, "weather"), "tool call");
    CHECK(same(choice->message->tool_calls[0]->arguments, "{\"city\":\"Oslo\"}"), "arguments");
    CHECK(response->usage && response->usage->prompt_tokens == 9 && response->usage->completion_tokens == 3, "usage");
    CHECK(response->usage && response->usage->cached_tokens == 4 && response->usage->reasoning_tokens == 2, "usage in detail");
    CHECK(same(response->provider, "openai") && same(response->request_id, "req_7"), "who answered");
    literllm_text json = literllm_response_json(response);
    CHECK(json.length > 2 && json.data[0] == '{' && json.data == literllm_response_json(response).data, "json");
    literllm_response_free(response);

    outcome o;
    outcome_init(&o);
    literllm_client_chat(client, ask("text=later"), NONE, on_done, &o, &o.call);
    CHECK(wait_for(&o, &o.done, 1) && o.complete, "chat by callback: %s", o.message);
    literllm_call_cancel(o.call);
    literllm_call_free(o.call);
    outcome_init(&o);
    literllm_client_chat(client, ask("headers_after=20000&id=c-chat"), NONE, on_done, &o, &o.call);
    CHECK(mock_saw("c-chat", "request"), "the request has come");
    literllm_call_cancel(o.call);
    CHECK(wait_for(&o, &o.done, 1) && o.kind == LITERLLM_ERROR_KIND_CANCELLED, "a cancelled chat");
    CHECK(mock_saw("c-chat", "left"), "its connection is closed");
    literllm_call_free(o.call);
    literllm_client_free(client);
}


static uint32_t check_fields(void *user_data, const literllm_chunk *const *chunks, size_t count) {
    int *seen = user_data;
    for (size_t i = 0; i < count; i++) {
        const literllm_chunk *chunk = chunks[i];
        CHECK(chunk->id.length > 0 && chunk->model.length > 0 && chunk->created > 0, "identity");
        literllm_text json = literllm_chunk_json(chunk);
        CHECK(json.length > 0 && json.data == literllm_chunk_json(chunk).data, "json");
        if (chunk->usage) {
            CHECK(chunk->choices_length == 0 && chunk->usage->total_tokens == 12, "usage chunk");
            seen[0]++;
        }
        for (size_t c = 0; c < chunk->choices_length; c++) {
            const literllm_chunk_choice *choice = chunk->choices[c];
            CHECK(choice->size == sizeof *choice && choice->delta->size == sizeof *choice->delta, "sizes");
            if (choice->delta->role.data) seen[1]++;
            if (choice->delta->reasoning_content.length) seen[2]++;
            if (choice->delta->content.length) seen[3]++;
            if (choice->finish_reason.data) seen[4]++;
            for (size_t t = 0; t < choice->delta->tool_calls_length; t++) {
                const literllm_tool_call *call = choice->delta->tool_calls[t];
                if (call->id.data) {
                    CHECK(same(call->kind, "function") && call->name.length > 0, "a call's first piece");
                    seen[5]++;
                }
                CHECK(call->index < 2 && call->size == sizeof *call, "a call's number");
            }
        }
    }
    return LITERLLM_FLOW_CONTINUE;
}

static void chunks_have_their_fields(void) {
    literllm_client *client = client_with("");
    int seen[6] = {0};
    literllm_response *response = NULL;
    literllm_error *error = literllm_client_chat_stream_blocking(
        client, ask("text=one two&reasoning=hm&usage=9,3&tool=a:{}&tool=b:{\\\"x\\\":1}"), NONE, check_fields, seen, &response);
    CHECK(error == NULL, "%s", error ? error->message.data : "");
    CHECK(seen[0] == 1 && seen[1] == 1 && seen[2] > 0 && seen[3] > 0 && seen[4] == 1 && seen[5] == 2, "seen %d %d %d %d %d %d", seen[0],
          seen[1], seen[2], seen[3], seen[4], seen[5]);
    CHECK(response && same(response->choices[0]->message->content, "one two"), "the whole answer");
    CHECK(response && same(response->choices[0]->message->reasoning_content, "hm"), "the whole thinking");
    literllm_response_free(response);
    literllm_client_free(client);
}

static void errors_have_their_fields(void) {
    literllm_client *client = client_with("");
    literllm_error *error = literllm_client_chat_blocking(
        client, ask("status=429&retry_after=7&error_code=too_fast&request_id=req_9&error_message=slow down"), NONE, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_RATE_LIMITED && error->status == 429 && error->retryable, "kind and status");
    CHECK(error && error->retry_after == 7.0, "retry after");
    CHECK(error && same(error->provider, "openai") && error->model.length > 0 && same(error->request_id, "req_9"), "who said it");
    CHECK(error && same(error->code, "too_fast") && error->body.length > 0 && strstr(error->message.data, "slow down"), "what it said");
    CHECK(error && error->partial == NULL && error->causes_length == 0, "no partial");
    literllm_text json = literllm_error_json(error);
    CHECK(json.length > 0 && json.data == literllm_error_json(error).data, "json");
    literllm_error_free(error);

    error = literllm_client_chat_stream_blocking(client, ask("text=one two three&cut=3"), NONE, NULL, NULL, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_TRUNCATED && error->partial, "truncated");
    CHECK(error && error->partial && same(error->partial->choices[0]->message->content, "one two"), "partial");
    CHECK(error && strcmp(literllm_error_kind_name(error->kind), "truncated") == 0, "name");
    CHECK(strcmp(literllm_error_kind_name(99), "unknown") == 0, "no name");
    literllm_error_free(error);
    literllm_client_free(client);
}

static void a_stream_ends_once(void) {
    const struct {
        const char *behaviour;
        unsigned kind;
        const char *text;
    } endings[] = {
        {"text=one two three", 0, "one two three"},
        {"status=500", LITERLLM_ERROR_KIND_SERVER, ""},
        {"text=one two three&error_at=3", LITERLLM_ERROR_KIND_SERVER, "one two"},
        {"text=one two three&cut=3", LITERLLM_ERROR_KIND_TRUNCATED, "one two"},
        {"hangup=1", LITERLLM_ERROR_KIND_NETWORK, ""},
    };
    literllm_client *client = client_with("");
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        outcome o;
        outcome_init(&o);
        start(client, &o, endings[i].behaviour);
        CHECK(wait_for(&o, &o.done, 1), "%s has no end", endings[i].behaviour);
        CHECK(o.kind == endings[i].kind && o.complete == (o.kind == 0), "%s: kind %u", endings[i].behaviour, o.kind);
        o.text[o.length] = 0;
        CHECK(strcmp(o.text, endings[i].text) == 0, "%s: %s", endings[i].behaviour, o.text);
        CHECK(o.kind == 0 || strcmp(o.partial, endings[i].text) == 0, "%s: partial %s", endings[i].behaviour, o.partial);
        literllm_call_free(o.call);
        CHECK(o.done == 1, "done %d times", o.done);
    }
    literllm_client_free(client);
}

static void stop_ends_it(void) {
    literllm_client *client = client_with("");
    outcome o;
    outcome_init(&o);
    o.answer = LITERLLM_FLOW_STOP;
    start(client, &o, "text=one two three&withhold=2&id=c-stop");
    CHECK(wait_for(&o, &o.done, 1) && o.kind == LITERLLM_ERROR_KIND_CANCELLED && o.batches == 1, "stop: %d batches", o.batches);
    CHECK(mock_saw("c-stop", "left"), "the connection is closed");
    literllm_call_free(o.call);

    outcome_init(&o);
    o.answer = LITERLLM_FLOW_STOP;
    literllm_error *error = literllm_client_chat_stream_blocking(client, ask("text=one two&withhold=2&id=c-stop2"), NONE, on_chunks, &o, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_CANCELLED && o.batches == 1, "stop in the blocking form");
    CHECK(mock_saw("c-stop2", "left"), "the connection is closed");
    literllm_error_free(error);
    literllm_client_free(client);
}

static void cancel_from_another_thread_closes_the_connection(void) {
    literllm_client *client = client_with("");
    outcome o;
    outcome_init(&o);
    start(client, &o, "text=one two three&stall=3&id=c-cancel");
    CHECK(wait_for(&o, &o.chunks, 3), "three chunks");
    double began = now();
    literllm_call_cancel(o.call);
    CHECK(wait_for(&o, &o.done, 1) && o.kind == LITERLLM_ERROR_KIND_CANCELLED, "cancelled");
    CHECK(strcmp(o.partial, "one two") == 0, "partial %s", o.partial);
    CHECK(mock_saw("c-cancel", "left"), "the connection is closed");
    CHECK(now() - began < 1.0, "it took %f s", now() - began);
    literllm_call_free(o.call);

    /* Also where all of the answer has come: it is not whole for who was handed a part of it. */
    for (int i = 0; i < 1000; i++) {
        outcome_init(&o);
        start(client, &o, "text=one two three");
        struct timespec about_as_long_as_it_takes = {0, i % 100 * 5000};
        nanosleep(&about_as_long_as_it_takes, NULL);
        literllm_call_cancel(o.call);
        CHECK(wait_for(&o, &o.done, 1), "over");
        o.text[o.length] = 0;
        CHECK(!o.complete || strcmp(o.text, "one two three") == 0, "complete with \"%s\"", o.text);
        literllm_call_free(o.call);
    }
    literllm_client_free(client);
}

static void free_while_streaming_cancels(void) {
    literllm_client *client = client_with("");
    outcome o;
    outcome_init(&o);
    start(client, &o, "text=one two three&stall=3&id=c-free");
    CHECK(wait_for(&o, &o.chunks, 3), "three chunks");
    literllm_call_free(o.call);
    CHECK(wait_for(&o, &o.done, 1) && o.kind == LITERLLM_ERROR_KIND_CANCELLED, "cancelled");
    CHECK(mock_saw("c-free", "left"), "the connection is closed");
    literllm_client_free(client);
}

static void a_client_freed_while_streaming_ends_no_stream(void) {
    literllm_client *client = client_with("");
    outcome o;
    outcome_init(&o);
    start(client, &o, "text=one two three&withhold=2&id=c-client");
    CHECK(wait_for(&o, &o.chunks, 2), "two chunks");
    literllm_client_free(client);
    CHECK(mock_ask("POST", "/_mock/release?id=c-client&n=all") == 200, "release");
    CHECK(wait_for(&o, &o.done, 1) && o.complete, "complete: %s", o.message);
    literllm_call_free(o.call);
}

static void resume_now(outcome *o) { literllm_call_resume(o->call); }

static void a_pause_holds_until_it_is_resumed(void) {
    literllm_client *client = client_with("");
    outcome o;
    outcome_init(&o);
    o.answer = LITERLLM_FLOW_PAUSE;
    start(client, &o, "text=one two three&pace=20&id=c-pause");
    CHECK(wait_for(&o, &o.batches, 1), "a batch");
    /* The whole answer is on its way, and nothing of it is handed over. */
    CHECK(mock_saw("c-pause", "done"), "the mock has sent all");
    struct timespec a_second = {1, 0};
    nanosleep(&a_second, NULL);
    CHECK(o.batches == 1 && o.done == 0, "%d batches in the pause", o.batches);
    for (int batch = 2; o.done == 0 && batch < 50; batch++) {
        literllm_call_resume(o.call);
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    o.answer = LITERLLM_FLOW_CONTINUE;
    literllm_call_resume(o.call);
    CHECK(wait_for(&o, &o.done, 1) && o.complete, "complete: %s", o.message);
    o.text[o.length] = 0;
    CHECK(strcmp(o.text, "one two three") == 0, "%s", o.text);
    literllm_call_free(o.call);

    /* A resume inside the callback comes before the pause. */
    outcome_init(&o);
    o.answer = LITERLLM_FLOW_PAUSE;
    o.inside_chunks = resume_now;
    start(client, &o, "text=one two three&pace=5");
    CHECK(wait_for(&o, &o.done, 1) && o.complete, "resumed before it paused: %s", o.message);
    literllm_call_free(o.call);

    /* A paused call can be cancelled. */
    outcome_init(&o);
    o.answer = LITERLLM_FLOW_PAUSE;
    start(client, &o, "text=one two three&stall=2&id=c-pause2");
    CHECK(wait_for(&o, &o.batches, 1), "a batch");
    literllm_call_cancel(o.call);
    CHECK(wait_for(&o, &o.done, 1) && o.kind == LITERLLM_ERROR_KIND_CANCELLED, "cancelled in the pause");
    CHECK(mock_saw("c-pause2", "left"), "the connection is closed");
    literllm_call_free(o.call);
    literllm_client_free(client);
}

static void who_gathers_is_told_when_nothing_more_is_there(void) {
    literllm_client *client = client_with("");
    outcome o;
    outcome_init(&o);
    o.answer = LITERLLM_FLOW_GATHER;
    start(client, &o, "text=one two three&withhold=2&id=c-gather");
    CHECK(wait_for(&o, &o.lulls, 1), "told while the provider is silent");
    CHECK(o.chunks > 0 && o.done == 0, "%d chunks", o.chunks);
    CHECK(mock_ask("POST", "/_mock/release?id=c-gather&n=all") == 200, "release");
    CHECK(wait_for(&o, &o.done, 1) && o.complete, "complete: %s", o.message);
    o.text[o.length] = 0;
    CHECK(strcmp(o.text, "one two three") == 0, "%s", o.text);
    CHECK(o.lulls <= o.batches, "%d lulls after %d batches", o.lulls, o.batches);
    literllm_call_free(o.call);

    /* Also in the blocking form; and who does not gather hears nothing. */
    for (uint32_t answer = LITERLLM_FLOW_CONTINUE; answer <= LITERLLM_FLOW_GATHER; answer += LITERLLM_FLOW_GATHER) {
        outcome_init(&o);
        o.answer = answer;
        literllm_error *error = literllm_client_chat_stream_blocking(client, ask("text=one two&pace=20"), NONE, on_chunks, &o, NULL);
        CHECK(error == NULL && (o.lulls > 0) == (answer == LITERLLM_FLOW_GATHER), "%d lulls in the blocking form", o.lulls);
    }

    /* What the answer to the empty call asks for is done. */
    outcome_init(&o);
    o.answer = LITERLLM_FLOW_GATHER;
    o.answer_in_lull = LITERLLM_FLOW_STOP;
    start(client, &o, "text=one two three&withhold=2&id=c-gather2");
    CHECK(wait_for(&o, &o.done, 1) && o.kind == LITERLLM_ERROR_KIND_CANCELLED && o.lulls == 1, "stopped in a lull");
    CHECK(mock_saw("c-gather2", "left"), "the connection is closed");
    literllm_call_free(o.call);
    literllm_client_free(client);

    /* In a pause that begins in a lull nobody waits, and no deadline runs. */
    client = client_with(",\"idle_timeout\":2");
    outcome_init(&o);
    o.answer = LITERLLM_FLOW_GATHER;
    o.answer_in_lull = LITERLLM_FLOW_PAUSE;
    start(client, &o, "text=one two three&withhold=2&id=c-gather3");
    CHECK(wait_for(&o, &o.lulls, 1), "a lull");
    struct timespec longer_than_that = {2, 500000000};
    nanosleep(&longer_than_that, NULL);
    o.answer_in_lull = LITERLLM_FLOW_CONTINUE;
    literllm_call_resume(o.call);
    struct timespec less = {0, 200000000};
    nanosleep(&less, NULL);
    CHECK(o.done == 0, "still there: %s", o.message);
    CHECK(mock_ask("POST", "/_mock/release?id=c-gather3&n=all") == 200, "release");
    CHECK(wait_for(&o, &o.done, 1) && o.complete, "complete: %s", o.message);
    literllm_call_free(o.call);
    literllm_client_free(client);
}

static void free_call(outcome *o) {
    literllm_call_free(o->call);
    o->call = NULL;
}

static literllm_client *inner_client;

static void ask_blocking(outcome *o) {
    literllm_error *error = literllm_client_chat_blocking(inner_client, ask("text=hi"), NONE, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_INVALID_REQUEST, "a blocking call inside a callback");
    literllm_error_free(error);
    o->inside_chunks = NULL;
}

static outcome second;

static void start_another(outcome *o) {
    (void)o;
    start(inner_client, &second, "text=two");
}

static void callbacks_may_call_back(void) {
    inner_client = client_with("");
    outcome o;
    outcome_init(&o);
    o.inside_chunks = free_call;
    start(inner_client, &o, "text=one two three&withhold=2&id=c-inside");
    CHECK(wait_for(&o, &o.done, 1) && o.kind == LITERLLM_ERROR_KIND_CANCELLED, "freed inside on_chunks");
    CHECK(mock_saw("c-inside", "left"), "the connection is closed");
    outcome_init(&o);
    o.inside_done = free_call;
    start(inner_client, &o, "text=one");
    CHECK(wait_for(&o, &o.done, 1) && o.complete, "freed inside on_done");
    outcome_init(&o);
    o.inside_chunks = ask_blocking;
    start(inner_client, &o, "text=one");
    CHECK(wait_for(&o, &o.done, 1) && o.complete, "a blocking call inside is refused");
    literllm_call_free(o.call);
    outcome_init(&o);
    outcome_init(&second);
    o.inside_done = start_another;
    start(inner_client, &o, "text=one");
    CHECK(wait_for(&o, &o.done, 1) && wait_for(&second, &second.done, 1) && second.complete, "a call started inside");
    literllm_call_free(o.call);
    literllm_call_free(second.call);
    literllm_client_free(inner_client);
}

/* Reads a stream with poll() until its end. */
static literllm_next read_all(literllm_stream *stream, char *text, size_t room) {
    size_t length = 0;
    for (;;) {
        const literllm_chunk *const *chunks = NULL;
        size_t count = 0;
        literllm_next next = literllm_stream_next(stream, &chunks, &count);
        if (next == LITERLLM_NEXT_PENDING) {
            struct pollfd ready = {literllm_stream_fd(stream), POLLIN, 0};
            CHECK(poll(&ready, 1, 60000) == 1, "the descriptor never became ready");
            continue;
        }
        if (next != LITERLLM_NEXT_CHUNKS) {
            text[length] = 0;
            return next;
        }
        for (size_t i = 0; i < count; i++) {
            for (size_t c = 0; c < chunks[i]->choices_length; c++) {
                literllm_text content = chunks[i]->choices[c]->delta->content;
                if (content.length && length + content.length < room) {
                    memcpy(text + length, content.data, content.length);
                    length += content.length;
                }
            }
        }
    }
}

static void a_stream_can_be_pulled(void) {
    literllm_client *client = client_with("");
    literllm_stream *stream = NULL;
    char text[1024];
    /* The mock may have served another run of this program, whose request is not to be taken for this one. */
    char id[32], behaviour[96], release[96];
    snprintf(id, sizeof id, "c-pulled-%d", (int)getpid());
    snprintf(behaviour, sizeof behaviour, "text=one two three&withhold=0&id=%s", id);
    snprintf(release, sizeof release, "/_mock/release?id=%s&n=all", id);
    CHECK(literllm_client_open_stream(client, ask(behaviour), NONE, &stream) == NULL, "opened");
    CHECK(literllm_stream_response(stream) == NULL && literllm_stream_error(stream) == NULL, "nothing yet");
    CHECK(mock_saw(id, "request"), "it was asked");
    CHECK(mock_ask("POST", release) == 200, "released");
    CHECK(read_all(stream, text, sizeof text) == LITERLLM_NEXT_END && strcmp(text, "one two three") == 0, "%s", text);
    CHECK(literllm_stream_next(stream, NULL, NULL) == LITERLLM_NEXT_END, "the end again");
    struct pollfd ready = {literllm_stream_fd(stream), POLLIN, 0};
    CHECK(poll(&ready, 1, 0) == 1, "the end stays ready");
    const literllm_response *response = literllm_stream_response(stream);
    CHECK(response && same(response->choices[0]->message->content, "one two three") && !literllm_stream_error(stream), "the response");
    literllm_stream_free(stream);

    CHECK(literllm_client_open_stream(client, ask("text=one two three&cut=3"), NONE, &stream) == NULL, "opened");
    CHECK(read_all(stream, text, sizeof text) == LITERLLM_NEXT_ERROR && strcmp(text, "one two") == 0, "%s", text);
    const literllm_error *error = literllm_stream_error(stream);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_TRUNCATED && error->partial && !literllm_stream_response(stream), "the error");
    literllm_stream_free(stream);

    CHECK(literllm_client_open_stream(client, ask("text=one two three&stall=3&id=c-pull"), NONE, &stream) == NULL, "opened");
    CHECK(mock_saw("c-pull", "chunks:3"), "three chunks");
    literllm_stream_cancel(stream);
    CHECK(read_all(stream, text, sizeof text) == LITERLLM_NEXT_ERROR, "cancelled");
    error = literllm_stream_error(stream);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_CANCELLED, "cancelled");
    CHECK(mock_saw("c-pull", "left"), "the connection is closed");
    literllm_stream_free(stream);

    CHECK(literllm_client_open_stream(client, ask("text=one two three&stall=3&id=c-pull2"), NONE, &stream) == NULL, "opened");
    CHECK(mock_saw("c-pull2", "chunks:3"), "three chunks");
    literllm_stream_free(stream);
    CHECK(mock_saw("c-pull2", "left"), "free closes the connection");

    literllm_error *wrong = literllm_client_open_stream(client, literllm_text_of("[]"), NONE, &stream);
    CHECK(wrong && wrong->kind == LITERLLM_ERROR_KIND_INVALID_REQUEST, "a wrong request");
    literllm_error_free(wrong);
    literllm_client_free(client);
}

static literllm_response *so_far;

/* Never twice at once, which only the mock's socket sees to; the lock says so to ThreadSanitizer. */
static void look(outcome *o) {
    static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&turn);
    literllm_response_free(so_far);
    so_far = literllm_call_response(o->call);
    pthread_mutex_unlock(&turn);
}

static void the_answer_so_far_can_be_read_at_any_moment(void) {
    literllm_client *client = client_with("");
    outcome o;
    outcome_init(&o);
    start(client, &o, "text=one two three&withhold=3&id=c-sofar");
    CHECK(wait_for(&o, &o.chunks, 3), "three chunks");
    /* From another thread, while the stream waits. */
    look(&o);
    CHECK(so_far && same(so_far->choices[0]->message->content, "one two"), "the answer so far");
    CHECK(so_far && so_far->choices[0]->finish_reason.data == NULL, "it is not over");
    /* Inside the callback. */
    o.inside_chunks = look;
    CHECK(mock_ask("POST", "/_mock/release?id=c-sofar&n=all") == 200, "released");
    CHECK(wait_for(&o, &o.done, 1) && o.complete, "complete: %s", o.message);
    CHECK(so_far && same(so_far->choices[0]->message->content, "one two three"), "the answer so far, inside");
    look(&o);
    CHECK(so_far && same(so_far->choices[0]->finish_reason, "stop"), "the whole answer, once it is over");
    literllm_call_free(o.call);
    CHECK(same(so_far->choices[0]->message->content, "one two three"), "it outlives the call");
    literllm_response_free(so_far);
    so_far = NULL;
    outcome_init(&o);
    start(client, &o, "text=one two three&cut=3");
    CHECK(wait_for(&o, &o.done, 1) && !o.complete, "cut off");
    CHECK(literllm_call_response(o.call) == NULL, "the error has what there is");
    literllm_call_free(o.call);

    literllm_stream *stream = NULL;
    CHECK(literllm_client_open_stream(client, ask("text=one two three&withhold=3&id=c-sofar2"), NONE, &stream) == NULL, "opened");
    CHECK(mock_saw("c-sofar2", "chunks:3"), "three chunks");
    char text[1024];
    for (int seen = 0; seen < 3;) {
        const literllm_chunk *const *chunks = NULL;
        size_t count = 0;
        struct pollfd ready = {literllm_stream_fd(stream), POLLIN, 0};
        CHECK(poll(&ready, 1, 60000) == 1, "the descriptor never became ready");
        if (literllm_stream_next(stream, &chunks, &count) == LITERLLM_NEXT_CHUNKS) seen += (int)count;
    }
    const literllm_response *response = literllm_stream_response(stream);
    CHECK(response && same(response->choices[0]->message->content, "one two"), "the answer so far, pulled");
    literllm_stream_cancel(stream);
    CHECK(read_all(stream, text, sizeof text) == LITERLLM_NEXT_ERROR, "cancelled");
    CHECK(literllm_stream_response(stream) == NULL && literllm_stream_error(stream)->partial, "the error has it now");
    literllm_stream_free(stream);
    literllm_client_free(client);
}

/* Hooks: what each stage is answered, and how. */
enum { STAGES = 5 };
static const char *const stage_names[STAGES] = {"before_request", "after_headers", "on_chunks", "on_error", "on_end"};

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *answers[STAGES];
    int asked[STAGES], freed;
    bool from_another_thread;
    /* A stage that is left unanswered, and its call. */
    int held_stage;
    literllm_hook_call *held;
} hook;

typedef struct {
    literllm_hook_call *call;
    const char *answer;
} late_answer;

static void *answer_late(void *given) {
    late_answer *late = given;
    literllm_hook_call_answer(late->call, literllm_text_of(late->answer));
    free(late);
    return NULL;
}

static void on_hook(void *user_data, literllm_hook_call *call) {
    hook *h = user_data;
    literllm_text event = literllm_hook_call_event(call);
    char start[64];
    int stage = 0;
    snprintf(start, sizeof start, "%.*s", (int)event.length, event.data);
    while (stage < STAGES - 1 && !strstr(start, stage_names[stage])) stage++;
    CHECK(strstr(start, stage_names[stage]), "no stage: %s", start);
    pthread_mutex_lock(&h->lock);
    h->asked[stage]++;
    bool hold = stage == h->held_stage;
    if (hold) h->held = call;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (hold) return;
    if (!h->from_another_thread) {
        literllm_hook_call_answer(call, literllm_text_of(h->answers[stage]));
        return;
    }
    late_answer *late = malloc(sizeof *late);
    *late = (late_answer){call, h->answers[stage]};
    pthread_t thread;
    pthread_create(&thread, NULL, answer_late, late);
    pthread_detach(thread);
}

static void free_hook(void *user_data) {
    hook *h = user_data;
    pthread_mutex_lock(&h->lock);
    h->freed++;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static literllm_client *client_with_hook(hook *h, uint32_t stages) {
    char config[512];
    snprintf(config, sizeof config, "{\"api_keys\":{\"openai\":\"test-key-1234\"},\"base_urls\":{\"openai\":\"%s/v1\"},\"max_retries\":0}", mock_url);
    memset(h, 0, sizeof *h);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    h->held_stage = -1;
    literllm_client *client = NULL;
    literllm_error *error = literllm_client_new_with_hooks(literllm_text_of(config), stages, on_hook, h, free_hook, &client);
    CHECK(error == NULL && client != NULL, "no client");
    return client;
}

static bool hook_wait(hook *h, const int *counter, literllm_hook_call *const *held) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    int timed_out = 0;
    pthread_mutex_lock(&h->lock);
    while ((counter && *counter < 1) || (held && !*held)) {
        if (timed_out) break;
        timed_out = pthread_cond_timedwait(&h->changed, &h->lock, &until);
    }
    pthread_mutex_unlock(&h->lock);
    return !timed_out;
}

static const uint32_t every_stage = LITERLLM_HOOK_STAGE_BEFORE_REQUEST | LITERLLM_HOOK_STAGE_AFTER_HEADERS | LITERLLM_HOOK_STAGE_ON_CHUNKS |
                                    LITERLLM_HOOK_STAGE_ON_ERROR | LITERLLM_HOOK_STAGE_ON_END;

static void hooks_stand_around_every_call(void) {
    hook h;
    outcome o;
    literllm_client *client = client_with_hook(&h, every_stage);
    /* Passed on, answered at once and from another thread; also dropped unanswered, which NULL says. */
    for (int late = 0; late < 2; late++) {
        h.from_another_thread = late;
        h.answers[2] = late ? "{}" : NULL;
        outcome_init(&o);
        start(client, &o, "text=one two");
        CHECK(wait_for(&o, &o.done, 1) && o.complete && strcmp(o.text, "one two") == 0, "passed: %s %s", o.text, o.message);
        literllm_call_free(o.call);
    }
    CHECK(h.asked[0] == 2 && h.asked[1] == 2 && h.asked[2] >= 2 && h.asked[3] == 0 && h.asked[4] == 2, "asked %d %d %d %d %d", h.asked[0],
          h.asked[1], h.asked[2], h.asked[3], h.asked[4]);

    /* Answered from elsewhere, as a stream and whole. */
    h.answers[0] = "{\"response\":{\"id\":\"x\",\"model\":\"m\",\"created\":1,\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                   "\"content\":\"kept\"},\"finish_reason\":\"stop\"}]}}";
    outcome_init(&o);
    start(client, &o, "status=500");
    CHECK(wait_for(&o, &o.done, 1) && o.complete && strcmp(o.text, "kept") == 0, "answered: %s %s", o.text, o.message);
    literllm_call_free(o.call);
    literllm_response *response = NULL;
    literllm_error *error = literllm_client_chat_blocking(client, ask("status=500"), NONE, &response);
    CHECK(error == NULL && response && same(response->choices[0]->message->content, "kept"), "answered whole");
    literllm_response_free(response);

    /* Refused; changed; wrong. */
    h.from_another_thread = false;
    h.answers[0] = "{\"error\":{\"kind\":\"permission\",\"message\":\"not today\"}}";
    error = literllm_client_chat_blocking(client, ask("text=hi"), NONE, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_PERMISSION && strstr(error->message.data, "not today"), "refused");
    literllm_error_free(error);
    h.answers[0] = "nonsense";
    error = literllm_client_chat_blocking(client, ask("text=hi"), NONE, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_INVALID_REQUEST && strstr(error->message.data, "before_request"), "nonsense");
    literllm_error_free(error);
    h.answers[0] = "\xff";
    error = literllm_client_chat_blocking(client, ask("text=hi"), NONE, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_INVALID_REQUEST, "text that is not UTF-8");
    literllm_error_free(error);
    h.answers[0] = NULL;
    h.answers[2] = "{\"chunks\":[]}";
    outcome_init(&o);
    start(client, &o, "text=one two");
    CHECK(wait_for(&o, &o.done, 1) && o.chunks == 0, "%d chunks are left", o.chunks);
    literllm_call_free(o.call);
    h.answers[2] = NULL;
    h.answers[3] = "{\"error\":{\"kind\":\"overloaded\",\"message\":\"as they say\"}}";
    error = literllm_client_chat_blocking(client, ask("status=500"), NONE, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_OVERLOADED && error->status == 500, "another error");
    literllm_error_free(error);
    literllm_client_free(client);
    CHECK(hook_wait(&h, &h.freed, NULL) && h.freed == 1, "freed %d times", h.freed);
}

static void a_hook_may_be_held_past_its_call(void) {
    hook h;
    outcome o;
    literllm_client *client = client_with_hook(&h, LITERLLM_HOOK_STAGE_BEFORE_REQUEST);
    h.held_stage = 0;
    outcome_init(&o);
    start(client, &o, "text=one&id=c-held");
    CHECK(hook_wait(&h, NULL, &h.held), "asked");
    CHECK(literllm_call_response(o.call) == NULL, "nothing has come");
    literllm_call_cancel(o.call);
    CHECK(wait_for(&o, &o.done, 1) && o.kind == LITERLLM_ERROR_KIND_CANCELLED, "cancelled while the hook thinks");
    literllm_call_free(o.call);
    literllm_client_free(client);
    CHECK(hook_wait(&h, &h.freed, NULL) && h.freed == 1, "freed %d times", h.freed);
    CHECK(literllm_hook_call_event(h.held).length > 0, "the event is still there");
    literllm_hook_call_answer(h.held, NONE);

    /* A call freed while its hook thinks about chunks, and a client freed with it. */
    client = client_with_hook(&h, LITERLLM_HOOK_STAGE_ON_CHUNKS);
    h.held_stage = 2;
    outcome_init(&o);
    start(client, &o, "text=one&stall=2&id=c-held2");
    literllm_client_free(client);
    CHECK(hook_wait(&h, NULL, &h.held), "asked");
    literllm_call_free(o.call);
    CHECK(wait_for(&o, &o.done, 1) && o.chunks == 0 && o.kind == LITERLLM_ERROR_KIND_CANCELLED, "freed while the hook thinks");
    CHECK(mock_saw("c-held2", "left"), "the connection is closed");
    CHECK(hook_wait(&h, &h.freed, NULL), "freed");
    literllm_hook_call_answer(h.held, literllm_text_of("{\"chunks\":[]}"));

    /* What goes wrong frees the user data, too. */
    client = NULL;
    literllm_error *errors[] = {
        literllm_client_new_with_hooks(NONE, every_stage, NULL, &h, free_hook, &client),
        literllm_client_new_with_hooks(NONE, 1u << 30, on_hook, &h, free_hook, &client),
        literllm_client_new_with_hooks(literllm_text_of("{"), every_stage, on_hook, &h, free_hook, &client),
        literllm_client_new_with_hooks(NONE, every_stage, on_hook, &h, free_hook, NULL),
        literllm_client_new_with_hooks(NONE, every_stage, NULL, NULL, NULL, NULL),
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        CHECK(errors[i] && errors[i]->kind == LITERLLM_ERROR_KIND_INVALID_REQUEST, "wrong hooks %zu", i);
        literllm_error_free(errors[i]);
    }
    CHECK(client == NULL && h.freed == 5, "freed %d times", h.freed);
    CHECK(literllm_hook_call_event(NULL).data == NULL, "the event of NULL");
    literllm_hook_call_answer(NULL, NONE);
}

/* A source of tokens: what it answers, one after another. */
typedef struct {
    const char *answers[3];
    int asked, freed;
} token_source;

static void on_token(void *user_data, literllm_hook_call *call) {
    token_source *source = user_data;
    literllm_text event = literllm_hook_call_event(call);
    CHECK(same(event, "{\"stage\":\"token\",\"provider\":\"vertex_ai\"}"), "%.*s", (int)event.length, event.data);
    CHECK(source->asked < 3, "asked once more");
    literllm_hook_call_answer(call, literllm_text_of(source->asked < 3 ? source->answers[source->asked] : NULL));
    source->asked++;
}

static void free_source(void *user_data) { ((token_source *)user_data)->freed++; }

static literllm_error *ask_vertex(literllm_client *client) {
    const char *request = "{\"model\":\"vertex_ai/gemini-2.5-flash\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    return literllm_client_chat_blocking(client, literllm_text_of(request), NONE, NULL);
}

static literllm_client *client_with_tokens(token_source *source) {
    char config[512];
    snprintf(config, sizeof config,
             "{\"base_urls\":{\"vertex_ai\":\"%s\"},\"settings\":{\"vertex_ai\":{\"project\":\"p\"}},\"max_retries\":0,"
             "\"headers\":{\"x-mock\":\"expect_key=own-token\"},\"token_providers\":[\"vertex_ai\"]}",
             mock_url);
    literllm_client *client = NULL;
    literllm_error *error = literllm_client_new_with_hooks(literllm_text_of(config), 0, on_token, source, free_source, &client);
    CHECK(error == NULL && client != NULL, "no client");
    return client;
}

static void a_hook_gives_tokens(void) {
    /* One as good as over, one for a single request, one for an hour. */
    char over[128], hour[128];
    snprintf(over, sizeof over, "{\"token\":{\"secret\":\"own-token\",\"expires_at\":%lld}}", (long long)time(NULL) + 1);
    snprintf(hour, sizeof hour, "{\"token\":{\"secret\":\"own-token\",\"expires_at\":%lld}}", (long long)time(NULL) + 3600);
    token_source source = {{over, "{\"token\":{\"secret\":\"own-token\"}}", hour}, 0, 0};
    literllm_client *client = client_with_tokens(&source);
    for (int call = 1; call <= 5; call++) {
        literllm_error *error = ask_vertex(client);
        CHECK(error == NULL, "call %d: %s", call, error ? error->message.data : "");
        literllm_error_free(error);
        CHECK(source.asked == (call < 3 ? call : 3), "call %d: asked %d times", call, source.asked);
    }
    literllm_client_free(client);
    CHECK(source.freed == 1, "freed %d times", source.freed);

    /* None, and one that is refused. */
    source = (token_source){{"{\"error\":{\"message\":\"the vault is closed\"}}", "{\"token\":{\"secret\":\"stale-token\"}}", "\xff"}, 0, 0};
    client = client_with_tokens(&source);
    for (int call = 0; call < 3; call++) {
        literllm_error *error = ask_vertex(client);
        CHECK(error && error->kind == LITERLLM_ERROR_KIND_AUTHENTICATION, "call %d: no token", call);
        CHECK(call > 0 || strstr(error->message.data, "the vault is closed"), "%s", error->message.data);
        CHECK(!strstr(error->message.data, "stale-token"), "%s", error->message.data);
        literllm_error_free(error);
    }
    literllm_client_free(client);
    CHECK(source.freed == 1, "freed %d times", source.freed);
}

static void *ask_for_a_second(void *client) {
    literllm_error *error = literllm_client_chat_blocking(client, ask("text=hi&headers_after=1000"), NONE, NULL);
    CHECK(error == NULL, "%s", error->message.data);
    literllm_error_free(error);
    return NULL;
}

static void eight_threads_wait_together(void) {
    literllm_client *client = client_with("");
    pthread_t threads[8];
    double began = now();
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, ask_for_a_second, client);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    CHECK(now() - began >= 1.0 && now() - began < 4.0, "8 calls of 1 s took %f s", now() - began);
    literllm_client_free(client);
}

static void two_of_many_are_cancelled(void) {
    enum { MANY = 200 };
    literllm_client *client = client_with("");
    outcome *all = calloc(MANY, sizeof *all);
    for (int i = 0; i < MANY; i++) {
        outcome_init(&all[i]);
        start(client, &all[i], "text=one two three four five six seven eight&pace=20");
    }
    const int cancelled[] = {37, 142};
    for (size_t i = 0; i < 2; i++) {
        CHECK(wait_for(&all[cancelled[i]], &all[cancelled[i]].chunks, 2), "under way");
        literllm_call_cancel(all[cancelled[i]].call);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(wait_for(&all[i], &all[i].done, 1), "%d has no end", i);
        bool is_cancelled = i == cancelled[0] || i == cancelled[1];
        CHECK(all[i].complete == !is_cancelled, "%d: kind %u %s", i, all[i].kind, all[i].message);
        literllm_call_free(all[i].call);
    }
    free(all);
    literllm_client_free(client);
}

static void a_thousand_streams_need_no_thread(void) {
    enum { MANY = 1000 };
    literllm_client *client = client_with("");
    outcome *all = calloc(MANY, sizeof *all);
    literllm_error_free(literllm_client_chat_blocking(client, ask("text=hi"), NONE, NULL));
    int threads = thread_count();
    for (int i = 0; i < MANY; i++) {
        outcome_init(&all[i]);
        start(client, &all[i], "text=one two three&stall=3");
    }
    for (int i = 0; i < MANY; i++) CHECK(wait_for(&all[i], &all[i].chunks, 3), "%d has no chunks: %s", i, all[i].message);
    CHECK(thread_count() == threads, "%d threads before, %d with the streams", threads, thread_count());
    for (int i = 0; i < MANY; i++) literllm_call_free(all[i].call);
    for (int i = 0; i < MANY; i++) CHECK(wait_for(&all[i], &all[i].done, 1), "%d has no end", i);
    free(all);
    literllm_client_free(client);
}

#ifdef LITERLLM_TEST_HOOKS
void literllm_test_panic_next(void);

static void a_panic_is_an_error(void) {
    literllm_client *client = client_with("");
    outcome o;
    outcome_init(&o);
    literllm_test_panic_next();
    start(client, &o, "text=one");
    CHECK(wait_for(&o, &o.done, 1) && o.kind == LITERLLM_ERROR_KIND_PANIC, "a panic inside a stream: %u", o.kind);
    literllm_call_free(o.call);
    literllm_test_panic_next();
    literllm_error *error = literllm_client_chat_blocking(client, ask("text=one"), NONE, NULL);
    CHECK(error && error->kind == LITERLLM_ERROR_KIND_PANIC, "a panic inside a blocking call");
    literllm_error_free(error);
    error = literllm_client_chat_blocking(client, ask("text=one"), NONE, NULL);
    CHECK(error == NULL, "the client lives on");
    literllm_client_free(client);
}
#endif

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
#define TEST(name) {#name, name}
    TEST(every_function_takes_null),
    TEST(clients_are_made_of_json_and_of_options),
    TEST(a_whole_answer_has_its_fields),
    TEST(chunks_have_their_fields),
    TEST(errors_have_their_fields),
    TEST(a_stream_ends_once),
    TEST(stop_ends_it),
    TEST(cancel_from_another_thread_closes_the_connection),
    TEST(free_while_streaming_cancels),
    TEST(a_client_freed_while_streaming_ends_no_stream),
    TEST(a_pause_holds_until_it_is_resumed),
    TEST(who_gathers_is_told_when_nothing_more_is_there),
    TEST(callbacks_may_call_back),
    TEST(a_stream_can_be_pulled),
    TEST(the_answer_so_far_can_be_read_at_any_moment),
    TEST(hooks_stand_around_every_call),
    TEST(a_hook_may_be_held_past_its_call),
    TEST(a_hook_gives_tokens),
    TEST(eight_threads_wait_together),
    TEST(two_of_many_are_cancelled),
    TEST(a_thousand_streams_need_no_thread),
#ifdef LITERLLM_TEST_HOOKS
    TEST(a_panic_is_an_error),
#endif
};

int main(int argc, char **argv) {
    if (argc < 2 || sscanf(argv[1], "http://127.0.0.1:%d", &mock_port) != 1) {
        fprintf(stderr, "usage: abi http://127.0.0.1:PORT [test…]\n");
        return 2;
    }
    mock_url = argv[1];
    int passed = 0, failed = 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        bool wanted = argc == 2;
        for (int a = 2; a < argc; a++) wanted = wanted || strcmp(argv[a], tests[i].name) == 0;
        if (!wanted) continue;
        int before = failures;
        double began = now();
        tests[i].run();
        printf("%s: %s (%.2f s)\n", failures == before ? "ok" : "FAILED", tests[i].name, now() - began);
        fflush(stdout);
        if (failures == before) passed++; else failed++;
    }
    printf("c: %d passed, %d failed\n", passed, failed);
    return failed != 0;
}
