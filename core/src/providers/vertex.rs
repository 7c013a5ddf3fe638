//! Vertex AI: Gemini's dialect at Google Cloud's addresses, and Claude in Anthropic's.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use secrecy::ExposeSecret;

use super::gemini::{self, PieceReader, Service};
use super::{Call, Outgoing, Provider, Translator, anthropic, json_body, json_headers, key_header, percent_encoded};
use crate::auth::{Auth, PROJECT, google};
use crate::decode::Framing;
use crate::error::{Error, ErrorKind, Result};
use crate::types::ChatCompletion;

const ANTHROPIC_VERSION: &str = "vertex-2023-10-16";

#[derive(Debug)]
pub(crate) struct Vertex;

impl Provider for Vertex {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let mut headers = json_headers();
        let auth = authorise(call, &mut headers)?;
        let model = &*call.target.model;
        let (path, body) = if is_claude(call) {
            let (mut body, _betas) = anthropic::message(call)?;
            body.shift_remove("model");
            body.insert("anthropic_version".to_owned(), ANTHROPIC_VERSION.into());
            let method = if call.stream { "streamRawPredict" } else { "rawPredict" };
            (format!("publishers/anthropic/models/{model}:{method}"), json_body(&body))
        } else {
            let publisher = if model.contains('/') { "" } else { "publishers/google/models/" };
            let body = json_body(&gemini::body(call, Service::Vertex)?);
            (format!("{publisher}{model}:{}", gemini::method(call)), body)
        };
        Ok(Outgoing { url: format!("{}/{path}", place(call, &auth)), headers, body, auth })
    }

    fn framing(&self) -> Framing {
        Framing::SseOrJsonArray
    }

    fn takes_credentials(&self) -> bool {
        true
    }

    fn translator(&self, call: &Call<'_>) -> Box<dyn Translator> {
        if is_claude(call) { Box::new(anthropic::Reader::default()) } else { Box::new(PieceReader::default()) }
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        if is_claude(call) { anthropic::answer(body, call) } else { gemini::whole(body, call) }
    }

    fn failure(&self, status: u16, headers: &HeaderMap, body: &str) -> Error {
        gemini::failure(status, headers, body)
    }
}

fn is_claude(call: &Call<'_>) -> bool {
    call.target.model.starts_with("claude-")
}

/// A given key is an access token, or an API key (express mode). Without either the client finds credentials.
fn authorise(call: &Call<'_>, headers: &mut HeaderMap) -> Result<Auth> {
    let Some(key) = &call.target.key else { return Ok(Auth::Google) };
    if is_api_key(key.expose_secret()) {
        // The key tells the project, too.
        key_header(headers, HeaderName::from_static("x-goog-api-key"), "", key)?;
        return Ok(Auth::Ready);
    }
    if call.target.is_default_url && call.target.setting("project").is_none() {
        let message = "no Google Cloud project; set VERTEXAI_PROJECT, or the setting `project` of vertex_ai";
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    key_header(headers, AUTHORIZATION, "Bearer ", key)?;
    Ok(Auth::Ready)
}

fn is_api_key(key: &str) -> bool {
    ["AIza", "AQ."].iter().any(|start| key.trim().starts_with(start))
}

/// Where models are found: the base URL, its version, and the project's place, as far as they are known.
fn place(call: &Call<'_>, auth: &Auth) -> String {
    let target = call.target;
    let location = target.setting("location").unwrap_or("global");
    let base = match location {
        _ if !target.is_default_url => target.base_url.clone(),
        "global" => target.base_url.clone(),
        location => format!("https://{location}-aiplatform.googleapis.com"),
    };
    let version = if gemini::is_version(base.rsplit('/').next().unwrap_or_default()) { "" } else { "/v1" };
    // The credentials tell the project where nobody else does. A replaced base URL may hold it.
    let is_told = *auth == Auth::Google && (target.is_default_url || google::is_set(target));
    let project = target.setting("project").map(percent_encoded).or_else(|| is_told.then(|| PROJECT.to_owned()));
    match project {
        Some(project) => format!("{base}{version}/projects/{project}/locations/{location}"),
        None => format!("{base}{version}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::providers::tests::outgoing;

    fn request(model: &str) -> Value {
        json!({ "model": model, "messages": [{ "role": "user", "content": "x" }], "max_tokens": 8 })
    }

    #[test]
    fn an_address_names_project_and_location() {
        let settings = [("project", "p 1"), ("location", "europe-west4")];
        let sent = outgoing(&request("vertex_ai/gemini-2.5-pro"), &settings, false).unwrap();
        let expected = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p%201/locations/europe-west4\
            /publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse";
        assert_eq!(sent.url, expected);
        assert_eq!(sent.headers["authorization"], "Bearer key");
        let sent = outgoing(&request("vertex_ai/gemini-2.5-pro"), &[("project", "p")], false).unwrap();
        assert!(sent.url.starts_with("https://aiplatform.googleapis.com/v1/projects/p/locations/global/"), "{}", sent.url);
    }

    #[test]
    fn claude_speaks_anthropics_dialect() {
        let sent = outgoing(&request("vertex_ai/claude-sonnet-4@20250514"), &[("project", "p")], false).unwrap();
        assert!(sent.url.ends_with("/publishers/anthropic/models/claude-sonnet-4@20250514:streamRawPredict"), "{}", sent.url);
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(body["anthropic_version"], ANTHROPIC_VERSION);
        assert_eq!(body.get("model"), None);
    }

    #[test]
    fn calls_have_no_ids_here() {
        let mut wanted = request("vertex_ai/gemini-2.5-pro");
        wanted["messages"] = json!([
            { "role": "assistant", "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "a", "content": "1" },
        ]);
        let sent = outgoing(&wanted, &[("project", "p")], false).unwrap();
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(body["contents"][0]["parts"][0], json!({ "functionCall": { "name": "f", "args": {} } }));
        let result = json!({ "functionResponse": { "name": "f", "response": { "name": "f", "content": "1" } } });
        assert_eq!(body["contents"][1]["parts"][0], result);
    }
}
