//! Server-sent events as the WHATWG standard has them, plus what LLM hosts do beside it: a last event without its blank line, an
//! `error:` field, bare JSON lines where an event should be.

use memchr::memchr2;

use super::{Event, EventKind, TooLarge};

const BOM: &[u8] = b"\xEF\xBB\xBF";

#[derive(Debug)]
pub struct SseDecoder {
    cap: usize,
    /// The start of a line whose end has not come.
    line: Vec<u8>,
    /// The data lines of the event at hand, joined by LF.
    data: Vec<u8>,
    has_data: bool,
    name: String,
    /// Lines of bare JSON, kept until a blank line or the end.
    stray: Vec<u8>,
    /// A CR ended the last line: an LF right behind it belongs to it.
    after_cr: bool,
    /// Nothing but a possible BOM has been seen.
    at_start: bool,
}

impl SseDecoder {
    pub fn new(cap: usize) -> Self {
        Self {
            cap,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            name: String::new(),
            stray: Vec::new(),
            after_cr: false,
            at_start: true,
        }
    }

    /// See [`super::Decoder::decode`].
    pub fn decode<E: From<TooLarge>>(
        &mut self,
        input: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = input;
        if self.at_start {
            let Some(after_bom) = self.skip_bom(rest) else { return Ok(()) };
            rest = after_bom;
        }
        while !rest.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if rest[0] == b'\n' {
                    rest = &rest[1..];
                    continue;
                }
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.room_for(rest.len())?;
                self.line.extend_from_slice(rest);
                return Ok(());
            };
            let (line, ending) = (&rest[..end], rest[end]);
            rest = &rest[end + 1..];
            if ending == b'\r' {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if self.line.is_empty() {
                // The usual event, one data line and a blank one, goes straight from the input.
                if !self.has_data
                    && self.stray.is_empty()
                    && let Some(data) = field(line, b"data")
                    && let Some(after) = blank_line(rest)
                {
                    rest = after;
                    on_event(message(EventKind::Message, &self.name, data))?;
                    self.name.clear();
                    continue;
                }
                self.line(line, &mut on_event)?;
            } else {
                self.room_for(line.len())?;
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.line(&whole, &mut on_event)?;
                whole.clear();
                self.line = whole;
            }
        }
        Ok(())
    }

    /// See [`super::Decoder::finish`].
    pub fn finish<E>(&mut self, mut on_event: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let last = std::mem::take(&mut self.line);
        if let Some(data) = field(&last, b"data") {
            self.push_data(data);
        } else if is_bare_json(&last) || !self.stray.is_empty() {
            self.push_stray(&last);
        }
        if self.has_data {
            self.has_data = false;
            on_event(message(EventKind::Unterminated, &self.name, &self.data))?;
            self.data.clear();
        }
        self.flush_stray(&mut on_event)
    }

    /// Strips one byte order mark; `None` while it is still undecided whether there is one.
    fn skip_bom<'a>(&mut self, input: &'a [u8]) -> Option<&'a [u8]> {
        let held = self.line.len();
        let wanted = &BOM[held..];
        let seen = input.len().min(wanted.len());
        if input[..seen] != wanted[..seen] {
            self.at_start = false;
            return Some(input);
        }
        if seen < wanted.len() {
            self.line.extend_from_slice(input);
            return None;
        }
        self.at_start = false;
        self.line.clear();
        Some(&input[seen..])
    }

    fn line<E: From<TooLarge>>(&mut self, line: &[u8], on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        if line.is_empty() {
            self.flush_stray(on_event)?;
            if self.has_data {
                self.has_data = false;
                let result = on_event(message(EventKind::Message, &self.name, &self.data));
                self.data.clear();
                self.name.clear();
                return result;
            }
            self.name.clear();
            return Ok(());
        }
        if !self.stray.is_empty() && field(line, b"data").is_none() {
            self.room_for(line.len())?;
            self.push_stray(line);
        } else if let Some(data) = field(line, b"data") {
            self.room_for(data.len())?;
            self.push_data(data);
        } else if let Some(name) = field(line, b"event") {
            self.name.clear();
            self.name.push_str(&String::from_utf8_lossy(name));
        } else if let Some(error) = field(line, b"error") {
            return on_event(message(EventKind::Stray, "error", error));
        } else if is_bare_json(line) {
            self.push_stray(line);
        }
        Ok(())
    }

    fn push_data(&mut self, data: &[u8]) {
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(data);
    }

    fn push_stray(&mut self, line: &[u8]) {
        self.stray.extend_from_slice(line);
        self.stray.push(b'\n');
    }

    fn flush_stray<E>(&mut self, on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        if self.stray.is_empty() {
            return Ok(());
        }
        let stray = std::mem::take(&mut self.stray);
        on_event(message(EventKind::Stray, "", &stray))
    }

    fn room_for(&self, more: usize) -> Result<(), TooLarge> {
        let held = self.line.len() + self.data.len() + self.stray.len();
        if held + more > self.cap { Err(TooLarge { cap: self.cap }) } else { Ok(()) }
    }
}

fn message<'a>(kind: EventKind, name: &'a str, data: &'a [u8]) -> Event<'a> {
    Event { kind, name, data: super::text(data) }
}

/// The value of `line` if its field is `name`: what stands behind the colon less one space, or nothing where there is no colon.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest.split_first() {
        None => Some(rest),
        Some((b':', value)) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        Some(_) => None,
    }
}

/// What follows if `rest` begins with a blank line whose end is certain.
fn blank_line(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'\n', after @ ..] | [b'\r', b'\n', after @ ..] => Some(after),
        _ => None,
    }
}

fn is_bare_json(line: &[u8]) -> bool {
    matches!(super::trim_ascii_start(line).first(), Some(b'{' | b'['))
}
