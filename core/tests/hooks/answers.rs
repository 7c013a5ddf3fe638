//! What hooks make of chunks and of failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use literllm::hooks::Stages;
use literllm::{ChatCompletion, ChatCompletionRequest, Client, ClientConfig, ErrorKind, Hook};
use literllm_mock::Event;
use serde_json::{Value, json};

use super::{ALL, SOON, WAYS, ask, client, client_with, elsewhere, mock, request, saying};

/// A chunk hook that writes in capitals and leaves out what is empty but the role and the end.
fn capitals() -> Arc<dyn Hook> {
    let (hook, _) = saying(&["on_chunks"], |event| {
        let mut chunks = event["chunks"].as_array().unwrap().clone();
        for chunk in &mut chunks {
            let text = &mut chunk["choices"][0]["delta"]["content"];
            if let Some(said) = text.as_str() {
                *text = said.to_uppercase().into();
            }
        }
        chunks.retain(|chunk| chunk["choices"][0]["delta"]["content"] != " TWO");
        json!({ "chunks": chunks })
    });
    hook
}

#[tokio::test]
async fn changed_chunks_are_what_the_consumer_the_response_and_the_end_have() {
    let mock = mock().await;
    for way in WAYS {
        let (ends, told) = saying(&["on_end"], |_| json!({}));
        let client = client(&mock, vec![capitals(), ends]);
        let outcome = ask(&client, way, &request(way, "text=one two three")).await;
        let should = if way.stream || way.list { "ONE THREE" } else { "ONE TWO THREE" };
        assert_eq!(outcome.text(), should, "{way:?}");
        assert_eq!(told.of("on_end")[0]["response"]["choices"][0]["message"]["content"], should);
    }
}

#[tokio::test]
async fn the_partial_answer_is_what_the_hooks_let_through_while_recovery_goes_by_what_was_said() {
    let mock = mock().await;
    let client = client(&mock, vec![capitals()]);
    let outcome = ask(&client, WAYS[0], &request(WAYS[0], "text=one two three four&cut=4")).await;
    assert_eq!(outcome.error().partial().map(ChatCompletion::text), Some("ONE THREE"));
    let models =
        vec!["openai/a?text=one two three four&cut=4".to_owned(), "groq/b?text=one two three four&continue=1".to_owned()];
    let outcome = ask(&client, WAYS[2], &ChatCompletionRequest::new(models, ["Hi"])).await;
    assert_eq!(outcome.text(), "ONE THREE FOUR", "{outcome:?}");
}

#[tokio::test]
async fn a_refused_chunk_ends_the_stream_and_closes_its_socket() {
    let mock = mock().await;
    for way in WAYS.into_iter().filter(|way| way.stream) {
        let (hook, told) = saying(&["on_chunks", "on_error", "on_end"], |event| {
            let text = event.to_string();
            if text.contains(" three") { json!({"error": {"kind": "content_policy", "message": "enough"}}) } else { json!({}) }
        });
        let id = format!("veto-{}", way.list);
        let outcome =
            ask(&client(&mock, vec![hook]), way, &request(way, &format!("text=one two three four&stall=4&id={id}"))).await;
        mock.wait(&*id, Event::Left, SOON).await.expect("the mock sees the socket closed");
        let error = outcome.error();
        assert_eq!((error.kind(), error.message(), error.provider()), (ErrorKind::ContentPolicy, "enough", Some("openai")));
        let partial = error.partial().map(|partial| partial.text().to_owned()).unwrap_or_default();
        assert!("one two".starts_with(&partial), "{partial}");
        assert_eq!(told.of("on_end").len(), 1);
        assert_eq!(told.of("on_end")[0]["error"]["kind"], "content_policy");
        assert!(told.of("on_error").is_empty(), "no route has failed");
    }
    for way in WAYS.into_iter().filter(|way| !way.stream) {
        let (hook, _) = saying(&["on_chunks"], |_| json!({"error": {"kind": "content_policy", "message": "enough"}}));
        assert_eq!(ask(&client(&mock, vec![hook]), way, &request(way, "text=one")).await.kind(), Some(ErrorKind::ContentPolicy));
    }
}

#[tokio::test]
async fn a_failure_may_be_changed() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&["on_error"], |event| {
            assert_eq!((&event["error"]["kind"], &event["error"]["status"]), (&json!("server"), &json!(500)));
            let message = event["error"]["message"].as_str().unwrap().replace(": broken", ": mended");
            json!({"error": {"kind": "content_policy", "message": message}})
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "status=500&error_message=broken")).await;
        // The changed kind decides whether a list goes on.
        assert_eq!(told.of("on_error").len(), 1, "{way:?}");
        let error = outcome.error();
        assert_eq!((error.kind(), error.status()), (ErrorKind::ContentPolicy, Some(500)));
        assert!(error.message().starts_with("mended"), "{}", error.message());
    }
}

#[tokio::test]
async fn a_failure_before_the_answer_may_be_answered() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&["on_error", "on_end"], |event| match event["stage"].as_str() {
            Some("on_error") => elsewhere(),
            _ => json!({}),
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "status=503")).await;
        assert_eq!(outcome.text(), "from elsewhere", "{way:?}");
        assert!(told.of("on_end")[0]["error"].is_null());
    }
}

#[tokio::test]
async fn a_failure_inside_an_answer_is_told_and_cannot_be_answered_once_something_was_shown() {
    let mock = mock().await;
    let way = WAYS[0];
    let (hook, told) = saying(&["on_error"], |_| elsewhere());
    let outcome = ask(&client(&mock, vec![hook.clone()]), way, &request(way, "text=one two three&cut=3")).await;
    assert_eq!(told.of("on_error")[0]["error"]["kind"], "truncated");
    let error = outcome.error();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.message().contains("on_error") && error.message().contains("broke off"), "{error}");
    assert_eq!(error.partial().map(ChatCompletion::text), Some("one two"));
    // A list goes on all the same.
    let outcome = ask(&client(&mock, vec![hook]), WAYS[2], &request(WAYS[2], "text=one two three&cut=3")).await;
    assert!(outcome.text().ends_with("spare"), "{outcome:?}");
}

#[tokio::test]
async fn a_failure_inside_an_answer_may_be_answered_while_the_hooks_hold_all_of_it_back() {
    let mock = mock().await;
    for way in WAYS.into_iter().filter(|way| way.stream) {
        let failed = Arc::new(AtomicUsize::new(0));
        let seen = failed.clone();
        let (hook, told) = saying(&["on_chunks", "on_error", "on_end"], move |event| match event["stage"].as_str() {
            Some("on_error") => {
                seen.fetch_add(1, Ordering::SeqCst);
                elsewhere()
            }
            Some("on_chunks") if seen.load(Ordering::SeqCst) == 0 => json!({"chunks": []}),
            _ => json!({}),
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "text=one two three&cut=3")).await;
        assert_eq!(outcome.text(), "from elsewhere", "{way:?} {outcome:?}");
        assert_eq!((told.of("on_error").len(), told.of("on_end").len()), (1, 1));
        assert!(told.of("on_end")[0]["error"].is_null());
    }
}

#[tokio::test]
async fn both_routes_of_a_race_are_told_and_the_one_that_is_heard_ends_it() {
    let mock = mock().await;
    let (hook, told) = saying(&ALL, |_| json!({}));
    let config = json!({
        "api_keys": {"openai": "test-key", "groq": "test-key"},
        "base_urls": {"openai": format!("{}/v1", mock.url()), "groq": format!("{}/v1", mock.url())},
        "hedge_after": 0.05,
    });
    let config = ClientConfig::from_json(&config.to_string()).expect("a configuration");
    let client = Client::with_hooks(config, [hook]).expect("a client");
    let models = vec!["openai/slow?text=slow&headers_after=60000".to_owned(), "groq/spare?text=spare".to_owned()];
    let outcome = ask(&client, WAYS[2], &ChatCompletionRequest::new(models, ["Hi"])).await;
    assert_eq!(outcome.text(), "spare");
    let asked: Vec<_> = told.of("before_request").iter().map(|event| event["provider"].clone()).collect();
    assert_eq!(asked, ["openai", "groq"]);
    assert!(told.of("on_error").is_empty(), "none has failed");
    let end = &told.of("on_end")[0];
    assert_eq!((&end["attempt"], &end["provider"]), (&json!(2), &json!("groq")));
}

#[tokio::test]
async fn a_route_that_begins_and_fails_silently_in_a_race_is_told_and_may_be_answered() {
    let mock = mock().await;
    for answered in [false, true] {
        let (hook, told) = saying(&["on_error"], move |_| if answered { elsewhere() } else { Value::Null });
        let client = client_with(&mock, &json!({"hedge_after": 10}), vec![hook]);
        // Its role chunk comes, and nothing else.
        let outcome = ask(&client, WAYS[2], &request(WAYS[2], "text=one&cut=1")).await;
        assert_eq!(outcome.text(), if answered { "from elsewhere" } else { "spare" });
        let failures = told.of("on_error");
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!((&failures[0]["error"]["kind"], &failures[0]["attempt"]), (&json!("truncated"), &json!(1)));
    }
}

#[tokio::test]
async fn each_failing_route_of_a_list_is_told_once() {
    let mock = mock().await;
    let (hook, told) = saying(&["before_request", "on_error", "on_end"], |_| json!({}));
    let models = vec![
        "openai/a?status=500".to_owned(),
        "groq/b?text=one two three four&cut=3".to_owned(),
        "openai/c?text=one two three four&continue=1".to_owned(),
    ];
    let outcome = ask(&client(&mock, vec![hook]), WAYS[2], &ChatCompletionRequest::new(models, ["Hi"])).await;
    assert_eq!(outcome.text(), "one two three four");
    let failures: Vec<_> =
        told.of("on_error").iter().map(|event| (event["attempt"].clone(), event["error"]["kind"].clone())).collect();
    assert_eq!(failures, [(json!(1), json!("server")), (json!(2), json!("truncated"))]);
    let legs: Vec<_> = told.of("before_request").iter().map(|event| event["provider"].clone()).collect();
    assert_eq!(legs, ["openai", "groq", "openai"]);
    let end = &told.of("on_end")[0];
    assert_eq!((&end["attempt"], &end["provider"]), (&json!(3), &json!("openai")));
    assert_eq!(end["response"]["literllm"]["attempts"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn what_a_hook_says_wrongly_names_the_stage() {
    let mock = mock().await;
    for (stage, said) in [
        ("before_request", json!({"chunks": []})),
        ("before_request", json!({"request": {"model": 7}})),
        ("after_headers", json!({"response": {}})),
        ("on_chunks", json!({"request": {}, "chunks": []})),
        ("on_chunks", json!([1])),
        ("on_error", json!({"error": {"kind": "no such kind", "message": "x"}})),
    ] {
        let (hook, _) = saying(&[stage], move |_| said.clone());
        let way = WAYS[0];
        let behaviour = if stage == "on_error" { "status=500" } else { "text=one" };
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, behaviour)).await;
        let error = outcome.error();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(stage), "{error}");
    }
    assert!(Stages::from_names(["on_chunk"]).unwrap_err().message().contains("on_chunks"));
}
