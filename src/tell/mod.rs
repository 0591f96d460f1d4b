//! Saying it: the answer, the log, the trail of changes, the metrics.

pub mod answer;
#[cfg(test)]
pub(crate) mod captured;
mod cut;
pub mod log;
pub mod metrics;
pub mod report;
#[cfg(test)]
mod samples;
pub mod trail;
