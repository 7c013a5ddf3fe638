package dev.kreuzberg.literllm

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native
import dev.kreuzberg.literllm.internal.NativeCall
import dev.kreuzberg.literllm.internal.NativeClient
import dev.kreuzberg.literllm.internal.uniffiRustFutureContinuationCallbackImpl
import kotlinx.coroutines.CancellationException
import dev.kreuzberg.literllm.internal.uniffiCallbackInterfaceBatchReceiver as ToBatches
import dev.kreuzberg.literllm.internal.uniffiCallbackInterfaceHookReceiver as ToHooks
import dev.kreuzberg.literllm.internal.uniffiCallbackInterfaceTokenReceiver as ToTokens

/**
 * Talks to every provider: name `provider/model` in a request, and the answer comes as OpenAI's chunks.
 *
 * A client is safe to share between coroutines and threads; all its calls share one pool of connections. No call blocks or burdens the
 * dispatcher it is made on: the network is read on the engine's own threads. [close] lets go of the client; calls that are under way end
 * by themselves.
 *
 * ```kotlin
 * LlmClient(apiKey = key).use { client ->
 *     client.chatStream(ChatCompletionRequest("openai/gpt-4o", listOf(Message.user("Tell me a story"))))
 *         .collect { chunk -> print(chunk.text) }
 * }
 * ```
 */
public class LlmClient @JvmOverloads constructor(
    config: ClientConfig,
    hooks: List<Hooks> = listOf(),
    tokenProviders: Map<String, TokenProvider> = mapOf(),
) : AutoCloseable {
    /**
     * A client with a key of its own; where [apiKey] is null it comes from the provider's usual variable, such as `OPENAI_API_KEY`.
     *
     * @param provider whom the key and the address belong to; where null, the provider of the first request.
     */
    @JvmOverloads
    public constructor(apiKey: String? = null, baseUrl: String? = null, provider: String? = null) :
        this(ClientConfig(apiKey = apiKey, baseUrl = baseUrl, provider = provider))

    private val native: NativeClient = run {
        Callbacks
        translated { NativeClient(config, hooks.map(::Receiver), tokenProviders.mapValues { TokenSource(it.value) }) }
    }

    /** Asks for a whole answer. Cancelling the coroutine closes the connection. */
    @Throws(LlmException::class, CancellationException::class)
    public suspend fun chat(
        request: ChatCompletionRequest,
        options: RequestOptions = RequestOptions(),
    ): ChatCompletion = with(native.call(request, options)) { call -> translated { call.chat() } }

    /**
     * Asks for a stream. Nothing is sent until it is collected, and each collection is a call of its own. The end of the collection,
     * whichever way it ends, closes the connection.
     */
    public fun chatStream(
        request: ChatCompletionRequest,
        options: RequestOptions = RequestOptions(),
    ): ChatStream = ChatStream { native.call(request, options) }

    /** The same for threads that may block, and for Java. */
    public fun blocking(): BlockingLlmClient = BlockingLlmClient(native)

    override fun close() {
        native.close()
    }

    public companion object {
        /** A client configured by JSON, by the names that every language uses: `{"api_key": "…", "idle_timeout": 60}`. */
        @JvmStatic
        @Throws(LlmException::class)
        public fun fromJson(config: String): LlmClient = LlmClient(ClientConfig.fromJson(config))

        /** As [fromJson], with hooks and sources of tokens that may block, for Java. */
        @JvmStatic
        @JvmOverloads
        @Throws(LlmException::class)
        public fun fromJson(
            config: String,
            hooks: List<BlockingHooks>,
            tokenProviders: Map<String, BlockingTokenProvider> = mapOf(),
        ): LlmClient =
            LlmClient(ClientConfig.fromJson(config), hooks.map(::FromBlocking), tokenProviders.mapValues { BlockingTokens(it.value) })
    }
}

/**
 * The engine's threads call back when something has come. They are few and live as long as the process, so each is made known to the JVM
 * once, rather than for every callback.
 */
private object Callbacks {
    init {
        val threads = CallbackThreadInitializer(true, false, "literllm")
        listOf(
            uniffiRustFutureContinuationCallbackImpl,
            ToBatches.take,
            ToBatches.fail,
            ToBatches.uniffiFree,
            ToHooks.ask,
            ToHooks.uniffiFree,
            ToTokens.ask,
            ToTokens.uniffiFree,
        ).forEach { Native.setCallbackThreadInitializer(it, threads) }
    }
}

/** Runs [body] with a call that is closed afterwards, whatever happens. */
internal inline fun <T> with(call: NativeCall, body: (NativeCall) -> T): T =
    try {
        body(call)
    } finally {
        call.cancel()
        call.close()
    }
