// Answers over a link that goes down in the middle of them. scripts/outage runs it in a network of its own, whose link it takes down and up
// at this program's word; the argument is the mock's address.
import Foundation
import LiterLlm

let words = "one two three four five six seven eight nine ten eleven twelve"
let answer = "openai/demo?text=\(words.replacingOccurrences(of: " ", with: "%20"))&pace=50"
let config = ClientConfig(
    apiKey: "test-key", baseUrl: "\(CommandLine.arguments[1])/v1", provider: "openai",
    timeouts: Timeouts(connectTimeout: 1, idleTimeout: 1),
    retries: Retries(maxRetries: 20, retryBaseDelay: 0.1, retryMaxDelay: 0.3))
let client = try LlmClient(config: config)

func link(_ state: String) {
    print(state)
    fflush(nil)
    precondition(readLine() == state, "the link obeys")
}

func pause(_ seconds: Double) async throws {
    try await Task.sleep(nanoseconds: UInt64(seconds * 1e9))
}

/// Reads an answer; after its third piece of text, `then`.
func read(_ request: ChatCompletionRequest, into text: inout String, then: () async throws -> Void) async throws {
    var pieces = 0
    for try await chunk in client.chatStream(request) {
        text += chunk.text
        if chunk.text.isEmpty { continue }
        pieces += 1
        if pieces == 3 { try await then() }
    }
}

func aLinkThatIsSoonBackLosesNothing() async throws {
    var text = ""
    try await read(ChatCompletionRequest(model: answer, messages: [.user("Count")]), into: &text) {
        link("down")
        try await pause(0.3)
        link("up")
    }
    precondition(text == words, text)
    print("ok: a link that is soon back loses nothing")
}

func aLinkThatStaysDownEndsWithATypedErrorAndTheAnswerSoFar() async throws {
    var text = ""
    do {
        try await read(ChatCompletionRequest(model: answer, messages: [.user("Count")]), into: &text) { link("down") }
        preconditionFailure("the answer is not whole")
    } catch LlmError.timeout(let details) {
        precondition(details.partial?.text == text, text)
    }
    link("up")
    print("ok: a link that stays down ends with a typed error and the answer so far")
}

func aListOfOneGoesOnWhenTheLinkIsBack() async throws {
    var text = ""
    var back: Task<Void, Error>?
    try await read(ChatCompletionRequest(models: [answer + "&continue=1"], messages: [.user("Count")]), into: &text) {
        link("down")
        back = Task {
            try await pause(2.5)
            link("up")
        }
    }
    try await back?.value
    precondition(text == words, text)
    print("ok: a list of one goes on when the link is back")
}

try await aLinkThatIsSoonBackLosesNothing()
try await aLinkThatStaysDownEndsWithATypedErrorAndTheAnswerSoFar()
try await aListOfOneGoesOnWhenTheLinkIsBack()
