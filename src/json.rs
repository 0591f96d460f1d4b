//! JSON that came from outside, read step by step, so that every error can say where it is.

use serde_json::{Map, Value};

/// What is wrong with an event or a request, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Malformed {
    /// The place, for example `detail.requestParameters.resourcesSet.items[3].resourceId`.
    pub path: String,
    /// What is wrong there and what is allowed.
    pub message: String,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(crate) fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self { value, path: path.into() }
    }

    pub(crate) fn malformed(&self, message: impl Into<String>) -> Malformed {
        let path = if self.path.is_empty() { "the event" } else { &self.path };
        Malformed { path: path.to_owned(), message: message.into() }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn object(&self) -> Result<&'a Map<String, Value>, Malformed> {
        self.value.as_object().ok_or_else(|| self.expected("an object"))
    }

    /// The value of a key; `None` if it is missing or null.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Self>, Malformed> {
        let value = self.object()?.get(key).filter(|value| !value.is_null());
        Ok(value.map(|value| Self { value, path: self.path_of(key) }))
    }

    pub(crate) fn require(&self, key: &str) -> Result<Self, Malformed> {
        self.get(key)?
            .ok_or_else(|| Malformed { path: self.path_of(key), message: "missing; send it again with this key".into() })
    }

    pub(crate) fn items(&self) -> Result<impl Iterator<Item = Self>, Malformed> {
        let items = self.value.as_array().ok_or_else(|| self.expected("a list"))?;
        Ok(items.iter().enumerate().map(|(index, value)| Self { value, path: format!("{}[{index}]", self.path) }))
    }

    /// The same without those that are null.
    pub(crate) fn filled_items(&self) -> Result<impl Iterator<Item = Self>, Malformed> {
        Ok(self.items()?.filter(|item| !item.value.is_null()))
    }

    pub(crate) fn text(&self) -> Result<&'a str, Malformed> {
        self.value.as_str().ok_or_else(|| self.expected("a text"))
    }

    pub(crate) fn flag(&self) -> Result<bool, Malformed> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// Reads the text as something that parses.
    pub(crate) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(&self) -> Result<T, Malformed> {
        self.text()?.parse().map_err(|error: T::Err| self.malformed(error.to_string()))
    }

    /// Allows no other keys than these.
    pub(crate) fn only(&self, keys: &[&str]) -> Result<(), Malformed> {
        match self.object()?.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => {
                Err(Malformed { path: self.path_of(key), message: format!("unknown key; there may be {}", keys.join(", ")) })
            }
            None => Ok(()),
        }
    }

    fn expected(&self, what: &str) -> Malformed {
        let found = match self.value {
            Value::Null => "null".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            scalar => scalar.to_string(),
        };
        self.malformed(format!("expected {what}, not {found}"))
    }
}
