//! A stream of chunks: read as it is asked for, ended exactly once, closed when it is dropped.
//!
//! [`ChatStream`] is polled and nothing runs while it is not: what waits for a consumer is what one read of the socket brought, and the
//! socket itself stops. A `leg` is one route's answer; `legs` join several where a list of models is asked; `hooked` puts a program's
//! hooks between them and the consumer. [`StreamHandle`] shares a stream between threads for the languages that need it.

mod accumulator;
mod clock;
mod emitter;
mod handle;
mod hooked;
mod joined;
mod leg;
mod legs;
mod meta;
mod recovery;
#[cfg(test)]
mod replay;
mod told;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use http::HeaderMap;

pub use accumulator::Accumulator;
pub use emitter::{Emitter, ToolPiece};
pub use handle::StreamHandle;

use crate::error::{Error, Result};
use crate::hooks::{CallHooks, Ending};
use crate::resilience::cache::Flight;
use crate::resilience::course::Course;
use crate::resilience::limits::Turn;
use crate::telemetry::CallSpan;
use crate::types::{ChatCompletion, ChatCompletionChunk, LegEvent};
pub(crate) use clock::Clock;
use hooked::Hooked;
pub(crate) use leg::Leg;
use legs::Legs;
pub(crate) use meta::Meta;

/// How many chunks are read ahead before they are handed over: enough to be worth a crossing into another language …
const BATCH: usize = 256;
/// … and, where their memory is used again, so few that it stays in the nearest cache.
const REUSED_BATCH: usize = 32;

/// An answer as it comes. Iterate it with `futures::StreamExt`, or take what is there with [`ChatStream::next_batch`].
///
/// It ends after the answer's last chunk, or with one error; nothing follows either. Dropping it closes the connection.
pub struct ChatStream(Face);

/// What the consumer faces.
enum Face {
    Plain(Legs),
    Hooked(Box<Hooked>),
}

impl ChatStream {
    /// Tells an answer that is there already.
    pub(crate) fn told(answer: ChatCompletion, meta: Meta, wants_usage: bool) -> Self {
        Self::of(told::leg(answer, meta, wants_usage))
    }

    pub(crate) fn of(leg: Leg) -> Self {
        Self(Face::Plain(Legs::of(leg)))
    }

    /// Has the stream go on by `course` when it fails; `event` tells of the routes that failed before it began.
    pub(crate) fn with_course(mut self, course: Box<Course>, event: Option<LegEvent>) -> Self {
        self.legs_mut().go_on_by(course, event);
        self
    }

    /// Puts the hooks of its call between it and the consumer.
    pub(crate) fn with_hooks(self, ending: Ending) -> Self {
        match self.0 {
            Face::Plain(legs) => Self(Face::Hooked(Box::new(Hooked::new(legs, ending)))),
            Face::Hooked(_) => self,
        }
    }

    /// Has it say in `span` how the call ended.
    pub(crate) fn with_span(mut self, span: CallSpan) -> Self {
        self.legs_mut().span = Some(span);
        self
    }

    /// Holds its turn under the client's limits until its answer is over.
    pub(crate) fn in_turn(mut self, turn: Option<Turn>) -> Self {
        if let Some(turn) = turn {
            self.legs_mut().leg.take_turn(turn);
        }
        self
    }

    /// Keeps its answer, once whole, for those who ask the same.
    pub(crate) fn with_flight(mut self, flight: Flight) -> Self {
        self.legs_mut().leg.take_flight(flight);
        self
    }

    /// Says which route of a call with hooks gives it.
    pub(crate) fn of_attempt(mut self, attempt: u32) -> Self {
        self.legs_mut().leg.meta.attempt = attempt;
        self
    }

    /// The next chunk; `None` after the last one. While this is not awaited, no deadline but the total one runs.
    pub async fn next(&mut self) -> Option<Result<ChatCompletionChunk>> {
        let waiting = Waiting(self);
        std::future::poll_fn(|cx| waiting.0.poll_chunk(cx)).await
    }

    /// All chunks that are there, at least one; `None` after the last one. It never waits to make a batch larger.
    pub async fn next_batch(&mut self) -> Option<Result<Vec<ChatCompletionChunk>>> {
        let waiting = Waiting(self);
        std::future::poll_fn(|cx| waiting.0.poll_batch(cx)).await
    }

    /// The answer so far, readable at any moment; whole once the stream has ended.
    pub fn answer(&self) -> &Accumulator {
        match &self.0 {
            Face::Plain(legs) => legs.answer(),
            Face::Hooked(hooked) => hooked.answer(),
        }
    }

    /// Reads to the end and returns the whole answer.
    pub async fn finish(mut self) -> Result<ChatCompletion> {
        while let Some(batch) = self.next_batch().await {
            batch?;
        }
        Ok(self.into_completion())
    }

    /// The answer so far as a response, with who gave it and what it cost.
    pub fn completion(&self) -> ChatCompletion {
        match &self.0 {
            Face::Plain(legs) => legs.completion(),
            Face::Hooked(hooked) => hooked.completion(),
        }
    }

    /// As [`Self::completion`], without copying the answer.
    pub fn into_completion(mut self) -> ChatCompletion {
        match &mut self.0 {
            Face::Plain(legs) => legs.take_completion(),
            Face::Hooked(hooked) => hooked.take_completion(),
        }
    }

    /// The headers of the provider's answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.meta().headers
    }

    /// The provider's name for the request.
    pub fn request_id(&self) -> Option<&str> {
        self.meta().request_id.as_deref()
    }

    /// The provider that answers.
    pub fn provider(&self) -> &str {
        &self.meta().provider
    }

    /// The model that was asked, as the provider names it.
    pub fn model(&self) -> &str {
        &self.meta().model
    }

    /// Closes the connection now. The stream ends with an error of kind `cancelled` if it had not ended.
    pub fn cancel(&mut self) {
        match &mut self.0 {
            Face::Plain(legs) => legs.cancel(),
            Face::Hooked(hooked) => hooked.cancel(),
        }
    }

    /// As [`Self::next`], for those who poll.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ChatCompletionChunk>>> {
        match &mut self.0 {
            Face::Plain(legs) => legs.poll_chunk(cx),
            Face::Hooked(hooked) => hooked.poll_chunk(cx),
        }
    }

    /// As [`Self::next_batch`], for those who poll. From what is ready until the next poll nobody waits.
    pub fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<ChatCompletionChunk>>>> {
        let mut batch = Vec::new();
        self.poll_into(cx, &mut batch, BATCH).map(|next| next.map(|filled| filled.map(|()| batch)))
    }

    /// As [`Self::poll_batch`], into a list: its memory, and that of the chunks in it, is used again for those to come. Give back the
    /// list of the call before, looked at and not taken from, for the least work a chunk.
    pub fn poll_batch_into(&mut self, cx: &mut Context<'_>, batch: &mut Vec<ChatCompletionChunk>) -> Poll<Option<Result<()>>> {
        self.poll_into(cx, batch, REUSED_BATCH)
    }

    fn poll_into(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<ChatCompletionChunk>,
        enough: usize,
    ) -> Poll<Option<Result<()>>> {
        match &mut self.0 {
            Face::Plain(legs) => legs.poll_batch_into(cx, batch, enough),
            Face::Hooked(hooked) => hooked.poll_batch_into(cx, batch),
        }
    }

    /// Says that nobody waits, although the last poll found nothing: until the next one no deadline but the total one runs.
    pub fn rest(&mut self) {
        self.legs_mut().leg.rest();
    }

    /// Waits until there is a chunk, the end, or an error, and hands the error out.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let waiting = Waiting(self);
        std::future::poll_fn(|cx| waiting.0.legs_mut().leg.poll_begun(cx)).await
    }

    /// Ready once the model has said something, or the answer is over; the error of one that said nothing is handed out.
    pub(crate) fn poll_spoken(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.legs_mut().leg.poll_spoken(cx)
    }

    /// What the hooks of the call make of its failure before anything was shown.
    pub(crate) async fn judged(self, hooks: Option<&Arc<CallHooks>>, error: Error) -> Result<Self> {
        let leg = &self.legs().leg;
        match hooks.and_then(|hooks| leg.judge(hooks, &error)) {
            None => Err(error),
            Some(judged) => judged.await.map(|answer| Self::of(told::instead_of(leg, answer))),
        }
    }

    fn into_leg(self) -> Box<Leg> {
        match self.0 {
            Face::Plain(legs) => legs.leg,
            Face::Hooked(_) => unreachable!("hooks stand outside of all legs"),
        }
    }

    fn legs(&self) -> &Legs {
        match &self.0 {
            Face::Plain(legs) => legs,
            Face::Hooked(hooked) => hooked.legs(),
        }
    }

    fn legs_mut(&mut self) -> &mut Legs {
        match &mut self.0 {
            Face::Plain(legs) => legs,
            Face::Hooked(hooked) => hooked.legs_mut(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.legs().leg.meta
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leg = &self.legs().leg;
        f.debug_struct("ChatStream").field("state", &leg.state).field("meta", &leg.meta).finish_non_exhaustive()
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatCompletionChunk>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx)
    }
}

/// Someone awaits the stream; when that ends, its clocks stand still.
struct Waiting<'a>(&'a mut ChatStream);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.rest();
    }
}
