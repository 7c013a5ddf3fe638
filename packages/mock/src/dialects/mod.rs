//! The providers' dialects: each file says how one provider is asked, how it streams and answers a script, and how it
//! reports errors. What goes wrong is none of their business: faults act on frames, the same for all.

mod anthropic;
mod bedrock;
mod cohere;
mod eventstream;
mod gemini;
mod mistral;
mod ollama;
mod openai;

use serde_json::Value;

use crate::behaviour::{ErrorText, percent_decoded};
use crate::reply::{Frames, Source};
use crate::script::{Event, Playback, Script};

pub(crate) use openai::models;

/// One provider's way of speaking.
pub(crate) trait Dialect: Sync {
    /// Reads a request. The error is a sentence for the client's 400.
    fn ask(&self, target: &str, body: &Value) -> Result<Ask, String>;

    fn content_type(&self, stream: bool) -> &'static str;

    /// The script as a stream.
    fn source(&self, ask: &Ask, script: Script) -> Box<dyn Source>;

    /// The script as an answer that is not streamed.
    fn whole(&self, ask: &Ask, script: &Script) -> Value;

    /// The body of an answer with an error status.
    fn error_body(&self, status: u16, error: &ErrorText) -> Value;

    /// The content type of such an answer.
    fn error_content_type(&self) -> &'static str {
        "application/json"
    }

    /// A header that names the error beside its body.
    fn error_header(&self, _status: u16, _error: &ErrorText) -> Option<(&'static str, String)> {
        None
    }

    fn request_id_header(&self) -> &'static str {
        "x-request-id"
    }
}

/// What the mock takes from a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub model: String,
    pub stream: bool,
    pub include_usage: bool,
    pub choices: u32,
    /// How much was said to the model, for the default usage.
    pub prompt_bytes: usize,
    /// What the model has said last: the text of an assistant message that ends the conversation, or stands before a last
    /// request to go on.
    pub partial: Option<String>,
    /// Whether it ends the conversation.
    pub prefilled: bool,
    /// Made from the request, so that the same request gets the same answer.
    pub fingerprint: u64,
}

/// Renders the events of a script.
pub(crate) trait Renderer: Clone + Send {
    fn render(&mut self, event: Event<'_>, script: &Script, out: &mut Frames);

    fn error(&mut self, error: &ErrorText, out: &mut Frames);

    fn ping(&self) -> &'static [u8] {
        b": ping\n\n"
    }

    fn malform(&self, frame: &mut Vec<u8>) {
        cut_in_half(frame);
    }
}

/// The dialect that is spoken at this path, or the one that the request names.
pub(crate) fn of(target: &str, hint: Option<&str>) -> Result<Option<&'static dyn Dialect>, String> {
    let path = target.split('?').next().unwrap_or(target);
    let method = path.rsplit_once(':').map_or("", |(_, method)| method);
    let by_path: Option<&'static dyn Dialect> = match path.rsplit('/').next().unwrap_or_default() {
        "completions" if path.ends_with("/chat/completions") => Some(OPENAI),
        "messages" => Some(&anthropic::Anthropic { framing: anthropic::Framing::Sse }),
        "chat" if path.ends_with("/v2/chat") => Some(&cohere::Cohere),
        "chat" if path.ends_with("/api/chat") => Some(&ollama::Ollama),
        "converse" | "converse-stream" => Some(&bedrock::Bedrock),
        "invoke" | "invoke-with-response-stream" => Some(&anthropic::Anthropic { framing: anthropic::Framing::EventStream }),
        _ => match method {
            "generateContent" | "streamGenerateContent" if target.contains("alt=sse") => {
                Some(&gemini::Gemini { framing: gemini::Framing::Sse })
            }
            "generateContent" | "streamGenerateContent" => Some(&gemini::Gemini { framing: gemini::Framing::Array }),
            "rawPredict" | "streamRawPredict" => Some(&anthropic::Anthropic { framing: anthropic::Framing::Sse }),
            _ => None,
        },
    };
    Ok(match hint {
        None => by_path,
        Some("openai") => Some(OPENAI),
        Some("azure") => Some(&openai::OpenAi { azure: true }),
        Some("mistral") => Some(&mistral::Mistral),
        Some(name) => {
            return Err(format!("`dialect` is openai, azure or mistral, not `{name}`"));
        }
    })
}

/// The dialect that is spoken where no other is known.
pub(crate) const OPENAI: &dyn Dialect = &openai::OpenAi { azure: false };

/// Reads a request body in a dialect.
pub(crate) fn ask(dialect: &dyn Dialect, target: &str, body: &[u8]) -> Result<Ask, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("The body is not JSON: {error}"))?;
    if !value.is_object() {
        return Err("The body must be a JSON object.".to_owned());
    }
    let mut ask = dialect.ask(target, &value)?;
    ask.fingerprint = fingerprint(body);
    Ok(ask)
}

struct Played<R> {
    playback: Playback,
    renderer: R,
}

fn played<R: Renderer + 'static>(renderer: R, script: Script) -> Box<dyn Source> {
    let mut played = Played { playback: Playback::new(script), renderer };
    if played.playback.wants_overhead() {
        let (mut scratch, mut twin) = (Frames::default(), played.renderer.clone());
        // The first text may open something; the second is like all that follow.
        for _ in 0..2 {
            let empty = Event::Text { choice: 0, piece: "" };
            twin.render(empty, played.playback.script(), &mut scratch);
        }
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

    fn ping(&self) -> &'static [u8] {
        self.renderer.ping()
    }

    fn malform(&self, frame: &mut Vec<u8>) {
        self.renderer.malform(frame);
    }
}

/// Breaks the text of a frame but not the line ends behind it.
pub(crate) fn cut_in_half(frame: &mut Vec<u8>) {
    let end = frame.trim_ascii_end().len();
    frame.drain(end / 2..end);
}

/// An error over SSE in one of the shapes that every dialect may be asked for; `own` is what the provider itself
/// would send.
fn sse_error(error: &ErrorText, object: &Value, own: &str) -> String {
    match error.shape.as_deref().unwrap_or(own) {
        "event" => format!("event: error\ndata: {object}\n\n"),
        "field" => format!("error: {object}\n\n"),
        "bare" => format!("{object:#}\n"),
        "plain" => format!("data: {}\n\n", stream_message_of(error)),
        _ => format!("data: {object}\n\n"),
    }
}

/// Appends `text` as a JSON string.
fn quote(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a Vec takes every write");
}

fn number(number: u64, out: &mut Vec<u8>) {
    if let Ok(digit @ 0..=9) = u8::try_from(number) {
        out.push(b'0' + digit);
    } else {
        out.extend_from_slice(number.to_string().as_bytes());
    }
}

/// The default words of an error with this status.
fn message_of(status: u16, error: &ErrorText) -> String {
    let default = || format!("The mock answers {status}, as the request asked.");
    error.message.clone().unwrap_or_else(default)
}

/// An error's words inside a stream.
fn stream_message_of(error: &ErrorText) -> &str {
    error.message.as_deref().unwrap_or("The mock broke off here, as the request asked.")
}

/// FNV-1a: short, and the same on every machine.
fn fingerprint(body: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    body.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// The text of a message's content, which is a string or a list of parts.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// What a list of messages says: in all, and last by the model.
fn said(messages: &Value, field: &str, role: &str) -> Result<Ask, String> {
    let Some(messages) = messages.as_array() else {
        return Err("The request holds no list of messages.".to_owned());
    };
    let is_models = |message: &&Value| message["role"] == role;
    let prefilled = messages.last().as_ref().is_some_and(is_models);
    let partial = messages.iter().rev().take(2).find(is_models);
    Ok(Ask {
        choices: 1,
        prompt_bytes: messages.iter().map(|message| content_text(&message[field]).len()).sum(),
        partial: partial.map(|message| content_text(&message[field])),
        prefilled,
        ..Ask::default()
    })
}

/// The piece of a path between `before` and `after`, decoded.
fn path_piece(target: &str, before: &str, after: &[&str]) -> Option<String> {
    let path = target.split('?').next()?;
    let (_, rest) = path.rsplit_once(before)?;
    let end = after.iter().filter_map(|end| rest.rfind(end)).min()?;
    Some(percent_decoded(&rest[..end]))
}

/// Arguments as the object they are; what is no JSON becomes a string.
fn arguments_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}
