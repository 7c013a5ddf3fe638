//! The only file that touches the network. One pool of connections a client, over reqwest and rustls.
//!
//! reqwest keeps one HTTP/2 connection a host and lets requests queue behind the server's limit of streams, which it does not tell. So a
//! connection is given no more streams than any server takes, and further ones go to further connections (*lanes*).

mod tls;

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::config::NetworkOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::providers::Outgoing;

/// How many streams a connection carries, unless the options say otherwise: fewer than any server's limit that is seen.
const STREAMS_PER_CONNECTION: usize = 8;
const MOST_REDIRECTS: usize = 4;
/// How many of the bytes that came together are read in one go: what is made of them is handed over while it is still in the nearest cache.
const PIECE: usize = 8 << 10;
/// How often a request that an HTTP/2 server refused unread is given to it again.
const MOST_REFUSALS: usize = 8;

/// Sends requests. Shared by every call of a client.
pub(crate) struct Transport {
    options: NetworkOptions,
    tls: OnceLock<Result<rustls::ClientConfig>>,
    /// Clients for `http` and for `https`, the first of each used for all hosts, further ones where a host's streams are used up.
    lanes: Mutex<[Vec<reqwest::Client>; 2]>,
    hosts: Mutex<HashMap<Origin, Arc<HostState>>>,
    /// The addresses asked lately, so that one asked again is not read again.
    addresses: Mutex<HashMap<String, Address>>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// An address, read, and its host.
#[derive(Clone)]
struct Address {
    url: reqwest::Url,
    /// What the address itself says of a login, as a header.
    login: Option<HeaderValue>,
    secure: bool,
    host: Arc<HostState>,
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin(String);

/// What is known of a host: how many streams each lane carries.
#[derive(Debug, Default)]
struct HostState {
    /// Each request has a connection of its own: lanes do not matter.
    speaks_http1: AtomicBool,
    lanes: Mutex<Vec<Arc<AtomicUsize>>>,
}

/// A request's place in a lane, given back when it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer whose body is still to come. Dropping it closes the connection, or resets its HTTP/2 stream.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: AnswerBody,
}

#[derive(Debug)]
pub(crate) struct AnswerBody {
    answer: reqwest::Response,
    /// What came together and was not taken yet.
    unread: Bytes,
    _place: Place,
}

impl AnswerBody {
    /// The next bytes, some at a time; `None` at the end.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, reqwest::Error>>> {
        if self.unread.is_empty() {
            // It keeps nothing between polls, so it may be made anew each time.
            match ready!(std::pin::pin!(self.answer.chunk()).poll(cx)) {
                Ok(Some(bytes)) => self.unread = bytes,
                ended => return Poll::Ready(ended.transpose()),
            }
        }
        let piece = self.unread.len().min(PIECE);
        Poll::Ready(Some(Ok(self.unread.split_to(piece))))
    }

    /// The whole body, up to `cap` bytes.
    pub(crate) async fn read(mut self, cap: usize) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(bytes) = std::future::poll_fn(|cx| self.poll_bytes(cx)).await {
            let bytes = bytes.map_err(|error| {
                Error::new(ErrorKind::Truncated, format!("the connection broke inside the answer: {}", innermost(&error)))
                    .with_source(error)
            })?;
            if whole.len() + bytes.len() > cap {
                return Err(Error::from(crate::decode::TooLarge { cap }));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }
}

impl Transport {
    pub(crate) fn new(options: NetworkOptions) -> Self {
        Self { options, tls: OnceLock::new(), lanes: Mutex::default(), hosts: Mutex::default(), addresses: Mutex::default() }
    }

    /// Posts and waits for the answer's headers. `connect_timeout` bounds the time until the request can be handed over.
    pub(crate) async fn post(&self, request: &Outgoing, connect_timeout: Option<Duration>) -> Result<Answer> {
        let mut moved = None;
        for _ in 0..=MOST_REDIRECTS {
            let url = moved.as_deref().unwrap_or(&*request.url);
            let answer = self.send(Method::POST, url, request, connect_timeout).await?;
            let Some(location) = redirect_of(&answer) else { return Ok(answer) };
            moved = Some(same_host(url, &location).ok_or_else(|| {
                let message = format!(
                    "the host redirects to {}, which is not followed: the key belongs to this host; correct the base URL",
                    without_login(&location)
                );
                Error::new(ErrorKind::Protocol, message).with_status(answer.status.as_u16())
            })?);
        }
        Err(Error::new(ErrorKind::Protocol, "the host redirects in circles; correct the base URL"))
    }

    /// One request of any method, to `address` instead of its own, for token endpoints and the like.
    pub(crate) async fn send(
        &self,
        method: Method,
        address: &str,
        request: &Outgoing,
        connect_timeout: Option<Duration>,
    ) -> Result<Answer> {
        let Address { url, login, secure, host } = self.address(address)?;
        let deadline = connect_timeout.map(|limit| (Instant::now() + limit, limit));
        let mut refusals = 0;
        loop {
            let (lane, place) = host.take_place(self.streams_per_connection(secure));
            let handed_over = Arc::new(AtomicBool::new(false));
            let mut asked = reqwest::Request::new(method.clone(), url.clone());
            *asked.headers_mut() = request.headers.clone();
            if let Some(login) = &login {
                asked.headers_mut().entry(AUTHORIZATION).or_insert_with(|| login.clone());
            }
            if method != Method::GET {
                let body = RequestBody { bytes: Some(request.body.clone()), handed_over: Arc::clone(&handed_over) };
                *asked.body_mut() = Some(reqwest::Body::wrap(body));
            }
            let answer = tokio::select! {
                biased;
                answer = self.lane(secure, lane)?.execute(asked) => answer,
                limit = passed(deadline, &handed_over) => {
                    let message = format!("no connection within {} (connect_timeout); check the network, the base URL and any proxy", seconds(limit));
                    return Err(Error::new(ErrorKind::Timeout, message));
                }
            };
            let mut answer = match answer {
                Ok(answer) => answer,
                // The server takes fewer streams than it was given, and did not look at this one.
                Err(error) if refusals < MOST_REFUSALS && is_refused_stream(&error) => {
                    refusals += 1;
                    continue;
                }
                Err(error) => return Err(send_error(error, address)),
            };
            if answer.version() != Version::HTTP_2 {
                host.speaks_http1.store(true, Ordering::Release);
            }
            let (status, headers) = (answer.status(), in_own_memory(std::mem::take(answer.headers_mut())));
            return Ok(Answer { status, headers, body: AnswerBody { answer, unread: Bytes::new(), _place: place } });
        }
    }

    fn address(&self, url: &str) -> Result<Address> {
        const MOST: usize = 256;
        let addresses = || self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = addresses().get(url) {
            return Ok(address.clone());
        }
        let (secure, origin) = origin_of(url)?;
        let host = Arc::clone(self.hosts.lock().unwrap_or_else(PoisonError::into_inner).entry(origin).or_default());
        // It takes the login out of it, where there is one.
        let mut read = self.lane(secure, 0)?.get(url).build().map_err(|_| bad_url(url))?;
        let address = Address { url: read.url().clone(), login: read.headers_mut().remove(AUTHORIZATION), secure, host };
        let mut addresses = addresses();
        if addresses.len() >= MOST {
            addresses.clear();
        }
        addresses.insert(url.to_owned(), address.clone());
        Ok(address)
    }

    /// How many streams a connection may carry; none where HTTP/2 is never spoken.
    fn streams_per_connection(&self, secure: bool) -> Option<usize> {
        let may_be_http2 = (secure || self.options.http2_only) && !self.options.http1_only;
        may_be_http2.then(|| self.options.streams_per_connection.unwrap_or(STREAMS_PER_CONNECTION).max(1))
    }

    fn lane(&self, secure: bool, lane: usize) -> Result<reqwest::Client> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = &mut lanes[usize::from(secure)];
        while lanes.len() <= lane {
            lanes.push(self.build(secure)?);
        }
        Ok(lanes[lane].clone())
    }

    fn build(&self, secure: bool) -> Result<reqwest::Client> {
        const STREAM_WINDOW: u32 = 128 * 1024;
        const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
        let options = &self.options;
        let tls = if secure { self.tls.get_or_init(|| tls::config(options)).clone()? } else { tls::without_roots() };
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            .pool_idle_timeout(Duration::from_secs(55))
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .tls_backend_preconfigured(tls)
            .user_agent(
                options.user_agent.clone().unwrap_or_else(|| concat!("liter-llm/", env!("CARGO_PKG_VERSION")).to_owned()),
            );
        if options.http2_only {
            builder = builder.http2_prior_knowledge();
        }
        if options.http1_only {
            builder = builder.http1_only();
        }
        match options.proxy.as_deref() {
            Some("") => builder = builder.no_proxy(),
            Some(proxy) => {
                let proxy = reqwest::Proxy::all(proxy).map_err(|error| {
                    Error::new(ErrorKind::InvalidRequest, "`proxy` is no URL; write it as http://host:port").with_source(error)
                })?;
                builder = builder.proxy(proxy);
            }
            None => {}
        }
        builder.build().map_err(|error| {
            Error::new(ErrorKind::InvalidRequest, format!("the network options cannot be used: {}", innermost(&error)))
                .with_source(error)
        })
    }
}

impl HostState {
    /// The first lane with a stream to spare.
    fn take_place(&self, limit: Option<usize>) -> (usize, Place) {
        let limit = limit.filter(|_| !self.speaks_http1.load(Ordering::Acquire)).unwrap_or(usize::MAX);
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.iter().position(|load| load.load(Ordering::Acquire) < limit).unwrap_or(lanes.len());
        if lane == lanes.len() {
            lanes.push(Arc::default());
        }
        lanes[lane].fetch_add(1, Ordering::AcqRel);
        (lane, Place(Arc::clone(&lanes[lane])))
    }
}

/// A request's body that tells when the connection asks for it: until then, it is the connection that is waited for.
struct RequestBody {
    bytes: Option<Bytes>,
    handed_over: Arc<AtomicBool>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.handed_over.store(true, Ordering::Release);
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The headers in memory of their own. As they came, they keep the whole buffer that the connection read them into (8 KiB) alive, for as
/// long as the answer lasts.
fn in_own_memory(mut headers: HeaderMap) -> HeaderMap {
    let mut own = Bytes::from(headers.values().map(HeaderValue::as_bytes).collect::<Vec<_>>().concat());
    for value in headers.values_mut() {
        *value = HeaderValue::from_maybe_shared(own.split_to(value.len())).expect("it was a header's value before");
    }
    headers
}

/// Returns when the deadline passes while the request waits for a connection.
async fn passed(deadline: Option<(Instant, Duration)>, handed_over: &AtomicBool) -> Duration {
    if let Some((at, limit)) = deadline {
        // A connection that is there takes the request when it has its turn.
        tokio::task::yield_now().await;
        if !handed_over.load(Ordering::Acquire) {
            tokio::time::sleep_until(at).await;
        }
        if !handed_over.load(Ordering::Acquire) {
            return limit;
        }
    }
    std::future::pending().await
}

fn origin_of(url: &str) -> Result<(bool, Origin)> {
    let uri: Uri = url.parse().map_err(|_| bad_url(url))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(bad_url(url)) };
    let secure = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(bad_url(url)),
    };
    Ok((secure, Origin(format!("{scheme}://{}", authority.as_str().rsplit('@').next().unwrap_or_default()))))
}

fn bad_url(url: &str) -> Error {
    let message = format!("`{}` is no address; write the base URL as https://host/path", without_login(url));
    Error::new(ErrorKind::InvalidRequest, message)
}

/// An address as it may be shown.
pub(crate) fn without_login(url: &str) -> String {
    let (scheme, _, rest) = around_login(url);
    format!("{scheme}{rest}")
}

/// An address in three parts, the second of which is the login, with its `@`.
fn around_login(url: &str) -> (&str, &str, &str) {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let path = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
    let login = url[authority..path].rfind('@').map_or(0, |at| at + 1);
    (&url[..authority], &url[authority..authority + login], &url[authority + login..])
}

fn redirect_of(answer: &Answer) -> Option<String> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 307 | 308) {
        return None;
    }
    answer.headers.get(http::header::LOCATION)?.to_str().ok().map(str::to_owned)
}

/// Where a redirect leads, if it stays on the host that the key belongs to. A login goes with it.
fn same_host(from: &str, location: &str) -> Option<String> {
    let (scheme, login, _) = around_login(from);
    if location.starts_with('/') && !location.starts_with("//") {
        let (_, origin) = origin_of(from).ok()?;
        let (_, _, host) = around_login(&origin.0);
        return Some(format!("{scheme}{login}{host}{location}"));
    }
    let (new_scheme, new_login, rest) = around_login(location);
    let moved = format!("{new_scheme}{}{rest}", if new_login.is_empty() { login } else { new_login });
    let (secure_from, from) = origin_of(from).ok()?;
    let (secure_to, to) = origin_of(location).ok()?;
    let host = |origin: &Origin| origin.0.split("://").nth(1).unwrap_or_default().to_ascii_lowercase();
    let upgraded = !secure_from && secure_to && host(&from).split(':').next() == host(&to).split(':').next();
    (from == to || upgraded).then_some(moved)
}

fn is_refused_stream(error: &reqwest::Error) -> bool {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            return error.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        let Some(source) = cause.source() else { return false };
        cause = source;
    }
}

fn send_error(error: reqwest::Error, url: &str) -> Error {
    let shown = without_login(url);
    let host = shown.split('/').nth(2).unwrap_or(&shown);
    let cause = innermost(&error);
    let message = if error.is_connect() {
        format!("cannot connect to {host}: {cause}; check the network, the base URL and any proxy")
    } else if error.is_builder() {
        return bad_url(url).with_source(error.without_url());
    } else {
        format!("the connection to {host} broke before an answer: {cause}")
    };
    Error::new(ErrorKind::Network, message).with_source(error.without_url())
}

/// The last cause of an error, which says the most.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
