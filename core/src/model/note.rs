//! The sentences of a plan's notes, which refuse nothing.

use std::{collections::BTreeSet, fmt};

use super::grantee::Grantee;

/// The most names in one sentence: a group may have a thousand accounts.
const NAMES_MAX: usize = 20;

/// Why it is unknown who can use a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyDoubt {
    #[error("not all of its policies and grants can be read")]
    PartlyRead,
    #[error("nobody looked at it")]
    NotRead,
    /// KMS did not describe it, for this reason.
    #[error("{0}")]
    NotDescribed(String),
}

/// A fact that a person should know about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// The image becomes public.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deprecate.html>
    PublicIsDeprecated,
    /// Accounts get the copy permission.
    /// <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-modifying-snapshot-permissions.html>
    CopiesStay,
    /// Recipients need this key to launch the image.
    KeyNeeded {
        /// The ARN of the key.
        key: String,
        /// The snapshots that are encrypted with it.
        snapshots: Vec<String>,
    },
    /// Recipients need a key that EC2 does not show.
    KeyHidden {
        /// The id of the encrypted snapshot.
        snapshot: String,
    },
    /// This function cannot say whether recipients can use the key.
    KeyUnknown {
        /// The ARN of the key.
        key: String,
        doubt: KeyDoubt,
    },
    /// Certainly nobody in these grantees can use the key (`KEY_CHECK` is `warn`).
    KeyNotShared {
        /// The ARN of the key.
        key: String,
        /// The grantees; at least one.
        grantees: BTreeSet<Grantee>,
    },
    /// Removed accounts may still get in by other entries of the list.
    MayStillGetIn {
        /// The accounts; at least one.
        removed: BTreeSet<Grantee>,
        /// The entries; at least one.
        by: BTreeSet<Grantee>,
    },
    /// More permissions than EC2's default quota.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-quotas.html>
    ManyPermissions(usize),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublicIsDeprecated => f.write_str(
                "EC2 deprecates public images two years after their creation at the latest, and \
                 later withdraws public access from images that nobody launches.",
            ),
            Self::CopiesStay => f.write_str(
                "Accounts with the copy permission can make copies of their own, and copies cannot \
                 be taken back.",
            ),
            Self::KeyNeeded { key, snapshots } => write!(
                f,
                "Recipients need the key {key}, which encrypts {}: the key's policy and the IAM \
                 policies in their account must let them use it, or their instances end at launch \
                 (`ami-warden-plan --key-policy` prints the statements).",
                names(snapshots)
            ),
            Self::KeyHidden { snapshot } => write!(
                f,
                "{snapshot} is encrypted, and EC2 does not show its key to this account: \
                 recipients need that key, or their instances end at launch."
            ),
            Self::KeyUnknown { key, doubt } => write!(
                f,
                "The key {key} could not be checked ({doubt}), so it is unknown whether \
                 recipients can use it."
            ),
            Self::KeyNotShared { key, grantees } => write!(
                f,
                "Nobody in {} can use the key {key}: no policy and no grant of it names them, so \
                 their instances end at launch (`ami-warden-plan --key-policy` prints the \
                 statements).",
                names(grantees)
            ),
            Self::MayStillGetIn { removed, by } => write!(
                f,
                "{} may still launch the image after the removal: the list has {}, which may \
                 include the account.",
                names(removed),
                names(by)
            ),
            Self::ManyPermissions(count) => write!(
                f,
                "The image would have {count} launch permissions, and EC2 takes 1,000 unless AWS \
                 raised your quota. Share with an organization or organizational unit instead of \
                 its accounts."
            ),
        }
    }
}

/// The names, `NAMES_MAX` of them at most, and how many more there are.
fn names<N: fmt::Display>(names: impl IntoIterator<Item = N>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::grantees;

    #[test]
    fn a_sentence_holds_twenty_names_at_most() {
        let list = |number: u32| {
            let accounts: Vec<String> = (0..number).map(|n| format!("{n:012}")).collect();
            let removed = grantees(&accounts.join(" "));
            Note::MayStillGetIn {
                removed,
                by: grantees("all"),
            }
            .to_string()
        };
        assert!(
            list(2).starts_with("000000000000, 000000000001 may still"),
            "{}",
            list(2)
        );
        assert!(
            list(20).contains(", 000000000019 may still"),
            "{}",
            list(20)
        );
        assert!(
            list(1000).contains(", 000000000019 and 980 more may still"),
            "{}",
            list(1000)
        );
    }
}
