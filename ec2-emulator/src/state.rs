//! Everything the emulated account and Region hold, and its JSON form.

pub(crate) mod account;
pub(crate) mod block_device;
pub(crate) mod block_public_access;
pub(crate) mod epoch;
pub(crate) mod grantee;
pub(crate) mod image;
mod image_seed;
pub(crate) mod image_state;
pub(crate) mod key;
pub(crate) mod parameter;
pub(crate) mod partition;
pub(crate) mod past;
pub(crate) mod range;
mod reports;
pub(crate) mod resource_id;
pub(crate) mod seed;
pub(crate) mod snapshot;
pub(crate) mod table;
pub(crate) mod tags;
pub(crate) mod usage;
pub(crate) mod watermark;
