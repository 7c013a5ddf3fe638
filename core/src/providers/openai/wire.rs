//! A chunk as it stands on the wire: read in one pass, borrowing from the event, with fields typed no tighter than hosts keep to.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::providers::loose::{List, Number};
use crate::types::{Annotation, AudioAnswer, Extra, FunctionCall, Key};

/// A value that should be a string.
#[derive(Debug, Default)]
pub(super) enum Loose<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Other(Box<Value>),
}

impl<'a> Loose<'a> {
    fn other(value: Value) -> Self {
        Self::Other(Box::new(value))
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    pub(super) fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Loose<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LooseVisitor;
        impl<'de> Visitor<'de> for LooseVisitor {
            type Value = Loose<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Loose::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Loose::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Loose::Absent)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Loose::other(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Loose::other(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Loose::other(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Loose::other(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(Loose::other)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Loose::other)
            }
        }
        deserializer.deserialize_any(LooseVisitor)
    }
}

/// A typed value where it has the type, nothing where it does not.
fn where_typed<'de, T: DeserializeOwned, A: MapAccess<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
    let value: Value = map.next_value()?;
    Ok(serde_json::from_value(value).ok())
}

/// Implements `Deserialize` for a struct from a `match` over its keys.
macro_rules! read_fields {
    ($name:ident, |$record:ident, $key:ident, $map:ident| $body:expr) => {
        impl<'de> Deserialize<'de> for $name<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> Visitor<'de> for Fields {
                    type Value = $name<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut $map: A) -> Result<$name<'de>, A::Error> {
                        let mut $record = $name::default();
                        while let Some(key) = $map.next_key::<Key<'de>>()? {
                            let $key = key.as_str();
                            $body
                        }
                        Ok($record)
                    }
                    /// `null`, or a value of another kind, says nothing.
                    fn visit_unit<E>(self) -> Result<$name<'de>, E> {
                        Ok($name::default())
                    }
                }
                deserializer.deserialize_any(Fields)
            }
        }
    };
}

#[derive(Debug, Default)]
pub(super) struct WireChunk<'a> {
    pub id: Loose<'a>,
    pub model: Loose<'a>,
    pub created: i64,
    pub choices: Vec<WireChoice<'a>>,
    pub usage: Option<Box<Value>>,
    pub system_fingerprint: Loose<'a>,
    pub service_tier: Loose<'a>,
    pub error: Option<Box<Value>>,
    pub is_error_object: bool,
    /// Random text against traffic analysis.
    pub padding: Loose<'a>,
    pub extra: Extra,
}

impl WireChunk<'_> {
    /// Whether it is an error in a chunk's place.
    pub(super) fn is_error(&self) -> bool {
        self.is_error_object
            || self.error.as_ref().is_some_and(|error| !matches!(**error, Value::Null | Value::Bool(false)) && **error != "")
            || self.choices.is_empty() && self.extra.get("detail").is_some()
    }
}

read_fields!(WireChunk, |chunk, key, map| match key {
    "id" => chunk.id = map.next_value()?,
    "object" | "type" => chunk.is_error_object |= map.next_value::<Loose<'_>>()?.as_str() == "error",
    "created" => chunk.created = map.next_value::<Number>()?.0.unwrap_or(0),
    "model" => chunk.model = map.next_value()?,
    "choices" => chunk.choices = map.next_value::<List<WireChoice<'de>>>()?.0,
    "usage" => chunk.usage = map.next_value()?,
    "system_fingerprint" => chunk.system_fingerprint = map.next_value()?,
    "service_tier" => chunk.service_tier = map.next_value()?,
    "error" => chunk.error = map.next_value()?,
    "obfuscation" | "p" => chunk.padding = map.next_value()?,
    unknown => {
        let value: Value = map.next_value()?;
        if !value.is_null() {
            chunk.extra.insert(unknown, value);
        }
    }
});

#[derive(Debug, Default)]
pub(super) struct WireChoice<'a> {
    pub index: Option<u32>,
    pub delta: Option<WireDelta<'a>>,
    /// The whole message so far, which some send beside or instead of a delta.
    pub message: Option<Box<WireDelta<'a>>>,
    pub logprobs: Option<Box<Value>>,
    pub finish_reason: Loose<'a>,
    pub native_finish_reason: Loose<'a>,
    pub extra: Extra,
}

read_fields!(WireChoice, |choice, key, map| match key {
    "index" => choice.index = map.next_value::<Number>()?.index(),
    "delta" => choice.delta = map.next_value()?,
    "message" => choice.message = map.next_value()?,
    "logprobs" => choice.logprobs = map.next_value()?,
    "finish_reason" => choice.finish_reason = map.next_value()?,
    "native_finish_reason" => choice.native_finish_reason = map.next_value()?,
    // The text of the delta once more.
    "text" => {
        map.next_value::<IgnoredAny>()?;
    }
    unknown => {
        let value: Value = map.next_value()?;
        if !value.is_null() {
            choice.extra.insert(unknown, value);
        }
    }
});

#[derive(Debug, Default)]
pub(super) struct WireDelta<'a> {
    pub content: Loose<'a>,
    pub refusal: Loose<'a>,
    pub reasoning_content: Loose<'a>,
    pub reasoning: Loose<'a>,
    pub reasoning_details: Option<Vec<Value>>,
    pub tool_calls: Vec<WireToolCall<'a>>,
    pub function_call: Option<Box<FunctionCall>>,
    pub annotations: Vec<Annotation>,
    pub audio: Option<Box<AudioAnswer>>,
    pub extra: Extra,
}

read_fields!(WireDelta, |delta, key, map| match key {
    // The role chunk says it.
    "role" => {
        map.next_value::<IgnoredAny>()?;
    }
    "content" => delta.content = map.next_value()?,
    "refusal" => delta.refusal = map.next_value()?,
    "reasoning_content" => delta.reasoning_content = map.next_value()?,
    "reasoning" => delta.reasoning = map.next_value()?,
    "reasoning_details" => delta.reasoning_details = where_typed(&mut map)?,
    "tool_calls" => delta.tool_calls = map.next_value::<List<WireToolCall<'de>>>()?.0,
    "function_call" => delta.function_call = where_typed(&mut map)?,
    "annotations" => delta.annotations = where_typed(&mut map)?.unwrap_or_default(),
    "audio" => delta.audio = where_typed(&mut map)?,
    unknown => {
        let value: Value = map.next_value()?;
        if !value.is_null() {
            delta.extra.insert(unknown, value);
        }
    }
});

#[derive(Debug, Default)]
pub(super) struct WireToolCall<'a> {
    pub index: Option<u32>,
    pub id: Loose<'a>,
    pub name: Loose<'a>,
    pub arguments: Loose<'a>,
    pub extra: Extra,
}

read_fields!(WireToolCall, |call, key, map| match key {
    "index" => call.index = map.next_value::<Number>()?.index(),
    "id" => call.id = map.next_value()?,
    "type" => {
        map.next_value::<IgnoredAny>()?;
    }
    "function" => {
        if let Some(function) = map.next_value::<Option<WireFunction<'de>>>()? {
            call.name = function.name;
            call.arguments = function.arguments;
        }
    }
    unknown => {
        let value: Value = map.next_value()?;
        if !value.is_null() {
            call.extra.insert(unknown, value);
        }
    }
});

#[derive(Debug, Default)]
struct WireFunction<'a> {
    name: Loose<'a>,
    arguments: Loose<'a>,
}

read_fields!(WireFunction, |function, key, map| match key {
    "name" => function.name = map.next_value()?,
    "arguments" => function.arguments = map.next_value()?,
    _ => {
        map.next_value::<IgnoredAny>()?;
    }
});
