//! Tests of whole invocations, from event to answer, without the AWS SDK.

use ami_warden_core::{Image, PolicyFault, StoredValue};
use serde_json::json;

use super::*;
use crate::{
    act::script::{Ec2State, NoKeys, POLICY_PATH, RULES, Script, Store, error},
    tell::{captured::Captured, log::LogSettings},
};

const NOW: Duration = Duration::ZERO;

/// Every call succeeds at once.
fn at_once(_: &str, _: &mut Ec2State) -> Result<Duration, CallError> {
    Ok(NOW)
}

fn id(number: usize) -> ImageId {
    format!("ami-{number:017x}").parse().unwrap()
}

/// Images with these numbers. The tag of each asks for a description of its own.
fn estate(ec2: &Script<'_>, numbers: impl IntoIterator<Item = usize>) {
    let mut state = ec2.state.borrow_mut();
    state.page = 1000;
    for number in numbers {
        let mut image = Image::new(id(number), "111122223333".parse().unwrap());
        let description = format!("d{number}.");
        image
            .tags
            .insert("ami-warden:description".into(), description);
        state.put(image);
        state.listed.push(Some(id(number)));
    }
}

/// The function with these settings.
fn warden<'a, 's>(
    ec2: Script<'s>,
    store: &'a Store,
    settings: &[(&str, &str)],
) -> Warden<Script<'s>, NoKeys, &'a Store> {
    let value = |name: &str| {
        let set = settings.iter().find(|(set, _)| *set == name);
        set.map(|(_, value)| (*value).to_owned())
    };
    let settings = Settings::from_vars(value).unwrap();
    Warden::new(settings, ec2, NoKeys, store, None)
}

/// The error or the answer, as JSON, of an invocation that has so many seconds.
async fn handle(
    warden: &Warden<Script<'_>, NoKeys, &Store>,
    event: &Value,
    seconds: u64,
) -> Result<Value, InvocationError> {
    let _log = Captured::start(LogSettings::default());
    let time = TimeBudget::until(Instant::now() + Duration::from_secs(seconds));
    let answer = warden.handle(event, true, time).await?;
    Ok(serde_json::from_str(&answer.to_string()).unwrap())
}

/// The same, where a failure is an answer too.
async fn answer(warden: &Warden<Script<'_>, NoKeys, &Store>, event: &Value, seconds: u64) -> Value {
    match handle(warden, event, seconds).await {
        Ok(answer) => answer,
        Err(InvocationError::ImagesFailed(answer)) => {
            serde_json::from_str(&answer.to_string()).unwrap()
        }
        Err(error) => panic!("{error}"),
    }
}

/// The descriptions that were written, in order.
fn written(ec2: &Script<'_>) -> Vec<String> {
    let calls = ec2.calls();
    let written = calls
        .iter()
        .filter_map(|call| call.strip_prefix("description "));
    written.map(ToOwned::to_owned).collect()
}

fn look_at(numbers: impl IntoIterator<Item = usize>) -> Value {
    let ids = numbers.into_iter().map(|number| id(number).to_string());
    json!({ "ImageIds": ids.collect::<Vec<_>>() })
}

fn available(number: usize) -> Value {
    json!({
        "version": "0",
        "id": "01234567-0123-0123-0123-0123456789ab",
        "detail-type": "EC2 AMI State Change",
        "source": "aws.ec2",
        "account": "111122223333",
        "time": "2026-11-21T12:00:00Z",
        "region": "eu-west-1",
        "resources": [format!("arn:aws:ec2:eu-west-1::image/{}", id(number))],
        "detail": {
            "RequestId": "r",
            "ImageId": id(number).to_string(),
            "State": "available",
            "ErrorMessage": "",
        },
    })
}

#[test]
fn an_error_is_named_by_its_kind() {
    let policy = RulebookError::new("/p", PolicyFault::Secure);
    let malformed = Malformed {
        path: "p".into(),
        message: "m".into(),
    };
    let not_json = serde_json::from_str::<Value>("").unwrap_err();
    let answer = Box::new(Answer::ignored("", false));
    for (error, kind) in [
        (InvocationError::NotJson(not_json), "InvalidRequest"),
        (
            InvocationError::InvalidEvent(malformed.clone()),
            "InvalidEvent",
        ),
        (InvocationError::InvalidRequest(malformed), "InvalidRequest"),
        (policy.into(), "InvalidPolicy"),
        (InvocationError::ImagesFailed(answer), "ImagesFailed"),
        (InvocationError::SweepFailed(error("X")), "SweepFailed"),
    ] {
        assert_eq!(error.kind(), kind);
    }
}

#[test]
fn only_a_sweep_for_an_older_change_is_superseded() {
    let at = |time: &str| Some(time.parse().unwrap());
    let newest = at("2026-11-21T12:00:01.9Z");
    let reason = superseded(at("2026-11-21T12:00:00Z"), newest).unwrap();
    assert!(reason.starts_with("superseded: the policy changed again at 2026-11-21T12:00:01Z"));
    // An event names the second alone.
    assert_eq!(superseded(at("2026-11-21T12:00:01Z"), newest), None);
    assert_eq!(superseded(at("2026-11-21T12:00:02Z"), newest), None);
    assert_eq!(superseded(None, newest), None);
    assert_eq!(superseded(newest, None), None);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_by_event_or_setting_only_asks() {
    for (setting, event, call) in [
        ("false", false, "description d1."),
        ("true", false, "ask description d1."),
        ("false", true, "ask description d1."),
        ("true", true, "ask description d1."),
    ] {
        let (ec2, store) = (Script::new(at_once), Store::default());
        estate(&ec2, [1]);
        let warden = warden(ec2, &store, &[("DRY_RUN", setting)]);
        let event = json!({ "ImageId": id(1).to_string(), "DryRun": event });
        let answer = answer(&warden, &event, 300).await;
        assert_eq!(answer["DryRun"], call.starts_with("ask"));
        let calls = warden.ec2.calls();
        let of_writes = calls.iter().filter(|call| call.contains("description"));
        assert_eq!(of_writes.collect::<Vec<_>>(), [call], "{setting} {event}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_by_hand_explains_its_directives_and_one_by_an_event_does_not() {
    for (event, explains) in [
        (look_at([1]), true),
        (look_at([1, 2]), true),
        (available(1), false),
    ] {
        let (ec2, store) = (Script::new(at_once), Store::default());
        estate(&ec2, [1, 2]);
        ec2.state
            .borrow_mut()
            .edit(|image| image.state = ami_warden_core::ImageState::Available);
        let answer = answer(&warden(ec2, &store, &[]), &event, 300).await;
        let directives = answer["Images"][0].get("Directives");
        assert_eq!(directives.is_some(), explains, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_among_others_has_a_minute_and_one_alone_has_all_the_time() {
    for (images, failed) in [(vec![1], 0), (vec![1, 2], 1)] {
        let start = Instant::now();
        let (store, slow) = (Store::default(), Duration::from_secs(90));
        let ec2 = Script::new(|call, _| {
            let fails = call == "description d1." && start.elapsed() < slow;
            if fails {
                Err(error("RequestLimitExceeded"))
            } else {
                Ok(NOW)
            }
        });
        estate(&ec2, [1, 2]);
        let count = images.len();
        let answer = answer(&warden(ec2, &store, &[]), &look_at(images), 300).await;
        let expected = match failed {
            0 => json!({ "applied": count }),
            _ => json!({ "applied": count - failed, "failed": failed }),
        };
        assert_eq!(answer["Summary"], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_works_on_the_estate_and_then_on_the_images_beside_it() {
    let (ec2, store) = (Script::new(at_once), Store::default());
    estate(&ec2, [2, 1]);
    estate(&ec2, [3]);
    ec2.state.borrow_mut().listed.pop();
    let warden = warden(ec2, &store, &[]);
    let event = json!({ "Sweep": {}, "ImageIds": [id(3).to_string()] });
    let answer = answer(&warden, &event, 300).await;
    assert_eq!(answer["Summary"], json!({ "applied": 3 }));
    assert_eq!(answer.get("Continue"), None);
    assert_eq!(written(&warden.ec2), ["d1.", "d2.", "d3."]);
    assert!(store.requests().is_empty(), "there is no policy");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_tells_how_many_images_it_could_not_read_and_nothing_where_it_read_all() {
    for (unreadable, note) in [(0, None), (1, Some("1 image")), (2, Some("2 images"))] {
        let (ec2, store) = (Script::new(at_once), Store::default());
        estate(&ec2, [1]);
        let nameless = vec![None; unreadable];
        ec2.state.borrow_mut().listed.extend(nameless);
        let answer = answer(&warden(ec2, &store, &[]), &json!({ "Sweep": {} }), 300).await;
        let told = answer["Notes"].to_string();
        assert!(
            note.map_or(told == "null", |note| told.contains(note)),
            "{told}"
        );
    }
}

/// What the links of a chain wrote, and the answers of all of them.
async fn chain(
    warden: &Warden<Script<'_>, NoKeys, &Store>,
    mut event: Value,
    seconds: u64,
) -> Vec<Value> {
    let mut answers = Vec::new();
    loop {
        let answer = answer(warden, &event, seconds).await;
        answers.push(answer.clone());
        match answer.get("Continue") {
            Some(rest) => event = rest.clone(),
            None => return answers,
        }
        assert!(answers.len() < 20, "the chain has no end");
    }
}

/// Each write takes 0.9 seconds.
fn slowly(call: &str, _: &mut Ec2State) -> Result<Duration, CallError> {
    let is_write = call.starts_with("description");
    Ok(Duration::from_millis(if is_write { 900 } else { 0 }))
}

/// The seconds of a link: images are begun for 8.6 of them, and finished in 2.4 more.
const LINK: u64 = 12;

#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_cut_short_goes_on_until_each_image_is_done_once() {
    // All images of two batches, and more.
    for count in [400, 700] {
        let (ec2, store) = (Script::new(slowly), Store::default());
        estate(&ec2, (1..=count).rev());
        let warden = warden(ec2, &store, &[]);
        let answers = chain(&warden, json!({ "Sweep": {} }), LINK).await;
        let mut all = written(&warden.ec2);
        all.sort();
        let mut expected: Vec<String> = (1..=count).map(|number| format!("d{number}.")).collect();
        expected.sort();
        assert!(all == expected, "{count}: {}", all.len());
        let last = &answers[answers.len() - 1];
        assert_eq!(last["Summary"].get("failed"), None, "{last}");
        let after = &answers[0]["Continue"]["Sweep"]["After"];
        let last_read = count.min(400);
        assert_eq!(after, &id(last_read).to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn images_beside_a_sweep_travel_until_they_are_done() {
    let (ec2, store) = (Script::new(slowly), Store::default());
    estate(&ec2, 1..=500);
    ec2.state.borrow_mut().listed.truncate(2);
    let warden = warden(ec2, &store, &[]);
    let mut event = look_at(3..=500);
    event["Sweep"] = json!({});
    let answers = chain(&warden, event, LINK).await;
    let rest = &answers[0]["Continue"];
    assert_eq!(rest["Sweep"]["After"], id(2).to_string());
    assert_eq!(
        rest["ImageIds"].as_array().map(Vec::len),
        Some(500 - written_at(&answers[0]))
    );
    assert_eq!(written(&warden.ec2).len(), 500);
}

fn written_at(answer: &Value) -> usize {
    usize::try_from(answer["Summary"]["applied"].as_u64().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_cannot_list_fails_as_a_sweep() {
    let store = Store::default();
    let ec2 = Script::new(|call, _| {
        if call.starts_with("list") {
            Err(error("UnauthorizedOperation"))
        } else {
            Ok(NOW)
        }
    });
    let failed = handle(&warden(ec2, &store, &[]), &json!({ "Sweep": {} }), 300).await;
    let Err(InvocationError::SweepFailed(failed)) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(failed, error("UnauthorizedOperation"));
}

/// Rules that ask for this description of every image.
fn rules(description: &str) -> StoredValue {
    StoredValue::Text(json!([{ "Match": {}, "Description": description }]).to_string())
}

/// Images without tags, of which rules speak alone.
fn untagged(ec2: &Script<'_>, numbers: impl IntoIterator<Item = usize>) {
    estate(ec2, numbers);
    ec2.state.borrow_mut().edit(|image| image.tags.clear());
}

/// Rules that ask for the description "old", and from the first write of it on for "new"; each
/// write takes so long.
fn changing_rules(store: &Store, old_takes: Duration, new_takes: Duration) -> Script<'_> {
    store.put(RULES, rules("old"));
    Script::new(move |call, _| {
        Ok(match call {
            "description old" => {
                store.put(RULES, rules("new"));
                old_takes
            }
            "description new" => new_takes,
            _ => NOW,
        })
    })
}

const POLICY: [(&str, &str); 1] = [("POLICY_PATH", POLICY_PATH)];

#[tokio::test(start_paused = true)]
async fn images_that_an_older_policy_wrote_are_looked_at_once_more() {
    for event in [look_at([1, 2]), json!({ "Sweep": {} })] {
        let store = Store::default();
        let ec2 = changing_rules(&store, NOW, NOW);
        untagged(&ec2, [1, 2]);
        let warden = warden(ec2, &store, &POLICY);
        let answer = answer(&warden, &event, 300).await;
        assert_eq!(answer.get("Continue"), None);
        let mut all = written(&warden.ec2);
        all.dedup();
        assert_eq!(all, ["old", "new"], "{event}");
        let state = warden.ec2.state.borrow();
        assert_eq!(state.count("description new"), 2, "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn images_that_are_to_be_looked_at_once_more_travel_where_the_time_is_up() {
    for event in [look_at([1, 2]), json!({ "Sweep": {} })] {
        let store = Store::default();
        let ec2 = changing_rules(&store, Duration::from_secs(4), NOW);
        untagged(&ec2, [1, 2]);
        let warden = warden(ec2, &store, &POLICY);
        let answers = chain(&warden, event, 5).await;
        assert_eq!(answers[0]["Continue"], look_at([1, 2]));
        assert_eq!(answers.len(), 2);
        assert_eq!(written(&warden.ec2), ["old", "old", "new", "new"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_look_once_more_travels_too() {
    let store = Store::default();
    let ec2 = changing_rules(&store, NOW, Duration::from_millis(900));
    untagged(&ec2, 0..600);
    let warden = warden(ec2, &store, &POLICY);
    let answers = chain(&warden, look_at(0..600), LINK).await;
    let left = answers[0]["Continue"]["ImageIds"].as_array().unwrap().len();
    assert!(0 < left && left < 600, "{left}");
    let state = warden.ec2.state.borrow();
    assert_eq!(state.count("description new"), 600);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_written_the_policy_is_not_read_once_more() {
    for (description, reads) in [("", 1), ("d", 2)] {
        let store = Store::default();
        store.put(RULES, rules(description));
        let ec2 = Script::new(at_once);
        untagged(&ec2, [1, 2]);
        let warden = warden(ec2, &store, &POLICY);
        answer(&warden, &look_at([1, 2]), 300).await;
        assert_eq!(store.requests().len(), reads, "{description}");
    }
}

/// The values of this metric, in order.
fn values(log: &Captured, metric: &str) -> Vec<Value> {
    let lines = log.json();
    lines
        .iter()
        .filter_map(|line| line.get(metric).cloned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn every_invocation_writes_its_metrics_and_only_the_end_of_a_sweep_says_that_it_finished() {
    for (event, hook_fails, finished) in [
        (json!({ "Sweep": {} }), false, json!([1])),
        (look_at([1]), false, json!([])),
        (json!({ "Sweep": {} }), true, json!([])),
    ] {
        let log = Captured::start(LogSettings::default());
        let store = Store::default();
        let ec2 = Script::new(|call, _| {
            if hook_fails && call.starts_with("list") {
                Err(error("UnauthorizedOperation"))
            } else {
                Ok(NOW)
            }
        });
        estate(&ec2, [1]);
        let warden = warden(ec2, &store, &[]);
        let time = TimeBudget::until(Instant::now() + Duration::from_secs(300));
        let _ = warden.handle(&event, true, time).await;
        assert_eq!(values(&log, "AwsCalls").len(), 1, "{event}");
        assert_eq!(
            json!(values(&log, "SweepFinished")),
            finished,
            "{event} {hook_fails}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_image_follows_a_new_policy_at_once_and_several_after_all_of_them() {
    for (images, expected) in [
        (vec![1], json!([["old", "new"]])),
        (vec![1, 2], json!([["old"], ["new"], ["old"], ["new"]])),
    ] {
        let store = Store::default();
        let ec2 = changing_rules(&store, NOW, NOW);
        untagged(&ec2, [1, 2]);
        let answer = answer(&warden(ec2, &store, &POLICY), &look_at(images), 300).await;
        let mut changes = Vec::new();
        for image in answer["Images"].as_array().unwrap() {
            let to = image["Changes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|change| &change["To"]);
            changes.push(to.collect::<Vec<_>>());
        }
        assert_eq!(json!(changes), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_an_image_that_is_not_there_is_skipped() {
    let (ec2, store) = (Script::new(at_once), Store::default());
    let warden = warden(ec2, &store, &[]);
    let request = json!({ "ImageId": id(1).to_string(), "Description": { "Value": "d" } });
    let answer = answer(&warden, &request, 300).await;
    assert_eq!(answer["Images"][0]["Reason"], "not-found");
}
