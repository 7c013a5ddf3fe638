//! The pull form: a stream that is read when the program likes, with a descriptor to wait for.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use literllm::{ChatCompletion, ChatCompletionChunk, Result, runtime};

use crate::callback::Flow;
use crate::chunk::{Chunk, Views};
use crate::client::{Client, fallible};
use crate::error::{Error, ErrorBox};
use crate::guard::guard;
use crate::pump::{Control, Question};
use crate::raw;
use crate::response::{Response, ResponseBox};
use crate::text::Text;

/// A stream that is read by literllm_stream_next(), for programs with an event loop. While nobody reads it, nothing is read from the provider
/// and no deadline but the total one runs. One thread at a time may use it; literllm_stream_cancel() may be called from any.
///
/// Methods: literllm_stream_next, literllm_stream_fd, literllm_stream_response, literllm_stream_error, literllm_stream_cancel,
/// literllm_stream_free.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    handed_out: Mutex<HandedOut>,
    ending: Mutex<Option<Ending>>,
    sofar: Mutex<Option<Box<ResponseBox>>>,
}

/// What the last call gave out.
#[derive(Debug, Default)]
struct HandedOut {
    views: Views,
    chunks: Vec<ChatCompletionChunk>,
}

#[derive(Debug)]
enum Ending {
    Complete(Box<ResponseBox>),
    Failed(Box<ErrorBox>),
}

#[derive(Debug)]
struct Shared {
    control: Control,
    slot: Mutex<Slot>,
    reader: PipeReader,
    writer: PipeWriter,
}

/// What waits to be taken.
#[derive(Debug, Default)]
struct Slot {
    chunks: Option<Vec<ChatCompletionChunk>>,
    ending: Option<Result<ChatCompletion>>,
    /// Whether a byte is in the pipe: while something waits, and forever once the stream is over.
    signalled: bool,
}

/// What literllm_stream_next() found.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing is there yet; wait for the descriptor.
    Pending = 0,
    /// Chunks were handed out.
    Chunks = 1,
    /// The answer is complete; literllm_stream_response() has it.
    End = 2,
    /// The stream failed; literllm_stream_error() says why.
    Error = 3,
}

/// Starts a streamed chat to be read by literllm_stream_next(), and returns at once. `request` and `options` are as for
/// literllm_client_chat_stream(); they are not used after the return. On success NULL is returned and `stream` is set to what is the caller's
/// to free. The client may be freed at any time.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_client_open_stream(
    client: Option<&Client>,
    request: Text,
    options: Text,
    stream: *mut *mut Stream,
) -> *mut Error {
    fallible(|| {
        let question = Question::read(client.map(Client::engine), request, options)?;
        if !stream.is_null() {
            raw::write(stream, Box::into_raw(Box::new(Stream::start(question)?)));
        }
        Ok(())
    })
}

/// Hands out all chunks that are there, without waiting. Answers LITERLLM_NEXT_CHUNKS and sets `chunks` and `count` (borrowed until the next
/// call for this stream, or its free), LITERLLM_NEXT_PENDING, LITERLLM_NEXT_END or LITERLLM_NEXT_ERROR; the last two again if it is called
/// again. A NULL stream answers LITERLLM_NEXT_ERROR.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_stream_next(stream: Option<&Stream>, chunks: *mut *const *const Chunk, count: *mut usize) -> Next {
    guard(
        |_| Next::Error,
        || {
            let Some(stream) = stream else { return Next::Error };
            let mut slot = lock(&stream.shared.slot);
            if let Some(batch) = slot.chunks.take() {
                stream.shared.taken(slot);
                let mut handed_out = lock(&stream.handed_out);
                let HandedOut { chunks: held, views } = &mut *handed_out;
                views.clear();
                *held = batch;
                let list = views.show(held);
                raw::write(chunks, list.as_ptr());
                raw::write(count, list.len());
                return Next::Chunks;
            }
            let mut ending = lock(&stream.ending);
            if let Some(result) = slot.ending.take() {
                *ending = Some(match result {
                    Ok(answer) => Ending::Complete(ResponseBox::new(answer)),
                    Err(error) => Ending::Failed(ErrorBox::new(error)),
                });
            }
            match &*ending {
                None => Next::Pending,
                Some(Ending::Complete(_)) => Next::End,
                Some(Ending::Failed(_)) => Next::Error,
            }
        },
    )
}

/// A descriptor that can be read (poll, select, epoll, kqueue) while literllm_stream_next() would not answer LITERLLM_NEXT_PENDING. Only wait
/// for it: do not read, write or close it. It lives as long as the stream. -1 for NULL.
#[cfg(not(target_os = "windows"))]
#[unsafe(no_mangle)]
pub extern "C" fn literllm_stream_fd(stream: Option<&Stream>) -> std::ffi::c_int {
    use std::os::fd::AsRawFd;
    guard(|_| -1, || stream.map_or(-1, |stream| stream.shared.reader.as_raw_fd()))
}

/// The answer so far, and the whole answer once literllm_stream_next() has answered LITERLLM_NEXT_END. It may be ahead of the chunks that were
/// handed out. NULL while nothing has come, and after an error, which has what had come as its partial answer. The whole answer lives as long as
/// the stream; one so far is borrowed until the next call of this function, and each call copies it anew.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_stream_response(stream: Option<&Stream>) -> *const Response {
    guard(
        |_| ptr::null(),
        || {
            let Some(stream) = stream else { return ptr::null() };
            match &*lock(&stream.ending) {
                Some(Ending::Complete(response)) => return response.view(),
                Some(Ending::Failed(_)) => return ptr::null(),
                None => {}
            }
            let mut sofar = lock(&stream.sofar);
            *sofar = stream.shared.answer_so_far().map(ResponseBox::new);
            sofar.as_ref().map_or(ptr::null(), |sofar| sofar.view())
        },
    )
}

/// The error, once literllm_stream_next() has answered LITERLLM_NEXT_ERROR; else NULL. It lives as long as the stream.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_stream_error(stream: Option<&Stream>) -> *const Error {
    guard(
        |_| ptr::null(),
        || match stream.map(|stream| lock(&stream.ending)).as_deref() {
            Some(Some(Ending::Failed(error))) => error.view(),
            _ => ptr::null(),
        },
    )
}

/// Closes the connection to the provider. Chunks that were there can still be taken; then the stream ends with an error of kind `cancelled`, or
/// as complete if that was all. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_stream_cancel(stream: Option<&Stream>) {
    guard(drop, || stream.map_or((), |stream| stream.shared.control.cancel()));
}

/// Frees a stream and all that was borrowed from it, and closes the connection if it is not over. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn literllm_stream_free(stream: Option<Box<Stream>>) {
    guard(drop, || drop(stream));
}

impl Stream {
    fn start(question: Question) -> Result<Self> {
        let (reader, writer) = std::io::pipe()
            .map_err(|error| literllm::Error::new(literllm::ErrorKind::Network, format!("the system gives no pipe: {error}")))?;
        let shared = Arc::new(Shared { control: Control::default(), slot: Mutex::default(), reader, writer });
        let task = Arc::clone(&shared);
        runtime::shared().spawn(async move {
            let consume = |batch: &mut Vec<_>| {
                task.put(|slot| slot.chunks = Some(std::mem::take(batch)));
                Flow::Pause
            };
            let result = question.stream(&task.control, consume).await;
            task.put(|slot| slot.ending = Some(result));
        });
        Ok(Self { shared, handed_out: Mutex::default(), ending: Mutex::default(), sofar: Mutex::default() })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.control.cancel();
    }
}

impl Shared {
    fn put(&self, news: impl FnOnce(&mut Slot)) {
        let mut slot = lock(&self.slot);
        news(&mut slot);
        if !std::mem::replace(&mut slot.signalled, true) {
            // An empty pipe takes a byte at once, and it is never full of one.
            let written = (&self.writer).write(&[1]);
            debug_assert!(matches!(written, Ok(1)), "{written:?}");
        }
    }

    /// Also once the stream is over and the program has not yet been told.
    fn answer_so_far(&self) -> Option<Arc<ChatCompletion>> {
        match &lock(&self.slot).ending {
            Some(Ok(answer)) => Some(Arc::new(answer.clone())),
            Some(Err(error)) => error.partial().cloned().map(Arc::new),
            None => None,
        }
        .or_else(|| self.control.answer_so_far())
    }

    /// The chunks in the slot were taken: the next may come.
    fn taken(&self, mut slot: MutexGuard<'_, Slot>) {
        if slot.ending.is_none() {
            let read = (&self.reader).read(&mut [0]);
            debug_assert!(matches!(read, Ok(1)), "{read:?}");
            slot.signalled = false;
        }
        drop(slot);
        self.control.resume();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
