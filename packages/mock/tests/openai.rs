//! The OpenAI dialect and every key of the table, over real sockets.

mod client;

use std::io::Read;
use std::time::{Duration, Instant};

use client::{client, received};
use futures_util::StreamExt;
use literllm_mock::{Event, Mock, Options, Outcome, Protocol};
use reqwest::{Client, Response};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

fn body() -> Value {
    json!({"model": "demo", "stream": true, "messages": [{"role": "user", "content": "Tell me a story"}]})
}

async fn mock() -> Mock {
    Mock::start(Options::default()).await.expect("loopback has a free port")
}

async fn ask_with(mock: &Mock, behaviour: &str, body: &Value) -> Response {
    let request = client().post(format!("{}/v1/chat/completions", mock.url())).header("x-mock", behaviour);
    request.body(body.to_string()).send().await.expect("the mock answers")
}

async fn ask(mock: &Mock, behaviour: &str) -> Response {
    ask_with(mock, behaviour, &body()).await
}

/// The JSON payloads of an SSE text, `[DONE]` left out.
fn payloads(text: &str) -> Vec<Value> {
    text.split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).expect("every chunk is JSON"))
        .collect()
}

fn text_of(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn a_plain_prompt_streams_the_normal_form() {
    let mock = mock().await;
    let response = ask(&mock, "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(response.headers()["x-request-id"], "req_mock_1");
    let (text, broken) = received(response).await;
    assert!(!broken && text.ends_with("data: [DONE]\n\n"));
    let chunks = payloads(&text);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks.last().expect("there are chunks")["choices"][0]["finish_reason"], "stop");
    assert!(chunks.iter().all(|chunk| chunk["model"] == "demo" && chunk.get("usage").is_none()));
    assert!((200..600).contains(&text_of(&chunks).len()));
    let again = received(ask(&mock, "").await).await.0;
    assert_eq!(text, again, "the same request gets the same bytes");
}

#[tokio::test]
async fn usage_comes_when_asked_for_and_several_choices_are_told_apart() {
    let mock = mock().await;
    let mut body = body();
    body["stream_options"] = json!({"include_usage": true});
    body["n"] = json!(2);
    let chunks = payloads(&received(ask_with(&mock, "text=one two; usage=7,5,3,2", &body).await).await.0);
    let usage = &chunks.last().expect("there are chunks")["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(7), &json!(5), &json!(12))
    );
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 3);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 2);
    assert!(chunks[0]["usage"].is_null());
    let order: Vec<_> = chunks.iter().filter_map(|chunk| chunk["choices"][0]["index"].as_u64()).collect();
    assert_eq!(order, [0, 1, 0, 1, 0, 1, 0, 1]);
}

#[tokio::test]
async fn all_three_spellings_are_heard_and_the_model_is_echoed_without_its_tail() {
    let mock = mock().await;
    let mut body = body();
    body["model"] = json!("some/model?text=from%20the%20model");
    let chunks = payloads(&received(ask_with(&mock, "", &body).await).await.0);
    assert_eq!((text_of(&chunks).as_str(), &chunks[0]["model"]), ("from the model", &json!("some/model")));

    let url = format!("{}/mock/text=from%20the%20path,id=p/openai/v1/chat/completions", mock.url());
    let response = client().post(url).body(self::body().to_string()).send().await.expect("the mock answers");
    assert_eq!(text_of(&payloads(&received(response).await.0)), "from the path");
    assert_eq!(mock.log("p")[0].path, "/openai/v1/chat/completions");
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_is_one_json_object() {
    let mock = mock().await;
    let mut body = body();
    body["stream"] = json!(false);
    let response = ask_with(&mock, r#"tool=look:{"a":[1,2]}; reasoning=hmm; citations=1"#, &body).await;
    assert!(response.content_length().is_some());
    let answer: Value = serde_json::from_str(&received(response).await.0).expect("the answer is JSON");
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], r#"{"a":[1,2]}"#);
    assert_eq!((&message["reasoning_content"], &message["content"]), (&json!("hmm"), &Value::Null));
    assert_eq!(message["annotations"][0]["type"], "url_citation");
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(mock.log(None)[0].outcome, Outcome::Done);
}

#[tokio::test]
async fn texts_have_the_asked_length() {
    let mock = mock().await;
    let text = |behaviour| {
        let mock = &mock;
        async move { text_of(&payloads(&received(ask(mock, behaviour).await).await.0)) }
    };
    assert_eq!(text("chars=1000").await.chars().count(), 1000);
    assert_eq!(text("words=77").await.split_whitespace().count(), 77);
    let (whole, _) = received(ask(&mock, "chunks=2000; bytes=287").await).await;
    let events: Vec<&str> = whole.split_inclusive("\n\n").collect();
    assert_eq!(events.len(), 2003, "role, 2000 texts, finish, [DONE]");
    assert!(events[1..2001].iter().all(|event| event.len() == 287));
    assert!(events[1..2001].iter().enumerate().all(|(nth, event)| event.contains(&format!("\" {nth} "))));
}

#[tokio::test]
async fn reasoning_refusals_and_tool_calls_come_in_pieces_or_whole() {
    let mock = mock().await;
    let (text, _) =
        received(ask(&mock, r#"reasoning=let me see; refusal=no thanks; tool=a:{"city":"Paris"}; tool=b:{}"#).await).await;
    let chunks = payloads(&text);
    let deltas =
        |field: &str| -> String { chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][field].as_str()).collect() };
    assert_eq!((deltas("reasoning_content").as_str(), deltas("refusal").as_str()), ("let me see", "no thanks"));
    let calls: Vec<&Value> =
        chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).filter(|call| call.is_object()).collect();
    assert_eq!(
        (&calls[0]["index"], &calls[0]["function"]["name"], &calls[0]["function"]["arguments"]),
        (&json!(0), &json!("a"), &json!(""))
    );
    let arguments: String =
        calls.iter().filter(|call| call["index"] == 0).filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(arguments, r#"{"city":"Paris"}"#);
    assert!(calls.iter().filter(|call| call["index"] == 0).count() > 2);
    assert!(calls.iter().any(|call| call["index"] == 1 && call["function"]["name"] == "b"));

    let whole = payloads(&received(ask(&mock, r#"tool=a:{"city":"Paris"}; tool_whole=1"#).await).await.0);
    let whole: Vec<&Value> =
        whole.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).filter(|call| call.is_object()).collect();
    assert_eq!((whole.len(), &whole[0]["function"]["arguments"]), (1, &json!(r#"{"city":"Paris"}"#)));
}

#[tokio::test]
async fn finish_and_done_can_be_changed_or_left_out() {
    let mock = mock().await;
    assert!(received(ask(&mock, "finish=length").await).await.0.contains(r#""finish_reason":"length""#));
    let (text, _) = received(ask(&mock, "no_done=1; no_finish=1").await).await;
    assert!(!text.contains("[DONE]") && !text.contains(r#""finish_reason":""#));
}

#[tokio::test]
async fn cuts_break_the_connection_after_exactly_what_was_asked() {
    let mock = mock().await;
    for (behaviour, events) in [("cut=0", 0), ("cut=3", 3), ("cut=3; split=5", 3), ("cut=3; pace=1", 3), ("cut=3; gzip=0", 3)] {
        let (text, broken) = received(ask(&mock, behaviour).await).await;
        assert_eq!((text.matches("\n\n").count(), broken), (events, true), "{behaviour}");
    }
    for behaviour in ["cut_bytes=100", "cut_bytes=100; split=7"] {
        let (text, broken) = received(ask(&mock, behaviour).await).await;
        assert_eq!((text.len(), broken), (100, true), "{behaviour}");
    }
    let (text, broken) = received(ask(&mock, "chunks=5000; bytes=287; cut=5001").await).await;
    assert_eq!((text.matches("\n\n").count(), broken), (5001, true));
    let (_, broken) = received(ask(&mock, "cut=2; reset=1").await).await;
    assert!(broken);
    assert!(mock.log(None).iter().all(|seen| seen.outcome == Outcome::Cut && seen.left_ms.is_none()));
}

#[tokio::test]
async fn ends_close_cleanly_without_proof() {
    let mock = mock().await;
    let (text, broken) = received(ask(&mock, "end=4").await).await;
    assert_eq!((text.matches("\n\n").count(), broken), (4, false));
    let (text, broken) = received(ask(&mock, "end_bytes=150").await).await;
    assert_eq!((text.len(), broken), (150, false));
    let (text, broken) = received(ask(&mock, "end_bytes=0").await).await;
    assert_eq!((text.len(), broken), (0, false));
}

#[tokio::test]
async fn statuses_carry_openais_error_and_the_retry_headers() {
    let mock = mock().await;
    let behaviour = "status=429; error_code=slow_down; error_message=Easy now; error_type=tokens; retry_after=Wed, 21 Oct 2026 07:28:00 GMT; retry_after_ms=12; request_id=abc";
    let response = ask(&mock, behaviour).await;
    assert_eq!((response.status().as_u16(), response.headers()["x-request-id"].as_bytes()), (429, &b"abc"[..]));
    assert_eq!(response.headers()["retry-after"], "Wed, 21 Oct 2026 07:28:00 GMT");
    assert_eq!(response.headers()["retry-after-ms"], "12");
    let error: Value = serde_json::from_str(&received(response).await.0).expect("the error is JSON");
    assert_eq!(error["error"], json!({"message": "Easy now", "type": "tokens", "param": null, "code": "slow_down"}));
}

#[tokio::test]
async fn bad_requests_are_told_so() {
    let mock = mock().await;
    let url = format!("{}/v1/chat/completions", mock.url());
    for text in ["{", "[]", "{}", r#"{"model":"m"}"#, r#"{"messages":[]}"#] {
        let response = client().post(&url).body(text).send().await.expect("the mock answers");
        assert_eq!(response.status(), 400, "{text}");
        assert!(received(response).await.0.contains(r#""type":"invalid_request_error""#));
    }
    assert_eq!(ask(&mock, "cutt=3").await.status(), 400);
    assert_eq!(client().get(format!("{}/nowhere", mock.url())).send().await.expect("the mock answers").status(), 404);
    let models = client().get(format!("{}/v1/models", mock.url())).send().await.expect("the mock answers");
    assert!(received(models).await.0.contains(r#""object":"list""#));
    assert!(mock.log(None).len() >= 7, "refused requests are in the log");
}

#[tokio::test]
async fn faults_with_fail_times_pass() {
    let mock = mock().await;
    for status in [503, 503, 200, 200] {
        assert_eq!(ask(&mock, "id=r; status=503; fail_times=2").await.status(), status);
    }
    assert!(received(ask(&mock, "id=s; cut=2; fail_times=1").await).await.1);
    assert!(!received(ask(&mock, "id=s; cut=2; fail_times=1").await).await.1);
    assert_eq!(mock.log("r").len(), 4);
}

#[tokio::test]
async fn errors_inside_the_stream_take_every_known_shape() {
    let mock = mock().await;
    for (shape, sign) in [
        ("openai", "\n\ndata: {\"error\":{"),
        ("event", "\n\nevent: error\ndata: {\"error\":"),
        ("field", "\n\nerror: {\"error\":"),
        ("bare", "\n\n{\n  \"error\": {"),
        ("plain", "\n\ndata: Oh no\n\n"),
        ("object", "\"object\":\"error\""),
        ("choice", "\"finish_reason\":\"error\""),
    ] {
        let (text, broken) =
            received(ask(&mock, &format!("error_at=3; error_code=c; error_message=Oh no; error_shape={shape}")).await).await;
        assert!(!broken && text.contains(sign), "{shape}: {text}");
        assert!(!text.contains("[DONE]"));
    }
}

#[tokio::test]
async fn a_malformed_chunk_is_the_nth_and_the_only_one() {
    let mock = mock().await;
    let (text, _) = received(ask(&mock, "malformed=3").await).await;
    let bad: Vec<usize> = text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
        .enumerate()
        .filter(|(_, data)| serde_json::from_str::<Value>(data).is_err())
        .map(|(at, _)| at + 1)
        .collect();
    assert_eq!(bad, [3]);
    assert!(text.ends_with("[DONE]\n\n"));
}

#[tokio::test]
async fn what_is_no_stream_at_all() {
    let mock = mock().await;
    let html = ask(&mock, "html=1").await;
    assert_eq!((html.status().as_u16(), html.headers()["content-type"].as_bytes()), (200, &b"text/html; charset=utf-8"[..]));
    assert_eq!(received(ask(&mock, "empty=1").await).await, (String::new(), false));
    let json = ask(&mock, "json_error=1").await;
    assert_eq!((json.status().as_u16(), json.headers()["content-type"].as_bytes()), (200, &b"application/json"[..]));
    let redirect = ask(&mock, "redirect=http%3A%2F%2F127.0.0.1%3A1%2Fx").await;
    assert_eq!((redirect.status().as_u16(), redirect.headers()["location"].as_bytes()), (307, &b"http://127.0.0.1:1/x"[..]));
    let request = client().post(format!("{}/v1/chat/completions", mock.url())).header("x-mock", "hangup=1");
    assert!(request.body(body().to_string()).send().await.is_err());
}

#[tokio::test]
async fn gzip_and_crlf_change_the_bytes_and_not_the_answer() {
    let mock = mock().await;
    let plain = received(ask(&mock, "").await).await.0;
    let crlf = received(ask(&mock, "crlf=1").await).await.0;
    assert_eq!(crlf, plain.replace('\n', "\r\n"));
    let client = Client::builder().no_proxy().no_gzip().build().expect("the options are sound");
    let request = client.post(format!("{}/v1/chat/completions", mock.url())).header("x-mock", "gzip=1; split=9");
    let response = request.header("accept-encoding", "gzip").body(body().to_string()).send().await.expect("the mock answers");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.bytes().await.expect("the body is whole");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("the body is gzip");
    assert_eq!(text, plain);
}

#[tokio::test]
async fn keys_are_checked_and_only_their_ends_are_logged() {
    let mock = mock().await;
    let request = |name: &'static str, value: &'static str| {
        let request = client().post(format!("{}/v1/chat/completions", mock.url())).header("x-mock", "expect_key=sk-secret-1234");
        request.header(name, value).body(body().to_string()).send()
    };
    assert_eq!(request("authorization", "Bearer sk-secret-1234").await.expect("the mock answers").status(), 200);
    assert_eq!(request("x-api-key", "sk-secret-1234").await.expect("the mock answers").status(), 200);
    assert_eq!(request("api-key", "sk-secret-9999").await.expect("the mock answers").status(), 401);
    let log = client().get(format!("{}/_mock/log", mock.url())).send().await.expect("the mock answers");
    let log = received(log).await.0;
    assert!(log.contains("Bearer …1234") && log.contains("…9999") && !log.contains("\"authorization\",\"Bearer sk-secret"));
}

#[tokio::test]
async fn recorded_bodies_are_served_with_faults() {
    let mock = mock().await;
    let url = format!("{}/_mock/body?name=foo", mock.url());
    let posted = client().post(url).header("content-type", "text/event-stream").body("data: 1\n\n: note\n\ndata: 2\n\n");
    assert_eq!(posted.send().await.expect("the mock answers").status(), 200);
    assert_eq!(received(ask(&mock, "replay=foo; split=1").await).await, ("data: 1\n\n: note\n\ndata: 2\n\n".to_owned(), false));
    assert_eq!(received(ask(&mock, "replay=foo; cut=2").await).await, ("data: 1\n\n: note\n\n".to_owned(), true));
    assert_eq!(ask(&mock, "replay=bar").await.status(), 404);

    let cases = std::env::temp_dir().join(format!("literllm-mock-{}", std::process::id()));
    std::fs::create_dir_all(cases.join("openai/short")).expect("the temporary folder can be written");
    std::fs::write(cases.join("openai/short/upstream.sse"), "data: [DONE]\n\n").expect("the temporary folder can be written");
    let with_cases = Mock::start(Options { cases: Some(cases.clone()), ..Options::default() }).await.expect("a port is free");
    assert_eq!(received(ask(&with_cases, "case=openai/short").await).await.0, "data: [DONE]\n\n");
    assert_eq!(ask(&with_cases, "case=../secret").await.status(), 404);
    std::fs::remove_dir_all(cases).expect("the folder was made above");
}

#[tokio::test]
async fn a_partial_answer_is_continued_echoed_or_refused() {
    let mock = mock().await;
    let mut body = body();
    body["messages"].as_array_mut().expect("it is a list").push(json!({"role": "assistant", "content": "one two"}));
    let text = |behaviour| {
        let (mock, body) = (&mock, &body);
        async move { text_of(&payloads(&received(ask_with(mock, behaviour, body).await).await.0)) }
    };
    assert_eq!(text("text=one two three; continue=1").await, " three");
    assert_eq!(text("text=one two three; continue=1; echo=3").await, "two three");
    assert_eq!(text("text=one two three").await, "one two three");
    assert_eq!(ask_with(&mock, "prefill=reject", &body).await.status(), 400);
    let mut asked = body.clone();
    asked["messages"].as_array_mut().expect("it is a list").push(json!({"role": "user", "content": "Go on exactly there."}));
    let behaviour = "text=one two three; continue=1; prefill=reject";
    assert_eq!(text_of(&payloads(&received(ask_with(&mock, behaviour, &asked).await).await.0)), " three");
}

#[tokio::test]
async fn waits_are_kept_and_pinged_through() {
    let mock = mock().await;
    let started = Instant::now();
    let response = ask(&mock, "headers_after=40").await;
    assert!(started.elapsed() >= Duration::from_millis(40));
    drop(response);
    let started = Instant::now();
    let (text, _) = received(ask(&mock, "text=a b c; ttft=60; ping=10").await).await;
    assert!(started.elapsed() >= Duration::from_millis(60));
    assert!(text.starts_with(": ping\n\n"));
    let started = Instant::now();
    received(ask(&mock, "text=a b c d; pace=10").await).await;
    assert!(started.elapsed() >= Duration::from_millis(50), "seven chunks have six gaps");
    let started = Instant::now();
    received(ask(&mock, "text=a b; pause=1:50; linger=30").await).await;
    assert!(started.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn withheld_chunks_wait_for_their_release() {
    let mock = mock().await;
    let response = ask(&mock, "id=w; text=a b c; withhold=2").await;
    let seen = mock.wait("w", Event::Chunks(2), SOON).await.expect("two chunks are free");
    assert_eq!(seen.chunks, 2);
    let mut stream = response.bytes_stream();
    let mut text = String::new();
    while text.matches("\n\n").count() < 2 {
        text += &String::from_utf8_lossy(&stream.next().await.expect("more comes").expect("nothing breaks"));
    }
    assert!(text.ends_with("\"a\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"));
    let release = client().post(format!("{}/_mock/release?id=w&n=1", mock.url())).send().await.expect("the mock answers");
    assert_eq!(release.status(), 200);
    let next = stream.next().await.expect("more comes").expect("nothing breaks");
    assert!(String::from_utf8_lossy(&next).contains("\" b\""));
    mock.release("w", u64::MAX);
    let rest: Vec<_> = stream.collect().await;
    assert!(rest.iter().all(Result::is_ok));
    assert!(mock.wait("w", Event::Done, SOON).await.expect("it is served").finished);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once_on_both_protocols() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let options = Options { tls: true, protocol, ..Options::default() };
        let mock = Mock::start(options).await.expect("loopback has a free port");
        client();
        let ca = reqwest::Certificate::from_pem(mock.ca_pem().expect("it serves TLS").as_bytes()).expect("it is PEM");
        let client = Client::builder().no_proxy().tls_certs_only([ca]).build().expect("the options are sound");
        for (id, behaviour) in [
            ("a", "stall=2"),
            ("b", "withhold=2"),
            ("c", "pace=60000"),
            ("d", "ttft=60000"),
            ("e", "chunks=100000000; bytes=287"),
            ("f", "stall=2; ping=5"),
        ] {
            let url = format!("{}/v1/chat/completions", mock.url());
            let request = client.post(url).header("x-mock", format!("id={id}; {behaviour}")).body(body().to_string());
            let response = request.send().await.expect("the mock answers");
            assert_eq!(response.version() == reqwest::Version::HTTP_2, protocol == Protocol::Http2);
            mock.wait(id, Event::Headers, SOON).await.expect("headers went out");
            let left = Instant::now();
            drop(response);
            let seen = mock.wait(id, Event::Left, SOON).await.unwrap_or_else(|| panic!("{protocol:?} {behaviour}"));
            assert!(left.elapsed() < Duration::from_millis(100), "{protocol:?} {behaviour}: {:?}", left.elapsed());
            assert!(seen.left_ms.is_some() && !seen.finished && seen.tls);
        }
        // Before the headers, too.
        let url = format!("{}/v1/chat/completions", mock.url());
        let request = client.post(url).header("x-mock", "id=g; headers_after=60000").body(body().to_string());
        let asking = tokio::spawn(request.send());
        mock.wait("g", Event::Request, SOON).await.expect("the request arrives");
        asking.abort();
        mock.wait("g", Event::Left, SOON).await.expect("the client has left");
    }
}

#[tokio::test]
async fn http2_cuts_reset_one_stream_and_no_other() {
    let mock =
        Mock::start(Options { tls: true, max_concurrent_streams: Some(10), ..Options::default() }).await.expect("a port is free");
    client();
    let ca = reqwest::Certificate::from_pem(mock.ca_pem().expect("it serves TLS").as_bytes()).expect("it is PEM");
    let client = Client::builder().no_proxy().tls_certs_only([ca]).build().expect("the options are sound");
    let ask = |behaviour: &'static str| {
        let request = client.post(format!("{}/v1/chat/completions", mock.url())).header("x-mock", behaviour);
        request.body(body().to_string()).send()
    };
    let other = ask("id=o; withhold=1").await.expect("the mock answers");
    let (text, broken) = received(ask("cut=3").await.expect("the mock answers")).await;
    assert_eq!((text.matches("\n\n").count(), broken), (3, true));
    mock.release("o", u64::MAX);
    let (text, broken) = received(other).await;
    assert!(!broken && text.ends_with("[DONE]\n\n"));
    assert_eq!(mock.stats().connections_total, 1);
    assert_eq!(mock.log("o")[0].version, "HTTP/2.0");
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_mock() {
    let mock = Mock::start(Options { send_buffer: Some(16 * 1024), ..Options::default() }).await.expect("a port is free");
    let response = ask(&mock, "id=slow; chunks=1000000; bytes=287").await;
    mock.wait("slow", Event::Bytes(100_000), SOON).await.expect("it runs ahead that far");
    // It must come to rest: no byte within two looks that are a long-poll apart.
    let mut before = 0;
    for _ in 0..200 {
        let ahead = mock.wait("slow", Event::Bytes(before + 1), Duration::from_millis(300)).await;
        let Some(seen) = ahead else { break };
        before = seen.bytes;
    }
    assert!(before < 20_000_000, "{before} bytes of 287,000,000");
    assert_eq!(mock.log("slow")[0].bytes, before);
    drop(response);
    mock.wait("slow", Event::Left, SOON).await.expect("the client has left");
}

#[tokio::test]
async fn chunks_say_when_they_were_sent() {
    let mock = Mock::start(Options::default()).await.expect("a port is free");
    let (text, _) = received(ask(&mock, "chunks=3; pace=5; stamp=1").await).await;
    let stamps: Vec<u64> = text
        .split(|character: char| !character.is_ascii_digit())
        .filter(|digits| digits.len() == 20)
        .map(|digits| digits.parse().expect("20 digits"))
        .collect();
    assert_eq!(stamps.len(), 3, "{text}");
    assert!(stamps[0] > 0 && stamps[0] < stamps[1] && stamps[1] < stamps[2], "{stamps:?}");
}

#[tokio::test]
async fn client_certificates_are_asked_for() {
    let mock = Mock::start(Options { tls: true, client_certificates: true, ..Options::default() }).await.expect("a port is free");
    client();
    let ca = reqwest::Certificate::from_pem(mock.ca_pem().expect("it serves TLS").as_bytes()).expect("it is PEM");
    let identity = reqwest::Identity::from_pem(mock.client_pem().expect("it serves TLS").as_bytes()).expect("it is PEM");
    let without = Client::builder().no_proxy().tls_certs_only([ca.clone()]).build().expect("the options are sound");
    let with = Client::builder().no_proxy().tls_certs_only([ca]).identity(identity).build().expect("the options are sound");
    for (client, status) in [(without, 401), (with, 200)] {
        let request = client.post(format!("{}/v1/chat/completions", mock.url())).body(body().to_string());
        assert_eq!(request.send().await.expect("the mock answers").status(), status);
    }
    let served = mock.log(None);
    assert!(!served[0].client_certificate && served[1].client_certificate);
}

#[test]
fn a_spawned_mock_serves_without_a_runtime_and_ends_with_its_handle() {
    let mock = Mock::spawn(Options::default()).expect("loopback has a free port");
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", mock.port())).expect("it listens");
    std::io::Write::write_all(&mut socket, b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    mock.wait_blocking(None, Event::Done, SOON).expect("it answers");
    drop(mock);
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).expect("the end is clean");
    assert!(rest.starts_with(b"HTTP/1.1 200 OK"));
}

#[test]
fn a_reset_is_a_reset_and_a_cut_is_an_early_end() {
    let mock = Mock::spawn(Options::default()).expect("loopback has a free port");
    for (behaviour, kind) in [("cut=2; reset=1", Some(std::io::ErrorKind::ConnectionReset)), ("cut=2", None)] {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", mock.port())).expect("it listens");
        let body = body().to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-mock: {behaviour}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        std::io::Write::write_all(&mut socket, request.as_bytes()).expect("it reads");
        let mut bytes = Vec::new();
        let end = socket.read_to_end(&mut bytes);
        assert_eq!(end.err().map(|error| error.kind()), kind, "{behaviour}");
        assert!(!bytes.ends_with(b"0\r\n\r\n"));
    }
}

#[tokio::test]
async fn several_requests_with_one_id_are_told_apart() {
    let mock = mock().await;
    received(ask(&mock, "id=x; text=one").await).await;
    let later = tokio::spawn({
        let (url, client) = (mock.url(), client());
        async move { client.get(format!("{url}/_mock/wait?id=x&nth=2&event=done")).send().await }
    });
    received(ask(&mock, "id=x; text=two; status=500").await).await;
    let seen = received(later.await.expect("it does not panic").expect("the mock answers")).await.0;
    assert!(seen.contains("\"status\":500"), "{seen}");
    assert_eq!(mock.wait_nth("x", 1, Event::Done, SOON).await.expect("it is done").status, Some(200));
}

#[tokio::test]
async fn control_waits_time_out_and_reset_forgets() {
    let mock = mock().await;
    let wait = client().get(format!("{}/_mock/wait?id=never&event=request&timeout_ms=20", mock.url()));
    assert_eq!(wait.send().await.expect("the mock answers").status(), 408);
    received(ask(&mock, "id=x").await).await;
    let waited = client().get(format!("{}/_mock/wait?id=x&event=done", mock.url())).send().await.expect("the mock answers");
    let seen: Value = serde_json::from_str(&received(waited).await.0).expect("the entry is JSON");
    assert_eq!((&seen["body"]["model"], &seen["outcome"], &seen["finished"]), (&json!("demo"), &json!("done"), &json!(true)));
    let stats = received(client().get(format!("{}/_mock/stats", mock.url())).send().await.expect("the mock answers")).await.0;
    assert!(stats.contains("\"requests_total\":1"));
    client().post(format!("{}/_mock/reset", mock.url())).send().await.expect("the mock answers");
    assert!(mock.log(None).is_empty());
}

/// Unoptimised, over a socket, with the client in the same process: far below what the mock can do, and still tenfold
/// above what would slow a suite down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unpaced_stream_is_served_fast() {
    let mock = mock().await;
    let started = Instant::now();
    let mut stream = ask(&mock, "chunks=200000; bytes=287").await.bytes_stream();
    let mut bytes = 0;
    while let Some(piece) = stream.next().await {
        bytes += piece.expect("nothing breaks").len();
    }
    let rate = 200_000.0 / started.elapsed().as_secs_f64();
    assert!(bytes > 200_000 * 287);
    println!("{rate:.0} chunks a second");
    assert!(rate > 20_000.0, "{rate} chunks a second");
}
