//! The sweep: every image, in links of a chain if one invocation does not suffice.

use std::{collections::BTreeSet, time::Duration};

use ec2_emulator::{Buckets, Config, Emulator, Fault, FaultKind, Image, ParameterType};
use serde_json::{Value, json};

use crate::world::*;

/// The id of the n-th image.
fn nth(n: usize) -> String {
    format!("ami-{n:017x}")
}

fn add_images(emulator: &Emulator, count: usize, tagged: impl Fn(usize, Image) -> Image) {
    for n in 0..count {
        emulator.add(tagged(n, Image::new(nth(n))));
    }
}

fn shared(_: usize, image: Image) -> Image {
    image.tag("ami-warden:launch-permission", "444455556666")
}

/// An invocation that has the time for some of its images only, since EC2 is slow.
fn cut_short(function: &mut Function, event: &Value) -> Value {
    function
        .emulator
        .fault(Fault::new("*", FaultKind::Latency { ms: 600 }).forever());
    let answer = function
        .invoke_for(Duration::from_secs(8), &event.to_string())
        .unwrap();
    assert!(
        answer.get("Continue").is_some(),
        "one invocation sufficed: the test shows nothing"
    );
    function.emulator.clear_faults();
    answer
}

/// Invokes the function with what is left until nothing is: all answers, of which the first was cut
/// short.
fn chain(function: &mut Function, first: &Value) -> Vec<Value> {
    let first = cut_short(function, first);
    rest_of_chain(function, first)
}

fn rest_of_chain(function: &mut Function, first: Value) -> Vec<Value> {
    let mut answers = vec![first];
    while let Some(next) = answers.last().and_then(|answer| answer.get("Continue")) {
        assert!(answers.len() < 200, "the chain does not end");
        let next = function
            .invoke_for(Duration::from_secs(60), &routed(next))
            .unwrap();
        answers.push(next);
    }
    answers
}

/// What is left as the template routes it: a custom event.
fn routed(next: &Value) -> String {
    json!({ "detail-type": "Continue", "source": "ami-warden", "detail": next }).to_string()
}

/// How many images are as wanted. One that the end of a link cut off travels on, and counts when it
/// is finished.
fn done(answers: &[Value]) -> u64 {
    count(answers, "applied") + count(answers, "unchanged")
}

fn count(answers: &[Value], outcome: &str) -> u64 {
    answers
        .iter()
        .map(|answer| answer["Summary"][outcome].as_u64().unwrap_or(0))
        .sum()
}

#[test]
fn a_sweep_lists_pages_of_own_images_with_directive_tags_and_of_public_ones() {
    let world = World::new()
        .permissive()
        .image(share("444455556666"))
        .image(Image::new(nth(1)).tag("Name", "other"));
    let mut function = world.image(Image::new(nth(2)).granted("all")).start();
    let answer = function.invoke(&event("scheduled-rule"));
    assert_eq!(answer["Trigger"], "schedule");
    assert_eq!(answer["Summary"], json!({ "applied": 1, "skipped": 1 }));
    assert_eq!(only_entry(&answer)["ImageId"], IMAGE);
    assert_eq!(answer["PublicWithoutDirectives"], json!([nth(2)]));
    let mut requests = function.requests();
    requests[..2].sort();
    assert_eq!(
        requests[..3],
        [
            "DescribeImages Filter.1.Name=is-public Filter.1.Value.1=true IncludeDisabled=true MaxResults=500 Owner.1=self",
            "DescribeImages Filter.1.Name=tag-key Filter.1.Value.1=ami-warden:* IncludeDisabled=true MaxResults=500 Owner.1=self",
            &format!(
                "DescribeImages Filter.1.Name=image-id Filter.1.Value.1={} Filter.1.Value.2={IMAGE} IncludeDisabled=true Owner.1=self",
                nth(2)
            ),
        ]
    );
    assert_eq!(
        function.grantees(&nth(2)),
        ["all"],
        "public without a directive is left alone"
    );
    let line = function.logged(|line| line["ImageId"] == nth(2).as_str());
    assert_eq!(line["PublicWithoutDirectives"], true);
}

#[test]
fn every_trigger_of_a_sweep_sweeps() {
    for (name, trigger) in [
        ("scheduled-rule", "schedule"),
        ("scheduled-scheduler", "schedule"),
        ("parameter-changed", "policy-change"),
        ("sweep", "request"),
    ] {
        let world = World::new()
            .permissive()
            .setting("POLICY_PATH", "/ami-warden")
            .image(share("444455556666"));
        let mut function = world.start();
        let answer = function.invoke(&event(name));
        assert_eq!(
            (&answer["Trigger"], &answer["Summary"]),
            (&json!(trigger), &json!({ "applied": 1 })),
            "{name}"
        );
    }
}

#[test]
fn a_sweep_answers_only_what_changed_was_refused_or_failed_and_counts_all() {
    let world = World::new().setting("ALLOWED_GRANTEES", "444455556666");
    let world = world
        .image(Image::new(nth(1)).tag("ami-warden:launch-permission", "444455556666"))
        .image(
            Image::new(nth(2))
                .tag("ami-warden:launch-permission", "444455556666")
                .granted("444455556666"),
        )
        .image(Image::new(nth(3)).tag("ami-warden:launch-permission", "222233334444"))
        .image(Image::new(nth(4)).tag("ami-warden:hold", "1"))
        .image(
            Image::new(nth(5))
                .tag("ami-warden:launch-permission", "444455556666")
                .pending(),
        )
        .image(
            Image::new(nth(6))
                .tag("ami-warden:launch-permission", "444455556666")
                .disabled(),
        );
    let mut function = world.start();
    let answer = function.invoke(&json!({ "Sweep": {} }));
    assert_eq!(
        answer["Summary"],
        json!({ "applied": 1, "unchanged": 1, "refused": 1, "skipped": 2, "deferred": 1 })
    );
    let listed: Vec<_> = answer["Images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["ImageId"].as_str().unwrap())
        .collect();
    assert_eq!(listed, [nth(3), nth(5), nth(1)]);
}

#[test]
fn an_image_that_fails_does_not_stop_the_others_and_keeps_the_event() {
    let mut function = World::new().permissive().start();
    add_images(&function.emulator, 5, shared);
    function.emulator.fault(
        Fault::error("ModifyImageAttribute", "UnauthorizedOperation")
            .with("ImageId", &nth(2))
            .forever(),
    );
    let failed = function.try_invoke(&json!({ "Sweep": {} })).unwrap_err();
    assert_eq!(failed.error_type, "ImagesFailed");
    let answer: Value = serde_json::from_str(&failed.error_message).unwrap();
    assert_eq!(only_entry(&answer)["ImageId"], nth(2).as_str());
    assert_eq!(answer["Summary"], json!({ "applied": 4, "failed": 1 }));
    assert_eq!(function.grantees(&nth(4)), ["444455556666"]);
}

#[test]
fn each_image_is_covered_once_by_a_chain_of_links() {
    let mut function = World::with(Config {
        largest_page: Some(200),
        ..Config::default()
    })
    .permissive()
    .start();
    add_images(&function.emulator, 500, |n, image| {
        if n % 2 == 0 {
            shared(n, image)
        } else {
            image.tag("Name", "other")
        }
    });
    let answers = chain(&mut function, &json!({ "Sweep": {} }));
    assert_eq!(done(&answers), 250);
    let writes = function.emulator.calls_of("ModifyImageAttribute");
    let images: BTreeSet<_> = writes
        .iter()
        .map(|call| call.param("ImageId").unwrap().to_owned())
        .collect();
    assert_eq!((writes.len(), images.len()), (250, 250));
    assert_eq!(
        function.invoke(&json!({ "Sweep": {} }))["Summary"],
        json!({ "unchanged": 250 })
    );
}

#[test]
fn images_that_come_and_go_between_two_links_disturb_nobody() {
    let mut function = World::new().permissive().start();
    add_images(&function.emulator, 400, |n, image| {
        shared(
            n,
            if n % 2 == 0 {
                image
            } else {
                image.tag("odd", "1")
            },
        )
    });
    let first = cut_short(&mut function, &json!({ "Sweep": {} }));
    let after = first["Continue"]["Sweep"]["After"]
        .as_str()
        .unwrap()
        .to_owned();
    let place = (0..400).position(|n| nth(n) == after).unwrap();
    // Those before the mark that were not begun or not finished.
    let carried = first["Continue"]["ImageIds"].as_array().unwrap().len();
    function.emulator.edit(|state| {
        // The one to go on after is deregistered, and new ones arrive before and behind it.
        state.images.remove(&after);
        state.add(shared(0, Image::new("ami-00000000")));
        state.add(shared(0, Image::new("ami-ffffffff")));
    });
    let answers = rest_of_chain(&mut function, first);
    let others = &answers[1..];
    assert_eq!(
        done(others) + count(others, "skipped"),
        (400 - place - 1 + 1 + carried) as u64
    );
    assert_eq!(function.grantees("ami-ffffffff"), ["444455556666"]);
    assert!(
        function.grantees("ami-00000000").is_empty(),
        "its id is before the mark; the next sweep takes it"
    );
    let left_out: Vec<_> = (0..400)
        .map(nth)
        .filter(|id| *id != after && function.grantees(id) != ["444455556666"])
        .collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn a_call_that_tagged_many_images_is_finished_in_links() {
    let mut function = World::new().permissive().start();
    add_images(&function.emulator, 400, shared);
    let mut tagged = event("call-create-tags");
    let items: Vec<Value> = (0..400).map(|n| json!({ "resourceId": nth(n) })).collect();
    tagged["detail"]["requestParameters"]["resourcesSet"]["items"] = json!(items);
    let answers = chain(&mut function, &tagged);
    assert_eq!(done(&answers), 400);
    assert_eq!(
        function.emulator.calls_of("ModifyImageAttribute").len(),
        400
    );
}

#[test]
fn failed_images_travel_with_the_rest_and_the_last_link_fails_if_they_still_do() {
    let mut function = World::new().permissive().start();
    add_images(&function.emulator, 400, shared);
    let broken = || {
        Fault::error("ModifyImageAttribute", "UnauthorizedOperation")
            .with("ImageId", &nth(3))
            .forever()
    };
    function.emulator.fault(broken());
    let first = cut_short(&mut function, &json!({ "Sweep": {} }));
    assert!(
        first["Continue"]["ImageIds"]
            .as_array()
            .unwrap()
            .contains(&json!(nth(3))),
        "{first}"
    );
    assert!(first["Continue"]["Sweep"]["After"].is_string());

    function.emulator.fault(broken());
    let last = function.try_invoke(&first["Continue"]).unwrap_err();
    assert_eq!(last.error_type, "ImagesFailed");
    let answer: Value = serde_json::from_str(&last.error_message).unwrap();
    assert_eq!(only_entry(&answer)["ImageId"], nth(3).as_str());

    function.emulator.clear_faults();
    let finished = function.invoke(&first["Continue"]);
    assert_eq!(finished["Summary"]["applied"], 1);
    assert_eq!(function.grantees(&nth(3)), ["444455556666"]);
}

#[test]
fn a_chain_that_gets_nowhere_ends() {
    let mut function = World::with(Config {
        latency: Duration::from_millis(600),
        ..Config::default()
    })
    .permissive()
    .start();
    add_images(&function.emulator, 400, shared);
    function
        .emulator
        .fault(Fault::error("ModifyImageAttribute", "UnauthorizedOperation").forever());
    let ids: Vec<String> = (0..400).map(nth).collect();
    let failed = function
        .invoke_for(
            Duration::from_secs(6),
            &json!({ "ImageIds": ids }).to_string(),
        )
        .unwrap_err();
    assert_eq!(failed.error_type, "ImagesFailed");
    let answer: Value = serde_json::from_str(&failed.error_message).unwrap();
    let left = answer["Continue"]["ImageIds"].as_array().unwrap();
    assert_eq!(
        left.iter()
            .map(|id| id.as_str().unwrap())
            .collect::<BTreeSet<_>>()
            .len(),
        400,
        "nothing is forgotten"
    );
}

#[test]
fn a_dry_run_stays_one_over_the_whole_chain() {
    let mut function = World::new().permissive().start();
    add_images(&function.emulator, 400, shared);
    let answers = chain(&mut function, &json!({ "Sweep": {}, "DryRun": true }));
    assert_eq!(count(&answers, "planned"), 400);
    assert!(function.emulator.writes().is_empty());
}

#[test]
fn a_sweep_and_images_named_beside_it_are_both_looked_at() {
    let world = World::new()
        .permissive()
        .image(share("444455556666"))
        .image(Image::new(nth(1)));
    let mut function = world.start();
    let answer = function.invoke(&json!({ "Sweep": {}, "ImageIds": [nth(1)] }));
    assert_eq!(answer["Summary"], json!({ "applied": 1, "skipped": 1 }));
}

#[test]
fn a_sweep_that_cannot_list_images_fails() {
    let mut function = World::new().start();
    function
        .emulator
        .fault(Fault::error("DescribeImages", "UnauthorizedOperation").forever());
    let failed = function.try_invoke(&json!({ "Sweep": {} })).unwrap_err();
    assert_eq!(failed.error_type, "SweepFailed");
    assert!(
        failed
            .error_message
            .starts_with("DescribeImages failed with UnauthorizedOperation"),
        "{}",
        failed.error_message
    );
}

#[test]
fn a_deadline_that_is_a_duration_is_understood() {
    let mut function = World::new()
        .permissive()
        .image(share("444455556666"))
        .start();
    let answer = function
        .invoke_until(600_000, &json!({ "Sweep": {} }).to_string())
        .unwrap();
    assert_eq!(answer["Summary"], json!({ "applied": 1 }));
}

#[test]
fn throttling_slows_a_sweep_down_and_loses_no_image() {
    let buckets = Buckets::none()
        .action("ModifyImageAttribute", 10, 20.0)
        .action("DescribeImageAttribute", 20, 40.0);
    let mut function = World::with(Config {
        buckets,
        ..Config::default()
    })
    .permissive()
    .start();
    add_images(&function.emulator, 100, shared);
    let answer = function.invoke(&json!({ "Sweep": {} }));
    assert_eq!(answer["Summary"], json!({ "applied": 100 }));
    assert!(
        function.emulator.throttled()["ModifyImageAttribute"] > 0,
        "nothing was throttled: the test shows nothing"
    );
    assert!(
        function.emulator.throttled()["ModifyImageAttribute"] < 100,
        "{:?}",
        function.emulator.throttled()
    );
}

#[test]
fn what_was_changed_behind_our_back_is_put_right_by_the_next_sweep() {
    let world = World::new()
        .permissive()
        .image(share("= 444455556666").granted("444455556666"));
    let mut function = world.start();
    assert_eq!(
        function.invoke(&event("sweep"))["Summary"],
        json!({ "unchanged": 1 })
    );
    let granted = ["all", "222233334444"].map(|grantee| grantee.parse().unwrap());
    function.emulator.edit(|state| {
        state
            .images
            .get_mut(IMAGE)
            .unwrap()
            .launch_permissions
            .extend(granted.clone())
    });
    let entry = only_entry(&function.invoke(&event("sweep")));
    assert_eq!(
        entry["Changes"][0]["Remove"],
        json!(["222233334444", "all"])
    );
    assert_eq!(function.grantees(IMAGE), ["444455556666"]);
}

#[test]
fn with_rules_a_sweep_lists_every_image() {
    let world = World::new()
        .permissive()
        .setting("POLICY_PATH", "/ami-warden");
    let mut function = world.image(Image::new(IMAGE).name("golden-1")).start();
    let rules = r#"[{"Match": {"Name": "golden-*"}, "LaunchPermission": "444455556666"}]"#;
    function
        .emulator
        .put_parameter("/ami-warden/rules", rules, ParameterType::String);
    assert_eq!(
        function.invoke(&event("sweep"))["Summary"],
        json!({ "applied": 1 })
    );
    assert!(
        function.requests().contains(
            &"DescribeImages IncludeDisabled=true MaxResults=500 Owner.1=self".to_owned()
        )
    );
}

#[test]
fn a_page_that_hangs_is_given_up_in_time() {
    let mut function = World::new().start();
    function
        .emulator
        .fault(Fault::new("DescribeImages", FaultKind::Hang { ms: None }).forever());
    let failed = function
        .invoke_for(Duration::from_secs(1), &json!({ "Sweep": {} }).to_string())
        .unwrap_err();
    assert_eq!(
        (
            failed.error_type.as_str(),
            failed.error_message.contains("Timeout")
        ),
        ("SweepFailed", true)
    );
}
