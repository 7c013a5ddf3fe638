//! A handle to a running call.

use std::sync::Arc;

use crate::guard::guard;
use crate::pump::Control;
use crate::response::{Response, ResponseBox};

/// A call under way, started by literllm_client_chat() or literllm_client_chat_stream(). Its functions may be called from any thread, also
/// inside its callbacks, and also after the call is over.
///
/// Methods: literllm_call_response, literllm_call_resume, literllm_call_cancel, literllm_call_free.
#[derive(Debug)]
pub struct Call(Arc<Control>);

impl Call {
    pub fn new(control: &Arc<Control>) -> Self {
        Self(Arc::clone(control))
    }
}

/// The answer of a stream so far, which may be ahead of the chunks that were handed to `on_chunks`, and the whole answer of a call that is over;
/// the caller's to be given to literllm_response_free(). NULL while nothing has come, after an error, which has what had come as its partial
/// answer, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_call_response(call: Option<&Call>) -> *mut Response {
    guard(
        |_| std::ptr::null_mut(),
        || {
            let answer = call.and_then(|call| call.0.answer_so_far());
            answer.map_or(std::ptr::null_mut(), |answer| ResponseBox::new(answer).into_raw())
        },
    )
}

/// Ends the pause that `on_chunks` asked for. While no pause is asked for it does nothing, except that a resume that comes while the
/// callback still runs is remembered. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_call_resume(call: Option<&Call>) {
    guard(drop, || call.map_or((), |call| call.0.resume()));
}

/// Closes the connection to the provider, paused or not. The call ends with an error of kind `cancelled`, which carries what had come as
/// its partial answer, or as complete if all of it had been handed over. Returns at once; `on_done` follows. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_call_cancel(call: Option<&Call>) {
    guard(drop, || call.map_or((), |call| call.0.cancel()));
}

/// Gives the handle back, and cancels the call if it is not over: `on_done` still comes. It may be called inside a callback. NULL does
/// nothing.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_call_free(call: Option<Box<Call>>) {
    guard(drop, || {
        if let Some(call) = call {
            call.0.cancel();
        }
    });
}
