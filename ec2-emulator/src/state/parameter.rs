//! Parameters of Parameter Store.

use serde::{Deserialize, Serialize};

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Parameter {
    /// Its name; in a hierarchy it begins with `/`.
    pub name: String,
    /// Its value; the members of a list are separated by commas.
    pub value: String,
    /// Default: a string.
    #[serde(default, rename = "Type")]
    pub kind: ParameterType,
    /// Counted up whenever it is replaced.
    #[serde(default = "one")]
    pub version: u64,
}

fn one() -> u64 {
    1
}

/// The types of the Systems Manager API model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are Parameter Store's own")]
pub enum ParameterType {
    #[default]
    String,
    StringList,
    SecureString,
}

impl Parameter {
    /// A parameter of version 1.
    pub fn new(name: &str, value: &str, kind: ParameterType) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            kind,
            version: 1,
        }
    }
}
