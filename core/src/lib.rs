//! The engine of liter-llm: every LLM streamed the same way, as OpenAI's chunks.
//!
//! ```no_run
//! use literllm::{ChatCompletionRequest, Client};
//!
//! # async fn story() -> literllm::Result<()> {
//! let client = Client::from_env()?;
//! let mut stream = client.chat_stream(ChatCompletionRequest::new("openai/gpt-4o", ["Tell me a story"])).await?;
//! while let Some(chunk) = stream.next().await {
//!     print!("{}", chunk?.choices.first().and_then(|choice| choice.delta.content.as_deref()).unwrap_or_default());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A chunk's way: `transport` brings bytes, `decode` makes events of them, a file of `providers` says what an event means, and `stream`
//! puts it into the normal form, keeps the deadlines and knows whether the answer is whole.

pub mod auth;
mod client;
pub mod config;
pub mod decode;
pub mod error;
pub mod hooks;
#[cfg(feature = "log")]
pub mod log;
pub mod partial_json;
pub mod providers;
mod resilience;
pub mod runtime;
pub mod stream;
mod telemetry;
mod transport;
pub mod types;

pub use auth::{Credential, TokenProvider};
pub use client::Client;
pub use config::{ClientConfig, RequestOptions};
pub use error::{Error, ErrorKind, Result};
pub use hooks::Hook;
pub use stream::{Accumulator, ChatStream, StreamHandle};
pub use types::*;

#[cfg(feature = "uniffi")]
::uniffi::setup_scaffolding!();
