#include "queue.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <unistd.h>
#endif

// What waits for a goroutine before the provider is no longer read: so many chunks, or so many bytes. And how many chunks at most are put down
// before it is woken, while more are there at once.
enum { MOST_CHUNKS = 2048, MOST_BYTES = 1 << 20, GATHERED_CHUNKS = 512 };

// Writing

static void *at_least(void *memory, size_t size) {
	memory = realloc(memory, size);
	if (memory == NULL) {
		fputs("liter-llm: no memory is left\n", stderr);
		abort();
	}
	return memory;
}

static size_t filled_up(size_t length) { return (length + 7) & ~(size_t)7; }

// Piles to be used again: a large piece of memory that is freed may go back to the system, and cost more the next time than what is put into it.
enum { FIRST_BYTES = 1 << 10, MOST_SPARE = 16 };
static literllm_go_pile *spare[MOST_SPARE];
static int spares;
static pthread_mutex_t over_spares = PTHREAD_MUTEX_INITIALIZER;

static literllm_go_pile *with_capacity(literllm_go_pile *pile, size_t capacity) {
	pile = at_least(pile, sizeof *pile + capacity);
	pile->capacity = capacity;
	return pile;
}

static literllm_go_pile *new_pile(void) {
	pthread_mutex_lock(&over_spares);
	literllm_go_pile *pile = spares > 0 ? spare[--spares] : NULL;
	pthread_mutex_unlock(&over_spares);
	return pile != NULL ? pile : with_capacity(NULL, FIRST_BYTES);
}

void literllm_go_pile_free(literllm_go_pile *pile) {
	if (pile->capacity <= LITERLLM_GO_MOST_KEPT) {
		pthread_mutex_lock(&over_spares);
		if (spares < MOST_SPARE) {
			spare[spares++] = pile;
			pile = NULL;
		}
		pthread_mutex_unlock(&over_spares);
	}
	free(pile);
}

static void free_all(literllm_go_pile *pile) {
	while (pile != NULL) {
		literllm_go_pile *next = pile->next;
		literllm_go_pile_free(pile);
		pile = next;
	}
}

static char *data_of(literllm_go_pile *pile) { return (char *)(pile + 1); }

// Makes room at the end of a pile, which may move.
static inline char *more(literllm_go_pile **pile, size_t size) {
	size_t length = (*pile)->length + size;
	if (length > (*pile)->capacity) *pile = with_capacity(*pile, 2 * length);
	char *room = data_of(*pile) + (*pile)->length;
	(*pile)->length = length;
	return room;
}

static void put_number(literllm_go_pile **pile, int64_t number) { memcpy(more(pile, sizeof number), &number, sizeof number); }

static void put_bytes(literllm_go_pile **pile, literllm_text text) {
	if (text.length == 0) return;
	char *room = more(pile, filled_up(text.length));
	memset(room + filled_up(text.length) - 8, 0, 8);
	memcpy(room, text.data, text.length);
}

static void put_text(literllm_go_pile **pile, literllm_text text) {
	put_number(pile, text.data == NULL ? -1 : (int64_t)text.length);
	put_bytes(pile, text);
}

static size_t begin(literllm_go_pile **pile) {
	more(pile, sizeof(literllm_go_record));
	return (*pile)->length;
}

static void end(literllm_go_pile *pile, size_t begun, literllm_go_record record) {
	record.length = (uint32_t)(pile->length - begun);
	memcpy(data_of(pile) + begun - sizeof record, &record, sizeof record);
}

static void put_record(literllm_go_pile **pile, uint16_t kind, uint16_t choice, literllm_text text) {
	literllm_go_record record = {(uint32_t)text.length, choice, kind};
	char *room = more(pile, sizeof record + filled_up(text.length));
	memcpy(room, &record, sizeof record);
	if (text.length == 0) return;
	memset(room + filled_up(text.length), 0, 8);
	memcpy(room + sizeof record, text.data, text.length);
}

static bool same_text(literllm_text a, literllm_text b) { return a.data == b.data && a.length == b.length; }

// Whether two chunks that came together have the same envelope; false where only the bytes tell.
static bool same_envelope(const literllm_chunk *a, const literllm_chunk *b) {
	return same_text(a->id, b->id) && same_text(a->model, b->model) && a->created == b->created &&
	       same_text(a->system_fingerprint, b->system_fingerprint) && same_text(a->service_tier, b->service_tier);
}

// Puts a chunk's envelope down, unless it is the last one.
static void put_envelope(literllm_go_queue *queue, const literllm_chunk *chunk) {
	literllm_go_pile **pile = &queue->filling, **last = &queue->envelope;
	size_t before = (*pile)->length, begun = begin(pile);
	put_number(pile, chunk->created);
	put_text(pile, chunk->id);
	put_text(pile, chunk->model);
	put_text(pile, chunk->system_fingerprint);
	put_text(pile, chunk->service_tier);
	size_t length = (*pile)->length - begun;
	if (*last == NULL) {
		*last = with_capacity(NULL, length);
		(*last)->length = 0;
	} else if (length == (*last)->length && memcmp(data_of(*pile) + begun, data_of(*last), length) == 0) {
		(*pile)->length = before;
		return;
	}
	(*last)->length = 0;
	memcpy(more(last, length), data_of(*pile) + begun, length);
	end(*pile, begun, (literllm_go_record){.kind = LITERLLM_GO_ENVELOPE});
}

static void put_usage(literllm_go_pile **pile, const literllm_usage *usage) {
	put_number(pile, usage != NULL);
	if (usage == NULL) return;
	put_number(pile, usage->prompt_tokens);
	put_number(pile, usage->completion_tokens);
	put_number(pile, usage->total_tokens);
	put_number(pile, usage->cached_tokens);
	put_number(pile, usage->reasoning_tokens);
}

static void put_choice(literllm_go_pile **pile, const literllm_chunk_choice *choice) {
	const literllm_message *delta = choice->delta;
	put_number(pile, choice->index);
	put_text(pile, choice->finish_reason);
	put_text(pile, choice->native_finish_reason);
	put_text(pile, delta->role);
	put_text(pile, delta->content);
	put_text(pile, delta->refusal);
	put_text(pile, delta->reasoning_content);
	put_number(pile, (int64_t)delta->tool_calls_length);
	for (size_t i = 0; i < delta->tool_calls_length; i++) {
		const literllm_tool_call *call = delta->tool_calls[i];
		put_number(pile, call->index);
		put_text(pile, call->id);
		put_text(pile, call->kind);
		put_text(pile, call->name);
		put_text(pile, call->arguments);
	}
}

static bool says_text_alone(const literllm_chunk *chunk) {
	if (chunk->has_more || chunk->usage != NULL || chunk->choices_length != 1) return false;
	const literllm_chunk_choice *choice = chunk->choices[0];
	const literllm_message *delta = choice->delta;
	return choice->index <= UINT16_MAX && choice->finish_reason.length == 0 && choice->native_finish_reason.length == 0 &&
	       delta->role.length == 0 && delta->refusal.data == NULL && delta->tool_calls_length == 0 &&
	       (delta->content.data == NULL) != (delta->reasoning_content.data == NULL);
}

static void put_chunk(literllm_go_pile **pile, const literllm_chunk *chunk) {
	if (says_text_alone(chunk)) {
		const literllm_chunk_choice *choice = chunk->choices[0];
		if (choice->delta->content.data != NULL) {
			put_record(pile, LITERLLM_GO_CONTENT, (uint16_t)choice->index, choice->delta->content);
		} else {
			put_record(pile, LITERLLM_GO_REASONING, (uint16_t)choice->index, choice->delta->reasoning_content);
		}
	} else if (chunk->has_more) {
		put_record(pile, LITERLLM_GO_JSON, 0, literllm_chunk_json(chunk));
	} else {
		size_t begun = begin(pile);
		put_usage(pile, chunk->usage);
		put_number(pile, (int64_t)chunk->choices_length);
		for (size_t i = 0; i < chunk->choices_length; i++) put_choice(pile, chunk->choices[i]);
		end(*pile, begun, (literllm_go_record){.kind = LITERLLM_GO_CHUNK});
	}
}

// Waking

literllm_go_bell literllm_go_the_bell;

// As an eventfd wants it; a pipe takes it as well.
static const uint64_t once = 1;

static void wake(void) {
#ifdef _WIN32
	DWORD written;
	WriteFile((HANDLE)literllm_go_the_bell.descriptor, &once, sizeof once, &written, NULL);
#else
	// A pipe that is full wakes as well.
	while (write((int)literllm_go_the_bell.descriptor, &once, sizeof once) < 0 && errno == EINTR) {
	}
#endif
}

// Says that something is there. Of a call that is over, the queue may be gone when this returns.
static void ring(literllm_go_queue *queue, uint32_t state) {
	literllm_go_bell *bell = &literllm_go_the_bell;
	if (__atomic_fetch_or(&queue->state, state | LITERLLM_GO_RUNG, __ATOMIC_SEQ_CST) & LITERLLM_GO_RUNG) return;
	queue->next = __atomic_load_n(&bell->rung, __ATOMIC_SEQ_CST);
	while (!__atomic_compare_exchange_n(&bell->rung, &queue->next, queue, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
	}
	if (__atomic_exchange_n(&bell->asleep, 0, __ATOMIC_SEQ_CST)) wake();
}

// The queue

literllm_go_queue *literllm_go_queue_new(uintptr_t handle) {
	literllm_go_queue *queue = at_least(NULL, sizeof *queue);
	*queue = (literllm_go_queue){.handle = handle};
	return queue;
}

void literllm_go_queue_free(literllm_go_queue *queue) {
	literllm_call_free(queue->call);
	free_all(queue->filling);
	free_all(queue->waiting);
	free_all(queue->emptied);
	free(queue->envelope);
	free(queue->error);
	free(queue);
}

// A pile to fill. Only the library takes from the emptied ones, and takes them all: what it looks at cannot have come and gone meanwhile.
static literllm_go_pile *empty_pile(literllm_go_queue *queue) {
	literllm_go_pile *pile = __atomic_exchange_n(&queue->emptied, NULL, __ATOMIC_SEQ_CST);
	if (pile == NULL) {
		pile = new_pile();
	} else {
		free_all(pile->next);
	}
	pile->next = NULL;
	pile->length = pile->chunks = 0;
	return pile;
}

// Lets the goroutine have what was put down.
static void hand_over(literllm_go_queue *queue) {
	literllm_go_pile *pile = queue->filling;
	if (pile == NULL) return;
	queue->filling = NULL;
	__atomic_fetch_add(&queue->waiting_chunks, pile->chunks, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&queue->waiting_bytes, pile->length, __ATOMIC_SEQ_CST);
	pile->next = __atomic_load_n(&queue->waiting, __ATOMIC_SEQ_CST);
	while (!__atomic_compare_exchange_n(&queue->waiting, &pile->next, pile, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
	}
}

uint32_t literllm_go_on_chunks(void *user_data, const literllm_chunk *const *chunks, size_t count) {
	literllm_go_queue *queue = user_data;
	if (count == 0) {
		if (queue->filling == NULL) return LITERLLM_FLOW_CONTINUE;
		hand_over(queue);
		ring(queue, 0);
		return LITERLLM_FLOW_CONTINUE;
	}
	if (queue->filling == NULL) queue->filling = empty_pile(queue);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || !same_envelope(chunks[i], chunks[i - 1])) put_envelope(queue, chunks[i]);
		put_chunk(&queue->filling, chunks[i]);
	}
	literllm_go_pile *pile = queue->filling;
	pile->chunks += count;
	bool pause = __atomic_load_n(&queue->waiting_chunks, __ATOMIC_SEQ_CST) + pile->chunks >= MOST_CHUNKS ||
	             __atomic_load_n(&queue->waiting_bytes, __ATOMIC_SEQ_CST) + pile->length >= MOST_BYTES;
	if (!pause && pile->chunks < GATHERED_CHUNKS) return LITERLLM_FLOW_GATHER;
	if (pause) __atomic_store_n(&queue->paused, 1, __ATOMIC_SEQ_CST);
	hand_over(queue);
	ring(queue, 0);
	return pause ? LITERLLM_FLOW_PAUSE : LITERLLM_FLOW_GATHER;
}

void literllm_go_on_done(void *user_data, const literllm_response *response, const literllm_error *error) {
	literllm_go_queue *queue = user_data;
	(void)response;
	if (error != NULL) {
		literllm_text text = literllm_error_json(error);
		queue->error = at_least(NULL, text.length);
		queue->error_length = text.length;
		memcpy(queue->error, text.data, text.length);
	}
	hand_over(queue);
	ring(queue, LITERLLM_GO_DONE);
}
