//! What a stream is made of.

use serde_json::Value;

use super::{Annotation, AudioAnswer, FinishReason, FunctionCall, Role, Str, ThinkingBlock, Usage};

record! {
    /// One piece of a streamed answer.
    pub struct ChatCompletionChunk as "chat.completion.chunk" {
        pub id: Str,
        pub created: i64,
        pub model: Str,
        pub choices: Vec<ChunkChoice> = always,
        pub usage: Option<Box<Usage>>,
        pub system_fingerprint: Option<Str>,
        pub service_tier: Option<Str>,
        /// On the first chunk of every later leg of an answer that was gone on with: what happened.
        pub literllm: Option<Box<LegEvent>>,
    }
}

record! {
    /// How an answer goes on after a route failed.
    pub struct LegEvent {
        /// `resumed`: what follows goes on from what was said. `reset`: what was said is void, and the answer begins anew.
        pub event: Str,
        /// The number of the attempt that goes on, from 1.
        pub attempt: u32,
        pub provider: Str,
        pub model: Str,
        /// The error kind for which the route before was left.
        pub reason: Str,
        /// `prefill`, `user_turn` or `restart`.
        pub mode: Str,
        /// How many characters of the answer so far are kept.
        pub kept: u64,
        /// The routes that failed since the leg before.
        pub failed: Vec<FailedRoute>,
    }
}

record! {
    /// A route that failed.
    pub struct FailedRoute {
        pub provider: Str,
        pub model: Str,
        /// The error's kind.
        pub kind as "kind": Str,
        pub message: String,
    }
}

record! {
    pub struct ChunkChoice {
        pub index: u32,
        pub delta: Delta,
        pub logprobs: Option<Box<Value>>,
        pub finish_reason: Option<FinishReason> = always,
        /// The provider's own word for it.
        pub native_finish_reason: Option<Str>,
    }
}

record! {
    /// What a chunk adds to a choice's message.
    pub struct Delta {
        pub role: Option<Role>,
        pub content: Option<String>,
        pub refusal: Option<String>,
        /// The model's thinking, as text.
        pub reasoning_content: Option<String>,
        pub tool_calls: Vec<ToolCallDelta>,
        /// The older form of a tool call.
        pub function_call: Option<Box<FunctionCall>>,
        /// Signed or redacted thinking, to be sent back unchanged (Anthropic, Bedrock).
        pub thinking_blocks: Vec<ThinkingBlock>,
        /// Reasoning in the host's own form, to be sent back unchanged (OpenRouter and its kin).
        pub reasoning_details: Vec<Value>,
        pub annotations: Vec<Annotation>,
        pub audio: Option<Box<AudioAnswer>>,
    }
}

record! {
    /// A piece of a tool call. The first piece of a call carries `id`, `type` and the name; later ones only arguments.
    pub struct ToolCallDelta {
        /// Which call of this answer: 0, 1, 2 …
        pub index: u32,
        pub id: Option<String>,
        pub kind: Option<Str>,
        pub function: Option<FunctionDelta>,
    }
}

record! {
    pub struct FunctionDelta {
        pub name: Option<String>,
        pub arguments: Option<String>,
    }
}

impl super::record::Presence for Delta {}
impl<T> super::record::Presence for Box<T> {}

impl Delta {
    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.role.is_none() && !self.has_token() && self.extra.is_empty()
    }

    /// Whether the model said something: text, thinking, a refusal, a tool call, sound. A role alone is no token.
    pub fn has_token(&self) -> bool {
        let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        said(&self.content)
            || !self.tool_calls.is_empty()
            || said(&self.reasoning_content)
            || said(&self.refusal)
            || !self.reasoning_details.is_empty()
            || !self.thinking_blocks.is_empty()
            || !self.annotations.is_empty()
            || self.function_call.is_some()
            || self.audio.is_some()
    }
}
