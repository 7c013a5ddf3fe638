//! Hooks: what each stage is told, and what passing, changing, refusing and answering at it do to streams and whole answers, of one
//! model and of a list.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use literllm::hooks::{Before, CallEnd, HookContext, Pending, Stages, relay};
use literllm::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, ChatStream, Client, ClientConfig, Error, ErrorKind, Hook,
    StreamHandle,
};
use literllm_mock::{Event, Mock, Options};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(10);

async fn mock() -> Mock {
    Mock::start(Options::default()).await.expect("a mock")
}

fn client(mock: &Mock, hooks: Vec<Arc<dyn Hook>>) -> Client {
    let config = json!({
        "api_keys": {"openai": "test-key", "groq": "test-key"},
        "base_urls": {"openai": format!("{}/v1", mock.url()), "groq": format!("{}/v1", mock.url())},
        "max_retries": 0, "cooldown": 0,
    });
    let config = ClientConfig::from_json(&config.to_string()).expect("a configuration");
    Client::new(ClientConfig { hooks: hooks.into(), ..config }).expect("a client")
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
        let count = |has: fn(&ChatCompletionChunk) -> bool| outcome.chunks.iter().filter(|chunk| has(chunk)).count();
        assert_eq!(count(|chunk| chunk.choices.iter().any(|choice| choice.delta.role.is_some())), 1, "one role chunk");
        assert_eq!(count(|chunk| chunk.choices.iter().any(|choice| choice.finish_reason.is_some())), 1, "one finish chunk");
        outcome.answer = Some(answer);
    }
    outcome
}

#[tokio::test]
async fn what_passes_every_stage_is_as_without_hooks() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&ALL, |_| json!({}));
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "text=one two three&usage=7,3&request_id=req-9")).await;
        assert_eq!(outcome.text(), "one two three", "{way:?} {outcome:?}");
        assert_eq!(told.stages(), ["before_request", "after_headers", "on_chunks", "on_end"], "{way:?}");
        for event in told.events() {
            assert_eq!((&event["attempt"], &event["provider"], &event["model"]), (&json!(1), &json!("openai"), &event["model"]));
            assert!(event["model"].as_str().unwrap().starts_with("demo?"), "{event}");
            assert_eq!((&event["stream"], &event["call"]), (&json!(way.stream), &told.events()[0]["call"]));
        }
        assert_eq!(told.of("before_request")[0]["request"]["messages"][0]["content"], "Hi");
        let head = &told.of("after_headers")[0];
        assert_eq!((&head["status"], &head["request_id"]), (&json!(200), &json!("req-9")));
        assert!(head["headers"]["content-type"].is_string());
        let text: String = told
            .of("on_chunks")
            .iter()
            .flat_map(|event| event["chunks"].as_array().unwrap().clone())
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(text, "one two three");
        let end = &told.of("on_end")[0];
        assert_eq!(end["response"]["choices"][0]["message"]["content"], "one two three");
        assert_eq!(end["response"]["usage"]["total_tokens"], 10);
        assert!(end["error"].is_null() && end["seconds"].as_f64().unwrap() > 0.0);
    }
}

#[tokio::test]
async fn what_is_dropped_unanswered_passes_and_an_answer_may_come_later_from_any_thread() {
    let mock = mock().await;
    let silent = relay(Stages::ALL, drop);
    let late = relay(Stages::ALL, |call| {
        std::thread::spawn(move || call.answer(""));
    });
    for way in WAYS {
        let client = client(&mock, vec![silent.clone(), late.clone()]);
        assert_eq!(ask(&client, way, &request(way, "text=one two")).await.text(), "one two");
    }
}

#[tokio::test]
async fn a_stage_that_is_not_wanted_is_not_told() {
    let mock = mock().await;
    let (hook, told) = saying(&["on_end"], |_| json!({}));
    let way = WAYS[0];
    assert_eq!(ask(&client(&mock, vec![hook]), way, &request(way, "text=one")).await.text(), "one");
    assert_eq!(told.stages(), ["on_end"]);
    assert_eq!(told.of("on_end")[0]["response"]["choices"][0]["message"]["content"], "one");
}

#[tokio::test]
async fn a_changed_request_is_the_one_that_is_sent() {
    let mock = mock().await;
    for way in WAYS {
        let (warm, _) = saying(&["before_request"], |event| {
            let mut request = event["request"].clone();
            request["temperature"] = json!(0.25);
            json!({ "request": request })
        });
        let (elsewhere, told) = saying(&["before_request"], |event| {
            let mut request = event["request"].clone();
            request["model"] = json!("groq/other?text=other&id=changed");
            json!({ "request": request })
        });
        let outcome = ask(&client(&mock, vec![warm, elsewhere]), way, &request(way, "text=one")).await;
        assert_eq!(outcome.text(), "other", "{way:?}");
        assert_eq!(outcome.answer.unwrap().literllm.unwrap().provider.as_deref(), Some("groq"));
        assert_eq!(told.of("before_request")[0]["request"]["temperature"], 0.25, "the second hook sees what the first made");
        let body: Value = serde_json::from_str(mock.log("changed").last().expect("it was asked").body.get()).expect("JSON");
        assert_eq!(body["temperature"], 0.25);
    }
}

#[tokio::test]
async fn a_refused_route_is_not_asked_and_a_list_goes_on() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&ALL, |event| match (event["stage"].as_str(), event["provider"].as_str()) {
            (Some("before_request"), Some("openai")) => json!({"error": {"kind": "permission", "message": "not this one"}}),
            _ => json!({}),
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "text=one&id=refused")).await;
        assert!(mock.log("refused").is_empty(), "{way:?}: it was asked");
        assert_eq!(told.of("on_end").len(), 1);
        if way.list {
            assert_eq!(outcome.text(), "spare", "{way:?}: {outcome:?}");
            assert_eq!(told.of("on_error")[0]["error"]["kind"], "permission");
            assert_eq!(told.of("before_request")[1]["attempt"], 2);
            continue;
        }
        let error = outcome.error();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Permission, "not this one"));
        assert_eq!((error.provider(), error.is_retryable()), (Some("openai"), false));
        assert_eq!(told.of("on_end")[0]["error"]["kind"], "permission");
    }
}

fn elsewhere() -> Value {
    json!({"response": {"id": "kept-1", "created": 5, "model": "cache", "choices": [{"index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": "from elsewhere", "reasoning_content": "hm", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"x\":1}"}}]}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}, "own_field": true}})
}

#[tokio::test]
async fn an_answer_from_elsewhere_is_told_in_the_normal_form_and_nobody_is_asked() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&["before_request", "on_end"], |event| match event["stage"].as_str() {
            Some("before_request") => elsewhere(),
            _ => json!({}),
        });
        let asking = ChatCompletionRequest {
            stream_options: serde_json::from_value(json!({"include_usage": true})).ok(),
            ..request(way, "id=unasked")
        };
        let outcome = ask(&client(&mock, vec![hook]), way, &asking).await;
        assert!(mock.log("unasked").is_empty());
        assert_eq!(outcome.text(), "from elsewhere", "{way:?} {outcome:?}");
        let answer = serde_json::to_value(outcome.answer.unwrap()).unwrap();
        let mut should = elsewhere()["response"].clone();
        should["object"] = json!("chat.completion");
        should["literllm"] = answer["literllm"].clone();
        assert_eq!(answer, should, "{way:?}");
        assert_eq!(answer["literllm"]["provider"], "openai");
        if way.stream {
            assert!(outcome.chunks.iter().all(|chunk| (chunk.id.as_str(), chunk.created) == ("kept-1", 5)));
            assert_eq!(outcome.chunks.last().unwrap().usage.as_ref().unwrap().total_tokens, 3);
        }
        assert_eq!(told.of("on_end")[0]["response"]["choices"][0]["message"]["content"], "from elsewhere");
    }
}

#[tokio::test]
async fn a_refused_answer_closes_its_socket_and_a_list_goes_on() {
    let mock = mock().await;
    for (at, way) in WAYS.into_iter().enumerate() {
        let (hook, _) = saying(&["after_headers"], |event| match event["provider"].as_str() {
            Some("openai") => json!({"error": {"kind": "content_policy", "message": "not from there"}}),
            _ => json!({}),
        });
        let id = format!("head-{at}");
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, &format!("chunks=100000&bytes=400&id={id}"))).await;
        if way.stream {
            mock.wait(&*id, Event::Left, SOON).await.expect("the mock sees the socket closed");
        }
        assert_eq!(mock.log(&*id).len(), 1, "a refusal is not tried again");
        // What content policy forbids is final in a list, too.
        assert_eq!(outcome.kind(), Some(ErrorKind::ContentPolicy), "{way:?} {outcome:?}");
        let (hook, _) = saying(&["after_headers"], |event| match event["provider"].as_str() {
            Some("openai") => json!({"error": {"kind": "server", "message": "not from there"}}),
            _ => json!({}),
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "text=one")).await;
        if way.list {
            assert_eq!(outcome.text(), "spare");
        } else {
            assert_eq!(outcome.kind(), Some(ErrorKind::Server));
        }
    }
}

/// A chunk hook that writes in capitals and leaves out what is empty but the role and the end.
fn capitals() -> Arc<dyn Hook> {
    let (hook, _) = saying(&["on_chunks"], |event| {
        let mut chunks = event["chunks"].as_array().unwrap().clone();
        for chunk in &mut chunks {
            let text = &mut chunk["choices"][0]["delta"]["content"];
            if let Some(said) = text.as_str() {
                *text = said.to_uppercase().into();
            }
        }
        chunks.retain(|chunk| chunk["choices"][0]["delta"]["content"] != " TWO");
        json!({ "chunks": chunks })
    });
    hook
}

#[tokio::test]
async fn changed_chunks_are_what_the_consumer_the_response_and_the_end_have() {
    let mock = mock().await;
    for way in WAYS {
        let (ends, told) = saying(&["on_end"], |_| json!({}));
        let client = client(&mock, vec![capitals(), ends]);
        let outcome = ask(&client, way, &request(way, "text=one two three")).await;
        let should = if way.stream || way.list { "ONE THREE" } else { "ONE TWO THREE" };
        assert_eq!(outcome.text(), should, "{way:?}");
        assert_eq!(told.of("on_end")[0]["response"]["choices"][0]["message"]["content"], should);
    }
}

#[tokio::test]
async fn the_partial_answer_is_what_the_hooks_let_through_while_recovery_goes_by_what_was_said() {
    let mock = mock().await;
    let client = client(&mock, vec![capitals()]);
    let outcome = ask(&client, WAYS[0], &request(WAYS[0], "text=one two three four&cut=4")).await;
    assert_eq!(outcome.error().partial().map(ChatCompletion::text), Some("ONE THREE"));
    let models =
        vec!["openai/a?text=one two three four&cut=4".to_owned(), "groq/b?text=one two three four&continue=1".to_owned()];
    let outcome = ask(&client, WAYS[2], &ChatCompletionRequest::new(models, ["Hi"])).await;
    assert_eq!(outcome.text(), "ONE THREE FOUR", "{outcome:?}");
}

#[tokio::test]
async fn a_refused_chunk_ends_the_stream_and_closes_its_socket() {
    let mock = mock().await;
    for way in WAYS.into_iter().filter(|way| way.stream) {
        let (hook, told) = saying(&["on_chunks", "on_error", "on_end"], |event| {
            let text = event.to_string();
            if text.contains(" three") { json!({"error": {"kind": "content_policy", "message": "enough"}}) } else { json!({}) }
        });
        let id = format!("veto-{}", way.list);
        let outcome =
            ask(&client(&mock, vec![hook]), way, &request(way, &format!("text=one two three four&stall=4&id={id}"))).await;
        mock.wait(&*id, Event::Left, SOON).await.expect("the mock sees the socket closed");
        let error = outcome.error();
        assert_eq!((error.kind(), error.message(), error.provider()), (ErrorKind::ContentPolicy, "enough", Some("openai")));
        let partial = error.partial().map(|partial| partial.text().to_owned()).unwrap_or_default();
        assert!("one two".starts_with(&partial), "{partial}");
        assert_eq!(told.of("on_end").len(), 1);
        assert_eq!(told.of("on_end")[0]["error"]["kind"], "content_policy");
        assert!(told.of("on_error").is_empty(), "no route has failed");
    }
    for way in WAYS.into_iter().filter(|way| !way.stream) {
        let (hook, _) = saying(&["on_chunks"], |_| json!({"error": {"kind": "content_policy", "message": "enough"}}));
        assert_eq!(ask(&client(&mock, vec![hook]), way, &request(way, "text=one")).await.kind(), Some(ErrorKind::ContentPolicy));
    }
}

#[tokio::test]
async fn a_failure_may_be_changed() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&["on_error"], |event| {
            assert_eq!((&event["error"]["kind"], &event["error"]["status"]), (&json!("server"), &json!(500)));
            let message = event["error"]["message"].as_str().unwrap().replace(": broken", ": mended");
            json!({"error": {"kind": "content_policy", "message": message}})
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "status=500&error_message=broken")).await;
        // The changed kind decides whether a list goes on.
        assert_eq!(told.of("on_error").len(), 1, "{way:?}");
        let error = outcome.error();
        assert_eq!((error.kind(), error.status()), (ErrorKind::ContentPolicy, Some(500)));
        assert!(error.message().starts_with("mended"), "{}", error.message());
    }
}

#[tokio::test]
async fn a_failure_before_the_answer_may_be_answered() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&["on_error", "on_end"], |event| match event["stage"].as_str() {
            Some("on_error") => elsewhere(),
            _ => json!({}),
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "status=503")).await;
        assert_eq!(outcome.text(), "from elsewhere", "{way:?}");
        assert!(told.of("on_end")[0]["error"].is_null());
    }
}

#[tokio::test]
async fn a_failure_inside_an_answer_is_told_and_cannot_be_answered_once_something_was_shown() {
    let mock = mock().await;
    let way = WAYS[0];
    let (hook, told) = saying(&["on_error"], |_| elsewhere());
    let outcome = ask(&client(&mock, vec![hook.clone()]), way, &request(way, "text=one two three&cut=3")).await;
    assert_eq!(told.of("on_error")[0]["error"]["kind"], "truncated");
    let error = outcome.error();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.message().contains("on_error") && error.message().contains("broke off"), "{error}");
    assert_eq!(error.partial().map(ChatCompletion::text), Some("one two"));
    // A list goes on all the same.
    let outcome = ask(&client(&mock, vec![hook]), WAYS[2], &request(WAYS[2], "text=one two three&cut=3")).await;
    assert!(outcome.text().ends_with("spare"), "{outcome:?}");
}

#[tokio::test]
async fn a_failure_inside_an_answer_may_be_answered_while_the_hooks_hold_all_of_it_back() {
    let mock = mock().await;
    for way in WAYS.into_iter().filter(|way| way.stream) {
        let failed = Arc::new(AtomicUsize::new(0));
        let seen = failed.clone();
        let (hook, told) = saying(&["on_chunks", "on_error", "on_end"], move |event| match event["stage"].as_str() {
            Some("on_error") => {
                seen.fetch_add(1, Ordering::SeqCst);
                elsewhere()
            }
            Some("on_chunks") if seen.load(Ordering::SeqCst) == 0 => json!({"chunks": []}),
            _ => json!({}),
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "text=one two three&cut=3")).await;
        assert_eq!(outcome.text(), "from elsewhere", "{way:?} {outcome:?}");
        assert_eq!((told.of("on_error").len(), told.of("on_end").len()), (1, 1));
        assert!(told.of("on_end")[0]["error"].is_null());
    }
}

#[tokio::test]
async fn both_routes_of_a_race_are_told_and_the_one_that_is_heard_ends_it() {
    let mock = mock().await;
    let (hook, told) = saying(&ALL, |_| json!({}));
    let config = json!({
        "api_keys": {"openai": "test-key", "groq": "test-key"},
        "base_urls": {"openai": format!("{}/v1", mock.url()), "groq": format!("{}/v1", mock.url())},
        "hedge_after": 0.05,
    });
    let config = ClientConfig::from_json(&config.to_string()).expect("a configuration");
    let client = Client::new(ClientConfig { hooks: vec![hook].into(), ..config }).expect("a client");
    let models = vec!["openai/slow?text=slow&headers_after=60000".to_owned(), "groq/spare?text=spare".to_owned()];
    let outcome = ask(&client, WAYS[2], &ChatCompletionRequest::new(models, ["Hi"])).await;
    assert_eq!(outcome.text(), "spare");
    let asked: Vec<_> = told.of("before_request").iter().map(|event| event["provider"].clone()).collect();
    assert_eq!(asked, ["openai", "groq"]);
    assert!(told.of("on_error").is_empty(), "none has failed");
    let end = &told.of("on_end")[0];
    assert_eq!((&end["attempt"], &end["provider"]), (&json!(2), &json!("groq")));
}

#[tokio::test]
async fn each_failing_route_of_a_list_is_told_once() {
    let mock = mock().await;
    let (hook, told) = saying(&["before_request", "on_error", "on_end"], |_| json!({}));
    let models = vec![
        "openai/a?status=500".to_owned(),
        "groq/b?text=one two three four&cut=3".to_owned(),
        "openai/c?text=one two three four&continue=1".to_owned(),
    ];
    let outcome = ask(&client(&mock, vec![hook]), WAYS[2], &ChatCompletionRequest::new(models, ["Hi"])).await;
    assert_eq!(outcome.text(), "one two three four");
    let failures: Vec<_> =
        told.of("on_error").iter().map(|event| (event["attempt"].clone(), event["error"]["kind"].clone())).collect();
    assert_eq!(failures, [(json!(1), json!("server")), (json!(2), json!("truncated"))]);
    let legs: Vec<_> = told.of("before_request").iter().map(|event| event["provider"].clone()).collect();
    assert_eq!(legs, ["openai", "groq", "openai"]);
    let end = &told.of("on_end")[0];
    assert_eq!((&end["attempt"], &end["provider"]), (&json!(3), &json!("openai")));
    assert_eq!(end["response"]["literllm"]["attempts"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn what_a_hook_says_wrongly_names_the_stage() {
    let mock = mock().await;
    for (stage, said) in [
        ("before_request", json!({"chunks": []})),
        ("before_request", json!({"request": {"model": 7}})),
        ("after_headers", json!({"response": {}})),
        ("on_chunks", json!({"request": {}, "chunks": []})),
        ("on_chunks", json!([1])),
        ("on_error", json!({"error": {"kind": "no such kind", "message": "x"}})),
    ] {
        let (hook, _) = saying(&[stage], move |_| said.clone());
        let way = WAYS[0];
        let behaviour = if stage == "on_error" { "status=500" } else { "text=one" };
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, behaviour)).await;
        let error = outcome.error();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(stage), "{error}");
    }
    assert!(Stages::from_names(["on_chunk"]).unwrap_err().message().contains("on_chunks"));
}

/// Panics at one stage.
struct Panics(&'static str);

impl Panics {
    fn at(&self, stage: &str) {
        assert!(self.0 != stage, "out of my depth");
    }
}

impl Hook for Panics {
    fn before_request<'a>(
        &'a self,
        _at: &'a HookContext,
        request: Box<ChatCompletionRequest>,
    ) -> Pending<'a, Result<Before, Error>> {
        self.at("before_request");
        Box::pin(async move { Ok(Before::Ask(request)) })
    }

    fn on_chunks<'a>(
        &'a self,
        _at: &'a HookContext,
        chunks: Vec<ChatCompletionChunk>,
    ) -> Pending<'a, Result<Vec<ChatCompletionChunk>, Error>> {
        Box::pin(async move {
            self.at("on_chunks");
            Ok(chunks)
        })
    }

    fn on_error<'a>(&'a self, _at: &'a HookContext, error: Error) -> Pending<'a, Result<ChatCompletion, Error>> {
        Box::pin(async move {
            self.at("on_error");
            Err(error)
        })
    }

    fn on_end<'a>(&'a self, _at: &'a HookContext, _end: &'a CallEnd) -> Pending<'a, ()> {
        Box::pin(async move { self.at("on_end") })
    }
}

#[tokio::test]
async fn a_panic_in_a_hook_is_an_error_of_its_own_kind() {
    let mock = mock().await;
    for way in WAYS {
        for stage in ["before_request", "on_chunks", "on_error"] {
            let behaviour = if stage == "on_error" { "status=500" } else { "text=one" };
            let outcome = ask(&client(&mock, vec![Arc::new(Panics(stage))]), way, &request(way, behaviour)).await;
            assert_eq!(outcome.kind(), Some(ErrorKind::Panic), "{way:?}, {stage}: {outcome:?}");
            assert!(outcome.error().message().contains("out of my depth"));
        }
        assert_eq!(ask(&client(&mock, vec![Arc::new(Panics("on_end"))]), way, &request(way, "text=one")).await.text(), "one");
    }
}

/// Sends each end to a channel.
struct Ends(mpsc::UnboundedSender<(HookContext, CallEnd)>);

impl Hook for Ends {
    fn stages(&self) -> Stages {
        literllm::hooks::Stage::OnEnd.into()
    }

    fn on_end<'a>(&'a self, at: &'a HookContext, end: &'a CallEnd) -> Pending<'a, ()> {
        Box::pin(async move { self.0.send((at.clone(), end.clone())).expect("the test listens") })
    }
}

#[tokio::test]
async fn the_end_is_told_exactly_once_however_it_comes() {
    let mock = mock().await;
    let (ends, mut told) = mpsc::unbounded_channel();
    let client = client(&mock, vec![Arc::new(Ends(ends))]);
    let kind = |end: &CallEnd| end.error.as_ref().map(Error::kind);
    let text = |end: &CallEnd| end.response.as_ref().map(|answer| answer.text().to_owned());
    for way in WAYS {
        let streamed = |behaviour: &str| request(way, behaviour);
        // Complete, and failed.
        ask(&client, way, &streamed("text=one")).await;
        let (at, end) = told.recv().await.expect("an end");
        assert_eq!((kind(&end), text(&end).as_deref(), at.stream), (None, Some("one"), way.stream), "{way:?}");
        ask(&client, way, &ChatCompletionRequest::new("openai/demo?status=401", ["Hi"])).await;
        assert_eq!(kind(&told.recv().await.expect("an end").1), Some(ErrorKind::Authentication));
        // Dropped before its headers.
        let id = format!("never-{}-{}", way.list, way.stream);
        let pending = tokio::spawn({
            let (client, request) = (client.clone(), streamed(&format!("headers_after=60000&id={id}")));
            async move { ask(&client, way, &request).await }
        });
        mock.wait(&*id, Event::Request, SOON).await.expect("it is asked");
        pending.abort();
        assert_eq!(kind(&told.recv().await.expect("an end").1), Some(ErrorKind::Cancelled));
        if !way.stream {
            continue;
        }
        // Dropped in the middle, cancelled, and left after the last chunk.
        let mut stream = client.chat_stream(streamed("text=one two&stall=2")).await.expect("a stream");
        assert!(stream.next().await.is_some() && stream.next().await.is_some());
        drop(stream);
        let (_, end) = told.recv().await.expect("an end");
        assert_eq!((kind(&end), text(&end).as_deref()), (Some(ErrorKind::Cancelled), Some("one")));
        let handle = StreamHandle::from(client.chat_stream(streamed("text=one two&stall=2")).await.expect("a stream"));
        handle.cancel();
        while let Some(Ok(_)) = handle.next_batch().await {}
        assert_eq!(kind(&told.recv().await.expect("an end").1), Some(ErrorKind::Cancelled));
        drop(handle);
        let mut stream = client.chat_stream(streamed("text=one")).await.expect("a stream");
        while stream.next().await.expect("a chunk").expect("a good one").choices[0].finish_reason.is_none() {}
        drop(stream);
        let (_, end) = told.recv().await.expect("an end");
        assert_eq!((kind(&end), text(&end).as_deref()), (None, Some("one")));
    }
    drop(client);
    assert!(told.recv().await.is_none(), "an end was told twice");
}

#[tokio::test]
async fn what_a_hook_refuses_for_is_the_source_of_the_error() {
    let mock = mock().await;
    for stage in ["before_request", "after_headers", "on_chunks", "on_error"] {
        let hook = relay(Stages::from_names([stage]).expect("a stage"), |call| {
            call.answer_from(r#"{"error": {"kind": "permission", "message": "no"}}"#, std::io::Error::other("mine"));
        });
        let client = client(&mock, vec![hook]);
        for way in WAYS {
            let behaviour = if stage == "on_error" { "status=500" } else { "text=one" };
            let mut asked = request(way, behaviour);
            if way.list {
                asked = ChatCompletionRequest::new(vec![format!("openai/demo?{behaviour}"); 2], ["Hi"]);
            }
            let error = ask(&client, way, &asked).await.error.expect("a no");
            for no in if error.causes().is_empty() { std::slice::from_ref(&error) } else { error.causes() } {
                let source = std::error::Error::source(no).and_then(|source| source.downcast_ref::<std::io::Error>());
                assert_eq!(source.map(ToString::to_string).as_deref(), Some("mine"), "{stage} {way:?} {no:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_hook_that_never_answers_is_waited_for_until_the_total_deadline() {
    let mock = mock().await;
    for stage in ["before_request", "after_headers", "on_chunks", "on_error"] {
        let held = Arc::new(Mutex::new(Vec::new()));
        let keep = held.clone();
        let hook = relay(Stages::from_names([stage]).expect("a stage"), move |call| keep.lock().expect("no panic").push(call));
        let options = literllm::RequestOptions::from_json(r#"{"timeout": 1}"#).expect("options");
        let behaviour = if stage == "on_error" { "status=500" } else { "text=one" };
        let client = client(&mock, vec![hook]);
        let result = match client.chat_stream_with(request(WAYS[2], behaviour), &options).await {
            Ok(stream) => stream.finish().await,
            Err(error) => Err(error),
        };
        assert_eq!(result.expect_err("it is over").kind(), ErrorKind::Timeout, "{stage}");
        assert_eq!(held.lock().expect("no panic").len(), 1);
    }
}

#[tokio::test]
async fn cancelling_waits_for_no_hook_also_where_the_answer_is_there() {
    let mock = mock().await;
    for stage in ["on_chunks", "on_end"] {
        let (sender, mut calls) = mpsc::unbounded_channel();
        let silent = relay(Stages::from_names([stage]).expect("a stage"), move |call| {
            sender.send(call).expect("the test listens");
        });
        let (answers, _) = saying(&["before_request"], |_| elsewhere());
        let client = client(&mock, vec![answers, silent]);
        let handle = StreamHandle::from(client.chat_stream(request(WAYS[0], "")).await.expect("a stream"));
        let reader = tokio::spawn({
            let handle = handle.clone();
            async move {
                loop {
                    match handle.next_batch().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Some(error.kind()),
                        None => return None,
                    }
                }
            }
        });
        let _call = calls.recv().await.expect("the hook is asked");
        handle.cancel();
        let kind = tokio::time::timeout(SOON, reader).await.expect("it ends").expect("no panic");
        assert_eq!(kind, (stage == "on_chunks").then_some(ErrorKind::Cancelled));
    }
}

#[tokio::test]
async fn a_waiting_hook_can_be_cancelled() {
    let mock = mock().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (sender, mut calls) = mpsc::unbounded_channel();
    let count = asked.clone();
    let hook = relay(Stages::from_names(["on_chunks"]).expect("a stage"), move |call| {
        count.fetch_add(1, Ordering::SeqCst);
        sender.send(call).expect("the test listens");
    });
    let client = client(&mock, vec![hook]);
    let handle = StreamHandle::from(client.chat_stream(request(WAYS[0], "text=one&stall=2&id=waits")).await.expect("a stream"));
    let reader = tokio::spawn({
        let handle = handle.clone();
        async move { handle.next_batch().await }
    });
    let call = calls.recv().await.expect("the hook is asked");
    handle.cancel();
    let error = reader.await.expect("no panic").expect("the end").expect_err("it was cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.partial().is_none(), "nothing was shown");
    mock.wait("waits", Event::Left, SOON).await.expect("the mock sees the socket closed");
    // An answer that comes too late is no harm.
    call.answer("{}");
    assert!(handle.next_batch().await.is_none());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
