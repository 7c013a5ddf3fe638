//! Ollama's native chat: a JSON object a line, streamed unless the request says otherwise.

use serde_json::{Value, json};

use super::{Ask, Dialect, Renderer, arguments_value, message_of, played, quote, said, stream_message_of};
use crate::behaviour::ErrorText;
use crate::reply::{Frames, Source};
use crate::script::{Event, Script};

pub(super) struct Ollama;

const CREATED: &str = "2023-11-14T22:13:20Z";

impl Dialect for Ollama {
    fn ask(&self, _target: &str, body: &Value) -> Result<Ask, String> {
        let model = body["model"].as_str().ok_or("model is required")?.to_owned();
        Ok(Ask { model, stream: body["stream"] != false, ..said(&body["messages"], "content", "assistant")? })
    }

    fn content_type(&self, stream: bool) -> &'static str {
        if stream { "application/x-ndjson" } else { "application/json; charset=utf-8" }
    }

    fn source(&self, ask: &Ask, script: Script) -> Box<dyn Source> {
        let head = format!(
            "{{\"model\":{},\"created_at\":\"{CREATED}\",\"message\":{{\"role\":\"assistant\",\"content\":",
            json!(ask.model)
        );
        played(Stream { head: head.into_bytes(), model: ask.model.clone() }, script)
    }

    fn whole(&self, ask: &Ask, script: &Script) -> Value {
        let text = script.whole_text() + script.refusal.as_deref().unwrap_or_default();
        let mut message = json!({"role": "assistant", "content": text});
        if let Some(reasoning) = &script.reasoning {
            message["thinking"] = json!(reasoning);
        }
        if !script.tools.is_empty() {
            message["tool_calls"] = (0..script.tools.len()).map(|index| call(script, index)).collect();
        }
        last(&ask.model, &message, script)
    }

    fn error_body(&self, status: u16, error: &ErrorText) -> Value {
        json!({"error": message_of(status, error)})
    }
}

#[derive(Debug, Clone)]
struct Stream {
    head: Vec<u8>,
    model: String,
}

impl Stream {
    fn line(&self, content: &str, more: &[u8], out: &mut Frames, write: impl FnOnce(&mut Vec<u8>)) {
        out.bytes.extend_from_slice(&self.head);
        quote(content, &mut out.bytes);
        out.bytes.extend_from_slice(more);
        write(&mut out.bytes);
        out.bytes.extend_from_slice(b"},\"done\":false}\n");
        out.end_frame();
    }
}

impl Renderer for Stream {
    fn render(&mut self, event: Event<'_>, script: &Script, out: &mut Frames) {
        match event {
            Event::Reasoning { piece, .. } => {
                self.line("", b",\"thinking\":", out, |bytes| quote(piece, bytes));
            }
            Event::Text { piece, .. } | Event::Refusal { piece, .. } => {
                self.line(piece, b"", out, |_| {});
            }
            // A call always comes whole.
            Event::Tool { index, .. } => {
                let calls = json!([call(script, index)]).to_string();
                self.line("", b",\"tool_calls\":", out, |bytes| {
                    bytes.extend_from_slice(calls.as_bytes());
                });
            }
            Event::Finish { .. } => {
                let line = last(&self.model, &json!({"role": "assistant", "content": ""}), script);
                out.push(format!("{line}\n").as_bytes());
            }
            Event::Start { .. }
            | Event::Citation { .. }
            | Event::ToolPiece { .. }
            | Event::ToolEnd
            | Event::Usage
            | Event::Done => {}
        }
    }

    fn error(&mut self, error: &ErrorText, out: &mut Frames) {
        let line = match error.shape.as_deref() {
            Some("object") => {
                json!({"error": {"message": stream_message_of(error), "type": error.kind, "code": error.code}})
            }
            _ => json!({"error": stream_message_of(error)}),
        };
        out.push(format!("{line}\n").as_bytes());
    }

    fn ping(&self) -> &'static [u8] {
        b"\n"
    }
}

fn call(script: &Script, index: usize) -> Value {
    let tool = &script.tools[index];
    json!({"id": format!("call_mock_{index}"),
        "function": {"index": index, "name": tool.name, "arguments": arguments_value(&tool.arguments)}})
}

fn last(model: &str, message: &Value, script: &Script) -> Value {
    let reason = if script.finish == "tool_calls" { "stop" } else { &script.finish };
    json!({"model": model, "created_at": CREATED, "message": message, "done": true, "done_reason": reason,
        "total_duration": 1_000_000, "load_duration": 1000, "prompt_eval_count": script.usage.prompt,
        "prompt_eval_duration": 1000, "eval_count": script.usage.completion, "eval_duration": 900_000})
}
