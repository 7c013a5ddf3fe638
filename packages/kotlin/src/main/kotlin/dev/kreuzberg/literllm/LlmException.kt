package dev.kreuzberg.literllm

import dev.kreuzberg.literllm.internal.ErrorDetails
import dev.kreuzberg.literllm.internal.NativeException
import dev.kreuzberg.literllm.internal.Thrown

/**
 * What went wrong, as a closed family: match it with `when`. Its message says what happened, where, and what to do next, and never
 * holds a key.
 */
public sealed class LlmException(private val details: ErrorDetails) : RuntimeException(details.message) {
    public val kind: ErrorKind get() = details.kind
    public val provider: String? get() = details.provider
    public val model: String? get() = details.model

    /** The HTTP status, where there was an answer. */
    public val status: Int? get() = details.status

    /** How many seconds the provider asks to wait. */
    public val retryAfter: Double? get() = details.retryAfter

    /** The provider's name for the request, for its support. */
    public val requestId: String? get() = details.requestId

    /** The provider's own code. */
    public val code: String? get() = details.code

    /** The request's field that the provider blames. */
    public val param: String? get() = details.param

    /** The raw body of the provider's error. */
    public val body: String? get() = details.body

    /** Whether the same request may succeed later. */
    public val isRetryable: Boolean get() = details.retryable

    /** What had been streamed before it. */
    public val partial: ChatCompletion? get() = details.partial

    /** The error of each model tried, where all failed. */
    public var causes: List<LlmException> = listOf()
        internal set

    /** The key is missing or refused. */
    public class Authentication internal constructor(details: ErrorDetails) : LlmException(details)

    /** The key is good but may not do this. */
    public class Permission internal constructor(details: ErrorDetails) : LlmException(details)

    /** No such model, deployment or path. */
    public class NotFound internal constructor(details: ErrorDetails) : LlmException(details)

    /** The request cannot be served as it is. */
    public class InvalidRequest internal constructor(details: ErrorDetails) : LlmException(details)

    /** The conversation is longer than the model takes. */
    public class ContextLength internal constructor(details: ErrorDetails) : LlmException(details)

    /** The provider refused the content. */
    public class ContentPolicy internal constructor(details: ErrorDetails) : LlmException(details)

    /** Too many requests or tokens. */
    public class RateLimited internal constructor(details: ErrorDetails) : LlmException(details)

    /** The provider has no capacity just now. */
    public class Overloaded internal constructor(details: ErrorDetails) : LlmException(details)

    /** The provider failed. */
    public class Server internal constructor(details: ErrorDetails) : LlmException(details)

    /** One of the deadlines passed. */
    public class Timeout internal constructor(details: ErrorDetails) : LlmException(details)

    /** The provider could not be reached. */
    public class Network internal constructor(details: ErrorDetails) : LlmException(details)

    /** The answer broke off; what had come is in [partial]. */
    public class Truncated internal constructor(details: ErrorDetails) : LlmException(details)

    /** The provider sent what is no answer in its own format. */
    public class Protocol internal constructor(details: ErrorDetails) : LlmException(details)

    /** The caller cancelled. Coroutines see their own `CancellationException` instead. */
    public class Cancelled internal constructor(details: ErrorDetails) : LlmException(details)

    /** Every model of a list failed; each one's error is in [causes]. */
    public class AllFailed internal constructor(details: ErrorDetails) : LlmException(details)

    /** A bug: a panic was caught at a boundary. */
    public class Panic internal constructor(details: ErrorDetails) : LlmException(details)
}

/** Runs [body], whose errors leave as [LlmException]. */
internal inline fun <T> translated(body: () -> T): T =
    try {
        body()
    } catch (failed: NativeException.Failed) {
        throw exception(failed.details, failed.thrown)
    }

/** The exception of an error. Its cause is what the program's own code threw, or the error of the last model tried. */
internal fun exception(details: ErrorDetails, thrown: List<Thrown?> = listOf()): LlmException {
    val made = exceptionOfKind(details)
    made.causes = details.causes.mapIndexed { at, cause -> exception(cause, listOf(thrown.getOrNull(at + 1))) }
    val cause = (thrown.firstOrNull() as? ThrownByHook)?.error ?: made.causes.lastOrNull()
    if (cause != null) made.initCause(cause)
    return made
}

private fun exceptionOfKind(details: ErrorDetails): LlmException =
    when (details.kind) {
        ErrorKind.AUTHENTICATION -> LlmException.Authentication(details)
        ErrorKind.PERMISSION -> LlmException.Permission(details)
        ErrorKind.NOT_FOUND -> LlmException.NotFound(details)
        ErrorKind.INVALID_REQUEST -> LlmException.InvalidRequest(details)
        ErrorKind.CONTEXT_LENGTH -> LlmException.ContextLength(details)
        ErrorKind.CONTENT_POLICY -> LlmException.ContentPolicy(details)
        ErrorKind.RATE_LIMITED -> LlmException.RateLimited(details)
        ErrorKind.OVERLOADED -> LlmException.Overloaded(details)
        ErrorKind.SERVER -> LlmException.Server(details)
        ErrorKind.TIMEOUT -> LlmException.Timeout(details)
        ErrorKind.NETWORK -> LlmException.Network(details)
        ErrorKind.TRUNCATED -> LlmException.Truncated(details)
        ErrorKind.PROTOCOL -> LlmException.Protocol(details)
        ErrorKind.CANCELLED -> LlmException.Cancelled(details)
        ErrorKind.ALL_FAILED -> LlmException.AllFailed(details)
        ErrorKind.PANIC -> LlmException.Panic(details)
    }
