//! What people do by hand while something runs: changes that are no calls and that nothing refuses.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::state::grantee::Grantee;
use crate::state::image::{Image, ImageState};
use crate::state::parameter::Parameter;
use crate::state::snapshot::Snapshot;
use crate::state::watermark::{ScanResults, Watermark};
use crate::state::{BlockPublicAccess, Seed, State};

/// One change by hand.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all_fields = "PascalCase", deny_unknown_fields)]
pub enum Act {
    /// Adds or replaces tags of an image or a snapshot.
    AddTags {
        /// The image or snapshot.
        id: String,
        /// By key.
        tags: BTreeMap<String, String>,
    },
    /// Deletes tags of an image or a snapshot.
    DeleteTags {
        /// The image or snapshot.
        id: String,
        /// The keys.
        keys: BTreeSet<String>,
    },
    /// Gives an image or a snapshot exactly these tags.
    SetTags {
        /// The image or snapshot.
        id: String,
        /// By key.
        tags: BTreeMap<String, String>,
    },
    /// Puts an image in a state. Like EC2, `disabled` takes all launch permissions away.
    SetState {
        /// The image.
        image_id: String,
        /// The new state.
        state: ImageState,
    },
    /// Sets or deletes an image's description.
    SetDescription {
        /// The image.
        image_id: String,
        /// None: deleted.
        description: Option<String>,
    },
    /// Sets or deletes an image's deprecation time.
    SetDeprecation {
        /// The image.
        image_id: String,
        /// None: never.
        at: Option<DateTime<Utc>>,
    },
    /// Attaches a watermark to an image, `ACCOUNT:NAME`.
    AddWatermark {
        /// The image.
        image_id: String,
        /// The watermark.
        watermark_key: String,
    },
    /// A scan of an image ends, or its results go.
    SetScanResults {
        /// The image.
        image_id: String,
        /// None: as if it had never been scanned.
        scan_results: Option<ScanResults>,
    },
    /// Adds launch permissions.
    Share {
        /// The image.
        image_id: String,
        /// The new grantees.
        with: BTreeSet<Grantee>,
    },
    /// Removes launch permissions.
    Unshare {
        /// The image.
        image_id: String,
        /// The grantees that go.
        with: BTreeSet<Grantee>,
    },
    /// Gives an image exactly these launch permissions.
    SetLaunchPermissions {
        /// The image.
        image_id: String,
        /// The grantees.
        to: BTreeSet<Grantee>,
    },
    /// A recipient calls `CancelImageLaunchPermission`: takes its account out of the explicit
    /// permissions. Source: EC2 User Guide, "Cancel having an AMI shared with your AWS account".
    CancelLaunchPermission {
        /// The image.
        image_id: String,
        /// The recipient.
        account: Grantee,
    },
    /// Lets accounts, or `all`, create volumes from a snapshot.
    ShareSnapshot {
        /// The snapshot.
        snapshot_id: String,
        /// The new grantees.
        with: BTreeSet<Grantee>,
    },
    /// The opposite.
    UnshareSnapshot {
        /// The snapshot.
        snapshot_id: String,
        /// The grantees that go.
        with: BTreeSet<Grantee>,
    },
    /// Deregisters an image.
    Deregister {
        /// The image.
        image_id: String,
    },
    /// Adds or replaces a parameter, and counts its version up.
    PutParameter(Parameter),
    /// Deletes a parameter.
    DeleteParameter {
        /// Its name.
        name: String,
    },
    /// Switches block public access for AMIs.
    SetBlockPublicAccess {
        /// The new setting.
        to: BlockPublicAccess,
    },
    /// Adds or replaces everything that a seed names.
    Seed(Box<Seed>),
}

/// Why an act is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// There is no image of that id.
    #[error("there is no image {0}")]
    NoImage(String),
    /// There is neither an image nor a snapshot of that id.
    #[error("there is no image or snapshot {0}")]
    NoResource(String),
    /// There is no snapshot of that id.
    #[error("there is no snapshot {0}")]
    NoSnapshot(String),
    /// There is no parameter of that name.
    #[error("there is no parameter {0}")]
    NoParameter(String),
}

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
        act => on_image(state, act)?,
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

fn snapshot<'a>(state: &'a mut State, id: &str) -> Result<&'a mut Snapshot, ActError> {
    let snapshot = state.snapshots.get_mut(id);
    snapshot.ok_or_else(|| ActError::NoSnapshot(id.to_owned()))
}

fn tags_of<'a>(
    state: &'a mut State,
    id: &str,
) -> Result<&'a mut BTreeMap<String, String>, ActError> {
    if let Some(image) = state.images.get_mut(id) {
        return Ok(&mut image.tags);
    }
    match state.snapshots.get_mut(id) {
        Some(snapshot) => Ok(&mut snapshot.tags),
        None => Err(ActError::NoResource(id.to_owned())),
    }
}
