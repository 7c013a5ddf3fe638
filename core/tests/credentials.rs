//! Tokens that the engine fetches by itself, from endpoints of the mock: Google's, Entra ID's, and a program's own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use literllm::{ChatCompletionRequest, Client, ClientConfig, Credential, Error, ErrorKind, TokenProvider};
use literllm_mock::{Mock, Options};
use serde_json::{Value, json};

const KEY: &str = include_str!("data/rfc7515-appendix-a2.pem");
const VERTEX: &str = "vertex_ai/gemini-2.5-flash";
const BEDROCK: &str = "bedrock/amazon.nova-lite-v1:0";

async fn mock() -> Mock {
    Mock::start(Options::default()).await.expect("a mock")
}

/// A client of one provider at the mock, with these settings.
#[allow(clippy::needless_pass_by_value)]
fn client(mock: &Mock, provider: &str, settings: Value) -> Client {
    Client::new(config(mock, provider, &settings)).expect("a client")
}

fn config(mock: &Mock, provider: &str, settings: &Value) -> ClientConfig {
    let mut config = json!({ "base_urls": {}, "settings": {}, "max_retries": 0 });
    config["base_urls"][provider] = mock.url().into();
    config["settings"][provider] = settings.clone();
    ClientConfig::from_json(&config.to_string()).expect("a configuration")
}

async fn ask(client: &Client, model: &str) -> Result<String, Error> {
    client.chat(ChatCompletionRequest::new(model, ["x"])).await.map(|answer| answer.text().to_owned())
}

/// What the mock was asked: each request's path without its query, and the end of its token.
fn seen(mock: &Mock) -> Vec<(String, String)> {
    let token = |headers: &[(String, String)]| {
        headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let path = |path: &str| path.split('?').next().unwrap_or_default().to_owned();
    mock.log(None).iter().map(|seen| (path(&seen.path), token(&seen.headers))).collect()
}

/// How often the mock was asked at a path that ends so.
fn asked(mock: &Mock, end: &str) -> usize {
    seen(mock).iter().filter(|(path, _)| path.ends_with(end)).count()
}

/// A service account's file whose token endpoint is the mock's, with what it is to do there.
fn service_account(mock: &Mock, behaviour: &str) -> Value {
    let file = json!({
        "type": "service_account", "project_id": "from-the-file", "client_email": "me@p.example",
        "private_key": KEY, "private_key_id": "k1", "token_uri": format!("{}{behaviour}/token", mock.url()),
    });
    file.to_string().into()
}

#[tokio::test]
async fn a_service_account_gets_one_token_for_many_calls_and_names_the_project() {
    let mock = mock().await;
    let client = client(&mock, "vertex_ai", json!({ "credentials": service_account(&mock, "") }));
    let calls = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { ask(&client, VERTEX).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no panic").expect("an answer");
    }
    assert_eq!(asked(&mock, "/token"), 1);
    let path = "/v1/projects/from-the-file/locations/global/publishers/google/models/gemini-2.5-flash:generateContent";
    let calls: Vec<_> = seen(&mock).into_iter().filter(|(seen, _)| seen == path).collect();
    assert_eq!(calls.len(), 8, "{:?}", seen(&mock));
    assert!(calls.iter().all(|(_, token)| !token.is_empty() && *token == calls[0].1), "{calls:?}");
}

#[tokio::test]
async fn a_token_that_has_ended_is_fetched_anew() {
    let mock = mock().await;
    let settings = json!({ "credentials": service_account(&mock, "/mock/expires_in=5"), "project": "p" });
    let client = client(&mock, "vertex_ai", settings);
    for _ in 0..2 {
        ask(&client, VERTEX).await.expect("an answer");
    }
    assert_eq!(asked(&mock, "/token"), 2);
}

#[tokio::test]
async fn a_token_that_was_refused_is_forgotten() {
    let mock = mock().await;
    let mut config = config(&mock, "vertex_ai", &json!({ "credentials": service_account(&mock, ""), "project": "p" }));
    config.base_urls.insert("vertex_ai".to_owned(), format!("{}/mock/id=refused,status=401,fail_times=1", mock.url()));
    let client = Client::new(config).expect("a client");
    assert_eq!(ask(&client, VERTEX).await.unwrap_err().kind(), ErrorKind::Authentication);
    ask(&client, VERTEX).await.expect("an answer");
    assert_eq!(asked(&mock, "/token"), 2);
}

#[tokio::test]
async fn a_users_refresh_token_is_exchanged() {
    let mock = mock().await;
    let file = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "token_uri": format!("{}/token", mock.url()),
    });
    let client = client(&mock, "vertex_ai", json!({ "credentials": file.to_string(), "project": "p" }));
    ask(&client, VERTEX).await.expect("an answer");
    assert_eq!(asked(&mock, "/token"), 1);
}

#[tokio::test]
async fn googles_machines_tell_token_and_project() {
    if std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS").is_some() {
        println!("skipped: GOOGLE_APPLICATION_CREDENTIALS is set, and comes first");
        return;
    }
    let mock = mock().await;
    let host = mock.url().trim_start_matches("http://").to_owned();
    let client =
        client(&mock, "vertex_ai", json!({ "metadata_host": host, "config_dir": "/nowhere", "location": "us-central1" }));
    ask(&client, VERTEX).await.expect("an answer");
    let seen = seen(&mock);
    assert_eq!(asked(&mock, "/service-accounts/default/token"), 1, "{seen:?}");
    assert!(
        seen.last().is_some_and(|(path, _)| path.starts_with("/v1/projects/mock-project/locations/us-central1/")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn entra_id_gives_a_token_for_a_client_secret() {
    let mock = mock().await;
    let settings = json!({ "authority_host": mock.url(), "tenant_id": "t", "client_id": "c", "client_secret": "s&=" });
    for (provider, model) in [("azure", "azure/dep"), ("azure_ai", "azure_ai/grok-4")] {
        let client = client(&mock, provider, settings.clone());
        for _ in 0..2 {
            ask(&client, model).await.expect("an answer");
        }
    }
    assert_eq!(asked(&mock, "/t/oauth2/v2.0/token"), 2);
    let calls: Vec<_> = seen(&mock).into_iter().filter(|(path, _)| path.ends_with("/chat/completions")).collect();
    assert!(calls.len() == 4 && calls.iter().all(|(_, token)| !token.is_empty()), "{calls:?}");
}

#[tokio::test]
async fn a_federated_token_stands_for_the_secret() {
    let mock = mock().await;
    let file = std::env::temp_dir().join(format!("literllm-federated-{}", std::process::id()));
    std::fs::write(&file, "header.claims.signature\n").expect("a temporary file");
    let settings = json!({ "authority_host": mock.url(), "tenant_id": "t", "client_id": "c", "federated_token_file": file });
    ask(&client(&mock, "azure", settings), "azure/dep").await.expect("an answer");
    std::fs::remove_file(&file).expect("the temporary file is there");
    let log = mock.log(None);
    let body = log[0].body.get();
    assert!(body.contains("client_assertion=header.claims.signature") && !body.contains("client_secret"), "{body}");
}

#[tokio::test]
async fn a_programs_own_tokens_come_first_and_are_kept_until_they_end() {
    let mock = mock().await;
    let others = [("openai", "openai/demo"), ("groq", "groq/demo"), ("anthropic", "anthropic/demo"), ("gemini", "gemini/demo")];
    for (provider, model) in [("vertex_ai", VERTEX), ("azure", "azure/dep")].into_iter().chain(others) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let mut config = config(&mock, provider, &json!({}));
        let own = TokenProvider::new(move || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            // The first has an end in an hour, so that no second is asked for.
            async move { Ok(Credential::bearer(format!("own-{number}"), Some(SystemTime::now() + Duration::from_secs(3600)))) }
        });
        config.token_providers.insert(provider.to_owned(), own);
        if provider == "vertex_ai" {
            config.settings.insert(provider.to_owned(), [("project".to_owned(), "p".into())].into());
        }
        let client = Client::new(config).expect("a client");
        for _ in 0..3 {
            ask(&client, model).await.expect("an answer");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{provider}");
    }
    assert!(seen(&mock).iter().all(|(_, token)| token.ends_with("wn-0")), "{:?}", seen(&mock));
}

/// A client whose tokens for this provider are asked for in JSON, as every language does, and answered so; what is asked, too.
fn relayed(
    mock: &Mock,
    provider: &str,
    settings: &Value,
    answer: impl Fn(usize) -> Option<Value> + Send + Sync + 'static,
) -> (Client, Arc<Mutex<Vec<Value>>>) {
    let mut json = json!({ "base_urls": {}, "settings": {}, "max_retries": 0, "token_providers": [provider] });
    json["base_urls"][provider] = mock.url().into();
    json["settings"][provider] = settings.clone();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&asked);
    let mut config = ClientConfig::from_json(&json.to_string()).expect("a configuration");
    config.relay_tokens(move |call| {
        let mut events = events.lock().expect("no one panics");
        events.push(serde_json::from_str(call.event()).expect("an event in JSON"));
        if let Some(answer) = answer(events.len()) {
            call.answer(&answer.to_string());
        }
    });
    (Client::new(config).expect("a client"), asked)
}

fn seconds_from_now(seconds: u64) -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is past 1970").as_secs() + seconds
}

#[tokio::test]
async fn tokens_that_are_asked_for_in_json_are_kept_until_they_end() {
    for (provider, model) in [("vertex_ai", VERTEX), ("azure", "azure/dep"), ("bedrock", BEDROCK)] {
        let mock = mock().await;
        let settings = match provider {
            "vertex_ai" => json!({ "project": "p" }),
            "bedrock" => json!({ "region": "us-east-1" }),
            _ => json!({}),
        };
        // The first is as good as over when it comes.
        let (client, asked) = relayed(&mock, provider, &settings, |number| {
            let expires_at = seconds_from_now(if number == 1 { 1 } else { 3600 });
            Some(json!({ "token": { "secret": format!("own-{number}"), "expires_at": expires_at } }))
        });
        for _ in 0..3 {
            ask(&client, model).await.expect("an answer");
        }
        let tokens: Vec<_> = seen(&mock).into_iter().map(|(_, token)| token.chars().last()).collect();
        assert_eq!(tokens, [Some('1'), Some('2'), Some('2')], "{provider}");
        let event = json!({ "stage": "token", "provider": provider });
        assert_eq!(*asked.lock().expect("no one panicked"), [event.clone(), event]);
    }
}

#[tokio::test]
async fn keys_of_aws_that_are_asked_for_in_json_sign() {
    let mock = mock().await;
    let keys = json!({ "access_key_id": "AKIDOWN", "secret_access_key": "s", "session_token": "t" });
    let (client, _) = relayed(&mock, "bedrock", &json!({ "region": "us-east-1" }), move |_| {
        Some(json!({ "token": { "secret": keys, "expires_at": null } }))
    });
    ask(&client, BEDROCK).await.expect("an answer");
    assert!(mock.log(None)[0].headers.iter().any(|(name, _)| name == "x-amz-security-token"));
}

#[tokio::test]
async fn a_source_of_tokens_that_gives_none_fails_the_call_and_nothing_secret_is_told() {
    let mock = mock().await;
    let wrong: [(Option<Value>, &str); 6] = [
        (Some(json!({ "error": { "message": "the vault is closed" } })), "the vault is closed"),
        (Some(json!({ "token": "own-secret" })), "neither"),
        (Some(json!({ "token": { "secret": ["own-secret"] } })), "neither"),
        (Some(json!({ "token": { "secret": "own-secret", "expires_at": -1 } })), "expires_at"),
        (Some(json!({})), "neither"),
        (None, "not answered"),
    ];
    for (answer, why) in wrong {
        let given = answer.clone();
        let (client, _) = relayed(&mock, "vertex_ai", &json!({ "project": "p" }), move |_| given.clone());
        let error = ask(&client, VERTEX).await.unwrap_err();
        assert_eq!((error.kind(), error.provider()), (ErrorKind::Authentication, Some("vertex_ai")), "{error}");
        assert!(error.message().contains(why), "{answer:?}: {error}");
        assert!(!error.to_json().contains("own-secret"), "{}", error.to_json());
    }
    let config = json!({ "base_urls": { "vertex_ai": mock.url() }, "settings": { "vertex_ai": { "project": "p" } }, "token_providers": ["vertex_ai"] });
    let config = ClientConfig::from_json(&config.to_string()).expect("a configuration");
    let error = ask(&Client::new(config).expect("a client"), VERTEX).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Authentication && error.message().contains("token_providers"), "{error}");
    assert!(seen(&mock).is_empty());
}

#[tokio::test]
async fn a_token_that_a_provider_repeats_is_kept_out_of_the_error() {
    let mock = mock().await;
    let mut config = config(&mock, "vertex_ai", &json!({ "project": "p" }));
    config.base_urls.insert("vertex_ai".to_owned(), format!("{}/mock/status=400,error_message=I_know_own-token-7", mock.url()));
    let own = TokenProvider::new(|| async { Ok(Credential::bearer("own-token-7", None)) });
    config.token_providers.insert("vertex_ai".to_owned(), own);
    let error = ask(&Client::new(config).expect("a client"), VERTEX).await.unwrap_err();
    assert!(error.message().contains("I_know_[key]"), "{error}");
    assert!(!error.to_json().contains("own-token-7"), "{}", error.to_json());
}

#[tokio::test]
async fn a_server_of_this_machine_is_asked_without_credentials() {
    let set = ["AZURE_TENANT_ID", "AZURE_AD_TOKEN", "AZURE_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "VERTEXAI_PROJECT"];
    if set.iter().any(|name| std::env::var_os(name).is_some()) {
        println!("skipped: one of {set:?} is set");
        return;
    }
    let mock = mock().await;
    for (provider, model) in [("vertex_ai", VERTEX), ("azure", "azure/dep")] {
        ask(&client(&mock, provider, json!({})), model).await.expect("an answer");
    }
    assert!(seen(&mock).iter().all(|(_, token)| token.is_empty()), "{:?}", seen(&mock));
}

#[tokio::test]
async fn a_callers_own_header_is_left_as_it_is() {
    let mock = mock().await;
    let mut config = config(&mock, "vertex_ai", &json!({ "credentials": service_account(&mock, ""), "project": "p" }));
    config.headers.insert("authorization".to_owned(), "Bearer mine".to_owned());
    ask(&Client::new(config).expect("a client"), VERTEX).await.expect("an answer");
    assert_eq!(asked(&mock, "/token"), 0);
}

#[tokio::test]
async fn an_endpoint_that_refuses_says_why_and_one_that_is_down_may_be_asked_again() {
    let mock = mock().await;
    for (behaviour, kind, is_retryable) in [
        ("/mock/status=400,error_message=No_such_account", ErrorKind::Authentication, false),
        ("/mock/status=503", ErrorKind::Overloaded, true),
    ] {
        let settings = json!({ "credentials": service_account(&mock, behaviour), "project": "p" });
        let error = ask(&client(&mock, "vertex_ai", settings), VERTEX).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, is_retryable), "{error}");
        assert_eq!(error.provider(), Some("vertex_ai"));
        assert!(is_retryable || error.message().contains("No_such_account"), "{error}");
    }
}

#[tokio::test]
async fn a_setting_that_no_provider_has_is_a_mistake_told_at_once() {
    let config = json!({ "settings": { "vertex_ai": { "projekt": "p" } } }).to_string();
    let error = Client::new(ClientConfig::from_json(&config).expect("a configuration")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.message().contains("projekt") && error.message().contains("project"), "{error}");
}
