//! Who may launch an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A grantee as the answer of `DescribeImageAttribute` names it: `all`, an account id, or the ARN
/// of an organization or organizational unit. Sorted by bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grantee {
    // First, so that grantees are sorted by it.
    text: String,
    kind: GranteeKind,
}

/// The four kinds, each with its element in a launch permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum GranteeKind {
    Group,
    UserId,
    OrganizationArn,
    OrganizationalUnitArn,
}

impl GranteeKind {
    pub(crate) const ALL: [Self; 4] = [
        Self::Group,
        Self::UserId,
        Self::OrganizationArn,
        Self::OrganizationalUnitArn,
    ];

    /// The element of answers.
    pub(crate) fn element(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::UserId => "userId",
            Self::OrganizationArn => "organizationArn",
            Self::OrganizationalUnitArn => "organizationalUnitArn",
        }
    }

    /// The field of `LaunchPermission.Add.N.…`.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Group => "Group",
            Self::UserId => "UserId",
            Self::OrganizationArn => "OrganizationArn",
            Self::OrganizationalUnitArn => "OrganizationalUnitArn",
        }
    }

    /// The list of the other style of parameters; `UserGroup` is the one that differs.
    pub(crate) fn list(self) -> &'static str {
        match self {
            Self::Group => "UserGroup",
            other => other.field(),
        }
    }

    /// What error messages call it.
    pub(crate) fn item_type(self) -> &'static str {
        match self {
            Self::Group => "UserGroup",
            other => other.element(),
        }
    }
}

impl Grantee {
    /// The grantee `all`: everyone.
    pub fn all() -> Self {
        Self {
            text: String::from("all"),
            kind: GranteeKind::Group,
        }
    }

    /// As answers name it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is `all`.
    pub fn is_all(&self) -> bool {
        self.text == "all"
    }

    /// Whether snapshots can be shared with it: organizations and OUs cannot have them.
    pub(crate) fn may_copy(&self) -> bool {
        matches!(self.kind(), GranteeKind::Group | GranteeKind::UserId)
    }

    pub(crate) fn kind(&self) -> GranteeKind {
        self.kind
    }

    /// The partition of an ARN.
    pub(crate) fn partition(&self) -> Option<&str> {
        self.text.strip_prefix("arn:")?.split(':').next()
    }
}

/// A text that names no grantee.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no grantee: expected `all`, 12 digits, or an organization or OU ARN")]
pub struct NotAGrantee(String);

impl FromStr for Grantee {
    type Err = NotAGrantee;

    fn from_str(text: &str) -> Result<Self, NotAGrantee> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Grantee {
    type Error = NotAGrantee;

    fn try_from(text: String) -> Result<Self, NotAGrantee> {
        match kind_of(&text) {
            Some(kind) => Ok(Self { text, kind }),
            None => Err(NotAGrantee(text)),
        }
    }
}

impl From<Grantee> for String {
    fn from(grantee: Grantee) -> Self {
        grantee.text
    }
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn kind_of(text: &str) -> Option<GranteeKind> {
    if text == "all" {
        return Some(GranteeKind::Group);
    }
    if is_account(text) {
        return Some(GranteeKind::UserId);
    }
    // The patterns are those of EC2 Image Builder's API model, which feeds the same attribute.
    let mut parts = text.split(':');
    let (arn, partition) = (parts.next()?, parts.next()?);
    let (service, region, account) = (parts.next()?, parts.next()?, parts.next()?);
    let resource = parts.next()?;
    if arn != "arn"
        || !partition.starts_with("aws")
        || service != "organizations"
        || !region.is_empty()
        || !is_account(account)
        || parts.next().is_some()
    {
        return None;
    }
    let mut path = resource.split('/');
    let (kind, organization, unit) = (path.next()?, path.next()?, path.next());
    if path.next().is_some() || !is_id(organization.strip_prefix("o-")?, 10) {
        return None;
    }
    match (kind, unit) {
        ("organization", None) => Some(GranteeKind::OrganizationArn),
        ("ou", Some(unit)) => {
            let (root, own) = unit.strip_prefix("ou-")?.split_once('-')?;
            (is_id(root, 4) && is_id(own, 8)).then_some(GranteeKind::OrganizationalUnitArn)
        }
        _ => None,
    }
}

/// Twelve digits, leading zeros included.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_id(text: &str, shortest: usize) -> bool {
    (shortest..=32).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_kinds_are_told_apart() {
        let kind = |text: &str| text.parse::<Grantee>().map(|grantee| grantee.kind());
        assert_eq!(kind("all"), Ok(GranteeKind::Group));
        assert_eq!(kind("000000000001"), Ok(GranteeKind::UserId));
        assert_eq!(
            kind("arn:aws-us-gov:organizations::111122223333:organization/o-exampleorgid"),
            Ok(GranteeKind::OrganizationArn)
        );
        assert_eq!(
            kind("arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456"),
            Ok(GranteeKind::OrganizationalUnitArn)
        );
    }

    #[test]
    fn bare_ids_roots_and_other_shapes_are_no_grantees() {
        for text in [
            "",
            "All",
            "11112222333",
            "1111-2222-3333",
            "o-exampleorgid",
            "ou-ab12-cdef3456",
            "arn:aws:organizations::111122223333:root/o-exampleorgid/r-ab12",
            "arn:aws:organizations::111122223333:organization/o-short",
            "arn:aws:organizations::111122223333:ou/o-exampleorgid",
            "arn:aws:organizations:us-east-1:111122223333:organization/o-exampleorgid",
            "arn:aws:iam::111122223333:root",
        ] {
            let refused = NotAGrantee(text.to_owned());
            assert_eq!(text.parse::<Grantee>(), Err(refused));
        }
    }
}
