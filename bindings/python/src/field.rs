//! A wire value as Python sees it: as an attribute, and in plain dicts and lists.

use std::collections::HashMap;

use literllm::{Content, FinishReason, Role, Str};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString};
use serde_json::{Map, Value};

pub(crate) trait Field {
    /// As the value of an attribute.
    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;

    /// As dicts, lists, strings and numbers; `None` is left out of dicts where `compact` says so.
    fn plain<'py>(&self, py: Python<'py>, _compact: bool) -> PyResult<Bound<'py, PyAny>> {
        self.object(py)
    }
}

macro_rules! field_as_itself {
    ($($ty:ty),*) => { $(impl Field for $ty {
        fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
            (*self).into_bound_py_any(py)
        }
    })* };
}
field_as_itself!(bool, u32, u64, i64, f64);

macro_rules! field_as_text {
    ($($ty:ty),*) => { $(impl Field for $ty {
        fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
            Ok(PyString::new(py, self).into_any())
        }
    })* };
}
field_as_text!(String, Str, Role, FinishReason);

impl<T: Field> Field for Option<T> {
    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.as_ref().map_or_else(|| Ok(py.None().into_bound(py)), |value| value.object(py))
    }

    fn plain<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyAny>> {
        self.as_ref().map_or_else(|| Ok(py.None().into_bound(py)), |value| value.plain(py, compact))
    }
}

impl<T: Field> Field for Box<T> {
    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (**self).object(py)
    }

    fn plain<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyAny>> {
        (**self).plain(py, compact)
    }
}

/// A list that may be absent: an empty one was not sent, and reads as `None`, as in OpenAI's own types.
impl<T: Field> Field for Vec<T> {
    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.is_empty() { Ok(py.None().into_bound(py)) } else { list(py, self).map(Bound::into_any) }
    }

    fn plain<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyAny>> {
        if self.is_empty() { Ok(py.None().into_bound(py)) } else { plain_list(py, self, compact) }
    }
}

pub(crate) fn list<'py>(py: Python<'py>, values: &[impl Field]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    values.iter().try_for_each(|value| list.append(value.object(py)?))?;
    Ok(list)
}

pub(crate) fn plain_list<'py>(py: Python<'py>, values: &[impl Field], compact: bool) -> PyResult<Bound<'py, PyAny>> {
    let list = PyList::empty(py);
    values.iter().try_for_each(|value| list.append(value.plain(py, compact)?))?;
    Ok(list.into_any())
}

impl Field for HashMap<String, String> {
    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.into_bound_py_any(py)
    }
}

impl Field for Content {
    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Text(text) => text.object(py),
            Self::Parts(_) => parts(self).object(py),
        }
    }

    fn plain<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Text(text) => text.object(py),
            Self::Parts(_) => parts(self).plain(py, compact),
        }
    }
}

fn parts(content: &Content) -> Value {
    serde_json::to_value(content).expect("content parts are JSON")
}

impl Field for Value {
    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Null => Ok(py.None().into_bound(py)),
            Self::Bool(value) => value.object(py),
            Self::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => number.object(py),
                (_, Some(number)) => number.object(py),
                _ => number.as_f64().object(py),
            },
            Self::String(text) => text.object(py),
            Self::Array(values) => list(py, values).map(Bound::into_any),
            Self::Object(fields) => fields.object(py),
        }
    }

    fn plain<'py>(&self, py: Python<'py>, _compact: bool) -> PyResult<Bound<'py, PyAny>> {
        match self {
            // What is `null` in a vendor's own object was sent so, and stays.
            Self::Array(values) => plain_list(py, values, false),
            Self::Object(fields) => fields.plain(py, false),
            other => other.object(py),
        }
    }
}

/// A dict whose fields are attributes too, as code for OpenAI's types reads them.
impl Field for Map<String, Value> {
    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static FIELDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let class = FIELDS.get_or_try_init(py, || py.import("liter_llm._fields")?.getattr("Fields").map(Bound::unbind))?;
        let fields = class.bind(py).call0()?.cast_into::<PyDict>()?;
        self.iter().try_for_each(|(name, value)| fields.set_item(name, value.object(py)?))?;
        Ok(fields.into_any())
    }

    fn plain<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyAny>> {
        let dict = PyDict::new(py);
        self.iter().try_for_each(|(name, value)| dict.set_item(name, value.plain(py, compact)?))?;
        Ok(dict.into_any())
    }
}
