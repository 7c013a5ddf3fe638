//! OpenAI's request as Converse's. The conversation goes by way of Anthropic's blocks, which Converse's follow one by one.

use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::providers::Call;
use crate::providers::anthropic::{Turns, closed_schema, json_instruction, lacks_structured_output, object_schema, thinking};
use crate::providers::unsupported::{own_fields, refuse};
use crate::types::{ResponseFormat, Tool, ToolChoice};

const UNSUPPORTED: [&str; 11] = [
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
    "web_search_options",
];

/// Converse's own fields; any other that OpenAI does not have is the model's.
const OWN_FIELDS: [&str; 7] = [
    "guardrailConfig",
    "additionalModelResponseFieldPaths",
    "requestMetadata",
    "performanceConfig",
    "promptVariables",
    "serviceTier",
    "outputConfig",
];

/// Families without structured output; they are told in words.
const NO_STRUCTURED_OUTPUT: [&str; 4] = ["amazon.", "meta.", "cohere.", "ai21."];

pub(super) fn body(call: &Call<'_>) -> Result<Map<String, Value>> {
    let request = call.request;
    refuse(call, UNSUPPORTED)?;
    let mut turns = Turns::default();
    for message in &request.messages {
        turns.message(message, call)?;
    }
    let (mut system, turns) = turns.finish();
    let mut messages = Vec::with_capacity(turns.len());
    let mut called = Vec::new();
    for (role, blocks) in turns {
        let mut content = Vec::with_capacity(blocks.len());
        for block in blocks {
            if block["type"] == "tool_use" {
                called.push(block["name"].as_str().unwrap_or_default().to_owned());
            }
            converse_block(&block, &mut content)?;
        }
        messages.push(json!({"role": role, "content": content}));
    }

    let mut body = Map::new();
    let mut model_fields = match request.extra.get("additionalModelRequestFields") {
        Some(Value::Object(fields)) => fields.clone(),
        _ => Map::new(),
    };
    for (name, value) in own_fields(request) {
        if OWN_FIELDS.contains(&name.as_str()) {
            body.insert(name.clone(), value.clone());
        } else if name != "additionalModelRequestFields" {
            model_fields.insert(name.clone(), value.clone());
        }
    }
    let inference = inference(call, &mut model_fields)?;
    if !inference.is_empty() {
        body.insert("inferenceConfig".to_owned(), Value::Object(inference));
    }
    if let Some(tier @ ("default" | "priority" | "flex")) = request.service_tier.as_deref() {
        body.insert("serviceTier".to_owned(), json!({"type": tier}));
    }
    tools(&mut body, &mut model_fields, &mut system, called, call)?;
    response_format(&mut body, &mut system, call)?;
    if !model_fields.is_empty() {
        body.insert("additionalModelRequestFields".to_owned(), Value::Object(model_fields));
    }
    if !system.is_empty() {
        let mut blocks = Vec::with_capacity(system.len());
        for block in &system {
            converse_block(block, &mut blocks)?;
        }
        body.insert("system".to_owned(), Value::Array(blocks));
    }
    body.insert("messages".to_owned(), Value::Array(messages));
    Ok(body)
}

/// Limits and sampling, and into `model_fields` how the model is to think.
fn inference(call: &Call<'_>, model_fields: &mut Map<String, Value>) -> Result<Map<String, Value>> {
    const ROOM_FOR_THINKING: u64 = 40_960;
    let request = call.request;
    let model = &*call.target.model;
    let known_limit = thinking::row(&call.target.host.name, model).and_then(|row| row.max_output);
    let mut max_tokens = request.output_limit();
    if is_claude(model) {
        let limit = max_tokens.or(known_limit).unwrap_or(ROOM_FOR_THINKING);
        for (name, value) in thinking::fields(call, limit)? {
            model_fields.entry(name).or_insert(value);
        }
        if thinking::is_on(model_fields) {
            max_tokens = Some(limit);
        }
    } else if let Some(effort) = request.reasoning_effort.as_deref() {
        if model.contains("amazon.nova") {
            let config = match effort {
                "none" => json!({"type": "disabled"}),
                "minimal" => json!({"type": "enabled", "maxReasoningEffort": "low"}),
                effort => json!({"type": "enabled", "maxReasoningEffort": effort}),
            };
            model_fields.entry("reasoningConfig").or_insert(config);
        } else {
            model_fields.entry("reasoning_effort").or_insert_with(|| json!(effort));
        }
    }
    let mut inference = Map::new();
    if let Some(limit) = max_tokens {
        inference.insert("maxTokens".to_owned(), json!(limit));
    }
    match request.temperature {
        Some(temperature) if temperature < 1.0 && is_claude(model) && thinking::is_on(model_fields) => {
            call.unsupported("temperature")?;
        }
        Some(temperature) => {
            inference.insert("temperature".to_owned(), json!(temperature.clamp(0.0, 1.0)));
        }
        None => {}
    }
    if let Some(top_p) = request.top_p {
        inference.insert("topP".to_owned(), json!(top_p));
    }
    if let Some(stop) = request.stop.as_ref().filter(|stop| !stop.0.is_empty()) {
        inference.insert("stopSequences".to_owned(), json!(stop.0));
    }
    Ok(inference)
}

/// The tools. Converse wants them declared wherever the conversation holds calls, so that such as are no longer offered are declared
/// by name.
fn tools(
    body: &mut Map<String, Value>,
    model_fields: &mut Map<String, Value>,
    system: &mut Vec<Value>,
    called: Vec<String>,
    call: &Call<'_>,
) -> Result<()> {
    let request = call.request;
    let forbidden = request.tool_choice == Some(ToolChoice::None);
    let mut tools = Vec::new();
    if !forbidden || !called.is_empty() {
        for tool in &request.tools {
            tools.extend(spec(tool, call)?);
            if tool.extra.get("cache_control").is_some() {
                tools.push(cache_point());
            }
        }
        if tools.is_empty() {
            for name in called {
                let spec = json!({"toolSpec": {"name": name, "description": name,
                    "inputSchema": {"json": {"type": "object", "properties": {}}}}});
                if !tools.contains(&spec) {
                    tools.push(spec);
                }
            }
        }
    }
    if tools.is_empty() {
        return Ok(());
    }
    if forbidden {
        system.push(json!({"type": "text", "text": "Do not call any tool now; answer in words."}));
    }
    let thinks = is_claude(&call.target.model) && thinking::is_on(model_fields);
    let choice = match &request.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Function(_)) if thinks => {
            call.unsupported("tool_choice")?;
            None
        }
        Some(ToolChoice::Auto) => Some(json!({"auto": {}})),
        Some(ToolChoice::Required) => Some(json!({"any": {}})),
        Some(ToolChoice::Function(name)) => Some(json!({"tool": {"name": name}})),
        Some(ToolChoice::Other(other)) => Some(other.clone()),
        Some(ToolChoice::None) | None => None,
    };
    let mut config = json!({"tools": tools});
    if let Some(choice) = choice {
        config["toolChoice"] = choice;
    }
    body.insert("toolConfig".to_owned(), config);
    if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
        if is_claude(&call.target.model) && !forbidden {
            let choice = match &request.tool_choice {
                Some(ToolChoice::Required) => json!({"type": "any", "disable_parallel_tool_use": true}),
                Some(ToolChoice::Function(name)) => json!({"type": "tool", "name": name, "disable_parallel_tool_use": true}),
                _ => json!({"type": "auto", "disable_parallel_tool_use": true}),
            };
            model_fields.entry("tool_choice").or_insert(choice);
        } else if !forbidden {
            call.unsupported("parallel_tool_calls")?;
        }
    }
    Ok(())
}

fn spec(tool: &Tool, call: &Call<'_>) -> Result<Option<Value>> {
    let Some(function) = &tool.function else {
        // One in Converse's own form (a system tool, a cache point).
        let own = Value::Object(tool.extra.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
        if tool.kind.is_empty() && !tool.extra.is_empty() {
            return Ok(Some(own));
        }
        call.unsupported("tools")?;
        return Ok(None);
    };
    // An empty description is refused.
    let description = function.description.as_deref().filter(|text| !text.trim().is_empty()).unwrap_or(&function.name);
    let mut spec = json!({"name": function.name, "description": description,
        "inputSchema": {"json": object_schema(function.parameters.as_ref())}});
    if function.strict == Some(true) {
        spec["strict"] = json!(true);
    }
    Ok(Some(json!({"toolSpec": spec})))
}

fn response_format(body: &mut Map<String, Value>, system: &mut Vec<Value>, call: &Call<'_>) -> Result<()> {
    let model = &*call.target.model;
    match &call.request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => system.push(json_instruction(None)),
        Some(ResponseFormat::JsonSchema(format))
            if lacks_structured_output(model) || NO_STRUCTURED_OUTPUT.iter().any(|family| model.contains(family)) =>
        {
            system.push(json_instruction(Some(format)));
        }
        Some(ResponseFormat::JsonSchema(format)) => {
            let schema = closed_schema(format).to_string();
            let text_format =
                json!({"type": "json_schema", "structure": {"jsonSchema": {"schema": schema, "name": format.name}}});
            body.entry("outputConfig").or_insert_with(|| json!({"textFormat": text_format}));
        }
        Some(ResponseFormat::Other(_)) => call.unsupported("response_format")?,
    }
    Ok(())
}

/// One of Anthropic's blocks as Converse's, and behind a marked one the point up to which the prompt is to be cached.
fn converse_block(block: &Value, content: &mut Vec<Value>) -> Result<()> {
    let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    let converted = match text("type") {
        "text" => json!({"text": text("text")}),
        "image" => json!({"image": media(&block["source"], "image")?}),
        "document" => {
            let mut document = media(&block["source"], "document")?;
            document["name"] = json!(document_name(text("title")));
            if block.pointer("/citations/enabled") == Some(&Value::Bool(true)) {
                document["citations"] = json!({"enabled": true});
            }
            json!({"document": document})
        }
        "tool_use" => json!({"toolUse": {"toolUseId": text("id"), "name": text("name"), "input": block["input"]}}),
        "tool_result" => {
            let mut results = Vec::new();
            match block.get("content") {
                Some(Value::String(text)) => results.push(json!({ "text": text })),
                Some(Value::Array(blocks)) => {
                    for block in blocks {
                        converse_block(block, &mut results)?;
                    }
                }
                // What a tool gave must say something.
                _ => results.push(json!({"text": "(empty)"})),
            }
            let mut result = json!({"toolUseId": text("tool_use_id"), "content": results});
            if block["is_error"] == true {
                result["status"] = json!("error");
            }
            json!({"toolResult": result})
        }
        "thinking" => json!({"reasoningContent": {"reasoningText": {"text": text("thinking"), "signature": text("signature")}}}),
        "redacted_thinking" => json!({"reasoningContent": {"redactedContent": text("data")}}),
        other => {
            let message = format!("this provider does not take content parts of type `{other}`");
            return Err(Error::new(ErrorKind::InvalidRequest, message).with_param(Some("content".to_owned())));
        }
    };
    content.push(converted);
    if block.get("cache_control").is_some() {
        content.push(cache_point());
    }
    Ok(())
}

/// The format and source of an image or a document.
fn media(source: &Value, what: &str) -> Result<Value> {
    let text = |name: &str| source.get(name).and_then(Value::as_str).unwrap_or_default();
    Ok(match text("type") {
        "base64" => json!({"format": format_of(text("media_type")), "source": {"bytes": text("data")}}),
        "text" => json!({"format": "txt", "source": {"text": text("data")}}),
        "url" if text("url").starts_with("s3://") => {
            let ending = text("url").rsplit('.').next().unwrap_or_default();
            json!({"format": if ending == "jpg" { "jpeg" } else { ending }, "source": {"s3Location": {"uri": text("url")}}})
        }
        _ => {
            let message =
                format!("Bedrock takes no {what} by address; give it as a base64 `data:` URL, or as s3://bucket/key.ending");
            return Err(Error::new(ErrorKind::InvalidRequest, message).with_param(Some("content".to_owned())));
        }
    })
}

/// Converse's name of a media type.
fn format_of(media_type: &str) -> &str {
    match media_type {
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "text/plain" => "txt",
        "text/markdown" => "md",
        other => other.rsplit('/').next().unwrap_or(other),
    }
}

/// A document's name in the letters that are taken: no ending, single blanks.
fn document_name(title: &str) -> String {
    let stem = title.rsplit_once('.').map_or(title, |(stem, _)| stem);
    let letters: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-()[]".contains(c) { c } else { ' ' }).collect();
    let name = letters.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() { "document".to_owned() } else { name }
}

fn cache_point() -> Value {
    json!({"cachePoint": {"type": "default"}})
}

fn is_claude(model: &str) -> bool {
    model.contains("claude")
}
