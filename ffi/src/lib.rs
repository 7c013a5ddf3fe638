//! The C ABI of liter-llm. `include/literllm.h` is made from this crate and is its manual.
//!
//! A C type has a file: `client` starts calls, `hook` stands around them, `call` steers one, `stream` is the pull form, `chunk`, `response` and `error` are what a
//! program reads. `pump` moves chunks from the engine to a callback. What C hands over is turned into Rust, and Rust's into C, in `raw` and
//! `callback`, where all unsafe code is. Every export runs inside `guard`, so that no panic leaves.

mod callback;
mod guard;
mod pump;
mod raw;
mod text;

// In the order in which the header shows them.
mod client;

mod hook;

mod call;

mod stream;

mod chunk;

mod response;

mod error;

use std::ffi::c_char;

/// The version of this library, such as "0.1.0". Static; never freed.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Makes the next call panic on its way into the engine.
/// cbindgen:ignore
#[cfg(feature = "test-hooks")]
#[unsafe(no_mangle)]
pub extern "C" fn literllm_test_panic_next() {
    pump::PANIC_NEXT.store(true, std::sync::atomic::Ordering::SeqCst);
}
