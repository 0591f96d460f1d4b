//! The newest wish wins: whatever overlaps, lags or is held up, the image ends as its newest tags
//! and the newest policy want it.
//!
//! No test here needs a sweep to put an image right. Those about overlaps run two processes of the
//! built function on one emulator.

use std::time::{Duration, Instant};

use ec2_emulator::{Act, Buckets, Call, CallMatch, Gate, Parameter, ParameterType, Trigger};
use serde_json::{Value, json};

use crate::world::*;

const TAG: &str = "ami-warden:launch-permission";
/// The senders of the two processes.
const OLDER: &str = "AKIDOLDER";
const NEWER: &str = "AKIDNEWER";
/// How old a read may be that a write rests on.
const FRESH_MS: u64 = 5000;
/// A write may be under way for so long on a busy machine.
const UNDER_WAY_MS: u64 = 2000;

/// `Tag Change on Resource` with the tags that the image has.
pub fn tag_changed(image: &Image) -> Value {
    let mut event = event("tag-changed");
    event["detail"]["tags"] = json!(image.tags);
    event
}

/// `CreateTags` with the tags that the image has.
pub fn tags_created(image: &Image) -> Value {
    let mut event = event("call-create-tags");
    let items: Vec<_> = image
        .tags
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": value }))
        .collect();
    event["detail"]["requestParameters"]["tagSet"]["items"] = json!(items);
    event
}

/// What happens to the directive of the image while the older process is at work, and who may
/// launch it in the end.
struct Change {
    before: &'static str,
    after: &'static str,
    end: &'static [&'static str],
}

const CHANGES: [Change; 3] = [
    Change {
        before: "= 444455556666 222233334444",
        after: "= 444455556666",
        end: &[ALICE],
    },
    Change {
        before: "222233334444",
        after: "-222233334444",
        end: &[],
    },
    Change {
        before: "= 222233334444",
        after: "= 444455556666",
        end: &[ALICE],
    },
];

/// An EC2 of one's own, on which both processes work.
fn stage(image: Image) -> World {
    World::new().image(image)
}

/// One more process on that EC2, with a key of its own.
fn process(ec2: &World, sender: &str) -> Function {
    let world = World::new().setting("ALLOWED_GRANTEES", "444455556666 222233334444");
    world
        .setting("AWS_ENDPOINT_URL", &ec2.emulator.url())
        .setting("AWS_ACCESS_KEY_ID", sender)
        .start()
}

fn retag(value: &str) -> Act {
    Act::AddTags {
        id: IMAGE.into(),
        tags: [(TAG.to_owned(), value.to_owned())].into(),
    }
}

fn by(action: &str, sender: &str) -> CallMatch {
    CallMatch::new(action).by(sender)
}

fn a_look() -> Value {
    json!({ "ImageId": IMAGE })
}

/// Whether the call let this account in.
fn let_in(call: &Call, account: &str) -> bool {
    let added = |(name, value): (&String, &String)| {
        name.starts_with("LaunchPermission.Add.") && value == account
    };
    call.succeeded() && call.params.iter().any(added)
}

#[test]
fn a_revocation_survives_an_older_look_whose_read_was_slow() {
    for Change { before, after, end } in CHANGES {
        let ec2 = stage(share(before));
        let (mut older, mut newer) = (process(&ec2, OLDER), process(&ec2, NEWER));
        // The older one has read tags and permissions; the answer with the permissions is held up.
        let gate = ec2
            .emulator
            .gate(Gate::after(by("DescribeImageAttribute", OLDER)));
        std::thread::scope(|scope| {
            let old = scope.spawn(|| older.invoke(&a_look()));
            gate.wait();
            ec2.emulator.act(retag(after)).unwrap();
            newer.invoke(&tag_changed(&ec2.emulator.image(IMAGE).unwrap()));
            assert_eq!(
                ec2.emulator.image(IMAGE).unwrap().grantees(),
                end,
                "{after}: the newer one"
            );
            gate.release().unwrap();
            let entry = only_entry(&old.join().unwrap());
            assert_eq!(entry["Outcome"], "applied", "{after}");
            let last = entry["Changes"].as_array().unwrap().last().unwrap().clone();
            assert_holds(&last, &json!({ "After": end, "Confirmed": true }));
        });
        assert_eq!(
            ec2.emulator.image(IMAGE).unwrap().grantees(),
            end,
            "{before} → {after}"
        );
    }
}

#[test]
fn a_revocation_survives_an_older_write_that_was_throttled_and_the_withdrawn_wish_is_never_carried_out()
 {
    for Change { before, after, end } in CHANGES {
        let ec2 = stage(share(before));
        let (mut older, mut newer) = (process(&ec2, OLDER), process(&ec2, NEWER));
        let writes = || by("ModifyImageAttribute", OLDER);
        ec2.emulator.fault(Fault::on(
            writes().times(5),
            FaultKind::error("RequestLimitExceeded"),
        ));
        ec2.emulator
            .trigger(Trigger::before(writes(), [retag(after)]));
        std::thread::scope(|scope| {
            let old = scope.spawn(|| older.invoke(&a_look()));
            assert!(
                ec2.emulator
                    .wait_until(Duration::from_secs(30), |_, calls| calls
                        .iter()
                        .any(Call::is_write))
            );
            newer.invoke(&tag_changed(&ec2.emulator.image(IMAGE).unwrap()));
            old.join().unwrap();
        });
        assert_eq!(
            ec2.emulator.image(IMAGE).unwrap().grantees(),
            end,
            "{before} → {after}"
        );
        let bob_came_in = ec2.emulator.calls().iter().any(|call| let_in(call, BOB));
        assert!(
            !bob_came_in,
            "{before} → {after}: BOB was let in after he was taken out of the tag"
        );
    }
}

#[test]
fn a_hold_that_is_set_while_a_write_is_held_up_stops_it() {
    let mut function = World::new().permissive().image(share(ALICE)).start();
    let writes = || CallMatch::new("ModifyImageAttribute");
    function.emulator.fault(Fault::on(
        writes().times(3),
        FaultKind::error("RequestLimitExceeded"),
    ));
    let hold = Act::AddTags {
        id: IMAGE.into(),
        tags: [("ami-warden:hold".to_owned(), "incident".to_owned())].into(),
    };
    function.emulator.trigger(Trigger::before(writes(), [hold]));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "skipped", "Reason": "hold", "Changes": [] }),
    );
    assert_eq!(function.grantees(IMAGE), [] as [String; 0]);
    assert_eq!(function.counts()["ModifyImageAttribute"], 1);
}

#[test]
fn an_image_that_is_disabled_while_a_write_is_held_up_is_left_alone() {
    let mut function = World::new().permissive().image(share(ALICE)).start();
    let writes = || CallMatch::new("ModifyImageAttribute");
    function.emulator.fault(Fault::on(
        writes(),
        FaultKind::error("RequestLimitExceeded"),
    ));
    let disable = Act::SetState {
        image_id: IMAGE.into(),
        state: ec2_emulator::ImageState::Disabled,
    };
    function
        .emulator
        .trigger(Trigger::before(writes(), [disable]));
    assert_holds(
        &function.look(),
        &json!({ "Outcome": "skipped", "Reason": "disabled", "Changes": [] }),
    );
    assert_eq!(function.counts()["ModifyImageAttribute"], 1);
}

#[test]
fn a_wish_that_changes_in_the_moment_of_the_write_is_obeyed_by_the_same_look() {
    for Change { before, after, end } in CHANGES {
        let mut function = World::new().permissive().image(share(before)).start();
        let write = CallMatch::new("ModifyImageAttribute");
        function
            .emulator
            .trigger(Trigger::before(write, [retag(after)]));
        let entry = function.look();
        assert_eq!(entry["Outcome"], "applied");
        assert_eq!(function.grantees(IMAGE), end, "{before} → {after}");
        // Only the change that the tags in the end want is confirmed.
        let confirmed: Vec<_> = entry["Changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| change["Confirmed"].clone())
            .collect();
        assert_eq!(confirmed, [json!(false), json!(true)], "{entry:#}");
    }
}

#[test]
fn what_ec2_refused_of_a_wish_that_was_withdrawn_meanwhile_is_no_refusal() {
    let image = share("-222233334444 444455556666")
        .granted(BOB)
        .tag("ami-warden:description", "bad");
    let world = World::new().permissive().setting("STATUS_TAG", "status");
    let mut function = world.image(image).start();
    let bad = || CallMatch::new("ModifyImageAttribute").with("Description.Value", "bad");
    let refusal = FaultKind::error("InvalidParameterValue");
    function.emulator.fault(Fault::on(bad(), refusal));
    function.emulator.trigger(Trigger::after(
        bad(),
        [Act::DeleteTags {
            id: IMAGE.into(),
            keys: ["ami-warden:description".to_owned()].into(),
        }],
    ));
    let entry = function.look();
    assert_eq!(function.grantees(IMAGE), [ALICE], "{entry:#}");
    assert_holds(&entry, &json!({ "Outcome": "applied", "Refusals": [] }));
    assert!(
        !entry["Notes"].to_string().contains("Nobody was let in"),
        "{entry:#}"
    );
    let tags = function.emulator.image(IMAGE).unwrap().tags;
    assert_eq!(tags.get("status"), None, "{entry:#}");
}

#[test]
fn a_deprecation_that_only_a_public_image_cannot_have_follows_when_it_is_public_no_more() {
    for (access, at) in [
        ("= 444455556666", "-"),
        ("-all 444455556666", "-"),
        ("= 444455556666", "2030-06-30"),
    ] {
        let image = share(access)
            .granted("all")
            .tag("ami-warden:deprecate-at", at)
            .created("2026-02-01T00:00:00Z".parse().unwrap())
            .deprecated("2027-03-01T00:00:00Z".parse().unwrap());
        let world = World::new().permissive().setting("STATUS_TAG", "status");
        let mut function = world.image(image).start();
        let entry = function.look();
        assert_holds(&entry, &json!({ "Outcome": "applied", "Refusals": [] }));
        let image = function.emulator.image(IMAGE).unwrap();
        assert_eq!(image.grantees(), [ALICE]);
        assert_eq!(image.tags.get("status"), None);
        let day = image.deprecation_time.map(|at| at.date_naive().to_string());
        assert_eq!(day.unwrap_or("-".to_owned()), at, "{entry:#}");
        assert_eq!(function.look()["Outcome"], "unchanged");
    }
}

#[test]
fn a_wish_that_changes_there_and_back_is_told_write_by_write() {
    let image = share("= 444455556666").granted(ALICE).granted(BOB);
    let mut function = World::new().permissive().image(image).start();
    let write = |param, tag| {
        let at = CallMatch::new("ModifyImageAttribute").with(param, BOB);
        Trigger::after(at, [retag(tag)])
    };
    let emulator = &function.emulator;
    emulator.trigger(write(
        "LaunchPermission.Remove.1.UserId",
        "= 444455556666 222233334444",
    ));
    emulator.trigger(write("LaunchPermission.Add.1.UserId", "= 444455556666"));
    let entry = function.look();
    assert_eq!(function.grantees(IMAGE), [ALICE]);
    let changes = entry["Changes"].as_array().unwrap();
    let removed: Vec<&Value> = changes.iter().map(|change| &change["Remove"]).collect();
    assert_eq!(
        removed,
        [&json!([BOB]), &json!([]), &json!([BOB])],
        "{entry:#}"
    );
    assert_holds(
        changes.last().unwrap(),
        &json!({ "After": [ALICE], "Confirmed": true }),
    );
}

#[test]
fn an_image_whose_tags_change_with_every_write_has_failed_after_five_rounds() {
    let mut function = World::new()
        .permissive()
        .image(share("= 444455556666"))
        .start();
    for round in 0..8 {
        let value = if round % 2 == 0 {
            "= 222233334444"
        } else {
            "= 444455556666"
        };
        let write = CallMatch::new("ModifyImageAttribute").skip(round);
        function
            .emulator
            .trigger(Trigger::after(write, [retag(value)]));
    }
    let failed = function.try_invoke(&event("ami-available")).unwrap_err();
    assert_eq!(only_entry(&failed.answer())["Error"]["Code"], "Unsettled");
    assert_eq!(function.counts()["ModifyImageAttribute"], 5);
    // The event comes again.
    function.emulator.reset();
    function.emulator.add(share("= 444455556666").granted(BOB));
    assert_eq!(function.look()["Outcome"], "applied");
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

/// Asserts that each write of an image came at most five seconds after its tags and its permissions
/// were read.
#[track_caller]
fn assert_fresh(calls: &[Call]) {
    let names = |call: &Call, id: &str| call.params.values().any(|value| value == id);
    for write in calls
        .iter()
        .filter(|call| call.action == "ModifyImageAttribute")
    {
        let id = write.param("ImageId").unwrap();
        for action in ["DescribeImages", "DescribeImageAttribute"] {
            let reads = calls
                .iter()
                .filter(|call| call.action == action && call.succeeded() && names(call, id));
            let read = reads
                .map(|read| read.done_ms)
                .filter(|done| *done <= write.at_ms)
                .max();
            let age = read.map(|read| write.at_ms - read);
            assert!(
                age.is_some_and(|age| age <= FRESH_MS + UNDER_WAY_MS),
                "{id} was written {age:?} ms after {action}"
            );
        }
    }
}

/// The id of the n-th image.
fn nth(n: usize) -> String {
    format!("ami-{n:017x}")
}

/// A world of so many images whose writes are limited to so many a second.
fn slow_writes(images: usize, per_second: u32, value: &str) -> World {
    let buckets = Buckets::none().action("ModifyImageAttribute", per_second, per_second.into());
    let world = World::with(Config {
        buckets,
        ..Config::default()
    });
    (0..images).fold(world, |world, n| {
        world.image(Image::new(nth(n)).tag(TAG, value))
    })
}

#[test]
fn no_write_of_a_sweep_rests_on_reads_older_than_five_seconds_however_long_the_writes_queue() {
    let mut function = slow_writes(50, 4, ALICE).permissive().start();
    let began = Instant::now();
    assert_eq!(
        function.invoke(&json!({ "Sweep": {} }))["Summary"],
        json!({ "applied": 50 })
    );
    assert!(
        began.elapsed() > Duration::from_secs(8),
        "the writes did not queue: the test shows nothing"
    );
    assert_fresh(&function.emulator.calls());
}

#[test]
fn an_image_that_ec2_showed_more_than_five_seconds_ago_is_read_again_before_it_is_written() {
    let mut function = World::new().permissive().image(share(BOB)).start();
    function.emulator.fault(Fault::new(
        "DescribeImages",
        FaultKind::Latency {
            ms: FRESH_MS + 1000,
        },
    ));
    function.emulator.trigger(Trigger::after(
        CallMatch::new("DescribeImages"),
        [retag("-222233334444")],
    ));
    assert_eq!(function.look()["Outcome"], "unchanged");
    assert!(function.emulator.writes().is_empty());
}

#[test]
fn permissions_that_ec2_showed_more_than_five_seconds_ago_are_read_again_before_they_are_written() {
    let mut function = World::new()
        .permissive()
        .image(share("= 444455556666"))
        .start();
    function.emulator.fault(Fault::new(
        "DescribeImageAttribute",
        FaultKind::Latency {
            ms: FRESH_MS + 1000,
        },
    ));
    assert_eq!(function.look()["Outcome"], "applied");
    assert_fresh(&function.emulator.calls());
    assert_eq!(function.counts()["ModifyImageAttribute"], 1);
}

/// When the n-th write came, the parameter gets this value.
fn change_at_write(function: &Function, n: u32, name: &str, value: &str) {
    let parameter = Parameter::new(name, value, ParameterType::StringList);
    let write = CallMatch::new("ModifyImageAttribute").skip(n);
    function
        .emulator
        .trigger(Trigger::after(write, [Act::PutParameter(parameter)]));
}

/// When the n-th write was carried out.
fn time_of_write(calls: &[Call], n: usize) -> u64 {
    calls
        .iter()
        .filter(|call| call.action == "ModifyImageAttribute")
        .nth(n)
        .unwrap()
        .done_ms
}

#[test]
fn a_group_that_shrinks_in_mid_sweep_is_obeyed_by_that_sweep_and_nobody_keeps_what_it_took_away() {
    let world = slow_writes(40, 5, "= @team")
        .permissive()
        .setting("POLICY_PATH", "/ami-warden");
    let mut function = world.start();
    function.emulator.put_parameter(
        "/ami-warden/groups/team",
        "444455556666,222233334444",
        ParameterType::StringList,
    );
    change_at_write(&function, 10, "/ami-warden/groups/team", ALICE);
    let answer = function.invoke(&json!({ "Sweep": {} }));
    assert_eq!(
        (&answer["Summary"]["failed"], answer.get("Continue")),
        (&Value::Null, None),
        "{answer:#}"
    );
    for n in 0..40 {
        assert_eq!(function.grantees(&nth(n)), [ALICE], "{}", nth(n));
    }
    let calls = function.emulator.calls();
    let changed = time_of_write(&calls, 10);
    let late = calls
        .iter()
        .filter(|call| let_in(call, BOB) && call.at_ms > changed + FRESH_MS + UNDER_WAY_MS);
    assert_eq!(
        late.count(),
        0,
        "BOB was let in more than five seconds after he left the group"
    );
}

#[test]
fn an_allow_list_that_shrinks_in_mid_sweep_is_obeyed_by_that_sweep() {
    let world = slow_writes(60, 4, "444455556666 222233334444");
    let mut function = world
        .setting("ALLOWED_GRANTEES_PARAMETER", "/security/allowed")
        .start();
    function.emulator.put_parameter(
        "/security/allowed",
        "444455556666,222233334444",
        ParameterType::StringList,
    );
    change_at_write(&function, 4, "/security/allowed", ALICE);
    let answer = function.invoke(&json!({ "Sweep": {} }));
    assert!(
        answer["Summary"]["refused"].as_u64() > Some(0),
        "{}",
        answer["Summary"]
    );
    let calls = function.emulator.calls();
    let changed = time_of_write(&calls, 4);
    let late = calls
        .iter()
        .filter(|call| let_in(call, BOB) && call.at_ms > changed + FRESH_MS + UNDER_WAY_MS);
    assert_eq!(
        late.count(),
        0,
        "BOB was let in more than five seconds after the list lost him"
    );
    assert!(
        calls.last().unwrap().at_ms > changed + FRESH_MS + UNDER_WAY_MS,
        "the sweep was over before: the test shows nothing"
    );
}

#[test]
fn a_policy_that_changes_while_a_single_image_is_written_is_obeyed_by_the_same_look() {
    let world = World::new()
        .permissive()
        .setting("POLICY_PATH", "/ami-warden")
        .image(share("= @team"));
    let mut function = world.start();
    function.emulator.put_parameter(
        "/ami-warden/groups/team",
        "444455556666,222233334444",
        ParameterType::StringList,
    );
    change_at_write(&function, 0, "/ami-warden/groups/team", ALICE);
    function.look();
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

#[test]
fn of_twenty_changes_at_once_only_the_newest_is_swept_for() {
    let world = World::new()
        .permissive()
        .setting("POLICY_PATH", "/ami-warden")
        .image(share("@g0"));
    let mut function = world.start();
    let first = chrono::DateTime::parse_from_rfc3339("2026-11-21T16:30:25.900Z")
        .unwrap()
        .to_utc();
    let times: Vec<_> = (0..20)
        .map(|second| first + Duration::from_secs(second))
        .collect();
    for (n, time) in times.iter().enumerate() {
        let name = format!("/ami-warden/groups/g{n}");
        function
            .emulator
            .put(Parameter::new(&name, ALICE, ParameterType::StringList).modified(*time));
    }
    let mut swept = 0;
    for (n, time) in times.iter().enumerate() {
        let mut changed = event("parameter-changed");
        // Events tell whole seconds.
        changed["time"] = json!(time.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        changed["detail"]["name"] = json!(format!("/ami-warden/groups/g{n}"));
        let answer = function.invoke(&changed);
        if answer["Trigger"] == "ignored" {
            assert!(
                answer["Reason"].as_str().unwrap().starts_with("superseded"),
                "{answer:#}"
            );
            assert_eq!(function.counts().get("DescribeImages"), None);
        } else {
            assert_eq!((n, &answer["Summary"]), (19, &json!({ "applied": 1 })));
            swept += 1;
        }
    }
    assert_eq!(swept, 1);
}

/// The next two reads of images show what is there now; then the image gets these tags.
fn lag_behind(function: &Function, image: &Image) {
    function
        .emulator
        .fault(Fault::new("DescribeImages", FaultKind::Stale).times(2));
    let tags = image.tags.clone();
    function
        .emulator
        .edit(|state| state.images.get_mut(IMAGE).unwrap().tags = tags);
}

#[test]
fn a_tag_event_ahead_of_ec2s_reads_waits_until_they_show_it() {
    for told in [tag_changed, tags_created] {
        let mut function = World::new()
            .permissive()
            .image(share(ALICE).granted(ALICE))
            .start();
        let now = share("-444455556666");
        lag_behind(&function, &now);
        assert_eq!(
            function.invoke(&told(&now))["Summary"],
            json!({ "applied": 1 })
        );
        assert_eq!(function.grantees(IMAGE), [] as [String; 0]);
        // Two reads that were behind, one that was not, and the look after the write.
        assert_eq!(function.counts()["DescribeImages"], 4);
    }
}

#[test]
fn a_later_read_that_lags_behind_the_event_is_no_newer_wish() {
    for times in [1, 2, 3] {
        let image = share("= 444455556666 222233334444")
            .granted(ALICE)
            .granted(BOB);
        let mut function = World::new().permissive().image(image).start();
        // The first read shows the new tags, the looks after a write those before.
        let lag = Fault::new("DescribeImages", FaultKind::Stale).skip(1);
        function.emulator.fault(lag.times(times));
        function.emulator.act(retag("= 444455556666")).unwrap();
        let answer = function.invoke(&tag_changed(&function.emulator.image(IMAGE).unwrap()));
        assert_eq!(function.grantees(IMAGE), [ALICE], "{answer:#}");
        let calls = function.emulator.calls();
        assert!(!calls.iter().any(|call| let_in(call, BOB)), "{answer:#}");
    }
}

#[test]
fn an_event_is_not_lost_when_a_later_read_lags_behind_it() {
    let available = || Act::SetState {
        image_id: IMAGE.into(),
        state: ec2_emulator::ImageState::Available,
    };
    for code in ["RequestLimitExceeded", "InvalidAMIID.Unavailable"] {
        for (before, after) in [
            (Some(share(ALICE).pending()), available()),
            (Some(Image::new(IMAGE)), retag(ALICE)),
            (None, retag(ALICE)),
        ] {
            let mut function = World::new().permissive().start();
            let was_there = before.is_some();
            function.emulator.add_all(before);
            let lag = Fault::new("DescribeImages", FaultKind::Stale).skip(1);
            function.emulator.fault(lag);
            if !was_there {
                function.emulator.add(Image::new(IMAGE));
            }
            function.emulator.act(after.clone()).unwrap();
            function
                .emulator
                .fault(Fault::error("ModifyImageAttribute", code));
            let sent = match &after {
                Act::AddTags { .. } if was_there => {
                    tag_changed(&function.emulator.image(IMAGE).unwrap())
                }
                _ => event("ami-available"),
            };
            let answer = function.invoke(&sent);
            assert_eq!(function.grantees(IMAGE), [ALICE], "{code}: {answer:#}");
        }
    }
}

#[test]
fn a_deleted_tag_is_waited_for_as_well() {
    let part = "ami-warden:launch-permission:b";
    let before = share("= 444455556666")
        .tag(part, BOB)
        .granted(ALICE)
        .granted(BOB);
    let mut function = World::new().permissive().image(before).start();
    lag_behind(&function, &share("= 444455556666"));
    let mut deleted = event("call-delete-tags");
    deleted["detail"]["requestParameters"]["tagSet"]["items"] = json!([{ "key": part }]);
    assert_eq!(
        function.invoke(&deleted)["Summary"],
        json!({ "applied": 1 })
    );
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

#[test]
fn a_forged_or_outdated_tag_event_costs_ten_seconds_and_nothing_else() {
    let mut function = World::new()
        .permissive()
        .image(share(ALICE).granted(ALICE))
        .start();
    let began = Instant::now();
    let answer = function.invoke(&tag_changed(&share("all 444455556666 222233334444")));
    let waited = began.elapsed();
    assert_eq!(answer["Summary"], json!({ "unchanged": 1 }));
    assert!(
        waited > Duration::from_secs(9) && waited < Duration::from_secs(15),
        "{waited:?}"
    );
    assert!(function.emulator.writes().is_empty());
    assert_eq!(function.grantees(IMAGE), [ALICE]);
}

const NOT_YET: [&str; 3] = [
    "InvalidAMIID.NotFound",
    "InvalidAMIID.Unavailable",
    "IncorrectState",
];
const READ_AND_WRITE: [&str; 2] = ["DescribeImageAttribute", "ModifyImageAttribute"];

#[test]
fn not_yet_is_not_no_the_image_is_read_again_and_the_call_repeated() {
    for code in NOT_YET {
        for action in READ_AND_WRITE {
            let mut function = World::new().permissive().image(share(ALICE)).start();
            function.emulator.fault(Fault::error(action, code).times(2));
            let answer = function.invoke(&event("ami-available"));
            assert_eq!(
                answer["Summary"],
                json!({ "applied": 1 }),
                "{action} {code}: {answer:#}"
            );
            assert_holds(&answer["Images"][0], &json!({ "Refusals": [] }));
            assert_eq!(function.grantees(IMAGE), [ALICE]);
            assert!(
                function.counts()["DescribeImages"] >= 4,
                "{action} {code}: read before each further try"
            );
        }
    }
}

#[test]
fn not_yet_that_lasts_fails_the_image_and_keeps_the_event() {
    std::thread::scope(|scope| {
        for action in READ_AND_WRITE {
            for code in NOT_YET {
                scope.spawn(move || {
                    let mut function = World::new().permissive().image(share(ALICE)).start();
                    function
                        .emulator
                        .fault(Fault::error(action, code).forever());
                    let time = Duration::from_secs(5);
                    let failed = function
                        .invoke_for(time, &event("ami-available").to_string())
                        .unwrap_err();
                    let entry = only_entry(&failed.answer());
                    assert_holds(
                        &entry["Error"],
                        &json!({ "Operation": action, "Code": code }),
                    );
                    assert_eq!(entry["Refusals"], json!([]));
                    assert!(
                        function.counts()[action] > 1,
                        "{action} {code} was tried again"
                    );
                });
            }
        }
    });
}

#[test]
fn an_image_that_is_gone_or_in_another_state_when_ec2_says_not_yet_is_told_of_as_such() {
    for action in READ_AND_WRITE {
        let at = || CallMatch::new(action);
        let mut function = World::new().permissive().image(share(ALICE)).start();
        function.emulator.trigger(Trigger::before(
            at(),
            [Act::Deregister {
                image_id: IMAGE.into(),
            }],
        ));
        assert_holds(
            &function.look(),
            &json!({ "Outcome": "skipped", "Reason": "not-found" }),
        );

        let mut function = World::new().permissive().image(share(ALICE)).start();
        let disable = Act::SetState {
            image_id: IMAGE.into(),
            state: ec2_emulator::ImageState::Disabled,
        };
        function.emulator.trigger(Trigger::before(at(), [disable]));
        function
            .emulator
            .fault(Fault::error(action, "IncorrectState"));
        assert_holds(
            &function.look(),
            &json!({ "Outcome": "skipped", "Reason": "disabled" }),
        );
    }
}

#[test]
fn an_image_that_is_deregistered_in_mid_sweep_does_not_fail_the_sweep() {
    let world = (0..5).fold(World::new().permissive(), |world, n| {
        world.image(Image::new(nth(n)).tag(TAG, ALICE))
    });
    let mut function = world.start();
    let read = CallMatch::new("DescribeImageAttribute").with("ImageId", &nth(2));
    function.emulator.trigger(Trigger::before(
        read,
        [Act::Deregister { image_id: nth(2) }],
    ));
    assert_eq!(
        function.invoke(&json!({ "Sweep": {} }))["Summary"],
        json!({ "applied": 4, "skipped": 1 })
    );
}

#[test]
fn a_status_tag_that_somebody_else_writes_at_the_same_time_is_written_again() {
    for (action, image, status) in [
        (
            "CreateTags",
            share("all"),
            Some("public-not-allowed:ami-0123456789abcdef0"),
        ),
        (
            "DeleteTags",
            share("-all").tag("image-status", "refused before"),
            None,
        ),
    ] {
        let mut function = World::new()
            .setting("STATUS_TAG", "image-status")
            .image(image)
            .start();
        function
            .emulator
            .fault(Fault::error(action, "ConcurrentTagAccess").times(2));
        function.look();
        let tags = function.emulator.image(IMAGE).unwrap().tags;
        assert_eq!(
            tags.get("image-status").map(String::as_str),
            status,
            "{action}"
        );
        assert_eq!(function.counts()[action], 3);
    }
}

/// After a write somebody shares the image with BOB by hand.
fn shared_by_hand(writes: CallMatch) -> Trigger {
    Trigger::after(
        writes,
        [Act::Share {
            image_id: IMAGE.into(),
            with: [BOB.parse().unwrap()].into(),
        }],
    )
}

#[test]
fn permissions_that_stand_against_an_exact_list_are_put_right_at_once() {
    let mut function = World::new()
        .permissive()
        .image(share("= 444455556666"))
        .start();
    function
        .emulator
        .trigger(shared_by_hand(CallMatch::new("ModifyImageAttribute")));
    let entry = function.look();
    assert_eq!(function.grantees(IMAGE), [ALICE], "{entry:#}");
    assert_eq!(entry["Outcome"], "applied");
    let last = entry["Changes"].as_array().unwrap().last().unwrap();
    assert_holds(
        last,
        &json!({ "Remove": [BOB], "After": [ALICE], "Confirmed": true }),
    );
}

#[test]
fn permissions_that_keep_standing_against_an_exact_list_fail_the_image_after_five_rounds() {
    let mut function = World::new()
        .permissive()
        .image(share("= 444455556666"))
        .start();
    function.emulator.trigger(shared_by_hand(
        CallMatch::new("ModifyImageAttribute").forever(),
    ));
    let failed = function.try_invoke(&event("ami-available")).unwrap_err();
    let entry = only_entry(&failed.answer());
    assert_eq!(entry["Error"]["Code"], "Unsettled");
    assert_eq!(function.counts()["ModifyImageAttribute"], 5);
}

#[test]
fn permissions_that_nobody_asked_for_stay_where_the_list_is_not_exact() {
    let mut function = World::new().permissive().image(share(ALICE)).start();
    function
        .emulator
        .trigger(shared_by_hand(CallMatch::new("ModifyImageAttribute")));
    let entry = function.look();
    assert_holds(
        &entry["Changes"][0],
        &json!({ "After": [BOB, ALICE], "Confirmed": false }),
    );
    assert_eq!(
        (&entry["Outcome"], function.counts()["ModifyImageAttribute"]),
        (&json!("applied"), 1)
    );
}

#[test]
fn a_read_back_that_fails_leaves_the_image_applied_with_a_note() {
    let mut function = World::new()
        .permissive()
        .image(share("= 444455556666"))
        .start();
    function.emulator.fault(
        Fault::error("DescribeImageAttribute", "UnauthorizedOperation")
            .skip(1)
            .forever(),
    );
    let entry = function.look();
    assert_holds(&entry, &json!({ "Outcome": "applied" }));
    assert_holds(
        &entry["Changes"][0],
        &json!({ "After": [ALICE], "Confirmed": false }),
    );
    let note = entry["Notes"][0].as_str().unwrap();
    assert!(
        note.contains("DescribeImageAttribute failed with UnauthorizedOperation"),
        "{note}"
    );
}

#[test]
fn a_settled_image_costs_what_it_cost_before_and_a_changed_one_one_read_more_in_the_same_round_trip()
 {
    let latency = Duration::from_millis(300);
    let world = World::with(Config {
        latency,
        ..Config::default()
    })
    .permissive();
    let mut function = world.image(share(ALICE)).start();
    function.look();
    let calls = function.emulator.take_calls();
    let actions: Vec<_> = calls.iter().map(|call| call.action.as_str()).collect();
    assert_eq!(
        actions[..3],
        [
            "DescribeImages",
            "DescribeImageAttribute",
            "ModifyImageAttribute"
        ]
    );
    assert_eq!(
        (actions.len(), calls[4].in_flight),
        (5, 2),
        "the look after the write and the read-back go out together"
    );
    function.look();
    assert_eq!(function.emulator.take_calls().len(), 2);
}
