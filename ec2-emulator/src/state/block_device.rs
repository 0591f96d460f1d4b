//! Block device mappings of images.

use serde::{Deserialize, Serialize};

/// One entry of an image's block device mapping: an EBS volume, an instance-store volume when it
/// has a virtual name, or neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct BlockDevice {
    /// For example `/dev/xvda`.
    pub device_name: String,
    /// None: a volume that is created empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// What the mapping itself says; none leaves the element out, as EC2 does now and then.
    #[serde(default)]
    pub encrypted: Option<bool>,
    /// In GiB.
    #[serde(default = "eight")]
    pub volume_size: u32,
    /// For example `ephemeral0`: makes it an instance-store volume, and everything else but the
    /// device name is unused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_name: Option<String>,
    /// A mapping with a device name and nothing else: neither an EBS nor an instance-store volume.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
    /// The ARN of the key that encrypts the volume. `DescribeImages` does not show it: the snapshot
    /// that is added with the image has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
}

/// A volume size, in GiB.
pub(super) fn eight() -> u32 {
    8
}

impl BlockDevice {
    /// An EBS volume from a snapshot; the mapping says that it is not encrypted.
    pub fn ebs(device_name: &str, snapshot_id: &str) -> Self {
        Self {
            snapshot_id: Some(snapshot_id.to_owned()),
            ..Self::empty(device_name)
        }
    }

    /// An EBS volume without a snapshot; the mapping says that it is not encrypted.
    pub fn empty(device_name: &str) -> Self {
        Self {
            device_name: device_name.to_owned(),
            snapshot_id: None,
            encrypted: Some(false),
            volume_size: eight(),
            virtual_name: None,
            bare: false,
            kms_key_id: None,
        }
    }

    /// A mapping with a device name and nothing else.
    pub fn bare(device_name: &str) -> Self {
        Self {
            encrypted: None,
            bare: true,
            ..Self::empty(device_name)
        }
    }

    /// An instance-store volume.
    pub fn instance_store(device_name: &str, virtual_name: &str) -> Self {
        Self {
            encrypted: None,
            virtual_name: Some(virtual_name.to_owned()),
            ..Self::empty(device_name)
        }
    }

    /// What the mapping says about encryption; `None` leaves it unsaid.
    pub fn encrypted(mut self, encrypted: impl Into<Option<bool>>) -> Self {
        self.encrypted = encrypted.into();
        self
    }

    /// Encrypts it with this key.
    pub fn encrypted_with(mut self, kms_key_id: &str) -> Self {
        self.kms_key_id = Some(kms_key_id.to_owned());
        self.encrypted(true)
    }

    pub(crate) fn is_ebs(&self) -> bool {
        self.virtual_name.is_none() && !self.bare
    }
}
