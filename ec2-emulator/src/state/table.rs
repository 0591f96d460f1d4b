//! Resources by id, which remember how they were before they were changed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, RangeBounds};
use std::sync::Arc;

/// A version of a resource; none: it was not there.
pub(crate) type Version<T> = Option<Arc<T>>;

/// Resources by id. It is used like a `BTreeMap<String, T>`.
///
/// A copy of the table shares its resources with the original until one of them changes, so a copy
/// of 50,000 images costs little.
#[derive(Clone)]
pub struct Table<T> {
    by_id: BTreeMap<String, Arc<T>>,
    /// What changed since [`Table::take_changes`], in order, as it was before.
    changes: Vec<(String, Version<T>)>,
}

impl<T> Table<T> {
    /// The number of resources.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The resource of that id.
    pub fn get(&self, id: &str) -> Option<&T> {
        self.by_id.get(id).map(AsRef::as_ref)
    }

    /// Whether there is one of that id.
    pub fn contains_key(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// The ids, ascending.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &String> {
        self.by_id.keys()
    }

    /// The resources, ascending by id.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.by_id.values().map(AsRef::as_ref)
    }

    /// Ids and resources, ascending by id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&String, &T)> {
        self.by_id.iter().map(|(id, value)| (id, value.as_ref()))
    }

    /// Those with an id within a range.
    pub fn range<R>(&self, range: R) -> impl DoubleEndedIterator<Item = (&String, &T)>
    where
        R: RangeBounds<str>,
    {
        let range = self.by_id.range::<str, _>(range);
        range.map(|(id, value)| (id, value.as_ref()))
    }

    /// Adds a resource, or replaces it; gives back the old one.
    pub fn insert(&mut self, id: String, value: T) -> Option<Arc<T>> {
        let old = self.by_id.insert(id.clone(), Arc::new(value));
        self.changes.push((id, old.clone()));
        old
    }

    /// Removes a resource and gives it back.
    pub fn remove(&mut self, id: &str) -> Option<Arc<T>> {
        let old = self.by_id.remove(id)?;
        self.changes.push((id.to_owned(), Some(Arc::clone(&old))));
        Some(old)
    }

    /// Removes all.
    pub fn clear(&mut self) {
        for (id, old) in std::mem::take(&mut self.by_id) {
            self.changes.push((id, Some(old)));
        }
    }

    /// What changed since the last time, in order, as it was before.
    pub(crate) fn take_changes(&mut self) -> Vec<(String, Version<T>)> {
        std::mem::take(&mut self.changes)
    }

    /// A version that may replace another.
    pub(crate) fn version(&self, id: &str) -> Version<T> {
        self.by_id.get(id).cloned()
    }

    /// Exchanges a version and the present one. It is not a change.
    pub(crate) fn swap(&mut self, id: &str, version: &mut Version<T>) {
        let now = match version.take() {
            Some(value) => self.by_id.insert(id.to_owned(), value),
            None => self.by_id.remove(id),
        };
        *version = now;
    }
}

impl<T: Clone> Table<T> {
    /// The resource of that id, to be changed.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        let value = self.by_id.get_mut(id)?;
        self.changes.push((id.to_owned(), Some(Arc::clone(value))));
        Some(Arc::make_mut(value))
    }

    /// All resources, to be changed, ascending by id.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let changes = &mut self.changes;
        self.by_id.iter_mut().map(|(id, value)| {
            changes.push((id.clone(), Some(Arc::clone(value))));
            Arc::make_mut(value)
        })
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            by_id: BTreeMap::new(),
            changes: Vec::new(),
        }
    }
}

impl<T: PartialEq> PartialEq for Table<T> {
    fn eq(&self, other: &Self) -> bool {
        self.by_id == other.by_id
    }
}

impl<T: fmt::Debug> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_id.fmt(f)
    }
}

/// # Panics
///
/// When there is none of that id, like a map.
impl<T, Q: AsRef<str> + ?Sized> Index<&Q> for Table<T> {
    type Output = T;

    fn index(&self, id: &Q) -> &T {
        &self.by_id[id.as_ref()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_the_version_before_it() {
        let mut table = Table::default();
        table.insert("a".to_owned(), 1);
        *table.get_mut("a").expect("there") += 1;
        table.remove("a");
        table.remove("a");
        let before: Vec<_> = table
            .take_changes()
            .into_iter()
            .map(|(_, version)| version.map(|value| *value))
            .collect();
        assert_eq!(before, [None, Some(1), Some(2)]);
        assert!(table.take_changes().is_empty());
    }

    #[test]
    fn a_copy_does_not_change_with_the_original() {
        let mut table = Table::default();
        table.insert("a".to_owned(), 1);
        let copy = table.clone();
        *table.get_mut("a").expect("there") = 2;
        assert_eq!((table["a"], copy["a"]), (2, 1));
    }

    #[test]
    fn swapping_twice_restores_the_table() {
        let mut table = Table::default();
        table.insert("a".to_owned(), 1);
        table.take_changes();
        let mut version = None;
        table.swap("a", &mut version);
        assert!(table.is_empty());
        table.swap("a", &mut version);
        assert_eq!((table["a"], version), (1, None));
        assert!(table.take_changes().is_empty());
    }
}
