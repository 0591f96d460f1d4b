//! What tests put in place: which calls go wrong, wait, come too often or see an old state, and
//! what changes by hand meanwhile.

pub(crate) mod acts;
pub(crate) mod call;
pub(crate) mod carry_out;
pub(crate) mod faults;
pub(crate) mod gates;
pub(crate) mod lag;
pub(crate) mod matching;
pub(crate) mod rates;
pub(crate) mod triggers;
