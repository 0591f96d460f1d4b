//! The estate at its full size: nothing grows without a bound, no image waits for another, and one
//! of everything may be broken.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use ec2_emulator::{BlockDevice, CallMatch, Config, ParameterType, Snapshot};
use serde_json::{Value, json};

use crate::world::*;

const TAG: &str = "ami-warden:launch-permission";
/// The most bytes of an answer, and of the message of `ImagesFailed`.
const ANSWER_BYTES_MAX: usize = 131_072;
/// The most bytes of a line of the log.
const LINE_BYTES_MAX: usize = 200_000;
/// The most memory, in megabytes, of the function as it is released.
const MEMORY_MB_MAX: f64 = 24.0;

/// The id of the n-th image.
fn nth(n: usize) -> String {
    format!("ami-{n:017x}")
}

fn images(count: usize, make: impl Fn(usize, Image) -> Image) -> Vec<Image> {
    (0..count).map(|n| make(n, Image::new(nth(n)))).collect()
}

/// Different accounts.
fn accounts(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("{}", 200_000_000_000 + n as u64))
        .collect()
}

fn sweep() -> Value {
    json!({ "Sweep": {} })
}

fn policy_world() -> World {
    World::new().setting("POLICY_PATH", "/ami-warden")
}

fn put_group(function: &Function, name: &str, members: &[String]) {
    function.emulator.put_parameter(
        &format!("/ami-warden/groups/{name}"),
        &members.join(","),
        ParameterType::StringList,
    );
}

/// The answer, or that in the message of an invocation with failed images; its bytes, those of
/// every line of the log, and the memory.
#[track_caller]
fn sized(function: &Function, answered: Result<Value, Failed>) -> Value {
    let (bytes, answer) = match answered {
        Ok(answer) => (answer.to_string().len(), answer),
        Err(failed) => (failed.error_message.len(), failed.answer()),
    };
    assert!(bytes <= ANSWER_BYTES_MAX, "an answer of {bytes} bytes");
    let line = function
        .log()
        .iter()
        .map(String::len)
        .max()
        .unwrap_or_default();
    assert!(line <= LINE_BYTES_MAX, "a line of {line} bytes");
    let memory = function.peak_memory_mb();
    println!(
        "proof: an answer of {bytes} bytes, lines of up to {line}, {memory:.1} MB: {}",
        answer["Summary"]
    );
    if std::env::var("AMI_WARDEN_BINARY").is_ok_and(|binary| binary.contains("release")) {
        assert!(memory <= MEMORY_MB_MAX, "{memory} MB");
    }
    answer
}

/// Asserts that each image of this outcome is listed or counted as not listed.
#[track_caller]
fn assert_counted(answer: &Value, outcome: &str, count: usize) {
    let listed = answer["Images"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["Outcome"] == outcome)
        .count();
    let not_listed = answer["NotListed"][outcome].as_u64().unwrap_or_default();
    assert_eq!(
        (listed as u64 + not_listed, &answer["Summary"][outcome]),
        (count as u64, &json!(count))
    );
    assert!(listed > 0, "nothing is listed");
}

#[test]
fn refusals_with_long_lists_fit_into_the_answer() {
    let mut function = policy_world().start();
    put_group(&function, "eng", &accounts(100));
    function
        .emulator
        .add_all(images(300, |_, image| image.tag(TAG, "@eng")));
    let answered = function.try_invoke(&sweep());
    let answer = sized(&function, answered);
    assert_counted(&answer, "refused", 300);
    // What is cut says how much it lacks.
    let first = &answer["Images"][0];
    let shown = first["Refusals"].as_array().unwrap().len() as u64;
    assert_eq!(
        shown + first["More"]["Refusals"].as_u64().unwrap_or_default(),
        100,
        "{first:#}"
    );
}

#[test]
fn mistyped_keys_of_two_thousand_images_fit_into_the_answer() {
    let mut function = World::new().start();
    function.emulator.add_all(images(2000, |_, image| {
        image.tag("ami-warden:lauch-permission", "444455556666")
    }));
    let answered = function.try_invoke(&sweep());
    let answer = sized(&function, answered);
    assert_counted(&answer, "refused", 2000);
}

#[test]
fn failures_with_ec2s_longest_messages_fit_into_the_error() {
    let mut function = World::new().permissive().start();
    function
        .emulator
        .add_all(images(400, |_, image| image.tag(TAG, ALICE)));
    let message =
        "You are not authorized to perform this operation. Encoded authorization failure message: "
            .to_owned();
    let kind = FaultKind::Error {
        code: "UnauthorizedOperation".into(),
        status: None,
        message: Some(message + &"x".repeat(3000)),
    };
    function
        .emulator
        .fault(Fault::new("ModifyImageAttribute", kind).forever());
    let answered = function.try_invoke(&sweep());
    assert!(answered.is_err());
    let answer = sized(&function, answered);
    assert_counted(&answer, "failed", 400);
}

#[test]
fn one_image_with_thousands_of_refusals_fits_into_an_answer_and_a_line() {
    let mut function = policy_world().start();
    let all = accounts(4800);
    for (n, members) in all.chunks(600).enumerate() {
        put_group(&function, &format!("g{n}"), members);
    }
    function
        .emulator
        .add(share("@g0 @g1 @g2 @g3 @g4 @g5 @g6 @g7"));
    let answered = function.try_invoke(&json!({ "ImageId": IMAGE }));
    let entry = only_entry(&sized(&function, answered));
    let shown = entry["Refusals"].as_array().unwrap().len() as u64;
    assert_eq!(
        shown + entry["More"]["Refusals"].as_u64().unwrap_or_default(),
        4800
    );
}

#[test]
fn one_image_with_a_thousand_units_fits_into_an_answer_and_a_line() {
    let units: Vec<_> = (0..1000)
        .map(|n| format!("arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-{n:032}"))
        .collect();
    let mut function = policy_world().permissive().start();
    for (n, members) in units.chunks(40).enumerate() {
        put_group(&function, &format!("u{n}"), members);
    }
    let image = (0..25).fold(Image::new(IMAGE), |image, n| {
        image.tag(&format!("{TAG}:{n}"), &format!("@u{n}"))
    });
    function.emulator.add(image);
    let answered = function.try_invoke(&json!({ "ImageId": IMAGE }));
    let answer = sized(&function, answered);
    assert_eq!(
        (&answer["Summary"], function.grantees(IMAGE).len()),
        (&json!({ "applied": 1 }), 1000)
    );
}

#[test]
fn images_that_are_stuck_hold_back_no_other_of_three_hundred() {
    let mut function = World::new().permissive().start();
    function
        .emulator
        .add_all(images(300, |_, image| image.tag(TAG, ALICE)));
    for n in 0..8 {
        let stuck =
            Fault::error("DescribeImageAttribute", "RequestLimitExceeded").with("ImageId", &nth(n));
        function.emulator.fault(stuck.forever());
    }
    let ids: Vec<_> = (0..300).map(nth).collect();
    let time = Duration::from_secs(45);
    let failed = function
        .invoke_for(time, &json!({ "ImageIds": ids }).to_string())
        .unwrap_err();
    let answer = failed.answer();
    let entries = answer["Images"].as_array().unwrap();
    let throttled = entries
        .iter()
        .filter(|entry| entry["Error"]["Code"] == "RequestLimitExceeded");
    let throttled: Vec<_> = throttled.map(|entry| entry["ImageId"].clone()).collect();
    assert_eq!(json!(throttled), json!((0..8).map(nth).collect::<Vec<_>>()));
    let writes = function.emulator.calls_of("ModifyImageAttribute");
    // All, but on a busy machine, where the pace takes its time to recover. If the stuck ones used
    // it up, less than a tenth would be written.
    assert!(
        writes.len() >= 150,
        "{} were written: {}",
        writes.len(),
        answer["Summary"]
    );
    let last =
        writes.iter().map(|call| call.done_ms).max().unwrap() - function.emulator.calls()[0].at_ms;
    println!(
        "proof: {} of 300 images written {last} ms after the first call, beside 8 that are stuck",
        writes.len()
    );
}

/// 320 images to be shared, in all parts of a listing, which has pages too small to list them at
/// once.
fn large_estate(largest_page: usize) -> Function {
    let function = World::with(Config {
        largest_page: Some(largest_page),
        ..Config::default()
    })
    .permissive()
    .start();
    let id = |n: usize| format!("ami-0{:x}{n:015x}", n % 16);
    function
        .emulator
        .add_all((0..320).map(|n| Image::new(id(n)).tag(TAG, ALICE)));
    function
}

#[test]
fn no_part_of_a_large_estate_waits_for_an_image_of_the_part_before() {
    let mut function = large_estate(20);
    let stuck =
        Fault::error("DescribeImageAttribute", "RequestLimitExceeded").with("ImageId", &nth(0));
    function.emulator.fault(stuck.forever());
    let failed = function
        .invoke_for(Duration::from_secs(20), &sweep().to_string())
        .unwrap_err();
    assert!(
        function
            .emulator
            .calls()
            .iter()
            .any(|call| call.param("Filter.2.Value.1") == Some("ami-0f*")),
        "the estate was listed at once: the test shows nothing"
    );
    assert_eq!(
        failed.answer()["Summary"],
        json!({ "applied": 319, "failed": 1 })
    );
}

#[test]
fn a_used_up_bucket_for_snapshots_stops_no_removal() {
    let mut function = World::new().permissive().start();
    function.emulator.add_all(images(300, |n, image| {
        if n < 16 {
            image.tag(TAG, "all")
        } else {
            image.tag(TAG, "-222233334444").granted(BOB)
        }
    }));
    function
        .emulator
        .fault(Fault::error("DescribeSnapshots", "RequestLimitExceeded").forever());
    let failed = function
        .invoke_for(Duration::from_secs(45), &sweep().to_string())
        .unwrap_err();
    assert_eq!(
        failed.answer()["Summary"],
        json!({ "applied": 284, "failed": 16 })
    );
    let kept: Vec<_> = (16..300)
        .map(nth)
        .filter(|id| !function.grantees(id).is_empty())
        .collect();
    assert!(kept.is_empty(), "{kept:?} kept BOB");
}

#[test]
fn the_removals_of_an_image_do_not_wait_for_what_only_its_additions_need() {
    for code in ["RequestLimitExceeded", "UnauthorizedOperation"] {
        let mut function = World::new()
            .permissive()
            .image(share("all -222233334444").granted(BOB))
            .start();
        function
            .emulator
            .fault(Fault::error("DescribeSnapshots", code).forever());
        let failed = function
            .invoke_for(Duration::from_secs(5), &event("ami-available").to_string())
            .unwrap_err();
        assert_eq!(
            only_entry(&failed.answer())["Error"]["Operation"],
            "DescribeSnapshots",
            "{code}"
        );
        assert_eq!(function.grantees(IMAGE), [] as [String; 0], "{code}");
    }
}

#[test]
fn groups_that_name_a_group_twice_take_no_longer_than_others() {
    let mut function = policy_world().permissive().start();
    for depth in 0..30 {
        let next = format!("@g{}", depth + 1);
        put_group(&function, &format!("g{depth}"), &[next.clone(), next]);
    }
    put_group(&function, "g30", &[ALICE.to_owned()]);
    function
        .emulator
        .add(Image::new(nth(1)).tag(TAG, "-222233334444").granted(BOB));
    function.emulator.add(Image::new(nth(2)).tag(TAG, "@g0"));
    let answer = function
        .invoke_for(Duration::from_secs(20), &sweep().to_string())
        .unwrap();
    assert_eq!(answer["Summary"], json!({ "applied": 2 }));
    assert_eq!(
        (function.grantees(&nth(1)), function.grantees(&nth(2))),
        (vec![], vec![ALICE.to_owned()])
    );
}

#[test]
fn each_page_of_a_policy_is_tried_again_by_itself() {
    let mut function = policy_world().permissive().start();
    for n in 0..95 {
        put_group(&function, &format!("g{n:02}"), &[ALICE.to_owned()]);
    }
    function.emulator.add(share("@g94"));
    // One call in eight fails, for as long as there are any.
    for n in 0..20 {
        let fails = CallMatch::new("GetParametersByPath").skip(7 + 8 * n);
        function
            .emulator
            .fault(Fault::on(fails, FaultKind::error("InternalServerError")));
    }
    assert_eq!(
        function.invoke(&json!({ "ImageId": IMAGE }))["Summary"],
        json!({ "applied": 1 })
    );
    let calls = function.emulator.calls_of("GetParametersByPath");
    let failed = calls.iter().filter(|call| !call.succeeded()).count();
    assert!(failed > 0, "no page failed: the test shows nothing");
    // Ten pages a reading; nothing but the failed page was asked for twice.
    assert_eq!(
        (calls.len() - failed) % 10,
        0,
        "{} calls, {failed} failed",
        calls.len()
    );
    assert!(calls.len() - failed <= 40, "{} calls", calls.len());
}

/// Three images with directives, of which EC2 describes the middle one in an odd way.
fn one_odd(kind: FaultKind, middle: Image) -> Function {
    let world = World::new()
        .permissive()
        .image(Image::new(nth(0)).tag(TAG, ALICE))
        .image(middle);
    let function = world.image(Image::new(nth(2)).tag(TAG, ALICE)).start();
    function
        .emulator
        .fault(Fault::new("DescribeImages", kind).about(&nth(1)).forever());
    function
}

#[test]
fn one_image_that_cannot_be_read_fails_alone_in_looks_and_in_sweeps() {
    for element in ["imageState", "imageOwnerId", "imageId"] {
        for job in [json!({ "ImageIds": [nth(0), nth(1), nth(2)] }), sweep()] {
            let mut function = one_odd(
                FaultKind::omit([element]),
                Image::new(nth(1)).tag(TAG, ALICE),
            );
            let began = Instant::now();
            let answered = function.try_invoke(&job);
            assert!(
                began.elapsed() < Duration::from_secs(15),
                "{element}: {:?}",
                began.elapsed()
            );
            for id in [nth(0), nth(2)] {
                assert_eq!(function.grantees(&id), [ALICE], "{element} {job}");
            }
            if element == "imageId" && job.get("Sweep").is_some() {
                // An image without an id cannot be named.
                let answer = answered.unwrap();
                assert_eq!(answer["Summary"], json!({ "applied": 2 }));
                assert!(
                    answer["Notes"][0]
                        .as_str()
                        .unwrap()
                        .contains("without an id"),
                    "{answer:#}"
                );
                continue;
            }
            let answer = answered.unwrap_err().answer();
            assert_eq!(
                answer["Summary"],
                json!({ "applied": 2, "failed": 1 }),
                "{element} {job}"
            );
            assert_holds(&only_entry(&answer), &json!({ "ImageId": nth(1) }));
            assert_eq!(
                only_entry(&answer)["Error"]["Code"],
                "UnreadableImage",
                "{element} {job}"
            );
        }
    }
}

#[test]
fn a_deprecation_time_that_cannot_be_read_keeps_the_image_private_and_changes_nothing_else() {
    for text in ["", "soon", "2027-11-26T10:00Z", "2027-11-26 10:00:00"] {
        let middle = Image::new(nth(1))
            .tag(TAG, "all")
            .tag("ami-warden:description", "new");
        let mut function = one_odd(FaultKind::replace("deprecationTime", text), middle);
        let answer = function.invoke(&sweep());
        assert_eq!(
            answer["Summary"],
            json!({ "applied": 3 }),
            "{text:?}: {answer:#}"
        );
        let entries = answer["Images"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["ImageId"] == nth(1).as_str())
            .unwrap();
        assert_eq!(codes(entry), ["deprecated"], "{text:?}");
        assert_eq!(
            function
                .emulator
                .image(&nth(1))
                .unwrap()
                .description
                .as_deref(),
            Some("new")
        );
    }
}

#[test]
fn an_image_of_201_snapshots_is_asked_about_in_two_calls() {
    let devices =
        (0..201).map(|n| BlockDevice::ebs(&format!("/dev/sd{n}"), &format!("snap-{n:017x}")));
    let image = share("all")
        .root_device("ebs", "/dev/sd0")
        .block_devices(devices.collect::<Vec<_>>());
    let mut function = World::new().permissive().image(image).start();
    assert_eq!(function.look()["Outcome"], "applied");
    let calls = function.emulator.calls_of("DescribeSnapshots");
    let values = |call: &ec2_emulator::Call| {
        call.params
            .keys()
            .filter(|name| name.starts_with("Filter.1.Value."))
            .count()
    };
    let mut counts: Vec<_> = calls.iter().map(values).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 200]);
}

#[test]
fn a_batch_asks_once_whether_images_may_be_public() {
    let mut function = World::new().permissive().start();
    function
        .emulator
        .edit(|state| state.public_image_quota = 20);
    function
        .emulator
        .add_all(images(20, |_, image| image.tag(TAG, "all")));
    assert_eq!(
        function.invoke(&sweep())["Summary"],
        json!({ "applied": 20 })
    );
    assert_eq!(function.counts()["GetImageBlockPublicAccessState"], 1);
}

#[test]
fn a_sweep_whose_link_finishes_no_image_ends_there() {
    let failed = cut_short_with_failures(0, 400).unwrap_err().answer();
    assert_eq!(failed["Summary"], json!({ "failed": 400 }));
    assert!(failed["Continue"]["Sweep"]["After"].is_string(), "{failed}");
}

/// A sweep of which the first batches of 200 images are skipped, so many images behind them fail,
/// and the last batch is never answered.
fn cut_short_with_failures(skipped_batches: u32, failures: usize) -> Result<Value, Failed> {
    let mut function = World::new().start();
    let count = 200 * skipped_batches as usize + failures + 100;
    let held = |_, image: Image| image.tag("ami-warden:hold", "1");
    function.emulator.add_all(images(count, held));
    let reads = || {
        CallMatch::new("DescribeImages")
            .without("MaxResults")
            .forever()
    };
    let last = reads().with("Filter.1.Value.*", &nth(count - 1));
    function
        .emulator
        .fault(Fault::on(last, FaultKind::Hang { ms: None }));
    let denied = FaultKind::error("UnauthorizedOperation");
    function
        .emulator
        .fault(Fault::on(reads().skip(skipped_batches), denied));
    let answered = function.invoke_for(Duration::from_secs(10), &sweep().to_string());
    sized(&function, answered.clone());
    answered
}

#[test]
fn a_chain_carries_at_most_a_thousand_failed_images_and_ends_where_there_are_more() {
    let goes_on = cut_short_with_failures(1, 1000).unwrap();
    let carried = goes_on["Continue"]["ImageIds"].as_array().unwrap();
    assert_eq!(
        goes_on["Summary"],
        json!({ "failed": 1000, "skipped": 200 })
    );
    // The failed ones, and those of the batch that was being read.
    assert_eq!(carried.len(), 1000 + 100);

    let ends = cut_short_with_failures(1, 1200).unwrap_err().answer();
    assert_eq!(ends["Summary"], json!({ "failed": 1200, "skipped": 200 }));
    assert_eq!(
        ends["Continue"]["ImageIds"].as_array().unwrap().len(),
        1000 + 100
    );
}

#[test]
fn a_link_never_hands_on_more_images_than_the_next_one_takes() {
    let mut function = World::new().start();
    let held = |_, image: Image| image.tag("ami-warden:hold", "1");
    function.emulator.add_all(images(400, held));
    let reads = || {
        CallMatch::new("DescribeImages")
            .without("MaxResults")
            .forever()
    };
    let second_batch = reads().with("Filter.1.Value.*", &nth(399));
    function
        .emulator
        .fault(Fault::on(second_batch, FaultKind::Hang { ms: None }));
    for n in 0..150 {
        let unreadable = FaultKind::omit(["imageOwnerId"]);
        function
            .emulator
            .fault(Fault::on(reads(), unreadable).about(&nth(n)));
    }
    // What earlier links carried.
    let carried: Vec<String> = (0..3700).map(|n| nth(100_000 + n)).collect();
    let sweep = json!({ "Sweep": {}, "ImageIds": carried });
    let first = function.invoke_for(Duration::from_secs(8), &sweep.to_string());
    let first = sized_ok(&function, first);
    function.emulator.clear_faults();
    let last = function.invoke(&first["Continue"]);
    assert_eq!(last.get("Continue"), None, "{}", last["Summary"]);
}

/// The answer of an invocation that succeeds.
#[track_caller]
fn sized_ok(function: &Function, answered: Result<Value, Failed>) -> Value {
    assert!(answered.is_ok(), "{answered:?}");
    sized(function, answered)
}

#[test]
fn a_sweep_is_counted_as_finished_once_at_the_end_of_its_chain() {
    let mut function = World::new().start();
    function
        .emulator
        .add_all(images(300, |_, image| image.tag("ami-warden:hold", "1")));
    let second_batch = CallMatch::new("DescribeImages").with("Filter.1.Value.*", &nth(299));
    function
        .emulator
        .fault(Fault::on(second_batch, FaultKind::Hang { ms: None }));
    let first = function
        .invoke_for(Duration::from_secs(4), &sweep().to_string())
        .unwrap();
    assert!(
        first.get("Continue").is_some(),
        "one invocation sufficed: the test shows nothing"
    );
    function.logged(|line| line.get("Skipped").is_some() && line.get("SweepFinished").is_none());
    function.invoke(&first["Continue"]);
    function.logged(|line| line["SweepFinished"] == 1);
    // A look is no sweep.
    function.invoke(&json!({ "ImageId": nth(0) }));
    let lines = function.log();
    let finished = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert_eq!(
        finished
            .filter_map(|line| line["SweepFinished"].as_u64())
            .sum::<u64>(),
        1
    );
}

#[test]
fn a_sweep_takes_status_tags_off_images_that_have_no_directive_any_more() {
    let image = Image::new(IMAGE)
        .tag("image-status", "public-not-allowed:x")
        .tag("Name", "kept");
    let mut function = World::new()
        .setting("STATUS_TAG", "image-status")
        .image(image)
        .start();
    function.invoke(&sweep());
    let tags = function.emulator.image(IMAGE).unwrap().tags;
    assert_eq!(tags.keys().collect::<Vec<_>>(), ["Name"]);
    assert_eq!(function.counts()["DeleteTags"], 1);
    function.invoke(&sweep());
    assert!(function.emulator.writes().is_empty());
}

#[test]
fn a_listing_of_many_slow_pages_leaves_time_for_images_and_covers_each_once() {
    let mut function = large_estate(10);
    // A listing of all of them takes twenty seconds, and a link has fifteen.
    let listing = CallMatch::new("DescribeImages")
        .with_any("MaxResults")
        .forever();
    function
        .emulator
        .fault(Fault::on(listing, FaultKind::Latency { ms: 620 }));
    let mut next = sweep();
    for link in 1.. {
        let answer = function
            .invoke_for(Duration::from_secs(15), &next.to_string())
            .unwrap();
        assert!(
            answer["Summary"]["applied"].as_u64() > Some(0),
            "link {link} did nothing: {answer}"
        );
        let Some(rest) = answer.get("Continue") else {
            break;
        };
        assert!(link < 8, "the chain does not end");
        next = rest.clone();
    }
    let writes = function.emulator.calls_of("ModifyImageAttribute");
    let written: BTreeSet<_> = writes
        .iter()
        .map(|call| call.param("ImageId").unwrap())
        .collect();
    assert_eq!((writes.len(), written.len()), (320, 320));
}

#[test]
fn a_page_that_takes_too_long_is_asked_for_smaller() {
    let mut function = World::new().start();
    function
        .emulator
        .add_all(images(600, |_, image| image.tag("ami-warden:hold", "1")));
    // A call is given up after ten seconds.
    let listing = CallMatch::new("DescribeImages")
        .with("Filter.1.Name", "tag-key")
        .forever();
    function.emulator.fault(Fault::on(
        listing,
        FaultKind::SlowPages { per_result_ms: 24 },
    ));
    let answer = function.invoke(&sweep());
    assert_eq!(answer["Summary"], json!({ "skipped": 600 }));
    let calls = function.emulator.calls_of("DescribeImages");
    let sizes = calls
        .iter()
        .filter(|call| call.param("Filter.1.Name") == Some("tag-key"));
    let sizes: Vec<_> = sizes
        .map(|call| call.param("MaxResults").unwrap())
        .collect();
    assert_eq!(sizes, ["500", "250", "250", "250"]);
}

#[test]
fn what_takes_access_away_does_not_wait_for_permissions_of_the_other_kind() {
    for code in ["UnauthorizedOperation", "RequestLimitExceeded"] {
        let image = share("-all -222233334444")
            .granted("all")
            .granted(BOB)
            .tag("ami-warden:copy-permission", ALICE);
        let mut function = World::new().permissive().image(image).start();
        let fault = Fault::error("DescribeSnapshotAttribute", code);
        function.emulator.fault(fault.forever());
        let look = json!({ "ImageId": IMAGE }).to_string();
        let failed = function.invoke_for(Duration::from_secs(6), &look);
        let entry = only_entry(&failed.unwrap_err().answer());
        assert_eq!(function.grantees(IMAGE), [""; 0], "{code}: {entry:#}");
        assert_eq!(entry["Changes"].as_array().unwrap().len(), 1, "{entry:#}");

        let snapshot = Snapshot::new(SNAPSHOT).granted(BOB);
        let image = share(ALICE)
            .snapshots([snapshot])
            .tag("ami-warden:copy-permission", "-222233334444");
        let mut function = World::new().permissive().image(image).start();
        let fault = Fault::error("DescribeImageAttribute", code);
        function.emulator.fault(fault.forever());
        let failed = function.invoke_for(Duration::from_secs(6), &look);
        let entry = only_entry(&failed.unwrap_err().answer());
        let change = &entry["Changes"][0];
        assert_holds(change, &json!({ "Snapshot": SNAPSHOT, "Remove": [BOB] }));
    }
}

#[test]
fn the_copy_permissions_of_many_snapshots_are_read_at_the_same_time() {
    let device = |n: usize| BlockDevice::ebs(&format!("/dev/sd{n}"), &format!("snap-{n:017x}"));
    let image = Image::new(IMAGE)
        .root_device("ebs", "/dev/sd0")
        .block_devices((0..60).map(device))
        .tag("ami-warden:copy-permission", ALICE);
    let latency = Duration::from_millis(100);
    let world = World::with(Config {
        latency,
        ..Config::default()
    });
    let mut function = world.setting("ALLOWED_COPIERS", "*").image(image).start();
    let entry = function.look();
    assert_eq!(entry["Outcome"], "applied", "{entry:#}");
    assert_eq!(entry["Changes"].as_array().unwrap().len(), 60);
    let begin = Instant::now();
    assert_eq!(function.look()["Outcome"], "unchanged");
    // One after the other they would take six seconds.
    assert!(begin.elapsed() < latency * 40, "{:?}", begin.elapsed());
}

#[test]
fn a_sweep_whose_listing_fails_counts_what_it_did_before() {
    let config = Config {
        largest_page: Some(10),
        ..Config::default()
    };
    let mut function = World::with(config).permissive().start();
    let spread = |n: u64| Image::new(format!("ami-0{:016x}", (n % 16) << 60 | n));
    let shared = |n: u64| spread(n).tag("ami-warden:launch-permission", ALICE);
    function.emulator.add_all((0..160).map(shared));
    for filter in ["Filter.1.Value.1", "Filter.2.Value.1"] {
        let part = CallMatch::new("DescribeImages").with(filter, "ami-05*");
        let error = FaultKind::error("InternalError");
        function.emulator.fault(Fault::on(part.forever(), error));
    }
    let failed = function.try_invoke(&sweep()).unwrap_err();
    assert_eq!(failed.error_type, "SweepFailed");
    let metrics = function.logged(|line| line.get("AwsCalls").is_some());
    assert!(metrics["Applied"].as_u64() > Some(0), "{metrics:#}");
    assert_eq!(metrics.get("SweepFinished"), None);
}
