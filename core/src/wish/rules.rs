//! Rules: directives for every image that matches.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, error::Category};
use wildmatch::WildMatchPattern;

use super::{
    copy_permission::CopyPermissionValue,
    deprecate_at::DeprecateAt,
    launch_permission::LaunchPermissionValue,
    statement::{Source, Statement},
    template::Template,
};
use crate::{
    json::{Malformed, Node},
    model::{
        image::{Image, ImdsSupport},
        shared_tag::{SHARED_TAG_PREFIX, check_shared_key},
    },
};

/// The keys of a rule.
const RULE_KEYS: [&str; 8] = [
    "Name",
    "Match",
    "LaunchPermission",
    "Description",
    "ImdsSupport",
    "SharedTags",
    "DeprecateAt",
    "CopyPermission",
];

/// `*` stands for any text, also none. There is no wildcard for a single character.
pub(crate) type Pattern = WildMatchPattern<'*', '\0'>;

/// Rules that do not parse, and the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// Not JSON, or a key twice in one object.
    #[error("{0}")]
    Json(String),
    /// JSON that is not a list of rules.
    #[error("{0}")]
    Malformed(Malformed),
}

/// A rule: directives for every image that matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    name: String,
    /// Patterns of the image's name, of which one must match; `None` for any name.
    name_patterns: Option<Vec<Pattern>>,
    /// Patterns by the key of a tag, of which one must match.
    tag_patterns: BTreeMap<String, Vec<Pattern>>,
    pub(super) launch_permission: Option<String>,
    pub(super) description: Option<String>,
    pub(super) imds_support: Option<String>,
    pub(super) deprecate_at: Option<String>,
    pub(super) copy_permission: Option<String>,
    pub(super) shared_tags: BTreeMap<String, String>,
}

impl Rule {
    /// Its name in refusals; its place in the list if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether all of `Match` holds.
    pub(super) fn matches(&self, image: &Image) -> bool {
        let any = |patterns: &[Pattern], text: Option<&str>| match text {
            Some(text) => patterns.iter().any(|pattern| pattern.matches(text)),
            None => false,
        };
        if let Some(patterns) = &self.name_patterns
            && !any(patterns, image.name.as_deref())
        {
            return false;
        }
        self.tag_patterns
            .iter()
            .all(|(key, patterns)| any(patterns, image.tags.get(key).map(String::as_str)))
    }

    pub(super) fn statement(&self, value: &str) -> Statement {
        Statement {
            source: Source::Rule(self.name.clone()),
            value: value.to_owned(),
        }
    }
}

/// Reads a parameter of rules. Rules without a name are called by `place` and their number.
///
/// # Errors
/// Text that is not a list of rules, or a value that the grammar does not allow. A conflict, an
/// unknown group or placeholder, and a short form that nothing completes show when a rule is used.
pub fn parse_rules(place: &str, json: &str) -> Result<Vec<Rule>, RulesError> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let Unique(value) = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        // "?" stands for a key that was not read to its end.
        let path = error.path().to_string();
        let path = path.trim_end_matches('?').trim_end_matches('.');
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("{path}: ")
        };
        RulesError::Json(format!("{path}{}", explain(json, &error.into_inner())))
    })?;
    // The reader stops behind the list: anything that follows is a mistake.
    if let Err(error) = reader.end() {
        let (line, column) = (error.line(), error.column());
        let message = format!("line {line}, column {column}: text follows the list; delete it");
        return Err(RulesError::Json(message));
    }
    let list = Node::whole(&value, "the list of rules");
    let mut rules = Vec::new();
    for (index, node) in list.items().map_err(RulesError::Malformed)?.enumerate() {
        let unnamed = format!("{place}[{index}]");
        rules.push(read_rule(&node, &unnamed).map_err(RulesError::Malformed)?);
    }
    Ok(rules)
}

/// The error of the JSON reader, its place in front.
fn explain(json: &str, error: &serde_json::Error) -> String {
    if json.trim().is_empty() {
        return "the text is empty; expected a list of rules, [] for none".to_owned();
    }
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let (problem, _) = text.rsplit_once(" at line ").unwrap_or((&text, ""));
    let message = match error.classify() {
        Category::Eof => "the text ends too early: a quote or bracket is not closed".to_owned(),
        // The only data that the reader refuses is a key twice, in our own words.
        Category::Data => problem.to_owned(),
        Category::Syntax | Category::Io => format!("not JSON ({problem}); correct it there"),
    };
    format!("line {line}, column {column}: {message}")
}

fn read_rule(node: &Node<'_>, unnamed: &str) -> Result<Rule, Malformed> {
    node.only(&RULE_KEYS)?;
    refuse_null(node)?;
    let name = match string(node, "Name")? {
        Some(name) if !name.is_empty() => name,
        _ => unnamed.to_owned(),
    };
    let matches = node.require("Match")?;
    matches.only(&["Name", "Tags"])?;
    refuse_null(&matches)?;
    let mut rule = Rule {
        name,
        name_patterns: match matches.get("Name")? {
            Some(patterns) => Some(read_patterns(&patterns)?),
            None => None,
        },
        tag_patterns: BTreeMap::new(),
        launch_permission: string(node, "LaunchPermission")?,
        description: string(node, "Description")?,
        imds_support: string(node, "ImdsSupport")?,
        deprecate_at: string(node, "DeprecateAt")?,
        copy_permission: string(node, "CopyPermission")?,
        shared_tags: BTreeMap::new(),
    };
    if let Some(tags) = matches.get("Tags")? {
        refuse_null(&tags)?;
        for (key, patterns) in tags.entries()? {
            if key.starts_with(SHARED_TAG_PREFIX) {
                return Err(patterns.malformed(format!(
                    "tags below {SHARED_TAG_PREFIX} cannot be matched: on a copy of an image they \
                     are another account's words; match a tag of your own"
                )));
            }
            rule.tag_patterns
                .insert(key.to_owned(), read_patterns(&patterns)?);
        }
    }
    if let Some(tags) = node.get("SharedTags")? {
        refuse_null(&tags)?;
        for (key, value) in tags.entries()? {
            check_shared_key(key).map_err(|error| value.malformed(error))?;
            let text = value.string()?;
            Template::read(text).map_err(|error| value.malformed(error))?;
            rule.shared_tags.insert(key.to_owned(), text.to_owned());
        }
    }
    check_values(node, &rule)?;
    Ok(rule)
}

/// null stands for nothing: an unset template variable must not widen a rule.
fn refuse_null(node: &Node<'_>) -> Result<(), Malformed> {
    for (_, value) in node.entries()? {
        if value.is_null() {
            return Err(value.malformed("null is not a value; leave the key out".to_owned()));
        }
    }
    Ok(())
}

fn string(node: &Node<'_>, key: &str) -> Result<Option<String>, Malformed> {
    match node.get(key)? {
        Some(value) => Ok(Some(value.string()?.to_owned())),
        None => Ok(None),
    }
}

fn read_patterns(node: &Node<'_>) -> Result<Vec<Pattern>, Malformed> {
    if let Ok(pattern) = node.string() {
        return Ok(vec![Pattern::new(pattern)]);
    }
    let Ok(items) = node.items() else {
        return Err(node.expected("a string or a list of strings"));
    };
    let mut patterns = Vec::new();
    for item in items {
        if item.is_null() {
            return Err(item.malformed("null is not a value; take it out"));
        }
        patterns.push(Pattern::new(item.string()?));
    }
    if patterns.is_empty() {
        return Err(node.malformed("an empty list matches nothing; name at least one pattern"));
    }
    Ok(patterns)
}

/// Whether the grammar allows the values of a rule.
fn check_values(node: &Node<'_>, rule: &Rule) -> Result<(), Malformed> {
    let at = |key: &str, error: String| match node.get(key) {
        Ok(Some(value)) => value.malformed(error),
        _ => node.malformed(error),
    };
    if let Some(value) = stated(rule.launch_permission.as_ref()) {
        LaunchPermissionValue::read(&[rule.statement(value)])
            .map_err(|bad| at("LaunchPermission", bad.error.to_string()))?;
    }
    if let Some(value) = stated(rule.copy_permission.as_ref()) {
        CopyPermissionValue::read(&[rule.statement(value)])
            .map_err(|bad| at("CopyPermission", bad.error.to_string()))?;
    }
    if let Some(value) = stated(rule.description.as_ref()) {
        Template::read(value).map_err(|error| at("Description", error.to_string()))?;
    }
    if let Some(value) = stated(rule.imds_support.as_ref()) {
        value
            .parse::<ImdsSupport>()
            .map_err(|error| at("ImdsSupport", error.to_string()))?;
    }
    if let Some(value) = stated(rule.deprecate_at.as_ref()) {
        value
            .parse::<DeprecateAt>()
            .map_err(|error| at("DeprecateAt", error.to_string()))?;
    }
    Ok(())
}

/// The value, unless it is empty: an empty value states nothing.
pub(super) fn stated(value: Option<&String>) -> Option<&str> {
    match value {
        Some(value) if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// JSON in which no object has a key twice: the last one would win, and nobody would see the first.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the key {key:?} stands twice; delete one"
                )));
            }
            let Unique(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::image;

    fn parse(json: &str) -> Result<Vec<Rule>, String> {
        parse_rules("rules", json).map_err(|error| error.to_string())
    }

    fn matches(json: &str, image: &Image) -> bool {
        parse(json).unwrap().iter().any(|rule| rule.matches(image))
    }

    #[test]
    fn a_value_of_another_kind_is_named_as_it_was_written() {
        for value in ["true", "false", "-1", "1", "1.5"] {
            let rules = format!(r#"[{{"Match": {{}}, "Description": {value}}}]"#);
            let message = format!("[0].Description: expected a string, got {value}");
            assert_eq!(parse(&rules), Err(message));
            let message = format!("the list of rules: expected a list, got {value}");
            assert_eq!(parse(value), Err(message));
        }
    }

    #[test]
    fn a_mistake_in_the_json_is_told_with_its_place_below_the_list() {
        for (json, message) in [
            (
                "x",
                "line 1, column 1: not JSON (expected value); correct it there",
            ),
            (
                r#"{"a": 1, "a": 2}"#,
                "line 1, column 12: the key \"a\" stands twice; delete one",
            ),
            (
                r#"[{"Match": {"Name": "a", "Name": "b"}}]"#,
                "[0].Match: line 1, column 31: the key \"Name\" stands twice; delete one",
            ),
        ] {
            assert_eq!(parse(json), Err(message.to_owned()));
        }
    }

    #[test]
    fn all_of_a_match_must_hold_and_one_of_several_patterns() {
        let rules = r#"[{"Match": {"Name": "golden-*",
            "Tags": {"os": ["ubuntu-*", "debian-*"], "release": "stable"}}}]"#;
        let mut matching = image().tag("os", "debian-12").tag("release", "stable");
        matching.name = Some("golden-1".into());
        assert!(matches(rules, &matching));
        for other in [
            matching.clone().tag("os", "windows"),
            matching.clone().tag("release", "Stable"),
            Image {
                name: Some("my-golden-1".into()),
                ..matching.clone()
            },
            Image {
                name: None,
                ..matching.clone()
            },
        ] {
            assert!(!matches(rules, &other));
        }
    }

    #[test]
    fn only_the_star_is_a_wildcard() {
        let rule = |pattern: &str| format!(r#"[{{"Match": {{"Tags": {{"k": "{pattern}"}}}}}}]"#);
        for (pattern, value, expected) in [
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
            let image = image().tag("k", value);
            assert_eq!(
                matches(&rule(pattern), &image),
                expected,
                "{pattern} {value}"
            );
        }
        assert!(
            !matches(&rule("*"), &image()),
            "an absent tag matches nothing"
        );
    }

    #[test]
    fn broken_rules_are_an_error_that_names_the_place() {
        for (rules, place) in [
            ("", "the text is empty"),
            ("{}", "expected a list, got an object"),
            ("[{]", "[0]: line 1, column 3: not JSON"),
            (r#"[{"Match": {}"#, "[0]: line 1, column 13: the text ends"),
            (r#"[{"Match": {"#, "[0].Match: line 1"),
            ("name = x", "line 1, column 2: not JSON"),
            (
                r#"[{"Match": {"Name": ["a", null]}}]"#,
                "[0].Match.Name[1]: null is not a value",
            ),
            (
                r#"[{"Match": {}}] x"#,
                "line 1, column 17: text follows the list",
            ),
            (r#"[{"Name": "x"}]"#, "[0].Match: missing"),
            (
                r#"[{"Match": {}, "Launch": "all"}]"#,
                "[0].Launch: unknown key",
            ),
            (r#"[{"Match": {"Tag": {}}}]"#, "[0].Match.Tag: unknown key"),
            (
                r#"[{"Match": {}}, {"Match": {"Name": []}}]"#,
                "[1].Match.Name",
            ),
            (
                r#"[{"Match": {"Tags": {"os": 1}}}]"#,
                "[0].Match.Tags.os: expected a string or a list",
            ),
            (
                r#"[{"Match": {"Tags": {"os": ["a", 1]}}}]"#,
                "[0].Match.Tags.os[1]: expected a string",
            ),
            (r#"[{"Match": []}]"#, "[0].Match: expected an object"),
            (r#"[["name", {}]]"#, "[0]: expected an object"),
            (
                r#"[{"Match": {}, "LaunchPermission": "444455556666 bob"}]"#,
                "[0].LaunchPermission: \"bob\"",
            ),
            (
                r#"[{"Match": {}, "LaunchPermission": "= -all"}]"#,
                "[0].LaunchPermission",
            ),
            (
                r#"[{"Match": {}, "Description": "{Name"}]"#,
                "[0].Description",
            ),
            (
                r#"[{"Match": {}, "Description": "{tag:ec2:SharedTag/x}"}]"#,
                "[0].Description",
            ),
            (
                r#"[{"Match": {}, "ImdsSupport": "v3.0"}]"#,
                "[0].ImdsSupport: \"v3.0\"",
            ),
            (
                r#"[{"Match": {}, "DeprecateAt": "soon"}]"#,
                "[0].DeprecateAt: \"soon\"",
            ),
            (
                r#"[{"Match": {}, "CopyPermission": "= 444455556666"}]"#,
                "[0].CopyPermission",
            ),
            (
                r#"[{"Match": {}, "SharedTags": {"": "x"}}]"#,
                "1 to 114 characters",
            ),
            (
                r#"[{"Match": {}, "SharedTags": {"a": "{x"}}]"#,
                "[0].SharedTags.a: \"{x\"",
            ),
            (
                r#"[{"Match": {}, "SharedTags": ["a"]}]"#,
                "[0].SharedTags: expected an object",
            ),
            (
                r#"[{"Match": {"Tags": {"ec2:SharedTag/release": "x"}}}]"#,
                "cannot be matched",
            ),
        ] {
            let error = parse(rules).unwrap_err();
            assert!(error.contains(place), "{rules}: {error}");
        }
    }

    #[test]
    fn null_is_an_error_everywhere() {
        for (rules, place) in [
            ("null", "null"),
            ("[null]", "[0]"),
            (r#"[{"Match": null}]"#, "[0].Match"),
            (r#"[{"Match": {"Name": null}}]"#, "[0].Match.Name"),
            (r#"[{"Match": {"Name": ["a", null]}}]"#, "[0].Match.Name[1]"),
            (r#"[{"Match": {"Tags": null}}]"#, "[0].Match.Tags"),
            (r#"[{"Match": {"Tags": {"a": null}}}]"#, "[0].Match.Tags.a"),
            (r#"[{"Name": null, "Match": {}}]"#, "[0].Name"),
            (
                r#"[{"Match": {}, "LaunchPermission": null}]"#,
                "[0].LaunchPermission",
            ),
            (r#"[{"Match": {}, "SharedTags": null}]"#, "[0].SharedTags"),
            (
                r#"[{"Match": {}, "SharedTags": {"a": null}}]"#,
                "[0].SharedTags.a",
            ),
        ] {
            let error = parse(rules).unwrap_err();
            assert!(
                error.contains(place) && error.contains("null"),
                "{rules}: {error}"
            );
        }
    }

    #[test]
    fn a_key_twice_in_one_object_is_an_error() {
        for rules in [
            r#"[{"Match": {}, "Match": {}}]"#,
            r#"[{"Match": {"Tags": {"os": "a", "os": "b"}}}]"#,
            r#"[{"Match": {}, "SharedTags": {"os": "a", "os": "b"}}]"#,
        ] {
            assert!(
                parse(rules).unwrap_err().contains("stands twice"),
                "{rules}"
            );
        }
    }

    #[test]
    fn a_fault_that_depends_on_an_image_or_a_group_does_not_break_the_rules() {
        let rules = r#"[{"Match": {}, "LaunchPermission": "@unknown ou-ab12-cdef3456 111122223333 -111122223333",
            "Description": "{Unknown}", "CopyPermission": "o-exampleorgid"}]"#;
        assert_eq!(parse(rules).unwrap().len(), 1);
    }

    #[test]
    fn a_rule_without_a_name_is_called_by_its_place() {
        let rules = parse_rules(
            "rules/team",
            r#"[{"Match": {}}, {"Match": {}, "Name": ""}]"#,
        )
        .unwrap();
        assert_eq!(
            rules.iter().map(Rule::name).collect::<Vec<_>>(),
            ["rules/team[0]", "rules/team[1]"]
        );
    }
}
