//! Bad input: an error that says where the mistake is, or a refusal; never silence, and no request
//! to EC2.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::*;

/// Sends the text and expects an error of this type whose message begins with the path of the field
/// and holds the rest.
#[track_caller]
fn check(function: &mut Function, event: &str, error_type: &str, path: &str, holds: &str) {
    let failed = function
        .invoke_for(Duration::from_secs(10), event)
        .unwrap_err();
    assert_eq!(failed.error_type, error_type, "{event}: {failed:?}");
    let message = &failed.error_message;
    assert!(
        message.starts_with(&format!("{path}: ")) && message.contains(holds),
        "{event}: {message}"
    );
    assert_eq!(function.requests(), [] as [String; 0], "{event}");
}

/// The event with the field at this JSON pointer replaced, or taken out.
fn with(name: &str, pointer: &str, value: Option<Value>) -> String {
    let mut event = event(name);
    match value {
        Some(value) => *event.pointer_mut(pointer).unwrap() = value,
        None => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            event
                .pointer_mut(parent)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(key)
                .unwrap();
        }
    }
    event.to_string()
}

#[test]
fn what_is_no_json_is_an_invalid_request() {
    let mut function = World::new().start();
    for event in [
        "",
        "{",
        "{\"ImageId\": ",
        "ami-0123456789abcdef0",
        "{'ImageId': 'ami-00000001'}",
    ] {
        let failed = function
            .invoke_for(Duration::from_secs(10), event)
            .unwrap_err();
        assert_eq!(failed.error_type, "InvalidRequest", "{event}");
        assert!(
            failed.error_message.starts_with("the event is not JSON: "),
            "{event}: {failed:?}"
        );
    }
    assert_eq!(function.requests(), [] as [String; 0]);
    // The process lives on.
    assert_eq!(function.look()["Reason"], "not-found");
}

#[test]
fn json_that_asks_for_nothing_is_an_invalid_request() {
    let mut function = World::new().start();
    for (event, path, holds) in [
        ("null", "the event", "expected an object, got null"),
        ("[]", "the event", "expected an object, got a list"),
        ("\"x\"", "the event", "expected an object"),
        ("7", "the event", "expected an object"),
        ("{}", "the event", "ImageId, ImageIds, Sweep"),
        (
            r#"{"DryRun": true}"#,
            "the event",
            "ImageId, ImageIds, Sweep",
        ),
        (
            r#"{"ImageIds": []}"#,
            "the event",
            "ImageId, ImageIds, Sweep",
        ),
        (r#"{"Imageid": "ami-00000001"}"#, "Imageid", "unknown key"),
        (r#"{"hello": "world"}"#, "hello", "unknown key"),
        (
            r#"{"ImageId": "ami-00000001", "ImageIds": ["ami-00000002"]}"#,
            "the event",
            "ImageId goes alone",
        ),
        (
            r#"{"ImageId": "ami-00000001", "Sweep": {}}"#,
            "the event",
            "ImageId goes alone",
        ),
        (
            r#"{"Sweep": {"Before": "ami-00000001"}}"#,
            "Sweep.Before",
            "unknown key",
        ),
        (r#"{"Sweep": true}"#, "Sweep", "expected an object"),
        (
            r#"{"Sweep": {"After": "ami-1"}}"#,
            "Sweep.After",
            "\"ami-1\"",
        ),
        (
            r#"{"ImageIds": "ami-00000001"}"#,
            "ImageIds",
            "expected a list",
        ),
        (r#"{"ImageId": 7}"#, "ImageId", "expected a string, got 7"),
    ] {
        check(&mut function, event, "InvalidRequest", path, holds);
    }
}

#[test]
fn a_recognised_event_without_what_is_needed_is_an_invalid_event_that_names_the_field() {
    let mut function = World::new().setting("POLICY_PATH", "/ami-warden").start();
    for (name, path) in [
        ("ami-available", "detail.ImageId"),
        ("ami-available", "detail.State"),
        ("call-create-image", "detail.responseElements.imageId"),
        ("call-copy-image", "detail.responseElements.imageId"),
        ("call-register-image", "detail.responseElements.imageId"),
        ("call-create-image", "detail.responseElements"),
        ("call-create-image", "detail.eventName"),
        ("call-create-image", "detail.eventSource"),
        ("call-create-tags", "detail.requestParameters"),
        ("call-create-tags", "detail.requestParameters.resourcesSet"),
        (
            "call-delete-tags",
            "detail.requestParameters.resourcesSet.items",
        ),
        ("tag-changed", "detail.service"),
        ("tag-changed", "detail.resource-type"),
        ("parameter-changed", "detail.name"),
    ] {
        let pointer = format!("/{}", path.replace('.', "/"));
        check(
            &mut function,
            &with(name, &pointer, None),
            "InvalidEvent",
            path,
            "missing",
        );
        // Null is as good as missing.
        check(
            &mut function,
            &with(name, &pointer, Some(Value::Null)),
            "InvalidEvent",
            path,
            "missing",
        );
        // And so is something of another kind.
        check(
            &mut function,
            &with(name, &pointer, Some(json!(7))),
            "InvalidEvent",
            path,
            "got 7",
        );
    }
    check(
        &mut function,
        &with("tag-changed", "/resources", Some(json!([]))),
        "InvalidEvent",
        "resources[0]",
        "missing",
    );
    check(
        &mut function,
        &with("tag-changed", "/resources", None),
        "InvalidEvent",
        "resources[0]",
        "missing",
    );
    check(
        &mut function,
        &with("ami-available", "/detail", Some(json!([]))),
        "InvalidEvent",
        "detail",
        "expected an object",
    );
    let event = with(
        "call-create-tags",
        "/detail/requestParameters/resourcesSet/items/0",
        Some(json!({ "id": IMAGE })),
    );
    let path = "detail.requestParameters.resourcesSet.items[0].resourceId";
    check(&mut function, &event, "InvalidEvent", path, "missing");
}

#[test]
fn an_image_id_that_is_none_is_an_error_that_names_it_and_where_it_stands() {
    let mut function = World::new().start();
    for id in [
        "",
        "ami-",
        "ami-1234567",
        "ami-123456789",
        "ami-0123456789abcdef01",
        "ami-0123456789ABCDEF0",
        "AMI-0123456789abcdef0",
        "ami-0123456789abcdeg0",
        "i-0123456789abcdef0",
        " ami-0123456789abcdef0",
        "ami-0123456789abcdef0\n",
        "ami-*",
    ] {
        let quoted = format!("{id:?}");
        let bus = |name: &str, pointer: &str| with(name, pointer, Some(json!(id)));
        check(
            &mut function,
            &bus("ami-available", "/detail/ImageId"),
            "InvalidEvent",
            "detail.ImageId",
            &quoted,
        );
        let path = "detail.responseElements.imageId";
        check(
            &mut function,
            &bus("call-copy-image", "/detail/responseElements/imageId"),
            "InvalidEvent",
            path,
            &quoted,
        );
        check(
            &mut function,
            &bus("custom-look", "/detail/ImageId"),
            "InvalidEvent",
            "detail.ImageId",
            &quoted,
        );
        check(
            &mut function,
            &json!({ "ImageId": id }).to_string(),
            "InvalidRequest",
            "ImageId",
            &quoted,
        );
        let list = json!({ "ImageIds": [IMAGE, id] });
        check(
            &mut function,
            &list.to_string(),
            "InvalidRequest",
            "ImageIds[1]",
            &quoted,
        );
        let arn = format!("arn:aws:ec2:us-east-1::image/{id}");
        let tag = with("tag-changed", "/resources/0", Some(json!(arn)));
        check(
            &mut function,
            &tag,
            "InvalidEvent",
            "resources[0]",
            &format!("{arn:?} is not the ARN of an image"),
        );
    }
    // Among the resources of a call only what claims to be an image must be one.
    let path = "detail.requestParameters.resourcesSet.items[3].resourceId";
    let pointer = "/detail/requestParameters/resourcesSet/items/3/resourceId";
    check(
        &mut function,
        &with(
            "call-create-tags-mixed-resources",
            pointer,
            Some(json!("ami-12")),
        ),
        "InvalidEvent",
        path,
        "\"ami-12\"",
    );
}

#[test]
fn custom_events_hold_a_look_or_a_sweep_and_nothing_else() {
    let mut function = World::new().permissive().image(Image::new(IMAGE)).start();
    for (detail, path, holds) in [
        (json!({}), "detail", "nothing is asked for"),
        (json!({ "Imageid": IMAGE }), "detail.Imageid", "unknown key"),
        (
            json!({ "ImageId": IMAGE, "x": 1 }),
            "detail.x",
            "unknown key",
        ),
        (json!("{}"), "detail", "expected an object"),
        (
            json!({ "Sweep": { "x": 1 } }),
            "detail.Sweep.x",
            "unknown key",
        ),
        // A permission to put events must not take access away.
        (
            json!({ "ImageId": IMAGE, "LaunchPermission": { "Remove": [{ "Group": "all" }] } }),
            "detail.LaunchPermission",
            "not taken from the event bus",
        ),
        (
            json!({ "ImageId": IMAGE, "Attribute": "description", "Value": "x" }),
            "detail.Attribute",
            "not taken from the event bus",
        ),
        (
            json!({ "ImageId": IMAGE, "Description": { "Value": "x" } }),
            "detail.Description",
            "not taken from the event bus",
        ),
        (
            json!({ "ImageId": IMAGE, "UserIds": [] }),
            "detail.UserIds",
            "not taken from the event bus",
        ),
    ] {
        let event = with("custom-look", "/detail", Some(detail));
        check(&mut function, &event, "InvalidEvent", path, holds);
    }
}

#[test]
fn tags_with_typing_mistakes_are_refusals_and_no_errors() {
    let image = share("4444555566667")
        .tag("ami-warden:launch-permision", "444455556666")
        .tag("ami-warden:description", "{nmae}")
        .tag("ami-warden:imds-support", "V2.0");
    let mut function = World::new().permissive().image(image).start();
    let answer = function.invoke(&event("ami-available"));
    assert_eq!(answer["Summary"], json!({ "refused": 1 }));
    let mut found = refusals(&only_entry(&answer));
    found.sort();
    let refusal = |attribute: &str, resource: &str| {
        (
            attribute.to_owned(),
            "invalid-directive".to_owned(),
            resource.to_owned(),
        )
    };
    assert_eq!(
        found,
        [
            refusal("ami-warden:launch-permision", "ami-warden:launch-permision"),
            refusal("description", "ami-warden:description"),
            refusal("imdsSupport", "ami-warden:imds-support"),
            refusal("launchPermission", "ami-warden:launch-permission"),
        ]
    );
    assert_eq!(function.requests(), [describe(IMAGE)]);
}

#[test]
fn of_a_thousand_mixed_resources_every_image_is_looked_at_once() {
    let kinds = ["ami", "i", "snap", "vol"];
    let resources: Vec<_> = (0..1000)
        .map(|n| json!({ "resourceId": format!("{}-{:08x}", kinds[n % 4], n) }))
        .collect();
    let images: Vec<_> = (0..1000)
        .step_by(4)
        .map(|n| format!("ami-{n:08x}"))
        .collect();
    // Two of them ask for something, one in each half.
    let asking = [&images[7], &images[249]];
    let mut function = images
        .iter()
        .map(Image::new)
        .map(|image| {
            if asking.contains(&&image.image_id) {
                image.tag("ami-warden:launch-permission", ALICE)
            } else {
                image
            }
        })
        .fold(World::new().permissive(), World::image)
        .start();
    // It says nothing of the tags, which most of the images do not have.
    let parameters = json!({ "resourcesSet": { "items": resources } });
    let event = with(
        "call-create-tags",
        "/detail/requestParameters",
        Some(parameters),
    );
    let answer = function.invoke(&serde_json::from_str(&event).unwrap());
    assert_eq!(answer["Summary"], json!({ "applied": 2, "skipped": 248 }));
    let answered: Vec<_> = answer["Images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["ImageId"].as_str().unwrap())
        .collect();
    // Those that were changed first.
    let others = images.iter().filter(|id| !asking.contains(id));
    assert_eq!(
        answered,
        asking.into_iter().chain(others).collect::<Vec<_>>()
    );
    let reads: Vec<_> = function.emulator.calls_of("DescribeImages");
    let mut asked: Vec<_> = reads
        .iter()
        .map(|call| {
            call.params
                .keys()
                .filter(|name| name.starts_with("Filter.1.Value."))
                .count()
        })
        .collect();
    asked.sort_unstable();
    // EC2 takes at most 200 values for a filter; the two that were changed are looked at again.
    assert_eq!(asked, [1, 1, 50, 200]);
    assert_eq!(function.emulator.writes().len(), 2);
    assert_eq!(asking.map(|id| function.grantees(id)), [[ALICE], [ALICE]]);
}

#[test]
fn text_behind_the_json_is_an_error_and_nothing_is_done() {
    let mut function = World::new().permissive().image(share(ALICE)).start();
    for event in [
        r#"{"ImageId": "ami-0123456789abcdef0"} x"#,
        r#"{"ImageId": "ami-0123456789abcdef0"}{"ImageId": "ami-00000001"}"#,
        r#"{"ImageId": "ami-0123456789abcdef0"}, {}"#,
        r#"{"ImageId": "ami-0123456789abcdef0"}]"#,
        r#"{"Sweep": {}} null"#,
    ] {
        let failed = function
            .invoke_for(Duration::from_secs(10), event)
            .unwrap_err();
        assert_eq!(failed.error_type, "InvalidRequest", "{event}");
        assert!(
            failed
                .error_message
                .starts_with("the event is not JSON: trailing characters"),
            "{event}: {failed:?}"
        );
    }
    assert_eq!(function.requests(), [""; 0]);
    // Blanks and line ends behind it say nothing.
    assert!(
        function
            .invoke_for(
                Duration::from_secs(10),
                " {\"ImageId\": \"ami-0123456789abcdef0\"} \n\t "
            )
            .is_ok()
    );
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}
