//! Mistral's chat completions: OpenAI's, but for reasoning as a list of content parts, tool calls whole and together
//! with the finish reason and the usage, and a random padding. Only `dialect=mistral` tells it from OpenAI's path.

use serde_json::{Value, json};

use super::{Ask, Dialect, OPENAI, Renderer, message_of, played, quote, sse_error, stream_message_of};
use crate::behaviour::ErrorText;
use crate::reply::{Frames, Source};
use crate::script::{CITED_TITLE, CITED_URL, Event, Script, Usage};

pub(super) struct Mistral;

const CREATED: u64 = 1_700_000_000;

impl Dialect for Mistral {
    fn ask(&self, target: &str, body: &Value) -> Result<Ask, String> {
        OPENAI.ask(target, body)
    }

    fn content_type(&self, stream: bool) -> &'static str {
        OPENAI.content_type(stream)
    }

    fn source(&self, ask: &Ask, script: Script) -> Box<dyn Source> {
        let head = format!(
            "data: {{\"id\":\"{:016x}\",\"object\":\"chat.completion.chunk\",\"created\":{CREATED},\"model\":{},\"choices\":[{{\"index\":",
            ask.fingerprint,
            json!(ask.model)
        );
        played(Stream { head: head.into_bytes() }, script)
    }

    fn whole(&self, ask: &Ask, script: &Script) -> Value {
        let text = script.whole_text();
        let content = match &script.reasoning {
            Some(reasoning) => json!([thinking(reasoning), {"type": "text", "text": text}]),
            None => json!(text),
        };
        let mut message = json!({"role": "assistant", "content": content});
        if !script.tools.is_empty() {
            message["tool_calls"] = calls(script);
        }
        let choice = |index| json!({"index": index, "message": message, "finish_reason": script.finish});
        let choices: Vec<Value> = (0..script.choices).map(choice).collect();
        json!({"id": format!("{:016x}", ask.fingerprint), "object": "chat.completion", "created": CREATED,
            "model": ask.model, "choices": choices, "usage": usage(script.usage)})
    }

    fn error_body(&self, status: u16, error: &ErrorText) -> Value {
        let message = message_of(status, error);
        let kind = match status {
            401 => return json!({"detail": message}),
            422 => {
                return json!({"detail": [{"type": "extra_forbidden", "loc": ["body"], "msg": message}]});
            }
            429 => "rate_limited",
            400..=499 => "invalid_request_error",
            _ => "internal_server_error",
        };
        let kind = error.kind.as_deref().unwrap_or(kind);
        json!({"object": "error", "message": message, "type": kind, "param": null, "code": error.code})
    }
}

#[derive(Debug, Clone)]
struct Stream {
    head: Vec<u8>,
}

impl Stream {
    fn chunk(&self, choice: u32, tail: &str, out: &mut Frames, delta: impl FnOnce(&mut Vec<u8>)) {
        out.bytes.extend_from_slice(&self.head);
        super::number(choice.into(), &mut out.bytes);
        out.bytes.extend_from_slice(b",\"delta\":{");
        delta(&mut out.bytes);
        out.bytes.extend_from_slice(tail.as_bytes());
        out.bytes.extend_from_slice(b",\"p\":\"abcdefghijkl\"}\n\n");
        out.end_frame();
    }
}

/// Behind a delta that does not finish.
const OPEN: &str = "},\"finish_reason\":null}]";

impl Renderer for Stream {
    fn render(&mut self, event: Event<'_>, script: &Script, out: &mut Frames) {
        match event {
            Event::Start { choice } => self.chunk(choice, OPEN, out, |bytes| {
                bytes.extend_from_slice(b"\"role\":\"assistant\",\"content\":\"\"");
            }),
            Event::Reasoning { choice, piece } => self.chunk(choice, OPEN, out, |bytes| {
                bytes.extend_from_slice(format!("\"content\":[{}]", thinking(piece)).as_bytes());
            }),
            Event::Text { choice, piece } | Event::Refusal { choice, piece } => {
                self.chunk(choice, OPEN, out, |bytes| {
                    bytes.extend_from_slice(b"\"content\":");
                    quote(piece, bytes);
                });
            }
            Event::Citation { choice } => self.chunk(choice, OPEN, out, |bytes| {
                let reference = json!({"type": "tool_reference", "tool": "web_search", "title": CITED_TITLE, "url": CITED_URL});
                bytes.extend_from_slice(format!("\"content\":[{reference}]").as_bytes());
            }),
            Event::Finish { choice } => {
                let tail = format!("}},\"finish_reason\":{}}}],\"usage\":{}", json!(script.finish), usage(script.usage));
                self.chunk(choice, &tail, out, |bytes| {
                    let delta = if script.tools.is_empty() {
                        "\"content\":\"\"".to_owned()
                    } else {
                        format!("\"tool_calls\":{}", calls(script))
                    };
                    bytes.extend_from_slice(delta.as_bytes());
                });
            }
            Event::Tool { .. } | Event::ToolPiece { .. } | Event::ToolEnd | Event::Usage => {}
            Event::Done => out.push(b"data: [DONE]\n\n"),
        }
    }

    fn error(&mut self, error: &ErrorText, out: &mut Frames) {
        let kind = error.kind.as_deref().unwrap_or("internal_server_error");
        let object = json!({"object": "error", "message": stream_message_of(error), "type": kind, "code": error.code});
        out.push(sse_error(error, &object, "data").as_bytes());
    }
}

fn thinking(text: &str) -> Value {
    json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]})
}

/// Ids are nine letters and digits.
fn calls(script: &Script) -> Value {
    let calls = script.tools.iter().enumerate().map(|(index, tool)| {
        json!({"id": format!("mockcal{index:02}"), "type": "function", "index": index,
            "function": {"name": tool.name, "arguments": tool.arguments}})
    });
    calls.collect()
}

fn usage(usage: Usage) -> Value {
    json!({"prompt_tokens": usage.prompt, "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion, "prompt_tokens_details": {"cached_tokens": usage.cached}})
}
