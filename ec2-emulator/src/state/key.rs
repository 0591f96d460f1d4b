//! KMS keys with their policies and grants.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::state::epoch;
use crate::state::partition::partition_of;

/// Who made a key. AWS-managed keys open nothing to other accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are KMS's own")]
pub enum KeyManager {
    #[default]
    Customer,
    Aws,
}

/// The states of the KMS API model (`KeyState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are KMS's own")]
pub enum KeyState {
    Creating,
    #[default]
    Enabled,
    Disabled,
    PendingDeletion,
    PendingImport,
    PendingReplicaDeletion,
    Unavailable,
    Updating,
}

/// A grant. Source: KMS API model, `GrantListEntry`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are KMS's own")]
pub struct KeyGrant {
    pub grant_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grantee_principal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grantee_service_principal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring_principal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring_service_principal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuing_account: Option<String>,
    #[serde(default)]
    pub operations: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Value>,
    #[serde(default = "now", with = "epoch")]
    pub creation_date: DateTime<Utc>,
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

impl KeyGrant {
    /// A grant to a principal: the ARN of an account's root, a user or a role.
    pub fn new(grant_id: &str, grantee_principal: &str, operations: &[&str]) -> Self {
        Self {
            grant_id: grant_id.to_owned(),
            name: None,
            grantee_principal: Some(grantee_principal.to_owned()),
            grantee_service_principal: None,
            retiring_principal: None,
            retiring_service_principal: None,
            issuing_account: None,
            operations: operations.iter().map(|name| (*name).to_owned()).collect(),
            constraints: None,
            creation_date: now(),
        }
    }

    /// A grant to a service instead.
    pub fn to_service(grant_id: &str, service: &str, operations: &[&str]) -> Self {
        Self {
            grantee_principal: None,
            grantee_service_principal: Some(service.to_owned()),
            ..Self::new(grant_id, "", operations)
        }
    }
}

/// A key. A bare id is completed with the emulator's account and Region when the key is added; a
/// key of another account is given by its ARN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Key {
    /// The id, or the ARN `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`: always that once it is added.
    pub arn: String,
    /// For example `alias/images`.
    #[serde(default)]
    pub aliases: BTreeSet<String>,
    /// Default: a customer.
    #[serde(default)]
    pub key_manager: KeyManager,
    /// Default: enabled.
    #[serde(default)]
    pub key_state: KeyState,
    /// Policies as JSON texts, by name: `default`, `AWS_RAM`. Default: one `default` that lets the
    /// account's IAM policies decide, as KMS makes it.
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// Its grants.
    #[serde(default)]
    pub grants: Vec<KeyGrant>,
    /// For keys that are pending deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_date: Option<DateTime<Utc>>,
    /// Default: `AWS_KMS`.
    #[serde(default = "aws_kms")]
    pub origin: String,
}

fn aws_kms() -> String {
    "AWS_KMS".to_owned()
}

/// The policy that lets the IAM policies of the account decide.
/// Source: KMS Developer Guide, "Default key policy".
fn root_policy(partition: &str, account: &str) -> String {
    let statement = json!({
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:{partition}:iam::{account}:root") },
        "Action": "kms:*",
        "Resource": "*",
    });
    json!({ "Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement] }).to_string()
}

impl Key {
    /// An enabled key of a customer, by id or ARN.
    pub fn new(id_or_arn: &str) -> Self {
        Self {
            arn: id_or_arn.to_owned(),
            aliases: BTreeSet::new(),
            key_manager: KeyManager::Customer,
            key_state: KeyState::Enabled,
            policies: BTreeMap::new(),
            grants: Vec::new(),
            deletion_date: None,
            origin: aws_kms(),
        }
    }

    /// The key that EBS uses where nobody names another: every account has it from the start.
    pub(crate) fn aws_ebs() -> Self {
        Self::new("0eb50eb5-0000-4000-8000-0000000000eb")
            .alias("alias/aws/ebs")
            .managed_by_aws()
    }

    /// Adds an alias, such as `alias/images`.
    pub fn alias(mut self, alias: &str) -> Self {
        self.aliases.insert(alias.to_owned());
        self
    }

    /// Makes it an AWS-managed key.
    pub fn managed_by_aws(mut self) -> Self {
        self.key_manager = KeyManager::Aws;
        self
    }

    /// Puts it in a state.
    pub fn state(mut self, state: KeyState) -> Self {
        self.key_state = state;
        self
    }

    /// Sets the policy named `default`, which need not be well-formed.
    pub fn policy(self, policy: impl ToString) -> Self {
        self.policy_named("default", policy)
    }

    /// Sets a policy of another name, `AWS_RAM` for example.
    pub fn policy_named(mut self, name: &str, policy: impl ToString) -> Self {
        self.policies.insert(name.to_owned(), policy.to_string());
        self
    }

    /// Adds a grant, even one of an id that is there already.
    pub fn grant(mut self, grant: KeyGrant) -> Self {
        self.grants.push(grant);
        self
    }

    /// The last part of the ARN.
    pub fn key_id(&self) -> &str {
        id_of(&self.arn)
    }

    /// The part of the ARN of that place: partition 1, service 2, Region 3, account 4.
    pub(crate) fn arn_part(&self, place: usize) -> &str {
        self.arn.split(':').nth(place).unwrap_or_default()
    }

    /// Makes an ARN of a bare id, and adds the usual policy where it has none.
    pub(crate) fn complete(&mut self, region: &str, account: &str) {
        if !self.arn.starts_with("arn:") {
            let partition = partition_of(region);
            self.arn = format!("arn:{partition}:kms:{region}:{account}:key/{}", self.arn);
        }
        if self.policies.is_empty() {
            let policy = root_policy(self.arn_part(1), self.arn_part(4));
            self.policies.insert("default".to_owned(), policy);
        }
    }
}

/// A key's id, of an id or an ARN.
pub(crate) fn id_of(id_or_arn: &str) -> &str {
    match id_or_arn.rsplit_once(":key/") {
        Some((_, id)) => id,
        None => id_or_arn,
    }
}
