//! Recorded streams through decoder, translator and emitter: whole, byte by byte, in random pieces, and cut. The recordings are other
//! people's and lie outside the project: `LITERLLM_RECORDINGS` names their folder. `short_way` compares two readers of the same events.

mod short_way;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::Emitter;
use crate::decode::{Decoder, Framing};
use crate::error::{Error, ErrorKind};
use crate::providers::{self, Call, Host, Target, Translator};
use crate::types::{ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Usage};

const CAP: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Index {
    files: Vec<Recording>,
}

#[derive(Deserialize)]
struct Recording {
    file: String,
    dialect: String,
    framing: String,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    text: String,
    finish_reason: Option<String>,
    tool_calls: Vec<ExpectedCall>,
    reasoning_text: Option<String>,
    /// What Cohere means to do with its tools, which is reasoning, too.
    tool_plan: Option<String>,
    refusal: Option<String>,
    usage: Option<Value>,
    error: Option<Value>,
    #[serde(default)]
    done_marker: bool,
    other_choices: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct ExpectedCall {
    id: Option<String>,
    name: String,
    arguments: Option<String>,
    arguments_json: Option<Value>,
}

/// What a stream came to.
struct Outcome {
    chunks: Vec<ChatCompletionChunk>,
    answer: ChatCompletion,
    error: Option<Error>,
}

/// Feeds `bytes` in pieces of the lengths given, and ends.
fn play(dialect: &str, framing: Framing, bytes: &[u8], mut piece: impl FnMut() -> usize) -> Outcome {
    let name = provider_of(dialect);
    let host = providers::known().find(|host| host.name == name).expect("a dialect's provider is known").clone();
    play_host(host, framing, bytes, &mut piece)
}

fn play_host(host: Host, framing: Framing, bytes: &[u8], piece: &mut dyn FnMut() -> usize) -> Outcome {
    let (mut translator, mut out) = reader_of(host);
    let mut decoder = Decoder::new(framing, CAP);
    let mut result = Ok(());
    let mut rest = bytes;
    while !rest.is_empty() && result.is_ok() && !out.is_done() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        rest = later;
        result = decoder.decode(now, |event| if out.is_done() { Ok(()) } else { translator.event(&event, &mut out) });
    }
    if result.is_ok() && !out.is_done() {
        result = decoder.finish(|event| if out.is_done() { Ok(()) } else { translator.event(&event, &mut out) });
        result = result.and_then(|()| translator.end(&mut out));
    }
    outcome(result, out)
}

fn reader_of(host: Host) -> (Box<dyn Translator>, Emitter) {
    let provider = providers::dialect(&host.name).expect("a known provider has a dialect");
    let request = ChatCompletionRequest::new("m", ["hi"]);
    let target = Target {
        host,
        model: "m".into(),
        base_url: String::new(),
        key: None,
        is_default_url: false,
        has_tokens: false,
        settings: std::collections::HashMap::new(),
    };
    let call = Call { request: &request, target: &target, stream: true, drop_unsupported: true };
    (provider.translator(&call), Emitter::the_same())
}

fn outcome(result: Result<(), Error>, mut out: Emitter) -> Outcome {
    let error = match result {
        Ok(()) if out.is_proven() => {
            out.close();
            None
        }
        Ok(()) => Some(Error::new(ErrorKind::Truncated, "no proof")),
        Err(error) => Some(error),
    };
    if error.is_some() {
        out.abandon();
    }
    Outcome { chunks: out.take_ready(), answer: out.answer().to_completion(), error }
}

fn provider_of(dialect: &str) -> &'static str {
    match dialect {
        "openai_chat" => "openrouter",
        "bedrock_converse" => "bedrock",
        "cohere_v2" => "cohere",
        "anthropic" => "anthropic",
        "gemini" => "gemini",
        "ollama" => "ollama",
        other => panic!("no provider speaks {other}"),
    }
}

fn recordings() -> Option<(PathBuf, Vec<Recording>)> {
    let folder = std::env::var_os("LITERLLM_RECORDINGS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures"), PathBuf::from);
    let Ok(index) = std::fs::read(folder.join("index.json")) else {
        println!("skipped: no recordings at {}; set LITERLLM_RECORDINGS", folder.display());
        return None;
    };
    let index: Index = serde_json::from_slice(&index).expect("the index of the recordings");
    let known = |recording: &Recording| providers::is_known(provider_of(&recording.dialect));
    Some((folder, index.files.into_iter().filter(known).collect()))
}

/// The recording's bytes as its provider sends them.
fn bytes_of(folder: &Path, recording: &Recording) -> (Framing, Vec<u8>) {
    let raw = std::fs::read(folder.join(&recording.file)).expect("a recording");
    match recording.framing.as_str() {
        "sse" => (Framing::Sse, raw),
        "ndjson" => (Framing::Ndjson, raw),
        "json-array" => (Framing::JsonArray, raw),
        "eventstream-b64" => (Framing::EventStream, base64_decoded(&raw)),
        "jsonl" if recording.dialect == "bedrock_converse" => {
            let lines = raw.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            (Framing::EventStream, lines.flat_map(frame_of).collect())
        }
        "jsonl" => {
            let mut sse = Vec::new();
            for line in raw.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
                sse.extend_from_slice(b"data: ");
                sse.extend_from_slice(line);
                sse.extend_from_slice(b"\n\n");
            }
            if recording.expected.done_marker {
                sse.extend_from_slice(b"data: [DONE]\n\n");
            }
            (Framing::Sse, sse)
        }
        other => panic!("no such framing: {other}"),
    }
}

fn base64_decoded(text: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    base64::prelude::BASE64_STANDARD.decode(text).expect("a recording in base64")
}

/// A frame of `{"<event type>": <payload>}`.
fn frame_of(line: &[u8]) -> Vec<u8> {
    let line: serde_json::Map<String, Value> = serde_json::from_slice(line).expect("a line of JSON");
    let (name, payload) = line.into_iter().next().expect("an event");
    let payload = payload.to_string();
    let mut headers = Vec::new();
    for (header, value) in [(":message-type", "event"), (":event-type", name.as_str())] {
        headers.push(u8::try_from(header.len()).expect("a short name"));
        headers.extend_from_slice(header.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&u16::try_from(value.len()).expect("a short value").to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let number = |length: usize| u32::try_from(length).expect("a short frame").to_be_bytes();
    let mut frame = [number(16 + headers.len() + payload.len()), number(headers.len())].concat();
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&headers);
    frame.extend_from_slice(payload.as_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

fn check(recording: &Recording, outcome: &Outcome) -> Result<(), String> {
    let expected = &recording.expected;
    let same =
        |what: &str, is: &str, should: &str| if is == should { Ok(()) } else { Err(format!("{what}: {is:?} ≠ {should:?}")) };
    let choice = outcome.answer.choices.iter().find(|choice| choice.index == 0);
    let message = choice.map(|choice| choice.message.clone()).unwrap_or_default();
    same("text", &message.text(), &expected.text)?;
    let reasoning = expected.reasoning_text.as_ref().or(expected.tool_plan.as_ref());
    same("reasoning", message.reasoning_content.as_deref().unwrap_or(""), reasoning.map_or("", String::as_str))?;
    same("refusal", message.refusal.as_deref().unwrap_or(""), expected.refusal.as_deref().unwrap_or(""))?;
    if message.tool_calls.len() != expected.tool_calls.len() {
        return Err(format!("{} tool calls ≠ {}", message.tool_calls.len(), expected.tool_calls.len()));
    }
    for (call, expected) in message.tool_calls.iter().zip(&expected.tool_calls) {
        same("name", &call.function.name, &expected.name)?;
        if let Some(id) = expected.id.as_ref().filter(|id| !id.is_empty()) {
            same("id", &call.id, id)?;
        }
        match (&expected.arguments_json, &expected.arguments) {
            (Some(json), _) => {
                let is: Value = serde_json::from_str(&call.function.arguments).unwrap_or(Value::Null);
                same("arguments", &is.to_string(), &json.to_string())?;
            }
            (None, Some(text)) if !text.is_empty() => same("arguments", &call.function.arguments, text)?,
            _ => {}
        }
    }
    // What followed an error is not read.
    if let Some(usage) = expected.usage.as_ref().filter(|_| expected.error.is_none()) {
        let is = outcome.answer.usage.as_deref().cloned().unwrap_or_default();
        check_usage(&is, usage)?;
    }
    match (&expected.error, &outcome.error) {
        (Some(_), Some(error)) if error.kind() != ErrorKind::Truncated => return Ok(()),
        (Some(_), other) => return Err(format!("an error was due: {other:?}")),
        (None, _) => {}
    }
    let is_complete = expected.finish_reason.is_some() || expected.done_marker;
    match (is_complete, &outcome.error) {
        (true, Some(error)) => return Err(format!("failed: {error}")),
        (false, None) => return Err("was called complete".to_owned()),
        (false, Some(error)) if error.kind() != ErrorKind::Truncated => return Err(format!("not truncated: {error}")),
        _ => {}
    }
    if is_complete {
        check_normal_form(&outcome.chunks)?;
    }
    if let Some(reason) = &expected.finish_reason {
        same("finish", choice.and_then(|choice| choice.finish_reason.as_ref()).map_or("", |reason| reason.as_str()), reason)?;
    }
    for (index, other) in expected.other_choices.iter().flatten() {
        let choice =
            outcome.answer.choices.iter().find(|choice| choice.index.to_string() == *index).ok_or("a choice is missing")?;
        same("other text", &choice.message.text(), other["text"].as_str().unwrap_or(""))?;
    }
    Ok(())
}

fn check_usage(is: &Usage, expected: &Value) -> Result<(), String> {
    let details = |name: &str| match name {
        "cached_tokens" => is.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens),
        _ => is.completion_tokens_details.as_ref().and_then(|details| details.reasoning_tokens),
    };
    for (name, count) in expected.as_object().into_iter().flatten() {
        let is = match name.as_str() {
            "prompt_tokens" => is.prompt_tokens,
            "completion_tokens" => is.completion_tokens,
            "total_tokens" => is.total_tokens,
            "cached_tokens" | "reasoning_tokens" => details(name).unwrap_or(0),
            _ => continue,
        };
        if count.as_u64().is_some_and(|count| count != is) {
            return Err(format!("{name}: {is} ≠ {count}"));
        }
    }
    Ok(())
}

/// One role chunk first, one finish chunk a choice, one identity.
fn check_normal_form(chunks: &[ChatCompletionChunk]) -> Result<(), String> {
    let first = chunks.first().ok_or("no chunk at all")?;
    let mut roles: BTreeMap<u32, u32> = BTreeMap::new();
    let mut finishes: BTreeMap<u32, u32> = BTreeMap::new();
    for (at, chunk) in chunks.iter().enumerate() {
        if chunk.id.is_empty() || (&chunk.id, &chunk.model, chunk.created) != (&first.id, &first.model, first.created) {
            return Err("the identity changes".to_owned());
        }
        if chunk.choices.is_empty() && (chunk.usage.is_none() || at + 1 != chunks.len()) {
            return Err("a chunk without choices that is not the last with usage".to_owned());
        }
        for choice in &chunk.choices {
            if choice.delta.role.is_some() {
                *roles.entry(choice.index).or_default() += 1;
            } else if !roles.contains_key(&choice.index) {
                return Err("a delta before the role chunk".to_owned());
            }
            if finishes.contains_key(&choice.index) {
                return Err("a delta after the finish chunk".to_owned());
            }
            if choice.finish_reason.is_some() {
                *finishes.entry(choice.index).or_default() += 1;
            }
        }
    }
    let once = |counts: &BTreeMap<u32, u32>| counts.values().all(|&count| count == 1);
    if roles.keys().ne(finishes.keys()) || !once(&roles) || !once(&finishes) {
        return Err(format!("roles {roles:?}, finishes {finishes:?}"));
    }
    Ok(())
}

/// A small generator of numbers that come the same in every run.
fn numbers(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits fit")
    }
}

fn for_all(mut piece: impl FnMut(usize) -> Box<dyn FnMut() -> usize>) {
    let Some((folder, recordings)) = recordings() else { return };
    let mut wrong = Vec::new();
    for (at, recording) in recordings.iter().enumerate() {
        let (framing, bytes) = bytes_of(&folder, recording);
        let outcome = play(&recording.dialect, framing, &bytes, piece(at));
        if let Err(message) = check(recording, &outcome) {
            wrong.push(format!("{}: {message}", recording.file));
        }
    }
    println!("{} recordings, {} wrong", recordings.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn recordings_add_up_to_what_they_should() {
    for_all(|_| Box::new(|| usize::MAX));
}

#[test]
fn recordings_add_up_byte_by_byte() {
    for_all(|_| Box::new(|| 1));
}

#[test]
fn recordings_add_up_in_random_pieces() {
    for seed in 1..4 {
        for_all(|at| {
            let mut number = numbers(seed * 1000 + at as u64);
            Box::new(move || number() % 400 + 1)
        });
    }
}

#[test]
fn recordings_cut_in_half_are_truncated_with_a_true_prefix() {
    let Some((folder, recordings)) = recordings() else { return };
    let mut wrong = Vec::new();
    for recording in &recordings {
        let (framing, bytes) = bytes_of(&folder, recording);
        let outcome = play(&recording.dialect, framing, &bytes[..bytes.len() / 2], || usize::MAX);
        let text = outcome.answer.text();
        if !recording.expected.text.starts_with(text) {
            wrong.push(format!("{}: {text:?} is no prefix", recording.file));
        }
        // Where the proof lies in the first half, the answer is whole.
        if outcome.error.is_none() && text != recording.expected.text {
            wrong.push(format!("{}: was called complete", recording.file));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of each case that ends well, cut after every byte: it is truncated until the proof has come, and what was said till then is true.
#[test]
fn cases_cut_anywhere_are_truncated_with_a_true_prefix() {
    for (dialect, case, framing, spare) in [
        ("anthropic", "anthropic/tool_call_after_text/upstream.sse", Framing::Sse, 2),
        ("anthropic", "anthropic/thinking_with_its_signature/upstream.sse", Framing::Sse, 2),
        ("bedrock_converse", "bedrock/tool_call_after_text/upstream.eventstream.b64", Framing::EventStream, 2),
        ("bedrock_converse", "bedrock/thinking_with_its_signature/upstream.eventstream.b64", Framing::EventStream, 2),
        ("gemini", "gemini/thoughts_before_the_text/upstream.sse", Framing::SseOrJsonArray, 2),
        ("gemini", "gemini/arguments_in_pieces/upstream.sse", Framing::SseOrJsonArray, 2),
        ("gemini", "gemini/a_json_array_instead_of_events/upstream.json", Framing::SseOrJsonArray, "\n]\n".len()),
        ("cohere_v2", "cohere/a_plan_and_parallel_calls/upstream.sse", Framing::Sse, "\n\ndata: [DONE]\n\n".len()),
        ("ollama", "ollama/thinking_and_text_in_one_line/upstream.ndjson", Framing::Ndjson, 1),
        ("ollama", "ollama/calls_with_ids_in_several_lines/upstream.ndjson", Framing::Ndjson, 1),
    ] {
        let raw = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(case)).expect("a case");
        let bytes = if framing == Framing::EventStream { base64_decoded(&raw) } else { raw };
        let whole = play(dialect, framing, &bytes, || usize::MAX);
        assert!(whole.error.is_none(), "{case}: {:?}", whole.error);
        let mut complete = 0;
        for length in 0..bytes.len() {
            let cut = play(dialect, framing, &bytes[..length], || usize::MAX);
            match &cut.error {
                Some(error) => assert_eq!(error.kind(), ErrorKind::Truncated, "{case} cut after {length}: {error}"),
                None => complete += 1,
            }
            let said = &whole.answer.choices[0].message;
            let sofar = cut.answer.choices.first().map(|choice| choice.message.clone()).unwrap_or_default();
            assert!(said.text().starts_with(&sofar.text()), "{case} cut after {length}");
            for (call, whole) in sofar.tool_calls.iter().zip(&said.tool_calls) {
                assert!(whole.function.arguments.starts_with(&call.function.arguments), "{case} cut after {length}");
            }
        }
        // Only what follows the proof may be missing.
        assert!(complete <= spare, "{case} was called complete at {complete} cuts");
    }
}
