//! Anthropic's Messages: as SSE (its own API, Vertex's raw prediction, Foundry) and inside AWS event-stream chunks
//! (Bedrock's model invocation).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{
    Ask, Dialect, Renderer, arguments_value, bedrock, cut_in_half, eventstream, message_of, number, path_piece, played, quote,
    said, sse_error, stream_message_of,
};
use crate::behaviour::ErrorText;
use crate::reply::{Frames, Source};
use crate::script::{CITED_TITLE, CITED_URL, Event, Script, Usage};

pub(super) struct Anthropic {
    pub framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Framing {
    Sse,
    EventStream,
}

impl Dialect for Anthropic {
    fn ask(&self, target: &str, body: &Value) -> Result<Ask, String> {
        let in_path = path_piece(target, "/models/", &[":"]).or_else(|| path_piece(target, "/model/", &["/invoke"]));
        let model = in_path.or_else(|| body["model"].as_str().map(str::to_owned)).ok_or("model: Field required")?;
        if !body["max_tokens"].is_u64() {
            return Err("max_tokens: Field required".to_owned());
        }
        let streams = target.contains("invoke-with-response-stream") || target.contains(":streamRawPredict");
        Ok(Ask { model, stream: streams || body["stream"] == true, ..said(&body["messages"], "content", "assistant")? })
    }

    fn content_type(&self, stream: bool) -> &'static str {
        match (stream, self.framing) {
            (false, _) => "application/json",
            (true, Framing::Sse) => "text/event-stream; charset=utf-8",
            (true, Framing::EventStream) => eventstream::CONTENT_TYPE,
        }
    }

    fn source(&self, ask: &Ask, script: Script) -> Box<dyn Source> {
        let stream = Stream { framing: self.framing, id: message_id(ask), model: ask.model.clone(), next: 0, open: Open::None };
        played(stream, script)
    }

    fn whole(&self, ask: &Ask, script: &Script) -> Value {
        let mut content = Vec::new();
        if let Some(reasoning) = &script.reasoning {
            content.push(json!({"type": "thinking", "thinking": reasoning, "signature": SIGNATURE}));
        }
        let text = script.whole_text() + script.refusal.as_deref().unwrap_or_default();
        if !text.is_empty() {
            let mut block = json!({"type": "text", "text": text});
            if script.citations {
                block["citations"] = json!([citation()]);
            }
            content.push(block);
        }
        content.extend(script.tools.iter().enumerate().map(|(index, tool)| {
            json!({"type": "tool_use", "id": tool_id(index), "name": tool.name, "input": arguments_value(&tool.arguments)})
        }));
        json!({"id": message_id(ask), "type": "message", "role": "assistant", "model": ask.model, "content": content,
            "stop_reason": stop_reason(script), "stop_sequence": null, "usage": usage(script.usage)})
    }

    fn error_body(&self, status: u16, error: &ErrorText) -> Value {
        if self.framing == Framing::EventStream {
            return bedrock::error_body(status, error);
        }
        let kind = match status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            503 | 529 => "overloaded_error",
            _ => "api_error",
        };
        let kind = error.kind.as_deref().or(error.code.as_deref()).unwrap_or(kind);
        json!({"type": "error", "error": {"type": kind, "message": message_of(status, error)}})
    }

    fn error_header(&self, status: u16, error: &ErrorText) -> Option<(&'static str, String)> {
        (self.framing == Framing::EventStream).then(|| bedrock::error_header(status, error))
    }

    fn request_id_header(&self) -> &'static str {
        match self.framing {
            Framing::Sse => "request-id",
            Framing::EventStream => bedrock::REQUEST_ID,
        }
    }
}

const SIGNATURE: &str = "bW9jay1zaWduYXR1cmU=";

#[derive(Debug, Clone)]
struct Stream {
    framing: Framing,
    id: String,
    model: String,
    /// Index of the next content block.
    next: u64,
    open: Open,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    None,
    Thinking,
    Text,
    Tool,
}

impl Stream {
    /// One event: its JSON is written by `write`.
    fn event(&self, name: &str, out: &mut Frames, write: impl FnOnce(&mut Vec<u8>)) {
        match self.framing {
            Framing::Sse => {
                for part in ["event: ", name, "\ndata: "] {
                    out.bytes.extend_from_slice(part.as_bytes());
                }
                write(&mut out.bytes);
                out.bytes.extend_from_slice(b"\n\n");
                out.end_frame();
            }
            Framing::EventStream => {
                let mut event = Vec::with_capacity(256);
                write(&mut event);
                eventstream::event("chunk", out, |payload| {
                    payload.extend_from_slice(b"{\"bytes\":\"");
                    payload.extend_from_slice(BASE64_STANDARD.encode(event).as_bytes());
                    payload.extend_from_slice(b"\",\"p\":\"abcdefgh\"}");
                });
            }
        }
    }

    fn json_event(&self, name: &str, object: &Value, out: &mut Frames) {
        self.event(name, out, |bytes| {
            bytes.extend_from_slice(object.to_string().as_bytes());
        });
    }

    fn delta(&self, head: &[u8], piece: &str, out: &mut Frames) {
        self.event("content_block_delta", out, |bytes| {
            bytes.extend_from_slice(b"{\"type\":\"content_block_delta\",\"index\":");
            number(self.next - 1, bytes);
            bytes.extend_from_slice(b",\"delta\":{\"type\":");
            bytes.extend_from_slice(head);
            quote(piece, bytes);
            bytes.extend_from_slice(b"}}");
        });
    }

    /// Opens a block of that kind unless one is open; a tool call always opens its own.
    fn open(&mut self, kind: Open, block: &Value, out: &mut Frames) {
        if self.open == kind && kind != Open::Tool {
            return;
        }
        self.close(out);
        let index = self.next;
        self.json_event(
            "content_block_start",
            &json!({"type": "content_block_start", "index": index, "content_block": block}),
            out,
        );
        self.next += 1;
        self.open = kind;
    }

    fn close(&mut self, out: &mut Frames) {
        if self.open == Open::Thinking {
            self.delta(b"\"signature_delta\",\"signature\":", SIGNATURE, out);
        }
        if self.open != Open::None {
            let index = self.next - 1;
            self.json_event("content_block_stop", &json!({"type": "content_block_stop", "index": index}), out);
        }
        self.open = Open::None;
    }

    fn text(&mut self, piece: &str, out: &mut Frames) {
        if self.open != Open::Text {
            self.open(Open::Text, &json!({"type": "text", "text": ""}), out);
        }
        self.delta(b"\"text_delta\",\"text\":", piece, out);
    }
}

impl Renderer for Stream {
    fn render(&mut self, event: Event<'_>, script: &Script, out: &mut Frames) {
        match event {
            Event::Start { .. } => {
                let mut usage = usage(script.usage);
                usage["output_tokens"] = json!(1);
                let message = json!({"id": self.id, "type": "message", "role": "assistant", "model": self.model,
                    "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage});
                self.json_event("message_start", &json!({"type": "message_start", "message": message}), out);
            }
            Event::Reasoning { piece, .. } => {
                if self.open != Open::Thinking {
                    self.open(Open::Thinking, &json!({"type": "thinking", "thinking": "", "signature": ""}), out);
                }
                self.delta(b"\"thinking_delta\",\"thinking\":", piece, out);
            }
            Event::Text { piece, .. } | Event::Refusal { piece, .. } => self.text(piece, out),
            Event::Citation { .. } => {
                self.open(Open::Text, &json!({"type": "text", "text": ""}), out);
                let index = self.next - 1;
                let delta = json!({"type": "citations_delta", "citation": citation()});
                self.json_event(
                    "content_block_delta",
                    &json!({"type": "content_block_delta", "index": index, "delta": delta}),
                    out,
                );
            }
            Event::Tool { index, name, arguments, .. } => {
                let block = json!({"type": "tool_use", "id": tool_id(index), "name": name, "input": {}});
                self.open(Open::Tool, &block, out);
                self.delta(b"\"input_json_delta\",\"partial_json\":", arguments.unwrap_or_default(), out);
            }
            Event::ToolPiece { piece, .. } => {
                self.delta(b"\"input_json_delta\",\"partial_json\":", piece, out);
            }
            Event::Finish { .. } => {
                self.close(out);
                let delta = json!({"stop_reason": stop_reason(script), "stop_sequence": null});
                let event = json!({"type": "message_delta", "delta": delta, "usage": usage(script.usage)});
                self.json_event("message_delta", &event, out);
            }
            Event::ToolEnd | Event::Usage => {}
            Event::Done => self.json_event("message_stop", &json!({"type": "message_stop"}), out),
        }
    }

    fn error(&mut self, error: &ErrorText, out: &mut Frames) {
        if self.framing == Framing::EventStream {
            bedrock::stream_error(error, out);
            return;
        }
        let kind = error.kind.as_deref().or(error.code.as_deref()).unwrap_or("overloaded_error");
        let object = json!({"type": "error", "error": {"type": kind, "message": stream_message_of(error)}});
        out.push(sse_error(error, &object, "event").as_bytes());
    }

    fn ping(&self) -> &'static [u8] {
        match self.framing {
            Framing::Sse => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
            Framing::EventStream => b"",
        }
    }

    fn malform(&self, frame: &mut Vec<u8>) {
        match self.framing {
            Framing::Sse => cut_in_half(frame),
            Framing::EventStream => eventstream::corrupt(frame),
        }
    }
}

fn message_id(ask: &Ask) -> String {
    format!("msg_{:016x}", ask.fingerprint)
}

fn tool_id(index: usize) -> String {
    format!("toolu_mock_{index}")
}

fn stop_reason(script: &Script) -> &str {
    match script.finish.as_str() {
        _ if script.refusal.is_some() => "refusal",
        "stop" => "end_turn",
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        "content_filter" => "refusal",
        other => other,
    }
}

fn usage(usage: Usage) -> Value {
    json!({"input_tokens": usage.prompt.saturating_sub(usage.cached), "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached, "output_tokens": usage.completion})
}

fn citation() -> Value {
    json!({"type": "web_search_result_location", "url": CITED_URL, "title": CITED_TITLE, "cited_text": "A lighthouse keeper",
        "encrypted_index": "bW9jaw=="})
}
