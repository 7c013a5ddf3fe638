//! A provider's error, in whatever shape it comes, as an [`Error`] of the closed set.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde_json::Value;

use crate::error::{Error, ErrorKind};

/// What an error body says, in any of the shapes that are seen.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Failure {
    pub message: String,
    pub kind: Option<String>,
    pub code: Option<String>,
    pub param: Option<String>,
}

impl Failure {
    /// Reads a JSON error: `{"error":{…}}`, `{"error":"…"}`, `{"object":"error",…}`, `{"message":…}`, `{"detail":…}`, or any of these in a
    /// list. `None` where the JSON is no error.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        if let Some(error) = value.get("error").filter(|error| is_truthy(error)) {
            return Some(match error {
                Value::String(message) => Self {
                    message: ["message", "error_description"]
                        .iter()
                        .find_map(|name| value.get(name)?.as_str())
                        .unwrap_or(message)
                        .to_owned(),
                    kind: text(value.get("type")),
                    code: text(value.get("code")),
                    param: None,
                },
                Value::Object(_) => Self::fields(error),
                other => Self { message: other.to_string(), ..Self::default() },
            });
        }
        let is_error = value.get("object").and_then(Value::as_str) == Some("error")
            || value.get("type").and_then(Value::as_str) == Some("error")
            || value.get("choices").is_none()
                && (value.get("message").is_some_and(Value::is_string) || value.get("detail").is_some());
        is_error.then(|| Self::fields(value))
    }

    fn fields(error: &Value) -> Self {
        let message = ["message", "detail", "error_message", "msg"].iter().find_map(|name| match error.get(name) {
            Some(Value::String(message)) => Some(message.clone()),
            Some(Value::Null) | None => None,
            Some(other) => Some(other.to_string()),
        });
        // A gateway wraps the upstream's own words.
        let upstream = error.pointer("/metadata/raw").and_then(Value::as_str).filter(|raw| !raw.is_empty());
        let mut message = message.unwrap_or_else(|| error.to_string());
        if let Some(upstream) = upstream {
            message = format!("{message}: {upstream}");
        }
        Self {
            message,
            kind: text(error.get("type")).or_else(|| text(error.get("status"))),
            code: text(error.get("code")),
            param: text(error.get("param")),
        }
    }

    /// The error of an answer with an error status.
    pub(crate) fn with_status(self, status: u16, headers: &HeaderMap, body: &str) -> Error {
        let kind = match (self.by_words(), by_status(status)) {
            // `server_error` and `invalid_request_error` say less than the status does.
            (Some(ErrorKind::Server) | None, by_status) => by_status,
            (Some(ErrorKind::InvalidRequest), by_status) if by_status != ErrorKind::Server => by_status,
            (Some(by_words), _) => by_words,
        };
        let retryable = match kind {
            ErrorKind::RateLimited => !self.is_out_of_money(),
            ErrorKind::InvalidRequest | ErrorKind::NotFound => matches!(status, 408 | 409 | 425),
            ErrorKind::Server => status >= 500 || status == 409,
            _ => matches!(kind, ErrorKind::Overloaded | ErrorKind::Timeout),
        };
        let message = if self.message.is_empty() { format!("the provider answered with status {status}") } else { self.message };
        Error::new(kind, message + advice(kind))
            .with_status(status)
            .with_retry_after(retry_after(headers, SystemTime::now()))
            .with_code(self.code.or(self.kind))
            .with_param(self.param)
            .with_body(body)
            .with_retryable(retryable)
    }

    /// The error that came inside an answer which had begun as a success.
    pub(crate) fn inside_stream(self, body: &str) -> Error {
        let status = self.code.as_deref().and_then(|code| code.parse::<u16>().ok()).filter(|code| (400..600).contains(code));
        let kind = self.by_words().or_else(|| status.map(by_status)).unwrap_or(ErrorKind::Server);
        let retryable = matches!(kind, ErrorKind::Overloaded | ErrorKind::Timeout | ErrorKind::Server)
            || kind == ErrorKind::RateLimited && !self.is_out_of_money();
        let message =
            if self.message.is_empty() { "the provider reported an error inside the stream".to_owned() } else { self.message };
        let error = Error::new(kind, message)
            .with_code(self.code.or(self.kind))
            .with_param(self.param)
            .with_body(body)
            .with_retryable(retryable);
        match status {
            Some(status) => error.with_status(status),
            None => error,
        }
    }

    fn is_out_of_money(&self) -> bool {
        [&self.code, &self.kind]
            .into_iter()
            .flatten()
            .any(|word| word == "insufficient_quota" || word == "billing_hard_limit_reached")
    }

    /// The kind, where the provider's own words are plainer than the status.
    fn by_words(&self) -> Option<ErrorKind> {
        let words = [&self.code, &self.kind].into_iter().flatten().map(|word| word.to_ascii_lowercase());
        for word in words {
            let kind = match word.as_str() {
                "context_length_exceeded" | "string_above_max_length" => ErrorKind::ContextLength,
                "content_filter" | "content_policy_violation" | "responsibleaipolicyviolation" | "data_inspection_failed" => {
                    ErrorKind::ContentPolicy
                }
                "unrecognizedclientexception"
                | "invalidsignatureexception"
                | "expiredtokenexception"
                | "missingauthenticationtokenexception"
                | "incompletesignatureexception"
                | "invalid_api_key"
                | "authentication_error"
                | "unauthenticated"
                | "invalid_authentication"
                | "unauthorized" => ErrorKind::Authentication,
                "accessdeniedexception" | "billing_error" | "permission_error" | "permission_denied" | "permissiondenied" => {
                    ErrorKind::Permission
                }
                "resourcenotfoundexception" | "not_found_error" | "model_not_found" | "not_found" | "deploymentnotfound" => {
                    ErrorKind::NotFound
                }
                "rate_limit_error"
                | "rate_limit_exceeded"
                | "resource_exhausted"
                | "insufficient_quota"
                | "rate_limited"
                | "throttlingexception"
                | "servicequotaexceededexception"
                | "too_many_requests" => ErrorKind::RateLimited,
                "overloaded_error"
                | "overloaded"
                | "unavailable"
                | "engine_overloaded"
                | "service_unavailable"
                | "serviceunavailableexception"
                | "modelnotreadyexception" => ErrorKind::Overloaded,
                "modeltimeoutexception" | "timeout_error" | "deadline_exceeded" | "timeout" | "request_timeout" => {
                    ErrorKind::Timeout
                }
                "internalserverexception"
                | "modelerrorexception"
                | "modelstreamerrorexception"
                | "api_error"
                | "server_error"
                | "internal_server_error"
                | "internal"
                | "internal_error" => ErrorKind::Server,
                _ => continue,
            };
            // Some say `invalid_api_key` or `server_error` of a conversation that is too long.
            return Some(if self.is_too_long() { ErrorKind::ContextLength } else { kind });
        }
        let is_invalid = |word: &String| {
            matches!(
                word.to_ascii_lowercase().as_str(),
                "invalid_request_error"
                    | "invalid_argument"
                    | "bad_request"
                    | "badrequest"
                    | "validationexception"
                    | "tool_use_failed"
            )
        };
        if self.is_too_long() {
            return Some(ErrorKind::ContextLength);
        }
        [&self.code, &self.kind].into_iter().flatten().any(is_invalid).then_some(ErrorKind::InvalidRequest).filter(|_| {
            // An explicit numeric code says more than the type beside it.
            self.code.as_deref().is_none_or(|code| code.parse::<u16>().is_err())
        })
    }

    fn is_too_long(&self) -> bool {
        const SIGNS: [&str; 9] = [
            "maximum context length",
            "context length exceeded",
            "exceeds the context window",
            "context_length_exceeded",
            "prompt is too long",
            "input is too long",
            "exceeds the maximum number of tokens",
            "exceed context limit",
            "too large for model with",
        ];
        let message = self.message.to_ascii_lowercase();
        SIGNS.iter().any(|sign| message.contains(sign))
    }
}

/// The error of an answer whose status says so.
pub(crate) fn from_answer(status: u16, headers: &HeaderMap, body: &str) -> Error {
    let failure = match serde_json::from_str::<Value>(body) {
        Ok(value) => Failure::read(&value).unwrap_or_else(|| Failure { message: excerpt(body), ..Failure::default() }),
        Err(_) => Failure { message: excerpt(body), ..Failure::default() },
    };
    failure.with_status(status, headers, body)
}

/// A body that is no answer in the provider's format (a proxy's page, plain text).
pub(crate) fn not_an_answer(body: &str) -> Error {
    let what = if body.trim().is_empty() { "an empty body".to_owned() } else { format!("what is no answer: {}", excerpt(body)) };
    Error::new(ErrorKind::Protocol, format!("the provider sent {what}; check the base URL and any proxy between")).with_body(body)
}

/// The kind of a status, before any words are read.
pub(crate) fn by_status(status: u16) -> ErrorKind {
    match status {
        401 | 407 => ErrorKind::Authentication,
        402 | 403 => ErrorKind::Permission,
        404 | 410 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::Timeout,
        429 => ErrorKind::RateLimited,
        503 | 529 => ErrorKind::Overloaded,
        300..=399 => ErrorKind::Protocol,
        400..=499 if !matches!(status, 409 | 424) => ErrorKind::InvalidRequest,
        _ => ErrorKind::Server,
    }
}

/// How long the provider asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    const LONGEST: f64 = 24.0 * 3600.0;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |seconds: f64| (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(LONGEST)));
    if let Some(milliseconds) = header("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return seconds(milliseconds / 1000.0);
    }
    let text = header("retry-after")?;
    match text.parse::<f64>() {
        Ok(number) => seconds(number),
        Err(_) => httpdate::parse_http_date(text).ok().map(|date| date.duration_since(now).unwrap_or_default()),
    }
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Authentication => " (check the API key)",
        ErrorKind::Permission => " (check what this key may do, and the account's credit)",
        ErrorKind::NotFound => " (check the model's name and the base URL)",
        ErrorKind::ContextLength => " (shorten the conversation, or use a model with a larger context)",
        _ => "",
    }
}

fn excerpt(body: &str) -> String {
    const LONGEST: usize = 300;
    let body = body.trim();
    match body.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &body[..end]),
        None => body.to_owned(),
    }
}

fn is_truthy(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value.as_str() != Some("")
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn error_shapes_are_read() {
        for (body, message) in [
            (json!({"error": {"message": "no", "type": "invalid_request_error"}}), "no"),
            (json!({"error": "no"}), "no"),
            (json!({"object": "error", "message": "no", "code": 400}), "no"),
            (json!({"detail": "no"}), "no"),
            (json!([{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}]), "no"),
            (json!({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}), "no"),
        ] {
            assert_eq!(Failure::read(&body).map(|failure| failure.message).as_deref(), Some(message), "{body}");
        }
        assert_eq!(Failure::read(&json!({"choices": [], "error": null})), None);
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a header value"));
            retry_after(&headers, now)
        };
        assert_eq!(read("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(read("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(read("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(read("retry-after", "-3"), None);
        assert_eq!(read("retry-after", "soon"), None);
    }

    #[test]
    fn an_exhausted_quota_is_not_worth_a_retry() {
        let body = r#"{"error":{"message":"You exceeded your quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
        let error = from_answer(429, &HeaderMap::new(), body);
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, false));
        let error = from_answer(429, &HeaderMap::new(), r#"{"error":{"message":"slow down"}}"#);
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true));
    }
}
