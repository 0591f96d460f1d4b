//! Launch permissions: differences, limits on additions and removals, `all`.

use super::*;
use crate::{
    model::{
        facts::SnapshotFacts,
        image::{DeprecationTime, RootDevice},
    },
    testing::image,
    wish::launch_permission::LaunchPermissionWish,
};

/// The planned difference as `(add, remove, after)`.
fn difference(plan: &Plan) -> Option<(LaunchPermissions, LaunchPermissions, LaunchPermissions)> {
    plan.changes.iter().find_map(|change| match change {
        Change::LaunchPermission(change) => Some((
            change.add.clone(),
            change.remove.clone(),
            change.after.clone(),
        )),
        _ => None,
    })
}

#[allow(clippy::unnecessary_wraps)] // As `difference` has it.
fn some(
    add: &str,
    remove: &str,
    after: &str,
) -> Option<(LaunchPermissions, LaunchPermissions, LaunchPermissions)> {
    Some((grantees(add), grantees(remove), grantees(after)))
}

fn planned(value: &str, current: &str, guardrails: &Guardrails) -> Plan {
    World::of(image())
        .launched_by(current)
        .plan(&share(value), guardrails)
}

#[test]
fn grantees_that_are_not_named_keep_access() {
    let plan = planned(
        "444455556666 -222233334444",
        "222233334444 333344445555",
        &allow_all(),
    );
    assert_eq!(
        difference(&plan),
        some("444455556666", "222233334444", "333344445555 444455556666")
    );
}

#[test]
fn an_equals_sign_removes_everyone_else() {
    let plan = planned("= 444455556666", "222233334444 all", &allow_all());
    assert_eq!(
        difference(&plan),
        some("444455556666", "222233334444 all", "444455556666")
    );
    let plan = planned("=", "222233334444 all", &allow_all());
    assert_eq!(difference(&plan), some("", "222233334444 all", ""));
}

#[test]
fn minus_all_makes_private_and_leaves_accounts_alone() {
    let plan = planned("-all", "222233334444 all", &allow_all());
    assert_eq!(difference(&plan), some("", "all", "222233334444"));
}

#[test]
fn nothing_is_planned_if_everything_is_as_wanted() {
    let plan = planned("444455556666 -all", "444455556666", &Guardrails::default());
    assert_eq!(plan, Plan::default());
}

#[test]
fn the_owner_is_neither_added_nor_removed() {
    assert_eq!(planned("111122223333", "", &allow_all()), Plan::default());
    let plan = planned("=", "111122223333 444455556666", &allow_all());
    assert_eq!(difference(&plan), some("", "444455556666", "111122223333"));
}

#[test]
fn a_wish_that_names_the_owner_all_the_same_adds_nobody() {
    let wish = |list| LaunchPermissionWish::Edit {
        add: grantees(list),
        remove: grantees(""),
    };
    let planned = |list| {
        let launch_permission = Some(wish(list));
        let directives = Directives {
            launch_permission,
            ..Directives::default()
        };
        World::of(image()).plan(&directives, &allow_all())
    };
    assert_eq!(planned("111122223333"), Plan::default());
    let some = some("444455556666", "", "444455556666");
    assert_eq!(difference(&planned("111122223333 444455556666")), some);
}

#[test]
fn one_refused_addition_refuses_all_additions_and_no_removal() {
    let allowed = AllowedGrantees::parse("444455556666", None).unwrap();
    let guardrails = Guardrails {
        allowed_grantees: allowed,
        ..Guardrails::default()
    };
    let value = "444455556666 222233334444 -333344445555";
    let plan = planned(value, "333344445555", &guardrails);
    assert_eq!(difference(&plan), some("", "333344445555", ""));
    assert_eq!(
        refusals(&plan),
        [("grantee-not-allowed", "222233334444".into())]
    );
    assert_eq!(plan.refusals[0].attribute, Attribute::LaunchPermission);
}

#[test]
fn each_grantee_that_is_not_allowed_has_a_refusal_and_a_forbidden_one_says_so() {
    let allowed = AllowedGrantees::parse("*,-222233334444,-333344445555", None).unwrap();
    let guardrails = Guardrails {
        allowed_grantees: allowed,
        ..allow_all()
    };
    let plan = planned("444455556666 222233334444 333344445555", "", &guardrails);
    assert_eq!(
        refusals(&plan),
        [
            ("grantee-not-allowed", "222233334444".into()),
            ("grantee-not-allowed", "333344445555".into()),
        ]
    );
    let message = plan.refusals[0].message();
    assert!(message.contains("holds \"-222233334444\""), "{message}");
    assert_eq!(plan.changes, []);
}

#[test]
fn a_forbidden_grantee_keeps_the_access_that_it_has() {
    let allowed = AllowedGrantees::parse("*,-222233334444", None).unwrap();
    let guardrails = Guardrails {
        allowed_grantees: allowed,
        ..allow_all()
    };
    assert_eq!(
        planned("222233334444", "222233334444", &guardrails),
        Plan::default()
    );
}

#[test]
fn an_exact_list_is_refused_whole() {
    let plan = planned("= 444455556666", "333344445555", &Guardrails::default());
    assert_eq!(
        (difference(&plan), codes(&plan)),
        (None, vec!["grantee-not-allowed"])
    );
    let guardrails = Guardrails {
        max_removals: Some(0),
        ..allow_all()
    };
    let plan = planned("= 444455556666", "333344445555", &guardrails);
    assert_eq!(
        (difference(&plan), codes(&plan)),
        (None, vec!["too-many-removals"])
    );
}

#[test]
fn too_many_removals_refuse_the_removals_and_no_addition() {
    let guardrails = Guardrails {
        max_removals: Some(1),
        ..allow_all()
    };
    let plan = planned(
        "444455556666 -222233334444 -all",
        "222233334444 all",
        &guardrails,
    );
    assert_eq!(
        difference(&plan),
        some("444455556666", "", "222233334444 444455556666 all")
    );
    assert_eq!(
        refusals(&plan),
        [("too-many-removals", "ami-0123456789abcdef0".into())]
    );
    let only_one_counts = planned("-222233334444 -all", "all", &guardrails);
    assert_eq!(difference(&only_one_counts), some("", "all", ""));
}

#[test]
fn a_grantee_with_access_needs_no_permission_to_keep_it() {
    let plan = planned(
        "= 444455556666 all",
        "444455556666 all 222233334444",
        &Guardrails::default(),
    );
    assert_eq!(
        difference(&plan),
        some("", "222233334444", "444455556666 all")
    );
    assert_eq!(codes(&plan), [""; 0]);
}

#[test]
fn a_plain_image_may_be_public_if_that_is_allowed() {
    let image = image().device("/dev/xvda", Some("snap-1"), Some(false));
    let world = World::of(image).with(facts(&[("snap-1", Some(false))]));
    let plan = world.plan(&share("all"), &allow_all());
    assert_eq!(
        (changes(&plan), codes(&plan)),
        (vec!["launch +all -".into()], vec![])
    );
}

#[test]
fn public_is_refused_unless_it_is_allowed() {
    let plan = planned("all", "", &Guardrails::default());
    assert_eq!(
        refusals(&plan),
        [("public-not-allowed", "ami-0123456789abcdef0".into())]
    );
    assert_eq!(plan.changes, []);
}

#[test]
fn encryption_is_judged_from_mapping_and_snapshot_together() {
    const ENCRYPTED: Option<&str> = Some("encrypted-snapshot");
    const UNKNOWN: Option<&str> = Some("encryption-unknown");
    // Mapping, snapshot as seen, refusal; an outer None is a snapshot that cannot be seen.
    let table = [
        (Some(true), Some(Some(true)), ENCRYPTED),
        (Some(true), Some(Some(false)), ENCRYPTED),
        (Some(true), Some(None), ENCRYPTED),
        (Some(true), None, ENCRYPTED),
        (Some(false), Some(Some(true)), ENCRYPTED),
        (Some(false), Some(Some(false)), None),
        (Some(false), Some(None), None),
        (Some(false), None, UNKNOWN),
        (None, Some(Some(true)), ENCRYPTED),
        (None, Some(Some(false)), None),
        (None, Some(None), UNKNOWN),
        (None, None, UNKNOWN),
    ];
    for (mapping, seen, expected) in table {
        let image = image().device("/dev/xvda", Some("snap-1"), mapping);
        let facts = seen.map_or_else(|| facts(&[]), |encrypted| facts(&[("snap-1", encrypted)]));
        let plan = World::of(image)
            .with(facts)
            .plan(&share("all"), &allow_all());
        let expected: Vec<_> = expected
            .into_iter()
            .map(|code| (code, "snap-1".into()))
            .collect();
        assert_eq!(
            refusals(&plan),
            expected,
            "mapping {mapping:?}, snapshot {seen:?}"
        );
        assert_eq!(plan.changes.is_empty(), !expected.is_empty());
    }
}

#[test]
fn a_volume_without_a_snapshot_counts_by_its_own_flag() {
    for (flag, refused) in [(Some(true), true), (Some(false), false), (None, false)] {
        let image = image().device("/dev/sdf", None, flag);
        let plan = World::of(image).plan(&share("all"), &allow_all());
        let expected = if refused {
            vec![("encrypted-snapshot", "/dev/sdf".to_owned())]
        } else {
            vec![]
        };
        assert_eq!(refusals(&plan), expected);
    }
}

#[test]
fn a_device_that_is_neither_ebs_nor_instance_store_is_unknown() {
    let mut image = image();
    image.unclear_devices = vec!["/dev/sdg".into(), "/dev/sdf".into(), "/dev/sdg".into()];
    let plan = World::of(image).plan(&share("all"), &allow_all());
    let unknown = |device: &str| ("encryption-unknown", device.to_owned());
    assert_eq!(refusals(&plan), [unknown("/dev/sdf"), unknown("/dev/sdg")]);
}

#[test]
fn an_ebs_root_without_a_mapping_of_it_is_unknown() {
    let id = "ami-0123456789abcdef0";
    for (is_ebs, name, expected) in [
        (true, Some("/dev/xvda"), Some("/dev/xvda")),
        (true, Some("/dev/sdf"), None),
        (true, None, Some(id)),
        (false, Some("/dev/xvda"), None),
        (false, None, None),
    ] {
        let mut image = image().device("/dev/sdf", None, None);
        image.root_device = RootDevice {
            is_ebs,
            name: name.map(Into::into),
        };
        let plan = World::of(image).plan(&share("all"), &allow_all());
        let expected: Vec<_> = expected
            .into_iter()
            .map(|device| ("encryption-unknown", device.into()))
            .collect();
        assert_eq!(refusals(&plan), expected, "{is_ebs} {name:?}");
    }
}

#[test]
fn product_codes_and_watermarks_are_each_named() {
    let mut image = image();
    image.product_codes = vec!["code2".into(), "code1".into()];
    image.watermarks = vec!["111122223333:b".into(), "111122223333:a".into()];
    let plan = World::of(image).plan(&share("all"), &allow_all());
    assert_eq!(
        refusals(&plan),
        [
            ("product-code", "code1".into()),
            ("product-code", "code2".into()),
            ("watermark", "111122223333:a".into()),
            ("watermark", "111122223333:b".into()),
        ]
    );
}

#[test]
fn block_public_access_refuses_only_if_it_is_known_to_be_on() {
    for (state, expected) in [
        (Some(true), vec!["block-public-access"]),
        (Some(false), vec![]),
        (None, vec![]),
    ] {
        let facts = ShareFacts {
            block_public_access: state,
            ..ShareFacts::default()
        };
        let plan = World::of(image())
            .with(facts)
            .plan(&share("all"), &allow_all());
        assert_eq!(codes(&plan), expected);
    }
}

#[test]
fn an_image_past_its_deprecation_time_is_not_made_public() {
    for (time, expected) in [
        ("2026-11-21T12:00:00.000Z", vec!["deprecated"]),
        ("2020-01-01T00:00:00.000Z", vec!["deprecated"]),
        ("2026-11-21T12:00:01.000Z", vec![]),
    ] {
        let mut image = image();
        image.deprecation_time = DeprecationTime::read(time);
        let plan = World::of(image).plan(&share("all"), &allow_all());
        assert_eq!(codes(&plan), expected, "{time}");
        assert_eq!(plan.changes.is_empty(), !expected.is_empty());
    }
}

#[test]
fn a_deprecation_time_that_cannot_be_read_refuses_all_and_nothing_else() {
    let mut image = image();
    image.deprecation_time = DeprecationTime::read("soon");
    let world = World::of(image.clone());
    let plan = world.plan(&share("all 444455556666"), &allow_all());
    assert_eq!(
        refusals(&plan),
        [("deprecated", "ami-0123456789abcdef0".into())]
    );
    assert!(plan.refusals[0].message().contains("\"soon\""));
    let rest = together([share("444455556666"), describe(&image)]);
    let plan = world.plan(&rest, &allow_all());
    assert_eq!((plan.changes.len(), codes(&plan)), (5, vec![]));
}

#[test]
fn all_grounds_are_reported_in_order_and_once_for_each_resource() {
    let mut image = image()
        .device("/dev/sdh", Some("snap-2"), Some(true))
        .device("/dev/sdg", Some("snap-1"), Some(true))
        .device("/dev/sdi", Some("snap-1"), Some(true))
        .device("/dev/sdj", Some("snap-3"), None)
        .tag("aws:dlm:lifecycle-policy-id", "policy-1")
        .tag("aws:dlm:lifecycle-schedule-name", "daily");
    image.product_codes = vec!["code2".into(), "code1".into()];
    image.watermarks = vec!["111122223333:gold".into()];
    image.deprecation_time = DeprecationTime::At("now".into(), now());
    let facts = ShareFacts {
        block_public_access: Some(true),
        ..facts(&[])
    };
    let guardrails = Guardrails {
        max_finding_severity: Some("low".parse().unwrap()),
        ..Guardrails::default()
    };
    let world = World::of(image).with(facts);
    let plan = world.plan(&share("all 444455556666 222233334444"), &guardrails);
    let id = "ami-0123456789abcdef0".to_owned();
    assert_eq!(
        refusals(&plan),
        [
            ("public-not-allowed", id.clone()),
            ("encrypted-snapshot", "snap-1".into()),
            ("encrypted-snapshot", "snap-2".into()),
            ("encryption-unknown", "snap-3".into()),
            ("product-code", "code1".into()),
            ("product-code", "code2".into()),
            ("watermark", "111122223333:gold".into()),
            ("block-public-access", id.clone()),
            ("deprecated", id),
            ("backup-image", "aws:dlm:lifecycle-policy-id".into()),
            ("finding-severity", "unscanned".into()),
            ("grantee-not-allowed", "222233334444".into()),
            ("grantee-not-allowed", "444455556666".into()),
        ]
    );
}

#[test]
fn nothing_about_public_images_is_asked_of_accounts() {
    let mut image = image().device("/dev/sdg", Some("snap-1"), Some(true));
    image.product_codes = vec!["code".into()];
    image.watermarks = vec!["111122223333:gold".into()];
    image.deprecation_time = DeprecationTime::At("now".into(), now());
    let facts = ShareFacts {
        block_public_access: Some(true),
        ..facts(&[])
    };
    let plan = World::of(image)
        .with(facts)
        .plan(&share("444455556666"), &allow_all());
    assert_eq!(
        (changes(&plan), codes(&plan)),
        (vec!["launch +444455556666 -".into()], vec![])
    );
}

#[test]
fn public_is_refused_if_nothing_was_read_about_the_snapshots() {
    let image = image().device("/dev/xvda", Some("snap-1"), Some(false));
    let world = World::of(image).with(ShareFacts::default());
    let plan = world.plan(&share("all"), &allow_all());
    assert_eq!(
        (difference(&plan), codes(&plan)),
        (None, vec!["encryption-unknown"])
    );
}

#[test]
fn the_flag_of_a_snapshot_counts_and_not_its_key() {
    let image = image().device("/dev/xvda", Some("snap-1"), None);
    let seen = SnapshotFacts {
        encrypted: Some(false),
        key: Some("arn:key".into()),
    };
    let facts = ShareFacts {
        snapshots: BTreeMap::from([("snap-1".into(), seen)]),
        ..ShareFacts::default()
    };
    let plan = World::of(image)
        .with(facts)
        .plan(&share("all"), &allow_all());
    assert_eq!(codes(&plan), [""; 0]);
}

#[test]
fn refusals_are_in_the_order_of_their_codes() {
    let image = image();
    let mut directives = together([share("all"), deprecate(&image, "2020-01-01")]);
    directives.shared_tags.insert("os".into(), Some("x".into()));
    let plan = World::of(image).plan(&directives, &Guardrails::default());
    assert_eq!(
        codes(&plan),
        [
            "public-not-allowed",
            "shared-tag-not-allowed",
            "invalid-directive"
        ]
    );
}

#[test]
fn making_public_carries_the_note_about_deprecation() {
    assert!(planned("all", "", &allow_all()).notes[0].contains("two years"));
    assert_eq!(planned("all", "all", &allow_all()).notes, [""; 0]);
    assert_eq!(planned("all", "", &Guardrails::default()).notes, [""; 0]);
}

#[test]
fn a_removed_account_that_a_wider_entry_may_still_let_in_is_noted() {
    let organization = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
    let unit = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";
    for wider in [organization, unit, "all"] {
        let current = format!("222233334444 {wider}");
        let plan = planned("-222233334444", &current, &allow_all());
        let [note] = plan.notes.as_slice() else {
            panic!("{plan:?}")
        };
        assert!(
            note.starts_with("222233334444 may still") && note.contains(wider),
            "{note}"
        );
        // Also if the wider entry is new.
        let added = World::of(image()).launched_by("222233334444");
        let plan = added.plan(&share(&format!("-222233334444 {wider}")), &allow_all());
        assert!(
            plan.notes
                .iter()
                .any(|note| note.starts_with("222233334444 may still"))
        );
    }
    for (value, current) in [
        ("-222233334444", "222233334444 333344445555"),
        ("-222233334444 -all", "222233334444 all"),
        ("-all", &format!("all {organization}")),
    ] {
        assert_eq!(
            planned(value, current, &allow_all()).notes,
            [""; 0],
            "{value}"
        );
    }
}

#[test]
fn more_than_a_thousand_permissions_are_noted() {
    let list = |numbers: std::ops::Range<u32>| {
        numbers
            .map(|number| format!("{number:012}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let plan = planned(&list(999..1000), &list(0..999), &allow_all());
    assert_eq!(plan.notes, [""; 0]);
    let plan = planned(&list(1000..1001), &list(0..1000), &allow_all());
    assert!(
        plan.notes[0].contains("1001 launch permissions"),
        "{:?}",
        plan.notes
    );
    // `all` does not count, and removals only help.
    let plan = planned(
        &list(999..1000),
        &format!("all {}", list(0..999)),
        &allow_all(),
    );
    assert_eq!(plan.notes, [""; 0]);
    let plan = planned(&format!("-{}", list(0..1)), &list(0..1500), &allow_all());
    assert_eq!(plan.notes, [""; 0]);
}

#[test]
fn removals_are_left_without_the_additions_unless_an_exact_list_would_lock_its_grantees_out() {
    let left = |value: &str, current: &str| {
        let plan = planned(value, current, &allow_all());
        let [Change::LaunchPermission(change)] = plan.changes.as_slice() else {
            panic!("{plan:?}")
        };
        let left = change.without_additions()?;
        assert_eq!(
            (&left.add, &left.before),
            (&grantees(""), &grantees(current))
        );
        Some((left.remove, left.after))
    };
    let current = "222233334444 333344445555";
    assert_eq!(
        left("444455556666 -222233334444", current),
        Some((grantees("222233334444"), grantees("333344445555")))
    );
    assert_eq!(left("444455556666", current), None, "nothing is removed");
    assert_eq!(
        left("= 444455556666", current),
        None,
        "its grantees would be locked out"
    );
}
