//! One request from arrival to answer: reads what it asks for, enters it in the journal, and builds the reply.

use std::io::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use serde_json::Value;

use crate::behaviour::{Behaviour, ErrorText, Faults, model_and_list};
use crate::dialects::{self, Ask, Dialect};
use crate::journal::{Arrival, Exchange, Outcome, Presence};
use crate::recorded::{self, Recorded};
use crate::reply::{Reply, Source};
use crate::script::Script;
use crate::server::{Connection, Shared};
use crate::{auth, control};

pub(crate) type Answer = Response<Either<Full<Bytes>, Reply>>;

pub(crate) async fn answer(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Answer, Error> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    if let Some(endpoint) = target.strip_prefix("/_mock/") {
        return control::answer(&shared, endpoint, request).await;
    }
    let (list, target) = behaviour_prefix(&target);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(Error::other)?.to_bytes();
    let Asked { mut behaviour, dialect, route } = read(list, target, &parts, &body);

    let exchange = shared.journal.arrived(Arrival {
        id: behaviour.id.clone().unwrap_or_default(),
        method: parts.method.to_string(),
        path: redacted_target(target),
        headers: parts.headers.iter().map(|(name, value)| redacted(name.as_str(), value)).collect(),
        body: body.clone(),
        version: parts.version,
        connection: connection.number,
        tls: connection.tls,
        client_certificate: connection.client_certificate,
    });
    let call = Call {
        presence: Presence(Arc::clone(&exchange)),
        exchange,
        http2: parts.version == Version::HTTP_2,
        request_id: behaviour.request_id.clone(),
        connection,
        dialect,
    };
    if shared.options.client_certificates && !call.connection.client_certificate {
        return Ok(call.refuse(401, "A client certificate is required."));
    }
    if behaviour.expect_key.as_deref().is_some_and(|expected| !shows_key(&parts.headers, target, expected)) {
        return Ok(call.refuse(401, "Incorrect API key provided."));
    }
    if let Some(times) = behaviour.fail_times {
        let key = behaviour.id.clone().unwrap_or_else(|| format!("{target} {behaviour:?}"));
        if shared.journal.attempt(&key) >= times {
            behaviour.faults = Faults::default();
        }
    }
    if let Some(wait) = behaviour.faults.headers_after {
        tokio::time::sleep(wait).await;
    }
    if behaviour.faults.hangup {
        call.exchange.ended(Outcome::Cut);
        return Err(Error::other("hung up, as the request asked"));
    }
    Ok(match route {
        Route::Chat(ask) => chat(&shared, call, &ask, behaviour),
        Route::Models => call.json(200, &dialects::models()),
        Route::Auth(endpoint) => {
            let faults = &behaviour.faults;
            let answer = match faults.status {
                Some(status) => endpoint.refusal(status, &faults.error),
                None => endpoint.grant(&parts.headers, &body, call.exchange.sequence, behaviour.expires_in),
            };
            let content = Content::whole(answer.status, answer.content_type, answer.body.into_bytes());
            call.send(content, behaviour, answer.header)
        }
        Route::Bad(message) => call.refuse(400, &message),
        Route::Unknown => {
            let message = format!("Unknown request: {} {}", parts.method, redacted_target(target));
            call.refuse(404, &message)
        }
    })
}

fn chat(shared: &Shared, mut call: Call, ask: &Ask, mut behaviour: Behaviour) -> Answer {
    if behaviour.answer.prefill_rejected && ask.prefilled {
        behaviour.faults.status = Some(400);
        behaviour.faults.error.message.get_or_insert_with(|| {
            "This model does not support assistant message prefill. The conversation must end with a user message.".to_owned()
        });
    }
    let dialect = call.dialect;
    let faults = &behaviour.faults;
    if let Some(location) = &faults.redirect {
        let mut answer = call.json(faults.status.unwrap_or(307), &Value::Null);
        answer.headers_mut().insert(LOCATION, header(location));
        return answer;
    }
    if let Some(status) = faults.status {
        let mut answer = call.error(status, &faults.error);
        let headers = answer.headers_mut();
        if let Some(wait) = &faults.retry_after {
            headers.insert(RETRY_AFTER, header(wait));
        }
        if let Some(wait) = &faults.retry_after_ms {
            headers.insert("retry-after-ms", header(wait));
        }
        return answer;
    }
    if faults.json_error {
        return call.json(200, &dialect.error_body(500, &faults.error));
    }
    let content = if faults.html {
        let page = recorded::PROXY_PAGE.as_bytes().to_vec();
        Content::whole(200, "text/html; charset=utf-8", page)
    } else if faults.empty {
        Content { length: None, ..Content::whole(200, dialect.content_type(ask.stream), Vec::new()) }
    } else if let Some(name) = &behaviour.replay {
        let Some(replay) = shared.journal.replay(name) else {
            return call.refuse(404, &format!("The mock has no body `{name}`."));
        };
        Content::recorded(replay.status, &replay.content_type, &replay.body)
    } else if let Some(name) = &behaviour.case {
        let Some((kind, body)) = recorded::case(shared.options.cases.as_deref(), name) else {
            return call.refuse(404, &format!("The mock has no case `{name}`."));
        };
        // The same answer every time: made-up ids and times come from these.
        call.request_id.get_or_insert_with(|| "req_case".to_owned());
        return call.send(Content::recorded(200, kind, &body), behaviour, Some(("date", CASE_DATE.to_owned())));
    } else {
        let script = Script::new(&behaviour.answer, ask.choices, ask.prompt_bytes, ask.partial.as_deref());
        let kind = dialect.content_type(ask.stream);
        if ask.stream {
            Content { status: 200, kind: kind.to_owned(), source: dialect.source(ask, script), length: None }
        } else {
            Content::whole(200, kind, dialect.whole(ask, &script).to_string().into_bytes())
        }
    };
    call.send(content, behaviour, None)
}

/// When every conformance case is answered: second 1750000000 of Unix time.
const CASE_DATE: &str = "Sun, 15 Jun 2025 15:06:40 GMT";

/// What an answer consists of, before faults act on it.
struct Content {
    status: u16,
    kind: String,
    source: Box<dyn Source>,
    /// Announced to the client; absent for a stream.
    length: Option<u64>,
}

impl Content {
    fn whole(status: u16, kind: &str, body: Vec<u8>) -> Self {
        let length = Some(body.len() as u64);
        Self { status, kind: kind.to_owned(), source: Recorded::one(body), length }
    }

    fn recorded(status: u16, kind: &str, body: &[u8]) -> Self {
        Self { status, kind: kind.to_owned(), source: Recorded::framed(kind, body), length: None }
    }
}

/// A request that has been entered in the journal and waits for its answer.
struct Call {
    exchange: Arc<Exchange>,
    presence: Presence,
    connection: Arc<Connection>,
    http2: bool,
    request_id: Option<String>,
    dialect: &'static dyn Dialect,
}

impl Call {
    fn refuse(self, status: u16, message: &str) -> Answer {
        self.error(status, &ErrorText { message: Some(message.to_owned()), ..ErrorText::default() })
    }

    fn error(self, status: u16, error: &ErrorText) -> Answer {
        let body = self.dialect.error_body(status, error).to_string();
        let content = Content::whole(status, self.dialect.error_content_type(), body.into_bytes());
        let header = self.dialect.error_header(status, error);
        self.send(content, Behaviour::default(), header)
    }

    fn json(self, status: u16, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(Content::whole(status, "application/json", body), Behaviour::default(), None)
    }

    fn send(self, content: Content, behaviour: Behaviour, more: Option<(&'static str, String)>) -> Answer {
        let Behaviour { pacing, faults, .. } = behaviour;
        let gzip = pacing.gzip;
        let request_id = self.request_id.unwrap_or_else(|| format!("req_mock_{}", self.exchange.sequence));
        self.exchange.answered(content.status);
        if content.length == Some(0) {
            // The connection knows that nothing follows and never asks the body.
            self.exchange.ended(Outcome::Done);
        }
        let mut reply = Reply::new(&self.exchange, self.presence, &self.connection, self.http2, content.source, pacing, faults);
        if let Some(length) = content.length {
            reply = reply.with_length(length);
        }
        let mut answer = Response::new(Either::Right(reply));
        *answer.status_mut() = StatusCode::from_u16(content.status).expect("the status was checked where it was read");
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, header(&content.kind));
        headers.insert("x-request-id", header(&request_id));
        headers.insert(self.dialect.request_id_header(), header(&request_id));
        if let Some((name, value)) = more {
            headers.insert(name, header(&value));
        }
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// What a request asks for, as far as it could be read.
struct Asked {
    behaviour: Behaviour,
    dialect: &'static dyn Dialect,
    route: Route,
}

enum Route {
    Chat(Ask),
    Models,
    Auth(auth::Endpoint),
    Unknown,
    Bad(String),
}

fn read(list: Option<&str>, target: &str, parts: &Parts, body: &[u8]) -> Asked {
    let mut asked = Asked { behaviour: Behaviour::default(), dialect: dialects::OPENAI, route: Route::Unknown };
    if let Err(message) = try_read(list, target, parts, body, &mut asked) {
        asked.route = Route::Bad(message);
        // Whatever is wrong is said in the provider's words.
        if let Ok(Some(dialect)) = dialects::of(target, asked.behaviour.dialect.as_deref()) {
            asked.dialect = dialect;
        }
    }
    asked
}

/// Leaves in `asked` what was understood before the error, so that a bad request is found under its id in the journal.
fn try_read(list: Option<&str>, target: &str, parts: &Parts, body: &[u8], asked: &mut Asked) -> Result<(), String> {
    let header_list = parts.headers.get("x-mock").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let header_list = header_list.as_deref();
    for list in [list, header_list].into_iter().flatten() {
        asked.behaviour.read(list)?;
    }
    if let Some(endpoint) = auth::Endpoint::of(&parts.method, target, body) {
        asked.route = Route::Auth(endpoint);
        return Ok(());
    }
    let Some(dialect) = dialects::of(target, asked.behaviour.dialect.as_deref())? else {
        let path = target.split('?').next().unwrap_or(target);
        if parts.method == Method::GET && path.ends_with("/models") {
            asked.route = Route::Models;
        }
        return Ok(());
    };
    asked.dialect = dialect;
    if parts.method != Method::POST {
        return Ok(());
    }
    let mut ask = dialects::ask(dialect, target, body)?;
    if let (model, Some(model_list)) = model_and_list(&ask.model) {
        let name = model.to_owned();
        // Read anew, so that the header has the last word.
        let mut behaviour = Behaviour::default();
        for list in [list, Some(model_list), header_list].into_iter().flatten() {
            behaviour.read(list)?;
        }
        asked.behaviour = behaviour;
        if let Some(name) = asked.behaviour.dialect.as_deref() {
            asked.dialect = dialects::of(target, Some(name))?.unwrap_or(dialect);
        }
        ask.model = name;
    }
    asked.route = Route::Chat(ask);
    Ok(())
}

/// `/mock/cut=3,split=7/v1/…` is `/v1/…` with that behaviour.
fn behaviour_prefix(target: &str) -> (Option<&str>, &str) {
    let Some(rest) = target.strip_prefix("/mock/") else {
        return (None, target);
    };
    match rest.find('/') {
        Some(end) => (Some(&rest[..end]), &rest[end..]),
        None => (Some(rest), "/"),
    }
}

fn shows_key(headers: &HeaderMap, target: &str, expected: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let query = target.split_once('?').and_then(|(_, query)| query.split('&').find_map(|pair| pair.strip_prefix("key=")));
    [bearer, text("x-api-key"), text("api-key"), text("x-goog-api-key"), query].contains(&Some(expected))
}

/// Keys are shown by their last four characters only: enough to tell which key came.
fn redacted(name: &str, value: &HeaderValue) -> (String, String) {
    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let value = match name {
        "authorization" | "proxy-authorization" => match value.split_once("Signature=") {
            Some((open, signature)) => format!("{open}Signature={}", marker(signature)),
            None => match value.split_once(' ') {
                Some((scheme, key)) => format!("{scheme} {}", marker(key)),
                None => marker(&value),
            },
        },
        "x-api-key" | "api-key" | "x-goog-api-key" | "cookie" | "x-amz-security-token" => marker(&value),
        _ => value,
    };
    (name.to_owned(), value)
}

fn redacted_target(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| pair.strip_prefix("key=").map_or_else(|| pair.to_owned(), |key| format!("key={}", marker(key))))
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

fn marker(key: &str) -> String {
    let shown: Vec<char> = key.chars().rev().take(4).collect();
    let shown: String = if key.len() > 4 { shown.into_iter().rev().collect() } else { String::new() };
    format!("…{shown}")
}

fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static("unprintable"))
}
