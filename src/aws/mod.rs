//! The only code that knows the AWS SDK.

mod answer;
mod ec2;
mod error;
mod kms;
mod profiles;
mod ssm;
mod sts;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, environment::EnvironmentVariableCredentialsProvider,
    profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_ec2::config::ProvideCredentials;

pub use self::{
    ec2::{Ec2Client, ReadOnly, ReadWrite, UsageReportsClient},
    kms::KmsClient,
    profiles::profiles,
    ssm::SsmClient,
    sts::{NoCredentials, StsClient},
};

/// The clients, which share one set of credentials.
#[derive(Debug)]
pub struct Clients<Access> {
    /// Images, snapshots and their permissions.
    pub ec2: Ec2Client<Access>,
    /// Groups, rules and the allow-list.
    pub parameters: SsmClient,
    /// The keys of encrypted snapshots.
    pub keys: KmsClient,
    /// The account of the credentials.
    pub caller: StsClient,
    /// The Region of their calls, if one is set.
    pub region: Option<String>,
}

/// The time of one attempt of a call: enough for a full page of `DescribeImages`, and short enough
/// to try again within an invocation.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// A person's word on the credentials, before that of the environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// The profile of the shared configuration files.
    pub profile: Option<&'a str>,
    /// The Region of the calls.
    pub region: Option<&'a str>,
}

impl<Access> Clients<Access> {
    /// Makes the clients from the SDK's standard environment variables, endpoints and certificates
    /// included.
    pub async fn from_env() -> Self {
        Self::chosen(&Choice::default()).await
    }

    /// The same, with a profile or a Region that a person chose.
    pub async fn chosen(choice: &Choice<'_>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        // Pinned: a newer version may change the TLS stack, the retries and the timeouts under us.
        let mut config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            // `Retry` decides about another try, since it knows the deadline.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        let region = choice.region.map(|region| Region::new(region.to_owned()));
        if let Some(region) = &region {
            config = config.region(region.clone());
        }
        if let Some(profile) = choice.profile {
            // As in the AWS CLI, a chosen profile counts before credentials in the environment.
            let surroundings = match region {
                Some(region) => ProviderConfig::without_region().with_region(Some(region)),
                None => ProviderConfig::with_default_region().await,
            };
            let credentials = ProfileFileCredentialsProvider::builder()
                .configure(&surroundings)
                .profile_name(profile)
                .build();
            config = config
                .profile_name(profile)
                .credentials_provider(credentials);
        } else {
            // The SDK's chain takes credentials in the environment first, and Lambda puts them
            // there. The rest of the chain, with a client of STS, would cost every start.
            let environment = EnvironmentVariableCredentialsProvider::new();
            if environment.provide_credentials().await.is_ok() {
                config = config.credentials_provider(environment);
            }
        }
        let config = config.load().await;
        Self {
            ec2: Ec2Client::new(config.clone()),
            region: config.region().map(ToString::to_string),
            keys: KmsClient::new(config.clone()),
            caller: StsClient::new(config.clone()),
            parameters: SsmClient::new(config),
        }
    }
}
