//! Token buckets: how EC2 limits the rate of requests.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::call::Call;

/// The buckets of an emulator: for each action that has one, how much it holds and how fast it
/// fills up again.
#[derive(Debug, Clone, Default)]
pub struct Buckets(BTreeMap<String, Limit>);

#[derive(Debug, Clone, Copy)]
struct Limit {
    capacity: f64,
    per_second: f64,
}

/// The bucket of a DescribeSnapshots that names nothing and asks for no pages.
const SNAPSHOTS_UNFILTERED: &str = "DescribeSnapshots, unfiltered and unpaginated";

impl Buckets {
    /// No limits.
    pub fn none() -> Self {
        Self::default()
    }

    /// The published limits of an account that has not raised them.
    /// Source: EC2 Developer Guide, "Request throttling for the Amazon EC2 API".
    pub fn published() -> Self {
        Self::none()
            .action("ModifyImageAttribute", 100, 5.0)
            .action("ResetImageAttribute", 50, 5.0)
            .action("EnableImage", 50, 5.0)
            .action("DisableImage", 50, 5.0)
            .action("DeregisterImage", 50, 5.0)
            .action("EnableImageBlockPublicAccess", 50, 5.0)
            .action("DisableImageBlockPublicAccess", 50, 5.0)
            .action("CreateTags", 100, 10.0)
            .action("DeleteTags", 100, 10.0)
            .action("DescribeImages", 100, 20.0)
            .action("DescribeImageAttribute", 100, 20.0)
            .action("DescribeSnapshots", 100, 20.0)
            .action(SNAPSHOTS_UNFILTERED, 50, 10.0)
            .action("GetImageBlockPublicAccessState", 100, 20.0)
    }

    /// Gives an action a bucket of its own.
    pub fn action(mut self, action: &str, capacity: u32, per_second: f64) -> Self {
        let capacity = f64::from(capacity);
        self.0.insert(
            action.to_owned(),
            Limit {
                capacity,
                per_second,
            },
        );
        self
    }
}

/// The bucket that a call takes from.
pub(crate) fn of(call: &Call) -> &str {
    let mut names = call.params.keys();
    let names_nothing = names.all(|name| name == "DryRun" || name.starts_with("Owner."));
    if call.action == "DescribeSnapshots" && names_nothing {
        SNAPSHOTS_UNFILTERED
    } else {
        &call.action
    }
}

/// Buckets in use.
pub(crate) struct Throttle {
    buckets: Buckets,
    levels: BTreeMap<String, (f64, Instant)>,
    refused: BTreeMap<String, u64>,
}

impl Throttle {
    pub(crate) fn new(buckets: Buckets) -> Self {
        Self {
            buckets,
            levels: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Takes a token; false when there is none.
    pub(crate) fn admit(&mut self, action: &str, now: Instant) -> bool {
        let Some(limit) = self.buckets.0.get(action) else {
            return true;
        };
        let (level, last) = self
            .levels
            .get(action)
            .copied()
            .unwrap_or((limit.capacity, now));
        let refill = now.saturating_duration_since(last).as_secs_f64() * limit.per_second;
        let level = (level + refill).min(limit.capacity);
        let admitted = level >= 1.0;
        let left = if admitted { level - 1.0 } else { level };
        self.levels.insert(action.to_owned(), (left, now));
        if !admitted {
            *self.refused.entry(action.to_owned()).or_default() += 1;
        }
        admitted
    }

    /// How many requests were refused, by bucket.
    pub(crate) fn refused(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }

    /// Fills all buckets and forgets what was refused.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(std::mem::take(&mut self.buckets));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_at_its_rate() {
        let mut throttle = Throttle::new(Buckets::none().action("A", 2, 5.0));
        let start = Instant::now();
        assert!(throttle.admit("A", start));
        assert!(throttle.admit("A", start));
        assert!(!throttle.admit("A", start));
        assert!(!throttle.admit("A", start + Duration::from_millis(199)));
        assert!(throttle.admit("A", start + Duration::from_millis(200)));
        assert!(throttle.admit("B", start), "no bucket, no limit");
        assert_eq!(throttle.refused()["A"], 2);
    }

    #[test]
    fn a_bucket_holds_no_more_than_its_capacity() {
        let mut throttle = Throttle::new(Buckets::none().action("A", 1, 5.0));
        let later = Instant::now() + Duration::from_secs(60);
        assert!(throttle.admit("A", later));
        assert!(!throttle.admit("A", later));
    }
}
