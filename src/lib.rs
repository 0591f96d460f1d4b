//! Shares, describes and guards AMIs as their tags say.
//!
//! ```text
//! EventBridge JSON ─► Trigger ─► image ids ─► Image (as it is) ──┐
//!     (event)                                    (image)         ├─► Plan ─► EC2 calls ─► Outcome: answer, log
//!              tags + policy rules ─► Directives (as wanted) ────┘   (plan)  (reconcile)    (outcome)
//!               (directive, policy)     Guardrails, now ─────────┘
//!                                         (guardrail)
//! ```
//!
//! Level-triggered, like a good controller: an event only says *look at this image*. Values inside events are never trusted; the tags
//! are read from EC2. Duplicates and wrong order converge, and a second run over a settled image makes no write.
//!
//! * Everything left of "EC2 calls" is pure: no clock, no environment, no network, no SDK types.
//! * [`ports`] names what is needed of AWS, [`aws`] provides it through the SDK (feature `aws`), and nothing else knows the SDK.
//! * [`invocation`] is one invocation from event to answer, [`lambda`] its Lambda side. The package `ami-warden-plan` shows the same plans
//!   without carrying them out.

// What is public is the map for readers, and what is not does not look it.
#![warn(missing_docs, unreachable_pub)]
// A panic is a lost answer: it says neither which image nor what to do. Whatever can fail is an error that does.
#![warn(clippy::expect_used, clippy::panic, clippy::unimplemented, clippy::unreachable, clippy::unwrap_used)]
// Lines are written by `log` alone, as JSON; anything else would break one.
#![warn(clippy::print_stderr, clippy::print_stdout)]
// Cheap, and it finds real slips. Not its taste in units (15 * 60 seconds says more than 15 minutes beside 10 seconds), nor where an
// item may stand.
#![warn(clippy::pedantic)]
#![cfg_attr(test, allow(clippy::unnecessary_wraps))] // what a test expects is written as it comes
#![allow(clippy::duration_suboptimal_units, clippy::items_after_statements)]

#[cfg(feature = "aws")]
pub mod aws;
pub mod directive;
pub mod event;
pub mod guardrail;
pub mod image;
pub mod invocation;
pub mod json;
#[cfg(feature = "aws")]
pub mod lambda;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod outcome;
pub mod patience;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod reconcile;
pub mod reference;
pub mod request;
pub mod settings;
pub mod status;
pub mod sweep;
#[cfg(test)]
mod testing;
