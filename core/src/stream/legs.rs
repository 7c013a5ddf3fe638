//! A stream that survives: when its leg fails, the course finds another, and what comes is joined to what was said.
//!
//! The first leg's chunks pass untouched. From the second on they are rewritten to belong to the first: same identity, no second
//! role chunk, tool calls numbered on, text through the seam.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use super::{Accumulator, Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::course::{Course, Leg};
use crate::resilience::plan::{self, Task};
use crate::resilience::seam::Seam;
use crate::types::{ChatCompletionChunk, ChunkChoice, Content, Delta, Usage};

/// How long text is held at a seam that cannot be decided yet.
const LONGEST_HOLD: Duration = Duration::from_millis(400);

type Opening = Pin<Box<dyn Future<Output = (Box<Course>, Result<Leg>)> + Send>>;

/// What a stream needs to go on after a failure.
pub(super) struct Recovery {
    /// Away while a leg is being opened.
    course: Option<Box<Course>>,
    opening: Option<Opening>,
    /// From the second leg on.
    joined: Option<Joined>,
    /// Characters of text that the legs before brought.
    characters: u64,
    /// All was tried, or all is said.
    over: bool,
}

/// The answer over several legs.
struct Joined {
    ready: VecDeque<ChatCompletionChunk>,
    answer: Accumulator,
    /// A chunk of the first leg, without choices.
    identity: ChatCompletionChunk,
    seam: Seam,
    hold: Option<Pin<Box<Sleep>>>,
    /// How many tool calls were shown that are void now.
    void_calls: u32,
    shown_calls: u32,
    usage: Option<Usage>,
    /// The chunks of the end wait until the answer was found valid.
    ending: Vec<ChatCompletionChunk>,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("course", &self.course).finish_non_exhaustive()
    }
}

impl Recovery {
    pub(super) fn new(course: Box<Course>) -> Self {
        Self { course: Some(course), opening: None, joined: None, characters: 0, over: false }
    }

    pub(super) fn answer(&self) -> Option<&Accumulator> {
        self.joined.as_ref().map(|joined| &joined.answer)
    }

    pub(super) fn ready(&mut self) -> Option<&mut VecDeque<ChatCompletionChunk>> {
        self.joined.as_mut().map(|joined| &mut joined.ready)
    }

    /// Ready once a chunk is there, or the answer is over.
    pub(super) fn fill(&mut self, leg: &mut Box<Inner>, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        loop {
            if let Some(opening) = &mut self.opening {
                let (course, result) = ready!(opening.as_mut().poll(cx));
                self.opening = None;
                self.course = Some(course);
                match result {
                    Ok(next) => self.begin(leg, next),
                    Err(error) => self.give_up(leg, error),
                }
            }
            if self.joined.as_ref().is_some_and(|joined| !joined.ready.is_empty()) {
                return Poll::Ready(());
            }
            let polled = leg.fill(cx, most);
            if let Some(joined) = &mut self.joined {
                while let Some(chunk) = leg.emitter.pop() {
                    joined.accept(chunk);
                }
                if polled.is_pending() && joined.poll_hold(cx).is_ready() {
                    joined.release();
                }
                if !joined.ready.is_empty() {
                    return Poll::Ready(());
                }
            } else if leg.emitter.ready() > 0 {
                return Poll::Ready(());
            }
            ready!(polled);
            if self.over {
                return Poll::Ready(());
            }
            match &mut leg.state {
                State::Failed(error) if error.is_some() => {
                    let error = error.take().expect("it was just seen");
                    self.leg_failed(leg, error);
                }
                State::Failed(_) => return Poll::Ready(()),
                State::Ended => {
                    if self.leg_ended(leg) {
                        return Poll::Ready(());
                    }
                }
                // What it brought is held at the seam, or says nothing new.
                State::Open | State::Proven | State::Draining => continue,
            }
            if self.opening.is_none() && self.joined.as_ref().is_none_or(|joined| joined.ready.is_empty()) {
                return Poll::Ready(());
            }
        }
    }

    /// A leg came to its end. Whether the answer did too.
    fn leg_ended(&mut self, leg: &mut Box<Inner>) -> bool {
        let Some(joined) = self.joined.as_mut().filter(|joined| !joined.ending.is_empty()) else {
            self.over = true;
            self.leg_over(leg, None);
            return true;
        };
        let Some(course) = &mut self.course else { return true };
        joined.release();
        let text = text_of(&joined.answer);
        if plan::is_valid(&course.request, &text) {
            joined.end();
            return false;
        }
        let error = Error::new(ErrorKind::Protocol, "the continuation does not make the JSON that was asked for");
        joined.ending.clear();
        course.come_back();
        self.open(leg, Task::Restart, &error);
        false
    }

    fn leg_failed(&mut self, leg: &mut Box<Inner>, error: Error) {
        if let Some(joined) = &mut self.joined {
            // What is held was not said: the next leg says it again.
            joined.hold = None;
            joined.ending.clear();
        }
        let said = self.said(leg);
        let task = match &self.course {
            Some(course) => plan::after_failure(course.mode, &course.request, &said, &error),
            None => None,
        };
        if let Some(task) = task {
            self.open(leg, task, &error);
            return;
        }
        self.leg_over(leg, Some(&error));
        let is_off = self.course.as_ref().is_none_or(|course| course.mode == plan::Mode::Off);
        let error = if is_off || !plan::may_move_on(&error) { error } else { truncated(&error) };
        self.fail(leg, error);
    }

    fn open(&mut self, leg: &Inner, task: Task, error: &Error) {
        self.leg_over(leg, Some(error));
        let Some(course) = self.course.take() else { return };
        let spent = self.spent(leg);
        self.opening = Some(Box::pin(course.go_on(task, Some(error.kind()), spent)));
    }

    /// The tokens that the legs so far said, where it was counted.
    fn spent(&self, leg: &Inner) -> Option<u64> {
        let now = leg.emitter.answer().answer().usage.as_ref().map(|usage| usage.completion_tokens)?;
        Some(now + self.joined.as_ref().and_then(|joined| joined.usage.as_ref()).map_or(0, |usage| usage.completion_tokens))
    }

    /// Puts a new leg in the old one's place.
    fn begin(&mut self, leg: &mut Box<Inner>, next: Leg) {
        let is_reset = next.event.as_ref().is_some_and(|event| event.event == "reset");
        let old_usage = leg.emitter.answer().answer().usage.as_deref().cloned();
        let joined = self.joined.get_or_insert_with(|| Joined::after(leg));
        joined.add_usage(old_usage);
        if is_reset {
            joined.reset();
        }
        let said = text_of(&joined.answer);
        joined.seam = Seam::new(&said, &next.shown, next.asked);
        joined.hold = None;
        let mut chunk = joined.identity.clone();
        chunk.choices = vec![ChunkChoice::default()];
        chunk.literllm = next.event.map(Box::new);
        joined.ready.push_back(chunk);
        self.characters = said.chars().count() as u64;
        **leg = *next.stream.into_leg();
    }

    /// No route is left.
    fn give_up(&mut self, leg: &mut Box<Inner>, error: Error) {
        self.fail(leg, error);
    }

    /// Closes the connection, or gives up finding another.
    pub(super) fn cancel(&mut self, leg: &mut Box<Inner>) {
        if self.opening.take().is_some() {
            self.fail(leg, Error::new(ErrorKind::Cancelled, "the caller cancelled the stream"));
        } else {
            self.over = true;
            leg.cancel();
        }
    }

    fn fail(&mut self, leg: &mut Box<Inner>, error: Error) {
        self.over = true;
        let said = self.said(leg);
        let error = if said.choices.is_empty() { error } else { error.with_partial(said) };
        leg.state = State::Failed(Some(error));
    }

    pub(super) fn said(&self, leg: &Inner) -> crate::types::ChatCompletion {
        let mut said = self.answer().unwrap_or(leg.emitter.answer()).to_completion();
        said = leg.meta.complete(said);
        if let (Some(course), Some(meta)) = (&self.course, &mut said.literllm) {
            meta.attempts.clone_from(&course.reports);
        }
        said
    }

    /// What the leg brought is known now.
    fn leg_over(&mut self, leg: &Inner, error: Option<&Error>) {
        let all = text_of(self.answer().unwrap_or(leg.emitter.answer())).chars().count() as u64;
        let own = all.saturating_sub(self.characters);
        if let Some(course) = &mut self.course {
            course.leg_over(&leg.completion(), own, error);
        }
    }
}

impl Joined {
    fn after(leg: &Inner) -> Self {
        let answer = leg.emitter.answer().clone();
        let first = answer.answer();
        let identity = ChatCompletionChunk {
            id: first.id.clone(),
            created: first.created,
            model: first.model.clone(),
            ..ChatCompletionChunk::default()
        };
        let shown = first.choices.first().map_or(0, |choice| choice.message.tool_calls.len());
        Self {
            ready: VecDeque::new(),
            identity,
            seam: Seam::new("", "", false),
            hold: None,
            void_calls: 0,
            shown_calls: u32::try_from(shown).unwrap_or(0),
            usage: None,
            ending: Vec::new(),
            answer,
        }
    }

    /// What was said is void.
    fn reset(&mut self) {
        self.answer = Accumulator::default();
        self.void_calls = self.shown_calls;
    }

    fn add_usage(&mut self, usage: Option<Usage>) {
        let Some(usage) = usage else { return };
        match &mut self.usage {
            Some(sum) => sum.add(&usage),
            none => *none = Some(usage),
        }
    }

    /// Takes a chunk of a later leg.
    fn accept(&mut self, mut chunk: ChatCompletionChunk) {
        chunk.id = self.identity.id.clone();
        chunk.created = self.identity.created;
        chunk.model = self.identity.model.clone();
        if let Some(usage) = &mut chunk.usage {
            if let Some(before) = &self.usage {
                usage.add(before);
            }
            self.ending.push(chunk);
            return;
        }
        if chunk.choices.iter().any(|choice| choice.finish_reason.is_some()) {
            self.ending.push(chunk);
            return;
        }
        for choice in &mut chunk.choices {
            if choice.delta.role.take().is_some() {
                choice.delta.content = None;
            }
            if choice.index == 0
                && let Some(text) = choice.delta.content.take()
            {
                choice.delta.content = Some(self.seam.push(&text)).filter(|text| !text.is_empty());
            }
        }
        // An empty answer begins with its role, for the final response's sake.
        let says = chunk.choices.iter().any(|choice| !choice.delta.is_empty() || choice.logprobs.is_some());
        if says || !chunk.extra.is_empty() {
            self.say(chunk);
        }
    }

    fn say(&mut self, mut chunk: ChatCompletionChunk) {
        self.answer.push(&chunk);
        for call in chunk.choices.iter_mut().flat_map(|choice| &mut choice.delta.tool_calls) {
            call.index += self.void_calls;
            self.shown_calls = self.shown_calls.max(call.index + 1);
        }
        self.ready.push_back(chunk);
    }

    /// Decides the seam with what is there.
    fn release(&mut self) {
        self.hold = None;
        if self.seam.is_decided() {
            return;
        }
        let text = self.seam.release();
        if !text.is_empty() {
            let mut chunk = self.identity.clone();
            chunk.choices =
                vec![ChunkChoice { delta: Delta { content: Some(text), ..Delta::default() }, ..ChunkChoice::default() }];
            self.say(chunk);
        }
    }

    fn end(&mut self) {
        for chunk in std::mem::take(&mut self.ending) {
            self.say(chunk);
        }
    }

    /// Ready when text was held long enough.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.seam.is_decided() || !self.seam.holds() {
            return Poll::Pending;
        }
        self.hold.get_or_insert_with(|| Box::pin(tokio::time::sleep(LONGEST_HOLD))).as_mut().poll(cx)
    }
}

fn text_of(answer: &Accumulator) -> String {
    let choice = answer.answer().choices.iter().find(|choice| choice.index == 0);
    choice.and_then(|choice| choice.message.content.as_ref()).map(Content::text).unwrap_or_default()
}

/// The end of an answer that may not be gone on with.
fn truncated(error: &Error) -> Error {
    let message = format!("the answer broke off and may not be gone on with: {}", error.message());
    let error = error.clone();
    Error::new(ErrorKind::Truncated, message).with_retryable(false).with_source(error)
}
