//! The one error type. Its kind is for programs, its message for people; whether a retry can help is decided where it is made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::types::{ChatCompletion, Str};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a closed set. The numbers are those of the C ABI and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[cfg_attr(feature = "uniffi", derive(uniffi::Enum))]
pub enum ErrorKind {
    /// The key is missing or refused.
    Authentication = 1,
    /// The key is good but may not do this.
    Permission = 2,
    /// No such model, deployment or path.
    NotFound = 3,
    /// The request cannot be served as it is.
    InvalidRequest = 4,
    /// The conversation is longer than the model takes.
    ContextLength = 5,
    /// The provider refused the content.
    ContentPolicy = 6,
    /// Too many requests or tokens.
    RateLimited = 7,
    /// The provider has no capacity just now.
    Overloaded = 8,
    /// The provider failed.
    Server = 9,
    /// One of the deadlines passed.
    Timeout = 10,
    /// The provider could not be reached.
    Network = 11,
    /// The answer broke off; what had come is in `partial`.
    Truncated = 12,
    /// The provider sent what is no answer in its own format.
    Protocol = 13,
    /// The caller cancelled.
    Cancelled = 14,
    /// Every model of a list failed; each one's error is in `causes`.
    AllFailed = 15,
    /// A bug: a panic was caught at a boundary.
    Panic = 16,
}

impl ErrorKind {
    pub const ALL: [Self; 16] = [
        Self::Authentication,
        Self::Permission,
        Self::NotFound,
        Self::InvalidRequest,
        Self::ContextLength,
        Self::ContentPolicy,
        Self::RateLimited,
        Self::Overloaded,
        Self::Server,
        Self::Timeout,
        Self::Network,
        Self::Truncated,
        Self::Protocol,
        Self::Cancelled,
        Self::AllFailed,
        Self::Panic,
    ];

    /// Its name in every language's own case; this is the one in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::InvalidRequest => "invalid_request",
            Self::ContextLength => "context_length",
            Self::ContentPolicy => "content_policy",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Truncated => "truncated",
            Self::Protocol => "protocol",
            Self::Cancelled => "cancelled",
            Self::AllFailed => "all_failed",
            Self::Panic => "panic",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether trying the same again can help, as a rule.
    fn usually_retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Overloaded | Self::Server | Self::Timeout | Self::Network | Self::Truncated)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            serde::de::Error::custom(format_args!("`{name}` is no kind of error; there are {known}"))
        })
    }
}

/// An error of the engine. One word wide; cheap to clone.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    provider: Option<Str>,
    model: Option<Str>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    request_id: Option<Str>,
    headers: Option<Arc<HeaderMap>>,
    code: Option<String>,
    param: Option<String>,
    body: Option<String>,
    partial: Option<Arc<ChatCompletion>>,
    retryable: bool,
    /// The deadline of the whole call has passed.
    call_is_over: bool,
    causes: Vec<Error>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            provider: None,
            model: None,
            status: None,
            retry_after: None,
            request_id: None,
            headers: None,
            code: None,
            param: None,
            body: None,
            partial: None,
            retryable: kind.usually_retryable(),
            call_is_over: false,
            causes: Vec::new(),
            source: None,
        }))
    }

    /// The error of a list of which every model failed.
    pub(crate) fn all_failed(causes: Vec<Error>) -> Self {
        let told: Vec<String> = causes.iter().map(|cause| format!("{cause} ({})", cause.kind())).collect();
        let mut error = Self::new(ErrorKind::AllFailed, format!("every model failed: {}", told.join("; ")));
        error.0.retryable = causes.iter().any(Self::is_retryable);
        error.0.causes = causes;
        error
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened, without the context that `Display` adds.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn provider(&self) -> Option<&str> {
        self.0.provider.as_deref()
    }

    pub fn model(&self) -> Option<&str> {
        self.0.model.as_deref()
    }

    /// The HTTP status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// How long the provider asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The provider's name for the request, for its support.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The headers of the provider's answer, where there was one.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.0.headers.as_deref()
    }

    /// The provider's own code.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The request's field that the provider blames.
    pub fn param(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// The raw body of the provider's error.
    pub fn body(&self) -> Option<&str> {
        self.0.body.as_deref()
    }

    /// What had been streamed before it.
    pub fn partial(&self) -> Option<&ChatCompletion> {
        self.0.partial.as_deref()
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The error of each model tried, where all failed.
    pub fn causes(&self) -> &[Error] {
        &self.0.causes
    }

    /// The same failure under another name.
    pub(crate) fn with_kind(mut self, kind: ErrorKind, message: String) -> Self {
        self.0.kind = kind;
        self.0.message = message;
        self.0.retryable = kind.usually_retryable();
        self
    }

    pub(crate) fn with_route(mut self, provider: &Str, model: &Str) -> Self {
        self.0.provider.get_or_insert_with(|| provider.clone());
        self.0.model.get_or_insert_with(|| model.clone());
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after.or(self.0.retry_after);
        self
    }

    pub(crate) fn with_request_id(mut self, request_id: Option<&str>) -> Self {
        if self.0.request_id.is_none() {
            self.0.request_id = request_id.map(Str::from);
        }
        self
    }

    pub(crate) fn with_headers(mut self, headers: &Arc<HeaderMap>) -> Self {
        if !headers.is_empty() {
            self.0.headers.get_or_insert_with(|| Arc::clone(headers));
        }
        self
    }

    pub(crate) fn with_code(mut self, code: Option<String>) -> Self {
        self.0.code = code;
        self
    }

    pub(crate) fn with_param(mut self, param: Option<String>) -> Self {
        self.0.param = param;
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<String>) -> Self {
        self.0.body = Some(body.into());
        self
    }

    pub fn with_partial(mut self, partial: ChatCompletion) -> Self {
        self.0.partial = Some(Arc::new(partial));
        self
    }

    pub(crate) fn without_partial(mut self) -> Self {
        self.0.partial = None;
        self
    }

    pub(crate) fn of_call_that_is_over(mut self) -> Self {
        self.0.call_is_over = true;
        self
    }

    pub(crate) fn is_of_call_that_is_over(&self) -> bool {
        self.0.call_is_over
    }

    pub(crate) fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// With what it comes from.
    pub fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.with_shared_source(Some(Arc::new(source)))
    }

    /// Without one, the source stays as it is.
    pub(crate) fn with_shared_source(mut self, source: Option<Arc<dyn std::error::Error + Send + Sync>>) -> Self {
        if source.is_some() {
            self.0.source = source;
        }
        self
    }

    /// Takes every key out of what a person or a log may read.
    pub(crate) fn without(mut self, secret: &str) -> Self {
        const SHORTEST_KEY: usize = 6;
        if secret.len() >= SHORTEST_KEY {
            let inner = &mut *self.0;
            for text in [Some(&mut inner.message), inner.body.as_mut(), inner.code.as_mut()].into_iter().flatten() {
                if text.contains(secret) {
                    *text = text.replace(secret, "[key]");
                }
            }
        }
        self
    }

    /// The error as the JSON object that the command and the C ABI give out.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an error's fields are strings, numbers and wire types")
    }
}

impl fmt::Display for Error {
    /// The message, then who said it: `groq/llama-4 (status 429, request req_1): …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(provider) = &inner.provider {
            f.write_str(provider)?;
            if let Some(model) = inner.model.as_ref().filter(|model| !model.is_empty()) {
                write!(f, "/{model}")?;
            }
            match (inner.status, &inner.request_id) {
                (Some(status), Some(id)) => write!(f, " (status {status}, request {id})")?,
                (Some(status), None) => write!(f, " (status {status})")?,
                (None, Some(id)) => write!(f, " (request {id})")?,
                (None, None) => {}
            }
            f.write_str(": ")?;
        }
        f.write_str(&inner.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let inner = &*self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", &inner.kind)?;
        map.serialize_entry("message", &self.to_string())?;
        map.serialize_entry("provider", &inner.provider)?;
        map.serialize_entry("model", &inner.model)?;
        map.serialize_entry("status", &inner.status)?;
        map.serialize_entry("retry_after", &inner.retry_after.map(|wait| wait.as_secs_f64()))?;
        map.serialize_entry("request_id", &inner.request_id)?;
        map.serialize_entry("code", &inner.code)?;
        map.serialize_entry("param", &inner.param)?;
        map.serialize_entry("body", &inner.body)?;
        map.serialize_entry("retryable", &inner.retryable)?;
        map.serialize_entry("partial", &inner.partial)?;
        if !inner.causes.is_empty() {
            map.serialize_entry("causes", &inner.causes)?;
        }
        map.end()
    }
}

impl From<crate::decode::TooLarge> for Error {
    fn from(error: crate::decode::TooLarge) -> Self {
        Self::new(ErrorKind::Protocol, format!("{error}; raise `max_event_bytes` if such events are expected")).with_source(error)
    }
}
