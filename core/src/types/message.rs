//! One message of a conversation, the same type in a request and in an answer, so that an answer can be sent back as it came.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Extra, Role, Str};

record! {
    pub struct Message {
        pub role: Role,
        pub content: Option<Content>,
        pub name: Option<String>,
        pub tool_calls: Vec<ToolCall>,
        /// In a `tool` message: the call this is the result of.
        pub tool_call_id: Option<String>,
        pub refusal: Option<String>,
        /// The model's thinking, as text.
        pub reasoning_content: Option<String>,
        /// Signed or redacted thinking (Anthropic, Bedrock). Send it back unchanged.
        pub thinking_blocks: Vec<ThinkingBlock>,
        /// Reasoning in the host's own form (OpenRouter and its kin). Send it back unchanged.
        pub reasoning_details: Vec<Value>,
        pub annotations: Vec<Annotation>,
        pub audio: Option<Box<AudioAnswer>>,
        /// The older form of a tool call.
        pub function_call: Option<Box<FunctionCall>>,
    }
}

record! {
    pub struct ToolCall {
        pub id: String,
        pub kind: Option<Str>,
        pub function: FunctionCall,
    }
}

record! {
    pub struct FunctionCall {
        pub name: String,
        /// JSON text, as the model wrote it.
        pub arguments: String,
    }
}

record! {
    /// A piece of thinking that the provider wants back unchanged: `thinking` with its `signature`, or `redacted_thinking` with `data`.
    pub struct ThinkingBlock {
        pub kind: Str,
        pub thinking: Option<String>,
        pub signature: Option<String>,
        pub data: Option<String>,
    }
}

record! {
    /// A source that the answer cites.
    pub struct Annotation {
        pub kind: Str,
        pub url_citation: Option<UrlCitation>,
    }
}

record! {
    pub struct UrlCitation {
        pub url: Option<String>,
        pub title: Option<String>,
        pub start_index: Option<u64>,
        pub end_index: Option<u64>,
    }
}

record! {
    pub struct AudioAnswer {
        pub id: Option<String>,
        /// Base64.
        pub data: Option<String>,
        pub transcript: Option<String>,
        pub expires_at: Option<i64>,
    }
}

record! {
    pub struct ImageUrl {
        /// An address or a `data:` URL.
        pub url: String,
        pub detail: Option<String>,
    }
}

record! {
    pub struct InputAudio {
        /// Base64.
        pub data: String,
        pub format: String,
    }
}

record! {
    pub struct FileData {
        pub file_id: Option<String>,
        pub filename: Option<String>,
        /// A `data:` URL.
        pub file_data: Option<String>,
    }
}

impl super::record::Presence for FunctionCall {}
impl super::record::Presence for ImageUrl {}
impl super::record::Presence for Content {}

/// What a message says: plain text, or parts.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "uniffi", derive(uniffi::Enum))]
pub enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

/// One part of a message. Kinds that this version does not know are carried as they are.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "uniffi", derive(uniffi::Enum))]
pub enum ContentPart {
    Text { text: String, extra: Extra },
    Image { image_url: ImageUrl, extra: Extra },
    Audio { input_audio: InputAudio, extra: Extra },
    File { file: FileData, extra: Extra },
    Refusal { refusal: String, extra: Extra },
    Other(Value),
}

impl Message {
    pub fn new(role: Role, content: impl Into<Content>) -> Self {
        Self { role, content: Some(content.into()), ..Self::default() }
    }

    pub fn system(content: impl Into<Content>) -> Self {
        Self::new(Role::SYSTEM, content)
    }

    pub fn user(content: impl Into<Content>) -> Self {
        Self::new(Role::USER, content)
    }

    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new(Role::ASSISTANT, content)
    }

    /// The result of a tool call.
    pub fn tool(tool_call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self { tool_call_id: Some(tool_call_id.into()), ..Self::new(Role::TOOL, content) }
    }

    /// Its text: the plain content, or the text parts joined.
    pub fn text(&self) -> String {
        self.content.as_ref().map(Content::text).unwrap_or_default()
    }
}

impl From<&str> for Message {
    /// What the user says.
    fn from(text: &str) -> Self {
        Self::user(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::user(text)
    }
}

impl Content {
    /// The plain text; empty for parts.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Parts(_) => "",
        }
    }

    /// The text, whether plain or in parts.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    ContentPart::Text { text, .. } => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<ContentPart>> for Content {
    fn from(parts: Vec<ContentPart>) -> Self {
        Self::Parts(parts)
    }
}

impl ContentPart {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), extra: Extra::default() }
    }

    /// An image by address or `data:` URL.
    pub fn image(url: impl Into<String>) -> Self {
        Self::Image { image_url: ImageUrl { url: url.into(), ..ImageUrl::default() }, extra: Extra::default() }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Parts(parts) => parts.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> serde::de::Visitor<'de> for ContentVisitor {
            type Value = Content;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a list of content parts")
            }
            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }
            fn visit_string<E>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                let mut list = Vec::new();
                while let Some(part) = parts.next_element()? {
                    list.push(part);
                }
                Ok(Content::Parts(list))
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

impl Serialize for ContentPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        let extra = match self {
            Self::Text { text, extra } => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
                extra
            }
            Self::Image { image_url, extra } => {
                map.serialize_entry("type", "image_url")?;
                map.serialize_entry("image_url", image_url)?;
                extra
            }
            Self::Audio { input_audio, extra } => {
                map.serialize_entry("type", "input_audio")?;
                map.serialize_entry("input_audio", input_audio)?;
                extra
            }
            Self::File { file, extra } => {
                map.serialize_entry("type", "file")?;
                map.serialize_entry("file", file)?;
                extra
            }
            Self::Refusal { refusal, extra } => {
                map.serialize_entry("type", "refusal")?;
                map.serialize_entry("refusal", refusal)?;
                extra
            }
            Self::Other(Value::Object(fields)) => {
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                return map.end();
            }
            Self::Other(_) => return map.end(),
        };
        extra.write(&mut map, |_| true)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for ContentPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        let Some(kind) = fields.get("type").and_then(Value::as_str).map(str::to_owned) else {
            return Err(D::Error::custom("a content part needs a `type`"));
        };
        let payload = match kind.as_str() {
            "text" | "image_url" | "input_audio" | "file" | "refusal" => fields.shift_remove(kind.as_str()),
            _ => return Ok(Self::Other(Value::Object(fields))),
        };
        let payload =
            payload.ok_or_else(|| D::Error::custom(format_args!("a content part of type `{kind}` needs a field `{kind}`")))?;
        fields.shift_remove("type");
        let extra = Extra::from(fields);
        let wrong = |error: serde_json::Error| D::Error::custom(format_args!("{kind}: {error}"));
        Ok(match kind.as_str() {
            "text" => Self::Text { text: serde_json::from_value(payload).map_err(wrong)?, extra },
            // Some callers write the address itself where OpenAI has an object.
            "image_url" => match payload {
                Value::String(url) => Self::Image { image_url: ImageUrl { url, ..ImageUrl::default() }, extra },
                object => Self::Image { image_url: serde_json::from_value(object).map_err(wrong)?, extra },
            },
            "input_audio" => Self::Audio { input_audio: serde_json::from_value(payload).map_err(wrong)?, extra },
            "file" => Self::File { file: serde_json::from_value(payload).map_err(wrong)?, extra },
            _ => Self::Refusal { refusal: serde_json::from_value(payload).map_err(wrong)?, extra },
        })
    }
}
