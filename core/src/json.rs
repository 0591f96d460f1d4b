//! JSON from outside, read step by step, so that every error says where it is.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value};

/// The longest message and the longest path of an error, in characters: a text from outside that an
/// error quotes may have megabytes.
const MESSAGE_CHARACTERS_MAX: usize = 1000;

/// An error in an event or a request, and its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Malformed {
    /// The place, for example `detail.requestParameters.resourcesSet.items[3].resourceId`.
    pub path: String,
    /// The rule that is broken there, and what is allowed.
    pub message: String,
}

impl Malformed {
    /// An error at this path, both cut to a size that fits into every log line and answer.
    pub(crate) fn new(path: &str, message: &str) -> Self {
        Self {
            path: shortened(path),
            message: shortened(message),
        }
    }
}

/// The text, or its beginning and "…" if it is longer than a message may be.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    value: &'a Value,
    /// Empty for the whole.
    path: String,
    /// The name of the whole, for errors in no particular place of it.
    whole: &'static str,
}

impl<'a> Node<'a> {
    /// A whole by its name, for example "the event".
    pub(crate) fn whole(value: &'a Value, name: &'static str) -> Self {
        Self {
            value,
            path: String::new(),
            whole: name,
        }
    }

    fn below(&self, value: &'a Value, path: String) -> Self {
        Self {
            value,
            path,
            whole: self.whole,
        }
    }

    /// An error at this place.
    pub(crate) fn malformed(&self, message: impl fmt::Display) -> Malformed {
        let path = if self.path.is_empty() {
            self.whole
        } else {
            &self.path
        };
        Malformed::new(path, &message.to_string())
    }

    /// An error at a key of this object.
    pub(crate) fn malformed_at(&self, key: &str, message: impl fmt::Display) -> Malformed {
        Malformed::new(&self.path_of(key), &message.to_string())
    }

    fn path_of(&self, key: &str) -> String {
        // An empty key, quoted, is still to be seen in the path.
        let key = if key.is_empty() {
            "\"\"".to_owned()
        } else {
            key.escape_debug().to_string()
        };
        if self.path.is_empty() {
            key
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(crate) fn object(&self) -> Result<&'a Map<String, Value>, Malformed> {
        self.value
            .as_object()
            .ok_or_else(|| self.expected("an object"))
    }

    /// The value of a key; `None` if it is missing or null.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Self>, Malformed> {
        match self.object()?.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Ok(Some(self.below(value, self.path_of(key)))),
        }
    }

    /// The value of a key that must be there.
    pub(crate) fn require(&self, key: &str) -> Result<Self, Malformed> {
        self.get(key)?
            .ok_or_else(|| self.malformed_at(key, "missing"))
    }

    pub(crate) fn items(&self) -> Result<impl Iterator<Item = Self>, Malformed> {
        let items = self
            .value
            .as_array()
            .ok_or_else(|| self.expected("a list"))?;
        let node = |(index, value)| self.below(value, format!("{}[{index}]", self.path));
        Ok(items.iter().enumerate().map(node))
    }

    /// The keys and values of an object, null included.
    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = (&'a str, Self)>, Malformed> {
        let entry = |(key, value): (&'a String, &'a Value)| {
            (key.as_str(), self.below(value, self.path_of(key)))
        };
        Ok(self.object()?.iter().map(entry))
    }

    pub(crate) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// The items that are not null.
    pub(crate) fn filled_items(&self) -> Result<impl Iterator<Item = Self>, Malformed> {
        Ok(self.items()?.filter(|item| !item.is_null()))
    }

    pub(crate) fn string(&self) -> Result<&'a str, Malformed> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    pub(crate) fn flag(&self) -> Result<bool, Malformed> {
        self.value
            .as_bool()
            .ok_or_else(|| self.expected("true or false"))
    }

    /// Reads the text as something that parses.
    pub(crate) fn parse<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, Malformed> {
        self.string()?
            .parse()
            .map_err(|error: T::Err| self.malformed(error))
    }

    /// Allows no other keys than these.
    pub(crate) fn only(&self, keys: &[&str]) -> Result<(), Malformed> {
        for key in self.object()?.keys() {
            if !keys.contains(&key.as_str()) {
                let allowed = keys.join(", ");
                return Err(self.malformed_at(key, format!("unknown key; allowed are {allowed}")));
            }
        }
        Ok(())
    }

    /// An error that names the expectation and the value.
    pub(crate) fn expected(&self, what: &str) -> Malformed {
        let got = match self.value {
            Value::Null => "null".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            Value::String(text) => format!("{text:?}"),
            scalar => scalar.to_string(),
        };
        self.malformed(format!("expected {what}, got {got}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_names_the_path_the_expectation_and_the_value() {
        let value = json!({ "list": [{ "key": 5 }, "text", null, {}, [], true] });
        let items: Vec<Node<'_>> = Node::whole(&value, "the event")
            .require("list")
            .unwrap()
            .items()
            .unwrap()
            .collect();
        let error = |result: Result<&str, Malformed>| result.unwrap_err().to_string();
        let key = items[0].require("key").unwrap();
        assert_eq!(error(key.string()), "list[0].key: expected a string, got 5");
        assert_eq!(
            error(items[2].string()),
            "list[2]: expected a string, got null"
        );
        assert_eq!(
            error(items[3].string()),
            "list[3]: expected a string, got an object"
        );
        assert_eq!(
            error(items[4].string()),
            "list[4]: expected a string, got a list"
        );
        assert_eq!(
            error(items[5].string()),
            "list[5]: expected a string, got true"
        );
        let flag = items[1].flag().unwrap_err().to_string();
        assert_eq!(flag, "list[1]: expected true or false, got \"text\"");
        let whole = Node::whole(&value, "the event")
            .string()
            .unwrap_err()
            .to_string();
        assert_eq!(whole, "the event: expected a string, got an object");
        let missing = items[3].require("key").unwrap_err().to_string();
        assert_eq!(missing, "list[3].key: missing");
    }

    #[test]
    fn a_character_that_cannot_be_seen_is_shown_escaped() {
        let value = json!({ "Image\u{a0}Id\n": 1, "flag": "\u{200b}" });
        let node = Node::whole(&value, "the event");
        let path = node.only(&["flag"]).unwrap_err().path;
        assert_eq!(path, "Image\\u{a0}Id\\n");
        let message = node.require("flag").unwrap().flag().unwrap_err().message;
        assert_eq!(message, "expected true or false, got \"\\u{200b}\"");
    }

    #[test]
    fn an_error_quotes_the_beginning_of_a_long_text() {
        let long = "ä".repeat(1_000_000);
        let value = json!({ "key": long, long.as_str(): 1 });
        let node = Node::whole(&value, "the event");
        let quoted = node.require("key").unwrap().flag().unwrap_err();
        let unknown = node.only(&["key"]).unwrap_err();
        for text in [quoted.message, unknown.path] {
            assert_eq!(text.chars().count(), MESSAGE_CHARACTERS_MAX + 1);
            assert!(text.ends_with("ä…"), "{text}");
        }
    }
}
