package dev.kreuzberg.literllm

import dev.kreuzberg.literllm.internal.NativeCall
import dev.kreuzberg.literllm.internal.NativeClient
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.future.future
import java.util.Spliterator
import java.util.Spliterators
import java.util.concurrent.CompletableFuture
import java.util.stream.Stream
import java.util.stream.StreamSupport

/** An [LlmClient] for threads that may block, and for Java. It is closed with the client it comes from. */
public class BlockingLlmClient internal constructor(private val native: NativeClient) {
    /** Asks for a whole answer and waits for it. */
    @JvmOverloads
    @Throws(LlmException::class)
    public fun chat(request: ChatCompletionRequest, options: RequestOptions = RequestOptions()): ChatCompletion =
        with(native.call(request, options)) { call -> translated { call.chatBlocking() } }

    /** Asks for a whole answer. Cancelling the future closes the connection. */
    @JvmOverloads
    public fun chatAsync(
        request: ChatCompletionRequest,
        options: RequestOptions = RequestOptions(),
    ): CompletableFuture<ChatCompletion> =
        // No thread waits: what runs here is only what starts the call and what hands its answer on.
        CoroutineScope(Dispatchers.Unconfined).future {
            with(native.call(request, options)) { call -> translated { call.chat() } }
        }

    /** Asks for a stream. The first look at it starts the call; close it, best by try-with-resources. */
    @JvmOverloads
    public fun chatStream(request: ChatCompletionRequest, options: RequestOptions = RequestOptions()): ChunkIterator =
        ChunkIterator(native.call(request, options))
}

/** The chunks of one call. One thread iterates it; any thread may [close] it, which ends the iteration with [LlmException.Cancelled]. */
public class ChunkIterator internal constructor(private val call: NativeCall) : Iterator<ChatCompletionChunk>, AutoCloseable {
    private var batch: Iterator<ChatCompletionChunk> = emptyList<ChatCompletionChunk>().iterator()
    private var ended = false

    @Throws(LlmException::class)
    override fun hasNext(): Boolean {
        if (!batch.hasNext() && !ended) {
            val next = try {
                translated { call.nextBatchBlocking() }
            } catch (error: LlmException) {
                ended = true
                throw error
            }
            ended = next.isEmpty()
            batch = next.iterator()
        }
        return batch.hasNext()
    }

    @Throws(LlmException::class)
    override fun next(): ChatCompletionChunk = if (hasNext()) batch.next() else throw NoSuchElementException()

    /** The answer so far; whole once the iteration has ended. */
    public fun completion(): ChatCompletion = call.completionBlocking()

    /** The chunks as a stream, which closes them when it is closed. */
    public fun stream(): Stream<ChatCompletionChunk> {
        val chunks = Spliterators.spliteratorUnknownSize(this, Spliterator.ORDERED or Spliterator.NONNULL)
        return StreamSupport.stream(chunks, false).onClose(this::close)
    }

    override fun close() {
        call.cancel()
    }
}
