//! How fast a sweep is against the limits EC2 publishes, and what it needs of memory: `make bench-sweep`.
//!
//! Measures the built function (`AMI_WARDEN_BINARY`) against the EC2 emulator with EC2's published token buckets:
//! <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>. The function is not told of them.

#[path = "../tests/e2e/world.rs"]
#[allow(dead_code, unused_imports)] // made for the tests, which use all of it
mod world;

use std::time::{Duration, Instant};

use ec2_emulator::{Buckets, Config, Image};
use serde_json::json;
use world::World;

/// The longest that Lambda lets a function run.
const TIME: Duration = Duration::from_secs(15 * 60);

/// What EC2's answers take, roughly.
const LATENCY: Duration = Duration::from_millis(20);

/// The bucket that limits a sweep: the call, its burst, and its refill a second.
struct Limit {
    operation: &'static str,
    burst: u32,
    refill: u32,
}

fn main() {
    println!(
        "A sweep against EC2's published buckets, answers after {} ms\n",
        LATENCY.as_millis()
    );
    println!(
        "| images | what they need | limited by | seconds | at best | images a second | of the limit | throttled answers | lost |"
    );
    println!("| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let read = Limit {
        operation: "DescribeImageAttribute",
        burst: 100,
        refill: 20,
    };
    let write = Limit {
        operation: "ModifyImageAttribute",
        burst: 100,
        refill: 5,
    };
    let reached = [speed(1000, true, &read), speed(600, false, &write)];

    println!("\nMemory, without limits\n");
    println!("| images | peak memory, MB | seconds |");
    println!("| ---: | ---: | ---: |");
    let memory = [peak_memory(1_000), peak_memory(50_000)];

    assert!(
        reached.iter().all(|part| *part >= 0.9),
        "a sweep is slower than 90 % of EC2's limit"
    );
    assert!(
        memory[1] <= 1.3 * memory[0],
        "memory grows with the number of images"
    );
}

/// Sweeps so many images and prints a row; the part of the limit that was reached.
fn speed(images: u32, settled: bool, limit: &Limit) -> f64 {
    let world = World::with(Config {
        latency: LATENCY,
        buckets: Buckets::published(),
        ..Config::default()
    })
    .permissive();
    let mut function = add(world, images, settled).start();
    let start = Instant::now();
    let answer = function
        .invoke_for(TIME, &json!({ "Sweep": {} }).to_string())
        .unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let outcome = if settled { "unchanged" } else { "applied" };
    let lost = u64::from(images) - answer["Summary"][outcome].as_u64().unwrap_or(0);
    let at_best = f64::from(images - limit.burst) / f64::from(limit.refill);
    let throttled: u64 = function.emulator.throttled().values().sum();
    println!(
        "| {images} | {} | {} ({} + {}/s) | {seconds:.1} | {at_best:.1} | {:.1} | {:.0} % | {throttled} | {lost} |",
        if settled { "nothing" } else { "one grant each" },
        limit.operation,
        limit.burst,
        limit.refill,
        f64::from(images) / seconds,
        100.0 * at_best / seconds,
    );
    assert_eq!(lost, 0, "{answer}");
    at_best / seconds
}

/// Sweeps so many settled images and prints a row; the most memory the function held, in megabytes.
fn peak_memory(images: u32) -> f64 {
    let mut function = add(World::new().permissive(), images, true).start();
    let start = Instant::now();
    let answer = function
        .invoke_for(TIME, &json!({ "Sweep": {} }).to_string())
        .unwrap();
    assert_eq!(answer["Summary"], json!({ "unchanged": images }));
    let peak = function.peak_memory_mb();
    println!(
        "| {images} | {peak:.1} | {:.1} |",
        start.elapsed().as_secs_f64()
    );
    peak
}

fn add(world: World, images: u32, settled: bool) -> World {
    for n in 0..images {
        let image =
            Image::new(format!("ami-{n:017x}")).tag("ami-warden:launch-permission", "444455556666");
        world.emulator.add(if settled {
            image.granted("444455556666")
        } else {
            image
        });
    }
    world
}
