use ec2_emulator::{
    BlockDevice, BlockPublicAccess, Config, Image, ImageState, ScanResults, Snapshot, Watermark,
};

use crate::client::Client;
use crate::{FRIEND, ID, ORGANIZATION, OTHER_ID, UNIT, with, with_config};

#[test]
fn an_image_is_described_in_full() {
    let image = Image::new(ID)
        .name("golden <1> & \"co\"")
        .description("current description")
        .tag("Name", "a<b")
        .created("2026-03-25T16:30:25Z".parse().expect("a time"))
        .deprecated("2028-03-25T16:30:00Z".parse().expect("a time"))
        .product_code("a1b2c3")
        .imds_v2()
        .copied_from(OTHER_ID)
        .granted("all")
        .block_device(BlockDevice::empty("/dev/sdf").encrypted(None))
        .block_device(BlockDevice::instance_store("/dev/sdb", "ephemeral0"));
    let (_emulator, client) = with([image]);
    let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
    answer.assert_ok();
    for (element, text) in [
        ("imageId", ID),
        (
            "imageLocation",
            "111122223333/golden &lt;1&gt; &amp; &quot;co&quot;",
        ),
        ("imageState", "available"),
        ("imageOwnerId", "111122223333"),
        ("isPublic", "true"),
        ("creationDate", "2026-03-25T16:30:25.000Z"),
        (
            "productCodes",
            "<item><productCode>a1b2c3</productCode><type>marketplace</type></item>",
        ),
        ("architecture", "x86_64"),
        ("imageType", "machine"),
        ("description", "current description"),
        ("rootDeviceType", "ebs"),
        ("rootDeviceName", "/dev/xvda"),
        (
            "tagSet",
            "<item><key>Name</key><value>a&lt;b</value></item>",
        ),
        ("imdsSupport", "v2.0"),
        ("deprecationTime", "2028-03-25T16:30:00.000Z"),
        ("sourceImageId", OTHER_ID),
    ] {
        assert_eq!(answer.text(element), Some(text), "{}", answer.body);
    }
    let mapping = answer.text("blockDeviceMapping").expect("a mapping");
    assert_eq!(
        mapping,
        "<item><deviceName>/dev/xvda</deviceName><ebs>\
         <snapshotId>snap-0123456789abcdef0</snapshotId><volumeSize>8</volumeSize>\
         <deleteOnTermination>true</deleteOnTermination><volumeType>gp3</volumeType>\
         <encrypted>false</encrypted></ebs></item>\
         <item><deviceName>/dev/sdf</deviceName><ebs><volumeSize>8</volumeSize>\
         <deleteOnTermination>true</deleteOnTermination><volumeType>gp3</volumeType></ebs></item>\
         <item><deviceName>/dev/sdb</deviceName><virtualName>ephemeral0</virtualName></item>"
    );
}

#[test]
fn what_is_unset_is_left_out() {
    let (_emulator, client) = with([Image::new(ID)]);
    let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
    for element in [
        "description",
        "imdsSupport",
        "deprecationTime",
        "sourceImageId",
        "productCodes",
        "tagSet",
    ] {
        assert_eq!(answer.text(element), None, "{}", answer.body);
    }
}

#[test]
fn watermarks_and_scan_results_are_described() {
    let time = |text: &str| text.parse().expect("a time");
    let watermark = Watermark {
        source_image_region: Some("eu-west-1".to_owned()),
        source_image_id: Some(OTHER_ID.to_owned()),
        source_image_creation_time: Some(time("2026-03-25T16:30:25Z")),
        watermark_creation_time: time("2026-03-26T16:30:25.250Z"),
        ..Watermark::new("444455556666:approved & <signed>")
    };
    let scan = ScanResults {
        finding_scan_date: Some(time("2026-11-01T00:00:00Z")),
        high_fix_available_since: Some(time("2026-10-01T00:00:00Z")),
        ..ScanResults::new(Some("high"))
    };
    let mut image = Image::new(ID).watermark("111122223333:plain");
    image.watermarks[0].watermark_creation_time = time("2026-03-25T00:00:00Z");
    image.watermarks.push(watermark);
    image.scan_results = Some(scan);
    let clean = Image::new(OTHER_ID).scanned(None);
    let (_emulator, client) = with([image, clean]);
    let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
    assert_eq!(
        answer.text("imageWatermarkSet"),
        Some(
            "<item><watermarkKey>111122223333:plain</watermarkKey>\
             <watermarkCreationTime>2026-03-25T00:00:00.000Z</watermarkCreationTime></item>\
             <item><watermarkKey>444455556666:approved &amp; &lt;signed&gt;</watermarkKey>\
             <sourceImageRegion>eu-west-1</sourceImageRegion>\
             <sourceImageId>ami-0fedcba9876543210</sourceImageId>\
             <sourceImageCreationTime>2026-03-25T16:30:25.000Z</sourceImageCreationTime>\
             <watermarkCreationTime>2026-03-26T16:30:25.250Z</watermarkCreationTime></item>"
        )
    );
    assert_eq!(
        answer.text("scanResults"),
        Some(
            "<highestFindingSeverityLabel>high</highestFindingSeverityLabel>\
             <findingScanDate>2026-11-01T00:00:00.000Z</findingScanDate>\
             <highFixAvailableSince>2026-10-01T00:00:00.000Z</highFixAvailableSince>"
        )
    );
    let clean = client.ec2("DescribeImages", &[("ImageId.1", OTHER_ID)]);
    assert_eq!(clean.text("imageWatermarkSet"), None);
    let scan = clean
        .text("scanResults")
        .expect("a scan that found nothing");
    assert!(
        scan.contains("findingScanDate") && !scan.contains("Label"),
        "{scan}"
    );
    let by = |name: &str, value: &str| {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        client
            .ec2("DescribeImages", &filter)
            .texts("imageId")
            .join(" ")
    };
    assert_eq!(by("image-watermark.watermark-key", "*:approved*"), ID);
    assert_eq!(by("scan-result.highest-finding-severity-label", "high"), ID);
}

#[test]
fn odd_mappings_codes_and_times_are_described_as_they_are() {
    let image = Image::new(ID)
        .block_devices([BlockDevice::bare("/dev/sdz")])
        .root_device("ebs", "/dev/xvda")
        .product_code("")
        .deprecation_text("2027-11-26 10:00:00");
    let (emulator, client) = with([image]);
    let text = |element: &str| {
        let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
        answer.text(element).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(
        text("blockDeviceMapping"),
        "<item><deviceName>/dev/sdz</deviceName></item>"
    );
    assert_eq!(
        (text("rootDeviceType"), text("rootDeviceName")),
        ("ebs".into(), "/dev/xvda".into())
    );
    assert_eq!(
        text("productCodes"),
        "<item><type>marketplace</type></item>"
    );
    assert_eq!(text("deprecationTime"), "2027-11-26 10:00:00");
    emulator.add(Image::new(ID).block_devices([BlockDevice::instance_store("/dev/sda1", "e0")]));
    assert_eq!(text("rootDeviceType"), "instance-store");
    emulator.add(
        Image::new(ID)
            .block_devices([])
            .root_device("ebs", "/dev/xvda"),
    );
    assert_eq!(
        (text("rootDeviceType"), text("blockDeviceMapping")),
        ("ebs".into(), String::new())
    );
    client
        .modify(&[("LaunchPermission.Add.1.Group", "all")])
        .assert_ok();
}

#[test]
fn images_are_seeded_with_all_they_have() {
    let (emulator, client) = with([]);
    let seed = r#"{"Images":[{"ImageId":"ami-0123456789abcdef0","RootDeviceType":"ebs",
        "RootDeviceName":"/dev/xvda","DeprecationText":"","ProductCodes":[""],
        "BlockDevices":[{"DeviceName":"/dev/sdz","Bare":true}],
        "Watermarks":[{"WatermarkKey":"111122223333:x"}],
        "LastLaunchedTime":"2026-11-01T00:00:00Z",
        "ScanResults":{"HighestFindingSeverityLabel":"untriaged"}}]}"#;
    client.control("POST", "seed", seed).assert_ok();
    let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
    assert_eq!(answer.text("deprecationTime"), Some(""));
    assert_eq!(
        answer.text("lastLaunchedTime"),
        Some("2026-11-01T00:00:00.000Z")
    );
    let label = "<highestFindingSeverityLabel>untriaged</highestFindingSeverityLabel>";
    assert_eq!(answer.text("scanResults"), Some(label));
    let acts = format!(
        r#"[{{"AddWatermark":{{"ImageId":"{ID}","WatermarkKey":"1:y"}}}},
            {{"SetScanResults":{{"ImageId":"{ID}","ScanResults":null}}}}]"#
    );
    client.control("POST", "acts", &acts).assert_ok();
    let image = emulator.image(ID).expect("there");
    assert_eq!((image.watermarks.len(), image.scan_results), (2, None));
}

#[test]
fn ids_that_are_unknown_or_malformed_are_refused() {
    let (_emulator, client) = with([Image::new(ID)]);
    let describe = |id| client.ec2("DescribeImages", &[("ImageId.1", ID), ("ImageId.2", id)]);
    describe(OTHER_ID).assert_refused(400, "InvalidAMIID.NotFound");
    describe("ami-xyz").assert_refused(400, "InvalidAMIID.Malformed");
    describe("ami-0123456789ABCDEF0").assert_refused(400, "InvalidAMIID.Malformed");
}

#[test]
fn an_unknown_id_in_a_filter_is_no_error() {
    let (_emulator, client) = with([Image::new(ID)]);
    let filter = [
        ("Filter.1.Name", "image-id"),
        ("Filter.1.Value.1", OTHER_ID),
        ("Filter.1.Value.2", ID),
    ];
    assert_eq!(client.ec2("DescribeImages", &filter).texts("imageId"), [ID]);
}

#[test]
fn two_hundred_filter_values_are_the_most() {
    let (_emulator, client) = with([]);
    let describe = |count: u32| {
        let names: Vec<_> = (1..=count)
            .map(|n| (format!("Filter.1.Value.{n}"), format!("ami-{n:017x}")))
            .collect();
        let mut parameters = vec![("Filter.1.Name", "image-id")];
        parameters.extend(
            names
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        client.ec2("DescribeImages", &parameters)
    };
    describe(200).assert_ok();
    describe(201).assert_refused(400, "FilterLimitExceeded");
}

#[test]
fn filters_choose_by_tag_state_name_and_publicity() {
    let (_emulator, client) = with([
        Image::new(ID)
            .tag("ami-warden:launch-permission", "all")
            .name("golden-1")
            .granted("all"),
        Image::new(OTHER_ID)
            .tag("team", "blue")
            .name("other")
            .pending(),
    ]);
    let chosen = |name: &str, value: &str| {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let answer = client.ec2("DescribeImages", &filter);
        answer.assert_ok();
        answer
            .texts("imageId")
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(chosen("tag-key", "ami-warden:*"), [ID]);
    assert_eq!(chosen("tag:team", "bl*"), [OTHER_ID]);
    assert_eq!(chosen("state", "pending"), [OTHER_ID]);
    assert_eq!(chosen("name", "golden-?"), [ID]);
    assert_eq!(chosen("is-public", "true"), [ID]);
    assert_eq!(chosen("image-id", "ami-0f*"), [OTHER_ID]);
    client
        .ec2(
            "DescribeImages",
            &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")],
        )
        .assert_refused(400, "InvalidParameterValue");
}

#[test]
fn only_own_public_and_shared_images_are_seen() {
    let hidden = "ami-00000001";
    let (_emulator, client) = with([
        Image::new(ID),
        Image::new(OTHER_ID)
            .owned_by(FRIEND)
            .granted("111122223333"),
        Image::new(hidden).owned_by(FRIEND),
    ]);
    let ids = |parameters: &[(&str, &str)]| {
        let answer = client.ec2("DescribeImages", parameters);
        answer
            .texts("imageId")
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), [OTHER_ID, ID]);
    assert_eq!(ids(&[("Owner.1", "self")]), [ID]);
    assert_eq!(ids(&[("Owner.1", FRIEND)]), [OTHER_ID]);
    client
        .ec2("DescribeImages", &[("ImageId.1", hidden)])
        .assert_refused(400, "InvalidAMIID.NotFound");
}

#[test]
fn disabled_images_are_left_out_unless_asked_for() {
    let (_emulator, client) = with([Image::new(ID).disabled()]);
    let filter = [("Filter.1.Name", "image-id"), ("Filter.1.Value.1", ID)];
    let count = |parameters: &[(&str, &str)]| {
        client
            .ec2("DescribeImages", parameters)
            .texts("imageId")
            .len()
    };
    assert_eq!(count(&filter), 0);
    assert_eq!(
        count(&[filter[0], filter[1], ("IncludeDisabled", "true")]),
        1
    );
    assert_eq!(count(&[("ImageId.1", ID)]), 1);
}

#[test]
fn a_pending_image_shows_no_mapping() {
    let (_emulator, client) = with([Image::new(ID).pending()]);
    let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
    assert_eq!(answer.text("imageState"), Some("pending"));
    assert_eq!(answer.text("blockDeviceMapping"), Some(""));
}

#[test]
fn pages_cover_each_image_exactly_once() {
    let ids: Vec<String> = (1..=23).map(|n| format!("ami-{n:08x}")).collect();
    let (_emulator, client) = with(ids.iter().map(Image::new));
    let (mut seen, mut pages, mut token) = (Vec::new(), 0, None::<String>);
    loop {
        let mut parameters = vec![("MaxResults", "5"), ("Owner.1", "self")];
        if let Some(token) = &token {
            parameters.push(("NextToken", token));
        }
        let answer = client.ec2("DescribeImages", &parameters);
        answer.assert_ok();
        seen.extend(answer.texts("imageId").into_iter().map(str::to_owned));
        pages += 1;
        token = answer.text("nextToken").map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(pages, 5);
    seen.sort();
    assert_eq!(seen, ids);
}

#[test]
fn a_token_is_good_for_its_own_question_only() {
    let (_emulator, client) = with((1..=6).map(|n| Image::new(format!("ami-{n:08x}"))));
    let answer = client.ec2("DescribeImages", &[("MaxResults", "5")]);
    let token = answer.text("nextToken").expect("more to come");
    let ask = |token, owner: &[(&str, &str)]| {
        let mut parameters = vec![("MaxResults", "5"), ("NextToken", token)];
        parameters.extend(owner);
        client.ec2("DescribeImages", &parameters)
    };
    ask(token, &[("Owner.1", "self")]).assert_refused(400, "InvalidNextToken");
    ask("nonsense", &[]).assert_refused(400, "InvalidNextToken");
    assert_eq!(ask(token, &[]).texts("imageId").len(), 1);
}

#[test]
fn a_page_holds_five_to_a_thousand_and_goes_with_no_ids() {
    let (_emulator, client) = with([Image::new(ID)]);
    for size in ["4", "1001", "many"] {
        client
            .ec2("DescribeImages", &[("MaxResults", size)])
            .assert_refused(400, "InvalidParameterValue");
    }
    client
        .ec2("DescribeImages", &[("MaxResults", "5"), ("ImageId.1", ID)])
        .assert_refused(400, "InvalidParameterCombination");
}

#[test]
fn pages_may_be_made_shorter_than_asked_for() {
    let config = Config {
        largest_page: Some(2),
        ..Config::default()
    };
    let (_emulator, client) =
        with_config(config, (1..=6).map(|n| Image::new(format!("ami-{n:08x}"))));
    let answer = client.ec2("DescribeImages", &[("MaxResults", "1000")]);
    assert_eq!(answer.texts("imageId").len(), 2);
    assert!(answer.text("nextToken").is_some());
}

/// All ids of a listing, by pages of this size.
fn listed(client: &Client, size: &str, parameters: &[(&str, &str)]) -> Vec<String> {
    let (mut ids, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut all = vec![("MaxResults", size)];
        all.extend(parameters);
        all.extend(token.as_deref().map(|token| ("NextToken", token)));
        let answer = client.ec2("DescribeImages", &all);
        answer.assert_ok();
        ids.extend(answer.texts("imageId").into_iter().map(str::to_owned));
        token = answer.text("nextToken").map(str::to_owned);
        if token.is_none() {
            return ids;
        }
    }
}

#[test]
fn fifty_thousand_images_are_seeded_listed_and_looked_up_quickly() {
    let (emulator, client) = with([]);
    let began = std::time::Instant::now();
    let seed = r#"{"Ranges":[
        {"Count":50000,"Image":{"ImageId":"ami-{n:017x}","Name":"golden-{n}",
            "Tags":{"team":"t{n:02}","ami-warden:description":"{Name}"}}},
        {"Count":500,"First":7,"Step":100,"Image":{"ImageId":"ami-{n:017x}",
            "LaunchPermissions":["444455556666"],"Tags":{"ami-warden:hold":"{n}"}}}]}"#;
    client.control("POST", "seed", seed).assert_ok();
    let seeded = began.elapsed();
    assert_eq!(emulator.edit(|state| state.images.len()), 50_000);
    let image = emulator
        .image("ami-0000000000000c34f")
        .expect("the last one");
    assert_eq!(
        (image.name.as_str(), image.tags["team"].as_str()),
        ("golden-49999", "t49999")
    );
    assert_eq!(image.tags["ami-warden:description"], "{Name}");

    let began = std::time::Instant::now();
    let filter = [
        ("Filter.1.Name", "tag-key"),
        ("Filter.1.Value.1", "ami-warden:h*"),
    ];
    let held = listed(&client, "1000", &filter);
    assert_eq!(
        (held.len(), held[499].as_str()),
        (500, "ami-00000000000000007")
    );
    assert_eq!(
        listed(&client, "1000", &[("Owner.1", "self")]).len(),
        50_000
    );
    let listed = began.elapsed();

    let began = std::time::Instant::now();
    let filter = [
        ("Filter.1.Name", "image-id"),
        ("Filter.1.Value.1", "ami-0000000000000c34f"),
    ];
    for _ in 0..100 {
        let found = client.ec2("DescribeImages", &filter);
        assert_eq!(found.texts("imageId").len(), 1);
    }
    let times = [seeded, listed, began.elapsed()];
    assert!(times.iter().all(|time| time.as_secs() < 20), "{times:?}");
}

#[test]
fn a_range_with_a_mistake_is_refused() {
    let (_emulator, client) = with([]);
    for range in [
        r#"{"Count":2,"Image":{"ImageId":"ami-{n}"}}"#,
        r#"{"Count":2,"Image":{"ImageId":"ami-{n:08x}","Tag":{}}}"#,
        r#"{"Image":{"ImageId":"ami-{n:08x}"}}"#,
    ] {
        let seed = format!(r#"{{"Ranges":[{range}]}}"#);
        assert_eq!(client.control("POST", "seed", &seed).status, 400, "{range}");
    }
}

#[test]
fn launch_permissions_are_described_by_kind() {
    let image = Image::new(ID)
        .granted("all")
        .granted(FRIEND)
        .granted(ORGANIZATION)
        .granted(UNIT);
    let (_emulator, client) = with([image]);
    let ask = [("ImageId", ID), ("Attribute", "launchPermission")];
    let answer = client.ec2("DescribeImageAttribute", &ask);
    answer.assert_ok();
    assert_eq!(answer.texts("group"), ["all"]);
    assert_eq!(answer.texts("userId"), [FRIEND]);
    assert_eq!(answer.texts("organizationArn"), [ORGANIZATION]);
    assert_eq!(answer.texts("organizationalUnitArn"), [UNIT]);
}

#[test]
fn a_description_is_described_as_an_attribute() {
    let (_emulator, client) = with([Image::new(ID).description("text")]);
    let ask = [("ImageId", ID), ("Attribute", "description")];
    let answer = client.ec2("DescribeImageAttribute", &ask);
    assert_eq!(answer.text("description"), Some("<value>text</value>"));
}

#[test]
fn attributes_of_a_foreign_image_are_not_described() {
    let (_emulator, client) = with([Image::new(ID).owned_by(FRIEND).granted("all")]);
    let ask = |id, attribute| {
        client.ec2(
            "DescribeImageAttribute",
            &[("ImageId", id), ("Attribute", attribute)],
        )
    };
    ask(ID, "launchPermission").assert_refused(400, "AuthFailure");
    ask(OTHER_ID, "launchPermission").assert_refused(400, "InvalidAMIID.NotFound");
    ask("ami-xyz", "launchPermission").assert_refused(400, "InvalidAMIID.Malformed");
}

#[test]
fn snapshots_follow_from_the_mapping() {
    let (_emulator, client) = with([
        Image::new(ID).encrypted(),
        Image::new(OTHER_ID).encryption_unsaid(),
    ]);
    let answer = client.ec2("DescribeSnapshots", &[]);
    assert_eq!(
        answer.texts("snapshotId"),
        ["snap-0fedcba9876543210", "snap-0123456789abcdef0"]
    );
    assert_eq!(answer.texts("encrypted"), ["false", "true"]);
}

#[test]
fn snapshots_that_cannot_be_seen_are_left_out_or_refused_by_id() {
    let (_emulator, client) = with([
        Image::new(ID).snapshots_hidden(),
        Image::new(OTHER_ID).snapshots([Snapshot::new("snap-0fedcba9876543210").owned_by(FRIEND)]),
    ]);
    for id in ["snap-0123456789abcdef0", "snap-0fedcba9876543210"] {
        let filter = [("Filter.1.Name", "snapshot-id"), ("Filter.1.Value.1", id)];
        let answer = client.ec2("DescribeSnapshots", &filter);
        answer.assert_ok();
        assert!(answer.texts("snapshotId").is_empty());
        client
            .ec2("DescribeSnapshots", &[("SnapshotId.1", id)])
            .assert_refused(400, "InvalidSnapshot.NotFound");
    }
    client
        .ec2("DescribeSnapshots", &[("SnapshotId.1", "snap-1")])
        .assert_refused(400, "InvalidSnapshotID.Malformed");
}

#[test]
fn snapshots_are_paged() {
    let (_emulator, client) = with((1..=7).map(|n| Image::new(format!("ami-{n:08x}"))));
    let first = client.ec2("DescribeSnapshots", &[("MaxResults", "5")]);
    let token = first.text("nextToken").expect("more to come");
    let second = client.ec2(
        "DescribeSnapshots",
        &[("MaxResults", "5"), ("NextToken", token)],
    );
    let sizes = [
        first.texts("snapshotId").len(),
        second.texts("snapshotId").len(),
    ];
    assert_eq!(sizes, [5, 2]);
    assert_eq!(second.text("nextToken"), None);
}

#[test]
fn block_public_access_is_described_and_switched() {
    let (emulator, client) = with([]);
    let state = || {
        let answer = client.ec2("GetImageBlockPublicAccessState", &[]);
        answer
            .text("imageBlockPublicAccessState")
            .map(str::to_owned)
    };
    assert_eq!(state().as_deref(), Some("unblocked"));
    let on = [("ImageBlockPublicAccessState", "block-new-sharing")];
    client.ec2("EnableImageBlockPublicAccess", &on).assert_ok();
    assert_eq!(state().as_deref(), Some("block-new-sharing"));
    client.ec2("DisableImageBlockPublicAccess", &[]).assert_ok();
    assert_eq!(
        emulator.edit(|state| state.block_public_access),
        BlockPublicAccess::Unblocked
    );
}

#[test]
fn every_state_is_spelt_as_in_the_api() {
    for state in [
        ImageState::Failed,
        ImageState::Invalid,
        ImageState::Transient,
        ImageState::Error,
    ] {
        let (_emulator, client) = with([Image::new(ID).state(state)]);
        let answer = client.ec2("DescribeImages", &[("ImageId.1", ID)]);
        assert_eq!(answer.text("imageState"), Some(state.as_str()));
    }
}
