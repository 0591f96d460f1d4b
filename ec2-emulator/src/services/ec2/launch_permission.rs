//! What forbids a change of launch permissions in ModifyImageAttribute.

use std::collections::BTreeSet;

use crate::services::ec2::permissions::{LAUNCH, PermissionChange};
use crate::state::account::State;
use crate::state::block_public_access::BlockPublicAccess;
use crate::state::grantee::Grantee;
use crate::state::image::Image;
use crate::wire::error::ApiError;

/// The permissions as they would be, unless something forbids the change.
///
/// Adding who is there and removing who is not succeed. The rules on public images count only when
/// the image is not public yet (EC2 User Guide, "Block public access to your AMIs": images that are
/// public already stay so).
pub(crate) fn after(
    state: &State,
    image: &Image,
    change: &PermissionChange,
) -> Result<BTreeSet<Grantee>, ApiError> {
    let after: BTreeSet<Grantee> = image
        .launch_permissions
        .difference(&change.remove)
        .chain(&change.add)
        .cloned()
        .collect();
    LAUNCH.check_accounts(state, change, &image.launch_permissions)?;
    if after.contains(&Grantee::all()) && !image.is_public() {
        check_public(state, image)?;
    }
    if !change.add.is_empty() {
        check_keys(state, image)?;
    }
    // EC2 User Guide, "AMI quotas": accounts, organizations and OUs count. The code is the likely
    // one, not a known one.
    let entities = |of: &BTreeSet<Grantee>| of.iter().filter(|g| !g.is_all()).count();
    let (before, now) = (entities(&image.launch_permissions), entities(&after));
    if now > state.sharing_quota && now > before {
        return Err(ApiError::new(
            "ResourceLimitExceeded",
            format!(
                "You have reached your quota of {} for the number of entities \
                 an image can be shared with.",
                state.sharing_quota
            ),
        ));
    }
    Ok(after)
}

/// The accounts that are added: code and text are those of hashicorp/packer#7410 and
/// DataDog/stratus-red-team#109.
fn check_keys(state: &State, image: &Image) -> Result<(), ApiError> {
    let ids = image
        .block_devices
        .iter()
        .filter_map(|device| device.snapshot_id.as_deref());
    for snapshot in ids.filter_map(|id| state.snapshots.get(id)) {
        if state.is_under_aws_key(snapshot) {
            return Err(ApiError::new(
                "InvalidParameter",
                "Snapshots encrypted with the AWS Managed CMK can’t be shared. \
                 Specify another snapshot.",
            ));
        }
    }
    Ok(())
}

/// Source: EC2 User Guide, "Share an AMI", "Block public access to your AMIs", "AMI quotas". In
/// which order EC2 looks is not known.
fn check_public(state: &State, image: &Image) -> Result<(), ApiError> {
    if state.is_encrypted(image) {
        return Err(ApiError::new(
            "UnsupportedOperation",
            "Encrypted snapshots can’t be shared publicly. Specify another snapshot.",
        ));
    }
    if let Some(code) = image.product_codes.first() {
        // "AMIs with a product code can't be made public"; no real answer is known, so code and
        // text are a guess.
        return Err(ApiError::new(
            "UnsupportedOperation",
            format!("Images with a product code ({code}) can’t be made public."),
        ));
    }
    if let Some(watermark) = image.watermarks.first() {
        // EC2 User Guide, "AMI watermarks": "You can't […] make AMIs public if they have a
        // watermark". No real answer is known: the code is that of encrypted images.
        let key = &watermark.watermark_key;
        return Err(ApiError::new(
            "UnsupportedOperation",
            format!("Images with a watermark ({key}) can’t be made public."),
        ));
    }
    if state.block_public_access == BlockPublicAccess::BlockNewSharing {
        return Err(ApiError::new(
            "OperationNotPermitted",
            "You can’t publicly share this image because block public access for AMIs \
             is enabled for this account. To publicly share the image, you must call the \
             DisableImageBlockPublicAccess API.",
        ));
    }
    let public = state
        .images
        .values()
        .filter(|image| state.owns(image) && image.is_public())
        .count();
    if public >= state.public_image_quota {
        return Err(ApiError::new(
            "ResourceLimitExceeded",
            format!(
                "You have reached your quota of {} for the number of public images allowed in \
                 this Region. Deregister unused public images or make them private, or \
                 request an increase in your public AMIs quota.",
                state.public_image_quota
            ),
        ));
    }
    Ok(())
}
