//! The services, and the marks that tell their requests apart.

/// The version of EC2's API.
pub(crate) const EC2_VERSION: &str = "2016-11-15";

/// The version of STS's API, which tells its calls from EC2's.
pub(crate) const STS_VERSION: &str = "2011-06-15";

/// The services, each with a protocol of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    Ssm,
    Kms,
    Sts,
}

impl Service {
    /// As signatures and the log name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Ssm => "ssm",
            Self::Kms => "kms",
            Self::Sts => "sts",
        }
    }

    pub(crate) fn is_json(self) -> bool {
        matches!(self, Self::Ssm | Self::Kms)
    }
}
