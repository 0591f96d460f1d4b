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
//! run    one invocation       lambda invocation told left time_budget settings
//! tell   saying it            report answer cut trail metrics log
//! aws    the SDK              ec2 ssm kms sts           (feature `aws`)
//! act    doing it             crowd reconcile work reads observe facts sweep rulebook retry pace
//!                             status_tag record ports call_error
//! ```
//!
//! Read in this order: `run/invocation.rs`, `act/reconcile.rs`, [`ami_warden_core::plan`].
//!
//! Invariants, by name, and the places that keep them:
//!
//! * **Ids alone**: an event's values are never used, only its ids. `core/src/event`.
//! * **Guarded**: nothing is added that the guardrails did not allow in this invocation.
//!   [`ami_warden_core::plan`].
//! * **Fresh**: no write rests on a read that is older than [`READ_AGE_MAX`], and the image is
//!   looked at again after the last one. [`Reconciler`].
//! * **Refusals are not faults**: a refusal never fails an invocation; a lasting fault always does.
//!   [`Warden`].
//! * **Codes decide**, never the text of a message. [`CallError`].
//! * **Parsed once**: text from outside is read in `wish` and `event` of the core, and nowhere
//!   else.
//! * **Bounded**: an answer, a log line and the memory of an invocation have bounds.
//!   `tell/report.rs`, [`Crowd`].
//! * **One wall**: only `aws` knows the AWS SDK.

#![warn(unreachable_pub)]
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

mod act;
#[cfg(feature = "aws")]
pub mod aws;
mod run;
mod tell;

// The names in reading order: an invocation, its settings, its words, its work.
#[cfg(feature = "aws")]
pub use run::lambda;
pub use run::{
    invocation::{IMAGE_TIMEOUT, InvocationError, Warden},
    settings::{self, Settings},
    time_budget::TimeBudget,
};

pub use tell::{
    answer::Answer,
    log::LogSettings,
    metrics::{InvocationMetrics, Metrics},
};

pub use act::{
    call_error::{CallError, ErrorKind},
    crowd::{Crowd, one_part},
    facts::FactReader,
    observe::{Fresh, Observer, TagScope},
    ports::{
        Caller, Described, Ec2, Ec2Write, FILTER_VALUES_MAX, Keys, Listing, Page, Parameters,
        ReportState, UsageEntry, UsageReport, UsageReports, Which,
    },
    reconcile::{ImageSettings, Manner, READ_AGE_MAX, Reconciled, Reconciler},
    record::{ChangeRecord, Effect, ImageRecord, Outcome, SkipReason},
    retry::{Attempts, Retry},
    rulebook::{RuleSource, RulebookError, RulebookFault, Rulebooks},
    sweep::{Lister, Progress, kinds_of_images, unreadable_note},
};
