//! A deterministic LLM provider on loopback that breaks on demand, to test anything that talks to one.
//!
//! ```no_run
//! # async fn test() -> std::io::Result<()> {
//! use literllm_mock::{Event, Mock, Options};
//!
//! let mock = Mock::start(Options::default()).await?;
//! // Point the client under test at mock.url() + "/v1" and ask the model "demo?cut=3&id=mine".
//! let seen = mock.wait("mine", Event::Done, std::time::Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```
//!
//! Every request says itself how it wants to be treated, in one of three spellings of the same `key=value` list: the
//! header `x-mock: cut=3; split=7`, the tail of the model name `any-model?cut=3&split=7` (not echoed), or the path prefix
//! `/mock/cut=3,split=7/v1/…`. Where they disagree the header wins, then the model. An unknown key is a 400.
//! Values may be percent-encoded; a tool's JSON need not be.
//!
#![doc = include_str!("../README.md")]

mod answer;
mod auth;
mod behaviour;
mod control;
mod dialects;
mod journal;
mod mock;
mod recorded;
mod reply;
mod script;
mod server;
mod tls;

pub use journal::{Event, Outcome, Seen, Stats};
pub use mock::Mock;
pub use server::{Options, Protocol, serve};
