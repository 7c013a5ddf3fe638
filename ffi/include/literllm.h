/*
 * liter-llm: every LLM streamed the same way, as OpenAI's chunks.
 *
 * Functions are named literllm_<type>_<verb>. Handles are opaque; views are structs that point into the library's memory and are only read.
 *
 * Ownership: what a function returns or sets is the caller's, and has a _free; what a callback is given is borrowed until it returns. Text
 * that a function is given is borrowed until that function returns. Outputs are written on success only, unless a comment says otherwise.
 *
 * NULL: every function takes a NULL handle and does nothing, or answers an error, rather than crash.
 *
 * Threads: callbacks run on threads of the library, for one call never on two at a time. They must not block, throw or longjmp. They may
 * call any function but the blocking ones. fork() without exec() leaves the child without the library's threads: do not use it there.
 *
 * A panic, which is a bug, arrives as an error of kind LITERLLM_ERROR_KIND_PANIC, and the process lives on.
 *
 * Made by cbindgen from ffi/src; edit it there.
 */

#ifndef LITERLLM_H
#define LITERLLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * What went wrong, as a closed set. The numbers are those of the C ABI and never change.
 */
enum literllm_error_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The key is missing or refused.
     */
    LITERLLM_ERROR_KIND_AUTHENTICATION = 1,
    /**
     * The key is good but may not do this.
     */
    LITERLLM_ERROR_KIND_PERMISSION = 2,
    /**
     * No such model, deployment or path.
     */
    LITERLLM_ERROR_KIND_NOT_FOUND = 3,
    /**
     * The request cannot be served as it is.
     */
    LITERLLM_ERROR_KIND_INVALID_REQUEST = 4,
    /**
     * The conversation is longer than the model takes.
     */
    LITERLLM_ERROR_KIND_CONTEXT_LENGTH = 5,
    /**
     * The provider refused the content.
     */
    LITERLLM_ERROR_KIND_CONTENT_POLICY = 6,
    /**
     * Too many requests or tokens.
     */
    LITERLLM_ERROR_KIND_RATE_LIMITED = 7,
    /**
     * The provider has no capacity just now.
     */
    LITERLLM_ERROR_KIND_OVERLOADED = 8,
    /**
     * The provider failed.
     */
    LITERLLM_ERROR_KIND_SERVER = 9,
    /**
     * One of the deadlines passed.
     */
    LITERLLM_ERROR_KIND_TIMEOUT = 10,
    /**
     * The provider could not be reached.
     */
    LITERLLM_ERROR_KIND_NETWORK = 11,
    /**
     * The answer broke off; what had come is in `partial`.
     */
    LITERLLM_ERROR_KIND_TRUNCATED = 12,
    /**
     * The provider sent what is no answer in its own format.
     */
    LITERLLM_ERROR_KIND_PROTOCOL = 13,
    /**
     * The caller cancelled.
     */
    LITERLLM_ERROR_KIND_CANCELLED = 14,
    /**
     * Every model of a list failed; each one's error is in `causes`.
     */
    LITERLLM_ERROR_KIND_ALL_FAILED = 15,
    /**
     * A bug: a panic was caught at a boundary.
     */
    LITERLLM_ERROR_KIND_PANIC = 16,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum literllm_error_kind literllm_error_kind;
#else
typedef uint32_t literllm_error_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What literllm_stream_next() found.
 */
enum literllm_next
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Nothing is there yet; wait for the descriptor.
     */
    LITERLLM_NEXT_PENDING = 0,
    /**
     * Chunks were handed out.
     */
    LITERLLM_NEXT_CHUNKS = 1,
    /**
     * The answer is complete; literllm_stream_response() has it.
     */
    LITERLLM_NEXT_END = 2,
    /**
     * The stream failed; literllm_stream_error() says why.
     */
    LITERLLM_NEXT_ERROR = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum literllm_next literllm_next;
#else
typedef uint32_t literllm_next;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What the consumer of chunks wants next: the answers of `on_chunks`.
 */
enum literllm_flow
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    LITERLLM_FLOW_CONTINUE = 0,
    /**
     * Hand over nothing more until literllm_call_resume(). A resume that comes while the callback still runs is remembered.
     */
    LITERLLM_FLOW_PAUSE = 1,
    /**
     * Close the connection. The call ends with an error of kind `cancelled`, or as complete if all of the answer had been handed over.
     */
    LITERLLM_FLOW_STOP = 2,
    /**
     * As `Continue`, for who puts chunks aside to wake somebody for many at once: as soon as nothing more is there, `on_chunks` is called with
     * a `count` of 0, unless the call is over, which `on_done` says.
     */
    LITERLLM_FLOW_GATHER = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum literllm_flow literllm_flow;
#else
typedef uint32_t literllm_flow;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The moments at which hooks can be asked, to be joined by `|`.
 */
enum literllm_hook_stage
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * A model is about to be asked: it may be asked something else, refused, or answered for.
     */
    LITERLLM_HOOK_STAGE_BEFORE_REQUEST = 1,
    /**
     * A provider has answered well, and its content is about to come: it may be refused.
     */
    LITERLLM_HOOK_STAGE_AFTER_HEADERS = 2,
    /**
     * What came together is about to be handed over: it may be changed, or end the stream with an error.
     */
    LITERLLM_HOOK_STAGE_ON_CHUNKS = 4,
    /**
     * A model has failed for good: the error may be changed or, while nothing was handed over, answered for.
     */
    LITERLLM_HOOK_STAGE_ON_ERROR = 8,
    /**
     * A call is over: exactly once. Nothing can be changed.
     */
    LITERLLM_HOOK_STAGE_ON_END = 16,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum literllm_hook_stage literllm_hook_stage;
#else
typedef uint32_t literllm_hook_stage;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A call under way, started by literllm_client_chat() or literllm_client_chat_stream(). Its functions may be called from any thread, also
 * inside its callbacks, and also after the call is over.
 *
 * Methods: literllm_call_response, literllm_call_resume, literllm_call_cancel, literllm_call_free.
 */
typedef struct literllm_call literllm_call;

/**
 * Talks to every provider. Its functions may be called from any thread, and no call waits for another.
 *
 * Methods: literllm_client_new, literllm_client_new_with, literllm_client_new_with_hooks, literllm_client_chat, literllm_client_chat_stream,
 * literllm_client_open_stream, literllm_client_chat_blocking, literllm_client_chat_stream_blocking, literllm_client_free.
 */
typedef struct literllm_client literllm_client;

/**
 * A hook is asked something, or for a token, and the call waits for its answer. It is the program's from `on_hook` on, until it is answered; an
 * answer may come from any thread, at any time. A call that is cancelled or past its total deadline waits no longer.
 *
 * Methods: literllm_hook_call_event, literllm_hook_call_answer.
 */
typedef struct literllm_hook_call literllm_hook_call;

/**
 * A stream that is read by literllm_stream_next(), for programs with an event loop. While nobody reads it, nothing is read from the provider
 * and no deadline but the total one runs. One thread at a time may use it; literllm_stream_cancel() may be called from any.
 *
 * Methods: literllm_stream_next, literllm_stream_fd, literllm_stream_response, literllm_stream_error, literllm_stream_cancel,
 * literllm_stream_free.
 */
typedef struct literllm_stream literllm_stream;

/**
 * A piece of UTF-8 text, borrowed: `data` is NULL where there is none, and is not NUL-terminated. Print it with
 * `printf("%.*s", (int)text.length, text.data)`; make one of a C string with literllm_text_of().
 */
typedef struct literllm_text {
    const char *data;
    /**
     * In bytes.
     */
    size_t length;
} literllm_text;

/**
 * A tool call, or a piece of one. The first piece of a call carries id, type and name; each carries a piece of the arguments.
 */
typedef struct literllm_tool_call {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Which call of this answer: 0, 1, 2 and so on.
     */
    uint32_t index;
    struct literllm_text id;
    /**
     * `function`.
     */
    struct literllm_text kind;
    struct literllm_text name;
    /**
     * JSON text, as the model wrote it.
     */
    struct literllm_text arguments;
} literllm_tool_call;

/**
 * A message, or what a chunk adds to one.
 */
typedef struct literllm_message {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * In a chunk: in the choice's first.
     */
    struct literllm_text role;
    struct literllm_text content;
    struct literllm_text refusal;
    /**
     * The model's thinking.
     */
    struct literllm_text reasoning_content;
    /**
     * `tool_calls_length` pointers, none of them NULL.
     */
    const struct literllm_tool_call *const *tool_calls;
    size_t tool_calls_length;
} literllm_message;

/**
 * One choice of a whole answer.
 */
typedef struct literllm_choice {
    /**
     * The size of this struct.
     */
    size_t size;
    uint32_t index;
    /**
     * Never NULL.
     */
    const struct literllm_message *message;
    struct literllm_text finish_reason;
    /**
     * The provider's own word for it, where that is another.
     */
    struct literllm_text native_finish_reason;
} literllm_choice;

/**
 * Counts of tokens. `prompt_tokens` includes cached ones and `completion_tokens` includes reasoning. -1: the provider does not say.
 */
typedef struct literllm_usage {
    /**
     * The size of this struct.
     */
    size_t size;
    int64_t prompt_tokens;
    int64_t completion_tokens;
    int64_t total_tokens;
    int64_t cached_tokens;
    int64_t reasoning_tokens;
} literllm_usage;

/**
 * A whole answer: what a chat gives and what a stream's chunks add up to. Where a function returned it, it is the caller's, to be given to
 * literllm_response_free(); else it is borrowed, as the comment of where it comes from says. What it points at lives as long as it does.
 *
 * Methods: literllm_response_json, literllm_response_free.
 */
typedef struct literllm_response {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * The library's own.
     */
    const void *owner;
    struct literllm_text id;
    /**
     * The model that answered, by the provider's name for it.
     */
    struct literllm_text model;
    /**
     * In seconds since 1970.
     */
    int64_t created;
    /**
     * `choices_length` pointers, none of them NULL.
     */
    const struct literllm_choice *const *choices;
    size_t choices_length;
    /**
     * NULL where the provider did not say.
     */
    const struct literllm_usage *usage;
    /**
     * The provider that answered.
     */
    struct literllm_text provider;
    /**
     * The provider's name for the request, for its support.
     */
    struct literllm_text request_id;
    /**
     * US dollars; negative where the price is not known.
     */
    double cost;
} literllm_response;

/**
 * What went wrong. Where a function returned it, it is the caller's, to be given to literllm_error_free(); else it is borrowed, as the comment
 * of where it comes from says. What it points at lives as long as it does. Texts have no data where nothing is known.
 *
 * Methods: literllm_error_json, literllm_error_free.
 */
typedef struct literllm_error {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * The library's own.
     */
    const void *owner;
    literllm_error_kind kind;
    /**
     * The HTTP status; 0 where there was no answer.
     */
    uint16_t status;
    /**
     * Whether the same request may succeed later.
     */
    bool retryable;
    /**
     * How many seconds the provider asks to wait; negative where it does not say.
     */
    double retry_after;
    /**
     * For people: what happened, to which provider and model. It carries no key. Also NUL-terminated.
     */
    struct literllm_text message;
    struct literllm_text provider;
    struct literllm_text model;
    /**
     * The provider's name for the request, for its support.
     */
    struct literllm_text request_id;
    /**
     * The provider's own code.
     */
    struct literllm_text code;
    /**
     * The request's field that the provider blames.
     */
    struct literllm_text param;
    /**
     * The raw body of the provider's error.
     */
    struct literllm_text body;
    /**
     * What had been streamed before it; NULL where nothing had.
     */
    const struct literllm_response *partial;
    /**
     * Where every model of a list failed: `causes_length` pointers, the error of each.
     */
    const struct literllm_error *const *causes;
    size_t causes_length;
} literllm_error;

/**
 * The most common settings, for literllm_client_new_with(). Set all to zero first and `size` to the size of the struct; what stays zero has
 * its default. Everything else is set by JSON.
 */
typedef struct literllm_client_options {
    /**
     * sizeof(literllm_client_options).
     */
    size_t size;
    /**
     * NUL-terminated, or NULL: the key of `provider`, or else of the first request's provider. NULL: as the usual variable says.
     */
    const char *api_key;
    /**
     * NUL-terminated, or NULL: the base URL of the same provider.
     */
    const char *base_url;
    /**
     * NUL-terminated, or NULL: whom key and base URL belong to, and whom a model without a prefix is asked of.
     */
    const char *provider;
    /**
     * Deadlines in seconds; 0: the default, negative: none. Until the connection takes the request (10 s).
     */
    double connect_timeout;
    /**
     * From the request to the first token (10 minutes).
     */
    double first_token_timeout;
    /**
     * Between chunks (5 minutes).
     */
    double idle_timeout;
    /**
     * For the whole call, retries included (none).
     */
    double timeout;
    /**
     * How often a failed call is tried again before its first chunk; 0: the default of 2, negative: never.
     */
    int32_t max_retries;
} literllm_client_options;

/**
 * Says that a call is over; exactly once for every call, after the last `on_chunks`, and the place to free `user_data`. One of `response`
 * (the whole answer) and `error` is not NULL; both are borrowed until it returns. It runs on a thread of the library or, where the
 * arguments are wrong, on the caller's before the starting function returns. It must not block.
 */
typedef void (*literllm_on_done)(void *user_data, const struct literllm_response *response, const struct literllm_error *error);

/**
 * What a chunk says about one choice.
 */
typedef struct literllm_chunk_choice {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Which choice; 0 unless several were asked for.
     */
    uint32_t index;
    /**
     * What is added to the choice's message. Never NULL.
     */
    const struct literllm_message *delta;
    /**
     * Why the choice ended: `stop`, `length`, `tool_calls`, `content_filter` or a provider's own. Once in each choice, at its end.
     */
    struct literllm_text finish_reason;
    /**
     * The provider's own word for it, where that is another.
     */
    struct literllm_text native_finish_reason;
} literllm_chunk_choice;

/**
 * One piece of a streamed answer, as OpenAI's `chat.completion.chunk`. It and all that it points at are borrowed: until `on_chunks` returns,
 * or until the next call of literllm_stream_next(). Structs grow at their ends; `size` says how much of one this library knows.
 *
 * Methods: literllm_chunk_json.
 */
typedef struct literllm_chunk {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * The library's own.
     */
    const void *source;
    /**
     * The same in every chunk of an answer.
     */
    struct literllm_text id;
    /**
     * The model that answers, by the provider's name for it.
     */
    struct literllm_text model;
    /**
     * When the answer was begun, in seconds since 1970.
     */
    int64_t created;
    /**
     * `choices_length` pointers, none of them NULL. The chunk with the usage has none.
     */
    const struct literllm_chunk_choice *const *choices;
    size_t choices_length;
    /**
     * NULL in every chunk but the last, and there unless it was asked for.
     */
    const struct literllm_usage *usage;
    struct literllm_text system_fingerprint;
    struct literllm_text service_tier;
    /**
     * Whether the chunk's JSON says more than this struct and those it points at: log probabilities, citations, sound, thinking with its
     * signature, fields that this version does not know.
     */
    bool has_more;
} literllm_chunk;

/**
 * Receives chunks, in order, all that came together in one call; `count` is at least 1, except after LITERLLM_FLOW_GATHER. The chunks and all
 * that they point at are borrowed until it returns. It runs on a thread of the library, for one call never on two at a time, and must not
 * block: what it does holds up other streams. It may call every function but the blocking ones.
 *
 * It answers LITERLLM_FLOW_CONTINUE, LITERLLM_FLOW_GATHER (the same, and it is told when nothing more is there), LITERLLM_FLOW_PAUSE (nothing
 * more is read from the provider until literllm_call_resume()) or LITERLLM_FLOW_STOP (the connection is closed, and only `on_done` follows).
 */
typedef uint32_t (*literllm_on_chunks)(void *user_data, const struct literllm_chunk *const *chunks, size_t count);

/**
 * Asks a hook. `call` is the program's, to be given to literllm_hook_call_answer() now or later, once; the call waits for it. It runs on a
 * thread of the library or of a blocking call, for different calls at the same time, and must not block.
 */
typedef void (*literllm_on_hook)(void *user_data, struct literllm_hook_call *call);

/**
 * Frees what a program gave to be handed back to it; on any thread.
 */
typedef void (*literllm_free_user_data)(void *user_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of this library, such as "0.1.0". Static; never freed.
 */
const char *literllm_version(void);

/**
 * A C string as a text, borrowed as every text. NULL gives no text.
 */
struct literllm_text literllm_text_of(const char *string);

/**
 * Makes a client of a configuration in JSON. A NULL `config` is the default one: keys and base URLs come from the usual variables, such as
 * OPENAI_API_KEY and OPENAI_BASE_URL. On success NULL is returned and `client` is set to what is the caller's to free; else the error is
 * returned, the caller's to free, and `client` is left as it was.
 */
struct literllm_error *literllm_client_new(struct literllm_text config,
                                           struct literllm_client **client);

/**
 * As literllm_client_new(), of a struct of options. NULL options are the default ones. They are not used after the return.
 */
struct literllm_error *literllm_client_new_with(const struct literllm_client_options *options, struct literllm_client **client);

/**
 * Gives a client back. Its calls go on. NULL does nothing.
 */
void literllm_client_free(struct literllm_client *client);

/**
 * Asks for a whole answer, and returns at once; `on_done` gets it. `request` is an OpenAI chat request as JSON, its model
 * `provider/model`; `options`, which may be without data, are this call's own settings as JSON. Neither is used after the return, and the
 * client may be freed at any time. `on_done` must not be NULL; without it nothing is done.
 *
 * `call` may be NULL. Else it is set before any callback runs, to a handle that is the caller's to free, or to NULL where the arguments are
 * wrong. `on_done` may run before this returns.
 */
void literllm_client_chat(const struct literllm_client *client,
                          struct literllm_text request,
                          struct literllm_text options,
                          literllm_on_done on_done,
                          void *user_data,
                          struct literllm_call **call);

/**
 * Asks for a stream, and returns at once; everything else is as for literllm_client_chat(). `on_chunks` may be NULL where only the whole
 * answer is wanted, which `on_done` gets after the last chunk.
 */
void literllm_client_chat_stream(const struct literllm_client *client,
                                 struct literllm_text request,
                                 struct literllm_text options,
                                 literllm_on_chunks on_chunks,
                                 literllm_on_done on_done,
                                 void *user_data,
                                 struct literllm_call **call);

/**
 * Asks for a whole answer and waits for it. On success NULL is returned and `response`, if it is not NULL, is set to the answer, the caller's to
 * free. Not to be called inside a callback.
 */
struct literllm_error *literllm_client_chat_blocking(const struct literllm_client *client,
                                                     struct literllm_text request,
                                                     struct literllm_text options,
                                                     struct literllm_response **response);

/**
 * Streams to `on_chunks`, on the calling thread, and returns when the answer is over; LITERLLM_FLOW_PAUSE means no more than LITERLLM_FLOW_CONTINUE here,
 * and taking one's time is allowed. On success NULL is returned and `response`, if it is not NULL, is set to the whole answer, the caller's
 * to free. Not to be called inside a callback.
 */
struct literllm_error *literllm_client_chat_stream_blocking(const struct literllm_client *client,
                                                            struct literllm_text request,
                                                            struct literllm_text options,
                                                            literllm_on_chunks on_chunks,
                                                            void *user_data,
                                                            struct literllm_response **response);

/**
 * As literllm_client_new(), with a hook around every call. `stages` says when it is asked; all else costs nothing. `free_user_data`, which may
 * be NULL, is called exactly once: when the client and the last of its calls are gone or, where no client is made, before the return.
 * `on_hook` must not be NULL.
 *
 * It is asked for tokens, too, whatever the stages: for those of the providers that `config` lists, as in
 * `{"token_providers": ["vertex_ai", "azure", "bedrock"]}`, when the client has none, or the one it has is about to end.
 */
struct literllm_error *literllm_client_new_with_hooks(struct literllm_text config,
                                                      uint32_t stages,
                                                      literllm_on_hook on_hook,
                                                      void *user_data,
                                                      literllm_free_user_data free_user_data,
                                                      struct literllm_client **client);

/**
 * What is asked, as JSON: an object with `stage` (such as "before_request"), `call`, `attempt`, `provider`, `model`, `stream`, and by stage
 * `request`; `status`, `headers` and `request_id`; `chunks`; `error`; or `response`, `error` and `seconds`. For a token it has `stage`, which
 * is "token", and `provider`. It lives until the answer. NULL gives no text.
 */
struct literllm_text literllm_hook_call_event(const struct literllm_hook_call *call);

/**
 * Answers, and frees `call`. No text, an empty one or `{}` lets pass; else the answer is a JSON object with one of `request`, `chunks`, `error`
 * (an object of `kind` and `message`) and `response`, as the stage takes it; what it cannot take ends the call with an error of kind
 * `invalid_request`. `answer` is not used after the return. NULL does nothing.
 *
 * A token is given by `{"token": {"secret": "…", "expires_at": 1767225600}}`: a text, or AWS's `access_key_id`, `secret_access_key` and
 * `session_token` in an object, and when it ends, in seconds since 1970; without that it is asked for again with every request. Anything else,
 * such as `{"error": {"message": "…"}}`, ends the call with an error of kind `authentication`, which has the message.
 */
void literllm_hook_call_answer(struct literllm_hook_call *call,
                               struct literllm_text answer);

/**
 * The answer of a stream so far, which may be ahead of the chunks that were handed to `on_chunks`, and the whole answer of a call that is over;
 * the caller's to be given to literllm_response_free(). NULL while nothing has come, after an error, which has what had come as its partial
 * answer, and for NULL.
 */
struct literllm_response *literllm_call_response(const struct literllm_call *call);

/**
 * Ends the pause that `on_chunks` asked for. While no pause is asked for it does nothing, except that a resume that comes while the
 * callback still runs is remembered. NULL does nothing.
 */
void literllm_call_resume(const struct literllm_call *call);

/**
 * Closes the connection to the provider, paused or not. The call ends with an error of kind `cancelled`, which carries what had come as
 * its partial answer, or as complete if all of it had been handed over. Returns at once; `on_done` follows. NULL does nothing.
 */
void literllm_call_cancel(const struct literllm_call *call);

/**
 * Gives the handle back, and cancels the call if it is not over: `on_done` still comes. It may be called inside a callback. NULL does
 * nothing.
 */
void literllm_call_free(struct literllm_call *call);

/**
 * Starts a streamed chat to be read by literllm_stream_next(), and returns at once. `request` and `options` are as for
 * literllm_client_chat_stream(); they are not used after the return. On success NULL is returned and `stream` is set to what is the caller's
 * to free. The client may be freed at any time.
 */
struct literllm_error *literllm_client_open_stream(const struct literllm_client *client,
                                                   struct literllm_text request,
                                                   struct literllm_text options,
                                                   struct literllm_stream **stream);

/**
 * Hands out all chunks that are there, without waiting. Answers LITERLLM_NEXT_CHUNKS and sets `chunks` and `count` (borrowed until the next
 * call for this stream, or its free), LITERLLM_NEXT_PENDING, LITERLLM_NEXT_END or LITERLLM_NEXT_ERROR; the last two again if it is called
 * again. A NULL stream answers LITERLLM_NEXT_ERROR.
 */
literllm_next literllm_stream_next(const struct literllm_stream *stream,
                                   const struct literllm_chunk *const **chunks,
                                   size_t *count);

#if !defined(_WIN32)
/**
 * A descriptor that can be read (poll, select, epoll, kqueue) while literllm_stream_next() would not answer LITERLLM_NEXT_PENDING. Only wait
 * for it: do not read, write or close it. It lives as long as the stream. -1 for NULL.
 */
int literllm_stream_fd(const struct literllm_stream *stream);
#endif

/**
 * The answer so far, and the whole answer once literllm_stream_next() has answered LITERLLM_NEXT_END. It may be ahead of the chunks that were
 * handed out. NULL while nothing has come, and after an error, which has what had come as its partial answer. The whole answer lives as long as
 * the stream; one so far is borrowed until the next call of this function, and each call copies it anew.
 */
const struct literllm_response *literllm_stream_response(const struct literllm_stream *stream);

/**
 * The error, once literllm_stream_next() has answered LITERLLM_NEXT_ERROR; else NULL. It lives as long as the stream.
 */
const struct literllm_error *literllm_stream_error(const struct literllm_stream *stream);

/**
 * Closes the connection to the provider. Chunks that were there can still be taken; then the stream ends with an error of kind `cancelled`, or
 * as complete if that was all. NULL does nothing.
 */
void literllm_stream_cancel(const struct literllm_stream *stream);

/**
 * Frees a stream and all that was borrowed from it, and closes the connection if it is not over. NULL does nothing.
 */
void literllm_stream_free(struct literllm_stream *stream);

/**
 * The whole chunk as JSON, with the fields that the struct lacks. It is made when it is first asked for, and borrowed as long as the chunk.
 * NULL gives no text.
 */
struct literllm_text literllm_chunk_json(const struct literllm_chunk *chunk);

/**
 * The whole response as JSON, with the fields that the struct lacks. It is made when it is first asked for, and lives as long as the
 * response. NULL gives no text.
 */
struct literllm_text literllm_response_json(const struct literllm_response *response);

/**
 * Frees a response that a function returned; never one that is borrowed. NULL does nothing.
 */
void literllm_response_free(struct literllm_response *response);

/**
 * The name of a kind, such as "rate_limited"; "unknown" for a number that is none. Static; never freed.
 */
const char *literllm_error_kind_name(uint32_t kind);

/**
 * The error as JSON, made when it is first asked for. It lives as long as the error. NULL gives no text.
 */
struct literllm_text literllm_error_json(const struct literllm_error *error);

/**
 * Frees an error that a function returned; never one that is borrowed. NULL does nothing.
 */
void literllm_error_free(struct literllm_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LITERLLM_H */
