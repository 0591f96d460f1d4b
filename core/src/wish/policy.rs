//! The policy in Parameter Store: accounts are added, and existing tags put to use, without
//! touching the function.
//!
//! ```text
//! POLICY_PATH/groups/NAME   a StringList of grantees, which may name other groups
//! POLICY_PATH/rules         a JSON list; a rule stands for tags on every image that it matches
//! POLICY_PATH/rules/NAME    more of them, in the order of their names
//! ```
//!
//! Broken rules stop everything ([`PolicyError`]): an image must not be treated as if no rule
//! mentioned it. A broken group refuses only the directives that use it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{
    grantee_name::is_group_name,
    groups::{Groups, StoredValue},
    rules::{Rule, RulesError, parse_rules},
};
use crate::model::{grantee::OrganizationArn, image::Image};

/// A parameter as Parameter Store shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredParameter {
    /// Its full name, path included.
    pub name: String,
    /// Its value, as far as its type can be used.
    pub value: StoredValue,
    /// When it was changed last.
    pub modified: Option<DateTime<Utc>>,
}

/// A parameter that stops everything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {fault}")]
pub struct PolicyError {
    /// The name of the parameter.
    pub parameter: String,
    /// The reason why it cannot be used.
    pub fault: PolicyFault,
}

/// The fault of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// Rules that do not parse.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The value is a secret, which ami-warden does not read.
    #[error(
        "it is a SecureString, which ami-warden does not read; store it as a String or StringList"
    )]
    Secure,
}

/// Groups and rules as they are now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    groups: Groups,
    rules: Vec<Rule>,
}

impl Policy {
    /// Reads the parameters below `path`. Also returns the names of those that it does not use.
    ///
    /// # Errors
    /// Rules that do not parse, a value that the grammar does not allow included.
    pub fn parse(
        path: &str,
        parameters: Vec<StoredParameter>,
        organization: Option<&OrganizationArn>,
    ) -> Result<(Self, Vec<String>), PolicyError> {
        let sorted = Sorted::by_place(path, parameters);
        let mut rules = Vec::new();
        for (place, parameter) in sorted.rules {
            let StoredParameter { name, value, .. } = parameter;
            let read = match &value {
                StoredValue::Text(json) => parse_rules(&place, json).map_err(PolicyFault::Rules),
                StoredValue::Secure => Err(PolicyFault::Secure),
            };
            rules.extend(read.map_err(|fault| PolicyError {
                parameter: name,
                fault,
            })?);
        }
        let groups = Groups::read(path, sorted.groups, organization);
        Ok((Self { groups, rules }, sorted.unused))
    }

    /// The same with these rules instead of the stored ones, which are not looked at.
    #[must_use]
    pub fn with_rules(
        path: &str,
        parameters: Vec<StoredParameter>,
        organization: Option<&OrganizationArn>,
        rules: Vec<Rule>,
    ) -> (Self, Vec<String>) {
        let sorted = Sorted::by_place(path, parameters);
        let groups = Groups::read(path, sorted.groups, organization);
        (Self { groups, rules }, sorted.unused)
    }

    /// Whether any image could have directives without a tag of its own.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    pub(super) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The rules that match the image, in their order.
    pub(super) fn matching(&self, image: &Image) -> Vec<&Rule> {
        self.rules
            .iter()
            .filter(|rule| rule.matches(image))
            .collect()
    }
}

/// The parameters by their place in the policy.
#[derive(Default)]
struct Sorted {
    groups: BTreeMap<String, StoredValue>,
    /// By the name below the path, `rules` before `rules/NAME`.
    rules: BTreeMap<String, StoredParameter>,
    unused: Vec<String>,
}

impl Sorted {
    fn by_place(path: &str, parameters: Vec<StoredParameter>) -> Self {
        let mut sorted = Self::default();
        for parameter in parameters {
            let place = parameter
                .name
                .strip_prefix(path)
                .and_then(|name| name.strip_prefix('/'));
            let place = place.unwrap_or_default().to_owned();
            let (folder, name) = place.split_once('/').unwrap_or((&place, ""));
            match folder {
                "rules" if place == "rules" || is_group_name(name) => {
                    sorted.rules.insert(place, parameter);
                }
                "groups" if is_group_name(name) => {
                    sorted.groups.insert(name.to_owned(), parameter.value);
                }
                _ => sorted.unused.push(parameter.name),
            }
        }
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &[(&str, &str)]) -> Result<(Policy, Vec<String>), PolicyError> {
        let stored = parameters.iter().map(|(name, value)| StoredParameter {
            name: format!("/ami-warden/{name}"),
            value: StoredValue::Text((*value).to_owned()),
            modified: None,
        });
        Policy::parse("/ami-warden", stored.collect(), None)
    }

    #[test]
    fn parameters_that_are_neither_rules_nor_groups_are_not_used_and_said() {
        let (policy, unused) = parse(&[
            ("group/team", "x"),
            ("groups/a/b", "x"),
            ("groups/ä", "x"),
            ("rules/a/b", "x"),
            ("rules2", "x"),
            ("groups/team", "444455556666"),
        ])
        .unwrap();
        let names = [
            "group/team",
            "groups/a/b",
            "groups/ä",
            "rules/a/b",
            "rules2",
        ];
        assert_eq!(unused, names.map(|name| format!("/ami-warden/{name}")));
        assert!(!policy.has_rules());
        assert!(policy.groups().expand("team").is_ok());
    }

    #[test]
    fn rules_come_first_and_then_their_further_parts_by_name() {
        let rule = |name: &str| format!(r#"[{{"Name": "{name}", "Match": {{}}}}]"#);
        let (policy, _) = parse(&[
            ("rules/b", &rule("third")),
            ("rules/a", &rule("second")),
            ("rules", &rule("first")),
        ])
        .unwrap();
        let names: Vec<_> = policy
            .matching(&crate::testing::image())
            .iter()
            .map(|rule| rule.name())
            .collect();
        assert_eq!(names, ["first", "second", "third"]);
    }

    #[test]
    fn broken_rules_name_their_parameter() {
        for place in ["rules", "rules/team"] {
            let error = parse(&[("rules/good", "[]"), (place, "{}")]).unwrap_err();
            assert_eq!(error.parameter, format!("/ami-warden/{place}"));
        }
    }

    #[test]
    fn rules_in_a_secure_string_are_an_error_that_shows_no_value() {
        let parameter = StoredParameter {
            name: "/p/rules".into(),
            value: StoredValue::Secure,
            modified: None,
        };
        let error = Policy::parse("/p", vec![parameter], None).unwrap_err();
        assert_eq!(error.fault, PolicyFault::Secure);
        assert!(
            error
                .to_string()
                .starts_with("/p/rules: it is a SecureString")
        );
    }

    #[test]
    fn other_rules_replace_the_stored_ones_broken_or_not() {
        let stored = ["rules", "rules/more", "groups/team"].map(|name| StoredParameter {
            name: format!("/p/{name}"),
            value: StoredValue::Text("444455556666".into()),
            modified: None,
        });
        let rules = parse_rules("rules", r#"[{"Match": {}}]"#).unwrap();
        let (policy, unused) = Policy::with_rules("/p", stored.to_vec(), None, rules.clone());
        assert_eq!(policy.rules, rules);
        assert!(policy.groups().expand("team").is_ok() && unused.is_empty());
    }

    #[test]
    fn groups_alone_are_not_rules_so_a_sweep_need_not_look_at_images_without_tags() {
        assert!(
            !parse(&[("groups/team", "444455556666"), ("rules", "[]")])
                .unwrap()
                .0
                .has_rules()
        );
    }
}
