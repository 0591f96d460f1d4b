use ec2_emulator::{Act, ActError, BlockPublicAccess, Image, KeyState, ParameterType};
use serde_json::json;

use crate::{FRIEND, ID, ORGANIZATION, with};

#[test]
fn people_change_tags_permissions_and_states_by_hand() {
    let (emulator, client) = with([Image::new(ID).tag("a", "1").tag("b", "1").granted("all")]);
    let acts = json!([
        { "AddTags": { "Id": ID, "Tags": { "a": "2", "c": "3" } } },
        { "DeleteTags": { "Id": ID, "Keys": ["b"] } },
        { "SetTags": { "Id": "snap-0123456789abcdef0", "Tags": { "s": "1" } } },
        { "Share": { "ImageId": ID, "With": [FRIEND, ORGANIZATION] } },
        { "Unshare": { "ImageId": ID, "With": ["all"] } },
        { "SetDescription": { "ImageId": ID, "Description": "by hand" } },
        { "SetDeprecation": { "ImageId": ID, "At": "2030-01-01T00:00:00Z" } },
        { "SetBlockPublicAccess": { "To": "block-new-sharing" } },
    ]);
    client
        .control("POST", "acts", &acts.to_string())
        .assert_ok();
    let image = emulator.image(ID).expect("still there");
    let tags: Vec<_> = image.tags.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(tags, [("a", "2"), ("c", "3")]);
    assert_eq!(image.grantees(), [FRIEND, ORGANIZATION]);
    assert_eq!(image.description.as_deref(), Some("by hand"));
    assert!(image.deprecation_time.is_some());
    let block = emulator.edit(|state| state.block_public_access);
    assert_eq!(block, BlockPublicAccess::BlockNewSharing);

    let image = client.control("GET", &format!("images/{ID}"), "").json();
    assert_eq!(image["LaunchPermissions"], json!([FRIEND, ORGANIZATION]));
    let snapshot = client.control("GET", "snapshots/snap-0123456789abcdef0", "");
    assert_eq!(snapshot.json()["Tags"], json!({ "s": "1" }));
}

#[test]
fn permissions_and_keys_are_replaced_by_hand() {
    let (emulator, client) = with([Image::new(ID).granted("all")]);
    let key = "arn:aws:kms:us-east-1:111122223333:key/k";
    let acts = json!([
        { "SetLaunchPermissions": { "ImageId": ID, "To": [FRIEND] } },
        { "PutKey": { "Arn": key, "KeyState": "Disabled" } },
    ]);
    client
        .control("POST", "acts", &acts.to_string())
        .assert_ok();
    let grantees = emulator.image(ID).expect("still there").grantees();
    assert_eq!(grantees, [FRIEND]);
    let state = emulator.edit(|state| state.keys["k"].key_state);
    assert_eq!(state, KeyState::Disabled);
}

#[test]
fn a_recipient_takes_itself_off_and_nobody_else() {
    let (emulator, client) = with([Image::new(ID).granted(FRIEND).granted("all")]);
    let act = json!({ "CancelLaunchPermission": { "ImageId": ID, "Account": FRIEND } });
    client.control("POST", "acts", &act.to_string()).assert_ok();
    assert_eq!(emulator.image(ID).expect("still there").grantees(), ["all"]);
    client.control("POST", "acts", &act.to_string()).assert_ok();
}

#[test]
fn disabling_by_hand_takes_all_permissions_away() {
    let (emulator, client) = with([Image::new(ID).granted(FRIEND)]);
    let act = json!({ "SetState": { "ImageId": ID, "State": "disabled" } });
    client.control("POST", "acts", &act.to_string()).assert_ok();
    assert!(
        emulator
            .image(ID)
            .expect("still there")
            .grantees()
            .is_empty()
    );
}

#[test]
fn parameters_and_images_come_and_go_by_hand() {
    let (emulator, client) = with([Image::new(ID)]);
    let acts = json!([
        { "PutParameter": { "Name": "/p", "Value": "1" } },
        { "PutParameter": { "Name": "/p", "Value": "2", "Type": "StringList" } },
        { "Deregister": { "ImageId": ID } },
        { "Seed": { "Images": [{ "ImageId": "ami-00000001" }] } },
    ]);
    client
        .control("POST", "acts", &acts.to_string())
        .assert_ok();
    let parameter = client.control("GET", "parameter?Name=/p", "").json();
    assert_eq!(
        (&parameter["Value"], &parameter["Version"]),
        (&json!("2"), &json!(2))
    );
    let ids = client.ec2("DescribeImages", &[]);
    assert_eq!(ids.texts("imageId"), ["ami-00000001"]);
    assert!(
        client
            .ec2("DescribeImages", &[("ImageId.1", ID)])
            .texts("imageId")
            .is_empty()
    );
    emulator
        .act(Act::DeleteParameter {
            name: "/p".to_owned(),
        })
        .expect("it is there");
    assert_eq!(client.control("GET", "parameter?Name=/p", "").status, 404);
    emulator.put_parameter("/p", "3", ParameterType::String);
}

#[test]
fn an_act_on_nothing_is_refused_and_named() {
    let (emulator, client) = with([]);
    let refused = emulator.act(Act::Deregister {
        image_id: ID.to_owned(),
    });
    assert_eq!(refused, Err(ActError::NoImage(ID.to_owned())));
    for act in [
        json!({ "AddTags": { "Id": ID, "Tags": {} } }),
        json!({ "SetState": { "ImageId": ID, "State": "available" } }),
        json!({ "DeleteParameter": { "Name": ID } }),
    ] {
        let answer = client.control("POST", "acts", &act.to_string());
        assert_eq!(answer.status, 404, "{}", answer.body);
        assert!(answer.body.contains(ID), "{}", answer.body);
    }
    for act in [
        r#"{"Share":{"ImageId":"x","With":["1"]}}"#,
        r#"{"Give":{}}"#,
        "[1]",
    ] {
        assert_eq!(client.control("POST", "acts", act).status, 400);
    }
}
