/* The simplest form: the calling thread waits. Set OPENAI_API_KEY, or another provider's key and name its model. */
#include <literllm.h>
#include <stdio.h>

static uint32_t print_text(void *user_data, const literllm_chunk *const *chunks, size_t count) {
    (void)user_data;
    for (size_t i = 0; i < count; i++) {
        if (chunks[i]->choices_length == 0) continue;
        literllm_text text = chunks[i]->choices[0]->delta->content;
        printf("%.*s", (int)text.length, text.data ? text.data : "");
    }
    fflush(stdout);
    return LITERLLM_FLOW_CONTINUE;
}

int main(void) {
    const literllm_text none = {NULL, 0};
    const literllm_text request =
        literllm_text_of("{\"model\": \"openai/gpt-4o\", \"messages\": [{\"role\": \"user\", \"content\": \"Tell me a story\"}]}");
    literllm_client *client = NULL;
    literllm_error *error = literllm_client_new(none, &client);
    if (!error) error = literllm_client_chat_stream_blocking(client, request, none, print_text, NULL, NULL);
    if (error) fprintf(stderr, "%s\n", error->message.data);
    else printf("\n");
    int status = error != NULL;
    literllm_error_free(error);
    literllm_client_free(client);
    return status;
}
