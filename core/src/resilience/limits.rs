//! Limits of a program's own on what a provider or model is asked: requests and tokens in any minute, and how many at once. A call waits
//! its turn, first come first served, and holds nothing meanwhile that others could use; nothing runs while nobody waits.

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
    /// Held by the first of those who wait here.
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
        let tokens = estimate(request);
        let gates: Vec<_> = self.0.iter().filter(|gate| gate.bounds(target)).collect();
        // Where it waits, and the place that it was given there.
        let (mut line, mut place) = (None, None);
        loop {
            let missing = match Turn::take(&gates, tokens, line.is_some(), place.take()) {
                Ok(turn) => return turn,
                Err(missing) => missing,
            };
            if line.as_ref().is_some_and(|(at, _)| *at == missing) {
                place = gates[missing].free(tokens).await.map(|place| (missing, place));
            } else {
                drop(line.take());
                line = Some((missing, gates[missing].line.lock().await));
            }
        }
    }
}

impl Turn {
    /// All that a call needs at once, or the first limit that does not let it through. Only the first of a line goes past those who wait.
    fn take(
        gates: &[&Arc<Gate>],
        tokens: u64,
        is_first: bool,
        mut given: Option<(usize, OwnedSemaphorePermit)>,
    ) -> Result<Self, usize> {
        let mut turn = Self::default();
        for (at, gate) in gates.iter().enumerate() {
            let given = given.take_if(|(of, _)| *of == at).map(|(_, place)| place);
            turn.pass(gate, tokens, is_first, given).ok_or(at)?;
        }
        turn.is_whole = true;
        Ok(turn)
    }

    fn pass(&mut self, gate: &Arc<Gate>, tokens: u64, is_first: bool, given: Option<OwnedSemaphorePermit>) -> Option<()> {
        if !is_first && gate.line.try_lock().is_err() {
            return None;
        }
        if let Some(places) = &gate.places {
            self.places.push(given.or_else(|| Arc::clone(places).try_acquire_owned().ok())?);
        }
        self.taken.push((Arc::clone(gate), gate.minute().take(Instant::now(), tokens).ok()?));
        Some(())
    }

    /// What the answer really cost.
    pub(crate) fn spent(&self, usage: &Usage) {
        self.correct(|minute, number| minute.correct(number, usage.total_tokens));
    }

    fn correct(&self, correct: impl Fn(&mut Minute, u64)) {
        for (gate, number) in &self.taken {
            correct(&mut gate.minute(), *number);
            gate.corrected.notify_waiters();
        }
    }
}

impl Drop for Turn {
    /// What did not get all that it needed has not gone.
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

    /// Ready once it may let a call through, with a place for it where they are counted.
    async fn free(&self, tokens: u64) -> Option<OwnedSemaphorePermit> {
        loop {
            let corrected = self.corrected.notified();
            let Some(wait) = self.minute().wait(Instant::now(), tokens) else { break };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = corrected => {}
            }
        }
        let places = Arc::clone(self.places.as_ref()?);
        Some(places.acquire_owned().await.expect("the places of a limit are never closed"))
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
        if let Some(wait) = self.wait(now, tokens) {
            return Err(wait);
        }
        self.last += 1;
        if self.requests.is_some() || self.tokens.is_some() {
            self.taken.push_back(Taken { number: self.last, at: now, tokens });
        }
        Ok(self.last)
    }

    fn wait(&mut self, now: Instant, tokens: u64) -> Option<Duration> {
        while self.taken.front().is_some_and(|first| now - first.at >= MINUTE) {
            self.taken.pop_front();
        }
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

    fn forget(&mut self, number: u64) {
        self.taken.retain(|taken| taken.number != number);
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
    fn what_did_not_go_does_not_count() {
        let (mut minute, start) = (Minute::new(Some(2), None), Instant::now());
        let (_, second) = (minute.take(start, 0).expect("room"), minute.take(start, 0).expect("room"));
        minute.forget(second);
        assert!(minute.take(start + SECOND, 0).is_ok());
        assert_eq!(minute.take(start + SECOND, 0), Err(59 * SECOND));
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
