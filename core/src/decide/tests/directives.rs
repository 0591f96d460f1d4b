//! The other attributes, and the order of all changes.

use super::*;
use crate::{
    decide::plan::plan_removals,
    model::{image::DeprecationTime, refusal::RefusalCode},
    testing::image,
};

const ORDER: [&str; 5] = [
    "description d",
    "imds v2.0",
    "deprecate 2027-01-01T00:00:00+00:00",
    "untag a",
    "tag os=x",
];

fn tagged() -> Image {
    image()
        .device("/dev/sda", Some("snap-1"), None)
        .tag("ec2:SharedTag/a", "old")
}

#[test]
fn removals_that_go_alone_come_first_and_grants_last() {
    let image = tagged();
    let world = World::of(image.clone())
        .launched_by("222233334444")
        .copied_by("snap-1", "222233334444");
    let order = |launch: &str, before: &[&str], after: &[&str]| {
        let wishes = [
            share(launch),
            copy("333344445555", "222233334444"),
            describe(&image),
        ];
        let plan = world.plan(&together(wishes), &allow_all());
        assert_eq!(changes(&plan), [before, &ORDER, after].concat());
    };
    let (remove, add) = ("copy snap-1 -222233334444", "copy snap-1 +333344445555");
    order("-222233334444", &["launch + -222233334444", remove], &[add]);
    order("=", &["launch + -222233334444", remove], &[add]);
    order("333344445555", &[remove], &[add, "launch +333344445555 -"]);
    order(
        "333344445555 -222233334444",
        &[remove],
        &[add, "launch +333344445555 -222233334444"],
    );
    order(
        "= 333344445555",
        &[remove],
        &[add, "launch +333344445555 -222233334444"],
    );
}

#[test]
fn nothing_is_planned_if_every_attribute_is_as_wanted() {
    let mut world = World::of(tagged());
    let wishes = [
        share("333344445555"),
        copy("333344445555", ""),
        describe(&world.image),
    ];
    let wish = together(wishes);
    let plan = world.plan(&wish, &allow_all());
    assert_eq!(plan.changes.len(), 7);
    world.apply(&plan.changes);
    assert_eq!(world.plan(&wish, &Guardrails::default()), Plan::default());
}

#[test]
fn a_shared_tag_that_the_list_does_not_cover_is_neither_written_nor_deleted() {
    let world = World::of(tagged());
    let guardrails = Guardrails {
        shared_tags: SharedTagPatterns::parse("o*").unwrap(),
        ..Guardrails::default()
    };
    let plan = world.plan(&describe(&world.image), &guardrails);
    assert!(changes(&plan).contains(&"tag os=x".to_owned()));
    assert_eq!(
        refusals(&plan),
        [("shared-tag-not-allowed", "ec2:SharedTag/a".into())]
    );
    assert_eq!(plan.refusals[0].attribute, Attribute::SharedTag("a".into()));
    let plan = world.plan(&describe(&world.image), &Guardrails::default());
    assert_eq!(codes(&plan), ["shared-tag-not-allowed"; 2]);
}

#[test]
fn a_shared_tag_that_is_as_wanted_needs_no_permission() {
    let shared = BTreeMap::from([("os".into(), Some("x".into())), ("a".into(), None)]);
    let wish = Directives {
        shared_tags: shared,
        ..Directives::default()
    };
    let world = World::of(image().tag("ec2:SharedTag/os", "x"));
    assert_eq!(world.plan(&wish, &Guardrails::default()), Plan::default());
}

fn deprecated_at(time: &str) -> Image {
    let mut image = image();
    image.creation_date = Some("2026-01-01T10:20:20.000Z".into());
    image.deprecation_time = DeprecationTime::read(time);
    image
}

fn private(time: &str) -> Image {
    if time.is_empty() {
        let image = deprecated_at("x");
        return Image {
            deprecation_time: DeprecationTime::Never,
            ..image
        };
    }
    deprecated_at(time)
}

/// The changes of `deprecate-at`, or the message of its refusal.
fn deprecation(world: &World, value: &str, others: Directives) -> Result<Vec<String>, String> {
    let wish = together([deprecate(&world.image, value), others]);
    let plan = world.plan(&wish, &allow_all());
    let refused =
        |refusal: &&crate::model::refusal::Refusal| refusal.attribute == Attribute::DeprecationTime;
    match plan.refusals.iter().find(refused) {
        None => Ok(changes(&plan)),
        Some(refusal) => {
            assert_eq!(refusal.code(), RefusalCode::InvalidDirective);
            assert_eq!(refusal.resource(), "ami-warden:deprecate-at");
            let message = refusal.message();
            let head = format!("The tag ami-warden:deprecate-at: {value:?} is not possible: ");
            assert!(message.starts_with(&head), "{message}");
            Err(message[head.len()..].to_owned())
        }
    }
}

#[test]
fn a_deprecation_time_is_compared_by_the_minute() {
    for (present, value, expected) in [
        ("2027-06-30T12:00:00.000Z", "2027-06-30T12:00:29Z", None),
        ("2027-06-30T12:00:00.000Z", "2027-06-30T11:59:30Z", None),
        ("2027-06-30T12:00:29.000Z", "2027-06-30T12:00:00Z", None),
        (
            "2027-06-30T12:01:00.000Z",
            "2027-06-30T12:00:00Z",
            Some("2027-06-30T12:00:00+00:00"),
        ),
        ("", "2027-06-30", Some("2027-06-30T00:00:00+00:00")),
        ("", "365d", Some("2027-01-01T10:20:00+00:00")),
        ("2027-06-30T12:00:00.000Z", "-", Some("never")),
        ("", "-", None),
        ("unreadable", "-", Some("never")),
        (
            "unreadable",
            "2027-06-30",
            Some("2027-06-30T00:00:00+00:00"),
        ),
    ] {
        let world = World::of(private(present));
        let expected: Vec<_> = expected
            .into_iter()
            .map(|time| format!("deprecate {time}"))
            .collect();
        let planned = deprecation(&world, value, Directives::default());
        assert_eq!(planned, Ok(expected), "{present} {value}");
    }
}

#[test]
fn a_change_of_the_deprecation_time_shows_the_present_text() {
    let world = World::of(private("2027-06-30T12:00:00.000Z"));
    let plan = world.plan(&deprecate(&world.image, "-"), &Guardrails::default());
    let from = Some("2027-06-30T12:00:00.000Z".to_owned());
    assert_eq!(plan.changes, [Change::Deprecation { from, to: None }]);
}

#[test]
fn a_time_that_has_passed_is_refused_unless_the_image_has_it_already() {
    let present = "2026-11-01T00:00:00.000Z";
    for (value, passed) in [
        ("2026-11-01", false),
        ("2026-11-02", true),
        ("2026-11-21T12:00:00Z", true),
    ] {
        let world = World::of(private(present));
        let planned = deprecation(&world, value, Directives::default());
        if passed {
            let message = planned.unwrap_err();
            assert!(
                message.ends_with(" has passed; the latest possible time is 2036-11-21T12:00:00Z."),
                "{message}"
            );
        } else {
            assert_eq!(planned, Ok(vec![]));
        }
    }
    let world = World::of(private(present));
    let soon = deprecation(&world, "2026-11-21T12:01:00Z", Directives::default());
    assert_eq!(soon, Ok(vec!["deprecate 2026-11-21T12:01:00+00:00".into()]));
}

#[test]
fn a_time_over_ten_years_ahead_is_refused() {
    let world = World::of(private(""));
    assert!(deprecation(&world, "2036-11-21T12:00:00Z", Directives::default()).is_ok());
    assert_eq!(
        deprecation(&world, "2036-11-21T12:01:00Z", Directives::default()),
        Err(
            "2036-11-21T12:01:00Z is over ten years ahead; the latest possible time is \
             2036-11-21T12:00:00Z."
                .into()
        )
    );
}

#[test]
fn a_public_image_is_deprecated_two_years_after_its_creation_and_gets_no_more_time() {
    let latest = "2028-01-01T10:20:00Z";
    let public = |present: &str| World::of(private(present)).launched_by("all");
    let becomes_public = |present: &str| (World::of(private(present)), share("all"));
    for (world, others) in [
        (public(""), Directives::default()),
        (public(""), share("444455556666")),
        becomes_public(""),
    ] {
        let planned = |value| deprecation(&world, value, others.clone());
        assert!(planned(latest).is_ok());
        assert!(planned("2027-01-01").is_ok());
        for value in ["2028-01-01T10:21:00Z", "2030-01-01", "-"] {
            let message = planned(value).unwrap_err();
            assert!(
                message.contains(&format!("the latest possible time is {latest}.")),
                "{message}"
            );
        }
    }
    for (world, others) in [
        (public("2027-06-30T00:00:00.000Z"), Directives::default()),
        becomes_public("2027-06-30T00:00:00.000Z"),
    ] {
        let planned = |value| deprecation(&world, value, others.clone());
        assert!(planned("2027-06-30").is_ok() && planned("2027-06-29").is_ok());
        for value in ["2027-06-30T00:01:00Z", "2027-12-31", "2030-01-01", "-"] {
            let message = planned(value).unwrap_err();
            assert!(message.contains("is 2027-06-30T00:00:00Z."), "{message}");
        }
    }
}

#[test]
fn an_image_is_public_if_its_own_flag_or_its_permissions_say_so() {
    for (flag, permissions) in [(true, ""), (false, "all")] {
        let mut world = World::of(private("2027-06-30T00:00:00.000Z")).launched_by(permissions);
        world.image.public = flag;
        let message = deprecation(&world, "-", Directives::default()).unwrap_err();
        assert!(
            message.contains("EC2 deprecates every public image"),
            "{message}"
        );
    }
}

#[test]
fn a_public_image_whose_time_has_passed_has_no_possible_time() {
    for passed in ["2026-06-30T00:00:00.000Z", "2026-11-21T12:00:00.000Z"] {
        let world = World::of(private(passed)).launched_by("all");
        let message = deprecation(&world, "2027-01-01", Directives::default()).unwrap_err();
        assert!(
            message.contains("no time is possible any more"),
            "{message}"
        );
    }
}

#[test]
fn an_image_that_is_made_private_first_may_be_deprecated_at_any_time() {
    let world = World::of(private("2027-06-30T00:00:00.000Z")).launched_by("all");
    let planned = deprecation(&world, "-", share("-all"));
    assert_eq!(
        planned,
        Ok(vec!["launch + -all".into(), "deprecate never".into()])
    );
    // With an addition the removal goes last, and EC2 still has the image as public.
    let message = deprecation(&world, "-", share("444455556666 -all")).unwrap_err();
    assert!(
        message.contains("EC2 deprecates every public image"),
        "{message}"
    );
}

#[test]
fn an_image_that_stays_private_because_all_is_refused_may_be_deprecated_at_any_time() {
    let world = World::of(private(""));
    let wish = together([deprecate(&world.image, "2030-01-01"), share("all")]);
    let plan = world.plan(&wish, &Guardrails::default());
    assert_eq!(changes(&plan), ["deprecate 2030-01-01T00:00:00+00:00"]);
    assert_eq!(codes(&plan), ["public-not-allowed"]);
}

#[test]
fn a_new_deprecation_time_stands_in_the_place_of_one_that_cannot_be_read() {
    let world = World::of(private("soon"));
    let planned = deprecation(&world, "2027-01-01", share("all"));
    let expected = vec![
        "deprecate 2027-01-01T00:00:00+00:00".into(),
        "launch +all -".into(),
    ];
    assert_eq!(planned, Ok(expected));
}

#[test]
fn a_deprecated_image_is_not_made_public_by_a_later_deprecation_time() {
    let world = World::of(private("2026-06-30T00:00:00.000Z"));
    let wish = together([deprecate(&world.image, "2027-01-01"), share("all")]);
    let plan = world.plan(&wish, &allow_all());
    assert_eq!(
        (changes(&plan).len(), codes(&plan)),
        (0, vec!["deprecated", "invalid-directive"])
    );
}

#[test]
fn a_deprecation_by_a_rule_is_refused_in_the_name_of_the_rule() {
    let image = private("");
    let mut wish = deprecate(&image, "2020-01-01");
    wish.stated[0].sources = vec![Source::Rule("stable".into())];
    let plan = World::of(image).plan(&wish, &allow_all());
    assert_eq!(refusals(&plan), [("invalid-directive", "stable".into())]);
    assert!(
        plan.refusals[0]
            .message()
            .starts_with("The rule \"stable\": \"2020-01-01\"")
    );
}

#[test]
fn removals_need_no_facts_and_leave_the_rest_to_the_whole_plan() {
    let image = tagged();
    let world = World::of(image.clone())
        .launched_by("222233334444")
        .copied_by("snap-1", "222233334444");
    let early = |launch: &str, guardrails: &Guardrails| {
        let wishes = [
            share(launch),
            copy("333344445555", "222233334444"),
            describe(&image),
        ];
        let plan = plan_removals(&world.observed(), &together(wishes), guardrails);
        assert_eq!(plan.refusals, []);
        changes(&plan)
    };
    let (launch, copy) = ("launch + -222233334444", "copy snap-1 -222233334444");
    let default = Guardrails::default();
    assert_eq!(early("-222233334444", &default), [launch, copy]);
    assert_eq!(early("all -222233334444", &default), [launch, copy]);
    assert_eq!(early("=", &default), [launch, copy]);
    assert_eq!(early("= 333344445555", &default), [copy]);
    assert_eq!(early("333344445555", &default), [copy]);
    let none = Guardrails {
        max_removals: Some(0),
        ..default
    };
    assert_eq!(early("-222233334444", &none), [copy]);
}

#[test]
fn an_early_removal_carries_its_note() {
    let world = World::of(image()).launched_by("222233334444 all");
    let plan = plan_removals(
        &world.observed(),
        &share("-222233334444"),
        &Guardrails::default(),
    );
    assert!(
        plan.notes[0].starts_with("222233334444 may still"),
        "{:?}",
        plan.notes
    );
}
