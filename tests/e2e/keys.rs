//! `KEY_CHECK`: the keys of encrypted snapshots, with the calls that KMS gets and those it does
//! not.

use ec2_emulator::{Key, KeyGrant, KeyState, Snapshot};
use serde_json::{Value, json};

use crate::world::*;

const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER_KEY: &str =
    "arn:aws:kms:us-east-1:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321";
const SECOND: &str = "snap-0fedcba9876543210";

/// A key that lets its own account in and nobody else, as KMS makes it.
fn closed() -> Key {
    Key::new(KEY)
}

/// A key whose policy names this principal.
fn open_to(principal: &str) -> Key {
    let statement = |principal: &str| {
        json!({
            "Effect": "Allow",
            "Principal": { "AWS": principal },
            "Action": "kms:*",
            "Resource": "*"
        })
    };
    let own = format!("arn:aws:iam::{OWNER}:root");
    Key::new(KEY).policy(
        json!({ "Version": "2012-10-17", "Statement": [statement(&own), statement(principal)] }),
    )
}

fn root(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// An image that asks for an account, and that this key encrypts.
fn image() -> Image {
    share(ALICE).encrypted_with(KEY)
}

fn world(key: Key) -> World {
    let world = World::new().permissive();
    world.emulator.add_key(key);
    world
}

fn look(dry_run: bool) -> Value {
    json!({ "ImageId": IMAGE, "DryRun": dry_run })
}

fn describe_key(key: &str) -> String {
    format!("DescribeKey KeyId={key}")
}

/// The requests that find out who can use the key: policies and grants at the same time.
fn reads_of_access(key: &str) -> Vec<String> {
    vec![
        format!("ListKeyPolicies KeyId={key}"),
        format!("GetKeyPolicy KeyId={key} PolicyName=default"),
        format!("ListGrants KeyId={key} Limit=100"),
    ]
}

/// The requests before the key is looked at.
fn reads_before() -> [Vec<String>; 3] {
    [
        vec![describe(IMAGE)],
        vec![describe_permissions(IMAGE)],
        vec![describe_snapshots(&[SNAPSHOT])],
    ]
}

/// The requests that let the account in, in a dry run or for real.
fn writes(dry_run: bool) -> Vec<Vec<String>> {
    let add = ("LaunchPermission.Add.1.UserId", ALICE);
    if dry_run {
        return vec![vec![modify(IMAGE, [("DryRun", "true"), add])]];
    }
    vec![vec![modify(IMAGE, [add])], read_back(IMAGE)]
}

/// How many calls KMS got since the last time.
fn key_calls(function: &Function) -> Vec<String> {
    let requests = function.requests().into_iter();
    let actions = [
        "DescribeKey",
        "ListKeyPolicies",
        "GetKeyPolicy",
        "ListGrants",
    ];
    requests
        .filter(|request| {
            actions
                .iter()
                .any(|action| request.starts_with(&format!("{action} ")))
        })
        .collect()
}

fn notes(entry: &Value) -> Vec<String> {
    let notes = entry["Notes"].as_array().cloned().unwrap_or_default();
    notes
        .iter()
        .map(|note| note.as_str().unwrap().to_owned())
        .collect()
}

fn key_needed() -> String {
    format!(
        "Recipients need the key {KEY}, which encrypts {SNAPSHOT}: the key's policy and the IAM \
         policies in their account must let them use it, or their instances end at launch \
         (`ami-warden-plan --key-policy` prints the statements)."
    )
}

/// Looks at the image and asserts these refusals, as `(code, resource)`, that nothing was written,
/// and the calls to KMS.
#[track_caller]
fn check_refused(function: &mut Function, expected: &[(&str, &str)], steps: &[Vec<String>]) {
    for dry_run in [true, false] {
        let entry = only_entry(&function.invoke(&look(dry_run)));
        let attribute = "launchPermission".to_owned();
        let expected: Vec<_> = expected
            .iter()
            .map(|(code, resource)| {
                (
                    attribute.clone(),
                    (*code).to_owned(),
                    (*resource).to_owned(),
                )
            })
            .collect();
        assert_eq!(refusals(&entry), expected, "{entry:#}");
        assert_holds(&entry, &json!({ "Outcome": "refused", "Changes": [] }));
        assert_steps(
            function.requests(),
            reads_before().into_iter().chain(steps.iter().cloned()),
        );
    }
    assert!(function.grantees(IMAGE).is_empty());
}

/// Looks at the image and asserts that the account was let in, the calls, and the notes.
#[track_caller]
fn check_shared(function: &mut Function, steps: &[Vec<String>], expected: &[String]) {
    for dry_run in [true, false] {
        let entry = only_entry(&function.invoke(&look(dry_run)));
        assert_holds(
            &entry,
            &json!({ "Outcome": if dry_run { "planned" } else { "applied" }, "Refusals": [] }),
        );
        assert_eq!(notes(&entry), expected);
        assert_steps(
            function.requests(),
            reads_before()
                .into_iter()
                .chain(steps.iter().cloned())
                .chain(writes(dry_run)),
        );
    }
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

#[test]
fn without_the_setting_no_key_is_looked_at_and_the_entry_says_which_key_recipients_need() {
    for world in [world(closed()), world(closed()).setting("KEY_CHECK", "")] {
        check_shared(&mut world.image(image()).start(), &[], &[key_needed()]);
    }
}

#[test]
fn a_key_that_reaches_nobody_there_is_a_refusal_where_the_setting_says_refuse() {
    let steps = [vec![describe_key(KEY)], reads_of_access(KEY)];
    let mut function = world(closed())
        .setting("KEY_CHECK", "refuse")
        .image(image())
        .start();
    check_refused(&mut function, &[("key-not-shared", ALICE)], &steps);
}

#[test]
fn a_key_that_reaches_nobody_there_is_a_note_where_the_setting_says_warn() {
    let steps = [vec![describe_key(KEY)], reads_of_access(KEY)];
    let mut function = world(closed())
        .setting("KEY_CHECK", "warn")
        .image(image())
        .start();
    let note = format!(
        "Nobody in {ALICE} can use the key {KEY}: no policy and no grant of it names them, so \
         their instances end at launch \
         (`ami-warden-plan --key-policy` prints the statements)."
    );
    check_shared(&mut function, &steps, &[key_needed(), note]);
}

#[test]
fn a_key_that_could_reach_somebody_there_refuses_nothing_and_notes_nothing_more() {
    let with_condition = |principal: &str| {
        let statement = json!({
            "Effect": "Allow", "Principal": principal, "Action": "kms:Decrypt", "Resource": "*",
            "Condition": { "StringEquals": { "aws:PrincipalOrgID": "o-somebodyelse" } }
        });
        closed().policy(json!({ "Version": "2012-10-17", "Statement": statement }))
    };
    let by_ram =
        open_to(&root(OWNER)).policy_named("AWS_RAM", &open_to(&root(ALICE)).policies["default"]);
    for check in ["warn", "refuse"] {
        for key in [
            open_to(&root(ALICE)),
            open_to(ALICE),
            open_to(&format!("arn:aws:iam::{ALICE}:role/builder")),
            with_condition("*"),
            closed().grant(KeyGrant::new(
                "g1",
                &format!("arn:aws:iam::{ALICE}:role/builder"),
                &["Decrypt"],
            )),
        ] {
            let mut function = world(key)
                .setting("KEY_CHECK", check)
                .image(image())
                .start();
            check_shared(
                &mut function,
                &[vec![describe_key(KEY)], reads_of_access(KEY)],
                &[key_needed()],
            );
        }
        // The second policy of a key, which Resource Access Manager writes.
        let mut function = world(by_ram.clone())
            .setting("KEY_CHECK", check)
            .image(image())
            .start();
        let mut reads = reads_of_access(KEY);
        reads.push(format!("GetKeyPolicy KeyId={KEY} PolicyName=AWS_RAM"));
        check_shared(
            &mut function,
            &[vec![describe_key(KEY)], reads],
            &[key_needed()],
        );
    }
}

#[test]
fn whom_the_key_does_not_reach_is_named_one_by_one_and_nobody_of_the_directive_is_let_in() {
    let image = share(&format!("{ALICE} {BOB} {ORGANIZATION}")).encrypted_with(KEY);
    let mut function = world(open_to(&root(ALICE)))
        .setting("KEY_CHECK", "refuse")
        .image(image)
        .start();
    let entry = function.look();
    let refused = |grantee: &str| {
        (
            "launchPermission".to_owned(),
            "key-not-shared".to_owned(),
            grantee.to_owned(),
        )
    };
    assert_eq!(
        refusals(&entry),
        [refused(BOB)],
        "somebody of the organization could be {ALICE}"
    );
    assert!(
        refusal_message(&entry, "key-not-shared").contains(KEY),
        "{entry:#}"
    );
    assert_eq!(function.emulator.writes(), []);
}

#[test]
fn an_aws_managed_key_lets_nobody_in_whatever_the_setting_says() {
    for check in ["warn", "refuse"] {
        let world = World::new()
            .permissive()
            .setting("KEY_CHECK", check)
            .image(share(ALICE).encrypted_with("alias/aws/ebs"));
        let key = world.emulator.edit(|state| {
            state
                .keys
                .values()
                .find(|key| key.aliases.contains("alias/aws/ebs"))
                .unwrap()
                .arn
                .clone()
        });
        check_refused(
            &mut world.start(),
            &[("aws-managed-key", SNAPSHOT)],
            &[vec![describe_key(&key)]],
        );
    }
}

#[test]
fn without_the_setting_ec2_is_left_to_refuse_an_aws_managed_key() {
    let world = World::new()
        .permissive()
        .image(share(ALICE).encrypted_with("alias/aws/ebs"));
    let mut function = world.start();
    let entry = function.look();
    assert_eq!(codes(&entry), ["ec2-refused"]);
    assert_eq!(key_calls(&function), [""; 0]);
}

#[test]
fn a_key_that_nobody_can_use_lets_nobody_in_whatever_the_setting_says() {
    for state in [
        KeyState::Disabled,
        KeyState::PendingDeletion,
        KeyState::PendingImport,
        KeyState::PendingReplicaDeletion,
        KeyState::Unavailable,
    ] {
        for check in ["warn", "refuse"] {
            let key = open_to(&root(ALICE)).state(state);
            let mut function = world(key)
                .setting("KEY_CHECK", check)
                .image(image())
                .start();
            check_refused(
                &mut function,
                &[("key-unusable", KEY)],
                &[vec![describe_key(KEY)]],
            );
        }
    }
}

#[test]
fn a_key_that_is_being_updated_can_be_used() {
    let key = open_to(&root(ALICE)).state(KeyState::Updating);
    let mut function = world(key)
        .setting("KEY_CHECK", "refuse")
        .image(image())
        .start();
    check_shared(
        &mut function,
        &[vec![describe_key(KEY)], reads_of_access(KEY)],
        &[key_needed()],
    );
}

#[test]
fn each_key_is_looked_at_once_in_an_invocation_and_again_in_the_next() {
    let world = world(open_to(&root(ALICE))).setting("KEY_CHECK", "refuse");
    world.emulator.add_key(Key::new(OTHER_KEY));
    let ids: Vec<String> = (0..6).map(|n| format!("ami-0000000{n}")).collect();
    let image = |n: usize| {
        let key = if n < 4 { KEY } else { OTHER_KEY };
        Image::new(&ids[n])
            .tag("ami-warden:launch-permission", ALICE)
            .encrypted_with(key)
    };
    let mut function = (0..6).map(image).fold(world, World::image).start();
    for (event, summary) in [
        (
            json!({ "ImageIds": ids, "DryRun": true }),
            json!({ "planned": 4, "refused": 2 }),
        ),
        (
            json!({ "ImageIds": ids }),
            json!({ "applied": 4, "refused": 2 }),
        ),
        (
            json!({ "Sweep": {} }),
            json!({ "unchanged": 4, "refused": 2 }),
        ),
    ] {
        let sweep = event.get("Sweep").is_some();
        assert_eq!(function.invoke(&event)["Summary"], summary, "{event}");
        let mut calls = key_calls(&function);
        calls.sort();
        let of = |key: &str| [vec![describe_key(key)], reads_of_access(key)].concat();
        // The settled images of the sweep ask for no key.
        let mut expected = if sweep {
            of(OTHER_KEY)
        } else {
            [of(KEY), of(OTHER_KEY)].concat()
        };
        expected.sort();
        assert_eq!(calls, expected, "{event}");
    }
}

#[test]
fn all_keys_of_an_image_are_looked_at() {
    let image = image()
        .block_device(ec2_emulator::BlockDevice::ebs("/dev/sdb", SECOND).encrypted_with(OTHER_KEY));
    let world = world(open_to(&root(ALICE))).setting("KEY_CHECK", "refuse");
    world.emulator.add_key(Key::new(OTHER_KEY));
    let entry = world.image(image).start().look();
    assert_eq!(refusals(&entry)[0].2, ALICE);
    let message = refusal_message(&entry, "key-not-shared");
    assert!(
        message.contains(OTHER_KEY) && !message.contains(KEY),
        "{message}"
    );
}

#[test]
fn no_key_is_looked_at_where_nobody_is_added() {
    let mut function = world(closed()).setting("KEY_CHECK", "refuse").start();
    for image in [
        image().granted(ALICE),
        share("-444455556666").granted(ALICE).encrypted_with(KEY),
        share("= 444455556666")
            .granted(ALICE)
            .granted(BOB)
            .encrypted_with(KEY),
        Image::new(IMAGE)
            .tag("ami-warden:description", "new")
            .encrypted_with(KEY),
        share(ALICE),
    ] {
        function.emulator.add(image);
        function.look();
        assert_eq!(key_calls(&function), [""; 0]);
    }
}

#[test]
fn a_key_that_cannot_be_looked_at_refuses_nothing_and_is_noted_once() {
    for check in ["warn", "refuse"] {
        let mut function = world(closed())
            .setting("KEY_CHECK", check)
            .image(image())
            .start();
        function
            .emulator
            .fault(Fault::error("DescribeKey", "AccessDeniedException").forever());
        let entry = function.look();
        assert_holds(&entry, &json!({ "Outcome": "applied", "Refusals": [] }));
        let [needed, unknown] = notes(&entry).try_into().unwrap();
        assert_eq!(needed, key_needed());
        assert!(
            unknown.starts_with(&format!(
                "The key {KEY} could not be checked (DescribeKey failed with AccessDenied"
            )),
            "{unknown}"
        );
        assert_eq!(key_calls(&function), [describe_key(KEY)]);
    }
}

#[test]
fn policies_or_grants_that_cannot_be_read_refuse_nothing() {
    for action in ["ListKeyPolicies", "GetKeyPolicy", "ListGrants"] {
        let mut function = world(closed())
            .setting("KEY_CHECK", "refuse")
            .image(image())
            .start();
        function
            .emulator
            .fault(Fault::error(action, "AccessDeniedException").forever());
        let entry = function.look();
        assert_holds(&entry, &json!({ "Outcome": "applied", "Refusals": [] }));
        let expected = format!(
            "The key {KEY} could not be checked (not all of its policies and grants can be \
             read), so it is unknown whether \
             recipients can use it."
        );
        assert_eq!(notes(&entry), [key_needed(), expected], "{action}");
    }
}

#[test]
fn another_accounts_key_is_never_said_to_reach_nobody() {
    let foreign = KEY.replace(OWNER, BOB);
    let mut function = world(Key::new(&foreign))
        .setting("KEY_CHECK", "refuse")
        .image(share(ALICE).encrypted_with(&foreign))
        .start();
    let entry = function.look();
    assert_holds(&entry, &json!({ "Outcome": "applied", "Refusals": [] }));
    assert_eq!(notes(&entry).len(), 2, "{entry:#}");
}

#[test]
fn grants_are_read_page_by_page() {
    let own = |n: usize| KeyGrant::new(&format!("g{n:04}"), &root(OWNER), &["Decrypt"]);
    let mut key = (0..150).map(own).fold(closed(), Key::grant);
    let mut function = world(key.clone())
        .setting("KEY_CHECK", "refuse")
        .image(image())
        .start();
    assert_eq!(codes(&function.look()), ["key-not-shared"]);
    assert_eq!(
        key_calls(&function)
            .iter()
            .filter(|call| call.starts_with("ListGrants"))
            .count(),
        2
    );
    // The last of all.
    key = key.grant(KeyGrant::new("g9999", &root(ALICE), &["Decrypt"]));
    function.emulator.add_key(key);
    assert_eq!(function.look()["Outcome"], "applied");
}

#[test]
fn the_copy_permission_is_guarded_by_the_keys_as_well() {
    let world = world(closed())
        .setting("KEY_CHECK", "refuse")
        .setting("ALLOWED_COPIERS", "*");
    let image = Image::new(IMAGE)
        .tag("ami-warden:copy-permission", ALICE)
        .encrypted_with(KEY);
    let mut function = world.image(image).start();
    let entry = function.look();
    assert_eq!(
        refusals(&entry),
        [(
            "createVolumePermission".into(),
            "key-not-shared".into(),
            ALICE.into()
        )]
    );
    assert_eq!(function.emulator.writes(), []);
}

#[test]
fn all_is_guarded_by_the_keys_as_well_and_every_ground_is_given_in_order() {
    for (key, expected) in [
        (closed(), ["encrypted-snapshot", "key-not-shared"]),
        (
            closed().state(KeyState::Disabled),
            ["encrypted-snapshot", "key-unusable"],
        ),
    ] {
        let mut function = world(key)
            .setting("KEY_CHECK", "refuse")
            .image(share("all").encrypted_with(KEY))
            .start();
        assert_eq!(codes(&function.look()), expected);
    }
    let mut function = world(closed().managed_by_aws())
        .setting("KEY_CHECK", "refuse")
        .image(share("all").encrypted_with(KEY))
        .start();
    assert_eq!(
        codes(&function.look()),
        ["encrypted-snapshot", "aws-managed-key"]
    );
}

#[test]
fn an_encrypted_snapshot_whose_key_ec2_does_not_show_is_noted() {
    let image = share(ALICE)
        .encrypted()
        .snapshots([Snapshot::new(SNAPSHOT).encrypted()]);
    let mut function = world(closed())
        .setting("KEY_CHECK", "refuse")
        .image(image)
        .start();
    let entry = function.look();
    assert_eq!(entry["Outcome"], "applied");
    assert!(
        notes(&entry)[0].starts_with(&format!(
            "{SNAPSHOT} is encrypted, and EC2 does not show its key"
        )),
        "{entry:#}"
    );
    assert_eq!(key_calls(&function), [""; 0]);
}
