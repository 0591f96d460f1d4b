//! A change of an image: one value for each call that changes something.

use chrono::{DateTime, Utc};

use super::{
    grantee::{CopyPermissions, Grantee, LaunchPermissions},
    image::ImdsSupport,
    refusal::Attribute,
};

/// One call that changes one attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `ModifyImageAttribute`: a new description.
    Description {
        /// The present description; `None` if unset.
        from: Option<String>,
        /// The wanted description, as EC2 is to show it.
        to: String,
    },
    /// `ModifyImageAttribute`: IMDS support, irreversible.
    ImdsSupport {
        /// The present value; `None` if unset.
        from: Option<String>,
        /// The wanted value; EC2 knows only `v2.0`.
        to: ImdsSupport,
    },
    /// `EnableImageDeprecation`, or `DisableImageDeprecation`.
    Deprecation {
        /// The present time in EC2's text; `None` if unset.
        from: Option<String>,
        /// The new time; `None` for never.
        to: Option<DateTime<Utc>>,
    },
    /// `CreateTags`, or `DeleteTags`, of a tag that recipients see.
    SharedTag {
        /// The key behind `ec2:SharedTag/`.
        key: String,
        /// The present value; `None` if absent.
        from: Option<String>,
        /// The new value; `None` deletes the tag.
        to: Option<String>,
    },
    /// `ModifySnapshotAttribute`: who may copy the image.
    CopyPermission(CopyPermissionChange),
    /// `ModifyImageAttribute`: who may launch the image.
    LaunchPermission(LaunchPermissionChange),
}

/// The most accounts in one `ModifySnapshotAttribute`:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySnapshotAttribute.html>.
pub(crate) const COPY_MODIFICATIONS_MAX: usize = 500;

/// A call about one snapshot; EC2 does not take additions and removals in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPermissionChange {
    /// The id of the snapshot, `snap-…`.
    pub snapshot: String,
    /// Whether the accounts get the permission or lose it.
    pub direction: Direction,
    /// At most `COPY_MODIFICATIONS_MAX` accounts, at least one.
    pub accounts: CopyPermissions,
}

/// To give or to take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The accounts get the permission.
    Add,
    /// The accounts lose the permission.
    Remove,
}

impl CopyPermissionChange {
    /// The calls that give these accounts the permission, or take it away: 500 accounts each.
    pub fn calls(
        snapshot: &str,
        direction: Direction,
        accounts: &CopyPermissions,
    ) -> impl Iterator<Item = Self> {
        let accounts: Vec<_> = accounts.iter().cloned().collect();
        let chunks: Vec<CopyPermissions> = accounts
            .chunks(COPY_MODIFICATIONS_MAX)
            .map(|chunk| chunk.iter().cloned().collect())
            .collect();
        let snapshot = snapshot.to_owned();
        chunks.into_iter().map(move |accounts| Self {
            snapshot: snapshot.clone(),
            direction,
            accounts,
        })
    }
}

/// A difference in launch permissions; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPermissionChange {
    /// Grantees that get access; none of them has it.
    pub add: LaunchPermissions,
    /// Grantees that lose access; all of them have it.
    pub remove: LaunchPermissions,
    /// Grantees that have access now.
    pub before: LaunchPermissions,
    /// Grantees that have access afterwards.
    pub after: LaunchPermissions,
    /// Whether the directive names exactly who has access (`=`).
    ///
    /// Removals of such a directive make no sense without its additions: they would lock out the
    /// grantees that it lets in.
    pub exact: bool,
}

impl LaunchPermissionChange {
    /// The difference; `None` if there is none.
    #[must_use]
    pub fn new(
        current: &LaunchPermissions,
        add: LaunchPermissions,
        remove: LaunchPermissions,
        exact: bool,
    ) -> Option<Self> {
        if add.is_empty() && remove.is_empty() {
            return None;
        }
        let mut after = current.clone();
        after.extend(add.iter().cloned());
        after.retain(|grantee| !remove.contains(grantee));
        Some(Self {
            add,
            remove,
            before: current.clone(),
            after,
            exact,
        })
    }

    /// The removals alone, if they make sense without the additions.
    #[must_use]
    pub fn without_additions(&self) -> Option<Self> {
        if self.exact {
            return None;
        }
        Self::new(
            &self.before,
            LaunchPermissions::new(),
            self.remove.clone(),
            false,
        )
    }

    /// Whether it makes the image public.
    #[must_use]
    pub fn makes_public(&self) -> bool {
        self.add.contains(&Grantee::All)
    }
}

impl Change {
    /// The attribute it changes.
    #[must_use]
    pub fn attribute(&self) -> Attribute {
        match self {
            Self::Description { .. } => Attribute::Description,
            Self::ImdsSupport { .. } => Attribute::ImdsSupport,
            Self::Deprecation { .. } => Attribute::DeprecationTime,
            Self::SharedTag { key, .. } => Attribute::SharedTag(key.clone()),
            Self::CopyPermission(_) => Attribute::CreateVolumePermission,
            Self::LaunchPermission(_) => Attribute::LaunchPermission,
        }
    }

    /// The API's name of the call.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Description { .. } | Self::ImdsSupport { .. } | Self::LaunchPermission(_) => {
                "ModifyImageAttribute"
            }
            Self::Deprecation { to: Some(_), .. } => "EnableImageDeprecation",
            Self::Deprecation { to: None, .. } => "DisableImageDeprecation",
            Self::SharedTag { to: Some(_), .. } => "CreateTags",
            Self::SharedTag { to: None, .. } => "DeleteTags",
            Self::CopyPermission(_) => "ModifySnapshotAttribute",
        }
    }

    /// Whether it lets somebody in: such a call waits until the rest of the image is right.
    #[must_use]
    pub fn lets_in(&self) -> bool {
        match self {
            Self::LaunchPermission(change) => !change.add.is_empty(),
            Self::CopyPermission(change) => change.direction == Direction::Add,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{accounts, grantees, now};

    #[test]
    fn copy_permissions_go_in_calls_of_at_most_500_accounts() {
        let accounts: CopyPermissions = (0..1001)
            .map(|number| format!("{number:012}").parse().unwrap())
            .collect();
        let calls: Vec<_> =
            CopyPermissionChange::calls("snap-1", Direction::Add, &accounts).collect();
        assert_eq!(
            calls
                .iter()
                .map(|call| call.accounts.len())
                .collect::<Vec<_>>(),
            [500, 500, 1]
        );
        let all: CopyPermissions = calls.into_iter().flat_map(|call| call.accounts).collect();
        assert_eq!(all, accounts);
        assert_eq!(
            CopyPermissionChange::calls("snap-1", Direction::Add, &CopyPermissions::new()).count(),
            0
        );
    }

    #[test]
    fn each_change_is_a_call_of_its_own_and_only_additions_let_somebody_in() {
        let one: LaunchPermissions = grantees("444455556666");
        let launch = |add: &str, remove: &str| {
            let change = LaunchPermissionChange::new(&one, grantees(add), grantees(remove), false);
            Change::LaunchPermission(change.unwrap())
        };
        let copy = |direction| {
            Change::CopyPermission(CopyPermissionChange {
                snapshot: "snap-1".into(),
                direction,
                accounts: accounts("444455556666"),
            })
        };
        let tag = |to: Option<&str>| Change::SharedTag {
            key: "os".into(),
            from: None,
            to: to.map(Into::into),
        };
        let deprecation = |to| Change::Deprecation { from: None, to };
        let description = Change::Description {
            from: None,
            to: "d".into(),
        };
        let imds = Change::ImdsSupport {
            from: None,
            to: ImdsSupport::V2,
        };
        for (change, operation, lets_in) in [
            (description, "ModifyImageAttribute", false),
            (imds, "ModifyImageAttribute", false),
            (deprecation(Some(now())), "EnableImageDeprecation", false),
            (deprecation(None), "DisableImageDeprecation", false),
            (tag(Some("linux")), "CreateTags", false),
            (tag(None), "DeleteTags", false),
            (copy(Direction::Add), "ModifySnapshotAttribute", true),
            (copy(Direction::Remove), "ModifySnapshotAttribute", false),
            (launch("all", ""), "ModifyImageAttribute", true),
            (launch("all", "444455556666"), "ModifyImageAttribute", true),
            (launch("", "444455556666"), "ModifyImageAttribute", false),
        ] {
            assert_eq!(change.operation(), operation, "{change:?}");
            assert_eq!(change.lets_in(), lets_in, "{change:?}");
        }
    }
}
