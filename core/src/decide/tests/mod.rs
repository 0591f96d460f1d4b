//! Tests of the deciding code as a whole, over plans.

mod directives;
mod launch_permission;
mod needs;
mod property;
mod recipients;

use std::collections::BTreeMap;

use super::{
    allow_list::{AllowedCopiers, AllowedGrantees, SharedTagPatterns},
    guardrail::Guardrails,
    observed::Observed,
    plan::{Plan, plan},
};
use crate::{
    model::{
        change::{Change, Direction},
        facts::ShareFacts,
        grantee::{AccountId, CopyPermissions, Grantee, LaunchPermissions},
        image::Image,
        refusal::Attribute,
    },
    testing::{accounts, facts, grantees, now},
    wish::{
        copy_permission::CopyPermissionWish,
        deprecate_at::DeprecateAt,
        directives::{Directive, Directives},
        grantee_list::Names,
        groups::Groups,
        launch_permission::LaunchPermissionValue,
        statement::{Source, Statement},
    },
};

/// Everything may be added.
fn allow_all() -> Guardrails {
    Guardrails {
        allow_public: true,
        allowed_grantees: AllowedGrantees::any(),
        allowed_copiers: AllowedCopiers::any(),
        shared_tags: SharedTagPatterns::parse("*").unwrap(),
        share_backups: true,
        ..Guardrails::default()
    }
}

/// The directive `launch-permission` with this value.
fn share(value: &str) -> Directives {
    let source = Source::Tag("ami-warden:launch-permission".into());
    let statements = [Statement {
        source,
        value: value.into(),
    }];
    let names = Names {
        groups: &Groups::default(),
        organization: None,
        partition: "aws",
    };
    let value = LaunchPermissionValue::read(&statements).unwrap();
    let wish = value.map(|value| {
        value
            .resolve(&names, &"111122223333".parse().unwrap())
            .unwrap()
    });
    Directives {
        launch_permission: wish,
        ..Directives::default()
    }
}

/// The directive `copy-permission`.
fn copy(add: &str, remove: &str) -> Directives {
    let wish = CopyPermissionWish {
        add: accounts(add),
        remove: accounts(remove),
    };
    Directives {
        copy_permission: Some(wish),
        ..Directives::default()
    }
}

/// The directive `deprecate-at` with this value, from a tag.
fn deprecate(image: &Image, value: &str) -> Directives {
    let wish = value
        .parse::<DeprecateAt>()
        .unwrap()
        .resolve(image)
        .unwrap();
    let stated = Directive {
        attribute: Attribute::DeprecationTime,
        value: value.into(),
        sources: vec![Source::Tag("ami-warden:deprecate-at".into())],
    };
    Directives {
        deprecation: Some(wish),
        stated: vec![stated],
        ..Directives::default()
    }
}

/// One image with everything that is observed of it.
#[derive(Debug, Clone)]
struct World {
    image: Image,
    launch: LaunchPermissions,
    copy: BTreeMap<String, CopyPermissions>,
    facts: ShareFacts,
}

impl World {
    /// Nobody has access, and no snapshot can be seen.
    fn of(image: Image) -> Self {
        let copy = image.snapshots().into_iter();
        let copy = copy
            .map(|id| (id.to_owned(), CopyPermissions::new()))
            .collect();
        let launch = LaunchPermissions::new();
        Self {
            image,
            launch,
            copy,
            facts: facts(&[]),
        }
    }

    fn launched_by(mut self, list: &str) -> Self {
        self.launch = grantees(list);
        self.image.public = self.launch.contains(&Grantee::All);
        self
    }

    fn copied_by(mut self, snapshot: &str, list: &str) -> Self {
        self.copy.insert(snapshot.into(), accounts(list));
        self
    }

    fn with(mut self, facts: ShareFacts) -> Self {
        self.facts = facts;
        self
    }

    fn observed(&self) -> Observed<'_> {
        Observed {
            image: &self.image,
            launch_permissions: &self.launch,
            copy_permissions: &self.copy,
            facts: &self.facts,
        }
    }

    fn plan(&self, directives: &Directives, guardrails: &Guardrails) -> Plan {
        plan(&self.observed(), directives, guardrails, now())
    }

    /// Carries changes out, as EC2 would.
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.apply_one(change);
        }
    }

    fn apply_one(&mut self, change: &Change) {
        use crate::model::image::DeprecationTime;
        match change {
            Change::Description { to, .. } => self.image.description = Some(to.clone()),
            Change::ImdsSupport { to, .. } => {
                self.image.imds_support = Some(to.as_str().to_owned());
            }
            Change::Deprecation { to, .. } => {
                self.image.deprecation_time = match to {
                    Some(time) => DeprecationTime::read(&time.to_rfc3339()),
                    None => DeprecationTime::Never,
                };
            }
            Change::SharedTag { key, to, .. } => {
                let key = format!("ec2:SharedTag/{key}");
                match to {
                    Some(value) => self.image.tags.insert(key, value.clone()),
                    None => self.image.tags.remove(&key),
                };
            }
            Change::CopyPermission(change) => {
                let present = self.copy.get_mut(&change.snapshot).unwrap();
                *present = match change.direction {
                    Direction::Add => &*present | &change.accounts,
                    Direction::Remove => &*present - &change.accounts,
                };
            }
            Change::LaunchPermission(change) => {
                self.launch = &(&self.launch | &change.add) - &change.remove;
                assert_eq!(self.launch, change.after);
                self.image.public = self.launch.contains(&Grantee::All);
            }
        }
    }
}

/// Code and resource of each refusal.
fn refusals(plan: &Plan) -> Vec<(&'static str, String)> {
    plan.refusals
        .iter()
        .map(|refusal| (refusal.code().as_str(), refusal.resource()))
        .collect()
}

fn codes(plan: &Plan) -> Vec<&'static str> {
    plan.refusals
        .iter()
        .map(|refusal| refusal.code().as_str())
        .collect()
}

/// Each change in a few words, in order.
fn changes(plan: &Plan) -> Vec<String> {
    let list = |names: Vec<&str>| names.join(" ");
    let launch =
        |grantees: &LaunchPermissions| list(grantees.iter().map(Grantee::as_str).collect());
    let mut words = Vec::new();
    for change in &plan.changes {
        words.push(match change {
            Change::Description { to, .. } => format!("description {to}"),
            Change::ImdsSupport { to, .. } => format!("imds {}", to.as_str()),
            Change::Deprecation { to: Some(to), .. } => format!("deprecate {}", to.to_rfc3339()),
            Change::Deprecation { to: None, .. } => "deprecate never".into(),
            Change::SharedTag {
                key, to: Some(to), ..
            } => format!("tag {key}={to}"),
            Change::SharedTag { key, to: None, .. } => format!("untag {key}"),
            Change::CopyPermission(change) => {
                let sign = if change.direction == Direction::Add {
                    '+'
                } else {
                    '-'
                };
                let accounts = change.accounts.iter().map(AccountId::as_str).collect();
                format!("copy {} {sign}{}", change.snapshot, list(accounts))
            }
            Change::LaunchPermission(change) => {
                format!(
                    "launch +{} -{}",
                    launch(&change.add),
                    launch(&change.remove)
                )
            }
        });
    }
    words
}

/// The directives of several calls together.
fn together(all: impl IntoIterator<Item = Directives>) -> Directives {
    let mut joined = Directives::default();
    for one in all {
        joined.launch_permission = joined.launch_permission.or(one.launch_permission);
        joined.description = joined.description.or(one.description);
        joined.imds_support = joined.imds_support.or(one.imds_support);
        joined.deprecation = joined.deprecation.or(one.deprecation);
        joined.copy_permission = joined.copy_permission.or(one.copy_permission);
        joined.shared_tags.extend(one.shared_tags);
        joined.refusals.extend(one.refusals);
        joined.stated.extend(one.stated);
    }
    joined
}

/// The directives `description`, `imds-support`, `shared-tag` and `deprecate-at`.
fn describe(image: &Image) -> Directives {
    let described = Directives {
        description: Some("d".into()),
        imds_support: Some(crate::model::image::ImdsSupport::V2),
        shared_tags: BTreeMap::from([("os".into(), Some("x".into())), ("a".into(), None)]),
        ..Directives::default()
    };
    together([described, deprecate(image, "2027-01-01")])
}
