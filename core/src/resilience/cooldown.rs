//! Which routes failed a moment ago, for the whole process: they are asked last until their time is over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static COOLING: Mutex<Option<HashMap<String, Instant>>> = Mutex::new(None);

/// Remembers that a route is not worth asking for a while.
pub(crate) fn remember(route: &str, wait: Duration) {
    let mut cooling = COOLING.lock().unwrap_or_else(PoisonError::into_inner);
    let cooling = cooling.get_or_insert_default();
    let now = Instant::now();
    cooling.retain(|_, until| *until > now);
    cooling.insert(route.to_owned(), now + wait);
}

/// Forgets it: the route has answered.
pub(crate) fn forget(route: &str) {
    if let Some(cooling) = COOLING.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        cooling.remove(route);
    }
}

pub(crate) fn is_cooling(route: &str) -> bool {
    let cooling = COOLING.lock().unwrap_or_else(PoisonError::into_inner);
    cooling.as_ref().and_then(|cooling| cooling.get(route)).is_some_and(|until| *until > Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_cools_for_its_time_or_until_it_answers() {
        remember("a", Duration::from_secs(60));
        remember("b", Duration::ZERO);
        assert!(is_cooling("a") && !is_cooling("b"));
        forget("a");
        assert!(!is_cooling("a"));
    }
}
