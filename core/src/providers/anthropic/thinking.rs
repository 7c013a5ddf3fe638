//! How Claude is asked to think, here and on the clouds that serve it.

use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::providers::{Call, models};

/// The least budget that is taken.
const LEAST_BUDGET: u64 = 1024;

/// Families that are given a budget; later ones decide for themselves how long they think.
const BUDGETED: [&str; 8] =
    ["claude-3", "claude-2", "claude-instant", "sonnet-4-2025", "opus-4-2025", "opus-4-1", "sonnet-4-5", "opus-4-5"];

/// The fields that ask for the thinking of `reasoning_effort`, within an answer of at most `max_tokens`. None where the request sets no
/// effort, or sets the thinking itself.
pub(crate) fn fields(call: &Call<'_>, max_tokens: u64) -> Result<Map<String, Value>> {
    let mut fields = Map::new();
    let given = |name: &str| call.request.extra.get(name).is_some_and(|value| !value.is_null());
    let Some(effort) = call.request.reasoning_effort.as_deref().filter(|_| !given("thinking")) else { return Ok(fields) };
    let adaptive = !has_budget(&call.target.host.name, &call.target.model);
    if effort == "none" {
        if adaptive {
            fields.insert("thinking".to_owned(), json!({"type": "disabled"}));
        }
    } else if adaptive {
        fields.insert("thinking".to_owned(), json!({"type": "adaptive"}));
        fields.insert("output_config".to_owned(), json!({"effort": if effort == "minimal" { "low" } else { effort }}));
    } else if max_tokens > LEAST_BUDGET {
        let budget = budget(effort).min(max_tokens - 1);
        fields.insert("thinking".to_owned(), json!({"type": "enabled", "budget_tokens": budget}));
    } else if !call.drop_unsupported {
        let message = format!(
            "`reasoning_effort` needs room for at least {LEAST_BUDGET} tokens of thinking; raise `max_tokens` above that, or leave it out"
        );
        return Err(Error::new(ErrorKind::InvalidRequest, message).with_param(Some("reasoning_effort".to_owned())));
    }
    Ok(fields)
}

/// Whether thinking is on, by the caller's own fields or by those made here.
pub(crate) fn is_on(fields: &Map<String, Value>) -> bool {
    let kind = fields.get("thinking").and_then(|thinking| thinking.get("type")).and_then(Value::as_str);
    matches!(kind, Some("enabled" | "adaptive"))
}

fn budget(effort: &str) -> u64 {
    match effort {
        "minimal" | "low" => LEAST_BUDGET,
        "medium" => 4096,
        "high" => 16_384,
        _ => 32_768,
    }
}

fn has_budget(provider: &str, model: &str) -> bool {
    match row(provider, model).and_then(|row| row.thinking.as_deref()) {
        Some(manner) => manner == "budget",
        None => BUDGETED.iter().any(|family| model.contains(family)) || model.contains("haiku-4-5"),
    }
}

/// The catalogue's row, of this provider or of Anthropic itself.
pub(crate) fn row(provider: &str, model: &str) -> Option<&'static models::Model> {
    let name = model.split('@').next().unwrap_or(model);
    models::find(provider, model).or_else(|| models::find("anthropic", model)).or_else(|| models::find("anthropic", name))
}
