//! What is wanted: tags, rules and requests, read into directives.

pub mod context;
pub mod copy_permission;
pub mod deprecate_at;
pub mod directives;
pub mod grantee_list;
pub mod grantee_name;
pub mod groups;
pub mod launch_permission;
pub mod policy;
pub mod rules;
pub mod statement;
pub mod tags;
pub mod template;
