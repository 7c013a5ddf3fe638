//! What a call tells `tracing`: OpenTelemetry's names, and neither prompt nor answer nor key unless asked for.

use std::io::Write;
use std::sync::{Arc, Mutex};

use literllm::{ChatCompletionRequest, Client, ClientConfig};
use literllm_mock::{Mock, Options};
use serde_json::json;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no writer panicked").clone()).expect("it is text")
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// All that is said, at every level and by every crate, about a good call, a retried one and a failed one.
async fn told(trace_content: bool) -> String {
    let (page, _guard) = read_along();
    let mock = Mock::start(Options::default()).await.expect("a mock");
    for behaviour in ["text=the-answer-text; usage=7,3", "text=the-answer-text; status=503; fail_times=1; id=again", "status=401"]
    {
        let config = json!({
            "api_key": "sk-secret-key-123456",
            "base_url": format!("{}/v1", mock.url()),
            "headers": {"x-mock": behaviour},
            "retry_base_delay": 0.01,
            "trace_content": trace_content,
        });
        let client = Client::new(ClientConfig::from_json(&config.to_string()).expect("a configuration")).expect("a client");
        if let Ok(stream) = client.chat_stream(ChatCompletionRequest::new("openai/demo", ["the-prompt-text"])).await {
            stream.finish().await.expect("an answer");
        }
        tracing::debug!("{client:?}");
    }
    drop(mock);
    page.text()
}

/// Keeps what this thread says from now on.
fn read_along() -> (Page, tracing::subscriber::DefaultGuard) {
    let page = Page::default();
    let writer = page.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    (page, tracing::subscriber::set_default(subscriber))
}

#[tokio::test(flavor = "current_thread")]
async fn spans_carry_the_usual_names_and_no_content() {
    let text = told(false).await;
    for field in [
        "gen_ai.operation.name=\"chat\"",
        "gen_ai.provider.name=\"openai\"",
        "gen_ai.request.model=\"openai/demo\"",
        "gen_ai.response.model=\"demo\"",
        "gen_ai.response.finish_reasons=\"stop\"",
        "gen_ai.response.time_to_first_chunk=",
        "gen_ai.usage.input_tokens=7",
        "gen_ai.usage.output_tokens=3",
        "literllm.attempts=2",
        "error.type=\"authentication\"",
        "retrying",
    ] {
        assert!(text.contains(field), "{field} is missing in\n{text}");
    }
    for secret in ["sk-secret-key-123456", "the-prompt-text"] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    assert!(!text.lines().any(|line| line.contains("literllm") && line.contains("the-answer-text")), "{text}");
}

#[tokio::test(flavor = "current_thread")]
async fn content_is_there_when_asked_for_and_the_key_never() {
    let text = told(true).await;
    assert!(text.contains("the-prompt-text") && text.contains("the-answer-text"));
    assert!(!text.contains("sk-secret-key-123456"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_that_came_to_a_good_end_over_several_routes_has_no_error_in_its_span() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    for models in [
        // Retried, hedged, gone on with.
        vec!["openai/early?text=one&end=0&fail_times=1&id=early"],
        vec!["openai/slow?text=slow&stall=1", "openai/one?text=one"],
        vec!["openai/cut?text=one&cut=2", "openai/one?text=one&continue=1"],
    ] {
        let (page, _guard) = read_along();
        let config = json!({
            "api_key": "test-key", "base_url": format!("{}/v1", mock.url()),
            "retry_base_delay": 0.01, "hedge_after": 0.05, "cooldown": 0,
        });
        let client = Client::new(ClientConfig::from_json(&config.to_string()).expect("a configuration")).expect("a client");
        let models: Vec<String> = models.into_iter().map(str::to_owned).collect();
        let stream = client.chat_stream(ChatCompletionRequest::new(models, ["Hi"])).await.expect("a stream");
        assert_eq!(stream.finish().await.expect("an answer").text(), "one");
        let text = page.text();
        let end = text.lines().find(|line| line.contains("literllm: complete")).unwrap_or_else(|| panic!("no end in\n{text}"));
        assert!(!end.contains("error.type") && end.contains("literllm.attempts=2"), "{end}");
        assert_eq!(end.matches("time_to_first_chunk").count(), 1, "{end}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn each_call_is_one_event_in_the_log() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    let (page, _guard) = read_along();
    let config = json!({
        "api_key": "sk-secret-key-123456", "base_url": format!("{}/v1", mock.url()),
        "log_calls": true, "cache": {}, "max_retries": 0, "cooldown": 0,
    });
    let client = Client::new(ClientConfig::from_json(&config.to_string()).expect("a configuration")).expect("a client");
    let asking = ChatCompletionRequest::new("openai/demo?text=the-answer&usage=7,3", ["Hi"]);
    client.chat(&asking).await.expect("an answer");
    client.chat_stream(&asking).await.expect("a stream").finish().await.expect("an answer");
    let models = ["openai/a?status=500", "openai/b?text=one"].map(str::to_owned).to_vec();
    client.chat(ChatCompletionRequest::new(models, ["Hi"])).await.expect("an answer");
    client.chat(ChatCompletionRequest::new("openai/demo?status=401", ["Hi"])).await.expect_err("it fails");
    let log = page.text();
    let calls: Vec<&str> = log.lines().filter(|line| line.contains("literllm: call ")).collect();
    assert_eq!(calls.len(), 4, "{log}");
    for (line, fields) in calls.iter().zip([
        &["INFO", "provider=\"openai\"", "attempts=1", "prompt_tokens=7", "completion_tokens=3", "ending=\"complete\""][..],
        &["stream=true", "cached=true"],
        &["model=\"b?text=one\"", "attempts=2", "ending=\"complete\""],
        &["stream=false", "ending=\"authentication\""],
    ]) {
        for field in fields {
            assert!(line.contains(field), "{field} is missing in {line}");
        }
    }
    assert!(!log.contains("sk-secret-key-123456"), "{log}");
}
