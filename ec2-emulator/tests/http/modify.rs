use ec2_emulator::{BlockDevice, BlockPublicAccess, Image, ImageState, Snapshot};

use crate::{FRIEND, ID, ORGANIZATION, OTHER_ID, UNIT, with};

const PUBLIC: (&str, &str) = ("LaunchPermission.Add.1.Group", "all");

/// What becomes of an image that is modified.
fn modified(image: Image, parameters: &[(&str, &str)]) -> Image {
    let (emulator, client) = with([image]);
    let answer = client.modify(parameters);
    answer.assert_ok();
    assert_eq!(answer.text("return"), Some("true"));
    emulator.image(ID).expect("still there")
}

/// Checks that a modification is refused and changes nothing.
#[track_caller]
fn refused(image: Image, parameters: &[(&str, &str)], code: &str) {
    let (emulator, client) = with([image]);
    let before = emulator.image(ID);
    client.modify(parameters).assert_refused(400, code);
    assert_eq!(emulator.image(ID), before);
}

#[test]
fn add_and_remove_go_in_one_call() {
    let image = Image::new(ID).granted("000000000001").granted("all");
    let after = modified(
        image,
        &[
            ("LaunchPermission.Add.1.UserId", FRIEND),
            ("LaunchPermission.Add.2.OrganizationArn", ORGANIZATION),
            ("LaunchPermission.Add.3.OrganizationalUnitArn", UNIT),
            ("LaunchPermission.Remove.1.UserId", "000000000001"),
            ("LaunchPermission.Remove.2.Group", "all"),
        ],
    );
    assert_eq!(after.grantees(), [FRIEND, ORGANIZATION, UNIT]);
}

#[test]
fn both_styles_of_parameters_do_the_same() {
    let lists = [
        ("UserId.1", "UserId", FRIEND),
        ("UserGroup.1", "Group", "all"),
        ("OrganizationArn.1", "OrganizationArn", ORGANIZATION),
        ("OrganizationalUnitArn.1", "OrganizationalUnitArn", UNIT),
    ];
    for (list, field, value) in lists {
        let add = format!("LaunchPermission.Add.1.{field}");
        let remove = format!("LaunchPermission.Remove.1.{field}");
        for (operation, structure) in [("add", &add), ("remove", &remove)] {
            let image = || Image::new(ID).created("2026-03-25T16:30:25Z".parse().expect("a time"));
            let image = || {
                if operation == "add" {
                    image()
                } else {
                    image().granted(value)
                }
            };
            let one = modified(image(), &[(structure, value)]);
            let attribute = ("Attribute", "launchPermission");
            let other = modified(
                image(),
                &[attribute, ("OperationType", operation), (list, value)],
            );
            assert_eq!(one, other);
            assert_eq!(one.grantees().len(), usize::from(operation == "add"));
        }
    }
    for (attribute, structure, value) in [
        ("description", "Description.Value", "text"),
        ("imdsSupport", "ImdsSupport.Value", "v2.0"),
    ] {
        let image = Image::new(ID);
        let one = modified(image.clone(), &[(structure, value)]);
        let other = modified(image.clone(), &[("Attribute", attribute), ("Value", value)]);
        let named = modified(image, &[("Attribute", attribute), (structure, value)]);
        assert_eq!(one, other);
        assert_eq!(one, named);
    }
}

#[test]
fn an_operation_type_beside_a_structure_must_say_the_same() {
    let add = ("LaunchPermission.Add.1.UserId", FRIEND);
    assert_eq!(
        modified(Image::new(ID), &[add, ("OperationType", "add")]).grantees(),
        [FRIEND]
    );
    let remove = ("LaunchPermission.Remove.1.UserId", FRIEND);
    assert!(
        modified(
            Image::new(ID).granted(FRIEND),
            &[remove, ("OperationType", "remove")]
        )
        .grantees()
        .is_empty()
    );
    refused(
        Image::new(ID),
        &[add, ("OperationType", "remove")],
        "MissingParameter",
    );
    refused(
        Image::new(ID),
        &[remove, ("OperationType", "add")],
        "MissingParameter",
    );
}

#[test]
fn description_and_imds_support_are_set() {
    let after = modified(Image::new(ID), &[("Description.Value", "golden image, v1")]);
    assert_eq!(after.description.as_deref(), Some("golden image, v1"));
    let after = modified(Image::new(ID).imds_v2(), &[("ImdsSupport.Value", "v2.0")]);
    assert_eq!(after.imds_support.as_deref(), Some("v2.0"));
}

#[test]
fn adding_who_is_there_and_removing_who_is_not_succeed() {
    let image = Image::new(ID).granted(FRIEND);
    let parameters = [
        ("LaunchPermission.Add.1.UserId", FRIEND),
        ("LaunchPermission.Remove.1.Group", "all"),
    ];
    assert_eq!(modified(image, &parameters).grantees(), [FRIEND]);
}

#[test]
fn exactly_one_attribute_may_be_given() {
    let image = || Image::new(ID);
    refused(image(), &[], "InvalidParameterCombination");
    let two = [("Description.Value", "x"), ("ImdsSupport.Value", "v2.0")];
    refused(image(), &two, "InvalidParameterCombination");
    let two = [
        ("Description.Value", "x"),
        ("LaunchPermission.Add.1.UserId", FRIEND),
    ];
    refused(image(), &two, "InvalidParameterCombination");
    let styles = [
        ("LaunchPermission.Add.1.UserId", FRIEND),
        ("OperationType", "add"),
        ("UserId.1", "000000000001"),
    ];
    refused(image(), &styles, "InvalidParameterCombination");
    let other = [("Attribute", "imdsSupport"), ("Description.Value", "x")];
    refused(image(), &other, "InvalidParameterCombination");
}

#[test]
fn incomplete_parameters_are_refused() {
    let image = || Image::new(ID);
    refused(
        image(),
        &[("Attribute", "launchPermission")],
        "MissingParameter",
    );
    refused(image(), &[("Attribute", "description")], "MissingParameter");
    refused(image(), &[("OperationType", "add")], "MissingParameter");
    refused(image(), &[("UserId.1", FRIEND)], "MissingParameter");
    refused(image(), &[("Value", "x")], "InvalidParameterCombination");
    refused(image(), &[("Attribute", "kernel")], "InvalidParameterValue");
    refused(
        image(),
        &[("OperationType", "set"), ("UserId.1", FRIEND)],
        "InvalidParameterValue",
    );
    refused(
        image(),
        &[("ProductCode.1", "a1b2")],
        "UnsupportedOperation",
    );
}

#[test]
fn one_member_names_one_grantee() {
    let two = [
        ("LaunchPermission.Add.1.UserId", FRIEND),
        ("LaunchPermission.Add.1.Group", "all"),
    ];
    refused(Image::new(ID), &two, "InvalidParameterCombination");
}

#[test]
fn values_that_are_no_grantees_of_their_kind_are_refused() {
    for (field, value) in [
        ("UserId", "123"),
        ("UserId", "4444-5555-6666"),
        ("UserId", "all"),
        ("Group", "everyone"),
        ("OrganizationArn", "o-exampleorgid"),
        ("OrganizationArn", UNIT),
        (
            "OrganizationArn",
            "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid",
        ),
        ("OrganizationalUnitArn", "ou-ab12-cdef3456"),
        ("OrganizationalUnitArn", ORGANIZATION),
    ] {
        let parameter = format!("LaunchPermission.Add.1.{field}");
        refused(
            Image::new(ID),
            &[(&parameter, value)],
            "InvalidAMIAttributeItemValue",
        );
    }
}

#[test]
fn one_bad_grantee_spoils_the_whole_call() {
    let parameters = [
        ("LaunchPermission.Add.1.UserId", FRIEND),
        ("LaunchPermission.Add.2.UserId", "123"),
    ];
    refused(Image::new(ID), &parameters, "InvalidAMIAttributeItemValue");
}

#[test]
fn the_same_grantee_added_and_removed_is_refused() {
    let parameters = [
        ("LaunchPermission.Add.1.UserId", FRIEND),
        ("LaunchPermission.Remove.1.UserId", FRIEND),
    ];
    refused(Image::new(ID), &parameters, "InvalidParameterCombination");
}

#[test]
fn only_an_available_image_can_be_modified() {
    for state in [
        ImageState::Pending,
        ImageState::Disabled,
        ImageState::Failed,
        ImageState::Deregistered,
    ] {
        let image = || Image::new(ID).state(state);
        let unavailable = "InvalidAMIID.Unavailable";
        refused(image(), &[("Description.Value", "x")], unavailable);
        refused(
            image(),
            &[("LaunchPermission.Add.1.UserId", FRIEND)],
            unavailable,
        );
    }
}

#[test]
fn only_an_own_image_that_exists_can_be_modified() {
    let text = ("Description.Value", "x");
    refused(
        Image::new(ID).owned_by(FRIEND).granted("all"),
        &[text],
        "AuthFailure",
    );
    let (_emulator, client) = with([]);
    client
        .modify(&[text])
        .assert_refused(400, "InvalidAMIID.NotFound");
    client
        .ec2("ModifyImageAttribute", &[("ImageId", "ami-xyz"), text])
        .assert_refused(400, "InvalidAMIID.Malformed");
    client
        .ec2("ModifyImageAttribute", &[text])
        .assert_refused(400, "MissingParameter");
}

#[test]
fn an_encrypted_image_cannot_be_made_public() {
    let code = "UnsupportedOperation";
    refused(Image::new(ID).encrypted(), &[PUBLIC], code);
    let data_volume = BlockDevice::empty("/dev/sdf").encrypted(true);
    refused(Image::new(ID).block_device(data_volume), &[PUBLIC], code);
    // The mapping does not say so, but the snapshot is, whether or not it can be seen.
    let snapshot = || Snapshot::new("snap-0123456789abcdef0").encrypted();
    let image = || Image::new(ID).encryption_unsaid();
    refused(image().snapshots([snapshot()]), &[PUBLIC], code);
    refused(
        image().snapshots([snapshot().owned_by(FRIEND)]),
        &[PUBLIC],
        code,
    );
    assert!(modified(image(), &[PUBLIC]).is_public());
}

#[test]
fn an_encrypted_image_can_be_shared_with_an_account() {
    let after = modified(
        Image::new(ID).encrypted(),
        &[("LaunchPermission.Add.1.UserId", FRIEND)],
    );
    assert_eq!(after.grantees(), [FRIEND]);
}

#[test]
fn an_image_with_a_product_code_cannot_be_made_public() {
    refused(
        Image::new(ID).product_code("a1b2c3"),
        &[PUBLIC],
        "UnsupportedOperation",
    );
}

#[test]
fn an_image_with_a_watermark_cannot_be_made_public() {
    let image = || Image::new(ID).watermark("444455556666:approved");
    refused(image(), &[PUBLIC], "UnsupportedOperation");
    let after = modified(image(), &[("LaunchPermission.Add.1.UserId", FRIEND)]);
    assert_eq!(after.grantees(), [FRIEND]);
}

#[test]
fn no_image_can_be_made_public_under_block_public_access() {
    let (emulator, client) = with([Image::new(ID), Image::new(OTHER_ID).granted("all")]);
    emulator.edit(|state| state.block_public_access = BlockPublicAccess::BlockNewSharing);
    client
        .modify(&[PUBLIC])
        .assert_refused(400, "OperationNotPermitted");
    client
        .modify(&[("LaunchPermission.Add.1.UserId", FRIEND)])
        .assert_ok();
    // Images that are public already stay public.
    client
        .ec2("ModifyImageAttribute", &[("ImageId", OTHER_ID), PUBLIC])
        .assert_ok();
}

#[test]
fn five_images_may_be_public() {
    let public = (1..=5).map(|n| Image::new(format!("ami-{n:08x}")).granted("all"));
    let foreign = Image::new(OTHER_ID).owned_by(FRIEND).granted("all");
    let (emulator, client) = with(public.chain([foreign, Image::new(ID)]));
    let answer = client.modify(&[PUBLIC]);
    answer.assert_refused(400, "ResourceLimitExceeded");
    assert!(answer.body.contains("quota of 5"), "{}", answer.body);
    emulator.edit(|state| state.public_image_quota = 6);
    client.modify(&[PUBLIC]).assert_ok();
}

#[test]
fn an_account_that_does_not_exist_spoils_the_whole_call() {
    let closed = "999999999999";
    let (emulator, client) = with([Image::new(ID).granted(closed)]);
    let seed = format!(r#"{{"UnknownAccounts":["{closed}","000000000009"]}}"#);
    client.control("POST", "seed", &seed).assert_ok();
    let add = |account| {
        [
            ("LaunchPermission.Add.1.UserId", FRIEND),
            ("LaunchPermission.Add.2.UserId", account),
        ]
    };
    for account in [closed, "000000000009"] {
        client
            .modify(&add(account))
            .assert_refused(400, "InvalidAMIAttributeItemValue");
    }
    assert_eq!(emulator.image(ID).expect("there").grantees(), [closed]);
    // One that has the permission loses it, one that has not is not known.
    let remove = |account| [("LaunchPermission.Remove.1.UserId", account)];
    client
        .modify(&remove("000000000009"))
        .assert_refused(400, "InvalidAMIAttributeItemValue");
    client.modify(&remove(closed)).assert_ok();
    let snapshot = [
        ("SnapshotId", "snap-0123456789abcdef0"),
        ("CreateVolumePermission.Add.1.UserId", closed),
    ];
    let answer = client.ec2("ModifySnapshotAttribute", &snapshot);
    answer.assert_refused(400, "InvalidParameterValue");
    client.modify(&add("000000000008")).assert_ok();
}

#[test]
fn a_thousand_entities_are_the_most() {
    let mut image = Image::new(ID);
    for n in 1..=998 {
        image = image.granted(&format!("{n:012}"));
    }
    let image = || image.clone().granted(ORGANIZATION).granted("all");
    let add = |n: usize| {
        (
            "LaunchPermission.Add.1.UserId",
            ["000000002001", "000000002002"][n],
        )
    };
    assert_eq!(modified(image(), &[add(0)]).grantees().len(), 1001);
    let full = image().granted("000000002001");
    refused(full.clone(), &[add(1)], "ResourceLimitExceeded");
    let remove = ("LaunchPermission.Remove.1.OrganizationArn", ORGANIZATION);
    modified(full, &[add(1), remove]);
}

#[test]
fn an_image_can_be_shared_with_so_many_entities() {
    let image = Image::new(ID)
        .granted("000000000001")
        .granted(ORGANIZATION)
        .granted("all");
    let (emulator, client) = with([image]);
    emulator.edit(|state| state.sharing_quota = 2);
    let add = ("LaunchPermission.Add.1.UserId", FRIEND);
    client
        .modify(&[add])
        .assert_refused(400, "ResourceLimitExceeded");
    client
        .modify(&[add, ("LaunchPermission.Remove.1.UserId", "000000000001")])
        .assert_ok();
}

#[test]
fn descriptions_are_ascii_and_at_most_255_characters() {
    let code = "InvalidParameterValue";
    refused(Image::new(ID), &[("Description.Value", "em — dash")], code);
    refused(
        Image::new(ID),
        &[("Description.Value", &"x".repeat(256))],
        code,
    );
    refused(Image::new(ID), &[("Description.Value", "")], code);
    modified(Image::new(ID), &[("Description.Value", &"x".repeat(255))]);
}

#[test]
fn imds_support_is_v2_0_and_nothing_else() {
    for value in ["v1.0", "V2.0", ""] {
        refused(
            Image::new(ID),
            &[("ImdsSupport.Value", value)],
            "InvalidParameterValue",
        );
    }
}

#[test]
fn a_dry_run_tells_about_permission_only() {
    let (emulator, client) = with([Image::new(ID).encrypted().pending()]);
    let dry = ("DryRun", "true");
    client
        .modify(&[PUBLIC, dry])
        .assert_refused(412, "DryRunOperation");
    assert!(!emulator.image(ID).expect("still there").is_public());
    assert!(emulator.writes().is_empty());
    client
        .modify(&[("LaunchPermission.Add.1.Group", "some"), dry])
        .assert_refused(400, "InvalidAMIAttributeItemValue");
    let (_emulator, client) = with([Image::new(ID).owned_by(FRIEND)]);
    client
        .modify(&[PUBLIC, dry])
        .assert_refused(400, "AuthFailure");
}

#[test]
fn a_public_image_is_deprecated_two_years_after_its_creation() {
    let at = |text: &str| text.parse().expect("a time");
    let image = || Image::new(ID).created(at("2026-03-25T16:30:25Z"));
    let latest = Some(at("2028-03-25T16:30:00Z"));
    assert_eq!(modified(image(), &[PUBLIC]).deprecation_time, latest);
    let later = image().deprecated(at("2030-01-01T00:00:00Z"));
    assert_eq!(modified(later, &[PUBLIC]).deprecation_time, latest);
    let earlier = image().deprecated(at("2027-01-01T00:00:00Z"));
    assert_eq!(
        modified(earlier, &[PUBLIC]).deprecation_time,
        Some(at("2027-01-01T00:00:00Z"))
    );
    let private = modified(image(), &[("LaunchPermission.Add.1.UserId", FRIEND)]);
    assert_eq!(private.deprecation_time, None);
}

#[test]
fn a_reset_removes_everyone() {
    let (emulator, client) = with([Image::new(ID).granted("all").granted(FRIEND).granted(UNIT)]);
    let reset = |attribute| {
        client.ec2(
            "ResetImageAttribute",
            &[("ImageId", ID), ("Attribute", attribute)],
        )
    };
    reset("description").assert_refused(400, "InvalidParameterValue");
    reset("launchPermission").assert_ok();
    assert!(
        emulator
            .image(ID)
            .expect("still there")
            .grantees()
            .is_empty()
    );
}
