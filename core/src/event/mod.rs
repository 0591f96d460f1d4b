//! What happened: the JSON of an invocation, decoded.

pub(crate) mod decode;
pub(crate) mod request;
pub(crate) mod tag_promise;
pub(crate) mod trigger;
