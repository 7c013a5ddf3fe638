// What the library says of a call, until the goroutine that made the call takes it. Threads of the library put it down without running any Go
// code: a thread that had been in Go would leave Go's scheduler looking after it for milliseconds. A goroutine that waits is woken through a
// pipe, which Go's poller watches anyway.

#ifndef LITERLLM_GO_QUEUE_H
#define LITERLLM_GO_QUEUE_H

#include "literllm.h"
#include <pthread.h>

// A record is a header and the bytes that follow it, filled up to a multiple of 8.
//
// Inside, a number is 8 bytes, and a text its length, -1 where there is none, and its bytes, filled up likewise.
typedef struct {
	uint32_t length;
	uint16_t choice;
	uint16_t kind;
} literllm_go_record;

enum {
	// What the chunks that follow have in common: when they were created, id, model, fingerprint, tier.
	LITERLLM_GO_ENVELOPE,
	// A chunk that adds a text to a choice and says nothing else; the bytes are the text.
	LITERLLM_GO_CONTENT,
	LITERLLM_GO_REASONING,
	// Any other: usage, choices.
	LITERLLM_GO_CHUNK,
	// A chunk that says more than its view; the bytes are its JSON.
	LITERLLM_GO_JSON,
};

// Records, in one piece of memory.
typedef struct {
	char *data;
	size_t length;
	size_t capacity;
	size_t chunks;
} literllm_go_pile;

typedef struct literllm_go_queue {
	// The cgo.Handle of the call's delivery.
	uintptr_t handle;
	// The next of those that have rung.
	struct literllm_go_queue *next;
	// Whether it has rung and was not heard yet, and whether the call is over. What is over and heard is not touched by the library any more.
	uint32_t state;
	bool want_response;
	// The library's alone: the last envelope.
	literllm_go_pile envelope;

	// Over what follows.
	pthread_mutex_t mutex;
	literllm_go_pile waiting;
	bool paused;
	// How the call ended, as JSON.
	char *ending;
	size_t ending_length;
	bool failed;
} literllm_go_queue;

typedef struct {
	literllm_go_pile pile;
	bool over;
	bool resume;
} literllm_go_taken;

literllm_go_queue *literllm_go_queue_new(uintptr_t handle, bool want_response);
void literllm_go_queue_free(literllm_go_queue *queue);

// Empties the queue. The pile is the caller's to free; where `resume` is set, the call is paused and to be resumed.
literllm_go_taken literllm_go_queue_take(literllm_go_queue *queue);
void literllm_go_pile_free(literllm_go_pile pile);

// The callbacks, with a queue as user data.
uint32_t literllm_go_on_chunks(void *queue, const literllm_chunk *const *chunks, size_t count);
void literllm_go_on_done(void *queue, const literllm_response *response, const literllm_error *error);

// Says where to write a byte when a queue rings while everyone sleeps.
void literllm_go_wake_through(intptr_t pipe);

// The queues that have rung and were not heard, linked by `next`; each is to be heard then.
literllm_go_queue *literllm_go_rung(void);
void literllm_go_heard(literllm_go_queue *queue);

// Falls asleep: false where something has rung meanwhile. Else a byte will be in the pipe once something rings.
bool literllm_go_sleep(void);

#endif
