package dev.kreuzberg.literllm

import dev.kreuzberg.literllm.internal.NativeCall
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.withContext

/**
 * A cold [Flow] of chunks. Cancelling the collecting coroutine, `take(n)`, `first()` or an exception in the collector closes the
 * connection. A collector that is slow, or away, stops the network and loses nothing.
 */
public class ChatStream private constructor(
    private val start: () -> NativeCall,
    private val last: Last,
) : Flow<ChatCompletionChunk> by chunks(start, last) {
    internal constructor(start: () -> NativeCall) : this(start, Last())

    /**
     * The answer that the latest collection added up to: text, tool calls, reasoning, usage, finish reason. What had come, where the
     * collection ended early; null before the first one has ended.
     */
    public val completion: ChatCompletion?
        get() = last.completion

    /** Reads a stream to its end and gives the whole answer, for those who only want progress while [onChunk] runs. */
    public suspend fun complete(onChunk: suspend (ChatCompletionChunk) -> Unit = {}): ChatCompletion {
        collect { onChunk(it) }
        return checkNotNull(completion) { "a collection that has ended has left its answer" }
    }
}

/** Where collections leave their answer. */
internal class Last {
    @Volatile
    var completion: ChatCompletion? = null
}

private fun chunks(start: () -> NativeCall, last: Last): Flow<ChatCompletionChunk> = flow {
    val call = start()
    try {
        val batches = Batches(call)
        while (true) {
            val batch = batches.next()
            if (batch.isEmpty()) break
            for (chunk in batch) emit(chunk)
        }
    } finally {
        call.cancel()
        // One short crossing that waits for nothing, so that it may run in a coroutine that was cancelled.
        withContext(NonCancellable) { last.completion = translated { call.completion() } }
        call.close()
    }
}
