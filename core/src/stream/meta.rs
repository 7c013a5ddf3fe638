//! What is known of an answer beside its content: who gave it, under which name, and what it cost.

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Error;
use crate::providers::models;
use crate::types::{AnswerMeta, ChatCompletion, Str, Usage};

#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub provider: Str,
    pub model: Str,
    pub request_id: Option<Str>,
    pub headers: Arc<HeaderMap>,
    /// The key, to be kept out of what a provider's error repeats.
    pub key: Option<secrecy::SecretString>,
    /// The number of its route in the call, where hooks are told.
    pub attempt: u32,
    /// What an answer from elsewhere brought of this itself.
    pub given: Option<Box<AnswerMeta>>,
}

impl Meta {
    /// Adds what is known of the call to an error, and takes its key out.
    pub(crate) fn describe(&self, error: Error) -> Error {
        use secrecy::ExposeSecret;
        let error =
            error.with_route(&self.provider, &self.model).with_request_id(self.request_id.as_deref()).with_headers(&self.headers);
        match &self.key {
            Some(key) => error.without(key.expose_secret()),
            None => error,
        }
    }

    /// Adds who gave an answer and what it cost.
    pub(crate) fn complete(&self, mut answer: ChatCompletion) -> ChatCompletion {
        if let Some(given) = &self.given {
            answer.literllm = Some(given.clone());
            return answer;
        }
        let meta = answer.literllm.get_or_insert_default();
        meta.provider = Some(self.provider.clone());
        meta.request_id.clone_from(&self.request_id);
        let readable = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
        meta.headers = Some(self.headers.iter().filter(|(name, _)| *name != SET_COOKIE).filter_map(readable).collect());
        meta.cost = answer.usage.as_ref().and_then(|usage| self.cost(usage));
        answer
    }

    /// What that much cost, where it is known.
    pub(crate) fn cost(&self, usage: &Usage) -> Option<f64> {
        match &self.given {
            Some(given) => given.cost,
            None => models::cost(&self.provider, &self.model, usage),
        }
    }
}
