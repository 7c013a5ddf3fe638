//! One attempt: a request sent once, its answer read whole or begun as a stream.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use secrecy::SecretString;
use tokio::time::Instant;

use super::route::Route;
use super::{Client, Errand};
use crate::auth::{Auth, Source};
use crate::config::{Deadline, Deadlines};
use crate::decode::Decoder;
use crate::error::Result;
use crate::hooks::{AnswerHead, HookContext, RouteHooks, Stage};
use crate::providers::{Call, Outgoing, Provider, Target, Translator, failure};
use crate::resilience::limits::Turn;
use crate::stream::{ChatStream, Clock, Emitter, Leg, Meta};
use crate::telemetry::CallSpan;
use crate::transport::{Answer, AnswerBody};
use crate::types::{ChatCompletion, ChatCompletionRequest, Str};

/// How much of an error's body is read.
const ERROR_BODY: usize = 1024 * 1024;

/// All that one attempt needs, so that it borrows nothing. It goes about in a box: futures that hold it stay small.
pub(super) struct Attempt {
    pub client: Client,
    pub provider: &'static dyn Provider,
    pub outgoing: Outgoing,
    pub translator: Box<dyn Translator>,
    pub choices: u32,
    pub wants_usage: bool,
    pub deadlines: Deadlines,
    pub started: Instant,
    pub sent: Instant,
    pub meta: Meta,
    pub target: Arc<Target>,
    /// What a whole answer is read by; a stream has its translator.
    pub request: Option<Box<ChatCompletionRequest>>,
    pub span: CallSpan,
    pub hooks: Option<RouteHooks>,
    /// Under the client's limits.
    pub turn: Option<Turn>,
}

impl Attempt {
    /// Makes the request of `errand` for one route; `headers` are the call's own.
    pub(super) fn new(
        client: &Client,
        errand: &Errand<'_>,
        route: &Route,
        headers: &HeaderMap,
        deadlines: Deadlines,
    ) -> Result<Box<Self>> {
        let Errand { request, options, stream, .. } = *errand;
        let Route { provider, target, .. } = route;
        let config = &client.0.config;
        let drop_unsupported = options.drop_unsupported.unwrap_or(config.drop_unsupported);
        let call = Call { request, target, stream, drop_unsupported };
        let mut outgoing = provider.request(&call)?;
        for headers in [&client.0.headers, headers].into_iter().filter(|headers| !headers.is_empty()) {
            outgoing.headers.extend(headers.clone());
        }
        if outgoing.auth == Auth::Ready && target.has_tokens && target.key.is_none() {
            outgoing.auth = Auth::Own;
        }
        // A compressing proxy would hold chunks back.
        outgoing.headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        Ok(Box::new(Self {
            client: client.clone(),
            provider: *provider,
            outgoing,
            translator: provider.translator(&call),
            choices: request.n.unwrap_or(1),
            wants_usage: request.wants_usage(),
            deadlines,
            started: errand.started,
            sent: Instant::now(),
            meta: Meta::of(target),
            target: Arc::clone(target),
            request: (!stream).then(|| Box::new(request.clone())),
            span: errand.span.clone(),
            hooks: None,
            turn: None,
        }))
    }

    pub(super) async fn stream(mut self: Box<Self>) -> Result<ChatStream> {
        let answer = self.send().await?;
        if is_html(&self.meta.headers) {
            let body = Box::pin(self.read(answer, ERROR_BODY)).await?;
            return Err(failure::not_an_answer(&body));
        }
        let mut stream = self.stream_of(answer);
        stream.begin().await?;
        Ok(stream)
    }

    fn stream_of(self: Box<Self>, body: AnswerBody) -> ChatStream {
        let decoder = Decoder::new(self.provider.framing(), self.client.0.config.event_cap());
        let mut emitter = Emitter::new(self.meta.model.clone(), self.choices, self.wants_usage);
        emitter.answered(self.meta.request_id.as_deref(), &self.meta.headers);
        let clock = Clock::new(&self.deadlines, self.started, self.sent);
        ChatStream::of(Leg::new(body, decoder, self.translator, emitter, clock, self.meta, self.span)).in_turn(self.turn)
    }

    pub(super) async fn whole(mut self: Box<Self>) -> Result<ChatCompletion> {
        let answer = self.send().await?;
        let cap = self.client.0.config.event_cap();
        let body = Box::pin(self.read(answer, cap)).await?;
        let request = self.request.take().expect("a call without a stream keeps its request");
        let call = Call { request: &request, target: &self.target, stream: false, drop_unsupported: false };
        let answer = self.provider.answer(&body, &call).map_err(|error| self.meta.describe(error))?;
        if let (Some(turn), Some(usage)) = (&self.turn, &answer.usage) {
            turn.spent(usage);
        }
        Ok(self.meta.complete(answer))
    }

    /// Sends and waits for a good answer's headers.
    async fn send(&mut self) -> Result<AnswerBody> {
        let bound = self.bound(true);
        let client = &*self.client.0;
        if self.outgoing.auth != Auth::Ready {
            let host = &self.target.host;
            let source = Source {
                target: &self.target,
                transport: &client.transport,
                connect_timeout: self.deadlines.connect,
                token_provider: host.names().find_map(|name| client.config.token_providers.get(&**name)),
            };
            within(bound, Box::pin(client.credentials.authorise(&mut self.outgoing, &source))).await??;
            if self.meta.key.is_none() {
                self.meta.key = bearer_of(&self.outgoing.headers);
            }
        }
        let post = pin!(client.transport.post(&self.outgoing, self.deadlines.connect));
        let Answer { status, headers, body } = within(bound, post).await??;
        self.meta.answered(headers);
        if status.is_success() {
            if let Some(hooks) = self.hooks.as_ref().filter(|hooks| hooks.want(Stage::AfterHeaders)) {
                Box::pin(self.show(hooks, status)).await?;
            }
            return Ok(body);
        }
        let status = status.as_u16();
        // AWS refuses an expired session with 403.
        if matches!(status, 401 | 403) {
            self.client.0.credentials.forget(&self.target.host.name);
        }
        // The status says what matters; a body that breaks off adds nothing.
        let body = Box::pin(self.read(body, ERROR_BODY)).await.unwrap_or_default();
        Err(self.meta.describe(self.provider.failure(status, &self.meta.headers, &body)))
    }

    /// Shows the answer's head to the hooks, who may refuse it.
    async fn show(&self, hooks: &RouteHooks, status: StatusCode) -> Result<()> {
        let (status, headers) = (status.as_u16(), HeaderMap::clone(&self.meta.headers));
        hooks.after_headers(&AnswerHead { status, headers, request_id: self.meta.request_id.clone() }).await
    }

    async fn read(&self, body: AnswerBody, cap: usize) -> Result<String> {
        let body = within(self.bound(false), body.read(cap)).await?.map_err(|error| self.meta.describe(error))?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The nearer of the total deadline and, before the answer has begun, that of the first token.
    fn bound(&self, before_answer: bool) -> Option<Bound> {
        let total = self.deadlines.total.map(|limit| Bound { at: self.started + limit, limit, deadline: Deadline::Total });
        let first_token = self.deadlines.first_token.filter(|_| before_answer);
        let first_token = first_token.map(|limit| Bound { at: self.sent + limit, limit, deadline: Deadline::FirstToken });
        total.into_iter().chain(first_token).min_by_key(|bound| bound.at)
    }
}

/// A deadline, and when it passes.
#[derive(Clone, Copy)]
struct Bound {
    at: Instant,
    limit: Duration,
    deadline: Deadline,
}

async fn within<T>(bound: Option<Bound>, wait: impl Future<Output = T>) -> Result<T> {
    let Some(Bound { at, limit, deadline }) = bound else { return Ok(wait.await) };
    let passed = async {
        // What is asked goes out first: to set a timer may need a thread to be woken.
        tokio::task::yield_now().await;
        tokio::time::sleep_until(at).await;
    };
    tokio::select! {
        biased;
        result = wait => Ok(result),
        () = passed => Err(deadline.passed(limit)),
    }
}

/// The token that a request shows, a secret like any key.
fn bearer_of(headers: &HeaderMap) -> Option<SecretString> {
    let shown = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    shown.strip_prefix("Bearer ").map(SecretString::from)
}

impl Meta {
    pub(super) fn of(target: &Target) -> Self {
        Self {
            provider: target.host.name.clone(),
            model: target.model.clone(),
            request_id: None,
            headers: Arc::default(),
            key: target.key.clone(),
            attempt: 0,
            given: None,
        }
    }

    /// That of an answer for which no route is asked.
    pub(super) fn told(at: &HookContext) -> Self {
        Self {
            provider: at.provider.clone(),
            model: at.model.clone(),
            request_id: None,
            headers: Arc::default(),
            key: None,
            attempt: at.attempt,
            given: None,
        }
    }

    fn answered(&mut self, headers: HeaderMap) {
        static NAMES: [HeaderName; 6] = [
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("request-id"),
            HeaderName::from_static("x-amzn-requestid"),
            HeaderName::from_static("apim-request-id"),
            HeaderName::from_static("x-goog-request-id"),
            HeaderName::from_static("cf-ray"),
        ];
        self.request_id = NAMES.iter().find_map(|name| headers.get(name)).and_then(|id| id.to_str().ok()).map(Str::from);
        self.headers = Arc::new(headers);
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}
