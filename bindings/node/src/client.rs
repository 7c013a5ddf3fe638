//! The client. Configuration, requests and options come as JSON, and are read where no event loop waits.

use std::sync::Arc;

use literllm::{ChatCompletionRequest, ClientConfig, Error, ErrorKind, RequestOptions};
use napi::Result;
use napi::bindgen_prelude::{FnArgs, Function};
use napi_derive::napi;

use crate::call::Call;
use crate::inbox::Inbox;
use crate::tokens::Tokens;

#[napi]
pub struct Client {
    client: literllm::Client,
    tokens: Option<Arc<Tokens>>,
}

#[napi]
impl Client {
    /// Throws an error whose message is the engine's error as JSON. Tokens of the providers named are asked for by `give_token`, and
    /// given by [`Self::supply_token`] under the number that came with the question.
    #[napi(constructor)]
    pub fn new(
        config: String,
        providers: Option<Vec<String>>,
        give_token: Option<Function<'_, FnArgs<(u32, String)>, ()>>,
    ) -> Result<Self> {
        literllm::log::init();
        let mut config = ClientConfig::from_json(&config).map_err(|error| thrown(&error))?;
        let tokens = give_token.map(|ask| Tokens::new(&ask)).transpose()?;
        if let Some(tokens) = &tokens {
            config.token_providers =
                providers.unwrap_or_default().into_iter().map(|name| (name.clone(), tokens.provider(name))).collect();
        }
        let client = literllm::Client::new(config).map_err(|error| thrown(&error))?;
        Ok(Self { client, tokens })
    }

    #[napi]
    pub fn supply_token(&self, number: u32, token: Option<String>, expires_at: Option<f64>, failure: Option<String>) {
        if let Some(tokens) = &self.tokens {
            tokens.answer(number, token, expires_at, failure.as_deref());
        }
    }

    /// Asks for a stream.
    #[napi]
    pub fn chat_stream(&self, inbox: &mut Inbox, request: String, options: Option<String>) -> Call {
        let client = self.client.clone();
        Call::stream(inbox, async move {
            let (request, options) = read(&request, options.as_deref())?;
            client.chat_stream_with(request, &options).await
        })
    }

    /// Asks for a whole answer.
    #[napi]
    pub fn chat(&self, inbox: &mut Inbox, request: String, options: Option<String>) -> Call {
        let client = self.client.clone();
        Call::whole(inbox, async move {
            let (request, options) = read(&request, options.as_deref())?;
            let answer = client.chat_with(request, &options).await?;
            Ok(serde_json::to_string(&answer).expect("an answer is made of wire types"))
        })
    }
}

fn read(request: &str, options: Option<&str>) -> literllm::Result<(ChatCompletionRequest, RequestOptions)> {
    let request = serde_json::from_str(request)
        .map_err(|error| Error::new(ErrorKind::InvalidRequest, format!("the request is wrong: {error}")))?;
    let options = options.map(RequestOptions::from_json).transpose()?.unwrap_or_default();
    Ok((request, options))
}

fn thrown(error: &Error) -> napi::Error {
    napi::Error::from_reason(error.to_json())
}
