//! The image or snapshot that a request names.

use crate::state::account::State;
use crate::state::image::Image;
use crate::state::image_state::ImageState;
use crate::state::resource_id::is_resource_id;
use crate::state::snapshot::Snapshot;
use crate::wire::error::ApiError;
use crate::wire::query::Params;

/// The image of that id, if it is there and the account's own.
pub(crate) fn own_image<'a>(state: &'a State, id: &str) -> Result<&'a Image, ApiError> {
    if !is_resource_id(id, "ami-") {
        return Err(ApiError::image_malformed(id));
    }
    if state.deregistered.contains(id) {
        return Err(ApiError::new(
            "InvalidAMIID.Unavailable",
            format!("The AMI ID '{id}' is no longer available"),
        ));
    }
    let Some(image) = state.images.get(id) else {
        return Err(ApiError::image_not_found(&[id]));
    };
    if !state.owns(image) {
        return Err(ApiError::image_not_yours(id));
    }
    Ok(image)
}

/// Takes `ImageId` and ends the request: the account's own image of that id, to be changed.
pub(crate) fn take_image<'a>(
    state: &'a mut State,
    params: &mut Params,
) -> Result<&'a mut Image, ApiError> {
    let id = params.require("ImageId")?;
    let dry_run = params.finish()?;
    own_image(state, &id)?;
    dry_run.permitted()?;
    match state.images.get_mut(&id) {
        Some(image) => Ok(image),
        None => Err(ApiError::image_not_found(&[&id])),
    }
}

/// The code for `pending` and its text are recorded. For the other states only the code's
/// description ("is not in a state from which you can […] modify attributes") is known.
pub(crate) fn check_modifiable(image: &Image) -> Result<(), ApiError> {
    match image.state {
        ImageState::Available => Ok(()),
        _ => Err(in_the_wrong_state(image)),
    }
}

/// The refusal of a call that an image's state forbids.
pub(crate) fn in_the_wrong_state(image: &Image) -> ApiError {
    let (id, state) = (&image.image_id, image.state.as_str());
    ApiError::new(
        "InvalidAMIID.Unavailable",
        format!("The AMI ID '{id}' is currently {state} and may not be used for this operation"),
    )
}

/// The snapshot of that id, if it is there and the account's own: others cannot be seen.
pub(crate) fn own_snapshot<'a>(state: &'a State, id: &str) -> Result<&'a Snapshot, ApiError> {
    if !is_resource_id(id, "snap-") {
        return Err(ApiError::new(
            "InvalidSnapshotID.Malformed",
            format!("Invalid id: \"{id}\""),
        ));
    }
    match state.snapshots.get(id) {
        Some(snapshot) if snapshot.owner_id.as_deref() == Some(state.account()) => Ok(snapshot),
        _ => Err(ApiError::new(
            "InvalidSnapshot.NotFound",
            format!("The snapshot '{id}' does not exist."),
        )),
    }
}
