//! The calls that read.

use ami_warden_core::{CopyPermissions, ImageId, LaunchPermissions, SnapshotFacts};
use aws_sdk_ec2::{
    Client,
    operation::describe_images::builders::DescribeImagesFluentBuilder,
    types::{Filter, ImageAttributeName, SnapshotAttributeName},
};

use super::{Ec2Client, convert};
use crate::{
    act::{
        call_error::CallError,
        ports::{Described, Ec2, Listing, Page, Which},
    },
    aws::{answer::filled, error::call_error},
};

impl<Access> Ec2Client<Access> {
    /// Your own images only, disabled ones included: others' images are not yours to change.
    fn describe_own_images(client: &Client, page: Option<&str>) -> DescribeImagesFluentBuilder {
        let call = client
            .describe_images()
            .owners("self")
            .include_disabled(true);
        call.set_next_token(page.map(str::to_owned))
    }
}

impl<Access> Ec2 for Ec2Client<Access> {
    async fn images(
        &self,
        ids: &[ImageId],
        page: Option<&str>,
    ) -> Result<Page<Described>, CallError> {
        // A filter, since an id that is not there would fail the whole call as a parameter.
        let by_id = filter("image-id", ids.iter().map(ToString::to_string));
        let client = if ids.len() > 1 {
            self.many()
        } else {
            &self.client
        };
        let call = Self::describe_own_images(client, page).filters(by_id);
        let answer = call.send().await;
        let answer = answer.map_err(|error| call_error("DescribeImages", &error))?;
        let images = answer.images.unwrap_or_default().into_iter();
        let items = images.map(convert::described).collect();
        Ok(Page {
            items,
            next: filled(answer.next_token),
        })
    }

    async fn image_ids(
        &self,
        listing: &Listing,
        page_size: i32,
        page: Option<&str>,
    ) -> Result<Page<Option<ImageId>>, CallError> {
        let mut call = Self::describe_own_images(self.many(), page).max_results(page_size);
        match &listing.which {
            Which::All => {}
            Which::Tagged(keys) => call = call.filters(filter("tag-key", keys.iter().cloned())),
            Which::Public => call = call.filters(filter("is-public", ["true".to_owned()])),
        }
        if !listing.id_patterns.is_empty() {
            call = call.filters(filter("image-id", listing.id_patterns.iter().cloned()));
        }
        let answer = call
            .send()
            .await
            .map_err(|error| call_error("DescribeImages", &error))?;
        let mut items = Vec::new();
        for image in answer.images.unwrap_or_default() {
            items.push(image.image_id.and_then(|id| id.parse().ok()));
        }
        Ok(Page {
            items,
            next: filled(answer.next_token),
        })
    }

    async fn launch_permissions(&self, id: ImageId) -> Result<LaunchPermissions, CallError> {
        const OPERATION: &str = "DescribeImageAttribute";
        let call = self
            .client
            .describe_image_attribute()
            .image_id(id.to_string());
        let answer = call
            .attribute(ImageAttributeName::LaunchPermission)
            .send()
            .await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        let mut grantees = LaunchPermissions::new();
        for permission in answer.launch_permissions.unwrap_or_default() {
            let grantee = convert::grantee(permission);
            grantees.insert(grantee.map_err(|error| error.in_answer_of(OPERATION))?);
        }
        Ok(grantees)
    }

    async fn snapshots(
        &self,
        ids: &[&str],
        page: Option<&str>,
    ) -> Result<Page<(String, SnapshotFacts)>, CallError> {
        // A filter, since one snapshot that cannot be seen would fail the whole call as a
        // parameter.
        let by_id = filter("snapshot-id", ids.iter().map(ToString::to_string));
        let call = self.client.describe_snapshots().filters(by_id);
        let answer = call.set_next_token(page.map(str::to_owned)).send().await;
        let answer = answer.map_err(|error| call_error("DescribeSnapshots", &error))?;
        let mut items = Vec::new();
        for snapshot in answer.snapshots.unwrap_or_default() {
            // Without an id it is a snapshot that cannot be seen.
            let Some(id) = snapshot.snapshot_id else {
                continue;
            };
            let facts = SnapshotFacts {
                encrypted: snapshot.encrypted,
                key: snapshot.kms_key_id,
            };
            items.push((id, facts));
        }
        Ok(Page {
            items,
            next: filled(answer.next_token),
        })
    }

    async fn copy_permissions(&self, snapshot: &str) -> Result<CopyPermissions, CallError> {
        const OPERATION: &str = "DescribeSnapshotAttribute";
        let call = self
            .client
            .describe_snapshot_attribute()
            .snapshot_id(snapshot);
        let answer = call
            .attribute(SnapshotAttributeName::CreateVolumePermission)
            .send()
            .await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        let mut accounts = CopyPermissions::new();
        for permission in answer.create_volume_permissions.unwrap_or_default() {
            let account = convert::copier(permission);
            accounts.extend(account.map_err(|error| error.in_answer_of(OPERATION))?);
        }
        Ok(accounts)
    }

    async fn block_public_access(&self) -> Result<Option<bool>, CallError> {
        let answer = self
            .client
            .get_image_block_public_access_state()
            .send()
            .await;
        let answer =
            answer.map_err(|error| call_error("GetImageBlockPublicAccessState", &error))?;
        Ok(match answer.image_block_public_access_state.as_deref() {
            Some("block-new-sharing") => Some(true),
            Some("unblocked") => Some(false),
            _ => None,
        })
    }
}

fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
    Filter::builder()
        .name(name)
        .set_values(Some(values.into_iter().collect()))
        .build()
}
