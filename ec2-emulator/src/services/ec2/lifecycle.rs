//! EnableImage, DisableImage, DeregisterImage.

use crate::services::ec2::answer::succeeded;
use crate::services::ec2::named::{in_the_wrong_state, take_image};
use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::state::image::Image;
use crate::state::image_state::ImageState;
use crate::wire::error::ApiError;
use crate::wire::xml::Writer;

/// Source: EC2 User Guide, "Disable an Amazon EC2 AMI": the image becomes private and all launch
/// permissions are gone.
pub(crate) fn disable_image(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let image = take_image(state, &mut query.params)?;
    switch(image, ImageState::Disabled)?;
    image.launch_permissions.clear();
    succeeded(out);
    Ok(())
}

/// The same page: enabling gives no permission back.
pub(crate) fn enable_image(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let image = take_image(state, &mut query.params)?;
    switch(image, ImageState::Available)?;
    succeeded(out);
    Ok(())
}

/// Source: API Reference, DeregisterImage. An image that was deregistered is described as an empty
/// list for days.
pub(crate) fn deregister_image(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
    let with_snapshots = params.take_bool("DeleteAssociatedSnapshots")?;
    let id = take_image(state, params)?.image_id.clone();
    if let Some(image) = state.images.remove(&id) {
        if with_snapshots {
            for id in image.block_devices.iter().flat_map(|d| &d.snapshot_id) {
                state.snapshots.remove(id);
            }
        }
        state.deregistered.insert(id);
    }
    succeeded(out);
    Ok(())
}

/// Between `available` and `disabled` only; being there already is a success.
fn switch(image: &mut Image, to: ImageState) -> Result<(), ApiError> {
    if !matches!(image.state, ImageState::Available | ImageState::Disabled) {
        return Err(in_the_wrong_state(image));
    }
    image.state = to;
    Ok(())
}
