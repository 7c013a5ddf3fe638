//! The short way through events that are alike, against the long one.

use std::path::Path;

use super::{CAP, Outcome, base64_decoded, numbers, outcome, provider_of, reader_of};
use crate::decode::{Decoder, Event, EventKind, Framing};
use crate::error::Error;
use crate::providers;

/// An event as a test may change it.
#[derive(Clone)]
struct OwnEvent {
    kind: EventKind,
    name: String,
    data: String,
}

/// Of each dialect that has a short way through events that are alike: a reader that can never go it, since the white space in its events
/// is another each time, hears the same. So it does where a byte is another than it was, the same for both.
#[test]
fn the_short_way_says_what_the_long_one_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let mut number = numbers(11);
    for (dialect, framing) in [
        ("anthropic", Framing::Sse),
        ("bedrock_converse", Framing::EventStream),
        ("cohere_v2", Framing::Sse),
        ("gemini", Framing::Sse),
        ("ollama", Framing::Ndjson),
        ("openai_chat", Framing::Sse),
    ] {
        let folder = root.join(provider_of(dialect).replace("openrouter", "openai"));
        let mut streams = 0;
        for case in std::fs::read_dir(&folder).expect("a provider's cases").flatten() {
            let mut files = std::fs::read_dir(case.path()).into_iter().flatten().flatten().map(|file| file.path());
            let Some(upstream) = files.find(|path| is_of(path, framing)) else { continue };
            let raw = std::fs::read(upstream).expect("a case");
            let bytes = if framing == Framing::EventStream { base64_decoded(&raw) } else { raw };
            let events = events_of(framing, &bytes);
            for _ in 0..40 {
                let mut changed = lengthened(&events, &mut number);
                if !changed.is_empty() && number().is_multiple_of(2) {
                    spoil(&mut changed, &mut number);
                }
                let short = hear(dialect, &changed, |_| "");
                let long = hear(dialect, &changed, |at| &"         "[..at % 9]);
                let kind = |outcome: &Outcome| outcome.error.as_ref().map(Error::kind);
                let context = || changed.iter().map(|event| event.data.as_str()).collect::<Vec<_>>().join("\n");
                assert_eq!(short.chunks, long.chunks, "{dialect}: {}", context());
                assert_eq!((kind(&short), &short.answer), (kind(&long), &long.answer), "{dialect}: {}", context());
            }
            streams += 1;
        }
        assert!(streams > 2, "{dialect} has {streams} cases");
    }
}

fn is_of(path: &Path, framing: Framing) -> bool {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    name == match framing {
        Framing::EventStream => "upstream.eventstream.b64",
        Framing::Ndjson => "upstream.ndjson",
        _ => "upstream.sse",
    }
}

fn events_of(framing: Framing, bytes: &[u8]) -> Vec<OwnEvent> {
    let mut events = Vec::new();
    let mut keep = |event: Event<'_>| {
        events.push(OwnEvent { kind: event.kind, name: event.name.to_owned(), data: event.data.into_owned() });
        Ok::<_, Error>(())
    };
    let mut decoder = Decoder::new(framing, CAP);
    decoder.decode(bytes, &mut keep).and_then(|()| decoder.finish(&mut keep)).expect("events are only kept");
    events
}

/// The events, some of them several times.
fn lengthened(events: &[OwnEvent], number: &mut impl FnMut() -> usize) -> Vec<OwnEvent> {
    let times = |number: usize| if number.is_multiple_of(3) { 3 } else { 1 };
    events.iter().flat_map(|event| std::iter::repeat_n(event.clone(), times(number()))).collect()
}

/// Puts something else for a piece of one event.
fn spoil(events: &mut [OwnEvent], number: &mut impl FnMut() -> usize) {
    const FLAWS: [&str; 12] = ["", "\"", "\\", "\\n", "\\ud83d", "\u{1}", "}", "\",\"", "7", "null", "é", "{}"];
    let at = number() % events.len();
    let data = &mut events[at].data;
    let boundary = |from: usize| (from..=data.len()).find(|&at| data.is_char_boundary(at)).unwrap_or(data.len());
    let start = boundary(number() % (data.len() + 1));
    let end = boundary((start + number() % 4).min(data.len()));
    data.replace_range(start..end, FLAWS[number() % FLAWS.len()]);
}

/// What comes of events, each with blanks behind its first brace.
fn hear(dialect: &str, events: &[OwnEvent], blanks: impl Fn(usize) -> &'static str) -> Outcome {
    let name = provider_of(dialect);
    let (mut translator, mut out) = reader_of(providers::known().find(|host| host.name == name).expect("it is known").clone());
    let mut result = Ok(());
    for (at, event) in events.iter().enumerate() {
        let data = event.data.replacen('{', &format!("{{{}", blanks(at)), 1);
        result = translator.event(&Event { kind: event.kind, name: &event.name, data: data.into() }, &mut out);
        if result.is_err() || out.is_done() {
            break;
        }
    }
    if result.is_ok() && !out.is_done() {
        result = translator.end(&mut out);
    }
    outcome(result, out)
}
