//! The command as a user runs it, against a mock in this process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use literllm_mock::{Event, Mock, Options};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

fn mock() -> Mock {
    Mock::spawn(Options::default()).expect("a mock")
}

/// The command without any key of the machine it runs on.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_literllm"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the command runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Asks the mock with a request on stdin.
fn ask(mock: &Mock, behaviour: &str, more: &[&str]) -> Output {
    let url = format!("{}/mock/{}/v1", mock.url(), behaviour.replace("; ", ","));
    let mut arguments = vec!["chat", "--request", "-", "--output", "jsonl", "--base-url", &url, "--max-retries", "0"];
    arguments.extend(more);
    let mut child = command(&arguments).stdin(Stdio::piped()).spawn().expect("the command runs");
    let request = json!({"model": "openai/demo", "messages": [{"role": "user", "content": "hi"}], "stream_options": {"include_usage": true}});
    child.stdin.take().expect("its stdin").write_all(request.to_string().as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn without_a_key_the_demo_model_answers_and_says_so() {
    let output = run(&mut command(&["chat", "Tell me a story"]));
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).len() > 200);
    assert!(text(&output.stderr).contains("OPENAI_API_KEY") && text(&output.stderr).contains("demo"));
}

#[test]
fn each_chunk_is_a_line_and_the_last_has_the_usage() {
    let output = ask(&mock(), "text=one%20two; usage=3,2", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let chunks: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("a chunk")).collect();
    let said: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, "one two");
    assert_eq!(chunks.last().expect("a last one")["usage"]["total_tokens"], 5);
}

#[test]
fn a_line_is_there_the_moment_its_chunk_is() {
    let mock = mock();
    let url = format!("{}/mock/id=live,text=one%20two,withhold=2/v1", mock.url());
    let arguments = ["chat", "hi", "--model", "openai/demo", "--output", "jsonl", "--base-url", &url];
    let mut child = command(&arguments).spawn().expect("the command runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its stdout")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert!(next().contains("assistant"));
    assert!(next().contains("\"one\""));
    mock.release("live", 100);
    assert!(next().contains("two"));
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_exit_status_tells_how_it_ended() {
    let mock = mock();
    let before = ask(&mock, "status=500", &[]);
    assert_eq!(before.status.code(), Some(1));
    let after = ask(&mock, "text=one%20two%20three; cut=3", &[]);
    assert_eq!(after.status.code(), Some(3));
    assert!(text(&after.stdout).contains("two"), "what came stays printed");
    let error: Value = serde_json::from_str(text(&after.stderr)).expect("one JSON object on stderr");
    assert_eq!(error["error"]["kind"], "truncated");
    assert_eq!(error["error"]["partial"]["choices"][0]["message"]["content"], "one two");
    assert_eq!(run(&mut command(&["chat", "--no-such-option"])).status.code(), Some(2));
    assert_eq!(run(&mut command(&["chat", "hi", "--model", "openai/gpt-4o"])).status.code(), Some(1));
}

#[test]
fn deadlines_are_options() {
    let mock = mock();
    for (behaviour, option, status) in [
        ("stall=0", "--first-token-timeout", 1),
        ("text=one%20two%20three; stall=3", "--idle-timeout", 3),
        ("chunks=1000; bytes=200; pace=20", "--timeout", 3),
    ] {
        let output = ask(&mock, behaviour, &[option, "0.3"]);
        assert_eq!(output.status.code(), Some(status), "{option}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("\"timeout\""), "{option}: {}", text(&output.stderr));
    }
}

#[test]
fn text_goes_to_stdout_and_errors_to_stderr() {
    let mock = mock();
    let url = format!("{}/mock/text=one%20two%20three,cut=3/v1", mock.url());
    let output = run(&mut command(&["chat", "hi", "-m", "openai/demo", "--base-url", &url]));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), "one two\n"));
    assert!(text(&output.stderr).starts_with("error: openai/demo"), "{}", text(&output.stderr));
}

#[test]
fn the_whole_answer_comes_as_one_object() {
    let mock = mock();
    let url = format!("{}/mock/text=one%20two,tool=f:%7B%7D/v1", mock.url());
    let output = run(&mut command(&["chat", "hi", "-m", "openai/demo", "--base-url", &url, "--output", "json"]));
    let answer: Value = serde_json::from_str(text(&output.stdout)).expect("JSON");
    assert_eq!(answer["choices"][0]["message"]["content"], "one two");
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "f");
}

#[test]
fn ctrl_c_closes_the_stream() {
    let mock = mock();
    let url = format!("{}/mock/id=stopped,text=one%20two,stall=2/v1", mock.url());
    let mut child = command(&["chat", "hi", "-m", "openai/demo", "--base-url", &url]).spawn().expect("the command runs");
    let mut first = [0; 3];
    child.stdout.take().expect("its stdout").read_exact(&mut first).expect("the first word");
    let started = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs").success());
    mock.wait_blocking("stopped", Event::Left, SOON).expect("the mock sees it leave");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(started.elapsed() < SOON);
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let says = |request: &[u8]| {
        let mut child = command(&["chat", "--request", "-", "--base-url", "http://127.0.0.1:9/v1"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("it runs");
        child.stdin.take().expect("its stdin").write_all(request).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        (output.status.code(), text(&output.stderr).to_owned())
    };
    for (request, status, word) in [
        (&br#"{"model":"openai/m","messages":[]}"#[..], 1, "no messages"),
        (br#"{"model":"openai/m","messages":"hi"}"#, 2, "messages"),
        (br#"{"model":7,"messages":[]}"#, 2, "model"),
        (br#"{"model":"openai/m","messages":[{"role":"user","content":"\ud83d"}]}"#, 2, "hex escape"),
        (b"{", 2, "EOF"),
        (b"\xff\xfe", 2, "stdin"),
    ] {
        let (code, message) = says(request);
        assert_eq!(code, Some(status), "{message}");
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn providers_are_listed_with_the_keys_that_are_set() {
    let output = run(command(&["providers", "--output", "json"]).env("GROQ_API_KEY", "gsk_x"));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(rows.len() > 60);
    let set: Vec<&str> =
        rows.iter().filter(|row| row["key_set"] == true).map(|row| row["name"].as_str().expect("a name")).collect();
    assert_eq!(set, ["groq"]);
    assert!(!text(&output.stdout).contains("gsk_x"));
}

#[test]
fn the_mock_says_its_address_first_and_ends_with_its_stdin() {
    let mut child = command(&["mock", "--exit-with-stdin"]).stdin(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its stdout")).read_line(&mut line).expect("a line");
    let port = line.trim().strip_prefix("http://127.0.0.1:").expect("its address");
    assert!(port.parse::<u16>().expect("a port") > 0);
    drop(child.stdin.take());
    child.wait().expect("it ends");
}

#[test]
fn a_cut_answer_is_mended_by_another_model() {
    let mock = mock();
    let url = format!("{}/v1", mock.url());
    let models = ["openai/a?text=one%20two%20three%20four&cut=3", "openai/b?text=one%20two%20three%20four&continue=1"];
    let output =
        run(&mut command(&["chat", "hi", "-m", models[0], "-m", models[1], "--base-url", &url, "--fallback-mode", "auto"]));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "one two three four\n"), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("goes on after 7 characters"), "{}", text(&output.stderr));
    let off = run(&mut command(&["chat", "hi", "-m", models[0], "-m", models[1], "--base-url", &url, "--fallback-mode", "off"]));
    assert_eq!((off.status.code(), text(&off.stdout)), (Some(3), "one two\n"));
}

#[test]
fn help_names_every_option() {
    let help = run(&mut command(&["chat", "--help"]));
    for option in [
        "--model",
        "--system",
        "--base-url",
        "--api-key",
        "--temperature",
        "--max-tokens",
        "--connect-timeout",
        "--first-token-timeout",
        "--fallback-mode",
        "--idle-timeout",
        "--timeout",
        "--max-retries",
        "--request",
        "--output",
    ] {
        assert!(text(&help.stdout).contains(option), "{option}");
    }
}
