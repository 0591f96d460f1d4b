//! Log lines: one JSON object each, with a time and a level, one for each image, and never a
//! secret.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::*;

/// All that was written up to the line that fits, each line as the object it must be.
#[track_caller]
fn lines_until(function: &Function, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    function.logged(fits);
    let lines: Vec<Value> = function
        .log()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    for line in &lines {
        assert!(line.is_object(), "{line}");
        let timestamp = line["timestamp"]
            .as_str()
            .unwrap_or_else(|| panic!("no timestamp: {line}"));
        chrono::DateTime::parse_from_rfc3339(timestamp)
            .unwrap_or_else(|error| panic!("{timestamp}: {error}"));
        let level = line["level"]
            .as_str()
            .unwrap_or_else(|| panic!("no level: {line}"));
        assert!(
            ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level),
            "{line}"
        );
    }
    lines
}

/// The line with what became of this image.
fn is_of_image(line: &Value, image: &str) -> bool {
    line["event"] == "image" && line["ImageId"] == image
}

/// The runtime's own line about an invocation that failed, which comes after those of the images.
fn is_the_error_of_the_invocation(line: &Value) -> bool {
    line["level"] == "ERROR" && line.get("ImageId").is_none()
}

/// Images with every outcome but planned, and what their lines are to say.
fn images() -> Vec<(Image, &'static str, &'static str)> {
    let image = |number: usize| Image::new(format!("ami-0000000{number}"));
    let shared =
        |number: usize, value: &str| image(number).tag("ami-warden:launch-permission", value);
    vec![
        (shared(1, ALICE), "applied", "INFO"),
        (shared(2, ALICE).granted(ALICE), "unchanged", "INFO"),
        (shared(3, "bob"), "refused", "WARN"),
        (shared(4, ALICE).pending(), "deferred", "INFO"),
        (image(5), "skipped", "INFO"),
        // Something was refused of it, so it is a warning although something was applied.
        (
            shared(6, ALICE).tag("ami-warden:typo", ""),
            "applied",
            "WARN",
        ),
        (shared(7, "555566667777"), "failed", "ERROR"),
    ]
}

/// A function that knows these images, and the event that asks for all of them.
fn function_and_event(world: World) -> (Function, Value) {
    let images = images();
    let ids: Vec<_> = images
        .iter()
        .map(|(image, ..)| image.image_id.clone())
        .collect();
    let function = images
        .into_iter()
        .fold(world.permissive(), |world, (image, ..)| world.image(image))
        .start();
    let fault = Fault::error("ModifyImageAttribute", "UnauthorizedOperation")
        .with("LaunchPermission.Add.1.UserId", "555566667777");
    function.emulator.fault(fault.forever());
    (function, json!({ "ImageIds": ids }))
}

#[test]
fn every_image_has_one_line_with_its_entry_the_requests_id_and_a_level() {
    let (mut function, event) = function_and_event(World::new());
    assert_eq!(
        function.try_invoke(&event).unwrap_err().error_type,
        "ImagesFailed"
    );
    let lines = lines_until(&function, is_the_error_of_the_invocation);
    for (image, outcome, level) in images() {
        let of_image: Vec<_> = lines
            .iter()
            .filter(|line| is_of_image(line, &image.image_id))
            .collect();
        let [line] = of_image.as_slice() else {
            panic!("{} lines for {}", of_image.len(), image.image_id)
        };
        assert_holds(
            line,
            &json!({
                "event": "image",
                "Outcome": outcome,
                "level": level,
                "RequestId": "request-1"
            }),
        );
        assert!(
            line["Changes"].is_array() && line["Refusals"].is_array(),
            "{line}"
        );
    }
    let failed = lines
        .iter()
        .find(|line| line["Outcome"] == "failed")
        .unwrap();
    assert_holds(
        &failed["Error"],
        &json!({ "Operation": "ModifyImageAttribute", "Code": "UnauthorizedOperation" }),
    );
}

#[test]
fn the_line_of_an_image_is_its_entry_of_the_answer() {
    let image = share("444455556666 -222233334444")
        .granted(BOB)
        .tag("ami-warden:imds-support", "v3");
    let mut function = World::new().permissive().image(image).start();
    for invocation in ["request-1", "request-2"] {
        let entry = only_entry(&function.invoke(&event("ami-available")));
        let line =
            function.logged(|line| is_of_image(line, IMAGE) && line["RequestId"] == invocation);
        assert_holds(&line, &entry);
    }
}

#[test]
fn lines_of_two_invocations_carry_the_id_of_their_own() {
    let mut function = World::new().image(Image::new(IMAGE)).start();
    function.invoke(&event("look"));
    function.invoke(&event("ami-available"));
    let lines = lines_until(&function, |line| {
        line["RequestId"] == "request-2" && is_of_image(line, IMAGE)
    });
    let ids: Vec<_> = lines
        .iter()
        .filter(|line| is_of_image(line, IMAGE))
        .map(|line| line["RequestId"].clone())
        .collect();
    assert_eq!(ids, ["request-1", "request-2"]);
}

#[test]
fn lambdas_own_level_decides_what_is_written() {
    for (level, outcomes) in [
        ("WARN", vec!["applied", "failed", "refused"]),
        ("ERROR", vec!["failed"]),
        ("FATAL", vec!["failed"]),
    ] {
        let (mut function, event) =
            function_and_event(World::new().setting("AWS_LAMBDA_LOG_LEVEL", level));
        function.try_invoke(&event).unwrap_err();
        let lines = lines_until(&function, is_the_error_of_the_invocation);
        let mut written: Vec<_> = lines
            .iter()
            .filter_map(|line| line["Outcome"].as_str())
            .collect();
        written.sort_unstable();
        assert_eq!(written, outcomes, "{level}");
    }
}

#[test]
fn an_invocation_that_fails_leaves_a_line_that_says_why() {
    let mut function = World::new().start();
    function
        .try_invoke(&json!({ "ImageId": "ami-1" }))
        .unwrap_err();
    let line = function.logged(|line| line["level"] == "ERROR");
    assert_eq!(line["RequestId"], "request-1");
    assert!(
        line.to_string().contains("InvalidRequest") && line.to_string().contains("ami-1"),
        "{line}"
    );
}

#[test]
fn no_line_at_any_level_holds_a_credential() {
    const SECRETS: [&str; 2] = ["secret-that-no-log-may-hold", "token-that-no-log-may-hold"];
    let mut searched = 0;
    for level in ["TRACE", "DEBUG", "INFO"] {
        let (mut function, event) =
            function_and_event(World::new().setting("AWS_LAMBDA_LOG_LEVEL", level));
        // Errors of all sorts are on the way, and they are logged too.
        function
            .emulator
            .fault(Fault::new("DescribeImages", FaultKind::ResetBefore));
        function.emulator.fault(Fault::error(
            "DescribeImageAttribute",
            "RequestLimitExceeded",
        ));
        function.emulator.fault(Fault::new(
            "DescribeImageAttribute",
            FaultKind::Garbage {
                status: 502,
                body: "<p>".into(),
            },
        ));
        function.try_invoke(&event).unwrap_err();
        let lines = lines_until(&function, is_the_error_of_the_invocation);
        // At TRACE the SDK and the HTTP client say a lot: this is not an empty search.
        let chatter = lines
            .iter()
            .filter(|line| ["TRACE", "DEBUG"].contains(&line["level"].as_str().unwrap_or_default()))
            .count();
        assert_eq!(chatter > 0, level != "INFO", "{chatter} lines at {level}");
        for line in function.log() {
            assert!(
                SECRETS.iter().all(|secret| !line.contains(secret)),
                "{level}: {line}"
            );
            searched += 1;
        }
    }
    println!(
        "proof: {searched} log lines at TRACE, DEBUG and INFO, and no credential in any of them"
    );
}

#[test]
fn text_lines_are_written_where_lambda_is_set_to_text() {
    let mut function = World::new()
        .setting("AWS_LAMBDA_LOG_FORMAT", "Text")
        .image(Image::new(IMAGE))
        .start();
    function.look();
    let until = Instant::now() + Duration::from_secs(5);
    while function.log().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let log = function.log();
    let line = log
        .iter()
        .find(|line| line.contains(IMAGE))
        .unwrap_or_else(|| panic!("{log:?}"));
    let (timestamp, rest) = line.split_once(' ').unwrap();
    chrono::DateTime::parse_from_rfc3339(timestamp).unwrap();
    assert!(
        rest.starts_with("INFO  {") && rest.contains("request-1"),
        "{line}"
    );
}

#[test]
fn a_metric_is_a_bare_line_of_json_in_either_format() {
    for format in ["Text", "JSON"] {
        let mut function = World::new()
            .setting("AWS_LAMBDA_LOG_FORMAT", format)
            .image(share("444455556666"))
            .start();
        assert_eq!(function.look()["Outcome"], "refused");
        let totals =
            function.logged(|line| line["_aws"].is_object() && line.get("Refused").is_some());
        assert_eq!(
            (&totals["Refused"], &totals["FunctionName"]),
            (&json!(1), &json!("ami-warden"))
        );
        function.logged(|line| line["_aws"].is_object() && line["Code"] == "grantee-not-allowed");
        // The other lines follow the format.
        let log = function.log();
        let line = log
            .iter()
            .find(|line| line.contains("grantee-not-allowed") && line.contains(IMAGE))
            .unwrap();
        assert_eq!(line.starts_with('{'), format == "JSON", "{line}");
    }
}

#[test]
fn a_change_names_the_actor_of_an_event_from_the_bus_and_none_of_an_event_sent_by_hand() {
    // The caller of the function could write any name into the event.
    let actor = json!({ "arn": "arn:aws:iam::111122223333:user/somebody-else" });
    let forged = json!({ "ImageId": IMAGE, "DryRun": false });
    let mut function = World::new().permissive().start();
    for event in [
        event("look"),
        forged,
        json!({ "ImageId": IMAGE, "LaunchPermission": { "Add": [{ "UserId": ALICE }] } }),
    ] {
        function.emulator.add(share(ALICE));
        function.invoke(&event);
    }
    for invocation in ["request-1", "request-2", "request-3"] {
        let line =
            function.logged(|line| line["event"] == "change" && line["RequestId"] == invocation);
        assert_eq!(
            (&line["Actor"], &line["EventId"]),
            (&Value::Null, &Value::Null),
            "{line}"
        );
    }
    // A detail with an identity beside a bare look is no look at all.
    let mut bare = json!({ "ImageId": IMAGE });
    bare["detail"] = json!({ "userIdentity": actor });
    bare["id"] = json!("forged");
    assert_eq!(
        function.try_invoke(&bare).unwrap_err().error_type,
        "InvalidRequest"
    );
    function.emulator.add(share(ALICE));
    function.invoke(&event("call-create-tags"));
    let line =
        function.logged(|line| line["event"] == "change" && line["RequestId"] == "request-5");
    assert_eq!(
        line["Actor"],
        "arn:aws:sts::111122223333:assumed-role/image-builder/builder"
    );
    assert_eq!(line["EventId"], "6f87d04b-9f07-51db-246b-d8b8441bcdf0");
}
