//! The SDK's errors, by their consequences.

use std::error::Error;

use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::act::call_error::{CallError, ErrorKind};

/// The failure of a call. EC2 models no errors, so the code of an answer decides, and never the
/// text of its message.
pub(super) fn call_error<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let own = |code: &'static str, kind| CallError {
        operation,
        code: code.into(),
        message: causes(error),
        kind,
    };
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let message = context.err().message().unwrap_or_default();
            match context.err().code() {
                Some(code) => CallError::answered(operation, code, status, message),
                // An answer without a code, a page with status 200 included, is not the service's
                // word, so it is never final.
                None => CallError {
                    operation,
                    code: format!("Http{status}").into(),
                    message: "the answer holds no error code".into(),
                    kind: ErrorKind::Transient,
                },
            }
        }
        SdkError::ResponseError(_) => own("UnreadableAnswer", ErrorKind::Transient),
        SdkError::TimeoutError(_) => own("Timeout", ErrorKind::Transient),
        // Only a failure that may pass has a kind of its own: a connection that was closed without
        // an answer, as happens to one that waited a little too long for its next request.
        SdkError::DispatchFailure(failure)
            if failure.is_io() || failure.is_timeout() || failure.as_other().is_some() =>
        {
            own("ConnectionFailed", ErrorKind::Transient)
        }
        // No credentials, no Region, or nothing that the SDK can send: trying again does not help,
        // and the image is not at fault.
        _ => own("RequestNotSent", ErrorKind::Denied),
    }
}

/// The answer lacks a part without which it cannot be understood.
pub(super) fn incomplete(operation: &'static str, part: &str) -> CallError {
    CallError::unreadable(operation, format!("the answer holds no {part}"))
}

/// The error and its causes, each in its own words; without a full stop at the end.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.truncate(text.trim_end_matches('.').len());
    text
}
