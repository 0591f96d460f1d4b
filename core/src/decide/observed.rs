//! The present state of an image, as far as a plan needs it.

use std::collections::BTreeMap;

use crate::model::{
    facts::ShareFacts,
    grantee::{CopyPermissions, Grantee, LaunchPermissions},
    image::Image,
};

/// The present state of one image.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The image as `DescribeImages` showed it.
    pub image: &'a Image,
    /// Who may launch it. Empty is right only without a launch-permission directive.
    pub launch_permissions: &'a LaunchPermissions,
    /// Who may copy it, by snapshot. A snapshot that is missing is left alone; all may be missing
    /// only without a copy-permission directive.
    pub copy_permissions: &'a BTreeMap<String, CopyPermissions>,
    /// The facts that decide about additions, see [`facts_needed`](super::plan::facts_needed). A
    /// missing snapshot counts as hidden.
    pub facts: &'a ShareFacts,
}

impl Observed<'_> {
    /// Whether EC2 has the image as public, by its own flag or by its permissions: two reads, and
    /// one of them may lag.
    pub(super) fn is_public(&self) -> bool {
        self.image.public || self.launch_permissions.contains(&Grantee::All)
    }
}
