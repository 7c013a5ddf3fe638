//! A chat request as Gemini takes it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::schema;
use super::thinking;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::media::{DataUrl, mime_type_of};
use crate::providers::{Call, unsupported};
use crate::types::{Content, ContentPart, Extra, FunctionDefinition, Message, ResponseFormat, Tool, ToolChoice};

/// What Gemini 3 takes in the place of a signature that was lost.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";
const MOST_STOPS: usize = 5;

/// Where the body goes: Google's two services differ in little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Gemini,
    /// It knows no ids of calls.
    Vertex,
}

pub(crate) fn body(call: &Call<'_>, service: Service) -> Result<Value> {
    unsupported::refuse(call, ["logit_bias", "verbosity", "parallel_tool_calls"])?;
    let mut body = Map::new();
    let mut conversation = Conversation::new(call, service);
    for (at, message) in call.request.messages.iter().enumerate() {
        conversation.add(at, message)?;
    }
    body.insert("contents".to_owned(), Value::Array(conversation.contents));
    if !conversation.system.is_empty() {
        body.insert("systemInstruction".to_owned(), json!({ "parts": conversation.system }));
    }
    let tools = tools(call)?;
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if let Some(choice) = tool_choice(call)? {
        body.insert("toolConfig".to_owned(), json!({ "functionCallingConfig": choice }));
    }
    let mut config = generation_config(call)?;
    for (name, value) in unsupported::own_fields(call.request) {
        match name.as_str() {
            "top_k" => drop(config.insert("topK".to_owned(), value.clone())),
            "generation_config" | "generationConfig" => merge(&mut config, value),
            "thinking_config" | "thinkingConfig" => drop(config.insert("thinkingConfig".to_owned(), value.clone())),
            // Read with the reasoning effort.
            "thinking" => {}
            "extra_body" => match value.pointer("/google") {
                Some(google) => merge(&mut config, google),
                None => merge(&mut body, value),
            },
            name => match body.get_mut(&camel(name)) {
                Some(Value::Object(own)) => merge(own, value),
                _ => drop(body.insert(camel(name), value.clone())),
            },
        }
    }
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }
    Ok(Value::Object(body))
}

/// The messages read so far.
struct Conversation<'a> {
    call: &'a Call<'a>,
    service: Service,
    contents: Vec<Value>,
    system: Vec<Value>,
    /// Gemma has no system instruction: it goes before what the user says first.
    inlines_system: bool,
    /// The names of the calls made, by id.
    names: HashMap<&'a str, &'a str>,
    /// What the last of `contents` is, so that the next of its kind goes on with it.
    last: Option<Turn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    User,
    Model,
    Results,
}

impl<'a> Conversation<'a> {
    fn new(call: &'a Call<'a>, service: Service) -> Self {
        let inlines_system = call.target.model.starts_with("gemma");
        Self { call, service, contents: Vec::new(), system: Vec::new(), inlines_system, names: HashMap::new(), last: None }
    }

    fn add(&mut self, at: usize, message: &'a Message) -> Result<()> {
        match message.role.as_str() {
            "system" | "developer" => {
                let part = json!({ "text": message.text() });
                if self.inlines_system {
                    self.push(Turn::User, vec![part]);
                } else {
                    self.system.push(part);
                }
            }
            "tool" | "function" => {
                let parts = self.result(message)?;
                self.push(Turn::Results, parts);
            }
            "assistant" | "model" => {
                let parts = self.answer(at, message)?;
                if !parts.is_empty() {
                    self.push(Turn::Model, parts);
                }
            }
            _ => {
                let parts = self.parts(message.content.as_ref())?;
                if !parts.is_empty() {
                    self.push(Turn::User, parts);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, turn: Turn, parts: Vec<Value>) {
        if self.last == Some(turn)
            && let Some(Value::Array(before)) = self.contents.last_mut().and_then(|content| content.get_mut("parts"))
        {
            before.extend(parts);
            return;
        }
        self.last = Some(turn);
        let role = if turn == Turn::Model { "model" } else { "user" };
        self.contents.push(json!({ "role": role, "parts": parts }));
    }

    fn answer(&mut self, at: usize, message: &'a Message) -> Result<Vec<Value>> {
        let mut parts = self.parts(message.content.as_ref())?;
        if let Some(signature) = signature_of(&message.extra) {
            match parts.last_mut().and_then(Value::as_object_mut) {
                Some(last) => drop(last.insert("thoughtSignature".to_owned(), signature.into())),
                None if message.tool_calls.is_empty() => parts.push(json!({ "text": "", "thoughtSignature": signature })),
                None => {}
            }
        }
        let wants_signature = thinking::generation(&self.call.target.model) >= 3;
        for (number, call) in message.tool_calls.iter().enumerate() {
            let wrong = || {
                let message = format!("messages[{at}].tool_calls[{number}] has arguments that are no JSON object");
                Error::new(ErrorKind::InvalidRequest, message).with_param(Some("messages".to_owned()))
            };
            self.names.insert(&call.id, &call.function.name);
            let mut function =
                json!({ "name": call.function.name, "args": arguments(&call.function.arguments).ok_or_else(wrong)? });
            if self.service == Service::Gemini && !call.id.is_empty() {
                function["id"] = call.id.as_str().into();
            }
            let mut part = json!({ "functionCall": function });
            let lost = || (wants_signature && number == 0).then_some(NO_SIGNATURE);
            if let Some(signature) = signature_of(&call.extra).or_else(lost) {
                part["thoughtSignature"] = signature.into();
            }
            parts.push(part);
        }
        if let Some(call) = &message.function_call {
            let args = arguments(&call.arguments).unwrap_or_else(|| json!({}));
            parts.push(json!({ "functionCall": { "name": call.name, "args": args } }));
        }
        Ok(parts)
    }

    fn result(&self, message: &Message) -> Result<Vec<Value>> {
        let id = message.tool_call_id.as_deref().unwrap_or_default();
        let name = self.names.get(id).copied().or(message.name.as_deref()).unwrap_or(id);
        let mut result = json!({ "name": name, "response": { "name": name, "content": message.text() } });
        if self.service == Service::Gemini && !id.is_empty() {
            result["id"] = id.into();
        }
        let mut parts = vec![json!({ "functionResponse": result })];
        // Images and files stand beside the result.
        let beside = self.parts(message.content.as_ref())?;
        parts.extend(beside.into_iter().filter(|part| part.get("text").is_none()));
        Ok(parts)
    }

    fn parts(&self, content: Option<&Content>) -> Result<Vec<Value>> {
        match content {
            None => Ok(Vec::new()),
            Some(Content::Text(text)) if text.is_empty() => Ok(Vec::new()),
            Some(Content::Text(text)) => Ok(vec![json!({ "text": text })]),
            Some(Content::Parts(parts)) => parts.iter().filter_map(|part| self.part(part).transpose()).collect(),
        }
    }

    fn part(&self, part: &ContentPart) -> Result<Option<Value>> {
        Ok(match part {
            ContentPart::Text { text, .. } | ContentPart::Refusal { refusal: text, .. } => {
                (!text.is_empty()).then(|| json!({ "text": text }))
            }
            ContentPart::Image { image_url, .. } => Some(media(&image_url.url, None)),
            ContentPart::Audio { input_audio, .. } => {
                let kind = if input_audio.format == "mp3" { "mpeg" } else { &input_audio.format };
                Some(json!({ "inlineData": { "mimeType": format!("audio/{kind}"), "data": input_audio.data } }))
            }
            ContentPart::File { file, .. } => {
                let named = file.filename.as_deref().and_then(mime_type_of);
                match (&file.file_data, &file.file_id) {
                    (Some(data), _) if data.starts_with("data:") => Some(media(data, named)),
                    (Some(data), _) => {
                        Some(json!({ "inlineData": { "mimeType": named.unwrap_or("application/octet-stream"), "data": data } }))
                    }
                    (None, Some(id)) => Some(media(id, named)),
                    (None, None) => None,
                }
            }
            ContentPart::Other(value) => match value.get("type").and_then(Value::as_str) {
                Some(kind @ ("video_url" | "audio_url" | "file_url")) => {
                    let url = value.get(kind).and_then(|url| url.as_str().or_else(|| url.get("url")?.as_str()));
                    url.map(|url| media(url, None))
                }
                Some(kind) => {
                    self.call.unsupported(&format!("content part of type {kind}"))?;
                    None
                }
                None => None,
            },
        })
    }
}

/// Something by `data:` URL or by address.
fn media(url: &str, mime_type: Option<&str>) -> Value {
    if let Some(data) = DataUrl::read(url) {
        return json!({ "inlineData": { "mimeType": data.mime_type, "data": data.base64 } });
    }
    let mut file = json!({ "fileUri": url });
    if let Some(kind) = mime_type.or_else(|| mime_type_of(url)) {
        file["mimeType"] = kind.into();
    }
    json!({ "fileData": file })
}

/// Arguments as the object that Gemini wants; `None` where they are no object.
fn arguments(text: &str) -> Option<Value> {
    if text.trim().is_empty() {
        return Some(json!({}));
    }
    serde_json::from_str(text).ok().filter(Value::is_object)
}

fn signature_of(extra: &Extra) -> Option<&str> {
    extra.get("extra_content")?.pointer("/google/thought_signature")?.as_str()
}

fn tools(call: &Call<'_>) -> Result<Vec<Value>> {
    let mut declarations = Vec::new();
    let mut tools = Vec::new();
    for tool in &call.request.tools {
        match &tool.function {
            Some(function) => declarations.push(declaration(function)),
            None => tools.extend(googles_own(tool).map(Ok).or_else(|| call.unsupported("tools").err().map(Err)).transpose()?),
        }
    }
    if call.request.web_search_options.is_some() {
        tools.push(json!({ "googleSearch": {} }));
    }
    if !declarations.is_empty() {
        tools.insert(0, json!({ "functionDeclarations": declarations }));
    }
    Ok(tools)
}

fn declaration(function: &FunctionDefinition) -> Value {
    let mut declaration = json!({ "name": function.name });
    if let Some(description) = &function.description {
        declaration["description"] = description.as_str().into();
    }
    let is_empty = |schema: &Value| {
        schema.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty)
            && schema.get("type").is_none_or(|kind| kind == "object")
            && ["$ref", "anyOf", "oneOf", "allOf"].iter().all(|name| schema.get(name).is_none())
            && schema.get("additionalProperties").is_none_or(Value::is_boolean)
    };
    // Gemini refuses an object without properties.
    if let Some(parameters) = function.parameters.as_ref().filter(|schema| !is_empty(schema)) {
        match schema::subset(parameters) {
            Some(subset) => declaration["parameters"] = subset,
            None => declaration["parametersJsonSchema"] = parameters.clone(),
        }
    }
    declaration
}

/// A tool that Google's servers run, under its own name or one that other providers have for it.
fn googles_own(tool: &Tool) -> Option<Value> {
    let own = match &*tool.kind {
        "" => {
            return (!tool.extra.is_empty())
                .then(|| tool.extra.iter().map(|(name, value)| (camel(name), value.clone())).collect());
        }
        "web_search" | "web_search_preview" => "googleSearch".to_owned(),
        "code_interpreter" => "codeExecution".to_owned(),
        kind @ ("google_search"
        | "googleSearch"
        | "code_execution"
        | "codeExecution"
        | "url_context"
        | "urlContext"
        | "google_maps"
        | "googleMaps"
        | "file_search"
        | "fileSearch"
        | "google_search_retrieval") => camel(kind),
        _ => return None,
    };
    let settings = tool.extra.get(&own).or_else(|| tool.extra.get(&tool.kind)).cloned().unwrap_or_else(|| json!({}));
    Some(json!({ own: settings }))
}

fn tool_choice(call: &Call<'_>) -> Result<Option<Value>> {
    let names = |list: &Value| -> Vec<String> {
        let name = |tool: &Value| tool.pointer("/function/name").or_else(|| tool.get("name"))?.as_str().map(str::to_owned);
        list.as_array().into_iter().flatten().filter_map(name).collect()
    };
    Ok(match &call.request.tool_choice {
        None => None,
        Some(ToolChoice::Auto) => Some(json!({ "mode": "AUTO" })),
        Some(ToolChoice::None) => Some(json!({ "mode": "NONE" })),
        Some(ToolChoice::Required) => Some(json!({ "mode": "ANY" })),
        Some(ToolChoice::Function(name)) => Some(json!({ "mode": "ANY", "allowedFunctionNames": [name] })),
        Some(ToolChoice::Other(value)) => {
            let Some(allowed) = value.get("allowed_tools") else {
                call.unsupported("tool_choice")?;
                return Ok(None);
            };
            // AUTO takes no list of names; VALIDATED is AUTO with one.
            let mode = if allowed["mode"] == "required" { "ANY" } else { "VALIDATED" };
            Some(json!({ "mode": mode, "allowedFunctionNames": names(&allowed["tools"]) }))
        }
    })
}

fn generation_config(call: &Call<'_>) -> Result<Map<String, Value>> {
    let request = call.request;
    let mut config = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(name.to_owned(), value);
        }
    };
    set("maxOutputTokens", request.output_limit().map(Value::from));
    set("temperature", request.temperature.map(Value::from));
    set("topP", request.top_p.map(Value::from));
    set("candidateCount", request.n.filter(|&n| n > 1).map(Value::from));
    set("seed", request.seed.map(Value::from));
    set("presencePenalty", request.presence_penalty.map(Value::from));
    set("frequencyPenalty", request.frequency_penalty.map(Value::from));
    set("responseLogprobs", request.logprobs.filter(|&wanted| wanted).map(Value::from));
    set("logprobs", request.top_logprobs.map(Value::from));
    if let Some(stop) = &request.stop {
        if stop.0.len() > MOST_STOPS {
            call.unsupported("stop")?;
        }
        set("stopSequences", Some(json!(stop.0[..stop.0.len().min(MOST_STOPS)])));
    }
    if !request.modalities.is_empty() {
        set("responseModalities", Some(request.modalities.iter().map(|kind| kind.to_ascii_uppercase()).collect()));
    }
    if let Some(voice) = request.audio.as_ref().and_then(|audio| audio.voice.as_ref()?.as_str()) {
        set("speechConfig", Some(json!({ "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": voice } } })));
    }
    match &request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => set("responseMimeType", Some("application/json".into())),
        Some(ResponseFormat::JsonSchema(format)) => {
            set("responseMimeType", Some("application/json".into()));
            if let Some(wanted) = &format.schema {
                match schema::subset(wanted) {
                    Some(subset) => set("responseSchema", Some(subset)),
                    None => set("responseJsonSchema", Some(wanted.clone())),
                }
            }
        }
        Some(ResponseFormat::Other(_)) => call.unsupported("response_format")?,
    }
    set("thinkingConfig", thinking::config(call));
    Ok(config)
}

/// Takes over the fields of an object.
fn merge(into: &mut Map<String, Value>, from: &Value) {
    for (name, value) in from.as_object().into_iter().flatten() {
        into.insert(camel(name), value.clone());
    }
}

/// `safety_settings` as Google writes it: `safetySettings`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::tests::mapped;

    #[test]
    fn a_conversation_with_tools_becomes_contents() {
        let request = json!({
            "model": "gemini/gemini-3-pro", "n": 1, "user": "u", "store": true,
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": [
                    { "type": "text", "text": "What is this?" },
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
                    { "type": "image_url", "image_url": { "url": "https://host/a.jpg" } },
                ] },
                { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "a", "type": "function", "function": { "name": "look", "arguments": "{\"x\":1}" },
                      "extra_content": { "google": { "thought_signature": "SIG" } } },
                    { "id": "b", "type": "function", "function": { "name": "feel", "arguments": "" } },
                ] },
                { "role": "tool", "tool_call_id": "a", "content": "red" },
                { "role": "tool", "tool_call_id": "b", "content": "soft" },
                { "role": "assistant", "content": "A fox.", "extra_content": { "google": { "thought_signature": "END" } } },
                { "role": "user", "content": "Sure?" },
            ],
        });
        let expected = json!({
            "contents": [
                { "role": "user", "parts": [
                    { "text": "What is this?" },
                    { "inlineData": { "mimeType": "image/png", "data": "AAAA" } },
                    { "fileData": { "fileUri": "https://host/a.jpg", "mimeType": "image/jpeg" } },
                ] },
                { "role": "model", "parts": [
                    { "functionCall": { "name": "look", "args": { "x": 1 }, "id": "a" }, "thoughtSignature": "SIG" },
                    { "functionCall": { "name": "feel", "args": {}, "id": "b" } },
                ] },
                { "role": "user", "parts": [
                    { "functionResponse": { "name": "look", "response": { "name": "look", "content": "red" }, "id": "a" } },
                    { "functionResponse": { "name": "feel", "response": { "name": "feel", "content": "soft" }, "id": "b" } },
                ] },
                { "role": "model", "parts": [{ "text": "A fox.", "thoughtSignature": "END" }] },
                { "role": "user", "parts": [{ "text": "Sure?" }] },
            ],
            "systemInstruction": { "parts": [{ "text": "Be brief." }] },
        });
        assert_eq!(mapped(&request), expected);
    }

    #[test]
    fn a_lost_signature_is_made_up_for_with_the_first_call() {
        let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let request = |model: &str| {
            json!({ "model": model, "messages": [
                { "role": "user", "content": "x" }, { "role": "assistant", "tool_calls": [call("a"), call("b")] } ] })
        };
        let parts = mapped(&request("gemini/gemini-3-flash-preview"))["contents"][1]["parts"].clone();
        assert_eq!(parts[0]["thoughtSignature"], NO_SIGNATURE);
        assert_eq!(parts[1].get("thoughtSignature"), None);
        let parts = mapped(&request("gemini/gemini-2.5-flash"))["contents"][1]["parts"].clone();
        assert_eq!(parts[0].get("thoughtSignature"), None);
    }

    #[test]
    fn every_setting_has_its_place() {
        let request = json!({
            "model": "gemini/gemini-2.5-flash", "messages": [{ "role": "user", "content": "x" }],
            "max_completion_tokens": 9, "temperature": 0.5, "top_p": 0.9, "n": 2, "seed": 7, "stop": ["a", "b"],
            "presence_penalty": 0.1, "frequency_penalty": 0.2, "logprobs": true, "top_logprobs": 3, "top_k": 40,
            "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": {
                "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": false } } },
            "reasoning_effort": "low", "safety_settings": [{ "category": "c", "threshold": "t" }], "cached_content": "k",
            "tools": [
                { "type": "function", "function": { "name": "f", "description": "d", "strict": true,
                  "parameters": { "type": "object", "properties": { "q": { "type": "string" } }, "required": ["q"] } } },
                { "type": "function", "function": { "name": "g", "parameters": { "type": "object", "properties": {} } } },
                { "type": "google_search" },
            ],
            "tool_choice": { "type": "function", "function": { "name": "f" } },
        });
        let expected = json!({
            "contents": [{ "role": "user", "parts": [{ "text": "x" }] }],
            "tools": [
                { "functionDeclarations": [
                    { "name": "f", "description": "d",
                      "parameters": { "type": "object", "properties": { "q": { "type": "string" } }, "required": ["q"] } },
                    { "name": "g" },
                ] },
                { "googleSearch": {} },
            ],
            "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["f"] } },
            "safetySettings": [{ "category": "c", "threshold": "t" }],
            "cachedContent": "k",
            "generationConfig": {
                "maxOutputTokens": 9, "temperature": 0.5, "topP": 0.9, "candidateCount": 2, "seed": 7,
                "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseLogprobs": true, "logprobs": 3,
                "stopSequences": ["a", "b"], "responseMimeType": "application/json",
                "responseSchema": { "type": "object", "properties": { "a": { "type": "string" } } },
                "thinkingConfig": { "thinkingBudget": 1024, "includeThoughts": true }, "topK": 40,
            },
        });
        assert_eq!(mapped(&request), expected);
    }

    #[test]
    fn gemma_hears_the_system_from_the_user() {
        let request = json!({ "model": "gemini/gemma-3-27b-it", "messages": [
            { "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" } ] });
        let expected = json!({ "contents": [{ "role": "user", "parts": [{ "text": "Be brief." }, { "text": "Hi" }] }] });
        assert_eq!(mapped(&request), expected);
    }
}
