//! Which events of a stream can go the short way (see [`Pattern`]): those whose one meaning is a piece of text.

use std::borrow::Cow;

use super::wire::{Loose, WireChoice, WireChunk, WireDelta, WireToolCall};
use crate::providers::pattern::{Filling, Hole, Pattern};
use crate::stream::{Emitter, ToolPiece};

#[derive(Debug, Default)]
pub(super) struct Template {
    /// What the text belongs to; without it nothing matches.
    slot: Option<Slot>,
    pattern: Pattern,
}

#[derive(Debug)]
struct Slot {
    choice: u32,
    field: Field,
}

#[derive(Debug)]
enum Field {
    Content,
    Reasoning,
    Arguments { index: Option<u32>, id: String, name: String },
}

impl Template {
    pub(super) fn forget(&mut self) {
        self.slot = None;
    }

    /// Keeps an event whose one meaning is a piece of text; of any other nothing is kept.
    pub(super) fn learn(&mut self, data: &str, chunk: &WireChunk<'_>) {
        self.slot = None;
        let Some((slot, text)) = Slot::of(chunk) else { return };
        let is_learnt = match &chunk.padding {
            Loose::Absent => self.pattern.learn(data, &[(Hole::Text, text)]),
            Loose::Text(Cow::Borrowed(padding)) => self.pattern.learn(data, &[(Hole::Text, text), (Hole::Padding, padding)]),
            _ => false,
        };
        if is_learnt {
            self.slot = Some(slot);
        }
    }

    /// Says what `data` says if it differs from the template in its strings alone; otherwise `false`, and nothing was said.
    pub(super) fn say(&self, data: &str, out: &mut Emitter) -> bool {
        let Some(slot) = &self.slot else { return false };
        let Some(Filling { text, .. }) = self.pattern.filling(data) else { return false };
        match &slot.field {
            Field::Content => out.text(slot.choice, &text),
            Field::Reasoning => out.reasoning(slot.choice, &text),
            Field::Arguments { index, id, name } => {
                out.tool(slot.choice, ToolPiece { index: *index, id, name, arguments: &text });
            }
        }
        true
    }
}

impl Slot {
    /// The one thing that a chunk says, and its text, if it says one thing only.
    fn of<'c>(chunk: &'c WireChunk<'_>) -> Option<(Self, &'c str)> {
        let WireChunk { choices, usage: None, error: None, is_error_object: false, extra, .. } = chunk else { return None };
        let [choice] = choices.as_slice() else { return None };
        let WireChoice {
            index,
            delta: Some(delta),
            message: None,
            logprobs: None,
            finish_reason: Loose::Absent,
            native_finish_reason: Loose::Absent,
            extra: choice_extra,
        } = choice
        else {
            return None;
        };
        let WireDelta {
            content,
            refusal: Loose::Absent,
            reasoning_content,
            reasoning,
            reasoning_details,
            tool_calls,
            function_call: None,
            annotations,
            audio: None,
            extra: delta_extra,
        } = delta
        else {
            return None;
        };
        let nothing_else = extra.is_empty()
            && choice_extra.is_empty()
            && delta_extra.is_empty()
            && annotations.is_empty()
            && reasoning_details.as_ref().is_none_or(Vec::is_empty);
        if !nothing_else {
            return None;
        }
        let slot = |field| Self { choice: index.unwrap_or(0), field };
        let texts = [content, reasoning_content, reasoning].map(text_of);
        match (texts, tool_calls.as_slice()) {
            ([Some(text), Some(""), Some("")], []) if !text.is_empty() => Some((slot(Field::Content), text)),
            ([Some(""), Some(text), Some("")] | [Some(""), Some(""), Some(text)], []) if !text.is_empty() => {
                Some((slot(Field::Reasoning), text))
            }
            ([Some(""), Some(""), Some("")], [WireToolCall { index, id, name, arguments: Loose::Text(text), extra }])
                if extra.is_empty() =>
            {
                let field = Field::Arguments { index: *index, id: id.as_str().to_owned(), name: name.as_str().to_owned() };
                Some((slot(field), text))
            }
            _ => None,
        }
    }
}

/// The text, empty where it is absent, `None` where it is anything else.
fn text_of<'c>(value: &'c Loose<'_>) -> Option<&'c str> {
    match value {
        Loose::Absent => Some(""),
        Loose::Text(text) => Some(text),
        Loose::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ChunkReader;
    use crate::decode::{Decoder, Event, EventKind, Framing};
    use crate::error::Error;
    use crate::providers::Translator;
    use crate::stream::Emitter;

    /// Shapes that streams repeat, and their texts.
    const SHAPES: [(&str, &str); 9] = [
        (
            r#"{"id":"c1","object":"chat.completion.chunk","created":1700000000,"model":"m","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"Once"},"logprobs":null,"finish_reason":null}]}"#,
            "Once",
        ),
        (
            r#"{"id":"c1","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":" upon"},"finish_reason":null}],"usage":null,"obfuscation":"f00"}"#,
            " upon",
        ),
        (
            r#"{"id":"c1","model":"m","choices":[{"index":1,"delta":{"role":"assistant","content":null,"reasoning_content":"a \"time\" \u00e9"}}]}"#,
            r#"a \"time\" \u00e9"#,
        ),
        (r#"{"id":"c1","model":"m","choices":[{"delta":{"content":"","reasoning":"so"}}]}"#, "so"),
        (
            r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
            "call_1",
        ),
        (
            r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}}]}"#,
            r#"{\"a\":"#,
        ),
        (
            r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"content":"x","new":1},"finish_reason":null}],"p":"a\\b"}"#,
            "x",
        ),
        (
            r#"{"id":"c1","model":"m","service_tier":"flex","choices":[{"index":0,"delta":{"content":"x"},"logprobs":{"content":[]}}]}"#,
            "x",
        ),
        (
            r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"content":"lone \ud83d half"},"finish_reason":null}]}"#,
            r"lone \ud83d half",
        ),
    ];

    /// What another text is made of.
    const TEXTS: [&str; 8] = ["text", "", "é", "{", "\\\"", "\\n", "\\u0041", "\\ud83d\\ude00"];
    /// What breaks one.
    const FLAWS: [&str; 8] = ["\"", "\\", "\\ud83d", "\u{1}", "\\u12", "}", "\",\"", "\n"];

    #[derive(Debug, Default)]
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).expect("31 bits fit") % end
        }
    }

    /// Two readers of one stream: the one that is tested, and one that forgets its template before every event.
    struct Twins {
        readers: [(ChunkReader, Emitter); 2],
        short_ways: usize,
    }

    impl Twins {
        fn new() -> Self {
            let reader = || (ChunkReader::new(false, false), Emitter::the_same());
            Self { readers: [reader(), reader()], short_ways: 0 }
        }

        fn read(&mut self, event: &Event<'_>) {
            let [short, long] = &mut self.readers;
            let template = &short.0.template;
            self.short_ways +=
                usize::from(template.slot.is_some() && template.pattern.filling(event.data.trim_ascii()).is_some());
            long.0.template.forget();
            let said = [short, long].map(|(reader, out)| {
                let result = reader.event(event, out).map_err(|error: Error| error.to_json());
                (result, out.take_ready(), out.is_proven(), out.answer().to_completion())
            });
            assert_eq!(said[0], said[1], "after {}", event.data);
        }
    }

    fn message(data: &str) -> Event<'_> {
        Event { kind: EventKind::Message, name: "", data: data.into() }
    }

    #[test]
    fn events_that_differ_in_their_text_take_the_short_way() {
        let mut twins = Twins::new();
        for text in ["Once", " upon", "", " a \\\"time\\\" \\ud83d\\ude00", "é"] {
            twins.read(&message(&SHAPES[0].0.replace("Once", text)));
        }
        assert_eq!(twins.short_ways, 4);
        for (text, padding) in [(" upon", "f00"), ("a", ""), ("b", "XyZ0123456")] {
            twins.read(&message(&SHAPES[1].0.replace(" upon", text).replace("f00", padding)));
        }
        assert_eq!(twins.short_ways, 6);
        for text in ["", "{", "\\\"a\\\"", "}"] {
            twins.read(&message(&SHAPES[5].0.replace("{\\\"a\\\":", text)));
        }
        assert_eq!(twins.short_ways, 9);
    }

    #[test]
    fn the_short_way_says_what_the_long_one_does() {
        let mut random = Random(7);
        let mut short_ways = 0;
        for _ in 0..400 {
            let mut twins = Twins::new();
            let usual = random.below(SHAPES.len());
            for _ in 0..20 {
                let (shape, text) = SHAPES[if random.below(8) == 0 { random.below(SHAPES.len()) } else { usual }];
                let other = TEXTS[random.below(TEXTS.len())].to_owned() + TEXTS[random.below(TEXTS.len())];
                let mut data = shape.replacen(text, &other, 1);
                if random.below(4) == 0 {
                    // Somewhere, up to three bytes give way to a flaw.
                    let boundary = |from: usize| (from..=data.len()).find(|&at| data.is_char_boundary(at)).unwrap_or(data.len());
                    let start = boundary(random.below(data.len()));
                    let end = boundary(start + random.below(4));
                    data.replace_range(start..end, FLAWS[random.below(FLAWS.len())]);
                }
                twins.read(&message(&data));
            }
            short_ways += twins.short_ways;
        }
        assert!(short_ways > 1000, "only {short_ways} events took it");
    }

    #[test]
    fn recordings_mean_the_same_both_ways() {
        let root = std::env::var("LITERLLM_RECORDINGS")
            .map_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures").into(), std::path::PathBuf::from);
        if !root.is_dir() {
            println!("skipped: there are no recordings at {}", root.display());
            return;
        }
        let mut folders = vec![root];
        let mut short_ways = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder can be listed").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "sse") {
                    let mut twins = Twins::new();
                    let mut decoder = Decoder::new(Framing::Sse, 16 << 20);
                    let mut read = |event: Event<'_>| {
                        twins.read(&event);
                        Ok::<_, Error>(())
                    };
                    decoder
                        .decode(&std::fs::read(&path).expect("it can be read"), &mut read)
                        .expect("it is no larger than the cap");
                    decoder.finish(&mut read).expect("reading fails inside only");
                    short_ways += twins.short_ways;
                }
            }
        }
        assert!(short_ways > 0, "no recording took it");
    }
}
