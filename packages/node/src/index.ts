/**
 * One engine that streams every LLM the same way.
 *
 *     const client = new LlmClient({ apiKey: process.env.OPENAI_API_KEY });
 *     const chunks = await client.chatStream({ model: "openai/gpt-4o", messages: [{ role: "user", content: "Tell me a story" }] });
 *     for await (const chunk of chunks) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
 */

export { LlmClient } from "./client";
export {
  AllFailedError,
  AuthenticationError,
  CancelledError,
  ContentPolicyError,
  ContextLengthError,
  type ErrorKind,
  InvalidRequestError,
  LlmError,
  NetworkError,
  NotFoundError,
  OverloadedError,
  PanicError,
  PermissionError,
  ProtocolError,
  RateLimitedError,
  ServerError,
  TimeoutError,
  TruncatedError,
} from "./errors";
export type { Hook, HookContext, HookError } from "./hooks";
export type {
  CacheOptions,
  CallOptions,
  ClientOptions,
  Host,
  Limit,
  Quirks,
  Retries,
  Timeouts,
} from "./options";
export { type ByteStream, ChatStream } from "./stream";
export type { AwsKeys, Token, TokenProvider } from "./tokens";
export { jsonSchema, type Schema, type TypedFormat, type TypedTool, tool } from "./tools";
export type * from "./types";
