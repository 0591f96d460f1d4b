//! Parameters of Parameter Store.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::state::epoch;

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
    /// Default: the moment it was made here.
    #[serde(default = "Utc::now", with = "epoch")]
    pub last_modified_date: DateTime<Utc>,
    /// `text` or `aws:ec2:image`.
    #[serde(default = "text")]
    pub data_type: String,
}

fn one() -> u64 {
    1
}

fn text() -> String {
    "text".to_owned()
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
    /// A parameter of version 1, made now.
    pub fn new(name: &str, value: &str, kind: ParameterType) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            kind,
            version: one(),
            last_modified_date: Utc::now(),
            data_type: text(),
        }
    }

    /// Sets the time of the last change.
    pub fn modified(mut self, at: DateTime<Utc>) -> Self {
        self.last_modified_date = at;
        self
    }
}
