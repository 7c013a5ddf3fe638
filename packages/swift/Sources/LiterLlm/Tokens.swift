import Foundation

/// A program's own source of a provider's tokens, such as Vertex AI's, Azure's or Bedrock's. It is asked when the client has none, or the one it
/// has is about to end; what it throws fails the call with an ``LlmError`` of kind `authentication`, which has its description. It runs in a
/// task of its own.
public typealias TokenProvider = @Sendable () async throws -> Credential

/// What a ``TokenProvider`` gives. Where `expiresAt` is nil, it is asked for again with every request.
public enum Credential: Sendable, CustomStringConvertible {
    /// It is sent as a bearer token.
    case token(String, expiresAt: Date? = nil)
    /// They sign requests to AWS.
    case awsKeys(accessKeyId: String, secretAccessKey: String, sessionToken: String? = nil, expiresAt: Date? = nil)

    /// Without what is secret.
    public var description: String {
        switch self {
        case .token(_, let expiresAt): "token(expiresAt: \(String(describing: expiresAt)))"
        case .awsKeys(let id, _, _, let expiresAt): "awsKeys(accessKeyId: \(id), expiresAt: \(String(describing: expiresAt)))"
        }
    }
}

/// Takes the engine's questions for tokens, and answers each in a task of its own.
final class TokenSource: TokenReceiver {
    private let provider: TokenProvider

    init(_ provider: @escaping TokenProvider) {
        self.provider = provider
    }

    func ask(call: NativeHookCall) {
        Task { [provider] in
            do {
                switch try await provider() {
                case .token(let secret, let expiresAt):
                    call.answerToken(token: secret, expiresAt: expiresAt?.timeIntervalSince1970)
                case .awsKeys(let id, let secret, let session, let expiresAt):
                    call.answerAwsKeys(
                        accessKeyId: id, secretAccessKey: secret, sessionToken: session, expiresAt: expiresAt?.timeIntervalSince1970)
                }
            } catch let error as LlmError {
                call.answerError(kind: .authentication, message: error.details.message)
            } catch {
                call.answerError(kind: .authentication, message: "\(error)")
            }
        }
    }
}
