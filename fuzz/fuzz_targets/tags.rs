//! Whatever tags say, it is a wish whose parts stand in the tags, or a refusal that names the tag; never a panic.
//!
//! The input is lines of `KEY=VALUE`; keys are completed with the prefix.

#![no_main]

use std::collections::BTreeMap;

use ami_warden::{
    directive::{Context, DirectiveTags, Directives, LaunchPermissionWish},
    image::{Grantee, Image, OrganizationArn},
    policy::Policy,
};
use libfuzzer_sys::fuzz_target;

const PREFIX: &str = "ami-warden:";

fuzz_target!(|text: &str| {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let tags: BTreeMap<String, String> = lines.map(|(key, value)| (format!("{PREFIX}{key}"), value.to_owned())).collect();
    let image = Image {
        name: Some("golden".into()),
        tags: tags.clone(),
        ..Image::new("ami-0123456789abcdef0".parse().unwrap(), "111122223333")
    };
    let own: OrganizationArn = "arn:aws:organizations::111122223333:organization/o-exampleorgid".parse().unwrap();
    let groups = [("/p/groups/team".to_owned(), "222233334444,@other".to_owned()), ("/p/groups/other".to_owned(), "all".to_owned())];
    let policy = Policy::parse("/p", groups).unwrap();
    let context = Context { policy: &policy, organization: Some(&own), partition: "aws" };
    let directives = Directives::of(&image, &DirectiveTags::read(&tags, PREFIX), &context);

    for refusal in &directives.refusals {
        assert!(tags.contains_key(&refusal.resource), "{refusal:?}");
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
            assert!(grantee.partition().is_none_or(|partition| partition == "aws"));
            let last = grantee.as_str().rsplit('/').next().unwrap_or_default();
            assert!(text.contains(last) || text.contains('@'), "{grantee} stands in no tag");
        }
    }
    if let Some(description) = &directives.description {
        assert!(description.is_ascii() && (1..=255).contains(&description.len()));
    }
});
