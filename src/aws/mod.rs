//! The only code that knows the AWS SDK.

mod ec2;
mod error;
mod kms;
mod ssm;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_config::{
    BehaviorVersion, environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_ec2::config::ProvideCredentials;

pub use self::{
    ec2::{Ec2Client, ReadOnly, ReadWrite},
    kms::KmsClient,
    ssm::SsmClient,
};

/// The clients, which share one HTTP client and one set of credentials.
#[derive(Debug)]
pub struct Clients<Access> {
    /// EC2.
    pub ec2: Ec2Client<Access>,
    /// Parameter Store.
    pub parameters: SsmClient,
    /// KMS.
    pub keys: KmsClient,
    /// The Region of their calls, if one is set.
    pub region: Option<String>,
}

/// The time of one attempt of a call: enough for a full page of `DescribeImages`, and short enough
/// to try again within an invocation.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

impl<Access> Clients<Access> {
    /// Makes the clients from the SDK's standard environment variables, endpoints and certificates
    /// included.
    pub async fn from_env() -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        // Pinned: a newer version may change the TLS stack, the retries and the timeouts under us.
        let mut config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            // `Retry` decides about another try, since it knows the deadline.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        // The SDK's chain takes credentials in the environment first, and Lambda puts them there.
        // The rest of the chain, with a client of STS, would cost every start.
        let environment = EnvironmentVariableCredentialsProvider::new();
        if environment.provide_credentials().await.is_ok() {
            config = config.credentials_provider(environment);
        }
        let config = config.load().await;
        Self {
            ec2: Ec2Client::new(&config),
            region: config.region().map(ToString::to_string),
            keys: KmsClient::new(config.clone()),
            parameters: SsmClient::new(config),
        }
    }
}
