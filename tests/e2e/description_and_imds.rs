//! The directives `description`, `imds-support` and `hold`, and keys that are none.

use serde_json::json;

use crate::world::*;

const DESCRIPTION: &str = "ami-warden:description";
const IMDS: &str = "ami-warden:imds-support";

fn described(text: &str) -> Image {
    Image::new(IMAGE).tag(DESCRIPTION, text)
}

#[test]
fn a_description_is_written_with_one_read_before_one_write_and_one_after_it() {
    let mut function = World::new().image(described("stable")).start();
    let answer = function.invoke(&event("ami-available"));
    assert_eq!(
        only_entry(&answer),
        json!({
            "ImageId": IMAGE,
            "Outcome": "applied",
            "Changes": [{ "Attribute": "description", "From": null, "To": "stable" }],
            "Refusals": []
        })
    );
    let steps = [
        describe(IMAGE),
        modify(IMAGE, [("Description.Value", "stable")]),
        describe(IMAGE),
    ];
    assert_eq!(function.requests(), steps);
    assert_eq!(
        function
            .emulator
            .image(IMAGE)
            .unwrap()
            .description
            .as_deref(),
        Some("stable")
    );
}

#[test]
fn a_description_as_wanted_is_left_alone_and_another_one_is_replaced() {
    let mut function = World::new()
        .image(described("stable").description("stable"))
        .start();
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "unchanged", "Changes": [] }),
    );
    assert_eq!(function.requests(), [describe(IMAGE)]);
    function
        .emulator
        .add(described("stable").description("Stable"));
    assert_eq!(
        function.look()["Changes"],
        json!([{ "Attribute": "description", "From": "Stable", "To": "stable" }])
    );
    let steps = [
        describe(IMAGE),
        modify(IMAGE, [("Description.Value", "stable")]),
        describe(IMAGE),
    ];
    assert_eq!(function.requests(), steps);
}

#[test]
fn every_placeholder_is_filled_in() {
    let mut function = World::new().start();
    let created = "2026-11-21T16:30:25Z".parse().unwrap();
    for (text, filled) in [
        ("{Name}", "golden"),
        ("{ImageId}", IMAGE),
        ("{CreationDate}", "2026-11-21T16:30:25.000Z"),
        ("{SourceImageId}", "ami-00000001"),
        ("{Architecture}", "x86_64"),
        ("{tag:version}", "7"),
        ("{tag:team: a/b}", "blue"),
        ("{Name}, {tag:version}; {Name}!", "golden, 7; golden!"),
        // A value is not looked into again.
        ("{tag:braces}", "{Name}"),
    ] {
        let image = described(text)
            .name("golden")
            .created(created)
            .copied_from("ami-00000001");
        function.emulator.add(
            image
                .tag("version", "7")
                .tag("team: a/b", "blue")
                .tag("braces", "{Name}"),
        );
        assert_eq!(function.look()["Changes"][0]["To"], filled, "{text}");
        assert_eq!(
            function.requests()[1],
            modify(IMAGE, [("Description.Value", filled)])
        );
    }
}

#[test]
fn a_description_that_cannot_be_is_refused_and_nothing_is_written() {
    let mut function = World::new().start();
    let long = "x".repeat(256);
    for (text, named) in [
        ("{name}", "{name}"),
        ("{Owner}", "{Owner}"),
        ("{}", "{}"),
        ("{tag:}", "{tag:}"),
        ("{tag:version}", "{tag:version}"),
        ("{tag:nothing}", "{tag:nothing}"),
        ("{SourceImageId}", "{SourceImageId}"),
        ("{Name", "{Name"),
        ("Name}", "Name}"),
        ("{{Name}}", "{"),
        ("  ", "empty"),
        ("grün", "ü"),
        ("{tag:umlaut}", "ü"),
        (long.as_str(), "255"),
        ("{tag:long}x", "255"),
    ] {
        let image = described(text)
            .name("golden")
            .tag("umlaut", "grün")
            .tag("nothing", "")
            .tag("long", &"x".repeat(255));
        function.emulator.add(image);
        let entry = function.look();
        let expected = (
            "description".to_owned(),
            "invalid-directive".to_owned(),
            DESCRIPTION.to_owned(),
        );
        assert_eq!(refusals(&entry), [expected], "{text}");
        let message = refusal_message(&entry, "invalid-directive");
        assert!(
            message.contains(DESCRIPTION) && message.contains(named),
            "{text}: {message}"
        );
        assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
        assert_eq!(function.requests(), [describe(IMAGE)], "{text}");
    }
}

#[test]
fn a_description_may_have_255_characters() {
    let text = "x".repeat(255);
    let mut function = World::new().image(described(&text)).start();
    assert_eq!(function.look()["Outcome"], "applied");
    assert_eq!(
        function.requests()[1],
        modify(IMAGE, [("Description.Value", &text)])
    );
}

#[test]
fn imds_support_is_set_once_and_then_left_alone() {
    let mut function = World::new()
        .image(Image::new(IMAGE).tag(IMDS, "v2.0"))
        .start();
    let answer = function.invoke(&event("ami-available"));
    assert_eq!(
        only_entry(&answer),
        json!({
            "ImageId": IMAGE,
            "Outcome": "applied",
            "Changes": [{ "Attribute": "imdsSupport", "From": null, "To": "v2.0" }],
            "Refusals": []
        })
    );
    let steps = [
        describe(IMAGE),
        modify(IMAGE, [("ImdsSupport.Value", "v2.0")]),
        describe(IMAGE),
    ];
    assert_eq!(function.requests(), steps);
    assert_eq!(function.look()["Outcome"], "unchanged");
    assert_eq!(function.requests(), [describe(IMAGE)]);
}

#[test]
fn imds_support_is_v2_0_and_nothing_else() {
    let mut function = World::new().start();
    for value in ["V2.0", "v2", "2.0", "v1.0", " v2.0", "required", " "] {
        function.emulator.add(Image::new(IMAGE).tag(IMDS, value));
        let entry = function.look();
        let expected = (
            "imdsSupport".to_owned(),
            "invalid-directive".to_owned(),
            IMDS.to_owned(),
        );
        assert_eq!(refusals(&entry), [expected], "{value:?}");
        assert!(refusal_message(&entry, "invalid-directive").contains(&format!("\"{value}\"")));
        assert_eq!(
            (&entry["Outcome"], function.requests()),
            (&json!("refused"), vec![describe(IMAGE)]),
            "{value:?}"
        );
    }
}

#[test]
fn empty_tags_are_no_opinion() {
    let image = Image::new(IMAGE)
        .tag(DESCRIPTION, "")
        .tag(IMDS, "")
        .tag("ami-warden:hold", "")
        .tag("ami-warden:launch-permission", "");
    let mut function = World::new().image(image.description("kept")).start();
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "skipped", "Reason": "no-directives" }),
    );
    assert_eq!(function.requests(), [describe(IMAGE)]);
}

#[test]
fn a_held_image_is_left_alone_whatever_its_tags_say() {
    let image = described("new")
        .tag("ami-warden:launch-permission", "all")
        .tag("ami-warden:typo", "x")
        .tag("ami-warden:hold", "no");
    let mut function = World::new().permissive().image(image).start();
    let entry = only_entry(&function.invoke(&event("ami-available")));
    assert_eq!(
        entry,
        json!({
            "ImageId": IMAGE,
            "Outcome": "skipped",
            "Reason": "hold",
            "Changes": [],
            "Refusals": []
        })
    );
    assert_eq!(function.requests(), [describe(IMAGE)]);
}

#[test]
fn an_empty_hold_holds_nothing() {
    let mut function = World::new()
        .image(described("new").tag("ami-warden:hold", ""))
        .start();
    assert_eq!(function.look()["Outcome"], "applied");
}

#[test]
fn a_mistyped_key_is_refused_by_its_full_name_even_when_empty_and_the_rest_goes_on() {
    let mut function = World::new().start();
    for key in [
        "ami-warden:descripton",
        "ami-warden:launch-permissions",
        "ami-warden:Description",
        "ami-warden:description:a",
        "ami-warden:",
        "ami-warden:imds_support",
    ] {
        for value in ["x", ""] {
            function.emulator.add(described("new").tag(key, value));
            let entry = function.look();
            assert_eq!(
                refusals(&entry),
                [(
                    key.to_owned(),
                    "invalid-directive".to_owned(),
                    key.to_owned()
                )]
            );
            assert!(refusal_message(&entry, "invalid-directive").contains(&format!("\"{key}\"")));
            assert_holds(&entry, &json!({ "Outcome": "applied" }));
            let steps = [
                describe(IMAGE),
                modify(IMAGE, [("Description.Value", "new")]),
                describe(IMAGE),
            ];
            assert_eq!(function.requests(), steps, "{key}");
        }
    }
    // Alone it is a refusal as well, and no lack of directives.
    function
        .emulator
        .add(Image::new(IMAGE).tag("ami-warden:lunch-permission", ""));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "refused", "Changes": [] }),
    );
    // Without the prefix it is a tag like any other.
    function.emulator.add(
        Image::new(IMAGE)
            .tag("ami-wardens:description", "x")
            .tag("AMI-WARDEN:hold", "x"),
    );
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "skipped", "Reason": "no-directives" }),
    );
}

#[test]
fn what_is_refused_of_one_attribute_leaves_the_others_alone() {
    let image = described("{nope}")
        .tag(IMDS, "v3.0")
        .tag("ami-warden:launch-permission", ALICE);
    let mut function = World::new().permissive().image(image).start();
    let entry = function.look();
    assert_eq!(entry["Outcome"], "applied");
    assert_eq!(entry["Changes"][0]["Attribute"], "launchPermission");
    let attributes: Vec<_> = refusals(&entry)
        .into_iter()
        .map(|(attribute, ..)| attribute)
        .collect();
    assert_eq!(attributes, ["description", "imdsSupport"]);
    let write = vec![modify(IMAGE, [("LaunchPermission.Add.1.UserId", ALICE)])];
    let steps = [
        vec![describe(IMAGE)],
        vec![describe_permissions(IMAGE)],
        write,
        read_back(IMAGE),
    ];
    assert_steps(function.requests(), steps);
}

#[test]
fn a_mistyped_hold_with_a_value_is_refused_and_holds_the_image() {
    let mut function = World::new().permissive().start();
    for key in [
        "ami-warden:hold ",
        "ami-warden:Hold",
        "ami-warden: HOLD",
        "ami-warden:holD",
    ] {
        let image = || {
            described("new")
                .tag("ami-warden:launch-permission", "-222233334444 all")
                .granted(BOB)
        };
        function.emulator.add(image().tag(key, "until Monday"));
        for event in [
            event("look"),
            event("look-dry-run"),
            event("ami-available"),
            event("sweep"),
        ] {
            let entry = only_entry(&function.invoke(&event));
            assert_eq!(
                refusals(&entry),
                [(
                    key.to_owned(),
                    "invalid-directive".to_owned(),
                    key.to_owned()
                )]
            );
            assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
        }
        assert_eq!(function.emulator.writes(), [], "{key:?}");
        // Without a value it is a typing mistake like any other, and holds nothing.
        function.emulator.add(described("new").tag(key, ""));
        let entry = function.look();
        assert_eq!(
            refusals(&entry),
            [(
                key.to_owned(),
                "invalid-directive".to_owned(),
                key.to_owned()
            )]
        );
        assert_eq!(entry["Changes"][0]["Attribute"], "description");
        function.requests();
    }
    // Spelt right beside it: held.
    function.emulator.add(
        described("new")
            .tag("ami-warden:hold", "x")
            .tag("ami-warden:Hold", "x"),
    );
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "skipped", "Reason": "hold" }),
    );
}
