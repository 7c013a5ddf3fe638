//! OpenAI's request as Anthropic's.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::thinking;
use crate::error::{Error, ErrorKind, Result};
use crate::partial_json;
use crate::providers::Call;
use crate::providers::unsupported::{own_fields, refuse};
use crate::types::{
    Content, ContentPart, Extra, FileData, JsonSchemaFormat, Message, ResponseFormat, Role, Tool, ToolCall, ToolChoice,
};

/// The limit on the answer's length where neither the caller nor the catalogue knows one.
const DEFAULT_MAX_TOKENS: u64 = 4096;

const UNSUPPORTED: [&str; 10] = [
    "n",
    "seed",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
    "audio",
    "modalities",
    "verbosity",
];

/// The body, and the beta features that it needs.
pub(crate) fn body(call: &Call<'_>) -> Result<(Map<String, Value>, Vec<String>)> {
    let request = call.request;
    refuse(call, UNSUPPORTED)?;
    let model = &*call.target.model;
    let known_limit = thinking::row(&call.target.host.name, model).and_then(|row| row.max_output);
    let max_tokens = request.output_limit().or(known_limit).unwrap_or(DEFAULT_MAX_TOKENS);

    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("max_tokens".to_owned(), json!(max_tokens));
    let mut turns = Turns::default();
    for message in &request.messages {
        turns.message(message, call)?;
    }
    let (mut system, turns) = turns.finish();

    body.extend(thinking::fields(call, max_tokens)?);
    for (name, value) in own_fields(request) {
        body.insert(name.clone(), value.clone());
    }
    let mut betas: Vec<String> = match body.shift_remove("betas") {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    if let Some(Value::Object(thinking)) = body.get_mut("thinking")
        && thinking.get("type").and_then(Value::as_str) == Some("adaptive")
    {
        // What was thought is wanted as text, too, which later models leave out unless asked.
        thinking.entry("display").or_insert_with(|| json!("summarized"));
    }
    let thinks = thinking::is_on(&body);

    sampling(&mut body, call, thinks)?;
    tools(&mut body, call, thinks)?;
    match &request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => system.push(json_instruction(None)),
        Some(ResponseFormat::JsonSchema(format)) if lacks_structured_output(model) => {
            system.push(json_instruction(Some(format)));
        }
        Some(ResponseFormat::JsonSchema(format)) => {
            let format = json!({"type": "json_schema", "schema": closed_schema(format)});
            output_config(&mut body).insert("format".to_owned(), format);
        }
        Some(ResponseFormat::Other(_)) => call.unsupported("response_format")?,
    }
    if betas.is_empty() && request.messages.iter().any(names_a_file) {
        betas.push("files-api-2025-04-14".to_owned());
    }
    if let Some(system) = plain_or_blocks(system) {
        body.insert("system".to_owned(), system);
    }
    let message = |(role, blocks): (&str, Vec<Value>)| json!({"role": role, "content": plain_or_blocks(blocks)});
    body.insert("messages".to_owned(), turns.into_iter().map(message).collect());
    if call.stream {
        body.insert("stream".to_owned(), json!(true));
    }
    Ok((body, betas))
}

fn sampling(body: &mut Map<String, Value>, call: &Call<'_>, thinks: bool) -> Result<()> {
    let request = call.request;
    match request.temperature {
        // A model that thinks takes only the default.
        Some(temperature) if thinks && temperature < 1.0 => call.unsupported("temperature")?,
        Some(temperature) => {
            body.insert("temperature".to_owned(), json!(temperature.clamp(0.0, 1.0)));
        }
        None => {}
    }
    if let Some(top_p) = request.top_p {
        body.insert("top_p".to_owned(), json!(top_p));
    }
    if let Some(stop) = &request.stop {
        let (blank, stops): (Vec<&String>, Vec<&String>) = stop.0.iter().partition(|stop| stop.trim().is_empty());
        if !blank.is_empty() {
            call.unsupported("stop")?;
        }
        if !stops.is_empty() {
            body.insert("stop_sequences".to_owned(), json!(stops));
        }
    }
    let user = request.metadata.as_ref().and_then(|metadata| metadata.get("user_id")?.as_str());
    if let Some(user) = request.user.as_deref().or(user) {
        body.insert("metadata".to_owned(), json!({"user_id": user}));
    }
    match request.service_tier.as_deref() {
        Some(tier @ ("auto" | "standard_only")) => {
            body.insert("service_tier".to_owned(), json!(tier));
        }
        Some("default") => {
            body.insert("service_tier".to_owned(), json!("standard_only"));
        }
        _ => {}
    }
    Ok(())
}

fn tools(body: &mut Map<String, Value>, call: &Call<'_>, thinks: bool) -> Result<()> {
    let request = call.request;
    let mut tools: Vec<Value> = request.tools.iter().map(tool).collect();
    if let Some(options) = request.web_search_options.as_ref().filter(|options| !options.is_null()) {
        let mut search = json!({"type": "web_search_20250305", "name": "web_search"});
        if let Some(place) = options.pointer("/user_location/approximate") {
            search["user_location"] = place.clone();
            search["user_location"]["type"] = json!("approximate");
        }
        tools.push(search);
    }
    let has_tools = !tools.is_empty();
    if has_tools {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    let mut choice = match &request.tool_choice {
        Some(_) if !has_tools => None,
        None => None,
        Some(ToolChoice::Auto) => Some(json!({"type": "auto"})),
        Some(ToolChoice::None) => Some(json!({"type": "none"})),
        Some(ToolChoice::Required | ToolChoice::Function(_)) if thinks => {
            call.unsupported("tool_choice")?;
            None
        }
        Some(ToolChoice::Required) => Some(json!({"type": "any"})),
        Some(ToolChoice::Function(name)) => Some(json!({"type": "tool", "name": name})),
        Some(ToolChoice::Other(other)) => Some(other.clone()),
    };
    if request.parallel_tool_calls == Some(false) && has_tools {
        let choice = choice.get_or_insert_with(|| json!({"type": "auto"}));
        if choice["type"] != "none" {
            choice["disable_parallel_tool_use"] = json!(true);
        }
    }
    if let Some(choice) = choice {
        body.insert("tool_choice".to_owned(), choice);
    }
    Ok(())
}

/// A function as a tool; a tool of Anthropic's own goes as it is.
fn tool(tool: &Tool) -> Value {
    let mut map = Map::new();
    match &tool.function {
        Some(function) => {
            map.insert("name".to_owned(), json!(function.name));
            if let Some(description) = &function.description {
                map.insert("description".to_owned(), json!(description));
            }
            map.insert("input_schema".to_owned(), object_schema(function.parameters.as_ref()));
            if function.strict == Some(true) {
                map.insert("strict".to_owned(), json!(true));
            }
            append_extra(&mut map, &function.extra);
        }
        None if !tool.kind.is_empty() => {
            map.insert("type".to_owned(), json!(tool.kind));
        }
        None => {}
    }
    append_extra(&mut map, &tool.extra);
    Value::Object(map)
}

/// The parameters as a schema of an object, which it must be.
pub(crate) fn object_schema(parameters: Option<&Value>) -> Value {
    let mut schema = match parameters {
        Some(Value::Object(schema)) => schema.clone(),
        _ => Map::new(),
    };
    if schema.get("type").is_none() {
        schema.insert("type".to_owned(), json!("object"));
    }
    if schema.len() == 1 {
        schema.insert("properties".to_owned(), json!({}));
    }
    Value::Object(schema)
}

/// The schema with every object closed, as structured output wants it.
pub(crate) fn closed_schema(format: &JsonSchemaFormat) -> Value {
    fn close(value: &mut Value) {
        match value {
            Value::Object(map) => {
                if map.get("type").and_then(Value::as_str) == Some("object") {
                    map.entry("additionalProperties").or_insert(Value::Bool(false));
                }
                map.values_mut().for_each(close);
            }
            Value::Array(list) => list.iter_mut().for_each(close),
            _ => {}
        }
    }
    let mut schema = object_schema(format.schema.as_ref());
    close(&mut schema);
    schema
}

/// Whether a model is from before structured output, and is told in words.
pub(crate) fn lacks_structured_output(model: &str) -> bool {
    const OLDER: [&str; 5] = ["claude-3", "claude-2", "claude-instant", "sonnet-4-2025", "opus-4-2025"];
    OLDER.iter().any(|old| model.contains(old))
}

/// Asks for JSON in words, where there is no other way.
pub(crate) fn json_instruction(format: Option<&JsonSchemaFormat>) -> Value {
    let mut text = "Answer with one JSON object and nothing else: no words around it and no code fence.".to_owned();
    if let Some(schema) = format.and_then(|format| format.schema.as_ref()) {
        text.push_str(" It must be valid by this JSON schema: ");
        text.push_str(&schema.to_string());
    }
    json!({"type": "text", "text": text})
}

fn output_config(body: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let config = body.entry("output_config").or_insert_with(|| json!({}));
    if !config.is_object() {
        *config = json!({});
    }
    config.as_object_mut().expect("it was made an object above")
}

/// One plain text as a string, anything else as blocks.
fn plain_or_blocks(mut blocks: Vec<Value>) -> Option<Value> {
    match blocks.as_mut_slice() {
        [] => None,
        [Value::Object(only)] if only.len() == 2 && only.get("type").is_some_and(|kind| kind == "text") => {
            only.get_mut("text").map(Value::take)
        }
        _ => Some(Value::Array(blocks)),
    }
}

/// The conversation as alternating turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    system: Vec<Value>,
    turns: Vec<Turn>,
}

/// A role and its blocks.
type Turn = (&'static str, Vec<Value>);

impl Turns {
    pub(crate) fn message(&mut self, message: &Message, call: &Call<'_>) -> Result<()> {
        let role = &*message.role;
        if *role == *Role::SYSTEM || *role == *Role::DEVELOPER {
            let blocks = content_blocks(message, call)?;
            self.system.extend(blocks);
        } else if *role == *Role::ASSISTANT {
            let blocks = assistant_blocks(message, call)?;
            self.push("assistant", blocks);
        } else if *role == *Role::TOOL || *role == *Role::FUNCTION {
            let result = tool_result(message, call)?;
            self.push("user", vec![result]);
        } else {
            let blocks = content_blocks(message, call)?;
            self.push("user", blocks);
        }
        Ok(())
    }

    fn push(&mut self, role: &'static str, blocks: Vec<Value>) {
        if blocks.is_empty() {
            return;
        }
        match self.turns.last_mut() {
            Some((last, sofar)) if *last == role => sofar.extend(blocks),
            _ => self.turns.push((role, blocks)),
        }
    }

    /// The system prompt's blocks, and the turns: the first the user's, results of tools first in theirs, no blank at the very end.
    pub(crate) fn finish(mut self) -> (Vec<Value>, Vec<Turn>) {
        if self.turns.first().is_none_or(|(role, _)| *role != "user") {
            self.turns.insert(0, ("user", vec![json!({"type": "text", "text": "."})]));
        }
        if let Some(("assistant", blocks)) = self.turns.last_mut()
            && let Some(Value::String(text)) = blocks.last_mut().and_then(|block| block.get_mut("text"))
        {
            text.truncate(text.trim_end().len());
        }
        for (_, blocks) in self.turns.iter_mut().filter(|(role, _)| *role == "user") {
            blocks.sort_by_key(|block| block["type"] != "tool_result");
        }
        (self.system, self.turns)
    }
}

/// Signed thinking first, then what was said, then the calls.
fn assistant_blocks(message: &Message, call: &Call<'_>) -> Result<Vec<Value>> {
    let mut blocks = thinking_blocks(message);
    blocks.extend(content_blocks(message, call)?);
    if let Some(refusal) = message.refusal.as_deref().filter(|text| !text.trim().is_empty()) {
        blocks.push(json!({"type": "text", "text": refusal}));
    }
    for call in &message.tool_calls {
        let mut block =
            json!({"type": "tool_use", "id": safe_id(&call.id), "name": call.function.name, "input": arguments(call)});
        if let Some(mark) = call.extra.get("cache_control") {
            block["cache_control"] = mark.clone();
        }
        blocks.push(block);
    }
    if let Some(function) = &message.function_call {
        let call = ToolCall { id: function.name.clone(), function: (**function).clone(), ..ToolCall::default() };
        blocks.push(json!({"type": "tool_use", "id": safe_id(&call.id), "name": call.function.name, "input": arguments(&call)}));
    }
    Ok(blocks)
}

/// The thinking that can be sent back: what was signed, and what was redacted.
fn thinking_blocks(message: &Message) -> Vec<Value> {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    message
        .thinking_blocks
        .iter()
        .filter(|block| given(&block.signature) || given(&block.data))
        .map(|block| match &block.data {
            Some(data) => json!({"type": "redacted_thinking", "data": data}),
            None => json!({"type": "thinking", "thinking": block.thinking.as_deref().unwrap_or_default(), "signature": block.signature}),
        })
        .collect()
}

/// The arguments as an object. Such as were cut off are mended as far as they go; what is no JSON goes along as text.
pub(crate) fn arguments(call: &ToolCall) -> Value {
    let text = call.function.arguments.trim();
    if text.is_empty() {
        return json!({});
    }
    serde_json::from_str(text)
        .ok()
        .or_else(|| partial_json::parse(text))
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({"INVALID_JSON": text}))
}

fn tool_result(message: &Message, call: &Call<'_>) -> Result<Value> {
    let id = message.tool_call_id.as_deref().or(message.name.as_deref()).unwrap_or_default();
    let mut result = json!({"type": "tool_result", "tool_use_id": safe_id(id)});
    let mut blocks = content_blocks(&Message { extra: Extra::default(), ..message.clone() }, call)?;
    let mut mark = message.extra.get("cache_control").cloned();
    for block in &mut blocks {
        // The mark belongs on the result itself.
        if let Some(own) = block.as_object_mut().and_then(|block| block.shift_remove("cache_control")) {
            mark.get_or_insert(own);
        }
    }
    if let Some(content) = plain_or_blocks(blocks) {
        result["content"] = content;
    }
    if message.extra.get("is_error") == Some(&Value::Bool(true)) {
        result["is_error"] = json!(true);
    }
    if let Some(mark) = mark {
        result["cache_control"] = mark;
    }
    Ok(result)
}

/// What a message says, as blocks; blank texts, which are refused, are left out.
fn content_blocks(message: &Message, call: &Call<'_>) -> Result<Vec<Value>> {
    let mut blocks = Vec::new();
    match &message.content {
        None => {}
        Some(Content::Text(text)) => blocks.extend(text_block(text)),
        Some(Content::Parts(parts)) => {
            for part in parts {
                blocks.extend(block(part, call)?);
            }
        }
    }
    if let (Some(mark), Some(Value::Object(last))) = (message.extra.get("cache_control"), blocks.last_mut()) {
        last.insert("cache_control".to_owned(), mark.clone());
    }
    Ok(blocks)
}

fn block(part: &ContentPart, call: &Call<'_>) -> Result<Option<Value>> {
    let (block, extra) = match part {
        ContentPart::Text { text, extra } => (text_block(text), extra),
        ContentPart::Refusal { refusal, extra } => (text_block(refusal), extra),
        ContentPart::Image { image_url, extra } => {
            (Some(json!({"type": "image", "source": source(&image_url.url, call)?})), extra)
        }
        ContentPart::File { file, extra } => (Some(document(file, call)?), extra),
        ContentPart::Audio { extra, .. } => {
            call.unsupported("input_audio")?;
            (None, extra)
        }
        // Blocks of Anthropic's own.
        ContentPart::Other(value) => return Ok(Some(value.clone())),
    };
    Ok(block.map(|mut block| {
        if let Value::Object(block) = &mut block {
            append_extra(block, extra);
        }
        block
    }))
}

fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}))
}

/// Where an image or a document is: in the request, or at an address.
fn source(url: &str, call: &Call<'_>) -> Result<Value> {
    if let Some((media_type, data)) = data_url(url) {
        return Ok(json!({"type": "base64", "media_type": media_type, "data": data}));
    }
    let is_in_s3 = url.starts_with("s3://") && &*call.target.host.name == "bedrock";
    if url.starts_with("https://") || url.starts_with("http://") || is_in_s3 {
        return Ok(json!({"type": "url", "url": url}));
    }
    Err(Error::new(ErrorKind::InvalidRequest, "an image or file needs an https:// address or a base64 `data:` URL"))
}

/// Whether a message shows a file that was uploaded before.
fn names_a_file(message: &Message) -> bool {
    let Some(Content::Parts(parts)) = &message.content else { return false };
    parts.iter().any(|part| matches!(part, ContentPart::File { file, .. } if file.file_id.is_some() && file.file_data.is_none()))
}

fn document(file: &FileData, call: &Call<'_>) -> Result<Value> {
    let source = match (&file.file_data, &file.file_id) {
        (Some(data), _) => match data_url(data) {
            Some((media_type, data)) if media_type.starts_with("image/") => {
                return Ok(json!({"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}));
            }
            // Text goes as text: only PDFs are taken in base64.
            Some((media_type, data)) if media_type.starts_with("text/") => {
                let text = BASE64_STANDARD.decode(data.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let text = text.ok_or_else(|| Error::new(ErrorKind::InvalidRequest, "a text file is no UTF-8 in base64"))?;
                json!({"type": "text", "media_type": "text/plain", "data": text})
            }
            _ => source(data, call)?,
        },
        (None, Some(id)) => json!({"type": "file", "file_id": id}),
        (None, None) => {
            return Err(Error::new(ErrorKind::InvalidRequest, "a file needs `file_data` or `file_id`")
                .with_param(Some("file".to_owned())));
        }
    };
    let mut document = json!({"type": "document", "source": source});
    if let Some(name) = &file.filename {
        document["title"] = json!(name);
    }
    Ok(document)
}

/// The media type and the base64 of a `data:` URL.
pub(crate) fn data_url(url: &str) -> Option<(Cow<'_, str>, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?.split(';').next().unwrap_or_default();
    let media_type = match media_type.trim() {
        "" => Cow::Borrowed("text/plain"),
        "image/jpg" => Cow::Borrowed("image/jpeg"),
        other => Cow::Borrowed(other),
    };
    Some((media_type, data))
}

/// An id in the letters that are taken; the same id always becomes the same.
fn safe_id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

fn append_extra(map: &mut Map<String, Value>, extra: &Extra) {
    for (name, value) in extra.iter() {
        map.entry(name.as_str()).or_insert_with(|| value.clone());
    }
}
