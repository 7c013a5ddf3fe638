//! What is configured around calls, judged by what the mock saw: kept answers, limits, several keys, hedging and weights.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use literllm::{ChatCompletion, ChatCompletionRequest, ChatStream, Client, ClientConfig, Error, ErrorKind, RequestOptions};
use literllm_mock::{Event, Mock, Options};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

async fn mock() -> Mock {
    Mock::start(Options::default()).await.expect("a mock")
}

fn client(mock: &Mock, more: &Value) -> Client {
    let url = format!("{}/v1", mock.url());
    let mut config = json!({
        "api_keys": {"openai": "test-key", "groq": "test-key", "anthropic": "test-key"},
        "base_urls": {"openai": url, "groq": url, "anthropic": format!("{}/mock/stall=1,usage=1000%2C0,id=early", mock.url())},
        "max_retries": 0, "cooldown": 0,
    });
    for (name, value) in more.as_object().expect("an object") {
        config[name] = value.clone();
    }
    Client::new(ClientConfig::from_json(&config.to_string()).expect("a configuration")).expect("a client")
}

fn request(behaviour: &str) -> ChatCompletionRequest {
    ChatCompletionRequest::new(format!("openai/demo?{behaviour}"), ["Hi"])
}

fn list(models: &[&str]) -> ChatCompletionRequest {
    ChatCompletionRequest::new(models.iter().map(|&model| model.to_owned()).collect::<Vec<_>>(), ["Hi"])
}

/// Asks for a stream and reads it to its end.
async fn streamed(client: &Client, request: &ChatCompletionRequest) -> Result<ChatCompletion, Error> {
    client.chat_stream(request).await?.finish().await
}

fn is_cached(answer: &ChatCompletion) -> bool {
    answer.literllm.as_ref().is_some_and(|meta| meta.cached == Some(true))
}

#[tokio::test]
async fn the_same_request_is_answered_from_memory_as_a_stream_and_whole() {
    let mock = mock().await;
    let client = client(&mock, &json!({"cache": {}}));
    let priced = ChatCompletionRequest::new("openai/gpt-4o", ["Hi"]);
    let cost = |answer: ChatCompletion| answer.literllm.and_then(|meta| meta.cost);
    assert!(cost(client.chat(&priced).await.expect("an answer")).is_some_and(|cost| cost > 0.0));
    assert_eq!(cost(client.chat(&priced).await.expect("an answer")), Some(0.0), "it is paid for once");
    let asking = request("text=one two&usage=7,3&id=same&tool=look:{\"x\":1}");
    let first = streamed(&client, &asking).await.expect("an answer");
    assert!(!is_cached(&first));
    for again in [streamed(&client, &asking).await, client.chat(&asking).await] {
        let mut again = again.expect("an answer");
        assert!(is_cached(&again));
        again.literllm.clone_from(&first.literllm);
        assert_eq!(again, first);
    }
    // Who asks does not matter, what is asked does.
    let other_user = ChatCompletionRequest { user: Some("u-2".to_owned()), ..asking.clone() };
    assert!(is_cached(&client.chat(&other_user).await.expect("an answer")));
    assert_eq!(mock.log("same").len(), 1);
    let warmer = ChatCompletionRequest { temperature: Some(0.5), ..asking.clone() };
    assert!(!is_cached(&client.chat(&warmer).await.expect("an answer")));
    let options = RequestOptions::from_json(r#"{"headers": {"x-other": "1"}}"#).expect("options");
    assert!(!is_cached(&client.chat_with(&asking, &options).await.expect("an answer")));
    assert_eq!(mock.log("same").len(), 3);
}

#[tokio::test]
async fn a_stream_left_after_its_last_chunk_was_kept() {
    let mock = mock().await;
    let client = client(&mock, &json!({"cache": {}}));
    let asking = request("text=one&id=left");
    let mut stream = client.chat_stream(&asking).await.expect("a stream");
    while stream.next().await.expect("a chunk").expect("a good one").choices[0].finish_reason.is_none() {}
    drop(stream);
    assert!(is_cached(&client.chat(&asking).await.expect("an answer")));
    assert_eq!(mock.log("left").len(), 1);
}

#[tokio::test]
async fn one_call_asks_for_all_that_want_the_same_at_once() {
    let mock = mock().await;
    let client = client(&mock, &json!({"cache": {"ttl": 60}}));
    let asking = request("text=one two three&id=flight&withhold=1");
    let calls: Vec<_> = (0..8)
        .map(|at| {
            let (client, asking) = (client.clone(), asking.clone());
            tokio::spawn(async move { if at % 2 == 0 { streamed(&client, &asking).await } else { client.chat(&asking).await } })
        })
        .collect();
    mock.wait("flight", Event::Request, SOON).await.expect("one asks");
    mock.release("flight", u64::from(u32::MAX));
    let mut cached = 0;
    for call in calls {
        let answer = call.await.expect("no panic").expect("an answer");
        assert_eq!(answer.text(), "one two three");
        cached += usize::from(is_cached(&answer));
    }
    assert_eq!((mock.log("flight").len(), cached), (1, 7));
}

#[tokio::test]
async fn when_the_one_that_asks_fails_or_leaves_the_next_asks() {
    let mock = mock().await;
    let client = client(&mock, &json!({"cache": {}}));
    let asking = request("text=one two three&cut=2&fail_times=1&id=fails");
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (client, asking) = (client.clone(), asking.clone());
            tokio::spawn(async move { streamed(&client, &asking).await })
        })
        .collect();
    let mut failed = 0;
    for call in calls {
        match call.await.expect("no panic") {
            Ok(answer) => assert_eq!(answer.text(), "one two three"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Truncated);
                failed += 1;
            }
        }
    }
    assert_eq!((failed, mock.log("fails").len()), (1, 2));
    let asking = request("text=one two three&stall=2&fail_times=1&id=leaves");
    let leader = client.chat_stream(&asking).await.expect("a stream");
    let follower = tokio::spawn({
        let client = client.clone();
        async move { streamed(&client, &asking).await }
    });
    tokio::task::yield_now().await;
    drop(leader);
    assert_eq!(follower.await.expect("no panic").expect("an answer").text(), "one two three");
    assert_eq!(mock.log("leaves").len(), 2);
}

#[tokio::test]
async fn failures_are_not_kept_and_waiting_for_another_ends_with_the_total_deadline() {
    let mock = mock().await;
    let client = client(&mock, &json!({"cache": {}}));
    let asking = request("text=one&status=500&fail_times=1&id=once");
    assert_eq!(client.chat(&asking).await.expect_err("it fails").kind(), ErrorKind::Server);
    assert_eq!(client.chat(&asking).await.expect("an answer").text(), "one");
    let asking = request("text=one two&stall=2");
    let _leader = client.chat_stream(&asking).await.expect("a stream");
    let options = RequestOptions::from_json(r#"{"timeout": 0.1}"#).expect("options");
    let error = client.chat_with(&asking, &options).await.expect_err("it is over");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("another call"), "{error}");
}

#[tokio::test]
async fn who_holds_a_stream_and_does_not_read_it_holds_up_nobody() {
    let mock = mock().await;
    let client = client(&mock, &json!({"cache": {}}));
    let asking = request("text=one two three&withhold=1&id=held");
    let held = client.chat_stream(&asking).await.expect("a stream");
    // The others wait for the second one then.
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let (client, asking) = (client.clone(), asking.clone());
            tokio::spawn(async move { streamed(&client, &asking).await })
        })
        .collect();
    mock.wait_nth("held", 2, Event::Request, SOON).await.expect("another one asks");
    mock.release("held", u64::from(u32::MAX));
    for call in calls {
        assert_eq!(call.await.expect("no panic").expect("an answer").text(), "one two three");
    }
    assert_eq!(mock.log("held").len(), 2);
    drop(held);
}

#[tokio::test]
async fn no_more_calls_than_the_limit_run_at_once_and_each_gets_its_turn() {
    let mock = mock().await;
    let client = client(&mock, &json!({"limits": [{"provider": "openai", "concurrency": 2}]}));
    let calls: Vec<_> = (0..8)
        .map(|at| {
            let client = client.clone();
            tokio::spawn(async move {
                let asking = request("text=one two&ttft=30&id=limited");
                if at % 2 == 0 { streamed(&client, &asking).await } else { client.chat(&asking).await }
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.expect("no panic").expect("an answer").text(), "one two");
    }
    // The mock may see the next request before it has noted the end of the last answer.
    let (asked, most) = (mock.log("limited").len(), mock.stats().streams_peak);
    assert!(asked == 8 && (2..=4).contains(&most), "{asked} calls, {most} at once");
    // A stream that is left gives its place back, and other providers are not bound.
    let held: Vec<ChatStream> = futures_util::future::join_all((0..2).map(|_| client.chat_stream(request("text=one&stall=1"))))
        .await
        .into_iter()
        .map(|stream| stream.expect("a stream"))
        .collect();
    assert_eq!(client.chat(list(&["groq/other?text=free"])).await.expect("an answer").text(), "free");
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.chat(request("text=next")).await }
    });
    tokio::task::yield_now().await;
    drop(held);
    assert_eq!(waiting.await.expect("no panic").expect("an answer").text(), "next");
}

#[tokio::test]
async fn requests_and_tokens_of_a_minute_are_counted_and_corrected() {
    let mock = mock().await;
    let brief = RequestOptions::from_json(r#"{"timeout": 0.2}"#).expect("options");
    let limited = client(&mock, &json!({"limits": [{"provider": "openai", "requests_per_minute": 2}]}));
    for _ in 0..2 {
        limited.chat(request("text=one&id=minute")).await.expect("it is let through");
    }
    let error = limited.chat_with(request("text=one&id=minute"), &brief).await.expect_err("the minute is full");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("limits"), "{error}");
    assert_eq!(mock.log("minute").len(), 2);
    let counted = client(&mock, &json!({"limits": [{"provider": "openai", "tokens_per_minute": 100}]}));
    let long =
        |usage: &str| ChatCompletionRequest { max_tokens: Some(90), ..request(&format!("text=one&usage={usage}&id=tokens")) };
    // Both were let through on an estimate of 90; the first cost 10, the second more than it was thought to.
    counted.chat(long("5,5")).await.expect("the minute is empty");
    streamed(&counted, &long("50,45")).await.expect("the first was corrected");
    assert_eq!(counted.chat_with(long("1,1"), &brief).await.expect_err("the minute is full").kind(), ErrorKind::Timeout);
    assert_eq!(mock.log("tokens").len(), 2);
}

/// The end of the key of each request.
#[tokio::test]
async fn a_call_that_left_while_it_waited_does_not_count_and_an_answer_that_is_over_holds_no_place() {
    let mock = mock().await;
    let limits = json!([{"provider": "openai", "requests_per_minute": 3}, {"provider": "openai", "concurrency": 1}]);
    let client = client(&mock, &json!({ "limits": limits }));
    let mut first = client.chat_stream(request("text=one&withhold=1&id=first")).await.expect("a stream");
    let brief = RequestOptions::from_json(r#"{"timeout": 0.05}"#).expect("options");
    for _ in 0..3 {
        let error = client.chat_with(request("text=two"), &brief).await.expect_err("it waits");
        assert_eq!((error.kind(), error.provider()), (ErrorKind::Timeout, Some("openai")), "{error}");
    }
    mock.release("first", u64::from(u32::MAX));
    while first.next().await.expect("a chunk").expect("a good one").choices[0].finish_reason.is_none() {}
    let patient = RequestOptions::from_json(r#"{"timeout": 10}"#).expect("options");
    assert_eq!(client.chat_with(request("text=two"), &patient).await.expect("an answer").text(), "two");
}

#[tokio::test]
async fn calls_that_wait_for_one_model_hold_up_none_of_another() {
    let mock = mock().await;
    for (at, (whole, one)) in
        [("concurrency", "requests_per_minute"), ("requests_per_minute", "concurrency")].into_iter().enumerate()
    {
        let id = format!("busy-{at}");
        let busy = format!("busy?text=one&withhold=1&id={id}");
        let limits = json!([{"provider": "openai", whole: 3}, {"provider": "openai", "model": busy, one: 1}]);
        let client = client(&mock, &json!({ "limits": limits }));
        let asking = ChatCompletionRequest::new(format!("openai/{busy}"), ["Hi"]);
        let _first = client.chat_stream(&asking).await.expect("a stream");
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let (client, asking) = (client.clone(), asking.clone());
                tokio::spawn(async move { client.chat_stream(&asking).await })
            })
            .collect();
        tokio::task::yield_now().await;
        for _ in 0..2 {
            let other = tokio::time::timeout(SOON, client.chat(request("text=two"))).await.expect("it does not wait");
            assert_eq!(other.expect("an answer").text(), "two");
        }
        assert_eq!(mock.log(&*id).len(), 1, "the others of that model wait");
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn a_limit_may_be_as_large_as_a_number_can_be() {
    let mock = mock().await;
    let limit =
        json!({"provider": "openai", "concurrency": u64::MAX, "requests_per_minute": u64::MAX, "tokens_per_minute": u64::MAX});
    let client = client(&mock, &json!({ "limits": [limit] }));
    for _ in 0..2 {
        let asking = ChatCompletionRequest { max_tokens: Some(u64::MAX / 2), ..request("text=one") };
        assert_eq!(client.chat(asking).await.expect("an answer").text(), "one");
    }
}

fn keys(mock: &Mock, id: &str) -> Vec<String> {
    let key = |headers: &[(String, String)]| {
        let value = headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.clone()).unwrap_or_default();
        value[value.len().saturating_sub(4)..].to_owned()
    };
    mock.log(id).iter().map(|seen| key(&seen.headers)).collect()
}

#[tokio::test]
async fn keys_take_turns_and_a_refused_one_rests() {
    let mock = mock().await;
    let pool = json!({"key_pools": {"openai": ["key-of-one-1111", "key-of-two-2222", "key-of-three-3333"]}});
    let asking = client(&mock, &pool);
    for _ in 0..4 {
        asking.chat(request("text=one&id=turns")).await.expect("an answer");
    }
    assert_eq!(keys(&mock, "turns"), ["1111", "2222", "3333", "1111"]);
    let asking = client(&mock, &pool);
    for _ in 0..3 {
        streamed(&asking, &request("text=one&id=refused&expect_key=key-of-two-2222")).await.expect("the good key serves");
    }
    assert_eq!(keys(&mock, "refused"), ["1111", "2222", "3333", "2222", "2222"]);
}

#[tokio::test]
async fn a_limited_key_rests_and_when_all_are_the_call_fails() {
    let mock = mock().await;
    let asking = client(&mock, &json!({"key_pools": {"openai": ["key-of-one-1111", "key-of-two-2222"]}}));
    streamed(&asking, &request("text=one&status=429&retry_after=30&fail_times=1&id=once")).await.expect("the other key serves");
    assert_eq!(keys(&mock, "once"), ["1111", "2222"]);
    asking.chat(request("text=one&id=after")).await.expect("an answer");
    assert_eq!(keys(&mock, "after"), ["2222"]);
    let asking = client(&mock, &json!({"key_pools": {"openai": ["key-of-one-1111", "key-of-two-2222"]}}));
    let error = asking.chat(request("status=429&id=all")).await.expect_err("both are limited");
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(keys(&mock, "all"), ["1111", "2222"]);
    assert!(!format!("{asking:?} {error}").contains("key-of"));
}

const HEDGED: f64 = 0.05;

#[tokio::test]
async fn a_second_route_is_asked_when_the_first_token_is_late_and_the_loser_is_left() {
    let mock = mock().await;
    let asking = client(&mock, &json!({"hedge_after": HEDGED}));
    // Late headers, and headers without a token.
    for (at, late) in ["headers_after=60000", "ttft=60000", "stall=1"].into_iter().enumerate() {
        let id = format!("late-{at}");
        let models = [&*format!("openai/slow?text=slow&{late}&id={id}"), "groq/spare?text=spare", "groq/third?id=third"];
        let answer = streamed(&asking, &list(&models)).await.expect("an answer");
        assert_eq!(answer.text(), "spare", "{late}");
        mock.wait(&*id, Event::Left, SOON).await.expect("the mock sees the loser's socket close");
        let attempts = answer.literllm.expect("its meta").attempts;
        let told: Vec<_> = attempts.iter().map(|one| (one.provider.as_str(), one.error.as_deref())).collect();
        assert_eq!(told, [("openai", Some("cancelled")), ("groq", None)]);
    }
    assert!(mock.log("third").is_empty());
}

#[tokio::test]
async fn the_losers_cost_is_reported() {
    let mock = mock().await;
    let asking = client(&mock, &json!({"hedge_after": HEDGED}));
    // Anthropic counts the prompt before it says anything.
    let models = ["anthropic/claude-haiku-4-5", "openai/spare?text=spare&withhold=0&id=spare"];
    let reader = tokio::spawn(async move { streamed(&asking, &list(&models)).await });
    mock.wait("early", Event::Chunks(1), SOON).await.expect("the prompt is counted");
    mock.release("spare", u64::from(u32::MAX));
    let answer = reader.await.expect("no panic").expect("an answer");
    assert_eq!(answer.text(), "spare");
    mock.wait("early", Event::Left, SOON).await.expect("the mock sees the loser's socket close");
    let attempts = answer.literllm.expect("its meta").attempts;
    assert_eq!(attempts[0].usage.as_ref().map(|usage| usage.prompt_tokens), Some(1000));
    assert!(attempts[0].cost.is_some_and(|cost| cost >= 0.001), "{attempts:?}");
}

#[tokio::test]
async fn the_first_route_wins_when_it_speaks_first_after_all() {
    let mock = mock().await;
    let asking = client(&mock, &json!({"hedge_after": HEDGED}));
    let models = ["openai/slow?text=slow&withhold=0&id=slow", "groq/slower?text=slower&headers_after=60000&id=slower"];
    let reader = tokio::spawn(async move { streamed(&asking, &list(&models)).await });
    mock.wait("slower", Event::Request, SOON).await.expect("the second route is asked");
    mock.release("slow", u64::from(u32::MAX));
    let answer = reader.await.expect("no panic").expect("an answer");
    assert_eq!(answer.text(), "slow");
    mock.wait("slower", Event::Left, SOON).await.expect("the mock sees the loser's socket close");
    let attempts = answer.literllm.expect("its meta").attempts;
    let told: Vec<_> = attempts.iter().map(|one| (one.provider.as_str(), one.error.as_deref())).collect();
    assert_eq!(told, [("openai", None), ("groq", Some("cancelled"))]);
}

#[tokio::test]
async fn a_route_that_fails_in_the_race_leaves_it_to_the_other() {
    let mock = mock().await;
    let asking = client(&mock, &json!({"hedge_after": HEDGED}));
    let models = ["openai/slow?text=slow&withhold=0&id=survivor", "groq/broken?status=500&id=broken"];
    let reader = tokio::spawn({
        let asking = asking.clone();
        async move { streamed(&asking, &list(&models)).await }
    });
    mock.wait("broken", Event::Done, SOON).await.expect("the second route is asked, and fails");
    mock.release("survivor", u64::from(u32::MAX));
    let answer = reader.await.expect("no panic").expect("an answer");
    assert_eq!(answer.text(), "slow");
    let attempts = answer.literllm.expect("its meta").attempts;
    let told: Vec<_> = attempts.iter().map(|one| (one.provider.as_str(), one.error.as_deref())).collect();
    assert_eq!(told, [("openai", None), ("groq", Some("server"))]);
    let models = ["openai/slow?status=503&headers_after=300", "groq/broken?status=500"];
    let error = streamed(&asking, &list(&models)).await.expect_err("both fail");
    assert_eq!(error.kind(), ErrorKind::AllFailed);
    assert_eq!(error.causes().len(), 2);
}

#[tokio::test]
async fn the_loser_of_a_race_may_still_go_on_for_the_winner() {
    let mock = mock().await;
    let asking = client(&mock, &json!({"hedge_after": HEDGED}));
    let models = [
        "openai/slow?text=one two three&headers_after=60000&fail_times=1&continue=1&id=back",
        "groq/cut?text=one two three&cut=3",
    ];
    assert_eq!(streamed(&asking, &list(&models)).await.expect("an answer").text(), "one two three");
    assert_eq!(mock.log("back").len(), 2);
}

#[tokio::test]
async fn nothing_is_hedged_without_need() {
    let mock = mock().await;
    let asking = client(&mock, &json!({"hedge_after": 30}));
    let began = Instant::now();
    let models = ["openai/quick?text=quick", "groq/spare?id=unneeded"];
    assert_eq!(streamed(&asking, &list(&models)).await.expect("an answer").text(), "quick");
    // One that fails is followed at once.
    let models = ["openai/broken?status=500", "groq/next?text=next"];
    assert_eq!(streamed(&asking, &list(&models)).await.expect("an answer").text(), "next");
    assert!(began.elapsed() < Duration::from_secs(20), "it waited to hedge");
    assert!(mock.log("unneeded").is_empty());
    let asking = client(&mock, &json!({"hedge_after": 0.001}));
    for alone in [list(&["openai/alone?text=one&ttft=100&id=alone"]), request("text=one&ttft=100&id=alone")] {
        assert_eq!(streamed(&asking, &alone).await.expect("an answer").text(), "one");
    }
    assert_eq!(mock.log("alone").len(), 2);
}

#[tokio::test]
async fn weights_choose_who_is_asked_first_and_a_sticky_key_always_the_same() {
    let mock = mock().await;
    let client = client(&mock, &json!({}));
    let models = ["openai/a?text=a&id=a", "openai/b?text=b&id=b", "openai/c?text=c&id=c"];
    let ask = async |options: Value| {
        let options = RequestOptions::from_json(&options.to_string()).expect("options");
        client.chat_with(list(&models), &options).await.expect("an answer").text().to_owned()
    };
    for _ in 0..10 {
        assert_eq!(ask(json!({"model_weights": [0, 1, 0]})).await, "b");
    }
    assert_eq!((mock.log("a").len(), mock.log("b").len(), mock.log("c").len()), (0, 10, 0));
    let mut firsts = BTreeSet::new();
    for user in 0..12 {
        let options = json!({"model_weights": [1, 1, 1], "sticky_key": format!("user-{user}")});
        let first = ask(options.clone()).await;
        for _ in 0..3 {
            assert_eq!(ask(options.clone()).await, first, "user {user}");
        }
        firsts.insert(first);
    }
    assert_eq!(firsts.len(), 3, "every route has its users");
    // Without weights the order is the list's.
    mock.reset();
    assert_eq!(ask(json!({"sticky_key": "user-1"})).await, "a");
}
