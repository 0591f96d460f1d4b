//! ARNs, taken apart.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>

/// The parts of `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`, or `None` for a text with fewer.
/// The resource may hold colons of its own.
pub(crate) fn parts(arn: &str) -> Option<[&str; 6]> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    parts.try_into().ok()
}
