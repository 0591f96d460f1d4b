//! What DescribeImages and DescribeSnapshots have in common: resources given by id in two ways,
//! and pages.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::state::table::Table;
use crate::wire::error::ApiError;
use crate::wire::filter::Filter;
use crate::wire::page::Paging;

/// The ids that a call names, and its filters and pages.
pub(crate) struct Listing {
    pub(crate) ids: Vec<String>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) paging: Paging,
}

impl Listing {
    /// Ids and pages exclude each other. `set` is EC2's name for the list of ids.
    pub(crate) fn check_paging(&self, set: &str) -> Result<(), ApiError> {
        if self.ids.is_empty() || !self.paging.is_asked_for() {
            return Ok(());
        }
        Err(ApiError::invalid_combination(format!(
            "The parameter {set} cannot be used with the parameter maxResults"
        )))
    }

    /// The resources worth looking at, descending by id: looked up one by one when ids are given,
    /// by themselves or in the filter of that name.
    pub(crate) fn candidates<'a, T>(
        &'a self,
        table: &'a Table<T>,
        id_filter: &str,
    ) -> Box<dyn Iterator<Item = &'a T> + 'a> {
        let after = self.paging.after();
        let mut by_id = self.filters.iter().filter(|f| f.name == id_filter);
        let exact = by_id.find_map(Filter::exact_values);
        let ids = if self.ids.is_empty() {
            exact
        } else {
            Some(&*self.ids)
        };
        let Some(ids) = ids else {
            let end = after.map_or(Bound::Unbounded, Bound::Excluded);
            let range = table.range((Bound::Unbounded, end));
            return Box::new(range.rev().map(|(_, resource)| resource));
        };
        let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        let ids = ids.into_iter().rev();
        let ids = ids.filter(move |id| after.is_none_or(|after| *id < after));
        Box::new(ids.filter_map(|id| table.get(id)))
    }
}
