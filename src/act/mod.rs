//! Doing it: observe, decide, act, and try again.

pub mod call_error;
pub mod crowd;
pub mod facts;
pub mod observe;
pub mod pace;
pub mod ports;
mod reads;
pub mod reconcile;
pub mod record;
pub mod retry;
pub mod rulebook;
#[cfg(test)]
pub(crate) mod script;
pub mod status_tag;
pub mod sweep;
mod work;
