//! The client: it starts every call.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

use literllm::{ClientConfig, ErrorKind, Hook, Result, runtime};

use crate::call::Call;
use crate::callback::{ChunkCallback, DoneCallback, Flow, OnChunks, OnDone, UserData};
use crate::error::{Error, ErrorBox};
use crate::guard::guard;
use crate::pump::{Control, Question, block_on};
use crate::raw;
use crate::response::{Response, ResponseBox};
use crate::text::Text;

/// Talks to every provider. Its functions may be called from any thread, and no call waits for another.
///
/// Methods: literllm_client_new, literllm_client_new_with, literllm_client_new_with_hooks, literllm_client_chat, literllm_client_chat_stream,
/// literllm_client_open_stream, literllm_client_chat_blocking, literllm_client_chat_stream_blocking, literllm_client_free.
#[derive(Debug)]
pub struct Client(literllm::Client);

/// The most common settings, for literllm_client_new_with(). Set all to zero first and `size` to the size of the struct; what stays zero has
/// its default. Everything else is set by JSON.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ClientOptions {
    /// sizeof(literllm_client_options).
    pub size: usize,
    /// NUL-terminated, or NULL: the key of `provider`, or else of the first request's provider. NULL: as the usual variable says.
    pub api_key: *const c_char,
    /// NUL-terminated, or NULL: the base URL of the same provider.
    pub base_url: *const c_char,
    /// NUL-terminated, or NULL: whom key and base URL belong to, and whom a model without a prefix is asked of.
    pub provider: *const c_char,
    /// Deadlines in seconds; 0: the default, negative: none. Until the connection takes the request (10 s).
    pub connect_timeout: f64,
    /// From the request to the first token (10 minutes).
    pub first_token_timeout: f64,
    /// Between chunks (5 minutes).
    pub idle_timeout: f64,
    /// For the whole call, retries included (none).
    pub timeout: f64,
    /// How often a failed call is tried again before its first chunk; 0: the default of 2, negative: never.
    pub max_retries: i32,
}

/// Makes a client of a configuration in JSON. A NULL `config` is the default one: keys and base URLs come from the usual variables, such as
/// OPENAI_API_KEY and OPENAI_BASE_URL. On success NULL is returned and `client` is set to what is the caller's to free; else the error is
/// returned, the caller's to free, and `client` is left as it was.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_client_new(config: Text, client: *mut *mut Client) -> *mut Error {
    fallible(|| make(read_config(config)?, None, client))
}

/// As literllm_client_new(), of a struct of options. NULL options are the default ones. They are not used after the return.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_client_new_with(options: *const ClientOptions, client: *mut *mut Client) -> *mut Error {
    fallible(|| {
        let unset = ClientOptions {
            size: size_of::<ClientOptions>(),
            api_key: std::ptr::null(),
            base_url: std::ptr::null(),
            provider: std::ptr::null(),
            connect_timeout: 0.0,
            first_token_timeout: 0.0,
            idle_timeout: 0.0,
            timeout: 0.0,
            max_retries: 0,
        };
        make(raw::sized(options, unset).unwrap_or(unset).config()?, None, client)
    })
}

/// Gives a client back. Its calls go on. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_client_free(client: Option<Box<Client>>) {
    guard(drop, || drop(client));
}

/// Asks for a whole answer, and returns at once; `on_done` gets it. `request` is an OpenAI chat request as JSON, its model
/// `provider/model`; `options`, which may be without data, are this call's own settings as JSON. Neither is used after the return, and the
/// client may be freed at any time. `on_done` must not be NULL; without it nothing is done.
///
/// `call` may be NULL. Else it is set before any callback runs, to a handle that is the caller's to free, or to NULL where the arguments are
/// wrong. `on_done` may run before this returns.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_client_chat(
    client: Option<&Client>,
    request: Text,
    options: Text,
    on_done: OnDone,
    user_data: *mut c_void,
    call: *mut *mut Call,
) {
    start(client, request, options, on_done, UserData(user_data), call, |question, control| async move {
        question.answer(&control).await
    });
}

/// Asks for a stream, and returns at once; everything else is as for literllm_client_chat(). `on_chunks` may be NULL where only the whole
/// answer is wanted, which `on_done` gets after the last chunk.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_client_chat_stream(
    client: Option<&Client>,
    request: Text,
    options: Text,
    on_chunks: OnChunks,
    on_done: OnDone,
    user_data: *mut c_void,
    call: *mut *mut Call,
) {
    let mut on_chunks = ChunkCallback::new(on_chunks, UserData(user_data));
    start(client, request, options, on_done, UserData(user_data), call, |question, control| async move {
        question.stream(&control, |batch| on_chunks.call(batch.as_slice())).await
    });
}

/// Asks for a whole answer and waits for it. On success NULL is returned and `response`, if it is not NULL, is set to the answer, the caller's to
/// free. Not to be called inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_client_chat_blocking(
    client: Option<&Client>,
    request: Text,
    options: Text,
    response: *mut *mut Response,
) -> *mut Error {
    fallible(|| {
        let question = Question::read(client.map(Client::engine), request, options)?;
        let answer = block_on(question.answer(&Control::default()))?;
        hand_over(answer, response);
        Ok(())
    })
}

/// Streams to `on_chunks`, on the calling thread, and returns when the answer is over; LITERLLM_FLOW_PAUSE means no more than LITERLLM_FLOW_CONTINUE here,
/// and taking one's time is allowed. On success NULL is returned and `response`, if it is not NULL, is set to the whole answer, the caller's
/// to free. Not to be called inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_client_chat_stream_blocking(
    client: Option<&Client>,
    request: Text,
    options: Text,
    on_chunks: OnChunks,
    user_data: *mut c_void,
    response: *mut *mut Response,
) -> *mut Error {
    fallible(|| {
        let question = Question::read(client.map(Client::engine), request, options)?;
        let mut on_chunks = ChunkCallback::new(on_chunks, UserData(user_data));
        let consume = |batch: &mut Vec<_>| match on_chunks.call(batch) {
            Flow::Pause => Flow::Continue,
            other => other,
        };
        let answer = block_on(question.stream(&Control::default(), consume))?;
        hand_over(answer, response);
        Ok(())
    })
}

/// Runs what may fail: NULL, or the error as the caller's own.
pub fn fallible(body: impl FnOnce() -> Result<()>) -> *mut Error {
    guard(
        |panic| ErrorBox::new(panic).into_raw(),
        || body().map_or_else(|error| ErrorBox::new(error).into_raw(), |()| std::ptr::null_mut()),
    )
}

impl Client {
    pub fn engine(&self) -> &literllm::Client {
        &self.0
    }
}

impl ClientOptions {
    fn config(&self) -> Result<ClientConfig> {
        let text = |given: *const c_char, what: &str| {
            raw::c_str(given).map(|given| utf8(given.to_bytes(), what).map(str::to_owned)).transpose()
        };
        let deadline = |seconds: f64| match seconds {
            0.0 => Ok(None),
            seconds if seconds < 0.0 => Ok(Some(Duration::ZERO)),
            seconds => Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| wrong("a deadline is no number of seconds")),
        };
        let mut config = ClientConfig {
            api_key: text(self.api_key, "the API key")?.map(Into::into),
            base_url: text(self.base_url, "the base URL")?,
            provider: text(self.provider, "the provider")?,
            ..ClientConfig::default()
        };
        config.timeouts.connect_timeout = deadline(self.connect_timeout)?;
        config.timeouts.first_token_timeout = deadline(self.first_token_timeout)?;
        config.timeouts.idle_timeout = deadline(self.idle_timeout)?;
        config.timeouts.timeout = deadline(self.timeout)?;
        if self.max_retries != 0 {
            config.retries.max_retries = Some(u32::try_from(self.max_retries).unwrap_or(0));
        }
        Ok(config)
    }
}

pub fn read_config(config: Text) -> Result<ClientConfig> {
    match raw::bytes(config) {
        None => Ok(ClientConfig::default()),
        Some(config) => ClientConfig::from_json(utf8(config, "the client's configuration")?),
    }
}

pub fn make(config: ClientConfig, hook: Option<Arc<dyn Hook>>, client: *mut *mut Client) -> Result<()> {
    literllm::log::init();
    if client.is_null() {
        return Err(wrong("there is nowhere to put the client: the argument is NULL"));
    }
    raw::write(client, Box::into_raw(Box::new(Client(literllm::Client::with_hooks(config, hook)?))));
    Ok(())
}

/// Starts a call as a task of its own. `on_done` comes whatever happens.
fn start<F>(
    client: Option<&Client>,
    request: Text,
    options: Text,
    on_done: OnDone,
    user_data: UserData,
    call: *mut *mut Call,
    run: impl FnOnce(Question, Arc<Control>) -> F,
) where
    F: Future<Output = Result<literllm::ChatCompletion>> + Send + 'static,
{
    guard(drop, || {
        raw::write(call, std::ptr::null_mut());
        if on_done.is_none() {
            return;
        }
        let done = DoneCallback::new(on_done, user_data);
        let question = match guard(Err, || Question::read(client.map(Client::engine), request, options)) {
            Ok(question) => question,
            Err(error) => return done.call(Err(error)),
        };
        let control = Arc::new(Control::default());
        let task = run(question, Arc::clone(&control));
        if !call.is_null() {
            raw::write(call, Box::into_raw(Box::new(Call::new(&control))));
        }
        runtime::shared().spawn(async move { done.call(task.await.map(|answer| control.keep(answer))) });
    });
}

fn hand_over(answer: literllm::ChatCompletion, response: *mut *mut Response) {
    if !response.is_null() {
        raw::write(response, ResponseBox::new(answer).into_raw());
    }
}

fn utf8<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| wrong(&format!("{what} is not UTF-8")))
}

fn wrong(message: &str) -> literllm::Error {
    literllm::Error::new(ErrorKind::InvalidRequest, message)
}
