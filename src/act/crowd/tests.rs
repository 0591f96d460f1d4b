//! Tests of a crowd: who is read, who is begun, and how many at the same time.

use ami_warden_core::testing::image;
use tokio::time::{advance, timeout};

use super::*;
use crate::act::{
    call_error::CallError,
    observe::TagScope,
    record::{ImageRecord, Outcome, SkipReason},
    rulebook::{RuleSource, RulebookError, RulebookSettings},
    script::{Script, Store},
};

/// An EC2 that takes a while to show the image.
fn slow_ec2(takes: Duration) -> Script<'static> {
    Script::new(move |_, _| Ok(takes)).with(image())
}

type TestCrowd<'a> = Crowd<'a, Script<'static>, &'a Store>;

/// A crowd over these parts that begins no image after `last_start`.
fn crowd<'a>(
    ec2: &'a Script<'static>,
    retry: &'a Retry,
    rulebooks: &'a Rulebooks<'a, &'a Store>,
    last_start: Instant,
) -> TestCrowd<'a> {
    let scope = TagScope {
        prefix: "ami-warden:",
        any_tag: false,
        status_tag: None,
    };
    let observer = Observer { ec2, retry, scope };
    Crowd {
        observer,
        retry,
        rulebooks,
        last_start,
    }
}

fn id(number: usize) -> ImageId {
    format!("ami-{number:017x}").parse().unwrap()
}

fn ids(count: usize) -> Vec<ImageId> {
    (0..count).map(id).collect()
}

fn unchanged(id: ImageId) -> Reconciled {
    Reconciled::only(ImageRecord::new(id, Outcome::Unchanged))
}

fn shown(number: usize) -> Seen {
    let mut image = image();
    image.id = id(number);
    Seen::Image(Fresh {
        image: Box::new(image),
        read_at: Instant::now(),
    })
}

/// Runs a test with a crowd that has so much time to begin images, out of an hour.
async fn with_crowd(time: Duration, test: impl AsyncFnOnce(&TestCrowd<'_>)) {
    let (ec2, store) = (slow_ec2(Duration::from_secs(3)), &Store::default());
    let settings = RulebookSettings::default();
    let retry = Retry::until(Instant::now() + Duration::from_secs(3600));
    let rulebooks = Rulebooks::new(&store, &settings, RuleSource::Stored);
    test(&crowd(&ec2, &retry, &rulebooks, Instant::now() + time)).await;
}

/// A shift with all its images known.
fn shift_of<'b>(ids: &[ImageId]) -> Shift<'b> {
    Shift {
        rest: ids.to_vec().into(),
        is_whole: true,
        ..Shift::new()
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const MILLI: Duration = Duration::from_millis(1);

async fn finish_at_once(fresh: Fresh) -> Result<Reconciled, RulebookError> {
    Ok(unchanged(fresh.image.id))
}

/// A loop that wakes in the past never lets the paused clock go on: this test would not end.
#[tokio::test(start_paused = true)]
async fn an_image_that_is_read_after_the_last_moment_to_begin_one_is_begun_all_the_same() {
    with_crowd(Duration::ZERO, async |crowd| {
        let ids = [image().id];
        let mut told = Vec::new();
        let left = crowd
            .work_on(
                one_part(&ids),
                &Promised::Nothing,
                &finish_at_once,
                &mut |done| {
                    told.push(done.record.id);
                },
            )
            .await;
        let left = left.unwrap();
        assert_eq!(left, (NotBegun::default(), Some(ids[0])));
        assert_eq!(told, ids);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_breaks_lets_no_further_image_begin_and_those_at_work_finish() {
    let settings = RulebookSettings {
        allow_list_parameter: Some("/security/amis".into()),
        ..RulebookSettings::default()
    };
    let (ec2, store) = (slow_ec2(Duration::ZERO), &Store::default());
    store.takes.set(Duration::from_secs(1));
    let retry = Retry::until(Instant::now() + HOUR);
    let rulebooks = Rulebooks::new(&store, &settings, RuleSource::Stored);
    let crowd = crowd(&ec2, &retry, &rulebooks, Instant::now() + HOUR);
    let slowly = async |fresh: Fresh| {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Ok(unchanged(fresh.image.id))
    };
    let ids = [image().id];
    let mut told = Vec::new();
    let mut tell = |done: Reconciled| told.push(done.record.id);
    let work = crowd.work_on(one_part(&ids), &Promised::Nothing, &slowly, &mut tell);
    let result = timeout(Duration::from_secs(60), work).await.unwrap();
    assert_eq!(result.unwrap_err().parameter, "/security/amis");
    assert_eq!(told, ids);
    // The image was not begun yet when the policy broke.
    let ec2 = slow_ec2(Duration::from_secs(5));
    let crowd = self::crowd(&ec2, &retry, &rulebooks, Instant::now() + HOUR);
    let mut told = Vec::new();
    let mut tell = |done: Reconciled| told.push(done.record.id);
    let work = crowd.work_on(
        one_part(&ids),
        &Promised::Nothing,
        &finish_at_once,
        &mut tell,
    );
    let result = timeout(Duration::from_secs(60), work).await.unwrap();
    assert!(result.is_err() && told.is_empty(), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_image_is_begun_however_late_and_no_other_at_the_end_of_the_time() {
    with_crowd(Duration::from_secs(10), async |crowd| {
        let ids = ids(1);
        let mut shift = shift_of(&ids);
        for (after, any_begun, too_late) in [
            (Duration::ZERO, false, false),
            (Duration::ZERO, true, false),
            (Duration::from_millis(9999), true, false),
            (MILLI, true, true),
            (Duration::ZERO, false, false),
            (Duration::from_secs(1), true, true),
        ] {
            advance(after).await;
            shift.any_begun = any_begun;
            assert_eq!(crowd.too_late(&shift), too_late);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_crowd_looks_again_at_a_moment_that_is_to_come() {
    with_crowd(Duration::from_secs(10), async |crowd| {
        let now = Instant::now();
        let mut shift = shift_of(&[]);
        let idle = Duration::from_millis(1020);
        assert_eq!(crowd.wake_at(&shift), now + idle, "nothing is read");
        shift.any_begun = true;
        assert_eq!(
            crowd.wake_at(&shift),
            crowd.last_start,
            "all read are begun"
        );
        shift.ready.push_back(shown(0));
        assert_eq!(crowd.wake_at(&shift), now + LOOK_INTERVAL, "one waits");
        advance(Duration::from_secs(11)).await;
        let soon = Instant::now() + LOOK_INTERVAL;
        assert_eq!(crowd.wake_at(&shift), soon, "one waits, and it is late");
        shift.ready.clear();
        assert_eq!(crowd.wake_at(&shift), soon, "it is late");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_batches_are_read_at_a_time_and_none_while_enough_images_wait_or_it_is_late() {
    with_crowd(Duration::from_secs(10), async |crowd| {
        let ids = ids(700);
        let read = |ids, waiting: usize, late: bool| {
            let mut shift = shift_of(ids);
            shift.ready.extend((0..waiting).map(shown));
            shift.any_begun = late;
            crowd.read_more(&mut shift, &Promised::Nothing);
            assert_eq!(shift.refreshing.len(), shift.reading.len());
            (shift.reading.len(), shift.waiting.len(), shift.rest.len())
        };
        assert_eq!(read(&ids, 0, false), (2, 400, 300));
        assert_eq!(read(&ids[..250], 0, false), (2, 250, 0));
        assert_eq!(read(&ids[..1], 0, false), (1, 1, 0));
        assert_eq!(read(&ids, 100, false), (2, 400, 300));
        assert_eq!(read(&ids, 101, false), (0, 0, 700));
        advance(Duration::from_secs(10)).await;
        assert_eq!(read(&ids, 0, true), (0, 0, 700));
        assert_eq!(read(&ids, 0, false), (2, 400, 300));
    })
    .await;
}

/// The ids of the records that were told, and how many images were begun.
fn begin_some(crowd: &TestCrowd<'_>, shift: &mut Shift<'_>) -> Vec<ImageId> {
    let mut told = Vec::new();
    crowd.begin_some(shift, &finish_at_once, &mut |done| {
        told.push(done.record.id);
    });
    told
}

#[tokio::test(start_paused = true)]
async fn images_that_are_read_are_begun_and_records_told_as_far_as_there_is_room_and_time() {
    with_crowd(Duration::from_secs(10), async |crowd| {
        let missing = || {
            let record = ImageRecord::skipped(id(900), SkipReason::NotFound);
            Seen::Record(Box::new(record))
        };
        let ids = [id(900)];
        let mut shift = shift_of(&ids);
        shift.ready.extend((0..30).map(shown));
        shift.ready.push_front(missing());
        assert_eq!(begin_some(crowd, &mut shift), [id(900)]);
        assert_eq!(
            (shift.working.len(), shift.begun.len(), shift.ready.len()),
            (ACTIVE_IMAGES_MIN, ACTIVE_IMAGES_MIN, 30 - ACTIVE_IMAGES_MIN)
        );
        advance(Duration::from_secs(10)).await;
        let mut shift = shift_of(&ids);
        shift.ready.extend((0..3).map(shown));
        assert!(begin_some(crowd, &mut shift).is_empty());
        assert!(shift.any_begun);
        assert_eq!((shift.working.len(), shift.ready.len()), (1, 2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_back_every_image_but_the_first() {
    with_crowd(HOUR, async |crowd| {
        // More callers than may wait for a first answer.
        let call = async || std::future::pending::<Result<(), CallError>>().await;
        let queue: FuturesUnordered<_> = (0..60)
            .map(|_| async { crowd.retry.attempts().call("DescribeX", call).await })
            .collect();
        let mut all = std::pin::pin!(queue.collect::<Vec<_>>());
        tokio::select! {
            biased;
            _ = &mut all => panic!("the queue is empty"),
            () = tokio::time::sleep(MILLI) => {
                assert!(crowd.retry.next_start() > Instant::now());
                let mut shift = shift_of(&[]);
                shift.ready.extend((0..3).map(shown));
                begin_some(crowd, &mut shift);
                assert_eq!((shift.working.len(), shift.ready.len()), (1, 2));
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shift_is_done_when_nothing_is_left_in_any_part_of_it() {
    with_crowd(HOUR, async |crowd| {
        let ids = ids(1);
        assert!(shift_of(&[]).is_done());
        assert!(!shift_of(&ids).is_done());
        let mut shift = shift_of(&[]);
        let images = crowd.observer.images(&ids, &Promised::Nothing);
        shift.reading.push(images.boxed_local());
        assert!(!shift.is_done());
        let mut shift = shift_of(&[]);
        shift.ready.push_back(shown(0));
        assert!(!shift.is_done());
        let shift = shift_of(&[]);
        let pending = std::future::pending();
        shift.working.push(Box::pin(pending));
        assert!(!shift.is_done());
        let shift = shift_of(&[]);
        let pending = std::future::pending();
        shift.refreshing.push(Box::pin(pending));
        assert!(!shift.is_done());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_hangs_leaves_its_place_to_another() {
    let mut shift = shift_of(&[]);
    let now = Instant::now();
    shift
        .begun
        .extend((1..ACTIVE_IMAGES_MIN).map(|n| (id(n), now)));
    assert!(shift.has_room());
    shift.begun.insert(id(0), now);
    assert!(!shift.has_room());
    advance(Duration::from_millis(1999)).await;
    assert!(!shift.has_room());
    advance(MILLI).await;
    assert!(shift.has_room());
    // Where all take long, an image hangs later.
    shift.typical = Duration::from_secs(1);
    assert!(!shift.has_room());
    advance(Duration::from_secs(2)).await;
    assert!(shift.has_room());
}

#[tokio::test(start_paused = true)]
async fn no_more_than_four_hundred_images_are_at_work_even_if_they_hang() {
    let shift = shift_of(&[]);
    for _ in 1..IMAGES_AT_WORK_MAX {
        let pending = std::future::pending();
        shift.working.push(Box::pin(pending));
    }
    assert!(shift.has_room());
    let pending = std::future::pending();
    shift.working.push(Box::pin(pending));
    assert!(!shift.has_room());
}

#[tokio::test(start_paused = true)]
async fn the_size_of_a_batch_follows_the_time_that_its_images_wait() {
    let wait = async |size: usize, waited: u64, others: usize| {
        let mut shift = shift_of(&[]);
        shift.batch_size = size;
        let now = Instant::now();
        shift.waiting.extend((0..=others).map(|n| (id(n), now)));
        advance(Duration::from_millis(waited)).await;
        shift.note_wait(id(0));
        assert_eq!(shift.waiting.len(), others);
        shift.note_wait(id(0));
        shift.batch_size
    };
    for (size, waited, others, expected) in [
        (200, 3001, 0, 100),
        (200, 3001, 5, 100),
        (15, 3001, 0, BATCH_SIZE_MIN),
        (100, 3000, 0, 100),
        (100, 2000, 0, 100),
        (100, 1000, 0, 100),
        (60, 999, 0, 120),
        (60, 999, 1, 60),
        (150, 999, 0, 200),
    ] {
        let seen = wait(size, waited, others).await;
        assert_eq!(seen, expected, "{size} {waited} {others}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_typical_time_follows_the_finished_images_but_for_those_that_hang() {
    for (typical, took, expected) in [
        (0, 800, 100),
        (100, 800, 187),
        (0, 1999, 249),
        (0, 2000, 0),
        (1000, 3999, 1374),
        (1000, 4000, 1000),
        (1000, 5000, 1000),
        (100, 1000, 212),
    ] {
        let mut shift = shift_of(&[]);
        shift.typical = Duration::from_millis(typical);
        shift.learn(Duration::from_millis(took));
        assert_eq!(shift.typical.as_millis(), expected, "{typical} {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_fourth_finished_image_makes_room_for_one_more_or_takes_it_where_all_take_long() {
    for (active, typical, finished, expected) in [
        (24, 0, 3, 24),
        (24, 0, 4, 25),
        (24, 0, 5, 24),
        (64, 0, 8, 64),
        (30, 3999, 4, 31),
        (30, 4000, 4, 29),
        (30, 4000, 5, 30),
        (24, 4000, 4, 24),
    ] {
        let mut shift = shift_of(&[]);
        shift.active_max = active;
        shift.typical = Duration::from_millis(typical);
        shift.finished = finished;
        shift.learn(Duration::from_millis(typical));
        assert_eq!(shift.active_max, expected, "{active} {typical} {finished}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_image_is_told_and_counted_and_the_first_error_stays() {
    let mut shift = shift_of(&[]);
    let mut told = Vec::new();
    for number in 0..4 {
        shift.begun.insert(id(number), Instant::now());
        advance(Duration::from_millis(80)).await;
        shift.finish(Ok((id(number), unchanged(id(number)))), &mut |done| {
            told.push(done.record.id);
        });
    }
    assert_eq!(told, ids(4));
    assert!(shift.begun.is_empty() && shift.typical >= Duration::from_millis(10));
    assert_eq!(
        (shift.finished, shift.active_max),
        (4, ACTIVE_IMAGES_MIN + 1)
    );
    for parameter in ["first", "second"] {
        let error = RulebookError::new(parameter, ami_warden_core::PolicyFault::Secure);
        shift.finish(Err(error), &mut |_| panic!("an error is no record"));
    }
    assert_eq!(shift.error.unwrap().parameter, "first");
}

#[tokio::test(start_paused = true)]
async fn images_that_were_not_begun_are_all_known() {
    let ids = ids(4);
    let mut shift = shift_of(&ids[2..]);
    shift
        .waiting
        .extend(ids[..2].iter().map(|id| (*id, Instant::now())));
    let (left, taken) = shift.left();
    assert_eq!(left.read, ids[..2]);
    assert_eq!(left.rest, ids[2..]);
    assert_eq!(left.all(), ids);
    assert_eq!(taken, None);
}
