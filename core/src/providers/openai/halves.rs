//! Emoji that a host cuts in two: JSON writes one as a pair of escapes, and hosts that count in UTF-16 send each half in a chunk of its own.

use crate::stream::Emitter;
use crate::types::Delta;

/// What stands for a half that stays alone.
const ALONE: char = '\u{fffd}';

/// JSON in which every half that is alone became U+FFFD.
#[derive(Debug, Default)]
pub struct Mended {
    pub json: String,
    /// The second half that a text of it began with.
    first: Option<u16>,
    /// The first half that a text of it ended with.
    last: Option<u16>,
}

/// Takes JSON that no reader takes. `None` where halves are not why.
pub fn mend(data: &str) -> Option<Mended> {
    let unit = |at: usize| {
        let escape = data.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(escape, 16).ok()
    };
    let mut mended = Mended::default();
    let (mut at, mut kept) = (0, 0);
    while let Some(step) = data[at..].find('\\') {
        at += step;
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(half @ 0xD800..=0xDFFF) => {
                mended.json.push_str(&data[kept..at]);
                mended.json.push(ALONE);
                let is_second = half >= 0xDC00;
                if is_second && data[..at].ends_with('"') {
                    mended.first = Some(half);
                }
                at += 6;
                if !is_second && data[at..].starts_with('"') {
                    mended.last = Some(half);
                }
                kept = at;
            }
            Some(_) => at += 6,
            None => at += 1 + data[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    mended.json.push_str(&data[kept..]);
    (kept > 0).then_some(mended)
}

/// The first half of an emoji, until the second one comes.
#[derive(Debug)]
pub struct Half {
    pub choice: u32,
    of_reasoning: bool,
    unit: u16,
}

impl Half {
    /// Keeps back the half that a delta ends with.
    pub fn of(delta: &mut Delta, choice: u32, mended: &Mended) -> Option<Self> {
        let unit = mended.last?;
        let cut = |text: &mut Option<String>| text.as_mut().filter(|text| text.ends_with(ALONE)).and_then(String::pop).is_some();
        let of_reasoning = !cut(&mut delta.content);
        (!of_reasoning || cut(&mut delta.reasoning_content)).then_some(Self { choice, of_reasoning, unit })
    }

    /// Puts it before the text that follows, whole where that begins with the other half. It comes back where nothing follows yet.
    pub fn join(self, delta: &mut Delta, choice: u32, mended: &Mended, out: &mut Emitter) -> Option<Self> {
        if choice != self.choice || !delta.has_token() {
            return Some(self);
        }
        let slot = if self.of_reasoning { &mut delta.reasoning_content } else { &mut delta.content };
        let Some(text) = slot.as_mut().filter(|text| !text.is_empty()) else {
            self.stay_alone(out);
            return None;
        };
        let other = mended.first.filter(|_| text.starts_with(ALONE));
        let whole = other.and_then(|other| char::decode_utf16([self.unit, other]).next()?.ok());
        if whole.is_some() {
            text.remove(0);
        }
        text.insert(0, whole.unwrap_or(ALONE));
        None
    }

    /// Says that it is alone.
    pub fn stay_alone(self, out: &mut Emitter) {
        let alone = ALONE.to_string();
        if self.of_reasoning { out.reasoning(self.choice, &alone) } else { out.text(self.choice, &alone) }
    }
}
