/* What the C tests share: checks, waiting for the end of a call, and the mock provider's control endpoints. */
#ifndef LITERLLM_TESTS_HARNESS_H
#define LITERLLM_TESTS_HARNESS_H

#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "literllm.h"

/* A program uses some of these. */
#define SHARED __attribute__((unused)) static

SHARED const char *mock_url;
SHARED int mock_port;
SHARED int failures;

#define CHECK(condition, ...)                                                                                                      \
    do {                                                                                                                           \
        if (!(condition)) {                                                                                                        \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                                 \
            printf(__VA_ARGS__);                                                                                                   \
            printf("\n");                                                                                                          \
            failures++;                                                                                                            \
        }                                                                                                                          \
    } while (0)

static const literllm_text NONE = {NULL, 0};

SHARED bool same(literllm_text text, const char *other) {
    return text.data && text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}

SHARED double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

SHARED int thread_count(void) {
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    int threads = -1;
    while (status && fgets(line, sizeof line, status)) sscanf(line, "Threads: %d", &threads);
    if (status) fclose(status);
    return threads;
}

/* Asks the mock for a path and returns the status. */
SHARED int mock_ask(const char *method, const char *path) {
    struct sockaddr_in address = {0};
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)mock_port);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0), status = 0;
    if (connect(s, (struct sockaddr *)&address, sizeof address) == 0) {
        char text[1024];
        int length = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nhost: mock\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", method, path);
        if (write(s, text, (size_t)length) == length) {
            ssize_t got = read(s, text, sizeof text - 1);
            if (got > 0) {
                text[got] = 0;
                sscanf(text, "HTTP/1.1 %d", &status);
            }
        }
    }
    close(s);
    return status;
}

/* Waits until something has happened to the request that has this id. */
SHARED bool mock_saw(const char *id, const char *event) {
    char path[256];
    snprintf(path, sizeof path, "/_mock/wait?id=%s&event=%s&timeout_ms=10000", id, event);
    return mock_ask("GET", path) == 200;
}

SHARED literllm_client *client_with(const char *more) {
    char config[1024];
    snprintf(config, sizeof config, "{\"api_keys\":{\"openai\":\"test-key-1234\"},\"base_urls\":{\"openai\":\"%s/v1\"},\"max_retries\":0%s}", mock_url, more);
    literllm_client *client = NULL;
    literllm_error *error = literllm_client_new(literllm_text_of(config), &client);
    CHECK(error == NULL && client != NULL, "no client");
    literllm_error_free(error);
    return client;
}

/* A request whose answer the mock makes as asked for. It is good until the next call on the same thread. */
SHARED literllm_text ask(const char *behaviour) {
    static _Thread_local char request[1024];
    snprintf(request, sizeof request,
             "{\"model\":\"openai/demo?%s\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream_options\":{\"include_usage\":true}}", behaviour);
    return literllm_text_of(request);
}

/* What came of one call. */
typedef struct outcome {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    literllm_call *call;
    char text[8192];
    size_t length;
    int batches, chunks, lulls, done, complete;
    unsigned kind;
    char partial[1024];
    char message[1024];
    /* What on_chunks answers, to chunks and to none. */
    uint32_t answer, answer_in_lull;
    /* Runs inside on_chunks and on_done. */
    void (*inside_chunks)(struct outcome *);
    void (*inside_done)(struct outcome *);
} outcome;

SHARED void outcome_init(outcome *o) {
    memset(o, 0, sizeof *o);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
}

SHARED uint32_t on_chunks(void *user_data, const literllm_chunk *const *chunks, size_t count) {
    outcome *o = user_data;
    pthread_mutex_lock(&o->lock);
    CHECK(o->done == 0, "chunks after the end");
    CHECK(count > 0 || o->batches > o->lulls, "an empty batch");
    for (size_t i = 0; i < count; i++) {
        CHECK(chunks[i]->size == sizeof(literllm_chunk), "the chunk's size");
        for (size_t c = 0; c < chunks[i]->choices_length; c++) {
            literllm_text content = chunks[i]->choices[c]->delta->content;
            if (o->length + content.length < sizeof o->text) {
                if (content.length) memcpy(o->text + o->length, content.data, content.length);
                o->length += content.length;
            }
        }
    }
    *(count > 0 ? &o->batches : &o->lulls) += 1;
    o->chunks += (int)count;
    uint32_t answer = count > 0 ? o->answer : o->answer_in_lull;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    if (o->inside_chunks) o->inside_chunks(o);
    return answer;
}

SHARED void on_done(void *user_data, const literllm_response *response, const literllm_error *error) {
    outcome *o = user_data;
    CHECK((response == NULL) != (error == NULL), "one of response and error");
    if (o->inside_done) o->inside_done(o);
    pthread_mutex_lock(&o->lock);
    o->done++;
    o->complete = response != NULL;
    if (error) {
        o->kind = error->kind;
        CHECK(error->size == sizeof(literllm_error), "the error's size");
        snprintf(o->message, sizeof o->message, "%s", error->message.data);
        if (error->partial && error->partial->choices_length) {
            literllm_text content = error->partial->choices[0]->message->content;
            snprintf(o->partial, sizeof o->partial, "%.*s", (int)content.length, content.data ? content.data : "");
        }
    }
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

/* Waits for a number that a callback counts. */
SHARED bool wait_for(outcome *o, int *counter, int value) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    int timed_out = 0;
    pthread_mutex_lock(&o->lock);
    while (*counter < value && !timed_out) timed_out = pthread_cond_timedwait(&o->changed, &o->lock, &until);
    pthread_mutex_unlock(&o->lock);
    return !timed_out;
}

SHARED void start(literllm_client *client, outcome *o, const char *behaviour) {
    literllm_client_chat_stream(client, ask(behaviour), NONE, on_chunks, on_done, o, &o->call);
}

#endif
