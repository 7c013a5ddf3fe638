//! What others publish, each as its own documentation says to use it. See `driver` for how it is called.

#[path = "../../driver.rs"]
mod driver;

use driver::{Job, MODEL, PROMPT, Seen, Streams};
use futures_util::StreamExt;
use liter_llm::LlmClient;

fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("nobody else installs one");
    let job = Job::from_args();
    match job.client.as_str() {
        "async-openai" => job.run(AsyncOpenAi::new(&job.base_url)),
        "genai" => job.run(GenAi::new(&job.base_url)),
        "peer-liter-llm" => job.run(LiterLlm::new(&job.base_url)),
        other => panic!("there is no client {other} here"),
    }
}

struct AsyncOpenAi {
    client: async_openai::Client<async_openai::config::OpenAIConfig>,
    request: async_openai::types::chat::CreateChatCompletionRequest,
}

impl AsyncOpenAi {
    fn new(base_url: &str) -> Self {
        let config = async_openai::config::OpenAIConfig::new().with_api_base(base_url).with_api_key("sk-anything");
        let request = serde_json::json!({"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]});
        Self {
            client: async_openai::Client::with_config(config),
            request: serde_json::from_value(request).expect("a request"),
        }
    }
}

impl Streams for AsyncOpenAi {
    async fn stream(&self) -> Seen {
        let mut seen = Seen::default();
        let mut stream = self.client.chat().create_stream(self.request.clone()).await.expect("the mock answers");
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.expect("the stream is whole");
            seen.chunk(chunk.choices.first().and_then(|choice| choice.delta.content.as_deref()).unwrap_or_default());
        }
        seen
    }
}

struct GenAi {
    client: genai::Client,
    request: genai::chat::ChatRequest,
}

impl GenAi {
    fn new(base_url: &str) -> Self {
        use genai::adapter::AdapterKind;
        use genai::resolver::{AuthData, Endpoint, ServiceTargetResolver};
        let base_url = format!("{base_url}/");
        let resolver = ServiceTargetResolver::from_resolver_fn(move |target: genai::ServiceTarget| {
            Ok::<_, genai::resolver::Error>(genai::ServiceTarget {
                endpoint: Endpoint::from_owned(base_url.clone()),
                auth: AuthData::from_single("sk-anything"),
                model: genai::ModelIden::new(AdapterKind::OpenAI, target.model.model_name),
            })
        });
        Self {
            client: genai::Client::builder().with_service_target_resolver(resolver).build().expect("a client"),
            request: genai::chat::ChatRequest::from_user(PROMPT),
        }
    }
}

impl Streams for GenAi {
    async fn stream(&self) -> Seen {
        let mut seen = Seen::default();
        let mut answer =
            self.client.exec_chat_stream(MODEL, self.request.clone(), None).await.expect("the mock answers");
        while let Some(event) = answer.stream.next().await {
            if let genai::chat::ChatStreamEvent::Chunk(chunk) = event.expect("the stream is whole") {
                seen.chunk(&chunk.content);
            }
        }
        seen
    }
}

struct LiterLlm {
    client: liter_llm::DefaultClient,
    request: liter_llm::ChatCompletionRequest,
}

impl LiterLlm {
    fn new(base_url: &str) -> Self {
        let config = liter_llm::ClientConfigBuilder::new("sk-anything").base_url(base_url).build();
        let model = format!("openai/{MODEL}");
        let request = serde_json::json!({"model": model, "messages": [{"role": "user", "content": PROMPT}]});
        Self {
            client: liter_llm::DefaultClient::new(config, Some(&model)).expect("a client"),
            request: serde_json::from_value(request).expect("a request"),
        }
    }
}

impl Streams for LiterLlm {
    async fn stream(&self) -> Seen {
        let mut seen = Seen::default();
        let mut stream = self.client.chat_stream(self.request.clone()).await.expect("the mock answers");
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.expect("the stream is whole");
            seen.chunk(chunk.choices.first().and_then(|choice| choice.delta.content.as_deref()).unwrap_or_default());
        }
        seen
    }
}
