//! The calls that change something.

use ami_warden_core::{
    Change, CopyPermissionChange, Direction, ImageId, LaunchPermissionChange, LaunchPermissions,
    SHARED_TAG_PREFIX,
};
use aws_sdk_ec2::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::AfterDeserializationInterceptorContextRef,
    },
    error::BoxError,
    operation::modify_image_attribute::builders::ModifyImageAttributeFluentBuilder,
    primitives::DateTime,
    types::{
        AttributeValue, CreateVolumePermission, CreateVolumePermissionModifications,
        LaunchPermission, LaunchPermissionModifications, Tag,
    },
};

use super::{Ec2Client, ReadWrite, convert};
use crate::{
    act::{call_error::CallError, ports::Ec2Write},
    aws::error::call_error,
};

/// Sends a call and takes nothing but EC2's own answer for success.
macro_rules! send {
    ($operation:expr, $call:expr) => {{
        let call = $call.customize().interceptor(AnswerOf($operation));
        call.send()
            .await
            .map(drop)
            .map_err(|error| call_error($operation, &error))
    }};
}

impl Ec2Write for Ec2Client<ReadWrite> {
    async fn change(&self, id: ImageId, change: &Change, dry_run: bool) -> Result<(), CallError> {
        let answer = self.send_change(id, change, dry_run.then_some(true)).await;
        match answer {
            // EC2's way to say that it would have permitted the call.
            Err(error) if dry_run && error.code == "DryRunOperation" => Ok(()),
            answer => answer,
        }
    }

    async fn set_tag(&self, id: ImageId, key: &str, value: Option<&str>) -> Result<(), CallError> {
        self.send_tag(id, key, value, None).await
    }
}

impl Ec2Client<ReadWrite> {
    async fn send_change(
        &self,
        id: ImageId,
        change: &Change,
        dry_run: Option<bool>,
    ) -> Result<(), CallError> {
        match change {
            Change::Description { to, .. } => {
                let value = AttributeValue::builder().value(to).build();
                let call = self.modify_image(id, dry_run).description(value);
                send!("ModifyImageAttribute", call)
            }
            Change::ImdsSupport { to, .. } => {
                let value = AttributeValue::builder().value(to.as_str()).build();
                let call = self.modify_image(id, dry_run).imds_support(value);
                send!("ModifyImageAttribute", call)
            }
            Change::LaunchPermission(change) => {
                let call = self.modify_image(id, dry_run);
                send!(
                    "ModifyImageAttribute",
                    call.launch_permission(launch_modifications(change))
                )
            }
            Change::CopyPermission(change) => {
                let call = self
                    .client
                    .modify_snapshot_attribute()
                    .snapshot_id(&change.snapshot);
                let call = call.create_volume_permission(copy_modifications(change));
                send!("ModifySnapshotAttribute", call.set_dry_run(dry_run))
            }
            Change::Deprecation { to: Some(time), .. } => {
                let call = self
                    .client
                    .enable_image_deprecation()
                    .image_id(id.to_string());
                let call = call.deprecate_at(DateTime::from_secs(time.timestamp()));
                send!("EnableImageDeprecation", call.set_dry_run(dry_run))
            }
            Change::Deprecation { to: None, .. } => {
                let call = self
                    .client
                    .disable_image_deprecation()
                    .image_id(id.to_string());
                send!("DisableImageDeprecation", call.set_dry_run(dry_run))
            }
            Change::SharedTag { key, to, .. } => {
                let key = format!("{SHARED_TAG_PREFIX}{key}");
                self.send_tag(id, &key, to.as_deref(), dry_run).await
            }
        }
    }

    fn modify_image(
        &self,
        id: ImageId,
        dry_run: Option<bool>,
    ) -> ModifyImageAttributeFluentBuilder {
        self.client
            .modify_image_attribute()
            .image_id(id.to_string())
            .set_dry_run(dry_run)
    }

    async fn send_tag(
        &self,
        id: ImageId,
        key: &str,
        value: Option<&str>,
        dry_run: Option<bool>,
    ) -> Result<(), CallError> {
        let tag = Tag::builder().key(key);
        if let Some(value) = value {
            let call = self
                .client
                .create_tags()
                .resources(id.to_string())
                .set_dry_run(dry_run);
            send!("CreateTags", call.tags(tag.value(value).build()))
        } else {
            // Without a value in the request EC2 deletes the tag whatever it says.
            let call = self
                .client
                .delete_tags()
                .resources(id.to_string())
                .set_dry_run(dry_run);
            send!("DeleteTags", call.tags(tag.build()))
        }
    }
}

fn launch_modifications(change: &LaunchPermissionChange) -> LaunchPermissionModifications {
    LaunchPermissionModifications::builder()
        .set_add(launch_entries(&change.add))
        .set_remove(launch_entries(&change.remove))
        .build()
}

fn launch_entries(grantees: &LaunchPermissions) -> Option<Vec<LaunchPermission>> {
    if grantees.is_empty() {
        return None;
    }
    Some(grantees.iter().map(convert::launch_permission).collect())
}

fn copy_modifications(change: &CopyPermissionChange) -> CreateVolumePermissionModifications {
    let accounts = change.accounts.iter();
    let entries = accounts
        .map(|account| {
            CreateVolumePermission::builder()
                .user_id(account.as_str())
                .build()
        })
        .collect();
    let modifications = CreateVolumePermissionModifications::builder();
    match change.direction {
        Direction::Add => modifications.set_add(Some(entries)),
        Direction::Remove => modifications.set_remove(Some(entries)),
    }
    .build()
}

/// Takes only EC2's own answer for a change that was made.
///
/// The SDK reads nothing from most of these answers, so to it any page with status 200 would do, a
/// proxy's greeting too.
#[derive(Debug)]
struct AnswerOf(&'static str);

impl Intercept for AnswerOf {
    fn name(&self) -> &'static str {
        "AnswerOf"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context
            .response()
            .body()
            .bytes()
            .map(String::from_utf8_lossy);
        let is_answer = body
            .unwrap_or_default()
            .contains(&format!("<{}Response", self.0));
        if context.output_or_error().is_ok() && !is_answer {
            return Err("the answer is not EC2's answer to this call".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ami_warden_core::Request;
    use aws_sdk_ec2::{
        operation::modify_image_attribute::ModifyImageAttributeInput,
        types::{OperationType, PermissionGroup},
    };

    use super::*;

    /// The fields of a type that the SDK generated from EC2's model, by their names there. Only
    /// `{:?}` lists them all.
    fn fields(empty: &impl std::fmt::Debug) -> BTreeSet<String> {
        let text = format!("{empty:?}");
        let (_, fields) = text.split_once('{').unwrap();
        let names = fields.trim_end_matches(['}', ' ']).split(',').map(|field| {
            let (name, value) = field.split_once(':').unwrap();
            assert_eq!(value.trim(), "None", "{text}");
            let word = |word: &str| word[..1].to_uppercase() + &word[1..];
            name.trim().split('_').map(word).collect::<String>()
        });
        names.collect()
    }

    fn keys(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn a_request_by_hand_knows_every_parameter_of_the_api() {
        let input = ModifyImageAttributeInput::builder().build().unwrap();
        assert_eq!(fields(&input), keys(&Request::KEYS));
        assert_eq!(fields(&AttributeValue::builder().build()), keys(&["Value"]));
        let modifications = LaunchPermissionModifications::builder().build();
        assert_eq!(fields(&modifications), keys(&["Add", "Remove"]));
        assert_eq!(
            fields(&LaunchPermission::builder().build()),
            keys(&[
                "UserId",
                "Group",
                "OrganizationArn",
                "OrganizationalUnitArn"
            ])
        );
        // Every value of the two enumerations: a new one is a new kind of request.
        assert_eq!(PermissionGroup::values(), ["all"]);
        assert_eq!(OperationType::values(), ["add", "remove"]);
    }

    #[test]
    fn copy_permissions_are_added_or_removed_and_never_both() {
        let change = |direction| CopyPermissionChange {
            snapshot: "snap-1".into(),
            direction,
            accounts: ["444455556666", "111122223333"]
                .map(|account| account.parse().unwrap())
                .into_iter()
                .collect(),
        };
        let accounts = |entries: Option<Vec<CreateVolumePermission>>| {
            entries.map(|entries| {
                entries
                    .into_iter()
                    .map(|entry| entry.user_id.unwrap())
                    .collect::<Vec<_>>()
            })
        };
        let both = Some(vec!["111122223333".to_owned(), "444455556666".to_owned()]);
        let added = copy_modifications(&change(Direction::Add));
        assert_eq!(
            (accounts(added.add), accounts(added.remove)),
            (both.clone(), None)
        );
        let removed = copy_modifications(&change(Direction::Remove));
        assert_eq!(
            (accounts(removed.add), accounts(removed.remove)),
            (None, both)
        );
    }

    #[test]
    fn a_side_without_grantees_is_left_out_of_the_call() {
        let add: LaunchPermissions = ["all".parse().unwrap()].into();
        let none = LaunchPermissions::new();
        let change = LaunchPermissionChange::new(&none, add, none.clone(), false).unwrap();
        let modifications = launch_modifications(&change);
        let all = LaunchPermission::builder()
            .group(PermissionGroup::All)
            .build();
        assert_eq!(
            (modifications.add, modifications.remove),
            (Some(vec![all]), None)
        );
    }
}
