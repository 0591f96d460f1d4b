//! Who may launch an image, and why: the tag, the rule and the group that let each grantee in.

use std::{cell::RefCell, collections::BTreeMap};

use ami_warden::ImageRecord;
use ami_warden_core::{
    AccountId, Attribute, Change, Directive, DirectiveTags, Directives, Grantee, Image,
    LaunchPermissions, Source, WishContext, grantee_items,
};

/// One grantee of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub grantee: Grantee,
    /// Whether it has access now, and whether it keeps it.
    pub standing: Standing,
    /// Every statement that asks for it; empty if nobody says why.
    pub reasons: Vec<Reason>,
}

/// The access of a grantee, now and after the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It has access and keeps it.
    Keeps,
    /// It would be let in.
    Added,
    /// It has access, and would lose it.
    Removed,
}

/// A statement that asks for a grantee.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// The tag or rule, in words.
    pub source: String,
    /// The group in it that holds the grantee.
    pub group: Option<String>,
}

impl Reason {
    /// `tag ami-warden:launch-permission, group team`
    pub fn words(&self) -> String {
        match &self.group {
            Some(group) => format!("{}, group {group}", self.source),
            None => self.source.clone(),
        }
    }
}

/// An author as a person should read it.
pub fn source(source: &Source) -> String {
    match source {
        Source::Tag(key) => format!("tag {key}"),
        Source::Rule(name) => format!("rule {name:?}"),
        Source::Request => "request".to_owned(),
    }
}

/// Finds the reasons of access.
pub struct Explainer<'a> {
    context: WishContext<'a>,
    /// The grantees of every item that was looked up.
    known: RefCell<BTreeMap<String, LaunchPermissions>>,
}

impl<'a> Explainer<'a> {
    /// An explainer of wishes that are read in this context.
    pub fn new(context: WishContext<'a>) -> Self {
        Self {
            context,
            known: RefCell::default(),
        }
    }

    /// Everybody who may launch the image now or would be let in.
    pub fn access(&self, record: &ImageRecord, image: Option<&Image>) -> Vec<Access> {
        let mut standings = BTreeMap::new();
        if let Some(now) = &record.launch_permissions {
            standings.extend(now.iter().map(|grantee| (grantee, Standing::Keeps)));
        }
        for proposed in &record.changes {
            if let Change::LaunchPermission(change) = &proposed.change {
                standings.extend(change.add.iter().map(|grantee| (grantee, Standing::Added)));
                standings.extend(
                    change
                        .remove
                        .iter()
                        .map(|grantee| (grantee, Standing::Removed)),
                );
            }
        }
        let by_launch = |directive: &&Directive| directive.attribute == Attribute::LaunchPermission;
        let stated = record.directives.iter().find(by_launch);
        let mut reasons = match (stated, image) {
            (Some(directive), Some(image)) => self.reasons(directive, image),
            _ => BTreeMap::new(),
        };
        let mut access = Vec::new();
        for (grantee, standing) in standings {
            let mut reasons = reasons.remove(grantee).unwrap_or_default();
            // A removal is asked for by the whole directive: by `-ITEM`, or by silence under `=`.
            if standing == Standing::Removed
                && let Some(directive) = stated
            {
                let authors = directive.sources.iter();
                reasons = authors
                    .map(|author| Reason {
                        source: source(author),
                        group: None,
                    })
                    .collect();
            }
            access.push(Access {
                grantee: grantee.clone(),
                standing,
                reasons,
            });
        }
        access
    }

    fn reasons(&self, directive: &Directive, image: &Image) -> BTreeMap<Grantee, Vec<Reason>> {
        let mut reasons: BTreeMap<Grantee, Vec<Reason>> = BTreeMap::new();
        for author in &directive.sources {
            let text = match author {
                Source::Tag(key) => image.tags.get(key).map_or("", String::as_str),
                Source::Rule(_) | Source::Request => &directive.value,
            };
            for item in grantee_items(text) {
                let group = item.strip_prefix('@').map(ToOwned::to_owned);
                for grantee in self.grantees(item) {
                    let reason = Reason {
                        source: source(author),
                        group: group.clone(),
                    };
                    let reasons = reasons.entry(grantee).or_default();
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
            }
        }
        reasons
    }

    /// The grantees of one item: read as the only tag of an image, so that no grammar stands here.
    fn grantees(&self, item: &str) -> LaunchPermissions {
        const ITEM_TAG_PREFIX: &str = "t:";
        if let Some(known) = self.known.borrow().get(item) {
            return known.clone();
        }
        let Ok(id) = "ami-00000000".parse() else {
            return LaunchPermissions::new();
        };
        let mut image = Image::new(id, AccountId::from_aws(""));
        image.tags.insert(
            format!("{ITEM_TAG_PREFIX}launch-permission"),
            item.to_owned(),
        );
        let tags = DirectiveTags::read(&image.tags, ITEM_TAG_PREFIX);
        let wish = Directives::of(&image, &tags, &self.context).launch_permission;
        let grantees = wish.map(|wish| wish.wanted().clone()).unwrap_or_default();
        self.known
            .borrow_mut()
            .insert(item.to_owned(), grantees.clone());
        grantees
    }
}

#[cfg(test)]
mod tests {
    use ami_warden::{ChangeRecord, Effect, Outcome};
    use ami_warden_core::{
        LaunchPermissionChange, Policy, StoredParameter, StoredValue,
        testing::{grantees, image},
    };

    use super::*;

    const LAUNCH_TAG: &str = "ami-warden:launch-permission";

    fn policy(groups: &[(&str, &str)], rules: &str) -> Policy {
        let parameter = |name: String, value: &str| StoredParameter {
            name,
            value: StoredValue::Text(value.to_owned()),
            modified: None,
        };
        let mut stored = vec![parameter("/p/rules".into(), rules)];
        for (name, value) in groups {
            stored.push(parameter(format!("/p/groups/{name}"), value));
        }
        Policy::parse("/p", stored, None).unwrap().0
    }

    /// The access to the image with these permissions and this plan, as text.
    fn access(
        image: &Image,
        now: &str,
        change: Option<(&str, &str)>,
        policy: &Policy,
    ) -> Vec<String> {
        let context = WishContext {
            policy,
            organization: None,
            partition: "aws",
        };
        let tags = DirectiveTags::read(&image.tags, "ami-warden:");
        let mut record = ImageRecord::new(image.id, Outcome::Planned);
        record.directives = Directives::of(image, &tags, &context).stated;
        record.launch_permissions = Some(grantees(now));
        if let Some((add, remove)) = change {
            let change =
                LaunchPermissionChange::new(&grantees(now), grantees(add), grantees(remove), false);
            let change = Change::LaunchPermission(change.unwrap());
            record.changes.push(ChangeRecord {
                change,
                effect: Effect::Proposed,
            });
        }
        let describe = |access: Access| {
            let reasons: Vec<String> = access.reasons.iter().map(Reason::words).collect();
            format!(
                "{:?} {}: {}",
                access.standing,
                access.grantee,
                reasons.join("; ")
            )
        };
        Explainer::new(context)
            .access(&record, Some(image))
            .into_iter()
            .map(describe)
            .collect()
    }

    #[test]
    fn every_grantee_is_told_with_the_tags_and_groups_that_let_it_in() {
        let policy = policy(
            &[
                ("team", "444455556666, 555566667777"),
                ("all-teams", "@team"),
            ],
            "[]",
        );
        let image = image()
            .tag(LAUNCH_TAG, "444455556666, @all-teams")
            .tag("ami-warden:launch-permission:b", "all -222233334444");
        assert_eq!(
            access(
                &image,
                "222233334444 444455556666 888899990000",
                Some(("555566667777 all", "222233334444")),
                &policy
            ),
            [
                "Removed 222233334444: tag ami-warden:launch-permission; tag ami-warden:launch-permission:b",
                "Keeps 444455556666: tag ami-warden:launch-permission; tag ami-warden:launch-permission, group all-teams",
                "Added 555566667777: tag ami-warden:launch-permission, group all-teams",
                "Keeps 888899990000: ",
                "Added all: tag ami-warden:launch-permission:b",
            ]
        );
    }

    #[test]
    fn a_rule_is_a_reason_and_an_exact_list_is_read_behind_its_sign() {
        for value in ["= 444455556666", "=444455556666"] {
            let rules = format!(
                r#"[{{ "Name": "golden", "Match": {{}}, "LaunchPermission": "{value}" }}]"#
            );
            let policy = policy(&[], &rules);
            let access = access(&image(), "444455556666", None, &policy);
            assert_eq!(access, ["Keeps 444455556666: rule \"golden\""]);
        }
    }

    #[test]
    fn access_without_a_directive_has_no_reason() {
        let policy = policy(&[], "[]");
        assert_eq!(access(&image(), "all", None, &policy), ["Keeps all: "]);
    }
}
