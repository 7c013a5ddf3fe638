package dev.kreuzberg.literllm

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.launch
import kotlin.coroutines.EmptyCoroutineContext
import kotlin.reflect.KProperty

// The READMEs' examples, each between the marks; ExamplesTest looks whether a README shows anything else.

internal suspend fun fiveLines() {
    // example
    LlmClient(apiKey = System.getenv("OPENAI_API_KEY")).use { client ->
        client.chatStream(ChatCompletionRequest("openai/gpt-4o", listOf(Message.user("Tell me a story"))))
            .collect { chunk -> print(chunk.choices.firstOrNull()?.delta?.content.orEmpty()) }
    }
    // end
}

internal suspend fun aListOfModels(client: LlmClient, conversation: List<Message>) {
    // example
    val request = ChatCompletionRequest(models = listOf("openai/gpt-4o", "anthropic/claude-sonnet-4-5"), messages = conversation)
    var answer = ""
    client.chatStream(request).collect { chunk ->
        if (chunk.literllm?.event == "reset") answer = ""
        answer += chunk.text
    }
    // end
    check(answer.isNotEmpty())
}

internal fun watched(key: String): LlmClient {
    // example
    val watched = hooks {
        beforeRequest { at, request ->
            if (at.provider != "openai") throw llmException(ErrorKind.PERMISSION, "only OpenAI is allowed here")
            Before.Ask(request.copy(user = "user-7"))
        }
        onEnd { at, end -> println("${at.model}: ${end.response?.usage?.totalTokens} tokens in ${end.seconds} s, ${end.error?.kind ?: "well"}") }
    }
    val client = LlmClient(ClientConfig(apiKey = key), hooks = listOf(watched))
    // end
    return client
}

// example
class ChatViewModel(private val client: LlmClient) : ViewModel() {
    var answer by mutableStateOf("")
        private set
    private var job: Job? = null

    fun ask(question: String) {
        job?.cancel()
        answer = ""
        job = viewModelScope.launch {
            try {
                client.chatStream(ChatCompletionRequest("openai/gpt-4o", listOf(Message.user(question)))).collect { answer += it.text }
            } catch (error: LlmException) {
                answer += "\n${error.message}"
            }
        }
    }
}
// end

/** Stands in for androidx.lifecycle. */
open class ViewModel

internal val ViewModel.viewModelScope: CoroutineScope get() = CoroutineScope(EmptyCoroutineContext)

/** Stands in for androidx.compose.runtime. */
internal class State<T>(private var value: T) {
    operator fun getValue(owner: Any, property: KProperty<*>): T = value

    operator fun setValue(owner: Any, property: KProperty<*>, value: T) {
        this.value = value
    }
}

internal fun <T> mutableStateOf(value: T): State<T> = State(value)
