//! The sender of a request, as a service knows it.

/// What an action needs to know beside its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The partition of the Region that the request was signed for.
    pub(crate) partition: &'static str,
    /// The Region that the request was signed for.
    pub(crate) region: String,
    /// No page is longer than this, however long it may be.
    pub(crate) largest_page: Option<usize>,
}
