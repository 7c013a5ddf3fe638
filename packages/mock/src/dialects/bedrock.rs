//! Bedrock's Converse and ConverseStream.

use serde_json::{Value, json};

use super::{
    Ask, Dialect, Renderer, arguments_value, eventstream, message_of, number, path_piece, played, quote, said, stream_message_of,
};
use crate::behaviour::ErrorText;
use crate::reply::{Frames, Source};
use crate::script::{CITED_TITLE, CITED_URL, Event, Script, Usage};

pub(super) struct Bedrock;

pub(super) const REQUEST_ID: &str = "x-amzn-requestid";

impl Dialect for Bedrock {
    fn ask(&self, target: &str, body: &Value) -> Result<Ask, String> {
        let model = path_piece(target, "/model/", &["/converse"]).ok_or("The path names no model.")?;
        let stream = target.contains("/converse-stream");
        Ok(Ask { model, stream, ..said(&body["messages"], "content", "assistant")? })
    }

    fn content_type(&self, stream: bool) -> &'static str {
        if stream { eventstream::CONTENT_TYPE } else { "application/json" }
    }

    fn source(&self, _ask: &Ask, script: Script) -> Box<dyn Source> {
        played(Stream { block: 0, open: Open::None }, script)
    }

    fn whole(&self, _ask: &Ask, script: &Script) -> Value {
        let mut content = Vec::new();
        if let Some(reasoning) = &script.reasoning {
            content.push(json!({"reasoningContent": {"reasoningText": {"text": reasoning, "signature": SIGNATURE}}}));
        }
        let text = script.whole_text() + script.refusal.as_deref().unwrap_or_default();
        if !text.is_empty() {
            content.push(if script.citations {
                json!({"citationsContent": {"content": [{"text": text}], "citations": [citation()]}})
            } else {
                json!({"text": text})
            });
        }
        content.extend(script.tools.iter().enumerate().map(|(index, tool)| {
            json!({"toolUse": {"toolUseId": tool_id(index), "name": tool.name, "input": arguments_value(&tool.arguments)}})
        }));
        json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop_reason(script),
            "usage": usage(script.usage), "metrics": {"latencyMs": 100}})
    }

    fn error_body(&self, status: u16, error: &ErrorText) -> Value {
        error_body(status, error)
    }

    fn error_header(&self, status: u16, error: &ErrorText) -> Option<(&'static str, String)> {
        Some(error_header(status, error))
    }

    fn request_id_header(&self) -> &'static str {
        REQUEST_ID
    }
}

pub(super) fn error_body(status: u16, error: &ErrorText) -> Value {
    json!({"message": message_of(status, error)})
}

/// AWS names an error in a header rather than in its body.
pub(super) fn error_header(status: u16, error: &ErrorText) -> (&'static str, String) {
    let kind = match status {
        403 | 401 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        400..=499 => "ValidationException",
        503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    };
    let kind = error.kind.as_deref().or(error.code.as_deref()).unwrap_or(kind);
    ("x-amzn-errortype", kind.to_owned())
}

/// An exception that the service model knows, or with the shape `error` one that it does not.
pub(super) fn stream_error(error: &ErrorText, out: &mut Frames) {
    let message = stream_message_of(error);
    let kind = error.kind.as_deref().or(error.code.as_deref());
    if error.shape.as_deref() == Some("error") {
        let kind = kind.unwrap_or("InternalFailure");
        let headers = [(":message-type", "error"), (":error-code", kind), (":error-message", message)];
        eventstream::message(&headers, out, |_| {});
        return;
    }
    let kind = kind.unwrap_or("modelStreamErrorException");
    let headers = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    let payload = json!({"message": message}).to_string();
    eventstream::message(&headers, out, |bytes| {
        bytes.extend_from_slice(payload.as_bytes());
    });
}

const SIGNATURE: &str = "bW9jay1zaWduYXR1cmU=";

#[derive(Debug, Clone)]
struct Stream {
    /// Index of the block that is open or comes next.
    block: u64,
    open: Open,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    None,
    Reasoning,
    Text,
    Tool,
}

impl Stream {
    fn event(name: &str, object: &Value, out: &mut Frames) {
        eventstream::event(name, out, |bytes| {
            bytes.extend_from_slice(object.to_string().as_bytes());
        });
    }

    fn delta(&self, head: &[u8], piece: &str, tail: &[u8], out: &mut Frames) {
        eventstream::event("contentBlockDelta", out, |bytes| {
            bytes.extend_from_slice(b"{\"contentBlockIndex\":");
            number(self.block, bytes);
            bytes.extend_from_slice(b",\"delta\":{");
            bytes.extend_from_slice(head);
            quote(piece, bytes);
            bytes.extend_from_slice(tail);
            bytes.extend_from_slice(b"},\"p\":\"abcdefgh\"}");
        });
    }

    /// Only tool calls announce their block.
    fn open(&mut self, kind: Open, out: &mut Frames) {
        if self.open != kind {
            self.close(out);
            self.open = kind;
        }
    }

    fn close(&mut self, out: &mut Frames) {
        if self.open == Open::Reasoning {
            self.delta(b"\"reasoningContent\":{\"signature\":", SIGNATURE, b"}", out);
        }
        if self.open != Open::None {
            Self::event("contentBlockStop", &json!({"contentBlockIndex": self.block, "p": "abcd"}), out);
            self.block += 1;
        }
        self.open = Open::None;
    }
}

impl Renderer for Stream {
    fn render(&mut self, event: Event<'_>, script: &Script, out: &mut Frames) {
        match event {
            Event::Start { .. } => Self::event("messageStart", &json!({"p": "abcdef", "role": "assistant"}), out),
            Event::Reasoning { piece, .. } => {
                self.open(Open::Reasoning, out);
                self.delta(b"\"reasoningContent\":{\"text\":", piece, b"}", out);
            }
            Event::Text { piece, .. } | Event::Refusal { piece, .. } => {
                self.open(Open::Text, out);
                self.delta(b"\"text\":", piece, b"", out);
            }
            Event::Citation { .. } => {
                self.open(Open::Text, out);
                let delta = json!({"contentBlockIndex": self.block, "delta": {"citation": citation()}});
                Self::event("contentBlockDelta", &delta, out);
            }
            Event::Tool { index, name, arguments, .. } => {
                self.close(out);
                let start = json!({"toolUse": {"toolUseId": tool_id(index), "name": name}});
                Self::event("contentBlockStart", &json!({"contentBlockIndex": self.block, "start": start}), out);
                self.open = Open::Tool;
                if let Some(arguments) = arguments {
                    self.delta(b"\"toolUse\":{\"input\":", arguments, b"}", out);
                }
            }
            Event::ToolPiece { piece, .. } => {
                self.delta(b"\"toolUse\":{\"input\":", piece, b"}", out);
            }
            Event::ToolEnd | Event::Done => {}
            Event::Finish { .. } => {
                self.close(out);
                Self::event("messageStop", &json!({"p": "abc", "stopReason": stop_reason(script)}), out);
            }
            // The proof that an answer is whole is messageStop and this: it goes with the final mark.
            Event::Usage if script.no_done => {}
            Event::Usage => {
                let metadata = json!({"metrics": {"latencyMs": 100}, "p": "abcdefg", "usage": usage(script.usage)});
                Self::event("metadata", &metadata, out);
            }
        }
    }

    fn error(&mut self, error: &ErrorText, out: &mut Frames) {
        stream_error(error, out);
    }

    fn ping(&self) -> &'static [u8] {
        b""
    }

    fn malform(&self, frame: &mut Vec<u8>) {
        eventstream::corrupt(frame);
    }
}

fn tool_id(index: usize) -> String {
    format!("tooluse_mock_{index}")
}

fn stop_reason(script: &Script) -> &str {
    match script.finish.as_str() {
        "stop" => "end_turn",
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        "content_filter" => "content_filtered",
        other => other,
    }
}

fn usage(usage: Usage) -> Value {
    json!({"inputTokens": usage.prompt.saturating_sub(usage.cached), "outputTokens": usage.completion,
        "totalTokens": usage.prompt + usage.completion, "cacheReadInputTokens": usage.cached, "cacheWriteInputTokens": 0})
}

fn citation() -> Value {
    json!({"title": CITED_TITLE, "sourceContent": [{"text": "A lighthouse keeper"}], "location": {"web": {"url": CITED_URL}}})
}
