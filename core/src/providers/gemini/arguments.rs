//! A call's arguments that come as values at paths (`partialArgs`), written as the JSON text that they add up to, piece by piece.

use std::fmt::Write as _;

use super::wire::PartialArg;
use crate::error::{Error, ErrorKind, Result};

/// What is open of the text written so far.
#[derive(Debug, Default)]
pub(super) struct ArgumentWriter {
    /// From the outermost in; empty before the first value.
    open: Vec<Container>,
    /// The path of a string whose end has not come.
    string: Option<Vec<Step>>,
}

#[derive(Debug)]
struct Container {
    /// The step into this container from the one around it; of no meaning in the outermost.
    step: Step,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// With the keys that were written.
    Object(Vec<String>),
    /// With the number of elements that were written.
    List(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    At(usize),
}

impl ArgumentWriter {
    /// The text that a piece adds.
    pub(super) fn add(&mut self, piece: &PartialArg<'_>) -> Result<String> {
        let path = steps(&piece.json_path).filter(|path| !path.is_empty()).ok_or_else(|| out_of_place(piece))?;
        let mut out = String::new();
        let goes_on = self.string.as_ref() == Some(&path) && piece.string_value.is_some();
        if !goes_on {
            self.end_string(&mut out);
            self.walk_to(&path, &mut out).ok_or_else(|| out_of_place(piece))?;
        }
        if let Some(text) = &piece.string_value {
            let quoted = serde_json::to_string(&**text).expect("a string is JSON");
            out.push_str(if goes_on { &quoted[1..quoted.len() - 1] } else { &quoted[..quoted.len() - 1] });
            self.string = Some(path);
            if piece.will_continue != Some(true) {
                self.end_string(&mut out);
            }
        } else if let Some(number) = &piece.number_value {
            write!(out, "{}", whole(number)).expect("writing to a String never fails");
        } else if let Some(flag) = piece.bool_value {
            out.push_str(if flag { "true" } else { "false" });
        } else {
            out.push_str("null");
        }
        Ok(out)
    }

    /// The text that closes what is open.
    pub(super) fn end(mut self) -> String {
        let mut out = String::new();
        self.end_string(&mut out);
        while let Some(container) = self.open.pop() {
            out.push(container.kind.closing());
        }
        out
    }

    fn end_string(&mut self, out: &mut String) {
        if self.string.take().is_some() {
            out.push('"');
        }
    }

    /// Closes and opens containers until a value at `path` may be written. `None` where the path leads back into what is written.
    fn walk_to(&mut self, path: &[Step], out: &mut String) -> Option<()> {
        if self.open.is_empty() {
            self.enter(path[0].clone(), &path[0], out);
        }
        let inner = &self.open[1..];
        let shared = inner.iter().zip(&path[..path.len() - 1]).take_while(|(open, step)| open.step == **step).count();
        while self.open.len() > shared + 1 {
            out.push(self.open.pop()?.kind.closing());
        }
        for at in shared..path.len() {
            self.open.last_mut()?.kind.step_to(&path[at], out)?;
            if let Some(next) = path.get(at + 1) {
                self.enter(path[at].clone(), next, out);
            }
        }
        Some(())
    }

    /// Opens the container that `first` is a step into.
    fn enter(&mut self, step: Step, first: &Step, out: &mut String) {
        let (kind, opening) = match first {
            Step::Key(_) => (Kind::Object(Vec::new()), '{'),
            Step::At(_) => (Kind::List(0), '['),
        };
        out.push(opening);
        self.open.push(Container { step, kind });
    }
}

impl Kind {
    fn closing(&self) -> char {
        match self {
            Self::Object(_) => '}',
            Self::List(_) => ']',
        }
    }

    /// Writes what stands before a member's value.
    fn step_to(&mut self, step: &Step, out: &mut String) -> Option<()> {
        match (self, step) {
            (Self::Object(keys), Step::Key(key)) if !keys.contains(key) => {
                let quoted = serde_json::to_string(key).expect("a string is JSON");
                let comma = if keys.is_empty() { "" } else { "," };
                write!(out, "{comma}{quoted}:").expect("writing to a String never fails");
                keys.push(key.clone());
            }
            (Self::List(length), Step::At(at)) if *at >= *length => {
                // Elements that were passed over were never given a value.
                for number in *length..=*at {
                    out.push_str(if number == 0 { "" } else { "," });
                    out.push_str(if number < *at { "null" } else { "" });
                }
                *length = at + 1;
            }
            _ => return None,
        }
        Some(())
    }
}

/// The steps of a path: `$.a.b[0]`, `$['a b']`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let length = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(Step::Key(after[..length].to_owned()));
            rest = &after[length..];
        } else if let Some(quote @ ('\'' | '"')) = rest.strip_prefix('[').and_then(|after| after.chars().next()) {
            let (key, after) = rest[2..].split_once(&format!("{quote}]"))?;
            steps.push(Step::Key(key.replace(&format!("\\{quote}"), &quote.to_string())));
            rest = after;
        } else {
            let (at, after) = rest.strip_prefix('[')?.split_once(']')?;
            steps.push(Step::At(at.parse().ok()?));
            rest = after;
        }
    }
    Some(steps)
}

/// A number that is whole without `.0`, as it is everywhere else.
fn whole(number: &serde_json::Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn out_of_place(piece: &PartialArg<'_>) -> Error {
    let message = format!("the provider sent an argument at `{}`, where none can stand any more", &*piece.json_path);
    Error::new(ErrorKind::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&str]) -> Result<String> {
        let mut writer = ArgumentWriter::default();
        let mut text = String::new();
        for piece in pieces {
            text += &writer.add(&serde_json::from_str(piece).expect("a piece"))?;
        }
        Ok(text + &writer.end())
    }

    #[test]
    fn values_at_paths_add_up_to_json() {
        let pieces = [
            r#"{"jsonPath":"$.a[0].b","stringValue":"x\"","willContinue":true}"#,
            r#"{"jsonPath":"$.a[0].b","stringValue":"y"}"#,
            r#"{"jsonPath":"$.a[0].c","numberValue":2}"#,
            r#"{"jsonPath":"$.a[1].b","boolValue":true}"#,
            r#"{"jsonPath":"$['d e']","nullValue":"NULL_VALUE"}"#,
            r#"{"jsonPath":"$.f","stringValue":"open","willContinue":true}"#,
        ];
        assert_eq!(written(&pieces).unwrap(), r#"{"a":[{"b":"x\"y","c":2},{"b":true}],"d e":null,"f":"open"}"#);
        assert_eq!(written(&[]).unwrap(), "");
    }

    #[test]
    fn a_path_back_into_what_is_written_is_refused() {
        let pieces = [
            r#"{"jsonPath":"$.a.b","numberValue":1}"#,
            r#"{"jsonPath":"$.c","numberValue":1}"#,
            r#"{"jsonPath":"$.a.d","numberValue":1}"#,
        ];
        assert_eq!(written(&pieces).unwrap_err().kind(), ErrorKind::Protocol);
    }
}
