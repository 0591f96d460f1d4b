//! Reading, planning, writing: how many calls, which together, and in which order.

use std::time::Duration;

use ec2_emulator::{Act, Call, CallMatch, Config, Trigger};
use serde_json::{Value, json};

use crate::world::*;

const DESCRIPTION: [(&str, &str); 1] = [("Description.Value", "new")];
const IMDS: [(&str, &str); 1] = [("ImdsSupport.Value", "v2.0")];
const ADD: [(&str, &str); 1] = [("LaunchPermission.Add.1.UserId", ALICE)];

/// An image that wants a description, IMDSv2, and this launch permission.
fn wants_all_three(launch_permission: &str) -> Image {
    share(launch_permission)
        .tag("ami-warden:description", "new")
        .tag("ami-warden:imds-support", "v2.0")
}

fn refuse(function: &Function, param: &str) {
    function
        .emulator
        .fault(Fault::error("ModifyImageAttribute", "OperationNotPermitted").with_any(param));
}

/// Where every answer takes so long, calls that do not wait for each other arrive well within it.
const LATENCY: Duration = Duration::from_millis(300);

fn slow() -> World {
    World::with(Config {
        latency: LATENCY,
        ..Config::default()
    })
}

/// The actions of the calls in round trips: a call that arrives while another one is under way
/// belongs to the same one.
fn round_trips(calls: &[Call]) -> Vec<Vec<&str>> {
    let mut trips: Vec<Vec<&str>> = Vec::new();
    for call in calls {
        match trips.last_mut() {
            Some(trip) if call.in_flight > 1 => trip.push(&call.action),
            _ => trips.push(vec![&call.action]),
        }
    }
    trips.iter_mut().for_each(|trip| trip.sort_unstable());
    trips
}

#[test]
fn an_image_that_asks_to_be_public_is_read_in_two_round_trips() {
    let mut function = slow().image(share("all")).start();
    assert_eq!(codes(&function.look()), ["public-not-allowed"]);
    let calls = function.emulator.take_calls();
    assert_eq!(
        round_trips(&calls),
        [
            vec!["DescribeImages"],
            vec![
                "DescribeImageAttribute",
                "DescribeSnapshots",
                "GetImageBlockPublicAccessState"
            ]
        ]
    );
    // All three were under way at once.
    assert_eq!(calls.iter().map(|call| call.in_flight).max(), Some(3));
    let (first, last) = (calls[1].at_ms, calls[3].at_ms);
    assert!(u128::from(last - first) < LATENCY.as_millis(), "{calls:#?}");
}

#[test]
fn a_settled_image_costs_two_reads_and_one_without_directives_one() {
    let settled = wants_all_three("444455556666 -all")
        .description("new")
        .imds_v2()
        .granted(ALICE)
        .granted(BOB);
    let mut function = slow().permissive().image(settled).start();
    assert_eq!(function.look()["Outcome"], "unchanged");
    assert_eq!(
        round_trips(&function.emulator.take_calls()),
        [["DescribeImages"], ["DescribeImageAttribute"]]
    );
    function.emulator.add(share("all").granted("all"));
    assert_eq!(function.look()["Outcome"], "unchanged");
    assert_eq!(
        round_trips(&function.emulator.take_calls()),
        [["DescribeImages"], ["DescribeImageAttribute"]]
    );
    function.emulator.add(Image::new(IMAGE));
    assert_eq!(function.look()["Outcome"], "skipped");
    assert_eq!(
        round_trips(&function.emulator.take_calls()),
        [["DescribeImages"]]
    );
}

#[test]
fn many_images_are_read_with_one_call_and_worked_on_at_the_same_time() {
    let ids: Vec<_> = (0..8)
        .map(|number| format!("ami-0000000{number}"))
        .collect();
    let world = ids.iter().fold(slow(), |world, id| {
        world.image(Image::new(id).tag("ami-warden:launch-permission", "-all"))
    });
    let mut function = world.start();
    let answer = function.invoke(&json!({ "ImageIds": ids }));
    assert_eq!(answer["Summary"], json!({ "unchanged": 8 }));
    let trips = function.emulator.take_calls();
    assert_eq!(
        round_trips(&trips),
        [vec!["DescribeImages"; 1], vec!["DescribeImageAttribute"; 8]]
    );
}

#[test]
fn a_changed_image_costs_one_write_per_changed_attribute_and_a_read_back() {
    let mut function = World::new()
        .permissive()
        .image(wants_all_three(ALICE))
        .start();
    let entry = only_entry(&function.invoke(&event("ami-available")));
    let changed = attributes(&entry);
    assert_eq!(changed, ["description", "imdsSupport", "launchPermission"]);
    let writes = [
        modify(IMAGE, DESCRIPTION),
        modify(IMAGE, IMDS),
        modify(IMAGE, ADD),
    ];
    assert_writes(&function, &writes, Look::WithPermissions);
}

/// The look after the last write.
enum Look {
    Image,
    WithPermissions,
    /// Nothing was written.
    None,
}

/// Asserts that the image and its permissions were read, then these writes were made, and then the
/// image was looked at again.
#[track_caller]
fn assert_writes(function: &Function, writes: &[String], look: Look) {
    let look = match look {
        Look::Image => vec![describe(IMAGE)],
        Look::WithPermissions => vec![describe(IMAGE), describe_permissions(IMAGE)],
        Look::None => vec![],
    };
    let mut steps = vec![vec![describe(IMAGE)], vec![describe_permissions(IMAGE)]];
    steps.extend(writes.iter().map(|write| vec![write.clone()]));
    steps.push(look);
    assert_steps(function.requests(), steps);
}

fn attributes(entry: &Value) -> Vec<String> {
    let changes = entry["Changes"].as_array().unwrap();
    changes
        .iter()
        .map(|change| change["Attribute"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn writes_go_out_one_after_the_other() {
    let mut function = slow().permissive().image(wants_all_three(ALICE)).start();
    function.look();
    let calls = function.emulator.take_calls();
    let alone = [
        "DescribeImages",
        "DescribeImageAttribute",
        "ModifyImageAttribute",
        "ModifyImageAttribute",
        "ModifyImageAttribute",
    ];
    let mut trips: Vec<Vec<&str>> = alone.map(|action| vec![action]).into();
    // The look after the last write costs no round trip more than the read-back.
    trips.push(vec!["DescribeImageAttribute", "DescribeImages"]);
    assert_eq!(round_trips(&calls), trips);
}

#[test]
fn a_change_that_only_removes_goes_first() {
    let mut function = World::new()
        .image(
            wants_all_three("-444455556666 -all")
                .granted(ALICE)
                .granted("all"),
        )
        .start();
    let entry = function.look();
    assert_eq!(
        attributes(&entry),
        ["launchPermission", "description", "imdsSupport"]
    );
    let removal = [
        ("LaunchPermission.Remove.1.UserId", ALICE),
        ("LaunchPermission.Remove.2.Group", "all"),
    ];
    let writes = [
        modify(IMAGE, removal),
        modify(IMAGE, DESCRIPTION),
        modify(IMAGE, IMDS),
    ];
    assert_writes(&function, &writes, Look::WithPermissions);
}

#[test]
fn add_and_remove_go_in_one_call_behind_the_other_attributes() {
    let mut function = World::new()
        .permissive()
        .image(wants_all_three("444455556666 -222233334444").granted(BOB))
        .start();
    function.look();
    let both = [
        ("LaunchPermission.Add.1.UserId", ALICE),
        ("LaunchPermission.Remove.1.UserId", BOB),
    ];
    let writes = [
        modify(IMAGE, DESCRIPTION),
        modify(IMAGE, IMDS),
        modify(IMAGE, both),
    ];
    assert_eq!(function.requests()[2..5], writes);
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

#[test]
fn nobody_is_let_in_when_an_earlier_write_of_that_image_failed() {
    for param in ["Description.Value", "ImdsSupport.Value"] {
        for (code, summary) in [
            ("OperationNotPermitted", "applied"),
            ("UnauthorizedOperation", "failed"),
        ] {
            let mut function = World::new()
                .permissive()
                .image(wants_all_three(ALICE))
                .start();
            function
                .emulator
                .fault(Fault::error("ModifyImageAttribute", code).with_any(param));
            let answer = function
                .try_invoke(&event("ami-available"))
                .unwrap_or_else(|failed| failed.answer());
            assert_eq!(answer["Summary"], json!({ summary: 1 }), "{param} {code}");
            // The other write is made all the same; the grant is not.
            assert_writes(
                &function,
                &[modify(IMAGE, DESCRIPTION), modify(IMAGE, IMDS)],
                Look::Image,
            );
            assert_eq!(function.grantees(IMAGE), [] as [String; 0]);
            let entry = only_entry(&answer);
            assert_eq!(attributes(&entry).len(), 1);
            assert!(
                entry["Notes"][0]
                    .as_str()
                    .unwrap()
                    .contains("Nobody was let in"),
                "{entry:#}"
            );
        }
    }
}

#[test]
fn a_removal_beside_a_grant_is_made_even_when_an_earlier_write_failed() {
    let image = wants_all_three("444455556666 -222233334444").granted(BOB);
    let mut function = World::new().permissive().image(image).start();
    refuse(&function, "Description.Value");
    function.look();
    let removal = modify(IMAGE, [("LaunchPermission.Remove.1.UserId", BOB)]);
    assert_writes(
        &function,
        &[modify(IMAGE, DESCRIPTION), modify(IMAGE, IMDS), removal],
        Look::WithPermissions,
    );
    assert_eq!(function.grantees(IMAGE), [] as [String; 0]);
    // Half of an exact list would lock out those it means to let in, so all of it waits.
    function
        .emulator
        .add(wants_all_three("= 444455556666").granted(BOB));
    refuse(&function, "Description.Value");
    function.requests();
    function.look();
    assert_writes(
        &function,
        &[modify(IMAGE, DESCRIPTION), modify(IMAGE, IMDS)],
        Look::Image,
    );
    assert_eq!(function.grantees(IMAGE), [BOB]);
}

#[test]
fn nobody_is_let_in_by_a_later_round_when_a_write_of_an_earlier_one_was_refused() {
    let mut function = World::new()
        .permissive()
        .image(wants_all_three(ALICE))
        .start();
    refuse(&function, "Description.Value");
    // While the image is written its tags change, so that it is planned again.
    let imds = CallMatch::new("ModifyImageAttribute").with_any("ImdsSupport.Value");
    let tags = [(
        "ami-warden:launch-permission".to_owned(),
        format!("{ALICE} {BOB}"),
    )]
    .into();
    function.emulator.trigger(Trigger::after(
        imds,
        [Act::AddTags {
            id: IMAGE.into(),
            tags,
        }],
    ));
    let entry = function.look();
    assert_eq!(
        (attributes(&entry), codes(&entry)),
        (
            vec!["imdsSupport".to_owned()],
            vec!["ec2-refused".to_owned()]
        )
    );
    assert_eq!(function.grantees(IMAGE), [] as [String; 0]);
    // Both rounds read; only the first writes, and what EC2 refused is not sent again.
    assert_eq!(function.emulator.writes().len(), 2);
    assert_eq!(function.counts()["DescribeImageAttribute"], 2);
}

#[test]
fn a_removal_still_happens_when_ec2_refuses_the_additions() {
    let mut function = World::new()
        .permissive()
        .image(share("444455556666 -222233334444").granted(BOB))
        .start();
    function.emulator.fault(
        Fault::error("ModifyImageAttribute", "ResourceLimitExceeded")
            .with_any("LaunchPermission.Add.1.UserId"),
    );
    let entry = function.look();
    assert_eq!(
        (codes(&entry), &entry["Outcome"]),
        (vec!["ec2-refused".to_owned()], &json!("applied"))
    );
    assert_eq!(entry["Refusals"][0]["Ec2Code"], "ResourceLimitExceeded");
    assert_eq!(
        entry["Changes"],
        json!([{ "Attribute": "launchPermission", "Add": [], "Remove": [BOB], "After": [], "Confirmed": true }])
    );
    let both = [
        ("LaunchPermission.Add.1.UserId", ALICE),
        ("LaunchPermission.Remove.1.UserId", BOB),
    ];
    let removal = modify(IMAGE, [("LaunchPermission.Remove.1.UserId", BOB)]);
    assert_writes(
        &function,
        &[modify(IMAGE, both), removal],
        Look::WithPermissions,
    );
    // An exact list is not taken apart.
    function.emulator.add(share("= 444455556666").granted(BOB));
    function.emulator.fault(Fault::error(
        "ModifyImageAttribute",
        "ResourceLimitExceeded",
    ));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "refused", "Changes": [] }),
    );
    assert_writes(&function, &[modify(IMAGE, both)], Look::None);
    assert_eq!(function.grantees(IMAGE), [BOB]);
}

#[test]
fn there_is_no_call_for_an_empty_difference() {
    for image in [
        share("444455556666").granted(ALICE),
        share("-444455556666 -all").granted(BOB),
        share("= 444455556666").granted(ALICE),
        share("="),
    ] {
        let mut function = World::new().permissive().image(image).start();
        assert_holds(
            &function.look(),
            &json!({ "Outcome": "unchanged", "Changes": [], "Refusals": [] }),
        );
        assert_eq!(
            function.requests(),
            [describe(IMAGE), describe_permissions(IMAGE)]
        );
    }
}

#[test]
fn permissions_are_read_back_until_they_are_as_planned() {
    let mut function = World::new()
        .permissive()
        .image(share("444455556666"))
        .start();
    // The second and third read of the permissions still show those from before.
    function.emulator.fault(
        Fault::new("DescribeImageAttribute", FaultKind::Stale)
            .skip(1)
            .times(2),
    );
    let entry = function.look();
    assert_holds(
        &entry["Changes"][0],
        &json!({ "After": [ALICE], "Confirmed": true }),
    );
    assert_eq!(entry.get("Notes"), None);
    assert_eq!(function.counts()["DescribeImageAttribute"], 4);
}

#[test]
fn permissions_that_still_differ_at_the_third_read_are_not_confirmed_and_the_outcome_stays_applied()
{
    let mut function = World::new()
        .permissive()
        .image(share("444455556666").granted(BOB))
        .start();
    function
        .emulator
        .fault(Fault::new("DescribeImageAttribute", FaultKind::Stale).forever());
    let entry = only_entry(&function.invoke(&event("ami-available")));
    assert_eq!(entry["Outcome"], "applied");
    // What was really read, which is not what was planned.
    assert_holds(
        &entry["Changes"][0],
        &json!({ "Add": [ALICE], "After": [BOB], "Confirmed": false }),
    );
    assert!(
        entry["Notes"][0]
            .as_str()
            .unwrap()
            .contains("not confirmed"),
        "{entry:#}"
    );
    assert_eq!(
        function.counts(),
        [
            ("DescribeImages", 2),
            ("DescribeImageAttribute", 4),
            ("ModifyImageAttribute", 1)
        ]
        .map(|(action, count)| (action.to_owned(), count))
        .into()
    );
    assert_eq!(
        function.logged(|line| line["event"] == "image")["level"],
        "WARN"
    );
}

#[test]
fn a_read_back_that_ec2_denies_leaves_the_change_unconfirmed() {
    let mut function = World::new()
        .permissive()
        .image(share("444455556666"))
        .start();
    function.emulator.fault(
        Fault::error("DescribeImageAttribute", "UnauthorizedOperation")
            .skip(1)
            .forever(),
    );
    let entry = function.look();
    assert_eq!(entry["Outcome"], "applied");
    assert_holds(
        &entry["Changes"][0],
        &json!({ "After": [ALICE], "Confirmed": false }),
    );
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

#[test]
fn where_one_image_fails_the_others_are_finished_and_only_the_failed_ones_are_listed() {
    const FAILS: &str = "ami-00000002";
    let image = |id: &str| Image::new(id).tag("ami-warden:launch-permission", ALICE);
    let ids = ["ami-00000001", FAILS, "ami-00000003", "ami-00000004"];
    let world = ids[..3]
        .iter()
        .fold(World::new().permissive(), |world, id| {
            world.image(image(id))
        });
    let mut function = world.start();
    function.emulator.fault(
        Fault::error("ModifyImageAttribute", "UnauthorizedOperation")
            .with("ImageId", FAILS)
            .forever(),
    );
    let failed = function
        .try_invoke(&json!({ "ImageIds": ids }))
        .unwrap_err();
    assert_eq!(failed.error_type, "ImagesFailed");
    let answer: Value = serde_json::from_str(&failed.error_message).unwrap();
    assert_eq!(
        (&answer["Trigger"], &answer["DryRun"]),
        (&json!("request"), &json!(false))
    );
    assert_eq!(
        answer["Summary"],
        json!({ "applied": 2, "failed": 1, "skipped": 1 })
    );
    let entry = only_entry(&answer);
    assert_holds(
        &entry,
        &json!({ "ImageId": FAILS, "Outcome": "failed", "Changes": [] }),
    );
    assert_holds(
        &entry["Error"],
        &json!({ "Operation": "ModifyImageAttribute", "Code": "UnauthorizedOperation" }),
    );
    for (id, grantees) in [
        ("ami-00000001", vec![ALICE]),
        (FAILS, vec![]),
        ("ami-00000003", vec![ALICE]),
    ] {
        assert_eq!(function.grantees(id), grantees, "{id}");
    }
    // The event is kept, and once the fault is over it does the rest.
    function.emulator.clear_faults();
    let answer = function.invoke(&json!({ "ImageIds": ids }));
    assert_eq!(
        answer["Summary"],
        json!({ "applied": 1, "skipped": 1, "unchanged": 2 })
    );
}
