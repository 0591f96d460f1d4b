//! Errors, told to a person at a terminal: what is wrong, and what to do about it.

use std::{collections::BTreeSet, io, path::PathBuf};

use ami_warden::{CallError, ErrorKind, RulebookError, RulebookFault, aws::NoCredentials};
use ami_warden_core::RulesError;

use crate::setting_options::BadSetting;

/// The command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(
        "no Region is set. Name one with --region, set AWS_REGION, or set a region in the profile \
         that you use"
    )]
    NoRegion,
    /// The files of the AWS CLI and SDKs do not have the profile.
    #[error("the profile {name:?} does not exist: {}", profiles(.known))]
    NoProfile {
        name: String,
        known: BTreeSet<String>,
    },
    /// No credentials can be had.
    #[error(
        "no AWS credentials: name a profile with --profile or AWS_PROFILE, sign in to it with \
         `aws sso login --profile NAME`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({0})"
    )]
    NoCredentials(#[from] NoCredentials),
    /// A setting with a value that is not allowed.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The file of `--rules` cannot be read.
    #[error("{} cannot be read: {error}", .path.display())]
    UnreadableRules { path: PathBuf, error: io::Error },
    /// The file of `--rules` holds no rules that can be used.
    #[error("{}: {error}", .path.display())]
    BadRules { path: PathBuf, error: RulesError },
    /// The file of `--html` cannot be written.
    #[error("{} cannot be written: {error}", .path.display())]
    Html { path: PathBuf, error: io::Error },
    /// The policy or the allow-list cannot be used.
    #[error("{}", policy(.0))]
    Policy(#[from] RulebookError),
    /// A call did not succeed.
    #[error("{}", call(.0))]
    Call(#[from] CallError),
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
    /// No JSON can be made.
    #[error("the output cannot be made: {0}")]
    Json(#[from] serde_json::Error),
}

/// The most profiles that an error names.
const PROFILES_SHOWN_MAX: usize = 20;

/// The profiles that can be named instead.
fn profiles(known: &BTreeSet<String>) -> String {
    if known.is_empty() {
        return "your AWS configuration files (~/.aws/config and ~/.aws/credentials, or the files \
            that AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name) have none"
            .to_owned();
    }
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let shown: Vec<&str> = names.iter().copied().take(PROFILES_SHOWN_MAX).collect();
    let more = match names.len() - shown.len() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let shown = shown.join(", ");
    format!("name one of your AWS configuration files with --profile or AWS_PROFILE: {shown}{more}")
}

/// The core speaks of the function's role; here a person reads.
fn policy(error: &RulebookError) -> String {
    match &error.fault {
        RulebookFault::Unreadable(reason) => format!(
            "{}: it cannot be read ({reason}); check that it exists in this account and Region, \
             and that you may read it",
            error.parameter
        ),
        _ => error.to_string(),
    }
}

/// The error, and the way out where the way is known.
pub fn call(error: &CallError) -> String {
    let advice = match (error.kind, error.code.as_ref()) {
        (_, "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException") => {
            " --help lists the permissions that this command needs"
        }
        (ErrorKind::Denied, _) => {
            " Sign in again (`aws sso login`), or choose other credentials (--profile, AWS_PROFILE)"
        }
        _ => return error.to_string(),
    };
    format!("{error}.{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_call_leads_to_the_list_of_permissions_and_bad_credentials_to_a_new_sign_in() {
        for (code, words) in [
            ("UnauthorizedOperation", "--help lists the permissions"),
            ("AccessDeniedException", "--help lists the permissions"),
            ("ExpiredToken", "aws sso login"),
            ("InvalidClientTokenId", "AWS_PROFILE"),
        ] {
            let error = CallError::answered("DescribeImages", code, 403, "No.");
            let text = Failure::Call(error).to_string();
            assert!(text.contains(words) && !text.contains("role"), "{text}");
        }
        let throttled = CallError::answered("DescribeImages", "Throttling", 400, "Slower.");
        assert_eq!(
            Failure::Call(throttled.clone()).to_string(),
            throttled.to_string()
        );
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_told_without_a_word_of_the_function() {
        let error = RulebookError {
            parameter: "/ami-warden".into(),
            fault: RulebookFault::Unreadable(CallError::answered(
                "GetParametersByPath",
                "X",
                400,
                "y",
            )),
        };
        let text = Failure::Policy(error).to_string();
        assert!(
            text.starts_with("/ami-warden: it cannot be read (GetParametersByPath"),
            "{text}"
        );
        assert!(
            !text.contains("role") && !text.contains("function"),
            "{text}"
        );
    }
}
