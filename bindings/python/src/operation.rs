//! What Python waits for: work that is polled by the thread that wants it, in an event loop or blocking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use pyo3::prelude::*;

/// How often a wait of the main thread looks whether a signal has come.
const SIGNAL_CHECK: Duration = Duration::from_millis(20);

pub(crate) trait Operation: Send + Sync {
    /// Goes on as far as it can; true when its result is there. It never needs the interpreter.
    fn poll(&self, cx: &mut Context<'_>) -> bool;

    /// Nobody waits any more.
    fn abandon(&self);
}

/// Waits for an operation without holding the interpreter. A signal's exception, such as `KeyboardInterrupt`, ends the wait.
pub(crate) fn block(py: Python<'_>, operation: &impl Operation) -> PyResult<()> {
    let parked = Arc::new(Parked { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parked));
    let poll = || operation.poll(&mut Context::from_waker(&waker));
    if py.detach(poll) {
        return Ok(());
    }
    let handles_signals = is_main_thread(py)?;
    loop {
        let ready = py.detach(|| if parked.wait(handles_signals) { poll() } else { false });
        if ready {
            return Ok(());
        }
        py.check_signals().inspect_err(|_| operation.abandon())?;
    }
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    Ok(threading.call_method0("main_thread")?.is(threading.call_method0("current_thread")?))
}

struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Parked {
    /// True when it was woken, false when signals are to be looked at.
    fn wait(&self, handles_signals: bool) -> bool {
        if handles_signals {
            if !self.woken.load(Ordering::Acquire) {
                std::thread::park_timeout(SIGNAL_CHECK);
            }
        } else {
            while !self.woken.load(Ordering::Acquire) {
                std::thread::park();
            }
        }
        self.woken.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
