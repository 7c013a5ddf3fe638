//! What an answer cost in tokens.

use serde_json::Value;

use super::Extra;

record! {
    /// Token counts. `prompt_tokens` includes cached ones, `completion_tokens` includes reasoning, whatever the provider's own arithmetic.
    pub struct Usage {
        pub prompt_tokens: u64,
        pub completion_tokens: u64,
        pub total_tokens: u64,
        pub prompt_tokens_details: Option<PromptTokensDetails>,
        pub completion_tokens_details: Option<CompletionTokensDetails>,
    }
}

record! {
    pub struct PromptTokensDetails {
        pub cached_tokens: Option<u64>,
        /// Tokens written to the provider's prompt cache, where it says so.
        pub cache_creation_tokens: Option<u64>,
        pub audio_tokens: Option<u64>,
    }
}

record! {
    pub struct CompletionTokensDetails {
        pub reasoning_tokens: Option<u64>,
        pub audio_tokens: Option<u64>,
        pub accepted_prediction_tokens: Option<u64>,
        pub rejected_prediction_tokens: Option<u64>,
    }
}

impl Usage {
    /// Counts as a provider gives them: prompt and completion in full, of which `cached` and `reasoning`.
    pub fn counted(prompt: u64, completion: u64, cached: Option<u64>, reasoning: Option<u64>) -> Self {
        Self {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt + completion,
            prompt_tokens_details: cached
                .map(|cached| PromptTokensDetails { cached_tokens: Some(cached), ..PromptTokensDetails::default() }),
            completion_tokens_details: reasoning.map(|reasoning| CompletionTokensDetails {
                reasoning_tokens: Some(reasoning),
                ..CompletionTokensDetails::default()
            }),
            extra: Extra::default(),
        }
    }

    /// Adds another call's counts.
    pub fn add(&mut self, other: &Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.total_tokens += other.total_tokens;
        let sum = |mine: &mut Option<u64>, other: Option<u64>| {
            if let Some(other) = other {
                *mine = Some(mine.unwrap_or(0) + other);
            }
        };
        if let Some(other) = &other.prompt_tokens_details {
            let mine = self.prompt_tokens_details.get_or_insert_default();
            sum(&mut mine.cached_tokens, other.cached_tokens);
            sum(&mut mine.cache_creation_tokens, other.cache_creation_tokens);
            sum(&mut mine.audio_tokens, other.audio_tokens);
        }
        if let Some(other) = &other.completion_tokens_details {
            let mine = self.completion_tokens_details.get_or_insert_default();
            sum(&mut mine.reasoning_tokens, other.reasoning_tokens);
            sum(&mut mine.audio_tokens, other.audio_tokens);
            sum(&mut mine.accepted_prediction_tokens, other.accepted_prediction_tokens);
            sum(&mut mine.rejected_prediction_tokens, other.rejected_prediction_tokens);
        }
    }

    /// Reads an OpenAI-shaped usage object from hosts that are loose about it: floats, nulls, missing totals and the cached or
    /// reasoning counts under other names.
    pub(crate) fn from_loose(value: Value) -> Option<Self> {
        let Value::Object(mut fields) = value else { return None };
        let mut take = |name: &str| fields.shift_remove(name).as_ref().and_then(count);
        let prompt = take("prompt_tokens");
        let completion = take("completion_tokens");
        let total = take("total_tokens");
        let cache_hit = fields.get("prompt_cache_hit_tokens").and_then(count);
        let reasoning = fields.get("reasoning_tokens").and_then(count);
        let mut prompt_details = fields.shift_remove("prompt_tokens_details").and_then(|details| match details {
            Value::Object(mut fields) => Some(PromptTokensDetails {
                cached_tokens: fields.shift_remove("cached_tokens").as_ref().and_then(count),
                cache_creation_tokens: fields.shift_remove("cache_creation_tokens").as_ref().and_then(count),
                audio_tokens: fields.shift_remove("audio_tokens").as_ref().and_then(count),
                extra: fields.into(),
            }),
            _ => None,
        });
        let mut completion_details = fields.shift_remove("completion_tokens_details").and_then(|details| match details {
            Value::Object(mut fields) => Some(CompletionTokensDetails {
                reasoning_tokens: fields.shift_remove("reasoning_tokens").as_ref().and_then(count),
                audio_tokens: fields.shift_remove("audio_tokens").as_ref().and_then(count),
                accepted_prediction_tokens: fields.shift_remove("accepted_prediction_tokens").as_ref().and_then(count),
                rejected_prediction_tokens: fields.shift_remove("rejected_prediction_tokens").as_ref().and_then(count),
                extra: fields.into(),
            }),
            _ => None,
        });
        if prompt.is_none() && completion.is_none() && total.is_none() {
            return None;
        }
        if let Some(hit) = cache_hit {
            prompt_details.get_or_insert_default().cached_tokens.get_or_insert(hit);
        }
        if let Some(reasoning) = reasoning {
            completion_details.get_or_insert_default().reasoning_tokens.get_or_insert(reasoning);
        }
        let (prompt, completion) = (prompt.unwrap_or(0), completion.unwrap_or(0));
        Some(Self {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: total.unwrap_or(prompt + completion),
            prompt_tokens_details: prompt_details,
            completion_tokens_details: completion_details,
            extra: fields.into(),
        })
    }
}

/// A count, also where it comes as a float or a string of digits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|float| *float >= 0.0).map(|float| float as u64))
        }
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
