//! One call: asked for whole or as a stream, cancelled by whoever holds it.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use literllm::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Client, Error, ErrorKind, RequestOptions, StreamHandle, runtime,
};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;
use uniffi::Lower;

use crate::failure::Thrown;
use crate::{ErrorDetails, NativeError, UniFfiTag};

/// Takes the batches of a stream, each asked for by `request_next`, on a thread of the engine. It returns at once and throws nothing.
///
/// A lone chunk is to be seen as soon as it has come, and on the JVM every structure that crosses and every further crossing cost a part of
/// that time; so a batch comes by its address, in one call.
#[uniffi::export(foreign)]
pub trait BatchReceiver: Send + Sync + std::fmt::Debug {
    /// All chunks that were there, at least one; none after the last one. At `address` lie `length` bytes, the list as lists cross, borrowed
    /// for the length of this call.
    fn take(&self, address: u64, length: u64);

    /// The stream has failed, as [`NativeError`] says it.
    fn fail(&self, error: ErrorDetails, thrown: Vec<Option<Arc<dyn Thrown>>>);
}

/// A call to a model. Dropping the last reference closes its connection.
#[derive(Debug, uniffi::Object)]
pub struct NativeCall {
    client: Client,
    request: ChatCompletionRequest,
    options: RequestOptions,
    stream: OnceCell<Result<StreamHandle, Error>>,
    cancelled: watch::Sender<bool>,
    receiver: OnceLock<Arc<dyn BatchReceiver>>,
}

impl NativeCall {
    pub(crate) fn new(client: Client, request: ChatCompletionRequest, options: RequestOptions) -> Arc<Self> {
        let cancelled = watch::Sender::new(false);
        Arc::new(Self { client, request, options, stream: OnceCell::new(), cancelled, receiver: OnceLock::new() })
    }

    /// Asks for the whole answer, until cancelled.
    async fn whole(&self) -> Result<ChatCompletion, Error> {
        let mut cancelled = self.cancelled.subscribe();
        tokio::select! {
            biased;
            _ = cancelled.wait_for(|&cancelled| cancelled) => Err(cancelled_error()),
            answer = self.client.chat_with(&self.request, &self.options) => answer,
        }
    }

    /// Starts the stream, or gives the one that was started.
    async fn started(&self) -> Result<&StreamHandle, Error> {
        // Boxed: what makes a request is large, and every later wait would carry room for it.
        let start = Box::pin(async {
            let mut cancelled = self.cancelled.subscribe();
            tokio::select! {
                biased;
                _ = cancelled.wait_for(|&cancelled| cancelled) => Err(cancelled_error()),
                stream = self.client.chat_stream_with(&self.request, &self.options) => stream.map(StreamHandle::from),
            }
        });
        self.stream.get_or_init(|| start).await.as_ref().map_err(Clone::clone)
    }

    async fn batch(&self) -> Result<Vec<ChatCompletionChunk>, Error> {
        self.started().await?.next_batch().await.unwrap_or_else(|| Ok(Vec::new()))
    }

    /// A batch as lists cross.
    async fn lowered_batch(&self) -> Result<Vec<u8>, Error> {
        let batch = self.batch().await?;
        let mut bytes = Vec::new();
        <Vec<ChatCompletionChunk> as Lower<UniFfiTag>>::write(batch, &mut bytes);
        Ok(bytes)
    }

    async fn so_far(&self) -> ChatCompletion {
        match self.stream.get() {
            Some(Ok(stream)) => stream.completion().await,
            _ => ChatCompletion::default(),
        }
    }
}

#[uniffi::export]
impl NativeCall {
    /// The whole answer.
    pub async fn chat(self: Arc<Self>) -> Result<ChatCompletion, NativeError> {
        on_runtime(async move { self.whole().await }).await
    }

    /// Names who takes the batches; once, and before the first is asked for.
    pub fn deliver_to(&self, receiver: Arc<dyn BatchReceiver>) {
        self.receiver.set(receiver).expect("a call has one receiver");
    }

    /// Asks for the next batch: the receiver is called once for it, whatever happens. The first one starts the stream.
    pub fn request_next(self: Arc<Self>) {
        runtime::shared().spawn(async move {
            let batch = guarded(self.lowered_batch()).await;
            let receiver = self.receiver.get().expect("the receiver is named before a batch is asked for");
            match batch {
                Ok(bytes) => receiver.take(bytes.as_ptr().expose_provenance() as u64, bytes.len() as u64),
                Err(error) => {
                    let NativeError::Failed { details, thrown } = error.into();
                    receiver.fail(*details, thrown);
                }
            }
        });
    }

    /// As `chat`, for a thread that may block.
    pub fn chat_blocking(&self) -> Result<ChatCompletion, NativeError> {
        Ok(runtime::shared().block_on(self.whole())?)
    }

    /// All chunks that are there, at least one; none after the last one. The first wait starts the stream. For a thread that may block.
    pub fn next_batch_blocking(&self) -> Result<Vec<ChatCompletionChunk>, NativeError> {
        Ok(runtime::shared().block_on(self.batch())?)
    }

    /// Closes the connection, whoever may be waiting; they get an error of kind `cancelled`.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
        if let Some(Ok(stream)) = self.stream.get() {
            stream.cancel();
        }
    }

    /// The streamed answer so far; whole once the stream has ended.
    pub async fn completion(self: Arc<Self>) -> Result<ChatCompletion, NativeError> {
        on_runtime(async move { Ok(self.so_far().await) }).await
    }

    /// As `completion`, for a thread that may block.
    pub fn completion_blocking(&self) -> ChatCompletion {
        runtime::shared().block_on(self.so_far())
    }
}

/// Runs on the engine's own threads, so that no caller's thread does the network's work. Dropping the wait aborts it.
async fn on_runtime<T: Send + 'static>(work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, NativeError> {
    let mut task = Abort(runtime::shared().spawn(work));
    match (&mut task.0).await {
        Ok(result) => Ok(result?),
        Err(error) if error.is_panic() => Err(panic_error(&*error.into_panic()).into()),
        Err(_) => Err(cancelled_error().into()),
    }
}

/// The work, with a panic in it as an error.
async fn guarded<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut work = pin!(work);
    let guard = |panic: Box<dyn std::any::Any + Send>| Poll::Ready(Err(panic_error(&*panic)));
    poll_fn(|cx| catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))).unwrap_or_else(guard)).await
}

struct Abort<T>(JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn cancelled_error() -> Error {
    Error::new(ErrorKind::Cancelled, "the caller cancelled the call")
}

fn panic_error(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Panic, format!("the engine panicked, which is a bug: {}", text.unwrap_or("no message")))
}
