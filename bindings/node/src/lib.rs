//! What `packages/node` loads: a client, calls in flight, and the inbox through which calls wake their event loop.
//!
//! A call is polled by JavaScript's own thread, and nothing runs for it while JavaScript does not ask: what is there is handed over at
//! once, and whatever becomes ready later, in however many calls, wakes the event loop once. The same poll, blocking, is the plain
//! `for…of`. The network itself is on the engine's shared runtime.

#![allow(missing_debug_implementations, reason = "JavaScript holds these, and Rust prints none of them")]
#![allow(
    clippy::needless_pass_by_value,
    clippy::trivially_copy_pass_by_ref,
    reason = "arguments come from JavaScript by value, and its environment by reference"
)]

mod batch;
mod call;
mod client;
mod inbox;
mod questions;
