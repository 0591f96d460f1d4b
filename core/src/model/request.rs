//! A change of one image that a person asks for by hand.

use super::{
    grantee::LaunchPermissions,
    image::{ImageId, ImdsSupport},
};

/// A request that has been understood, and not judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The one image that it changes.
    pub image: ImageId,
    pub(crate) change: RequestedChange,
}

/// The one attribute that is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestedChange {
    LaunchPermission {
        add: LaunchPermissions,
        remove: LaunchPermissions,
    },
    Description(String),
    ImdsSupport(ImdsSupport),
    /// The API names it and does not support it.
    ProductCodes(Vec<String>),
}
