//! What the engine asks JavaScript: for tokens, and by hooks. The event loop runs the program's function, and the answer comes back by the
//! question's number.
//!
//! The function that asks is held by the engine, and keeps `Questions` alive, through which it answers. `Questions` holds neither the
//! client nor the function, so that both are freed once nobody uses them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use literllm::Error;
use literllm::hooks::{Hook, HookCall, Stages, relay};
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Result, Status};
use napi_derive::napi;

/// Its number; the hook that is asked, or none for a token; the event.
pub(crate) type Asked = (u32, Option<u32>, String);
/// Keeps no process alive.
type Ask = ThreadsafeFunction<Asked, (), FnArgs<Asked>, Status, false, true>;

#[napi]
#[derive(Default)]
pub struct Questions {
    open: Arc<Open>,
    forgotten: Arc<Mutex<Vec<u32>>>,
}

#[napi]
impl Questions {
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a hook or a source of tokens says, as JSON; of a hook, nothing passes. `thrown` is the number of what was thrown, where that
    /// is why it refuses.
    #[napi]
    pub fn answer(&self, number: u32, answer: String, thrown: Option<u32>) {
        let Some(call) = self.open.take(number) else { return };
        match thrown {
            Some(number) => call.answer_from(&answer, self.thrown(number)),
            None => call.answer(&answer),
        }
    }

    /// The numbers of what was thrown that no error comes from any more.
    #[napi]
    pub fn forgotten(&self) -> Vec<u32> {
        std::mem::take(&mut self.forgotten.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Questions {
    fn thrown(&self, number: u32) -> Thrown {
        Thrown { number, forgotten: Arc::clone(&self.forgotten) }
    }
}

/// What JavaScript threw and keeps under a number, as what an engine's error comes from.
#[derive(Debug)]
struct Thrown {
    number: u32,
    forgotten: Arc<Mutex<Vec<u32>>>,
}

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error in JavaScript")
    }
}

impl std::error::Error for Thrown {}

impl Drop for Thrown {
    fn drop(&mut self) {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}

/// An error as JSON. Where it or its causes come from what was thrown, `thrown` has the numbers: its own, and those of its causes.
pub(crate) fn json_of(error: &Error) -> String {
    let mut json = error.to_json();
    let number_of = |error: &Error| std::error::Error::source(error)?.downcast_ref::<Thrown>().map(|thrown| thrown.number);
    let thrown: Vec<Option<u32>> = std::iter::once(error).chain(error.causes()).map(number_of).collect();
    if thrown.iter().any(Option::is_some) {
        json.pop();
        json.push_str(r#","thrown":"#);
        json.push_str(&serde_json::to_string(&thrown).expect("numbers make JSON"));
        json.push('}');
    }
    json
}

/// The questions that wait for their answer.
#[derive(Default)]
struct Open(Mutex<Numbered>);

#[derive(Default)]
struct Numbered {
    last: u32,
    waiting: HashMap<u32, HookCall>,
}

impl Open {
    fn put(&self, call: HookCall) -> u32 {
        let mut numbered = self.numbered();
        numbered.last = numbered.last.wrapping_add(1);
        let number = numbered.last;
        numbered.waiting.insert(number, call);
        number
    }

    fn take(&self, number: u32) -> Option<HookCall> {
        self.numbered().waiting.remove(&number)
    }

    fn numbered(&self) -> MutexGuard<'_, Numbered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks on the event loop that made it.
pub(crate) struct Asker {
    ask: Ask,
    open: Arc<Open>,
}

impl Asker {
    pub(crate) fn new(ask: &Function<'_, FnArgs<Asked>, ()>, questions: &Questions) -> Result<Arc<Self>> {
        let ask = ask.build_threadsafe_function::<Asked>().weak::<true>().build_callback(|call| Ok(call.value.into()))?;
        Ok(Arc::new(Self { ask, open: Arc::clone(&questions.open) }))
    }

    pub(crate) fn tokens(self: &Arc<Self>) -> impl Fn(HookCall) + Send + Sync + 'static {
        let asker = Arc::clone(self);
        move |call| asker.ask(call, None)
    }

    pub(crate) fn hook(self: &Arc<Self>, number: u32, stages: Stages) -> Arc<dyn Hook> {
        let asker = Arc::clone(self);
        relay(stages, move |call| asker.ask(call, Some(number)))
    }

    /// Where the event loop has ended, the question is dropped: a token is then missing, and a hook lets pass.
    fn ask(&self, call: HookCall, hook: Option<u32>) {
        let event = call.event().to_owned();
        let number = self.open.put(call);
        if self.ask.call((number, hook, event), ThreadsafeFunctionCallMode::NonBlocking) != Status::Ok {
            self.open.take(number);
        }
    }
}
