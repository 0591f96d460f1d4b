//! Parameter Store: groups, rules and the allow-list.

use std::sync::OnceLock;

use aws_config::SdkConfig;
use aws_sdk_ssm::Client;

use super::error::call_error;
use crate::ports::{CallError, ErrorKind, Parameters};

/// Parameter Store through the AWS SDK.
#[derive(Debug, Clone)]
pub struct SsmClient {
    config: SdkConfig,
    client: OnceLock<Client>,
}

impl SsmClient {
    /// The client is made for the first call, since most functions have no parameters to read.
    pub(super) fn new(config: SdkConfig) -> Self {
        Self { config, client: OnceLock::new() }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::new(&self.config))
    }
}

impl Parameters for SsmClient {
    async fn below(&self, path: &str) -> Result<Vec<(String, String)>, CallError> {
        const OPERATION: &str = "GetParametersByPath";
        let mut parameters = Vec::new();
        let mut token = None;
        loop {
            // Ten are the most that a page can hold.
            let page = self.client().get_parameters_by_path().path(path).recursive(true).max_results(10).set_next_token(token);
            let page = page.send().await.map_err(|error| call_error(OPERATION, &error))?;
            // An answer that leaves out the rules must not pass for a policy without rules.
            for parameter in page.parameters.ok_or_else(|| incomplete(OPERATION, "parameters"))? {
                let (name, value) = parameter.name.zip(parameter.value).ok_or_else(|| incomplete(OPERATION, "name or value"))?;
                parameters.push((name, value));
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(parameters);
            }
        }
    }

    async fn value(&self, name: &str) -> Result<String, CallError> {
        const OPERATION: &str = "GetParameter";
        let answer = self.client().get_parameter().name(name).send().await.map_err(|error| call_error(OPERATION, &error))?;
        answer.parameter.and_then(|parameter| parameter.value).ok_or_else(|| incomplete(OPERATION, "value"))
    }
}

fn incomplete(operation: &'static str, what: &str) -> CallError {
    CallError {
        operation,
        code: "UnreadableAnswer".into(),
        message: format!("the answer holds no {what}"),
        kind: ErrorKind::Transient,
    }
}
