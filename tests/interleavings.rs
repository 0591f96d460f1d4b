//! Two invocations overlap while people change the image or the policy: every schedule of all their
//! calls ends as the newest wish wants, and on the way nobody is let in by a wish that its
//! invocation could know to be withdrawn. The function is the real one; `schedule` says how the
//! search works.
//!
//! Without the AWS SDK: `cargo test --no-default-features --test interleavings`.

mod schedule;
mod world;

use std::{collections::BTreeSet, time::Duration};

use ami_warden::Settings;
use ami_warden_core::{Image, ImageState};
use schedule::{Broken, Cue, Doing, Explored, Fault, Part, Scene, explore};
use serde_json::{Value, json};
use world::{Account, ID, Truth, grantee, plain_image, tag};

const A: &str = "222233334444";
const B: &str = "333344445555";
const C: &str = "444455556666";
/// A public image shows it, and a description is a part of the image.
const WITH_IMAGE: &[Part] = &[Part::Launch, Part::Image];

/// An image with this tag and these launch permissions. The first invocation begins at any time,
/// and the second at any time after the last of the doings, which its event tells of.
fn scene(
    wish: &str,
    launch: &[&str],
    doings: Vec<Doing>,
    is_as_wanted: fn(&Truth) -> bool,
) -> Scene {
    let mut image = plain_image();
    image.tags.extend([tag("launch-permission", wish)]);
    let launch = launch.iter().map(|name| grantee(name)).collect();
    let second = Cue {
        after: doings.len(),
        event: tag_change,
    };
    Scene {
        settings: settings(false),
        account: Account::of(Truth::of(image, launch)),
        doings,
        cues: vec![
            Cue {
                after: 0,
                event: look,
            },
            second,
        ],
        written: &[Part::Launch],
        held_up: (0, Duration::ZERO),
        faults: (0, &[]),
        lags: false,
        crashes: 0,
        is_as_wanted,
    }
}

fn settings(has_policy: bool) -> Settings {
    let value = |name: &str| match name {
        "ALLOW_PUBLIC" => Some("true"),
        "ALLOWED_GRANTEES" => Some("*"),
        "POLICY_PATH" if has_policy => Some("/ami-warden"),
        _ => None,
    };
    Settings::from_vars(|name| value(name).map(str::to_owned)).unwrap()
}

fn look(_: &Image) -> Value {
    json!({ "ImageId": ID })
}

fn available(_: &Image) -> Value {
    serde_json::from_str(include_str!("../events/ami-available.json")).unwrap()
}

fn tag_change(image: &Image) -> Value {
    let mut event: Value =
        serde_json::from_str(include_str!("../events/tag-changed.json")).unwrap();
    event["detail"]["tags"] = json!(image.tags);
    event
}

fn parameter_change(_: &Image) -> Value {
    serde_json::from_str(include_str!("../events/parameter-changed.json")).unwrap()
}

fn sweep(_: &Image) -> Value {
    json!({ "Sweep": {} })
}

fn set(account: &mut Account, key: &str, value: &str) {
    let value = if value.is_empty() { None } else { Some(value) };
    account.change(|truth| truth.set_tag(&tag(key, "").0, value));
}

fn retag(account: &mut Account, wish: &str) {
    set(account, "launch-permission", wish);
}

/// People change tags.
fn tags(name: &'static str, act: fn(&mut Account)) -> Doing {
    Doing {
        name,
        parts: &[Part::Image],
        act,
    }
}

/// Exactly these grantees have access.
fn exactly(truth: &Truth, names: &[&str]) -> bool {
    let names: BTreeSet<_> = names.iter().map(|name| grantee(name)).collect();
    truth.launch == names
}

/// None of these grantees has access.
fn without(truth: &Truth, names: &[&str]) -> bool {
    names
        .iter()
        .all(|name| !truth.launch.contains(&grantee(name)))
}

/// Two changes of an exact list.
fn lists() -> Scene {
    scene(
        "= 222233334444 333344445555",
        &[],
        vec![
            tags("= B C", |account| {
                retag(account, "= 333344445555 444455556666")
            }),
            tags("= A", |account| retag(account, "= 222233334444")),
        ],
        |truth| exactly(truth, &[A]),
    )
}

/// One change of an exact list.
fn list() -> Scene {
    let doings = vec![tags("= A", |account| retag(account, "= 222233334444"))];
    scene("= 222233334444 333344445555", &[], doings, |truth| {
        exactly(truth, &[A])
    })
}

/// A grant is withdrawn, and so is one that came between.
fn withdrawals() -> Scene {
    scene(
        "333344445555",
        &[],
        vec![
            tags("B C", |account| retag(account, "333344445555 444455556666")),
            tags("-B -C", |account| {
                retag(account, "-333344445555 -444455556666")
            }),
        ],
        |truth| without(truth, &[B, C]),
    )
}

/// One change: the image is not to be public any more.
fn private() -> Scene {
    let doings = vec![tags("-all", |account| retag(account, "-all"))];
    let scene = scene("all", &[], doings, |truth| without(truth, &["all"]));
    Scene {
        written: WITH_IMAGE,
        ..scene
    }
}

/// One change: a grant is withdrawn.
fn withdrawal() -> Scene {
    let doings = vec![tags("-B", |account| retag(account, "-333344445555"))];
    scene("333344445555", &[], doings, |truth| without(truth, &[B]))
}

/// Description and IMDS support come first, and then a grant that is withdrawn.
fn descriptions() -> Scene {
    let mut scene = scene(
        "333344445555",
        &[],
        vec![
            tags("description", |account| set(account, "description", "new")),
            tags("-B", |account| retag(account, "-333344445555")),
        ],
        |truth| without(truth, &[B]) && truth.image.description.as_deref() == Some("new"),
    );
    scene.account.change(|truth| {
        truth
            .image
            .tags
            .extend([tag("description", "old"), tag("imds-support", "v2.0")]);
    });
    Scene {
        written: WITH_IMAGE,
        ..scene
    }
}

fn held_meanwhile() -> Scene {
    scene(
        "333344445555",
        &[],
        vec![
            tags("hold", |account| set(account, "hold", "x")),
            tags("-B, and no hold", |account| {
                account.change(|truth| {
                    truth.set_tag("ami-warden:launch-permission", Some("-333344445555"));
                    truth.set_tag("ami-warden:hold", None);
                });
            }),
        ],
        |truth| without(truth, &[B]),
    )
}

fn held_in_the_end() -> Scene {
    scene(
        "333344445555",
        &[],
        vec![
            tags("= B C", |account| {
                retag(account, "= 333344445555 444455556666")
            }),
            tags("hold", |account| set(account, "hold", "x")),
        ],
        // Whatever was written before the hold stays: only the rules on the way count.
        |_| true,
    )
}

fn disabled_meanwhile() -> Scene {
    let mut scene = scene(
        "= 333344445555",
        &[],
        vec![
            // EC2 takes all permissions away with it:
            // <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/disable-an-ami.html>
            Doing {
                name: "disable",
                parts: &[Part::Image, Part::Launch],
                act: |account| {
                    account.change(|truth| {
                        truth.image.state = ImageState::Other("disabled".to_owned());
                        truth.launch.clear();
                    });
                },
            },
            tags("enable, = C", |account| {
                account.change(|truth| {
                    truth.image.state = ImageState::Available;
                    truth.set_tag("ami-warden:launch-permission", Some("= 444455556666"));
                });
            }),
        ],
        |truth| exactly(truth, &[C]),
    );
    scene.cues[1].event = available;
    scene
}

fn by_hand_before() -> Scene {
    scene(
        "= 333344445555",
        &[],
        vec![
            Doing {
                name: "C in by hand",
                parts: &[Part::Launch],
                act: |account| account.change(|truth| truth.launch.extend([grantee(C)])),
            },
            tags("= A", |account| retag(account, "= 222233334444")),
        ],
        |truth| exactly(truth, &[A]),
    )
}

fn by_hand_after() -> Scene {
    let mut scene = scene(
        "= 333344445555",
        &[],
        vec![
            tags("= A", |account| retag(account, "= 222233334444")),
            Doing {
                name: "A out and B in by hand",
                parts: &[Part::Launch],
                act: |account| {
                    account.change(|truth| {
                        truth.launch.remove(&grantee(A));
                        truth.launch.insert(grantee(B));
                    });
                },
            },
        ],
        |truth| exactly(truth, &[A]),
    );
    // No event tells of it.
    scene.cues[1].event = sweep;
    scene
}

/// A group loses a member, whom the first invocation may let in.
fn group(first: fn(&Image) -> Value) -> Scene {
    let mut scene = scene(
        "= @team",
        &[],
        vec![Doing {
            name: "team = A",
            parts: &[Part::Parameters],
            act: |account| drop(account.parameters.insert(team(), A.to_owned())),
        }],
        |truth| exactly(truth, &[A]),
    );
    scene.settings = settings(true);
    scene.account.parameters.insert(team(), format!("{A},{B}"));
    scene.cues[0].event = first;
    scene.cues[1].event = parameter_change;
    scene
}

fn team() -> String {
    "groups/team".to_owned()
}

/// Explores the scenes, and says how large they were.
fn prove(name: &str, scenes: &[Scene]) {
    let mut all = Explored::default();
    for scene in scenes {
        match explore(scene) {
            Ok(Explored { schedules, states }) => {
                all.schedules += schedules;
                all.states += states;
            }
            Err(broken) => panic!("{name}: {broken:?}"),
        }
    }
    println!(
        "proof: {} schedules, {} states: {name}",
        all.schedules, all.states
    );
}

#[test]
fn two_invocations_and_two_changes_of_tags_end_as_the_newest_wish_wants() {
    let scenes = [lists(), withdrawals(), private(), descriptions()];
    prove("two changes of tags", &scenes);
}

#[test]
fn a_hold_stops_an_invocation_under_way() {
    prove(
        "a hold and another change",
        &[held_meanwhile(), held_in_the_end()],
    );
}

#[test]
fn an_image_that_is_disabled_and_enabled_meanwhile_ends_as_wanted() {
    prove("disabled and enabled", &[disabled_meanwhile()]);
}

#[test]
fn permissions_that_somebody_changes_by_hand_meanwhile_end_as_wanted() {
    prove(
        "permissions changed by hand",
        &[by_hand_before(), by_hand_after()],
    );
}

#[test]
fn a_group_that_changes_under_a_look_counts_in_the_end() {
    prove("a group that changes under a look", &[group(look)]);
}

#[test]
fn a_group_that_changes_under_a_sweep_counts_in_the_end() {
    prove("a group that changes under a sweep", &[group(sweep)]);
}

#[test]
fn no_write_rests_on_a_read_that_grew_old_while_a_call_was_held_up() {
    let slow = |scene: Scene| Scene {
        held_up: (1, Duration::from_secs(6)),
        ..scene
    };
    prove(
        "a call held up for 6 s",
        &[slow(withdrawal()), slow(held_meanwhile())],
    );
    // One invocation alone, which is throttled: it reads the image again, and the policy may be a
    // little older. The rules on the way count here, and not the end.
    let held_up = (2, Duration::from_secs(3));
    let faults: (_, &[_]) = (1, &[Fault::Throttled]);
    let mut alone = Scene {
        held_up,
        faults,
        is_as_wanted: |_| true,
        ..group(look)
    };
    alone.cues.pop();
    alone.doings.pop();
    prove("two calls held up for 3 s each", &[alone]);
}

#[test]
fn a_write_that_fails_is_not_sent_again_as_it_is() {
    const FAULTS: &[Fault] = &[Fault::Lost, Fault::Throttled, Fault::NotYet];
    let faulty = |scene: Scene| Scene {
        faults: (1, FAULTS),
        ..scene
    };
    prove(
        "a fault of a write",
        &[faulty(withdrawal()), faulty(list())],
    );
}

#[test]
fn a_tag_event_that_is_ahead_of_the_reads_waits_for_them() {
    prove(
        "reads that lag behind the event",
        &[Scene {
            lags: true,
            ..withdrawal()
        }],
    );
}

#[test]
fn an_event_whose_process_dies_is_finished_by_the_next_one() {
    let mortal = |scene: Scene| Scene {
        crashes: 1,
        ..scene
    };
    prove(
        "a process that dies",
        &[mortal(list()), mortal(withdrawal())],
    );
}

#[test]
fn a_broken_rule_is_found_with_its_schedule() {
    // Nobody looks after the last change: its event is lost.
    let mut scene = withdrawal();
    scene.cues.pop();
    let Err(Broken { rule, schedule }) = explore(&scene) else {
        panic!("nothing was found")
    };
    assert_eq!(rule, "the image does not end as wanted: [\"333344445555\"]");
    assert_eq!(schedule.last().unwrap(), "people: -B", "{schedule:?}");
}
