/** Wakes whoever waits for a call. One inbox serves all calls of an event loop: the main thread's, or a worker's. */

import { errorHere, errorOf, type LlmError } from "./errors";
import { type NativeCall, native } from "./native";

const waiting = new Map<number, () => void>();

/** @internal */
export const inbox = new native.Inbox((numbers) => {
  for (const number of numbers) waiting.get(number)?.();
});

/** Runs `wake` whenever the call may have news, and keeps the process alive for it, until `forget`. */
export function awaitCall(call: number, wake: () => void): void {
  if (waiting.size === 0) inbox.hold();
  waiting.set(call, wake);
}

export function forget(call: number): void {
  if (waiting.delete(call) && waiting.size === 0) inbox.release();
}

/** A whole answer as JSON. */
export function answerOf(call: NativeCall, signal?: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const advance = () => {
      const text = call.poll();
      if (text === null) return awaitCall(call.number, advance);
      forget(call.number);
      signal?.removeEventListener("abort", abort);
      if (isError(text)) reject(errorOf(text, signal?.aborted ? signal.reason : undefined));
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
