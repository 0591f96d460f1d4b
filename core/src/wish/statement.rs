//! A stated value and its author.

use std::fmt;

/// The author of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A tag, by its full key.
    Tag(String),
    /// A rule of the policy, by its name.
    Rule(String),
    /// A `ModifyImageAttribute` request.
    Request,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(key) => f.write_str(key),
            Self::Rule(name) => f.write_str(name),
            Self::Request => f.write_str("request"),
        }
    }
}

impl Source {
    /// The beginning of a sentence about a statement of this author.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Tag(key) => format!("The tag {}: ", key.escape_debug()),
            Self::Rule(name) => format!("The rule {name:?}: "),
            Self::Request => String::new(),
        }
    }
}

/// A stated value, not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// The tag, rule or request that states it.
    pub source: Source,
    /// The text as its author wrote it.
    pub value: String,
}

/// A statement that is not carried out, and the error in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadStatement<E> {
    /// The tag, rule or request that states it.
    pub source: Source,
    /// The error, which names the item.
    pub error: E,
}
