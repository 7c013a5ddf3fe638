//! `literllm mock`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use literllm_mock::{Options, Protocol, serve};

/// Prints its address and serves until it is stopped. Point a client's base URL at it; how it answers and breaks is said by each request
/// (see the package's README).
#[derive(Debug, Args)]
pub struct Mock {
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Serve https, with a certificate of its own making
    #[arg(long)]
    tls: bool,
    /// Write the certificate to trust to this file
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// Speak HTTP/1.1 only
    #[arg(long, conflicts_with = "http2")]
    http1: bool,
    /// Speak HTTP/2 only
    #[arg(long)]
    http2: bool,
    /// Streams that one HTTP/2 connection may carry
    #[arg(long, value_name = "N")]
    max_streams: Option<u32>,
    /// A folder of conformance cases to be replayed
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Stop when stdin ends, so that a test's mock dies with the test
    #[arg(long)]
    exit_with_stdin: bool,
}

impl Mock {
    pub async fn run(self) -> ExitCode {
        let protocol = match (self.http1, self.http2) {
            (true, _) => Protocol::Http1,
            (_, true) => Protocol::Http2,
            _ => Protocol::Any,
        };
        let options = Options {
            port: self.port,
            tls: self.tls || self.ca_out.is_some(),
            ca_out: self.ca_out,
            protocol,
            max_concurrent_streams: self.max_streams,
            cases: self.cases,
            exit_with_stdin: self.exit_with_stdin,
            ..Options::default()
        };
        match serve(options).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
