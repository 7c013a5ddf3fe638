extension Message {
    /// What the application says to the model beforehand.
    public static func system(_ text: String) -> Message { Message(role: "system", content: .text(text)) }

    /// What the user says.
    public static func user(_ text: String) -> Message { Message(role: "user", content: .text(text)) }

    /// What the user says, with images, sound or files.
    public static func user(_ parts: [ContentPart]) -> Message { Message(role: "user", content: .parts(parts)) }

    /// What the model said. An answer's own message is better sent back as it came.
    public static func assistant(_ text: String) -> Message { Message(role: "assistant", content: .text(text)) }

    /// The result of a tool call.
    public static func tool(callId: String, _ text: String) -> Message {
        Message(role: "tool", content: .text(text), toolCallId: callId)
    }

    /// Its text: the plain content, or the text parts joined.
    public var text: String {
        switch content {
        case .none: return ""
        case .text(let text): return text
        case .parts(let parts):
            return parts.map { if case .text(let text, _) = $0 { return text } else { return "" } }.joined()
        }
    }

    /// The message as OpenAI's JSON, for keeping a conversation.
    public func json() -> String { messageToJson(message: self) }

    /// Reads a message from OpenAI's JSON.
    public init(json: String) throws { self = try translated { try messageFromJson(json: json) } }
}

extension ContentPart {
    /// A text part of a message.
    public static func text(_ text: String) -> ContentPart { .text(text: text, extra: "") }

    /// An image by address or `data:` URL.
    public static func image(url: String) -> ContentPart { .image(imageUrl: ImageUrl(url: url), extra: "") }
}

extension Tool {
    /// A function that the model may call; `parameters` is a JSON schema.
    public static func function(_ name: String, description: String? = nil, parameters: String? = nil) -> Tool {
        Tool(kind: "function", function: FunctionDefinition(name: name, description: description, parameters: parameters))
    }
}

extension ChatCompletionRequest {
    /// A request for a list of models, to be tried in order: an answer that breaks off is gone on with by the next, or, in a list of one, by
    /// the same model asked anew.
    public init(models: [String], messages: [Message] = []) {
        self.init(model: modelsFromList(models: models), messages: messages)
    }

    /// The models that it names, to be tried in order.
    public var models: [String] {
        get { modelsToList(models: model) }
        set { model = modelsFromList(models: newValue) }
    }

    /// Reads a request from OpenAI's JSON.
    public init(json: String) throws { self = try translated { try requestFromJson(json: json) } }

    /// The request as OpenAI's JSON.
    public func json() -> String { requestToJson(request: self) }
}

extension ChatCompletionChunk {
    /// The text of the first choice's delta; empty when it brings none.
    public var text: String { choices.first?.delta.content ?? "" }

    /// Reads a chunk from OpenAI's JSON.
    public init(json: String) throws { self = try translated { try chunkFromJson(json: json) } }

    /// The chunk as OpenAI's JSON.
    public func json() -> String { chunkToJson(chunk: self) }
}

extension ChatCompletion {
    /// The text of the first choice; empty when it has none.
    public var text: String { choices.first?.message.text ?? "" }

    /// The answer as OpenAI's JSON.
    public func json() -> String { completionToJson(completion: self) }
}

extension ClientConfig {
    /// Reads a configuration from JSON, by the names that every language uses: `{"api_key": "…", "idle_timeout": 60}`.
    public init(json: String) throws { self = try translated { try configFromJson(json: json) } }
}

extension RequestOptions {
    /// Reads a call's options from JSON, by the same names.
    public init(json: String) throws { self = try translated { try optionsFromJson(json: json) } }
}
