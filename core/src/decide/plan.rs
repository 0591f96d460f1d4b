//! The plan of one image: a value that can be compared, printed, and only then carried out.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{
    copy_permission, deprecation, guardrail::Guardrails, keys, launch_permission,
    observed::Observed, public, shared_tags,
};
use crate::{
    model::{
        change::{Change, LaunchPermissionChange},
        facts::ShareFacts,
        grantee::{CopyPermissions, Grantee, LaunchPermissions},
        image::Image,
        note::Note,
        refusal::{Attribute, Refusal},
    },
    wish::{directives::Directives, launch_permission::LaunchPermissionWish},
};

/// The changes and refusals of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are carried out.
    pub changes: Vec<Change>,
    /// In the order of their codes.
    pub refusals: Vec<Refusal>,
    /// Sentences that a person should know.
    pub notes: Vec<String>,
}

/// Compares the present state with the wanted one, within the guardrails.
///
/// The same arguments give the same plan, and a plan made after this one was carried out is empty.
#[must_use]
pub fn plan(
    observed: &Observed<'_>,
    directives: &Directives,
    guardrails: &Guardrails,
    now: DateTime<Utc>,
) -> Plan {
    let image = observed.image;
    let current = observed.launch_permissions;
    let mut launch = match &directives.launch_permission {
        Some(wish) => launch_permission::Decision::of(observed, wish, guardrails),
        None => launch_permission::Decision::default(),
    };
    let copy = match &directives.copy_permission {
        Some(wish) => copy_permission::Decision::of(observed, wish, guardrails),
        None => copy_permission::Decision::default(),
    };
    let public = is_public_at_deprecation(observed, launch.change(current).as_ref());
    let deprecation = deprecation::decide(image, directives, public, now);
    // A new deprecation time stands in the place of the present one before `all` is added.
    if launch.difference.add.contains(&Grantee::All) && !matches!(deprecation, Ok(Some(_))) {
        launch
            .against_additions
            .extend(public::deprecated(image, now));
    }

    let launch_change = launch.change(current);
    let notes = notes(observed, guardrails, launch_change.as_ref(), &copy);
    let mut refusals = directives.refusals.clone();
    let mut changes = copy.removals();
    changes.extend(description(image, directives));
    changes.extend(imds_support(image, directives));
    match deprecation {
        Ok(change) => changes.extend(change),
        Err(refusal) => refusals.push(refusal),
    }
    for decision in shared_tags::decide(image, directives, guardrails) {
        match decision {
            Ok(change) => changes.push(change),
            Err(refusal) => refusals.push(refusal),
        }
    }
    changes.extend(copy.additions());
    if let Some(change) = launch_change {
        // To take access away does not wait; to let somebody in waits until the rest is right.
        let place = if change.add.is_empty() {
            0
        } else {
            changes.len()
        };
        changes.insert(place, Change::LaunchPermission(change));
    }
    refusals.extend(launch.refusals());
    refusals.extend(
        copy.against_additions
            .refuse(Attribute::CreateVolumePermission),
    );
    refusals.sort_by_key(Refusal::code);
    Plan {
        changes,
        refusals,
        notes,
    }
}

/// The part of the plan that only takes access away and needs no facts, for use while facts are
/// slow.
///
/// The whole plan, made afterwards, has the refusals and the rest.
#[must_use]
pub fn plan_removals(
    observed: &Observed<'_>,
    directives: &Directives,
    guardrails: &Guardrails,
) -> Plan {
    let mut plan = Plan::default();
    if let Some(wish) = &directives.launch_permission
        && let Some(change) = launch_permission::Decision::removals(observed, wish, guardrails)
    {
        plan.notes = write(&launch_permission::notes(&change));
        plan.changes.push(Change::LaunchPermission(change));
    }
    if let Some(wish) = &directives.copy_permission {
        let copy = copy_permission::Decision::without_grounds(observed, wish);
        plan.changes.extend(copy.removals());
    }
    plan
}

/// Whether EC2 has the image as public when a deprecation is written, or as soon as the plan is
/// carried out. Removals that go alone go before that.
fn is_public_at_deprecation(
    observed: &Observed<'_>,
    launch: Option<&LaunchPermissionChange>,
) -> bool {
    match launch {
        Some(change) if change.makes_public() => true,
        Some(change) if change.add.is_empty() => {
            observed.is_public() && !change.remove.contains(&Grantee::All)
        }
        Some(_) | None => observed.is_public(),
    }
}

fn description(image: &Image, directives: &Directives) -> Option<Change> {
    let to = directives.description.as_ref()?;
    if image.description.as_ref() == Some(to) {
        return None;
    }
    Some(Change::Description {
        from: image.description.clone(),
        to: to.clone(),
    })
}

fn imds_support(image: &Image, directives: &Directives) -> Option<Change> {
    let to = directives.imds_support?;
    if image.imds_support.as_deref() == Some(to.as_str()) {
        return None;
    }
    Some(Change::ImdsSupport {
        from: image.imds_support.clone(),
        to,
    })
}

fn notes(
    observed: &Observed<'_>,
    guardrails: &Guardrails,
    launch: Option<&LaunchPermissionChange>,
    copy: &copy_permission::Decision,
) -> Vec<String> {
    let mut let_in = copy.let_in();
    let copies_stay = !let_in.is_empty();
    let mut notes = Vec::new();
    if let Some(change) = launch {
        let_in.extend(change.add.iter().cloned());
        notes.extend(launch_permission::notes(change));
    }
    if !let_in.is_empty() {
        notes.extend(keys::notes(
            observed.image,
            observed.facts,
            &let_in,
            guardrails.key_check,
        ));
    }
    if copies_stay {
        notes.push(Note::CopiesStay);
    }
    write(&notes)
}

fn write(notes: &[Note]) -> Vec<String> {
    notes.iter().map(Note::to_string).collect()
}

/// The facts that a plan needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FactsNeeded {
    /// What `DescribeSnapshots` says of the image's snapshots.
    pub snapshots: bool,
    /// Whether block public access is on.
    pub block_public_access: bool,
}

/// The facts that decide whether these directives let somebody in.
///
/// Launch permissions that are not read yet are `None`: then only `all` is judged, by the image's
/// public flag, so that its facts can be read at the same time as they.
#[must_use]
pub fn facts_needed(
    image: &Image,
    directives: &Directives,
    guardrails: &Guardrails,
    launch_permissions: Option<&LaunchPermissions>,
    copy_permissions: &BTreeMap<String, CopyPermissions>,
) -> FactsNeeded {
    let wants_public = directives
        .launch_permission
        .as_ref()
        .is_some_and(LaunchPermissionWish::wants_public);
    let adds_all = wants_public
        && match launch_permissions {
            Some(current) => !current.contains(&Grantee::All),
            None => !image.public,
        };
    let added = let_in(image, directives, launch_permissions, copy_permissions);
    // The keys count, and a mapping may leave its flag out.
    let asks_keys = guardrails.key_check.is_some();
    let encrypted = image.devices.iter().any(|device| match device.encrypted {
        Some(encrypted) => encrypted,
        None => asks_keys,
    });
    let judges_snapshots = adds_all || !added.is_empty() && encrypted;
    FactsNeeded {
        snapshots: judges_snapshots && !image.snapshots().is_empty(),
        block_public_access: adds_all,
    }
}

/// The ARNs of the keys that decide whether these directives let somebody in; none unless keys are
/// looked at (`KEY_CHECK`).
#[must_use]
pub fn keys_needed(
    image: &Image,
    directives: &Directives,
    guardrails: &Guardrails,
    launch_permissions: &LaunchPermissions,
    copy_permissions: &BTreeMap<String, CopyPermissions>,
    facts: &ShareFacts,
) -> BTreeSet<String> {
    let added = let_in(
        image,
        directives,
        Some(launch_permissions),
        copy_permissions,
    );
    if guardrails.key_check.is_none() || added.is_empty() {
        return BTreeSet::new();
    }
    keys::of(image, facts)
        .into_keys()
        .map(str::to_owned)
        .collect()
}

/// The grantees that would be let in, to launch or to copy, whatever speaks against it.
fn let_in(
    image: &Image,
    directives: &Directives,
    launch_permissions: Option<&LaunchPermissions>,
    copy_permissions: &BTreeMap<String, CopyPermissions>,
) -> LaunchPermissions {
    let mut added = LaunchPermissions::new();
    if let (Some(wish), Some(current)) = (&directives.launch_permission, launch_permissions) {
        added = launch_permission::Difference::between(wish, current, &image.owner).add;
    }
    if let Some(wish) = &directives.copy_permission {
        let copiers = copy_permission::added(image, copy_permissions, wish);
        added.extend(copiers.into_iter().map(Grantee::Account));
    }
    added
}
