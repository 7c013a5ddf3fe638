package dev.kreuzberg.literllm

import dev.kreuzberg.literllm.internal.modelsFromList

/** Messages, for Java. */
public object ChatMessage {
    @JvmStatic
    public fun system(text: String): Message = Message.system(text)

    @JvmStatic
    public fun user(text: String): Message = Message.user(text)

    @JvmStatic
    public fun user(vararg parts: ContentPart): Message = Message.user(*parts)

    @JvmStatic
    public fun assistant(text: String): Message = Message.assistant(text)

    @JvmStatic
    public fun tool(callId: String, text: String): Message = Message.tool(callId, text)
}

/** Builds a request step by step, for Java; what has no step of its own is set in OpenAI's JSON with [fields]. */
public class ChatRequest(private val model: String) {
    private val builder = RequestBuilder(model)

    /** For a list of models, to be tried in order; a list of one goes on with itself. */
    public constructor(models: List<String>) : this(modelsFromList(models))

    public fun message(message: Message): ChatRequest = apply { builder.message(message) }

    public fun system(text: String): ChatRequest = apply { builder.system(text) }

    public fun user(text: String): ChatRequest = apply { builder.user(text) }

    public fun assistant(text: String): ChatRequest = apply { builder.assistant(text) }

    public fun toolResult(callId: String, text: String): ChatRequest = apply { builder.toolResult(callId, text) }

    public fun tool(name: String, description: String?, parameters: String?): ChatRequest =
        apply { builder.tool(name, description, parameters) }

    public fun temperature(value: Double): ChatRequest = apply { builder.set { copy(temperature = value) } }

    public fun maxTokens(value: Long): ChatRequest = apply { builder.set { copy(maxTokens = value) } }

    public fun stop(vararg texts: String): ChatRequest = apply { builder.set { copy(stop = texts.toList()) } }

    /** Starts over from OpenAI's JSON; the model and what was added by other steps stay. */
    public fun fields(json: String): ChatRequest = apply { builder.request = ChatCompletionRequest.fromJson(json).copy(model = model) }

    public fun build(): ChatCompletionRequest = builder.build()
}
