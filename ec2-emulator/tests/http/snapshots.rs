//! Sharing snapshots, and what their keys forbid.

use ec2_emulator::{BlockDevice, Image, Key, Snapshot};
use serde_json::json;

use crate::client::{Answer, Client};
use crate::{FRIEND, ID, ORGANIZATION, OTHER_ID, with};

const SNAPSHOT: &str = "snap-0123456789abcdef0";
const ALL: (&str, &str) = ("CreateVolumePermission.Add.1.Group", "all");
const ADD: (&str, &str) = ("CreateVolumePermission.Add.1.UserId", FRIEND);
const REMOVE: (&str, &str) = ("CreateVolumePermission.Remove.1.UserId", FRIEND);

fn modify(client: &Client, parameters: &[(&str, &str)]) -> Answer {
    let mut all = vec![("SnapshotId", SNAPSHOT)];
    all.extend(parameters);
    client.ec2("ModifySnapshotAttribute", &all)
}

fn copiers(client: &Client) -> Vec<String> {
    let ask = [
        ("SnapshotId", SNAPSHOT),
        ("Attribute", "createVolumePermission"),
    ];
    let answer = client.ec2("DescribeSnapshotAttribute", &ask);
    answer.assert_ok();
    assert_eq!(answer.text("snapshotId"), Some(SNAPSHOT));
    let (accounts, groups) = (answer.texts("userId"), answer.texts("group"));
    accounts
        .into_iter()
        .chain(groups)
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_snapshot_is_shared_in_both_styles() {
    let (emulator, client) = with([Image::new(ID)]);
    assert!(copiers(&client).is_empty());
    let answer = modify(
        &client,
        &[ADD, ("CreateVolumePermission.Add.2.Group", "all")],
    );
    answer.assert_ok();
    assert_eq!(answer.text("return"), Some("true"));
    assert_eq!(copiers(&client), [FRIEND, "all"]);
    modify(&client, &[REMOVE]).assert_ok();
    assert_eq!(copiers(&client), ["all"]);
    let attribute = ("Attribute", "createVolumePermission");
    let lists = [attribute, ("OperationType", "add"), ("UserId.1", FRIEND)];
    modify(&client, &lists).assert_ok();
    let lists = [("OperationType", "remove"), ("UserGroup.1", "all")];
    modify(&client, &lists).assert_ok();
    assert_eq!(copiers(&client), [FRIEND]);
    // Adding who is there and removing who is not succeed.
    modify(&client, &[ADD]).assert_ok();
    modify(
        &client,
        &[("CreateVolumePermission.Remove.1.UserId", "000000000001")],
    )
    .assert_ok();
    let snapshot = emulator.edit(|state| state.snapshots[SNAPSHOT].clone());
    assert_eq!(snapshot.copiers(), [FRIEND]);
    assert_eq!(emulator.writes().len(), 6);
}

#[test]
fn what_a_snapshot_cannot_be_given_is_refused() {
    let (_emulator, client) = with([Image::new(ID)]);
    let refused = |parameters: &[(&str, &str)], code| {
        modify(&client, parameters).assert_refused(400, code);
    };
    let remove_other = ("CreateVolumePermission.Remove.1.UserId", "000000000001");
    refused(&[ADD, remove_other], "InvalidParameterCombination");
    let list = [
        ADD,
        ("OperationType", "remove"),
        ("UserId.1", "000000000001"),
    ];
    refused(&list, "InvalidParameterCombination");
    let both = ("CreateVolumePermission.Add.1.Group", "all");
    refused(&[ADD, both], "InvalidParameterCombination");
    refused(&[], "MissingParameter");
    refused(
        &[("Attribute", "createVolumePermission")],
        "MissingParameter",
    );
    refused(
        &[("Attribute", "productCodes"), ADD],
        "InvalidParameterValue",
    );
    refused(
        &[("CreateVolumePermission.Add.1.UserId", "1")],
        "InvalidParameterValue",
    );
    refused(
        &[("CreateVolumePermission.Add.1.Group", "some")],
        "InvalidParameterValue",
    );
    let organization = ("CreateVolumePermission.Add.1.OrganizationArn", ORGANIZATION);
    refused(&[organization], "UnknownParameter");
    refused(
        &[
            ("OperationType", "add"),
            ("OrganizationArn.1", ORGANIZATION),
        ],
        "MissingParameter",
    );
    refused(&[ADD, ("Value", "x")], "UnknownParameter");
    assert!(copiers(&client).is_empty());
}

#[test]
fn five_hundred_modifications_are_the_most() {
    let (_emulator, client) = with([Image::new(ID)]);
    let add = |count: u32| {
        let names: Vec<_> = (1..=count)
            .map(|n| {
                (
                    format!("CreateVolumePermission.Add.{n}.UserId"),
                    format!("{n:012}"),
                )
            })
            .collect();
        let pairs: Vec<_> = names
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        modify(&client, &pairs)
    };
    add(501).assert_refused(400, "InvalidParameterValue");
    add(500).assert_ok();
    assert_eq!(copiers(&client).len(), 500);
}

#[test]
fn an_encrypted_snapshot_is_shared_with_accounts_but_not_with_all() {
    let (_emulator, client) = with([Image::new(ID).encrypted()]);
    modify(&client, &[ALL]).assert_refused(400, "OperationNotPermitted");
    modify(&client, &[ADD]).assert_ok();
    let coded = Image::new(OTHER_ID).snapshots([Snapshot::new(SNAPSHOT).product_code("a1")]);
    let (_emulator, client) = with([coded]);
    modify(&client, &[ALL]).assert_refused(400, "OperationNotPermitted");
    modify(&client, &[ADD]).assert_ok();
}

#[test]
fn what_an_aws_managed_key_encrypts_is_shared_with_nobody() {
    let image = || Image::new(ID).encrypted_with("alias/aws/ebs");
    let (emulator, client) = with([image().granted(FRIEND)]);
    let snapshot = client.ec2("DescribeSnapshots", &[]);
    let key = snapshot.text("kmsKeyId").expect("a key").to_owned();
    assert!(
        key.starts_with("arn:aws:kms:us-east-1:111122223333:key/"),
        "{key}"
    );
    modify(&client, &[ADD]).assert_refused(400, "OperationNotPermitted");
    modify(&client, &[ALL]).assert_refused(400, "OperationNotPermitted");
    modify(&client, &[REMOVE]).assert_ok();
    for grantee in [
        ("UserId", "000000000001"),
        ("UserId", FRIEND),
        ("OrganizationArn", ORGANIZATION),
    ] {
        let add = format!("LaunchPermission.Add.1.{}", grantee.0);
        client
            .modify(&[(&add, grantee.1)])
            .assert_refused(400, "InvalidParameter");
    }
    assert_eq!(
        client
            .modify(&[("LaunchPermission.Add.1.Group", "all")])
            .status,
        400
    );
    client
        .modify(&[("LaunchPermission.Remove.1.UserId", FRIEND)])
        .assert_ok();
    assert!(emulator.image(ID).expect("there").grantees().is_empty());

    // One snapshot of several is enough.
    let arn = "arn:aws:kms:us-east-1:111122223333:key/11111111-0000-4000-8000-000000000001";
    let two = Image::new(ID).block_devices([
        BlockDevice::ebs("/dev/xvda", SNAPSHOT).encrypted_with(arn),
        BlockDevice::ebs("/dev/sdb", "snap-00000002").encrypted_with("alias/aws/ebs"),
    ]);
    emulator.edit(|state| state.add_key(Key::new(arn)));
    emulator.add(two);
    let add = ("LaunchPermission.Add.1.UserId", FRIEND);
    client
        .modify(&[add])
        .assert_refused(400, "InvalidParameter");
    modify(&client, &[ADD]).assert_ok();
    emulator.add(Image::new(ID).encrypted_with(arn));
    client.modify(&[add]).assert_ok();
}

#[test]
fn a_dry_run_and_a_foreign_or_unknown_snapshot_change_nothing() {
    let (emulator, client) = with([
        Image::new(ID).encrypted(),
        Image::new(OTHER_ID).snapshots([Snapshot::new("snap-00000009").owned_by(FRIEND)]),
    ]);
    modify(&client, &[ALL, ("DryRun", "true")]).assert_refused(412, "DryRunOperation");
    let other = |id| client.ec2("ModifySnapshotAttribute", &[("SnapshotId", id), ADD]);
    other("snap-00000009").assert_refused(400, "InvalidSnapshot.NotFound");
    other("snap-00000008").assert_refused(400, "InvalidSnapshot.NotFound");
    other("snap-x").assert_refused(400, "InvalidSnapshotID.Malformed");
    let ask = |attribute, id| {
        let ask = [("SnapshotId", id), ("Attribute", attribute)];
        client.ec2("DescribeSnapshotAttribute", &ask)
    };
    ask("createVolumePermission", "snap-00000009").assert_refused(400, "InvalidSnapshot.NotFound");
    ask("volumes", SNAPSHOT).assert_refused(400, "InvalidParameterValue");
    assert_eq!(ask("productCodes", SNAPSHOT).text("productCodes"), Some(""));
    assert!(emulator.writes().iter().all(|call| !call.succeeded()));
}

#[test]
fn two_hundred_filter_values_are_the_most_for_snapshots() {
    let (_emulator, client) = with([Image::new(ID)]);
    let describe = |count: u32| {
        let names: Vec<_> = (1..=count)
            .map(|n| (format!("Filter.1.Value.{n}"), format!("snap-{n:017x}")))
            .collect();
        let mut parameters = vec![("Filter.1.Name", "snapshot-id")];
        parameters.extend(names.iter().map(|(name, value)| (&**name, &**value)));
        client.ec2("DescribeSnapshots", &parameters)
    };
    describe(200).assert_ok();
    describe(201).assert_refused(400, "FilterLimitExceeded");
}

#[test]
fn keys_of_a_snapshot_are_described() {
    let arn = "arn:aws:kms:us-east-1:444455556666:key/11111111-0000-4000-8000-000000000001";
    let snapshot = Snapshot::new(SNAPSHOT)
        .encrypted_with(arn)
        .associated_key("arn:other");
    let (_emulator, client) = with([Image::new(ID).encrypted().snapshots([snapshot])]);
    let answer = client.ec2("DescribeSnapshots", &[]);
    assert_eq!(answer.texts("kmsKeyId"), [arn, "arn:other"]);
    let keys = answer.text("associatedKmsKeySet");
    assert_eq!(keys, Some("<item><kmsKeyId>arn:other</kmsKeyId></item>"));
    assert_eq!(answer.text("sseType"), Some("sse-kms"));
}

#[test]
fn snapshots_are_shared_by_hand() {
    let (emulator, client) = with([Image::new(ID)]);
    let act = |name: &str, with: &[&str]| {
        let act = json!({ name: { "SnapshotId": SNAPSHOT, "With": with } });
        client.control("POST", "acts", &act.to_string()).assert_ok();
    };
    act("ShareSnapshot", &[FRIEND, "all"]);
    act("UnshareSnapshot", &["all"]);
    assert_eq!(copiers(&client), [FRIEND]);
    let state = client
        .control("GET", &format!("snapshots/{SNAPSHOT}"), "")
        .json();
    assert_eq!(state["CreateVolumePermissions"], json!([FRIEND]));
    let act = json!({ "ShareSnapshot": { "SnapshotId": "snap-00000001", "With": [] } });
    assert_eq!(client.control("POST", "acts", &act.to_string()).status, 404);
    drop(emulator);
}
