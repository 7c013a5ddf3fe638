import Foundation
import LiterLlm
import XCTest

/// What a configuration has the engine do between calls.
final class RoutingTests: XCTestCase {
    private let here = ClientConfig(apiKeys: ["openai": "test-key"], baseUrls: ["openai": "\(Mock.address)/v1"])

    private func request(_ behaviours: String...) -> ChatCompletionRequest {
        .init(models: behaviours.map { "openai/demo?\($0)" }, messages: [.user("Hi")])
    }

    func testACacheAnswersTheSameRequestAgain() async throws {
        let id = Mock.name()
        var config = here
        config.cache = CacheOptions(maxEntries: 10, ttl: 60)
        let client = try LlmClient(config: config)
        for cached in [false, true] {
            let answer = try await client.chatStream(request("text=one two&id=\(id)")).completion()
            XCTAssertEqual(answer.text, "one two")
            XCTAssertEqual(answer.literllm?.cached ?? false, cached)
        }
        let seen = try await Mock.log(id).count
        XCTAssertEqual(seen, 1)
    }

    func testALimitHasCallsWaitWithinTheirDeadline() async throws {
        let id = Mock.name()
        var config = here
        config.limits = [Limit(provider: "openai", requestsPerMinute: 1)]
        config.timeouts.timeout = 0.5
        let client = try LlmClient(config: config)
        _ = try await client.chat(request("id=\(id)"))
        do {
            _ = try await client.chat(request("id=\(id)"))
            XCTFail("it did not wait")
        } catch LlmError.timeout {}
        let seen = try await Mock.log(id).count
        XCTAssertEqual(seen, 1)
    }

    func testAPoolOfKeysServesInTurn() async throws {
        let id = Mock.name()
        var config = here
        config.apiKeys = [:]
        config.keyPools = ["openai": ["first-key-aaaa", "second-key-bbbb"]]
        let client = try LlmClient(config: config)
        for _ in 1...4 { _ = try await client.chat(request("id=\(id)")) }
        let keys = try await Mock.log(id).map { seen in
            (seen["headers"] as? [[String]])?.first { $0[0] == "authorization" }?[1].suffix(4)
        }
        XCTAssertEqual(keys, ["aaaa", "bbbb", "aaaa", "bbbb"])
    }

    func testAFirstModelThatIsSilentHasTheSecondAskedBesideIt() async throws {
        let id = Mock.name()
        var config = here
        config.hedgeAfter = 0.05
        let answer = try await LlmClient(config: config).chatStream(request("headers_after=60000&id=\(id)", "text=sooner")).completion()
        XCTAssertEqual(answer.text, "sooner")
        try await Mock.wait(id, "left")
    }
}
