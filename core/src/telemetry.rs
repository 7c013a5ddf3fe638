//! What a call tells `tracing`: a span with OpenTelemetry's names for generative AI, events for attempts. No prompt, no answer and no
//! key is in it, unless `trace_content` asks for the first two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use tracing::{Span, field};

use crate::error::Error;
use crate::types::{ChatCompletion, ChatCompletionRequest, FinishReason};

/// One call, with its retries and all routes that it asks.
#[derive(Debug, Clone)]
pub(crate) struct CallSpan(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    span: Span,
    started: Instant,
    trace_content: bool,
    attempts: AtomicU32,
    has_spoken: AtomicBool,
}

impl CallSpan {
    pub(crate) fn new(request: &ChatCompletionRequest, stream: bool, trace_content: bool) -> Self {
        let span = tracing::info_span!(
            target: "literllm",
            "chat",
            "gen_ai.operation.name" = "chat",
            "gen_ai.provider.name" = field::Empty,
            "gen_ai.request.model" = request.model.first(),
            "gen_ai.request.stream" = stream,
            "gen_ai.request.max_tokens" = request.output_limit(),
            "gen_ai.request.temperature" = request.temperature,
            "gen_ai.response.model" = field::Empty,
            "gen_ai.response.id" = field::Empty,
            "gen_ai.response.finish_reasons" = field::Empty,
            "gen_ai.response.time_to_first_chunk" = field::Empty,
            "gen_ai.usage.input_tokens" = field::Empty,
            "gen_ai.usage.output_tokens" = field::Empty,
            "gen_ai.input.messages" = field::Empty,
            "gen_ai.output.messages" = field::Empty,
            "literllm.attempts" = field::Empty,
            "error.type" = field::Empty,
        );
        if trace_content && !span.is_disabled() {
            span.record("gen_ai.input.messages", serde_json::to_string(&request.messages).unwrap_or_default());
        }
        let (started, attempts, has_spoken) = (Instant::now(), AtomicU32::default(), AtomicBool::default());
        Self(Arc::new(Inner { span, started, trace_content, attempts, has_spoken }))
    }

    pub(crate) fn span(&self) -> &Span {
        &self.0.span
    }

    pub(crate) fn provider(&self, provider: &str) {
        self.0.span.record("gen_ai.provider.name", provider);
    }

    pub(crate) fn attempt(&self) {
        self.0.span.record("literllm.attempts", self.0.attempts.fetch_add(1, Ordering::Relaxed) + 1);
    }

    pub(crate) fn retry(&self, error: &Error, wait: std::time::Duration) {
        tracing::warn!(
            target: "literllm",
            parent: &self.0.span,
            kind = error.kind().as_str(),
            status = error.status(),
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "retrying"
        );
    }

    /// A route failed; another may be asked.
    pub(crate) fn route_failed(&self, error: &Error) {
        tracing::warn!(
            target: "literllm",
            parent: &self.0.span,
            kind = error.kind().as_str(),
            status = error.status(),
            provider = error.provider(),
            model = error.model(),
            "a route failed"
        );
    }

    /// The model said something; the first time counts.
    pub(crate) fn first_token(&self) {
        if self.0.has_spoken.swap(true, Ordering::Relaxed) {
            return;
        }
        self.0.span.record("gen_ai.response.time_to_first_chunk", self.0.started.elapsed().as_secs_f64());
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.0.span.is_disabled()
    }

    /// The call is over; `provider` is the one that answered last, where that is not the one that was asked last.
    pub(crate) fn end(&self, provider: Option<&str>, answer: &ChatCompletion, error: Option<&Error>) {
        if self.is_disabled() {
            return;
        }
        if let Some(provider) = provider {
            self.provider(provider);
        }
        if !answer.id.is_empty() {
            self.0.span.record("gen_ai.response.id", &*answer.id);
            self.0.span.record("gen_ai.response.model", &*answer.model);
        }
        let reasons: Vec<&str> =
            answer.choices.iter().filter_map(|choice| choice.finish_reason.as_ref()).map(FinishReason::as_str).collect();
        if !reasons.is_empty() {
            self.0.span.record("gen_ai.response.finish_reasons", reasons.join(","));
        }
        if let Some(usage) = &answer.usage {
            self.0.span.record("gen_ai.usage.input_tokens", usage.prompt_tokens);
            self.0.span.record("gen_ai.usage.output_tokens", usage.completion_tokens);
        }
        if self.0.trace_content {
            let messages: Vec<_> = answer.choices.iter().map(|choice| &choice.message).collect();
            self.0.span.record("gen_ai.output.messages", serde_json::to_string(&messages).unwrap_or_default());
        }
        if let Some(error) = error {
            self.0.span.record("error.type", error.kind().as_str());
            let kind = error.kind().as_str();
            tracing::warn!(target: "literllm", parent: &self.0.span, kind, status = error.status(), "failed");
        } else {
            tracing::info!(target: "literllm", parent: &self.0.span, "complete");
        }
    }
}
