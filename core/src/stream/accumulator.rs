//! A stream's chunks added up: the final response, readable at any moment.

use serde_json::Value;

use crate::partial_json;
use crate::types::{
    AudioAnswer, ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice, Content, FunctionCall, Message, Role, Str,
    ThinkingBlock, ToolCall, ToolCallDelta, Usage,
};

/// Adds chunks up. Each costs what it brings; the answer so far can be asked for at any moment.
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    answer: ChatCompletion,
    /// Whether any chunk was added.
    begun: bool,
}

impl Accumulator {
    pub fn push(&mut self, chunk: &ChatCompletionChunk) {
        let answer = &mut self.answer;
        if !self.begun {
            self.begun = true;
            answer.id = chunk.id.clone();
            answer.created = chunk.created;
            answer.model = chunk.model.clone();
        }
        if let Some(usage) = &chunk.usage {
            answer.usage = Some(usage.clone());
        }
        if chunk.system_fingerprint.is_some() && answer.system_fingerprint != chunk.system_fingerprint {
            answer.system_fingerprint.clone_from(&chunk.system_fingerprint);
        }
        if chunk.service_tier.is_some() && answer.service_tier != chunk.service_tier {
            answer.service_tier.clone_from(&chunk.service_tier);
        }
        if !chunk.extra.is_empty() {
            answer.extra.merge(chunk.extra.clone());
        }
        for choice in &chunk.choices {
            let at = answer.choices.iter().position(|known| known.index == choice.index).unwrap_or_else(|| {
                let mut begun = Choice { index: choice.index, ..Choice::default() };
                begun.message.role = Role::ASSISTANT;
                answer.choices.push(begun);
                answer.choices.len() - 1
            });
            add_choice(&mut answer.choices[at], choice);
        }
    }

    pub(crate) fn set_usage(&mut self, usage: &Usage) {
        self.answer.usage = Some(Box::new(usage.clone()));
    }

    /// The answer so far.
    pub fn answer(&self) -> &ChatCompletion {
        &self.answer
    }

    /// Whether the model has said anything yet.
    pub(crate) fn has_token(&self) -> bool {
        self.answer.choices.iter().any(|choice| {
            let message = &choice.message;
            message.content.is_some()
                || message.reasoning_content.is_some()
                || message.refusal.is_some()
                || !message.tool_calls.is_empty()
                || !message.thinking_blocks.is_empty()
                || !message.reasoning_details.is_empty()
                || message.function_call.is_some()
                || message.audio.is_some()
        })
    }

    /// The answer so far, its choices in order.
    pub fn to_completion(&self) -> ChatCompletion {
        self.clone().into_completion()
    }

    /// The answer, its choices in order, without copying it.
    pub fn into_completion(mut self) -> ChatCompletion {
        self.answer.choices.sort_by_key(|choice| choice.index);
        self.answer
    }

    /// The text of a choice read as JSON, as far as it has come: open strings, lists and objects are closed, half a word is left out.
    pub fn json(&self, choice: u32) -> Option<Value> {
        partial_json::parse(self.message(choice)?.content.as_ref()?.as_text())
    }

    /// The arguments of a tool call read as JSON, as far as they have come.
    pub fn tool_arguments(&self, choice: u32, call: usize) -> Option<Value> {
        partial_json::parse(&self.message(choice)?.tool_calls.get(call)?.function.arguments)
    }

    fn message(&self, choice: u32) -> Option<&Message> {
        self.answer.choices.iter().find(|known| known.index == choice).map(|choice| &choice.message)
    }
}

fn add_choice(choice: &mut Choice, piece: &ChunkChoice) {
    if let Some(reason) = &piece.finish_reason {
        choice.finish_reason = Some(reason.clone());
    }
    if piece.native_finish_reason.is_some() {
        choice.native_finish_reason.clone_from(&piece.native_finish_reason);
    }
    if let Some(logprobs) = &piece.logprobs {
        add_logprobs(&mut choice.logprobs, logprobs);
    }
    if !piece.extra.is_empty() {
        choice.extra.merge(piece.extra.clone());
    }
    let (message, delta) = (&mut choice.message, &piece.delta);
    if let Some(text) = &delta.content {
        match &mut message.content {
            Some(Content::Text(sofar)) => sofar.push_str(text),
            // An answer without text has no content, rather than an empty one.
            content if !text.is_empty() => *content = Some(Content::Text(text.clone())),
            _ => {}
        }
    }
    append(&mut message.reasoning_content, delta.reasoning_content.as_deref());
    append(&mut message.refusal, delta.refusal.as_deref());
    for call in &delta.tool_calls {
        add_tool_call(&mut message.tool_calls, call);
    }
    for block in &delta.thinking_blocks {
        add_thinking(&mut message.thinking_blocks, block);
    }
    for detail in &delta.reasoning_details {
        add_reasoning_detail(&mut message.reasoning_details, detail);
    }
    message.annotations.extend_from_slice(&delta.annotations);
    if let Some(piece) = &delta.function_call {
        let call = message.function_call.get_or_insert_with(|| Box::new(FunctionCall::default()));
        call.name.push_str(&piece.name);
        call.arguments.push_str(&piece.arguments);
    }
    if let Some(piece) = &delta.audio {
        add_audio(message.audio.get_or_insert_default(), piece);
    }
    for (name, value) in delta.extra.iter() {
        match (message.extra.get_mut(name), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend_from_slice(more),
            _ => message.extra.insert(name, value.clone()),
        }
    }
}

fn append(slot: &mut Option<String>, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        slot.get_or_insert_default().push_str(text);
    }
}

fn add_tool_call(calls: &mut Vec<ToolCall>, piece: &ToolCallDelta) {
    let at = piece.index as usize;
    if at > calls.len() {
        return;
    }
    if at == calls.len() {
        calls.push(ToolCall { kind: Some(Str::from_static("function")), ..ToolCall::default() });
    }
    let call = &mut calls[at];
    if let Some(id) = &piece.id {
        call.id.clone_from(id);
    }
    if let Some(kind) = &piece.kind {
        call.kind = Some(kind.clone());
    }
    if let Some(function) = &piece.function {
        if let Some(name) = &function.name {
            call.function.name.push_str(name);
        }
        if let Some(arguments) = &function.arguments {
            call.function.arguments.push_str(arguments);
        }
    }
    if !piece.extra.is_empty() {
        call.extra.merge(piece.extra.clone());
    }
}

/// A signature closes the block before it; text goes on with an open one.
fn add_thinking(blocks: &mut Vec<ThinkingBlock>, piece: &ThinkingBlock) {
    let goes_on = blocks.last().is_some_and(|last| last.kind == piece.kind && last.signature.is_none() && last.data.is_none());
    if !goes_on || piece.data.is_some() {
        blocks.push(piece.clone());
        return;
    }
    let last = blocks.last_mut().expect("goes_on is true of a last block only");
    append(&mut last.thinking, piece.thinking.as_deref());
    last.signature.clone_from(&piece.signature);
    if !piece.extra.is_empty() {
        last.extra.merge(piece.extra.clone());
    }
}

/// Details of one kind and number are pieces of one detail: their texts are joined, other fields are taken as they come.
fn add_reasoning_detail(details: &mut Vec<Value>, piece: &Value) {
    const JOINED: [&str; 3] = ["text", "summary", "data"];
    let Value::Object(fields) = piece else {
        details.push(piece.clone());
        return;
    };
    let goes_on = |last: &Value| {
        last.get("type") == fields.get("type")
            && last.get("index").is_some_and(|index| Some(index) == fields.get("index"))
            && (last.get("id").is_none_or(Value::is_null)
                || fields.get("id").is_none_or(Value::is_null)
                || last.get("id") == fields.get("id"))
    };
    let Some(Value::Object(last)) = details.last_mut().filter(|last| goes_on(last)) else {
        details.push(piece.clone());
        return;
    };
    for (name, value) in fields {
        match (last.get_mut(name), value) {
            (Some(Value::String(sofar)), Value::String(more)) if JOINED.contains(&name.as_str()) => sofar.push_str(more),
            (Some(_), Value::Null) => {}
            _ => {
                last.insert(name.clone(), value.clone());
            }
        }
    }
}

fn add_audio(audio: &mut AudioAnswer, piece: &AudioAnswer) {
    if piece.id.is_some() {
        audio.id.clone_from(&piece.id);
    }
    append(&mut audio.data, piece.data.as_deref());
    append(&mut audio.transcript, piece.transcript.as_deref());
    audio.expires_at = piece.expires_at.or(audio.expires_at);
    if !piece.extra.is_empty() {
        audio.extra.merge(piece.extra.clone());
    }
}

/// `content` and `refusal` lists grow; any other form is replaced by the latest.
fn add_logprobs(slot: &mut Option<Box<Value>>, piece: &Value) {
    let Some(sofar) = slot else {
        *slot = Some(Box::new(piece.clone()));
        return;
    };
    let (Value::Object(sofar), Value::Object(piece)) = (&mut **sofar, piece) else {
        **sofar = piece.clone();
        return;
    };
    for (name, value) in piece {
        match (sofar.get_mut(name), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend_from_slice(more),
            (Some(_), Value::Null) => {}
            _ => {
                sofar.insert(name.clone(), value.clone());
            }
        }
    }
}
