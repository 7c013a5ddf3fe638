//! The README's Rust: compiled as it stands there, and run against the mock.

use std::process::Command;
use std::sync::Arc;

use literllm::hooks::{Hook, HookContext, Pending};
use literllm::{ChatCompletionChunk, ChatCompletionRequest, Client, ClientConfig, Result};
use literllm_mock::{Mock, Options};

#[test]
fn the_readmes_rust_is_what_is_compiled_here() {
    // White space and commas are the formatter's.
    let bare = |code: &str| code.replace([' ', '\n', ','], "");
    let here = bare(include_str!("readme.rs"));
    let blocks: Vec<&str> = include_str!("../../README.md").split("```rust\n").skip(1).collect();
    assert!(blocks.len() >= 2, "the README has {} blocks of Rust", blocks.len());
    for block in blocks {
        for part in block.split("```").next().unwrap_or_default().split("\n\n") {
            assert!(here.contains(&bare(part)), "this is not compiled in {}:\n{part}", file!());
        }
    }
}

#[tokio::test]
async fn its_first_lines_print_a_story() {
    let mock = Mock::start(Options::default()).await.expect("a mock");
    // It reads variables, which only another process can be given.
    let this = std::env::current_exe().expect("a test has a program");
    let mut program = Command::new(this);
    program.args(["--ignored", "--exact", "prints_a_story", "--nocapture"]);
    program.env("OPENAI_API_KEY", "any").env("OPENAI_BASE_URL", format!("{}/v1", mock.url()));
    let output = tokio::task::spawn_blocking(move || program.output()).await.expect("it ran").expect("it could be started");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("A lighthouse keeper once taught her lamp to count."), "{printed}");
}

#[tokio::test]
#[ignore = "run by its_first_lines_print_a_story, with its variables"]
async fn prints_a_story() -> Result<()> {
    let client = literllm::Client::from_env()?;
    let mut stream = client.chat_stream(ChatCompletionRequest::new("openai/gpt-4o", ["Tell me a story"])).await?;
    while let Some(chunk) = stream.next().await {
        print!("{}", chunk?.choices.first().and_then(|choice| choice.delta.content.as_deref()).unwrap_or_default());
    }
    Ok(())
}

struct Shout;

impl Hook for Shout {
    fn on_chunks<'a>(
        &'a self,
        _at: &'a HookContext,
        mut chunks: Vec<ChatCompletionChunk>,
    ) -> Pending<'a, Result<Vec<ChatCompletionChunk>>> {
        for text in chunks.iter_mut().flat_map(|chunk| &mut chunk.choices).filter_map(|choice| choice.delta.content.as_mut()) {
            *text = text.to_uppercase();
        }
        Box::pin(async { Ok(chunks) })
    }
}

#[test]
fn its_hook_is_one_of_a_client() -> Result<()> {
    let client = Client::with_hooks(ClientConfig::default(), [Arc::new(Shout) as Arc<dyn Hook>])?;
    assert!(format!("{client:?}").contains("Hook"));
    Ok(())
}
