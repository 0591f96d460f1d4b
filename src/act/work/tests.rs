//! Tests of the work on one image: each call that went out, and its place in the record.

use std::{cell::RefCell, time::Duration};

use ami_warden_core::{
    CopyPermissionChange, DeprecationTime, Direction, ImageState, ImdsSupport,
    LaunchPermissionChange, PolicyFault,
    testing::{accounts, grantees, image},
};
use tokio::time::Instant;

use super::*;
use crate::act::retry::Retry;

const A: &str = "222233334444";
const B: &str = "333344445555";
const C: &str = "444455556666";

/// Work on the image of all tests.
fn work<'a>(attempts: &'a Attempts<'a>) -> Work<'a> {
    Work::new(image().id, attempts)
}

/// Runs the test with attempts that have a minute.
fn with_attempts(test: impl FnOnce(&Attempts<'_>)) {
    let retry = Retry::until(Instant::now() + Duration::from_secs(60));
    test(&retry.attempts());
}

fn launch_change(before: &str, add: &str, remove: &str, exact: bool) -> LaunchPermissionChange {
    let (add, remove) = (grantees(add), grantees(remove));
    LaunchPermissionChange::new(&grantees(before), add, remove, exact).unwrap()
}

fn launch(before: &str, add: &str, remove: &str) -> Change {
    Change::LaunchPermission(launch_change(before, add, remove, false))
}

fn description(to: &str) -> Change {
    Change::Description {
        from: None,
        to: to.into(),
    }
}

fn refused(code: &'static str) -> CallError {
    let error = CallError::answered("ModifyImageAttribute", code, 400, "no");
    assert_eq!(error.kind, ErrorKind::Refused, "{code}");
    error
}

fn permissions(launch: Option<&str>, copy: &[(&str, &str)]) -> Permissions {
    let copy = copy.iter();
    let copy = copy.map(|(snapshot, list)| ((*snapshot).to_owned(), accounts(list)));
    Permissions {
        launch: launch.map(grantees),
        copy: copy.collect(),
        read_at: Instant::now(),
    }
}

fn mistyped() -> Refusal {
    let attribute = Attribute::UnknownTag("ami-warden:hodl".into());
    let ground = Ground::InvalidDirective {
        author: "ami-warden:hodl".into(),
        message: "unknown".into(),
    };
    Refusal::new(attribute, ground)
}

#[test]
fn a_note_is_given_once() {
    with_attempts(|attempts| {
        let mut work = work(attempts);
        for note in ["one", "two", "one"] {
            work.note(note);
        }
        assert_eq!(work.record.notes, ["one", "two"]);
    });
}

#[test]
fn a_rejected_change_is_not_sent_again_and_its_removals_are_until_they_are_rejected_too() {
    with_attempts(|attempts| {
        let mut work = work(attempts);
        let changes = vec![description("d"), launch(A, B, A)];
        assert_eq!(
            work.without_rejected(changes.clone()),
            (changes.clone(), false)
        );
        work.reject(launch(A, B, A), &refused("InvalidParameterValue"));
        let removals = launch(A, "", A);
        assert_eq!(
            work.without_rejected(changes.clone()),
            (vec![description("d"), removals.clone()], true)
        );
        work.reject(removals, &refused("InvalidParameterValue"));
        assert_eq!(
            work.without_rejected(changes),
            (vec![description("d")], true)
        );
    });
}

#[test]
fn a_rejection_is_told_once_for_each_attribute_and_code() {
    with_attempts(|attempts| {
        let mut work = work(attempts);
        work.reject(launch(A, B, A), &refused("InvalidParameterValue"));
        work.reject(launch(A, "", A), &refused("InvalidParameterValue"));
        work.reject(description("d"), &refused("InvalidParameterValue"));
        let attributes: Vec<_> = work.rejections().into_iter().map(|r| r.attribute).collect();
        assert_eq!(
            attributes,
            [Attribute::LaunchPermission, Attribute::Description]
        );
    });
}

#[test]
fn a_rejected_way_to_the_public_is_a_new_ground_unless_its_code_is_known() {
    let new_ground = |change: &Change, code| {
        let refusal = rejected(image().id, change, &refused(code));
        match refusal.ground {
            Ground::Ec2Refused(refused) => {
                assert_eq!(refused.image, image().id);
                assert_eq!(refused.operation, "ModifyImageAttribute");
                assert_eq!(
                    (refused.code.as_str(), refused.message.as_str()),
                    (code, "no")
                );
                refused.new_ground
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(new_ground(&launch("", "all", ""), "InvalidParameterValue"));
    assert!(!new_ground(&launch("", "all", ""), "OperationNotPermitted"));
    assert!(!new_ground(&launch("", A, ""), "InvalidParameterValue"));
    assert!(!new_ground(
        &launch("all", A, "all"),
        "InvalidParameterValue"
    ));
    assert!(!new_ground(&description("d"), "InvalidParameterValue"));
}

#[test]
fn a_change_that_ec2_took_twice_is_one_change() {
    with_attempts(|attempts| {
        let mut work = work(attempts);
        work.earlier_error = Some(refused("InvalidParameterValue"));
        let change = launch_change(A, B, "", false);
        work.done(description("d"));
        assert_eq!((&work.earlier_error, &work.permitted), (&None, &None));
        work.done(Change::LaunchPermission(change.clone()));
        work.done(Change::LaunchPermission(change.clone()));
        work.done(description("other"));
        assert_eq!(work.permitted.as_ref(), Some(&change));
        let read_back = Some(ReadBack {
            after: grantees(&format!("{A} {B}")),
            confirmed: false,
        });
        let record = |change, read_back| ChangeRecord {
            change,
            effect: Effect::Done { read_back },
        };
        assert_eq!(
            work.record.changes,
            [
                record(description("d"), None),
                record(Change::LaunchPermission(change), read_back),
                record(description("other"), None),
            ]
        );
    });
}

#[test]
fn a_change_that_was_undone_in_between_is_recorded_again() {
    let copy = |snapshot: &str, direction, list: &str| {
        Change::CopyPermission(CopyPermissionChange {
            snapshot: snapshot.into(),
            direction,
            accounts: accounts(list),
        })
    };
    let (add, remove) = (Direction::Add, Direction::Remove);
    for (first, between, recorded) in [
        (launch(A, B, ""), launch(&format!("{A} {B}"), "", B), 3),
        (launch(A, "", A), launch("", A, ""), 3),
        (launch(A, B, ""), launch(A, C, ""), 2),
        (launch(A, B, ""), description("d"), 2),
        (description("d"), description("other"), 3),
        (copy("snap-1", add, A), copy("snap-1", remove, A), 3),
        (copy("snap-1", add, A), copy("snap-1", remove, B), 2),
        (copy("snap-1", add, A), copy("snap-1", add, A), 1),
        (copy("snap-1", add, A), copy("snap-2", remove, A), 2),
    ] {
        with_attempts(|attempts| {
            let mut work = work(attempts);
            for change in [&first, &between, &first] {
                work.done(change.clone());
            }
            let changes = &work.record.changes;
            assert_eq!(changes.len(), recorded, "{first:?} {between:?}");
        });
    }
}

#[test]
fn a_rejection_is_forgotten_when_nobody_wants_the_change_any_more() {
    let change = launch(A, B, A);
    let removals = launch(A, "", A);
    for (rejected, wanted, kept) in [
        (&change, vec![description("d"), change.clone()], 1),
        (&removals, vec![change.clone()], 1),
        (&removals, vec![removals.clone()], 1),
        (&change, vec![removals.clone()], 0),
        (&change, vec![description("d")], 0),
        (&change, vec![], 0),
    ] {
        with_attempts(|attempts| {
            let mut work = work(attempts);
            work.reject(rejected.clone(), &refused("InvalidParameterValue"));
            work.forget_withdrawn(&wanted);
            assert_eq!(work.rejections().len(), kept, "{rejected:?} {wanted:?}");
        });
    }
}

#[test]
fn a_change_whose_answer_was_lost_is_recorded_as_soon_as_its_effect_shows() {
    with_attempts(|attempts| {
        let mut work = work(attempts);
        work.answer_lost(description("d"));
        work.answer_lost(description("never"));
        let mut image = image();
        image.description = Some("d".into());
        work.settle_unsure(&image, &permissions(None, &[]));
        let changes: Vec<_> = work.record.changes.iter().map(|c| &c.change).collect();
        assert_eq!(changes, [&description("d")]);
    });
}

#[test]
fn the_effect_of_a_change_shows_where_ec2_keeps_it() {
    let time = |text: &str| Some(text.parse().unwrap());
    let mut image = image().tag("ec2:SharedTag/os", "linux");
    image.description = Some("d".into());
    image.imds_support = Some("v2.0".into());
    image.deprecation_time = DeprecationTime::read("2027-01-01T00:00:00.000Z");
    let seen = permissions(Some(&format!("{A} {B}")), &[("snap-1", A)]);
    let copy = |snapshot: &str, direction, list: &str| {
        Change::CopyPermission(CopyPermissionChange {
            snapshot: snapshot.into(),
            direction,
            accounts: accounts(list),
        })
    };
    let tag = |key: &str, to: Option<&str>| Change::SharedTag {
        key: key.into(),
        from: None,
        to: to.map(Into::into),
    };
    let deprecation = |from: Option<&str>, to| Change::Deprecation {
        from: from.map(Into::into),
        to,
    };
    let imds = Change::ImdsSupport {
        from: None,
        to: ImdsSupport::V2,
    };
    let cases = [
        (description("d"), true),
        (description("e"), false),
        (imds.clone(), true),
        (deprecation(None, time("2027-01-01T00:00:00Z")), true),
        (
            deprecation(
                Some("2027-01-01T00:00:00.000Z"),
                time("2028-01-01T00:00:00Z"),
            ),
            false,
        ),
        (deprecation(Some("2027-01-01T00:00:00.000Z"), None), false),
        (tag("os", Some("linux")), true),
        (tag("os", Some("bsd")), false),
        (tag("os", None), false),
        (tag("gone", None), true),
        (copy("snap-1", Direction::Add, A), true),
        (copy("snap-1", Direction::Add, &format!("{A} {B}")), false),
        (copy("snap-1", Direction::Remove, B), true),
        (
            copy("snap-1", Direction::Remove, &format!("{A} {B}")),
            false,
        ),
        (copy("snap-2", Direction::Add, A), false),
        (copy("snap-2", Direction::Remove, A), false),
        (launch("", &format!("{A} {B}"), ""), true),
        (launch("", &format!("{A} {C}"), ""), false),
        (launch(C, A, C), true),
        (launch(B, A, B), false),
        (launch(C, "", C), true),
    ];
    for (change, shown) in cases {
        assert_eq!(shows(&change, &image, &seen), shown, "{change:?}");
    }
    assert!(!shows(&launch("", A, ""), &image, &permissions(None, &[])));
    image.imds_support = None;
    assert!(!shows(&imds, &image, &seen));
    image.deprecation_time = DeprecationTime::Never;
    assert!(shows(
        &deprecation(Some("2027-01-01T00:00:00.000Z"), None),
        &image,
        &seen
    ));
}

#[test]
fn launch_permissions_are_confirmed_only_as_planned_and_under_the_same_wish() {
    let problem = "The launch permissions were changed and not confirmed: DescribeImageAttribute \
                   failed with UnauthorizedOperation: no.";
    let not_as_planned = "The launch permissions were changed and not confirmed: EC2 does not \
                          show them as planned.";
    let other_wish = "The wish changed while the launch permissions were written.";
    let denied = CallError {
        operation: "DescribeImageAttribute",
        code: "UnauthorizedOperation".into(),
        message: "no".into(),
        kind: ErrorKind::Denied,
    };
    let as_planned = Confirmation::AsPlanned(grantees(C));
    let differs = Confirmation::Differs(grantees(C));
    let unread = Confirmation::Unread(grantees(C), denied);
    for (seen, same_wish, confirmed, notes) in [
        (&as_planned, true, true, vec![]),
        (&as_planned, false, false, vec![other_wish]),
        (&differs, true, false, vec![not_as_planned]),
        (&unread, true, false, vec![problem]),
        (&unread, false, false, vec![problem]),
    ] {
        with_attempts(|attempts| {
            let mut work = work(attempts);
            work.done(launch("", A, ""));
            work.done(launch(A, B, ""));
            work.done(description("d"));
            work.confirm(seen, same_wish);
            let read_back: Vec<_> = work
                .record
                .changes
                .iter()
                .map(|change| match &change.effect {
                    Effect::Done { read_back } => read_back.clone(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let first = ReadBack {
                after: grantees(A),
                confirmed: false,
            };
            let last = ReadBack {
                after: grantees(C),
                confirmed,
            };
            assert_eq!(read_back, [Some(first), Some(last), None]);
            assert_eq!(work.record.notes, notes);
        });
    }
}

#[test]
fn a_failure_keeps_the_first_error_and_what_was_refused() {
    with_attempts(|attempts| {
        let directives = Directives {
            refusals: vec![mistyped()],
            ..Directives::default()
        };
        let mut work = work(attempts);
        work.fail(unsettled(5), &directives);
        work.fail(too_slow("CreateTags", 5, 10), &Directives::default());
        assert_eq!(work.record.refusals, [mistyped()]);
        assert_eq!(work.record.error, Some(unsettled(5)));
    });
}

#[test]
fn a_look_that_ends_the_work_keeps_the_changes_that_were_made() {
    with_attempts(|attempts| {
        let mut work = work(attempts);
        work.note("earlier");
        work.done(description("d"));
        let mut ended = ImageRecord::skipped(image().id, SkipReason::Hold);
        ended.notes.push("now".into());
        work.end_as(ended);
        assert_eq!(work.record.changes.len(), 1);
        assert_eq!(work.record.skipped, Some(SkipReason::Hold));
        assert_eq!(
            work.record.notes,
            [
                "now",
                "earlier",
                "The image was left alone afterwards: hold."
            ]
        );
        let (record, written_by) = work.finish(false);
        assert_eq!(record.outcome, Outcome::Applied);
        assert!(written_by.is_none());
    });
    with_attempts(|attempts| {
        let mut work = work(attempts);
        work.end_as(ImageRecord::skipped(image().id, SkipReason::Hold));
        let (record, _) = work.finish(false);
        assert_eq!(record, ImageRecord::skipped(image().id, SkipReason::Hold));
    });
}

#[test]
fn a_timeout_says_less_than_the_error_before_it() {
    let timeout = CallError::timeout("CreateTags");
    let throttled = CallError::answered("CreateTags", "RequestLimitExceeded", 503, "slow down");
    let denied = CallError::answered("CreateTags", "UnauthorizedOperation", 403, "no");
    let slow = too_slow("CreateTags", 5, 10);
    for (error, trouble, told) in [
        (Some(&slow), Some(&throttled), Some(&slow)),
        (Some(&timeout), Some(&throttled), Some(&throttled)),
        (Some(&timeout), None, Some(&timeout)),
        (Some(&denied), Some(&throttled), Some(&denied)),
        (None, Some(&throttled), None),
    ] {
        with_attempts(|attempts| {
            let mut work = work(attempts);
            work.record.error = error.cloned();
            work.earlier_error = trouble.cloned();
            let (record, _) = work.finish(false);
            assert_eq!(record.error.as_ref(), told);
        });
    }
}

#[test]
fn the_outcome_of_an_image_is_the_worst_that_happened() {
    let outcome_of = |start: Outcome, error: bool, change: bool, refusal: bool, dry_run: bool| {
        let seen = RefCell::new(None);
        with_attempts(|attempts| {
            let mut work = work(attempts);
            work.record.outcome = start;
            if error {
                work.record.error = Some(unsettled(5));
            }
            if change {
                work.done(description("d"));
            }
            if refusal {
                work.record.refusals.push(mistyped());
            }
            *seen.borrow_mut() = Some(work.finish(dry_run).0.outcome);
        });
        seen.into_inner().unwrap()
    };
    let new = Outcome::Unchanged;
    assert_eq!(outcome_of(new, true, true, true, false), Outcome::Failed);
    assert_eq!(outcome_of(new, false, true, true, false), Outcome::Applied);
    assert_eq!(outcome_of(new, false, true, true, true), Outcome::Planned);
    assert_eq!(outcome_of(new, false, false, true, false), Outcome::Refused);
    assert_eq!(
        outcome_of(new, false, false, false, false),
        Outcome::Unchanged
    );
    for fixed in [Outcome::Skipped, Outcome::Deferred] {
        assert_eq!(outcome_of(fixed, false, false, true, false), fixed);
        assert_eq!(
            outcome_of(fixed, true, false, false, false),
            Outcome::Failed
        );
        assert_eq!(
            outcome_of(fixed, false, true, false, false),
            Outcome::Applied
        );
    }
}

#[test]
fn an_image_is_left_alone_by_its_state_then_by_hold_then_for_want_of_directives() {
    let nothing = Directives::default();
    let something = Directives {
        description: Some("d".into()),
        refusals: vec![
            mistyped(),
            Refusal::new(
                Attribute::LaunchPermission,
                Ground::PublicNotAllowed(image().id),
            ),
        ],
        ..Directives::default()
    };
    let mut pending = image();
    pending.state = ImageState::Pending;
    assert_eq!(
        left_alone(&pending, Hold::Yes, &nothing),
        Some(ImageRecord::new(pending.id, Outcome::Deferred))
    );
    assert_eq!(
        left_alone(&image(), Hold::Yes, &something),
        Some(ImageRecord::skipped(image().id, SkipReason::Hold))
    );
    let mut held = ImageRecord::new(image().id, Outcome::Refused);
    held.refusals.push(mistyped());
    assert_eq!(left_alone(&image(), Hold::Mistyped, &something), Some(held));
    assert_eq!(left_alone(&image(), Hold::No, &something), None);
    let mut public = image();
    public.public = true;
    for (image, public_without_directives) in [(image(), false), (public, true)] {
        let record = left_alone(&image, Hold::No, &nothing).unwrap();
        assert_eq!(record.skipped, Some(SkipReason::NoDirectives));
        assert_eq!(record.public_without_directives, public_without_directives);
    }
}

#[test]
fn removals_go_alone_only_from_a_change_that_adds_too_and_names_no_exact_list() {
    let exact = Change::LaunchPermission(launch_change(A, B, A, true));
    assert_eq!(without_additions(&launch(A, B, A)), Some(launch(A, "", A)));
    assert_eq!(without_additions(&exact), None);
    assert_eq!(without_additions(&launch(A, B, "")), None);
    assert_eq!(without_additions(&launch(A, "", A)), None);
    assert_eq!(without_additions(&description("d")), None);
}

#[test]
fn errors_of_our_own_say_what_to_do_and_may_pass() {
    let policy = policy_broke(&RulebookError::new(
        "/ami-warden/rules",
        PolicyFault::Secure,
    ));
    for (error, operation, code, words) in [
        (
            unsettled(5),
            "ModifyImageAttribute",
            "Unsettled",
            "each of 5 writes",
        ),
        (
            too_slow("CreateTags", 5, 10),
            "CreateTags",
            "Timeout",
            "longer than 5 s to show the image, 10 times in a row",
        ),
        (
            policy,
            "GetParametersByPath",
            "InvalidPolicy",
            ". The image was changed before that",
        ),
    ] {
        assert_eq!((error.operation, error.code.as_ref()), (operation, code));
        assert_eq!(error.kind, ErrorKind::Transient);
        assert!(error.message.contains(words), "{}", error.message);
    }
}
