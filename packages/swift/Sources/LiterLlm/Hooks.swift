/// What is put around every call of a client, to watch it, change it, refuse it or answer it from elsewhere. Each method lets the call pass as it
/// is, unless it is written; one that throws refuses, with that ``LlmError``, or with `permission` for any other error.
///
/// They run in tasks of their own: no thread of the engine waits for one, and the call goes on when it is done. The time that they take counts
/// towards the call's total deadline.
public protocol Hooks: Sendable {
    /// The stages at which it wants to be asked; the others cost nothing. All, unless it says otherwise.
    var stages: Set<HookStage> { get }

    /// A route (a model of the list) is about to be asked: before the first, and before each that goes on after a failure.
    func beforeRequest(_ at: HookContext, _ request: ChatCompletionRequest) async throws -> Before

    /// A route has answered well, and its content is about to come.
    func afterHeaders(_ at: HookContext, _ head: AnswerHead) async throws

    /// What came together is about to be handed to the consumer, who gets what is returned, if anything.
    func onChunks(_ at: HookContext, _ chunks: [ChatCompletionChunk]) async throws -> [ChatCompletionChunk]

    /// A route has failed for good. What is thrown takes the error's place; an answer is possible only while nothing was shown yet.
    func onError(_ at: HookContext, _ error: LlmError) async throws -> ChatCompletion

    /// The call is over, for whatever reason. Comes once.
    func onEnd(_ at: HookContext, _ end: CallEnd) async
}

extension Hooks {
    public var stages: Set<HookStage> { [.beforeRequest, .afterHeaders, .onChunks, .onError, .onEnd] }
    public func beforeRequest(_ at: HookContext, _ request: ChatCompletionRequest) async throws -> Before { .ask(request) }
    public func afterHeaders(_ at: HookContext, _ head: AnswerHead) async throws {}
    public func onChunks(_ at: HookContext, _ chunks: [ChatCompletionChunk]) async throws -> [ChatCompletionChunk] { chunks }
    public func onError(_ at: HookContext, _ error: LlmError) async throws -> ChatCompletion { throw error }
    public func onEnd(_ at: HookContext, _ end: CallEnd) async {}
}

/// Where in which call a hook is asked.
public struct HookContext: Hashable, Sendable {
    /// The number of the call, of its own in this process.
    public let call: UInt64
    /// The number of the route in the call, from 1.
    public let attempt: UInt32
    public let provider: String
    /// As the provider names it.
    public let model: String
    /// Whether the caller asked for a stream.
    public let stream: Bool
}

/// What is to be done with a request.
public enum Before: Sendable {
    /// The route is asked so; another `model` in it asks that one.
    case ask(ChatCompletionRequest)
    /// This is the answer, and the route is not asked.
    case answer(ChatCompletion)
}

/// The head of a provider's answer.
public struct AnswerHead: Sendable {
    public let status: Int
    public let headers: [String: String]
    /// The provider's name for the request.
    public let requestId: String?
}

/// How a call ended.
public struct CallEnd: Sendable {
    /// The answer, or what there is of it.
    public let response: ChatCompletion?
    public let error: LlmError?
    public let seconds: Double
}

/// Takes the engine's questions, and answers each in a task of its own.
final class Receiver: HookReceiver {
    private let hooks: any Hooks

    init(_ hooks: any Hooks) {
        self.hooks = hooks
    }

    func stages() -> [HookStage] { Array(hooks.stages) }

    func ask(event: HookEvent, call: NativeHookCall) {
        Task { [hooks] in
            do {
                try await Self.answer(hooks, event, call)
            } catch let error as LlmError {
                call.answerError(kind: error.kind, message: error.details.message)
            } catch {
                call.answerError(kind: .permission, message: "\(error)")
            }
        }
    }

    private static func answer(_ hooks: any Hooks, _ event: HookEvent, _ call: NativeHookCall) async throws {
        let at = HookContext(
            call: event.call, attempt: event.attempt, provider: event.provider, model: event.model, stream: event.stream)
        switch event.stage {
        case .beforeRequest:
            guard let request = event.request else { return call.pass() }
            switch try await hooks.beforeRequest(at, request) {
            case .ask(request): call.pass()
            case .ask(let changed): call.answerRequest(request: changed)
            case .answer(let response): call.answerResponse(response: response)
            }
        case .afterHeaders:
            let head = AnswerHead(status: Int(event.status ?? 0), headers: event.headers, requestId: event.requestId)
            try await hooks.afterHeaders(at, head)
            call.pass()
        case .onChunks:
            let chunks = try await hooks.onChunks(at, event.chunks)
            if chunks == event.chunks { call.pass() } else { call.answerChunks(chunks: chunks) }
        case .onError:
            guard let error = event.error.map(LlmError.init) else { return call.pass() }
            do {
                call.answerResponse(response: try await hooks.onError(at, error))
            } catch let thrown as LlmError where thrown == error {
                call.pass()
            }
        case .onEnd:
            await hooks.onEnd(at, CallEnd(response: event.response, error: event.error.map(LlmError.init), seconds: event.seconds ?? 0))
            call.pass()
        }
    }
}
