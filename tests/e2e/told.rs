//! What people are told beside the answer: the status tag, the trail and the metrics.

use ec2_emulator::{Fault, Image};
use serde_json::{Value, json};

use crate::world::*;

fn status(function: &Function) -> Option<String> {
    function
        .emulator
        .image(IMAGE)
        .unwrap()
        .tags
        .get("image-status")
        .cloned()
}

fn tag_writes(function: &Function) -> Vec<String> {
    let mut requests = function.requests();
    requests.retain(|request| request.contains("Tags"));
    requests
}

#[test]
fn an_image_with_refusals_carries_them_and_loses_them_when_the_reason_is_gone() {
    let mut function = World::new()
        .setting("STATUS_TAG", "image-status")
        .image(share("all 444455556666"))
        .start();
    function.look();
    let value = format!("public-not-allowed:{IMAGE} grantee-not-allowed:444455556666");
    assert_eq!(status(&function).as_deref(), Some(value.as_str()));
    assert_eq!(
        tag_writes(&function),
        [format!(
            "CreateTags ResourceId.1={IMAGE} Tag.1.Key=image-status Tag.1.Value={value}"
        )]
    );

    // The tag's own event brings the image back: nothing is written, so nothing goes round in
    // circles.
    let mut own_event = event("tag-changed");
    own_event["detail"]["changed-tag-keys"] = json!(["image-status"]);
    function.invoke(&own_event);
    assert_eq!(tag_writes(&function), [""; 0]);

    function.emulator.edit(|state| {
        let tags = &mut state.images.get_mut(IMAGE).unwrap().tags;
        tags.insert("ami-warden:launch-permission".into(), "-all".into());
    });
    function.look();
    assert_eq!(status(&function), None);
    assert_eq!(
        tag_writes(&function),
        [format!(
            "DeleteTags ResourceId.1={IMAGE} Tag.1.Key=image-status"
        )]
    );
    function.look();
    assert_eq!(tag_writes(&function), [""; 0]);
}

#[test]
fn the_status_goes_with_the_last_directive_and_stays_under_hold_and_in_a_dry_run() {
    let old = || Image::new(IMAGE).tag("image-status", "public-not-allowed:x");
    let world = || World::new().setting("STATUS_TAG", "image-status");
    let mut function = world().image(old()).start();
    function.look();
    assert_eq!(status(&function), None);

    let mut held = world().image(old().tag("ami-warden:hold", "1")).start();
    held.look();
    assert_eq!(status(&held).as_deref(), Some("public-not-allowed:x"));

    let mut dry = world().setting("DRY_RUN", "true").image(old()).start();
    dry.look();
    assert_eq!(status(&dry).as_deref(), Some("public-not-allowed:x"));
}

#[test]
fn without_the_setting_no_tag_is_ever_written() {
    let mut function = World::new().image(share("all")).start();
    assert_eq!(function.look()["Outcome"], "refused");
    assert!(function.emulator.writes().is_empty());
}

#[test]
fn a_status_tag_that_may_not_be_written_fails_the_image_and_one_that_ec2_refuses_is_noted() {
    let world = || {
        World::new()
            .setting("STATUS_TAG", "image-status")
            .image(share("all"))
    };
    let mut function = world().start();
    function
        .emulator
        .fault(Fault::error("CreateTags", "UnauthorizedOperation").forever());
    let failed = function.try_invoke(&event("ami-available")).unwrap_err();
    let answer: Value = serde_json::from_str(&failed.error_message).unwrap();
    assert_eq!(only_entry(&answer)["Error"]["Operation"], "CreateTags");

    let mut function = world().start();
    function
        .emulator
        .fault(Fault::error("CreateTags", "TagLimitExceeded"));
    let entry = function.look();
    assert_eq!(entry["Outcome"], "refused");
    assert!(
        entry["Notes"][0]
            .as_str()
            .unwrap()
            .contains("TagLimitExceeded"),
        "{entry:#}"
    );
}

#[test]
fn every_change_leaves_a_line_with_who_what_before_and_after() {
    let image = share("444455556666 -all")
        .granted("all")
        .tag("ami-warden:description", "new");
    let mut function = World::new().permissive().image(image).start();
    function.invoke(&event("call-create-tags"));
    let line = function
        .logged(|line| line["event"] == "change" && line["Attribute"] == "launchPermission");
    assert_eq!(line["ImageId"], IMAGE);
    assert_eq!(
        (&line["Before"], &line["After"]),
        (&json!(["all"]), &json!(["444455556666"]))
    );
    assert_eq!(
        line["Actor"],
        "arn:aws:sts::111122223333:assumed-role/image-builder/builder"
    );
    assert_eq!(line["EventId"], "6f87d04b-9f07-51db-246b-d8b8441bcdf0");
    assert_eq!(line["RequestId"], "request-1");
    let line =
        function.logged(|line| line["event"] == "change" && line["Attribute"] == "description");
    assert_eq!(
        (&line["Before"], &line["After"]),
        (&Value::Null, &json!("new"))
    );
}

#[test]
fn metrics_count_what_an_invocation_did() {
    let world = World::new()
        .setting("ALLOWED_GRANTEES", "444455556666")
        .image(share("444455556666"));
    let refused =
        Image::new("ami-0123abcd").tag("ami-warden:launch-permission", "222233334444 333344445555");
    let mut function = world.image(refused).start();
    function.invoke(&event("sweep"));
    let totals =
        function.logged(|line| line["event"] == "metrics" && line.get("Applied").is_some());
    let names = [
        "Applied",
        "Refused",
        "Unchanged",
        "Failed",
        "GranteesAdded",
        "GranteesRemoved",
        "AwsCalls",
        "ColdStart",
    ];
    // Two listings, one look at both, two reads of permissions, one write, one look with a
    // read-back.
    assert_eq!(
        names.map(|name| totals[name].as_u64().unwrap()),
        [1, 1, 0, 0, 1, 0, 8, 1]
    );
    assert_eq!(function.emulator.calls().len(), 8);
    assert!(totals["Duration"].as_f64().unwrap() > 0.0);
    assert_eq!(
        totals["_aws"]["CloudWatchMetrics"][0]["Namespace"],
        "AmiWarden"
    );
    let by_code =
        function.logged(|line| line["Code"] == "grantee-not-allowed" && line.get("_aws").is_some());
    assert_eq!(by_code["Refusals"], 2);
    function.invoke(&event("sweep"));
    let warm = function.logged(|line| line["event"] == "metrics" && line["ColdStart"] == 0);
    assert_eq!(
        (&warm["Applied"], &warm["Unchanged"]),
        (&json!(0), &json!(1))
    );
}
