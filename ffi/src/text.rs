//! Strings as C sees them.

use std::ffi::c_char;

use crate::guard::guard;
use crate::raw;

/// A piece of UTF-8 text, borrowed: `data` is NULL where there is none, and is not NUL-terminated. Print it with
/// `printf("%.*s", (int)text.length, text.data)`; make one of a C string with literllm_text_of().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Text {
    pub data: *const c_char,
    /// In bytes.
    pub length: usize,
}

/// A C string as a text, borrowed as every text. NULL gives no text.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_text_of(string: *const c_char) -> Text {
    guard(
        |_| Text::NONE,
        || raw::c_str(string).map_or(Text::NONE, |string| Text { data: string.as_ptr(), length: string.count_bytes() }),
    )
}

impl Text {
    pub const NONE: Self = Self { data: std::ptr::null(), length: 0 };

    /// Points at what must outlive it.
    pub fn of(text: &str) -> Self {
        // An empty string of Rust may point at no memory at all, which readers with a garbage collector stumble over.
        let data = if text.is_empty() { c"".as_ptr() } else { text.as_ptr().cast() };
        Self { data, length: text.len() }
    }

    pub fn of_option(text: Option<&str>) -> Self {
        text.map_or(Self::NONE, Self::of)
    }
}
