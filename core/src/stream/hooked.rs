//! Hooks between the legs of an answer and its consumer.
//!
//! They stand outermost: recovery goes by what the routes truly said, while the consumer, the final response and the partial answer of an
//! error go by what the hooks let through.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::legs::hand_over;
use super::told;
use super::{Accumulator, BATCH, Legs};
use crate::error::{Error, Result};
use crate::hooks::{Ending, Pending, RouteHooks, Stage, Telling, cancelled};
use crate::types::{ChatCompletion, ChatCompletionChunk};

pub(super) struct Hooked {
    legs: Legs,
    ending: Ending,
    ready: VecDeque<ChatCompletionChunk>,
    /// What the consumer has seen, where hooks may have changed it.
    seen: Option<Seen>,
    step: Step,
}

/// What is waited for.
enum Step {
    Legs,
    Chunks(Pending<'static, Result<Vec<ChatCompletionChunk>>>),
    /// A route's failure, which is the call's unless it is answered.
    Failure(Pending<'static, Result<ChatCompletion>>),
    /// The hooks are told of the end before the consumer is.
    Ending(Telling, Option<Error>),
    Over(Option<Error>),
}

/// Chunks as the consumer has them.
#[derive(Default)]
struct Seen {
    answer: Accumulator,
    /// How many tool calls a reset made void: later ones are numbered on.
    void_calls: u32,
    shown_calls: u32,
}

impl Hooked {
    pub(super) fn new(legs: Legs, ending: Ending) -> Self {
        let seen = ending.call.want(Stage::OnChunks).then(Seen::default);
        Self { legs, ending, ready: VecDeque::new(), seen, step: Step::Legs }
    }

    pub(super) fn legs(&self) -> &Legs {
        &self.legs
    }

    pub(super) fn legs_mut(&mut self) -> &mut Legs {
        &mut self.legs
    }

    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ChatCompletionChunk>>> {
        ready!(self.fill(cx));
        Poll::Ready(self.ready.pop_front().map(Ok).or_else(|| self.take_error().map(Err)))
    }

    pub(super) fn poll_batch_into(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<ChatCompletionChunk>,
    ) -> Poll<Option<Result<()>>> {
        ready!(self.fill(cx));
        Poll::Ready(if hand_over(&mut self.ready, batch) { Some(Ok(())) } else { self.take_error().map(Err) })
    }

    pub(super) fn answer(&self) -> &Accumulator {
        self.seen.as_ref().map_or_else(|| self.legs.answer(), |seen| &seen.answer)
    }

    pub(super) fn completion(&self) -> ChatCompletion {
        let mut said = self.legs.completion();
        if let Some(seen) = &self.seen {
            said.choices = seen.answer.to_completion().choices;
        }
        said
    }

    pub(super) fn take_completion(&mut self) -> ChatCompletion {
        if !matches!(self.step, Step::Over(_)) {
            // The hook that hears of the end is still to be told.
            return self.completion();
        }
        let mut said = self.legs.take_completion();
        if let Some(seen) = &mut self.seen {
            said.choices = std::mem::take(&mut seen.answer).into_completion().choices;
        }
        said
    }

    pub(super) fn cancel(&mut self) {
        match std::mem::replace(&mut self.step, Step::Legs) {
            Step::Legs => {
                self.legs.cancel();
                if let Some(error) = self.legs.take_error() {
                    self.end(Some(error));
                }
            }
            // What a hook has in hand is not waited for.
            Step::Chunks(_) | Step::Failure(_) => {
                let error = self.legs.stop(cancelled());
                self.end(Some(error));
            }
            Step::Ending(_, error) => self.step = Step::Over(error),
            over @ Step::Over(_) => self.step = over,
        }
    }

    /// Ready once a chunk is there, or the call is over.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ready.is_empty() {
            match &mut self.step {
                Step::Legs => {
                    let mut chunks = Vec::new();
                    match ready!(self.legs.poll_batch_into(cx, &mut chunks, BATCH)) {
                        Some(Ok(())) => self.came(chunks),
                        Some(Err(error)) => self.failed(error),
                        None => self.end(None),
                    }
                }
                Step::Chunks(step) => {
                    let result = ready!(step.as_mut().poll(cx));
                    self.step = Step::Legs;
                    match result {
                        Ok(chunks) => self.show(chunks),
                        Err(refusal) => {
                            let refusal = self.legs.stop(refusal);
                            self.end(Some(refusal));
                        }
                    }
                }
                Step::Failure(step) => match ready!(step.as_mut().poll(cx)) {
                    Ok(answer) => {
                        let leg = told::instead_of(&self.legs.leg, answer);
                        self.legs = Legs::of(leg);
                        self.step = Step::Legs;
                    }
                    Err(error) => self.end(Some(error)),
                },
                Step::Ending(step, error) => {
                    ready!(Pin::new(step).poll(cx));
                    self.step = Step::Over(error.take());
                }
                Step::Over(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }

    fn came(&mut self, chunks: Vec<ChatCompletionChunk>) {
        if self.seen.is_some() {
            self.step = Step::Chunks(Box::pin(self.route().on_chunks(chunks)));
        } else {
            self.show(chunks);
        }
    }

    fn show(&mut self, chunks: Vec<ChatCompletionChunk>) {
        if chunks.is_empty() {
            return;
        }
        self.ending.call.show();
        if let Some(seen) = &mut self.seen {
            for chunk in &chunks {
                seen.see(chunk);
            }
        }
        self.ready.extend(chunks);
    }

    /// The legs have failed. Where there are several, each failure was told when it happened.
    fn failed(&mut self, error: Error) {
        let is_told = self.legs.recovery.is_some();
        match self.legs.leg.judge(&self.ending.call, &error).filter(|_| !is_told) {
            Some(judged) => self.step = Step::Failure(judged),
            None => self.end(Some(error)),
        }
    }

    fn end(&mut self, error: Option<Error>) {
        let response = self.response();
        let error = error.map(|error| match &response {
            Some(partial) => error.with_partial(partial.clone()),
            None => error.without_partial(),
        });
        let told = self.ending.tell(Some(self.route().at), response, error.clone());
        self.step = Step::Ending(told, error);
    }

    /// What was said, if anything was.
    fn response(&self) -> Option<ChatCompletion> {
        Some(self.completion()).filter(|said| !said.choices.is_empty())
    }

    fn route(&self) -> RouteHooks {
        let meta = &self.legs.leg.meta;
        self.ending.call.route(meta.attempt, &meta.provider, &meta.model)
    }

    fn take_error(&mut self) -> Option<Error> {
        match &mut self.step {
            Step::Over(error) => error.take(),
            _ => None,
        }
    }
}

impl Drop for Hooked {
    /// Whoever leaves a whole answer has had it; any other is left.
    fn drop(&mut self) {
        match std::mem::replace(&mut self.step, Step::Over(None)) {
            Step::Over(_) | Step::Ending(..) => {}
            step => {
                let is_whole = matches!(step, Step::Legs) && self.ready.is_empty() && self.legs.is_whole();
                let response = self.response();
                let error = (!is_whole).then(cancelled).map(|error| match &response {
                    Some(partial) => error.with_partial(partial.clone()),
                    None => error,
                });
                let at = self.route().at;
                drop(self.ending.tell(Some(at), response, error));
            }
        }
    }
}

impl Seen {
    fn see(&mut self, chunk: &ChatCompletionChunk) {
        if chunk.literllm.as_ref().is_some_and(|event| event.event == "reset") {
            self.answer = Accumulator::default();
            self.void_calls = self.shown_calls;
        }
        for call in chunk.choices.iter().flat_map(|choice| &choice.delta.tool_calls) {
            self.shown_calls = self.shown_calls.max(call.index.saturating_add(1));
        }
        if self.void_calls == 0 {
            return self.answer.push(chunk);
        }
        let mut own = chunk.clone();
        for call in own.choices.iter_mut().flat_map(|choice| &mut choice.delta.tool_calls) {
            call.index = call.index.saturating_sub(self.void_calls);
        }
        self.answer.push(&own);
    }
}
