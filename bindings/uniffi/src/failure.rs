//! The engine's error as a record: its kind chooses the class that Kotlin and the case that Swift makes of it.

use std::fmt;
use std::sync::Arc;

use literllm::{ChatCompletion, Error, ErrorKind};
use serde::Deserialize;

/// What is known of an error.
#[derive(Debug, Clone, Deserialize, uniffi::Record)]
pub struct ErrorDetails {
    pub kind: ErrorKind,
    /// What happened, where, and what to do next.
    pub message: String,
    #[uniffi(default)]
    pub provider: Option<String>,
    #[uniffi(default)]
    pub model: Option<String>,
    /// The HTTP status, where there was an answer.
    #[uniffi(default)]
    pub status: Option<i32>,
    /// How many seconds the provider asks to wait.
    #[uniffi(default)]
    pub retry_after: Option<f64>,
    /// The provider's name for the request, for its support.
    #[uniffi(default)]
    pub request_id: Option<String>,
    /// The provider's own code.
    #[uniffi(default)]
    pub code: Option<String>,
    /// The request's field that the provider blames.
    #[uniffi(default)]
    pub param: Option<String>,
    /// The raw body of the provider's error.
    #[uniffi(default)]
    pub body: Option<String>,
    /// Whether the same request may succeed later.
    #[uniffi(default)]
    pub retryable: bool,
    /// What had been streamed before it.
    #[uniffi(default)]
    pub partial: Option<ChatCompletion>,
    /// The error of each model tried, where all failed.
    #[uniffi(default)]
    #[serde(default)]
    pub causes: Vec<ErrorDetails>,
}

/// What the program's own code threw, on its way through the engine.
#[uniffi::export(rust, foreign)]
pub trait Thrown: Send + Sync {
    fn description(&self) -> String;
}

/// The same as what an engine's error comes from.
pub(crate) struct Source(pub(crate) Arc<dyn Thrown>);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.description())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Source {}

/// How an error crosses; never seen by users.
#[derive(uniffi::Error)]
pub enum NativeError {
    Failed {
        details: Box<ErrorDetails>,
        /// What it comes from, and then what each of its causes does.
        thrown: Vec<Option<Arc<dyn Thrown>>>,
    },
}

impl fmt::Display for NativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Failed { details, .. } = self;
        f.write_str(&details.message)
    }
}

impl fmt::Debug for NativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Failed { details, .. } = self;
        fmt::Debug::fmt(details, f)
    }
}

impl std::error::Error for NativeError {}

impl From<Error> for NativeError {
    fn from(error: Error) -> Self {
        let thrown_for = |error: &Error| {
            let source = std::error::Error::source(error)?.downcast_ref::<Source>()?;
            Some(Arc::clone(&source.0))
        };
        let thrown = std::iter::once(&error).chain(error.causes()).map(thrown_for).collect();
        Self::Failed { details: Box::new(ErrorDetails::from(&error)), thrown }
    }
}

impl From<&Error> for ErrorDetails {
    fn from(error: &Error) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self {
            kind: error.kind(),
            message: error.to_string(),
            provider: text(error.provider()),
            model: text(error.model()),
            status: error.status().map(i32::from),
            retry_after: error.retry_after().map(|wait| wait.as_secs_f64()),
            request_id: text(error.request_id()),
            code: text(error.code()),
            param: text(error.param()),
            body: text(error.body()),
            retryable: error.is_retryable(),
            partial: error.partial().cloned(),
            causes: error.causes().iter().map(Self::from).collect(),
        }
    }
}
