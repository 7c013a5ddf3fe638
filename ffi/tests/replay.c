/*
 * Runs one request through one form of the C ABI, for the tables that every language runs: replay callback|blocking|pull CONFIG REQUEST [cancel]
 * Prints each chunk as a line of JSON, then the whole answer and the error, each as JSON or null. With `cancel` the call is cancelled as soon as
 * stdin ends; the blocking form has nothing to cancel it by.
 */
#include "harness.h"

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
} call_state;

static uint32_t print_chunks(void *user_data, const literllm_chunk *const *chunks, size_t count) {
    (void)user_data;
    for (size_t i = 0; i < count; i++) {
        literllm_text json = literllm_chunk_json(chunks[i]);
        printf("%.*s\n", (int)json.length, json.data);
    }
    return LITERLLM_FLOW_CONTINUE;
}

static void print_end(const literllm_response *response, const literllm_error *error) {
    const literllm_text ends[] = {literllm_response_json(response), literllm_error_json(error)};
    for (size_t i = 0; i < 2; i++) {
        if (ends[i].data) printf("%.*s\n", (int)ends[i].length, ends[i].data);
        else printf("null\n");
    }
}

static void print_done(void *user_data, const literllm_response *response, const literllm_error *error) {
    call_state *state = user_data;
    print_end(response, error);
    pthread_mutex_lock(&state->lock);
    state->done = true;
    pthread_cond_signal(&state->changed);
    pthread_mutex_unlock(&state->lock);
}

static void wait_for_stdin(void) {
    struct pollfd end = {STDIN_FILENO, POLLIN, 0};
    while (poll(&end, 1, -1) < 0) continue;
}

int main(int argc, char **argv) {
    if (argc != 4 && (argc != 5 || strcmp(argv[4], "cancel") != 0)) {
        fprintf(stderr, "usage: replay callback|blocking|pull CONFIG REQUEST [cancel]\n");
        return 2;
    }
    bool cancels = argc == 5;
    literllm_client *client = NULL;
    literllm_text request = literllm_text_of(argv[3]);
    literllm_error *error = literllm_client_new(literllm_text_of(argv[2]), &client);
    if (error) {
        print_end(NULL, error);
    } else if (strcmp(argv[1], "callback") == 0) {
        call_state state = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
        literllm_call *call = NULL;
        literllm_client_chat_stream(client, request, NONE, print_chunks, print_done, &state, &call);
        if (cancels) {
            wait_for_stdin();
            literllm_call_cancel(call);
        }
        pthread_mutex_lock(&state.lock);
        while (!state.done) pthread_cond_wait(&state.changed, &state.lock);
        pthread_mutex_unlock(&state.lock);
        literllm_call_free(call);
    } else if (strcmp(argv[1], "blocking") == 0) {
        literllm_response *response = NULL;
        error = literllm_client_chat_stream_blocking(client, request, NONE, print_chunks, NULL, &response);
        print_end(response, error);
        literllm_response_free(response);
    } else {
        literllm_stream *stream = NULL;
        error = literllm_client_open_stream(client, request, NONE, &stream);
        if (error) print_end(NULL, error);
        while (stream) {
            const literllm_chunk *const *chunks = NULL;
            size_t count = 0;
            literllm_next next = literllm_stream_next(stream, &chunks, &count);
            if (next == LITERLLM_NEXT_CHUNKS) {
                print_chunks(NULL, chunks, count);
            } else if (next == LITERLLM_NEXT_PENDING) {
                struct pollfd ready[] = {{literllm_stream_fd(stream), POLLIN, 0}, {cancels ? STDIN_FILENO : -1, POLLIN, 0}};
                poll(ready, 2, -1);
                if (ready[1].revents) {
                    literllm_stream_cancel(stream);
                    cancels = false;
                }
            } else {
                print_end(literllm_stream_response(stream), literllm_stream_error(stream));
                literllm_stream_free(stream);
                stream = NULL;
            }
        }
    }
    literllm_error_free(error);
    literllm_client_free(client);
    return 0;
}
