//! One wake-up for all that an event loop waits for: what became ready queues up, and the first of a queue announces it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};

use pyo3::prelude::*;

use crate::operation::Operation;

/// An event loop's wake-up. Where a loop can watch a file, `fileno` is readable when `drain` is to be called; given an `announce`, that is
/// called instead, from any thread.
#[pyclass(module = "liter_llm._native", frozen)]
#[derive(Debug)]
pub(crate) struct WakeUp(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Vec<Arc<Waiter>>>,
    signal: Signal,
    /// Starts a coroutine in the loop, from any thread.
    start: Option<Py<PyAny>>,
    announced: AtomicU64,
}

/// An operation that a loop waits for, and what is called when it is ready.
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    operation: Weak<dyn Operation>,
    callback: Py<PyAny>,
    queued: AtomicBool,
    /// Whether someone still waits.
    wanted: AtomicBool,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter").field("queued", &self.queued).finish_non_exhaustive()
    }
}

#[pymethods]
impl WakeUp {
    #[new]
    #[pyo3(signature = (announce = None, start = None))]
    fn new(announce: Option<Py<PyAny>>, start: Option<Py<PyAny>>) -> PyResult<Self> {
        let signal = match announce {
            Some(announce) => Signal::Call(announce),
            None => Signal::file()?,
        };
        Ok(Self(Arc::new(Shared { queue: Mutex::default(), signal, start, announced: AtomicU64::new(0) })))
    }

    /// What the loop is to watch.
    fn fileno(&self) -> PyResult<i32> {
        self.0.signal.fileno()
    }

    /// Goes on with all that was announced, and calls back for what is ready.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let ready = py.detach(|| {
            self.0.signal.clear();
            let queue = std::mem::take(&mut *self.0.queue());
            queue.into_iter().filter(Waiter::go_on).collect::<Vec<_>>()
        });
        ready.iter().try_for_each(|waiter| waiter.callback.call0(py).map(drop))
    }

    /// How often the loop has been woken.
    #[getter]
    fn announced(&self) -> u64 {
        self.0.announced.load(Ordering::Relaxed)
    }

    /// How many operations `drain` would go on with.
    #[getter]
    fn waiting(&self) -> usize {
        self.0.queue().len()
    }
}

thread_local! {
    static CALLER: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The event loop for which the engine is at work in this thread.
pub(crate) fn caller() -> Option<Arc<Shared>> {
    CALLER.with_borrow(Clone::clone)
}

/// Works for an event loop.
pub(crate) fn on_behalf_of<T>(caller: Option<&Arc<Shared>>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<Shared>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CALLER.set(self.0.take());
        }
    }
    let _restore = Restore(CALLER.replace(caller.cloned()));
    work()
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Vec<Arc<Waiter>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What starts a coroutine in the loop, where it can be told so.
    pub(crate) fn start(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.start.as_ref().map(|start| start.clone_ref(py))
    }
}

impl WakeUp {
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    /// Begins to wait for an operation; true when it is ready already, and the callback is not called.
    pub(crate) fn watch(
        &self,
        py: Python<'_>,
        operation: &Arc<impl Operation + 'static>,
        callback: Py<PyAny>,
    ) -> (Arc<Waiter>, bool) {
        let waiter = Arc::new(Waiter {
            shared: Arc::clone(&self.0),
            operation: Arc::downgrade(&(Arc::clone(operation) as Arc<dyn Operation>)),
            callback,
            queued: AtomicBool::new(false),
            wanted: AtomicBool::new(true),
        });
        let ready = py.detach(|| waiter.go_on());
        (waiter, ready)
    }
}

impl Waiter {
    /// Nobody waits any more: the callback is not called.
    pub(crate) fn forget(&self) {
        self.wanted.store(false, Ordering::Release);
    }

    /// True when the operation is ready for someone who waits.
    fn go_on(self: &Arc<Self>) -> bool {
        self.queued.store(false, Ordering::Release);
        if !self.wanted.load(Ordering::Acquire) {
            return false;
        }
        let Some(operation) = self.operation.upgrade() else { return false };
        let ready = operation.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))));
        ready && self.wanted.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let is_first = {
            let mut queue = shared.queue();
            queue.push(self);
            queue.len() == 1
        };
        if is_first {
            shared.announced.fetch_add(1, Ordering::Relaxed);
            shared.signal.announce();
        }
    }
}

#[derive(Debug)]
enum Signal {
    #[cfg(unix)]
    File {
        reader: std::os::unix::net::UnixStream,
        writer: std::os::unix::net::UnixStream,
    },
    Call(Py<PyAny>),
}

impl Signal {
    #[cfg(unix)]
    fn file() -> PyResult<Self> {
        let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self::File { reader, writer })
    }

    #[cfg(not(unix))]
    fn file() -> PyResult<Self> {
        Err(pyo3::exceptions::PyNotImplementedError::new_err("on this system a wake-up needs something to call"))
    }

    fn fileno(&self) -> PyResult<i32> {
        match self {
            #[cfg(unix)]
            Self::File { reader, .. } => Ok(std::os::fd::AsRawFd::as_raw_fd(reader)),
            Self::Call(_) => Err(pyo3::exceptions::PyValueError::new_err("this wake-up calls, and has no file")),
        }
    }

    fn announce(&self) {
        match self {
            // A full pipe has been announced already; a closed one has nobody left to tell.
            #[cfg(unix)]
            Self::File { writer, .. } => drop(std::io::Write::write(&mut &*writer, &[1])),
            Self::Call(announce) => {
                // At the interpreter's end, or once the loop is closed, nobody is left to tell.
                let _ = Python::try_attach(|py| announce.call0(py).map(drop));
            }
        }
    }

    fn clear(&self) {
        match self {
            #[cfg(unix)]
            Self::File { reader, .. } => {
                let mut bytes = [0; 64];
                while matches!(std::io::Read::read(&mut &*reader, &mut bytes), Ok(64)) {}
            }
            Self::Call(_) => {}
        }
    }
}
