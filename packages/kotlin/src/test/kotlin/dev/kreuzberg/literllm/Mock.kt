package dev.kreuzberg.literllm

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.ObjectMapper
import java.io.File
import java.net.URI
import java.net.URLEncoder
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse.BodyHandlers
import java.util.concurrent.atomic.AtomicInteger

/** The mock provider, one for all tests of this process; it ends with it. */
internal object Mock {
    val json: ObjectMapper = ObjectMapper()
    val root: File = generateSequence(File("").absoluteFile) { it.parentFile }.first { File(it, "core/conformance").isDirectory }
    val cases: File = File(root, "core/conformance")
    private val http = HttpClient.newHttpClient()
    private val numbers = AtomicInteger()

    val address: String = start("--cases", cases.path)

    /** A second one, whose certificate nobody vouches for. */
    val untrusted: String by lazy { start("--tls") }

    private fun start(vararg options: String): String {
        val command = System.getenv("LITERLLM_BIN") ?: File(root, "target/release/literllm").path
        return ProcessBuilder(command, "mock", "--port", "0", "--exit-with-stdin", *options)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start()
            .inputReader().readLine().trim()
    }

    /** A name for a request that no other test uses. */
    fun name(): String = "kotlin-${ProcessHandle.current().pid()}-${numbers.incrementAndGet()}"

    fun client(): LlmClient = LlmClient(ClientConfig(apiKey = "test-key", baseUrl = "$address/v1", provider = "openai"))

    fun request(): ChatCompletionRequest = ChatCompletionRequest("openai/demo", listOf(Message.user("Tell me a story")))

    fun options(mock: String): RequestOptions = RequestOptions(headers = mapOf("x-mock" to mock))

    /** Waits until [event] has happened to the request, and gives what the mock knows of it. */
    @JvmOverloads
    fun wait(id: String, event: String, timeout: Int = 20_000): JsonNode =
        get("wait?id=${encoded(id)}&event=${encoded(event)}&timeout_ms=$timeout")

    fun log(id: String): JsonNode = get("log?id=${encoded(id)}")

    fun stats(): JsonNode = get("stats")

    fun release(id: String, n: String) {
        send(HttpRequest.newBuilder(URI("$address/_mock/release?id=${encoded(id)}&n=$n")).POST(HttpRequest.BodyPublishers.noBody()))
    }

    private fun get(path: String): JsonNode = json.readTree(send(HttpRequest.newBuilder(URI("$address/_mock/$path"))))

    private fun send(request: HttpRequest.Builder): String {
        val answer = http.send(request.build(), BodyHandlers.ofString())
        check(answer.statusCode() == 200) { "the mock said ${answer.statusCode()}: ${answer.body()}" }
        return answer.body()
    }

    private fun encoded(text: String) = URLEncoder.encode(text, Charsets.UTF_8)
}
