//! Requests as OpenAI has them, and what Anthropic is sent.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Anthropic;
use crate::error::{Error, ErrorKind};
use crate::providers::{Call, Outgoing, Provider, Target};
use crate::types::{ChatCompletionRequest, Message};

fn outgoing(request: &Value, drop_unsupported: bool) -> Result<Outgoing, Error> {
    let request: ChatCompletionRequest = serde_json::from_value(request.clone()).expect("a request");
    let target = Target {
        host: crate::providers::find("anthropic").expect("it is in the table").clone(),
        model: request.model.first().into(),
        base_url: "https://api.anthropic.com".to_owned(),
        key: Some("sk-ant-test".to_owned().into()),
        is_default_url: true,
        has_tokens: false,
        settings: HashMap::new(),
    };
    Anthropic.request(&Call { request: &request, target: &target, stream: request.stream == Some(true), drop_unsupported })
}

/// What is sent for a request with these fields beside a model that takes budgets.
fn sent(fields: &Value) -> Value {
    let mut request = json!({"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100});
    for (name, value) in fields.as_object().expect("fields") {
        request[name] = value.clone();
    }
    serde_json::from_slice(&outgoing(&request, false).expect("it can be sent").body).expect("JSON")
}

fn messages(messages: &Value) -> Value {
    sent(&json!({ "messages": messages }))["messages"].clone()
}

fn refused(fields: &Value) -> Option<String> {
    let mut request = json!({"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in fields.as_object().expect("fields") {
        request[name] = value.clone();
    }
    outgoing(&request, true).expect("it can be sent without");
    let error = outgoing(&request, false).err()?;
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    error.param().map(str::to_owned)
}

#[test]
fn a_request_goes_to_the_messages_endpoint_with_its_key() {
    let request = json!({"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}], "stream": true});
    let outgoing = outgoing(&request, false).expect("it can be sent");
    assert_eq!(outgoing.url, "https://api.anthropic.com/v1/messages");
    assert_eq!(outgoing.headers["x-api-key"], "sk-ant-test");
    assert!(outgoing.headers["x-api-key"].is_sensitive());
    assert_eq!(outgoing.headers["anthropic-version"], "2023-06-01");
    let body: Value = serde_json::from_slice(&outgoing.body).expect("JSON");
    assert_eq!(
        body,
        json!({"model": "claude-sonnet-4-5", "max_tokens": 64000, "stream": true,
            "messages": [{"role": "user", "content": "Hi"}]})
    );
}

#[test]
fn system_messages_stand_apart_and_turns_alternate() {
    let body = sent(&json!({"messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One."},
        {"role": "user", "content": [{"type": "text", "text": "Two.", "cache_control": {"type": "ephemeral"}}]},
        {"role": "developer", "content": "Be kind."},
        {"role": "assistant", "content": "Yes. "},
    ]}));
    assert_eq!(body["system"], json!([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [
                {"type": "text", "text": "One."},
                {"type": "text", "text": "Two.", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": "Yes."},
        ])
    );
    assert_eq!(sent(&json!({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]}))["system"], "S");
}

#[test]
fn a_conversation_that_the_assistant_begins_gets_a_user_first() {
    let turns = messages(&json!([{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Hi"}]));
    assert_eq!(turns[0], json!({"role": "user", "content": "."}));
    assert_eq!(turns.as_array().map(Vec::len), Some(3));
}

#[test]
fn results_of_tools_share_one_turn_and_come_first() {
    let turns = messages(&json!([
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
            {"id": "call.2", "type": "function", "function": {"name": "g", "arguments": ""}},
            {"id": "call_3", "type": "function", "function": {"name": "h", "arguments": "{\"a\": \"cut o"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "user", "content": "And?"},
        {"role": "tool", "tool_call_id": "call.2", "content": [{"type": "text", "text": "two"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}], "is_error": true,
            "cache_control": {"type": "ephemeral"}},
    ]));
    assert_eq!(
        turns[1],
        json!({"role": "assistant", "content": [
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "call_2", "name": "g", "input": {}},
            {"type": "tool_use", "id": "call_3", "name": "h", "input": {"a": "cut o"}}]})
    );
    assert_eq!(
        turns[2],
        json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "one"},
            {"type": "tool_result", "tool_use_id": "call_2", "is_error": true, "cache_control": {"type": "ephemeral"}, "content": [
                {"type": "text", "text": "two"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
            {"type": "text", "text": "And?"}]})
    );
}

#[test]
fn an_answer_sent_back_carries_its_thinking_first() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[
        {"type":"thinking","thinking":"Hm.","signature":"c2ln"},{"type":"redacted_thinking","data":"ZGF0YQ=="},
        {"type":"text","text":"Let me see."},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1}}],
        "stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}"#;
    let request = ChatCompletionRequest::new("claude-sonnet-4-5", ["Hi"]);
    let host = crate::providers::find("anthropic").expect("it is in the table").clone();
    let (model, base_url) = ("m".into(), String::new());
    let target = Target { host, model, base_url, key: None, is_default_url: true, has_tokens: false, settings: HashMap::new() };
    let call = Call { request: &request, target: &target, stream: false, drop_unsupported: false };
    let answer = Anthropic.answer(body, &call).expect("an answer");
    // Through JSON, as another language would hold it.
    let message = serde_json::to_value(answer.message().expect("a message")).expect("JSON");
    let _: Message = serde_json::from_value(message.clone()).expect("a message");
    let turns = messages(&json!([{"role": "user", "content": "Hi"}, message, {"role": "user", "content": "Go on"}]));
    assert_eq!(
        turns[1]["content"],
        json!([
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZGF0YQ=="},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        ])
    );
}

#[test]
fn images_and_files_go_by_value_address_or_id() {
    let turns = messages(&json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,AAAA"}, "cache_control": {"type": "ephemeral"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,aMOp"}, "citations": {"enabled": true}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "own"}},
    ]}]));
    assert_eq!(
        turns[0]["content"],
        json!([
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"},
                "cache_control": {"type": "ephemeral"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}, "title": "a.pdf"},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hé"}, "citations": {"enabled": true}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "own"}},
        ])
    );
    let request = json!({"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": [
        {"type": "file", "file": {"file_id": "file_1"}}]}]});
    let outgoing = outgoing(&request, false).expect("it can be sent");
    assert_eq!(outgoing.headers["anthropic-beta"], "files-api-2025-04-14");
    let body: Value = serde_json::from_slice(&outgoing.body).expect("JSON");
    assert_eq!(body["messages"][0]["content"][0], json!({"type": "document", "source": {"type": "file", "file_id": "file_1"}}));
    assert_eq!(
        refused(&json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "Listen"}, {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]})),
        Some("input_audio".to_owned())
    );
}

#[test]
fn tools_keep_their_whole_schema() {
    let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}});
    let body = sent(&json!({"tools": [
        {"type": "function", "function": {"name": "f", "description": "F", "parameters": schema, "strict": true},
            "cache_control": {"type": "ephemeral"}},
        {"type": "function", "function": {"name": "g"}},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
    ]}));
    assert_eq!(
        body["tools"],
        json!([
            {"name": "f", "description": "F", "input_schema": schema, "strict": true, "cache_control": {"type": "ephemeral"}},
            {"name": "g", "input_schema": {"type": "object", "properties": {}}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
        ])
    );
}

#[test]
fn every_choice_of_tools_has_its_own() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    for (choice, parallel, should) in [
        (json!("auto"), json!(null), json!({"type": "auto"})),
        (json!("required"), json!(null), json!({"type": "any"})),
        (json!("none"), json!(false), json!({"type": "none"})),
        (
            json!({"type": "function", "function": {"name": "f"}}),
            json!(false),
            json!({"type": "tool", "name": "f", "disable_parallel_tool_use": true}),
        ),
        (json!(null), json!(false), json!({"type": "auto", "disable_parallel_tool_use": true})),
        (json!(null), json!(true), json!(null)),
    ] {
        let body = sent(&json!({"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel}));
        assert_eq!(body["tool_choice"], should, "{choice} {parallel}");
    }
    assert_eq!(sent(&json!({"tool_choice": "auto", "parallel_tool_calls": false}))["tool_choice"], json!(null));
}

#[test]
fn effort_becomes_a_budget_or_is_left_to_the_model() {
    let thinking = |model: &str, effort: &str| {
        let body = sent(&json!({"model": model, "reasoning_effort": effort, "max_tokens": 8000}));
        (body["thinking"].clone(), body["output_config"].clone())
    };
    let budget = |tokens: u64| (json!({"type": "enabled", "budget_tokens": tokens}), json!(null));
    assert_eq!(thinking("claude-sonnet-4-5", "low"), budget(1024));
    assert_eq!(thinking("claude-sonnet-4-5-20250929", "medium"), budget(4096));
    assert_eq!(thinking("claude-3-7-sonnet-20250219", "high"), budget(7999));
    assert_eq!(thinking("claude-sonnet-4-5", "none"), (json!(null), json!(null)));
    let adaptive = |effort: &str| (json!({"type": "adaptive", "display": "summarized"}), json!({"effort": effort}));
    assert_eq!(thinking("claude-opus-4-6", "high"), adaptive("high"));
    assert_eq!(thinking("claude-opus-4-6", "minimal"), adaptive("low"));
    assert_eq!(thinking("claude-of-a-later-day", "max"), adaptive("max"));
    let own = json!({"type": "enabled", "budget_tokens": 2000});
    assert_eq!(sent(&json!({"reasoning_effort": "high", "thinking": own}))["thinking"], own);
    assert_eq!(refused(&json!({"reasoning_effort": "high", "max_tokens": 500})), Some("reasoning_effort".to_owned()));
    assert_eq!(refused(&json!({"reasoning_effort": "high", "temperature": 0.5})), Some("temperature".to_owned()));
}

#[test]
fn structured_output_is_the_providers_own_where_it_has_one() {
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema":
        {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}, "required": ["a"]}}});
    let body = sent(&json!({"response_format": format}));
    assert_eq!(
        body["output_config"]["format"],
        json!({"type": "json_schema", "schema": {"type": "object", "properties":
            {"a": {"type": "object", "properties": {}, "additionalProperties": false}}, "required": ["a"], "additionalProperties": false}})
    );
    let older = sent(&json!({"model": "claude-3-haiku-20240307", "response_format": format}));
    assert!(older["system"].as_str().is_some_and(|system| system.contains("JSON schema")), "{older}");
    let object = sent(&json!({"response_format": {"type": "json_object"}}));
    assert!(object["system"].as_str().is_some_and(|system| system.contains("JSON object")), "{object}");
}

#[test]
fn other_fields_are_mapped_passed_or_dropped() {
    let body = sent(&json!({
        "temperature": 1.7, "top_p": 0.5, "stop": ["a", "b"], "user": "u1", "n": 1, "store": true, "metadata": {"k": "v"},
        "service_tier": "default", "top_k": 5, "container": "c1", "presence_penalty": 0, "betas": ["x-1", "y-2"],
        "prompt_cache_key": "k", "safety_identifier": "s",
    }));
    assert_eq!(
        body,
        json!({"model": "claude-sonnet-4-5", "max_tokens": 100, "top_k": 5, "container": "c1", "temperature": 1.0, "top_p": 0.5,
            "stop_sequences": ["a", "b"], "metadata": {"user_id": "u1"}, "service_tier": "standard_only",
            "messages": [{"role": "user", "content": "Hi"}]})
    );
    for (field, value) in [
        ("n", json!(2)),
        ("seed", json!(1)),
        ("logprobs", json!(true)),
        ("frequency_penalty", json!(0.5)),
        ("logit_bias", json!({"1": 2})),
        ("stop", json!([" "])),
        ("modalities", json!(["audio"])),
    ] {
        assert_eq!(refused(&json!({ field: value })).as_deref(), Some(field));
    }
}

#[test]
fn pieces_that_are_alike_mean_what_they_mean_apart() {
    use super::Reader;
    use crate::decode::{Event, EventKind};
    use crate::providers::Translator;
    use crate::stream::Emitter;

    let mut events =
        vec![r#"{"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":1}}}"#.to_owned()];
    let blocks = [
        (r#"{"type":"text","text":""}"#, "text_delta", "text"),
        (r#"{"type":"thinking","thinking":"","signature":""}"#, "thinking_delta", "thinking"),
        (r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{}}"#, "input_json_delta", "partial_json"),
        (r#"{"type":"server_tool_use","id":"srvtoolu_1","name":"f","input":{}}"#, "input_json_delta", "partial_json"),
    ];
    for (index, (block, kind, field)) in blocks.iter().enumerate() {
        events.push(format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#));
        for (piece, padding) in [("a", ""), ("", "  "), ("{\\\"b\\\": \\u00e9", " "), ("é 👋", ""), ("\\ud83d\\ude00", "   ")]
        {
            events.push(format!(
                r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{field}":"{piece}"}}{padding}}}"#
            ));
        }
        events.push(format!(
            r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"signature_delta","signature":"s"}}}}"#
        ));
        events.push(format!(r#"{{"type":"content_block_stop","index":{index}}}"#));
    }
    events.push(r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":2}}"#.to_owned());
    events.push(r#"{"type":"message_stop"}"#.to_owned());
    let play = |remembers: bool| {
        let (mut reader, mut out, mut alike) = (Reader::default(), Emitter::the_same(), 0);
        for data in &events {
            if !remembers {
                reader.alike = None;
            }
            let before = reader.alike;
            reader.event(&Event { kind: EventKind::Message, name: "", data: data.into() }, &mut out).expect("all are sound");
            alike += usize::from(before.is_some() && before == reader.alike);
        }
        out.close();
        (out.take_ready(), alike)
    };
    let ((together, alike), (apart, none)) = (play(true), play(false));
    assert_eq!(together, apart);
    assert_eq!((alike, none), (16, 0));
}
