//! The decision on launch permissions.

use super::{grounds::Grounds, guardrail::Guardrails, observed::Observed};
use crate::{
    model::{
        change::LaunchPermissionChange,
        grantee::{AccountId, Grantee, LaunchPermissions},
        note::Note,
        refusal::{Attribute, Ground, Refusal},
    },
    wish::launch_permission::LaunchPermissionWish,
};

/// EC2's default quota of organizations, units and accounts that an image is shared with.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-quotas.html>
const PERMISSIONS_MAX: usize = 1000;

/// The difference between a wish and the present permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Wanted, and without access.
    pub(super) add: LaunchPermissions,
    /// Unwanted, and with access.
    pub(super) remove: LaunchPermissions,
    /// Whether the wish names exactly who has access.
    exact: bool,
}

impl Difference {
    pub(super) fn between(
        wish: &LaunchPermissionWish,
        current: &LaunchPermissions,
        owner: &AccountId,
    ) -> Self {
        let mut difference = match wish {
            LaunchPermissionWish::Exactly(wanted) => Self {
                add: wanted - current,
                remove: current - wanted,
                exact: true,
            },
            LaunchPermissionWish::Edit { add, remove } => Self {
                add: add - current,
                remove: remove & current,
                exact: false,
            },
        };
        // The owner always has access: EC2 neither needs nor loses an entry for it.
        let owner = Grantee::Account(owner.clone());
        difference.add.remove(&owner);
        difference.remove.remove(&owner);
        difference
    }
}

/// A difference, and the grounds against it.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision {
    pub(super) difference: Difference,
    /// One of them refuses all additions.
    pub(super) against_additions: Grounds,
    against_removals: Option<Ground>,
}

impl Decision {
    /// The decision but for a deprecation, see [`Guardrails::against_launching`].
    pub(super) fn of(
        observed: &Observed<'_>,
        wish: &LaunchPermissionWish,
        guardrails: &Guardrails,
    ) -> Self {
        let image = observed.image;
        let current = observed.launch_permissions;
        let difference = Difference::between(wish, current, &image.owner);
        Self {
            against_additions: guardrails.against_launching(observed, &difference.add),
            against_removals: guardrails.against_removals(image, &difference.remove),
            difference,
        }
    }

    /// The part of the difference that goes on. A refused half of an exact list takes the other
    /// with it: it could lock out the very grantees that the list names.
    pub(super) fn change(&self, current: &LaunchPermissions) -> Option<LaunchPermissionChange> {
        let Difference { add, remove, exact } = self.difference.clone();
        let adds = self.against_additions.is_empty();
        let removes = self.against_removals.is_none();
        if exact && !(adds && removes) {
            return None;
        }
        let add = if adds { add } else { LaunchPermissions::new() };
        let remove = if removes {
            remove
        } else {
            LaunchPermissions::new()
        };
        LaunchPermissionChange::new(current, add, remove, exact)
    }

    /// The removals that need no facts, since they go on whatever speaks against the additions.
    pub(super) fn removals(
        observed: &Observed<'_>,
        wish: &LaunchPermissionWish,
        guardrails: &Guardrails,
    ) -> Option<LaunchPermissionChange> {
        let image = observed.image;
        let current = observed.launch_permissions;
        let Difference { add, remove, exact } = Difference::between(wish, current, &image.owner);
        let waits = exact && !add.is_empty();
        if waits || guardrails.against_removals(image, &remove).is_some() {
            return None;
        }
        LaunchPermissionChange::new(current, LaunchPermissions::new(), remove, exact)
    }

    pub(super) fn refusals(self) -> impl Iterator<Item = Refusal> {
        let mut grounds = self.against_additions;
        grounds.extend(self.against_removals);
        grounds.refuse(Attribute::LaunchPermission)
    }
}

/// Notes on a change, but for those on keys.
pub(super) fn notes(change: &LaunchPermissionChange) -> Vec<Note> {
    let mut notes = Vec::new();
    if change.makes_public() {
        notes.push(Note::PublicIsDeprecated);
    }
    let accounts = change
        .remove
        .iter()
        .filter(|grantee| matches!(grantee, Grantee::Account(_)));
    let removed: LaunchPermissions = accounts.cloned().collect();
    let wider = change
        .after
        .iter()
        .filter(|grantee| !matches!(grantee, Grantee::Account(_)));
    let by: LaunchPermissions = wider.cloned().collect();
    if !removed.is_empty() && !by.is_empty() {
        notes.push(Note::MayStillGetIn { removed, by });
    }
    // `all` does not count towards the quota.
    let count = change
        .after
        .iter()
        .filter(|grantee| **grantee != Grantee::All)
        .count();
    if !change.add.is_empty() && count > PERMISSIONS_MAX {
        notes.push(Note::ManyPermissions(count));
    }
    notes
}
