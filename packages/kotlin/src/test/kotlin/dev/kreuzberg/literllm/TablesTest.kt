package dev.kreuzberg.literllm

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.TestFactory
import java.io.File
import java.util.concurrent.TimeUnit

/** The tables that every language runs: the conformance cases, the faults, and how answers survive them. */
class TablesTest {
    @TestFactory
    fun conformance(): List<DynamicTest> {
        val providers = Mock.cases.listFiles(File::isDirectory).orEmpty().sorted()
        val cases = providers.flatMap { it.listFiles(File::isDirectory).orEmpty().sorted() }
        return table("conformance", "cases", cases, { "${it.parentFile.name}/${it.name}" }) { conforms(it.parentFile, it) }
    }

    private fun conforms(provider: File, case: File) {
        val config = Mock.json.readTree(File(provider, "client.json").readText().replace("{MOCK}", Mock.address)) as ObjectNode
        config.withObject("headers").put("x-mock", "case=${provider.name}/${case.name}")
        config.put("max_retries", 0)
        val (chunks, error) = outcome(config, File(case, "request.json").readText())
        val expected = Mock.json.readTree(File(case, "expected.json"))
        val came = Mock.json.valueToTree<JsonNode>(chunks.map { Mock.json.readTree(it.toJson()) })
        assertEquals(expected["chunks"].toPrettyString(), came.toPrettyString())
        assertEquals(expected["error"].path("kind").textValue(), error?.kind?.name?.lowercase())
    }

    @TestFactory
    fun faults(): List<DynamicTest> = table("faults", "faults", rows("faults.json"), { it["name"].textValue() }, ::ends)

    private fun ends(row: JsonNode) {
        val id = Mock.name()
        val config = Mock.json.createObjectNode()
        config.withObject("api_keys").put("openai", "test-key-1234")
        config.withObject("base_urls").put("openai", "${Mock.address}/v1")
        config.withObject("headers").put("x-mock", "id=$id; ${row["mock"].textValue()}")
        config.put("max_retries", 0)
        row["config"]?.properties()?.forEach { (name, value) -> config.set<JsonNode>(name, value) }
        val request = row["request"]?.toString()
            ?: """{"model": "openai/demo", "messages": [{"role": "user", "content": "Tell me a story"}]}"""
        val (chunks, error, completion) = outcome(config, request)
        val expect = row["expect"]
        val text = chunks.joinToString("") { it.text }
        assertEquals(expect["kind"].textValue(), error?.kind?.name?.lowercase(), "after `$text`: $error")
        expect["text"]?.let { assertEquals(it.textValue(), text) }
        expect["finish_reason"]?.let { reason ->
            assertEquals(listOf(reason.textValue()), chunks.mapNotNull { it.choices.firstOrNull()?.finishReason })
        }
        expect["requests"]?.let { assertEquals(it.intValue(), Mock.log(id).size()) }
        if (error == null) {
            assertEquals(text, completion?.text)
            return
        }
        assertEquals(expect["partial"].booleanValue(), error.partial != null)
        error.partial?.let { assertEquals(text, it.text) }
        expect["status"]?.let { assertEquals(it.intValue(), error.status) }
        expect["retry_after"]?.let { assertEquals(it.doubleValue(), error.retryAfter) }
        assertFalse("test-key-1234" in error.toString(), "the message carries the key")
    }

    @TestFactory
    fun recovery(): List<DynamicTest> = table("recovery", "scenarios", rows("recovery.json"), { it["name"].textValue() }, ::recovers)

    private fun recovers(row: JsonNode) {
        val request = Mock.json.createObjectNode()
        val ids = row["models"].map { Mock.name() }
        row["models"].zip(ids).forEach { (route, id) -> request.withArray("model").add(model(route.textValue(), id)) }
        request.withArray("messages").addObject().put("role", "user").put("content", "Count")
        row["mode"]?.let { request.set<JsonNode>("stream_fallback_mode", it) }
        row["format"]?.let { request.withObject("response_format").set<JsonNode>("type", it) }
        row["cancel_after"]?.let { return isCancelled(row, request.toString(), ids, it.intValue()) }
        val (chunks, error, answer) = outcome(routes(row["config"]), request.toString())
        val expect = row["expect"]
        assertEquals(expect["kind"]?.textValue(), error?.kind?.name?.lowercase(), "$error")
        if (error != null) {
            expect["causes"]?.let { causes -> assertEquals(causes.map { it.textValue() }, error.causes.map { it.kind.name.lowercase() }) }
            expect["partial"]?.let { assertEquals(it.textValue(), error.partial?.text) }
            expect["partial_tools"]?.let { assertEquals(it.intValue(), error.partial!!.choices[0].message.toolCalls.size) }
            return
        }
        val text = expect["text"]?.textValue().orEmpty().replace("{T}", TEXT)
        assertEquals(text, shown(chunks))
        assertEquals(text, answer!!.text)
        expect["tools"]?.let { tools ->
            assertEquals(tools.map { it.textValue() }, answer.choices[0].message.toolCalls.map { it.function.arguments })
        }
        val last = chunks.mapNotNull { it.literllm }.lastOrNull()
        expect["event"]?.let { assertEquals(it.textValue(), last?.event) }
        expect["reason"]?.let { assertEquals(it.textValue(), last?.reason) }
        expect["mode"]?.let { assertEquals(it.textValue(), last?.mode) }
        expect["kept"]?.let { assertEquals(it.longValue(), last?.kept) }
        expect["legs"]?.let { assertEquals(it.intValue(), answer.literllm!!.attempts.size) }
        // Whatever happened, the stream is one.
        assertEquals(1, chunks.map { Triple(it.id, it.model, it.created) }.toSet().size, "its identity changes")
        assertEquals(1, chunks.count { chunk -> chunk.choices.any { it.delta.role != null } }, "role chunks")
        assertEquals(1, chunks.count { chunk -> chunk.choices.any { it.finishReason != null } }, "finish chunks")
    }

    /** Cancels when the route with the number [last] has answered; those after it are never asked. */
    private fun isCancelled(row: JsonNode, request: String, ids: List<String>, last: Int) = runBlocking(Dispatchers.Default) {
        assertEquals("cancelled", row["expect"]["kind"].textValue())
        LlmClient(ClientConfig.fromJson(routes(row["config"]).toString())).use { client ->
            val stream = client.chatStream(ChatCompletionRequest.fromJson(request))
            val job = async { stream.collect {} }
            Mock.wait(ids[last], "done")
            val start = System.nanoTime()
            job.cancelAndJoin()
            val took = System.nanoTime() - start
            assertTrue(took < TimeUnit.SECONDS.toNanos(1), "it took ${took / 1_000_000} ms")
            assertInstanceOf(CancellationException::class.java, job.getCompletionExceptionOrNull())
            row["expect"]["partial"]?.let { assertEquals(it.textValue(), stream.completion?.text) }
        }
        ids.forEachIndexed { at, id ->
            val seen = Mock.log(id)
            assertEquals(if (at <= last) 1 else 0, seen.size(), "the mock sees no other request")
            for (one in seen) assertNotEquals("open", one["outcome"].textValue())
        }
    }

    /** A route of the table as a model's name, and as the mock's log names its requests. */
    private fun model(route: String, id: String): String = when {
        route == "@unknown_provider" -> "nowhere/demo"
        route.startsWith("@") -> "${route.drop(1)}/demo"
        else -> "openai/demo?id=$id&${route.replace("{T}", TEXT.replace(" ", "%20"))}"
    }

    /** Where the routes of the recovery table lead. */
    private fun routes(more: JsonNode?): ObjectNode {
        val config = Mock.json.createObjectNode().put("cooldown", 0)
        config.withObject("api_keys").put("openai", "test-key")
        config.withObject("base_urls")
            .put("openai", "${Mock.address}/v1")
            .put("refused", "http://127.0.0.1:9/v1")
            .put("unknown_host", "http://no-such-host.invalid/v1")
            .put("untrusted", "${Mock.untrusted}/v1")
        for (host in listOf("refused", "unknown_host", "untrusted")) config.withArray("hosts").addObject().put("name", host).put("base_url", "")
        config.withArray("hosts").addObject().put("name", "no_key").put("base_url", "http://127.0.0.1:9/v1")
            .withArray("key_vars").add("LITERLLM_TEST_NO_SUCH_KEY")
        more?.properties()?.forEach { (name, value) -> config.set<JsonNode>(name, value) }
        return config
    }

    /** What a consumer that minds resets has in the end. */
    private fun shown(chunks: List<ChatCompletionChunk>): String = chunks.fold("") { text, chunk ->
        val kept = if (chunk.literllm?.event == "reset") "" else text
        kept + chunk.choices.joinToString("") { it.delta.content.orEmpty() }
    }

    private fun rows(file: String): List<JsonNode> = Mock.json.readTree(File(Mock.cases, file)).toList()

    /** A test of each row; after the last one, a line that says how many were wrong. */
    private fun <Row> table(name: String, of: String, rows: List<Row>, title: (Row) -> String, test: (Row) -> Unit): List<DynamicTest> {
        assertTrue(rows.isNotEmpty(), "the table has rows")
        val outcomes = mutableListOf<Boolean>()
        return rows.map { row ->
            dynamicTest(title(row)) {
                val outcome = runCatching { test(row) }
                outcomes += outcome.isSuccess
                if (name == "recovery") println("row: kotlin|${if (outcome.isSuccess) "ok" else "wrong"}|${title(row)}")
                if (outcomes.size == rows.size) println("table: $name, ${rows.size} $of through kotlin, ${outcomes.count { !it }} wrong")
                outcome.getOrThrow()
            }
        }
    }

    private data class Outcome(val chunks: List<ChatCompletionChunk>, val error: LlmException?, val completion: ChatCompletion?)

    private fun outcome(config: JsonNode, request: String): Outcome = runBlocking {
        LlmClient(ClientConfig.fromJson(config.toString())).use { client ->
            val chunks = mutableListOf<ChatCompletionChunk>()
            val stream = client.chatStream(ChatCompletionRequest.fromJson(request))
            val error = runCatching { stream.collect { chunks += it } }.exceptionOrNull()
            if (error != null && error !is LlmException) throw error
            Outcome(chunks, error as LlmException?, stream.completion)
        }
    }

    private companion object {
        const val TEXT = "one two three four five six seven eight nine ten eleven twelve"
    }
}
