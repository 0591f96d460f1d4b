//! Recipients can use an image, find it and plan with it: shared tags, deprecation times and copy
//! permissions.

use std::collections::BTreeSet;

use chrono::{DateTime, Months, SecondsFormat, TimeDelta, Utc};
use ec2_emulator::{
    Act, BlockDevice, CallMatch, Config, Key, KeyState, ParameterType, Snapshot, Trigger,
};
use serde_json::{Value, json};

use crate::world::*;

/// A third account.
const CAROL: &str = "333344445555";
/// The second snapshot of an image that has two.
const SECOND: &str = "snap-0bbbbbbbbbbbbbbbb";

const RELEASE: &str = "ami-warden:shared-tag:release";
const DEPRECATE: &str = "ami-warden:deprecate-at";
const COPY: &str = "ami-warden:copy-permission";

fn tagged<const N: usize>(tags: [(&str, &str); N]) -> Image {
    tags.into_iter()
        .fold(Image::new(IMAGE), |image, (key, value)| {
            image.tag(key, value)
        })
}

/// An image with two volumes.
fn with_two_snapshots(image: Image) -> Image {
    image.block_device(BlockDevice::ebs("/dev/sdb", SECOND))
}

/// A world in which everything may be added, copied and shown.
fn open_world() -> World {
    World::new()
        .permissive()
        .setting("SHARED_TAGS", "*")
        .setting("ALLOWED_COPIERS", "*")
}

/// The function in an open world with this image.
fn open(image: Image) -> Function {
    open_world().image(image).start()
}

fn create_tag(key: &str, value: &str) -> String {
    format!("CreateTags ResourceId.1={IMAGE} Tag.1.Key={key} Tag.1.Value={value}")
}

fn delete_tag(key: &str) -> String {
    format!("DeleteTags ResourceId.1={IMAGE} Tag.1.Key={key}")
}

fn deprecate(time: &str) -> String {
    format!("EnableImageDeprecation DeprecateAt={time} ImageId={IMAGE}")
}

fn describe_copiers(snapshot: &str) -> String {
    format!("DescribeSnapshotAttribute Attribute=createVolumePermission SnapshotId={snapshot}")
}

fn modify_copiers(snapshot: &str, direction: &str, accounts: &[&str]) -> String {
    let entries = accounts.iter().enumerate();
    let entries: String = entries
        .map(|(index, account)| {
            format!(
                " CreateVolumePermission.{direction}.{}.UserId={account}",
                index + 1
            )
        })
        .collect();
    format!("ModifySnapshotAttribute{entries} SnapshotId={snapshot}")
}

fn is_write(request: &str) -> bool {
    !["Describe", "Get", "List"]
        .iter()
        .any(|read| request.starts_with(read))
}

/// The writes since the last time, in their order.
fn writes(function: &Function) -> Vec<String> {
    function
        .requests()
        .into_iter()
        .filter(|request| is_write(request))
        .collect()
}

/// The accounts that may copy by this snapshot, as EC2 has it.
fn copiers(function: &Function, snapshot: &str) -> Vec<String> {
    function
        .emulator
        .edit(|state| state.snapshots.get(snapshot).unwrap().copiers())
}

fn tag_of(function: &Function, key: &str) -> Option<String> {
    function
        .emulator
        .image(IMAGE)
        .unwrap()
        .tags
        .get(key)
        .cloned()
}

fn set_tag(function: &Function, key: &str, value: Option<&str>) {
    function.emulator.edit(|state| {
        let tags = &mut state.images.get_mut(IMAGE).unwrap().tags;
        match value {
            Some(value) => tags.insert(key.to_owned(), value.to_owned()),
            None => tags.remove(key),
        }
    });
}

fn attributes(entry: &Value) -> Vec<&str> {
    entry["Changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["Attribute"].as_str().unwrap())
        .collect()
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// So many days from now, at noon.
fn noon_in(days: i64) -> DateTime<Utc> {
    let day = (Utc::now() + TimeDelta::days(days)).date_naive();
    day.and_hms_opt(12, 0, 0).unwrap().and_utc()
}

/// Looks once and expects one refusal of one directive and no write.
#[track_caller]
fn check_invalid(world: World, key: &str, attribute: &str, value: &str, words: &str) {
    let mut function = world.start();
    let entry = function.look();
    assert_eq!(
        refusals(&entry),
        [(attribute.into(), "invalid-directive".into(), key.into())],
        "{value:?}"
    );
    let message = refusal_message(&entry, "invalid-directive");
    assert!(message.contains(words), "{value:?}: {message}");
    assert_eq!(writes(&function), [""; 0], "{value:?}");
    assert_eq!(entry["Outcome"], "refused");
}

// --- Shared tags ---------------------------------------------------------------------------------

#[test]
fn a_shared_tag_is_written_as_its_directive_says_and_a_second_run_writes_nothing() {
    let image = tagged([
        ("release", "stable"),
        (RELEASE, "{tag:release} of {Name}, {ImageId}"),
    ])
    .name("golden-1");
    let mut function = World::new()
        .setting("SHARED_TAGS", "release")
        .image(image)
        .start();
    let entry = function.look();
    let value = format!("stable of golden-1, {IMAGE}");
    assert_eq!(
        entry["Changes"],
        json!([{ "Attribute": "sharedTag:release", "From": null, "To": value }])
    );
    assert_eq!(
        function.requests(),
        [
            describe(IMAGE),
            create_tag("ec2:SharedTag/release", &value),
            describe(IMAGE)
        ]
    );
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "unchanged", "Changes": [] }),
    );
    assert_eq!(function.requests(), [describe(IMAGE)]);
}

#[test]
fn a_shared_tag_that_drifted_is_put_right() {
    let mut function = open(tagged([(RELEASE, "stable")]).tag("ec2:SharedTag/release", "beta"));
    let entry = function.look();
    assert_eq!(
        entry["Changes"],
        json!([{ "Attribute": "sharedTag:release", "From": "beta", "To": "stable" }])
    );
    for drift in [Some("Stable"), Some(""), None] {
        set_tag(&function, "ec2:SharedTag/release", drift);
        assert_holds(
            &function.look()["Changes"][0],
            &json!({ "From": drift, "To": "stable" }),
        );
        assert_eq!(
            tag_of(&function, "ec2:SharedTag/release").as_deref(),
            Some("stable"),
            "{drift:?}"
        );
    }
    // The value follows what it is made of.
    set_tag(&function, RELEASE, Some("{tag:release}"));
    set_tag(&function, "release", Some("2027.1"));
    function.look();
    assert_eq!(
        tag_of(&function, "ec2:SharedTag/release").as_deref(),
        Some("2027.1")
    );
}

#[test]
fn a_minus_deletes_the_shared_tag_whatever_its_value() {
    let mut function = open(tagged([(RELEASE, "-")]).tag("ec2:SharedTag/release", "beta"));
    let entry = function.look();
    assert_eq!(
        entry["Changes"],
        json!([{ "Attribute": "sharedTag:release", "From": "beta", "To": null }])
    );
    assert_eq!(
        function.requests(),
        [
            describe(IMAGE),
            delete_tag("ec2:SharedTag/release"),
            describe(IMAGE)
        ]
    );
    assert_eq!(function.look()["Outcome"], "unchanged");
    assert_eq!(function.requests(), [describe(IMAGE)]);
}

#[test]
fn shared_tags_that_no_directive_names_are_not_touched() {
    let image = tagged([(RELEASE, "stable"), ("ami-warden:shared-tag:os", "")]);
    let mut function = open(
        image
            .tag("ec2:SharedTag/os", "linux")
            .tag("ec2:SharedTag/Owner", "web"),
    );
    function.look();
    // Deleting the directive deletes nothing.
    set_tag(&function, RELEASE, None);
    set_tag(&function, "ami-warden:shared-tag:os", None);
    assert_eq!(function.look()["Reason"], "no-directives");
    assert_eq!(
        writes(&function),
        [create_tag("ec2:SharedTag/release", "stable")]
    );
    for (key, value) in [("release", "stable"), ("os", "linux"), ("Owner", "web")] {
        assert_eq!(
            tag_of(&function, &format!("ec2:SharedTag/{key}")).as_deref(),
            Some(value)
        );
    }
}

#[test]
fn only_keys_within_shared_tags_are_written_or_deleted() {
    let image = tagged([
        (RELEASE, "stable"),
        ("ami-warden:shared-tag:os-name", "linux"),
        ("ami-warden:shared-tag:os", "linux"),
        ("ami-warden:shared-tag:old", "-"),
    ]);
    let image = image.tag("ec2:SharedTag/old", "x");
    for (setting, allowed) in [
        ("", &[][..]),
        ("release", &["release"]),
        ("Release, os-*", &["os-name"]),
        ("os*,old", &["old", "os", "os-name"]),
        ("*", &["old", "os", "os-name", "release"]),
    ] {
        let mut function = World::new()
            .setting("SHARED_TAGS", setting)
            .image(image.clone())
            .start();
        let entry = function.look();
        let changed: Vec<_> = allowed
            .iter()
            .map(|key| format!("sharedTag:{key}"))
            .collect();
        assert_eq!(attributes(&entry), changed, "{setting:?}");
        let others = ["old", "os", "os-name", "release"]
            .into_iter()
            .filter(|key| !allowed.contains(key));
        let expected: Vec<_> = others
            .map(|key| {
                (
                    format!("sharedTag:{key}"),
                    "shared-tag-not-allowed".into(),
                    format!("ec2:SharedTag/{key}"),
                )
            })
            .collect();
        assert_eq!(refusals(&entry), expected, "{setting:?}");
        assert_eq!(writes(&function).len(), allowed.len());
    }
}

#[test]
fn a_shared_tag_that_is_as_wanted_needs_no_permission() {
    let mut function = World::new()
        .image(tagged([(RELEASE, "stable")]).tag("ec2:SharedTag/release", "stable"))
        .start();
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "unchanged", "Refusals": [] }),
    );
}

#[test]
fn a_shared_tag_that_is_not_allowed_leaves_the_images_other_directives_alone() {
    let image = share(ALICE)
        .tag(RELEASE, "stable")
        .tag("ami-warden:shared-tag:os", "linux");
    let mut function = World::new()
        .permissive()
        .setting("SHARED_TAGS", "os")
        .image(image)
        .start();
    let entry = function.look();
    assert_eq!(codes(&entry), ["shared-tag-not-allowed"]);
    assert!(
        refusal_message(&entry, "shared-tag-not-allowed")
            .contains("SHARED_TAGS does not cover release")
    );
    assert_eq!(attributes(&entry), ["sharedTag:os", "launchPermission"]);
}

#[test]
fn a_shared_tag_that_ec2_would_not_take_is_refused() {
    let long = "x".repeat(257);
    for (value, words) in [
        ("{release}", "{release} is not a placeholder"),
        ("{tag:release}", "{tag:release} has no value on this image"),
        ("{tag:ec2:SharedTag/os}", "another account's words"),
        ("{tag:release", "without a }"),
        (&long, "257 characters"),
    ] {
        let image = tagged([(RELEASE, value)]).tag("ec2:SharedTag/os", "linux");
        check_invalid(
            open_world().image(image),
            RELEASE,
            "sharedTag:release",
            value,
            words,
        );
    }
    // The longest value and the longest key.
    let (key, value) = ("k".repeat(114), "x".repeat(256));
    let longest = format!("ami-warden:shared-tag:{key}");
    let world = open_world().setting("TAG_PREFIX", "w:");
    let mut function = world
        .image(tagged([(&format!("w:shared-tag:{key}"), &value)]))
        .start();
    assert_eq!(function.look()["Outcome"], "applied");
    assert_eq!(
        tag_of(&function, &format!("ec2:SharedTag/{key}")),
        Some(value)
    );
    let too_long = format!("{longest}k");
    let attribute = format!("sharedTag:{key}k");
    let image = tagged([(&too_long, "x")]);
    check_invalid(
        open_world().image(image),
        &too_long,
        &attribute,
        "a key",
        "1 to 114 characters",
    );
}

#[test]
fn a_shared_tag_without_a_key_is_an_unknown_directive() {
    for key in [
        "ami-warden:shared-tag",
        "ami-warden:shared-tag:",
        "ami-warden:shared-tags:release",
        "ami-warden:Shared-Tag:a",
    ] {
        check_invalid(
            open_world().image(tagged([(key, "x")])),
            key,
            key,
            "x",
            "is not a directive",
        );
    }
}

#[test]
fn an_event_about_shared_tags_alone_waits_for_nothing_and_writes_nothing() {
    let image = || {
        share(ALICE)
            .granted(ALICE)
            .tag(RELEASE, "stable")
            .tag("ec2:SharedTag/release", "stable")
    };
    let mut created = event("call-create-tags");
    created["detail"]["requestParameters"]["tagSet"]["items"] =
        json!([{ "key": "ec2:SharedTag/release", "value": "later" }]);
    let mut deleted = event("call-delete-tags");
    deleted["detail"]["requestParameters"]["tagSet"]["items"] =
        json!([{ "key": "ec2:SharedTag/release" }]);
    let mut changed = event("tag-changed");
    changed["detail"]["changed-tag-keys"] = json!(["ec2:SharedTag/release"]);
    changed["detail"]["tags"] = json!({ "ami-warden:launch-permission": ALICE, RELEASE: "stable", "ec2:SharedTag/release": "later" });
    for policy in [false, true] {
        let world = if policy {
            open_world().setting("POLICY_PATH", "/ami-warden")
        } else {
            open_world()
        };
        let mut function = world.image(image()).start();
        for event in [&created, &deleted, &changed] {
            assert_eq!(
                function.invoke(event)["Summary"],
                json!({ "unchanged": 1 }),
                "{event:#}"
            );
            assert_eq!(
                function.counts()["DescribeImages"],
                1,
                "waited for the tags of {event:#}"
            );
        }
    }
}

// --- Deprecation ---------------------------------------------------------------------------------

#[test]
fn an_image_is_deprecated_at_a_date_a_time_or_so_many_days_after_its_creation() {
    let created: DateTime<Utc> = "2026-05-01T10:20:31Z".parse().unwrap();
    for (value, time) in [
        ("2028-06-30", "2028-06-30T00:00:00Z"),
        ("2028-06-30T12:34:00Z", "2028-06-30T12:34:00Z"),
        ("2028-06-30T12:34:29Z", "2028-06-30T12:34:00Z"),
        ("2028-06-30T23:59:30Z", "2028-07-01T00:00:00Z"),
        ("1000d", "2029-01-25T10:21:00Z"),
    ] {
        let mut function = open(tagged([(DEPRECATE, value)]).created(created));
        let entry = function.look();
        assert_eq!(
            entry["Changes"],
            json!([{ "Attribute": "deprecationTime", "From": null, "To": time }]),
            "{value}"
        );
        assert_eq!(
            function.requests(),
            [describe(IMAGE), deprecate(time), describe(IMAGE)]
        );
        assert_eq!(function.look()["Outcome"], "unchanged");
        assert_eq!(function.requests(), [describe(IMAGE)]);
    }
}

#[test]
fn a_minus_cancels_the_deprecation() {
    let time = noon_in(30);
    let mut function = open(tagged([(DEPRECATE, "-")]).deprecated(time));
    let entry = function.look();
    let from = entry["Changes"][0]["From"].as_str().unwrap();
    assert_eq!(from.parse::<DateTime<Utc>>().unwrap(), time);
    assert_holds(
        &entry["Changes"][0],
        &json!({ "Attribute": "deprecationTime", "To": null }),
    );
    assert_eq!(
        writes(&function),
        [format!("DisableImageDeprecation ImageId={IMAGE}")]
    );
    assert_eq!(function.look()["Outcome"], "unchanged");
    // One that has passed, too.
    function
        .emulator
        .edit(|state| state.images.get_mut(IMAGE).unwrap().deprecation_time = Some(noon_in(-2)));
    assert_eq!(function.look()["Outcome"], "applied");
}

#[test]
fn a_deprecation_time_is_compared_by_the_minute() {
    let time = noon_in(30);
    for (seconds, settled) in [
        (0, true),
        (29, true),
        (-30, true),
        (30, false),
        (-31, false),
        (60, false),
    ] {
        let image = tagged([(DEPRECATE, written(time).as_str())]);
        let mut function = open(image.deprecated(time + TimeDelta::seconds(seconds)));
        assert_eq!(
            function.look()["Outcome"],
            if settled { "unchanged" } else { "applied" },
            "{seconds} s"
        );
    }
    let mut function = open(tagged([(DEPRECATE, written(time).as_str())]).deprecated(noon_in(31)));
    function.look();
    assert_eq!(
        function.emulator.image(IMAGE).unwrap().deprecation_time,
        Some(time)
    );
}

#[test]
fn a_deprecation_time_that_has_passed_is_refused_unless_it_is_the_images_already() {
    let passed = written(noon_in(-3));
    let image = || tagged([(DEPRECATE, passed.as_str())]).created(noon_in(-400));
    check_invalid(
        open_world().image(image()),
        DEPRECATE,
        "deprecationTime",
        &passed,
        "has passed",
    );
    let days = || tagged([(DEPRECATE, "10d")]).created(noon_in(-400));
    check_invalid(
        open_world().image(days()),
        DEPRECATE,
        "deprecationTime",
        "10d",
        "has passed",
    );
    check_invalid(
        open_world().image(image().deprecated(noon_in(-4))),
        DEPRECATE,
        "deprecationTime",
        "",
        "has passed",
    );
    let mut function = open(image().deprecated(noon_in(-3)));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "unchanged", "Refusals": [] }),
    );
}

#[test]
fn a_deprecation_time_over_ten_years_ahead_is_refused_with_the_latest_that_is_possible() {
    let image = |value: &str| tagged([(DEPRECATE, value)]).created(noon_in(-1));
    let mut function = open(image("2099-01-01"));
    let entry = function.look();
    assert_eq!(
        refusals(&entry),
        [(
            "deprecationTime".into(),
            "invalid-directive".into(),
            DEPRECATE.into()
        )]
    );
    let latest = latest_time(&entry);
    let ten_years = Utc::now().checked_add_months(Months::new(120)).unwrap();
    assert!((ten_years - latest) < TimeDelta::minutes(3), "{latest}");
    function.emulator.add(image(&written(latest)));
    assert_eq!(
        function.look()["Outcome"],
        "applied",
        "EC2 takes the latest time"
    );
    let days = "99999999999999999999d";
    check_invalid(
        open_world().image(image(days)),
        DEPRECATE,
        "deprecationTime",
        days,
        "too far ahead",
    );
}

/// The latest time that a refusal says is possible.
#[track_caller]
fn latest_time(entry: &Value) -> DateTime<Utc> {
    let message = refusal_message(entry, "invalid-directive");
    let (_, latest) = message
        .split_once("the latest possible time is ")
        .unwrap_or_else(|| panic!("{message}"));
    latest.trim_end_matches('.').parse().unwrap()
}

#[test]
fn a_text_that_is_no_deprecation_time_is_refused() {
    for value in [
        "never",
        "180",
        "1.5d",
        "180 d",
        "2028-6-30",
        "2028-02-30",
        "2028-06-30T12:00:00",
        "30.06.2028",
        "--",
    ] {
        let world = open_world().image(tagged([(DEPRECATE, value)]));
        check_invalid(
            world,
            DEPRECATE,
            "deprecationTime",
            value,
            &format!("{value:?} is not a time"),
        );
    }
    // Empty is no opinion.
    let mut function = open(tagged([(DEPRECATE, "")]).deprecated(noon_in(3)));
    assert_eq!(function.look()["Reason"], "no-directives");
}

#[test]
fn a_public_image_is_refused_a_time_that_ec2_would_not_take_with_the_latest_it_would() {
    let created = noon_in(-100);
    let latest = created.checked_add_months(Months::new(24)).unwrap();
    let later = written(latest + TimeDelta::minutes(1));
    let present = noon_in(50);
    for (value, deprecated, expected, words) in [
        (
            later.as_str(),
            latest,
            latest,
            "two years after its creation at the latest",
        ),
        (
            "900d",
            latest,
            latest,
            "two years after its creation at the latest",
        ),
        (
            &written(noon_in(51)),
            present,
            present,
            "a public image gets no more time",
        ),
        ("-", latest, latest, "EC2 deprecates every public image"),
    ] {
        // It is public, or it would become so.
        for is_public in [true, false] {
            let image = share("all")
                .tag(DEPRECATE, value)
                .created(created)
                .deprecated(deprecated);
            let mut function = open(if is_public {
                image.granted("all")
            } else {
                image
            });
            let entry = function.look();
            let refused = (
                "deprecationTime".to_owned(),
                "invalid-directive".to_owned(),
                DEPRECATE.to_owned(),
            );
            assert_eq!(refusals(&entry), [refused], "{value} {is_public}");
            let message = refusal_message(&entry, "invalid-directive");
            assert!(message.contains(words), "{value}: {message}");
            assert_eq!(latest_time(&entry), expected, "{value}");
            let sent = writes(&function);
            assert!(
                !sent.iter().any(|request| request.contains("Deprecation")),
                "{sent:?}"
            );
            // The latest time is one that EC2 takes.
            set_tag(&function, DEPRECATE, Some(&written(expected)));
            assert_holds(&function.look(), &json!({ "Refusals": [] }));
        }
    }
}

#[test]
fn a_public_image_is_deprecated_earlier_as_asked() {
    let image = share("all")
        .granted("all")
        .tag(DEPRECATE, &written(noon_in(20)));
    let mut function = open(image.created(noon_in(-100)).deprecated(noon_in(50)));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
    assert_eq!(writes(&function), [deprecate(&written(noon_in(20)))]);
}

#[test]
fn an_image_is_made_private_before_its_deprecation_is_cancelled() {
    let image = share("-all").granted("all").tag(DEPRECATE, "-");
    let mut function = open(image.created(noon_in(-100)).deprecated(noon_in(50)));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
    let private = modify(IMAGE, [("LaunchPermission.Remove.1.Group", "all")]);
    assert_eq!(
        writes(&function),
        [private, format!("DisableImageDeprecation ImageId={IMAGE}")]
    );
}

#[test]
fn a_deprecation_that_ec2_refuses_is_a_refusal_of_that_attribute() {
    let mut function = open(tagged([(DEPRECATE, "2028-06-30")]));
    function
        .emulator
        .fault(Fault::error("EnableImageDeprecation", "InvalidParameter"));
    let entry = function.look();
    assert_eq!(
        refusals(&entry),
        [("deprecationTime".into(), "ec2-refused".into(), IMAGE.into())]
    );
    assert_eq!(
        (&entry["Refusals"][0]["Ec2Code"], &entry["Outcome"]),
        (&json!("InvalidParameter"), &json!("refused"))
    );
    // The next run tries again.
    assert_eq!(function.look()["Outcome"], "applied");
}

// --- Copy permission -----------------------------------------------------------------------------

#[test]
fn accounts_may_copy_every_snapshot_of_the_image_and_a_second_run_writes_nothing() {
    let value = format!("{ALICE} {BOB} {OWNER}");
    let image = tagged([
        ("ami-warden:copy-permission:b", value.as_str()),
        (COPY, CAROL),
    ]);
    let mut function = open(with_two_snapshots(image));
    let entry = function.look();
    let added = [BOB, CAROL, ALICE];
    let change = |snapshot: &str| json!({ "Attribute": "createVolumePermission", "Snapshot": snapshot, "Add": added, "Remove": [] });
    assert_eq!(entry["Changes"], json!([change(SNAPSHOT), change(SECOND)]));
    let reads = vec![describe_copiers(SNAPSHOT), describe_copiers(SECOND)];
    let add = |snapshot: &str| vec![modify_copiers(snapshot, "Add", &added)];
    let steps = [
        vec![describe(IMAGE)],
        reads.clone(),
        add(SNAPSHOT),
        add(SECOND),
        vec![describe(IMAGE)],
    ];
    assert_steps(function.requests(), steps);
    assert_eq!(
        (copiers(&function, SNAPSHOT), copiers(&function, SECOND)),
        (added.map(Into::into).into(), added.map(Into::into).into())
    );
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "unchanged", "Changes": [] }),
    );
    assert_steps(function.requests(), [vec![describe(IMAGE)], reads]);
}

#[test]
fn a_snapshot_whose_copy_permissions_drifted_is_put_right_alone() {
    let mut function = open(with_two_snapshots(tagged([(
        COPY,
        "444455556666 -222233334444",
    )])));
    function.look();
    function.requests();
    function.emulator.edit(|state| {
        let snapshot = state.snapshots.get_mut(SECOND).unwrap();
        snapshot.create_volume_permissions =
            BTreeSet::from([BOB.parse().unwrap(), CAROL.parse().unwrap()]);
    });
    function.look();
    assert_eq!(
        writes(&function),
        [
            modify_copiers(SECOND, "Remove", &[BOB]),
            modify_copiers(SECOND, "Add", &[ALICE])
        ]
    );
    assert_eq!(copiers(&function, SECOND), [CAROL, ALICE]);
}

#[test]
fn nothing_is_taken_from_accounts_that_the_directive_does_not_name() {
    // Another image stands on the same snapshot, and another account has it by that.
    let image = tagged([(COPY, "444455556666 -222233334444")]);
    let image = image.snapshots([Snapshot::new(SNAPSHOT)
        .granted(BOB)
        .granted(CAROL)
        .granted("all")]);
    let mut function = open(image);
    let entry = function.look();
    assert_eq!(
        entry["Changes"],
        json!([
            { "Attribute": "createVolumePermission", "Snapshot": SNAPSHOT, "Add": [], "Remove": [BOB] },
            { "Attribute": "createVolumePermission", "Snapshot": SNAPSHOT, "Add": [ALICE], "Remove": [] },
        ])
    );
    assert_eq!(copiers(&function, SNAPSHOT), [CAROL, ALICE, "all"]);
    // Nor is anything taken when the directive goes.
    set_tag(&function, COPY, None);
    function.requests();
    assert_eq!(function.look()["Reason"], "no-directives");
    assert_eq!(writes(&function), [""; 0]);
}

#[test]
fn only_accounts_may_copy_and_a_value_that_does_not_parse_changes_nothing() {
    for (value, words) in [
        (
            "= 444455556666",
            "\"=\" is not possible in a copy permission",
        ),
        ("=", "\"=\" is not possible in a copy permission"),
        ("444455556666 all", "\"all\" is not an account"),
        ("-all", "\"-all\" is not an account"),
        (
            &format!("{ALICE} {ORGANIZATION}"),
            "EC2 gives the copy permission to accounts only",
        ),
        (
            "o-exampleorgid",
            "EC2 gives the copy permission to accounts only",
        ),
        (UNIT, "EC2 gives the copy permission to accounts only"),
        ("@mixed", "EC2 gives the copy permission to accounts only"),
        ("@unknown", "/ami-warden/groups/unknown"),
        ("44445555666", "\"44445555666\""),
        ("444455556666 bob", "\"bob\""),
        ("444455556666 -444455556666", "444455556666"),
        ("@team -444455556666", "444455556666"),
    ] {
        let image = tagged([(COPY, value)]).snapshots([Snapshot::new(SNAPSHOT).granted(BOB)]);
        let world = open_world()
            .setting("ORGANIZATION_ARN", ORGANIZATION)
            .setting("POLICY_PATH", "/ami-warden");
        for (name, list) in [
            ("mixed", "444455556666,o-exampleorgid"),
            ("team", "444455556666"),
        ] {
            world.emulator.put_parameter(
                &format!("/ami-warden/groups/{name}"),
                list,
                ParameterType::StringList,
            );
        }
        check_invalid(
            world.image(image),
            COPY,
            "createVolumePermission",
            value,
            words,
        );
    }
    for key in ["ami-warden:copy-permission:", "ami-warden:copy-permissions"] {
        check_invalid(
            open_world().image(tagged([(key, ALICE)])),
            key,
            key,
            ALICE,
            "is not a directive",
        );
    }
}

#[test]
fn a_group_of_accounts_may_copy() {
    let world = open_world().setting("POLICY_PATH", "/ami-warden");
    for (name, list) in [("builders", "444455556666,@data"), ("data", "222233334444")] {
        world.emulator.put_parameter(
            &format!("/ami-warden/groups/{name}"),
            list,
            ParameterType::StringList,
        );
    }
    let mut function = world.image(tagged([(COPY, "@builders")])).start();
    function.look();
    assert_eq!(copiers(&function, SNAPSHOT), [BOB, ALICE]);
}

#[test]
fn only_allowed_copiers_are_added_and_anybody_is_removed() {
    let image = || tagged([(COPY, "444455556666 333344445555 -222233334444")]);
    let image = || image().snapshots([Snapshot::new(SNAPSHOT).granted(BOB)]);
    // To launch is not to copy.
    for (setting, refused) in [
        ("", &[CAROL, ALICE][..]),
        (ALICE, &[CAROL]),
        ("333344445555, 222233334444", &[ALICE]),
        ("*", &[]),
    ] {
        let world = World::new()
            .permissive()
            .setting("ALLOWED_COPIERS", setting);
        let mut function = world.image(image()).start();
        let entry = function.look();
        let expected: Vec<_> = refused
            .iter()
            .map(|account| {
                (
                    "createVolumePermission".to_owned(),
                    "copier-not-allowed".to_owned(),
                    (*account).to_owned(),
                )
            })
            .collect();
        assert_eq!(refusals(&entry), expected, "{setting:?}");
        // One refused addition refuses all; removals go on.
        let after = if refused.is_empty() {
            vec![CAROL, ALICE]
        } else {
            vec![]
        };
        assert_eq!(copiers(&function, SNAPSHOT), after, "{setting:?}");
        assert_eq!(entry["Outcome"], "applied");
    }
    // An account that may copy already needs no permission to keep it.
    let image = tagged([(COPY, ALICE)]).snapshots([Snapshot::new(SNAPSHOT).granted(ALICE)]);
    assert_eq!(
        World::new().image(image).start().look()["Outcome"],
        "unchanged"
    );
}

#[test]
fn a_refused_copy_permission_leaves_the_launch_permission_alone_and_the_other_way_round() {
    let image = || share(ALICE).tag(COPY, ALICE);
    let mut function = World::new().permissive().image(image()).start();
    let entry = function.look();
    assert_eq!(codes(&entry), ["copier-not-allowed"]);
    assert_eq!(
        (function.grantees(IMAGE), copiers(&function, SNAPSHOT)),
        (vec![ALICE.to_owned()], vec![])
    );
    let mut function = World::new()
        .setting("ALLOWED_COPIERS", ALICE)
        .image(image())
        .start();
    let entry = function.look();
    assert_eq!(codes(&entry), ["grantee-not-allowed"]);
    assert_eq!(
        (function.grantees(IMAGE), copiers(&function, SNAPSHOT)),
        (vec![], vec![ALICE.to_owned()])
    );
}

#[test]
fn at_most_500_accounts_go_in_one_call_and_removals_go_before_additions() {
    let account = |number: u32| format!("{:012}", 100_000_000_000_u64 + u64::from(number));
    let world = open_world().setting("POLICY_PATH", "/ami-warden");
    for (name, range) in [("new", 0..1001), ("old", 2000..2501)] {
        let list = range.map(account).collect::<Vec<_>>().join(",");
        world.emulator.put_parameter(
            &format!("/ami-warden/groups/{name}"),
            &list,
            ParameterType::StringList,
        );
    }
    let snapshot = (2000..2501).fold(Snapshot::new(SNAPSHOT), |snapshot, number| {
        snapshot.granted(&account(number))
    });
    let mut function = world
        .image(tagged([(COPY, "@new -@old")]).snapshots([snapshot]))
        .start();
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "applied", "Refusals": [] }),
    );
    let calls: Vec<_> = function.emulator.calls_of("ModifySnapshotAttribute");
    let sizes: Vec<_> = calls
        .iter()
        .map(|call| {
            let number = |kind: &str| {
                call.params
                    .keys()
                    .filter(|name| name.contains(kind))
                    .count()
            };
            (number(".Remove."), number(".Add."))
        })
        .collect();
    assert_eq!(sizes, [(500, 0), (1, 0), (0, 500), (0, 500), (0, 1)]);
    assert_eq!(
        copiers(&function, SNAPSHOT),
        (0..1001).map(account).collect::<Vec<_>>()
    );
    assert_eq!(function.look()["Outcome"], "unchanged");
}

#[test]
fn the_guardrails_on_letting_anybody_in_hold_for_copies_too() {
    let managed = "arn:aws:kms:us-east-1:111122223333:alias/aws/ebs";
    let disabled = "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-0000-0000-0000-000000000001";
    let private = "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-0000-0000-0000-000000000002";
    let only_owner = json!({ "Statement": [{ "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{OWNER}:root") },
        "Action": "kms:*", "Resource": "*" }] });
    let image = || tagged([(COPY, "444455556666 -222233334444")]);
    let taken = || image().snapshots([Snapshot::new(SNAPSHOT).granted(BOB)]);
    for (world, code, resource) in [
        (
            open_world().image(taken().tag("aws:backup:source-resource", "i-1")),
            "backup-image",
            "aws:backup:source-resource",
        ),
        (
            open_world().image(taken().tag("aws:dlm:lifecycle-policy-id", "p")),
            "backup-image",
            "aws:dlm:lifecycle-policy-id",
        ),
        (
            open_world()
                .setting("MAX_FINDING_SEVERITY", "low")
                .image(taken()),
            "finding-severity",
            "unscanned",
        ),
        (
            open_world()
                .setting("MAX_FINDING_SEVERITY", "low")
                .image(taken().scanned("high")),
            "finding-severity",
            "high",
        ),
        (
            open_world()
                .setting("KEY_CHECK", "warn")
                .image(image().encrypted_with(managed)),
            "aws-managed-key",
            SNAPSHOT,
        ),
        (
            open_world()
                .setting("KEY_CHECK", "warn")
                .image(image().encrypted_with(disabled)),
            "key-unusable",
            disabled,
        ),
        (
            open_world()
                .setting("KEY_CHECK", "refuse")
                .image(image().encrypted_with(private)),
            "key-not-shared",
            ALICE,
        ),
    ] {
        world.emulator.add_key(
            Key::new(disabled)
                .state(KeyState::Disabled)
                .policy(&only_owner),
        );
        world
            .emulator
            .add_key(Key::new(private).policy(&only_owner));
        world.emulator.edit(|state| {
            let snapshot = state.snapshots.get_mut(SNAPSHOT).unwrap();
            snapshot.create_volume_permissions = BTreeSet::from([BOB.parse().unwrap()]);
        });
        let mut function = world.start();
        let entry = function.look();
        assert_eq!(
            refusals(&entry),
            [(
                "createVolumePermission".into(),
                code.into(),
                resource.into()
            )]
        );
        // What takes access away goes on.
        assert_eq!(copiers(&function, SNAPSHOT), [""; 0], "{code}");
        assert_eq!(
            writes(&function),
            [modify_copiers(SNAPSHOT, "Remove", &[BOB])],
            "{code}"
        );
    }
}

#[test]
fn who_may_copy_an_encrypted_image_is_told_the_key_they_need() {
    let key = "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-0000-0000-0000-000000000001";
    let mut function = open(tagged([(COPY, ALICE)]).encrypted_with(key));
    let entry = function.look();
    let notes: Vec<_> = entry["Notes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|note| note.as_str().unwrap())
        .collect();
    assert!(notes.iter().any(|note| note.contains(key)), "{notes:?}");
    assert_eq!(copiers(&function, SNAPSHOT), [ALICE]);
}

#[test]
fn a_copy_permission_is_given_with_a_note_that_a_copy_cannot_be_taken_back() {
    let mut function = open(tagged([(COPY, ALICE)]));
    let note = function.look()["Notes"].to_string();
    assert!(note.contains("copies cannot be taken back"), "{note}");
    assert_eq!(function.look().get("Notes"), None, "nobody was added");
    // Nobody is added by a removal, nor by an addition that is refused.
    set_tag(&function, COPY, Some("-444455556666"));
    assert_eq!(function.look().get("Notes"), None);
    let entry = World::new().image(tagged([(COPY, ALICE)])).start().look();
    assert_eq!(
        (codes(&entry), entry.get("Notes")),
        (vec!["copier-not-allowed".to_owned()], None)
    );
}

#[test]
fn ec2s_own_refusal_of_a_copy_permission_names_it_and_lets_nobody_launch() {
    // A key of AWS's, and KEY_CHECK is not set: EC2 says no.
    let managed = "arn:aws:kms:us-east-1:111122223333:alias/aws/ebs";
    let mut function = open(
        share("444455556666 -222233334444")
            .granted(BOB)
            .tag(COPY, ALICE)
            .encrypted_with(managed),
    );
    let entry = function.look();
    assert_eq!(
        refusals(&entry),
        [(
            "createVolumePermission".into(),
            "ec2-refused".into(),
            IMAGE.into()
        )]
    );
    assert_eq!(entry["Refusals"][0]["Ec2Code"], "OperationNotPermitted");
    assert_eq!(
        function.grantees(IMAGE),
        [""; 0],
        "the removal is made, the grant is not"
    );
    assert!(
        entry["Notes"].to_string().contains("Nobody was let in"),
        "{entry:#}"
    );
}

#[test]
fn only_a_copy_permission_directive_reads_the_permissions_of_snapshots() {
    let mut function = open(with_two_snapshots(share(ALICE)).granted(ALICE));
    function.look();
    assert_eq!(
        function.requests(),
        [describe(IMAGE), describe_permissions(IMAGE)]
    );
    set_tag(&function, COPY, Some("-444455556666"));
    function.look();
    let reads = vec![
        describe_permissions(IMAGE),
        describe_copiers(SNAPSHOT),
        describe_copiers(SECOND),
    ];
    assert_steps(function.requests(), [vec![describe(IMAGE)], reads]);
}

// --- The order of writes -------------------------------------------------------------------------

/// An image that wants everything that a tag can ask for.
fn wants_everything(launch_permission: &str, copy_permission: &str) -> Image {
    let image = share(launch_permission)
        .tag(COPY, copy_permission)
        .tag("ami-warden:description", "new")
        .tag("ami-warden:imds-support", "v2.0")
        .tag(DEPRECATE, "2028-06-30")
        .tag(RELEASE, "stable")
        .tag("ami-warden:shared-tag:old", "-")
        .tag("ec2:SharedTag/old", "x");
    with_two_snapshots(image)
}

/// The writes that make the rest right before anybody is let in.
fn writes_before_anybody() -> [String; 5] {
    [
        modify(IMAGE, [("Description.Value", "new")]),
        modify(IMAGE, [("ImdsSupport.Value", "v2.0")]),
        deprecate("2028-06-30T00:00:00Z"),
        delete_tag("ec2:SharedTag/old"),
        create_tag("ec2:SharedTag/release", "stable"),
    ]
}

#[test]
fn everything_is_right_before_anybody_is_let_in_and_removals_come_first() {
    let image = wants_everything("444455556666", "444455556666 -222233334444").granted(CAROL);
    let image = image.snapshots([
        Snapshot::new(SNAPSHOT).granted(BOB),
        Snapshot::new(SECOND).granted(BOB),
    ]);
    let mut function = open(image.clone());
    let entry = function.look();
    let expected = [
        "createVolumePermission",
        "createVolumePermission",
        "description",
        "imdsSupport",
        "deprecationTime",
        "sharedTag:old",
        "sharedTag:release",
        "createVolumePermission",
        "createVolumePermission",
        "launchPermission",
    ];
    assert_eq!(attributes(&entry), expected);
    let remove = |snapshot: &str| modify_copiers(snapshot, "Remove", &[BOB]);
    let mut order = vec![remove(SNAPSHOT), remove(SECOND)];
    order.extend(writes_before_anybody());
    order.extend([
        modify_copiers(SNAPSHOT, "Add", &[ALICE]),
        modify_copiers(SECOND, "Add", &[ALICE]),
    ]);
    order.push(modify(IMAGE, [("LaunchPermission.Add.1.UserId", ALICE)]));
    assert_eq!(writes(&function), order);
    assert_eq!(function.look()["Outcome"], "unchanged");

    // A launch permission that only takes away goes before everything else.
    function
        .emulator
        .add(image.tag("ami-warden:launch-permission", "-333344445555"));
    function.requests();
    function.look();
    let sent = writes(&function);
    assert_eq!(
        sent[..3],
        [
            modify(IMAGE, [("LaunchPermission.Remove.1.UserId", CAROL)]),
            remove(SNAPSHOT),
            remove(SECOND)
        ]
    );
}

/// The writes of `wants_everything`, each with the fault that hits it alone.
fn each_write() -> Vec<(Fault, usize)> {
    let fault = |action: &str, param: &str, code: &str| Fault::error(action, code).with_any(param);
    let each = |code: &str| {
        vec![
            (fault("ModifyImageAttribute", "Description.Value", code), 5),
            (fault("ModifyImageAttribute", "ImdsSupport.Value", code), 5),
            (fault("EnableImageDeprecation", "DeprecateAt", code), 5),
            (fault("DeleteTags", "ResourceId.1", code), 5),
            (fault("CreateTags", "ResourceId.1", code), 5),
            (
                Fault::error("ModifySnapshotAttribute", code).with("SnapshotId", SNAPSHOT),
                6,
            ),
            (
                Fault::error("ModifySnapshotAttribute", code).with("SnapshotId", SECOND),
                7,
            ),
        ]
    };
    // A permanent refusal of EC2, and what a broken deployment may not do.
    [each("OperationNotPermitted"), each("UnauthorizedOperation")].concat()
}

#[test]
fn nobody_is_let_in_before_the_rest_is_right_whichever_write_fails() {
    for (fault, sent) in each_write() {
        let mut function = open(wants_everything(ALICE, ALICE));
        function.emulator.fault(fault.clone());
        let answer = function
            .try_invoke(&json!({ "ImageId": IMAGE }))
            .unwrap_or_else(|failed| failed.answer());
        let entry = only_entry(&answer);
        assert_eq!(function.grantees(IMAGE), [""; 0], "{fault:?}");
        assert_eq!(copiers(&function, SECOND), [""; 0], "{fault:?}");
        // The writes that let nobody in are made all the same.
        let mut expected = writes_before_anybody().to_vec();
        expected.extend([
            modify_copiers(SNAPSHOT, "Add", &[ALICE]),
            modify_copiers(SECOND, "Add", &[ALICE]),
        ]);
        expected.truncate(sent);
        assert_eq!(writes(&function), expected, "{fault:?}");
        assert!(
            entry["Notes"].to_string().contains("Nobody was let in"),
            "{entry:#}"
        );
        // Once the fault is over, the next run does the rest.
        function.look();
        assert_eq!(
            (function.grantees(IMAGE), copiers(&function, SECOND)),
            (vec![ALICE.into()], vec![ALICE.into()])
        );
    }
}

#[test]
fn a_write_that_ec2_refused_still_counts_when_the_image_is_planned_again() {
    // The wish grows meanwhile, so the image is planned again, without the write that was refused.
    for (fault, _) in each_write().into_iter().take(7) {
        let mut function = open(wants_everything(ALICE, ALICE));
        function.emulator.fault(fault.clone());
        let tags = [("ami-warden:shared-tag:zone".to_owned(), "a".to_owned())].into();
        let act = Act::AddTags {
            id: IMAGE.to_owned(),
            tags,
        };
        let first_write = CallMatch::new("ModifyImageAttribute").with_any("Description.Value");
        function
            .emulator
            .trigger(Trigger::before(first_write, [act]));
        let entry = function.look();
        assert_eq!(codes(&entry), ["ec2-refused"], "{fault:?}");
        assert_eq!(
            tag_of(&function, "ec2:SharedTag/zone").as_deref(),
            Some("a"),
            "{fault:?}"
        );
        assert_eq!(function.grantees(IMAGE), [""; 0], "{fault:?}");
        assert_eq!(copiers(&function, SECOND), [""; 0], "{fault:?}");
    }
}

#[test]
fn removals_that_go_alone_after_a_refusal_are_tried_again_like_any_write() {
    let image = share("444455556666 -222233334444").granted(BOB);
    let mut function = World::new().permissive().image(image).start();
    function.emulator.fault(
        Fault::error("ModifyImageAttribute", "ResourceLimitExceeded")
            .with_any("LaunchPermission.Add.1.UserId"),
    );
    let removal = Fault::error("ModifyImageAttribute", "RequestLimitExceeded");
    function.emulator.fault(
        removal
            .with_any("LaunchPermission.Remove.1.UserId")
            .without("LaunchPermission.Add.1.UserId"),
    );
    let entry = function.look();
    assert_eq!(codes(&entry), ["ec2-refused"]);
    assert_eq!(function.grantees(IMAGE), [""; 0], "{entry:#}");
    assert_holds(
        &entry["Changes"][0],
        &json!({ "Add": [], "Remove": [BOB], "After": [], "Confirmed": true }),
    );
}

#[test]
fn a_refusal_that_ec2_repeats_when_the_image_is_planned_again_is_told_once() {
    let image = share("444455556666 -222233334444").granted(BOB);
    let mut function = open(image);
    let additions = Fault::error("ModifyImageAttribute", "ResourceLimitExceeded");
    function.emulator.fault(
        additions
            .with_any("LaunchPermission.Add.1.UserId")
            .forever(),
    );
    let tags = [(RELEASE.to_owned(), "stable".to_owned())].into();
    let act = Act::AddTags {
        id: IMAGE.to_owned(),
        tags,
    };
    let on = CallMatch::new("ModifyImageAttribute");
    function.emulator.trigger(Trigger::before(on, [act]));
    let entry = function.look();
    assert_eq!(codes(&entry), ["ec2-refused"]);
    assert_eq!(
        attributes(&entry),
        ["launchPermission", "sharedTag:release"]
    );
    assert_eq!(function.grantees(IMAGE), [""; 0]);
}

#[test]
fn a_fault_that_passes_delays_each_write_and_keeps_the_order() {
    for action in [
        "EnableImageDeprecation",
        "DeleteTags",
        "CreateTags",
        "ModifySnapshotAttribute",
    ] {
        for fault in [
            Fault::error(action, "InternalError"),
            Fault::new(action, FaultKind::ResetAfter),
        ] {
            let mut function = open(wants_everything(ALICE, ALICE));
            function.emulator.fault(fault.clone());
            assert_eq!(function.look()["Outcome"], "applied", "{fault:?}");
            let calls = function.emulator.writes();
            let last = calls.last().unwrap();
            assert!(
                last.params
                    .keys()
                    .any(|name| name.starts_with("LaunchPermission.Add")),
                "{calls:#?}"
            );
            let image = function.emulator.image(IMAGE).unwrap();
            assert_eq!(
                image.tags.get("ec2:SharedTag/release").map(String::as_str),
                Some("stable")
            );
            assert_eq!(
                (image.grantees(), copiers(&function, SECOND)),
                (vec![ALICE.into()], vec![ALICE.into()])
            );
            assert_eq!(function.look()["Outcome"], "unchanged");
        }
    }
}

// --- Dry runs, rules, and what is told -----------------------------------------------------------

#[test]
fn a_dry_run_asks_about_every_call_and_changes_nothing() {
    let image = wants_everything(ALICE, "444455556666 -222233334444");
    let image = image.snapshots([
        Snapshot::new(SNAPSHOT).granted(BOB),
        Snapshot::new(SECOND).granted(BOB),
    ]);
    let mut function = open(image);
    let before = function.emulator.image(IMAGE);
    let answer = function.invoke(&json!({ "ImageId": IMAGE, "DryRun": true }));
    assert_eq!(
        (&answer["Summary"], &answer["DryRun"]),
        (&json!({ "planned": 1 }), &json!(true))
    );
    let entry = only_entry(&answer);
    assert_holds(
        &entry["Changes"][0],
        &json!({ "Attribute": "createVolumePermission", "Snapshot": SNAPSHOT, "Add": [], "Remove": [BOB] }),
    );
    assert_holds(
        &entry["Changes"][4],
        &json!({ "Attribute": "deprecationTime", "From": null, "To": "2028-06-30T00:00:00Z" }),
    );
    assert_holds(
        &entry["Changes"][5],
        &json!({ "Attribute": "sharedTag:old", "From": "x", "To": null }),
    );
    let sent = function
        .emulator
        .calls()
        .into_iter()
        .filter(|call| is_write(&call.action))
        .collect::<Vec<_>>();
    assert_eq!(sent.len(), 10);
    for call in &sent {
        assert!(
            call.is_dry_run() && call.error_code.as_deref() == Some("DryRunOperation"),
            "{call:#?}"
        );
    }
    assert_eq!(
        (function.emulator.image(IMAGE), copiers(&function, SNAPSHOT)),
        (before, vec![BOB.to_owned()])
    );
}

#[test]
fn a_dry_run_without_permission_for_one_of_the_calls_has_failed() {
    for action in [
        "EnableImageDeprecation",
        "CreateTags",
        "ModifySnapshotAttribute",
    ] {
        let mut function = open_world()
            .setting("DRY_RUN", "true")
            .image(wants_everything(ALICE, ALICE))
            .start();
        function
            .emulator
            .fault(Fault::error(action, "UnauthorizedOperation").forever());
        let failed = function
            .try_invoke(&json!({ "ImageId": IMAGE }))
            .unwrap_err();
        let entry = only_entry(&failed.answer());
        assert_holds(
            &entry["Error"],
            &json!({ "Operation": action, "Code": "UnauthorizedOperation" }),
        );
    }
}

const RULES: &str = r#"[
    { "Name": "release", "Match": { "Name": "golden-*" }, "SharedTags": { "release": "{tag:release}", "os": "" } },
    { "Name": "golden", "Match": { "Name": "golden-*" }, "DeprecateAt": "1000d", "CopyPermission": "@builders",
      "SharedTags": { "release": "never used", "os": "linux", "old": "-" } } ]"#;

fn with_rules(rules: &str) -> World {
    let world = open_world().setting("POLICY_PATH", "/ami-warden");
    world
        .emulator
        .put_parameter("/ami-warden/rules", rules, ParameterType::String);
    world.emulator.put_parameter(
        "/ami-warden/groups/builders",
        ALICE,
        ParameterType::StringList,
    );
    world
}

#[test]
fn a_rule_states_shared_tags_deprecation_and_copy_permission_for_every_image_it_matches() {
    let created: DateTime<Utc> = "2026-05-01T10:20:00Z".parse().unwrap();
    let image = Image::new(IMAGE)
        .name("golden-1")
        .tag("release", "stable")
        .tag("ec2:SharedTag/old", "x")
        .created(created);
    let mut function = with_rules(RULES).image(image).start();
    let entry = function.look();
    assert_eq!(
        writes(&function),
        [
            deprecate("2029-01-25T10:20:00Z"),
            delete_tag("ec2:SharedTag/old"),
            create_tag("ec2:SharedTag/os", "linux"),
            create_tag("ec2:SharedTag/release", "stable"),
            modify_copiers(SNAPSHOT, "Add", &[ALICE]),
        ]
    );
    let sources: Vec<_> = entry["Directives"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (&d["Attribute"], &d["Sources"]))
        .collect();
    let (release, golden) = (json!(["release"]), json!(["golden"]));
    for (attribute, expected) in [
        ("createVolumePermission", &golden),
        ("deprecationTime", &golden),
        ("sharedTag:os", &golden),
        ("sharedTag:release", &release),
    ] {
        assert!(
            sources.contains(&(&json!(attribute), expected)),
            "{attribute}: {sources:?}"
        );
    }
    assert_eq!(function.look()["Outcome"], "unchanged");
}

#[test]
fn an_images_own_tags_go_before_a_rule_attribute_by_attribute_and_key_by_key() {
    let image = tagged([
        (RELEASE, "mine"),
        (DEPRECATE, "2028-06-30"),
        (COPY, BOB),
        ("ami-warden:shared-tag:os", ""),
    ]);
    let mut function = with_rules(RULES)
        .image(image.name("golden-1").tag("release", "stable"))
        .start();
    function.look();
    assert_eq!(
        writes(&function),
        [
            deprecate("2028-06-30T00:00:00Z"),
            create_tag("ec2:SharedTag/os", "linux"),
            create_tag("ec2:SharedTag/release", "mine"),
            modify_copiers(SNAPSHOT, "Add", &[BOB]),
        ]
    );
}

#[test]
fn a_rules_refusals_name_the_rule_and_are_bound_by_the_guardrails() {
    let rules = r#"[{ "Name": "r", "Match": {}, "SharedTags": { "a": "{tag:gone}", "b": "x" }, "DeprecateAt": "1d",
        "CopyPermission": "@gone" }]"#;
    let world = with_rules(rules)
        .setting("SHARED_TAGS", "a")
        .image(Image::new(IMAGE).created(noon_in(-9)));
    let entry = world.start().look();
    let invalid = |attribute: &str| {
        (
            attribute.to_owned(),
            "invalid-directive".to_owned(),
            "r".to_owned(),
        )
    };
    let mut found = refusals(&entry);
    found.sort();
    let not_allowed = (
        "sharedTag:b".to_owned(),
        "shared-tag-not-allowed".to_owned(),
        "ec2:SharedTag/b".to_owned(),
    );
    assert_eq!(
        found,
        [
            invalid("createVolumePermission"),
            invalid("deprecationTime"),
            invalid("sharedTag:a"),
            not_allowed
        ]
    );
}

#[test]
fn a_rule_with_a_value_that_the_grammar_does_not_allow_stops_the_invocation() {
    for (rule, place) in [
        (r#""DeprecateAt": "soon""#, "[0].DeprecateAt: \"soon\""),
        (r#""DeprecateAt": 180"#, "[0].DeprecateAt"),
        (
            r#""CopyPermission": "= 444455556666""#,
            "[0].CopyPermission: \"=\"",
        ),
        (r#""CopyPermission": "bob""#, "[0].CopyPermission: \"bob\""),
        (r#""SharedTags": { "a": "{Name" }"#, "[0].SharedTags"),
        (r#""SharedTags": { "": "x" }"#, "[0].SharedTags"),
        (r#""SharedTags": { "a": null }"#, "[0].SharedTags.a"),
        (r#""SharedTags": "a""#, "[0].SharedTags"),
    ] {
        let rules = format!(r#"[{{ "Match": {{}}, {rule} }}]"#);
        let mut function = with_rules(&rules).image(share(ALICE)).start();
        let failed = function
            .try_invoke(&json!({ "ImageId": IMAGE }))
            .unwrap_err();
        assert_eq!(failed.error_type, "InvalidPolicy", "{rule}");
        let message = failed.error_message;
        assert!(
            message.starts_with("/ami-warden/rules: ") && message.contains(place),
            "{rule}: {message}"
        );
        assert_eq!(writes(&function), [""; 0]);
    }
}

#[test]
fn the_status_tag_carries_the_refusals_of_all_three() {
    let image = tagged([(RELEASE, "x"), (DEPRECATE, "soon"), (COPY, ALICE)]);
    let mut function = World::new()
        .setting("STATUS_TAG", "status")
        .image(image)
        .start();
    assert_eq!(function.look()["Outcome"], "refused");
    let status = format!(
        "copier-not-allowed:{ALICE} shared-tag-not-allowed:ec2:SharedTag/release invalid-directive:{DEPRECATE}"
    );
    assert_eq!(tag_of(&function, "status"), Some(status));
}

#[test]
fn each_change_leaves_a_line_and_refusals_are_counted_by_code() {
    let image = tagged([
        (RELEASE, "x"),
        (DEPRECATE, "2028-06-30"),
        (COPY, ALICE),
        ("ami-warden:shared-tag:os", "y"),
    ]);
    let mut function = open_world()
        .setting("SHARED_TAGS", "release")
        .image(image)
        .start();
    function.look();
    for (attribute, before, after) in [
        ("sharedTag:release", Value::Null, json!("x")),
        (
            "deprecationTime",
            Value::Null,
            json!("2028-06-30T00:00:00Z"),
        ),
        ("createVolumePermission", json!([]), json!([ALICE])),
    ] {
        let line =
            function.logged(|line| line["event"] == "change" && line["Attribute"] == attribute);
        assert_holds(
            &line,
            &json!({ "ImageId": IMAGE, "Before": before, "After": after, "RequestId": "request-1" }),
        );
    }
    let line = function
        .logged(|line| line["event"] == "change" && line["Attribute"] == "createVolumePermission");
    assert_eq!(line["Snapshot"], SNAPSHOT);
    let metrics =
        function.logged(|line| line["event"] == "metrics" && line.get("Applied").is_some());
    // Nobody may launch what they could not before.
    assert_holds(
        &metrics,
        &json!({ "Applied": 1, "GranteesAdded": 0, "Unconfirmed": 0 }),
    );
    let by_code = function
        .logged(|line| line["Code"] == "shared-tag-not-allowed" && line.get("_aws").is_some());
    assert_eq!(by_code["Refusals"], 1);
}

#[test]
fn hold_keeps_tags_deprecation_and_copiers_as_they_are() {
    let mut function = open(wants_everything(ALICE, ALICE).tag("ami-warden:hold", "until Monday"));
    assert_eq!(function.look()["Reason"], "hold");
    assert_eq!(function.requests(), [describe(IMAGE)]);
}

#[test]
fn a_wish_that_changes_while_it_is_carried_out_is_followed_by_the_new_one() {
    let mut function = open(tagged([
        (RELEASE, "old"),
        (DEPRECATE, "2028-06-30"),
        (COPY, ALICE),
    ]));
    let tags = [
        (RELEASE, "new"),
        (DEPRECATE, "2029-06-30"),
        (COPY, "222233334444 -444455556666"),
    ];
    let acts = vec![Act::AddTags {
        id: IMAGE.to_owned(),
        tags: tags
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }];
    function.emulator.trigger(Trigger::after(
        CallMatch::new("ModifySnapshotAttribute"),
        acts,
    ));
    assert_eq!(function.look()["Outcome"], "applied");
    let image = function.emulator.image(IMAGE).unwrap();
    assert_eq!(image.tags["ec2:SharedTag/release"], "new");
    assert_eq!(
        image.deprecation_time,
        Some("2029-06-30T00:00:00Z".parse().unwrap())
    );
    assert_eq!(copiers(&function, SNAPSHOT), [BOB]);
}

// --- Other Regions -------------------------------------------------------------------------------

#[test]
fn an_image_copied_with_its_tags_is_shared_in_the_other_region_by_that_regions_function_and_guardrails()
 {
    const COPIED: &str = "ami-0aaaaaaaaaaaaaaa1";
    const COPIED_SNAPSHOT: &str = "snap-0aaaaaaaaaaaaaaa1";
    let region = |name: &str| {
        let config = Config {
            region: Some(name.to_owned()),
            ..Config::default()
        };
        World::with(config)
            .setting("AWS_REGION", name)
            .setting("STATUS_TAG", "status")
    };
    let image = share("444455556666 222233334444")
        .tag("release", "stable")
        .tag(RELEASE, "{tag:release} {SourceImageId}");
    let image = image
        .tag(DEPRECATE, "2028-06-30")
        .tag(COPY, ALICE)
        .copied_from("ami-00000000");
    let home = region("us-east-1")
        .permissive()
        .setting("SHARED_TAGS", "*")
        .setting("ALLOWED_COPIERS", "*");
    let mut home = home.image(image).start();
    assert_eq!(home.look()["Outcome"], "applied");
    home.requests();

    // `CopyImage` with its tags: a new image with a snapshot of its own, shared with nobody, the
    // directives as they were.
    let source = home.emulator.image(IMAGE).unwrap();
    let mut copy = Image::new(COPIED)
        .copied_from(IMAGE)
        .block_devices([BlockDevice::ebs("/dev/xvda", COPIED_SNAPSHOT)]);
    let own = source
        .tags
        .iter()
        .filter(|(key, _)| !key.starts_with("ec2:SharedTag/"));
    for (key, value) in own {
        copy = copy.tag(key, value);
    }
    let away = region("eu-west-1")
        .setting("ALLOWED_GRANTEES", ALICE)
        .setting("SHARED_TAGS", "release");
    let mut away = away.image(copy).start();
    let mut copied = event("call-copy-image");
    copied["region"] = json!("eu-west-1");
    copied["detail"]["awsRegion"] = json!("eu-west-1");
    copied["detail"]["responseElements"]["imageId"] = json!(COPIED);
    let entry = only_entry(&away.invoke(&copied));
    // Bob is not allowed there, so Alice is not let in either; nobody may copy from there; the rest
    // is done.
    let expected = [
        (
            "launchPermission".to_owned(),
            "grantee-not-allowed".to_owned(),
            BOB.to_owned(),
        ),
        (
            "createVolumePermission".to_owned(),
            "copier-not-allowed".to_owned(),
            ALICE.to_owned(),
        ),
    ];
    assert_eq!(
        (refusals(&entry).as_slice(), attributes(&entry)),
        (&expected[..], vec!["deprecationTime", "sharedTag:release"])
    );
    assert_eq!(
        away.emulator.image(COPIED).unwrap().tags["ec2:SharedTag/release"],
        format!("stable {IMAGE}")
    );
    assert_eq!(away.grantees(COPIED), [""; 0]);

    // With a directive of its own that the guardrails there allow, the copy is shared there, and
    // the original stays as it is.
    away.emulator.edit(|state| {
        let tags = &mut state.images.get_mut(COPIED).unwrap().tags;
        tags.insert("ami-warden:launch-permission".into(), ALICE.into());
    });
    away.invoke(&json!({ "Sweep": {} }));
    assert_eq!(away.grantees(COPIED), [ALICE]);
    assert_eq!(home.grantees(IMAGE), [BOB, ALICE]);
    assert_eq!(
        home.requests(),
        [""; 0],
        "nobody asks the Region that the image came from"
    );
}
