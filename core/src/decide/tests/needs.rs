//! The facts that plans need.

use std::collections::BTreeSet;

use super::*;
use crate::{
    decide::{
        keys::KeyCheck,
        plan::{FactsNeeded, facts_needed, keys_needed},
    },
    model::facts::SnapshotFacts,
    testing::image,
};

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd";

fn device(flag: Option<bool>) -> Image {
    image().device("/dev/sda", Some("snap-1"), flag)
}

/// The `facts_needed`, as `(snapshots, block public access)`.
fn asked(world: &World, wish: &Directives, guardrails: &Guardrails) -> (bool, bool) {
    let FactsNeeded {
        snapshots,
        block_public_access,
    } = facts_needed(
        &world.image,
        wish,
        guardrails,
        Some(&world.launch),
        &world.copy,
    );
    (snapshots, block_public_access)
}

#[test]
fn facts_are_needed_only_if_somebody_would_be_let_in_whom_they_decide_about() {
    let guardrails = Guardrails::default();
    let plain = World::of(device(Some(false)));
    let encrypted = World::of(device(Some(true)));
    for (wish, of_plain, of_encrypted) in [
        (Directives::default(), (false, false), (false, false)),
        (share("-all -444455556666"), (false, false), (false, false)),
        (share("all"), (true, true), (true, true)),
        (share("444455556666"), (false, false), (true, false)),
        (share("111122223333"), (false, false), (false, false)),
        (copy("444455556666", ""), (false, false), (true, false)),
        (copy("", "444455556666"), (false, false), (false, false)),
    ] {
        assert_eq!(asked(&plain, &wish, &guardrails), of_plain, "{wish:?}");
        assert_eq!(
            asked(&encrypted, &wish, &guardrails),
            of_encrypted,
            "{wish:?}"
        );
    }
    for world in [plain, encrypted] {
        let world = world
            .launched_by("all 444455556666")
            .copied_by("snap-1", "444455556666");
        let wish = together([share("all 444455556666"), copy("444455556666", "")]);
        assert_eq!(asked(&world, &wish, &guardrails), (false, false), "settled");
    }
}

#[test]
fn an_image_without_snapshots_has_none_to_ask_about() {
    let world = World::of(image().device("/dev/sda", None, Some(true)));
    assert_eq!(
        asked(&world, &share("all 444455556666"), &Guardrails::default()),
        (false, true)
    );
}

#[test]
fn all_is_judged_by_the_images_own_flag_as_long_as_permissions_are_not_read() {
    let none = BTreeMap::new();
    let ask = |image: &Image, wish: &Directives| {
        facts_needed(image, wish, &Guardrails::default(), None, &none)
    };
    let public = Image {
        public: true,
        ..device(Some(true))
    };
    let both = FactsNeeded {
        snapshots: true,
        block_public_access: true,
    };
    assert_eq!(ask(&device(Some(true)), &share("all")), both);
    assert_eq!(ask(&public, &share("all")), FactsNeeded::default());
    assert_eq!(
        ask(&device(Some(true)), &share("444455556666")),
        FactsNeeded::default()
    );
    assert_eq!(
        ask(&device(Some(true)), &copy("444455556666", "")),
        FactsNeeded::default()
    );
    assert_eq!(
        ask(&device(Some(true)), &Directives::default()),
        FactsNeeded::default()
    );
}

#[test]
fn a_mapping_without_a_flag_is_asked_about_if_keys_are_looked_at() {
    let world = World::of(device(None));
    let keys = Guardrails {
        key_check: Some(KeyCheck::Warn),
        ..Guardrails::default()
    };
    let wish = share("444455556666");
    assert_eq!(asked(&world, &wish, &Guardrails::default()), (false, false));
    assert_eq!(asked(&world, &wish, &keys), (true, false));
    assert_eq!(
        asked(&World::of(device(Some(false))), &wish, &keys),
        (false, false)
    );
}

#[test]
fn keys_are_needed_only_with_the_setting_and_if_somebody_would_be_let_in() {
    let mut world = World::of(device(Some(true)).device("/dev/sdb", Some("snap-2"), Some(true)));
    for snapshot in ["snap-1", "snap-2", "snap-9"] {
        let seen = SnapshotFacts {
            encrypted: Some(true),
            key: Some(KEY.into()),
        };
        world.facts.snapshots.insert(snapshot.into(), seen);
    }
    let asked = |world: &World, wish: &Directives, key_check| {
        let guardrails = Guardrails {
            key_check,
            ..Guardrails::default()
        };
        let World {
            image,
            launch,
            copy,
            facts,
        } = world;
        keys_needed(image, wish, &guardrails, launch, copy, facts)
    };
    let key = BTreeSet::from([KEY.to_owned()]);
    for check in [KeyCheck::Warn, KeyCheck::Refuse] {
        for wish in [
            share("444455556666"),
            share("all"),
            copy("444455556666", ""),
        ] {
            assert_eq!(asked(&world, &wish, Some(check)), key);
            assert_eq!(asked(&world, &wish, None), BTreeSet::new());
        }
        for wish in [
            share("-all"),
            copy("", "444455556666"),
            Directives::default(),
        ] {
            assert_eq!(asked(&world, &wish, Some(check)), BTreeSet::new());
        }
        let settled = world.clone().launched_by("444455556666");
        assert_eq!(
            asked(&settled, &share("444455556666"), Some(check)),
            BTreeSet::new()
        );
    }
    world.facts.snapshots.clear();
    assert_eq!(
        asked(&world, &share("all"), Some(KeyCheck::Warn)),
        BTreeSet::new()
    );
}
