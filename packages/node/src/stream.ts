import { setMaxListeners } from "node:events";
import { errorHere, errorOf, type LlmError, type Thrown } from "./errors";
import { awaitCall, close, forget, isError } from "./inbox";
import type { NativeCall } from "./native";
import type { ChatCompletion, ChatCompletionChunk } from "./types";

/** What the engine hands over: a whole chunk; or one that is as the last whole one, but says only this text, or only this reasoning. */
type Item = ChatCompletionChunk | string | [string];

/** Bytes for a web framework, or for `pipeline` of `node:stream`. */
export type ByteStream = ReadableStream<Uint8Array> & AsyncIterable<Uint8Array>;

type Resolve = (result: IteratorResult<ChatCompletionChunk, undefined>) => void;
type Reject = (error: LlmError) => void;

/** What a stream that was collected leaves at its signal. */
const forgotten = new FinalizationRegistry<{ signal: AbortSignal; onAbort: () => void }>(({ signal, onAbort }) =>
  signal.removeEventListener("abort", onAbort),
);

const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

/**
 * An answer as it comes, chunk by chunk.
 *
 * `for await` reads it without ever blocking the event loop. A plain `for…of` reads it live, too, but waits for each chunk on this
 * thread: nothing else happens meanwhile. Either way the stream is read once; leaving the loop by `break`, `return` or an error closes
 * the connection, and so does `abort()`, the end of a `using` block, or forgetting the stream.
 */
export class ChatStream
  implements AsyncIterable<ChatCompletionChunk>, Iterable<ChatCompletionChunk>, AsyncDisposable, Disposable
{
  readonly #call: NativeCall;
  readonly #number: number;
  readonly #signal: AbortSignal | undefined;
  /** Of a client that asks functions of the program; it must not be waited for on this thread. */
  readonly #thrown: Thrown | undefined;
  #items: Item[] = [];
  #at = 0;
  /** The last whole chunk, without what it said. */
  #head: ChatCompletionChunk | undefined;
  /** Who waits for the next chunk, and who for those after it. A thousand streams wait at once: none pays for a list it does not need. */
  #resolve: Resolve | undefined;
  #reject: Reject | undefined;
  #more: [Resolve, Reject][] = [];
  #over = false;
  #error: LlmError | undefined;
  /** Whether the error has been thrown by the iteration. */
  #told = false;
  /** Whether chunks were there when the stream was aborted, that nobody has read. */
  #dropped = false;
  #reading = false;
  #whenOver: (() => void)[] = [];
  #onAbort: (() => void) | undefined;
  /** What to do at news of the call. */
  #wake: () => void;

  private constructor(call: NativeCall, signal: AbortSignal | undefined, thrown: Thrown | undefined) {
    this.#call = call;
    this.#number = call.number;
    this.#signal = signal;
    this.#thrown = thrown;
    this.#wake = this.#advance;
    if (signal) {
      // The signal may outlive the stream and must not hold it.
      const self = new WeakRef(this);
      this.#onAbort = () => self.deref()?.abort();
      signal.addEventListener("abort", this.#onAbort, { once: true });
      // One signal may stop any number of streams.
      setMaxListeners(0, signal);
      forgotten.register(this, { signal, onAbort: this.#onAbort }, this);
    }
  }

  /** @internal Resolves once the first chunk is there; an error before it is thrown. */
  static open(call: NativeCall, signal: AbortSignal | undefined, thrown: Thrown | undefined): Promise<ChatStream> {
    const stream = new ChatStream(call, signal, thrown);
    return new Promise((resolve, reject) => {
      stream.#wake = () => {
        if (!stream.#poll()) return awaitCall(stream.#number, stream.#wake);
        forget(stream.#number);
        stream.#wake = stream.#advance;
        if (stream.#error) reject(stream.#error);
        else resolve(stream);
      };
      stream.#wake();
    });
  }

  /** The next chunk. */
  next(): Promise<IteratorResult<ChatCompletionChunk, undefined>> {
    if (this.#at < this.#items.length) return Promise.resolve({ done: false, value: this.#take() });
    return new Promise(this.#ask);
  }

  #ask = (resolve: Resolve, reject: Reject): void => {
    if (this.#resolve) {
      this.#more.push([resolve, reject]);
    } else if (this.#poll()) {
      this.#settle(resolve, reject);
    } else {
      this.#resolve = resolve;
      this.#reject = reject;
      awaitCall(this.#number, this.#advance);
    }
  };

  [Symbol.asyncIterator](): AsyncIterableIterator<ChatCompletionChunk, undefined> {
    this.#reading = true;
    const iterator: AsyncIterableIterator<ChatCompletionChunk, undefined> = {
      next: () => this.next(),
      return: () => {
        this.abort();
        this.#told = true;
        return Promise.resolve(END);
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /** As `for await`, but each step waits on this thread. */
  [Symbol.iterator](): IterableIterator<ChatCompletionChunk, undefined> {
    if (this.#thrown) {
      throw new TypeError(
        "this client has hooks or token providers in JavaScript, which a plain for…of would keep from running; use `for await`",
      );
    }
    this.#reading = true;
    const iterator: IterableIterator<ChatCompletionChunk, undefined> = {
      next: () => {
        if (this.#resolve) throw new TypeError("the stream is being read with `for await` already");
        if (this.#at === this.#items.length && !this.#over) this.#receive(this.#call.wait());
        if (this.#at < this.#items.length) return { done: false, value: this.#take() };
        const error = this.#tell();
        if (error) throw error;
        return END;
      },
      return: () => {
        this.abort();
        this.#told = true;
        return END;
      },
      [Symbol.iterator]: () => iterator,
    };
    return iterator;
  }

  /**
   * The whole answer: text, tool calls, reasoning, usage, finish reason. Reads to the end, or, where a loop is reading, waits for it to
   * be over. Throws the error that the stream ended with.
   */
  async finalResponse(): Promise<ChatCompletion> {
    if (this.#reading) {
      await this.#end();
    } else {
      this.#reading = true;
      while (!this.#over) await this.#batch();
    }
    if (this.#error) throw this.#error;
    return this.currentResponse();
  }

  /** Waits until the stream is over, whoever reads it. */
  async #end(): Promise<void> {
    if (!this.#over) await new Promise<void>((resolve) => this.#whenOver.push(resolve));
  }

  /** The answer so far: what the engine has read of it, which may be a little more than the loop has seen. */
  currentResponse(): ChatCompletion {
    return JSON.parse(this.#call.completion() ?? "null") as ChatCompletion;
  }

  /** Closes the connection. Whoever reads gets a `CancelledError` with what had come, unless all of the answer was read. */
  abort(): void {
    if (this.#over) return;
    this.#call.cancel();
    this.#drop();
    this.#wake();
    if (this.#wake === this.#advance && !this.#resolve) this.#drain();
  }

  /** Where nobody reads, the end is to be known all the same, hooks be told of it, and what comes before it is wanted no more. */
  #drain = (): void => {
    while (!this.#over && this.#poll()) this.#drop();
    if (!this.#over) awaitCall(this.#number, this.#drain);
  };

  #drop(): void {
    this.#dropped ||= this.#at < this.#items.length;
    this.#items = [];
    this.#at = 0;
  }

  [Symbol.dispose](): void {
    this.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.abort();
    await this.#end();
  }

  /** The chunks as bytes, one JSON object a line. Cancelling it closes the connection. */
  toReadableStream(): ByteStream {
    return this.#bytes((chunk) => `${JSON.stringify(chunk)}\n`);
  }

  /** The chunks as server-sent events, as OpenAI sends them, for a web framework to return. */
  toResponse(init: ResponseInit = {}): Response & { readonly body: ByteStream } {
    const headers = new Headers(init.headers);
    const defaults = {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    };
    for (const [name, value] of Object.entries(defaults)) if (!headers.has(name)) headers.set(name, value);
    const body = this.#bytes(
      (chunk) => `data: ${JSON.stringify(chunk)}\n\n`,
      "data: [DONE]\n\n",
      ({ kind, message, status, code }) =>
        `data: ${JSON.stringify({ error: { message, type: kind, code: code ?? null, status } })}\n\n`,
    );
    return new Response(body, { ...init, headers }) as Response & { readonly body: ByteStream };
  }

  #bytes(write: (chunk: ChatCompletionChunk) => string, end = "", failure?: (error: LlmError) => string): ByteStream {
    this.#reading = true;
    const encoder = new TextEncoder();
    return new ReadableStream(
      {
        pull: async (controller) => {
          try {
            const text = (await this.#batch()).map(write).join("");
            if (text) return controller.enqueue(encoder.encode(text));
            if (end) controller.enqueue(encoder.encode(end));
          } catch (error) {
            if (!failure) throw error;
            controller.enqueue(encoder.encode(failure(error as LlmError)));
          }
          controller.close();
        },
        cancel: () => this.abort(),
      },
      { highWaterMark: 0 },
    );
  }

  /** All chunks that are there, at least one; none at the end. */
  async #batch(): Promise<ChatCompletionChunk[]> {
    const first = await this.next();
    if (first.done) return [];
    const batch = [first.value];
    while (this.#at < this.#items.length) batch.push(this.#take());
    return batch;
  }

  /** Asks the engine what is there; false if nothing is. */
  #poll(): boolean {
    if (this.#over) return true;
    const text = this.#call.poll();
    if (text === null) return false;
    this.#receive(text);
    return true;
  }

  #receive(text: string): void {
    if (text === "") this.#finish();
    else if (text.startsWith("=")) {
      this.#items = [text.slice(1)];
      this.#at = 0;
    } else if (isError(text)) {
      this.#finish(errorOf(text, this.#signal?.aborted ? this.#signal.reason : undefined, this.#thrown));
    } else {
      this.#items = JSON.parse(text) as Item[];
      this.#at = 0;
    }
  }

  #finish(error?: LlmError): void {
    this.#over = true;
    close(this.#number);
    this.#error = error;
    if (this.#onAbort) {
      this.#signal?.removeEventListener("abort", this.#onAbort);
      forgotten.unregister(this);
    }
    for (const resolve of this.#whenOver.splice(0)) resolve();
  }

  /** Serves those who wait, as far as there is something. */
  #advance = (): void => {
    while (this.#resolve) {
      if (this.#at === this.#items.length && !this.#poll()) return;
      const resolve = this.#resolve;
      const reject = this.#reject as Reject;
      const next = this.#more.shift();
      this.#resolve = next?.[0];
      this.#reject = next?.[1];
      this.#settle(resolve, reject);
    }
    forget(this.#number);
  };

  /** Gives what is next, once there is something. */
  #settle(resolve: Resolve, reject: Reject): void {
    if (this.#at < this.#items.length) {
      resolve({ done: false, value: this.#take() });
    } else {
      const error = this.#tell();
      if (error) reject(error);
      else resolve(END);
    }
  }

  /** The error to end the iteration with, once: the stream's, or that an answer which had come was not read. */
  #tell(): LlmError | undefined {
    if (this.#told) return undefined;
    this.#told = true;
    if (this.#error || !this.#dropped) return this.#error;
    const message = "the call was cancelled before all of its answer was read";
    return errorHere("cancelled", message, this.#signal?.reason, this.currentResponse());
  }

  #take(): ChatCompletionChunk {
    const item = this.#items[this.#at++] as Item;
    if (typeof item === "string") return this.#saying({ content: item });
    if (Array.isArray(item)) return this.#saying({ reasoning_content: item[0] });
    this.#head = item;
    return item;
  }

  #saying(delta: { content: string } | { reasoning_content: string }): ChatCompletionChunk {
    const { id, created, model, system_fingerprint, service_tier } = this.#head as ChatCompletionChunk;
    const choices = [{ index: 0, delta, finish_reason: null }];
    if (system_fingerprint === undefined && service_tier === undefined) {
      return { object: "chat.completion.chunk", id, created, model, choices };
    }
    const chunk: ChatCompletionChunk = { object: "chat.completion.chunk", id, created, model, choices };
    if (system_fingerprint !== undefined) chunk.system_fingerprint = system_fingerprint;
    if (service_tier !== undefined) chunk.service_tier = service_tier;
    return chunk;
  }
}
