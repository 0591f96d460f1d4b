//! Block public access for AMIs.

use serde::{Deserialize, Serialize};

/// Block public access for AMIs, as the API spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockPublicAccess {
    /// Images may be made public.
    #[default]
    Unblocked,
    /// No further image may be made public.
    BlockNewSharing,
}

impl BlockPublicAccess {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unblocked => "unblocked",
            Self::BlockNewSharing => "block-new-sharing",
        }
    }
}
