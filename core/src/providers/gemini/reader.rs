//! Reads Gemini's answers: pieces of one shape, whether they come as a stream, as an array or as one whole.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::arguments::ArgumentWriter;
use super::error;
use super::wire::{Candidate, CitationMetadata, FunctionCall, GroundingMetadata, LogprobsResult, Part, Piece, UsageMetadata};
use crate::decode::{Event, EventKind};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Translator;
use crate::providers::compact::compact;
use crate::providers::failure::not_an_answer;
use crate::providers::loose::{Count, Text};
use crate::providers::openai::mend;
use crate::providers::pattern::{Filling, Hole, Pattern};
use crate::stream::{Emitter, ToolPiece};
use crate::types::{Annotation, ChunkChoice, Delta, Extra, FinishReason, Str, UrlCitation, Usage};

#[derive(Debug, Default)]
pub(crate) struct PieceReader {
    choices: Vec<ChoiceState>,
    /// The bytes ended inside a piece.
    is_broken: bool,
    /// The last counts, as they came.
    counts: String,
    /// What the last piece's text was, if the next one may be like it.
    alike: Option<Slot>,
    pattern: Pattern,
}

/// What a text adds to.
#[derive(Debug, Clone, Copy)]
struct Slot {
    choice: u32,
    is_thought: bool,
}

/// What is known of a candidate between its pieces.
#[derive(Debug, Default)]
struct ChoiceState {
    /// Calls begun; the number of the next one.
    calls: u32,
    /// The call whose arguments are coming in pieces.
    open: Option<ArgumentWriter>,
    /// The last that was said of it came with a finish reason, or before one.
    is_finished: bool,
}

impl Translator for PieceReader {
    fn event(&mut self, event: &Event<'_>, out: &mut Emitter) -> Result<()> {
        let data = event.data.trim_ascii();
        if data.is_empty() || data == "[DONE]" {
            // A field without its value is half an event, too.
            self.is_broken |= data.is_empty() && event.kind == EventKind::Unterminated;
            return Ok(());
        }
        let result = self.read(data, out);
        match (result, event.kind) {
            (Err(error), EventKind::Unterminated) if error.kind() == ErrorKind::Protocol => {
                // Half a piece: whatever was said before it, the answer was to go on.
                self.is_broken = true;
                out.retract();
                Ok(())
            }
            (Err(error), EventKind::Stray) if error.kind() == ErrorKind::Protocol => {
                if out.has_begun() && data.starts_with(['{', '[']) {
                    self.is_broken = true;
                    out.retract();
                    return Ok(());
                }
                Err(not_an_answer(data))
            }
            (result, _) => result,
        }
    }

    /// A reason that was given more than once proves nothing while more may come; at the end it does.
    fn end(&mut self, out: &mut Emitter) -> Result<()> {
        if !self.is_broken && !self.choices.is_empty() && self.choices.iter().all(|choice| choice.is_finished) {
            out.prove();
        }
        Ok(())
    }
}

impl PieceReader {
    /// Reads a piece, or a list of them.
    pub(crate) fn read(&mut self, data: &str, out: &mut Emitter) -> Result<()> {
        if data.starts_with('[') {
            let pieces: Vec<Piece<'_>> = serde_json::from_str(data).map_err(|error| malformed(data, error))?;
            return pieces.into_iter().try_for_each(|piece| self.piece(piece, data, out));
        }
        if self.say_alike(data, out) {
            return Ok(());
        }
        match serde_json::from_str(data) {
            Ok(piece) => {
                self.learn(data, &piece);
                self.piece(piece, data, out)
            }
            Err(error) => match mend(data) {
                Some(mended) => self.read(&mended.json, out),
                None => Err(malformed(data, error)),
            },
        }
    }

    /// Says what a piece says that differs from the last one in its text and counts alone; otherwise `false`, and nothing was said.
    fn say_alike(&mut self, data: &str, out: &mut Emitter) -> bool {
        let Some(Slot { choice, is_thought }) = self.alike else { return false };
        let Some(Filling { text, value }) = self.pattern.filling(data) else { return false };
        if !self.count(value, out) {
            return false;
        }
        if text.is_empty() {
            return true;
        }
        self.goes_on(choice, out);
        if is_thought {
            out.reasoning(choice, &text);
        } else {
            out.text(choice, &text);
        }
        true
    }

    /// Keeps a piece whose one meaning is a text, with counts or without, as the pattern of those to come.
    fn learn(&mut self, data: &str, piece: &Piece<'_>) {
        self.alike = None;
        let Piece { candidates: Some(candidates), prompt_feedback: None, usage_metadata, error: None, .. } = piece else {
            return;
        };
        let [candidate] = candidates.as_slice() else { return };
        let Candidate {
            index,
            content: Some(content),
            citation_metadata: None,
            grounding_metadata: None,
            logprobs_result: None,
            ..
        } = candidate
        else {
            return;
        };
        let Some([part]) = content.parts.as_deref() else { return };
        let Part {
            text: Some(Text(Cow::Borrowed(text))),
            thought,
            thought_signature,
            function_call: None,
            inline_data: None,
            executable_code: None,
            code_execution_result: None,
            tool_call: None,
            tool_response: None,
        } = part
        else {
            return;
        };
        if !thought_signature.is_empty() || !candidate.finish_reason.is_empty() {
            return;
        }
        let text = (Hole::Text, *text);
        let is_learnt = match usage_metadata {
            None => self.pattern.learn(data, &[text]),
            Some(counts) => self.pattern.learn(data, &[text, (Hole::Value, counts.get())]),
        };
        if is_learnt {
            self.alike = Some(Slot { choice: index.unwrap_or(0), is_thought: *thought == Some(true) });
        }
    }

    /// Takes counts in, if they are others than the last; whether they are what they should be.
    fn count(&mut self, counts: &str, out: &mut Emitter) -> bool {
        if counts == self.counts || counts.is_empty() {
            return true;
        }
        let Ok(read) = serde_json::from_str::<UsageMetadata>(counts) else { return false };
        counts.clone_into(&mut self.counts);
        if let Some(usage) = usage(&read) {
            out.usage(usage);
        }
        true
    }

    fn piece(&mut self, piece: Piece<'_>, data: &str, out: &mut Emitter) -> Result<()> {
        if let Some(error) = piece.error {
            return Err(error::inside_stream(error.get(), data));
        }
        out.identify(&piece.response_id, &piece.model_version, 0);
        if let Some(counts) = piece.usage_metadata {
            self.count(counts.get(), out);
        }
        let candidates = piece.candidates.unwrap_or_default();
        let blocked = piece.prompt_feedback.filter(|feedback| !feedback.block_reason.is_empty());
        if let Some(feedback) = blocked.filter(|_| candidates.is_empty()) {
            let native = format!("promptFeedback.{}", &*feedback.block_reason);
            out.finish(0, FinishReason::CONTENT_FILTER, Some(native.into()));
        }
        for (at, candidate) in candidates.into_iter().enumerate() {
            let index = candidate.index.unwrap_or(u32::try_from(at).unwrap_or(0));
            self.candidate(index, candidate, out)?;
        }
        Ok(())
    }

    fn candidate(&mut self, index: u32, candidate: Candidate<'_>, out: &mut Emitter) -> Result<()> {
        let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
        let (mut says, mut awaits_server) = (false, false);
        for part in parts {
            says |= part.says();
            awaits_server = part.executable_code.is_some() || part.tool_call.is_some();
            self.part(index, part, out)?;
        }
        if says {
            self.goes_on(index, out);
        }
        annotate(index, candidate.citation_metadata, candidate.grounding_metadata, out);
        if let Some(logprobs) = candidate.logprobs_result.and_then(logprobs) {
            out.add(ChunkChoice { index, logprobs: Some(Box::new(logprobs)), ..ChunkChoice::default() });
        }
        let native = &*candidate.finish_reason;
        if native.is_empty() || native == "FINISH_REASON_UNSPECIFIED" {
            return Ok(());
        }
        self.close_call(index, out);
        self.choice(index).is_finished = true;
        out.finish(index, finish_reason(native, out.has_tool_calls(index)), Some(native.into()));
        if awaits_server {
            // The result of the code that the server is to run still follows.
            out.retract();
        }
        Ok(())
    }

    fn part(&mut self, index: u32, part: Part<'_>, out: &mut Emitter) -> Result<()> {
        let extra = signature(&part.thought_signature);
        if let Some(call) = part.function_call {
            return self.call(index, &call, extra, out);
        }
        let mut delta = Delta { extra, ..Delta::default() };
        match part.text.map(String::from) {
            Some(text) if text.is_empty() => {}
            Some(text) if part.thought == Some(true) => delta.reasoning_content = Some(text),
            text => delta.content = text,
        }
        if let Some(image) = part.inline_data.filter(|image| !image.data.is_empty()) {
            let url = format!("data:{};base64,{}", &*image.mime_type, image.data);
            delta.extra.insert("images", json!([{ "type": "image_url", "image_url": { "url": url } }]));
        }
        if !delta.is_empty() {
            out.delta(index, delta);
        }
        Ok(())
    }

    fn call(&mut self, index: u32, call: &FunctionCall<'_>, extra: Extra, out: &mut Emitter) -> Result<()> {
        if !call.name.is_empty() {
            self.close_call(index, out);
            let goes_on = call.will_continue == Some(true) || call.partial_args.is_some();
            let state = self.choice(index);
            let number = state.calls;
            state.calls += 1;
            state.open = goes_on.then(ArgumentWriter::default);
            let whole = call.args.map(|args| compact(args.get())).filter(|args| args.starts_with('{'));
            let arguments = whole.unwrap_or_else(|| if goes_on { String::new() } else { "{}".to_owned() });
            let piece = ToolPiece { index: Some(number), id: &call.id, name: &call.name, arguments: &arguments };
            out.tool_with(index, piece, extra);
        }
        let state = self.choice(index);
        let number = Some(state.calls.saturating_sub(1));
        if let Some(writer) = &mut state.open {
            let mut arguments = String::new();
            for piece in call.partial_args.iter().flatten() {
                arguments += &writer.add(piece)?;
            }
            out.tool(index, ToolPiece { index: number, arguments: &arguments, ..ToolPiece::default() });
        }
        if call.will_continue != Some(true) && call.partial_args.is_none() {
            self.close_call(index, out);
        }
        Ok(())
    }

    /// Ends the arguments that are coming in pieces.
    fn close_call(&mut self, index: u32, out: &mut Emitter) {
        let state = self.choice(index);
        if let Some(writer) = state.open.take() {
            let number = Some(state.calls.saturating_sub(1));
            out.tool(index, ToolPiece { index: number, arguments: &writer.end(), ..ToolPiece::default() });
        }
    }

    /// A reason may be given before the last of the answer; what follows takes it back.
    fn goes_on(&mut self, index: u32, out: &mut Emitter) {
        self.choice(index).is_finished = false;
        out.retract();
    }

    fn choice(&mut self, index: u32) -> &mut ChoiceState {
        let at = index as usize;
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, ChoiceState::default);
        }
        &mut self.choices[at]
    }
}

impl Part<'_> {
    /// Whether it adds to the answer.
    fn says(&self) -> bool {
        self.text.as_ref().is_some_and(|text| !text.is_empty())
            || self.function_call.is_some()
            || self.inline_data.is_some()
            || self.executable_code.is_some()
            || self.code_execution_result.is_some()
            || self.tool_call.is_some()
            || self.tool_response.is_some()
    }
}

/// Google's signature of a thought, as it is carried on messages and tool calls and sent back.
pub(super) fn signature(signature: &str) -> Extra {
    let mut extra = Extra::default();
    if !signature.is_empty() {
        extra.insert("extra_content", json!({ "google": { "thought_signature": signature } }));
    }
    extra
}

fn finish_reason(native: &str, has_calls: bool) -> FinishReason {
    match native {
        "MAX_TOKENS" => FinishReason::LENGTH,
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "MODEL_ARMOR" => {
            FinishReason::CONTENT_FILTER
        }
        image if image.starts_with("IMAGE_") => FinishReason::CONTENT_FILTER,
        "STOP" if has_calls => FinishReason::TOOL_CALLS,
        _ => FinishReason::STOP,
    }
}

fn usage(counts: &UsageMetadata) -> Option<Usage> {
    let count = |count: Option<Count>| count.map(|Count(count)| count);
    count(counts.prompt_token_count.or(counts.total_token_count))?;
    let of = |name: Option<Count>| count(name).unwrap_or(0);
    let prompt = of(counts.prompt_token_count) + of(counts.tool_use_prompt_token_count);
    let completion = of(counts.candidates_token_count) + of(counts.thoughts_token_count);
    Some(Usage::counted(prompt, completion, count(counts.cached_content_token_count), count(counts.thoughts_token_count)))
}

/// Sources as citations, as far as they have an address.
fn annotate(index: u32, citations: Option<CitationMetadata>, grounding: Option<GroundingMetadata>, out: &mut Emitter) {
    let mut annotations = Vec::new();
    let mut cite = |uri: Option<&str>, title: Option<&str>, start: Option<u64>, end: Option<u64>| {
        let Some(uri) = uri else { return };
        let citation = UrlCitation {
            url: Some(uri.to_owned()),
            title: title.map(str::to_owned),
            start_index: start,
            end_index: end,
            ..UrlCitation::default()
        };
        let kind = Str::from_static("url_citation");
        annotations.push(Annotation { kind, url_citation: Some(citation), ..Annotation::default() });
    };
    for citation in citations.and_then(|citations| citations.citation_sources).into_iter().flatten() {
        cite(citation.uri.as_deref(), citation.title.as_deref(), citation.start_index, citation.end_index);
    }
    if let Some(grounding) = grounding {
        let sources = grounding.grounding_chunks.unwrap_or_default();
        let supports = grounding.grounding_supports.unwrap_or_default();
        if supports.is_empty() {
            for source in sources.iter().filter_map(|chunk| chunk.web.as_ref()) {
                cite(source.uri.as_deref(), source.title.as_deref(), None, None);
            }
        }
        let text = out.text_so_far(index);
        for support in &supports {
            let segment = support.segment.as_ref();
            // Google counts bytes, and leaves out a zero.
            let start = segment.map(|segment| characters(text, segment.start_index.unwrap_or(0)));
            let end = segment.and_then(|segment| segment.end_index).map(|end| characters(text, end));
            let chosen = support.grounding_chunk_indices.iter().flatten().filter_map(|&at| sources.get(at)?.web.as_ref());
            for source in chosen {
                cite(source.uri.as_deref(), source.title.as_deref(), start, end);
            }
        }
    }
    if !annotations.is_empty() {
        out.delta(index, Delta { annotations, ..Delta::default() });
    }
}

/// How many characters the first `bytes` bytes of a text are.
fn characters(text: &str, bytes: u64) -> u64 {
    let head = usize::try_from(bytes).ok().and_then(|end| text.get(..end));
    head.map_or(bytes, |head| head.chars().count() as u64)
}

/// Google's log probabilities in OpenAI's form.
fn logprobs(result: LogprobsResult) -> Option<Value> {
    let chosen = result.chosen_candidates?;
    let mut tops = result.top_candidates.unwrap_or_default().into_iter();
    let entry =
        |token: &str, probability: &Option<Value>| json!({ "token": token, "logprob": probability, "bytes": token.as_bytes() });
    let content: Vec<Value> = chosen
        .iter()
        .map(|token| {
            let top = tops.next().and_then(|top| top.candidates).unwrap_or_default();
            let mut content = entry(&token.token, &token.log_probability);
            content["top_logprobs"] = top.iter().map(|other| entry(&other.token, &other.log_probability)).collect();
            content
        })
        .collect();
    Some(json!({ "content": content }))
}

fn malformed(data: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Protocol, format!("the provider sent a piece that is no JSON of its format ({error})"))
        .with_body(data)
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::tests::mapped;

    #[test]
    fn signatures_go_back_as_they_came_also_through_json() {
        let pieces = [
            r#"{"candidates":[{"content":{"parts":[{"text":"Hm","thought":true}]}}],"modelVersion":"gemini-3-pro"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"I look."},{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"ONE"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"g"}}]},"finishReason":"STOP"}]}"#,
        ];
        let mut out = Emitter::new("gemini-3-pro".into(), 1, true);
        let mut reader = PieceReader::default();
        for piece in pieces {
            reader.read(piece, &mut out).unwrap();
        }
        out.close();
        let answer = serde_json::to_string(&out.answer().to_completion()).unwrap();
        let message = serde_json::from_str::<Value>(&answer).unwrap()["choices"][0]["message"].clone();
        let ids = [message["tool_calls"][0]["id"].clone(), message["tool_calls"][1]["id"].clone()];
        let sent = mapped(&json!({ "model": "gemini/gemini-3-pro", "messages": [{ "role": "user", "content": "x" }, message] }));
        let expected = json!([
            { "text": "I look." },
            { "functionCall": { "name": "f", "args": { "a": 1 }, "id": ids[0] }, "thoughtSignature": "ONE" },
            { "functionCall": { "name": "g", "args": {}, "id": ids[1] } },
        ]);
        assert_eq!(sent["contents"][1]["parts"], expected);
    }
}
