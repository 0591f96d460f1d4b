//! Grounds against letting anybody in, to launch or to copy: backups, findings, keys; and copies.

use std::collections::BTreeSet;

use super::*;
use crate::{
    decide::keys::KeyCheck,
    model::{
        facts::SnapshotFacts,
        finding::{Scan, Severity},
        key::{Key, KeyFacts, KeyReach},
        refusal::Refusal,
    },
    testing::image,
};

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd";
const OTHER_KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/5678dcba";
const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";

/// Everybody that one directive of each kind lets in.
fn everybody() -> [(Directives, Attribute, usize); 3] {
    [
        (share("444455556666"), Attribute::LaunchPermission, 1),
        (share("all"), Attribute::LaunchPermission, 1),
        (
            copy("444455556666", ""),
            Attribute::CreateVolumePermission,
            1,
        ),
    ]
}

/// Each directive of [`everybody`] is refused, on exactly this ground, or goes on.
fn check(world: &World, guardrails: &Guardrails, expected: Option<(&'static str, &str)>) {
    for (wish, attribute, number) in everybody() {
        let plan = world.plan(&wish, guardrails);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(code, resource)| (code, resource.to_owned()))
            .collect();
        assert_eq!(refusals(&plan), expected, "{attribute}");
        assert!(
            plan.refusals
                .iter()
                .all(|refusal| refusal.attribute == attribute)
        );
        assert_eq!(
            plan.changes.len(),
            if expected.is_empty() { number } else { 0 }
        );
    }
}

fn plain() -> World {
    let image = image().device("/dev/xvda", Some("snap-1"), Some(false));
    World::of(image).with(facts(&[("snap-1", Some(false))]))
}

#[test]
fn a_backup_is_shared_with_nobody_unless_that_is_allowed() {
    for (tag, refused) in [
        ("aws:backup:source-resource", true),
        ("aws:dlm:lifecycle-policy-id", true),
        ("aws:cloudformation:stack-name", false),
        ("dlm:managed", false),
        ("AWS:backup:x", false),
        ("aws:backups", false),
    ] {
        let mut world = plain();
        world.image = world.image.tag(tag, "");
        let expected = if refused {
            Some(("backup-image", tag))
        } else {
            None
        };
        check(
            &world,
            &Guardrails {
                share_backups: false,
                ..allow_all()
            },
            expected,
        );
        check(&world, &allow_all(), None);
    }
}

#[test]
fn both_directives_name_their_own_attribute_for_the_same_ground() {
    let mut world = plain();
    world.image = world.image.tag("aws:backup:x", "");
    let guardrails = Guardrails {
        share_backups: false,
        ..allow_all()
    };
    let plan = world.plan(
        &together([share("444455556666"), copy("444455556666", "")]),
        &guardrails,
    );
    let attributes: Vec<_> = plan
        .refusals
        .iter()
        .map(|refusal| &refusal.attribute)
        .collect();
    assert_eq!(
        attributes,
        [
            &Attribute::LaunchPermission,
            &Attribute::CreateVolumePermission
        ]
    );
}

#[test]
fn nothing_is_asked_of_a_backup_or_a_scan_if_nobody_is_let_in() {
    let mut world = plain().launched_by("444455556666 222233334444");
    world.image = world.image.tag("aws:backup:x", "");
    let guardrails = Guardrails {
        max_finding_severity: Some(Severity::None),
        ..allow_all()
    };
    let guardrails = Guardrails {
        share_backups: false,
        ..guardrails
    };
    let plan = world.plan(&share("= 444455556666"), &guardrails);
    assert_eq!(
        (changes(&plan), codes(&plan)),
        (vec!["launch + -222233334444".into()], vec![])
    );
}

#[test]
fn only_an_image_whose_scan_found_nothing_above_the_limit_is_shared() {
    for limit in [
        None,
        Some(Severity::None),
        Some(Severity::Medium),
        Some(Severity::High),
    ] {
        let guardrails = Guardrails {
            max_finding_severity: limit,
            ..allow_all()
        };
        for found in Severity::ALL {
            let mut world = plain();
            world.image.scan = Scan::Scanned(found);
            let above = limit.is_some_and(|limit| found > limit);
            let expected = if above {
                Some(("finding-severity", found.as_str()))
            } else {
                None
            };
            check(&world, &guardrails, expected);
        }
        let mut world = plain();
        check(
            &world,
            &guardrails,
            limit.map(|_| ("finding-severity", "unscanned")),
        );
        world.image.scan = Scan::Unreadable;
        check(
            &world,
            &guardrails,
            limit.map(|_| ("finding-severity", "critical")),
        );
    }
}

/// An image whose snapshots are encrypted with these keys.
fn encrypted(keys: &[(&str, Option<&str>)]) -> World {
    let mut image = image();
    let mut facts = facts(&[]);
    for (snapshot, key) in keys {
        image = image.device(&format!("/dev/{snapshot}"), Some(snapshot), Some(true));
        let seen = SnapshotFacts {
            encrypted: Some(true),
            key: key.map(Into::into),
        };
        facts.snapshots.insert((*snapshot).into(), seen);
    }
    World::of(image).with(facts)
}

fn key(aws_managed: bool, state: &str, reach: Option<KeyReach>) -> KeyFacts {
    KeyFacts::Known(Key {
        aws_managed,
        state: state.into(),
        reach,
    })
}

/// The reach of these accounts.
#[allow(clippy::unnecessary_wraps)] // As a key has it.
fn reach(list: &str) -> Option<KeyReach> {
    Some(KeyReach {
        anybody: false,
        accounts: accounts(list).into_iter().collect(),
    })
}

fn with_key(key: KeyFacts) -> World {
    let mut world = encrypted(&[("snap-1", Some(KEY))]);
    world.facts.keys.insert(KEY.into(), key);
    world
}

fn keys(check: KeyCheck) -> Guardrails {
    Guardrails {
        key_check: Some(check),
        ..allow_all()
    }
}

/// The accounts' directives; `all` is refused for an encrypted snapshot anyway.
fn plans(world: &World, guardrails: &Guardrails) -> [Plan; 2] {
    [share("444455556666"), copy("444455556666", "")].map(|wish| world.plan(&wish, guardrails))
}

#[test]
fn an_aws_managed_key_refuses_everybody_and_names_each_snapshot() {
    let mut world = encrypted(&[("snap-2", Some(KEY)), ("snap-1", Some(KEY))]);
    world
        .facts
        .keys
        .insert(KEY.into(), key(true, "Enabled", reach("111122223333")));
    for check in [KeyCheck::Warn, KeyCheck::Refuse] {
        for plan in plans(&world, &keys(check)) {
            let managed = |snapshot: &str| ("aws-managed-key", snapshot.to_owned());
            assert_eq!(refusals(&plan), [managed("snap-1"), managed("snap-2")]);
            assert_eq!((plan.changes.len(), plan.notes.len()), (0, 0));
        }
    }
    for plan in plans(&world, &allow_all()) {
        assert_eq!(codes(&plan), [""; 0]);
    }
}

#[test]
fn a_key_that_nobody_can_use_refuses_everybody() {
    for (state, usable) in [
        ("Enabled", true),
        ("Creating", true),
        ("Updating", true),
        ("Disabled", false),
        ("PendingDeletion", false),
        ("PendingImport", false),
        ("PendingReplicaDeletion", false),
        ("Unavailable", false),
    ] {
        let world = with_key(key(false, state, reach("444455556666")));
        for plan in plans(&world, &keys(KeyCheck::Warn)) {
            if usable {
                assert_eq!(codes(&plan), [""; 0], "{state}");
            } else {
                assert_eq!(refusals(&plan), [("key-unusable", KEY.into())], "{state}");
                assert!(plan.refusals[0].message().contains(state));
                assert_eq!(plan.changes, []);
            }
        }
    }
}

#[test]
fn a_key_that_certainly_nobody_there_can_use_is_refused_or_noted() {
    let world = with_key(key(false, "Enabled", reach("111122223333 222233334444")));
    for plan in plans(&world, &keys(KeyCheck::Refuse)) {
        assert_eq!(refusals(&plan), [("key-not-shared", "444455556666".into())]);
        assert!(plan.refusals[0].message().contains(KEY));
        assert_eq!(plan.changes, []);
    }
    for plan in plans(&world, &keys(KeyCheck::Warn)) {
        assert_eq!((plan.changes.len(), codes(&plan)), (1, vec![]));
        assert!(
            plan.notes
                .iter()
                .any(|note| note.starts_with("Nobody in 444455556666"))
        );
    }
    for plan in plans(&world, &allow_all()) {
        assert!(
            !plan.notes.iter().any(|note| note.contains("Nobody")),
            "{:?}",
            plan.notes
        );
    }
}

#[test]
fn each_grantee_out_of_reach_is_named_once_with_all_its_keys() {
    let mut world = encrypted(&[("snap-1", Some(KEY)), ("snap-2", Some(OTHER_KEY))]);
    world
        .facts
        .keys
        .insert(KEY.into(), key(false, "Enabled", reach("111122223333")));
    world.facts.keys.insert(
        OTHER_KEY.into(),
        key(false, "Enabled", reach("222233334444")),
    );
    let wish = share(&format!("222233334444 444455556666 {ORGANIZATION}"));
    let plan = world.plan(&wish, &keys(KeyCheck::Refuse));
    assert_eq!(
        refusals(&plan),
        [
            ("key-not-shared", "222233334444".into()),
            ("key-not-shared", "444455556666".into()),
            ("key-not-shared", ORGANIZATION.into()),
        ]
    );
    let messages: Vec<_> = plan.refusals.iter().map(Refusal::message).collect();
    assert!(messages[0].contains(KEY) && !messages[0].contains(OTHER_KEY));
    assert!(messages[1].contains(KEY) && messages[1].contains(OTHER_KEY));
    assert!(messages[2].contains(KEY) && !messages[2].contains(OTHER_KEY));
}

#[test]
fn all_is_asked_about_keys_like_anybody_else() {
    let world = with_key(key(true, "Disabled", reach("111122223333")));
    let plan = world.plan(&share("all"), &keys(KeyCheck::Refuse));
    assert_eq!(
        codes(&plan),
        ["encrypted-snapshot", "aws-managed-key", "key-unusable"]
    );
    let world = with_key(key(false, "Enabled", reach("111122223333")));
    let plan = world.plan(&share("all"), &keys(KeyCheck::Refuse));
    assert_eq!(codes(&plan), ["encrypted-snapshot", "key-not-shared"]);
    assert!(
        plan.refusals[1]
            .message()
            .starts_with("Nobody outside this account")
    );
}

#[test]
fn a_grantee_that_has_access_is_not_asked_about_keys() {
    let world = with_key(key(false, "Disabled", reach("111122223333"))).launched_by("444455556666");
    assert_eq!(
        world.plan(&share("444455556666"), &keys(KeyCheck::Refuse)),
        Plan::default()
    );
}

#[test]
fn a_key_that_cannot_be_looked_at_refuses_nothing_and_is_noted_once() {
    let denied = KeyFacts::Unknown("AccessDeniedException".into());
    for unknown in [denied, key(false, "Enabled", None)] {
        let mut world = with_key(unknown);
        world.image = world.image.device("/dev/sdx", Some("snap-2"), Some(true));
        world.copy.insert("snap-2".into(), CopyPermissions::new());
        let seen = world.facts.snapshots["snap-1"].clone();
        world.facts.snapshots.insert("snap-2".into(), seen);
        for check in [KeyCheck::Warn, KeyCheck::Refuse] {
            let both = together([share("444455556666"), copy("444455556666", "")]);
            let plan = world.plan(&both, &keys(check));
            assert_eq!((plan.changes.len(), codes(&plan)), (3, vec![]));
            let noted = plan
                .notes
                .iter()
                .filter(|note| note.contains("could not be checked"));
            assert_eq!(noted.count(), 1, "{:?}", plan.notes);
        }
    }
}

#[test]
fn nothing_is_claimed_of_a_key_that_nobody_looked_at_or_that_another_account_owns() {
    let world = encrypted(&[("snap-1", Some(KEY))]);
    let foreign = "arn:aws:kms:eu-central-1:999988887777:key/1234abcd";
    let mut other = encrypted(&[("snap-1", Some(foreign))]);
    other
        .facts
        .keys
        .insert(foreign.into(), key(false, "Enabled", reach("999988887777")));
    for world in [world, other] {
        for plan in plans(&world, &keys(KeyCheck::Refuse)) {
            assert_eq!((plan.changes.len(), codes(&plan)), (1, vec![]));
        }
    }
}

#[test]
fn the_key_that_recipients_need_is_noted_with_its_snapshots() {
    let mut world = encrypted(&[
        ("snap-2", Some(KEY)),
        ("snap-1", Some(KEY)),
        ("snap-3", Some(OTHER_KEY)),
    ]);
    world.image = world.image.device("/dev/sdx", Some("snap-4"), Some(false));
    for plan in plans(&world, &allow_all()) {
        let [first, second, ..] = plan.notes.as_slice() else {
            panic!("{plan:?}")
        };
        assert!(
            first.contains(KEY) && first.contains("snap-1, snap-2"),
            "{first}"
        );
        assert!(
            second.contains(OTHER_KEY) && second.contains("snap-3"),
            "{second}"
        );
    }
    for settled in [share("444455556666"), share("-444455556666")] {
        let world = world.clone().launched_by("444455556666");
        let plan = world.plan(&settled, &allow_all());
        assert_eq!(plan.notes, [""; 0], "nobody is added");
    }
    let plan = world.plan(&share("444455556666"), &Guardrails::default());
    assert_eq!(plan.notes, [""; 0], "nobody is added");
}

#[test]
fn a_key_that_ec2_does_not_show_is_noted_without_a_claim() {
    let hidden = image().device("/dev/sda", Some("snap-1"), Some(true));
    let keyless = encrypted(&[("snap-1", None)]);
    for world in [World::of(hidden), keyless] {
        for check in [None, Some(KeyCheck::Refuse)] {
            let guardrails = Guardrails {
                key_check: check,
                ..allow_all()
            };
            let plan = world.plan(&share("444455556666"), &guardrails);
            assert_eq!((plan.changes.len(), codes(&plan)), (1, vec![]));
            assert!(
                plan.notes[0].starts_with("snap-1 is encrypted"),
                "{:?}",
                plan.notes
            );
            assert_eq!(plan.notes.len(), 1);
        }
    }
    for plan in plans(&plain(), &keys(KeyCheck::Refuse)) {
        let about_keys = plan.notes.iter().any(|note| note.contains("key"));
        assert!(!about_keys, "nothing is encrypted: {:?}", plan.notes);
    }
}

#[test]
fn who_may_copy_is_noted_to_keep_the_copies() {
    let notes = |wish: &Directives, guardrails: &Guardrails| plain().plan(wish, guardrails).notes;
    let added = notes(&copy("444455556666", ""), &allow_all());
    let [note] = added.as_slice() else {
        panic!("{added:?}")
    };
    assert!(note.contains("copies cannot be taken back"), "{note}");
    for nobody in [copy("", "444455556666"), share("444455556666")] {
        assert_eq!(notes(&nobody, &allow_all()), [""; 0]);
    }
    let refused = notes(&copy("444455556666", ""), &Guardrails::default());
    assert_eq!(refused, [""; 0]);
}

#[test]
fn each_snapshot_gets_the_difference_to_its_own_permissions() {
    let image = image()
        .device("/dev/sdb", Some("snap-2"), None)
        .device("/dev/sda", Some("snap-1"), None)
        .device("/dev/sdc", Some("snap-2"), None)
        .device("/dev/sdd", None, None);
    let world = World::of(image)
        .copied_by("snap-1", "222233334444 444455556666")
        .copied_by("snap-2", "333344445555");
    let wish = copy("333344445555 444455556666 111122223333", "222233334444");
    assert_eq!(
        changes(&world.plan(&wish, &allow_all())),
        [
            "copy snap-1 -222233334444",
            "copy snap-1 +333344445555",
            "copy snap-2 +444455556666",
        ]
    );
}

#[test]
fn one_refused_copier_refuses_all_additions_to_all_snapshots_and_no_removal() {
    let image =
        image()
            .device("/dev/sda", Some("snap-1"), None)
            .device("/dev/sdb", Some("snap-2"), None);
    let world = World::of(image)
        .copied_by("snap-1", "222233334444 444455556666 555566667777")
        .copied_by("snap-2", "222233334444");
    let allowed_copiers = AllowedCopiers::parse("333344445555").unwrap();
    let guardrails = Guardrails {
        allowed_copiers,
        ..Guardrails::default()
    };
    let wish = copy("333344445555 444455556666 666677778888", "222233334444");
    let plan = world.plan(&wish, &guardrails);
    assert_eq!(
        changes(&plan),
        ["copy snap-1 -222233334444", "copy snap-2 -222233334444"]
    );
    assert_eq!(
        refusals(&plan),
        [
            ("copier-not-allowed", "444455556666".into()),
            ("copier-not-allowed", "666677778888".into()),
        ]
    );
    assert_eq!(
        plan.refusals[0].attribute,
        Attribute::CreateVolumePermission
    );
}

#[test]
fn a_copier_that_has_the_permission_of_every_snapshot_needs_none() {
    let image = image().device("/dev/sda", Some("snap-1"), None);
    let world = World::of(image).copied_by("snap-1", "444455556666");
    assert_eq!(
        world.plan(&copy("444455556666", ""), &Guardrails::default()),
        Plan::default()
    );
}

#[test]
fn removals_of_copiers_are_not_limited() {
    let world = plain().copied_by("snap-1", "222233334444 444455556666");
    let guardrails = Guardrails {
        max_removals: Some(0),
        ..Guardrails::default()
    };
    let plan = world.plan(&copy("", "222233334444 444455556666"), &guardrails);
    assert_eq!(changes(&plan), ["copy snap-1 -222233334444 444455556666"]);
}

#[test]
fn a_call_about_copies_names_at_most_500_accounts() {
    let list: Vec<String> = (0..1001).map(|number| format!("{number:012}")).collect();
    let list = list.join(" ");
    let sizes = |plan: &Plan| -> Vec<usize> {
        let calls = plan.changes.iter().map(|change| match change {
            Change::CopyPermission(change) => change.accounts.len(),
            _ => 0,
        });
        calls.collect()
    };
    assert_eq!(
        sizes(&plain().plan(&copy(&list, ""), &allow_all())),
        [500, 500, 1]
    );
    let world = plain().copied_by("snap-1", &list);
    assert_eq!(
        sizes(&world.plan(&copy("", &list), &allow_all())),
        [500, 500, 1]
    );
}

#[test]
fn a_snapshot_whose_permissions_were_not_read_is_left_alone() {
    let mut world = plain();
    world.copy = BTreeMap::new();
    let plan = world.plan(&copy("444455556666", "222233334444"), &allow_all());
    assert_eq!(plan, Plan::default());
}

#[test]
fn a_reach_is_one_sided() {
    let owner = "111122223333".parse().unwrap();
    let could = |anybody, list: &str, grantee: &str| {
        let accounts: BTreeSet<_> = accounts(list).into_iter().collect();
        KeyReach { anybody, accounts }.could_reach(&grantee.parse().unwrap(), &owner)
    };
    for grantee in ["444455556666", ORGANIZATION, "all"] {
        assert!(could(true, "", grantee));
        assert!(!could(false, "111122223333", grantee));
        assert!(could(false, "111122223333 444455556666", grantee));
    }
    assert!(!could(false, "222233334444", "444455556666"));
    assert!(could(false, "222233334444", ORGANIZATION));
}
