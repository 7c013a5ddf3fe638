//! The client: finds a model's provider, its address and key, sends, retries, and hands out the answer.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tracing::Instrument;

use crate::auth::{Auth, Credentials, Source};
use crate::config::{ClientConfig, Deadlines, RequestOptions};
use crate::decode::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::catalog::{self, Host};
use crate::providers::{self, Call, Outgoing, Provider, Target, failure};
use crate::resilience::course::{Course, mark_prefill};
use crate::resilience::plan::Task;
use crate::resilience::retry::RetryPolicy;
use crate::stream::{ChatStream, Clock, Emitter, Meta};
use crate::telemetry::CallSpan;
use crate::transport::{Answer, Transport, seconds};
use crate::types::{ChatCompletion, ChatCompletionRequest, Str};

/// How much of an error's body is read.
const ERROR_BODY: usize = 1024 * 1024;

/// Talks to every provider. Clones share one pool of connections, and no call waits for another.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: ClientConfig,
    transport: Transport,
    headers: HeaderMap,
    credentials: Credentials,
    /// The provider that the bare key and base URL belong to.
    owner: OnceLock<Str>,
    /// What was found of the models asked so far.
    routes: Mutex<HashMap<String, Route>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// One call of one model.
#[derive(Clone, Copy)]
pub(crate) struct Errand<'a> {
    pub request: &'a ChatCompletionRequest,
    /// `provider/model`, whatever the request says.
    pub model: &'a str,
    pub options: &'a RequestOptions,
    pub span: &'a CallSpan,
    pub stream: bool,
    /// When the whole call began.
    pub started: Instant,
}

/// Where a model is asked: its provider's dialect, and the target.
#[derive(Clone)]
struct Route {
    provider: &'static dyn Provider,
    target: Arc<Target>,
}

impl Client {
    pub fn new(config: ClientConfig) -> Result<Self> {
        let headers = header_map(&config.headers)?;
        for base_url in config.base_url.iter().chain(config.base_urls.values()) {
            check_base_url(base_url)?;
        }
        check_settings(&config)?;
        let owner = OnceLock::new();
        if let Some(provider) = &config.provider {
            let name = find_host(&config, provider)
                .map(|host| host.name.clone())
                .or_else(|| config.base_url.is_some().then(|| provider.as_str().into()))
                .ok_or_else(|| unknown_provider(provider))?;
            owner.get_or_init(|| name);
        }
        let transport = Transport::new(config.network.clone());
        Ok(Self(Arc::new(Inner {
            config,
            transport,
            headers,
            credentials: Credentials::default(),
            owner,
            routes: Mutex::default(),
        })))
    }

    /// A client with the default configuration: keys and base URLs come from the usual variables.
    pub fn from_env() -> Result<Self> {
        Self::new(ClientConfig::default())
    }

    /// Asks for a whole answer.
    pub async fn chat(&self, request: impl Borrow<ChatCompletionRequest>) -> Result<ChatCompletion> {
        self.chat_with(request, &RequestOptions::default()).await
    }

    /// As [`Self::chat`], with options of this call's own.
    pub async fn chat_with(
        &self,
        request: impl Borrow<ChatCompletionRequest>,
        options: &RequestOptions,
    ) -> Result<ChatCompletion> {
        let request = request.borrow();
        if request.model.is_list() {
            // What a list promises is kept by its stream.
            return self.chat_stream_with(request, options).await?.finish().await;
        }
        let span = CallSpan::new(request, false, self.0.config.trace_content);
        let errand =
            Errand { request, model: request.model.first(), options, span: &span, stream: false, started: Instant::now() };
        let result = Box::pin(self.retried(&errand, Attempt::whole).instrument(span.span().clone())).await;
        match &result {
            Ok(answer) => span.end(answer, None),
            Err(error) => span.end(&ChatCompletion::default(), Some(error)),
        }
        result
    }

    /// Asks for a stream. An error before the first chunk is returned here, a later one by the stream.
    pub async fn chat_stream(&self, request: impl Borrow<ChatCompletionRequest>) -> Result<ChatStream> {
        self.chat_stream_with(request, &RequestOptions::default()).await
    }

    /// As [`Self::chat_stream`], with options of this call's own.
    pub async fn chat_stream_with(
        &self,
        request: impl Borrow<ChatCompletionRequest>,
        options: &RequestOptions,
    ) -> Result<ChatStream> {
        let request = request.borrow();
        let span = CallSpan::new(request, true, self.0.config.trace_content);
        let errand =
            Errand { request, model: request.model.first(), options, span: &span, stream: true, started: Instant::now() };
        // A list's way is long, and rarely gone: it is kept off the stack of those who ask one model.
        let result =
            if request.model.is_list() { Box::pin(self.course(&errand)).await } else { Box::pin(self.stream(&errand)).await };
        if let Err(error) = &result {
            span.end(&ChatCompletion::default(), Some(error));
        }
        result
    }

    /// Goes through a list of models until one answers; the stream goes on through it when that one fails.
    async fn course(&self, errand: &Errand<'_>) -> Result<ChatStream> {
        check_request(errand.request)?;
        if let Ok((host, _)) = self.host_of(errand.model) {
            self.0.owner.get_or_init(|| host.name.clone());
        }
        let course = Box::new(Course::new(self.clone(), errand.request, errand.options, errand.span.clone())?);
        let (course, leg) = course.go_on(Task::Fresh, None, None).await;
        let leg = leg?;
        Ok(leg.stream.with_course(course, leg.event))
    }

    /// One model's stream.
    pub(crate) async fn stream(&self, errand: &Errand<'_>) -> Result<ChatStream> {
        self.retried(errand, Attempt::stream).instrument(errand.span.span().clone()).await
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// A name for a model at its address, the same for every client of the process.
    pub(crate) fn route_name(&self, model: &str) -> String {
        match self.route(model) {
            Ok(route) => format!("{}/{} at {}", route.target.host.name, route.target.model, route.target.base_url),
            Err(_) => model.to_owned(),
        }
    }

    /// Whether a model goes on from the beginning of its own message.
    pub(crate) fn takes_prefill(&self, model: &str) -> bool {
        self.host_of(model).is_ok_and(|(host, model)| {
            let by_model = providers::models::find(&host.name, &model).is_some_and(|row| row.prefill);
            by_model || host.quirks.prefill && host.quirks.prefill_base_url.is_none()
        })
    }

    pub(crate) fn mark_prefill(&self, model: &str, request: &mut ChatCompletionRequest) {
        if let Ok((host, _)) = self.host_of(model) {
            mark_prefill(request, host.quirks.prefill_mark.as_deref(), &host.quirks.prefill_fields);
        }
    }

    /// Makes attempts until one succeeds, the policy gives up, or the total deadline passes.
    async fn retried<T, F>(&self, errand: &Errand<'_>, attempt: impl Fn(Attempt) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let Errand { request, model, options, span, stream, started } = *errand;
        check_request(request)?;
        let config = &self.0.config;
        let deadlines = Deadlines::of(&options.timeouts, &config.timeouts);
        let policy = RetryPolicy::of(&options.retries, &config.retries);
        let headers = header_map(&options.headers)?;
        let mut route = self.route(model)?;
        span.provider(&route.target.host.name);
        let mut failures = 0;
        loop {
            span.attempt(failures + 1);
            let call = Call {
                request,
                target: &route.target,
                stream,
                drop_unsupported: options.drop_unsupported.unwrap_or(config.drop_unsupported),
            };
            let meta = Meta::of(&route.target);
            let mut outgoing = route.provider.request(&call).map_err(|error| meta.describe(error))?;
            outgoing.headers.extend(self.0.headers.clone());
            outgoing.headers.extend(headers.clone());
            // A compressing proxy would hold chunks back.
            outgoing.headers.entry(http::header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
            let sent = Instant::now();
            let decoder = Decoder::new(route.provider.framing(), config.event_cap());
            let wants_usage = request.wants_usage();
            let result = attempt(Attempt {
                client: self.clone(),
                provider: route.provider,
                outgoing,
                decoder,
                translator: route.provider.translator(&call),
                emitter: Emitter::new(route.target.model.clone(), request.n.unwrap_or(1), wants_usage),
                deadlines,
                started,
                sent,
                meta: meta.clone(),
                target: Arc::clone(&route.target),
                request: (!stream).then(|| request.clone()),
                span: span.clone(),
            })
            .await;
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => meta.describe(error),
            };
            if refuses_stream_options(&error) && !wants_usage && !route.target.host.quirks.no_stream_options {
                Arc::make_mut(&mut route.target).host.quirks.no_stream_options = true;
                continue;
            }
            failures += 1;
            let Some(wait) = policy.wait(&error, failures, chance()) else { return Err(error) };
            if deadlines.total.is_some_and(|total| started.elapsed() + wait >= total) {
                return Err(error);
            }
            span.retry(&error, wait);
            tokio::time::sleep(wait).await;
        }
    }

    /// Finds the provider of a model, its address and its key, and remembers them: variables count as they stood when a model was first
    /// asked.
    fn route(&self, model: &str) -> Result<Route> {
        const MOST: usize = 256;
        let routes = || self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes().get(model) {
            return Ok(route.clone());
        }
        let route = self.find_route(model)?;
        let mut routes = routes();
        if routes.len() >= MOST {
            routes.clear();
        }
        routes.insert(model.to_owned(), route.clone());
        Ok(route)
    }

    fn find_route(&self, model: &str) -> Result<Route> {
        let config = &self.0.config;
        let (host, model) = self.host_of(model)?;
        let owner = self.0.owner.get_or_init(|| host.name.clone());
        let is_owner = *owner == host.name;
        let provider = providers::dialect(&host.name).unwrap_or_else(providers::openai_dialect);
        let names = || host.names();

        let given_url = names()
            .find_map(|name| config.base_urls.get(&**name))
            .or(config.base_url.as_ref().filter(|_| is_owner))
            .cloned()
            .or_else(|| variable(&host.base_url_vars).map(|url| with_scheme(url, host.local)));
        let is_default_url = given_url.is_none();
        let base_url = match given_url {
            Some(url) => check_base_url(&url)?,
            None => fill_in(&host)?,
        };

        let given_key = names()
            .find_map(|name| config.api_keys.get(&**name))
            .or(config.api_key.as_ref().filter(|_| is_owner))
            .filter(|key| !key.expose_secret().trim().is_empty())
            .cloned();
        let key = given_key.or_else(|| variable(&host.key_vars).map(SecretString::from));
        let needs_key = is_default_url && !host.local && !host.key_vars.is_empty() && !provider.takes_credentials();
        match &key {
            Some(key) if is_default_url => check_owner(key, &host)?,
            None if needs_key => return Err(missing_key(&host, &model)),
            _ => {}
        }
        let settings = providers::settings(&host.name)
            .iter()
            .filter_map(|(name, variables)| {
                let given = names().find_map(|provider| config.settings.get(&**provider)?.get(*name)).cloned();
                Some((*name, given.or_else(|| variable(variables).map(SecretString::from))?))
            })
            .collect();
        let mut host = host;
        if !is_default_url && host.name == "openai" {
            // Servers that stand in for OpenAI may be older than the newer of the two names.
            host.quirks.max_tokens_field = None;
        }
        let target = Target { host, model: model.into(), base_url, key, is_default_url, settings };
        Ok(Route { provider, target: Arc::new(target) })
    }

    /// The host and the model's name there, of `provider/model` or of a bare name.
    fn host_of(&self, asked: &str) -> Result<(Host, String)> {
        let config = &self.0.config;
        if let Some((prefix, model)) = asked.split_once('/')
            && let Some(host) = find_host(config, prefix)
        {
            if model.is_empty() {
                return Err(Error::new(ErrorKind::InvalidRequest, format!("`{asked}` names no model; write provider/model")));
            }
            return Ok((host.clone(), model.to_owned()));
        }
        if let Some(provider) = &config.provider {
            let host = find_host(config, provider).cloned().unwrap_or_else(|| uncatalogued(provider));
            return Ok((host, asked.to_owned()));
        }
        if let Some(host) = providers::family(asked).and_then(|family| find_host(config, family)) {
            return Ok((host.clone(), asked.to_owned()));
        }
        if config.base_url.is_some() {
            return Ok((uncatalogued("custom"), asked.to_owned()));
        }
        Err(unknown_provider(asked.split_once('/').map_or(asked, |(prefix, _)| prefix)))
    }
}

/// All that one attempt needs, so that it borrows nothing.
struct Attempt {
    client: Client,
    provider: &'static dyn Provider,
    outgoing: Outgoing,
    decoder: Decoder,
    translator: Box<dyn providers::Translator>,
    emitter: Emitter,
    deadlines: Deadlines,
    started: Instant,
    sent: Instant,
    meta: Meta,
    target: Arc<Target>,
    /// What a whole answer is read by; a stream has its translator.
    request: Option<ChatCompletionRequest>,
    span: CallSpan,
}

impl Attempt {
    async fn stream(mut self) -> Result<ChatStream> {
        let answer = self.send().await?;
        self.emitter.answered(self.meta.request_id.as_deref(), sent_at(&answer.headers));
        let clock = Clock::new(&self.deadlines, self.started, self.sent);
        if is_html(&answer.headers) {
            let body = self.read(answer, ERROR_BODY).await?;
            return Err(failure::not_an_answer(&body));
        }
        let mut stream = ChatStream::new(answer.body, self.decoder, self.translator, self.emitter, clock, self.meta, self.span);
        stream.begin().await?;
        Ok(stream)
    }

    async fn whole(mut self) -> Result<ChatCompletion> {
        let answer = self.send().await?;
        let cap = self.client.0.config.event_cap();
        let body = self.read(answer, cap).await?;
        let request = self.request.take().expect("a call without a stream keeps its request");
        let call = Call { request: &request, target: &self.target, stream: false, drop_unsupported: false };
        let answer = self.provider.answer(&body, &call).map_err(|error| self.meta.describe(error))?;
        Ok(self.meta.complete(answer))
    }

    /// Sends and waits for a good answer's headers.
    async fn send(&mut self) -> Result<Answer> {
        let mut outgoing = std::mem::replace(
            &mut self.outgoing,
            Outgoing { url: String::new(), headers: HeaderMap::new(), body: bytes::Bytes::new(), auth: Auth::Ready },
        );
        if outgoing.auth != Auth::Ready {
            let client = &*self.client.0;
            let host = &self.target.host;
            let source = Source {
                target: &self.target,
                transport: &client.transport,
                connect_timeout: self.deadlines.connect,
                token_provider: host.names().find_map(|name| client.config.token_providers.get(&**name)),
            };
            self.within(client.credentials.authorise(&mut outgoing, &source), true).await??;
        }
        let answer = self.within(self.client.0.transport.post(outgoing, self.deadlines.connect), true).await??;
        self.meta.answered(&answer.headers);
        if answer.status.is_success() {
            return Ok(answer);
        }
        let (status, headers) = (answer.status.as_u16(), answer.headers.clone());
        // AWS refuses an expired session with 403.
        if matches!(status, 401 | 403) {
            self.client.0.credentials.forget(&self.target.host.name);
        }
        // The status says what matters; a body that breaks off adds nothing.
        let body = self.read(answer, ERROR_BODY).await.unwrap_or_default();
        Err(self.meta.describe(self.provider.failure(status, &headers, &body)))
    }

    async fn read(&self, answer: Answer, cap: usize) -> Result<String> {
        let body = self.within(answer.body.read(cap), false).await?.map_err(|error| self.meta.describe(error))?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Bounds a wait by the total deadline and, before the answer has begun, by that of the first token.
    async fn within<T>(&self, wait: impl Future<Output = T>, before_answer: bool) -> Result<T> {
        let first_token = self.deadlines.first_token.filter(|_| before_answer);
        let limits = [
            self.deadlines.total.map(|limit| (self.started + limit, limit, "the call was not over", "timeout")),
            first_token.map(|limit| (self.sent + limit, limit, "no first token", "first_token_timeout")),
        ];
        let Some((at, limit, what, option)) = limits.into_iter().flatten().min_by_key(|limit| limit.0) else {
            return Ok(wait.await);
        };
        tokio::time::timeout_at(at, wait)
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, format!("{what} within {} ({option})", seconds(limit))))
    }
}

impl Meta {
    fn of(target: &Target) -> Self {
        Self {
            provider: target.host.name.clone(),
            model: target.model.clone(),
            request_id: None,
            headers: Arc::default(),
            key: target.key.clone(),
        }
    }

    fn answered(&mut self, headers: &HeaderMap) {
        const NAMES: [&str; 6] =
            ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-goog-request-id", "cf-ray"];
        self.request_id = NAMES.iter().find_map(|name| headers.get(*name)).and_then(|id| id.to_str().ok()).map(Str::from);
        self.headers = Arc::new(headers.clone());
    }
}

fn check_request(request: &ChatCompletionRequest) -> Result<()> {
    let wrong = |message: &str| Err(Error::new(ErrorKind::InvalidRequest, message));
    if request.model.first().trim().is_empty() {
        return wrong("no model is named; set `model` to provider/model, such as openai/gpt-4o");
    }
    if request.messages.is_empty() {
        return wrong("there are no messages; give at least one, such as a user's");
    }
    Ok(())
}

fn find_host<'a>(config: &'a ClientConfig, name: &str) -> Option<&'a Host> {
    config
        .hosts
        .iter()
        .find(|host| host.name == *name || host.aliases.iter().any(|alias| *alias == *name))
        .or_else(|| providers::find(name))
}

/// A host that is known by its base URL alone.
fn uncatalogued(name: &str) -> Host {
    Host {
        name: name.into(),
        aliases: Vec::new(),
        base_url: String::new(),
        key_vars: Vec::new(),
        base_url_vars: Vec::new(),
        key_prefixes: Vec::new(),
        quirks: catalog::Quirks::default(),
        local: false,
        source: String::new(),
    }
}

/// Settings that no provider reads are mistakes.
fn check_settings(config: &ClientConfig) -> Result<()> {
    for (provider, values) in &config.settings {
        let known = providers::settings(provider);
        if let Some(name) = values.keys().find(|name| known.iter().all(|(known, _)| known != name)) {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("{provider} has no setting `{name}`; it has: {has}");
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
    }
    Ok(())
}

/// The first variable that is set and not empty.
fn variable<S: AsRef<str>>(names: &[S]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name.as_ref()).ok().filter(|value| !value.trim().is_empty()))
}

/// The host's own base URL, with the variables in it filled in.
fn fill_in(host: &Host) -> Result<String> {
    let mut url = host.base_url.clone();
    while let Some(start) = url.find('{') {
        let Some(length) = url[start..].find('}') else { break };
        let name = url[start + 1..start + length].to_owned();
        let value = std::env::var(&name).ok().filter(|value| !value.trim().is_empty()).ok_or_else(|| {
            let message = format!("the address of {} needs the variable {name}; set it, or give a base URL", host.name);
            Error::new(ErrorKind::InvalidRequest, message).with_route(&host.name, &Str::default())
        })?;
        // A whole address may stand where only its host is wanted.
        let value = value.trim().trim_start_matches("https://").trim_end_matches('/');
        url.replace_range(start..=start + length, value);
    }
    check_base_url(&url)
}

/// An address without a scheme, as some variables hold it, is one of this machine or of the web.
fn with_scheme(url: String, local: bool) -> String {
    if url.contains("://") {
        return url;
    }
    format!("{}://{url}", if local { "http" } else { "https" })
}

/// The base URL without slashes at its end, if it is one.
fn check_base_url(url: &str) -> Result<String> {
    let trimmed = url.trim().trim_end_matches('/');
    let parsed = trimmed.parse::<http::Uri>().ok();
    let is_good = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    if is_good {
        return Ok(trimmed.to_owned());
    }
    Err(Error::new(ErrorKind::InvalidRequest, format!("`{url}` is no base URL; write it as https://host/path, without a query")))
}

fn check_owner(key: &SecretString, host: &Host) -> Result<()> {
    match catalog::owner_of_key(key.expose_secret().trim()) {
        Some(owner)
            if owner != &*host.name
                && !host.key_prefixes.iter().any(|prefix| key.expose_secret().starts_with(prefix.as_str())) =>
        {
            let message =
                format!("this key looks like one of {owner}, and is not sent to {}; check which key was set", host.name);
            Err(Error::new(ErrorKind::Authentication, message).with_route(&host.name, &Str::default()))
        }
        _ => Ok(()),
    }
}

fn missing_key(host: &Host, model: &str) -> Error {
    let variables = host.key_vars.join(" or ");
    let message = format!("no API key; set {variables}, or give the client `api_key`");
    Error::new(ErrorKind::Authentication, message).with_route(&host.name, &model.into())
}

fn unknown_provider(name: &str) -> Error {
    let message = format!(
        "`{name}` is no provider that is known; write provider/model such as openai/gpt-4o (`literllm providers` lists them), or give a base URL"
    );
    Error::new(ErrorKind::InvalidRequest, message)
}

fn refuses_stream_options(error: &Error) -> bool {
    error.status() == Some(400) && error.body().is_some_and(|body| body.contains("stream_options"))
}

/// When the provider says it sent its answer, in seconds of Unix time; 0 where it does not say.
fn sent_at(headers: &HeaderMap) -> i64 {
    let date = headers.get(http::header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let since = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

fn is_html(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

fn header_map(headers: &std::collections::HashMap<String, String>) -> Result<HeaderMap> {
    headers
        .iter()
        .map(|(name, value)| {
            let wrong = || Error::new(ErrorKind::InvalidRequest, format!("`{name}` and its value make no HTTP header"));
            Ok((name.parse::<HeaderName>().map_err(|_| wrong())?, HeaderValue::from_str(value).map_err(|_| wrong())?))
        })
        .collect()
}

/// A number in 0 to 1, for spreading retries.
#[allow(clippy::cast_precision_loss)]
fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
