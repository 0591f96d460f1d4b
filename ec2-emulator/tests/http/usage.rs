//! Usage reports.

use chrono::{Duration, Utc};
use ec2_emulator::{Config, Emulator, Image, ReportPace, ReportState, Seed, Usage, UsageReport};
use serde_json::json;

use crate::client::{Answer, Client};
use crate::{FRIEND, ID, OTHER_ID, with, with_config};

const OTHER: &str = "777788889999";
const REPORT: &str = "amiur-00000000000000001";
const INSTANCES: (&str, &str) = ("ResourceType.1.ResourceType", "ec2:Instance");
const TEMPLATES: (&str, &str) = ("ResourceType.2.ResourceType", "ec2:LaunchTemplate");

fn used() -> (Emulator, Client) {
    let (emulator, client) = with([Image::new(ID), Image::new(OTHER_ID)]);
    emulator.edit(|state| {
        state.usage = vec![
            Usage::new(ID, FRIEND, "ec2:Instance", 15),
            Usage::new(ID, FRIEND, "ec2:LaunchTemplate", 4),
            Usage::new(ID, OTHER, "ec2:Instance", 1),
            Usage::new(ID, OTHER, "imagebuilder:ImageRecipe", 2),
            Usage::new(OTHER_ID, FRIEND, "ec2:Instance", 7),
        ];
    });
    (emulator, client)
}

fn create(client: &Client, parameters: &[(&str, &str)]) -> Answer {
    let mut all = vec![("ImageId", ID)];
    all.extend(parameters);
    client.ec2("CreateImageUsageReport", &all)
}

fn state(client: &Client, report: &str) -> Option<String> {
    let answer = client.ec2("DescribeImageUsageReports", &[("ReportId.1", report)]);
    answer.text("state").map(str::to_owned)
}

/// Account, resource type and count of all entries.
fn entries(client: &Client, parameters: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let answer = client.ec2("DescribeImageUsageReportEntries", parameters);
    answer.assert_ok();
    let texts = |name| answer.texts(name).into_iter().map(str::to_owned);
    let types = texts("resourceType");
    let pairs = texts("accountId").zip(types).zip(texts("usageCount"));
    pairs
        .map(|((account, kind), count)| (account, kind, count))
        .collect()
}

fn entry(account: &str, kind: &str, count: &str) -> (String, String, String) {
    (account.to_owned(), kind.to_owned(), count.to_owned())
}

#[test]
fn a_report_is_made_waited_for_and_read() {
    let (emulator, client) = used();
    let parameters = [
        INSTANCES,
        TEMPLATES,
        (
            "ResourceType.2.ResourceTypeOption.1.OptionName",
            "version-depth",
        ),
        ("ResourceType.2.ResourceTypeOption.1.OptionValue.1", "100"),
        ("AccountId.1", FRIEND),
        ("TagSpecification.1.ResourceType", "image-usage-report"),
        ("TagSpecification.1.Tag.1.Key", "why"),
        ("TagSpecification.1.Tag.1.Value", "end of life"),
    ];
    let answer = create(&client, &parameters);
    answer.assert_ok();
    assert_eq!(answer.text("reportId"), Some(REPORT));
    assert!(entries(&client, &[("ReportId.1", REPORT)]).is_empty());
    assert_eq!(state(&client, REPORT).as_deref(), Some("pending"));
    let described = client.ec2("DescribeImageUsageReports", &[("ImageId.1", ID)]);
    for (element, text) in [
        ("imageId", ID),
        ("reportId", REPORT),
        (
            "resourceTypeSet",
            "<item><resourceType>ec2:Instance</resourceType></item>\
             <item><resourceType>ec2:LaunchTemplate</resourceType><resourceTypeOptionSet><item>\
             <optionName>version-depth</optionName><optionValueSet><item>100</item>\
             </optionValueSet></item></resourceTypeOptionSet></item>",
        ),
        ("accountIdSet", "<item>444455556666</item>"),
        ("state", "available"),
        (
            "tagSet",
            "<item><key>why</key><value>end of life</value></item>",
        ),
    ] {
        assert_eq!(described.text(element), Some(text), "{}", described.body);
    }
    let times = ["creationTime", "expirationTime"].map(|name| {
        let text = described.text(name).expect("a time");
        text.parse::<chrono::DateTime<Utc>>().expect("a time")
    });
    assert_eq!(times[1] - times[0], Duration::days(30));
    let expected = [
        entry(FRIEND, "ec2:Instance", "15"),
        entry(FRIEND, "ec2:LaunchTemplate", "4"),
    ];
    assert_eq!(entries(&client, &[("ReportId.1", REPORT)]), expected);
    assert_eq!(emulator.writes().len(), 1);
}

#[test]
fn a_report_covers_all_accounts_unless_it_names_some() {
    let (_emulator, client) = used();
    create(&client, &[INSTANCES]).assert_ok();
    state(&client, REPORT);
    let all = [
        entry(FRIEND, "ec2:Instance", "15"),
        entry(OTHER, "ec2:Instance", "1"),
    ];
    assert_eq!(entries(&client, &[("ImageId.1", ID)]), all);
    let filter = [("Filter.1.Name", "account-id"), ("Filter.1.Value.1", OTHER)];
    assert_eq!(entries(&client, &filter), all[1..]);
    let filter = [
        ("Filter.1.Name", "resource-type"),
        ("Filter.1.Value.1", "imagebuilder:*"),
    ];
    assert!(entries(&client, &filter).is_empty());
    let first = client.ec2("DescribeImageUsageReportEntries", &[("MaxResults", "1")]);
    let token = first.text("nextToken").expect("more to come").to_owned();
    let next = [("MaxResults", "1"), ("NextToken", &*token)];
    assert_eq!(entries(&client, &next), all[1..]);
}

#[test]
fn one_report_of_an_image_may_be_pending() {
    let (emulator, client) = used();
    create(&client, &[INSTANCES]).assert_ok();
    create(&client, &[INSTANCES]).assert_refused(400, "ResourceLimitExceeded");
    let other = [("ImageId", OTHER_ID), INSTANCES];
    client.ec2("CreateImageUsageReport", &other).assert_ok();
    state(&client, REPORT);
    create(&client, &[INSTANCES]).assert_ok();
    emulator.edit(|state| {
        for n in 0..2000_u32 {
            let id = format!("amiur-{:017x}", 0xfff_0000 + n);
            state.add_usage_report(UsageReport::new(&id, OTHER_ID, []));
        }
    });
    state(&client, "amiur-00000000000000003");
    create(&client, &[INSTANCES]).assert_refused(400, "ResourceLimitExceeded");
}

#[test]
fn a_client_token_makes_one_report() {
    let (_emulator, client) = used();
    let token = ("ClientToken", "one");
    let first = create(&client, &[INSTANCES, token]);
    let again = create(&client, &[INSTANCES, token]);
    again.assert_ok();
    assert_eq!(first.text("reportId"), again.text("reportId"));
    let other = create(&client, &[INSTANCES, token, ("AccountId.1", FRIEND)]);
    other.assert_refused(400, "IdempotentParameterMismatch");
    let long = "x".repeat(129);
    create(&client, &[INSTANCES, ("ClientToken", &long)])
        .assert_refused(400, "InvalidParameterValue");
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let (_emulator, client) = used();
    let refused = |parameters: &[(&str, &str)], code| {
        create(&client, parameters).assert_refused(400, code);
    };
    refused(&[], "MissingParameter");
    refused(
        &[("ResourceType.1.ResourceType", "ec2:Volume")],
        "InvalidParameterValue",
    );
    refused(&[("ResourceType.1", "ec2:Instance")], "MissingParameter");
    let option = |name, value| {
        [
            ("ResourceType.1.ResourceType", "ec2:LaunchTemplate"),
            ("ResourceType.1.ResourceTypeOption.1.OptionName", name),
            ("ResourceType.1.ResourceTypeOption.1.OptionValue.1", value),
        ]
    };
    refused(&option("version-depth", "0"), "InvalidParameterValue");
    refused(&option("version-depth", "10001"), "InvalidParameterValue");
    refused(&option("depth", "1"), "InvalidParameterValue");
    let [_, name, value] = option("version-depth", "1");
    refused(&[INSTANCES, name, value], "InvalidParameterCombination");
    refused(&[INSTANCES, ("AccountId.1", "1")], "InvalidParameterValue");
    let tags = [INSTANCES, ("TagSpecification.1.ResourceType", "image")];
    refused(&tags, "InvalidParameterValue");
    refused(&[INSTANCES, ("Accounts", FRIEND)], "UnknownParameter");
    create(&client, &[INSTANCES, ("DryRun", "true")]).assert_refused(412, "DryRunOperation");
    let accounts: Vec<_> = (1..=201)
        .map(|n| (format!("AccountId.{n}"), format!("{n:012}")))
        .collect();
    let mut many = vec![INSTANCES];
    many.extend(accounts.iter().map(|(name, value)| (&**name, &**value)));
    refused(&many, "InvalidParameterValue");
    let (_emulator, client) = with([Image::new(ID).owned_by(FRIEND).granted("all")]);
    create(&client, &[INSTANCES]).assert_refused(400, "AuthFailure");

    for action in [
        "DescribeImageUsageReports",
        "DescribeImageUsageReportEntries",
    ] {
        let refused = |parameters: &[(&str, &str)], code| {
            client.ec2(action, parameters).assert_refused(400, code);
        };
        refused(
            &[("ReportId.1", "amiur-none")],
            "InvalidImageUsageReportId.NotFound",
        );
        refused(&[("ImageId.1", "ami-x")], "InvalidAMIID.Malformed");
        refused(&[("MaxResults", "0")], "InvalidParameterValue");
        refused(
            &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")],
            "InvalidParameterValue",
        );
    }
}

#[test]
fn reports_take_as_long_as_the_test_says() {
    let pace = ReportPace {
        describes: 3,
        ms: 0,
    };
    let config = Config {
        seed: Seed {
            report_pace: Some(pace),
            ..Seed::default()
        },
        ..Config::default()
    };
    let (emulator, client) = with_config(config, [Image::new(ID)]);
    create(&client, &[INSTANCES]).assert_ok();
    let states: Vec<_> = (0..4).filter_map(|_| state(&client, REPORT)).collect();
    assert_eq!(states, ["pending", "pending", "pending", "available"]);
    emulator.edit(|state| {
        state.report_pace = ReportPace {
            describes: 0,
            ms: 100,
        }
    });
    // Until the first one is over by this pace too.
    std::thread::sleep(std::time::Duration::from_millis(120));
    create(&client, &[INSTANCES]).assert_ok();
    let second = "amiur-00000000000000002";
    assert_eq!(state(&client, second).as_deref(), Some("pending"));
    std::thread::sleep(std::time::Duration::from_millis(120));
    assert_eq!(state(&client, second).as_deref(), Some("available"));
}

#[test]
fn reports_are_seeded_fail_and_expire() {
    let (emulator, client) = with([Image::new(ID)]);
    let entry =
        json!({ "ImageId": ID, "AccountId": FRIEND, "ResourceType": "ec2:Instance", "Count": 3 });
    let seed = json!({ "Usage": [entry], "ReportPace": { "Describes": 0 }, "UsageReports": [{
        "ReportId": REPORT, "ImageId": ID, "State": "available", "Entries": [entry],
        "ResourceTypes": [{ "ResourceType": "ec2:Instance" }],
    }] });
    client
        .control("POST", "seed", &seed.to_string())
        .assert_ok();
    assert_eq!(entries(&client, &[("ReportId.1", REPORT)])[0].2, "3");
    let end = json!({ "ReportId": REPORT, "State": "error", "StateReason": "busy" });
    let act = json!({ "SetUsageReport": end });
    client.control("POST", "acts", &act.to_string()).assert_ok();
    let answer = client.ec2("DescribeImageUsageReports", &[]);
    assert_eq!(
        (answer.text("state"), answer.text("stateReason")),
        (Some("error"), Some("busy"))
    );
    let filter = [
        ("Filter.1.Name", "state"),
        ("Filter.1.Value.1", "available"),
    ];
    assert!(
        client
            .ec2("DescribeImageUsageReports", &filter)
            .texts("reportId")
            .is_empty()
    );

    let old = UsageReport::new(REPORT, ID, []).created(Utc::now() - Duration::days(31));
    emulator.edit(|state| state.add_usage_report(old.state(ReportState::Pending)));
    assert!(
        client
            .ec2("DescribeImageUsageReports", &[])
            .texts("reportId")
            .is_empty()
    );
    let created = create(&client, &[INSTANCES]);
    assert_eq!(created.text("reportId"), Some("amiur-00000000000000002"));
    assert_eq!(entries(&client, &[]).len(), 1);
}
