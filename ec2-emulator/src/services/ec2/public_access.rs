//! Block public access for AMIs. Here it changes at once; the real setting takes up to ten minutes.
//! Source: EC2 User Guide, "Block public access to your AMIs".

use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::state::block_public_access::BlockPublicAccess;
use crate::wire::error::ApiError;
use crate::wire::xml::Writer;

pub(crate) fn get_state(state: &State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
    params.finish()?.permitted()?;
    write_state(state, out);
    out.text("managedBy", "account");
    Ok(())
}

pub(crate) fn enable(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
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

pub(crate) fn disable(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
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
