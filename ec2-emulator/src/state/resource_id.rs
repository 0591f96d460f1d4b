//! The ids of images and snapshots.

/// Whether a text is a prefix and 8 or 17 lower-case hexadecimal digits.
pub(crate) fn is_resource_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        matches!(digits.len(), 8 | 17)
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}
