use ec2_emulator::{Image, ImageState};

use crate::{FRIEND, ID, with};

#[test]
fn a_disabled_image_loses_all_permissions_and_does_not_get_them_back() {
    let (emulator, client) = with([Image::new(ID).granted("all").granted(FRIEND)]);
    let image = || emulator.image(ID).expect("still there");
    client.ec2("DisableImage", &[("ImageId", ID)]).assert_ok();
    assert_eq!(image().state, ImageState::Disabled);
    client.ec2("EnableImage", &[("ImageId", ID)]).assert_ok();
    assert_eq!(image().state, ImageState::Available);
    assert!(image().grantees().is_empty());
}

#[test]
fn a_deregistered_image_is_an_empty_answer_and_cannot_be_modified() {
    let (emulator, client) = with([Image::new(ID)]);
    let parameters = [("ImageId", ID), ("DeleteAssociatedSnapshots", "true")];
    client.ec2("DeregisterImage", &parameters).assert_ok();
    let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
    answer.assert_ok();
    assert!(answer.texts("imageId").is_empty());
    client
        .modify(&[("Description.Value", "x")])
        .assert_refused(400, "InvalidAMIID.Unavailable");
    assert!(emulator.edit(|state| state.snapshots.is_empty()));
}

#[test]
fn only_an_own_image_can_be_disabled_or_deregistered() {
    let (emulator, client) = with([Image::new(ID).owned_by(FRIEND).granted("all")]);
    for action in ["EnableImage", "DisableImage", "DeregisterImage"] {
        client
            .ec2(action, &[("ImageId", ID)])
            .assert_refused(400, "AuthFailure");
    }
    assert!(emulator.image(ID).is_some());
}

#[test]
fn a_dry_run_changes_nothing() {
    let (emulator, client) = with([Image::new(ID)]);
    for action in ["EnableImage", "DisableImage", "DeregisterImage"] {
        client
            .ec2(action, &[("ImageId", ID), ("DryRun", "true")])
            .assert_refused(412, "DryRunOperation");
    }
    let state = emulator.image(ID).expect("still there").state;
    assert_eq!(state, ImageState::Available);
}
