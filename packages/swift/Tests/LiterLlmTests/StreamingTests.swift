import Foundation
import LiterLlm
import XCTest

final class StreamingTests: XCTestCase {
    func testFiveLinesStreamAStory() async throws {
        var story = ""
        let client = try LlmClient(apiKey: "test-key", baseUrl: "\(Mock.address)/v1")
        for try await chunk in client.chatStream(.init(model: "openai/gpt-4o", messages: [.user("Tell me a story")], temperature: 0.7)) {
            story += chunk.choices.first?.delta.content ?? ""
        }
        XCTAssertGreaterThan(story.count, 20)
    }

    func testAWholeAnswerSaysWhatItSaysAndWhoSaidIt() async throws {
        let answer = try await Mock.client().chat(Mock.request, options: Mock.options("text=one two; usage=3,2; request_id=req_7"))
        XCTAssertEqual(answer.text, "one two")
        XCTAssertEqual(answer.choices[0].finishReason, "stop")
        XCTAssertEqual(answer.usage?.totalTokens, 5)
        XCTAssertEqual(answer.literllm?.provider, "openai")
        XCTAssertEqual(answer.literllm?.requestId, "req_7")
    }

    func testAStreamAddsUpToItsAnswer() async throws {
        let behaviour = "reasoning=well; tool=weather:{\"city\":\"Oslo\"}"
        let answer = try await Mock.client().chatStream(Mock.request, options: Mock.options(behaviour)).completion()
        let message = answer.choices[0].message
        XCTAssertEqual(message.reasoningContent, "well")
        XCTAssertEqual(message.toolCalls.map(\.function.name), ["weather"])
        XCTAssertEqual(message.toolCalls.map(\.function.arguments), ["{\"city\":\"Oslo\"}"])
        XCTAssertEqual(answer.choices[0].finishReason, "tool_calls")
    }

    func testNothingIsSentUntilItIsIteratedAndEachIterationIsACall() async throws {
        let id = Mock.name()
        let stream = try Mock.client().chatStream(Mock.request, options: Mock.options("id=\(id); text=one"))
        var seen = try await Mock.log(id).count
        XCTAssertEqual(seen, 0)
        for _ in 1...2 {
            var text = ""
            for try await chunk in stream { text += chunk.text }
            XCTAssertEqual(text, "one")
        }
        seen = try await Mock.log(id).count
        XCTAssertEqual(seen, 2)
    }

    func testAnAsyncThrowingStreamGivesTheSame() async throws {
        var text = ""
        for try await chunk in try Mock.client().chatStream(Mock.request, options: Mock.options("text=one two")).asyncThrowingStream() {
            text += chunk.text
        }
        XCTAssertEqual(text, "one two")
    }

    func testAChunkIsThereAsSoonAsItWasSent() async throws {
        let id = Mock.name()
        var count = 0
        for try await chunk in try Mock.client().chatStream(
            Mock.request, options: Mock.options("id=\(id); chunks=5; bytes=200; withhold=1"))
        {
            count += chunk.text.isEmpty ? 0 : 1
            // The mock sends the next one only now: had this one waited for company, neither would come.
            try await Mock.release(id, "1")
        }
        XCTAssertEqual(count, 5)
    }

    func testLeavingTheLoopClosesTheConnection() async throws {
        let id = Mock.name()
        // The stream itself is still held: it is the loop that ends.
        let stream = try Mock.client().chatStream(Mock.request, options: Mock.options("id=\(id); chunks=100000; bytes=200; pace=5"))
        for try await _ in stream { break }
        let start = Date()
        try await Mock.wait(id, "left")
        XCTAssertLessThan(Date().timeIntervalSince(start), 1)
    }

    func testCancellingTheTaskClosesTheConnectionWhereverItWaits() async throws {
        // Before the headers, before the first token, and between chunks.
        for behaviour in ["headers_after=60000", "ttft=60000", "chunks=9; bytes=200; stall=3"] {
            let id = Mock.name()
            let stream = try Mock.client().chatStream(Mock.request, options: Mock.options("id=\(id); \(behaviour)"))
            let task = Task { for try await _ in stream {} }
            try await Mock.wait(id, behaviour.contains("stall") ? "chunks:3" : "request")
            let start = Date()
            task.cancel()
            try await Mock.wait(id, "left")
            XCTAssertLessThan(Date().timeIntervalSince(start), 1, behaviour)
            do {
                try await task.value
                XCTFail("\(behaviour): a cancelled task ends with an error")
            } catch is CancellationError {}
        }
    }

    func testCancellingAWholeAnswerClosesItsConnection() async throws {
        let id = Mock.name()
        let client = try Mock.client()
        let task = Task { try await client.chat(Mock.request, options: Mock.options("id=\(id); headers_after=60000")) }
        try await Mock.wait(id, "request")
        task.cancel()
        try await Mock.wait(id, "left")
        do {
            _ = try await task.value
            XCTFail("a cancelled task ends with an error")
        } catch is CancellationError {}
    }

    func testAConsumerThatStopsReadingStopsTheSocketAndLosesNothing() async throws {
        let id = Mock.name()
        let total = 20_000
        var count = 0
        for try await chunk in try Mock.client().chatStream(
            Mock.request, options: Mock.options("id=\(id); chunks=\(total); bytes=1000")) where !chunk.text.isEmpty
        {
            count += 1
            if count == 1 {
                // 20 MB would be through in a moment if anything read them.
                do {
                    try await Mock.wait(id, "done", timeout: 1000)
                    XCTFail("all was read while nobody asked for it")
                } catch is Mock.Refused {}
            }
        }
        XCTAssertEqual(count, total)
    }

    func testTwoHundredStreamsAtOnceNeedNoThreadEach() async throws {
        let id = Mock.name()
        let client = try Mock.client()
        let (started, start) = AsyncStream.makeStream(of: Void.self)
        let counts = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 1...200 {
                group.addTask {
                    var count = 0
                    for try await chunk in client.chatStream(
                        Mock.request, options: Mock.options("id=\(id)-\(number); chunks=3; bytes=200; withhold=2")) where !chunk.text.isEmpty
                    {
                        count += 1
                        if count == 1 { start.yield() }
                    }
                    return count
                }
            }
            var waiting = 200
            for await _ in started {
                waiting -= 1
                if waiting == 0 { break }
            }
            if let threads = status("Threads") { XCTAssertLessThan(threads, 100) }
            for number in 1...200 { try await Mock.release("\(id)-\(number)", "all") }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        XCTAssertEqual(counts, Array(repeating: 3, count: 200))
    }

    func testMemoryIsFlatOverAThousandStreams() async throws {
        let client = try Mock.client()
        func streams(_ count: Int) async throws {
            for number in 1...count {
                for try await _ in client.chatStream(Mock.request, options: Mock.options("chunks=5; bytes=2000")) where number % 2 == 0 {
                    break
                }
            }
        }
        try await streams(200)
        guard let before = status("VmRSS") else { throw XCTSkip("this system has no /proc") }
        try await streams(1000)
        XCTAssertLessThan(status("VmRSS")! - before, 20_000, "kB")
    }

    func testAnAnswerCanBeSentBackAsItCame() throws {
        let json =
            #"{"role":"assistant","content":"hm","thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"}],"later":{"a":[1]}}"#
        let message = try Message(json: json)
        XCTAssertEqual(message.thinkingBlocks.first?.signature, "s")
        XCTAssertEqual(message.extra, #"{"later":{"a":[1]}}"#)
        XCTAssertEqual(message.json(), json)
    }

    func testNoToolIsSaidByItsFullName() {
        var request = Mock.request
        request.toolChoice = ToolChoice.none
        XCTAssertTrue(request.json().contains(#""tool_choice":"none""#), request.json())
        request.toolChoice = nil
        XCTAssertFalse(request.json().contains("tool_choice"))
    }

    func testAChunkIsCodable() throws {
        let chunk = ChatCompletionChunk(id: "a", choices: [ChunkChoice(delta: Delta(content: "b"))])
        let copy = try JSONDecoder().decode(ChatCompletionChunk.self, from: JSONEncoder().encode(chunk))
        XCTAssertEqual(copy, chunk)
    }
}

/// A number from /proc/self/status.
private func status(_ name: String) -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return nil }
    let line = text.split(separator: "\n").first { $0.hasPrefix("\(name):") }
    return line.flatMap { Int($0.filter(\.isNumber)) }
}
