//! The keys of an image's encrypted snapshots: a recipient that cannot use them gets an instance
//! that ends at launch.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use super::grounds::Grounds;
use crate::model::{
    facts::ShareFacts,
    grantee::{AccountId, Grantee, LaunchPermissions},
    image::Image,
    key::{Key, KeyFacts},
    note::{KeyDoubt, Note},
    refusal::Ground,
};

/// What becomes of a grantee that certainly cannot use the key of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyCheck {
    /// It is added, with a note.
    Warn,
    /// It is refused, with its keys.
    Refuse,
}

/// A string that is not a value of `KEY_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected warn or refuse")]
pub struct NotAKeyCheck;

impl FromStr for KeyCheck {
    type Err = NotAKeyCheck;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "warn" => Ok(Self::Warn),
            "refuse" => Ok(Self::Refuse),
            _ => Err(NotAKeyCheck),
        }
    }
}

/// The keys of the encrypted snapshots that EC2 shows, with the snapshots of each.
pub(super) fn of<'a>(image: &'a Image, facts: &'a ShareFacts) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for id in image.snapshots() {
        // EC2 gives a key only for an encrypted snapshot; a flag that denies it counts more.
        if let Some(snapshot) = facts.snapshots.get(id)
            && let Some(key) = &snapshot.key
            && (snapshot.encrypted != Some(false) || says_encrypted(image, id))
        {
            keys.entry(key).or_default().push(id);
        }
    }
    keys
}

/// The snapshots that are certainly encrypted, and whose key EC2 does not show.
pub(super) fn hidden<'a>(image: &'a Image, facts: &ShareFacts) -> Vec<&'a str> {
    let mut hidden = Vec::new();
    for id in image.snapshots() {
        let (shows_key, encrypted) = match facts.snapshots.get(id) {
            Some(seen) => (seen.key.is_some(), seen.encrypted == Some(true)),
            None => (false, false),
        };
        if !shows_key && (encrypted || says_encrypted(image, id)) {
            hidden.push(id);
        }
    }
    hidden
}

/// Whether a mapping says that the snapshot is encrypted.
fn says_encrypted(image: &Image, snapshot: &str) -> bool {
    image.devices.iter().any(|device| {
        device.snapshot.as_deref() == Some(snapshot) && device.encrypted == Some(true)
    })
}

/// Adds every ground of the keys against letting these grantees in.
pub(super) fn inspect(
    image: &Image,
    facts: &ShareFacts,
    added: &LaunchPermissions,
    check: KeyCheck,
    grounds: &mut Grounds,
) {
    let mut out_of_reach: BTreeMap<&Grantee, Vec<String>> = BTreeMap::new();
    for (arn, snapshots) in of(image, facts) {
        let Some(KeyFacts::Known(key)) = facts.keys.get(arn) else {
            continue;
        };
        if key.aws_managed {
            for snapshot in snapshots {
                grounds.insert(Ground::AwsManagedKey {
                    snapshot: snapshot.to_owned(),
                });
            }
        }
        if key.is_unusable() {
            grounds.insert(Ground::KeyUnusable {
                key: arn.to_owned(),
                state: key.state.clone(),
            });
        }
        if check == KeyCheck::Refuse {
            for grantee in unreached(arn, key, added, &image.owner) {
                out_of_reach
                    .entry(grantee)
                    .or_default()
                    .push(arn.to_owned());
            }
        }
    }
    for (grantee, keys) in out_of_reach {
        grounds.insert(Ground::KeyNotShared {
            grantee: grantee.clone(),
            keys,
        });
    }
}

/// The grantees in which certainly nobody can use the key.
///
/// Nothing is certain about an AWS-managed key, which nobody shares, or another account's key,
/// whose policies cannot be read.
fn unreached<'a>(
    arn: &str,
    key: &Key,
    added: &'a LaunchPermissions,
    owner: &AccountId,
) -> Vec<&'a Grantee> {
    let Some(reach) = &key.reach else {
        return Vec::new();
    };
    if key.aws_managed || !is_of(arn, owner) {
        return Vec::new();
    }
    added
        .iter()
        .filter(|grantee| !reach.could_reach(grantee, owner))
        .collect()
}

/// Whether the key is the account's: `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`.
fn is_of(arn: &str, account: &AccountId) -> bool {
    arn.split(':').nth(4) == Some(account.as_str())
}

/// Notes on the keys that these new recipients need.
pub(super) fn notes(
    image: &Image,
    facts: &ShareFacts,
    added: &LaunchPermissions,
    check: Option<KeyCheck>,
) -> Vec<Note> {
    let mut notes = Vec::new();
    let keys = of(image, facts);
    for (arn, snapshots) in &keys {
        let snapshots = snapshots.iter().map(|id| (*id).to_owned()).collect();
        notes.push(Note::KeyNeeded {
            key: (*arn).to_owned(),
            snapshots,
        });
    }
    for snapshot in hidden(image, facts) {
        notes.push(Note::KeyHidden {
            snapshot: snapshot.to_owned(),
        });
    }
    let Some(check) = check else { return notes };
    for arn in keys.into_keys() {
        let doubt = match facts.keys.get(arn) {
            Some(KeyFacts::Known(Key {
                reach: None,
                aws_managed: false,
                ..
            })) => Some(KeyDoubt::PartlyRead),
            Some(KeyFacts::Known(_)) => None,
            Some(KeyFacts::Unknown(reason)) => Some(KeyDoubt::NotDescribed(reason.clone())),
            None => Some(KeyDoubt::NotRead),
        };
        if let Some(doubt) = doubt {
            notes.push(Note::KeyUnknown {
                key: arn.to_owned(),
                doubt,
            });
        }
        if check == KeyCheck::Warn
            && let Some(KeyFacts::Known(key)) = facts.keys.get(arn)
        {
            let grantees: BTreeSet<Grantee> = unreached(arn, key, added, &image.owner)
                .into_iter()
                .cloned()
                .collect();
            if !grantees.is_empty() {
                notes.push(Note::KeyNotShared {
                    key: arn.to_owned(),
                    grantees,
                });
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_check_warns_or_refuses_and_has_no_other_word() {
        assert_eq!("warn".parse(), Ok(KeyCheck::Warn));
        assert_eq!("refuse".parse(), Ok(KeyCheck::Refuse));
        for text in ["", "off", "Warn", "refuse "] {
            assert_eq!(text.parse::<KeyCheck>(), Err(NotAKeyCheck), "{text}");
        }
    }
}
