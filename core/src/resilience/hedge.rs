//! Hedging: where the first token of one route is late, a second is asked beside it, and the first to speak is heard.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::plan::may_move_on;
use crate::error::{Error, Result};
use crate::stream::ChatStream;

type Asking<'a> = Pin<Box<dyn Future<Output = Result<ChatStream>> + Send + 'a>>;

/// How a race came out.
pub(super) struct Outcome {
    /// The route that is heard, 0 or 1, and what it says: the last error where both failed.
    pub heard: usize,
    pub result: Result<ChatStream>,
    /// When each was asked.
    pub asked: [Option<Instant>; 2],
    /// What became of the other one, if it was asked.
    pub other: Option<Other>,
}

pub(super) enum Other {
    Failed(Error),
    /// It was still silent; its stream, where it had one, is cancelled.
    Late(Option<ChatStream>),
}

/// Asks route 0, and route 1 once that is silent for as long as `after`. `judge` says what becomes of an answer that had begun and failed.
pub(super) async fn race<'a>(
    ask: impl Fn(usize) -> Asking<'a>,
    judge: impl Fn(ChatStream, Error) -> Asking<'a>,
    after: Duration,
) -> Outcome {
    let mut asked = [Some(Instant::now()), None];
    let mut runners = [Some(Runner::Asking(ask(0))), None];
    let alone = std::future::poll_fn(|cx| poll(&mut runners, &judge, cx));
    if let Ok((heard, result)) = tokio::time::timeout(after, alone).await {
        return Outcome { heard, result, asked, other: None };
    }
    runners[1] = Some(Runner::Asking(ask(1)));
    asked[1] = Some(Instant::now());
    let mut failed = None;
    loop {
        let (at, result) = std::future::poll_fn(|cx| poll(&mut runners, &judge, cx)).await;
        match (result, runners[1 - at].take()) {
            // The other one may still speak.
            (Err(error), Some(other)) if may_move_on(&error) => {
                runners[1 - at] = Some(other);
                failed = Some(error);
            }
            (result, late) => {
                let other = late.map(|late| Other::Late(late.into_stream())).or(failed.map(Other::Failed));
                return Outcome { heard: at, result, asked, other };
            }
        }
    }
}

/// One that is asked.
enum Runner<'a> {
    Asking(Asking<'a>),
    /// Its answer has begun, but says nothing yet.
    Silent(Box<ChatStream>),
}

impl Runner<'_> {
    fn into_stream(self) -> Option<ChatStream> {
        let Self::Silent(mut stream) = self else { return None };
        stream.cancel();
        Some(*stream)
    }
}

/// The first that speaks or fails leaves the race.
fn poll<'a>(
    runners: &mut [Option<Runner<'a>>; 2],
    judge: &impl Fn(ChatStream, Error) -> Asking<'a>,
    cx: &mut Context<'_>,
) -> Poll<(usize, Result<ChatStream>)> {
    for (at, place) in runners.iter_mut().enumerate() {
        if let Poll::Ready(result) = poll_one(place, judge, cx) {
            return Poll::Ready((at, result));
        }
    }
    Poll::Pending
}

fn poll_one<'a>(
    place: &mut Option<Runner<'a>>,
    judge: &impl Fn(ChatStream, Error) -> Asking<'a>,
    cx: &mut Context<'_>,
) -> Poll<Result<ChatStream>> {
    loop {
        match place {
            None => return Poll::Pending,
            Some(Runner::Asking(asking)) => match ready!(asking.as_mut().poll(cx)) {
                Ok(stream) => *place = Some(Runner::Silent(Box::new(stream))),
                Err(error) => {
                    *place = None;
                    return Poll::Ready(Err(error));
                }
            },
            Some(Runner::Silent(stream)) => {
                let spoken = ready!(stream.poll_spoken(cx));
                let Some(Runner::Silent(stream)) = place.take() else { return Poll::Pending };
                match spoken {
                    Ok(()) => return Poll::Ready(Ok(*stream)),
                    Err(error) => *place = Some(Runner::Asking(judge(*stream, error))),
                }
            }
        }
    }
}
