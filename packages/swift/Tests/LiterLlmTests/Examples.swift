import Foundation
import LiterLlm

// The READMEs' examples, each between the marks; ExamplesTests looks whether a README shows anything else.

private func fiveLines() async throws {
    // example
    let client = try LlmClient(apiKey: ProcessInfo.processInfo.environment["OPENAI_API_KEY"])
    for try await chunk in client.chatStream(.init(model: "openai/gpt-4o", messages: [.user("Tell me a story")])) {
        print(chunk.choices.first?.delta.content ?? "", terminator: "")
    }
    // end
}

private func aListOfModels(_ client: LlmClient, _ conversation: [Message]) async throws {
    // example
    let request = ChatCompletionRequest(models: ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"], messages: conversation)
    var answer = ""
    for try await chunk in client.chatStream(request) {
        if chunk.literllm?.event == "reset" { answer = "" }
        answer += chunk.text
    }
    // end
    precondition(!answer.isEmpty)
}

// example
struct Watched: Hooks {
    func beforeRequest(_ at: HookContext, _ request: ChatCompletionRequest) async throws -> Before {
        guard at.provider == "openai" else { throw LlmError(.permission, "only OpenAI is allowed here") }
        var request = request
        request.user = "user-7"
        return .ask(request)
    }

    func onEnd(_ at: HookContext, _ end: CallEnd) async {
        print("\(at.model): \(end.response?.usage?.totalTokens ?? 0) tokens in \(end.seconds) s")
    }
}
// end

private func watched(_ key: String) throws -> LlmClient {
    // example
    let client = try LlmClient(config: ClientConfig(apiKey: key), hooks: [Watched()])
    // end
    return client
}

// example
@MainActor final class ChatModel: ObservableObject {
    @Published private(set) var answer = ""
    private let client: LlmClient
    private var task: Task<Void, Never>?

    init(client: LlmClient) { self.client = client }

    func ask(_ question: String) {
        task?.cancel()
        answer = ""
        task = Task {
            do {
                for try await chunk in client.chatStream(.init(model: "openai/gpt-4o", messages: [.user(question)])) { answer += chunk.text }
            } catch is CancellationError {
            } catch {
                answer += "\n\(error.localizedDescription)"
            }
        }
    }
}
// end

/// Stands in for Combine's.
protocol ObservableObject: AnyObject {}

/// Stands in for Combine's.
@propertyWrapper struct Published<Value> {
    var wrappedValue: Value
}
