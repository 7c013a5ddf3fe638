//! What is done when a call fails: trying again, asking another model, going on where an answer broke off.

pub(crate) mod cooldown;
pub(crate) mod course;
pub(crate) mod plan;
pub(crate) mod retry;
pub(crate) mod seam;
