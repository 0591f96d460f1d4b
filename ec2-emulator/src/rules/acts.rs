//! What people do by hand while something runs: changes that are no calls and that nothing refuses.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::state::block_public_access::BlockPublicAccess;
use crate::state::grantee::Grantee;
use crate::state::image_state::ImageState;
use crate::state::key::{Key, KeyGrant, KeyState};
use crate::state::parameter::Parameter;
use crate::state::seed::Seed;
use crate::state::tags::Tags;
use crate::state::usage::ReportState;
use crate::state::watermark::ScanResults;

/// One change by hand. It names the resource that it changes by id.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all_fields = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "most members' names say it")]
pub enum Act {
    /// Adds or replaces tags of an image or a snapshot.
    AddTags { id: String, tags: Tags },
    /// Deletes tags of an image or a snapshot.
    DeleteTags { id: String, keys: BTreeSet<String> },
    /// Gives an image or a snapshot exactly these tags.
    SetTags { id: String, tags: Tags },
    /// Puts an image in a state. Like EC2, `disabled` takes all launch permissions away.
    SetState { image_id: String, state: ImageState },
    /// Sets or deletes an image's description.
    SetDescription {
        image_id: String,
        /// None: deleted.
        description: Option<String>,
    },
    /// Sets or deletes an image's deprecation time.
    SetDeprecation {
        image_id: String,
        /// None: never.
        at: Option<DateTime<Utc>>,
    },
    /// Attaches a watermark to an image, `ACCOUNT:NAME`.
    AddWatermark {
        image_id: String,
        watermark_key: String,
    },
    /// A scan of an image ends, or its results go.
    SetScanResults {
        image_id: String,
        /// None: as if it had never been scanned.
        scan_results: Option<ScanResults>,
    },
    /// Adds launch permissions.
    Share {
        image_id: String,
        with: BTreeSet<Grantee>,
    },
    /// Removes launch permissions.
    Unshare {
        image_id: String,
        with: BTreeSet<Grantee>,
    },
    /// Gives an image exactly these launch permissions.
    SetLaunchPermissions {
        image_id: String,
        to: BTreeSet<Grantee>,
    },
    /// A recipient calls `CancelImageLaunchPermission`: takes its account out of the explicit
    /// permissions. Source: EC2 User Guide, "Cancel having an AMI shared with your AWS account".
    CancelLaunchPermission { image_id: String, account: Grantee },
    /// Lets accounts, or `all`, create volumes from a snapshot.
    ShareSnapshot {
        snapshot_id: String,
        with: BTreeSet<Grantee>,
    },
    /// The opposite of `ShareSnapshot`.
    UnshareSnapshot {
        snapshot_id: String,
        with: BTreeSet<Grantee>,
    },
    /// Deregisters an image; its snapshots stay.
    Deregister { image_id: String },
    /// Adds or replaces a parameter, and counts its version up.
    PutParameter(Parameter),
    /// Deletes a parameter.
    DeleteParameter { name: String },
    /// Adds or replaces a key with its policies and grants.
    PutKey(Key),
    /// Puts a key in a state.
    SetKeyState {
        /// The key's id or ARN.
        key_id: String,
        state: KeyState,
    },
    /// Replaces one of a key's policies.
    SetKeyPolicy {
        /// The key's id or ARN.
        key_id: String,
        /// `default` or `AWS_RAM`.
        #[serde(default = "default_policy")]
        name: String,
        /// None: deleted.
        policy: Option<String>,
    },
    /// Adds a grant to a key, or replaces the one of that id.
    AddGrant {
        /// The key's id or ARN.
        key_id: String,
        grant: KeyGrant,
    },
    /// Revokes a grant.
    RevokeGrant {
        /// The key's id or ARN.
        key_id: String,
        grant_id: String,
    },
    /// Ends a usage report, or puts it back to pending.
    SetUsageReport {
        report_id: String,
        state: ReportState,
        /// Why, if it is an error.
        #[serde(default)]
        state_reason: Option<String>,
    },
    /// Switches block public access for AMIs.
    SetBlockPublicAccess { to: BlockPublicAccess },
    /// Adds or replaces everything that a seed names.
    Seed(Box<Seed>),
}

fn default_policy() -> String {
    "default".to_owned()
}

/// Why an act is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// There is no image of that id.
    #[error("there is no image {0}")]
    NoImage(String),
    /// There is neither an image nor a snapshot of that id.
    #[error("there is no image or snapshot {0}")]
    NoResource(String),
    /// There is no snapshot of that id.
    #[error("there is no snapshot {0}")]
    NoSnapshot(String),
    /// There is no usage report of that id.
    #[error("there is no usage report {0}")]
    NoReport(String),
    /// There is no key of that id.
    #[error("there is no key {0}")]
    NoKey(String),
    /// There is no parameter of that name.
    #[error("there is no parameter {0}")]
    NoParameter(String),
}
