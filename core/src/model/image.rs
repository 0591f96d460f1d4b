//! An image as EC2 describes it.
//!
//! The edge converts once: a value of one of these types is well-formed, so nothing further in
//! looks again.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use super::{finding::Scan, grantee::AccountId};
use chrono::{DateTime, Utc};

/// The id of an image: `ami-` and 8 or 17 lower-case hexadecimal digits.
///
/// Sixteen bytes and no allocation, because a sweep holds the ids of all images of a Region (up to
/// 50,000) at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageId {
    /// The digits, left-aligned and padded with `\0`, so that the derived order of the text is the
    /// order of the value.
    digits: [u8; 17],
}

/// A text that is not the id of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an image id: expected \"ami-\" and 8 or 17 lower-case hexadecimal digits")]
pub struct NotAnImageId(String);

impl ImageId {
    fn digits(&self) -> &str {
        let end = self
            .digits
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.digits.len());
        std::str::from_utf8(&self.digits[..end]).unwrap_or_default()
    }
}

impl FromStr for ImageId {
    type Err = NotAnImageId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.strip_prefix("ami-") {
            Some(hex) if matches!(hex.len(), 8 | 17) && hex.bytes().all(hexadecimal) => {
                let mut digits = [0; 17];
                digits[..hex.len()].copy_from_slice(hex.as_bytes());
                Ok(Self { digits })
            }
            _ => Err(NotAnImageId(text.to_owned())),
        }
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ami-{}", self.digits())
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for ImageId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.digits.cmp(&other.digits)
    }
}

impl PartialOrd for ImageId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where an image is in its life, as far as this function tells states apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageState {
    /// Not ready: EC2 refuses to modify it (`InvalidAMIID.Unavailable`).
    Pending,
    /// Ready: the only state that is planned.
    Available,
    /// Any other state, by EC2's name for it (`disabled`, `failed`, `deregistered`, …).
    Other(String),
}

impl ImageState {
    /// EC2's name for the state.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for ImageState {
    fn from(name: &str) -> Self {
        match name {
            "pending" => Self::Pending,
            "available" => Self::Available,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// An entry of an image's block device mapping that is an EBS volume.
///
/// Instance-store entries are left out: they have no snapshot and nothing forbids making them
/// public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EbsDevice {
    /// The device name, for example `/dev/xvda`.
    pub device: String,
    /// The snapshot the volume is made from; an empty volume has none.
    pub snapshot: Option<String>,
    /// The mapping's own flag. EC2 may leave it out.
    pub encrypted: Option<bool>,
}

/// The root device of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootDevice {
    /// Whether it is an EBS volume.
    pub is_ebs: bool,
    /// Its device name, if EC2 says it.
    pub name: Option<String>,
}

/// When EC2 deprecates an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeprecationTime {
    /// EC2 never deprecates the image.
    #[default]
    Never,
    /// At this time, in EC2's text and as a value.
    At(String, DateTime<Utc>),
    /// EC2's text is not a time.
    Unreadable(String),
}

impl DeprecationTime {
    /// Reads `DeprecationTime` of an answer of EC2.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text.parse() {
            Ok(time) => Self::At(text.to_owned(), time),
            Err(_) => Self::Unreadable(text.to_owned()),
        }
    }

    /// EC2's text; `None` for never.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Never => None,
            Self::At(text, _) | Self::Unreadable(text) => Some(text),
        }
    }
}

/// An image as `DescribeImages` shows it, without its launch permissions: they need a call of their
/// own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id: `ami-` and 8 or 17 hexadecimal digits.
    pub id: ImageId,
    /// The account that owns it: this account, since only own images are asked for.
    pub owner: AccountId,
    /// Where it is in its life.
    pub state: ImageState,
    /// Its name (`Name` of the image, not the tag `Name`).
    pub name: Option<String>,
    /// Its description; EC2 leaves an unset one out.
    pub description: Option<String>,
    /// When it was created, in EC2's text.
    pub creation_date: Option<String>,
    /// The image it was copied or made from.
    pub source_image_id: Option<String>,
    /// EC2's name of the processors: `x86_64`, `arm64`, …
    pub architecture: Option<String>,
    /// Whether `all` may launch it.
    pub public: bool,
    /// `v2.0`, or unset.
    pub imds_support: Option<String>,
    /// From when on it counts as deprecated.
    pub deprecation_time: DeprecationTime,
    /// Its tags, as they are now.
    pub tags: BTreeMap<String, String>,
    /// Its codes of AWS Marketplace: with one it cannot be public.
    pub product_codes: Vec<String>,
    /// The keys of its watermarks, `ACCOUNT:name`.
    pub watermarks: Vec<String>,
    /// The result of Amazon Inspector's scan.
    pub scan: Scan,
    /// The EBS volumes that its block device mappings show.
    pub devices: Vec<EbsDevice>,
    /// The names of devices of which EC2 says neither EBS nor instance store.
    pub unclear_devices: Vec<String>,
    /// The device from which its instances start.
    pub root_device: RootDevice,
}

impl Image {
    /// An available image without a name, tags, devices or anything else.
    #[must_use]
    pub fn new(id: ImageId, owner: AccountId) -> Self {
        Self {
            id,
            owner,
            state: ImageState::Available,
            name: None,
            description: None,
            creation_date: None,
            source_image_id: None,
            architecture: None,
            public: false,
            imds_support: None,
            deprecation_time: DeprecationTime::Never,
            tags: BTreeMap::new(),
            product_codes: Vec::new(),
            watermarks: Vec::new(),
            scan: Scan::Unscanned,
            devices: Vec::new(),
            unclear_devices: Vec::new(),
            root_device: RootDevice::default(),
        }
    }

    /// When it was created; `None` if EC2's text is not a time.
    #[must_use]
    pub fn created(&self) -> Option<DateTime<Utc>> {
        self.creation_date.as_ref()?.parse().ok()
    }

    /// Whether a mapping says that its volume is encrypted.
    #[must_use]
    pub fn has_encrypted_mapping(&self) -> bool {
        self.devices
            .iter()
            .any(|device| device.encrypted == Some(true))
    }

    /// The ids of its EBS snapshots, each once.
    #[must_use]
    pub fn snapshots(&self) -> BTreeSet<&str> {
        self.devices
            .iter()
            .filter_map(|device| device.snapshot.as_deref())
            .collect()
    }
}

/// The value of `imdsSupport` that EC2 knows; the only one, and it cannot be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImdsSupport {
    /// Instances launched from the image require IMDSv2.
    V2,
}

impl ImdsSupport {
    /// The value of `imdsSupport` in EC2's API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2.0",
        }
    }
}

/// A text that is not a value of `imdsSupport`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a value of imds-support; the only one is \"v2.0\", in lower case")]
pub struct NotImdsSupport(String);

impl FromStr for ImdsSupport {
    type Err = NotImdsSupport;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == Self::V2.as_str() {
            Ok(Self::V2)
        } else {
            Err(NotImdsSupport(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_an_encrypted_mapping_only_if_one_says_so() {
        let mut image = Image::new(
            "ami-0123456789abcdef0".parse().unwrap(),
            "111122223333".parse().unwrap(),
        );
        assert!(!image.has_encrypted_mapping());
        for (encrypted, has_one) in [(None, false), (Some(false), false), (Some(true), true)] {
            image = image.device("/dev/sda1", None, encrypted);
            assert_eq!(image.has_encrypted_mapping(), has_one, "{encrypted:?}");
        }
    }

    #[test]
    fn an_image_id_has_8_or_17_lower_case_hexadecimal_digits() {
        for good in ["ami-0123abcd", "ami-0123456789abcdef0"] {
            assert_eq!(good.parse::<ImageId>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "ami-",
            "ami-0123abc",
            "ami-0123ABCD",
            "ami-0123456789abcdef",
            "ami-0123456789abcdef01",
            "i-0123abcd",
            "ami-0123abcg",
        ] {
            let error = bad.parse::<ImageId>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("\"{bad}\"")) && error.contains("8 or 17"),
                "{error}"
            );
        }
    }

    #[test]
    fn states_are_written_as_ec2_names_them() {
        for name in ["pending", "available", "disabled", "deregistered"] {
            assert_eq!(ImageState::from(name).as_str(), name);
        }
        assert_eq!(
            format!("{:?}", "ami-0123abcd".parse::<ImageId>().unwrap()),
            "ami-0123abcd"
        );
    }

    #[test]
    fn an_images_snapshots_are_those_of_its_devices_each_once() {
        let image = crate::testing::image()
            .device("/dev/sdb", Some("snap-2"), None)
            .device("/dev/sda", Some("snap-1"), None)
            .device("/dev/sdc", Some("snap-2"), None)
            .device("/dev/sdd", None, None);
        assert_eq!(
            image.snapshots().into_iter().collect::<Vec<_>>(),
            ["snap-1", "snap-2"]
        );
    }

    #[test]
    fn image_ids_are_ordered_as_their_text() {
        let texts = [
            "ami-0123abcd",
            "ami-0123abcd000000000",
            "ami-0123abce",
            "ami-ffffffff",
            "ami-00000000",
        ];
        let mut ids: Vec<ImageId> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let mut sorted = texts;
        sorted.sort_unstable();
        ids.sort_unstable();
        assert_eq!(
            ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            sorted
        );
    }
}
