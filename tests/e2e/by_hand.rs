//! Requests by hand: everything `ModifyImageAttribute` takes, in both of its styles, and every
//! documented example.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ami_warden_core::Request;
use ec2_emulator::{
    BlockDevice, BlockPublicAccess, Config, Fault, Image, ImageState, ParameterType,
};
use serde_json::{Value, json};

use crate::world::*;

/// The image of the API page's examples.
const API_IMAGE: &str = "ami-61a54008";
/// The image of boto3's examples.
const BOTO3_IMAGE: &str = "ami-5731123e";
/// The image of the guide's examples.
const GUIDE_IMAGE: &str = "ami-0abcdef1234567890";
/// The other image of examples with several.
const OTHER: &str = "ami-0fedcba9876543210";

const PUBLIC_NOTE: &str = "EC2 deprecates public images two years after their creation at the \
                           latest, and later withdraws public access \
                           from images that nobody launches.";

fn world(image: Image) -> World {
    World::new().image(image)
}

/// The same without any setting, and where everything may be added.
fn strict_and_permissive(image: Image) -> [World; 2] {
    [world(image.clone()), world(image).permissive()]
}

/// The answer without the texts of its refusals, which are sentences; `tests/messages.txt` holds
/// them all.
#[track_caller]
fn without_messages(mut answer: Value) -> Value {
    for entry in answer["Images"].as_array_mut().unwrap() {
        for refusal in entry["Refusals"].as_array_mut().unwrap() {
            let message = refusal.as_object_mut().unwrap().remove("Message").unwrap();
            assert!(message.as_str().unwrap().ends_with('.'), "{message}");
        }
    }
    answer
}

/// Sends the example and asserts the whole answer, whose only image is this entry, and all
/// requests, step by step.
#[track_caller]
fn answers(
    world: World,
    example: &str,
    entry: &Value,
    steps: impl IntoIterator<Item = Vec<String>>,
) -> Function {
    let mut function = world.start();
    let answer = function.invoke(&event(example));
    let outcome = entry["Outcome"].as_str().unwrap();
    let dry_run = event(example)["DryRun"] == true;
    assert_eq!(
        without_messages(answer),
        json!({
            "Trigger": "request",
            "DryRun": dry_run,
            "Images": [entry],
            "Summary": { outcome: 1 }
        })
    );
    assert_steps(function.requests(), steps);
    function
}

fn directives(attribute: &str, value: &str) -> Value {
    json!([{ "Attribute": attribute, "Value": value, "Sources": ["request"] }])
}

fn snapshot_of(image: &str) -> String {
    image.replace("ami-", "snap-")
}

/// The answer to a request that makes a private image public, and what it takes.
#[track_caller]
fn make_public(example: &str, image: &str) {
    let [first, second] = reads_before_public(image, &snapshot_of(image));
    let refused = json!({
        "ImageId": image,
        "Outcome": "refused",
        "Directives": directives("launchPermission", "all"),
        "Public": false,
        "LaunchPermissions": [],
        "Changes": [],
        "Refusals": [{
            "Attribute": "launchPermission",
            "Code": "public-not-allowed",
            "Resource": image
        }]
    });
    answers(
        world(Image::new(image)),
        example,
        &refused,
        [first.clone(), second.clone()],
    );

    let applied = json!({
        "ImageId": image,
        "Outcome": "applied",
        "Directives": directives("launchPermission", "all"),
        "Public": true,
        "LaunchPermissions": ["all"],
        "Changes": [{
            "Attribute": "launchPermission",
            "Add": ["all"],
            "Remove": [],
            "After": ["all"],
            "Confirmed": true
        }],
        "Refusals": [],
        "Notes": [PUBLIC_NOTE]
    });
    let write = vec![modify(image, [("LaunchPermission.Add.1.Group", "all")])];
    let steps = [first, second, write, read_back(image)];
    let function = answers(
        world(Image::new(image)).setting("ALLOW_PUBLIC", "true"),
        example,
        &applied,
        steps,
    );
    assert_eq!(function.grantees(image), ["all"]);
}

/// The answer to a request that takes a grantee away, which no setting is needed for, and what it
/// takes.
#[track_caller]
fn take_away(example: &str, image: &str, grantee: &str, parameter: &str) {
    for world in strict_and_permissive(Image::new(image).granted(BOB).granted(grantee)) {
        let entry = json!({
            "ImageId": image,
            "Outcome": "applied",
            "Directives": directives("launchPermission", &format!("-{grantee}")),
            "Public": false,
            "LaunchPermissions": [BOB],
            "Changes": [{
                "Attribute": "launchPermission",
                "Add": [],
                "Remove": [grantee],
                "After": [BOB],
                "Confirmed": true
            }],
            "Refusals": []
        });
        let write = vec![modify(image, [(parameter, grantee)])];
        let steps = [
            vec![describe(image)],
            vec![describe_permissions(image)],
            write,
            read_back(image),
        ];
        let function = answers(world, example, &entry, steps);
        assert_eq!(function.grantees(image), [BOB]);
    }
}

/// The answer to a request that lets an account in, and what it takes.
#[track_caller]
fn let_in(example: &str, image: &str, account: &str) {
    let reads = [vec![describe(image)], vec![describe_permissions(image)]];
    let refused = json!({
        "ImageId": image,
        "Outcome": "refused",
        "Directives": directives("launchPermission", account),
        "Public": false,
        "LaunchPermissions": [],
        "Changes": [],
        "Refusals": [{
            "Attribute": "launchPermission",
            "Code": "grantee-not-allowed",
            "Resource": account
        }]
    });
    answers(world(Image::new(image)), example, &refused, reads.clone());

    let applied = json!({
        "ImageId": image,
        "Outcome": "applied",
        "Directives": directives("launchPermission", account),
        "Public": false,
        "LaunchPermissions": [account],
        "Changes": [{
            "Attribute": "launchPermission",
            "Add": [account],
            "Remove": [],
            "After": [account],
            "Confirmed": true
        }],
        "Refusals": []
    });
    let write = [
        vec![modify(image, [("LaunchPermission.Add.1.UserId", account)])],
        read_back(image),
    ];
    let world = world(Image::new(image)).setting("ALLOWED_GRANTEES", account);
    let function = answers(world, example, &applied, reads.into_iter().chain(write));
    assert_eq!(function.grantees(image), [account]);
}

#[test]
fn example_1_of_the_api_makes_an_image_public_where_that_is_allowed() {
    make_public("api-1-make-public", API_IMAGE);
}

#[test]
fn example_2_of_the_api_makes_an_image_private() {
    take_away(
        "api-2-make-private",
        API_IMAGE,
        "all",
        "LaunchPermission.Remove.1.Group",
    );
}

#[test]
fn example_3_of_the_api_lets_an_account_in_where_that_is_allowed() {
    let_in("api-3-grant-to-account", API_IMAGE, ALICE);
}

#[test]
fn example_4_of_the_api_takes_an_account_away() {
    take_away(
        "api-4-remove-from-account",
        API_IMAGE,
        ALICE,
        "LaunchPermission.Remove.1.UserId",
    );
}

#[test]
fn example_5_of_the_api_adds_a_product_code_which_is_not_supported() {
    for world in strict_and_permissive(Image::new(API_IMAGE)) {
        let entry = json!({
            "ImageId": API_IMAGE,
            "Outcome": "refused",
            "Directives": directives("productCodes", "774F4FF8"),
            "Public": false,
            "Changes": [],
            "Refusals": [{
                "Attribute": "productCodes",
                "Code": "not-supported",
                "Resource": API_IMAGE
            }]
        });
        answers(
            world,
            "api-5-product-code",
            &entry,
            [vec![describe(API_IMAGE)]],
        );
    }
}

#[test]
fn example_6_of_the_api_sets_the_description() {
    for world in strict_and_permissive(Image::new(API_IMAGE).description("Old Description")) {
        let entry = json!({
            "ImageId": API_IMAGE,
            "Outcome": "applied",
            "Directives": directives("description", "New Description"),
            "Public": false,
            "Changes": [{
                "Attribute": "description",
                "From": "Old Description",
                "To": "New Description"
            }],
            "Refusals": []
        });
        let write = modify(API_IMAGE, [("Description.Value", "New Description")]);
        let steps = [describe(API_IMAGE), write, describe(API_IMAGE)].map(|request| vec![request]);
        let function = answers(world, "api-6-description", &entry, steps);
        assert_eq!(
            function
                .emulator
                .image(API_IMAGE)
                .unwrap()
                .description
                .as_deref(),
            Some("New Description")
        );
    }
}

#[test]
fn example_1_of_boto3_makes_an_image_public_where_that_is_allowed() {
    make_public("boto3-1-make-public", BOTO3_IMAGE);
}

#[test]
fn example_2_of_boto3_lets_an_account_in_where_that_is_allowed() {
    let_in("boto3-2-grant-to-account", BOTO3_IMAGE, "123456789012");
}

#[test]
fn the_guide_makes_an_image_public_where_that_is_allowed() {
    make_public("guide-1-make-public", GUIDE_IMAGE);
}

#[test]
fn the_guide_verifies_that_an_image_is_public() {
    for public in [false, true] {
        let image = Image::new(GUIDE_IMAGE);
        let image = if public { image.granted("all") } else { image };
        for world in strict_and_permissive(image) {
            let mut entry = json!({
                "ImageId": GUIDE_IMAGE,
                "Outcome": "skipped",
                "Reason": "no-directives",
                "Public": public,
                "Changes": [],
                "Refusals": []
            });
            if public {
                entry["PublicWithoutDirectives"] = true.into();
            }
            let mut function = world.start();
            let answer = function.invoke(&event("guide-2-verify"));
            assert_eq!(answer["Images"], json!([entry]));
            assert_eq!(answer["Summary"], json!({ "skipped": 1 }));
            assert_eq!(function.requests(), [describe(GUIDE_IMAGE)]);
        }
    }
}

#[test]
fn the_guide_makes_an_image_private_again() {
    take_away(
        "guide-3-make-private-again",
        GUIDE_IMAGE,
        "all",
        "LaunchPermission.Remove.1.Group",
    );
}

#[test]
fn the_guide_from_public_to_private_again_works_on_one_image() {
    let mut function = world(Image::new(GUIDE_IMAGE))
        .setting("ALLOW_PUBLIC", "true")
        .start();
    for (example, outcome, public) in [
        ("guide-1-make-public", "applied", true),
        ("guide-1-make-public", "unchanged", true),
        ("guide-2-verify", "skipped", true),
        ("guide-3-make-private-again", "applied", false),
        ("guide-3-make-private-again", "unchanged", false),
        ("guide-2-verify", "skipped", false),
    ] {
        let entry = only_entry(&function.invoke(&event(example)));
        assert_holds(&entry, &json!({ "Outcome": outcome, "Public": public }));
    }
    assert_eq!(function.counts()["ModifyImageAttribute"], 2);
}

#[test]
fn imds_support_is_set_once() {
    for world in strict_and_permissive(Image::new(IMAGE)) {
        let entry = json!({
            "ImageId": IMAGE,
            "Outcome": "applied",
            "Directives": directives("imdsSupport", "v2.0"),
            "Public": false,
            "Changes": [{ "Attribute": "imdsSupport", "From": null, "To": "v2.0" }],
            "Refusals": []
        });
        let write = modify(IMAGE, [("ImdsSupport.Value", "v2.0")]);
        let steps = [describe(IMAGE), write, describe(IMAGE)].map(|request| vec![request]);
        let mut function = answers(world, "imds-support", &entry, steps);
        assert_eq!(
            only_entry(&function.invoke(&event("imds-support")))["Outcome"],
            "unchanged"
        );
        assert_eq!(function.requests(), [describe(IMAGE)]);
    }
}

#[test]
fn a_look_says_what_is_wanted_what_is_and_what_was_done() {
    let reads = [vec![describe(IMAGE)], vec![describe_permissions(IMAGE)]];
    let directives = json!([{
        "Attribute": "launchPermission",
        "Value": ALICE,
        "Sources": ["ami-warden:launch-permission"]
    }]);
    let refused = json!({
        "ImageId": IMAGE,
        "Outcome": "refused",
        "Directives": directives,
        "Public": false,
        "LaunchPermissions": [BOB],
        "Changes": [],
        "Refusals": [{
            "Attribute": "launchPermission",
            "Code": "grantee-not-allowed",
            "Resource": ALICE
        }]
    });
    answers(
        world(share(ALICE).granted(BOB)),
        "look",
        &refused,
        reads.clone(),
    );

    let applied = json!({
        "ImageId": IMAGE,
        "Outcome": "applied",
        "Directives": directives,
        "Public": false,
        "LaunchPermissions": [BOB, ALICE],
        "Changes": [{
            "Attribute": "launchPermission", "Add": [ALICE], "Remove": [],
            "After": [BOB, ALICE], "Confirmed": true
        }],
        "Refusals": []
    });
    let write = [
        vec![modify(IMAGE, [("LaunchPermission.Add.1.UserId", ALICE)])],
        read_back(IMAGE),
    ];
    answers(
        world(share(ALICE).granted(BOB)).permissive(),
        "look",
        &applied,
        reads.into_iter().chain(write),
    );
}

#[test]
fn a_look_as_a_dry_run_changes_nothing() {
    let reads = [vec![describe(IMAGE)], vec![describe_permissions(IMAGE)]];
    let directives = json!([{
        "Attribute": "launchPermission",
        "Value": ALICE,
        "Sources": ["ami-warden:launch-permission"]
    }]);
    let refused = json!({
        "ImageId": IMAGE,
        "Outcome": "refused",
        "Directives": directives,
        "Public": false,
        "LaunchPermissions": [],
        "Changes": [],
        "Refusals": [{
            "Attribute": "launchPermission",
            "Code": "grantee-not-allowed",
            "Resource": ALICE
        }]
    });
    answers(world(share(ALICE)), "look-dry-run", &refused, reads.clone());

    let planned = json!({
        "ImageId": IMAGE,
        "Outcome": "planned",
        "Directives": directives,
        "Public": false,
        "LaunchPermissions": [],
        "Changes": [{
            "Attribute": "launchPermission",
            "Add": [ALICE],
            "Remove": [],
            "After": [ALICE],
            "Permitted": true
        }],
        "Refusals": []
    });
    let write = vec![modify(
        IMAGE,
        [("LaunchPermission.Add.1.UserId", ALICE), ("DryRun", "true")],
    )];
    let function = answers(
        world(share(ALICE)).permissive(),
        "look-dry-run",
        &planned,
        reads.into_iter().chain([write]),
    );
    assert_eq!(function.grantees(IMAGE), [""; 0]);
}

#[test]
fn a_look_at_several_images_reads_them_in_one_call() {
    let both = format!(
        "DescribeImages Filter.1.Name=image-id Filter.1.Value.1={IMAGE} \
         Filter.1.Value.2={OTHER} IncludeDisabled=true Owner.1=self"
    );
    for (permissive, shared) in [(false, "refused"), (true, "applied")] {
        let world = world(share(ALICE)).image(Image::new(OTHER));
        let mut function = if permissive {
            world.permissive()
        } else {
            world
        }
        .start();
        let answer = function.invoke(&event("look-at-several"));
        assert_eq!(answer["Summary"], json!({ shared: 1, "skipped": 1 }));
        let entries = answer["Images"].as_array().unwrap();
        assert_holds(&entries[0], &json!({ "ImageId": IMAGE, "Outcome": shared }));
        assert_holds(
            &entries[1],
            &json!({ "ImageId": OTHER, "Outcome": "skipped", "Reason": "no-directives" }),
        );
        let mut expected = vec![vec![both.clone()], vec![describe_permissions(IMAGE)]];
        if permissive {
            expected.extend([
                vec![modify(IMAGE, [("LaunchPermission.Add.1.UserId", ALICE)])],
                read_back(IMAGE),
            ]);
        }
        assert_steps(function.requests(), expected);
    }
}

/// What becomes of a request.
enum Becomes {
    /// These parameters of one `ModifyImageAttribute`, without `ImageId`.
    Write(Vec<(&'static str, &'static str)>),
    /// A refusal with this code, and no write.
    Refusal(&'static str),
    /// A look, and no write.
    Look,
    /// An error that begins with this path and holds these words, and no call at all.
    Error(&'static str, &'static str),
}

/// Every parameter of the API: the request without its `ImageId`, whether everybody it names has
/// access before, and what becomes of it.
fn parameters() -> Vec<(&'static str, Value, bool, Becomes)> {
    use Becomes::{Error, Look, Refusal, Write};
    let entry = |key: &str, grantee: &str| json!([{ key: grantee }]);
    let mut table = vec![
        ("ImageId", json!({}), false, Look),
        (
            "ImageId",
            json!({ "ImageId": "ami-1", "Description": { "Value": "d" } }),
            false,
            Error("ImageId", "\"ami-1\""),
        ),
        (
            "ImageId",
            json!({ "ImageId": null, "Description": { "Value": "d" } }),
            false,
            Error("ImageId", "missing"),
        ),
        (
            "Attribute",
            json!({ "Attribute": "description", "Value": "d" }),
            false,
            Write(vec![("Description.Value", "d")]),
        ),
        (
            "Attribute",
            json!({ "Attribute": "imdsSupport", "Value": "v2.0" }),
            false,
            Write(vec![("ImdsSupport.Value", "v2.0")]),
        ),
        (
            "Attribute",
            json!({ "Attribute": "launchPermission", "OperationType": "add", "UserIds": [ALICE] }),
            false,
            Write(vec![("LaunchPermission.Add.1.UserId", ALICE)]),
        ),
        (
            "Attribute",
            json!({ "Attribute": "kernel", "Value": "d" }),
            false,
            Error("Attribute", "imdsSupport and launchPermission"),
        ),
        (
            "Description",
            json!({ "Description": { "Value": "{Name} d" } }),
            false,
            Write(vec![("Description.Value", "{Name} d")]),
        ),
        (
            "Description",
            json!({ "Description": "d" }),
            false,
            Error("Description", "expected an object"),
        ),
        (
            "ImdsSupport",
            json!({ "ImdsSupport": { "Value": "v2.0" } }),
            false,
            Write(vec![("ImdsSupport.Value", "v2.0")]),
        ),
        (
            "ImdsSupport",
            json!({ "ImdsSupport": { "Value": "v1.0" } }),
            false,
            Error("ImdsSupport.Value", "\"v2.0\""),
        ),
        (
            "LaunchPermission",
            json!({ "LaunchPermission": { "Add": [{ "UserId": ALICE }, { "UserId": BOB }] } }),
            false,
            // Sorted by their bytes.
            Write(vec![
                ("LaunchPermission.Add.1.UserId", BOB),
                ("LaunchPermission.Add.2.UserId", ALICE),
            ]),
        ),
        (
            "OperationType",
            json!({ "OperationType": "add" }),
            false,
            Error("OperationType", "needs one of the lists UserIds"),
        ),
        (
            "OperationType",
            json!({ "OperationType": "reset", "UserIds": [ALICE] }),
            false,
            Error(
                "OperationType",
                "\"reset\" is not allowed; expected add or remove",
            ),
        ),
        (
            "ProductCodes",
            json!({ "ProductCodes": ["774F4FF8"] }),
            false,
            Refusal("not-supported"),
        ),
        (
            "Value",
            json!({ "Value": "d" }),
            false,
            Error("Value", "needs Attribute"),
        ),
        (
            "Value",
            json!({ "Attribute": "description", "Value": "e" }),
            false,
            Write(vec![("Description.Value", "e")]),
        ),
        (
            "DryRun",
            json!({ "DryRun": true, "Description": { "Value": "d" } }),
            false,
            Write(vec![("Description.Value", "d"), ("DryRun", "true")]),
        ),
        (
            "DryRun",
            json!({ "DryRun": false, "Description": { "Value": "d" } }),
            false,
            Write(vec![("Description.Value", "d")]),
        ),
        (
            "DryRun",
            json!({ "DryRun": "yes", "Description": { "Value": "d" } }),
            false,
            Error("DryRun", "true or false"),
        ),
    ];
    for (list, key, grantee, add, remove) in [
        (
            "UserIds",
            "UserId",
            ALICE,
            "LaunchPermission.Add.1.UserId",
            "LaunchPermission.Remove.1.UserId",
        ),
        (
            "UserGroups",
            "Group",
            "all",
            "LaunchPermission.Add.1.Group",
            "LaunchPermission.Remove.1.Group",
        ),
        (
            "OrganizationArns",
            "OrganizationArn",
            ORGANIZATION,
            "LaunchPermission.Add.1.OrganizationArn",
            "LaunchPermission.Remove.1.OrganizationArn",
        ),
        (
            "OrganizationalUnitArns",
            "OrganizationalUnitArn",
            UNIT,
            "LaunchPermission.Add.1.OrganizationalUnitArn",
            "LaunchPermission.Remove.1.OrganizationalUnitArn",
        ),
    ] {
        let written = |parameter| Write(vec![(parameter, grantee)]);
        table.extend([
            (
                "LaunchPermission",
                json!({ "LaunchPermission": { "Add": entry(key, grantee) } }),
                false,
                written(add),
            ),
            (
                "LaunchPermission",
                json!({ "LaunchPermission": { "Remove": entry(key, grantee) } }),
                true,
                written(remove),
            ),
            (
                list,
                json!({ "OperationType": "add", list: [grantee] }),
                false,
                written(add),
            ),
            (
                list,
                json!({ "OperationType": "remove", list: [grantee] }),
                true,
                written(remove),
            ),
            (
                list,
                json!({ list: [grantee] }),
                false,
                Error(list, "needs OperationType"),
            ),
        ]);
    }
    table
}

#[test]
fn every_parameter_of_the_api_leads_to_the_request_that_it_asks_for() {
    for (parameter, mut request, granted, becomes) in parameters() {
        request
            .as_object_mut()
            .unwrap()
            .entry("ImageId")
            .or_insert_with(|| IMAGE.into());
        assert!(request.get(parameter).is_some(), "{parameter} {request}");
        let mut image = Image::new(IMAGE);
        if granted {
            image = [ALICE, BOB, "all", ORGANIZATION, UNIT]
                .into_iter()
                .fold(image, Image::granted);
        }
        let mut function = world(image).permissive().start();
        let answer = function.try_invoke(&request);
        let requests = function.requests();
        let writes: Vec<&String> = requests
            .iter()
            .filter(|request| request.starts_with("ModifyImageAttribute"))
            .collect();
        match becomes {
            Becomes::Write(parameters) => {
                let mut expected = BTreeMap::from_iter(parameters);
                expected.insert("ImageId", IMAGE);
                let expected = expected
                    .iter()
                    .map(|(name, value)| format!(" {name}={value}"))
                    .collect::<String>();
                assert_eq!(
                    writes,
                    [&format!("ModifyImageAttribute{expected}")],
                    "{request}"
                );
                let outcome = if request["DryRun"] == true {
                    "planned"
                } else {
                    "applied"
                };
                assert_eq!(
                    only_entry(&answer.unwrap())["Outcome"],
                    outcome,
                    "{request}"
                );
            }
            Becomes::Refusal(code) => {
                assert_eq!(codes(&only_entry(&answer.unwrap())), [code], "{request}");
                assert_eq!(writes, [""; 0], "{request}");
            }
            Becomes::Look => {
                assert_eq!(
                    only_entry(&answer.unwrap())["Reason"],
                    "no-directives",
                    "{request}"
                );
                assert_eq!(requests, [describe(IMAGE)], "{request}");
            }
            Becomes::Error(path, rule) => {
                let Failed {
                    error_type,
                    error_message,
                } = answer.unwrap_err();
                assert_eq!(error_type, "InvalidRequest", "{request}");
                assert!(
                    error_message.starts_with(&format!("{path}: ")) && error_message.contains(rule),
                    "{request}\n{error_message}"
                );
                assert_eq!(requests, [""; 0], "{request}");
            }
        }
    }
}

#[test]
fn the_table_of_parameters_holds_every_key_that_a_request_may_have() {
    let table = parameters();
    let tested: BTreeSet<&str> = table.iter().map(|(parameter, ..)| *parameter).collect();
    assert_eq!(tested, BTreeSet::from(Request::KEYS));
}

/// What `aws ec2 modify-image-attribute --generate-cli-skeleton` (1.46.2) prints, word for word.
fn skeleton() -> Value {
    serde_json::from_str(include_str!(
        "fixtures/modify-image-attribute-skeleton.json"
    ))
    .unwrap()
}

#[track_caller]
fn invalid_request(function: &mut Function, request: &Value) -> String {
    let Failed {
        error_type,
        error_message,
    } = function.try_invoke(request).unwrap_err();
    assert_eq!(error_type, "InvalidRequest");
    assert_eq!(function.requests(), [""; 0]);
    error_message
}

#[test]
fn the_cli_skeleton_has_every_parameter_and_no_other() {
    let skeleton = skeleton();
    let keys: BTreeSet<&str> = skeleton
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys, BTreeSet::from(Request::KEYS));
}

#[test]
fn the_cli_skeleton_left_as_printed_is_an_error_that_names_what_is_missing() {
    let mut function = world(Image::new(IMAGE)).permissive().start();
    let message = invalid_request(&mut function, &skeleton());
    assert_eq!(message, "ImageId: missing");
}

#[test]
fn the_values_that_the_cli_skeleton_fills_in_itself_are_never_taken_for_absent() {
    // It prints OperationType = remove, and Group = all in Add and in Remove.
    let mut function = world(Image::new(IMAGE).granted("all")).permissive().start();
    let mut request = skeleton();
    request["ImageId"] = IMAGE.into();
    let message = invalid_request(&mut function, &request);
    assert!(
        message
            .starts_with("OperationType: does not go together with LaunchPermission: use one of"),
        "{message}"
    );

    request["Description"]["Value"] = "New Description".into();
    let message = invalid_request(&mut function, &request);
    assert!(
        message.starts_with(
            "LaunchPermission: does not go together with Description; one attribute a request"
        ),
        "{message}"
    );

    request.as_object_mut().unwrap().remove("LaunchPermission");
    let message = invalid_request(&mut function, &request);
    assert!(
        message.starts_with("OperationType: does not go together with Description"),
        "{message}"
    );

    let mut request = skeleton();
    request["ImageId"] = IMAGE.into();
    request["OperationType"] = "".into();
    let message = invalid_request(&mut function, &request);
    assert!(
        message.starts_with("LaunchPermission: all is in Add and in Remove"),
        "{message}"
    );
}

#[test]
fn the_cli_skeleton_works_once_what_it_filled_in_itself_is_taken_out() {
    let mut function = world(Image::new(IMAGE)).start();
    let mut request = skeleton();
    request["ImageId"] = IMAGE.into();
    request["Description"]["Value"] = "New Description".into();
    request["OperationType"] = "".into();
    for side in ["Add", "Remove"] {
        request["LaunchPermission"][side][0]["Group"] = "".into();
    }
    // It prints DryRun = true.
    assert_eq!(only_entry(&function.invoke(&request))["Outcome"], "planned");
    let parameters = [("Description.Value", "New Description"), ("DryRun", "true")];
    assert_eq!(
        function.requests(),
        [describe(IMAGE), modify(IMAGE, parameters)]
    );
    request["DryRun"] = false.into();
    assert_eq!(only_entry(&function.invoke(&request))["Outcome"], "applied");
    let write = modify(IMAGE, [("Description.Value", "New Description")]);
    assert_eq!(
        function.requests(),
        [describe(IMAGE), write, describe(IMAGE)]
    );
}

#[test]
fn additions_and_removals_of_one_request_go_in_one_call() {
    let mut function = world(Image::new(IMAGE).granted("all")).permissive().start();
    let request = json!({
        "ImageId": IMAGE,
        "LaunchPermission": { "Add": [{ "UserId": ALICE }], "Remove": [{ "Group": "all" }] }
    });
    assert_eq!(only_entry(&function.invoke(&request))["Outcome"], "applied");
    let parameters = [
        ("LaunchPermission.Add.1.UserId", ALICE),
        ("LaunchPermission.Remove.1.Group", "all"),
    ];
    let write = vec![modify(IMAGE, parameters)];
    assert_steps(
        function.requests(),
        [
            vec![describe(IMAGE)],
            vec![describe_permissions(IMAGE)],
            write,
            read_back(IMAGE),
        ],
    );
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

#[test]
fn a_request_for_what_is_so_already_makes_no_write() {
    let image = || Image::new(IMAGE).granted(ALICE).description("d").imds_v2();
    for request in [
        json!({
            "LaunchPermission": {
                "Add": [{ "UserId": ALICE }], "Remove": [{ "UserId": BOB }, { "Group": "all" }]
            }
        }),
        json!({ "OperationType": "add", "UserIds": [ALICE, OWNER] }),
        json!({ "OperationType": "remove", "UserIds": [OWNER] }),
        json!({ "Description": { "Value": "d" } }),
        json!({ "Attribute": "imdsSupport", "Value": "v2.0" }),
    ] {
        // Nothing may be added: a grantee with access needs no permission to keep it.
        let mut function = world(image()).start();
        let mut event = request.clone();
        event["ImageId"] = IMAGE.into();
        assert_eq!(
            only_entry(&function.invoke(&event))["Outcome"],
            "unchanged",
            "{request}"
        );
        assert_eq!(
            function.counts().get("ModifyImageAttribute"),
            None,
            "{request}"
        );
    }
}

#[test]
fn removals_of_a_request_are_carried_out_although_its_additions_are_refused() {
    let mut function = world(Image::new(IMAGE).granted(BOB)).start();
    let request = json!({
        "ImageId": IMAGE,
        "LaunchPermission": { "Add": [{ "UserId": ALICE }], "Remove": [{ "UserId": BOB }] }
    });
    let entry = only_entry(&function.invoke(&request));
    assert_eq!(entry["Outcome"], "applied");
    assert_eq!(codes(&entry), ["grantee-not-allowed"]);
    let write = vec![modify(IMAGE, [("LaunchPermission.Remove.1.UserId", BOB)])];
    assert_steps(
        function.requests(),
        [
            vec![describe(IMAGE)],
            vec![describe_permissions(IMAGE)],
            write,
            read_back(IMAGE),
        ],
    );
}

#[test]
fn tags_rules_and_hold_are_left_aside_by_a_request() {
    let image = share("all -333344445555 nobody")
        .granted("333344445555")
        .tag("ami-warden:hold", "until Monday")
        .tag("ami-warden:imds-support", "v2.0")
        .tag("ami-warden:descripton", "mistyped");
    let world = world(image)
        .permissive()
        .setting("POLICY_PATH", "/ami-warden");
    world.emulator.put_parameter(
        "/ami-warden/rules",
        "these rules are broken",
        ParameterType::String,
    );
    let mut function = world.start();
    let entry = only_entry(
        &function.invoke(&json!({ "ImageId": IMAGE, "Description": { "Value": "by hand" } })),
    );
    assert_eq!(
        entry,
        json!({
            "ImageId": IMAGE,
            "Outcome": "applied",
            "Directives": directives("description", "by hand"),
            "Public": false,
            "Changes": [{ "Attribute": "description", "From": null, "To": "by hand" }],
            "Refusals": []
        })
    );
    // Not even the policy is read.
    let write = modify(IMAGE, [("Description.Value", "by hand")]);
    assert_eq!(
        function.requests(),
        [describe(IMAGE), write, describe(IMAGE)]
    );
}

#[test]
fn no_request_gets_past_a_guardrail() {
    let public = json!({ "LaunchPermission": { "Add": [{ "Group": "all" }] } });
    let public_in_the_other_style = json!({ "OperationType": "add", "UserGroups": ["all"] });
    let old = "2026-01-01T00:00:00Z".parse().unwrap();
    let hidden = BlockDevice::ebs("/dev/sdf", "snap-0fedcba9876543210").encrypted(None);
    let cases: Vec<(World, &[&str])> = vec![
        (
            world(Image::new(IMAGE)).setting("ALLOWED_GRANTEES", "*"),
            &["public-not-allowed"],
        ),
        (
            world(Image::new(IMAGE).encrypted()).permissive(),
            &["encrypted-snapshot"],
        ),
        (
            world(Image::new(IMAGE).block_devices([hidden]).snapshots_hidden()).permissive(),
            &["encryption-unknown"],
        ),
        (
            world(Image::new(IMAGE).product_code("774F4FF8")).permissive(),
            &["product-code"],
        ),
        (
            world(Image::new(IMAGE).deprecated(old)).permissive(),
            &["deprecated"],
        ),
        (
            {
                let world = world(
                    Image::new(IMAGE)
                        .encrypted()
                        .product_code("774F4FF8")
                        .deprecated(old),
                );
                world
                    .emulator
                    .edit(|state| state.block_public_access = BlockPublicAccess::BlockNewSharing);
                world
            },
            &[
                "public-not-allowed",
                "encrypted-snapshot",
                "product-code",
                "block-public-access",
                "deprecated",
            ],
        ),
    ];
    for (world, expected) in cases {
        let mut function = world.start();
        for request in [&public, &public_in_the_other_style] {
            let mut request = request.clone();
            request["ImageId"] = IMAGE.into();
            let entry = only_entry(&function.invoke(&request));
            assert_eq!(entry["Outcome"], "refused");
            assert_eq!(codes(&entry), expected);
            assert_eq!(function.counts().get("ModifyImageAttribute"), None);
        }
    }
}

#[test]
fn the_allow_list_in_parameter_store_holds_for_requests_too() {
    let world = world(Image::new(IMAGE)).setting("ALLOWED_GRANTEES_PARAMETER", "/security/amis");
    world
        .emulator
        .put_parameter("/security/amis", ALICE, ParameterType::StringList);
    let mut function = world.start();
    let request =
        |account: &str| json!({ "ImageId": IMAGE, "OperationType": "add", "UserIds": [account] });
    assert_eq!(
        codes(&only_entry(&function.invoke(&request(BOB)))),
        ["grantee-not-allowed"]
    );
    assert_eq!(
        only_entry(&function.invoke(&request(ALICE)))["Outcome"],
        "applied"
    );
    function.emulator.edit(|state| state.parameters.clear());
    assert_eq!(
        function.try_invoke(&request(BOB)).unwrap_err().error_type,
        "InvalidPolicy"
    );
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

#[test]
fn a_request_may_not_remove_more_than_the_limit() {
    let image = Image::new(IMAGE).granted(ALICE).granted(BOB);
    let mut function = world(image)
        .permissive()
        .setting("MAX_REMOVALS", "1")
        .start();
    let both = json!({ "ImageId": IMAGE, "OperationType": "remove", "UserIds": [ALICE, BOB] });
    assert_eq!(
        codes(&only_entry(&function.invoke(&both))),
        ["too-many-removals"]
    );
    assert_eq!(function.counts().get("ModifyImageAttribute"), None);
    let one = json!({ "ImageId": IMAGE, "OperationType": "remove", "UserIds": [ALICE] });
    assert_eq!(only_entry(&function.invoke(&one))["Outcome"], "applied");
}

#[test]
fn a_request_for_a_pending_image_has_failed_since_nothing_would_bring_it_back() {
    let mut function = world(Image::new(IMAGE).pending()).permissive().start();
    for example in [
        "api-6-description",
        "api-1-make-public",
        "api-5-product-code",
    ] {
        let mut request = event(example);
        request["ImageId"] = IMAGE.into();
        let answer = function.try_invoke(&request).unwrap_err().answer();
        assert_eq!(answer["Summary"], json!({ "failed": 1 }));
        assert_eq!(answer.get("Continue"), None);
        let entry = only_entry(&answer);
        assert_holds(
            &entry,
            &json!({ "Outcome": "failed", "Changes": [], "Refusals": [] }),
        );
        assert_holds(
            &entry["Error"],
            &json!({ "Operation": "ModifyImageAttribute", "Code": "InvalidAMIID.Unavailable" }),
        );
        assert!(
            entry["Error"]["Message"]
                .as_str()
                .unwrap()
                .contains("send the request again when it is available")
        );
        assert_eq!(function.requests(), [describe(IMAGE)]);
    }
}

#[test]
fn a_request_for_an_image_that_cannot_be_changed_is_skipped_with_its_state() {
    for (state, reason) in [
        (ImageState::Disabled, "disabled"),
        (ImageState::Failed, "failed"),
    ] {
        let mut function = world(Image::new(IMAGE).state(state)).permissive().start();
        let entry = only_entry(
            &function.invoke(&json!({ "ImageId": IMAGE, "Description": { "Value": "d" } })),
        );
        assert_holds(
            &entry,
            &json!({ "Outcome": "skipped", "Reason": reason, "Changes": [], "Refusals": [] }),
        );
        assert_eq!(function.requests(), [describe(IMAGE)]);
    }
}

#[test]
fn a_request_for_an_image_that_is_not_there_or_not_ours_is_skipped() {
    let foreign = Image::new(IMAGE).owned_by("999999999999").granted("all");
    for world in [World::new(), world(foreign)] {
        let mut function = world.permissive().start();
        let entry = only_entry(&function.invoke(
            &json!({ "ImageId": IMAGE, "OperationType": "remove", "UserGroups": ["all"] }),
        ));
        assert_eq!(
            entry,
            json!({
                "ImageId": IMAGE,
                "Outcome": "skipped",
                "Reason": "not-found",
                "Changes": [],
                "Refusals": []
            })
        );
        assert_eq!(function.requests(), [describe(IMAGE)]);
    }
}

#[test]
fn a_dry_run_of_a_request_plans_and_asks_ec2_whether_it_is_permitted() {
    let mut function = world(Image::new(IMAGE).granted(BOB)).permissive().start();
    let request = json!({
        "ImageId": IMAGE, "DryRun": true,
        "LaunchPermission": { "Add": [{ "UserId": ALICE }], "Remove": [{ "UserId": BOB }] }
    });
    let answer = function.invoke(&request);
    assert_eq!(
        answer,
        json!({
            "Trigger": "request",
            "DryRun": true,
            "Images": [{
                "ImageId": IMAGE,
                "Outcome": "planned",
                "Directives": directives("launchPermission", &format!("{ALICE} -{BOB}")),
                "Public": false,
                "LaunchPermissions": [BOB],
                "Changes": [{
                    "Attribute": "launchPermission", "Add": [ALICE], "Remove": [BOB],
                    "After": [ALICE], "Permitted": true
                }],
                "Refusals": []
            }],
            "Summary": { "planned": 1 }
        })
    );
    let parameters = [
        ("DryRun", "true"),
        ("LaunchPermission.Add.1.UserId", ALICE),
        ("LaunchPermission.Remove.1.UserId", BOB),
    ];
    assert_eq!(
        function.requests(),
        [
            describe(IMAGE),
            describe_permissions(IMAGE),
            modify(IMAGE, parameters)
        ]
    );
    assert_eq!(function.grantees(IMAGE), [BOB]);
}

#[test]
fn a_dry_run_of_a_request_says_when_the_permission_is_missing() {
    let mut function = world(Image::new(IMAGE)).start();
    function.emulator.fault(Fault::error(
        "ModifyImageAttribute",
        "UnauthorizedOperation",
    ));
    let request = json!({ "ImageId": IMAGE, "DryRun": true, "Description": { "Value": "d" } });
    let entry = only_entry(&function.try_invoke(&request).unwrap_err().answer());
    assert_eq!(entry["Outcome"], "failed");
    assert_eq!(
        entry["Changes"],
        json!([{ "Attribute": "description", "From": null, "To": "d", "Permitted": false }])
    );
    assert_holds(
        &entry["Error"],
        &json!({ "Operation": "ModifyImageAttribute", "Code": "UnauthorizedOperation" }),
    );
    assert_eq!(
        function.requests(),
        [
            describe(IMAGE),
            modify(IMAGE, [("DryRun", "true"), ("Description.Value", "d")])
        ]
    );
}

#[test]
fn a_request_that_is_cut_short_has_failed_and_does_not_travel() {
    let world = World::with(Config {
        latency: Duration::from_secs(10),
        ..Config::default()
    })
    .image(Image::new(IMAGE));
    let mut function = world.start();
    let request = json!({ "ImageId": IMAGE, "Description": { "Value": "d" } });
    let answer = function
        .invoke_for(Duration::from_secs(2), &request.to_string())
        .unwrap_err()
        .answer();
    assert_eq!(answer.get("Continue"), None);
    let entry = only_entry(&answer);
    assert_eq!(entry["Outcome"], "failed");
    assert_eq!(entry["Error"]["Code"], "Timeout");
}

#[test]
fn a_request_is_never_taken_from_the_event_bus() {
    let mut function = world(Image::new(IMAGE).granted("all")).permissive().start();
    let mut custom = event("custom-look");
    custom["detail"] =
        json!({ "ImageId": IMAGE, "LaunchPermission": { "Remove": [{ "Group": "all" }] } });
    let Failed {
        error_type,
        error_message,
    } = function.try_invoke(&custom).unwrap_err();
    assert_eq!(error_type, "InvalidEvent");
    assert!(
        error_message.starts_with("detail.LaunchPermission: ")
            && error_message.contains("not taken from the event bus"),
        "{error_message}"
    );
    assert_eq!(function.requests(), [""; 0]);
}

/// A row of the table in `events/README.md`.
struct Row {
    file: String,
    before: String,
    by_default: String,
    allowed: String,
}

fn rows() -> Vec<Row> {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/events/README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<String> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().replace('`', ""))
            .collect();
        let [file, _what, before, by_default, allowed] =
            cells.try_into().unwrap_or_else(|cells| panic!("{cells:?}"));
        Row {
            file,
            before,
            by_default,
            allowed,
        }
    })
    .collect()
}

/// The images of the table before an event.
fn images(before: &str, id: &str) -> Vec<Image> {
    let golden = |id: &str| Image::new(id).tag("ami-warden:launch-permission", ALICE);
    match before {
        "tagged" => vec![golden(IMAGE), golden(OTHER)],
        "untagged" => vec![Image::new(IMAGE), Image::new(OTHER)],
        "private" => vec![Image::new(id)],
        "public" => vec![Image::new(id).granted("all")],
        "shared" => vec![Image::new(id).granted(ALICE)],
        other => panic!("{other}"),
    }
}

/// An answer in few words: its outcomes, the codes of its refusals, and the reasons for what was
/// skipped.
fn in_words(answer: &Value) -> String {
    if answer["Trigger"] == "ignored" {
        return "ignored".to_owned();
    }
    let summary = answer["Summary"].as_object().unwrap().iter();
    let outcomes: Vec<String> = summary
        .map(|(outcome, count)| {
            let entries = answer["Images"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|entry| entry["Outcome"] == **outcome);
            let mut why = BTreeSet::new();
            for entry in entries {
                why.extend(codes(entry));
                why.extend(entry["Reason"].as_str().map(ToOwned::to_owned));
            }
            let times = if *count == 1 {
                String::new()
            } else {
                format!(" {count} times")
            };
            let why: Vec<String> = why.into_iter().collect();
            if why.is_empty() {
                format!("{outcome}{times}")
            } else {
                format!("{outcome}{times} ({})", why.join(", "))
            }
        })
        .collect();
    outcomes.join(", ")
}

#[test]
fn the_table_of_events_lists_every_file_and_no_other() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/events")).unwrap();
    let files: BTreeSet<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let listed: Vec<String> = rows().into_iter().map(|row| row.file).collect();
    assert_eq!(
        listed.iter().collect::<BTreeSet<_>>().len(),
        listed.len(),
        "each once"
    );
    let listed: BTreeSet<String> = listed.into_iter().chain(["README.md".to_owned()]).collect();
    assert_eq!(listed, files);
}

#[test]
fn the_table_of_events_says_what_each_is_answered() {
    let mut wrong = Vec::new();
    for Row {
        file,
        before,
        by_default,
        allowed,
    } in rows()
    {
        let event = event(file.strip_suffix(".json").unwrap());
        for (permissive, expected) in [(false, by_default), (true, allowed)] {
            let id = event["ImageId"].as_str().unwrap_or(IMAGE);
            let world = images(&before, id)
                .into_iter()
                .fold(World::new(), World::image);
            let world = if permissive {
                world.permissive().setting("POLICY_PATH", "/ami-warden")
            } else {
                world
            };
            let said = in_words(&world.start().invoke(&event));
            if said != expected {
                wrong.push(format!(
                    "{file}, {}: {said}, not {expected}",
                    if permissive { "allowed" } else { "by default" }
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_alias_events_takes_no_request_and_says_how_to_send_it() {
    let mut function = world(Image::new(IMAGE).granted("all")).permissive().start();
    function.invoke_by_alias("events");
    for example in [
        "api-1-make-public",
        "api-2-make-private",
        "api-3-grant-to-account",
        "api-4-remove-from-account",
        "api-5-product-code",
        "api-6-description",
        "imds-support",
    ] {
        let mut request = event(example);
        request["ImageId"] = IMAGE.into();
        for dry_run in [false, true] {
            request["DryRun"] = dry_run.into();
            let message = invalid_request(&mut function, &request);
            let expected = "a ModifyImageAttribute request is not taken through the alias \
                            `events`: \
                            invoke the function itself, without an alias";
            assert!(message.ends_with(expected), "{example}: {message}");
        }
    }
    assert_eq!(function.grantees(IMAGE), ["all"]);
}

#[test]
fn the_alias_events_takes_looks_and_sweeps_and_every_event() {
    for example in [
        "look",
        "look-at-several",
        "look-dry-run",
        "sweep",
        "sweep-after",
        "custom-look",
        "custom-continue",
        "ami-available",
    ] {
        let world = || {
            World::new()
                .image(share(ALICE).granted(ALICE))
                .image(Image::new(OTHER))
                .permissive()
        };
        let mut by_alias = world().start();
        by_alias.invoke_by_alias("events");
        let answer = by_alias.invoke(&event(example));
        assert_eq!(answer, world().start().invoke(&event(example)), "{example}");
    }
}

#[test]
fn any_other_alias_or_version_takes_requests() {
    for alias in ["live", "$LATEST", "42", "events2", "EVENTS"] {
        let mut function = world(Image::new(API_IMAGE)).start();
        function.invoke_by_alias(alias);
        assert_eq!(
            only_entry(&function.invoke(&event("api-6-description")))["Outcome"],
            "applied",
            "{alias}"
        );
    }
}
