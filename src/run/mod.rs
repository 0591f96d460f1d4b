//! One invocation: its Lambda side, its work, its time, and the settings.

pub mod invocation;
#[cfg(feature = "aws")]
pub mod lambda;
mod left;
pub mod settings;
pub mod time_budget;
mod told;
