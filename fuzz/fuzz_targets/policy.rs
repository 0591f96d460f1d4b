//! Any text in Parameter Store is a policy, or an error that names the parameter; never a panic,
//! never a loop.
//!
//! The input is the rules, a line with `---`, and groups, one in each line: `NAME=LIST`.

#![no_main]

use std::collections::BTreeMap;

use ami_warden_core::{AllowedCopiers, AllowedGrantees, DirectiveTags, Directives, Image, Policy, SharedTagPatterns, StoredParameter, StoredValue, WishContext, is_group_name};
use libfuzzer_sys::fuzz_target;

fn stored(name: String, text: &str) -> StoredParameter {
    StoredParameter {
        name,
        value: StoredValue::Text(text.to_owned()),
        modified: None,
    }
}

/// The directives of an image that uses the group.
fn used(policy: &Policy, group: &str) -> Directives {
    let tag = (
        "ami-warden:launch-permission".to_owned(),
        format!("@{group}"),
    );
    let image = Image {
        tags: BTreeMap::from([tag]),
        ..Image::new(
            "ami-0123456789abcdef0".parse().unwrap(),
            "111122223333".parse().unwrap(),
        )
    };
    let context = WishContext {
        policy,
        organization: None,
        partition: "aws",
    };
    Directives::of(
        &image,
        &DirectiveTags::read(&image.tags, "ami-warden:"),
        &context,
    )
}

fuzz_target!(|text: &str| {
    let (rules, groups) = text.split_once("\n---\n").unwrap_or((text, ""));
    match Policy::parse("/p", vec![stored("/p/rules".to_owned(), rules)], None) {
        Ok((policy, unused)) => {
            assert!(unused.is_empty());
            used(&policy, "none");
        }
        Err(error) => assert_eq!(error.parameter, "/p/rules"),
    }
    let groups: Vec<(&str, &str)> = groups
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let parameters = groups
        .iter()
        .map(|(name, list)| stored(format!("/p/groups/{name}"), list))
        .collect();
    let (policy, _) = Policy::parse("/p", parameters, None).unwrap();
    for (name, list) in &groups {
        let directives = used(&policy, name);
        // The group is expanded, or it is refused by its name.
        if is_group_name(name) && directives.launch_permission.is_none() {
            assert!(!directives.refusals.is_empty());
            assert!(
                directives
                    .refusals
                    .iter()
                    .all(|refusal| refusal.message().contains('@'))
            );
        }
        let _ = AllowedGrantees::parse(list, None);
        let _ = AllowedCopiers::parse(list);
        let _ = SharedTagPatterns::parse(list);
    }
});
