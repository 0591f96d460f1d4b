//! Events: what each row of the table sets off, what is looked at, and what is left alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ec2_emulator::{ImageState, State};
use serde_json::{Value, json};

use crate::world::*;

/// The other image of the events.
const OTHER: &str = "ami-0fedcba9876543210";

fn describe_both() -> String {
    let filter =
        format!("Filter.1.Name=image-id Filter.1.Value.1={IMAGE} Filter.1.Value.2={OTHER}");
    format!("DescribeImages {filter} IncludeDisabled=true Owner.1=self")
}

/// The requests by which a sweep without rules finds its images.
fn list() -> Vec<String> {
    [
        "Filter.1.Name=is-public Filter.1.Value.1=true",
        "Filter.1.Name=tag-key Filter.1.Value.1=ami-warden:*",
    ]
    .map(|filter| {
        format!("DescribeImages {filter} IncludeDisabled=true MaxResults=500 Owner.1=self")
    })
    .into()
}

/// The image as the tag events say that it is, and shared accordingly.
fn settled() -> Image {
    share(ALICE).tag("Name", "golden").granted(ALICE)
}

fn from_bus(source: &str, detail_type: &str, detail: &Value) -> Value {
    let mut event = event("ami-available");
    event["source"] = source.into();
    event["detail-type"] = detail_type.into();
    event["detail"] = detail.clone();
    event
}

/// The event with another detail.
fn with_detail(name: &str, key: &str, value: Value) -> Value {
    let mut event = event(name);
    event["detail"][key] = value;
    event
}

#[test]
fn every_event_sets_off_what_the_table_says() {
    // The other image is not there. This one has no directives, so that one read is all that
    // happens, or it is settled and has the
    // tags that the event tells of, so that its permissions are read too.
    let mut function = World::new().start();
    let look = || vec![vec![describe(IMAGE)]];
    let look_at_settled = || vec![vec![describe(IMAGE)], vec![describe_permissions(IMAGE)]];
    let look_at_both = || vec![vec![describe_both()]];
    for (name, trigger, steps) in [
        ("ami-available", "ec2-ami-state-change", look()),
        ("call-create-image", "cloudtrail", look()),
        ("call-copy-image", "cloudtrail", look()),
        ("call-register-image", "cloudtrail", look()),
        ("call-create-tags", "cloudtrail", look_at_settled()),
        ("call-delete-tags", "cloudtrail", look()),
        (
            "call-create-tags-mixed-resources",
            "cloudtrail",
            [look_at_both(), vec![vec![describe_permissions(IMAGE)]]].concat(),
        ),
        ("tag-changed", "tag-change", look_at_settled()),
        ("tag-deleted", "tag-change", look()),
        ("scheduled-rule", "schedule", vec![list()]),
        ("scheduled-scheduler", "schedule", vec![list()]),
        ("custom-look", "request", look()),
        (
            "custom-continue",
            "request",
            vec![list(), vec![describe(OTHER)]],
        ),
        ("custom-sweep", "request", vec![list()]),
        ("look", "request", look()),
        ("look-at-several", "request", look_at_both()),
        ("sweep", "request", vec![list()]),
        ("sweep-after", "request", vec![list()]),
    ] {
        let tagged = [
            "call-create-tags",
            "call-create-tags-mixed-resources",
            "tag-changed",
        ]
        .contains(&name);
        function
            .emulator
            .add(if tagged { settled() } else { Image::new(IMAGE) });
        let answer = function.invoke(&event(name));
        assert_eq!(
            (&answer["Trigger"], &answer["DryRun"]),
            (&json!(trigger), &json!(false)),
            "{name}"
        );
        assert_eq!(answer.get("Reason"), None, "{name}");
        assert_steps(function.requests(), steps);
    }
    // Both images of one event are answered.
    let answer = function.invoke(&event("look-at-several"));
    let reasons: Vec<_> = answer["Images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["ImageId"], &entry["Reason"]))
        .collect();
    assert_eq!(
        reasons,
        [
            (&json!(IMAGE), &json!("no-directives")),
            (&json!(OTHER), &json!("not-found"))
        ]
    );
    assert_eq!(answer["Summary"], json!({ "skipped": 2 }));
}

#[test]
fn a_change_below_the_policy_path_sets_off_a_sweep_and_any_other_parameter_nothing() {
    let mut function = World::new().setting("POLICY_PATH", "/ami-warden/").start();
    for name in [
        "/ami-warden/groups/engineering",
        "/ami-warden/rules",
        "/ami-warden/x",
    ] {
        let answer = function.invoke(&with_detail("parameter-changed", "name", name.into()));
        assert_eq!(answer["Trigger"], "policy-change", "{name}");
        let read = "GetParametersByPath MaxResults=10 Path=/ami-warden Recursive=true".to_owned();
        assert_steps(function.requests(), [vec![read], list()]);
    }
    for name in [
        "/ami-warden",
        "/ami-wardens/rules",
        "/other/ami-warden/rules",
        "rules",
    ] {
        check_ignored(
            &mut function,
            &with_detail("parameter-changed", "name", name.into()),
        );
    }
    let mut function = World::new().start();
    check_ignored(&mut function, &event("parameter-changed"));
}

/// An ignored event says why and sends no request at all.
#[track_caller]
fn check_ignored(function: &mut Function, event: &Value) {
    let answer = function.invoke(event);
    let reason = answer["Reason"].as_str().unwrap_or_default();
    assert!(!reason.is_empty(), "{event:#}");
    assert_eq!(
        answer,
        json!({
            "Trigger": "ignored",
            "DryRun": false,
            "Reason": reason,
            "Images": [],
            "Summary": {}
        })
    );
    assert_eq!(function.requests(), [] as [String; 0], "{event:#}");
}

#[test]
fn everything_else_is_ignored() {
    let mut function = World::new()
        .permissive()
        .image(share("444455556666"))
        .start();
    for name in [
        "ami-failed",
        "ami-deregistered",
        "ami-disabled",
        "call-create-image-failed",
        "tag-of-instance-changed",
    ] {
        check_ignored(&mut function, &event(name));
    }
    let only_others = json!({
        "resourcesSet": {
            "items": [{ "resourceId": "i-0123456789abcdef0" }, { "resourceId": "vol-00000001" }]
        }
    });
    for event in [
        with_detail("call-create-tags", "requestParameters", only_others.clone()),
        with_detail("call-delete-tags", "requestParameters", only_others),
        with_detail(
            "call-create-tags",
            "requestParameters",
            json!({ "resourcesSet": { "items": [] } }),
        ),
        // Calls that failed, dry runs among them, whatever else they hold.
        with_detail(
            "call-create-tags",
            "errorCode",
            "Client.UnauthorizedOperation".into(),
        ),
        with_detail(
            "call-copy-image",
            "errorCode",
            "Client.DryRunOperation".into(),
        ),
        with_detail("call-create-image", "eventName", "RunInstances".into()),
        with_detail(
            "call-create-image",
            "eventName",
            "ModifyImageAttribute".into(),
        ),
        // AppStream has images too.
        with_detail(
            "call-create-image",
            "eventSource",
            "appstream.amazonaws.com".into(),
        ),
        with_detail("tag-changed", "service", "s3".into()),
        with_detail("tag-changed", "resource-type", "snapshot".into()),
        with_detail("ami-available", "State", "pending".into()),
        from_bus(
            "aws.ec2",
            "EC2 Instance State-change Notification",
            &json!({ "instance-id": "i-00000001", "state": "running" }),
        ),
        from_bus(
            "aws.s3",
            "Object Created",
            &json!({ "bucket": { "name": "b" } }),
        ),
        // What the right service says under this name is recognised, not what anybody says.
        from_bus(
            "my.app",
            "EC2 AMI State Change",
            &event("ami-available")["detail"],
        ),
        from_bus("my.app", "Scheduled Event", &json!({})),
    ] {
        check_ignored(&mut function, &event);
    }
    assert_eq!(function.grantees(IMAGE), [] as [String; 0]);
}

#[test]
fn details_are_read_tolerantly_and_the_envelope_may_lack_what_is_not_needed() {
    let mut function = World::new().image(settled()).start();
    for name in [
        "ami-available",
        "call-create-tags",
        "call-create-image",
        "tag-changed",
        "custom-look",
    ] {
        let mut event = event(name);
        let envelope = event.as_object_mut().unwrap();
        envelope.retain(|key, _| {
            ["detail-type", "source", "detail", "resources"].contains(&key.as_str())
        });
        if name != "tag-changed" {
            envelope.remove("resources");
        }
        if name != "custom-look" {
            event["detail"]["version"] = json!(4.0);
            event["detail"]["unheard-of"] = json!({ "a": [null, 1.5] });
        }
        assert_eq!(
            function.invoke(&event)["Images"][0]["ImageId"],
            IMAGE,
            "{name}"
        );
        assert_eq!(
            function.requests(),
            [describe(IMAGE), describe_permissions(IMAGE)],
            "{name}"
        );
    }
}

#[test]
fn an_image_named_twice_is_looked_at_once() {
    let mut function = World::new().image(Image::new(IMAGE)).start();
    let items: Vec<_> = [IMAGE, OTHER, IMAGE]
        .map(|id| json!({ "resourceId": id }))
        .into();
    let event = with_detail(
        "call-create-tags",
        "requestParameters",
        json!({ "resourcesSet": { "items": items } }),
    );
    assert_eq!(function.invoke(&event)["Summary"], json!({ "skipped": 2 }));
    assert_eq!(function.requests(), [describe_both()]);
}

#[test]
fn a_pending_image_is_deferred_after_the_call_that_creates_it() {
    let mut function = World::new()
        .permissive()
        .image(share("444455556666").pending())
        .start();
    for name in [
        "call-create-image",
        "call-copy-image",
        "call-register-image",
        "call-create-tags",
        "tag-changed",
        "look",
    ] {
        let answer = function.invoke(&event(name));
        assert_eq!(answer["Summary"], json!({ "deferred": 1 }), "{name}");
        assert_holds(
            &only_entry(&answer),
            &json!({ "Outcome": "deferred", "Changes": [], "Refusals": [] }),
        );
        assert_eq!(function.requests(), [describe(IMAGE)], "{name}");
    }
}

/// Runs with the state before every `DescribeImages`, and the number of that call.
fn at_every_look(
    function: &Function,
    mut hook: impl FnMut(usize, &mut State) + Send + 'static,
) -> Arc<AtomicUsize> {
    let looks = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&looks);
    function.emulator.on_call(move |call, state| {
        if call.action == "DescribeImages" {
            hook(counter.fetch_add(1, Ordering::SeqCst) + 1, state);
        }
    });
    looks
}

#[test]
fn an_image_that_is_not_visible_yet_is_waited_for_after_the_events_that_say_it_exists() {
    for name in [
        "ami-available",
        "call-create-image",
        "call-copy-image",
        "call-register-image",
    ] {
        let mut function = World::new().permissive().start();
        at_every_look(&function, |look, state| {
            if look == 3 {
                state.add(share("444455556666"));
            }
        });
        assert_eq!(
            function.invoke(&event(name))["Summary"],
            json!({ "applied": 1 }),
            "{name}"
        );
        let looks = [
            describe(IMAGE),
            describe(IMAGE),
            describe(IMAGE),
            describe_permissions(IMAGE),
        ];
        let write = modify(IMAGE, [("LaunchPermission.Add.1.UserId", ALICE)]);
        let steps = looks
            .into_iter()
            .chain([write])
            .map(|request| vec![request])
            .chain([read_back(IMAGE)]);
        assert_steps(function.requests(), steps);
    }
}

#[test]
fn an_image_still_read_as_pending_is_waited_for_after_available() {
    let mut function = World::new()
        .permissive()
        .image(share("444455556666").pending())
        .start();
    function
        .emulator
        .fault(Fault::new("DescribeImages", FaultKind::Stale).times(2));
    function
        .emulator
        .edit(|state| state.images.get_mut(IMAGE).unwrap().state = ImageState::Available);
    assert_eq!(
        function.invoke(&event("ami-available"))["Summary"],
        json!({ "applied": 1 })
    );
    // Two stale looks, the one that shows it, and the one after the write.
    assert_eq!(function.counts()["DescribeImages"], 4);
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

#[test]
fn an_image_that_does_not_show_in_time_has_failed_and_keeps_its_event() {
    let time = Duration::from_millis(1000);
    for (name, image, code) in [
        ("ami-available", None, "InvalidAMIID.NotFound"),
        ("call-register-image", None, "InvalidAMIID.NotFound"),
        (
            "ami-available",
            Some(share("444455556666").pending()),
            "InvalidAMIID.Unavailable",
        ),
    ] {
        let mut world = World::new().permissive();
        if let Some(image) = image {
            world = world.image(image);
        }
        let mut function = world.start();
        // Looks that take so long that the time is up in the middle of one.
        function
            .emulator
            .fault(Fault::new("DescribeImages", FaultKind::Latency { ms: 150 }).forever());
        let answer = function
            .invoke_for(time, &event(name).to_string())
            .unwrap_err()
            .answer();
        let entry = only_entry(&answer);
        assert_eq!(
            (&entry["Outcome"], answer["Summary"].clone()),
            (&json!("failed"), json!({ "failed": 1 })),
            "{name}"
        );
        assert_holds(
            &entry["Error"],
            &json!({ "Operation": "DescribeImages", "Code": code }),
        );
        let counts = function.counts();
        assert!(
            counts.len() == 1 && counts["DescribeImages"] > 1,
            "{name}: {counts:?}"
        );
    }
}

#[test]
fn what_ec2_denies_while_an_image_is_waited_for_is_the_error_of_the_image() {
    let mut function = World::new().permissive().start();
    function.emulator.fault(
        Fault::error("DescribeImages", "UnauthorizedOperation")
            .skip(1)
            .forever(),
    );
    let entry = only_entry(
        &function
            .try_invoke(&event("ami-available"))
            .unwrap_err()
            .answer(),
    );
    assert_holds(
        &entry["Error"],
        &json!({ "Operation": "DescribeImages", "Code": "UnauthorizedOperation" }),
    );
    assert_eq!(function.counts()["DescribeImages"], 2);
}

#[test]
fn an_image_that_is_not_there_is_skipped_at_once_after_any_other_event() {
    let mut function = World::new().start();
    for name in [
        "call-create-tags",
        "call-delete-tags",
        "tag-changed",
        "tag-deleted",
        "custom-look",
        "look",
    ] {
        let answer = function.invoke(&event(name));
        assert_holds(
            &only_entry(&answer),
            &json!({ "Outcome": "skipped", "Reason": "not-found" }),
        );
        assert_eq!(answer["Summary"], json!({ "skipped": 1 }));
        assert_eq!(function.requests(), [describe(IMAGE)], "{name}");
    }
    // So is one that once was.
    function
        .emulator
        .edit(|state| state.deregistered.insert(IMAGE.to_owned()));
    assert_eq!(function.look()["Reason"], "not-found");
}

#[test]
fn an_image_of_somebody_else_is_as_good_as_not_there() {
    let image = share("111122223333").owned_by(ALICE);
    let mut function = World::new()
        .permissive()
        .image(image.granted("all").granted(OWNER))
        .start();
    for name in ["call-create-tags", "tag-changed", "look"] {
        assert_holds(
            &only_entry(&function.invoke(&event(name))),
            &json!({ "Outcome": "skipped", "Reason": "not-found" }),
        );
        assert_eq!(function.requests(), [describe(IMAGE)], "{name}");
    }
}

#[test]
fn an_image_in_any_other_state_is_skipped_with_the_state_as_reason_even_if_it_is_held() {
    let mut function = World::new().permissive().start();
    for state in [
        ImageState::Disabled,
        ImageState::Invalid,
        ImageState::Deregistered,
        ImageState::Transient,
        ImageState::Failed,
        ImageState::Error,
    ] {
        for hold in ["", "x"] {
            function.emulator.add(
                share("444455556666")
                    .tag("ami-warden:hold", hold)
                    .state(state),
            );
            let entry = only_entry(&function.invoke(&event("ami-available")));
            assert_holds(
                &entry,
                &json!({ "Outcome": "skipped", "Reason": state.as_str(), "Changes": [] }),
            );
            assert_eq!(function.requests(), [describe(IMAGE)], "{state:?}");
        }
    }
    // Pending comes before hold as well.
    function
        .emulator
        .add(share("444455556666").tag("ami-warden:hold", "x").pending());
    assert_eq!(function.look()["Outcome"], "deferred");
}

#[test]
fn an_image_without_directives_costs_one_read() {
    let mut function = World::new()
        .permissive()
        .image(Image::new(IMAGE).tag("Name", "golden").granted("all"))
        .start();
    let answer = function.invoke(&event("ami-available"));
    assert_holds(
        &only_entry(&answer),
        &json!({ "Outcome": "skipped", "Reason": "no-directives", "Changes": [], "Refusals": [] }),
    );
    assert_eq!(function.requests(), [describe(IMAGE)]);
}

#[test]
fn a_look_in_a_custom_event_is_a_look_and_its_detail_type_does_not_matter() {
    let mut function = World::new()
        .permissive()
        .image(share("444455556666"))
        .start();
    for (detail_type, outcome) in [("Look", "applied"), ("whatever", "unchanged")] {
        let event = from_bus("ami-warden", detail_type, &json!({ "ImageIds": [IMAGE] }));
        let answer = function.invoke(&event);
        assert_eq!(
            (&answer["Trigger"], &answer["Images"][0]["Outcome"]),
            (&json!("request"), &json!(outcome))
        );
    }
}

#[test]
fn a_look_by_hand_says_what_is_wanted_by_whom_and_who_can_launch_the_image_now() {
    let image = share("444455556666")
        .tag("ami-warden:launch-permission:a", "-222233334444")
        .tag("ami-warden:description", "{Name}");
    let mut function = World::new()
        .permissive()
        .image(image.name("golden").granted(BOB).granted("all"))
        .start();
    let directives = json!([
        {
            "Attribute": "launchPermission",
            "Value": "444455556666 -222233334444",
            "Sources": ["ami-warden:launch-permission", "ami-warden:launch-permission:a"]
        },
        { "Attribute": "description", "Value": "{Name}", "Sources": ["ami-warden:description"] }
    ]);
    for outcome in ["applied", "unchanged"] {
        let answer = function.invoke(&event("look"));
        let expected = json!({
            "Outcome": outcome,
            "Directives": directives,
            "Public": true,
            "LaunchPermissions": [ALICE, "all"],
        });
        assert_holds(&only_entry(&answer), &expected);
    }
    // An event has no reader who wants to know.
    let entry = only_entry(&function.invoke(&event("ami-available")));
    assert_eq!(
        (entry.get("Directives"), entry.get("LaunchPermissions")),
        (None, None)
    );
}

#[test]
fn one_process_serves_many_events_and_duplicates_converge() {
    let mut function = World::new()
        .permissive()
        .image(share("444455556666"))
        .start();
    let names = [
        "call-create-tags",
        "tag-changed",
        "ami-available",
        "call-create-image",
        "ami-available",
    ];
    let outcomes: Vec<_> = names
        .iter()
        .map(|name| function.invoke(&event(name))["Images"][0]["Outcome"].clone())
        .collect();
    assert_eq!(
        outcomes,
        [
            "applied",
            "unchanged",
            "unchanged",
            "unchanged",
            "unchanged"
        ]
    );
    assert_eq!(function.emulator.writes().len(), 1);
}

#[test]
fn tags_that_an_event_tells_of_and_ec2_does_not_show_yet_are_waited_for() {
    for name in ["tag-changed", "call-create-tags"] {
        let mut function = World::new().permissive().image(Image::new(IMAGE)).start();
        function
            .emulator
            .fault(Fault::new("DescribeImages", FaultKind::Stale).times(2));
        function.emulator.add(share(ALICE).tag("Name", "golden"));
        let answer = function.invoke(&event(name));
        assert_eq!(answer["Summary"], json!({ "applied": 1 }), "{name}");
        // Two stale looks, the one that shows them, and the one after the write.
        assert_eq!(function.counts()["DescribeImages"], 4, "{name}");
        assert_eq!(function.grantees(IMAGE), [ALICE], "{name}");
    }
    for name in ["tag-deleted", "call-delete-tags"] {
        let image = share("= 444455556666").tag("Name", "golden").granted(BOB);
        let mut function = World::new().permissive().image(image).start();
        function
            .emulator
            .fault(Fault::new("DescribeImages", FaultKind::Stale).times(2));
        function
            .emulator
            .add(Image::new(IMAGE).tag("Name", "golden").granted(BOB));
        let answer = function.invoke(&event(name));
        // Deleting the last tag revokes nothing, and the old wish is not carried out.
        assert_eq!(only_entry(&answer)["Reason"], "no-directives", "{name}");
        assert_eq!(function.counts()["DescribeImages"], 3, "{name}");
        assert_eq!(function.grantees(IMAGE), [BOB], "{name}");
    }
}

#[test]
fn without_a_policy_only_directive_tags_are_waited_for() {
    let mut function = World::new().permissive().image(settled()).start();
    let mut changed = event("tag-changed");
    changed["detail"]["tags"]["Name"] = json!("silver");
    assert_eq!(
        function.invoke(&changed)["Summary"],
        json!({ "unchanged": 1 })
    );
    assert_eq!(
        function.requests(),
        [describe(IMAGE), describe_permissions(IMAGE)]
    );
    // With one, rules can match any tag.
    let mut function = World::new()
        .permissive()
        .setting("POLICY_PATH", "/ami-warden")
        .image(settled())
        .start();
    function
        .emulator
        .fault(Fault::new("DescribeImages", FaultKind::Stale).times(1));
    function.emulator.add(settled().tag("Name", "silver"));
    assert_eq!(
        function.invoke(&changed)["Summary"],
        json!({ "unchanged": 1 })
    );
    assert_eq!(function.counts()["DescribeImages"], 2);
}
