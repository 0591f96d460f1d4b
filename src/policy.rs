//! Groups and rules from Parameter Store: accounts are added, and existing tags put to use, without touching the function.
//!
//! ```text
//! POLICY_PATH/groups/NAME   a StringList of grantees, which may name other groups
//! POLICY_PATH/rules         a JSON list; a rule stands for directive tags on every image it matches
//! ```
//!
//! Rules that are broken stop everything ([`PolicyError`]): an image must not be treated as if no rule mentioned it. A broken group
//! refuses only the directives that use it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use wildmatch::WildMatchPattern;

use crate::{
    directive::{DescriptionTemplate, LaunchPermissionValue, Source, Statement, read_imds_support},
    image::{Grantee, Image, OrganizationArn},
    reference::{Completed, Reference, is_group_name, items},
};

/// Why the policy, or the list of allowed grantees, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {message}. Nothing is done until that is corrected.")]
pub struct PolicyError {
    /// The name of the parameter at fault.
    pub parameter: String,
    /// Where in it, and what is wrong.
    pub message: String,
}

/// Groups and rules as they are now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    path: String,
    groups: BTreeMap<String, String>,
    rules: Vec<Rule>,
}

/// A rule: directives for every image that matches.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Rule {
    /// What refusals call it; its place in the list where it has none.
    #[serde(default)]
    name: String,
    #[serde(rename = "Match")]
    matches: Match,
    /// As the tag `launch-permission`.
    #[serde(default)]
    pub(crate) launch_permission: Option<String>,
    /// As the tag `description`.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// As the tag `imds-support`.
    #[serde(default)]
    pub(crate) imds_support: Option<String>,
}

/// What an image must look like; all of it must hold.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Match {
    #[serde(default)]
    name: Option<Patterns>,
    #[serde(default)]
    tags: BTreeMap<String, Patterns>,
}

/// One pattern, or several of which one must match.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "OneOrMany")]
struct Patterns(Vec<Pattern>);

/// `*` stands for any text, also none. There is no wildcard for a single character.
type Pattern = WildMatchPattern<'*', '\0'>;

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<OneOrMany> for Patterns {
    type Error = &'static str;

    fn try_from(patterns: OneOrMany) -> Result<Self, Self::Error> {
        let patterns = match patterns {
            OneOrMany::One(pattern) => vec![pattern],
            OneOrMany::Many(patterns) => patterns,
        };
        if patterns.is_empty() {
            return Err("an empty list matches nothing; name at least one pattern");
        }
        Ok(Self(patterns.iter().map(|pattern| Pattern::new(pattern)).collect()))
    }
}

impl Patterns {
    fn matches(&self, text: Option<&str>) -> bool {
        text.is_some_and(|text| self.0.iter().any(|pattern| pattern.matches(text)))
    }
}

impl Match {
    fn matches(&self, image: &Image) -> bool {
        self.name.as_ref().is_none_or(|patterns| patterns.matches(image.name.as_deref()))
            && self.tags.iter().all(|(key, patterns)| patterns.matches(image.tags.get(key).map(String::as_str)))
    }
}

impl Policy {
    /// Reads the parameters below `path`, given by their full names.
    ///
    /// # Errors
    /// `rules` that do not parse, a value in them that the grammar does not allow included.
    pub fn parse(path: &str, parameters: impl IntoIterator<Item = (String, String)>) -> Result<Self, PolicyError> {
        let mut policy = Self { path: path.to_owned(), ..Self::default() };
        for (parameter, value) in parameters {
            let name = parameter.strip_prefix(path).and_then(|name| name.strip_prefix('/')).unwrap_or_default();
            if name == "rules" {
                policy.rules = parse_rules(&value).map_err(|message| PolicyError { parameter, message })?;
            } else if let Some(group) = name.strip_prefix("groups/").filter(|group| is_group_name(group)) {
                policy.groups.insert(group.to_owned(), value);
            } else {
                tracing::warn!(event = "policy", parameter, "neither \"rules\" nor \"groups/NAME\": not used");
            }
        }
        Ok(policy)
    }

    /// The same with other rules, which errors call by `name`. What the parameter holds is not looked at.
    ///
    /// # Errors
    /// Rules that do not parse.
    pub fn parse_with_rules(
        path: &str,
        parameters: impl IntoIterator<Item = (String, String)>,
        name: &str,
        rules: &str,
    ) -> Result<Self, PolicyError> {
        let stored = format!("{path}/rules");
        let policy = Self::parse(path, parameters.into_iter().filter(|(parameter, _)| *parameter != stored))?;
        let rules = parse_rules(rules).map_err(|message| PolicyError { parameter: name.to_owned(), message })?;
        Ok(Self { rules, ..policy })
    }

    /// Whether any image could have directives without a tag of its own.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The first rule that matches the image and states the attribute; an empty value states nothing.
    pub(crate) fn first_stating(&self, image: &Image, attribute: impl Fn(&Rule) -> Option<&str>) -> Option<Statement> {
        self.rules.iter().filter(|rule| rule.matches.matches(image)).find_map(|rule| {
            let value = attribute(rule).filter(|value| !value.is_empty())?;
            Some(Statement { source: Source::Rule(rule.name.clone()), value: value.to_owned() })
        })
    }

    /// The grantees of a group, those of the groups it names included.
    ///
    /// # Errors
    /// A sentence: the group, or one it names, does not exist, is part of a cycle, or holds an item that is no grantee.
    pub fn group(&self, name: &str, organization: Option<&OrganizationArn>) -> Result<BTreeSet<Grantee>, String> {
        let mut grantees = BTreeSet::new();
        self.collect(name, organization, &mut Vec::new(), &mut grantees)?;
        Ok(grantees)
    }

    fn collect<'a>(
        &'a self,
        name: &'a str,
        organization: Option<&OrganizationArn>,
        above: &mut Vec<&'a str>,
        grantees: &mut BTreeSet<Grantee>,
    ) -> Result<(), String> {
        if above.contains(&name) {
            return Err(format!(
                "the group \"@{name}\" contains itself (@{} → @{name}); take one of them out of the other",
                above.join(" → @")
            ));
        }
        let Some((name, list)) = self.groups.get_key_value(name) else {
            return Err(if self.path.is_empty() {
                format!("\"@{name}\" names a group, and no policy is set up (POLICY_PATH); name the grantees themselves")
            } else {
                format!(
                    "the group \"@{name}\" does not exist: there is no parameter {}/groups/{name}; create it, or correct the name",
                    self.path
                )
            });
        };
        above.push(name);
        for item in items(list) {
            let broken = |message| format!("the group \"@{name}\" ({}/groups/{name}) is broken: {message}", self.path);
            match item.parse().and_then(|reference: Reference| reference.complete(organization)).map_err(broken)? {
                Completed::Grantee(grantee) => {
                    grantees.insert(grantee);
                }
                Completed::Group(inner) => {
                    let inner = self.groups.get_key_value(&inner).map_or_else(
                        || Err(broken(format!("\"@{inner}\" does not exist; create it, or take it out"))),
                        |(inner, _)| Ok(inner.as_str()),
                    )?;
                    self.collect(inner, organization, above, grantees)?;
                }
            }
        }
        above.pop();
        Ok(())
    }
}

fn parse_rules(json: &str) -> Result<Vec<Rule>, String> {
    let mut rules: Vec<Rule> =
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| {
            match error.path().to_string().as_str() {
                "." => error.inner().to_string(),
                path => format!("{path}: {}", error.inner()),
            }
        })?;
    // The derived parser takes a list for an object too, and an empty one for a match of every image. And it stops behind the list:
    // whatever follows is a mistake.
    let value: Vec<Value> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    for (index, rule) in value.iter().enumerate() {
        for (place, object) in [("", rule), (".Match", &rule["Match"])] {
            if !object.is_object() {
                return Err(format!("[{index}]{place}: expected an object, not {object}"));
            }
        }
    }
    for (index, rule) in rules.iter_mut().enumerate() {
        if rule.name.is_empty() {
            rule.name = format!("rules[{index}]");
        }
        rule.check().map_err(|(key, message)| format!("[{index}].{key}: {message}"))?;
    }
    Ok(rules)
}

impl Rule {
    /// Whether the grammar allows the values. What depends on the image or on a group is seen when the rule is used.
    fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(value) = &self.launch_permission {
            let statement = Statement { source: Source::Rule(self.name.clone()), value: value.clone() };
            LaunchPermissionValue::read(&[statement]).map_err(|fault| ("LaunchPermission", fault.message))?;
        }
        if let Some(value) = &self.description {
            DescriptionTemplate::read(value).map_err(|message| ("Description", message))?;
        }
        if let Some(value) = self.imds_support.as_deref().filter(|value| !value.is_empty()) {
            read_imds_support(value).map_err(|message| ("ImdsSupport", message))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{grantees, image};

    fn policy(parameters: &[(&str, &str)]) -> Result<Policy, PolicyError> {
        let parameters = parameters.iter().map(|(name, value)| (format!("/ami-warden/{name}"), (*value).to_owned()));
        Policy::parse("/ami-warden", parameters)
    }

    fn group(parameters: &[(&str, &str)], name: &str) -> Result<BTreeSet<Grantee>, String> {
        policy(parameters).unwrap().group(name, None)
    }

    fn stated(rules: &str, image: &Image) -> Option<String> {
        policy(&[("rules", rules)])
            .unwrap()
            .first_stating(image, |rule| rule.description.as_deref())
            .map(|statement| statement.value)
    }

    #[test]
    fn a_group_names_grantees_and_other_groups() {
        let parameters = [
            ("groups/all-teams", "@team-a,@team-b"),
            ("groups/team-a", "444455556666"),
            ("groups/team-b", "@team-a,222233334444"),
        ];
        assert_eq!(group(&parameters, "all-teams"), Ok(grantees("444455556666 222233334444")));
    }

    #[test]
    fn a_cycle_breaks_the_groups_in_it_and_what_uses_them() {
        let parameters = [
            ("groups/a", "@b"),
            ("groups/b", "@a"),
            ("groups/user", "@a"),
            ("groups/self", "@self"),
            ("groups/good", "444455556666"),
        ];
        for name in ["a", "b", "user", "self"] {
            assert!(group(&parameters, name).unwrap_err().contains("contains itself"));
        }
        assert_eq!(group(&parameters, "good"), Ok(grantees("444455556666")));
    }

    #[test]
    fn an_unknown_or_broken_group_is_named() {
        let parameters = [
            ("groups/bad", "444455556666,bob"),
            ("groups/outer", "@bad"),
            ("groups/minus", "-444455556666"),
            ("groups/gap", "@gone"),
        ];
        for (name, words) in [
            ("missing", "/ami-warden/groups/missing"),
            ("bad", "\"bob\""),
            ("outer", "\"@bad\""),
            ("minus", "\"-444455556666\""),
            ("gap", "\"@gone\""),
        ] {
            let message = group(&parameters, name).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
        assert!(Policy::default().group("team", None).unwrap_err().contains("POLICY_PATH"));
    }

    #[test]
    fn all_of_a_match_must_hold_and_one_of_several_patterns() {
        let rules = r#"[{"Match": {"Name": "golden-*", "Tags": {"os": ["ubuntu-*", "debian-*"], "release": "stable"}}, "Description": "d"}]"#;
        let mut matching = image().tag("os", "debian-12").tag("release", "stable");
        matching.name = Some("golden-1".into());
        assert_eq!(stated(rules, &matching).as_deref(), Some("d"));
        for other in [
            matching.clone().tag("os", "windows"),
            matching.clone().tag("release", "Stable"),
            Image { name: Some("my-golden-1".into()), ..matching.clone() },
            Image { name: None, ..matching.clone() },
        ] {
            assert_eq!(stated(rules, &other), None);
        }
    }

    #[test]
    fn only_the_star_is_a_wildcard() {
        let rule = |pattern: &str| format!(r#"[{{"Match": {{"Tags": {{"k": "{pattern}"}}}}, "Description": "d"}}]"#);
        for (pattern, value, matches) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a?c", "abc", false),
            ("a?c", "a?c", true),
            ("[ab]", "a", false),
            ("*.1", "v1.1", true),
            ("*.1", "v1.10", false),
            ("a*b*c", "a-b-b-c", true),
        ] {
            assert_eq!(stated(&rule(pattern), &image().tag("k", value)).is_some(), matches, "{pattern} {value}");
        }
        assert_eq!(stated(&rule("*"), &image()), None, "an absent tag matches nothing");
    }

    #[test]
    fn the_first_matching_rule_that_states_the_attribute_wins() {
        let rules = r#"[
            {"Match": {"Tags": {"x": "1"}}, "Description": "other image"},
            {"Match": {}, "ImdsSupport": "v2.0"},
            {"Match": {}, "Description": ""},
            {"Match": {}, "Description": "first"},
            {"Match": {}, "Description": "second"}]"#;
        assert_eq!(stated(rules, &image()).as_deref(), Some("first"));
    }

    #[test]
    fn broken_rules_are_an_error_that_names_the_parameter_and_the_place() {
        for (rules, place) in [
            ("", "EOF"),
            ("{}", "sequence"),
            ("[{]", "line 1"),
            (r#"[{"Match": {}}] x"#, "trailing"),
            (r#"[{"Name": "x"}]"#, "`Match`"),
            (r#"[{"Match": {}, "Launch": "all"}]"#, "`Launch`"),
            (r#"[{"Match": {"Tag": {}}}]"#, "[0].Match"),
            (r#"[{"Match": {}}, {"Match": {"Name": []}}]"#, "[1].Match.Name"),
            (r#"[{"Match": {"Tags": {"os": 1}}}]"#, "[0].Match.Tags.os"),
            (r#"[{"Match": []}]"#, "[0].Match: expected an object"),
            (r#"[["name", {}]]"#, "[0]: expected an object"),
            (r#"[{"Match": {}, "LaunchPermission": "444455556666 bob"}]"#, "[0].LaunchPermission: \"bob\""),
            (r#"[{"Match": {}, "LaunchPermission": "= -all"}]"#, "[0].LaunchPermission"),
            (r#"[{"Match": {}, "Description": "{Name"}]"#, "[0].Description"),
            (r#"[{"Match": {}, "ImdsSupport": "v3.0"}]"#, "[0].ImdsSupport: \"v3.0\""),
        ] {
            let error = policy(&[("rules", rules)]).unwrap_err();
            assert_eq!(error.parameter, "/ami-warden/rules");
            assert!(error.message.contains(place), "{rules}: {}", error.message);
        }
    }

    #[test]
    fn other_rules_take_the_place_of_those_that_are_stored_broken_or_not() {
        let stored =
            || [("groups/team", "444455556666"), ("rules", "broken")].map(|(name, value)| (format!("/p/{name}"), value.into()));
        let policy = Policy::parse_with_rules("/p", stored(), "rules.json", r#"[{"Match": {}, "Description": "d"}]"#).unwrap();
        assert_eq!(policy.first_stating(&image(), |rule| rule.description.as_deref()).unwrap().value, "d");
        assert_eq!(policy.group("team", None), Ok(grantees("444455556666")));
        let error = Policy::parse_with_rules("/p", stored(), "rules.json", "[{}]").unwrap_err();
        assert!(error.to_string().starts_with("rules.json: [0]"), "{error}");
    }

    #[test]
    fn what_depends_on_an_image_or_a_group_does_not_break_the_rules() {
        let rules = r#"[{"Match": {}, "LaunchPermission": "@unknown ou-ab12-cdef3456", "Description": "{Unknown}"}]"#;
        assert!(policy(&[("rules", rules)]).unwrap().has_rules());
    }

    #[test]
    fn groups_alone_are_no_rules_so_a_sweep_need_not_look_at_images_without_tags() {
        assert!(!policy(&[("groups/team", "444455556666")]).unwrap().has_rules());
        assert!(!policy(&[("rules", "[]")]).unwrap().has_rules());
    }
}
