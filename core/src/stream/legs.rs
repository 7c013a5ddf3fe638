//! The legs of an answer: one, or several that are joined where a list of models is asked.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use super::Accumulator;
use super::leg::{Leg, State};
use super::recovery::Recovery;
use crate::error::{Error, Result};
use crate::resilience::course::Course;
use crate::telemetry::CallSpan;
use crate::types::{ChatCompletion, ChatCompletionChunk, LegEvent};

/// Puts what is ready in place of what a list held, and says whether there was anything. The two lists change places, so that no chunk is
/// moved: what is ready next is likely to be as long.
pub(super) fn hand_over(ready: &mut VecDeque<ChatCompletionChunk>, batch: &mut Vec<ChatCompletionChunk>) -> bool {
    batch.clear();
    if ready.is_empty() {
        return false;
    }
    batch.reserve(ready.len());
    *batch = std::mem::replace(ready, std::mem::take(batch).into()).into();
    true
}

pub(super) struct Legs {
    pub leg: Box<Leg>,
    /// Where the request names several models: what goes on when the leg fails.
    pub recovery: Option<Box<Recovery>>,
    /// The call's, until its end is said there.
    pub span: Option<CallSpan>,
}

impl Legs {
    pub(super) fn of(leg: Leg) -> Self {
        Self { leg: Box::new(leg), recovery: None, span: None }
    }

    pub(super) fn go_on_by(&mut self, course: Box<Course>, event: Option<LegEvent>) {
        if let Some(event) = event {
            self.leg.emitter.mark_first(event);
        }
        self.recovery = Some(Box::new(Recovery::new(course)));
    }

    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ChatCompletionChunk>>> {
        // What is there is handed out without asking who would go on: a list of models costs nothing while nothing fails.
        if let Some(chunk) = self.ready().pop_front() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        ready!(self.fill(cx, 1));
        Poll::Ready(self.ready().pop_front().map(Ok).or_else(|| self.leg.take_error().map(Err)))
    }

    /// While bytes are there it reads on until `enough` chunks are. The memory of what the list held is used again.
    pub(super) fn poll_batch_into(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<ChatCompletionChunk>,
        enough: usize,
    ) -> Poll<Option<Result<()>>> {
        self.leg.emitter.take_back(batch);
        ready!(self.fill(cx, enough));
        self.leg.clock.pause();
        Poll::Ready(if hand_over(self.ready(), batch) { Some(Ok(())) } else { self.leg.take_error().map(Err) })
    }

    pub(super) fn answer(&self) -> &Accumulator {
        self.recovery.as_ref().and_then(|recovery| recovery.answer()).unwrap_or(self.leg.emitter.answer())
    }

    pub(super) fn completion(&self) -> ChatCompletion {
        match &self.recovery {
            Some(recovery) => recovery.said(&self.leg),
            None => self.leg.completion(),
        }
    }

    pub(super) fn take_completion(&mut self) -> ChatCompletion {
        match &mut self.recovery {
            Some(recovery) => recovery.take_said(&mut self.leg),
            None => self.leg.take_completion(),
        }
    }

    pub(super) fn cancel(&mut self) {
        match &mut self.recovery {
            Some(recovery) => recovery.cancel(&mut self.leg),
            None => self.leg.cancel(),
        }
        self.trace_end();
    }

    pub(super) fn take_error(&mut self) -> Option<Error> {
        self.leg.take_error()
    }

    /// Closes the connection and ends with this error, which is handed out here.
    pub(super) fn stop(&mut self, error: Error) -> Error {
        if let Some(recovery) = &mut self.recovery {
            recovery.stop();
        }
        self.leg.fail(error);
        self.trace_end();
        self.leg.take_error().expect("a leg that failed has its error")
    }

    /// Whether the answer is whole and all of it was handed out.
    pub(super) fn is_whole(&mut self) -> bool {
        self.leg.is_whole() && self.ready().is_empty() && self.recovery.as_ref().is_none_or(|recovery| !recovery.is_at_work())
    }

    /// Ready once a chunk is there, or the stream is over.
    fn fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        ready!(match &mut self.recovery {
            Some(recovery) => recovery.fill(&mut self.leg, cx, most),
            None => self.leg.fill(cx, most),
        });
        self.trace_end();
        Poll::Ready(())
    }

    /// Says in the call's span how it ended, once it has.
    fn trace_end(&mut self) {
        if self.span.is_none() || self.recovery.as_ref().is_some_and(|recovery| !recovery.is_over()) {
            return;
        }
        let error = match &self.leg.state {
            State::Ended => None,
            State::Failed(Some(error)) => Some(error),
            State::Open | State::Proven | State::Draining | State::Failed(None) => return,
        };
        if let Some(span) = self.span.take().filter(|span| !span.is_disabled()) {
            span.end(Some(&self.leg.meta.provider), &self.completion(), error);
        }
    }

    /// The chunks that are there, of the first leg or of all together.
    fn ready(&mut self) -> &mut VecDeque<ChatCompletionChunk> {
        match self.recovery.as_mut().and_then(|recovery| recovery.ready()) {
            Some(ready) => ready,
            None => self.leg.emitter.ready_mut(),
        }
    }
}
