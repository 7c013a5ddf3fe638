//! What is asked.

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Message, Str};

record! {
    /// OpenAI's chat request. Set what you need and leave the rest to `..Default::default()`, or start from [`ChatCompletionRequest::new`].
    pub struct ChatCompletionRequest {
        /// `provider/model`, or a list of them to be tried in order.
        pub model: Models,
        pub messages: Vec<Message> = always,
        pub stream: Option<bool>,
        pub stream_options: Option<StreamOptions>,
        pub temperature: Option<f64>,
        pub top_p: Option<f64>,
        pub n: Option<u32>,
        pub max_tokens: Option<u64>,
        pub max_completion_tokens: Option<u64>,
        pub stop: Option<Stop>,
        pub seed: Option<i64>,
        pub presence_penalty: Option<f64>,
        pub frequency_penalty: Option<f64>,
        pub logit_bias: Option<Map<String, Value>>,
        pub logprobs: Option<bool>,
        pub top_logprobs: Option<u32>,
        pub tools: Vec<Tool>,
        pub tool_choice: Option<ToolChoice>,
        pub parallel_tool_calls: Option<bool>,
        pub response_format: Option<ResponseFormat>,
        pub reasoning_effort: Option<Str>,
        pub verbosity: Option<Str>,
        pub modalities: Vec<String>,
        pub audio: Option<AudioOptions>,
        pub prediction: Option<Value>,
        pub web_search_options: Option<Value>,
        pub metadata: Option<Map<String, Value>>,
        pub store: Option<bool>,
        pub service_tier: Option<Str>,
        pub user: Option<String>,
        /// How an answer that breaks off is gone on with, where `model` is a list: `auto` (the default), `prefill`, `user_turn`,
        /// `restart` or `off`. For the engine alone.
        pub stream_fallback_mode: Option<Str>,
    }
}

record! {
    pub struct StreamOptions {
        pub include_usage: Option<bool>,
    }
}

record! {
    pub struct Tool {
        /// `function`; other kinds are carried as they are in `extra`.
        pub kind: Str,
        pub function: Option<FunctionDefinition>,
    }
}

record! {
    pub struct FunctionDefinition {
        pub name: String,
        pub description: Option<String>,
        /// A JSON schema.
        pub parameters: Option<Value>,
        pub strict: Option<bool>,
    }
}

record! {
    pub struct AudioOptions {
        pub voice: Option<Value>,
        pub format: Option<String>,
    }
}

record! {
    pub struct JsonSchemaFormat {
        pub name: String,
        pub description: Option<String>,
        pub schema: Option<Value>,
        pub strict: Option<bool>,
    }
}

impl super::record::Presence for Models {}

/// The model asked for, or a list of them to be tried in order. In JSON a string or a list; a list of one may go on with itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Models {
    names: Vec<String>,
    is_list: bool,
}

/// Where to stop: one string or several. In JSON either.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stop(pub Vec<String>);

/// Whether and which tool is to be called.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "uniffi", derive(uniffi::Enum))]
pub enum ToolChoice {
    Auto,
    None,
    Required,
    /// This function.
    Function(String),
    /// Any other form, carried as it is.
    Other(Value),
}

/// What form the answer is to have.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "uniffi", derive(uniffi::Enum))]
pub enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema(JsonSchemaFormat),
    /// Any other form, carried as it is.
    Other(Value),
}

impl ChatCompletionRequest {
    pub fn new<M: Into<Message>>(model: impl Into<Models>, messages: impl IntoIterator<Item = M>) -> Self {
        Self { model: model.into(), messages: messages.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Whether the caller wants the usage chunk at the end of the stream.
    pub(crate) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    /// The limit on the answer's length, under either of its names.
    pub fn output_limit(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }
}

impl Models {
    /// The first, or the only one; empty when none was named.
    pub fn first(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    pub fn all(&self) -> &[String] {
        &self.names
    }

    /// Whether it was given as a list, be it of one.
    pub fn is_list(&self) -> bool {
        self.is_list
    }
}

impl From<&str> for Models {
    fn from(model: &str) -> Self {
        Self::from(model.to_owned())
    }
}

impl From<String> for Models {
    fn from(model: String) -> Self {
        Self { names: vec![model], is_list: false }
    }
}

impl From<Vec<String>> for Models {
    fn from(names: Vec<String>) -> Self {
        Self { names, is_list: true }
    }
}

impl<const N: usize> From<[&str; N]> for Models {
    fn from(models: [&str; N]) -> Self {
        Self::from(models.iter().map(|&model| model.to_owned()).collect::<Vec<_>>())
    }
}

impl Tool {
    pub fn function(name: impl Into<String>, description: impl Into<String>, parameters: Value) -> Self {
        Self {
            kind: Str::from_static("function"),
            function: Some(FunctionDefinition {
                name: name.into(),
                description: Some(description.into()),
                parameters: Some(parameters),
                ..FunctionDefinition::default()
            }),
            ..Self::default()
        }
    }
}

impl From<&str> for Stop {
    fn from(stop: &str) -> Self {
        Self(vec![stop.to_owned()])
    }
}

/// A string, or a list of strings, and whether it is a list.
fn strings<'de, D: Deserializer<'de>>(deserializer: D, expected: &'static str) -> Result<(Vec<String>, bool), D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(one) => Ok((vec![one], false)),
        Value::Array(list) => list
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(D::Error::custom(format_args!("{expected}, found {other} in the list"))),
            })
            .collect::<Result<_, _>>()
            .map(|list| (list, true)),
        other => Err(D::Error::custom(format_args!("{expected}, found {other}"))),
    }
}

fn write_strings<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match list {
        [one] => serializer.serialize_str(one),
        several => several.serialize(serializer),
    }
}

impl<'de> Deserialize<'de> for Models {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strings(deserializer, "expected a model name or a list of them").map(|(names, is_list)| Self { names, is_list })
    }
}

impl Serialize for Models {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_list { self.names.serialize(serializer) } else { serializer.serialize_str(self.first()) }
    }
}

impl<'de> Deserialize<'de> for Stop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strings(deserializer, "expected a string or a list of strings").map(|(list, _)| Self(list))
    }
}

impl Serialize for Stop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_strings(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for ToolChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Some(name) = value.pointer("/function/name").and_then(Value::as_str) {
            return Ok(Self::Function(name.to_owned()));
        }
        Ok(match value.as_str() {
            Some("auto") => Self::Auto,
            Some("none") => Self::None,
            Some("required" | "any") => Self::Required,
            _ if value.is_string() || value.is_object() => Self::Other(value),
            _ => return Err(D::Error::custom(format_args!("expected a string or an object, found {value}"))),
        })
    }
}

impl Serialize for ToolChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::None => serializer.serialize_str("none"),
            Self::Required => serializer.serialize_str("required"),
            Self::Function(name) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("type", "function")?;
                map.serialize_entry("function", &serde_json::json!({ "name": name }))?;
                map.end()
            }
            Self::Other(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ResponseFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(match kind.as_str() {
            "text" => Self::Text,
            "json_object" => Self::JsonObject,
            "json_schema" if value.get("json_schema").is_some() => {
                let schema = value["json_schema"].take();
                Self::JsonSchema(
                    serde_json::from_value(schema).map_err(|error| D::Error::custom(format_args!("json_schema: {error}")))?,
                )
            }
            _ if value.is_object() => Self::Other(value),
            _ => return Err(D::Error::custom(format_args!("expected an object with a `type`, found {value}"))),
        })
    }
}

impl Serialize for ResponseFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = match self {
            Self::Other(value) => return value.serialize(serializer),
            _ => serializer.serialize_map(None)?,
        };
        match self {
            Self::JsonObject => map.serialize_entry("type", "json_object")?,
            Self::JsonSchema(schema) => {
                map.serialize_entry("type", "json_schema")?;
                map.serialize_entry("json_schema", schema)?;
            }
            _ => map.serialize_entry("type", "text")?,
        }
        map.end()
    }
}
