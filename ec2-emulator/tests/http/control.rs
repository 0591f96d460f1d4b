use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ec2_emulator::Image;
use serde_json::{Value, json};

use crate::client::Client;
use crate::{FRIEND, ID, with};

#[test]
fn what_is_seeded_is_there_and_can_be_read_back() {
    let (emulator, client) = with([]);
    let seed = json!({
        "Images": [{
            "ImageId": ID,
            "State": "available",
            "Tags": { "k": "v" },
            "OwnerId": "111122223333",
            "BlockDevices": [{
                "DeviceName": "/dev/xvda", "SnapshotId": "snap-00000001", "Encrypted": null
            }],
            "ProductCodes": ["a1b2"],
            "LaunchPermissions": ["all", FRIEND],
        }],
        "Parameters": [{ "Name": "/p", "Value": "1", "Type": "StringList" }],
        "BlockPublicAccess": "block-new-sharing",
        "PublicImageQuota": 7,
    });
    client
        .control("POST", "seed", &seed.to_string())
        .assert_ok();
    let image = emulator.image(ID).expect("seeded");
    assert_eq!(image.grantees(), [FRIEND, "all"]);
    assert_eq!(image.block_devices[0].encrypted, None);

    let state = client.control("GET", "state", "").body;
    let (_other, other) = with([]);
    other.control("POST", "seed", &state).assert_ok();
    assert_eq!(other.control("GET", "state", "").body, state);
}

#[test]
fn a_reset_goes_back_to_the_beginning() {
    let (emulator, client) = with([Image::new(ID)]);
    client.ec2("DescribeImages", &[]).assert_ok();
    client.control("POST", "reset", "").assert_ok();
    assert!(emulator.image(ID).is_none());
    assert!(emulator.calls().is_empty());
}

#[test]
fn calls_can_be_read_and_forgotten() {
    let (_emulator, client) = with([]);
    client
        .ec2("DescribeImages", &[("Owner.1", "self")])
        .assert_ok();
    let calls = client.control("GET", "calls", "").json();
    assert_eq!(calls[0]["Action"], "DescribeImages");
    assert_eq!(calls[0]["Params"], json!({ "Owner.1": "self" }));
    assert_eq!(calls[0]["Status"], 200);
    client.control("DELETE", "calls", "").assert_ok();
    assert_eq!(client.control("GET", "calls", "").json(), json!([]));
}

#[test]
fn faults_can_be_put_in_place_one_or_many() {
    let (_emulator, client) = with([]);
    let one =
        json!({ "Action": "DescribeImages", "Kind": { "Error": { "Code": "InternalError" } } });
    client
        .control("POST", "faults", &one.to_string())
        .assert_ok();
    client
        .ec2("DescribeImages", &[])
        .assert_refused(500, "InternalError");
    let many =
        json!([one, { "Action": "*", "Times": "forever", "Kind": { "Latency": { "Ms": 1 } } }]);
    client
        .control("POST", "faults", &many.to_string())
        .assert_ok();
    assert_eq!(
        client
            .control("GET", "faults", "")
            .json()
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    client.control("DELETE", "faults", "").assert_ok();
    client.ec2("DescribeImages", &[]).assert_ok();
}

#[test]
fn a_parameter_can_be_put() {
    let (_emulator, client) = with([]);
    let parameter = |value| json!({ "Name": "/p/rules", "Value": value }).to_string();
    client
        .control("PUT", "parameter", &parameter("[]"))
        .assert_ok();
    client
        .control("PUT", "parameter", &parameter("[1]"))
        .assert_ok();
    let answer = client
        .ssm("GetParameter", &json!({ "Name": "/p/rules" }))
        .json();
    assert_eq!(answer["Parameter"]["Value"], "[1]");
    assert_eq!(answer["Parameter"]["Version"], 2);
}

#[test]
fn latency_and_pages_change_while_it_runs() {
    let (_emulator, client) = with((1..=6).map(|n| Image::new(format!("ami-{n:08x}"))));
    let put = |body: &str| client.control("PUT", "settings", body).assert_ok();
    let page = || {
        let began = Instant::now();
        let answer = client.ec2("DescribeImages", &[("MaxResults", "1000")]);
        let is_slow = began.elapsed() >= Duration::from_millis(100);
        (answer.texts("imageId").len(), is_slow)
    };
    put(r#"{"LatencyMs":100,"LargestPage":2}"#);
    assert_eq!(page(), (2, true));
    put(r#"{"LargestPage":0}"#);
    assert_eq!(page(), (6, true));
    put(r#"{"LatencyMs":0}"#);
    assert_eq!(page().0, 6);
}

#[test]
fn mistakes_are_answered_in_json() {
    let (_emulator, client) = with([]);
    for (method, resource, body, status) in [
        ("POST", "seed", "{", 400),
        ("POST", "seed", r#"{"Image":[]}"#, 400),
        ("POST", "faults", r#"{"Action":"A"}"#, 400),
        ("PUT", "seed", "{}", 405),
        ("GET", "settings", "", 405),
        ("PUT", "settings", r#"{"Latency":1}"#, 400),
        ("GET", "nothing", "", 404),
    ] {
        let answer = client.control(method, resource, body);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.json()["Error"].is_string());
    }
}

#[test]
fn the_process_says_where_it_listens() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_ec2-emulator"))
        .args(["--account", FRIEND, "--latency-ms", "1", "--buckets"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let stdout = process.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let ready: Value = serde_json::from_str(&line).expect("JSON");
    let address = ready["Address"].as_str().and_then(|a| a.parse().ok());
    let client = Client::new(address.expect("an address"));
    let seed = json!({ "Images": [{ "ImageId": ID }] }).to_string();
    client.control("POST", "seed", &seed).assert_ok();
    let answer = client.ec2("DescribeImages", &[("Owner.1", "self")]);
    process.kill().expect("it runs");
    process.wait().expect("it ends");
    assert_eq!(answer.text("imageOwnerId"), Some(FRIEND));
    assert_eq!(
        ready["Url"],
        json!(format!(
            "http://{}",
            ready["Address"].as_str().unwrap_or_default()
        ))
    );
}

#[test]
fn the_process_says_why_it_does_not_start() {
    for (arguments, message) in [
        (
            ["--latency", "1"].as_slice(),
            "--latency is no option; see --help",
        ),
        (
            &["--seed"],
            "--seed needs a value, or is no option; see --help",
        ),
        (
            &["--latency-ms", "soon"],
            "--latency-ms soon: invalid digit found in string",
        ),
        (
            &["--listen", "localhost"],
            "--listen localhost: invalid socket address syntax",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ec2-emulator"))
            .args(arguments)
            .output()
            .expect("it starts");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, format!("ec2-emulator: {message}\n"));
    }
}
