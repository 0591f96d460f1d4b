//! The emulator over real HTTP, with a client that knows nothing of it but the wire.

mod acts;
mod client;
mod control;
mod deprecation;
mod describe;
mod faults;
mod gates;
mod keys;
mod lags;
mod lifecycle;
mod modify;
mod parameters;
mod protocol;
mod snapshots;
mod spoilt;
mod tags;
mod usage;

use client::Client;
use ec2_emulator::{Config, Emulator, Image};

const ID: &str = "ami-0123456789abcdef0";
const OTHER_ID: &str = "ami-0fedcba9876543210";
const FRIEND: &str = "444455556666";
const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";

/// An emulator with these images, and a client to it.
fn with(images: impl IntoIterator<Item = Image>) -> (Emulator, Client) {
    with_config(Config::default(), images)
}

fn with_config(config: Config, images: impl IntoIterator<Item = Image>) -> (Emulator, Client) {
    let emulator = Emulator::spawn(config).expect("a free port");
    images.into_iter().for_each(|image| emulator.add(image));
    let client = Client::new(emulator.address());
    (emulator, client)
}
