use std::thread::sleep;
use std::time::{Duration, Instant};

use ec2_emulator::{Config, Fault, FaultKind, Image, Lag, ParameterType};
use serde_json::json;

use crate::client::Client;
use crate::{FRIEND, ID, OTHER_ID, with, with_config};

const ADD: (&str, &str) = ("LaunchPermission.Add.1.UserId", FRIEND);
const LAG: Duration = Duration::from_millis(300);

fn grantees(client: &Client) -> usize {
    let ask = [("ImageId", ID), ("Attribute", "launchPermission")];
    client
        .ec2("DescribeImageAttribute", &ask)
        .texts("userId")
        .len()
}

fn tag(client: &Client) -> Option<String> {
    let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
    answer.text("value").map(str::to_owned)
}

fn set_tag(client: &Client, value: &str) {
    let tag = [
        ("ResourceId.1", ID),
        ("Tag.1.Key", "k"),
        ("Tag.1.Value", value),
    ];
    client.ec2("CreateTags", &tag).assert_ok();
}

#[test]
fn a_write_becomes_visible_later() {
    let config = Config {
        lags: vec![Lag::new(LAG)],
        ..Config::default()
    };
    let (emulator, client) = with_config(config, []);
    emulator.add(Image::new(ID));
    let unseen = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
    unseen.assert_refused(400, "InvalidAMIID.NotFound");
    sleep(LAG);
    let began = Instant::now();
    client.modify(&[ADD]).assert_ok();
    assert_eq!(grantees(&client), 0);
    assert_eq!(emulator.image(ID).expect("there").grantees(), [FRIEND]);
    while grantees(&client) == 0 {
        sleep(Duration::from_millis(5));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    assert!(began.elapsed() >= LAG);
}

#[test]
fn each_read_and_each_write_lags_by_its_own() {
    let (emulator, client) = with([Image::new(ID).tag("k", "old").granted("000000000001")]);
    let forever = Duration::from_secs(3600);
    let tags = Lag::new(forever)
        .of_reads("DescribeImages")
        .of_writes("CreateTags");
    let by_hand = Lag::new(forever)
        .of_reads("DescribeImageAttribute")
        .of_writes("by-hand");
    emulator.set_lags([tags, by_hand]);
    set_tag(&client, "new");
    assert_eq!(tag(&client).as_deref(), Some("old"));
    client.modify(&[ADD]).assert_ok();
    assert_eq!(grantees(&client), 2);
    emulator.edit(|state| {
        let image = state.images.get_mut(ID).expect("there");
        image.launch_permissions.clear();
    });
    assert_eq!(grantees(&client), 2);
    emulator.set_lags([]);
    assert_eq!(
        (tag(&client).as_deref(), grantees(&client)),
        (Some("new"), 0)
    );
}

#[test]
fn changes_of_one_image_become_visible_in_their_order() {
    let (emulator, client) = with([Image::new(ID).tag("k", "0")]);
    emulator.set_lags([Lag::new(LAG)]);
    let mut seen = Vec::new();
    for n in 1..=30 {
        set_tag(&client, &n.to_string());
        sleep(Duration::from_millis(20));
        seen.push(
            tag(&client)
                .and_then(|v| v.parse::<u32>().ok())
                .expect("a number"),
        );
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen[0], 0);
    assert!(seen[29] > 5 && seen[29] < 30, "{seen:?}");
}

#[test]
fn a_deregistered_image_and_a_deleted_parameter_are_still_seen() {
    let (emulator, client) = with([Image::new(ID)]);
    emulator.put_parameter("/p/a", "1", ParameterType::String);
    let lag = json!([{ "Ms": 3_600_000 }]).to_string();
    client.control("PUT", "lags", &lag).assert_ok();
    client
        .ec2("DeregisterImage", &[("ImageId", ID)])
        .assert_ok();
    emulator.edit(|state| state.parameters.clear());
    assert_eq!(client.ec2("DescribeImages", &[]).texts("imageId"), [ID]);
    let answer = client
        .ssm("GetParametersByPath", &json!({ "Path": "/p" }))
        .json();
    assert_eq!(answer["Parameters"][0]["Name"], "/p/a");
    // A write sees the present.
    client
        .modify(&[ADD])
        .assert_refused(400, "InvalidAMIID.Unavailable");
    let lags = client.control("GET", "lags", "").json();
    assert_eq!(
        lags,
        json!([{ "Read": "*", "Write": "*", "Ms": 3_600_000 }])
    );
    assert_eq!(
        client
            .control("PUT", "lags", r#"[{"Reads":"A","Ms":1}]"#)
            .status,
        400
    );
}

#[test]
fn one_image_alone_may_be_stale() {
    let (emulator, client) = with([
        Image::new(ID).tag("k", "1"),
        Image::new(OTHER_ID).tag("k", "1"),
    ]);
    emulator.fault(
        Fault::new("DescribeImages", FaultKind::Stale)
            .about(ID)
            .times(2),
    );
    emulator.edit(|state| {
        for image in state.images.values_mut() {
            image.tags.insert("k".to_owned(), "2".to_owned());
        }
    });
    let values = || client.ec2("DescribeImages", &[]).texts("value").join(" ");
    client
        .ec2("DescribeImages", &[("ImageId.1", OTHER_ID)])
        .assert_ok();
    assert_eq!([values(), values(), values()], ["2 1", "2 1", "2 2"]);
    assert!(emulator.faults_left().is_empty());
}

#[test]
fn a_stale_image_is_found_by_what_it_was() {
    let (emulator, client) = with([Image::new(ID).tag("k", "1")]);
    emulator.fault(
        Fault::new("DescribeImages", FaultKind::Stale)
            .about(ID)
            .forever(),
    );
    emulator.edit(|state| state.images.remove(ID));
    let found = client.ec2(
        "DescribeImages",
        &[("Filter.1.Name", "tag-key"), ("Filter.1.Value.1", "k")],
    );
    assert_eq!(found.texts("imageId"), [ID]);
    emulator.clear_faults();
    assert!(
        client
            .ec2("DescribeImages", &[])
            .texts("imageId")
            .is_empty()
    );
}

#[test]
fn a_read_may_be_stale_for_a_time() {
    let (emulator, client) = with([Image::new(ID).tag("k", "1")]);
    let stale = Fault::new("DescribeImages", FaultKind::Stale);
    emulator.fault(stale.forever().lasting(LAG));
    set_tag(&client, "2");
    assert_eq!(
        [tag(&client), tag(&client)].map(|t| t.expect("a tag")),
        ["1", "1"]
    );
    sleep(LAG);
    assert_eq!(tag(&client).as_deref(), Some("2"));
    assert!(emulator.faults_left().is_empty());
}

#[test]
fn a_page_may_be_empty_and_still_lead_on() {
    let (emulator, client) = with((1..=7).map(|n| Image::new(format!("ami-{n:08x}"))));
    let page = |most, skip| Fault::new("DescribeImages", FaultKind::Page { most }).skip(skip);
    emulator.fault(page(0, 0));
    emulator.fault(page(0, 1));
    let (mut sizes, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut parameters = vec![("MaxResults", "5")];
        parameters.extend(token.as_deref().map(|token| ("NextToken", token)));
        let answer = client.ec2("DescribeImages", &parameters);
        answer.assert_ok();
        sizes.push(answer.texts("imageId").len());
        token = answer.text("nextToken").map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [0, 5, 0, 2]);
}

#[test]
fn pages_of_parameters_may_be_empty_or_short_too() {
    let (emulator, client) = with([]);
    for n in 0..12 {
        emulator.put_parameter(&format!("/p/{n:02}"), "x", ParameterType::String);
    }
    for most in [0, 3, 0] {
        emulator.fault(Fault::new("GetParametersByPath", FaultKind::Page { most }));
    }
    let (mut sizes, mut token) = (Vec::new(), json!(null));
    loop {
        let ask = json!({ "Path": "/p", "NextToken": token });
        let answer = client.ssm("GetParametersByPath", &ask).json();
        sizes.push(answer["Parameters"].as_array().map_or(0, Vec::len));
        token = answer["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(sizes, [0, 3, 0, 9]);
}
