//! The decision on the deprecation time.
//!
//! EC2 takes no time in the past and none over 10 years ahead; a public image is deprecated two
//! years after its creation at the latest, and never gets more time:
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deprecate.html>.

use chrono::{DateTime, Months, SecondsFormat, Timelike, Utc};

use crate::{
    model::{
        change::Change,
        image::{DeprecationTime, Image},
        refusal::{Attribute, Refusal},
    },
    wish::{
        deprecate_at::{DeprecationWish, to_the_minute},
        directives::{Directives, invalid},
        statement::Source,
    },
};

const AHEAD_MAX: Months = Months::new(10 * 12);
const PUBLIC_AFTER_CREATION_MAX: Months = Months::new(2 * 12);

/// A wish that EC2 would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not possible: {why}; {}", latest_time(*.latest))]
struct Impossible {
    /// The value as its author stated it.
    value: String,
    why: Why,
    /// The latest time that EC2 would take, if it still takes any.
    latest: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("{} has passed", written(.0))]
    Passed(DateTime<Utc>),
    #[error("{} is over ten years ahead", written(.0))]
    TooFarAhead(DateTime<Utc>),
    #[error(
        "EC2 deprecates a public image two years after its creation at the latest, and {} is later",
        written(.0)
    )]
    PublicTooLate(DateTime<Utc>),
    #[error(
        "{} is later than the present deprecation time, and a public image gets no more time",
        written(.0)
    )]
    PublicProlonged(DateTime<Utc>),
    #[error("EC2 deprecates every public image")]
    PublicNever,
}

fn written(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn latest_time(latest: Option<DateTime<Utc>>) -> String {
    match latest {
        Some(latest) => format!("the latest possible time is {}", written(&latest)),
        None => "no time is possible any more, unless you make the image private".to_owned(),
    }
}

/// The change to the wanted time, if one is needed and possible.
///
/// `public` says whether the image is public when the change is made, or becomes so in the same
/// plan.
pub(super) fn decide(
    image: &Image,
    directives: &Directives,
    public: bool,
    now: DateTime<Utc>,
) -> Result<Option<Change>, Refusal> {
    let Some(wish) = directives.deprecation else {
        return Ok(None);
    };
    let limits = Limits::of(image, public, now);
    let to = match limits.check(wish, now) {
        Ok(to) => to,
        Err(why) => return Err(refuse(directives, why, limits.latest(now))),
    };
    let settled = match (&image.deprecation_time, to) {
        (DeprecationTime::Never, None) => true,
        (DeprecationTime::At(_, present), Some(to)) => to_the_minute(*present) == to,
        _ => false,
    };
    if settled {
        return Ok(None);
    }
    let from = image.deprecation_time.text().map(str::to_owned);
    Ok(Some(Change::Deprecation { from, to }))
}

fn refuse(directives: &Directives, why: Why, latest: Option<DateTime<Utc>>) -> Refusal {
    let attribute = Attribute::DeprecationTime;
    let stated = directives
        .stated
        .iter()
        .find(|directive| directive.attribute == attribute);
    let value = stated
        .map(|directive| directive.value.clone())
        .unwrap_or_default();
    let source = directives
        .source(&attribute)
        .cloned()
        .unwrap_or(Source::Request);
    let impossible = Impossible { value, why, latest };
    invalid(&attribute, &source, &impossible.to_string())
}

/// The times between which EC2 takes one, by the minute.
struct Limits {
    /// The time that the image has.
    present: Option<DateTime<Utc>>,
    /// The latest time that EC2 takes: ten years from now.
    ahead: DateTime<Utc>,
    public: bool,
    /// For a public image, two years after its creation; `None` too if that cannot be read.
    after_creation: Option<DateTime<Utc>>,
}

impl Limits {
    fn of(image: &Image, public: bool, now: DateTime<Utc>) -> Self {
        let present = match image.deprecation_time {
            DeprecationTime::At(_, time) => Some(to_the_minute(time)),
            DeprecationTime::Never | DeprecationTime::Unreadable(_) => None,
        };
        let ahead = now
            .checked_add_months(AHEAD_MAX)
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        let created = if public { image.created() } else { None };
        let after_creation = created
            .and_then(|created| created.checked_add_months(PUBLIC_AFTER_CREATION_MAX))
            .map(to_the_minute);
        Self {
            present,
            ahead,
            public,
            after_creation,
        }
    }

    /// The wanted time, if EC2 takes it; `None` for never.
    fn check(
        &self,
        wish: DeprecationWish,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Why> {
        let time = match wish {
            DeprecationWish::At(time) => to_the_minute(time),
            DeprecationWish::Never if self.public => return Err(Why::PublicNever),
            DeprecationWish::Never => return Ok(None),
        };
        if time <= now && self.present != Some(time) {
            return Err(Why::Passed(time));
        }
        if time > self.ahead {
            return Err(Why::TooFarAhead(time));
        }
        if let Some(limit) = self.after_creation
            && time > limit
        {
            return Err(Why::PublicTooLate(time));
        }
        if self.public
            && let Some(present) = self.present
            && time > present
        {
            return Err(Why::PublicProlonged(time));
        }
        Ok(Some(time))
    }

    /// The latest time that EC2 takes, if it has not passed.
    fn latest(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut latest = self.ahead.with_second(0)?.with_nanosecond(0)?;
        if let Some(limit) = self.after_creation {
            latest = latest.min(limit);
        }
        if self.public
            && let Some(present) = self.present
        {
            latest = latest.min(present);
        }
        if latest > now { Some(latest) } else { None }
    }
}
