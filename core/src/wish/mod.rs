//! What is wanted: tags, rules and requests, read into directives.

pub(crate) mod context;
pub(crate) mod copy_permission;
pub(crate) mod deprecate_at;
pub(crate) mod directives;
pub(crate) mod grantee_list;
pub(crate) mod grantee_name;
pub(crate) mod groups;
pub(crate) mod launch_permission;
pub(crate) mod policy;
pub(crate) mod requested;
pub(crate) mod rules;
pub(crate) mod statement;
pub(crate) mod tags;
pub(crate) mod template;
