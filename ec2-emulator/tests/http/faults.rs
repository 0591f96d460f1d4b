use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use ec2_emulator::{Buckets, Config, Fault, FaultKind, Image};

use serde_json::json;

use crate::client::Client;
use crate::{FRIEND, ID, with, with_config};

const ADD: (&str, &str) = ("LaunchPermission.Add.1.UserId", FRIEND);
const ASK: [(&str, &str); 2] = [("ImageId", ID), ("Attribute", "launchPermission")];

#[test]
fn an_error_is_answered_so_often_and_not_carried_out() {
    let (emulator, client) = with([Image::new(ID)]);
    emulator.fault(Fault::error("ModifyImageAttribute", "RequestLimitExceeded").times(2));
    client
        .modify(&[ADD])
        .assert_refused(503, "RequestLimitExceeded");
    client
        .modify(&[ADD])
        .assert_refused(503, "RequestLimitExceeded");
    assert!(
        emulator
            .image(ID)
            .expect("still there")
            .grantees()
            .is_empty()
    );
    client.modify(&[ADD]).assert_ok();
    assert!(emulator.faults_left().is_empty());
}

#[test]
fn an_error_may_be_anything_ec2_could_say() {
    let (emulator, client) = with([Image::new(ID)]);
    let kind = FaultKind::Error {
        code: "UnauthorizedOperation".to_owned(),
        status: None,
        message: Some("Encoded <message>".to_owned()),
    };
    emulator.fault(Fault::new("*", kind).with("ImageId", ID).forever());
    let answer = client.modify(&[ADD]);
    answer.assert_refused(403, "UnauthorizedOperation");
    assert_eq!(answer.text("Message"), Some("Encoded &lt;message&gt;"));
    client.ec2("DescribeImages", &[]).assert_ok();
    assert_eq!(emulator.faults_left().len(), 1);
    emulator.clear_faults();
    client.modify(&[ADD]).assert_ok();
}

#[test]
fn an_answer_may_be_garbage() {
    let (emulator, client) = with([Image::new(ID)]);
    let body = "<html>Bad Gateway".to_owned();
    emulator.fault(Fault::new(
        "DescribeImages",
        FaultKind::Garbage {
            status: 502,
            body: body.clone(),
        },
    ));
    let answer = client.ec2("DescribeImages", &[]);
    assert_eq!((answer.status, answer.body), (502, body));
    assert_eq!(emulator.calls()[0].status, Some(502));
}

#[test]
fn an_answer_may_break_off() {
    let (emulator, client) = with([Image::new(ID)]);
    emulator.fault(Fault::new("ModifyImageAttribute", FaultKind::Truncated));
    let parameters = [("ImageId", ID), ADD];
    let error = client
        .try_ec2("ModifyImageAttribute", &parameters)
        .expect_err("half an answer");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(
        emulator.image(ID).expect("still there").grantees(),
        [FRIEND]
    );
}

#[test]
fn a_connection_may_be_reset_before_or_after_the_change() {
    for (kind, changed) in [
        (FaultKind::ResetBefore, false),
        (FaultKind::ResetAfter, true),
    ] {
        let (emulator, client) = with([Image::new(ID)]);
        emulator.fault(Fault::new("ModifyImageAttribute", kind));
        let parameters = [("ImageId", ID), ADD];
        let error = client
            .try_ec2("ModifyImageAttribute", &parameters)
            .expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let image = emulator.image(ID).expect("still there");
        assert_eq!(!image.grantees().is_empty(), changed);
        assert_eq!(emulator.calls()[0].status, None);
        client.ec2("DescribeImages", &[]).assert_ok();
    }
}

#[test]
fn a_request_may_hang_until_the_connection_is_reset() {
    let (emulator, client) = with([Image::new(ID)]);
    emulator.fault(Fault::new(
        "ModifyImageAttribute",
        FaultKind::Hang { ms: Some(50) },
    ));
    let began = Instant::now();
    let parameters = [("ImageId", ID), ADD];
    client
        .try_ec2("ModifyImageAttribute", &parameters)
        .expect_err("no answer");
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert!(
        emulator
            .image(ID)
            .expect("still there")
            .grantees()
            .is_empty()
    );
}

#[test]
fn a_hanging_request_does_not_hold_up_others_or_the_end() {
    let (emulator, client) = with([Image::new(ID)]);
    emulator.fault(Fault::new(
        "ModifyImageAttribute",
        FaultKind::Hang { ms: None },
    ));
    let address = emulator.address();
    let hanging = thread::spawn(move || {
        Client::new(address).try_ec2("ModifyImageAttribute", &[("ImageId", ID), ADD])
    });
    while emulator.calls().is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    client.ec2("DescribeImages", &[]).assert_ok();
    assert_eq!(emulator.calls()[1].in_flight, 2);
    drop(emulator);
    hanging.join().expect("no panic").expect_err("no answer");
}

#[test]
fn latency_delays_the_answer_but_not_the_change() {
    let (emulator, client) = with([Image::new(ID)]);
    emulator.fault(Fault::new(
        "ModifyImageAttribute",
        FaultKind::Latency { ms: 60 },
    ));
    let began = Instant::now();
    client.modify(&[ADD]).assert_ok();
    assert!(began.elapsed() >= Duration::from_millis(60));
}

#[test]
fn requests_that_overlap_wait_at_the_same_time() {
    let config = Config {
        latency: Duration::from_millis(200),
        ..Config::default()
    };
    let (emulator, _client) = with_config(config, [Image::new(ID)]);
    let address = emulator.address();
    let began = Instant::now();
    let threads: Vec<_> = (0..8)
        .map(|_| thread::spawn(move || Client::new(address).ec2("DescribeImages", &[]).assert_ok()))
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(
        began.elapsed() < Duration::from_millis(1000),
        "{:?}",
        began.elapsed()
    );
    let most = emulator.calls().iter().map(|call| call.in_flight).max();
    assert_eq!(most, Some(8));
}

#[test]
fn optional_elements_may_be_left_out() {
    let (emulator, client) = with([Image::new(ID)]);
    let elements = vec![
        "encrypted".to_owned(),
        "imageBlockPublicAccessState".to_owned(),
    ];
    emulator.fault(Fault::new("*", FaultKind::Omit { elements }).forever());
    let answer = client.ec2("DescribeImages", &[]);
    assert_eq!(answer.text("encrypted"), None);
    assert_eq!(answer.text("volumeType"), Some("gp3"));
    let answer = client.ec2("GetImageBlockPublicAccessState", &[]);
    answer.assert_ok();
    assert_eq!(answer.text("imageBlockPublicAccessState"), None);
}

#[test]
fn a_read_after_a_write_may_be_stale() {
    let (emulator, client) = with([Image::new(ID)]);
    emulator.fault(
        Fault::new("DescribeImageAttribute", FaultKind::Stale)
            .skip(1)
            .times(2),
    );
    let read = || {
        client
            .ec2("DescribeImageAttribute", &ASK)
            .texts("userId")
            .len()
    };
    assert_eq!(read(), 0);
    client.modify(&[ADD]).assert_ok();
    assert_eq!([read(), read(), read()], [0, 0, 1]);
}

#[test]
fn a_new_image_may_be_unknown_or_pending_for_a_while() {
    let (emulator, client) = with([]);
    let states = || {
        let answer = client.ec2(
            "DescribeImages",
            &[("Filter.1.Name", "image-id"), ("Filter.1.Value.1", ID)],
        );
        answer.text("imageState").map(str::to_owned)
    };
    emulator.fault(Fault::new("DescribeImages", FaultKind::Stale));
    emulator.add(Image::new(ID).pending());
    emulator.fault(Fault::new("DescribeImages", FaultKind::Stale));
    emulator.add(Image::new(ID));
    assert_eq!(states(), None);
    assert_eq!(states().as_deref(), Some("pending"));
    assert_eq!(states().as_deref(), Some("available"));
}

#[test]
fn an_empty_bucket_refuses_and_counts() {
    let config = Config {
        buckets: Buckets::none().action("DescribeImages", 2, 0.001),
        ..Config::default()
    };
    let (emulator, client) = with_config(config, []);
    client.ec2("DescribeImages", &[]).assert_ok();
    client.ec2("DescribeImages", &[]).assert_ok();
    client
        .ec2("DescribeImages", &[])
        .assert_refused(503, "RequestLimitExceeded");
    client.ec2("DescribeSnapshots", &[]).assert_ok();
    assert_eq!(emulator.throttled()["DescribeImages"], 1);
    emulator.reset();
    client.ec2("DescribeImages", &[]).assert_ok();
}

#[test]
fn the_published_buckets_hold_a_hundred_modifications() {
    let config = Config {
        buckets: Buckets::published(),
        ..Config::default()
    };
    let (emulator, client) = with_config(config, [Image::new(ID)]);
    let began = Instant::now();
    let succeeded = (0..150)
        .filter(|_| client.modify(&[ADD]).status == 200)
        .count();
    let refilled = began.elapsed().as_secs_f64() * 5.0;
    assert!(
        succeeded >= 100 && succeeded as f64 <= 101.0 + refilled,
        "{succeeded}"
    );
    assert_eq!(
        emulator.throttled()["ModifyImageAttribute"],
        150 - succeeded as u64
    );
}

#[test]
fn limits_are_raised_and_lowered_while_it_runs() {
    let (emulator, client) = with([]);
    let put = |body: &str| client.control("PUT", "rates", body).assert_ok();
    put(r#"{"Actions":{"DescribeImages":[2,0.001]}}"#);
    let burst = || {
        (0..60)
            .filter(|_| client.ec2("DescribeImages", &[]).status == 200)
            .count()
    };
    assert_eq!(burst(), 2);
    put(r#"{"Factor":20000}"#);
    thread::sleep(Duration::from_millis(200));
    assert!(burst() >= 4, "20 a second");
    let rates = client.control("GET", "rates", "").json();
    assert_eq!(rates["Factor"], 20000.0);
    assert_eq!(rates["Buckets"]["DescribeImages"]["Capacity"], 2.0);
    put(r#"{"Limits":"none"}"#);
    assert_eq!(burst(), 60);
    put(r#"{"Limits":"published","Factor":0.01}"#);
    assert!(burst() <= 2, "0.2 a second");
    emulator.set_buckets(Buckets::published().times(2.0));
    emulator.reset();
    assert_eq!(
        burst(),
        60,
        "a reset goes back to the limits of the beginning"
    );
    assert_eq!(
        client.control("PUT", "rates", r#"{"Factors":1}"#).status,
        400
    );
}

#[test]
fn the_reads_of_parameter_store_share_one_bucket() {
    let config = Config {
        buckets: Buckets::published().times(0.05),
        ..Config::default()
    };
    let (emulator, client) = with_config(config, []);
    let by_path = || client.ssm("GetParametersByPath", &json!({ "Path": "/p" }));
    by_path().assert_ok();
    by_path().assert_ok();
    assert_eq!(by_path().json()["__type"], "ThrottlingException");
    let one = client.ssm("GetParameter", &json!({ "Name": "/p" }));
    assert_eq!(one.json()["__type"], "ThrottlingException");
    assert_eq!(emulator.throttled()["Parameter Store"], 2);
}
