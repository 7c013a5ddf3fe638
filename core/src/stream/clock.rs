//! A stream's deadlines. The first-token and idle clocks run only while someone waits for the stream; the total one always runs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::{Deadline, Deadlines};
use crate::error::Error;

/// A consumer that comes back this long after a deadline was not there when it passed.
const ABSENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Clock {
    first_token: Option<Duration>,
    idle: Option<Duration>,
    /// When the whole call must be over, and its limit.
    total: Option<(Instant, Duration)>,
    phase: Phase,
    /// How long this phase was waited for before `waiting`.
    waited: Duration,
    /// Since when someone waits.
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    FirstToken,
    Idle,
    /// The answer is whole; what is left is waited for this long.
    Grace(Duration),
}

/// What ran out.
#[derive(Debug)]
pub(crate) enum Expired {
    Grace,
    Deadline(Error),
}

impl Clock {
    /// `started` is when the call began, for the total deadline; `sent` is when this request did, for the first token.
    pub(crate) fn new(deadlines: &Deadlines, started: Instant, sent: Instant) -> Self {
        Self {
            first_token: deadlines.first_token,
            idle: deadlines.idle,
            total: deadlines.total.map(|limit| (started + limit, limit)),
            phase: Phase::FirstToken,
            waited: sent.elapsed(),
            waiting: None,
            timer: None,
        }
    }

    /// One that nothing runs against.
    pub(super) fn stopped() -> Self {
        Self {
            first_token: None,
            idle: None,
            total: None,
            phase: Phase::Idle,
            waited: Duration::ZERO,
            waiting: None,
            timer: None,
        }
    }

    pub(crate) fn awaits_first_token(&self) -> bool {
        self.phase == Phase::FirstToken
    }

    /// A chunk came; `token` if it is the first that says something.
    pub(crate) fn chunk(&mut self, token: bool) {
        if token {
            self.phase = Phase::Idle;
        }
        if self.phase == Phase::Idle {
            self.waited = Duration::ZERO;
            self.waiting = None;
        }
    }

    /// From now on only the rest is waited for.
    pub(crate) fn grace(&mut self, limit: Duration) {
        self.phase = Phase::Grace(limit);
        self.waited = Duration::ZERO;
        self.waiting = None;
    }

    /// Nobody waits any more.
    pub(crate) fn pause(&mut self) {
        if let Some(since) = self.waiting.take() {
            self.waited += since.elapsed();
        }
    }

    /// Ready when a deadline has passed while someone waited.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let Some((at, is_total)) = self.next_deadline() else { return Poll::Pending };
            let timer = match &mut self.timer {
                Some(timer) => {
                    // A timer that is early is let run and set again then: cheaper than moving it at every chunk.
                    if timer.deadline() > at || timer.is_elapsed() {
                        timer.as_mut().reset(at);
                    }
                    timer
                }
                slot => slot.insert(Box::pin(tokio::time::sleep_until(at))),
            };
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if now < at {
                continue;
            }
            if !is_total && now - at > ABSENCE && !matches!(self.phase, Phase::Grace(_)) {
                self.waiting = None;
                self.waited = Duration::ZERO;
                continue;
            }
            return Poll::Ready(self.expired(is_total));
        }
    }

    fn next_deadline(&mut self) -> Option<(Instant, bool)> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        let limit = match self.phase {
            Phase::FirstToken => self.first_token,
            Phase::Idle => self.idle,
            Phase::Grace(limit) => Some(limit),
        };
        let phase = limit.map(|limit| since + limit.saturating_sub(self.waited));
        match (phase, self.total) {
            (Some(phase), Some((total, _))) if total < phase => Some((total, true)),
            (None, Some((total, _))) => Some((total, true)),
            (phase, _) => phase.map(|at| (at, false)),
        }
    }

    fn expired(&self, is_total: bool) -> Expired {
        let (deadline, limit) = match (self.phase, self.total) {
            (Phase::Grace(_), _) => return Expired::Grace,
            (_, Some((_, limit))) if is_total => (Deadline::Total, limit),
            (Phase::FirstToken, _) => (Deadline::FirstToken, self.first_token.unwrap_or_default()),
            (Phase::Idle, _) => (Deadline::Idle, self.idle.unwrap_or_default()),
        };
        Expired::Deadline(deadline.passed(limit))
    }
}
