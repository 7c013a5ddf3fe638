//! Limits of a program's own on what a provider or model is asked: requests and tokens in any minute, and how many at once. A call waits
//! its turn, first come first served; nothing runs while nobody waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::Limit;
use crate::providers::Target;
use crate::types::{ChatCompletionRequest, Usage};

const MINUTE: Duration = Duration::from_secs(60);
/// Characters to a token, where nobody counted.
const LETTERS_TO_A_TOKEN: u64 = 4;

/// The limits of a client.
#[derive(Debug, Default)]
pub(crate) struct Limits(Vec<Arc<Gate>>);

/// One limit.
#[derive(Debug)]
struct Gate {
    limit: Limit,
    places: Option<Arc<Semaphore>>,
    /// Held by the one call that is next.
    line: tokio::sync::Mutex<()>,
    minute: Mutex<Minute>,
    corrected: Notify,
}

/// A call's turn: its places are given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    taken: Vec<(Arc<Gate>, u64)>,
    places: Vec<OwnedSemaphorePermit>,
    /// Every limit let it through.
    is_whole: bool,
}

impl Limits {
    pub(crate) fn new(limits: &[Limit]) -> Self {
        Self(limits.iter().cloned().map(Gate::new).map(Arc::new).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until every limit on this route lets the request through.
    pub(crate) async fn turn(&self, target: &Target, request: &ChatCompletionRequest) -> Turn {
        let mut turn = Turn::default();
        let tokens = estimate(request);
        // Always in the same order, so that no two calls wait for each other; the minutes last, since they count from when a call goes.
        let gates = || self.0.iter().filter(|gate| gate.bounds(target));
        for places in gates().filter_map(|gate| gate.places.clone()) {
            turn.places.push(places.acquire_owned().await.expect("the places of a limit are never closed"));
        }
        for gate in gates() {
            turn.taken.push((Arc::clone(gate), gate.pass(tokens).await));
        }
        turn.go();
        turn
    }
}

impl Turn {
    /// What the answer really cost.
    pub(crate) fn spent(&self, usage: &Usage) {
        self.correct(|minute, number| minute.correct(number, usage.total_tokens));
    }

    /// It goes now, however long ago the first of its limits let it through.
    fn go(&mut self) {
        self.is_whole = true;
        if self.taken.len() > 1 {
            let now = Instant::now();
            self.correct(|minute, number| minute.go(number, now));
        }
    }

    fn correct(&self, correct: impl Fn(&mut Minute, u64)) {
        for (gate, number) in &self.taken {
            correct(&mut gate.minute(), *number);
            gate.corrected.notify_waiters();
        }
    }
}

impl Drop for Turn {
    /// A call that left while it waited was never made.
    fn drop(&mut self) {
        if !self.is_whole {
            self.correct(Minute::forget);
        }
    }
}

impl Gate {
    fn new(limit: Limit) -> Self {
        let places =
            limit.concurrency.filter(|most| *most > 0).map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))));
        let some = |limit: Option<u64>| limit.filter(|most| *most > 0);
        let minute = Minute::new(some(limit.requests_per_minute), some(limit.tokens_per_minute));
        Self { limit, places, line: tokio::sync::Mutex::default(), minute: Mutex::new(minute), corrected: Notify::new() }
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bounds(&self, target: &Target) -> bool {
        target.host.names().any(|name| **name == *self.limit.provider)
            && self.limit.model.as_deref().is_none_or(|model| model == &*target.model)
    }

    /// Waits for its turn in the minute and takes it.
    async fn pass(&self, tokens: u64) -> u64 {
        let _first = self.line.lock().await;
        loop {
            let corrected = self.corrected.notified();
            let wait = self.minute().take(Instant::now(), tokens);
            match wait {
                Ok(number) => return number,
                Err(wait) => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = corrected => {}
                },
            }
        }
    }
}

/// What was let through in the last minute.
#[derive(Debug)]
struct Minute {
    requests: Option<u64>,
    tokens: Option<u64>,
    taken: VecDeque<Taken>,
    last: u64,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    at: Instant,
    tokens: u64,
}

impl Minute {
    fn new(requests: Option<u64>, tokens: Option<u64>) -> Self {
        Self { requests, tokens, taken: VecDeque::new(), last: 0 }
    }

    /// The number under which it was let through, or how long to wait at least.
    fn take(&mut self, now: Instant, tokens: u64) -> Result<u64, Duration> {
        while self.taken.front().is_some_and(|first| now - first.at >= MINUTE) {
            self.taken.pop_front();
        }
        if let Some(wait) = self.wait(now, tokens) {
            return Err(wait);
        }
        self.last += 1;
        if self.requests.is_some() || self.tokens.is_some() {
            self.taken.push_back(Taken { number: self.last, at: now, tokens });
        }
        Ok(self.last)
    }

    fn wait(&self, now: Instant, tokens: u64) -> Option<Duration> {
        let mut requests = self.taken.len() as u64;
        let mut spent = self.taken.iter().fold(0, |spent: u64, taken| spent.saturating_add(taken.tokens));
        let mut gone = None;
        for taken in &self.taken {
            // What is larger than the limit itself goes when nothing else is in its minute.
            let fits = self.requests.is_none_or(|most| requests < most)
                && self.tokens.is_none_or(|most| spent <= most - tokens.min(most));
            if fits {
                break;
            }
            (requests, spent) = (requests - 1, spent.saturating_sub(taken.tokens));
            gone = Some(taken.at);
        }
        gone.map(|at| (at + MINUTE).saturating_duration_since(now))
    }

    fn correct(&mut self, number: u64, tokens: u64) {
        if let Some(taken) = self.taken.iter_mut().rev().find(|taken| taken.number == number) {
            taken.tokens = tokens;
        }
    }

    /// Counts it from now on.
    fn go(&mut self, number: u64, now: Instant) {
        if let Some(taken) = self.remove(number) {
            self.taken.push_back(Taken { at: now, ..taken });
        }
    }

    fn forget(&mut self, number: u64) {
        self.remove(number);
    }

    fn remove(&mut self, number: u64) -> Option<Taken> {
        let at = self.taken.iter().rposition(|taken| taken.number == number)?;
        self.taken.remove(at)
    }
}

/// What a request will cost, roughly: what it says, and what it lets the model say.
fn estimate(request: &ChatCompletionRequest) -> u64 {
    let said: usize = request.messages.iter().map(|message| message.text().len()).sum();
    (said as u64 / LETTERS_TO_A_TOKEN).saturating_add(request.output_limit().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_minute_has_more_requests_than_its_limit() {
        let (mut minute, start) = (Minute::new(Some(2), None), Instant::now());
        assert!(minute.take(start, 0).is_ok() && minute.take(start + SECOND, 0).is_ok());
        assert_eq!(minute.take(start + 2 * SECOND, 0), Err(58 * SECOND));
        assert!(minute.take(start + MINUTE, 0).is_ok());
        assert_eq!(minute.take(start + MINUTE, 0), Err(SECOND));
    }

    #[test]
    fn what_waited_counts_from_when_it_goes_and_what_left_not_at_all() {
        let (mut minute, start) = (Minute::new(Some(2), None), Instant::now());
        let (first, second) = (minute.take(start, 0).expect("room"), minute.take(start, 0).expect("room"));
        minute.go(first, start + 30 * SECOND);
        assert_eq!(minute.take(start + 30 * SECOND, 0), Err(30 * SECOND));
        minute.forget(second);
        assert!(minute.take(start + 30 * SECOND, 0).is_ok());
        assert_eq!(minute.take(start + MINUTE, 0), Err(30 * SECOND));
    }

    #[test]
    fn tokens_are_estimated_before_and_corrected_after() {
        let (mut minute, start) = (Minute::new(None, Some(100)), Instant::now());
        let first = minute.take(start, 60).expect("room");
        assert_eq!(minute.take(start, 60), Err(MINUTE));
        minute.correct(first, 30);
        let second = minute.take(start, 60).expect("room");
        minute.correct(second, 90);
        assert_eq!(minute.take(start + SECOND, 10), Err(59 * SECOND));
        // What never fits goes alone.
        assert!(minute.take(start + MINUTE, 1000).is_ok());
        assert_eq!(minute.take(start + MINUTE + SECOND, 1), Err(59 * SECOND));
    }
}
