//! Launch permissions in ModifyImageAttribute: both styles of parameters, and what forbids a
//! change.

use std::collections::BTreeSet;

use crate::engine::run::Caller;
use crate::state::grantee::{Grantee, GranteeKind};
use crate::state::image::Image;
use crate::state::{BlockPublicAccess, State};
use crate::wire::error::ApiError;
use crate::wire::query::Params;

/// Grantees to add and to remove in one step.
#[derive(Default)]
pub(crate) struct PermissionChange {
    add: BTreeSet<Grantee>,
    remove: BTreeSet<Grantee>,
}

/// Takes the parameters of both styles; one change for each style that is used.
///
/// * `LaunchPermission.Add.N.UserId` (`Group`, `OrganizationArn`, `OrganizationalUnitArn`), the
///   same with `Remove`
/// * `OperationType` with `UserId.N`, `UserGroup.N`, `OrganizationArn.N`, `OrganizationalUnitArn.N`
pub(crate) fn take_all(
    params: &mut Params,
    caller: &Caller,
) -> Result<Vec<PermissionChange>, ApiError> {
    let mut changes = Vec::new();
    let add = take_permissions(params, "LaunchPermission.Add", caller)?;
    let remove = take_permissions(params, "LaunchPermission.Remove", caller)?;
    // What EC2 does with a grantee in both is not documented: refused here, so that nobody relies
    // on it.
    if let Some(both) = add.intersection(&remove).next() {
        return Err(ApiError::invalid_combination(format!(
            "{both} is both added and removed."
        )));
    }
    if !add.is_empty() || !remove.is_empty() {
        changes.push(PermissionChange { add, remove });
    }

    let operation = params.take("OperationType");
    let mut grantees = BTreeSet::new();
    for kind in GranteeKind::ALL {
        for value in params.take_list(kind.list())? {
            grantees.insert(grantee(&value, kind, caller)?);
        }
    }
    match (operation.as_deref(), grantees.is_empty()) {
        (None, true) => {}
        (None, false) => return Err(ApiError::missing_parameter("OperationType")),
        // Beside `LaunchPermission` it is superfluous, and taken where it says the same: Cloud
        // Custodian sends both (c7n 0.9.53, `resources/ami.py`, `SetPermissions`).
        (Some("add"), true) if changes.iter().any(|change| change.remove.is_empty()) => {}
        (Some("remove"), true) if changes.iter().any(|change| change.add.is_empty()) => {}
        (Some(_), true) => return Err(ApiError::missing_parameter("UserId")),
        (Some("add"), false) => changes.push(PermissionChange {
            add: grantees,
            ..PermissionChange::default()
        }),
        (Some("remove"), false) => changes.push(PermissionChange {
            remove: grantees,
            ..PermissionChange::default()
        }),
        (Some(other), false) => {
            return Err(ApiError::invalid_value(
                "OperationType",
                other,
                "Expecting add or remove.",
            ));
        }
    }
    Ok(changes)
}

fn take_permissions(
    params: &mut Params,
    list: &str,
    caller: &Caller,
) -> Result<BTreeSet<Grantee>, ApiError> {
    let mut grantees = BTreeSet::new();
    for mut member in params.take_structs(list)? {
        let mut found = None;
        for kind in GranteeKind::ALL {
            let Some(value) = member.take(kind.field()) else {
                continue;
            };
            if found.is_some() {
                return Err(ApiError::invalid_combination(format!(
                    "A member of {list} names more than one grantee."
                )));
            }
            found = Some(grantee(&value, kind, caller)?);
        }
        member.finish_member()?;
        grantees.extend(found);
    }
    Ok(grantees)
}

/// The value must be of the kind it is given as, and an ARN of the partition the request is for.
fn grantee(value: &str, kind: GranteeKind, caller: &Caller) -> Result<Grantee, ApiError> {
    value
        .parse::<Grantee>()
        .ok()
        .filter(|grantee| grantee.kind() == kind)
        .filter(|grantee| grantee.partition().is_none_or(|p| p == caller.partition))
        .ok_or_else(|| ApiError::bad_grantee(value, kind.item_type()))
}

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
    if after.contains(&Grantee::all()) && !image.is_public() {
        check_public(state, image)?;
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
             is enabled for this account. To publicly share the image, you must call the DisableImageBlockPublicAccess API.",
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
