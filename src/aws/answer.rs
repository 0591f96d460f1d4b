//! Parts of the SDK's answers.

/// The text, unless AWS writes an empty one in place of none, as it does for the token of a page
/// after the last.
pub(super) fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
