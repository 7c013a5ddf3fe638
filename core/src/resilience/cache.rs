//! Answers kept in memory for requests that are exactly the same, and one call for all that ask the same at once.
//!
//! What is kept is what a route said to a request, whole. Whoever asks it meanwhile waits for the one that flies; if that fails, the next
//! flies in its place. One that nobody reads is not waited for: it may be held by the very task that asks again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::digest;
use tokio::sync::{Notify, OwnedMutexGuard};

use crate::config::{CacheOptions, RequestOptions};
use crate::providers::Target;
use crate::types::{ChatCompletion, ChatCompletionRequest, Models};

const MOST_ENTRIES: usize = 1000;
const LIFE: Duration = Duration::from_secs(300);
/// How long the one that flies may be left unread.
const PATIENCE: Duration = Duration::from_secs(1);

/// What names a request: a digest of all that matters to its answer.
type Key = [u8; 32];

pub(crate) struct Cache {
    most: usize,
    /// `None` keeps answers without end.
    life: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<Key, Kept>,
    /// The keys by when they were last used.
    order: BTreeMap<u64, Key>,
    uses: u64,
    flights: HashMap<Key, Arc<Place>>,
}

struct Kept {
    answer: ChatCompletion,
    since: Instant,
    used: u64,
}

/// Where those who want the same answer wait.
#[derive(Default)]
struct Place {
    /// Held by the one that flies.
    line: Arc<tokio::sync::Mutex<()>>,
    /// Since when nobody reads what that one brings.
    unread: Mutex<Option<Instant>>,
    left: Notify,
}

/// What is there for a request.
pub(crate) enum Found {
    Kept(Box<ChatCompletion>),
    /// Nothing: the caller asks, for all who want the same.
    Flight(Flight),
}

/// The right to ask, passed on when it is dropped.
pub(crate) struct Flight {
    cache: Arc<Cache>,
    key: Key,
    place: Option<Arc<Place>>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flight")
    }
}

impl Cache {
    pub(crate) fn new(options: &CacheOptions) -> Self {
        Self {
            most: options.max_entries.unwrap_or(MOST_ENTRIES),
            life: Some(options.ttl.unwrap_or(LIFE)).filter(|life| !life.is_zero()),
            state: Mutex::default(),
        }
    }

    /// The answer that is kept, or the right to ask. Nobody waits longer than `longest` for another's answer.
    pub(crate) async fn find(self: &Arc<Self>, key: Key, longest: Option<Duration>) -> Found {
        let wait = async {
            loop {
                let place = {
                    let mut state = self.state();
                    if let Some(answer) = state.look(&key, self.life) {
                        return Found::Kept(Box::new(answer));
                    }
                    Arc::clone(state.flights.entry(key).or_default())
                };
                let mut flight = Flight { cache: Arc::clone(self), key, place: Some(Arc::clone(&place)), turn: None };
                tokio::select! {
                    turn = Arc::clone(&place.line).lock_owned() => flight.turn = Some(turn),
                    () = place.left_unread() => {
                        self.state().give_up(&key, &place);
                        continue;
                    }
                }
                // Whatever became of the one before.
                flight.is_read(true);
                let kept = self.state().look(&key, self.life);
                return kept.map_or(Found::Flight(flight), |answer| Found::Kept(Box::new(answer)));
            }
        };
        let Some(longest) = longest else { return wait.await };
        let alone = || Found::Flight(Flight { cache: Arc::clone(self), key, place: None, turn: None });
        tokio::time::timeout(longest, wait).await.unwrap_or_else(|_| alone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Ready once the one that flies was left unread for too long.
    async fn left_unread(&self) {
        loop {
            let left = self.left.notified();
            let since = *self.unread.lock().unwrap_or_else(PoisonError::into_inner);
            match since {
                None => left.await,
                Some(since) if since.elapsed() >= PATIENCE => return,
                Some(since) => tokio::time::sleep_until((since + PATIENCE).into()).await,
            }
        }
    }
}

impl Flight {
    /// Tells those who wait whether somebody waits for what it brings.
    pub(crate) fn is_read(&self, is_read: bool) {
        let Some(place) = &self.place else { return };
        *place.unread.lock().unwrap_or_else(PoisonError::into_inner) = (!is_read).then(Instant::now);
        if !is_read {
            place.left.notify_waiters();
        }
    }

    /// Keeps the whole answer for those who wait and those who come.
    pub(crate) fn land(self, answer: &ChatCompletion) {
        self.cache.state().keep(self.key, answer.clone(), self.cache.most);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.turn = None;
        let mut state = self.cache.state();
        self.place = None;
        // Whoever waits holds it, too.
        if state.flights.get(&self.key).is_some_and(|place| Arc::strong_count(place) == 1) {
            state.flights.remove(&self.key);
        }
    }
}

impl State {
    fn look(&mut self, key: &Key, life: Option<Duration>) -> Option<ChatCompletion> {
        let kept = self.kept.get_mut(key)?;
        self.order.remove(&kept.used);
        if life.is_some_and(|life| kept.since.elapsed() >= life) {
            self.kept.remove(key);
            return None;
        }
        self.uses += 1;
        kept.used = self.uses;
        self.order.insert(self.uses, *key);
        let mut answer = kept.answer.clone();
        let meta = answer.literllm.get_or_insert_default();
        meta.cached = Some(true);
        // It was paid for once.
        meta.cost = meta.cost.map(|_| 0.0);
        Some(answer)
    }

    /// Has those who come wait elsewhere.
    fn give_up(&mut self, key: &Key, place: &Arc<Place>) {
        if self.flights.get(key).is_some_and(|known| Arc::ptr_eq(known, place)) {
            self.flights.remove(key);
        }
    }

    fn keep(&mut self, key: Key, answer: ChatCompletion, most: usize) {
        self.uses += 1;
        if let Some(old) = self.kept.insert(key, Kept { answer, since: Instant::now(), used: self.uses }) {
            self.order.remove(&old.used);
        }
        self.order.insert(self.uses, key);
        while self.kept.len() > most {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.kept.remove(&oldest);
        }
    }
}

/// Names a request to a route. The order of fields inside free JSON counts, since models read it.
pub(crate) fn key(target: &Target, request: &ChatCompletionRequest, options: &RequestOptions, drop_unsupported: bool) -> Key {
    let asked = ChatCompletionRequest {
        // These do not change the answer.
        model: Models::default(),
        stream: None,
        stream_options: None,
        stream_fallback_mode: None,
        user: None,
        metadata: None,
        store: None,
        ..request.clone()
    };
    let headers: BTreeMap<_, _> = options.headers.iter().collect();
    let route = (&target.host.name, &target.model, &target.base_url);
    let named = serde_json::to_vec(&(route, asked, headers, drop_unsupported)).expect("wire types make JSON");
    digest::digest(&digest::SHA256, &named).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: &str) -> ChatCompletion {
        ChatCompletion { id: id.into(), ..ChatCompletion::default() }
    }

    async fn found(cache: &Arc<Cache>, key: u8) -> Option<String> {
        match cache.find([key; 32], None).await {
            Found::Kept(answer) => Some(answer.id.to_string()),
            Found::Flight(_) => None,
        }
    }

    #[tokio::test]
    async fn the_least_recently_used_goes_first_and_none_outlives_its_time() {
        let cache = Arc::new(Cache::new(&CacheOptions { max_entries: Some(2), ttl: Some(Duration::ZERO) }));
        for key in 1..4 {
            let Found::Flight(flight) = cache.find([key; 32], None).await else { panic!("nothing is kept yet") };
            flight.land(&answer(&key.to_string()));
            // The first is used again each time.
            assert_eq!(found(&cache, 1).await.as_deref(), Some("1"));
        }
        assert_eq!((found(&cache, 2).await, found(&cache, 3).await.as_deref()), (None, Some("3")));
        assert!(cache.state().flights.is_empty());
        let brief = Arc::new(Cache::new(&CacheOptions { max_entries: None, ttl: Some(Duration::from_nanos(1)) }));
        let Found::Flight(flight) = brief.find([1; 32], None).await else { panic!("nothing is kept yet") };
        flight.land(&answer("1"));
        assert_eq!(found(&brief, 1).await, None);
        assert!(brief.state().kept.is_empty() && brief.state().order.is_empty());
    }

    #[tokio::test]
    async fn the_next_flies_when_one_fails() {
        let cache = Arc::new(Cache::new(&CacheOptions::default()));
        let first = cache.find([1; 32], None).await;
        let second = tokio::spawn({
            let cache = cache.clone();
            async move { cache.find([1; 32], None).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        let Found::Flight(flight) = second.await.expect("no panic") else { panic!("nothing was kept") };
        flight.land(&answer("1"));
        assert_eq!(found(&cache, 1).await.as_deref(), Some("1"));
        assert!(cache.state().flights.is_empty());
    }

    #[tokio::test]
    async fn one_that_is_left_unread_is_not_waited_for_and_the_next_begins_afresh() {
        let cache = Arc::new(Cache::new(&CacheOptions::default()));
        let find = || {
            let cache = cache.clone();
            tokio::spawn(async move { cache.find([1; 32], None).await })
        };
        let leave_unread = || {
            let place = cache.state().flights.get(&[1; 32]).cloned().expect("somebody flies");
            *place.unread.lock().expect("no panic") = Instant::now().checked_sub(2 * PATIENCE);
        };
        let Found::Flight(unread) = cache.find([1; 32], None).await else { panic!("nothing is kept yet") };
        leave_unread();
        let Found::Flight(second) = find().await.expect("no panic") else { panic!("nothing was kept") };
        // The next one waits for the second, and flies when that fails; what was left before is no matter then.
        let third = find();
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        leave_unread();
        drop(second);
        let Found::Flight(third) = third.await.expect("no panic") else { panic!("nothing was kept") };
        let fourth = find();
        tokio::task::yield_now().await;
        assert!(!fourth.is_finished());
        third.land(&answer("1"));
        assert!(matches!(fourth.await.expect("no panic"), Found::Kept(_)));
        drop(unread);
        assert!(cache.state().flights.is_empty());
    }
}
