//! Reads Cohere's events, and its whole answers, which are made of the same pieces.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::decode::{Event, EventKind};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Translator;
use crate::providers::failure::{Failure, not_an_answer};
use crate::providers::loose::{Count, List, Text};
use crate::providers::openai::mend;
use crate::providers::pattern::{Filling, Hole, Pattern};
use crate::stream::{Emitter, ToolPiece};
use crate::types::{Annotation, Delta, Extra, FinishReason, Str, UrlCitation, Usage};

#[derive(Debug, Default)]
pub(super) struct EventReader {
    /// What the last event's text was, if the next one may be like it.
    alike: Option<Piece>,
    pattern: Pattern,
}

/// What a text adds to.
#[derive(Debug, Clone, Copy)]
enum Piece {
    Text,
    Thinking,
    /// Of the call with this number.
    Arguments(Option<u32>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    index: Option<u32>,
    #[serde(borrow)]
    delta: Option<Part<'a>>,
}

/// What an event adds, and what a whole answer is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Text<'a>,
    #[serde(borrow)]
    error: Text<'a>,
    usage: Option<Counts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    content: List<Content<'a>>,
    #[serde(borrow)]
    tool_plan: Text<'a>,
    #[serde(borrow)]
    tool_calls: List<ToolCall<'a>>,
    citations: List<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    thinking: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolCall<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    tokens: Option<Tokens>,
    billed_units: Option<Tokens>,
    cached_tokens: Option<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_field_names)]
struct Tokens {
    input_tokens: Option<Count>,
    output_tokens: Option<Count>,
    reasoning_tokens: Option<Count>,
}

impl Translator for EventReader {
    fn event(&mut self, event: &Event<'_>, out: &mut Emitter) -> Result<()> {
        let data = event.data.trim_ascii();
        if data.is_empty() {
            return Ok(());
        }
        if data == "[DONE]" {
            // Without an end of the message before it, it proves nothing.
            if out.is_proven() {
                out.done();
            }
            return Ok(());
        }
        match self.read(data, out) {
            Err(error) if error.kind() == ErrorKind::Protocol && event.kind == EventKind::Unterminated => Ok(()),
            Err(error) if error.kind() == ErrorKind::Protocol && event.kind == EventKind::Stray => Err(not_an_answer(data)),
            result => result,
        }
    }
}

impl EventReader {
    fn read(&mut self, data: &str, out: &mut Emitter) -> Result<()> {
        if self.say_alike(data, out) {
            return Ok(());
        }
        let wire: Wire<'_> = match serde_json::from_str(data) {
            Ok(wire) => wire,
            Err(error) => match mend(data) {
                Some(mended) => return self.read(&mended.json, out),
                None => return Err(malformed(data, error)),
            },
        };
        self.learn(data, &wire);
        if wire.kind.is_empty() {
            return whole(data, out);
        }
        if &*wire.kind == "message-start" {
            out.identify(&wire.id, "", 0);
            out.begin(0);
        }
        match wire.delta {
            Some(part) => add(part, wire.index, data, out),
            None => Ok(()),
        }
    }

    /// Says what an event says that differs from the last one in its text alone; otherwise `false`, and nothing was said.
    fn say_alike(&self, data: &str, out: &mut Emitter) -> bool {
        let Some(piece) = self.alike else { return false };
        let Some(Filling { text, .. }) = self.pattern.filling(data) else { return false };
        match piece {
            Piece::Text => out.text(0, &text),
            Piece::Thinking => out.reasoning(0, &text),
            Piece::Arguments(index) => out.tool(0, ToolPiece { index, arguments: &text, ..ToolPiece::default() }),
        }
        true
    }

    /// Keeps an event whose one meaning is a piece of text as the pattern of those to come.
    fn learn(&mut self, data: &str, wire: &Wire<'_>) {
        self.alike = None;
        let Some((piece, Text(Cow::Borrowed(text)))) = wire.piece() else { return };
        if self.pattern.learn(data, &[(Hole::Text, text)]) {
            self.alike = Some(piece);
        }
    }
}

impl<'a> Wire<'a> {
    /// The one text that an event says, if it says nothing else.
    fn piece(&self) -> Option<(Piece, &Text<'a>)> {
        let Part { message: Some(message), finish_reason, error, usage: None } = self.delta.as_ref()? else { return None };
        let Message { content: List(content), tool_plan, tool_calls: List(calls), citations: List(citations) } = message;
        let says_more = !(finish_reason.is_empty() && error.is_empty() && tool_plan.is_empty() && citations.is_empty());
        if says_more || matches!(&*self.kind, "" | "message-start") {
            return None;
        }
        match (content.as_slice(), calls.as_slice()) {
            ([Content { text, thinking }], []) if thinking.is_empty() && !text.is_empty() => Some((Piece::Text, text)),
            ([Content { text, thinking }], []) if text.is_empty() && !thinking.is_empty() => Some((Piece::Thinking, thinking)),
            ([], [ToolCall { id, function: Some(Function { name, arguments }) }]) if id.is_empty() && name.is_empty() => {
                Some((Piece::Arguments(self.index.or(Some(0))), arguments))
            }
            _ => None,
        }
    }
}

/// Reads a whole answer, or an error in its place.
pub(super) fn whole(body: &str, out: &mut Emitter) -> Result<()> {
    let part = serde_json::from_str::<Part<'_>>(body).ok();
    let Some(part) = part.filter(|part| part.message.is_some() && !part.finish_reason.is_empty()) else {
        let failure = serde_json::from_str::<Value>(body).ok().and_then(|value| Failure::read(&value));
        return Err(failure.map_or_else(|| not_an_answer(body), |failure| failure.inside_stream(body)));
    };
    let id = serde_json::from_str::<Wire<'_>>(body).map(|wire| wire.id).unwrap_or_default();
    out.identify(&id, "", 0);
    out.begin(0);
    add(part, None, body, out)
}

fn add(part: Part<'_>, index: Option<u32>, data: &str, out: &mut Emitter) -> Result<()> {
    if let Some(message) = part.message {
        out.reasoning(0, &message.tool_plan);
        for content in message.content.0 {
            out.reasoning(0, &content.thinking);
            out.text(0, &content.text);
        }
        for (at, call) in message.tool_calls.0.iter().enumerate() {
            let Some(function) = &call.function else { continue };
            let index = index.or(u32::try_from(at).ok());
            out.tool(0, ToolPiece { index, id: &call.id, name: &function.name, arguments: &function.arguments });
        }
        let annotations: Vec<Annotation> = message.citations.0.iter().flat_map(cited).collect();
        if !annotations.is_empty() {
            out.delta(0, Delta { annotations, ..Delta::default() });
        }
    }
    if let Some(counts) = part.usage.as_ref().and_then(usage) {
        out.usage(counts);
    }
    let native = &*part.finish_reason;
    let reason = match native {
        "" => return Ok(()),
        "MAX_TOKENS" | "ERROR_LIMIT" => FinishReason::LENGTH,
        "TOOL_CALL" => FinishReason::TOOL_CALLS,
        "ERROR_TOXIC" => FinishReason::CONTENT_FILTER,
        "ERROR" | "TIMEOUT" => return Err(broken_off(native, &part.error, data)),
        _ => FinishReason::STOP,
    };
    out.finish(0, reason, Some(native.into()));
    out.prove();
    Ok(())
}

fn broken_off(native: &str, error: &str, data: &str) -> Error {
    let message = if error.is_empty() { "the provider ended the answer with an error" } else { error };
    let kind = if native == "TIMEOUT" { "timeout" } else { "server_error" };
    Failure { message: message.to_owned(), kind: Some(kind.to_owned()), ..Failure::default() }.inside_stream(data)
}

fn usage(counts: &Counts) -> Option<Usage> {
    let tokens = counts.tokens.as_ref().or(counts.billed_units.as_ref())?;
    let of = |count: Option<Count>| count.map(|Count(count)| count);
    let (prompt, completion) = (of(tokens.input_tokens).unwrap_or(0), of(tokens.output_tokens).unwrap_or(0));
    Some(Usage::counted(prompt, completion, of(counts.cached_tokens), of(tokens.reasoning_tokens)))
}

/// A citation: of each source with an address, or as Cohere has it where none has one.
fn cited(citation: &Value) -> Vec<Annotation> {
    let place = |name: &str| citation.get(name).and_then(Value::as_u64);
    let sources = citation.get("sources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of_address = |source: &Value| {
        let text = |name: &str| source.pointer(name)?.as_str().map(str::to_owned);
        let url = text("/document/url").or_else(|| text("/document/data/url"))?;
        let citation = UrlCitation {
            url: Some(url),
            title: text("/document/title").or_else(|| text("/document/data/title")),
            start_index: place("start"),
            end_index: place("end"),
            ..UrlCitation::default()
        };
        let kind = Str::from_static("url_citation");
        Some(Annotation { kind, url_citation: Some(citation), ..Annotation::default() })
    };
    let annotations: Vec<Annotation> = sources.iter().filter_map(of_address).collect();
    if !annotations.is_empty() {
        return annotations;
    }
    let mut extra = Extra::default();
    extra.insert("citation", json!(citation));
    vec![Annotation { kind: Str::from_static("citation"), extra, ..Annotation::default() }]
}

fn malformed(data: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Protocol, format!("the provider sent an event that is no JSON of its format ({error})"))
        .with_body(data)
        .with_source(error)
}
