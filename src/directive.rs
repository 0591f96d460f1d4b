//! What is wanted: directive tags, policy rules or a request, turned into one wish for each attribute.
//!
//! Tags are only text until they are read here. What does not parse becomes a [`Refusal`] and never a change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Serialize, Serializer};

use crate::{
    guardrail::{Attribute, Code, Refusal},
    image::{Grantee, Image, ImdsSupport, LaunchPermissions, OrganizationArn},
    policy::Policy,
    reference::{Completed, Reference, items},
};

/// The longest description: `CreateImage` and `CopyImage` document 255 characters.
const LONGEST_DESCRIPTION: usize = 255;

/// The placeholders a description may hold, for error messages.
const PLACEHOLDERS: &str = "{Name}, {ImageId}, {CreationDate}, {SourceImageId}, {Architecture}, {tag:KEY}";

/// Where a wish comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A tag, by its full key.
    Tag(String),
    /// A rule of the policy, by its name.
    Rule(String),
    /// A `ModifyImageAttribute` request.
    Request,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(key) => f.write_str(key),
            Self::Rule(name) => f.write_str(name),
            Self::Request => f.write_str("request"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One stated value, not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Who states it.
    pub source: Source,
    /// What it says.
    pub value: String,
}

/// Why a statement will not be carried out, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Who stated it.
    pub source: Source,
    /// What is wrong with it and what to do.
    pub message: String,
}

/// The tags of one image that concern this function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectiveTags {
    /// `hold` is set: leave the image alone.
    pub hold: bool,
    launch_permission: Vec<Statement>,
    description: Option<Statement>,
    imds_support: Option<Statement>,
    unknown: Vec<String>,
}

impl DirectiveTags {
    /// Picks the directive tags out of an image's tags. Absent and empty ones state nothing.
    #[must_use]
    pub fn read(tags: &BTreeMap<String, String>, prefix: &str) -> Self {
        let mut found = Self::default();
        for (key, value) in tags {
            let Some(name) = key.strip_prefix(prefix) else { continue };
            let statement = || Statement { source: Source::Tag(key.clone()), value: value.clone() };
            let stated = || Some(statement()).filter(|_| !value.is_empty());
            let suffixed = || name.strip_prefix("launch-permission:").is_some_and(|suffix| !suffix.is_empty());
            match name {
                "launch-permission" => found.launch_permission.push(statement()),
                "description" => found.description = stated(),
                "imds-support" => found.imds_support = stated(),
                "hold" => found.hold = !value.is_empty(),
                _ if suffixed() => found.launch_permission.push(statement()),
                _ => found.unknown.push(key.clone()),
            }
        }
        found
    }
}

/// A launch-permission value that has been read, with its groups and short forms still to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPermissionValue {
    exactly: bool,
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    removes: bool,
    reference: Reference,
    /// As it was written, for error messages.
    text: String,
    source: Source,
}

impl LaunchPermissionValue {
    /// Reads the statements as one value, joined in their order; `None` if nothing is stated.
    ///
    /// # Errors
    /// The first item that does not parse, with the statement it stands in.
    pub fn read(statements: &[Statement]) -> Result<Option<Self>, Fault> {
        let mut value = Self { exactly: false, items: Vec::new() };
        let mut empty = true;
        for Statement { source, value: text } in statements {
            let fault = |message: String| Fault { source: source.clone(), message };
            let mut text = text.trim_start_matches([' ', ',']);
            // "=" counts only at the very beginning of the joined value; anywhere else it is an item, and not one that parses.
            if empty && let Some(rest) = text.strip_prefix('=') {
                value.exactly = true;
                empty = false;
                text = rest;
            }
            for item in items(text) {
                empty = false;
                let (removes, written) = item.strip_prefix('-').map_or((false, item), |written| (true, written));
                if removes && value.exactly {
                    return Err(fault(format!(
                        "\"{item}\" removes, and \"=\" names exactly who keeps access: use one or the other"
                    )));
                }
                if item.starts_with('=') {
                    return Err(fault(format!("\"{item}\" is not possible here: \"=\" stands only at the very beginning")));
                }
                if written.is_empty() {
                    return Err(fault(format!("\"{item}\" names nobody: write the grantee right behind the \"-\"")));
                }
                let reference = written.parse().map_err(fault)?;
                value.items.push(Item { removes, reference, text: item.to_owned(), source: source.clone() });
            }
        }
        Ok((!empty).then_some(value))
    }

    /// Looks up groups and short forms.
    ///
    /// # Errors
    /// An unknown or broken group, a short form that cannot be completed, an ARN of another partition, or a grantee that is both
    /// added and removed.
    fn resolve(&self, context: &Context<'_>, owner: &str) -> Result<LaunchPermissionWish, Fault> {
        let (mut add, mut remove) = (LaunchPermissions::new(), LaunchPermissions::new());
        for Item { removes, reference, text, source } in &self.items {
            let fault = |message| Fault { source: source.clone(), message };
            let grantees = context.grantees(reference).map_err(fault)?;
            for grantee in grantees {
                context.check_partition(&grantee, text).map_err(fault)?;
                if (if *removes { &add } else { &remove }).contains(&grantee) {
                    return Err(fault(format!("\"{text}\": {grantee} is both added and removed; say only one")));
                }
                if *removes { &mut remove } else { &mut add }.insert(grantee);
            }
        }
        // The owner always has access and cannot lose it: naming it means nothing.
        let owner = Grantee::Account(owner.to_owned());
        add.remove(&owner);
        remove.remove(&owner);
        Ok(if self.exactly { LaunchPermissionWish::Exactly(add) } else { LaunchPermissionWish::Edit { add, remove } })
    }
}

/// Who is to have access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchPermissionWish {
    /// These and nobody else (`=`).
    Exactly(LaunchPermissions),
    /// These in, those out; whoever else has access keeps it. No grantee is in both.
    Edit {
        /// To be let in.
        add: LaunchPermissions,
        /// To be kept out.
        remove: LaunchPermissions,
    },
}

impl LaunchPermissionWish {
    /// Who is to be let in, whether or not they have access already.
    #[must_use]
    pub fn wants(&self, grantee: &Grantee) -> bool {
        match self {
            Self::Exactly(grantees) => grantees.contains(grantee),
            Self::Edit { add, .. } => add.contains(grantee),
        }
    }
}

/// One wish as its author wrote it, for people who ask why an image is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Directive {
    /// The attribute it is about.
    pub attribute: Attribute,
    /// The value as stated, before placeholders and groups.
    pub value: String,
    /// The tags, or the rule, or the request, that state it.
    pub sources: Vec<Source>,
}

/// All that is wanted of one image, and what of it cannot be understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// Who is to have access; `None` is no opinion.
    pub launch_permission: Option<LaunchPermissionWish>,
    /// The wanted description, placeholders filled in; `None` is no opinion.
    pub description: Option<String>,
    /// The wanted IMDS support; `None` is no opinion.
    pub imds_support: Option<ImdsSupport>,
    /// What does not parse or is not possible.
    pub refusals: Vec<Refusal>,
    /// What was stated, and by whom.
    pub stated: Vec<Directive>,
}

/// What directives are read against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Groups and rules.
    pub policy: &'a Policy,
    /// The own organization, which completes short forms.
    pub organization: Option<&'a OrganizationArn>,
    /// The partition of the image: `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'a str,
}

impl Context<'_> {
    /// The grantees a reference stands for.
    fn grantees(&self, reference: &Reference) -> Result<BTreeSet<Grantee>, String> {
        match reference.clone().complete(self.organization)? {
            Completed::Grantee(grantee) => Ok(BTreeSet::from([grantee])),
            Completed::Group(name) => self.policy.group(&name, self.organization),
        }
    }

    /// Sharing does not cross partitions, so an ARN of another one is a mistake.
    fn check_partition(&self, grantee: &Grantee, written: &str) -> Result<(), String> {
        match grantee.partition() {
            Some(partition) if partition != self.partition => Err(format!(
                "\"{written}\": {grantee} is in the partition {partition} and the image in {0}; sharing does not cross partitions, so name a \
                 grantee of {0}",
                self.partition
            )),
            _ => Ok(()),
        }
    }
}

impl Directives {
    /// What the image's own tags, and for what they leave open the policy's rules, want of it.
    #[must_use]
    pub fn of(image: &Image, tags: &DirectiveTags, context: &Context<'_>) -> Self {
        let mut directives = Self::default();
        for key in &tags.unknown {
            directives.refusals.push(Refusal {
                attribute: Attribute::UnknownTag(key.clone()),
                code: Code::InvalidDirective,
                message: format!(
                    "\"{key}\" is not a directive. After the prefix there may be launch-permission, launch-permission:ANYTHING, \
                     description, imds-support or hold. Correct the key, or delete the tag."
                ),
                resource: key.clone(),
                ec2_code: None,
            });
        }

        let launch_permission = Some(tags.launch_permission.clone()).filter(|own| states_anything(own)).or_else(|| {
            let by_rule = context.policy.first_stating(image, |rule| rule.launch_permission.as_deref());
            by_rule.map(|statement| vec![statement])
        });
        if let Some(statements) = launch_permission {
            directives.state(Attribute::LaunchPermission, &statements);
            let wish = LaunchPermissionValue::read(&statements)
                .and_then(|value| value.map(|value| value.resolve(context, &image.owner)).transpose());
            directives.launch_permission = directives.keep(Attribute::LaunchPermission, wish).flatten();
        }

        let description =
            tags.description.clone().or_else(|| context.policy.first_stating(image, |rule| rule.description.as_deref()));
        if let Some(statement) = description {
            directives.state(Attribute::Description, std::slice::from_ref(&statement));
            let text = DescriptionTemplate::read(&statement.value).and_then(|template| template.fill(image));
            let text = text.map_err(|message| Fault { source: statement.source, message });
            directives.description = directives.keep(Attribute::Description, text);
        }

        let imds_support =
            tags.imds_support.clone().or_else(|| context.policy.first_stating(image, |rule| rule.imds_support.as_deref()));
        if let Some(statement) = imds_support {
            directives.state(Attribute::ImdsSupport, std::slice::from_ref(&statement));
            let value = read_imds_support(&statement.value).map_err(|message| Fault { source: statement.source, message });
            directives.imds_support = directives.keep(Attribute::ImdsSupport, value);
        }
        directives
    }

    /// Whether nothing at all is said about the image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stated.is_empty() && self.refusals.is_empty()
    }

    fn state(&mut self, attribute: Attribute, statements: &[Statement]) {
        self.stated.push(Directive {
            attribute,
            value: statements.iter().map(|statement| statement.value.as_str()).collect::<Vec<_>>().join(" "),
            sources: statements.iter().map(|statement| statement.source.clone()).collect(),
        });
    }

    fn keep<T>(&mut self, attribute: Attribute, value: Result<T, Fault>) -> Option<T> {
        value
            .map_err(|Fault { source, message }| {
                let message = match &source {
                    Source::Tag(key) => format!("The tag {key}: {message}."),
                    Source::Rule(name) => format!("The rule \"{name}\": {message}."),
                    Source::Request => format!("{message}."),
                };
                let resource = source.to_string();
                self.refusals.push(Refusal { attribute, code: Code::InvalidDirective, message, resource, ec2_code: None });
            })
            .ok()
    }
}

/// Whether the joined value holds anything but separators.
fn states_anything(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| items(&statement.value).next().is_some())
}

/// Reads a value of the `imds-support` directive.
///
/// # Errors
/// A sentence that names the value.
pub fn read_imds_support(value: &str) -> Result<ImdsSupport, String> {
    value.parse().map_err(|()| format!("\"{value}\" is not a value of imds-support; the only one is \"v2.0\", in lower case"))
}

/// A description with its placeholders found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptionTemplate<'a> {
    parts: Vec<Part<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

impl<'a> DescriptionTemplate<'a> {
    /// Finds the placeholders. There is no escape: a brace always belongs to one.
    ///
    /// # Errors
    /// A sentence that names the brace without a partner.
    pub fn read(template: &'a str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            let (text, after) = rest.split_once('{').map_or((rest, None), |(text, after)| (text, Some(after)));
            if text.contains('}') {
                return Err(format!("\"{template}\" has a }} without a {{ before it; placeholders are {PLACEHOLDERS}"));
            }
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
            let Some(after) = after else { break };
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("\"{template}\" has a {{ without a }} after it; placeholders are {PLACEHOLDERS}"));
            };
            parts.push(Part::Placeholder(name));
            rest = after;
        }
        Ok(Self { parts })
    }

    /// The description for this image.
    ///
    /// # Errors
    /// A placeholder that is unknown or has no value, or a result EC2 would not take.
    pub fn fill(&self, image: &Image) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Placeholder(name) => text.push_str(&value_of(name, image)?),
            }
        }
        check_description(&text)?;
        Ok(text)
    }
}

fn value_of(placeholder: &str, image: &Image) -> Result<String, String> {
    let value = match placeholder {
        "Name" => image.name.clone(),
        "ImageId" => Some(image.id.to_string()),
        "CreationDate" => image.creation_date.clone(),
        "SourceImageId" => image.source_image_id.clone(),
        "Architecture" => image.architecture.clone(),
        _ => match placeholder.strip_prefix("tag:") {
            Some(key) => image.tags.get(key).cloned(),
            None => return Err(format!("{{{placeholder}}} is not a placeholder; there are {PLACEHOLDERS}")),
        },
    };
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("{{{placeholder}}} has no value on this image; give it one, or take the placeholder out"))
}

/// Whether EC2 takes the text as a description: ASCII, and 1 to 255 characters.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn check_description(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("the description would be empty, and EC2 takes 1 to {LONGEST_DESCRIPTION} characters"));
    }
    if let Some(character) = text.chars().find(|character| !character.is_ascii()) {
        return Err(format!("the description \"{text}\" holds \"{character}\", and EC2 takes ASCII characters only: replace it"));
    }
    if text.len() > LONGEST_DESCRIPTION {
        return Err(format!(
            "the description has {} characters, and EC2 takes at most {LONGEST_DESCRIPTION}: shorten it",
            text.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{grantees, image};

    const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";

    fn directives(image: &Image) -> Directives {
        directives_with(image, &Policy::default())
    }

    fn directives_with(image: &Image, policy: &Policy) -> Directives {
        let organization = ORGANIZATION.parse().unwrap();
        let context = Context { policy, organization: Some(&organization), partition: "aws" };
        Directives::of(image, &DirectiveTags::read(&image.tags, "ami-warden:"), &context)
    }

    fn launch_permission(value: &str) -> Result<LaunchPermissionWish, String> {
        let directives = directives(&image().tag("ami-warden:launch-permission", value));
        directives.launch_permission.ok_or_else(|| {
            let refusal = &directives.refusals[0];
            assert_eq!((&refusal.attribute, refusal.code), (&Attribute::LaunchPermission, Code::InvalidDirective));
            assert_eq!(refusal.resource, "ami-warden:launch-permission");
            refusal.message.clone()
        })
    }

    fn edit(add: &str, remove: &str) -> LaunchPermissionWish {
        LaunchPermissionWish::Edit { add: grantees(add), remove: grantees(remove) }
    }

    #[test]
    fn plain_items_add_and_items_with_a_minus_remove() {
        assert_eq!(launch_permission("444455556666, -222233334444  -all"), Ok(edit("444455556666", "222233334444 all")));
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
        let wish = edit(&format!("{ORGANIZATION} arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456"), "");
        assert_eq!(launch_permission("o-exampleorgid ou-ab12-cdef3456"), Ok(wish));
    }

    #[test]
    fn the_owners_own_id_is_accepted_and_means_nothing() {
        assert_eq!(launch_permission("111122223333 444455556666"), Ok(edit("444455556666", "")));
        assert_eq!(launch_permission("-111122223333"), Ok(edit("", "")));
    }

    #[test]
    fn a_value_that_does_not_parse_is_refused_whole_and_names_the_item() {
        for (value, item) in [
            ("444455556666 bob", "\"bob\""),
            ("444455556666 -", "\"-\""),
            ("--444455556666", "\"-444455556666\""),
            ("444455556666 = 222233334444", "\"=\""),
            ("== 222233334444", "\"=\""),
            ("= -222233334444", "\"-222233334444\""),
            ("444455556666 -444455556666", "\"-444455556666\""),
            ("-444455556666 444455556666", "\"444455556666\""),
            ("o-exampleorgid -arn:aws:organizations::111122223333:organization/o-exampleorgid", "both added and removed"),
            ("arn:aws-cn:organizations::111122223333:organization/o-exampleorgid", "partition aws-cn"),
            ("@team", "\"@team\""),
            ("o-anotherorgid", "\"o-anotherorgid\""),
            ("444455556666\t222233334444", "\"444455556666\t222233334444\""),
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
        assert_eq!(directives(&tagged).launch_permission, Some(edit("222233334444 444455556666", "all")));

        let exactly = image().tag("ami-warden:launch-permission", " ").tag("ami-warden:launch-permission:a", "= 444455556666");
        assert_eq!(directives(&exactly).launch_permission, Some(LaunchPermissionWish::Exactly(grantees("444455556666"))));

        let late =
            image().tag("ami-warden:launch-permission", "222233334444").tag("ami-warden:launch-permission:a", "= 444455556666");
        let refused = directives(&late);
        assert_eq!((refused.launch_permission, refused.refusals[0].resource.as_str()), (None, "ami-warden:launch-permission:a"));
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
        assert!(!DirectiveTags::read(&image.tags, "ami-warden:").hold);
    }

    #[test]
    fn an_unknown_key_under_the_prefix_is_refused_even_when_it_is_empty() {
        for key in [
            "ami-warden:",
            "ami-warden:launch-permissions",
            "ami-warden:launch-permission:",
            "ami-warden:Hold",
            "ami-warden:description:x",
        ] {
            let directives = directives(&image().tag(key, "").tag("ami-warden:description", "golden"));
            assert_eq!(directives.refusals[0].attribute, Attribute::UnknownTag(key.into()));
            assert_eq!(directives.refusals[0].resource, key);
            assert_eq!(directives.description.as_deref(), Some("golden"), "the other directives go on");
        }
    }

    #[test]
    fn placeholders_are_filled_from_the_image() {
        let mut image = image().tag("version", "1.2");
        image.name = Some("golden".into());
        image.creation_date = Some("2026-03-25T16:30:25.000Z".into());
        image.source_image_id = Some("ami-0fedcba9".into());
        image.architecture = Some("arm64".into());
        let image =
            image.tag("ami-warden:description", "{Name} {ImageId} {CreationDate} {SourceImageId} {Architecture} v{tag:version}");
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
            (long.as_str(), "256"),
        ] {
            let directives = directives(&image().tag("empty", "").tag("ami-warden:description", value));
            assert_eq!(directives.description, None, "{value}");
            assert_eq!(directives.refusals[0].attribute, Attribute::Description);
            assert!(directives.refusals[0].message.contains(reason), "{}", directives.refusals[0].message);
        }
        let longest = "x".repeat(255);
        assert_eq!(directives(&image().tag("ami-warden:description", &longest)).description, Some(longest));
    }

    #[test]
    fn imds_support_is_exactly_v2_0() {
        assert_eq!(directives(&image().tag("ami-warden:imds-support", "v2.0")).imds_support, Some(ImdsSupport::V2));
        for value in ["V2.0", "v2", "2.0", "v2.0 ", "required"] {
            let directives = directives(&image().tag("ami-warden:imds-support", value));
            assert_eq!((directives.imds_support, directives.refusals[0].code), (None, Code::InvalidDirective));
            assert!(directives.refusals[0].message.contains(&format!("\"{value}\"")));
        }
    }

    #[test]
    fn another_prefix_is_another_function() {
        let image = image().tag("ami-warden:hold", "1").tag("team:hold", "1");
        assert!(DirectiveTags::read(&image.tags, "team:").hold);
        assert!(!DirectiveTags::read(&image.tags, "other:").hold);
    }
}
