/** Wakes whoever waits for a call. One inbox serves all calls of an event loop: the main thread's, or a worker's. */

import { errorHere, errorOf, type LlmError, type Thrown } from "./errors";
import { type NativeCall, native } from "./native";

/** Who waits for which call. One that nobody waits for just now keeps its place: giving it up for each wait costs more. */
const waiting = new Map<number, (() => void) | undefined>();
const MOST_IDLE = 1024;
/** How many of them are waited for. */
let held = 0;

/** @internal */
export const inbox = new native.Inbox((numbers) => {
  for (const number of numbers) waiting.get(number)?.();
});

/** Runs `wake` whenever the call may have news, and keeps the process alive for it, until `forget` or `close`. */
export function awaitCall(call: number, wake: () => void): void {
  if (waiting.get(call) === undefined && held++ === 0) inbox.hold();
  waiting.set(call, wake);
  if (waiting.size > 2 * held + MOST_IDLE) {
    // Most are of streams that were left without being closed.
    for (const [number, waiter] of waiting) if (!waiter) waiting.delete(number);
  }
}

export function forget(call: number): void {
  if (waiting.get(call) === undefined) return;
  waiting.set(call, undefined);
  if (--held === 0) inbox.release();
}

/** Nobody will wait for the call again. */
export function close(call: number): void {
  forget(call);
  waiting.delete(call);
}

/** A whole answer as JSON. */
export function answerOf(call: NativeCall, signal?: AbortSignal, thrown?: Thrown): Promise<string> {
  const { number } = call;
  return new Promise((resolve, reject) => {
    const advance = () => {
      const text = call.poll();
      if (text === null) return awaitCall(number, advance);
      close(number);
      signal?.removeEventListener("abort", abort);
      if (isError(text)) reject(errorOf(text, signal?.aborted ? signal.reason : undefined, thrown));
      else resolve(text);
    };
    const abort = () => {
      call.cancel();
      advance();
    };
    signal?.addEventListener("abort", abort, { once: true });
    advance();
  });
}

export function isError(text: string): boolean {
  return text.startsWith('{"kind"');
}

export function refusedBy(signal: AbortSignal): LlmError {
  return errorHere("cancelled", "the caller cancelled the call before it began", signal.reason);
}
