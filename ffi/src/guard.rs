//! No panic leaves the library: what would is an error of kind `panic`.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use literllm::{Error, ErrorKind, Result};

/// Runs an export's body; `rescue` says what it answers if the body panics.
pub fn guard<T>(rescue: impl FnOnce(Error) -> T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| rescue(error_of(&*panic)))
}

/// As [`guard`], for a future. What it had borrowed is not used again after a panic.
pub async fn guarded<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))).unwrap_or_else(|panic| Poll::Ready(Err(error_of(&*panic))))
    })
    .await
}

fn error_of(panic: &(dyn Any + Send)) -> Error {
    let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let what = what.unwrap_or("it says nothing about itself");
    Error::new(ErrorKind::Panic, format!("a bug in liter-llm, please report it: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_says_what_happened() {
        let result: Result<()> = guard(Err, || panic!("at the disco"));
        let error = result.expect_err("it panicked");
        assert_eq!(error.kind(), ErrorKind::Panic);
        assert!(error.message().contains("at the disco"), "{error}");
    }

    #[tokio::test]
    async fn a_panic_inside_a_future_is_an_error() {
        let result: Result<()> = guarded(async {
            tokio::task::yield_now().await;
            panic!("later")
        })
        .await;
        assert_eq!(result.expect_err("it panicked").kind(), ErrorKind::Panic);
    }
}
