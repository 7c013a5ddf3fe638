//! Anthropic's Messages, on its own API. Clouds that serve Claude reuse the parts.

mod reader;
mod request;
#[cfg(test)]
mod tests;
pub(super) mod thinking;

use http::{HeaderName, HeaderValue};

use super::{Call, Outgoing, Provider, Translator, json_body, json_headers, key_header};
use crate::auth::Auth;
use crate::error::{Error, ErrorKind, Result};
use crate::stream::Emitter;
use crate::types::ChatCompletion;
pub(super) use reader::Reader;
pub(super) use request::body as message;
pub(super) use request::{Turns, closed_schema, json_instruction, lacks_structured_output, object_schema};

const VERSION: &str = "2023-06-01";

#[derive(Debug)]
pub(crate) struct Anthropic;

impl Provider for Anthropic {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let (body, betas) = request::body(call)?;
        let mut headers = json_headers();
        headers.insert("anthropic-version", HeaderValue::from_static(VERSION));
        if let Some(key) = &call.target.key {
            key_header(&mut headers, HeaderName::from_static("x-api-key"), "", key)?;
        }
        if !betas.is_empty() {
            let betas = HeaderValue::from_str(&betas.join(","))
                .map_err(|_| Error::new(ErrorKind::InvalidRequest, "`betas` holds characters that no HTTP header can carry"))?;
            headers.insert("anthropic-beta", betas);
        }
        let base_url = &call.target.base_url;
        let version = if base_url.ends_with("/v1") { "" } else { "/v1" };
        Ok(Outgoing { url: format!("{base_url}{version}/messages"), headers, body: json_body(&body), auth: Auth::Ready })
    }

    fn translator(&self, _call: &Call<'_>) -> Box<dyn Translator> {
        Box::new(Reader::default())
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        answer(body, call)
    }
}

/// A whole message. It goes the way of a stream, so that both mean the same.
pub(super) fn answer(body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
    let mut out = Emitter::new(call.target.model.clone(), 1, true);
    Reader::default().whole(body, &mut out)?;
    out.close();
    Ok(out.answer().to_completion())
}
