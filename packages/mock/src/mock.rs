//! A mock inside a test: started in a line, gone when dropped.

use std::io::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use crate::journal::{Event, Seen, Stats};
use crate::server::{self, Options, Shared};

/// A running mock. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Mock {
    shared: Arc<Shared>,
    runtime: Handle,
    _stop: watch::Sender<()>,
}

impl Mock {
    /// Starts a mock on the current tokio runtime. It serves from the moment that this returns.
    // Asynchronous by promise: only inside a runtime can it be called rightly.
    #[allow(clippy::unused_async)]
    pub async fn start(options: Options) -> Result<Self> {
        let (stop, stopped) = watch::channel(());
        let shared = server::start(options, stopped)?;
        Ok(Self { shared, runtime: Handle::current(), _stop: stop })
    }

    /// Starts a mock on a thread and a runtime of its own, for tests that are not asynchronous.
    pub fn spawn(options: Options) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = watch::channel(());
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("literllm-mock".to_owned());
        thread.spawn(move || {
            runtime.block_on(async move {
                let mut ended = stopped.clone();
                let shared = server::start(options, stopped);
                if ready.send(shared).is_ok() {
                    // An error means that the mock was dropped, which ends it as well.
                    let _ = ended.changed().await;
                }
            });
        })?;
        let shared = started.recv().map_err(Error::other)??;
        Ok(Self { shared, runtime: handle, _stop: stop })
    }

    /// Its address, like `http://127.0.0.1:49152`.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.shared.address.port()
    }

    /// The certificate of the authority that clients have to trust (PEM); `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.shared.tls.as_ref().map(crate::tls::Tls::ca_pem)
    }

    /// A certificate and its key that clients may show (PEM); `None` without TLS.
    pub fn client_pem(&self) -> Option<&str> {
        self.shared.tls.as_ref().map(crate::tls::Tls::client_pem)
    }

    /// All requests so far, or those with this id, in order of arrival.
    pub fn log<'a>(&self, id: impl Into<Option<&'a str>>) -> Vec<Seen> {
        self.shared.journal.log(id.into())
    }

    /// Waits until the latest request (with this id) has come that far; `None` after the timeout.
    pub async fn wait<'a>(&self, id: impl Into<Option<&'a str>>, event: Event, timeout: Duration) -> Option<Seen> {
        self.shared.journal.wait(id.into(), None, event, timeout).await
    }

    /// Like [`Mock::wait`], of the `nth` request (from 1): for one of several attempts.
    pub async fn wait_nth<'a>(
        &self,
        id: impl Into<Option<&'a str>>,
        nth: usize,
        event: Event,
        timeout: Duration,
    ) -> Option<Seen> {
        self.shared.journal.wait(id.into(), Some(nth), event, timeout).await
    }

    /// Like [`Mock::wait`], for a thread that runs no tokio runtime.
    pub fn wait_blocking<'a>(&self, id: impl Into<Option<&'a str>>, event: Event, timeout: Duration) -> Option<Seen> {
        self.runtime.block_on(self.wait(id, event, timeout))
    }

    /// Lets `count` more chunks go of the latest request with this id and `withhold=`. It may come before the request.
    pub fn release(&self, id: &str, count: u64) {
        self.shared.journal.release(id, None, count);
    }

    /// Forgets the requests so far.
    pub fn reset(&self) {
        self.shared.journal.reset();
    }

    /// Connections and streams, now and in all.
    pub fn stats(&self) -> Stats {
        self.shared.journal.stats()
    }
}
