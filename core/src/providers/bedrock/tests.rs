//! Requests as OpenAI has them, and what Bedrock is sent.

use std::collections::HashMap;

use http::HeaderMap;
use serde_json::{Value, json};

use super::Bedrock;
use crate::auth::Auth;
use crate::error::{Error, ErrorKind};
use crate::providers::{Call, Outgoing, Provider, Target};
use crate::types::ChatCompletionRequest;

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn target(model: &str, settings: &[(&'static str, &str)]) -> Target {
    Target {
        host: crate::providers::find("bedrock").expect("it is in the table").clone(),
        model: model.into(),
        base_url: "https://bedrock-runtime.us-east-1.amazonaws.com".to_owned(),
        key: None,
        is_default_url: true,
        has_tokens: false,
        settings: settings.iter().map(|(name, value)| (*name, (*value).to_owned().into())).collect::<HashMap<_, _>>(),
    }
}

fn outgoing(request: &Value, target: &Target, drop_unsupported: bool) -> Result<Outgoing, Error> {
    let request: ChatCompletionRequest = serde_json::from_value(request.clone()).expect("a request");
    Bedrock.request(&Call { request: &request, target, stream: true, drop_unsupported })
}

fn with(model: &str, fields: &Value) -> Value {
    let mut request = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in fields.as_object().expect("fields") {
        request[name] = value.clone();
    }
    request
}

fn sent(model: &str, fields: &Value) -> Value {
    let target = target(model, &[("region", "us-west-2")]);
    let outgoing = outgoing(&with(model, fields), &target, false).expect("it can be sent");
    serde_json::from_slice(&outgoing.body).expect("JSON")
}

fn refused(model: &str, fields: &Value) -> Option<String> {
    let target = target(model, &[("region", "us-west-2")]);
    let error = outgoing(&with(model, fields), &target, false).err()?;
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    error.param().map(str::to_owned)
}

#[test]
fn the_region_comes_from_the_model_the_settings_or_the_address() {
    let address = |target: &Target| {
        let outgoing = outgoing(&with("m", &json!({})), target, false).expect("it can be sent");
        (outgoing.url, outgoing.auth)
    };
    let signed = |region: &str| Auth::Aws { region: region.to_owned(), service: "bedrock" };
    assert_eq!(
        address(&target(CLAUDE, &[("region", "eu-west-1")])),
        (
            "https://bedrock-runtime.eu-west-1.amazonaws.com/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"
                .to_owned(),
            signed("eu-west-1")
        )
    );
    let arn = "arn:aws:bedrock:us-east-2:123456789012:inference-profile/x.y";
    let (url, auth) = address(&target(arn, &[("region", "eu-west-1")]));
    assert!(url.starts_with("https://bedrock-runtime.us-east-2.amazonaws.com/model/arn%3Aaws%3Abedrock%3A"), "{url}");
    assert!(url.ends_with("%3Ainference-profile%2Fx.y/converse-stream"), "{url}");
    assert_eq!(auth, signed("us-east-2"));
    assert!(address(&target("m", &[])).0.starts_with("https://bedrock-runtime.{region}.amazonaws.com/"));
    let vpc = Target {
        base_url: "https://x.bedrock-runtime.eu-west-3.vpce.amazonaws.com".to_owned(),
        is_default_url: false,
        ..target("m", &[])
    };
    assert_eq!(address(&vpc).1, signed("eu-west-3"));
    let other = Target { base_url: "http://127.0.0.1:1".to_owned(), is_default_url: false, ..target("converse/m", &[]) };
    assert_eq!(address(&other), ("http://127.0.0.1:1/model/m/converse-stream".to_owned(), Auth::Ready));
    let given =
        Target { base_url: "http://127.0.0.1:1".to_owned(), is_default_url: false, ..target("m", &[("access_key_id", "A")]) };
    assert_eq!(address(&given).1, signed(""));
    assert_eq!(address(&Target { has_tokens: true, ..other }).1, signed(""));
}

#[test]
fn a_bedrock_key_is_a_bearer_token() {
    let target = Target { key: Some("ABSK-test".to_owned().into()), ..target("m", &[("region", "us-west-2")]) };
    let outgoing = outgoing(&with("m", &json!({})), &target, false).expect("it can be sent");
    assert_eq!(outgoing.auth, Auth::Ready);
    assert_eq!(outgoing.headers["authorization"], "Bearer ABSK-test");
    assert!(outgoing.headers["authorization"].is_sensitive());
}

#[test]
fn a_conversation_becomes_converses() {
    let body = sent(
        "amazon.nova-pro-v1:0",
        &json!({"messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
            {"role": "user", "content": [
                {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image_url", "image_url": {"url": "s3://bucket/a.jpg"}},
                {"type": "file", "file": {"filename": "A_report.v2.pdf", "file_data": "data:application/pdf;base64,JVBE"}}]},
            {"role": "assistant", "content": null,
                "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, {"type": "redacted_thinking", "data": "ZGF0YQ=="}],
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "one"},
            {"role": "tool", "tool_call_id": "call_2", "content": "", "is_error": true},
        ], "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}},
            "cache_control": {"type": "ephemeral"}}]}),
    );
    let point = json!({"cachePoint": {"type": "default"}});
    assert_eq!(
        body,
        json!({
            "toolConfig": {"tools": [{"toolSpec": {"name": "f", "description": "f",
                "inputSchema": {"json": {"type": "object", "properties": {"a": {}}}}}}, point]},
            "system": [{"text": "Be brief."}, point],
            "messages": [
                {"role": "user", "content": [{"text": "Look"}, point,
                    {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
                    {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/a.jpg"}}}},
                    {"document": {"format": "pdf", "source": {"bytes": "JVBE"}, "name": "A report v2"}}]},
                {"role": "assistant", "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
                    {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
                    {"toolUse": {"toolUseId": "call_1", "name": "f", "input": {"a": 1}}},
                    {"toolUse": {"toolUseId": "call_2", "name": "g", "input": {}}}]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "call_1", "content": [{"text": "one"}]}},
                    {"toolResult": {"toolUseId": "call_2", "content": [{"text": "(empty)"}], "status": "error"}}]},
            ],
        })
    );
    let by_address = json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]});
    assert_eq!(refused("m", &by_address).as_deref(), Some("content"));
}

#[test]
fn an_answer_sent_back_carries_its_thinking() {
    let body = r#"{"output":{"message":{"role":"assistant","content":[
        {"reasoningContent":{"reasoningText":{"text":"Hm.","signature":"c2ln"}}},{"reasoningContent":{"redactedContent":"ZGF0YQ=="}},
        {"text":"Let me see."},{"toolUse":{"toolUseId":"tooluse_1","name":"f","input":{"a": 1}}},
        {"toolUse":{"toolUseId":"tooluse_2","name":"g","input":{}}}]}},"stopReason":"tool_use",
        "usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"metrics":{"latencyMs":1}}"#;
    let request = ChatCompletionRequest::new(CLAUDE, ["Hi"]);
    let target = target(CLAUDE, &[]);
    let call = Call { request: &request, target: &target, stream: false, drop_unsupported: false };
    let answer = Bedrock.answer(body, &call).expect("an answer");
    assert_eq!(answer.choices[0].finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!(answer.message().map(|message| message.tool_calls[1].function.arguments.as_str()), Some("{}"));
    assert_eq!(answer.usage.as_ref().map(|usage| usage.total_tokens), Some(3));
    let message = serde_json::to_value(answer.message().expect("a message")).expect("JSON");
    let body =
        sent(CLAUDE, &json!({"messages": [{"role": "user", "content": "Hi"}, message, {"role": "user", "content": "Go on"}]}));
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
            {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
            {"text": "Let me see."},
            {"toolUse": {"toolUseId": "tooluse_1", "name": "f", "input": {"a": 1}}},
            {"toolUse": {"toolUseId": "tooluse_2", "name": "g", "input": {}}},
        ])
    );
    // The calls are declared, though no tool is offered any more.
    let names: Vec<_> =
        body["toolConfig"]["tools"].as_array().expect("tools").iter().map(|tool| &tool["toolSpec"]["name"]).collect();
    assert_eq!(names, ["f", "g"]);
}

#[test]
fn tools_are_chosen_as_converse_has_it() {
    let tools = json!([{"type": "function", "function": {"name": "f", "description": "F", "parameters": {"type": "object"}}}]);
    let config = |model: &str, fields: Value| {
        let mut fields = fields;
        fields["tools"] = tools.clone();
        let body = sent(model, &fields);
        (body["toolConfig"]["toolChoice"].clone(), body["additionalModelRequestFields"]["tool_choice"].clone())
    };
    assert_eq!(config("m", json!({"tool_choice": "required"})), (json!({"any": {}}), json!(null)));
    assert_eq!(config("m", json!({"tool_choice": "auto"})), (json!({"auto": {}}), json!(null)));
    let named = json!({"type": "function", "function": {"name": "f"}});
    assert_eq!(config("m", json!({"tool_choice": named})), (json!({"tool": {"name": "f"}}), json!(null)));
    assert_eq!(sent("m", &json!({"tools": tools, "tool_choice": "none"}))["toolConfig"], json!(null));
    let (_, one) = config(CLAUDE, json!({"parallel_tool_calls": false}));
    assert_eq!(one, json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(refused("m", &json!({"tools": tools, "parallel_tool_calls": false})).as_deref(), Some("parallel_tool_calls"));
}

#[test]
fn sampling_thinking_and_the_models_own_fields_have_their_places() {
    let body = sent(
        "amazon.nova-pro-v1:0",
        &json!({"max_tokens": 100, "temperature": 1.5, "top_p": 0.9, "stop": "x", "top_k": 5, "user": "u",
            "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}, "reasoning_effort": "minimal"}),
    );
    assert_eq!(body["inferenceConfig"], json!({"maxTokens": 100, "temperature": 1.0, "topP": 0.9, "stopSequences": ["x"]}));
    assert_eq!(
        body["additionalModelRequestFields"],
        json!({"top_k": 5, "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}})
    );
    assert_eq!(body["guardrailConfig"]["guardrailIdentifier"], "g");
    let claude = sent(CLAUDE, &json!({"reasoning_effort": "medium"}));
    assert_eq!(claude["additionalModelRequestFields"], json!({"thinking": {"type": "enabled", "budget_tokens": 4096}}));
    assert!(claude["inferenceConfig"]["maxTokens"].as_u64().is_some_and(|limit| limit > 4096), "{claude}");
    let adaptive = sent("global.anthropic.claude-opus-4-7", &json!({"reasoning_effort": "high"}));
    assert_eq!(
        adaptive["additionalModelRequestFields"],
        json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}})
    );
    assert_eq!(
        sent("openai.gpt-oss-20b-1:0", &json!({"reasoning_effort": "low"}))["additionalModelRequestFields"],
        json!({"reasoning_effort": "low"})
    );
    for (field, value) in [("n", json!(2)), ("seed", json!(1)), ("logprobs", json!(true)), ("presence_penalty", json!(1))] {
        assert_eq!(refused("m", &json!({ field: value })).as_deref(), Some(field));
    }
}

#[test]
fn structured_output_is_the_providers_own_or_asked_for_in_words() {
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}}});
    let own = sent(CLAUDE, &json!({"response_format": format}));
    assert_eq!(
        own["outputConfig"]["textFormat"],
        json!({"type": "json_schema", "structure": {"jsonSchema":
            {"schema": r#"{"type":"object","properties":{},"additionalProperties":false}"#, "name": "x"}}})
    );
    let words = sent("amazon.nova-pro-v1:0", &json!({"response_format": format}));
    assert!(words["system"][0]["text"].as_str().is_some_and(|text| text.contains("JSON schema")), "{words}");
}

#[test]
fn errors_are_named_by_a_header_or_the_body() {
    let failure = |status: u16, name: Option<&str>, body: &str| {
        let mut headers = HeaderMap::new();
        if let Some(name) = name {
            headers.insert("x-amzn-errortype", name.parse().expect("a header"));
        }
        let error = Bedrock.failure(status, &headers, body);
        (error.kind(), error.is_retryable(), error.code().map(str::to_owned))
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        failure(429, Some("ThrottlingException:http://internal.amazon.com/"), r#"{"message":"slow down"}"#),
        (ErrorKind::RateLimited, true, named("ThrottlingException"))
    );
    assert_eq!(
        failure(403, None, r#"{"__type":"com.amazon#ExpiredTokenException","Message":"expired"}"#),
        (ErrorKind::Authentication, false, named("ExpiredTokenException"))
    );
    assert_eq!(failure(403, Some("AccessDeniedException"), r#"{"Message":"no"}"#).0, ErrorKind::Permission);
    assert_eq!(
        failure(400, Some("ValidationException"), r#"{"message":"Input is too long for requested model."}"#).0,
        ErrorKind::ContextLength
    );
    assert_eq!(failure(408, Some("ModelTimeoutException"), r#"{"message":"late"}"#).0, ErrorKind::Timeout);
    assert_eq!(failure(424, Some("ModelErrorException"), r#"{"message":"oh"}"#).0, ErrorKind::Server);
    assert_eq!(failure(502, None, "<html>Bad gateway</html>").0, ErrorKind::Server);
}
