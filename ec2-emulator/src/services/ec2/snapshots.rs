//! DescribeSnapshots.

use crate::services::ec2::answer::write_tags;
use crate::services::ec2::listing::Listing;
use crate::services::ec2::named::own_snapshot;
use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::state::snapshot::Snapshot;
use crate::wire::filter::Filter;
use crate::wire::page::Paging;
use crate::wire::xml::Writer;

/// Source: API Reference, DescribeSnapshots. Snapshots of other accounts cannot be seen, like those
/// that are not there: a filter leaves them out, naming one by id is refused.
pub(crate) fn describe_snapshots(state: &State, query: &mut Query, out: &mut Writer) -> Done {
    let Query { caller, params } = query;
    let paging = Paging::take(params, caller.largest_page)?;
    let ids = params.take_list("SnapshotId")?;
    let owners = params.take_list("Owner")?;
    let filters = Filter::take_all(params)?;
    params.finish()?.permitted()?;

    let listing = Listing {
        ids,
        filters,
        paging,
    };
    listing.check_paging("snapshotSet")?;
    for filter in &listing.filters {
        if !matches!(
            filter.name.as_str(),
            "snapshot-id" | "owner-id" | "encrypted"
        ) {
            return Err(filter.unknown());
        }
    }
    for id in &listing.ids {
        own_snapshot(state, id)?;
    }

    let own = Some(state.account());
    let wanted = |snapshot: &Snapshot| {
        snapshot.owner_id.as_deref() == own
            && (owners.is_empty() || owners.iter().any(|o| o == "self" || Some(&**o) == own))
            && listing.filters.iter().all(|filter| holds(filter, snapshot))
    };
    let found = listing.candidates(&state.snapshots, "snapshot-id");
    let found = found.filter(|snapshot| wanted(snapshot));
    let found = found.map(|snapshot| (snapshot.snapshot_id.as_str(), snapshot));
    let (page, next) = listing.paging.cut(found);
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
