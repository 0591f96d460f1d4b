//! Builders for the unit tests.

use chrono::{DateTime, Utc};
use proptest::test_runner::Config;

use crate::image::{EbsDevice, Image, LaunchPermissions, PublicFacts};

/// So many cases of a property, or as many as `PROPTEST_CASES` says; prints how many, for `make proof`.
pub(crate) fn cases(number: u32) -> Config {
    let number = std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(number);
    println!("proof: {number} cases: {}", std::thread::current().name().unwrap_or_default());
    Config::with_cases(number)
}

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// An available image of the account 111122223333 without devices, tags or anything else.
pub(crate) fn image() -> Image {
    Image::new("ami-0123456789abcdef0".parse().unwrap(), "111122223333")
}

impl Image {
    pub(crate) fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    pub(crate) fn device(mut self, device: &str, snapshot: Option<&str>, encrypted: Option<bool>) -> Self {
        self.devices.push(EbsDevice { device: device.into(), snapshot: snapshot.map(Into::into), encrypted });
        self
    }
}

/// The grantees of a list, written in full.
pub(crate) fn grantees(list: &str) -> LaunchPermissions {
    list.split_whitespace().map(|grantee| grantee.parse().unwrap()).collect()
}

pub(crate) fn facts(snapshots: &[(&str, Option<bool>)]) -> PublicFacts {
    PublicFacts {
        snapshots: snapshots.iter().map(|(id, encrypted)| ((*id).into(), *encrypted)).collect(),
        block_public_access: Some(false),
    }
}
