//! The hooks of one call: asks each in turn, and keeps the promise that the call's end is told exactly once.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::{AnswerHead, Before, CallEnd, Hook, HookContext, Pending, Stage, Stages};
use crate::config::Deadlines;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime;
use crate::types::{ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Str};

/// What all stages of a call share.
pub(crate) struct CallHooks {
    hooks: Arc<[Arc<dyn Hook>]>,
    wanted: Stages,
    started: Instant,
    deadlines: Deadlines,
    /// How many routes were asked.
    routes: AtomicU32,
    /// Whether the consumer was shown anything.
    shown: AtomicBool,
    /// The route that was asked last.
    last: Mutex<HookContext>,
}

/// The hooks of a call at one of its routes.
#[derive(Debug, Clone)]
pub(crate) struct RouteHooks {
    call: Arc<CallHooks>,
    pub at: HookContext,
}

impl fmt::Debug for CallHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHooks").field("last", &self.last).finish_non_exhaustive()
    }
}

impl CallHooks {
    pub(crate) fn new(hooks: &Arc<[Arc<dyn Hook>]>, stream: bool, started: Instant, deadlines: Deadlines) -> Arc<Self> {
        static CALLS: AtomicU64 = AtomicU64::new(1);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            hooks: Arc::clone(hooks),
            wanted: hooks.iter().map(|hook| hook.stages()).fold(Stages::default(), Stages::union),
            started,
            deadlines,
            routes: AtomicU32::new(0),
            shown: AtomicBool::new(false),
            last: Mutex::new(HookContext { call, attempt: 0, provider: Str::default(), model: Str::default(), stream }),
        })
    }

    pub(crate) fn want(&self, stage: Stage) -> bool {
        self.wanted.contains(stage)
    }

    /// The next route is about to be asked.
    pub(crate) fn next_route(self: &Arc<Self>, provider: Str, model: Str) -> RouteHooks {
        let attempt = self.routes.fetch_add(1, Ordering::AcqRel) + 1;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = HookContext { attempt, provider, model, ..last.clone() };
        RouteHooks { call: Arc::clone(self), at: last.clone() }
    }

    /// The route that gives what is handed out now.
    pub(crate) fn route(self: &Arc<Self>, attempt: u32, provider: &Str, model: &Str) -> RouteHooks {
        let last = self.last();
        RouteHooks {
            call: Arc::clone(self),
            at: HookContext { attempt, provider: provider.clone(), model: model.clone(), ..last },
        }
    }

    pub(crate) fn last(&self) -> HookContext {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The consumer is shown something now.
    pub(crate) fn show(&self) {
        self.shown.store(true, Ordering::Release);
    }

    fn asked(&self, stage: Stage) -> impl Iterator<Item = &Arc<dyn Hook>> {
        self.hooks.iter().filter(move |hook| hook.stages().contains(stage))
    }

    /// Bounds what a hook does by the total deadline.
    async fn within<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        self.deadlines.within_total(self.started, "a hook was waited for", caught(step)).await?
    }
}

impl RouteHooks {
    pub(crate) fn want(&self, stage: Stage) -> bool {
        self.call.want(stage)
    }

    pub(crate) async fn before_request(&self, request: Box<ChatCompletionRequest>) -> Result<Before> {
        let mut request = request;
        for hook in self.call.asked(Stage::BeforeRequest) {
            let step = self.call.within(async { hook.before_request(&self.at, request).await });
            match step.await.map_err(|error| self.refusal(error))? {
                Before::Ask(changed) => request = changed,
                Before::Answer(answer) => return Ok(Before::Answer(answer)),
            }
        }
        Ok(Before::Ask(request))
    }

    pub(crate) async fn after_headers(&self, head: &AnswerHead) -> Result<()> {
        for hook in self.call.asked(Stage::AfterHeaders) {
            let step = self.call.within(async { hook.after_headers(&self.at, head).await });
            step.await.map_err(|error| self.refusal(error))?;
        }
        Ok(())
    }

    pub(crate) async fn on_chunks(self, chunks: Vec<ChatCompletionChunk>) -> Result<Vec<ChatCompletionChunk>> {
        let mut chunks = chunks;
        for hook in self.call.asked(Stage::OnChunks) {
            let step = self.call.within(async { hook.on_chunks(&self.at, chunks).await });
            chunks = step.await.map_err(|error| self.refusal(error))?;
        }
        Ok(chunks)
    }

    /// What becomes of the failure of a route.
    pub(crate) async fn on_error(&self, error: Error) -> Result<ChatCompletion> {
        let mut error = error;
        for hook in self.call.asked(Stage::OnError) {
            let failure = error.clone();
            match self.call.within(async { hook.on_error(&self.at, error).await }).await {
                Ok(_) if self.call.shown.load(Ordering::Acquire) => {
                    let message = format!(
                        "a hook at on_error answered where a part was shown already, so that only the error can be changed: {}",
                        failure.message()
                    );
                    return Err(self.refusal(Error::new(ErrorKind::InvalidRequest, message).with_source(failure)));
                }
                Ok(answer) => return Ok(answer),
                Err(changed) => error = changed.with_route(&self.at.provider, &self.at.model),
            }
        }
        Err(error)
    }

    /// A hook's no names the route, and is not tried again in place.
    fn refusal(&self, error: Error) -> Error {
        error.with_route(&self.at.provider, &self.at.model).with_retryable(false)
    }
}

/// The promise that the end of a call is told exactly once. Dropped unkept, the call was cancelled.
#[derive(Debug)]
pub(crate) struct Ending {
    pub call: Arc<CallHooks>,
    told: bool,
}

impl Ending {
    pub(crate) fn new(call: Arc<CallHooks>) -> Self {
        Self { call, told: false }
    }

    /// Tells the end; `from` is the route that answered last, where one did.
    pub(crate) fn tell(&mut self, from: Option<HookContext>, response: Option<ChatCompletion>, error: Option<Error>) -> Telling {
        if std::mem::replace(&mut self.told, true) || !self.call.want(Stage::OnEnd) {
            return Telling(None);
        }
        let call = Arc::clone(&self.call);
        let at = from.unwrap_or_else(|| call.last());
        let end = CallEnd { response, error, seconds: call.started.elapsed().as_secs_f64() };
        Telling(Some(Box::pin(async move {
            for hook in call.asked(Stage::OnEnd) {
                let step = async {
                    hook.on_end(&at, &end).await;
                    Ok(())
                };
                if let Err(error) = caught(step).await {
                    tracing::error!(target: "literllm", "{}", error.message());
                }
            }
        })))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.tell(None, None, Some(cancelled())));
    }
}

/// The end is being told. Every hook hears of it, also where nobody waits for that: dropped, it goes on on the caller's runtime, or on that
/// of the process.
pub(crate) struct Telling(Option<Pending<'static, ()>>);

impl Future for Telling {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &mut self.0 {
            ready!(rest.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

static DETACHED: AtomicUsize = AtomicUsize::new(0);

/// How many calls that were left are still telling their end to hooks. A process that is about to exit may wait until there are none.
pub fn ends_under_way() -> usize {
    DETACHED.load(Ordering::SeqCst)
}

impl Drop for Telling {
    fn drop(&mut self) {
        struct Detached;
        impl Drop for Detached {
            fn drop(&mut self) {
                DETACHED.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let Some(rest) = self.0.take() else { return };
        DETACHED.fetch_add(1, Ordering::SeqCst);
        let detached = Detached;
        let rest = async move {
            let _detached = detached;
            rest.await;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(rest)),
            Err(_) => drop(runtime::shared().spawn(rest)),
        }
    }
}

/// The error of a call that its caller left.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the caller cancelled the call")
}

/// Turns a panic into an error.
async fn caught<T>(step: impl Future<Output = Result<T>>) -> Result<T> {
    let mut step = std::pin::pin!(step);
    std::future::poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx))).unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))))
    })
    .await
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Panic, format!("a hook panicked: {}", said.unwrap_or("it did not say why")))
}
