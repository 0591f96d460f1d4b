//! How resources were at an earlier time.

use std::collections::BTreeMap;

use crate::state::account::State;
use crate::state::image::Image;
use crate::state::key::{self, Key};
use crate::state::parameter::Parameter;
use crate::state::snapshot::Snapshot;
use crate::state::table;
use crate::state::usage::UsageReport;

/// One resource as it was at some time.
#[derive(Debug, Clone)]
pub(crate) enum Version {
    Image(String, table::Version<Image>),
    Snapshot(String, table::Version<Snapshot>),
    Parameter(String, table::Version<Parameter>),
    Key(String, table::Version<Key>),
    Report(String, table::Version<UsageReport>),
}

/// Some resources as they were at some time; all others are as they are now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    images: BTreeMap<String, table::Version<Image>>,
    snapshots: BTreeMap<String, table::Version<Snapshot>>,
    parameters: BTreeMap<String, table::Version<Parameter>>,
    keys: BTreeMap<String, table::Version<Key>>,
    reports: BTreeMap<String, table::Version<UsageReport>>,
}

impl Past {
    /// Adds a resource, unless it is there already: the oldest version counts, and comes first.
    pub(crate) fn add(&mut self, version: Version) {
        match version {
            Version::Image(id, version) => {
                self.images.entry(id).or_insert(version);
            }
            Version::Snapshot(id, version) => {
                self.snapshots.entry(id).or_insert(version);
            }
            Version::Parameter(name, version) => {
                self.parameters.entry(name).or_insert(version);
            }
            Version::Key(id, version) => {
                self.keys.entry(id).or_insert(version);
            }
            Version::Report(id, version) => {
                self.reports.entry(id).or_insert(version);
            }
        }
    }

    /// Adds those of another past that are not there already.
    pub(crate) fn extend(&mut self, other: Self) {
        for (id, version) in other.images {
            self.images.entry(id).or_insert(version);
        }
        for (id, version) in other.snapshots {
            self.snapshots.entry(id).or_insert(version);
        }
        for (name, version) in other.parameters {
            self.parameters.entry(name).or_insert(version);
        }
        for (id, version) in other.keys {
            self.keys.entry(id).or_insert(version);
        }
        for (id, version) in other.reports {
            self.reports.entry(id).or_insert(version);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty()
            && self.snapshots.is_empty()
            && self.parameters.is_empty()
            && self.keys.is_empty()
            && self.reports.is_empty()
    }
}

impl State {
    /// All that has changed since the last time, as it was before.
    pub(crate) fn take_changes(&mut self) -> Vec<Version> {
        let mut all = Vec::new();
        let images = self.images.take_changes().into_iter();
        all.extend(images.map(|(id, version)| Version::Image(id, version)));
        let snapshots = self.snapshots.take_changes().into_iter();
        all.extend(snapshots.map(|(id, version)| Version::Snapshot(id, version)));
        let parameters = self.parameters.take_changes().into_iter();
        all.extend(parameters.map(|(name, version)| Version::Parameter(name, version)));
        let keys = self.keys.take_changes().into_iter();
        all.extend(keys.map(|(id, version)| Version::Key(id, version)));
        let reports = self.usage_reports.take_changes().into_iter();
        all.extend(reports.map(|(id, version)| Version::Report(id, version)));
        all
    }

    /// Adds the resource of that id, whatever it is, as it is here.
    pub(crate) fn add_to(&self, past: &mut Past, id: &str) {
        let key = || id.to_owned();
        past.add(Version::Image(key(), self.images.version(id)));
        past.add(Version::Snapshot(key(), self.snapshots.version(id)));
        past.add(Version::Parameter(key(), self.parameters.version(id)));
        let key_id = key::id_of(id);
        past.add(Version::Report(key(), self.usage_reports.version(id)));
        past.add(Version::Key(key_id.to_owned(), self.keys.version(key_id)));
    }

    /// Looks at the state with some of it as it was in the past.
    pub(crate) fn with<R>(&mut self, past: &mut Past, look: impl FnOnce(&Self) -> R) -> R {
        self.swap(past);
        let seen = look(self);
        self.swap(past);
        seen
    }

    fn swap(&mut self, past: &mut Past) {
        for (id, version) in &mut past.images {
            self.images.swap(id, version);
        }
        for (id, version) in &mut past.snapshots {
            self.snapshots.swap(id, version);
        }
        for (name, version) in &mut past.parameters {
            self.parameters.swap(name, version);
        }
        for (id, version) in &mut past.keys {
            self.keys.swap(id, version);
        }
        for (id, version) in &mut past.reports {
            self.usage_reports.swap(id, version);
        }
    }
}
