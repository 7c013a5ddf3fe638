package dev.kreuzberg.literllm

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.TestFactory
import java.io.File

/** The tables that every language runs: the conformance cases and the faults. */
class TablesTest {
    @TestFactory
    fun conformance(): List<DynamicTest> {
        val providers = Mock.cases.listFiles(File::isDirectory).orEmpty().sorted()
        val tests = providers.flatMap { provider ->
            provider.listFiles(File::isDirectory).orEmpty().sorted().map { case ->
                dynamicTest("${provider.name}/${case.name}") { conforms(provider, case) }
            }
        }
        assertTrue(tests.isNotEmpty(), "there are cases")
        return tests
    }

    private fun conforms(provider: File, case: File) {
        val config = Mock.json.readTree(File(provider, "client.json").readText().replace("{MOCK}", Mock.address)) as ObjectNode
        config.withObject("headers").put("x-mock", "case=${provider.name}/${case.name}")
        config.put("max_retries", 0)
        val (chunks, error) = outcome(config, File(case, "request.json").readText())
        val expected = Mock.json.readTree(File(case, "expected.json"))
        assertEquals(expected["chunks"].toPrettyString(), Mock.json.valueToTree<JsonNode>(chunks).toPrettyString())
        assertEquals(expected["error"].path("kind").textValue(), error?.kind?.name?.lowercase())
    }

    @TestFactory
    fun faults(): List<DynamicTest> {
        val table = Mock.json.readTree(File(Mock.cases, "faults.json"))
        return table.map { row -> dynamicTest(row["name"].textValue()) { ends(row) } }
    }

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
        val text = chunks.joinToString("") { it.path("choices").path(0).path("delta").path("content").asText("") }
        assertEquals(expect["kind"].textValue(), error?.kind?.name?.lowercase(), "after `$text`: $error")
        expect["text"]?.let { assertEquals(it.textValue(), text) }
        expect["finish_reason"]?.let { reason ->
            assertEquals(listOf(reason.textValue()), chunks.mapNotNull { it.path("choices").path(0).path("finish_reason").textValue() })
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

    private data class Outcome(val chunks: List<JsonNode>, val error: LlmException?, val completion: ChatCompletion?)

    private fun outcome(config: JsonNode, request: String): Outcome = runBlocking {
        LlmClient(ClientConfig.fromJson(config.toString())).use { client ->
            val chunks = mutableListOf<JsonNode>()
            val stream = client.chatStream(ChatCompletionRequest.fromJson(request))
            val error = runCatching { stream.collect { chunks.add(Mock.json.readTree(it.toJson())) } }.exceptionOrNull()
            if (error != null && error !is LlmException) throw error
            Outcome(chunks, error as LlmException?, stream.completion)
        }
    }
}
