/* Two answers at once, without a thread for either: callbacks bring the chunks and the end. */
#include <literllm.h>
#include <pthread.h>
#include <stdio.h>

typedef struct {
    const char *name;
    size_t bytes;
} answer;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_done = PTHREAD_COND_INITIALIZER;
static int under_way = 2;
static int failed = 0;

static uint32_t count_bytes(void *user_data, const literllm_chunk *const *chunks, size_t count) {
    answer *a = user_data;
    for (size_t i = 0; i < count; i++) {
        if (chunks[i]->choices_length > 0) a->bytes += chunks[i]->choices[0]->delta->content.length;
    }
    return LITERLLM_FLOW_CONTINUE;
}

static void end(void *user_data, const literllm_response *response, const literllm_error *error) {
    answer *a = user_data;
    pthread_mutex_lock(&lock);
    if (response) {
        literllm_text text = response->choices[0]->message->content;
        printf("%s (%zu bytes): %.*s\n", a->name, a->bytes, (int)text.length, text.data ? text.data : "");
    } else {
        fprintf(stderr, "%s: %s\n", a->name, error->message.data);
        failed = 1;
    }
    under_way--;
    pthread_cond_signal(&all_done);
    pthread_mutex_unlock(&lock);
}

int main(void) {
    const literllm_text none = {NULL, 0};
    const literllm_text request =
        literllm_text_of("{\"model\": \"openai/gpt-4o\", \"messages\": [{\"role\": \"user\", \"content\": \"Tell me a story\"}]}");
    answer answers[] = {{"one", 0}, {"two", 0}};
    literllm_client *client = NULL;
    literllm_error *error = literllm_client_new(none, &client);
    if (error) {
        fprintf(stderr, "%s\n", error->message.data);
        literllm_error_free(error);
        return 1;
    }
    for (int i = 0; i < 2; i++) literllm_client_chat_stream(client, request, none, count_bytes, end, &answers[i], NULL);
    /* The calls keep what they need of the client. */
    literllm_client_free(client);
    pthread_mutex_lock(&lock);
    while (under_way > 0) pthread_cond_wait(&all_done, &lock);
    pthread_mutex_unlock(&lock);
    return failed;
}
