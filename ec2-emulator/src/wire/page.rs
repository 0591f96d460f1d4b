//! Real paging: a page that ends names a token, and the token goes on exactly there.

use crate::wire::error::ApiError;
use crate::wire::query::Params;

/// What `MaxResults` may say.
const PAGE_RESULTS_MAX: usize = 1000;

/// What a request says about pages.
pub(crate) struct Paging {
    size: Option<usize>,
    after: Option<String>,
    fingerprint: u64,
}

impl Paging {
    /// Takes `MaxResults` (5 to 1,000) and `NextToken`; a token of another question is refused.
    pub(crate) fn take(params: &mut Params, largest: Option<usize>) -> Result<Self, ApiError> {
        Self::take_within(params, 5, largest)
    }

    /// The same with another least number.
    pub(crate) fn take_within(
        params: &mut Params,
        least: usize,
        largest: Option<usize>,
    ) -> Result<Self, ApiError> {
        let fingerprint = params.fingerprint();
        let size = match params.take("MaxResults") {
            None => None,
            Some(text) => match text.parse::<usize>() {
                Ok(size) if (least..=PAGE_RESULTS_MAX).contains(&size) => {
                    Some(largest.map_or(size, |largest| size.min(largest)))
                }
                _ => {
                    let why = format!("Expecting a value from {least} to {PAGE_RESULTS_MAX}.");
                    return Err(ApiError::invalid_value("MaxResults", &text, &why));
                }
            },
        };
        let given = |token: String| {
            let after = token
                .strip_prefix(&format!("{fingerprint:016x}+/"))?
                .strip_suffix("==")?;
            Some(after.to_owned())
        };
        let after = match params.take("NextToken").map(given) {
            None => None,
            Some(Some(after)) => Some(after),
            Some(None) => {
                return Err(ApiError::new(
                    "InvalidNextToken",
                    "The token is not one that was given for these parameters.",
                ));
            }
        };
        Ok(Self {
            size,
            after,
            fingerprint,
        })
    }

    /// Whether the request asks for pages at all.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.size.is_some() || self.after.is_some()
    }

    /// The id after which this page begins.
    pub(crate) fn after(&self) -> Option<&str> {
        // Empty in the token of an empty first page.
        self.after.as_deref().filter(|after| !after.is_empty())
    }

    /// Cuts one page off items that begin after [`Paging::after`]; the token is there when more
    /// follow.
    pub(crate) fn cut<'a, T>(
        &self,
        items: impl Iterator<Item = (&'a str, T)>,
    ) -> (Vec<T>, Option<String>) {
        let size = self.size.unwrap_or(usize::MAX);
        let mut page = Vec::new();
        // An empty page leads to where it began.
        let mut last = self.after().unwrap_or_default();
        for (id, item) in items {
            if page.len() == size {
                // Characters that must be encoded in a form, so that a client that does not is
                // found out.
                return (page, Some(format!("{:016x}+/{last}==", self.fingerprint)));
            }
            last = id;
            page.push(item);
        }
        (page, None)
    }
}
