//! AWS Bedrock: Converse and ConverseStream, one dialect for all of its models.

mod reader;
mod request;
#[cfg(test)]
mod tests;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;

use super::failure::Failure;
use super::{Call, Outgoing, Provider, Target, Translator, json_body, json_headers, key_header, percent_encoded};
use crate::auth::{Auth, REGION};
use crate::decode::Framing;
use crate::error::{Error, ErrorKind, Result};
use crate::stream::Emitter;
use crate::types::ChatCompletion;
use reader::Reader;

#[derive(Debug)]
pub(crate) struct Bedrock;

impl Provider for Bedrock {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let target = call.target;
        let body = request::body(call)?;
        let mut headers = json_headers();
        let region = region(target);
        let auth = match &target.key {
            Some(key) => {
                key_header(&mut headers, AUTHORIZATION, "Bearer ", key)?;
                Auth::Ready
            }
            None if is_signed(target) => Auth::Aws { region: region.unwrap_or_default().to_owned(), service: "bedrock" },
            None => Auth::Ready,
        };
        let base_url = match region {
            _ if !target.is_default_url => target.base_url.clone(),
            Some(region) => {
                let china = if region.starts_with("cn-") { ".cn" } else { "" };
                format!("https://bedrock-runtime.{region}.amazonaws.com{china}")
            }
            // The signer knows the profile's region.
            None if auth != Auth::Ready => format!("https://bedrock-runtime.{REGION}.amazonaws.com"),
            None => {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    "no AWS region is set; set AWS_REGION, or the client's setting `region`",
                ));
            }
        };
        let operation = if call.stream { "converse-stream" } else { "converse" };
        Ok(Outgoing {
            url: format!("{base_url}/model/{}/{operation}", percent_encoded(model_id(&target.model))),
            headers,
            body: json_body(&body),
            auth,
        })
    }

    fn framing(&self) -> Framing {
        Framing::EventStream
    }

    fn translator(&self, _call: &Call<'_>) -> Box<dyn Translator> {
        Box::new(Reader::default())
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        let mut out = Emitter::new(call.target.model.clone(), 1, true);
        reader::whole(body, &mut out)?;
        out.close();
        Ok(out.answer().to_completion())
    }

    fn takes_credentials(&self) -> bool {
        true
    }

    /// AWS names an error in a header, or in the body under `__type`.
    fn failure(&self, status: u16, headers: &HeaderMap, body: &str) -> Error {
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let name = headers.get("x-amzn-errortype").and_then(|name| name.to_str().ok()).or_else(|| text("__type"));
        let name = name.map(|name| name.split(':').next().unwrap_or(name)).map(|name| name.rsplit('#').next().unwrap_or(name));
        let Some(message) = text("message").or_else(|| text("Message")) else {
            return super::failure::from_answer(status, headers, body);
        };
        Failure { message: message.to_owned(), kind: name.map(str::to_owned), ..Failure::default() }
            .with_status(status, headers, body)
    }
}

/// The model without the words by which LiteLLM picks one of Bedrock's operations.
fn model_id(model: &str) -> &str {
    model.strip_prefix("converse/").or_else(|| model.strip_prefix("invoke/")).unwrap_or(model)
}

/// The region: of a model that is named by its ARN, as set, or of an address at AWS.
fn region(target: &Target) -> Option<&str> {
    let of_arn = model_id(&target.model).strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2));
    let of_address =
        || target.base_url.split_once("bedrock-runtime").and_then(|(_, rest)| rest.strip_prefix('.')?.split('.').next());
    of_arn
        .filter(|region| !region.is_empty())
        .or_else(|| target.setting("region").filter(|region| !region.is_empty()))
        .or_else(|| of_address().filter(|_| !target.is_default_url))
}

/// Whether calls are to be signed, or have a token put on: all that go to AWS, and to other addresses those of whom credentials were given.
fn is_signed(target: &Target) -> bool {
    const GIVEN: [&str; 5] = ["access_key_id", "profile", "web_identity_token_file", "container_uri", "container_relative_uri"];
    target.is_default_url
        || target.has_tokens
        || target.base_url.contains(".amazonaws.com")
        || GIVEN.iter().any(|name| target.setting(name).is_some_and(|value| !value.is_empty()))
}
