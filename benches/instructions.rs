//! The instructions of the pure core for an image, an event and a policy, and their budgets:
//! `make budgets`.
//!
//! Valgrind's callgrind counts them, since times on shared machines vary and counts do not. Each
//! case runs in a process of its own, once without rounds and once with them; the difference is the
//! cost of the rounds.

use std::{collections::BTreeMap, hint::black_box, process::Command};

use ami_warden_core::{
    AllowedGrantees, DecodeContext, DirectiveTags, Directives, Event, Guardrails, Image,
    LaunchPermissions, Observed, Policy, ShareFacts, StoredParameter, StoredValue, WishContext,
    plan,
};
use serde_json::Value;

const ROUNDS: u64 = 200;

struct Case {
    name: &'static str,
    what: &'static str,
    /// The most instructions a round may take: about a quarter more than when it was set.
    budget: u64,
    run: fn(u64),
}

const CASES: [Case; 3] = [
    Case {
        name: "event",
        what: "decode a CloudTrail event of CreateTags",
        budget: 125_000,
        run: event,
    },
    Case {
        name: "plan",
        what: "read the tags of an image and plan description, IMDS support and eight grantees",
        budget: 88_000,
        run: decide,
    },
    Case {
        name: "rules",
        what: "parse a policy of 20 rules and 3 groups, and match an image against it",
        // A key that stands twice is an error, so rules are read into a tree first.
        budget: 1_250_000,
        run: rules,
    },
];

fn main() {
    if let [_, name, rounds] = std::env::args().collect::<Vec<_>>().as_slice()
        && let Some(case) = CASES.iter().find(|case| case.name == name)
    {
        return (case.run)(rounds.parse().expect("a number of rounds"));
    }
    println!("| what | instructions | budget |\n| --- | ---: | ---: |");
    let mut over = Vec::new();
    for Case {
        name, what, budget, ..
    } in CASES
    {
        let instructions = (count(name, ROUNDS) - count(name, 0)) / ROUNDS;
        println!("| {what} | {instructions} | {budget} |");
        if instructions > budget {
            over.push(format!(
                "{name}: {instructions} instructions, and the budget is {budget}"
            ));
        }
    }
    assert!(over.is_empty(), "over budget: {}", over.join("; "));
}

/// The instructions of a process that runs the case for so many rounds.
fn count(case: &str, rounds: u64) -> u64 {
    let program = std::env::current_exe().expect("the path of this program");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([case, &rounds.to_string()]);
    let output = valgrind.output().unwrap_or_else(|error| {
        panic!("valgrind cannot be started ({error}); on Debian: apt install valgrind")
    });
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.unwrap_or_else(|| panic!("valgrind counted nothing: {text}"));
    count.trim().parse().expect("a count")
}

fn event(rounds: u64) {
    let text = include_str!("../events/call-create-tags.json");
    let context = DecodeContext {
        policy_path: Some("/ami-warden"),
        allow_list_parameter: None,
        partition: "aws",
        requests_allowed: true,
    };
    for _ in 0..rounds {
        let event: Value = serde_json::from_str(black_box(text)).expect("JSON");
        let parsed = Event::parse(&event, &context);
        assert!(matches!(black_box(parsed), Ok(Event::Job(_))));
    }
}

fn decide(rounds: u64) {
    let image = image([
        (
            "ami-warden:launch-permission",
            "= 222233334444 333344445555 444455556666 555566667777 666677778888 777788889999 \
             888899990000",
        ),
        (
            "ami-warden:launch-permission:2",
            "arn:aws:organizations::111122223333:organization/o-exampleorgid",
        ),
        ("ami-warden:description", "{Name}, release {tag:release}"),
        ("ami-warden:imds-support", "v2.0"),
        ("release", "stable"),
    ]);
    let guardrails = Guardrails {
        allowed_grantees: AllowedGrantees::parse("*", None).expect("a list"),
        ..Guardrails::default()
    };
    let (policy, now) = (
        Policy::default(),
        "2026-11-21T12:00:00Z".parse().expect("a time"),
    );
    let context = WishContext {
        policy: &policy,
        organization: None,
        partition: "aws",
    };
    let (permissions, facts) = (LaunchPermissions::default(), ShareFacts::default());
    let copy_permissions = BTreeMap::new();
    for _ in 0..rounds {
        let image = black_box(&image);
        let directives = Directives::of(
            image,
            &DirectiveTags::read(&image.tags, "ami-warden:"),
            &context,
        );
        let observed = Observed {
            image,
            launch_permissions: &permissions,
            copy_permissions: &copy_permissions,
            facts: &facts,
        };
        let plan = plan(&observed, &directives, &guardrails, now);
        assert!(
            plan.changes.len() == 3 && plan.refusals.is_empty(),
            "{plan:?}"
        );
    }
}

fn rules(rounds: u64) {
    let rule = |n: usize| {
        format!(
            r#"{{ "Name": "{n}", "LaunchPermission": "@all-teams", "Match": {{
                "Name": "golden-{n}-*", "Tags": {{ "release": ["stable", "lts-*"] }} }} }}"#
        )
    };
    let rules = format!("[{}]", (0..20).map(rule).collect::<Vec<_>>().join(","));
    let parameters = [
        ("/p/rules", rules.as_str()),
        ("/p/groups/all-teams", "@one @two"),
        ("/p/groups/one", "222233334444,333344445555"),
        ("/p/groups/two", "444455556666"),
    ];
    let parameters = parameters.map(|(name, value)| StoredParameter {
        name: name.to_owned(),
        value: StoredValue::Text(value.to_owned()),
        modified: None,
    });
    let image = Image {
        name: Some("golden-19-x".into()),
        ..image([("release", "lts-24.04")])
    };
    for _ in 0..rounds {
        let policy = Policy::parse("/p", black_box(parameters.to_vec()), None)
            .expect("a policy")
            .0;
        let context = WishContext {
            policy: &policy,
            organization: None,
            partition: "aws",
        };
        let directives = Directives::of(
            &image,
            &DirectiveTags::read(&image.tags, "ami-warden:"),
            &context,
        );
        assert!(directives.launch_permission.is_some() && directives.refusals.is_empty());
    }
}

fn image<const N: usize>(tags: [(&str, &str); N]) -> Image {
    Image {
        name: Some("golden".into()),
        tags: tags
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        ..Image::new(
            "ami-0123456789abcdef0".parse().expect("an id"),
            "111122223333".parse().expect("an account"),
        )
    }
}
