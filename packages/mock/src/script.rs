//! The neutral script: what an answer says, as a list of events that every dialect renders in its own words. The
//! same request therefore says the same thing, and breaks at the same places, whatever the provider.

use crate::behaviour::Answer;

/// The default answer of a mock that was asked for nothing in particular.
pub(crate) const STORY: &str = "A lighthouse keeper once taught her lamp to count. Every night it flashed one number \
    to the ships: one, two, three. The captains laughed, until a fog came that lasted a week. On the seventh night they \
    heard no bell and saw no shore, only a patient light that said seven, and each of them knew which rock it stood on. \
    They sailed home in a line, café lamps lit on every deck, and the next evening the whole harbour flashed back: thank you.";

/// A tool call that the answer makes.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub name: String,
    /// Its arguments as JSON text, kept as given: a test may want broken ones.
    pub arguments: String,
}

/// Token counts, in OpenAI's arithmetic: cached is part of the prompt, reasoning part of the completion.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub prompt: u64,
    pub completion: u64,
    pub cached: u64,
    pub reasoning: u64,
}

/// What is said, whoever says it.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub choices: u32,
    pub reasoning: Option<String>,
    pub text: Text,
    pub refusal: Option<String>,
    pub citations: bool,
    pub tools: Vec<Tool>,
    pub tool_whole: bool,
    /// OpenAI's word (`stop`, `length` …), which a dialect translates; an unknown one is passed on as it is.
    pub finish: String,
    pub usage: Usage,
    pub no_finish: bool,
    pub no_done: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Text {
    Given(String),
    /// `pieces` deltas; with `frame_bytes`, each padded until its whole event on the wire has that length.
    Made {
        pieces: usize,
        frame_bytes: Option<usize>,
    },
}

/// One step of the script.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Start {
        choice: u32,
    },
    Reasoning {
        choice: u32,
        piece: &'a str,
    },
    Text {
        choice: u32,
        piece: &'a str,
    },
    Refusal {
        choice: u32,
        piece: &'a str,
    },
    Citation {
        choice: u32,
    },
    /// With `arguments` when the whole call comes at once; `ToolPiece` and `ToolEnd` follow otherwise.
    Tool {
        choice: u32,
        index: usize,
        name: &'a str,
        arguments: Option<&'a str>,
    },
    ToolPiece {
        choice: u32,
        index: usize,
        piece: &'a str,
    },
    ToolEnd,
    Finish {
        choice: u32,
    },
    Usage,
    Done,
}

pub(crate) const CITED_URL: &str = "https://example.com/lighthouses";
pub(crate) const CITED_TITLE: &str = "On lighthouses";

impl Script {
    /// `prefix` is the partial answer that the request ends with, for `continue=1`.
    pub(crate) fn new(answer: &Answer, choices: u32, prompt_bytes: usize, prefix: Option<&str>) -> Self {
        let text = text_of(answer, prefix);
        let completion = match &text {
            Text::Given(text) => text.split_whitespace().count(),
            Text::Made { pieces, .. } => *pieces,
        } + answer.tools.len() * 8;
        let reasoning = answer.reasoning.as_deref().map_or(0, |text| text.split_whitespace().count());
        let counts = answer.usage.as_deref().unwrap_or_default();
        let count = |at: usize, default: usize| counts.get(at).copied().unwrap_or(default as u64);
        let finish = if answer.tools.is_empty() { "stop" } else { "tool_calls" };
        Self {
            choices: choices.max(1),
            reasoning: answer.reasoning.clone(),
            text,
            refusal: answer.refusal.clone(),
            citations: answer.citations,
            tools: answer.tools.clone(),
            tool_whole: answer.tool_whole,
            finish: answer.finish.clone().unwrap_or_else(|| finish.to_owned()),
            usage: Usage {
                prompt: count(0, prompt_bytes.div_ceil(4)),
                completion: count(1, completion + reasoning),
                cached: count(2, 0),
                reasoning: count(3, if counts.is_empty() { reasoning } else { 0 }),
            },
            no_finish: answer.no_finish,
            no_done: answer.no_done,
        }
    }

    /// The whole text, for an answer that is not streamed.
    pub(crate) fn whole_text(&self) -> String {
        match &self.text {
            Text::Given(text) => text.clone(),
            Text::Made { pieces, .. } => (0..*pieces).map(|piece| made_piece(piece, 0)).collect(),
        }
    }
}

fn text_of(answer: &Answer, prefix: Option<&str>) -> Text {
    if let Some(pieces) = answer.chunks {
        return Text::Made { pieces, frame_bytes: answer.bytes };
    }
    let whole = if let Some(text) = &answer.text {
        text.clone()
    } else if let Some(chars) = answer.chars {
        let mut text: String = filler_words().flat_map(|word| [word, " "]).flat_map(str::chars).take(chars).collect();
        if text.ends_with(' ') {
            text.pop();
            text.push('.');
        }
        text
    } else if let Some(words) = answer.words {
        filler_words().take(words).collect::<Vec<_>>().join(" ")
    } else if answer.refusal.is_some() || !answer.tools.is_empty() {
        String::new()
    } else {
        STORY.to_owned()
    };
    let rest = match prefix.filter(|_| answer.continues) {
        Some(prefix) => match whole.strip_prefix(prefix) {
            Some(_) => {
                let echoed = prefix.chars().rev().take(answer.echo).map(char::len_utf8).sum::<usize>();
                whole[prefix.len() - echoed..].to_owned()
            }
            None => whole,
        },
        None => whole,
    };
    Text::Given(rest)
}

fn filler_words() -> impl Iterator<Item = &'static str> {
    STORY.split_whitespace().filter(|word| word.is_ascii()).cycle()
}

/// The `piece`-th delta of a made text: its number, then words of the story up to `length` bytes (0 takes its natural
/// length), so that a lost, doubled or reordered delta shows.
fn made_piece(piece: usize, length: usize) -> String {
    let mut text = String::with_capacity(length.max(32));
    write_made_piece(piece, length, &mut text);
    text
}

/// What stands behind the number of a made text's delta.
pub(crate) const FIRST_FILLER: &str = " lamp";

fn write_made_piece(piece: usize, length: usize, out: &mut String) {
    use std::fmt::Write;
    const FILLER: &str = " lamp fog bell shore rock harbour deck captain number night week light line evening ships home ";
    out.clear();
    let _ = write!(out, " {piece}");
    if length == 0 {
        out.push_str(FIRST_FILLER);
        return;
    }
    while out.len() < length {
        let room = (length - out.len()).min(FILLER.len());
        out.push_str(&FILLER[..room]);
    }
    out.truncate(length);
}

/// Plays a script: an iterator whose items borrow from it.
#[derive(Debug)]
pub(crate) struct Playback {
    script: Script,
    parts: Vec<Part>,
    part: usize,
    /// Position inside the part (a byte offset or a piece's number) and the choice that is served next.
    at: usize,
    choice: u32,
    made: String,
    /// Bytes of a text event besides its text, once measured.
    overhead: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Start,
    Reasoning,
    Text,
    Refusal,
    Citation,
    Tool(usize),
    Finish,
    Usage,
    Done,
}

impl Playback {
    pub(crate) fn new(script: Script) -> Self {
        let mut parts = vec![Part::Start];
        parts.extend(script.reasoning.is_some().then_some(Part::Reasoning));
        parts.push(Part::Text);
        parts.extend(script.refusal.is_some().then_some(Part::Refusal));
        parts.extend(script.citations.then_some(Part::Citation));
        parts.extend((0..script.tools.len()).map(Part::Tool));
        if !script.no_finish {
            parts.push(Part::Finish);
        }
        parts.push(Part::Usage);
        if !script.no_done {
            parts.push(Part::Done);
        }
        Self { script, parts, part: 0, at: 0, choice: 0, made: String::new(), overhead: None }
    }

    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    /// The event length that text deltas are padded to, as long as the overhead has not been measured.
    pub(crate) fn wants_overhead(&self) -> bool {
        self.overhead.is_none() && matches!(self.script.text, Text::Made { frame_bytes: Some(_), .. })
    }

    pub(crate) fn set_overhead(&mut self, bytes: usize) {
        self.overhead = Some(bytes);
    }

    /// Hands the next event to `render`; false when the script has ended.
    pub(crate) fn advance(&mut self, render: &mut dyn FnMut(Event<'_>, &Script)) -> bool {
        let Some(&part) = self.parts.get(self.part) else {
            return false;
        };
        let (choice, script) = (self.choice, &self.script);
        let mut render = |event: Event<'_>| render(event, script);
        // Where this part goes on after every choice has had its piece; `None` when the part is over.
        let next = match part {
            Part::Start => {
                render(Event::Start { choice });
                None
            }
            Part::Reasoning => {
                let text = script.reasoning.as_deref().unwrap_or_default();
                said(text, self.at, |piece| {
                    render(Event::Reasoning { choice, piece });
                })
            }
            Part::Refusal => {
                let text = script.refusal.as_deref().unwrap_or_default();
                said(text, self.at, |piece| {
                    render(Event::Refusal { choice, piece });
                })
            }
            Part::Text => match &script.text {
                Text::Given(text) => said(text, self.at, |piece| render(Event::Text { choice, piece })),
                Text::Made { pieces, frame_bytes } => {
                    if self.at < *pieces {
                        let length = frame_bytes.map_or(0, |bytes| bytes.saturating_sub(self.overhead.unwrap_or(0)).max(1));
                        write_made_piece(self.at, length, &mut self.made);
                        render(Event::Text { choice, piece: &self.made });
                    }
                    (self.at + 1 < *pieces).then_some(self.at + 1)
                }
            },
            Part::Citation => {
                render(Event::Citation { choice });
                None
            }
            Part::Tool(index) => tool_step(script, index, choice, self.at, &mut render),
            Part::Finish => {
                render(Event::Finish { choice });
                None
            }
            Part::Usage => {
                render(Event::Usage);
                None
            }
            Part::Done => {
                render(Event::Done);
                None
            }
        };
        self.choice += 1;
        if self.choice >= self.script.choices || matches!(part, Part::Usage | Part::Done) {
            self.choice = 0;
            self.part += usize::from(next.is_none());
            self.at = next.unwrap_or(0);
        }
        true
    }
}

/// Position 0 opens the call, position p + 1 stands before byte p of its arguments.
fn tool_step(script: &Script, index: usize, choice: u32, at: usize, render: &mut dyn FnMut(Event<'_>)) -> Option<usize> {
    let tool = &script.tools[index];
    let arguments = tool.arguments.as_str();
    let Some(start) = at.checked_sub(1) else {
        let whole = script.tool_whole.then_some(arguments);
        render(Event::Tool { choice, index, name: &tool.name, arguments: whole });
        return (!script.tool_whole).then_some(1);
    };
    if start >= arguments.len() {
        render(Event::ToolEnd);
        return None;
    }
    let end = piece_end(arguments, start, 9);
    render(Event::ToolPiece { choice, index, piece: &arguments[start..end] });
    Some(end + 1)
}

/// Says the word at `at`; gives the place of the next one.
fn said(text: &str, at: usize, say: impl FnOnce(&str)) -> Option<usize> {
    if at >= text.len() {
        return None;
    }
    let end = word_end(text, at);
    say(&text[at..end]);
    (end < text.len()).then_some(end)
}

/// The end of the white space and the word that begin at `at`.
fn word_end(text: &str, at: usize) -> usize {
    let word = text[at..].find(|character: char| !character.is_whitespace()).map_or(text.len(), |start| at + start);
    text[word..].find(char::is_whitespace).map_or(text.len(), |length| word + length)
}

/// `length` bytes on from `start`, moved to the next character boundary.
fn piece_end(text: &str, start: usize, length: usize) -> usize {
    let mut end = (start + length).min(text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    end
}
