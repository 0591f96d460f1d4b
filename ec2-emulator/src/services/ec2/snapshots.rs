//! DescribeSnapshots.

use std::collections::BTreeSet;

use crate::services::caller::Caller;
use crate::services::ec2::answer::write_tags;
use crate::services::ec2::named::own_snapshot;
use crate::state::State;
use crate::state::snapshot::Snapshot;
use crate::wire::error::ApiError;
use crate::wire::filter::Filter;
use crate::wire::page::Paging;
use crate::wire::query::Params;
use crate::wire::xml::Writer;

/// Source: API Reference, DescribeSnapshots. Snapshots of other accounts cannot be seen, like those
/// that are not there: a filter leaves them out, naming one by id is refused.
pub(crate) fn describe_snapshots(
    state: &State,
    caller: &Caller,
    params: &mut Params,
    out: &mut Writer,
) -> Result<(), ApiError> {
    let paging = Paging::take(params, caller.largest_page)?;
    let ids = params.take_list("SnapshotId")?;
    let owners = params.take_list("Owner")?;
    let filters = Filter::take_all(params)?;
    params.finish()?.permitted()?;

    if !ids.is_empty() && paging.is_asked_for() {
        return Err(ApiError::invalid_combination(
            "The parameter snapshotSet cannot be used with the parameter maxResults",
        ));
    }
    for filter in &filters {
        if !matches!(
            filter.name.as_str(),
            "snapshot-id" | "owner-id" | "encrypted"
        ) {
            return Err(filter.unknown());
        }
    }
    for id in &ids {
        own_snapshot(state, id)?;
    }

    let exact = filters
        .iter()
        .filter(|filter| filter.name == "snapshot-id")
        .find_map(Filter::exact_values);
    let by_id = if ids.is_empty() { exact } else { Some(&*ids) };
    let candidates: Box<dyn Iterator<Item = &Snapshot>> = match by_id {
        Some(ids) => {
            let ids: BTreeSet<&String> = ids.iter().collect();
            Box::new(
                ids.into_iter()
                    .rev()
                    .filter_map(|id| state.snapshots.get(id)),
            )
        }
        None => Box::new(state.snapshots.values().rev()),
    };
    let own = Some(state.account());
    let found = candidates
        .filter(|snapshot| paging.after().is_none_or(|id| *snapshot.snapshot_id < *id))
        .filter(|snapshot| snapshot.owner_id.as_deref() == own)
        .filter(|_| owners.is_empty() || owners.iter().any(|o| o == "self" || Some(&**o) == own))
        .filter(|snapshot| filters.iter().all(|filter| holds(filter, snapshot)))
        .map(|snapshot| (snapshot.snapshot_id.as_str(), snapshot));
    let (page, next) = paging.cut(found);
    out.items("snapshotSet", page, |w, snapshot| {
        w.resource(&snapshot.snapshot_id, |w| write_snapshot(w, snapshot));
    });
    out.optional("nextToken", next);
    Ok(())
}

fn holds(filter: &Filter, snapshot: &Snapshot) -> bool {
    match filter.name.as_str() {
        "snapshot-id" => filter.holds_for(&snapshot.snapshot_id),
        "owner-id" => filter.holds_for(snapshot.owner_id.as_deref().unwrap_or_default()),
        _ => filter.holds_for(if snapshot.encrypted { "true" } else { "false" }),
    }
}

fn write_snapshot(w: &mut Writer, snapshot: &Snapshot) {
    w.text("snapshotId", &snapshot.snapshot_id);
    w.text("status", "completed");
    w.text("progress", "100%");
    w.optional("ownerId", snapshot.owner_id.as_ref());
    w.text("volumeSize", snapshot.volume_size.to_string());
    w.flag("encrypted", snapshot.encrypted);
    w.optional("kmsKeyId", snapshot.kms_key_id.as_ref());
    let keys = &snapshot.associated_kms_keys;
    if !keys.is_empty() {
        w.items("associatedKmsKeySet", keys, |w, key| {
            w.text("kmsKeyId", key)
        });
    }
    w.text("storageTier", "standard");
    w.text(
        "sseType",
        if snapshot.encrypted {
            "sse-kms"
        } else {
            "none"
        },
    );
    write_tags(w, &snapshot.tags);
}
