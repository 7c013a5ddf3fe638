//! AWS's event stream: binary frames with headers, each sealed by two checksums.
//!
//! A frame is `total length, headers' length, CRC-32 of these eight bytes, headers, payload, CRC-32 of all before`, numbers in big
//! endian. A length is believed only once its checksum has proved right.

use std::ops::Range;
use std::str;

use super::{Event, EventKind, TooLarge};

const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// More headers than this are no honest frame; each is compared with those before it.
const MOST_HEADERS: usize = 256;

#[derive(Debug)]
pub struct EventStreamDecoder {
    cap: usize,
    /// The start of a frame whose end has not come.
    frame: Vec<u8>,
    /// The length of that frame, once its prelude was read.
    total: Option<usize>,
    /// The headers of the last good frame: most frames have the same, which need no second proof.
    proved: Vec<u8>,
    /// What these headers say: a plain event, and where its name stands in them.
    plain: Option<Range<usize>>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Nothing has come yet.
    Start,
    Frames,
    /// The body is JSON instead, as errors are.
    Json,
    /// A frame was broken: no later one can be found.
    Broken,
}

/// One frame, its checksums and headers proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    headers: &'a [u8],
    pub payload: &'a [u8],
    /// It has the headers of the frame before.
    is_alike: bool,
}

/// A header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderValue<'a> {
    Bool(bool),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    /// Milliseconds of Unix time.
    Time(i64),
    Uuid([u8; 16]),
}

/// What makes bytes no event stream.
type Flaw = &'static str;

impl EventStreamDecoder {
    pub fn new(cap: usize) -> Self {
        Self { cap, frame: Vec::new(), total: None, proved: Vec::new(), plain: None, state: State::Start }
    }

    /// See [`super::Decoder::decode`]. An exception or error comes as [`EventKind::Stray`] under its own name.
    pub fn decode<E: From<TooLarge>>(
        &mut self,
        input: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut plain = self.plain.take();
        let result = self.frames(input, |frame| match frame.and_then(|frame| event(&frame, &mut plain)) {
            Ok(event) => on_event(event),
            Err(flaw) => on_event(Event { kind: EventKind::Malformed, name: "", data: flaw.into() }),
        });
        self.plain = plain;
        result
    }

    /// As [`Self::decode`], frame by frame, whatever they carry. Nothing follows a flaw.
    pub fn frames<E: From<TooLarge>>(
        &mut self,
        input: &[u8],
        mut on_frame: impl FnMut(Result<Frame<'_>, Flaw>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = input;
        if self.state == State::Start && !rest.is_empty() {
            // As a frame's length it would be two gigabytes.
            self.state = if rest[0] == b'{' { State::Json } else { State::Frames };
        }
        if self.state == State::Json {
            if self.frame.len() + rest.len() > self.cap {
                return Err(TooLarge { cap: self.cap }.into());
            }
            self.frame.extend_from_slice(rest);
            return Ok(());
        }
        while !rest.is_empty() && self.state == State::Frames {
            if self.frame.is_empty() {
                // A frame that lies whole in the input is read where it is.
                match self.whole_frame(rest)? {
                    Ok(Some(length)) => {
                        let (frame, after) = rest.split_at(length);
                        rest = after;
                        let frame = Frame::read(frame, &self.proved);
                        self.note(&frame);
                        on_frame(frame)?;
                    }
                    Ok(None) => {
                        self.frame.extend_from_slice(rest);
                        return Ok(());
                    }
                    Err(flaw) => {
                        self.state = State::Broken;
                        return on_frame(Err(flaw));
                    }
                }
                continue;
            }
            let wanted = self.total.unwrap_or(PRELUDE) - self.frame.len();
            let (now, after) = rest.split_at(wanted.min(rest.len()));
            self.frame.extend_from_slice(now);
            rest = after;
            if now.len() < wanted {
                return Ok(());
            }
            if self.total.is_none() {
                match self.length(&self.frame)? {
                    Ok(total) => self.total = Some(total),
                    Err(flaw) => {
                        self.state = State::Broken;
                        return on_frame(Err(flaw));
                    }
                }
                continue;
            }
            self.total = None;
            let whole = std::mem::take(&mut self.frame);
            let frame = Frame::read(&whole, &self.proved);
            self.note(&frame);
            on_frame(frame)?;
            self.frame = whole;
            self.frame.clear();
        }
        Ok(())
    }

    /// See [`super::Decoder::finish`].
    pub fn finish<E>(&mut self, mut on_event: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let last = std::mem::take(&mut self.frame);
        let kind = match self.state {
            _ if last.is_empty() => return Ok(()),
            State::Json => EventKind::Stray,
            State::Broken => return Ok(()),
            State::Start | State::Frames => return on_event(Event { kind: EventKind::Unterminated, name: "", data: "".into() }),
        };
        on_event(Event { kind, name: "", data: super::text(&last) })
    }

    /// The length of the frame that `bytes` begin with, if all of it is there.
    fn whole_frame(&mut self, bytes: &[u8]) -> Result<Result<Option<usize>, Flaw>, TooLarge> {
        let Some(prelude) = bytes.get(..PRELUDE) else { return Ok(Ok(None)) };
        Ok(self.length(prelude)?.map(|total| {
            self.total = (total > bytes.len()).then_some(total);
            (total <= bytes.len()).then_some(total)
        }))
    }

    /// The length that a prelude gives.
    fn length(&self, prelude: &[u8]) -> Result<Result<usize, Flaw>, TooLarge> {
        if crc32fast::hash(&prelude[..8]) != number(prelude, 8) {
            return Ok(Err("the checksum of a frame's lengths is wrong"));
        }
        let (total, headers) = (number(prelude, 0) as usize, number(prelude, 4) as usize);
        if total < PRELUDE + CHECKSUM || headers > total - PRELUDE - CHECKSUM {
            return Ok(Err("a frame's lengths contradict each other"));
        }
        if total > self.cap { Err(TooLarge { cap: self.cap }) } else { Ok(Ok(total)) }
    }

    fn note(&mut self, frame: &Result<Frame<'_>, Flaw>) {
        match frame {
            Ok(frame) if frame.is_alike => {}
            Ok(frame) => {
                self.proved.clear();
                self.proved.extend_from_slice(frame.headers);
            }
            Err(_) => self.state = State::Broken,
        }
    }
}

impl<'a> Frame<'a> {
    /// Reads a whole frame whose prelude is proved, and so are these headers, if it has them.
    fn read(frame: &'a [u8], proved: &[u8]) -> Result<Self, Flaw> {
        let (sealed, checksum) = frame.split_at(frame.len() - CHECKSUM);
        if crc32fast::hash(sealed) != number(checksum, 0) {
            return Err("the checksum of a frame is wrong");
        }
        let (headers, payload) = sealed[PRELUDE..].split_at(number(frame, 4) as usize);
        let frame = Self { headers, payload, is_alike: headers == proved };
        if frame.is_alike {
            return Ok(frame);
        }
        for (at, header) in Headers(headers).enumerate() {
            let (name, _) = header?;
            if at >= MOST_HEADERS {
                return Err("a frame has too many headers");
            }
            if frame.headers().take(at).any(|(earlier, _)| earlier == name) {
                return Err("a frame has a header twice");
            }
        }
        Ok(frame)
    }

    pub fn headers(&self) -> impl Iterator<Item = (&'a str, HeaderValue<'a>)> + use<'a> {
        Headers(self.headers).filter_map(Result::ok)
    }
}

/// What a frame says, as an event. `plain` is where the name of the frame before stands, if that was a plain event.
fn event<'a>(frame: &Frame<'a>, plain: &mut Option<Range<usize>>) -> Result<Event<'a>, Flaw> {
    let payload = || super::text(frame.payload);
    let known = plain.take().filter(|_| frame.is_alike);
    if let Some(name) = known.clone().and_then(|name| str::from_utf8(&frame.headers[name]).ok()) {
        *plain = known;
        return Ok(Event { kind: EventKind::Message, name, data: payload() });
    }
    let (mut message_type, mut name, mut error_message) = ("event", "", "");
    for (header, value) in frame.headers() {
        let HeaderValue::Text(text) = value else { continue };
        match header {
            ":message-type" => message_type = text,
            ":event-type" | ":exception-type" | ":error-code" => name = text,
            ":error-message" => error_message = text,
            _ => {}
        }
    }
    Ok(match message_type {
        "event" => {
            let start = name.as_ptr().addr().checked_sub(frame.headers.as_ptr().addr());
            *plain = start.filter(|start| start + name.len() <= frame.headers.len()).map(|start| start..start + name.len());
            Event { kind: EventKind::Message, name, data: payload() }
        }
        "exception" => Event { kind: EventKind::Stray, name, data: payload() },
        "error" => Event { kind: EventKind::Stray, name, data: error_message.into() },
        _ => return Err("a frame is of an unknown type"),
    })
}

/// Headers, one after the other.
struct Headers<'a>(&'a [u8]);

impl<'a> Iterator for Headers<'a> {
    type Item = Result<(&'a str, HeaderValue<'a>), Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let header = self.header();
        if header.is_none() {
            self.0 = &[];
        }
        Some(header.ok_or("a frame's headers are broken"))
    }
}

impl<'a> Headers<'a> {
    fn header(&mut self) -> Option<(&'a str, HeaderValue<'a>)> {
        let [length] = self.array()?;
        let name = str::from_utf8(self.take(length.into())?).ok().filter(|name| !name.is_empty())?;
        let [kind] = self.array()?;
        let value = match kind {
            0 => HeaderValue::Bool(true),
            1 => HeaderValue::Bool(false),
            2 => HeaderValue::Byte(i8::from_be_bytes(self.array()?)),
            3 => HeaderValue::Short(i16::from_be_bytes(self.array()?)),
            4 => HeaderValue::Int(i32::from_be_bytes(self.array()?)),
            5 => HeaderValue::Long(i64::from_be_bytes(self.array()?)),
            6 => HeaderValue::Bytes(self.sized()?),
            7 => HeaderValue::Text(str::from_utf8(self.sized()?).ok()?),
            8 => HeaderValue::Time(i64::from_be_bytes(self.array()?)),
            9 => HeaderValue::Uuid(self.array()?),
            _ => return None,
        };
        Some((name, value))
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(length.into())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// The number at `at`, which is known to be there.
fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
