//! Refusals: EC2's codes, texts and HTTP statuses.
//!
//! The texts are those seen in real answers where one is known; clients must decide by code, never
//! by text.

use crate::wire::service::Service;

/// An answer that says no.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) code: String,
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            status: status_of(code),
            message: message.into(),
        }
    }

    pub(crate) fn missing_parameter(name: &str) -> Self {
        Self::new(
            "MissingParameter",
            format!("The request must contain the parameter {name}"),
        )
    }

    pub(crate) fn invalid_value(name: &str, value: &str, why: &str) -> Self {
        Self::new(
            "InvalidParameterValue",
            format!("Value ({value}) for parameter {name} is invalid. {why}"),
        )
    }

    pub(crate) fn invalid_combination(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombination", message)
    }

    pub(crate) fn image_malformed(id: &str) -> Self {
        Self::new("InvalidAMIID.Malformed", format!("Invalid id: \"{id}\""))
    }

    pub(crate) fn image_not_found(ids: &[&str]) -> Self {
        let message = match ids {
            [id] => format!("The image id '[{id}]' does not exist"),
            ids => format!("The image ids '[{}]' do not exist", ids.join(", ")),
        };
        Self::new("InvalidAMIID.NotFound", message)
    }

    pub(crate) fn image_not_yours(id: &str) -> Self {
        Self::new("AuthFailure", format!("Not authorized for image:{id}"))
    }

    pub(crate) fn bad_grantee(value: &str, kind: &str) -> Self {
        Self::new(
            "InvalidAMIAttributeItemValue",
            format!("Invalid attribute item value \"{value}\" for {kind} item type."),
        )
    }

    pub(crate) fn throttled(service: Service) -> Self {
        match service {
            Service::Ec2 => Self::new("RequestLimitExceeded", "Request limit exceeded."),
            Service::Sts => Self::new("Throttling", "Rate exceeded"),
            Service::Ssm | Service::Kms => Self::new("ThrottlingException", "Rate exceeded"),
        }
    }
}

/// The HTTP status that goes with a code: 400 unless the EC2 Developer Guide (error codes) or the
/// recorded behaviour says otherwise.
pub(crate) fn status_of(code: &str) -> u16 {
    match code {
        "RequestLimitExceeded"
        | "ServiceUnavailable"
        | "Unavailable"
        | "DependencyTimeoutException" => 503,
        "InternalError" | "InternalFailure" | "InternalServerError" | "KMSInternalException" => 500,
        "UnauthorizedOperation" | "MissingAuthenticationToken" => 403,
        "DryRunOperation" => 412,
        _ => 400,
    }
}

/// A text for codes that faults name without one of their own.
pub(crate) fn default_message(code: &str) -> &'static str {
    match code {
        "RequestLimitExceeded" => "Request limit exceeded.",
        "UnauthorizedOperation" => "You are not authorized to perform this operation.",
        "ServiceUnavailable" | "Unavailable" => {
            "The service is unavailable. Please try again shortly."
        }
        "InternalError" | "InternalFailure" => "An internal error has occurred",
        _ => "An injected fault.",
    }
}
