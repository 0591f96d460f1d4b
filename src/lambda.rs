//! The Lambda side of an invocation: payload and deadline in, answer or error out.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use chrono::Utc;
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    invocation::{Error, Function, Time},
    outcome::Answer,
    ports::{Ec2Write, Parameters},
};

/// What was sent, even if it is no JSON: the runtime's own error for that would name a Rust type.
#[derive(Debug, Clone)]
pub struct Payload(Result<Value, String>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Value::deserialize(deserializer).map_err(|error| format!("the event is not JSON: {error}"))))
    }
}

/// An [`Error`] on its way to Lambda.
pub struct Failure(Error);

/// What the runtime logs: once, and without repeating what the image's own log lines say.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Error::ImagesFailed(answer) => write!(f, "ImagesFailed: {} failed, see their lines", answer.images.len()),
            error => write!(f, "{}: {error}", error.kind()),
        }
    }
}

impl From<Failure> for Diagnostic {
    fn from(Failure(error): Failure) -> Self {
        Self { error_type: error.kind().to_owned(), error_message: error.to_string() }
    }
}

/// Handles one invocation.
///
/// # Errors
/// Whatever keeps the event, see [`Error`].
pub async fn handle<E: Ec2Write, P: Parameters>(
    function: &Function<E, P>,
    event: LambdaEvent<Payload>,
) -> Result<Answer, Failure> {
    let event_json = event.payload.0.map_err(|error| Failure(Error::InvalidRequest(error)))?;
    let time = Time::until(deadline(&event.context, SystemTime::now()));
    function.handle(&event_json, Utc::now(), time).await.map_err(Failure)
}

/// When Lambda will stop this invocation, on the clock that waiting uses.
fn deadline(context: &Context, now: SystemTime) -> Instant {
    Instant::now() + time_left(Duration::from_millis(context.deadline), now)
}

/// The time left until a deadline that is milliseconds since 1970, or, from `cargo lambda watch` (seen in 1.9.2), simply milliseconds.
fn time_left(deadline: Duration, now: SystemTime) -> Duration {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    /// The longest that Lambda lets a function run.
    const LONGEST: Duration = Duration::from_secs(15 * 60);
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let left = if deadline < YEAR { deadline } else { deadline.saturating_sub(since_1970) };
    left.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_point_in_time_or_a_duration() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(time_left(Duration::from_secs(1_800_000_060), now), Duration::from_secs(60));
        assert_eq!(time_left(Duration::from_secs(1_799_999_999), now), Duration::ZERO);
        assert_eq!(time_left(Duration::from_millis(600_000), now), Duration::from_secs(600));
        assert_eq!(time_left(Duration::from_millis(u64::MAX), now), Duration::from_secs(900));
    }

    #[test]
    fn what_is_no_json_is_still_a_payload() {
        let payload: Payload = serde_json::from_str("{\"ImageId\": ").unwrap();
        assert!(payload.0.unwrap_err().starts_with("the event is not JSON"));
    }
}
