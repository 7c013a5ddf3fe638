//! Unsafe code, second of two files: calling back into C.

use std::ffi::c_void;
use std::sync::Arc;

use literllm::{ChatCompletion, ChatCompletionChunk, Error, ErrorKind, Result};

use crate::chunk::{Chunk, Views};
use crate::error::{self, ErrorBox};
use crate::hook::HookCall;
use crate::response::{Response, ResponseBox};

/// Receives chunks, in order, all that came together in one call; `count` is at least 1, except after LITERLLM_FLOW_GATHER. The chunks and all
/// that they point at are borrowed until it returns. It runs on a thread of the library, for one call never on two at a time, and must not
/// block: what it does holds up other streams. It may call every function but the blocking ones.
///
/// It answers LITERLLM_FLOW_CONTINUE, LITERLLM_FLOW_GATHER (the same, and it is told when nothing more is there), LITERLLM_FLOW_PAUSE (nothing
/// more is read from the provider until literllm_call_resume()) or LITERLLM_FLOW_STOP (the connection is closed, and only `on_done` follows).
pub type OnChunks = Option<unsafe extern "C" fn(user_data: *mut c_void, chunks: *const *const Chunk, count: usize) -> u32>;

/// Says that a call is over; exactly once for every call, after the last `on_chunks`, and the place to free `user_data`. One of `response`
/// (the whole answer) and `error` is not NULL; both are borrowed until it returns. It runs on a thread of the library or, where the
/// arguments are wrong, on the caller's before the starting function returns. It must not block.
pub type OnDone = Option<unsafe extern "C" fn(user_data: *mut c_void, response: *const Response, error: *const error::Error)>;

/// Asks a hook. `call` is the program's, to be given to literllm_hook_call_answer() now or later, once; the call waits for it. It runs on a
/// thread of the library or of a blocking call, for different calls at the same time, and must not block.
pub type OnHook = Option<unsafe extern "C" fn(user_data: *mut c_void, call: *mut HookCall)>;

/// Frees what a program gave to be handed back to it; on any thread.
pub type FreeUserData = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// What the consumer of chunks wants next: the answers of `on_chunks`.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Continue = 0,
    /// Hand over nothing more until literllm_call_resume(). A resume that comes while the callback still runs is remembered.
    Pause = 1,
    /// Close the connection. The call ends with an error of kind `cancelled`, or as complete if all of the answer had been handed over.
    Stop = 2,
    /// As `Continue`, for who puts chunks aside to wake somebody for many at once: as soon as nothing more is there, `on_chunks` is called with
    /// a `count` of 0, unless the call is over, which `on_done` says.
    Gather = 3,
}

/// A C program's own pointer, handed back to it and never looked at.
#[derive(Debug, Clone, Copy)]
pub struct UserData(pub *mut c_void);

// SAFETY: the header says on which threads the callbacks run, and that what they get is the program's to make fit for them.
unsafe impl Send for UserData {}
// SAFETY: as above; hooks are asked on several threads at the same time.
unsafe impl Sync for UserData {}

/// A program's `on_chunks`.
#[derive(Debug)]
pub struct ChunkCallback {
    on_chunks: OnChunks,
    user_data: UserData,
    views: Views,
}

impl ChunkCallback {
    pub fn new(on_chunks: OnChunks, user_data: UserData) -> Self {
        Self { on_chunks, user_data, views: Views::default() }
    }

    pub fn call(&mut self, chunks: &[ChatCompletionChunk]) -> Flow {
        let Some(on_chunks) = self.on_chunks else { return Flow::Continue };
        let views = self.views.show(chunks);
        // SAFETY: a function of the type that the header asks for, and views that live until `clear`.
        let answer = unsafe { on_chunks(self.user_data.0, views.as_ptr(), views.len()) };
        self.views.clear();
        [Flow::Pause, Flow::Stop, Flow::Gather].into_iter().find(|&known| known as u32 == answer).unwrap_or(Flow::Continue)
    }
}

/// A program's `on_done`: called once, at the latest when it is dropped.
#[derive(Debug)]
pub struct DoneCallback {
    on_done: OnDone,
    user_data: UserData,
}

impl DoneCallback {
    pub fn new(on_done: OnDone, user_data: UserData) -> Self {
        Self { on_done, user_data }
    }

    pub fn call(mut self, result: Result<Arc<ChatCompletion>>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<Arc<ChatCompletion>>) {
        let Some(on_done) = self.on_done.take() else { return };
        match result {
            Ok(answer) => {
                let response = ResponseBox::new(answer);
                // SAFETY: a function of the type that the header asks for, and a view whose owner lives until it returns.
                unsafe { on_done(self.user_data.0, response.view(), std::ptr::null()) };
            }
            Err(error) => {
                let error = ErrorBox::new(error);
                // SAFETY: as above.
                unsafe { on_done(self.user_data.0, std::ptr::null(), error.view()) };
            }
        }
    }
}

impl Drop for DoneCallback {
    fn drop(&mut self) {
        self.finish(Err(Error::new(ErrorKind::Panic, "the call was given up by a bug in liter-llm, please report it")));
    }
}

/// A program's hook, with its user data, which is freed when this is dropped.
#[derive(Debug)]
pub struct HookCallback {
    on_hook: OnHook,
    user_data: UserData,
    free_user_data: FreeUserData,
}

impl HookCallback {
    pub fn new(on_hook: OnHook, user_data: UserData, free_user_data: FreeUserData) -> Result<Self> {
        let this = Self { on_hook, user_data, free_user_data };
        if on_hook.is_none() {
            return Err(Error::new(ErrorKind::InvalidRequest, "there is no hook to ask: the argument is NULL"));
        }
        Ok(this)
    }

    pub fn call(&self, call: Box<HookCall>) {
        if let Some(on_hook) = self.on_hook {
            // SAFETY: a function of the type that the header asks for, and a handle that is its own to give back.
            unsafe { on_hook(self.user_data.0, Box::into_raw(call)) };
        }
    }
}

impl Drop for HookCallback {
    fn drop(&mut self) {
        if let Some(free_user_data) = self.free_user_data {
            // SAFETY: a function of the type that the header asks for; no hook is asked any more.
            unsafe { free_user_data(self.user_data.0) };
        }
    }
}
