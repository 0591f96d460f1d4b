//! Facts about snapshots, keys and the account that decide whether an image may be shared.

use std::collections::BTreeMap;

use super::key::KeyFacts;

/// The facts that were read for one image. A fact that was not read is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShareFacts {
    /// Every snapshot that this account can see, by its id. A snapshot of the image that is missing
    /// here is hidden.
    pub snapshots: BTreeMap<String, SnapshotFacts>,
    /// Whether block public access for AMIs is on in this account and Region; `None` if EC2 does
    /// not say.
    pub block_public_access: Option<bool>,
    /// The keys of encrypted snapshots, by their ARNs.
    pub keys: BTreeMap<String, KeyFacts>,
}

/// A snapshot as `DescribeSnapshots` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// Whether it is encrypted; EC2 may leave the flag out.
    pub encrypted: Option<bool>,
    /// The ARN of its key.
    pub key: Option<String>,
}
