//! The surroundings that give directives their meaning.

use super::{grantee_list::Names, policy::Policy};
use crate::model::grantee::OrganizationArn;

/// The policy, your organization and the image's partition.
#[derive(Debug, Clone, Copy)]
pub struct WishContext<'a> {
    /// The groups and rules below `POLICY_PATH`.
    pub policy: &'a Policy,
    /// Your organization, which completes short forms.
    pub organization: Option<&'a OrganizationArn>,
    /// The partition of the image: `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'a str,
}

impl<'a> WishContext<'a> {
    pub(super) fn names(&self) -> Names<'a> {
        Names {
            groups: self.policy.groups(),
            organization: self.organization,
            partition: self.partition,
        }
    }
}
