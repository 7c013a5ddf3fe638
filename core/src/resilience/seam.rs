//! The seam between an answer that broke off and its continuation: what the continuation says again is left out, exactly.
//!
//! A model that goes on may repeat the end of what it was shown, or all of it, or open with a phrase of its own. Text that merely looks
//! alike is kept: an echo shorter than [`SHORTEST_ECHO`] graphemes, and one in a text that repeats itself anyway. What cannot be decided
//! yet is held, as long as it still matches and within bounds of length and time that the caller keeps.

use unicode_segmentation::UnicodeSegmentation;

/// How far back an echo may begin, in graphemes.
const LOOK_BACK: usize = 4096;
/// Shorter echoes are taken for the model's own words.
const SHORTEST_ECHO: usize = 12;
/// How long an opening phrase may be, in bytes.
const LONGEST_PHRASE: usize = 160;

/// Joins one continuation to what was said before.
#[derive(Debug)]
pub(crate) struct Seam {
    /// The end of what was said, as far back as an echo may begin.
    tail: String,
    /// All of it, where it is longer: a model may begin anew.
    whole: Option<String>,
    /// White space at its end that the model was not shown.
    unshown: String,
    /// The model was asked to go on, and may say so first.
    may_have_phrase: bool,
    /// A fence of code is open, with this language.
    open_fence: Option<String>,
    /// What came and is not decided.
    held: String,
    decided: bool,
}

impl Seam {
    /// `said` is what was said before; `shown` what of it the model was shown. `asked` tells that it was asked in words to go on.
    pub(crate) fn new(said: &str, shown: &str, asked: bool) -> Self {
        let start = said.grapheme_indices(true).rev().nth(LOOK_BACK - 1).map_or(0, |(at, _)| at);
        Self {
            tail: said[start..].to_owned(),
            whole: (start > 0).then(|| said.to_owned()),
            unshown: said.strip_prefix(shown).unwrap_or_default().to_owned(),
            may_have_phrase: asked,
            open_fence: open_fence(said),
            held: String::new(),
            decided: said.is_empty(),
        }
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.decided
    }

    /// Whether anything is held.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether what is held is long enough for an echo, of a text that does not repeat itself: there is hardly anything else that it could be.
    pub(crate) fn follows_an_echo(&self) -> bool {
        !self.decided
            && self.openings(&self.held).any(|rest| rest.graphemes(true).nth(SHORTEST_ECHO - 1).is_some() && !repeats(rest))
    }

    /// Takes what came; gives what can be said. Empty while it is held.
    pub(crate) fn push(&mut self, text: &str) -> String {
        if self.decided {
            return text.to_owned();
        }
        self.held.push_str(text);
        if self.may_still_match() { String::new() } else { self.release() }
    }

    /// Decides with what is there: nothing more comes, or it was held long enough.
    pub(crate) fn release(&mut self) -> String {
        self.decided = true;
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_str();
        for opened in self.openings(&held) {
            let echo = self.echo_length(opened);
            if echo > 0 {
                return opened[echo..].to_owned();
            }
            rest = opened;
        }
        // The model wrote the white space again that it was not shown.
        rest.strip_prefix(self.unshown.as_str()).unwrap_or(rest).to_owned()
    }

    /// `text` behind what a model that was asked to go on may say first: a phrase, and the fence of code that is open.
    fn openings<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> + use<'t> {
        let phrase = phrase_length(text).filter(|_| self.may_have_phrase).unwrap_or(0);
        let rest = &text[phrase..];
        let fence = if self.may_have_phrase { fence_length(rest, self.open_fence.as_deref()) } else { 0 };
        [Some(rest), (fence > 0).then(|| &rest[fence..])].into_iter().flatten()
    }

    /// Whether more text could still make an echo, a phrase or a fence of what is held.
    fn may_still_match(&self) -> bool {
        let fence_may_follow = |rest| self.may_have_phrase && fence_may_follow(rest, self.open_fence.as_deref());
        self.may_have_phrase && phrase_may_follow(&self.held)
            || self.openings(&self.held).any(|rest| fence_may_follow(rest) || self.echo_may_follow(rest))
    }

    /// Whether `text` is the beginning of a longer echo, or of the white space that was not shown.
    fn echo_may_follow(&self, text: &str) -> bool {
        let in_whole = self.whole.as_ref().is_some_and(|whole| whole.len() > text.len() && whole.starts_with(text));
        let at = self.tail.len().checked_sub(text.len() + 1).map(|last| {
            self.tail.as_bytes()[..last + text.len()].windows(text.len().max(1)).any(|window| window == text.as_bytes())
        });
        let unshown = self.unshown.len() > text.len() && self.unshown.starts_with(text);
        // What is an echo from end to end says nothing yet, and its last grapheme may go on.
        let is_echo = !text.is_empty() && self.echo_length(text) == text.len();
        // An echo is at least so long: what is held must be found with as much behind it.
        text.is_empty() || is_echo || in_whole || at.unwrap_or(false) && self.long_enough_from(text) || unshown
    }

    /// Whether `text` is found in the tail where an echo of a length that counts would begin.
    fn long_enough_from(&self, text: &str) -> bool {
        let limit = self.tail.grapheme_indices(true).rev().nth(SHORTEST_ECHO - 1).map_or(0, |(at, _)| at + 1);
        self.tail[..].match_indices(text).any(|(at, _)| at < limit && at + text.len() < self.tail.len())
    }

    /// How many bytes at the beginning of `text` say again what the tail, or the whole, ends with.
    fn echo_length(&self, text: &str) -> usize {
        if let Some(whole) = self.whole.as_ref().filter(|whole| text.starts_with(whole.as_str())) {
            return whole.len();
        }
        let longest = (1..=text.len().min(self.tail.len()))
            .rev()
            .filter(|&length| text.is_char_boundary(length) && self.tail.is_char_boundary(self.tail.len() - length))
            .find(|&length| self.tail.as_bytes()[self.tail.len() - length..] == text.as_bytes()[..length]);
        let Some(length) = longest else { return 0 };
        let echo = &text[..length];
        let splits_a_grapheme = !text.grapheme_indices(true).any(|(at, _)| at == length) && length < text.len();
        let graphemes = echo.graphemes(true).count();
        if splits_a_grapheme || graphemes < SHORTEST_ECHO || is_repetition(&self.tail, echo) { 0 } else { length }
    }
}

/// Whether a text that ends with `echo` repeats itself there anyway: the echo is a pattern said over and over, or stands twice in a row.
fn is_repetition(tail: &str, echo: &str) -> bool {
    let before = &tail[..tail.len() - echo.len()];
    before.ends_with(echo) || repeats(echo)
}

/// Whether a text is a pattern said over and over.
fn repeats(text: &str) -> bool {
    // The smallest period, by the failure function of Knuth, Morris and Pratt.
    let bytes = text.as_bytes();
    let mut border = vec![0; bytes.len()];
    for at in 1..bytes.len() {
        let mut length = border[at - 1];
        while length > 0 && bytes[at] != bytes[length] {
            length = border[length - 1];
        }
        border[at] = length + usize::from(bytes[at] == bytes[length]);
    }
    let period = bytes.len() - border.last().copied().unwrap_or(0);
    period * 2 <= bytes.len()
}

/// Words with which models announce that they go on; a phrase is one of these openings up to its colon or line end.
const OPENINGS: [&str; 12] = [
    "sure",
    "certainly",
    "of course",
    "okay",
    "ok,",
    "continuing",
    "continued",
    "(continu",
    "[continu",
    "here is",
    "here's",
    "picking up",
];
const GOING_ON: [&str; 6] = ["continu", "left off", "pick up", "picking up", "rest of", "remaining"];

/// How long the opening phrase is with which `text` begins, white space behind it included, but not the next line's indentation.
fn phrase_length(text: &str) -> Option<usize> {
    let start = text.len() - text.trim_start().len();
    let body = &text[start..];
    let lower = body.to_ascii_lowercase();
    if !OPENINGS.iter().any(|opening| lower.starts_with(opening)) {
        return None;
    }
    let end = lower.find(['\n', ':']).filter(|&end| end <= LONGEST_PHRASE)? + 1;
    if !GOING_ON.iter().any(|word| lower[..end].contains(word)) {
        return None;
    }
    let behind = &body[end..];
    let blank = &behind[..behind.len() - behind.trim_start_matches(['\n', '\r', ' ', '\t']).len()];
    let on_the_same_line = if lower[..end].ends_with('\n') { 0 } else { blank.len() };
    Some(start + end + blank.rfind('\n').map_or(on_the_same_line, |line_end| line_end + 1))
}

/// Whether `text` may still become an opening phrase.
fn phrase_may_follow(text: &str) -> bool {
    let lower = text.trim_start().to_ascii_lowercase();
    let begins = OPENINGS.iter().any(|opening| lower.starts_with(opening) || opening.starts_with(lower.as_str()));
    begins && lower.len() <= LONGEST_PHRASE && !lower.contains(['\n', ':'])
}

/// The language of the fence of code that is open at the end of `text`, if it names one.
fn open_fence(text: &str) -> Option<String> {
    let mut open = None;
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            open = if open.is_some() { None } else { Some(language.trim().to_owned()) };
        }
    }
    open.filter(|language| !language.is_empty())
}

/// How long the line is with which `text` opens the same fence again.
fn fence_length(text: &str, open: Option<&str>) -> usize {
    let Some(language) = open else { return 0 };
    let line = format!("```{language}\n");
    let start = text.len() - text.trim_start_matches('\n').len();
    if text[start..].starts_with(&line) { start + line.len() } else { 0 }
}

fn fence_may_follow(text: &str, open: Option<&str>) -> bool {
    open.is_some_and(|language| format!("```{language}\n").starts_with(text.trim_start_matches('\n')) && !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was said, what comes, whether it was asked for in words, and what should be said of it.
    const JOINS: &[(&str, &str, &str, bool, &str)] = &[
        ("an exact continuation", "The quick brown fox", " jumps over", false, " jumps over"),
        ("a continuation inside a word", "The quick bro", "wn fox", false, "wn fox"),
        ("the end said again", "Once upon a time there was a king", "there was a king who ruled", false, " who ruled"),
        ("all of it said again", "Once upon a time", "Once upon a time there was", false, " there was"),
        ("a short echo is the model's own", "He said no, ", "no, never", false, "no, never"),
        ("a pattern goes on", "ha ha ha ha ha ha ha ha ", "ha ha ha ha ha ha ha", false, "ha ha ha ha ha ha ha"),
        ("equal rows go on", "| a | b | c | d |\n| a | b | c | d |\n", "| a | b | c | d |\nend", false, "| a | b | c | d |\nend"),
        (
            "code said again",
            "fn main() {\n    let total = 1;\n",
            "    let total = 1;\n    print(total);",
            false,
            "    print(total);",
        ),
        ("JSON said again", "{\"name\": \"Ada\", \"born\":", " \"Ada\", \"born\": 1815}", false, " 1815}"),
        ("graphemes stay whole", "She waved: 👩‍👩‍👧‍👦 and then left the old house", " and then left the old house 👋🏽", false, " 👋🏽"),
        (
            "an accent that combines is not torn off",
            "a long enough tail of e",
            "a long enough tail of e\u{301}t",
            false,
            "a long enough tail of e\u{301}t",
        ),
        ("a phrase that goes on", "The answer is ", "Sure, continuing from where I left off: 42", true, "42"),
        ("a phrase on a line of its own", "The answer is", "Sure, continuing from where I left off:\n\n 42", true, " 42"),
        ("a phrase before an indented line", "def f():\n    x = 1\n", "Continuing:\n    return x", true, "    return x"),
        ("a phrase and an echo", "The meaning of life is", "Continuing:\nThe meaning of life is 42", true, " 42"),
        (
            "a phrase that was not asked for stays",
            "The answer is",
            "Here is the rest of it: 42",
            false,
            "Here is the rest of it: 42",
        ),
        ("words like a phrase stay", "He asked. ", "Sure, said she.", true, "Sure, said she."),
        ("a fence opened again", "```python\nx = 1\n", "```python\ny = 2\n```", true, "y = 2\n```"),
        ("a fence and code said again", "```python\nx = 1\n", "```python\nx = 1\ny = 2", true, "y = 2"),
        (
            "a fence opened before code said again",
            "```python\na = 1\ntotal = total + 1\n",
            "```python\ntotal = total + 1\ny = 2",
            true,
            "y = 2",
        ),
        ("a fence that closes", "```python\nx = 1\n", "```\nDone.", true, "```\nDone."),
    ];

    fn join(said: &str, comes: &str, asked: bool, piece: usize) -> String {
        let mut seam = Seam::new(said, said, asked);
        let mut out = String::new();
        let mut piece_of = String::new();
        for (at, letter) in comes.chars().enumerate() {
            piece_of.push(letter);
            if (at + 1) % piece == 0 {
                out.push_str(&seam.push(&std::mem::take(&mut piece_of)));
            }
        }
        out.push_str(&seam.push(&piece_of));
        if !seam.is_decided() {
            out.push_str(&seam.release());
        }
        out
    }

    #[test]
    fn joins_are_exact_however_the_continuation_comes() {
        for (name, said, comes, asked, should) in JOINS {
            for piece in [1, 2, 3, 5, 8, 1000] {
                assert_eq!(join(said, comes, *asked, piece), *should, "{name}, {piece} at a time");
            }
        }
    }

    #[test]
    fn white_space_that_was_not_shown_is_not_said_twice() {
        let continued = |said: &str, comes: &str| {
            let mut seam = Seam::new(said, said.trim_end(), false);
            let out = seam.push(comes);
            out + &if seam.is_decided() { String::new() } else { seam.release() }
        };
        assert_eq!(continued("one\n\n", "\n\ntwo"), "two");
        assert_eq!(continued("one ", " two"), "two");
        assert_eq!(continued("one", " two"), " two");
        assert_eq!(continued("line:\n", "\n    indented"), "    indented");
    }

    #[test]
    fn an_echo_is_found_four_thousand_graphemes_back() {
        let said: String = (0..1200).flat_map(|number| ["w".to_owned(), number.to_string(), " ".to_owned()]).collect();
        let echo: String = said.chars().skip(said.len() - 4000).collect();
        assert_eq!(join(&said, &format!("{echo}and on"), false, 7), "and on");
        assert_eq!(join(&said, &format!("{said}and on"), false, 50), "and on");
    }

    #[test]
    fn what_matches_nothing_is_not_held() {
        let mut seam = Seam::new("The quick brown fox jumps", "The quick brown fox jumps", false);
        assert_eq!(seam.push(" over"), " over");
    }

    /// Cut anywhere and continued properly, a text is what it was.
    #[test]
    fn a_proper_continuation_is_joined_exactly_at_every_cut() {
        let texts = [
            "A lighthouse keeper once taught her lamp to count. Every night it flashed one number to the ships: one, two, three.",
            "fn add(a: i32, b: i32) -> i32 {\n    a + b\n}\n\nfn sub(a: i32, b: i32) -> i32 {\n    a - b\n}\n",
            "{\"rows\":[{\"id\":1,\"name\":\"a\"},{\"id\":2,\"name\":\"b\"},{\"id\":3,\"name\":\"c\"}]}",
            "na na na na na na na na na na na na Batman!",
            "1. One\n2. Two\n3. Three\n\n- a\n- b\n",
            "Ein Käse, zwei Käse 🧀🧀, naïve café, 日本語のテキスト。",
        ];
        for text in texts {
            for (cut, _) in text.char_indices() {
                let joined = format!("{}{}", &text[..cut], join(&text[..cut], &text[cut..], false, 4));
                assert_eq!(joined, text, "cut at {cut}");
            }
        }
    }
}
