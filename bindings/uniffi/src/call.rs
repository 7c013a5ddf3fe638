//! One call: asked for whole or as a stream, cancelled by whoever holds it.

use std::future::Future;
use std::sync::Arc;

use literllm::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Client, Error, ErrorKind, RequestOptions, StreamHandle, runtime,
};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;

use crate::NativeError;

/// A call to a model. Dropping the last reference closes its connection.
#[derive(Debug, uniffi::Object)]
pub struct NativeCall {
    client: Client,
    request: ChatCompletionRequest,
    options: RequestOptions,
    stream: OnceCell<Result<StreamHandle, Error>>,
    cancelled: watch::Sender<bool>,
}

impl NativeCall {
    pub(crate) fn new(client: Client, request: ChatCompletionRequest, options: RequestOptions) -> Arc<Self> {
        Arc::new(Self { client, request, options, stream: OnceCell::new(), cancelled: watch::Sender::new(false) })
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

    /// All chunks that are there, at least one; none after the last one. The first wait starts the stream.
    pub async fn next_batch(self: Arc<Self>) -> Result<Vec<ChatCompletionChunk>, NativeError> {
        on_runtime(async move { self.batch().await }).await
    }

    /// As `chat`, for a thread that may block.
    pub fn chat_blocking(&self) -> Result<ChatCompletion, NativeError> {
        Ok(runtime::shared().block_on(self.whole())?)
    }

    /// As `next_batch`, for a thread that may block.
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
        Err(error) if error.is_panic() => Err(Error::new(ErrorKind::Panic, panic_message(error.into_panic().as_ref())).into()),
        Err(_) => Err(cancelled_error().into()),
    }
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

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the engine panicked, which is a bug: {}", text.unwrap_or("no message"))
}
