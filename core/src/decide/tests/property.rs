//! For any image, tags, permissions, keys, scan results and settings: nobody is let in against a
//! guardrail, nobody is let in before the rest is right, and a plan that was carried out leaves
//! nothing to do. The conditions are written from the contract, not from the code.

use chrono::{DateTime, Months, Utc};
use proptest::prelude::*;

use super::*;
use crate::{
    decide::{keys::KeyCheck, plan::plan_removals},
    model::{
        facts::SnapshotFacts,
        finding::{Scan, Severity},
        image::{DeprecationTime, EbsDevice, RootDevice},
        key::{Key, KeyFacts, KeyReach},
        refusal::Refusal,
    },
    testing::{cases, image, must_not_be_public},
};

const NAMES: [&str; 6] = [
    "all",
    "111122223333",
    "222233334444",
    "333344445555",
    "arn:aws:organizations::444455556666:organization/o-exampleorgid",
    "arn:aws:organizations::444455556666:ou/o-exampleorgid/ou-ab12-cdef3456",
];
const ACCOUNTS: [&str; 4] = [
    "222233334444",
    "333344445555",
    "444455556666",
    "555566667777",
];
const KEYS: [&str; 2] = [
    "arn:aws:kms:eu-central-1:111122223333:key/1",
    "arn:aws:kms:eu-central-1:111122223333:key/2",
];
const TIMES: [&str; 6] = [
    "2026-11-21T12:00:00.000Z",
    "2020-01-01T00:00:00.000Z",
    "2027-06-30T00:00:00.000Z",
    "2028-06-30T00:00:00.000Z",
    "2035-01-01T00:00:00.000Z",
    "soon",
];
const DEPRECATE_AT: [&str; 7] = [
    "-",
    "2020-01-01",
    "2027-06-30",
    "2027-01-01",
    "2028-06-30",
    "2035-01-01",
    "2040-01-01",
];

fn names() -> impl Strategy<Value = LaunchPermissions> {
    prop::collection::btree_set(0..NAMES.len(), 0..NAMES.len()).prop_map(|names| {
        names
            .into_iter()
            .map(|name| NAMES[name].parse().unwrap())
            .collect()
    })
}

fn some_accounts() -> impl Strategy<Value = CopyPermissions> {
    prop::collection::btree_set(0..ACCOUNTS.len(), 0..ACCOUNTS.len()).prop_map(|set| {
        set.into_iter()
            .map(|n| ACCOUNTS[n].parse().unwrap())
            .collect()
    })
}

prop_compose! {
    fn any_device()(
        index in 0..4_u8,
        has_snapshot in prop::bool::weighted(0.8),
        encrypted in any::<Option<bool>>(),
    ) -> EbsDevice {
        let snapshot = has_snapshot.then(|| format!("snap-{index}"));
        EbsDevice { device: format!("/dev/sd{index}"), snapshot, encrypted }
    }
}

fn rarely<T: Clone + std::fmt::Debug>(value: T) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![6 => Just(vec![]), 1 => Just(vec![value])]
}

fn any_scan() -> impl Strategy<Value = Scan> {
    prop_oneof![
        Just(Scan::Unscanned),
        (0..6_usize).prop_map(|n| Scan::Scanned(Severity::ALL[n])),
        Just(Scan::Unreadable),
    ]
}

prop_compose! {
    fn any_image()(
        devices in prop::collection::vec(any_device(), 0..3),
        unclear_devices in rarely("/dev/sdx".to_owned()),
        root in prop::option::weighted(0.2, 0..4_u8),
        product_codes in rarely("code".to_owned()),
        watermarks in rarely("111122223333:gold".to_owned()),
        backup in rarely("aws:dlm:lifecycle-policy-id".to_owned()),
        shared in prop::option::of("[xy]"),
        description in prop::option::of("[a-c]{0,2}"),
        imds in prop::option::of(Just("v2.0".to_owned())),
        time in prop::option::of(0..TIMES.len()),
        scan in any_scan(),
    ) -> Image {
        let mut image = Image {
            devices,
            unclear_devices,
            product_codes,
            watermarks,
            description,
            imds_support: imds,
            scan,
            creation_date: Some("2026-05-01T10:20:20.000Z".into()),
            ..image()
        };
        if let Some(index) = root {
            image.root_device = RootDevice { is_ebs: true, name: Some(format!("/dev/sd{index}")) };
        }
        if let Some(time) = time {
            image.deprecation_time = DeprecationTime::read(TIMES[time]);
        }
        for tag in backup {
            image = image.tag(&tag, "policy");
        }
        if let Some(value) = shared {
            image = image.tag("ec2:SharedTag/os", &value);
        }
        image
    }
}

fn any_key() -> impl Strategy<Value = KeyFacts> {
    let reach = prop::option::of((prop::bool::weighted(0.3), some_accounts()).prop_map(
        |(anybody, accounts)| KeyReach {
            anybody,
            accounts: accounts.into_iter().collect(),
        },
    ));
    let state = prop_oneof![4 => Just("Enabled"), 1 => Just("PendingDeletion")];
    let known =
        (prop::bool::weighted(0.2), state, reach).prop_map(|(aws_managed, state, reach)| {
            KeyFacts::Known(Key {
                aws_managed,
                state: state.to_owned(),
                reach,
            })
        });
    prop_oneof![1 => Just(KeyFacts::Unknown("denied".into())), 5 => known]
}

fn any_facts() -> impl Strategy<Value = ShareFacts> {
    let snapshot =
        (any::<Option<bool>>(), prop::option::of(0..KEYS.len())).prop_map(|(encrypted, key)| {
            SnapshotFacts {
                encrypted,
                key: key.map(|key| KEYS[key].to_owned()),
            }
        });
    let id = (0..4_u8).prop_map(|index| format!("snap-{index}"));
    let snapshots = prop::collection::btree_map(id, snapshot, 0..5);
    let arn = (0..KEYS.len()).prop_map(|key| KEYS[key].to_owned());
    let keys = prop::collection::btree_map(arn, any_key(), 0..3);
    (snapshots, any::<Option<bool>>(), keys).prop_map(|(snapshots, block_public_access, keys)| {
        ShareFacts {
            snapshots,
            block_public_access,
            keys,
        }
    })
}

fn any_wish(image: &Image) -> impl Strategy<Value = Directives> + use<> {
    let items = prop::collection::vec((prop::bool::ANY, 0..NAMES.len()), 0..6);
    let launch = (prop::bool::weighted(0.3), items).prop_map(|(exactly, items)| {
        let mut named = LaunchPermissions::new();
        let mut value = if exactly {
            "=".to_owned()
        } else {
            String::new()
        };
        for (removes, name) in items {
            let sign = if removes && !exactly { "-" } else { "" };
            if named.insert(NAMES[name].parse().unwrap()) {
                value = format!("{value} {sign}{}", NAMES[name]);
            }
        }
        share(&value)
    });
    let copies = (some_accounts(), some_accounts()).prop_map(|(add, remove)| {
        let remove = &remove - &add;
        let wish = CopyPermissionWish { add, remove };
        Directives {
            copy_permission: Some(wish),
            ..Directives::default()
        }
    });
    let image = image.clone();
    let deprecation =
        (0..DEPRECATE_AT.len()).prop_map(move |time| deprecate(&image, DEPRECATE_AT[time]));
    let text = (
        prop::option::of("[a-c]{1,2}"),
        prop::bool::ANY,
        prop::option::of(any_shared_tag()),
    );
    let text = text.prop_map(|(description, imds, shared)| Directives {
        description,
        imds_support: imds.then_some(crate::model::image::ImdsSupport::V2),
        shared_tags: shared.into_iter().collect(),
        ..Directives::default()
    });
    (
        launch,
        prop::option::of(copies),
        prop::option::of(deprecation),
        text,
    )
        .prop_map(|(launch, copies, deprecation, text)| {
            together(
                [Some(launch), copies, deprecation, Some(text)]
                    .into_iter()
                    .flatten(),
            )
        })
}

fn any_shared_tag() -> impl Strategy<Value = (String, Option<String>)> {
    (
        prop_oneof![Just("os".to_owned()), Just("private".to_owned())],
        prop::option::of("[xy]"),
    )
}

prop_compose! {
    fn any_guardrails()(
        allow_public in prop::bool::weighted(0.7),
        allowed in prop_oneof![
            Just("*"), Just("222233334444"), Just("*,-222233334444"), Just(""),
            Just("222233334444,arn:aws:organizations::444455556666:organization/o-exampleorgid"),
        ],
        copiers in prop_oneof![2 => Just("*"), 1 => Just("222233334444,333344445555")],
        shared in prop_oneof![2 => Just("*"), 1 => Just("o*"), 1 => Just("")],
        share_backups in prop::bool::ANY,
        severity in prop::option::weighted(0.4, 0..5_usize),
        key_check in prop::option::of(prop_oneof![Just(KeyCheck::Warn), Just(KeyCheck::Refuse)]),
        max_removals in prop::option::weighted(0.3, 0..3_usize),
    ) -> Guardrails {
        Guardrails {
            allow_public,
            allowed_grantees: AllowedGrantees::parse(allowed, None).unwrap(),
            allowed_copiers: AllowedCopiers::parse(copiers).unwrap(),
            shared_tags: SharedTagPatterns::parse(shared).unwrap(),
            share_backups,
            max_finding_severity: severity.map(|severity| Severity::ALL[severity]),
            key_check,
            max_removals,
        }
    }
}

fn any_case() -> impl Strategy<Value = (World, Directives, Guardrails)> {
    any_image().prop_flat_map(|image| {
        let id = (0..4_u8).prop_map(|index| format!("snap-{index}"));
        let copies = prop::collection::btree_map(id, some_accounts(), 4..5);
        let wish = any_wish(&image);
        let world = (Just(image), names(), copies, any_facts()).prop_map(
            |(mut image, launch, copy, facts)| {
                image.public = launch.contains(&Grantee::All);
                World {
                    image,
                    launch,
                    copy,
                    facts,
                }
            },
        );
        (world, wish, any_guardrails())
    })
}

/// Whether EC2 or a guardrail forbids making this image public, but for its deprecation.
fn public_is_forbidden(World { image, facts, .. }: &World, guardrails: &Guardrails) -> bool {
    let flag = |snapshot: &str| Some(facts.snapshots.get(snapshot)?.encrypted);
    !guardrails.allow_public || must_not_be_public(image, flag, facts.block_public_access)
}

/// Whether a guardrail forbids letting this grantee in, to launch or to copy.
fn anybody_is_forbidden(world: &World, guardrails: &Guardrails, grantee: &Grantee) -> bool {
    let World { image, facts, .. } = world;
    let backup = image.tags.keys().any(|key| key.starts_with("aws:dlm:"));
    let found = match image.scan {
        Scan::Unscanned | Scan::Unreadable => Severity::Critical,
        Scan::Scanned(found) => found,
    };
    let bad_scan = guardrails
        .max_finding_severity
        .is_some_and(|limit| found > limit);
    let bad_key = image.devices.iter().any(|device| {
        let snapshot = device
            .snapshot
            .as_ref()
            .and_then(|id| facts.snapshots.get(id));
        let Some(SnapshotFacts {
            encrypted,
            key: Some(key),
        }) = snapshot
        else {
            return false;
        };
        if *encrypted == Some(false) && device.encrypted != Some(true) {
            return false;
        }
        let Some(KeyFacts::Known(key)) = facts.keys.get(key) else {
            return false;
        };
        let out_of_reach = key
            .reach
            .as_ref()
            .is_some_and(|reach| !reach.could_reach(grantee, &image.owner));
        key.aws_managed
            || key.state == "PendingDeletion"
            || guardrails.key_check == Some(KeyCheck::Refuse) && out_of_reach
    });
    backup && !guardrails.share_backups || bad_scan || guardrails.key_check.is_some() && bad_key
}

/// The place of a change among the others.
fn rank(change: &Change) -> (u8, String) {
    let rank = |number| (number, String::new());
    match change {
        Change::LaunchPermission(change) if change.add.is_empty() => rank(0),
        Change::CopyPermission(change) if change.direction == Direction::Remove => {
            (1, change.snapshot.clone())
        }
        Change::Description { .. } => rank(2),
        Change::ImdsSupport { .. } => rank(3),
        Change::Deprecation { .. } => rank(4),
        Change::SharedTag { key, .. } => (5, key.clone()),
        Change::CopyPermission(change) => (6, change.snapshot.clone()),
        Change::LaunchPermission(_) => rank(7),
    }
}

/// The time at which EC2 deprecates an image that is public.
fn public_limit() -> DateTime<Utc> {
    "2028-05-01T10:20:00Z".parse().unwrap()
}

fn check_launch(world: &World, guardrails: &Guardrails, first: &Plan) -> Result<(), TestCaseError> {
    for change in &first.changes {
        let Change::LaunchPermission(change) = change else {
            continue;
        };
        for grantee in &change.add {
            prop_assert!(!anybody_is_forbidden(world, guardrails, grantee));
            if *grantee == Grantee::All {
                prop_assert!(!public_is_forbidden(world, guardrails));
                let is_moved = |change: &Change| matches!(change, Change::Deprecation { .. });
                let passed = match &world.image.deprecation_time {
                    DeprecationTime::At(_, time) => *time <= now(),
                    DeprecationTime::Unreadable(_) => !first.changes.iter().any(is_moved),
                    DeprecationTime::Never => false,
                };
                prop_assert!(!passed);
            } else {
                let permission = guardrails.allowed_grantees.permission(grantee);
                prop_assert_eq!(permission, crate::decide::allow_list::Permission::Allowed);
            }
        }
        prop_assert!(change.add.is_disjoint(&change.remove));
        prop_assert!(change.add.is_disjoint(&world.launch));
        prop_assert!(change.remove.is_subset(&world.launch));
        prop_assert!(!(change.add.is_empty() && change.remove.is_empty()));
        prop_assert!(
            guardrails
                .max_removals
                .is_none_or(|most| change.remove.len() <= most)
        );
        prop_assert!(!change.add.contains(&"111122223333".parse().unwrap()));
        if let Some(rest) = change.without_additions() {
            prop_assert!(rest.add.is_empty() && rest.remove == change.remove);
            prop_assert_eq!(&rest.after, &(&world.launch - &change.remove));
        }
    }
    Ok(())
}

fn check_others(world: &World, guardrails: &Guardrails, first: &Plan) -> Result<(), TestCaseError> {
    let becomes_public = first
        .changes
        .iter()
        .any(|change| matches!(change, Change::LaunchPermission(change) if change.makes_public()));
    for change in &first.changes {
        match change {
            Change::CopyPermission(change) => {
                let present = &world.copy[&change.snapshot];
                if change.direction == Direction::Remove {
                    prop_assert!(change.accounts.is_subset(present));
                    continue;
                }
                prop_assert!(change.accounts.is_disjoint(present));
                for account in &change.accounts {
                    prop_assert!(guardrails.allowed_copiers.covers(account));
                    let grantee = Grantee::Account(account.clone());
                    prop_assert!(!anybody_is_forbidden(world, guardrails, &grantee));
                }
            }
            Change::SharedTag { key, from, to } => {
                prop_assert!(guardrails.shared_tags.cover(key));
                prop_assert!(from != to);
            }
            Change::Deprecation { to: Some(to), .. } => {
                prop_assert!(*to > now() && *to <= now() + Months::new(120));
                prop_assert!(!becomes_public || *to <= public_limit());
            }
            Change::Deprecation { to: None, .. } => prop_assert!(!becomes_public),
            _ => {}
        }
    }
    Ok(())
}

/// EC2 deprecates a public image two years after its creation.
fn cap(image: &mut Image) {
    let later = match &image.deprecation_time {
        DeprecationTime::At(_, time) => *time > public_limit(),
        DeprecationTime::Never => true,
        DeprecationTime::Unreadable(_) => false,
    };
    if image.public && later {
        image.deprecation_time = DeprecationTime::At("cap".into(), public_limit());
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn for_any_image_wish_and_settings_the_plan_keeps_its_promises(
        (mut world, wish, guardrails) in any_case(),
    ) {
        let first = world.plan(&wish, &guardrails);
        check_launch(&world, &guardrails, &first)?;
        check_others(&world, &guardrails, &first)?;
        let ranks: Vec<_> = first.changes.iter().map(rank).collect();
        prop_assert!(ranks.is_sorted(), "{:?}", ranks);
        let waits = first.changes.iter().skip_while(|change| !change.lets_in());
        prop_assert!(waits.into_iter().all(Change::lets_in), "nobody is let in before the rest");
        prop_assert!(first.refusals.iter().map(Refusal::code).is_sorted());

        let was_public = world.image.public;
        let private_at_last = first.changes.iter().any(|change| {
            matches!(change, Change::LaunchPermission(change)
                if !change.add.is_empty() && change.remove.contains(&Grantee::All))
        });
        world.apply(&first.changes);
        if !was_public {
            cap(&mut world.image);
        }
        let mut second = world.plan(&wish, &guardrails);
        // While an image is public EC2 takes no later deprecation; it is private only now.
        if private_at_last && let [Change::Deprecation { .. }] = second.changes.as_slice() {
            world.apply(&second.changes);
            second = world.plan(&wish, &guardrails);
        }
        prop_assert_eq!(second.changes, vec![]);
    }

    #[test]
    fn early_removals_are_a_part_of_the_plan_and_leave_its_rest(
        (mut world, wish, guardrails) in any_case(),
    ) {
        let whole = world.plan(&wish, &guardrails);
        let early = plan_removals(&world.observed(), &wish, &guardrails);
        prop_assert!(early.refusals.is_empty());
        let before = world.clone();
        world.apply(&early.changes);
        prop_assert!(world.launch.is_subset(&before.launch), "nobody is let in");
        prop_assert!(world.copy.iter().all(|(id, copiers)| copiers.is_subset(&before.copy[id])));
        let rest = world.plan(&wish, &guardrails);
        let mut at_once = before;
        at_once.apply(&whole.changes);
        world.apply(&rest.changes);
        prop_assert_eq!((world.launch, world.copy), (at_once.launch, at_once.copy));
    }
}
