//! Google's errors: `{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": …, "details": […]}}`.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

use crate::error::Error;
use crate::providers::failure::{self, Failure};

/// The error of an answer with an error status.
pub(super) fn from_answer(status: u16, headers: &HeaderMap, body: &str) -> Error {
    let value = serde_json::from_str::<Value>(body).ok();
    let error = value.as_ref().and_then(|value| value.as_array().and_then(|list| list.first()).unwrap_or(value).get("error"));
    // What other models' makers say on Google's hosts has no status.
    match error.filter(|error| error.get("status").is_some()) {
        Some(error) => finished(error, read(error).with_status(status, headers, body)),
        None => failure::from_answer(status, headers, body),
    }
}

/// The error that came inside an answer: `error` is its object, `body` all that came.
pub(super) fn inside_stream(error: &str, body: &str) -> Error {
    let value: Value = serde_json::from_str(error).unwrap_or_else(|_| Value::String(error.to_owned()));
    let Value::Object(_) = value else {
        let message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        return Failure { message, ..Failure::default() }.inside_stream(body);
    };
    let status = value["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let failure = read(&value);
    let result = match status {
        // Its own words come first; the number decides where they say nothing.
        Some(499) => failure.inside_stream(body).with_status(499),
        Some(status) => failure.with_status(status, &HeaderMap::new(), body),
        None => failure.inside_stream(body),
    };
    finished(&value, result)
}

fn read(error: &Value) -> Failure {
    let text = |name: &str| error.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let reason = details(error).find_map(|detail| detail.get("reason")?.as_str());
    let kind = match (reason, text("status")) {
        (Some("API_KEY_INVALID"), _) => Some("invalid_api_key"),
        (_, Some("CANCELLED" | "ABORTED" | "UNKNOWN" | "DATA_LOSS")) => Some("internal"),
        _ => None,
    };
    Failure {
        message: text("message").map_or_else(|| error.to_string(), str::to_owned),
        code: reason.filter(|_| kind == Some("invalid_api_key")).or(text("status")).map(str::to_owned),
        kind: kind.map(str::to_owned),
        param: None,
    }
}

/// Adds how long the provider asks to wait.
fn finished(error: &Value, result: Error) -> Error {
    let delay = details(error)
        .find_map(|detail| detail.get("retryDelay")?.as_str()?.strip_suffix('s')?.parse::<f64>().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match delay {
        Some(delay) if result.retry_after().is_none() => result.with_retry_after(Some(delay)),
        _ => result,
    }
}

fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error.get("details").and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn answered(status: u16, body: &str) -> Error {
        from_answer(status, &HeaderMap::new(), body)
    }

    #[test]
    fn googles_own_words_decide_the_kind() {
        let wrong_key = r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;
        let error = answered(400, wrong_key);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Authentication, Some("API_KEY_INVALID")));
        let too_long = r#"{"error":{"code":400,"message":"The input token count (2) exceeds the maximum number of tokens allowed (1).","status":"INVALID_ARGUMENT"}}"#;
        assert_eq!(answered(400, too_long).kind(), ErrorKind::ContextLength);
        let busy = r#"[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]"#;
        assert_eq!((answered(503, busy).kind(), answered(503, busy).is_retryable()), (ErrorKind::Overloaded, true));
    }

    #[test]
    fn a_quota_says_how_long_to_wait() {
        let body = r#"{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"x"},{"retryDelay":"3.5s"}]}}"#;
        let error = answered(429, body);
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_millis(3500))));
    }

    #[test]
    fn a_cancelled_answer_is_the_servers_fault() {
        let body = r#"{"code":499,"message":"The operation was cancelled.","status":"CANCELLED"}"#;
        let error = inside_stream(body, body);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Server, Some("CANCELLED")));
    }
}
