import Foundation
import LiterLlm
import XCTest

/// Hooks around calls, told apart by what the mock saw.
final class HooksTests: XCTestCase {
    private func client(_ hooks: any Hooks...) throws -> LlmClient {
        let json =
            #"{"api_keys": {"openai": "test-key"}, "base_urls": {"openai": "\#(Mock.address)/v1"}, "max_retries": 0, "cooldown": 0}"#
        return try LlmClient(config: ClientConfig(json: json), hooks: hooks)
    }

    private func request(_ behaviour: String) -> ChatCompletionRequest {
        .init(model: "openai/demo?\(behaviour)", messages: [.user("Hi")])
    }

    func testHooksAreToldOfEveryStageAndLetACallPass() async throws {
        let watching = Watching()
        let answer = try await client(watching, Nothing()).chatStream(request("text=one two&request_id=req-9")).completion()
        XCTAssertEqual(answer.text, "one two")
        let told = await watching.told.all
        XCTAssertEqual(told, ["before openai 1 true Hi", "head 200 req-9 true", "one", " two", "end one two nil true"])
    }

    func testAChangedRequestIsTheOneThatIsSent() async throws {
        let id = Mock.name()
        _ = try await client(Changing()).chat(request("id=\(id)"))
        let log = try await Mock.log(id)
        XCTAssertEqual((log[0]["body"] as? [String: Any])?["temperature"] as? Double, 0.25)
    }

    func testARefusedRequestIsNotSent() async throws {
        struct OutOfOrder: Error {}
        let id = Mock.name()
        for (refusal, kind) in [(LlmError(.contentPolicy, "not this one") as Error, ErrorKind.contentPolicy), (OutOfOrder(), .permission)] {
            do {
                _ = try await client(Refusing(refusal: refusal)).chat(request("id=\(id)"))
                XCTFail("it was not refused")
            } catch let error as LlmError {
                XCTAssertEqual(error.kind, kind)
                XCTAssertTrue(error.details.message.contains(kind == .permission ? "OutOfOrder" : "not this one"), error.description)
            }
        }
        let seen = try await Mock.log(id).count
        XCTAssertEqual(seen, 0)
    }

    func testAnAnswerFromElsewhereComesAsAStream() async throws {
        let id = Mock.name()
        let kept = try await client().chat(request("text=kept answer"))
        var text = ""
        for try await chunk in try client(Answering(answer: kept)).chatStream(request("id=\(id)")) { text += chunk.text }
        XCTAssertEqual(text, "kept answer")
        let seen = try await Mock.log(id).count
        XCTAssertEqual(seen, 0)
        let instead = try await client(Answering(answer: kept)).chat(request("status=500"))
        XCTAssertEqual(instead.text, "kept answer")
    }

    func testChunksAreChangedAndLeftOut() async throws {
        var text = ""
        let answer = try await client(Changing()).chatStream(request("text=one two three")).completion { text += $0.text }
        XCTAssertEqual(text, "ONE THREE")
        XCTAssertEqual(answer.text, "ONE THREE")
    }

    func testAnErrorIsReplacedOrAnswered() async throws {
        let kept = try await client().chat(request("text=kept answer"))
        let answer = try await client(Answering(answer: kept, stages: [.onError])).chat(request("status=500"))
        XCTAssertEqual(answer.text, "kept answer")
        do {
            _ = try await client(Changing()).chat(request("status=500"))
            XCTFail("there is no answer")
        } catch LlmError.notFound(let details) {
            XCTAssertTrue(details.message.contains("instead of server"), details.message)
        }
        do {
            _ = try await client(Nothing()).chat(request("status=500"))
            XCTFail("there is no answer")
        } catch LlmError.server {}
    }

    func testTheEndComesOnceAlsoForAStreamThatWasLeft() async throws {
        let watching = Ends()
        let client = try client(watching)
        for try await chunk in client.chatStream(request("chunks=100000&bytes=200&pace=5")) where !chunk.text.isEmpty { break }
        var ends = watching.ends.makeAsyncIterator()
        let end = await ends.next()
        XCTAssertEqual(end?.error?.kind, .cancelled)
        XCTAssertFalse(end?.response?.text.isEmpty ?? true)
        _ = try await client.chat(request("text=one"))
        let next = await ends.next()
        XCTAssertEqual(next?.response?.text, "one")
    }

    func testHooksThatWaitHoldNoThreadOfTheEngine() async throws {
        let waiting = Waiting()
        let client = try client(waiting)
        let asking = request("text=one")
        let answers = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 1...100 { group.addTask { try await client.chat(asking).text } }
            // All hundred wait at the same moment, and another call still goes through.
            var reached = 0
            for await _ in waiting.reached {
                reached += 1
                if reached == 100 { break }
            }
            let free = try await self.client().chat(request("text=free"))
            XCTAssertEqual(free.text, "free")
            await waiting.gate.open()
            return try await group.reduce(into: []) { $0.append($1) }
        }
        XCTAssertEqual(answers, Array(repeating: "one", count: 100))
    }
}

private struct Nothing: Hooks {}

private struct Watching: Hooks {
    actor Told {
        private(set) var all: [String] = []
        func add(_ texts: [String]) { all += texts }
    }
    let told = Told()

    func beforeRequest(_ at: HookContext, _ request: ChatCompletionRequest) async throws -> Before {
        await told.add(["before \(at.provider) \(at.attempt) \(at.stream) \(request.messages[0].text)"])
        return .ask(request)
    }

    func afterHeaders(_ at: HookContext, _ head: AnswerHead) async throws {
        await told.add(["head \(head.status) \(head.requestId ?? "") \(head.headers["content-type"] != nil)"])
    }

    func onChunks(_ at: HookContext, _ chunks: [ChatCompletionChunk]) async throws -> [ChatCompletionChunk] {
        await told.add(chunks.map(\.text).filter { !$0.isEmpty })
        return chunks
    }

    func onEnd(_ at: HookContext, _ end: CallEnd) async {
        await told.add(["end \(end.response?.text ?? "") \(end.error.map { "\($0)" } ?? "nil") \(end.seconds > 0)"])
    }
}

private struct Changing: Hooks {
    func beforeRequest(_ at: HookContext, _ request: ChatCompletionRequest) async throws -> Before {
        var request = request
        request.temperature = 0.25
        return .ask(request)
    }

    func onChunks(_ at: HookContext, _ chunks: [ChatCompletionChunk]) async throws -> [ChatCompletionChunk] {
        chunks.filter { $0.text != " two" }.map { chunk in
            var chunk = chunk
            for at in chunk.choices.indices { chunk.choices[at].delta.content = chunk.choices[at].delta.content?.uppercased() }
            return chunk
        }
    }

    func onError(_ at: HookContext, _ error: LlmError) async throws -> ChatCompletion {
        throw LlmError(.notFound, "instead of \(error.kind)")
    }
}

private struct Refusing: Hooks {
    let refusal: any Error

    func beforeRequest(_ at: HookContext, _ request: ChatCompletionRequest) async throws -> Before { throw refusal }
}

private struct Answering: Hooks {
    let answer: ChatCompletion
    var stages: Set<HookStage> = [.beforeRequest]

    func beforeRequest(_ at: HookContext, _ request: ChatCompletionRequest) async throws -> Before { .answer(answer) }

    func onError(_ at: HookContext, _ error: LlmError) async throws -> ChatCompletion { answer }
}

private struct Ends: Hooks {
    private let stream = AsyncStream.makeStream(of: CallEnd.self)
    let stages: Set<HookStage> = [.onEnd]
    var ends: AsyncStream<CallEnd> { stream.stream }

    func onEnd(_ at: HookContext, _ end: CallEnd) async { stream.continuation.yield(end) }
}

private struct Waiting: Hooks {
    actor Gate {
        private var waiting: [CheckedContinuation<Void, Never>] = []
        private var isOpen = false

        func pass() async {
            if !isOpen { await withCheckedContinuation { waiting.append($0) } }
        }

        func open() {
            isOpen = true
            for waiter in waiting { waiter.resume() }
        }
    }
    let gate = Gate()
    private let stream = AsyncStream.makeStream(of: Void.self)
    let stages: Set<HookStage> = [.onEnd]
    var reached: AsyncStream<Void> { stream.stream }

    func onEnd(_ at: HookContext, _ end: CallEnd) async {
        stream.continuation.yield()
        await gate.pass()
    }
}
