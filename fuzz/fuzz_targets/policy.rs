//! Whatever is written into Parameter Store, it is a policy or an error that names the parameter; never a panic, never a loop.
//!
//! The input is the rules, a line with `---`, and groups, one in each line: `NAME=LIST`.

#![no_main]

use ami_warden::{guardrail::AllowedGrantees, policy::Policy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (rules, groups) = text.split_once("\n---\n").unwrap_or((text, ""));
    if let Err(error) = Policy::parse("/p", [("/p/rules".to_owned(), rules.to_owned())]) {
        assert_eq!(error.parameter, "/p/rules");
    }
    let groups: Vec<(&str, &str)> = groups.lines().filter_map(|line| line.split_once('=')).collect();
    let parameters = groups.iter().map(|(name, list)| (format!("/p/groups/{name}"), (*list).to_owned()));
    let policy = Policy::parse("/p", parameters).unwrap();
    for (name, list) in &groups {
        if let Err(message) = policy.group(name, None) {
            assert!(message.contains('@'), "{message}");
        }
        let _ = AllowedGrantees::parse(list, None);
    }
});
