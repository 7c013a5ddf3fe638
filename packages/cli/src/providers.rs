//! `literllm providers`.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use literllm::providers::{self, Host};

#[derive(Debug, Args)]
pub struct Providers {
    /// Only those whose key is set, or that need none
    #[arg(long)]
    set: bool,
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

impl Providers {
    pub fn run(&self) -> ExitCode {
        let hosts: Vec<&Host> = providers::known().filter(|host| !self.set || key_state(host) != Key::Missing).collect();
        let text = match self.output {
            Form::Text => table(&hosts),
            Form::Json => json(&hosts),
        };
        // A reader that left is no failure.
        let _ = std::io::stdout().write_all(text.as_bytes());
        ExitCode::SUCCESS
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Set,
    Missing,
    NotNeeded,
}

fn key_state(host: &Host) -> Key {
    let is_set = |name: &String| std::env::var(name).is_ok_and(|key| !key.trim().is_empty());
    match host.key_vars.iter().any(is_set) {
        true => Key::Set,
        false if host.local || host.key_vars.is_empty() => Key::NotNeeded,
        false => Key::Missing,
    }
}

fn table(hosts: &[&Host]) -> String {
    let width = hosts.iter().map(|host| host.name.len()).max().unwrap_or(0);
    let row = |host: &&Host| {
        let state = match key_state(host) {
            Key::Set => "set",
            Key::Missing => "-",
            Key::NotNeeded => "no key",
        };
        let variable = host.key_vars.first().map_or("", String::as_str);
        format!("{:width$}  {state:6}  {variable:28}  {}\n", host.name, host.base_url)
    };
    hosts.iter().map(row).collect()
}

fn json(hosts: &[&Host]) -> String {
    let rows: Vec<_> = hosts
        .iter()
        .map(|host| {
            serde_json::json!({
                "name": &*host.name,
                "aliases": host.aliases,
                "base_url": host.base_url,
                "key_vars": host.key_vars,
                "key_set": key_state(host) == Key::Set,
                "local": host.local,
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::Array(rows))
}
