//! From what a provider says to the normal form of a stream: one role chunk, deltas, exactly one finish chunk a choice, the usage chunk
//! when asked for, the same id, model and time throughout, tool calls numbered 0, 1, 2 … with one id each.
//!
//! Translators tell it what they read, in any order and as often as their provider repeats it; it alone decides what becomes a chunk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::DATE;

use super::accumulator::Accumulator;
use crate::types::{
    ChatCompletionChunk, ChunkChoice, Delta, Extra, FinishReason, FunctionDelta, LegEvent, Role, Str, ToolCallDelta, Usage,
};

/// How many chunks that were given back are kept to be used again, and how much room for text in each.
const MOST_SPARE: usize = 64;
const MOST_SPARE_TEXT: usize = 1 << 10;

/// Collects what a translator says and hands out chunks.
#[derive(Debug)]
pub struct Emitter {
    ready: VecDeque<ChatCompletionChunk>,
    /// Choices that were given back: each alone in its list, and as new but for an empty text.
    spare: Vec<Vec<ChunkChoice>>,
    answer: Accumulator,
    id: Str,
    model: Str,
    created: i64,
    /// What made-up ids are made of.
    seed: u64,
    /// Of the provider's answer, for the time at which it sent it.
    headers: Option<Arc<HeaderMap>>,
    system_fingerprint: Option<Str>,
    service_tier: Option<Str>,
    /// Unknown fields that came without a delta; they ride on the next chunk.
    loose: Extra,
    choices: Vec<ChoiceState>,
    usage: Option<Box<Usage>>,
    wants_usage: bool,
    expected_choices: usize,
    proven: bool,
    done: bool,
}

#[derive(Debug)]
struct ChoiceState {
    index: u32,
    calls: Vec<CallState>,
    finish: Option<(FinishReason, Option<Str>)>,
    /// Something was said after a finish reason: the host's finish reasons prove nothing.
    reopened: bool,
    /// Unknown fields that came without a delta.
    loose: Extra,
}

/// One tool call of a choice; its place in the list is its number.
#[derive(Debug, Default)]
struct CallState {
    /// The number that the provider gave it, if any.
    upstream: Option<u32>,
    upstream_id: String,
    name: String,
    has_arguments: bool,
}

impl CallState {
    /// Whether a piece with the same number goes on with this call. Providers repeat ids and names, leave either out, or give every
    /// call the same number or none: another id with a name begins a new call, and so does another name without an id, or any
    /// name where there is neither id nor number.
    fn continues(&self, piece: &ToolPiece<'_>) -> bool {
        if piece.name.is_empty() || self.name.is_empty() {
            return piece.id.is_empty() || self.upstream_id.is_empty() || self.upstream_id == piece.id || piece.index.is_some();
        }
        if !piece.id.is_empty() && !self.upstream_id.is_empty() {
            return self.upstream_id == piece.id;
        }
        piece.index.is_some() && self.name == piece.name
    }
}

/// A piece of a tool call as a provider gives it; empty where it says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToolPiece<'a> {
    /// The provider's own number for the call.
    pub index: Option<u32>,
    pub id: &'a str,
    pub name: &'a str,
    pub arguments: &'a str,
}

impl Emitter {
    /// `model` stands in until the provider names the one that answers.
    pub fn new(model: Str, expected_choices: u32, wants_usage: bool) -> Self {
        Self {
            ready: VecDeque::new(),
            spare: Vec::new(),
            answer: Accumulator::default(),
            id: Str::default(),
            model,
            created: 0,
            seed: random_number(),
            headers: None,
            system_fingerprint: None,
            service_tier: None,
            loose: Extra::default(),
            choices: Vec::new(),
            usage: None,
            wants_usage,
            expected_choices: expected_choices.max(1) as usize,
            proven: false,
            done: false,
        }
    }

    /// One that makes up the same each time.
    #[cfg(test)]
    pub(crate) fn the_same() -> Self {
        let mut emitter = Self::new("m".into(), 1, true);
        let date = http::HeaderValue::from_static("Tue, 14 Nov 2023 22:13:20 GMT");
        emitter.answered(Some("the same each time"), &Arc::new([(DATE, date)].into_iter().collect()));
        emitter
    }

    /// Takes in what the answer's headers say: its name, from which ids that the provider leaves out are made, and its time.
    pub(crate) fn answered(&mut self, request_id: Option<&str>, headers: &Arc<HeaderMap>) {
        if let Some(id) = request_id {
            self.seed = hash(0, id.bytes());
        }
        self.headers = Some(Arc::clone(headers));
    }

    /// Names the answer. The first value that is not empty counts, and none after the first chunk.
    pub fn identify(&mut self, id: &str, model: &str, created: i64) {
        if !self.choices.is_empty() {
            return;
        }
        if self.id.is_empty() && !id.is_empty() {
            self.id = id.into();
        }
        if !model.is_empty() && self.model != *model {
            self.model = model.into();
        }
        if self.created == 0 && created > 0 {
            self.created = created;
        }
    }

    pub fn system_fingerprint(&mut self, fingerprint: &str) {
        set_if_new(&mut self.system_fingerprint, fingerprint);
    }

    pub fn service_tier(&mut self, tier: &str) {
        set_if_new(&mut self.service_tier, tier);
    }

    /// Carries fields that belong to no delta.
    pub fn extra(&mut self, extra: Extra) {
        self.loose.merge(extra);
    }

    /// Begins a choice even if nothing is said in it yet.
    pub fn begin(&mut self, choice: u32) {
        self.choice(choice);
    }

    pub fn text(&mut self, choice: u32, text: &str) {
        self.say(choice, text, |delta| &mut delta.content);
    }

    pub fn reasoning(&mut self, choice: u32, text: &str) {
        self.say(choice, text, |delta| &mut delta.reasoning_content);
    }

    /// As [`Self::delta`] with nothing but a text, which is what nearly all chunks are: made of what was given back.
    fn say(&mut self, choice: u32, text: &str, field: impl Fn(&mut Delta) -> &mut Option<String>) {
        if text.is_empty() {
            return;
        }
        let state = self.choice(choice);
        let extra = std::mem::take(&mut state.loose);
        if state.finish.is_some() {
            state.reopened = true;
            self.proven = self.done;
        }
        let mut choices = self.spare.pop().unwrap_or_else(|| vec![ChunkChoice::default()]);
        let said = &mut choices[0];
        let mut memory = said.delta.content.take().unwrap_or_default();
        memory.push_str(text);
        *field(&mut said.delta) = Some(memory);
        (said.index, said.extra) = (choice, extra);
        self.push(choices);
    }

    /// Takes back what was handed out, so that its memory is used again: a choice of each chunk, with room for its text and nothing else.
    pub(crate) fn take_back(&mut self, chunks: &mut Vec<ChatCompletionChunk>) {
        for chunk in &mut *chunks {
            if let [choice] = &mut *chunk.choices
                && self.spare.len() < MOST_SPARE
            {
                let Delta { content, reasoning_content, .. } = &mut choice.delta;
                let memory =
                    content.take().or_else(|| reasoning_content.take()).filter(|text| text.capacity() <= MOST_SPARE_TEXT);
                *choice = ChunkChoice::default();
                choice.delta.content = memory.map(|mut text| {
                    text.clear();
                    text
                });
                self.spare.push(std::mem::take(&mut chunk.choices));
            }
        }
        chunks.clear();
    }

    pub fn delta(&mut self, choice: u32, delta: Delta) {
        self.add(ChunkChoice { index: choice, delta, ..ChunkChoice::default() });
    }

    /// Adds to a choice. The role is dropped (the role chunk says it), and so is a delta that says nothing; fields that came with
    /// nothing else ride on the choice's next chunk.
    pub fn add(&mut self, mut choice: ChunkChoice) {
        let state = self.choice(choice.index);
        choice.delta.role = None;
        for said in [&mut choice.delta.content, &mut choice.delta.reasoning_content, &mut choice.delta.refusal] {
            said.take_if(|said| said.is_empty());
        }
        if !choice.delta.has_token() && choice.delta.extra.is_empty() && choice.logprobs.is_none() {
            state.loose.merge(choice.extra);
            return;
        }
        if state.finish.is_some() && choice.delta.has_token() {
            state.reopened = true;
            self.proven = self.done;
        }
        let state = self.choice(choice.index);
        if !state.loose.is_empty() {
            let own = std::mem::replace(&mut choice.extra, std::mem::take(&mut state.loose));
            choice.extra.merge(own);
        }
        self.push(vec![choice]);
    }

    /// Gives a piece of a tool call its number, id and name by what came before, or nothing if it adds nothing.
    pub fn tool_piece(&mut self, choice: u32, piece: ToolPiece<'_>) -> Option<ToolCallDelta> {
        let piece = ToolPiece { id: if piece.id == "null" { "" } else { piece.id }, ..piece };
        let seed = self.seed;
        let calls = &mut self.choice(choice).calls;
        let known = calls.iter().rposition(|call| call.upstream == piece.index).filter(|&at| calls[at].continues(&piece));
        let begins = known.is_none();
        let at = known.unwrap_or_else(|| {
            calls.push(CallState { upstream: piece.index, ..CallState::default() });
            calls.len() - 1
        });
        let call = &mut calls[at];
        if call.upstream_id.is_empty() {
            piece.id.clone_into(&mut call.upstream_id);
        }
        let name = (call.name.is_empty() && !piece.name.is_empty()).then(|| piece.name.to_owned());
        if let Some(name) = &name {
            call.name.clone_from(name);
        }
        call.has_arguments |= !piece.arguments.is_empty();
        if !begins && name.is_none() && piece.arguments.is_empty() {
            return None;
        }
        Some(ToolCallDelta {
            index: u32::try_from(at).unwrap_or(u32::MAX),
            id: begins.then(|| if piece.id.is_empty() { made_up("call_", seed, choice, at) } else { piece.id.to_owned() }),
            kind: begins.then(|| Str::from_static("function")),
            function: Some(FunctionDelta { name, arguments: Some(piece.arguments.to_owned()), ..FunctionDelta::default() }),
            extra: Extra::default(),
        })
    }

    /// Adds a piece of a tool call as a chunk of its own.
    pub fn tool(&mut self, choice: u32, piece: ToolPiece<'_>) {
        self.tool_with(choice, piece, Extra::default());
    }

    /// As [`Self::tool`], with fields to be carried on the call (a signature, say).
    pub fn tool_with(&mut self, choice: u32, piece: ToolPiece<'_>, extra: Extra) {
        let call = self.tool_piece(choice, piece);
        if let Some(call) = call {
            self.delta(choice, Delta { tool_calls: vec![ToolCallDelta { extra, ..call }], ..Delta::default() });
        }
    }

    /// Why a choice ended. It is held until the stream ends; the last one said counts. Once every choice has ended the answer is
    /// proven, unless its host went on after a finish reason before.
    pub fn finish(&mut self, choice: u32, reason: FinishReason, native: Option<Str>) {
        self.choice(choice).finish = Some((reason, native));
        if self.choices.len() >= self.expected_choices {
            self.proven |= self.choices.iter().all(|choice| choice.finish.is_some() && !choice.reopened);
        }
    }

    /// The counts so far; the last ones said count.
    pub fn usage(&mut self, usage: Usage) {
        self.usage = Some(Box::new(usage));
    }

    pub fn current_usage(&self) -> Option<&Usage> {
        self.usage.as_deref()
    }

    /// Whether a choice has called a tool.
    pub fn has_tool_calls(&self, choice: u32) -> bool {
        self.choices.iter().any(|state| state.index == choice && !state.calls.is_empty())
    }

    /// The provider's proof that the answer is whole, though more may follow.
    pub fn prove(&mut self) {
        self.proven = true;
    }

    /// The provider's proof that the answer is whole and nothing follows.
    pub fn done(&mut self) {
        self.proven = true;
        self.done = true;
    }

    /// Takes back a proof that turned out to be none: more of the answer followed.
    pub(crate) fn retract(&mut self) {
        self.proven = self.done;
    }

    /// What a choice has said so far.
    pub(crate) fn text_so_far(&self, choice: u32) -> &str {
        let known = self.answer.answer().choices.iter().find(|known| known.index == choice);
        known.and_then(|choice| choice.message.content.as_ref()).map_or("", |content| content.as_text())
    }

    pub(crate) fn wants_usage(&self) -> bool {
        self.wants_usage
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.proven
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether anything has been said at all.
    pub(crate) fn has_begun(&self) -> bool {
        !self.choices.is_empty()
    }

    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn pop(&mut self) -> Option<ChatCompletionChunk> {
        self.ready.pop_front()
    }

    pub(crate) fn ready_mut(&mut self) -> &mut VecDeque<ChatCompletionChunk> {
        &mut self.ready
    }

    /// Tells with the first chunk what happened before it.
    pub(crate) fn mark_first(&mut self, event: LegEvent) {
        if let Some(first) = self.ready.front_mut() {
            first.literllm = Some(Box::new(event));
        }
    }

    #[cfg(test)]
    pub(crate) fn take_ready(&mut self) -> Vec<ChatCompletionChunk> {
        self.ready.drain(..).collect()
    }

    pub(crate) fn answer(&self) -> &Accumulator {
        &self.answer
    }

    pub(crate) fn take_answer(&mut self) -> Accumulator {
        std::mem::take(&mut self.answer)
    }

    /// The stream is whole: arguments that never came become `{}`, every choice gets its finish chunk, and the usage follows.
    pub(crate) fn close(&mut self) {
        if self.choices.is_empty() {
            self.choice(0);
        }
        for at in 0..self.choices.len() {
            let state = &mut self.choices[at];
            let index = state.index;
            let empty_calls: Vec<ToolCallDelta> = state
                .calls
                .iter()
                .enumerate()
                .filter(|(_, call)| !call.has_arguments)
                .map(|(number, _)| ToolCallDelta {
                    index: u32::try_from(number).unwrap_or(u32::MAX),
                    function: Some(FunctionDelta { arguments: Some("{}".to_owned()), ..FunctionDelta::default() }),
                    ..ToolCallDelta::default()
                })
                .collect();
            let supplied = if state.calls.is_empty() { FinishReason::STOP } else { FinishReason::TOOL_CALLS };
            let (reason, native) = state.finish.take().unwrap_or((supplied, None));
            let extra = std::mem::take(&mut state.loose);
            if !empty_calls.is_empty() {
                self.push(vec![ChunkChoice {
                    index,
                    delta: Delta { tool_calls: empty_calls, ..Delta::default() },
                    ..ChunkChoice::default()
                }]);
            }
            self.push(vec![ChunkChoice {
                index,
                finish_reason: Some(reason),
                native_finish_reason: native,
                extra,
                ..ChunkChoice::default()
            }]);
        }
        if let Some(usage) = self.usage.take() {
            self.answer.set_usage(&usage);
            if self.wants_usage {
                let chunk = ChatCompletionChunk { usage: Some(usage), ..self.chunk(Vec::new()) };
                self.ready.push_back(chunk);
            }
        }
    }

    /// The stream broke off: what is known of the usage still belongs to the partial answer.
    pub(crate) fn abandon(&mut self) {
        if let Some(usage) = self.usage.take() {
            self.answer.set_usage(&usage);
        }
    }

    /// The state of a choice; its role chunk goes out when it is first spoken of.
    fn choice(&mut self, index: u32) -> &mut ChoiceState {
        let known = self.choices.iter().position(|choice| choice.index == index);
        let at = known.unwrap_or_else(|| {
            if self.choices.is_empty() {
                self.settle_identity();
            }
            self.choices.push(ChoiceState { index, calls: Vec::new(), finish: None, reopened: false, loose: Extra::default() });
            let delta = Delta { role: Some(Role::ASSISTANT), content: Some(String::new()), ..Delta::default() };
            self.push(vec![ChunkChoice { index, delta, ..ChunkChoice::default() }]);
            self.choices.len() - 1
        });
        &mut self.choices[at]
    }

    fn settle_identity(&mut self) {
        if self.id.is_empty() {
            self.id = made_up("chatcmpl-", self.seed, 0, 0).into();
        }
        if self.created == 0 {
            let date = self.headers.as_ref().and_then(|headers| headers.get(DATE)?.to_str().ok());
            let sent = date.and_then(|date| httpdate::parse_http_date(date).ok()).filter(|sent| *sent > UNIX_EPOCH);
            let since = sent.unwrap_or_else(SystemTime::now).duration_since(UNIX_EPOCH);
            self.created = since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        }
    }

    fn push(&mut self, choices: Vec<ChunkChoice>) {
        let mut chunk = self.chunk(choices);
        chunk.extra = std::mem::take(&mut self.loose);
        self.answer.push(&chunk);
        self.ready.push_back(chunk);
    }

    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatCompletionChunk {
        ChatCompletionChunk {
            id: self.id.clone(),
            created: self.created,
            model: self.model.clone(),
            choices,
            usage: None,
            system_fingerprint: self.system_fingerprint.clone(),
            service_tier: self.service_tier.clone(),
            literllm: None,
            extra: Extra::default(),
        }
    }
}

fn set_if_new(slot: &mut Option<Str>, value: &str) {
    if !value.is_empty() && slot.as_deref() != Some(value) {
        *slot = Some(value.into());
    }
}

/// An id that the provider left out: the same for the same answer, unlikely to be another's. Nothing secret hangs on it.
fn made_up(prefix: &str, seed: u64, choice: u32, number: usize) -> String {
    let place = [choice.to_le_bytes(), u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()];
    let id = hash(seed, place.into_iter().flatten());
    format!("{prefix}{seed:016x}{:08x}", id >> 32)
}

/// FNV-1a.
fn hash(seed: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    bytes.into_iter().fold(OFFSET ^ seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn random_number() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_leaves_no_trace() {
        let [mut fresh, mut used] = [(); 2].map(|()| Emitter::the_same());
        let mut extra = Extra::default();
        extra.insert("vendor", 1.into());
        for round in 0..3 {
            for emitter in [&mut fresh, &mut used] {
                emitter.reasoning(0, "so");
                emitter.tool(0, ToolPiece { id: "call_1", name: "f", arguments: "{}", ..ToolPiece::default() });
                emitter.add(ChunkChoice {
                    delta: Delta { refusal: Some("no".to_owned()), extra: extra.clone(), ..Delta::default() },
                    logprobs: Some(Box::new(1.into())),
                    extra: extra.clone(),
                    ..ChunkChoice::default()
                });
                emitter.text(0, &"long".repeat(MOST_SPARE_TEXT));
                emitter.text(0, "short");
                emitter.extra(extra.clone());
                emitter.text(0, "");
                emitter.reasoning(0, "a thought");
            }
            let (expected, mut said) = (fresh.take_ready(), used.take_ready());
            assert_eq!(said, expected, "in round {round}");
            used.take_back(&mut said);
            assert!(said.is_empty() && !used.spare.is_empty());
            assert!(used.spare.iter().flatten().all(|spare| {
                spare.delta.content.as_ref().is_none_or(|text| text.is_empty() && text.capacity() <= MOST_SPARE_TEXT)
            }));
        }
        assert_eq!(used.answer().to_completion(), fresh.answer().to_completion());
    }
}
