//! How much Gemini is to think: a budget of tokens up to generation 2, a level from 3 on.

use serde_json::{Value, json};

use crate::providers::Call;

/// The generation that a model's name tells; 0 where it tells none.
pub(super) fn generation(model: &str) -> u32 {
    let digits = model.rsplit('/').next().unwrap_or(model).strip_prefix("gemini-").unwrap_or_default();
    digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What the request's effort or its budget (`thinking`, as Anthropic has it) comes to; nothing where it asks for neither.
pub(super) fn config(call: &Call<'_>) -> Option<Value> {
    let model = &*call.target.model;
    if let Some(thinking) = call.request.extra.get("thinking").filter(|thinking| thinking.is_object()) {
        if thinking["type"] == "disabled" {
            return Some(off(model));
        }
        return Some(match thinking.get("budget_tokens").and_then(Value::as_u64) {
            Some(budget) => json!({ "thinkingBudget": budget, "includeThoughts": true }),
            None => json!({ "includeThoughts": true }),
        });
    }
    let effort = call.request.reasoning_effort.as_deref()?;
    if effort == "none" || effort == "disable" {
        return Some(off(model));
    }
    if generation(model) >= 3 {
        let level = match effort {
            "minimal" if model.contains("pro") => "low",
            "minimal" | "low" | "medium" => effort,
            _ => "high",
        };
        return Some(json!({ "thinkingLevel": level, "includeThoughts": true }));
    }
    let budget = match effort {
        "minimal" => 512,
        "low" => 1024,
        "medium" => 8192,
        _ => 24576,
    };
    Some(json!({ "thinkingBudget": budget, "includeThoughts": true }))
}

/// As little thinking as the model can do with.
fn off(model: &str) -> Value {
    let is_pro = model.contains("pro");
    match (generation(model) >= 3, is_pro) {
        (true, true) => json!({ "thinkingLevel": "low" }),
        (true, false) => json!({ "thinkingLevel": "minimal" }),
        // 2.5 Pro cannot be told not to think at all.
        (false, true) => json!({ "thinkingBudget": 128 }),
        (false, false) => json!({ "thinkingBudget": 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::tests::mapped;

    #[test]
    fn efforts_become_budgets_or_levels() {
        let config = |model: &str, field: &str, value: Value| {
            let mut request = json!({ "model": model, "messages": [{ "role": "user", "content": "x" }] });
            request[field] = value;
            mapped(&request)["generationConfig"]["thinkingConfig"].clone()
        };
        let effort = |model: &str, effort: &str| config(model, "reasoning_effort", effort.into());
        assert_eq!(effort("gemini/gemini-2.5-flash", "medium"), json!({ "thinkingBudget": 8192, "includeThoughts": true }));
        assert_eq!(effort("gemini/gemini-2.5-flash", "none"), json!({ "thinkingBudget": 0 }));
        assert_eq!(effort("gemini/gemini-2.5-pro", "none"), json!({ "thinkingBudget": 128 }));
        assert_eq!(effort("gemini/gemini-3-pro-preview", "minimal"), json!({ "thinkingLevel": "low", "includeThoughts": true }));
        assert_eq!(effort("gemini/gemini-3-flash-preview", "xhigh"), json!({ "thinkingLevel": "high", "includeThoughts": true }));
        let budget = json!({ "type": "enabled", "budget_tokens": 2000 });
        let expected = json!({ "thinkingBudget": 2000, "includeThoughts": true });
        assert_eq!(config("gemini/gemini-2.5-flash", "thinking", budget), expected);
    }

    #[test]
    fn a_name_tells_the_generation() {
        assert_eq!(generation("gemini-3.1-pro-preview"), 3);
        assert_eq!(generation("models/gemini-2.5-flash"), 2);
        assert_eq!(generation("gemma-3-27b-it"), 0);
    }
}
