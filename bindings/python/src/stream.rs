//! A stream as Python reads it: chunk by chunk from the batches that the engine hands over.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use literllm::types;
use literllm::{Accumulator, ChatStream, Error, ErrorKind, StreamHandle};
use pyo3::PyClass;
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::runtime::Runtime;

use crate::error::{exception, panicked};
use crate::field::Field;
use crate::fork::OfThisProcess;
use crate::operation::{self, Operation};
use crate::outside::Left;
use crate::records::{ChatCompletion, ChatCompletionChunk, ChunkOf, Holds};
use crate::wakeup::{self, Waiter, WakeUp, on_behalf_of};

/// After so many chunks that were there already, an event loop gets its turn.
const TURN: u32 = 512;

/// An answer as it comes.
#[pyclass(module = "liter_llm._native", frozen)]
pub(crate) struct Stream(Arc<Reader>);

/// An iteration over a stream. When it is dropped before the end, such as by a `break`, the stream is closed.
#[pyclass(module = "liter_llm._native", frozen)]
pub(crate) struct Chunks(Arc<Reader>);

/// An awaitable whose outcome is there.
#[pyclass(module = "liter_llm._native")]
pub(crate) struct Ready(Option<PyErr>);

struct Reader {
    runtime: &'static Runtime,
    own: OfThisProcess<Own>,
}

/// What does not outlive the process, even in a forked child.
struct Own {
    handle: StreamHandle,
    state: Mutex<State>,
}

struct State {
    /// What has come and was not read.
    chunks: Batch,
    /// What follows `chunks`, once that is known.
    end: Option<End>,
    /// The wait for what comes next.
    work: Option<Work>,
    /// Who waits for it.
    waker: Option<Waker>,
    waiter: Option<Arc<Waiter>>,
    is_waited_for: bool,
    /// How many chunks may be read before an event loop gets its turn.
    turn: u32,
    /// The event loop that reads.
    caller: Option<Arc<wakeup::Shared>>,
    /// What was read, added up, where someone wants to see it on the way.
    read: Option<Box<Accumulator>>,
}

/// Chunks that came together, and how many of them were read.
#[derive(Default)]
struct Batch {
    chunks: Arc<Vec<types::ChatCompletionChunk>>,
    read: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.read == self.chunks.len()
    }

    fn next(&mut self) -> Option<ChunkOf> {
        if self.is_empty() {
            return None;
        }
        self.read += 1;
        Some(ChunkOf::batch(&self.chunks, self.read - 1))
    }
}

enum End {
    Over,
    /// It failed, and whether its reader has been told.
    Failed {
        error: Error,
        is_told: bool,
    },
    /// Closed by its reader; with an error unless the answer was whole already.
    Closed(Option<Error>),
}

type Work = Pin<Box<dyn Future<Output = Option<literllm::Result<Vec<types::ChatCompletionChunk>>>> + Send>>;

/// What reading gives.
enum Next {
    Chunk(ChunkOf),
    End,
    Failed(Error),
    /// It is still to come, or an event loop's turn.
    Wait,
}

#[pymethods]
impl Stream {
    /// A new iteration, whose end closes the stream.
    fn chunks(&self) -> Chunks {
        Chunks(Arc::clone(&self.0))
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Reader::next_awaitable(&slf.get().0, slf)
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<ChatCompletionChunk>> {
        self.0.next_blocking(py)
    }

    /// Begins to wait in an event loop; true when the next chunk is there already.
    fn watch(&self, py: Python<'_>, wake_up: &WakeUp, callback: Py<PyAny>) -> PyResult<bool> {
        self.0.begin_wait()?;
        let (waiter, ready) = wake_up.watch(py, &self.0, callback);
        self.0.lock().waiter = Some(waiter);
        Ok(ready)
    }

    fn abandon(&self) {
        self.0.abandon();
    }

    /// The chunk that a wait was for; `None` at the end.
    fn take(&self, py: Python<'_>) -> PyResult<Option<ChatCompletionChunk>> {
        self.0.end_wait();
        match self.0.next() {
            Next::Chunk(chunk) => Ok(Some(ChatCompletionChunk::of(chunk))),
            Next::End => Ok(None),
            Next::Failed(error) => Err(exception(py, &error)),
            Next::Wait => Err(PyRuntimeError::new_err("nothing was waited for")),
        }
    }

    /// Closes the connection now.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    /// The whole answer of a stream that was read to its end. Otherwise what it failed with is raised.
    fn finish(&self, py: Python<'_>) -> PyResult<ChatCompletion> {
        let error = match &self.0.lock().end {
            Some(End::Failed { error, .. } | End::Closed(Some(error))) => Some(error.clone()),
            _ => None,
        };
        error.map_or_else(|| Ok(self.completion(py)), |error| Err(exception(py, &error)))
    }

    /// The answer so far.
    fn completion(&self, py: Python<'_>) -> ChatCompletion {
        ChatCompletion::holding(py.detach(|| self.0.look(ChatStream::completion)))
    }

    /// The provider that answers, its name for the request, and the headers of its answer.
    fn meta(&self, py: Python<'_>) -> (String, Option<String>, HashMap<String, String>) {
        py.detach(|| {
            self.0.look(|stream| {
                let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                let headers = stream.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                (stream.provider().to_owned(), stream.request_id().map(str::to_owned), headers)
            })
        })
    }

    /// Adds up what is read from now on, for `read_json`.
    fn keep_read(&self) {
        self.0.lock().read.get_or_insert_default();
    }

    /// What was read of a choice's text as JSON, as far as it goes.
    fn read_json<'py>(&self, py: Python<'py>, choice: u32) -> PyResult<Bound<'py, PyAny>> {
        let value = self.0.lock().read.as_ref().and_then(|read| read.json(choice));
        value.object(py)
    }
}

impl Stream {
    pub(crate) fn new(handle: StreamHandle, runtime: &'static Runtime, caller: Option<Arc<wakeup::Shared>>) -> Self {
        let state = State {
            chunks: Batch::default(),
            end: None,
            work: None,
            waker: None,
            waiter: None,
            is_waited_for: false,
            turn: TURN,
            caller,
            read: None,
        };
        Self(Arc::new(Reader { runtime, own: OfThisProcess::new(Own { handle, state: Mutex::new(state) }) }))
    }
}

#[pymethods]
impl Chunks {
    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Reader::next_awaitable(&slf.get().0, slf)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<ChatCompletionChunk>> {
        self.0.next_blocking(py)
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        // Where someone waits all the same, this iteration was refused, and the stream is theirs.
        if !self.0.lock().is_waited_for {
            self.0.close();
        }
    }
}

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&mut self) -> PyResult<()> {
        Err(self.0.take().unwrap_or_else(|| PyRuntimeError::new_err("this was awaited already")))
    }
}

impl Reader {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.own.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there without waiting.
    fn next(&self) -> Next {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(chunk) = state.chunks.next() {
            if let Some(read) = &mut state.read {
                read.push(chunk.record());
            }
            state.turn = state.turn.saturating_sub(1);
            return Next::Chunk(chunk);
        }
        match &mut state.end {
            None => Next::Wait,
            Some(End::Failed { error, is_told: is_told @ false }) => {
                *is_told = true;
                Next::Failed(error.clone())
            }
            Some(_) => Next::End,
        }
    }

    fn begin_wait(&self) -> PyResult<()> {
        let mut state = self.lock();
        if std::mem::replace(&mut state.is_waited_for, true) {
            return Err(PyRuntimeError::new_err("this stream is being read already; only one task or thread can read it"));
        }
        state.turn = TURN;
        Ok(())
    }

    fn end_wait(&self) {
        let mut state = self.lock();
        state.is_waited_for = false;
        state.waiter = None;
    }

    fn next_blocking(&self, py: Python<'_>) -> PyResult<Option<ChatCompletionChunk>> {
        loop {
            match self.next() {
                Next::Chunk(chunk) => return Ok(Some(ChatCompletionChunk::of(chunk))),
                Next::End => return Ok(None),
                Next::Failed(error) => return Err(exception(py, &error)),
                Next::Wait => {
                    self.begin_wait()?;
                    let waited = operation::block(py, self);
                    self.end_wait();
                    waited?;
                }
            }
        }
    }

    /// An awaitable of the next chunk: one that is done where the chunk is there, or can be had by looking. `owner` lives as long as a
    /// wait does.
    fn next_awaitable<'py>(self: &Arc<Self>, owner: &Bound<'py, impl PyClass>) -> PyResult<Bound<'py, PyAny>> {
        let py = owner.py();
        let mut next = self.next();
        if matches!(next, Next::Wait) && self.may_look() && py.detach(|| self.poll(&mut Context::from_waker(Waker::noop()))) {
            next = self.next();
        }
        let outcome = match next {
            Next::Chunk(chunk) => PyStopIteration::new_err(Py::new(py, ChatCompletionChunk::of(chunk))?),
            Next::End => PyStopAsyncIteration::new_err(()),
            Next::Failed(error) => exception(py, &error),
            Next::Wait => {
                let is_turn_over = self.lock().turn == 0;
                return wait_for_chunk(py)?.call1((Stream(Arc::clone(self)), is_turn_over, owner));
            }
        };
        Bound::new(py, Ready(Some(outcome))).map(Bound::into_any)
    }

    /// Whether nobody waits, and the event loop need not have its turn.
    fn may_look(&self) -> bool {
        let state = self.lock();
        state.turn > 0 && !state.is_waited_for
    }

    fn close(&self) {
        let mut state = self.lock();
        // Whoever waits has the engine's stream; only when it is let go can it be closed here.
        state.work = None;
        state.chunks = Batch::default();
        if state.end.is_none() {
            self.own.handle.cancel();
            state.end = Some(End::Closed(self.rest()));
        }
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// The error that a closed stream ends with.
    fn rest(&self) -> Option<Error> {
        let mut cx = Context::from_waker(Waker::noop());
        let _runtime = self.runtime.enter();
        loop {
            match pin!(self.own.handle.next_batch()).poll(&mut cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Some(error),
                Poll::Ready(None) => return None,
                Poll::Pending => return Some(self.leave_to_hooks()),
            }
        }
    }

    /// Hooks are still told of the end; nobody waits for them.
    fn leave_to_hooks(&self) -> Error {
        let handle = self.own.handle.clone();
        let said = pin!(handle.with(ChatStream::completion)).poll(&mut Context::from_waker(Waker::noop()));
        let error = Error::new(ErrorKind::Cancelled, "the stream was closed");
        let left = Left::begin();
        self.runtime.spawn(async move {
            while handle.next_batch().await.is_some() {}
            drop(left);
        });
        match said {
            Poll::Ready(said) => error.with_partial(said),
            Poll::Pending => error,
        }
    }

    /// Looks at the engine's stream. A wait for it is begun anew.
    fn look<T>(&self, look: impl FnOnce(&ChatStream) -> T) -> T {
        let mut state = self.lock();
        state.work = None;
        let looked = pin!(self.own.handle.with(look)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(value) = looked else {
            unreachable!("only the wait, which has ended, and this lock's owner have the stream")
        };
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
        value
    }
}

impl Operation for Reader {
    fn poll(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        if !state.chunks.is_empty() || state.end.is_some() {
            return true;
        }
        let work = state.work.get_or_insert_with(|| {
            let handle = self.own.handle.clone();
            Box::pin(async move { handle.next_batch().await })
        });
        let _runtime = self.runtime.enter();
        let caller = state.caller.as_ref();
        match std::panic::catch_unwind(AssertUnwindSafe(|| on_behalf_of(caller, || work.as_mut().poll(cx)))) {
            Ok(Poll::Pending) => {
                state.waker = Some(cx.waker().clone());
                return false;
            }
            Ok(Poll::Ready(Some(Ok(chunks)))) => state.chunks = Batch { chunks: Arc::new(chunks), read: 0 },
            Ok(Poll::Ready(Some(Err(error)))) => state.end = Some(End::Failed { error, is_told: false }),
            Ok(Poll::Ready(None)) => state.end = Some(End::Over),
            Err(panic) => state.end = Some(End::Failed { error: panicked(&*panic), is_told: false }),
        }
        state.work = None;
        state.waker = None;
        true
    }

    fn abandon(&self) {
        let mut state = self.lock();
        state.work = None;
        state.waker = None;
        state.is_waited_for = false;
        if let Some(waiter) = state.waiter.take() {
            waiter.forget();
        }
    }
}

/// The coroutine function of a chunk that is still to come.
fn wait_for_chunk(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static WAIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let wait = WAIT.get_or_try_init(py, || py.import("liter_llm._waiting")?.getattr("next_chunk").map(Bound::unbind))?;
    Ok(wait.bind(py))
}
