//! The facts that decide whether an image may be shared, read once and shared by the images of a
//! batch.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use ami_warden_core::{CopyPermissions, Image, Key, KeyFacts, SnapshotFacts, key_reach};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};

use super::{
    call_error::CallError,
    ports::{Ec2, FILTER_VALUES_MAX, Keys},
    retry::{Attempts, Retry},
};

/// How long the state of block public access is taken as read.
const BLOCK_PUBLIC_ACCESS_AGE_MAX: Duration = Duration::from_secs(5);

/// The snapshots of one image that are asked about at the same time.
const READS_AT_ONCE_MAX: usize = 32;

/// How long one key may be looked at. A key that takes longer is unknown, which refuses nothing.
const KEY_TIMEOUT: Duration = Duration::from_secs(10);

/// The most pages of grants: KMS allows 50,000 grants for a key, 100 a page, 100 pages a second.
/// A key with more is taken for one that anybody could use.
const GRANT_PAGES_MAX: usize = 20;

#[derive(Debug)]
pub struct FactReader<'a, E, K> {
    ec2: &'a E,
    keys: &'a K,
    retry: &'a Retry,
    block_public_access: Mutex<Option<(Instant, Option<bool>)>>,
    known_keys: RefCell<BTreeMap<String, Rc<OnceCell<KeyFacts>>>>,
}

impl<'a, E: Ec2, K: Keys> FactReader<'a, E, K> {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new(ec2: &'a E, keys: &'a K, retry: &'a Retry) -> Self {
        Self {
            ec2,
            keys,
            retry,
            block_public_access: Mutex::new(None),
            known_keys: RefCell::default(),
        }
    }

    /// The image's snapshots that this account can see: 200 a call.
    ///
    /// # Errors
    /// A lasting error of EC2.
    pub async fn snapshots(
        &self,
        image: &Image,
        attempts: &Attempts<'_>,
    ) -> Result<BTreeMap<String, SnapshotFacts>, CallError> {
        let ids: Vec<&str> = image.snapshots().into_iter().collect();
        let mut snapshots = BTreeMap::new();
        for ids in ids.chunks(FILTER_VALUES_MAX) {
            let page = async |token: Option<&str>| self.ec2.snapshots(ids, token).await;
            snapshots.extend(attempts.pages("DescribeSnapshots", page).await?);
        }
        Ok(snapshots)
    }

    /// The accounts that may copy each snapshot of the image.
    ///
    /// # Errors
    /// A lasting error of EC2.
    pub async fn copy_permissions(
        &self,
        image: &Image,
        attempts: &Attempts<'_>,
    ) -> Result<(BTreeMap<String, CopyPermissions>, Instant), CallError> {
        let read = |snapshot: String| async move {
            let asked_at = Cell::new(Instant::now());
            let call = async || {
                asked_at.set(Instant::now());
                self.ec2.copy_permissions(&snapshot).await
            };
            let accounts = attempts.call("DescribeSnapshotAttribute", call).await?;
            Ok((asked_at.get(), snapshot, accounts))
        };
        let snapshots: Vec<String> = image.snapshots().into_iter().map(str::to_owned).collect();
        let mut reads = stream::iter(snapshots)
            .map(read)
            .buffer_unordered(READS_AT_ONCE_MAX);
        let mut permissions = BTreeMap::new();
        let mut first_asked_at = Instant::now();
        while let Some((asked_at, snapshot, accounts)) = reads.try_next().await? {
            first_asked_at = first_asked_at.min(asked_at);
            permissions.insert(snapshot, accounts);
        }
        Ok((permissions, first_asked_at))
    }

    /// Whether block public access is on: one call for all images that ask within a few seconds.
    ///
    /// # Errors
    /// A lasting error of EC2.
    pub async fn block_public_access(
        &self,
        attempts: &Attempts<'_>,
    ) -> Result<Option<bool>, CallError> {
        let mut known = self.block_public_access.lock().await;
        if let Some((read_at, state)) = *known
            && read_at.elapsed() < BLOCK_PUBLIC_ACCESS_AGE_MAX
        {
            return Ok(state);
        }
        let call = async || self.ec2.block_public_access().await;
        let state = attempts
            .call("GetImageBlockPublicAccessState", call)
            .await?;
        *known = Some((Instant::now(), state));
        Ok(state)
    }

    /// A key: looked at once in an invocation, for all images.
    pub async fn key(&self, arn: &str) -> KeyFacts {
        let cell = self
            .known_keys
            .borrow_mut()
            .entry(arn.to_owned())
            .or_default()
            .clone();
        cell.get_or_init(|| self.look_at_key(arn)).await.clone()
    }

    async fn look_at_key(&self, arn: &str) -> KeyFacts {
        let attempts = self.retry.attempts_for(KEY_TIMEOUT);
        let call = async || self.keys.key(arn).await;
        let mut key: Key = match attempts.call("DescribeKey", call).await {
            Ok(key) => key,
            Err(error) => return KeyFacts::Unknown(error.to_string()),
        };
        if !key.aws_managed && !key.is_unusable() {
            key.reach = match tokio::try_join!(
                self.key_policies(arn, &attempts),
                self.key_grantees(arn, &attempts)
            ) {
                Ok((policies, Some(grantees))) => Some(key_reach(&policies, &grantees)),
                // Unknown: nothing is claimed about this key.
                Ok((_, None)) | Err(_) => None,
            };
        }
        KeyFacts::Known(key)
    }

    /// All policies of the key, the one that RAM manages (`AWS_RAM`) included.
    async fn key_policies(
        &self,
        arn: &str,
        attempts: &Attempts<'_>,
    ) -> Result<Vec<String>, CallError> {
        let page = async |token: Option<&str>| self.keys.policy_names(arn, token).await;
        let names = attempts.pages("ListKeyPolicies", page).await?;
        let mut policies = Vec::with_capacity(names.len());
        for name in names {
            let call = async || self.keys.policy(arn, &name).await;
            policies.push(attempts.call("GetKeyPolicy", call).await?);
        }
        Ok(policies)
    }

    /// The grantees of the key's grants; `None` if there are too many to read.
    async fn key_grantees(
        &self,
        arn: &str,
        attempts: &Attempts<'_>,
    ) -> Result<Option<Vec<String>>, CallError> {
        let page = async |token: Option<&str>| self.keys.grantees(arn, token).await;
        attempts
            .pages_up_to(GRANT_PAGES_MAX, "ListGrants", page)
            .await
    }
}

#[cfg(test)]
mod tests;
