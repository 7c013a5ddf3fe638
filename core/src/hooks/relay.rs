//! Hooks and sources of tokens that speak JSON: the one bridge over which every language other than Rust has them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use http::header::SET_COOKIE;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use super::{AnswerHead, Before, CallEnd, Hook, HookContext, Pending, Stage, Stages};
use crate::auth::{Credential, Secret, TokenProvider};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Str};

/// A hook whose every stage is a [`HookCall`] given to `send`, which must not block. Only the stages named are sent.
pub fn relay(stages: Stages, send: impl Fn(HookCall) + Send + Sync + 'static) -> Arc<dyn Hook> {
    Arc::new(Relay { stages, send: Box::new(send) })
}

/// A provider's source of tokens over the same bridge. Each need of one is a [`HookCall`] given to `send`, which must not block: its event has
/// the `stage` "token" and the `provider`.
///
/// It is answered with `token`, an object of `secret` and `expires_at`, or with `error`, an object of `message`. The secret is a text, or
/// an object of AWS's `access_key_id`, `secret_access_key` and, where there is one, `session_token`; the time is in seconds since 1970,
/// and a token without one is asked for again with every request. Dropped unanswered, there is no token.
pub fn relay_tokens(provider: &str, send: impl Fn(HookCall) + Send + Sync + 'static) -> TokenProvider {
    let event = json!({ "stage": "token", "provider": provider }).to_string();
    TokenProvider::new(move || {
        let (call, answered) = HookCall::new(event.clone());
        send(call);
        async move {
            let (text, source) = answered.await.map_err(|_| no_token("it was not answered"))?;
            // What is wrong is not quoted: it may be the token.
            let said: SaidToken = serde_json::from_str(&text).map_err(|_| no_token("it answered neither `token` nor `error`"))?;
            said.credential(source)
        }
    })
}

/// A hook is asked, in JSON, or a source of tokens. It may be answered from any thread and later; dropped unanswered, it lets the call pass.
pub struct HookCall {
    event: String,
    answer: oneshot::Sender<Said>,
}

/// An answer's JSON, and what its error comes from.
type Said = (String, Option<Source>);
type Source = Arc<dyn std::error::Error + Send + Sync>;

impl HookCall {
    fn new(event: String) -> (Self, oneshot::Receiver<Said>) {
        let (answer, answered) = oneshot::channel();
        (Self { event, answer }, answered)
    }

    /// What it is asked: an object with `stage`, `call`, `attempt`, `provider`, `model`, `stream`, and what the stage is about.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// Answers. Nothing or `{}` passes; else one of `request`, `chunks`, `error` and `response`, as the stage takes it.
    pub fn answer(self, json: &str) {
        self.say(json, None);
    }

    /// As [`HookCall::answer`]; an error that it says has this [`source`](std::error::Error::source), such as the language's own exception.
    pub fn answer_from(self, json: &str, source: impl std::error::Error + Send + Sync + 'static) {
        self.say(json, Some(Arc::new(source)));
    }

    fn say(self, json: &str, source: Option<Source>) {
        // Where nobody waits any more the call is over.
        let _ = self.answer.send((json.to_owned(), source));
    }
}

impl fmt::Debug for HookCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookCall").field("event", &self.event).finish_non_exhaustive()
    }
}

struct Relay {
    stages: Stages,
    send: Box<dyn Fn(HookCall) + Send + Sync>,
}

#[derive(Serialize)]
struct Event<'a, T> {
    stage: &'static str,
    #[serde(flatten)]
    at: &'a HookContext,
    #[serde(flatten)]
    about: T,
}

#[derive(Serialize)]
struct About<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a ChatCompletionRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<&'a [ChatCompletionChunk]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
}

#[derive(Serialize)]
struct AboutHead<'a> {
    status: u16,
    headers: HashMap<&'a str, &'a str>,
    request_id: Option<&'a Str>,
}

#[derive(Serialize)]
struct AboutEnd<'a> {
    response: Option<&'a ChatCompletion>,
    error: Option<&'a Error>,
    seconds: f64,
}

const NOTHING: About<'_> = About { request: None, chunks: None, error: None };

impl Relay {
    /// Asks and waits for the answer; `None` passes.
    async fn ask(&self, stage: Stage, at: &HookContext, about: impl Serialize) -> Result<Option<Answer>> {
        let event = serde_json::to_string(&Event { stage: stage.as_str(), at, about }).expect("wire types make JSON");
        let (call, answered) = HookCall::new(event);
        (self.send)(call);
        let Ok((text, source)) = answered.await else { return Ok(None) };
        let mut answer = Answer::read(stage, &text)?;
        if let Some(Answer::Error(said)) = &mut answer {
            said.source = source;
        }
        Ok(answer)
    }
}

impl Hook for Relay {
    fn stages(&self) -> Stages {
        self.stages
    }

    fn before_request<'a>(&'a self, at: &'a HookContext, request: Box<ChatCompletionRequest>) -> Pending<'a, Result<Before>> {
        const STAGE: Stage = Stage::BeforeRequest;
        Box::pin(async move {
            match self.ask(STAGE, at, About { request: Some(&request), ..NOTHING }).await? {
                None => Ok(Before::Ask(request)),
                Some(Answer::Request(changed)) => Ok(Before::Ask(changed)),
                Some(Answer::Response(response)) => Ok(Before::Answer(*response)),
                Some(Answer::Error(refusal)) => Err(refusal.error()),
                Some(Answer::Chunks(_)) => Err(not_here(STAGE, "chunks")),
            }
        })
    }

    fn after_headers<'a>(&'a self, at: &'a HookContext, head: &'a AnswerHead) -> Pending<'a, Result<()>> {
        const STAGE: Stage = Stage::AfterHeaders;
        Box::pin(async move {
            let readable = |(name, value): (&'a HeaderName, &'a http::HeaderValue)| Some((name.as_str(), value.to_str().ok()?));
            let headers = head.headers.iter().filter(|(name, _)| *name != SET_COOKIE).filter_map(readable).collect();
            let about = AboutHead { status: head.status, headers, request_id: head.request_id.as_ref() };
            match self.ask(STAGE, at, about).await? {
                None => Ok(()),
                Some(Answer::Error(refusal)) => Err(refusal.error()),
                Some(other) => Err(not_here(STAGE, other.name())),
            }
        })
    }

    fn on_chunks<'a>(
        &'a self,
        at: &'a HookContext,
        chunks: Vec<ChatCompletionChunk>,
    ) -> Pending<'a, Result<Vec<ChatCompletionChunk>>> {
        const STAGE: Stage = Stage::OnChunks;
        Box::pin(async move {
            match self.ask(STAGE, at, About { chunks: Some(&chunks), ..NOTHING }).await? {
                None => Ok(chunks),
                Some(Answer::Chunks(changed)) => Ok(changed),
                Some(Answer::Error(refusal)) => Err(refusal.error()),
                Some(other) => Err(not_here(STAGE, other.name())),
            }
        })
    }

    fn on_error<'a>(&'a self, at: &'a HookContext, error: Error) -> Pending<'a, Result<ChatCompletion>> {
        const STAGE: Stage = Stage::OnError;
        Box::pin(async move {
            match self.ask(STAGE, at, About { error: Some(&error), ..NOTHING }).await? {
                None => Err(error),
                Some(Answer::Response(response)) => Ok(*response),
                Some(Answer::Error(changed)) => Err(changed.instead_of(error)),
                Some(other) => Err(not_here(STAGE, other.name())),
            }
        })
    }

    fn on_end<'a>(&'a self, at: &'a HookContext, end: &'a CallEnd) -> Pending<'a, ()> {
        Box::pin(async move {
            let about = AboutEnd { response: end.response.as_ref(), error: end.error.as_ref(), seconds: end.seconds };
            // Nothing can be changed any more, whatever is said.
            let _ = self.ask(Stage::OnEnd, at, about).await;
        })
    }
}

/// What a hook says.
enum Answer {
    Request(Box<ChatCompletionRequest>),
    Chunks(Vec<ChatCompletionChunk>),
    Error(SaidError),
    Response(Box<ChatCompletion>),
}

impl Answer {
    fn read(stage: Stage, text: &str) -> Result<Option<Self>> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let said: HashMap<String, Box<serde_json::value::RawValue>> = read(stage, text)?;
        let mut said = said.into_iter();
        let Some((name, value)) = said.next() else { return Ok(None) };
        if said.next().is_some() {
            return Err(wrong(stage, "it says more than one thing"));
        }
        let value = value.get();
        Ok(Some(match name.as_str() {
            "request" => Self::Request(Box::new(read(stage, value)?)),
            "chunks" => Self::Chunks(read(stage, value)?),
            "error" => Self::Error(read(stage, value)?),
            "response" => Self::Response(Box::new(read(stage, value)?)),
            other => return Err(not_here(stage, other)),
        }))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Chunks(_) => "chunks",
            Self::Error(_) => "error",
            Self::Response(_) => "response",
        }
    }
}

/// An error as a hook says it. What an event's error has beside these is taken from the error that is changed.
#[derive(Deserialize)]
struct SaidError {
    kind: ErrorKind,
    message: String,
    #[serde(skip)]
    source: Option<Source>,
}

impl SaidError {
    fn error(self) -> Error {
        Error::new(self.kind, self.message).with_shared_source(self.source)
    }

    fn instead_of(self, error: Error) -> Error {
        // An event's message begins with the route, which is added again where it is shown.
        let shown = error.to_string();
        let route = shown.strip_suffix(error.message()).unwrap_or_default();
        let message = self.message.strip_prefix(route).unwrap_or(&self.message).to_owned();
        error.with_kind(self.kind, message).with_shared_source(self.source)
    }
}

/// What a source of tokens says.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum SaidToken {
    Token { secret: SaidSecret, expires_at: Option<f64> },
    Error { message: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SaidSecret {
    Bearer(String),
    Aws { access_key_id: String, secret_access_key: String, session_token: Option<String> },
}

impl SaidToken {
    fn credential(self, source: Option<Source>) -> Result<Credential> {
        let (secret, expires_at) = match self {
            Self::Error { message } => return Err(no_token(&message).with_shared_source(source)),
            Self::Token { secret, expires_at } => (secret, expires_at),
        };
        let secret = match secret {
            SaidSecret::Bearer(token) => Secret::Bearer(token.into()),
            SaidSecret::Aws { access_key_id, secret_access_key, session_token } => Secret::Aws {
                access_key_id,
                secret_access_key: secret_access_key.into(),
                session_token: session_token.map(Into::into),
            },
        };
        let since = |at: f64| Duration::try_from_secs_f64(at).ok().and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        let expires_at = expires_at.map(|at| since(at).ok_or_else(|| no_token("its `expires_at` is no time"))).transpose()?;
        Ok(Credential { secret, expires_at })
    }
}

fn no_token(why: &str) -> Error {
    Error::new(ErrorKind::Authentication, format!("the token provider gave no token: {why}"))
}

fn read<T: DeserializeOwned>(stage: Stage, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| wrong(stage, &error.to_string()).with_source(error))
}

fn not_here(stage: Stage, name: &str) -> Error {
    wrong(stage, &format!("`{name}` cannot be said here"))
}

fn wrong(stage: Stage, why: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("the answer of a hook at {} cannot be used: {why}", stage.as_str()))
}
