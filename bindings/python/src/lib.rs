//! The native half of the Python package `liter_llm`: lowers values, and waits.
//!
//! A chunk is a thin class over the engine's own record; its attributes are made when they are read. A stream is polled on the thread that
//! reads it, so that a chunk that is there already costs neither a task nor a future, and one that is not is announced by the one wake-up
//! that all streams of an event loop share.

mod client;
mod error;
mod field;
mod fork;
mod operation;
mod outside;
mod records;
mod stream;
mod wakeup;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::client::{Call, Client, providers};
    #[pymodule_export]
    use crate::fork::after_fork_in_child;
    #[pymodule_export]
    use crate::outside::{Reply, before_exit};
    #[pymodule_export]
    use crate::records::{
        Annotation, AnswerMeta, AttemptReport, AudioAnswer, ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice,
        CompletionTokensDetails, Delta, FailedRoute, FunctionCall, FunctionDelta, LegEvent, Message, PromptTokensDetails,
        ThinkingBlock, ToolCall, ToolCallDelta, UrlCitation, Usage,
    };
    #[pymodule_export]
    use crate::stream::{Chunks, Ready, Stream};
    #[pymodule_export]
    use crate::wakeup::WakeUp;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        literllm::log::init();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
