//! A stream that survives: when its leg fails, the course finds another. The first leg's chunks pass untouched; from the second on they
//! are joined to what was said.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::joined::Joined;
use super::leg::{Leg, State};
use super::{Accumulator, told};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::Pending;
use crate::resilience::course::{Begun, Course};
use crate::resilience::plan::{self, Task};
use crate::resilience::seam::Seam;
use crate::types::{AttemptReport, ChatCompletion, ChatCompletionChunk, ChunkChoice, Content};

/// A leg's failure, and what the hooks made of it.
type Judged = (Error, Result<ChatCompletion>);
type Opening = Pin<Box<dyn Future<Output = (Box<Course>, Result<Begun>)> + Send>>;

/// What a stream needs to go on after a failure.
pub(super) struct Recovery {
    /// Away while a leg is being opened.
    course: Option<Box<Course>>,
    /// What the course had noted when it went away.
    noted: Vec<AttemptReport>,
    opening: Option<Opening>,
    /// Hooks look at the failure of a leg.
    judging: Option<Pending<'static, Judged>>,
    /// From the second leg on.
    joined: Option<Joined>,
    /// Characters of text that the legs before brought.
    characters: u64,
    /// The course has noted what the leg brought.
    is_noted: bool,
    /// All was tried, or all is said.
    over: bool,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("course", &self.course).finish_non_exhaustive()
    }
}

impl Recovery {
    pub(super) fn new(course: Box<Course>) -> Self {
        Self {
            course: Some(course),
            noted: Vec::new(),
            opening: None,
            judging: None,
            joined: None,
            characters: 0,
            is_noted: false,
            over: false,
        }
    }

    pub(super) fn answer(&self) -> Option<&Accumulator> {
        self.joined.as_ref().map(|joined| &joined.answer)
    }

    pub(super) fn ready(&mut self) -> Option<&mut VecDeque<ChatCompletionChunk>> {
        self.joined.as_mut().map(|joined| &mut joined.ready)
    }

    /// Ready once a chunk is there, or the answer is over.
    pub(super) fn fill(&mut self, leg: &mut Box<Leg>, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        loop {
            if let Some(judging) = &mut self.judging {
                let (error, result) = ready!(judging.as_mut().poll(cx));
                self.judging = None;
                match result {
                    Ok(answer) => self.answered(leg, &error, answer),
                    Err(error) => self.leg_failed(leg, error),
                }
            }
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
                    match self.judge(leg, &error) {
                        Some(judging) => self.judging = Some(judging),
                        None => self.leg_failed(leg, error),
                    }
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
            if self.judging.is_none()
                && self.opening.is_none()
                && self.joined.as_ref().is_none_or(|joined| joined.ready.is_empty())
            {
                return Poll::Ready(());
            }
        }
    }

    /// A leg came to its end. Whether the answer did too.
    fn leg_ended(&mut self, leg: &mut Box<Leg>) -> bool {
        let Some(joined) = self.joined.as_mut().filter(|joined| !joined.ending.is_empty()) else {
            self.over = true;
            self.leg_over(leg, None);
            return true;
        };
        let Some(course) = &mut self.course else { return true };
        joined.release();
        // What one route said alone is its own affair.
        if !joined.is_pieced || plan::is_valid(&course.request, &text_of(&joined.answer)) {
            joined.end();
            return false;
        }
        let error = Error::new(ErrorKind::Protocol, "the continuation does not make the JSON that was asked for");
        joined.ending.clear();
        course.come_back();
        self.open(leg, Task::Restart, &error);
        false
    }

    /// What the hooks of the call make of a leg's failure.
    fn judge(&self, leg: &Leg, error: &Error) -> Option<Pending<'static, Judged>> {
        let judged = leg.judge(self.course.as_ref()?.hooks.as_ref()?, error)?;
        let error = error.clone();
        Some(Box::pin(async move { (error, judged.await) }))
    }

    /// A hook answered for a leg of which nothing was shown.
    fn answered(&mut self, leg: &mut Box<Leg>, error: &Error, answer: ChatCompletion) {
        self.leg_over(leg, Some(error));
        self.over = true;
        self.joined = None;
        **leg = told::instead_of(leg, answer);
    }

    fn leg_failed(&mut self, leg: &mut Box<Leg>, error: Error) {
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

    fn open(&mut self, leg: &Leg, task: Task, error: &Error) {
        self.leg_over(leg, Some(error));
        let Some(course) = self.course.take() else { return };
        self.noted.clone_from(&course.reports);
        let spent = self.spent(leg);
        self.opening = Some(Box::pin(course.go_on(task, Some(error.kind()), spent)));
    }

    /// The tokens that the legs so far said, where it was counted.
    fn spent(&self, leg: &Leg) -> Option<u64> {
        let now = leg.emitter.answer().answer().usage.as_ref().map(|usage| usage.completion_tokens)?;
        Some(now + self.joined.as_ref().and_then(|joined| joined.usage.as_ref()).map_or(0, |usage| usage.completion_tokens))
    }

    /// Puts a new leg in the old one's place.
    fn begin(&mut self, leg: &mut Box<Leg>, next: Begun) {
        let is_reset = next.event.as_ref().is_some_and(|event| event.event == "reset");
        let old_usage = leg.emitter.answer().answer().usage.as_deref().cloned();
        let joined = self.joined.get_or_insert_with(|| Joined::after(leg));
        joined.add_usage(old_usage);
        if is_reset {
            joined.reset();
        }
        let said = text_of(&joined.answer);
        joined.is_pieced = !said.is_empty();
        joined.seam = Seam::new(&said, &next.shown, next.asked);
        joined.hold = None;
        let mut chunk = joined.identity.clone();
        chunk.choices = vec![ChunkChoice::default()];
        chunk.literllm = next.event.map(Box::new);
        joined.ready.push_back(chunk);
        self.characters = said.chars().count() as u64;
        self.is_noted = false;
        **leg = *next.stream.into_leg();
    }

    /// No route is left.
    fn give_up(&mut self, leg: &mut Box<Leg>, error: Error) {
        self.fail(leg, error);
    }

    /// Closes the connection, or gives up finding another.
    pub(super) fn cancel(&mut self, leg: &mut Box<Leg>) {
        let is_between = self.opening.take().is_some() || self.judging.take().is_some();
        if is_between {
            self.fail(leg, Error::new(ErrorKind::Cancelled, "the caller cancelled the stream"));
        } else {
            self.over = true;
            leg.cancel();
            // An answer that was whole is whole also where it was joined.
            if let (State::Ended, Some(joined)) = (&leg.state, &mut self.joined) {
                while let Some(chunk) = leg.emitter.pop() {
                    joined.accept(chunk);
                }
                joined.release();
                joined.end();
            }
        }
    }

    /// The consumer's side ended it.
    pub(super) fn stop(&mut self) {
        (self.opening, self.judging, self.over) = (None, None, true);
    }

    /// Whether all was tried, or all is said.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether more may come though the leg is over.
    pub(super) fn is_at_work(&self) -> bool {
        self.opening.is_some() || self.judging.is_some() || self.joined.as_ref().is_some_and(|joined| !joined.ending.is_empty())
    }

    fn fail(&mut self, leg: &mut Box<Leg>, error: Error) {
        self.over = true;
        let said = self.said(leg);
        let error = if said.choices.is_empty() { error } else { error.with_partial(said) };
        leg.state = State::Failed(Some(error));
    }

    pub(super) fn said(&self, leg: &Leg) -> ChatCompletion {
        let mut said = self.answer().unwrap_or(leg.emitter.answer()).to_completion();
        said.usage.clone_from(&leg.emitter.answer().answer().usage);
        self.in_all(leg, said)
    }

    pub(super) fn take_said(&mut self, leg: &mut Leg) -> ChatCompletion {
        let mut said = leg.emitter.take_answer().into_completion();
        if let Some(joined) = &mut self.joined {
            said = ChatCompletion { usage: said.usage, ..std::mem::take(&mut joined.answer).into_completion() };
        }
        self.in_all(leg, said)
    }

    /// Adds what is known of all legs to what they said, whose usage is the last one's.
    fn in_all(&self, leg: &Leg, said: ChatCompletion) -> ChatCompletion {
        let mut said = leg.meta.complete(said);
        if let Some(before) = self.joined.as_ref().and_then(|joined| joined.usage.as_ref()) {
            said.usage.get_or_insert_default().add(before);
        }
        if let Some(meta) = &mut said.literllm {
            let noted = self.course.as_ref().map_or(&self.noted, |course| &course.reports);
            // Each is paid for at its own price, also one that lost a race.
            let own = meta.cost.filter(|_| !self.is_noted);
            meta.cost = noted.iter().filter_map(|report| report.cost).chain(own).reduce(|sum, cost| sum + cost);
            meta.attempts.clone_from(noted);
            // Of two that raced, the one that was heard is noted last.
            meta.attempts.sort_by(|one, other| one.started.total_cmp(&other.started));
        }
        said
    }

    /// What the leg brought is known now.
    fn leg_over(&mut self, leg: &Leg, error: Option<&Error>) {
        let all = characters_of(self.answer().unwrap_or(leg.emitter.answer()));
        let own = all.saturating_sub(self.characters);
        if let Some(course) = &mut self.course {
            self.is_noted = true;
            let usage = leg.emitter.answer().answer().usage.as_deref();
            course.leg_over(usage, usage.and_then(|usage| leg.meta.cost(usage)), own, error);
        }
    }
}

fn characters_of(answer: &Accumulator) -> u64 {
    let choice = answer.answer().choices.iter().find(|choice| choice.index == 0);
    let text = choice.and_then(|choice| choice.message.content.as_ref()).map_or("", Content::as_text);
    text.chars().count() as u64
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
