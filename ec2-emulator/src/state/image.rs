//! Images and what they are made of.

use std::collections::BTreeSet;

use chrono::{DateTime, DurationRound, Months, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::state::block_device::BlockDevice;
use crate::state::grantee::Grantee;
use crate::state::image_seed::ImageSeed;
use crate::state::image_state::ImageState;
use crate::state::resource_id::{NotAnImageId, digits_of};
use crate::state::snapshot::Snapshot;
use crate::state::tags::Tags;
use crate::state::watermark::{ScanResults, Watermark};

/// An image, with defaults for all but the id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", try_from = "ImageSeed")]
pub struct Image {
    /// `ami-` and 8 or 17 lower-case hexadecimal digits.
    pub image_id: String,
    /// Default: the id with `image` for `ami`.
    pub name: String,
    /// Unset by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Default: available.
    pub state: ImageState,
    /// None when added: the emulator's account.
    pub owner_id: Option<String>,
    /// Default: the moment it was made here.
    pub creation_date: DateTime<Utc>,
    /// Default: `x86_64`.
    pub architecture: String,
    /// Its tags, as the emulator's account sees them.
    pub tags: Tags,
    /// Default: one unencrypted EBS volume, `/dev/xvda`. The first one is the root device.
    pub block_devices: Vec<BlockDevice>,
    /// All of them of type `marketplace`. An empty one is shown without its code.
    pub product_codes: Vec<String>,
    /// Who may launch it; whether the image is public follows from this.
    pub launch_permissions: BTreeSet<Grantee>,
    /// `v2.0` or unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imds_support: Option<String>,
    /// When it is, or was, deprecated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecation_time: Option<DateTime<Utc>>,
    /// What answers show as its deprecation time, whatever that is: any text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecation_text: Option<String>,
    /// Set on copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_image_id: Option<String>,
    /// What nobody may make public.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watermarks: Vec<Watermark>,
    /// None: never scanned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_results: Option<ScanResults>,
    /// None: as the first block device says, `ebs` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_device_type: Option<String>,
    /// None: the name of the first block device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_device_name: Option<String>,
    /// When it was last launched, if EC2 knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_launched_time: Option<DateTime<Utc>>,
    /// The snapshots to add with the image. None: one for each snapshot its mapping names,
    /// encrypted as the mapping says (unsaid means not encrypted). An empty list: none, so that
    /// nobody can look them up. Empty on images that have been added: the snapshots are then in
    /// [`State::snapshots`](crate::State).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<Vec<Snapshot>>,
}

impl Image {
    /// An available, private, unencrypted image of the emulator's account.
    ///
    /// # Panics
    ///
    /// When the id is malformed.
    pub fn new(image_id: impl Into<String>) -> Self {
        let seed = ImageSeed {
            image_id: image_id.into(),
            ..ImageSeed::default()
        };
        Self::try_from(seed).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Adds a tag, or replaces the one of that key.
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Replaces the name that follows from the id.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Sets the description, which an image does not have by default.
    pub fn description(mut self, description: &str) -> Self {
        self.description = Some(description.to_owned());
        self
    }

    /// Puts it in a state other than `available`.
    pub fn state(mut self, state: ImageState) -> Self {
        self.state = state;
        self
    }

    /// Sets the state to `pending`.
    pub fn pending(self) -> Self {
        self.state(ImageState::Pending)
    }

    /// Sets the state to `disabled`.
    pub fn disabled(self) -> Self {
        self.state(ImageState::Disabled)
    }

    /// Makes it another account's, which alone may change it.
    pub fn owned_by(mut self, account: &str) -> Self {
        self.owner_id = Some(account.to_owned());
        self
    }

    /// Sets the creation date, which is now by default.
    pub fn created(mut self, at: DateTime<Utc>) -> Self {
        self.creation_date = at;
        self
    }

    /// Sets the deprecation time, past or future; it is not rounded.
    pub fn deprecated(mut self, at: DateTime<Utc>) -> Self {
        self.deprecation_time = Some(at);
        self
    }

    /// Has answers show this text for a deprecation time.
    pub fn deprecation_text(mut self, text: &str) -> Self {
        self.deprecation_text = Some(text.to_owned());
        self
    }

    /// Attaches a watermark, `ACCOUNT:NAME`.
    pub fn watermark(mut self, key: &str) -> Self {
        self.watermarks.push(Watermark::new(key));
        self
    }

    /// Says that it was scanned, and the highest severity of what was found: `low` for example.
    pub fn scanned<'a>(mut self, severity: impl Into<Option<&'a str>>) -> Self {
        self.scan_results = Some(ScanResults::new(severity.into()));
        self
    }

    /// Says which device is the root device, whether or not the mapping has it.
    pub fn root_device(mut self, kind: &str, name: &str) -> Self {
        self.root_device_type = Some(kind.to_owned());
        self.root_device_name = Some(name.to_owned());
        self
    }

    /// Encrypts every EBS volume of its mapping with the key of this ARN.
    pub fn encrypted_with(self, kms_key_id: &str) -> Self {
        let mut image = self.encrypted();
        for device in image.block_devices.iter_mut().filter(|d| d.is_ebs()) {
            device.kms_key_id = Some(kms_key_id.to_owned());
        }
        image
    }

    /// Encrypts every EBS volume of its mapping.
    pub fn encrypted(self) -> Self {
        self.encryption(Some(true))
    }

    /// Takes the word on encryption out of every mapping; the snapshots are not encrypted.
    pub fn encryption_unsaid(self) -> Self {
        self.encryption(None)
    }

    fn encryption(mut self, encrypted: Option<bool>) -> Self {
        for device in self.block_devices.iter_mut().filter(|d| d.is_ebs()) {
            device.encrypted = encrypted;
        }
        self
    }

    /// Adds a volume after those it has.
    pub fn block_device(mut self, device: BlockDevice) -> Self {
        self.block_devices.push(device);
        self
    }

    /// Replaces the whole mapping; the first one is the root device.
    pub fn block_devices(mut self, devices: impl IntoIterator<Item = BlockDevice>) -> Self {
        self.block_devices = devices.into_iter().collect();
        self
    }

    /// Gives exactly these snapshots instead of those that follow from the mapping.
    pub fn snapshots(mut self, snapshots: impl IntoIterator<Item = Snapshot>) -> Self {
        self.snapshots = Some(snapshots.into_iter().collect());
        self
    }

    /// Its snapshots cannot be looked up.
    pub fn snapshots_hidden(self) -> Self {
        self.snapshots([])
    }

    /// Adds a Marketplace product code.
    pub fn product_code(mut self, code: &str) -> Self {
        self.product_codes.push(code.to_owned());
        self
    }

    /// Adds a launch permission: an account, an ARN, or `all`.
    ///
    /// # Panics
    ///
    /// When it is no grantee.
    pub fn granted(mut self, grantee: &str) -> Self {
        let grantee: Grantee = grantee.parse().unwrap_or_else(|error| panic!("{error}"));
        self.launch_permissions.insert(grantee);
        self
    }

    /// Sets `imdsSupport` to `v2.0`.
    pub fn imds_v2(mut self) -> Self {
        self.imds_support = Some("v2.0".to_owned());
        self
    }

    /// Says that it is a copy.
    pub fn copied_from(mut self, image_id: &str) -> Self {
        self.source_image_id = Some(image_id.to_owned());
        self
    }

    /// Whether everyone may launch it.
    pub fn is_public(&self) -> bool {
        self.launch_permissions.iter().any(Grantee::is_all)
    }

    /// Its launch permissions as text, sorted by bytes.
    pub fn grantees(&self) -> Vec<String> {
        self.launch_permissions
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// `ebs` or `instance-store`, of the root device.
    pub(crate) fn root_type(&self) -> &str {
        if let Some(kind) = &self.root_device_type {
            return kind;
        }
        match self.block_devices.first() {
            Some(device) if device.virtual_name.is_some() => "instance-store",
            _ => "ebs",
        }
    }

    /// The device name of the root device.
    pub(crate) fn root_name(&self) -> Option<&str> {
        let first = self.block_devices.first();
        let name = self.root_device_name.as_deref();
        name.or(first.map(|device| device.device_name.as_str()))
    }

    /// Two years after creation, to the minute: when EC2 deprecates a public image at the latest.
    /// Source: EC2 User Guide, "Deprecate an Amazon EC2 AMI".
    pub(crate) fn latest_public_deprecation(&self) -> DateTime<Utc> {
        let two_years = self.creation_date.checked_add_months(Months::new(24));
        to_the_minute(two_years.unwrap_or(self.creation_date))
    }
}

impl TryFrom<ImageSeed> for Image {
    type Error = NotAnImageId;

    fn try_from(seed: ImageSeed) -> Result<Self, NotAnImageId> {
        let Some(digits) = digits_of(&seed.image_id, "ami-") else {
            return Err(NotAnImageId(seed.image_id));
        };
        let snapshot_id = format!("snap-{digits}");
        let usual_devices = || vec![BlockDevice::ebs("/dev/xvda", &snapshot_id)];
        let usual_name = || format!("image-{digits}");
        Ok(Self {
            name: seed.name.unwrap_or_else(usual_name),
            description: seed.description,
            state: seed.state,
            owner_id: seed.owner_id,
            creation_date: seed
                .creation_date
                .unwrap_or_else(|| Utc::now().trunc_subsecs(0)),
            architecture: seed.architecture.unwrap_or_else(|| "x86_64".to_owned()),
            tags: seed.tags,
            block_devices: seed.block_devices.unwrap_or_else(usual_devices),
            product_codes: seed.product_codes,
            launch_permissions: seed.launch_permissions,
            imds_support: seed.imds_support,
            deprecation_time: seed.deprecation_time,
            deprecation_text: seed.deprecation_text,
            source_image_id: seed.source_image_id,
            watermarks: seed.watermarks,
            scan_results: seed.scan_results,
            root_device_type: seed.root_device_type,
            root_device_name: seed.root_device_name,
            last_launched_time: seed.last_launched_time,
            snapshots: seed.snapshots,
            image_id: seed.image_id,
        })
    }
}

/// The nearest minute, as EC2 rounds deprecation times.
pub(crate) fn to_the_minute(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_round(TimeDelta::minutes(1)).unwrap_or(at)
}

/// As EC2 writes times: `2026-03-25T16:30:25.000Z`.
pub(crate) fn timestamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
