//! What may be done when an answer breaks off: pure rules over what was said and why it ended.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::types::{ChatCompletion, ChatCompletionRequest, Content, Message, ResponseFormat};

/// What a model is told that is to go on where another stopped.
const GO_ON: &str = "Your last message broke off. Go on exactly where it stopped, in the middle of a word if need be. \
                     Repeat nothing of it, and put nothing before.";
/// Characters to a token, where nobody counted.
const LETTERS_TO_A_TOKEN: u64 = 4;

/// `stream_fallback_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Auto,
    Prefill,
    UserTurn,
    Restart,
    Off,
}

impl Mode {
    pub(crate) fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "" | "auto" => Self::Auto,
            "prefill" => Self::Prefill,
            "user_turn" => Self::UserTurn,
            "restart" => Self::Restart,
            "off" => Self::Off,
            other => {
                let message = format!("`stream_fallback_mode` is `{other}`; use auto, prefill, user_turn, restart or off");
                return Err(Error::new(ErrorKind::InvalidRequest, message).with_param(Some("stream_fallback_mode".to_owned())));
            }
        })
    }
}

/// How the next route is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Task {
    /// Nothing was said yet.
    Fresh,
    /// What was said is void.
    Restart,
    /// Go on from what was said.
    Continue(String),
}

/// What a failure in the middle of an answer leads to; `None`: it is the end.
pub(crate) fn after_failure(mode: Mode, request: &ChatCompletionRequest, said: &ChatCompletion, error: &Error) -> Option<Task> {
    if mode == Mode::Off || !may_move_on(error) {
        return None;
    }
    let Some(choice) = said.choices.first() else { return Some(Task::Fresh) };
    let message = &choice.message;
    let was_delivered = |arguments: &str| serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object());
    let calls: Vec<_> = said.choices.iter().flat_map(|choice| &choice.message.tool_calls).collect();
    if calls.iter().any(|call| was_delivered(&call.function.arguments)) || message.refusal.is_some() {
        return None;
    }
    let text = message.content.as_ref().map_or("", Content::as_text);
    let is_plain = said.choices.len() == 1 && request.n.unwrap_or(1) <= 1 && calls.is_empty() && message.function_call.is_none();
    if !is_plain || mode == Mode::Restart {
        let nothing = said.choices.iter().all(|choice| choice.message.content.is_none()) && calls.is_empty();
        return Some(if nothing && message.reasoning_content.is_none() { Task::Fresh } else { Task::Restart });
    }
    if text.trim().is_empty() {
        // Thinking alone cannot be gone on with by another, nor can white space, which providers refuse as a message.
        let thought = message.reasoning_content.is_some() || !message.thinking_blocks.is_empty();
        return Some(if thought || !text.is_empty() { Task::Restart } else { Task::Fresh });
    }
    Some(Task::Continue(text.to_owned()))
}

/// Whether another route may help at all.
pub(crate) fn may_move_on(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::ContentPolicy | ErrorKind::Cancelled | ErrorKind::Panic)
        && !error.is_of_call_that_is_over()
}

/// The request that has a model go on from `said`: as the beginning of its own message, or asked in words.
pub(crate) fn continued(
    request: &ChatCompletionRequest,
    said: &str,
    as_prefill: bool,
    spent: Option<u64>,
) -> ChatCompletionRequest {
    let mut request = request.clone();
    let said_tokens = spent.unwrap_or(said.len() as u64 / LETTERS_TO_A_TOKEN);
    for limit in [&mut request.max_tokens, &mut request.max_completion_tokens].into_iter().flatten() {
        *limit = limit.saturating_sub(said_tokens).max(1);
    }
    request.messages.push(Message::assistant(if as_prefill { said.trim_end() } else { said }));
    if !as_prefill {
        request.messages.push(Message::user(GO_ON));
    }
    request
}

/// Whether a joined answer is still what the request wants, where it wants JSON.
pub(crate) fn is_valid(request: &ChatCompletionRequest, text: &str) -> bool {
    let schema = match &request.response_format {
        Some(ResponseFormat::JsonObject) => None,
        Some(ResponseFormat::JsonSchema(format)) => format.schema.as_ref(),
        _ => return true,
    };
    serde_json::from_str(text).is_ok_and(|value| schema.is_none_or(|schema| fits(&value, schema)))
}

/// Whether a value fits a schema as far as types, required fields, enumerations and nesting go: enough to tell a broken join.
fn fits(value: &Value, schema: &Value) -> bool {
    let is_type = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => true,
    };
    let types_fit = match schema.get("type") {
        Some(Value::String(name)) => is_type(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is_type),
        _ => true,
    };
    let is_listed = schema.get("enum").and_then(Value::as_array).is_none_or(|list| list.contains(value));
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let has_required = required.into_iter().all(|name| !value.is_object() || value.get(name).is_some());
    let fields_fit = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .all(|(name, schema)| value.get(name).is_none_or(|value| fits(value, schema)));
    let items_fit =
        schema.get("items").is_none_or(|schema| value.as_array().into_iter().flatten().all(|item| fits(item, schema)));
    types_fit && is_listed && has_required && fields_fit && items_fit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Choice, FunctionCall, ToolCall};
    use serde_json::json;

    fn said(message: Message) -> ChatCompletion {
        ChatCompletion { choices: vec![Choice { message, ..Choice::default() }], ..ChatCompletion::default() }
    }

    fn after(mode: Mode, message: Message) -> Option<Task> {
        after_failure(mode, &ChatCompletionRequest::new("m", ["hi"]), &said(message), &Error::new(ErrorKind::Truncated, "cut"))
    }

    fn call(arguments: &str) -> Message {
        let function = FunctionCall { name: "f".to_owned(), arguments: arguments.to_owned(), ..FunctionCall::default() };
        Message { tool_calls: vec![ToolCall { function, ..ToolCall::default() }], ..Message::default() }
    }

    #[test]
    fn only_the_deadline_of_the_whole_call_ends_a_list() {
        use crate::config::Deadline;
        let limit = std::time::Duration::from_secs(1);
        assert!(!may_move_on(&Deadline::Total.passed(limit)));
        assert!(may_move_on(&Deadline::Idle.passed(limit)) && may_move_on(&Deadline::FirstToken.passed(limit)));
        assert!(may_move_on(&Error::new(ErrorKind::Timeout, "the upstream did not answer (timeout)")), "a provider's own words");
    }

    #[test]
    fn text_is_gone_on_with() {
        assert_eq!(after(Mode::Auto, Message::assistant("one")), Some(Task::Continue("one".to_owned())));
        assert_eq!(after(Mode::Restart, Message::assistant("one")), Some(Task::Restart));
        assert_eq!(after(Mode::Off, Message::assistant("one")), None);
    }

    #[test]
    fn a_complete_call_is_the_end_and_half_a_one_is_asked_for_anew() {
        assert_eq!(after(Mode::Auto, call("{\"x\":1}")), None);
        assert_eq!(after(Mode::Auto, call("{\"x\":")), Some(Task::Restart));
    }

    #[test]
    fn thinking_or_white_space_alone_begins_anew_and_nothing_at_all_is_fresh() {
        assert_eq!(after(Mode::Auto, Message::assistant("\n\n")), Some(Task::Restart));
        let thought = Message { reasoning_content: Some("hm".to_owned()), ..Message::default() };
        assert_eq!(after(Mode::Auto, thought), Some(Task::Restart));
        assert_eq!(after(Mode::Auto, Message::default()), Some(Task::Fresh));
    }

    #[test]
    fn refusals_and_content_policy_are_final() {
        assert_eq!(after(Mode::Auto, Message { refusal: Some("no".to_owned()), ..Message::default() }), None);
        let request = ChatCompletionRequest::new("m", ["hi"]);
        let error = Error::new(ErrorKind::ContentPolicy, "no");
        assert_eq!(after_failure(Mode::Auto, &request, &said(Message::assistant("one")), &error), None);
    }

    #[test]
    fn several_choices_begin_anew() {
        let request = ChatCompletionRequest { n: Some(2), ..ChatCompletionRequest::new("m", ["hi"]) };
        let error = Error::new(ErrorKind::Truncated, "cut");
        assert_eq!(after_failure(Mode::Auto, &request, &said(Message::assistant("one")), &error), Some(Task::Restart));
    }

    #[test]
    fn the_limit_shrinks_by_what_was_said() {
        let request = ChatCompletionRequest { max_tokens: Some(100), ..ChatCompletionRequest::new("m", ["hi"]) };
        assert_eq!(continued(&request, &"x".repeat(80), true, None).max_tokens, Some(80));
        assert_eq!(continued(&request, "x", true, Some(99)).max_tokens, Some(1));
    }

    #[test]
    fn a_prefill_ends_without_white_space_and_a_user_turn_asks() {
        let request = ChatCompletionRequest::new("m", ["hi"]);
        let prefilled = continued(&request, "one ", true, None);
        assert_eq!(prefilled.messages.last().map(Message::text).as_deref(), Some("one"));
        let asked = continued(&request, "one ", false, None);
        assert_eq!(asked.messages[1].text(), "one ");
        assert_eq!(asked.messages[2].role, "user");
    }

    #[test]
    fn a_joined_answer_must_still_be_the_json_that_was_asked_for() {
        let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "required": ["a"],
            "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}}});
        let request = ChatCompletionRequest {
            response_format: serde_json::from_value(format).ok(),
            ..ChatCompletionRequest::new("m", ["hi"])
        };
        assert!(is_valid(&request, r#"{"a":[1]}"#));
        assert!(!is_valid(&request, r#"{"a":["1"]}"#) && !is_valid(&request, r#"{"b":1}"#) && !is_valid(&request, r#"{"a":[1]"#));
        assert!(is_valid(&ChatCompletionRequest::new("m", ["hi"]), "any words"));
    }
}
