//! The JSON form of an image, and its defaults.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};
use serde::Deserialize;

use crate::state::block_device::BlockDevice;
use crate::state::grantee::Grantee;
use crate::state::image::{Image, ImageState, is_resource_id};
use crate::state::snapshot::Snapshot;
use crate::state::watermark::{ScanResults, Watermark};

/// The JSON form: everything but the id may be left out.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct ImageSeed {
    pub(super) image_id: String,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) state: ImageState,
    pub(super) owner_id: Option<String>,
    pub(super) creation_date: Option<DateTime<Utc>>,
    pub(super) architecture: Option<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    pub(super) block_devices: Option<Vec<BlockDevice>>,
    #[serde(default)]
    pub(super) product_codes: Vec<String>,
    #[serde(default)]
    pub(super) launch_permissions: BTreeSet<Grantee>,
    pub(super) imds_support: Option<String>,
    pub(super) deprecation_time: Option<DateTime<Utc>>,
    pub(super) deprecation_text: Option<String>,
    pub(super) source_image_id: Option<String>,
    #[serde(default)]
    pub(super) watermarks: Vec<Watermark>,
    pub(super) scan_results: Option<ScanResults>,
    pub(super) root_device_type: Option<String>,
    pub(super) root_device_name: Option<String>,
    pub(super) last_launched_time: Option<DateTime<Utc>>,
    pub(super) snapshots: Option<Vec<Snapshot>>,
}

impl TryFrom<ImageSeed> for Image {
    type Error = String;

    fn try_from(seed: ImageSeed) -> Result<Self, String> {
        if !is_resource_id(&seed.image_id, "ami-") {
            return Err(format!("`{}` is no image id", seed.image_id));
        }
        let digits = seed.image_id["ami-".len()..].to_owned();
        Ok(Self {
            name: seed.name.unwrap_or_else(|| format!("image-{digits}")),
            description: seed.description,
            state: seed.state,
            owner_id: seed.owner_id,
            creation_date: seed
                .creation_date
                .unwrap_or_else(|| Utc::now().trunc_subsecs(0)),
            architecture: seed.architecture.unwrap_or_else(|| "x86_64".to_owned()),
            tags: seed.tags,
            block_devices: seed
                .block_devices
                .unwrap_or_else(|| vec![BlockDevice::ebs("/dev/xvda", &format!("snap-{digits}"))]),
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
