//! From the SDK's types to ours, and back. An absent part is never taken for a harmless one.

use ami_warden_core::{
    AccountId, DeprecationTime, EbsDevice, Grantee, Image, ImageId, RootDevice, Scan, Severity,
};
use aws_sdk_ec2::types::{
    self, BlockDeviceMapping, CreateVolumePermission, DeviceType, LaunchPermission,
    PermissionGroup, ScanResults, SeverityLabel,
};

use crate::{
    act::{call_error::CallError, ports::Described},
    aws::answer::filled,
};

/// The name of a product code, watermark or device without one. It still counts.
const UNKNOWN: &str = "unknown";

/// A part of an answer that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadAnswer {
    /// A field of an image that EC2 always fills in.
    #[error("EC2's answer holds no {0}")]
    Missing(&'static str),
    /// A launch permission that is for nobody, for several parties or for an unknown one.
    #[error(
        "a launch permission is for neither one account, \"all\", one organization nor one \
         organizational unit: {0}"
    )]
    Grantee(String),
    /// A copy permission for nobody.
    #[error("a permission to create volumes is for neither an account nor a group")]
    Copier,
}

impl BadAnswer {
    pub(super) fn in_answer_of(&self, operation: &'static str) -> CallError {
        CallError::unreadable(operation, self.to_string())
    }
}

/// The image, or its id and the fault.
pub(super) fn described(image: types::Image) -> Described {
    let id = image.image_id.as_deref().and_then(|id| id.parse().ok());
    let Some(id) = id else {
        return Described::Nameless;
    };
    match read_image(id, image) {
        Ok(image) => Described::Image(Box::new(image)),
        Err(error) => Described::Unreadable(id, error.to_string()),
    }
}

fn read_image(id: ImageId, image: types::Image) -> Result<Image, BadAnswer> {
    let owner = filled(image.owner_id).ok_or(BadAnswer::Missing("OwnerId"))?;
    let state = match image.state {
        Some(state) if !state.as_str().is_empty() => state,
        _ => return Err(BadAnswer::Missing("State")),
    };
    let mut read = Image::new(id, AccountId::from_aws(&owner));
    read.state = state.as_str().into();
    read.name = image.name;
    read.description = filled(image.description);
    read.creation_date = image.creation_date;
    read.source_image_id = image.source_image_id;
    read.architecture = image
        .architecture
        .map(|architecture| architecture.as_str().to_owned());
    read.public = image.public.unwrap_or(false);
    read.imds_support = image.imds_support.map(|value| value.as_str().to_owned());
    if let Some(time) = image.deprecation_time {
        read.deprecation_time = DeprecationTime::read(&time);
    }
    for tag in image.tags.unwrap_or_default() {
        if let Some(key) = tag.key {
            read.tags.insert(key, tag.value.unwrap_or_default());
        }
    }
    for code in image.product_codes.unwrap_or_default() {
        read.product_codes
            .push(name_or_unknown(code.product_code_id));
    }
    for watermark in image.image_watermarks.unwrap_or_default() {
        read.watermarks
            .push(name_or_unknown(watermark.watermark_key));
    }
    read.scan = read_scan(image.scan_results.as_ref());
    for mapping in image.block_device_mappings.unwrap_or_default() {
        push_device(&mut read, mapping);
    }
    let is_ebs = image.root_device_type == Some(DeviceType::Ebs);
    read.root_device = RootDevice {
        is_ebs,
        name: image.root_device_name,
    };
    Ok(read)
}

fn name_or_unknown(name: Option<String>) -> String {
    filled(name).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// A scan without findings has a date and no label:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ScanResults.html>.
fn read_scan(results: Option<&ScanResults>) -> Scan {
    let Some(results) = results else {
        return Scan::Unscanned;
    };
    let fixes = [
        results.informational_fix_available_since,
        results.low_fix_available_since,
        results.medium_fix_available_since,
        results.high_fix_available_since,
        results.critical_fix_available_since,
    ];
    match results.highest_finding_severity_label {
        Some(SeverityLabel::Informational) => Scan::Scanned(Severity::Informational),
        Some(SeverityLabel::Low) => Scan::Scanned(Severity::Low),
        Some(SeverityLabel::Medium) => Scan::Scanned(Severity::Medium),
        Some(SeverityLabel::High) => Scan::Scanned(Severity::High),
        Some(SeverityLabel::Critical) => Scan::Scanned(Severity::Critical),
        // A label that is new to us; or none, although a finding has a fix.
        Some(_) => Scan::Unreadable,
        None if fixes.iter().any(Option::is_some) => Scan::Unreadable,
        None if results.finding_scan_date.is_some() => Scan::Scanned(Severity::None),
        None => Scan::Unscanned,
    }
}

/// A mapping is an EBS volume, an instance-store volume (it has a virtual name), a suppressed
/// device, or unclear.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_BlockDeviceMapping.html>
fn push_device(image: &mut Image, mapping: BlockDeviceMapping) {
    let device = name_or_unknown(mapping.device_name);
    if let Some(ebs) = mapping.ebs {
        let snapshot = filled(ebs.snapshot_id);
        image.devices.push(EbsDevice {
            device,
            snapshot,
            encrypted: ebs.encrypted,
        });
    } else if filled(mapping.virtual_name).is_none() && mapping.no_device.is_none() {
        image.unclear_devices.push(device);
    }
}

/// EC2 gives four optional fields of which one is set. ARNs are taken as they are: EC2 knows best
/// which of its grantees are valid.
pub(super) fn grantee(permission: LaunchPermission) -> Result<Grantee, BadAnswer> {
    let LaunchPermission {
        organization_arn,
        organizational_unit_arn,
        user_id,
        group,
        ..
    } = permission;
    match (user_id, group, organization_arn, organizational_unit_arn) {
        (Some(account), None, None, None) => Ok(Grantee::Account(AccountId::from_aws(&account))),
        (None, Some(PermissionGroup::All), None, None) => Ok(Grantee::All),
        (None, None, Some(arn), None) => Ok(Grantee::Organization(arn.into())),
        (None, None, None, Some(arn)) => Ok(Grantee::OrganizationalUnit(arn.into())),
        other => Err(BadAnswer::Grantee(format!("{other:?}"))),
    }
}

pub(super) fn launch_permission(grantee: &Grantee) -> LaunchPermission {
    let permission = LaunchPermission::builder();
    match grantee {
        Grantee::Account(account) => permission.user_id(account.as_str()),
        Grantee::Organization(arn) => permission.organization_arn(arn.as_ref()),
        Grantee::OrganizationalUnit(arn) => permission.organizational_unit_arn(arn.as_ref()),
        Grantee::All => permission.group(PermissionGroup::All),
    }
    .build()
}

/// The account that may create volumes; `None` for a group, which no directive names.
pub(super) fn copier(permission: CreateVolumePermission) -> Result<Option<AccountId>, BadAnswer> {
    match (permission.user_id, permission.group) {
        (Some(account), _) => Ok(Some(AccountId::from_aws(&account))),
        (None, Some(_)) => Ok(None),
        (None, None) => Err(BadAnswer::Copier),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::{
        primitives::DateTime,
        types::{
            EbsBlockDevice, ImageState, ImageWatermark, ProductCode, Tag, builders::ImageBuilder,
        },
    };

    use super::*;

    const ID: &str = "ami-0123456789abcdef0";
    const OWNER: &str = "111122223333";

    fn described_image() -> ImageBuilder {
        types::Image::builder()
            .image_id(ID)
            .owner_id(OWNER)
            .state(ImageState::Available)
    }

    fn plain() -> Image {
        Image::new(ID.parse().unwrap(), OWNER.parse().unwrap())
    }

    fn read(image: ImageBuilder) -> Image {
        match described(image.build()) {
            Described::Image(image) => *image,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_image_without_anything_but_id_owner_and_state_is_plain() {
        assert_eq!(read(described_image()), plain());
        assert_eq!(
            read(described_image().description("")),
            plain(),
            "EC2's way to leave it unset"
        );
    }

    #[test]
    fn every_field_is_taken_over() {
        let image = described_image()
            .state(ImageState::Disabled)
            .name("golden-1")
            .description("d")
            .creation_date("2026-01-02T03:04:05.000Z")
            .source_image_id("ami-0123abcd")
            .architecture("arm64".into())
            .public(true)
            .imds_support("v2.0".into())
            .deprecation_time("2027-06-30T00:00:00.000Z")
            .tags(Tag::builder().key("a").value("1").build())
            .tags(Tag::builder().key("b").build())
            .root_device_type(DeviceType::Ebs)
            .root_device_name("/dev/xvda");
        let mut expected = plain();
        expected.state = "disabled".into();
        expected.name = Some("golden-1".into());
        expected.description = Some("d".into());
        expected.creation_date = Some("2026-01-02T03:04:05.000Z".into());
        expected.source_image_id = Some("ami-0123abcd".into());
        expected.architecture = Some("arm64".into());
        expected.public = true;
        expected.imds_support = Some("v2.0".into());
        expected.deprecation_time = DeprecationTime::read("2027-06-30T00:00:00.000Z");
        expected.tags = [("a".into(), "1".into()), ("b".into(), String::new())].into();
        expected.root_device = RootDevice {
            is_ebs: true,
            name: Some("/dev/xvda".into()),
        };
        assert_eq!(read(image), expected);
    }

    #[test]
    fn an_image_without_owner_or_state_is_unreadable_and_keeps_its_id() {
        let no_owner = described_image().set_owner_id(None);
        let empty_owner = described_image().owner_id("");
        let no_state = described_image().set_state(None);
        let empty_state = described_image().state(ImageState::from(""));
        for (image, field) in [
            (no_owner, "OwnerId"),
            (empty_owner, "OwnerId"),
            (no_state, "State"),
            (empty_state, "State"),
        ] {
            let text = format!("EC2's answer holds no {field}");
            let unreadable = Described::Unreadable(ID.parse().unwrap(), text);
            assert_eq!(described(image.build()), unreadable);
        }
    }

    #[test]
    fn an_image_without_a_readable_id_is_nameless() {
        for id in [None, Some(""), Some("ami-0123ABCD"), Some("i-0123abcd")] {
            let image = described_image().set_image_id(id.map(str::to_owned));
            assert_eq!(described(image.build()), Described::Nameless);
        }
    }

    #[test]
    fn a_deprecation_time_that_is_no_time_does_not_make_the_image_unreadable() {
        for text in ["", "2027-11-26T10:00Z", "2027-11-26 10:00:00"] {
            let image = read(described_image().deprecation_time(text));
            assert_eq!(image.deprecation_time, DeprecationTime::read(text));
            assert_ne!(image.deprecation_time, DeprecationTime::Never, "{text}");
        }
    }

    #[test]
    fn a_product_code_or_watermark_without_a_name_still_counts() {
        let code = ProductCode::builder;
        let mark = ImageWatermark::builder;
        let image = described_image()
            .product_codes(code().product_code_id("code-1").build())
            .product_codes(code().build())
            .image_watermarks(mark().watermark_key("111122223333:cis").build())
            .image_watermarks(mark().watermark_key("").build());
        let image = read(image);
        assert_eq!(image.product_codes, ["code-1", "unknown"]);
        assert_eq!(image.watermarks, ["111122223333:cis", "unknown"]);
    }

    #[test]
    fn only_a_scan_with_a_date_and_without_findings_is_clean() {
        let now = DateTime::from_secs(0);
        let scan = |results: types::builders::ScanResultsBuilder| {
            read(described_image().scan_results(results.build())).scan
        };
        let results = ScanResults::builder;
        assert_eq!(read(described_image()).scan, Scan::Unscanned);
        assert_eq!(scan(results()), Scan::Unscanned);
        assert_eq!(
            scan(results().finding_scan_date(now)),
            Scan::Scanned(Severity::None)
        );
        for label in SeverityLabel::values() {
            let severity = label.parse().unwrap();
            let labelled = results().highest_finding_severity_label((*label).into());
            assert_eq!(
                scan(labelled.clone()),
                Scan::Scanned(severity),
                "without a date too"
            );
            assert_eq!(
                scan(labelled.finding_scan_date(now)),
                Scan::Scanned(severity)
            );
        }
        for label in ["none", "HIGH", "extreme", ""] {
            let labelled = results().highest_finding_severity_label(label.into());
            assert_eq!(
                scan(labelled.finding_scan_date(now)),
                Scan::Unreadable,
                "{label}"
            );
        }
        let fixable = results()
            .finding_scan_date(now)
            .low_fix_available_since(now);
        assert_eq!(scan(fixable), Scan::Unreadable);
    }

    #[test]
    fn a_mapping_is_ebs_instance_store_suppressed_or_unclear() {
        let mapping = |name: &str| BlockDeviceMapping::builder().device_name(name);
        let ebs = EbsBlockDevice::builder;
        let image = described_image()
            .block_device_mappings(
                mapping("/dev/a")
                    .ebs(ebs().snapshot_id("snap-1").encrypted(true).build())
                    .build(),
            )
            .block_device_mappings(mapping("/dev/b").ebs(ebs().build()).build())
            .block_device_mappings(mapping("/dev/c").virtual_name("ephemeral0").build())
            .block_device_mappings(mapping("/dev/d").no_device("").build())
            .block_device_mappings(mapping("/dev/e").build())
            .block_device_mappings(mapping("/dev/f").virtual_name("").build())
            .block_device_mappings(BlockDeviceMapping::builder().build());
        let image = read(image);
        let device = |device: &str, snapshot: Option<&str>, encrypted| EbsDevice {
            device: device.into(),
            snapshot: snapshot.map(str::to_owned),
            encrypted,
        };
        let ebs = [
            device("/dev/a", Some("snap-1"), Some(true)),
            device("/dev/b", None, None),
        ];
        assert_eq!(image.devices, ebs);
        assert_eq!(image.unclear_devices, ["/dev/e", "/dev/f", "unknown"]);
    }

    #[test]
    fn a_launch_permission_is_read_as_it_is_written() {
        let organization = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
        let unit = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";
        for text in ["all", "444455556666", organization, unit] {
            let written: Grantee = text.parse().unwrap();
            assert_eq!(grantee(launch_permission(&written)), Ok(written));
        }
    }

    #[test]
    fn a_launch_permission_for_nobody_two_parties_or_an_unknown_group_is_unreadable() {
        let permission = LaunchPermission::builder;
        let unknown = permission().group("everybody".into()).build();
        let two = permission()
            .user_id("444455556666")
            .group(PermissionGroup::All)
            .build();
        for odd in [permission().build(), unknown, two] {
            assert!(matches!(grantee(odd), Err(BadAnswer::Grantee(_))));
        }
    }

    #[test]
    fn a_copy_permission_is_for_an_account_or_for_a_group_that_no_directive_names() {
        let permission = CreateVolumePermission::builder;
        let account = permission().user_id("444455556666").build();
        assert_eq!(copier(account), Ok(Some("444455556666".parse().unwrap())));
        let group = permission().group(PermissionGroup::All).build();
        assert_eq!(copier(group), Ok(None));
        assert_eq!(copier(permission().build()), Err(BadAnswer::Copier));
    }
}
