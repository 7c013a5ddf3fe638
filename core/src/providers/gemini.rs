//! Google's Gemini API. Vertex AI speaks the same dialect at other addresses.

mod arguments;
mod error;
mod reader;
mod request;
mod schema;
mod thinking;
mod wire;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};

use super::{Call, Outgoing, Provider, Translator, json_body, json_headers, key_header};
use crate::auth::Auth;
use crate::decode::Framing;
use crate::error::{Error, Result};
use crate::stream::Emitter;
use crate::types::ChatCompletion;
pub(super) use reader::PieceReader;
pub(super) use request::{Service, body};

#[derive(Debug)]
pub(crate) struct Gemini;

impl Provider for Gemini {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let mut headers = json_headers();
        if let Some(key) = &call.target.key {
            put_key(&mut headers, key)?;
        }
        let base = &call.target.base_url;
        let version = if is_version(base.rsplit('/').next().unwrap_or_default()) { "" } else { "/v1beta" };
        let model = &*call.target.model;
        let collection = if model.contains('/') { "" } else { "models/" };
        let url = format!("{base}{version}/{collection}{model}:{}", method(call));
        Ok(Outgoing { url, headers, body: json_body(&body(call, Service::Gemini)?), auth: Auth::Ready })
    }

    fn framing(&self) -> Framing {
        Framing::SseOrJsonArray
    }

    fn translator(&self, _call: &Call<'_>) -> Box<dyn Translator> {
        Box::new(PieceReader::default())
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        whole(body, call)
    }

    fn failure(&self, status: u16, headers: &HeaderMap, body: &str) -> Error {
        failure(status, headers, body)
    }
}

/// A whole answer: the way of a stream of one piece.
pub(super) fn whole(body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
    let mut out = Emitter::new(call.target.model.clone(), 1, true);
    PieceReader::default().read(body.trim(), &mut out).map_err(|error| match error.kind() {
        crate::ErrorKind::Protocol => super::failure::not_an_answer(body),
        _ => error,
    })?;
    if !out.has_begun() {
        return Err(super::failure::not_an_answer(body));
    }
    out.close();
    Ok(out.answer().to_completion())
}

pub(super) fn failure(status: u16, headers: &HeaderMap, body: &str) -> Error {
    error::from_answer(status, headers, body)
}

/// What is called on a model.
pub(super) fn method(call: &Call<'_>) -> &'static str {
    if call.stream { "streamGenerateContent?alt=sse" } else { "generateContent" }
}

/// An API key in its own header; an OAuth token as a bearer.
pub(super) fn put_key(headers: &mut HeaderMap, key: &SecretString) -> Result<()> {
    let text = key.expose_secret().trim();
    if text.starts_with("ya29.") || text.starts_with("eyJ") {
        return key_header(headers, AUTHORIZATION, "Bearer ", key);
    }
    key_header(headers, HeaderName::from_static("x-goog-api-key"), "", key)
}

/// Whether a path ends with an API version, as in `…/v1beta`.
pub(super) fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
