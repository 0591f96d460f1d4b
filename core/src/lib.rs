//! The pure core of ami-warden: from an event and an image to a plan, as values.
//!
//! Storeys, from the top; an import goes downwards only, and `tests/storeys.rs` keeps it so:
//!
//! ```text
//! event    what happened      decode trigger tag_promise request
//! decide   what will be done  plan guardrail key_reach allow_list
//! wish     what is wanted     directives tags policy rules groups …
//! model    what is            image grantee change refusal facts key finding
//! json     JSON from outside, with paths
//! ```
//!
//! A decision is a value that can be compared, printed and tested by the thousand:
//!
//! ```
//! use ami_warden_core::{
//!     decide::{guardrail::Guardrails, plan::{Observed, plan}},
//!     model::{facts::ShareFacts, grantee::LaunchPermissions, image::Image},
//!     wish::{context::WishContext, directives::Directives, policy::Policy, tags::DirectiveTags},
//! };
//!
//! let mut image = Image::new("ami-0123456789abcdef0".parse()?, "111122223333".parse()?);
//! image.tags.insert("ami-warden:launch-permission".into(), "444455556666 -all".into());
//!
//! // An image that is public now, and a deployment that lets nobody in.
//! let policy = Policy::default();
//! let context = WishContext { policy: &policy, organization: None, partition: "aws" };
//! let tags = DirectiveTags::read(&image.tags, "ami-warden:");
//! let directives = Directives::of(&image, &tags, &context);
//! let observed = Observed {
//!     image: &image,
//!     launch_permissions: &LaunchPermissions::from(["all".parse()?]),
//!     copy_permissions: &Default::default(),
//!     facts: &ShareFacts::default(),
//! };
//! let plan = plan(&observed, &directives, &Guardrails::default(), chrono::Utc::now());
//!
//! // The account is refused, and the image becomes private all the same.
//! assert_eq!(plan.refusals[0].code().as_str(), "grantee-not-allowed");
//! assert_eq!(plan.changes.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
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
// Its threshold takes `left` and `list`, `name` and `named` for each other; readers do not.
#![allow(clippy::similar_names)]
// An error here is rare and becomes a refusal at once; boxing it would only hide its shape.
#![allow(clippy::result_large_err)]

pub mod decide;
pub mod event;
mod json;
pub mod model;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wish;

pub use json::Malformed;
