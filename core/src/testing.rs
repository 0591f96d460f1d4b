//! Builders for tests, also those of other packages (feature `testing`).
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::must_use_candidate
)]

use chrono::{DateTime, Utc};
use proptest::test_runner::Config;

use crate::model::{
    facts::{ShareFacts, SnapshotFacts},
    grantee::{CopyPermissions, LaunchPermissions},
    image::{EbsDevice, Image},
};

/// So many cases of a property, or as many as `PROPTEST_CASES` says; prints how many, for
/// `make proof`.
#[allow(clippy::print_stdout)]
pub fn cases(number: u32) -> Config {
    let number = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(number);
    println!(
        "proof: {number} cases: {}",
        std::thread::current().name().unwrap_or_default()
    );
    Config::with_cases(number)
}

pub fn now() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// An available image of the account 111122223333 without devices, tags or anything else.
pub fn image() -> Image {
    Image::new(
        "ami-0123456789abcdef0".parse().unwrap(),
        "111122223333".parse().unwrap(),
    )
}

impl Image {
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    #[must_use]
    pub fn device(mut self, device: &str, snapshot: Option<&str>, encrypted: Option<bool>) -> Self {
        let device = device.into();
        self.devices.push(EbsDevice {
            device,
            snapshot: snapshot.map(Into::into),
            encrypted,
        });
        self
    }
}

/// The grantees of a list, written in full.
pub fn grantees(list: &str) -> LaunchPermissions {
    list.split_whitespace()
        .map(|grantee| grantee.parse().unwrap())
        .collect()
}

/// The accounts of a list.
pub fn accounts(list: &str) -> CopyPermissions {
    list.split_whitespace()
        .map(|account| account.parse().unwrap())
        .collect()
}

/// Block public access is off, and EC2 says this of these snapshots.
pub fn facts(snapshots: &[(&str, Option<bool>)]) -> ShareFacts {
    let snapshot = |encrypted| SnapshotFacts {
        encrypted,
        key: None,
    };
    ShareFacts {
        snapshots: snapshots
            .iter()
            .map(|(id, encrypted)| ((*id).into(), snapshot(*encrypted)))
            .collect(),
        block_public_access: Some(false),
        ..ShareFacts::default()
    }
}
