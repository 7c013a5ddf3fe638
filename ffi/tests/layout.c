/* The layout that programs are compiled against. It may grow at the ends of structs; nothing here may ever change. */
#include "literllm.h"

#define AT(type, field, offset) typedef char type##_##field##_has_moved[offsetof(type, field) == (offset) ? 1 : -1]
#define IS(name, value) typedef char name##_has_changed[(name) == (value) ? 1 : -1]

#if UINTPTR_MAX == UINT64_MAX
AT(literllm_text, data, 0);
AT(literllm_text, length, 8);
AT(literllm_chunk, size, 0);
AT(literllm_chunk, source, 8);
AT(literllm_chunk, id, 16);
AT(literllm_chunk, model, 32);
AT(literllm_chunk, created, 48);
AT(literllm_chunk, choices, 56);
AT(literllm_chunk, choices_length, 64);
AT(literllm_chunk, usage, 72);
AT(literllm_chunk, system_fingerprint, 80);
AT(literllm_chunk, service_tier, 96);
AT(literllm_chunk, has_more, 112);
AT(literllm_chunk_choice, size, 0);
AT(literllm_chunk_choice, index, 8);
AT(literllm_chunk_choice, delta, 16);
AT(literllm_chunk_choice, finish_reason, 24);
AT(literllm_chunk_choice, native_finish_reason, 40);
AT(literllm_message, size, 0);
AT(literllm_message, role, 8);
AT(literllm_message, content, 24);
AT(literllm_message, refusal, 40);
AT(literllm_message, reasoning_content, 56);
AT(literllm_message, tool_calls, 72);
AT(literllm_message, tool_calls_length, 80);
AT(literllm_tool_call, size, 0);
AT(literllm_tool_call, index, 8);
AT(literllm_tool_call, id, 16);
AT(literllm_tool_call, kind, 32);
AT(literllm_tool_call, name, 48);
AT(literllm_tool_call, arguments, 64);
AT(literllm_usage, size, 0);
AT(literllm_usage, prompt_tokens, 8);
AT(literllm_usage, completion_tokens, 16);
AT(literllm_usage, total_tokens, 24);
AT(literllm_usage, cached_tokens, 32);
AT(literllm_usage, reasoning_tokens, 40);
AT(literllm_response, size, 0);
AT(literllm_response, owner, 8);
AT(literllm_response, id, 16);
AT(literllm_response, model, 32);
AT(literllm_response, created, 48);
AT(literllm_response, choices, 56);
AT(literllm_response, choices_length, 64);
AT(literllm_response, usage, 72);
AT(literllm_response, provider, 80);
AT(literllm_response, request_id, 96);
AT(literllm_response, cost, 112);
AT(literllm_choice, size, 0);
AT(literllm_choice, index, 8);
AT(literllm_choice, message, 16);
AT(literllm_choice, finish_reason, 24);
AT(literllm_choice, native_finish_reason, 40);
AT(literllm_error, size, 0);
AT(literllm_error, owner, 8);
AT(literllm_error, kind, 16);
AT(literllm_error, status, 20);
AT(literllm_error, retryable, 22);
AT(literllm_error, retry_after, 24);
AT(literllm_error, message, 32);
AT(literllm_error, provider, 48);
AT(literllm_error, model, 64);
AT(literllm_error, request_id, 80);
AT(literllm_error, code, 96);
AT(literllm_error, param, 112);
AT(literllm_error, body, 128);
AT(literllm_error, partial, 144);
AT(literllm_error, causes, 152);
AT(literllm_error, causes_length, 160);
AT(literllm_client_options, size, 0);
AT(literllm_client_options, api_key, 8);
AT(literllm_client_options, base_url, 16);
AT(literllm_client_options, provider, 24);
AT(literllm_client_options, connect_timeout, 32);
AT(literllm_client_options, first_token_timeout, 40);
AT(literllm_client_options, idle_timeout, 48);
AT(literllm_client_options, timeout, 56);
AT(literllm_client_options, max_retries, 64);
#endif

IS(LITERLLM_HOOK_STAGE_BEFORE_REQUEST, 1);
IS(LITERLLM_HOOK_STAGE_AFTER_HEADERS, 2);
IS(LITERLLM_HOOK_STAGE_ON_CHUNKS, 4);
IS(LITERLLM_HOOK_STAGE_ON_ERROR, 8);
IS(LITERLLM_HOOK_STAGE_ON_END, 16);
IS(LITERLLM_FLOW_CONTINUE, 0);
IS(LITERLLM_FLOW_PAUSE, 1);
IS(LITERLLM_FLOW_STOP, 2);
IS(LITERLLM_FLOW_GATHER, 3);
IS(LITERLLM_NEXT_PENDING, 0);
IS(LITERLLM_NEXT_CHUNKS, 1);
IS(LITERLLM_NEXT_END, 2);
IS(LITERLLM_NEXT_ERROR, 3);
IS(LITERLLM_ERROR_KIND_AUTHENTICATION, 1);
IS(LITERLLM_ERROR_KIND_PERMISSION, 2);
IS(LITERLLM_ERROR_KIND_NOT_FOUND, 3);
IS(LITERLLM_ERROR_KIND_INVALID_REQUEST, 4);
IS(LITERLLM_ERROR_KIND_CONTEXT_LENGTH, 5);
IS(LITERLLM_ERROR_KIND_CONTENT_POLICY, 6);
IS(LITERLLM_ERROR_KIND_RATE_LIMITED, 7);
IS(LITERLLM_ERROR_KIND_OVERLOADED, 8);
IS(LITERLLM_ERROR_KIND_SERVER, 9);
IS(LITERLLM_ERROR_KIND_TIMEOUT, 10);
IS(LITERLLM_ERROR_KIND_NETWORK, 11);
IS(LITERLLM_ERROR_KIND_TRUNCATED, 12);
IS(LITERLLM_ERROR_KIND_PROTOCOL, 13);
IS(LITERLLM_ERROR_KIND_CANCELLED, 14);
IS(LITERLLM_ERROR_KIND_ALL_FAILED, 15);
IS(LITERLLM_ERROR_KIND_PANIC, 16);

int main(void) { return 0; }
