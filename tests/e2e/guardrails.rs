//! Guardrails: what no tag can lift. Each refusal with what it names, what was read for it, and
//! that nothing was written.

use chrono::{Duration, Utc};
use ec2_emulator::{Act, BlockDevice, BlockPublicAccess, ScanResults, Snapshot};
use serde_json::json;

use crate::world::*;

const SECOND: &str = "snap-0fedcba9876543210";

/// Looks at the image and asserts these refusals as `(code, resource)`, that nothing was written,
/// and that the reads were those of an
/// image that asks to be public.
#[track_caller]
fn check_refused(
    function: &mut Function,
    image: Image,
    snapshots: &[&str],
    expected: &[(&str, &str)],
) {
    function.emulator.add(image);
    function.requests();
    let entry = function.look();
    let expected: Vec<_> = expected
        .iter()
        .map(|(code, resource)| {
            (
                "launchPermission".to_owned(),
                (*code).to_owned(),
                (*resource).to_owned(),
            )
        })
        .collect();
    assert_eq!(refusals(&entry), expected);
    assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
    let mut reads = vec![describe_permissions(IMAGE), get_block_public_access()];
    if !snapshots.is_empty() {
        reads.push(describe_snapshots(snapshots));
    }
    assert_steps(function.requests(), [vec![describe(IMAGE)], reads]);
    assert!(!function.emulator.image(IMAGE).unwrap().is_public());
}

/// Looks at the image and asserts that it was made public.
#[track_caller]
fn check_public(function: &mut Function, image: Image) {
    function.emulator.add(image);
    let entry = function.look();
    assert_holds(&entry, &json!({ "Outcome": "applied", "Refusals": [] }));
    assert!(function.emulator.image(IMAGE).unwrap().is_public());
    function.requests();
}

#[test]
fn an_image_that_nothing_speaks_against_becomes_public_with_a_note_on_its_deprecation() {
    let mut function = World::new()
        .setting("ALLOW_PUBLIC", "true")
        .image(share("all"))
        .start();
    let entry = only_entry(&function.invoke(&event("ami-available")));
    assert_holds(
        &entry["Changes"][0],
        &json!({
            "Attribute": "launchPermission",
            "Add": ["all"],
            "Remove": [],
            "After": ["all"],
            "Confirmed": true
        }),
    );
    let notes = entry["Notes"].as_array().unwrap();
    assert!(
        notes.len() == 1 && notes[0].as_str().unwrap().contains("two years"),
        "{entry:#}"
    );
    let [first, second] = reads_before_public(IMAGE, SNAPSHOT);
    let write = vec![modify(IMAGE, [("LaunchPermission.Add.1.Group", "all")])];
    assert_steps(
        function.requests(),
        [first, second, write, read_back(IMAGE)],
    );
}

#[test]
fn public_not_allowed_unless_the_setting_says_true() {
    for world in [
        World::new(),
        World::new().setting("ALLOW_PUBLIC", "false"),
        World::new().setting("ALLOWED_GRANTEES", "*"),
    ] {
        let mut function = world.start();
        check_refused(
            &mut function,
            share("all"),
            &[SNAPSHOT],
            &[("public-not-allowed", IMAGE)],
        );
    }
}

#[test]
fn an_encrypted_snapshot_keeps_an_image_private() {
    let mut function = World::new().permissive().start();
    let fresh = || share("all");
    let second = |device: BlockDevice| share("all").block_device(device);
    // Mapping and snapshot say so.
    check_refused(
        &mut function,
        fresh().encrypted(),
        &[SNAPSHOT],
        &[("encrypted-snapshot", SNAPSHOT)],
    );
    // Only the snapshot says so; the mapping denies it or says nothing.
    let secret = || [Snapshot::new(SNAPSHOT).encrypted()];
    check_refused(
        &mut function,
        fresh().snapshots(secret()),
        &[SNAPSHOT],
        &[("encrypted-snapshot", SNAPSHOT)],
    );
    let unsaid = fresh().encryption_unsaid().snapshots(secret());
    check_refused(
        &mut function,
        unsaid,
        &[SNAPSHOT],
        &[("encrypted-snapshot", SNAPSHOT)],
    );
    // Only the mapping says so.
    let plain = fresh().encrypted().snapshots([Snapshot::new(SNAPSHOT)]);
    check_refused(
        &mut function,
        plain,
        &[SNAPSHOT],
        &[("encrypted-snapshot", SNAPSHOT)],
    );
    // The mapping says so, and the snapshot cannot be seen.
    function.emulator.edit(|state| state.snapshots.clear());
    let hidden = fresh().encrypted().snapshots_hidden();
    check_refused(
        &mut function,
        hidden,
        &[SNAPSHOT],
        &[("encrypted-snapshot", SNAPSHOT)],
    );
    // Not the root device but another one.
    let data = second(BlockDevice::ebs("/dev/sdb", SECOND).encrypted(true));
    check_refused(
        &mut function,
        data,
        &[SNAPSHOT, SECOND],
        &[("encrypted-snapshot", SECOND)],
    );
    // A volume without a snapshot is named by its device.
    let empty = second(BlockDevice::empty("/dev/sdc").encrypted(true));
    check_refused(
        &mut function,
        empty,
        &[SNAPSHOT],
        &[("encrypted-snapshot", "/dev/sdc")],
    );
    // One refusal for each resource.
    let both = fresh().block_devices([
        BlockDevice::ebs("/dev/xvda", SNAPSHOT).encrypted(true),
        BlockDevice::ebs("/dev/sdb", SECOND).encrypted(true),
        BlockDevice::ebs("/dev/sdc", SECOND).encrypted(true),
        BlockDevice::empty("/dev/sdd").encrypted(true),
    ]);
    let expected = [
        ("encrypted-snapshot", "/dev/sdd"),
        ("encrypted-snapshot", SNAPSHOT),
        ("encrypted-snapshot", SECOND),
    ];
    check_refused(&mut function, both, &[SNAPSHOT, SECOND], &expected);
}

#[test]
fn encryption_that_nobody_knows_of_keeps_an_image_private() {
    let mut function = World::new().permissive().start();
    // Neither the mapping nor the snapshot says anything.
    let omit = || {
        Fault::new(
            "DescribeSnapshots",
            FaultKind::Omit {
                elements: vec!["encrypted".into()],
            },
        )
    };
    function.emulator.fault(omit());
    check_refused(
        &mut function,
        share("all").encryption_unsaid(),
        &[SNAPSHOT],
        &[("encryption-unknown", SNAPSHOT)],
    );
    // The snapshot cannot be seen, whatever the mapping denies.
    function.emulator.edit(|state| state.snapshots.clear());
    let hidden = || share("all").snapshots_hidden();
    check_refused(
        &mut function,
        hidden(),
        &[SNAPSHOT],
        &[("encryption-unknown", SNAPSHOT)],
    );
    check_refused(
        &mut function,
        hidden().encryption_unsaid(),
        &[SNAPSHOT],
        &[("encryption-unknown", SNAPSHOT)],
    );
    let foreign = share("all").snapshots([Snapshot::new(SNAPSHOT).owned_by(ALICE)]);
    check_refused(
        &mut function,
        foreign,
        &[SNAPSHOT],
        &[("encryption-unknown", SNAPSHOT)],
    );
    assert_eq!(function.emulator.faults_left(), []);
}

#[test]
fn not_encrypted_by_the_word_of_mapping_or_snapshot_is_enough() {
    let mut function = World::new().permissive().start();
    check_public(&mut function, share("all").encryption_unsaid());
    function.emulator.fault(Fault::new(
        "DescribeSnapshots",
        FaultKind::Omit {
            elements: vec!["encrypted".into()],
        },
    ));
    check_public(&mut function, share("all"));
    assert_eq!(function.emulator.faults_left(), []);
}

#[test]
fn empty_volumes_count_by_their_own_flag_and_instance_store_does_not_count() {
    let mut function = World::new().permissive().start();
    for device in [
        BlockDevice::empty("/dev/sdb"),
        BlockDevice::empty("/dev/sdb").encrypted(None),
        BlockDevice::instance_store("/dev/sdb", "ephemeral0"),
    ] {
        check_public(&mut function, share("all").block_device(device));
    }
    // Without any snapshot there is nothing to ask about.
    function
        .emulator
        .add(share("all").block_devices([BlockDevice::instance_store("/dev/sda1", "ephemeral0")]));
    assert_eq!(function.look()["Outcome"], "applied");
    assert_eq!(function.counts().get("DescribeSnapshots"), None);
}

#[test]
fn every_product_code_keeps_an_image_private() {
    let mut function = World::new().permissive().start();
    let image = share("all").product_code("code-b").product_code("code-a");
    check_refused(
        &mut function,
        image,
        &[SNAPSHOT],
        &[("product-code", "code-a"), ("product-code", "code-b")],
    );
}

#[test]
fn block_public_access_keeps_an_image_private() {
    let mut function = World::new().permissive().start();
    function
        .emulator
        .edit(|state| state.block_public_access = BlockPublicAccess::BlockNewSharing);
    check_refused(
        &mut function,
        share("all"),
        &[SNAPSHOT],
        &[("block-public-access", IMAGE)],
    );
}

#[test]
fn an_unknown_state_of_block_public_access_leaves_the_decision_to_ec2() {
    let omit = || {
        let elements = vec!["imageBlockPublicAccessState".to_owned()];
        Fault::new(
            "GetImageBlockPublicAccessState",
            FaultKind::Omit { elements },
        )
    };
    let mut function = World::new().permissive().start();
    function.emulator.fault(omit());
    check_public(&mut function, share("all"));
    function.emulator.fault(omit());
    function
        .emulator
        .edit(|state| state.block_public_access = BlockPublicAccess::BlockNewSharing);
    function.emulator.add(share("all"));
    let entry = function.look();
    assert_eq!(codes(&entry), ["ec2-refused"]);
    assert_eq!(entry["Refusals"][0]["Ec2Code"], "OperationNotPermitted");
    assert_eq!(function.counts()["ModifyImageAttribute"], 1);
}

#[test]
fn a_deprecated_image_stays_private() {
    let mut function = World::new().permissive().start();
    let deprecated = |by: Duration| share("all").deprecated(Utc::now() + by);
    check_refused(
        &mut function,
        deprecated(Duration::seconds(-5)),
        &[SNAPSHOT],
        &[("deprecated", IMAGE)],
    );
    check_public(&mut function, deprecated(Duration::hours(1)));
}

#[test]
fn all_grounds_are_reported_at_once_and_in_order() {
    let image = share("all 444455556666 222233334444")
        .block_devices([
            BlockDevice::ebs("/dev/xvda", SNAPSHOT).encrypted(true),
            BlockDevice::ebs("/dev/sdb", SECOND).encrypted(false),
        ])
        .snapshots([Snapshot::new(SNAPSHOT).encrypted()])
        .product_code("774F4FF8")
        .deprecated(Utc::now() - Duration::days(1))
        .tag("ami-warden:imds-support", "v3");
    let mut function = World::new().image(image).start();
    function
        .emulator
        .edit(|state| state.block_public_access = BlockPublicAccess::BlockNewSharing);
    let entry = function.look();
    let found = refusals(&entry);
    let found: Vec<_> = found
        .iter()
        .map(|(_, code, resource)| (code.as_str(), resource.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("public-not-allowed", IMAGE),
            ("encrypted-snapshot", SNAPSHOT),
            ("encryption-unknown", SECOND),
            ("product-code", "774F4FF8"),
            ("block-public-access", IMAGE),
            ("deprecated", IMAGE),
            ("grantee-not-allowed", BOB),
            ("grantee-not-allowed", ALICE),
            ("invalid-directive", "ami-warden:imds-support"),
        ]
    );
    assert_eq!(entry["Outcome"], "refused");
    assert_eq!(function.emulator.writes(), []);
}

#[test]
fn a_grantee_outside_the_allow_list_is_refused_one_by_one() {
    let mut function = World::new()
        .setting("ALLOWED_GRANTEES", &format!("111122223333 {ORGANIZATION}"))
        .start();
    let refused = |grantee: &str| {
        (
            "launchPermission".to_owned(),
            "grantee-not-allowed".to_owned(),
            grantee.to_owned(),
        )
    };
    for (value, expected) in [
        ("444455556666", vec![ALICE]),
        ("444455556666 222233334444", vec![BOB, ALICE]),
        // An organization implies neither its accounts nor its units.
        (UNIT, vec![UNIT]),
        // One that is allowed does not pull the other through.
        (
            "arn:aws:organizations::111122223333:organization/o-exampleorgid 444455556666",
            vec![ALICE],
        ),
        ("= 444455556666", vec![ALICE]),
    ] {
        function.emulator.add(share(value));
        let entry = function.look();
        let expected: Vec<_> = expected.into_iter().map(refused).collect();
        assert_eq!(refusals(&entry), expected, "{value}");
        assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
        // Snapshots matter to nobody but `all`.
        assert_eq!(
            function.requests(),
            [describe(IMAGE), describe_permissions(IMAGE)],
            "{value}"
        );
    }
    function.emulator.add(share(ORGANIZATION));
    assert_eq!(function.look()["Outcome"], "applied");
}

#[test]
fn nobody_may_be_added_by_default() {
    let mut function = World::new().image(share("444455556666")).start();
    assert_eq!(codes(&function.look()), ["grantee-not-allowed"]);
    assert_eq!(function.emulator.writes(), []);
}

#[test]
fn a_star_allows_anyone_but_all() {
    let mut function = World::new()
        .setting("ALLOWED_GRANTEES", "*")
        .image(share(&format!("444455556666 {UNIT}")))
        .start();
    assert_eq!(function.look()["Outcome"], "applied");
    function.requests();
    check_refused(
        &mut function,
        share("all"),
        &[SNAPSHOT],
        &[("public-not-allowed", IMAGE)],
    );
}

#[test]
fn a_grantee_that_has_access_already_needs_no_permission_to_keep_it() {
    let image = share("= 444455556666 all")
        .encrypted()
        .granted(ALICE)
        .granted("all")
        .granted(BOB);
    let mut function = World::new().image(image).start();
    assert_holds(
        &function.look()["Changes"][0],
        &json!({ "Add": [], "Remove": [BOB], "After": [ALICE, "all"] }),
    );
    // Nothing would be added, so nothing is inspected.
    let write = vec![modify(IMAGE, [("LaunchPermission.Remove.1.UserId", BOB)])];
    let steps = [
        vec![describe(IMAGE)],
        vec![describe_permissions(IMAGE)],
        write,
        read_back(IMAGE),
    ];
    assert_steps(function.requests(), steps);
}

#[test]
fn removing_access_is_never_refused() {
    let image = share("-all -444455556666")
        .granted("all")
        .granted(ALICE)
        .encrypted()
        .product_code("774F4FF8");
    let mut function = World::new()
        .image(image.deprecated(Utc::now() - Duration::days(1)))
        .start();
    function
        .emulator
        .edit(|state| state.block_public_access = BlockPublicAccess::BlockNewSharing);
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
    let write = [
        ("LaunchPermission.Remove.1.UserId", ALICE),
        ("LaunchPermission.Remove.2.Group", "all"),
    ];
    let steps = [
        vec![describe(IMAGE)],
        vec![describe_permissions(IMAGE)],
        vec![modify(IMAGE, write)],
        read_back(IMAGE),
    ];
    assert_steps(function.requests(), steps);
}

#[test]
fn one_refused_addition_refuses_all_additions_while_items_with_a_minus_are_still_removed() {
    let image = share("444455556666 555566667777 -222233334444").granted(BOB);
    let mut function = World::new()
        .setting("ALLOWED_GRANTEES", ALICE)
        .image(image)
        .start();
    let entry = function.look();
    assert_eq!(refusals(&entry)[0].2, "555566667777");
    assert_eq!(
        (codes(&entry).len(), &entry["Outcome"]),
        (1, &json!("applied"))
    );
    assert_holds(
        &entry["Changes"][0],
        &json!({ "Add": [], "Remove": [BOB], "After": [], "Confirmed": true }),
    );
    assert_eq!(
        function.requests()[2],
        modify(IMAGE, [("LaunchPermission.Remove.1.UserId", BOB)])
    );
}

#[test]
fn an_exact_list_is_refused_whole() {
    let image = share("= 444455556666 555566667777").granted(BOB);
    let mut function = World::new()
        .setting("ALLOWED_GRANTEES", ALICE)
        .image(image)
        .start();
    let entry = function.look();
    assert_eq!(codes(&entry), ["grantee-not-allowed"]);
    assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
    assert_eq!(
        function.requests(),
        [describe(IMAGE), describe_permissions(IMAGE)]
    );
    assert_eq!(function.grantees(IMAGE), [BOB]);
}

#[test]
fn a_refused_launch_permission_leaves_the_images_other_directives_alone() {
    let image = share("444455556666")
        .tag("ami-warden:description", "new")
        .tag("ami-warden:imds-support", "v2.0");
    let mut function = World::new().image(image).start();
    let entry = function.look();
    assert_eq!(
        (codes(&entry), &entry["Outcome"]),
        (vec!["grantee-not-allowed".to_owned()], &json!("applied"))
    );
    assert_eq!(
        function.requests(),
        [
            describe(IMAGE),
            describe_permissions(IMAGE),
            modify(IMAGE, [("Description.Value", "new")]),
            modify(IMAGE, [("ImdsSupport.Value", "v2.0")]),
            describe(IMAGE),
        ]
    );
}

/// A value, who has access, and what is then removed, added, or refused.
#[track_caller]
fn check_removals(most: &str, value: &str, before: &[&str], refused: bool, after: &[&str]) {
    let image = before
        .iter()
        .fold(share(value), |image, grantee| image.granted(grantee));
    let mut function = World::new()
        .permissive()
        .setting("MAX_REMOVALS", most)
        .image(image)
        .start();
    let entry = function.look();
    let expected = (
        "launchPermission".to_owned(),
        "too-many-removals".to_owned(),
        IMAGE.to_owned(),
    );
    assert_eq!(
        refusals(&entry),
        if refused { vec![expected] } else { vec![] },
        "{most} {value}"
    );
    assert_eq!(function.grantees(IMAGE), after, "{most} {value}");
    let writes = usize::from(before != after);
    assert_eq!(function.emulator.writes().len(), writes);
    assert_eq!(function.requests().len(), 2 + 3 * writes);
    assert_eq!(
        entry["Outcome"],
        if writes == 1 { "applied" } else { "refused" }
    );
}

#[test]
fn too_many_removals_refuse_the_removals_and_an_exact_list_whole() {
    let two = [BOB, ALICE];
    // As many as allowed; one more; `all` counts as one.
    check_removals("2", "-222233334444 -444455556666", &two, false, &[]);
    check_removals("1", "-222233334444 -444455556666", &two, true, &two);
    check_removals(
        "1",
        "-222233334444 -all",
        &[BOB, "all"],
        true,
        &[BOB, "all"],
    );
    check_removals("1", "-all -222233334444", &["all"], false, &[]);
    // Zero forbids any.
    check_removals("0", "-all", &["all"], true, &["all"]);
    // The additions of the same directive go on.
    check_removals("0", "444455556666 -222233334444", &[BOB], true, &two);
    // Half of an exact list would be wrong.
    check_removals("1", "= 333344445555", &two, true, &two);
    check_removals("2", "= 333344445555", &two, false, &["333344445555"]);
    check_removals("1", "=", &two, true, &two);
}

#[test]
fn what_ec2_refuses_for_good_is_a_refusal_with_its_code_and_message() {
    let mut function = World::new().permissive().image(share("all")).start();
    function.emulator.edit(|state| state.public_image_quota = 0);
    let entry = function.look();
    assert_eq!(
        refusals(&entry),
        [(
            "launchPermission".to_owned(),
            "ec2-refused".to_owned(),
            IMAGE.to_owned()
        )],
    );
    assert_eq!(entry["Refusals"][0]["Ec2Code"], "ResourceLimitExceeded");
    let message = refusal_message(&entry, "ec2-refused");
    assert!(
        message.contains("ResourceLimitExceeded") && message.contains("your quota of 0"),
        "{message}"
    );
    assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
    let [first, second] = reads_before_public(IMAGE, SNAPSHOT);
    assert_steps(
        function.requests(),
        [
            first,
            second,
            vec![modify(IMAGE, [("LaunchPermission.Add.1.Group", "all")])],
        ],
    );
    // It is tried again at the next run.
    function.emulator.edit(|state| state.public_image_quota = 1);
    assert_eq!(function.look()["Outcome"], "applied");
}

#[test]
fn an_image_that_only_looks_public_is_inspected_before_it_becomes_so() {
    // DescribeImages still says that the image is public; its launch permissions know better.
    let image = share("all").encrypted().granted("all");
    let mut function = World::new().permissive().image(image).start();
    function
        .emulator
        .fault(Fault::new("DescribeImages", FaultKind::Stale));
    function.emulator.edit(|state| {
        state
            .images
            .get_mut(IMAGE)
            .unwrap()
            .launch_permissions
            .clear()
    });
    let entry = function.look();
    assert_eq!(refusals(&entry)[0].1, "encrypted-snapshot");
    let steps = [
        vec![describe(IMAGE)],
        vec![describe_permissions(IMAGE)],
        vec![describe_snapshots(&[SNAPSHOT]), get_block_public_access()],
    ];
    assert_steps(function.requests(), steps);
}

#[test]
fn refusals_never_fail_an_invocation() {
    let mut function = World::new()
        .image(share("all 444455556666").encrypted())
        .start();
    let answer = function.invoke(&event("ami-available"));
    assert_eq!(answer["Summary"], json!({ "refused": 1 }));
    assert_eq!(answer["Trigger"], "ec2-ami-state-change");
}

/// Looks at the image, in a dry run and for real, and asserts these refusals as `(code, resource)`
/// and exactly these reads.
#[track_caller]
fn check_refused_after(
    function: &mut Function,
    image: Image,
    reads: &[Vec<String>],
    expected: &[(&str, &str)],
) {
    function.emulator.add(image);
    function.requests();
    for dry_run in [true, false] {
        let entry = only_entry(&function.invoke(&json!({ "ImageId": IMAGE, "DryRun": dry_run })));
        let found: Vec<_> = refusals(&entry);
        let found: Vec<_> = found
            .iter()
            .map(|(_, code, resource)| (code.as_str(), resource.as_str()))
            .collect();
        assert_eq!(found, expected);
        assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
        assert_steps(function.requests(), reads.iter().cloned());
    }
}

/// The reads of an image that asks for an account, and has no encrypted volume.
fn reads_before_account() -> Vec<Vec<String>> {
    vec![vec![describe(IMAGE)], vec![describe_permissions(IMAGE)]]
}

#[test]
fn every_watermark_keeps_an_image_private_and_from_nobody_else() {
    let mut function = World::new().permissive().start();
    let image = |value: &str| {
        share(value)
            .watermark("444455556666:golden")
            .watermark("111122223333:approved")
    };
    let grounds = [
        ("watermark", "111122223333:approved"),
        ("watermark", "444455556666:golden"),
    ];
    let reads = reads_before_public(IMAGE, SNAPSHOT);
    check_refused_after(&mut function, image("all"), &reads, &grounds);
    function.emulator.add(image(ALICE));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
    // A grantee with access stays, and can be taken away.
    function.emulator.add(image("all").granted("all"));
    assert_eq!(function.look()["Outcome"], "unchanged");
    function.emulator.add(image("-all").granted("all"));
    assert_eq!(function.look()["Outcome"], "applied");
}

#[test]
fn an_image_of_a_backup_service_is_shared_with_nobody_and_no_further_call_is_made_for_it() {
    let mut function = World::new()
        .permissive()
        .setting("ALLOWED_COPIERS", "*")
        .start();
    for tag in ["aws:backup:source-resource", "aws:dlm:lifecycle-policy-id"] {
        let backup = |value: &str| share(value).tag(tag, "x");
        check_refused_after(
            &mut function,
            backup(ALICE),
            &reads_before_account(),
            &[("backup-image", tag)],
        );
        check_refused_after(
            &mut function,
            backup(ORGANIZATION),
            &reads_before_account(),
            &[("backup-image", tag)],
        );
        let reads = reads_before_public(IMAGE, SNAPSHOT);
        check_refused_after(
            &mut function,
            backup("all"),
            &reads,
            &[("backup-image", tag)],
        );
        // The same for who may copy it.
        function.emulator.add(
            Image::new(IMAGE)
                .tag("ami-warden:copy-permission", ALICE)
                .tag(tag, "x"),
        );
        assert_eq!(
            refusals(&function.look()),
            [(
                "createVolumePermission".into(),
                "backup-image".into(),
                tag.into()
            )]
        );
        // Its other directives go on, and so do removals.
        function.emulator.add(
            backup("444455556666 -222233334444")
                .granted(BOB)
                .tag("ami-warden:description", "new"),
        );
        let entry = function.look();
        assert_eq!(
            (codes(&entry), &entry["Outcome"]),
            (vec!["backup-image".to_owned()], &json!("applied"))
        );
        assert_eq!(function.grantees(IMAGE), [""; 0]);
        function.requests();
    }
    // Tags that only look like those.
    for tag in [
        "backup:x",
        "my:aws:backup:x",
        "aws:cloudformation:stack-name",
    ] {
        function.emulator.add(share(ALICE).tag(tag, "x"));
        assert_eq!(function.look()["Outcome"], "applied", "{tag}");
    }
}

#[test]
fn backups_are_shared_where_the_setting_says_so() {
    let image = || share(ALICE).tag("aws:backup:source-resource", "x");
    let mut function = World::new()
        .permissive()
        .setting("SHARE_BACKUPS", "true")
        .image(image())
        .start();
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
    let mut function = World::new()
        .permissive()
        .setting("SHARE_BACKUPS", "false")
        .image(image())
        .start();
    assert_eq!(codes(&function.look()), ["backup-image"]);
}

#[test]
fn an_image_with_worse_findings_than_allowed_is_shared_with_nobody() {
    const SEVERITIES: [&str; 6] = ["none", "informational", "low", "medium", "high", "critical"];
    for (limit, most) in SEVERITIES.iter().take(5).enumerate() {
        let mut function = World::new()
            .permissive()
            .setting("MAX_FINDING_SEVERITY", most)
            .start();
        for (found, severity) in SEVERITIES.iter().enumerate() {
            // A scan without findings names no severity.
            let scanned = |value: &str| share(value).scanned((found > 0).then_some(*severity));
            if found > limit {
                let grounds = [("finding-severity", *severity)];
                check_refused_after(
                    &mut function,
                    scanned(ALICE),
                    &reads_before_account(),
                    &grounds,
                );
                check_refused_after(
                    &mut function,
                    scanned("all"),
                    &reads_before_public(IMAGE, SNAPSHOT),
                    &grounds,
                );
            } else {
                function.emulator.add(scanned(ALICE));
                assert_holds(
                    &function.look(),
                    &json!({ "Outcome": "applied", "Refusals": [] }),
                );
            }
            function.requests();
        }
    }
}

#[test]
fn an_image_without_a_scan_is_shared_with_nobody_until_it_is_scanned() {
    let mut function = World::new()
        .permissive()
        .setting("MAX_FINDING_SEVERITY", "high")
        .start();
    check_refused_after(
        &mut function,
        share(ALICE),
        &reads_before_account(),
        &[("finding-severity", "unscanned")],
    );
    let message = refusal_message(&function.look(), "finding-severity");
    assert!(
        message.contains("The next sweep after the scan shares it"),
        "{message}"
    );
    function
        .emulator
        .act(Act::SetScanResults {
            image_id: IMAGE.into(),
            scan_results: Some(ScanResults::new(Some("high"))),
        })
        .unwrap();
    assert_eq!(
        only_entry(&function.invoke(&event("sweep")))["Outcome"],
        "applied"
    );
    // A severity that nobody knows is as bad as it can be.
    function.requests();
    let unknown = share(ALICE).scanned("galactic");
    check_refused_after(
        &mut function,
        unknown,
        &reads_before_account(),
        &[("finding-severity", "critical")],
    );
}

#[test]
fn findings_do_not_count_without_the_setting() {
    let mut function = World::new()
        .permissive()
        .image(share(ALICE).scanned("critical"))
        .start();
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
}

#[test]
fn findings_and_backups_guard_what_is_added_and_nothing_else() {
    let world = World::new()
        .permissive()
        .setting("MAX_FINDING_SEVERITY", "low");
    let mut function = world.start();
    let bad = |value: &str| {
        share(value)
            .scanned("critical")
            .tag("aws:backup:source-resource", "x")
    };
    function.emulator.add(bad(ALICE).granted(ALICE));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "unchanged", "Refusals": [] }),
    );
    function.emulator.add(bad("-444455556666").granted(ALICE));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
    function.emulator.add(
        Image::new(IMAGE)
            .scanned("critical")
            .tag("ami-warden:description", "new"),
    );
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
}

#[test]
fn an_ebs_root_without_a_mapping_keeps_an_image_private() {
    let mut function = World::new().permissive().start();
    let data = || [BlockDevice::ebs("/dev/sdb", SECOND)];
    let image = || {
        share("all")
            .block_devices(data())
            .root_device("ebs", "/dev/xvda")
    };
    let grounds = [("encryption-unknown", "/dev/xvda")];
    check_refused_after(
        &mut function,
        image(),
        &reads_before_public(IMAGE, SECOND),
        &grounds,
    );
    // Instance store needs no mapping, and nobody but `all` asks.
    function.emulator.add(
        share("all")
            .block_devices(data())
            .root_device("instance-store", "/dev/sda1"),
    );
    assert_eq!(function.look()["Outcome"], "applied");
    function
        .emulator
        .add(image().tag("ami-warden:launch-permission", ALICE));
    assert_eq!(function.look()["Outcome"], "applied");
}

#[test]
fn a_device_of_which_ec2_does_not_say_what_it_is_keeps_an_image_private() {
    let mut function = World::new().permissive().start();
    let image = share("all").block_device(BlockDevice::bare("/dev/sdf"));
    let reads = reads_before_public(IMAGE, SNAPSHOT);
    check_refused_after(
        &mut function,
        image,
        &reads,
        &[("encryption-unknown", "/dev/sdf")],
    );
}

#[test]
fn a_deprecation_time_that_cannot_be_read_keeps_an_image_private_and_refuses_nothing_else() {
    let mut function = World::new().permissive().start();
    let unreadable = |value: &str| share(value).deprecation_text("soon");
    let reads = reads_before_public(IMAGE, SNAPSHOT);
    check_refused_after(
        &mut function,
        unreadable("all"),
        &reads,
        &[("deprecated", IMAGE)],
    );
    function
        .emulator
        .add(unreadable(ALICE).tag("ami-warden:description", "new"));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
}

#[test]
fn an_item_with_a_minus_in_the_allow_list_is_never_added_whatever_else_the_list_covers() {
    for list in [
        "* -444455556666",
        "-444455556666 *",
        "444455556666 222233334444 -444455556666",
    ] {
        let mut function = World::new().setting("ALLOWED_GRANTEES", list).start();
        check_refused_after(
            &mut function,
            share(ALICE),
            &reads_before_account(),
            &[("grantee-not-allowed", ALICE)],
        );
        let message = refusal_message(&function.look(), "grantee-not-allowed");
        assert!(message.contains("\"-444455556666\""), "{message}");
        function.emulator.add(share(BOB));
        assert_eq!(function.look()["Outcome"], "applied", "{list}");
        // It keeps what it has, and can be taken away.
        function.emulator.add(share(ALICE).granted(ALICE));
        assert_eq!(function.look()["Outcome"], "unchanged", "{list}");
        function.emulator.add(share("-444455556666").granted(ALICE));
        assert_eq!(function.look()["Outcome"], "applied", "{list}");
        function.requests();
    }
}

#[test]
fn a_recipient_that_took_itself_off_is_not_added_again_where_the_allow_list_forbids_it() {
    let world = World::new().setting("ALLOWED_GRANTEES", "* -444455556666");
    let mut function = world
        .image(
            share("444455556666 222233334444")
                .granted(ALICE)
                .granted(BOB),
        )
        .start();
    function
        .emulator
        .act(Act::CancelLaunchPermission {
            image_id: IMAGE.into(),
            account: ALICE.parse().unwrap(),
        })
        .unwrap();
    for _ in 0..2 {
        let answer = function.invoke(&event("sweep"));
        assert_eq!(refusals(&only_entry(&answer))[0].2, ALICE);
        assert_eq!(function.grantees(IMAGE), [BOB]);
    }
}

#[test]
fn a_removed_account_that_may_still_get_in_is_noted() {
    let note = |by: &str| {
        json!([format!(
            "{ALICE} may still launch the image after the removal: the list has {by}, which may \
             include the account."
        )])
    };
    let mut function = World::new().permissive().start();
    for by in [ORGANIZATION, UNIT, "all"] {
        for dry_run in [true, false] {
            function
                .emulator
                .add(share("-444455556666").granted(ALICE).granted(by));
            let entry =
                only_entry(&function.invoke(&json!({ "ImageId": IMAGE, "DryRun": dry_run })));
            assert_eq!(entry["Notes"], note(by), "{by}");
            assert_eq!(
                entry["Outcome"],
                if dry_run { "planned" } else { "applied" }
            );
        }
    }
    function
        .emulator
        .add(share("-444455556666").granted(ALICE).granted(BOB));
    assert_eq!(function.look().get("Notes"), None);
}

#[test]
fn more_than_a_thousand_permissions_are_noted() {
    let granted = |count: u64| {
        (0..count)
            .map(|n| format!("{n:012}"))
            .fold(share(ALICE), |image, account| image.granted(&account))
    };
    let mut function = World::new().permissive().image(granted(999)).start();
    let thousand = only_entry(&function.invoke(&json!({ "ImageId": IMAGE, "DryRun": true })));
    assert_eq!(thousand.get("Notes"), None);
    function.emulator.add(granted(1000));
    for dry_run in [true, false] {
        let answer = function.invoke(&json!({ "ImageId": IMAGE, "DryRun": dry_run }));
        let notes = only_entry(&answer)["Notes"].clone();
        let first = notes[0].as_str().unwrap();
        assert!(
            first.starts_with("The image would have 1001 launch permissions, and EC2 takes 1,000"),
            "{notes}"
        );
    }
}

#[test]
fn a_ground_of_ec2_that_no_guardrail_knows_is_said_to_be_new() {
    let mut function = World::new().permissive().image(share("all")).start();
    function
        .emulator
        .fault(Fault::error("ModifyImageAttribute", "ImageHasSomethingNew"));
    let entry = function.look();
    assert_eq!(entry["Refusals"][0]["Ec2Code"], "ImageHasSomethingNew");
    let message = refusal_message(&entry, "ec2-refused");
    assert!(message.contains("new to ami-warden"), "{message}");
    function
        .emulator
        .fault(Fault::error("ModifyImageAttribute", "ImageHasSomethingNew"));
    function.emulator.add(share(ALICE));
    let message = refusal_message(&function.look(), "ec2-refused");
    assert!(!message.contains("new to ami-warden"), "{message}");
}

#[test]
fn a_product_code_that_cannot_be_read_keeps_an_image_private() {
    let mut function = World::new()
        .permissive()
        .image(share("all").product_code(""))
        .start();
    assert_eq!(codes(&function.look()), ["product-code"]);
    assert_eq!(function.emulator.writes(), []);
    function.emulator.add(share(ALICE).product_code(""));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
}
