import Foundation
import LiterLlm
import XCTest

/// The tables that every language runs: the conformance cases and the faults.
final class TablesTests: XCTestCase {
    typealias Object = [String: Any]

    func testConformanceCasesGiveTheirChunks() async throws {
        var count = 0
        for provider in try folders(Mock.cases) {
            let client = try String(contentsOf: provider.appendingPathComponent("client.json"), encoding: .utf8)
            for folder in try folders(provider) {
                let name = "\(provider.lastPathComponent)/\(folder.lastPathComponent)"
                var config = try object(Data(client.replacingOccurrences(of: "{MOCK}", with: Mock.address).utf8))
                config["headers"] = (config["headers"] as? Object ?? [:]).merging(["x-mock": "case=\(name)"]) { $1 }
                config["max_retries"] = 0
                let request = try String(contentsOf: folder.appendingPathComponent("request.json"), encoding: .utf8)
                let outcome = try await outcome(config, request)
                let expected = try object(Data(contentsOf: folder.appendingPathComponent("expected.json")))
                let should = expected["chunks"] as! NSArray
                XCTAssertEqual(outcome.chunks as NSArray, should, name)
                XCTAssertEqual(outcome.error.map { kind($0.kind) }, (expected["error"] as? Object)?["kind"] as? String, name)
                count += 1
            }
        }
        XCTAssertGreaterThan(count, 0)
    }

    func testFaultsEndAsTheTableSays() async throws {
        let table = try JSONSerialization.jsonObject(with: Data(contentsOf: Mock.cases.appendingPathComponent("faults.json"))) as! [Object]
        XCTAssertFalse(table.isEmpty)
        for row in table {
            let name = row["name"] as! String
            let id = Mock.name()
            var config: Object = [
                "api_keys": ["openai": "test-key-1234"],
                "base_urls": ["openai": "\(Mock.address)/v1"],
                "headers": ["x-mock": "id=\(id); \(row["mock"] as! String)"],
                "max_retries": 0,
            ]
            config.merge(row["config"] as? Object ?? [:]) { $1 }
            let request = row["request"] ?? ["model": "openai/demo", "messages": [["role": "user", "content": "Tell me a story"]]]
            let outcome = try await outcome(config, String(decoding: JSONSerialization.data(withJSONObject: request), as: UTF8.self))
            try await check(name, row["expect"] as! Object, outcome, id)
        }
    }

    private func check(_ name: String, _ expect: Object, _ outcome: Outcome, _ id: String) async throws {
        let choices = outcome.chunks.compactMap { ($0["choices"] as? [Object])?.first }
        let text = choices.compactMap { ($0["delta"] as? Object)?["content"] as? String }.joined()
        XCTAssertEqual(outcome.error.map { kind($0.kind) }, expect["kind"] as? String, "\(name) after `\(text)`")
        if let should = expect["text"] as? String { XCTAssertEqual(text, should, name) }
        if let should = expect["finish_reason"] as? String {
            XCTAssertEqual(choices.compactMap { $0["finish_reason"] as? String }, [should], name)
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

    private struct Outcome {
        var chunks: [Object] = []
        var error: LlmError?
        var completion: ChatCompletion?
    }

    private func outcome(_ config: Object, _ request: String) async throws -> Outcome {
        let config = String(decoding: try JSONSerialization.data(withJSONObject: config), as: UTF8.self)
        let client = try LlmClient(config: ClientConfig(json: config))
        let iterator = client.chatStream(try ChatCompletionRequest(json: request)).makeAsyncIterator()
        var outcome = Outcome()
        do {
            while let chunk = try await iterator.next() {
                outcome.chunks.append(try object(Data(chunk.json().utf8)))
            }
        } catch let error as LlmError {
            outcome.error = error
            let next = try await iterator.next()
            XCTAssertNil(next, "nothing follows an error")
        }
        outcome.completion = try await iterator.completion()
        return outcome
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
