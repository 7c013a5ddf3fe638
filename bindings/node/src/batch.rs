//! Chunks on their way to JavaScript: one JSON list a batch, or the bare text behind `=` where a lone chunk says no more than that.
//!
//! Nearly every chunk of a stream is the one before it with another `content`. Such a chunk is written as that string alone, one with
//! another `reasoning_content` alone as a list of that one string, and any other as its whole object; JavaScript copies the rest from
//! the last whole one.

use literllm::{ChatCompletionChunk, Delta, Str};

/// What a stream's chunks have in common, as JavaScript knows it from the last one it got whole.
#[derive(Default)]
pub(crate) struct Packer {
    head: Option<Head>,
}

struct Head {
    id: Str,
    created: i64,
    model: Str,
    system_fingerprint: Option<Str>,
    service_tier: Option<Str>,
}

impl Packer {
    pub(crate) fn pack(&mut self, chunks: &[ChatCompletionChunk]) -> String {
        const ROOM: usize = 32;
        if let [chunk] = chunks
            && self.goes_on(chunk)
            && let Some(Alone::Content(text)) = said_alone(chunk)
        {
            return format!("={text}");
        }
        let mut json = Vec::with_capacity(chunks.len() * ROOM);
        for chunk in chunks {
            json.push(if json.is_empty() { b'[' } else { b',' });
            let alone = if self.goes_on(chunk) { said_alone(chunk) } else { None };
            match alone {
                Some(Alone::Content(text)) => write(&mut json, text),
                Some(Alone::Reasoning(text)) => write(&mut json, &[text]),
                None => {
                    write(&mut json, chunk);
                    self.head = Some(Head {
                        id: chunk.id.clone(),
                        created: chunk.created,
                        model: chunk.model.clone(),
                        system_fingerprint: chunk.system_fingerprint.clone(),
                        service_tier: chunk.service_tier.clone(),
                    });
                }
            }
        }
        json.push(b']');
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    fn goes_on(&self, chunk: &ChatCompletionChunk) -> bool {
        self.head.as_ref().is_some_and(|head| {
            head.created == chunk.created
                && head.id == chunk.id
                && head.model == chunk.model
                && head.system_fingerprint == chunk.system_fingerprint
                && head.service_tier == chunk.service_tier
        })
    }
}

enum Alone<'a> {
    Content(&'a str),
    Reasoning(&'a str),
}

/// The text that is all a chunk says. Every field is named, so that a new one is not forgotten here.
fn said_alone(chunk: &ChatCompletionChunk) -> Option<Alone<'_>> {
    let ChatCompletionChunk {
        id: _,
        created: _,
        model: _,
        choices,
        usage: None,
        system_fingerprint: _,
        service_tier: _,
        literllm: None,
        extra,
    } = chunk
    else {
        return None;
    };
    let [choice] = choices.as_slice() else { return None };
    let literllm::ChunkChoice {
        index: 0,
        delta,
        logprobs: None,
        finish_reason: None,
        native_finish_reason: None,
        extra: choice_extra,
    } = choice
    else {
        return None;
    };
    let Delta {
        role: None,
        content,
        refusal: None,
        reasoning_content,
        tool_calls,
        function_call: None,
        thinking_blocks,
        reasoning_details,
        annotations,
        audio: None,
        extra: delta_extra,
    } = delta
    else {
        return None;
    };
    let is_bare = extra.is_empty()
        && choice_extra.is_empty()
        && delta_extra.is_empty()
        && tool_calls.is_empty()
        && thinking_blocks.is_empty()
        && reasoning_details.is_empty()
        && annotations.is_empty();
    match (content, reasoning_content) {
        (Some(text), None) if is_bare => Some(Alone::Content(text)),
        (None, Some(text)) if is_bare => Some(Alone::Reasoning(text)),
        _ => None,
    }
}

fn write<T: serde::Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(json, value).expect("wire types become JSON, and a Vec takes every byte");
}
