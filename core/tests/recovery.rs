//! Answers that survive: the recovery table through the engine, and texts cut at random.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use literllm::hooks::{CallEnd, HookContext, Pending, Stage, Stages, relay};
use literllm::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Client, ClientConfig, Error, ErrorKind, Hook, StreamHandle,
};
use literllm_mock::{Event, Mock, Options, Outcome as Served};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const TEXT: &str = "one two three four five six seven eight nine ten eleven twelve";
const SOON: Duration = Duration::from_secs(10);
/// A hundred milliseconds are promised; a noisy machine has ten times that.
const AT_ONCE: Duration = Duration::from_secs(1);

struct Mocks {
    plain: Mock,
    secure: Mock,
}

async fn mocks() -> Mocks {
    let secure = Options { tls: true, ..Options::default() };
    Mocks { plain: Mock::start(Options::default()).await.expect("a mock"), secure: Mock::start(secure).await.expect("a mock") }
}

fn client(mocks: &Mocks, more: &Value) -> Client {
    hooked_client(mocks, more, Vec::new())
}

fn hooked_client(mocks: &Mocks, more: &Value, hooks: Vec<Arc<dyn Hook>>) -> Client {
    let mut config = json!({
        "api_keys": {"openai": "test-key"},
        "base_urls": {
            "openai": format!("{}/v1", mocks.plain.url()),
            "refused": "http://127.0.0.1:9/v1",
            "unknown_host": "http://no-such-host.invalid/v1",
            "untrusted": format!("{}/v1", mocks.secure.url()),
        },
        "hosts": [
            {"name": "refused", "base_url": ""}, {"name": "unknown_host", "base_url": ""}, {"name": "untrusted", "base_url": ""},
            {"name": "no_key", "base_url": "http://127.0.0.1:9/v1", "key_vars": ["LITERLLM_TEST_NO_SUCH_KEY"]},
        ],
        "cooldown": 0,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    let config = ClientConfig::from_json(&config.to_string()).expect("a configuration");
    Client::with_hooks(config, hooks).expect("a client")
}

/// A route of the table as a model's name.
fn model(route: &str, number: usize) -> String {
    match route.strip_prefix('@') {
        Some("unknown_provider") => "nowhere/demo".to_owned(),
        Some(host) => format!("{host}/demo"),
        None => format!("openai/demo-{number}?{}", route.replace("{T}", &TEXT.replace(' ', "%20"))),
    }
}

struct Outcome {
    chunks: Vec<ChatCompletionChunk>,
    answer: Option<ChatCompletion>,
    error: Option<Error>,
}

async fn ask(client: &Client, request: &ChatCompletionRequest) -> Outcome {
    let mut outcome = Outcome { chunks: Vec::new(), answer: None, error: None };
    let mut stream = match client.chat_stream(request).await {
        Ok(stream) => stream,
        Err(error) => return Outcome { error: Some(error), ..outcome },
    };
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => outcome.chunks.push(chunk),
            Err(error) => outcome.error = Some(error),
        }
    }
    let answer = stream.completion();
    assert_eq!(answer, stream.into_completion(), "the same, copied or not");
    outcome.answer = outcome.error.is_none().then_some(answer);
    outcome
}

fn request(models: Vec<String>, mode: Option<&str>) -> ChatCompletionRequest {
    ChatCompletionRequest { stream_fallback_mode: mode.map(Into::into), ..ChatCompletionRequest::new(models, ["Count"]) }
}

/// What a consumer that minds resets has in the end.
fn text_of(chunks: &[ChatCompletionChunk]) -> String {
    let mut text = String::new();
    for chunk in chunks {
        if chunk.literllm.as_ref().is_some_and(|event| event.event == "reset") {
            text.clear();
        }
        text.extend(chunk.choices.iter().filter_map(|choice| choice.delta.content.as_deref()));
    }
    text
}

#[tokio::test]
async fn failures_end_as_the_table_says() {
    let (scenarios, wrong) = run_the_table(Vec::new).await;
    println!("table: recovery, {scenarios} scenarios through rust, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn hooks_that_pass_change_nothing_of_the_table() {
    // One that is never answered, and one that hands on the very chunks it was given.
    let echo = || {
        relay(Stages::from_names(["on_chunks"]).expect("a stage"), |call| {
            let event: Value = serde_json::from_str(call.event()).expect("an event in JSON");
            call.answer(&json!({ "chunks": event["chunks"] }).to_string());
        })
    };
    let (_, wrong) = run_the_table(|| vec![relay(Stages::ALL, drop), echo()]).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many scenarios the table has, and which come out wrong.
async fn run_the_table(hooks: impl Fn() -> Vec<Arc<dyn Hook>>) -> (usize, Vec<String>) {
    let mocks = mocks().await;
    let table: Vec<Value> = serde_json::from_slice(
        &std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/recovery.json")).expect("the table"),
    )
    .expect("a table in JSON");
    let mut wrong = Vec::new();
    for (number, row) in table.iter().enumerate() {
        let routes: Vec<&str> = row["models"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let ids: Vec<String> = (0..routes.len()).map(|at| format!("row-{number}-{at}")).collect();
        let named = |(at, route): (usize, &&str)| {
            if route.starts_with('@') { model(route, at) } else { model(&format!("{route}&id={}", ids[at]), at) }
        };
        let mut request = request(routes.iter().enumerate().map(named).collect(), row["mode"].as_str());
        if let Some(format) = row["format"].as_str() {
            request.response_format = serde_json::from_value(json!({"type": format})).ok();
        }
        let checked = match row["cancel_after"].as_u64() {
            None => check(&row["expect"], &ask(&hooked_client(&mocks, &row["config"], hooks()), &request).await),
            Some(last) => {
                let (ended, mut ends) = mpsc::unbounded_channel();
                let mut hooks = hooks();
                hooks.push(Arc::new(Ends(ended)));
                let client = hooked_client(&mocks, &row["config"], hooks);
                let call = tokio::spawn(async move { ask(&client, &request).await });
                let last = usize::try_from(last).expect("the number of a route");
                mocks.plain.wait(&*ids[last], Event::Done, SOON).await.expect("the route answers");
                call.abort();
                let error = tokio::time::timeout(AT_ONCE, ends.recv()).await.expect("it ends at once").expect("it has an end");
                let outcome = Outcome { chunks: Vec::new(), answer: None, error };
                check(&row["expect"], &outcome).and_then(|()| each_was_asked_once(&mocks.plain, &ids, last))
            }
        };
        println!("row: rust|{}|{}", if checked.is_ok() { "ok" } else { "wrong" }, row["name"].as_str().expect("a name"));
        if let Err(message) = checked {
            wrong.push(format!("{}: {message}", row["name"]));
        }
    }
    (table.len(), wrong)
}

/// Tells the error that a call ends with, also to who has left it: a call is cancelled in Rust by dropping it.
struct Ends(mpsc::UnboundedSender<Option<Error>>);

impl Hook for Ends {
    fn stages(&self) -> Stages {
        [Stage::OnEnd].into_iter().collect()
    }

    fn on_end<'a>(&'a self, _at: &'a HookContext, end: &'a CallEnd) -> Pending<'a, ()> {
        self.0.send(end.error.clone()).expect("the table waits for it");
        Box::pin(async {})
    }
}

/// Whether the routes up to the last one asked had one request each, which is over, and the others none.
fn each_was_asked_once(mock: &Mock, ids: &[String], last: usize) -> Result<(), String> {
    for (at, id) in ids.iter().enumerate() {
        let seen = mock.log(&**id);
        if seen.len() != usize::from(at <= last) || seen.iter().any(|request| request.outcome == Served::Open) {
            return Err(format!("the mock saw {seen:?}"));
        }
    }
    Ok(())
}

fn check(expect: &Value, outcome: &Outcome) -> Result<(), String> {
    let differ = |what: &str, is: &dyn std::fmt::Debug| Err(format!("{what}: {is:?}"));
    let kind = outcome.error.as_ref().map(|error| error.kind().as_str());
    if kind != expect["kind"].as_str() {
        return differ("ended", &outcome.error);
    }
    let events: Vec<_> = outcome.chunks.iter().filter_map(|chunk| chunk.literllm.as_deref()).collect();
    if let Some(error) = &outcome.error {
        if let Some(causes) = expect["causes"].as_array() {
            let is: Vec<&str> = error.causes().iter().map(|cause| cause.kind().as_str()).collect();
            if is != causes.iter().filter_map(Value::as_str).collect::<Vec<_>>() {
                return differ("causes", &is);
            }
        }
        if let Some(text) = expect["partial"].as_str()
            && error.partial().map(ChatCompletion::text) != Some(text)
        {
            return differ("partial", &error.partial());
        }
        if let Some(partial) = error.partial()
            && partial.literllm.as_ref().is_none_or(|meta| meta.attempts.is_empty())
        {
            return differ("the partial answer's attempts", &partial.literllm);
        }
        if let Some(count) = expect["partial_tools"].as_u64()
            && error.partial().map(|partial| partial.choices[0].message.tool_calls.len() as u64) != Some(count)
        {
            return differ("partial", &error.partial());
        }
        return Ok(());
    }
    let answer = outcome.answer.as_ref().expect("a whole answer");
    let should = expect["text"].as_str().unwrap_or_default().replace("{T}", TEXT);
    if text_of(&outcome.chunks) != should || answer.text() != should {
        return differ("text", &(text_of(&outcome.chunks), answer.text()));
    }
    if let Some(tools) = expect["tools"].as_array() {
        let is: Vec<&str> = answer.choices[0].message.tool_calls.iter().map(|call| call.function.arguments.as_str()).collect();
        if is != tools.iter().filter_map(Value::as_str).collect::<Vec<_>>() {
            return differ("tools", &is);
        }
    }
    let last = events.last();
    for (name, is) in [
        ("event", last.map(|event| event.event.as_str())),
        ("reason", last.map(|event| event.reason.as_str())),
        ("mode", last.map(|event| event.mode.as_str())),
    ] {
        if let Some(should) = expect[name].as_str()
            && is != Some(should)
        {
            return differ(name, &events);
        }
    }
    if let Some(kept) = expect["kept"].as_u64()
        && last.map(|event| event.kept) != Some(kept)
    {
        return differ("kept", &events);
    }
    let attempts = &answer.literllm.as_ref().expect("its meta").attempts;
    if let Some(legs) = expect["legs"].as_u64()
        && attempts.len() as u64 != legs
    {
        return differ("attempts", attempts);
    }
    // Whatever happened, the stream is one.
    let first = outcome.chunks.first().ok_or("no chunk")?;
    let one = |chunk: &ChatCompletionChunk| (chunk.id.clone(), chunk.model.clone(), chunk.created);
    if outcome.chunks.iter().any(|chunk| one(chunk) != one(first)) {
        return Err("its identity changes".to_owned());
    }
    let count = |has: &dyn Fn(&ChatCompletionChunk) -> bool| outcome.chunks.iter().filter(|chunk| has(chunk)).count();
    let roles = count(&|chunk| chunk.choices.iter().any(|choice| choice.delta.role.is_some()));
    let finishes = count(&|chunk| chunk.choices.iter().any(|choice| choice.finish_reason.is_some()));
    if (roles, finishes) != (1, 1) {
        return Err(format!("{roles} role chunks, {finishes} finish chunks"));
    }
    Ok(())
}

/// Recorded and made-up answers, cut at random places, one route after another: the joined text is the uncut one.
#[tokio::test]
async fn texts_cut_at_random_are_joined_exactly() {
    const TEXTS: [&str; 5] = [
        "A lighthouse keeper once taught her lamp to count. Every night it flashed one number to the ships: one, two, three.",
        "fn add(a: i32, b: i32) -> i32 {\n    a + b\n}\n\nfn sub(a: i32, b: i32) -> i32 {\n    a - b\n}\n",
        "{\"rows\":[{\"id\":1,\"name\":\"a\"},{\"id\":2,\"name\":\"b\"},{\"id\":3,\"name\":\"c\"}]}",
        "na na na na na na na na na na na na na na na na Batman!",
        "Ein Käse, zwei Käse 🧀🧀, naïve café, 日本語のテキスト。 Und noch ein Satz, damit es lang genug wird.",
    ];
    let mocks = mocks().await;
    let client = client(&mocks, &json!({}));
    let mut state = 7u64;
    let mut number = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for round in 0..60 {
        let text = TEXTS[round % TEXTS.len()];
        let encoded = text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"));
        let cut = |number: &mut dyn FnMut(usize) -> usize| match number(3) {
            0 => format!("cut={}", 1 + number(12)),
            1 => format!("end={}", 1 + number(12)),
            _ => format!("cut_bytes={}", 150 + number(2500)),
        };
        let mode = ["auto", "prefill", "user_turn", "restart"][number(4)];
        // An echo counts as one from twelve graphemes on, and not in a text that repeats itself.
        let echo = if round % TEXTS.len() == 0 && mode != "restart" { [0, 15, 30][number(3)] } else { 0 };
        let first = if echo > 0 { "cut=9".to_owned() } else { cut(&mut number) };
        let models = vec![
            format!("openai/a{round}?text={encoded}&{first}"),
            format!("openai/b{round}?text={encoded}&continue=1&echo={echo}&{}", cut(&mut number)),
            format!("openai/c{round}?text={encoded}&continue=1"),
        ];
        let outcome = ask(&client, &request(models.clone(), Some(mode))).await;
        assert!(outcome.error.is_none(), "round {round}: {:?}", outcome.error);
        assert_eq!(text_of(&outcome.chunks), text, "round {round}, {mode}, {models:?}");
    }
}

#[tokio::test]
async fn what_comes_slowly_and_was_said_before_is_not_said_twice() {
    let mocks = mocks().await;
    let client = client(&mocks, &json!({}));
    let text =
        "A lighthouse keeper once taught her lamp to count. Every night it flashed one number to the ships: one, two, three.";
    let encoded = text.replace(' ', "%20");
    for mode in ["prefill", "user_turn"] {
        // The echo takes longer to come than text is held that cannot be decided.
        let models =
            vec![format!("openai/cut?text={encoded}&cut=16"), format!("openai/slow?text={encoded}&continue=1&echo=60&pace=60")];
        let outcome = ask(&client, &request(models, Some(mode))).await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!(text_of(&outcome.chunks), text, "{mode}");
    }
}

#[tokio::test]
async fn a_route_that_cannot_make_the_json_is_asked_for_it_once_and_not_for_ever() {
    let mocks = mocks().await;
    let client = client(&mocks, &json!({}));
    let models = vec!["openai/cut?text={\"a\": 1}&cut=2".to_owned(), "openai/prose?text=It is one.&id=prose".to_owned()];
    let format = serde_json::from_value(json!({"type": "json_object"})).ok();
    let asking = ChatCompletionRequest { response_format: format, ..request(models, None) };
    let outcome = tokio::time::timeout(SOON, ask(&client, &asking)).await.expect("it ends");
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(text_of(&outcome.chunks), "It is one.");
    assert_eq!(mocks.plain.log("prose").len(), 2);
}

#[tokio::test]
async fn an_answer_that_is_whole_when_it_is_cancelled_is_whole_though_it_was_joined() {
    let mocks = mocks().await;
    let client = client(&mocks, &json!({}));
    // All is said, and the reason why it ended; the end itself does not come.
    let second = "text=one two three four five&continue=1&no_done=1&linger=60000";
    let models = vec![model("text=one two three four five&cut=4", 0), model(second, 1)];
    let handle = StreamHandle::from(client.chat_stream(request(models, None)).await.expect("a stream"));
    let mut chunks = Vec::new();
    while let Some(batch) = handle.next_batch().await {
        chunks.extend(batch.expect("it is not cut off"));
        if text_of(&chunks).ends_with("five") {
            handle.cancel();
        }
    }
    assert_eq!(text_of(&chunks), "one two three four five");
    assert_eq!(chunks.iter().flat_map(|chunk| &chunk.choices).filter(|choice| choice.finish_reason.is_some()).count(), 1);
}

#[tokio::test]
async fn cancelling_while_another_route_is_tried_ends_it() {
    let mocks = mocks().await;
    let client = client(&mocks, &json!({}));
    let models = vec![model("text={T}&cut=4", 0), model("id=late&headers_after=60000", 1)];
    let handle = StreamHandle::from(client.chat_stream(request(models, None)).await.expect("a stream"));
    let reader = tokio::spawn({
        let handle = handle.clone();
        async move {
            loop {
                match handle.next_batch().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error,
                    None => panic!("a cancelled stream is not whole"),
                }
            }
        }
    });
    mocks.plain.wait("late", Event::Request, SOON).await.expect("the second route is asked");
    handle.cancel();
    let error = reader.await.expect("the reader ends");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(error.partial().map(ChatCompletion::text), Some("one two three"));
    mocks.plain.wait("late", Event::Left, SOON).await.expect("the mock sees it leave");
}

#[tokio::test]
async fn a_route_that_failed_a_moment_ago_is_asked_last() {
    let mocks = mocks().await;
    let client = client(&mocks, &json!({"cooldown": 60}));
    let models = vec!["openai/cooling?id=cooling&status=503".to_owned(), "openai/well?text=ok".to_owned()];
    for _ in 0..3 {
        let answer = client.chat(request(models.clone(), None)).await.expect("the second route answers");
        assert_eq!(answer.text(), "ok");
    }
    assert_eq!(mocks.plain.log("cooling").len(), 1, "it was asked again");
}

#[tokio::test]
async fn the_final_response_lists_every_attempt_with_its_usage() {
    let mocks = mocks().await;
    let models = vec![model("status=500", 0), model("text={T}&cut=4", 1), model("text={T}&continue=1&usage=20,9", 2)];
    let asking = ChatCompletionRequest { max_tokens: Some(50), ..request(models, None) };
    let outcome = ask(&client(&mocks, &json!({})), &asking).await;
    let answer = outcome.answer.expect("a whole answer");
    let attempts = answer.literllm.expect("its meta").attempts;
    let told: Vec<_> =
        attempts.iter().map(|attempt| (attempt.error.as_deref(), attempt.mode.as_deref(), attempt.characters)).collect();
    let rest = (TEXT.len() - "one two three".len()) as u64;
    assert_eq!(told, [(Some("server"), None, 0), (Some("truncated"), Some("restart"), 13), (None, Some("user_turn"), rest)]);
    assert_eq!(attempts[2].usage.as_ref().map(|usage| usage.completion_tokens), Some(9));
    let last = mocks.plain.log(None).into_iter().last().expect("the last request");
    let body: Value = serde_json::from_str(last.body.get()).expect("the body");
    assert!(body["max_tokens"].as_u64().is_some_and(|limit| limit < 50), "the limit shrinks by what was said");
    assert!(body.get("stream_fallback_mode").is_none());
}

#[tokio::test]
async fn usage_and_cost_are_those_of_all_legs_each_at_its_own_price() {
    let mocks = mocks().await;
    // Anthropic counts the prompt before it says anything.
    let early = format!("{}/mock/text=one%20two%20three,cut=5,usage=1000%2C0", mocks.plain.url());
    let more = json!({
        "api_keys": {"openai": "test-key", "anthropic": "test-key"},
        "base_urls": {"openai": format!("{}/mock/text=one%20two%20three,continue=1,usage=20%2C9/v1", mocks.plain.url()), "anthropic": early},
    });
    let client = client(&mocks, &more);
    let models = vec!["anthropic/claude-haiku-4-5".to_owned(), "openai/gpt-4o".to_owned()];
    for streamed in [true, false] {
        let asking = request(models.clone(), Some("auto"));
        let answer = if streamed {
            let options = serde_json::from_value(json!({"include_usage": true})).expect("options");
            let outcome = ask(&client, &ChatCompletionRequest { stream_options: Some(options), ..asking }).await;
            let last = outcome.chunks.last().and_then(|chunk| chunk.usage.clone()).expect("the usage chunk");
            assert_eq!(last.prompt_tokens, 1020);
            outcome.answer.expect("a whole answer")
        } else {
            client.chat(asking).await.expect("a whole answer")
        };
        let usage = answer.usage.expect("the usage");
        let meta = answer.literllm.expect("its meta");
        let [first, second] = meta.attempts.as_slice() else { panic!("{:?}", meta.attempts) };
        let tokens = |one: &literllm::types::AttemptReport| one.usage.as_ref().map_or(0, |usage| usage.total_tokens);
        assert_eq!((usage.prompt_tokens, usage.total_tokens), (1020, tokens(first) + tokens(second)), "streamed: {streamed}");
        let costs = first.cost.expect("a known price") + second.cost.expect("a known price");
        assert!(meta.cost.is_some_and(|cost| (cost - costs).abs() < 1e-9), "{:?} is not {costs}", meta.cost);
    }
}
