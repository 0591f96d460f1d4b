//! What is: images, grantees, changes, refusals.

pub(crate) mod arn;
pub mod change;
pub mod facts;
pub mod finding;
pub mod grantee;
pub mod image;
pub mod key;
pub mod refusal;
