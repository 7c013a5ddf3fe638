package dev.kreuzberg.literllm

import com.sun.management.OperatingSystemMXBean
import kotlinx.coroutines.runBlocking
import java.io.File
import java.lang.management.ManagementFactory

/** Measures streams of 2,000 chunks against the mock whose base URL is the argument; scripts/bench kotlin runs it. */
internal object Bench {
    private val system = ManagementFactory.getOperatingSystemMXBean() as OperatingSystemMXBean

    @JvmStatic
    fun main(arguments: Array<String>): Unit = runBlocking {
        val client = LlmClient(ClientConfig(apiKey = "test-key", baseUrl = arguments[0], provider = "openai"))
        repeat(60) { stream(client) }
        val rounds = List(15) {
            val cpu = system.processCpuTime
            val start = System.nanoTime()
            var chunks = 0
            repeat(5) { chunks += stream(client).chunks }
            Pair((system.processCpuTime - cpu) / 1e3 / chunks, (System.nanoTime() - start) / 1e3 / chunks)
        }
        val first = List(50) { stream(client).firstToken / 1e3 }
        println(
            """{"client":"literllm-kotlin","cpu_us_per_chunk":%.2f,"wall_us_per_chunk":%.2f,"ttft_us":%.0f,"rss_mib":%.1f}"""
                .format(median(rounds.map { it.first }), median(rounds.map { it.second }), median(first), peak()),
        )
        client.close()
    }

    private class Seen(val chunks: Int, val firstToken: Long)

    /** A hash reads every field of a chunk. */
    private var hash = 0

    private suspend fun stream(client: LlmClient): Seen {
        var chunks = 0
        var first = 0L
        val start = System.nanoTime()
        client.chatStream(Mock.request()).collect { chunk ->
            hash = hash xor chunk.hashCode()
            chunks++
            if (first == 0L && chunk.text.isNotEmpty()) first = System.nanoTime() - start
        }
        check(chunks >= 2000) { "$chunks chunks" }
        return Seen(chunks, first)
    }

    private fun median(numbers: List<Double>): Double = numbers.sorted().let { (it[(it.size - 1) / 2] + it[it.size / 2]) / 2 }

    private fun peak(): Double = File("/proc/self/status").readLines().first { it.startsWith("VmHWM:") }.filter { it.isDigit() }.toDouble() / 1024
}
