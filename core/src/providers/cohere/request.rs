//! A chat request as Cohere takes it.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::providers::{Call, unsupported};
use crate::types::{Content, ContentPart, Message, ResponseFormat, Tool, ToolChoice};

const MOST_STOPS: usize = 5;

pub(super) fn body(call: &Call<'_>) -> Result<Value> {
    const REFUSED: [&str; 9] = [
        "n",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "verbosity",
        "audio",
        "modalities",
        "web_search_options",
        "parallel_tool_calls",
    ];
    unsupported::refuse(call, REFUSED)?;
    let request = call.request;
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("model", Some((&*call.target.model).into()));
    let messages: Result<Vec<Value>> = request.messages.iter().map(|each| message(each, call)).collect();
    set("messages", Some(Value::Array(messages?)));
    set("stream", Some(call.stream.into()));
    set("max_tokens", request.output_limit().map(Value::from));
    set("temperature", request.temperature.map(Value::from));
    set("p", request.top_p.map(Value::from));
    set("seed", request.seed.map(Value::from));
    set("frequency_penalty", request.frequency_penalty.map(Value::from));
    set("presence_penalty", request.presence_penalty.map(Value::from));
    if let Some(stop) = &request.stop {
        if stop.0.len() > MOST_STOPS {
            call.unsupported("stop")?;
        }
        set("stop_sequences", Some(json!(stop.0[..stop.0.len().min(MOST_STOPS)])));
    }
    match &request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => set("response_format", Some(json!({ "type": "json_object" }))),
        Some(ResponseFormat::JsonSchema(format)) => {
            let mut wanted = json!({ "type": "json_object" });
            if let Some(schema) = &format.schema {
                wanted["json_schema"] = schema.clone();
            }
            set("response_format", Some(wanted));
        }
        Some(ResponseFormat::Other(value)) => set("response_format", Some(value.clone())),
    }
    let (choice, only) = match &request.tool_choice {
        None | Some(ToolChoice::Auto) => (None, None),
        Some(ToolChoice::None) => (Some("NONE"), None),
        Some(ToolChoice::Required) => (Some("REQUIRED"), None),
        // There is no naming one but by giving no other.
        Some(ToolChoice::Function(name)) => (Some("REQUIRED"), Some(name)),
        Some(ToolChoice::Other(_)) => {
            call.unsupported("tool_choice")?;
            (None, None)
        }
    };
    let is_wanted = |tool: &&Tool| only.is_none() || tool.function.as_ref().map(|function| &function.name) == only;
    let tools: Vec<&Tool> = request.tools.iter().filter(is_wanted).collect();
    if !tools.is_empty() {
        set("tools", Some(tools.iter().map(|each| tool(each)).collect()));
        set("tool_choice", choice.map(Value::from));
        let is_strict = |tool: &&Tool| tool.function.as_ref().is_some_and(|function| function.strict == Some(true));
        set("strict_tools", tools.iter().any(is_strict).then_some(Value::Bool(true)));
    }
    set("thinking", thinking(call));
    for (name, value) in unsupported::own_fields(request) {
        match name.as_str() {
            "top_k" => set("k", Some(value.clone())),
            "thinking" => {}
            name => set(name, Some(value.clone())),
        }
    }
    Ok(Value::Object(body))
}

fn message(message: &Message, call: &Call<'_>) -> Result<Value> {
    let text = || message.text();
    Ok(match message.role.as_str() {
        "system" | "developer" => json!({ "role": "system", "content": text() }),
        "tool" | "function" => json!({ "role": "tool", "tool_call_id": message.tool_call_id, "content": text() }),
        "assistant" if !message.tool_calls.is_empty() => {
            let calls: Vec<Value> = message
                .tool_calls
                .iter()
                .map(|call| {
                    let arguments = if call.function.arguments.trim().is_empty() { "{}" } else { &call.function.arguments };
                    let function = json!({ "name": call.function.name, "arguments": arguments });
                    json!({ "id": call.id, "type": "function", "function": function })
                })
                .collect();
            let mut turn = json!({ "role": "assistant", "tool_calls": calls });
            // Beside calls there is no content, but a plan.
            let plan = Some(text()).filter(|text| !text.is_empty()).or_else(|| message.reasoning_content.clone());
            if let Some(plan) = plan {
                turn["tool_plan"] = plan.into();
            }
            turn
        }
        "assistant" => json!({ "role": "assistant", "content": text() }),
        role => json!({ "role": role, "content": content(message.content.as_ref(), call)? }),
    })
}

fn content(content: Option<&Content>, call: &Call<'_>) -> Result<Value> {
    let Some(Content::Parts(parts)) = content else {
        return Ok(content.map(Content::as_text).unwrap_or_default().into());
    };
    let mut list = Vec::new();
    for part in parts {
        match part {
            ContentPart::Text { text, .. } => list.push(json!({ "type": "text", "text": text })),
            ContentPart::Image { image_url, .. } => list.push(json!({ "type": "image_url", "image_url": image_url })),
            ContentPart::Audio { .. } => call.unsupported("input_audio")?,
            ContentPart::File { .. } => call.unsupported("file")?,
            ContentPart::Refusal { refusal, .. } => list.push(json!({ "type": "text", "text": refusal })),
            ContentPart::Other(value) => list.push(value.clone()),
        }
    }
    Ok(Value::Array(list))
}

fn tool(tool: &Tool) -> Value {
    let Some(function) = &tool.function else { return json!(tool) };
    let mut definition = json!({ "name": function.name });
    if let Some(description) = &function.description {
        definition["description"] = description.as_str().into();
    }
    definition["parameters"] = function.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    json!({ "type": "function", "function": definition })
}

/// The effort as a budget of tokens, or the budget that is given (`thinking`, as Anthropic has it).
fn thinking(call: &Call<'_>) -> Option<Value> {
    if let Some(thinking) = call.request.extra.get("thinking") {
        let mut own = json!({ "type": thinking.get("type").cloned().unwrap_or_else(|| "enabled".into()) });
        if let Some(budget) = thinking.get("budget_tokens").or_else(|| thinking.get("token_budget")) {
            own["token_budget"] = budget.clone();
        }
        return Some(own);
    }
    let budget = match call.request.reasoning_effort.as_deref()? {
        "none" => return Some(json!({ "type": "disabled" })),
        "minimal" => 512,
        "low" => 1024,
        "medium" => 8192,
        _ => return Some(json!({ "type": "enabled" })),
    };
    Some(json!({ "type": "enabled", "token_budget": budget }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::providers::tests::{mapped, outgoing};

    #[test]
    fn a_conversation_with_tools_is_cohered() {
        let function = |name: &str| json!({ "type": "function", "function": { "name": name, "description": "d", "parameters": { "type": "object" } } });
        let request = json!({
            "model": "cohere/command-a-03-2025", "user": "u", "max_completion_tokens": 5, "top_p": 0.5, "top_k": 3, "stop": "x",
            "messages": [
                { "role": "developer", "content": "Be brief." },
                { "role": "user", "content": [{ "type": "text", "text": "See" }, { "type": "image_url", "image_url": { "url": "https://h/a.png" } }] },
                { "role": "assistant", "content": null, "reasoning_content": "I will look.", "tool_calls": [
                    { "id": "a", "type": "function", "function": { "name": "look", "arguments": "" } }] },
                { "role": "tool", "tool_call_id": "a", "content": "red" },
            ],
            "tools": [function("look"), function("feel")],
            "tool_choice": { "type": "function", "function": { "name": "look" } },
            "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } },
            "reasoning_effort": "low", "safety_mode": "OFF",
        });
        let expected = json!({
            "model": "command-a-03-2025",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": [{ "type": "text", "text": "See" }, { "type": "image_url", "image_url": { "url": "https://h/a.png" } }] },
                { "role": "assistant", "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "look", "arguments": "{}" } }],
                  "tool_plan": "I will look." },
                { "role": "tool", "tool_call_id": "a", "content": "red" },
            ],
            "stream": true, "max_tokens": 5, "p": 0.5, "stop_sequences": ["x"],
            "response_format": { "type": "json_object", "json_schema": { "type": "object" } },
            "tools": [function("look")], "tool_choice": "REQUIRED",
            "thinking": { "type": "enabled", "token_budget": 1024 }, "k": 3, "safety_mode": "OFF",
        });
        assert_eq!(mapped(&request), expected);
    }

    #[test]
    fn what_cohere_cannot_do_is_refused_by_name_or_left_out() {
        let request = json!({ "model": "cohere/m", "messages": [{ "role": "user", "content": "x" }], "n": 2 });
        let error = outgoing(&request, &[], false).unwrap_err();
        assert_eq!((error.kind(), error.param()), (ErrorKind::InvalidRequest, Some("n")));
        assert!(outgoing(&request, &[], true).is_ok());
    }
}
