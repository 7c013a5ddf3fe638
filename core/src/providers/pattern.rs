//! The short way through a stream. Its events are the same bytes but for one string, the text or a call's arguments, and perhaps a
//! padding that nobody reads. So an event that was read whole is kept as a pattern: where the next one differs in nothing but these
//! strings, it means the same with another text, and only that is read.

use std::borrow::Cow;

use memchr::memchr2;

/// An event but for its text. What the text means is its owner's to know.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    /// The event up to the text, its quote included.
    before: String,
    /// From the text's closing quote to the end, or to the padding, its quote included.
    after: String,
    /// From the padding's closing quote to the end.
    end: Option<String>,
}

impl Pattern {
    /// The pattern of an event with this text, and this padding if it has one; both must be parts of it, without escapes. Takes the
    /// place of the one before only if it returns `true`.
    pub(super) fn learn(&mut self, data: &str, text: &str, padding: Option<&str>) -> bool {
        let Some(start) = place(data, text) else { return false };
        let (before, rest) = data.split_at(start);
        let rest = &rest[text.len()..];
        let (after, end) = match padding {
            None => (rest, None),
            Some(padding) => {
                let Some(start) = place(rest, padding) else { return false };
                (&rest[..start], Some(&rest[start + padding.len()..]))
            }
        };
        replace(&mut self.before, before);
        replace(&mut self.after, after);
        self.end = end.map(str::to_owned);
        true
    }

    /// The text of an event that differs from the pattern in its strings alone.
    pub(super) fn text<'d>(&self, data: &'d str) -> Option<Cow<'d, str>> {
        let rest = data.strip_prefix(self.before.as_str())?;
        let (text, after) = rest.split_at(string_end(rest)?);
        let after = after.strip_prefix(self.after.as_str())?;
        let same = match &self.end {
            None => after.is_empty(),
            Some(end) => {
                let (padding, after) = after.split_at(string_end(after)?);
                is_plain(padding) && after == end
            }
        };
        if !same {
            return None;
        }
        if is_plain(text) {
            return Some(Cow::Borrowed(text));
        }
        let quoted = &data[self.before.len() - 1..=self.before.len() + text.len()];
        serde_json::from_str(quoted).ok().map(Cow::Owned)
    }
}

/// Where `part` lies in `whole`, if it is a part of it, between quotes.
fn place(whole: &str, part: &str) -> Option<usize> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let quoted =
        start > 0 && whole.as_bytes().get(start - 1) == Some(&b'"') && whole.as_bytes().get(start + part.len()) == Some(&b'"');
    quoted.then_some(start)
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
