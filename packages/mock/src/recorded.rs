//! Bodies that are served as they were recorded: a conformance case, a posted body, or one piece made elsewhere.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::behaviour::ErrorText;
use crate::dialects::cut_in_half;
use crate::reply::{Frames, Source};

/// What a proxy says when it answers in the provider's place.
pub(crate) const PROXY_PAGE: &str =
    "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Please sign in to the network</h1></body></html>\n";

pub(crate) struct Recorded {
    frames: Option<Frames>,
    ping: &'static [u8],
}

impl Recorded {
    pub(crate) fn one(body: Vec<u8>) -> Box<dyn Source> {
        let mut frames = Frames::default();
        if !body.is_empty() {
            frames.bytes = body;
            frames.end_frame();
        }
        Box::new(Self { frames: Some(frames), ping: b"" })
    }

    /// Finds the frames of a recorded stream, so that chunks can be counted, paced and withheld.
    pub(crate) fn framed(content_type: &str, body: &[u8]) -> Box<dyn Source> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let mut frames = Frames::default();
        let mut rest = body;
        while !rest.is_empty() {
            let length = match kind {
                "text/event-stream" => event_length(rest),
                "application/x-ndjson" | "application/jsonl" => line_length(rest),
                "application/vnd.amazon.eventstream" => message_length(rest),
                _ => rest.len(),
            };
            let (frame, after) = rest.split_at(length.clamp(1, rest.len()));
            frames.push(frame);
            rest = after;
        }
        let ping: &[u8] = if kind == "text/event-stream" { b": ping\n\n" } else { b"" };
        Box::new(Self { frames: Some(frames), ping })
    }
}

impl Source for Recorded {
    fn fill(&mut self, out: &mut Frames) -> bool {
        match self.frames.take() {
            Some(frames) => {
                *out = frames;
                true
            }
            None => false,
        }
    }

    fn error(&mut self, error: &ErrorText, out: &mut Frames) {
        let object = json!({"error": {"message": error.message, "type": error.kind, "code": error.code}});
        out.push(format!("data: {object}\n\n").as_bytes());
    }

    fn ping(&self) -> &'static [u8] {
        self.ping
    }

    fn malform(&self, frame: &mut Vec<u8>) {
        cut_in_half(frame);
    }
}

/// Up to and with the blank line that ends the event.
fn event_length(bytes: &[u8]) -> usize {
    let mut line = 0;
    let mut at = 0;
    while at < bytes.len() {
        let ending = match &bytes[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        if ending > 0 {
            if at == line && at > 0 {
                return at + ending;
            }
            line = at + ending;
        }
        at += ending.max(1);
    }
    bytes.len()
}

fn line_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

/// An AWS event-stream message begins with its own length.
fn message_length(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(bytes.len(), |length| u32::from_be_bytes(*length) as usize)
}

/// The `upstream.*` file of `provider/case`, with the content type its ending stands for.
pub(crate) fn case(cases: Option<&Path>, name: &str) -> Option<(&'static str, Vec<u8>)> {
    let plain = |part: &str| !part.is_empty() && part != ".." && part != ".";
    let folder = cases?.join(name);
    if !name.split('/').all(plain) {
        return None;
    }
    let file = std::fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("upstream.")))?;
    let body = std::fs::read(&file).ok()?;
    // Binary frames are kept as text.
    let (file, body) = if file.extension().is_some_and(|ending| ending == "b64") {
        (file.with_extension(""), BASE64_STANDARD.decode(body.trim_ascii()).ok()?)
    } else {
        (file, body)
    };
    let kind = match file.extension()?.to_str()? {
        "sse" => "text/event-stream",
        "ndjson" | "jsonl" => "application/x-ndjson",
        "eventstream" | "bin" => "application/vnd.amazon.eventstream",
        "html" => "text/html",
        _ => "application/json",
    };
    Some((kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_with_its_blank_line() {
        for (text, length) in [
            ("data: a\n\ndata: b\n\n", 9),
            ("data: a\r\n\r\ndata: b", 11),
            ("data: a\r\rdata: b", 9),
            ("\n\ndata: a\n\n", 2),
            ("data: a", 7),
        ] {
            assert_eq!(event_length(text.as_bytes()), length, "{text:?}");
        }
    }
}
