//! The only code that knows the AWS SDK.

mod ec2;
mod error;
mod ssm;

use std::time::Duration;

use aws_config::{
    BehaviorVersion, environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_ec2::config::ProvideCredentials;

pub use self::{
    ec2::{Ec2Client, ReadOnly, ReadWrite},
    ssm::SsmClient,
};

/// The clients, which share one HTTP client and one set of credentials.
#[derive(Debug)]
pub struct Clients<Access> {
    /// EC2.
    pub ec2: Ec2Client<Access>,
    /// Parameter Store.
    pub parameters: SsmClient,
    /// The Region they talk to, where one is set.
    pub region: Option<String>,
}

/// How long one attempt of a call may take. Long enough for a full page of `DescribeImages`, short enough to try again within an
/// invocation.
const ATTEMPT: Duration = Duration::from_secs(10);

impl<Access> Clients<Access> {
    /// Makes the clients from the SDK's standard environment variables, endpoints and certificates included.
    pub async fn from_env() -> Self {
        // Pinned: a newer version may change the TLS stack, the retries and the timeouts under us.
        let mut config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            // Trying again is decided where the deadline is known: see `patience`.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build());
        // Credentials in the environment, as on Lambda, are what the SDK's chain takes first. Making the rest of the chain, with a
        // client of STS, would cost every start.
        let environment = EnvironmentVariableCredentialsProvider::new();
        if environment.provide_credentials().await.is_ok() {
            config = config.credentials_provider(environment);
        }
        let config = config.load().await;
        let region = config.region().map(ToString::to_string);
        Self { ec2: Ec2Client::new(&config), parameters: SsmClient::new(config), region }
    }
}
