//! JSON that has not come to its end: read as far as it goes, in one pass.

use serde_json::Value;

/// Reads the start of a JSON text: what is open is closed, what is half a word, a key without value or a trailing comma is left out.
/// `None` where there is nothing to read or it is no JSON.
pub fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&complete(text)?).ok())
}

/// The text cut back to its last complete value, with the brackets closed that are still open.
fn complete(text: &str) -> Option<String> {
    /// What may come next at the place that the scan has reached.
    #[derive(Clone, Copy, PartialEq)]
    enum Next {
        Value,
        Key,
        Colon,
        End,
    }
    let bytes = text.as_bytes();
    let mut open: Vec<u8> = Vec::new();
    let mut next = Next::Value;
    // Up to where the text can be kept, how many brackets are open there, and a quote to be added for a string that is cut.
    let (mut keep, mut keep_open, mut cut_string) = (0, 0, false);
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            byte if byte.is_ascii_whitespace() => at += 1,
            b'"' => {
                let is_key = next == Next::Key;
                let (end, closed) = string_end(bytes, at + 1);
                if !closed {
                    if !is_key {
                        (keep, keep_open, cut_string) = (end, open.len(), true);
                    }
                    break;
                }
                at = end;
                if is_key {
                    next = Next::Colon;
                } else {
                    (keep, keep_open) = (at, open.len());
                    next = Next::End;
                }
            }
            bracket @ (b'{' | b'[') => {
                open.push(if bracket == b'{' { b'}' } else { b']' });
                at += 1;
                (keep, keep_open) = (at, open.len());
                next = if bracket == b'{' { Next::Key } else { Next::Value };
            }
            b'}' | b']' => {
                open.pop()?;
                at += 1;
                (keep, keep_open) = (at, open.len());
                next = Next::End;
            }
            b':' => {
                at += 1;
                next = Next::Value;
            }
            b',' => {
                at += 1;
                next = if open.last() == Some(&b'}') { Next::Key } else { Next::Value };
            }
            _ => {
                let word = bytes[at..].iter().take_while(|byte| !b",]} \t\r\n:\"".contains(byte)).count().max(1);
                at += word;
                let is_whole = at < bytes.len() || matches!(&bytes[at - word..at], b"true" | b"false" | b"null");
                if is_whole || bytes[at - 1].is_ascii_digit() {
                    (keep, keep_open) = (at, open.len());
                }
                next = Next::End;
            }
        }
    }
    if keep == 0 {
        return None;
    }
    let mut whole = String::with_capacity(keep + open.len() + 1);
    whole.push_str(text.get(..keep)?);
    if cut_string {
        whole.push('"');
    }
    whole.extend(open[..keep_open].iter().rev().map(|&bracket| char::from(bracket)));
    Some(whole)
}

/// Where the string ends that begins at `at`, behind its quote; where it is cut, the end of what can be kept of it.
fn string_end(bytes: &[u8], mut at: usize) -> (usize, bool) {
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return (at + 1, true),
            b'\\' => {
                let length = if bytes.get(at + 1) == Some(&b'u') { 6 } else { 2 };
                if at + length > bytes.len() {
                    return (at, false);
                }
                // A high surrogate is worth something only with its low one.
                let high =
                    length == 6 && matches!(&bytes[at + 2..at + 4], [b'd' | b'D', b'8' | b'9' | b'a' | b'A' | b'b' | b'B']);
                if high && at + 12 > bytes.len() {
                    return (at, false);
                }
                at += if high { 12 } else { length };
            }
            _ => at += 1,
        }
    }
    (bytes.len(), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_prefix_of_a_document_reads_as_what_has_come() {
        let whole = r#"{"city":"Zürich \u00e9 \ud83d\ude00","list":[1,-2.5e3,true,null,{"a":[]}],"s":"x\"y"}"#;
        for end in (1..whole.len()).filter(|&end| whole.is_char_boundary(end)) {
            let value = parse(&whole[..end]).unwrap_or_else(|| panic!("{}", &whole[..end]));
            assert!(value.is_object(), "{}", &whole[..end]);
        }
        assert_eq!(parse(whole), serde_json::from_str(whole).ok());
    }

    #[test]
    fn what_is_open_is_closed_and_half_words_are_left_out() {
        assert_eq!(parse(r#"{"a":"he"#), Some(json!({"a": "he"})));
        assert_eq!(parse(r#"{"a":1,"b"#), Some(json!({"a": 1})));
        assert_eq!(parse(r#"{"a":1,"b":"#), Some(json!({"a": 1})));
        assert_eq!(parse(r#"{"a":[1,2,"#), Some(json!({"a": [1, 2]})));
        assert_eq!(parse(r#"{"a":tr"#), Some(json!({})));
        assert_eq!(parse("[\"\\u00"), Some(json!([""])));
        assert_eq!(parse(""), None);
        assert_eq!(parse("hello"), None);
    }
}
