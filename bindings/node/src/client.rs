//! The client. Configuration, requests and options come as JSON, and are read where no event loop waits.

use literllm::hooks::Stages;
use literllm::{ChatCompletionRequest, ClientConfig, Error, ErrorKind, RequestOptions};
use napi::Result;
use napi::bindgen_prelude::{FnArgs, Function};
use napi_derive::napi;

use crate::call::Call;
use crate::inbox::Inbox;
use crate::questions::{Asked, Asker, Questions};

#[napi]
pub struct Client {
    client: literllm::Client,
}

#[napi]
impl Client {
    /// Throws an error whose message is the engine's error as JSON. Where JavaScript is asked for tokens (the configuration names the
    /// providers), or has hooks (the stages of each are given), `ask` is called: with the question's number; the number of the hook, or
    /// nothing for a token; the event as JSON. `questions` takes the answers.
    #[napi(constructor)]
    pub fn new(
        config: String,
        questions: Option<&Questions>,
        ask: Option<Function<'_, FnArgs<Asked>, ()>>,
        hooks: Option<Vec<Vec<String>>>,
    ) -> Result<Self> {
        literllm::log::init();
        let mut config = ClientConfig::from_json(&config).map_err(|error| thrown(&error))?;
        let mut relayed = Vec::new();
        if let (Some(questions), Some(ask)) = (questions, ask) {
            let asker = Asker::new(&ask, questions)?;
            config.relay_tokens(asker.tokens());
            for (number, stages) in (0..).zip(hooks.unwrap_or_default()) {
                let stages = Stages::from_names(stages).map_err(|error| thrown(&error))?;
                relayed.push(asker.hook(number, stages));
            }
        }
        let client = literllm::Client::with_hooks(config, relayed).map_err(|error| thrown(&error))?;
        Ok(Self { client })
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
