//! The EC2 Query protocol's requests, decoded strictly.
//!
//! Every parameter must be taken by the action that is carried out; whatever is left over is an
//! `UnknownParameter`, so a misspelt or invented parameter never passes unnoticed. Source: Amazon
//! EC2 API Reference, "Query requests" (lists are `Name.1`, `Name.2`, structures `Name.Field`).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::wire::error::ApiError;

/// The parameters of one request, or of one structure in a list, that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Params {
    left: BTreeMap<String, String>,
    /// What stands before the names here on the wire (`Filter.1.`), for messages.
    path: String,
}

impl Params {
    /// Decodes a query string and a form body into one set of parameters.
    pub(crate) fn decode(query: &str, body: &[u8]) -> Result<Self, ApiError> {
        let malformed = |message: String| ApiError::new("MalformedQueryString", message);
        let mut left = BTreeMap::new();
        for form in [query.as_bytes(), body] {
            for (name, value) in form_urlencoded::parse(form) {
                if name.contains('\u{FFFD}') || value.contains('\u{FFFD}') {
                    return Err(malformed(format!("The parameter {name} is not UTF-8")));
                }
                if left
                    .insert(name.clone().into_owned(), value.into_owned())
                    .is_some()
                {
                    return Err(malformed(format!(
                        "The parameter {name} is there more than once"
                    )));
                }
            }
        }
        Ok(Self {
            left,
            path: String::new(),
        })
    }

    /// What has not been taken yet, as it came over the wire.
    pub(crate) fn into_left(self) -> BTreeMap<String, String> {
        self.left
    }

    /// A number that stands for the question, whichever page of the answer is asked for.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (name, value) in &self.left {
            if name != "NextToken" && name != "MaxResults" {
                (name, value).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.left.remove(name)
    }

    /// A parameter that must be there and not be empty.
    pub(crate) fn require(&mut self, name: &str) -> Result<String, ApiError> {
        self.take(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| ApiError::missing_parameter(&format!("{}{name}", self.path)))
    }

    /// `true` or `false`; absent is false.
    pub(crate) fn take_bool(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(ApiError::invalid_value(
                name,
                other,
                "Expecting true or false.",
            )),
        }
    }

    /// The values of `name.1`, `name.2`, …, which must be numbered without a gap.
    pub(crate) fn take_list(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        self.take_structs(name)?
            .into_iter()
            .map(|mut member| {
                let value = member.take("");
                member.finish_member()?;
                value.ok_or_else(|| ApiError::missing_parameter(name))
            })
            .collect()
    }

    /// The structures `name.1.…`, `name.2.…`, …; each of them must be taken apart and finished
    /// like the request.
    pub(crate) fn take_structs(&mut self, name: &str) -> Result<Vec<Params>, ApiError> {
        let start = format!("{name}.");
        let under: Vec<String> = self
            .left
            .range(start.clone()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(&start))
            .cloned()
            .collect();
        let mut members: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
        for key in under {
            let rest = &key[start.len()..];
            let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
            // `Name.Other` is not a list member: it stays, and is unknown unless something else
            // takes it.
            let Ok(index) = number.parse::<usize>() else {
                continue;
            };
            if index == 0 || number.starts_with(['0', '+']) {
                continue;
            }
            let field = field.to_owned();
            if let Some(value) = self.left.remove(&key) {
                members.entry(index).or_default().insert(field, value);
            }
        }
        if members.keys().copied().ne(1..=members.len()) {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!(
                    "The members of {}{name} are not numbered from 1 without a gap",
                    self.path
                ),
            ));
        }
        Ok(members
            .into_iter()
            .map(|(index, left)| Params {
                left,
                path: format!("{}{name}.{index}.", self.path),
            })
            .collect())
    }

    /// Takes `DryRun`; whatever is left after that is unknown.
    pub(crate) fn finish(&mut self) -> Result<DryRun, ApiError> {
        let dry_run = self.take_bool("DryRun")?;
        self.finish_member()?;
        Ok(DryRun(dry_run))
    }

    /// The same for a structure within a list, which has no `DryRun`.
    pub(crate) fn finish_member(&self) -> Result<(), ApiError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::new(
                "UnknownParameter",
                format!("The parameter {}{name} is not recognized", self.path),
            )),
        }
    }
}

impl From<BTreeMap<String, String>> for Params {
    fn from(left: BTreeMap<String, String>) -> Self {
        Self {
            left,
            path: String::new(),
        }
    }
}

/// Whether the request only asks if it would be permitted.
#[must_use = "a dry run must not be carried out"]
pub(crate) struct DryRun(bool);

impl DryRun {
    /// To be called once the caller is known to be permitted: ends a dry run there with
    /// `DryRunOperation`.
    ///
    /// The API Reference promises nothing but the permission check, so what comes after it (state
    /// of the image, encryption, quotas) is deliberately not found out by a dry run.
    pub(crate) fn permitted(self) -> Result<(), ApiError> {
        if self.0 {
            return Err(ApiError::new(
                "DryRunOperation",
                "Request would have succeeded, but DryRun flag is set.",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(form: &str) -> Params {
        Params::decode("", form.as_bytes()).expect("a form")
    }

    #[test]
    fn lists_keep_their_order_beyond_nine_members() {
        let form: Vec<String> = (1..=12).map(|n| format!("UserId.{n}=v{n}")).collect();
        let values = params(&form.join("&")).take_list("UserId").expect("a list");
        let expected: Vec<String> = (1..=12).map(|n| format!("v{n}")).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn what_is_not_taken_is_unknown() {
        let mut params = params("ImageId=ami-1&Imageid=ami-2");
        params.take("ImageId");
        let error = params.finish().err().expect("refused");
        assert_eq!(error.code, "UnknownParameter");
        assert!(error.message.contains("Imageid"));
    }

    #[test]
    fn an_unknown_field_of_a_list_member_is_named_in_full() {
        let mut params = params("Filter.1.Name=x&Filter.1.Values=y");
        let mut filter = params.take_structs("Filter").expect("a list").remove(0);
        filter.take("Name");
        let error = filter.finish_member().expect_err("refused");
        assert!(error.message.contains("Filter.1.Values"), "{error:?}");
    }

    #[test]
    fn a_list_with_a_gap_is_refused() {
        assert!(
            params("ImageId.1=a&ImageId.3=b")
                .take_list("ImageId")
                .is_err()
        );
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        assert!(Params::decode("A=1", b"A=2").is_err());
    }
}
