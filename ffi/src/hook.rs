//! Hooks: what a program puts around every call of a client.

use std::ffi::c_void;
use std::sync::Arc;

use literllm::hooks::{Stage, Stages, relay};
use literllm::{ErrorKind, Result};

use crate::callback::{FreeUserData, HookCallback, OnHook, UserData};
use crate::client::{Client, fallible, make, read_config};
use crate::error::Error;
use crate::guard::guard;
use crate::raw;
use crate::text::Text;

/// A hook is asked something, or for a token, and the call waits for its answer. It is the program's from `on_hook` on, until it is answered; an
/// answer may come from any thread, at any time. A call that is cancelled or past its total deadline waits no longer.
///
/// Methods: literllm_hook_call_event, literllm_hook_call_answer.
#[derive(Debug)]
pub struct HookCall(literllm::hooks::HookCall);

/// The moments at which hooks can be asked, to be joined by `|`.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookStage {
    /// A model is about to be asked: it may be asked something else, refused, or answered for.
    BeforeRequest = 1,
    /// A provider has answered well, and its content is about to come: it may be refused.
    AfterHeaders = 2,
    /// What came together is about to be handed over: it may be changed, or end the stream with an error.
    OnChunks = 4,
    /// A model has failed for good: the error may be changed or, while nothing was handed over, answered for.
    OnError = 8,
    /// A call is over: exactly once. Nothing can be changed.
    OnEnd = 16,
}

/// As literllm_client_new(), with a hook around every call. `stages` says when it is asked; all else costs nothing. `free_user_data`, which may
/// be NULL, is called exactly once: when the client and the last of its calls are gone or, where no client is made, before the return.
/// `on_hook` must not be NULL.
///
/// It is asked for tokens, too, whatever the stages: for those of the providers that `config` lists, as in
/// `{"token_providers": ["vertex_ai", "azure", "bedrock"]}`, when the client has none, or the one it has is about to end.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_client_new_with_hooks(
    config: Text,
    stages: u32,
    on_hook: OnHook,
    user_data: *mut c_void,
    free_user_data: FreeUserData,
    client: *mut *mut Client,
) -> *mut Error {
    let callback = HookCallback::new(on_hook, UserData(user_data), free_user_data);
    fallible(|| {
        let (callback, stages) = (callback?, read_stages(stages)?);
        let mut config = read_config(config)?;
        let callback = Arc::new(callback);
        let ask = move |call| callback.call(Box::new(HookCall(call)));
        config.relay_tokens(ask.clone());
        make(config, (stages != Stages::default()).then(|| relay(stages, ask)), client)
    })
}

/// What is asked, as JSON: an object with `stage` (such as "before_request"), `call`, `attempt`, `provider`, `model`, `stream`, and by stage
/// `request`; `status`, `headers` and `request_id`; `chunks`; `error`; or `response`, `error` and `seconds`. For a token it has `stage`, which
/// is "token", and `provider`. It lives until the answer. NULL gives no text.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_hook_call_event(call: Option<&HookCall>) -> Text {
    guard(|_| Text::NONE, || call.map_or(Text::NONE, |call| Text::of(call.0.event())))
}

/// Answers, and frees `call`. No text, an empty one or `{}` lets pass; else the answer is a JSON object with one of `request`, `chunks`, `error`
/// (an object of `kind` and `message`) and `response`, as the stage takes it; what it cannot take ends the call with an error of kind
/// `invalid_request`. `answer` is not used after the return. NULL does nothing.
///
/// A token is given by `{"token": {"secret": "…", "expires_at": 1767225600}}`: a text, or AWS's `access_key_id`, `secret_access_key` and
/// `session_token` in an object, and when it ends, in seconds since 1970; without that it is asked for again with every request. Anything else,
/// such as `{"error": {"message": "…"}}`, ends the call with an error of kind `authentication`, which has the message.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_hook_call_answer(call: Option<Box<HookCall>>, answer: Text) {
    guard(drop, || {
        let Some(call) = call else { return };
        if let Some(answer) = raw::bytes(answer) {
            call.0.answer(std::str::from_utf8(answer).unwrap_or("text that is not UTF-8"));
        }
    });
}

fn read_stages(bits: u32) -> Result<Stages> {
    const STAGES: [(HookStage, Stage); 5] = [
        (HookStage::BeforeRequest, Stage::BeforeRequest),
        (HookStage::AfterHeaders, Stage::AfterHeaders),
        (HookStage::OnChunks, Stage::OnChunks),
        (HookStage::OnError, Stage::OnError),
        (HookStage::OnEnd, Stage::OnEnd),
    ];
    let known = STAGES.iter().fold(0, |known, (bit, _)| known | *bit as u32);
    if bits & !known != 0 {
        return Err(literllm::Error::new(
            ErrorKind::InvalidRequest,
            format!("{bits:#x} names a stage that this version does not know"),
        ));
    }
    Ok(STAGES.iter().filter(|(bit, _)| bits & *bit as u32 != 0).map(|&(_, stage)| stage).collect())
}
