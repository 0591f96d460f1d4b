//! CreateTags and DeleteTags.
//! Source: API Reference of both; EC2 User Guide, "Tag your Amazon EC2 resources" (restrictions).

use crate::services::ec2::answer::succeeded;
use crate::services::ec2::named::own_snapshot;
use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::state::resource_id::is_resource_id;
use crate::state::tags::Tags;
use crate::wire::error::ApiError;
use crate::wire::query::Params;
use crate::wire::xml::Writer;

const RESOURCES_PER_CALL_MAX: usize = 1000;
const TAGS_PER_RESOURCE_MAX: usize = 50;
const KEY_CHARACTERS_MAX: usize = 128;
const VALUE_CHARACTERS_MAX: usize = 256;

pub(crate) fn create_tags(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
    let ids = take_resources(params)?;
    let mut tags = Tags::new();
    for (key, value) in take_tags(params)? {
        let value = value.unwrap_or_default();
        if key.chars().count() > KEY_CHARACTERS_MAX || value.chars().count() > VALUE_CHARACTERS_MAX
        {
            let why = format!(
                "A key may hold {KEY_CHARACTERS_MAX} characters, a value {VALUE_CHARACTERS_MAX}."
            );
            return Err(ApiError::invalid_value("Tag", &key, &why));
        }
        if tags.insert(key.clone(), value).is_some() {
            return Err(ApiError::invalid_value(
                "Tag",
                &key,
                "The key is there more than once.",
            ));
        }
    }
    let dry_run = params.finish()?;
    if tags.is_empty() {
        return Err(ApiError::missing_parameter("Tag"));
    }
    check_shared(state, &ids, tags.keys())?;
    for id in &ids {
        let mut after = tags_of(state, id)?.cloned().unwrap_or_default();
        after.extend(tags.clone());
        if after.keys().filter(|key| !is_reserved(key)).count() > TAGS_PER_RESOURCE_MAX {
            return Err(ApiError::new(
                "TagLimitExceeded",
                format!("{id} would have more than {TAGS_PER_RESOURCE_MAX} tags"),
            ));
        }
    }
    dry_run.permitted()?;
    for id in &ids {
        tags_mut(state, id).extend(tags.clone());
    }
    succeeded(out);
    Ok(())
}

/// A tag with a value goes only if the value is the same; without tags, all of the resource's go.
pub(crate) fn delete_tags(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
    let ids = take_resources(params)?;
    let tags = take_tags(params)?;
    let dry_run = params.finish()?;
    check_shared(state, &ids, tags.iter().map(|(key, _)| key))?;
    for id in &ids {
        tags_of(state, id)?;
    }
    dry_run.permitted()?;
    for id in &ids {
        let goes = |key: &String, value: &String| {
            tags.is_empty()
                || tags
                    .iter()
                    .any(|(k, v)| k == key && v.as_ref().is_none_or(|v| v == value))
        };
        tags_mut(state, id).retain(|key, value| is_reserved(key) || !goes(key, value));
    }
    succeeded(out);
    Ok(())
}

fn take_resources(params: &mut Params) -> Result<Vec<String>, ApiError> {
    let ids = params.take_list("ResourceId")?;
    if ids.is_empty() {
        return Err(ApiError::missing_parameter("ResourceId"));
    }
    if ids.len() > RESOURCES_PER_CALL_MAX {
        return Err(ApiError::new(
            "InvalidParameterValue",
            format!("At most {RESOURCES_PER_CALL_MAX} resources can be tagged at once"),
        ));
    }
    Ok(ids)
}

fn take_tags(params: &mut Params) -> Result<Vec<(String, Option<String>)>, ApiError> {
    let mut tags = Vec::new();
    for mut member in params.take_structs("Tag")? {
        let key = member.require("Key")?;
        let value = member.take("Value");
        member.finish_member()?;
        if is_reserved(&key) {
            return Err(ApiError::invalid_value(
                "Tag",
                &key,
                "Tag keys starting with 'aws:' are reserved for internal use",
            ));
        }
        tags.push((key, value));
    }
    Ok(tags)
}

/// Tags that EC2 shows to everybody the image is shared with.
/// Source: EC2 User Guide, "Tag your Amazon EC2 resources" (sharing tags): images only, and only
/// their owner creates, changes and deletes them. The codes are not confirmed.
const SHARED_TAG_PREFIX: &str = "ec2:SharedTag/";

fn check_shared<'a>(
    state: &State,
    ids: &[String],
    keys: impl Iterator<Item = &'a String>,
) -> Result<(), ApiError> {
    let mut shared = keys
        .filter(|key| key.starts_with(SHARED_TAG_PREFIX))
        .peekable();
    let Some(first) = shared.peek().map(|key| (*key).clone()) else {
        return Ok(());
    };
    if shared.any(|key| key == SHARED_TAG_PREFIX) {
        return Err(ApiError::invalid_value(
            "Tag",
            SHARED_TAG_PREFIX,
            "The key has no name.",
        ));
    }
    for id in ids {
        if !id.starts_with("ami-") {
            let why = "Only images can have shared tags.";
            return Err(ApiError::invalid_value("Tag", &first, why));
        }
        let image = state.images.get(id);
        if image.is_some_and(|image| !state.owns(image)) {
            return Err(ApiError::image_not_yours(id));
        }
    }
    Ok(())
}

fn is_reserved(key: &str) -> bool {
    key.starts_with("aws:")
}

/// The tags of a resource, which must be there if it is an image or a snapshot.
fn tags_of<'a>(state: &'a State, id: &str) -> Result<Option<&'a Tags>, ApiError> {
    if id.starts_with("ami-") {
        if !is_resource_id(id, "ami-") {
            return Err(ApiError::image_malformed(id));
        }
        let image = state.images.get(id).filter(|image| state.sees(image));
        return match image {
            Some(image) => Ok(Some(&image.tags)),
            None => Err(ApiError::image_not_found(&[id])),
        };
    }
    if id.starts_with("snap-") {
        return Ok(Some(&own_snapshot(state, id)?.tags));
    }
    if !id.contains('-') {
        return Err(ApiError::new(
            "InvalidID",
            format!("The ID '{id}' is not valid"),
        ));
    }
    Ok(state.other_tags.get(id))
}

fn tags_mut<'a>(state: &'a mut State, id: &str) -> &'a mut Tags {
    if let Some(image) = state.images.get_mut(id) {
        return &mut image.tags;
    }
    if let Some(snapshot) = state.snapshots.get_mut(id) {
        return &mut snapshot.tags;
    }
    state.other_tags.entry(id.to_owned()).or_default()
}
