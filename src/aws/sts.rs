//! STS: the account of the credentials.

use std::sync::OnceLock;

use ami_warden_core::AccountId;
use aws_config::SdkConfig;
use aws_sdk_sts::{Client, config::ProvideCredentials};

use super::error::{call_error, causes, incomplete};
use crate::act::{call_error::CallError, ports::Caller};

/// No credentials can be had, with the causes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoCredentials(String);

/// STS through the AWS SDK.
#[derive(Debug, Clone)]
pub struct StsClient {
    config: SdkConfig,
    client: OnceLock<Client>,
}

impl StsClient {
    /// The client is made for the first call, which the function never makes.
    pub(super) fn new(config: SdkConfig) -> Self {
        Self {
            config,
            client: OnceLock::new(),
        }
    }

    /// Looks for credentials, so that a person hears of missing ones before any call fails for
    /// them.
    ///
    /// # Errors
    /// There are none.
    pub async fn check_credentials(&self) -> Result<(), NoCredentials> {
        let Some(provider) = self.config.credentials_provider() else {
            return Err(NoCredentials("nothing provides them".to_owned()));
        };
        match provider.provide_credentials().await {
            Ok(_) => Ok(()),
            Err(error) => Err(NoCredentials(causes(&error))),
        }
    }
}

impl Caller for StsClient {
    async fn account(&self) -> Result<AccountId, CallError> {
        const OPERATION: &str = "GetCallerIdentity";
        let client = self.client.get_or_init(|| Client::new(&self.config));
        let answer = client.get_caller_identity().send().await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        let account = answer
            .account
            .ok_or_else(|| incomplete(OPERATION, "Account"))?;
        Ok(AccountId::from_aws(&account))
    }
}
