//! The OpenAI dialect, as OpenAI speaks it and as a hundred hosts and gateways do.
//!
//! It is one tolerant dialect: every odd shape is read whatever host it is said to come from, since gateways relay them.

mod body;
mod halves;
mod template;
mod wire;

use std::borrow::Cow;

use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::Value;

use super::failure::{self, Failure};
use super::{Call, Outgoing, Provider, Translator, json_body, json_headers, key_header};
use crate::auth::Auth;
use crate::decode::{Event, EventKind};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Emitter, ToolPiece};
use crate::types::{ChatCompletion, ChunkChoice, Delta, FinishReason, Str, ThinkingBlock, Usage};
pub(super) use body::Body;
pub(super) use halves::mend;
use halves::{Half, Mended};
use template::Template;
use wire::{Loose, WireChoice, WireChunk, WireDelta, WireToolCall};

#[derive(Debug)]
pub(crate) struct OpenAi;

impl Provider for OpenAi {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let mut headers = json_headers();
        if let Some(key) = &call.target.key {
            key_header(&mut headers, AUTHORIZATION, "Bearer ", key)?;
        }
        for (name, value) in &call.target.host.quirks.extra_headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                headers.insert(name, value);
            }
        }
        Ok(Outgoing {
            url: format!("{}/chat/completions", call.target.base_url),
            headers,
            body: json_body(&Body::new(call)?),
            auth: Auth::Ready,
        })
    }

    fn translator(&self, call: &Call<'_>) -> Box<dyn Translator> {
        let quirks = &call.target.host.quirks;
        Box::new(ChunkReader::new(quirks.reasoning_excluded_from_completion, quirks.lenient_end))
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        let value: Value = serde_json::from_str(body).map_err(|_| failure::not_an_answer(body))?;
        if let Some(failure) = Failure::read(&value) {
            return Err(failure.inside_stream(body));
        }
        if value.get("choices").is_none_or(|choices| !choices.is_array()) {
            return Err(failure::not_an_answer(body));
        }
        // A whole answer goes the way of a stream of one event, so that both mean the same.
        let mut out = Emitter::new(call.target.model.clone(), 1, true);
        let mut reader = ChunkReader::new(call.target.host.quirks.reasoning_excluded_from_completion, false);
        reader.whole(body, &mut out)?;
        out.close();
        Ok(out.answer().to_completion())
    }
}

/// Reads a stream of chunks.
#[derive(Debug)]
struct ChunkReader {
    reasoning_excluded: bool,
    lenient_end: bool,
    template: Template,
    /// What a chunk ended with, if that was half an emoji.
    half: Option<Half>,
}

impl Translator for ChunkReader {
    fn event(&mut self, event: &Event<'_>, out: &mut Emitter) -> Result<()> {
        let data = event.data.trim_ascii();
        if data.is_empty() {
            return Ok(());
        }
        if data == "[DONE]" {
            self.let_half_alone(out);
            out.done();
            return Ok(());
        }
        if event.name == "error" {
            return Err(read_error(data));
        }
        match self.chunk(data, out) {
            Err(_) if event.kind == EventKind::Unterminated => Ok(()),
            Err(error) if event.kind == EventKind::Stray && error.kind() == ErrorKind::Protocol => {
                Err(failure::not_an_answer(data))
            }
            result => result,
        }
    }

    fn end(&mut self, out: &mut Emitter) -> Result<()> {
        self.let_half_alone(out);
        if self.lenient_end && out.has_begun() {
            out.prove();
        }
        Ok(())
    }
}

impl ChunkReader {
    fn new(reasoning_excluded: bool, lenient_end: bool) -> Self {
        Self { reasoning_excluded, lenient_end, template: Template::default(), half: None }
    }

    fn chunk(&mut self, data: &str, out: &mut Emitter) -> Result<()> {
        if self.half.is_none() && self.template.say(data, out) {
            return Ok(());
        }
        self.template.forget();
        match serde_json::from_str(data) {
            Ok(chunk) => self.parsed(chunk, data, &Mended::default(), out),
            Err(error) => {
                let Some(mended) = mend(data) else { return Err(malformed(data, error)) };
                let chunk = serde_json::from_str(&mended.json).map_err(|error| malformed(data, error))?;
                self.parsed(chunk, &mended.json, &mended, out)
            }
        }
    }

    fn parsed(&mut self, chunk: WireChunk<'_>, data: &str, mended: &Mended, out: &mut Emitter) -> Result<()> {
        if chunk.is_error() {
            // What came with it still belongs to the partial answer.
            self.read(chunk, mended, out)?;
            return Err(read_error(data));
        }
        if chunk.choices.iter().any(|choice| choice.delta.is_none() && choice.message.is_some()) {
            return self.whole(data, out);
        }
        self.template.learn(data, &chunk);
        self.read(chunk, mended, out)
    }

    /// A whole answer where a chunk was expected, or as the answer of a call without a stream.
    fn whole(&mut self, data: &str, out: &mut Emitter) -> Result<()> {
        let mut chunk: WireChunk<'_> = serde_json::from_str(data).map_err(|error| malformed(data, error))?;
        for choice in &mut chunk.choices {
            choice.delta = choice.delta.take().or_else(|| choice.message.take().map(|message| *message));
        }
        let choices = chunk.choices.len();
        self.read(chunk, &Mended::default(), out)?;
        if choices > 0 {
            out.done();
        }
        Ok(())
    }

    fn read(&mut self, chunk: WireChunk<'_>, mended: &Mended, out: &mut Emitter) -> Result<()> {
        out.identify(chunk.id.as_str(), chunk.model.as_str(), chunk.created);
        out.system_fingerprint(chunk.system_fingerprint.as_str());
        out.service_tier(chunk.service_tier.as_str());
        let usage = chunk.usage.map(|usage| *usage).or_else(|| chunk.extra.get("x_groq")?.get("usage").cloned());
        if let Some(usage) = usage.and_then(Usage::from_loose) {
            out.usage(self.whole_count(usage));
        }
        out.extra(chunk.extra);
        for (at, choice) in chunk.choices.into_iter().enumerate() {
            self.read_choice(choice, u32::try_from(at).unwrap_or(0), mended, out)?;
        }
        Ok(())
    }

    fn read_choice(&mut self, choice: WireChoice<'_>, at: u32, mended: &Mended, out: &mut Emitter) -> Result<()> {
        let index = choice.index.unwrap_or(at);
        out.begin(index);
        let mut thinking = None;
        let mut delta = choice.delta.map(|wire| read_delta(wire, index, &mut thinking, out)).unwrap_or_default();
        let native = choice.native_finish_reason.into_text();
        let reason = choice.finish_reason.into_text().filter(|reason| !reason.is_empty());
        self.half = self.half.take().and_then(|half| half.join(&mut delta, index, mended, out));
        if reason.is_some() {
            if self.half.as_ref().is_some_and(|half| half.choice == index) {
                self.let_half_alone(out);
            }
        } else if let Some(half) = Half::of(&mut delta, index, mended) {
            self.let_half_alone(out);
            self.half = Some(half);
        }
        out.reasoning(index, &thinking.unwrap_or_default());
        out.add(ChunkChoice { index, delta, logprobs: choice.logprobs, extra: choice.extra, ..ChunkChoice::default() });
        let Some(reason) = reason else { return Ok(()) };
        if reason == "error" {
            return Err(Error::new(ErrorKind::Server, "the provider ended the answer with an error")
                .with_code(native.map(Cow::into_owned)));
        }
        let mapped = finish_reason(&reason);
        let native = native.map(Cow::into_owned).or_else(|| (mapped != *reason).then(|| reason.into_owned()));
        out.finish(index, mapped, native.map(Str::from));
        Ok(())
    }

    /// The other half of an emoji does not come any more.
    fn let_half_alone(&mut self, out: &mut Emitter) {
        if let Some(half) = self.half.take() {
            half.stay_alone(out);
        }
    }

    /// Adds the reasoning to the completion where the host leaves it out.
    fn whole_count(&self, mut usage: Usage) -> Usage {
        let reasoning = usage.completion_tokens_details.as_ref().and_then(|details| details.reasoning_tokens).unwrap_or(0);
        let left_out = usage.total_tokens == usage.prompt_tokens + usage.completion_tokens + reasoning;
        if self.reasoning_excluded && reasoning > 0 && left_out {
            usage.completion_tokens += reasoning;
        }
        usage
    }
}

/// OpenAI's word for a finish reason; what is not known passes through.
fn finish_reason(native: &str) -> FinishReason {
    match native {
        "eos" | "eos_token" | "end_turn" | "stop_sequence" => FinishReason::STOP,
        "model_length" | "max_tokens" => FinishReason::LENGTH,
        "sensitive" => FinishReason::CONTENT_FILTER,
        other => FinishReason::from(other),
    }
}

fn read_delta(wire: WireDelta<'_>, choice: u32, reasoning_in_content: &mut Option<String>, out: &mut Emitter) -> Delta {
    let mut delta = Delta { extra: wire.extra, ..Delta::default() };
    match wire.content {
        Loose::Absent => {}
        Loose::Text(text) => delta.content = Some(text.into_owned()),
        Loose::Other(parts) => read_parts(&parts, &mut delta, reasoning_in_content),
    }
    delta.refusal = wire.refusal.into_text().map(Cow::into_owned);
    let details = wire.reasoning_details.unwrap_or_default();
    delta.reasoning_content = [wire.reasoning_content, wire.reasoning]
        .into_iter()
        .find_map(|reasoning| reasoning.into_text().filter(|text| !text.is_empty()))
        .map(Cow::into_owned)
        .or_else(|| details_text(&details));
    delta.reasoning_details = details;
    delta.annotations = wire.annotations;
    delta.audio = wire.audio;
    delta.function_call = wire.function_call;
    for call in wire.tool_calls {
        let WireToolCall { index, id, name, arguments, extra } = call;
        let arguments = match arguments {
            Loose::Absent => Cow::Borrowed(""),
            Loose::Text(text) => text,
            Loose::Other(value) => Cow::Owned(value.to_string()),
        };
        let piece = ToolPiece { index, id: id.as_str(), name: name.as_str(), arguments: &arguments };
        if let Some(mut call) = out.tool_piece(choice, piece) {
            call.extra = extra;
            delta.tool_calls.push(call);
        }
    }
    delta
}

/// Content as a list of parts: text, thinking (Mistral), references.
fn read_parts(parts: &Value, delta: &mut Delta, reasoning: &mut Option<String>) {
    let text_of = |part: &Value| part.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    for part in parts.as_array().map(Vec::as_slice).unwrap_or_default() {
        match part.get("type").and_then(Value::as_str) {
            Some("text") => delta.content.get_or_insert_default().push_str(&text_of(part)),
            Some("thinking") => {
                let thinking = match part.get("thinking") {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Array(parts)) => parts.iter().map(text_of).collect(),
                    _ => String::new(),
                };
                if let Some(signature) = part.get("signature").and_then(Value::as_str) {
                    delta.thinking_blocks.push(ThinkingBlock {
                        kind: Str::from_static("thinking"),
                        thinking: Some(thinking.clone()),
                        signature: Some(signature.to_owned()),
                        ..ThinkingBlock::default()
                    });
                }
                reasoning.get_or_insert_default().push_str(&thinking);
            }
            _ => {
                let carried = delta.extra.remove("content_parts");
                let mut list = match carried {
                    Some(Value::Array(list)) => list,
                    _ => Vec::new(),
                };
                list.push(part.clone());
                delta.extra.insert("content_parts", Value::Array(list));
            }
        }
    }
}

fn details_text(details: &[Value]) -> Option<String> {
    let text: String = details
        .iter()
        .filter_map(|detail| detail.get("text").or_else(|| detail.get("summary")).and_then(Value::as_str))
        .collect();
    (!text.is_empty()).then_some(text)
}

fn read_error(data: &str) -> Error {
    match serde_json::from_str::<Value>(data) {
        Ok(value) => match Failure::read(&value) {
            Some(failure) => failure.inside_stream(data),
            None => Failure { message: value.to_string(), ..Failure::default() }.inside_stream(data),
        },
        Err(_) => Failure { message: data.to_owned(), ..Failure::default() }.inside_stream(data),
    }
}

fn malformed(data: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Protocol, format!("the provider sent a chunk that is no JSON of its format ({error})"))
        .with_body(data)
        .with_source(error)
}
