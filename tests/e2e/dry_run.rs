//! Dry runs: the plan is answered, every call is sent with EC2's own `DryRun`, and nothing changes.

use serde_json::json;

use crate::world::*;

fn image() -> Image {
    share("444455556666 -222233334444 all")
        .granted(BOB)
        .tag("ami-warden:description", "new")
        .tag("ami-warden:imds-support", "v2.0")
}

/// The steps of a dry run of that image.
fn steps() -> Vec<Vec<String>> {
    let [first, second] = reads_before_public(IMAGE, SNAPSHOT);
    let permissions = [
        ("DryRun", "true"),
        ("LaunchPermission.Add.1.UserId", ALICE),
        ("LaunchPermission.Add.2.Group", "all"),
        ("LaunchPermission.Remove.1.UserId", BOB),
    ];
    vec![
        first,
        second,
        vec![modify(
            IMAGE,
            [("DryRun", "true"), ("Description.Value", "new")],
        )],
        vec![modify(
            IMAGE,
            [("DryRun", "true"), ("ImdsSupport.Value", "v2.0")],
        )],
        vec![modify(IMAGE, permissions)],
    ]
}

#[test]
fn a_dry_run_plans_and_sends_each_call_with_ec2s_own_dry_run_and_changes_nothing() {
    let setting = || World::new().setting("DRY_RUN", "true");
    let by_event = json!({ "ImageId": IMAGE, "DryRun": true });
    let by_custom_event = {
        let mut event = event("custom-look");
        event["detail"]["DryRun"] = json!(true);
        event
    };
    for (world, event) in [
        (setting(), event("ami-available")),
        (setting(), event("look")),
        (World::new(), event("look-dry-run")),
        (World::new(), by_event),
        (World::new(), by_custom_event),
        // Either is enough: the event cannot lift what the setting says.
        (setting(), json!({ "ImageId": IMAGE, "DryRun": false })),
        (
            World::new().setting("DRY_RUN", "false"),
            event("look-dry-run"),
        ),
    ] {
        let mut function = world.permissive().image(image()).start();
        let before = function.emulator.image(IMAGE);
        let answer = function.invoke(&event);
        assert_eq!(
            (&answer["DryRun"], &answer["Summary"]),
            (&json!(true), &json!({ "planned": 1 })),
            "{event}"
        );
        let entry = only_entry(&answer);
        assert_eq!(entry["Outcome"], "planned");
        assert_eq!(
            entry["Changes"],
            json!([
                { "Attribute": "description", "From": null, "To": "new", "Permitted": true },
                { "Attribute": "imdsSupport", "From": null, "To": "v2.0", "Permitted": true },
                {
                    "Attribute": "launchPermission",
                    "Add": [ALICE, "all"],
                    "Remove": [BOB],
                    // What is planned: nothing is read back.
                    "After": [ALICE, "all"],
                    "Permitted": true
                }
            ])
        );
        assert_steps(function.requests(), steps());
        assert_eq!(function.emulator.image(IMAGE), before);
    }
}

#[test]
fn without_a_dry_run_the_same_image_is_changed() {
    for event in [event("look"), json!({ "ImageId": IMAGE, "DryRun": false })] {
        let mut function = World::new().permissive().image(image()).start();
        let answer = function.invoke(&event);
        assert_eq!(
            (&answer["DryRun"], &answer["Summary"]),
            (&json!(false), &json!({ "applied": 1 }))
        );
        assert!(
            function
                .requests()
                .iter()
                .all(|request| !request.contains("DryRun"))
        );
    }
}

#[test]
fn guardrails_hold_in_a_dry_run_and_what_is_settled_is_unchanged() {
    let mut function = World::new()
        .setting("DRY_RUN", "true")
        .image(share("all").encrypted())
        .start();
    let entry = function.look();
    assert_eq!(
        (codes(&entry).len(), &entry["Outcome"]),
        (2, &json!("refused"))
    );
    function.emulator.add(share("-all"));
    assert_eq!(function.look()["Outcome"], "unchanged");
    function
        .emulator
        .add(share("-all").granted("all").pending());
    assert_eq!(function.look()["Outcome"], "deferred");
    assert_eq!(function.counts().get("ModifyImageAttribute"), None);
}

#[test]
fn a_missing_permission_is_reported_for_each_attribute_and_fails_the_image() {
    let image = image().tag("ami-warden:launch-permission", "444455556666");
    let mut function = World::new()
        .permissive()
        .setting("DRY_RUN", "true")
        .image(image)
        .start();
    let denied =
        |param: &str| Fault::error("ModifyImageAttribute", "UnauthorizedOperation").with_any(param);
    function.emulator.fault(denied("Description.Value"));
    let answer = function.try_invoke(&event("look")).unwrap_err().answer();
    assert_eq!(
        (&answer["DryRun"], &answer["Summary"]),
        (&json!(true), &json!({ "failed": 1 }))
    );
    let entry = only_entry(&answer);
    assert_holds(
        &entry["Error"],
        &json!({ "Operation": "ModifyImageAttribute", "Code": "UnauthorizedOperation" }),
    );
    let permitted = |entry: &serde_json::Value| {
        let changes = entry["Changes"].as_array().unwrap().iter();
        changes
            .map(|change| (change["Attribute"].clone(), change["Permitted"].clone()))
            .collect::<Vec<_>>()
    };
    // All are asked about, also behind the one that is not permitted.
    let expected = |permissions: [bool; 3]| {
        let attributes =
            ["description", "imdsSupport", "launchPermission"].map(|attribute| json!(attribute));
        attributes
            .into_iter()
            .zip(permissions.map(|permitted| json!(permitted)))
            .collect::<Vec<_>>()
    };
    assert_eq!(permitted(&entry), expected([false, true, true]));
    let counts = function.counts();
    assert_eq!(counts["ModifyImageAttribute"], 3, "{counts:?}");

    function.emulator.fault(denied("ImdsSupport.Value"));
    function
        .emulator
        .fault(denied("LaunchPermission.Add.1.UserId"));
    let entry = only_entry(
        &function
            .try_invoke(&event("ami-available"))
            .unwrap_err()
            .answer(),
    );
    assert_eq!(permitted(&entry), expected([true, false, false]));
    assert_eq!(entry["Outcome"], "failed");
    assert_eq!(function.grantees(IMAGE), [BOB]);
}

#[test]
fn an_ignored_event_says_that_this_is_a_dry_run_too() {
    let mut function = World::new().setting("DRY_RUN", "true").start();
    assert_holds(
        &function.invoke(&event("ami-failed")),
        &json!({ "Trigger": "ignored", "DryRun": true }),
    );
}

#[test]
fn a_dry_run_is_true_or_false() {
    let mut function = World::new().start();
    let failed = function
        .try_invoke(&json!({ "ImageId": IMAGE, "DryRun": "yes" }))
        .unwrap_err();
    assert_eq!(failed.error_type, "InvalidRequest");
    assert!(
        failed
            .error_message
            .starts_with("DryRun: expected true or false"),
        "{}",
        failed.error_message
    );
}

#[test]
fn not_yet_is_not_no_in_a_dry_run_either() {
    for code in [
        "InvalidAMIID.NotFound",
        "InvalidAMIID.Unavailable",
        "IncorrectState",
    ] {
        let image = share("444455556666");
        let mut function = World::new().permissive().image(image).start();
        function
            .emulator
            .fault(Fault::error("ModifyImageAttribute", code));
        let look = json!({ "ImageId": IMAGE, "DryRun": true });
        let entry = only_entry(&function.invoke(&look));
        assert_eq!(entry["Outcome"], "planned", "{code}: {entry:#}");
        assert_eq!(entry["Changes"].as_array().unwrap().len(), 1);
    }
}
