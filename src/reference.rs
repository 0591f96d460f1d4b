//! How people write grantees in tags, groups and allow-lists: EC2's own forms, short forms of one's own organization, and groups.

use std::str::FromStr;

use crate::image::{GRANTEE_FORMS, Grantee, OrganizationArn, is_organization_id, is_unit_id};

/// The items of a list: separated by spaces or commas, the two separators that tags of every service can hold or that people
/// write anyway.
pub fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split([' ', ',']).filter(|item| !item.is_empty())
}

/// One grantee, or group of grantees, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// Written in full.
    Grantee(Grantee),
    /// `o-…`: to be completed with the own organization.
    ShortOrganization(String),
    /// `ou-…`: to be completed with the own organization.
    ShortUnit(String),
    /// `@name`: to be looked up in the policy.
    Group(String),
}

impl FromStr for Reference {
    /// A sentence that names the text and what it may be.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(name) = text.strip_prefix('@') {
            return if is_group_name(name) {
                Ok(Self::Group(name.to_owned()))
            } else {
                Err(format!("\"{text}\" names no group: a group's name has letters, digits and . _ - after the @"))
            };
        }
        if text.starts_with("ou-") {
            return if is_unit_id(text) {
                Ok(Self::ShortUnit(text.to_owned()))
            } else {
                Err(format!("\"{text}\" is not the id of an organizational unit (ou-ROOT-UNIT)"))
            };
        }
        if text.starts_with("o-") {
            return if is_organization_id(text) {
                Ok(Self::ShortOrganization(text.to_owned()))
            } else {
                Err(format!("\"{text}\" is not the id of an organization (o- and 10 to 32 lower-case letters or digits)"))
            };
        }
        text.parse().map(Self::Grantee).map_err(|error: crate::image::NotAGrantee| {
            let error = error.to_string();
            match error.strip_suffix(GRANTEE_FORMS) {
                Some(head) => format!("{head}{GRANTEE_FORMS}, \"o-…\", \"ou-…\", or \"@\" and the name of a group"),
                None => error,
            }
        })
    }
}

/// What a reference stands for once short forms are completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completed {
    /// One grantee.
    Grantee(Grantee),
    /// A group, by its name: to be looked up in the policy.
    Group(String),
}

impl Reference {
    /// Completes short forms with the own organization.
    ///
    /// # Errors
    /// A sentence saying what is missing.
    pub fn complete(self, own: Option<&OrganizationArn>) -> Result<Completed, String> {
        match self {
            Self::Grantee(grantee) => Ok(Completed::Grantee(grantee)),
            Self::ShortOrganization(id) => complete_organization(&id, own).map(Completed::Grantee),
            Self::ShortUnit(id) => complete_unit(&id, own).map(Completed::Grantee),
            Self::Group(name) => Ok(Completed::Group(name)),
        }
    }
}

/// Whether the text can be the name of a group, which is also the last part of a Parameter Store name.
#[must_use]
pub fn is_group_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn complete_organization(id: &str, own: Option<&OrganizationArn>) -> Result<Grantee, String> {
    match own {
        Some(own) if own.id() == id => Ok(own.organization()),
        Some(own) => Err(format!(
            "\"{id}\" is not the organization in ORGANIZATION_ARN ({}); write the whole ARN of another organization",
            own.id()
        )),
        None => Err(short_form_without_organization(id)),
    }
}

fn complete_unit(id: &str, own: Option<&OrganizationArn>) -> Result<Grantee, String> {
    own.map(|own| own.unit(id)).ok_or_else(|| short_form_without_organization(id))
}

fn short_form_without_organization(id: &str) -> String {
    format!(
        "\"{id}\" is a short form, and the setting ORGANIZATION_ARN that completes it is not set; write the whole ARN or set it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_separated_by_spaces_and_commas() {
        assert_eq!(items("  a, b,,c d ,").collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(items(" , ").count(), 0);
    }

    #[test]
    fn every_form_of_a_reference_is_recognised() {
        assert_eq!("all".parse(), Ok(Reference::Grantee(Grantee::All)));
        assert_eq!("o-exampleorgid".parse(), Ok(Reference::ShortOrganization("o-exampleorgid".into())));
        assert_eq!("ou-ab12-cdef3456".parse(), Ok(Reference::ShortUnit("ou-ab12-cdef3456".into())));
        assert_eq!("@team-a.b_c".parse(), Ok(Reference::Group("team-a.b_c".into())));
    }

    #[test]
    fn what_is_no_reference_is_an_error_that_names_it() {
        for text in ["@", "@a/b", "@ä", "o-Short", "ou-ab12", "bob", "*", "="] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.contains(&format!("\"{text}\"")), "{error}");
        }
    }

    #[test]
    fn short_forms_are_completed_with_the_own_organization_only() {
        let own: OrganizationArn = "arn:aws:organizations::111122223333:organization/o-exampleorgid".parse().unwrap();
        assert_eq!(complete_organization("o-exampleorgid", Some(&own)), Ok(own.organization()));
        assert!(complete_organization("o-anotherorgid", Some(&own)).unwrap_err().contains("o-anotherorgid"));
        assert!(complete_organization("o-exampleorgid", None).unwrap_err().contains("ORGANIZATION_ARN"));
        assert!(complete_unit("ou-ab12-cdef3456", None).unwrap_err().contains("ORGANIZATION_ARN"));
    }
}
