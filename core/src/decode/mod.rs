//! Bytes to events, without I/O: one decoder a framing, each incremental, linear in bytes however they are split, and bounded.
//!
//! A decoder takes what a socket read brought and calls back with every event that is complete in it. An event that lies whole in the
//! input is handed over without a copy.

mod event_stream;
mod json_array;
mod ndjson;
mod sse;

use std::borrow::Cow;
use std::fmt;

pub use event_stream::{EventStreamDecoder, Frame, HeaderValue};
pub use json_array::JsonArrayDecoder;
pub use ndjson::NdjsonDecoder;
pub use sse::SseDecoder;

/// One event of a stream, borrowed for the length of the callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    pub kind: EventKind,
    /// The event's name; empty where the framing has none or the sender gave none.
    pub name: &'a str,
    /// The payload as text; bytes that are no UTF-8 became U+FFFD.
    pub data: Cow<'a, str>,
}

/// How an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// As the framing has it.
    Message,
    /// The bytes ended inside it: worth something only if its payload is whole.
    Unterminated,
    /// Something beside the framing: an `error:` field, bare JSON where an event should be, an exception of AWS's event stream.
    Stray,
    /// The framing itself is broken; the data says how, and nothing follows.
    Malformed,
}

/// An event grew past the decoder's cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    pub cap: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event is larger than the limit of {} bytes", self.cap)
    }
}

impl std::error::Error for TooLarge {}

/// How a provider frames its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Sse,
    Ndjson,
    JsonArray,
    /// SSE, or a JSON array where that is what the body begins as (Google, when the query does not ask for SSE).
    SseOrJsonArray,
    /// AWS's binary frames.
    EventStream,
}

/// The decoder of a framing.
#[derive(Debug)]
pub enum Decoder {
    /// Which of two framings it is shows with the first byte that is no blank.
    Undecided {
        cap: usize,
    },
    Sse(SseDecoder),
    Ndjson(NdjsonDecoder),
    JsonArray(JsonArrayDecoder),
    EventStream(EventStreamDecoder),
}

impl Decoder {
    /// `cap` bounds what is buffered of one event, in bytes.
    pub fn new(framing: Framing, cap: usize) -> Self {
        match framing {
            Framing::Sse => Self::Sse(SseDecoder::new(cap)),
            Framing::Ndjson => Self::Ndjson(NdjsonDecoder::new(cap)),
            Framing::JsonArray => Self::JsonArray(JsonArrayDecoder::new(cap)),
            Framing::SseOrJsonArray => Self::Undecided { cap },
            Framing::EventStream => Self::EventStream(EventStreamDecoder::new(cap)),
        }
    }

    /// Takes the next bytes. Stops at the first error of `on_event`.
    pub fn decode<E: From<TooLarge>>(&mut self, input: &[u8], on_event: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        if let Self::Undecided { cap } = *self {
            let Some(first) = trim_ascii_start(input).first() else { return Ok(()) };
            *self = Self::new(if *first == b'[' { Framing::JsonArray } else { Framing::Sse }, cap);
        }
        match self {
            Self::Undecided { .. } => Ok(()),
            Self::Sse(decoder) => decoder.decode(input, on_event),
            Self::Ndjson(decoder) => decoder.decode(input, on_event),
            Self::JsonArray(decoder) => decoder.decode(input, on_event),
            Self::EventStream(decoder) => decoder.decode(input, on_event),
        }
    }

    /// Says that no more bytes come. What is left over is handed on as [`EventKind::Unterminated`] or [`EventKind::Stray`].
    pub fn finish<E>(&mut self, on_event: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Undecided { .. } => Ok(()),
            Self::Sse(decoder) => decoder.finish(on_event),
            Self::Ndjson(decoder) => decoder.finish(on_event),
            Self::JsonArray(decoder) => decoder.finish(on_event),
            Self::EventStream(decoder) => decoder.finish(on_event),
        }
    }
}

/// Bytes as text; those that are no UTF-8 become U+FFFD.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    // Replacing is slow even where there is nothing to replace.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn trim_ascii_start(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    &bytes[blank..]
}
