//! What goes wrong between the function and EC2, and what follows from it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::world::*;

/// All that is sent for an image that becomes public.
const ACTIONS: [&str; 5] = [
    "DescribeImages",
    "DescribeImageAttribute",
    "DescribeSnapshots",
    "GetImageBlockPublicAccessState",
    "ModifyImageAttribute",
];

/// How often each action is called when it goes wrong so many times. After a write without an
/// answer the image is read and planned anew; a write that was carried out all the same shows in
/// that, so it is not made again.
fn calls(kind: &FaultKind, times: usize) -> BTreeMap<String, usize> {
    let was_carried_out = matches!(kind, FaultKind::ResetAfter | FaultKind::Truncated);
    let calls = if was_carried_out {
        [2, 2, 1, 1, 0]
    } else {
        [2 + times, 2 + times, 1 + times, 1, 1]
    };
    ACTIONS
        .into_iter()
        .zip(calls)
        .map(|(action, calls)| (action.to_owned(), calls + times))
        .collect()
}

fn public_world() -> World {
    World::new().permissive().image(share("all"))
}

fn error(code: &str, status: u16, message: &str) -> FaultKind {
    FaultKind::Error {
        code: code.into(),
        status: Some(status),
        message: Some(message.into()),
    }
}

/// Every action goes wrong like this once or twice and is then tried again until it succeeds.
#[track_caller]
fn check_transient(kind: &FaultKind, times: u32) {
    let mut function = public_world().start();
    for action in ACTIONS {
        function
            .emulator
            .fault(Fault::new(action, kind.clone()).times(times));
    }
    let answer = function.invoke(&event("ami-available"));
    assert_eq!(
        answer["Summary"],
        json!({ "applied": 1 }),
        "{kind:?}: {answer:#}"
    );
    assert_holds(
        &answer["Images"][0]["Changes"][0],
        &json!({ "After": ["all"], "Confirmed": true }),
    );
    assert_eq!(answer["Images"][0]["Refusals"], json!([]));
    assert_eq!(function.emulator.faults_left(), []);
    assert_eq!(function.counts(), calls(kind, times as usize), "{kind:?}");
    assert_eq!(function.grantees(IMAGE), ["all"]);
}

#[test]
fn a_throttled_call_is_tried_again() {
    check_transient(&FaultKind::error("RequestLimitExceeded"), 2);
    check_transient(&error("Throttling", 400, "Rate exceeded"), 1);
}

#[test]
fn a_call_that_meets_a_fault_of_the_service_is_tried_again() {
    check_transient(&FaultKind::error("Unavailable"), 2);
    check_transient(&FaultKind::error("InternalError"), 1);
    check_transient(&error("NeverHeardOf", 503, "?"), 1);
}

#[test]
fn a_call_whose_connection_breaks_is_tried_again_whether_or_not_it_was_carried_out() {
    check_transient(&FaultKind::ResetBefore, 1);
    check_transient(&FaultKind::ResetAfter, 1);
    check_transient(&FaultKind::Truncated, 1);
    check_transient(&FaultKind::Hang { ms: Some(50) }, 1);
}

#[test]
fn an_answer_that_is_not_ec2s_is_tried_again() {
    let garbage = |status| FaultKind::Garbage {
        status,
        body: "<html><body>Bad gateway</body></html>".into(),
    };
    check_transient(&garbage(502), 1);
    check_transient(&garbage(403), 1);
    check_transient(&garbage(500), 1);
}

#[test]
fn an_answer_that_is_not_ec2s_is_tried_again_though_its_status_says_success() {
    for body in ["<html><body>Welcome</body></html>", "{}", ""] {
        check_transient(
            &FaultKind::Garbage {
                status: 200,
                body: body.into(),
            },
            1,
        );
    }
}

/// Invokes with little time, expects that the image failed, and returns its entry.
#[track_caller]
fn failed_entry(function: &mut Function) -> Value {
    failed_entry_within(function, Duration::from_secs(3))
}

#[track_caller]
fn failed_entry_within(function: &mut Function, time: Duration) -> Value {
    let answer = function
        .invoke_for(time, &event("ami-available").to_string())
        .unwrap_err()
        .answer();
    assert_eq!(
        (&answer["Trigger"], &answer["Summary"]),
        (&json!("ec2-ami-state-change"), &json!({ "failed": 1 }))
    );
    let entry = only_entry(&answer);
    assert_holds(
        &entry,
        &json!({ "ImageId": IMAGE, "Outcome": "failed", "Changes": [], "Refusals": [] }),
    );
    entry
}

#[test]
fn a_fault_that_lasts_fails_the_image_within_the_time_of_the_invocation() {
    for (action, kind, code) in [
        (
            "DescribeImages",
            FaultKind::error("Unavailable"),
            "Unavailable",
        ),
        (
            "DescribeImageAttribute",
            FaultKind::error("InternalError"),
            "InternalError",
        ),
        (
            "ModifyImageAttribute",
            FaultKind::error("RequestLimitExceeded"),
            "RequestLimitExceeded",
        ),
        (
            "DescribeSnapshots",
            FaultKind::ResetBefore,
            "ConnectionFailed",
        ),
        (
            "GetImageBlockPublicAccessState",
            FaultKind::Garbage {
                status: 502,
                body: "<p>".into(),
            },
            "Http502",
        ),
        (
            "DescribeImages",
            FaultKind::Garbage {
                status: 200,
                body: "<p>".into(),
            },
            "Http200",
        ),
    ] {
        let mut function = public_world().start();
        function.emulator.fault(Fault::new(action, kind).forever());
        let entry = failed_entry(&mut function);
        assert_holds(
            &entry["Error"],
            &json!({ "Operation": action, "Code": code }),
        );
        let counts = function.counts();
        assert!(counts[action] > 1, "{action} was tried again: {counts:?}");
        assert_eq!(function.grantees(IMAGE), [] as [String; 0]);
    }
}

#[test]
fn the_answer_comes_before_the_time_is_up() {
    let mut function = public_world().start();
    function
        .emulator
        .fault(Fault::new("ModifyImageAttribute", FaultKind::Hang { ms: None }).forever());
    let (begun, time) = (Instant::now(), Duration::from_secs(4));
    failed_entry_within(&mut function, time);
    assert!(begun.elapsed() < time, "{:?}", begun.elapsed());
}

#[test]
fn no_answer_at_all_fails_the_image() {
    for action in ACTIONS {
        let mut function = public_world().start();
        function
            .emulator
            .fault(Fault::new(action, FaultKind::Hang { ms: None }).forever());
        let entry = failed_entry(&mut function);
        assert_holds(
            &entry["Error"],
            &json!({ "Operation": action, "Code": "Timeout" }),
        );
    }
}

#[test]
fn nobody_listening_fails_the_image() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut function = public_world()
        .setting("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{port}"))
        .start();
    let entry = failed_entry(&mut function);
    assert_holds(
        &entry["Error"],
        &json!({ "Operation": "DescribeImages", "Code": "ConnectionFailed" }),
    );
    assert_eq!(function.emulator.calls(), []);
}

/// How many calls of each action were made when this one was the last that mattered.
#[track_caller]
fn check_denied(action: &str, code: &str) {
    let mut function = public_world().start();
    function
        .emulator
        .fault(Fault::error(action, code).forever());
    let answer = function
        .try_invoke(&event("ami-available"))
        .unwrap_err()
        .answer();
    let entry = only_entry(&answer);
    assert_holds(
        &entry,
        &json!({ "Outcome": "failed", "Changes": [], "Refusals": [] }),
    );
    assert_holds(
        &entry["Error"],
        &json!({ "Operation": action, "Code": code }),
    );
    let counts = function.counts();
    assert_eq!(counts[action], 1, "tried again: {counts:?}");
    let writes = usize::from(action == "ModifyImageAttribute");
    assert_eq!(
        counts
            .get("ModifyImageAttribute")
            .copied()
            .unwrap_or_default(),
        writes
    );
}

#[test]
fn a_missing_permission_fails_the_image_and_is_not_tried_again() {
    for action in ACTIONS {
        check_denied(action, "UnauthorizedOperation");
    }
}

#[test]
fn bad_credentials_fail_the_image_and_are_not_tried_again() {
    for code in [
        "AuthFailure",
        "ExpiredToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
    ] {
        check_denied("ModifyImageAttribute", code);
    }
    check_denied("DescribeImages", "AuthFailure");
}

#[test]
fn a_read_that_ec2_refuses_for_good_fails_the_image() {
    for action in &ACTIONS[..4] {
        check_denied(action, "InvalidParameterValue");
    }
}

#[test]
fn every_other_code_of_a_write_is_a_refusal_and_the_invocation_succeeds() {
    for code in [
        "OperationNotPermitted",
        "UnsupportedOperation",
        "ResourceLimitExceeded",
        "NeverHeardOf",
    ] {
        let mut function = World::new().permissive().image(share(ALICE)).start();
        function
            .emulator
            .fault(Fault::error("ModifyImageAttribute", code).forever());
        let answer = function.invoke(&event("ami-available"));
        assert_eq!(answer["Summary"], json!({ "refused": 1 }), "{code}");
        let entry = only_entry(&answer);
        assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
        assert_eq!(entry.get("Error"), None);
        assert_eq!(
            refusals(&entry),
            [(
                "launchPermission".to_owned(),
                "ec2-refused".to_owned(),
                IMAGE.to_owned()
            )]
        );
        assert_eq!(entry["Refusals"][0]["Ec2Code"], code);
        // Once, and nothing is read back.
        let write = modify(IMAGE, [("LaunchPermission.Add.1.UserId", ALICE)]);
        assert_eq!(
            function.requests(),
            [describe(IMAGE), describe_permissions(IMAGE), write],
            "{code}"
        );
    }
}

#[test]
fn what_ec2_refuses_of_each_attribute_is_named_by_attribute() {
    let image = share("-444455556666")
        .granted(ALICE)
        .tag("ami-warden:description", "new")
        .tag("ami-warden:imds-support", "v2.0");
    let mut function = World::new().image(image).start();
    function
        .emulator
        .fault(Fault::error("ModifyImageAttribute", "OperationNotPermitted").forever());
    let entry = function.look();
    let mut attributes: Vec<_> = refusals(&entry)
        .into_iter()
        .map(|(attribute, ..)| attribute)
        .collect();
    attributes.sort();
    assert_eq!(
        attributes,
        ["description", "imdsSupport", "launchPermission"]
    );
    assert_eq!(codes(&entry), ["ec2-refused"; 3]);
    assert_eq!(function.counts()["ModifyImageAttribute"], 3);
}

#[test]
fn codes_decide_and_never_the_text_of_a_message() {
    for (code, status, message, summary) in [
        (
            "OperationNotPermitted",
            400,
            "Request limit exceeded. RequestLimitExceeded",
            "refused",
        ),
        (
            "OperationNotPermitted",
            400,
            "UnauthorizedOperation: You are not authorized to perform this operation.",
            "refused",
        ),
        (
            "OperationNotPermitted",
            403,
            "Request would have succeeded, but DryRun flag is set.",
            "refused",
        ),
        (
            "DryRunOperation",
            412,
            "Request would have succeeded, but DryRun flag is set.",
            "refused",
        ),
        (
            "UnauthorizedOperation",
            403,
            "Request limit exceeded.",
            "failed",
        ),
    ] {
        let mut function = World::new().permissive().image(share(ALICE)).start();
        function
            .emulator
            .fault(Fault::new("ModifyImageAttribute", error(code, status, message)).forever());
        let answer = function
            .try_invoke(&event("ami-available"))
            .unwrap_or_else(|failed| failed.answer());
        assert_eq!(answer["Summary"], json!({ summary: 1 }), "{code} {message}");
        assert_eq!(
            function.counts()["ModifyImageAttribute"],
            1,
            "{code} {message}"
        );
    }
}

#[test]
fn a_look_whose_images_cannot_be_read_fails_all_of_them() {
    let mut function = World::new().start();
    function
        .emulator
        .fault(Fault::error("DescribeImages", "UnauthorizedOperation").forever());
    let answer = function
        .try_invoke(&event("look-at-several"))
        .unwrap_err()
        .answer();
    assert_eq!(answer["Summary"], json!({ "failed": 2 }));
    assert_eq!(answer["Images"].as_array().unwrap().len(), 2);
    assert_eq!(function.counts(), [("DescribeImages".to_owned(), 1)].into());
}

#[test]
fn a_failed_image_keeps_what_was_done_before_it_failed() {
    let image = share(ALICE)
        .tag("ami-warden:description", "new")
        .tag("ami-warden:imds-support", "v3");
    let mut function = World::new().permissive().image(image).start();
    let fault = Fault::error("ModifyImageAttribute", "UnauthorizedOperation");
    function
        .emulator
        .fault(fault.with_any("LaunchPermission.Add.1.UserId"));
    let entry = only_entry(
        &function
            .try_invoke(&event("ami-available"))
            .unwrap_err()
            .answer(),
    );
    assert_eq!(
        entry["Changes"],
        json!([{ "Attribute": "description", "From": null, "To": "new" }])
    );
    assert_eq!(
        (&entry["Outcome"], codes(&entry)),
        (&json!("failed"), vec!["invalid-directive".to_owned()])
    );
    assert_eq!(entry["Error"]["Code"], "UnauthorizedOperation");
}

#[test]
fn a_failed_image_says_what_was_refused_although_what_a_plan_needs_could_not_be_read() {
    let mut function = World::new()
        .permissive()
        .image(share(ALICE).tag("ami-warden:imds-support", "v3"))
        .start();
    function
        .emulator
        .fault(Fault::error("DescribeImageAttribute", "UnauthorizedOperation").forever());
    let entry = only_entry(
        &function
            .try_invoke(&event("ami-available"))
            .unwrap_err()
            .answer(),
    );
    assert_eq!(
        (&entry["Outcome"], codes(&entry)),
        (&json!("failed"), vec!["invalid-directive".to_owned()])
    );
    assert_eq!(entry["Error"]["Operation"], "DescribeImageAttribute");
}

#[test]
fn what_does_not_fit_into_the_time_is_left_for_a_next_event_in_order() {
    let ids: Vec<_> = (100..290)
        .map(|number| format!("ami-00000{number}"))
        .collect();
    let image = |id: &String| Image::new(id).tag("ami-warden:launch-permission", "-all");
    let mut function = ids
        .iter()
        .fold(World::new(), |world, id| world.image(image(id)))
        .start();
    // Even if all goes well, 24 at a time, and a few more with each answer, are not done in the
    // time there is.
    function
        .emulator
        .fault(Fault::new("DescribeImageAttribute", FaultKind::Latency { ms: 700 }).forever());
    let event = json!({ "ImageIds": ids, "DryRun": true });
    let answer = function
        .invoke_for(Duration::from_secs(4), &event.to_string())
        .unwrap();
    let entries = answer["Images"].as_array().unwrap();
    let mut begun: Vec<_> = entries
        .iter()
        .map(|entry| entry["ImageId"].as_str().unwrap().to_owned())
        .collect();
    begun.sort_unstable();
    assert!(!begun.is_empty() && begun.len() < ids.len(), "{answer:#}");
    // What was not begun is the end of the list. Should something begun have been cut off, on a
    // slow machine, it comes once more.
    let failed: Vec<_> = entries
        .iter()
        .filter(|entry| entry["Outcome"] == "failed")
        .map(|entry| entry["ImageId"].clone())
        .collect();
    let mut rest = answer["Continue"]["ImageIds"].as_array().unwrap().clone();
    assert_eq!(begun, ids[..begun.len()]);
    let not_begun = ids[begun.len()..].iter().map(|id| json!(id));
    let mut expected: Vec<_> = not_begun.chain(failed).collect();
    for ids in [&mut rest, &mut expected] {
        ids.sort_unstable_by_key(ToString::to_string);
    }
    assert_eq!(rest, expected);
    assert_eq!(
        (
            &answer["Continue"]["DryRun"],
            answer["Continue"].get("Sweep")
        ),
        (&json!(true), None)
    );
    // What is left is an event as it is.
    function.emulator.clear_faults();
    let answer = function.invoke(&answer["Continue"]);
    assert_eq!(
        (answer["Summary"].clone(), answer.get("Continue")),
        (json!({ "unchanged": rest.len() }), None)
    );
}

#[test]
fn no_time_at_all_fails_the_image_and_leaves_it_as_it_is() {
    let mut function = World::new().permissive().image(share(ALICE)).start();
    for deadline in [Duration::ZERO, Duration::from_millis(1)] {
        let answer = function
            .invoke_for(deadline, &event("ami-available").to_string())
            .unwrap_err()
            .answer();
        assert_eq!(only_entry(&answer)["Error"]["Code"], "Timeout");
    }
    assert_eq!(function.grantees(IMAGE), [] as [String; 0]);
    // The process lives on.
    assert_eq!(
        function.invoke(&event("ami-available"))["Summary"],
        json!({ "applied": 1 })
    );
}
