use chrono::{DateTime, Duration, Months, SecondsFormat, Utc};
use ec2_emulator::{Emulator, Image};

use crate::client::{Answer, Client};
use crate::{FRIEND, ID, with};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn enable(client: &Client, time: &str) -> Answer {
    client.ec2(
        "EnableImageDeprecation",
        &[("ImageId", ID), ("DeprecateAt", time)],
    )
}

fn deprecation(emulator: &Emulator) -> Option<DateTime<Utc>> {
    emulator.image(ID).expect("there").deprecation_time
}

#[test]
fn a_deprecation_is_set_to_the_minute_and_canceled() {
    let (emulator, client) = with([Image::new(ID).deprecation_text("odd")]);
    for (given, set) in [
        ("2031-06-30T00:00:29Z", "2031-06-30T00:00:00Z"),
        ("2031-06-30T00:00:30Z", "2031-06-30T00:01:00Z"),
        ("2031-06-30T00:00:00.000Z", "2031-06-30T00:00:00Z"),
    ] {
        let answer = enable(&client, given);
        answer.assert_ok();
        assert_eq!(answer.text("return"), Some("true"));
        assert_eq!(deprecation(&emulator), Some(at(set)));
    }
    let described = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
    assert_eq!(
        described.text("deprecationTime"),
        Some("2031-06-30T00:00:00.000Z")
    );
    client
        .ec2("DisableImageDeprecation", &[("ImageId", ID)])
        .assert_ok();
    assert_eq!(deprecation(&emulator), None);
    client
        .ec2("DisableImageDeprecation", &[("ImageId", ID)])
        .assert_ok();
    assert_eq!(emulator.writes().len(), 5);
}

#[test]
fn times_that_are_past_too_late_or_malformed_are_refused() {
    let (emulator, client) = with([Image::new(ID)]);
    let refused = |time: &str| enable(&client, time).assert_refused(400, "InvalidParameterValue");
    let now = Utc::now();
    refused(&text(now - Duration::minutes(1)));
    let ten_years = now + Months::new(120);
    refused(&text(ten_years + Duration::minutes(2)));
    for time in [
        "2031-06-30",
        "2031-06-30T00:00:00",
        "2031-06-30T02:00:00+02:00",
        "soon",
    ] {
        refused(time);
    }
    enable(&client, "").assert_refused(400, "MissingParameter");
    assert_eq!(deprecation(&emulator), None);
    enable(&client, &text(ten_years - Duration::minutes(2))).assert_ok();
}

#[test]
fn a_public_image_is_deprecated_within_two_years_of_its_creation_and_stays_so() {
    let created = Utc::now() - Duration::days(365);
    let latest = created + Months::new(24);
    let (emulator, client) = with([Image::new(ID).created(created)]);
    enable(&client, &text(latest + Duration::days(30))).assert_ok();
    client
        .modify(&[("LaunchPermission.Add.1.Group", "all")])
        .assert_ok();
    let capped = deprecation(&emulator).expect("set");
    assert!((capped - latest).abs() <= Duration::minutes(1), "{capped}");
    let late = text(latest + Duration::minutes(2));
    enable(&client, &late).assert_refused(400, "InvalidParameterValue");
    enable(&client, &text(latest - Duration::minutes(2))).assert_ok();
    let cancel = || client.ec2("DisableImageDeprecation", &[("ImageId", ID)]);
    cancel().assert_refused(400, "OperationNotPermitted");
    assert!(deprecation(&emulator).is_some());
    client
        .modify(&[("LaunchPermission.Remove.1.Group", "all")])
        .assert_ok();
    cancel().assert_ok();
}

#[test]
fn only_own_available_images_are_deprecated() {
    let time = "2031-06-30T00:00:00Z";
    for (image, code) in [
        (
            Image::new(ID).owned_by(FRIEND).granted("all"),
            "AuthFailure",
        ),
        (Image::new(ID).pending(), "InvalidAMIID.Unavailable"),
        (Image::new(ID).disabled(), "InvalidAMIID.Unavailable"),
        (Image::new("ami-00000001"), "InvalidAMIID.NotFound"),
    ] {
        let (_emulator, client) = with([image]);
        enable(&client, time).assert_refused(400, code);
        client
            .ec2("DisableImageDeprecation", &[("ImageId", ID)])
            .assert_refused(400, code);
    }
    let (emulator, client) = with([Image::new(ID)]);
    let dry = [("ImageId", ID), ("DeprecateAt", time), ("DryRun", "true")];
    client
        .ec2("EnableImageDeprecation", &dry)
        .assert_refused(412, "DryRunOperation");
    assert_eq!(deprecation(&emulator), None);
}
