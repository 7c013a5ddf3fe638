//! Moves a call's chunks from the engine to their consumer, and stops when told to. One task a call, on the process's shared runtime.

use std::cell::Cell;
use std::future::Future;
#[cfg(feature = "test-hooks")]
use std::sync::atomic::AtomicBool as Hook;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use literllm::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, ChatStream, Client, Error, ErrorKind, RequestOptions, Result,
    runtime,
};
use tokio::sync::Notify;

use crate::callback::Flow;
use crate::guard::guarded;
use crate::raw;
use crate::text::Text;

#[cfg(feature = "test-hooks")]
pub static PANIC_NEXT: Hook = Hook::new(false);

/// What other threads tell a running call.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    resumed: AtomicBool,
    /// One task waits for it.
    told: Notify,
    /// The stream, while it runs.
    stream: Mutex<Option<ChatStream>>,
    /// The whole answer, once the call is over.
    whole: OnceLock<Arc<ChatCompletion>>,
}

thread_local! {
    /// Whose stream this thread looks after: what it calls meanwhile may ask for it again.
    static POLLED: Cell<*const Control> = const { Cell::new(std::ptr::null()) };
}

impl Control {
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// Ends a pause, also one that is about to be asked for by a callback that still runs.
    pub fn resume(&self) {
        self.resumed.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// Keeps the whole answer for who asks for it later.
    pub fn keep(&self, answer: ChatCompletion) -> Arc<ChatCompletion> {
        Arc::clone(self.whole.get_or_init(|| Arc::new(answer)))
    }

    /// The whole answer, or that so far; none while nothing has come, after an error, and for what the stream itself calls.
    pub fn answer_so_far(&self) -> Option<Arc<ChatCompletion>> {
        if let Some(whole) = self.whole.get() {
            return Some(Arc::clone(whole));
        }
        if POLLED.get() == std::ptr::from_ref(self) {
            return None;
        }
        let stream = self.stream();
        stream.as_ref().map(ChatStream::completion).filter(|answer| !answer.choices.is_empty()).map(Arc::new)
    }

    fn stream(&self) -> MutexGuard<'_, Option<ChatStream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, in place of what the list held. Where it is not waited for, and nothing is there, it is empty, and the stream rests.
    async fn next_batch(&self, batch: &mut Vec<ChatCompletionChunk>, wait: bool) -> Option<Result<()>> {
        if wait {
            return std::future::poll_fn(|cx| self.poll_batch(cx, batch)).await;
        }
        for has_looked in [false, true] {
            if let Poll::Ready(next) = std::future::poll_fn(|cx| Poll::Ready(self.poll_batch(cx, batch))).await {
                return next;
            }
            // More may have come to the socket: the connection, which reads no further than it is asked to, gets to look.
            if !has_looked {
                tokio::task::yield_now().await;
            }
        }
        batch.clear();
        if let Some(stream) = self.stream().as_mut() {
            stream.rest();
        }
        Some(Ok(()))
    }

    fn poll_batch(&self, cx: &mut Context<'_>, batch: &mut Vec<ChatCompletionChunk>) -> Poll<Option<Result<()>>> {
        let mut stream = self.stream();
        let before = POLLED.replace(self);
        let next = stream.as_mut().map_or(Poll::Ready(None), |stream| stream.poll_batch_into(cx, batch));
        POLLED.set(before);
        next
    }

    async fn cancelled(&self) {
        self.told_that(|| self.cancelled.load(Ordering::Acquire)).await;
    }

    async fn resumed(&self) {
        self.told_that(|| self.resumed.load(Ordering::Acquire) || self.cancelled.load(Ordering::Acquire)).await;
    }

    async fn told_that(&self, is_so: impl Fn() -> bool) {
        while !is_so() {
            self.told.notified().await;
        }
    }
}

/// What is asked of the engine.
#[derive(Debug)]
pub struct Question {
    client: Client,
    request: ChatCompletionRequest,
    options: RequestOptions,
}

impl Question {
    /// Reads what a C program asks.
    pub fn read(client: Option<&Client>, request: Text, options: Text) -> Result<Self> {
        let wrong = |message: String| Error::new(ErrorKind::InvalidRequest, message);
        let client = client.ok_or_else(|| wrong("the client is NULL".to_owned()))?.clone();
        let request = raw::bytes(request).ok_or_else(|| wrong("the request is NULL; give it as JSON".to_owned()))?;
        let request = serde_json::from_slice(request).map_err(|error| wrong(format!("the request is wrong: {error}")))?;
        let options = match raw::bytes(options) {
            None => RequestOptions::default(),
            Some(options) => RequestOptions::from_json(
                std::str::from_utf8(options).map_err(|_| wrong("the call's options are not UTF-8".to_owned()))?,
            )?,
        };
        Ok(Self { client, request, options })
    }

    /// The whole answer in one.
    pub async fn answer(self, control: &Control) -> Result<ChatCompletion> {
        unless_cancelled(
            control,
            guarded(async {
                panic_if_asked();
                Box::pin(self.client.chat_with(&self.request, &self.options)).await
            }),
        )
        .await
    }

    /// Streams to `consume` until the answer ends. What it is lent is emptied, whatever it leaves.
    pub async fn stream(
        self,
        control: &Control,
        mut consume: impl FnMut(&mut Vec<ChatCompletionChunk>) -> Flow,
    ) -> Result<ChatCompletion> {
        guarded(async {
            panic_if_asked();
            // Boxed: finding the provider takes far more room than reading the answer, and is soon over.
            let call = Box::pin(self.client.chat_stream_with(&self.request, &self.options));
            let running = Running::begin(control, unless_cancelled(control, call).await?);
            drop(self);
            let mut batch = Vec::new();
            let mut gathers = false;
            loop {
                let next = tokio::select! {
                    biased;
                    () = control.cancelled() => break,
                    next = control.next_batch(&mut batch, !gathers) => next,
                };
                let Some(next) = next else { return Ok(running.end().into_completion()) };
                next?;
                control.resumed.store(false, Ordering::Relaxed);
                let some = !batch.is_empty();
                let flow = consume(&mut batch);
                gathers = some && flow == Flow::Gather;
                match flow {
                    Flow::Continue | Flow::Gather => {}
                    Flow::Pause => {
                        batch.clear();
                        control.resumed().await;
                    }
                    Flow::Stop => break,
                }
            }
            // What was ready is not handed over any more. Without it the answer is not whole for who added up what came.
            let mut stream = running.end();
            stream.cancel();
            let mut all = true;
            while let Some(batch) = stream.next_batch().await {
                all &= batch?.is_empty();
            }
            let answer = stream.into_completion();
            if all {
                return Ok(answer);
            }
            let message = "the call was cancelled before all of its answer was handed over";
            Err(Error::new(ErrorKind::Cancelled, message).with_partial(answer))
        })
        .await
    }
}

/// A stream that others may look at while it runs. It is over, and its connection closed, at the latest when this is dropped.
struct Running<'a>(&'a Control);

impl<'a> Running<'a> {
    fn begin(control: &'a Control, stream: ChatStream) -> Self {
        *control.stream() = Some(stream);
        Self(control)
    }

    fn end(self) -> ChatStream {
        self.0.stream().take().expect("it runs until now")
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let over = self.0.stream().take();
        drop(over);
    }
}

/// Runs a call on the calling thread.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    if tokio::runtime::Handle::try_current().is_ok() {
        let message = "a blocking call inside a callback would hold up every other stream; start it from another thread";
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    runtime::shared().block_on(future)
}

async fn unless_cancelled<T>(control: &Control, call: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = control.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the caller cancelled the call")),
        result = call => result,
    }
}

fn panic_if_asked() {
    #[cfg(feature = "test-hooks")]
    assert!(!PANIC_NEXT.swap(false, Ordering::SeqCst), "asked for by a test");
}
