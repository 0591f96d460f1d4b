//! Any tags are a wish whose parts stand in the tags, or a refusal that names the tag.
//! Never a panic.
//!
//! The input is lines of `KEY=VALUE`; keys are completed with the prefix.

#![no_main]

use std::collections::BTreeMap;

use ami_warden_core::{DirectiveTags, Directives, Grantee, Image, LaunchPermissionWish, OrganizationArn, Policy, StoredParameter, StoredValue, WishContext};
use libfuzzer_sys::fuzz_target;

const PREFIX: &str = "ami-warden:";
const GROUPS: [(&str, &str); 2] = [
    ("/p/groups/team", "222233334444,@other"),
    ("/p/groups/other", "all"),
];

fuzz_target!(|text: &str| {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let tags: BTreeMap<String, String> = lines
        .map(|(key, value)| (format!("{PREFIX}{key}"), value.to_owned()))
        .collect();
    let image = Image {
        name: Some("golden".into()),
        creation_date: Some("2026-11-21T12:00:00.000Z".into()),
        tags: tags.clone(),
        ..Image::new(
            "ami-0123456789abcdef0".parse().unwrap(),
            "111122223333".parse().unwrap(),
        )
    };
    let own: OrganizationArn = "arn:aws:organizations::111122223333:organization/o-exampleorgid"
        .parse()
        .unwrap();
    let groups = GROUPS.map(|(name, list)| StoredParameter {
        name: name.to_owned(),
        value: StoredValue::Text(list.to_owned()),
        modified: None,
    });
    let (policy, _) = Policy::parse("/p", groups.to_vec(), Some(&own)).unwrap();
    let context = WishContext {
        policy: &policy,
        organization: Some(&own),
        partition: "aws",
    };
    let directives = Directives::of(&image, &DirectiveTags::read(&tags, PREFIX), &context);

    for refusal in &directives.refusals {
        assert!(tags.contains_key(&refusal.resource()), "{refusal:?}");
        assert!(refusal.message().ends_with('.'), "{refusal:?}");
    }
    if let Some(wish) = &directives.launch_permission {
        let mut named: Vec<&Grantee> = Vec::new();
        match wish {
            LaunchPermissionWish::Exactly(grantees) => named.extend(grantees),
            LaunchPermissionWish::Edit { add, remove } => {
                assert!(add.is_disjoint(remove));
                named.extend(add.iter().chain(remove));
            }
        }
        for grantee in named {
            assert_eq!(grantee.as_str().parse::<Grantee>().as_ref(), Ok(grantee));
            assert!(
                grantee
                    .partition()
                    .is_none_or(|partition| partition == "aws")
            );
            let last = grantee.as_str().rsplit('/').next().unwrap_or_default();
            assert!(
                text.contains(last) || text.contains('@'),
                "{grantee} stands in no tag"
            );
        }
    }
    if let Some(wish) = &directives.copy_permission {
        assert!(wish.add.is_disjoint(&wish.remove));
        for account in wish.add.iter().chain(&wish.remove) {
            let account = account.as_str();
            assert!(
                text.contains(account) || text.contains('@'),
                "{account} stands in no tag"
            );
        }
    }
    if let Some(description) = &directives.description {
        assert!(description.is_ascii() && (1..=255).contains(&description.len()));
    }
    for (key, value) in &directives.shared_tags {
        assert!((1..=114).contains(&key.chars().count()));
        assert!(
            value
                .as_ref()
                .is_none_or(|value| value.chars().count() <= 256)
        );
    }
});
