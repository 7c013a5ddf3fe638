//! When and how soon a failed call is tried again. Pure policy: the waiting is done by the caller.

use std::time::Duration;

use crate::config::Retries;
use crate::error::Error;

/// The policy in force for a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    most: u32,
    base: Duration,
    longest: Duration,
}

impl RetryPolicy {
    pub(crate) fn of(call: &Retries, client: &Retries) -> Self {
        Self {
            most: call.max_retries.or(client.max_retries).unwrap_or(2),
            base: call.retry_base_delay.or(client.retry_base_delay).unwrap_or(Duration::from_millis(500)),
            longest: call.retry_max_delay.or(client.retry_max_delay).unwrap_or(Duration::from_secs(60)),
        }
    }

    /// How long to wait before trying again; `None` to give up. `failures` counts this one; `chance` lies in 0 to 1.
    ///
    /// The provider's own wish counts, unless it is longer than the longest wait. Else the wait doubles with each failure, and chance
    /// takes up to half of it, so that callers who failed together do not come back together.
    pub(crate) fn wait(&self, error: &Error, failures: u32, chance: f64) -> Option<Duration> {
        if failures > self.most || !error.is_retryable() {
            return None;
        }
        if let Some(asked) = error.retry_after() {
            return (asked <= self.longest).then_some(asked);
        }
        let doubled = self.base.saturating_mul(1 << (failures - 1).min(16)).min(self.longest);
        Some(doubled.mul_f64(1.0 - chance / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const DEFAULT: RetryPolicy = RetryPolicy { most: 2, base: Duration::from_millis(500), longest: Duration::from_secs(60) };

    #[test]
    fn waits_double_and_vary() {
        let error = Error::new(ErrorKind::Server, "no");
        assert_eq!(DEFAULT.wait(&error, 1, 0.0), Some(Duration::from_millis(500)));
        assert_eq!(DEFAULT.wait(&error, 2, 0.0), Some(Duration::from_secs(1)));
        assert_eq!(DEFAULT.wait(&error, 2, 1.0), Some(Duration::from_millis(500)));
        assert_eq!(DEFAULT.wait(&error, 3, 0.0), None);
    }

    #[test]
    fn the_providers_wish_counts_up_to_the_longest_wait() {
        let asking = |seconds| Error::new(ErrorKind::RateLimited, "no").with_retry_after(Some(Duration::from_secs(seconds)));
        assert_eq!(DEFAULT.wait(&asking(7), 1, 0.5), Some(Duration::from_secs(7)));
        assert_eq!(DEFAULT.wait(&asking(3600), 1, 0.5), None);
    }

    #[test]
    fn what_cannot_get_better_is_not_tried_again() {
        assert_eq!(DEFAULT.wait(&Error::new(ErrorKind::Authentication, "no"), 1, 0.0), None);
    }
}
