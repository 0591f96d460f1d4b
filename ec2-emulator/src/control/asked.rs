//! A control request.

use std::collections::BTreeMap;

use hyper::Method;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;

use crate::control::mistake::Mistake;

pub(crate) struct Asked {
    pub(crate) method: Method,
    /// What follows `/_emulator/`.
    pub(crate) path: String,
    query: BTreeMap<String, String>,
    body: Bytes,
}

impl Asked {
    pub(crate) fn new(method: Method, path: &str, query: &str, body: Bytes) -> Self {
        let query = form_urlencoded::parse(query.as_bytes());
        Self {
            method,
            path: path.to_owned(),
            query: query.into_owned().collect(),
            body,
        }
    }

    pub(crate) fn method_is(&self, allowed: &[Method]) -> Result<(), Mistake> {
        if allowed.contains(&self.method) {
            Ok(())
        } else {
            Err(Mistake::Method(self.method.clone()))
        }
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A number of the query.
    pub(crate) fn query_number(&self, name: &str) -> Result<Option<u64>, Mistake> {
        let text = self.query(name);
        text.map(|text| self.number(text)).transpose()
    }

    pub(crate) fn number(&self, text: &str) -> Result<u64, Mistake> {
        text.parse().map_err(|_| Mistake::NoNumber(text.to_owned()))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The body; its default when there is none.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Mistake> {
        if self.body.is_empty() {
            return Ok(T::default());
        }
        self.json()
    }
}
