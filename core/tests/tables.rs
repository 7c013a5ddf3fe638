//! The tables that every language runs: the conformance cases and the faults, here through the engine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use literllm::{ChatCompletionRequest, Client, ClientConfig, Error};
use literllm_mock::{Event, Mock, Options};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// Streams to the end: the chunks, and how it ended.
async fn stream(config: &Value, request: &Value) -> (Vec<Value>, Option<Error>, bool) {
    let request: ChatCompletionRequest = serde_json::from_value(request.clone()).expect("a request");
    let client = Client::new(ClientConfig::from_json(&config.to_string()).expect("a configuration")).expect("a client");
    let mut stream = match client.chat_stream(request).await {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Some(error), true),
    };
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => chunks.push(serde_json::to_value(chunk).expect("a chunk is JSON")),
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing follows an error");
                return (chunks, Some(error), false);
            }
        }
    }
    assert!(stream.next().await.is_none(), "nothing follows the end");
    (chunks, None, false)
}

/// Set `LITERLLM_BLESS=1` to write what comes as what should, and read the difference before it is committed.
#[tokio::test]
async fn conformance_cases_give_their_chunks() {
    let mock = Mock::start(Options { cases: Some(folder()), ..Options::default() }).await.expect("a mock");
    let bless = std::env::var_os("LITERLLM_BLESS").is_some();
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut providers: Vec<_> = std::fs::read_dir(folder()).expect("the cases").flatten().map(|entry| entry.path()).collect();
    providers.sort();
    for provider in providers.iter().filter(|path| path.is_dir()) {
        let config = std::fs::read_to_string(provider.join("client.json")).expect("a provider's client.json");
        let mut cases: Vec<_> =
            std::fs::read_dir(provider).expect("a provider's cases").flatten().map(|entry| entry.path()).collect();
        cases.sort();
        for case in cases.iter().filter(|path| path.is_dir()) {
            count += 1;
            let name = format!("{}/{}", provider.file_name().unwrap().display(), case.file_name().unwrap().display());
            let mut config: Value = serde_json::from_str(&config.replace("{MOCK}", &mock.url())).expect("a configuration");
            config["headers"]["x-mock"] = json!(format!("case={name}"));
            config["max_retries"] = json!(0);
            let request: Value =
                serde_json::from_slice(&std::fs::read(case.join("request.json")).expect("a request")).expect("a request in JSON");
            let (chunks, error, _) = stream(&config, &request).await;
            let is = json!({ "chunks": chunks, "error": error.map(|error| json!({ "kind": error.kind().as_str() })) });
            let path = case.join("expected.json");
            if bless {
                let mut text = serde_json::to_string_pretty(&is).expect("JSON");
                text.push('\n');
                std::fs::write(&path, text).expect("the case's folder can be written");
            }
            let should: Value = serde_json::from_slice(&std::fs::read(&path).unwrap_or_default()).unwrap_or(Value::Null);
            if is != should {
                wrong.push(format!("{name}: {is:#}\nshould be {should:#}"));
            }
        }
    }
    println!("{count} cases, {} wrong", wrong.len());
    assert!(count > 0 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn faults_end_as_the_table_says() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    let table: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder().join("faults.json")).expect("the table")).expect("a table in JSON");
    let mut wrong = Vec::new();
    for (number, row) in table.iter().enumerate() {
        let id = format!("fault-{number}");
        let mut config = json!({
            "api_keys": {"openai": "test-key-1234"},
            "base_urls": {"openai": format!("{}/v1", mock.url())},
            "headers": {"x-mock": format!("id={id}; {}", row["mock"].as_str().unwrap())},
            "max_retries": 0,
        });
        for (name, value) in row["config"].as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        let request = row
            .get("request")
            .cloned()
            .unwrap_or_else(|| json!({"model": "openai/demo", "messages": [{"role": "user", "content": "Tell me a story"}]}));
        let (chunks, error, at_call) = stream(&config, &request).await;
        if let Err(message) = check(&row["expect"], &chunks, error.as_ref(), at_call) {
            wrong.push(format!("{}: {message}", row["name"]));
        }
        if let Some(requests) = row["expect"]["requests"].as_u64() {
            let seen = mock.log(id.as_str()).len() as u64;
            if seen != requests {
                wrong.push(format!("{}: {seen} requests", row["name"]));
            }
        }
        if row["expect"].get("requests").and_then(Value::as_u64) != Some(0) {
            let left = tokio::time::timeout(SOON, async {
                while mock.log(id.as_str()).last().is_some_and(|seen| seen.done_ms.is_none() && seen.left_ms.is_none()) {
                    mock.wait(id.as_str(), Event::Left, Duration::from_millis(50)).await;
                }
            });
            if left.await.is_err() {
                wrong.push(format!("{}: the connection stays open", row["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(expect: &Value, chunks: &[Value], error: Option<&Error>, at_call: bool) -> Result<(), String> {
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    let kind = error.map(|error| error.kind().as_str());
    if kind != expect["kind"].as_str() {
        return Err(format!("{kind:?} after {text:?}: {error:?}"));
    }
    if let Some(should) = expect["text"].as_str()
        && should != text
    {
        return Err(format!("{text:?}"));
    }
    if let Some(reason) = expect["finish_reason"].as_str() {
        let is: Vec<_> = chunks.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
        if is != [reason] {
            return Err(format!("finish {is:?}"));
        }
    }
    let Some(error) = error else { return Ok(()) };
    if (expect["when"] == "call") != at_call {
        return Err(format!("at the call: {at_call}"));
    }
    if error.partial().is_some() != expect["partial"].as_bool().unwrap() {
        return Err(format!("partial: {:?}", error.partial()));
    }
    if let Some(partial) = error.partial()
        && partial.text() != text
    {
        return Err(format!("partial {:?} of {text:?}", partial.text()));
    }
    if let Some(status) = expect["status"].as_u64()
        && error.status().map(u64::from) != Some(status)
    {
        return Err(format!("status {:?}", error.status()));
    }
    if let Some(wait) = expect["retry_after"].as_u64()
        && error.retry_after() != Some(Duration::from_secs(wait))
    {
        return Err(format!("retry after {:?}", error.retry_after()));
    }
    if error.to_string().contains("test-key-1234") {
        return Err("the message carries the key".to_owned());
    }
    Ok(())
}
