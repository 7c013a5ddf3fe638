//! Hooks: what a program puts around every call to watch it, change it, refuse it, or answer it from elsewhere.
//!
//! A [`Hook`] is asked at up to five stages. Those of a client ([`Client::with_hooks`](crate::Client::with_hooks)) are asked one after another, each given what the
//! one before made of it; the first that answers or refuses decides. Stages that no hook wants cost nothing. The time that hooks take
//! counts towards the total deadline of the call, and a panic in one is an error of kind `panic`.
//! [`relay`] makes a hook of JSON texts, for the languages other than Rust, and [`relay_tokens`] a source of tokens.

mod call;
mod log;
mod relay;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::HeaderMap;
use serde::Serialize;

pub use call::ends_under_way;
pub(crate) use call::{CallHooks, Ending, RouteHooks, Telling, cancelled};
pub(crate) use log::LogCalls;
pub use relay::{HookCall, relay, relay_tokens};

use crate::error::{Error, ErrorKind, Result};
use crate::types::{ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Str};

/// What a hook's method returns: `Box::pin(async move { … })`.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that is put around every call. Each method's default lets the call pass as it is.
pub trait Hook: Send + Sync + 'static {
    /// The stages at which it wants to be asked.
    fn stages(&self) -> Stages {
        Stages::ALL
    }

    /// A route is about to be asked: before the first, and before each that goes on after a failure. An error refuses the route.
    fn before_request<'a>(&'a self, _at: &'a HookContext, request: Box<ChatCompletionRequest>) -> Pending<'a, Result<Before>> {
        Box::pin(async move { Ok(Before::Ask(request)) })
    }

    /// A route has answered well, and its content is about to come. An error refuses it.
    fn after_headers<'a>(&'a self, _at: &'a HookContext, _head: &'a AnswerHead) -> Pending<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// What came together is about to be handed to the consumer, who gets what is returned, if anything. An error ends the stream.
    /// A whole answer comes here, too, as if it had been streamed.
    fn on_chunks<'a>(
        &'a self,
        _at: &'a HookContext,
        chunks: Vec<ChatCompletionChunk>,
    ) -> Pending<'a, Result<Vec<ChatCompletionChunk>>> {
        Box::pin(async move { Ok(chunks) })
    }

    /// A route has failed for good, after all retries. The error returned takes its place; a response answers the call, which is possible
    /// only while nothing was shown yet.
    fn on_error<'a>(&'a self, _at: &'a HookContext, error: Error) -> Pending<'a, Result<ChatCompletion>> {
        Box::pin(async move { Err(error) })
    }

    /// The call is over. Comes exactly once, also for a stream that was dropped; the stream's end is reported after it.
    fn on_end<'a>(&'a self, _at: &'a HookContext, _end: &'a CallEnd) -> Pending<'a, ()> {
        Box::pin(async {})
    }
}

impl fmt::Debug for dyn Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("stages", &self.stages()).finish_non_exhaustive()
    }
}

/// Where in which call a hook is asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HookContext {
    /// The number of the call, of its own in this process.
    pub call: u64,
    /// The number of the route in the call, from 1.
    pub attempt: u32,
    pub provider: Str,
    /// As the provider names it.
    pub model: Str,
    /// Whether the caller asked for a stream.
    pub stream: bool,
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Before {
    /// The route is asked so. Another `model` in it asks that one.
    Ask(Box<ChatCompletionRequest>),
    /// This is the answer, and the route is not asked.
    Answer(ChatCompletion),
}

/// The head of a provider's answer.
#[derive(Debug, Clone)]
pub struct AnswerHead {
    pub status: u16,
    pub headers: HeaderMap,
    /// The provider's name for the request.
    pub request_id: Option<Str>,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct CallEnd {
    /// The answer, or what there is of it.
    pub response: Option<ChatCompletion>,
    pub error: Option<Error>,
    pub seconds: f64,
}

/// A moment at which hooks are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    BeforeRequest,
    AfterHeaders,
    OnChunks,
    OnError,
    OnEnd,
}

impl Stage {
    pub const ALL: [Self; 5] = [Self::BeforeRequest, Self::AfterHeaders, Self::OnChunks, Self::OnError, Self::OnEnd];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeRequest => "before_request",
            Self::AfterHeaders => "after_headers",
            Self::OnChunks => "on_chunks",
            Self::OnError => "on_error",
            Self::OnEnd => "on_end",
        }
    }
}

/// A set of stages.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages(u8);

impl Stages {
    pub const ALL: Self = Self(0b1_1111);

    /// Reads the names of stages.
    pub fn from_names<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self> {
        names
            .into_iter()
            .map(|name| {
                let name = name.as_ref();
                Stage::ALL.into_iter().find(|stage| stage.as_str() == name).ok_or_else(|| {
                    let known = Stage::ALL.map(Stage::as_str).join(", ");
                    Error::new(ErrorKind::InvalidRequest, format!("`{name}` is no stage of a call; there are {known}"))
                })
            })
            .collect()
    }

    pub fn contains(self, stage: Stage) -> bool {
        self.0 & (1 << stage as u8) != 0
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl From<Stage> for Stages {
    fn from(stage: Stage) -> Self {
        Self(1 << stage as u8)
    }
}

impl FromIterator<Stage> for Stages {
    fn from_iter<I: IntoIterator<Item = Stage>>(stages: I) -> Self {
        stages.into_iter().map(Self::from).fold(Self::default(), Self::union)
    }
}

impl fmt::Debug for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Stage::ALL.into_iter().filter(|stage| self.contains(*stage))).finish()
    }
}
