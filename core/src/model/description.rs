//! The description of an image, as EC2 takes it.

/// The longest description, in characters: `CreateImage` and `CopyImage` document 255.
const DESCRIPTION_CHARACTERS_MAX: usize = 255;

/// A text that EC2 does not take as a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDescription {
    /// Nothing, or blanks alone.
    #[error(
        "the description would be empty, and EC2 takes 1 to {DESCRIPTION_CHARACTERS_MAX} \
         characters"
    )]
    Empty,
    /// The text, and its first character at fault.
    #[error(
        "the description {0:?} holds {1:?}, and EC2 takes printable ASCII characters only: \
         replace it"
    )]
    NotAscii(String, char),
    /// Its length in characters.
    #[error(
        "the description has {0} characters, and EC2 takes at most {DESCRIPTION_CHARACTERS_MAX}: \
         shorten it"
    )]
    TooLong(usize),
}

/// Whether EC2 takes the text as a description: printable ASCII, 1 to 255 characters.
pub(crate) fn check_description(text: &str) -> Result<(), BadDescription> {
    if text.trim().is_empty() {
        return Err(BadDescription::Empty);
    }
    let printable = |character: char| character == ' ' || character.is_ascii_graphic();
    if let Some(character) = text.chars().find(|character| !printable(*character)) {
        return Err(BadDescription::NotAscii(text.to_owned(), character));
    }
    if text.len() > DESCRIPTION_CHARACTERS_MAX {
        return Err(BadDescription::TooLong(text.len()));
    }
    Ok(())
}
