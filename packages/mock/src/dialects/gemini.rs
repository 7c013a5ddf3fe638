//! Google's Gemini, on its own API and on Vertex AI: as SSE, or as one JSON array that grows.

use serde_json::{Value, json};

use super::{
    Ask, Dialect, Renderer, arguments_value, content_text, message_of, path_piece, played, quote, said, sse_error,
    stream_message_of,
};
use crate::behaviour::ErrorText;
use crate::reply::{Frames, Source};
use crate::script::{CITED_TITLE, CITED_URL, Event, Script, Usage};

pub(super) struct Gemini {
    pub framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Framing {
    Sse,
    Array,
}

impl Dialect for Gemini {
    fn ask(&self, target: &str, body: &Value) -> Result<Ask, String> {
        let model = path_piece(target, "/models/", &[":streamGenerateContent", ":generateContent"]);
        let said = said(&body["contents"], "parts", "model")?;
        let choices = body["generationConfig"]["candidateCount"].as_u64().and_then(|count| u32::try_from(count).ok());
        Ok(Ask {
            model: model.ok_or("The path names no model.")?,
            stream: target.contains(":streamGenerateContent"),
            choices: choices.unwrap_or(1),
            prompt_bytes: said.prompt_bytes + content_text(&body["systemInstruction"]["parts"]).len(),
            ..said
        })
    }

    fn content_type(&self, stream: bool) -> &'static str {
        if stream && self.framing == Framing::Sse { "text/event-stream" } else { "application/json; charset=UTF-8" }
    }

    fn source(&self, ask: &Ask, script: Script) -> Box<dyn Source> {
        let mut tail = b"}],\"usageMetadata\":".to_vec();
        let known = json!({"promptTokenCount": script.usage.prompt, "totalTokenCount": script.usage.prompt});
        tail.extend_from_slice(known.to_string().as_bytes());
        let versions = format!(",\"modelVersion\":{},\"responseId\":\"{:016x}\"}}", json!(ask.model), ask.fingerprint);
        tail.extend_from_slice(versions.as_bytes());
        played(Stream { framing: self.framing, begun: false, tail, versions }, script)
    }

    fn whole(&self, ask: &Ask, script: &Script) -> Value {
        let mut parts = Vec::new();
        if let Some(reasoning) = &script.reasoning {
            parts.push(json!({"text": reasoning, "thought": true}));
        }
        let text = script.whole_text() + script.refusal.as_deref().unwrap_or_default();
        if !text.is_empty() {
            parts.push(json!({"text": text}));
        }
        parts.extend((0..script.tools.len()).map(|index| call(script, index)));
        let candidates: Vec<Value> = (0..script.choices)
            .map(|index| {
                let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": index,
                    "finishReason": finish_reason(script)});
                if script.citations {
                    candidate["groundingMetadata"] = grounding();
                }
                candidate
            })
            .collect();
        json!({"candidates": candidates, "usageMetadata": usage(script.usage), "modelVersion": ask.model,
            "responseId": format!("{:016x}", ask.fingerprint)})
    }

    fn error_body(&self, status: u16, error: &ErrorText) -> Value {
        error_object(status, &message_of(status, error), error)
    }

    /// Google answers with the content type that the stream would have had.
    fn error_content_type(&self) -> &'static str {
        self.content_type(self.framing == Framing::Sse)
    }
}

fn error_object(status: u16, message: &str, error: &ErrorText) -> Value {
    let name = match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        402 | 405..=428 | 430..=499 => "FAILED_PRECONDITION",
        _ => "INTERNAL",
    };
    let name = error.kind.as_deref().or(error.code.as_deref()).unwrap_or(name);
    json!({"error": {"code": status, "message": message, "status": name}})
}

#[derive(Debug, Clone)]
struct Stream {
    framing: Framing,
    begun: bool,
    /// What stands behind the candidate of every chunk but the last.
    tail: Vec<u8>,
    versions: String,
}

impl Stream {
    fn begin(&mut self, out: &mut Frames) {
        let mark: &[u8] = match (self.framing, self.begun) {
            (Framing::Sse, _) => b"data: ",
            (Framing::Array, false) => b"[",
            (Framing::Array, true) => b",\r\n",
        };
        self.begun = true;
        out.bytes.extend_from_slice(mark);
    }

    fn end(&self, out: &mut Frames) {
        if self.framing == Framing::Sse {
            out.bytes.extend_from_slice(b"\r\n\r\n");
        }
        out.end_frame();
    }

    fn text(&mut self, choice: u32, thought: bool, piece: &str, out: &mut Frames) {
        self.begin(out);
        let bytes = &mut out.bytes;
        bytes.extend_from_slice(b"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":");
        quote(piece, bytes);
        bytes.extend_from_slice(if thought { b",\"thought\":true}]" } else { b"}]" });
        bytes.extend_from_slice(b",\"role\":\"model\"},\"index\":");
        super::number(choice.into(), bytes);
        bytes.extend_from_slice(&self.tail);
        self.end(out);
    }

    fn object(&mut self, candidate: &Value, usage: &Value, out: &mut Frames) {
        self.begin(out);
        let chunk = format!("{{\"candidates\":[{candidate}],\"usageMetadata\":{usage}{}", self.versions);
        out.bytes.extend_from_slice(chunk.as_bytes());
        self.end(out);
    }
}

impl Renderer for Stream {
    fn render(&mut self, event: Event<'_>, script: &Script, out: &mut Frames) {
        let known = || json!({"promptTokenCount": script.usage.prompt, "totalTokenCount": script.usage.prompt});
        match event {
            Event::Reasoning { choice, piece } => self.text(choice, true, piece, out),
            Event::Text { choice, piece } | Event::Refusal { choice, piece } => {
                self.text(choice, false, piece, out);
            }
            Event::Citation { choice } => {
                let candidate = json!({"content": {"parts": [{"text": ""}], "role": "model"}, "index": choice,
                    "groundingMetadata": grounding()});
                self.object(&candidate, &known(), out);
            }
            // A call always comes whole.
            Event::Tool { choice, index, .. } => {
                let candidate = json!({"content": {"parts": [call(script, index)], "role": "model"}, "index": choice});
                self.object(&candidate, &known(), out);
            }
            Event::Finish { choice } => {
                let candidate = json!({"content": {"parts": [{"text": ""}], "role": "model"},
                    "finishReason": finish_reason(script), "index": choice});
                self.object(&candidate, &usage(script.usage), out);
            }
            Event::Done if self.framing == Framing::Array => {
                if !self.begun {
                    out.bytes.push(b'[');
                }
                out.push(b"]\r\n");
            }
            Event::Start { .. } | Event::ToolPiece { .. } | Event::ToolEnd | Event::Usage | Event::Done => {}
        }
    }

    /// Google writes an error as bare lines into its SSE, and as one more element into its array.
    fn error(&mut self, error: &ErrorText, out: &mut Frames) {
        let object = error_object(503, stream_message_of(error), error);
        match self.framing {
            Framing::Sse => out.push(sse_error(error, &object, "bare").as_bytes()),
            Framing::Array => {
                self.begin(out);
                out.push(format!("{object:#}]\r\n").as_bytes());
            }
        }
    }

    fn ping(&self) -> &'static [u8] {
        match self.framing {
            Framing::Sse => b": ping\r\n\r\n",
            Framing::Array => b"\r\n",
        }
    }
}

fn call(script: &Script, index: usize) -> Value {
    let tool = &script.tools[index];
    let mut part = json!({"functionCall": {"name": tool.name, "args": arguments_value(&tool.arguments)}});
    if index == 0 && script.reasoning.is_some() {
        part["thoughtSignature"] = json!("bW9jay1zaWduYXR1cmU=");
    }
    part
}

/// Gemini has no word of its own for an end with calls.
fn finish_reason(script: &Script) -> &str {
    match script.finish.as_str() {
        _ if script.refusal.is_some() => "SAFETY",
        "stop" | "tool_calls" => "STOP",
        "length" => "MAX_TOKENS",
        "content_filter" => "SAFETY",
        other => other,
    }
}

fn usage(usage: Usage) -> Value {
    let mut counts = json!({"promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.completion.saturating_sub(usage.reasoning),
        "totalTokenCount": usage.prompt + usage.completion});
    if usage.reasoning > 0 {
        counts["thoughtsTokenCount"] = json!(usage.reasoning);
    }
    if usage.cached > 0 {
        counts["cachedContentTokenCount"] = json!(usage.cached);
    }
    counts
}

fn grounding() -> Value {
    json!({"groundingChunks": [{"web": {"uri": CITED_URL, "title": CITED_TITLE}}],
        "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 4, "text": "A li"}, "groundingChunkIndices": [0]}]})
}
