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

/// Whether the contract forbids making this image public, but for guardrails and its deprecation:
/// written from the contract, not from the code. `flag` gives the flag of a snapshot that the
/// account sees.
pub fn must_not_be_public(
    image: &Image,
    flag: impl Fn(&str) -> Option<Option<bool>>,
    block_public_access: Option<bool>,
) -> bool {
    let encrypted_or_unknown = |device: &EbsDevice| match &device.snapshot {
        None => device.encrypted == Some(true),
        Some(snapshot) => match flag(snapshot) {
            None | Some(Some(true)) => true,
            Some(Some(false)) => device.encrypted == Some(true),
            Some(None) => device.encrypted != Some(false),
        },
    };
    let root = &image.root_device;
    let is_root = |device: &EbsDevice| Some(&device.device) == root.name.as_ref();
    image.devices.iter().any(encrypted_or_unknown)
        || (root.is_ebs && !image.devices.iter().any(is_root))
        || !image.unclear_devices.is_empty()
        || !image.product_codes.is_empty()
        || !image.watermarks.is_empty()
        || block_public_access == Some(true)
}
