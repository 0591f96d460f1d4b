//! Snapshots.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::state::block_device::eight;
use crate::state::grantee::Grantee;
use crate::state::tags::Tags;

/// A snapshot. Only its owner sees it here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Snapshot {
    /// `snap-` and 8 or 17 hexadecimal digits.
    pub snapshot_id: String,
    /// None when added: the emulator's account.
    #[serde(default)]
    pub owner_id: Option<String>,
    /// The truth, whatever a mapping says.
    #[serde(default)]
    pub encrypted: bool,
    /// The key's ARN, if the answer is to name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// In GiB.
    #[serde(default = "eight")]
    pub volume_size: u32,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
    /// Who may create volumes from it, or copy it: accounts and `all`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub create_volume_permissions: BTreeSet<Grantee>,
    /// All of them of type `marketplace`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub product_codes: Vec<String>,
    /// ARNs of further keys that open it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub associated_kms_keys: Vec<String>,
}

impl Snapshot {
    /// An unencrypted snapshot of the emulator's account.
    pub fn new(snapshot_id: &str) -> Self {
        Self {
            snapshot_id: snapshot_id.to_owned(),
            owner_id: None,
            encrypted: false,
            kms_key_id: None,
            volume_size: eight(),
            tags: Tags::new(),
            create_volume_permissions: BTreeSet::new(),
            product_codes: Vec::new(),
            associated_kms_keys: Vec::new(),
        }
    }

    /// Makes it an encrypted one.
    pub fn encrypted(mut self) -> Self {
        self.encrypted = true;
        self
    }

    /// Encrypts it with the key of this ARN.
    pub fn encrypted_with(mut self, kms_key_id: &str) -> Self {
        self.kms_key_id = Some(kms_key_id.to_owned());
        self.encrypted()
    }

    /// Adds a further key that opens it.
    pub fn associated_key(mut self, kms_key_id: &str) -> Self {
        self.associated_kms_keys.push(kms_key_id.to_owned());
        self
    }

    /// Lets an account, or `all`, create volumes from it.
    ///
    /// # Panics
    ///
    /// When it is neither.
    pub fn granted(mut self, grantee: &str) -> Self {
        let grantee: Grantee = grantee.parse().unwrap_or_else(|error| panic!("{error}"));
        assert!(
            grantee.may_copy(),
            "`{grantee}` is no account, and not `all`"
        );
        self.create_volume_permissions.insert(grantee);
        self
    }

    /// Adds a Marketplace product code.
    pub fn product_code(mut self, code: &str) -> Self {
        self.product_codes.push(code.to_owned());
        self
    }

    /// Who may create volumes from it, as text, sorted by bytes.
    pub fn copiers(&self) -> Vec<String> {
        let permissions = self.create_volume_permissions.iter();
        permissions.map(ToString::to_string).collect()
    }

    /// Makes it another account's, so that it cannot be seen.
    pub fn owned_by(mut self, account: &str) -> Self {
        self.owner_id = Some(account.to_owned());
        self
    }
}
