//! What Kotlin and Swift call. It lowers values and nothing else: the API that people see is written in `packages/kotlin` and
//! `packages/swift`, and the types that cross are the engine's own.
//!
//! A call is made first and started by the first wait for it, so that it can be cancelled at any moment. Chunks are handed over in the
//! batches that the network brings, one crossing a batch.

mod call;
mod failure;
mod hooks;
mod json;

use std::collections::HashMap;
use std::sync::Arc;

use literllm::{ChatCompletionRequest, Client, ClientConfig, RequestOptions};

pub use call::{BatchReceiver, NativeCall};
pub use failure::{ErrorDetails, NativeError};
pub use hooks::{HookEvent, HookReceiver, HookStage, NativeHookCall, TokenReceiver};

uniffi::setup_scaffolding!();

/// A client of the engine. Calls share its pool of connections.
#[derive(Debug, uniffi::Object)]
pub struct NativeClient(Client);

#[uniffi::export]
impl NativeClient {
    /// `hooks` are asked in their order, `tokens` by provider.
    #[uniffi::constructor]
    pub fn new(
        mut config: ClientConfig,
        hooks: Vec<Arc<dyn HookReceiver>>,
        tokens: HashMap<String, Arc<dyn TokenReceiver>>,
    ) -> Result<Self, NativeError> {
        literllm::log::init();
        for (provider, receiver) in tokens {
            let source = hooks::relayed_tokens(&provider, receiver);
            config.token_providers.insert(provider, source);
        }
        Ok(Self(Client::with_hooks(config, hooks.into_iter().map(hooks::relayed))?))
    }

    /// A call that has not begun: wait for it with `chat`, or ask for its chunks with `request_next`.
    pub fn call(&self, request: ChatCompletionRequest, options: RequestOptions) -> Arc<NativeCall> {
        NativeCall::new(self.0.clone(), request, options)
    }
}
