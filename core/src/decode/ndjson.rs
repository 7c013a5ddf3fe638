//! One JSON text a line. Blank lines and CR before LF are tolerated, and so is a last line without its LF.

use memchr::memchr;

use super::{Event, EventKind, TooLarge};

#[derive(Debug)]
pub struct NdjsonDecoder {
    cap: usize,
    /// The start of a line whose end has not come.
    line: Vec<u8>,
}

impl NdjsonDecoder {
    pub fn new(cap: usize) -> Self {
        Self { cap, line: Vec::new() }
    }

    /// See [`super::Decoder::decode`].
    pub fn decode<E: From<TooLarge>>(
        &mut self,
        input: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = input;
        while let Some(end) = memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            if self.line.is_empty() {
                emit(EventKind::Message, line, &mut on_event)?;
                continue;
            }
            self.extend(line)?;
            let result = emit(EventKind::Message, &self.line, &mut on_event);
            self.line.clear();
            result?;
        }
        Ok(self.extend(rest)?)
    }

    /// See [`super::Decoder::finish`].
    pub fn finish<E>(&mut self, mut on_event: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let last = std::mem::take(&mut self.line);
        emit(EventKind::Unterminated, &last, &mut on_event)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + bytes.len() > self.cap {
            return Err(TooLarge { cap: self.cap });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }
}

fn emit<E>(kind: EventKind, line: &[u8], on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(());
    }
    on_event(Event { kind, name: "", data: super::text(line) })
}
