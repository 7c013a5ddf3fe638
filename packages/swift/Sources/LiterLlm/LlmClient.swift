/// Talks to every provider: name `provider/model` in a request, and the answer comes as OpenAI's chunks.
///
/// A client may be shared between tasks; all its calls share one pool of connections, and the network is read on the engine's own threads.
///
/// ```swift
/// let client = try LlmClient(apiKey: key)
/// for try await chunk in client.chatStream(.init(model: "openai/gpt-4o", messages: [.user("Tell me a story")])) {
///     print(chunk.text, terminator: "")
/// }
/// ```
public final class LlmClient: Sendable {
    private let native: NativeClient

    /// A client configured in full, with what is put around its calls, asked in this order, and the program's own sources of tokens, by
    /// provider.
    public init(config: ClientConfig, hooks: [any Hooks] = [], tokenProviders: [String: TokenProvider] = [:]) throws {
        native = try translated {
            try NativeClient(config: config, hooks: hooks.map(Receiver.init), tokens: tokenProviders.mapValues(TokenSource.init))
        }
    }

    /// A client with a key of its own; without one it comes from the provider's usual variable, such as `OPENAI_API_KEY`.
    ///
    /// - Parameters:
    ///   - apiKey: the key.
    ///   - baseUrl: the address that the key is for, if it is not the provider's own.
    ///   - provider: whom both belong to; where it is not given, the provider of the first request.
    public convenience init(apiKey: String? = nil, baseUrl: String? = nil, provider: String? = nil) throws {
        try self.init(config: ClientConfig(apiKey: apiKey, baseUrl: baseUrl, provider: provider))
    }

    /// Asks for a whole answer. Cancelling the task closes the connection.
    ///
    /// - Throws: ``LlmError``, or `CancellationError` if the task was cancelled.
    public func chat(_ request: ChatCompletionRequest, options: RequestOptions = RequestOptions()) async throws -> ChatCompletion {
        try await cancellable(native.call(request: request, options: options)) { try await $0.chat() }
    }

    /// Asks for a stream. Nothing is sent until it is iterated, and each iteration is a call of its own.
    public func chatStream(_ request: ChatCompletionRequest, options: RequestOptions = RequestOptions()) -> ChatStream {
        ChatStream { [native] in native.call(request: request, options: options) }
    }
}

/// Waits for a call. Cancelling the task closes the call's connection.
func cancellable<T: Sendable>(
    _ call: NativeCall, _ wait: @Sendable (NativeCall) async throws -> T
) async throws -> T {
    do {
        return try await withTaskCancellationHandler {
            try await translatedLater { try await wait(call) }
        } onCancel: {
            call.cancel()
        }
    } catch let error as LlmError where error.kind == .cancelled && Task.isCancelled {
        throw CancellationError()
    }
}
