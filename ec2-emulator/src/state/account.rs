//! One account in one Region, with all that it holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::block_public_access::BlockPublicAccess;
use crate::state::image::Image;
use crate::state::key::{Key, KeyManager, id_of};
use crate::state::parameter::Parameter;
use crate::state::snapshot::Snapshot;
use crate::state::table::Table;
use crate::state::tags::Tags;
use crate::state::usage::{ReportPace, Usage, UsageReport};

/// One account in one Region. Tests may change anything in it at any moment.
#[derive(Debug, Clone)]
pub struct State {
    account: String,
    region: String,
    /// By id. Use [`State::add`] to add one with its snapshots.
    pub images: Table<Image>,
    /// By id.
    pub snapshots: Table<Snapshot>,
    /// Ids of images that once were: described by id they give an empty answer, and cannot be
    /// modified.
    pub deregistered: BTreeSet<String>,
    /// Tags of resources that are neither images nor snapshots, by id.
    pub other_tags: BTreeMap<String, Tags>,
    /// Parameter Store, by name.
    pub parameters: Table<Parameter>,
    /// KMS, by key id. Use [`State::add_key`].
    pub keys: Table<Key>,
    /// Who uses which image: new usage reports say what this says then.
    pub usage: Vec<Usage>,
    /// Usage reports, by id. Use [`State::add_usage_report`].
    pub usage_reports: Table<UsageReport>,
    /// How long usage reports are pending.
    pub report_pace: ReportPace,
    /// What STS calls the sender of requests; none: a user of the account.
    pub caller_arn: Option<String>,
    /// Accounts that are closed or never were: nothing can be shared with them.
    pub unknown_accounts: BTreeSet<String>,
    /// How many usage reports were made.
    pub(crate) reports_made: u64,
    /// Whether images may be made public at all.
    pub block_public_access: BlockPublicAccess,
    /// Most public images (EC2 User Guide, "AMI quotas": 5 unless raised).
    pub public_image_quota: usize,
    /// Most accounts, organizations and OUs one image may be shared with (the same page: 1,000
    /// unless raised).
    pub sharing_quota: usize,
}

impl State {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        let mut state = Self {
            account: account.to_owned(),
            region: region.to_owned(),
            images: Table::default(),
            snapshots: Table::default(),
            deregistered: BTreeSet::new(),
            other_tags: BTreeMap::new(),
            parameters: Table::default(),
            keys: Table::default(),
            usage: Vec::new(),
            usage_reports: Table::default(),
            report_pace: ReportPace::default(),
            caller_arn: None,
            unknown_accounts: BTreeSet::new(),
            reports_made: 0,
            block_public_access: BlockPublicAccess::default(),
            public_image_quota: 5,
            sharing_quota: 1000,
        };
        state.add_key(Key::aws_ebs());
        state
    }

    /// The account that all requests come from.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Adds an image with its snapshots, or replaces it.
    pub fn add(&mut self, mut image: Image) {
        let owner = image
            .owner_id
            .get_or_insert_with(|| self.account.clone())
            .clone();
        match image.snapshots.replace(Vec::new()) {
            Some(snapshots) => snapshots.into_iter().for_each(|s| self.add_snapshot(s)),
            None => {
                for device in &image.block_devices {
                    let Some(id) = &device.snapshot_id else {
                        continue;
                    };
                    let snapshot = Snapshot {
                        volume_size: device.volume_size,
                        encrypted: device.encrypted == Some(true),
                        kms_key_id: device.kms_key_id.clone(),
                        ..Snapshot::new(id).owned_by(&owner)
                    };
                    if device.encrypted.is_some() || !self.snapshots.contains_key(id) {
                        self.add_snapshot(snapshot);
                    }
                }
            }
        }
        self.deregistered.remove(&image.image_id);
        self.images.insert(image.image_id.clone(), image);
    }

    /// Adds a snapshot, or replaces it. Its key may be given by id or alias if it is there.
    pub fn add_snapshot(&mut self, mut snapshot: Snapshot) {
        snapshot
            .owner_id
            .get_or_insert_with(|| self.account.clone());
        let key = snapshot.kms_key_id.as_deref().and_then(|id| self.key(id));
        if let Some(key) = key {
            snapshot.kms_key_id = Some(key.arn.clone());
        }
        self.snapshots
            .insert(snapshot.snapshot_id.clone(), snapshot);
    }

    /// Adds a parameter to Parameter Store, or replaces it and counts its version up.
    pub fn put_parameter(&mut self, mut parameter: Parameter) {
        if let Some(old) = self.parameters.get(&parameter.name) {
            parameter.version = old.version + 1;
        }
        self.parameters.insert(parameter.name.clone(), parameter);
    }

    /// Adds a key, or replaces it.
    pub fn add_key(&mut self, mut key: Key) {
        key.complete(&self.region, &self.account);
        self.keys.insert(key.key_id().to_owned(), key);
    }

    /// The key of an id, an ARN, an alias, or an alias's ARN.
    pub(crate) fn key(&self, name: &str) -> Option<&Key> {
        let own_aliases = format!(":{}:", self.account);
        let alias = match name.split_once(&own_aliases) {
            Some((_, alias)) if alias.starts_with("alias/") => alias,
            _ => name,
        };
        if alias.starts_with("alias/") {
            let mut keys = self.keys.values();
            return keys.find(|key| self.owns_key(key) && key.aliases.contains(alias));
        }
        let key = self.keys.get(id_of(name))?;
        // A bare id is one of the caller's own account.
        let is_meant = key.arn == name || (key.key_id() == name && self.owns_key(key));
        is_meant.then_some(key)
    }

    pub(crate) fn owns_key(&self, key: &Key) -> bool {
        key.arn_part(4) == self.account
    }

    /// Whether what a snapshot holds is encrypted with a key that opens nothing to other accounts.
    pub(crate) fn is_under_aws_key(&self, snapshot: &Snapshot) -> bool {
        let key = snapshot.kms_key_id.as_deref().and_then(|id| self.key(id));
        snapshot.encrypted && key.is_some_and(|key| key.key_manager == KeyManager::Aws)
    }

    pub(crate) fn owns(&self, image: &Image) -> bool {
        image.owner_id.as_deref() == Some(&self.account)
    }

    /// Own images, public ones, and those shared with the account.
    pub(crate) fn sees(&self, image: &Image) -> bool {
        self.owns(image)
            || image
                .launch_permissions
                .iter()
                .any(|grantee| grantee.is_all() || grantee.as_str() == self.account)
    }

    /// What holds encrypted data, if anything: the truth of the snapshots as well as the word of
    /// the mapping.
    pub(crate) fn is_encrypted(&self, image: &Image) -> bool {
        image.block_devices.iter().any(|device| {
            let snapshot = device.snapshot_id.as_ref();
            device.encrypted == Some(true)
                || snapshot
                    .and_then(|id| self.snapshots.get(id))
                    .is_some_and(|snapshot| snapshot.encrypted)
        })
    }
}
