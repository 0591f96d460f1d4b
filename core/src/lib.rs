//! The pure core of ami-warden: from an event and an image to a plan, as values.
//!
//! Storeys, from the top; an import goes downwards only, and `tests/storeys.rs` keeps it so:
//!
//! ```text
//! event    what happened      decode request trigger tag_promise
//! decide   what will be done  plan guardrail public key_reach allow_list note …
//! wish     what is wanted     directives tags policy rules groups requested template …
//! model    what is            image grantee change refusal note request facts key finding arn …
//! json     JSON from outside, with paths
//! ```
//!
//! A decision is a value that can be compared, printed and tested by the thousand:
//!
//! ```
//! use ami_warden_core::{
//!     DirectiveTags, Directives, Guardrails, Image, LaunchPermissions, Observed, Policy,
//!     ShareFacts, WishContext, plan,
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

mod decide;
mod event;
mod json;
mod model;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod wish;

// The names in reading order: what is, what is wanted, what will be done, what happened.
pub use model::{
    change::{Change, CopyPermissionChange, Direction, LaunchPermissionChange},
    facts::{ShareFacts, SnapshotFacts},
    finding::{Scan, Severity},
    grantee::{AccountId, CopyPermissions, Grantee, LaunchPermissions, OrganizationArn},
    image::{DeprecationTime, EbsDevice, Image, ImageId, ImageState, ImdsSupport, RootDevice},
    key::{Key, KeyFacts, KeyReach},
    refusal::{Attribute, Ec2Refusal, Ground, Refusal, RefusalCode},
    request::Request,
    shared_tag::SHARED_TAG_PREFIX,
};

pub use wish::{
    context::WishContext,
    copy_permission::CopyPermissionWish,
    directives::{Directive, Directives},
    grantee_name::{grantee_items, is_group_name},
    groups::StoredValue,
    launch_permission::LaunchPermissionWish,
    policy::{Policy, PolicyError, PolicyFault, StoredParameter},
    rules::{Rule, RulesError, parse_rules},
    statement::Source,
    tags::{DirectiveTags, Hold},
    template::Template,
};

pub use decide::{
    allow_list::{AllowListError, AllowedCopiers, AllowedGrantees, SharedTagPatterns},
    guardrail::Guardrails,
    key_reach::key_reach,
    keys::KeyCheck,
    observed::Observed,
    plan::{FactsNeeded, Plan, facts_needed, keys_needed, plan, plan_removals},
};

pub use event::{
    decode::IMAGE_IDS_MAX,
    tag_promise::TagPromise,
    trigger::{DecodeContext, Event, EventError, Job, Origin, Promised, Task, Trigger},
};
pub use json::Malformed;
