//! Shares, describes and guards AMIs the way their tags ask.
//!
//! ```text
//! EventBridge JSON ─► Trigger ─► image ids ─► Image (as it is) ─┐
//!    (core: event)                            (core: model)     ├─► Plan ─► EC2 calls ─► record ─┐
//!             tags + policy rules ─► Directives (as wanted) ────┤ (core:      (act)              │
//!                   (core: wish)          Guardrails, now ──────┘  decide)                       │
//!                                                (tell)  answer, log, metric ◄───────────────────┘
//! ```
//!
//! The pure core is a package of its own, `ami-warden-core`. This package is the function around
//! it, in storeys; an import goes downwards only, and `tests/storeys.rs` keeps it so:
//!
//! ```text
//! run    one invocation       lambda invocation time_budget settings
//! tell   saying it            report answer trail metrics log
//! aws    the SDK              ec2 ssm kms               (feature `aws`)
//! act    doing it             crowd reconcile observe facts sweep retry pace rulebook ports record
//! ```
//!
//! Read in this order: [`run::invocation`], [`act::reconcile`], `ami_warden_core::decide::plan`.
//!
//! Invariants, and the places that keep them:
//!
//! * An event's values are never used, only its ids: `core/src/event`.
//! * Nothing is added that the guardrails did not allow in this invocation: `decide::plan`.
//! * No write rests on a read that is older than five seconds, and the image is looked at again
//!   after the last one: [`act::reconcile`].
//! * A refusal never fails an invocation; a lasting fault always does: [`run::invocation`].
//! * Codes decide, never the text of a message: [`act::call_error`].
//! * An answer, a log line and the memory of an invocation have bounds: [`tell::report`],
//!   [`act::crowd`].
//! * Only `aws` knows the AWS SDK.

#![warn(missing_docs, unreachable_pub)]
// A panic is a lost answer: it says neither which image nor how to go on.
#![warn(clippy::expect_used, clippy::panic, clippy::unimplemented)]
#![warn(clippy::unreachable, clippy::unwrap_used)]
// `log` alone writes lines, as JSON; anything else would break one.
#![warn(clippy::print_stderr, clippy::print_stdout)]
// Cheap, and it finds real slips. Not its taste in units (15 * 60 seconds says more than 15 minutes
// beside 10 seconds), nor in the place of an item.
#![warn(clippy::pedantic)]
#![cfg_attr(test, allow(clippy::unnecessary_wraps))] // tests write expected values as they come
#![allow(clippy::duration_suboptimal_units, clippy::items_after_statements)]
// Its threshold takes `left` and `list`, `name` and `named` for each other; readers do not.
#![allow(clippy::similar_names)]

pub mod act;
#[cfg(feature = "aws")]
pub mod aws;
pub mod run;
pub mod tell;
