//! Why something is not carried out: a code for machines, a sentence for people, and the resource
//! at fault.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    finding::Severity,
    grantee::{AccountId, Grantee},
    image::ImageId,
    shared_tag::SHARED_TAG_PREFIX,
};

/// A service that makes backups of instances as images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum BackupService {
    #[error("AWS Backup")]
    Backup,
    #[error("Amazon Data Lifecycle Manager")]
    DataLifecycleManager,
}

/// The subject of a change or a refusal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are EC2's own")]
pub enum Attribute {
    LaunchPermission,
    Description,
    ImdsSupport,
    DeprecationTime,
    /// `createVolumePermission` of the image's snapshots
    CreateVolumePermission,
    /// `sharedTag:KEY`, by the part of the tag's key behind `ec2:SharedTag/`
    SharedTag(String),
    /// `productCodes`, which a request can name and EC2 does not change
    ProductCodes,
    /// A tag under the prefix that is not a directive, by its full key
    UnknownTag(String),
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LaunchPermission => f.write_str("launchPermission"),
            Self::Description => f.write_str("description"),
            Self::ImdsSupport => f.write_str("imdsSupport"),
            Self::DeprecationTime => f.write_str("deprecationTime"),
            Self::CreateVolumePermission => f.write_str("createVolumePermission"),
            Self::SharedTag(key) => write!(f, "sharedTag:{key}"),
            Self::ProductCodes => f.write_str("productCodes"),
            Self::UnknownTag(key) => f.write_str(key),
        }
    }
}

macro_rules! refusal_codes {
    ($($(#[$doc:meta])+ $variant:ident = $text:literal,)+) => {
        /// Why something is refused. The order is the order of an answer's refusals.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RefusalCode {
            $($(#[$doc])+ $variant,)+
        }

        impl RefusalCode {
            /// Every code, in order: documents, schema and tests loop over this list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code's text in answers, logs and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

refusal_codes! {
    /// `all` would be added and `ALLOW_PUBLIC` is not `true`.
    PublicNotAllowed = "public-not-allowed",
    /// `all` would be added and a volume or its snapshot is encrypted.
    EncryptedSnapshot = "encrypted-snapshot",
    /// `all` would be added and it is unknown whether a snapshot is encrypted.
    EncryptionUnknown = "encryption-unknown",
    /// `all` would be added and the image has a product code.
    ProductCode = "product-code",
    /// `all` would be added and the image has a watermark.
    Watermark = "watermark",
    /// `all` would be added and block public access for AMIs is on.
    BlockPublicAccess = "block-public-access",
    /// `all` would be added and the image is deprecated.
    Deprecated = "deprecated",
    /// Somebody would be added to a backup, and `SHARE_BACKUPS` is not `true`.
    BackupImage = "backup-image",
    /// Somebody would be added, and the scan found more than `MAX_FINDING_SEVERITY`, or nothing
    /// yet.
    FindingSeverity = "finding-severity",
    /// Somebody would be added, and a snapshot is encrypted with an AWS-managed key.
    AwsManagedKey = "aws-managed-key",
    /// Somebody would be added, and a snapshot's key cannot be used at all.
    KeyUnusable = "key-unusable",
    /// Somebody would be added who certainly cannot use a snapshot's key.
    KeyNotShared = "key-not-shared",
    /// `ALLOWED_GRANTEES` does not cover a grantee that would be added.
    GranteeNotAllowed = "grantee-not-allowed",
    /// `ALLOWED_COPIERS` does not cover an account that would be given the copy permission.
    CopierNotAllowed = "copier-not-allowed",
    /// `SHARED_TAGS` does not cover a shared tag that would be written.
    SharedTagNotAllowed = "shared-tag-not-allowed",
    /// More grantees would lose access than `MAX_REMOVALS` allows.
    TooManyRemovals = "too-many-removals",
    /// A directive that does not parse or is not possible.
    InvalidDirective = "invalid-directive",
    /// EC2's API does not support the request.
    NotSupported = "not-supported",
    /// EC2 rejected the call, and trying again does not help.
    Ec2Refused = "ec2-refused",
}

/// One ground against a directive: each variant is one rule with its sentence.
///
/// The decision itself (`decide`) holds no prose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ground {
    /// The image would become public, and `ALLOW_PUBLIC` is not `true`.
    #[error(
        "ALLOW_PUBLIC is not \"true\", so no image may become public here. Share with accounts or \
         organizations, or ask the team that deploys ami-warden to allow public images."
    )]
    PublicNotAllowed(ImageId),
    /// A volume without a snapshot is encrypted.
    #[error(
        "The volume {0} is encrypted, and EC2 makes no image with an encrypted volume public. \
         {REBUILD}"
    )]
    EncryptedVolume(String),
    /// A snapshot of the image is encrypted.
    #[error(
        "{snapshot} ({device}) is encrypted, and EC2 makes no image with an encrypted snapshot \
         public. {REBUILD}"
    )]
    EncryptedSnapshot {
        /// The id of the snapshot, `snap-…`.
        snapshot: String,
        /// The device it is mapped to.
        device: String,
    },
    /// This account cannot see a snapshot.
    #[error(
        "This account cannot see {snapshot} ({device}), so it is unknown whether the snapshot is \
         encrypted. Copy the image, so that its snapshots are yours, and share the copy."
    )]
    SnapshotHidden {
        /// The id of the snapshot, `snap-…`.
        snapshot: String,
        /// The device it is mapped to.
        device: String,
    },
    /// EC2 leaves the encryption of a snapshot out.
    #[error(
        "EC2 does not say whether {snapshot} ({device}) is encrypted, and an encrypted snapshot \
         cannot be public. Check it with describe-snapshots, then tag the image again."
    )]
    EncryptionUnstated {
        /// The id of the snapshot, `snap-…`.
        snapshot: String,
        /// The device it is mapped to.
        device: String,
    },
    /// A block device mapping is neither EBS nor instance store.
    #[error(
        "EC2 does not say what the device {0} is, so it is unknown whether it is encrypted. Check \
         the image's block device mappings, then tag the image again."
    )]
    DeviceUnclear(String),
    /// The root device is an EBS volume that no mapping shows.
    #[error(
        "The image starts from an EBS volume ({0}) that EC2 does not show, so it is unknown \
         whether the volume is encrypted. Check the image's block device mappings, then tag the \
         image again."
    )]
    RootUnseen(String),
    /// The same, and EC2 does not name the root device either.
    #[error(
        "The image starts from an EBS volume ({0}) that EC2 does not show, so it is unknown \
         whether the volume is encrypted. Check the image's block device mappings, then tag the \
         image again."
    )]
    RootUnnamed(ImageId),
    /// The image carries a product code.
    #[error(
        "The image carries the product code {0}, and EC2 makes no image with a product code \
         public. Share it with accounts or organizations."
    )]
    ProductCode(String),
    /// The image carries a watermark.
    #[error(
        "The image carries the watermark {0}, and EC2 makes no watermarked image public. Share it \
         with accounts or organizations, or detach the watermark."
    )]
    Watermark(String),
    /// Block public access for AMIs is on.
    #[error(
        "Block public access for AMIs is on in this account and Region. Share with accounts or \
         organizations, or turn it off (DisableImageBlockPublicAccess; EC2 takes up to ten \
         minutes)."
    )]
    BlockPublicAccess(ImageId),
    /// The deprecation time has passed.
    #[error(
        "The image has been deprecated since {}, and EC2 withdraws public access from old \
         images. Publish a newer image, or cancel the deprecation first.",
        since.format("%Y-%m-%d")
    )]
    Deprecated {
        /// The image: the resource at fault.
        image: ImageId,
        /// The time of the deprecation.
        since: DateTime<Utc>,
    },
    /// The deprecation time cannot be read.
    #[error(
        "The image's deprecation time {time:?} cannot be read, so it may have passed. Set it again \
         with enable-image-deprecation."
    )]
    DeprecationUnreadable {
        /// The image: the resource at fault.
        image: ImageId,
        /// EC2's text, which is not a time.
        time: String,
    },
    /// AWS Backup or Data Lifecycle Manager made the image.
    #[error(
        "{service} made this image (tag {tag}), and backups are not shared: their tags come from \
         the instance, so its owner has not asked for this. Share another image, or ask the team \
         that deploys ami-warden to set SHARE_BACKUPS."
    )]
    BackupImage {
        /// The service.
        service: BackupService,
        /// The tag that shows it.
        tag: String,
    },
    /// The scan found something above the limit.
    #[error(
        "The scan of this image found severity {found}, and MAX_FINDING_SEVERITY is {limit}. Fix \
         the findings and publish a new image."
    )]
    FindingSeverity {
        /// The highest severity of the scan.
        found: Severity,
        /// The highest that `MAX_FINDING_SEVERITY` allows.
        limit: Severity,
    },
    /// The image has no scan result.
    #[error(
        "Amazon Inspector has not scanned this image yet, and MAX_FINDING_SEVERITY is {0}. The \
         next sweep after the scan shares it; to be faster, tag the image again."
    )]
    Unscanned(Severity),
    /// A snapshot is encrypted with an AWS-managed key.
    #[error(
        "{snapshot} is encrypted with an AWS-managed key, and EC2 does not share such an \
         image. Copy the image with a customer managed key, and share the copy."
    )]
    AwsManagedKey {
        /// The id of the snapshot, `snap-…`.
        snapshot: String,
    },
    /// The key of a snapshot is in a state in which nobody can use it.
    #[error(
        "The key {key} is {state}, so nobody can launch from the image. Enable the key, or copy \
         the image with another key."
    )]
    KeyUnusable {
        /// The ARN of the KMS key.
        key: String,
        /// KMS's name for the state, for example `PendingDeletion`.
        state: String,
    },
    /// No policy and no grant of the keys could reach the grantee.
    #[error("{}", key_not_shared(.grantee, .keys))]
    KeyNotShared {
        /// The grantee that would be added.
        grantee: Grantee,
        /// The ARNs of the keys; at least one.
        keys: Vec<String>,
    },
    /// The allow-list does not cover the grantee.
    #[error(
        "ALLOWED_GRANTEES does not cover {0}. Take it out of the directive, or ask the team that \
         deploys ami-warden to allow it."
    )]
    GranteeNotAllowed(Grantee),
    /// The allow-list forbids the grantee.
    #[error(
        "ALLOWED_GRANTEES holds \"-{0}\", so {0} is never added. Take it out of the directive, or \
         ask the team that deploys ami-warden to take the item out."
    )]
    GranteeForbidden(Grantee),
    /// The list of copiers does not cover the account.
    #[error(
        "ALLOWED_COPIERS does not cover {0}. Take it out of the directive, or ask the team that \
         deploys ami-warden to allow it."
    )]
    CopierNotAllowed(AccountId),
    /// The list of shared tags does not cover the key.
    #[error(
        "SHARED_TAGS does not cover {key}, so the tag {SHARED_TAG_PREFIX}{key} is not written. \
         Delete the directive, or ask the team that deploys ami-warden to allow the key."
    )]
    SharedTagNotAllowed {
        /// The part of the key behind `ec2:SharedTag/`.
        key: String,
    },
    /// More removals than the limit.
    #[error(
        "{count} grantees would lose access, and MAX_REMOVALS allows {limit} for one image in one \
         run. If you mean it, remove them in smaller steps, or ask the team that deploys \
         ami-warden to raise the limit."
    )]
    TooManyRemovals {
        /// The image: the resource at fault.
        image: ImageId,
        /// The grantees that would lose access.
        count: usize,
        /// The most that `MAX_REMOVALS` allows.
        limit: usize,
    },
    /// A directive that does not parse or is not possible.
    #[error("{message}")]
    InvalidDirective {
        /// The tag's key, the rule's name, or `request`.
        author: Arc<str>,
        /// The sentence, which names the item.
        message: String,
    },
    /// A request to change product codes.
    #[error(
        "ModifyImageAttribute cannot change product codes (\"Not supported\", says its \
         documentation); the request names {codes}. They come from AWS Marketplace and stay with \
         the image. Take ProductCodes out of the request."
    )]
    NotSupported {
        /// The image: the resource at fault.
        image: ImageId,
        /// The codes, separated by commas.
        codes: String,
    },
    /// EC2 rejected the call, and trying again does not help.
    #[error("{}", .0.sentence())]
    Ec2Refused(Box<Ec2Refusal>),
}

fn key_not_shared(grantee: &Grantee, keys: &[String]) -> String {
    let nobody = match grantee {
        Grantee::All => "Nobody outside this account".to_owned(),
        grantee => format!("Nobody in {grantee}"),
    };
    let keys = keys.join(", ");
    format!(
        "{nobody} can use the key {keys}: no policy and no grant of it names them, so their \
         instances would end at launch. Add the grantee to the key policy (`ami-warden-plan \
         --key-policy` prints the statements)."
    )
}

/// EC2's own word against a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Refusal {
    /// The image that the call was about.
    pub image: ImageId,
    /// The API's name for the call.
    pub operation: &'static str,
    /// EC2's error code, for example `OperationNotPermitted`.
    pub code: String,
    /// EC2's text, for people: no decision reads it.
    pub message: String,
    /// Whether EC2 refused `all` on a ground that no guardrail knows.
    pub new_ground: bool,
}

impl Ec2Refusal {
    fn sentence(&self) -> String {
        let Self {
            operation, code, ..
        } = self;
        let text = self.message.trim().trim_end_matches('.');
        let text = if text.is_empty() {
            "EC2 gives no reason"
        } else {
            text
        };
        let new = if self.new_ground {
            " This ground against public images is new to ami-warden: please report it with the \
             code."
        } else {
            ""
        };
        format!(
            "EC2 rejected {operation} with {code}: {text}.{new} Fix the cause. The next run tries \
             a directive again; send a request again yourself."
        )
    }
}

const REBUILD: &str =
    "Share it with accounts or organizations, or build it again from unencrypted snapshots.";

impl Ground {
    /// The code of the rule.
    #[must_use]
    pub fn code(&self) -> RefusalCode {
        match self {
            Self::PublicNotAllowed(_) => RefusalCode::PublicNotAllowed,
            Self::EncryptedVolume(_) | Self::EncryptedSnapshot { .. } => {
                RefusalCode::EncryptedSnapshot
            }
            Self::SnapshotHidden { .. }
            | Self::EncryptionUnstated { .. }
            | Self::DeviceUnclear(_)
            | Self::RootUnseen(_)
            | Self::RootUnnamed(_) => RefusalCode::EncryptionUnknown,
            Self::ProductCode(_) => RefusalCode::ProductCode,
            Self::Watermark(_) => RefusalCode::Watermark,
            Self::BlockPublicAccess(_) => RefusalCode::BlockPublicAccess,
            Self::Deprecated { .. } | Self::DeprecationUnreadable { .. } => RefusalCode::Deprecated,
            Self::BackupImage { .. } => RefusalCode::BackupImage,
            Self::FindingSeverity { .. } | Self::Unscanned(_) => RefusalCode::FindingSeverity,
            Self::AwsManagedKey { .. } => RefusalCode::AwsManagedKey,
            Self::KeyUnusable { .. } => RefusalCode::KeyUnusable,
            Self::KeyNotShared { .. } => RefusalCode::KeyNotShared,
            Self::GranteeNotAllowed(_) | Self::GranteeForbidden(_) => {
                RefusalCode::GranteeNotAllowed
            }
            Self::CopierNotAllowed(_) => RefusalCode::CopierNotAllowed,
            Self::SharedTagNotAllowed { .. } => RefusalCode::SharedTagNotAllowed,
            Self::TooManyRemovals { .. } => RefusalCode::TooManyRemovals,
            Self::InvalidDirective { .. } => RefusalCode::InvalidDirective,
            Self::NotSupported { .. } => RefusalCode::NotSupported,
            Self::Ec2Refused(_) => RefusalCode::Ec2Refused,
        }
    }

    /// The resource at fault: an image, a snapshot, a key, a tag or a grantee.
    #[must_use]
    pub fn resource(&self) -> String {
        match self {
            Self::PublicNotAllowed(image)
            | Self::RootUnnamed(image)
            | Self::BlockPublicAccess(image)
            | Self::Deprecated { image, .. }
            | Self::DeprecationUnreadable { image, .. }
            | Self::TooManyRemovals { image, .. }
            | Self::NotSupported { image, .. } => image.to_string(),
            Self::Ec2Refused(refusal) => refusal.image.to_string(),
            Self::EncryptedVolume(device)
            | Self::DeviceUnclear(device)
            | Self::RootUnseen(device) => device.clone(),
            Self::EncryptedSnapshot { snapshot, .. }
            | Self::SnapshotHidden { snapshot, .. }
            | Self::EncryptionUnstated { snapshot, .. }
            | Self::AwsManagedKey { snapshot } => snapshot.clone(),
            Self::ProductCode(name) | Self::Watermark(name) => name.clone(),
            Self::BackupImage { tag, .. } => tag.clone(),
            Self::FindingSeverity { found, .. } => found.to_string(),
            Self::Unscanned(_) => "unscanned".to_owned(),
            Self::KeyUnusable { key, .. } => key.clone(),
            Self::KeyNotShared { grantee, .. }
            | Self::GranteeNotAllowed(grantee)
            | Self::GranteeForbidden(grantee) => grantee.to_string(),
            Self::CopierNotAllowed(account) => account.to_string(),
            Self::SharedTagNotAllowed { key } => format!("{SHARED_TAG_PREFIX}{key}"),
            Self::InvalidDirective { author, .. } => author.to_string(),
        }
    }
}

/// A directive, or its additions, that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The attribute that stays as it is.
    pub attribute: Attribute,
    /// The rule that forbids it, with its values.
    pub ground: Ground,
}

impl Refusal {
    /// A refusal of this attribute on this ground.
    #[must_use]
    pub fn new(attribute: Attribute, ground: Ground) -> Self {
        Self { attribute, ground }
    }

    /// The code by which programs tell refusals apart.
    #[must_use]
    pub fn code(&self) -> RefusalCode {
        self.ground.code()
    }

    /// A sentence that a person can act on.
    #[must_use]
    pub fn message(&self) -> String {
        self.ground.to_string()
    }

    /// The resource at fault: a snapshot, a grantee, a tag, a rule, or the image.
    #[must_use]
    pub fn resource(&self) -> String {
        self.ground.resource()
    }

    /// EC2's own code, if EC2 refused.
    #[must_use]
    pub fn ec2_code(&self) -> Option<&str> {
        match &self.ground {
            Ground::Ec2Refused(refusal) => Some(&refusal.code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_by_ec2_has_a_code_of_ec2() {
        let image: ImageId = "ami-0123456789abcdef0".parse().unwrap();
        let refused = Ec2Refusal {
            image,
            operation: "ModifyImageAttribute",
            code: "OperationNotPermitted".into(),
            message: String::new(),
            new_ground: false,
        };
        let code = |ground| {
            let refusal = Refusal::new(Attribute::LaunchPermission, ground);
            refusal.ec2_code().map(str::to_owned)
        };
        let by_ec2 = Ground::Ec2Refused(Box::new(refused));
        assert_eq!(code(by_ec2).as_deref(), Some("OperationNotPermitted"));
        assert_eq!(code(Ground::PublicNotAllowed(image)), None);
    }

    #[test]
    fn attributes_are_written_as_the_answer_names_them() {
        for (attribute, name) in [
            (Attribute::LaunchPermission, "launchPermission"),
            (Attribute::Description, "description"),
            (Attribute::ImdsSupport, "imdsSupport"),
            (Attribute::DeprecationTime, "deprecationTime"),
            (Attribute::CreateVolumePermission, "createVolumePermission"),
            (Attribute::SharedTag("release".into()), "sharedTag:release"),
            (Attribute::ProductCodes, "productCodes"),
            (
                Attribute::UnknownTag("ami-warden:typo".into()),
                "ami-warden:typo",
            ),
        ] {
            assert_eq!(attribute.to_string(), name);
        }
    }

    #[test]
    fn codes_are_in_the_order_in_which_an_answer_lists_refusals() {
        let order = [
            "public-not-allowed",
            "encrypted-snapshot",
            "encryption-unknown",
            "product-code",
            "watermark",
            "block-public-access",
            "deprecated",
            "backup-image",
            "finding-severity",
            "aws-managed-key",
            "key-unusable",
            "key-not-shared",
            "grantee-not-allowed",
            "copier-not-allowed",
            "shared-tag-not-allowed",
            "too-many-removals",
            "invalid-directive",
            "not-supported",
            "ec2-refused",
        ];
        let texts: Vec<&str> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
        let mut wrong = Vec::new();
        for text in texts.iter().filter(|text| !order.contains(text)) {
            wrong.push(format!("{text} is not in this list"));
        }
        for text in order.iter().filter(|text| !texts.contains(text)) {
            wrong.push(format!("{text} is in this list, and no code"));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(texts, order);
        assert!(RefusalCode::ALL.is_sorted());
    }

    #[test]
    fn text_of_ec2_ends_in_one_full_stop() {
        for text in ["No.", "No", " No. "] {
            let refusal = Ec2Refusal {
                image: "ami-0123abcd".parse().unwrap(),
                operation: "ModifyImageAttribute",
                code: "Code".into(),
                message: text.into(),
                new_ground: false,
            };
            let sentence = Ground::Ec2Refused(Box::new(refusal)).to_string();
            assert!(sentence.contains("with Code: No. Fix"), "{sentence}");
        }
    }
}
