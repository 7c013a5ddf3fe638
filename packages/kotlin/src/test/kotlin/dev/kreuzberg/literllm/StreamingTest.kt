package dev.kreuzberg.literllm

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.test.runTest
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.io.File
import java.util.concurrent.TimeUnit

@Timeout(120, unit = TimeUnit.SECONDS, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class StreamingTest {
    private val client = Mock.client()

    @Test
    fun `five lines stream a story`() = runBlocking {
        val story = StringBuilder()
        LlmClient(apiKey = "test-key", baseUrl = "${Mock.address}/v1").use { client ->
            client.chatStream(ChatCompletionRequest("openai/gpt-4o", listOf(Message.user("Tell me a story")), temperature = 0.7, maxTokens = 100))
                .collect { chunk -> story.append(chunk.choices.firstOrNull()?.delta?.content.orEmpty()) }
        }
        assertTrue(story.length > 20, "the story is `$story`")
    }

    @Test
    fun `a whole answer says what it says and who said it`() = runTest {
        val answer = client.chat(Mock.request(), Mock.options("text=one two; usage=3,2; request_id=req_7"))
        assertEquals("one two", answer.text)
        assertEquals("stop", answer.choices[0].finishReason)
        assertEquals(5L, answer.usage?.totalTokens)
        assertEquals("openai", answer.literllm?.provider)
        assertEquals("req_7", answer.literllm?.requestId)
    }

    @Test
    fun `a stream adds up to its answer`() = runTest {
        val stream = client.chatStream(Mock.request(), Mock.options("reasoning=well; tool=weather:{\"city\":\"Oslo\"}"))
        assertNull(stream.completion)
        val answer = stream.complete()
        val message = answer.choices[0].message
        assertEquals("well", message.reasoningContent)
        assertEquals("weather", message.toolCalls.single().function.name)
        assertEquals("{\"city\":\"Oslo\"}", message.toolCalls.single().function.arguments)
        assertEquals("tool_calls", answer.choices[0].finishReason)
    }

    @Test
    fun `nothing is sent until it is collected and each collection is a call`() = runBlocking {
        val id = Mock.name()
        val stream = client.chatStream(Mock.request(), Mock.options("id=$id; text=one"))
        assertEquals(0, Mock.log(id).size())
        repeat(2) { assertEquals("one", stream.toList().joinToString("") { it.text }) }
        assertEquals(2, Mock.log(id).size())
    }

    @Test
    fun `a chunk is there as soon as it was sent`() = runBlocking {
        val id = Mock.name()
        val seen = mutableListOf<String>()
        client.chatStream(Mock.request(), Mock.options("id=$id; chunks=5; bytes=200; withhold=1")).collect { chunk ->
            seen += chunk.text
            // The mock sends the next one only now: had this one waited for company, neither would come.
            Mock.release(id, "1")
        }
        assertTrue(seen.count { it.isNotEmpty() } == 5, "$seen")
    }

    @Test
    fun `leaving a stream closes its connection`() {
        class Enough : Exception()

        val ways = mapOf<String, suspend (ChatStream) -> Unit>(
            "first" to { it.first() },
            "take" to { it.take(2).toList() },
            "an exception" to { stream -> runCatching { stream.collect { throw Enough() } } },
        )
        for ((way, leave) in ways) {
            val id = Mock.name()
            val stream = client.chatStream(Mock.request(), Mock.options("id=$id; chunks=100000; bytes=200; pace=5"))
            val took = runBlocking {
                leave(stream)
                val start = System.nanoTime()
                Mock.wait(id, "left")
                System.nanoTime() - start
            }
            assertTrue(took < TimeUnit.SECONDS.toNanos(1), "$way took ${took / 1_000_000} ms")
            assertNotNull(stream.completion, way)
        }
    }

    @Test
    fun `cancelling the coroutine closes the connection wherever it waits`() {
        // Before the headers, before the first token, and between chunks.
        for (behaviour in listOf("headers_after=60000", "ttft=60000", "chunks=9; bytes=200; stall=3")) {
            val id = Mock.name()
            runBlocking(Dispatchers.Default) {
                val job = launch { client.chatStream(Mock.request(), Mock.options("id=$id; $behaviour")).collect {} }
                Mock.wait(id, "request")
                if ("stall" in behaviour) Mock.wait(id, "chunks:3")
                val start = System.nanoTime()
                job.cancelAndJoin()
                Mock.wait(id, "left")
                val took = System.nanoTime() - start
                assertTrue(took < TimeUnit.SECONDS.toNanos(1), "$behaviour took ${took / 1_000_000} ms")
            }
        }
    }

    @Test
    fun `cancelling a whole answer closes its connection`() = runBlocking(Dispatchers.Default) {
        val id = Mock.name()
        val job = async { client.chat(Mock.request(), Mock.options("id=$id; headers_after=60000")) }
        Mock.wait(id, "request")
        job.cancelAndJoin()
        assertInstanceOf(CancellationException::class.java, job.getCompletionExceptionOrNull())
        assertNotNull(Mock.wait(id, "left"))
    }

    @Test
    fun `a collector that stops reading stops the socket and loses nothing`() = runBlocking {
        val id = Mock.name()
        val total = 20_000
        var count = 0
        client.chatStream(Mock.request(), Mock.options("id=$id; chunks=$total; bytes=1000")).collect { chunk ->
            if (chunk.text.isNotEmpty() && count++ == 0) {
                // 20 MB would be through in a moment if anything read them.
                assertThrows(IllegalStateException::class.java) { Mock.wait(id, "done", timeout = 1000) }
            }
        }
        assertEquals(total, count)
    }

    @Test
    fun `two hundred streams at once need no thread each`() = runBlocking(Dispatchers.Default) {
        val id = Mock.name()
        val started = List(200) { CompletableDeferred<Unit>() }
        val jobs = List(200) { number ->
            async {
                client.chatStream(Mock.request(), Mock.options("id=$id-$number; chunks=3; bytes=200; withhold=2"))
                    .onEachText { if (it == 1) started[number].complete(Unit) }
            }
        }
        started.awaitAll()
        val threads = File("/proc/self/status").takeIf { it.exists() }?.readLines()?.first { it.startsWith("Threads:") }
            ?.filter { it.isDigit() }?.toInt()
        if (threads != null) assertTrue(threads < 100, "$threads threads")
        repeat(200) { number -> Mock.release("$id-$number", "all") }
        assertEquals(List(200) { 3 }, jobs.awaitAll())
    }

    private suspend fun ChatStream.onEachText(seen: suspend (Int) -> Unit): Int {
        var count = 0
        collect { if (it.text.isNotEmpty()) seen(++count) }
        return count
    }

    @Test
    fun `memory is flat over a thousand streams`() = runBlocking {
        val status = File("/proc/self/status")
        if (!status.exists()) return@runBlocking
        fun resident(): Long {
            System.gc()
            return status.readLines().first { it.startsWith("VmRSS:") }.filter { it.isDigit() }.toLong()
        }
        suspend fun streams(count: Int) = repeat(count) { number ->
            val stream = client.chatStream(Mock.request(), Mock.options("chunks=5; bytes=2000"))
            if (number % 2 == 0) stream.collect {} else stream.first()
        }
        streams(400)
        val before = resident()
        // The JVM's heap comes and goes by tens of megabytes; what leaks is there each time.
        val grown = List(3) {
            streams(1000)
            resident() - before
        }.min()
        assertTrue(grown < 50_000, "grew by $grown kB")
    }

    @Test
    fun `an answer can be sent back as it came`() = runTest {
        val json = """{"role":"assistant","content":"hm","thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"}],""" +
            """"reasoning_details":[{"type":"x","n":1}],"later":{"a":[1]}}"""
        val message = Message.fromJson(json)
        assertEquals("s", message.thinkingBlocks.single().signature)
        assertEquals("""{"later":{"a":[1]}}""", message.extra)
        assertEquals(Mock.json.readTree(json), Mock.json.readTree(message.toJson()))
    }

    @Test
    fun `the builder makes the request that it reads as`() {
        val request = chatRequest("openai/gpt-4o") {
            system("Be brief")
            user("Weather in Oslo?")
            tool("weather", "Tells the weather", """{"type":"object"}""")
            set { copy(temperature = 0.2, maxTokens = 100) }
        }
        val json = Mock.json.readTree(request.toJson())
        assertEquals("openai/gpt-4o", json["model"].textValue())
        assertEquals(listOf("system", "user"), json["messages"].map { it["role"].textValue() })
        assertEquals("object", json["tools"][0]["function"]["parameters"]["type"].textValue())
        assertEquals(100, json["max_tokens"].intValue())
    }

    @Test
    fun `each kind of error has a class of its own`() {
        val classes = ErrorKind.entries.map { kind ->
            exception(dev.kreuzberg.literllm.internal.ErrorDetails(kind, "m")).also { assertEquals(kind, it.kind) }.javaClass
        }
        assertEquals(ErrorKind.entries.size, classes.toSet().size)
    }
}
