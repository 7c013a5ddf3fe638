//! The client: what a call is, and how often it is attempted. `route` finds where a model is asked, `attempt` asks once.

mod attempt;
mod reply;
mod route;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use tracing::Instrument;

use crate::auth::Credentials;
use crate::config::{ClientConfig, Deadlines, RequestOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{Before, CallHooks, Ending, Hook, LogCalls, RouteHooks};
use crate::providers;
use crate::resilience::cache::{self, Cache, Found};
use crate::resilience::course::Course;
use crate::resilience::keys::KeyPool;
use crate::resilience::limits::Limits;
use crate::resilience::plan::Task;
use crate::resilience::retry::RetryPolicy;
use crate::stream::{ChatStream, Meta};
use crate::telemetry::CallSpan;
use crate::transport::Transport;
use crate::types::{ChatCompletion, ChatCompletionRequest, Str};
use attempt::Attempt;
use reply::Reply;
use route::{Route, check_base_url, find_host, unknown_provider};

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
    /// By provider, as its key pool is named in the configuration.
    key_pools: HashMap<String, Arc<KeyPool>>,
    limits: Limits,
    cache: Option<Arc<Cache>>,
    /// What is put around every call, if anything.
    hooks: Option<Arc<[Arc<dyn Hook>]>>,
    /// What was found of the models asked so far.
    routes: Mutex<HashMap<String, Route>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.0.config).field("hooks", &self.0.hooks).finish_non_exhaustive()
    }
}

/// One call of one model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand<'a> {
    pub request: &'a ChatCompletionRequest,
    /// `provider/model`, whatever the request says.
    pub model: &'a str,
    pub options: &'a RequestOptions,
    pub span: &'a CallSpan,
    pub stream: bool,
    /// When the whole call began.
    pub started: Instant,
    pub hooks: Option<&'a Arc<CallHooks>>,
}

impl<'a> Errand<'a> {
    fn new(request: &'a ChatCompletionRequest, options: &'a RequestOptions, span: &'a CallSpan, stream: bool) -> Self {
        Self { request, model: request.model.first(), options, span, stream, started: Instant::now(), hooks: None }
    }
}

impl Client {
    pub fn new(config: ClientConfig) -> Result<Self> {
        Self::with_hooks(config, [])
    }

    /// A client with what a program puts around every call of it, asked in this order.
    pub fn with_hooks(config: ClientConfig, hooks: impl IntoIterator<Item = Arc<dyn Hook>>) -> Result<Self> {
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
        let limits = Limits::new(&config.limits);
        // A cache of nothing would have calls wait for each other for nothing.
        let cache = config.cache.as_ref().filter(|options| options.max_entries != Some(0));
        let cache = cache.map(|options| Arc::new(Cache::new(options)));
        let transport = Transport::new(config.network.clone());
        let mut hooks: Vec<_> = hooks.into_iter().collect();
        if config.log_calls {
            hooks.push(Arc::new(LogCalls));
        }
        let keys = |(name, keys): (&String, &Vec<_>)| Some((name.clone(), Arc::new(KeyPool::new(keys.clone())?)));
        let key_pools = config.key_pools.iter().filter_map(keys).collect();
        Ok(Self(Arc::new(Inner {
            config,
            transport,
            headers,
            credentials: Credentials::default(),
            owner,
            key_pools,
            limits,
            cache,
            hooks: (!hooks.is_empty()).then(|| hooks.into()),
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
        if request.model.is_list() || self.0.hooks.is_some() {
            // What a list and hooks promise is kept by a stream.
            return self.begin(request, options, false).await?.finish().await;
        }
        let span = CallSpan::new(request, false, self.0.config.trace_content);
        let errand = Errand::new(request, options, &span, false);
        let result = Box::pin(self.ask::<ChatCompletion>(&errand)).await;
        match &result {
            Ok(answer) => span.end(None, answer, None),
            Err(error) => span.end(None, &ChatCompletion::default(), Some(error)),
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
        self.begin(request.borrow(), options, true).await
    }

    /// Begins the answer; `streamed` is whether the caller wants it piece by piece.
    async fn begin(&self, request: &ChatCompletionRequest, options: &RequestOptions, streamed: bool) -> Result<ChatStream> {
        let is_list = request.model.is_list();
        let span = CallSpan::new(request, streamed, self.0.config.trace_content);
        let mut errand = Errand::new(request, options, &span, streamed || is_list);
        let mut ending = self.0.hooks.as_ref().map(|hooks| {
            let deadlines = Deadlines::of(&options.timeouts, &self.0.config.timeouts);
            Ending::new(CallHooks::new(hooks, streamed, errand.started, deadlines))
        });
        let hooks = ending.as_ref().map(|ending| Arc::clone(&ending.call));
        errand.hooks = hooks.as_ref();
        // A list's way is long, and rarely gone: it is kept off the stack of those who ask one model.
        let result = match is_list {
            true => Box::pin(self.course(&errand)).await,
            false if streamed => pin!(self.stream(&errand)).await,
            false => Box::pin(self.told(&errand)).await,
        };
        match (result, ending.take()) {
            (Ok(stream), None) => Ok(stream.with_span(span)),
            (Ok(stream), Some(ending)) => Ok(stream.with_span(span).with_hooks(ending)),
            (Err(error), ending) => {
                span.end(None, &ChatCompletion::default(), Some(&error));
                if let Some(mut ending) = ending {
                    ending.tell(None, None, Some(error.clone())).await;
                }
                Err(error)
            }
        }
    }

    /// Goes through a list of models until one answers; the stream goes on through it when that one fails.
    async fn course(&self, errand: &Errand<'_>) -> Result<ChatStream> {
        check_request(errand.request)?;
        if let Ok((host, _)) = self.host_of(errand.model) {
            self.0.owner.get_or_init(|| host.name.clone());
        }
        let course = Box::new(Course::new(self.clone(), errand)?);
        let (course, begun) = course.go_on(Task::Fresh, None, None).await;
        let begun = begun?;
        Ok(begun.stream.with_course(course, begun.event))
    }

    /// One model's stream.
    pub(crate) async fn stream(&self, errand: &Errand<'_>) -> Result<ChatStream> {
        self.ask(errand).await
    }

    /// One model's whole answer, told as a stream to the hooks.
    async fn told(&self, errand: &Errand<'_>) -> Result<ChatStream> {
        let answer: ChatCompletion = self.ask(errand).await?;
        let meta = errand.hooks.map(|hooks| Meta::told(&hooks.last())).expect("only calls with hooks come here");
        Ok(Reply::told(answer, meta, errand))
    }

    /// Asks one model, with the hooks of the call around it if there are any.
    async fn ask<R: Reply>(&self, errand: &Errand<'_>) -> Result<R> {
        match errand.hooks {
            None => pin!(self.fetch(errand, None)).instrument(errand.span.span().clone()).await,
            Some(hooks) => Box::pin(self.ask_hooked(errand, hooks)).await,
        }
    }

    async fn ask_hooked<R: Reply>(&self, errand: &Errand<'_>, hooks: &Arc<CallHooks>) -> Result<R> {
        let (provider, model) = self.names_of(errand.model);
        let route = hooks.next_route(provider, model);
        let request = Box::new(ChatCompletionRequest { model: errand.model.into(), ..errand.request.clone() });
        let result = match route.before_request(request).await {
            Ok(Before::Answer(answer)) => return Ok(R::told(answer, Meta::told(&route.at), errand)),
            Ok(Before::Ask(request)) => {
                let errand = Errand { request: &request, model: request.model.first(), ..*errand };
                pin!(self.fetch(&errand, Some(&route))).instrument(errand.span.span().clone()).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(reply) => Ok(R::of_attempt(reply, route.at.attempt)),
            Err(error) => route.on_error(error).await.map(|answer| R::told(answer, Meta::told(&route.at), errand)),
        }
    }

    /// Asks the route, unless its answer is kept.
    async fn fetch<R: Reply>(&self, errand: &Errand<'_>, hooks: Option<&RouteHooks>) -> Result<R> {
        match &self.0.cache {
            None => self.retried(errand, hooks).await,
            Some(cache) => Box::pin(self.fetch_through(cache, errand, hooks)).await,
        }
    }

    async fn fetch_through<R: Reply>(&self, cache: &Arc<Cache>, errand: &Errand<'_>, hooks: Option<&RouteHooks>) -> Result<R> {
        let Errand { request, options, .. } = *errand;
        check_request(request)?;
        let config = &self.0.config;
        let target = self.route(errand.model)?.target;
        let key = cache::key(&target, request, options, options.drop_unsupported.unwrap_or(config.drop_unsupported));
        let deadlines = Deadlines::of(&options.timeouts, &config.timeouts);
        let meta = Meta { attempt: hooks.map_or(0, |hooks| hooks.at.attempt), ..Meta::of(&target) };
        let find = cache.find(key, deadlines.first_token);
        let found = deadlines.within_total(errand.started, "another call for the same answer was waited for", find).await;
        match found.map_err(|error| meta.describe(error))? {
            Found::Kept(answer) => Ok(R::told(*answer, meta, errand)),
            Found::Flight(flight) => Ok(R::with_flight(self.retried(errand, hooks).await?, flight)),
        }
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// Makes attempts until one succeeds, the policy gives up, or the total deadline passes.
    async fn retried<R: Reply>(&self, errand: &Errand<'_>, hooks: Option<&RouteHooks>) -> Result<R> {
        let Errand { request, model, options, span, started, .. } = *errand;
        check_request(request)?;
        let config = &self.0.config;
        let deadlines = Deadlines::of(&options.timeouts, &config.timeouts);
        let policy = RetryPolicy::of(&options.retries, &config.retries);
        let headers = header_map(&options.headers)?;
        let mut route = self.route(model)?;
        span.provider(&route.target.host.name);
        let (mut failures, mut changes_of_key) = (0, 0);
        loop {
            let key = route.keys.clone().map(|pool| (pool.take(std::time::Instant::now()), pool));
            if let Some((number, pool)) = &key {
                Arc::make_mut(&mut route.target).key = Some(pool.keys()[*number].clone());
            }
            let described = |error| Meta::of(&route.target).describe(error);
            let turn = if self.0.limits.is_empty() {
                None
            } else {
                let turn = Box::pin(self.0.limits.turn(&route.target, request));
                let turn = deadlines.within_total(started, "it waited its turn under `limits`", turn).await;
                Some(turn.map_err(described)?)
            };
            span.attempt();
            let mut attempt = Attempt::new(self, errand, &route, &headers, deadlines).map_err(described)?;
            attempt.hooks = hooks.cloned();
            attempt.turn = turn;
            let error = match R::attempt(attempt).await {
                Ok(value) => return Ok(value),
                Err(error) => described(error),
            };
            if refuses_stream_options(&error) && !request.wants_usage() && !route.target.host.quirks.no_stream_options {
                Arc::make_mut(&mut route.target).host.quirks.no_stream_options = true;
                continue;
            }
            if let Some((number, pool)) = &key
                && pool.failed(*number, &error, std::time::Instant::now())
                && changes_of_key + 1 < pool.keys().len()
            {
                changes_of_key += 1;
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

fn refuses_stream_options(error: &Error) -> bool {
    error.status() == Some(400) && error.body().is_some_and(|body| body.contains("stream_options"))
}

fn header_map(headers: &HashMap<String, String>) -> Result<HeaderMap> {
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
