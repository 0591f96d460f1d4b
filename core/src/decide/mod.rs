//! What will be done: guardrails and the plan.
//!
//! A decision here is a value without prose: the sentences of refusals stand at
//! [`Ground`](crate::model::refusal::Ground), those of notes in `note`.

pub mod allow_list;
mod copy_permission;
mod deprecation;
mod grounds;
pub mod guardrail;
pub mod key_reach;
mod keys;
mod launch_permission;
mod note;
mod observed;
pub mod plan;
mod public;
mod shared_tags;
#[cfg(test)]
mod tests;
