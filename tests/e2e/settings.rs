//! Settings: what they change, and that a bad one stops the start.

use serde_json::{Value, json};

use crate::world::*;

/// Values of every setting, held against the code by the tests of `src/run/settings.rs`.
const SETTINGS: &str = "deploy/tests/settings.json";

/// Starts with these settings and expects that this does not succeed, for a reason that names
/// variable, value, and what is allowed.
#[track_caller]
fn check_bad(settings: &[(&str, &str)], variable: &str, allowed: &str) {
    let value = settings
        .iter()
        .find(|(name, _)| *name == variable)
        .unwrap()
        .1;
    let world = settings.iter().fold(World::new(), |world, (name, value)| {
        world.setting(name, value)
    });
    let (code, log) = world.start().ended();
    assert!(code.is_some_and(|code| code != 0), "{settings:?}: {code:?}");
    let lines: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let [line] = lines.as_slice() else {
        panic!("{settings:?}: {log:?}")
    };
    assert_eq!(line["level"], "ERROR");
    let message = line["message"].as_str().unwrap();
    let (head, why) = message
        .split_once(" is not allowed: ")
        .unwrap_or_else(|| panic!("{message}"));
    // A long value is cut where it is shown.
    let shown = value.get(..100).unwrap_or(value);
    let whole = format!("{variable}={value:?}");
    let cut = format!("{variable}={shown:?}… ({} characters)", value.len());
    assert_eq!(head, if shown == value { whole } else { cut });
    assert!(why.contains(allowed), "{message}");
}

#[test]
fn a_bad_setting_stops_the_start_and_is_named_with_its_value_and_what_is_allowed() {
    for (variable, row) in json_file(SETTINGS).as_object().unwrap() {
        for refused in row["refused"].as_array().unwrap() {
            let [value, allowed] = [0, 1].map(|part| refused[part].as_str().unwrap());
            check_bad(&[(variable, value)], variable, allowed);
        }
    }
    for (variable, value, allowed) in [
        (
            "AWS_LAMBDA_LOG_LEVEL",
            "LOUD",
            "TRACE, DEBUG, INFO, WARN, ERROR or FATAL",
        ),
        ("AWS_LAMBDA_LOG_FORMAT", "XML", "JSON or Text"),
    ] {
        check_bad(&[(variable, value)], variable, allowed);
    }
}

#[test]
fn settings_that_do_not_go_together_stop_the_start() {
    let both = [
        ("ALLOWED_GRANTEES", "*"),
        ("ALLOWED_GRANTEES_PARAMETER", "/security/amis"),
    ];
    check_bad(
        &both,
        "ALLOWED_GRANTEES_PARAMETER",
        "ALLOWED_GRANTEES is set too",
    );
    let below = [
        ("POLICY_PATH", "/ami-warden"),
        ("ALLOWED_GRANTEES_PARAMETER", "/ami-warden/allowed"),
    ];
    check_bad(&below, "ALLOWED_GRANTEES_PARAMETER", "below POLICY_PATH");
    let status = [("TAG_PREFIX", "team/"), ("STATUS_TAG", "team/status")];
    check_bad(&status, "STATUS_TAG", "outside");
}

#[test]
fn an_empty_setting_is_as_good_as_none() {
    let image = share("all 444455556666 -222233334444").granted(BOB);
    let mut unset = World::new().image(image.clone()).start();
    let settings = json_file(SETTINGS);
    let names = settings.as_object().unwrap().keys().map(String::as_str);
    let mut world = World::new().image(image);
    for name in names.chain(["AWS_LAMBDA_LOG_LEVEL", "AWS_LAMBDA_LOG_FORMAT"]) {
        world = world.setting(name, "");
    }
    let mut empty = world.start();
    let answer = empty.invoke(&event("ami-available"));
    assert_eq!(answer, unset.invoke(&event("ami-available")));
    // The defaults: nothing may be added, everything may be removed, and it is done.
    let entry = only_entry(&answer);
    assert_eq!(codes(&entry), ["public-not-allowed", "grantee-not-allowed"]);
    assert_holds(
        &entry["Changes"][0],
        &json!({ "Remove": [BOB], "Confirmed": true }),
    );
}

#[test]
fn the_tag_prefix_decides_which_tags_are_directives() {
    let image = Image::new(IMAGE)
        .tag("ami-warden:description", "not this")
        .tag("team/description", "this")
        .tag("team/typo", "");
    let mut function = World::new()
        .setting("TAG_PREFIX", "team/")
        .image(image)
        .start();
    let entry = function.look();
    assert_eq!(
        refusals(&entry),
        [(
            "team/typo".to_owned(),
            "invalid-directive".to_owned(),
            "team/typo".to_owned()
        )]
    );
    let write = modify(IMAGE, [("Description.Value", "this")]);
    assert_eq!(
        function.requests(),
        [describe(IMAGE), write, describe(IMAGE)]
    );
    // A sweep asks for tags with this prefix.
    function.invoke(&event("sweep"));
    let filters: Vec<_> = function
        .emulator
        .calls()
        .iter()
        .filter_map(|call| call.param("Filter.1.Value.1").map(str::to_owned))
        .collect();
    assert!(filters.contains(&"team/*".to_owned()), "{filters:?}");
}

#[test]
fn max_removals_limits_each_image_for_itself() {
    let image = |id: &str| {
        Image::new(id)
            .tag(
                "ami-warden:launch-permission",
                "-222233334444 -444455556666",
            )
            .granted(BOB)
    };
    let world = World::new()
        .setting("MAX_REMOVALS", "1")
        .image(image("ami-00000001"))
        .image(image("ami-00000002"));
    let mut function = world.image(image("ami-00000003").granted(ALICE)).start();
    let answer =
        function.invoke(&json!({ "ImageIds": ["ami-00000001", "ami-00000002", "ami-00000003"] }));
    assert_eq!(answer["Summary"], json!({ "applied": 2, "refused": 1 }));
    // What was refused comes first.
    assert_eq!(answer["Images"][0]["ImageId"], "ami-00000003");
    assert_eq!(codes(&answer["Images"][0]), ["too-many-removals"]);
}

#[test]
fn the_organization_completes_short_forms_also_in_the_allow_list() {
    let settings = [
        ("ORGANIZATION_ARN", ORGANIZATION),
        ("ALLOWED_GRANTEES", "o-exampleorgid,ou-ab12-cdef3456"),
    ];
    let world = settings.iter().fold(World::new(), |world, (name, value)| {
        world.setting(name, value)
    });
    let mut function = world
        .image(share("ou-ab12-cdef3456 o-exampleorgid"))
        .start();
    assert_eq!(function.look()["Outcome"], "applied");
    assert_eq!(
        function.requests()[2],
        modify(
            IMAGE,
            [
                ("LaunchPermission.Add.1.OrganizationArn", ORGANIZATION),
                ("LaunchPermission.Add.2.OrganizationalUnitArn", UNIT)
            ]
        )
    );
}

#[test]
fn the_allow_list_can_be_kept_in_a_parameter() {
    let world = World::new()
        .setting("ALLOWED_GRANTEES_PARAMETER", "/security/amis")
        .image(share("444455556666"));
    let mut function = world.start();
    let failed = function.try_invoke(&event("ami-available")).unwrap_err();
    assert_eq!(failed.error_type, "InvalidPolicy");
    assert!(
        failed.error_message.contains("/security/amis"),
        "{failed:?}"
    );
    function.emulator.put_parameter(
        "/security/amis",
        "222233334444",
        ec2_emulator::ParameterType::StringList,
    );
    assert_eq!(codes(&function.look()), ["grantee-not-allowed"]);
    function.emulator.put_parameter(
        "/security/amis",
        "222233334444,444455556666",
        ec2_emulator::ParameterType::StringList,
    );
    assert_eq!(function.look()["Outcome"], "applied");
}

#[test]
fn the_region_says_in_which_partition_arns_must_be() {
    let chinese = ORGANIZATION.replace("arn:aws:", "arn:aws-cn:");
    let start = |region: &str| {
        World::new()
            .permissive()
            .setting("AWS_REGION", region)
            .image(share(&chinese))
            .start()
    };
    let mut function = start("cn-north-1");
    assert_eq!(function.look()["Outcome"], "applied");
    assert_eq!(
        function.requests()[2],
        modify(
            IMAGE,
            [("LaunchPermission.Add.1.OrganizationArn", &chinese)]
        )
    );
    for region in ["us-east-1", "us-gov-west-1"] {
        let entry = start(region).look();
        assert_eq!(codes(&entry), ["invalid-directive"], "{region}");
        assert!(refusal_message(&entry, "invalid-directive").contains("aws-cn"));
    }
}

#[test]
fn allow_public_lifts_only_its_own_guardrail() {
    let mut function = World::new()
        .setting("ALLOW_PUBLIC", "true")
        .image(share("all 444455556666"))
        .start();
    assert_eq!(codes(&function.look()), ["grantee-not-allowed"]);
    assert_eq!(function.emulator.writes(), []);
}

#[test]
fn every_service_can_have_an_endpoint_of_its_own() {
    let world = World::new()
        .image(share("-all"))
        .setting("ALLOWED_GRANTEES_PARAMETER", "/security/amis");
    world.emulator.put_parameter(
        "/security/amis",
        "444455556666",
        ec2_emulator::ParameterType::StringList,
    );
    let url = world.emulator.url();
    let world = world
        .setting("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .setting("AWS_ENDPOINT_URL_EC2", &url);
    let mut function = world.setting("AWS_ENDPOINT_URL_SSM", &url).start();
    assert_eq!(function.look()["Outcome"], "unchanged");
}

#[test]
fn credentials_that_are_not_in_the_environment_are_looked_for_where_the_sdk_looks() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/credentials");
    std::fs::write(
        file,
        "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = opens-nothing\n",
    )
    .unwrap();
    let world = World::new()
        .image(share("-all"))
        .setting("AWS_ACCESS_KEY_ID", "");
    let mut function = world.setting("AWS_SHARED_CREDENTIALS_FILE", file).start();
    assert_eq!(function.look()["Outcome"], "unchanged");
}
