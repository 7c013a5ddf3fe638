//! A chat request as Ollama takes it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::providers::media::DataUrl;
use crate::providers::{Call, unsupported};
use crate::types::{Content, ContentPart, Message, ResponseFormat, ToolChoice};

/// Fields beside OpenAI's that Ollama takes at the top; others are options of the model.
const TOP: [&str; 6] = ["keep_alive", "template", "raw", "think", "truncate", "shift"];

pub(super) fn body(call: &Call<'_>) -> Result<Value> {
    const REFUSED: [&str; 7] =
        ["n", "logit_bias", "verbosity", "audio", "modalities", "web_search_options", "parallel_tool_calls"];
    unsupported::refuse(call, REFUSED)?;
    let request = call.request;
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("model", Some((&*call.target.model).into()));
    // A result names its tool, which only the call tells.
    let names: HashMap<&str, &str> = request
        .messages
        .iter()
        .flat_map(|message| &message.tool_calls)
        .map(|call| (call.id.as_str(), call.function.name.as_str()))
        .collect();
    let messages: Result<Vec<Value>> = request.messages.iter().map(|each| message(each, &names, call)).collect();
    set("messages", Some(Value::Array(messages?)));
    set("stream", Some(call.stream.into()));
    match &request.tool_choice {
        // No tools, no calls.
        Some(ToolChoice::None) => {}
        choice => {
            if choice.as_ref().is_some_and(|choice| *choice != ToolChoice::Auto) {
                call.unsupported("tool_choice")?;
            }
            set("tools", (!request.tools.is_empty()).then(|| json!(request.tools)));
        }
    }
    match &request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => set("format", Some("json".into())),
        Some(ResponseFormat::JsonSchema(format)) => set("format", Some(format.schema.clone().unwrap_or_else(|| "json".into()))),
        Some(ResponseFormat::Other(_)) => call.unsupported("response_format")?,
    }
    set("think", think(call));
    set("logprobs", request.logprobs.map(Value::from));
    set("top_logprobs", request.top_logprobs.map(Value::from));

    let mut options = Map::new();
    let mut option = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    };
    option("num_predict", request.output_limit().map(Value::from));
    option("temperature", request.temperature.map(Value::from));
    option("top_p", request.top_p.map(Value::from));
    option("seed", request.seed.map(Value::from));
    option("stop", request.stop.as_ref().map(|stop| json!(stop.0)));
    option("frequency_penalty", request.frequency_penalty.map(Value::from));
    option("presence_penalty", request.presence_penalty.map(Value::from));
    for (name, value) in unsupported::own_fields(request) {
        match name.as_str() {
            "thinking" => {}
            "options" => value.as_object().into_iter().flatten().for_each(|(name, value)| option(name, Some(value.clone()))),
            name if TOP.contains(&name) => set(name, Some(value.clone())),
            name => option(name, Some(value.clone())),
        }
    }
    if !options.is_empty() {
        set("options", Some(Value::Object(options)));
    }
    Ok(Value::Object(body))
}

fn message(message: &Message, names: &HashMap<&str, &str>, call: &Call<'_>) -> Result<Value> {
    let role = match message.role.as_str() {
        "developer" => "system",
        "function" => "tool",
        role => role,
    };
    let mut images = Vec::new();
    let mut out = json!({ "role": role, "content": content(message.content.as_ref(), &mut images, call)? });
    if !images.is_empty() {
        out["images"] = Value::Array(images);
    }
    if let Some(thinking) = &message.reasoning_content {
        out["thinking"] = thinking.as_str().into();
    }
    if let Some(id) = &message.tool_call_id {
        out["tool_call_id"] = id.as_str().into();
        if let Some(name) = names.get(id.as_str()).copied().or(message.name.as_deref()) {
            out["tool_name"] = name.into();
        }
    }
    if !message.tool_calls.is_empty() {
        let calls: Result<Vec<Value>> = message
            .tool_calls
            .iter()
            .map(|call| {
                let text = call.function.arguments.trim();
                let arguments = if text.is_empty() { Some(json!({})) } else { serde_json::from_str(text).ok() };
                let arguments = arguments.filter(Value::is_object).ok_or_else(|| {
                    let message = format!("the call of `{}` has arguments that are no JSON object", call.function.name);
                    Error::new(ErrorKind::InvalidRequest, message).with_param(Some("messages".to_owned()))
                })?;
                Ok(json!({ "id": call.id, "function": { "name": call.function.name, "arguments": arguments } }))
            })
            .collect();
        out["tool_calls"] = Value::Array(calls?);
    }
    Ok(out)
}

/// The text of a message; its images go into `images`, as base64.
fn content(content: Option<&Content>, images: &mut Vec<Value>, call: &Call<'_>) -> Result<String> {
    let Some(Content::Parts(parts)) = content else {
        return Ok(content.map(Content::as_text).unwrap_or_default().to_owned());
    };
    let mut texts = Vec::new();
    for part in parts {
        match part {
            ContentPart::Text { text, .. } | ContentPart::Refusal { refusal: text, .. } => texts.push(text.as_str()),
            ContentPart::Image { image_url, .. } => match DataUrl::read(&image_url.url) {
                Some(data) => images.push(data.base64.into()),
                // It fetches nothing: only what is sent along is seen.
                None => call.unsupported("image_url by address (send a data: URL)")?,
            },
            ContentPart::Audio { .. } => call.unsupported("input_audio")?,
            ContentPart::File { .. } => call.unsupported("file")?,
            ContentPart::Other(value) => {
                let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
                call.unsupported(&format!("content part of type {kind}"))?;
            }
        }
    }
    Ok(texts.join("\n"))
}

fn think(call: &Call<'_>) -> Option<Value> {
    if let Some(thinking) = call.request.extra.get("thinking").and_then(|thinking| thinking.get("type")) {
        return Some((thinking != "disabled").into());
    }
    Some(match call.request.reasoning_effort.as_deref()? {
        "none" => false.into(),
        "minimal" => "low".into(),
        "xhigh" => "max".into(),
        effort => effort.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::tests::{mapped, outgoing};

    #[test]
    fn a_conversation_has_objects_for_arguments_and_base64_for_images() {
        let request = json!({
            "model": "ollama/qwen3:4b", "max_tokens": 5, "stop": "x", "seed": 1, "num_ctx": 4096, "keep_alive": "5m",
            "reasoning_effort": "xhigh", "user": "u",
            "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } },
            "messages": [
                { "role": "developer", "content": "Be brief." },
                { "role": "user", "content": [
                    { "type": "text", "text": "What" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
                    { "type": "text", "text": "is it?" } ] },
                { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                    { "id": "a", "type": "function", "function": { "name": "look", "arguments": "{\"x\":1}" } }] },
                { "role": "tool", "tool_call_id": "a", "content": "red" },
            ],
            "tools": [{ "type": "function", "function": { "name": "look", "parameters": { "type": "object" } } }],
        });
        let expected = json!({
            "model": "qwen3:4b",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": "What\nis it?", "images": ["AAAA"] },
                { "role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
                    { "id": "a", "function": { "name": "look", "arguments": { "x": 1 } } }] },
                { "role": "tool", "content": "red", "tool_call_id": "a", "tool_name": "look" },
            ],
            "stream": true,
            "tools": [{ "type": "function", "function": { "name": "look", "parameters": { "type": "object" } } }],
            "format": { "type": "object" }, "think": "max",
            "keep_alive": "5m", "options": { "num_predict": 5, "seed": 1, "stop": ["x"], "num_ctx": 4096 },
        });
        assert_eq!(mapped(&request), expected);
    }

    #[test]
    fn no_tools_stand_for_no_choice_and_a_forced_one_is_refused() {
        let tool = json!({ "type": "function", "function": { "name": "f" } });
        let request = |choice: &str| json!({ "model": "ollama/m", "messages": [{ "role": "user", "content": "x" }], "tools": [tool], "tool_choice": choice });
        assert_eq!(mapped(&request("none")).get("tools"), None);
        assert_eq!(outgoing(&request("required"), &[], false).unwrap_err().param(), Some("tool_choice"));
        assert!(outgoing(&request("required"), &[], true).is_ok());
    }

    #[test]
    fn an_image_by_address_is_refused() {
        let image = json!([{ "type": "image_url", "image_url": { "url": "https://host/a.png" } }]);
        let request = json!({ "model": "ollama/m", "messages": [{ "role": "user", "content": image }] });
        let error = outgoing(&request, &[], false).unwrap_err();
        assert!(error.message().contains("data: URL"), "{error}");
    }
}
