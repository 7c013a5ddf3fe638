//! A forked child has the parent's connections and runtime, but none of its threads: what was open there is not touched here.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::Runtime;

static STARTED: AtomicBool = AtomicBool::new(false);
static FORKED: AtomicBool = AtomicBool::new(false);

/// Run by Python in the child of every fork.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    FORKED.store(STARTED.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// The process's runtime, unless it stayed behind in the parent.
pub(crate) fn runtime() -> PyResult<&'static Runtime> {
    if is_left_behind() {
        return Err(PyRuntimeError::new_err(
            "liter_llm was in use before this process was forked, and its connections stayed with the parent; \
             make the first call after the fork, or start the process with multiprocessing's `spawn` or `forkserver`",
        ));
    }
    STARTED.store(true, Ordering::Relaxed);
    Ok(literllm::runtime::shared())
}

pub(crate) fn is_left_behind() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// What belongs to the process that made it: a forked child leaves it alone, since closing there would close it for the parent.
pub(crate) struct OfThisProcess<T>(Option<T>);

impl<T> OfThisProcess<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> Deref for OfThisProcess<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is taken out by its drop only")
    }
}

impl<T> Drop for OfThisProcess<T> {
    fn drop(&mut self) {
        if is_left_behind() {
            std::mem::forget(self.0.take());
        }
    }
}
