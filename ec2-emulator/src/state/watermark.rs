//! What EC2 shows about an image beside what its owner set: watermarks and scan results.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

/// A watermark. Source: EC2 API model, `ImageWatermark`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Watermark {
    /// `ACCOUNT:NAME`. The account that attached it need not be the image's owner.
    pub watermark_key: String,
    /// Where it was attached first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_image_region: Option<String>,
    /// The image it was attached to first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_image_id: Option<String>,
    /// When that image was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_image_creation_time: Option<DateTime<Utc>>,
    /// When it was attached. Default: now.
    #[serde(default = "now")]
    pub watermark_creation_time: DateTime<Utc>,
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

impl Watermark {
    /// One that was attached now.
    pub fn new(key: &str) -> Self {
        Self {
            watermark_key: key.to_owned(),
            source_image_region: None,
            source_image_id: None,
            source_image_creation_time: None,
            watermark_creation_time: now(),
        }
    }
}

/// What Inspector's last scan found. Source: EC2 API model, `ScanResults`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are EC2's own")]
pub struct ScanResults {
    /// `informational`, `low`, `medium`, `high`, `critical`, or any text. None: nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_finding_severity_label: Option<String>,
    /// None leaves the element out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding_scan_date: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub informational_fix_available_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_fix_available_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium_fix_available_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_fix_available_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical_fix_available_since: Option<DateTime<Utc>>,
}

impl ScanResults {
    /// A scan of now, and the highest severity of what it found.
    pub fn new(severity: Option<&str>) -> Self {
        Self {
            highest_finding_severity_label: severity.map(str::to_owned),
            finding_scan_date: Some(now()),
            ..Self::default()
        }
    }
}
