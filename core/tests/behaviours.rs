//! One suite over every dialect: what each provider's streams come to, and what each one's faults do. Prints a table, provider by
//! behaviour.

use std::time::Duration;

use literllm::{ChatCompletion, ChatCompletionRequest, Client, ClientConfig, Error, ErrorKind};
use literllm_mock::{Event, Mock, Options};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

/// A model of each provider, and what stands behind the mock's address.
const PROVIDERS: [(&str, &str, &str); 12] = [
    ("openai", "demo", "/v1"),
    ("openrouter", "demo", "/v1"),
    ("anthropic", "claude-demo", ""),
    ("bedrock", "demo", ""),
    ("gemini", "gemini-2.5-flash", ""),
    ("vertex_ai", "gemini-2.5-flash", ""),
    ("azure", "demo", ""),
    ("azure_ai", "demo", ""),
    ("mistral", "demo", ""),
    ("cohere", "demo", ""),
    ("ollama", "demo", ""),
    ("vertex_ai", "claude-demo", ""),
];

/// One provider at the mock, told to behave in a way.
struct Asked<'a> {
    mock: &'a Mock,
    provider: &'a str,
    model: &'a str,
    path: &'a str,
}

impl Asked<'_> {
    fn client(&self, behaviour: &str) -> Client {
        let dialect = match self.provider {
            "azure" | "azure_ai" => "dialect=azure; ",
            "mistral" => "dialect=mistral; ",
            _ => "",
        };
        let mut config = json!({ "api_keys": {}, "base_urls": {}, "max_retries": 0, "drop_unsupported": true });
        config["api_keys"][self.provider] = "test-key".into();
        config["base_urls"][self.provider] = format!("{}{}", self.mock.url(), self.path).into();
        config["headers"]["x-mock"] = format!("{dialect}{behaviour}").into();
        if self.provider == "vertex_ai" {
            config["settings"]["vertex_ai"]["project"] = "p".into();
        }
        Client::new(ClientConfig::from_json(&config.to_string()).expect("a configuration")).expect("a client")
    }

    fn request(&self) -> ChatCompletionRequest {
        let tool = json!({ "type": "function", "function": { "name": "f", "parameters": {
            "type": "object", "properties": { "a": { "type": "integer" } } } } });
        let request = json!({
            "model": format!("{}/{}", self.provider, self.model), "max_tokens": 100, "tools": [tool],
            "messages": [{ "role": "user", "content": "Tell me a story" }],
        });
        serde_json::from_value(request).expect("a request")
    }

    /// Streams to the end: the answer as far as it came, how many chunks it was, and the error.
    async fn stream(&self, behaviour: &str) -> (ChatCompletion, usize, Option<Error>) {
        let mut stream = match self.client(behaviour).chat_stream(self.request()).await {
            Ok(stream) => stream,
            Err(error) => return (ChatCompletion::default(), 0, Some(error)),
        };
        let mut chunks = 0;
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(_) => chunks += 1,
                Err(error) => return (stream.completion(), chunks, Some(error)),
            }
        }
        let answer = stream.completion();
        assert_eq!(stream.into_completion(), answer, "the same, copied or not");
        (answer, chunks, None)
    }

    /// As a stream and as a whole answer; both must mean the same.
    async fn answer(&self, behaviour: &str) -> Result<ChatCompletion, String> {
        let (streamed, _, error) = self.stream(behaviour).await;
        if let Some(error) = error {
            return Err(format!("stream: {error}"));
        }
        let whole = self.client(behaviour).chat(self.request()).await.map_err(|error| format!("whole: {error}"))?;
        let said = |answer: &ChatCompletion| {
            let choice = answer.choices[0].clone();
            let calls: Vec<_> = choice.message.tool_calls.iter().map(|call| call.function.clone()).collect();
            (choice.message.text(), choice.message.reasoning_content, calls, choice.finish_reason, answer.usage.clone())
        };
        if said(&streamed) != said(&whole) {
            return Err(format!("streamed {:?}, whole {:?}", said(&streamed), said(&whole)));
        }
        Ok(streamed)
    }
}

type Verdict = Result<(), String>;

#[allow(clippy::needless_pass_by_value)]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Verdict {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:?} ≠ {should:?}")) }
}

async fn text(asked: &Asked<'_>) -> Verdict {
    let answer = asked.answer("text=Once upon a time.").await?;
    same("text", answer.text(), "Once upon a time.")?;
    same("finish", answer.choices[0].finish_reason.as_deref(), Some("stop"))
}

async fn bytes(asked: &Asked<'_>) -> Verdict {
    let (answer, _, error) = asked.stream("text=Žluťoučký 🐎 upon a time.; split=1").await;
    same("text", answer.text(), "Žluťoučký 🐎 upon a time.")?;
    same("error", error.map(|error| error.to_string()), None)
}

async fn tool(asked: &Asked<'_>) -> Verdict {
    let answer = asked.answer(r#"text=; tool=f:{"a":1}"#).await?;
    let call = &answer.choices[0].message.tool_calls.first().ok_or("no call")?.function;
    same("call", (call.name.as_str(), json_of(&call.arguments)), ("f", json!({ "a": 1 })))?;
    same("finish", answer.choices[0].finish_reason.as_deref(), Some("tool_calls"))
}

async fn parallel(asked: &Asked<'_>) -> Verdict {
    let answer = asked.answer(r#"text=; tool=f:{"a":1}; tool=f:{"a":2}; tool=g:{}; tool_whole=1"#).await?;
    let calls = &answer.choices[0].message.tool_calls;
    let arguments: Vec<_> = calls.iter().map(|call| (call.function.name.as_str(), json_of(&call.function.arguments))).collect();
    same("calls", arguments, vec![("f", json!({ "a": 1 })), ("f", json!({ "a": 2 })), ("g", json!({}))])?;
    let mut ids: Vec<_> = calls.iter().map(|call| &call.id).collect();
    ids.sort();
    ids.dedup();
    same("ids", ids.len(), 3)
}

async fn reasoning(asked: &Asked<'_>) -> Verdict {
    let answer = asked.answer("reasoning=Let me think.; text=Yes.").await?;
    same("text", answer.text(), "Yes.")?;
    same("reasoning", answer.choices[0].message.reasoning_content.as_deref(), Some("Let me think."))
}

async fn usage(asked: &Asked<'_>) -> Verdict {
    let answer = asked.answer("text=Hi; usage=20,8").await?;
    let usage = answer.usage.as_ref().ok_or("no usage")?;
    same("usage", (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (20, 8, 28))
}

async fn error_before(asked: &Asked<'_>) -> Verdict {
    for (status, kind) in [
        (401, ErrorKind::Authentication),
        (404, ErrorKind::NotFound),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::Server),
        (503, ErrorKind::Overloaded),
    ] {
        if (asked.provider, status) == ("bedrock", 401) {
            // AWS refuses a key with 403, as it does everything that is not allowed.
            continue;
        }
        let error =
            asked.client(&format!("status={status}; id=before")).chat_stream(asked.request()).await.err().ok_or("no error")?;
        same("kind", (error.kind(), error.status()), (kind, Some(status)))?;
        same("provider", error.provider(), Some(asked.provider))?;
    }
    Ok(())
}

async fn error_inside(asked: &Asked<'_>) -> Verdict {
    let (answer, _, error) = asked.stream("text=one two three four; error_at=3").await;
    let error = error.ok_or("no error")?;
    if matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Protocol | ErrorKind::InvalidRequest) {
        return Err(format!("{error} is {:?}", error.kind()));
    }
    prefix(answer.text(), "one two three four")
}

async fn truncation(asked: &Asked<'_>) -> Verdict {
    const TEXT: &str = "one two three";
    for behaviour in ["cut", "end"] {
        let mut was_whole = false;
        for at in 0..40 {
            let (answer, _, error) = asked.stream(&format!("text={TEXT}; {behaviour}={at}")).await;
            match error {
                None => {
                    same("text of what was called whole", answer.text(), TEXT)?;
                    was_whole = true;
                    break;
                }
                Some(error) if matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Network | ErrorKind::Protocol) => {
                    prefix(answer.text(), TEXT).map_err(|message| format!("{behaviour}={at}: {message}"))?;
                }
                Some(error) => return Err(format!("{behaviour}={at}: {error} is {:?}", error.kind())),
            }
        }
        same("whole at last", was_whole, true)?;
    }
    Ok(())
}

async fn cancel(asked: &Asked<'_>) -> Verdict {
    let id = format!("cancel-{}-{}", asked.provider, asked.model);
    let client = asked.client(&format!("id={id}; text=one two three four; stall=2"));
    let mut stream = client.chat_stream(asked.request()).await.map_err(|error| error.to_string())?;
    stream.next().await.ok_or("no chunk")?.map_err(|error| error.to_string())?;
    drop(stream);
    asked.mock.wait(id.as_str(), Event::Left, SOON).await.map(|_| ()).ok_or_else(|| "the connection stayed open".to_owned())
}

async fn malformed(asked: &Asked<'_>) -> Verdict {
    let (answer, _, error) = asked.stream("text=one two three; malformed=3").await;
    error.ok_or("no error")?;
    prefix(answer.text(), "one two three")
}

async fn proxy(asked: &Asked<'_>) -> Verdict {
    for behaviour in ["html=1", "empty=1"] {
        let (_, chunks, error) = asked.stream(behaviour).await;
        let error = error.ok_or("no error")?;
        if chunks > 0 || !matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Truncated) {
            return Err(format!("{behaviour}: {chunks} chunks, {error}"));
        }
    }
    let (_, _, error) = asked.stream("json_error=1").await;
    let error = error.ok_or("no error")?;
    if error.kind() == ErrorKind::Protocol { Err(format!("json_error: {error}")) } else { Ok(()) }
}

fn prefix(text: &str, of: &str) -> Verdict {
    if of.starts_with(text) { Ok(()) } else { Err(format!("{text:?} is no prefix")) }
}

fn json_of(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or(serde_json::Value::Null)
}

#[tokio::test]
async fn every_provider_behaves_the_same() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    let mut wrong = Vec::new();
    let mut heads = Vec::new();
    let mut rows = Vec::new();
    for (provider, model, path) in PROVIDERS {
        let asked = Asked { mock: &mock, provider, model, path };
        let verdicts = [
            ("text", text(&asked).await),
            ("bytes", bytes(&asked).await),
            ("tool", tool(&asked).await),
            ("parallel", parallel(&asked).await),
            ("reasoning", reasoning(&asked).await),
            ("usage", usage(&asked).await),
            ("error before", error_before(&asked).await),
            ("error inside", error_inside(&asked).await),
            ("truncation", truncation(&asked).await),
            ("malformed", malformed(&asked).await),
            ("proxy", proxy(&asked).await),
            ("cancel", cancel(&asked).await),
        ];
        heads = verdicts.iter().map(|(name, _)| *name).collect();
        let name = if model.starts_with("claude") && provider != "anthropic" {
            format!("{provider} (Claude)")
        } else {
            provider.to_owned()
        };
        let cells: Vec<String> = verdicts
            .iter()
            .map(|(head, verdict)| format!("{:^width$}", if verdict.is_ok() { "✓" } else { "✗" }, width = head.len()))
            .collect();
        rows.push(format!("table: {name:18} {}", cells.join("  ")));
        wrong.extend(
            verdicts.into_iter().filter_map(|(head, verdict)| verdict.err().map(|message| format!("{name}, {head}: {message}"))),
        );
    }
    println!("table: {:18} {}", "", heads.join("  "));
    for row in &rows {
        println!("{row}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
