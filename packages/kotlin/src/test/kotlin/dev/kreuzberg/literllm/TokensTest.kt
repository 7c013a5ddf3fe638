package dev.kreuzberg.literllm

import com.fasterxml.jackson.databind.JsonNode
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.time.Instant
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger

/** A program's own sources of tokens, told by what the mock saw. */
@Timeout(120, unit = TimeUnit.SECONDS, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class TokensTest {
    private fun config(provider: String, id: String) = """{
        "base_urls": {"$provider": "${Mock.address}"}, "settings": {"$provider": ${SETTINGS[provider]}},
        "headers": {"x-mock": "text=one; id=$id"}, "max_retries": 0
    }"""

    private fun client(provider: String, id: String, source: TokenProvider): LlmClient =
        LlmClient(ClientConfig.fromJson(config(provider, id)), tokenProviders = mapOf(provider to source))

    private fun request(model: String) = ChatCompletionRequest(model, listOf(Message.user("Hi")))

    private fun header(seen: JsonNode, name: String): String? = seen["headers"].firstOrNull { it[0].textValue() == name }?.get(1)?.textValue()

    @Test
    fun `tokens come from the program and are kept until they end`() = runBlocking {
        val (id, asked) = Pair(Mock.name(), AtomicInteger())
        val source = TokenProvider {
            // The first is as good as over when it comes.
            val number = asked.incrementAndGet()
            Credential.Token("own-token-$number", Instant.now().plusSeconds(if (number == 1) 1 else 3600))
        }
        client("vertex_ai", id, source).use { client ->
            for (calls in listOf(1, 2, 2)) {
                assertEquals("one", client.chat(request("vertex_ai/gemini-2.5-flash")).text)
                assertEquals(calls, asked.get())
            }
        }
        assertEquals(listOf('1', '2', '2'), Mock.log(id).map { header(it, "authorization")?.last() })
    }

    @Test
    fun `keys of AWS come from the program, too`(): Unit = runBlocking {
        val id = Mock.name()
        client("bedrock", id) { Credential.AwsKeys("AKIDOWN", "secret", "session") }.use { client ->
            assertEquals("one", client.chat(request("bedrock/amazon.nova-lite-v1:0")).text)
        }
        assertNotNull(header(Mock.log(id)[0], "x-amz-security-token"))
    }

    @Test
    fun `a source that gives no token fails the call with its message`() {
        val stale = Credential.Token("own-secret", Instant.now())
        assertFalse("own-secret" in "$stale")
        val asked = AtomicInteger()
        client("vertex_ai", Mock.name()) { if (asked.incrementAndGet() == 1) stale else error("the vault is closed") }.use { client ->
            runBlocking { client.chat(request("vertex_ai/gemini-2.5-flash")) }
            val error = assertThrows(LlmException.Authentication::class.java) {
                runBlocking { client.chat(request("vertex_ai/gemini-2.5-flash")) }
            }
            assertTrue("the vault is closed" in error.message.orEmpty(), "$error")
            assertFalse("own-secret" in "$error")
        }
    }

    @Test
    fun `a source for Java may block`() {
        val id = Mock.name()
        val source = BlockingTokenProvider { Credential.Token("own-token") }
        LlmClient.fromJson(config("vertex_ai", id), listOf(), mapOf("vertex_ai" to source)).use { client ->
            assertEquals("one", client.blocking().chat(request("vertex_ai/gemini-2.5-flash")).text)
        }
        assertNotNull(header(Mock.log(id)[0], "authorization"))
    }

    private companion object {
        val SETTINGS = mapOf("vertex_ai" to """{"project": "p"}""", "bedrock" to """{"region": "us-east-1"}""")
    }
}
