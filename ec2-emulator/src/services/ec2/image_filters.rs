//! The filters of DescribeImages that are known here.
//! Source: EC2 API model, `DescribeImagesRequest$Filters`.

use crate::state::image::{Image, timestamp};
use crate::wire::error::ApiError;
use crate::wire::filter::Filter;

const FILTER_NAMES: [&str; 16] = [
    "architecture",
    "block-device-mapping.encrypted",
    "block-device-mapping.snapshot-id",
    "creation-date",
    "description",
    "image-id",
    "image-watermark.watermark-key",
    "is-public",
    "name",
    "owner-id",
    "product-code",
    "root-device-name",
    "root-device-type",
    "scan-result.highest-finding-severity-label",
    "state",
    "tag-key",
];

pub(crate) fn check(filter: &Filter) -> Result<(), ApiError> {
    let name = filter.name.as_str();
    if FILTER_NAMES.contains(&name) || name.starts_with("tag:") {
        return Ok(());
    }
    Err(filter.unknown())
}

pub(crate) fn holds(filter: &Filter, image: &Image) -> bool {
    let text = |text: &str| filter.holds_for(text);
    let maybe = |text: Option<&str>| text.is_some_and(|text| filter.holds_for(text));
    let flag = |flag| filter.holds_for(if flag { "true" } else { "false" });
    let mut devices = image.block_devices.iter();
    match filter.name.as_str() {
        "architecture" => text(&image.architecture),
        "block-device-mapping.encrypted" => devices.any(|d| d.encrypted.is_some_and(flag)),
        "block-device-mapping.snapshot-id" => devices.any(|d| maybe(d.snapshot_id.as_deref())),
        "creation-date" => text(&timestamp(image.creation_date)),
        "description" => maybe(image.description.as_deref()),
        "image-id" => text(&image.image_id),
        "image-watermark.watermark-key" => {
            let mut watermarks = image.watermarks.iter();
            watermarks.any(|watermark| text(&watermark.watermark_key))
        }
        "is-public" => flag(image.is_public()),
        "name" => text(&image.name),
        "owner-id" => text(image.owner_id.as_deref().unwrap_or_default()),
        "product-code" => image.product_codes.iter().any(|code| text(code)),
        "root-device-name" => maybe(image.root_name()),
        "root-device-type" => text(image.root_type()),
        "scan-result.highest-finding-severity-label" => {
            let scan = image.scan_results.as_ref();
            maybe(scan.and_then(|scan| scan.highest_finding_severity_label.as_deref()))
        }
        "state" => text(image.state.as_str()),
        "tag-key" => image.tags.keys().any(|key| text(key)),
        name => {
            let key = name.strip_prefix("tag:").unwrap_or_default();
            maybe(image.tags.get(key).map(String::as_str))
        }
    }
}
