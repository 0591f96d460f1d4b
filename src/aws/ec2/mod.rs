//! EC2: the SDK's optional everything, turned into values that are right, or into an error.

mod convert;
mod read;
mod usage;
mod write;

use std::{marker::PhantomData, sync::OnceLock};

use aws_config::SdkConfig;
use aws_sdk_ec2::Client;

pub use self::usage::UsageReportsClient;

/// EC2 through the AWS SDK, to read or to change.
#[derive(Debug, Clone)]
pub struct Ec2Client<Access> {
    config: SdkConfig,
    client: Client,
    many: OnceLock<Client>,
    access: PhantomData<Access>,
}

/// A client without any call that changes something.
///
/// ```compile_fail
/// # use ami_warden::{Ec2Write, aws::{Ec2Client, ReadOnly}};
/// fn changes_images<E: Ec2Write>() {}
/// changes_images::<Ec2Client<ReadOnly>>();
/// ```
///
/// The same compiles with [`ReadWrite`], so the missing call stops the compiler:
///
/// ```
/// # use ami_warden::{Ec2Write, aws::{Ec2Client, ReadWrite}};
/// fn changes_images<E: Ec2Write>() {}
/// changes_images::<Ec2Client<ReadWrite>>();
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ReadOnly;

/// A client that changes images too.
#[derive(Debug, Clone, Copy)]
pub struct ReadWrite;

impl<Access> Ec2Client<Access> {
    pub(super) fn new(config: SdkConfig) -> Self {
        Self {
            client: Client::new(&config),
            config,
            many: OnceLock::new(),
            access: PhantomData,
        }
    }

    /// A client with connections of its own, for answers about many images. A connection keeps a
    /// buffer as large as its largest answer, up to 400 kB, and a sweep has a hundred connections.
    fn many(&self) -> &Client {
        self.many.get_or_init(|| Client::new(&self.config))
    }

    /// Usage reports, by the same client.
    #[must_use]
    pub fn usage_reports(&self) -> UsageReportsClient {
        UsageReportsClient::new(self.client.clone())
    }
}
