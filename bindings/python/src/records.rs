//! The classes of an answer: each a frozen view of the engine's own record, whose attributes are made when they are read.
//!
//! `class!` names a record's fields; the compiler refuses it when the engine has a field that the class has not.

use std::sync::Arc;

use literllm::types;
use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

use crate::field::{Field, list, plain_list};

/// Where a class has its record.
pub(crate) trait Holds<T> {
    fn holding(record: T) -> Self;
    fn record(&self) -> &T;
}

impl<T> Holds<T> for Arc<T> {
    fn holding(record: T) -> Self {
        Arc::new(record)
    }

    fn record(&self) -> &T {
        self
    }
}

/// A chunk of the batch it came in, so that handing it out moves and allocates nothing.
#[derive(Clone)]
pub(crate) struct ChunkOf(Arc<Vec<types::ChatCompletionChunk>>, usize);

impl ChunkOf {
    pub(crate) fn batch(batch: &Arc<Vec<types::ChatCompletionChunk>>, at: usize) -> Self {
        Self(Arc::clone(batch), at)
    }
}

impl Holds<types::ChatCompletionChunk> for ChunkOf {
    fn holding(record: types::ChatCompletionChunk) -> Self {
        Self(Arc::new(vec![record]), 0)
    }

    fn record(&self) -> &types::ChatCompletionChunk {
        &self.0[self.1]
    }
}

/// A choice, by itself or of a chunk.
pub(crate) enum ChoiceOf {
    Own(Box<types::ChunkChoice>),
    Chunk(ChunkOf, usize),
}

impl Holds<types::ChunkChoice> for ChoiceOf {
    fn holding(record: types::ChunkChoice) -> Self {
        Self::Own(Box::new(record))
    }

    fn record(&self) -> &types::ChunkChoice {
        match self {
            Self::Own(choice) => choice,
            Self::Chunk(chunk, at) => &chunk.record().choices[*at],
        }
    }
}

/// A delta, by itself or of a chunk's choice.
pub(crate) enum DeltaOf {
    Own(Box<types::Delta>),
    Chunk(ChunkOf, usize),
}

impl Holds<types::Delta> for DeltaOf {
    fn holding(record: types::Delta) -> Self {
        Self::Own(Box::new(record))
    }

    fn record(&self) -> &types::Delta {
        match self {
            Self::Own(delta) => delta,
            Self::Chunk(chunk, at) => &chunk.record().choices[*at].delta,
        }
    }
}

/// Declares a record's class. `@type` stands for the record's `kind`, a `@list` is never `None`, and a `@kept`
/// field has a getter among the methods that keeps what it made.
macro_rules! class {
    (
        $(#[$meta:meta])*
        $name:ident in $holder:ty {
            $(@object = $object:literal,)?
            $(@type = $kind:ident,)?
            $(@list = $list:ident,)?
            $(@kept = $kept:ident,)?
            $($field:ident),* $(,)?
        }
        $(also { $also_name:ident: $also:ty = $nothing:expr })?
        $(methods { $($methods:tt)* })?
    ) => {
        $(#[$meta])*
        #[pyclass(module = "liter_llm", frozen)]
        pub(crate) struct $name {
            record: $holder,
            $($also_name: $also,)?
        }

        impl $name {
            pub(crate) fn holding(record: types::$name) -> Self {
                Self { record: Holds::holding(record), $($also_name: $nothing)? }
            }

            pub(crate) fn record(&self) -> &types::$name {
                self.record.record()
            }

            fn read(json: &str) -> PyResult<Self> {
                serde_json::from_str(json)
                    .map(Self::holding)
                    .map_err(|error| PyValueError::new_err(format!("this is no {}: {error}", stringify!($name))))
            }
        }

        #[pymethods]
        impl $name {
            #[new]
            #[pyo3(signature = (**fields))]
            fn new(py: Python<'_>, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
                let json = match fields {
                    Some(fields) => json_text(fields.as_any())?,
                    None => PyString::new(py, "{}"),
                };
                Self::read(&json.to_cow()?)
            }

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, [
                    $(stringify!($list),)? $(stringify!($kept),)? $(stringify!($field),)*
                    $({ let _ = stringify!($kind); "type" },)?
                ])
            }

            /// Reads what `model_dump` gave, or any mapping of the same shape.
            #[staticmethod]
            fn model_validate(obj: &Bound<'_, PyAny>) -> PyResult<Self> {
                Self::read(&json_text(obj)?.to_cow()?)
            }

            #[staticmethod]
            fn model_validate_json(json_data: &str) -> PyResult<Self> {
                Self::read(json_data)
            }

            /// As a dict, `None` for what was not sent; without those where `exclude_none` says so; exactly as on the wire with
            /// `exclude_unset`.
            #[pyo3(signature = (*, mode = "python", exclude_none = false, exclude_unset = false))]
            fn model_dump<'py>(
                &self,
                py: Python<'py>,
                mode: &str,
                exclude_none: bool,
                exclude_unset: bool,
            ) -> PyResult<Bound<'py, PyAny>> {
                let _ = mode;
                if exclude_unset { wire_value(self.record())?.plain(py, false) } else { self.record().plain(py, exclude_none) }
            }

            /// As JSON text; see `model_dump`.
            #[pyo3(signature = (*, indent = None, exclude_none = false, exclude_unset = false))]
            fn model_dump_json<'py>(
                &self,
                py: Python<'py>,
                indent: Option<usize>,
                exclude_none: bool,
                exclude_unset: bool,
            ) -> PyResult<Bound<'py, PyString>> {
                if exclude_unset && indent.is_none() {
                    return Ok(PyString::new(py, &wire_text(self.record())?));
                }
                json_of(&self.model_dump(py, "json", exclude_none, exclude_unset)?, indent)
            }

            /// Fields that this version does not know.
            #[getter]
            fn model_extra<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let dict = PyDict::new(py);
                self.record().extra.iter().try_for_each(|(name, value)| dict.set_item(name, value.object(py)?))?;
                Ok(dict)
            }

            fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
                match self.record().extra.get(name) {
                    Some(value) => value.object(py),
                    None => Err(PyAttributeError::new_err(format!("{} has no attribute {name:?}", stringify!($name)))),
                }
            }

            fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
                other.cast::<Self>().is_ok_and(|other| self.record() == other.get().record())
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                describe(stringify!($name), &self.record().object(py)?, &Self::__match_args__(py)?, &self.model_extra(py)?)
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
                Ok((slf.get_type().getattr("model_validate_json")?, (wire_text(slf.get().record())?,)))
            }

            fn __copy__(slf: &Bound<'_, Self>) -> Py<Self> {
                slf.clone().unbind()
            }

            fn __deepcopy__(slf: &Bound<'_, Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
                slf.clone().unbind()
            }

            $(
                #[getter]
                fn object(&self) -> &'static str {
                    $object
                }
            )?
            $(
                #[getter]
                fn r#type<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                    self.record().$kind.object(py)
                }
            )?
            $(
                #[getter]
                fn $list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                    list(py, &self.record().$list).map(Bound::into_any)
                }
            )?
            $(
                #[getter]
                fn $field<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                    self.record().$field.object(py)
                }
            )*
            $($($methods)*)?
        }

        impl Field for types::$name {
            fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Bound::new(py, $name::holding(self.clone())).map(Bound::into_any)
            }

            fn plain<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyAny>> {
                // Every field of the record, so that none that the engine gains is forgotten here.
                let types::$name { $($kind,)? $($list,)? $($kept,)? $($field,)* extra } = self;
                let dict = PyDict::new(py);
                let put = |name: &str, value: Bound<'py, PyAny>| {
                    if compact && value.is_none() { Ok(()) } else { dict.set_item(name, value) }
                };
                $(put("object", $object.into_pyobject(py)?.into_any())?;)?
                $(put("type", $kind.plain(py, compact)?)?;)?
                $(put(stringify!($list), plain_list(py, $list, compact)?)?;)?
                $(put(stringify!($kept), $kept.kept(py, compact)?)?;)?
                $(put(stringify!($field), $field.plain(py, compact)?)?;)*
                extra.iter().try_for_each(|(name, value)| put(name, value.plain(py, compact)?))?;
                Ok(dict.into_any())
            }
        }
    };
}

/// What a `kept` field is in plain form: a choice's delta is a dict, a chunk's choices are a list that is never `None`.
trait Kept {
    fn kept<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyAny>>;
}

impl Kept for types::Delta {
    fn kept<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyAny>> {
        self.plain(py, compact)
    }
}

impl Kept for Vec<types::ChunkChoice> {
    fn kept<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyAny>> {
        plain_list(py, self, compact)
    }
}

class! {
    /// One piece of a streamed answer.
    ChatCompletionChunk in ChunkOf {
        @object = "chat.completion.chunk",
        @kept = choices,
        id, created, model, usage, system_fingerprint, service_tier, literllm,
    }
    also { choices: PyOnceLock<Py<PyList>> = PyOnceLock::new() }
    methods {
        #[getter]
        fn choices<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyList>> {
            let choices = self.choices.get_or_try_init(py, || {
                let views = (0..self.record().choices.len()).map(|at| ChunkChoice {
                    record: ChoiceOf::Chunk(self.record.clone(), at),
                    delta: PyOnceLock::new(),
                });
                PyList::new(py, views.map(|view| Py::new(py, view)).collect::<PyResult<Vec<_>>>()?).map(Bound::unbind)
            })?;
            Ok(choices.bind(py))
        }

        /// The text that it adds to the first choice; empty when it adds none.
        #[getter]
        fn delta<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
            let first = self.record().choices.iter().find(|choice| choice.index == 0);
            PyString::new(py, first.and_then(|choice| choice.delta.content.as_deref()).unwrap_or_default())
        }

        /// Why the first choice ends, on the chunk that ends it.
        #[getter]
        fn finish_reason<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
            let first = self.record().choices.iter().find(|choice| choice.index == 0);
            first.and_then(|choice| choice.finish_reason.clone()).object(py)
        }

        /// Whether a model goes on here from what another had said.
        #[getter]
        fn resumed_from_partial(&self) -> bool {
            self.record().literllm.as_ref().is_some_and(|event| event.event == "resumed" && event.kept > 0)
        }

        /// The models that failed before the one that begins here, as `provider/model`; empty on all other chunks.
        #[getter]
        fn fallback_attempts(&self) -> Vec<String> {
            let failed = self.record().literllm.iter().flat_map(|event| &event.failed);
            failed.map(|route| format!("{}/{}", route.provider, route.model)).collect()
        }
    }
}

class! {
    /// What a chunk brings of one choice.
    ChunkChoice in ChoiceOf { @kept = delta, index, logprobs, finish_reason, native_finish_reason }
    also { delta: PyOnceLock<Py<Delta>> = PyOnceLock::new() }
    methods {
        #[getter]
        fn delta<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, Delta>> {
            let delta = self.delta.get_or_try_init(py, || match &self.record {
                ChoiceOf::Own(choice) => Py::new(py, Delta::holding(choice.delta.clone())),
                ChoiceOf::Chunk(chunk, at) => Py::new(py, Delta { record: DeltaOf::Chunk(chunk.clone(), *at) }),
            })?;
            Ok(delta.bind(py))
        }
    }
}

class! {
    /// What a chunk adds to a choice's message.
    Delta in DeltaOf {
        role, content, refusal, reasoning_content, tool_calls, function_call, thinking_blocks, reasoning_details, annotations, audio,
    }
}

class! {
    /// A piece of a tool call. The first piece of a call carries `id`, `type` and the name; later ones only arguments.
    ToolCallDelta in Arc<types::ToolCallDelta> { @type = kind, index, id, function }
}

class! {
    /// A piece of a function's name and arguments.
    FunctionDelta in Arc<types::FunctionDelta> { name, arguments }
}

class! {
    /// A whole answer: what `chat` returns and what a stream adds up to.
    ChatCompletion in Arc<types::ChatCompletion> {
        @object = "chat.completion",
        @list = choices,
        id, created, model, usage, system_fingerprint, service_tier, literllm,
    }
    also { parsed: Option<Py<PyAny>> = None }
    methods {
        #[classmethod]
        fn __class_getitem__<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
            class.py().import("types")?.getattr("GenericAlias")?.call1((class, item))
        }

        /// The text of the first choice; empty when it has none.
        #[getter]
        fn text<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
            PyString::new(py, self.record().text())
        }

        /// The first choice's message, to be appended to the conversation.
        #[getter]
        fn message<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
            self.record().message().map_or_else(|| Ok(py.None().into_bound(py)), |message| message.object(py))
        }

        /// The first choice's tool calls; an empty list when it has none.
        #[getter]
        fn tool_calls<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
            list(py, self.record().message().map_or(&[], |message| message.tool_calls.as_slice()))
        }

        /// Why the first choice ended.
        #[getter]
        fn finish_reason<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
            self.record().choices.first().and_then(|choice| choice.finish_reason.clone()).object(py)
        }

        /// The models that failed before the one that answered, or in the middle of the answer, as `provider/model`.
        #[getter]
        fn fallback_attempts(&self) -> Vec<String> {
            let attempts = self.record().literllm.iter().flat_map(|meta| &meta.attempts);
            let failed = attempts.filter(|attempt| attempt.error.is_some());
            failed.map(|attempt| format!("{}/{}", attempt.provider, attempt.model)).collect()
        }

        /// The provider that answered.
        #[getter]
        fn provider(&self) -> Option<&str> {
            self.record().literllm.as_ref()?.provider.as_deref()
        }

        /// The provider's name for the request.
        #[getter]
        fn request_id(&self) -> Option<&str> {
            self.record().literllm.as_ref()?.request_id.as_deref()
        }

        /// US dollars, where the model's price is known; never a guess.
        #[getter]
        fn cost(&self) -> Option<f64> {
            self.record().literllm.as_ref()?.cost
        }

        /// The answer in the form that `response_format` asked for, validated.
        #[getter]
        fn parsed<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyAny>> {
            self.parsed.as_ref().map(|parsed| parsed.bind(py))
        }

        fn _with_parsed(&self, parsed: Py<PyAny>) -> Self {
            Self { record: Arc::clone(&self.record), parsed: Some(parsed) }
        }
    }
}

class! {
    /// One of an answer's choices.
    Choice in Arc<types::Choice> { index, message, logprobs, finish_reason, native_finish_reason }
}

class! {
    /// One message of a conversation, the same in a request and in an answer, so that an answer can be sent back as it came.
    Message in Arc<types::Message> {
        role, content, name, tool_calls, tool_call_id, refusal, reasoning_content, thinking_blocks, reasoning_details, annotations,
        audio, function_call,
    }
    methods {
        /// Its text: the plain content, or the text parts joined.
        #[getter]
        fn text(&self) -> String {
            self.record().text()
        }

        #[staticmethod]
        fn system(content: &Bound<'_, PyAny>) -> PyResult<Self> {
            spoken(types::Role::SYSTEM, content)
        }

        #[staticmethod]
        fn user(content: &Bound<'_, PyAny>) -> PyResult<Self> {
            spoken(types::Role::USER, content)
        }

        #[staticmethod]
        fn assistant(content: &Bound<'_, PyAny>) -> PyResult<Self> {
            spoken(types::Role::ASSISTANT, content)
        }

        /// The result of a tool call.
        #[staticmethod]
        fn tool(tool_call_id: String, content: &Bound<'_, PyAny>) -> PyResult<Self> {
            let said = spoken(types::Role::TOOL, content)?;
            Ok(Self::holding(types::Message { tool_call_id: Some(tool_call_id), ..said.record().clone() }))
        }
    }
}

class! {
    /// A tool call of a whole answer.
    ToolCall in Arc<types::ToolCall> { @type = kind, id, function }
}

class! {
    /// A function's name and its arguments, as JSON text.
    FunctionCall in Arc<types::FunctionCall> { name, arguments }
}

class! {
    /// A piece of thinking that the provider wants back unchanged.
    ThinkingBlock in Arc<types::ThinkingBlock> { @type = kind, thinking, signature, data }
}

class! {
    /// A source that the answer cites.
    Annotation in Arc<types::Annotation> { @type = kind, url_citation }
}

class! {
    /// Where a cited page is.
    UrlCitation in Arc<types::UrlCitation> { url, title, start_index, end_index }
}

class! {
    /// A spoken answer.
    AudioAnswer in Arc<types::AudioAnswer> { id, data, transcript, expires_at }
}

class! {
    /// Token counts. `prompt_tokens` includes cached ones, `completion_tokens` includes reasoning.
    Usage in Arc<types::Usage> { prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details, completion_tokens_details }
}

class! {
    /// Of the prompt's tokens.
    PromptTokensDetails in Arc<types::PromptTokensDetails> { cached_tokens, cache_creation_tokens, audio_tokens }
}

class! {
    /// Of the answer's tokens.
    CompletionTokensDetails in Arc<types::CompletionTokensDetails> {
        reasoning_tokens, audio_tokens, accepted_prediction_tokens, rejected_prediction_tokens,
    }
}

class! {
    /// Who answered and at what cost.
    AnswerMeta in Arc<types::AnswerMeta> { provider, request_id, headers, cost, cached, attempts }
}

class! {
    /// One route that was asked, and what came of it.
    AttemptReport in Arc<types::AttemptReport> {
        provider, model, request_id, mode, error, message, started, seconds, characters, usage, cost,
    }
}

class! {
    /// How an answer goes on after a route failed.
    LegEvent in Arc<types::LegEvent> { event, attempt, provider, model, reason, mode, kept, failed }
}

class! {
    /// A route that failed.
    FailedRoute in Arc<types::FailedRoute> { provider, model, kind, message }
}

impl ChatCompletionChunk {
    pub(crate) fn of(record: ChunkOf) -> Self {
        Self { record, choices: PyOnceLock::new() }
    }
}

fn spoken(role: types::Role, content: &Bound<'_, PyAny>) -> PyResult<Message> {
    let content = serde_json::from_str::<types::Content>(&json_text(content)?.to_cow()?)
        .map_err(|error| PyValueError::new_err(format!("this is no message's content: {error}")))?;
    Ok(Message::holding(types::Message::new(role, content)))
}

/// JSON text of anything that a request may be made of.
fn json_text<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let encode = ENCODE.get_or_try_init(py, || py.import("liter_llm._json")?.getattr("encode").map(Bound::unbind))?;
    Ok(encode.bind(py).call1((value,))?.cast_into()?)
}

fn json_of<'py>(value: &Bound<'py, PyAny>, indent: Option<usize>) -> PyResult<Bound<'py, PyString>> {
    Ok(value.py().import("liter_llm._json")?.getattr("dump")?.call1((value, indent))?.cast_into()?)
}

fn wire_text(record: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(record).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn wire_value(record: &impl serde::Serialize) -> PyResult<serde_json::Value> {
    serde_json::to_value(record).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// `Name(field=value, …)` of the fields that say something.
fn describe(name: &str, object: &Bound<'_, PyAny>, fields: &Bound<'_, PyTuple>, extra: &Bound<'_, PyDict>) -> PyResult<String> {
    let mut said = Vec::new();
    for field in fields {
        let value = object.getattr(field.cast::<PyString>()?)?;
        if !value.is_none() {
            said.push(format!("{field}={}", value.repr()?));
        }
    }
    for (field, value) in extra {
        said.push(format!("{field}={}", value.repr()?));
    }
    Ok(format!("{name}({})", said.join(", ")))
}
