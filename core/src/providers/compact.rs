//! JSON text made compact without reading it into values, so that numbers of any size and the order of keys stay as they were written.

/// `json` without blanks outside strings. An escape that stands for an ordinary character becomes that character.
pub(super) fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let mut rest = json;
    let mut in_string = false;
    while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\') || !in_string && c.is_ascii_whitespace()) {
        compact.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match rest.as_bytes()[0] {
            b'"' => {
                in_string = !in_string;
                compact.push('"');
                1
            }
            b'\\' => escape(rest, &mut compact),
            _ => 1,
        };
        rest = &rest[length.min(rest.len())..];
    }
    compact.push_str(rest);
    compact
}

/// Writes the escape that `text` begins with, and returns its length.
fn escape(text: &str, out: &mut String) -> usize {
    const UNICODE: usize = "\\u0041".len();
    let code = text.get(2..UNICODE).filter(|_| text.as_bytes().get(1) == Some(&b'u'));
    let character = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
    match (code, character) {
        (Some(_), Some(character)) if !character.is_control() && !matches!(character, '"' | '\\') => {
            out.push(character);
            UNICODE
        }
        (Some(_), _) => {
            out.push_str(&text[..UNICODE]);
            UNICODE
        }
        (None, _) => {
            let length = 1 + text[1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&text[..length]);
            length
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_go_and_everything_else_stays() {
        let json = "{ \"a b\" : [ 1.50 , 12345678901234567890123 ],\n\"q\\\"\\\\ \": \"x\\u003d\\u0022\\ud83d\\ude00\\n\" }";
        assert_eq!(compact(json), "{\"a b\":[1.50,12345678901234567890123],\"q\\\"\\\\ \":\"x=\\u0022\\ud83d\\ude00\\n\"}");
    }

    #[test]
    fn what_is_compact_means_the_same() {
        let json = r#" {"k": "\\", "l":" \" ", "m" : {} , "n": "ü\u00fc\/" } "#;
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON");
        assert_eq!(read(&compact(json)), read(json));
    }
}
