//! What a call asks for: a stream, or a whole answer. Both go the same way through routes, retries and hooks.

use std::future::Future;

use super::Errand;
use super::attempt::Attempt;
use crate::error::Result;
use crate::resilience::cache::Flight;
use crate::stream::{ChatStream, Meta};
use crate::types::ChatCompletion;

pub(super) trait Reply: Sized + Send {
    fn attempt(attempt: Box<Attempt>) -> impl Future<Output = Result<Self>> + Send;

    /// An answer that no route was asked for; `meta` is that of the route that would have been.
    fn told(answer: ChatCompletion, meta: Meta, errand: &Errand<'_>) -> Self;

    /// Keeps the answer, once whole, for those who ask the same.
    fn with_flight(self, flight: Flight) -> Self;

    /// Says which route of a call with hooks gives it.
    fn of_attempt(self, attempt: u32) -> Self;
}

impl Reply for ChatStream {
    fn attempt(attempt: Box<Attempt>) -> impl Future<Output = Result<Self>> + Send {
        attempt.stream()
    }

    fn told(answer: ChatCompletion, meta: Meta, errand: &Errand<'_>) -> Self {
        Self::told(answer, meta, errand.request.wants_usage())
    }

    fn with_flight(self, flight: Flight) -> Self {
        self.with_flight(flight)
    }

    fn of_attempt(self, attempt: u32) -> Self {
        self.of_attempt(attempt)
    }
}

impl Reply for ChatCompletion {
    fn attempt(attempt: Box<Attempt>) -> impl Future<Output = Result<Self>> + Send {
        attempt.whole()
    }

    fn told(mut answer: ChatCompletion, meta: Meta, _errand: &Errand<'_>) -> Self {
        answer.literllm.get_or_insert_default().provider.get_or_insert(meta.provider);
        answer
    }

    fn with_flight(self, flight: Flight) -> Self {
        flight.land(&self);
        self
    }

    fn of_attempt(self, _attempt: u32) -> Self {
        self
    }
}
