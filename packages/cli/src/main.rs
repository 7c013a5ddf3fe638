//! The `literllm` command.

mod chat;
mod demo;
mod interactive;
mod mock;
mod providers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Streams every LLM the same way.
#[derive(Debug, Parser)]
#[command(name = "literllm", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a model and stream its answer
    Chat(Box<chat::Chat>),
    /// List the providers and which keys are set
    Providers(providers::Providers),
    /// Run a provider on this machine that answers without a model and breaks on demand
    Mock(mock::Mock),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    literllm::log::init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the system refuses a runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Chat(chat) => Box::pin(chat.run()).await,
            Command::Providers(providers) => providers.run(),
            Command::Mock(mock) => mock.run().await,
        }
    });
    // A read of the terminal that nobody answers any more must not hold the process.
    runtime.shutdown_background();
    code
}
