//! Requests in AWS JSON 1.1, decoded strictly: a member that is not known is refused.

use serde::de::DeserializeOwned;

use crate::wire::error::ApiError;

pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let decoded = serde_json::from_slice(body);
    decoded.map_err(|error| ApiError::new("SerializationException", error.to_string()))
}

/// A number of results a page, within what the service allows.
pub(crate) fn page_size(
    name: &str,
    given: Option<usize>,
    default: usize,
    most: usize,
    largest: Option<usize>,
) -> Result<usize, ApiError> {
    let size = given.unwrap_or(default);
    if !(1..=most).contains(&size) {
        return Err(invalid(format!(
            "Value '{size}' at '{name}' failed to satisfy constraint: \
             Member must have value between 1 and {most}"
        )));
    }
    Ok(largest.map_or(size, |largest| size.min(largest)))
}

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}
