//! Several keys of one provider, used in turn. One that was refused or limited rests while the others serve.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

/// How long a key rests that was refused.
const REFUSED: Duration = Duration::from_secs(600);
/// How long one rests that was limited, where the provider does not say.
const LIMITED: Duration = Duration::from_secs(10);

/// The keys of a provider. Never empty.
#[derive(Debug)]
pub(crate) struct KeyPool {
    keys: Vec<SecretString>,
    turns: Mutex<Turns>,
}

#[derive(Debug)]
struct Turns {
    next: usize,
    /// Until when each key rests.
    rests: Vec<Option<Instant>>,
}

impl KeyPool {
    /// `None` without any key; a blank one is none.
    pub(crate) fn new(mut keys: Vec<SecretString>) -> Option<Self> {
        keys.retain(|key| !key.expose_secret().trim().is_empty());
        let rests = vec![None; keys.len()];
        (!keys.is_empty()).then(|| Self { keys, turns: Mutex::new(Turns { next: 0, rests }) })
    }

    pub(crate) fn keys(&self) -> &[SecretString] {
        &self.keys
    }

    /// The number of the key whose turn it is; where all rest, of the one that will be back first.
    pub(crate) fn take(&self, now: Instant) -> usize {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.keys.len();
        let in_turn = (turns.next..turns.next + count).map(|at| at % count);
        let taken = in_turn.min_by_key(|&at| turns.rests[at].filter(|until| *until > now)).expect("a pool has at least one key");
        turns.next = (taken + 1) % count;
        taken
    }

    /// Has a key rest if this error is about it. Whether another one may serve at once.
    pub(crate) fn failed(&self, key: usize, error: &Error, now: Instant) -> bool {
        let rest = match error.status() {
            Some(401 | 403) => REFUSED,
            Some(429) => error.retry_after().unwrap_or(LIMITED),
            _ => return false,
        };
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.rests[key] = Some(now + rest);
        turns.rests.iter().any(|until| until.is_none_or(|until| until <= now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn failure(status: u16) -> Error {
        Error::new(ErrorKind::Authentication, "no").with_status(status)
    }

    #[test]
    fn keys_take_turns_and_rest_when_they_fail() {
        let pool = KeyPool::new(["a", "b", "c"].map(SecretString::from).to_vec()).expect("keys");
        let now = Instant::now();
        assert_eq!([pool.take(now), pool.take(now), pool.take(now), pool.take(now)], [0, 1, 2, 0]);
        assert!(pool.failed(1, &failure(401), now));
        assert_eq!([pool.take(now), pool.take(now), pool.take(now)], [2, 0, 2]);
        assert!(pool.failed(0, &failure(429).with_retry_after(Some(Duration::from_secs(5))), now));
        assert!(!pool.failed(2, &failure(429), now), "none is left");
        assert_eq!(pool.take(now), 0, "the one that is back first");
        assert_eq!(pool.take(now + Duration::from_secs(11)), 2);
        assert!(!pool.failed(2, &failure(500), now), "that was not about the key");
        assert!(KeyPool::new(Vec::new()).is_none() && KeyPool::new(vec![SecretString::from(" ")]).is_none());
    }
}
