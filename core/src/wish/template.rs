//! Text with placeholders: descriptions and shared tags.

use crate::model::{
    description::{BadDescription, check_description},
    image::Image,
    shared_tag::SHARED_TAG_PREFIX,
};

/// The placeholders, for error messages.
const PLACEHOLDERS: &str =
    "{Name}, {ImageId}, {CreationDate}, {SourceImageId}, {Architecture}, {tag:KEY}";

/// The longest value of a tag, in characters:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions>.
const TAG_CHARACTERS_MAX: usize = 256;

/// A text with its placeholders found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<'a> {
    parts: Vec<Part<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// A template that cannot be read or filled, or a text that EC2 does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `}` without a `{` before it.
    #[error("{0:?} has a }} without a {{ before it; placeholders are {PLACEHOLDERS}")]
    Unopened(String),
    /// A `{` without a `}` after it.
    #[error("{0:?} has a {{ without a }} after it; placeholders are {PLACEHOLDERS}")]
    Unclosed(String),
    /// A tag that another account may have written.
    #[error(
        "{{tag:{}}} is not a placeholder: on a copy of an image, tags below {SHARED_TAG_PREFIX} \
         are another account's words; use a tag of your own",
        .0.escape_debug()
    )]
    SharedTag(String),
    /// A name in braces that is not a placeholder.
    #[error("{{{}}} is not a placeholder; there are {PLACEHOLDERS}", .0.escape_debug())]
    Unknown(String),
    /// The image has no such value.
    #[error(
        "{{{}}} has no value on this image; give it one, or take the placeholder out",
        .0.escape_debug()
    )]
    NoValue(String),
    /// The description is not one that EC2 takes.
    #[error(transparent)]
    Description(#[from] BadDescription),
    /// The value of a shared tag is too long: its length in characters.
    #[error(
        "the shared tag has {0} characters, and EC2 takes at most {TAG_CHARACTERS_MAX}: shorten it"
    )]
    SharedTagTooLong(usize),
}

impl<'a> Template<'a> {
    /// Finds the placeholders. There is no escape: a brace always belongs to one.
    ///
    /// # Errors
    /// A brace without a partner, or a placeholder of a shared tag.
    pub fn read(template: &'a str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            let (text, after) = match rest.split_once('{') {
                Some((text, after)) => (text, Some(after)),
                None => (rest, None),
            };
            if text.contains('}') {
                return Err(TemplateError::Unopened(template.to_owned()));
            }
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
            let Some(after) = after else { break };
            let Some((name, after)) = after.split_once('}') else {
                return Err(TemplateError::Unclosed(template.to_owned()));
            };
            if let Some(key) = name.strip_prefix("tag:")
                && key.starts_with(SHARED_TAG_PREFIX)
            {
                return Err(TemplateError::SharedTag(key.to_owned()));
            }
            parts.push(Part::Placeholder(name));
            rest = after;
        }
        Ok(Self { parts })
    }

    /// The description of this image.
    ///
    /// # Errors
    /// A placeholder that is unknown or has no value, or a description that EC2 does not take.
    pub fn description(&self, image: &Image) -> Result<String, TemplateError> {
        let text = self.fill(image)?;
        check_description(&text)?;
        Ok(text)
    }

    /// The value of a shared tag of this image.
    ///
    /// # Errors
    /// A placeholder that is unknown or has no value, or a value that EC2 does not take.
    pub fn shared_tag(&self, image: &Image) -> Result<String, TemplateError> {
        let text = self.fill(image)?;
        let length = text.chars().count();
        if length > TAG_CHARACTERS_MAX {
            return Err(TemplateError::SharedTagTooLong(length));
        }
        Ok(text)
    }

    fn fill(&self, image: &Image) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Placeholder(name) => text.push_str(value_of(name, image)?.as_str()),
            }
        }
        Ok(text)
    }
}

fn value_of(placeholder: &str, image: &Image) -> Result<String, TemplateError> {
    let value = match placeholder {
        "Name" => image.name.clone(),
        "ImageId" => Some(image.id.to_string()),
        "CreationDate" => image.creation_date.clone(),
        "SourceImageId" => image.source_image_id.clone(),
        "Architecture" => image.architecture.clone(),
        _ => match placeholder.strip_prefix("tag:") {
            Some(key) => image.tags.get(key).cloned(),
            None => return Err(TemplateError::Unknown(placeholder.to_owned())),
        },
    };
    match value {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(TemplateError::NoValue(placeholder.to_owned())),
    }
}
