//! A JSON array that is sent element by element (Google without `alt=sse`). Each top-level element is an event as soon as it closes.

use super::{Event, EventKind, TooLarge};

#[derive(Debug)]
pub struct JsonArrayDecoder {
    cap: usize,
    /// The start of an element whose end has not come.
    element: Vec<u8>,
    /// Brackets open inside the element.
    depth: usize,
    in_string: bool,
    after_backslash: bool,
}

impl JsonArrayDecoder {
    pub fn new(cap: usize) -> Self {
        Self { cap, element: Vec::new(), depth: 0, in_string: false, after_backslash: false }
    }

    /// See [`super::Decoder::decode`].
    pub fn decode<E: From<TooLarge>>(
        &mut self,
        input: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = 0;
        for (at, &byte) in input.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.after_backslash => self.after_backslash = false,
                    b'\\' => self.after_backslash = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' if self.depth > 0 => self.in_string = true,
                b'{' => {
                    if self.depth == 0 {
                        start = at;
                    }
                    self.depth += 1;
                }
                b'[' if self.depth > 0 => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.element(&input[start..=at], &mut on_event)?;
                        start = at + 1;
                    }
                }
                _ => {}
            }
        }
        if self.depth > 0 {
            self.extend(&input[start..])?;
        }
        Ok(())
    }

    /// See [`super::Decoder::finish`].
    pub fn finish<E>(&mut self, mut on_event: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let last = std::mem::take(&mut self.element);
        if last.is_empty() {
            return Ok(());
        }
        on_event(Event { kind: EventKind::Unterminated, name: "", data: super::text(&last) })
    }

    fn element<E: From<TooLarge>>(
        &mut self,
        tail: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.element.is_empty() {
            return on_event(Event { kind: EventKind::Message, name: "", data: super::text(tail) });
        }
        self.extend(tail)?;
        let result = on_event(Event { kind: EventKind::Message, name: "", data: super::text(&self.element) });
        self.element.clear();
        result
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.element.len() + bytes.len() > self.cap {
            return Err(TooLarge { cap: self.cap });
        }
        self.element.extend_from_slice(bytes);
        Ok(())
    }
}
