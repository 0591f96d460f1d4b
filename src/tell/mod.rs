//! Saying it: the answer, the log, the trail of changes, the metrics.

pub(crate) mod answer;
#[cfg(test)]
pub(crate) mod captured;
mod cut;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod report;
#[cfg(test)]
mod samples;
pub(crate) mod trail;
