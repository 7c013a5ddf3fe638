//! Hooks and sources of tokens of Kotlin and Swift: each question is handed over and answered later, so that no thread of the engine waits for the language.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use literllm::hooks::{HookCall, Stage, Stages, relay, relay_tokens};
use literllm::{ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, ErrorKind, Hook, TokenProvider};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ErrorDetails;
use crate::failure::{Source, Thrown};

/// A moment at which hooks are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum HookStage {
    /// A route is about to be asked.
    BeforeRequest,
    /// A route has answered well.
    AfterHeaders,
    /// Chunks are about to be handed to the consumer.
    OnChunks,
    /// A route has failed for good.
    OnError,
    /// The call is over.
    OnEnd,
}

/// What a hook is told; which fields are there depends on the stage.
#[derive(Debug, Deserialize, uniffi::Record)]
pub struct HookEvent {
    pub stage: HookStage,
    pub call: u64,
    pub attempt: u32,
    pub provider: String,
    pub model: String,
    pub stream: bool,
    pub request: Option<ChatCompletionRequest>,
    pub status: Option<i32>,
    #[serde(default)]
    pub headers: HashMap<String, String>,
    pub request_id: Option<String>,
    #[serde(default)]
    pub chunks: Vec<ChatCompletionChunk>,
    pub error: Option<ErrorDetails>,
    pub response: Option<ChatCompletion>,
    pub seconds: Option<f64>,
}

/// Hooks as the language has them.
#[uniffi::export(rust, foreign)]
pub trait HookReceiver: Send + Sync {
    /// The stages at which they want to be asked. Called once.
    fn stages(&self) -> Vec<HookStage>;

    /// Takes a question and returns at once; `call` is answered later, from any thread.
    fn ask(&self, event: HookEvent, call: Arc<NativeHookCall>);
}

/// A source of a provider's tokens as the language has it.
#[uniffi::export(rust, foreign)]
pub trait TokenReceiver: Send + Sync {
    /// Takes a question and returns at once; `call` is answered later, from any thread, by a token, AWS's keys or an error.
    fn ask(&self, call: Arc<NativeHookCall>);
}

/// A question that waits for its answer: the first one counts. Dropped unanswered, it lets the call pass; a token is then missing.
#[derive(Debug, uniffi::Object)]
pub struct NativeHookCall(Mutex<Option<HookCall>>);

impl NativeHookCall {
    fn new(call: HookCall) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(call))))
    }

    fn answer(&self, json: &str) {
        if let Some(call) = self.take() {
            call.answer(json);
        }
    }

    fn take(&self) -> Option<HookCall> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[uniffi::export]
impl NativeHookCall {
    pub fn pass(&self) {
        self.answer("");
    }

    pub fn answer_request(&self, request: &ChatCompletionRequest) {
        self.answer(&json!({ "request": request }).to_string());
    }

    pub fn answer_response(&self, response: &ChatCompletion) {
        self.answer(&json!({ "response": response }).to_string());
    }

    pub fn answer_chunks(&self, chunks: &[ChatCompletionChunk]) {
        self.answer(&json!({ "chunks": chunks }).to_string());
    }

    /// `expires_at` is in seconds since 1970.
    pub fn answer_token(&self, token: &str, expires_at: Option<f64>) {
        self.answer(&json!({ "token": { "secret": token, "expires_at": expires_at } }).to_string());
    }

    pub fn answer_aws_keys(
        &self,
        access_key_id: &str,
        secret_access_key: &str,
        session_token: Option<String>,
        expires_at: Option<f64>,
    ) {
        let session_token = Value::from(session_token);
        let secret = json!({
            "access_key_id": access_key_id, "secret_access_key": secret_access_key, "session_token": session_token,
        });
        self.answer(&json!({ "token": { "secret": secret, "expires_at": expires_at } }).to_string());
    }

    /// Refuses, for what was thrown, if anything was.
    #[uniffi::method(default(thrown = None))]
    pub fn answer_error(&self, kind: ErrorKind, message: &str, thrown: Option<Arc<dyn Thrown>>) {
        let json = json!({ "error": { "kind": kind, "message": message } }).to_string();
        match (self.take(), thrown) {
            (Some(call), Some(thrown)) => call.answer_from(&json, Source(thrown)),
            (Some(call), None) => call.answer(&json),
            (None, _) => {}
        }
    }
}

/// The receiver as a hook of the engine.
pub(crate) fn relayed(receiver: Arc<dyn HookReceiver>) -> Arc<dyn Hook> {
    let stages: Stages = receiver.stages().into_iter().map(Stage::from).collect();
    relay(stages, move |call| {
        let event: HookEvent = serde_json::from_str(call.event()).expect("the engine tells each stage in this form");
        receiver.ask(event, NativeHookCall::new(call));
    })
}

/// The receiver as the engine's source of a provider's tokens.
pub(crate) fn relayed_tokens(provider: &str, receiver: Arc<dyn TokenReceiver>) -> TokenProvider {
    relay_tokens(provider, move |call| receiver.ask(NativeHookCall::new(call)))
}

impl From<HookStage> for Stage {
    fn from(stage: HookStage) -> Self {
        match stage {
            HookStage::BeforeRequest => Self::BeforeRequest,
            HookStage::AfterHeaders => Self::AfterHeaders,
            HookStage::OnChunks => Self::OnChunks,
            HookStage::OnError => Self::OnError,
            HookStage::OnEnd => Self::OnEnd,
        }
    }
}
