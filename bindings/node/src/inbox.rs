//! Which calls of an event loop can be polled again. Every thread that runs JavaScript has one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Result, Status};
use napi_derive::napi;

/// Runs the event loop's callback with the numbers of the calls that are ready; keeps no process alive.
type Alarm = ThreadsafeFunction<(), (), Vec<u32>, Status, false, true>;
/// Never called: while it is referred to, the event loop goes on.
type Keeper = ThreadsafeFunction<(), (), (), Status, false, true>;

#[napi]
pub struct Inbox {
    pub(crate) shared: Arc<Shared>,
    keeper: Keeper,
    calls: u32,
}

pub(crate) struct Shared {
    ready: Arc<Mutex<Vec<u32>>>,
    alarm: Alarm,
}

#[napi]
impl Inbox {
    /// `on_ready` is called on this thread with the numbers of the calls that became ready since it was called last.
    #[napi(constructor)]
    pub fn new(on_ready: Function<'_, Vec<u32>, ()>) -> Result<Self> {
        let ready = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&ready);
        let alarm = on_ready
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .build_callback(move |_| Ok(std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner))))?;
        let keeper = on_ready.build_threadsafe_function::<()>().weak::<true>().build_callback(|_| Ok(()))?;
        Ok(Self { shared: Arc::new(Shared { ready, alarm }), keeper, calls: 0 })
    }

    /// Keeps the event loop going until [`Self::release`].
    #[napi]
    #[allow(deprecated, reason = "nothing else refers to a function that is weak at first")]
    pub fn hold(&mut self, env: &Env) -> Result<()> {
        self.keeper.refer(env)
    }

    #[napi]
    #[allow(deprecated, reason = "as in `hold`")]
    pub fn release(&mut self, env: &Env) -> Result<()> {
        self.keeper.unref(env)
    }

    /// A number for a new call.
    pub(crate) fn number(&mut self) -> u32 {
        self.calls = self.calls.wrapping_add(1);
        self.calls
    }
}

/// Puts a call into its inbox when it can be polled again, once until then.
pub(crate) struct Bell {
    inbox: Arc<Shared>,
    pub(crate) number: u32,
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new(inbox: &mut Inbox) -> Arc<Self> {
        Arc::new(Self { inbox: Arc::clone(&inbox.shared), number: inbox.number(), rung: AtomicBool::new(false) })
    }

    /// The call is about to be polled; what rings from now on is news.
    pub(crate) fn quiet(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut ready = self.inbox.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push(self.number);
        if ready.len() == 1 {
            drop(ready);
            // An event loop that has ended wants no news.
            self.inbox.alarm.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}
