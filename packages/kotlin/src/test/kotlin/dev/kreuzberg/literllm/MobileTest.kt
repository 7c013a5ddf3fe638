package dev.kreuzberg.literllm

import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assumptions.assumeTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.io.File
import java.time.Duration
import java.util.concurrent.TimeUnit
import kotlin.time.Duration.Companion.seconds

/** What phones do to a stream: networks that go, apps that sleep. [Outage] takes a link down in earnest. */
@Timeout(180, unit = TimeUnit.SECONDS, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class MobileTest {
    private val client = Mock.client()
    private val words = "one two three four five six seven eight nine ten eleven twelve"
    private val cut = "text=${words.replace(" ", "%20")}&continue=1&pause=4:50&cut=4&reset=1"

    @Test
    fun `a connection that is reset leaves a typed error with the answer so far`() {
        val error = assertThrows(LlmException.Truncated::class.java) {
            runBlocking { client.chatStream(ChatCompletionRequest("openai/demo?$cut", listOf(Message.user("Count")))).collect {} }
        }
        assertTrue(error.isRetryable)
        assertEquals("openai", error.provider)
        assertEquals("one two three", error.partial?.text)
    }

    @Test
    fun `a network that is silent ends with a deadline and the answer so far`() {
        val error = assertThrows(LlmException.Timeout::class.java) {
            runBlocking {
                val options = Mock.options("text=one two three; stall=3").copy(timeouts = Timeouts(idleTimeout = Duration.ofMillis(300)))
                client.chatStream(Mock.request(), options).collect {}
            }
        }
        assertEquals("one two", error.partial?.text)
    }

    @Test
    fun `a list of models goes on where the connection was reset`() = runBlocking {
        val lists = listOf(
            listOf("openai/demo?$cut&fail_times=1&id=${Mock.name()}"),
            listOf("openai/demo?$cut", "openai/other?text=${words.replace(" ", "%20")}&continue=1"),
        )
        for (models in lists) {
            val stream = client.chatStream(ChatCompletionRequest(models, listOf(Message.user("Count"))))
            val chunks = stream.toList()
            assertEquals(words, chunks.joinToString("") { it.text })
            val leg = chunks.mapNotNull { it.literllm }.single()
            assertEquals(listOf("resumed", "truncated", 13L), listOf(leg.event, leg.reason, leg.kept))
            assertEquals(words, stream.completion?.text)
            assertEquals(2, stream.completion?.literllm?.attempts?.size)
        }
    }

    @Test
    fun `a collector that is away for longer than the deadlines loses nothing`() = runBlocking {
        val id = Mock.name()
        val away = (System.getenv("LITERLLM_TEST_AWAY")?.toInt() ?: 2).seconds
        val deadlines = Timeouts(firstTokenTimeout = Duration.ofMillis(200), idleTimeout = Duration.ofMillis(200))
        var count = 0
        // The provider is silent all the while, so that the clock would run out if it ran.
        val options = Mock.options("id=$id; chunks=50; bytes=200; withhold=3").copy(timeouts = deadlines)
        client.chatStream(Mock.request(), options).collect { chunk ->
            if (chunk.text.isNotEmpty() && count++ == 0) {
                delay(away)
                Mock.release(id, "all")
            }
        }
        assertEquals(50, count)
    }

    @Test
    fun `an idle client wakes up for nothing`() {
        val tasks = File("/proc/self/task")
        assumeTrue(tasks.isDirectory, "this system has no /proc")
        runBlocking { client.chat(Mock.request()) }
        // Its connection is open. A few are for what other tests left behind.
        val woken = wakeups(2.seconds)
        assertTrue(woken in 0..20, "$woken wake-ups in two seconds")
    }
}

/** How often the engine's threads wake up in [time]. */
internal fun wakeups(time: kotlin.time.Duration): Int {
    fun count(): Int = File("/proc/self/task").listFiles().orEmpty().sumOf { task ->
        // A thread may end while it is looked at.
        runCatching {
            if (!File(task, "comm").readText().startsWith("literllm")) return@sumOf 0
            File(task, "status").readLines().first { it.startsWith("voluntary_ctxt_switches:") }.filter { it.isDigit() }.toInt()
        }.getOrDefault(0)
    }
    val before = count()
    check(before > 0) { "the engine's threads are there" }
    Thread.sleep(time.inWholeMilliseconds)
    return count() - before
}
