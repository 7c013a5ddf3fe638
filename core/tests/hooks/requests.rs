//! Before an answer: requests that pass, are changed, refused or answered from elsewhere, and answers refused by their headers.

use literllm::hooks::{Stages, relay};
use literllm::{ChatCompletionRequest, ErrorKind};
use literllm_mock::Event;
use serde_json::{Value, json};

use super::{ALL, SOON, WAYS, ask, client, elsewhere, mock, request, saying};

#[tokio::test]
async fn what_passes_every_stage_is_as_without_hooks() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&ALL, |_| json!({}));
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "text=one two three&usage=7,3&request_id=req-9")).await;
        assert_eq!(outcome.text(), "one two three", "{way:?} {outcome:?}");
        assert_eq!(told.stages(), ["before_request", "after_headers", "on_chunks", "on_end"], "{way:?}");
        for event in told.events() {
            assert_eq!((&event["attempt"], &event["provider"], &event["model"]), (&json!(1), &json!("openai"), &event["model"]));
            assert!(event["model"].as_str().unwrap().starts_with("demo?"), "{event}");
            assert_eq!((&event["stream"], &event["call"]), (&json!(way.stream), &told.events()[0]["call"]));
        }
        assert_eq!(told.of("before_request")[0]["request"]["messages"][0]["content"], "Hi");
        let head = &told.of("after_headers")[0];
        assert_eq!((&head["status"], &head["request_id"]), (&json!(200), &json!("req-9")));
        assert!(head["headers"]["content-type"].is_string());
        let text: String = told
            .of("on_chunks")
            .iter()
            .flat_map(|event| event["chunks"].as_array().unwrap().clone())
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(text, "one two three");
        let end = &told.of("on_end")[0];
        assert_eq!(end["response"]["choices"][0]["message"]["content"], "one two three");
        assert_eq!(end["response"]["usage"]["total_tokens"], 10);
        assert!(end["error"].is_null() && end["seconds"].as_f64().unwrap() > 0.0);
    }
}

#[tokio::test]
async fn what_is_dropped_unanswered_passes_and_an_answer_may_come_later_from_any_thread() {
    let mock = mock().await;
    let silent = relay(Stages::ALL, drop);
    let late = relay(Stages::ALL, |call| {
        std::thread::spawn(move || call.answer(""));
    });
    for way in WAYS {
        let client = client(&mock, vec![silent.clone(), late.clone()]);
        assert_eq!(ask(&client, way, &request(way, "text=one two")).await.text(), "one two");
    }
}

#[tokio::test]
async fn a_stage_that_is_not_wanted_is_not_told() {
    let mock = mock().await;
    let (hook, told) = saying(&["on_end"], |_| json!({}));
    let way = WAYS[0];
    assert_eq!(ask(&client(&mock, vec![hook]), way, &request(way, "text=one")).await.text(), "one");
    assert_eq!(told.stages(), ["on_end"]);
    assert_eq!(told.of("on_end")[0]["response"]["choices"][0]["message"]["content"], "one");
}

#[tokio::test]
async fn a_changed_request_is_the_one_that_is_sent() {
    let mock = mock().await;
    for way in WAYS {
        let (warm, _) = saying(&["before_request"], |event| {
            let mut request = event["request"].clone();
            request["temperature"] = json!(0.25);
            json!({ "request": request })
        });
        let (elsewhere, told) = saying(&["before_request"], |event| {
            let mut request = event["request"].clone();
            request["model"] = json!("groq/other?text=other&id=changed");
            json!({ "request": request })
        });
        let outcome = ask(&client(&mock, vec![warm, elsewhere]), way, &request(way, "text=one")).await;
        assert_eq!(outcome.text(), "other", "{way:?}");
        assert_eq!(outcome.answer.unwrap().literllm.unwrap().provider.as_deref(), Some("groq"));
        assert_eq!(told.of("before_request")[0]["request"]["temperature"], 0.25, "the second hook sees what the first made");
        let body: Value = serde_json::from_str(mock.log("changed").last().expect("it was asked").body.get()).expect("JSON");
        assert_eq!(body["temperature"], 0.25);
    }
}

#[tokio::test]
async fn a_refused_route_is_not_asked_and_a_list_goes_on() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&ALL, |event| match (event["stage"].as_str(), event["provider"].as_str()) {
            (Some("before_request"), Some("openai")) => json!({"error": {"kind": "permission", "message": "not this one"}}),
            _ => json!({}),
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "text=one&id=refused")).await;
        assert!(mock.log("refused").is_empty(), "{way:?}: it was asked");
        assert_eq!(told.of("on_end").len(), 1);
        if way.list {
            assert_eq!(outcome.text(), "spare", "{way:?}: {outcome:?}");
            assert_eq!(told.of("on_error")[0]["error"]["kind"], "permission");
            assert_eq!(told.of("before_request")[1]["attempt"], 2);
            continue;
        }
        let error = outcome.error();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Permission, "not this one"));
        assert_eq!((error.provider(), error.is_retryable()), (Some("openai"), false));
        assert_eq!(told.of("on_end")[0]["error"]["kind"], "permission");
    }
}

#[tokio::test]
async fn an_answer_from_elsewhere_is_told_in_the_normal_form_and_nobody_is_asked() {
    let mock = mock().await;
    for way in WAYS {
        let (hook, told) = saying(&["before_request", "on_end"], |event| match event["stage"].as_str() {
            Some("before_request") => elsewhere(),
            _ => json!({}),
        });
        let asking = ChatCompletionRequest {
            stream_options: serde_json::from_value(json!({"include_usage": true})).ok(),
            ..request(way, "id=unasked")
        };
        let outcome = ask(&client(&mock, vec![hook]), way, &asking).await;
        assert!(mock.log("unasked").is_empty());
        assert_eq!(outcome.text(), "from elsewhere", "{way:?} {outcome:?}");
        let answer = serde_json::to_value(outcome.answer.unwrap()).unwrap();
        let mut should = elsewhere()["response"].clone();
        should["object"] = json!("chat.completion");
        should["literllm"] = answer["literllm"].clone();
        assert_eq!(answer, should, "{way:?}");
        assert_eq!(answer["literllm"]["provider"], "openai");
        if way.stream {
            assert!(outcome.chunks.iter().all(|chunk| (chunk.id.as_str(), chunk.created) == ("kept-1", 5)));
            assert_eq!(outcome.chunks.last().unwrap().usage.as_ref().unwrap().total_tokens, 3);
        }
        assert_eq!(told.of("on_end")[0]["response"]["choices"][0]["message"]["content"], "from elsewhere");
    }
}

#[tokio::test]
async fn a_refused_answer_closes_its_socket_and_a_list_goes_on() {
    let mock = mock().await;
    for (at, way) in WAYS.into_iter().enumerate() {
        let (hook, _) = saying(&["after_headers"], |event| match event["provider"].as_str() {
            Some("openai") => json!({"error": {"kind": "content_policy", "message": "not from there"}}),
            _ => json!({}),
        });
        let id = format!("head-{at}");
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, &format!("chunks=100000&bytes=400&id={id}"))).await;
        if way.stream {
            mock.wait(&*id, Event::Left, SOON).await.expect("the mock sees the socket closed");
        }
        assert_eq!(mock.log(&*id).len(), 1, "a refusal is not tried again");
        // What content policy forbids is final in a list, too.
        assert_eq!(outcome.kind(), Some(ErrorKind::ContentPolicy), "{way:?} {outcome:?}");
        let (hook, _) = saying(&["after_headers"], |event| match event["provider"].as_str() {
            Some("openai") => json!({"error": {"kind": "server", "message": "not from there"}}),
            _ => json!({}),
        });
        let outcome = ask(&client(&mock, vec![hook]), way, &request(way, "text=one")).await;
        if way.list {
            assert_eq!(outcome.text(), "spare");
        } else {
            assert_eq!(outcome.kind(), Some(ErrorKind::Server));
        }
    }
}
