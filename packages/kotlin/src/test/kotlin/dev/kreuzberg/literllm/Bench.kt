package dev.kreuzberg.literllm

import com.sun.management.OperatingSystemMXBean
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import java.io.File
import java.lang.management.ManagementFactory
import java.net.URI
import java.util.UUID
import kotlin.time.Duration.Companion.seconds

/**
 * Measures against the mock whose address is the argument; scripts/bench kotlin runs it. Streams of 2,000 chunks at full speed; lone chunks,
 * which say themselves when they were sent; how soon the provider sees that the collector has left; what an idle client does.
 */
internal object Bench {
    private val system = ManagementFactory.getOperatingSystemMXBean() as OperatingSystemMXBean

    @JvmStatic
    fun main(arguments: Array<String>): Unit = runBlocking {
        val address = arguments[0]
        val client = client("$address/mock/chunks=2000,bytes=287/v1")
        repeat(60) { stream(client) }
        val rounds = List(15) {
            val cpu = system.processCpuTime
            val start = System.nanoTime()
            var chunks = 0
            repeat(5) { chunks += stream(client).chunks }
            Pair((system.processCpuTime - cpu) / 1e3 / chunks, (System.nanoTime() - start) / 1e3 / chunks)
        }
        val first = List(50) { stream(client).firstToken / 1e3 }
        val late = client("$address/mock/chunks=200,pace=20,stamp=1/v1").use { lateness(it) }
        val leaving = List(20) { leaving(address) }
        val row = mapOf(
            "cpu_us_per_chunk" to "%.2f".format(median(rounds.map { it.first })),
            "wall_us_per_chunk" to "%.2f".format(median(rounds.map { it.second })),
            "ttft_us" to "%.0f".format(median(first)),
            "late_us" to "%.0f".format(median(late)),
            "leave_ms" to "%.1f".format(median(leaving)),
            "wakeups_in_10_s" to wakeups(10.seconds),
            "rss_mib" to "%.1f".format(peak()),
        )
        println("""{"client":"literllm-kotlin",${row.entries.joinToString(",") { (name, value) -> "\"$name\":$value" }}}""")
        client.close()
    }

    private fun client(baseUrl: String) = LlmClient(ClientConfig(apiKey = "test-key", baseUrl = baseUrl, provider = "openai"))

    private val request = ChatCompletionRequest("openai/demo", listOf(Message.user("Tell me a story")))

    private class Seen(val chunks: Int, val firstToken: Long)

    /** A hash reads every field of a chunk. */
    private var hash = 0

    private suspend fun stream(client: LlmClient): Seen {
        var chunks = 0
        var first = 0L
        val start = System.nanoTime()
        client.chatStream(request).collect { chunk ->
            hash = hash xor chunk.hashCode()
            chunks++
            if (first == 0L && chunk.text.isNotEmpty()) first = System.nanoTime() - start
        }
        check(chunks >= 2000) { "$chunks chunks" }
        return Seen(chunks, first)
    }

    /** How long after it was sent each chunk was here, in microseconds. */
    private suspend fun lateness(client: LlmClient): List<Double> {
        val late = mutableListOf<Double>()
        client.chatStream(request).collect { chunk ->
            // The same clock as the mock's.
            val now = System.nanoTime()
            chunk.text.split(' ').getOrNull(2)?.toLongOrNull()?.let { late += (now - it) / 1e3 }
        }
        check(late.size == 200) { "${late.size} chunks said when they were sent" }
        return late
    }

    /** How long after its collector has left the provider sees it, in milliseconds. */
    private suspend fun leaving(address: String): Double {
        val id = UUID.randomUUID().toString()
        client("$address/mock/id=$id,chunks=100000,bytes=287,pace=5/v1").use { it.chatStream(request).first() }
        val start = System.nanoTime()
        URI("$address/_mock/wait?id=$id&event=left&timeout_ms=5000").toURL().readText()
        return (System.nanoTime() - start) / 1e6
    }

    private fun median(numbers: List<Double>): Double = numbers.sorted().let { (it[(it.size - 1) / 2] + it[it.size / 2]) / 2 }

    private fun peak(): Double =
        File("/proc/self/status").readLines().first { it.startsWith("VmHWM:") }.filter { it.isDigit() }.toDouble() / 1024
}
