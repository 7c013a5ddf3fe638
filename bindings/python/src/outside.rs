//! Python code that the engine asks: hooks, and sources of tokens. It runs in threads of its own and in its caller's event loop, never in
//! the engine's threads and never under a lock.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use literllm::hooks::{HookCall, Stage, Stages, ends_under_way, relay, relay_tokens};
use literllm::{Hook, TokenProvider};
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use serde::Deserialize;

use crate::error::exception;
use crate::{fork, wakeup};

/// How long the interpreter's end waits for Python code that is still being asked.
const LAST_WAIT: Duration = Duration::from_secs(5);

static CLOSED: AtomicBool = AtomicBool::new(false);
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static LEFT: AtomicUsize = AtomicUsize::new(0);

type Answer = Box<dyn FnOnce(&str, Option<Raised>) + Send>;

/// Where the answer goes. Dropped unanswered, nothing was said.
#[pyclass(module = "liter_llm._native", frozen)]
pub(crate) struct Reply(Mutex<Option<Answer>>);

#[pymethods]
impl Reply {
    /// Only the first answer counts. The exception that an error comes from is the cause of what the caller gets.
    #[pyo3(signature = (text, raised = None))]
    fn answer(&self, py: Python<'_>, text: &str, raised: Option<Py<PyBaseException>>) {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(answer) = answer {
            py.detach(|| answer(text, raised.map(Raised)));
        }
    }
}

/// An exception of the program's, as what an engine's error comes from.
#[derive(Debug)]
pub(crate) struct Raised(pub(crate) Py<PyBaseException>);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an exception in Python")
    }
}

impl std::error::Error for Raised {}

/// A hook over `run(event, reply, start)`, which is asked at the stages named. Where it `has_coroutines`, the event loop of a call is
/// remembered from its beginning to its end, which may come in another thread.
pub(crate) fn hook(py: Python<'_>, stages: &[String], has_coroutines: bool, run: Py<PyAny>) -> PyResult<Arc<dyn Hook>> {
    let wanted = Stages::from_names(stages).map_err(|error| exception(py, &error))?;
    let run = Arc::new(run);
    if !has_coroutines {
        return Ok(relay(wanted, move |call| ask_hook(&run, call, None)));
    }
    let sent = wanted.union([Stage::BeforeRequest, Stage::OnEnd].into_iter().collect());
    let callers = Callers::default();
    Ok(relay(sent, move |call| {
        let (stage, caller) = callers.of(&call);
        if wanted.contains(stage) {
            ask_hook(&run, call, caller);
        }
    }))
}

fn ask_hook(run: &Arc<Py<PyAny>>, call: HookCall, caller: Option<Arc<wakeup::Shared>>) {
    let event = call.event().to_owned();
    ask(run, event, caller.or_else(wakeup::caller), move |text, raised| match raised {
        Some(raised) => call.answer_from(text, raised),
        None => call.answer(text),
    });
}

/// The event loops of the calls that are under way.
#[derive(Default)]
struct Callers(Mutex<HashMap<u64, Weak<wakeup::Shared>>>);

impl Callers {
    /// The stage of a hook's call, and the event loop that the call was made in.
    fn of(&self, call: &HookCall) -> (Stage, Option<Arc<wakeup::Shared>>) {
        #[derive(Deserialize)]
        struct Head<'a> {
            stage: &'a str,
            call: u64,
        }
        let head: Head<'_> = serde_json::from_str(call.event()).expect("an event says its stage and its call");
        let stage = Stage::ALL.into_iter().find(|stage| stage.as_str() == head.stage).expect("a stage that was asked for");
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match stage {
            Stage::BeforeRequest => {
                let known = callers.get(&head.call).and_then(Weak::upgrade);
                let caller = known.or_else(wakeup::caller);
                if let Some(caller) = &caller {
                    callers.insert(head.call, Arc::downgrade(caller));
                }
                (stage, caller)
            }
            Stage::OnEnd => (stage, callers.remove(&head.call).and_then(|caller| caller.upgrade())),
            _ => (stage, callers.get(&head.call).and_then(Weak::upgrade)),
        }
    }
}

/// A provider's source of tokens over `run(event, reply, start)`.
pub(crate) fn token_provider(provider: &str, run: Py<PyAny>) -> TokenProvider {
    let run = Arc::new(run);
    relay_tokens(provider, move |call| ask_hook(&run, call, None))
}

/// Has `run(event, reply, start)` called in a thread that may block. `start` starts a coroutine in the caller's event loop; `None` where
/// there is none.
fn ask(
    run: &Arc<Py<PyAny>>,
    event: String,
    caller: Option<Arc<wakeup::Shared>>,
    answer: impl FnOnce(&str, Option<Raised>) + Send + 'static,
) {
    let Some(turn) = Turn::begin() else { return };
    let run = Arc::clone(run);
    let reply = Reply(Mutex::new(Some(Box::new(answer))));
    literllm::runtime::shared().spawn_blocking(move || {
        Python::try_attach(move |py| {
            let start = caller.as_ref().and_then(|caller| caller.start(py));
            if let Err(problem) = run.call1(py, (event, reply, start)) {
                problem.write_unraisable(py, None);
            }
            drop(run);
        });
        drop(turn);
    });
}

/// Python code is being asked; none is any more once the interpreter ends.
struct Turn;

impl Turn {
    fn begin() -> Option<Self> {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        let turn = Self;
        (!CLOSED.load(Ordering::SeqCst)).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A call that was left, and has not begun yet to tell its hooks of the end.
pub(crate) struct Left;

impl Left {
    pub(crate) fn begin() -> Self {
        LEFT.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        LEFT.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Run by Python before the interpreter ends: the ends of calls that were left are still told; then nothing is asked any more, and what
/// is still asked is waited for.
#[pyfunction]
pub(crate) fn before_exit(py: Python<'_>) {
    if fork::is_left_behind() {
        return;
    }
    let since = Instant::now();
    let wait_while = |is_busy: fn() -> bool| {
        while is_busy() && since.elapsed() < LAST_WAIT {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    py.detach(|| {
        wait_while(|| LEFT.load(Ordering::SeqCst) > 0 || ends_under_way() > 0);
        CLOSED.store(true, Ordering::SeqCst);
        wait_while(|| RUNNING.load(Ordering::SeqCst) > 0);
    });
}
