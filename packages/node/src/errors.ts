import type { ChatCompletion } from "./types";

/** What went wrong, as a closed set. */
export type ErrorKind =
  | "authentication"
  | "permission"
  | "not_found"
  | "invalid_request"
  | "context_length"
  | "content_policy"
  | "rate_limited"
  | "overloaded"
  | "server"
  | "timeout"
  | "network"
  | "truncated"
  | "protocol"
  | "cancelled"
  | "all_failed"
  | "panic";

/** @internal The engine's error as JSON. */
export interface Fields {
  kind: ErrorKind;
  message: string;
  provider: string | null;
  model: string | null;
  status: number | null;
  retry_after: number | null;
  request_id: string | null;
  code: string | null;
  param: string | null;
  body: string | null;
  retryable: boolean;
  partial: ChatCompletion | null;
  causes?: Fields[];
  /** The numbers of what was thrown that it and its causes come from. */
  thrown?: (number | null)[];
  /** What that was. */
  cause?: unknown;
}

/** An error of the engine. Each kind has its own class; this is the class of all. */
export class LlmError extends Error {
  readonly kind: ErrorKind;
  readonly provider?: string;
  readonly model?: string;
  /** The HTTP status, where there was an answer. */
  readonly status?: number;
  /** How long the provider asks to wait, in milliseconds. */
  readonly retryAfter?: number;
  /** The provider's name for the request, for its support. */
  readonly requestId?: string;
  /** The provider's own code. */
  readonly code?: string;
  /** The request's field that the provider blames. */
  readonly param?: string;
  /** The raw body of the provider's error. */
  readonly body?: string;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** What had been streamed before it. */
  readonly partial?: ChatCompletion;
  /** The error of each model tried, where all failed. */
  readonly causes: LlmError[];

  /** @internal */
  constructor(fields: Fields, cause?: unknown) {
    const causes = (fields.causes ?? []).map((fields) => errorFrom(fields));
    const from = cause ?? fields.cause ?? causes.at(-1);
    super(fields.message, from === undefined ? undefined : { cause: from });
    this.kind = fields.kind;
    this.provider = fields.provider ?? undefined;
    this.model = fields.model ?? undefined;
    this.status = fields.status ?? undefined;
    this.retryAfter = fields.retry_after == null ? undefined : fields.retry_after * 1000;
    this.requestId = fields.request_id ?? undefined;
    this.code = fields.code ?? undefined;
    this.param = fields.param ?? undefined;
    this.body = fields.body ?? undefined;
    this.retryable = fields.retryable;
    this.partial = fields.partial ?? undefined;
    this.causes = causes;
  }

  static {
    LlmError.prototype.name = "LlmError";
  }
}

/** The key is missing or refused. */
export class AuthenticationError extends LlmError {}
/** The key is good but may not do this. */
export class PermissionError extends LlmError {}
/** No such model, deployment or path. */
export class NotFoundError extends LlmError {}
/** The request cannot be served as it is. */
export class InvalidRequestError extends LlmError {}
/** The conversation is longer than the model takes. */
export class ContextLengthError extends LlmError {}
/** The provider refused the content. */
export class ContentPolicyError extends LlmError {}
/** Too many requests or tokens. */
export class RateLimitedError extends LlmError {}
/** The provider has no capacity just now. */
export class OverloadedError extends LlmError {}
/** The provider failed. */
export class ServerError extends LlmError {}
/** One of the deadlines passed. */
export class TimeoutError extends LlmError {}
/** The provider could not be reached. */
export class NetworkError extends LlmError {}
/** The answer broke off; what had come is in `partial`. */
export class TruncatedError extends LlmError {}
/** The provider sent what is no answer in its own format. */
export class ProtocolError extends LlmError {}
/** The caller cancelled. Its `name` is `AbortError`, as that of every abort in JavaScript; its `cause` is the signal's reason. */
export class CancelledError extends LlmError {}
/** Every model of a list failed; each one's error is in `causes`. */
export class AllFailedError extends LlmError {}
/** A bug of the engine. */
export class PanicError extends LlmError {}

const classes: Record<ErrorKind, new (fields: Fields, cause?: unknown) => LlmError> = {
  authentication: AuthenticationError,
  permission: PermissionError,
  not_found: NotFoundError,
  invalid_request: InvalidRequestError,
  context_length: ContextLengthError,
  content_policy: ContentPolicyError,
  rate_limited: RateLimitedError,
  overloaded: OverloadedError,
  server: ServerError,
  timeout: TimeoutError,
  network: NetworkError,
  truncated: TruncatedError,
  protocol: ProtocolError,
  cancelled: CancelledError,
  all_failed: AllFailedError,
  panic: PanicError,
};
for (const made of Object.values(classes)) made.prototype.name = made.name;
CancelledError.prototype.name = "AbortError";

/** @internal The error that the engine tells as an object. */
export function errorFrom(fields: Fields, cause?: unknown): LlmError {
  return new (classes[fields.kind] ?? LlmError)(fields, cause);
}

/** @internal The error that the engine tells as JSON. */
export function errorOf(json: string, cause?: unknown, thrown?: Thrown): LlmError {
  const fields = JSON.parse(json) as Fields;
  for (const [at, number] of (fields.thrown ?? []).entries()) {
    const error = at === 0 ? fields : fields.causes?.[at - 1];
    if (number !== null && error) error.cause = thrown?.get(number);
  }
  return errorFrom(fields, cause);
}

/** @internal What the functions of a program threw when the engine asked them, kept for the errors that come from it. */
export class Thrown {
  readonly #values = new Map<number, unknown>();
  readonly #forgotten: () => number[];
  #last = 0;

  /** `forgotten` gives the numbers that no error names any more. */
  constructor(forgotten: () => number[]) {
    this.#forgotten = forgotten;
  }

  /** Keeps what was thrown, under a number. */
  keep(value: unknown): number {
    for (const number of this.#forgotten()) this.#values.delete(number);
    this.#values.set(++this.#last, value);
    return this.#last;
  }

  get(number: number): unknown {
    return this.#values.get(number);
  }
}

/** @internal The error of a call that this side refuses or gives up. */
export function errorHere(
  kind: ErrorKind,
  message: string,
  cause?: unknown,
  partial: ChatCompletion | null = null,
): LlmError {
  const nothing = {
    provider: null,
    model: null,
    status: null,
    retry_after: null,
    request_id: null,
    code: null,
    param: null,
  };
  return errorFrom({ ...nothing, kind, message, body: null, retryable: false, partial }, cause);
}
