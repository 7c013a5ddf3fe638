//! One request from arrival to answer: reads what it asks for, enters it in the journal, and builds the reply.

use std::io::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use serde_json::Value;

use crate::behaviour::{Behaviour, ErrorText, Faults, model_and_list};
use crate::control;
use crate::dialects::{self, Ask, Dialect};
use crate::journal::{Arrival, Exchange, Presence};
use crate::recorded::{self, Recorded};
use crate::reply::{Reply, Source};
use crate::script::Script;
use crate::server::{Connection, Shared};

pub(crate) type Answer = Response<Either<Full<Bytes>, Reply>>;

pub(crate) async fn answer(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Answer, Error> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    if let Some(endpoint) = target.strip_prefix("/_mock/") {
        return control::answer(&shared, endpoint, request).await;
    }
    let (list, target) = behaviour_prefix(&target);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(Error::other)?.to_bytes();
    let asked = read(list, target, &parts.headers, &body);
    let behaviour = asked.as_ref().map_or_else(
        |refusal| refusal.behaviour.clone(),
        |asked| asked.behaviour.clone(),
    );

    let exchange = shared.journal.arrived(Arrival {
        id: behaviour.id.clone().unwrap_or_default(),
        method: parts.method.to_string(),
        path: redacted_target(target),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| redacted(name.as_str(), value))
            .collect(),
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
    };
    let refused = |call: Call, dialect: Dialect, status: u16, message: String| {
        let error = ErrorText {
            message: Some(message),
            ..ErrorText::default()
        };
        Ok(call.json(status, &dialect.error_body(status, &error)))
    };

    let Asked {
        mut behaviour,
        route,
    } = match asked {
        Ok(asked) => asked,
        Err(refusal) => return refused(call, refusal.dialect, 400, refusal.message),
    };
    let dialect = match &route {
        Route::Chat(dialect, _) => *dialect,
        Route::Models | Route::Unknown => Dialect::OpenAi,
    };
    if shared.options.client_certificates && !call.connection.client_certificate {
        return refused(
            call,
            dialect,
            401,
            "A client certificate is required.".to_owned(),
        );
    }
    if behaviour
        .expect_key
        .as_deref()
        .is_some_and(|expected| !shows_key(&parts.headers, target, expected))
    {
        return refused(call, dialect, 401, "Incorrect API key provided.".to_owned());
    }
    if let Some(times) = behaviour.fail_times {
        let key = behaviour
            .id
            .clone()
            .unwrap_or_else(|| format!("{target} {behaviour:?}"));
        if shared.journal.attempt(&key) >= times {
            behaviour.faults = Faults::default();
        }
    }
    if let Some(wait) = behaviour.faults.headers_after {
        tokio::time::sleep(wait).await;
    }
    if behaviour.faults.hangup {
        call.exchange.ended(crate::journal::Outcome::Cut);
        return Err(Error::other("hung up, as the request asked"));
    }
    match route {
        Route::Models if parts.method == Method::GET => Ok(call.json(200, &dialects::models())),
        Route::Chat(dialect, ask) if parts.method == Method::POST => {
            Ok(chat(&shared, call, dialect, &ask, behaviour))
        }
        _ => refused(
            call,
            dialect,
            404,
            format!(
                "Unknown request: {} {}",
                parts.method,
                redacted_target(target)
            ),
        ),
    }
}

fn chat(
    shared: &Shared,
    call: Call,
    dialect: Dialect,
    ask: &Ask,
    mut behaviour: Behaviour,
) -> Answer {
    if behaviour.answer.prefill_rejected && ask.prefill.is_some() {
        behaviour.faults.status = Some(400);
        behaviour.faults.error.message.get_or_insert_with(|| {
            "This model does not support assistant message prefill. The conversation must end with a user message.".to_owned()
        });
    }
    let faults = &behaviour.faults;
    if let Some(location) = &faults.redirect {
        let mut answer = call.json(faults.status.unwrap_or(307), &Value::Null);
        answer.headers_mut().insert(LOCATION, header(location));
        return answer;
    }
    if let Some(status) = faults.status {
        let mut answer = call.json(status, &dialect.error_body(status, &faults.error));
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
        let body = dialect.error_body(500, &faults.error);
        return call.json(200, &body);
    }
    let whole = |kind: &str, body: Vec<u8>| (kind.to_owned(), Recorded::one(body));
    let (status, (kind, source)): (u16, (String, Box<dyn Source>)) = if faults.html {
        (
            200,
            whole(
                "text/html; charset=utf-8",
                recorded::PROXY_PAGE.as_bytes().to_vec(),
            ),
        )
    } else if faults.empty {
        (200, whole(dialect.content_type(ask.stream), Vec::new()))
    } else if let Some(name) = &behaviour.replay {
        let Some(replay) = shared.journal.replay(name) else {
            return call.json(404, &unknown(dialect, "body", name));
        };
        (
            replay.status,
            (
                replay.content_type.clone(),
                Recorded::framed(&replay.content_type, &replay.body),
            ),
        )
    } else if let Some(name) = &behaviour.case {
        let Some((kind, body)) = recorded::case(shared.options.cases.as_deref(), name) else {
            return call.json(404, &unknown(dialect, "case", name));
        };
        (200, (kind.to_owned(), Recorded::framed(kind, &body)))
    } else {
        let script = Script::new(
            &behaviour.answer,
            ask.choices,
            ask.prompt_bytes,
            ask.prefill.as_deref(),
        );
        if ask.stream {
            (
                200,
                (
                    dialect.content_type(true).to_owned(),
                    dialect.source(ask, script),
                ),
            )
        } else {
            let body = dialect.whole(ask, &script).to_string();
            let length = body.len() as u64;
            let (_, source) = whole("", body.into_bytes());
            return call.stream(
                200,
                dialect.content_type(false),
                source,
                behaviour,
                Some(length),
            );
        }
    };
    call.stream(status, &kind, source, behaviour, None)
}

fn unknown(dialect: Dialect, what: &str, name: &str) -> Value {
    let message = Some(format!("The mock has no {what} `{name}`."));
    dialect.error_body(
        404,
        &ErrorText {
            message,
            ..ErrorText::default()
        },
    )
}

/// A request that has been entered in the journal and waits for its answer.
struct Call {
    exchange: Arc<Exchange>,
    presence: Presence,
    connection: Arc<Connection>,
    http2: bool,
    request_id: Option<String>,
}

impl Call {
    fn json(self, status: u16, body: &Value) -> Answer {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let length = body.len() as u64;
        self.stream(
            status,
            "application/json",
            Recorded::one(body),
            Behaviour::default(),
            Some(length),
        )
    }

    fn stream(
        self,
        status: u16,
        kind: &str,
        source: Box<dyn Source>,
        behaviour: Behaviour,
        length: Option<u64>,
    ) -> Answer {
        let Behaviour { pacing, faults, .. } = behaviour;
        let gzip = pacing.gzip;
        let request_id = self
            .request_id
            .unwrap_or_else(|| format!("req_mock_{}", self.exchange.sequence));
        self.exchange.answered(status);
        if length == Some(0) {
            self.exchange.ended(crate::journal::Outcome::Done);
        }
        let mut reply = Reply::new(
            &self.exchange,
            self.presence,
            &self.connection,
            self.http2,
            source,
            pacing,
            faults,
        );
        if let Some(length) = length {
            reply = reply.with_length(length);
        }
        let mut answer = Response::new(Either::Right(reply));
        *answer.status_mut() =
            StatusCode::from_u16(status).expect("the status was checked where it was read");
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, header(kind));
        headers.insert("x-request-id", header(&request_id));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// What a request asks for.
struct Asked {
    behaviour: Behaviour,
    route: Route,
}

enum Route {
    Chat(Dialect, Ask),
    Models,
    Unknown,
}

/// Why it could not be read; the behaviour is what was understood up to there.
struct Refusal {
    behaviour: Behaviour,
    dialect: Dialect,
    message: String,
}

fn read(
    list: Option<&str>,
    target: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Asked, Box<Refusal>> {
    let mut behaviour = Behaviour::default();
    let header_list = headers.get("x-mock").and_then(|value| value.to_str().ok());
    let path = target.split('?').next().unwrap_or(target);
    let mut dialect = Dialect::OpenAi;
    let result = (|| {
        let mut first = Behaviour::default();
        for list in [list, header_list].into_iter().flatten() {
            first.read(list)?;
        }
        let Some(found) = Dialect::of(path, first.dialect.as_deref())? else {
            behaviour = first;
            return Ok(if path.ends_with("/models") {
                Route::Models
            } else {
                Route::Unknown
            });
        };
        dialect = found;
        // Known before the body is looked at, so that a bad body is found under its id in the journal.
        behaviour.id.clone_from(&first.id);
        let mut ask = found.ask(target, body)?;
        let (model, model_list) = model_and_list(&ask.model);
        let lists = [list, model_list, header_list];
        for list in lists.into_iter().flatten() {
            behaviour.read(list)?;
        }
        ask.model = model.to_owned();
        Ok(Route::Chat(found, ask))
    })();
    match result {
        Ok(route) => Ok(Asked { behaviour, route }),
        Err(message) => Err(Box::new(Refusal {
            behaviour,
            dialect,
            message,
        })),
    }
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
    let query = target
        .split_once('?')
        .and_then(|(_, query)| query.split('&').find_map(|pair| pair.strip_prefix("key=")));
    [
        bearer,
        text("x-api-key"),
        text("api-key"),
        text("x-goog-api-key"),
        query,
    ]
    .contains(&Some(expected))
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
        "x-api-key" | "api-key" | "x-goog-api-key" | "cookie" | "x-amz-security-token" => {
            marker(&value)
        }
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
        .map(|pair| {
            pair.strip_prefix("key=")
                .map_or_else(|| pair.to_owned(), |key| format!("key={}", marker(key)))
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

fn marker(key: &str) -> String {
    let shown: Vec<char> = key.chars().rev().take(4).collect();
    let shown: String = if key.len() > 4 {
        shown.into_iter().rev().collect()
    } else {
        String::new()
    };
    format!("…{shown}")
}

fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static("unprintable"))
}
