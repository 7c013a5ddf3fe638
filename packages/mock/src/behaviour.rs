//! What one request asks the mock to do: the `key=value` list of the crate's table, read from the three places that may
//! carry it (a path prefix, the tail of the model name, the `x-mock` header; a later one wins).

use std::time::Duration;

use crate::script::Tool;

/// Everything a request may ask for. `Default` is a plain, whole, immediate answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behaviour {
    pub id: Option<String>,
    pub dialect: Option<String>,
    pub case: Option<String>,
    pub replay: Option<String>,
    pub expect_key: Option<String>,
    pub request_id: Option<String>,
    pub fail_times: Option<u64>,
    pub expires_in: Option<u64>,
    pub answer: Answer,
    pub pacing: Pacing,
    pub faults: Faults,
}

/// What is said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub text: Option<String>,
    pub chars: Option<usize>,
    pub words: Option<usize>,
    pub chunks: Option<usize>,
    pub bytes: Option<usize>,
    pub reasoning: Option<String>,
    pub refusal: Option<String>,
    pub tools: Vec<Tool>,
    pub tool_whole: bool,
    pub finish: Option<String>,
    pub usage: Option<Vec<u64>>,
    pub citations: bool,
    pub no_done: bool,
    pub no_finish: bool,
    pub continues: bool,
    pub echo: usize,
    pub prefill_rejected: bool,
}

/// When and in which pieces it is said. None of it is a failure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pacing {
    pub pace: Option<Duration>,
    pub ping: Option<Duration>,
    pub pause: Option<(u64, Duration)>,
    pub linger: Option<Duration>,
    pub split: Option<usize>,
    pub withhold: Option<u64>,
    /// Each chunk says when it was sent.
    pub stamp: bool,
    pub gzip: bool,
    pub crlf: bool,
}

/// What goes wrong. `fail_times` confines these to the first requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub cut: Option<u64>,
    pub cut_bytes: Option<u64>,
    pub reset: bool,
    pub end: Option<u64>,
    pub end_bytes: Option<u64>,
    pub stall: Option<u64>,
    pub status: Option<u16>,
    pub error: ErrorText,
    pub retry_after: Option<String>,
    pub retry_after_ms: Option<String>,
    pub error_at: Option<u64>,
    pub malformed: Option<u64>,
    pub html: bool,
    pub empty: bool,
    pub json_error: bool,
    pub redirect: Option<String>,
    pub hangup: bool,
    pub ttft: Option<Duration>,
    pub headers_after: Option<Duration>,
}

/// The words of an error answer, whichever shape it takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct ErrorText {
    pub code: Option<String>,
    pub message: Option<String>,
    pub kind: Option<String>,
    pub shape: Option<String>,
}

impl Behaviour {
    /// Adds the keys of one list. The error names the key that is unknown or has a bad value, so that a test that
    /// misspells a fault fails instead of passing without it.
    pub(crate) fn read(&mut self, list: &str) -> Result<(), String> {
        for (key, value) in pairs(list) {
            self.set(key.trim(), &percent_decoded(&value))?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let Self { answer, pacing, faults, .. } = self;
        match key {
            "id" => self.id = Some(value.to_owned()),
            "dialect" => self.dialect = Some(value.to_owned()),
            "case" => self.case = Some(value.to_owned()),
            "replay" => self.replay = Some(value.to_owned()),
            "expect_key" => self.expect_key = Some(value.to_owned()),
            "request_id" => self.request_id = Some(value.to_owned()),
            "fail_times" => self.fail_times = Some(number(key, value)?),
            "expires_in" => self.expires_in = Some(number(key, value)?),

            "text" => answer.text = Some(value.to_owned()),
            "chars" => answer.chars = Some(number(key, value)?),
            "words" => answer.words = Some(number(key, value)?),
            "chunks" => answer.chunks = Some(number(key, value)?),
            "bytes" => answer.bytes = Some(number(key, value)?),
            "reasoning" => answer.reasoning = Some(value.to_owned()),
            "refusal" => answer.refusal = Some(value.to_owned()),
            "tool" => answer.tools.push(tool(value)),
            "tool_whole" => answer.tool_whole = flag(key, value)?,
            "finish" => answer.finish = Some(value.to_owned()),
            "usage" => answer.usage = Some(usage(value)?),
            "citations" => answer.citations = flag(key, value)?,
            "no_done" => answer.no_done = flag(key, value)?,
            "no_finish" => answer.no_finish = flag(key, value)?,
            "continue" => answer.continues = flag(key, value)?,
            "echo" => answer.echo = number(key, value)?,
            "prefill" => answer.prefill_rejected = value == "reject",

            "pace" => pacing.pace = Some(millis(key, value)?),
            "ping" => pacing.ping = Some(millis(key, value)?),
            "pause" => pacing.pause = Some(pause(value)?),
            "linger" => pacing.linger = Some(millis(key, value)?),
            "split" => pacing.split = Some(number::<usize>(key, value)?.max(1)),
            "withhold" => pacing.withhold = Some(number(key, value)?),
            "stamp" => pacing.stamp = flag(key, value)?,
            "gzip" => pacing.gzip = flag(key, value)?,
            "crlf" => pacing.crlf = flag(key, value)?,

            "cut" => faults.cut = Some(number(key, value)?),
            "cut_bytes" => faults.cut_bytes = Some(number(key, value)?),
            "reset" => faults.reset = flag(key, value)?,
            "end" => faults.end = Some(number(key, value)?),
            "end_bytes" => faults.end_bytes = Some(number(key, value)?),
            "stall" => faults.stall = Some(number(key, value)?),
            "status" => faults.status = Some(status(value)?),
            "error_code" => faults.error.code = Some(value.to_owned()),
            "error_message" => faults.error.message = Some(value.to_owned()),
            "error_type" => faults.error.kind = Some(value.to_owned()),
            "error_shape" => faults.error.shape = Some(value.to_owned()),
            "retry_after" => faults.retry_after = Some(value.to_owned()),
            "retry_after_ms" => faults.retry_after_ms = Some(value.to_owned()),
            "error_at" => faults.error_at = Some(number(key, value)?),
            "malformed" => faults.malformed = Some(number(key, value)?),
            "html" => faults.html = flag(key, value)?,
            "empty" => faults.empty = flag(key, value)?,
            "json_error" => faults.json_error = flag(key, value)?,
            "redirect" => faults.redirect = Some(value.to_owned()),
            "hangup" => faults.hangup = flag(key, value)?,
            "ttft" => faults.ttft = Some(millis(key, value)?),
            "headers_after" => faults.headers_after = Some(millis(key, value)?),
            _ => return Err(format!("the mock knows no key `{key}`")),
        }
        Ok(())
    }
}

/// Splits a model name into what the provider is asked for and the behaviour list behind the question mark.
pub(crate) fn model_and_list(model: &str) -> (&str, Option<&str>) {
    model.split_once('?').map_or((model, None), |(name, list)| (name, Some(list)))
}

/// `;`, `&` and `,` separate pairs, except inside balanced braces, so that a tool's JSON needs no escaping. A piece
/// without `=` belongs to the value before it: `usage=10,20` and `text=Well, well` mean what they seem to.
fn pairs(list: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut separator = None;
    for (piece, next) in pieces(list) {
        match (piece.split_once('='), pairs.last_mut(), separator) {
            (Some((key, value)), _, _) if is_key(key.trim()) => {
                pairs.push((key.to_owned(), value.to_owned()));
            }
            (_, Some((_, value)), Some(separator)) => {
                value.push(separator);
                value.push_str(piece);
            }
            _ if piece.trim().is_empty() => {}
            _ => pairs.push((piece.to_owned(), String::new())),
        }
        separator = next;
    }
    for (_, value) in &mut pairs {
        while value.ends_with([';', '&', ' ']) {
            value.pop();
        }
    }
    pairs
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn pieces(list: &str) -> Vec<(&str, Option<char>)> {
    let (mut pieces, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0u32, false, false);
    for (at, character) in list.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if depth > 0 => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth = depth.saturating_sub(1),
            ';' | '&' | ',' if depth == 0 => {
                pieces.push((&list[start..at], Some(character)));
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push((&list[start..], None));
    pieces
}

/// `%20` becomes a space; a percent sign that starts no escape stays as it is.
pub(crate) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn number<N: std::str::FromStr>(key: &str, value: &str) -> Result<N, String> {
    value.trim().parse().map_err(|_| format!("`{key}` wants a number, not `{value}`"))
}

fn flag(key: &str, value: &str) -> Result<bool, String> {
    match value.trim() {
        "1" | "true" | "" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("`{key}` wants 1 or 0, not `{value}`")),
    }
}

fn millis(key: &str, value: &str) -> Result<Duration, String> {
    number(key, value).map(Duration::from_millis)
}

fn status(value: &str) -> Result<u16, String> {
    let status = number("status", value)?;
    if (200..=599).contains(&status) { Ok(status) } else { Err(format!("`status` wants 200 to 599, not `{value}`")) }
}

fn pause(value: &str) -> Result<(u64, Duration), String> {
    let Some((at, time)) = value.split_once(':') else {
        return Err(format!("`pause` wants chunks:milliseconds, not `{value}`"));
    };
    Ok((number("pause", at)?, millis("pause", time)?))
}

fn usage(value: &str) -> Result<Vec<u64>, String> {
    let counts = value.split([',', ':']).map(|count| number("usage", count)).collect::<Result<Vec<u64>, _>>()?;
    if (2..=4).contains(&counts.len()) {
        Ok(counts)
    } else {
        Err(format!("`usage` wants prompt,completion[,cached[,reasoning]], not `{value}`"))
    }
}

fn tool(value: &str) -> Tool {
    let (name, arguments) = value.split_once(':').unwrap_or((value, "{}"));
    Tool { name: name.trim().to_owned(), arguments: arguments.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Behaviour {
        let mut behaviour = Behaviour::default();
        behaviour.read(list).expect("the list is well formed");
        behaviour
    }

    #[test]
    fn every_separator_means_the_same() {
        for list in ["cut=3; split=7", "cut=3&split=7", "cut=3,split=7", " cut=3 ;split=7; "] {
            let behaviour = read(list);
            assert_eq!((behaviour.faults.cut, behaviour.pacing.split), (Some(3), Some(7)), "{list}");
        }
    }

    #[test]
    fn a_tools_json_and_a_texts_commas_need_no_escaping() {
        let behaviour = read(r#"tool=look:{"a":"}, ;","b":[1,2]},tool=other; text=Well, well; usage=1,2,3"#);
        assert_eq!(behaviour.answer.tools[0].arguments, r#"{"a":"}, ;","b":[1,2]}"#);
        assert_eq!(behaviour.answer.tools[1].arguments, "{}");
        assert_eq!(behaviour.answer.text.as_deref(), Some("Well, well"));
        assert_eq!(behaviour.answer.usage, Some(vec![1, 2, 3]));
    }

    #[test]
    fn values_are_percent_decoded_after_the_split() {
        assert_eq!(read("text=a%3Bb%26c%20%C3%A9").answer.text.as_deref(), Some("a;b&c é"));
        assert_eq!(read("text=100%").answer.text.as_deref(), Some("100%"));
    }

    #[test]
    fn a_misspelt_key_or_a_bad_value_is_an_error() {
        for list in ["cutt=3", "cut=x", "status=99", "html=maybe", "usage=1", "pause=3", "junk"] {
            assert!(Behaviour::default().read(list).is_err(), "{list}");
        }
    }
}
