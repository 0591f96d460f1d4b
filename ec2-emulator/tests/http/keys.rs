//! KMS: keys, their policies and grants.

use ec2_emulator::{Config, Fault, FaultKind, Image, Key, KeyGrant, KeyState};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::{FRIEND, ID, with, with_config};

const KEY: &str = "11111111-0000-4000-8000-000000000001";
const ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/11111111-0000-4000-8000-000000000001";
const FOREIGN: &str = "arn:aws:kms:us-east-1:444455556666:key/44444444-0000-4000-8000-000000000004";

fn code(answer: &Answer) -> (u16, String) {
    let code = answer.json()["__type"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, code)
}

#[track_caller]
fn refused(client: &Client, operation: &str, ask: &Value, expected: &str) {
    let answer = client.kms(operation, ask);
    assert_eq!(code(&answer), (400, expected.to_owned()), "{}", answer.body);
}

#[test]
fn a_key_is_described_by_id_arn_and_alias() {
    let (emulator, client) = with([]);
    emulator.add_key(Key::new(KEY).alias("alias/images"));
    for name in [
        KEY,
        ARN,
        "alias/images",
        "arn:aws:kms:us-east-1:111122223333:alias/images",
    ] {
        let answer = client.kms("DescribeKey", &json!({ "KeyId": name }));
        answer.assert_ok();
        let metadata = &answer.json()["KeyMetadata"];
        for (member, value) in [
            ("KeyId", json!(KEY)),
            ("Arn", json!(ARN)),
            ("AWSAccountId", json!("111122223333")),
            ("KeyManager", json!("CUSTOMER")),
            ("KeyState", json!("Enabled")),
            ("Enabled", json!(true)),
            ("KeyUsage", json!("ENCRYPT_DECRYPT")),
            ("KeySpec", json!("SYMMETRIC_DEFAULT")),
            ("Origin", json!("AWS_KMS")),
            ("MultiRegion", json!(false)),
        ] {
            assert_eq!(metadata[member], value, "{member} of {name}");
        }
    }
    let call = &emulator.calls()[0];
    assert_eq!((call.service, call.action.as_str()), ("kms", "DescribeKey"));
    assert_eq!(call.params["KeyId"], KEY);
}

#[test]
fn every_account_has_the_key_of_ebs() {
    let (_emulator, client) = with([Image::new(ID).encrypted_with("alias/aws/ebs")]);
    let answer = client.kms("DescribeKey", &json!({ "KeyId": "alias/aws/ebs" }));
    let metadata = answer.json()["KeyMetadata"].clone();
    assert_eq!(metadata["KeyManager"], "AWS");
    let snapshots = client.ec2("DescribeSnapshots", &[]);
    assert_eq!(snapshots.text("kmsKeyId"), metadata["Arn"].as_str());
}

#[test]
fn names_that_lead_to_no_key_are_refused() {
    let (emulator, client) = with([]);
    emulator.add_key(Key::new(KEY).alias("alias/images"));
    emulator.add_key(Key::new(FOREIGN).alias("alias/theirs"));
    // A key of another Region is not seen here.
    let elsewhere = FOREIGN
        .replace("us-east-1", "eu-west-1")
        .replace("44444444", "55555555");
    emulator.add_key(Key::new(&elsewhere));
    for (name, expected) in [
        (elsewhere.as_str(), "NotFoundException"),
        ("22222222-0000-4000-8000-000000000002", "NotFoundException"),
        ("alias/none", "NotFoundException"),
        ("alias/theirs", "NotFoundException"),
        // A bare id is one of the caller's account.
        ("44444444-0000-4000-8000-000000000004", "NotFoundException"),
        (&ARN.replace("us-east-1", "eu-west-1"), "NotFoundException"),
        (
            &ARN.replace("111122223333", "444455556666"),
            "NotFoundException",
        ),
        ("arn:aws:iam::111122223333:role/x", "InvalidArnException"),
        ("arn:aws:kms:us-east-1", "InvalidArnException"),
        ("", "ValidationException"),
    ] {
        refused(&client, "DescribeKey", &json!({ "KeyId": name }), expected);
    }
    refused(
        &client,
        "DescribeKey",
        &json!({ "Key": KEY }),
        "SerializationException",
    );
    refused(
        &client,
        "Decrypt",
        &json!({ "KeyId": KEY }),
        "UnknownOperationException",
    );
}

#[test]
fn states_are_told() {
    let (emulator, client) = with([]);
    for state in [
        KeyState::Disabled,
        KeyState::PendingDeletion,
        KeyState::Unavailable,
    ] {
        let mut key = Key::new(KEY).state(state);
        key.deletion_date = (state == KeyState::PendingDeletion)
            .then(|| "2026-12-01T00:00:00Z".parse().expect("a time"));
        emulator.add_key(key);
        let metadata = client.kms("DescribeKey", &json!({ "KeyId": KEY })).json();
        let metadata = &metadata["KeyMetadata"];
        assert_eq!(metadata["KeyState"], json!(state));
        assert_eq!(metadata["Enabled"], false);
        let has_date = metadata["DeletionDate"] == json!(1_796_083_200.0);
        assert_eq!(has_date, state == KeyState::PendingDeletion, "{metadata}");
        client
            .kms("GetKeyPolicy", &json!({ "KeyId": KEY }))
            .assert_ok();
    }
    emulator.add_key(Key::new(KEY).state(KeyState::Creating));
    for operation in ["GetKeyPolicy", "ListKeyPolicies", "ListGrants"] {
        refused(
            &client,
            operation,
            &json!({ "KeyId": KEY }),
            "KMSInvalidStateException",
        );
    }
    client
        .kms("DescribeKey", &json!({ "KeyId": KEY }))
        .assert_ok();
}

#[test]
fn a_key_has_one_policy_or_two() {
    let (emulator, client) = with([]);
    let text = r#"{ "Version": "2012-10-17", "Statement": [] }"#;
    emulator.add_key(Key::new(KEY));
    emulator.add_key(Key::new(FOREIGN));
    let policy = |ask: Value| client.kms("GetKeyPolicy", &ask);
    let default = policy(json!({ "KeyId": ARN })).json();
    assert_eq!(default["PolicyName"], "default");
    let root = default["Policy"].as_str().expect("a text");
    assert!(root.contains("arn:aws:iam::111122223333:root"), "{root}");
    let ram = json!({ "KeyId": ARN, "PolicyName": "AWS_RAM" });
    refused(&client, "GetKeyPolicy", &ram, "NotFoundException");
    let names = |ask: Value| client.kms("ListKeyPolicies", &ask).json();
    let only = json!({ "PolicyNames": ["default"], "Truncated": false });
    assert_eq!(names(json!({ "KeyId": KEY })), only);

    emulator.add_key(
        Key::new(KEY)
            .policy(text)
            .policy_named("AWS_RAM", "no JSON at all"),
    );
    let default = policy(json!({ "KeyId": ARN, "PolicyName": "default" })).json();
    assert_eq!(default, json!({ "Policy": text, "PolicyName": "default" }));
    assert_eq!(policy(ram).json()["Policy"], "no JSON at all");
    let first = names(json!({ "KeyId": KEY, "Limit": 1 }));
    assert_eq!(
        (&first["PolicyNames"], &first["Truncated"]),
        (&json!(["AWS_RAM"]), &json!(true))
    );
    let second = names(json!({ "KeyId": KEY, "Limit": 1, "Marker": first["NextMarker"] }));
    assert_eq!(second, only);

    let other = json!({ "KeyId": KEY, "PolicyName": "other" });
    refused(&client, "GetKeyPolicy", &other, "ValidationException");
    for operation in ["GetKeyPolicy", "ListKeyPolicies"] {
        refused(
            &client,
            operation,
            &json!({ "KeyId": FOREIGN }),
            "AccessDeniedException",
        );
        refused(
            &client,
            operation,
            &json!({ "KeyId": "alias/aws/ebs" }),
            "NotFoundException",
        );
    }
}

#[test]
fn grants_are_listed_in_pages() {
    let (emulator, client) = with([]);
    let mut key = Key::new(KEY);
    for n in 0..123 {
        let grantee = format!("arn:aws:iam::{n:012}:root");
        key = key.grant(KeyGrant::new(
            &format!("grant-{n:03}"),
            &grantee,
            &["Decrypt"],
        ));
    }
    let service = KeyGrant {
        constraints: Some(json!({ "SourceArn": "arn:aws:ec2:us-east-1:111122223333:x" })),
        ..KeyGrant::to_service(
            "grant-999",
            "ec2.amazonaws.com",
            &["Decrypt", "CreateGrant"],
        )
    };
    emulator.add_key(key.grant(service));
    let mut sizes = Vec::new();
    let mut all = Vec::new();
    let mut marker = Value::Null;
    loop {
        let answer = client
            .kms("ListGrants", &json!({ "KeyId": ARN, "Marker": marker }))
            .json();
        let grants = answer["Grants"].as_array().expect("a list").clone();
        sizes.push(grants.len());
        all.extend(grants);
        if answer["Truncated"] == false {
            assert_eq!(answer["NextMarker"], json!(null));
            break;
        }
        marker = answer["NextMarker"].clone();
    }
    assert_eq!(sizes, [50, 50, 24]);
    assert_eq!(all[0]["GranteePrincipal"], "arn:aws:iam::000000000000:root");
    assert_eq!(
        (&all[0]["KeyId"], &all[0]["Operations"]),
        (&json!(ARN), &json!(["Decrypt"]))
    );
    assert_eq!(all[123]["GranteeServicePrincipal"], "ec2.amazonaws.com");
    assert_eq!(all[123].get("GranteePrincipal"), None);
}

#[test]
fn grants_are_chosen_by_id_and_principal() {
    let (emulator, client) = with([]);
    let mut key = Key::new(KEY);
    for n in 0..123 {
        let grantee = format!("arn:aws:iam::{n:012}:root");
        key = key.grant(KeyGrant::new(
            &format!("grant-{n:03}"),
            &grantee,
            &["Decrypt"],
        ));
    }
    emulator.add_key(key);
    let one = |ask: Value| client.kms("ListGrants", &ask).json()["Grants"].clone();
    let by_id = one(json!({ "KeyId": KEY, "GrantId": "grant-007" }));
    let by_principal =
        one(json!({ "KeyId": KEY, "GranteePrincipal": "arn:aws:iam::000000000007:root" }));
    assert_eq!(
        (by_id.as_array().map(Vec::len), &by_id),
        (Some(1), &by_principal)
    );
    let most = one(json!({ "KeyId": KEY, "Limit": 100 }));
    assert_eq!(most.as_array().map(Vec::len), Some(100));
    for (ask, expected) in [
        (json!({ "KeyId": KEY, "Limit": 101 }), "ValidationException"),
        (json!({ "KeyId": KEY, "Limit": 0 }), "ValidationException"),
        (
            json!({ "KeyId": KEY, "Marker": "x" }),
            "InvalidMarkerException",
        ),
        (
            json!({ "KeyId": KEY, "GrantId": "none" }),
            "InvalidGrantIdException",
        ),
        (json!({ "KeyId": "alias/aws/ebs" }), "NotFoundException"),
    ] {
        refused(&client, "ListGrants", &ask, expected);
    }
}

#[test]
fn grants_of_a_foreign_key_are_listed_too() {
    let (emulator, client) = with([]);
    let root = format!("arn:aws:iam::{FRIEND}:root");
    emulator.add_key(Key::new(FOREIGN).grant(KeyGrant::new("g", &root, &["Decrypt"])));
    client
        .kms("ListGrants", &json!({ "KeyId": FOREIGN }))
        .assert_ok();
    client
        .kms("DescribeKey", &json!({ "KeyId": FOREIGN }))
        .assert_ok();
}

#[test]
fn kms_goes_wrong_as_everything_does() {
    let config = Config {
        largest_page: Some(1),
        ..Config::default()
    };
    let (emulator, client) = with_config(config, []);
    let grant = |id: &str| KeyGrant::new(id, "arn:aws:iam::444455556666:root", &["Decrypt"]);
    emulator.add_key(Key::new(KEY).grant(grant("a")).grant(grant("b")));
    let ask = json!({ "KeyId": ARN });
    let answer = client.kms("ListGrants", &ask).json();
    assert_eq!(
        (&answer["Grants"][1], &answer["Truncated"]),
        (&json!(null), &json!(true))
    );
    emulator.fault(Fault::new("ListGrants", FaultKind::Page { most: 0 }));
    let answer = client.kms("ListGrants", &ask).json();
    assert_eq!(
        (&answer["Grants"], &answer["NextMarker"]),
        (&json!([]), &json!("after="))
    );
    for (code, status) in [
        ("AccessDeniedException", 400),
        ("ThrottlingException", 400),
        ("KMSInternalException", 500),
        ("DependencyTimeoutException", 503),
    ] {
        emulator.fault(Fault::error("DescribeKey", code).with("KeyId", ARN));
        let answer = client.kms("DescribeKey", &ask);
        assert_eq!(
            (answer.status, &answer.json()["__type"]),
            (status, &json!(code))
        );
    }
    emulator.fault(Fault::new("DescribeKey", FaultKind::omit(["KeyState"])).about(ARN));
    let metadata = client.kms("DescribeKey", &ask).json()["KeyMetadata"].clone();
    assert_eq!(
        (metadata.get("KeyState"), &metadata["Arn"]),
        (None, &json!(ARN))
    );
    emulator.fault(Fault::new("*", FaultKind::Stale).about(ARN));
    emulator.edit(|state| state.keys.clear());
    client.kms("DescribeKey", &ask).assert_ok();
    refused(&client, "DescribeKey", &ask, "NotFoundException");
}

#[test]
fn a_request_to_kms_is_signed_for_kms() {
    let (_emulator, client) = with([]);
    let signature = crate::client::signature("us-east-1", "ec2");
    let headers = [
        ("Authorization", &*signature),
        ("X-Amz-Target", "TrentService.DescribeKey"),
    ];
    let answer = client.send("POST", "/", &headers, "{}").expect("an answer");
    assert_eq!(code(&answer), (400, "AuthFailure".to_owned()));
    let target = [
        ("Authorization", &*signature),
        ("X-Amz-Target", "Unknown.DescribeKey"),
    ];
    let answer = client.send("POST", "/", &target, "{}").expect("an answer");
    assert_eq!(code(&answer), (400, "UnknownOperationException".to_owned()));
}

#[test]
fn keys_are_seeded_and_changed_over_http() {
    let (emulator, client) = with([]);
    let seed = json!({ "Keys": [{ "Arn": KEY, "Aliases": ["alias/images"],
        "Grants": [{ "GrantId": "a", "GranteePrincipal": "arn:aws:iam::444455556666:root",
                     "Operations": ["Decrypt"], "CreationDate": 1_795_687_200.0 }] }],
        "Images": [{ "ImageId": ID, "BlockDevices": [{ "DeviceName": "/dev/xvda",
            "SnapshotId": "snap-00000001", "Encrypted": true, "KmsKeyId": "alias/images" }] }] });
    client
        .control("POST", "seed", &seed.to_string())
        .assert_ok();
    assert_eq!(
        client.ec2("DescribeSnapshots", &[]).text("kmsKeyId"),
        Some(ARN)
    );
    let acts = json!([
        { "SetKeyState": { "KeyId": ARN, "State": "Disabled" } },
        { "SetKeyPolicy": { "KeyId": KEY, "Policy": "{}" } },
        { "SetKeyPolicy": { "KeyId": KEY, "Name": "AWS_RAM", "Policy": "{}" } },
        { "AddGrant": { "KeyId": KEY, "Grant": { "GrantId": "b" } } },
        { "RevokeGrant": { "KeyId": KEY, "GrantId": "a" } },
    ]);
    client
        .control("POST", "acts", &acts.to_string())
        .assert_ok();
    let key = client.control("GET", &format!("keys/{KEY}"), "").json();
    assert_eq!(
        (&key["KeyState"], &key["Arn"]),
        (&json!("Disabled"), &json!(ARN))
    );
    assert_eq!(key["Policies"], json!({ "default": "{}", "AWS_RAM": "{}" }));
    assert_eq!(key["Grants"][0]["GrantId"], "b");
    assert_eq!(key["Grants"].as_array().map(Vec::len), Some(1));
    let act = json!({ "SetKeyState": { "KeyId": "none", "State": "Enabled" } });
    assert_eq!(client.control("POST", "acts", &act.to_string()).status, 404);
    assert_eq!(client.control("GET", "keys/none", "").status, 404);
    let state = client.control("GET", "state", "").body;
    let (_other, other) = with([]);
    other.control("POST", "seed", &state).assert_ok();
    assert_eq!(other.control("GET", "state", "").body, state);
    drop(emulator);
}
