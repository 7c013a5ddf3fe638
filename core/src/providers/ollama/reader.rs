//! Reads Ollama's lines; a whole answer is one of them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::decode::{Event, EventKind};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Translator;
use crate::providers::compact::compact;
use crate::providers::failure::{Failure, not_an_answer};
use crate::providers::loose::{Count, List, Text};
use crate::providers::openai::mend;
use crate::providers::pattern::{Filling, Hole, Pattern};
use crate::stream::{Emitter, ToolPiece};
use crate::types::{ChunkChoice, FinishReason, Str, Usage};

#[derive(Debug, Default)]
pub(super) struct LineReader {
    calls: u32,
    /// What the last line's text was, if the next one may be like it.
    alike: Option<Piece>,
    pattern: Pattern,
}

/// What a text adds to.
#[derive(Debug, Clone, Copy)]
enum Piece {
    Text,
    Thinking,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    created_at: Text<'a>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    done: Option<bool>,
    #[serde(borrow)]
    done_reason: Text<'a>,
    prompt_eval_count: Option<Count>,
    eval_count: Option<Count>,
    logprobs: Option<Vec<Value>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    content: Text<'a>,
    #[serde(borrow)]
    thinking: Text<'a>,
    #[serde(borrow)]
    tool_calls: List<ToolCall<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolCall<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl Translator for LineReader {
    fn event(&mut self, event: &Event<'_>, out: &mut Emitter) -> Result<()> {
        let is_cut_off = event.kind == EventKind::Unterminated && event.data.starts_with('{');
        match self.line(&event.data, out) {
            Err(error) if error.kind() == ErrorKind::Protocol && is_cut_off => Ok(()),
            result => result,
        }
    }
}

impl LineReader {
    /// Reads a whole answer.
    pub(super) fn whole(&mut self, body: &str, out: &mut Emitter) -> Result<()> {
        self.line(body, out)?;
        if out.has_begun() { Ok(()) } else { Err(not_an_answer(body)) }
    }

    fn line(&mut self, data: &str, out: &mut Emitter) -> Result<()> {
        if self.say_alike(data, out) {
            return Ok(());
        }
        let line: Line<'_> = match serde_json::from_str(data) {
            Ok(line) => line,
            Err(error) => match mend(data) {
                Some(mended) => return self.line(&mended.json, out),
                None if !out.has_begun() => return Err(not_an_answer(data)),
                None => return Err(malformed(data, error)),
            },
        };
        self.learn(data, &line);
        if line.error.is_some() || line.message.is_none() && line.done.is_none() {
            let failure = serde_json::from_str::<Value>(data).ok().and_then(|value| Failure::read(&value));
            return Err(failure.map_or_else(|| not_an_answer(data), |failure| failure.inside_stream(data)));
        }
        out.identify("", &line.model, unix_seconds(&line.created_at).unwrap_or(0));
        out.begin(0);
        if let Some(message) = line.message {
            out.reasoning(0, &message.thinking);
            out.text(0, &message.content);
            for call in message.tool_calls.0 {
                let Some(function) = call.function else { continue };
                // An object, from some models its text.
                let arguments = match function.arguments.map(RawValue::get) {
                    Some(text) if text.starts_with('"') => serde_json::from_str::<String>(text).unwrap_or_default(),
                    Some(object) => compact(object),
                    None => String::new(),
                };
                // Each is a whole call, whatever number it has.
                let index = Some(self.calls);
                self.calls += 1;
                out.tool(0, ToolPiece { index, id: &call.id, name: &function.name, arguments: &arguments });
            }
        }
        if let Some(logprobs) = line.logprobs.filter(|list| !list.is_empty()) {
            let logprobs = Some(Box::new(json!({ "content": logprobs })));
            out.add(ChunkChoice { logprobs, ..ChunkChoice::default() });
        }
        if line.done == Some(true) {
            let of = |count: Option<Count>| count.map_or(0, |Count(count)| count);
            out.usage(Usage::counted(of(line.prompt_eval_count), of(line.eval_count), None, None));
            let reason = match &*line.done_reason {
                "length" => FinishReason::LENGTH,
                _ if self.calls > 0 => FinishReason::TOOL_CALLS,
                _ => FinishReason::STOP,
            };
            let native = Some(Str::from(&*line.done_reason)).filter(|native| !native.is_empty());
            out.finish(0, reason, native);
            out.done();
        }
        Ok(())
    }

    /// Says what a line says that differs from the last one in its text and time alone; otherwise `false`, and nothing was said.
    fn say_alike(&self, data: &str, out: &mut Emitter) -> bool {
        let Some(piece) = self.alike else { return false };
        let Some(Filling { text, .. }) = self.pattern.filling(data) else { return false };
        match piece {
            Piece::Text => out.text(0, &text),
            Piece::Thinking => out.reasoning(0, &text),
        }
        true
    }

    /// Keeps a line whose one meaning is a piece of text as the pattern of those to come.
    fn learn(&mut self, data: &str, line: &Line<'_>) {
        self.alike = None;
        let Line { created_at: Text(Cow::Borrowed(time)), message: Some(message), done: None | Some(false), .. } = line else {
            return;
        };
        if line.error.is_some() || !line.done_reason.is_empty() || line.logprobs.is_some() || !message.tool_calls.0.is_empty() {
            return;
        }
        let (piece, text) = match (&message.content.0, &message.thinking.0) {
            (Cow::Borrowed(text), thinking) if thinking.is_empty() => (Piece::Text, text),
            (text, Cow::Borrowed(thinking)) if text.is_empty() => (Piece::Thinking, thinking),
            _ => return,
        };
        let holes = [(Hole::Padding, *time), (Hole::Text, *text)];
        if self.pattern.learn(data, if time.is_empty() { &holes[1..] } else { &holes }) {
            self.alike = Some(piece);
        }
    }
}

/// The seconds of Unix time of `2026-08-05T08:10:56.372032Z`, also with an offset.
fn unix_seconds(time: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let zone = time.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.strip_prefix(['+', '-']) {
        None => 0,
        Some(offset) => {
            let seconds = offset.get(0..2)?.parse::<i64>().ok()? * 3600 + offset.get(3..5)?.parse::<i64>().ok()? * 60;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    // Days since 1970, by years that begin in March, so that a leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

fn malformed(data: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Protocol, format!("the provider sent a line that is no JSON of its format ({error})"))
        .with_body(data)
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_becomes_seconds() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_seconds("2024-02-29T12:00:00.123456789Z"), Some(1_709_208_000));
        assert_eq!(unix_seconds("2024-03-01T01:00:00+02:00"), Some(1_709_247_600));
        assert_eq!(unix_seconds("soon"), None);
    }
}
