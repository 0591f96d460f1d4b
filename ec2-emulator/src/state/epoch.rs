//! Times as AWS's JSON services write them: seconds since 1970, with milliseconds after the point.

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// The number of seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact for the next 285,000 years"
)]
pub(crate) fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

pub(crate) fn serialize<S: Serializer>(at: &DateTime<Utc>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(seconds(*at))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Text(DateTime<Utc>),
    Seconds(f64),
}

/// Takes seconds, or a text such as `2026-11-26T10:00:00Z`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DateTime<Utc>, D::Error> {
    let seconds = match Given::deserialize(from)? {
        Given::Text(at) => return Ok(at),
        Given::Seconds(seconds) => seconds,
    };
    let bad = || D::Error::custom(format!("{seconds} is not a time"));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "out of range saturates, and is refused"
    )]
    let since = TimeDelta::try_milliseconds((seconds * 1000.0).round() as i64).ok_or_else(bad)?;
    DateTime::UNIX_EPOCH
        .checked_add_signed(since)
        .ok_or_else(bad)
}
