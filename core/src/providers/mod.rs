//! Each provider translates: OpenAI's request into its own, its events and answers into OpenAI's. No I/O happens here.
//!
//! To add an OpenAI-compatible host, add a row to `catalog.json`. To add a dialect, write one file that implements [`Provider`], name
//! it in the table of `own.rs`, and add its conformance cases.

mod anthropic;
mod azure;
mod bedrock;
pub mod catalog;
mod cohere;
mod compact;
pub(crate) mod failure;
mod gemini;
mod loose;
mod media;
mod mistral;
pub mod models;
mod ollama;
mod openai;
mod own;
mod pattern;
mod unsupported;
mod vertex;

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::auth::Auth;
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

    /// Whether its calls can be authorised without a key (see [`Auth`]).
    fn takes_credentials(&self) -> bool {
        false
    }

    /// Reads an error status's answer.
    fn failure(&self, status: u16, headers: &HeaderMap, body: &str) -> Error {
        failure::from_answer(status, headers, body)
    }
}

/// Reads one stream: events in, what they say out.
pub trait Translator: Send + Sync + fmt::Debug {
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

impl Call<'_> {
    /// Refuses a field that the provider cannot honour and that would change the answer, unless the caller would rather go without.
    pub(crate) fn unsupported(&self, field: &str) -> Result<()> {
        if self.drop_unsupported {
            return Ok(());
        }
        let message = format!("this provider does not support `{field}`; leave it out, or set `drop_unsupported`");
        Err(Error::new(ErrorKind::InvalidRequest, message).with_param(Some(field.to_owned())))
    }
}

/// Where a call goes: provider, model, address and key.
#[derive(Debug, Clone)]
pub struct Target {
    pub host: Host,
    pub model: Str,
    /// Without a slash at its end.
    pub base_url: String,
    pub key: Option<SecretString>,
    /// Whether `base_url` is the provider's own.
    pub is_default_url: bool,
    /// Whether the program gives its tokens itself.
    pub has_tokens: bool,
    /// What the provider is told beside key and address (region, project, API version …).
    pub settings: HashMap<&'static str, SecretString>,
}

impl Target {
    /// Whether it is a server of this machine: such a one may want no key.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.base_url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        host.is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
    }

    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(|value| value.expose_secret().trim())
    }
}

/// An HTTP request, ready but for the caller's own headers.
#[derive(Debug)]
pub struct Outgoing {
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What is still to be put on before it is sent.
    pub auth: Auth,
}

/// A provider's dialect by the name of its prefix, `None` where no such prefix is known.
pub(crate) fn dialect(name: &str) -> Option<&'static dyn Provider> {
    own::dialect(name).or_else(|| catalog::find(name).map(|_| openai_dialect()))
}

/// Every provider, by name.
pub fn known() -> impl Iterator<Item = &'static Host> {
    own::hosts().iter().chain(catalog::hosts())
}

/// Whether a prefix or alias names a provider.
pub fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// The provider that a prefix or alias names.
pub(crate) fn find(name: &str) -> Option<&'static Host> {
    known().find(|host| host.name == *name || host.aliases.iter().any(|alias| *alias == *name))
}

/// The settings that a provider knows, with the variables that give them.
pub(crate) fn settings(name: &str) -> &'static [(&'static str, &'static [&'static str])] {
    own::settings(name)
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

/// The headers of a body in JSON, with room for those that come to them on the way.
pub(crate) fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
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

/// A body as JSON.
pub(crate) fn json_body(body: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(body).expect("a request holds only what JSON can carry"))
}

/// Text as it may stand in one segment of a path or in a form: all but letters, digits and `-._~` escaped.
pub(crate) fn percent_encoded(text: &str) -> String {
    use fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String never fails");
        }
    }
    encoded
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;

    /// The target of `provider/model`, with its settings given.
    pub(crate) fn target(model: &str, settings: &[(&'static str, &str)]) -> Target {
        let (provider, model) = model.split_once('/').expect("provider/model");
        let host = find(provider).expect("a known provider").clone();
        Target {
            base_url: host.base_url.clone(),
            host,
            model: model.into(),
            key: Some("key".into()),
            is_default_url: true,
            has_tokens: false,
            settings: settings.iter().map(|(name, value)| (*name, SecretString::from(*value))).collect(),
        }
    }

    /// What a request's own provider sends for it.
    pub(crate) fn outgoing(request: &Value, settings: &[(&'static str, &str)], drop_unsupported: bool) -> Result<Outgoing> {
        let request: ChatCompletionRequest = serde_json::from_value(request.clone()).expect("a request");
        let target = target(request.model.first(), settings);
        let call = Call { request: &request, target: &target, stream: request.stream.unwrap_or(true), drop_unsupported };
        dialect(&target.host.name).expect("a dialect").request(&call)
    }

    /// The body of it.
    pub(crate) fn mapped(request: &Value) -> Value {
        let outgoing = outgoing(request, &[], false).expect("a request that the provider takes");
        serde_json::from_slice(&outgoing.body).expect("a JSON body")
    }
}
