//! What this function needs of AWS, named by need: the narrow ports behind which the SDK is.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;

use crate::{
    image::{Image, ImageId, LaunchPermissions},
    plan::Change,
};

/// EC2, as far as this function reads it.
///
/// Every method is one call, or one for each page. None of them tries again: whether and when is decided by
/// [`Patience`](crate::patience::Patience), which knows how much time is left.
#[allow(async_fn_in_trait)] // One task, no spawning: the futures need not be Send.
pub trait Ec2 {
    /// `DescribeImages`: own images among these ids (at most 200), disabled ones included. An id that is not there is no error.
    async fn images(&self, ids: &[ImageId]) -> Result<Vec<Image>, CallError>;

    /// `DescribeImages`: one page of the ids of own images, and the token of the next page.
    async fn image_ids(&self, listing: &Listing, page: Option<String>) -> Result<Page, CallError>;

    /// `DescribeImageAttribute launchPermission`: everyone who may launch the image.
    async fn launch_permissions(&self, id: ImageId) -> Result<LaunchPermissions, CallError>;

    /// `DescribeSnapshots`: those of these snapshots that can be seen, with what EC2 says of their encryption.
    async fn snapshots(&self, ids: &[&str]) -> Result<BTreeMap<String, Option<bool>>, CallError>;

    /// `GetImageBlockPublicAccessState`: whether it is on; `None` where EC2 does not say.
    async fn block_public_access(&self) -> Result<Option<bool>, CallError>;
}

/// EC2, as far as this function changes it. What has only [`Ec2`] cannot change anything.
#[allow(async_fn_in_trait)]
pub trait Ec2Write: Ec2 {
    /// `ModifyImageAttribute`. In a dry run `Ok` means that the call is permitted and nothing changed.
    async fn modify(&self, id: ImageId, change: &Change, dry_run: bool) -> Result<(), CallError>;

    /// `CreateTags` with this value, or `DeleteTags` without one.
    async fn set_tag(&self, id: ImageId, key: &str, value: Option<&str>) -> Result<(), CallError>;
}

/// Parameter Store, as far as this function uses it.
#[allow(async_fn_in_trait)]
pub trait Parameters {
    /// `GetParametersByPath`: full names and values of all parameters below the path.
    async fn below(&self, path: &str) -> Result<Vec<(String, String)>, CallError>;

    /// `GetParameter`: the value of one parameter.
    async fn value(&self, name: &str) -> Result<String, CallError>;
}

/// Which images a sweep lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// All own images.
    All,
    /// Those with a tag whose key begins so.
    TaggedWithPrefix(String),
    /// Those that are public.
    Public,
}

/// A page of image ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The ids, in no order that EC2 promises.
    pub ids: Vec<ImageId>,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{operation} failed with {code}: {message}")]
#[serde(rename_all = "PascalCase")]
pub struct CallError {
    /// The API's name for the call.
    pub operation: &'static str,
    /// The service's own code, or one of ours where no service answered (`Timeout`, `ConnectionFailed`, `UnreadableAnswer`, …).
    pub code: Cow<'static, str>,
    /// What the service says, for people. Never looked at: codes decide.
    pub message: String,
    /// What follows from it.
    #[serde(skip)]
    pub kind: ErrorKind,
}

/// What follows from an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Too many calls: try again, more slowly.
    Throttled,
    /// A fault on the way or on the other side: try again.
    Transient,
    /// This function may not make the call, or its credentials are no good: the deployment is broken, not the image.
    Denied,
    /// The service understood and said no for good.
    Refused,
}

/// Codes of calls that exceed a rate: the SDK's own list, and EC2's.
const THROTTLING: [&str; 12] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Codes of faults on the other side: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>, "Server error codes".
const SERVER_FAULTS: [&str; 6] =
    ["InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable", "RequestTimeout"];

/// Codes that mean that this function may not call, or that nobody knows who calls; the event is kept until that is mended.
const DENIALS: [&str; 14] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

impl ErrorKind {
    /// What follows from the code and HTTP status of an answer. The code decides where it is known, never the message.
    #[must_use]
    pub fn of_answer(code: &str, status: u16) -> Self {
        if THROTTLING.contains(&code) || status == 429 {
            Self::Throttled
        } else if SERVER_FAULTS.contains(&code) || status >= 500 {
            Self::Transient
        } else if DENIALS.contains(&code) {
            Self::Denied
        } else {
            Self::Refused
        }
    }
}

impl CallError {
    /// A call that the service answered with an error. Its words, and what to do where the kind of error says it.
    #[must_use]
    pub fn answered(operation: &'static str, code: &str, status: u16, message: &str) -> Self {
        let kind = ErrorKind::of_answer(code, status);
        let advice = match kind {
            ErrorKind::Denied => " Let this function's role make the call, or mend its credentials; then try again.",
            ErrorKind::Throttled | ErrorKind::Transient => " This may pass: try again.",
            ErrorKind::Refused => "",
        };
        Self { operation, code: code.to_owned().into(), message: format!("{}{advice}", message.trim()), kind }
    }

    /// A call that was cut off because the time was up.
    #[must_use]
    pub fn timeout(operation: &'static str) -> Self {
        Self {
            operation,
            code: "Timeout".into(),
            message: "no answer in the time this invocation has; if that happens again, give the function a longer timeout"
                .into(),
            kind: ErrorKind::Transient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_what_follows_from_an_error() {
        for (code, status, kind) in [
            ("RequestLimitExceeded", 503, ErrorKind::Throttled),
            ("Throttling", 400, ErrorKind::Throttled),
            ("ThrottlingException", 400, ErrorKind::Throttled),
            ("InternalError", 500, ErrorKind::Transient),
            ("Unavailable", 400, ErrorKind::Transient),
            ("SomethingNew", 503, ErrorKind::Transient),
            ("UnauthorizedOperation", 403, ErrorKind::Denied),
            ("AuthFailure", 400, ErrorKind::Denied),
            ("ExpiredToken", 400, ErrorKind::Denied),
            ("OperationNotPermitted", 400, ErrorKind::Refused),
            ("InvalidAMIID.Unavailable", 400, ErrorKind::Refused),
            ("ResourceLimitExceeded", 400, ErrorKind::Refused),
            ("SomethingNew", 403, ErrorKind::Refused),
        ] {
            assert_eq!(ErrorKind::of_answer(code, status), kind, "{code}");
        }
    }
}
