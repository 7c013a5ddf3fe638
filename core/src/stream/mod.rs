//! A stream of chunks: read as it is asked for, ended exactly once, closed when it is dropped.
//!
//! [`ChatStream`] is polled and nothing runs while it is not: what waits for a consumer is what one read of the socket brought, and the
//! socket itself stops. [`StreamHandle`] shares one between threads for the languages that need it.

mod accumulator;
mod clock;
mod emitter;
mod handle;
mod legs;
#[cfg(test)]
mod replay;

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

pub use accumulator::Accumulator;
pub use emitter::{Emitter, ToolPiece};
pub use handle::StreamHandle;

use crate::decode::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Translator;
use crate::resilience::course::Course;
use crate::telemetry::CallSpan;
use crate::transport::{AnswerBody, innermost};
use crate::types::{ChatCompletion, ChatCompletionChunk, LegEvent, Str};
pub(crate) use clock::Clock;
use legs::Recovery;

/// How long after the proof the rest is waited for.
const GRACE: Duration = Duration::from_secs(1);
/// How many chunks are read ahead at most before they are handed over.
const BATCH: usize = 256;

/// An answer as it comes. Iterate it with `futures::StreamExt`, or take what is there with [`ChatStream::next_batch`].
///
/// It ends after the answer's last chunk, or with one error; nothing follows either. Dropping it closes the connection.
pub struct ChatStream {
    leg: Box<Inner>,
    /// Where the request names several models: what goes on when the leg fails.
    recovery: Option<Box<Recovery>>,
}

pub(crate) struct Inner {
    body: Option<AnswerBody>,
    decoder: Decoder,
    translator: Box<dyn Translator>,
    emitter: Emitter,
    clock: Clock,
    state: State,
    meta: Meta,
    span: CallSpan,
}

/// Where a stream is.
#[derive(Debug)]
enum State {
    /// The answer is not proven whole.
    Open,
    /// It is proven whole; usage or more may follow.
    Proven,
    /// All was said; only the connection's own end is waited for, so that it can be used again.
    Draining,
    Ended,
    /// The error is to be handed out once.
    Failed(Option<Error>),
}

/// What is known of an answer beside its content.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub provider: Str,
    pub model: Str,
    pub request_id: Option<Str>,
    pub headers: Arc<HeaderMap>,
    /// The key, to be kept out of what a provider's error repeats.
    pub key: Option<secrecy::SecretString>,
}

impl ChatStream {
    pub(crate) fn new(
        body: AnswerBody,
        decoder: Decoder,
        translator: Box<dyn Translator>,
        emitter: Emitter,
        clock: Clock,
        meta: Meta,
        span: CallSpan,
    ) -> Self {
        let leg = Inner { body: Some(body), decoder, translator, emitter, clock, state: State::Open, meta, span };
        Self { leg: Box::new(leg), recovery: None }
    }

    /// Has the stream go on by `course` when it fails; `event` tells of the routes that failed before it began.
    pub(crate) fn with_course(mut self, course: Box<Course>, event: Option<LegEvent>) -> Self {
        if let Some(event) = event {
            self.leg.emitter.mark_first(event);
        }
        self.recovery = Some(Box::new(Recovery::new(course)));
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
        self.recovery.as_ref().and_then(|recovery| recovery.answer()).unwrap_or(self.leg.emitter.answer())
    }

    /// Reads to the end and returns the whole answer.
    pub async fn finish(mut self) -> Result<ChatCompletion> {
        while let Some(batch) = self.next_batch().await {
            batch?;
        }
        Ok(self.completion())
    }

    /// The answer so far as a response, with who gave it and what it cost.
    pub fn completion(&self) -> ChatCompletion {
        match &self.recovery {
            Some(recovery) => recovery.said(&self.leg),
            None => self.leg.completion(),
        }
    }

    /// The headers of the provider's answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.leg.meta.headers
    }

    /// The provider's name for the request.
    pub fn request_id(&self) -> Option<&str> {
        self.leg.meta.request_id.as_deref()
    }

    /// The provider that answers.
    pub fn provider(&self) -> &str {
        &self.leg.meta.provider
    }

    /// The model that was asked, as the provider names it.
    pub fn model(&self) -> &str {
        &self.leg.meta.model
    }

    /// Closes the connection now. The stream ends with an error of kind `cancelled` if it had not ended.
    pub fn cancel(&mut self) {
        match &mut self.recovery {
            Some(recovery) => recovery.cancel(&mut self.leg),
            None => self.leg.cancel(),
        }
    }

    pub(crate) fn into_leg(self) -> Box<Inner> {
        self.leg
    }

    /// Ready once a chunk is there, or the stream is over.
    fn fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        match &mut self.recovery {
            Some(recovery) => recovery.fill(&mut self.leg, cx, most),
            None => self.leg.fill(cx, most),
        }
    }

    /// The chunks that are there, of the first leg or of all together.
    fn ready(&mut self) -> &mut VecDeque<ChatCompletionChunk> {
        match self.recovery.as_mut().and_then(|recovery| recovery.ready()) {
            Some(ready) => ready,
            None => self.leg.emitter.ready_mut(),
        }
    }

    /// As [`Self::next`], for those who poll.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ChatCompletionChunk>>> {
        ready!(self.fill(cx, 1));
        Poll::Ready(self.ready().pop_front().map(Ok).or_else(|| self.leg.take_error().map(Err)))
    }

    /// As [`Self::next_batch`], for those who poll. From what is ready until the next poll nobody waits.
    pub fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<ChatCompletionChunk>>>> {
        ready!(self.fill(cx, BATCH));
        self.leg.clock.pause();
        let ready = self.ready();
        if ready.is_empty() {
            return Poll::Ready(self.leg.take_error().map(Err));
        }
        Poll::Ready(Some(Ok(ready.drain(..).collect())))
    }

    /// Waits until there is a chunk, the end, or an error, and hands the error out.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let waiting = Waiting(self);
        std::future::poll_fn(|cx| waiting.0.leg.fill(cx, 1)).await;
        let leg = &mut waiting.0.leg;
        if leg.emitter.ready() > 0 {
            return Ok(());
        }
        leg.take_error().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream").field("state", &self.leg.state).field("meta", &self.leg.meta).finish_non_exhaustive()
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
        self.0.leg.clock.pause();
    }
}

impl Inner {
    /// Ready once a chunk is there, or the stream is over. While bytes are there it reads on until `enough` chunks are.
    fn fill(&mut self, cx: &mut Context<'_>, enough: usize) -> Poll<()> {
        loop {
            if self.emitter.ready() >= enough {
                return Poll::Ready(());
            }
            match self.state {
                State::Ended | State::Failed(_) => return Poll::Ready(()),
                State::Open | State::Proven | State::Draining => {}
            }
            let body = self.body.as_mut().expect("a stream that is not over has its body");
            match body.poll_bytes(cx) {
                Poll::Ready(Some(Ok(bytes))) => self.read(&bytes),
                Poll::Ready(Some(Err(error))) => self.broken(error),
                Poll::Ready(None) => self.ended(),
                Poll::Pending if self.emitter.ready() > 0 => return Poll::Ready(()),
                Poll::Pending => {
                    let expired = ready!(self.clock.poll_expired(cx));
                    self.expired(expired);
                }
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Draining) {
            return;
        }
        let before = self.emitter.ready();
        let (translator, emitter) = (&mut self.translator, &mut self.emitter);
        let result =
            self.decoder.decode(bytes, |event| if emitter.is_done() { Ok(()) } else { translator.event(&event, emitter) });
        if let Err(error) = result {
            self.fail(error);
            return;
        }
        if self.emitter.ready() > before {
            let token = self.clock.awaits_first_token() && self.emitter.answer().has_token();
            self.clock.chunk(token);
            if token {
                self.span.first_token();
            }
        }
        self.check_proof();
    }

    fn check_proof(&mut self) {
        if self.emitter.is_done() {
            self.emitter.close();
            self.state = State::Draining;
            self.clock.grace(GRACE);
            return;
        }
        match (self.emitter.is_proven(), &self.state) {
            (true, State::Open) => {
                self.state = State::Proven;
                self.clock.grace(GRACE);
            }
            // The host went on after what had looked like the end.
            (false, State::Proven) => {
                self.state = State::Open;
                self.clock.chunk(true);
            }
            _ => {}
        }
    }

    /// The bytes have ended.
    fn ended(&mut self) {
        self.body = None;
        if !matches!(self.state, State::Draining) {
            let (translator, emitter) = (&mut self.translator, &mut self.emitter);
            let result = self
                .decoder
                .finish(|event| if emitter.is_done() { Ok(()) } else { translator.event(&event, emitter) })
                .and_then(|()| translator.end(emitter));
            if let Err(error) = result {
                self.fail(error);
                return;
            }
            if !self.emitter.is_proven() {
                let message = if self.emitter.has_begun() {
                    "the answer broke off: the provider closed the stream without ending it"
                } else {
                    "the provider closed the stream without an answer"
                };
                self.fail(Error::new(ErrorKind::Truncated, message));
                return;
            }
            self.emitter.close();
        }
        self.end();
    }

    /// The connection broke.
    fn broken(&mut self, error: reqwest::Error) {
        if self.emitter.is_proven() {
            self.ended();
        } else {
            let message = format!("the answer broke off: {}", innermost(&error));
            self.fail(Error::new(ErrorKind::Truncated, message).with_source(error));
        }
    }

    fn expired(&mut self, expired: clock::Expired) {
        match expired {
            clock::Expired::Grace => self.ended(),
            clock::Expired::Deadline(error) => self.fail(error),
        }
    }

    fn end(&mut self) {
        self.body = None;
        self.state = State::Ended;
        self.span.end(self.emitter.answer().answer(), None);
    }

    fn fail(&mut self, error: Error) {
        self.body = None;
        self.emitter.abandon();
        let mut error = self.meta.describe(error);
        if self.emitter.has_begun() {
            error = error.with_partial(self.completion());
        }
        self.span.end(self.emitter.answer().answer(), Some(&error));
        self.state = State::Failed(Some(error));
    }

    fn cancel(&mut self) {
        match self.state {
            State::Open => self.fail(Error::new(ErrorKind::Cancelled, "the caller cancelled the stream")),
            State::Proven | State::Draining => self.ended(),
            State::Ended | State::Failed(_) => {}
        }
    }

    fn take_error(&mut self) -> Option<Error> {
        match &mut self.state {
            State::Failed(error) => error.take(),
            _ => None,
        }
    }

    fn completion(&self) -> ChatCompletion {
        self.meta.complete(self.emitter.answer().to_completion())
    }
}

impl Meta {
    /// Adds what is known of the call to an error, and takes its key out.
    pub(crate) fn describe(&self, error: Error) -> Error {
        use secrecy::ExposeSecret;
        let error =
            error.with_route(&self.provider, &self.model).with_request_id(self.request_id.as_deref()).with_headers(&self.headers);
        match &self.key {
            Some(key) => error.without(key.expose_secret()),
            None => error,
        }
    }

    /// Adds who gave an answer and what it cost.
    pub(crate) fn complete(&self, mut answer: ChatCompletion) -> ChatCompletion {
        let meta = answer.literllm.get_or_insert_default();
        meta.provider = Some(self.provider.clone());
        meta.request_id.clone_from(&self.request_id);
        let readable = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
        meta.headers = Some(self.headers.iter().filter(|(name, _)| *name != SET_COOKIE).filter_map(readable).collect());
        meta.cost = answer.usage.as_ref().and_then(|usage| crate::providers::models::cost(&self.provider, &self.model, usage));
        answer
    }
}
