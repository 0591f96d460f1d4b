//! The decision on copy permissions: `createVolumePermission` of each EBS snapshot of an image.

use std::collections::BTreeMap;

use super::{grounds::Grounds, guardrail::Guardrails, observed::Observed};
use crate::{
    model::{
        change::{Change, CopyPermissionChange, Direction},
        grantee::{CopyPermissions, Grantee, LaunchPermissions},
        image::Image,
    },
    wish::copy_permission::CopyPermissionWish,
};

/// The differences of the snapshots, and the grounds against the additions.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision {
    snapshots: Vec<Difference>,
    /// One of them refuses all additions to all snapshots.
    pub(super) against_additions: Grounds,
}

/// The difference between a wish and the present permissions of one snapshot.
#[derive(Debug, Clone)]
struct Difference {
    snapshot: String,
    add: CopyPermissions,
    remove: CopyPermissions,
}

/// The accounts that would get the permission of at least one snapshot.
///
/// A snapshot whose permissions were not read has no difference.
pub(super) fn added(
    image: &Image,
    current: &BTreeMap<String, CopyPermissions>,
    wish: &CopyPermissionWish,
) -> CopyPermissions {
    let mut added = CopyPermissions::new();
    for difference in differences(image, current, wish) {
        added.extend(difference.add);
    }
    added
}

fn differences(
    image: &Image,
    current: &BTreeMap<String, CopyPermissions>,
    wish: &CopyPermissionWish,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    for snapshot in image.snapshots() {
        let Some(current) = current.get(snapshot) else {
            continue;
        };
        let mut add = &wish.add - current;
        let mut remove = &wish.remove & current;
        // The owner can copy its image without a permission.
        add.remove(&image.owner);
        remove.remove(&image.owner);
        differences.push(Difference {
            snapshot: snapshot.to_owned(),
            add,
            remove,
        });
    }
    differences
}

impl Decision {
    pub(super) fn of(
        observed: &Observed<'_>,
        wish: &CopyPermissionWish,
        guardrails: &Guardrails,
    ) -> Self {
        let added = added(observed.image, observed.copy_permissions, wish);
        Self {
            against_additions: guardrails.against_copying(observed, &added),
            ..Self::without_grounds(observed, wish)
        }
    }

    /// The decision as far as removals go, which nothing refuses.
    pub(super) fn without_grounds(observed: &Observed<'_>, wish: &CopyPermissionWish) -> Self {
        let snapshots = differences(observed.image, observed.copy_permissions, wish);
        Self {
            snapshots,
            against_additions: Grounds::default(),
        }
    }

    /// The calls that take permissions away.
    pub(super) fn removals(&self) -> Vec<Change> {
        let mut removals = Vec::new();
        for Difference {
            snapshot,
            remove: accounts,
            ..
        } in &self.snapshots
        {
            let calls = CopyPermissionChange::calls(snapshot, Direction::Remove, accounts);
            removals.extend(calls.map(Change::CopyPermission));
        }
        removals
    }

    /// The calls that give permissions.
    pub(super) fn additions(&self) -> Vec<Change> {
        if !self.against_additions.is_empty() {
            return Vec::new();
        }
        let mut additions = Vec::new();
        for Difference { snapshot, add, .. } in &self.snapshots {
            let calls = CopyPermissionChange::calls(snapshot, Direction::Add, add);
            additions.extend(calls.map(Change::CopyPermission));
        }
        additions
    }

    /// The accounts that [`Self::additions`] lets in.
    pub(super) fn let_in(&self) -> LaunchPermissions {
        if !self.against_additions.is_empty() {
            return LaunchPermissions::new();
        }
        let mut let_in = LaunchPermissions::new();
        for difference in &self.snapshots {
            let_in.extend(difference.add.iter().cloned().map(Grantee::Account));
        }
        let_in
    }
}
