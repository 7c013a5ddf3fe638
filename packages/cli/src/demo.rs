//! What answers when no key is set: the mock provider, inside this process, over a real socket and through the real engine.

use literllm::ClientConfig;
use literllm_mock::{Mock, Options};

/// A model that needs no key, and the server that answers for it.
pub struct Demo {
    pub model: String,
    pub config: ClientConfig,
    _server: Mock,
}

impl Demo {
    pub async fn start() -> Result<Self, String> {
        let server = Mock::start(Options::default()).await.map_err(|error| format!("the demo model cannot start: {error}"))?;
        eprintln!(
            "literllm: no API key is set, so the built-in demo model answers. Set one, such as OPENAI_API_KEY or ANTHROPIC_API_KEY,\n\
             literllm: to ask a real model; `literllm providers` lists them all."
        );
        let config = ClientConfig {
            base_url: Some(format!("{}/v1", server.url())),
            provider: Some("demo".to_owned()),
            ..ClientConfig::default()
        };
        Ok(Self { model: "story-teller?pace=12".to_owned(), config, _server: server })
    }
}
