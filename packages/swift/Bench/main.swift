// Measures streams of 2,000 chunks against the mock whose base URL is the argument; scripts/bench swift runs it.
import Foundation
import LiterLlm

let client = try LlmClient(config: ClientConfig(apiKey: "test-key", baseUrl: CommandLine.arguments[1], provider: "openai"))
let request = ChatCompletionRequest(model: "openai/demo", messages: [.user("Tell me a story")])

/// How much of a chunk was read: every field, so that none can be left out.
@inline(never)
func read(_ chunk: ChatCompletionChunk) -> Int {
    var count = chunk.id.utf8.count + chunk.model.utf8.count + Int(chunk.created) + chunk.extra.utf8.count
    count += chunk.usage == nil ? 0 : Int(chunk.usage!.totalTokens)
    count += chunk.systemFingerprint?.utf8.count ?? 0
    count += chunk.serviceTier?.utf8.count ?? 0
    for choice in chunk.choices {
        let delta = choice.delta
        count += Int(choice.index) + (choice.finishReason?.utf8.count ?? 0) + (choice.nativeFinishReason?.utf8.count ?? 0)
        count += (choice.logprobs?.utf8.count ?? 0) + choice.extra.utf8.count + delta.extra.utf8.count
        count += (delta.role?.utf8.count ?? 0) + (delta.content?.utf8.count ?? 0) + (delta.refusal?.utf8.count ?? 0)
        count += (delta.reasoningContent?.utf8.count ?? 0) + delta.toolCalls.count + delta.thinkingBlocks.count
        count += delta.reasoningDetails.count + delta.annotations.count
        count += (delta.functionCall == nil ? 0 : 1) + (delta.audio == nil ? 0 : 1)
    }
    return count
}

func stream() async throws -> (chunks: Int, first: Double) {
    var (chunks, total, first) = (0, 0, 0.0)
    let start = Date()
    for try await chunk in client.chatStream(request) {
        total += read(chunk)
        chunks += 1
        if first == 0, !chunk.text.isEmpty { first = Date().timeIntervalSince(start) }
    }
    precondition(chunks >= 2000 && total > 0, "\(chunks) chunks")
    return (chunks, first)
}

/// The processor time of this process, in seconds.
func processor() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func median(_ numbers: [Double]) -> Double {
    let sorted = numbers.sorted()
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}

for _ in 1...10 { _ = try await stream() }
var cpu: [Double] = []
var wall: [Double] = []
for _ in 1...15 {
    let (before, start) = (processor(), Date())
    var chunks = 0
    for _ in 1...5 { chunks += try await stream().chunks }
    cpu.append((processor() - before) * 1e6 / Double(chunks))
    wall.append(Date().timeIntervalSince(start) * 1e6 / Double(chunks))
}
var first: [Double] = []
for _ in 1...50 { first.append(try await stream().first * 1e6) }
let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
let peak = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }.flatMap { Double($0.filter(\.isNumber)) } ?? 0
let row = String(
    format: #"{"client":"literllm-swift","cpu_us_per_chunk":%.2f,"wall_us_per_chunk":%.2f,"ttft_us":%.0f,"rss_mib":%.1f}"#,
    median(cpu), median(wall), median(first), peak / 1024)
print(row)
