import Foundation
import LiterLlm
import XCTest

/// A program's own sources of tokens, told by what the mock saw.
final class TokensTests: XCTestCase {
    private func client(_ provider: String, _ id: String, _ source: @escaping TokenProvider) throws -> LlmClient {
        let settings = ["vertex_ai": #"{"project": "p"}"#, "bedrock": #"{"region": "us-east-1"}"#]
        let json = """
            {
                "base_urls": {"\(provider)": "\(Mock.address)"}, "settings": {"\(provider)": \(settings[provider]!)},
                "headers": {"x-mock": "text=one; id=\(id)"}, "max_retries": 0
            }
            """
        return try LlmClient(config: ClientConfig(json: json), tokenProviders: [provider: source])
    }

    private func request(_ model: String) -> ChatCompletionRequest {
        .init(model: model, messages: [.user("Hi")])
    }

    private func headers(_ id: String, _ name: String) async throws -> [String] {
        try await Mock.log(id).flatMap { ($0["headers"] as? [[String]] ?? []).filter { $0[0] == name }.map { $0[1] } }
    }

    func testTokensComeFromTheProgramAndAreKeptUntilTheyEnd() async throws {
        let (id, asked) = (Mock.name(), Count())
        let client = try client("vertex_ai", id) {
            // The first is as good as over when it comes.
            let number = await asked.next()
            return .token("own-token-\(number)", expiresAt: Date(timeIntervalSinceNow: number == 1 ? 1 : 3600))
        }
        for calls in [1, 2, 2] {
            let answer = try await client.chat(request("vertex_ai/gemini-2.5-flash"))
            XCTAssertEqual(answer.text, "one")
            let count = await asked.count
            XCTAssertEqual(count, calls)
        }
        let ends = try await headers(id, "authorization").map { $0.suffix(1) }
        XCTAssertEqual(ends, ["1", "2", "2"])
    }

    func testKeysOfAWSComeFromTheProgramToo() async throws {
        let id = Mock.name()
        let client = try client("bedrock", id) {
            .awsKeys(accessKeyId: "AKIDOWN", secretAccessKey: "secret", sessionToken: "session")
        }
        _ = try await client.chat(request("bedrock/amazon.nova-lite-v1:0"))
        let sent = try await headers(id, "x-amz-security-token")
        XCTAssertEqual(sent.count, 1)
    }

    func testASourceThatGivesNoTokenFailsTheCallWithItsMessage() async throws {
        struct VaultIsClosed: Error {}
        let (stale, asked) = (Credential.token("own-secret", expiresAt: Date()), Count())
        XCTAssertFalse("\(stale)".contains("own-secret"))
        let client = try client("vertex_ai", Mock.name()) {
            guard await asked.next() == 1 else { throw VaultIsClosed() }
            return stale
        }
        _ = try await client.chat(request("vertex_ai/gemini-2.5-flash"))
        do {
            _ = try await client.chat(request("vertex_ai/gemini-2.5-flash"))
            XCTFail("there was a token")
        } catch let error as LlmError {
            XCTAssertEqual(error.kind, .authentication)
            XCTAssertTrue(error.description.contains("VaultIsClosed"), error.description)
            XCTAssertFalse(error.description.contains("own-secret"))
        }
    }
}

private actor Count {
    var count = 0

    func next() -> Int {
        count += 1
        return count
    }
}
