//! What a dialect costs: the CPU time of this process for each byte of a provider's stream, the server being another process.
//!
//! `dialects <provider> <behaviour> <mock's address> <streams>` prints `<provider> <nanoseconds a byte> <microseconds a chunk>`. The
//! behaviour is the mock's list of what to answer; how many bytes that made is read from the mock's log.

#[allow(dead_code)]
mod driver;

use driver::{PROMPT, Seen, cpu_time};
use literllm::{ChatCompletionRequest, Client, ClientConfig};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("nobody else installs one");
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| args.next().unwrap_or_else(|| panic!("{what} is missing"));
    let (provider, behaviour, mock) = (next("the provider"), next("the behaviour"), next("the mock's address"));
    let streams: u32 = next("the number of streams").parse().expect("a number of streams");

    let client = client(&provider, &format!("{mock}/mock/id=dialects,{behaviour}"));
    let request = ChatCompletionRequest::new(format!("{provider}/{}", model(&provider)).as_str(), [PROMPT]);
    // Warm, and read from the mock how long one is.
    let seen = read(&client, &request).await;
    let bytes = bytes_of_last(&mock).await;
    let before = cpu_time();
    for _ in 0..streams {
        assert_eq!(read(&client, &request).await.text, seen.text, "the same answer each time");
    }
    let spent = cpu_time().saturating_sub(before).as_secs_f64() / f64::from(streams);
    #[allow(clippy::cast_precision_loss)]
    let (by_byte, by_chunk) = (spent * 1e9 / bytes as f64, spent * 1e6 / seen.chunks as f64);
    println!("{provider} {by_byte:.4} {by_chunk:.4}");
}

fn client(provider: &str, mock: &str) -> Client {
    // OpenAI's base URL holds the version.
    let base_url = if provider == "openai" { format!("{mock}/v1") } else { mock.to_owned() };
    let mut config = json!({"provider": provider, "api_key": "anything", "base_url": base_url});
    if provider == "vertex_ai" {
        config["settings"] = json!({"vertex_ai": {"project": "p", "location": "us-central1"}});
    }
    let config = ClientConfig::from_json(&config.to_string()).expect("the configuration is sound");
    Client::new(config).expect("a client")
}

/// A model that the provider has: some write its path by the model's maker.
fn model(provider: &str) -> &'static str {
    match provider {
        "anthropic" => "claude-sonnet-4-5",
        "bedrock" => "amazon.nova-lite-v1:0",
        "gemini" | "vertex_ai" => "gemini-2.5-flash",
        _ => "demo",
    }
}

async fn read(client: &Client, request: &ChatCompletionRequest) -> Seen {
    let mut seen = Seen::default();
    let mut stream = client.chat_stream(request).await.expect("the mock answers");
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.expect("the stream is whole");
        let Some(choice) = chunk.choices.first() else { continue };
        let delta = &choice.delta;
        let text = delta.content.as_deref().or(delta.reasoning_content.as_deref());
        let arguments = || delta.tool_calls.first()?.function.as_ref()?.arguments.as_deref();
        seen.chunk(text.or_else(arguments).unwrap_or_default());
    }
    seen
}

async fn bytes_of_last(mock: &str) -> u64 {
    let address = format!("{mock}/_mock/wait?id=dialects&event=done&timeout_ms=10000");
    let entry = reqwest::get(address).await.expect("the mock answers").bytes().await.expect("its log");
    let entry: Value = serde_json::from_slice(&entry).expect("an entry in JSON");
    entry["bytes"].as_u64().unwrap_or_else(|| panic!("no number of bytes in {entry}"))
}
