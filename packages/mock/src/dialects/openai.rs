//! OpenAI's chat completions, which most hosts speak; Azure's marks on request.

use serde_json::{Value, json};

use super::{Ask, Dialect, Renderer, message_of, number, path_piece, played, quote, said, sse_error, stream_message_of};
use crate::behaviour::ErrorText;
use crate::reply::{Frames, Source};
use crate::script::{CITED_TITLE, CITED_URL, Event, Script, Usage};

/// The mock's clock stands still: the same request gives the same bytes.
const CREATED: u64 = 1_700_000_000;

pub(super) struct OpenAi {
    pub azure: bool,
}

impl Dialect for OpenAi {
    fn ask(&self, target: &str, body: &Value) -> Result<Ask, String> {
        // A deployment's path names the model, so that the body need not.
        let deployment = || path_piece(target, "/deployments/", &["/chat/"]);
        let model = body["model"].as_str().map(str::to_owned).or_else(deployment);
        Ok(Ask {
            model: model.ok_or("You must provide a model parameter.")?,
            stream: body["stream"] == true,
            include_usage: body["stream_options"]["include_usage"] == true,
            choices: body["n"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            ..said(&body["messages"], "content", "assistant")?
        })
    }

    fn content_type(&self, stream: bool) -> &'static str {
        if stream { "text/event-stream; charset=utf-8" } else { "application/json" }
    }

    fn source(&self, ask: &Ask, script: Script) -> Box<dyn Source> {
        played(Stream::new(ask, self.azure), script)
    }

    fn whole(&self, ask: &Ask, script: &Script) -> Value {
        let text = script.whole_text();
        let choices: Vec<Value> = (0..script.choices)
            .map(|index| {
                let content = if text.is_empty() && (!script.tools.is_empty() || script.refusal.is_some()) {
                    Value::Null
                } else {
                    json!(text)
                };
                let mut message = json!({"role": "assistant", "content": content, "refusal": script.refusal});
                if let Some(reasoning) = &script.reasoning {
                    message["reasoning_content"] = json!(reasoning);
                }
                if script.citations {
                    message["annotations"] = annotations();
                }
                if !script.tools.is_empty() {
                    message["tool_calls"] = script
                        .tools
                        .iter()
                        .enumerate()
                        .map(|(index, tool)| {
                            json!({"id": call_id(index), "type": "function",
                            "function": {"name": tool.name, "arguments": tool.arguments}})
                        })
                        .collect();
                }
                let finish = (!script.no_finish).then_some(&script.finish);
                json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish})
            })
            .collect();
        json!({"id": format!("chatcmpl-{:016x}", ask.fingerprint), "object": "chat.completion", "created": CREATED,
            "model": ask.model, "system_fingerprint": "fp_mock", "choices": choices, "usage": usage(script.usage)})
    }

    fn error_body(&self, status: u16, error: &ErrorText) -> Value {
        let (kind, code) = match status {
            401 => ("invalid_request_error", Some("invalid_api_key")),
            403 => ("invalid_request_error", Some("permission_denied")),
            404 => ("invalid_request_error", Some("model_not_found")),
            429 => ("requests", Some("rate_limit_exceeded")),
            400..=499 => ("invalid_request_error", None),
            _ => ("server_error", None),
        };
        if self.azure {
            let code = error.code.clone().unwrap_or_else(|| status.to_string());
            return json!({"error": {"code": code, "message": message_of(status, error)}});
        }
        json!({"error": {"message": message_of(status, error), "type": error.kind.as_deref().unwrap_or(kind),
            "param": null, "code": error.code.as_deref().or(code)}})
    }
}

/// What Azure says first: what its filter made of the prompt, with everything else empty.
const AZURE_OPENING: &[u8] = b"data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\
    \"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"}}}]}\n\n";

#[derive(Debug, Clone)]
struct Stream {
    include_usage: bool,
    azure: bool,
    begun: bool,
    /// Everything before the choices, the same in every chunk.
    head: Vec<u8>,
    /// Everything behind them.
    tail: &'static [u8],
}

impl Stream {
    fn new(ask: &Ask, azure: bool) -> Self {
        let mut head = format!(
            "data: {{\"id\":\"chatcmpl-{:016x}\",\"object\":\"chat.completion.chunk\",\"created\":{CREATED},\"model\":",
            ask.fingerprint
        )
        .into_bytes();
        quote(&ask.model, &mut head);
        head.extend_from_slice(b",\"system_fingerprint\":\"fp_mock\",\"choices\":[");
        let tail: &[u8] = if ask.include_usage { b"],\"usage\":null}\n\n" } else { b"]}\n\n" };
        Self { include_usage: ask.include_usage, azure, begun: false, head, tail }
    }

    fn chunk(&self, choice: u32, out: &mut Frames, finish: Option<&str>, delta: impl FnOnce(&mut Vec<u8>)) {
        let bytes = &mut out.bytes;
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(b"{\"index\":");
        number(choice.into(), bytes);
        bytes.extend_from_slice(b",\"delta\":{");
        delta(bytes);
        bytes.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
        match finish {
            Some(reason) => quote(reason, bytes),
            None => bytes.extend_from_slice(b"null"),
        }
        if self.azure {
            bytes.extend_from_slice(b",\"content_filter_results\":{}");
        }
        bytes.push(b'}');
        bytes.extend_from_slice(self.tail);
        out.end_frame();
    }

    fn start(&self, choice: u32, script: &Script, out: &mut Frames) {
        self.chunk(choice, out, None, |bytes| {
            let content: &[u8] = if script.tools.is_empty() { b"\"\"" } else { b"null" };
            bytes.extend_from_slice(b"\"role\":\"assistant\",\"content\":");
            bytes.extend_from_slice(content);
            bytes.extend_from_slice(b",\"refusal\":null");
        });
    }

    fn said(&self, choice: u32, field: &str, piece: &str, out: &mut Frames) {
        self.chunk(choice, out, None, |bytes| {
            bytes.extend_from_slice(field.as_bytes());
            quote(piece, bytes);
        });
    }
}

impl Renderer for Stream {
    fn render(&mut self, event: Event<'_>, script: &Script, out: &mut Frames) {
        match event {
            Event::Start { choice } => {
                if self.azure && !std::mem::replace(&mut self.begun, true) {
                    out.push(AZURE_OPENING);
                }
                self.start(choice, script, out);
            }
            Event::Reasoning { choice, piece } => {
                self.said(choice, "\"reasoning_content\":", piece, out);
            }
            Event::Text { choice, piece } => self.said(choice, "\"content\":", piece, out),
            Event::Refusal { choice, piece } => self.said(choice, "\"refusal\":", piece, out),
            Event::Citation { choice } => self.chunk(choice, out, None, |bytes| {
                let annotations = format!("\"annotations\":{}", annotations());
                bytes.extend_from_slice(annotations.as_bytes());
            }),
            Event::Tool { choice, index, name, arguments } => {
                let call = json!({"index": index, "id": call_id(index), "type": "function",
                    "function": {"name": name, "arguments": arguments.unwrap_or_default()}});
                self.chunk(choice, out, None, |bytes| {
                    bytes.extend_from_slice(format!("\"tool_calls\":[{call}]").as_bytes());
                });
            }
            Event::ToolPiece { choice, index, piece } => self.chunk(choice, out, None, |bytes| {
                bytes.extend_from_slice(b"\"tool_calls\":[{\"index\":");
                number(index as u64, bytes);
                bytes.extend_from_slice(b",\"function\":{\"arguments\":");
                quote(piece, bytes);
                bytes.extend_from_slice(b"}}]");
            }),
            Event::ToolEnd => {}
            Event::Finish { choice } => self.chunk(choice, out, Some(&script.finish), |_| {}),
            Event::Usage => {
                if self.include_usage {
                    out.bytes.extend_from_slice(&self.head);
                    let tail = format!("],\"usage\":{}}}\n\n", usage(script.usage));
                    out.bytes.extend_from_slice(tail.as_bytes());
                    out.end_frame();
                }
            }
            Event::Done => out.push(b"data: [DONE]\n\n"),
        }
    }

    /// The shapes that hosts of this dialect have been seen to use.
    fn error(&mut self, error: &ErrorText, out: &mut Frames) {
        let message = stream_message_of(error);
        let kind = error.kind.as_deref().unwrap_or("server_error");
        let object = json!({"error": {"message": message, "type": kind, "param": null, "code": error.code}});
        let frame = match error.shape.as_deref() {
            Some("object") => {
                let object = json!({"object": "error", "message": message, "type": kind, "code": error.code});
                format!("data: {object}\n\n")
            }
            Some("choice") => {
                let mut frame = String::from_utf8_lossy(&self.head).into_owned();
                frame.push_str("{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}],");
                frame + &object.to_string()[1..] + "\n\n"
            }
            _ => sse_error(error, &object, "data"),
        };
        out.push(frame.as_bytes());
    }
}

pub(crate) fn models() -> Value {
    let model = |id: &str| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "mock"});
    json!({"object": "list", "data": [model("demo"), model("mock-large"), model("mock-small")]})
}

fn usage(usage: Usage) -> Value {
    json!({"prompt_tokens": usage.prompt, "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}})
}

fn annotations() -> Value {
    json!([{"type": "url_citation",
        "url_citation": {"start_index": 0, "end_index": 4, "url": CITED_URL, "title": CITED_TITLE}}])
}

fn call_id(index: usize) -> String {
    format!("call_mock_{index}")
}
