//! Reading the permissions and facts that a plan needs.

use std::{cell::Cell, collections::BTreeMap};

use ami_warden_core::{
    CopyPermissions, Directives, FactsNeeded, Guardrails, Image, ImageId, LaunchPermissions,
    Observed, ShareFacts, facts_needed, keys_needed,
};
use tokio::time::Instant;

use super::{
    call_error::CallError,
    facts::FactReader,
    ports::{Ec2, Keys},
    retry::Attempts,
};

/// The permissions of an image, and when EC2 was asked for the older of them.
pub(super) struct Permissions {
    pub(super) launch: Option<LaunchPermissions>,
    pub(super) copy: BTreeMap<String, CopyPermissions>,
    pub(super) read_at: Instant,
}

/// The launch permissions of a plan that is not about them.
static NOBODY: LaunchPermissions = LaunchPermissions::new();

/// Who may launch an image, and when EC2 was asked.
pub(super) type ReadLaunch = (Option<LaunchPermissions>, Instant);

/// Who may copy an image, by snapshot, and when EC2 was asked.
pub(super) type ReadCopy = (BTreeMap<String, CopyPermissions>, Instant);

impl Permissions {
    pub(super) fn of((launch, first): ReadLaunch, (copy, second): ReadCopy) -> Self {
        Self {
            launch,
            copy,
            read_at: first.min(second),
        }
    }

    /// Everything that a plan of the image rests on.
    pub(super) fn observed<'a>(&'a self, image: &'a Image, facts: &'a ShareFacts) -> Observed<'a> {
        Observed {
            image,
            launch_permissions: self.launch.as_ref().unwrap_or(&NOBODY),
            copy_permissions: &self.copy,
            facts,
        }
    }
}

/// Reads the permissions and facts of one image.
#[derive(Debug)]
pub(super) struct ImageReader<'a, E, K> {
    pub(super) ec2: &'a E,
    pub(super) facts: &'a FactReader<'a, E, K>,
    pub(super) image: &'a Image,
    pub(super) directives: &'a Directives,
    pub(super) guardrails: &'a Guardrails,
    pub(super) attempts: &'a Attempts<'a>,
}

impl<E: Ec2, K: Keys> ImageReader<'_, E, K> {
    /// Reads everything that a plan needs; reads that do not depend on each other at the same time.
    pub(super) async fn all(&self) -> Result<(Permissions, ShareFacts), CallError> {
        let early = self.early_needs();
        let (permissions, facts) =
            tokio::join!(self.permissions(), self.facts(early, ShareFacts::default()));
        let permissions = permissions?;
        let facts = self.rest(&permissions, early, facts?).await?;
        Ok((permissions, facts))
    }

    /// The facts that are needed whatever the permissions are: `all` is judged by the image's own
    /// public flag, so that its facts are read at the same time.
    pub(super) fn early_needs(&self) -> FactsNeeded {
        facts_needed(
            self.image,
            self.directives,
            self.guardrails,
            None,
            &BTreeMap::new(),
        )
    }

    /// The permissions that the directives are about.
    async fn permissions(&self) -> Result<Permissions, CallError> {
        let (launch, copy) = tokio::try_join!(self.launch_permissions(), self.copy_permissions())?;
        Ok(Permissions::of(launch, copy))
    }

    /// Who may launch the image, if a directive is about it.
    pub(super) async fn launch_permissions(&self) -> Result<ReadLaunch, CallError> {
        if self.directives.launch_permission.is_none() {
            return Ok((None, Instant::now()));
        }
        let (launch, asked_at) = launch_permissions(self.ec2, self.image.id, self.attempts).await?;
        Ok((Some(launch), asked_at))
    }

    /// Who may copy the image, if a directive is about it.
    pub(super) async fn copy_permissions(&self) -> Result<ReadCopy, CallError> {
        if self.directives.copy_permission.is_none() {
            return Ok((BTreeMap::new(), Instant::now()));
        }
        self.facts.copy_permissions(self.image, self.attempts).await
    }

    /// Adds the facts that are needed to those that are known.
    pub(super) async fn facts(
        &self,
        needs: FactsNeeded,
        mut facts: ShareFacts,
    ) -> Result<ShareFacts, CallError> {
        let ShareFacts {
            snapshots,
            block_public_access,
            ..
        } = &mut facts;
        let read_snapshots = async {
            if needs.snapshots {
                *snapshots = self.facts.snapshots(self.image, self.attempts).await?;
            }
            Ok(())
        };
        let read_block_public_access = async {
            if needs.block_public_access {
                *block_public_access = self.facts.block_public_access(self.attempts).await?;
            }
            Ok(())
        };
        tokio::try_join!(read_snapshots, read_block_public_access)?;
        Ok(facts)
    }

    /// The facts whose need shows only when the permissions are known, and the keys.
    pub(super) async fn rest(
        &self,
        permissions: &Permissions,
        early: FactsNeeded,
        facts: ShareFacts,
    ) -> Result<ShareFacts, CallError> {
        let (image, directives, guardrails) = (self.image, self.directives, self.guardrails);
        let launch = permissions.launch.as_ref();
        let all = facts_needed(image, directives, guardrails, launch, &permissions.copy);
        let late = FactsNeeded {
            snapshots: all.snapshots && !early.snapshots,
            block_public_access: all.block_public_access && !early.block_public_access,
        };
        let mut facts = self.facts(late, facts).await?;
        let launch = launch.unwrap_or(&NOBODY);
        let copy = &permissions.copy;
        let keys = keys_needed(image, directives, guardrails, launch, copy, &facts);
        for arn in keys {
            let key = self.facts.key(&arn).await;
            facts.keys.insert(arn, key);
        }
        Ok(facts)
    }
}

/// Everyone who may launch the image, and when EC2 was asked.
pub(super) async fn launch_permissions<E: Ec2>(
    ec2: &E,
    id: ImageId,
    attempts: &Attempts<'_>,
) -> Result<(LaunchPermissions, Instant), CallError> {
    let asked_at = Cell::new(Instant::now());
    let call = async || {
        asked_at.set(Instant::now());
        ec2.launch_permissions(id).await
    };
    let launch = attempts.call("DescribeImageAttribute", call).await?;
    Ok((launch, asked_at.get()))
}

#[cfg(test)]
mod tests;
