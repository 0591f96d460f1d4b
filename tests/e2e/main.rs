//! The built function, run as Lambda runs it, against an EC2 that refuses what EC2 refuses.
//!
//! The names are sentences of the contract; each test asserts the requests that reached EC2, not
//! what a mock was told to say.

mod answer_schema;
mod bad_input;
mod by_hand;
mod crashes;
mod description_and_imds;
mod dry_run;
mod estate;
mod events;
mod failures;
mod faults;
mod guardrails;
mod keys;
mod launch_permission;
mod logs;
mod newest_wish;
mod order;
mod order_of_events;
mod policy;
mod recipients;
mod security;
mod settings;
mod sweep;
mod told;
mod world;
