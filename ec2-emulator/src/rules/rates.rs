//! Token buckets: how AWS limits the rate of calls.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::rules::call::Call;

/// The buckets of an emulator, and which actions take from which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Buckets {
    /// By name.
    #[serde(default)]
    buckets: BTreeMap<String, Limit>,
    /// The bucket's name, by action.
    #[serde(default)]
    actions: BTreeMap<String, String>,
    /// All limits are so many times what they say.
    #[serde(default = "once")]
    factor: f64,
}

/// How much a bucket holds, and how fast it fills up again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Limit {
    capacity: f64,
    per_second: f64,
}

fn once() -> f64 {
    1.0
}

/// The bucket of a DescribeSnapshots that names nothing and asks for no pages.
const SNAPSHOTS_UNFILTERED: &str = "DescribeSnapshots, unfiltered and unpaginated";

/// Name, capacity, refill a second.
/// Source: EC2 Developer Guide, "Request throttling for the Amazon EC2 API"; KMS Developer Guide,
/// "Request quotas" (a second's worth is taken for the capacity).
const PUBLISHED_LIMITS: [(&str, u32, f64); 28] = [
    ("ModifyImageAttribute", 100, 5.0),
    ("ModifySnapshotAttribute", 100, 5.0),
    ("DeregisterImage", 100, 5.0),
    ("ResetImageAttribute", 50, 5.0),
    ("EnableImage", 50, 5.0),
    ("DisableImage", 50, 5.0),
    ("EnableImageDeprecation", 50, 5.0),
    ("DisableImageDeprecation", 50, 5.0),
    ("CreateImageUsageReport", 50, 5.0),
    ("EnableImageBlockPublicAccess", 1, 0.1),
    ("DisableImageBlockPublicAccess", 1, 0.1),
    ("CreateTags", 100, 10.0),
    ("DeleteTags", 100, 10.0),
    ("DescribeImages", 100, 20.0),
    ("DescribeImageAttribute", 100, 20.0),
    ("DescribeSnapshots", 100, 20.0),
    (SNAPSHOTS_UNFILTERED, 50, 10.0),
    ("DescribeSnapshotAttribute", 100, 20.0),
    ("DescribeImageUsageReports", 100, 20.0),
    ("DescribeImageUsageReportEntries", 100, 20.0),
    ("GetImageBlockPublicAccessState", 100, 20.0),
    ("DescribeKey", 2000, 2000.0),
    ("GetKeyPolicy", 1000, 1000.0),
    ("ListKeyPolicies", 100, 100.0),
    ("ListGrants", 100, 100.0),
    ("GetParameter", 40, 40.0),
    ("GetParameters", 40, 40.0),
    ("GetParametersByPath", 40, 40.0),
];

impl Default for Buckets {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            actions: BTreeMap::new(),
            factor: once(),
        }
    }
}

impl Buckets {
    /// No limits.
    pub fn none() -> Self {
        Self::default()
    }

    /// The published limits of an account that has not raised them. The three calls of Parameter
    /// Store share one bucket, "Parameter Store" (40 a second by default, says the quota page as
    /// quoted in 2022).
    pub fn published() -> Self {
        let mut buckets = Self::none();
        for (action, capacity, per_second) in PUBLISHED_LIMITS {
            buckets = buckets.action(action, capacity, per_second);
        }
        let reads = ["GetParameter", "GetParameters", "GetParametersByPath"];
        buckets.shared("Parameter Store", reads, 40, 40.0)
    }

    /// Gives an action a bucket of its own.
    pub fn action(self, action: &str, capacity: u32, per_second: f64) -> Self {
        self.shared(action, [action], capacity, per_second)
    }

    /// Gives several actions one bucket in common.
    pub fn shared<'a>(
        mut self,
        name: &str,
        actions: impl IntoIterator<Item = &'a str>,
        capacity: u32,
        per_second: f64,
    ) -> Self {
        for action in actions {
            let old = self.actions.insert(action.to_owned(), name.to_owned());
            if let Some(old) = old.filter(|old| old == action) {
                self.buckets.remove(&old);
            }
        }
        let capacity = f64::from(capacity);
        let limit = Limit {
            capacity,
            per_second,
        };
        self.buckets.insert(name.to_owned(), limit);
        self
    }

    /// Makes all limits so many times as large: accounts can have them raised.
    pub fn times(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The bucket that an action takes from, and its limit.
    fn of(&self, action: &str) -> Option<(&String, Limit)> {
        let name = self.actions.get(action)?;
        let limit = self.buckets.get(name)?;
        let limit = Limit {
            capacity: (limit.capacity * self.factor).max(1.0),
            per_second: limit.per_second * self.factor,
        };
        Some((name, limit))
    }
}

/// What a call is called where limits are concerned.
pub(crate) fn limited_as(call: &Call) -> &str {
    let mut names = call.params.keys();
    let names_nothing = names.all(|name| name == "DryRun" || name.starts_with("Owner."));
    if call.action == "DescribeSnapshots" && names_nothing {
        SNAPSHOTS_UNFILTERED
    } else {
        &call.action
    }
}

/// Buckets in use, with the tokens that are left in them.
pub(crate) struct Throttle {
    initial: Buckets,
    buckets: Buckets,
    levels: BTreeMap<String, (f64, Instant)>,
    refused: BTreeMap<String, u64>,
}

impl Throttle {
    pub(crate) fn new(buckets: Buckets) -> Self {
        Self {
            initial: buckets.clone(),
            buckets,
            levels: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Takes a token; false when there is none.
    pub(crate) fn admit(&mut self, action: &str, now: Instant) -> bool {
        let Some((name, limit)) = self.buckets.of(action) else {
            return true;
        };
        let known = self.levels.get(name).copied();
        let (level, last) = known.unwrap_or((limit.capacity, now));
        let refill = now.saturating_duration_since(last).as_secs_f64() * limit.per_second;
        let level = (level + refill).min(limit.capacity);
        let admitted = level >= 1.0;
        let left = if admitted { level - 1.0 } else { level };
        self.levels.insert(name.clone(), (left, now));
        if !admitted {
            *self.refused.entry(name.clone()).or_default() += 1;
        }
        admitted
    }

    /// Changes the limits meanwhile. What is in a bucket stays there, as far as it holds it.
    pub(crate) fn set(&mut self, buckets: Buckets) {
        self.buckets = buckets;
    }

    pub(crate) fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// How many calls were refused, by bucket.
    pub(crate) fn refused(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }

    /// Back to the limits of the beginning, all buckets full, and forgets what was refused.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(std::mem::take(&mut self.initial));
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

    #[test]
    fn a_factor_raises_and_lowers_the_limits_meanwhile() {
        let buckets = || Buckets::none().action("A", 2, 5.0);
        let mut throttle = Throttle::new(buckets());
        let start = Instant::now();
        let burst = |throttle: &mut Throttle, at| {
            let mut admitted = 0;
            while throttle.admit("A", at) {
                admitted += 1;
            }
            admitted
        };
        assert_eq!(burst(&mut throttle, start), 2);
        throttle.set(buckets().times(20.0));
        let later = start + Duration::from_millis(100);
        assert_eq!(burst(&mut throttle, later), 10, "100 a second");
        let later = later + Duration::from_secs(60);
        assert_eq!(burst(&mut throttle, later), 40, "no more than it holds");
        throttle.set(buckets().times(0.1));
        let later = later + Duration::from_secs(60);
        assert_eq!(burst(&mut throttle, later), 1, "never less than one");
        throttle.reset();
        assert_eq!(burst(&mut throttle, later), 2);
    }

    #[test]
    fn actions_may_share_a_bucket() {
        let buckets = Buckets::none().action("A", 9, 1.0);
        let mut throttle = Throttle::new(buckets.shared("AB", ["A", "B"], 2, 1.0));
        let start = Instant::now();
        assert!(throttle.admit("A", start) && throttle.admit("B", start));
        assert!(!throttle.admit("A", start) && !throttle.admit("B", start));
        assert_eq!(throttle.refused()["AB"], 2);
    }
}
