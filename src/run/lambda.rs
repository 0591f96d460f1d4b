//! The Lambda side of an invocation: payload and deadline in, answer or error out.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use lambda_runtime::{Context, Diagnostic, LambdaEvent, LambdaInvocation};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    invocation::{InvocationError, Warden},
    time_budget::TimeBudget,
};
use crate::{
    act::ports::{Ec2Write, Keys, Parameters},
    tell::answer::Answer,
};

/// The alias by which the template's rules invoke the function. It takes looks and sweeps, and no
/// requests: with `events:PutTargets`, which lets a person put any input into a rule, they ask for
/// no more.
const EVENTS_ALIAS: &str = "events";

/// The longest that Lambda lets a function run.
const LAMBDA_TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);

/// The payload, even if it is not JSON: the runtime's own error for that would name a Rust type,
/// and it reads no further than the end of the first value.
#[derive(Debug)]
pub struct Payload(serde_json::Result<Value>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(&text)))
    }
}

/// Hands the body of an invocation on as a string, for [`Payload`] to read.
#[must_use]
pub fn body_as_string(mut invocation: LambdaInvocation) -> LambdaInvocation {
    let text = String::from_utf8_lossy(&invocation.body);
    invocation.body = Value::from(text.as_ref()).to_string().into();
    invocation
}

/// An [`InvocationError`] on its way to Lambda.
pub struct Failure(InvocationError);

/// The runtime's log line: once, and without repeating the image's own lines.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            InvocationError::ImagesFailed(answer) => {
                write!(
                    f,
                    "ImagesFailed: {} failed, see their lines",
                    answer.failed()
                )
            }
            error => write!(f, "{}: {error}", error.kind()),
        }
    }
}

impl From<Failure> for Diagnostic {
    fn from(Failure(error): Failure) -> Self {
        Self {
            error_type: error.kind().to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// Handles one invocation.
///
/// # Errors
/// Each error keeps the event, see [`InvocationError`].
pub async fn handle<E: Ec2Write, K: Keys, P: Parameters>(
    warden: &Warden<E, K, P>,
    event: LambdaEvent<Payload>,
) -> Result<Answer, Failure> {
    let json = event
        .payload
        .0
        .map_err(|error| Failure(InvocationError::NotJson(error)))?;
    let time = TimeBudget::until(deadline(&event.context, SystemTime::now()));
    let requests_allowed = !is_events_alias(&event.context.invoked_function_arn);
    warden
        .handle(&json, requests_allowed, time)
        .await
        .map_err(Failure)
}

/// Whether the ARN ends in the alias: `arn:aws:lambda:REGION:ACCOUNT:function:NAME:ALIAS`.
fn is_events_alias(invoked_function_arn: &str) -> bool {
    invoked_function_arn.split(':').nth(7) == Some(EVENTS_ALIAS)
}

/// When Lambda stops this invocation, on the clock that waiting uses.
fn deadline(context: &Context, now: SystemTime) -> Instant {
    Instant::now() + time_left(Duration::from_millis(context.deadline), now)
}

/// The time until a deadline that is milliseconds since 1970, or, from `cargo lambda watch` (seen
/// in 1.9.2), simply milliseconds.
fn time_left(deadline: Duration, now: SystemTime) -> Duration {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let since_1970 = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let left = if deadline < YEAR {
        deadline
    } else {
        deadline.saturating_sub(since_1970)
    };
    left.min(LAMBDA_TIMEOUT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_point_in_time_or_a_duration() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let left = |deadline| time_left(deadline, now);
        assert_eq!(
            left(Duration::from_secs(1_800_000_060)),
            Duration::from_secs(60)
        );
        assert_eq!(left(Duration::from_secs(1_799_999_999)), Duration::ZERO);
        assert_eq!(
            left(Duration::from_millis(600_000)),
            Duration::from_secs(600)
        );
        assert_eq!(
            left(Duration::from_millis(u64::MAX)),
            Duration::from_secs(900)
        );
    }

    #[test]
    fn a_payload_that_is_not_json_is_still_a_payload() {
        for text in ["{\"ImageId\": ", "{\"Sweep\": {}} x", "{} {}", ""] {
            let body = Value::from(text).to_string();
            let payload: Payload = serde_json::from_str(&body).unwrap();
            assert!(payload.0.is_err(), "{text}");
        }
    }

    #[test]
    fn the_alias_of_the_rules_is_told_from_the_function_and_from_other_aliases() {
        let arn = "arn:aws:lambda:eu-west-1:111122223333:function:ami-warden";
        assert!(is_events_alias(&format!("{arn}:events")));
        for other in ["", ":live", ":events2", ":$LATEST", ":42"] {
            assert!(!is_events_alias(&format!("{arn}{other}")), "{other}");
        }
        assert!(!is_events_alias(
            "arn:aws:lambda:eu-west-1:111122223333:function:events"
        ));
        assert!(!is_events_alias(""));
    }
}
