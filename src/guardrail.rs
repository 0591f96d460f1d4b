//! What must not happen: the limits set at deployment that no tag, rule or request can lift.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::{
    image::{GRANTEE_FORMS, Grantee, Image, LaunchPermissions, OrganizationArn, PublicFacts},
    reference::{Completed, Reference, items},
};

/// What a change or a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// `launchPermission`
    LaunchPermission,
    /// `description`
    Description,
    /// `imdsSupport`
    ImdsSupport,
    /// `productCodes`, which can be asked for and not changed
    ProductCodes,
    /// A tag under the prefix that is no directive, by its full key
    UnknownTag(String),
}

impl Attribute {
    /// EC2's name for the attribute, or the mistyped tag's key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::LaunchPermission => "launchPermission",
            Self::Description => "description",
            Self::ImdsSupport => "imdsSupport",
            Self::ProductCodes => "productCodes",
            Self::UnknownTag(key) => key,
        }
    }
}

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why something will not be carried out. The order is the order in which refusals are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// `all` would be added and `ALLOW_PUBLIC` is not `true`.
    PublicNotAllowed,
    /// `all` would be added and a volume or its snapshot is encrypted.
    EncryptedSnapshot,
    /// `all` would be added and nobody says that a snapshot is not encrypted.
    EncryptionUnknown,
    /// `all` would be added and the image has a product code.
    ProductCode,
    /// `all` would be added and block public access for AMIs is on.
    BlockPublicAccess,
    /// `all` would be added and the image is deprecated.
    Deprecated,
    /// A grantee would be added that `ALLOWED_GRANTEES` does not cover.
    GranteeNotAllowed,
    /// More removals than `MAX_REMOVALS`.
    TooManyRemovals,
    /// A directive that does not parse or is not possible.
    InvalidDirective,
    /// Asked for and not possible with EC2's API.
    NotSupported,
    /// EC2 itself said no for good.
    Ec2Refused,
}

impl Code {
    /// The code as it stands in answers, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PublicNotAllowed => "public-not-allowed",
            Self::EncryptedSnapshot => "encrypted-snapshot",
            Self::EncryptionUnknown => "encryption-unknown",
            Self::ProductCode => "product-code",
            Self::BlockPublicAccess => "block-public-access",
            Self::Deprecated => "deprecated",
            Self::GranteeNotAllowed => "grantee-not-allowed",
            Self::TooManyRemovals => "too-many-removals",
            Self::InvalidDirective => "invalid-directive",
            Self::NotSupported => "not-supported",
            Self::Ec2Refused => "ec2-refused",
        }
    }
}

/// A directive, or its additions, that will not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Refusal {
    /// What was asked to change.
    pub attribute: Attribute,
    /// Why not, for machines.
    pub code: Code,
    /// Why not and what to do, for people.
    pub message: String,
    /// What the refusal names: a snapshot, a product code, a grantee, a tag, a rule, or the image.
    pub resource: String,
    /// EC2's own code, where EC2 refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ec2_code: Option<String>,
}

impl Refusal {
    fn of_launch_permission(code: Code, resource: impl Into<String>, message: String) -> Self {
        Self { attribute: Attribute::LaunchPermission, code, message, resource: resource.into(), ec2_code: None }
    }
}

/// Whom tags, rules and requests may let in, besides `all`, which has a switch of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedGrantees {
    /// `*`: anyone but `all`.
    Any,
    /// Exactly these. An organization does not imply its accounts: EC2 treats them as different grantees.
    These(BTreeSet<Grantee>),
}

/// What stands in an allow-list, for error messages.
const ALLOWED_FORMS: &str = "12-digit account ids, ARNs of organizations (arn:PARTITION:organizations::ACCOUNT:organization/o-…) and \
     organizational units (arn:PARTITION:organizations::ACCOUNT:ou/o-…/ou-…), \"o-…\", \"ou-…\", or \"*\" for anyone";

impl Default for AllowedGrantees {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl AllowedGrantees {
    /// Reads a list of accounts, organizations and organizational units (short forms included), or `*`.
    ///
    /// # Errors
    /// A sentence that names the item at fault.
    pub fn parse(list: &str, organization: Option<&OrganizationArn>) -> Result<Self, String> {
        let mut grantees = BTreeSet::new();
        let mut any = false;
        for item in items(list) {
            if item == "*" {
                any = true;
                continue;
            }
            let reference = item.parse::<Reference>().map_err(|error| match error.split_once(GRANTEE_FORMS) {
                Some((head, _)) => format!("{head}{ALLOWED_FORMS}"),
                None => error,
            })?;
            let grantee = match reference.complete(organization)? {
                Completed::Grantee(Grantee::All) => {
                    return Err("\"all\" cannot stand here: whether images may be made public is the setting ALLOW_PUBLIC".into());
                }
                Completed::Group(name) => {
                    return Err(format!(
                        "\"@{name}\" cannot stand here: those who edit groups must not widen the guardrail, so name its grantees"
                    ));
                }
                Completed::Grantee(grantee) => grantee,
            };
            grantees.insert(grantee);
        }
        Ok(if any { Self::Any } else { Self::These(grantees) })
    }

    fn covers(&self, grantee: &Grantee) -> bool {
        match self {
            Self::Any => true,
            Self::These(grantees) => grantees.contains(grantee),
        }
    }
}

/// The limits set at deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guardrails {
    /// May `all` be added at all (`ALLOW_PUBLIC`).
    pub allow_public: bool,
    /// Who else may be added (`ALLOWED_GRANTEES`).
    pub allowed_grantees: AllowedGrantees,
    /// The most removals for one image in one run (`MAX_REMOVALS`); `all` counts as one. `None`: no limit.
    pub max_removals: Option<usize>,
}

impl Guardrails {
    /// Every ground against letting these grantees in, in the order of [`Code`]; empty if they may be added.
    ///
    /// Only for grantees without access: one that already has it needs no permission to keep it.
    #[must_use]
    pub fn refuse_additions(
        &self,
        image: &Image,
        added: &LaunchPermissions,
        facts: &PublicFacts,
        now: DateTime<Utc>,
    ) -> Vec<Refusal> {
        let mut refusals = if added.contains(&Grantee::All) { self.refuse_public(image, facts, now) } else { Vec::new() };
        refusals.extend(added.iter().filter(|grantee| **grantee != Grantee::All && !self.allowed_grantees.covers(grantee)).map(
            |grantee| {
                Refusal::of_launch_permission(
                    Code::GranteeNotAllowed,
                    grantee.as_str(),
                    format!(
                        "{grantee} may not be let in: ALLOWED_GRANTEES does not cover it. Take it out of the directive, or have it \
                         added to the allow-list by those who deploy this function."
                    ),
                )
            },
        ));
        refusals
    }

    /// The ground against this many removals, if there is one.
    #[must_use]
    pub fn refuse_removals(&self, image: &Image, removed: &LaunchPermissions) -> Option<Refusal> {
        let most = self.max_removals?;
        (removed.len() > most).then(|| {
            Refusal::of_launch_permission(
                Code::TooManyRemovals,
                image.id.to_string(),
                format!(
                    "{} grantees would lose access and MAX_REMOVALS allows {most} for one image in one run. If that is meant, take \
                     them away in smaller steps, or have the limit raised by those who deploy this function.",
                    removed.len()
                ),
            )
        })
    }

    /// All grounds against making the image public.
    ///
    /// EC2 refuses images with encrypted volumes, snapshots of encrypted volumes or product codes, and any image while block
    /// public access is on: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/sharingamis-intro.html>. We say so before it
    /// does, for all of them at once.
    fn refuse_public(&self, image: &Image, facts: &PublicFacts, now: DateTime<Utc>) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut refuse = |code, resource: String, message| {
            let known = |refusal: &Refusal| refusal.code == code && refusal.resource == resource;
            if !refusals.iter().any(known) {
                refusals.push(Refusal::of_launch_permission(code, resource, message));
            }
        };
        let id = image.id.to_string();
        if !self.allow_public {
            refuse(
                Code::PublicNotAllowed,
                id.clone(),
                "Images may not be made public here: ALLOW_PUBLIC is not \"true\". Share with accounts or organizations instead, or \
                 have public images allowed by those who deploy this function."
                    .into(),
            );
        }
        for device in &image.devices {
            let name = &device.device;
            let seen = device.snapshot.as_ref().map(|snapshot| facts.snapshots.get(snapshot).copied());
            match (&device.snapshot, seen, device.encrypted) {
                (None, _, Some(true)) => refuse(
                    Code::EncryptedSnapshot,
                    name.clone(),
                    format!("{name} is encrypted, and EC2 makes no image with an encrypted volume public. {REBUILD_UNENCRYPTED}"),
                ),
                (Some(snapshot), _, Some(true)) | (Some(snapshot), Some(Some(Some(true))), _) => refuse(
                    Code::EncryptedSnapshot,
                    snapshot.clone(),
                    format!(
                        "{snapshot} ({name}) is encrypted, and EC2 makes no image with an encrypted snapshot public. \
                         {REBUILD_UNENCRYPTED}"
                    ),
                ),
                (Some(snapshot), Some(None), _) => refuse(
                    Code::EncryptionUnknown,
                    snapshot.clone(),
                    format!(
                        "{snapshot} ({name}) cannot be seen by this account, so nobody can say that it is not encrypted. Copy the \
                         image, so that its snapshots are this account's own, and share the copy."
                    ),
                ),
                (Some(snapshot), Some(Some(None)), None) => refuse(
                    Code::EncryptionUnknown,
                    snapshot.clone(),
                    format!(
                        "EC2 does not say whether {snapshot} ({name}) is encrypted, and an encrypted snapshot cannot be public. Look \
                         at it with describe-snapshots, then tag the image again."
                    ),
                ),
                // Not encrypted: the snapshot says so, or the mapping does and nobody contradicts it, or there is nothing in it.
                (Some(_), _, _) | (None, _, Some(false) | None) => {}
            }
        }
        for product_code in &image.product_codes {
            refuse(
                Code::ProductCode,
                product_code.clone(),
                format!(
                    "The image carries the product code {product_code}, and EC2 makes no image with a product code public. Share it \
                     with accounts or organizations instead."
                ),
            );
        }
        if facts.block_public_access == Some(true) {
            refuse(
                Code::BlockPublicAccess,
                id.clone(),
                "Block public access for AMIs is on in this account and Region. Share with accounts or organizations instead, or have \
                 it turned off (DisableImageBlockPublicAccess; the change takes up to ten minutes)."
                    .into(),
            );
        }
        if let Some(time) = image.deprecation_time.filter(|time| *time <= now) {
            refuse(
                Code::Deprecated,
                id,
                format!(
                    "The image is deprecated since {}, and EC2 withdraws public access from old images. Publish a newer image, or \
                     cancel the deprecation first.",
                    time.format("%Y-%m-%d")
                ),
            );
        }
        // By code, then by what they name: EC2 promises no order of devices.
        refusals.sort_by(|a, b| (a.code, &a.resource).cmp(&(b.code, &b.resource)));
        refusals
    }
}

const REBUILD_UNENCRYPTED: &str =
    "Share it with accounts or organizations instead, or build it again from unencrypted snapshots.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{facts, grantees, image, now};

    fn allow_all() -> Guardrails {
        Guardrails { allow_public: true, allowed_grantees: AllowedGrantees::Any, max_removals: None }
    }

    fn codes(refusals: &[Refusal]) -> Vec<(Code, &str)> {
        refusals.iter().map(|refusal| (refusal.code, refusal.resource.as_str())).collect()
    }

    #[test]
    fn attributes_and_codes_are_written_as_the_contract_names_them() {
        for (attribute, name) in [
            (Attribute::LaunchPermission, "launchPermission"),
            (Attribute::Description, "description"),
            (Attribute::ImdsSupport, "imdsSupport"),
            (Attribute::ProductCodes, "productCodes"),
            (Attribute::UnknownTag("ami-warden:typo".into()), "ami-warden:typo"),
        ] {
            assert_eq!(attribute.as_str(), name);
            assert_eq!(serde_json::to_value(&attribute).unwrap(), name);
        }
        for (code, name) in [
            (Code::PublicNotAllowed, "public-not-allowed"),
            (Code::EncryptedSnapshot, "encrypted-snapshot"),
            (Code::EncryptionUnknown, "encryption-unknown"),
            (Code::ProductCode, "product-code"),
            (Code::BlockPublicAccess, "block-public-access"),
            (Code::Deprecated, "deprecated"),
            (Code::GranteeNotAllowed, "grantee-not-allowed"),
            (Code::TooManyRemovals, "too-many-removals"),
            (Code::InvalidDirective, "invalid-directive"),
            (Code::NotSupported, "not-supported"),
            (Code::Ec2Refused, "ec2-refused"),
        ] {
            assert_eq!(code.as_str(), name);
            assert_eq!(serde_json::to_value(code).unwrap(), name);
        }
    }

    #[test]
    fn a_plain_image_may_be_public_when_that_is_allowed() {
        let image = image().device("/dev/xvda", Some("snap-1"), Some(false));
        assert_eq!(allow_all().refuse_additions(&image, &grantees("all"), &facts(&[("snap-1", Some(false))]), now()), []);
    }

    #[test]
    fn public_is_refused_unless_it_is_allowed() {
        let refusals = Guardrails::default().refuse_additions(&image(), &grantees("all"), &facts(&[]), now());
        assert_eq!(codes(&refusals), [(Code::PublicNotAllowed, "ami-0123456789abcdef0")]);
    }

    #[test]
    fn encryption_is_judged_from_mapping_and_snapshot_together() {
        use Code::{EncryptedSnapshot, EncryptionUnknown};
        // (mapping, snapshot as seen, refusal); an outer None is a snapshot that cannot be seen
        let table = [
            (Some(true), Some(Some(true)), Some(EncryptedSnapshot)),
            (Some(true), Some(Some(false)), Some(EncryptedSnapshot)),
            (Some(true), Some(None), Some(EncryptedSnapshot)),
            (Some(true), None, Some(EncryptedSnapshot)),
            (Some(false), Some(Some(true)), Some(EncryptedSnapshot)),
            (Some(false), Some(Some(false)), None),
            (Some(false), Some(None), None),
            (Some(false), None, Some(EncryptionUnknown)),
            (None, Some(Some(true)), Some(EncryptedSnapshot)),
            (None, Some(Some(false)), None),
            (None, Some(None), Some(EncryptionUnknown)),
            (None, None, Some(EncryptionUnknown)),
        ];
        for (mapping, seen, expected) in table {
            let image = image().device("/dev/xvda", Some("snap-1"), mapping);
            let facts = seen.map_or_else(|| facts(&[]), |encrypted| facts(&[("snap-1", encrypted)]));
            let refusals = allow_all().refuse_additions(&image, &grantees("all"), &facts, now());
            let expected: Vec<(Code, &str)> = expected.into_iter().map(|code| (code, "snap-1")).collect();
            assert_eq!(codes(&refusals), expected, "mapping {mapping:?}, snapshot {seen:?}");
        }
    }

    #[test]
    fn a_volume_without_a_snapshot_counts_by_its_own_flag() {
        for (flag, expected) in [(Some(true), vec![(Code::EncryptedSnapshot, "/dev/sdf")]), (Some(false), vec![]), (None, vec![])]
        {
            let image = image().device("/dev/sdf", None, flag);
            assert_eq!(codes(&allow_all().refuse_additions(&image, &grantees("all"), &facts(&[]), now())), expected);
        }
    }

    #[test]
    fn an_image_past_its_deprecation_time_is_not_made_public() {
        let mut image = image();
        image.deprecation_time = Some(now());
        assert_eq!(
            codes(&allow_all().refuse_additions(&image, &grantees("all"), &facts(&[]), now())),
            [(Code::Deprecated, "ami-0123456789abcdef0")]
        );
        image.deprecation_time = Some(now() + chrono::TimeDelta::seconds(1));
        assert_eq!(allow_all().refuse_additions(&image, &grantees("all"), &facts(&[]), now()), []);
    }

    #[test]
    fn all_grounds_are_reported_in_order_and_once_for_each_resource() {
        let mut image = image()
            .device("/dev/sdh", Some("snap-2"), Some(true))
            .device("/dev/sdg", Some("snap-1"), Some(true))
            .device("/dev/sdi", Some("snap-1"), Some(true))
            .device("/dev/sdj", Some("snap-3"), None);
        image.product_codes = vec!["code2".into(), "code1".into()];
        image.deprecation_time = Some(now());
        let facts = PublicFacts { block_public_access: Some(true), ..facts(&[]) };
        let refusals = Guardrails::default().refuse_additions(&image, &grantees("all 444455556666 222233334444"), &facts, now());
        assert_eq!(
            codes(&refusals),
            [
                (Code::PublicNotAllowed, "ami-0123456789abcdef0"),
                (Code::EncryptedSnapshot, "snap-1"),
                (Code::EncryptedSnapshot, "snap-2"),
                (Code::EncryptionUnknown, "snap-3"),
                (Code::ProductCode, "code1"),
                (Code::ProductCode, "code2"),
                (Code::BlockPublicAccess, "ami-0123456789abcdef0"),
                (Code::Deprecated, "ami-0123456789abcdef0"),
                (Code::GranteeNotAllowed, "222233334444"),
                (Code::GranteeNotAllowed, "444455556666"),
            ]
        );
    }

    #[test]
    fn nothing_about_the_image_matters_to_sharing_it_with_an_account() {
        let mut image = image().device("/dev/sdh", Some("snap-2"), Some(true));
        image.product_codes = vec!["code".into()];
        let facts = PublicFacts { block_public_access: Some(true), ..facts(&[]) };
        assert_eq!(allow_all().refuse_additions(&image, &grantees("444455556666"), &facts, now()), []);
    }

    #[test]
    fn an_organization_on_the_allow_list_does_not_imply_its_accounts_or_units() {
        let organization = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
        let unit = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";
        let guardrails =
            Guardrails { allowed_grantees: AllowedGrantees::parse(organization, None).unwrap(), ..Guardrails::default() };
        let added = grantees(&format!("111122223333 {organization} {unit}"));
        let refusals = guardrails.refuse_additions(&image(), &added, &facts(&[]), now());
        assert_eq!(codes(&refusals), [(Code::GranteeNotAllowed, "111122223333"), (Code::GranteeNotAllowed, unit)]);
    }

    #[test]
    fn an_allow_list_takes_short_forms_of_the_own_organization_and_no_groups_and_no_all() {
        let own: OrganizationArn = "arn:aws:organizations::111122223333:organization/o-exampleorgid".parse().unwrap();
        let parsed = AllowedGrantees::parse("o-exampleorgid, ou-ab12-cdef3456 444455556666", Some(&own)).unwrap();
        let AllowedGrantees::These(grantees) = parsed else { panic!("not a list") };
        assert_eq!(grantees.len(), 3);
        assert_eq!(AllowedGrantees::parse("444455556666 *", None), Ok(AllowedGrantees::Any));
        for bad in ["all", "@team", "o-exampleorgid", "bob"] {
            assert!(AllowedGrantees::parse(bad, None).unwrap_err().contains(bad));
        }
    }

    #[test]
    fn removals_are_counted_against_the_limit() {
        let limit = |most| Guardrails { max_removals: most, ..Guardrails::default() };
        let removed = grantees("all 444455556666");
        assert_eq!(limit(None).refuse_removals(&image(), &removed), None);
        assert_eq!(limit(Some(2)).refuse_removals(&image(), &removed), None);
        assert_eq!(limit(Some(1)).refuse_removals(&image(), &removed).unwrap().code, Code::TooManyRemovals);
        assert_eq!(limit(Some(0)).refuse_removals(&image(), &grantees("")), None);
        assert!(limit(Some(0)).refuse_removals(&image(), &grantees("all")).is_some());
    }
}
