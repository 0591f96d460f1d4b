//! Parameter Store: groups, rules and the allow-list.

use std::sync::OnceLock;

use ami_warden_core::{StoredParameter, StoredValue};
use aws_config::SdkConfig;
use aws_sdk_ssm::{
    Client,
    types::{Parameter, ParameterType},
};
use chrono::DateTime;

use super::{
    answer::filled,
    error::{call_error, incomplete},
};
use crate::act::{
    call_error::CallError,
    ports::{Page, Parameters},
};

/// The largest page:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html>.
const PARAMETERS_PER_PAGE_MAX: i32 = 10;

/// Parameter Store through the AWS SDK.
#[derive(Debug, Clone)]
pub struct SsmClient {
    config: SdkConfig,
    client: OnceLock<Client>,
}

impl SsmClient {
    /// The client is made for the first call, since most functions have no parameters to read.
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

impl Parameters for SsmClient {
    async fn below(
        &self,
        path: &str,
        page: Option<&str>,
    ) -> Result<Page<StoredParameter>, CallError> {
        const OPERATION: &str = "GetParametersByPath";
        let call = self
            .client()
            .get_parameters_by_path()
            .path(path)
            .recursive(true)
            .max_results(PARAMETERS_PER_PAGE_MAX)
            .set_next_token(page.map(str::to_owned));
        let answer = call
            .send()
            .await
            .map_err(|error| call_error(OPERATION, &error))?;
        // An answer that leaves out the rules must not pass for a policy without rules.
        let parameters = answer
            .parameters
            .ok_or_else(|| incomplete(OPERATION, "Parameters"))?;
        let mut items = Vec::with_capacity(parameters.len());
        for parameter in parameters {
            items.push(read_parameter(OPERATION, parameter)?);
        }
        Ok(Page {
            items,
            next: filled(answer.next_token),
        })
    }

    async fn parameter(&self, name: &str) -> Result<StoredParameter, CallError> {
        const OPERATION: &str = "GetParameter";
        let answer = self.client().get_parameter().name(name).send().await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        let parameter = answer
            .parameter
            .ok_or_else(|| incomplete(OPERATION, "Parameter"))?;
        read_parameter(OPERATION, parameter)
    }
}

fn read_parameter(
    operation: &'static str,
    parameter: Parameter,
) -> Result<StoredParameter, CallError> {
    let name = parameter
        .name
        .ok_or_else(|| incomplete(operation, "Name"))?;
    // Without decryption, which is never asked for, the value of a secret is its ciphertext.
    let value = if parameter.r#type == Some(ParameterType::SecureString) {
        StoredValue::Secure
    } else {
        StoredValue::Text(
            parameter
                .value
                .ok_or_else(|| incomplete(operation, "Value"))?,
        )
    };
    let modified = parameter
        .last_modified_date
        .and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()));
    Ok(StoredParameter {
        name,
        value,
        modified,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_apart_and_its_value_is_dropped() {
        let parameter = Parameter::builder()
            .name("/p/rules")
            .r#type(ParameterType::SecureString)
            .value("AQICAHi…")
            .last_modified_date(aws_sdk_ssm::primitives::DateTime::from_secs_f64(1.5))
            .build();
        let stored = read_parameter("GetParameter", parameter).unwrap();
        assert_eq!(stored.value, StoredValue::Secure);
        assert_eq!(stored.modified, DateTime::from_timestamp(1, 500_000_000));
    }

    #[test]
    fn a_parameter_without_name_or_value_is_no_answer() {
        let nameless = Parameter::builder().value("x").build();
        let error = read_parameter("GetParameter", nameless).unwrap_err();
        assert_eq!(error.message, "the answer holds no Name");
        let empty = Parameter::builder()
            .name("/p/rules")
            .r#type(ParameterType::String)
            .build();
        let error = read_parameter("GetParameter", empty).unwrap_err();
        assert_eq!(error.message, "the answer holds no Value");
    }
}
