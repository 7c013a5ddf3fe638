@file:JvmName("CallHooks")

package dev.kreuzberg.literllm

import dev.kreuzberg.literllm.internal.ErrorDetails
import dev.kreuzberg.literllm.internal.HookEvent
import dev.kreuzberg.literllm.internal.HookReceiver
import dev.kreuzberg.literllm.internal.NativeHookCall
import dev.kreuzberg.literllm.internal.Thrown
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.launch
import java.util.logging.Level
import java.util.logging.Logger

/** A moment at which hooks are asked. */
public typealias HookStage = dev.kreuzberg.literllm.internal.HookStage

/**
 * What is put around every call of a client, to watch it, change it, refuse it or answer it from elsewhere. Each method lets the call pass
 * as it is, unless it is overridden; one that throws refuses, with an error of that [LlmException]'s kind, or of `permission` for any other
 * exception. What was thrown is that error's cause.
 *
 * They run in coroutines of their own, on [Dispatchers.Default]: no thread of the engine waits for one, and the call goes on when it is
 * done. The time that they take counts towards the call's total deadline.
 */
public interface Hooks {
    /** The stages at which it wants to be asked; the others cost nothing. */
    public val stages: Set<HookStage> get() = HookStage.entries.toSet()

    /** A route (a model of the list) is about to be asked: before the first, and before each that goes on after a failure. */
    public suspend fun beforeRequest(at: HookContext, request: ChatCompletionRequest): Before = Before.Ask(request)

    /** A route has answered well, and its content is about to come. */
    public suspend fun afterHeaders(at: HookContext, head: AnswerHead) {}

    /** What came together is about to be handed to the consumer, who gets what is returned, if anything. */
    public suspend fun onChunks(at: HookContext, chunks: List<ChatCompletionChunk>): List<ChatCompletionChunk> = chunks

    /** A route has failed for good. What is thrown takes the error's place; an answer is possible only while nothing was shown yet. */
    public suspend fun onError(at: HookContext, error: LlmException): ChatCompletion = throw error

    /** The call is over, for whatever reason. Comes once. */
    public suspend fun onEnd(at: HookContext, end: CallEnd) {}
}

/** Where in which call a hook is asked. */
public data class HookContext(
    /** The number of the call, of its own in this process. */
    val call: Long,
    /** The number of the route in the call, from 1. */
    val attempt: Int,
    val provider: String,
    /** As the provider names it. */
    val model: String,
    /** Whether the caller asked for a stream. */
    val stream: Boolean,
)

/** What is to be done with a request. */
public sealed interface Before {
    /** The route is asked so; another `model` in it asks that one. */
    public data class Ask(val request: ChatCompletionRequest) : Before

    /** This is the answer, and the route is not asked. */
    public data class Answer(val response: ChatCompletion) : Before
}

/** The head of a provider's answer. */
public data class AnswerHead(val status: Int, val headers: Map<String, String>, val requestId: String?)

/** How a call ended. */
public data class CallEnd(
    /** The answer, or what there is of it. */
    val response: ChatCompletion?,
    val error: LlmException?,
    val seconds: Double,
)

/** Builds hooks of the stages that are named: `hooks { beforeRequest { at, request -> … }; onEnd { at, end -> … } }`. */
public fun hooks(build: HooksBuilder.() -> Unit): Hooks = HooksBuilder().apply(build).build()

/** What [hooks] fills. */
public class HooksBuilder {
    private val stages = mutableSetOf<HookStage>()
    private var before: suspend (HookContext, ChatCompletionRequest) -> Before = { _, request -> Before.Ask(request) }
    private var head: suspend (HookContext, AnswerHead) -> Unit = { _, _ -> }
    private var chunks: suspend (HookContext, List<ChatCompletionChunk>) -> List<ChatCompletionChunk> = { _, chunks -> chunks }
    private var error: suspend (HookContext, LlmException) -> ChatCompletion = { _, error -> throw error }
    private var end: suspend (HookContext, CallEnd) -> Unit = { _, _ -> }

    public fun beforeRequest(hook: suspend (HookContext, ChatCompletionRequest) -> Before) {
        stages += HookStage.BEFORE_REQUEST
        before = hook
    }

    public fun afterHeaders(hook: suspend (HookContext, AnswerHead) -> Unit) {
        stages += HookStage.AFTER_HEADERS
        head = hook
    }

    public fun onChunks(hook: suspend (HookContext, List<ChatCompletionChunk>) -> List<ChatCompletionChunk>) {
        stages += HookStage.ON_CHUNKS
        chunks = hook
    }

    public fun onError(hook: suspend (HookContext, LlmException) -> ChatCompletion) {
        stages += HookStage.ON_ERROR
        error = hook
    }

    public fun onEnd(hook: suspend (HookContext, CallEnd) -> Unit) {
        stages += HookStage.ON_END
        end = hook
    }

    internal fun build(): Hooks {
        val (wanted, builder) = Pair(stages.toSet(), this)
        return object : Hooks {
            override val stages = wanted

            override suspend fun beforeRequest(at: HookContext, request: ChatCompletionRequest) = builder.before(at, request)

            override suspend fun afterHeaders(at: HookContext, head: AnswerHead) = builder.head(at, head)

            override suspend fun onChunks(at: HookContext, chunks: List<ChatCompletionChunk>) = builder.chunks(at, chunks)

            override suspend fun onError(at: HookContext, error: LlmException) = builder.error(at, error)

            override suspend fun onEnd(at: HookContext, end: CallEnd) = builder.end(at, end)
        }
    }
}

/** Hooks for Java, and for code that blocks: as [Hooks], with methods that may take their time on a thread of [Dispatchers.IO]. */
public interface BlockingHooks {
    public fun stages(): Set<HookStage> = HookStage.entries.toSet()

    public fun beforeRequest(at: HookContext, request: ChatCompletionRequest): Before = Before.Ask(request)

    public fun afterHeaders(at: HookContext, head: AnswerHead) {}

    public fun onChunks(at: HookContext, chunks: List<ChatCompletionChunk>): List<ChatCompletionChunk> = chunks

    public fun onError(at: HookContext, error: LlmException): ChatCompletion = throw error

    public fun onEnd(at: HookContext, end: CallEnd) {}
}

/** These as [Hooks]. */
public fun BlockingHooks.suspending(): Hooks = FromBlocking(this)

internal class FromBlocking(private val hooks: BlockingHooks) : Hooks {
    override val stages get() = hooks.stages()

    override suspend fun beforeRequest(at: HookContext, request: ChatCompletionRequest) = hooks.beforeRequest(at, request)

    override suspend fun afterHeaders(at: HookContext, head: AnswerHead) = hooks.afterHeaders(at, head)

    override suspend fun onChunks(at: HookContext, chunks: List<ChatCompletionChunk>) = hooks.onChunks(at, chunks)

    override suspend fun onError(at: HookContext, error: LlmException) = hooks.onError(at, error)

    override suspend fun onEnd(at: HookContext, end: CallEnd) = hooks.onEnd(at, end)
}

/** Takes the engine's questions, and answers each in a coroutine of its own. */
internal class Receiver(private val hooks: Hooks) : HookReceiver {
    private val dispatcher: CoroutineDispatcher = if (hooks is FromBlocking) Dispatchers.IO else Dispatchers.Default
    private val scope = CoroutineScope(SupervisorJob() + dispatcher)

    override fun stages(): List<HookStage> = hooks.stages.toList()

    override fun ask(event: HookEvent, call: NativeHookCall) {
        scope.launch {
            call.use {
                try {
                    answer(event, call)
                } catch (@Suppress("TooGenericExceptionCaught") error: Throwable) {
                    refuse(event, call, error)
                }
            }
        }
    }

    private fun refuse(event: HookEvent, call: NativeHookCall, error: Throwable) {
        if (event.stage == HookStage.ON_END) {
            // Nothing can be refused any more, and the error would be lost.
            Logger.getLogger("dev.kreuzberg.literllm").log(Level.WARNING, "a hook failed at onEnd", error)
        }
        val kind = (error as? LlmException)?.kind ?: ErrorKind.PERMISSION
        call.answerError(kind, if (error is LlmException) error.message.orEmpty() else "$error", ThrownByHook(error))
    }

    private suspend fun answer(event: HookEvent, call: NativeHookCall) {
        val at = HookContext(event.call, event.attempt, event.provider, event.model, event.stream)
        when (event.stage) {
            HookStage.BEFORE_REQUEST -> {
                val request = checkNotNull(event.request) { "a request comes with its stage" }
                when (val before = hooks.beforeRequest(at, request)) {
                    is Before.Answer -> call.answerResponse(before.response)
                    is Before.Ask -> if (before.request === request) call.pass() else call.answerRequest(before.request)
                }
            }
            HookStage.AFTER_HEADERS -> {
                hooks.afterHeaders(at, AnswerHead(event.status ?: 0, event.headers, event.requestId))
                call.pass()
            }
            HookStage.ON_CHUNKS -> {
                val chunks = hooks.onChunks(at, event.chunks)
                if (chunks === event.chunks) call.pass() else call.answerChunks(chunks)
            }
            HookStage.ON_ERROR -> {
                val error = exception(checkNotNull(event.error) { "an error comes with its stage" })
                try {
                    call.answerResponse(hooks.onError(at, error))
                } catch (thrown: LlmException) {
                    if (thrown === error) call.pass() else throw thrown
                }
            }
            HookStage.ON_END -> {
                hooks.onEnd(at, CallEnd(event.response, event.error?.let(::exception), event.seconds ?: 0.0))
                call.pass()
            }
        }
    }
}

/** What a hook threw, as it passes through the engine. */
internal class ThrownByHook(val error: Throwable) : Thrown {
    override fun description(): String = error.toString()
}

/** An error of that kind, for hooks that refuse a call. */
public fun llmException(kind: ErrorKind, message: String): LlmException = exception(ErrorDetails(kind, message))
