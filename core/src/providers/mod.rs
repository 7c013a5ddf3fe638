//! Each provider translates: OpenAI's request into its own, its events and answers into OpenAI's. No I/O happens here.
//!
//! To add an OpenAI-compatible host, add a row to `catalog.json`. To add a dialect, write one file that implements [`Provider`], name
//! it in [`dialect`], and add its conformance cases.

pub mod catalog;
pub(crate) mod failure;
pub mod models;
mod openai;

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::decode::{Event, Framing};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::Emitter;
use crate::types::{ChatCompletion, ChatCompletionRequest, Str};
pub use catalog::Host;

/// A dialect. One value serves all calls.
pub trait Provider: Send + Sync + fmt::Debug {
    /// The request in the provider's own form.
    fn request(&self, call: &Call<'_>) -> Result<Outgoing>;

    /// How it frames a stream.
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    /// Reads one stream's events.
    fn translator(&self, call: &Call<'_>) -> Box<dyn Translator>;

    /// Reads a whole answer.
    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion>;

    /// Reads an error status's answer.
    fn failure(&self, status: u16, headers: &HeaderMap, body: &str) -> Error {
        failure::from_answer(status, headers, body)
    }
}

/// Reads one stream: events in, what they say out.
pub trait Translator: Send + fmt::Debug {
    fn event(&mut self, event: &Event<'_>, out: &mut Emitter) -> Result<()>;

    /// The bytes have ended, and every event was read.
    fn end(&mut self, _out: &mut Emitter) -> Result<()> {
        Ok(())
    }
}

/// One call of one provider.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub request: &'a ChatCompletionRequest,
    pub target: &'a Target,
    pub stream: bool,
    /// Leave out what the provider cannot do, rather than refuse the request.
    pub drop_unsupported: bool,
}

/// Where a call goes: provider, model, address and key.
#[derive(Debug, Clone)]
pub struct Target {
    pub host: Host,
    pub model: Str,
    /// Without a slash at its end.
    pub base_url: String,
    pub key: Option<SecretString>,
}

/// An HTTP request, ready but for the caller's own headers.
#[derive(Debug)]
pub struct Outgoing {
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A provider's dialect by the name of its prefix, `None` where no such prefix is known.
pub(crate) fn dialect(name: &str) -> Option<&'static dyn Provider> {
    catalog::find(name).map(|_| &openai::OpenAi as &dyn Provider)
}

/// Every provider, by name.
pub fn known() -> impl Iterator<Item = &'static Host> {
    catalog::hosts().iter()
}

/// Whether a prefix or alias names a provider.
pub fn is_known(name: &str) -> bool {
    catalog::find(name).is_some()
}

/// The dialect of hosts that nobody has catalogued.
pub(crate) fn openai_dialect() -> &'static dyn Provider {
    &openai::OpenAi
}

/// The provider of a model that is named without one, where the family is plain.
pub(crate) fn family(model: &str) -> Option<&'static str> {
    const FAMILIES: [(&str, &str); 7] = [
        ("gpt-", "openai"),
        ("chatgpt-", "openai"),
        ("o1", "openai"),
        ("o3", "openai"),
        ("o4", "openai"),
        ("claude-", "anthropic"),
        ("gemini-", "gemini"),
    ];
    FAMILIES.iter().find(|(start, _)| model.starts_with(start)).map(|(_, provider)| *provider)
}

/// A header that carries a key; the value is marked sensitive, so that no log shows it.
pub(crate) fn key_header(headers: &mut HeaderMap, name: HeaderName, before: &str, key: &SecretString) -> Result<()> {
    let mut value = HeaderValue::from_str(&format!("{before}{}", key.expose_secret().trim())).map_err(|_| {
        Error::new(ErrorKind::Authentication, "the API key holds characters that no HTTP header can carry; copy it again")
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}
