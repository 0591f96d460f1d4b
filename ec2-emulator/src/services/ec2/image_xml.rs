//! An image as DescribeImages shows it. Source: EC2 API model, `Image`.

use crate::services::ec2::answer::{write_product_codes, write_tags};
use crate::state::account::State;
use crate::state::block_device::BlockDevice;
use crate::state::image::{Image, timestamp};
use crate::state::image_state::ImageState;
use crate::state::watermark::{ScanResults, Watermark};
use crate::wire::xml::Writer;

pub(crate) fn write_image(w: &mut Writer, state: &State, image: &Image) {
    let owner = image.owner_id.as_deref().unwrap_or(state.account());
    w.text("imageId", &image.image_id);
    w.text("imageLocation", format!("{owner}/{}", image.name));
    w.text("imageState", image.state.as_str());
    w.text("imageOwnerId", owner);
    w.flag("isPublic", image.is_public());
    w.text("creationDate", timestamp(image.creation_date));
    if !image.product_codes.is_empty() {
        write_product_codes(w, &image.product_codes);
    }
    w.text("architecture", &image.architecture);
    w.text("imageType", "machine");
    w.text("name", &image.name);
    w.optional("description", image.description.as_ref());
    w.text("rootDeviceType", image.root_type());
    w.optional("rootDeviceName", image.root_name());
    // What the mapping of a pending image holds is not documented: nothing here, so that nobody
    // relies on it.
    let devices = match image.state {
        ImageState::Pending => &[],
        _ => image.block_devices.as_slice(),
    };
    w.items("blockDeviceMapping", devices, write_device);
    w.text("virtualizationType", "hvm");
    write_tags(w, &image.tags);
    w.text("hypervisor", "xen");
    w.optional("imdsSupport", image.imds_support.as_ref());
    let deprecation = image.deprecation_time.map(timestamp);
    w.optional(
        "deprecationTime",
        image.deprecation_text.clone().or(deprecation),
    );
    w.optional("lastLaunchedTime", image.last_launched_time.map(timestamp));
    w.optional("sourceImageId", image.source_image_id.as_ref());
    if !image.watermarks.is_empty() {
        w.items("imageWatermarkSet", &image.watermarks, write_watermark);
    }
    if let Some(scan) = &image.scan_results {
        w.element("scanResults", |w| write_scan(w, scan));
    }
}

fn write_device(w: &mut Writer, device: &BlockDevice) {
    w.text("deviceName", &device.device_name);
    if let Some(virtual_name) = &device.virtual_name {
        w.text("virtualName", virtual_name);
        return;
    }
    if device.bare {
        return;
    }
    match &device.snapshot_id {
        Some(id) => w.element("ebs", |w| w.resource(id, |w| write_volume(w, device))),
        None => w.element("ebs", |w| write_volume(w, device)),
    }
}

fn write_volume(w: &mut Writer, device: &BlockDevice) {
    w.optional("snapshotId", device.snapshot_id.as_ref());
    w.text("volumeSize", device.volume_size.to_string());
    w.flag("deleteOnTermination", true);
    w.text("volumeType", "gp3");
    if let Some(encrypted) = device.encrypted {
        w.flag("encrypted", encrypted);
    }
}

fn write_watermark(w: &mut Writer, watermark: &Watermark) {
    let created = watermark.source_image_creation_time.map(timestamp);
    w.text("watermarkKey", &watermark.watermark_key);
    w.optional("sourceImageRegion", watermark.source_image_region.as_ref());
    w.optional("sourceImageId", watermark.source_image_id.as_ref());
    w.optional("sourceImageCreationTime", created);
    w.text(
        "watermarkCreationTime",
        timestamp(watermark.watermark_creation_time),
    );
}

fn write_scan(w: &mut Writer, scan: &ScanResults) {
    let label = scan.highest_finding_severity_label.as_ref();
    w.optional("highestFindingSeverityLabel", label);
    for (name, at) in [
        ("findingScanDate", scan.finding_scan_date),
        (
            "informationalFixAvailableSince",
            scan.informational_fix_available_since,
        ),
        ("lowFixAvailableSince", scan.low_fix_available_since),
        ("mediumFixAvailableSince", scan.medium_fix_available_since),
        ("highFixAvailableSince", scan.high_fix_available_since),
        (
            "criticalFixAvailableSince",
            scan.critical_fix_available_since,
        ),
    ] {
        w.optional(name, at.map(timestamp));
    }
}
