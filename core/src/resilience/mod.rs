//! What is done when a call fails: trying again, asking another model, going on where an answer broke off.

pub(crate) mod cache;
pub(crate) mod cooldown;
pub(crate) mod course;
mod hedge;
pub(crate) mod keys;
pub(crate) mod limits;
mod order;
pub(crate) mod plan;
pub(crate) mod retry;
pub(crate) mod seam;
