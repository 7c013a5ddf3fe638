// Measures against the mock whose address is the argument; scripts/bench swift runs it. Streams of 2,000 chunks at full speed; lone chunks,
// which say themselves when they were sent; how soon the provider sees that the loop was left; what an idle client does.
import Foundation
import LiterLlm

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

let address = CommandLine.arguments[1]
let request = ChatCompletionRequest(model: "openai/demo", messages: [.user("Tell me a story")])

func client(_ behaviour: String) throws -> LlmClient {
    try LlmClient(config: ClientConfig(apiKey: "test-key", baseUrl: "\(address)/mock/\(behaviour)/v1", provider: "openai"))
}

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

func stream(_ client: LlmClient) async throws -> (chunks: Int, first: Double) {
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

/// The system's monotonic clock, which the mock reads, too, in nanoseconds.
func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
}

/// How long after it was sent each chunk was here, in microseconds.
func lateness() async throws -> [Double] {
    var late: [Double] = []
    for try await chunk in try client("chunks=200,pace=20,stamp=1").chatStream(request) {
        let here = now()
        let words = chunk.text.split(separator: " ")
        if words.count == 2, let sent = Int(words[1]) { late.append(Double(here - sent) / 1e3) }
    }
    precondition(late.count == 200, "\(late.count) chunks said when they were sent")
    return late
}

/// How long after its loop was left the provider sees it, in milliseconds.
func leaving() async throws -> Double {
    let id = UUID().uuidString
    for try await _ in try client("id=\(id),chunks=100000,bytes=287,pace=5").chatStream(request) { break }
    let left = now()
    _ = try Data(contentsOf: URL(string: "\(address)/_mock/wait?id=\(id)&event=left&timeout_ms=5000")!)
    return Double(now() - left) / 1e6
}

/// How often the engine's threads have woken up.
func wakeups() throws -> Int {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").reduce(0) { count, thread in
        let name = try String(contentsOfFile: "/proc/self/task/\(thread)/comm", encoding: .utf8)
        guard name.hasPrefix("literllm") else { return count }
        return count + (try status("/proc/self/task/\(thread)/status", "voluntary_ctxt_switches"))
    }
}

func status(_ file: String, _ name: String) throws -> Int {
    let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
    return lines.first { $0.hasPrefix("\(name):") }.flatMap { Int($0.filter(\.isNumber)) } ?? 0
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

let full = try client("chunks=2000,bytes=287")
for _ in 1...10 { _ = try await stream(full) }
var cpu: [Double] = []
var wall: [Double] = []
for _ in 1...15 {
    let (before, start) = (processor(), now())
    var chunks = 0
    for _ in 1...5 { chunks += try await stream(full).chunks }
    cpu.append((processor() - before) * 1e6 / Double(chunks))
    wall.append(Double(now() - start) / 1e3 / Double(chunks))
}
var first: [Double] = []
for _ in 1...50 { first.append(try await stream(full).first * 1e6) }
let late = try await lateness()
var left: [Double] = []
for _ in 1...20 { left.append(try await leaving()) }
let awake = try wakeups()
try await Task.sleep(nanoseconds: 10_000_000_000)
let woken = try wakeups() - awake
let peak = Double(try status("/proc/self/status", "VmHWM")) / 1024
print(
    String(
        format: #"{"client":"literllm-swift","cpu_us_per_chunk":%.2f,"wall_us_per_chunk":%.2f,"ttft_us":%.0f,"late_us":%.0f,"#
            + #""leave_ms":%.1f,"wakeups_in_10_s":%d,"rss_mib":%.1f}"#,
        median(cpu), median(wall), median(first), median(late), median(left), woken, peak))
