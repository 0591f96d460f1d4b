//! The lists of a deployment: grantees that may be let in, accounts that may copy, tags that may be
//! shown to recipients.

use std::collections::BTreeSet;

use crate::{
    model::{
        grantee::{AccountId, Grantee, OrganizationArn},
        shared_tag::{SHARED_KEY_CHARACTERS_MAX, SHARED_TAG_PREFIX},
    },
    wish::{
        grantee_name::{BadName, Completed, GranteeName, Incomplete},
        groups::stored_items,
        rules::Pattern,
    },
};

/// An item that cannot stand in a list of the deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    /// Not the name of a grantee.
    #[error("{}", explain(.0))]
    Name(BadName),
    /// A short form that nothing completes.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// `all`: `ALLOW_PUBLIC` alone decides about it.
    #[error(
        "\"all\" cannot stand here: the setting ALLOW_PUBLIC decides whether images may become \
         public; expected {ALLOWED_FORMS}"
    )]
    All,
    /// `-all`: without `ALLOW_PUBLIC` it is forbidden anyway.
    #[error(
        "\"-all\" cannot stand here: the setting ALLOW_PUBLIC decides whether images may become \
         public, and \"false\" forbids it; take the item out"
    )]
    NeverAll,
    /// `-*`, which would forbid every grantee.
    #[error(
        "\"-*\" would forbid every grantee: to let nobody be added, leave the whole list empty"
    )]
    NeverAnybody,
    /// A `-` without a grantee behind it.
    #[error("\"-\" names nobody: write the grantee right behind the \"-\"")]
    NamesNobody,
    /// An item that begins with several `-`.
    #[error("{0:?} begins with more than one \"-\": a single one forbids a grantee")]
    SecondMinus(String),
    /// A group: the people who edit it must not widen the guardrail.
    #[error(
        "{0:?} cannot stand here: the people who edit groups must not widen the guardrail, so \
         name the group's grantees"
    )]
    Group(String),
    /// Neither an account nor `*` in the list of copiers.
    #[error("{0:?} cannot stand here: expected 12-digit account ids, or \"*\" for any account")]
    NotACopier(String),
    /// A key of a shared tag with its prefix.
    #[error(
        "{0:?} cannot stand here: write the key without \"{SHARED_TAG_PREFIX}\", for example \
         \"release\" or \"release*\""
    )]
    SharedTagPrefix(String),
    /// A key that no shared tag can have.
    #[error(
        "{0:?} has {1} characters, and the key of a shared tag has at most \
         {SHARED_KEY_CHARACTERS_MAX} behind \"{SHARED_TAG_PREFIX}\": shorten it"
    )]
    SharedTagLength(String, usize),
}

const ALLOWED_FORMS: &str = "12-digit account ids, ARNs of organizations \
     (arn:PARTITION:organizations::ACCOUNT:organization/o-…) and organizational units \
     (arn:PARTITION:organizations::ACCOUNT:ou/o-…/ou-…), \"o-…\", \"ou-…\" or \"*\" for anyone; \
     with a \"-\" in front an item is never added (not \"-*\")";

fn explain(name: &BadName) -> String {
    match name {
        BadName::Grantee(not_a_grantee) => not_a_grantee.explain(ALLOWED_FORMS),
        other => other.to_string(),
    }
}

/// The grantees that tags, rules and requests may let in (`ALLOWED_GRANTEES`); `all` has a setting
/// of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedGrantees {
    any: bool,
    /// Exactly these. An organization does not imply its accounts: EC2 tells them apart.
    these: BTreeSet<Grantee>,
    never: BTreeSet<Grantee>,
}

/// The word of the list on one grantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// It may be let in.
    Allowed,
    NotCovered,
    /// An item with `-` names it.
    Forbidden,
}

impl AllowedGrantees {
    /// The list `*`: anyone may be added.
    #[must_use]
    pub fn any() -> Self {
        Self {
            any: true,
            ..Self::default()
        }
    }

    /// Reads accounts, organizations, organizational units (short forms included) and `*`. Items
    /// with `-` are never added, whatever else the list covers.
    ///
    /// # Errors
    /// The first item that cannot stand in the list.
    pub fn parse(
        list: &str,
        organization: Option<&OrganizationArn>,
    ) -> Result<Self, AllowListError> {
        let mut allowed = Self::default();
        for item in stored_items(list) {
            match (item, item.strip_prefix('-')) {
                ("*", _) => allowed.any = true,
                (_, Some("")) => return Err(AllowListError::NamesNobody),
                (_, Some("*")) => return Err(AllowListError::NeverAnybody),
                (_, Some("all")) => return Err(AllowListError::NeverAll),
                (_, Some(name)) if name.starts_with('-') => {
                    return Err(AllowListError::SecondMinus(item.to_owned()));
                }
                (_, Some(name)) => {
                    allowed
                        .never
                        .insert(read_grantee(item, name, organization)?);
                }
                (name, None) => {
                    allowed
                        .these
                        .insert(read_grantee(item, name, organization)?);
                }
            }
        }
        Ok(allowed)
    }

    /// Whether the grantee may be let in.
    #[must_use]
    pub fn permission(&self, grantee: &Grantee) -> Permission {
        if self.never.contains(grantee) {
            Permission::Forbidden
        } else if self.any || self.these.contains(grantee) {
            Permission::Allowed
        } else {
            Permission::NotCovered
        }
    }
}

/// Reads the name in an item; the message quotes the item as it was written.
fn read_grantee(
    item: &str,
    name: &str,
    organization: Option<&OrganizationArn>,
) -> Result<Grantee, AllowListError> {
    let name: GranteeName = name
        .parse()
        .map_err(|bad: BadName| AllowListError::Name(bad.with_text(item)))?;
    match name.complete(organization)? {
        Completed::Grantee(Grantee::All) => Err(AllowListError::All),
        Completed::Grantee(grantee) => Ok(grantee),
        Completed::Group(_) => Err(AllowListError::Group(item.to_owned())),
    }
}

/// The accounts that may be given the copy permission (`ALLOWED_COPIERS`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedCopiers {
    any: bool,
    these: BTreeSet<AccountId>,
}

impl AllowedCopiers {
    /// The list `*`: any account may copy.
    #[must_use]
    pub fn any() -> Self {
        Self {
            any: true,
            ..Self::default()
        }
    }

    /// Reads accounts, and `*` for any account.
    ///
    /// # Errors
    /// The first item that is neither.
    pub fn parse(list: &str) -> Result<Self, AllowListError> {
        let mut allowed = Self::default();
        for item in stored_items(list) {
            if item == "*" {
                allowed.any = true;
            } else if let Ok(account) = item.parse() {
                allowed.these.insert(account);
            } else {
                return Err(AllowListError::NotACopier(item.to_owned()));
            }
        }
        Ok(allowed)
    }

    /// Whether the account may be given the permission.
    #[must_use]
    pub fn covers(&self, account: &AccountId) -> bool {
        self.any || self.these.contains(account)
    }
}

/// The keys of shared tags that may be written (`SHARED_TAGS`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedTagPatterns(BTreeSet<String>);

impl SharedTagPatterns {
    /// Reads keys without `ec2:SharedTag/`, `*` as wildcard, separated by commas: a key may have
    /// blanks inside.
    ///
    /// # Errors
    /// The first key with the prefix, or longer than a key can be.
    pub fn parse(list: &str) -> Result<Self, AllowListError> {
        let mut patterns = BTreeSet::new();
        for item in list
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            if item.starts_with(SHARED_TAG_PREFIX) {
                return Err(AllowListError::SharedTagPrefix(item.to_owned()));
            }
            let characters = item.chars().count();
            if characters > SHARED_KEY_CHARACTERS_MAX {
                return Err(AllowListError::SharedTagLength(item.to_owned(), characters));
            }
            patterns.insert(item.to_owned());
        }
        Ok(Self(patterns))
    }

    /// Whether the tag with this key behind `ec2:SharedTag/` may be written.
    #[must_use]
    pub fn cover(&self, key: &str) -> bool {
        self.0
            .iter()
            .any(|pattern| Pattern::new(pattern).matches(key))
    }

    /// The patterns, sorted and each once.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
    const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";

    fn parse(list: &str) -> Result<AllowedGrantees, AllowListError> {
        let organization = OWN.parse().unwrap();
        AllowedGrantees::parse(list, Some(&organization))
    }

    fn permission(list: &str, grantee: &str) -> Permission {
        parse(list).unwrap().permission(&grantee.parse().unwrap())
    }

    #[test]
    fn a_list_covers_exactly_the_grantees_that_it_names() {
        let list = "444455556666, o-exampleorgid\n222233334444";
        for (grantee, expected) in [
            ("444455556666", Permission::Allowed),
            ("222233334444", Permission::Allowed),
            (OWN, Permission::Allowed),
            ("333344445555", Permission::NotCovered),
            (UNIT, Permission::NotCovered),
        ] {
            assert_eq!(permission(list, grantee), expected, "{grantee}");
        }
        assert_eq!(permission("", "444455556666"), Permission::NotCovered);
        assert_eq!(AllowedGrantees::default(), parse(" , ").unwrap());
    }

    #[test]
    fn a_star_covers_anyone() {
        for list in ["*", "444455556666,*"] {
            assert_eq!(permission(list, "222233334444"), Permission::Allowed);
            assert_eq!(permission(list, OWN), Permission::Allowed);
        }
    }

    #[test]
    fn an_item_with_a_minus_is_never_added_whatever_else_the_list_covers() {
        for list in [
            "*,-444455556666",
            "-444455556666,*",
            "444455556666,-444455556666",
            "-444455556666 444455556666",
        ] {
            assert_eq!(
                permission(list, "444455556666"),
                Permission::Forbidden,
                "{list}"
            );
        }
        assert_eq!(
            permission("*,-444455556666", "222233334444"),
            Permission::Allowed
        );
        assert_eq!(permission("*,-o-exampleorgid", OWN), Permission::Forbidden);
        assert_eq!(
            permission("*,-ou-ab12-cdef3456", UNIT),
            Permission::Forbidden
        );
        assert_eq!(permission("*,-o-exampleorgid", UNIT), Permission::Allowed);
    }

    #[test]
    fn an_item_that_cannot_stand_in_the_list_is_an_error_that_names_it() {
        for (list, words) in [
            ("444455556666,all", "ALLOW_PUBLIC"),
            ("*,-all", "\"-all\" cannot stand here"),
            ("-*", "\"-*\" would forbid every grantee"),
            ("*,-", "\"-\" names nobody"),
            ("@team", "\"@team\" cannot stand here"),
            ("-@team", "\"-@team\" cannot stand here"),
            (
                "bob",
                "\"bob\" is not a grantee: expected 12-digit account ids",
            ),
            ("-bob", "\"-bob\" is not a grantee"),
            (
                "--444455556666",
                "\"--444455556666\" begins with more than one",
            ),
            ("44445555666", "an account id has 12 digits, this has 11"),
            ("444455556666\u{a0}", "\"444455556666\\u{a0}\""),
            (
                "o-anotherorgid",
                "\"o-anotherorgid\" is not the organization",
            ),
            ("**", "\"**\" is not a grantee"),
        ] {
            let message = parse(list).unwrap_err().to_string();
            assert!(message.contains(words), "{list}: {message}");
        }
        let error = AllowedGrantees::parse("ou-ab12-cdef3456", None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("ORGANIZATION_ARN"), "{error}");
    }

    #[test]
    fn copiers_are_accounts_or_anyone() {
        let account = |text: &str| text.parse().unwrap();
        let some = AllowedCopiers::parse("444455556666, 222233334444").unwrap();
        assert!(some.covers(&account("222233334444")) && !some.covers(&account("333344445555")));
        assert!(
            AllowedCopiers::parse("*")
                .unwrap()
                .covers(&account("333344445555"))
        );
        assert_eq!(AllowedCopiers::parse("*"), Ok(AllowedCopiers::any()));
        assert!(
            !AllowedCopiers::parse("")
                .unwrap()
                .covers(&account("333344445555"))
        );
        for item in [
            "all",
            "o-exampleorgid",
            OWN,
            "@team",
            "-444455556666",
            "4444",
            "-*",
        ] {
            let message = AllowedCopiers::parse(item).unwrap_err().to_string();
            assert!(
                message.contains(&format!("{item:?} cannot stand here")),
                "{message}"
            );
        }
    }

    #[test]
    fn patterns_of_shared_tags_cover_keys_with_a_star_as_wildcard() {
        let patterns = SharedTagPatterns::parse("release, os-* ,two words").unwrap();
        for (key, covered) in [
            ("release", true),
            ("releases", false),
            ("Release", false),
            ("os-", true),
            ("os-name", true),
            ("os", false),
            ("two words", true),
            ("two", false),
            ("words", false),
        ] {
            assert_eq!(patterns.cover(key), covered, "{key}");
        }
        assert_eq!(
            patterns.iter().collect::<Vec<_>>(),
            ["os-*", "release", "two words"]
        );
        assert!(!SharedTagPatterns::parse("").unwrap().cover("release"));
        assert!(
            SharedTagPatterns::parse("*")
                .unwrap()
                .cover("anything at all")
        );
        assert!(
            !SharedTagPatterns::parse("r?lease")
                .unwrap()
                .cover("release")
        );
    }

    #[test]
    fn a_key_of_a_shared_tag_has_no_prefix_and_at_most_114_characters() {
        let error = SharedTagPatterns::parse("a,ec2:SharedTag/x")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"ec2:SharedTag/x\"") && error.contains("without"),
            "{error}"
        );
        assert!(SharedTagPatterns::parse(&"ä".repeat(114)).is_ok());
        let error = SharedTagPatterns::parse(&"ä".repeat(115))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("115 characters") && error.contains("114"),
            "{error}"
        );
    }
}
