//! A stream that several threads may hold: one reads, any may cancel. The languages other than Rust build on it.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use super::ChatStream;
use crate::error::Result;
use crate::types::{ChatCompletion, ChatCompletionChunk};

/// A shared [`ChatStream`]. Its last clone's drop closes the connection.
#[derive(Debug, Clone)]
pub struct StreamHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: Mutex<ChatStream>,
    cancelled: watch::Sender<bool>,
}

impl From<ChatStream> for StreamHandle {
    fn from(stream: ChatStream) -> Self {
        Self(Arc::new(Shared { stream: Mutex::new(stream), cancelled: watch::Sender::new(false) }))
    }
}

impl StreamHandle {
    /// As [`ChatStream::next_batch`]. After [`Self::cancel`] it ends with an error of kind `cancelled`.
    pub async fn next_batch(&self) -> Option<Result<Vec<ChatCompletionChunk>>> {
        let mut stream = self.0.stream.lock().await;
        let mut cancelled = self.0.cancelled.subscribe();
        tokio::select! {
            biased;
            _ = cancelled.wait_for(|&cancelled| cancelled) => {}
            batch = stream.next_batch() => return batch,
        }
        stream.cancel();
        stream.next_batch().await
    }

    /// Closes the connection, whoever may be waiting.
    pub fn cancel(&self) {
        self.0.cancelled.send_replace(true);
        // Where someone is reading, they see it; where nobody is, it is done here.
        if let Ok(mut stream) = self.0.stream.try_lock() {
            stream.cancel();
        }
    }

    /// The answer so far, with who gives it.
    pub async fn completion(&self) -> ChatCompletion {
        self.0.stream.lock().await.completion()
    }

    /// Looks at the stream when nobody reads it.
    pub async fn with<T>(&self, look: impl FnOnce(&ChatStream) -> T) -> T {
        look(&*self.0.stream.lock().await)
    }
}
