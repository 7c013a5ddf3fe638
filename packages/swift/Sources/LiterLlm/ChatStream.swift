/// The chunks of an answer, as an `AsyncSequence`. Leaving the loop, or cancelling its task, closes the connection; a consumer that is slow,
/// or away, stops the network and loses nothing.
public struct ChatStream: AsyncSequence, Sendable {
    public typealias Element = ChatCompletionChunk

    private let start: @Sendable () -> NativeCall

    init(_ start: @escaping @Sendable () -> NativeCall) {
        self.start = start
    }

    public func makeAsyncIterator() -> Iterator {
        Iterator(start())
    }

    /// Reads the stream to its end and gives the whole answer: text, tool calls, reasoning, usage, finish reason. `onChunk` sees the
    /// chunks as they come.
    public func completion(onChunk: (ChatCompletionChunk) async throws -> Void = { _ in }) async throws -> ChatCompletion {
        let iterator = makeAsyncIterator()
        while let chunk = try await iterator.next() {
            try await onChunk(chunk)
        }
        return try await iterator.completion()
    }

    /// The same chunks as an `AsyncThrowingStream`, which asks for the next one only when it is wanted.
    public func asyncThrowingStream() -> AsyncThrowingStream<ChatCompletionChunk, Error> {
        let iterator = makeAsyncIterator()
        return AsyncThrowingStream { try await iterator.next() }
    }

    /// One call. It belongs to one task at a time.
    public struct Iterator: AsyncIteratorProtocol, @unchecked Sendable {
        private let reader: Reader

        init(_ call: NativeCall) {
            reader = Reader(call)
        }

        /// The next chunk; nil after the last one.
        ///
        /// - Throws: ``LlmError``, or `CancellationError` if the task was cancelled.
        public func next() async throws -> ChatCompletionChunk? {
            if let chunk = reader.pop() { return chunk }
            return try await reader.fill()
        }

        /// The answer so far; whole once the iteration has ended.
        public func completion() async throws -> ChatCompletion {
            try await reader.completion()
        }
    }
}

/// Holds what one crossing brought, and closes the call when nobody iterates it any more.
private final class Reader: @unchecked Sendable {
    private let call: NativeCall
    private let batches: Batches
    private var batch: [ChatCompletionChunk] = []
    private var at = 0
    private var ended = false

    init(_ call: NativeCall) {
        self.call = call
        batches = Batches(call)
    }

    deinit {
        call.cancel()
    }

    @inline(__always)
    func pop() -> ChatCompletionChunk? {
        guard at < batch.count else { return nil }
        defer { at += 1 }
        return batch[at]
    }

    func fill() async throws -> ChatCompletionChunk? {
        if ended { return nil }
        do {
            batch = try await cancellable(call) { [batches] _ in try await batches.next() }
        } catch {
            ended = true
            batch = []
            throw error
        }
        at = 0
        ended = batch.isEmpty
        return pop()
    }

    func completion() async throws -> ChatCompletion {
        try await translatedLater { try await call.completion() }
    }
}
