//! Shared tags: the tags of an image that its recipients see, and everybody if it is public.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#sharing-tags>

/// The keys of shared tags begin so.
pub const SHARED_TAG_PREFIX: &str = "ec2:SharedTag/";

/// The longest key behind the prefix, in characters: EC2's keys have at most 128.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions>
pub(crate) const SHARED_KEY_CHARACTERS_MAX: usize = 128 - SHARED_TAG_PREFIX.len();

/// A key behind the prefix that EC2 does not take: its length in characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key of a shared tag has 1 to {SHARED_KEY_CHARACTERS_MAX} characters (without \
     {SHARED_TAG_PREFIX}), this has {0}"
)]
pub(crate) struct BadSharedKey(usize);

/// Whether EC2 takes the key behind the prefix: it is neither empty nor too long.
pub(crate) fn check_shared_key(key: &str) -> Result<(), BadSharedKey> {
    let length = key.chars().count();
    if (1..=SHARED_KEY_CHARACTERS_MAX).contains(&length) {
        Ok(())
    } else {
        Err(BadSharedKey(length))
    }
}
