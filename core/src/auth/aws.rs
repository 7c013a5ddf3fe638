//! AWS credentials, from wherever AWS's own tools take them, in their order: given or of the environment, by web identity, of a profile,
//! of the container, of the machine.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use secrecy::SecretString;
use serde::Deserialize;

use super::sigv4::Signer;
use super::{Credential, Secret, Source, form, form_header, instant};
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Outgoing;

const MACHINE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
/// Where nothing answers, nothing is to be waited for: some networks drop such packets without a word.
const METADATA_WAIT: Duration = Duration::from_secs(5);
const METADATA_CONNECT: Duration = Duration::from_secs(2);
/// The region of a signature that goes to an address of the caller's own.
const ANY_REGION: &str = "us-east-1";
/// How many profiles may point to one another.
const LONGEST_CHAIN: usize = 5;

pub(super) async fn credential(source: &Source<'_>) -> Result<Credential> {
    let set = |name: &str| set(source, name);
    if let (Some(id), Some(secret)) = (set("access_key_id"), set("secret_access_key")) {
        return Ok(lasting(id, secret, set("session_token")));
    }
    if let (Some(role), Some(file)) = (set("role_arn"), set("web_identity_token_file")) {
        return by_web_identity(source, role, file, set("role_session_name")).await;
    }
    let profiles = Profiles::read(source);
    let name = set("profile");
    match profiles.get(name.unwrap_or("default")) {
        Some(profile) if profile.holds_credentials() => return by_profile(source, &profiles, name.unwrap_or("default")).await,
        None if name.is_some() => {
            let message = format!("there is no AWS profile `{}`; check AWS_PROFILE", name.unwrap_or_default());
            return Err(Error::new(ErrorKind::Authentication, message));
        }
        _ => {}
    }
    if let Some(uri) = set("container_uri") {
        return of_container(source, uri.to_owned()).await;
    }
    if let Some(path) = set("container_relative_uri") {
        return of_container(source, format!("{CONTAINER}{path}")).await;
    }
    if set("metadata_disabled").is_some_and(|flag| flag.eq_ignore_ascii_case("true")) {
        return Err(none_found("the machine's own are switched off"));
    }
    match tokio::time::timeout(METADATA_WAIT, of_machine(source)).await {
        Ok(Ok(credential)) => Ok(credential),
        Ok(Err(error)) => Err(none_found(error.message()).with_source(error)),
        Err(_) => Err(none_found("the machine's metadata service does not answer")),
    }
}

/// A setting, unless it is set to nothing.
fn set<'a>(source: &Source<'a>, name: &str) -> Option<&'a str> {
    source.target.setting(name).filter(|value| !value.is_empty())
}

/// The region that a profile names; one that will do for an address of the caller's own.
pub(super) fn region(source: &Source<'_>) -> Result<String> {
    let profiles = Profiles::read(source);
    let profile = profiles.get(set(source, "profile").unwrap_or("default"));
    if let Some(region) = profile.and_then(|profile| profile.0.get("region")) {
        return Ok(region.clone());
    }
    if source.target.is_default_url {
        let message = "no AWS region is set; set AWS_REGION, or the client's setting `region`";
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    Ok(ANY_REGION.to_owned())
}

pub(super) fn sign(outgoing: &mut Outgoing, secret: &Secret, region: &str, service: &str, now: SystemTime) -> Result<()> {
    let Secret::Aws { access_key_id, secret_access_key, session_token } = secret else {
        return Err(Error::new(ErrorKind::Authentication, "only AWS credentials can sign a request to AWS"));
    };
    let time = instant::compact(now);
    let session_token = session_token.as_ref();
    Signer { access_key_id, secret_access_key, session_token, region, service, time: &time }.sign(
        "POST",
        &outgoing.url,
        &mut outgoing.headers,
        &outgoing.body,
    )
}

fn lasting(id: &str, secret: &str, token: Option<&str>) -> Credential {
    // Keys of a user need no session; one that is set beside them is another's.
    let token = token.filter(|_| !id.starts_with("AKIA"));
    Credential {
        secret: Secret::Aws {
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned().into(),
            session_token: token.map(|token| token.to_owned().into()),
        },
        expires_at: None,
    }
}

async fn by_web_identity(source: &Source<'_>, role: &str, file: &str, session: Option<&str>) -> Result<Credential> {
    let token = std::fs::read_to_string(file).map_err(|error| {
        let message = format!("the web identity token {file} cannot be read: {error}");
        Error::new(ErrorKind::Authentication, message).with_source(error)
    })?;
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", session.unwrap_or("literllm")),
        ("WebIdentityToken", token.trim()),
    ];
    let (url, _) = sts(source);
    granted_by_sts(&source.ask(Method::POST, url, form_header(), form(&fields)).await?)
}

/// The credentials of a profile: its own, or those of a role that it takes on by another's.
async fn by_profile(source: &Source<'_>, profiles: &Profiles, name: &str) -> Result<Credential> {
    let wrong = |what: &str| Error::new(ErrorKind::Authentication, format!("the AWS profile `{name}` {what}"));
    let mut roles = Vec::new();
    let mut at = name;
    let mut credential = loop {
        let profile = profiles.get(at).ok_or_else(|| wrong(&format!("points to `{at}`, which is not there")))?;
        let field = |name: &str| profile.0.get(name).map(String::as_str);
        if let Some(role) = field("role_arn") {
            if let Some(file) = field("web_identity_token_file") {
                break by_web_identity(source, role, file, field("role_session_name")).await?;
            }
            let Some(next) = field("source_profile") else {
                return Err(wrong("takes on a role without a `source_profile`; that way is not supported"));
            };
            roles.push((role, field("role_session_name"), field("external_id")));
            if roles.len() > LONGEST_CHAIN {
                return Err(wrong("goes in circles"));
            }
            // A profile that names itself has its own keys.
            if next != at {
                at = next;
                continue;
            }
        }
        match (field("aws_access_key_id"), field("aws_secret_access_key")) {
            (Some(id), Some(secret)) => break lasting(id, secret, field("aws_session_token")),
            _ => {
                return Err(wrong(
                    "holds no keys (logins and processes are not supported); run `aws configure export-credentials --format env`",
                ));
            }
        }
    };
    for (role, session, external_id) in roles.into_iter().rev() {
        credential = by_role(source, &credential, role, session, external_id).await?;
    }
    Ok(credential)
}

async fn by_role(
    source: &Source<'_>,
    by: &Credential,
    role: &str,
    session: Option<&str>,
    external_id: Option<&str>,
) -> Result<Credential> {
    let mut fields = vec![
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", session.unwrap_or("literllm")),
    ];
    fields.extend(external_id.map(|id| ("ExternalId", id)));
    let (url, region) = sts(source);
    let body = form(&fields).into();
    let mut outgoing = Outgoing { url, headers: form_header(), body, auth: super::Auth::Ready };
    sign(&mut outgoing, &by.secret, &region, "sts", SystemTime::now())?;
    granted_by_sts(&source.ask(Method::POST, outgoing.url, outgoing.headers, outgoing.body).await?)
}

/// The address of STS, and the region that signatures to it name.
fn sts(source: &Source<'_>) -> (String, String) {
    let region = set(source, "region").map_or_else(|| region(source).unwrap_or_default(), str::to_owned);
    let region = if region.is_empty() { ANY_REGION.to_owned() } else { region };
    let url = match set(source, "sts_endpoint") {
        Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
        None => format!("https://sts.{region}.amazonaws.com{}/", if region.starts_with("cn-") { ".cn" } else { "" }),
    };
    (url, region)
}

fn granted_by_sts(xml: &str) -> Result<Credential> {
    let field = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.trim())
    };
    match (field("AccessKeyId"), field("SecretAccessKey"), field("SessionToken")) {
        (Some(id), Some(secret), token @ Some(_)) => {
            Ok(Credential { expires_at: field("Expiration").and_then(instant::parse), ..lasting(id, secret, token) })
        }
        _ => Err(Error::new(ErrorKind::Authentication, "AWS STS gave no credentials").with_body(xml)),
    }
}

async fn of_container(source: &Source<'_>, uri: String) -> Result<Credential> {
    const NEAR: [&str; 6] = ["127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
    let parsed: Option<http::Uri> = uri.parse().ok();
    let is_safe =
        parsed.is_some_and(|uri| uri.scheme_str() == Some("https") || uri.host().is_some_and(|host| NEAR.contains(&host)));
    if !is_safe {
        let message = "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https://, or an address of this machine";
        return Err(Error::new(ErrorKind::Authentication, message));
    }
    let mut headers = HeaderMap::new();
    let token = match set(source, "container_token_file") {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
            Error::new(ErrorKind::Authentication, format!("the token {file} cannot be read: {error}")).with_source(error)
        })?),
        None => set(source, "container_token").map(str::to_owned),
    };
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, header(&token)?);
    }
    let source = near(source);
    let body = tokio::time::timeout(METADATA_WAIT, source.ask(Method::GET, uri, headers, ""))
        .await
        .map_err(|_| Error::new(ErrorKind::Timeout, "the container's credentials service does not answer"))??;
    granted_by_metadata(&body)
}

/// The role of the machine, by version 2 of its metadata service: a session first, then the role's name, then its keys.
async fn of_machine(source: &Source<'_>) -> Result<Credential> {
    const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
    const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
    let endpoint = set(source, "metadata_endpoint").unwrap_or(MACHINE).trim_end_matches('/');
    let source = near(source);
    let ttl = HeaderMap::from_iter([(TTL, HeaderValue::from_static("21600"))]);
    let token = source.ask(Method::PUT, format!("{endpoint}/latest/api/token"), ttl, "").await?;
    let headers = HeaderMap::from_iter([(TOKEN, header(&token)?)]);
    let roles = format!("{endpoint}/latest/meta-data/iam/security-credentials/");
    let role = source.ask(Method::GET, roles.clone(), headers.clone(), "").await?;
    let role = role.lines().next().unwrap_or_default().trim();
    granted_by_metadata(&source.ask(Method::GET, format!("{roles}{role}"), headers, "").await?)
}

/// Asks nearby only: what does not connect at once is not there.
fn near<'a>(source: &Source<'a>) -> Source<'a> {
    let connect_timeout = Some(source.connect_timeout.unwrap_or(METADATA_CONNECT).min(METADATA_CONNECT));
    Source { connect_timeout, ..*source }
}

fn granted_by_metadata(body: &str) -> Result<Credential> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Grant {
        access_key_id: String,
        secret_access_key: String,
        token: Option<String>,
        expiration: Option<String>,
    }
    let grant: Grant = serde_json::from_str(body)
        .map_err(|error| Error::new(ErrorKind::Authentication, "the metadata service gave no credentials").with_source(error))?;
    Ok(Credential {
        secret: Secret::Aws {
            access_key_id: grant.access_key_id,
            secret_access_key: grant.secret_access_key.into(),
            session_token: grant.token.map(SecretString::from),
        },
        expires_at: grant.expiration.as_deref().and_then(instant::parse),
    })
}

fn header(token: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(token.trim())
        .map_err(|_| Error::new(ErrorKind::Authentication, "a token for AWS credentials is no header's value"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn none_found(why: &str) -> Error {
    let message = format!(
        "no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or a Bedrock key as AWS_BEARER_TOKEN_BEDROCK ({why})"
    );
    Error::new(ErrorKind::Authentication, message)
}

/// The profiles of both of AWS's files.
#[derive(Debug, Default)]
struct Profiles(HashMap<String, Profile>);

#[derive(Debug, Default)]
struct Profile(HashMap<String, String>);

impl Profile {
    fn holds_credentials(&self) -> bool {
        ["aws_access_key_id", "role_arn", "credential_process", "sso_session", "sso_start_url"]
            .iter()
            .any(|field| self.0.contains_key(*field))
    }
}

impl Profiles {
    fn read(source: &Source<'_>) -> Self {
        let home =
            std::env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(|home| PathBuf::from(home).join(".aws"));
        let text = |setting: &str, name: &str| {
            let path = set(source, setting).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(name)));
            path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
        };
        let mut profiles = Self::default();
        profiles.add(&text("config_file", "config"));
        profiles.add(&text("credentials_file", "credentials"));
        profiles
    }

    /// Adds what a file says; it wins over what is there.
    fn add(&mut self, text: &str) {
        let mut name = None;
        for line in text.lines() {
            let is_nested = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(section) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
                // The configuration writes `[profile name]`, and keeps other things beside.
                let section = section.trim();
                let profile = section.strip_prefix("profile ").map_or(section, str::trim);
                name = (!section.starts_with("sso-session ") && !section.starts_with("services ")).then(|| profile.to_owned());
                if let Some(name) = &name {
                    self.0.entry(name.clone()).or_default();
                }
            } else if let (Some(name), Some((field, value)), false) = (&name, line.split_once('='), is_nested) {
                let fields = &mut self.0.entry(name.clone()).or_default().0;
                fields.insert(field.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
    }

    fn get(&self, name: &str) -> Option<&Profile> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_profiles_region_fills_the_address_and_the_signature() {
        use crate::auth::{Auth, Credentials, REGION};
        use crate::providers::Target;

        let file = std::env::temp_dir().join(format!("literllm-region-{}", std::process::id()));
        std::fs::write(&file, "[default]\nregion = ap-south-1\n").expect("a temporary file");
        let settings = [
            ("access_key_id", "AKIDEXAMPLE"),
            ("secret_access_key", "secret"),
            ("session_token", ""),
            ("profile", ""),
            ("credentials_file", "/nowhere"),
            ("config_file", file.to_str().expect("its name is text")),
        ];
        let target = Target {
            host: crate::providers::find("bedrock").expect("it is in the table").clone(),
            model: "m".into(),
            base_url: String::new(),
            key: None,
            is_default_url: true,
            has_tokens: false,
            settings: settings.into_iter().map(|(name, value)| (name, value.to_owned().into())).collect(),
        };
        let transport = crate::transport::Transport::new(crate::config::NetworkOptions::default());
        let source = Source { target: &target, transport: &transport, connect_timeout: None, token_provider: None };
        let auth = Auth::Aws { region: String::new(), service: "bedrock" };
        let url = format!("https://bedrock-runtime.{REGION}.amazonaws.com/model/m/converse");
        let mut outgoing = Outgoing { url, headers: HeaderMap::new(), body: "{}".into(), auth };
        let authorised = Credentials::default().authorise(&mut outgoing, &source).await;
        std::fs::remove_file(&file).expect("the file is there");
        authorised.expect("there are keys");
        assert_eq!(outgoing.url, "https://bedrock-runtime.ap-south-1.amazonaws.com/model/m/converse");
        let authorization = outgoing.headers[AUTHORIZATION].to_str().expect("text");
        assert!(authorization.contains("/ap-south-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, "), "{authorization}");
    }

    #[test]
    fn profiles_are_read_from_both_files() {
        let mut profiles = Profiles::default();
        profiles.add("[default]\nregion = eu-west-1\n[profile work]\nrole_arn=arn:x\nsource_profile = default\ns3 =\n  region = no\n[sso-session a]\nregion=no\n");
        profiles.add("# comment\n[default]\naws_access_key_id=AKIA1\naws_secret_access_key = a/b=\n");
        let field = |profile: &str, name: &str| profiles.get(profile).and_then(|profile| profile.0.get(name)).cloned();
        assert_eq!(field("default", "region").as_deref(), Some("eu-west-1"));
        assert_eq!(field("default", "aws_secret_access_key").as_deref(), Some("a/b="));
        assert_eq!(field("work", "role_arn").as_deref(), Some("arn:x"));
        assert_eq!(field("work", "region"), None);
        assert!(profiles.get("a").is_none() && profiles.get("sso-session a").is_none());
    }
}
