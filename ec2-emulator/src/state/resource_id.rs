//! The ids of images and snapshots.

/// A text that is not the id of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no image id")]
pub(crate) struct NotAnImageId(pub(crate) String);

/// Whether a text is a prefix and 8 or 17 lower-case hexadecimal digits.
pub(crate) fn is_resource_id(text: &str, prefix: &str) -> bool {
    digits_of(text, prefix).is_some()
}

/// The digits of an id with this prefix.
pub(crate) fn digits_of<'a>(id: &'a str, prefix: &str) -> Option<&'a str> {
    let digits = id.strip_prefix(prefix)?;
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if matches!(digits.len(), 8 | 17) && digits.bytes().all(is_digit) {
        Some(digits)
    } else {
        None
    }
}
