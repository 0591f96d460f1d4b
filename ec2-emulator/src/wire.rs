//! How requests and answers are written: the Query protocol, XML, paging, filters, signatures,
//! refusals.

pub(crate) mod answer;
pub(crate) mod error;
pub(crate) mod filter;
pub(crate) mod json;
pub(crate) mod page;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod service;
pub(crate) mod signature;
pub(crate) mod spoil;
pub(crate) mod xml;
