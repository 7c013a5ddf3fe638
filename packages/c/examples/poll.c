/* A program with an event loop of its own: it polls the stream's descriptor among others, here stdin; a line on it ends the answer. */
#include <literllm.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static void print_text(const literllm_chunk *const *chunks, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (chunks[i]->choices_length == 0) continue;
        literllm_text text = chunks[i]->choices[0]->delta->content;
        printf("%.*s", (int)text.length, text.data ? text.data : "");
    }
    fflush(stdout);
}

int main(void) {
    const literllm_text none = {NULL, 0};
    const literllm_text request =
        literllm_text_of("{\"model\": \"openai/gpt-4o\", \"messages\": [{\"role\": \"user\", \"content\": \"Tell me a story\"}]}");
    literllm_client *client = NULL;
    literllm_stream *stream = NULL;
    literllm_error *error = literllm_client_new(none, &client);
    if (!error) error = literllm_client_open_stream(client, request, none, &stream);
    literllm_client_free(client);
    if (error) {
        fprintf(stderr, "%s\n", error->message.data);
        literllm_error_free(error);
        return 1;
    }
    struct pollfd ready[] = {{literllm_stream_fd(stream), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    literllm_next next = LITERLLM_NEXT_PENDING;
    while (next == LITERLLM_NEXT_PENDING || next == LITERLLM_NEXT_CHUNKS) {
        if (poll(ready, 2, -1) < 0) break;
        char line[64];
        if (ready[1].revents && read(STDIN_FILENO, line, sizeof line) > 0) literllm_stream_cancel(stream);
        else if (ready[1].revents) ready[1].fd = -1;
        const literllm_chunk *const *chunks = NULL;
        size_t count = 0;
        next = literllm_stream_next(stream, &chunks, &count);
        if (next == LITERLLM_NEXT_CHUNKS) print_text(chunks, count);
    }
    printf("\n");
    if (next == LITERLLM_NEXT_ERROR) fprintf(stderr, "%s\n", literllm_stream_error(stream)->message.data);
    literllm_stream_free(stream);
    return next != LITERLLM_NEXT_END;
}
