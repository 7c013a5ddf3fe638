//! The wire, written once: OpenAI's request, response and chunk, by OpenAI's names.
//!
//! Every record carries fields it does not know in `extra`, in both directions. Sets that vendors extend (roles, finish reasons) are
//! string newtypes with constants for the known values; `null` and absent read the same.

#[macro_use]
mod record;
mod chunk;
mod message;
mod request;
mod response;
mod text;
#[cfg(feature = "uniffi")]
mod uniffi;
mod usage;

pub use chunk::{ChatCompletionChunk, ChunkChoice, Delta, FailedRoute, FunctionDelta, LegEvent, ToolCallDelta};
pub use message::{
    Annotation, AudioAnswer, Content, ContentPart, FileData, FunctionCall, ImageUrl, InputAudio, Message, ThinkingBlock,
    ToolCall, UrlCitation,
};
pub use record::Extra;
pub use request::{
    AudioOptions, ChatCompletionRequest, FunctionDefinition, JsonSchemaFormat, Models, ResponseFormat, Stop, StreamOptions, Tool,
    ToolChoice,
};
pub use response::{AnswerMeta, AttemptReport, ChatCompletion, Choice};
pub use text::{FinishReason, Role, Str};
pub use usage::{CompletionTokensDetails, PromptTokensDetails, Usage};

// Used by `record!` wherever it is expanded.
pub(crate) use record::Key;
// For counts that providers are loose about.
pub(crate) use usage::count;
