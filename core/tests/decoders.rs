//! Each decoder against the published vectors and against a naive twin that has the whole input at once.

use std::path::{Path, PathBuf};

use literllm::decode::{Decoder, EventKind, EventStreamDecoder, Framing, HeaderValue, TooLarge};
use serde_json::Value;

const CAP: usize = 1 << 20;

type Seen = Vec<(EventKind, String, String)>;

/// Decodes `input` in pieces.
fn decode(framing: Framing, input: &[u8], mut piece: impl FnMut() -> usize) -> Seen {
    let mut seen = Vec::new();
    let mut decoder = Decoder::new(framing, CAP);
    let mut rest = input;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        rest = later;
        decoder
            .decode::<TooLarge>(now, |event| {
                seen.push((event.kind, event.name.to_owned(), event.data.clone().into_owned()));
                Ok(())
            })
            .expect("nothing is larger than the cap");
    }
    decoder
        .finish::<TooLarge>(|event| {
            seen.push((event.kind, event.name.to_owned(), event.data.clone().into_owned()));
            Ok(())
        })
        .expect("the end is no error");
    seen
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

/// The vectors of a folder beside the recordings; `None`, with a word, where it is not there.
fn vectors(name: &str) -> Option<Vec<Value>> {
    let folder = std::env::var_os("LITERLLM_RECORDINGS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures"), PathBuf::from);
    let Ok(vectors) = std::fs::read(folder.join(name).join("vectors.json")) else {
        println!("skipped: no vectors at {}; set LITERLLM_RECORDINGS", folder.display());
        return None;
    };
    let mut vectors: Value = serde_json::from_slice(&vectors).expect("the vectors");
    match vectors["vectors"].take() {
        Value::Array(list) => Some(list),
        other => panic!("no list: {other}"),
    }
}

#[test]
fn the_published_sse_vectors_give_their_events_under_every_split() {
    let Some(vectors) = vectors("sse-vectors") else { return };
    for vector in &vectors {
        let name = vector["name"].as_str().expect("a name");
        let input = base64(vector["input_b64"].as_str().expect("the input"));
        let should: Vec<(String, String)> = vector["events"]
            .as_array()
            .expect("the events")
            .iter()
            .map(|event| (event["event"].as_str().unwrap().to_owned(), event["data"].as_str().unwrap().to_owned()))
            .collect();
        let mut splits: Vec<Box<dyn FnMut() -> usize>> =
            vec![Box::new(|| usize::MAX), Box::new(|| 1), Box::new(|| 2), Box::new(|| 3)];
        for seed in 0..8 {
            let mut number = numbers(seed);
            splits.push(Box::new(move || number() % 9 + 1));
        }
        for split in splits {
            let is: Vec<(String, String)> = decode(Framing::Sse, &input, split)
                .into_iter()
                .filter(|(kind, name, _)| *kind == EventKind::Message || name == "error")
                .map(|(_, name, data)| (if name.is_empty() { "message".to_owned() } else { name }, data))
                .collect();
            assert_eq!(is, should, "{name}");
        }
    }
    println!("{} vectors", vectors.len());
}

/// What the standard says, written for the whole input at once.
fn naive_sse(input: &[u8]) -> Seen {
    let text = String::from_utf8_lossy(input);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n");
    let (mut seen, mut data, mut name) = (Vec::new(), Vec::new(), String::new());
    let mut lines: Vec<&str> = text.split('\n').collect();
    let unfinished = lines.pop().unwrap_or_default();
    let field = |line: &str, wanted: &str| match line.split_once(':') {
        Some((field, value)) if field == wanted => Some(value.strip_prefix(' ').unwrap_or(value).to_owned()),
        None if line == wanted => Some(String::new()),
        _ => None,
    };
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                seen.push((EventKind::Message, name.clone(), data.join("\n")));
            }
            data.clear();
            name.clear();
        } else if let Some(value) = field(line, "data") {
            data.push(value);
        } else if let Some(value) = field(line, "event") {
            name = value;
        } else if let Some(value) = field(line, "error") {
            seen.push((EventKind::Stray, "error".to_owned(), value));
        }
    }
    data.extend(field(unfinished, "data"));
    if !data.is_empty() {
        seen.push((EventKind::Unterminated, name, data.join("\n")));
    }
    seen
}

#[test]
fn sse_agrees_with_its_naive_twin() {
    const PIECES: [&str; 16] = [
        "data: ",
        "data:",
        "data",
        "event: ",
        "event",
        ": comment",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "x",
        "é",
        "\u{feff}",
        "id: 1",
        "error: no",
        " ",
    ];
    for seed in 0..4000 {
        let mut number = numbers(seed);
        let input: String = (0..number() % 40).map(|_| PIECES[number() % PIECES.len()]).collect();
        let mut input = input.into_bytes();
        if number().is_multiple_of(4) && !input.is_empty() {
            let at = number() % input.len();
            input[at] = 0xff;
        }
        let whole = naive_sse(&input);
        let mut split = numbers(seed + 1);
        assert_eq!(decode(Framing::Sse, &input, move || split() % 7 + 1), whole, "{:?}", String::from_utf8_lossy(&input));
        assert_eq!(decode(Framing::Sse, &input, || usize::MAX), whole, "{:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn ndjson_agrees_with_its_naive_twin() {
    const PIECES: [&str; 7] = ["{\"a\":1}", "\n", "\r\n", "é", "\"x\\ny\"", " ", "\n\n"];
    for seed in 0..2000 {
        let mut number = numbers(seed);
        let input: String = (0..number() % 30).map(|_| PIECES[number() % PIECES.len()]).collect();
        let ends_whole = input.ends_with('\n');
        let lines: Vec<&str> = input.split('\n').map(str::trim_ascii).collect();
        let last = lines.len() - 1;
        let should: Seen = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
            .map(|(at, line)| {
                let kind = if at == last && !ends_whole { EventKind::Unterminated } else { EventKind::Message };
                (kind, String::new(), (*line).to_owned())
            })
            .collect();
        let mut split = numbers(seed + 1);
        assert_eq!(decode(Framing::Ndjson, input.as_bytes(), move || split() % 5 + 1), should, "{input:?}");
    }
}

#[test]
fn json_arrays_agree_with_a_whole_parse() {
    for seed in 0..500 {
        let mut number = numbers(seed);
        let elements: Vec<Value> = (0..number() % 6)
            .map(|at| serde_json::json!({"n": at, "s": "a\"]}[{\\ é", "l": [[number() % 10], {"x": null}]}))
            .collect();
        let pretty = number().is_multiple_of(2);
        let text: Vec<String> =
            elements.iter().map(|value| if pretty { format!("{value:#}") } else { value.to_string() }).collect();
        let input = format!("[{}\r\n]", text.join("\n,\r\n"));
        let mut split = numbers(seed + 1);
        let seen = decode(Framing::JsonArray, input.as_bytes(), move || split() % 11 + 1);
        let is: Vec<Value> = seen.iter().map(|(_, _, data)| serde_json::from_str(data).expect("an element")).collect();
        assert_eq!(is, elements);
        assert!(seen.iter().all(|(kind, _, _)| *kind == EventKind::Message));
    }
}

#[test]
fn what_is_larger_than_the_cap_is_an_error_and_no_memory() {
    for (framing, start) in [(Framing::Sse, "data: "), (Framing::Ndjson, "{"), (Framing::JsonArray, "[{\"a\":\"")] {
        let mut decoder = Decoder::new(framing, 1000);
        let mut feed = |bytes: &[u8]| decoder.decode::<TooLarge>(bytes, |_| Ok(()));
        feed(start.as_bytes()).expect("a start is small");
        let failed = (0..20).map(|_| feed(&[b'x'; 100])).find(Result::is_err);
        assert_eq!(failed, Some(Err(TooLarge { cap: 1000 })), "{framing:?}");
    }
}

/// Ten mebibytes in one event, a byte at a time: quadratic work would not come to its end here.
#[test]
fn the_work_is_linear_under_any_split() {
    let mut decoder = Decoder::new(Framing::Sse, 1 << 25);
    let mut count = 0;
    let mut feed = |bytes: &[u8]| {
        decoder
            .decode::<TooLarge>(bytes, |event| {
                count += event.data.len();
                Ok(())
            })
            .expect("the cap is larger");
    };
    feed(b"data: ");
    for _ in 0..10 << 20 {
        feed(b"x");
    }
    feed(b"\n\n");
    assert_eq!(count, 10 << 20);
}

/// Frames as `(headers, payload)`, until one is broken or the bytes end inside one.
type Frames = Result<Vec<(Value, Vec<u8>)>, String>;

fn frames(input: &[u8], mut piece: impl FnMut() -> usize) -> Frames {
    let mut decoder = EventStreamDecoder::new(CAP);
    let (mut seen, mut flaw) = (Vec::new(), None);
    let mut rest = input;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        rest = later;
        decoder
            .frames::<TooLarge>(now, |frame| {
                match frame {
                    Ok(frame) => {
                        let headers = frame.headers().map(|(name, value)| (name.to_owned(), json_of(value)));
                        seen.push((Value::Object(headers.collect()), frame.payload.to_vec()));
                    }
                    Err(what) => flaw = Some(what.to_owned()),
                }
                Ok(())
            })
            .expect("nothing is larger than the cap");
    }
    decoder
        .finish::<TooLarge>(|event| {
            flaw = Some(format!("{:?} at the end", event.kind));
            Ok(())
        })
        .expect("the end is no error");
    flaw.map_or(Ok(seen), Err)
}

/// A header's value as the vectors write it.
fn json_of(value: HeaderValue<'_>) -> Value {
    match value {
        HeaderValue::Bool(value) => value.into(),
        HeaderValue::Byte(value) => value.into(),
        HeaderValue::Short(value) => value.into(),
        HeaderValue::Int(value) => value.into(),
        HeaderValue::Long(value) | HeaderValue::Time(value) => value.into(),
        HeaderValue::Bytes(value) => String::from_utf8_lossy(value).into(),
        HeaderValue::Text(value) => value.into(),
        HeaderValue::Uuid(value) => format!("{:032x}", u128::from_be_bytes(value)).into(),
    }
}

#[test]
fn the_published_event_stream_vectors_are_read_or_refused_under_every_split() {
    let Some(vectors) = vectors("eventstream-vectors") else { return };
    for vector in &vectors {
        let name = vector["name"].as_str().expect("a name");
        let input = base64(vector["b64"].as_str().expect("the input"));
        for size in [usize::MAX, 1, 2, 3, 7, 11, 12, 13, 16] {
            let is = frames(&input, || size);
            if vector.get("expect_error").is_some() {
                assert!(is.is_err(), "{name}: {is:?}");
                continue;
            }
            let should: Vec<(Value, Vec<u8>)> = vector["decoded"]
                .as_array()
                .expect("the frames")
                .iter()
                .map(|frame| (frame["headers"].clone(), base64(frame["payload_b64"].as_str().expect("a payload"))))
                .collect();
            assert_eq!(is.as_ref(), Ok(&should), "{name}");
        }
    }
    println!("{} vectors", vectors.len());
    assert_eq!(vectors.len(), 25);
}

/// The checksum, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

/// A frame with text headers.
fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).expect("a short name"));
        head.extend_from_slice(name.as_bytes());
        head.push(7);
        head.extend_from_slice(&u16::try_from(value.len()).expect("a short value").to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let number = |length: usize| u32::try_from(length).expect("a short frame").to_be_bytes();
    let mut bytes = [number(16 + head.len() + payload.len()), number(head.len())].concat();
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes
}

/// Frame after frame, with the whole input at hand.
fn naive_frames(mut input: &[u8]) -> Frames {
    let mut seen = Vec::new();
    let number = |at: usize, bytes: &[u8]| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    while !input.is_empty() {
        if input.len() < 12 {
            return Err("cut".to_owned());
        }
        let (total, head) = (number(0, input) as usize, number(4, input) as usize);
        if crc32(&input[..8]) != number(8, input) || total > input.len() {
            return Err("lengths".to_owned());
        }
        let (bytes, rest) = input.split_at(total);
        if crc32(&bytes[..total - 4]) != number(total - 4, bytes) {
            return Err("checksum".to_owned());
        }
        let (mut headers, mut values) = (&bytes[12..12 + head], serde_json::Map::new());
        while let [length, after @ ..] = headers {
            let (name, after) = after.split_at((*length).into());
            let size = usize::from(u16::from_be_bytes([after[1], after[2]]));
            let (value, after) = after[3..].split_at(size);
            values.insert(String::from_utf8_lossy(name).into(), String::from_utf8_lossy(value).into());
            headers = after;
        }
        seen.push((Value::Object(values), bytes[12 + head..total - 4].to_vec()));
        input = rest;
    }
    Ok(seen)
}

#[test]
fn event_streams_agree_with_their_naive_twin() {
    for seed in 0..1500 {
        let mut number = numbers(seed);
        let mut input = Vec::new();
        for _ in 0..number() % 6 {
            let payload: Vec<u8> = (0..number() % 60).map(|_| u8::try_from(number() % 256).expect("a byte")).collect();
            let headers = [(":message-type", "event"), (":event-type", "é"), ("x", "")];
            input.extend(frame(&headers[..number() % 4], &payload));
        }
        match number() % 4 {
            0 if !input.is_empty() => {
                let at = number() % input.len();
                input[at] ^= 1 << (number() % 8);
            }
            1 => input.truncate(number() % (input.len() + 1)),
            _ => {}
        }
        let should = naive_frames(&input);
        for mut split in [numbers(seed + 1), numbers(seed + 2)] {
            let is = frames(&input, move || split() % 40 + 1);
            assert_eq!(is.as_ref().ok(), should.as_ref().ok(), "{seed}: {is:?} {should:?}");
        }
        assert_eq!(frames(&input, || usize::MAX).ok(), should.ok(), "{seed}");
    }
}

#[test]
fn exceptions_errors_and_json_come_as_strays() {
    let exception = frame(&[(":message-type", "exception"), (":exception-type", "throttlingException")], b"{\"message\":\"no\"}");
    let error = frame(&[(":message-type", "error"), (":error-code", "Internal"), (":error-message", "boom")], b"");
    let event = frame(&[(":message-type", "event"), (":event-type", "messageStart")], b"{}");
    let seen = decode(Framing::EventStream, &[event, exception, error].concat(), || 5);
    let stray = |name: &str, data: &str| (EventKind::Stray, name.to_owned(), data.to_owned());
    assert_eq!(seen[0], (EventKind::Message, "messageStart".to_owned(), "{}".to_owned()));
    assert_eq!(seen[1..], [stray("throttlingException", "{\"message\":\"no\"}"), stray("Internal", "boom")]);
    assert_eq!(decode(Framing::EventStream, b"{\"message\":\"no\"}", || 3), [stray("", "{\"message\":\"no\"}")]);
    let seen = decode(Framing::EventStream, b"<html>no frames here</html>", || 3);
    assert_eq!(seen.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>(), [EventKind::Malformed]);
}

#[test]
fn a_frame_larger_than_the_cap_is_refused_by_its_length_alone() {
    let large = frame(&[], &[0; 2000]);
    let mut decoder = Decoder::new(Framing::EventStream, 1000);
    assert_eq!(decoder.decode::<TooLarge>(&large[..12], |_| Ok(())), Err(TooLarge { cap: 1000 }));
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        bits =
            bits << 6 | u32::try_from(DIGITS.iter().position(|&known| known == digit).expect("a digit")).expect("it is below 64");
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).expect("eight bits"));
        }
    }
    bytes
}
