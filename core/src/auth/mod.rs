//! What authorises a request where a fixed header does not: tokens and signatures that are fetched, kept and renewed.
//!
//! Providers stay pure: an [`Outgoing`] says by [`Auth`] what it needs, and the client has it put on just before sending. Each client keeps
//! one credential a provider. It is renewed before it ends, by one call at a time, while the others go on with the one at hand.

mod aws;
mod entra;
pub(crate) mod google;
mod instant;
mod sigv4;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::error::{Error, ErrorKind, Result};
use crate::providers::{Outgoing, Target, failure, key_header, percent_encoded};
use crate::transport::Transport;
use crate::types::Str;

/// A credential with less life left than this is renewed. Google's metadata server has no newer one until four minutes before the end.
const RENEWAL: Duration = Duration::from_secs(180);
/// A credential with less life left than this is not sent.
const USABLE: Duration = Duration::from_secs(10);

/// Stands in an address for the Google project that its credentials belong to.
pub(crate) const PROJECT: &str = "{project}";

/// What stands in an address for the region that only a profile knows.
pub(crate) const REGION: &str = "{region}";

/// What authorises a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Its headers, or nothing.
    Ready,
    /// A SigV4 signature by AWS credentials. An empty region is the profile's, and is put for `{region}` into the address.
    Aws { region: String, service: &'static str },
    /// A Google access token.
    Google,
    /// A token of Microsoft's Entra ID.
    Entra,
    /// A token that the program gives.
    Own,
}

/// What a [`TokenProvider`] gives.
#[derive(Debug, Clone)]
pub struct Credential {
    pub secret: Secret,
    /// Unset: it is asked for again with every request.
    pub expires_at: Option<SystemTime>,
}

#[derive(Debug, Clone)]
pub enum Secret {
    /// Sent as `Authorization: Bearer …`.
    Bearer(SecretString),
    /// Signs requests to AWS.
    Aws { access_key_id: String, secret_access_key: SecretString, session_token: Option<SecretString> },
}

impl Credential {
    pub fn bearer(token: impl Into<SecretString>, expires_at: Option<SystemTime>) -> Self {
        Self { secret: Secret::Bearer(token.into()), expires_at }
    }
}

type Given = Pin<Box<dyn Future<Output = Result<Credential>> + Send>>;

/// A program's own source of credentials: called when the client has none, or the one it has is about to end.
#[derive(Clone)]
pub struct TokenProvider(Arc<dyn Fn() -> Given + Send + Sync>);

impl TokenProvider {
    pub fn new<F: Future<Output = Result<Credential>> + Send + 'static>(give: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::pin(give())))
    }

    /// The one of a provider that a configuration only names.
    pub(crate) fn unknown() -> Self {
        Self::new(|| async {
            let message = "`token_providers` names this provider, and the client was made without anyone to ask for its tokens";
            Err(Error::new(ErrorKind::Authentication, message))
        })
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenProvider")
    }
}

/// Where a credential may come from, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub target: &'a Target,
    pub transport: &'a Transport,
    pub connect_timeout: Option<Duration>,
    pub token_provider: Option<&'a TokenProvider>,
}

/// A client's credentials, by provider.
#[derive(Debug, Default)]
pub(crate) struct Credentials(Mutex<HashMap<Str, Arc<Slot>>>);

#[derive(Debug, Default)]
struct Slot {
    held: Mutex<Option<Held>>,
    /// Taken by the one call that fetches a new one.
    flight: tokio::sync::Mutex<()>,
    /// The Google project that the credentials belong to.
    project: OnceCell<String>,
}

#[derive(Debug, Clone)]
struct Held {
    credential: Credential,
    fetched: Instant,
    renew_at: Option<SystemTime>,
}

impl Held {
    fn new(credential: Credential) -> Self {
        let now = SystemTime::now();
        let renew_at = credential.expires_at.map(|end| {
            let life = end.duration_since(now).unwrap_or_default();
            end - RENEWAL.min(life / 2)
        });
        Self { credential, fetched: Instant::now(), renew_at }
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.renew_at.is_some_and(|at| now < at) && self.is_usable(now)
    }

    fn is_usable(&self, now: SystemTime) -> bool {
        self.credential.expires_at.is_some_and(|end| now + USABLE < end)
    }
}

impl Credentials {
    /// Puts on a request what it needs. A caller's own `Authorization` header is left as it is.
    pub(crate) async fn authorise(&self, outgoing: &mut Outgoing, source: &Source<'_>) -> Result<()> {
        if outgoing.auth == Auth::Ready || outgoing.headers.contains_key(AUTHORIZATION) {
            return Ok(());
        }
        if source.needs_none(&outgoing.auth) {
            return Ok(());
        }
        let mut auth = outgoing.auth.clone();
        if let Auth::Aws { region, .. } = &mut auth {
            if region.is_empty() {
                *region = aws::region(source)?;
            }
            outgoing.url = outgoing.url.replace(REGION, region);
        }
        if outgoing.url.contains(PROJECT) {
            let slot = self.slot(&source.target.host.name);
            let project = slot.project.get_or_try_init(|| google::project(source)).await?;
            outgoing.url = outgoing.url.replace(PROJECT, &percent_encoded(project));
        }
        let credential = self.credential(&auth, source).await?;
        match (auth, &credential.secret) {
            (_, Secret::Bearer(token)) => key_header(&mut outgoing.headers, AUTHORIZATION, "Bearer ", token),
            (Auth::Aws { region, service }, Secret::Aws { .. }) => {
                aws::sign(outgoing, &credential.secret, &region, service, SystemTime::now())
            }
            (_, Secret::Aws { .. }) => {
                Err(Error::new(ErrorKind::Authentication, "the token provider gave AWS credentials where a token is needed"))
            }
        }
    }

    /// Forgets a credential that the provider refused.
    pub(crate) fn forget(&self, provider: &Str) {
        *self.slot(provider).held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn credential(&self, auth: &Auth, source: &Source<'_>) -> Result<Credential> {
        let slot = self.slot(&source.target.host.name);
        let (asked, now) = (Instant::now(), SystemTime::now());
        let held = slot.held();
        if let Some(held) = held.as_ref().filter(|held| held.is_fresh(now)) {
            return Ok(held.credential.clone());
        }
        if let Some(held) = held.filter(|held| held.is_usable(now)) {
            // Another call renews it already, or this one does; if that fails, there is another chance before it ends.
            let Ok(_flight) = slot.flight.try_lock() else { return Ok(held.credential) };
            return Ok(slot.fetch(auth, source).await.unwrap_or(held.credential));
        }
        let _flight = slot.flight.lock().await;
        match slot.held().filter(|held| held.fetched > asked) {
            Some(held) => Ok(held.credential),
            None => slot.fetch(auth, source).await,
        }
    }

    fn slot(&self, provider: &Str) -> Arc<Slot> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(provider.clone()).or_default())
    }
}

impl Slot {
    fn held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetch(&self, auth: &Auth, source: &Source<'_>) -> Result<Credential> {
        let credential = match (source.token_provider, auth) {
            (Some(TokenProvider(give)), _) => give().await?,
            (None, Auth::Aws { .. }) => aws::credential(source).await?,
            (None, Auth::Google) => google::credential(source).await?,
            (None, Auth::Entra) => entra::credential(source).await?,
            (None, Auth::Ready | Auth::Own) => unreachable!("it needs no credential, or one that the program gives"),
        };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Held::new(credential.clone()));
        Ok(credential)
    }
}

impl Source<'_> {
    /// A server of this machine that nobody gave credentials for wants none.
    fn needs_none(&self, auth: &Auth) -> bool {
        let is_set = match auth {
            Auth::Google => google::is_set(self.target),
            Auth::Entra => entra::is_set(self.target),
            Auth::Aws { .. } | Auth::Own | Auth::Ready => true,
        };
        !is_set && self.token_provider.is_none() && self.target.is_loopback()
    }

    /// Asks a token endpoint or a metadata server. An answer that is no success is an error of kind `authentication`.
    async fn ask(&self, method: Method, url: String, headers: HeaderMap, body: impl Into<Bytes>) -> Result<String> {
        const CAP: usize = 1024 * 1024;
        let request = Outgoing { url, headers, body: body.into(), auth: Auth::Ready };
        let answer = self.transport.send(method, &request.url, &request, self.connect_timeout).await?;
        let (status, headers) = (answer.status.as_u16(), answer.headers.clone());
        let body = String::from_utf8_lossy(&answer.body.read(CAP).await?).into_owned();
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let failure = failure::from_answer(status, &headers, &body);
        let host = request.url.split('/').nth(2).unwrap_or_default().to_owned();
        let message = format!("{host} gave no credentials: {}", failure.message());
        let kind = if failure.is_retryable() { failure.kind() } else { ErrorKind::Authentication };
        Err(Error::new(kind, message).with_status(status).with_body(&body).with_retryable(failure.is_retryable()))
    }
}

/// The answer of an OAuth token endpoint.
#[derive(Deserialize)]
struct Grant {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

fn granted(body: &str) -> Result<Credential> {
    let grant: Grant = serde_json::from_str(body)
        .map_err(|error| Error::new(ErrorKind::Authentication, "the token endpoint gave no token").with_source(error))?;
    let expires_at = grant.expires_in.map(|seconds| SystemTime::now() + Duration::from_secs(seconds));
    Ok(Credential::bearer(grant.access_token, expires_at))
}

/// An `application/x-www-form-urlencoded` body.
fn form(fields: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", percent_encoded(value));
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn form_header() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_renewed_well_before_its_end() {
        let begun = SystemTime::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let held = Held::new(Credential::bearer("t", Some(after(3600))));
        assert!(held.is_fresh(after(3400)));
        assert!(!held.is_fresh(after(3430)) && held.is_usable(after(3430)));
        assert!(!held.is_usable(after(3595)));
        // One with a short life is renewed half way.
        let held = Held::new(Credential::bearer("t", Some(after(100))));
        assert!(held.is_fresh(after(45)) && !held.is_fresh(after(55)));
        let held = Held::new(Credential::bearer("t", None));
        assert!(!held.is_fresh(begun) && !held.is_usable(begun));
    }
}
