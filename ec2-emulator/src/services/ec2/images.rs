//! DescribeImages.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::services::caller::Caller;
use crate::services::ec2::image_filters::{check, holds};
use crate::services::ec2::image_xml::write_image;
use crate::state::State;
use crate::state::image::Image;
use crate::state::image_state::ImageState;
use crate::state::resource_id::is_resource_id;
use crate::wire::error::ApiError;
use crate::wire::filter::Filter;
use crate::wire::page::Paging;
use crate::wire::query::Params;
use crate::wire::xml::Writer;

/// Source: API Reference, DescribeImages. The order of images is unspecified there; here it is
/// descending by id, so that a client that relies on another order is found out.
pub(crate) fn describe_images(
    state: &State,
    caller: &Caller,
    params: &mut Params,
    out: &mut Writer,
) -> Result<(), ApiError> {
    let paging = Paging::take(params, caller.largest_page)?;
    let ids = params.take_list("ImageId")?;
    let owners = params.take_list("Owner")?;
    let executable_by = params.take_list("ExecutableBy")?;
    let filters = Filter::take_all(params)?;
    let include_disabled = params.take_bool("IncludeDisabled")?;
    params.take_bool("IncludeDeprecated")?; // An owner sees deprecated images anyway.
    params.finish()?.permitted()?;

    if !ids.is_empty() && paging.is_asked_for() {
        return Err(ApiError::invalid_combination(
            "The parameter imagesSet cannot be used with the parameter maxResults",
        ));
    }
    for filter in &filters {
        check(filter)?;
    }
    let named = named_images(state, &ids)?;

    let wanted = |image: &Image| {
        (owners.is_empty() || owners.iter().any(|owner| is_owner(state, image, owner)))
            && (executable_by.is_empty()
                || executable_by.iter().any(|who| {
                    let who = if who == "self" { state.account() } else { who };
                    image.launch_permissions.iter().any(|g| g.as_str() == who)
                }))
            // A disabled image is left out unless it is asked for, by flag or by id (EC2 User
            // Guide, "Disable an Amazon EC2 AMI", shows the latter).
            && (image.state != ImageState::Disabled || include_disabled || !ids.is_empty())
            && state.sees(image)
            && filters.iter().all(|filter| holds(filter, image))
    };
    let candidates = candidates(state, named, &filters, paging.after());
    let (page, next) = paging.cut(
        candidates
            .filter(|image| wanted(image))
            .map(|image| (image.image_id.as_str(), image)),
    );
    out.items("imagesSet", page, |w, image| {
        w.resource(&image.image_id, |w| write_image(w, state, image));
    });
    out.optional("nextToken", next);
    Ok(())
}

/// The ids of `ImageId.N`, checked: every one must be an image that can be seen, or have been one.
fn named_images<'a>(
    state: &State,
    ids: &'a [String],
) -> Result<Option<BTreeSet<&'a str>>, ApiError> {
    if let Some(malformed) = ids.iter().find(|id| !is_resource_id(id, "ami-")) {
        return Err(ApiError::image_malformed(malformed));
    }
    let missing: Vec<&str> = ids
        .iter()
        .filter(|id| {
            let seen = state.images.get(id).is_some_and(|image| state.sees(image));
            !seen && !state.deregistered.contains(*id)
        })
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(ApiError::image_not_found(&missing));
    }
    Ok((!ids.is_empty()).then(|| ids.iter().map(String::as_str).collect()))
}

/// The images worth looking at, descending by id: looked up one by one when ids are given, in
/// whichever way.
fn candidates<'a>(
    state: &'a State,
    named: Option<BTreeSet<&'a str>>,
    filters: &'a [Filter],
    after: Option<&'a str>,
) -> Box<dyn Iterator<Item = &'a Image> + 'a> {
    let by_filter = || {
        let exact = filters
            .iter()
            .filter(|filter| filter.name == "image-id")
            .find_map(Filter::exact_values)?;
        Some(exact.iter().map(String::as_str).collect::<BTreeSet<_>>())
    };
    match named.or_else(by_filter) {
        Some(ids) => Box::new(
            ids.into_iter()
                .rev()
                .filter(move |id| after.is_none_or(|after| *id < after))
                .filter_map(|id| state.images.get(id)),
        ),
        None => {
            let end = after.map_or(Bound::Unbounded, Bound::Excluded);
            let range = state.images.range((Bound::Unbounded, end));
            Box::new(range.rev().map(|(_, image)| image))
        }
    }
}

fn is_owner(state: &State, image: &Image, owner: &str) -> bool {
    match owner {
        "self" => state.owns(image),
        id => image.owner_id.as_deref() == Some(id),
    }
}
