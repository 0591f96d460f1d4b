//! Many images from one pattern.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::image::Image;

/// Images that differ by a number: `{n}` in any text of the pattern stands for it, `{n:05}` for
/// five digits of it, `{n:017x}` for seventeen hexadecimal ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "Pattern", try_from = "Pattern")]
pub struct ImageRange {
    pattern: Pattern,
    images: Vec<Image>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Pattern {
    count: u64,
    #[serde(default)]
    first: u64,
    /// From one number to the next.
    #[serde(default = "one")]
    step: u64,
    /// An image as in a seed.
    image: Value,
}

fn one() -> u64 {
    1
}

impl ImageRange {
    /// The images, in the order of their numbers.
    pub fn into_images(self) -> Vec<Image> {
        self.images
    }
}

impl TryFrom<Pattern> for ImageRange {
    type Error = serde_json::Error;

    fn try_from(pattern: Pattern) -> Result<Self, serde_json::Error> {
        let mut images = Vec::new();
        let mut n = pattern.first;
        for _ in 0..pattern.count {
            images.push(serde_json::from_value(filled(&pattern.image, n))?);
            n = n.saturating_add(pattern.step);
        }
        Ok(Self { pattern, images })
    }
}

impl From<ImageRange> for Pattern {
    fn from(range: ImageRange) -> Self {
        range.pattern
    }
}

fn filled(pattern: &Value, n: u64) -> Value {
    match pattern {
        Value::String(text) => Value::String(fill(text, n)),
        Value::Array(members) => members.iter().map(|member| filled(member, n)).collect(),
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| (fill(name, n), filled(value, n)))
                .collect()
        }
        other => other.clone(),
    }
}

/// Puts a number where a text has a place for it; other braces stay as they are.
fn fill(text: &str, n: u64) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{n") {
        out.push_str(before);
        let place = after.split_once('}');
        match place.and_then(|(format, after)| Some((number(format, n)?, after))) {
            Some((number, after)) => {
                out.push_str(&number);
                rest = after;
            }
            None => {
                out.push_str("{n");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The number in a format such as `:017x`.
fn number(format: &str, n: u64) -> Option<String> {
    if format.is_empty() {
        return Some(n.to_string());
    }
    let format = format.strip_prefix(":0")?;
    match format.strip_suffix('x') {
        Some(width) => Some(format!("{n:0width$x}", width = width.parse().ok()?)),
        None => Some(format!("{n:0width$}", width = format.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_put_where_a_place_for_it_is() {
        assert_eq!(fill("ami-{n:017x}", 50_000), "ami-0000000000000c350");
        assert_eq!(fill("golden-{n}-{n:05}", 7), "golden-7-00007");
        assert_eq!(fill("{Name} {n:} {name} {n", 7), "{Name} {n:} {name} {n");
    }
}
