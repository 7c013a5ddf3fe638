/// The batches of a call, for one task, which gets what it asks for straight from the engine's thread.
struct Batches: Sendable {
    private let call: NativeCall
    private let mailbox = Mailbox()

    init(_ call: NativeCall) {
        self.call = call
        call.deliverTo(receiver: mailbox)
    }

    /// All chunks that are there, at least one; none after the last one.
    func next() async throws -> [ChatCompletionChunk] {
        let bytes = try await withCheckedThrowingContinuation { waiting in
            mailbox.waiting = waiting
            call.requestNext()
        }
        return try bytes.withUnsafeBytes { bytes in
            var reader = Incoming(bytes)
            let count: Int32 = try reader.integer()
            var batch: [ChatCompletionChunk] = []
            batch.reserveCapacity(Int(count))
            for _ in 0..<count { batch.append(try FfiConverterTypeChatCompletionChunk.read(from: &reader)) }
            return batch
        }
    }
}

/// What the engine holds on to. It knows nothing of the call, so that neither keeps the other alive.
///
/// It is written to before the engine is asked, and read by the engine's one answer: never by two threads at once.
private final class Mailbox: BatchReceiver, @unchecked Sendable {
    var waiting: CheckedContinuation<[UInt8], Error>?

    /// The engine's thread only copies: the chunks are made where they were asked for.
    func take(address: UInt64, length: UInt64) {
        let bytes = UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: UInt(address)), count: Int(length))
        answer(.success([UInt8](bytes)))
    }

    func fail(error: ErrorDetails, thrown: [Thrown?]) {
        answer(.failure(NativeError.Failed(details: error, thrown: thrown)))
    }

    private func answer(_ result: Result<[UInt8], Error>) {
        let asker = waiting
        waiting = nil
        asker?.resume(with: result)
    }
}
