//! The course of a call through a list of models: which is asked next, how, and what came of each.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cooldown;
use super::hedge::{self, Other};
use super::order::order;
use super::plan::{Mode, Task, continued, may_move_on};
use crate::client::{Client, Errand};
use crate::config::{RequestOptions, Retries};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::CallHooks;
use crate::stream::ChatStream;
use crate::telemetry::CallSpan;
use crate::types::{AttemptReport, ChatCompletionRequest, FailedRoute, LegEvent, Str, Usage};

/// How often a list of one goes on with itself.
const MOST_RETURNS: u32 = 3;
/// The moment before it does, doubled each time.
const RETURN_WAIT: Duration = Duration::from_millis(100);
/// How long a route that failed is asked last, where the provider does not say.
const COOLDOWN: Duration = Duration::from_secs(10);

/// Where a call stands in its list.
#[derive(Debug)]
pub(crate) struct Course {
    client: Client,
    pub(crate) request: ChatCompletionRequest,
    options: RequestOptions,
    pub(crate) mode: Mode,
    span: CallSpan,
    pub(crate) hooks: Option<Arc<CallHooks>>,
    started: Instant,
    /// The models still to be asked, in order.
    ahead: Vec<String>,
    /// The model that was asked last.
    current: String,
    returns: u32,
    pub(crate) reports: Vec<AttemptReport>,
    failed: Vec<FailedRoute>,
    /// The errors of all routes, for when none is left.
    causes: Vec<Error>,
}

/// A leg that has begun: the stream, and what is told of it.
pub(crate) struct Begun {
    pub stream: ChatStream,
    pub event: Option<LegEvent>,
    /// What of the answer so far the model was shown, and whether it was asked in words to go on.
    pub shown: String,
    pub asked: bool,
}

impl Course {
    pub(crate) fn new(client: Client, errand: &Errand<'_>) -> Result<Self> {
        let Errand { request, options, .. } = *errand;
        let mut ahead = order(request.model.all(), &options.model_weights, options.sticky_key.as_deref());
        // A route that failed a moment ago is asked last.
        ahead.sort_by_key(|model| cooldown::is_cooling(&client.route_name(model)));
        let mode = request.stream_fallback_mode.as_deref().or(client.config().stream_fallback_mode.as_deref());
        let mode = Mode::parse(mode.unwrap_or("auto"))?;
        Ok(Self {
            client,
            request: request.clone(),
            options: options.clone(),
            mode,
            span: errand.span.clone(),
            hooks: errand.hooks.cloned(),
            started: errand.started,
            ahead,
            current: String::new(),
            returns: 0,
            reports: Vec::new(),
            failed: Vec::new(),
            causes: Vec::new(),
        })
    }

    /// The course, and the next leg or the error that ends it all.
    pub(crate) async fn go_on(
        mut self: Box<Self>,
        task: Task,
        reason: Option<ErrorKind>,
        spent: Option<u64>,
    ) -> (Box<Self>, Result<Begun>) {
        let result = self.next_leg(task, reason, spent).await;
        (self, result)
    }

    async fn next_leg(&mut self, task: Task, mut reason: Option<ErrorKind>, spent: Option<u64>) -> Result<Begun> {
        let mut asked_in_words = self.mode == Mode::UserTurn;
        loop {
            let Some(mut model) = self.next_model().await else { return Err(self.all_failed()) };
            self.current.clone_from(&model);
            let mut as_prefill = !asked_in_words && (self.mode == Mode::Prefill || self.client.takes_prefill(&model));
            loop {
                let (request, mode) = match &task {
                    Task::Fresh | Task::Restart => (self.request.clone(), "restart"),
                    Task::Continue(said) => {
                        let mut request = continued(&self.request, said, as_prefill, spent);
                        if as_prefill {
                            self.client.mark_prefill(&model, &mut request);
                        }
                        (request, if as_prefill { "prefill" } else { "user_turn" })
                    }
                };
                let is_first = self.reports.is_empty();
                let mut started = Instant::now();
                let result = match self.hedge(&task) {
                    Some(after) => self.hedged(&mut model, &request, after, &mut started, &mut reason).await,
                    None => self.ask(&model, &request).await,
                };
                let started = self.since_start(started);
                let error = match result {
                    Ok(stream) => {
                        cooldown::forget(&self.client.route_name(&model));
                        self.reports.push(AttemptReport {
                            provider: stream.provider().into(),
                            model: stream.model().into(),
                            request_id: stream.request_id().map(Str::from),
                            mode: (!is_first).then(|| mode.into()),
                            started,
                            ..AttemptReport::default()
                        });
                        let shown = match &task {
                            Task::Continue(said) if as_prefill => said.trim_end().to_owned(),
                            Task::Continue(said) => said.clone(),
                            _ => String::new(),
                        };
                        let event = reason.map(|reason| self.event(&task, mode, reason, &stream));
                        return Ok(Begun { stream, event, shown, asked: mode == "user_turn" });
                    }
                    Err(error) => self.with_route(error),
                };
                self.failed(&error, started);
                reason.get_or_insert(error.kind());
                if !may_move_on(&error) {
                    return Err(error);
                }
                let refuses_prefill = as_prefill && matches!(task, Task::Continue(_)) && error.status() == Some(400);
                if !refuses_prefill {
                    break;
                }
                as_prefill = false;
            }
            asked_in_words = self.mode == Mode::UserTurn;
        }
    }

    /// The next model of the list; a list of one comes back to itself after a moment.
    async fn next_model(&mut self) -> Option<String> {
        if !self.ahead.is_empty() {
            return Some(self.ahead.remove(0));
        }
        if self.request.model.all().len() != 1
            || self.returns >= MOST_RETURNS
            || self.reports.iter().all(|report| report.characters == 0)
        {
            return None;
        }
        tokio::time::sleep(RETURN_WAIT * 2u32.pow(self.returns)).await;
        self.returns += 1;
        Some(self.request.model.first().to_owned())
    }

    /// How long the first token is waited for before another route is asked beside this one.
    fn hedge(&self, task: &Task) -> Option<Duration> {
        let after = self.client.config().hedge_after.filter(|after| !after.is_zero());
        after.filter(|_| *task == Task::Fresh && self.reports.is_empty() && !self.ahead.is_empty())
    }

    /// Asks a route, and the next one beside it when the first token is late. `model`, `started` and `reason` become those of the one
    /// that is heard.
    async fn hedged(
        &mut self,
        model: &mut String,
        request: &ChatCompletionRequest,
        after: Duration,
        started: &mut Instant,
        reason: &mut Option<ErrorKind>,
    ) -> Result<ChatStream> {
        let models = [model.clone(), self.ahead[0].clone()];
        let outcome = {
            let hooks = self.hooks.as_ref();
            hedge::race(
                |at| Box::pin(self.ask(&models[at], request)),
                |failed, error| Box::pin(failed.judged(hooks, error)),
                after,
            )
            .await
        };
        if outcome.asked[1].is_some() {
            self.ahead.remove(0);
        }
        let lost = 1 - outcome.heard;
        let lost_at = outcome.asked[lost].map_or(0.0, |at| self.since_start(at));
        match outcome.other {
            None => {}
            Some(Other::Failed(error)) => {
                self.current.clone_from(&models[lost]);
                reason.get_or_insert(error.kind());
                self.failed(&error, lost_at);
            }
            Some(Other::Late(stream)) => {
                let report = self.late(&models[lost], stream.as_ref(), lost_at);
                self.reports.push(report);
                // It may still be needed.
                self.ahead.insert(0, models[lost].clone());
            }
        }
        model.clone_from(&models[outcome.heard]);
        self.current.clone_from(model);
        *started = outcome.asked[outcome.heard].unwrap_or(*started);
        outcome.result
    }

    /// What is told of a route that was left because another spoke first.
    fn late(&self, model: &str, stream: Option<&ChatStream>, started: f64) -> AttemptReport {
        let (provider, model) = self.client.names_of(model);
        let answer = stream.map(ChatStream::completion).unwrap_or_default();
        AttemptReport {
            provider,
            model,
            request_id: stream.and_then(|stream| stream.request_id().map(Str::from)),
            error: Some(ErrorKind::Cancelled.as_str().into()),
            message: Some("another route spoke first".to_owned()),
            started,
            seconds: self.started.elapsed().as_secs_f64() - started,
            cost: answer.literllm.as_ref().and_then(|meta| meta.cost),
            usage: answer.usage,
            ..AttemptReport::default()
        }
    }

    fn since_start(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.started).as_secs_f64()
    }

    /// Asks the route that was asked last once more, anew.
    pub(crate) fn come_back(&mut self) {
        self.ahead.insert(0, self.current.clone());
    }

    async fn ask(&self, model: &str, request: &ChatCompletionRequest) -> Result<ChatStream> {
        let mut options = self.options.clone();
        if !self.ahead.is_empty() && options.retries.max_retries.or(self.client.config().retries.max_retries).is_none() {
            // The next route is a better second try than the same one.
            options.retries = Retries { max_retries: Some(0), ..options.retries };
        }
        let (span, hooks) = (&self.span, self.hooks.as_ref());
        let errand = Errand { request, model, options: &options, span, stream: true, started: self.started, hooks };
        self.client.stream(&errand).await
    }

    /// A leg has ended, well or not: what it cost is known now.
    pub(crate) fn leg_over(&mut self, usage: Option<&Usage>, cost: Option<f64>, characters: u64, error: Option<&Error>) {
        let started = self.reports.last().map_or(0.0, |report| report.started);
        let seconds = self.started.elapsed().as_secs_f64() - started;
        if let Some(report) = self.reports.last_mut() {
            report.seconds = seconds;
            report.characters = characters;
            report.cost = cost;
            report.usage = usage.cloned().map(Box::new);
            report.error = error.map(|error| error.kind().as_str().into());
            report.message = error.map(|error| error.message().to_owned());
        }
        if let Some(error) = error {
            self.remember(error);
        }
    }

    fn failed(&mut self, error: &Error, started: f64) {
        let (provider, model) = (error.provider().unwrap_or_default(), error.model().unwrap_or(&self.current));
        self.reports.push(AttemptReport {
            provider: provider.into(),
            model: model.into(),
            request_id: error.request_id().map(Str::from),
            error: Some(error.kind().as_str().into()),
            message: Some(error.message().to_owned()),
            started,
            seconds: self.started.elapsed().as_secs_f64() - started,
            ..AttemptReport::default()
        });
        self.remember(error);
    }

    /// An error that came before there was a route names what was asked for.
    fn with_route(&self, error: Error) -> Error {
        match self.current.split_once('/') {
            Some((provider, model)) => error.with_route(&provider.into(), &model.into()),
            None => error,
        }
    }

    fn remember(&mut self, error: &Error) {
        self.span.route_failed(error);
        self.failed.push(FailedRoute {
            provider: error.provider().unwrap_or_default().into(),
            model: error.model().unwrap_or(&self.current).into(),
            kind: error.kind().as_str().into(),
            message: error.message().to_owned(),
            ..FailedRoute::default()
        });
        self.causes.push(error.clone());
        if matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::Server | ErrorKind::Network) {
            let wait = error.retry_after().or(self.client.config().cooldown).unwrap_or(COOLDOWN);
            cooldown::remember(&self.client.route_name(&self.current), wait);
        }
    }

    fn event(&mut self, task: &Task, mode: &str, reason: ErrorKind, stream: &ChatStream) -> LegEvent {
        let (event, kept) = match task {
            Task::Restart => ("reset", 0),
            Task::Fresh => ("resumed", 0),
            Task::Continue(said) => ("resumed", said.chars().count() as u64),
        };
        LegEvent {
            event: event.into(),
            attempt: u32::try_from(self.reports.len()).unwrap_or(u32::MAX),
            provider: stream.provider().into(),
            model: stream.model().into(),
            reason: reason.as_str().into(),
            mode: mode.into(),
            kept,
            failed: std::mem::take(&mut self.failed),
            ..LegEvent::default()
        }
    }

    /// The end of the list: the one error, or all of them.
    pub(crate) fn all_failed(&mut self) -> Error {
        let mut causes = std::mem::take(&mut self.causes);
        match (causes.len(), self.request.model.all().len()) {
            (1, _) | (_, 1) => causes.pop().expect("a list ends with a failure"),
            _ => Error::all_failed(causes),
        }
    }
}

/// Marks the last message as one to go on from, where a host wants that said.
pub(crate) fn mark_prefill(
    request: &mut ChatCompletionRequest,
    mark: Option<&str>,
    fields: &serde_json::Map<String, serde_json::Value>,
) {
    if let (Some(mark), Some(last)) = (mark, request.messages.last_mut()) {
        last.extra.insert(mark, serde_json::Value::Bool(true));
    }
    for (name, value) in fields {
        request.extra.insert(name.clone(), value.clone());
    }
}
