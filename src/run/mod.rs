//! One invocation: its Lambda side, its work, its time, and the settings.

pub(crate) mod invocation;
#[cfg(feature = "aws")]
pub mod lambda;
mod left;
pub mod settings;
pub(crate) mod time_budget;
mod told;
