//! The failure of a call, by its consequence. Codes decide, never the text of a message.

use std::borrow::Cow;

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed with {code}: {message}")]
pub struct CallError {
    /// The API's name for the call.
    pub operation: &'static str,
    /// The service's own code, or one of ours if no service answered (`Timeout`,
    /// `ConnectionFailed`, `UnreadableAnswer`, …).
    pub code: Cow<'static, str>,
    /// The service's text, for people.
    pub message: String,
    /// The next step of the caller: try again, look again or give up.
    pub kind: ErrorKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Too many calls: try again, more slowly.
    Throttled,
    /// A fault on the way or on the other side: try again.
    Transient,
    /// The image may not be ready, or be gone: look at it again.
    NotYet,
    /// This function may not make the call, or its credentials are wrong: the deployment is broken,
    /// not the image.
    Denied,
    /// The service understood the call and rejected it; trying again does not help.
    Refused,
}

/// Codes of calls that exceed a rate: the SDK's own list (aws-runtime, `retries/classifiers.rs`),
/// and EC2's.
const THROTTLING_CODES: [&str; 12] = [
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

/// Codes that pass by themselves.
///
/// "Server error codes", and `ConcurrentTagAccess` ("Allow sufficient wait time … then retry"), of
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>; KMS's own
/// (`DependencyTimeoutException`, `KMSInternalException`) of
/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html#API_DescribeKey_Errors>.
const TRANSIENT_CODES: [&str; 11] = [
    "ConcurrentTagAccess",
    "DependencyTimeoutException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "KMSInternalException",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "Unavailable",
];

/// Codes that can mean "not yet", seen of images that `DescribeImages` had just shown as available:
/// packer#2033 and #3377, coreos/mantle#1091, spinnaker/clouddriver#1127; the states themselves are
/// in <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>.
const NOT_YET_CODES: [&str; 3] = [
    "InvalidAMIID.NotFound",
    "InvalidAMIID.Unavailable",
    "IncorrectState",
];

/// Codes that mean that this function may not call, or that AWS does not know the caller; Lambda
/// keeps the event until somebody corrects that.
const DENIED_CODES: [&str; 14] = [
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
    /// The consequence of an answer's code and HTTP status. The code decides if it is known.
    #[must_use]
    pub fn from_answer(code: &str, status: u16) -> Self {
        if THROTTLING_CODES.contains(&code) || status == 429 {
            Self::Throttled
        } else if TRANSIENT_CODES.contains(&code) || status >= 500 {
            Self::Transient
        } else if NOT_YET_CODES.contains(&code) {
            Self::NotYet
        } else if DENIED_CODES.contains(&code) {
            Self::Denied
        } else {
            Self::Refused
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Throttled | Self::Transient | Self::NotYet)
    }
}

/// Our own code for a call without an answer in its time.
const TIMEOUT_CODE: &str = "Timeout";

/// Our own code for an answer that AWS should not give.
const UNREADABLE_CODE: &str = "UnreadableAnswer";

impl CallError {
    /// A call that the service answered with an error.
    #[must_use]
    pub fn answered(operation: &'static str, code: &str, status: u16, message: &str) -> Self {
        let kind = ErrorKind::from_answer(code, status);
        let text = message.trim().trim_end_matches('.');
        let message = match (kind, text) {
            (ErrorKind::Refused, text) => text.to_owned(),
            (ErrorKind::Denied, text) => {
                format!("{text}. Allow this call, or fix the credentials, and try again")
            }
            (_, "") => "the service gives no reason; this may pass, so try again".to_owned(),
            (_, text) => format!("{text}. This may pass: try again"),
        };
        Self {
            operation,
            code: code.to_owned().into(),
            message,
            kind,
        }
    }

    /// A call that was cut off at the end of its time.
    #[must_use]
    pub fn timeout(operation: &'static str) -> Self {
        Self {
            operation,
            code: TIMEOUT_CODE.into(),
            message: "no answer in the time this invocation has; if that happens again, give the \
                      function a longer timeout"
                .into(),
            kind: ErrorKind::Transient,
        }
    }

    /// An answer that AWS should not give. It may be better the next time; it is never taken for
    /// something else.
    #[must_use]
    pub fn unreadable(operation: &'static str, problem: String) -> Self {
        Self {
            operation,
            code: UNREADABLE_CODE.into(),
            message: problem,
            kind: ErrorKind::Transient,
        }
    }

    /// Whether no answer came in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.code == TIMEOUT_CODE
    }

    /// Whether the end of the invocation's or the image's time cut the call off.
    #[must_use]
    pub(crate) fn is_cut_off(&self) -> bool {
        *self == Self::timeout(self.operation)
    }

    /// Whether an answer came that cannot be read.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.code == UNREADABLE_CODE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_the_consequence_of_an_error() {
        for (code, status, kind) in [
            ("RequestLimitExceeded", 503, ErrorKind::Throttled),
            ("Throttling", 400, ErrorKind::Throttled),
            ("ThrottlingException", 400, ErrorKind::Throttled),
            ("InternalError", 500, ErrorKind::Transient),
            ("Unavailable", 400, ErrorKind::Transient),
            ("ConcurrentTagAccess", 400, ErrorKind::Transient),
            ("OperationAborted", 400, ErrorKind::Transient),
            ("SomethingNew", 429, ErrorKind::Throttled),
            ("SomethingNew", 500, ErrorKind::Transient),
            ("SomethingNew", 503, ErrorKind::Transient),
            ("SomethingNew", 499, ErrorKind::Refused),
            ("InvalidAMIID.NotFound", 400, ErrorKind::NotYet),
            ("InvalidAMIID.Unavailable", 400, ErrorKind::NotYet),
            ("IncorrectState", 400, ErrorKind::NotYet),
            ("UnauthorizedOperation", 403, ErrorKind::Denied),
            ("AuthFailure", 400, ErrorKind::Denied),
            ("ExpiredToken", 400, ErrorKind::Denied),
            ("OperationNotPermitted", 400, ErrorKind::Refused),
            ("ResourceLimitExceeded", 400, ErrorKind::Refused),
            ("SomethingNew", 403, ErrorKind::Refused),
        ] {
            assert_eq!(ErrorKind::from_answer(code, status), kind, "{code}");
        }
    }

    #[test]
    fn a_late_an_unreadable_and_another_answer_are_told_apart() {
        let timeout = CallError::timeout("CreateTags");
        let slower = CallError {
            message: "slower".into(),
            ..timeout.clone()
        };
        let unreadable = CallError::unreadable("CreateTags", "no id".into());
        let other = CallError::answered("CreateTags", "InternalError", 500, "");
        for (error, is_timeout, is_cut_off, is_unreadable) in [
            (timeout, true, true, false),
            (slower, true, false, false),
            (unreadable, false, false, true),
            (other, false, false, false),
        ] {
            assert_eq!(error.is_timeout(), is_timeout, "{error}");
            assert_eq!(error.is_cut_off(), is_cut_off, "{error}");
            assert_eq!(error.is_unreadable(), is_unreadable, "{error}");
        }
    }

    #[test]
    fn a_call_without_a_readable_answer_may_pass_and_what_was_refused_may_not() {
        let timeout = CallError::timeout("CreateTags");
        assert_eq!(
            (timeout.operation, timeout.code.as_ref()),
            ("CreateTags", "Timeout")
        );
        let unreadable = CallError::unreadable("CreateTags", "no id".into());
        assert_eq!(unreadable.code, "UnreadableAnswer");
        assert_eq!(unreadable.message, "no id");
        for (kind, may_pass) in [
            (timeout.kind, true),
            (unreadable.kind, true),
            (ErrorKind::Throttled, true),
            (ErrorKind::NotYet, true),
            (ErrorKind::Denied, false),
            (ErrorKind::Refused, false),
        ] {
            assert_eq!(kind.may_pass(), may_pass, "{kind:?}");
        }
    }
}
