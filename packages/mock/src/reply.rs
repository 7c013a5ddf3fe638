//! The body of an answer: pulls frames from a source and hands them on as the request asked: whole blocks at full
//! speed, or one at a time with pauses, splits, pings, withheld chunks, and the fault that ends it. It renders nothing
//! before the connection asks for more, so a reader that stops stops the mock.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use flate2::{Compression, write::GzEncoder};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::behaviour::{ErrorText, Faults, Pacing};
use crate::journal::{Exchange, Outcome, Presence};
use crate::script::FIRST_FILLER;
use crate::server::Connection;

/// Frames are handed over in blocks of about this size unless the request wants them apart.
const BLOCK: usize = 64 * 1024;

/// HTTP/2 throws away what is queued when a stream is reset, and does not tell when the queue is empty.
const SETTLE_HTTP2: Duration = Duration::from_millis(20);

/// Where frames come from: a script rendered in a dialect, or recorded bytes. A frame is what is sent as one chunk.
pub(crate) trait Source: Send {
    /// Appends the next frames; false when there are none left.
    fn fill(&mut self, out: &mut Frames) -> bool;

    /// Appends an error as this dialect reports it inside a stream.
    fn error(&mut self, error: &ErrorText, out: &mut Frames);

    /// What keeps a silent stream alive; empty if the framing has no such thing.
    fn ping(&self) -> &'static [u8] {
        b": ping\n\n"
    }

    /// Breaks the content of a frame but not its framing.
    fn malform(&self, frame: &mut Vec<u8>);
}

/// Bytes with the places where each frame ends.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub bytes: Vec<u8>,
    ends: VecDeque<usize>,
    taken: usize,
}

impl Frames {
    /// Declares that what was written since the last frame is one.
    pub(crate) fn end_frame(&mut self) {
        self.ends.push_back(self.bytes.len());
    }

    pub(crate) fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.end_frame();
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// The length of the frame written last.
    pub(crate) fn last_length(&self) -> usize {
        let before = self.ends.len().checked_sub(2).map_or(0, |at| self.ends[at]);
        self.ends.back().map_or(0, |end| end - before)
    }

    fn pending_bytes(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Takes up to `limit` frames.
    fn take(&mut self, limit: usize) -> (u64, Bytes) {
        let count = limit.min(self.ends.len());
        if count == self.ends.len() {
            let mut bytes = Bytes::from(std::mem::take(&mut self.bytes));
            bytes.advance(self.taken);
            self.taken = 0;
            self.ends.clear();
            return (count as u64, bytes);
        }
        let end = self.ends[count.max(1) - 1];
        let bytes = Bytes::copy_from_slice(&self.bytes[self.taken..end]);
        self.ends.drain(..count);
        self.taken = end;
        (count as u64, bytes)
    }

    /// Rewrites the frames from `first` on (a position among those not taken yet).
    fn rewrite(&mut self, first: usize, mut change: impl FnMut(usize, &mut Vec<u8>)) {
        let mut start = if first == 0 { self.taken } else { self.ends[first - 1] };
        let tail = self.bytes.split_off(start);
        let origin = start;
        for at in first..self.ends.len() {
            let end = self.ends[at];
            let mut frame = tail[start - origin..end - origin].to_vec();
            change(at, &mut frame);
            self.bytes.extend_from_slice(&frame);
            self.ends[at] = self.bytes.len();
            start = end;
        }
    }
}

/// The streaming body.
pub(crate) struct Reply {
    exchange: Arc<Exchange>,
    _presence: Presence,
    connection: Arc<Connection>,
    source: Box<dyn Source>,
    pacing: Pacing,
    faults: Faults,
    frames: Frames,
    /// The source has no more frames.
    dry: bool,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Bytes that are on their way, and how many frames they complete.
    block: Bytes,
    block_frames: u64,
    sent_frames: u64,
    sent_bytes: u64,
    http2: bool,
    /// The connection should flush before anything else is given to it.
    flush: bool,
    /// The pause before frame `sent_frames` has been kept.
    waited_for: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
    ping_timer: Option<Pin<Box<Sleep>>>,
    last_step: Option<Instant>,
    error_sent: bool,
    lingered: bool,
    settled: bool,
    over: bool,
    length: Option<u64>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reply").field("sent_frames", &self.sent_frames).finish_non_exhaustive()
    }
}

impl Reply {
    pub(crate) fn new(
        exchange: &Arc<Exchange>,
        presence: Presence,
        connection: &Arc<Connection>,
        http2: bool,
        source: Box<dyn Source>,
        pacing: Pacing,
        faults: Faults,
    ) -> Self {
        let gzip = pacing.gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
        Self {
            exchange: Arc::clone(exchange),
            _presence: presence,
            connection: Arc::clone(connection),
            source,
            pacing,
            faults,
            frames: Frames::default(),
            dry: false,
            gzip,
            block: Bytes::new(),
            block_frames: 0,
            sent_frames: 0,
            sent_bytes: 0,
            http2,
            flush: false,
            waited_for: None,
            timer: None,
            ping_timer: None,
            last_step: None,
            error_sent: false,
            lingered: false,
            settled: false,
            over: false,
            length: None,
        }
    }

    /// Announces the length, as an answer that is not streamed does.
    pub(crate) fn with_length(mut self, length: u64) -> Self {
        self.length = self.gzip.is_none().then_some(length);
        self
    }

    /// How many frames may go in one block from here.
    fn block_limit(&self) -> usize {
        if self.pacing.pace.is_some() || self.pacing.withhold.is_some() {
            return 1;
        }
        let stops =
            [self.faults.cut, self.faults.end, self.faults.stall, self.faults.error_at, self.pacing.pause.map(|(at, _)| at)];
        let next = stops.into_iter().flatten().filter(|stop| *stop > self.sent_frames).min();
        next.map_or(usize::MAX, |stop| usize::try_from(stop - self.sent_frames).unwrap_or(usize::MAX))
    }

    /// Has the source render until `limit` frames or a block's worth wait.
    fn render(&mut self, limit: usize) {
        if self.frames.bytes.capacity() == 0 && limit > 1 {
            self.frames.bytes.reserve(BLOCK + BLOCK / 8);
        }
        let known = self.frames.len();
        while !self.dry && self.frames.len() < limit && self.frames.pending_bytes() < BLOCK {
            self.dry = !self.source.fill(&mut self.frames);
        }
        let malformed = self.faults.malformed.and_then(|nth| nth.checked_sub(1));
        if (self.pacing.crlf || malformed.is_some()) && self.frames.len() > known {
            let (sent, crlf, source) = (self.sent_frames, self.pacing.crlf, &self.source);
            self.frames.rewrite(known, |at, frame| {
                if malformed == Some(sent + at as u64) {
                    source.malform(frame);
                }
                if crlf {
                    *frame = with_crlf(frame);
                }
            });
        }
    }

    fn set_block(&mut self, frames: u64, bytes: Bytes) {
        self.block_frames = frames;
        self.block = match &mut self.gzip {
            None => bytes,
            Some(encoder) => {
                encoder.write_all(&bytes).and_then(|()| encoder.flush()).expect("a Vec takes every write");
                Bytes::from(std::mem::take(encoder.get_mut()))
            }
        };
    }

    /// Hands over the next piece of the block.
    fn next_piece(&mut self, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.flush {
            self.flush = false;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut length = self.pacing.split.map_or(self.block.len(), |split| split.min(self.block.len()));
        let limit = [self.faults.cut_bytes, self.faults.end_bytes].into_iter().flatten().min();
        if let Some(room) = limit.map(|limit| limit - self.sent_bytes) {
            length = length.min(usize::try_from(room).unwrap_or(usize::MAX));
        }
        let piece = self.block.split_to(length);
        self.flush = self.pacing.split.is_some();
        self.sent_bytes += length as u64;
        let completed = if self.block.is_empty() { std::mem::take(&mut self.block_frames) } else { 0 };
        self.sent_frames += completed;
        self.exchange.sent(completed, length as u64);
        if self.length == Some(self.sent_bytes) {
            // The connection knows the end from the length and asks no further.
            self.exchange.ended(Outcome::Done);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Whether the time for the next frame has come: first token, pause, pace, release. Sends pings meanwhile.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let sent = self.sent_frames;
        if self.waited_for == Some(sent) {
            return Poll::Ready(());
        }
        if self.timer.is_none() {
            let now = Instant::now();
            let mut until = match self.pacing.pace {
                Some(pace) if sent > 0 => self.last_step.map(|last| last + pace),
                _ => None,
            };
            if sent == 0 {
                until = self.faults.ttft.map(|wait| now + wait);
            }
            if let Some((_, wait)) = self.pacing.pause.filter(|(at, _)| *at == sent) {
                until = Some(until.unwrap_or(now) + wait);
            }
            self.timer = until.map(|until| Box::pin(sleep_until(until)));
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(context));
        }
        if self.pacing.withhold.is_some_and(|free| sent >= free) {
            ready!(self.exchange.poll_release(context));
        }
        // The next pace counts from when this step was due, so that a stream keeps its average.
        self.last_step = Some(self.timer.take().map_or_else(Instant::now, |timer| timer.deadline()));
        self.waited_for = Some(sent);
        Poll::Ready(())
    }

    /// While a wait is pending: a ping when its time has come.
    fn poll_ping(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(every) = self.pacing.ping.filter(|_| !self.source.ping().is_empty()) else {
            return Poll::Pending;
        };
        let timer = self.ping_timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + every)));
        ready!(timer.as_mut().poll(context));
        self.ping_timer = None;
        let ping = self.source.ping();
        self.set_block(0, Bytes::from_static(ping));
        self.next_piece(context)
    }

    /// Breaks the connection off, after what was sent before has reached the socket.
    fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.settled {
            if self.http2 {
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + SETTLE_HTTP2)));
                ready!(timer.as_mut().poll(context));
            } else {
                ready!(self.connection.poll_flushed(context));
            }
            self.settled = true;
        }
        self.exchange.ended(Outcome::Cut);
        self.over = true;
        if self.faults.reset {
            self.connection.reset();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(Error::new(ErrorKind::ConnectionAborted, "cut, as the request asked"))))
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.over = true;
        self.exchange.ended(Outcome::Done);
        Poll::Ready(None)
    }
}

/// Now, in place of what stands behind the number of a made text's delta.
fn stamped(frame: &[u8]) -> Bytes {
    let Some(at) = frame.windows(FIRST_FILLER.len()).position(|window| window == FIRST_FILLER.as_bytes()) else {
        return Bytes::copy_from_slice(frame);
    };
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let stamp = format!(" {:020}", i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec));
    Bytes::from([&frame[..at], stamp.as_bytes(), &frame[at + FIRST_FILLER.len()..]].concat())
}

/// Every line end as CRLF, also where some are already.
fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(text.len() + 8);
    for byte in text {
        if *byte == b'\n' && changed.last() != Some(&b'\r') {
            changed.push(b'\r');
        }
        changed.push(*byte);
    }
    changed
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            if this.over {
                return if this.faults.reset { Poll::Pending } else { Poll::Ready(None) };
            }
            if this.faults.cut_bytes.is_some_and(|limit| this.sent_bytes >= limit) {
                return this.poll_cut(context);
            }
            if this.faults.end_bytes.is_some_and(|limit| this.sent_bytes >= limit) {
                return this.end();
            }
            if !this.block.is_empty() {
                return this.next_piece(context);
            }
            let sent = this.sent_frames;
            if this.faults.cut == Some(sent) {
                return this.poll_cut(context);
            }
            if this.faults.end == Some(sent) {
                return this.end();
            }
            if this.faults.stall == Some(sent) {
                return this.poll_ping(context);
            }
            if this.error_sent {
                return this.end();
            }
            let error_is_due = this.faults.error_at == Some(sent);
            let limit = this.block_limit();
            if !error_is_due {
                this.render(limit);
            }
            if error_is_due || this.frames.len() > 0 {
                if this.poll_turn(context).is_pending() {
                    return this.poll_ping(context);
                }
                this.ping_timer = None;
            }
            if error_is_due {
                let mut frames = Frames::default();
                this.source.error(&this.faults.error, &mut frames);
                let (_, bytes) = frames.take(usize::MAX);
                this.set_block(0, bytes);
                this.error_sent = true;
                continue;
            }
            if this.frames.len() > 0 {
                let (count, mut bytes) = this.frames.take(limit);
                if this.pacing.stamp {
                    bytes = stamped(&bytes);
                }
                this.set_block(count, bytes);
                continue;
            }
            if let Some(encoder) = this.gzip.take() {
                this.block = Bytes::from(encoder.finish().expect("a Vec takes every write"));
                continue;
            }
            if let Some(linger) = this.pacing.linger.filter(|_| !this.lingered) {
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + linger)));
                ready!(timer.as_mut().poll(context));
                this.lingered = true;
            }
            return this.end();
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
