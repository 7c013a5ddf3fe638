//! The OpenAI-compatible hosts, as data: `catalog.json`, plus those that a program registers at run time.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::types::Str;

/// A host that speaks the OpenAI dialect. A program may register its own.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The prefix in `provider/model`.
    pub name: Str,
    #[serde(default)]
    pub aliases: Vec<Str>,
    /// `{NAME}` in it is an environment variable.
    pub base_url: String,
    /// Where its key is looked for, first to last. None: it needs no key.
    #[serde(default)]
    pub key_vars: Vec<String>,
    #[serde(default)]
    pub base_url_vars: Vec<String>,
    /// How its keys begin, where that tells them from others'.
    #[serde(default)]
    pub key_prefixes: Vec<String>,
    #[serde(default)]
    pub quirks: Quirks,
    /// Runs on this machine.
    #[serde(default)]
    pub local: bool,
    /// The published package or document that the row was read from.
    #[serde(default)]
    pub source: String,
}

impl Host {
    /// Its name and its aliases.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Str> {
        std::iter::once(&self.name).chain(&self.aliases)
    }
}

/// Where a host departs from OpenAI.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Under which of its names it takes the output limit; unset: as the caller wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens_field: Option<String>,
    /// Request fields that it refuses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsupported: Vec<String>,
    /// It refuses `stream_options`.
    #[serde(skip_serializing_if = "is_false")]
    pub no_stream_options: bool,
    /// It knows no `developer` role.
    #[serde(skip_serializing_if = "is_false")]
    pub no_developer_role: bool,
    /// It refuses `name` in messages.
    #[serde(skip_serializing_if = "is_false")]
    pub no_message_name: bool,
    /// It turns a temperature of 0 into another; the smallest one it takes is sent.
    #[serde(skip_serializing_if = "is_false")]
    pub clamp_temperature_zero: bool,
    /// Its `completion_tokens` leave out reasoning.
    #[serde(skip_serializing_if = "is_false")]
    pub reasoning_excluded_from_completion: bool,
    /// It is known to end a whole answer with neither `[DONE]` nor a finish reason.
    #[serde(skip_serializing_if = "is_false")]
    pub lenient_end: bool,
    /// It goes on from a trailing assistant message.
    #[serde(skip_serializing_if = "is_false")]
    pub prefill: bool,
    /// The field that marks such a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_mark: Option<String>,
    /// The base URL to be used with such a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_base_url: Option<String>,
    /// Request fields to be set with such a message.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub prefill_fields: Map<String, Value>,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    pub extra_headers: HashMap<String, String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Debug, Deserialize)]
struct Table {
    hosts: Vec<Host>,
    other_key_prefixes: HashMap<String, Vec<String>>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| serde_json::from_str(include_str!("catalog.json")).expect("a test reads the embedded catalogue"))
}

/// Every catalogued host, by name.
pub fn hosts() -> &'static [Host] {
    &table().hosts
}

pub(crate) fn find(name: &str) -> Option<&'static Host> {
    hosts().iter().find(|host| host.name == *name || host.aliases.iter().any(|alias| *alias == *name))
}

/// The provider whose keys begin as this one does, where the beginning tells.
pub(crate) fn owner_of_key(key: &str) -> Option<&'static str> {
    let rows = hosts().iter().map(|host| (&*host.name, &host.key_prefixes));
    let others = table().other_key_prefixes.iter().map(|(name, prefixes)| (name.as_str(), prefixes));
    rows.chain(others)
        .flat_map(|(name, prefixes)| prefixes.iter().map(move |prefix| (name, prefix)))
        .filter(|(_, prefix)| key.starts_with(prefix.as_str()))
        .max_by_key(|(_, prefix)| prefix.len())
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_catalogue_is_whole() {
        assert!(hosts().len() >= 60);
        assert!(hosts().iter().all(|host| !host.source.is_empty()));
        assert_eq!(find("together").map(|host| &*host.name), Some("together_ai"));
    }

    #[test]
    fn the_longest_known_beginning_names_a_keys_owner() {
        assert_eq!(owner_of_key("sk-ant-x"), Some("anthropic"));
        assert_eq!(owner_of_key("gsk_x"), Some("groq"));
        assert_eq!(owner_of_key("sk-x"), None);
    }
}
