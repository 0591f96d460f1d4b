//! The narrow ports of AWS, named by need. The SDK is behind them (`aws`).
//!
//! Every method is one call, or one page of a call. None of them tries again: [`Retry`] decides
//! whether and when, since it knows the time that is left.
//!
//! [`Retry`]: super::retry::Retry

use std::collections::BTreeSet;

use ami_warden_core::{
    AccountId, Change, CopyPermissions, Image, ImageId, Key, LaunchPermissions, SnapshotFacts,
    StoredParameter,
};
use chrono::{DateTime, Utc};

use super::call_error::CallError;

/// The most values of a filter: 200, else EC2 answers `FilterLimitExceeded`.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>
pub const FILTER_VALUES_MAX: usize = 200;

/// The largest page of a listing. EC2 gives up to 1,000 images, some 3 kB each, and all of them are
/// in memory at least twice, as text and as values.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html>
pub(crate) const PAGE_SIZE_MAX: i32 = 500;

/// EC2, as far as this function reads it.
#[allow(async_fn_in_trait)] // One task, no spawning: the futures need not be Send.
pub trait Ec2 {
    /// `DescribeImages`: one page of your images among these ids (at most 200), disabled ones
    /// included. An id that is not there is no error.
    async fn images(
        &self,
        ids: &[ImageId],
        page: Option<&str>,
    ) -> Result<Page<Described>, CallError>;

    /// `DescribeImages`: one page of the ids of your images.
    async fn image_ids(
        &self,
        listing: &Listing,
        page_size: i32,
        page: Option<&str>,
    ) -> Result<Page<Option<ImageId>>, CallError>;

    /// `DescribeImageAttribute launchPermission`: everyone who may launch the image.
    async fn launch_permissions(&self, id: ImageId) -> Result<LaunchPermissions, CallError>;

    /// `DescribeSnapshots`: one page of those of these snapshots (at most 200) that this account
    /// can see.
    async fn snapshots(
        &self,
        ids: &[&str],
        page: Option<&str>,
    ) -> Result<Page<(String, SnapshotFacts)>, CallError>;

    /// `DescribeSnapshotAttribute createVolumePermission`: the accounts that may copy the snapshot.
    async fn copy_permissions(&self, snapshot: &str) -> Result<CopyPermissions, CallError>;

    /// `GetImageBlockPublicAccessState`: whether it is on; `None` if EC2 does not say.
    async fn block_public_access(&self) -> Result<Option<bool>, CallError>;
}

/// EC2, as far as this function changes it. A client that has only [`Ec2`] cannot change anything.
#[allow(async_fn_in_trait)]
pub trait Ec2Write: Ec2 {
    /// Sends the change's call. In a dry run `Ok` means that the call is permitted and nothing
    /// changed.
    async fn change(&self, id: ImageId, change: &Change, dry_run: bool) -> Result<(), CallError>;

    /// `CreateTags` with this value, or `DeleteTags` without one.
    async fn set_tag(&self, id: ImageId, key: &str, value: Option<&str>) -> Result<(), CallError>;
}

/// Parameter Store, as far as this function uses it.
#[allow(async_fn_in_trait)]
pub trait Parameters {
    /// `GetParametersByPath`: one page of the parameters below the path.
    async fn below(
        &self,
        path: &str,
        page: Option<&str>,
    ) -> Result<Page<StoredParameter>, CallError>;

    /// `GetParameter`: one parameter.
    async fn parameter(&self, name: &str) -> Result<StoredParameter, CallError>;
}

/// KMS, as far as this function reads it.
#[allow(async_fn_in_trait)]
pub trait Keys {
    /// `DescribeKey`: the key without its reach.
    async fn key(&self, arn: &str) -> Result<Key, CallError>;

    /// `ListKeyPolicies`: one page of the names of the key's policies, at most two in all.
    async fn policy_names(&self, arn: &str, page: Option<&str>) -> Result<Page<String>, CallError>;

    /// `GetKeyPolicy`: one policy, as JSON.
    async fn policy(&self, arn: &str, name: &str) -> Result<String, CallError>;

    /// `ListGrants`: one page of the grantee principals of the key's grants; a service principal
    /// where a grant names one.
    async fn grantees(&self, arn: &str, page: Option<&str>) -> Result<Page<String>, CallError>;
}

/// STS, as far as a person asks it: the function itself does not.
#[allow(async_fn_in_trait)]
pub trait Caller {
    /// `GetCallerIdentity`: the account of the credentials. Needs no permission.
    async fn account(&self) -> Result<AccountId, CallError>;
}

/// Usage reports of EC2, which tell how many resources of which accounts use an image. A person
/// asks for them before access is taken away; the function itself does not.
#[allow(async_fn_in_trait)]
pub trait UsageReports {
    /// `CreateImageUsageReport` of instances and launch templates, for all accounts: the id of the
    /// report. The same token makes no second report.
    async fn create_report(&self, image: ImageId, token: &str) -> Result<String, CallError>;

    /// `DescribeImageUsageReports`: one page of the reports of these images (at most 200).
    async fn reports_of(
        &self,
        images: &[ImageId],
        page: Option<&str>,
    ) -> Result<Page<UsageReport>, CallError>;

    /// `DescribeImageUsageReportEntries`: one page of the entries of these reports (at most 200).
    async fn report_entries(
        &self,
        reports: &[String],
        page: Option<&str>,
    ) -> Result<Page<UsageEntry>, CallError>;
}

/// A usage report of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReport {
    pub id: String,
    pub image: ImageId,
    pub state: ReportState,
    /// When it was asked for.
    pub created: Option<DateTime<Utc>>,
    /// Whether it is about instances and launch templates of all accounts. EC2 takes reports that
    /// are about less.
    pub is_whole: bool,
}

/// How far a usage report is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportState {
    /// EC2 is at work on it.
    Pending,
    Available,
    /// It did not come about, with EC2's reason.
    Failed(String),
}

/// The use of an image by one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEntry {
    /// The id of the report.
    pub report: String,
    pub account: AccountId,
    /// The type of its resources: `ec2:Instance`, `ec2:LaunchTemplate`.
    pub resource_type: String,
    /// How many of them use the image.
    pub count: u64,
}

/// An image in an answer, or one that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Described {
    Image(Box<Image>),
    /// It cannot be read; the text names the field. Its neighbours are not at fault.
    Unreadable(ImageId, String),
    /// It has no id that can be read, so it may be any of those that were asked for.
    Nameless,
}

/// The images that a sweep lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub which: Which,
    /// Patterns of ids, `*` as wildcard; none for all ids.
    pub id_patterns: Vec<String>,
}

/// Which of your images a listing holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    All,
    /// Those with a tag whose key matches one of these patterns.
    Tagged(BTreeSet<String>),
    Public,
}

/// One page of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in no order that AWS promises. A page may be empty and not the last.
    pub items: Vec<T>,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }
}
