import Foundation
import LiterLlm
import XCTest

/// The tables that every language runs: the conformance cases, the faults, and how answers survive them.
final class TablesTests: XCTestCase {
    typealias Object = [String: Any]

    func testConformanceCasesGiveTheirChunks() async throws {
        let cases = try folders(Mock.cases).flatMap(folders)
        try await table("conformance", "cases", cases.map { ("\($0.parent.lastPathComponent)/\($0.lastPathComponent)", $0) }) { name, folder in
            let client = try String(contentsOf: folder.parent.appendingPathComponent("client.json"), encoding: .utf8)
            var config = try object(Data(client.replacingOccurrences(of: "{MOCK}", with: Mock.address).utf8))
            config["headers"] = (config["headers"] as? Object ?? [:]).merging(["x-mock": "case=\(name)"]) { $1 }
            config["max_retries"] = 0
            let outcome = try await outcome(config, String(contentsOf: folder.appendingPathComponent("request.json"), encoding: .utf8))
            let expected = try object(Data(contentsOf: folder.appendingPathComponent("expected.json")))
            XCTAssertEqual(try outcome.chunks.map { try object(Data($0.json().utf8)) } as NSArray, expected["chunks"] as? NSArray, name)
            XCTAssertEqual(outcome.error.map { kind($0.kind) }, (expected["error"] as? Object)?["kind"] as? String, name)
        }
    }

    func testFaultsEndAsTheTableSays() async throws {
        try await table("faults", "faults", rows("faults.json")) { name, row in
            let id = Mock.name()
            var config: Object = [
                "api_keys": ["openai": "test-key-1234"],
                "base_urls": ["openai": "\(Mock.address)/v1"],
                "headers": ["x-mock": "id=\(id); \(row["mock"] as! String)"],
                "max_retries": 0,
            ]
            config.merge(row["config"] as? Object ?? [:]) { $1 }
            let request = row["request"] ?? ["model": "openai/demo", "messages": [["role": "user", "content": "Tell me a story"]]]
            try await check(name, row["expect"] as! Object, outcome(config, text(request)), id)
        }
    }

    func testFailuresAreRecoveredFromAsTheTableSays() async throws {
        try await table("recovery", "scenarios", rows("recovery.json")) { name, row in
            let routes = row["models"] as! [String]
            let ids = routes.map { _ in Mock.name() }
            var request: Object = [
                "model": zip(routes, ids).map(model),
                "messages": [["role": "user", "content": "Count"]],
            ]
            request["stream_fallback_mode"] = row["mode"]
            if let format = row["format"] { request["response_format"] = ["type": format] }
            let config = hosts.merging(row["config"] as? Object ?? [:]) { $1 }
            if let last = row["cancel_after"] as? Int {
                return try await checkCancel(name, row["expect"] as! Object, config, text(request), ids, last)
            }
            try await checkRecovery(name, row["expect"] as! Object, outcome(config, text(request)))
        }
    }

    private func check(_ name: String, _ expect: Object, _ outcome: Outcome, _ id: String) async throws {
        let text = outcome.chunks.map(\.text).joined()
        XCTAssertEqual(outcome.error.map { kind($0.kind) }, expect["kind"] as? String, "\(name) after `\(text)`")
        if let should = expect["text"] as? String { XCTAssertEqual(text, should, name) }
        if let should = expect["finish_reason"] as? String {
            XCTAssertEqual(outcome.chunks.compactMap { $0.choices.first?.finishReason }, [should], name)
        }
        if let should = expect["requests"] as? Int {
            let seen = try await Mock.log(id).count
            XCTAssertEqual(seen, should, name)
        }
        guard let error = outcome.error else {
            XCTAssertEqual(outcome.completion?.text, text, name)
            return
        }
        XCTAssertEqual(error.partial != nil, expect["partial"] as? Bool, name)
        if let partial = error.partial { XCTAssertEqual(partial.text, text, name) }
        if let status = expect["status"] as? Int32 { XCTAssertEqual(error.details.status, status, name) }
        if let wait = expect["retry_after"] as? Double { XCTAssertEqual(error.details.retryAfter, wait, name) }
        XCTAssertFalse(error.description.contains("test-key-1234"), "\(name): the message carries the key")
    }

    private func checkRecovery(_ name: String, _ expect: Object, _ outcome: Outcome) async throws {
        XCTAssertEqual(outcome.error.map { kind($0.kind) }, expect["kind"] as? String, "\(name): \(String(describing: outcome.error))")
        if let error = outcome.error {
            if let causes = expect["causes"] as? [String] { XCTAssertEqual(error.causes.map { kind($0.kind) }, causes, name) }
            if let text = expect["partial"] as? String { XCTAssertEqual(error.partial?.text, text, name) }
            if let count = expect["partial_tools"] as? Int { XCTAssertEqual(error.partial?.choices.first?.message.toolCalls.count, count, name) }
            return
        }
        let answer = try XCTUnwrap(outcome.completion, name)
        let text = (expect["text"] as? String ?? "").replacingOccurrences(of: "{T}", with: Self.text)
        XCTAssertEqual(shown(outcome.chunks), text, name)
        XCTAssertEqual(answer.text, text, name)
        if let tools = expect["tools"] as? [String] { XCTAssertEqual(answer.choices[0].message.toolCalls.map(\.function.arguments), tools, name) }
        let last = outcome.chunks.compactMap(\.literllm).last
        if let event = expect["event"] as? String { XCTAssertEqual(last?.event, event, name) }
        if let reason = expect["reason"] as? String { XCTAssertEqual(last?.reason, reason, name) }
        if let mode = expect["mode"] as? String { XCTAssertEqual(last?.mode, mode, name) }
        if let kept = expect["kept"] as? UInt64 { XCTAssertEqual(last?.kept, kept, name) }
        if let legs = expect["legs"] as? Int { XCTAssertEqual(answer.literllm?.attempts.count, legs, name) }
        // Whatever happened, the stream is one.
        XCTAssertEqual(Set(outcome.chunks.map { [$0.id, $0.model, "\($0.created)"] }).count, 1, "\(name): its identity changes")
        XCTAssertEqual(outcome.chunks.filter { $0.choices.contains { $0.delta.role != nil } }.count, 1, "\(name): role chunks")
        XCTAssertEqual(outcome.chunks.filter { $0.choices.contains { $0.finishReason != nil } }.count, 1, "\(name): finish chunks")
    }

    /// Cancels when the route with the number `last` has answered; those after it are never asked.
    private func checkCancel(
        _ name: String, _ expect: Object, _ config: Object, _ request: String, _ ids: [String], _ last: Int
    ) async throws {
        XCTAssertEqual(expect["kind"] as? String, "cancelled", name)
        let client = try LlmClient(config: ClientConfig(json: text(config)))
        let iterator = client.chatStream(try ChatCompletionRequest(json: request)).makeAsyncIterator()
        let task = Task { while try await iterator.next() != nil {} }
        try await Mock.wait(ids[last], "done")
        let start = Date()
        task.cancel()
        do {
            try await task.value
            XCTFail("\(name): a cancelled task ends with an error")
        } catch is CancellationError {}
        XCTAssertLessThan(Date().timeIntervalSince(start), 1, name)
        if let partial = expect["partial"] as? String {
            let answer = try await iterator.completion()
            XCTAssertEqual(answer.text, partial, name)
        }
        for (at, id) in ids.enumerated() {
            let seen = try await Mock.log(id).map { $0["outcome"] as? String }
            XCTAssertEqual(seen.count, at <= last ? 1 : 0, "\(name): the mock sees no other request")
            XCTAssertFalse(seen.contains("open"), name)
        }
    }

    private static let text = "one two three four five six seven eight nine ten eleven twelve"

    /// A route of the table as a model's name, and as the mock's log names its requests.
    private func model(_ route: String, _ id: String) -> String {
        if route == "@unknown_provider" { return "nowhere/demo" }
        if route.hasPrefix("@") { return "\(route.dropFirst())/demo" }
        let text = Self.text.replacingOccurrences(of: " ", with: "%20")
        return "openai/demo?id=\(id)&\(route.replacingOccurrences(of: "{T}", with: text))"
    }

    /// Where the routes of the recovery table lead.
    private var hosts: Object {
        [
            "api_keys": ["openai": "test-key"],
            "base_urls": [
                "openai": "\(Mock.address)/v1",
                "refused": "http://127.0.0.1:9/v1",
                "unknown_host": "http://no-such-host.invalid/v1",
                "untrusted": "\(Mock.untrusted)/v1",
            ],
            "hosts": ["refused", "unknown_host", "untrusted"].map { ["name": $0, "base_url": ""] }
                + [["name": "no_key", "base_url": "http://127.0.0.1:9/v1", "key_vars": ["LITERLLM_TEST_NO_SUCH_KEY"]]],
            "cooldown": 0,
        ]
    }

    /// What a consumer that minds resets has in the end.
    private func shown(_ chunks: [ChatCompletionChunk]) -> String {
        chunks.reduce(into: "") { text, chunk in
            if chunk.literllm?.event == "reset" { text = "" }
            for choice in chunk.choices { text += choice.delta.content ?? "" }
        }
    }

    /// Runs every row, and prints how many were wrong: scripts/suites/swift counts each row as a test.
    private func table<Row>(_ name: String, _ of: String, _ rows: [(String, Row)], _ test: (String, Row) async throws -> Void) async throws {
        XCTAssertFalse(rows.isEmpty)
        var wrong = 0
        for (title, row) in rows {
            let failures = testRun?.totalFailureCount ?? 0
            do {
                try await test(title, row)
            } catch {
                XCTFail("\(title): \(error)")
            }
            let failed = testRun?.totalFailureCount != failures
            if failed { wrong += 1 }
            if name == "recovery" { print("row: swift|\(failed ? "wrong" : "ok")|\(title)") }
        }
        print("table: \(name), \(rows.count) \(of) through swift, \(wrong) wrong")
    }

    private struct Outcome {
        var chunks: [ChatCompletionChunk] = []
        var error: LlmError?
        var completion: ChatCompletion?
    }

    private func outcome(_ config: Object, _ request: String) async throws -> Outcome {
        let client = try LlmClient(config: ClientConfig(json: text(config)))
        let iterator = client.chatStream(try ChatCompletionRequest(json: request)).makeAsyncIterator()
        var outcome = Outcome()
        do {
            while let chunk = try await iterator.next() {
                outcome.chunks.append(chunk)
            }
        } catch let error as LlmError {
            outcome.error = error
            let next = try await iterator.next()
            XCTAssertNil(next, "nothing follows an error")
        }
        outcome.completion = try await iterator.completion()
        return outcome
    }

    private func rows(_ file: String) throws -> [(String, Object)] {
        let table = try JSONSerialization.jsonObject(with: Data(contentsOf: Mock.cases.appendingPathComponent(file))) as! [Object]
        return table.map { ($0["name"] as! String, $0) }
    }

    private func text(_ json: Any) throws -> String {
        String(decoding: try JSONSerialization.data(withJSONObject: json), as: UTF8.self)
    }

    private func object(_ data: Data) throws -> Object {
        try JSONSerialization.jsonObject(with: data) as! Object
    }

    private func folders(_ folder: URL) throws -> [URL] {
        try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: [.isDirectoryKey])
            .filter { try $0.resourceValues(forKeys: [.isDirectoryKey]).isDirectory == true }
            .sorted { $0.path < $1.path }
    }

    /// `contextLength` as `context_length`.
    private func kind(_ kind: ErrorKind) -> String {
        "\(kind)".reduce(into: "") { $0 += $1.isUppercase ? "_\($1.lowercased())" : String($1) }
    }
}

extension URL {
    fileprivate var parent: URL { deletingLastPathComponent() }
}
