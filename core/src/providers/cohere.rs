//! Cohere's chat API, version 2.

mod reader;
mod request;

use http::header::AUTHORIZATION;

use super::{Call, Outgoing, Provider, Translator, json_body, json_headers, key_header};
use crate::auth::Auth;
use crate::error::Result;
use crate::stream::Emitter;
use crate::types::ChatCompletion;
use reader::EventReader;

#[derive(Debug)]
pub(crate) struct Cohere;

impl Provider for Cohere {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let mut headers = json_headers();
        if let Some(key) = &call.target.key {
            key_header(&mut headers, AUTHORIZATION, "Bearer ", key)?;
        }
        let base = &call.target.base_url;
        let base = base.strip_suffix("/v2/chat").or_else(|| base.strip_suffix("/v2")).unwrap_or(base);
        Ok(Outgoing { url: format!("{base}/v2/chat"), headers, body: json_body(&request::body(call)?), auth: Auth::Ready })
    }

    fn translator(&self, _call: &Call<'_>) -> Box<dyn Translator> {
        Box::new(EventReader::default())
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        let mut out = Emitter::new(call.target.model.clone(), 1, true);
        reader::whole(body, &mut out)?;
        out.close();
        Ok(out.answer().to_completion())
    }
}
