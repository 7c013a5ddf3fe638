// What the library says of a call, until the goroutine that made the call takes it. Threads of the library put it down without running any Go
// code: a thread that had been in Go would leave Go's scheduler looking after it for milliseconds. A goroutine that waits is woken through a
// descriptor, which Go's poller watches as it does sockets.

#ifndef LITERLLM_GO_QUEUE_H
#define LITERLLM_GO_QUEUE_H

#include "literllm.h"

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

// Records, in one piece of memory: they follow the header.
typedef struct literllm_go_pile {
	struct literllm_go_pile *next;
	size_t length;
	size_t capacity;
	size_t chunks;
} literllm_go_pile;

// A pile that has become larger than this is not filled again: a stream that waits has no more memory than that.
enum { LITERLLM_GO_MOST_KEPT = 64 << 10 };

void literllm_go_pile_free(literllm_go_pile *pile);

// What both sides touch at once is touched atomically: on Go's side without a call of C, for which Go's scheduler would wake up its monitor.
typedef struct literllm_go_queue {
	literllm_call *call;
	// The cgo.Handle of the call's delivery.
	uintptr_t handle;
	// The next of those that have rung.
	struct literllm_go_queue *next;
	// Whether it has rung and was not heard yet, and whether the call is over. What is over and heard is not touched by the library any more.
	uint32_t state;
	// Whether the call is paused, to be resumed by who takes what waits.
	uint32_t paused;
	// What waits for the goroutine, the latest first, and how much that is. Piles that it has done with come back through `emptied`.
	literllm_go_pile *waiting;
	size_t waiting_chunks;
	size_t waiting_bytes;
	literllm_go_pile *emptied;

	// The library's alone: the pile that is being filled, and the last envelope.
	literllm_go_pile *filling;
	literllm_go_pile *envelope;

	// Once the call is over: the error as JSON, where it failed.
	char *error;
	size_t error_length;
} literllm_go_queue;

enum {
	LITERLLM_GO_RUNG = 1,
	LITERLLM_GO_DONE = 2,
};

literllm_go_queue *literllm_go_queue_new(uintptr_t handle);
// Frees a queue whose call is over, and the call.
void literllm_go_queue_free(literllm_go_queue *queue);

// The callbacks, with a queue as user data.
uint32_t literllm_go_on_chunks(void *queue, const literllm_chunk *const *chunks, size_t count);
void literllm_go_on_done(void *queue, const literllm_response *response, const literllm_error *error);

// How the library wakes a goroutine.
typedef struct {
	// The queues that have rung and were not heard, linked by `next`; each is to be heard then.
	literllm_go_queue *rung;
	// Whether everyone sleeps: then whoever rings writes to the descriptor.
	uint32_t asleep;
	intptr_t descriptor;
} literllm_go_bell;

extern literllm_go_bell literllm_go_the_bell;

#endif
