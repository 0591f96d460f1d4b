//! What will be done: guardrails and the plan.
//!
//! A decision here is a value without prose: the sentences of refusals stand at
//! [`Ground`](crate::model::refusal::Ground), those of notes in `note`.

pub(crate) mod allow_list;
mod copy_permission;
mod deprecation;
mod grounds;
pub(crate) mod guardrail;
pub(crate) mod key_reach;
pub(crate) mod keys;
mod launch_permission;
mod note;
pub(crate) mod observed;
pub(crate) mod plan;
mod public;
mod shared_tags;
#[cfg(test)]
mod tests;
