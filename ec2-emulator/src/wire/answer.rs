//! Answers and refusals in the form of each protocol.

use std::time::Duration;

use serde_json::json;

use crate::wire::error::ApiError;
use crate::wire::service::Service;
use crate::wire::spoil::Spoils;
use crate::wire::xml::Writer;

/// An answer that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) request_id: String,
    pub(crate) body: String,
    pub(crate) delay: Duration,
    /// To be broken off half-way.
    pub(crate) truncated: bool,
}

impl Message {
    /// The body of a success, or a refusal.
    pub(crate) fn new(
        result: Result<String, ApiError>,
        service: Service,
        request_id: &str,
    ) -> Self {
        let status = result.as_ref().err().map_or(200, |error| error.status);
        let body = match result {
            Ok(body) => body,
            Err(error) => refusal(&error, service, request_id),
        };
        let is_json = service.is_json();
        Self {
            status,
            content_type: if is_json {
                "application/x-amz-json-1.1"
            } else {
                "text/xml;charset=UTF-8"
            },
            request_id: request_id.to_owned(),
            body,
            delay: Duration::ZERO,
            truncated: false,
        }
    }
}

fn refusal(error: &ApiError, service: Service, request_id: &str) -> String {
    if service.is_json() {
        return json!({ "__type": error.code, "message": error.message }).to_string();
    }
    let nothing = Spoils::default();
    let mut out = Writer::new(&nothing);
    let write_error = |w: &mut Writer| {
        w.text("Code", &error.code);
        w.text("Message", &error.message);
    };
    if service == Service::Sts {
        out.element("ErrorResponse", |w| {
            w.element("Error", |w| {
                w.text("Type", "Sender");
                write_error(w);
            });
            w.text("RequestId", request_id);
        });
    } else {
        out.element("Response", |w| {
            w.element("Errors", |w| w.element("Error", write_error));
            w.text("RequestID", request_id);
        });
    }
    out.finish().text
}
