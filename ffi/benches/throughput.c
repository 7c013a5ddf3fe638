/*
 * What scripts/bench.d/c measures: throughput cpu|first BASE_URL STREAMS. Streams by callback, one after the other.
 * cpu: microseconds of CPU a chunk, peak memory in MiB. first: microseconds until the first chunk with text.
 */
#define _POSIX_C_SOURCE 200809L
#include <literllm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done, failed;
    size_t chunks, text;
    double first;
} stream;

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint32_t on_chunks(void *user_data, const literllm_chunk *const *chunks, size_t count) {
    stream *s = user_data;
    for (size_t i = 0; i < count; i++) {
        if (chunks[i]->choices_length == 0) continue;
        size_t length = chunks[i]->choices[0]->delta->content.length;
        if (length && s->first == 0) s->first = seconds(CLOCK_MONOTONIC);
        s->text += length;
    }
    s->chunks += count;
    return LITERLLM_FLOW_CONTINUE;
}

static void on_done(void *user_data, const literllm_response *response, const literllm_error *error) {
    stream *s = user_data;
    if (!response) fprintf(stderr, "%s\n", error->message.data);
    pthread_mutex_lock(&s->lock);
    s->done = true;
    s->failed = !response;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static stream run(literllm_client *client) {
    static const char request[] =
        "{\"model\":\"openai/gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"Tell me a story about a lighthouse\"}]}";
    const literllm_text none = {NULL, 0};
    stream s = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false, 0, 0, 0};
    literllm_client_chat_stream(client, literllm_text_of(request), none, on_chunks, on_done, &s, NULL);
    pthread_mutex_lock(&s.lock);
    while (!s.done) pthread_cond_wait(&s.changed, &s.lock);
    pthread_mutex_unlock(&s.lock);
    if (s.failed) exit(1);
    return s;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    literllm_client_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.provider = "openai";
    options.api_key = "sk-anything";
    options.base_url = argv[2];
    literllm_client *client = NULL;
    if (literllm_client_new_with(&options, &client)) return 1;
    int streams = atoi(argv[3]);
    if (strcmp(argv[1], "cpu") == 0) {
        run(client);
        run(client);
        double before = seconds(CLOCK_PROCESS_CPUTIME_ID);
        size_t chunks = 0;
        for (int i = 0; i < streams; i++) chunks += run(client).chunks;
        double spent = seconds(CLOCK_PROCESS_CPUTIME_ID) - before;
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        printf("%.4f %.2f\n", spent * 1e6 / (double)chunks, (double)usage.ru_maxrss / 1024);
    } else {
        double *times = calloc((size_t)streams, sizeof *times);
        for (int i = -10; i < streams; i++) {
            double began = seconds(CLOCK_MONOTONIC);
            double first = run(client).first;
            if (i >= 0) times[i] = first - began;
        }
        qsort(times, (size_t)streams, sizeof *times, ascending);
        printf("%.1f\n", times[streams / 2] * 1e6);
        free(times);
    }
    literllm_client_free(client);
    return 0;
}
