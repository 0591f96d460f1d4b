//! KMS: the keys of encrypted snapshots.

use std::sync::OnceLock;

use ami_warden_core::Key;
use aws_config::SdkConfig;
use aws_sdk_kms::{
    Client,
    types::{GrantListEntry, KeyManagerType, KeyMetadata},
};

use super::{
    answer::filled,
    error::{call_error, incomplete},
};
use crate::act::{
    call_error::CallError,
    ports::{Keys, Page},
};

/// The largest page: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListGrants.html>.
const GRANTS_PER_PAGE_MAX: i32 = 100;

/// A grantee that could be anybody.
const ANYBODY: &str = "*";

/// KMS through the AWS SDK.
#[derive(Debug, Clone)]
pub struct KmsClient {
    config: SdkConfig,
    client: OnceLock<Client>,
}

impl KmsClient {
    /// The client is made for the first call, since most functions do not look at keys.
    pub(super) fn new(config: SdkConfig) -> Self {
        Self {
            config,
            client: OnceLock::new(),
        }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::new(&self.config))
    }
}

impl Keys for KmsClient {
    async fn key(&self, arn: &str) -> Result<Key, CallError> {
        const OPERATION: &str = "DescribeKey";
        let answer = self.client().describe_key().key_id(arn).send().await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        let metadata = answer
            .key_metadata
            .ok_or_else(|| incomplete(OPERATION, "KeyMetadata"))?;
        read_key(&metadata)
    }

    async fn policy_names(&self, arn: &str, page: Option<&str>) -> Result<Page<String>, CallError> {
        const OPERATION: &str = "ListKeyPolicies";
        let call = self.client().list_key_policies().key_id(arn);
        let answer = call.set_marker(page.map(str::to_owned)).send().await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        // A policy that an answer leaves out could let somebody in.
        let items = answer
            .policy_names
            .ok_or_else(|| incomplete(OPERATION, "PolicyNames"))?;
        Ok(Page {
            items,
            next: next_page(OPERATION, answer.truncated, answer.next_marker)?,
        })
    }

    async fn policy(&self, arn: &str, name: &str) -> Result<String, CallError> {
        const OPERATION: &str = "GetKeyPolicy";
        let answer = self
            .client()
            .get_key_policy()
            .key_id(arn)
            .policy_name(name)
            .send()
            .await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        answer.policy.ok_or_else(|| incomplete(OPERATION, "Policy"))
    }

    async fn grantees(&self, arn: &str, page: Option<&str>) -> Result<Page<String>, CallError> {
        const OPERATION: &str = "ListGrants";
        let call = self
            .client()
            .list_grants()
            .key_id(arn)
            .limit(GRANTS_PER_PAGE_MAX);
        let answer = call.set_marker(page.map(str::to_owned)).send().await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        let grants = answer
            .grants
            .ok_or_else(|| incomplete(OPERATION, "Grants"))?;
        let mut items = Vec::with_capacity(grants.len());
        for grant in grants {
            push_grantees(&mut items, grant);
        }
        Ok(Page {
            items,
            next: next_page(OPERATION, answer.truncated, answer.next_marker)?,
        })
    }
}

fn read_key(metadata: &KeyMetadata) -> Result<Key, CallError> {
    let state = metadata
        .key_state
        .as_ref()
        .ok_or_else(|| incomplete("DescribeKey", "KeyState"))?;
    Ok(Key {
        aws_managed: metadata.key_manager == Some(KeyManagerType::Aws),
        state: state.as_str().to_owned(),
        reach: None,
    })
}

/// The grantee of a grant is a principal or a service; a grant that names neither could be for
/// anybody. <https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantListEntry.html>
fn push_grantees(grantees: &mut Vec<String>, grant: GrantListEntry) {
    let named = [grant.grantee_principal, grant.grantee_service_principal];
    let before = grantees.len();
    for grantee in named {
        grantees.extend(filled(grantee));
    }
    if grantees.len() == before {
        grantees.push(ANYBODY.to_owned());
    }
}

/// The marker of the next page. An answer that is cut short without one is not the whole list.
fn next_page(
    operation: &'static str,
    truncated: bool,
    marker: Option<String>,
) -> Result<Option<String>, CallError> {
    let marker = filled(marker);
    if truncated && marker.is_none() {
        return Err(incomplete(operation, "NextMarker"));
    }
    Ok(marker)
}

#[cfg(test)]
mod tests {
    use aws_sdk_kms::types::KeyState;

    use super::*;

    fn grantees(grant: GrantListEntry) -> Vec<String> {
        let mut grantees = Vec::new();
        push_grantees(&mut grantees, grant);
        grantees
    }

    #[test]
    fn a_grant_names_a_principal_or_a_service_and_otherwise_stands_for_anybody() {
        let root = "arn:aws:iam::444455556666:root";
        let service = "dynamodb.eu-west-1.amazonaws.com";
        let grant = GrantListEntry::builder;
        assert_eq!(grantees(grant().grantee_principal(root).build()), [root]);
        assert_eq!(
            grantees(grant().grantee_service_principal(service).build()),
            [service]
        );
        let both = grant()
            .grantee_principal(root)
            .grantee_service_principal(service)
            .build();
        assert_eq!(grantees(both), [root, service]);
        assert_eq!(grantees(grant().build()), ["*"]);
        assert_eq!(grantees(grant().grantee_principal("").build()), ["*"]);
    }

    #[test]
    fn a_list_that_is_cut_short_without_a_marker_is_no_answer() {
        let marker = || Some("m".to_owned());
        assert_eq!(next_page("ListGrants", true, marker()), Ok(marker()));
        assert_eq!(next_page("ListGrants", false, None), Ok(None));
        assert_eq!(
            next_page("ListGrants", false, Some(String::new())),
            Ok(None)
        );
        let error = next_page("ListGrants", true, None).unwrap_err();
        assert_eq!(error.message, "the answer holds no NextMarker");
    }

    #[test]
    fn a_key_shows_its_manager_and_its_state() {
        let key = |manager: Option<&str>, state: Option<&str>| {
            let metadata = KeyMetadata::builder()
                .key_id("key")
                .set_key_manager(manager.map(KeyManagerType::from))
                .set_key_state(state.map(KeyState::from));
            read_key(&metadata.build().unwrap())
        };
        let known = |aws_managed, state: &str| {
            Ok(Key {
                aws_managed,
                state: state.into(),
                reach: None,
            })
        };
        assert_eq!(key(Some("AWS"), Some("Enabled")), known(true, "Enabled"));
        assert_eq!(
            key(Some("CUSTOMER"), Some("PendingDeletion")),
            known(false, "PendingDeletion")
        );
        assert_eq!(key(None, Some("NewState")), known(false, "NewState"));
        assert_eq!(
            key(None, None).unwrap_err().message,
            "the answer holds no KeyState"
        );
    }
}
