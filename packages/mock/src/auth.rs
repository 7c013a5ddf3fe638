//! Where cloud clients get their credentials: token endpoints and metadata servers of Google, Azure and AWS, on the
//! mock's own port. What they give out carries the request's number, so that a renewed token differs from the first,
//! and lives as long as `expires_in` says.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::behaviour::{ErrorText, percent_decoded};

const ROLE: &str = "mock-role";

/// Where AWS machines find their role, and behind it the role's credentials.
const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Google's OAuth: a signed assertion or a refresh token for an access token.
    GoogleToken,
    /// The metadata server of Google's machines.
    GceToken,
    GceProject,
    /// Microsoft's Entra ID, client credentials.
    EntraToken,
    /// The metadata server of AWS's machines, version 2.
    ImdsSession,
    ImdsRole,
    ImdsCredentials,
    /// AWS STS: a role by a web identity, or by another's signature.
    Sts,
    /// The credentials endpoint of AWS's containers.
    Container,
}

/// An answer of such an endpoint.
#[derive(Debug)]
pub(crate) struct Grant {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    pub header: Option<(&'static str, String)>,
}

impl Endpoint {
    pub(crate) fn of(method: &Method, target: &str, body: &[u8]) -> Option<Self> {
        let path = target.split('?').next().unwrap_or(target);
        match (method.as_str(), path) {
            ("POST", path) if path.ends_with("/oauth2/v2.0/token") => Some(Self::EntraToken),
            ("POST", path) if path.ends_with("/token") => Some(Self::GoogleToken),
            ("GET", path) if path.ends_with("/service-accounts/default/token") => Some(Self::GceToken),
            ("GET", path) if path.ends_with("/computeMetadata/v1/project/project-id") => Some(Self::GceProject),
            ("PUT", path) if path.ends_with("/latest/api/token") => Some(Self::ImdsSession),
            ("GET", path) if path.ends_with(CREDENTIALS) || path.ends_with(CREDENTIALS.trim_end_matches('/')) => {
                Some(Self::ImdsRole)
            }
            ("GET", path) if path.contains(CREDENTIALS) => Some(Self::ImdsCredentials),
            ("POST", "/") if field(body, "Action").is_some() => Some(Self::Sts),
            ("GET", path) if path.contains("/v2/credentials") || path.ends_with("/v1/credentials") => Some(Self::Container),
            _ => None,
        }
    }

    /// What a right request gets; a wrong one is refused as the real endpoint would.
    pub(crate) fn grant(self, headers: &HeaderMap, body: &[u8], sequence: u64, expires_in: Option<u64>) -> Grant {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let lifetime = expires_in.unwrap_or(3600);
        let bearer = |token: String| json!({"access_token": token, "expires_in": lifetime, "token_type": "Bearer"});
        let refuse =
            |status: u16, why: &str| self.refusal(status, &ErrorText { message: Some(why.to_owned()), ..ErrorText::default() });
        match self {
            Self::GoogleToken => match field(body, "grant_type").as_deref() {
                Some("urn:ietf:params:oauth:grant-type:jwt-bearer") if !is_jwt(body, "assertion") => {
                    refuse(400, "Invalid JWT: the assertion must be three parts, the first two JSON")
                }
                Some("refresh_token") if field(body, "refresh_token").is_none() => refuse(400, "Missing refresh_token"),
                Some("urn:ietf:params:oauth:grant-type:jwt-bearer" | "refresh_token") => {
                    json_grant(&bearer(format!("ya29.mock-{sequence}")))
                }
                _ => refuse(400, "Unknown grant_type"),
            },
            Self::EntraToken => {
                let missing = ["client_id", "client_secret", "scope"].into_iter().find(|name| field(body, name).is_none());
                let federated = field(body, "client_assertion").is_some();
                match missing {
                    Some(name) if !(federated && name == "client_secret") => refuse(400, &format!("Missing {name}")),
                    _ => {
                        let mut token = bearer(format!("entra-mock-{sequence}"));
                        token["ext_expires_in"] = json!(lifetime);
                        json_grant(&token)
                    }
                }
            }
            Self::GceToken | Self::GceProject if header("metadata-flavor") != Some("Google") => {
                refuse(403, "Missing Metadata-Flavor: Google")
            }
            Self::GceToken => {
                let flavor = Some(("metadata-flavor", "Google".to_owned()));
                Grant { header: flavor, ..json_grant(&bearer(format!("ya29.mock-gce-{sequence}"))) }
            }
            Self::GceProject => {
                let flavor = Some(("metadata-flavor", "Google".to_owned()));
                Grant { header: flavor, ..text_grant("mock-project".to_owned()) }
            }
            Self::ImdsSession => match header("x-aws-ec2-metadata-token-ttl-seconds") {
                Some(ttl) => {
                    let ttl = Some(("x-aws-ec2-metadata-token-ttl-seconds", ttl.to_owned()));
                    Grant { header: ttl, ..text_grant(format!("imds-mock-{sequence}")) }
                }
                None => refuse(400, "Missing x-aws-ec2-metadata-token-ttl-seconds"),
            },
            Self::ImdsRole | Self::ImdsCredentials
                if header("x-aws-ec2-metadata-token").is_none_or(|token| !token.starts_with("imds-mock-")) =>
            {
                refuse(401, "Missing or unknown x-aws-ec2-metadata-token")
            }
            Self::ImdsRole => text_grant(ROLE.to_owned()),
            Self::ImdsCredentials | Self::Container => json_grant(&aws_credentials(sequence, lifetime)),
            Self::Sts => sts(headers, body, sequence, lifetime),
        }
    }

    /// The endpoint's own kind of error.
    pub(crate) fn refusal(self, status: u16, error: &ErrorText) -> Grant {
        let message = error.message.as_deref().unwrap_or("Refused, as the request asked.");
        let code = error.code.as_deref();
        let body = match self {
            Self::GoogleToken | Self::EntraToken | Self::GceToken => {
                json!({"error": code.unwrap_or("invalid_grant"), "error_description": message})
            }
            Self::Sts => {
                let code = code.unwrap_or("InvalidIdentityToken");
                let body = format!(
                    "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                     <Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
                );
                return Grant { status, content_type: "text/xml", body, header: None };
            }
            _ => json!({"code": code.unwrap_or("Refused"), "message": message}),
        };
        Grant { status, ..json_grant(&body) }
    }
}

fn json_grant(body: &Value) -> Grant {
    Grant { status: 200, content_type: "application/json", body: body.to_string(), header: None }
}

fn text_grant(body: String) -> Grant {
    Grant { status: 200, content_type: "text/plain", body, header: None }
}

fn aws_credentials(sequence: u64, lifetime: u64) -> Value {
    json!({"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": time_in(0), "Expiration": time_in(lifetime),
        "RoleArn": format!("arn:aws:iam::123456789012:role/{ROLE}"), "AccessKeyId": format!("ASIAMOCK{sequence:08}"),
        "SecretAccessKey": "mock/secret/access/key", "Token": format!("aws-session-mock-{sequence}")})
}

fn sts(headers: &HeaderMap, body: &[u8], sequence: u64, lifetime: u64) -> Grant {
    let action = field(body, "Action").unwrap_or_default();
    let by_signature = action == "AssumeRole";
    let is_signed = headers.get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256 "));
    let missing = match field(body, "RoleArn") {
        None => Some("RoleArn"),
        Some(_) if by_signature => Some("a signature").filter(|_| !is_signed),
        Some(_) => Some("WebIdentityToken").filter(|name| field(body, name).is_none()),
    };
    if let Some(name) = missing {
        let message = Some(format!("Missing {name}"));
        let code = Some("ValidationError".to_owned());
        return Endpoint::Sts.refusal(400, &ErrorText { code, message, ..ErrorText::default() });
    }
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <{action}Result><Credentials><AccessKeyId>ASIAMOCK{sequence:08}</AccessKeyId>\
         <SecretAccessKey>mock/secret/access/key</SecretAccessKey><SessionToken>aws-session-mock-{sequence}</SessionToken>\
         <Expiration>{}</Expiration></Credentials></{action}Result>\
         <ResponseMetadata><RequestId>req_mock_{sequence}</RequestId></ResponseMetadata></{action}Response>",
        time_in(lifetime)
    );
    Grant { status: 200, content_type: "text/xml", body, header: None }
}

/// A field of a form.
fn field(form: &[u8], name: &str) -> Option<String> {
    let form = std::str::from_utf8(form).ok()?;
    form.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name && !value.is_empty()).then(|| percent_decoded(&value.replace('+', " ")))
    })
}

/// Three parts of base64url, the first two of them JSON. The signature is not the mock's to judge.
fn is_jwt(body: &[u8], name: &str) -> bool {
    let Some(token) = field(body, name) else {
        return false;
    };
    let is_json =
        |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).is_ok_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok());
    let parts: Vec<&str> = token.split('.').collect();
    parts.len() == 3 && is_json(parts[0]) && is_json(parts[1]) && !parts[2].is_empty()
}

/// A moment from now as `2026-11-21T04:55:00Z`.
fn time_in(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    timestamp(now + seconds)
}

fn timestamp(unix: u64) -> String {
    let (mut days, clock) = (unix / 86_400, unix % 86_400);
    let mut year = 1970;
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_know_leap_years() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_798_761_600, "2027-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(unix), text);
        }
    }
}
