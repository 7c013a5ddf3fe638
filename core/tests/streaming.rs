//! What a stream promises, over real sockets: live, bounded, closed when it is left, kept to its deadlines.

use std::time::{Duration, Instant};

use literllm::{ChatCompletionRequest, Client, ClientConfig, ErrorKind, StreamHandle};
use literllm_mock::{Event, Mock, Options, Outcome};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
/// A hundred milliseconds are promised; a noisy machine has ten times that.
const AT_ONCE: Duration = Duration::from_secs(1);

fn client(mock: &Mock, behaviour: &str) -> Client {
    client_with(mock, behaviour, &json!({}))
}

fn client_with(mock: &Mock, behaviour: &str, more: &Value) -> Client {
    let mut config = json!({
        "api_key": "test-key-1234",
        "base_url": format!("{}/v1", mock.url()),
        "headers": {"x-mock": behaviour},
        "max_retries": 0,
    });
    for (name, value) in more.as_object().expect("an object") {
        config[name] = value.clone();
    }
    Client::new(ClientConfig::from_json(&config.to_string()).expect("a configuration")).expect("a client")
}

fn story() -> ChatCompletionRequest {
    ChatCompletionRequest::new("openai/demo", ["Tell me a story"])
}

async fn mock() -> Mock {
    Mock::start(Options::default()).await.expect("a mock")
}

#[tokio::test]
async fn each_chunk_is_there_before_the_next_is_sent() {
    let mock = mock().await;
    let client = client(&mock, "id=live; text=one two three four; withhold=1");
    let mut stream = client.chat_stream(story()).await.expect("the role chunk is there");
    let mut text = String::new();
    let role = stream.next().await.expect("a chunk").expect("the role chunk");
    assert_eq!(role.choices[0].delta.role.as_deref(), Some("assistant"));
    for word in ["one", " two", " three", " four"] {
        mock.release("live", 1);
        let chunk = tokio::time::timeout(SOON, stream.next()).await.expect("it waits for no further chunk").unwrap().unwrap();
        assert_eq!(chunk.choices[0].delta.content.as_deref(), Some(word));
        text.push_str(word);
    }
    mock.release("live", u64::from(u32::MAX));
    let finish = stream.next().await.expect("the finish chunk").expect("a chunk");
    assert_eq!(finish.choices[0].finish_reason.as_deref(), Some("stop"));
    assert!(stream.next().await.is_none());
    assert_eq!(stream.completion().text(), text);
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let mock = mock().await;
    let client = client(&mock, "id=dropped; text=one two three; stall=2");
    let mut stream = client.chat_stream(story()).await.expect("a stream");
    stream.next().await.expect("a chunk").expect("the role chunk");
    let left = Instant::now();
    drop(stream);
    mock.wait("dropped", Event::Left, SOON).await.expect("the mock sees it leave");
    assert!(left.elapsed() < AT_ONCE, "{:?}", left.elapsed());
}

#[tokio::test]
async fn dropping_the_call_before_an_answer_closes_the_connection() {
    let mock = mock().await;
    let client = client(&mock, "id=early; headers_after=60000");
    let call = tokio::spawn(async move { client.chat_stream(story()).await });
    mock.wait("early", Event::Request, SOON).await.expect("the request arrives");
    call.abort();
    mock.wait("early", Event::Left, SOON).await.expect("the mock sees it leave");
}

#[tokio::test]
async fn another_thread_cancels_a_stream_that_is_waited_for() {
    let mock = mock().await;
    let client = client(&mock, "id=handle; text=one two three; stall=3");
    let handle = StreamHandle::from(client.chat_stream(story()).await.expect("a stream"));
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
    mock.wait("handle", Event::Chunks(3), SOON).await.expect("the chunks are sent");
    handle.cancel();
    let error = reader.await.expect("the reader ends");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.partial().is_some());
    assert!(handle.next_batch().await.is_none(), "nothing follows");
    mock.wait("handle", Event::Left, SOON).await.expect("the mock sees it leave");
}

#[tokio::test]
async fn a_consumer_that_stops_reading_stops_the_socket() {
    const WHOLE: u64 = 400_000 * 287;
    let mock = Mock::start(Options { send_buffer: Some(64 * 1024), ..Options::default() }).await.expect("a mock");
    let client = client(&mock, "id=slow; chunks=400000; bytes=287");
    let mut stream = client.chat_stream(story()).await.expect("a stream");
    stream.next().await.expect("a chunk").expect("the role chunk");
    // The sender has stopped once it sends nothing for as long as it would need for the rest.
    let mut sent = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = mock.log("slow")[0].bytes;
        if now == sent {
            break;
        }
        sent = now;
    }
    assert!(sent < WHOLE / 8, "{sent} of {WHOLE} bytes were sent to nobody");
    let mut chunks = 1;
    while let Some(batch) = stream.next_batch().await {
        chunks += batch.expect("it goes on").len();
    }
    assert!(chunks >= 400_000, "{chunks}");
}

#[tokio::test]
async fn a_stream_cut_at_any_byte_is_truncated_before_its_proof_and_whole_after() {
    let mock = mock().await;
    let whole = client(&mock, "id=whole; text=one two; usage=3,2").chat_stream(story()).await.expect("a stream").finish().await;
    assert_eq!(whole.expect("an answer").text(), "one two");
    mock.wait("whole", Event::Done, SOON).await.expect("the mock is done");
    let length = mock.log("whole")[0].bytes;
    let mut first_whole = None;
    for at in 0..length {
        let client = client(&mock, &format!("text=one two; usage=3,2; cut_bytes={at}"));
        let mut text = String::new();
        let end = match client.chat_stream(story()).await {
            Err(error) => Some(error),
            Ok(mut stream) => loop {
                match stream.next().await {
                    Some(Ok(chunk)) => {
                        text.extend(chunk.choices.iter().filter_map(|choice| choice.delta.content.as_deref()));
                    }
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            },
        };
        assert!("one two".starts_with(&text), "at {at}: {text:?}");
        match end {
            None => {
                assert_eq!(text, "one two", "at {at}");
                first_whole.get_or_insert(at);
            }
            Some(error) => {
                assert!(first_whole.is_none(), "whole at {first_whole:?}, but not at {at}");
                assert!(matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Network), "at {at}: {error}");
            }
        }
    }
    assert!(first_whole.is_some_and(|at| at < length - 8), "the finish reason is proof, before [DONE]");
}

#[tokio::test]
async fn the_clocks_stand_still_while_nobody_reads() {
    let mock = mock().await;
    let client =
        client_with(&mock, "id=away; text=one two three; withhold=2", &json!({"idle_timeout": 0.4, "first_token_timeout": 0.4}));
    let mut stream = client.chat_stream(story()).await.expect("a stream");
    stream.next().await.expect("a chunk").expect("the role chunk");
    stream.next().await.expect("a chunk").expect("the first word");
    // Read a little, so that the clock has begun, and stay away for longer than it allows.
    assert!(tokio::time::timeout(Duration::from_millis(50), stream.next()).await.is_err(), "nothing was released");
    tokio::time::sleep(Duration::from_millis(900)).await;
    mock.release("away", 100);
    let rest = stream.finish().await.expect("the answer goes on");
    assert_eq!(rest.text(), "one two three");
}

#[tokio::test]
async fn two_streams_in_turn_use_one_connection() {
    let mock = mock().await;
    let client = client(&mock, "text=one");
    for _ in 0..3 {
        client.chat_stream(story()).await.expect("a stream").finish().await.expect("an answer");
    }
    let connections: Vec<u64> = mock.log(None).iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [1, 1, 1]);
}

#[tokio::test]
async fn calls_on_one_client_run_beside_each_other() {
    let mock = mock().await;
    let client = client(&mock, "text=one two; ttft=300");
    let started = Instant::now();
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.chat_stream(story()).await.expect("a stream").finish().await })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect("an answer");
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(mock.stats().streams_peak, 32);
}

#[tokio::test]
async fn headers_and_request_id_are_there_on_streams_answers_and_errors() {
    let mock = mock().await;
    let ask = client(&mock, "request_id=req_42; text=one");
    let stream = ask.chat_stream(story()).await.expect("a stream");
    assert_eq!(stream.request_id(), Some("req_42"));
    assert!(stream.headers().contains_key("content-type"));
    let answer = ask.chat(story()).await.expect("an answer");
    assert_eq!(answer.literllm.expect("its meta").request_id.as_deref(), Some("req_42"));
    let error = client(&mock, "request_id=req_42; status=500").chat(story()).await.expect_err("an error");
    assert_eq!(error.request_id(), Some("req_42"));
    assert!(error.to_string().contains("req_42") && error.to_string().contains("openai/demo"), "{error}");
    assert!(error.headers().is_some_and(|headers| headers.contains_key("content-type")));
}

#[tokio::test]
async fn a_whole_answer_means_the_same_as_its_stream() {
    let mock = mock().await;
    let client = client(&mock, "reasoning=hm; text=one two; tool=f:{\"x\":1}; usage=5,4,2,1; id=same");
    let mut whole = client.chat(story()).await.expect("an answer");
    let mut streamed = client.chat_stream(story()).await.expect("a stream").finish().await.expect("an answer");
    for answer in [&mut whole, &mut streamed] {
        answer.literllm = None;
        answer.id = "same".into();
        for call in answer.choices.iter_mut().flat_map(|choice| &mut choice.message.tool_calls) {
            call.id = "same".to_owned();
        }
    }
    assert_eq!(whole, streamed);
    assert_eq!(whole.usage.expect("counts").total_tokens, 9);
}

#[tokio::test]
async fn deadlines_may_be_as_long_as_one_likes() {
    let mock = mock().await;
    let ages = json!({"connect_timeout": 1e19, "first_token_timeout": 1e19, "idle_timeout": 1e19, "timeout": 1e19});
    let client = client_with(&mock, "text=one", &ages);
    assert_eq!(client.chat(story()).await.expect("an answer").text(), "one");
}

#[tokio::test]
async fn the_total_deadline_bounds_retries_too() {
    let mock = mock().await;
    let client = client_with(&mock, "status=503", &json!({"max_retries": 50, "retry_base_delay": 0.1, "timeout": 0.5}));
    let started = Instant::now();
    let error = client.chat_stream(story()).await.expect_err("it never succeeds");
    // The deadline passes between attempts, or inside the last one.
    assert!(matches!(error.kind(), ErrorKind::Overloaded | ErrorKind::Timeout), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_providers_wish_for_a_wait_is_kept() {
    let mock = mock().await;
    let client =
        client_with(&mock, "id=wait; status=429; retry_after_ms=400; fail_times=1; text=one", &json!({"max_retries": 1}));
    let started = Instant::now();
    client.chat(story()).await.expect("the second try succeeds");
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
    assert_eq!(mock.log("wait").len(), 2);
}

#[tokio::test]
async fn an_error_without_hope_is_not_tried_again() {
    let mock = mock().await;
    let client = client_with(&mock, "id=hopeless; status=401", &json!({"max_retries": 5}));
    client.chat(story()).await.expect_err("no key helps");
    assert_eq!(mock.log("hopeless").len(), 1);
}

#[tokio::test]
async fn unknown_fields_go_there_and_come_back() {
    let mock = mock().await;
    let client = client(&mock, "id=unknown; text=one");
    let request: ChatCompletionRequest = serde_json::from_value(json!({
        "model": "openai/demo",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "mark": 1}, {"type": "new_kind", "x": 2}], "flavour": "mild"}],
        "tools": [{"type": "custom", "custom": {"name": "c"}}],
        "chat_template_kwargs": {"thinking": true},
        "stream_options": {"include_obfuscation": false},
        "seed": 7,
    }))
    .expect("a request");
    client.chat_stream(&request).await.expect("a stream").finish().await.expect("an answer");
    let body: Value = serde_json::from_str(mock.log("unknown")[0].body.get()).expect("the body");
    assert_eq!(body["chat_template_kwargs"], json!({"thinking": true}));
    assert_eq!(body["messages"][0]["content"][1], json!({"type": "new_kind", "x": 2}));
    assert_eq!(body["messages"][0]["content"][0]["mark"], 1);
    assert_eq!(body["messages"][0]["flavour"], "mild");
    assert_eq!(body["tools"][0]["custom"]["name"], "c");
    assert_eq!(body["stream_options"], json!({"include_obfuscation": false, "include_usage": true}));
    assert_eq!(body["model"], "demo");
}

#[tokio::test]
async fn a_prompt_of_ten_megabytes_and_odd_characters_arrives_whole() {
    let mock = mock().await;
    let client = client(&mock, "id=large; text=one");
    let prompt = format!("\u{0}\u{1}\u{2028}😀{}", "x".repeat(10 << 20));
    client.chat(ChatCompletionRequest::new("openai/demo", [prompt.as_str()])).await.expect("an answer");
    let body: Value = serde_json::from_str(mock.log("large")[0].body.get()).expect("the body");
    assert!(body["messages"][0]["content"] == prompt.as_str());
}

#[tokio::test]
async fn a_thousand_streams_at_once_all_complete() {
    let mock = mock().await;
    let client = client(&mock, "chunks=20; bytes=200; pace=5");
    let calls: Vec<_> = (0..1000)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut stream = client.chat_stream(story()).await.expect("a stream");
                if number % 10 == 0 {
                    // Some leave early; the others do not notice.
                    stream.next().await.expect("a chunk").expect("the role chunk");
                    return true;
                }
                stream.finish().await.is_ok()
            })
        })
        .collect();
    for call in calls {
        assert!(call.await.expect("no panic"));
    }
    assert!(mock.log(None).iter().all(|seen| seen.outcome != Outcome::Cut));
}
