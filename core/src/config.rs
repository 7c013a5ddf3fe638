//! What a client and a call can be told. The same names, as JSON, configure every language's client.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use tokio::time::Instant;

use crate::auth::TokenProvider;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{HookCall, relay_tokens};
use crate::providers::catalog::Host;
use crate::transport::{seconds, without_login};

/// Longer ones are as good as this, and no clock overflows by it: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Options that every language can set: with the feature `uniffi`, each crosses to Kotlin and Swift and need not be given there.
macro_rules! options {
    ($(#[$meta:meta])* pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty ),* $(,)? }) => {
        $(#[$meta])*
        #[cfg_attr(feature = "uniffi", derive(uniffi::Record))]
        pub struct $name {
            $( $(#[$field_meta])* #[cfg_attr(feature = "uniffi", uniffi(default))] pub $field: $ty, )*
        }
    };
}

options! {
    /// A client's configuration. Every field has a default; in JSON, durations are seconds, and `null` or 0 switches a deadline off.
    #[derive(Clone, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct ClientConfig {
        /// The key of `provider`, or else of the first request's provider. It is never sent to another.
        #[serde(deserialize_with = "optional_secret")]
        pub api_key: Option<SecretString>,
        /// The base URL of the same provider.
        pub base_url: Option<String>,
        /// The provider that `api_key` and `base_url` belong to, and that a model without a prefix is asked of.
        pub provider: Option<String>,
        /// Keys by provider.
        #[serde(deserialize_with = "secrets")]
        pub api_keys: HashMap<String, SecretString>,
        /// Base URLs by provider.
        pub base_urls: HashMap<String, String>,
        /// What providers need to be told beside key and address, by provider and name: `{"vertex_ai": {"project": "…"}}`.
        #[serde(deserialize_with = "settings")]
        pub settings: HashMap<String, HashMap<String, SecretString>>,
        /// A program's own sources of tokens, by provider, for whom there is no key in the configuration. In JSON a list of names: where the client is made, the program says who is asked.
        #[serde(deserialize_with = "named")]
        pub token_providers: HashMap<String, TokenProvider>,
        /// Several keys of a provider, used in turn; one that is refused or limited rests while the others serve.
        #[serde(deserialize_with = "key_pools")]
        pub key_pools: HashMap<String, Vec<SecretString>>,
        /// What may be asked of providers and models; calls wait their turn.
        pub limits: Vec<Limit>,
        /// Keeps answers in memory for requests that are exactly the same. Off unless set.
        pub cache: Option<CacheOptions>,
        /// In a list of models: how long the first one may be silent before the second is asked beside it; the first to speak is
        /// heard, and the other is left. Off unless set.
        #[serde(deserialize_with = "duration")]
        pub hedge_after: Option<Duration>,
        /// One event for each call in the engine's log, with its model, tokens, cost, seconds and ending.
        pub log_calls: bool,
        /// OpenAI-compatible hosts beside those of the catalogue.
        pub hosts: Vec<Host>,
        /// Headers sent with every request.
        pub headers: HashMap<String, String>,
        #[serde(flatten)]
        pub timeouts: Timeouts,
        #[serde(flatten)]
        pub retries: Retries,
        #[serde(flatten)]
        pub network: NetworkOptions,
        /// Leave out what a provider cannot do, rather than refuse the request.
        pub drop_unsupported: bool,
        /// How answers that break off are gone on with, where `model` is a list: `auto` unless set (see the request's field).
        pub stream_fallback_mode: Option<String>,
        /// How long a model of a list that failed is asked last, for the whole process, where its provider does not say. 10 s unless set.
        #[serde(deserialize_with = "duration")]
        pub cooldown: Option<Duration>,
        /// The largest event or answer that is buffered, in bytes. 16 MiB unless set.
        pub max_event_bytes: Option<usize>,
        /// Put prompts and answers into traces.
        pub trace_content: bool,
    }
}

options! {
    /// What may be asked of a provider, or of one of its models. Each count is without limit unless set.
    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Limit {
        pub provider: String,
        /// As the provider names it. Unset: all of them together.
        #[serde(default)]
        pub model: Option<String>,
        /// In any minute.
        #[serde(default)]
        pub requests_per_minute: Option<u64>,
        /// In any minute, prompts and answers together: estimated before, corrected by the provider's count after.
        #[serde(default)]
        pub tokens_per_minute: Option<u64>,
        /// At the same time.
        #[serde(default)]
        pub concurrency: Option<usize>,
    }
}

options! {
    /// How many answers are kept, and how long.
    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct CacheOptions {
        /// 1,000 unless set.
        pub max_entries: Option<usize>,
        /// Five minutes unless set; 0 is without end.
        #[serde(deserialize_with = "duration")]
        pub ttl: Option<Duration>,
    }
}

options! {
    /// The deadlines. An unset one has its default; `Some(Duration::ZERO)` switches it off.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
    #[serde(default)]
    pub struct Timeouts {
        /// Until the connection takes the request. 10 s unless set.
        #[serde(deserialize_with = "duration")]
        pub connect_timeout: Option<Duration>,
        /// From the request to the first token; a ping or an empty role chunk is none. 10 minutes unless set.
        #[serde(deserialize_with = "duration")]
        pub first_token_timeout: Option<Duration>,
        /// Between chunks. 5 minutes unless set.
        #[serde(deserialize_with = "duration")]
        pub idle_timeout: Option<Duration>,
        /// For the whole call, retries included. Off unless set.
        #[serde(deserialize_with = "duration")]
        pub timeout: Option<Duration>,
    }
}

options! {
    /// How often and how soon a failed call is tried again before its first chunk.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
    #[serde(default)]
    pub struct Retries {
        /// 2 unless set.
        pub max_retries: Option<u32>,
        /// The first wait, doubled each time and varied by chance. Half a second unless set.
        #[serde(deserialize_with = "duration")]
        pub retry_base_delay: Option<Duration>,
        /// The longest wait; a provider that asks for a longer one is not waited for. 60 s unless set.
        #[serde(deserialize_with = "duration")]
        pub retry_max_delay: Option<Duration>,
    }
}

options! {
    /// How the network is reached.
    #[derive(Clone, Default, Deserialize)]
    #[serde(default)]
    pub struct NetworkOptions {
        /// A proxy for everything; an empty one for none. Unset: as the environment says.
        pub proxy: Option<String>,
        /// Certificates to trust beside the system's, in PEM form.
        pub root_certificates: Vec<String>,
        pub client_certificate: Option<ClientCertificate>,
        pub user_agent: Option<String>,
        pub http1_only: bool,
        /// HTTP/2 without negotiation, also over plain `http`.
        pub http2_only: bool,
        /// How many streams an HTTP/2 connection carries before another is opened. 8 unless set.
        pub streams_per_connection: Option<usize>,
    }
}

options! {
    /// A certificate that this client shows, with its chain and key, in PEM form.
    #[derive(Clone, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ClientCertificate {
        pub certificates: String,
        pub private_key: String,
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate { .. }")
    }
}

options! {
    /// What one call may set otherwise than its client.
    #[derive(Clone, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct RequestOptions {
        pub headers: HashMap<String, String>,
        #[serde(flatten)]
        pub timeouts: Timeouts,
        #[serde(flatten)]
        pub retries: Retries,
        pub drop_unsupported: Option<bool>,
        /// Chooses the order of a list of models by chance, each weighing as much; unset: the order of the list.
        pub model_weights: Vec<f64>,
        /// The same key has the same order each time (a user or a conversation, say).
        pub sticky_key: Option<String>,
    }
}

/// Without keys, logins and the values of headers.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base_urls: HashMap<_, _> = self.base_urls.iter().map(|(name, url)| (name, without_login(url))).collect();
        f.debug_struct("ClientConfig")
            .field("provider", &self.provider)
            .field("base_url", &self.base_url.as_deref().map(without_login))
            .field("base_urls", &base_urls)
            .field("headers", &self.headers.keys())
            .field("timeouts", &self.timeouts)
            .field("retries", &self.retries)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

/// Without the proxy's login, and without certificates.
impl fmt::Debug for NetworkOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkOptions")
            .field("proxy", &self.proxy.as_deref().map(without_login))
            .field("user_agent", &self.user_agent)
            .field("http1_only", &self.http1_only)
            .field("http2_only", &self.http2_only)
            .field("streams_per_connection", &self.streams_per_connection)
            .finish_non_exhaustive()
    }
}

/// Without the values of headers.
impl fmt::Debug for RequestOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestOptions")
            .field("headers", &self.headers.keys())
            .field("timeouts", &self.timeouts)
            .field("retries", &self.retries)
            .field("drop_unsupported", &self.drop_unsupported)
            .field("model_weights", &self.model_weights)
            .field("sticky_key", &self.sticky_key)
            .finish()
    }
}

impl ClientConfig {
    /// Reads a configuration from JSON, as every language hands it over.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest, format!("the client's configuration is wrong: {error}")).with_source(error)
        })
    }

    /// Has the tokens of all that [`Self::token_providers`] names asked for over `send`, as [`relay_tokens`] does.
    pub fn relay_tokens(&mut self, send: impl Fn(HookCall) + Send + Sync + 'static) {
        let send = Arc::new(send);
        for (name, provider) in &mut self.token_providers {
            let send = Arc::clone(&send);
            *provider = relay_tokens(name, move |call| send(call));
        }
    }

    pub(crate) fn event_cap(&self) -> usize {
        const DEFAULT: usize = 16 * 1024 * 1024;
        self.max_event_bytes.unwrap_or(DEFAULT)
    }
}

impl RequestOptions {
    /// Reads a call's options from JSON.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest, format!("the call's options are wrong: {error}")).with_source(error)
        })
    }
}

/// The deadlines in force for a call; `None` is no deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub connect: Option<Duration>,
    pub first_token: Option<Duration>,
    pub idle: Option<Duration>,
    pub total: Option<Duration>,
}

impl Deadlines {
    pub(crate) fn of(call: &Timeouts, client: &Timeouts) -> Self {
        let choose = |call: Option<Duration>, client: Option<Duration>, default: u64| {
            Some(call.or(client).unwrap_or(Duration::from_secs(default)).min(LONGEST)).filter(|limit| !limit.is_zero())
        };
        Self {
            connect: choose(call.connect_timeout, client.connect_timeout, 10),
            first_token: choose(call.first_token_timeout, client.first_token_timeout, 600),
            idle: choose(call.idle_timeout, client.idle_timeout, 300),
            total: choose(call.timeout, client.timeout, 0),
        }
    }
}

/// One of the deadlines that run while an answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    FirstToken,
    Idle,
    Total,
}

impl Deadline {
    /// The error of one that has passed.
    pub(crate) fn passed(self, limit: Duration) -> Error {
        let late = |what, option| Error::new(ErrorKind::Timeout, format!("{what} within {} ({option})", seconds(limit)));
        match self {
            Self::FirstToken => late("no first token", "first_token_timeout"),
            Self::Idle => late("no further chunk", "idle_timeout"),
            Self::Total => late("the call was not over", "timeout").of_call_that_is_over(),
        }
    }
}

impl Deadlines {
    /// Bounds a wait by the total deadline of a call that began at `started`; `what` says what was waited for.
    pub(crate) async fn within_total<T>(&self, started: Instant, what: &str, wait: impl Future<Output = T>) -> Result<T> {
        let Some(limit) = self.total else { return Ok(wait.await) };
        tokio::time::timeout_at(started + limit, wait).await.map_err(|_| {
            let message = format!("the call was not over within {}: {what} (timeout)", seconds(limit));
            Error::new(ErrorKind::Timeout, message).of_call_that_is_over()
        })
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Duration>, D::Error> {
    // `null` is said on purpose: the deadline is off.
    let seconds = Option::<f64>::deserialize(deserializer)?.unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds)
        .map(|duration| Some(duration.min(LONGEST)))
        .map_err(|_| serde::de::Error::custom("a duration is a number of seconds, 0 or more"))
}

fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<HashMap<String, SecretString>, D::Error> {
    Ok(HashMap::<String, String>::deserialize(deserializer)?.into_iter().map(|(name, key)| (name, key.into())).collect())
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<HashMap<String, TokenProvider>, D::Error> {
    Ok(Vec::<String>::deserialize(deserializer)?.into_iter().map(|name| (name, TokenProvider::unknown())).collect())
}

fn key_pools<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<HashMap<String, Vec<SecretString>>, D::Error> {
    let secret = |keys: Vec<String>| keys.into_iter().map(SecretString::from).collect();
    Ok(HashMap::<String, Vec<String>>::deserialize(deserializer)?.into_iter().map(|(name, keys)| (name, secret(keys))).collect())
}

fn settings<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<HashMap<String, HashMap<String, SecretString>>, D::Error> {
    let settings = HashMap::<String, HashMap<String, String>>::deserialize(deserializer)?;
    let secret = |values: HashMap<String, String>| values.into_iter().map(|(name, value)| (name, value.into())).collect();
    Ok(settings.into_iter().map(|(provider, values)| (provider, secret(values))).collect())
}
