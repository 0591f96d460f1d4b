//! Tests of one image's way: each call that goes out, and the record in the end.

use std::cell::RefCell;

use ami_warden_core::{
    AllowedCopiers, AllowedGrantees, DecodeContext, Event, Guardrails, Job, PolicyFault,
    SharedTagPatterns, StoredValue, Task,
    testing::{accounts, grantees, image, now},
};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};

use super::*;
use crate::act::{
    observe::TagScope,
    record::{ReadBack, SkipReason},
    retry::Retry,
    rulebook::{RuleSource, RulebookSettings},
    script::{Ec2State, NoKeys, POLICY_PATH, RULES, Script, Store, error, since},
};

const A: &str = "222233334444";
const B: &str = "333344445555";
const C: &str = "444455556666";
/// What somebody does with the image meanwhile.
type Edit<'a> = &'a dyn Fn(&mut Image);

const NOW: Duration = Duration::ZERO;
const REAL: Manner = Manner {
    dry_run: false,
    explain: false,
    recheck_policy: false,
};
const DRY: Manner = Manner {
    dry_run: true,
    ..REAL
};

/// The function around an EC2.
struct Bench<'a, 's> {
    ec2: &'a Script<'s>,
    store: &'a Store,
    manner: Manner,
    status_tag: Option<&'a str>,
    has_policy: bool,
}

impl<'a, 's> Bench<'a, 's> {
    fn new(ec2: &'a Script<'s>, store: &'a Store, manner: Manner) -> Self {
        Self {
            ec2,
            store,
            manner,
            status_tag: None,
            has_policy: false,
        }
    }

    /// Looks at the image once, and does this with it.
    async fn work<T>(
        &self,
        work: impl AsyncFnOnce(&Reconciler<'_, Script<'s>, NoKeys, &Store>, Fresh, &Attempts<'_>) -> T,
    ) -> T {
        let retry = Retry::until(Instant::now() + Duration::from_secs(600));
        let settings = RulebookSettings {
            policy_path: self.has_policy.then(|| POLICY_PATH.to_owned()),
            guardrails: Guardrails {
                allow_public: true,
                allowed_grantees: AllowedGrantees::parse(&format!("{A} {B}"), None).unwrap(),
                allowed_copiers: AllowedCopiers::any(),
                shared_tags: SharedTagPatterns::default(),
                ..Guardrails::default()
            },
            ..RulebookSettings::default()
        };
        let observer = Observer {
            ec2: self.ec2,
            retry: &retry,
            scope: TagScope {
                prefix: "ami-warden:",
                any_tag: false,
                status_tag: None,
            },
        };
        let reconciler = Reconciler {
            ec2: self.ec2,
            observer,
            facts: &FactReader::new(self.ec2, &NoKeys, &retry),
            rulebooks: &Rulebooks::new(&self.store, &settings, RuleSource::Stored),
            settings: ImageSettings {
                organization: None,
                partition: "aws",
                tag_prefix: "ami-warden:",
                status_tag: self.status_tag,
            },
            manner: self.manner,
            promised: &Promised::Nothing,
            clock: now,
        };
        let attempts = retry.attempts();
        let Seen::Image(fresh) = observer.again(image().id, &attempts).await else {
            panic!("there is no image");
        };
        self.ec2.state.borrow_mut().calls.clear();
        work(&reconciler, fresh, &attempts).await
    }

    async fn by_tags(&self) -> Result<Reconciled, RulebookError> {
        self.work(async |reconciler, fresh, attempts| reconciler.by_tags(fresh, attempts).await)
            .await
    }

    async fn record(&self) -> ImageRecord {
        self.by_tags().await.unwrap().record
    }
}

/// The record after one look by tags.
async fn record(ec2: &Script<'_>, manner: Manner) -> ImageRecord {
    Bench::new(ec2, &Store::default(), manner).record().await
}

/// An image with these directive tags, of whose launch permissions EC2 shows these.
fn script<'a>(
    tags: &[(&str, &str)],
    launch: &str,
    hook: impl FnMut(&str, &mut Ec2State) -> Result<Duration, CallError> + 'a,
) -> Script<'a> {
    let mut image = image();
    for (key, value) in tags {
        image = image.tag(&format!("ami-warden:{key}"), value);
    }
    image.public = grantees(launch).contains(&Grantee::All);
    let script = Script::new(hook).with(image);
    script.state.borrow_mut().launch = grantees(launch);
    script.state.borrow_mut().block = Some(false);
    script
}

fn at_once(_: &str, _: &mut Ec2State) -> Result<Duration, CallError> {
    Ok(NOW)
}

fn retag(state: &mut Ec2State, key: &str, value: &str) {
    let key = format!("ami-warden:{key}");
    state.edit(|image| {
        image.tags.insert(key.clone(), value.to_owned());
    });
}

/// Calls other than reads of the image.
fn calls(ec2: &Script<'_>) -> Vec<String> {
    let calls = ec2.calls().into_iter();
    calls.filter(|call| !call.starts_with("images ")).collect()
}

fn looks(ec2: &Script<'_>) -> usize {
    ec2.state.borrow().count("images ")
}

/// Each change, and how far it went.
fn effects(record: &ImageRecord) -> Vec<&Effect> {
    record.changes.iter().map(|change| &change.effect).collect()
}

fn read_back(after: &str, confirmed: bool) -> Effect {
    Effect::Done {
        read_back: Some(ReadBack {
            after: grantees(after),
            confirmed,
        }),
    }
}

fn codes(record: &ImageRecord) -> Vec<&'static str> {
    let refusals = record.refusals.iter();
    refusals.map(|refusal| refusal.code().as_str()).collect()
}

fn request(parameters: &Value) -> Request {
    let context = DecodeContext {
        policy_path: None,
        allow_list_parameter: None,
        partition: "aws",
        requests_allowed: true,
    };
    match Event::parse(parameters, &context).unwrap() {
        Event::Job(Job {
            task: Task::Request(request),
            ..
        }) => request,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_made_and_the_image_looked_at_again() {
    let ec2 = script(&[("description", "new")], "", at_once);
    let reconciled = Bench::new(&ec2, &Store::default(), REAL)
        .by_tags()
        .await
        .unwrap();
    assert_eq!(reconciled.record.outcome, Outcome::Applied);
    assert_eq!(
        effects(&reconciled.record),
        [&Effect::Done { read_back: None }]
    );
    assert!(reconciled.written_by.is_some());
    assert_eq!(
        (calls(&ec2), looks(&ec2)),
        (vec!["description new".to_owned()], 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_as_wanted_is_not_looked_at_again() {
    let ec2 = script(&[("launch-permission", A)], A, at_once);
    let reconciled = Bench::new(&ec2, &Store::default(), REAL)
        .by_tags()
        .await
        .unwrap();
    assert_eq!(reconciled.record.outcome, Outcome::Unchanged);
    assert!(reconciled.written_by.is_none());
    assert_eq!(
        (calls(&ec2), looks(&ec2)),
        (vec!["permissions".to_owned()], 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_preview_proposes_every_change_and_sends_none() {
    let tags = [
        ("description", "new"),
        ("launch-permission", "222233334444 444455556666"),
    ];
    let ec2 = script(&tags, B, at_once);
    let store = Store::default();
    let explain = Manner {
        explain: true,
        ..DRY
    };
    let preview = async |reconciler: &Reconciler<'_, Script<'_>, NoKeys, &Store>,
                         fresh: Fresh,
                         attempts: &Attempts<'_>| {
        reconciler.preview(&fresh.image, attempts).await.unwrap()
    };
    let record = Bench::new(&ec2, &store, explain).work(preview).await;
    assert_eq!(record.outcome, Outcome::Planned);
    assert_eq!(effects(&record), [&Effect::Proposed]);
    assert_eq!(codes(&record), ["grantee-not-allowed"]);
    assert_eq!(record.launch_permissions, Some(grantees(B)));
    assert_eq!((record.public, record.directives.len()), (Some(false), 2));
    assert_eq!(
        (calls(&ec2), looks(&ec2)),
        (vec!["permissions".to_owned()], 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_person_who_asks_also_learns_who_may_launch_the_image_now() {
    let explain = Manner {
        explain: true,
        ..REAL
    };
    let ec2 = script(&[("launch-permission", A)], "all", at_once);
    let seen = record(&ec2, explain).await;
    assert_eq!(seen.launch_permissions, Some(grantees(&format!("all {A}"))));
    assert_eq!((seen.public, seen.directives.len()), (Some(true), 1));
    // A directive on something else reads no permissions: the image's own flag counts.
    let ec2 = script(&[("description", "new")], "all", at_once);
    let seen = record(&ec2, explain).await;
    assert_eq!((seen.launch_permissions, seen.public), (None, Some(true)));
    let seen = record(&ec2, REAL).await;
    assert_eq!((seen.launch_permissions, seen.public), (None, None));
    assert!(seen.directives.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_is_carried_out_unless_the_image_is_pending() {
    let wanted =
        request(&json!({"ImageId": image().id.to_string(), "Description": {"Value": "d"}}));
    for (state, outcome) in [
        (ImageState::Available, Outcome::Applied),
        (ImageState::Pending, Outcome::Failed),
    ] {
        let ec2 = script(&[], "", at_once);
        ec2.state
            .borrow_mut()
            .edit(|image| image.state = state.clone());
        let store = Store::default();
        let mut bench = Bench::new(&ec2, &store, REAL);
        // The status tag does not tell of requests.
        bench.status_tag = Some("status");
        let reconciled = bench
            .work(async |reconciler, fresh, attempts| {
                reconciler
                    .by_request(fresh, &wanted, attempts)
                    .await
                    .unwrap()
            })
            .await;
        assert_eq!(reconciled.record.outcome, outcome);
        let written = if outcome == Outcome::Applied {
            assert_eq!(reconciled.record.error, None);
            vec!["description d".to_owned()]
        } else {
            let error = reconciled.record.error.unwrap();
            assert_eq!(error.code, "InvalidAMIID.Unavailable");
            assert_eq!(error.kind, ErrorKind::NotYet);
            vec![]
        };
        assert_eq!(calls(&ec2), written);
    }
}

fn break_policy(store: &Store) {
    store.put(RULES, StoredValue::Secure);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_breaks_stops_everything_before_a_write_and_fails_the_image_after_it() {
    let store = Store::default();
    break_policy(&store);
    let ec2 = script(&[("description", "new")], "", at_once);
    let mut bench = Bench::new(&ec2, &store, REAL);
    bench.has_policy = true;
    let stopped = bench.by_tags().await.unwrap_err();
    assert_eq!(stopped.fault, PolicyFault::Secure.into());
    assert!(ec2.calls().is_empty());

    // Between a write whose answer was lost and the next pass.
    let store = Store::default();
    let ec2 = script(&[("description", "new")], "", |call, state| {
        if call.starts_with("description") {
            break_policy(&store);
            return Err(error("InternalError"));
        }
        let slow = state.count("description") > 0;
        Ok(Duration::from_secs(if slow { 6 } else { 0 }))
    });
    let mut bench = Bench::new(&ec2, &store, REAL);
    bench.has_policy = true;
    let record = bench.record().await;
    assert_eq!(record.error.unwrap().code, "InvalidPolicy");

    // In the look after the last write.
    let store = Store::default();
    let ec2 = script(&[("launch-permission", A)], "", |call, _| {
        if call.starts_with("launch") {
            break_policy(&store);
        }
        Ok(NOW)
    });
    let recheck = Manner {
        recheck_policy: true,
        ..REAL
    };
    let mut bench = Bench::new(&ec2, &store, recheck);
    bench.has_policy = true;
    let record = bench.record().await;
    assert_eq!(effects(&record), [&read_back(A, false)]);
    assert_eq!(record.error.unwrap().code, "InvalidPolicy");
}

#[tokio::test(start_paused = true)]
async fn an_image_whose_wish_changes_after_each_write_is_planned_five_times_and_then_fails() {
    let ec2 = script(&[("description", "0")], "", |call, state| {
        if call.starts_with("description") {
            let number = state.count("description");
            assert!(number <= ROUNDS_MAX, "one write too many");
            retag(state, "description", &number.to_string());
        }
        Ok(NOW)
    });
    let record = record(&ec2, REAL).await;
    assert_eq!(
        calls(&ec2),
        ["0", "1", "2", "3", "4"].map(|d| format!("description {d}"))
    );
    assert_eq!(record.error.unwrap().code, "Unsettled");
    assert_eq!(record.outcome, Outcome::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_changed_once_is_carried_out_in_the_next_round() {
    let ec2 = script(&[("launch-permission", A)], "", |call, state| {
        if call.starts_with("launch") {
            retag(state, "launch-permission", B);
        }
        Ok(NOW)
    });
    let record = record(&ec2, REAL).await;
    let expected = [read_back(A, false), read_back(&format!("{A} {B}"), true)];
    assert_eq!(effects(&record), expected.iter().collect::<Vec<_>>());
    assert_eq!(
        record.notes,
        ["The wish changed while the launch permissions were written."]
    );
    assert_eq!((record.outcome, looks(&ec2)), (Outcome::Applied, 2));
}

/// Gives the image a snapshot that is not encrypted.
fn add_snapshot(ec2: &Script<'_>) {
    ec2.state.borrow_mut().edit(|image| {
        let plain = image.clone();
        *image = plain.device("/dev/sda1", Some("snap-1"), Some(false));
    });
}

/// An image that is to become public and to lose an account, and whose facts are so slow.
fn public_without_b<'a>(facts: impl Fn(f64) -> Result<Duration, CallError> + 'a) -> Script<'a> {
    let start = Instant::now();
    let ec2 = script(
        &[("launch-permission", "all -333344445555")],
        B,
        move |call, _| {
            if call.starts_with("snapshots") {
                return facts(since(start));
            }
            Ok(NOW)
        },
    );
    add_snapshot(&ec2);
    ec2
}

fn writes(ec2: &Script<'_>) -> Vec<String> {
    let mut calls = calls(ec2);
    calls.retain(|call| call.starts_with("launch") || call.starts_with("ask"));
    calls
}

#[tokio::test(start_paused = true)]
async fn removals_do_not_wait_for_facts_that_only_additions_need() {
    // In one call, while the facts come soon.
    let ec2 = public_without_b(|_| Ok(Duration::from_millis(900)));
    let seen = record(&ec2, REAL).await;
    assert_eq!(writes(&ec2), [format!("launch +all -{B}")]);
    assert_eq!(effects(&seen), [&read_back("all", true)]);
    // Ahead of them, where they are slow.
    let ec2 = public_without_b(|_| Ok(Duration::from_secs(2)));
    let seen = record(&ec2, REAL).await;
    assert_eq!(
        writes(&ec2),
        [format!("launch + -{B}"), "launch +all -".to_owned()]
    );
    let expected = [read_back("", true), read_back("all", true)];
    assert_eq!(effects(&seen), expected.iter().collect::<Vec<_>>());
    assert!(!seen.notes.iter().any(|note| note.contains("wish changed")));
    // And where they cannot be read.
    let ec2 = public_without_b(|_| Err(error("UnauthorizedOperation")));
    let seen = record(&ec2, REAL).await;
    assert_eq!(writes(&ec2), [format!("launch + -{B}")]);
    assert_eq!(seen.error.unwrap().code, "UnauthorizedOperation");
    assert_eq!(seen.changes.len(), 1);
    // A dry run removes nothing ahead.
    let ec2 = public_without_b(|_| Ok(Duration::from_secs(2)));
    let seen = record(&ec2, DRY).await;
    assert_eq!(writes(&ec2), [format!("ask launch +all -{B}")]);
    assert_eq!(effects(&seen), [&Effect::DryRun { permitted: true }]);
    assert_eq!((seen.outcome, looks(&ec2)), (Outcome::Planned, 0));
}

#[tokio::test(start_paused = true)]
async fn removals_go_ahead_once_even_if_the_read_after_them_does_not_show_them() {
    let late = Duration::from_secs(2);
    let (alone, together) = (format!("launch + -{B}"), format!("launch +all -{B}"));
    for (facts, expected) in [
        (Ok(late), vec![alone.clone(), together]),
        (Err("UnauthorizedOperation"), vec![alone]),
    ] {
        let tags = [("launch-permission", "all -333344445555")];
        let ec2 = script(&tags, B, |call, state| {
            if call == "permissions" && state.count("permissions") == 2 {
                state.launch.extend(grantees(B));
            }
            match state.count("snapshots") {
                1 if call.starts_with("snapshots") => Ok(late),
                2 if call.starts_with("snapshots") => facts.map_err(error),
                _ => Ok(NOW),
            }
        });
        add_snapshot(&ec2);
        record(&ec2, REAL).await;
        assert_eq!(writes(&ec2), expected);
    }
}

/// The writes to an image, each with its second, and the record. It loses B and gains A, one of
/// them by launch permissions, the other by copy permissions; the read that begins so takes a
/// while.
async fn loses_b_and_gains_a(
    tags: [(&str, &str); 2],
    read: &str,
    answer: Result<Duration, &'static str>,
) -> (Vec<(String, f64)>, ImageRecord) {
    let (start, writes) = (Instant::now(), RefCell::new(Vec::new()));
    let ec2 = script(&tags, B, |call, _| {
        if call.starts_with("launch") || call.starts_with("copy ") {
            writes.borrow_mut().push((call.to_owned(), since(start)));
        } else if call.starts_with(read) {
            return answer.map_err(error);
        }
        Ok(NOW)
    });
    let copiers = ("snap-1".to_owned(), accounts(B));
    ec2.state.borrow_mut().copy.extend([copiers]);
    add_snapshot(&ec2);
    let record = record(&ec2, REAL).await;
    (writes.take(), record)
}

#[tokio::test(start_paused = true)]
async fn removals_of_one_side_do_not_wait_for_the_permissions_of_the_other() {
    const MINUS_B: &str = "-333344445555";
    let launch_loses = [("launch-permission", MINUS_B), ("copy-permission", A)];
    let copy_loses = [("launch-permission", A), ("copy-permission", MINUS_B)];
    for (tags, read, removal, addition) in [
        (
            launch_loses,
            "copiers",
            format!("launch + -{B}"),
            format!("copy snap-1 +{A}"),
        ),
        (
            copy_loses,
            "permissions",
            format!("copy snap-1 -{B}"),
            format!("launch +{A} -"),
        ),
    ] {
        let soon = Ok(Duration::from_millis(900));
        let (writes, _) = loses_b_and_gains_a(tags, read, soon).await;
        assert!(
            writes.iter().all(|(_, second)| (second - 0.9).abs() < 0.01),
            "{writes:?}"
        );
        let mut both: Vec<_> = writes.into_iter().map(|(call, _)| call).collect();
        both.sort();
        let mut expected = [removal.clone(), addition.clone()];
        expected.sort();
        assert_eq!(both, expected);

        let late = Ok(Duration::from_secs(2));
        let (writes, record) = loses_b_and_gains_a(tags, read, late).await;
        let calls: Vec<_> = writes.iter().map(|(call, _)| call).collect();
        assert_eq!(calls, [&removal, &addition]);
        assert!(
            (writes[0].1 - 1.0).abs() < 0.01 && writes[1].1 > 2.9,
            "{writes:?}"
        );
        assert_eq!((record.outcome, record.error), (Outcome::Applied, None));

        let never = Err("UnauthorizedOperation");
        let (writes, record) = loses_b_and_gains_a(tags, read, never).await;
        assert_eq!(writes, [(removal, 0.0)]);
        assert_eq!(record.error.unwrap().code, "UnauthorizedOperation");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_facts_are_waited_for_where_nothing_is_removed() {
    let ec2 = public_without_b(|_| Ok(Duration::from_secs(3)));
    ec2.state.borrow_mut().launch = grantees("");
    let seen = record(&ec2, REAL).await;
    assert_eq!(writes(&ec2), ["launch +all -"]);
    assert_eq!((seen.outcome, looks(&ec2)), (Outcome::Applied, 1));
    assert_eq!(ec2.state.borrow().count("snapshots"), 1);
}

#[tokio::test(start_paused = true)]
async fn removals_that_are_wanted_only_after_a_fault_do_not_wait_either() {
    let start = Instant::now();
    let ec2 = script(&[("launch-permission", "all")], B, |call, state| {
        if !call.starts_with("snapshots") {
            return Ok(NOW);
        }
        if state.count("snapshots") <= 8 {
            retag(state, "launch-permission", "all -333344445555");
            return Err(CallError::answered(
                "DescribeSnapshots",
                "InternalError",
                500,
                "",
            ));
        }
        Ok(Duration::from_secs(2))
    });
    add_snapshot(&ec2);
    record(&ec2, REAL).await;
    assert_eq!(
        writes(&ec2),
        [format!("launch + -{B}"), "launch +all -".to_owned()],
        "{} s",
        since(start)
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_in_after_a_write_that_failed_and_removals_go_on() {
    for (code, outcome) in [
        ("InvalidParameterValue", Outcome::Applied),
        ("UnauthorizedOperation", Outcome::Failed),
    ] {
        let tags = [
            ("description", "new"),
            ("launch-permission", "222233334444 -333344445555"),
        ];
        let ec2 = script(&tags, B, |call, _| {
            if call.starts_with("description") {
                return Err(error(code));
            }
            Ok(NOW)
        });
        let seen = record(&ec2, REAL).await;
        assert_eq!(writes(&ec2), [format!("launch + -{B}")], "{code}");
        assert_eq!(seen.outcome, outcome, "{code}");
        assert!(seen.notes.contains(&NOBODY_LET_IN_NOTE.to_owned()));
        assert_eq!(ec2.state.borrow().count("description"), 1, "{code}");
        let refused = outcome == Outcome::Applied;
        assert_eq!(
            (seen.refusals.len() == 1, seen.error.is_none()),
            (refused, refused)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn removals_of_a_rejected_change_go_alone() {
    let tags = [("launch-permission", "222233334444 -333344445555")];
    let ec2 = script(&tags, B, |call, _| {
        if call.starts_with("launch +2") {
            return Err(error("InvalidParameterValue"));
        }
        Ok(NOW)
    });
    let seen = record(&ec2, REAL).await;
    assert_eq!(
        writes(&ec2),
        [format!("launch +{A} -{B}"), format!("launch + -{B}")]
    );
    assert_eq!(
        (seen.outcome, codes(&seen)),
        (Outcome::Applied, vec!["ec2-refused"])
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_counts_as_soon_as_its_effect_shows() {
    let ec2 = script(&[("description", "new")], "", |call, state| {
        if call.starts_with("description") {
            state.edit(|image| image.description = Some("new".into()));
            return Err(error("InternalError"));
        }
        Ok(NOW)
    });
    let reconciled = Bench::new(&ec2, &Store::default(), REAL)
        .by_tags()
        .await
        .unwrap();
    assert_eq!(calls(&ec2), ["description new"]);
    assert_eq!(reconciled.record.outcome, Outcome::Applied);
    assert_eq!(reconciled.record.error, None);
    assert!(reconciled.written_by.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_throttled_is_planned_anew_and_sent_again() {
    let ec2 = script(&[("description", "new")], "", |call, state| {
        if call.starts_with("description") && state.count("description") == 1 {
            return Err(CallError::answered(
                "ModifyImageAttribute",
                "RequestLimitExceeded",
                503,
                "",
            ));
        }
        Ok(NOW)
    });
    let seen = record(&ec2, REAL).await;
    assert_eq!((seen.outcome, seen.error), (Outcome::Applied, None));
    assert_eq!(calls(&ec2).len(), 2);
    // Before each try the image is read, and once more in the end.
    assert_eq!(looks(&ec2), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_succeeds_fails_with_its_own_error_after_eight_tries() {
    let ec2 = script(&[("description", "new")], "", |call, _| {
        if call.starts_with("description") {
            return Err(CallError::answered(
                "ModifyImageAttribute",
                "InternalError",
                500,
                "",
            ));
        }
        Ok(NOW)
    });
    let seen = record(&ec2, REAL).await;
    assert_eq!(seen.error.unwrap().code, "InternalError");
    assert_eq!(calls(&ec2).len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_asks_about_each_call_and_about_removals_alone_where_the_whole_is_rejected() {
    let tags = [
        ("description", "new"),
        ("launch-permission", "222233334444 -333344445555"),
    ];
    let ec2 = script(&tags, B, |call, _| {
        if call.starts_with("ask launch +2") {
            return Err(error("InvalidParameterValue"));
        }
        if call.starts_with("ask description") {
            return Err(error("UnauthorizedOperation"));
        }
        Ok(NOW)
    });
    let store = Store::default();
    let mut bench = Bench::new(&ec2, &store, DRY);
    bench.status_tag = Some("status");
    let seen = bench.record().await;
    assert_eq!(
        calls(&ec2),
        [
            "permissions".to_owned(),
            "ask description new".to_owned(),
            format!("ask launch +{A} -{B}"),
            format!("ask launch + -{B}"),
        ]
    );
    let expected = [
        Effect::DryRun { permitted: false },
        Effect::DryRun { permitted: true },
    ];
    assert_eq!(effects(&seen), expected.iter().collect::<Vec<_>>());
    assert_eq!(seen.error.as_ref().unwrap().code, "UnauthorizedOperation");
    assert_eq!(codes(&seen), ["ec2-refused"]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_ready_or_gone_at_a_write_ends_as_it_is_now() {
    let attempt = async |then: &dyn Fn(&mut Ec2State)| {
        let ec2 = script(&[("description", "new")], "", |call, state| {
            if call.starts_with("description") && state.count("description") == 1 {
                then(state);
                return Err(error("InvalidAMIID.Unavailable"));
            }
            Ok(NOW)
        });
        let seen = record(&ec2, REAL).await;
        (seen, calls(&ec2).len())
    };
    let (seen, sent) = attempt(&|state| state.images.clear()).await;
    assert_eq!((seen.skipped, sent), (Some(SkipReason::NotFound), 1));
    let (seen, sent) =
        attempt(&|state| state.edit(|image| image.state = ImageState::Pending)).await;
    assert_eq!((seen.outcome, sent), (Outcome::Deferred, 1));
    let (seen, sent) = attempt(&|_| {}).await;
    assert_eq!(
        (seen.outcome, seen.error, sent),
        (Outcome::Applied, None, 2)
    );
}

/// The record of an image with a grantee that is not allowed, and the writes of tags.
async fn with_status(
    before: Option<&str>,
    manner: Manner,
    code: Option<&'static str>,
) -> (ImageRecord, Vec<String>) {
    let ec2 = script(&[("launch-permission", C)], "", |call, _| match code {
        Some(code) if call.starts_with("tag") => Err(error(code)),
        _ => Ok(NOW),
    });
    if let Some(before) = before {
        ec2.state.borrow_mut().edit(|image| {
            image.tags.insert("status".into(), before.into());
        });
    }
    let store = Store::default();
    let mut bench = Bench::new(&ec2, &store, manner);
    bench.status_tag = Some("status");
    let seen = bench.record().await;
    let mut calls = calls(&ec2);
    calls.retain(|call| call.starts_with("tag"));
    (seen, calls)
}

const STATUS: &str = "grantee-not-allowed:444455556666";

#[tokio::test(start_paused = true)]
async fn the_status_tag_is_written_once_and_only_for_real() {
    let written = vec![format!("tag status=Some({STATUS:?})")];
    let (seen, tags) = with_status(None, REAL, None).await;
    assert_eq!((seen.outcome, tags), (Outcome::Refused, written.clone()));
    let (_, tags) = with_status(Some("older"), REAL, None).await;
    assert_eq!(tags, written);
    let (_, tags) = with_status(Some(STATUS), REAL, None).await;
    assert!(tags.is_empty());
    let (_, tags) = with_status(None, DRY, None).await;
    assert!(tags.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_status_tag_that_cannot_be_written_is_a_note_or_an_error_by_its_code() {
    let (seen, tags) = with_status(None, REAL, Some("TagLimitExceeded")).await;
    assert_eq!((seen.error, tags.len()), (None, 1));
    let note = seen.notes.last().unwrap();
    assert!(
        note.starts_with("The status tag status could not be written: "),
        "{note}"
    );
    let (seen, tags) = with_status(None, REAL, Some("UnauthorizedOperation")).await;
    assert_eq!(seen.error.unwrap().code, "UnauthorizedOperation");
    assert_eq!(tags.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_status_tag_is_written_after_an_error() {
    let tags = [("launch-permission", C), ("description", "new")];
    let ec2 = script(&tags, "", |call, _| {
        if call.starts_with("description") {
            return Err(error("UnauthorizedOperation"));
        }
        Ok(NOW)
    });
    let store = Store::default();
    let mut bench = Bench::new(&ec2, &store, REAL);
    bench.status_tag = Some("status");
    bench.record().await;
    assert_eq!(calls(&ec2), ["permissions", "description new"]);
}

#[tokio::test(start_paused = true)]
async fn an_old_status_is_taken_off_an_image_that_is_left_alone_but_not_off_a_held_one() {
    let hold = |image: &mut Image| {
        image.tags.insert("ami-warden:hold".into(), "yes".into());
    };
    let pending = |image: &mut Image| image.state = ImageState::Pending;
    let both = |image: &mut Image| {
        hold(image);
        pending(image);
    };
    let edits: [(Edit<'_>, usize); 4] = [(&|_| {}, 1), (&hold, 0), (&pending, 0), (&both, 0)];
    for (edit, deleted) in edits {
        let ec2 = script(&[], "", at_once);
        ec2.state.borrow_mut().edit(|image| {
            image.tags.insert("status".into(), STATUS.into());
            edit(image);
        });
        let store = Store::default();
        let mut bench = Bench::new(&ec2, &store, REAL);
        bench.status_tag = Some("status");
        bench.record().await;
        assert_eq!(calls(&ec2), vec!["tag status=None".to_owned(); deleted]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_of_an_image_that_is_left_alone_is_tried_again_and_its_error_counts() {
    for (code, tries, error_code) in [
        ("InternalError", 2, None),
        ("UnauthorizedOperation", 1, Some("UnauthorizedOperation")),
    ] {
        let ec2 = script(&[], "", |call, state| {
            if call.starts_with("tag") && state.count("tag") == 1 {
                return Err(error(code));
            }
            Ok(NOW)
        });
        ec2.state.borrow_mut().edit(|image| {
            image.tags.insert("status".into(), STATUS.into());
        });
        let store = Store::default();
        let mut bench = Bench::new(&ec2, &store, REAL);
        bench.status_tag = Some("status");
        let seen = bench.record().await;
        assert_eq!(calls(&ec2).len(), tries, "{code}");
        let seen = seen.error.map(|error| error.code.into_owned());
        assert_eq!(seen.as_deref(), error_code);
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_held_or_changes_its_state_during_a_write_is_left_alone_from_then_on() {
    let edits: [(Edit<'_>, SkipReason); 2] = [
        (
            &|image| {
                image.tags.insert("ami-warden:hold".into(), "yes".into());
            },
            SkipReason::Hold,
        ),
        (
            &|image| image.state = ImageState::Other("disabled".into()),
            SkipReason::State("disabled".into()),
        ),
    ];
    for (edit, reason) in edits {
        let ec2 = script(&[("launch-permission", A)], "", |call, state| {
            if call.starts_with("launch") {
                state.edit(edit);
            }
            Ok(NOW)
        });
        let seen = record(&ec2, REAL).await;
        assert_eq!(seen.skipped, Some(reason.clone()));
        assert_eq!(effects(&seen), [&read_back(A, false)]);
        let note = format!("The image was left alone afterwards: {}.", reason.as_str());
        assert!(seen.notes.contains(&note), "{:?}", seen.notes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grantee_that_somebody_adds_meanwhile_is_removed_from_an_exact_list_only() {
    for (wish, wrote) in [
        (
            "= 222233334444",
            vec![format!("launch +{A} -"), format!("launch + -{B}")],
        ),
        (A, vec![format!("launch +{A} -")]),
    ] {
        let ec2 = script(&[("launch-permission", wish)], "", |call, state| {
            if call == "permissions" && state.count("launch") == 1 {
                state.launch = grantees(&format!("{A} {B}"));
            }
            Ok(NOW)
        });
        let seen = record(&ec2, REAL).await;
        assert_eq!(writes(&ec2), wrote);
        let first = read_back(&format!("{A} {B}"), false);
        assert_eq!(*effects(&seen)[0], first);
        let note = "The launch permissions were changed and not confirmed: \
                    EC2 does not show them as planned.";
        assert_eq!(seen.notes, [note]);
        assert!(ec2.state.borrow().count("permissions") > 3);
    }
}

#[tokio::test(start_paused = true)]
async fn launch_permissions_are_read_back_up_to_three_times() {
    for (shown_at, reads, confirmed) in [(1, 1, true), (2, 2, true), (3, 3, true), (4, 3, false)] {
        let start = Instant::now();
        let ec2 = script(&[("launch-permission", A)], "", |call, state| {
            if call == "permissions" {
                let read = state.count("permissions") - 1;
                state.launch = grantees(if read >= shown_at { A } else { "" });
            }
            Ok(NOW)
        });
        let seen = record(&ec2, REAL).await;
        let after = if confirmed { A } else { "" };
        assert_eq!(effects(&seen), [&read_back(after, confirmed)], "{shown_at}");
        assert_eq!(
            ec2.state.borrow().count("permissions"),
            1 + usize::try_from(reads).unwrap()
        );
        assert_eq!(seen.is_unconfirmed(), !confirmed);
        // A pause of a tenth of a second or two between two reads, and none behind the last.
        let pauses = f64::from(reads - 1);
        let time = since(start);
        assert!(
            time >= pauses * 0.1 && time < pauses * 0.35 + 0.01,
            "{time} s"
        );
    }
    let ec2 = script(&[("launch-permission", A)], "", |call, state| {
        if call == "permissions" && state.count("launch") == 1 {
            return Err(error("UnauthorizedOperation"));
        }
        Ok(NOW)
    });
    let seen = record(&ec2, REAL).await;
    assert_eq!(effects(&seen), [&read_back(A, false)]);
    let note = &seen.notes[0];
    assert!(
        note.contains("not confirmed") && note.contains("UnauthorizedOperation"),
        "{note}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_on_a_look_that_is_older_than_five_seconds() {
    // Each answer is six seconds old when the write could go out.
    let ec2 = script(&[("launch-permission", A)], "", |call, _| {
        Ok(Duration::from_secs(if call == "permissions" {
            6
        } else {
            0
        }))
    });
    let seen = record(&ec2, REAL).await;
    assert!(writes(&ec2).is_empty());
    let error = seen.error.unwrap();
    assert_eq!(
        (error.operation, error.code.as_ref()),
        ("ModifyImageAttribute", "Timeout")
    );
    assert!(error.message.contains("longer than 5 s"), "{error}");
    assert_eq!(ec2.state.borrow().count("permissions"), STALE_READS_MAX + 1);
    // Five seconds are not too old, and an older look is followed by a newer one.
    for (first, reads) in [(5, 1), (6, 2)] {
        let ec2 = script(&[("launch-permission", A)], A, |call, state| {
            let is_first = call == "permissions" && state.count("permissions") == 1;
            Ok(Duration::from_secs(if is_first { first } else { 0 }))
        });
        ec2.state.borrow_mut().launch = grantees("");
        let seen = record(&ec2, REAL).await;
        assert_eq!(seen.outcome, Outcome::Applied);
        let calls = calls(&ec2);
        let before = calls
            .iter()
            .take_while(|call| *call == "permissions")
            .count();
        assert_eq!(before, reads, "{first}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_the_pace_of_its_operation_unless_it_has_its_slot_already() {
    const OPERATION: &str = "ModifyImageAttribute";
    let retry = Retry::until(Instant::now() + Duration::from_secs(600));
    let attempts = retry.attempts();
    let mut work = Work::new(image().id, &attempts);
    let now = Instant::now();
    assert!(matches!(
        wait_for_slot(OPERATION, now, &mut work).now_or_never(),
        Some(Ok(()))
    ));
    // More callers than may wait for a first answer.
    let call = async || std::future::pending::<Result<(), CallError>>().await;
    let mut queue: FuturesUnordered<_> = (0..60).map(|_| attempts.call(OPERATION, call)).collect();
    assert!(queue.next().now_or_never().is_none());
    assert!(
        wait_for_slot(OPERATION, now, &mut work)
            .now_or_never()
            .is_none()
    );
    work.slot = Some(OPERATION);
    assert!(matches!(
        wait_for_slot(OPERATION, now, &mut work).now_or_never(),
        Some(Ok(()))
    ));
    assert_eq!(work.slot, None);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_asks_again_while_the_image_is_not_ready_and_takes_any_other_no_for_an_answer() {
    for (code, asked, outcome) in [
        ("InvalidAMIID.Unavailable", 2, Outcome::Planned),
        ("UnauthorizedOperation", 1, Outcome::Failed),
        ("InternalError", 8, Outcome::Failed),
    ] {
        let ec2 = script(&[("description", "new")], "", |call, state| {
            let fails = state.count("ask") == 1 || code == "InternalError";
            if call.starts_with("ask") && fails {
                return Err(error(code));
            }
            Ok(NOW)
        });
        let record = record(&ec2, DRY).await;
        assert_eq!(record.outcome, outcome, "{code}");
        assert_eq!(ec2.state.borrow().count("ask"), asked, "{code}");
    }
}
