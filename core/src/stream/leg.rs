//! One leg: the answer of one route, from its bytes to its chunks, with its deadlines and its end.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::clock::{self, Clock};
use super::{Emitter, Meta};
use crate::decode::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{CallHooks, Pending, Stage};
use crate::providers::Translator;
use crate::resilience::cache::Flight;
use crate::resilience::limits::Turn;
use crate::telemetry::CallSpan;
use crate::transport::{AnswerBody, innermost};
use crate::types::ChatCompletion;

/// How long after the proof the rest is waited for.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Leg {
    /// Until the end of the bytes; an answer from elsewhere has none.
    source: Option<Source>,
    pub(super) emitter: Emitter,
    pub(super) clock: Clock,
    pub(super) state: State,
    pub(super) meta: Meta,
    /// Its turn under the client's limits, until it is over.
    turn: Option<Turn>,
    /// Whoever waits for the same answer, until it is whole.
    flight: Option<Box<Flight>>,
}

/// What the answer is read from.
struct Source {
    body: AnswerBody,
    decoder: Decoder,
    translator: Box<dyn Translator>,
    /// Of the call.
    span: CallSpan,
}

/// Where a stream is.
#[derive(Debug)]
pub(super) enum State {
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

impl Leg {
    pub(crate) fn new(
        body: AnswerBody,
        decoder: Decoder,
        translator: Box<dyn Translator>,
        emitter: Emitter,
        clock: Clock,
        meta: Meta,
        span: CallSpan,
    ) -> Self {
        let source = Some(Source { body, decoder, translator, span });
        Self { source, emitter, clock, state: State::Open, meta, turn: None, flight: None }
    }

    /// An answer that is there already; `emitter` has told it.
    pub(super) fn told(emitter: Emitter, meta: Meta) -> Self {
        Self { source: None, emitter, clock: Clock::stopped(), state: State::Ended, meta, turn: None, flight: None }
    }

    pub(super) fn take_turn(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    /// Has the answer kept once it is whole, which it may be already.
    pub(super) fn take_flight(&mut self, flight: Flight) {
        // From here on until the consumer asks for more nobody waits for it.
        flight.is_read(false);
        self.flight = Some(Box::new(flight));
        if matches!(self.state, State::Draining | State::Ended) {
            self.land();
        }
    }

    /// Nobody waits for it until it is asked again.
    pub(super) fn rest(&mut self) {
        self.clock.pause();
        if let Some(flight) = &self.flight {
            flight.is_read(false);
        }
    }

    /// Ready once a chunk is there, or the stream is over. While bytes are there it reads on until `enough` chunks are.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>, enough: usize) -> Poll<()> {
        let filled = self.read_on(cx, enough);
        if let Some(flight) = &self.flight {
            flight.is_read(filled.is_pending());
        }
        filled
    }

    fn read_on(&mut self, cx: &mut Context<'_>, enough: usize) -> Poll<()> {
        loop {
            if self.emitter.ready() >= enough {
                return Poll::Ready(());
            }
            match self.state {
                State::Ended | State::Failed(_) => return Poll::Ready(()),
                State::Open | State::Proven | State::Draining => {}
            }
            let source = self.source.as_mut().expect("a stream that is not over has its source");
            match source.body.poll_bytes(cx) {
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
        let Some(Source { decoder, translator, span, .. }) =
            self.source.as_mut().filter(|_| !matches!(self.state, State::Draining))
        else {
            return;
        };
        let before = self.emitter.ready();
        let emitter = &mut self.emitter;
        let result = decoder.decode(bytes, |event| if emitter.is_done() { Ok(()) } else { translator.event(&event, emitter) });
        if let Err(error) = result {
            self.fail(error);
            return;
        }
        if emitter.ready() > before {
            let token = self.clock.awaits_first_token() && emitter.answer().has_token();
            self.clock.chunk(token);
            if token {
                span.first_token();
            }
        }
        self.check_proof();
    }

    fn check_proof(&mut self) {
        if self.emitter.is_done() {
            self.emitter.close();
            self.land();
            self.give_turn_back();
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
        let source = self.source.take();
        if let Some(Source { mut decoder, mut translator, .. }) = source.filter(|_| !matches!(self.state, State::Draining)) {
            let emitter = &mut self.emitter;
            let result = decoder
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
        self.source = None;
        self.land();
        self.give_turn_back();
        self.state = State::Ended;
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.source = None;
        self.flight = None;
        self.emitter.abandon();
        self.give_turn_back();
        let mut error = self.meta.describe(error);
        if self.emitter.has_begun() {
            error = error.with_partial(self.completion());
        }
        self.state = State::Failed(Some(error));
    }

    fn land(&mut self) {
        if let Some(flight) = self.flight.take() {
            flight.land(&self.completion());
        }
    }

    fn give_turn_back(&mut self) {
        if let (Some(turn), Some(usage)) = (self.turn.take(), &self.emitter.answer().answer().usage) {
            turn.spent(usage);
        }
    }

    /// Ready once there is a chunk, the end, or an error, which is handed out.
    pub(super) fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.fill(cx, 1));
        if self.emitter.ready() > 0 {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.take_error().map_or(Ok(()), Err))
    }

    /// Ready once there is a token, the end, or an error before any token, which is handed out. Chunks that are there wait.
    pub(super) fn poll_spoken(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.emitter.answer().has_token() {
            if matches!(self.state, State::Ended | State::Failed(_)) {
                return Poll::Ready(self.take_error().map_or(Ok(()), Err));
            }
            let waiting = self.emitter.ready();
            ready!(self.fill(cx, waiting + 1));
            if self.emitter.ready() == waiting && matches!(self.state, State::Open | State::Proven | State::Draining) {
                // Only what was there before is there.
                let expired = ready!(self.clock.poll_expired(cx));
                self.expired(expired);
            }
        }
        self.clock.pause();
        Poll::Ready(Ok(()))
    }

    /// Whether the answer is proven whole.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.state, State::Proven | State::Draining | State::Ended)
    }

    pub(super) fn cancel(&mut self) {
        match self.state {
            State::Open => self.fail(Error::new(ErrorKind::Cancelled, "the caller cancelled the stream")),
            State::Proven | State::Draining => {
                // What may be missing of it yet should not be missing for others.
                self.flight = None;
                self.ended();
            }
            State::Ended | State::Failed(_) => {}
        }
    }

    /// What the hooks of its call make of its failure, if they are to be asked.
    pub(super) fn judge(&self, hooks: &Arc<CallHooks>, error: &Error) -> Option<Pending<'static, Result<ChatCompletion>>> {
        if !hooks.want(Stage::OnError) || error.kind() == ErrorKind::Cancelled {
            return None;
        }
        let route = hooks.route(self.meta.attempt, &self.meta.provider, &self.meta.model);
        let error = error.clone();
        Some(Box::pin(async move { route.on_error(error).await }))
    }

    pub(super) fn take_error(&mut self) -> Option<Error> {
        match &mut self.state {
            State::Failed(error) => error.take(),
            _ => None,
        }
    }

    pub(super) fn completion(&self) -> ChatCompletion {
        self.meta.complete(self.emitter.answer().to_completion())
    }

    pub(super) fn take_completion(&mut self) -> ChatCompletion {
        self.meta.complete(self.emitter.take_answer().into_completion())
    }
}
