//! One attempt: a request sent once, its answer read whole or begun as a stream.

use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use tokio::time::Instant;

use super::Client;
use crate::auth::{Auth, Source};
use crate::config::Deadlines;
use crate::decode::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{AnswerHead, HookContext, RouteHooks, Stage};
use crate::providers::{Call, Outgoing, Provider, Target, Translator, failure};
use crate::resilience::limits::Turn;
use crate::stream::{ChatStream, Clock, Emitter, Leg, Meta};
use crate::telemetry::CallSpan;
use crate::transport::{Answer, AnswerBody, seconds};
use crate::types::{ChatCompletion, ChatCompletionRequest, Str};

/// How much of an error's body is read.
const ERROR_BODY: usize = 1024 * 1024;

/// All that one attempt needs, so that it borrows nothing. It goes about in a box: futures that hold it stay small.
pub(super) struct Attempt {
    pub client: Client,
    pub provider: &'static dyn Provider,
    pub outgoing: Outgoing,
    pub decoder: Decoder,
    pub translator: Box<dyn Translator>,
    pub emitter: Emitter,
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
    pub(super) async fn stream(mut self: Box<Self>) -> Result<ChatStream> {
        let answer = self.send().await?;
        self.emitter.answered(self.meta.request_id.as_deref(), sent_at(&self.meta.headers));
        let clock = Clock::new(&self.deadlines, self.started, self.sent);
        if is_html(&self.meta.headers) {
            let body = self.read(answer, ERROR_BODY).await?;
            return Err(failure::not_an_answer(&body));
        }
        let attempt = *self;
        let leg = Leg::new(answer, attempt.decoder, attempt.translator, attempt.emitter, clock, attempt.meta, attempt.span);
        let mut stream = ChatStream::of(leg).in_turn(attempt.turn);
        stream.begin().await?;
        Ok(stream)
    }

    pub(super) async fn whole(mut self: Box<Self>) -> Result<ChatCompletion> {
        let answer = self.send().await?;
        let cap = self.client.0.config.event_cap();
        let body = self.read(answer, cap).await?;
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
            self.within(Box::pin(client.credentials.authorise(&mut outgoing, &source)), true).await??;
            if self.meta.key.is_none() {
                self.meta.key = bearer_of(&outgoing.headers);
            }
        }
        let answer = self.within(self.client.0.transport.post(outgoing, self.deadlines.connect), true).await??;
        let Answer { status, headers, body } = answer;
        self.meta.answered(headers);
        if status.is_success() {
            self.ask_hooks(status).await?;
            return Ok(body);
        }
        let status = status.as_u16();
        // AWS refuses an expired session with 403.
        if matches!(status, 401 | 403) {
            self.client.0.credentials.forget(&self.target.host.name);
        }
        // The status says what matters; a body that breaks off adds nothing.
        let body = self.read(body, ERROR_BODY).await.unwrap_or_default();
        Err(self.meta.describe(self.provider.failure(status, &self.meta.headers, &body)))
    }

    /// Shows the answer's head to the hooks, who may refuse it.
    async fn ask_hooks(&self, status: StatusCode) -> Result<()> {
        let Some(hooks) = self.hooks.as_ref().filter(|hooks| hooks.want(Stage::AfterHeaders)) else { return Ok(()) };
        let (status, headers) = (status.as_u16(), HeaderMap::clone(&self.meta.headers));
        hooks.after_headers(&AnswerHead { status, headers, request_id: self.meta.request_id.clone() }).await
    }

    async fn read(&self, body: AnswerBody, cap: usize) -> Result<String> {
        let body = self.within(body.read(cap), false).await?.map_err(|error| self.meta.describe(error))?;
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
        const NAMES: [&str; 6] =
            ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-goog-request-id", "cf-ray"];
        self.request_id = NAMES.iter().find_map(|name| headers.get(*name)).and_then(|id| id.to_str().ok()).map(Str::from);
        self.headers = Arc::new(headers);
    }
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
