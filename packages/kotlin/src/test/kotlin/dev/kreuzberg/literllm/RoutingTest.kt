package dev.kreuzberg.literllm

import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.time.Duration
import java.util.concurrent.TimeUnit

/** What a configuration has the engine do between calls. */
@Timeout(60, unit = TimeUnit.SECONDS, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class RoutingTest {
    private val here = ClientConfig(baseUrls = mapOf("openai" to "${Mock.address}/v1"), apiKeys = mapOf("openai" to "test-key"))

    private fun request(vararg behaviours: String) = ChatCompletionRequest(behaviours.map { "openai/demo?$it" }, listOf(Message.user("Hi")))

    @Test
    fun `a cache answers the same request again`() = runBlocking {
        val id = Mock.name()
        LlmClient(here.copy(cache = CacheOptions(maxEntries = 10, ttl = Duration.ofMinutes(1)))).use { client ->
            val answers = List(2) { client.chatStream(request("text=one two&id=$id")).complete() }
            assertEquals(listOf("one two", "one two"), answers.map { it.text })
            assertEquals(listOf(false, true), answers.map { it.literllm?.cached == true })
        }
        assertEquals(1, Mock.log(id).size())
    }

    @Test
    fun `a limit has calls wait within their deadline`() {
        val id = Mock.name()
        val config = here.copy(limits = listOf(Limit(provider = "openai", requestsPerMinute = 1)))
        LlmClient(config.copy(timeouts = Timeouts(timeout = Duration.ofMillis(500)))).use { client ->
            runBlocking { client.chat(request("id=$id")) }
            assertThrows(LlmException.Timeout::class.java) { runBlocking { client.chat(request("id=$id")) } }
        }
        assertEquals(1, Mock.log(id).size())
    }

    @Test
    fun `a pool of keys serves in turn`() = runBlocking {
        val id = Mock.name()
        LlmClient(here.copy(apiKeys = mapOf(), keyPools = mapOf("openai" to listOf("first-key-aaaa", "second-key-bbbb")))).use { client ->
            repeat(4) { client.chat(request("id=$id")) }
        }
        val keys = Mock.log(id).map { seen -> seen["headers"].first { it[0].textValue() == "authorization" }[1].textValue().takeLast(4) }
        assertEquals(listOf("aaaa", "bbbb", "aaaa", "bbbb"), keys)
    }

    @Test
    fun `a first model that is silent has the second asked beside it`() = runBlocking {
        val id = Mock.name()
        LlmClient(here.copy(hedgeAfter = Duration.ofMillis(50))).use { client ->
            val answer = client.chatStream(request("headers_after=60000&id=$id", "text=sooner")).complete()
            assertEquals("sooner", answer.text)
        }
        Mock.wait(id, "left")
        Unit
    }
}
