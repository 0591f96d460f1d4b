//! What acts do to the state.

use crate::rules::acts::{Act, ActError};
use crate::state::account::State;
use crate::state::image::Image;
use crate::state::image_state::ImageState;
use crate::state::key::{Key, id_of};
use crate::state::snapshot::Snapshot;
use crate::state::tags::Tags;
use crate::state::watermark::Watermark;

/// Carries out acts, one after the other, until one is not possible.
pub(crate) fn carry_out(state: &mut State, acts: Vec<Act>) -> Result<(), ActError> {
    for act in acts {
        one(state, act)?;
    }
    Ok(())
}

fn one(state: &mut State, act: Act) -> Result<(), ActError> {
    match act {
        Act::AddTags { id, tags } => tags_of(state, &id)?.extend(tags),
        Act::DeleteTags { id, keys } => tags_of(state, &id)?.retain(|key, _| !keys.contains(key)),
        Act::SetTags { id, tags } => *tags_of(state, &id)? = tags,
        Act::ShareSnapshot { snapshot_id, with } => {
            let snapshot = snapshot(state, &snapshot_id)?;
            snapshot.create_volume_permissions.extend(with);
        }
        Act::UnshareSnapshot { snapshot_id, with } => {
            let permissions = &mut snapshot(state, &snapshot_id)?.create_volume_permissions;
            permissions.retain(|grantee| !with.contains(grantee));
        }
        Act::PutParameter(parameter) => state.put_parameter(parameter),
        Act::DeleteParameter { name } => {
            let old = state.parameters.remove(&name);
            old.ok_or(ActError::NoParameter(name))?;
        }
        Act::SetBlockPublicAccess { to } => state.block_public_access = to,
        Act::Seed(seed) => state.apply(*seed),
        Act::Deregister { image_id } => {
            let old = state.images.remove(&image_id);
            old.ok_or_else(|| ActError::NoImage(image_id.clone()))?;
            state.deregistered.insert(image_id);
        }
        Act::SetUsageReport {
            report_id,
            state: to,
            state_reason,
        } => {
            let report = state.usage_reports.get_mut(&report_id);
            let report = report.ok_or(ActError::NoReport(report_id))?;
            report.state = Some(to);
            report.state_reason = state_reason;
        }
        Act::PutKey(key) => state.add_key(key),
        act => return on_key(state, act),
    }
    Ok(())
}

/// The acts that change one key.
fn on_key(state: &mut State, act: Act) -> Result<(), ActError> {
    match act {
        Act::SetKeyState { key_id, state: to } => key(state, &key_id)?.key_state = to,
        Act::SetKeyPolicy {
            key_id,
            name,
            policy,
        } => {
            let policies = &mut key(state, &key_id)?.policies;
            match policy {
                Some(policy) => policies.insert(name, policy),
                None => policies.remove(&name),
            };
        }
        Act::AddGrant { key_id, grant } => {
            let grants = &mut key(state, &key_id)?.grants;
            grants.retain(|old| old.grant_id != grant.grant_id);
            grants.push(grant);
        }
        Act::RevokeGrant { key_id, grant_id } => {
            let grants = &mut key(state, &key_id)?.grants;
            grants.retain(|old| old.grant_id != grant_id);
        }
        act => return on_image(state, act),
    }
    Ok(())
}

/// The acts that change one image.
fn on_image(state: &mut State, act: Act) -> Result<(), ActError> {
    match act {
        Act::SetState {
            image_id,
            state: to,
        } => {
            let image = image(state, &image_id)?;
            image.state = to;
            if to == ImageState::Disabled {
                image.launch_permissions.clear();
            }
        }
        Act::SetDescription {
            image_id,
            description,
        } => {
            image(state, &image_id)?.description = description;
        }
        Act::SetDeprecation { image_id, at } => image(state, &image_id)?.deprecation_time = at,
        Act::AddWatermark {
            image_id,
            watermark_key,
        } => {
            let watermark = Watermark::new(&watermark_key);
            image(state, &image_id)?.watermarks.push(watermark);
        }
        Act::SetScanResults {
            image_id,
            scan_results,
        } => image(state, &image_id)?.scan_results = scan_results,
        Act::Share { image_id, with } => image(state, &image_id)?.launch_permissions.extend(with),
        Act::Unshare { image_id, with } => {
            let image = image(state, &image_id)?;
            image
                .launch_permissions
                .retain(|grantee| !with.contains(grantee));
        }
        Act::SetLaunchPermissions { image_id, to } => {
            image(state, &image_id)?.launch_permissions = to;
        }
        Act::CancelLaunchPermission { image_id, account } => {
            image(state, &image_id)?.launch_permissions.remove(&account);
        }
        // The others are no acts on one image.
        _ => {}
    }
    Ok(())
}

fn image<'a>(state: &'a mut State, id: &str) -> Result<&'a mut Image, ActError> {
    let image = state.images.get_mut(id);
    image.ok_or_else(|| ActError::NoImage(id.to_owned()))
}

fn key<'a>(state: &'a mut State, id: &str) -> Result<&'a mut Key, ActError> {
    let key = state.keys.get_mut(id_of(id));
    key.ok_or_else(|| ActError::NoKey(id.to_owned()))
}

fn snapshot<'a>(state: &'a mut State, id: &str) -> Result<&'a mut Snapshot, ActError> {
    let snapshot = state.snapshots.get_mut(id);
    snapshot.ok_or_else(|| ActError::NoSnapshot(id.to_owned()))
}

fn tags_of<'a>(state: &'a mut State, id: &str) -> Result<&'a mut Tags, ActError> {
    if let Some(image) = state.images.get_mut(id) {
        return Ok(&mut image.tags);
    }
    match state.snapshots.get_mut(id) {
        Some(snapshot) => Ok(&mut snapshot.tags),
        None => Err(ActError::NoResource(id.to_owned())),
    }
}
