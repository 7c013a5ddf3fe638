//! Google access tokens: by a service account's key, by a user's refresh token, or from the metadata server of Google's machines.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;

use super::{Credential, Source, form, form_header, granted};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Target;

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const METADATA_HOST: &str = "metadata.google.internal";
/// Off Google's machines the metadata server's name leads nowhere, at times without an answer.
const METADATA_CONNECT: Duration = Duration::from_secs(3);

/// A credentials file of either kind.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum File {
    ServiceAccount {
        client_email: String,
        private_key: String,
        private_key_id: Option<String>,
        token_uri: Option<String>,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        token_uri: Option<String>,
    },
    #[serde(other)]
    Other,
}

/// Whether the client or the environment names a source of credentials.
pub(crate) fn is_set(target: &Target) -> bool {
    ["credentials", "metadata_host"].iter().any(|name| target.setting(name).is_some())
}

pub(super) async fn credential(source: &Source<'_>) -> Result<Credential> {
    let Some(text) = file(source)? else {
        let token = from_metadata(source, "instance/service-accounts/default/token").await.map_err(nothing_found)?;
        return granted(&token);
    };
    let wrong = |error| wrong_file(&format!("is no credentials file: {error}"));
    match serde_json::from_str(&text).map_err(wrong)? {
        File::ServiceAccount { client_email, private_key, private_key_id, token_uri } => {
            let token_uri = token_uri.as_deref().unwrap_or(TOKEN_URI);
            let assertion = assertion(&client_email, &private_key, private_key_id.as_deref(), token_uri, SystemTime::now())?;
            let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
            granted(&source.ask(Method::POST, token_uri.to_owned(), form_header(), form(&fields)).await?)
        }
        File::AuthorizedUser { client_id, client_secret, refresh_token, token_uri } => {
            let fields = [
                ("grant_type", "refresh_token"),
                ("client_id", &client_id),
                ("client_secret", &client_secret),
                ("refresh_token", &refresh_token),
            ];
            let token_uri = token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
            granted(&source.ask(Method::POST, token_uri, form_header(), form(&fields)).await?)
        }
        File::Other => Err(wrong_file(
            "is neither a service account's nor an authorised user's; give the token yourself, as `api_key` or by a token provider",
        )),
    }
}

/// The project that the credentials belong to.
pub(super) async fn project(source: &Source<'_>) -> Result<String> {
    #[derive(Deserialize)]
    struct Named {
        project_id: Option<String>,
        quota_project_id: Option<String>,
    }
    let named = file(source)?.and_then(|text| serde_json::from_str::<Named>(&text).ok());
    let project = match named {
        Some(named) => named.project_id.or(named.quota_project_id),
        None => from_metadata(source, "project/project-id").await.ok(),
    };
    project.map(|project| project.trim().to_owned()).ok_or_else(|| {
        let message = "no Google Cloud project; set VERTEXAI_PROJECT, or the setting `project` of vertex_ai";
        Error::new(ErrorKind::InvalidRequest, message)
    })
}

/// The credentials file: the one that is named, or the one that `gcloud auth application-default login` writes.
fn file(source: &Source<'_>) -> Result<Option<String>> {
    if let Some(given) = source.target.setting("credentials") {
        if given.trim_start().starts_with('{') {
            return Ok(Some(given.to_owned()));
        }
        let text = std::fs::read_to_string(given);
        return text.map(Some).map_err(|error| wrong_file(&format!("{given} cannot be read: {error}")));
    }
    let directory = source.target.setting("config_dir").map(std::path::PathBuf::from).or_else(|| {
        let home = if cfg!(windows) { std::env::var_os("APPDATA") } else { std::env::var_os("HOME") };
        home.map(|home| std::path::Path::new(&home).join(if cfg!(windows) { "gcloud" } else { ".config/gcloud" }))
    });
    let Some(directory) = directory else { return Ok(None) };
    Ok(std::fs::read_to_string(directory.join("application_default_credentials.json")).ok())
}

/// What the metadata server of Google's machines says.
async fn from_metadata(source: &Source<'_>, path: &str) -> Result<String> {
    let host = source.target.setting("metadata_host").unwrap_or(METADATA_HOST);
    let url = format!("http://{host}/computeMetadata/v1/{path}");
    let flavor = (HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("Google"));
    let connect_timeout = Some(source.connect_timeout.unwrap_or(METADATA_CONNECT).min(METADATA_CONNECT));
    let source = Source { connect_timeout, ..*source };
    source.ask(Method::GET, url, HeaderMap::from_iter([flavor]), "").await
}

fn nothing_found(error: Error) -> Error {
    let message = format!(
        "no Google credentials; set GOOGLE_APPLICATION_CREDENTIALS to a credentials file, or give an access token as `api_key` ({})",
        error.message()
    );
    Error::new(ErrorKind::Authentication, message).with_source(error)
}

/// What a service account shows for a token: a JSON web token signed with its key.
fn assertion(email: &str, key: &str, key_id: Option<&str>, audience: &str, now: SystemTime) -> Result<String> {
    const LIFE: u64 = 3600;
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = key_id {
        header["kid"] = id.into();
    }
    let claims = json!({ "iss": email, "scope": SCOPE, "aud": audience, "iat": now, "exp": now + LIFE });
    let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));

    sign(&signed, key)
}

/// `text` with its RS256 signature.
fn sign(text: &str, key: &str) -> Result<String> {
    let wrong = || wrong_file("holds no RSA key in `private_key`");
    let pair = match PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| wrong())? {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| wrong())?,
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &ring::rand::SystemRandom::new(), text.as_bytes(), &mut signature).map_err(|_| wrong())?;
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

fn wrong_file(what: &str) -> Error {
    Error::new(ErrorKind::Authentication, format!("the Google credentials file {what} (GOOGLE_APPLICATION_CREDENTIALS)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../tests/data/rfc7515-appendix-a2.pem");

    #[test]
    fn the_example_of_rfc_7515_is_signed_as_printed_there() {
        let text = "eyJhbGciOiJSUzI1NiJ9.\
            eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb\
            F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j\
            zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        assert_eq!(sign(text, KEY).unwrap(), format!("{text}.{signature}"));
    }

    #[test]
    fn an_assertion_names_the_account_and_the_key() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let token = assertion("me@p.example", KEY, Some("k1"), "https://t.example/token", now).unwrap();
        let part = |at: usize| -> serde_json::Value {
            let part = token.split('.').nth(at).unwrap();
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(part(0), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
        let claims = json!({ "iss": "me@p.example", "scope": SCOPE, "aud": "https://t.example/token", "iat": 1000, "exp": 4600 });
        assert_eq!(part(1), claims);
        assert_eq!(assertion("e", "no key", None, "a", now).unwrap_err().kind(), ErrorKind::Authentication);
    }
}
