//! The names that people write for grantees in tags, groups and allow-lists: EC2's own forms, short
//! forms of their own organization, and groups.

use std::str::FromStr;

use crate::model::grantee::{
    GRANTEE_FORMS, Grantee, NotAGrantee, OrganizationArn, is_organization_id, is_unit_id,
};

/// The items of a tag's list: separated by spaces or commas, which every service's tags can hold or
/// which people write anyway.
pub fn grantee_items(list: &str) -> impl Iterator<Item = &str> {
    list.split([' ', ',']).filter(|item| !item.is_empty())
}

/// One grantee, or group of grantees, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GranteeName {
    /// A grantee that is written in full.
    Grantee(Grantee),
    /// `o-…`: your organization completes it.
    ShortOrganization(String),
    /// `ou-…`: your organization completes it.
    ShortUnit(String),
    /// `@name`: the policy defines it.
    Group(String),
}

/// A text that is not a name of a grantee.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// `@…` with characters that a group's name cannot have.
    #[error("{0:?} names no group: a group's name has letters, digits and . _ - after the @")]
    Group(String),
    /// `ou-…` that is not an id.
    #[error(
        "{0:?} is not the id of an organizational unit (ou-, 4 to 32 lower-case letters or digits, \
         -, and 8 to 32 more)"
    )]
    Unit(String),
    /// `o-…` that is not an id.
    #[error(
        "{0:?} is not the id of an organization (o- and 10 to 32 lower-case letters or digits)"
    )]
    Organization(String),
    /// A text of none of these forms.
    #[error("{}", .0.explain(&format!(
        "{GRANTEE_FORMS}, \"o-…\", \"ou-…\", or \"@\" and the name of a group"
    )))]
    Grantee(NotAGrantee),
}

impl BadName {
    /// The same error about the text as it was written, with what stands before the name.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        let text = text.to_owned();
        match self {
            Self::Group(_) => Self::Group(text),
            Self::Unit(_) => Self::Unit(text),
            Self::Organization(_) => Self::Organization(text),
            Self::Grantee(NotAGrantee { reason, .. }) => {
                Self::Grantee(NotAGrantee { text, reason })
            }
        }
    }
}

impl FromStr for GranteeName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let owned = || text.to_owned();
        if let Some(name) = text.strip_prefix('@') {
            if is_group_name(name) {
                return Ok(Self::Group(name.to_owned()));
            }
            return Err(BadName::Group(owned()));
        }
        if text.starts_with("ou-") {
            if is_unit_id(text) {
                return Ok(Self::ShortUnit(owned()));
            }
            return Err(BadName::Unit(owned()));
        }
        if text.starts_with("o-") {
            if is_organization_id(text) {
                return Ok(Self::ShortOrganization(owned()));
            }
            return Err(BadName::Organization(owned()));
        }
        text.parse().map(Self::Grantee).map_err(BadName::Grantee)
    }
}

/// A name with its short form completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Completed {
    /// One grantee, by its full name.
    Grantee(Grantee),
    /// A group, by its name: the policy defines it.
    Group(String),
}

/// A short form that nothing completes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// `ORGANIZATION_ARN` is not set, so nothing completes it.
    #[error(
        "{0:?} is a short form, and ORGANIZATION_ARN is not set, so nothing completes it; write \
         the whole ARN, or set ORGANIZATION_ARN"
    )]
    NoOrganization(String),
    /// The id is of another organization than the setting's.
    #[error(
        "{id:?} is not the organization in ORGANIZATION_ARN ({own}); write the whole ARN of \
         another organization"
    )]
    OtherOrganization {
        /// The organization's id as it was written.
        id: String,
        /// The id of your organization.
        own: String,
    },
}

impl GranteeName {
    /// Completes short forms with your organization.
    ///
    /// # Errors
    /// A short form without an organization to complete it, or of another organization.
    pub(crate) fn complete(self, own: Option<&OrganizationArn>) -> Result<Completed, Incomplete> {
        match self {
            Self::Grantee(grantee) => Ok(Completed::Grantee(grantee)),
            Self::Group(name) => Ok(Completed::Group(name)),
            Self::ShortUnit(id) => match own {
                Some(own) => Ok(Completed::Grantee(own.unit(&id))),
                None => Err(Incomplete::NoOrganization(id)),
            },
            Self::ShortOrganization(id) => match own {
                Some(own) if own.id() == id => Ok(Completed::Grantee(own.organization())),
                Some(own) => Err(Incomplete::OtherOrganization {
                    id,
                    own: own.id().to_owned(),
                }),
                None => Err(Incomplete::NoOrganization(id)),
            },
        }
    }
}

/// Whether the text can be the name of a group, which is also the last part of a parameter's name.
#[must_use]
pub fn is_group_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";

    #[test]
    fn items_are_separated_by_spaces_and_commas() {
        assert_eq!(
            grantee_items("  a, b,,c d ,").collect::<Vec<_>>(),
            ["a", "b", "c", "d"]
        );
        assert_eq!(grantee_items(" , ").count(), 0);
    }

    #[test]
    fn every_form_of_a_name_is_recognised() {
        let unit = "ou-ab12-cdef3456";
        assert_eq!("all".parse(), Ok(GranteeName::Grantee(Grantee::All)));
        assert_eq!(
            "o-exampleorgid".parse(),
            Ok(GranteeName::ShortOrganization("o-exampleorgid".into()))
        );
        assert_eq!(unit.parse(), Ok(GranteeName::ShortUnit(unit.into())));
        assert_eq!(
            "@team-a.b_c".parse(),
            Ok(GranteeName::Group("team-a.b_c".into()))
        );
    }

    #[test]
    fn a_text_that_is_no_name_is_an_error_that_quotes_it() {
        for text in ["@", "@a/b", "@ä", "o-Short", "ou-ab12", "bob", "*", "="] {
            let error = text.parse::<GranteeName>().unwrap_err().to_string();
            assert!(error.contains(&format!("\"{text}\"")), "{error}");
        }
    }

    #[test]
    fn short_forms_are_completed_with_your_organization_only() {
        let own: OrganizationArn = OWN.parse().unwrap();
        let complete = |text: &str, own| text.parse::<GranteeName>().unwrap().complete(own);
        assert_eq!(
            complete("o-exampleorgid", Some(&own)),
            Ok(Completed::Grantee(own.organization()))
        );
        for (text, own, named) in [
            ("o-anotherorgid", Some(&own), "o-anotherorgid"),
            ("o-exampleorgid", None, "ORGANIZATION_ARN"),
            ("ou-ab12-cdef3456", None, "ORGANIZATION_ARN"),
        ] {
            let error = complete(text, own).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
