//! Faults about one resource of an answer.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use ec2_emulator::{BlockDevice, Fault, FaultKind, Image, ParameterType};
use serde_json::json;

use crate::client::{Answer, Client};
use crate::{FRIEND, ID, OTHER_ID, with};

/// The items of all images in an answer, by id.
fn items(answer: &Answer) -> Vec<&str> {
    let set = answer.text("imagesSet").expect("images");
    set.split("<imageId>").skip(1).collect()
}

fn two() -> [Image; 2] {
    [Image::new(ID), Image::new(OTHER_ID)]
}

#[test]
fn one_image_alone_lacks_a_field() {
    for field in [
        "imageState",
        "imageOwnerId",
        "isPublic",
        "blockDeviceMapping",
    ] {
        let (emulator, client) = with(two());
        let omit = FaultKind::omit([field]);
        emulator.fault(Fault::new("DescribeImages", omit).about(ID).forever());
        let answer = client.ec2("DescribeImages", &[]);
        let open = format!("<{field}>");
        let there: Vec<bool> = items(&answer)
            .iter()
            .map(|item| item.contains(&open))
            .collect();
        assert_eq!(there, [true, false], "{}", answer.body);
        let other = client.ec2("DescribeImages", &[("ImageId.1", OTHER_ID)]);
        assert!(other.body.contains(&open));
    }
}

#[test]
fn an_image_may_lack_its_id() {
    let (emulator, client) = with(two());
    emulator.fault(Fault::new("DescribeImages", FaultKind::omit(["imageId"])).about(ID));
    let answer = client.ec2("DescribeImages", &[]);
    assert_eq!(answer.texts("imageId"), [OTHER_ID]);
    assert_eq!(answer.texts("imageState").len(), 2);
}

#[test]
fn one_image_alone_says_something_else() {
    let (emulator, client) = with(two());
    let odd = [
        ("imageState", "odd & new"),
        ("deprecationTime", "2027-11-26 10:00:00"),
    ];
    let elements = BTreeMap::from(odd.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let replace = FaultKind::Replace { elements };
    emulator.fault(Fault::new("DescribeImages", replace).about(ID).forever());
    let answer = client.ec2("DescribeImages", &[]);
    assert_eq!(answer.texts("imageState"), ["available", "odd &amp; new"]);
    // It had none: it stands at the end of the image.
    assert_eq!(answer.texts("deprecationTime"), ["2027-11-26 10:00:00"]);
    assert!(items(&answer)[1].contains("2027-11-26 10:00:00"));
}

#[test]
fn several_images_are_spoilt_in_several_ways_at_once() {
    let (emulator, client) = with(two());
    let omit = FaultKind::omit(["imageState"]);
    emulator.fault(Fault::new("DescribeImages", omit).about(ID).forever());
    let replace = FaultKind::replace("imageOwnerId", "");
    emulator.fault(
        Fault::new("DescribeImages", replace)
            .about(OTHER_ID)
            .forever(),
    );
    emulator.fault(Fault::new("DescribeImages", FaultKind::Latency { ms: 60 }).forever());
    let began = Instant::now();
    let answer = client.ec2("DescribeImages", &[]);
    assert!(began.elapsed() >= Duration::from_millis(60));
    assert_eq!(answer.texts("imageState").len(), 1);
    assert_eq!(answer.texts("imageOwnerId"), ["", "111122223333"]);
}

#[test]
fn the_page_does_not_matter_and_times_count_answers_with_the_image() {
    let id = |n: u32| format!("ami-{n:08x}");
    let (emulator, client) = with((1..=12).map(|n| Image::new(id(n))));
    let replace = FaultKind::replace("imageState", "odd");
    emulator.fault(
        Fault::new("DescribeImages", replace)
            .about(&id(6))
            .skip(1)
            .times(1),
    );
    let sweep = || {
        let (mut odd, mut token) = (Vec::new(), None::<String>);
        loop {
            let mut parameters = vec![("MaxResults", "5")];
            parameters.extend(token.as_deref().map(|token| ("NextToken", token)));
            let answer = client.ec2("DescribeImages", &parameters);
            let ids = answer.texts("imageId").into_iter();
            let states = answer.texts("imageState").into_iter();
            let of = ids.zip(states).filter(|(_, state)| *state == "odd");
            odd.extend(of.map(|(id, _)| id.to_owned()));
            token = answer.text("nextToken").map(str::to_owned);
            if token.is_none() {
                return odd;
            }
        }
    };
    assert_eq!(sweep(), [""; 0]);
    assert_eq!(sweep(), [id(6)]);
    assert_eq!(sweep(), [""; 0]);
}

#[test]
fn a_snapshot_is_spoilt_wherever_it_stands() {
    let devices = [
        BlockDevice::ebs("/dev/xvda", "snap-00000001"),
        BlockDevice::ebs("/dev/sdb", "snap-00000002"),
    ];
    let (emulator, client) = with([Image::new(ID).block_devices(devices)]);
    let omit = FaultKind::omit(["encrypted"]);
    emulator.fault(Fault::new("*", omit).about("snap-00000001").forever());
    let mapping = client.ec2("DescribeImages", &[]);
    assert_eq!(mapping.texts("encrypted").len(), 1);
    let ebs = mapping.text("ebs").expect("the first volume");
    assert!(!ebs.contains("encrypted"), "{ebs}");
    assert_eq!(
        client
            .ec2("DescribeSnapshots", &[])
            .texts("encrypted")
            .len(),
        1
    );
}

#[test]
fn a_parameter_alone_is_spoilt() {
    let (emulator, client) = with([]);
    for name in ["/p/a", "/p/b"] {
        emulator.put_parameter(name, "1", ParameterType::String);
    }
    let omit = FaultKind::omit(["Type"]);
    emulator.fault(
        Fault::new("GetParametersByPath", omit)
            .about("/p/b")
            .forever(),
    );
    let replace = FaultKind::replace("Version", "many");
    emulator.fault(Fault::new("GetParametersByPath", replace).about("/p/a"));
    let answer = client
        .ssm("GetParametersByPath", &json!({ "Path": "/p" }))
        .json();
    let parameters = &answer["Parameters"];
    assert_eq!(
        (&parameters[0]["Type"], &parameters[0]["Version"]),
        (&json!("String"), &json!("many"))
    );
    assert_eq!(
        (&parameters[1]["Type"], &parameters[1]["Version"]),
        (&json!(null), &json!(1))
    );
}

#[test]
fn calls_about_one_image_are_slow_or_fail_and_others_are_not() {
    let (emulator, client) = with(two());
    emulator.fault(
        Fault::new("*", FaultKind::Latency { ms: 80 })
            .about(ID)
            .forever(),
    );
    let time = |action: &str, parameters: &[(&str, &str)]| {
        let began = Instant::now();
        client.ec2(action, parameters).assert_ok();
        began.elapsed() >= Duration::from_millis(80)
    };
    let filter = |id| [("Filter.1.Name", "image-id"), ("Filter.1.Value.1", id)];
    assert!(time("DescribeImages", &[]));
    assert!(time("DescribeImages", &filter(ID)));
    assert!(!time("DescribeImages", &filter(OTHER_ID)));
    let ask = |id| [("ImageId", id), ("Attribute", "launchPermission")];
    assert!(time("DescribeImageAttribute", &ask(ID)));
    assert!(!time("DescribeImageAttribute", &ask(OTHER_ID)));

    emulator.clear_faults();
    emulator.fault(Fault::error("*", "InternalError").about(ID).forever());
    client
        .ec2("DescribeImages", &[])
        .assert_refused(500, "InternalError");
    client.ec2("DescribeImages", &filter(OTHER_ID)).assert_ok();
    let add = ("LaunchPermission.Add.1.UserId", FRIEND);
    client.modify(&[add]).assert_refused(500, "InternalError");
    client
        .ec2("ModifyImageAttribute", &[("ImageId", OTHER_ID), add])
        .assert_ok();
    let tag = [
        ("ResourceId.1", OTHER_ID),
        ("ResourceId.2", ID),
        ("Tag.1.Key", "k"),
    ];
    client
        .ec2("CreateTags", &tag)
        .assert_refused(500, "InternalError");
}

#[test]
fn a_fault_finds_an_image_anywhere_in_a_filter() {
    let (emulator, client) = with(two());
    let fault = Fault::error("DescribeImages", "InternalError").forever();
    emulator.fault(fault.with("Filter.1.Value.*", ID));
    let filter = |first, second| {
        let parameters = [
            ("Filter.1.Name", "image-id"),
            ("Filter.1.Value.1", first),
            ("Filter.1.Value.2", second),
        ];
        client.ec2("DescribeImages", &parameters).status
    };
    assert_eq!(filter(OTHER_ID, ID), 500);
    assert_eq!(filter(OTHER_ID, "ami-00000001"), 200);
    assert_eq!(client.ec2("DescribeImages", &[]).status, 200);
}

#[test]
fn a_large_page_takes_longer_than_a_client_waits_and_a_small_one_does_not() {
    let (emulator, client) = with((0..40).map(|n| Image::new(format!("ami-{n:08x}"))));
    let slow = FaultKind::SlowPages { per_result_ms: 10 };
    emulator.fault(Fault::new("DescribeImages", slow).forever());
    let client: Client = client.patient_for(Duration::from_millis(200));
    let page = |size| client.try_ec2("DescribeImages", &[("MaxResults", size)]);
    let error = page("40").expect_err("400 ms are too long");
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    assert_eq!(page("5").expect("50 ms are not").texts("imageId").len(), 5);
}

#[test]
fn only_first_pages_or_only_later_ones_go_wrong() {
    let (emulator, client) = with((0..8).map(|n| Image::new(format!("ami-{n:08x}"))));
    let fault = || Fault::error("DescribeImages", "InternalError").forever();
    let first = || client.ec2("DescribeImages", &[("MaxResults", "5")]);
    let token = first()
        .text("nextToken")
        .map(str::to_owned)
        .expect("more to come");
    let second = || {
        client.ec2(
            "DescribeImages",
            &[("MaxResults", "5"), ("NextToken", &token)],
        )
    };
    emulator.fault(fault().without("NextToken"));
    assert_eq!((first().status, second().status), (500, 200));
    emulator.clear_faults();
    emulator.fault(fault().with_any("NextToken"));
    assert_eq!((first().status, second().status), (200, 500));
}

#[test]
fn a_fault_may_be_meant_for_one_sender() {
    let (emulator, client) = with(two());
    emulator.fault(Fault::error("*", "InternalError").by("AKID2").forever());
    client.ec2("DescribeImages", &[]).assert_ok();
    let second = client.signing_as("AKID2");
    second
        .ec2("DescribeImages", &[])
        .assert_refused(500, "InternalError");
}
