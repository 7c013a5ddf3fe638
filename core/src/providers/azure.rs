//! Azure: OpenAI's models by deployment, and those of AI Foundry. Both speak the OpenAI dialect (Claude on Foundry speaks Anthropic's)
//! at addresses of their own.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::anthropic::Anthropic;
use super::openai::{Body, OpenAi};
use super::{Call, Outgoing, Provider, Translator, json_body, json_headers, key_header, percent_encoded};
use crate::auth::Auth;
use crate::error::Result;
use crate::types::ChatCompletion;

/// The last version that is no preview.
const OPENAI_VERSION: &str = "2024-10-21";
const FOUNDRY_VERSION: &str = "2024-05-01-preview";

/// Azure OpenAI: a model is a deployment's name.
#[derive(Debug)]
pub(crate) struct AzureOpenAi;

/// Azure AI Foundry.
#[derive(Debug)]
pub(crate) struct Foundry;

impl Provider for AzureOpenAi {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let base = &call.target.base_url;
        let version = call.target.setting("api_version");
        let url = if is_version_1(base) {
            versioned(format!("{base}/chat/completions"), version)
        } else if version.is_some_and(|version| matches!(version, "v1" | "latest" | "preview")) {
            let base = base.strip_suffix("/openai").unwrap_or(base);
            versioned(format!("{base}/openai/v1/chat/completions"), version.filter(|version| *version == "preview"))
        } else if base.contains("/deployments/") {
            versioned(format!("{base}/chat/completions"), version.or(Some(OPENAI_VERSION)))
        } else {
            let base = base.strip_suffix("/openai").unwrap_or(base);
            let deployment = percent_encoded(&call.target.model);
            let url = format!("{base}/openai/deployments/{deployment}/chat/completions");
            versioned(url, version.or(Some(OPENAI_VERSION)))
        };
        outgoing(call, url)
    }

    fn takes_credentials(&self) -> bool {
        true
    }

    fn translator(&self, call: &Call<'_>) -> Box<dyn Translator> {
        OpenAi.translator(call)
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        OpenAi.answer(body, call)
    }
}

impl Provider for Foundry {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let base = &call.target.base_url;
        let version = call.target.setting("api_version");
        if is_claude(call) {
            let mut sent = Anthropic.request(call)?;
            let base = base.strip_suffix("/anthropic").unwrap_or(base);
            sent.url = format!("{base}/anthropic/v1/messages");
            sent.headers.remove("x-api-key");
            sent.auth = authorise(call, &mut sent.headers)?;
            return Ok(sent);
        }
        let url = if is_version_1(base) {
            versioned(format!("{base}/chat/completions"), version)
        } else {
            // Endpoints of one model alone, and the address that Azure's own SDK is given, end where the models are.
            let at_models =
                base.ends_with("/models") || base.contains(".inference.ai.azure.com") || base.contains(".models.ai.azure.com");
            let models = if at_models { "" } else { "/models" };
            versioned(format!("{base}{models}/chat/completions"), version.or(Some(FOUNDRY_VERSION)))
        };
        let mut sent = outgoing(call, url)?;
        if !call.request.extra.is_empty() {
            // Else a field that Azure does not know is refused rather than handed to the model.
            sent.headers.insert("extra-parameters", HeaderValue::from_static("pass-through"));
        }
        Ok(sent)
    }

    fn takes_credentials(&self) -> bool {
        true
    }

    fn translator(&self, call: &Call<'_>) -> Box<dyn Translator> {
        if is_claude(call) { Anthropic.translator(call) } else { OpenAi.translator(call) }
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        if is_claude(call) { Anthropic.answer(body, call) } else { OpenAi.answer(body, call) }
    }
}

fn is_claude(call: &Call<'_>) -> bool {
    call.target.model.starts_with("claude-")
}

fn is_version_1(base: &str) -> bool {
    base.ends_with("/openai/v1")
}

fn versioned(url: String, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{url}?api-version={}", percent_encoded(version)),
        None => url,
    }
}

fn outgoing(call: &Call<'_>, url: String) -> Result<Outgoing> {
    let mut headers = json_headers();
    let auth = authorise(call, &mut headers)?;
    Ok(Outgoing { url, headers, body: json_body(&Body::new(call)?), auth })
}

/// A key goes into its own header, a token that is given as one into the usual; without either Entra ID gives one.
fn authorise(call: &Call<'_>, headers: &mut HeaderMap) -> Result<Auth> {
    let Some(key) = &call.target.key else { return Ok(Auth::Entra) };
    if key.expose_secret().trim().starts_with("eyJ") {
        key_header(headers, AUTHORIZATION, "Bearer ", key)?;
    } else {
        key_header(headers, HeaderName::from_static("api-key"), "", key)?;
    }
    Ok(Auth::Ready)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::providers::Target;
    use crate::providers::tests::target;
    use crate::types::ChatCompletionRequest;

    fn sent(model: &str, base: &str, version: Option<&str>, extra: &Value) -> Outgoing {
        let mut request = json!({ "model": model, "messages": [{ "role": "user", "content": "x" }] });
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let request: ChatCompletionRequest = serde_json::from_value(request).unwrap();
        let settings: Vec<_> = version.map(|version| ("api_version", version)).into_iter().collect();
        let mut target = target(model, &settings);
        target.base_url = base.to_owned();
        let call = Call { request: &request, target: &target, stream: true, drop_unsupported: false };
        crate::providers::dialect(&target.host.name).unwrap().request(&call).unwrap()
    }

    #[test]
    fn a_deployment_is_found_by_every_form_of_address() {
        let url = |base: &str, version: Option<&str>| sent("azure/my dep", base, version, &json!({})).url;
        let resource = "https://r.openai.azure.com";
        let deployed = "https://r.openai.azure.com/openai/deployments/my%20dep/chat/completions?api-version=";
        assert_eq!(url(resource, None), format!("{deployed}{OPENAI_VERSION}"));
        assert_eq!(url(&format!("{resource}/openai"), Some("2025-01-01-preview")), format!("{deployed}2025-01-01-preview"));
        assert_eq!(url(&format!("{resource}/openai/v1"), None), format!("{resource}/openai/v1/chat/completions"));
        assert_eq!(url(resource, Some("v1")), format!("{resource}/openai/v1/chat/completions"));
        assert_eq!(url(resource, Some("preview")), format!("{resource}/openai/v1/chat/completions?api-version=preview"));
    }

    #[test]
    fn foundry_serves_models_and_claude() {
        let base = "https://r.services.ai.azure.com";
        let grok = sent("azure_ai/grok-4", base, None, &json!({ "top_k": 3 }));
        assert_eq!(grok.url, format!("{base}/models/chat/completions?api-version={FOUNDRY_VERSION}"));
        assert_eq!(
            (&grok.headers["api-key"], &grok.headers["extra-parameters"]),
            (&"key".parse().unwrap(), &"pass-through".parse().unwrap())
        );
        let claude = sent("azure_ai/claude-sonnet-4-5", base, None, &json!({ "max_tokens": 9 }));
        assert_eq!(claude.url, format!("{base}/anthropic/v1/messages"));
        assert_eq!(claude.headers["api-key"], "key");
        assert!(!claude.headers.contains_key("x-api-key"));
    }

    #[test]
    fn without_a_key_entra_is_asked() {
        let request = ChatCompletionRequest::new("azure/d", ["x"]);
        let target = Target { key: None, ..target("azure/d", &[]) };
        let call = Call { request: &request, target: &target, stream: true, drop_unsupported: false };
        assert_eq!(AzureOpenAi.request(&call).unwrap().auth, Auth::Entra);
    }
}
