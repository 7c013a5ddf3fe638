//! Every dialect says the same script, whole and streamed, and breaks at the same places.

mod client;

use client::{client, received, received_bytes};
use literllm_mock::{Mock, Options};
use reqwest::Response;
use serde_json::{Value, json};

/// One dialect as these tests see it.
struct Spoken {
    name: &'static str,
    /// Where to stream, and where to ask for a whole answer.
    paths: [&'static str; 2],
    body: Value,
    /// The field that says `stream`, where it is not the path that says it.
    stream_field: bool,
    framing: Framing,
    /// Text, reasoning, arguments, finish reason and completion tokens inside one event.
    text: fn(&Value) -> Option<&str>,
    reasoning: fn(&Value) -> Option<&str>,
    arguments: fn(&Value) -> Option<String>,
    finish: fn(&Value) -> Option<&str>,
    finishes: [&'static str; 2],
    completion_tokens: fn(&Value) -> Option<u64>,
    whole_text: fn(&Value) -> Option<&str>,
    error_message: fn(&Value) -> Option<&str>,
    content_type: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Sse,
    Lines,
    Array,
    EventStream,
    /// Anthropic's events inside AWS's.
    Wrapped,
}

fn string<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn owned(value: &Value, pointer: &str) -> Option<String> {
    string(value, pointer).map(str::to_owned)
}

fn object(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).map(Value::to_string)
}

fn anthropic_text(event: &Value) -> Option<&str> {
    string(event, "/delta/text")
}

fn gemini_part(event: &Value, thought: bool) -> Option<&str> {
    let part = event.pointer("/candidates/0/content/parts/0")?;
    (part.get("thought").is_some() == thought).then(|| string(part, "/text")).flatten()
}

fn spoken() -> Vec<Spoken> {
    let turn = json!([{"role": "user", "content": "Hello there"}]);
    let blocks = json!([{"role": "user", "content": [{"text": "Hello there"}]}]);
    let contents = json!([{"role": "user", "parts": [{"text": "Hello there"}]}]);
    let openai = |name, path: &'static str| Spoken {
        name,
        paths: [path, path],
        body: json!({"model": "demo", "messages": turn, "stream_options": {"include_usage": true}}),
        stream_field: true,
        framing: Framing::Sse,
        text: |event| string(event, "/choices/0/delta/content"),
        reasoning: |event| string(event, "/choices/0/delta/reasoning_content"),
        arguments: |event| owned(event, "/choices/0/delta/tool_calls/0/function/arguments"),
        finish: |event| string(event, "/choices/0/finish_reason"),
        finishes: ["length", "tool_calls"],
        completion_tokens: |event| event.pointer("/usage/completion_tokens").and_then(Value::as_u64),
        whole_text: |answer| string(answer, "/choices/0/message/content"),
        error_message: |body| string(body, "/error/message"),
        content_type: "text/event-stream; charset=utf-8",
    };
    let anthropic = |name, paths: [&'static str; 2], stream_field, framing, content_type| Spoken {
        name,
        paths,
        body: json!({"model": "demo", "max_tokens": 100, "messages": turn}),
        stream_field,
        framing,
        text: anthropic_text,
        reasoning: |event| string(event, "/delta/thinking"),
        arguments: |event| owned(event, "/delta/partial_json"),
        finish: |event| string(event, "/delta/stop_reason"),
        finishes: ["max_tokens", "tool_use"],
        completion_tokens: |event| event.pointer("/usage/output_tokens").and_then(Value::as_u64),
        whole_text: |answer| string(answer, "/content/0/text"),
        error_message: |body| string(body, "/error/message").or_else(|| string(body, "/message")),
        content_type,
    };
    let gemini = |name, paths: [&'static str; 2], framing, content_type| Spoken {
        name,
        paths,
        body: json!({"contents": contents}),
        stream_field: false,
        framing,
        text: |event| gemini_part(event, false),
        reasoning: |event| gemini_part(event, true),
        arguments: |event| object(event, "/candidates/0/content/parts/0/functionCall/args"),
        finish: |event| string(event, "/candidates/0/finishReason"),
        finishes: ["MAX_TOKENS", "STOP"],
        completion_tokens: |event| event.pointer("/usageMetadata/candidatesTokenCount").and_then(Value::as_u64),
        whole_text: |answer| string(answer, "/candidates/0/content/parts/0/text"),
        error_message: |body| string(body, "/error/message"),
        content_type,
    };
    vec![
        openai("openai", "/v1/chat/completions"),
        openai("azure", "/mock/dialect=azure/openai/deployments/demo/chat/completions?api-version=1"),
        Spoken {
            reasoning: |event| string(event, "/choices/0/delta/content/0/thinking/0/text"),
            error_message: |body| string(body, "/message"),
            ..openai("mistral", "/mock/dialect=mistral/v1/chat/completions")
        },
        anthropic("anthropic", ["/v1/messages"; 2], true, Framing::Sse, "text/event-stream; charset=utf-8"),
        anthropic(
            "anthropic on vertex",
            [
                "/v1/projects/p/locations/l/publishers/anthropic/models/demo:streamRawPredict",
                "/v1/projects/p/locations/l/publishers/anthropic/models/demo:rawPredict",
            ],
            false,
            Framing::Sse,
            "text/event-stream; charset=utf-8",
        ),
        anthropic(
            "anthropic on bedrock",
            ["/model/demo%3A0/invoke-with-response-stream", "/model/demo%3A0/invoke"],
            false,
            Framing::Wrapped,
            "application/vnd.amazon.eventstream",
        ),
        gemini(
            "gemini",
            ["/v1beta/models/demo:streamGenerateContent?alt=sse", "/v1beta/models/demo:generateContent"],
            Framing::Sse,
            "text/event-stream",
        ),
        gemini(
            "gemini as an array",
            ["/v1beta/models/demo:streamGenerateContent", "/v1beta/models/demo:generateContent"],
            Framing::Array,
            "application/json; charset=UTF-8",
        ),
        gemini(
            "vertex",
            [
                "/v1/projects/p/locations/l/publishers/google/models/demo:streamGenerateContent?alt=sse",
                "/v1/projects/p/locations/l/publishers/google/models/demo:generateContent",
            ],
            Framing::Sse,
            "text/event-stream",
        ),
        Spoken {
            name: "bedrock",
            paths: ["/model/demo%3A0/converse-stream", "/model/demo%3A0/converse"],
            body: json!({"messages": blocks}),
            stream_field: false,
            framing: Framing::EventStream,
            text: |event| string(event, "/delta/text"),
            reasoning: |event| string(event, "/delta/reasoningContent/text"),
            arguments: |event| owned(event, "/delta/toolUse/input"),
            finish: |event| string(event, "/stopReason"),
            finishes: ["max_tokens", "tool_use"],
            completion_tokens: |event| event.pointer("/usage/outputTokens").and_then(Value::as_u64),
            whole_text: |answer| string(answer, "/output/message/content/0/text"),
            error_message: |body| string(body, "/message"),
            content_type: "application/vnd.amazon.eventstream",
        },
        Spoken {
            name: "cohere",
            paths: ["/v2/chat"; 2],
            body: json!({"model": "demo", "messages": turn}),
            stream_field: true,
            framing: Framing::Sse,
            text: |event| string(event, "/delta/message/content/text"),
            reasoning: |event| string(event, "/delta/message/content/thinking"),
            arguments: |event| owned(event, "/delta/message/tool_calls/function/arguments"),
            finish: |event| string(event, "/delta/finish_reason"),
            finishes: ["MAX_TOKENS", "TOOL_CALL"],
            completion_tokens: |event| event.pointer("/delta/usage/tokens/output_tokens").and_then(Value::as_u64),
            whole_text: |answer| string(answer, "/message/content/0/text"),
            error_message: |body| string(body, "/message"),
            content_type: "text/event-stream",
        },
        Spoken {
            name: "ollama",
            paths: ["/api/chat"; 2],
            body: json!({"model": "demo", "messages": turn}),
            stream_field: true,
            framing: Framing::Lines,
            text: |event| string(event, "/message/content"),
            reasoning: |event| string(event, "/message/thinking"),
            arguments: |event| object(event, "/message/tool_calls/0/function/arguments"),
            finish: |event| string(event, "/done_reason"),
            finishes: ["length", "stop"],
            completion_tokens: |event| event["eval_count"].as_u64(),
            whole_text: |answer| string(answer, "/message/content"),
            error_message: |body| body["error"].as_str(),
            content_type: "application/x-ndjson",
        },
    ]
}

impl Spoken {
    async fn ask(&self, mock: &Mock, behaviour: &str, stream: bool) -> Response {
        let mut body = self.body.clone();
        if self.stream_field {
            body["stream"] = json!(stream);
        }
        let url = format!("{}{}", mock.url(), self.paths[usize::from(!stream)]);
        let request = client().post(url).header("x-mock", behaviour).body(body.to_string());
        request.send().await.expect("the mock answers")
    }

    /// The events of a stream, each as JSON.
    fn events(&self, body: &[u8]) -> Vec<Value> {
        let json = |text: &str| -> Value { serde_json::from_str(text).unwrap_or_else(|_| panic!("{}: {text}", self.name)) };
        match self.framing {
            Framing::Sse => {
                let text = String::from_utf8(body.to_vec()).expect("the stream is UTF-8").replace("\r\n", "\n");
                let data = text.lines().filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
                data.filter(|data| data != "[DONE]").map(|data| json(&data)).collect()
            }
            Framing::Lines => String::from_utf8_lossy(body).lines().map(json).collect(),
            Framing::Array => json(&String::from_utf8_lossy(body)).as_array().expect("it is an array").clone(),
            Framing::EventStream => messages(body).iter().map(|(_, payload)| json(payload)).collect(),
            Framing::Wrapped => messages(body)
                .iter()
                .map(|(_, payload)| {
                    use base64::Engine;
                    let bytes = json(payload)["bytes"].as_str().expect("a chunk has bytes").to_owned();
                    let event = base64::prelude::BASE64_STANDARD.decode(bytes).expect("they are base64");
                    json(&String::from_utf8_lossy(&event))
                })
                .collect(),
        }
    }
}

/// Splits an AWS event stream by an arithmetic of its own, both CRCs checked; the headers are given as text.
fn messages(mut bytes: &[u8]) -> Vec<(String, String)> {
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (total, headers) = (word(bytes, 0) as usize, word(bytes, 4) as usize);
        assert_eq!(word(bytes, 8), crc32(&bytes[..8]), "CRC of the prelude");
        assert_eq!(word(bytes, total - 4), crc32(&bytes[..total - 4]), "CRC of the message");
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        messages.push((text(&bytes[12..12 + headers]), text(&bytes[12 + headers..total - 4])));
        bytes = &bytes[total..];
    }
    messages
}

/// Bit by bit, as the standard has it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| {
        if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 }
    };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

async fn mock() -> Mock {
    Mock::start(Options::default()).await.expect("loopback has a free port")
}

#[tokio::test]
async fn text_reasoning_usage_and_finish_are_the_same_everywhere() {
    let mock = mock().await;
    for spoken in spoken() {
        let name = spoken.name;
        let response = spoken.ask(&mock, "text=Grüß Gott, \"you\"; reasoning=let me see; finish=length; usage=9,7", true).await;
        assert_eq!(response.headers()["content-type"], spoken.content_type, "{name}");
        let (body, broken) = received_bytes(response).await;
        assert!(!broken, "{name}");
        let events = spoken.events(&body);
        let joined = |read: fn(&Value) -> Option<&str>| events.iter().filter_map(read).collect::<String>();
        assert_eq!(joined(spoken.text), "Grüß Gott, \"you\"", "{name}");
        assert_eq!(joined(spoken.reasoning), "let me see", "{name}");
        assert_eq!(events.iter().filter_map(spoken.finish).collect::<Vec<_>>(), [spoken.finishes[0]], "{name}");
        assert_eq!(events.iter().filter_map(spoken.completion_tokens).next_back(), Some(7), "{name}");

        let whole = received(spoken.ask(&mock, "text=Grüß Gott; usage=9,7", false).await).await.0;
        let whole: Value = serde_json::from_str(&whole).expect("the answer is JSON");
        assert_eq!((spoken.whole_text)(&whole), Some("Grüß Gott"), "{name}");
    }
}

#[tokio::test]
async fn tool_calls_are_the_same_everywhere() {
    let mock = mock().await;
    for spoken in spoken() {
        let name = spoken.name;
        for whole in ["", "; tool_whole=1"] {
            let behaviour = format!(r#"tool=look:{{"city":"Paris","days":3}}{whole}"#);
            let (body, _) = received_bytes(spoken.ask(&mock, &behaviour, true).await).await;
            let events = spoken.events(&body);
            let arguments: String = events.iter().filter_map(spoken.arguments).collect();
            assert_eq!(arguments, r#"{"city":"Paris","days":3}"#, "{name}");
            assert_eq!(events.iter().filter_map(spoken.finish).collect::<Vec<_>>(), [spoken.finishes[1]], "{name}");
        }
        let (body, _) = received_bytes(spoken.ask(&mock, "tool=one:{}; tool=two:{}; citations=1", true).await).await;
        let text = format!("{:?}", spoken.events(&body));
        assert!(text.contains("\"one\"") && text.contains("\"two\""), "{name}");
        let whole = received(spoken.ask(&mock, "tool=one:{}; tool=two:{}", false).await).await.0;
        assert!(whole.contains("\"one\"") && whole.contains("\"two\""), "{name}: {whole}");
    }
}

#[tokio::test]
async fn chunks_have_the_asked_number_and_size_everywhere() {
    let mock = mock().await;
    for spoken in spoken().into_iter().filter(|spoken| spoken.framing != Framing::Wrapped) {
        let name = spoken.name;
        let (body, _) = received_bytes(spoken.ask(&mock, "chunks=300; bytes=500", true).await).await;
        let events = spoken.events(&body);
        let numbered: Vec<&str> = events.iter().filter_map(spoken.text).filter(|text| text.len() > 20).collect();
        assert_eq!(numbered.len(), 300, "{name}");
        assert!(numbered.iter().enumerate().all(|(nth, text)| text.starts_with(&format!(" {nth} "))), "{name}");
        let around = received_bytes(spoken.ask(&mock, "chunks=1; bytes=500", true).await).await.0.len();
        // Usage and a longer count differ by a few bytes.
        let extra = body.len() - 299 * 500;
        assert!(extra.abs_diff(around) < 20, "{name}: {extra} {around}");
    }
}

#[tokio::test]
async fn cuts_ends_and_malformed_chunks_act_everywhere() {
    let mock = mock().await;
    for spoken in spoken() {
        let name = spoken.name;
        let (whole, _) = received_bytes(spoken.ask(&mock, "words=30", true).await).await;
        for (behaviour, breaks) in [("words=30; cut=5", true), ("words=30; end=5", false), ("words=30; cut=5; split=3", true)] {
            let (body, broken) = received_bytes(spoken.ask(&mock, behaviour, true).await).await;
            assert_eq!(broken, breaks, "{name}: {behaviour}");
            assert!(!body.is_empty() && whole.starts_with(&body) && body.len() < whole.len(), "{name}: {behaviour}");
        }
        let (split, _) = received_bytes(spoken.ask(&mock, "words=30; split=1", true).await).await;
        assert!(split == whole, "{name}");
        let (bad, _) = received_bytes(spoken.ask(&mock, "words=30; malformed=4", true).await).await;
        assert!(bad != whole && bad.len() <= whole.len(), "{name}");
        let (proofless, _) = received_bytes(spoken.ask(&mock, "words=30; no_done=1; no_finish=1", true).await).await;
        assert!(proofless.len() < whole.len(), "{name}");
    }
}

#[tokio::test]
async fn errors_speak_the_providers_language() {
    let mock = mock().await;
    for spoken in spoken() {
        let name = spoken.name;
        let response = spoken.ask(&mock, "status=429; error_message=Easy now; retry_after=3; request_id=r1", true).await;
        assert_eq!(response.status(), 429, "{name}");
        assert_eq!(response.headers()["retry-after"], "3", "{name}");
        if matches!(spoken.framing, Framing::EventStream | Framing::Wrapped) {
            assert_eq!(response.headers()["x-amzn-errortype"], "ThrottlingException", "{name}");
            assert_eq!(response.headers()["x-amzn-requestid"], "r1");
        }
        let body: Value = serde_json::from_str(&received(response).await.0).expect("the error is JSON");
        assert_eq!((spoken.error_message)(&body), Some("Easy now"), "{name}: {body}");

        let (body, broken) = received(spoken.ask(&mock, "error_at=3; error_message=Oh no", true).await).await;
        assert!(!broken && body.contains("Oh no"), "{name}: {body}");
        mock.reset();

        let response = spoken.ask(&mock, "no_such_key=1", true).await;
        assert_eq!(response.status(), 400, "{name}");
        let body: Value = serde_json::from_str(&received(response).await.0).expect("the error is JSON");
        assert!((spoken.error_message)(&body).is_some_and(|message| message.contains("no_such_key")), "{name}: {body}");
        mock.reset();
    }
}

#[tokio::test]
async fn errors_inside_aws_streams_are_exceptions_or_unmodelled() {
    let mock = mock().await;
    for path in ["bedrock", "anthropic on bedrock"] {
        let spoken = spoken().into_iter().find(|spoken| spoken.name == path).expect("it is in the table");
        let (body, _) = received_bytes(spoken.ask(&mock, "error_at=2; error_type=throttlingException", true).await).await;
        let (headers, payload) = messages(&body).pop().expect("there are messages");
        assert!(headers.contains("exception") && headers.contains("throttlingException"), "{headers}");
        assert!(payload.contains("\"message\""));
        let (body, _) = received_bytes(spoken.ask(&mock, "error_at=2; error_shape=error; error_message=Odd", true).await).await;
        let (headers, payload) = messages(&body).pop().expect("there are messages");
        assert!(headers.contains(":error-message") && headers.contains("Odd") && payload.is_empty());
    }
}

#[tokio::test]
async fn the_model_in_a_path_may_carry_behaviour_and_azure_says_what_its_filter_found() {
    let mock = mock().await;
    let url = format!("{}/v1beta/models/demo%3Ftext%3Dhi%26id%3Dg:streamGenerateContent?alt=sse&key=secret-7777", mock.url());
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}).to_string();
    let text = received(client().post(url).body(body).send().await.expect("the mock answers")).await.0;
    assert!(text.contains(r#"{"text":"hi"}"#) && text.contains(r#""modelVersion":"demo""#));
    assert!(mock.log("g")[0].path.ends_with("key=…7777"));

    let azure = spoken().into_iter().find(|spoken| spoken.name == "azure").expect("it is in the table");
    let text = received(azure.ask(&mock, "text=hi", true).await).await.0;
    assert!(text.starts_with("data: {\"choices\":[],") && text.contains("prompt_filter_results"));
}

#[tokio::test]
async fn what_a_provider_requires_is_required() {
    let mock = mock().await;
    for (path, body, message) in [
        ("/v1/messages", json!({"model": "m", "messages": []}), "max_tokens: Field required"),
        ("/v2/chat", json!({"messages": []}), "model is required"),
        ("/api/chat", json!({"model": "m"}), "list of messages"),
        ("/v1beta/models/m:generateContent", json!({}), "list of messages"),
        ("/model/m/converse", json!({}), "list of messages"),
    ] {
        let request = client().post(format!("{}{path}", mock.url())).body(body.to_string());
        let response = request.send().await.expect("the mock answers");
        assert_eq!(response.status(), 400, "{path}");
        let text = received(response).await.0;
        assert!(text.contains(message), "{path}: {text}");
    }
}
