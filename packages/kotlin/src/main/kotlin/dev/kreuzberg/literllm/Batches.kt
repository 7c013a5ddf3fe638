package dev.kreuzberg.literllm

import com.sun.jna.Pointer
import dev.kreuzberg.literllm.internal.BatchReceiver
import dev.kreuzberg.literllm.internal.ErrorDetails
import dev.kreuzberg.literllm.internal.FfiConverterSequenceTypeChatCompletionChunk
import dev.kreuzberg.literllm.internal.NativeCall
import dev.kreuzberg.literllm.internal.Thrown
import kotlinx.coroutines.suspendCancellableCoroutine
import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicReference
import kotlin.coroutines.Continuation

/** The batches of a call, for one coroutine, which gets what it asks for straight from the engine's thread. */
internal class Batches(private val call: NativeCall) {
    private val mailbox = Mailbox()

    init {
        call.deliverTo(mailbox)
    }

    /** All chunks that are there, at least one; none after the last one. */
    suspend fun next(): List<ChatCompletionChunk> {
        val bytes = suspendCancellableCoroutine { waiting ->
            mailbox.waiting.set(waiting)
            call.requestNext()
        }
        return FfiConverterSequenceTypeChatCompletionChunk.read(ByteBuffer.wrap(bytes))
    }

    /** What the engine holds on to. It knows nothing of the call, so that neither keeps the other alive. */
    private class Mailbox : BatchReceiver {
        /** Who asked. Where it was cancelled meanwhile, the answer is for nobody. */
        val waiting = AtomicReference<Continuation<ByteArray>?>()

        /** The engine's thread only copies: the chunks are made where they were asked for. */
        override fun take(address: Long, length: Long) = answer(runCatching { Pointer(address).getByteArray(0, length.toInt()) })

        override fun fail(error: ErrorDetails, thrown: List<Thrown?>) = answer(Result.failure(exception(error, thrown)))

        private fun answer(result: Result<ByteArray>) {
            waiting.getAndSet(null)?.resumeWith(result)
        }
    }
}
