//! Anthropic's events and whole messages, read.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::decode::{Event, EventKind};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Translator;
use crate::providers::compact::compact;
use crate::providers::failure::{self, Failure};
use crate::providers::loose::Text;
use crate::providers::pattern::{Filling, Hole, Pattern};
use crate::stream::{Emitter, ToolPiece};
use crate::types::{
    Annotation, ChunkChoice, CompletionTokensDetails, Delta, Extra, FinishReason, PromptTokensDetails, Str, ThinkingBlock,
    UrlCitation, Usage,
};

/// Reads one stream. Whole messages go the same way, block by block.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The blocks of the message by the provider's index. An index that comes again is a new block.
    blocks: Vec<(u64, Block)>,
    /// Tool calls so far; the next one's number.
    calls: u32,
    counts: Counts,
    stop: String,
    stop_sequence: Option<String>,
    /// The last piece's block and kind, if the next piece may be like it.
    pub(super) alike: Option<(u64, Piece)>,
    pattern: Pattern,
}

/// What a piece adds to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Piece {
    Text,
    Thinking,
    Arguments,
}

#[derive(Debug)]
enum Block {
    Text,
    Thinking(ThinkingBlock),
    Tool {
        number: u32,
        /// What the block began with; it counts where no piece follows.
        input: Option<String>,
        has_pieces: bool,
    },
    /// A server's own tool, a search result, a compaction, whatever else: not the client's business.
    Skipped,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    index: u64,
    #[serde(borrow)]
    delta: Option<WireDelta<'a>>,
    #[serde(borrow)]
    content_block: Option<WireBlock<'a>>,
    #[serde(borrow)]
    message: Option<WireMessage<'a>>,
    usage: Option<Counts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireDelta<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    thinking: Text<'a>,
    #[serde(borrow)]
    signature: Text<'a>,
    #[serde(borrow)]
    partial_json: Text<'a>,
    citation: Option<Value>,
    #[serde(borrow)]
    stop_reason: Text<'a>,
    #[serde(borrow)]
    stop_sequence: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireBlock<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    thinking: Text<'a>,
    #[serde(borrow)]
    signature: Text<'a>,
    #[serde(borrow)]
    data: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    citations: Option<Vec<Value>>,
}

/// A message: the start of a streamed one, or a whole one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireMessage<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    content: Option<Vec<WireBlock<'a>>>,
    #[serde(borrow)]
    stop_reason: Text<'a>,
    #[serde(borrow)]
    stop_sequence: Text<'a>,
    usage: Option<Counts>,
}

/// Token counts; each event's replace those before it where it has them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    service_tier: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl Translator for Reader {
    fn event(&mut self, event: &Event<'_>, out: &mut Emitter) -> Result<()> {
        let data = event.data.trim_ascii();
        if data.is_empty() || data == "[DONE]" {
            return Ok(());
        }
        if event.name == "error" {
            return Err(read_error(data));
        }
        // Anthropic pads before the last brace.
        let unpadded = data.strip_suffix('}').map_or("", str::trim_ascii_end);
        if self.say_alike(unpadded, out) {
            return Ok(());
        }
        let wire = match serde_json::from_str::<WireEvent<'_>>(data) {
            Ok(wire) => wire,
            Err(_) if event.kind == EventKind::Unterminated => return Ok(()),
            Err(_) if event.kind == EventKind::Stray => return Err(failure::not_an_answer(data)),
            Err(error) => return Err(malformed(data, error)),
        };
        self.learn(unpadded, &wire);
        self.read(wire, data, out)
    }
}

impl Reader {
    /// Says what an event says that differs from the last one in its text alone; otherwise `false`, and nothing was said.
    fn say_alike(&mut self, data: &str, out: &mut Emitter) -> bool {
        let Some((index, piece)) = self.alike else { return false };
        let Some(Filling { text, .. }) = self.pattern.filling(data) else { return false };
        self.piece(index, piece, &text, out);
        true
    }

    /// Keeps a piece's event as the pattern of those to come; after any other nothing is alike.
    fn learn(&mut self, data: &str, wire: &WireEvent<'_>) {
        self.alike = None;
        let WireEvent { kind, index, delta: Some(delta), content_block: None, message: None, usage: None } = wire else { return };
        let (piece, text) = match &*delta.kind {
            "text_delta" => (Piece::Text, &delta.text),
            "thinking_delta" => (Piece::Thinking, &delta.thinking),
            "input_json_delta" => (Piece::Arguments, &delta.partial_json),
            _ => return,
        };
        if let (Cow::Borrowed(text), "content_block_delta") = (&text.0, &**kind)
            && self.pattern.learn(data, &[(Hole::Text, text)])
        {
            self.alike = Some((*index, piece));
        }
    }

    fn read(&mut self, wire: WireEvent<'_>, data: &str, out: &mut Emitter) -> Result<()> {
        match &*wire.kind {
            "content_block_delta" => {
                if let Some(delta) = wire.delta {
                    self.delta(wire.index, delta, out);
                }
            }
            "content_block_start" => {
                if let Some(block) = wire.content_block {
                    self.start(wire.index, block, out);
                }
            }
            "content_block_stop" => self.stop(wire.index, out),
            "message_start" => {
                if let Some(message) = wire.message {
                    self.begin(message, out);
                }
            }
            "message_delta" => {
                if let Some(delta) = wire.delta.filter(|delta| !delta.stop_reason.is_empty()) {
                    self.stop = delta.stop_reason.into();
                    self.stop_sequence = Some(String::from(delta.stop_sequence)).filter(|sequence| !sequence.is_empty());
                }
                self.count(wire.usage, out);
            }
            "message_stop" => self.end(out),
            "message" => return self.whole(data, out),
            "error" => return Err(read_error(data)),
            // An error that does not say that it is an event.
            "" => {
                if let Some(failure) = serde_json::from_str::<Value>(data).ok().as_ref().and_then(Failure::read) {
                    return Err(failure.inside_stream(data));
                }
            }
            // A ping, or an event of a later day.
            _ => {}
        }
        Ok(())
    }

    /// Reads a message that has come whole.
    pub(crate) fn whole(&mut self, body: &str, out: &mut Emitter) -> Result<()> {
        let mut message: WireMessage<'_> = match serde_json::from_str(body) {
            Ok(message) => message,
            Err(_) => return Err(failure::not_an_answer(body)),
        };
        let Some(content) = message.content.take().filter(|_| &*message.kind == "message" || message.usage.is_some()) else {
            let failure = serde_json::from_str::<Value>(body).ok().as_ref().and_then(Failure::read);
            return Err(failure.map_or_else(|| failure::not_an_answer(body), |failure| failure.inside_stream(body)));
        };
        self.stop = std::mem::take(&mut message.stop_reason).into();
        self.stop_sequence = Some(String::from(std::mem::take(&mut message.stop_sequence))).filter(|text| !text.is_empty());
        self.begin(message, out);
        for (index, block) in (0..).zip(content) {
            self.start(index, block, out);
            self.stop(index, out);
        }
        self.end(out);
        Ok(())
    }

    /// The message begins. One with another id in the middle of the stream means that the provider began anew: what it left open stays
    /// as it is.
    fn begin(&mut self, message: WireMessage<'_>, out: &mut Emitter) {
        self.blocks.clear();
        out.identify(&message.id, &message.model, 0);
        self.count(message.usage, out);
        out.begin(0);
    }

    fn start(&mut self, index: u64, block: WireBlock<'_>, out: &mut Emitter) {
        let state = match &*block.kind {
            "text" => {
                out.text(0, &block.text);
                for citation in block.citations.unwrap_or_default() {
                    cite(citation, out);
                }
                Block::Text
            }
            "thinking" => {
                let mut thinking = ThinkingBlock { kind: Str::from_static("thinking"), ..ThinkingBlock::default() };
                thinking.signature = Some(block.signature.into());
                thinking.thinking = Some(block.thinking.to_string());
                out.reasoning(0, &block.thinking);
                Block::Thinking(thinking)
            }
            "redacted_thinking" => {
                let redacted = ThinkingBlock {
                    kind: Str::from_static("redacted_thinking"),
                    data: Some(block.data.into()),
                    ..ThinkingBlock::default()
                };
                out.delta(0, Delta { thinking_blocks: vec![redacted], ..Delta::default() });
                Block::Skipped
            }
            "tool_use" => {
                let number = self.calls;
                self.calls += 1;
                out.tool(0, ToolPiece { index: Some(number), id: &block.id, name: &block.name, arguments: "" });
                let input = block.input.map(|input| compact(input.get())).filter(|input| input.starts_with('{'));
                Block::Tool { number, input, has_pieces: false }
            }
            _ => Block::Skipped,
        };
        self.blocks.retain(|(known, _)| *known != index);
        self.blocks.push((index, state));
    }

    fn delta(&mut self, index: u64, delta: WireDelta<'_>, out: &mut Emitter) {
        match (&*delta.kind, self.block(index)) {
            ("text_delta", _) => self.piece(index, Piece::Text, &delta.text, out),
            ("thinking_delta", _) => self.piece(index, Piece::Thinking, &delta.thinking, out),
            ("input_json_delta", _) => self.piece(index, Piece::Arguments, &delta.partial_json, out),
            ("signature_delta", Some(Block::Thinking(thinking))) => {
                thinking.signature.get_or_insert_default().push_str(&delta.signature);
            }
            ("citations_delta", None | Some(Block::Text)) => {
                if let Some(citation) = delta.citation {
                    cite(citation, out);
                }
            }
            _ => {}
        }
    }

    fn piece(&mut self, index: u64, piece: Piece, text: &str, out: &mut Emitter) {
        match (piece, self.block(index)) {
            (Piece::Text, None | Some(Block::Text)) => out.text(0, text),
            (Piece::Thinking, Some(Block::Thinking(thinking))) => {
                thinking.thinking.get_or_insert_default().push_str(text);
                out.reasoning(0, text);
            }
            (Piece::Thinking, None) => out.reasoning(0, text),
            (Piece::Arguments, Some(Block::Tool { number, has_pieces, .. })) if !text.is_empty() => {
                *has_pieces = true;
                out.tool(0, ToolPiece { index: Some(*number), arguments: text, ..ToolPiece::default() });
            }
            _ => {}
        }
    }

    /// The block that is open under an index.
    fn block(&mut self, index: u64) -> Option<&mut Block> {
        self.blocks.iter_mut().rfind(|(known, _)| *known == index).map(|(_, block)| block)
    }

    fn stop(&mut self, index: u64, out: &mut Emitter) {
        let Some(at) = self.blocks.iter().rposition(|(known, _)| *known == index) else { return };
        close(self.blocks.remove(at).1, out);
    }

    /// The message is whole; blocks that were left open are closed.
    fn end(&mut self, out: &mut Emitter) {
        for (_, block) in self.blocks.drain(..) {
            close(block, out);
        }
        if !self.stop.is_empty() {
            if let Some(sequence) = self.stop_sequence.take() {
                let mut extra = Extra::default();
                extra.insert("stop_sequence", Value::String(sequence));
                out.add(ChunkChoice { extra, ..ChunkChoice::default() });
            }
            out.finish(0, finish_reason(&self.stop), Some(Str::from(self.stop.as_str())));
        }
        out.done();
    }

    fn count(&mut self, counts: Option<Counts>, out: &mut Emitter) {
        let Some(new) = counts else { return };
        let sum = &mut self.counts;
        sum.input_tokens = new.input_tokens.or(sum.input_tokens);
        sum.cache_creation_input_tokens = new.cache_creation_input_tokens.or(sum.cache_creation_input_tokens);
        sum.cache_read_input_tokens = new.cache_read_input_tokens.or(sum.cache_read_input_tokens);
        sum.output_tokens = new.output_tokens.or(sum.output_tokens);
        if new.output_tokens_details.is_some() {
            sum.output_tokens_details = new.output_tokens_details;
        }
        if let Some(tier) = new.service_tier {
            out.service_tier(&tier);
        }
        out.usage(sum.to_usage());
    }
}

impl Counts {
    /// The prompt in full: what was read anew, written to the cache and read from it.
    fn to_usage(&self) -> Usage {
        let read = self.cache_read_input_tokens;
        let written = self.cache_creation_input_tokens;
        let prompt = self.input_tokens.unwrap_or(0) + read.unwrap_or(0) + written.unwrap_or(0);
        let mut usage = Usage::counted(prompt, self.output_tokens.unwrap_or(0), None, None);
        if read.is_some() || written.is_some() {
            usage.prompt_tokens_details = Some(PromptTokensDetails {
                cached_tokens: read,
                cache_creation_tokens: written,
                ..PromptTokensDetails::default()
            });
        }
        if let Some(thinking) = self.output_tokens_details.as_ref().and_then(|details| details.thinking_tokens) {
            usage.completion_tokens_details =
                Some(CompletionTokensDetails { reasoning_tokens: Some(thinking), ..CompletionTokensDetails::default() });
        }
        usage
    }
}

fn close(block: Block, out: &mut Emitter) {
    match block {
        // Only signed thinking can be sent back.
        Block::Thinking(thinking) if thinking.signature.as_ref().is_some_and(|signature| !signature.is_empty()) => {
            out.delta(0, Delta { thinking_blocks: vec![thinking], ..Delta::default() });
        }
        Block::Tool { number, input, has_pieces: false } => {
            let input = input.unwrap_or_else(|| "{}".to_owned());
            out.tool(0, ToolPiece { index: Some(number), arguments: &input, ..ToolPiece::default() });
        }
        _ => {}
    }
}

/// A citation: one of the web as OpenAI's annotation, one of a document under its own type; as the provider has it in `citation`.
fn cite(citation: Value, out: &mut Emitter) {
    let text = |name: &str| citation.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut annotation = match text("url") {
        Some(url) => Annotation {
            kind: Str::from_static("url_citation"),
            url_citation: Some(UrlCitation { url: Some(url), title: text("title"), ..UrlCitation::default() }),
            ..Annotation::default()
        },
        None => Annotation { kind: text("type").unwrap_or_else(|| "citation".to_owned()).into(), ..Annotation::default() },
    };
    annotation.extra.insert("citation", citation);
    out.delta(0, Delta { annotations: vec![annotation], ..Delta::default() });
}

/// OpenAI's word for a stop reason.
pub(crate) fn finish_reason(native: &str) -> FinishReason {
    match native {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::LENGTH,
        "tool_use" => FinishReason::TOOL_CALLS,
        "refusal" => FinishReason::CONTENT_FILTER,
        _ => FinishReason::STOP,
    }
}

fn read_error(data: &str) -> Error {
    let failure = serde_json::from_str::<Value>(data).ok().as_ref().and_then(Failure::read);
    failure.unwrap_or_else(|| Failure { message: data.to_owned(), ..Failure::default() }).inside_stream(data)
}

fn malformed(data: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Protocol, format!("the provider sent an event that is no JSON of its format ({error})"))
        .with_body(data)
        .with_source(error)
}
