//! What somebody who may only tag, name or describe an image might try. `SECURITY.md` says what
//! stops each.

use ec2_emulator::ParameterType;
use serde_json::{Value, json};

use crate::world::*;

/// What a tag might hold to pass for a line of the log, or to clear a terminal.
const POISON: &str = "444455556666\n{\"level\":\"INFO\",\"event\":\"change\",\"ImageId\":\"ami-ffffffff\"}\r\u{1b}[2J\u{0}";

/// Invokes the function with something poisoned and gives its log, which ends with the metrics of
/// the invocation.
fn log_of(mut function: Function) -> Vec<String> {
    let _ = function.try_invoke(&json!({ "ImageId": IMAGE }));
    let _ = function.try_invoke(&json!({ "ImageId": POISON }));
    for _ in 0..500 {
        if function
            .log()
            .iter()
            .filter(|line| line.contains("request-2"))
            .count()
            > 0
        {
            return function.log();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!(
        "nothing was written about the second invocation:\n{}",
        function.log().join("\n")
    )
}

fn poisoned() -> World {
    let image = share(POISON)
        .tag("ami-warden:description", POISON)
        .tag(&format!("ami-warden:{POISON}"), POISON)
        .name(POISON);
    World::new().permissive().image(image)
}

#[test]
fn no_tag_or_name_forges_a_log_line_or_reaches_a_terminal() {
    for line in log_of(poisoned().start()) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let line: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_ne!(line["ImageId"], "ami-ffffffff");
    }
    for line in log_of(poisoned().setting("AWS_LAMBDA_LOG_FORMAT", "Text").start()) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        if line.starts_with('{') {
            // A metric, which is a bare JSON line in either format.
            let line: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(line["_aws"].is_object(), "{line:#}");
            continue;
        }
        let (timestamp, rest) = line.split_once(' ').unwrap();
        assert!(
            timestamp.parse::<chrono::DateTime<chrono::Utc>>().is_ok() && rest.contains('{'),
            "{line}"
        );
    }
}

#[test]
fn no_tag_adds_a_field_of_its_own_to_a_log_line_or_a_metric() {
    let forged = r#"x", "_aws": {"CloudWatchMetrics": []}, "y": ""#;
    let image = share(forged)
        .tag("ami-warden:description", forged)
        .tag(&format!("ami-warden:{forged}"), "");
    let mut function = World::new().permissive().image(image).start();
    function.look();
    let line = function.logged(|line| line["ImageId"] == IMAGE);
    assert_eq!(line.get("_aws"), None, "{line:#}");
    assert!(
        line.to_string().contains("CloudWatchMetrics"),
        "it is there, as text: {line:#}"
    );
}

#[test]
fn a_tag_that_another_account_shares_is_no_directive() {
    let image = Image::new(IMAGE)
        .tag("ec2:SharedTag/ami-warden:launch-permission", "all")
        .tag("ec2:SharedTag/ami-warden:description", "theirs");
    let mut function = World::new().permissive().image(image).start();
    let entry = function.look();
    assert_holds(
        &entry,
        &json!({ "Outcome": "skipped", "Reason": "no-directives" }),
    );
    assert!(function.emulator.writes().is_empty());
}

#[test]
fn a_copy_that_brought_its_tags_is_bound_by_the_guardrails_of_where_it_is() {
    let image = share("all 999988887777 -222233334444")
        .granted(BOB)
        .encrypted()
        .copied_from("ami-0fedcba9876543210");
    let mut function = World::new()
        .setting("ALLOWED_GRANTEES", ALICE)
        .image(image)
        .start();
    let entry = only_entry(&function.invoke(&event("call-copy-image")));
    let mut found = codes(&entry);
    found.sort();
    assert_eq!(
        found,
        [
            "encrypted-snapshot",
            "grantee-not-allowed",
            "public-not-allowed"
        ]
    );
    assert!(
        function.grantees(IMAGE).is_empty(),
        "what the copy's tags remove is removed, and nobody is let in"
    );
}

#[test]
fn an_image_named_to_match_a_rule_gets_what_the_rule_says_and_no_more_than_the_guardrails_allow() {
    let world = World::new()
        .setting("ALLOWED_GRANTEES", ALICE)
        .setting("POLICY_PATH", "/ami-warden");
    let mut function = world
        .image(Image::new(IMAGE).name("golden-by-nobody").encrypted())
        .start();
    let rules = r#"[{"Match": {"Name": "golden-*"}, "LaunchPermission": "all 444455556666"}]"#;
    function
        .emulator
        .put_parameter("/ami-warden/rules", rules, ParameterType::String);
    let entry = function.look();
    assert_eq!(entry["Outcome"], "refused");
    assert!(function.grantees(IMAGE).is_empty());
    assert!(function.emulator.writes().is_empty());
}

#[test]
fn what_a_placeholder_brings_into_a_description_is_text_and_no_template() {
    let image = Image::new(IMAGE)
        .name("{tag:secret}")
        .tag("secret", "hidden")
        .tag("ami-warden:description", "{Name}");
    let mut function = World::new().image(image).start();
    function.look();
    assert_eq!(
        function
            .emulator
            .image(IMAGE)
            .unwrap()
            .description
            .as_deref(),
        Some("{tag:secret}")
    );
}
