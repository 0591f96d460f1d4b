//! The directive `launch-permission`.

use serde_json::{Value, json};

use crate::world::*;

const TAG: &str = "ami-warden:launch-permission";

#[test]
fn an_available_image_is_shared_as_its_tag_says() {
    let mut function = World::new()
        .image(share("444455556666"))
        .setting("ALLOWED_GRANTEES", "444455556666")
        .start();
    let answer = function.invoke(&event("ami-available"));
    assert_eq!(
        answer,
        json!({
            "Trigger": "ec2-ami-state-change",
            "DryRun": false,
            "Images": [{
                "ImageId": IMAGE,
                "Outcome": "applied",
                "Changes": [{
                    "Attribute": "launchPermission",
                    "Add": ["444455556666"],
                    "Remove": [],
                    "After": ["444455556666"],
                    "Confirmed": true
                }],
                "Refusals": []
            }],
            "Summary": { "applied": 1 }
        })
    );
    let write =
        format!("ModifyImageAttribute ImageId={IMAGE} LaunchPermission.Add.1.UserId=444455556666");
    let steps = [
        vec![describe(IMAGE)],
        vec![describe_permissions(IMAGE)],
        vec![write],
        read_back(IMAGE),
    ];
    assert_steps(function.requests(), steps);
    assert_eq!(function.grantees(IMAGE), ["444455556666"]);
}

/// A value of the tag, who has access, what is sent, and who has access then.
struct Case {
    value: &'static str,
    before: &'static [&'static str],
    sent: &'static [(&'static str, &'static str)],
    after: &'static [&'static str],
}

#[track_caller]
fn check(
    function: &mut Function,
    Case {
        value,
        before,
        sent,
        after,
    }: &Case,
) {
    function.emulator.add(
        before
            .iter()
            .fold(share(value), |image, grantee| image.granted(grantee)),
    );
    let entry = function.look();
    let params = |kind: &str| {
        let of_kind = sent.iter().filter(|(name, _)| name.starts_with(kind));
        of_kind
            .map(|(_, grantee)| Value::from(*grantee))
            .collect::<Vec<_>>()
    };
    assert_holds(
        &entry["Changes"][0],
        &json!({
            "Attribute": "launchPermission",
            "Add": params("Add."),
            "Remove": params("Remove."),
            "After": after,
            "Confirmed": true
        }),
    );
    assert_eq!(
        (entry["Outcome"].as_str(), codes(&entry)),
        (Some("applied"), vec![]),
        "{value}"
    );
    let sent = sent
        .iter()
        .map(|(name, value)| format!(" LaunchPermission.{name}={value}"))
        .collect::<String>();
    let requests = function.requests();
    let writes: Vec<_> = requests
        .iter()
        .filter(|request| request.starts_with("Modify"))
        .collect();
    assert_eq!(
        writes,
        [&format!("ModifyImageAttribute ImageId={IMAGE}{sent}")],
        "{value}"
    );
    assert_eq!(function.grantees(IMAGE), *after, "{value}");
}

#[test]
fn whoever_is_named_is_added_and_whoever_else_has_access_keeps_it() {
    let mut function = World::new().permissive().start();
    for case in [
        Case {
            value: "444455556666 222233334444",
            before: &["333344445555"],
            sent: &[("Add.1.UserId", BOB), ("Add.2.UserId", ALICE)],
            after: &[BOB, "333344445555", ALICE],
        },
        Case {
            value: " ,444455556666,, ",
            before: &[],
            sent: &[("Add.1.UserId", ALICE)],
            after: &[ALICE],
        },
        Case {
            value: "444455556666,222233334444",
            before: &[ALICE],
            sent: &[("Add.1.UserId", BOB)],
            after: &[BOB, ALICE],
        },
        Case {
            value: "000000000001",
            before: &[],
            sent: &[("Add.1.UserId", "000000000001")],
            after: &["000000000001"],
        },
        Case {
            value: "all",
            before: &[ALICE],
            sent: &[("Add.1.Group", "all")],
            after: &[ALICE, "all"],
        },
        Case {
            value: "arn:aws:organizations::111122223333:organization/o-exampleorgid",
            before: &[],
            sent: &[("Add.1.OrganizationArn", ORGANIZATION)],
            after: &[ORGANIZATION],
        },
        Case {
            value: "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456",
            before: &[],
            sent: &[("Add.1.OrganizationalUnitArn", UNIT)],
            after: &[UNIT],
        },
        Case {
            value: "444455556666 444455556666",
            before: &[],
            sent: &[("Add.1.UserId", ALICE)],
            after: &[ALICE],
        },
    ] {
        check(&mut function, &case);
    }
}

#[test]
fn a_minus_removes_and_needs_no_permission_to_do_so() {
    let mut function = World::new().start();
    for case in [
        Case {
            value: "-444455556666 -all",
            before: &[BOB, ALICE, "all"],
            sent: &[("Remove.1.UserId", ALICE), ("Remove.2.Group", "all")],
            after: &[BOB],
        },
        Case {
            value: "-all",
            before: &[BOB, ALICE, "all"],
            sent: &[("Remove.1.Group", "all")],
            after: &[BOB, ALICE],
        },
        Case {
            value: "-arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456",
            before: &[ORGANIZATION, UNIT],
            sent: &[("Remove.1.OrganizationalUnitArn", UNIT)],
            after: &[ORGANIZATION],
        },
        Case {
            value: "-arn:aws:organizations::111122223333:organization/o-exampleorgid",
            before: &[ORGANIZATION, UNIT],
            sent: &[("Remove.1.OrganizationArn", ORGANIZATION)],
            after: &[UNIT],
        },
    ] {
        check(&mut function, &case);
    }
}

#[test]
fn an_equals_sign_means_exactly_these() {
    let mut function = World::new().permissive().start();
    for case in [
        Case {
            value: "= 444455556666",
            before: &[BOB, "all"],
            sent: &[
                ("Add.1.UserId", ALICE),
                ("Remove.1.UserId", BOB),
                ("Remove.2.Group", "all"),
            ],
            after: &[ALICE],
        },
        Case {
            value: "=444455556666",
            before: &[BOB, ALICE],
            sent: &[("Remove.1.UserId", BOB)],
            after: &[ALICE],
        },
        Case {
            value: "=",
            before: &[BOB, ORGANIZATION, "all"],
            sent: &[
                ("Remove.1.UserId", BOB),
                ("Remove.2.Group", "all"),
                ("Remove.3.OrganizationArn", ORGANIZATION),
            ],
            after: &[],
        },
    ] {
        check(&mut function, &case);
    }
}

#[test]
fn short_forms_are_completed_from_the_setting() {
    let mut function = World::new()
        .permissive()
        .setting("ORGANIZATION_ARN", ORGANIZATION)
        .start();
    check(
        &mut function,
        &Case {
            value: "o-exampleorgid -ou-ab12-cdef3456",
            before: &[UNIT],
            sent: &[
                ("Add.1.OrganizationArn", ORGANIZATION),
                ("Remove.1.OrganizationalUnitArn", UNIT),
            ],
            after: &[ORGANIZATION],
        },
    );
}

#[test]
fn suffixed_tags_are_joined_in_the_order_of_their_keys() {
    let image = share("= 444455556666")
        .tag(&format!("{TAG}:a"), BOB)
        .tag(&format!("{TAG}:b"), "")
        .granted("333344445555");
    let mut function = World::new().permissive().image(image.clone()).start();
    assert_eq!(function.look()["Changes"][0]["After"], json!([BOB, ALICE]));
    // The "=" stands at the very beginning of the joined value, whichever tag that is.
    let image = Image::new(IMAGE)
        .tag(&format!("{TAG}:1"), " = 444455556666")
        .tag(&format!("{TAG}:2"), BOB)
        .granted("all");
    function.emulator.add(image);
    assert_eq!(function.look()["Changes"][0]["After"], json!([BOB, ALICE]));
    // Behind another part it is not at the beginning, and that part is to blame in which it stands.
    function.requests();
    function.emulator.add(
        Image::new(IMAGE)
            .tag(&format!("{TAG}:1"), BOB)
            .tag(&format!("{TAG}:2"), "= 444455556666"),
    );
    let entry = function.look();
    assert_eq!(
        refusals(&entry),
        [refusal(
            "launchPermission",
            "invalid-directive",
            &format!("{TAG}:2")
        )]
    );
    assert_eq!(function.requests(), [describe(IMAGE)]);
}

#[test]
fn under_an_equals_sign_deleting_one_part_removes_what_it_named() {
    let mut function = World::new()
        .permissive()
        .image(
            share("=")
                .tag(&format!("{TAG}:a"), ALICE)
                .tag(&format!("{TAG}:b"), BOB),
        )
        .start();
    assert_eq!(function.look()["Changes"][0]["After"], json!([BOB, ALICE]));
    function.emulator.edit(|state| {
        state
            .images
            .get_mut(IMAGE)
            .unwrap()
            .tags
            .remove(&format!("{TAG}:a"))
    });
    let change = &function.look()["Changes"][0];
    assert_holds(
        change,
        &json!({ "Add": [], "Remove": [ALICE], "After": [BOB] }),
    );
}

#[test]
fn deleting_the_last_tag_stops_management_and_revokes_nothing() {
    let mut function = World::new()
        .permissive()
        .image(share("= 444455556666"))
        .start();
    assert_eq!(function.look()["Outcome"], "applied");
    function
        .emulator
        .edit(|state| state.images.get_mut(IMAGE).unwrap().tags.clear());
    function.requests();
    let entry = only_entry(&function.invoke(&event("tag-deleted")));
    assert_holds(
        &entry,
        &json!({ "Outcome": "skipped", "Reason": "no-directives", "Changes": [] }),
    );
    assert_eq!(function.requests(), [describe(IMAGE)]);
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

#[test]
fn a_value_of_nothing_but_separators_is_no_opinion() {
    let mut function = World::new().permissive().start();
    for value in ["", " ", " , ,"] {
        function.emulator.add(share(value).granted(ALICE));
        assert_holds(
            &function.look(),
            &json!({ "Outcome": "skipped", "Reason": "no-directives" }),
        );
        assert_eq!(function.requests(), [describe(IMAGE)], "{value:?}");
    }
}

#[test]
fn the_owners_own_id_is_accepted_and_means_nothing() {
    let mut function = World::new().start();
    for value in ["111122223333", "-111122223333", "= 111122223333"] {
        function.emulator.add(share(value).granted(OWNER));
        assert_holds(
            &function.look(),
            &json!({ "Outcome": "unchanged", "Changes": [], "Refusals": [] }),
        );
        assert_eq!(
            function.requests(),
            [describe(IMAGE), describe_permissions(IMAGE)],
            "{value}"
        );
    }
}

#[test]
fn a_second_run_makes_no_write() {
    let image = share("444455556666 -222233334444 all").granted(BOB);
    let mut function = World::new().permissive().image(image).start();
    assert_eq!(
        function.invoke(&event("ami-available"))["Summary"],
        json!({ "applied": 1 })
    );
    function.requests();
    assert_eq!(
        function.invoke(&event("ami-available"))["Summary"],
        json!({ "unchanged": 1 })
    );
    assert_eq!(
        function.requests(),
        [describe(IMAGE), describe_permissions(IMAGE)]
    );
}

#[test]
fn the_tags_of_the_image_count_and_not_those_of_the_event() {
    // The event says 444455556666.
    let mut function = World::new().permissive().image(share(BOB)).start();
    let answer = function.invoke(&event("tag-changed"));
    assert_eq!(answer["Images"][0]["Changes"][0]["Add"], json!([BOB]));
    assert_eq!(function.grantees(IMAGE), [BOB]);
}

fn refusal(attribute: &str, code: &str, resource: &str) -> (String, String, String) {
    (attribute.to_owned(), code.to_owned(), resource.to_owned())
}

/// The value, and what the message must name.
#[track_caller]
fn check_refused(function: &mut Function, value: &str, named: &str) {
    function
        .emulator
        .add(share(value).granted("333344445555").granted(BOB));
    let entry = function.look();
    assert_eq!(
        refusals(&entry),
        [refusal("launchPermission", "invalid-directive", TAG)],
        "{value}"
    );
    let message = refusal_message(&entry, "invalid-directive");
    assert!(
        message.contains(TAG) && message.contains(named),
        "{value}: {message}"
    );
    assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
    // What cannot be read needs no further look, and refuses the whole directive: also what could
    // be read of it.
    assert_eq!(function.requests(), [describe(IMAGE)], "{value}");
}

#[test]
fn an_item_that_does_not_parse_refuses_the_whole_directive_and_is_named() {
    let mut function = World::new().permissive().start();
    for (value, named) in [
        ("444455556666 bob", "\"bob\""),
        ("-222233334444 44445555666", "\"44445555666\""),
        ("4444555566667", "\"4444555566667\""),
        ("4444-5555-6666", "\"4444-5555-6666\""),
        ("All", "\"All\""),
        ("*", "\"*\""),
        ("444455556666;222233334444", "\"444455556666;222233334444\""),
        ("444455556666 - 222233334444", "\"-\""),
        ("444455556666 =", "\"=\""),
        ("222233334444 =444455556666", "\"=444455556666\""),
        ("= =", "\"=\""),
        ("= 444455556666 -222233334444", "\"-222233334444\""),
        ("--222233334444", "-222233334444\""),
        ("o-short", "\"o-short\""),
        ("ou-ab12", "\"ou-ab12\""),
        ("@", "\"@\""),
        (
            "arn:aws:organizations::111122223333:root/o-exampleorgid/r-ab12",
            "root/o-exampleorgid",
        ),
        (
            "arn:aws:organizations::111122223333:ou/o-exampleorgid",
            "ou/o-exampleorgid",
        ),
        (
            "arn:aws:iam::444455556666:root",
            "arn:aws:iam::444455556666:root",
        ),
    ] {
        check_refused(&mut function, value, named);
    }
}

#[test]
fn a_grantee_both_added_and_removed_refuses_the_directive_also_when_one_is_a_short_form() {
    let mut function = World::new()
        .permissive()
        .setting("ORGANIZATION_ARN", ORGANIZATION)
        .start();
    check_refused(
        &mut function,
        "444455556666 222233334444 -444455556666",
        ALICE,
    );
    check_refused(&mut function, "-all all", "all");
    check_refused(
        &mut function,
        &format!("o-exampleorgid -{ORGANIZATION}"),
        ORGANIZATION,
    );
}

#[test]
fn a_short_form_that_cannot_be_completed_refuses_the_directive() {
    let mut function = World::new().permissive().start();
    check_refused(
        &mut function,
        "444455556666 o-exampleorgid",
        "ORGANIZATION_ARN",
    );
    check_refused(
        &mut function,
        "444455556666 ou-ab12-cdef3456",
        "ORGANIZATION_ARN",
    );
    let mut function = World::new()
        .permissive()
        .setting("ORGANIZATION_ARN", ORGANIZATION)
        .start();
    check_refused(&mut function, "o-anotherorgid", "\"o-anotherorgid\"");
}

#[test]
fn a_group_without_a_policy_refuses_the_directive() {
    let mut function = World::new().permissive().start();
    check_refused(&mut function, "444455556666 @engineering", "@engineering");
}

#[test]
fn an_arn_of_another_partition_refuses_the_directive() {
    let mut function = World::new().permissive().start();
    let arn = ORGANIZATION.replace("arn:aws:", "arn:aws-cn:");
    check_refused(&mut function, &format!("444455556666 {arn}"), "aws-cn");
}
