//! Unsafe code, first of two files: memory that C gave us, and memory that C gives back.
//!
//! The functions here are safe to call because the header makes their conditions the C program's duty: a pointer is NULL or valid for
//! what its comment says, and a handle is not used after it was freed.

use std::ffi::{CStr, c_char};

use literllm::ChatCompletionChunk;

use crate::chunk::{Chunk, Source};
use crate::error::{Error, ErrorBox};
use crate::response::{Response, ResponseBox};
use crate::text::Text;

/// The bytes of a text that the caller lends us for the call; none where it is NULL.
pub fn bytes<'a>(text: Text) -> Option<&'a [u8]> {
    if text.data.is_null() {
        return None;
    }
    // SAFETY: the header asks for `length` readable bytes at `data`, unchanged until the function returns.
    Some(unsafe { std::slice::from_raw_parts(text.data.cast(), text.length) })
}

/// A NUL-terminated string that the caller lends us; none where it is NULL.
pub fn c_str<'a>(text: *const c_char) -> Option<&'a CStr> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the header asks for a NUL-terminated string that is unchanged until the function returns.
    Some(unsafe { CStr::from_ptr(text) })
}

/// Writes an output if the caller wants it.
///
/// No reference is made of it: the value may be read by another thread before the function that has written it returns.
pub fn write<T>(output: *mut T, value: T) {
    if !output.is_null() {
        // SAFETY: the header asks for memory that a `T` can be written to; what was there is not read or dropped.
        unsafe { output.write(value) };
    }
}

/// Copies a struct whose first field is its size, as an older or newer caller knows it: fields that it lacks stay as in `known`.
pub fn sized<T: Copy>(given: *const T, known: T) -> Option<T> {
    if given.is_null() {
        return None;
    }
    let mut copy = known;
    // SAFETY: the header asks for the size in the first field, and for as many readable bytes. Only whole bytes of plain data are copied,
    // `T` being such a struct, and no more than it holds.
    unsafe {
        let size = given.cast::<usize>().read().min(size_of::<T>());
        std::ptr::copy_nonoverlapping(given.cast::<u8>(), (&raw mut copy).cast::<u8>(), size);
    }
    Some(copy)
}

/// What a chunk's view was made of.
pub fn source(chunk: &Chunk) -> &Source {
    // SAFETY: `chunk::Views` alone makes these views, and its sources live as long as they do.
    unsafe { &*chunk.source.cast::<Source>() }
}

/// One of the chunks that a batch of views shows.
pub fn nth<'a>(shown: *const ChatCompletionChunk, at: usize) -> &'a ChatCompletionChunk {
    // SAFETY: `at` is the place of a view, and the chunks lie as their views do and as long.
    unsafe { &*shown.add(at) }
}

/// The error that a view belongs to.
pub fn error_of(view: &Error) -> &ErrorBox {
    // SAFETY: `ErrorBox` alone makes these views, and each is reached through its box, whose address this is.
    unsafe { &*view.owner.cast::<ErrorBox>() }
}

/// Takes an error back from C.
pub fn take_error(view: *mut Error) {
    if !view.is_null() {
        // SAFETY: the header lets the caller free what a function returned, once; `ErrorBox::into_raw` made it of a box.
        drop(unsafe { Box::from_raw((*view).owner.cast::<ErrorBox>().cast_mut()) });
    }
}

/// The response that a view belongs to.
pub fn response_of(view: &Response) -> &ResponseBox {
    // SAFETY: as for `error_of`.
    unsafe { &*view.owner.cast::<ResponseBox>() }
}

/// Takes a response back from C.
pub fn take_response(view: *mut Response) {
    if !view.is_null() {
        // SAFETY: as for `take_error`.
        drop(unsafe { Box::from_raw((*view).owner.cast::<ResponseBox>().cast_mut()) });
    }
}

/// Pointers among values that own what they point at.
#[derive(Debug)]
pub struct Movable<T>(pub T);

// SAFETY: it is used for views alone, whose pointers lead to heap memory that their owner holds and moves with them, and that nothing
// changes while they are read.
unsafe impl<T> Send for Movable<T> {}
// SAFETY: as above; what is made on demand is made inside `OnceLock`.
unsafe impl<T> Sync for Movable<T> {}
