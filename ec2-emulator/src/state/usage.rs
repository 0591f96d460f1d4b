//! Who uses the images, and the reports that tell it.
//! Source: EC2 User Guide, "View your AMI usage"; EC2 API model, `ImageUsageReport`.

use crate::state::tags::Tags;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The resource types that a report can cover.
pub(crate) const RESOURCE_TYPES: [&str; 4] = [
    "ec2:Instance",
    "ec2:LaunchTemplate",
    "imagebuilder:ImageRecipe",
    "imagebuilder:ContainerRecipe",
];

/// How many resources of an account refer to an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Usage {
    pub image_id: String,
    pub account_id: String,
    /// For example `ec2:Instance`.
    pub resource_type: String,
    pub count: u64,
}

impl Usage {
    /// So many resources of an account refer to an image.
    pub fn new(image_id: &str, account_id: &str, resource_type: &str, count: u64) -> Self {
        Self {
            image_id: image_id.to_owned(),
            account_id: account_id.to_owned(),
            resource_type: resource_type.to_owned(),
            count,
        }
    }
}

/// How long reports are pending: until both are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct ReportPace {
    /// How often a report is described as pending.
    pub describes: u32,
    /// Milliseconds since its creation.
    pub ms: u32,
}

impl Default for ReportPace {
    /// A report is described as pending once.
    fn default() -> Self {
        Self {
            describes: 1,
            ms: 0,
        }
    }
}

/// The states of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are EC2's own")]
pub enum ReportState {
    Pending,
    Available,
    Error,
}

impl ReportState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Error => "error",
        }
    }
}

/// A resource type that a report covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CoveredType {
    /// For example `ec2:Instance`.
    pub resource_type: String,
    /// How many versions of launch templates it looks at, if that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_depth: Option<u32>,
}

/// A report, with what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UsageReport {
    /// `amiur-` and 17 hexadecimal digits.
    pub report_id: String,
    /// The image it is about.
    pub image_id: String,
    /// The resource types it covers.
    pub resource_types: Vec<CoveredType>,
    /// The accounts it covers; none: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub account_ids: BTreeSet<String>,
    /// Its state, if it does not follow from time and describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ReportState>,
    /// Why it ended in an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// Default: now.
    #[serde(default = "now")]
    pub creation_time: DateTime<Utc>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
    /// What it says once it is available.
    #[serde(default)]
    pub entries: Vec<Usage>,
    /// How often it was described.
    #[serde(default)]
    pub described: u32,
    /// The token of its request, and what stands for all else in it.
    #[serde(skip)]
    pub(crate) request: Option<(String, u64)>,
}

pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

impl UsageReport {
    /// An available report of now that says this.
    pub fn new(report_id: &str, image_id: &str, entries: impl IntoIterator<Item = Usage>) -> Self {
        let covered = RESOURCE_TYPES.map(|name| CoveredType {
            resource_type: name.to_owned(),
            version_depth: None,
        });
        Self {
            report_id: report_id.to_owned(),
            image_id: image_id.to_owned(),
            resource_types: covered.into(),
            account_ids: BTreeSet::new(),
            state: Some(ReportState::Available),
            state_reason: None,
            creation_time: now(),
            tags: Tags::new(),
            entries: entries.into_iter().collect(),
            described: 0,
            request: None,
        }
    }

    /// Sets the moment of creation.
    pub fn created(mut self, at: DateTime<Utc>) -> Self {
        self.creation_time = at;
        self
    }

    /// Fixes the state, whatever follows from time and describes.
    pub fn state(mut self, state: ReportState) -> Self {
        self.state = Some(state);
        self
    }

    /// 30 days after its creation EC2 deletes it.
    pub(crate) fn expiration_time(&self) -> DateTime<Utc> {
        let month = TimeDelta::days(30);
        self.creation_time
            .checked_add_signed(month)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}
