//! DescribeSnapshotAttribute and ModifySnapshotAttribute.
//! Source: API Reference of both; EBS User Guide, "Share an Amazon EBS snapshot".

use crate::services::caller::Caller;
use crate::services::ec2::answer::{succeeded, write_grantees, write_product_codes};
use crate::services::ec2::named::own_snapshot;
use crate::services::ec2::permissions::{CREATE_VOLUME, PermissionChange};
use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::state::grantee::Grantee;
use crate::state::snapshot::Snapshot;
use crate::wire::error::ApiError;
use crate::wire::query::Params;
use crate::wire::xml::Writer;

/// API Reference, ModifySnapshotAttribute: "up to 500 modifications to a snapshot in a single
/// operation".
const MODIFICATIONS_PER_CALL_MAX: usize = 500;

pub(crate) fn describe(state: &State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
    let id = params.require("SnapshotId")?;
    let attribute = params.require("Attribute")?;
    let dry_run = params.finish()?;
    let snapshot = own_snapshot(state, &id)?;
    dry_run.permitted()?;
    if !matches!(
        attribute.as_str(),
        "createVolumePermission" | "productCodes"
    ) {
        let why = "Expecting createVolumePermission or productCodes.";
        return Err(ApiError::invalid_value("Attribute", &attribute, why));
    }
    out.resource(&id, |w| {
        w.text("snapshotId", &id);
        if attribute == "productCodes" {
            return write_product_codes(w, &snapshot.product_codes);
        }
        write_grantees(w, &attribute, &snapshot.create_volume_permissions);
    });
    Ok(())
}

/// Refusals come in this order: what the request alone shows, the snapshot's existence, the end of
/// a dry run, and what forbids the change.
pub(crate) fn modify(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let Query { caller, params } = query;
    let id = params.require("SnapshotId")?;
    let change = take_change(params, caller)?;
    let dry_run = params.finish()?;
    let snapshot = own_snapshot(state, &id)?;
    dry_run.permitted()?;
    CREATE_VOLUME.check_accounts(state, &change, &snapshot.create_volume_permissions)?;
    if !change.add.is_empty() {
        check_addition(state, snapshot, &change)?;
    }
    if let Some(snapshot) = state.snapshots.get_mut(&id) {
        let permissions = &mut snapshot.create_volume_permissions;
        permissions.retain(|grantee| !change.remove.contains(grantee));
        permissions.extend(change.add);
    }
    succeeded(out);
    Ok(())
}

fn take_change(params: &mut Params, caller: &Caller) -> Result<PermissionChange, ApiError> {
    let attribute = params.take("Attribute");
    if let Some(other) = attribute.filter(|attribute| attribute != "createVolumePermission") {
        // API Reference: "Only volume creation permissions can be modified."
        let why = "Only createVolumePermission can be modified.";
        return Err(ApiError::invalid_value("Attribute", &other, why));
    }
    let mut changes = CREATE_VOLUME.take_all(params, caller)?.into_iter();
    let change = changes.next();
    let change = change.ok_or_else(|| ApiError::missing_parameter("CreateVolumePermission"))?;
    // The API Reference forbids both at once; which code that gives is not known. Nor is that of
    // too many.
    if changes.next().is_some() || (!change.add.is_empty() && !change.remove.is_empty()) {
        return Err(ApiError::invalid_combination(
            "You can add or remove permissions, but not both in a single operation.",
        ));
    }
    let count = change.add.len() + change.remove.len();
    if count > MODIFICATIONS_PER_CALL_MAX {
        let message =
            format!("{count} modifications, and at most {MODIFICATIONS_PER_CALL_MAX} at once.");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    Ok(change)
}

/// What forbids adding anybody, or everybody.
fn check_addition(
    state: &State,
    snapshot: &Snapshot,
    change: &PermissionChange,
) -> Result<(), ApiError> {
    if state.is_under_aws_key(snapshot) {
        // Code and text: hashicorp/packer#7499 and DataDog/stratus-red-team#109.
        let message = "Encrypted snapshots with EBS default key cannot be shared";
        return Err(ApiError::new("OperationNotPermitted", message));
    }
    if !change.add.contains(&Grantee::all()) {
        return Ok(());
    }
    // API Reference: "Encrypted snapshots and snapshots with AWS Marketplace product codes cannot
    // be made public". No real answer is known: the code is that of the default key.
    if snapshot.encrypted {
        let message = "Encrypted snapshots cannot be made public";
        return Err(ApiError::new("OperationNotPermitted", message));
    }
    if !snapshot.product_codes.is_empty() {
        let message = "Snapshots with product codes cannot be made public";
        return Err(ApiError::new("OperationNotPermitted", message));
    }
    Ok(())
}
