//! The mock's own endpoints, under `/_mock/`: what it saw, waiting for it, and letting withheld chunks go.

use std::collections::HashMap;
use std::io::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use crate::answer::Answer;
use crate::behaviour::percent_decoded;
use crate::journal::{Event, Replay};
use crate::server::Shared;

pub(crate) async fn answer(shared: &Shared, endpoint: &str, request: Request<Incoming>) -> Result<Answer, Error> {
    let (name, query) = endpoint.split_once('?').unwrap_or((endpoint, ""));
    let query: HashMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), percent_decoded(&value.replace('+', " "))))
        .collect();
    let id = query.get("id").map(String::as_str);
    let nth = query.get("nth").and_then(|nth| nth.parse().ok());
    let journal = &shared.journal;
    Ok(match (request.method(), name) {
        (&Method::GET, "log") => json_answer(StatusCode::OK, &journal.log(id)),
        (&Method::GET, "stats") => json_answer(StatusCode::OK, &journal.stats()),
        (&Method::GET, "wait") => {
            let Some(event) = Event::parse(query.get("event").map_or("request", String::as_str)) else {
                return Ok(bad("event is one of request, headers, left, done, chunks:N, bytes:N"));
            };
            let timeout = query.get("timeout_ms").and_then(|ms| ms.parse().ok()).unwrap_or(10_000);
            match journal.wait(id, nth, event, Duration::from_millis(timeout)).await {
                Some(seen) => json_answer(StatusCode::OK, &seen),
                None => json_answer(
                    StatusCode::REQUEST_TIMEOUT,
                    &json!({"error": format!("no such event within {timeout} ms"), "log": journal.log(id)}),
                ),
            }
        }
        (&Method::POST, "release") => {
            let count = match query.get("n").map_or("1", String::as_str) {
                "all" => u64::MAX,
                count => match count.parse() {
                    Ok(count) => count,
                    Err(_) => return Ok(bad("n is a number or all")),
                },
            };
            journal.release(id.unwrap_or_default(), nth, count);
            json_answer(StatusCode::OK, &json!({"released": count}))
        }
        (&Method::POST, "body") => {
            let Some(name) = query.get("name").cloned() else {
                return Ok(bad("name is missing"));
            };
            let status = query.get("status").map_or(Some(200), |status| status.parse().ok());
            let Some(status) = status.filter(|status| (200..=599).contains(status)) else {
                return Ok(bad("status is 200 to 599"));
            };
            let content_type = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let content_type = content_type.unwrap_or("text/event-stream").to_owned();
            let body = request.into_body().collect().await.map_err(Error::other)?.to_bytes();
            journal.keep_replay(name, Replay { status, content_type, body });
            json_answer(StatusCode::OK, &json!({"kept": true}))
        }
        (&Method::POST, "reset") => {
            journal.reset();
            json_answer(StatusCode::OK, &json!({"reset": true}))
        }
        (&Method::GET, "ca.pem") => pem(shared.tls.as_ref().map(crate::tls::Tls::ca_pem)),
        (&Method::GET, "client.pem") => pem(shared.tls.as_ref().map(crate::tls::Tls::client_pem)),
        _ => json_answer(
            StatusCode::NOT_FOUND,
            &json!({"error": "GET log, wait, stats, ca.pem, client.pem; POST release, body, reset"}),
        ),
    })
}

fn bad(message: &str) -> Answer {
    json_answer(StatusCode::BAD_REQUEST, &json!({"error": message}))
}

fn json_answer(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("what the mock logs is JSON");
    plain(status, "application/json", Bytes::from(body))
}

fn pem(text: Option<&str>) -> Answer {
    match text {
        Some(text) => plain(StatusCode::OK, "application/x-pem-file", Bytes::from(text.to_owned())),
        None => json_answer(StatusCode::NOT_FOUND, &json!({"error": "this mock serves no TLS"})),
    }
}

fn plain(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
