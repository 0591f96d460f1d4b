//! The JSON form of an image.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::state::block_device::BlockDevice;
use crate::state::grantee::Grantee;
use crate::state::image_state::ImageState;
use crate::state::snapshot::Snapshot;
use crate::state::tags::Tags;
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
    pub(super) tags: Tags,
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
