package dev.kreuzberg.literllm

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import java.util.logging.Handler
import java.util.logging.LogRecord
import java.util.logging.Logger

/** Hooks around calls, told apart by what the mock saw. */
@Timeout(120, unit = TimeUnit.SECONDS, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class HooksTest {
    private fun client(vararg hooks: Hooks): LlmClient {
        val config = """{"api_keys": {"openai": "test-key"}, "base_urls": {"openai": "${Mock.address}/v1"}, "max_retries": 0, "cooldown": 0}"""
        return LlmClient(ClientConfig.fromJson(config), hooks.toList())
    }

    private fun request(behaviour: String) = ChatCompletionRequest("openai/demo?$behaviour", listOf(Message.user("Hi")))

    @Test
    fun `hooks are told of every stage and let a call pass`() = runBlocking {
        val told = CopyOnWriteArrayList<String>()
        val watching = object : Hooks {
            override suspend fun beforeRequest(at: HookContext, request: ChatCompletionRequest): Before {
                told += "before ${at.provider} ${at.attempt} ${at.stream} ${request.messages[0].text}"
                return Before.Ask(request)
            }

            override suspend fun afterHeaders(at: HookContext, head: AnswerHead) {
                told += "head ${head.status} ${head.requestId} ${"content-type" in head.headers}"
            }

            override suspend fun onChunks(at: HookContext, chunks: List<ChatCompletionChunk>): List<ChatCompletionChunk> {
                told += chunks.map { it.text }.filter { it.isNotEmpty() }
                return chunks
            }

            override suspend fun onEnd(at: HookContext, end: CallEnd) {
                told += "end ${end.response?.text} ${end.error} ${end.seconds > 0}"
            }
        }
        // Another one that changes nothing at all.
        val stream = client(watching, object : Hooks {}).chatStream(request("text=one two&request_id=req-9"))
        assertEquals("one two", stream.toList().joinToString("") { it.text })
        assertEquals(listOf("before openai 1 true Hi", "head 200 req-9 true", "one", " two", "end one two null true"), told.toList())
    }

    @Test
    fun `a changed request is the one that is sent`() = runBlocking {
        val id = Mock.name()
        val warm = hooks { beforeRequest { _, request -> Before.Ask(request.copy(temperature = 0.25)) } }
        client(warm).chatStream(request("id=$id")).collect {}
        assertEquals(0.25, Mock.log(id)[0]["body"]["temperature"].doubleValue())
    }

    @Test
    fun `a refused request is not sent`() {
        val id = Mock.name()
        val refusing = hooks { beforeRequest { _, _ -> throw llmException(ErrorKind.CONTENT_POLICY, "not this one") } }
        val error = assertThrows(LlmException.ContentPolicy::class.java) { runBlocking { client(refusing).chat(request("id=$id")) } }
        assertTrue("not this one" in error.message!!, error.message)
        val failing = hooks { beforeRequest { _, _ -> error("out of order") } }
        val other = assertThrows(LlmException.Permission::class.java) { runBlocking { client(failing).chat(request("id=$id")) } }
        assertTrue("out of order" in other.message!!, other.message)
        assertEquals(0, Mock.log(id).size())
    }

    @Test
    fun `stages that throw are told where the client is made`() {
        val broken = object : Hooks {
            override val stages: Set<HookStage> get() = error("out of order")
        }
        val error = assertThrows(Exception::class.java) { client(broken) }
        assertTrue("out of order" in error.message!!, error.message)
    }

    @Test
    fun `an answer from elsewhere comes as a stream`() = runBlocking {
        val id = Mock.name()
        val kept = client().chat(request("text=kept answer"))
        val answering = hooks { beforeRequest { _, _ -> Before.Answer(kept) } }
        val stream = client(answering).chatStream(request("id=$id"))
        assertEquals("kept answer", stream.toList().joinToString("") { it.text })
        assertEquals("kept answer", stream.completion?.text)
        assertEquals(0, Mock.log(id).size())
    }

    @Test
    fun `an answer is refused at its head`() {
        val refusing = hooks { afterHeaders { _, head -> throw llmException(ErrorKind.PROTOCOL, "status ${head.status} is odd") } }
        assertThrows(LlmException.Protocol::class.java) { runBlocking { client(refusing).chatStream(request("text=one")).collect {} } }
    }

    @Test
    fun `chunks are changed and left out`() = runBlocking {
        val changing = hooks {
            onChunks { _, chunks ->
                chunks.filterNot { it.text.trim() == "two" }.map { chunk ->
                    chunk.copy(choices = chunk.choices.map { it.copy(delta = it.delta.copy(content = it.delta.content?.uppercase())) })
                }
            }
        }
        val stream = client(changing).chatStream(request("text=one two three"))
        assertEquals("ONE THREE", stream.toList().joinToString("") { it.text })
        assertEquals("ONE THREE", stream.completion?.text)
    }

    @Test
    fun `an error is replaced or answered`() {
        val replacing = hooks { onError { _, error -> throw llmException(ErrorKind.NOT_FOUND, "instead of ${error.kind}") } }
        val error = assertThrows(LlmException.NotFound::class.java) { runBlocking { client(replacing).chat(request("status=500")) } }
        assertTrue("instead of SERVER" in error.message!!, error.message)
        val kept = runBlocking { client().chat(request("text=kept answer")) }
        val answering = hooks { onError { _, _ -> kept } }
        assertEquals("kept answer", runBlocking { client(answering).chat(request("status=500")) }.text)
        // One that throws what it was given changes nothing.
        assertThrows(LlmException.Server::class.java) { runBlocking { client(object : Hooks {}).chat(request("status=500")) } }
    }

    @Test
    fun `what a hook threw is the cause`() {
        val mine = IllegalStateException("mine")
        val hooks = listOf(
            hooks { beforeRequest { _, _ -> throw mine } },
            hooks { afterHeaders { _, _ -> throw mine } },
            hooks { onChunks { _, _ -> throw mine } },
            hooks { onError { _, _ -> throw mine } },
        )
        for (hook in hooks) {
            val behaviour = if (HookStage.ON_ERROR in hook.stages) "status=500" else "text=one"
            val client = client(hook)
            val refused = assertThrows(LlmException.Permission::class.java) { runBlocking { client.chat(request(behaviour)) } }
            assertSame(mine, refused.cause)
            assertSame(mine, assertThrows(LlmException::class.java) { client.blocking().chat(request(behaviour)) }.cause)
            val streamed = assertThrows(LlmException::class.java) { runBlocking { client.chatStream(request(behaviour)).collect {} } }
            assertSame(mine, streamed.cause)
        }
        val list = ChatCompletionRequest(listOf("openai/demo?status=500", "openai/other?status=500"), listOf(Message.user("Hi")))
        val all = assertThrows(LlmException.AllFailed::class.java) { runBlocking { client(hooks.last()).chat(list) } }
        assertEquals(listOf(mine, mine), all.causes.map { it.cause })
        assertSame(all.causes.last(), all.cause)
    }

    @Test
    fun `what onEnd throws is logged`() = runBlocking {
        val records = CopyOnWriteArrayList<LogRecord>()
        val logger = Logger.getLogger("dev.kreuzberg.literllm")
        val keeping = object : Handler() {
            override fun publish(record: LogRecord) {
                records += record
            }

            override fun flush() = Unit

            override fun close() = Unit
        }
        logger.addHandler(keeping)
        try {
            assertEquals("one", client(hooks { onEnd { _, _ -> error("mine") } }).chat(request("text=one")).text)
        } finally {
            logger.removeHandler(keeping)
        }
        assertEquals(listOf("mine"), records.map { it.thrown.message })
    }

    @Test
    fun `the end comes once also for a stream that was left`() = runBlocking {
        val ends = AtomicInteger()
        val ended = CompletableDeferred<CallEnd>()
        val watching = hooks {
            onEnd { _, end ->
                ends.incrementAndGet()
                ended.complete(end)
            }
        }
        client(watching).chatStream(request("chunks=100000&bytes=200&pace=5")).first { it.text.isNotEmpty() }
        val end = ended.await()
        assertInstanceOf(LlmException.Cancelled::class.java, end.error)
        assertTrue(end.response!!.text.isNotEmpty())
        client(watching).chat(request("text=one"))
        assertEquals(2, ends.get())
    }

    @Test
    fun `hooks that wait hold no thread of the engine`() = runBlocking(Dispatchers.Default) {
        val reached = List(100) { CompletableDeferred<Unit>() }
        val go = CompletableDeferred<Unit>()
        val next = AtomicInteger()
        val waiting = hooks {
            onEnd { _, end ->
                assertNull(end.error)
                reached[next.getAndIncrement()].complete(Unit)
                go.await()
            }
        }
        val client = client(waiting)
        val answers = List(100) { async { client.chat(request("text=one")).text } }
        // All hundred wait at the same moment, and another call still goes through.
        reached.awaitAll()
        assertEquals("free", client().chat(request("text=free")).text)
        go.complete(Unit)
        assertEquals(List(100) { "one" }, answers.awaitAll())
    }
}
