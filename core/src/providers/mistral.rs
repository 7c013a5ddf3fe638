//! Mistral: the OpenAI dialect with names and limits of its own. Its answers are read by that dialect.

use http::header::AUTHORIZATION;
use serde_json::json;

use super::openai::{Body, OpenAi};
use super::{Call, Outgoing, Provider, Translator, json_body, json_headers, key_header, unsupported};
use crate::auth::Auth;
use crate::error::Result;
use crate::types::{ChatCompletion, Content, ContentPart, Message, Role, ToolChoice};

/// What Mistral cannot do.
const REFUSED: [&str; 7] = ["logit_bias", "logprobs", "top_logprobs", "verbosity", "audio", "web_search_options", "modalities"];

#[derive(Debug)]
pub(crate) struct Mistral;

impl Provider for Mistral {
    fn request(&self, call: &Call<'_>) -> Result<Outgoing> {
        let mut headers = json_headers();
        if let Some(key) = &call.target.key {
            key_header(&mut headers, AUTHORIZATION, "Bearer ", key)?;
        }
        let base = call.target.base_url.strip_suffix("/v1").unwrap_or(&call.target.base_url);
        let url = format!("{base}/v1/chat/completions");
        Ok(Outgoing { url, headers, body: json_body(&body(call)?), auth: Auth::Ready })
    }

    fn translator(&self, call: &Call<'_>) -> Box<dyn Translator> {
        OpenAi.translator(call)
    }

    fn answer(&self, body: &str, call: &Call<'_>) -> Result<ChatCompletion> {
        OpenAi.answer(body, call)
    }
}

fn body<'a>(call: &Call<'a>) -> Result<Body<'a>> {
    let request = call.request;
    // Usage always comes; a field that Mistral does not know is refused.
    let mut body = Body::new(call)?.without_stream_options();
    body.rename_limit(request.max_tokens, "max_tokens", "max_completion_tokens");
    body.leave_out("seed");
    if let Some(seed) = request.seed {
        body.set("random_seed", seed);
    }
    unsupported::refuse(call, REFUSED)?;
    for field in ["user", "store", "service_tier"].into_iter().chain(unsupported::OPENAIS).chain(REFUSED) {
        body.leave_out(field);
    }
    if request.tool_choice == Some(ToolChoice::Required) {
        body.set("tool_choice", "any");
    }
    let messages = body.messages.to_mut();
    for message in &mut *messages {
        rewrite(message);
    }
    if let Some(last) = messages.last_mut().filter(|last| last.role == Role::ASSISTANT && last.tool_calls.is_empty()) {
        last.extra.insert("prefix", true.into());
    }
    // The one dialect's reader dropped the signed thinking; it is this provider's own, and goes back.
    for (message, original) in messages.iter_mut().zip(&request.messages) {
        replay_thinking(message, original);
    }
    Ok(body)
}

fn rewrite(message: &mut Message) {
    if message.role == Role::DEVELOPER {
        message.role = Role::SYSTEM;
    }
    if message.role != Role::TOOL {
        message.name = None;
    }
    message.reasoning_content = None;
    message.reasoning_details = Vec::new();
    message.annotations = Vec::new();
    message.refusal = None;
    message.extra.remove("extra_content");
    for call in &mut message.tool_calls {
        call.extra.remove("extra_content");
        call.id = short_id(&call.id);
    }
    if let Some(id) = &mut message.tool_call_id {
        *id = short_id(id);
    }
    if message.role == Role::ASSISTANT && message.content.is_none() {
        message.content = Some(Content::Text(String::new()));
    }
    let Some(Content::Parts(parts)) = &mut message.content else { return };
    for part in parts {
        let mapped = match part {
            ContentPart::File { file, .. } => match (&file.file_id, &file.file_data) {
                (Some(id), _) => json!({ "type": "file", "file_id": id }),
                (None, data) => json!({ "type": "document_url", "document_url": data, "document_name": file.filename }),
            },
            ContentPart::Audio { input_audio, .. } => json!({ "type": "input_audio", "input_audio": input_audio.data }),
            _ => continue,
        };
        *part = ContentPart::Other(mapped);
    }
}

/// Puts a signed thought of an earlier answer before its text.
fn replay_thinking(message: &mut Message, original: &Message) {
    if original.thinking_blocks.is_empty() {
        return;
    }
    let thoughts = original.thinking_blocks.iter().filter_map(|block| {
        let text = block.thinking.as_deref()?;
        let thought = json!([{ "type": "text", "text": text }]);
        Some(ContentPart::Other(json!({ "type": "thinking", "thinking": thought, "signature": block.signature })))
    });
    let said = match message.content.take() {
        Some(Content::Text(text)) if text.is_empty() => Vec::new(),
        Some(Content::Text(text)) => vec![ContentPart::text(text)],
        Some(Content::Parts(parts)) => parts,
        None => Vec::new(),
    };
    message.content = Some(Content::Parts(thoughts.chain(said).collect()));
}

/// Mistral takes ids of nine letters and digits only; another provider's become such, always the same for the same id.
fn short_id(id: &str) -> String {
    const LENGTH: usize = 9;
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if id.len() == LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    // FNV-1a, which is the same on every machine.
    let mut hash =
        id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut short = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        let at = usize::try_from(hash % 62).expect("62 fits every size");
        short.push(char::from(ALPHABET[at]));
        hash /= 62;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::tests::{mapped, outgoing};

    #[test]
    fn a_request_has_mistrals_names_and_nothing_it_refuses() {
        let request = json!({
            "model": "mistral/mistral-small-latest", "max_completion_tokens": 5, "seed": 1, "user": "u", "store": true,
            "stream_options": { "include_usage": true }, "tool_choice": "required", "parallel_tool_calls": false, "safe_prompt": true,
            "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }],
            "messages": [
                { "role": "developer", "content": "Be brief." },
                { "role": "user", "name": "Ada", "content": [{ "type": "file", "file": { "file_data": "data:application/pdf;base64,AA", "filename": "a.pdf" } }] },
                { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                    { "id": "call_abcdef", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
                { "role": "tool", "tool_call_id": "call_abcdef", "content": "1" },
            ],
        });
        let id = short_id("call_abcdef");
        let expected = json!({
            "model": "mistral-small-latest",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": [{ "type": "document_url", "document_url": "data:application/pdf;base64,AA", "document_name": "a.pdf" }] },
                { "role": "assistant", "content": "", "tool_calls": [
                    { "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
                { "role": "tool", "content": "1", "tool_call_id": id },
            ],
            "stream": true, "max_tokens": 5,
            "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }],
            "parallel_tool_calls": false, "safe_prompt": true, "random_seed": 1, "tool_choice": "any",
        });
        assert_eq!(mapped(&request), expected);
    }

    #[test]
    fn the_last_answer_is_gone_on_from_and_its_thoughts_go_back() {
        let block = json!({ "type": "thinking", "thinking": "hm", "signature": "S" });
        let request = json!({ "model": "mistral/magistral-medium-latest", "messages": [
            { "role": "user", "content": "x" },
            { "role": "assistant", "content": "Once", "thinking_blocks": [block] } ] });
        let thought = json!({ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }], "signature": "S" });
        let expected = json!({ "role": "assistant", "content": [thought, { "type": "text", "text": "Once" }], "prefix": true });
        assert_eq!(mapped(&request)["messages"][1], expected);
    }

    #[test]
    fn ids_of_mistrals_own_form_stay() {
        assert_eq!(short_id("aZ09bcdef"), "aZ09bcdef");
        let made = short_id("call_1");
        assert!(made.len() == 9 && made.bytes().all(|byte| byte.is_ascii_alphanumeric()) && made != short_id("call_2"));
    }

    #[test]
    fn a_base_url_may_have_its_version() {
        let request = json!({ "model": "mistral/m", "messages": [{ "role": "user", "content": "x" }] });
        assert_eq!(outgoing(&request, &[], false).unwrap().url, "https://api.mistral.ai/v1/chat/completions");
    }
}
