//! How calls with hooks end: panics, ends told once, deadlines and cancelling.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use literllm::hooks::{Before, CallEnd, HookContext, Pending, Stage, Stages, relay};
use literllm::{ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Error, ErrorKind, Hook, StreamHandle};
use literllm_mock::Event;
use tokio::sync::mpsc;

use super::{SOON, WAYS, ask, client, elsewhere, mock, request, saying};

/// Panics at one stage.
struct Panics(&'static str);

impl Panics {
    fn at(&self, stage: &str) {
        assert!(self.0 != stage, "out of my depth");
    }
}

impl Hook for Panics {
    fn before_request<'a>(
        &'a self,
        _at: &'a HookContext,
        request: Box<ChatCompletionRequest>,
    ) -> Pending<'a, Result<Before, Error>> {
        self.at("before_request");
        Box::pin(async move { Ok(Before::Ask(request)) })
    }

    fn on_chunks<'a>(
        &'a self,
        _at: &'a HookContext,
        chunks: Vec<ChatCompletionChunk>,
    ) -> Pending<'a, Result<Vec<ChatCompletionChunk>, Error>> {
        Box::pin(async move {
            self.at("on_chunks");
            Ok(chunks)
        })
    }

    fn on_error<'a>(&'a self, _at: &'a HookContext, error: Error) -> Pending<'a, Result<ChatCompletion, Error>> {
        Box::pin(async move {
            self.at("on_error");
            Err(error)
        })
    }

    fn on_end<'a>(&'a self, _at: &'a HookContext, _end: &'a CallEnd) -> Pending<'a, ()> {
        Box::pin(async move { self.at("on_end") })
    }
}

#[tokio::test]
async fn a_panic_in_a_hook_is_an_error_of_its_own_kind() {
    let mock = mock().await;
    for way in WAYS {
        for stage in ["before_request", "on_chunks", "on_error"] {
            let behaviour = if stage == "on_error" { "status=500" } else { "text=one" };
            let outcome = ask(&client(&mock, vec![Arc::new(Panics(stage))]), way, &request(way, behaviour)).await;
            assert_eq!(outcome.kind(), Some(ErrorKind::Panic), "{way:?}, {stage}: {outcome:?}");
            assert!(outcome.error().message().contains("out of my depth"));
        }
        assert_eq!(ask(&client(&mock, vec![Arc::new(Panics("on_end"))]), way, &request(way, "text=one")).await.text(), "one");
    }
}

/// Sends each end to a channel.
struct Ends(mpsc::UnboundedSender<(HookContext, CallEnd)>);

impl Hook for Ends {
    fn stages(&self) -> Stages {
        Stage::OnEnd.into()
    }

    fn on_end<'a>(&'a self, at: &'a HookContext, end: &'a CallEnd) -> Pending<'a, ()> {
        Box::pin(async move { self.0.send((at.clone(), end.clone())).expect("the test listens") })
    }
}

#[tokio::test]
async fn the_end_is_told_exactly_once_however_it_comes() {
    let mock = mock().await;
    let (ends, mut told) = mpsc::unbounded_channel();
    let client = client(&mock, vec![Arc::new(Ends(ends))]);
    let kind = |end: &CallEnd| end.error.as_ref().map(Error::kind);
    let text = |end: &CallEnd| end.response.as_ref().map(|answer| answer.text().to_owned());
    for way in WAYS {
        let streamed = |behaviour: &str| request(way, behaviour);
        // Complete, and failed.
        ask(&client, way, &streamed("text=one")).await;
        let (at, end) = told.recv().await.expect("an end");
        assert_eq!((kind(&end), text(&end).as_deref(), at.stream), (None, Some("one"), way.stream), "{way:?}");
        ask(&client, way, &ChatCompletionRequest::new("openai/demo?status=401", ["Hi"])).await;
        assert_eq!(kind(&told.recv().await.expect("an end").1), Some(ErrorKind::Authentication));
        // Dropped before its headers.
        let id = format!("never-{}-{}", way.list, way.stream);
        let pending = tokio::spawn({
            let (client, request) = (client.clone(), streamed(&format!("headers_after=60000&id={id}")));
            async move { ask(&client, way, &request).await }
        });
        mock.wait(&*id, Event::Request, SOON).await.expect("it is asked");
        pending.abort();
        assert_eq!(kind(&told.recv().await.expect("an end").1), Some(ErrorKind::Cancelled));
        if !way.stream {
            continue;
        }
        // Dropped in the middle, cancelled, and left after the last chunk.
        let mut stream = client.chat_stream(streamed("text=one two&stall=2")).await.expect("a stream");
        assert!(stream.next().await.is_some() && stream.next().await.is_some());
        drop(stream);
        let (_, end) = told.recv().await.expect("an end");
        assert_eq!((kind(&end), text(&end).as_deref()), (Some(ErrorKind::Cancelled), Some("one")));
        let handle = StreamHandle::from(client.chat_stream(streamed("text=one two&stall=2")).await.expect("a stream"));
        handle.cancel();
        while let Some(Ok(_)) = handle.next_batch().await {}
        assert_eq!(kind(&told.recv().await.expect("an end").1), Some(ErrorKind::Cancelled));
        drop(handle);
        let mut stream = client.chat_stream(streamed("text=one")).await.expect("a stream");
        while stream.next().await.expect("a chunk").expect("a good one").choices[0].finish_reason.is_none() {}
        drop(stream);
        let (_, end) = told.recv().await.expect("an end");
        assert_eq!((kind(&end), text(&end).as_deref()), (None, Some("one")));
    }
    drop(client);
    assert!(told.recv().await.is_none(), "an end was told twice");
}

#[tokio::test]
async fn every_hook_is_told_of_the_end_though_the_caller_left_while_another_was() {
    let mock = mock().await;
    let (sender, mut calls) = mpsc::unbounded_channel();
    let slow = relay(Stage::OnEnd.into(), move |call| sender.send(call).expect("the test listens"));
    let (ends, mut told) = mpsc::unbounded_channel();
    let client = client(&mock, vec![slow, Arc::new(Ends(ends))]);
    for way in WAYS {
        for behaviour in ["text=one", "status=500"] {
            let models = ChatCompletionRequest::new(vec![format!("openai/demo?{behaviour}"); 1 + usize::from(way.list)], ["Hi"]);
            let caller = tokio::spawn({
                let client = client.clone();
                async move { ask(&client, way, &models).await }
            });
            let call = calls.recv().await.expect("the first hook is told");
            caller.abort();
            assert!(caller.await.expect_err("it left").is_cancelled());
            call.answer("");
            let (_, end) = tokio::time::timeout(SOON, told.recv()).await.expect("the second one, too").expect("an end");
            assert_eq!(end.error.is_some(), behaviour == "status=500", "{way:?}");
        }
    }
}

#[tokio::test]
async fn what_a_hook_refuses_for_is_the_source_of_the_error() {
    let mock = mock().await;
    for stage in ["before_request", "after_headers", "on_chunks", "on_error"] {
        let hook = relay(Stages::from_names([stage]).expect("a stage"), |call| {
            call.answer_from(r#"{"error": {"kind": "permission", "message": "no"}}"#, std::io::Error::other("mine"));
        });
        let client = client(&mock, vec![hook]);
        for way in WAYS {
            let behaviour = if stage == "on_error" { "status=500" } else { "text=one" };
            let mut asked = request(way, behaviour);
            if way.list {
                asked = ChatCompletionRequest::new(vec![format!("openai/demo?{behaviour}"); 2], ["Hi"]);
            }
            let error = ask(&client, way, &asked).await.error.expect("a no");
            for no in if error.causes().is_empty() { std::slice::from_ref(&error) } else { error.causes() } {
                let source = std::error::Error::source(no).and_then(|source| source.downcast_ref::<std::io::Error>());
                assert_eq!(source.map(ToString::to_string).as_deref(), Some("mine"), "{stage} {way:?} {no:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_hook_that_never_answers_is_waited_for_until_the_total_deadline() {
    let mock = mock().await;
    for stage in ["before_request", "after_headers", "on_chunks", "on_error"] {
        let held = Arc::new(Mutex::new(Vec::new()));
        let keep = held.clone();
        let hook = relay(Stages::from_names([stage]).expect("a stage"), move |call| keep.lock().expect("no panic").push(call));
        let options = literllm::RequestOptions::from_json(r#"{"timeout": 1}"#).expect("options");
        let behaviour = if stage == "on_error" { "status=500" } else { "text=one" };
        let client = client(&mock, vec![hook]);
        let result = match client.chat_stream_with(request(WAYS[2], behaviour), &options).await {
            Ok(stream) => stream.finish().await,
            Err(error) => Err(error),
        };
        assert_eq!(result.expect_err("it is over").kind(), ErrorKind::Timeout, "{stage}");
        assert_eq!(held.lock().expect("no panic").len(), 1);
    }
}

#[tokio::test]
async fn cancelling_waits_for_no_hook_also_where_the_answer_is_there() {
    let mock = mock().await;
    for stage in ["on_chunks", "on_end"] {
        let (sender, mut calls) = mpsc::unbounded_channel();
        let silent = relay(Stages::from_names([stage]).expect("a stage"), move |call| {
            sender.send(call).expect("the test listens");
        });
        let (answers, _) = saying(&["before_request"], |_| elsewhere());
        let client = client(&mock, vec![answers, silent]);
        let handle = StreamHandle::from(client.chat_stream(request(WAYS[0], "")).await.expect("a stream"));
        let reader = tokio::spawn({
            let handle = handle.clone();
            async move {
                loop {
                    match handle.next_batch().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Some(error.kind()),
                        None => return None,
                    }
                }
            }
        });
        let _call = calls.recv().await.expect("the hook is asked");
        handle.cancel();
        let kind = tokio::time::timeout(SOON, reader).await.expect("it ends").expect("no panic");
        assert_eq!(kind, (stage == "on_chunks").then_some(ErrorKind::Cancelled));
    }
}

#[tokio::test]
async fn a_waiting_hook_can_be_cancelled() {
    let mock = mock().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (sender, mut calls) = mpsc::unbounded_channel();
    let count = asked.clone();
    let hook = relay(Stages::from_names(["on_chunks"]).expect("a stage"), move |call| {
        count.fetch_add(1, Ordering::SeqCst);
        sender.send(call).expect("the test listens");
    });
    let client = client(&mock, vec![hook]);
    let handle = StreamHandle::from(client.chat_stream(request(WAYS[0], "text=one&stall=2&id=waits")).await.expect("a stream"));
    let reader = tokio::spawn({
        let handle = handle.clone();
        async move { handle.next_batch().await }
    });
    let call = calls.recv().await.expect("the hook is asked");
    handle.cancel();
    let error = reader.await.expect("no panic").expect("the end").expect_err("it was cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.partial().is_none(), "nothing was shown");
    mock.wait("waits", Event::Left, SOON).await.expect("the mock sees the socket closed");
    // An answer that comes too late is no harm.
    call.answer("{}");
    assert!(handle.next_batch().await.is_none());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
