/** What a client and a call can be told, in JavaScript's case and milliseconds, and how the engine hears it. */

import type { Hook } from "./hooks";
import type { TokenProvider } from "./tokens";
import type { StreamFallbackMode } from "./types";

/** A host that speaks OpenAI's dialect and is not in the engine's catalogue. */
export interface Host {
  name: string;
  aliases?: string[];
  baseUrl: string;
  /** The variables that may hold its key. */
  keyVars?: string[];
  baseUrlVars?: string[];
  /** How its keys begin. */
  keyPrefixes?: string[];
  /** It runs on this machine and needs no key. */
  local?: boolean;
  quirks?: Quirks;
  /** The document that says so. */
  source?: string;
}

/** Where a host departs from OpenAI. */
export interface Quirks {
  /** Under which of its names it takes the output limit; unset: as the caller wrote it. */
  maxTokensField?: string;
  /** Request fields that it refuses. */
  unsupported?: string[];
  /** It refuses `stream_options`. */
  noStreamOptions?: boolean;
  /** It knows no `developer` role. */
  noDeveloperRole?: boolean;
  /** It refuses `name` in messages. */
  noMessageName?: boolean;
  /** It turns a temperature of 0 into another; the smallest one it takes is sent. */
  clampTemperatureZero?: boolean;
  /** Its `completion_tokens` leave out reasoning. */
  reasoningExcludedFromCompletion?: boolean;
  /** It is known to end a whole answer with neither `[DONE]` nor a finish reason. */
  lenientEnd?: boolean;
  /** It goes on from a trailing assistant message. */
  prefill?: boolean;
  /** The field that marks such a message. */
  prefillMark?: string;
  /** The base URL to be used with such a message. */
  prefillBaseUrl?: string;
  /** Request fields to be set with such a message. */
  prefillFields?: Record<string, unknown>;
  extraHeaders?: Record<string, string>;
}

/** What may be asked of a provider, or of one of its models. Each count is without limit unless set. */
export interface Limit {
  provider: string;
  /** As the provider names it. Unset: all of them together. */
  model?: string;
  /** In any minute. */
  requestsPerMinute?: number;
  /** In any minute, prompts and answers together: estimated before, corrected by the provider's count after. */
  tokensPerMinute?: number;
  /** At the same time. */
  concurrency?: number;
}

/** How many answers are kept, and how long. */
export interface CacheOptions {
  /** 1,000 unless set. */
  maxEntries?: number;
  /** In milliseconds. Five minutes unless set; 0 is without end. */
  ttl?: number | null;
}

/** Deadlines in milliseconds; `null` or 0 switches one off. */
export interface Timeouts {
  /** Until the connection takes the request. 10 s unless set. */
  connectTimeout?: number | null;
  /** From the request to the first token; a ping or an empty role chunk is none. 10 minutes unless set. */
  firstTokenTimeout?: number | null;
  /** Between chunks, while the stream is read. 5 minutes unless set. */
  idleTimeout?: number | null;
  /** For the whole call, retries included. Off unless set. */
  timeout?: number | null;
}

export interface Retries {
  /** How often a call that failed before its first chunk is tried again. 2 unless set. */
  maxRetries?: number;
  /** The first wait in milliseconds, doubled each time and varied by chance. 500 unless set. */
  retryBaseDelay?: number;
  /** The longest wait in milliseconds; a provider that asks for a longer one is not waited for. 60,000 unless set. */
  retryMaxDelay?: number;
}

export interface ClientOptions extends Timeouts, Retries {
  /** The key of `provider`, or else of the first request's provider. It is never sent to another. */
  apiKey?: string;
  /** The base URL of the same provider. */
  baseUrl?: string;
  /** The provider that `apiKey` and `baseUrl` belong to, and that a model without a prefix is asked of. */
  provider?: string;
  /** Keys by provider. */
  apiKeys?: Record<string, string | undefined>;
  /** Base URLs by provider. */
  baseUrls?: Record<string, string | undefined>;
  /** What providers need to be told beside key and address, by provider and name: `{ vertex_ai: { project: "…" } }`. */
  settings?: Record<string, Record<string, string | undefined>>;
  /** Your own sources of tokens, by provider. A client that has one is read with `for await` only. */
  tokenProviders?: Record<string, TokenProvider>;
  /** Several keys of a provider, used in turn; one that is refused or limited rests while the others serve. */
  keyPools?: Record<string, string[]>;
  /** What may be asked of providers and models; calls wait their turn. */
  limits?: Limit[];
  /** Keeps answers in memory for requests that are exactly the same. Off unless set. */
  cache?: CacheOptions | null;
  /**
   * In a list of models: how long the first one may be silent, in milliseconds, before the second is asked beside it; the first to speak is
   * heard, and the other is left. Off unless set.
   */
  hedgeAfter?: number | null;
  /** One event for each call in the engine's log (`LITERLLM_LOG=info`), with its model, tokens, cost, seconds and ending. */
  logCalls?: boolean;
  /** What is put around every call, asked in this order. A client that has any is read with `for await` only. */
  hooks?: Hook | Hook[];
  /** OpenAI-compatible hosts beside those that the engine knows. */
  hosts?: Host[];
  /** Headers sent with every request. */
  headers?: Record<string, string>;
  /** A proxy for everything; an empty one for none. Unset: as the environment says. */
  proxy?: string;
  /** Certificates to trust beside the system's, in PEM form. */
  rootCertificates?: string[];
  /** A certificate that this client shows, with its chain and key, in PEM form. */
  clientCertificate?: { certificates: string; privateKey: string };
  userAgent?: string;
  http1Only?: boolean;
  /** HTTP/2 without negotiation, also over plain `http`. */
  http2Only?: boolean;
  /** How many streams an HTTP/2 connection carries before another is opened. 8 unless set. */
  streamsPerConnection?: number;
  /** Leave out what a provider cannot do, rather than refuse the request. */
  dropUnsupported?: boolean;
  /** How answers that break off are gone on with, where `model` is a list: `auto` unless set. */
  streamFallbackMode?: StreamFallbackMode;
  /** How long a model of a list that failed is asked last, in milliseconds, where its provider does not say. 10,000 unless set. */
  cooldown?: number | null;
  /** The largest event or answer that is buffered, in bytes. 16 MiB unless set. */
  maxEventBytes?: number;
  /** Put prompts and answers into traces. */
  traceContent?: boolean;
}

/** What one call may set otherwise than its client. */
export interface CallOptions extends Timeouts, Retries {
  headers?: Record<string, string>;
  dropUnsupported?: boolean;
  /** Chooses the order of a list of models by chance, each weighing as much; unset: the order of the list. */
  modelWeights?: number[];
  /** With `modelWeights`: the same key has the same order each time (a user or a conversation, say). */
  stickyKey?: string;
  /** Its abort closes the connection at once. */
  signal?: AbortSignal;
}

const durations = new Set([
  "connectTimeout",
  "firstTokenTimeout",
  "idleTimeout",
  "timeout",
  "cooldown",
  "retryBaseDelay",
  "retryMaxDelay",
  "hedgeAfter",
  "ttl",
]);
/** Their values' names are the caller's own. */
const maps = new Set(["apiKeys", "keyPools", "baseUrls", "settings", "headers", "prefillFields", "extraHeaders"]);

/** The options as the engine's JSON; what only this side knows is left out, and of sources of tokens all but whose they are. */
export function toConfig(options: ClientOptions): string {
  const { tokenProviders, hooks: _, ...config } = options;
  const token_providers = tokenProviders && Object.keys(tokenProviders);
  return JSON.stringify({ ...snakeCased(config), token_providers });
}

/** The options of a call as the engine's JSON, if it has any. */
export function toCallOptions(options: CallOptions | undefined): string | undefined {
  if (!options) return undefined;
  const { signal: _, ...rest } = options;
  for (const _ in rest) return JSON.stringify(snakeCased(rest));
  return undefined;
}

function snakeCased(value: object): Record<string, unknown> {
  const snake: Record<string, unknown> = {};
  for (const [name, item] of Object.entries(value)) {
    if (item === undefined) continue;
    const key = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (durations.has(name)) snake[key] = typeof item === "number" ? item / 1000 : item;
    else if (maps.has(name)) snake[key] = item;
    else if (Array.isArray(item)) snake[key] = item.map((one) => (isObject(one) ? snakeCased(one) : one));
    else snake[key] = isObject(item) ? snakeCased(item) : item;
  }
  return snake;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
