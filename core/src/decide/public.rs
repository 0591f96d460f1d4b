//! The grounds against making an image public.
//!
//! EC2 refuses images with encrypted volumes, snapshots of encrypted volumes, product codes or
//! watermarks, and any image while block public access is on:
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/sharingamis-intro.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-watermark.html>. All grounds are given
//! at once, before EC2 is asked. A fact that EC2 leaves out counts as a ground, but for two: the
//! state of block public access, where EC2 itself refuses, and the flag of an empty volume.

use chrono::{DateTime, Utc};

use super::grounds::Grounds;
use crate::model::{
    facts::ShareFacts,
    image::{DeprecationTime, EbsDevice, Image},
    refusal::Ground,
};

/// Whether the snapshot of a device is encrypted, from the mapping's flag and the snapshot's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// One of them says "not encrypted", and the other does not contradict it.
    Off,
    /// One of them says "encrypted".
    On,
    /// This account cannot see the snapshot, and the mapping does not say "encrypted".
    Hidden,
    /// EC2 shows the snapshot, and neither says anything.
    Unstated,
}

impl Encryption {
    fn of(mapping: Option<bool>, snapshot: &str, facts: &ShareFacts) -> Self {
        let seen = facts.snapshots.get(snapshot);
        let flag = seen.and_then(|seen| seen.encrypted);
        if mapping == Some(true) || flag == Some(true) {
            Self::On
        } else if seen.is_none() {
            Self::Hidden
        } else if mapping == Some(false) || flag == Some(false) {
            Self::Off
        } else {
            Self::Unstated
        }
    }
}

/// Adds every ground but the deprecation, see [`deprecated`].
pub(super) fn inspect(image: &Image, facts: &ShareFacts, grounds: &mut Grounds) {
    for device in &image.devices {
        grounds.extend(encryption(device, facts));
    }
    for device in &image.unclear_devices {
        grounds.insert(Ground::DeviceUnclear(device.clone()));
    }
    grounds.extend(unseen_root(image));
    for code in &image.product_codes {
        grounds.insert(Ground::ProductCode(code.clone()));
    }
    for watermark in &image.watermarks {
        grounds.insert(Ground::Watermark(watermark.clone()));
    }
    if facts.block_public_access == Some(true) {
        grounds.insert(Ground::BlockPublicAccess(image.id));
    }
}

fn encryption(
    EbsDevice {
        device,
        snapshot,
        encrypted,
    }: &EbsDevice,
    facts: &ShareFacts,
) -> Option<Ground> {
    let device = device.clone();
    let Some(snapshot) = snapshot.clone() else {
        // An empty volume counts by its own flag, and EC2 makes it unencrypted without one.
        return if *encrypted == Some(true) {
            Some(Ground::EncryptedVolume(device))
        } else {
            None
        };
    };
    match Encryption::of(*encrypted, &snapshot, facts) {
        Encryption::Off => None,
        Encryption::On => Some(Ground::EncryptedSnapshot { snapshot, device }),
        Encryption::Hidden => Some(Ground::SnapshotHidden { snapshot, device }),
        Encryption::Unstated => Some(Ground::EncryptionUnstated { snapshot, device }),
    }
}

/// The ground of an image that starts from an EBS volume of which EC2 shows no mapping.
fn unseen_root(image: &Image) -> Option<Ground> {
    let root = &image.root_device;
    if !root.is_ebs {
        return None;
    }
    let Some(name) = &root.name else {
        return Some(Ground::RootUnnamed(image.id));
    };
    if image.devices.iter().any(|device| device.device == *name) {
        return None;
    }
    Some(Ground::RootUnseen(name.clone()))
}

/// The ground of an image whose deprecation time has passed, or cannot be read: EC2 withdraws
/// public access from old images, and a sweep must not fight it.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deprecate.html>
pub(super) fn deprecated(image: &Image, now: DateTime<Utc>) -> Option<Ground> {
    match &image.deprecation_time {
        DeprecationTime::At(_, time) if *time <= now => Some(Ground::Deprecated {
            image: image.id,
            since: *time,
        }),
        DeprecationTime::Unreadable(time) => Some(Ground::DeprecationUnreadable {
            image: image.id,
            time: time.clone(),
        }),
        DeprecationTime::Never | DeprecationTime::At(..) => None,
    }
}
