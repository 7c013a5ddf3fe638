//! A conversation on a terminal: each answer is remembered, Ctrl-C stops an answer, Ctrl-D ends it all.

use std::io::Write;
use std::process::ExitCode;

use literllm::{ChatCompletionRequest, Client, Message};

pub async fn converse(client: &Client, mut request: ChatCompletionRequest) -> ExitCode {
    eprintln!("Talk to {}. Ctrl-C stops an answer, Ctrl-D ends the conversation.", request.model.first());
    while let Some(line) = read_line().await {
        if line.trim().is_empty() {
            continue;
        }
        request.messages.push(Message::user(line.trim_end()));
        let answered = answer(client, &request);
        let reply = tokio::select! {
            reply = answered => reply,
            _ = tokio::signal::ctrl_c() => {
                println!();
                None
            }
        };
        match reply {
            Some(reply) => request.messages.push(reply),
            // What was not answered is not part of the conversation.
            None => drop(request.messages.pop()),
        }
    }
    println!();
    ExitCode::SUCCESS
}

/// Prints the answer as it comes, and returns it to be remembered.
async fn answer(client: &Client, request: &ChatCompletionRequest) -> Option<Message> {
    let mut stream = client.chat_stream(request).await.map_err(|error| eprintln!("error: {error}")).ok()?;
    while let Some(batch) = stream.next_batch().await {
        let batch = batch.map_err(|error| eprintln!("\nerror: {error}")).ok()?;
        for text in batch.iter().flat_map(|chunk| &chunk.choices).filter_map(|choice| choice.delta.content.as_deref()) {
            print!("{text}");
        }
        std::io::stdout().flush().ok()?;
    }
    println!();
    stream.completion().message().cloned()
}

/// The next line, or `None` at the end of the input.
async fn read_line() -> Option<String> {
    print!("> ");
    std::io::stdout().flush().ok()?;
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok().filter(|&length| length > 0).map(|_| line)
    });
    read.await.ok().flatten()
}
