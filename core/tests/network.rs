//! Connections, TLS, HTTP/2, redirects, proxies and keys, over real sockets.

use std::collections::BTreeSet;
use std::time::Duration;

use literllm::{ChatCompletionRequest, Client, ClientConfig, ErrorKind, RequestOptions};
use literllm_mock::{Event, Mock, Options, Outcome, Protocol};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn client(config: &Value) -> Client {
    Client::new(ClientConfig::from_json(&config.to_string()).expect("a configuration")).expect("a client")
}

/// A client of a mock that speaks TLS.
fn secure_client(mock: &Mock, behaviour: &str) -> Client {
    client(&json!({
        "api_key": "test-key-1234",
        "base_url": format!("{}/v1", mock.url()),
        "root_certificates": [mock.ca_pem().expect("the mock speaks TLS")],
        "headers": {"x-mock": behaviour},
        "max_retries": 0,
    }))
}

fn story() -> ChatCompletionRequest {
    ChatCompletionRequest::new("openai/demo", ["Tell me a story"])
}

async fn secure_mock(max_concurrent_streams: Option<u32>, protocol: Protocol) -> Mock {
    Mock::start(Options { tls: true, max_concurrent_streams, protocol, ..Options::default() }).await.expect("a mock")
}

#[tokio::test]
async fn tls_speaks_http2_where_the_server_does_and_http1_where_not() {
    for (protocol, version) in [(Protocol::Any, "HTTP/2.0"), (Protocol::Http1, "HTTP/1.1")] {
        let mock = secure_mock(None, protocol).await;
        let answer = secure_client(&mock, "text=one").chat_stream(story()).await.expect("a stream").finish().await;
        assert_eq!(answer.expect("an answer").text(), "one");
        assert_eq!(mock.log(None)[0].version, version);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let mock = secure_mock(None, Protocol::Any).await;
    let untrusting = client(&json!({"api_key": "test-key-1234", "base_url": format!("{}/v1", mock.url()), "max_retries": 0}));
    let error = untrusting.chat_stream(story()).await.expect_err("no trust, no stream");
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(mock.log(None).is_empty());
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let options = Options { tls: true, client_certificates: true, ..Options::default() };
    let mock = Mock::start(options).await.expect("a mock");
    let identity = mock.client_pem().expect("a certificate").to_owned();
    let showing = client(&json!({
        "api_key": "test-key-1234",
        "base_url": format!("{}/v1", mock.url()),
        "root_certificates": [mock.ca_pem()],
        "client_certificate": {"certificates": identity, "private_key": identity},
        "max_retries": 0,
    }));
    showing.chat_stream(story()).await.expect("a stream").finish().await.expect("an answer");
    assert!(mock.log(None)[0].client_certificate);
}

#[tokio::test]
async fn streams_beyond_a_servers_limit_open_further_connections() {
    const LIMIT: u32 = 10;
    const STREAMS: usize = 35;
    for known_before in [false, true] {
        let mock = secure_mock(Some(LIMIT), Protocol::Any).await;
        // None of them ends until all of them have begun.
        let client = secure_client(&mock, "id=many; text=one two; withhold=2");
        if known_before {
            let first = RequestOptions::from_json(r#"{"headers": {"x-mock": "text=one"}}"#).expect("options");
            client.chat_with(story(), &first).await.expect("an answer");
        }
        let calls: Vec<_> = (0..STREAMS)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(
                    async move { client.chat_stream(story()).await.expect("a stream").finish().await.expect("an answer") },
                )
            })
            .collect();
        for number in 1..=STREAMS {
            mock.wait_nth("many", number, Event::Chunks(2), SOON).await.unwrap_or_else(|| panic!("stream {number} never began"));
        }
        assert_eq!(mock.stats().streams_open, STREAMS);
        assert_eq!(mock.log("many").len(), STREAMS, "each is sent once");
        let seen = mock.log("many");
        let connections: BTreeSet<u64> = seen.iter().map(|seen| seen.connection).collect();
        assert!((4..=8).contains(&connections.len()), "{} connections", connections.len());
        let most = connections.iter().map(|one| seen.iter().filter(|seen| seen.connection == *one).count()).max();
        assert!(most <= Some(LIMIT as usize) && seen.iter().all(|seen| seen.version == "HTTP/2.0"));
        calls.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn leaving_an_http2_stream_resets_that_one_and_no_other() {
    let mock = secure_mock(None, Protocol::Any).await;
    let staying = secure_client(&mock, "id=stays; text=one two three; withhold=2");
    let mut stays = staying.chat_stream(story()).await.expect("a stream");
    let leaving = RequestOptions::from_json(r#"{"headers": {"x-mock": "id=leaves; text=one; stall=1"}}"#).expect("options");
    let mut leaves = staying.chat_stream_with(story(), &leaving).await.expect("a stream");
    leaves.next().await.expect("a chunk").expect("the role chunk");
    drop(leaves);
    let seen = mock.wait("leaves", Event::Left, SOON).await.expect("the mock sees it leave");
    mock.release("stays", 100);
    let mut text = String::new();
    while let Some(chunk) = stays.next().await {
        text.extend(chunk.expect("it goes on").choices.iter().filter_map(|choice| choice.delta.content.as_deref()));
    }
    assert_eq!(text, "one two three");
    assert_eq!(mock.log("stays")[0].connection, seen.connection);
    assert_eq!(mock.log("stays")[0].outcome, Outcome::Done);
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed_and_to_another_is_not() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    let other = Mock::start(Options::default()).await.expect("another mock");
    let to = |target: String| {
        client(&json!({
            "api_key": "test-key-1234",
            "base_url": format!("{}/v1", mock.url()),
            "headers": {"x-mock": format!("redirect={target}; fail_times=1; id={target}; text=one"), "x-api-key": "test-key-5678"},
            "max_retries": 0,
        }))
    };
    let same = to(format!("{}/v1/chat/completions", mock.url()));
    assert_eq!(same.chat(story()).await.expect("an answer").text(), "one");
    let error = to(format!("{}/v1/chat/completions", other.url())).chat(story()).await.expect_err("it is not followed");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(other.log(None).is_empty(), "the other host saw a request");
}

#[tokio::test]
async fn requests_go_through_the_proxy() {
    let proxy = Mock::start(Options::default()).await.expect("a mock as proxy");
    let proxied = client(&json!({
        "api_key": "test-key-1234",
        "base_url": "http://provider.invalid/v1",
        "proxy": proxy.url(),
        "headers": {"x-mock": "text=one"},
        "max_retries": 0,
    }));
    assert_eq!(proxied.chat(story()).await.expect("an answer by the proxy").text(), "one");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_given_up_after_the_connect_timeout() {
    // A listener whose queue is full: connections are neither taken nor refused.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("its address");
    let _listener = socket.listen(1).expect("a queue of one");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await);
    }
    let config = json!({"api_key": "k", "base_url": format!("http://{address}/v1"), "connect_timeout": 0.3, "max_retries": 0});
    let error = client(&config).chat_stream(story()).await.expect_err("nobody takes it");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("connect_timeout"), "{error}");
}

#[tokio::test]
async fn a_bare_key_goes_to_the_first_requests_provider_and_to_no_other() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    let url = format!("{}/v1", mock.url());
    let both = client(&json!({
        "api_key": "first-key-1111",
        "base_urls": {"openai": url, "groq": url, "together_ai": url},
        "api_keys": {"groq": "groq-key-2222"},
        "max_retries": 0,
    }));
    let ask = |model: &str| both.chat(ChatCompletionRequest::new(model, ["hi"]));
    // Decided once, also where many come at once.
    let first = futures_util::future::join_all((0..16).map(|_| ask("openai/demo"))).await;
    assert!(first.iter().all(Result::is_ok));
    ask("groq/demo").await.expect("its own key");
    ask("together/demo").await.expect("a host of one's own needs no key");
    let keys: Vec<Option<String>> = mock
        .log(None)
        .into_iter()
        .map(|seen| seen.headers.into_iter().find(|(name, _)| name == "authorization").map(|(_, value)| value))
        .collect();
    assert!(keys[..16].iter().all(|key| key.as_deref().is_some_and(|key| key.ends_with("1111"))), "{keys:?}");
    assert!(keys[16].as_deref().is_some_and(|key| key.ends_with("2222")), "{keys:?}");
    assert_eq!(keys[17], None, "the first provider's key went to another");
}

#[tokio::test]
async fn a_login_in_the_base_url_is_shown_unless_there_is_a_key() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    let url = format!("{}/v1", mock.url().replace("http://", "http://user:pass@"));
    let asking =
        client(&json!({"base_url": url, "max_retries": 0, "base_urls": {"together_ai": url}, "api_key": "its-key-1111"}));
    for model in ["openai/demo", "together/demo", "together/demo"] {
        asking.chat(ChatCompletionRequest::new(model, ["hi"])).await.expect("an answer");
    }
    let shown: Vec<_> = mock.log(None).into_iter().map(|seen| seen.headers).collect();
    let shown = |at: usize| shown[at].iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
    assert!(shown(0).is_some_and(|login| login.ends_with("1111")), "{:?}", shown(0));
    for at in [1, 2] {
        // What `user:pass` ends with in Base64.
        assert!(shown(at).is_some_and(|login| login.ends_with("YXNz")), "{:?}", shown(at));
    }
}

#[tokio::test]
async fn a_login_in_the_base_url_goes_with_a_redirect() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    let url = format!("{}/v1", mock.url().replace("http://", "http://user:pass@"));
    for target in [format!("{}/v1/chat/completions", mock.url()), "/v1/chat/completions".to_owned()] {
        let before = mock.log(None).len();
        let asking = client(&json!({
            "base_urls": {"together_ai": url},
            "headers": {"x-mock": format!("redirect={target}; fail_times=1; id={target}; text=one")},
            "max_retries": 0,
        }));
        let answer = asking.chat(ChatCompletionRequest::new("together/demo", ["hi"])).await.expect("an answer");
        assert_eq!(answer.text(), "one");
        let logins: Vec<_> = mock.log(None)[before..]
            .iter()
            .map(|seen| seen.headers.iter().any(|(name, value)| name == "authorization" && value.ends_with("YXNz")))
            .collect();
        assert_eq!(logins, [true, true], "{target}");
    }
}

#[test]
fn a_configuration_shows_no_secret() {
    let config = ClientConfig::from_json(
        &json!({
            "api_key": "its-secret",
            "base_url": "http://user:its-secret@host/v1",
            "base_urls": {"groq": "http://user:its-secret@other/v1"},
            "proxy": "http://user:its-secret@proxy:1",
            "headers": {"authorization": "Bearer its-secret"},
            "hosts": [{"name": "mine", "base_url": "http://user:its-secret@mine/v1"}],
        })
        .to_string(),
    )
    .expect("a configuration");
    let shown = format!("{config:?}");
    assert!(!shown.contains("its-secret") && shown.contains("http://host/v1") && shown.contains("proxy:1"), "{shown}");
    let options = RequestOptions::from_json(&json!({"headers": {"authorization": "Bearer its-secret"}}).to_string());
    let shown = format!("{:?}", options.expect("options"));
    assert!(!shown.contains("its-secret") && shown.contains("authorization"), "{shown}");
}

#[tokio::test]
async fn a_login_in_a_base_url_is_in_no_error() {
    for wrong in ["http://user:its-secret@ho st/v1", "ftp://user:its-secret@host", "user:its-secret@host?q=1"] {
        let config = ClientConfig::from_json(&json!({ "base_url": wrong }).to_string()).expect("a configuration");
        let error = Client::new(config).expect_err("that is no base URL");
        assert!(!format!("{error:?}").contains("its-secret") && error.message().contains("host"), "{error:?}");
    }
    for closed in ["http://user:its-secret@127.0.0.1:1/v1", "http://user:its-secret@127.0.0.1:99999/v1"] {
        let asking = client(&json!({"base_url": closed, "api_key": "k", "max_retries": 0}));
        let error = asking.chat_stream(story()).await.expect_err("nobody listens");
        assert!(!format!("{error:?}").contains("its-secret") && error.message().contains("127.0.0.1"), "{error:?}");
    }
}

#[tokio::test]
async fn a_key_that_looks_like_anothers_is_not_sent() {
    let error =
        client(&json!({"api_key": "sk-ant-abcdef", "provider": "groq"})).chat(ChatCompletionRequest::new("groq/m", ["hi"])).await;
    let error = error.expect_err("the key is Anthropic's");
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.message().contains("anthropic") && !error.to_string().contains("abcdef"), "{error}");
}

#[tokio::test]
async fn a_missing_key_is_named_by_its_variable() {
    let error = client(&json!({})).chat(ChatCompletionRequest::new("sambanova/m", ["hi"])).await.expect_err("no key");
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.message().contains("SAMBANOVA_API_KEY"), "{error}");
}

#[tokio::test]
async fn a_host_registered_at_run_time_is_asked() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    let mine = client(&json!({
        "hosts": [{"name": "mine", "base_url": format!("{}/v1", mock.url()), "quirks": {"max_tokens_field": "max_tokens", "unsupported": ["seed"]}}],
        "headers": {"x-mock": "id=mine; text=one"},
    }));
    let request = ChatCompletionRequest { max_completion_tokens: Some(5), ..ChatCompletionRequest::new("mine/m", ["hi"]) };
    assert_eq!(mine.chat(&request).await.expect("an answer").text(), "one");
    let body: Value = serde_json::from_str(mock.log("mine")[0].body.get()).expect("the body");
    assert_eq!((&body["max_tokens"], &body["max_completion_tokens"]), (&json!(5), &Value::Null));
    let error = mine.chat(ChatCompletionRequest { seed: Some(1), ..request }).await.expect_err("it cannot");
    assert_eq!((error.kind(), error.param()), (ErrorKind::InvalidRequest, Some("seed")));
}

#[tokio::test]
async fn bad_input_says_what_to_do() {
    let says = |config: Value, model: &str| {
        let result = Client::new(ClientConfig::from_json(&config.to_string()).expect("it reads"));
        let request = ChatCompletionRequest::new(model, ["hi"]);
        async move {
            match result {
                Ok(client) => client.chat(request).await.expect_err("it is wrong").to_string(),
                Err(error) => error.to_string(),
            }
        }
    };
    assert!(says(json!({"base_url": "not a url"}), "m").await.contains("write it as https://host/path"));
    assert!(says(json!({"base_url": "ftp://x/y"}), "m").await.contains("write it as https://host/path"));
    assert!(says(json!({}), "nowhere/m").await.contains("provider/model"));
    assert!(says(json!({}), "").await.contains("model"));
    assert!(says(json!({"api_key": "line\nbreak", "base_url": "http://127.0.0.1:9"}), "m").await.contains("API key"));
    assert!(ClientConfig::from_json(r#"{"api_kee": "x"}"#).expect_err("a misspelt field").to_string().contains("api_kee"));
    let wrong = serde_json::from_str::<ChatCompletionRequest>(
        r#"{"model":"m","messages":[{"role":"user","content":5}],"temperature":1}"#,
    );
    assert!(wrong.expect_err("content is a number").to_string().contains("messages: content: "));
}
