import Foundation
import LiterLlm
import XCTest

/// What phones do to a stream: networks that go, apps that sleep. `Tests/Outage` takes a link down in earnest.
final class MobileTests: XCTestCase {
    private let words = "one two three four five six seven eight nine ten eleven twelve"
    private var text: String { "text=\(words.replacingOccurrences(of: " ", with: "%20"))&continue=1" }
    private var cut: String { "\(text)&pause=4:50&cut=4&reset=1" }

    func testAConnectionThatIsResetLeavesATypedErrorWithTheAnswerSoFar() async throws {
        do {
            for try await _ in try Mock.client().chatStream(.init(model: "openai/demo?\(cut)", messages: [.user("Count")])) {}
            XCTFail("the answer is not whole")
        } catch LlmError.truncated(let details) {
            XCTAssertTrue(details.retryable)
            XCTAssertEqual(details.provider, "openai")
            XCTAssertEqual(details.partial?.text, "one two three")
        }
    }

    func testANetworkThatIsSilentEndsWithADeadlineAndTheAnswerSoFar() async throws {
        do {
            var options = Mock.options("text=one two three; stall=3")
            options.timeouts.idleTimeout = 0.3
            for try await _ in try Mock.client().chatStream(Mock.request, options: options) {}
            XCTFail("the answer is not whole")
        } catch LlmError.timeout(let details) {
            XCTAssertEqual(details.partial?.text, "one two")
        }
    }

    func testAListOfModelsGoesOnWhereTheConnectionWasReset() async throws {
        for models in [["openai/demo?\(cut)&fail_times=1&id=\(Mock.name())"], ["openai/demo?\(cut)", "openai/other?\(text)"]] {
            var (shown, legs) = ("", [LegEvent]())
            let answer = try await Mock.client().chatStream(.init(models: models, messages: [.user("Count")])).completion { chunk in
                shown += chunk.text
                if let leg = chunk.literllm { legs.append(leg) }
            }
            XCTAssertEqual(shown, words)
            XCTAssertEqual(legs.map(\.event), ["resumed"])
            XCTAssertEqual(legs.map(\.reason), ["truncated"])
            XCTAssertEqual(legs.map(\.kept), [13])
            XCTAssertEqual(answer.text, words)
            XCTAssertEqual(answer.literllm?.attempts.count, 2)
        }
    }

    func testAConsumerThatIsAwayForLongerThanTheDeadlinesLosesNothing() async throws {
        let id = Mock.name()
        let away = ProcessInfo.processInfo.environment["LITERLLM_TEST_AWAY"].flatMap(UInt64.init) ?? 2
        // The provider is silent all the while, so that the clock would run out if it ran.
        var options = Mock.options("id=\(id); chunks=50; bytes=200; withhold=3")
        options.timeouts = Timeouts(firstTokenTimeout: 0.2, idleTimeout: 0.2)
        var count = 0
        for try await chunk in try Mock.client().chatStream(Mock.request, options: options) where !chunk.text.isEmpty {
            count += 1
            if count > 1 { continue }
            try await Task.sleep(nanoseconds: away * 1_000_000_000)
            try await Mock.release(id, "all")
        }
        XCTAssertEqual(count, 50)
    }

    func testAnIdleClientWakesUpForNothing() async throws {
        let client = try Mock.client()
        _ = try await client.chat(Mock.request)
        guard let before = wakeups() else { throw XCTSkip("this system has no /proc") }
        XCTAssertGreaterThan(before, 0, "the engine's threads are there")
        // The client's connection is open. A few wake-ups are for what other tests left behind.
        try await Task.sleep(nanoseconds: 2_000_000_000)
        XCTAssertLessThan(wakeups()! - before, 20)
    }
}

/// How often the engine's threads have woken up.
private func wakeups() -> Int? {
    let tasks = URL(fileURLWithPath: "/proc/self/task")
    guard let threads = try? FileManager.default.contentsOfDirectory(atPath: tasks.path) else { return nil }
    return threads.reduce(0) { count, thread in
        let folder = tasks.appendingPathComponent(thread)
        // A thread may end while it is looked at.
        guard let name = try? String(contentsOf: folder.appendingPathComponent("comm"), encoding: .utf8), name.hasPrefix("literllm"),
            let status = try? String(contentsOf: folder.appendingPathComponent("status"), encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("voluntary_ctxt_switches:") })
        else { return count }
        return count + (Int(line.filter(\.isNumber)) ?? 0)
    }
}
