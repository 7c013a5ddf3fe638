//! A call in flight, streamed or whole, as JavaScript holds it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use literllm::{ChatStream, Error, ErrorKind, runtime};
use napi_derive::napi;
use tokio::task::JoinHandle;

use crate::batch::Packer;
use crate::inbox::{Bell, Inbox};
use crate::questions::json_of;

/// A call. When JavaScript forgets it, it is dropped, and its connection closes.
///
/// What a poll gives is text: `[…]` and `=…` are chunks (see `batch`), `{"kind":…}` is the error the call ends with, `{"object":…}` is
/// a whole answer, and the empty text is a stream's end.
#[napi]
pub struct Call {
    state: State,
    bell: Arc<Bell>,
    waker: Waker,
    packer: Packer,
}

enum State {
    /// A stream is asked for.
    Starting(JoinHandle<literllm::Result<ChatStream>>),
    Open(ChatStream),
    /// A whole answer, as JSON, is asked for.
    Whole(JoinHandle<literllm::Result<String>>),
    Over,
}

#[napi]
impl Call {
    pub(crate) fn stream(inbox: &mut Inbox, call: impl Future<Output = literllm::Result<ChatStream>> + Send + 'static) -> Self {
        Self::new(inbox, State::Starting(runtime::shared().spawn(call)))
    }

    pub(crate) fn whole(inbox: &mut Inbox, call: impl Future<Output = literllm::Result<String>> + Send + 'static) -> Self {
        Self::new(inbox, State::Whole(runtime::shared().spawn(call)))
    }

    fn new(inbox: &mut Inbox, state: State) -> Self {
        let bell = Bell::new(inbox);
        Self { state, waker: Waker::from(Arc::clone(&bell)), bell, packer: Packer::default() }
    }

    /// Its number in the inbox.
    #[napi(getter)]
    pub fn number(&self) -> u32 {
        self.bell.number
    }

    /// What is there; `null` if nothing is, and then the inbox will say when to ask again.
    #[napi]
    pub fn poll(&mut self) -> Option<String> {
        let _runtime = runtime::shared().enter();
        self.bell.quiet();
        let waker = self.waker.clone();
        match self.guarded(|call| call.advance(&mut Context::from_waker(&waker))) {
            Poll::Ready(text) => Some(text),
            Poll::Pending => None,
        }
    }

    /// Waits until something is there. Nothing else happens on this thread meanwhile.
    #[napi]
    pub fn wait(&mut self) -> String {
        runtime::shared().block_on(std::future::poll_fn(|cx| self.guarded(|call| call.advance(cx))))
    }

    /// Closes the connection. A poll then gives the error of kind `cancelled`, unless the answer was whole already.
    #[napi]
    pub fn cancel(&mut self) {
        let _runtime = runtime::shared().enter();
        match &mut self.state {
            State::Starting(task) => task.abort(),
            State::Whole(task) => task.abort(),
            State::Open(stream) => stream.cancel(),
            State::Over => {}
        }
    }

    /// The stream's answer so far, as JSON; `null` where there is no stream.
    #[napi]
    pub fn completion(&self) -> Option<String> {
        let State::Open(stream) = &self.state else { return None };
        Some(serde_json::to_string(&stream.completion()).expect("an answer is made of wire types"))
    }

    /// A panic becomes the error the call ends with.
    fn guarded(&mut self, advance: impl FnOnce(&mut Self) -> Poll<String>) -> Poll<String> {
        catch_unwind(AssertUnwindSafe(|| advance(self))).unwrap_or_else(|panic| {
            let what = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            self.state = State::Over;
            Poll::Ready(panicked(what.unwrap_or_default()).to_json())
        })
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            match &mut self.state {
                State::Starting(task) => match ready!(outcome(task, cx)) {
                    Ok(stream) => self.state = State::Open(stream),
                    Err(error) => return self.over(&error),
                },
                State::Whole(task) => match ready!(outcome(task, cx)) {
                    Ok(answer) => {
                        self.state = State::Over;
                        return Poll::Ready(answer);
                    }
                    Err(error) => return self.over(&error),
                },
                State::Open(stream) => {
                    return Poll::Ready(match ready!(stream.poll_batch(cx)) {
                        Some(Ok(chunks)) => self.packer.pack(&chunks),
                        Some(Err(error)) => json_of(&error),
                        None => String::new(),
                    });
                }
                State::Over => return Poll::Ready(String::new()),
            }
        }
    }

    fn over(&mut self, error: &Error) -> Poll<String> {
        self.state = State::Over;
        Poll::Ready(json_of(error))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.cancel();
        let _runtime = runtime::shared().enter();
        self.state = State::Over;
    }
}

/// How a call's task ended.
fn outcome<T>(task: &mut JoinHandle<literllm::Result<T>>, cx: &mut Context<'_>) -> Poll<literllm::Result<T>> {
    Poll::Ready(match ready!(Pin::new(task).poll(cx)) {
        Ok(result) => result,
        Err(ended) if ended.is_cancelled() => Err(Error::new(ErrorKind::Cancelled, "the caller cancelled the call")),
        Err(ended) => Err(panicked(&ended.to_string())),
    })
}

fn panicked(what: &str) -> Error {
    Error::new(ErrorKind::Panic, format!("the engine failed; please report this: {what}"))
}
