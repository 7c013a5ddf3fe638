//! What is done when a call fails: trying again.

pub(crate) mod retry;
