//! One wish for each attribute, from directive tags, policy rules or a request.
//!
//! Tags are only text until they are read here. A text that does not parse becomes a [`Refusal`]
//! and never a change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use super::{
    context::WishContext,
    copy_permission::{CopyPermissionValue, CopyPermissionWish},
    deprecate_at::{DeprecateAt, DeprecationWish},
    grantee_name::grantee_items,
    launch_permission::{LaunchPermissionValue, LaunchPermissionWish},
    rules::{Rule, stated},
    statement::{BadStatement, Source, Statement},
    tags::{DirectiveTags, Hold},
    template::{Template, TemplateError},
};
use crate::model::{
    image::{Image, ImdsSupport},
    refusal::{Attribute, Ground, Refusal},
    shared_tag::{BadSharedKey, check_shared_key},
};

/// The directives behind the prefix, for error messages.
const DIRECTIVES: &str = "launch-permission, launch-permission:ANYTHING, description, \
     imds-support, shared-tag:KEY, deprecate-at, copy-permission, copy-permission:ANYTHING or hold";

/// One wish as its author wrote it, for people who ask why an image is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// The attribute that it is about.
    pub attribute: Attribute,
    /// Its value as stated, before placeholders and groups.
    pub value: String,
    /// The tags, or the rule, or the request, that state it.
    pub sources: Vec<Source>,
}

/// All wishes for one image, and those that cannot be understood. `None` leaves an attribute alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// Who is to have access.
    pub launch_permission: Option<LaunchPermissionWish>,
    /// The description, placeholders filled in.
    pub description: Option<String>,
    /// `v2.0`, EC2's only value, if it is asked for.
    pub imds_support: Option<ImdsSupport>,
    /// When EC2 is to deprecate the image.
    pub deprecation: Option<DeprecationWish>,
    /// The shared tags, by the key behind `ec2:SharedTag/`; `None` deletes the tag.
    pub shared_tags: BTreeMap<String, Option<String>>,
    /// Who is to be able to copy the image.
    pub copy_permission: Option<CopyPermissionWish>,
    /// Wishes that do not parse or are not possible.
    pub refusals: Vec<Refusal>,
    /// The statements and their authors.
    pub stated: Vec<Directive>,
}

impl Directives {
    /// The wishes of the image's own tags and, for attributes that they leave open, of the policy's
    /// rules.
    #[must_use]
    pub fn of(image: &Image, tags: &DirectiveTags, context: &WishContext<'_>) -> Self {
        let mut directives = Self::default();
        for key in &tags.unknown {
            directives.refuse_unknown(key, tags.hold);
        }
        let rules = context.policy.matching(image);
        directives.read_launch_permission(image, tags, &rules, context);
        directives.read_copy_permission(image, tags, &rules, context);
        let own_or_rule = |own: &Option<Statement>, of: fn(&Rule) -> Option<&String>| match own {
            Some(own) => Some(own.clone()),
            None => first_stating(&rules, of),
        };
        if let Some(statement) = own_or_rule(&tags.description, |rule| rule.description.as_ref()) {
            directives.description = directives.read(&Attribute::Description, statement, |text| {
                Template::read(text)?.description(image)
            });
        }
        if let Some(statement) = own_or_rule(&tags.imds_support, |rule| rule.imds_support.as_ref())
        {
            directives.imds_support = directives.read(
                &Attribute::ImdsSupport,
                statement,
                str::parse::<ImdsSupport>,
            );
        }
        if let Some(statement) = own_or_rule(&tags.deprecate_at, |rule| rule.deprecate_at.as_ref())
        {
            directives.deprecation =
                directives.read(&Attribute::DeprecationTime, statement, |text| {
                    text.parse::<DeprecateAt>()?.resolve(image)
                });
        }
        directives.read_shared_tags(image, tags, &rules);
        directives
    }

    /// Whether nothing at all is said about the image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stated.is_empty() && self.refusals.is_empty()
    }

    /// The author of the wish for an attribute; the first of several.
    #[must_use]
    pub fn source(&self, attribute: &Attribute) -> Option<&Source> {
        let directive = self
            .stated
            .iter()
            .find(|directive| directive.attribute == *attribute)?;
        directive.sources.first()
    }

    fn read_launch_permission(
        &mut self,
        image: &Image,
        tags: &DirectiveTags,
        rules: &[&Rule],
        context: &WishContext<'_>,
    ) {
        let statements = own_or_first(&tags.launch_permission, || {
            first_stating(rules, |rule| list(rule.launch_permission.as_ref()))
        });
        if statements.is_empty() {
            return;
        }
        self.state(Attribute::LaunchPermission, &statements);
        let wish = match LaunchPermissionValue::read(&statements) {
            Ok(Some(value)) => value.resolve(&context.names(), &image.owner),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        self.launch_permission = self.keep(&Attribute::LaunchPermission, wish);
    }

    fn read_copy_permission(
        &mut self,
        image: &Image,
        tags: &DirectiveTags,
        rules: &[&Rule],
        context: &WishContext<'_>,
    ) {
        let statements = own_or_first(&tags.copy_permission, || {
            first_stating(rules, |rule| list(rule.copy_permission.as_ref()))
        });
        if statements.is_empty() {
            return;
        }
        self.state(Attribute::CreateVolumePermission, &statements);
        let wish = match CopyPermissionValue::read(&statements) {
            Ok(Some(value)) => value.resolve(&context.names(), &image.owner),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        self.copy_permission = self.keep(&Attribute::CreateVolumePermission, wish);
    }

    fn read_shared_tags(&mut self, image: &Image, tags: &DirectiveTags, rules: &[&Rule]) {
        let mut keys: BTreeSet<&String> = tags.shared_tags.keys().collect();
        for rule in rules {
            keys.extend(rule.shared_tags.keys());
        }
        for key in keys {
            let statement = match tags.shared_tags.get(key) {
                Some(own) => Some(own.clone()),
                None => first_stating(rules, |rule| rule.shared_tags.get(key)),
            };
            let Some(statement) = statement else {
                continue;
            };
            let attribute = Attribute::SharedTag(key.clone());
            let wish = self.read(&attribute, statement, |text| {
                check_shared_key(key)?;
                if text == "-" {
                    return Ok(None);
                }
                Ok::<_, BadSharedTag>(Some(Template::read(text)?.shared_tag(image)?))
            });
            if let Some(value) = wish {
                self.shared_tags.insert(key.clone(), value);
            }
        }
    }

    fn refuse_unknown(&mut self, key: &str, hold: Hold) {
        let held = match hold {
            Hold::Mistyped => " It looks like hold, so the image is left alone until then.",
            Hold::No | Hold::Yes => "",
        };
        let message = format!(
            "{key:?} is not a directive. The prefix may be followed by {DIRECTIVES}. Correct the \
             key, or delete the tag.{held}"
        );
        self.refusals.push(Refusal::new(
            Attribute::UnknownTag(key.to_owned()),
            Ground::InvalidDirective {
                author: key.into(),
                message,
            },
        ));
    }

    /// Reads one statement of an attribute.
    fn read<T, E: Display>(
        &mut self,
        attribute: &Attribute,
        statement: Statement,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.state(attribute.clone(), std::slice::from_ref(&statement));
        let Statement { source, value } = statement;
        let read = read(&value).map_err(|error| BadStatement { source, error });
        self.keep(attribute, read)
    }

    fn state(&mut self, attribute: Attribute, statements: &[Statement]) {
        let values: Vec<&str> = statements
            .iter()
            .map(|statement| statement.value.as_str())
            .collect();
        self.stated.push(Directive {
            attribute,
            value: values.join(" "),
            sources: statements
                .iter()
                .map(|statement| statement.source.clone())
                .collect(),
        });
    }

    fn keep<T, E: Display>(
        &mut self,
        attribute: &Attribute,
        value: Result<T, BadStatement<E>>,
    ) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(BadStatement { source, error }) => {
                self.refusals
                    .push(invalid(attribute, &source, &error.to_string()));
                None
            }
        }
    }
}

/// A shared tag whose key or value EC2 does not take.
#[derive(Debug, thiserror::Error)]
enum BadSharedTag {
    #[error(transparent)]
    Key(#[from] BadSharedKey),
    #[error(transparent)]
    Value(#[from] TemplateError),
}

/// The refusal of a statement that does not parse or is not possible.
#[must_use]
pub(crate) fn invalid(attribute: &Attribute, source: &Source, error: &str) -> Refusal {
    let message = format!("{}{error}.", source.subject());
    let author = source.to_string().into();
    Refusal::new(
        attribute.clone(),
        Ground::InvalidDirective { author, message },
    )
}

/// The image's own statements, if they state anything, else the rule's.
fn own_or_first(own: &[Statement], rule: impl FnOnce() -> Option<Statement>) -> Vec<Statement> {
    if own
        .iter()
        .any(|statement| grantee_items(&statement.value).next().is_some())
    {
        own.to_vec()
    } else {
        rule().into_iter().collect()
    }
}

/// The list of a rule, unless it holds nothing but separators: then it states nothing.
fn list(value: Option<&String>) -> Option<&String> {
    value.filter(|value| grantee_items(value).next().is_some())
}

/// The statement of the first rule that states the attribute.
fn first_stating(rules: &[&Rule], of: impl Fn(&Rule) -> Option<&String>) -> Option<Statement> {
    for rule in rules {
        if let Some(value) = stated(of(rule)) {
            return Some(rule.statement(value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::refusal::RefusalCode,
        testing::{accounts, grantees, image},
        wish::{
            groups::StoredValue,
            policy::{Policy, StoredParameter},
        },
    };

    const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";

    fn directives(image: &Image) -> Directives {
        directives_with(image, &Policy::default())
    }

    fn directives_with(image: &Image, policy: &Policy) -> Directives {
        let organization = ORGANIZATION.parse().unwrap();
        let context = WishContext {
            policy,
            organization: Some(&organization),
            partition: "aws",
        };
        Directives::of(
            image,
            &DirectiveTags::read(&image.tags, "ami-warden:"),
            &context,
        )
    }

    fn launch_permission(value: &str) -> Result<LaunchPermissionWish, String> {
        let directives = directives(&image().tag("ami-warden:launch-permission", value));
        directives.launch_permission.ok_or_else(|| {
            let refusal = &directives.refusals[0];
            assert_eq!(
                (&refusal.attribute, refusal.code()),
                (&Attribute::LaunchPermission, RefusalCode::InvalidDirective)
            );
            assert_eq!(refusal.resource(), "ami-warden:launch-permission");
            refusal.message()
        })
    }

    fn edit(add: &str, remove: &str) -> LaunchPermissionWish {
        LaunchPermissionWish::Edit {
            add: grantees(add),
            remove: grantees(remove),
        }
    }

    #[test]
    fn nothing_is_said_about_an_image_without_a_directive_and_without_a_mistyped_one() {
        assert!(directives(&image().tag("Name", "golden")).is_empty());
        assert!(!directives(&image().tag("ami-warden:description", "d")).is_empty());
        let mistyped = directives(&image().tag("ami-warden:descripton", "d"));
        assert!(mistyped.stated.is_empty() && !mistyped.is_empty());
    }

    #[test]
    fn plain_items_add_and_items_with_a_minus_remove() {
        assert_eq!(
            launch_permission("444455556666, -222233334444  -all"),
            Ok(edit("444455556666", "222233334444 all"))
        );
    }

    #[test]
    fn an_equals_sign_names_exactly_who_has_access() {
        let exactly = |list| Ok(LaunchPermissionWish::Exactly(grantees(list)));
        for value in ["= 444455556666", "=444455556666", "  =  444455556666"] {
            assert_eq!(launch_permission(value), exactly("444455556666"), "{value}");
        }
        assert_eq!(launch_permission("="), exactly(""));
    }

    #[test]
    fn short_forms_are_completed() {
        let wish = edit(
            &format!(
                "{ORGANIZATION} arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456"
            ),
            "",
        );
        assert_eq!(
            launch_permission("o-exampleorgid ou-ab12-cdef3456"),
            Ok(wish)
        );
    }

    #[test]
    fn the_owners_own_id_is_accepted_and_means_nothing() {
        assert_eq!(
            launch_permission("111122223333 444455556666"),
            Ok(edit("444455556666", ""))
        );
        assert_eq!(launch_permission("-111122223333"), Ok(edit("", "")));
    }

    #[test]
    fn a_value_that_does_not_parse_is_refused_whole_and_names_the_item() {
        for (value, item) in [
            ("444455556666 bob", "\"bob\""),
            ("444455556666 -", "\"-\""),
            (
                "--444455556666",
                "\"--444455556666\" begins with more than one",
            ),
            ("444455556666 = 222233334444", "\"=\""),
            ("== 222233334444", "\"=\""),
            ("= -222233334444", "\"-222233334444\""),
            ("444455556666 -444455556666", "\"-444455556666\""),
            ("-444455556666 444455556666", "\"444455556666\""),
            (
                "o-exampleorgid -arn:aws:organizations::111122223333:organization/o-exampleorgid",
                "both added and removed",
            ),
            (
                "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid",
                "partition aws-cn",
            ),
            ("@team", "\"@team\""),
            ("o-anotherorgid", "\"o-anotherorgid\""),
            (
                "444455556666\t222233334444",
                "\"444455556666\\t222233334444\"",
            ),
        ] {
            let message = launch_permission(value).unwrap_err();
            assert!(message.contains(item), "{value}: {message}");
        }
    }

    #[test]
    fn suffixed_keys_are_joined_in_key_order() {
        let tagged = image()
            .tag("ami-warden:launch-permission:b", "222233334444")
            .tag("ami-warden:launch-permission:a", "-all")
            .tag("ami-warden:launch-permission", "444455556666");
        assert_eq!(
            directives(&tagged).launch_permission,
            Some(edit("222233334444 444455556666", "all"))
        );

        let exactly = image()
            .tag("ami-warden:launch-permission", " ")
            .tag("ami-warden:launch-permission:a", "= 444455556666");
        assert_eq!(
            directives(&exactly).launch_permission,
            Some(LaunchPermissionWish::Exactly(grantees("444455556666")))
        );

        let late = image()
            .tag("ami-warden:launch-permission", "222233334444")
            .tag("ami-warden:launch-permission:a", "= 444455556666");
        let refused = directives(&late);
        assert_eq!(
            (refused.launch_permission, refused.refusals[0].resource()),
            (None, "ami-warden:launch-permission:a".into())
        );
    }

    #[test]
    fn absent_and_empty_tags_are_no_opinion() {
        let image = image()
            .tag("ami-warden:launch-permission", " , ")
            .tag("ami-warden:launch-permission:x", "")
            .tag("ami-warden:description", "")
            .tag("ami-warden:imds-support", "")
            .tag("ami-warden:hold", "")
            .tag("Name", "golden");
        assert!(directives(&image).is_empty());
        assert_eq!(
            DirectiveTags::read(&image.tags, "ami-warden:").hold,
            Hold::No
        );
    }

    #[test]
    fn an_unknown_key_under_the_prefix_is_refused_even_when_it_is_empty() {
        for key in [
            "ami-warden:",
            "ami-warden:launch-permissions",
            "ami-warden:launch-permission:",
            "ami-warden:Hold",
            "ami-warden:description:x",
            "ami-warden:shared-tag",
            "ami-warden:shared-tag:",
            "ami-warden:copy-permission:",
            "ami-warden:deprecate-at:x",
        ] {
            let directives =
                directives(&image().tag(key, "").tag("ami-warden:description", "golden"));
            assert_eq!(
                directives.refusals[0].attribute,
                Attribute::UnknownTag(key.into())
            );
            assert_eq!(directives.refusals[0].resource(), key);
            assert_eq!(
                directives.description.as_deref(),
                Some("golden"),
                "the other directives go on"
            );
        }
    }

    #[test]
    fn placeholders_are_filled_from_the_image() {
        let mut image = image().tag("version", "1.2");
        image.name = Some("golden".into());
        image.creation_date = Some("2026-03-25T16:30:25.000Z".into());
        image.source_image_id = Some("ami-0fedcba9".into());
        image.architecture = Some("arm64".into());
        let image = image.tag(
            "ami-warden:description",
            "{Name} {ImageId} {CreationDate} {SourceImageId} {Architecture} v{tag:version}",
        );
        assert_eq!(
            directives(&image).description.as_deref(),
            Some("golden ami-0123456789abcdef0 2026-03-25T16:30:25.000Z ami-0fedcba9 arm64 v1.2")
        );
    }

    #[test]
    fn a_description_that_ec2_would_not_take_is_refused() {
        let long = "x".repeat(256);
        for (value, reason) in [
            ("{name}", "{name}"),
            ("{tag:missing}", "{tag:missing}"),
            ("{tag:empty}", "{tag:empty}"),
            ("{SourceImageId}", "{SourceImageId}"),
            ("{Name", "without a }"),
            ("Name}", "without a {"),
            ("{{Name}}", "{{Name}"),
            (" ", "empty"),
            ("golden \u{2014} image", "\u{2014}"),
            ("golden\nimage", "'\\n'"),
            ("golden \u{7f}", "\\u{7f}"),
            ("{tag:ec2:SharedTag/release}", "another account's words"),
            (long.as_str(), "256"),
        ] {
            let directives = directives(
                &image()
                    .tag("empty", "")
                    .tag("ami-warden:description", value),
            );
            assert_eq!(directives.description, None, "{value}");
            assert_eq!(directives.refusals[0].attribute, Attribute::Description);
            assert!(
                directives.refusals[0].message().contains(reason),
                "{}",
                directives.refusals[0].message()
            );
        }
        let longest = "x".repeat(255);
        assert_eq!(
            directives(&image().tag("ami-warden:description", &longest)).description,
            Some(longest)
        );
    }

    #[test]
    fn imds_support_is_exactly_v2_0() {
        assert_eq!(
            directives(&image().tag("ami-warden:imds-support", "v2.0")).imds_support,
            Some(ImdsSupport::V2)
        );
        for value in ["V2.0", "v2", "2.0", "v2.0 ", "required"] {
            let directives = directives(&image().tag("ami-warden:imds-support", value));
            assert_eq!(
                (directives.imds_support, directives.refusals[0].code()),
                (None, RefusalCode::InvalidDirective)
            );
            assert!(
                directives.refusals[0]
                    .message()
                    .contains(&format!("\"{value}\""))
            );
        }
    }

    fn rules(json: &str) -> Policy {
        let parameter = |name: &str, value: &str| StoredParameter {
            name: format!("/p/{name}"),
            value: StoredValue::Text(value.to_owned()),
            modified: None,
        };
        let parameters = vec![
            parameter("rules", json),
            parameter("groups/builders", "444455556666,222233334444"),
            parameter("groups/mixed", "444455556666,all"),
        ];
        Policy::parse("/p", parameters, None).unwrap().0
    }

    #[test]
    fn the_first_matching_rule_that_states_an_attribute_wins_and_a_tag_wins_over_all() {
        let policy = rules(
            r#"[{"Match": {"Tags": {"x": "1"}}, "Description": "other image"},
                {"Match": {}, "ImdsSupport": "v2.0"},
                {"Match": {}, "Description": ""},
                {"Name": "first", "Match": {}, "Description": "first"},
                {"Match": {}, "Description": "second"}]"#,
        );
        let by_rule = directives_with(&image(), &policy);
        assert_eq!(by_rule.description.as_deref(), Some("first"));
        assert_eq!(by_rule.imds_support, Some(ImdsSupport::V2));
        let source = by_rule.source(&Attribute::Description);
        assert_eq!(source, Some(&Source::Rule("first".into())));
        let by_tag = directives_with(&image().tag("ami-warden:description", "own"), &policy);
        assert_eq!(by_tag.description.as_deref(), Some("own"));
    }

    #[test]
    fn shared_tags_are_wished_key_by_key() {
        let policy = rules(
            r#"[{"Match": {}, "SharedTags": {"release": "rule", "team": "{tag:team}", "gone": ""}},
                {"Match": {}, "SharedTags": {"release": "late", "gone": "-"}}]"#,
        );
        let tagged = image()
            .tag("team", "blue")
            .tag("ami-warden:shared-tag:release", "v{tag:version}")
            .tag("ami-warden:shared-tag:empty", "")
            .tag("version", "1.2");
        let directives = directives_with(&tagged, &policy);
        let wished = [
            ("gone", None),
            ("release", Some("v1.2")),
            ("team", Some("blue")),
        ];
        let wished = wished.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        assert_eq!(directives.shared_tags, BTreeMap::from(wished));
        assert_eq!(directives.refusals, []);
    }

    #[test]
    fn a_shared_tag_that_ec2_would_not_take_is_refused_and_names_its_key() {
        let long = "x".repeat(257);
        for (value, reason) in [
            ("{tag:missing}", "has no value"),
            ("{x", "without a }"),
            (long.as_str(), "257"),
        ] {
            let directives = directives(&image().tag("ami-warden:shared-tag:release", value));
            assert_eq!(directives.shared_tags, BTreeMap::new());
            let refusal = &directives.refusals[0];
            assert_eq!(refusal.attribute, Attribute::SharedTag("release".into()));
            assert_eq!(refusal.resource(), "ami-warden:shared-tag:release");
            assert!(refusal.message().contains(reason), "{}", refusal.message());
        }
        let most = "ü".repeat(256);
        let directives = directives(&image().tag("ami-warden:shared-tag:release", &most));
        assert_eq!(directives.shared_tags["release"], Some(most));
    }

    #[test]
    fn a_copy_permission_names_accounts_and_groups_of_accounts() {
        let policy = rules("[]");
        let wish = |value: &str| {
            let tagged = image().tag("ami-warden:copy-permission", value);
            let directives = directives_with(&tagged, &policy);
            directives
                .copy_permission
                .ok_or_else(|| directives.refusals[0].message())
        };
        let add = accounts("222233334444 444455556666");
        let remove = accounts("333344445555");
        let wished = CopyPermissionWish { add, remove };
        assert_eq!(wish("@builders, -333344445555 111122223333"), Ok(wished));
        for (value, reason) in [
            ("= 444455556666", "\"=\" is not possible"),
            ("444455556666 = 222233334444", "\"=\""),
            ("all", "EC2 gives the copy permission to accounts only"),
            ("-all", "accounts only"),
            ("o-exampleorgid", "accounts only"),
            ("@mixed", "\"@mixed\" holds all, which is not an account"),
            ("@gone", "\"@gone\""),
            ("444455556666 -444455556666", "both added and removed"),
        ] {
            let message = wish(value).unwrap_err();
            assert!(message.contains(reason), "{value}: {message}");
        }
    }

    #[test]
    fn a_copy_permission_is_joined_from_its_parts() {
        let tagged = image()
            .tag("ami-warden:copy-permission:b", "-222233334444")
            .tag("ami-warden:copy-permission", "444455556666");
        let wish = directives(&tagged).copy_permission.unwrap();
        assert_eq!(
            (wish.add, wish.remove),
            (accounts("444455556666"), accounts("222233334444"))
        );
    }

    #[test]
    fn a_deprecation_time_is_wished_or_refused_with_its_tag() {
        let wish = |value: &str| {
            let directives = directives(&image().tag("ami-warden:deprecate-at", value));
            directives
                .deprecation
                .ok_or_else(|| directives.refusals[0].resource())
        };
        let time = "2027-06-30T00:00:00Z".parse().unwrap();
        assert_eq!(wish("2027-06-30"), Ok(DeprecationWish::At(time)));
        assert_eq!(wish("-"), Ok(DeprecationWish::Never));
        for bad in ["soon", "180d"] {
            assert_eq!(wish(bad), Err("ami-warden:deprecate-at".into()), "{bad}");
        }
    }

    #[test]
    fn another_prefix_is_another_function() {
        let image = image().tag("ami-warden:hold", "1").tag("team:hold", "1");
        assert_eq!(DirectiveTags::read(&image.tags, "team:").hold, Hold::Yes);
        assert_eq!(DirectiveTags::read(&image.tags, "other:").hold, Hold::No);
    }
}
