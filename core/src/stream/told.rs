//! A whole answer told as a stream: one that a hook gave, or that was kept from another call.

use super::leg::Leg;
use super::{Emitter, Meta, ToolPiece};
use crate::types::{ChatCompletion, ChunkChoice, Content, Delta, Extra, FinishReason, Message};

/// The leg that tells `answer`, in the normal form of every stream. `meta` is that of the route that was to be asked.
pub(super) fn leg(mut answer: ChatCompletion, mut meta: Meta, wants_usage: bool) -> Leg {
    let mut given = answer.literllm.take().unwrap_or_default();
    given.provider.get_or_insert_with(|| meta.provider.clone());
    meta.request_id.clone_from(&given.request_id);
    meta.given = Some(given);
    let expected = u32::try_from(answer.choices.len()).unwrap_or(1);
    let model = if answer.model.is_empty() { meta.model.clone() } else { answer.model.clone() };
    let mut emitter = Emitter::new(model, expected, wants_usage);
    tell(answer, &mut emitter);
    Leg::told(emitter, meta)
}

/// The leg that tells `answer` in the place of one that failed.
pub(super) fn instead_of(failed: &Leg, answer: ChatCompletion) -> Leg {
    leg(answer, failed.meta.clone(), failed.emitter.wants_usage())
}

fn tell(answer: ChatCompletion, out: &mut Emitter) {
    out.identify(&answer.id, &answer.model, answer.created);
    out.system_fingerprint(answer.system_fingerprint.as_deref().unwrap_or_default());
    out.service_tier(answer.service_tier.as_deref().unwrap_or_default());
    out.extra(answer.extra);
    for choice in answer.choices {
        let index = choice.index;
        out.begin(index);
        say(choice.message, choice.logprobs, index, out);
        out.add(ChunkChoice { index, extra: choice.extra, ..ChunkChoice::default() });
        let supplied = if out.has_tool_calls(index) { FinishReason::TOOL_CALLS } else { FinishReason::STOP };
        out.finish(index, choice.finish_reason.unwrap_or(supplied), choice.native_finish_reason);
    }
    if let Some(usage) = answer.usage {
        out.usage(*usage);
    }
    out.done();
    out.close();
}

/// Thinking first, then what was said, then the calls: the order in which models speak.
fn say(message: Message, logprobs: Option<Box<serde_json::Value>>, choice: u32, out: &mut Emitter) {
    out.reasoning(choice, &message.reasoning_content.unwrap_or_default());
    for block in message.thinking_blocks {
        out.delta(choice, Delta { thinking_blocks: vec![block], ..Delta::default() });
    }
    if !message.reasoning_details.is_empty() {
        out.delta(choice, Delta { reasoning_details: message.reasoning_details, ..Delta::default() });
    }
    let content = message.content.as_ref().map(Content::text).filter(|text| !text.is_empty());
    let delta = Delta { content, refusal: message.refusal, extra: message.extra, ..Delta::default() };
    out.add(ChunkChoice { index: choice, delta, logprobs, ..ChunkChoice::default() });
    for (number, call) in message.tool_calls.iter().enumerate() {
        let function = &call.function;
        let index = u32::try_from(number).ok();
        let piece = ToolPiece { index, id: &call.id, name: &function.name, arguments: &function.arguments };
        out.tool_with(choice, piece, call.extra.clone());
    }
    let rest = Delta {
        annotations: message.annotations,
        audio: message.audio,
        function_call: message.function_call,
        extra: Extra::default(),
        ..Delta::default()
    };
    out.delta(choice, rest);
}
