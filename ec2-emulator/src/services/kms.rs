//! KMS: the calls that read keys, in AWS JSON 1.1.
//! Source: KMS API Reference; which errors a call has is from its API model. Permissions are not
//! checked: faults play `AccessDeniedException`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::services::caller::Caller;
use crate::state::account::State;
use crate::state::epoch;
use crate::state::key::{Key, KeyGrant, KeyState};
use crate::wire::error::ApiError;
use crate::wire::json::{decode, invalid, page_size};

/// Carries out the operation of an `X-Amz-Target` header, without its `TrentService.`.
pub(crate) fn carry_out(
    state: &State,
    caller: &Caller,
    operation: &str,
    body: &[u8],
) -> Result<Value, ApiError> {
    match operation {
        "DescribeKey" => describe_key(state, caller, decode(body)?),
        "GetKeyPolicy" => get_key_policy(state, caller, decode(body)?),
        "ListKeyPolicies" => list_key_policies(state, caller, decode(body)?),
        "ListGrants" => list_grants(state, caller, decode(body)?),
        _ => Err(ApiError::new("UnknownOperationException", operation)),
    }
}

/// The key of an id, an ARN, an alias or an alias's ARN.
fn find<'a>(state: &'a State, caller: &Caller, name: &str) -> Result<&'a Key, ApiError> {
    if name.is_empty() {
        return Err(invalid(
            "1 validation error detected: Value at 'keyId' must not be empty",
        ));
    }
    if let Some(rest) = name.strip_prefix("arn:") {
        let parts: Vec<&str> = rest.splitn(5, ':').collect();
        let [_, "kms", region, _, resource] = parts[..] else {
            return Err(ApiError::new(
                "InvalidArnException",
                format!("Invalid arn {name}"),
            ));
        };
        if !resource.starts_with("key/") && !resource.starts_with("alias/") {
            return Err(ApiError::new(
                "InvalidArnException",
                format!("Invalid arn {name}"),
            ));
        }
        // KMS names the Region, and does not look there.
        if region != caller.region {
            return Err(not_found(format!("Invalid arn {region}")));
        }
    }
    let missing = || match name.starts_with("alias/") {
        true => format!("Alias {name} is not found."),
        false => format!("Key '{name}' does not exist"),
    };
    state.key(name).ok_or_else(|| not_found(missing()))
}

/// The same for calls that take no alias, do not work across accounts if `own` is set, and not on
/// keys that are being created. The codes of these refusals are not confirmed.
fn find_by_id<'a>(
    state: &'a State,
    caller: &Caller,
    name: &str,
    own: bool,
) -> Result<&'a Key, ApiError> {
    if name.starts_with("alias/") || name.contains(":alias/") {
        return Err(not_found(format!("Invalid keyId '{name}'")));
    }
    let key = find(state, caller, name)?;
    if own && !state.owns_key(key) {
        let message = format!("The key {name} is in a different account.");
        return Err(ApiError::new("AccessDeniedException", message));
    }
    if key.key_state == KeyState::Creating {
        let message = format!("{} is creating.", key.arn);
        return Err(ApiError::new("KMSInvalidStateException", message));
    }
    Ok(key)
}

fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new("NotFoundException", message)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeKey {
    key_id: String,
    #[serde(default)]
    grant_tokens: Vec<String>,
}

fn describe_key(state: &State, caller: &Caller, request: DescribeKey) -> Result<Value, ApiError> {
    if request.grant_tokens.len() > 10 {
        return Err(invalid(
            "Value at 'grantTokens' may have at most 10 members",
        ));
    }
    let key = find(state, caller, &request.key_id)?;
    let mut metadata = json!({
        "KeyId": key.key_id(),
        "Arn": key.arn,
        "AWSAccountId": key.arn_part(4),
        "Enabled": key.key_state == KeyState::Enabled,
        "KeyState": key.key_state,
        "KeyManager": key.key_manager,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "Origin": key.origin,
        "MultiRegion": key.key_id().starts_with("mrk-"),
    });
    if let Some(at) = key.deletion_date {
        metadata["DeletionDate"] = json!(epoch::seconds(at));
    }
    Ok(json!({ "KeyMetadata": metadata }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetKeyPolicy {
    key_id: String,
    policy_name: Option<String>,
}

fn get_key_policy(
    state: &State,
    caller: &Caller,
    request: GetKeyPolicy,
) -> Result<Value, ApiError> {
    let name = request.policy_name.as_deref().unwrap_or("default");
    if name != "default" && name != "AWS_RAM" {
        return Err(invalid("Value at 'policyName' must be default or AWS_RAM"));
    }
    let key = find_by_id(state, caller, &request.key_id, true)?;
    let policy = key.policies.get(name);
    let policy = policy.ok_or_else(|| not_found(format!("No such policy exists: {name}")))?;
    Ok(json!({ "Policy": policy, "PolicyName": name }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListKeyPolicies {
    key_id: String,
    limit: Option<usize>,
    marker: Option<String>,
}

fn list_key_policies(
    state: &State,
    caller: &Caller,
    request: ListKeyPolicies,
) -> Result<Value, ApiError> {
    let size = page_size("limit", request.limit, 100, 1000, caller.largest_page)?;
    let key = find_by_id(state, caller, &request.key_id, true)?;
    let names = key.policies.keys().map(|name| (name.as_str(), json!(name)));
    page("PolicyNames", names, size, request.marker.as_deref())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListGrants {
    key_id: String,
    limit: Option<usize>,
    marker: Option<String>,
    grant_id: Option<String>,
    grantee_principal: Option<String>,
    grantee_service_principal: Option<String>,
}

impl ListGrants {
    fn wants(&self, grant: &KeyGrant) -> bool {
        let fits =
            |wanted: &Option<String>, given: &Option<String>| wanted.is_none() || wanted == given;
        self.grant_id
            .as_ref()
            .is_none_or(|id| *id == grant.grant_id)
            && fits(&self.grantee_principal, &grant.grantee_principal)
            && fits(
                &self.grantee_service_principal,
                &grant.grantee_service_principal,
            )
    }
}

/// API model: at most 100 a page, 50 by default.
fn list_grants(state: &State, caller: &Caller, request: ListGrants) -> Result<Value, ApiError> {
    let size = page_size("limit", request.limit, 50, 100, caller.largest_page)?;
    let key = find_by_id(state, caller, &request.key_id, false)?;
    let mut grants: Vec<&KeyGrant> = Vec::new();
    grants.extend(key.grants.iter().filter(|grant| request.wants(grant)));
    if request.grant_id.is_some() && grants.is_empty() {
        return Err(ApiError::new(
            "InvalidGrantIdException",
            "There is no such grant",
        ));
    }
    grants.sort_by(|a, b| a.grant_id.cmp(&b.grant_id));
    let grants = grants.into_iter().map(|grant| {
        let mut entry = json!(grant);
        entry["KeyId"] = json!(key.arn);
        (grant.grant_id.as_str(), entry)
    });
    page("Grants", grants, size, request.marker.as_deref())
}

/// One page of items by name, and what leads to the next one.
fn page<'a>(
    list: &str,
    items: impl Iterator<Item = (&'a str, Value)>,
    size: usize,
    marker: Option<&str>,
) -> Result<Value, ApiError> {
    let after = match marker {
        None => "",
        Some(marker) => marker.strip_prefix("after=").ok_or_else(|| {
            ApiError::new(
                "InvalidMarkerException",
                "The marker is not one that was given",
            )
        })?,
    };
    let mut items = items.filter(|(name, _)| *name > after).peekable();
    let mut last = after;
    let mut page = Vec::new();
    while page.len() < size
        && let Some((name, item)) = items.next()
    {
        last = name;
        page.push(item);
    }
    let truncated = items.peek().is_some();
    let mut answer = json!({ list: page, "Truncated": truncated });
    if truncated {
        answer["NextMarker"] = json!(format!("after={last}"));
    }
    Ok(answer)
}
