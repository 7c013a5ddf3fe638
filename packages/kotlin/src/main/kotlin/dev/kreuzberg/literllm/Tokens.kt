@file:JvmName("Tokens")

package dev.kreuzberg.literllm

import dev.kreuzberg.literllm.internal.NativeHookCall
import dev.kreuzberg.literllm.internal.TokenReceiver
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.launch
import java.time.Instant

/**
 * A program's own source of a provider's tokens, such as Vertex AI's, Azure's or Bedrock's. It is asked when the client has none, or the
 * one it has is about to end; what it throws fails the call with [LlmException.Authentication], which has its message.
 *
 * It runs in a coroutine of its own, on [Dispatchers.Default].
 */
public fun interface TokenProvider {
    public suspend fun token(): Credential
}

/** A [TokenProvider] for Java, and for code that blocks: it may take its time on a thread of [Dispatchers.IO]. */
public fun interface BlockingTokenProvider {
    @Throws(Exception::class)
    public fun token(): Credential
}

/** This one as a [TokenProvider]. */
public fun BlockingTokenProvider.suspending(): TokenProvider = BlockingTokens(this)

/** What a [TokenProvider] gives. */
public sealed interface Credential {
    /** When it ends. Where it is null, it is asked for again with every request. */
    public val expiresAt: Instant?

    /** It is sent as a bearer token. */
    public class Token @JvmOverloads constructor(
        public val secret: String,
        override val expiresAt: Instant? = null,
    ) : Credential

    /** They sign requests to AWS. */
    public class AwsKeys @JvmOverloads constructor(
        public val accessKeyId: String,
        public val secretAccessKey: String,
        public val sessionToken: String? = null,
        override val expiresAt: Instant? = null,
    ) : Credential
}

internal class BlockingTokens(private val provider: BlockingTokenProvider) : TokenProvider {
    override suspend fun token() = provider.token()
}

/** Takes the engine's questions for tokens, and answers each in a coroutine of its own. */
internal class TokenSource(private val provider: TokenProvider) : TokenReceiver {
    private val dispatcher: CoroutineDispatcher = if (provider is BlockingTokens) Dispatchers.IO else Dispatchers.Default
    private val scope = CoroutineScope(SupervisorJob() + dispatcher)

    override fun ask(call: NativeHookCall) {
        scope.launch {
            call.use {
                try {
                    answer(call, provider.token())
                } catch (@Suppress("TooGenericExceptionCaught") error: Throwable) {
                    call.answerError(ErrorKind.AUTHENTICATION, "$error")
                }
            }
        }
    }

    private fun answer(call: NativeHookCall, given: Credential) {
        val expiresAt = given.expiresAt?.run { toEpochMilli() / MILLISECONDS }
        when (given) {
            is Credential.Token -> call.answerToken(given.secret, expiresAt)
            is Credential.AwsKeys ->
                call.answerAwsKeys(given.accessKeyId, given.secretAccessKey, given.sessionToken, expiresAt)
        }
    }

    private companion object {
        /** In a second. */
        const val MILLISECONDS = 1000.0
    }
}
