//! Reads that lag behind writes.
//! Source: EC2 Developer Guide, "Eventual consistency in the Amazon EC2 API".

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::state::past::{Past, Version};

/// What stands for a writer that is no call: acts, triggers, hooks, edits of a test.
pub(crate) const BY_HAND: &str = "by-hand";

/// A rule: what one action writes is shown by another only so much later.
///
/// Of one image all changes become visible in their order. Every resource lags by itself, so an
/// answer may hold a new image beside an old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Lag {
    #[serde(default = "any")]
    read: String,
    #[serde(default = "any")]
    write: String,
    ms: u64,
}

fn any() -> String {
    "*".to_owned()
}

impl Lag {
    /// Everything becomes visible so much later, in every read.
    pub fn new(by: Duration) -> Self {
        Self {
            read: any(),
            write: any(),
            ms: u64::try_from(by.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Only in the answers of this action.
    pub fn of_reads(mut self, action: &str) -> Self {
        self.read = action.to_owned();
        self
    }

    /// Only what this action writes; `by-hand`: what people and tests change.
    pub fn of_writes(mut self, action: &str) -> Self {
        self.write = action.to_owned();
        self
    }

    fn is_about(&self, read: &str, write: &str) -> bool {
        let fits = |rule: &str, action: &str| rule == "*" || rule == action;
        fits(&self.read, read) && fits(&self.write, write)
    }
}

/// A resource as it was before somebody changed it.
struct Change {
    at: Instant,
    by: String,
    before: Version,
}

/// The rules in place, and as much of the past as they need.
#[derive(Default)]
pub(crate) struct Lags {
    rules: Vec<Lag>,
    changes: VecDeque<Change>,
}

impl Lags {
    pub(crate) fn new(rules: Vec<Lag>) -> Self {
        let changes = VecDeque::new();
        Self { rules, changes }
    }

    /// Puts other rules in place. With none, everything is visible at once.
    pub(crate) fn set(&mut self, rules: Vec<Lag>) {
        self.rules = rules;
        if self.rules.is_empty() {
            self.changes.clear();
        }
    }

    /// Forgets the past, and keeps the rules.
    pub(crate) fn forget(&mut self) {
        self.changes.clear();
    }

    pub(crate) fn rules(&self) -> &[Lag] {
        &self.rules
    }

    /// Remembers what was changed, for as long as a rule may need it.
    pub(crate) fn remember(&mut self, changes: Vec<Version>, by: &str, now: Instant) {
        let Some(longest) = self.rules.iter().map(|rule| rule.ms).max() else {
            return;
        };
        let longest = Duration::from_millis(longest);
        let is_over = |change: &Change| now.saturating_duration_since(change.at) > longest;
        while self.changes.front().is_some_and(is_over) {
            self.changes.pop_front();
        }
        for before in changes {
            let by = by.to_owned();
            self.changes.push_back(Change {
                at: now,
                by,
                before,
            });
        }
    }

    /// What a read does not see yet, as it was before.
    pub(crate) fn unseen_by(&self, read: &str, now: Instant) -> Past {
        let mut past = Past::default();
        for change in &self.changes {
            let rules = self.rules.iter();
            let lag = rules.filter(|rule| rule.is_about(read, &change.by));
            let lag = lag.map(|rule| rule.ms).max().unwrap_or_default();
            let age = now.saturating_duration_since(change.at);
            if age < Duration::from_millis(lag) {
                past.add(change.before.clone());
            }
        }
        past
    }
}
