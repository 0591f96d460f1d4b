//! What is: images, grantees, changes, refusals.

pub(crate) mod arn;
pub(crate) mod change;
pub(crate) mod description;
pub(crate) mod facts;
pub(crate) mod finding;
pub(crate) mod grantee;
pub(crate) mod image;
pub(crate) mod key;
pub(crate) mod note;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod shared_tag;
