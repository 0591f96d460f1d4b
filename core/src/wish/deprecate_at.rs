//! The grammar of the directive `deprecate-at`.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};

use crate::model::image::Image;

/// A value of the directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeprecateAt {
    /// `-`: EC2 is never to deprecate the image.
    Never,
    /// A date or a time.
    At(DateTime<Utc>),
    /// So many days after the image's creation: digits, as many as the author wrote.
    DaysAfterCreation(String),
}

/// When EC2 is to deprecate the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeprecationWish {
    /// Never: a present deprecation is cancelled.
    Never,
    /// At this time, by the minute.
    At(DateTime<Utc>),
}

/// A value that does not parse or is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeprecateAtError {
    /// It has none of the forms of a time.
    #[error(
        "{0:?} is not a time: expected 2027-06-30, 2027-06-30T12:00:00Z, 180d (days after the \
         image's creation) or - (never)"
    )]
    NotATime(String),
    /// Days are counted from a creation that cannot be read.
    #[error(
        "\"{days}d\" counts from the image's creation, and its creation date {date:?} cannot be \
         read; name a date"
    )]
    NoCreationDate {
        /// The days after creation that were asked for.
        days: String,
        /// The creation date in EC2's text.
        date: String,
    },
    /// The days lead out of the calendar.
    #[error("\"{0}d\" is too far ahead: EC2 takes times of the next 10 years")]
    TooManyDays(String),
}

impl FromStr for DeprecateAt {
    type Err = DeprecateAtError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-" {
            return Ok(Self::Never);
        }
        let error = || DeprecateAtError::NotATime(text.to_owned());
        if let Some(days) = text.strip_suffix('d') {
            if days.is_empty() || !days.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(error());
            }
            return Ok(Self::DaysAfterCreation(days.to_owned()));
        }
        // chrono takes shorter fields ("2027-6-3") and signs ("-027-06-30") too, this grammar does
        // not.
        let time = match text.len() {
            10 => NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .map(|date| date.and_time(NaiveTime::MIN)),
            20 => NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ"),
            _ => return Err(error()),
        };
        match time {
            // A leap second has more than 999,999,999 nanoseconds.
            Ok(time) if has_form(text) && time.nanosecond() == 0 => Ok(Self::At(time.and_utc())),
            _ => Err(error()),
        }
    }
}

/// Whether digits and signs stand in their places.
fn has_form(text: &str) -> bool {
    const FORM: &str = "0000-00-00T00:00:00Z";
    text.bytes()
        .zip(FORM.bytes())
        .all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            sign => byte == sign,
        })
}

impl DeprecateAt {
    /// The time for this image.
    ///
    /// # Errors
    /// Days after a creation date that cannot be read, or out of the calendar.
    pub(crate) fn resolve(self, image: &Image) -> Result<DeprecationWish, DeprecateAtError> {
        match self {
            Self::Never => Ok(DeprecationWish::Never),
            Self::At(time) => Ok(DeprecationWish::At(to_the_minute(time))),
            Self::DaysAfterCreation(days) => {
                let Some(created) = image.created() else {
                    let date = image.creation_date.clone().unwrap_or_default();
                    return Err(DeprecateAtError::NoCreationDate { days, date });
                };
                let time = match days.parse::<u32>() {
                    Ok(days) => created.checked_add_signed(TimeDelta::days(days.into())),
                    Err(_) => None,
                };
                match time {
                    Some(time) => Ok(DeprecationWish::At(to_the_minute(time))),
                    None => Err(DeprecateAtError::TooManyDays(days)),
                }
            }
        }
    }
}

/// The nearest minute, as EC2 rounds (`EnableImageDeprecation`, `DeprecateAt`).
#[must_use]
pub(crate) fn to_the_minute(time: DateTime<Utc>) -> DateTime<Utc> {
    let down = time
        .with_second(0)
        .and_then(|time| time.with_nanosecond(0))
        .unwrap_or(time);
    if time.second() >= 30 {
        down + TimeDelta::minutes(1)
    } else {
        down
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::image;

    fn at(text: &str) -> DeprecationWish {
        DeprecationWish::At(text.parse().unwrap())
    }

    #[test]
    fn dates_times_days_and_never_are_read() {
        let mut image = image();
        image.creation_date = Some("2026-01-01T10:20:29.000Z".into());
        for (text, wish) in [
            ("2027-06-30", at("2027-06-30T00:00:00Z")),
            ("2027-06-30T12:00:29Z", at("2027-06-30T12:00:00Z")),
            ("2027-06-30T23:59:30Z", at("2027-07-01T00:00:00Z")),
            ("180d", at("2026-06-30T10:20:00Z")),
            ("0d", at("2026-01-01T10:20:00Z")),
            ("-", DeprecationWish::Never),
        ] {
            assert_eq!(
                text.parse::<DeprecateAt>().unwrap().resolve(&image),
                Ok(wish),
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_in_another_form_is_an_error_that_quotes_it() {
        for text in [
            "",
            "never",
            "180",
            "d",
            "-1d",
            "1.5d",
            "180D",
            "180 d",
            "2027-6-30",
            "2027-02-30",
            "2027-06-30T12:00:00",
            "2027-06-30T12:00:00+01",
            "2027-06-30 12:00:00Z",
            "30.06.2027",
            "+027-06-30",
            " 2027-06-3",
            "-2027-6-30",
            "-027-06-30",
            "2027-06-30T12:00:60Z",
        ] {
            let error = text.parse::<DeprecateAt>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn days_that_lead_nowhere_are_an_error() {
        let mut image = image();
        let resolve =
            |text: &str, image: &Image| text.parse::<DeprecateAt>().unwrap().resolve(image);
        assert!(matches!(
            resolve("1d", &image),
            Err(DeprecateAtError::NoCreationDate { .. })
        ));
        image.creation_date = Some("2026-01-01T10:20:29.000Z".into());
        for days in ["4000000000d", "99999999999999999999d"] {
            let digits = days.trim_end_matches('d').to_owned();
            assert_eq!(
                resolve(days, &image),
                Err(DeprecateAtError::TooManyDays(digits))
            );
        }
    }
}
