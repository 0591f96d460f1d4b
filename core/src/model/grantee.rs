//! Who may launch an image.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use super::arn;

/// The id of an AWS account: 12 digits, leading zeros included.
///
/// Shared text: a thousand grantees of a group stand in many sets at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// An id from an answer of AWS, which knows its own accounts best.
    #[must_use]
    pub fn from_aws(id: &str) -> Self {
        Self(id.into())
    }

    /// The 12 digits, as AWS writes them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is not the id of an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an account id: expected 12 digits")]
pub struct NotAnAccountId(String);

impl FromStr for AccountId {
    type Err = NotAnAccountId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text.into()))
        } else {
            Err(NotAnAccountId(text.to_owned()))
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A party that may launch an image.
///
/// Ordered by the bytes of the written form, as an answer lists them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Grantee {
    /// An AWS account, by its 12-digit id.
    Account(AccountId),
    /// An organization, by its ARN.
    Organization(Arc<str>),
    /// An organizational unit, by its ARN.
    OrganizationalUnit(Arc<str>),
    /// Everyone: the image is public.
    All,
}

/// The grantees of an image; its owner may always launch it.
pub type LaunchPermissions = BTreeSet<Grantee>;

/// The accounts that may create volumes from a snapshot, and so copy an image.
pub type CopyPermissions = BTreeSet<AccountId>;

impl Grantee {
    /// The written form: account id, ARN, or `all`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Account(id) => id.as_str(),
            Self::Organization(text) | Self::OrganizationalUnit(text) => text,
            Self::All => "all",
        }
    }

    /// The partition of an ARN; accounts and `all` have none.
    #[must_use]
    pub fn partition(&self) -> Option<&str> {
        match self {
            Self::Organization(arn) | Self::OrganizationalUnit(arn) => arn.split(':').nth(1),
            Self::Account(_) | Self::All => None,
        }
    }
}

impl Ord for Grantee {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Grantee {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no grantee, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAGrantee {
    /// The text as it was written.
    pub text: String,
    /// The rule that it breaks.
    pub reason: NotAGranteeReason,
}

/// Why a text names no grantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAGranteeReason {
    /// Digits, and so many of them instead of 12.
    AccountDigits(usize),
    /// The ARN of an organization with a malformed id.
    OrganizationArn,
    /// The ARN of an organizational unit with malformed ids.
    OrganizationalUnitArn,
    /// The ARN of an organization's root, which EC2 does not take.
    OrganizationRoot,
    /// It has none of the forms of a grantee.
    OtherForm,
}

impl NotAGrantee {
    /// The message of a place that takes these forms.
    #[must_use]
    pub fn explain(&self, forms: &str) -> String {
        let reason: Cow<'_, str> = match self.reason {
            NotAGranteeReason::AccountDigits(digits) => {
                format!("an account id has 12 digits, this has {digits}").into()
            }
            NotAGranteeReason::OrganizationArn => {
                "an organization's ARN ends in organization/o-…".into()
            }
            NotAGranteeReason::OrganizationalUnitArn => {
                "an organizational unit's ARN ends in ou/o-…/ou-…".into()
            }
            NotAGranteeReason::OrganizationRoot => {
                "EC2 takes no organization root; name the organization itself".into()
            }
            NotAGranteeReason::OtherForm => format!("expected {forms}").into(),
        };
        format!("{:?} is not a grantee: {reason}", self.text)
    }
}

impl fmt::Display for NotAGrantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explain(GRANTEE_FORMS))
    }
}

impl std::error::Error for NotAGrantee {}

/// The forms of a grantee, for error messages.
pub(crate) const GRANTEE_FORMS: &str = "a 12-digit account id, \"all\", or the ARN of an organization \
     (arn:PARTITION:organizations::ACCOUNT:organization/o-…) or organizational unit \
     (arn:PARTITION:organizations::ACCOUNT:ou/o-…/ou-…)";

impl FromStr for Grantee {
    type Err = NotAGrantee;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Ok(account) = text.parse() {
            return Ok(Self::Account(account));
        }
        let error = |reason| {
            Err(NotAGrantee {
                text: text.to_owned(),
                reason,
            })
        };
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return error(NotAGranteeReason::AccountDigits(text.len()));
        }
        let Some(resource) = organizations_resource(text) else {
            return error(NotAGranteeReason::OtherForm);
        };
        match resource.split_once('/') {
            Some(("organization", id)) if is_organization_id(id) => {
                Ok(Self::Organization(text.into()))
            }
            Some(("organization", _)) => error(NotAGranteeReason::OrganizationArn),
            Some(("ou", path)) => match path.split_once('/') {
                Some((organization, unit))
                    if is_organization_id(organization) && is_unit_id(unit) =>
                {
                    Ok(Self::OrganizationalUnit(text.into()))
                }
                _ => error(NotAGranteeReason::OrganizationalUnitArn),
            },
            Some(("root", _)) => error(NotAGranteeReason::OrganizationRoot),
            _ => error(NotAGranteeReason::OtherForm),
        }
    }
}

/// Whether the text is an organization's id: `o-[a-z0-9]{10,32}`, as EC2 Image Builder's model has
/// it for the same feature.
#[must_use]
pub(crate) fn is_organization_id(text: &str) -> bool {
    text.strip_prefix("o-")
        .is_some_and(|id| is_lower_alphanumeric(id, 10))
}

/// Whether the text is an organizational unit's id: `ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}`.
#[must_use]
pub(crate) fn is_unit_id(text: &str) -> bool {
    let Some(id) = text.strip_prefix("ou-") else {
        return false;
    };
    let Some((root, unit)) = id.split_once('-') else {
        return false;
    };
    is_lower_alphanumeric(root, 4) && is_lower_alphanumeric(unit, 8)
}

fn is_lower_alphanumeric(text: &str, at_least: usize) -> bool {
    (at_least..=32).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

/// The last part of `arn:PARTITION:organizations::ACCOUNT:…`, or `None` for any other text.
fn organizations_resource(text: &str) -> Option<&str> {
    let is_partition = |text: &str| {
        let mut bytes = text.bytes();
        text.starts_with("aws") && bytes.all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    match arn::parts(text)? {
        ["arn", partition, "organizations", "", account, resource]
            if is_partition(partition) && account.parse::<AccountId>().is_ok() =>
        {
            Some(resource)
        }
        _ => None,
    }
}

/// The ARN of an organization, taken apart: what completes the short forms `o-…` and `ou-…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationArn {
    arn: Arc<str>,
}

impl OrganizationArn {
    /// The organization as a grantee.
    #[must_use]
    pub fn organization(&self) -> Grantee {
        Grantee::Organization(self.arn.clone())
    }

    /// The organization's id, the last part of its ARN.
    #[must_use]
    pub fn id(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// The unit `ou-…` of this organization as a grantee. The id must be well-formed, see
    /// `is_unit_id`.
    #[must_use]
    pub fn unit(&self, unit: &str) -> Grantee {
        let (account, _) = self.arn.rsplit_once(':').unwrap_or_default();
        Grantee::OrganizationalUnit(format!("{account}:ou/{}/{unit}", self.id()).into())
    }
}

/// A text that is not the ARN of an organization.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected arn:PARTITION:organizations::ACCOUNT:organization/o-…")]
pub struct NotAnOrganizationArn;

impl FromStr for OrganizationArn {
    type Err = NotAnOrganizationArn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(Grantee::Organization(arn)) => Ok(Self { arn }),
            _ => Err(NotAnOrganizationArn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_grantee_is_read_and_written_back_unchanged() {
        for text in [
            "all",
            "000000000001",
            "arn:aws:organizations::111122223333:organization/o-exampleorgid",
            "arn:aws-us-gov:organizations::111122223333:organization/o-exampleorgid",
            "arn:aws-cn:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456",
        ] {
            assert_eq!(text.parse::<Grantee>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_grantee_is_an_error_that_names_it() {
        for text in [
            "",
            "ALL",
            "public",
            "11112222333",
            "1111222233334",
            "1111-2222-3333",
            "o-exampleorgid",
            "arn:aws:organizations::111122223333:organization/o-short",
            "arn:aws:organizations::111122223333:organization/o-exampleorgid/x",
            "arn:aws:organizations::111122223333:root/o-exampleorgid/r-ab12",
            "arn:aws:organizations::111122223333:account/o-exampleorgid/444455556666",
            "arn:aws:organizations::11112222333:organization/o-exampleorgid",
            "arn:aws:organizations:us-east-1:111122223333:organization/o-exampleorgid",
            "arn:azure:organizations::111122223333:organization/o-exampleorgid",
            "arn:aws:iam::111122223333:organization/o-exampleorgid",
            "arn:aws:organizations::111122223333:ou/o-exampleorgid",
            "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-a-cdef3456",
            "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef345",
        ] {
            let error = text.parse::<Grantee>().unwrap_err().to_string();
            assert!(error.contains(&format!("\"{text}\"")), "{error}");
        }
    }

    #[test]
    fn a_mistake_in_an_arn_is_named_by_what_the_arn_is_of() {
        for (resource, words) in [
            (
                "organization/o-short",
                "an organization's ARN ends in organization/o-…",
            ),
            (
                "root/o-exampleorgid/r-ab12",
                "EC2 takes no organization root",
            ),
            (
                "ou/o-exampleorgid",
                "an organizational unit's ARN ends in ou/o-…/ou-…",
            ),
            ("account/o-exampleorgid/444455556666", GRANTEE_FORMS),
        ] {
            let error = format!("arn:aws:organizations::111122223333:{resource}")
                .parse::<Grantee>()
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn an_organization_completes_its_units() {
        let organization: OrganizationArn =
            "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid"
                .parse()
                .unwrap();
        let unit = organization.unit("ou-ab12-cdef3456");
        assert_eq!(
            unit.as_str(),
            "arn:aws-cn:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456"
        );
        assert_eq!(unit.as_str().parse::<Grantee>().unwrap(), unit);
    }

    #[test]
    fn grantees_are_ordered_by_their_bytes() {
        let texts = [
            "arn:aws:organizations::222222222222:organization/o-exampleorgid",
            "arn:aws:organizations::111111111111:ou/o-exampleorgid/ou-ab12-cdef3456",
            "all",
            "999999999999",
        ];
        let sorted: BTreeSet<Grantee> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let written: Vec<&str> = sorted.iter().map(Grantee::as_str).collect();
        assert_eq!(written, [texts[3], texts[2], texts[1], texts[0]]);
    }
}
