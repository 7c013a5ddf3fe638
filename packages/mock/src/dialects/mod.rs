//! The providers' dialects: each file says how one provider is asked, how it streams and answers a script, and how it
//! reports errors. What goes wrong is none of their business: faults act on frames, the same for all.

mod openai;

use serde_json::Value;

use crate::behaviour::ErrorText;
use crate::reply::{Frames, Source};
use crate::script::{Event, Playback, Script};

/// How a request wants to be answered, found by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
}

/// What the mock takes from a request body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub model: String,
    pub stream: bool,
    pub include_usage: bool,
    pub choices: u32,
    /// How much was said to the model, for the default usage.
    pub prompt_bytes: usize,
    /// The text of an assistant message that ends the conversation: a prefill.
    pub prefill: Option<String>,
    /// Made from the request, so that the same request gets the same answer.
    pub fingerprint: u64,
}

/// Renders the events of a script.
pub(crate) trait Renderer: Clone + Send {
    fn render(&mut self, event: Event<'_>, script: &Script, out: &mut Frames);

    fn error(&mut self, error: &ErrorText, out: &mut Frames);
}

impl Dialect {
    pub(crate) fn of(path: &str, hint: Option<&str>) -> Result<Option<Self>, String> {
        if let Some(name) = hint {
            return match name {
                "openai" => Ok(Some(Self::OpenAi)),
                _ => Err(format!("the mock knows no dialect `{name}`")),
            };
        }
        Ok(path.ends_with("/chat/completions").then_some(Self::OpenAi))
    }

    /// The error is a sentence for the client's 400.
    pub(crate) fn ask(self, _path: &str, body: &[u8]) -> Result<Ask, String> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| format!("The body is not JSON: {error}"))?;
        if !value.is_object() {
            return Err("The body must be a JSON object.".to_owned());
        }
        let mut ask = match self {
            Self::OpenAi => openai::ask(&value)?,
        };
        ask.fingerprint = fingerprint(body);
        Ok(ask)
    }

    pub(crate) fn content_type(self, stream: bool) -> &'static str {
        match self {
            Self::OpenAi if stream => "text/event-stream; charset=utf-8",
            Self::OpenAi => "application/json",
        }
    }

    pub(crate) fn source(self, ask: &Ask, script: Script) -> Box<dyn Source> {
        match self {
            Self::OpenAi => played(openai::Stream::new(ask), script),
        }
    }

    /// The answer to a request that did not ask for a stream.
    pub(crate) fn whole(self, ask: &Ask, script: &Script) -> Value {
        match self {
            Self::OpenAi => openai::whole(ask, script),
        }
    }

    pub(crate) fn error_body(self, status: u16, error: &ErrorText) -> Value {
        match self {
            Self::OpenAi => openai::error_body(status, error),
        }
    }
}

pub(crate) use openai::models;

struct Played<R> {
    playback: Playback,
    renderer: R,
}

fn played<R: Renderer + 'static>(renderer: R, script: Script) -> Box<dyn Source> {
    let mut played = Played {
        playback: Playback::new(script),
        renderer,
    };
    if played.playback.wants_overhead() {
        let mut scratch = Frames::default();
        played.renderer.clone().render(
            Event::Text {
                choice: 0,
                piece: "",
            },
            played.playback.script(),
            &mut scratch,
        );
        played.playback.set_overhead(scratch.last_length());
    }
    Box::new(played)
}

impl<R: Renderer> Source for Played<R> {
    fn fill(&mut self, out: &mut Frames) -> bool {
        let Self { playback, renderer } = self;
        playback.advance(&mut |event, script| renderer.render(event, script, out))
    }

    fn error(&mut self, error: &ErrorText, out: &mut Frames) {
        self.renderer.error(error, out);
    }
}

/// Appends `text` as a JSON string.
fn quote(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a Vec takes every write");
}

/// The default words of an error with this status.
fn message_of(status: u16, error: &ErrorText) -> String {
    error
        .message
        .clone()
        .unwrap_or_else(|| format!("The mock answers {status}, as the request asked."))
}

/// An error's words inside a stream.
fn stream_message_of(error: &ErrorText) -> &str {
    error
        .message
        .as_deref()
        .unwrap_or("The mock broke off here, as the request asked.")
}

/// FNV-1a: short, and the same on every machine.
fn fingerprint(body: &[u8]) -> u64 {
    body.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The text of a message's content, which is a string or a list of parts.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}
