//! The engine's error as the Python exception of its kind.

use literllm::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::outside::Raised;
use crate::records::ChatCompletion;

pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    raised(py, error).unwrap_or_else(|problem| problem)
}

fn raised(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.get_or_try_init(py, || py.import("liter_llm._errors")?.getattr("from_json").map(Bound::unbind))?;
    let partial = error.partial().map(|partial| Py::new(py, ChatCompletion::holding(partial.clone()))).transpose()?;
    let causes = error.causes().iter().map(|cause| exception(py, cause)).collect::<Vec<_>>();
    let raised = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Raised>());
    let error = PyErr::from_value(make.bind(py).call1((error.to_json(), partial, causes))?);
    if let Some(Raised(cause)) = raised {
        error.set_cause(py, Some(PyErr::from_value(cause.bind(py).clone().into_any())));
    }
    Ok(error)
}

/// What a caught panic is to the caller.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Panic, format!("a bug in liter-llm: {}", said.unwrap_or("it panicked without a word")))
}
