//! The profiles of a person's configuration files.

use std::collections::BTreeSet;

use aws_config::profile;
use aws_types::os_shim_internal::{Env, Fs};

/// The names of all profiles in the AWS configuration files; `None` if the files cannot be read.
pub async fn profiles() -> Option<BTreeSet<String>> {
    // The default: the files from which the clients read.
    let loaded = profile::load(&Fs::real(), &Env::real(), &<_>::default(), None).await;
    Some(loaded.ok()?.profiles().map(ToOwned::to_owned).collect())
}
