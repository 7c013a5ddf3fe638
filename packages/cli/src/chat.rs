//! `literllm chat`.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use literllm::config::{Retries, Timeouts};
use literllm::providers;
use literllm::{ChatCompletionRequest, ChatStream, Client, ClientConfig, Error, LegEvent, Message};

use crate::demo::Demo;
use crate::interactive;

/// Asks a model and streams its answer. Without a prompt on a terminal it becomes a conversation.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 complete, 1 failed before the first chunk, 2 wrong usage, 3 failed after it (what came stays printed)."
)]
pub struct Chat {
    /// What to ask; read from stdin if it is not a terminal
    prompt: Option<String>,
    /// provider/model, such as openai/gpt-4o; several are tried in order, and go on where one breaks off
    #[arg(short, long)]
    model: Vec<String>,
    /// How an answer that breaks off is gone on with: auto, prefill, user_turn, restart or off
    #[arg(long, value_name = "MODE")]
    fallback_mode: Option<String>,
    /// What the model is told before the prompt
    #[arg(short, long)]
    system: Option<String>,
    /// Another address of the provider, or any OpenAI-compatible host's
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The provider's key; safer in its variable
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    #[arg(short, long)]
    temperature: Option<f64>,
    /// The longest answer, in tokens
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// Until the connection stands (default 10)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    connect_timeout: Option<Duration>,
    /// Until the first token (default 600; 0 is for ever)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    first_token_timeout: Option<Duration>,
    /// Between chunks (default 300; 0 is for ever)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle_timeout: Option<Duration>,
    /// For the whole answer (default: for ever)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// How often a failed call is tried again before its first chunk (default 2)
    #[arg(long, value_name = "N")]
    max_retries: Option<u32>,
    /// A whole OpenAI request body, from a file or - for stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "system"])]
    request: Option<PathBuf>,
    /// The text as it comes, a JSON line for each chunk, or the whole answer as JSON
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Jsonl,
    Json,
}

/// How a call ended, as an exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Complete = 0,
    FailedBefore = 1,
    Usage = 2,
    FailedAfter = 3,
    /// As a shell has it of a program that Ctrl-C ended.
    Interrupted = 130,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        ExitCode::from(ending as u8)
    }
}

impl Chat {
    pub async fn run(self) -> ExitCode {
        let mut request = match self.request() {
            Ok(request) => request,
            Err(message) => {
                eprintln!("error: {message}");
                return Ending::Usage.into();
            }
        };
        let mut config = self.config();
        let demo = match self.choose_model(&mut request).await {
            Ok(demo) => demo,
            Err(message) => {
                eprintln!("error: {message}");
                return Ending::FailedBefore.into();
            }
        };
        if let Some(demo) = &demo {
            config = ClientConfig { timeouts: config.timeouts, retries: config.retries, ..demo.config.clone() };
        }
        let client = match Client::new(config) {
            Ok(client) => client,
            Err(error) => return self.report(&error, false).into(),
        };
        if request.messages.iter().all(|message| message.role != "user") && self.request.is_none() {
            return interactive::converse(&client, request).await;
        }
        self.answer(&client, &request).await.into()
    }

    async fn answer(&self, client: &Client, request: &ChatCompletionRequest) -> Ending {
        let mut printed = false;
        let answered = async {
            let mut stream = client.chat_stream(request).await?;
            self.print(&mut stream, &mut printed).await
        };
        let result = tokio::select! {
            result = answered => result,
            _ = tokio::signal::ctrl_c() => {
                if self.output == Output::Text && printed {
                    let _ = writeln!(std::io::stdout());
                }
                return Ending::Interrupted;
            }
        };
        match result {
            Ok(()) => Ending::Complete,
            Err(error) => self.report(&error, printed),
        }
    }

    async fn print(&self, stream: &mut ChatStream, printed: &mut bool) -> literllm::Result<()> {
        let mut out = std::io::stdout().lock();
        let mut text = Vec::new();
        let mut ends_line = true;
        while let Some(batch) = stream.next_batch().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    if self.output == Output::Text && !ends_line {
                        let _ = writeln!(out);
                    }
                    return Err(error);
                }
            };
            *printed = true;
            text.clear();
            for chunk in &batch {
                if let Some(event) = &chunk.literllm {
                    tell(event);
                }
                match self.output {
                    Output::Jsonl => {
                        serde_json::to_writer(&mut text, chunk).expect("a chunk is JSON, and memory takes it");
                        text.push(b'\n');
                    }
                    Output::Text => {
                        for choice in chunk.choices.iter().filter(|choice| choice.index == 0) {
                            for said in [&choice.delta.content, &choice.delta.refusal].into_iter().flatten() {
                                text.extend_from_slice(said.as_bytes());
                            }
                        }
                    }
                    Output::Json => {}
                }
            }
            if let Some(last) = text.last() {
                ends_line = *last == b'\n';
            }
            // A reader that left has seen enough.
            if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                return Ok(());
            }
        }
        match self.output {
            Output::Text if !ends_line => {
                let _ = writeln!(out);
            }
            Output::Json => {
                let answer = serde_json::to_string_pretty(&stream.completion()).expect("an answer is JSON");
                let _ = writeln!(out, "{answer}");
            }
            _ => {}
        }
        Ok(())
    }

    /// Says on stderr what went wrong, in the manner of the output.
    fn report(&self, error: &Error, after_first_chunk: bool) -> Ending {
        match self.output {
            Output::Text => eprintln!("error: {error}"),
            Output::Jsonl | Output::Json => eprintln!("{{\"error\":{}}}", error.to_json()),
        }
        if after_first_chunk || error.partial().is_some() { Ending::FailedAfter } else { Ending::FailedBefore }
    }

    /// The request as the arguments have it, or as the file does.
    fn request(&self) -> Result<ChatCompletionRequest, String> {
        let mut request = match &self.request {
            Some(path) => read_request(path)?,
            None => ChatCompletionRequest {
                messages: self.system.iter().map(|system| Message::system(system.as_str())).collect(),
                ..ChatCompletionRequest::default()
            },
        };
        if self.request.is_none() {
            let prompt = match &self.prompt {
                Some(prompt) => Some(prompt.clone()),
                None if std::io::stdin().is_terminal() => None,
                None => {
                    let prompt = read_all(std::io::stdin(), "stdin")?;
                    if prompt.trim().is_empty() {
                        return Err("there is no prompt; give one as an argument or on stdin".to_owned());
                    }
                    Some(prompt)
                }
            };
            request.messages.extend(prompt.map(Message::from));
        }
        match self.model.as_slice() {
            [] => {}
            [one] => request.model = one.as_str().into(),
            several => request.model = several.to_vec().into(),
        }
        if let Some(mode) = &self.fallback_mode {
            request.stream_fallback_mode = Some(mode.as_str().into());
        }
        request.temperature = self.temperature.or(request.temperature);
        request.max_tokens = self.max_tokens.or(request.max_tokens);
        Ok(request)
    }

    fn config(&self) -> ClientConfig {
        ClientConfig {
            api_key: self.api_key.clone().map(Into::into),
            base_url: self.base_url.clone(),
            timeouts: Timeouts {
                connect_timeout: self.connect_timeout,
                first_token_timeout: self.first_token_timeout,
                idle_timeout: self.idle_timeout,
                timeout: self.timeout,
            },
            retries: Retries { max_retries: self.max_retries, ..Retries::default() },
            ..ClientConfig::default()
        }
    }

    /// Where no model is named: that of the first provider whose key is set, or the demo.
    async fn choose_model(&self, request: &mut ChatCompletionRequest) -> Result<Option<Demo>, String> {
        const USUAL: [(&str, &str); 7] = [
            ("OPENAI_API_KEY", "openai/gpt-5-mini"),
            ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-4-5"),
            ("GEMINI_API_KEY", "gemini/gemini-2.5-flash"),
            ("GROQ_API_KEY", "groq/llama-3.3-70b-versatile"),
            ("MISTRAL_API_KEY", "mistral/mistral-small-latest"),
            ("DEEPSEEK_API_KEY", "deepseek/deepseek-chat"),
            ("OPENROUTER_API_KEY", "openrouter/openrouter/auto"),
        ];
        if !request.model.first().is_empty() {
            return Ok(None);
        }
        let is_set = |name: &str| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
        if self.base_url.is_some() {
            request.model = "default".into();
            return Ok(None);
        }
        if self.api_key.is_some() {
            return Err("--api-key needs --model, to know whose key it is".to_owned());
        }
        let known = |model: &str| model.split('/').next().is_some_and(providers::is_known);
        if let Some((_, model)) = USUAL.iter().find(|(variable, model)| is_set(variable) && known(model)) {
            request.model = (*model).into();
            return Ok(None);
        }
        let demo = Demo::start().await?;
        request.model = demo.model.as_str().into();
        Ok(Some(demo))
    }
}

/// Says on stderr that a route failed and another goes on.
fn tell(event: &LegEvent) {
    for route in &event.failed {
        eprintln!("literllm: {}/{} failed ({}): {}", route.provider, route.model, route.kind, route.message);
    }
    let how = match &*event.event {
        "reset" => "begins anew; what was said is void".to_owned(),
        _ if event.kept == 0 => "answers".to_owned(),
        _ => format!("goes on after {} characters ({})", event.kept, event.mode),
    };
    eprintln!("literllm: {}/{} {how}", event.provider, event.model);
}

fn read_request(path: &PathBuf) -> Result<ChatCompletionRequest, String> {
    let (name, text) = if path.as_os_str() == "-" {
        ("stdin".to_owned(), read_all(std::io::stdin(), "stdin")?)
    } else {
        let name = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        let text = read_all(file, &name)?;
        (name, text)
    };
    serde_json::from_str(&text).map_err(|error| format!("{name} holds no chat request: {error}"))
}

fn read_all(mut source: impl Read, name: &str) -> Result<String, String> {
    let mut text = String::new();
    source.read_to_string(&mut text).map_err(|error| format!("cannot read {name}: {error}"))?;
    Ok(text)
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a number of seconds, 0 or more".to_owned())
}
