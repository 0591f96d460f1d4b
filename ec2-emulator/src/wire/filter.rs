//! The filters of the describe calls. Source: EC2 User Guide, "Filter resources": values are
//! alternatives, `*` and `?` are wildcards, `\` escapes them, values are case-sensitive, and a call
//! may hold at most 200 filter values.

use crate::wire::error::ApiError;
use crate::wire::query::Params;

/// One filter: it holds when any of its values does.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) name: String,
    values: Vec<String>,
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
            filters.push(Self { name, values });
        }
        if filters.iter().map(|f| f.values.len()).sum::<usize>() > 200 {
            return Err(ApiError::new(
                "FilterLimitExceeded",
                "The maximum number of filter values specified on a single call is 200",
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
        self.values.iter().any(|pattern| matches(pattern, text))
    }

    /// The values, when every one of them stands for itself alone.
    pub(crate) fn exact_values(&self) -> Option<&[String]> {
        let exact = |value: &String| !value.contains(['*', '?', '\\']);
        self.values.iter().all(exact).then_some(&self.values)
    }
}

/// Whether a pattern with `*`, `?` and `\` matches the whole text.
fn matches(pattern: &str, text: &str) -> bool {
    #[derive(PartialEq)]
    enum Token {
        Any,
        One,
        Char(char),
    }
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
    let text: Vec<char> = text.chars().collect();
    let (mut t, mut p) = (0, 0);
    // Where to go on when the text stops matching: the last `*`, having swallowed one character
    // more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match tokens.get(p) {
            Some(Token::Any) => {
                retry = Some((p, t));
                p += 1;
            }
            Some(Token::One) => {
                t += 1;
                p += 1;
            }
            Some(Token::Char(c)) if *c == text[t] => {
                t += 1;
                p += 1;
            }
            _ => {
                let Some((star, swallowed)) = retry else {
                    return false;
                };
                retry = Some((star, swallowed + 1));
                t = swallowed + 1;
                p = star + 1;
            }
        }
    }
    tokens[p..].iter().all(|token| *token == Token::Any)
}

#[cfg(test)]
mod tests {
    use super::matches;

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
