//! EC2: the SDK's optional everything, turned into values that are right, or into an error.

use std::{collections::BTreeMap, marker::PhantomData};

use aws_sdk_ec2::{
    Client,
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::AfterDeserializationInterceptorContextRef},
    error::BoxError,
    operation::describe_images::builders::DescribeImagesFluentBuilder,
    types::{
        self, AttributeValue, Filter, ImageAttributeName, LaunchPermission, LaunchPermissionModifications, PermissionGroup, Tag,
    },
};
use chrono::{DateTime, Utc};

use super::error::call_error;
use crate::{
    image::{EbsDevice, Grantee, Image, ImageId, LaunchPermissions},
    plan::Change,
    ports::{CallError, Ec2, Ec2Write, ErrorKind, Listing, Page},
};

/// EC2 through the AWS SDK, to read or to change.
#[derive(Debug, Clone)]
pub struct Ec2Client<Access>(Client, PhantomData<Access>);

/// A client that has no call that changes anything.
///
/// ```compile_fail
/// # use ami_warden::{aws::{Ec2Client, ReadOnly}, ports::Ec2Write};
/// fn changes_images<E: Ec2Write>() {}
/// changes_images::<Ec2Client<ReadOnly>>();
/// ```
///
/// The same compiles with [`ReadWrite`], so it is the missing call that stops the compiler:
///
/// ```
/// # use ami_warden::{aws::{Ec2Client, ReadWrite}, ports::Ec2Write};
/// fn changes_images<E: Ec2Write>() {}
/// changes_images::<Ec2Client<ReadWrite>>();
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ReadOnly;

/// A client that changes images too.
#[derive(Debug, Clone, Copy)]
pub struct ReadWrite;

impl<Access> Ec2Client<Access> {
    pub(super) fn new(config: &aws_config::SdkConfig) -> Self {
        Self(Client::new(config), PhantomData)
    }

    /// Own images only, disabled ones included: what is shared with us, or public, is not ours to change.
    fn describe_own_images(&self) -> DescribeImagesFluentBuilder {
        self.0.describe_images().owners("self").include_disabled(true)
    }
}

impl<Access> Ec2 for Ec2Client<Access> {
    async fn images(&self, ids: &[ImageId]) -> Result<Vec<Image>, CallError> {
        const OPERATION: &str = "DescribeImages";
        // A filter, since an id that is not there would fail the whole call as a parameter.
        let by_id = filter("image-id", ids.iter().map(ToString::to_string));
        let mut images = Vec::with_capacity(ids.len());
        let mut token = None;
        loop {
            let page = self.describe_own_images().filters(by_id.clone()).set_next_token(token);
            let page = page.send().await.map_err(|error| call_error(OPERATION, &error))?;
            for image in page.images.unwrap_or_default() {
                images.push(read_image(image).map_err(|what| unexpected(OPERATION, &what))?);
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(images);
            }
        }
    }

    async fn image_ids(&self, listing: &Listing, page: Option<String>) -> Result<Page, CallError> {
        const OPERATION: &str = "DescribeImages";
        let filters = match listing {
            Listing::All => None,
            Listing::TaggedWithPrefix(prefix) => Some(vec![filter("tag-key", [format!("{prefix}*")])]),
            Listing::Public => Some(vec![filter("is-public", ["true".to_owned()])]),
        };
        let images = self.describe_own_images().set_filters(filters).max_results(1000).set_next_token(page);
        let page = images.send().await.map_err(|error| call_error(OPERATION, &error))?;
        let ids = page.images.unwrap_or_default().into_iter().map(|image| read_id(image.image_id.as_deref()));
        Ok(Page {
            ids: ids.collect::<Result<_, _>>().map_err(|what| unexpected(OPERATION, &what))?,
            next: page.next_token.filter(|token| !token.is_empty()),
        })
    }

    async fn launch_permissions(&self, id: ImageId) -> Result<LaunchPermissions, CallError> {
        const OPERATION: &str = "DescribeImageAttribute";
        let call = self.0.describe_image_attribute().image_id(id.to_string()).attribute(ImageAttributeName::LaunchPermission);
        let answer = call.send().await.map_err(|error| call_error(OPERATION, &error))?;
        let grantees = answer.launch_permissions.unwrap_or_default().into_iter().map(read_grantee);
        grantees.collect::<Result<_, _>>().map_err(|what| unexpected(OPERATION, &what))
    }

    async fn snapshots(&self, ids: &[&str]) -> Result<BTreeMap<String, Option<bool>>, CallError> {
        const OPERATION: &str = "DescribeSnapshots";
        // A filter, since one snapshot that cannot be seen would fail the whole call as a parameter.
        let by_id = filter("snapshot-id", ids.iter().map(ToString::to_string));
        let mut snapshots = BTreeMap::new();
        let mut token = None;
        loop {
            let page = self.0.describe_snapshots().filters(by_id.clone()).set_next_token(token);
            let page = page.send().await.map_err(|error| call_error(OPERATION, &error))?;
            for snapshot in page.snapshots.unwrap_or_default() {
                snapshots.extend(snapshot.snapshot_id.map(|id| (id, snapshot.encrypted)));
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(snapshots);
            }
        }
    }

    async fn block_public_access(&self) -> Result<Option<bool>, CallError> {
        const ON: &str = "block-new-sharing";
        const OFF: &str = "unblocked";
        let answer = self.0.get_image_block_public_access_state().send().await;
        let answer = answer.map_err(|error| call_error("GetImageBlockPublicAccessState", &error))?;
        Ok(match answer.image_block_public_access_state.as_deref() {
            Some(ON) => Some(true),
            Some(OFF) => Some(false),
            _ => None,
        })
    }
}

impl Ec2Write for Ec2Client<ReadWrite> {
    async fn modify(&self, id: ImageId, change: &Change, dry_run: bool) -> Result<(), CallError> {
        const OPERATION: &str = "ModifyImageAttribute";
        let call = self.0.modify_image_attribute().image_id(id.to_string()).set_dry_run(dry_run.then_some(true));
        let call = match change {
            Change::Description { to, .. } => call.description(AttributeValue::builder().value(to).build()),
            Change::ImdsSupport { to, .. } => call.imds_support(AttributeValue::builder().value(to.as_str()).build()),
            Change::LaunchPermission(change) => {
                let entries = |grantees: &LaunchPermissions| {
                    (!grantees.is_empty()).then(|| grantees.iter().map(write_grantee).collect::<Vec<_>>())
                };
                let modifications = LaunchPermissionModifications::builder()
                    .set_add(entries(&change.add))
                    .set_remove(entries(&change.remove))
                    .build();
                call.launch_permission(modifications)
            }
        };
        match call.customize().interceptor(AnswerOf(OPERATION)).send().await.map_err(|error| call_error(OPERATION, &error)) {
            Ok(_) => Ok(()),
            // EC2's way of saying that a dry run would have been permitted.
            Err(error) if dry_run && error.code == "DryRunOperation" => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn set_tag(&self, id: ImageId, key: &str, value: Option<&str>) -> Result<(), CallError> {
        let tag = Tag::builder().key(key);
        if let Some(value) = value {
            let call = self.0.create_tags().resources(id.to_string()).tags(tag.value(value).build()).customize();
            call.interceptor(AnswerOf("CreateTags")).send().await.map(drop).map_err(|error| call_error("CreateTags", &error))
        } else {
            // Without a value in the request the tag goes whatever it says.
            let call = self.0.delete_tags().resources(id.to_string()).tags(tag.build()).customize();
            call.interceptor(AnswerOf("DeleteTags")).send().await.map(drop).map_err(|error| call_error("DeleteTags", &error))
        }
    }
}

/// Takes only EC2's own answer to a change for a change that was made.
///
/// The SDK reads nothing from these answers, so to it any page with status 200 would do, a proxy's greeting too.
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
        let body = context.response().body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
        if context.output_or_error().is_ok() && !body.contains(&format!("<{}Response", self.0)) {
            return Err("what was answered is not EC2's answer to this call".into());
        }
        Ok(())
    }
}

fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().collect())).build()
}

/// An answer that EC2 should not give. It may be better the next time; it is never taken for something it is not.
fn unexpected(operation: &'static str, what: &str) -> CallError {
    CallError { operation, code: "UnreadableAnswer".into(), message: what.to_owned(), kind: ErrorKind::Transient }
}

fn read_id(id: Option<&str>) -> Result<ImageId, String> {
    id.unwrap_or_default().parse().map_err(|error: crate::image::NotAnImageId| error.to_string())
}

fn read_image(image: types::Image) -> Result<Image, String> {
    let id = read_id(image.image_id.as_deref())?;
    let missing = |what| format!("{id} has no {what}");
    Ok(Image {
        id,
        owner: image.owner_id.ok_or_else(|| missing("OwnerId"))?,
        state: image.state.ok_or_else(|| missing("State"))?.as_str().into(),
        name: image.name,
        description: image.description.filter(|description| !description.is_empty()),
        creation_date: image.creation_date,
        source_image_id: image.source_image_id,
        architecture: image.architecture.map(|architecture| architecture.as_str().to_owned()),
        public: image.public.unwrap_or(false),
        imds_support: image.imds_support.map(|value| value.as_str().to_owned()),
        deprecation_time: image.deprecation_time.map(|time| read_time(id, &time)).transpose()?,
        tags: image
            .tags
            .unwrap_or_default()
            .into_iter()
            .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
            .collect(),
        product_codes: image.product_codes.unwrap_or_default().into_iter().filter_map(|code| code.product_code_id).collect(),
        devices: image.block_device_mappings.unwrap_or_default().into_iter().filter_map(read_device).collect(),
    })
}

fn read_time(id: ImageId, time: &str) -> Result<DateTime<Utc>, String> {
    time.parse().map_err(|error| format!("{id} has the DeprecationTime \"{time}\": {error}"))
}

fn read_device(mapping: types::BlockDeviceMapping) -> Option<EbsDevice> {
    let ebs = mapping.ebs?;
    Some(EbsDevice { device: mapping.device_name.unwrap_or_default(), snapshot: ebs.snapshot_id, encrypted: ebs.encrypted })
}

/// EC2 gives four optional fields of which one is set. ARNs are taken as they are: EC2 knows best which of its grantees are valid.
fn read_grantee(permission: LaunchPermission) -> Result<Grantee, String> {
    let LaunchPermission { organization_arn, organizational_unit_arn, user_id, group, .. } = permission;
    match (user_id, group, organization_arn, organizational_unit_arn) {
        (Some(account), None, None, None) => Ok(Grantee::Account(account)),
        (None, Some(PermissionGroup::All), None, None) => Ok(Grantee::All),
        (None, None, Some(arn), None) => Ok(Grantee::Organization(arn)),
        (None, None, None, Some(arn)) => Ok(Grantee::OrganizationalUnit(arn)),
        other => Err(format!("a launch permission that is no account, \"all\", organization or organizational unit: {other:?}")),
    }
}

fn write_grantee(grantee: &Grantee) -> LaunchPermission {
    let permission = LaunchPermission::builder();
    match grantee {
        Grantee::Account(account) => permission.user_id(account),
        Grantee::Organization(arn) => permission.organization_arn(arn),
        Grantee::OrganizationalUnit(arn) => permission.organizational_unit_arn(arn),
        Grantee::All => permission.group(PermissionGroup::All),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aws_sdk_ec2::operation::modify_image_attribute::ModifyImageAttributeInput;

    use super::*;
    use crate::request::Request;

    /// The fields of a type that the SDK generated from EC2's model, by their names there. Only `{:?}` lists them all.
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
        assert_eq!(fields(&ModifyImageAttributeInput::builder().build().unwrap()), keys(&Request::KEYS));
        assert_eq!(fields(&AttributeValue::builder().build()), keys(&["Value"]));
        assert_eq!(fields(&LaunchPermissionModifications::builder().build()), keys(&["Add", "Remove"]));
        assert_eq!(
            fields(&LaunchPermission::builder().build()),
            keys(&["UserId", "Group", "OrganizationArn", "OrganizationalUnitArn"])
        );
        // Every value of the two enumerations: a new one is a new kind of request.
        assert_eq!(PermissionGroup::values(), ["all"]);
        assert_eq!(types::OperationType::values(), ["add", "remove"]);
    }
}
