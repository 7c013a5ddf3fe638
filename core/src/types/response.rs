//! A whole answer: what `chat` returns and what a finished stream adds up to.

use std::collections::HashMap;

use serde_json::Value;

use super::{FinishReason, Message, Str, Usage};

record! {
    pub struct ChatCompletion as "chat.completion" {
        pub id: Str,
        pub created: i64,
        pub model: Str,
        pub choices: Vec<Choice> = always,
        pub usage: Option<Box<Usage>>,
        pub system_fingerprint: Option<Str>,
        pub service_tier: Option<Str>,
        /// What the engine knows about the answer beside its content.
        pub literllm: Option<Box<AnswerMeta>>,
    }
}

record! {
    pub struct Choice {
        pub index: u32,
        pub message: Message,
        pub logprobs: Option<Box<Value>>,
        pub finish_reason: Option<FinishReason> = always,
        /// The provider's own word for it.
        pub native_finish_reason: Option<Str>,
    }
}

record! {
    /// Who answered and at what cost.
    pub struct AnswerMeta {
        pub provider: Option<Str>,
        pub request_id: Option<Str>,
        /// The headers of the provider's answer, cookies left out.
        pub headers: Option<HashMap<String, String>>,
        /// US dollars, where the catalogue knows the model's price; never a guess.
        pub cost: Option<f64>,
        /// Whether the answer was kept from an earlier call; it cost nothing then.
        pub cached: Option<bool>,
        /// Every route that was asked, in order, where `model` is a list.
        pub attempts: Vec<AttemptReport>,
    }
}

record! {
    /// One route that was asked, and what came of it.
    pub struct AttemptReport {
        pub provider: Str,
        pub model: Str,
        pub request_id: Option<Str>,
        /// `prefill`, `user_turn` or `restart`, where it went on from another.
        pub mode: Option<Str>,
        /// The error kind, where it failed.
        pub error: Option<Str>,
        pub message: Option<String>,
        /// When it was asked, in seconds from the beginning of the call, and how long it took.
        pub started: f64,
        pub seconds: f64,
        /// How many characters of the answer came from it.
        pub characters: u64,
        pub usage: Option<Box<Usage>>,
        pub cost: Option<f64>,
    }
}

impl super::record::Presence for Message {}

impl ChatCompletion {
    /// The text of the first choice; empty when it has none.
    pub fn text(&self) -> &str {
        self.choices.first().and_then(|choice| choice.message.content.as_ref()).map_or("", |content| content.as_text())
    }

    /// The first choice's message, to be appended to the conversation.
    pub fn message(&self) -> Option<&Message> {
        self.choices.first().map(|choice| &choice.message)
    }
}
