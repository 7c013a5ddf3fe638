import Foundation
import LiterLlm

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// The mock provider: one for all tests of this process, which it ends with.
enum Mock {
    static let root: URL = {
        var folder = URL(fileURLWithPath: #filePath)
        repeat { folder.deleteLastPathComponent() } while !FileManager.default.fileExists(atPath: folder.path + "/core/conformance")
        return folder
    }()
    static let cases = root.appendingPathComponent("core/conformance")

    static let address: String = {
        if let address = ProcessInfo.processInfo.environment["LITERLLM_MOCK"] { return address }
        return start("--cases", cases.path)
    }()

    /// A second one, whose certificate nobody vouches for.
    static let untrusted = start("--tls")

    private static func start(_ options: String...) -> String {
        let process = Process()
        let command = ProcessInfo.processInfo.environment["LITERLLM_BIN"] ?? root.appendingPathComponent("target/release/literllm").path
        process.executableURL = URL(fileURLWithPath: command)
        process.arguments = ["mock", "--port", "0", "--exit-with-stdin"] + options
        let (input, output) = (Pipe(), Pipe())
        lock.withLock { inputs.append(input) }
        process.standardInput = input
        process.standardOutput = output
        try! process.run()
        var line = Data()
        while let byte = try! output.fileHandleForReading.read(upToCount: 1), byte != Data([10]) { line += byte }
        return String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespaces)
    }

    /// Kept open: a mock ends when its own closes.
    private static nonisolated(unsafe) var inputs: [Pipe] = []

    private static let lock = NSLock()
    private static nonisolated(unsafe) var count = 0

    /// A name for a request that no other test uses.
    static func name() -> String {
        lock.withLock {
            count += 1
            return "swift-\(ProcessInfo.processInfo.processIdentifier)-\(count)"
        }
    }

    static func client() throws -> LlmClient {
        try LlmClient(config: ClientConfig(apiKey: "test-key", baseUrl: "\(address)/v1", provider: "openai"))
    }

    static let request = ChatCompletionRequest(model: "openai/demo", messages: [.user("Tell me a story")])

    static func options(_ mock: String) -> RequestOptions {
        RequestOptions(headers: ["x-mock": mock])
    }

    /// Waits until `event` has happened to the request.
    @discardableResult
    static func wait(_ id: String, _ event: String, timeout: Int = 20000) async throws -> Any {
        try await get("wait?id=\(id)&event=\(event)&timeout_ms=\(timeout)")
    }

    static func log(_ id: String) async throws -> [[String: Any]] {
        try await get("log?id=\(id)") as? [[String: Any]] ?? []
    }

    static func release(_ id: String, _ n: String) async throws {
        var request = URLRequest(url: URL(string: "\(address)/_mock/release?id=\(id)&n=\(n)")!)
        request.httpMethod = "POST"
        _ = try await send(request)
    }

    private static func get(_ path: String) async throws -> Any {
        let data = try await send(URLRequest(url: URL(string: "\(address)/_mock/\(path)")!))
        return try JSONSerialization.jsonObject(with: data)
    }

    struct Refused: Error {
        let status: Int
    }

    private static func send(_ request: URLRequest) async throws -> Data {
        try await withCheckedThrowingContinuation { done in
            URLSession.shared.dataTask(with: request) { data, answer, error in
                let status = (answer as? HTTPURLResponse)?.statusCode ?? 0
                if let error {
                    done.resume(throwing: error)
                } else if status != 200 {
                    done.resume(throwing: Refused(status: status))
                } else {
                    done.resume(returning: data ?? Data())
                }
            }.resume()
        }
    }
}
