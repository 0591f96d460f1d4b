//! Block public access for AMIs. Here it changes at once; the real setting takes up to ten minutes.
//! Source: EC2 User Guide, "Block public access to your AMIs".

use crate::services::caller::Caller;
use crate::state::{BlockPublicAccess, State};
use crate::wire::error::ApiError;
use crate::wire::query::Params;
use crate::wire::xml::Writer;

pub(crate) fn get_state(
    state: &State,
    _: &Caller,
    params: &mut Params,
    out: &mut Writer,
) -> Result<(), ApiError> {
    params.finish()?.permitted()?;
    write_state(state, out);
    out.text("managedBy", "account");
    Ok(())
}

pub(crate) fn enable(
    state: &mut State,
    _: &Caller,
    params: &mut Params,
    out: &mut Writer,
) -> Result<(), ApiError> {
    let wanted = params.require("ImageBlockPublicAccessState")?;
    params.finish()?.permitted()?;
    if wanted != "block-new-sharing" {
        return Err(ApiError::invalid_value(
            "ImageBlockPublicAccessState",
            &wanted,
            "Expecting block-new-sharing.",
        ));
    }
    state.block_public_access = BlockPublicAccess::BlockNewSharing;
    write_state(state, out);
    Ok(())
}

pub(crate) fn disable(
    state: &mut State,
    _: &Caller,
    params: &mut Params,
    out: &mut Writer,
) -> Result<(), ApiError> {
    params.finish()?.permitted()?;
    state.block_public_access = BlockPublicAccess::Unblocked;
    write_state(state, out);
    Ok(())
}

fn write_state(state: &State, out: &mut Writer) {
    out.text(
        "imageBlockPublicAccessState",
        state.block_public_access.as_str(),
    );
}
