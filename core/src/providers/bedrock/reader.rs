//! Converse's events and whole answers, read.

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
use crate::types::{Annotation, Delta, FinishReason, PromptTokensDetails, Str, ThinkingBlock, UrlCitation, Usage};

/// Reads one stream. It is whole once both the stop and the metadata have come, in either order.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The blocks that are open, by the provider's index. Text needs no entry.
    blocks: Vec<(u64, Block)>,
    /// Tool calls so far; the next one's number.
    calls: u32,
    stop: Option<String>,
    has_metadata: bool,
    /// The last piece's block and kind, if the next piece may be like it.
    alike: Option<(u64, Piece)>,
    pattern: Pattern,
}

/// What a piece adds to.
#[derive(Debug, Clone, Copy)]
enum Piece {
    Text,
    Thinking,
    Arguments,
}

#[derive(Debug)]
enum Block {
    Tool {
        number: u32,
        has_pieces: bool,
    },
    Thinking(ThinkingBlock),
    /// A tool of the server's own, its result, an image: not the client's business.
    Skipped,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireEvent<'a> {
    content_block_index: u64,
    #[serde(borrow)]
    start: Option<WireStart<'a>>,
    #[serde(borrow)]
    delta: Option<WireBlock<'a>>,
    #[serde(borrow)]
    stop_reason: Text<'a>,
    usage: Option<Counts>,
    #[serde(rename = "p", borrow)]
    padding: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireStart<'a> {
    #[serde(borrow)]
    tool_use: Option<WireTool<'a>>,
    tool_result: Option<Value>,
    image: Option<Value>,
}

/// A piece of a block, or in a whole answer all of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireBlock<'a> {
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    tool_use: Option<WireTool<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<WireReasoning<'a>>,
    citation: Option<Value>,
    #[serde(borrow)]
    citations_content: Option<WireCitations<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireTool<'a> {
    #[serde(borrow)]
    tool_use_id: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    /// A string in a stream, an object in a whole answer.
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireReasoning<'a> {
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    signature: Text<'a>,
    #[serde(borrow)]
    redacted_content: Text<'a>,
    #[serde(borrow)]
    reasoning_text: Option<WireReasoningText<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireReasoningText<'a> {
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    signature: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireCitations<'a> {
    #[serde(borrow)]
    content: Vec<WireBlock<'a>>,
    citations: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    #[serde(rename = "inputTokens")]
    input: u64,
    #[serde(rename = "outputTokens")]
    output: u64,
    #[serde(rename = "cacheReadInputTokens")]
    cache_read: Option<u64>,
    #[serde(rename = "cacheWriteInputTokens")]
    cache_written: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAnswer<'a> {
    #[serde(borrow)]
    output: WireOutput<'a>,
    #[serde(borrow, default)]
    stop_reason: Text<'a>,
    #[serde(default)]
    usage: Option<Counts>,
}

#[derive(Debug, Deserialize)]
struct WireOutput<'a> {
    #[serde(borrow)]
    message: WireMessage<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireMessage<'a> {
    #[serde(borrow)]
    content: Vec<WireBlock<'a>>,
}

impl Translator for Reader {
    fn event(&mut self, event: &Event<'_>, out: &mut Emitter) -> Result<()> {
        match event.kind {
            EventKind::Message => {}
            EventKind::Unterminated => return Ok(()),
            EventKind::Stray => return Err(read_exception(event.name, &event.data)),
            EventKind::Malformed => {
                let message = format!("the provider sent what is no AWS event stream: {}; check the base URL", event.data);
                return Err(Error::new(ErrorKind::Protocol, message));
            }
        }
        let read = || -> Result<WireEvent<'_>> {
            serde_json::from_str(&event.data).map_err(|error| {
                let message = format!("the provider sent an event that is no JSON of its format ({error})");
                Error::new(ErrorKind::Protocol, message).with_body(&*event.data).with_source(error)
            })
        };
        match event.name {
            "contentBlockDelta" => {
                if self.say_alike(&event.data, out) {
                    return Ok(());
                }
                let wire = read()?;
                self.learn(&event.data, &wire);
                if let Some(delta) = wire.delta {
                    self.delta(wire.content_block_index, delta, out);
                }
            }
            "contentBlockStart" => {
                self.alike = None;
                let wire = read()?;
                if let Some(start) = wire.start {
                    self.start(wire.content_block_index, start, out);
                }
            }
            "contentBlockStop" => self.stop(read()?.content_block_index, out),
            "messageStart" => out.begin(0),
            "messageStop" => {
                self.stop = Some(read()?.stop_reason.into());
                self.end_if_whole(out);
            }
            "metadata" => {
                if let Some(counts) = read()?.usage {
                    out.usage(counts.to_usage());
                }
                self.has_metadata = true;
                self.end_if_whole(out);
            }
            _ => {}
        }
        Ok(())
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

    /// Keeps the event of a piece as the pattern of those to come; after any other nothing is alike.
    fn learn(&mut self, data: &str, wire: &WireEvent<'_>) {
        self.alike = None;
        let Some(WireBlock { text, tool_use, reasoning_content, citation: None, citations_content: None }) = &wire.delta else {
            return;
        };
        let block = self.block(wire.content_block_index);
        let (piece, text) = match (block, tool_use, reasoning_content, &text.0) {
            (None, None, None, Cow::Borrowed(text)) => (Piece::Text, *text),
            (Some(Block::Thinking(_)), None, Some(reasoning), text) if text.is_empty() => {
                let WireReasoning { text: Text(Cow::Borrowed(text)), signature, redacted_content, reasoning_text: None } =
                    reasoning
                else {
                    return;
                };
                if !signature.is_empty() || !redacted_content.is_empty() {
                    return;
                }
                (Piece::Thinking, *text)
            }
            (Some(Block::Tool { .. }), Some(tool), None, text) if text.is_empty() => {
                let quoted = tool.input.map(RawValue::get).unwrap_or_default();
                let Some(input) = quoted.strip_prefix('"').and_then(|input| input.strip_suffix('"')) else { return };
                if input.contains('\\') {
                    return;
                }
                (Piece::Arguments, input)
            }
            _ => return,
        };
        let text = (Hole::Text, text);
        let is_learnt = match &wire.padding.0 {
            Cow::Borrowed("") => self.pattern.learn(data, &[text]),
            Cow::Borrowed(padding) => self.pattern.learn(data, &[text, (Hole::Padding, padding)]),
            Cow::Owned(_) => false,
        };
        if is_learnt {
            self.alike = Some((wire.content_block_index, piece));
        }
    }

    /// The block that is open under an index.
    fn block(&mut self, index: u64) -> Option<&mut Block> {
        self.blocks.iter_mut().rfind(|(known, _)| *known == index).map(|(_, block)| block)
    }

    fn start(&mut self, index: u64, start: WireStart<'_>, out: &mut Emitter) {
        let block = match start.tool_use {
            Some(tool) if &*tool.kind != "server_tool_use" => {
                let number = self.calls;
                self.calls += 1;
                out.tool(0, ToolPiece { index: Some(number), id: &tool.tool_use_id, name: &tool.name, arguments: "" });
                Block::Tool { number, has_pieces: false }
            }
            None if start.tool_result.is_none() && start.image.is_none() => return,
            _ => Block::Skipped,
        };
        self.blocks.retain(|(known, _)| *known != index);
        self.blocks.push((index, block));
    }

    fn delta(&mut self, index: u64, delta: WireBlock<'_>, out: &mut Emitter) {
        if matches!(self.block(index), Some(Block::Skipped)) {
            return;
        }
        self.piece(index, Piece::Text, &delta.text, out);
        if let Some(input) = delta.tool_use.and_then(|tool| tool.input) {
            let input: Text<'_> = serde_json::from_str(input.get()).unwrap_or_default();
            self.piece(index, Piece::Arguments, &input, out);
        }
        if let Some(citation) = delta.citation {
            cite(citation, out);
        }
        let Some(reasoning) = delta.reasoning_content else { return };
        if !reasoning.redacted_content.is_empty() {
            redacted(reasoning.redacted_content.into(), out);
            return;
        }
        if let Some(Block::Thinking(thinking)) = self.block(index) {
            thinking.signature.get_or_insert_default().push_str(&reasoning.signature);
        } else {
            self.blocks.push((index, Block::Thinking(thinking("", &reasoning.signature))));
        }
        self.piece(index, Piece::Thinking, &reasoning.text, out);
    }

    fn piece(&mut self, index: u64, piece: Piece, text: &str, out: &mut Emitter) {
        match (piece, self.block(index)) {
            (Piece::Text, _) => out.text(0, text),
            (Piece::Thinking, Some(Block::Thinking(thinking))) => {
                thinking.thinking.get_or_insert_default().push_str(text);
                out.reasoning(0, text);
            }
            (Piece::Arguments, Some(Block::Tool { number, has_pieces })) if !text.is_empty() => {
                *has_pieces = true;
                out.tool(0, ToolPiece { index: Some(*number), arguments: text, ..ToolPiece::default() });
            }
            _ => {}
        }
    }

    fn stop(&mut self, index: u64, out: &mut Emitter) {
        let Some(at) = self.blocks.iter().rposition(|(known, _)| *known == index) else { return };
        close(self.blocks.remove(at).1, out);
    }

    fn end_if_whole(&mut self, out: &mut Emitter) {
        if !self.has_metadata {
            return;
        }
        let Some(stop) = self.stop.take() else { return };
        for (_, block) in self.blocks.drain(..) {
            close(block, out);
        }
        finish(&stop, out);
    }
}

/// Reads a whole answer.
pub(super) fn whole(body: &str, out: &mut Emitter) -> Result<()> {
    let answer: WireAnswer<'_> = match serde_json::from_str(body) {
        Ok(answer) => answer,
        Err(_) => return Err(read_exception("", body)),
    };
    out.begin(0);
    let mut calls = 0;
    for block in answer.output.message.content {
        read_block(block, &mut calls, out);
    }
    if let Some(counts) = answer.usage {
        out.usage(counts.to_usage());
    }
    finish(&answer.stop_reason, out);
    Ok(())
}

fn read_block(block: WireBlock<'_>, calls: &mut u32, out: &mut Emitter) {
    out.text(0, &block.text);
    if let Some(cited) = block.citations_content {
        for part in cited.content {
            out.text(0, &part.text);
        }
        for citation in cited.citations {
            cite(citation, out);
        }
    }
    if let Some(reasoning) = block.reasoning_content {
        if !reasoning.redacted_content.is_empty() {
            redacted(reasoning.redacted_content.into(), out);
        }
        if let Some(WireReasoningText { text, signature }) = reasoning.reasoning_text {
            let signed = Block::Thinking(thinking(&text, &signature));
            out.reasoning(0, &text);
            close(signed, out);
        }
    }
    if let Some(tool) = block.tool_use.filter(|tool| &*tool.kind != "server_tool_use") {
        let arguments = tool.input.map(|input| compact(input.get())).filter(|input| input.starts_with('{')).unwrap_or_default();
        out.tool(0, ToolPiece { index: Some(*calls), id: &tool.tool_use_id, name: &tool.name, arguments: &arguments });
        *calls += 1;
    }
}

fn finish(stop: &str, out: &mut Emitter) {
    if !stop.is_empty() {
        let reason = match stop {
            "tool_use" => FinishReason::TOOL_CALLS,
            "max_tokens" | "model_context_window_exceeded" => FinishReason::LENGTH,
            "guardrail_intervened" | "content_filtered" => FinishReason::CONTENT_FILTER,
            _ => FinishReason::STOP,
        };
        out.finish(0, reason, Some(Str::from(stop)));
    }
    out.done();
}

impl Counts {
    fn to_usage(&self) -> Usage {
        let (read, written) = (self.cache_read, self.cache_written);
        let prompt = self.input + read.unwrap_or(0) + written.unwrap_or(0);
        let mut usage = Usage::counted(prompt, self.output, None, None);
        if read.is_some() || written.is_some() {
            usage.prompt_tokens_details = Some(PromptTokensDetails {
                cached_tokens: read,
                cache_creation_tokens: written,
                ..PromptTokensDetails::default()
            });
        }
        usage
    }
}

fn thinking(text: &str, signature: &str) -> ThinkingBlock {
    ThinkingBlock {
        kind: Str::from_static("thinking"),
        thinking: Some(text.to_owned()),
        signature: Some(signature.to_owned()),
        ..ThinkingBlock::default()
    }
}

fn redacted(data: String, out: &mut Emitter) {
    let block = ThinkingBlock { kind: Str::from_static("redacted_thinking"), data: Some(data), ..ThinkingBlock::default() };
    out.delta(0, Delta { thinking_blocks: vec![block], ..Delta::default() });
}

fn close(block: Block, out: &mut Emitter) {
    match block {
        // Only signed thinking can be sent back.
        Block::Thinking(thinking) if thinking.signature.as_ref().is_some_and(|signature| !signature.is_empty()) => {
            out.delta(0, Delta { thinking_blocks: vec![thinking], ..Delta::default() });
        }
        Block::Tool { number, has_pieces: false } => {
            out.tool(0, ToolPiece { index: Some(number), arguments: "{}", ..ToolPiece::default() });
        }
        _ => {}
    }
}

/// A citation: one of the web as OpenAI's annotation; as the provider has it in `citation`.
fn cite(citation: Value, out: &mut Emitter) {
    let title = citation.get("title").and_then(Value::as_str).map(str::to_owned);
    let url = citation.pointer("/location/web/url").and_then(Value::as_str).map(str::to_owned);
    let mut annotation = Annotation { kind: Str::from_static("citation"), ..Annotation::default() };
    if url.is_some() {
        annotation.kind = Str::from_static("url_citation");
        annotation.url_citation = Some(UrlCitation { url, title, ..UrlCitation::default() });
    }
    annotation.extra.insert("citation", citation);
    out.delta(0, Delta { annotations: vec![annotation], ..Delta::default() });
}

/// An exception of the stream, an error that the service model does not know, or JSON in the place of an answer.
fn read_exception(name: &str, data: &str) -> Error {
    let value = serde_json::from_str::<Value>(data);
    let failure = match &value {
        Ok(value) => Failure::read(value),
        Err(_) if !name.is_empty() => Some(Failure { message: data.to_owned(), ..Failure::default() }),
        Err(_) => None,
    };
    match failure {
        None if name.is_empty() => failure::not_an_answer(data),
        failure => {
            let mut failure = failure.unwrap_or_default();
            if !name.is_empty() {
                failure.kind = Some(name.to_owned());
            }
            failure.inside_stream(data)
        }
    }
}
