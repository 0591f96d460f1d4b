//! How fast a sweep is against EC2's limits, and what it needs of memory: `make bench-sweep`.
//!
//! Measures the built function (`AMI_WARDEN_BINARY`) against the EC2 emulator with EC2's published
//! token buckets, and with twenty times as much:
//! <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>. Nobody tells the
//! function of them. With `SWEEP_PYTHON`, a Python that has boto3 and Cloud Custodian, it measures
//! these as well. An argument runs one table alone: `limits`, `memory` or `peers`.

#[path = "../../tests/e2e/world.rs"]
#[allow(dead_code, unused_imports)] // made for the tests, which use all of it
mod world;

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use ec2_emulator::{Buckets, Call, Config, Emulator, Fault, FaultKind, Image, ParameterType};
use serde_json::{Value, json};
use world::{Function, World};

/// The longest that Lambda lets a function run.
const TIME: Duration = Duration::from_secs(15 * 60);

/// What EC2's answers take, roughly.
const LATENCY: Duration = Duration::from_millis(20);

/// A slow image's answers take this long.
const SLOW: FaultKind = FaultKind::Latency { ms: 3000 };

/// The account that the images' tags name.
const ACCOUNT: &str = "444455556666";

const TAG: &str = "ami-warden:launch-permission";

/// The most memory that a sweep may need, in megabytes.
const MEMORY_MAX: f64 = 24.0;

/// The bucket that limits a sweep: the call, its burst, and its refill a second.
struct Limit {
    operation: &'static str,
    burst: u32,
    refill: u32,
}

const READ: Limit = Limit {
    operation: "DescribeImageAttribute",
    burst: 100,
    refill: 20,
};

const WRITE: Limit = Limit {
    operation: "ModifyImageAttribute",
    burst: 100,
    refill: 5,
};

/// Images that are all alike, but for one in a hundred.
struct Estate {
    name: &'static str,
    images: u32,
    kind: Kind,
    /// What each call about one image in a hundred meets.
    odd: Option<FaultKind>,
    limit: &'static Limit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Shared as the tag asks.
    Settled,
    /// To be shared with one account.
    Changed,
    /// Asks for a thousand accounts, none of which is allowed.
    Refused,
    /// With a key that is mistyped.
    Mistyped,
    /// To be shared, and EC2 refuses each write with a long message.
    Failing,
}

fn main() {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let runs = |table: &str| only.as_deref().is_none_or(|only| only == table);
    let mut broken = Vec::new();
    if runs("limits") {
        limits(&mut broken);
    }
    if runs("memory") {
        memory(&mut broken);
    }
    match std::env::var("SWEEP_PYTHON") {
        Ok(python) if runs("peers") => peers(&python),
        _ => {}
    }
    assert!(broken.is_empty(), "{}", broken.join("; "));
}

/// Sweeps estates against limits, and notes each that is slower than 90 % of its limit or loses an
/// image.
fn limits(broken: &mut Vec<String>) {
    println!(
        "Against EC2's limits; EC2 answers after {} ms\n",
        LATENCY.as_millis()
    );
    println!(
        "| limits | images | all of them | limited by | seconds | at best | images a second | of the limit | throttled answers | calls an image | lost |"
    );
    println!("| --- | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (times, images) in [(1, [1000, 600, 1000]), (20, [10_000, 6000, 6000])] {
        let [settled, changed, refused] = images;
        for (name, kind, images, odd, limit) in [
            ("settled", Kind::Settled, settled, None, &READ),
            ("changed", Kind::Changed, changed, None, &WRITE),
            (
                "refused, 1,000 accounts each",
                Kind::Refused,
                refused,
                None,
                &READ,
            ),
            (
                "settled, 1 % slow",
                Kind::Settled,
                settled,
                Some(SLOW),
                &READ,
            ),
            (
                "settled, 1 % fail",
                Kind::Settled,
                settled,
                Some(FaultKind::error("InternalError")),
                &READ,
            ),
        ] {
            let estate = Estate {
                name,
                images,
                kind,
                odd,
                limit,
            };
            let (part, lost) = against_limits(&estate, times);
            if part < 0.9 || lost > 0 {
                broken.push(format!(
                    "{name} ×{times}: {:.0} % of the limit, {lost} lost",
                    part * 100.0
                ));
            }
        }
    }
    println!();
}

/// Sweeps an estate and prints a row; the part of the limit that was reached, and how many images
/// were lost.
fn against_limits(estate: &Estate, times: u32) -> (f64, u64) {
    let mut function = populate(limited(times), estate).start();
    let (answer, _) = sweep(&mut function);
    let calls = function.emulator.calls();
    let odd = odd_ids(estate);
    let seconds = seconds_for_the_others(&calls, &odd);
    let Limit {
        operation,
        burst,
        refill,
    } = estate.limit;
    let at_best = f64::from(estate.images - burst * times) / f64::from(refill * times);
    let throttled: u64 = function.emulator.throttled().values().sum();
    let outcomes = answer["Summary"].as_object().unwrap();
    let told: u64 = outcomes.values().map(|count| count.as_u64().unwrap()).sum();
    let wrong = match (estate.kind, &estate.odd) {
        (_, Some(FaultKind::Error { .. })) => answer["Summary"]["failed"]
            .as_u64()
            .unwrap_or(0)
            .abs_diff(odd.len() as u64),
        (kind, _) => {
            u64::from(estate.images) - answer["Summary"][kind.outcome()].as_u64().unwrap_or(0)
        }
    };
    let lost = wrong + u64::from(estate.images).abs_diff(told);
    println!(
        "| ×{times} | {} | {} | {operation} ({} + {}/s) | {seconds:.1} | {at_best:.1} | {:.1} | {:.0} % | {throttled} | {:.2} | {lost} |",
        estate.images,
        estate.name,
        burst * times,
        refill * times,
        f64::from(estate.images) / seconds,
        100.0 * at_best / seconds,
        calls.len() as f64 / f64::from(estate.images),
    );
    (at_best / seconds, lost)
}

/// From the first call to the end of the last one about an image that is not odd.
fn seconds_for_the_others(calls: &[Call], odd: &BTreeSet<String>) -> f64 {
    let about_odd = |call: &Call| call.param("ImageId").is_some_and(|id| odd.contains(id));
    let first = calls.first().unwrap().at_ms;
    let about_image = |call: &&Call| call.param("ImageId").is_some() && !about_odd(call);
    let last = calls
        .iter()
        .filter(about_image)
        .map(|call| call.done_ms)
        .max();
    (last.unwrap_or(first) - first) as f64 / 1000.0
}

/// Sweeps the worst estates that AWS's quotas allow, and notes each that needs too much memory.
fn memory(broken: &mut Vec<String>) {
    println!("Memory, without limits\n");
    println!("| images | all of them | peak memory, MB | answer, bytes | seconds |");
    println!("| ---: | --- | ---: | ---: | ---: |");
    for (images, name, kind) in [
        (1_000, "settled", Kind::Settled),
        (50_000, "settled", Kind::Settled),
        (50_000, "refused, 1,000 accounts each", Kind::Refused),
        (20_000, "a mistyped key", Kind::Mistyped),
        (1_000, "fail, with EC2's longest messages", Kind::Failing),
    ] {
        let estate = Estate::even(name, images, kind);
        let mut function = populate(World::new(), &estate).start();
        let start = Instant::now();
        let (answer, bytes) = sweep(&mut function);
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(answer["Summary"], json!({ kind.outcome(): images }));
        let peak = function.peak_memory_mb();
        println!("| {images} | {name} | {peak:.1} | {bytes} | {seconds:.1} |");
        if peak > MEMORY_MAX {
            broken.push(format!("{images} images, {name}: {peak:.1} MB"));
        }
    }
    println!();
}

/// Lets a loop of boto3 and Cloud Custodian do the same, against the published limits.
fn peers(python: &str) {
    println!("Beside a loop with boto3 and Cloud Custodian, at the published limits\n");
    println!(
        "| by | images | all of them | seconds | throttled answers | writes sent | not shared at the end | peak memory, MB |"
    );
    println!("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |");
    for (images, name, kind) in [
        (1000, "settled", Kind::Settled),
        (600, "changed", Kind::Changed),
    ] {
        let estate = Estate::even(name, images, kind);
        for by in ["ami-warden", "boto3_loop", "c7n_policy"] {
            let world = populate(limited(1), &estate);
            let start = Instant::now();
            if by == "ami-warden" {
                let mut function = world.start();
                sweep(&mut function);
                let (took, peak) = (start.elapsed(), function.peak_memory_mb());
                peer_row(by, &estate, &function.emulator, took, peak);
            } else {
                let peak = run_peer(python, by, &world.emulator);
                peer_row(by, &estate, &world.emulator, start.elapsed(), peak);
            }
        }
    }
}

fn peer_row(by: &str, estate: &Estate, emulator: &Emulator, took: Duration, peak: f64) {
    let throttled: u64 = emulator.throttled().values().sum();
    let writes = emulator.writes().len();
    let left = (0..estate.images)
        .filter(|n| emulator.image(&nth(*n)).unwrap().grantees() != [ACCOUNT])
        .count();
    println!(
        "| {by} | {} | {} | {:.1} | {throttled} | {writes} | {left} | {peak:.1} |",
        estate.images,
        estate.name,
        took.as_secs_f64(),
    );
}

/// Runs a peer and returns its peak memory in megabytes, which it prints at its end.
fn run_peer(python: &str, name: &str, emulator: &Emulator) -> f64 {
    let script = format!(
        "{}/benches/sweep/peers/{name}.py",
        env!("CARGO_MANIFEST_DIR")
    );
    let output = Command::new(python)
        .arg(script)
        .env("AWS_ENDPOINT_URL", emulator.url())
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = printed.lines().last().unwrap_or_default();
    last.parse()
        .unwrap_or_else(|_| panic!("{name} did not end well:\n{printed}\n{errors}"))
}

/// The answer, or that of an invocation with failed images, and its bytes.
fn sweep(function: &mut Function) -> (Value, usize) {
    match function.invoke_for(TIME, &json!({ "Sweep": {} }).to_string()) {
        Ok(answer) => {
            let bytes = answer.to_string().len();
            (answer, bytes)
        }
        Err(failed) => (failed.answer(), failed.error_message.len()),
    }
}

/// An EC2 with the published limits, so many times as large.
fn limited(times: u32) -> World {
    World::with(Config {
        latency: LATENCY,
        buckets: Buckets::published().times(f64::from(times)),
        ..Config::default()
    })
}

impl Estate {
    /// Images that are all alike.
    fn even(name: &'static str, images: u32, kind: Kind) -> Self {
        Self {
            name,
            images,
            kind,
            odd: None,
            limit: &READ,
        }
    }
}

impl Kind {
    /// The outcome of such an image.
    fn outcome(self) -> &'static str {
        match self {
            Self::Settled => "unchanged",
            Self::Changed => "applied",
            Self::Refused | Self::Mistyped => "refused",
            Self::Failing => "failed",
        }
    }

    fn image(self, n: u32) -> Image {
        let image = Image::new(nth(n));
        match self {
            Self::Settled => image.tag(TAG, ACCOUNT).granted(ACCOUNT),
            Self::Changed | Self::Failing => image.tag(TAG, ACCOUNT),
            Self::Refused => image.tag(TAG, "@half @other-half"),
            Self::Mistyped => image.tag("ami-warden:lauch-permission", ACCOUNT),
        }
    }
}

/// Adds the images, and the rest that they need.
fn populate(world: World, estate: &Estate) -> World {
    world
        .emulator
        .add_all((0..estate.images).map(|n| estate.kind.image(n)));
    for id in odd_ids(estate) {
        let odd = estate.odd.clone().unwrap();
        world
            .emulator
            .fault(Fault::new("*", odd).with("ImageId", &id).forever());
    }
    match estate.kind {
        Kind::Refused => {
            for (group, begin) in [("half", 0), ("other-half", 500)] {
                let members: Vec<_> = (begin..begin + 500)
                    .map(|n| (200_000_000_000_u64 + n).to_string())
                    .collect();
                let name = format!("/ami-warden/groups/{group}");
                world
                    .emulator
                    .put_parameter(&name, &members.join(","), ParameterType::StringList);
            }
            // The lines of 50,000 such images are gigabytes, which the bench would have to keep.
            world
                .setting("POLICY_PATH", "/ami-warden")
                .setting("AWS_LAMBDA_LOG_LEVEL", "ERROR")
        }
        Kind::Failing => {
            let message = "You are not authorized to perform this operation. Encoded authorization failure message: ";
            let kind = FaultKind::Error {
                code: "UnauthorizedOperation".into(),
                status: None,
                message: Some(message.to_owned() + &"x".repeat(3000)),
            };
            world
                .emulator
                .fault(Fault::new("ModifyImageAttribute", kind).forever());
            world.permissive()
        }
        _ => world.permissive(),
    }
}

fn odd_ids(estate: &Estate) -> BTreeSet<String> {
    if estate.odd.is_none() {
        return BTreeSet::new();
    }
    (0..estate.images)
        .filter(|n| n % 100 == 50)
        .map(nth)
        .collect()
}

/// Ids spread over the estate, as EC2's are.
fn nth(n: u32) -> String {
    format!("ami-0{:04x}{n:012x}", n.wrapping_mul(40_503) & 0xffff)
}
