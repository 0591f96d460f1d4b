//! The limits set at deployment that no tag, rule or request can lift.
//!
//! They concern new access only: a grantee that already has access needs no permission to keep it.

use super::{
    allow_list::{AllowedCopiers, AllowedGrantees, Permission, SharedTagPatterns},
    grounds::Grounds,
    keys::{self, KeyCheck},
    observed::Observed,
    public,
};
use crate::model::{
    finding::Severity,
    grantee::{CopyPermissions, Grantee, LaunchPermissions},
    image::Image,
    refusal::{BackupService, Ground},
};

/// The limits set at deployment. By default nothing may be added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guardrails {
    /// Whether `all` may be added at all (`ALLOW_PUBLIC`).
    pub allow_public: bool,
    /// The other grantees that may be added (`ALLOWED_GRANTEES`).
    pub allowed_grantees: AllowedGrantees,
    /// The accounts that may be given the copy permission (`ALLOWED_COPIERS`).
    pub allowed_copiers: AllowedCopiers,
    /// The shared tags that may be written (`SHARED_TAGS`).
    pub shared_tags: SharedTagPatterns,
    /// Whether backups may be shared (`SHARE_BACKUPS`).
    pub share_backups: bool,
    /// The highest severity with which an image may be shared (`MAX_FINDING_SEVERITY`); `None`:
    /// scan results do not count.
    pub max_finding_severity: Option<Severity>,
    /// Whether keys of encrypted snapshots are looked at (`KEY_CHECK`); `None`: they are not.
    pub key_check: Option<KeyCheck>,
    /// The most removals of launch permissions for one image in one run (`MAX_REMOVALS`); `all`
    /// counts as one. `None`: no limit.
    pub max_removals: Option<usize>,
}

impl Guardrails {
    /// Every ground against these launch permissions, but for a deprecation: the plan knows whether
    /// it changes that one.
    pub(super) fn against_launching(
        &self,
        observed: &Observed<'_>,
        added: &LaunchPermissions,
    ) -> Grounds {
        let mut grounds = self.against_anybody(observed, added);
        if added.contains(&Grantee::All) {
            if !self.allow_public {
                grounds.insert(Ground::PublicNotAllowed(observed.image.id));
            }
            public::inspect(observed.image, observed.facts, &mut grounds);
        }
        for grantee in added {
            if *grantee == Grantee::All {
                continue;
            }
            match self.allowed_grantees.permission(grantee) {
                Permission::Allowed => {}
                Permission::NotCovered => {
                    grounds.insert(Ground::GranteeNotAllowed(grantee.clone()));
                }
                Permission::Forbidden => grounds.insert(Ground::GranteeForbidden(grantee.clone())),
            }
        }
        grounds
    }

    /// Every ground against these copy permissions.
    pub(super) fn against_copying(
        &self,
        observed: &Observed<'_>,
        added: &CopyPermissions,
    ) -> Grounds {
        let grantees = added.iter().cloned().map(Grantee::Account).collect();
        let mut grounds = self.against_anybody(observed, &grantees);
        for account in added {
            if !self.allowed_copiers.covers(account) {
                grounds.insert(Ground::CopierNotAllowed(account.clone()));
            }
        }
        grounds
    }

    /// The ground against this many removals of launch permissions.
    pub(super) fn against_removals(
        &self,
        image: &Image,
        removed: &LaunchPermissions,
    ) -> Option<Ground> {
        let limit = self.max_removals?;
        let count = removed.len();
        if count <= limit {
            return None;
        }
        Some(Ground::TooManyRemovals {
            image: image.id,
            count,
            limit,
        })
    }

    /// The grounds against letting anybody in, to launch or to copy.
    fn against_anybody(&self, observed: &Observed<'_>, added: &LaunchPermissions) -> Grounds {
        let mut grounds = Grounds::default();
        if added.is_empty() {
            return grounds;
        }
        if !self.share_backups {
            grounds.extend(backup(observed.image));
        }
        grounds.extend(self.findings(observed.image));
        if let Some(check) = self.key_check {
            keys::inspect(observed.image, observed.facts, added, check, &mut grounds);
        }
        grounds
    }

    fn findings(&self, image: &Image) -> Option<Ground> {
        let limit = self.max_finding_severity?;
        match image.scan.worst() {
            None => Some(Ground::Unscanned(limit)),
            Some(found) if found > limit => Some(Ground::FindingSeverity { found, limit }),
            Some(_) => None,
        }
    }
}

/// Tags of these services bring the tags of an instance onto its backup; nobody else can write
/// them, since `aws:` is reserved:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions>.
fn backup(image: &Image) -> Option<Ground> {
    image.tags.keys().find_map(|key| {
        let service = if key.starts_with("aws:backup:") {
            BackupService::Backup
        } else if key.starts_with("aws:dlm:") {
            BackupService::DataLifecycleManager
        } else {
            return None;
        };
        Some(Ground::BackupImage {
            service,
            tag: key.clone(),
        })
    })
}
