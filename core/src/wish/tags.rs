//! The directive tags of one image.

use std::collections::BTreeMap;

use super::statement::{Source, Statement};

/// Whether an image is held: left alone, whatever its other tags and the rules say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hold {
    /// No tag holds the image.
    #[default]
    No,
    /// The tag `hold` has a value.
    Yes,
    /// A key that is `hold` but for case or blanks has a value: refused, and held all the same.
    Mistyped,
}

/// The directive tags of one image. Absent and empty tags state nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectiveTags {
    /// Whether the image is held.
    pub hold: Hold,
    pub(crate) launch_permission: Vec<Statement>,
    pub(crate) copy_permission: Vec<Statement>,
    pub(crate) description: Option<Statement>,
    pub(crate) imds_support: Option<Statement>,
    pub(crate) deprecate_at: Option<Statement>,
    /// By the key behind `shared-tag:`.
    pub(crate) shared_tags: BTreeMap<String, Statement>,
    /// Full keys under the prefix that are not directives.
    pub(crate) unknown: Vec<String>,
}

impl DirectiveTags {
    /// Picks the directive tags out of an image's tags.
    #[must_use]
    pub fn read(tags: &BTreeMap<String, String>, prefix: &str) -> Self {
        let mut found = Self::default();
        for (key, value) in tags {
            if let Some(name) = key.strip_prefix(prefix) {
                found.take(key, name, value);
            }
        }
        found
    }

    fn take(&mut self, key: &str, name: &str, value: &str) {
        let statement = || Statement {
            source: Source::Tag(key.into()),
            value: value.into(),
        };
        let stated = || {
            if value.is_empty() {
                None
            } else {
                Some(statement())
            }
        };
        let (head, suffix) = match name.split_once(':') {
            Some((head, suffix)) => (head, Some(suffix)),
            None => (name, None),
        };
        match (head, suffix) {
            ("launch-permission", None) => self.launch_permission.push(statement()),
            ("launch-permission", Some(suffix)) if !suffix.is_empty() => {
                self.launch_permission.push(statement());
            }
            ("copy-permission", None) => self.copy_permission.push(statement()),
            ("copy-permission", Some(suffix)) if !suffix.is_empty() => {
                self.copy_permission.push(statement());
            }
            ("description", None) => self.description = stated(),
            ("imds-support", None) => self.imds_support = stated(),
            ("deprecate-at", None) => self.deprecate_at = stated(),
            ("shared-tag", Some(shared)) if !shared.is_empty() => {
                if let Some(statement) = stated() {
                    self.shared_tags.insert(shared.to_owned(), statement);
                }
            }
            ("hold", None) => {
                if !value.is_empty() {
                    self.hold = Hold::Yes;
                }
            }
            _ => {
                if is_almost_hold(name) && !value.is_empty() && self.hold == Hold::No {
                    self.hold = Hold::Mistyped;
                }
                self.unknown.push(key.to_owned());
            }
        }
    }
}

/// Whether the name is `hold` but for case or blanks around it: its author wants the image held.
fn is_almost_hold(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("hold")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::image;

    fn hold(tags: &[(&str, &str)]) -> Hold {
        let tagged = tags
            .iter()
            .fold(image(), |image, (key, value)| image.tag(key, value));
        DirectiveTags::read(&tagged.tags, "ami-warden:").hold
    }

    #[test]
    fn a_key_that_is_hold_but_for_case_or_blanks_holds_if_it_has_a_value() {
        for key in [
            "ami-warden:hold ",
            "ami-warden: hold",
            "ami-warden:Hold",
            "ami-warden:\tHOLD\n",
        ] {
            assert_eq!(hold(&[(key, "x")]), Hold::Mistyped, "{key:?}");
            assert_eq!(hold(&[(key, "")]), Hold::No, "{key:?}");
        }
        assert_eq!(hold(&[("ami-warden:holds", "x"), ("hold", "x")]), Hold::No);
    }

    #[test]
    fn a_hold_that_is_spelt_right_counts_beside_one_that_is_not() {
        for key in ["ami-warden:Hold", "ami-warden:hold "] {
            assert_eq!(hold(&[("ami-warden:hold", "x"), (key, "x")]), Hold::Yes);
        }
        assert_eq!(
            hold(&[("ami-warden:hold", ""), ("ami-warden:Hold", "x")]),
            Hold::Mistyped
        );
    }
}
