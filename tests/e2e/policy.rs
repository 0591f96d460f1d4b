//! Groups, rules and the allow-list from Parameter Store.

use std::time::Duration;

use chrono::Utc;
use ec2_emulator::{Config, Fault, Image, Parameter, ParameterType};
use serde_json::{Value, json};

use crate::world::*;

/// A world whose function reads its policy, with these parameters below it.
fn world(parameters: &[(&str, &str)]) -> World {
    let world = World::new()
        .permissive()
        .setting("POLICY_PATH", "/ami-warden");
    for (name, value) in parameters {
        let kind = if name.starts_with("groups/") {
            ParameterType::StringList
        } else {
            ParameterType::String
        };
        world
            .emulator
            .put_parameter(&format!("/ami-warden/{name}"), value, kind);
    }
    world
}

const GOLDEN: &str = r#"[{"Name": "golden images", "Match": {"Name": "golden-*"}, "LaunchPermission": "444455556666",
    "Description": "{Name} by rule", "ImdsSupport": "v2.0"}]"#;

#[test]
fn a_group_stands_for_its_members_and_for_those_of_groups_it_names() {
    let parameters = [
        ("groups/engineering", "444455556666,@data"),
        ("groups/data", "222233334444"),
    ];
    let mut function = world(&parameters)
        .image(share("@engineering -333344445555").granted("333344445555"))
        .start();
    let entry = function.look();
    assert_eq!(
        entry["Changes"][0]["Add"],
        json!(["222233334444", "444455556666"])
    );
    assert_eq!(function.grantees(IMAGE), ["222233334444", "444455556666"]);
}

/// The event of a parameter that was changed in this moment.
fn changed_now() -> Value {
    let mut event = event("parameter-changed");
    event["time"] = json!(Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string());
    event
}

#[test]
fn adding_an_account_to_a_group_reaches_every_existing_image() {
    let mut function = world(&[("groups/engineering", "444455556666")]).start();
    let ids: Vec<String> = (0..20).map(|n| format!("ami-{n:08x}")).collect();
    for id in &ids {
        function
            .emulator
            .add(Image::new(id).tag("ami-warden:launch-permission", "@engineering"));
    }
    assert_eq!(
        function.invoke(&changed_now())["Summary"],
        json!({ "applied": 20 })
    );
    function.emulator.put_parameter(
        "/ami-warden/groups/engineering",
        "444455556666,222233334444",
        ParameterType::StringList,
    );
    assert_eq!(
        function.invoke(&changed_now())["Summary"],
        json!({ "applied": 20 })
    );
    for id in &ids {
        assert_eq!(function.grantees(id), ["222233334444", "444455556666"]);
    }
}

#[test]
fn an_unknown_or_broken_group_refuses_only_the_directives_that_use_it() {
    let parameters = [
        ("groups/bad", "444455556666,bob"),
        ("groups/a", "@b"),
        ("groups/b", "@a"),
        ("groups/good", "444455556666"),
    ];
    for (group, words) in [
        ("unknown", "/ami-warden/groups/unknown"),
        ("bad", "\"bob\""),
        ("a", "contains itself"),
    ] {
        let image = share(&format!("@{group}")).tag("ami-warden:description", "d");
        let mut function = world(&parameters)
            .image(image)
            .image(Image::new("ami-0123abcd").tag("ami-warden:launch-permission", "@good"))
            .start();
        let entry = function.look();
        assert_eq!(
            refusals(&entry),
            [(
                "launchPermission".into(),
                "invalid-directive".into(),
                "ami-warden:launch-permission".into()
            )]
        );
        assert!(
            entry["Refusals"][0]["Message"]
                .as_str()
                .unwrap()
                .contains(words),
            "{entry:#}"
        );
        assert_eq!(entry["Changes"][0]["Attribute"], "description");
        assert!(function.grantees(IMAGE).is_empty());
        function.invoke(&json!({ "ImageId": "ami-0123abcd" }));
        assert_eq!(function.grantees("ami-0123abcd"), ["444455556666"]);
    }
}

#[test]
fn a_rule_stands_for_directive_tags_on_every_image_it_matches() {
    let mut function = world(&[("rules", GOLDEN)])
        .image(Image::new(IMAGE).name("golden-1"))
        .start();
    let entry = function.look();
    assert_eq!(
        entry["Directives"],
        json!([
            {
                "Attribute": "launchPermission",
                "Value": "444455556666",
                "Sources": ["golden images"]
            },
            { "Attribute": "description", "Value": "{Name} by rule", "Sources": ["golden images"] },
            { "Attribute": "imdsSupport", "Value": "v2.0", "Sources": ["golden images"] },
        ])
    );
    let image = function.emulator.image(IMAGE).unwrap();
    assert_eq!(image.description.as_deref(), Some("golden-1 by rule"));
    assert_eq!(image.grantees(), ["444455556666"]);
    let mut other = world(&[("rules", GOLDEN)])
        .image(Image::new(IMAGE).name("silver-1"))
        .start();
    assert_eq!(other.look()["Reason"], "no-directives");
}

#[test]
fn an_images_own_tag_goes_before_a_rule_attribute_by_attribute() {
    let image = share("222233334444")
        .name("golden-1")
        .tag("ami-warden:description", "");
    let mut function = world(&[("rules", GOLDEN)]).image(image).start();
    function.look();
    let image = function.emulator.image(IMAGE).unwrap();
    assert_eq!(image.grantees(), ["222233334444"]);
    assert_eq!(
        image.description.as_deref(),
        Some("golden-1 by rule"),
        "an empty tag is no opinion"
    );
}

#[test]
fn a_refusal_of_a_rules_value_names_the_rule() {
    let world = world(&[(
        "rules",
        r#"[{"Name": "to all", "Match": {}, "LaunchPermission": "@gone"}]"#,
    )]);
    let mut function = world.image(Image::new(IMAGE)).start();
    assert_eq!(
        refusals(&function.look()),
        [(
            "launchPermission".into(),
            "invalid-directive".into(),
            "to all".into()
        )]
    );
}

#[test]
fn a_rule_is_bound_by_the_guardrails() {
    let world = world(&[(
        "rules",
        r#"[{"Match": {}, "LaunchPermission": "all 444455556666"}]"#,
    )]);
    let world = world
        .setting("ALLOW_PUBLIC", "false")
        .setting("ALLOWED_GRANTEES", "222233334444");
    let mut function = world.image(Image::new(IMAGE)).start();
    assert_eq!(
        codes(&function.look()),
        ["public-not-allowed", "grantee-not-allowed"]
    );
    assert!(function.emulator.writes().is_empty());
}

#[test]
fn hold_goes_before_any_rule() {
    let world = world(&[("rules", GOLDEN)]).image(
        Image::new(IMAGE)
            .name("golden-1")
            .tag("ami-warden:hold", "until Monday"),
    );
    let mut function = world.start();
    assert_eq!(function.look()["Reason"], "hold");
}

#[test]
fn broken_rules_stop_the_invocation_and_name_the_parameter_and_the_place() {
    for (rules, place) in [
        ("[", "line 1"),
        (
            r#"[{"Match": {}, "LaunchPermission": "bob"}]"#,
            "[0].LaunchPermission: \"bob\"",
        ),
    ] {
        let mut function = world(&[("rules", rules)])
            .image(share("444455556666"))
            .start();
        for event in [
            json!({ "ImageId": IMAGE }),
            json!({ "Sweep": {} }),
            event("ami-available"),
        ] {
            let failed = function.try_invoke(&event).unwrap_err();
            assert_eq!(failed.error_type, "InvalidPolicy");
            assert!(
                failed.error_message.starts_with("/ami-warden/rules: "),
                "{}",
                failed.error_message
            );
            assert!(
                failed.error_message.contains(place),
                "{}",
                failed.error_message
            );
        }
        assert!(function.emulator.writes().is_empty());
    }
}

#[test]
fn a_policy_that_cannot_be_read_stops_the_invocation() {
    let mut function = world(&[]).image(share("444455556666")).start();
    function
        .emulator
        .fault(Fault::error("GetParametersByPath", "AccessDeniedException").forever());
    let failed = function.try_invoke(&event("ami-available")).unwrap_err();
    assert_eq!(failed.error_type, "InvalidPolicy");
    assert!(
        failed.error_message.contains("/ami-warden")
            && failed.error_message.contains("AccessDeniedException")
    );
    assert!(function.emulator.writes().is_empty());
}

#[test]
fn the_policy_is_read_by_every_invocation_page_by_page_and_at_the_same_time_as_the_image() {
    let groups: Vec<(String, String)> = (0..25)
        .map(|n| (format!("groups/g{n}"), format!("{:012}", n + 1)))
        .collect();
    let parameters: Vec<(&str, &str)> = groups
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut function = world(&parameters)
        .image(share("@g24").granted("000000000025"))
        .start();
    for _ in 0..2 {
        function.look();
        let counts = function.counts();
        assert_eq!(
            (counts["GetParametersByPath"], counts["DescribeImages"]),
            (3, 1)
        );
    }

    let slow = World::with(Config {
        latency: Duration::from_millis(50),
        ..Config::default()
    })
    .setting("POLICY_PATH", "/ami-warden");
    let mut function = slow.image(Image::new(IMAGE)).start();
    function.look();
    let calls = function.emulator.calls();
    assert_eq!(calls.len(), 2);
    assert!(
        calls.iter().any(|call| call.in_flight == 2),
        "one waited for the other: {calls:?}"
    );
}

#[test]
fn a_policy_that_changes_between_two_links_is_the_new_one_for_the_second() {
    let mut function = world(&[("groups/g", "444455556666")]).start();
    for n in 0..10 {
        function
            .emulator
            .add(Image::new(format!("ami-{n:08x}")).tag("ami-warden:launch-permission", "@g"));
    }
    function.invoke(&json!({ "ImageIds": ["ami-00000000"] }));
    function.emulator.put_parameter(
        "/ami-warden/groups/g",
        "222233334444",
        ParameterType::StringList,
    );
    function.invoke(&json!({ "Sweep": { "After": "ami-00000000" } }));
    assert_eq!(function.grantees("ami-00000000"), ["444455556666"]);
    assert_eq!(function.grantees("ami-00000001"), ["222233334444"]);
}

#[test]
fn the_allow_list_can_be_kept_in_a_parameter_of_its_own() {
    let world = || World::new().setting("ALLOWED_GRANTEES_PARAMETER", "/security/amis");
    let image = || share("444455556666 222233334444");
    let with = |list: &str| {
        let world = world().image(image());
        world
            .emulator
            .put_parameter("/security/amis", list, ParameterType::StringList);
        world.start()
    };
    assert_eq!(
        with("444455556666,222233334444").look()["Outcome"],
        "applied"
    );
    let entry = with("444455556666").look();
    assert_eq!(
        refusals(&entry),
        [(
            "launchPermission".into(),
            "grantee-not-allowed".into(),
            "222233334444".into()
        )]
    );

    for (mut function, words) in [
        (world().image(image()).start(), "ParameterNotFound"),
        (with("444455556666,all"), "\"all\""),
    ] {
        let failed = function.try_invoke(&event("ami-available")).unwrap_err();
        assert_eq!(failed.error_type, "InvalidPolicy");
        assert!(
            failed.error_message.starts_with("/security/amis: "),
            "{}",
            failed.error_message
        );
        assert!(
            failed.error_message.contains(words),
            "{}",
            failed.error_message
        );
        assert!(function.emulator.writes().is_empty());
    }
}

#[test]
fn a_secure_string_is_named_as_such_and_its_value_is_never_shown() {
    const SECRET: &str = "AQICAHi-do-not-show";
    let image = || share("@team").tag("ami-warden:description", "new");
    // A group: only the directives that use it.
    let secret_world = world(&[]).image(image());
    secret_world.emulator.put_parameter(
        "/ami-warden/groups/team",
        SECRET,
        ParameterType::SecureString,
    );
    let mut function = secret_world.start();
    let entry = function.look();
    let message = refusal_message(&entry, "invalid-directive");
    assert!(
        message.contains("/ami-warden/groups/team") && message.contains("SecureString"),
        "{message}"
    );
    assert_eq!(entry["Changes"][0]["Attribute"], "description");
    assert!(!entry.to_string().contains(SECRET) && !function.log().join("").contains(SECRET));
    // Rules, and the allow-list: nothing is done.
    for (name, setting) in [
        ("/ami-warden/rules", "POLICY_PATH"),
        ("/ami-warden/rules/team", "POLICY_PATH"),
        ("/security/amis", "ALLOWED_GRANTEES_PARAMETER"),
    ] {
        let value = if setting == "POLICY_PATH" {
            "/ami-warden"
        } else {
            name
        };
        let world = World::new().setting(setting, value).image(image());
        world
            .emulator
            .put_parameter(name, SECRET, ParameterType::SecureString);
        let mut function = world.start();
        let failed = function.try_invoke(&event("ami-available")).unwrap_err();
        assert_eq!(failed.error_type, "InvalidPolicy", "{name}");
        assert!(
            failed
                .error_message
                .starts_with(&format!("{name}: it is a SecureString")),
            "{failed:?}"
        );
        function.logged(|line| line["level"] == "ERROR");
        assert!(
            !failed.error_message.contains(SECRET) && !function.log().join("").contains(SECRET),
            "{name}"
        );
        assert_eq!(function.emulator.writes(), []);
    }
    assert!(
        function
            .requests()
            .iter()
            .all(|request| !request.contains("WithDecryption"))
    );
}

#[test]
fn lists_are_separated_by_commas_and_white_space_line_ends_included() {
    for list in [
        "444455556666,222233334444",
        "444455556666\n222233334444\n",
        "\t444455556666 ,\r\n, 222233334444\r\n",
        "\x0c444455556666\x0c222233334444",
    ] {
        let mut function = world(&[("groups/team", list)])
            .image(share("@team"))
            .start();
        assert_eq!(function.look()["Outcome"], "applied", "{list:?}");
        assert_eq!(
            function.grantees(IMAGE),
            ["222233334444", "444455556666"],
            "{list:?}"
        );

        let allowed = World::new()
            .setting("ALLOWED_GRANTEES_PARAMETER", "/security/amis")
            .image(share("222233334444 444455556666"));
        allowed
            .emulator
            .put_parameter("/security/amis", list, ParameterType::StringList);
        assert_eq!(allowed.start().look()["Outcome"], "applied", "{list:?}");
    }
    // A blank of another script is none, and is shown.
    let mut function = world(&[("groups/team", "444455556666\u{a0}222233334444")])
        .image(share("@team"))
        .start();
    let message = refusal_message(&function.look(), "invalid-directive");
    assert!(
        message.contains(r#""444455556666\u{a0}222233334444""#),
        "{message}"
    );
}

#[test]
fn a_rule_of_nothing_but_separators_states_nothing() {
    let of_nothing = r#"[{"Match": {}, "LaunchPermission": " , ", "CopyPermission": " "},
        {"Match": {}, "LaunchPermission": "444455556666", "CopyPermission": "444455556666"}]"#;
    let mut function = world(&[("rules", of_nothing)])
        .setting("ALLOWED_COPIERS", "*")
        .image(Image::new(IMAGE))
        .start();
    let entry = function.look();
    assert_eq!(function.grantees(IMAGE), [ALICE], "{entry:#}");
    assert_eq!(entry["Changes"].as_array().unwrap().len(), 2, "{entry:#}");
    let alone = r#"[{"Match": {}, "LaunchPermission": ","}]"#;
    let mut function = world(&[("rules", alone)]).image(Image::new(IMAGE)).start();
    assert_eq!(function.look()["Reason"], "no-directives");
}

#[test]
fn a_group_of_nothing_is_broken() {
    for list in [",", " , ", "\n"] {
        let mut function = world(&[("groups/team", list)])
            .image(share("= @team").granted("444455556666"))
            .start();
        assert_eq!(codes(&function.look()), ["invalid-directive"], "{list:?}");
        assert_eq!(function.grantees(IMAGE), ["444455556666"]);
    }
}

#[test]
fn null_in_a_rule_stops_the_invocation_and_names_the_place() {
    for (rules, place) in [
        (r#"[{"Match": null, "Description": "d"}]"#, "[0].Match"),
        (
            r#"[{"Match": {"Name": null}, "Description": "d"}]"#,
            "[0].Match.Name",
        ),
        (
            r#"[{"Match": {"Tags": null}, "Description": "d"}]"#,
            "[0].Match.Tags",
        ),
        (
            r#"[{"Match": {"Tags": {"os": null}}, "Description": "d"}]"#,
            "[0].Match.Tags.os",
        ),
        (r#"[{"Match": {}, "Description": null}]"#, "[0].Description"),
        (
            r#"[{"Match": {}}, {"Match": {}, "LaunchPermission": null}]"#,
            "[1].LaunchPermission",
        ),
        (
            r#"[{"Match": {}, "SharedTags": {"a": null}}]"#,
            "[0].SharedTags.a",
        ),
        (r#"[{"Match": {}, "Name": null}]"#, "[0].Name"),
    ] {
        let mut function = world(&[("rules", rules)])
            .image(share("444455556666"))
            .start();
        let failed = function.try_invoke(&event("ami-available")).unwrap_err();
        assert_eq!(failed.error_type, "InvalidPolicy");
        let expected =
            format!("/ami-warden/rules: {place}: null is not a value; leave the key out");
        assert!(
            failed.error_message.starts_with(&expected),
            "{rules}: {}",
            failed.error_message
        );
        assert!(function.emulator.writes().is_empty());
    }
    let rules = r#"[{"Match": {"Tags": {"os": ["a", null]}}, "Description": "d"}]"#;
    let failed = world(&[("rules", rules)])
        .start()
        .try_invoke(&event("ami-available"))
        .unwrap_err();
    let expected = "/ami-warden/rules: [0].Match.Tags.os[1]: null is not a value; take it out";
    assert!(
        failed.error_message.starts_with(expected),
        "{}",
        failed.error_message
    );
}

#[test]
fn a_key_twice_in_a_rule_stops_the_invocation() {
    let rules = r#"[{"Match": {"Name": "a"}, "Match": {}, "LaunchPermission": "444455556666"}]"#;
    let mut function = world(&[("rules", rules)]).image(Image::new(IMAGE)).start();
    let failed = function.try_invoke(&event("ami-available")).unwrap_err();
    assert_eq!(failed.error_type, "InvalidPolicy");
    assert!(
        failed.error_message.contains("\"Match\" stands twice"),
        "{}",
        failed.error_message
    );
}

#[test]
fn shared_tags_can_neither_be_matched_nor_used() {
    for (rule, place) in [
        (
            r#"{"Match": {"Tags": {"ec2:SharedTag/release": "stable"}}, "LaunchPermission": "all"}"#,
            "[0].Match.Tags.ec2:SharedTag/release",
        ),
        (
            r#"{"Match": {}, "Description": "{tag:ec2:SharedTag/release}"}"#,
            "[0].Description",
        ),
        (
            r#"{"Match": {}, "SharedTags": {"a": "{tag:ec2:SharedTag/release}"}}"#,
            "[0].SharedTags.a",
        ),
    ] {
        // On a copy the tag is the word of the account that shared the image.
        let image = Image::new(IMAGE).tag("ec2:SharedTag/release", "stable");
        let mut function = world(&[("rules", &format!("[{rule}]"))])
            .image(image)
            .start();
        let failed = function.try_invoke(&event("ami-available")).unwrap_err();
        assert_eq!(failed.error_type, "InvalidPolicy");
        assert!(
            failed
                .error_message
                .starts_with(&format!("/ami-warden/rules: {place}: ")),
            "{}",
            failed.error_message
        );
        assert!(function.emulator.writes().is_empty());
    }
    let image = Image::new(IMAGE)
        .tag("ec2:SharedTag/release", "stable")
        .tag("ami-warden:description", "{tag:ec2:SharedTag/release}");
    assert_eq!(
        codes(&World::new().image(image).start().look()),
        ["invalid-directive"]
    );
}

#[test]
fn rules_can_be_divided_among_parameters_and_are_taken_in_the_order_of_their_names() {
    let rule = |name: &str, text: &str| {
        format!(r#"[{{"Name": "{name}", "Match": {{}}, "Description": "{text}"}}]"#)
    };
    let (first, b, a) = (rule("first", ""), rule("b", "by b"), rule("a", "by a"));
    let mut function = world(&[("rules", &first), ("rules/b", &b), ("rules/a", &a)])
        .image(Image::new(IMAGE))
        .start();
    let entry = function.look();
    // An empty value states nothing.
    assert_eq!(
        entry["Directives"],
        json!([{ "Attribute": "description", "Value": "by a", "Sources": ["a"] }])
    );
}

#[test]
fn the_allow_list_in_a_parameter_may_hold_items_with_a_minus() {
    let world = World::new().setting("ALLOWED_GRANTEES_PARAMETER", "/security/amis");
    world.emulator.put_parameter(
        "/security/amis",
        "*,-444455556666",
        ParameterType::StringList,
    );
    let mut function = world.image(share("444455556666")).start();
    assert_eq!(codes(&function.look()), ["grantee-not-allowed"]);
    function.emulator.add(share("222233334444"));
    assert_eq!(function.look()["Outcome"], "applied");
}

#[test]
fn a_change_of_the_allow_list_sets_off_a_sweep_and_one_that_is_superseded_is_ignored() {
    let world = World::new()
        .setting("ALLOWED_GRANTEES_PARAMETER", "/security/ami-grantees")
        .image(share("444455556666"));
    let at = |second: u32| format!("2026-11-21T16:30:{second:02}Z").parse().unwrap();
    let list = |value: &str, second: u32| {
        Parameter::new("/security/ami-grantees", value, ParameterType::StringList)
            .modified(at(second))
    };
    world.emulator.put(list("222233334444", 26));
    let mut function = world.start();
    // The event's change was at second 25.
    let answer = function.invoke(&event("allow-list-changed"));
    assert_eq!(answer["Trigger"], "ignored");
    assert!(
        answer["Reason"].as_str().unwrap().starts_with("superseded"),
        "{answer}"
    );
    assert_eq!(function.counts(), [("GetParameter".to_owned(), 1)].into());
    function.emulator.put(list("444455556666", 25));
    let answer = function.invoke(&event("allow-list-changed"));
    assert_eq!(
        (&answer["Trigger"], &answer["Summary"]),
        (&json!("policy-change"), &json!({ "applied": 1 }))
    );
}
