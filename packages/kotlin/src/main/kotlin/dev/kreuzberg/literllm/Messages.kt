@file:JvmName("Messages")

package dev.kreuzberg.literllm

import dev.kreuzberg.literllm.internal.chunkFromJson
import dev.kreuzberg.literllm.internal.chunkToJson
import dev.kreuzberg.literllm.internal.completeJson
import dev.kreuzberg.literllm.internal.completionToJson
import dev.kreuzberg.literllm.internal.configFromJson
import dev.kreuzberg.literllm.internal.messageFromJson
import dev.kreuzberg.literllm.internal.messageToJson
import dev.kreuzberg.literllm.internal.modelsFromList
import dev.kreuzberg.literllm.internal.modelsToList
import dev.kreuzberg.literllm.internal.optionsFromJson
import dev.kreuzberg.literllm.internal.requestFromJson
import dev.kreuzberg.literllm.internal.requestToJson

/** What the application says to the model beforehand. */
public fun Message.Companion.system(text: String): Message = Message(role = "system", content = Content.Text(text))

/** What the user says. */
public fun Message.Companion.user(text: String): Message = Message(role = "user", content = Content.Text(text))

/** What the user says, with images, sound or files. */
public fun Message.Companion.user(vararg parts: ContentPart): Message =
    Message(role = "user", content = Content.Parts(parts.toList()))

/** What the model said. An answer's own message is better sent back as it came. */
public fun Message.Companion.assistant(text: String): Message = Message(role = "assistant", content = Content.Text(text))

/** The result of the tool call [callId]. */
public fun Message.Companion.tool(callId: String, text: String): Message =
    Message(role = "tool", content = Content.Text(text), toolCallId = callId)

/** A function that the model may call; [parameters] is a JSON schema. */
public fun Tool.Companion.function(name: String, description: String? = null, parameters: String? = null): Tool =
    Tool(kind = "function", function = FunctionDefinition(name, description, parameters))

/** A text part of a message. */
public fun ContentPart.Companion.text(text: String): ContentPart = ContentPart.Text(text, "")

/** An image by address or `data:` URL. */
public fun ContentPart.Companion.image(url: String): ContentPart = ContentPart.Image(ImageUrl(url), "")

/**
 * A request for a list of models, to be tried in order: an answer that breaks off is gone on with by the next, or, in a list of one,
 * by the same model asked anew.
 */
@JvmName("requestOf")
@JvmOverloads
public fun ChatCompletionRequest(models: List<String>, messages: List<Message> = listOf()): ChatCompletionRequest =
    ChatCompletionRequest(modelsFromList(models), messages)

/** The models that it names. */
public val ChatCompletionRequest.models: List<String>
    get() = modelsToList(model)

/** The same request, asked of [models] in order. */
public fun ChatCompletionRequest.withModels(models: List<String>): ChatCompletionRequest = copy(model = modelsFromList(models))

/** Builds a request: `chatRequest("openai/gpt-4o") { system("…"); user("…"); tool("weather", parameters = "{…}") }`. */
public inline fun chatRequest(model: String, build: RequestBuilder.() -> Unit): ChatCompletionRequest =
    RequestBuilder(model).apply(build).build()

/** As above, for a list of models to be tried in order. */
public inline fun chatRequest(models: List<String>, build: RequestBuilder.() -> Unit): ChatCompletionRequest =
    RequestBuilder(models).apply(build).build()

@DslMarker
internal annotation class RequestDsl

/** What [chatRequest] fills. */
@RequestDsl
public class RequestBuilder(model: String) {
    public constructor(models: List<String>) : this(modelsFromList(models))

    /** All other fields; its messages and tools are put before those that are added here. */
    public var request: ChatCompletionRequest = ChatCompletionRequest(model)
    private val messages = mutableListOf<Message>()
    private val tools = mutableListOf<Tool>()

    public fun message(message: Message) {
        messages += message
    }

    public fun system(text: String): Unit = message(Message.system(text))

    public fun user(text: String): Unit = message(Message.user(text))

    public fun user(vararg parts: ContentPart): Unit = message(Message.user(*parts))

    public fun assistant(text: String): Unit = message(Message.assistant(text))

    public fun toolResult(callId: String, text: String): Unit = message(Message.tool(callId, text))

    public fun tool(name: String, description: String? = null, parameters: String? = null) {
        tools += Tool.function(name, description, parameters)
    }

    /** Sets any field: `set { copy(temperature = 0.2, maxTokens = 100) }`. */
    public fun set(change: ChatCompletionRequest.() -> ChatCompletionRequest) {
        request = request.change()
    }

    public fun build(): ChatCompletionRequest =
        request.copy(messages = request.messages + messages, tools = request.tools + tools)
}

/** The text of the first choice's delta; empty when it brings none. */
public val ChatCompletionChunk.text: String
    get() = choices.firstOrNull()?.delta?.content.orEmpty()

/** The text of the first choice; empty when it has none. */
public val ChatCompletion.text: String
    get() = choices.firstOrNull()?.message?.text.orEmpty()

/** Its text: the plain content, or the text parts joined. */
public val Message.text: String
    get() = when (val content = content) {
        null -> ""
        is Content.Text -> content.v1
        is Content.Parts -> content.v1.filterIsInstance<ContentPart.Text>().joinToString("") { it.text }
    }

/** The chunk as OpenAI's JSON. */
public fun ChatCompletionChunk.toJson(): String = chunkToJson(this)

/** Reads a chunk from OpenAI's JSON. */
public fun ChatCompletionChunk.Companion.fromJson(json: String): ChatCompletionChunk = translated { chunkFromJson(json) }

/** The answer as OpenAI's JSON. */
public fun ChatCompletion.toJson(): String = completionToJson(this)

/** The request as OpenAI's JSON. */
public fun ChatCompletionRequest.toJson(): String = requestToJson(this)

/** Reads a request from OpenAI's JSON. */
public fun ChatCompletionRequest.Companion.fromJson(json: String): ChatCompletionRequest = translated { requestFromJson(json) }

/** The message as OpenAI's JSON, for keeping a conversation. */
public fun Message.toJson(): String = messageToJson(this)

/** Reads a message from OpenAI's JSON. */
public fun Message.Companion.fromJson(json: String): Message = translated { messageFromJson(json) }

/** Reads a configuration from JSON, by the names that every language uses: `{"api_key": "…", "idle_timeout": 60}`. */
public fun ClientConfig.Companion.fromJson(json: String): ClientConfig = translated { configFromJson(json) }

/** Reads a call's options from JSON, by the same names. */
public fun RequestOptions.Companion.fromJson(json: String): RequestOptions = translated { optionsFromJson(json) }

/** The beginning of a JSON text, such as arguments that are still coming, as whole JSON; null where it has not begun. */
public fun completeJsonText(text: String): String? = completeJson(text)
