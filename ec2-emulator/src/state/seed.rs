//! The JSON form of a state.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::state::account::State;
use crate::state::block_public_access::BlockPublicAccess;
use crate::state::image::Image;
use crate::state::key::Key;
use crate::state::parameter::Parameter;
use crate::state::range::ImageRange;
use crate::state::snapshot::Snapshot;
use crate::state::tags::Tags;
use crate::state::usage::{ReportPace, Usage, UsageReport};

/// The JSON form of a state, or of additions to one. Everything may be left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct Seed {
    /// See [`State::images`].
    pub images: Vec<Image>,
    /// Many images from one pattern, added before [`Seed::images`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<ImageRange>,
    /// See [`State::snapshots`]; added after those that come with the images, so these win.
    pub snapshots: Vec<Snapshot>,
    /// See [`State::deregistered`].
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub deregistered: BTreeSet<String>,
    /// See [`State::other_tags`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub other_tags: BTreeMap<String, Tags>,
    /// See [`State::parameters`].
    pub parameters: Vec<Parameter>,
    /// See [`State::keys`].
    pub keys: Vec<Key>,
    /// See [`State::usage`]; added to what is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<Usage>,
    /// See [`State::usage_reports`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub usage_reports: Vec<UsageReport>,
    /// See [`State::report_pace`].
    pub report_pace: Option<ReportPace>,
    /// See [`State::caller_arn`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_arn: Option<String>,
    /// See [`State::unknown_accounts`].
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub unknown_accounts: BTreeSet<String>,
    /// See [`State::block_public_access`].
    pub block_public_access: Option<BlockPublicAccess>,
    /// See [`State::public_image_quota`].
    pub public_image_quota: Option<usize>,
    /// See [`State::sharing_quota`].
    pub sharing_quota: Option<usize>,
}

impl State {
    /// Adds or replaces everything a seed names, and leaves the rest.
    pub fn apply(&mut self, seed: Seed) {
        // First, so that snapshots may name them by alias.
        seed.keys.into_iter().for_each(|key| self.add_key(key));
        for range in seed.ranges {
            range
                .into_images()
                .into_iter()
                .for_each(|image| self.add(image));
        }
        seed.images.into_iter().for_each(|image| self.add(image));
        for snapshot in seed.snapshots {
            self.add_snapshot(snapshot);
        }
        self.deregistered.extend(seed.deregistered);
        self.other_tags.extend(seed.other_tags);
        for parameter in seed.parameters {
            self.put_parameter(parameter);
        }
        self.usage.extend(seed.usage);
        for report in seed.usage_reports {
            self.add_usage_report(report);
        }
        self.unknown_accounts.extend(seed.unknown_accounts);
        if seed.caller_arn.is_some() {
            self.caller_arn = seed.caller_arn;
        }
        if let Some(value) = seed.report_pace {
            self.report_pace = value;
        }
        if let Some(value) = seed.block_public_access {
            self.block_public_access = value;
        }
        if let Some(value) = seed.public_image_quota {
            self.public_image_quota = value;
        }
        if let Some(value) = seed.sharing_quota {
            self.sharing_quota = value;
        }
    }

    /// Everything, in a form that [`State::apply`] takes back.
    pub fn to_seed(&self) -> Seed {
        Seed {
            images: self.images.values().cloned().collect(),
            ranges: Vec::new(),
            snapshots: self.snapshots.values().cloned().collect(),
            deregistered: self.deregistered.clone(),
            other_tags: self.other_tags.clone(),
            parameters: self.parameters.values().cloned().collect(),
            keys: self.keys.values().cloned().collect(),
            usage: self.usage.clone(),
            usage_reports: self.usage_reports.values().cloned().collect(),
            report_pace: Some(self.report_pace),
            caller_arn: self.caller_arn.clone(),
            unknown_accounts: self.unknown_accounts.clone(),
            block_public_access: Some(self.block_public_access),
            public_image_quota: Some(self.public_image_quota),
            sharing_quota: Some(self.sharing_quota),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(json: &str) -> serde_json::Result<Seed> {
        serde_json::from_str(json)
    }

    #[test]
    fn an_image_needs_only_an_id() {
        let mut state = State::new("111122223333", "us-east-1");
        state.apply(seed(r#"{"Images":[{"ImageId":"ami-0123456789abcdef0"}]}"#).expect("a seed"));
        let image = &state.images["ami-0123456789abcdef0"];
        assert!(state.owns(image));
        assert_eq!(image.block_devices[0].encrypted, Some(false));
        let snapshot = &state.snapshots["snap-0123456789abcdef0"];
        assert!(!snapshot.encrypted);
    }

    #[test]
    fn hidden_snapshots_stay_hidden_through_the_json_form() {
        let mut state = State::new("111122223333", "us-east-1");
        state.apply(
            seed(
                r#"{"Images":[{"ImageId":"ami-00000001","Snapshots":[]},{"ImageId":"ami-00000002",
                    "BlockDevices":[{"DeviceName":"/dev/xvda","SnapshotId":"snap-00000002",
                    "Encrypted":null}]}]}"#,
            )
            .expect("a seed"),
        );
        let json = serde_json::to_string(&state.to_seed()).expect("JSON");
        let mut again = State::new("111122223333", "us-east-1");
        again.apply(seed(&json).expect("a seed"));
        assert_eq!(again.images, state.images);
        assert_eq!(again.snapshots, state.snapshots);
        let ids: Vec<_> = again.snapshots.keys().collect();
        assert_eq!(ids, ["snap-00000002"]);
    }

    #[test]
    fn a_seed_with_a_mistake_is_refused() {
        assert!(seed(r#"{"Images":[{"ImageId":"ami-xyz"}]}"#).is_err());
        assert!(seed(r#"{"Images":[{"ImageId":"ami-00000001","Tag":{}}]}"#).is_err());
        assert!(
            seed(r#"{"Images":[{"ImageId":"ami-00000001","LaunchPermissions":["1"]}]}"#).is_err()
        );
    }
}
