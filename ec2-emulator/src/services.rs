//! The services: each carries the calls of one AWS API out on the state, or refuses them.

pub(crate) mod caller;
pub(crate) mod ec2;
pub(crate) mod kms;
pub(crate) mod ssm;
pub(crate) mod sts;
