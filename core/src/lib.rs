//! The pure core of ami-warden: from an event and an image to a plan, as values.
//!
//! Storeys, from the top; an import goes downwards only, and `tests/storeys.rs` keeps it so:
//!
//! ```text
//! event    what happened      decode trigger tag_promise request
//! decide   what will be done  plan guardrail public keys key_reach allow_list
//! wish     what is wanted     directives tags policy rules groups …
//! model    what is            image grantee change refusal facts key finding
//! json     JSON from outside, with paths
//! ```
//!
//! Nothing here knows a clock (`now` is an argument), the environment, the network or the AWS SDK.

#![warn(missing_docs, unreachable_pub)]
// A panic is a lost answer: it says neither which image nor how to go on.
#![warn(clippy::expect_used, clippy::panic, clippy::unimplemented)]
#![warn(clippy::unreachable, clippy::unwrap_used)]
#![warn(clippy::print_stderr, clippy::print_stdout)]
#![warn(clippy::pedantic)]
#![allow(clippy::duration_suboptimal_units, clippy::items_after_statements)]

pub mod decide;
pub mod event;
mod json;
pub mod model;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wish;

pub use json::Malformed;
