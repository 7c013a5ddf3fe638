//! `log_calls`: one event for each call in the engine's log.

use super::{CallEnd, Hook, HookContext, Pending, Stage, Stages};
use crate::error::Error;

pub(crate) struct LogCalls;

impl Hook for LogCalls {
    fn stages(&self) -> Stages {
        Stage::OnEnd.into()
    }

    fn on_end<'a>(&'a self, at: &'a HookContext, end: &'a CallEnd) -> Pending<'a, ()> {
        let usage = end.response.as_ref().and_then(|answer| answer.usage.as_deref());
        let meta = end.response.as_ref().and_then(|answer| answer.literllm.as_deref());
        tracing::info!(
            target: "literllm",
            call = at.call,
            provider = at.provider.as_str(),
            model = at.model.as_str(),
            stream = at.stream,
            attempts = at.attempt,
            cached = meta.and_then(|meta| meta.cached),
            prompt_tokens = usage.map(|usage| usage.prompt_tokens),
            completion_tokens = usage.map(|usage| usage.completion_tokens),
            cost = meta.and_then(|meta| meta.cost),
            seconds = end.seconds,
            ending = end.error.as_ref().map_or("complete", |error: &Error| error.kind().as_str()),
            "call"
        );
        Box::pin(std::future::ready(()))
    }
}
