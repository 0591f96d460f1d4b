//! Tests of looking at images until EC2 shows them as an event promised.

use ami_warden_core::{DecodeContext, Event, Job, Task, testing::image};
use futures_util::StreamExt;
use serde_json::json;

use super::*;
use crate::act::{
    record::Outcome,
    script::{Ec2State, Script, error, since},
};

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);
const SCOPE: TagScope<'_> = TagScope {
    prefix: "ami-warden:",
    any_tag: false,
    status_tag: None,
};

fn id(number: usize) -> ImageId {
    format!("ami-{number:017x}").parse().unwrap()
}

fn numbered(number: usize, state: ImageState) -> Image {
    let mut image = image();
    image.id = id(number);
    image.state = state;
    image
}

/// Looks at so many images, with so much time. Gives what was seen, in the order of its coming.
async fn look(ec2: &Script<'_>, count: usize, promised: &Promised, time: Duration) -> Vec<Seen> {
    let retry = Retry::until(Instant::now() + time);
    let observer = Observer {
        ec2,
        retry: &retry,
        scope: SCOPE,
    };
    let ids: Vec<ImageId> = (0..count).map(id).collect();
    observer.images(&ids, promised).collect().await
}

/// A few words on each image: `shown`, or its outcome with the reason.
fn words(seen: &[Seen]) -> Vec<String> {
    seen.iter()
        .map(|seen| match seen {
            Seen::Image(_) => "shown".to_owned(),
            Seen::Record(record) => match (&record.skipped, &record.error) {
                (Some(reason), None) => reason.as_str().to_owned(),
                (None, Some(error)) => {
                    assert_eq!(record.outcome, Outcome::Failed);
                    error.code.clone().into_owned()
                }
                other => panic!("{other:?}"),
            },
        })
        .collect()
}

/// The promise of an event after which the image has this description tag.
fn description(value: &str) -> Promised {
    let text = include_str!("../../../events/tag-changed.json");
    let mut event: serde_json::Value = serde_json::from_str(text).unwrap();
    event["detail"]["tags"] = json!({"ami-warden:description": value});
    let context = DecodeContext {
        policy_path: None,
        allow_list_parameter: None,
        partition: "aws",
        requests_allowed: false,
    };
    match Event::parse(&event, &context).unwrap() {
        Event::Job(Job {
            task: Task::Look { promised, .. },
            ..
        }) => promised,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_of_which_nothing_is_promised_comes_as_it_is() {
    let ec2 = Script::new(|_, _| Ok(NOW)).with(numbered(0, ImageState::Pending));
    ec2.state
        .borrow_mut()
        .images
        .insert(id(1), Described::Unreadable(id(1), "no owner".to_owned()));
    let start = Instant::now();
    let seen = look(&ec2, 3, &Promised::Nothing, HOUR).await;
    assert_eq!(words(&seen), ["shown", "UnreadableImage", "not-found"]);
    assert_eq!(
        seen.iter().map(Seen::id).collect::<Vec<_>>(),
        [id(0), id(1), id(2)]
    );
    assert_eq!((ec2.calls().len(), start.elapsed()), (1, NOW));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_just_created_is_looked_for_until_it_shows_or_half_a_minute_is_up() {
    let start = Instant::now();
    let ec2 = Script::new(|_, state: &mut Ec2State| {
        if since(start) > 3.0 {
            state.put(numbered(1, ImageState::Pending));
        }
        Ok(NOW)
    });
    ec2.state.borrow_mut().put(numbered(0, ImageState::Pending));
    let seen = look(&ec2, 3, &Promised::Exists, HOUR).await;
    assert_eq!(words(&seen), ["shown", "shown", "InvalidAMIID.NotFound"]);
    let Seen::Record(record) = &seen[2] else {
        panic!()
    };
    let error = record.error.as_ref().unwrap();
    assert_eq!(
        (error.operation, error.kind),
        ("DescribeImages", ErrorKind::NotYet)
    );
    assert!(error.message.contains("does not show it yet"), "{error}");
    assert!((since(start) - 30.0).abs() < 0.01, "{} s", since(start));
    // Each look is at those that are still to come.
    let calls = ec2.calls();
    assert_eq!(calls[0], format!("images {} {} {}", id(0), id(1), id(2)));
    assert_eq!(calls[1], format!("images {} {}", id(1), id(2)));
    assert_eq!(*calls.last().unwrap(), format!("images {}", id(2)));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_became_available_is_looked_at_until_it_is_no_longer_pending() {
    let start = Instant::now();
    let ec2 = Script::new(|_, state: &mut Ec2State| {
        if since(start) > 3.0 {
            state.put(numbered(1, ImageState::Available));
        }
        Ok(NOW)
    });
    let pending = [0, 1].map(|number| numbered(number, ImageState::Pending));
    for image in pending {
        ec2.state.borrow_mut().put(image);
    }
    let broken = numbered(2, ImageState::Other("failed".into()));
    ec2.state.borrow_mut().put(broken);
    let seen = look(&ec2, 4, &Promised::Available, HOUR).await;
    let mut came: Vec<_> = seen.iter().map(Seen::id).zip(words(&seen)).collect();
    came[2..].sort();
    assert_eq!(
        came,
        [
            (id(2), "shown".to_owned()),
            (id(1), "shown".to_owned()),
            (id(0), "InvalidAMIID.Unavailable".to_owned()),
            (id(3), "InvalidAMIID.NotFound".to_owned()),
        ]
    );
    assert!((since(start) - 30.0).abs() < 0.01, "{} s", since(start));
}

#[tokio::test(start_paused = true)]
async fn an_image_whose_tags_changed_is_looked_at_for_ten_seconds_and_then_counts_as_it_is() {
    let promise = description("new");
    for (shown_after, expected) in [(0.0, 0.0..0.01), (3.0, 3.0..9.0), (60.0, 9.99..10.01)] {
        let start = Instant::now();
        let ec2 = Script::new(|_, state: &mut Ec2State| {
            if since(start) >= shown_after {
                let image = numbered(0, ImageState::Available);
                state.put(image.tag("ami-warden:description", "new"));
            }
            Ok(NOW)
        });
        let ec2 = ec2.with(numbered(0, ImageState::Available));
        let seen = look(&ec2, 1, &promise, HOUR).await;
        assert_eq!(words(&seen), ["shown"]);
        assert!(expected.contains(&since(start)), "{} s", since(start));
    }
    // An image that is gone has no tags to wait for.
    let start = Instant::now();
    let ec2 = Script::new(|_, _| Ok(NOW));
    assert_eq!(words(&look(&ec2, 1, &promise, HOUR).await), ["not-found"]);
    assert_eq!(start.elapsed(), NOW);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_the_time_cuts_off_says_less_than_the_one_before_it() {
    let start = Instant::now();
    let ec2 = Script::new(|_, _: &mut Ec2State| Ok(if since(start) < 1.0 { NOW } else { HOUR }));
    let seen = look(&ec2, 1, &Promised::Exists, Duration::from_secs(5)).await;
    assert_eq!(words(&seen), ["InvalidAMIID.NotFound"]);
    // Without an earlier look there is nothing better to say.
    let ec2 = Script::new(|_, _| Ok(HOUR));
    let seen = look(&ec2, 1, &Promised::Exists, Duration::from_secs(5)).await;
    assert_eq!(words(&seen), ["Timeout"]);
    // Another error counts.
    let start = Instant::now();
    let ec2 = Script::new(|_, _: &mut Ec2State| match since(start) {
        time if time < 1.0 => Ok(NOW),
        _ => Err(error("UnauthorizedOperation")),
    });
    let seen = look(&ec2, 1, &Promised::Exists, HOUR).await;
    assert_eq!(words(&seen), ["UnauthorizedOperation"]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_ec2_cannot_answer_for_fails_alone() {
    for (code, told) in [
        ("InvalidAMIID.Malformed", "InvalidAMIID.Malformed"),
        ("UnreadableAnswer", "UnreadableImage"),
    ] {
        let bad = id(5).to_string();
        let ec2 = Script::new(|call: &str, _: &mut Ec2State| {
            if call.contains(&bad) {
                return Err(error(code));
            }
            Ok(NOW)
        });
        for number in 0..8 {
            ec2.state
                .borrow_mut()
                .put(numbered(number, ImageState::Available));
        }
        let seen = look(&ec2, 8, &Promised::Nothing, HOUR).await;
        let mut came: Vec<_> = seen.iter().map(Seen::id).zip(words(&seen)).collect();
        came.sort();
        for (number, (image, word)) in came.into_iter().enumerate() {
            assert_eq!(image, id(number));
            assert_eq!(word, if number == 5 { told } else { "shown" });
        }
        // All, two halves, two quarters of the bad half, and its two images.
        assert_eq!(ec2.calls().len(), 1 + 2 + 2 + 2);
        let alone = look(&ec2, 6, &Promised::Nothing, HOUR).await;
        assert_eq!(alone.len(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn images_are_not_read_in_smaller_and_smaller_parts_where_no_part_is_answered() {
    for (code, calls) in [
        ("InvalidAMIID.Malformed", 1 + 2 + 4),
        ("UnauthorizedOperation", 1),
    ] {
        let ec2 = Script::new(|_, _| Err(error(code)));
        let seen = look(&ec2, 16, &Promised::Nothing, HOUR).await;
        assert_eq!(words(&seen), vec![code; 16]);
        assert_eq!(ec2.calls().len(), calls, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_image_is_read_again_as_it_is_now() {
    let ec2 = Script::new(|_, _| Ok(NOW)).with(numbered(0, ImageState::Available));
    let retry = Retry::until(Instant::now() + HOUR);
    let observer = Observer {
        ec2: &ec2,
        retry: &retry,
        scope: SCOPE,
    };
    let attempts = retry.attempts();
    assert_eq!(words(&[observer.again(id(0), &attempts).await]), ["shown"]);
    assert_eq!(
        words(&[observer.again(id(1), &attempts).await]),
        ["not-found"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_is_as_old_as_the_try_that_was_answered() {
    let ec2 = Script::new(|_, state: &mut Ec2State| {
        if state.calls.len() == 1 {
            return Err(error("InternalError"));
        }
        Ok(Duration::from_secs(1))
    });
    let ec2 = ec2.with(numbered(0, ImageState::Available));
    let start = Instant::now();
    let seen = look(&ec2, 1, &Promised::Nothing, HOUR).await;
    let [Seen::Image(fresh)] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(fresh.read_at.elapsed(), Duration::from_secs(1));
    assert!(fresh.read_at > start);
}

#[tokio::test(start_paused = true)]
async fn a_later_read_that_falls_behind_the_promise_is_repeated_for_ten_seconds() {
    let tagged =
        |value: &str| numbered(0, ImageState::Available).tag("ami-warden:description", value);
    let fresh = |value: &str| Fresh {
        image: Box::new(tagged(value)),
        read_at: Instant::now(),
    };
    let promised = description("new");
    for (lag, shown) in [(0.0, "new"), (4.0, "new"), (9.9, "new"), (60.0, "old")] {
        let start = Instant::now();
        let ec2 = Script::new(move |_, state| {
            let value = if since(start) < lag { "old" } else { "new" };
            state.put(tagged(value));
            Ok(NOW)
        });
        let retry = Retry::until(start + HOUR);
        let observer = Observer {
            ec2: &ec2,
            retry: &retry,
            scope: SCOPE,
        };
        let nothing = observer.promised_until(&fresh("new"), &Promised::Nothing);
        assert_eq!(nothing, None);
        assert_eq!(observer.promised_until(&fresh("old"), &promised), None);
        let until = observer.promised_until(&fresh("new"), &promised).unwrap();
        assert_eq!(until, start + Duration::from_secs(10));
        let attempts = retry.attempts();
        let again = observer.again_as_promised(id(0), &promised, until, &attempts);
        let Seen::Image(seen) = again.await else {
            panic!("there is no image");
        };
        assert_eq!(seen.image.tags["ami-warden:description"], shown, "{lag}");
        assert!(start.elapsed() <= Duration::from_secs(10), "{lag}");
    }
}
