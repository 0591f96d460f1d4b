//! What is: an image as EC2 describes it, and who may launch it.
//!
//! Everything here is converted once, at the edge: a value of one of these types is well-formed, so nothing further in has to
//! look again.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};

/// The id of an image: `ami-` and 8 or 17 lower-case hexadecimal digits.
///
/// Sixteen bytes and no allocation, because a sweep holds the ids of all images of a Region (up to 50,000) at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageId {
    /// The digits, left-aligned and padded with `\0`, so that the derived order of the text is the order of the value.
    digits: [u8; 17],
}

/// A text that is not the id of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an image id: expected \"ami-\" and 8 or 17 lower-case hexadecimal digits")]
pub struct NotAnImageId(String);

impl ImageId {
    fn digits(&self) -> &str {
        let end = self.digits.iter().position(|byte| *byte == 0).unwrap_or(self.digits.len());
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

impl Serialize for ImageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where an image is in its life, as far as this function tells states apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not ready: EC2 refuses to modify it (`InvalidAMIID.Unavailable`).
    Pending,
    /// Ready: the only state that is planned.
    Available,
    /// Any other state, by EC2's name for it (`disabled`, `failed`, `deregistered`, …).
    Other(String),
}

impl State {
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

impl From<&str> for State {
    fn from(name: &str) -> Self {
        match name {
            "pending" => Self::Pending,
            "available" => Self::Available,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// One entry of an image's block device mapping that is an EBS volume. Instance-store entries are left out: they have no
/// snapshot and nothing forbids making them public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EbsDevice {
    /// The device name, for example `/dev/xvda`.
    pub device: String,
    /// The snapshot the volume is made from; an empty volume has none.
    pub snapshot: Option<String>,
    /// What the mapping says about encryption. EC2 may leave the flag out.
    pub encrypted: Option<bool>,
}

/// An image as `DescribeImages` shows it, without its launch permissions, which need a call of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// The account that owns it: this account, since only own images are asked for.
    pub owner: String,
    /// Where it is in its life.
    pub state: State,
    /// Its name (`Name` of the image, not the tag `Name`).
    pub name: Option<String>,
    /// Its description; EC2 leaves an unset one out.
    pub description: Option<String>,
    /// When it was created, as EC2 writes it.
    pub creation_date: Option<String>,
    /// The image it was copied or made from.
    pub source_image_id: Option<String>,
    /// `x86_64`, `arm64`, …
    pub architecture: Option<String>,
    /// Whether `all` may launch it.
    pub public: bool,
    /// `v2.0`, or unset.
    pub imds_support: Option<String>,
    /// From when on it counts as deprecated.
    pub deprecation_time: Option<DateTime<Utc>>,
    /// Its tags, as they are now.
    pub tags: BTreeMap<String, String>,
    /// Its product codes.
    pub product_codes: Vec<String>,
    /// Its EBS block devices.
    pub devices: Vec<EbsDevice>,
}

impl Image {
    /// An available image without a name, tags, devices or anything else.
    #[must_use]
    pub fn new(id: ImageId, owner: impl Into<String>) -> Self {
        Self {
            id,
            owner: owner.into(),
            state: State::Available,
            name: None,
            description: None,
            creation_date: None,
            source_image_id: None,
            architecture: None,
            public: false,
            imds_support: None,
            deprecation_time: None,
            tags: BTreeMap::new(),
            product_codes: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// The ids of its EBS snapshots, each once.
    #[must_use]
    pub fn snapshots(&self) -> BTreeSet<&str> {
        self.devices.iter().filter_map(|device| device.snapshot.as_deref()).collect()
    }
}

/// Who may launch an image.
///
/// Ordered by the bytes of the written form, which is how the answer lists them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Grantee {
    /// An AWS account, by its 12 digits.
    Account(String),
    /// An organization, by its ARN.
    Organization(String),
    /// An organizational unit, by its ARN.
    OrganizationalUnit(String),
    /// Everyone: the image is public.
    All,
}

/// Everyone who may launch an image besides its owner.
pub type LaunchPermissions = BTreeSet<Grantee>;

impl Grantee {
    /// The written form: account id, ARN, or `all`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Account(text) | Self::Organization(text) | Self::OrganizationalUnit(text) => text,
            Self::All => "all",
        }
    }

    /// The partition an ARN names; accounts and `all` name none.
    #[must_use]
    pub fn partition(&self) -> Option<&str> {
        match self {
            Self::Organization(arn) | Self::OrganizationalUnit(arn) => arn.split(':').nth(1),
            Self::Account(_) | Self::All => None,
        }
    }
}

impl Ord for Grantee {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Grantee {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Grantee {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A text that names no grantee, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a grantee: {reason}")]
pub struct NotAGrantee {
    text: String,
    reason: Cow<'static, str>,
}

/// What a grantee may be written as; the end of many an error message.
pub const GRANTEE_FORMS: &str = "a 12-digit account id, \"all\", or the ARN of an organization \
     (arn:PARTITION:organizations::ACCOUNT:organization/o-…) or organizational unit (arn:PARTITION:organizations::ACCOUNT:ou/o-…/ou-…)";

impl FromStr for Grantee {
    type Err = NotAGrantee;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason: Cow<'static, str>| Err(NotAGrantee { text: text.to_owned(), reason });
        if text == "all" {
            return Ok(Self::All);
        }
        if is_account(text) {
            return Ok(Self::Account(text.to_owned()));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return error(format!("an account id has 12 digits, this has {}", text.len()).into());
        }
        let Some(resource) = organizations_resource(text) else {
            return error(format!("expected {GRANTEE_FORMS}").into());
        };
        match resource.split_once('/') {
            Some(("organization", id)) if is_organization_id(id) => Ok(Self::Organization(text.to_owned())),
            Some(("ou", path)) => match path.split_once('/') {
                Some((organization, unit)) if is_organization_id(organization) && is_unit_id(unit) => {
                    Ok(Self::OrganizationalUnit(text.to_owned()))
                }
                _ => error("an organizational unit's ARN ends in ou/o-…/ou-…".into()),
            },
            Some(("organization", _)) => error("an organization's ARN ends in organization/o-…".into()),
            Some(("root", _)) => error("EC2 takes no organization root; name the organization itself".into()),
            _ => error(format!("expected {GRANTEE_FORMS}").into()),
        }
    }
}

/// Whether the text is an account id: 12 digits, leading zeros included.
#[must_use]
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the text is an organization's id: `o-[a-z0-9]{10,32}`, as EC2 Image Builder's model has it for the same feature.
#[must_use]
pub fn is_organization_id(text: &str) -> bool {
    text.strip_prefix("o-").is_some_and(|id| is_lower_alphanumeric(id, 10))
}

/// Whether the text is an organizational unit's id: `ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}`.
#[must_use]
pub fn is_unit_id(text: &str) -> bool {
    text.strip_prefix("ou-")
        .and_then(|id| id.split_once('-'))
        .is_some_and(|(root, unit)| is_lower_alphanumeric(root, 4) && is_lower_alphanumeric(unit, 8))
}

fn is_lower_alphanumeric(text: &str, at_least: usize) -> bool {
    (at_least..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

/// The last part of `arn:PARTITION:organizations::ACCOUNT:…`, or `None` for any other text.
fn organizations_resource(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let head = [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let is_partition = |text: &str| {
        text.strip_prefix("aws").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
    };
    match head {
        ["arn", partition, "organizations", "", account] if is_partition(partition) && is_account(account) => parts.next(),
        _ => None,
    }
}

/// The ARN of an organization, taken apart: what completes the short forms `o-…` and `ou-…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationArn {
    arn: String,
}

impl OrganizationArn {
    /// The organization as a grantee.
    #[must_use]
    pub fn organization(&self) -> Grantee {
        Grantee::Organization(self.arn.clone())
    }

    /// The id, `o-…`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// The unit `ou-…` of this organization as a grantee. The id must be well-formed, see [`is_unit_id`].
    #[must_use]
    pub fn unit(&self, unit: &str) -> Grantee {
        let account = self.arn.rsplit_once(':').map_or("", |(head, _)| head);
        Grantee::OrganizationalUnit(format!("{account}:ou/{}/{unit}", self.id()))
    }
}

impl FromStr for OrganizationArn {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(Grantee::Organization(arn)) => Ok(Self { arn }),
            _ => Err(()),
        }
    }
}

/// What the snapshots of an image and the account say about making it public.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicFacts {
    /// Every snapshot that can be seen, with what `DescribeSnapshots` says of its encryption. One that is asked about and not
    /// here cannot be seen.
    pub snapshots: BTreeMap<String, Option<bool>>,
    /// Whether block public access for AMIs is on in this account and Region; `None` where EC2 does not say.
    pub block_public_access: Option<bool>,
}

/// The value of `imdsSupport` that EC2 knows; the only one, and it cannot be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImdsSupport {
    /// Instances launched from the image require IMDSv2.
    #[serde(rename = "v2.0")]
    V2,
}

impl ImdsSupport {
    /// EC2's name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2.0",
        }
    }
}

impl FromStr for ImdsSupport {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == Self::V2.as_str() { Ok(Self::V2) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(error.contains(&format!("\"{bad}\"")) && error.contains("8 or 17"), "{error}");
        }
    }

    #[test]
    fn states_are_written_as_ec2_names_them() {
        for name in ["pending", "available", "disabled", "deregistered"] {
            assert_eq!(State::from(name).as_str(), name);
        }
        assert_eq!(format!("{:?}", "ami-0123abcd".parse::<ImageId>().unwrap()), "ami-0123abcd");
    }

    #[test]
    fn an_images_snapshots_are_those_of_its_devices_each_once() {
        let image = crate::testing::image()
            .device("/dev/sdb", Some("snap-2"), None)
            .device("/dev/sda", Some("snap-1"), None)
            .device("/dev/sdc", Some("snap-2"), None)
            .device("/dev/sdd", None, None);
        assert_eq!(image.snapshots().into_iter().collect::<Vec<_>>(), ["snap-1", "snap-2"]);
    }

    #[test]
    fn image_ids_are_ordered_as_their_text() {
        let texts = ["ami-0123abcd", "ami-0123abcd000000000", "ami-0123abce", "ami-ffffffff", "ami-00000000"];
        let mut ids: Vec<ImageId> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let mut sorted = texts;
        sorted.sort_unstable();
        ids.sort_unstable();
        assert_eq!(ids.iter().map(ToString::to_string).collect::<Vec<_>>(), sorted);
    }

    #[test]
    fn every_form_of_a_grantee_is_read_and_written_back_unchanged() {
        for text in [
            "all",
            "000000000001",
            "arn:aws:organizations::111122223333:organization/o-exampleorgid",
            "arn:aws-us-gov:organizations::111122223333:organization/o-exampleorgid",
            "arn:aws-cn:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456",
        ] {
            assert_eq!(text.parse::<Grantee>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_grantee_is_an_error_that_names_it() {
        for text in [
            "",
            "ALL",
            "public",
            "11112222333",
            "1111222233334",
            "1111-2222-3333",
            "o-exampleorgid",
            "arn:aws:organizations::111122223333:organization/o-short",
            "arn:aws:organizations::111122223333:organization/o-exampleorgid/x",
            "arn:aws:organizations::111122223333:root/o-exampleorgid/r-ab12",
            "arn:aws:organizations::111122223333:account/o-exampleorgid/444455556666",
            "arn:aws:organizations::11112222333:organization/o-exampleorgid",
            "arn:aws:organizations:us-east-1:111122223333:organization/o-exampleorgid",
            "arn:azure:organizations::111122223333:organization/o-exampleorgid",
            "arn:aws:iam::111122223333:organization/o-exampleorgid",
            "arn:aws:organizations::111122223333:ou/o-exampleorgid",
            "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-a-cdef3456",
            "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef345",
        ] {
            let error = text.parse::<Grantee>().unwrap_err().to_string();
            assert!(error.contains(&format!("\"{text}\"")), "{error}");
        }
    }

    #[test]
    fn a_mistake_in_an_arn_is_named_by_what_the_arn_is_of() {
        for (resource, words) in [
            ("organization/o-short", "an organization's ARN ends in organization/o-…"),
            ("root/o-exampleorgid/r-ab12", "EC2 takes no organization root"),
            ("ou/o-exampleorgid", "an organizational unit's ARN ends in ou/o-…/ou-…"),
            ("account/o-exampleorgid/444455556666", GRANTEE_FORMS),
        ] {
            let error = format!("arn:aws:organizations::111122223333:{resource}").parse::<Grantee>().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn an_organization_completes_its_units() {
        let organization: OrganizationArn = "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid".parse().unwrap();
        let unit = organization.unit("ou-ab12-cdef3456");
        assert_eq!(unit.as_str(), "arn:aws-cn:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456");
        assert_eq!(unit.as_str().parse::<Grantee>().unwrap(), unit);
    }

    #[test]
    fn grantees_are_ordered_by_their_bytes() {
        let texts = [
            "arn:aws:organizations::222222222222:organization/o-exampleorgid",
            "arn:aws:organizations::111111111111:ou/o-exampleorgid/ou-ab12-cdef3456",
            "all",
            "999999999999",
        ];
        let sorted: BTreeSet<Grantee> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let written: Vec<&str> = sorted.iter().map(Grantee::as_str).collect();
        assert_eq!(written, [texts[3], texts[2], texts[1], texts[0]]);
    }
}
