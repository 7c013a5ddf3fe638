/** What a program puts around every call: functions that may watch, change, refuse, or answer from elsewhere. */

import { type ErrorKind, errorFrom, type Fields, LlmError } from "./errors";
import type { ChatCompletion, ChatCompletionChunk, ChatCompletionRequest } from "./types";

/** Where in which call a hook is asked. */
export interface HookContext {
  /** The number of the call, of its own in this process. */
  call: number;
  /** The number of the model in the call, from 1. */
  attempt: number;
  provider: string;
  /** As the provider names it. */
  model: string;
  /** Whether the caller asked for a stream. */
  stream: boolean;
}

/** A no, or another error in the place of one; an `LlmError` is also one. */
export interface HookError {
  kind: ErrorKind;
  message: string;
}

/** What a function of a hook says, at once or later; nothing lets pass. */
// biome-ignore lint/suspicious/noConfusingVoidType: it is what a function without `return` gives
type Says<T> = T | undefined | void | Promise<T | undefined | void>;

/**
 * A hook. Its functions run on the event loop of the thread that made the client, and the call waits for them. One that throws refuses, as
 * if it had said an error of the kind `permission`, or of the thrown `LlmError`'s own; what was thrown is that error's `cause`. Those that
 * are left out cost nothing.
 */
export interface Hook {
  /** A model is about to be asked: before the first of a list, and before each that goes on. */
  beforeRequest?(
    event: HookContext & { request: ChatCompletionRequest },
  ): Says<{ request: ChatCompletionRequest } | { response: ChatCompletion } | { error: HookError }>;
  /** It has answered well, and its content is about to come. */
  afterHeaders?(
    event: HookContext & { status: number; headers: Record<string, string>; requestId?: string },
  ): Says<{ error: HookError }>;
  /** Chunks that came together are about to be handed over; a whole answer comes here, too, as if it had been streamed. */
  onChunks?(
    event: HookContext & { chunks: ChatCompletionChunk[] },
  ): Says<{ chunks: ChatCompletionChunk[] } | { error: HookError }>;
  /** A model failed for good. A response answers the call, which is possible only while nothing was shown. */
  onError?(event: HookContext & { error: LlmError }): Says<{ error: HookError } | { response: ChatCompletion }>;
  /** The call is over, however it ended: exactly once. */
  onEnd?(event: HookContext & { response?: ChatCompletion; error?: LlmError; seconds: number }): void | Promise<void>;
}

/** The engine's names of the stages. */
const stages: Record<keyof Hook, string> = {
  beforeRequest: "before_request",
  afterHeaders: "after_headers",
  onChunks: "on_chunks",
  onError: "on_error",
  onEnd: "on_end",
};
const functions = new Map(Object.entries(stages).map(([name, stage]) => [stage, name as keyof Hook]));

/** @internal The stages that a hook wants, by the engine's names. */
export function stagesOf(hook: Hook): string[] {
  return [...functions].filter(([, name]) => typeof hook[name] === "function").map(([stage]) => stage);
}

/** What every stage's event has, as the engine's JSON. */
interface Event extends HookContext {
  stage: string;
  request_id?: string | null;
  response?: ChatCompletion | null;
  error?: Fields | null;
}

/** What every stage's function may say. */
type Answer = { request?: object; response?: object; chunks?: object[]; error?: HookError } | undefined;

/** @internal Asks a hook. It answers in the engine's JSON, at once where the function does; with what was thrown, if that is why. */
export function ask(hook: Hook, json: string, answer: (json: string, refusal?: { thrown: unknown }) => void): void {
  const { stage, request_id, error, response, ...event } = JSON.parse(json) as Event;
  const name = functions.get(stage) as keyof Hook;
  if (request_id != null) Object.assign(event, { requestId: request_id });
  if (response != null) Object.assign(event, { response });
  if (error != null) Object.assign(event, { error: errorFrom(error) });
  const refuse = (thrown: unknown) => answer(refused(name, thrown), { thrown });
  try {
    const said = (hook[name] as (event: object) => Answer | PromiseLike<Answer>).call(hook, event);
    if (isPromise(said)) {
      Promise.resolve(said)
        .then(written)
        .then((json) => answer(json), refuse);
    } else {
      answer(written(said));
    }
  } catch (thrown) {
    refuse(thrown);
  }
}

function isPromise(said: Answer | PromiseLike<Answer>): said is PromiseLike<Answer> {
  return typeof (said as PromiseLike<Answer> | undefined)?.then === "function";
}

function written(said: Answer): string {
  if (said == null) return "";
  if (!said.error) return JSON.stringify(said);
  // An error's message is a property that JSON leaves out.
  const { kind, message } = said.error;
  return JSON.stringify({ ...said, error: { kind, message } });
}

function refused(name: keyof Hook, thrown: unknown): string {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  // Nothing can be refused any more, and the error would be lost.
  if (name === "onEnd") process.emitWarning(error);
  const kind: ErrorKind = error instanceof LlmError ? error.kind : "permission";
  return JSON.stringify({ error: { kind, message: error.message } });
}
