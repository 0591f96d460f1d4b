//! What happened: the JSON of an invocation, decoded.

pub mod decode;
pub mod request;
pub mod tag_promise;
pub mod trigger;
