//! Token providers in JavaScript: the engine asks, the event loop runs the program's function, and its answer comes back by number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use literllm::{Credential, Error, ErrorKind, TokenProvider};
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Result, Status};
use tokio::sync::oneshot;

type Answer = literllm::Result<Credential>;
type Ask = ThreadsafeFunction<(u32, String), (), FnArgs<(u32, String)>, Status, false, true>;

pub(crate) struct Tokens {
    ask: Ask,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    last: u32,
    waiting: HashMap<u32, oneshot::Sender<Answer>>,
}

impl Tokens {
    /// `ask` is called with a number and a provider's name, and answered by [`Self::answer`].
    pub(crate) fn new(ask: &Function<'_, FnArgs<(u32, String)>, ()>) -> Result<Arc<Self>> {
        let ask = ask.build_threadsafe_function::<(u32, String)>().weak::<true>().build_callback(|call| Ok(call.value.into()))?;
        Ok(Arc::new(Self { ask, asked: Mutex::default() }))
    }

    pub(crate) fn provider(self: &Arc<Self>, name: String) -> TokenProvider {
        let tokens = Arc::clone(self);
        TokenProvider::new(move || {
            let answer = tokens.ask(name.clone());
            async move { answer.await.unwrap_or_else(|_| Err(failed("the event loop that gives the tokens has ended"))) }
        })
    }

    fn ask(&self, provider: String) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.last = asked.last.wrapping_add(1);
        let number = asked.last;
        asked.waiting.insert(number, sender);
        drop(asked);
        if self.ask.call((number, provider), ThreadsafeFunctionCallMode::NonBlocking) != Status::Ok {
            self.waiting(number);
        }
        receiver
    }

    /// `expires_at` is in milliseconds since 1970.
    pub(crate) fn answer(&self, number: u32, token: Option<String>, expires_at: Option<f64>, failure: Option<&str>) {
        let Some(sender) = self.waiting(number) else { return };
        let expires_at = expires_at
            .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
            .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        let answer = match token {
            Some(token) => Ok(Credential::bearer(token, expires_at)),
            None => Err(failed(failure.unwrap_or("it gave no token"))),
        };
        // Whoever asked may have gone.
        let _ = sender.send(answer);
    }

    fn waiting(&self, number: u32) -> Option<oneshot::Sender<Answer>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&number)
    }
}

fn failed(why: &str) -> Error {
    Error::new(ErrorKind::Authentication, format!("the token provider failed: {why}"))
}
