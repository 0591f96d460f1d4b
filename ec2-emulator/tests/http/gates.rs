use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ec2_emulator::{Act, CallMatch, Emulator, Fault, FaultKind, Gate, GateError, Image, Trigger};
use serde_json::json;

use crate::client::{Answer, Client};
use crate::{FRIEND, ID, with};

const ADD: (&str, &str) = ("LaunchPermission.Add.1.UserId", FRIEND);
const REMOVE: (&str, &str) = ("LaunchPermission.Remove.1.UserId", FRIEND);
const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(10);

/// Modifies the image on a thread of its own.
fn modify(client: &Client, change: (&'static str, &'static str)) -> JoinHandle<Answer> {
    let client = client.clone();
    thread::spawn(move || client.modify(&[change]))
}

fn grantees(emulator: &Emulator) -> Vec<String> {
    emulator.image(ID).expect("still there").grantees()
}

#[test]
fn a_write_waits_at_a_gate_until_it_is_released() {
    let (emulator, client) = with([Image::new(ID)]);
    let gate = emulator.gate(Gate::before(CallMatch::new("ModifyImageAttribute")));
    let write = modify(&client, ADD);
    let held = gate.wait();
    assert_eq!(held.param("ImageId"), Some(ID));
    assert!(grantees(&emulator).is_empty());
    assert!(emulator.calls().is_empty());
    client.ec2("DescribeImages", &[]).assert_ok();
    assert_eq!(gate.release(), Ok(held));
    write.join().expect("no panic").assert_ok();
    assert_eq!(grantees(&emulator), [FRIEND]);
    let actions: Vec<_> = emulator.calls().into_iter().map(|c| c.action).collect();
    assert_eq!(actions, ["DescribeImages", "ModifyImageAttribute"]);
    // The gate held one call, as it was told.
    client.modify(&[REMOVE]).assert_ok();
}

#[test]
fn a_slow_read_answers_what_was_true_when_it_was_carried_out() {
    let (emulator, client) = with([Image::new(ID)]);
    let gate = emulator.gate(Gate::after(CallMatch::new("DescribeImageAttribute")));
    let reader = client.clone();
    let read = thread::spawn(move || {
        let ask = [("ImageId", ID), ("Attribute", "launchPermission")];
        reader.ec2("DescribeImageAttribute", &ask)
    });
    gate.wait();
    client.modify(&[ADD]).assert_ok();
    gate.release().expect("it waits");
    let answer = read.join().expect("no panic");
    assert!(answer.texts("userId").is_empty(), "{}", answer.body);
}

#[test]
fn a_test_decides_the_order_of_two_processes() {
    let (emulator, client) = with([Image::new(ID)]);
    let gate = emulator.gate(Gate::before(CallMatch::new("*").forever()));
    let first = modify(&client.clone().signing_as("AKID1"), ADD);
    gate.wait();
    let second = modify(&client.clone().signing_as("AKID2"), REMOVE);
    let held = gate.wait_for(2, LONG).expect("both");
    let keys: Vec<_> = held.iter().map(|c| c.access_key_id.as_deref()).collect();
    assert_eq!(keys, [Some("AKID1"), Some("AKID2")]);
    gate.release_call(held[1].number).expect("it waits");
    second.join().expect("no panic").assert_ok();
    gate.release_call(held[0].number).expect("it waits");
    first.join().expect("no panic").assert_ok();
    assert_eq!(grantees(&emulator), [FRIEND]);
    assert_eq!(
        gate.release().err().map(|e| e.to_string()),
        Some("no call waits at gate 1".into())
    );
    let numbers: Vec<u64> = emulator.calls().iter().map(|call| call.number).collect();
    assert_eq!(numbers, [held[1].number, held[0].number]);
}

#[test]
fn a_gate_holds_the_calls_of_one_sender_only() {
    let (emulator, client) = with([Image::new(ID)]);
    let on = CallMatch::new("ModifyImageAttribute").by("AKID2").forever();
    let gate = emulator.gate(Gate::before(on));
    client.modify(&[ADD]).assert_ok();
    let held = modify(&client.clone().signing_as("AKID2"), REMOVE);
    gate.wait();
    drop(gate);
    held.join().expect("no panic").assert_ok();
    assert!(grantees(&emulator).is_empty());
}

#[test]
fn a_held_write_is_carried_out_even_if_nobody_waits_for_it_any_more() {
    let (emulator, client) = with([Image::new(ID)]);
    let gate = emulator.gate(Gate::before(CallMatch::new("ModifyImageAttribute")));
    let impatient = client.clone().patient_for(SHORT);
    let parameters = [("ImageId", ID), ADD];
    impatient
        .try_ec2("ModifyImageAttribute", &parameters)
        .expect_err("no answer in time");
    assert!(gate.wait_for(2, SHORT).is_none());
    gate.release().expect("it waits all the same");
    assert!(emulator.wait_until(LONG, |_, calls| !calls.is_empty()));
    assert_eq!(grantees(&emulator), [FRIEND]);
}

#[test]
fn a_lost_call_is_never_carried_out() {
    let (emulator, client) = with([Image::new(ID)]);
    let gate = emulator.gate(Gate::before(CallMatch::new("ModifyImageAttribute")));
    let lost = client.clone();
    let lost = thread::spawn(move || lost.try_ec2("ModifyImageAttribute", &[("ImageId", ID), ADD]));
    gate.wait();
    gate.lose().expect("it waits");
    lost.join().expect("no panic").expect_err("no answer");
    assert!(grantees(&emulator).is_empty());
    assert_eq!(emulator.calls()[0].status, None);
}

#[test]
fn faults_and_changes_reach_a_call_at_the_gate() {
    let (emulator, client) = with([Image::new(ID)]);
    let gate = emulator.gate(Gate::before(
        CallMatch::new("ModifyImageAttribute").times(2),
    ));
    let write = modify(&client, ADD);
    gate.wait();
    emulator.fault(Fault::error("ModifyImageAttribute", "RequestLimitExceeded"));
    gate.release().expect("it waits");
    write
        .join()
        .expect("no panic")
        .assert_refused(503, "RequestLimitExceeded");
    let write = modify(&client, ADD);
    gate.wait();
    emulator.edit(|state| state.images.remove(ID));
    gate.release().expect("it waits");
    write
        .join()
        .expect("no panic")
        .assert_refused(400, "InvalidAMIID.NotFound");
}

#[test]
fn other_processes_use_gates_over_http() {
    let (emulator, client) = with([Image::new(ID)]);
    let gate = json!({ "Action": "ModifyImageAttribute", "Match": { "ImageId": ID } });
    let made = client.control("POST", "gates", &gate.to_string());
    assert_eq!(made.json(), json!({ "Number": 1 }));
    assert_eq!(
        client.control("GET", "gates/1/wait?Ms=20", "").json(),
        json!([])
    );
    let waiter = client.clone();
    let waiter = thread::spawn(move || waiter.control("GET", "gates/1/wait", "").json());
    let write = modify(&client, ADD);
    let waiting = waiter.join().expect("no panic");
    assert_eq!(waiting[0]["Action"], "ModifyImageAttribute");
    let view = client.control("GET", "gates", "").json();
    assert_eq!(view[0]["Waiting"], waiting);
    assert_eq!(
        (&view[0]["Number"], &view[0]["At"]),
        (&json!(1), &json!("before"))
    );
    let number = json!({ "Number": waiting[0]["Number"] }).to_string();
    let released = client.control("POST", "gates/1/release", &number);
    released.assert_ok();
    assert_eq!(released.json(), waiting[0]);
    write.join().expect("no panic").assert_ok();
    assert_eq!(grantees(&emulator), [FRIEND]);
    client.control("DELETE", "gates/1", "").assert_ok();
    assert_eq!(client.control("DELETE", "gates/1", "").status, 404);
    assert_eq!(client.control("POST", "gates/1/release", "").status, 404);
    assert_eq!(client.control("PUT", "gates", "").status, 405);
    assert_eq!(client.control("GET", "gates/x/wait", "").status, 400);
}

#[test]
fn a_reset_and_a_deleted_gate_let_everything_go_on() {
    let (emulator, client) = with([Image::new(ID)]);
    for method in ["DELETE gates", "POST reset"] {
        let gate = emulator.gate(Gate::before(CallMatch::new("DescribeImages").forever()));
        let reader = client.clone();
        let read = thread::spawn(move || reader.ec2("DescribeImages", &[]));
        gate.wait();
        let (method, resource) = method.split_once(' ').expect("two words");
        client.control(method, resource, "").assert_ok();
        read.join().expect("no panic").assert_ok();
        assert!(matches!(gate.release(), Err(GateError::NoGate(_))));
    }
}

#[test]
fn a_trigger_changes_something_right_before_or_after_a_call() {
    let (emulator, client) = with([Image::new(ID).tag("release", "old")]);
    let add = |value: &str| Act::AddTags {
        id: ID.to_owned(),
        tags: [("release".to_owned(), value.to_owned())].into(),
    };
    let on = || CallMatch::new("DescribeImages").with("ImageId.1", ID);
    emulator.trigger(Trigger::before(on().skip(1), [add("before")]));
    emulator.trigger(Trigger::after(on().skip(2), [add("after")]));
    let read = || {
        let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
        answer.text("value").map(str::to_owned)
    };
    let read: Vec<_> = (0..4).filter_map(|_| read()).collect();
    assert_eq!(read, ["old", "before", "before", "after"]);
}

#[test]
fn triggers_are_set_over_http_and_tell_what_failed() {
    let (_emulator, client) = with([Image::new(ID)]);
    let acts = json!([{ "Deregister": { "ImageId": ID } }, { "Deregister": { "ImageId": ID } }]);
    let trigger = json!({ "Action": "DescribeImages", "At": "after", "Acts": acts });
    client
        .control("POST", "triggers", &trigger.to_string())
        .assert_ok();
    let view = client.control("GET", "triggers", "").json();
    assert_eq!(view["Left"][0]["Action"], "DescribeImages");
    assert_eq!(client.ec2("DescribeImages", &[]).texts("imageId"), [ID]);
    assert!(
        client
            .ec2("DescribeImages", &[])
            .texts("imageId")
            .is_empty()
    );
    let view = client.control("GET", "triggers", "").json();
    let failed = format!("DescribeImages: there is no image {ID}");
    assert_eq!(view, json!({ "Left": [], "Failed": [failed] }));
}

#[test]
fn the_log_has_the_times_and_can_be_waited_for() {
    let (emulator, client) = with([Image::new(ID)]);
    let gate = emulator.gate(Gate::before(CallMatch::new("ModifyImageAttribute")));
    let waiter = client.clone();
    let path = "calls?Action=ModifyImageAttribute&AtLeast=1";
    let waiter = thread::spawn(move || waiter.control("GET", path, "").json());
    let write = modify(&client, ADD);
    gate.wait();
    thread::sleep(SHORT);
    client.ec2("DescribeImages", &[]).assert_ok();
    gate.release().expect("it waits");
    let calls = waiter.join().expect("no panic");
    write.join().expect("no panic").assert_ok();
    let ms = |name: &str| calls[0][name].as_u64().expect("a number");
    assert!(ms("DoneMs") >= ms("AtMs") + 50, "{calls}");
    assert_eq!(calls[0]["AccessKeyId"], "AKIDEXAMPLE");
    let began = Instant::now();
    let later = format!("{path}&Ms=60&After={}", ms("Number"));
    assert_eq!(client.control("GET", &later, "").json(), json!([]));
    assert!(began.elapsed() >= Duration::from_millis(60));
    let now = client.control("GET", "now", "").json();
    assert!(now["NowMs"].as_u64().expect("a number") >= ms("DoneMs"));
}

#[test]
fn a_gate_and_a_fault_may_hold_the_same_call() {
    let (emulator, client) = with([Image::new(ID)]);
    emulator.fault(Fault::new("ModifyImageAttribute", FaultKind::ResetAfter));
    let gate = emulator.gate(Gate::after(CallMatch::new("ModifyImageAttribute")));
    let write = client.clone();
    let write =
        thread::spawn(move || write.try_ec2("ModifyImageAttribute", &[("ImageId", ID), ADD]));
    gate.wait();
    assert_eq!(grantees(&emulator), [FRIEND]);
    gate.release().expect("it waits");
    write.join().expect("no panic").expect_err("no answer");
}
