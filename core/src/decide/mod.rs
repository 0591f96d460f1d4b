//! What will be done: guardrails and the plan.
//!
//! A decision here is a value without prose: the sentences stand at
//! [`Ground`](crate::model::refusal::Ground) and [`Note`](crate::model::note::Note).

pub(crate) mod allow_list;
mod copy_permission;
mod deprecation;
mod grounds;
pub(crate) mod guardrail;
pub(crate) mod key_reach;
pub(crate) mod keys;
mod launch_permission;
pub(crate) mod observed;
pub(crate) mod plan;
mod public;
mod shared_tags;
#[cfg(test)]
mod tests;
