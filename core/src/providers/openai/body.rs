//! The request as an OpenAI-compatible host takes it: the caller's own, but for what is written otherwise, so that a long conversation is
//! not copied to be sent.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::error::Result;
use crate::providers::{Call, unsupported};
use crate::types::{ChatCompletionRequest, Message, Role, StreamOptions};

/// The fields that are never written as they stand in the request.
const OWN: [&str; 5] = ["model", "messages", "stream", "stream_options", "stream_fallback_mode"];

#[derive(Debug)]
pub(in crate::providers) struct Body<'a> {
    request: &'a ChatCompletionRequest,
    model: &'a str,
    stream: bool,
    stream_options: Option<StreamOptions>,
    /// Copied only where one of them is written otherwise.
    pub messages: Cow<'a, [Message]>,
    /// What stands in the place of other fields of the request; nothing where one is left out.
    instead: Vec<(&'a str, Option<Value>)>,
}

impl<'a> Body<'a> {
    pub(in crate::providers) fn new(call: &Call<'a>) -> Result<Self> {
        let Call { request, target, stream, .. } = *call;
        let quirks = &target.host.quirks;
        // Usage is always asked for: the final response carries it even where the caller wants no usage chunk.
        let stream_options = (stream && !quirks.no_stream_options)
            .then(|| StreamOptions { include_usage: Some(true), ..request.stream_options.clone().unwrap_or_default() });
        let messages = Cow::Borrowed(&*request.messages);
        let mut body = Self { request, model: &target.model, stream, stream_options, messages, instead: Vec::new() };
        match quirks.max_tokens_field.as_deref() {
            Some("max_tokens") => body.rename_limit(request.max_tokens, "max_tokens", "max_completion_tokens"),
            Some("max_completion_tokens") => {
                body.rename_limit(request.max_completion_tokens, "max_completion_tokens", "max_tokens");
            }
            _ => {}
        }
        if quirks.clamp_temperature_zero && request.temperature == Some(0.0) {
            body.set("temperature", 1e-8);
        }
        let refused = quirks.unsupported.iter().map(String::as_str);
        unsupported::refuse(call, refused.clone())?;
        refused.for_each(|field| body.leave_out(field));
        let is_strict = matches!(&*target.host.name, "openai" | "azure");
        let rewritten = |message: &Message| {
            // Only the provider that signed it can read it.
            !message.thinking_blocks.is_empty()
                || is_strict && holds_what_openai_refuses(message)
                || quirks.no_message_name && message.name.is_some()
                || quirks.no_developer_role && message.role == Role::DEVELOPER
        };
        if request.messages.iter().any(rewritten) {
            for message in body.messages.to_mut() {
                message.thinking_blocks = Vec::new();
                if is_strict {
                    drop_what_openai_refuses(message);
                }
                if quirks.no_message_name {
                    message.name = None;
                }
                if quirks.no_developer_role && message.role == Role::DEVELOPER {
                    message.role = Role::SYSTEM;
                }
            }
        }
        Ok(body)
    }

    pub(in crate::providers) fn without_stream_options(mut self) -> Self {
        self.stream_options = None;
        self
    }

    /// Writes this in place of a field.
    pub(in crate::providers) fn set(&mut self, field: &'a str, value: impl Into<Value>) {
        self.put(field, Some(value.into()));
    }

    pub(in crate::providers) fn leave_out(&mut self, field: &'a str) {
        self.put(field, None);
    }

    /// Gives the limit of tokens the one name that the host knows.
    pub(in crate::providers) fn rename_limit(&mut self, own: Option<u64>, field: &'a str, other: &'a str) {
        self.leave_out(other);
        if let Some(limit) = own.or(self.request.output_limit()) {
            self.set(field, limit);
        }
    }

    fn put(&mut self, field: &'a str, value: Option<Value>) {
        match self.instead.iter_mut().find(|(name, _)| *name == field) {
            Some(there) => there.1 = value,
            None => self.instead.push((field, value)),
        }
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.instead {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("stream", &self.stream)?;
        if let Some(options) = &self.stream_options {
            map.serialize_entry("stream_options", options)?;
        }
        map.serialize_entry("messages", &self.messages)?;
        self.request.write(&mut map, |field| !OWN.contains(&field) && self.instead.iter().all(|(name, _)| *name != field))?;
        map.end()
    }
}

fn holds_what_openai_refuses(message: &Message) -> bool {
    message.extra.get("extra_content").is_some()
        || message.tool_calls.iter().any(|call| call.extra.get("extra_content").is_some())
        || message.reasoning_content.is_some()
        || !message.reasoning_details.is_empty()
        || !message.annotations.is_empty()
}

fn drop_what_openai_refuses(message: &mut Message) {
    message.extra.remove("extra_content");
    for call in &mut message.tool_calls {
        call.extra.remove("extra_content");
    }
    message.reasoning_content = None;
    message.reasoning_details = Vec::new();
    message.annotations = Vec::new();
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::providers::{Target, find};

    fn target(host: &str) -> Target {
        Target {
            host: find(host).expect("a known host").clone(),
            model: "m".into(),
            base_url: String::new(),
            key: None,
            is_default_url: true,
            has_tokens: false,
            settings: HashMap::new(),
        }
    }

    fn call<'a>(request: &'a ChatCompletionRequest, target: &'a Target) -> Call<'a> {
        Call { request, target, stream: true, drop_unsupported: false }
    }

    #[test]
    fn messages_are_copied_only_where_one_holds_what_the_host_refuses() {
        let mut target = target("openai");
        (target.host.quirks.no_message_name, target.host.quirks.no_developer_role) = (true, true);
        let (asked, tool) =
            (json!({"role": "user", "content": "hi"}), json!({"id": "c", "function": {"name": "f", "arguments": ""}}));
        let plain = ChatCompletionRequest::new("m", ["hi"]);
        assert!(matches!(Body::new(&call(&plain, &target)).expect("a body").messages, Cow::Borrowed(_)));
        for (field, value, left) in [
            ("thinking_blocks", json!([{"type": "thinking", "thinking": "Hm"}]), None),
            ("reasoning_content", json!("Hm"), None),
            ("reasoning_details", json!([{"text": "Hm"}]), None),
            ("annotations", json!([{"type": "url_citation"}]), None),
            ("extra_content", json!({"google": 1}), None),
            (
                "tool_calls",
                json!([{"extra_content": 1, "id": "c", "function": {"name": "f", "arguments": ""}}]),
                Some(json!([tool])),
            ),
            ("name", json!("Ann"), None),
            ("role", json!("developer"), Some(json!("system"))),
        ] {
            let (mut given, mut wanted) = (asked.clone(), asked.clone());
            given[field] = value;
            if let Some(left) = left {
                wanted[field] = left;
            }
            let request =
                ChatCompletionRequest { messages: vec![serde_json::from_value(given).expect("a message")], ..plain.clone() };
            let body = serde_json::to_value(Body::new(&call(&request, &target)).expect("a body")).expect("JSON");
            assert_eq!(body["messages"], json!([wanted]), "{field}");
        }
    }

    #[test]
    fn what_a_host_cannot_do_is_left_out_or_refused() {
        let request = ChatCompletionRequest {
            temperature: Some(0.5),
            user: Some("u".to_owned()),
            ..ChatCompletionRequest::new("m", ["hi"])
        };
        let mut target = target("openai");
        target.host.quirks.unsupported = vec!["user".to_owned()];
        let body = serde_json::to_value(Body::new(&call(&request, &target)).expect("a body")).expect("JSON");
        assert_eq!((body.get("user"), &body["temperature"]), (None, &json!(0.5)));
        target.host.quirks.unsupported.push("temperature".to_owned());
        assert!(Body::new(&call(&request, &target)).expect_err("it changes the answer").message().contains("`temperature`"));
        let call = Call { drop_unsupported: true, ..call(&request, &target) };
        assert_eq!(serde_json::to_value(Body::new(&call).expect("a body")).expect("JSON").get("temperature"), None);
    }
}
