//! Measures one client in this process, the server being another: CPU time a chunk, the time to the first token, memory, threads.
//!
//! `<program> <client> cpu|first|added|mend|many <base URL> <streams>` prints one line that `scripts/bench.d/rust` reads. Each client asks for the
//! same stream and reads every chunk's text, so that what was read can be compared.

use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Whether chunks carry the time at which they were written, and how long each took from there.
static ADDED: AtomicBool = AtomicBool::new(false);
static DELAYS: Mutex<Vec<f64>> = Mutex::new(Vec::new());

/// What every client asks for.
pub const MODEL: &str = "gpt-4o";
pub const PROMPT: &str = "Tell me a story about a lighthouse";

/// A client that can read one stream.
pub trait Streams: Send + Sync + 'static {
    fn stream(&self) -> impl Future<Output = Seen> + Send;
}

/// What a client saw of a stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub chunks: usize,
    pub text: usize,
    pub first_text: Option<Instant>,
    /// From the last text before a cut to the first after it.
    pub gap: Option<Duration>,
}

impl Seen {
    pub fn chunk(&mut self, text: &str) {
        self.chunks += 1;
        self.text += text.len();
        if ADDED.load(Ordering::Relaxed) {
            delayed(text);
        }
        if !text.is_empty() && self.first_text.is_none() {
            self.first_text = Some(Instant::now());
        }
    }
}

/// The program's arguments.
#[derive(Debug)]
pub struct Job {
    pub client: String,
    pub base_url: String,
    what: String,
    streams: usize,
}

impl Job {
    pub fn from_args() -> Self {
        let mut args = std::env::args().skip(1);
        let mut next = |what: &str| args.next().unwrap_or_else(|| panic!("{what} is missing"));
        Self {
            client: next("the client's name"),
            what: next("cpu, first, added, mend or many"),
            base_url: next("the base URL"),
            streams: next("the number of streams").parse().expect("a number of streams"),
        }
    }

    /// Measures what was asked for and prints it.
    pub fn run(&self, client: impl Streams) {
        match self.what.as_str() {
            "cpu" => one_thread(self.cpu(client)),
            "first" => one_thread(self.first(client)),
            "added" => one_thread(self.added(client)),
            "mend" => one_thread(self.mend(client)),
            "many" => two_threads(self.many(client)),
            other => panic!("{other} is none of cpu, first, added, mend, many"),
        }
    }

    async fn cpu(&self, client: impl Streams) {
        for _ in 0..2 {
            client.stream().await;
        }
        let before = cpu_time();
        let (mut chunks, mut text) = (0, 0);
        for _ in 0..self.streams {
            let seen = client.stream().await;
            chunks += seen.chunks;
            text += seen.text;
        }
        let spent = cpu_time().saturating_sub(before);
        #[allow(clippy::cast_precision_loss)]
        let each = spent.as_secs_f64() * 1e6 / chunks as f64;
        println!("{} {each:.4} {:.2} {chunks} {text}", self.client, peak_memory());
    }

    async fn first(&self, client: impl Streams) {
        let mut times = Vec::new();
        for at in 0..self.streams + 10 {
            let started = Instant::now();
            let first = client.stream().await.first_text.expect("the mock says something");
            if at >= 10 {
                times.push(first - started);
            }
        }
        times.sort_unstable();
        println!("{} {:.1}", self.client, times[times.len() / 2].as_secs_f64() * 1e6);
    }

    async fn mend(&self, client: impl Streams) {
        let mut gaps = Vec::new();
        for at in 0..self.streams + 10 {
            let gap = client.stream().await.gap.expect("the mock cuts and another goes on");
            if at >= 10 {
                gaps.push(gap);
            }
        }
        gaps.sort_unstable();
        println!("{} {:.1}", self.client, gaps[gaps.len() / 2].as_secs_f64() * 1e6);
    }

    async fn added(&self, client: impl Streams) {
        ADDED.store(true, Ordering::Relaxed);
        for _ in 0..self.streams {
            client.stream().await;
        }
        let mut delays = DELAYS.lock().expect("nothing panics").clone();
        delays.sort_unstable_by(f64::total_cmp);
        println!("{} {:.1}", self.client, delays[delays.len() / 2]);
    }

    async fn many(&self, client: impl Streams) {
        let client = std::sync::Arc::new(client);
        client.stream().await;
        let threads = threads();
        let tasks: Vec<_> = (0..self.streams)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.stream().await })
            })
            .collect();
        let (mut complete, mut chunks) = (0, Vec::new());
        let mut most_threads = threads;
        for task in tasks {
            let seen = task.await.expect("a stream does not panic");
            complete += usize::from(seen.text > 0);
            chunks.push(seen.chunks);
            most_threads = most_threads.max(self::threads());
        }
        chunks.sort_unstable();
        let whole = chunks.iter().filter(|&&count| Some(&count) == chunks.last()).count();
        println!("{} {} {:.1} {threads} {most_threads}", self.client, complete.min(whole), peak_memory());
    }
}

/// A text that says, behind its number, when it was written, in nanoseconds of the monotonic clock.
#[allow(clippy::cast_precision_loss)]
fn delayed(text: &str) {
    let now = clock_gettime(ClockId::Monotonic);
    let now = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    if let Ok(written) = text.split_whitespace().nth(1).unwrap_or_default().parse::<i64>() {
        DELAYS.lock().expect("nothing panics").push((now - written) as f64 / 1e3);
    }
}

fn one_thread(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work);
}

fn two_threads(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime").block_on(work);
}

pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().expect("a process has not run for a negative time"),
        time.tv_nsec.try_into().expect("nanoseconds of a second fit"),
    )
}

/// The most memory this process held, in MiB; 0 where the system does not say.
fn peak_memory() -> f64 {
    status("VmHWM:") / 1024.0
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn threads() -> usize {
    status("Threads:") as usize
}

fn status(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}
