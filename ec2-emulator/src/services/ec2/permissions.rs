//! Who is added and removed in ModifyImageAttribute and ModifySnapshotAttribute: both styles of
//! parameters.

use std::collections::BTreeSet;

use crate::services::caller::Caller;
use crate::state::account::State;
use crate::state::grantee::{Grantee, GranteeKind};
use crate::wire::error::ApiError;
use crate::wire::query::Params;

/// The permission that a call is about.
pub(crate) struct Permission {
    /// The structure of the first style.
    structure: &'static str,
    /// The grantees that it may have.
    kinds: &'static [GranteeKind],
    /// How a grantee is refused that is none of these.
    refuse: fn(&str, GranteeKind) -> ApiError,
}

pub(crate) const LAUNCH: Permission = Permission {
    structure: "LaunchPermission",
    kinds: &GranteeKind::ALL,
    refuse: |value, kind| ApiError::bad_grantee(value, kind.item_type()),
};

/// The code for a bad account is not confirmed.
pub(crate) const CREATE_VOLUME: Permission = Permission {
    structure: "CreateVolumePermission",
    kinds: &[GranteeKind::Group, GranteeKind::UserId],
    refuse: |value, kind| ApiError::invalid_value(kind.field(), value, "It is no grantee."),
};

/// Grantees to add and to remove in one step.
#[derive(Default)]
pub(crate) struct PermissionChange {
    pub(crate) add: BTreeSet<Grantee>,
    pub(crate) remove: BTreeSet<Grantee>,
}

impl Permission {
    /// Takes the parameters of both styles; one change for each style that is used.
    ///
    /// * `LaunchPermission.Add.N.UserId` (`Group`, `OrganizationArn`, `OrganizationalUnitArn`), the
    ///   same with `Remove`; for snapshots `CreateVolumePermission`
    /// * `OperationType` with `UserId.N`, `UserGroup.N`, `OrganizationArn.N`,
    ///   `OrganizationalUnitArn.N`
    pub(crate) fn take_all(
        &self,
        params: &mut Params,
        caller: &Caller,
    ) -> Result<Vec<PermissionChange>, ApiError> {
        let mut changes = Vec::new();
        let add = self.take_structures(params, "Add", caller)?;
        let remove = self.take_structures(params, "Remove", caller)?;
        // What EC2 does with a grantee in both is not documented: refused here, so that nobody
        // relies on it.
        if let Some(both) = add.intersection(&remove).next() {
            let message = format!("{both} is both added and removed.");
            return Err(ApiError::invalid_combination(message));
        }
        if !add.is_empty() || !remove.is_empty() {
            changes.push(PermissionChange { add, remove });
        }
        let other = self.take_lists(params, caller, &changes)?;
        changes.extend(other);
        Ok(changes)
    }

    /// Whether an account that is closed, or never was, spoils the whole call. What EC2 does is not
    /// confirmed: here it refuses to add one, and to remove one that has no permission anyway.
    pub(crate) fn check_accounts(
        &self,
        state: &State,
        change: &PermissionChange,
        present: &BTreeSet<Grantee>,
    ) -> Result<(), ApiError> {
        let removed = change.remove.difference(present);
        for grantee in change.add.iter().chain(removed) {
            if state.unknown_accounts.contains(grantee.as_str()) {
                return Err((self.refuse)(grantee.as_str(), GranteeKind::UserId));
            }
        }
        Ok(())
    }

    /// The first style.
    fn take_structures(
        &self,
        params: &mut Params,
        operation: &str,
        caller: &Caller,
    ) -> Result<BTreeSet<Grantee>, ApiError> {
        let list = format!("{}.{operation}", self.structure);
        let mut grantees = BTreeSet::new();
        for mut member in params.take_structs(&list)? {
            let mut found = None;
            for kind in self.kinds.iter().copied() {
                let Some(value) = member.take(kind.field()) else {
                    continue;
                };
                if found.is_some() {
                    let message = format!("A member of {list} names more than one grantee.");
                    return Err(ApiError::invalid_combination(message));
                }
                found = Some(self.grantee(&value, kind, caller)?);
            }
            member.finish_member()?;
            grantees.extend(found);
        }
        Ok(grantees)
    }

    /// The second style, which may say no more than the first one if that is used too.
    fn take_lists(
        &self,
        params: &mut Params,
        caller: &Caller,
        first: &[PermissionChange],
    ) -> Result<Option<PermissionChange>, ApiError> {
        let operation = params.take("OperationType");
        let mut grantees = BTreeSet::new();
        for kind in self.kinds.iter().copied() {
            for value in params.take_list(kind.list())? {
                grantees.insert(self.grantee(&value, kind, caller)?);
            }
        }
        let mut change = PermissionChange::default();
        match (operation.as_deref(), grantees.is_empty()) {
            (None, true) => return Ok(None),
            (None, false) => return Err(ApiError::missing_parameter("OperationType")),
            // Beside a structure it is superfluous, and taken where it says the same: Cloud
            // Custodian sends both (c7n 0.9.53, `resources/ami.py`, `SetPermissions`).
            (Some("add"), true) if first.iter().any(|change| change.remove.is_empty()) => {
                return Ok(None);
            }
            (Some("remove"), true) if first.iter().any(|change| change.add.is_empty()) => {
                return Ok(None);
            }
            (Some(_), true) => return Err(ApiError::missing_parameter("UserId")),
            (Some("add"), false) => change.add = grantees,
            (Some("remove"), false) => change.remove = grantees,
            (Some(other), false) => {
                let why = "Expecting add or remove.";
                return Err(ApiError::invalid_value("OperationType", other, why));
            }
        }
        Ok(Some(change))
    }

    /// The value must be of the kind it is given as, and an ARN of the partition the request is
    /// for.
    fn grantee(
        &self,
        value: &str,
        kind: GranteeKind,
        caller: &Caller,
    ) -> Result<Grantee, ApiError> {
        let grantee = value.parse::<Grantee>().ok();
        let grantee = grantee.filter(|grantee| {
            let partition = grantee.partition();
            grantee.kind() == kind && partition.is_none_or(|p| p == caller.partition)
        });
        grantee.ok_or_else(|| (self.refuse)(value, kind))
    }
}
