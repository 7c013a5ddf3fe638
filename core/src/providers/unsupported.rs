//! What a provider cannot do: left out where it does not change the answer, refused by name where it does.

use serde_json::Value;

use super::Call;
use crate::error::Result;
use crate::types::{ChatCompletionRequest, ToolChoice};

/// Refuses each of `fields` that is set so that the answer would be another, unless the caller would rather go without.
pub(super) fn refuse<'a>(call: &Call<'_>, fields: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut refused = fields.into_iter().filter(|field| changes_the_answer(call.request, field));
    refused.try_for_each(|field| call.unsupported(field))
}

/// Such of OpenAI's fields as have no place in the request's type, and do not change the answer.
pub(super) const OPENAIS: [&str; 3] = ["prompt_cache_key", "prompt_cache_retention", "safety_identifier"];

/// The request's fields that are not OpenAI's, and so may be the provider's own.
pub(super) fn own_fields(request: &ChatCompletionRequest) -> impl Iterator<Item = (&String, &Value)> {
    request.extra.iter().filter(|(name, value)| !OPENAIS.contains(&name.as_str()) && !value.is_null())
}

fn changes_the_answer(request: &ChatCompletionRequest, field: &str) -> bool {
    match field {
        "n" => request.n.is_some_and(|n| n > 1),
        "seed" => request.seed.is_some(),
        "temperature" => request.temperature.is_some(),
        "top_p" => request.top_p.is_some(),
        "tools" => !request.tools.is_empty(),
        "reasoning_effort" => request.reasoning_effort.is_some(),
        "logit_bias" => request.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()),
        "logprobs" => request.logprobs == Some(true),
        "top_logprobs" => request.top_logprobs.is_some(),
        "tool_choice" => request.tool_choice.as_ref().is_some_and(|choice| *choice != ToolChoice::Auto),
        "stop" => request.stop.is_some(),
        "response_format" => request.response_format.is_some(),
        "presence_penalty" => request.presence_penalty.is_some_and(|penalty| penalty != 0.0),
        "frequency_penalty" => request.frequency_penalty.is_some_and(|penalty| penalty != 0.0),
        "audio" => request.audio.is_some(),
        "modalities" => request.modalities.iter().any(|modality| modality != "text"),
        "web_search_options" => request.web_search_options.is_some(),
        "verbosity" => request.verbosity.is_some(),
        "parallel_tool_calls" => request.parallel_tool_calls == Some(false) && !request.tools.is_empty(),
        other => request.extra.get(other).is_some_and(|value| !value.is_null()),
    }
}
