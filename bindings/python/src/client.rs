//! The client, and a call that waits for its answer.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use literllm::{ChatCompletionRequest, ClientConfig, Error, ErrorKind, RequestOptions, StreamHandle};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::error::{exception, panicked};
use crate::fork::{self, OfThisProcess};
use crate::operation::{self, Operation};
use crate::outside::{self, Left};
use crate::records::ChatCompletion;
use crate::stream::Stream;
use crate::wakeup::{self, Waiter, WakeUp, on_behalf_of};

#[pyclass(module = "liter_llm._native", frozen)]
pub(crate) struct Client(OfThisProcess<literllm::Client>);

#[pymethods]
impl Client {
    /// `hooks` are the stages of each, whether it has coroutines, and what runs it; `token_providers` what gives a provider's tokens.
    #[new]
    fn new(
        py: Python<'_>,
        config: &str,
        hooks: Vec<(Vec<String>, bool, Py<PyAny>)>,
        token_providers: HashMap<String, Py<PyAny>>,
    ) -> PyResult<Self> {
        let mut config = ClientConfig::from_json(config).map_err(|error| exception(py, &error))?;
        let hook =
            |(stages, has_coroutines, run): (Vec<String>, bool, Py<PyAny>)| outside::hook(py, &stages, has_coroutines, run);
        let hooks = hooks.into_iter().map(hook).collect::<PyResult<Vec<_>>>()?;
        for (name, run) in token_providers {
            let provider = outside::token_provider(&name, run);
            config.token_providers.insert(name, provider);
        }
        let client = literllm::Client::with_hooks(config, hooks).map_err(|error| exception(py, &error))?;
        Ok(Self(OfThisProcess::new(client)))
    }

    /// Asks for a whole answer.
    fn chat(&self, py: Python<'_>, request: &str, options: Option<&str>) -> PyResult<Call> {
        let (request, options) = read(py, request, options)?;
        let client = self.0.clone();
        Call::new(async move { client.chat_with(request, &options).await.map(|answer| Answer::Whole(Box::new(answer))) })
    }

    /// Asks for a stream.
    fn chat_stream(&self, py: Python<'_>, request: &str, options: Option<&str>) -> PyResult<Call> {
        let (request, options) = read(py, request, options)?;
        let client = self.0.clone();
        Call::new(async move { client.chat_stream_with(request, &options).await.map(|stream| Answer::Stream(stream.into())) })
    }
}

/// The names of all providers.
#[pyfunction]
pub(crate) fn providers() -> Vec<String> {
    literllm::providers::known().map(|host| host.name.to_string()).collect()
}

fn read(py: Python<'_>, request: &str, options: Option<&str>) -> PyResult<(ChatCompletionRequest, RequestOptions)> {
    let request = serde_json::from_str(request).map_err(|error| {
        let message = format!("the request is wrong: {error}");
        exception(py, &Error::new(ErrorKind::InvalidRequest, message))
    })?;
    let options = options.map_or_else(|| Ok(RequestOptions::default()), RequestOptions::from_json);
    Ok((request, options.map_err(|error| exception(py, &error))?))
}

enum Answer {
    Whole(Box<literllm::ChatCompletion>),
    Stream(StreamHandle),
}

type Work = Pin<Box<dyn Future<Output = literllm::Result<Answer>> + Send>>;

/// A call on its way. Dropping it before its answer has come ends it.
#[pyclass(module = "liter_llm._native", frozen)]
pub(crate) struct Call(Arc<Shared>);

struct Shared {
    runtime: &'static Runtime,
    state: OfThisProcess<Mutex<State>>,
    waiter: Mutex<Option<Arc<Waiter>>>,
    /// The event loop that waits.
    caller: OnceLock<Arc<wakeup::Shared>>,
}

enum State {
    Idle(Work),
    Blocking(Work),
    Running(Running),
    Done(literllm::Result<Answer>),
    /// The answer was handed out, or is no longer wanted.
    Over,
}

/// A task that ends with its owner.
struct Running(Option<JoinHandle<literllm::Result<Answer>>>);

impl Drop for Running {
    fn drop(&mut self) {
        let Some(task) = self.0.take() else { return };
        if !task.is_finished() {
            task.abort();
            // Only when the task is gone are its hooks being told of the end.
            let left = Left::begin();
            literllm::runtime::shared().spawn(async move {
                let _ = task.await;
                drop(left);
            });
        }
    }
}

#[pymethods]
impl Call {
    /// Begins to wait in an event loop; true when the answer is there already.
    fn watch(&self, py: Python<'_>, wake_up: &WakeUp, callback: Py<PyAny>) -> bool {
        let caller = Arc::clone(self.0.caller.get_or_init(|| wake_up.shared()));
        self.0.advance(|state, runtime| match state {
            State::Idle(mut work) => {
                let work = poll_fn(move |cx| on_behalf_of(Some(&caller), || work.as_mut().poll(cx)));
                State::Running(Running(Some(runtime.spawn(work))))
            }
            other => other,
        });
        let (waiter, ready) = wake_up.watch(py, &self.0, callback);
        *self.0.waiter.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiter);
        ready
    }

    /// Waits in this thread.
    fn block(&self, py: Python<'_>) -> PyResult<()> {
        self.0.advance(|state, _| match state {
            State::Idle(work) => State::Blocking(work),
            other => other,
        });
        operation::block(py, &*self.0)
    }

    fn abandon(&self) {
        self.0.abandon();
    }

    /// The answer: a `ChatCompletion` or a `Stream`. It is handed out once.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut state = self.0.lock();
        if !matches!(*state, State::Done(_)) {
            return Err(PyRuntimeError::new_err("this call has no answer to hand out"));
        }
        let State::Done(result) = std::mem::replace(&mut *state, State::Over) else { unreachable!("it was looked at above") };
        drop(state);
        match result {
            Ok(Answer::Whole(answer)) => ChatCompletion::holding(*answer).into_bound_py_any(py),
            Ok(Answer::Stream(handle)) => Stream::new(handle, self.0.runtime, self.0.caller.get().cloned()).into_bound_py_any(py),
            Err(error) => Err(exception(py, &error)),
        }
    }
}

impl Call {
    fn new(work: impl Future<Output = literllm::Result<Answer>> + Send + 'static) -> PyResult<Self> {
        let runtime = fork::runtime()?;
        let state = OfThisProcess::new(Mutex::new(State::Idle(Box::pin(work))));
        Ok(Self(Arc::new(Shared { runtime, state, waiter: Mutex::default(), caller: OnceLock::new() })))
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, next: impl FnOnce(State, &'static Runtime) -> State) {
        let mut state = self.lock();
        let now = std::mem::replace(&mut *state, State::Over);
        *state = next(now, self.runtime);
    }
}

impl Operation for Shared {
    fn poll(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        let result = match &mut *state {
            State::Running(Running(Some(task))) => match Pin::new(task).poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(result)) => result,
                Poll::Ready(Err(error)) if error.is_panic() => Err(panicked(&*error.into_panic())),
                Poll::Ready(Err(_)) => Err(Error::new(ErrorKind::Cancelled, "the call was cancelled")),
            },
            State::Blocking(work) => {
                let _runtime = self.runtime.enter();
                match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => return false,
                    Ok(Poll::Ready(result)) => result,
                    Err(panic) => Err(panicked(&*panic)),
                }
            }
            State::Running(Running(None)) | State::Idle(_) | State::Done(_) | State::Over => return true,
        };
        *state = State::Done(result);
        true
    }

    fn abandon(&self) {
        *self.lock() = State::Over;
        if let Some(waiter) = self.waiter.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waiter.forget();
        }
    }
}
