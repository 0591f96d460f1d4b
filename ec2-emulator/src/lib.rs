//! A strict stand-in for the parts of EC2, Parameter Store, KMS and STS that ami-warden talks to.
//!
//! The public emulators accept what EC2 refuses: an encrypted image made public, an image shared
//! while it is pending, a parameter that does not exist. A test against them proves little. This
//! one refuses what EC2 refuses, with EC2's codes. Where EC2's behavior is not known it takes the
//! stricter side and says so in a comment, so that a client must be right either way.
//!
//! ```no_run
//! use ec2_emulator::{CallMatch, Config, Emulator, Fault, Gate, Image};
//!
//! # async fn example() {
//! let emulator = Emulator::start(Config::default()).await;
//! emulator.add(Image::new("ami-0123456789abcdef0").tag("release", "stable"));
//! emulator.fault(Fault::error("ModifyImageAttribute", "RequestLimitExceeded").times(2));
//! let gate = emulator.gate(Gate::before(CallMatch::new("ModifyImageAttribute")));
//!
//! // … point AWS_ENDPOINT_URL at emulator.url() and run the program under test …
//!
//! gate.wait(); // its first write has arrived and waits
//! emulator.edit(|state| state.images.get_mut("ami-0123456789abcdef0").map(|i| i.tags.clear()));
//! gate.release().expect("it waits");
//!
//! let image = emulator.image("ami-0123456789abcdef0").expect("still there");
//! assert_eq!(image.grantees(), ["444455556666"]);
//! assert_eq!(emulator.writes().len(), 3);
//! # }
//! ```
//!
//! README.md lists what it can do, with the JSON that other processes send.
//!
//! Code map, in the order in which a call passes:
//!
//! * [`server`] takes HTTP requests; [`wire`] decodes and writes the Query and JSON protocols.
//! * [`engine`] takes one call from arrival to answer, under one lock: hooks, [`triggers`],
//!   signature and [`rates`], [`faults`], carrying out, the log ([`call`]). Calls wait at
//!   [`gates`] outside the lock.
//! * [`ec2`], [`ssm`], [`kms`] and [`sts`] carry calls out on the [`state`]. A read may see the
//!   past of single resources ([`lag`]).
//! * [`control`] is the door for other processes, [`emulator`] the one for tests in this process;
//!   both change the state by hand ([`acts`]).
//!
//! Invariants: a parameter that no action takes is refused; nothing is changed unless a call is
//! carried out in full; calls are carried out one after the other, in the order of the log.

#![warn(missing_docs, unreachable_pub)]
#![expect(
    rustdoc::private_intra_doc_links,
    reason = "the map above is for readers of the source"
)]

mod acts;
mod call;
mod caller;
mod config;
mod control;
mod ec2;
mod emulator;
mod engine;
mod faults;
mod gates;
mod held_gate;
mod kms;
mod lag;
mod matching;
mod rates;
mod server;
mod ssm;
mod state;
mod sts;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod triggers;
mod wire;

pub use acts::{Act, ActError};
pub use call::Call;
pub use config::Config;
pub use emulator::Emulator;
pub use faults::{Fault, FaultKind};
pub use gates::{Gate, GateError, Moment};
pub use held_gate::HeldGate;
pub use lag::Lag;
pub use matching::CallMatch;
pub use rates::Buckets;
pub use state::block_device::BlockDevice;
pub use state::grantee::Grantee;
pub use state::image::Image;
pub use state::image_state::ImageState;
pub use state::key::{Key, KeyGrant, KeyManager, KeyState};
pub use state::parameter::{Parameter, ParameterType};
pub use state::range::ImageRange;
pub use state::seed::Seed;
pub use state::snapshot::Snapshot;
pub use state::table::Table;
pub use state::usage::{CoveredType, ReportPace, ReportState, Usage, UsageReport};
pub use state::watermark::{ScanResults, Watermark};
pub use state::{BlockPublicAccess, State};
pub use tls::Tls;
pub use triggers::Trigger;
