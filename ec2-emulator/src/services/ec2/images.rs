//! DescribeImages.

use crate::services::ec2::image_filters::{check, holds};
use crate::services::ec2::image_xml::write_image;
use crate::services::ec2::listing::Listing;
use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::state::image::Image;
use crate::state::image_state::ImageState;
use crate::state::resource_id::is_resource_id;
use crate::wire::error::ApiError;
use crate::wire::filter::Filter;
use crate::wire::page::Paging;
use crate::wire::xml::Writer;

/// Source: API Reference, DescribeImages. The order of images is unspecified there; here it is
/// descending by id, so that a client that relies on another order is found out.
pub(crate) fn describe_images(state: &State, query: &mut Query, out: &mut Writer) -> Done {
    let Query { caller, params } = query;
    let paging = Paging::take(params, caller.largest_page)?;
    let ids = params.take_list("ImageId")?;
    let owners = params.take_list("Owner")?;
    let executable_by = params.take_list("ExecutableBy")?;
    let filters = Filter::take_all(params)?;
    let include_disabled = params.take_bool("IncludeDisabled")?;
    params.take_bool("IncludeDeprecated")?; // An owner sees deprecated images anyway.
    params.finish()?.permitted()?;

    let listing = Listing {
        ids,
        filters,
        paging,
    };
    listing.check_paging("imagesSet")?;
    for filter in &listing.filters {
        check(filter)?;
    }
    check_ids(state, &listing.ids)?;

    let wanted = |image: &Image| {
        (owners.is_empty() || owners.iter().any(|owner| is_owner(state, image, owner)))
            && (executable_by.is_empty()
                || executable_by.iter().any(|who| {
                    let who = if who == "self" { state.account() } else { who };
                    image.launch_permissions.iter().any(|g| g.as_str() == who)
                }))
            // A disabled image is left out unless it is asked for, by flag or by id (EC2 User
            // Guide, "Disable an Amazon EC2 AMI", shows the latter).
            && (image.state != ImageState::Disabled || include_disabled || !listing.ids.is_empty())
            && state.sees(image)
            && listing.filters.iter().all(|filter| holds(filter, image))
    };
    let found = listing.candidates(&state.images, "image-id");
    let found = found.filter(|image| wanted(image));
    let found = found.map(|image| (image.image_id.as_str(), image));
    let (page, next) = listing.paging.cut(found);
    out.items("imagesSet", page, |w, image| {
        w.resource(&image.image_id, |w| write_image(w, state, image));
    });
    out.optional("nextToken", next);
    Ok(())
}

/// Every one of `ImageId.N` must be an image that can be seen, or have been one.
fn check_ids(state: &State, ids: &[String]) -> Result<(), ApiError> {
    if let Some(malformed) = ids.iter().find(|id| !is_resource_id(id, "ami-")) {
        return Err(ApiError::image_malformed(malformed));
    }
    let is_there = |id: &str| {
        let seen = state.images.get(id).is_some_and(|image| state.sees(image));
        seen || state.deregistered.contains(id)
    };
    let mut missing: Vec<&str> = ids.iter().map(String::as_str).collect();
    missing.retain(|id| !is_there(id));
    if !missing.is_empty() {
        return Err(ApiError::image_not_found(&missing));
    }
    Ok(())
}

fn is_owner(state: &State, image: &Image, owner: &str) -> bool {
    match owner {
        "self" => state.owns(image),
        id => image.owner_id.as_deref() == Some(id),
    }
}
