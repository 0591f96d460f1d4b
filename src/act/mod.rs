//! Doing it: observe, decide, act, and try again.

pub(crate) mod call_error;
pub(crate) mod crowd;
pub(crate) mod facts;
pub(crate) mod observe;
pub(crate) mod pace;
pub(crate) mod ports;
mod reads;
pub(crate) mod reconcile;
pub(crate) mod record;
pub(crate) mod retry;
pub(crate) mod rulebook;
#[cfg(test)]
pub(crate) mod script;
pub(crate) mod status_tag;
pub(crate) mod sweep;
mod work;
