//! Mixed events and random faults for ten minutes: memory stays flat, no event is lost, every image
//! is right at the end.
//!
//! Runs the built function (`AMI_WARDEN_BINARY`) for `SOAK_SECONDS` (default 600); `SOAK_SEED`
//! repeats a run.

#[path = "../tests/e2e/world.rs"]
#[allow(dead_code, unused_imports)] // made for the tests, which use all of it
mod world;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use ec2_emulator::{Fault, FaultKind, Grantee, Image, ImageState};
use fastrand::Rng;
use serde_json::{Value, json};
use world::{ALICE, BOB, Function, World};

const IMAGES: usize = 60;

fn main() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let time = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(600));
    let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("A soak of {} s, SOAK_SEED={seed}\n", time.as_secs());
    let world = World::new()
        .setting("ALLOW_PUBLIC", "true")
        .setting("ALLOWED_GRANTEES", &format!("{ALICE},{BOB}"));
    let mut soak = Soak {
        function: world.setting("STATUS_TAG", "warden-status").start(),
        random: Rng::with_seed(seed),
        again: VecDeque::new(),
        invocations: 0,
        kept: 0,
        dead: 0,
        calls: 0,
        faults: BTreeMap::new(),
    };
    for n in 0..IMAGES {
        soak.function.emulator.add(Image::new(id(n)));
    }
    soak.function
        .emulator
        .edit(|state| state.public_image_quota = IMAGES);

    // Memory is compared after everything has been used once.
    let warm = Instant::now();
    while warm.elapsed() < (time / 10).min(Duration::from_secs(60)) {
        soak.step();
    }
    let (begin, started) = (soak.function.memory_mb(), Instant::now());
    let mut samples = vec![begin];
    while started.elapsed() < time {
        soak.step();
        if started.elapsed() > time * u32::try_from(samples.len()).unwrap_or(u32::MAX) / 20 {
            samples.push(soak.function.memory_mb());
        }
    }
    let end = soak.function.memory_mb();
    soak.settle();

    println!("| what | figure |\n| --- | ---: |");
    println!("| invocations | {} |", soak.invocations);
    println!(
        "| of them failed, so that the event was kept | {} |",
        soak.kept
    );
    println!("| calls to EC2 | {} |", soak.calls);
    println!(
        "| faults injected | {} |",
        soak.faults.values().sum::<u64>()
    );
    for (kind, count) in &soak.faults {
        println!("| … {kind} | {count} |");
    }
    println!(
        "| events in the dead-letter queue at the end | {} |",
        soak.dead
    );
    println!("| memory at the start, MB | {begin:.1} |");
    println!("| memory at the end, MB | {end:.1} |");
    println!("| peak, MB | {:.1} |", soak.function.peak_memory_mb());
    println!("| images right at the end | {IMAGES} of {IMAGES} |");
    let (early, late) = samples.split_at(samples.len() / 2);
    let middle = |part: &[f64]| {
        part.iter().sum::<f64>() / f64::from(u32::try_from(part.len()).unwrap_or(1).max(1))
    };
    println!(
        "| memory, mean of the first half, MB | {:.1} |",
        middle(early)
    );
    println!(
        "| memory, mean of the second half, MB | {:.1} |",
        middle(late)
    );
    assert!(
        end < begin * 1.1 + 1.0,
        "memory grew from {begin:.1} to {end:.1} MB"
    );
}

fn id(n: usize) -> String {
    format!("ami-{n:017x}")
}

struct Soak {
    function: Function,
    random: Rng,
    /// Events that failed, with how often they came: Lambda brings each again twice.
    again: VecDeque<(Value, u32)>,
    invocations: u64,
    kept: u64,
    dead: u64,
    calls: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Soak {
    /// Something happens, something goes wrong, and an event comes: a new one, or one that failed
    /// before.
    fn step(&mut self) {
        let retry = if self.random.bool() {
            self.again.pop_front()
        } else {
            None
        };
        let event = retry.unwrap_or_else(|| (self.happen(), 0));
        for _ in 0..self.random.u8(0..3) {
            self.fault();
        }
        let time = if self.random.u8(..) < 40 {
            Duration::from_millis(500)
        } else {
            Duration::from_secs(5)
        };
        self.deliver(event, time);
        self.count_calls();
        self.function.emulator.clear_faults();
    }

    fn count_calls(&mut self) {
        self.calls += self.function.emulator.take_calls().len() as u64;
    }

    fn deliver(&mut self, (event, times): (Value, u32), time: Duration) {
        self.invocations += 1;
        match self.function.invoke_for(time, &event.to_string()) {
            Ok(answer) => {
                if let Some(next) = answer.get("Continue") {
                    // As the template routes it.
                    let event = json!({ "detail-type": "Continue", "source": "ami-warden", "detail": next });
                    self.again.push_back((event, 0));
                }
            }
            Err(failed) => {
                assert!(
                    ["ImagesFailed", "SweepFailed"].contains(&failed.error_type.as_str()),
                    "{failed:?}"
                );
                self.kept += 1;
                if times < 2 {
                    self.again.push_back((event, times + 1))
                } else {
                    self.dead += 1
                }
            }
        }
    }

    /// Somebody does something to an image; the event that tells of it.
    fn happen(&mut self) -> Value {
        const SHARES: [&str; 7] = [
            "444455556666",
            "= 222233334444",
            "= 222233334444 444455556666",
            "all",
            "= all",
            "-all -444455556666",
            "999988887777",
        ];
        let id = id(self.random.usize(..IMAGES));
        let (what, share) = (
            self.random.u8(..10),
            SHARES[self.random.usize(..SHARES.len())],
        );
        let version = self.random.u8(..);
        self.function.emulator.edit(|state| {
            let Some(image) = state.images.get_mut(&id) else {
                return;
            };
            match what {
                0..=3 => drop(
                    image
                        .tags
                        .insert("ami-warden:launch-permission".into(), share.into()),
                ),
                4 => drop(image.tags.insert(
                    "ami-warden:description".into(),
                    format!("version {version}"),
                )),
                5 => drop(
                    image
                        .tags
                        .insert("ami-warden:imds-support".into(), "v2.0".into()),
                ),
                6 => drop(image.tags.remove("ami-warden:launch-permission")),
                7 => {
                    image.state = ImageState::Disabled;
                    image.launch_permissions.clear();
                }
                8 => image.state = ImageState::Available,
                _ if image.state == ImageState::Available => {
                    _ = image.launch_permissions.insert(Grantee::all())
                }
                _ => {}
            }
        });
        let mut event = world::event(match what {
            0..=2 => "tag-changed",
            3..=5 => "call-create-tags",
            6 => "tag-deleted",
            7 => "ami-disabled",
            8 => "ami-available",
            _ if self.random.u8(..) < 64 => "scheduled-rule",
            _ => "look",
        });
        for (pointer, value) in [
            ("/resources/0", format!("arn:aws:ec2:us-east-1::image/{id}")),
            (
                "/detail/requestParameters/resourcesSet/items/0/resourceId",
                id.clone(),
            ),
            ("/detail/ImageId", id.clone()),
            ("/ImageId", id),
        ] {
            if let Some(place) = event.pointer_mut(pointer) {
                *place = value.into();
            }
        }
        event
    }

    /// A call goes wrong, once or a few times.
    fn fault(&mut self) {
        const ACTIONS: [&str; 8] = [
            "*",
            "DescribeImages",
            "DescribeImageAttribute",
            "DescribeSnapshots",
            "GetImageBlockPublicAccessState",
            "ModifyImageAttribute",
            "CreateTags",
            "DeleteTags",
        ];
        let garbage = |status| FaultKind::Garbage {
            status,
            body: "<html>".into(),
        };
        let (name, kind) = match self.random.u8(..11) {
            0 => ("throttled", FaultKind::error("RequestLimitExceeded")),
            1 => ("HTTP 500", FaultKind::error("InternalError")),
            2 => ("HTTP 503", FaultKind::error("Unavailable")),
            3 => ("reset before", FaultKind::ResetBefore),
            4 => ("reset after", FaultKind::ResetAfter),
            5 => ("truncated", FaultKind::Truncated),
            6 => (
                "garbage",
                garbage(if self.random.bool() { 200 } else { 502 }),
            ),
            7 => (
                "slow",
                FaultKind::Latency {
                    ms: self.random.u64(1..300),
                },
            ),
            8 => (
                "hangs, then reset",
                FaultKind::Hang {
                    ms: Some(self.random.u64(1..300)),
                },
            ),
            9 => ("stale", FaultKind::Stale),
            _ => ("access denied", FaultKind::error("UnauthorizedOperation")),
        };
        *self.faults.entry(name).or_default() += 1;
        let fault = Fault::new(ACTIONS[self.random.usize(..ACTIONS.len())], kind);
        self.function.emulator.fault(
            fault
                .skip(self.random.u32(..3))
                .times(self.random.u32(1..4)),
        );
    }

    /// A sweep when all is well; then every image has to be right.
    fn settle(&mut self) {
        self.function.emulator.clear_faults();
        let sweep = json!({ "Sweep": {} });
        self.function.invoke(&sweep);
        self.function.emulator.take_calls();
        let answer = self.function.invoke(&sweep);
        assert!(self.function.emulator.writes().is_empty(), "{answer:#}");
        for n in 0..IMAGES {
            if let Some(image) = self.function.emulator.image(&id(n)) {
                check(&image);
            }
        }
    }
}

/// Whether an image is as its tags want it, written from the contract and not from the code.
fn check(image: &Image) {
    if image.state != ImageState::Available {
        return;
    }
    let tag = |name: &str| {
        image
            .tags
            .get(&format!("ami-warden:{name}"))
            .map(String::as_str)
    };
    let grantees = image.grantees();
    let has = |grantee: &str| grantees.iter().any(|other| other == grantee);
    let right = match tag("launch-permission") {
        Some("444455556666") => has(ALICE),
        Some("= 222233334444") => grantees == [BOB],
        Some("= 222233334444 444455556666") => grantees == [BOB, ALICE],
        Some("all") => image.is_public(),
        Some("= all") => grantees == ["all"],
        Some("-all -444455556666") => !has("all") && !has(ALICE),
        // Not allowed: nobody of that name, and the status tag says so.
        Some("999988887777") => !has("999988887777") && image.tags.contains_key("warden-status"),
        _ => true,
    };
    assert!(right, "{image:?}");
    assert!(
        tag("description").is_none() || image.description.as_deref() == tag("description"),
        "{image:?}"
    );
    assert!(
        tag("imds-support").is_none() || image.imds_support.is_some(),
        "{image:?}"
    );
}
