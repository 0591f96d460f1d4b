//! A call as an EC2 action gets it.

use crate::services::caller::Caller;
use crate::wire::error::ApiError;
use crate::wire::query::Params;

/// Who calls, and the parameters that the action has not taken yet.
pub(crate) struct Query<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) params: Params,
}

/// What becomes of a call: its answer is written, or it is refused.
pub(crate) type Done = Result<(), ApiError>;
