//! Parameter Store: the three calls that read parameters, in AWS JSON 1.1.
//! Source: AWS Systems Manager API Reference.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::services::caller::Caller;
use crate::state::account::State;
use crate::state::epoch;
use crate::state::parameter::{Parameter, ParameterType};
use crate::wire::error::ApiError;
use crate::wire::json::{decode, invalid, page_size};

/// Carries out the operation of an `X-Amz-Target` header, without its `AmazonSSM.`.
pub(crate) fn carry_out(
    state: &State,
    caller: &Caller,
    operation: &str,
    body: &[u8],
) -> Result<Value, ApiError> {
    match operation {
        "GetParametersByPath" => get_parameters_by_path(state, caller, decode(body)?),
        "GetParameter" => get_parameter(state, caller, decode(body)?),
        "GetParameters" => get_parameters(state, caller, decode(body)?),
        _ => Err(ApiError::new("UnknownOperationException", operation)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ByPath {
    path: String,
    #[serde(default)]
    recursive: bool,
    #[serde(default)]
    with_decryption: bool,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// At most ten parameters a page, which is also the default. A path with nothing below it is an
/// empty answer.
fn get_parameters_by_path(
    state: &State,
    caller: &Caller,
    request: ByPath,
) -> Result<Value, ApiError> {
    if !request.path.starts_with('/') {
        return Err(invalid(format!(
            "The parameter path {} must begin with /",
            request.path
        )));
    }
    let given = request.max_results;
    let size = page_size("maxResults", given, 10, 10, caller.largest_page)?;
    let below = format!("{}/", request.path.trim_end_matches('/'));
    let after = match &request.next_token {
        None => "",
        Some(token) => token
            .strip_prefix("after=")
            .filter(|name| name.is_empty() || name.starts_with(&below))
            .ok_or_else(|| ApiError::new("InvalidNextToken", "The specified token isn't valid."))?,
    };
    let mut found = state
        .parameters
        .values()
        .filter(|parameter| parameter.name.as_str() > after)
        .filter(|parameter| {
            let rest = parameter.name.strip_prefix(&below);
            rest.is_some_and(|rest| request.recursive || !rest.contains('/'))
        })
        .peekable();
    let page: Vec<&Parameter> = found.by_ref().take(size).collect();
    let mut answer = json!({
        "Parameters": page
            .iter()
            .map(|parameter| describe(state, caller, parameter, request.with_decryption))
            .collect::<Vec<_>>(),
    });
    if found.peek().is_some() {
        // An empty page leads to where it began.
        let last = page.last().map_or(after, |parameter| &parameter.name);
        answer["NextToken"] = json!(format!("after={last}"));
    }
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ByName {
    name: String,
    #[serde(default)]
    with_decryption: bool,
}

fn get_parameter(state: &State, caller: &Caller, request: ByName) -> Result<Value, ApiError> {
    let parameter = state
        .parameters
        .get(&request.name)
        .ok_or_else(|| ApiError::new("ParameterNotFound", ""))?;
    Ok(json!({ "Parameter": describe(state, caller, parameter, request.with_decryption) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ByNames {
    names: Vec<String>,
    #[serde(default)]
    with_decryption: bool,
}

/// One to ten names; those that are not there are listed apart.
fn get_parameters(state: &State, caller: &Caller, request: ByNames) -> Result<Value, ApiError> {
    if !(1..=10).contains(&request.names.len()) {
        return Err(invalid(
            "Value at 'names' failed to satisfy constraint: \
             Member must have length between 1 and 10",
        ));
    }
    let names: BTreeSet<&String> = request.names.iter().collect();
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match state.parameters.get(name) {
            Some(parameter) => {
                found.push(describe(state, caller, parameter, request.with_decryption))
            }
            None => missing.push(name),
        }
    }
    Ok(json!({ "Parameters": found, "InvalidParameters": missing }))
}

/// What stands for the value of a SecureString that is not decrypted.
const CIPHERTEXT: &str = "AQICAHgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

fn describe(state: &State, caller: &Caller, parameter: &Parameter, decrypt: bool) -> Value {
    let sealed = parameter.kind == ParameterType::SecureString && !decrypt;
    let (partition, region, account) = (caller.partition, &caller.region, state.account());
    let name = parameter.name.trim_start_matches('/');
    json!({
        "Name": parameter.name,
        "Type": parameter.kind,
        "Value": if sealed { CIPHERTEXT } else { &parameter.value },
        "Version": parameter.version,
        "LastModifiedDate": epoch::seconds(parameter.last_modified_date),
        "ARN": format!("arn:{partition}:ssm:{region}:{account}:parameter/{name}"),
        "DataType": parameter.data_type,
    })
}
