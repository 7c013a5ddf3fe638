//! The one runtime of a process, for the languages that bring none of their own.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// The shared runtime, started when it is first asked for. It serves every client and every stream of the process.
pub fn shared() -> &'static Runtime {
    const MOST_THREADS: usize = 4;
    static SHARED: OnceLock<Runtime> = OnceLock::new();
    SHARED.get_or_init(|| {
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(MOST_THREADS);
        Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("literllm")
            .enable_all()
            .build()
            .expect("the system gives a process a handful of threads and an event queue")
    })
}
