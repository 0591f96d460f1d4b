//! A request's parts, as far as they can be told before it is carried out.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde_json::Value;

use crate::wire::error::ApiError;
use crate::wire::query::Params;
use crate::wire::service::{STS_VERSION, Service};

/// A request as it came over the wire.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) query: String,
    pub(crate) body: Bytes,
    pub(crate) authorization: Option<String>,
    /// `X-Amz-Target`: there for the JSON protocol only.
    pub(crate) target: Option<String>,
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) service: Service,
    pub(crate) action: String,
    pub(crate) version: Option<String>,
    /// For the log, and in the Query protocol for the action.
    pub(crate) params: BTreeMap<String, String>,
    /// Why it cannot be carried out at all.
    pub(crate) mistake: Option<ApiError>,
}

impl Decoded {
    pub(crate) fn from(request: &Request) -> Self {
        match &request.target {
            Some(target) => Self::from_json(target, &request.body),
            None => Self::from_query(request),
        }
    }

    fn from_query(request: &Request) -> Self {
        let mut decoded = Self {
            service: Service::Ec2,
            action: String::new(),
            version: None,
            params: BTreeMap::new(),
            mistake: None,
        };
        match Params::decode(&request.query, &request.body) {
            Ok(mut params) => {
                decoded.action = params.take("Action").unwrap_or_default();
                decoded.version = params.take("Version");
                if decoded.version.as_deref() == Some(STS_VERSION) {
                    decoded.service = Service::Sts;
                }
                decoded.params = params.into_left();
            }
            Err(error) => decoded.mistake = Some(error),
        }
        decoded
    }

    fn from_json(target: &str, body: &[u8]) -> Self {
        let mut decoded = Self {
            service: Service::Ssm,
            action: target.to_owned(),
            version: None,
            params: BTreeMap::new(),
            mistake: None,
        };
        match target.split_once('.') {
            Some(("AmazonSSM", operation)) => decoded.action = operation.to_owned(),
            Some(("TrentService", operation)) => {
                decoded.service = Service::Kms;
                decoded.action = operation.to_owned();
            }
            _ => {
                let error = ApiError::new("UnknownOperationException", target);
                decoded.mistake = Some(error);
            }
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => {
                for (name, value) in members {
                    let text = match value {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    decoded.params.insert(name, text);
                }
            }
            _ => {
                let error = ApiError::new("SerializationException", "The body is no JSON object");
                decoded.mistake = Some(error);
            }
        }
        decoded
    }
}
