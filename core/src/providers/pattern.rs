//! The short way through a stream. Its events are the same bytes but for a few holes: the text or a call's arguments, perhaps a
//! padding or a time that nobody reads, perhaps counts at the end. So an event that was read whole is kept as a pattern: where the next
//! one differs in nothing but what fills the holes, it means the same with another text, and only that is read.

use std::borrow::Cow;

use memchr::memchr2;

/// An event but for what fills its holes. What the text means is its owner's to know.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    /// What stands before each hole, and the hole.
    pieces: Vec<(String, Hole)>,
    /// What stands behind the last one.
    end: String,
}

/// What may differ from event to event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hole {
    /// The string that matters.
    Text,
    /// A string that nobody reads.
    Padding,
    /// Any JSON, which its owner reads and by that proves to be one value. Only as the last hole.
    Value,
}

/// What fills the holes of an event.
#[derive(Debug)]
pub(super) struct Filling<'d> {
    pub text: Cow<'d, str>,
    /// Empty where the pattern has no hole for it.
    pub value: &'d str,
}

impl Pattern {
    /// The pattern of an event with these holes, in the order in which they stand in it; strings without escapes. It may be used only if
    /// this returns `true`.
    pub(super) fn learn(&mut self, data: &str, holes: &[(Hole, &str)]) -> bool {
        self.pieces.truncate(holes.len());
        let mut rest = data;
        for (at, (hole, inside)) in holes.iter().enumerate() {
            let Some(start) = place(rest, inside, *hole) else { return false };
            match self.pieces.get_mut(at) {
                Some(piece) => {
                    replace(&mut piece.0, &rest[..start]);
                    piece.1 = *hole;
                }
                None => self.pieces.push((rest[..start].to_owned(), *hole)),
            }
            rest = &rest[start + inside.len()..];
        }
        replace(&mut self.end, rest);
        true
    }

    /// What fills the holes of an event that differs from the pattern in nothing else.
    pub(super) fn filling<'d>(&self, data: &'d str) -> Option<Filling<'d>> {
        let mut filling = Filling { text: Cow::Borrowed(""), value: "" };
        let mut rest = data;
        for (before, hole) in &self.pieces {
            rest = rest.strip_prefix(before.as_str())?;
            let inside;
            match hole {
                Hole::Text => {
                    let start = data.len() - rest.len();
                    (inside, rest) = rest.split_at(string_end(rest)?);
                    filling.text = if is_plain(inside) {
                        Cow::Borrowed(inside)
                    } else {
                        serde_json::from_str(&data[start - 1..=start + inside.len()]).ok().map(Cow::Owned)?
                    };
                }
                Hole::Padding => {
                    (inside, rest) = rest.split_at(string_end(rest)?);
                    if !is_plain(inside) {
                        return None;
                    }
                }
                Hole::Value => {
                    filling.value = rest.strip_suffix(self.end.as_str()).filter(|value| !value.is_empty())?;
                    rest = &rest[filling.value.len()..];
                }
            }
        }
        (rest == self.end).then_some(filling)
    }
}

/// Where `part` lies in `whole`, if it is a part of it, a string between its quotes.
fn place(whole: &str, part: &str, hole: Hole) -> Option<usize> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let behind = whole.as_bytes().get(start + part.len())?;
    let fits = hole == Hole::Value || start > 0 && whole.as_bytes()[start - 1] == b'"' && *behind == b'"';
    fits.then_some(start)
}

/// The place of the quote that ends a JSON string.
fn string_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Whether a JSON string's inside is its text as it stands.
fn is_plain(text: &str) -> bool {
    // Counted rather than searched, so that the compiler compares many bytes at once.
    text.bytes().filter(|&byte| byte < 0x20 || byte == b'\\').count() == 0
}

fn replace(slot: &mut String, text: &str) {
    slot.clear();
    slot.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_missing_is_no_value() {
        let event = r#"{"text":"a","counts":{"in":1}}"#;
        let mut pattern = Pattern::default();
        assert!(pattern.learn(event, &[(Hole::Text, &event[9..10]), (Hole::Value, &event[21..29])]));
        let filling = pattern.filling(r#"{"text":"b","counts":{"in":2}}"#).expect("it is alike");
        assert_eq!((&*filling.text, filling.value), ("b", r#"{"in":2}"#));
        assert!(pattern.filling(r#"{"text":"b","counts":}"#).is_none());
    }
}
