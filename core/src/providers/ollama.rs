//! Ollama's native API: one JSON text a line.

mod reader;
mod request;

use http::header::AUTHORIZATION;

use super::{Call, Outgoing, Provider, Translator, json_body, json_headers, key_header};
use crate::auth::Auth;
use crate::decode::Framing;
use crate::error::Result;
use crate::stream::Emitter;
use crate::types::ChatCompletion;
use reader::LineReader;

#[derive(Debug)]
pub(crate) struct Ollama;

impl Provider for Ollama {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let mut headers = json_headers();
        if let Some(key) = &call.target.key {
            key_header(&mut headers, AUTHORIZATION, "Bearer ", key)?;
        }
        let base = call.target.base_url.strip_suffix("/api").unwrap_or(&call.target.base_url);
        Ok(Outgoing { url: format!("{base}/api/chat"), headers, body: json_body(&request::body(call)?), auth: Auth::Ready })
    }

    fn framing(&self) -> Framing {
        Framing::Ndjson
    }

    fn translator(&self, _call: &Call<'_>) -> Box<dyn Translator> {
        Box::new(LineReader::default())
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        let mut out = Emitter::new(call.target.model.clone(), 1, true);
        LineReader::default().whole(body, &mut out)?;
        out.close();
        Ok(out.answer().to_completion())
    }
}
