//! The engine (with one model, with a list of two that nothing happens to, and with one that is cut) and the floors under it: `floor-drain` only takes the bytes, `floor-owned` splits them into events and reads each into one
//! owned chunk. Neither keeps any of the engine's promises. See `driver` for how it is called.

mod driver;

use std::time::Instant;

use driver::{Job, MODEL, PROMPT, Seen, Streams};
use literllm::{ChatCompletionRequest, Client, ClientConfig, Models};
use serde::Deserialize;

fn main() {
    let job = Job::from_args();
    match job.client.as_str() {
        "literllm" => job.run(Engine::new(&job.base_url)),
        "list" => job.run(Engine::of_list(&job.base_url)),
        "mended" => job.run(Mended(Engine::of_cut(&job.base_url))),
        "floor-drain" => job.run(Drain(Floor::new(&job.base_url))),
        "floor-owned" => job.run(Owned(Floor::new(&job.base_url))),
        other => panic!("there is no client {other} here"),
    }
}

struct Engine {
    client: Client,
    request: ChatCompletionRequest,
}

impl Engine {
    fn new(base_url: &str) -> Self {
        Self::asking(base_url, format!("openai/{MODEL}").as_str())
    }

    /// A list whose second model is never needed.
    fn of_list(base_url: &str) -> Self {
        Self::asking(base_url, vec![format!("openai/{MODEL}"), format!("openai/{MODEL}")])
    }

    /// A list whose first model is cut in the middle, and whose second goes on.
    fn of_cut(base_url: &str) -> Self {
        let text = "text=A lighthouse keeper once taught her lamp to count, and every night it flashed a number to the ships";
        Self::asking(base_url, vec![format!("openai/{MODEL}?{text}&cut=9"), format!("openai/{MODEL}?{text}&continue=1")])
    }

    fn asking(base_url: &str, models: impl Into<Models>) -> Self {
        let config = ClientConfig {
            provider: Some("openai".to_owned()),
            api_key: Some("sk-anything".into()),
            base_url: Some(base_url.to_owned()),
            ..ClientConfig::default()
        };
        let client = Client::new(config).expect("the configuration is sound");
        Self { client, request: ChatCompletionRequest::new(models, [PROMPT]) }
    }
}

impl Streams for Engine {
    async fn stream(&self) -> Seen {
        let mut seen = Seen::default();
        let mut stream = self.client.chat_stream(&self.request).await.expect("the mock answers");
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.expect("the stream is whole");
            seen.chunk(chunk.choices.first().and_then(|choice| choice.delta.content.as_deref()).unwrap_or_default());
        }
        seen
    }
}

struct Mended(Engine);

impl Streams for Mended {
    async fn stream(&self) -> Seen {
        let mut seen = Seen::default();
        let (mut last, mut cut) = (None, None);
        let mut stream = self.0.client.chat_stream(&self.0.request).await.expect("the mock answers");
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.expect("the stream is mended");
            if chunk.literllm.is_some() {
                cut = last;
            }
            let text = chunk.choices.first().and_then(|choice| choice.delta.content.as_deref()).unwrap_or_default();
            seen.chunk(text);
            if !text.is_empty() {
                last = Some(Instant::now());
                seen.gap = seen.gap.or(cut.map(|cut: Instant| cut.elapsed()));
            }
        }
        seen
    }
}

struct Floor {
    client: reqwest::Client,
    url: String,
    body: String,
}

impl Floor {
    fn new(base_url: &str) -> Self {
        rustls::crypto::ring::default_provider().install_default().expect("nobody else installs one");
        let messages = serde_json::json!([{"role": "user", "content": PROMPT}]);
        Self {
            client: reqwest::Client::builder().tcp_nodelay(true).user_agent("floor").build().expect("a client"),
            url: format!("{base_url}/chat/completions"),
            // As the engine asks, usage included: the mock has the same to read and to answer.
            body: serde_json::json!({"model": MODEL, "stream": true, "stream_options": {"include_usage": true}, "messages": messages})
                .to_string(),
        }
    }

    async fn send(&self) -> reqwest::Response {
        let request = self.client.post(&self.url).header("content-type", "application/json").bearer_auth("sk-anything");
        let request = request.header("accept-encoding", "identity");
        request.body(self.body.clone()).send().await.expect("the mock answers")
    }
}

struct Drain(Floor);

impl Streams for Drain {
    async fn stream(&self) -> Seen {
        let mut seen = Seen::default();
        let mut answer = self.0.send().await;
        let mut bytes = 0;
        while let Some(piece) = answer.chunk().await.expect("the stream is whole") {
            bytes += piece.len();
            seen.first_text.get_or_insert_with(std::time::Instant::now);
        }
        // Not read, so counted by their length, which is the same for each but the first and the last two.
        seen.chunks = bytes / 287;
        seen.text = bytes;
        seen
    }
}

struct Owned(Floor);

impl Streams for Owned {
    async fn stream(&self) -> Seen {
        let mut seen = Seen::default();
        let mut answer = self.0.send().await;
        let mut held: Vec<u8> = Vec::new();
        while let Some(piece) = answer.chunk().await.expect("the stream is whole") {
            let mut rest = &piece[..];
            if !held.is_empty() {
                // An event that the last piece began: its end is in this one, or half in the last.
                let begun = held.len().saturating_sub(1);
                held.extend_from_slice(rest);
                let Some(end) = memchr::memmem::find(&held[begun..], b"\n\n") else { continue };
                rest = &rest[rest.len() - (held.len() - (begun + end + 2))..];
                read(&held[..begun + end], &mut seen);
                held.clear();
            }
            let mut start = 0;
            for newline in memchr::memchr_iter(b'\n', rest) {
                if newline > start && rest.get(newline + 1) == Some(&b'\n') {
                    read(&rest[start..newline], &mut seen);
                    start = newline + 2;
                }
            }
            held.extend_from_slice(&rest[start..]);
        }
        seen
    }
}

fn read(event: &[u8], seen: &mut Seen) {
    let Some(data) = event.strip_prefix(b"data: ") else { return };
    if data == b"[DONE]" {
        return;
    }
    let chunk: Chunk = std::hint::black_box(serde_json::from_slice(data).expect("the mock speaks JSON"));
    seen.chunk(chunk.choices.first().and_then(|choice| choice.delta.content.as_deref()).unwrap_or_default());
}

/// As small as a whole chunk can be.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Chunk {
    id: String,
    created: i64,
    model: String,
    system_fingerprint: Option<String>,
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Choice {
    index: u32,
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Delta {
    role: Option<String>,
    content: Option<String>,
    refusal: Option<String>,
}
