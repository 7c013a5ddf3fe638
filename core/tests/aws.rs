//! Bedrock's credentials, each source of them, against the mock's endpoints.

use std::path::PathBuf;

use literllm::{ChatCompletionRequest, Client, ClientConfig, Error, ErrorKind};
use literllm_mock::{Mock, Options, Seen};
use serde_json::{Value, json};

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("literllm-aws-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn mock() -> Mock {
    Mock::start(Options::default()).await.expect("a mock")
}

/// A client that has these settings, and nothing from the environment.
fn client(mock: &Mock, settings: &Value) -> Client {
    let mut all = json!({"region": "eu-west-1", "access_key_id": "", "secret_access_key": "", "session_token": "", "profile": "",
        "role_arn": "", "web_identity_token_file": "", "container_uri": "", "container_relative_uri": "", "container_token": "",
        "container_token_file": "", "metadata_disabled": "", "sts_endpoint": "", "credentials_file": "/nowhere/credentials",
        "config_file": "/nowhere/config", "metadata_endpoint": ""});
    for (name, value) in settings.as_object().expect("settings") {
        all[name] = value.clone();
    }
    let config = json!({"base_urls": {"bedrock": mock.url()}, "settings": {"bedrock": all}, "max_retries": 0});
    Client::new(ClientConfig::from_json(&config.to_string()).expect("a configuration")).expect("a client")
}

async fn chat(client: &Client) -> Result<String, Error> {
    let mut stream = client.chat_stream(ChatCompletionRequest::new("bedrock/demo", ["Tell me a story"])).await?;
    while let Some(chunk) = stream.next().await {
        chunk?;
    }
    Ok(stream.completion().text().to_owned())
}

fn asked(mock: &Mock, path: &str) -> Vec<Seen> {
    mock.log(None).into_iter().filter(|seen| seen.path.contains(path)).collect()
}

fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The one call of the model, which was signed, and for which session.
fn session(mock: &Mock) -> Option<String> {
    let calls = asked(mock, "/converse-stream");
    let call = calls.last().expect("a call");
    assert!(header(call, "x-amz-date").is_some_and(|date| date.len() == 16 && date.ends_with('Z')), "{:?}", call.headers);
    assert!(header(call, "authorization").is_some());
    header(call, "x-amz-security-token").map(str::to_owned)
}

#[tokio::test]
async fn given_keys_sign_with_and_without_a_session() {
    let mock = mock().await;
    let keys = json!({"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret/key"});
    assert!(!chat(&client(&mock, &keys)).await.expect("an answer").is_empty());
    assert_eq!(session(&mock), None);
    let mut keys = keys;
    keys["session_token"] = json!("token-of-a-session");
    chat(&client(&mock, &keys)).await.expect("an answer");
    assert!(session(&mock).is_some_and(|token| token.ends_with("sion")), "{:?}", session(&mock));
}

#[tokio::test]
async fn a_profile_has_keys_or_takes_on_a_role() {
    let (mock, folder) = (mock().await, Folder::new("profile"));
    let credentials = folder.file("credentials", "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s\n");
    let config =
        folder.file("config", "[profile work]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = default\nexternal_id = x\n");
    let files = json!({"credentials_file": credentials, "config_file": config, "sts_endpoint": mock.url()});
    let with = |name: &str| {
        let mut settings = files.clone();
        settings["profile"] = json!(name);
        client(&mock, &settings)
    };
    chat(&with("default")).await.expect("an answer");
    assert_eq!(session(&mock), None);
    chat(&with("work")).await.expect("an answer");
    assert!(session(&mock).is_some());
    let sts = mock.log(None).into_iter().find(|seen| seen.path == "/").expect("STS was asked");
    assert!(sts.body.get().contains("Action=AssumeRole") && sts.body.get().contains("ExternalId=x"), "{}", sts.body);
    let error = chat(&with("nobody")).await.expect_err("there is no such profile");
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.message().contains("nobody"), "{error}");
}

#[tokio::test]
async fn a_web_identity_becomes_a_role() {
    let (mock, folder) = (mock().await, Folder::new("identity"));
    let token = folder.file("token", "a.web.identity\n");
    let settings = json!({"role_arn": "arn:aws:iam::1:role/r", "web_identity_token_file": token, "sts_endpoint": mock.url()});
    let client = client(&mock, &settings);
    chat(&client).await.expect("an answer");
    chat(&client).await.expect("an answer");
    assert!(session(&mock).is_some());
    let sts: Vec<_> = mock.log(None).into_iter().filter(|seen| seen.path == "/").collect();
    assert_eq!(sts.len(), 1, "the credentials are kept");
    assert!(sts[0].body.get().contains("WebIdentityToken=a.web.identity"), "{}", sts[0].body);
}

#[tokio::test]
async fn a_container_has_credentials_of_its_own() {
    let (mock, folder) = (mock().await, Folder::new("container"));
    let token = folder.file("token", "of-the-pod\n");
    let settings = json!({"container_uri": format!("{}/v1/credentials", mock.url()), "container_token_file": token});
    chat(&client(&mock, &settings)).await.expect("an answer");
    assert!(session(&mock).is_some());
    assert!(header(&asked(&mock, "/v1/credentials")[0], "authorization").is_some());
    let far = client(&mock, &json!({"container_uri": "http://example.com/v1/credentials"}));
    let error = chat(&far).await.expect_err("keys are not asked for in the open");
    assert_eq!(error.kind(), ErrorKind::Authentication);
}

#[tokio::test]
async fn a_machine_has_the_credentials_of_its_role() {
    let mock = mock().await;
    // Off AWS's own addresses only such calls are signed as have credentials given, of which a profile's name is one.
    let folder = Folder::new("machine");
    let config = folder.file("config", "[default]\nregion = eu-west-1\n");
    let with =
        |endpoint: String| client(&mock, &json!({"profile": "default", "metadata_endpoint": endpoint, "config_file": config}));
    let lasting = with(mock.url());
    let calls = (0..6).map(|_| {
        let client = lasting.clone();
        tokio::spawn(async move { chat(&client).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no panic").expect("an answer");
    }
    assert!(session(&mock).is_some());
    assert_eq!(asked(&mock, "/latest/api/token").len(), 1, "one call asks for all");
    mock.reset();
    let ending = with(format!("{}/mock/expires_in=5", mock.url()));
    chat(&ending).await.expect("an answer");
    chat(&ending).await.expect("an answer");
    assert_eq!(asked(&mock, "/latest/api/token").len(), 2, "what is about to end is renewed");
}

#[tokio::test]
async fn without_credentials_the_error_says_what_to_set() {
    let folder = Folder::new("none");
    let config = folder.file("config", "[default]\nregion = eu-west-1\n");
    let mock = mock().await;
    let client = client(&mock, &json!({"profile": "default", "config_file": config, "metadata_disabled": "true"}));
    let error = chat(&client).await.expect_err("there are none");
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.message().contains("AWS_ACCESS_KEY_ID") && error.message().contains("AWS_BEARER_TOKEN_BEDROCK"), "{error}");
    assert!(!error.is_retryable());
}
