//! The SDK's errors, by what follows from them.

use std::error::Error;

use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::ports::{CallError, ErrorKind};

/// What an SDK error means for the call. EC2 models no errors, so its code decides, and never the text of its message.
pub(super) fn call_error<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let own = |code: &'static str, kind| CallError { operation, code: code.into(), message: causes(error), kind };
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            match context.err().code() {
                Some(code) => CallError::answered(operation, code, status, context.err().message().unwrap_or_default()),
                // An answer without a code is not EC2's word, so it is never final.
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
        // A kind of its own is given only to what may pass: a connection that was closed without an answer, as happens to one that
        // waited a little too long for its next request.
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() || failure.as_other().is_some() => {
            own("ConnectionFailed", ErrorKind::Transient)
        }
        // No credentials, no Region, or nothing the SDK can send: trying again does not help, and the image is not at fault.
        _ => own("RequestNotSent", ErrorKind::Denied),
    }
}

/// The error and what caused it, each in its own words.
fn causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
