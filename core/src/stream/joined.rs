//! The answer over several legs: what later ones bring is rewritten to belong to the first. One identity, no second role chunk, tool calls
//! numbered on, text through the seam.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::Accumulator;
use super::leg::Leg;
use crate::resilience::seam::Seam;
use crate::types::{ChatCompletionChunk, ChunkChoice, Delta, Usage};

/// How long text is held at a seam that cannot be decided yet; one that surely repeats what was said, since its last piece.
const LONGEST_HOLD: Duration = Duration::from_millis(400);

pub(super) struct Joined {
    pub ready: VecDeque<ChatCompletionChunk>,
    pub answer: Accumulator,
    /// A chunk of the first leg, without choices.
    pub identity: ChatCompletionChunk,
    /// It is made of pieces of several routes.
    pub is_pieced: bool,
    pub seam: Seam,
    pub hold: Option<Pin<Box<Sleep>>>,
    /// How many tool calls were shown that are void now.
    void_calls: u32,
    shown_calls: u32,
    pub usage: Option<Usage>,
    /// The chunks of the end wait until the answer was found valid.
    pub ending: Vec<ChatCompletionChunk>,
}

impl Joined {
    pub(super) fn after(leg: &Leg) -> Self {
        let answer = leg.emitter.answer().clone();
        let first = answer.answer();
        let identity = ChatCompletionChunk {
            id: first.id.clone(),
            created: first.created,
            model: first.model.clone(),
            ..ChatCompletionChunk::default()
        };
        let shown = first.choices.first().map_or(0, |choice| choice.message.tool_calls.len());
        Self {
            ready: VecDeque::new(),
            identity,
            is_pieced: false,
            seam: Seam::new("", "", false),
            hold: None,
            void_calls: 0,
            shown_calls: u32::try_from(shown).unwrap_or(0),
            usage: None,
            ending: Vec::new(),
            answer,
        }
    }

    /// What was said is void.
    pub(super) fn reset(&mut self) {
        self.answer = Accumulator::default();
        self.void_calls = self.shown_calls;
    }

    pub(super) fn add_usage(&mut self, usage: Option<Usage>) {
        let Some(usage) = usage else { return };
        match &mut self.usage {
            Some(sum) => sum.add(&usage),
            none => *none = Some(usage),
        }
    }

    /// Takes a chunk of a later leg.
    pub(super) fn accept(&mut self, mut chunk: ChatCompletionChunk) {
        chunk.id = self.identity.id.clone();
        chunk.created = self.identity.created;
        chunk.model = self.identity.model.clone();
        if let Some(usage) = &mut chunk.usage {
            if let Some(before) = &self.usage {
                usage.add(before);
            }
            self.ending.push(chunk);
            return;
        }
        if chunk.choices.iter().any(|choice| choice.finish_reason.is_some()) {
            self.ending.push(chunk);
            return;
        }
        for choice in &mut chunk.choices {
            if choice.delta.role.take().is_some() {
                choice.delta.content = None;
            }
            if choice.index == 0
                && let Some(text) = choice.delta.content.take()
            {
                choice.delta.content = Some(self.seam.push(&text)).filter(|text| !text.is_empty());
                if self.seam.follows_an_echo() {
                    self.hold = None;
                }
            }
        }
        // An empty answer begins with its role, for the final response's sake.
        let says = chunk.choices.iter().any(|choice| !choice.delta.is_empty() || choice.logprobs.is_some());
        if says || !chunk.extra.is_empty() {
            self.say(chunk);
        }
    }

    fn say(&mut self, mut chunk: ChatCompletionChunk) {
        self.answer.push(&chunk);
        for call in chunk.choices.iter_mut().flat_map(|choice| &mut choice.delta.tool_calls) {
            call.index += self.void_calls;
            self.shown_calls = self.shown_calls.max(call.index + 1);
        }
        self.ready.push_back(chunk);
    }

    /// Decides the seam with what is there.
    pub(super) fn release(&mut self) {
        self.hold = None;
        if self.seam.is_decided() {
            return;
        }
        let text = self.seam.release();
        if !text.is_empty() {
            let mut chunk = self.identity.clone();
            chunk.choices =
                vec![ChunkChoice { delta: Delta { content: Some(text), ..Delta::default() }, ..ChunkChoice::default() }];
            self.say(chunk);
        }
    }

    pub(super) fn end(&mut self) {
        for chunk in std::mem::take(&mut self.ending) {
            self.say(chunk);
        }
    }

    /// Ready when text was held long enough.
    pub(super) fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.seam.is_decided() || !self.seam.holds() {
            return Poll::Pending;
        }
        self.hold.get_or_insert_with(|| Box::pin(tokio::time::sleep(LONGEST_HOLD))).as_mut().poll(cx)
    }
}
