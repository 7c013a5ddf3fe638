import Foundation

/// What went wrong, as a closed set. Its description says what happened, where, and what to do next, and never holds a key.
public enum LlmError: Error, Equatable, Sendable {
    /// The key is missing or refused.
    case authentication(ErrorDetails)
    /// The key is good but may not do this.
    case permission(ErrorDetails)
    /// No such model, deployment or path.
    case notFound(ErrorDetails)
    /// The request cannot be served as it is.
    case invalidRequest(ErrorDetails)
    /// The conversation is longer than the model takes.
    case contextLength(ErrorDetails)
    /// The provider refused the content.
    case contentPolicy(ErrorDetails)
    /// Too many requests or tokens.
    case rateLimited(ErrorDetails)
    /// The provider has no capacity just now.
    case overloaded(ErrorDetails)
    /// The provider failed.
    case server(ErrorDetails)
    /// One of the deadlines passed.
    case timeout(ErrorDetails)
    /// The provider could not be reached.
    case network(ErrorDetails)
    /// The answer broke off; what had come is in `details.partial`.
    case truncated(ErrorDetails)
    /// The provider sent what is no answer in its own format.
    case `protocol`(ErrorDetails)
    /// The caller cancelled. A cancelled task sees `CancellationError` instead.
    case cancelled(ErrorDetails)
    /// Every model of a list failed; each one's error is in `details.causes`.
    case allFailed(ErrorDetails)
    /// A bug: a panic was caught at a boundary.
    case panic(ErrorDetails)

    /// Everything that is known of it.
    public var details: ErrorDetails {
        switch self {
        case .authentication(let details), .permission(let details), .notFound(let details), .invalidRequest(let details),
            .contextLength(let details), .contentPolicy(let details), .rateLimited(let details), .overloaded(let details),
            .server(let details), .timeout(let details), .network(let details), .truncated(let details),
            .protocol(let details), .cancelled(let details), .allFailed(let details), .panic(let details):
            return details
        }
    }

    public var kind: ErrorKind { details.kind }
    /// Whether the same request may succeed later.
    public var isRetryable: Bool { details.retryable }
    /// What had been streamed before it.
    public var partial: ChatCompletion? { details.partial }
    /// The error of each model tried, where all failed.
    public var causes: [LlmError] { details.causes.map(LlmError.init) }

    /// An error of that kind, for ``Hooks`` that refuse a call.
    public init(_ kind: ErrorKind, _ message: String) {
        self.init(ErrorDetails(kind: kind, message: message))
    }

    init(_ details: ErrorDetails) {
        switch details.kind {
        case .authentication: self = .authentication(details)
        case .permission: self = .permission(details)
        case .notFound: self = .notFound(details)
        case .invalidRequest: self = .invalidRequest(details)
        case .contextLength: self = .contextLength(details)
        case .contentPolicy: self = .contentPolicy(details)
        case .rateLimited: self = .rateLimited(details)
        case .overloaded: self = .overloaded(details)
        case .server: self = .server(details)
        case .timeout: self = .timeout(details)
        case .network: self = .network(details)
        case .truncated: self = .truncated(details)
        case .protocol: self = .protocol(details)
        case .cancelled: self = .cancelled(details)
        case .allFailed: self = .allFailed(details)
        case .panic: self = .panic(details)
        }
    }
}

extension LlmError: LocalizedError, CustomStringConvertible {
    public var description: String { details.message }
    public var errorDescription: String? { details.message }
}

/// Runs `body`, whose errors leave as ``LlmError``.
func translated<T>(_ body: () throws -> T) throws -> T {
    do {
        return try body()
    } catch NativeError.Failed(let details, _) {
        throw LlmError(details)
    }
}

/// As above, for what waits.
func translatedLater<T>(_ body: () async throws -> T) async throws -> T {
    do {
        return try await body()
    } catch NativeError.Failed(let details, _) {
        throw LlmError(details)
    }
}
