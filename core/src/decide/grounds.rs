//! Grounds against a directive, each resource once for each code.

use std::collections::BTreeMap;

use crate::model::refusal::{Attribute, Ground, Refusal, RefusalCode};

/// A set of grounds, in the order of their codes and then of the resources at fault: EC2 promises
/// no order of devices or tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grounds(BTreeMap<(RefusalCode, String), Ground>);

impl Grounds {
    /// Adds a ground, unless the set has one with its code and resource.
    pub(super) fn insert(&mut self, ground: Ground) {
        self.0
            .entry((ground.code(), ground.resource()))
            .or_insert(ground);
    }

    /// Whether nothing speaks against it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A refusal of the attribute on each ground.
    pub(super) fn refuse(self, attribute: Attribute) -> impl Iterator<Item = Refusal> {
        self.0
            .into_values()
            .map(move |ground| Refusal::new(attribute.clone(), ground))
    }
}

impl Extend<Ground> for Grounds {
    fn extend<I: IntoIterator<Item = Ground>>(&mut self, grounds: I) {
        for ground in grounds {
            self.insert(ground);
        }
    }
}
