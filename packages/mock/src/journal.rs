//! What the mock saw: one entry a request, kept up to date while the answer is served, and the events that tests wait
//! for instead of sleeping.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;

/// Entries beyond this number, or beyond this many bytes of request bodies, are forgotten, the oldest first.
const KEPT: usize = 20_000;
const KEPT_BYTES: usize = 256 * 1024 * 1024;

/// A request as the mock saw it, and how far its answer got.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// 1 for the first request since the start or the last reset.
    pub sequence: u64,
    /// The `id=` of the request; empty without one.
    pub id: String,
    pub method: String,
    /// Path and query, without the `/mock/…` prefix.
    pub path: String,
    /// Names in lower case, in order of arrival. Of a key only the last four characters are shown.
    pub headers: Vec<(String, String)>,
    /// The body as sent, if it is JSON; otherwise a JSON string of it.
    pub body: Box<RawValue>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// 1 for the first connection since the start.
    pub connection: u64,
    pub tls: bool,
    /// Whether the client showed a certificate.
    pub client_certificate: bool,
    /// Status of the answer; absent before its headers.
    pub status: Option<u16>,
    /// Chunks (events on the wire) and body bytes handed to the connection so far.
    pub chunks: u64,
    pub bytes: u64,
    /// `open`, `done` (served to its intended end), `cut` (broken off by the mock) or `left` (by the client).
    pub outcome: Outcome,
    pub finished: bool,
    /// Milliseconds from the request's arrival.
    pub headers_ms: Option<f64>,
    pub done_ms: Option<f64>,
    pub left_ms: Option<f64>,
    /// When it arrived: milliseconds of the mock's life, and of the Unix epoch.
    pub uptime_ms: f64,
    pub unix_ms: f64,
}

/// How the service of a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Open,
    Done,
    Cut,
    Left,
}

/// Something that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The request has arrived whole.
    Request,
    /// The answer's headers have been handed over.
    Headers,
    /// At least so many chunks have been sent.
    Chunks(u64),
    /// At least so many body bytes have been sent.
    Bytes(u64),
    /// The client left before the end of the answer.
    Left,
    /// The answer was served to its end, or the mock cut it as it was told to.
    Done,
}

impl Event {
    /// Reads `request`, `headers`, `left`, `done`, `chunks:5` or `bytes:100`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once(':') {
            None => match text {
                "request" => Self::Request,
                "headers" => Self::Headers,
                "left" => Self::Left,
                "done" => Self::Done,
                _ => return None,
            },
            Some(("chunks", count)) => Self::Chunks(count.parse().ok()?),
            Some(("bytes", count)) => Self::Bytes(count.parse().ok()?),
            Some(_) => return None,
        })
    }
}

/// Counters over the life of the mock.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Stats {
    pub connections_open: usize,
    pub connections_total: u64,
    /// Requests whose answer has not ended.
    pub streams_open: usize,
    pub streams_peak: usize,
    pub requests_total: u64,
    pub uptime_ms: f64,
    pub unix_ms: f64,
}

/// All exchanges, shared by every connection and by the control endpoints.
#[derive(Debug)]
pub(crate) struct Journal {
    started: Instant,
    inner: Mutex<Inner>,
    /// Told of every new exchange.
    arrival: Notify,
    connections_open: AtomicUsize,
    connections_total: AtomicU64,
    streams_open: AtomicUsize,
    streams_peak: AtomicUsize,
    requests_total: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    sequence: u64,
    exchanges: VecDeque<Arc<Exchange>>,
    by_id: HashMap<String, VecDeque<Arc<Exchange>>>,
    body_bytes: usize,
    /// How often each `fail_times` key has been asked.
    attempts: HashMap<String, u64>,
    /// Releases that came before the request they are for.
    early_releases: HashMap<String, u64>,
    replays: HashMap<String, Replay>,
}

impl Inner {
    /// The requests with this id, or all.
    fn listed(&self, id: Option<&str>) -> Option<&VecDeque<Arc<Exchange>>> {
        id.map_or(Some(&self.exchanges), |id| self.by_id.get(id))
    }

    fn keep(&mut self, exchange: &Arc<Exchange>) {
        self.body_bytes += exchange.arrival.body.len();
        self.exchanges.push_back(Arc::clone(exchange));
        self.by_id.entry(exchange.arrival.id.clone()).or_default().push_back(Arc::clone(exchange));
        while self.exchanges.len() > KEPT || self.body_bytes > KEPT_BYTES {
            let Some(oldest) = self.exchanges.pop_front() else { return };
            self.body_bytes -= oldest.arrival.body.len();
            if let Some(same) = self.by_id.get_mut(&oldest.arrival.id) {
                same.pop_front();
            }
        }
    }
}

/// A body that was posted to be served later.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    pub status: u16,
    pub content_type: String,
    pub body: Bytes,
}

/// What is known of a request when it arrives.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub id: String,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub version: http::Version,
    pub connection: u64,
    pub tls: bool,
    pub client_certificate: bool,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            inner: Mutex::default(),
            arrival: Notify::new(),
            connections_open: AtomicUsize::new(0),
            connections_total: AtomicU64::new(0),
            streams_open: AtomicUsize::new(0),
            streams_peak: AtomicUsize::new(0),
            requests_total: AtomicU64::new(0),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while it holds the journal")
    }

    pub(crate) fn connection_opened(&self) -> u64 {
        self.connections_open.fetch_add(1, Relaxed);
        self.connections_total.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn connection_closed(&self) {
        self.connections_open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn arrived(self: &Arc<Self>, arrival: Arrival) -> Arc<Exchange> {
        self.requests_total.fetch_add(1, Relaxed);
        let open = self.streams_open.fetch_add(1, Relaxed) + 1;
        self.streams_peak.fetch_max(open, Relaxed);
        let mut inner = self.inner();
        inner.sequence += 1;
        let credits = inner.early_releases.remove(&arrival.id).unwrap_or(0);
        let exchange = Arc::new(Exchange {
            sequence: inner.sequence,
            arrival,
            arrived: Instant::now(),
            unix_ms: unix_ms(),
            progress: Mutex::new(Progress { credits, ..Progress::default() }),
            changed: Notify::new(),
            journal: Arc::clone(self),
        });
        inner.keep(&exchange);
        drop(inner);
        self.arrival.notify_waiters();
        exchange
    }

    /// Counts one more request under `key`; gives how many there were before.
    pub(crate) fn attempt(&self, key: &str) -> u64 {
        let mut inner = self.inner();
        let count = inner.attempts.entry(key.to_owned()).or_insert(0);
        *count += 1;
        *count - 1
    }

    pub(crate) fn log(&self, id: Option<&str>) -> Vec<Seen> {
        let exchanges: Vec<_> = self.inner().listed(id).into_iter().flatten().cloned().collect();
        exchanges.iter().map(|exchange| exchange.seen()).collect()
    }

    /// The `nth` (from 1) request with this id, or the latest.
    fn find(&self, id: Option<&str>, nth: Option<usize>) -> Option<Arc<Exchange>> {
        let inner = self.inner();
        let matching = inner.listed(id)?;
        match nth {
            Some(nth) => matching.get(nth.max(1) - 1),
            None => matching.back(),
        }
        .cloned()
    }

    /// Waits until the request has come that far; `None` after the timeout.
    pub(crate) async fn wait(&self, id: Option<&str>, nth: Option<usize>, event: Event, timeout: Duration) -> Option<Seen> {
        let reached = async {
            loop {
                let mut arrival = std::pin::pin!(self.arrival.notified());
                arrival.as_mut().enable();
                let Some(exchange) = self.find(id, nth) else {
                    arrival.await;
                    continue;
                };
                let mut changed = std::pin::pin!(exchange.changed.notified());
                changed.as_mut().enable();
                if exchange.reached(event) {
                    return exchange.seen();
                }
                // A later request may be the one that is meant.
                tokio::select! {
                    () = changed => {}
                    () = arrival => {}
                }
            }
        };
        tokio::time::timeout(timeout, reached).await.ok()
    }

    /// Lets `count` more withheld chunks go. A release for a request that has not come yet is kept for it.
    pub(crate) fn release(&self, id: &str, nth: Option<usize>, count: u64) {
        if let Some(exchange) = self.find(Some(id), nth) {
            exchange.release(count);
        } else {
            let mut inner = self.inner();
            let credits = inner.early_releases.entry(id.to_owned()).or_insert(0);
            *credits = credits.saturating_add(count);
        }
    }

    pub(crate) fn keep_replay(&self, name: String, replay: Replay) {
        self.inner().replays.insert(name, replay);
    }

    pub(crate) fn replay(&self, name: &str) -> Option<Replay> {
        self.inner().replays.get(name).cloned()
    }

    /// Forgets all requests, attempts, releases and posted bodies. Streams that are open go on unseen.
    pub(crate) fn reset(&self) {
        *self.inner() = Inner::default();
        self.streams_peak.store(self.streams_open.load(Relaxed), Relaxed);
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            connections_open: self.connections_open.load(Relaxed),
            connections_total: self.connections_total.load(Relaxed),
            streams_open: self.streams_open.load(Relaxed),
            streams_peak: self.streams_peak.load(Relaxed),
            requests_total: self.requests_total.load(Relaxed),
            uptime_ms: millis(self.started.elapsed()),
            unix_ms: unix_ms(),
        }
    }
}

/// One request and its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub sequence: u64,
    arrival: Arrival,
    arrived: Instant,
    unix_ms: f64,
    progress: Mutex<Progress>,
    /// Told of every step of this exchange.
    changed: Notify,
    journal: Arc<Journal>,
}

#[derive(Debug, Default)]
struct Progress {
    status: Option<u16>,
    chunks: u64,
    bytes: u64,
    outcome: Option<Outcome>,
    headers_after: Option<Duration>,
    ended_after: Option<Duration>,
    credits: u64,
    waiting: Option<Waker>,
}

impl Exchange {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no code panics while it holds an exchange")
    }

    pub(crate) fn answered(&self, status: u16) {
        let mut progress = self.progress();
        progress.status = Some(status);
        progress.headers_after = Some(self.arrived.elapsed());
        drop(progress);
        self.changed.notify_waiters();
    }

    pub(crate) fn sent(&self, chunks: u64, bytes: u64) {
        let mut progress = self.progress();
        progress.chunks += chunks;
        progress.bytes += bytes;
        drop(progress);
        self.changed.notify_waiters();
    }

    /// Only the first end counts: a body that was served whole is dropped afterwards, and has not been left.
    pub(crate) fn ended(&self, outcome: Outcome) {
        let mut progress = self.progress();
        if progress.outcome.is_some() {
            return;
        }
        progress.outcome = Some(outcome);
        progress.ended_after = Some(self.arrived.elapsed());
        drop(progress);
        self.journal.streams_open.fetch_sub(1, Relaxed);
        self.changed.notify_waiters();
    }

    fn release(&self, count: u64) {
        let mut progress = self.progress();
        progress.credits = progress.credits.saturating_add(count);
        if let Some(waker) = progress.waiting.take() {
            waker.wake();
        }
    }

    /// Takes the right to send one withheld chunk.
    pub(crate) fn poll_release(&self, context: &Context<'_>) -> Poll<()> {
        let mut progress = self.progress();
        if progress.credits > 0 {
            if progress.credits < u64::MAX {
                progress.credits -= 1;
            }
            return Poll::Ready(());
        }
        progress.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    fn reached(&self, event: Event) -> bool {
        let progress = self.progress();
        match event {
            Event::Request => true,
            Event::Headers => progress.status.is_some(),
            Event::Chunks(count) => progress.chunks >= count,
            Event::Bytes(count) => progress.bytes >= count,
            Event::Left => progress.outcome == Some(Outcome::Left),
            Event::Done => matches!(progress.outcome, Some(Outcome::Done | Outcome::Cut)),
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        let progress = self.progress();
        let outcome = progress.outcome.unwrap_or(Outcome::Open);
        let ended = |wanted: &[Outcome]| progress.ended_after.filter(|_| wanted.contains(&outcome)).map(millis);
        Seen {
            sequence: self.sequence,
            id: self.arrival.id.clone(),
            method: self.arrival.method.clone(),
            path: self.arrival.path.clone(),
            headers: self.arrival.headers.clone(),
            body: json_of(&self.arrival.body),
            version: format!("{:?}", self.arrival.version),
            connection: self.arrival.connection,
            tls: self.arrival.tls,
            client_certificate: self.arrival.client_certificate,
            status: progress.status,
            chunks: progress.chunks,
            bytes: progress.bytes,
            outcome,
            finished: outcome == Outcome::Done,
            headers_ms: progress.headers_after.map(millis),
            done_ms: ended(&[Outcome::Done, Outcome::Cut]),
            left_ms: ended(&[Outcome::Left]),
            uptime_ms: millis(self.arrived.duration_since(self.journal.started)),
            unix_ms: self.unix_ms,
        }
    }
}

/// Marks the client as gone when it is dropped before anything else has ended the exchange: a connection that the
/// client closes and a stream that it resets both drop what was serving them.
#[derive(Debug)]
pub(crate) struct Presence(pub Arc<Exchange>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.ended(Outcome::Left);
    }
}

fn json_of(body: &[u8]) -> Box<RawValue> {
    if let Ok(value) = serde_json::from_slice(body) {
        return value;
    }
    serde_json::value::to_raw_value(&String::from_utf8_lossy(body)).expect("a string is always JSON")
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn unix_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, millis)
}
