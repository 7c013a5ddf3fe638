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
}
