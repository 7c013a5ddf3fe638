//! What is known of models, as data: `models.json`. An unknown model works all the same.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::types::Usage;

/// A model's facts. Prices are US dollars for a million tokens; an unknown one is absent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Model {
    pub provider: String,
    pub model: String,
    pub context_window: Option<u64>,
    pub max_output: Option<u64>,
    pub modalities: Vec<String>,
    pub input: Option<f64>,
    pub cached_input: Option<f64>,
    pub cache_write: Option<f64>,
    pub output: Option<f64>,
    /// Other prices for the whole request once its prompt is longer than this many tokens.
    pub long: Option<LongPrices>,
    pub reasoning: bool,
    /// It goes on from a trailing assistant message.
    pub prefill: bool,
    /// How thinking is asked for: `budget` or `adaptive`.
    pub thinking: Option<String>,
    /// Where the row was read, by a key of the file's `sources`.
    pub source: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LongPrices {
    pub over: u64,
    pub input: Option<f64>,
    pub cached_input: Option<f64>,
    pub cache_write: Option<f64>,
    pub output: Option<f64>,
}

/// Every catalogued model.
pub fn all() -> &'static [Model] {
    table().0
}

/// A model's row: by its name, or by its name without a date at the end.
pub fn find(provider: &str, model: &str) -> Option<&'static Model> {
    let (rows, index) = table();
    let known = |name: &str| index.get(&(provider, name)).map(|&row| &rows[row]);
    known(model).or_else(|| known(without_date(model)?))
}

/// What a usage costs in US dollars; `None` where a price it needs is unknown.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn cost(provider: &str, model: &str, usage: &Usage) -> Option<f64> {
    const MILLION: f64 = 1e6;
    let row = find(provider, model)?;
    let details = usage.prompt_tokens_details.as_ref();
    let cached = details.and_then(|details| details.cached_tokens).unwrap_or(0).min(usage.prompt_tokens);
    let written = details.and_then(|details| details.cache_creation_tokens).unwrap_or(0).min(usage.prompt_tokens - cached);
    let fresh = usage.prompt_tokens - cached - written;
    let long = row.long.as_ref().filter(|long| usage.prompt_tokens > long.over);
    let price = |usual: Option<f64>, long: Option<Option<f64>>| long.flatten().or(usual);
    let input = price(row.input, long.map(|long| long.input));
    let cached_price = price(row.cached_input, long.map(|long| long.cached_input)).or(input);
    let write_price = price(row.cache_write, long.map(|long| long.cache_write)).or(input);
    let output = price(row.output, long.map(|long| long.output));
    let part = |tokens: u64, price: Option<f64>| {
        if tokens == 0 { Some(0.0) } else { price.map(|price| tokens as f64 * price / MILLION) }
    };
    Some(part(fresh, input)? + part(cached, cached_price)? + part(written, write_price)? + part(usage.completion_tokens, output)?)
        .filter(|_| input.is_some() && output.is_some())
}

/// Rows by provider and name.
type Index = HashMap<(&'static str, &'static str), usize>;

fn table() -> (&'static [Model], &'static Index) {
    #[derive(Deserialize)]
    struct File {
        models: Vec<Model>,
    }
    static ROWS: OnceLock<Vec<Model>> = OnceLock::new();
    static INDEX: OnceLock<Index> = OnceLock::new();
    let rows = ROWS.get_or_init(|| {
        serde_json::from_str::<File>(include_str!("models.json")).expect("a test reads the embedded catalogue").models
    });
    let index = INDEX
        .get_or_init(|| rows.iter().enumerate().map(|(at, row)| ((row.provider.as_str(), row.model.as_str()), at)).collect());
    (rows, index)
}

/// The name without `-2025-08-07` or `-20250807` at its end.
fn without_date(model: &str) -> Option<&str> {
    let is_date = |text: &str| {
        text.chars().filter(char::is_ascii_digit).count() == 8 && text.chars().all(|c| c.is_ascii_digit() || c == '-')
    };
    let start =
        model.len().checked_sub("-2025-08-07".len()).filter(|&at| model.is_char_boundary(at) && model[at..].starts_with('-'));
    let compact =
        model.len().checked_sub("-20250807".len()).filter(|&at| model.is_char_boundary(at) && model[at..].starts_with('-'));
    [start, compact].into_iter().flatten().find(|&at| is_date(&model[at..])).map(|at| &model[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_model_has_a_cost_and_an_unknown_one_has_none() {
        let row =
            all().iter().find(|row| row.input.is_some() && row.output.is_some() && row.long.is_none()).expect("a priced model");
        let usage = Usage::counted(1_000_000, 1_000_000, None, None);
        let expected = row.input.unwrap() + row.output.unwrap();
        assert!((cost(&row.provider, &row.model, &usage).expect("a cost") - expected).abs() < 1e-9);
        assert_eq!(cost("openai", "no-such-model", &usage), None);
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let row = all()
            .iter()
            .find(|row| row.cached_input.is_some() && row.input != row.cached_input && row.output.is_some() && row.long.is_none())
            .expect("a model with a cached price");
        let usage = Usage::counted(1_000_000, 0, Some(1_000_000), None);
        assert!((cost(&row.provider, &row.model, &usage).expect("a cost") - row.cached_input.unwrap()).abs() < 1e-9);
    }

    #[test]
    fn a_price_that_is_not_known_is_no_cost() {
        for row in all().iter().filter(|row| row.output.is_none()) {
            assert_eq!(cost(&row.provider, &row.model, &Usage::counted(1, 1, None, None)), None, "{}", row.model);
        }
    }

    #[test]
    fn a_date_at_the_end_of_a_name_is_left_out() {
        assert_eq!(without_date("gpt-4o-2024-08-06"), Some("gpt-4o"));
        assert_eq!(without_date("claude-sonnet-4-20250514"), Some("claude-sonnet-4"));
        assert_eq!(without_date("gpt-4o"), None);
    }
}
