//! Hooks: what each stage is told, and what passing, changing, refusing and answering at it do to streams and whole answers, of one
//! model and of a list.

mod answers;
mod ends;
mod requests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use literllm::hooks::{Stages, relay};
use literllm::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, ChatStream, Client, ClientConfig, Error, ErrorKind, Hook,
};
use literllm_mock::{Mock, Options};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

async fn mock() -> Mock {
    Mock::start(Options::default()).await.expect("a mock")
}

fn client(mock: &Mock, hooks: Vec<Arc<dyn Hook>>) -> Client {
    client_with(mock, &json!({}), hooks)
}

fn client_with(mock: &Mock, more: &Value, hooks: Vec<Arc<dyn Hook>>) -> Client {
    let mut config = json!({
        "api_keys": {"openai": "test-key", "groq": "test-key"},
        "base_urls": {"openai": format!("{}/v1", mock.url()), "groq": format!("{}/v1", mock.url())},
        "max_retries": 0, "cooldown": 0,
    });
    for (name, value) in more.as_object().expect("an object") {
        config[name] = value.clone();
    }
    let config = ClientConfig::from_json(&config.to_string()).expect("a configuration");
    Client::with_hooks(config, hooks).expect("a client")
}

/// A hook over the bridge of the other languages: it keeps what it is told, and says what `say` says (`null` says nothing).
fn saying(stages: &[&str], say: impl Fn(&Value) -> Value + Send + Sync + 'static) -> (Arc<dyn Hook>, Told) {
    let told = Told::default();
    let keep = told.clone();
    let hook = relay(Stages::from_names(stages).expect("stages"), move |call| {
        let event: Value = serde_json::from_str(call.event()).expect("an event in JSON");
        keep.0.lock().expect("no panic").push(event.clone());
        match say(&event) {
            Value::Null => {}
            said => call.answer(&said.to_string()),
        }
    });
    (hook, told)
}

const ALL: [&str; 5] = ["before_request", "after_headers", "on_chunks", "on_error", "on_end"];

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Value>>>);

impl Told {
    fn events(&self) -> Vec<Value> {
        self.0.lock().expect("no panic").clone()
    }

    /// The stages in their order, repetitions of `on_chunks` left out.
    fn stages(&self) -> Vec<String> {
        let mut stages: Vec<String> = self.events().iter().map(|event| event["stage"].as_str().unwrap().to_owned()).collect();
        stages.dedup();
        stages
    }

    fn of(&self, stage: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["stage"] == stage).collect()
    }
}

/// How a call is made.
#[derive(Debug, Clone, Copy)]
struct Way {
    list: bool,
    stream: bool,
}

const WAYS: [Way; 4] = [
    Way { list: false, stream: true },
    Way { list: false, stream: false },
    Way { list: true, stream: true },
    Way { list: true, stream: false },
];

#[derive(Debug, Default)]
struct Outcome {
    chunks: Vec<ChatCompletionChunk>,
    answer: Option<ChatCompletion>,
    error: Option<Error>,
}

impl Outcome {
    fn text(&self) -> &str {
        self.answer.as_ref().map_or("", ChatCompletion::text)
    }

    fn kind(&self) -> Option<ErrorKind> {
        self.error.as_ref().map(Error::kind)
    }

    fn error(&self) -> &Error {
        self.error.as_ref().expect("an error")
    }
}

/// A request of the way's kind; a list has the model twice, the second time well behaved.
fn request(way: Way, behaviour: &str) -> ChatCompletionRequest {
    let model = format!("openai/demo?{behaviour}");
    if way.list {
        ChatCompletionRequest::new(vec![model, "groq/spare?text=spare".to_owned()], ["Hi"])
    } else {
        ChatCompletionRequest::new(model, ["Hi"])
    }
}

async fn ask(client: &Client, way: Way, request: &ChatCompletionRequest) -> Outcome {
    if !way.stream {
        return match client.chat(request).await {
            Ok(answer) => Outcome { answer: Some(answer), ..Outcome::default() },
            Err(error) => Outcome { error: Some(error), ..Outcome::default() },
        };
    }
    match client.chat_stream(request).await {
        Ok(stream) => read(stream).await,
        Err(error) => Outcome { error: Some(error), ..Outcome::default() },
    }
}

async fn read(mut stream: ChatStream) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => outcome.chunks.push(chunk),
            Err(error) => outcome.error = Some(error),
        }
    }
    if outcome.error.is_none() {
        let answer = stream.completion();
        let streamed: String =
            outcome.chunks.iter().flat_map(|chunk| &chunk.choices).filter_map(|choice| choice.delta.content.as_deref()).collect();
        assert_eq!(streamed, answer.text(), "the final response is what was streamed");
        assert_eq!(stream.answer().answer().text(), answer.text());
        assert_eq!(stream.into_completion(), answer, "the same, copied or not");
        let count = |has: fn(&ChatCompletionChunk) -> bool| outcome.chunks.iter().filter(|chunk| has(chunk)).count();
        assert_eq!(count(|chunk| chunk.choices.iter().any(|choice| choice.delta.role.is_some())), 1, "one role chunk");
        assert_eq!(count(|chunk| chunk.choices.iter().any(|choice| choice.finish_reason.is_some())), 1, "one finish chunk");
        outcome.answer = Some(answer);
    }
    outcome
}

/// An answer that a hook gives.
fn elsewhere() -> Value {
    json!({"response": {"id": "kept-1", "created": 5, "model": "cache", "choices": [{"index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": "from elsewhere", "reasoning_content": "hm", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"x\":1}"}}]}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}, "own_field": true}})
}
