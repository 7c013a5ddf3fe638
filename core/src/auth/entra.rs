//! Tokens of Microsoft's Entra ID, by client credentials: a secret, or the federated token of a workload identity.

use http::Method;

use super::{Credential, Source, form, form_header, granted};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Target;

const AUTHORITY: &str = "https://login.microsoftonline.com";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// Whether the client or the environment names a source of credentials.
pub(super) fn is_set(target: &Target) -> bool {
    ["tenant_id", "token"].iter().any(|name| target.setting(name).is_some())
}

pub(super) async fn credential(source: &Source<'_>) -> Result<Credential> {
    let setting = |name: &str| source.target.setting(name);
    if let Some(token) = setting("token") {
        return Ok(Credential::bearer(token.to_owned(), None));
    }
    let (Some(tenant), Some(client)) = (setting("tenant_id"), setting("client_id")) else { return Err(nothing_set()) };
    let mut fields =
        vec![("grant_type", "client_credentials"), ("client_id", client), ("scope", setting("scope").unwrap_or(SCOPE))];
    let assertion;
    if let Some(secret) = setting("client_secret") {
        fields.push(("client_secret", secret));
    } else if let Some(path) = setting("federated_token_file") {
        assertion = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Authentication, format!("the federated token file {path} cannot be read: {error}"))
        })?;
        fields.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        fields.push(("client_assertion", assertion.trim()));
    } else {
        return Err(nothing_set());
    }
    let authority = setting("authority_host").unwrap_or(AUTHORITY).trim_end_matches('/');
    let url = format!("{authority}/{tenant}/oauth2/v2.0/token");
    granted(&source.ask(Method::POST, url, form_header(), form(&fields)).await?)
}

fn nothing_set() -> Error {
    let message =
        "no key and no Entra ID credentials; set AZURE_API_KEY, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET";
    Error::new(ErrorKind::Authentication, message)
}
