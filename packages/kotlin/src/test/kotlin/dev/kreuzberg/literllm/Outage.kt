package dev.kreuzberg.literllm

import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import java.time.Duration

/**
 * Answers over a link that goes down in the middle of them. scripts/outage runs it in a network of its own, whose link it takes down and up
 * at this program's word; the argument is the mock's address.
 */
internal object Outage {
    private const val WORDS = "one two three four five six seven eight nine ten eleven twelve"
    private lateinit var client: LlmClient

    @JvmStatic
    fun main(arguments: Array<String>) {
        client = LlmClient(
            ClientConfig(
                apiKey = "test-key",
                baseUrl = "${arguments[0]}/v1",
                provider = "openai",
                timeouts = Timeouts(connectTimeout = Duration.ofSeconds(1), idleTimeout = Duration.ofSeconds(1)),
                retries = Retries(maxRetries = 20, retryBaseDelay = Duration.ofMillis(100), retryMaxDelay = Duration.ofMillis(300)),
            ),
        )
        runBlocking {
            `a link that is soon back loses nothing`()
            `a link that stays down ends with a typed error and the answer so far`()
            `a list of one goes on when the link is back`()
        }
        client.close()
    }

    private suspend fun `a link that is soon back loses nothing`() {
        val text = read(request("openai/demo?${answer()}")) {
            link("down")
            delay(300)
            link("up")
        }
        check(text == WORDS) { "`$text`" }
        println("ok: a link that is soon back loses nothing")
    }

    private suspend fun `a link that stays down ends with a typed error and the answer so far`() {
        var seen = ""
        try {
            read(request("openai/demo?${answer()}"), { seen = it }) { link("down") }
            error("the answer is not whole")
        } catch (error: LlmException.Timeout) {
            check(error.partial?.text == seen) { "`${error.partial?.text}` after `$seen`" }
        } finally {
            link("up")
        }
        println("ok: a link that stays down ends with a typed error and the answer so far")
    }

    private suspend fun `a list of one goes on when the link is back`() {
        val request = ChatCompletionRequest(listOf("openai/demo?${answer()}&continue=1"), listOf(Message.user("Count")))
        runBlocking {
            val text = read(request) {
                link("down")
                launch {
                    delay(2500)
                    link("up")
                }
            }
            check(text == WORDS) { "`$text`" }
        }
        println("ok: a list of one goes on when the link is back")
    }

    private fun answer() = "text=${WORDS.replace(" ", "%20")}&pace=50"

    private fun request(model: String) = ChatCompletionRequest(model, listOf(Message.user("Count")))

    /** Reads an answer; after its third piece of text, [then]. */
    private suspend fun read(request: ChatCompletionRequest, seen: (String) -> Unit = {}, then: suspend () -> Unit): String {
        var text = ""
        var pieces = 0
        client.chatStream(request).collect { chunk ->
            text += chunk.text
            seen(text)
            if (chunk.text.isNotEmpty() && ++pieces == 3) then()
        }
        return text
    }

    private fun link(state: String) {
        println(state)
        check(readln() == state) { "the link obeys" }
    }
}
