//! The function is lost at every point between two calls, and the event is delivered again, as
//! Lambda does.
//!
//! Each case runs twice for each call: once the process dies before EC2 carried the call out, once
//! after, with nobody left to hear the answer. Whatever was done by then, a fresh process ends it,
//! does nothing twice, and lets nobody in too early.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use ec2_emulator::{Call, ParameterType, State};
use serde_json::Value;

use crate::{
    newest_wish::{tag_changed, tags_created},
    world::*,
};

const STATUS_TAG: &str = "warden-status";

/// What an event has to bring about.
struct Case {
    name: &'static str,
    event: &'static str,
    image: fn() -> Image,
    grantees: &'static [&'static str],
    description: Option<&'static str>,
    status: Option<&'static str>,
}

const CASES: [Case; 5] = [
    Case {
        name: "all three attributes, public among them, and a status tag to go",
        event: "ami-available",
        image: || {
            share("444455556666 @team all")
                .tag("ami-warden:description", "as wanted")
                .tag("ami-warden:imds-support", "v2.0")
                .tag(STATUS_TAG, "refused before")
        },
        grantees: &[BOB, ALICE, "all"],
        description: Some("as wanted"),
        status: None,
    },
    Case {
        name: "one in, one out, in one call",
        event: "tag-changed",
        image: || {
            share("= 444455556666")
                .granted(BOB)
                .tag("ami-warden:description", "as wanted")
        },
        grantees: &[ALICE],
        description: Some("as wanted"),
        status: None,
    },
    Case {
        name: "private again",
        event: "call-create-tags",
        image: || {
            share("-all")
                .granted("all")
                .granted(BOB)
                .tag("ami-warden:description", "as wanted")
        },
        grantees: &[BOB],
        description: Some("as wanted"),
        status: None,
    },
    Case {
        name: "a refusal to be told of",
        event: "ami-available",
        image: || {
            share("999988887777 -222233334444")
                .granted(BOB)
                .tag("ami-warden:description", "as wanted")
        },
        grantees: &[],
        description: Some("as wanted"),
        status: Some("grantee-not-allowed:999988887777"),
    },
    Case {
        name: "a sweep",
        event: "scheduled-rule",
        image: || share("@team").tag("ami-warden:imds-support", "v2.0"),
        grantees: &[BOB],
        description: None,
        status: None,
    },
];

impl Case {
    /// The event, with the tags that the image has.
    fn event(&self) -> Value {
        match self.event {
            "tag-changed" => tag_changed(&(self.image)()),
            "call-create-tags" => tags_created(&(self.image)()),
            name => event(name),
        }
    }
}

/// What this function may change of an image.
type Seen = (Option<String>, Option<String>, Vec<String>, Option<String>);

fn seen(image: &Image) -> Seen {
    let status = image.tags.get(STATUS_TAG).cloned();
    (
        image.description.clone(),
        image.imds_support.clone(),
        image.grantees(),
        status,
    )
}

fn start(case: &Case) -> Function {
    let world = World::new()
        .setting("ALLOW_PUBLIC", "true")
        .setting("ALLOWED_GRANTEES", "444455556666,222233334444")
        .setting("POLICY_PATH", "/ami-warden")
        .setting("STATUS_TAG", STATUS_TAG)
        .image((case.image)());
    world
        .emulator
        .put_parameter("/ami-warden/groups/team", BOB, ParameterType::StringList);
    world.start()
}

/// Notes every state the image goes through, and checks each call that lets somebody in.
#[derive(Default)]
struct Watch {
    states: Vec<Seen>,
    /// What this process has asked so far.
    asked: BTreeSet<String>,
}

impl Watch {
    fn on_call(&mut self, case: &Case, call: &Call, state: &State) {
        let image = &state.images[IMAGE];
        self.note(image);
        let lets_in = call
            .params
            .iter()
            .find(|(name, _)| name.starts_with("LaunchPermission.Add."));
        if let Some((_, grantee)) = lets_in {
            assert_eq!(
                image.description.as_deref(),
                case.description,
                "{grantee} was let in before the description was right"
            );
            for action in [
                "DescribeImages",
                "DescribeImageAttribute",
                "GetParametersByPath",
            ] {
                assert!(
                    self.asked.contains(action),
                    "{grantee} was let in without {action}"
                );
            }
            let public = call
                .params
                .iter()
                .any(|(name, value)| name.ends_with(".Group") && value == "all");
            for action in ["DescribeSnapshots", "GetImageBlockPublicAccessState"] {
                assert!(
                    !public || self.asked.contains(action),
                    "made public without {action}"
                );
            }
        }
        self.asked.insert(call.action.clone());
    }

    fn note(&mut self, image: &Image) {
        let now = seen(image);
        if self.states.last() != Some(&now) {
            self.states.push(now);
        }
    }
}

#[test]
fn a_function_killed_at_any_point_is_finished_by_the_next_one_and_does_nothing_twice() {
    let mut points = Vec::new();
    for case in &CASES {
        let mut function = start(case);
        function.invoke(&case.event());
        let calls = function.emulator.calls().len();
        assert!(calls >= 5, "{}: {calls} calls", case.name);
        points.extend((0..calls).flat_map(|before| [(case, before, false), (case, before, true)]));
    }
    assert!(points.len() >= 60, "{} points", points.len());
    let number = points.len();
    let points = Mutex::new(points.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let Some((case, before, carried_out)) = points.lock().unwrap().next() else {
                        return;
                    };
                    crash(case, before, carried_out);
                }
            });
        }
    });
    println!(
        "proof: killed at {number} points of {} events, before and after each call was carried out",
        CASES.len()
    );
}

/// Lets the function die at its n-th call and delivers the event again.
fn crash(case: &'static Case, before: usize, carried_out: bool) {
    let place = format!(
        "{}, call {before}, {}",
        case.name,
        if carried_out {
            "carried out"
        } else {
            "not carried out"
        }
    );
    let mut function = start(case);
    let watch = Arc::new(Mutex::new(Watch::default()));
    function.emulator.on_call({
        let watch = Arc::clone(&watch);
        move |call, state| {
            watch
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .on_call(case, call, state)
        }
    });
    // Nobody hears an answer that comes after a minute.
    let kind = if carried_out {
        FaultKind::Latency { ms: 60_000 }
    } else {
        FaultKind::Hang { ms: None }
    };
    function.emulator.fault(
        Fault::new("*", kind)
            .skip(u32::try_from(before).unwrap())
            .forever(),
    );
    function.begin(u128::from(u32::MAX), &case.event().to_string());
    for _ in 0..2000 {
        if function.emulator.calls().len() > before {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(
        function.emulator.calls().len() > before,
        "{place}: the call never came"
    );
    function.crash();
    function.emulator.clear_faults();
    watch.lock().unwrap().asked.clear();

    let answer = function
        .try_invoke(&case.event())
        .unwrap_or_else(|failed| panic!("{place}: {failed:?}"));
    let image = function.emulator.image(IMAGE).unwrap();
    assert_eq!(image.grantees(), case.grantees, "{place}: {answer:#}");
    assert_eq!(image.description.as_deref(), case.description, "{place}");
    assert_eq!(
        image.tags.get(STATUS_TAG).map(String::as_str),
        case.status,
        "{place}"
    );
    let states = {
        let mut watch = watch.lock().unwrap();
        watch.note(&image);
        std::mem::take(&mut watch.states)
    };
    once_each(&states, &place);

    // And a third time there is nothing to do.
    function.emulator.take_calls();
    let again = function.invoke(&case.event());
    assert!(function.emulator.writes().is_empty(), "{place}: {again:#}");
}

/// Every attribute changed at most once, and went straight to what it is now.
fn once_each(states: &[Seen], place: &str) {
    let mut changes: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in states.windows(2) {
        let [from, to] = pair else { unreachable!() };
        for (name, changed) in [
            ("description", from.0 != to.0),
            ("imdsSupport", from.1 != to.1),
            ("launchPermission", from.2 != to.2),
            ("status tag", from.3 != to.3),
        ] {
            *changes.entry(name).or_default() += usize::from(changed);
        }
    }
    assert!(
        changes.values().all(|count| *count <= 1),
        "{place}: {changes:?}"
    );
}

#[test]
fn a_chain_whose_link_is_killed_goes_on_where_the_last_answer_said() {
    let mut function = World::new().permissive().start();
    let ids: Vec<String> = (0..400).map(|n| format!("ami-{n:017x}")).collect();
    for id in &ids {
        function
            .emulator
            .add(Image::new(id.as_str()).tag("ami-warden:launch-permission", ALICE));
    }
    function
        .emulator
        .fault(Fault::new("*", FaultKind::Latency { ms: 600 }).forever());
    let first = function
        .invoke_for(Duration::from_secs(8), r#"{"Sweep": {}}"#)
        .unwrap();
    function.emulator.clear_faults();
    let next = first["Continue"].clone();
    assert!(
        next["Sweep"]["After"].is_string(),
        "one invocation sufficed: the test shows nothing"
    );
    let done = function.emulator.calls_of("ModifyImageAttribute").len();
    function.begin(u128::from(u32::MAX), &next.to_string());
    while function.emulator.calls_of("ModifyImageAttribute").len() < done + 10 {
        std::thread::sleep(Duration::from_millis(1));
    }
    function.crash();
    let answer: Value = function.try_invoke(&next).unwrap();
    assert_eq!(answer.get("Continue"), None);
    assert!(ids.iter().all(|id| function.grantees(id) == [ALICE]));
    let writes = function.emulator.calls_of("ModifyImageAttribute").len();
    // What was under way when the process died may have been sent twice: adding who is there
    // changes nothing.
    assert!(
        writes <= ids.len() + 16,
        "{writes} writes for {} images",
        ids.len()
    );
}
