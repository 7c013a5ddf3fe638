//! Cohere's chat, version 2.

use serde_json::{Value, json};

use super::{Ask, Dialect, Renderer, message_of, number, played, quote, said, sse_error, stream_message_of};
use crate::behaviour::ErrorText;
use crate::reply::{Frames, Source};
use crate::script::{CITED_TITLE, CITED_URL, Event, Script, Usage};

pub(super) struct Cohere;

impl Dialect for Cohere {
    fn ask(&self, _target: &str, body: &Value) -> Result<Ask, String> {
        let model = body["model"].as_str().ok_or("invalid request: model is required")?.to_owned();
        Ok(Ask { model, stream: body["stream"] == true, ..said(&body["messages"], "content", "assistant")? })
    }

    fn content_type(&self, stream: bool) -> &'static str {
        if stream { "text/event-stream" } else { "application/json" }
    }

    fn source(&self, ask: &Ask, script: Script) -> Box<dyn Source> {
        played(Stream { id: id(ask), next: 0, open: None, tools_open: 0 }, script)
    }

    fn whole(&self, ask: &Ask, script: &Script) -> Value {
        let mut content = Vec::new();
        if let Some(reasoning) = &script.reasoning {
            content.push(json!({"type": "thinking", "thinking": reasoning}));
        }
        let text = script.whole_text() + script.refusal.as_deref().unwrap_or_default();
        if !text.is_empty() {
            content.push(json!({"type": "text", "text": text}));
        }
        let mut message = json!({"role": "assistant", "content": content});
        if !script.tools.is_empty() {
            let calls = script.tools.iter().enumerate();
            message["tool_calls"] = calls.map(|(index, tool)| call(index, &tool.name, &tool.arguments)).collect();
        }
        if script.citations {
            message["citations"] = json!([citation()]);
        }
        json!({"id": id(ask), "message": message, "finish_reason": finish_reason(script), "usage": usage(script.usage)})
    }

    fn error_body(&self, status: u16, error: &ErrorText) -> Value {
        json!({"id": "00000000-0000-4000-8000-000000000000", "message": message_of(status, error)})
    }
}

#[derive(Debug, Clone)]
struct Stream {
    id: String,
    next: u64,
    /// The kind of the content block that is open.
    open: Option<&'static str>,
    /// How many calls have begun; the last is open until the next event of another kind.
    tools_open: usize,
}

impl Stream {
    fn event(kind: &str, mut fields: Value, out: &mut Frames) {
        fields["type"] = json!(kind);
        out.push(format!("event: {kind}\ndata: {fields}\n\n").as_bytes());
    }

    fn say(&mut self, kind: &'static str, piece: &str, out: &mut Frames) {
        self.open(kind, out);
        let bytes = &mut out.bytes;
        bytes.extend_from_slice(b"event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":");
        number(self.next - 1, bytes);
        bytes.extend_from_slice(b",\"delta\":{\"message\":{\"content\":{\"");
        bytes.extend_from_slice(kind.as_bytes());
        bytes.extend_from_slice(b"\":");
        quote(piece, bytes);
        bytes.extend_from_slice(b"}}}}\n\n");
        out.end_frame();
    }

    fn open(&mut self, kind: &'static str, out: &mut Frames) {
        if self.open == Some(kind) {
            return;
        }
        self.close(out);
        let content = json!({"type": kind, kind: ""});
        Self::event("content-start", json!({"index": self.next, "delta": {"message": {"content": content}}}), out);
        self.open = Some(kind);
        self.next += 1;
    }

    fn close(&mut self, out: &mut Frames) {
        if self.open.take().is_some() {
            Self::event("content-end", json!({"index": self.next - 1}), out);
        }
    }
}

impl Renderer for Stream {
    fn render(&mut self, event: Event<'_>, script: &Script, out: &mut Frames) {
        match event {
            Event::Start { .. } => {
                let message = json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
                Self::event("message-start", json!({"id": self.id, "delta": {"message": message}}), out);
            }
            Event::Reasoning { piece, .. } => self.say("thinking", piece, out),
            Event::Text { piece, .. } | Event::Refusal { piece, .. } => {
                self.say("text", piece, out);
            }
            Event::Citation { .. } => {
                self.open("text", out);
                let message = json!({"message": {"citations": citation()}});
                Self::event("citation-start", json!({"index": 0, "delta": message}), out);
                Self::event("citation-end", json!({"index": 0}), out);
            }
            Event::Tool { index, name, arguments, .. } => {
                self.close(out);
                let message = json!({"message": {"tool_calls": call(index, name, arguments.unwrap_or_default())}});
                Self::event("tool-call-start", json!({"index": index, "delta": message}), out);
                self.tools_open = index;
                if arguments.is_some() {
                    Self::event("tool-call-end", json!({"index": index}), out);
                }
            }
            Event::ToolPiece { index, piece, .. } => {
                let message = json!({"message": {"tool_calls": {"function": {"arguments": piece}}}});
                Self::event("tool-call-delta", json!({"index": index, "delta": message}), out);
            }
            Event::ToolEnd => Self::event("tool-call-end", json!({"index": self.tools_open}), out),
            Event::Finish { .. } => {
                self.close(out);
                let delta = json!({"finish_reason": finish_reason(script), "usage": usage(script.usage)});
                Self::event("message-end", json!({"delta": delta}), out);
            }
            Event::Usage => {}
            Event::Done => out.push(b"data: [DONE]\n\n"),
        }
    }

    /// Cohere ends the message with an error; the shapes of other hosts can be had, too.
    fn error(&mut self, error: &ErrorText, out: &mut Frames) {
        let message = stream_message_of(error);
        if error.shape.is_some() {
            out.push(sse_error(error, &json!({"message": message}), "data").as_bytes());
        } else {
            let reason = error.kind.as_deref().unwrap_or("ERROR");
            Self::event("message-end", json!({"delta": {"finish_reason": reason, "error": message}}), out);
        }
    }
}

fn id(ask: &Ask) -> String {
    format!("{:016x}", ask.fingerprint)
}

fn call(index: usize, name: &str, arguments: &str) -> Value {
    json!({"id": format!("{name}_mock_{index}"), "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn finish_reason(script: &Script) -> &str {
    match script.finish.as_str() {
        "stop" => "COMPLETE",
        "length" => "MAX_TOKENS",
        "tool_calls" => "TOOL_CALL",
        "content_filter" => "ERROR_TOXIC",
        other => other,
    }
}

fn usage(usage: Usage) -> Value {
    json!({"billed_units": {"input_tokens": usage.prompt, "output_tokens": usage.completion},
        "tokens": {"input_tokens": usage.prompt, "output_tokens": usage.completion, "reasoning_tokens": usage.reasoning},
        "cached_tokens": usage.cached})
}

fn citation() -> Value {
    json!({"start": 0, "end": 4, "text": "A li", "type": "TEXT_CONTENT", "content_index": 0,
        "sources": [{"type": "document", "id": "doc:0", "document": {"id": "doc:0", "title": CITED_TITLE, "url": CITED_URL}}]})
}
