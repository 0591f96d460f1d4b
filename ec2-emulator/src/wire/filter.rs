//! The filters of the describe calls. Source: EC2 User Guide, "Filter resources": values are
//! alternatives, `*` and `?` are wildcards, `\` escapes them, values are case-sensitive, and a call
//! may hold at most [`VALUES_PER_CALL_MAX`] values.

use crate::wire::error::ApiError;
use crate::wire::query::Params;

const VALUES_PER_CALL_MAX: usize = 200;

/// One filter: it holds when any of its values does.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) name: String,
    values: Vec<String>,
    patterns: Vec<Pattern>,
}

impl Filter {
    /// Takes all `Filter.N`.
    pub(crate) fn take_all(params: &mut Params) -> Result<Vec<Self>, ApiError> {
        let mut filters = Vec::new();
        for mut member in params.take_structs("Filter")? {
            let name = member.require("Name")?;
            let values = member.take_list("Value")?;
            member.finish_member()?;
            if values.is_empty() {
                return Err(ApiError::new(
                    "InvalidParameterValue",
                    format!("The filter '{name}' has no values"),
                ));
            }
            let patterns = values.iter().map(|value| Pattern::new(value)).collect();
            filters.push(Self {
                name,
                values,
                patterns,
            });
        }
        if filters.iter().map(|f| f.values.len()).sum::<usize>() > VALUES_PER_CALL_MAX {
            return Err(ApiError::new(
                "FilterLimitExceeded",
                format!(
                    "The maximum number of filter values specified on a single call is \
                     {VALUES_PER_CALL_MAX}"
                ),
            ));
        }
        Ok(filters)
    }

    pub(crate) fn unknown(&self) -> ApiError {
        ApiError::new(
            "InvalidParameterValue",
            format!("The filter '{}' is invalid", self.name),
        )
    }

    pub(crate) fn holds_for(&self, text: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(text))
    }

    /// The values, when every one of them stands for itself alone.
    pub(crate) fn exact_values(&self) -> Option<&[String]> {
        let exact = |value: &String| !value.contains(['*', '?', '\\']);
        self.values.iter().all(exact).then_some(&self.values)
    }
}

/// A text with the wildcards `*` (anything) and `?` (one character), which `\` escapes.
#[derive(Debug)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Debug, PartialEq)]
enum Token {
    Any,
    One,
    Char(char),
}

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Self {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => Token::Char(chars.next().unwrap_or('\\')),
                c => Token::Char(c),
            });
        }
        Self { tokens }
    }

    /// Whether the whole text is one that the pattern describes.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (mut rest, mut p) = (text.chars(), 0);
        // Where to go on when the text stops matching: the last `*`, having swallowed one
        // character more.
        let mut retry: Option<(usize, std::str::Chars)> = None;
        loop {
            let before = rest.clone();
            let Some(next) = rest.next() else {
                break;
            };
            match self.tokens.get(p) {
                Some(Token::Any) => {
                    retry = Some((p, before.clone()));
                    rest = before;
                    p += 1;
                }
                Some(Token::One) => p += 1,
                Some(Token::Char(c)) if *c == next => p += 1,
                _ => {
                    let Some((star, mut swallowed)) = retry.take() else {
                        return false;
                    };
                    swallowed.next();
                    rest = swallowed.clone();
                    retry = Some((star, swallowed));
                    p = star + 1;
                }
            }
        }
        let mut left = self.tokens.iter().skip(p);
        left.all(|token| *token == Token::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).matches(text)
    }

    #[test]
    fn wildcards_match_and_can_be_escaped() {
        assert!(matches("ami-warden:*", "ami-warden:launch-permission"));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "a-b-b-c"));
        assert!(matches("a?c", "abc"));
        assert!(matches("a\\*", "a*"));
        assert!(!matches("a\\*", "ab"));
        assert!(!matches("a*b", "abc"));
        assert!(!matches("Name", "name"));
        assert!(!matches("a?", "a"));
    }
}
