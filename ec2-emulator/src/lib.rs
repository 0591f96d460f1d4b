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
//! Code map, in reading order. Imports go downwards only, and never in a circle.
//!
//! ```text
//! main         the emulator as a process
//! emulator     the door for tests in this process; held_gate: a gate in their hands
//! server       takes HTTP requests and sends replies
//! control      the door for other processes, below /_emulator/
//! engine       one call from arrival to answer, under one lock
//! config       how an emulator is set up
//! rules        what tests put in place: faults, gates, triggers, lags, rates, acts
//! services     EC2, Parameter Store, KMS and STS: carry a call out on the state, or refuse it
//! state, wire  what the account holds; how requests and answers are written
//! tls          HTTPS, if that feature is on
//! ```
//!
//! * A call passes [`server`], then [`engine`]: hooks, [`triggers`](rules::triggers), signature
//!   and [`rates`](rules::rates), [`faults`](rules::faults), carrying out, the log
//!   ([`call`](rules::call)). Calls wait at [`gates`](rules::gates) outside the lock.
//! * [`services`] carry it out on the [`state`]. A read may see the past of single resources
//!   ([`lag`](rules::lag)).
//! * [`wire`] knows no service and no state, and [`state`] knows no protocol.
//! * [`control`] and [`emulator`] change the state by hand ([`acts`](rules::acts)).
//!
//! Invariants: a parameter that no action takes is refused; nothing is changed unless a call is
//! carried out in full; calls are carried out one after the other, in the order of the log.

#![warn(missing_docs, unreachable_pub)]
#![expect(
    rustdoc::private_intra_doc_links,
    reason = "the map above is for readers of the source"
)]

mod config;
mod control;
mod emulator;
mod engine;
mod held_gate;
mod rules;
mod server;
mod services;
mod state;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod wire;

pub use config::Config;
pub use emulator::Emulator;
pub use held_gate::HeldGate;
pub use rules::acts::{Act, ActError};
pub use rules::call::Call;
pub use rules::faults::{Fault, FaultKind};
pub use rules::gates::{Gate, GateError, Moment};
pub use rules::lag::Lag;
pub use rules::matching::CallMatch;
pub use rules::rates::Buckets;
pub use rules::triggers::Trigger;
pub use state::account::State;
pub use state::block_device::BlockDevice;
pub use state::block_public_access::BlockPublicAccess;
pub use state::grantee::{Grantee, NotAGrantee};
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
pub use tls::Tls;
#[cfg(feature = "tls")]
pub use tls::TlsError;
