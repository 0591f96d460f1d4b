//! The page of `--html`, made from an EC2 with images of every kind. `make browser` opens what
//! these tests write.

use std::{fs, path::PathBuf, process::Command};

use ec2_emulator::{Config, Emulator, Image, ImageState, Key, ParameterType};
use serde_json::Value;

const LAUNCH_TAG: &str = "ami-warden:launch-permission";
const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";
const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/00000000-1111-2222-3333-444444444444";

/// What a vandal would write into a name.
const VANDAL: &str =
    "</script><script>window.vandal = true</script><img src=x onerror='window.vandal = true'>";

fn emulator() -> Emulator {
    let emulator = Emulator::spawn(Config::default()).unwrap();
    emulator.put_parameter(
        "/ami-warden/groups/data-teams",
        "444455556666, 555566667777",
        ParameterType::StringList,
    );
    let rules = r#"[{ "Name": "golden images to the organization", "Match": { "Name": "golden-*" }, "LaunchPermission": "o-exampleorgid" }]"#;
    emulator.put_parameter("/ami-warden/rules", rules, ParameterType::String);
    emulator
}

fn id(number: usize) -> String {
    format!("ami-{number:017x}")
}

/// Runs the tool against the emulator, and gives the page that it wrote.
fn page(emulator: &Emulator, name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    let output = Command::new(env!("CARGO_BIN_EXE_ami-warden-plan"))
        .args([
            "--html",
            path.to_str().unwrap(),
            "--text",
            "--policy-path=/ami-warden",
            "--key-check=warn",
        ])
        .args(["--allow-public", "--allowed-grantees=*,-999988887777"])
        .args([format!("--organization-arn={ORGANIZATION}")])
        .env_clear()
        .envs([
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "opens-nothing"),
        ])
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ENDPOINT_URL", emulator.url())
        .output()
        .unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{}", path.display());
    fs::read_to_string(path).unwrap()
}

/// The data of a page, as a browser reads it.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn image<'a>(data: &'a Value, id: &str) -> &'a Value {
    data["images"]
        .as_array()
        .unwrap()
        .iter()
        .find(|image| image["id"] == id)
        .unwrap()
}

fn seed(emulator: &Emulator) {
    let policy = r#"{ "Statement": [{ "Effect": "Allow", "Action": "kms:*", "Resource": "*",
        "Principal": { "AWS": ["arn:aws:iam::111122223333:root", "arn:aws:iam::444455556666:root"] } }] }"#;
    emulator.add_key(Key::new(KEY).policy(policy));
    let mut many = Image::new(id(9)).name("base-amazon-linux-2023-arm64");
    for account in 1..=40 {
        many = many.granted(&format!("{:012}", 300_000_000_000_u64 + account));
    }
    emulator.add_all([
        Image::new(id(1))
            .name("old-demo-2019")
            .granted("all")
            .granted("444455556666"),
        Image::new(id(2))
            .name("golden-ubuntu-24.04")
            .granted(ORGANIZATION)
            .granted("222233334444")
            .tag("ami-warden:description", "{Name}")
            .tag("ami-warden:imds-support", "v2.0"),
        Image::new(id(3))
            .name("data-platform-7")
            .granted("444455556666")
            .granted("777788889999")
            .tag(LAUNCH_TAG, "= @data-teams"),
        Image::new(id(4))
            .name("edge-proxy-3.1")
            .tag(LAUNCH_TAG, "all"),
        Image::new(id(5))
            .name("payments-2026-11")
            .encrypted_with(KEY)
            .granted("444455556666")
            .granted("555566667777")
            .tag(LAUNCH_TAG, "444455556666 555566667777"),
        Image::new(id(6))
            .name("appliance")
            .encrypted()
            .granted("222233334444")
            .tag(LAUNCH_TAG, "all -222233334444"),
        Image::new(id(7))
            .name("experiment")
            .granted("444455556666")
            .tag(LAUNCH_TAG, "444455556666")
            .tag("ami-warden:hold", "until Friday"),
        Image::new(id(8))
            .name("build-1812")
            .tag("ami-warden:launch-permissions", "444455556666"),
        many,
        Image::new(id(10))
            .name("golden-debian-12")
            .granted(ORGANIZATION),
        Image::new(id(11)).name("scratch"),
        Image::new(id(12)).name("golden-fedora-43").pending(),
        Image::new(id(13))
            .name("retired-2021")
            .state(ImageState::Disabled),
        Image::new(id(14))
            .name(VANDAL)
            .granted("444455556666")
            .tag(LAUNCH_TAG, "999988887777")
            .tag("ami-warden:<b>", "x"),
        Image::new(id(15))
            .name("research-gpu")
            .granted(UNIT)
            .tag(LAUNCH_TAG, "ou-ab12-cdef3456"),
    ]);
}

#[test]
fn the_page_holds_every_image_with_everybody_who_may_launch_it_and_why() {
    let emulator = emulator();
    seed(&emulator);
    let page = page(&emulator, "page.html");
    let data = data(&page);
    assert_eq!(
        (&data["account"], &data["region"]),
        (&"111122223333".into(), &"eu-central-1".into())
    );
    assert_eq!(data["images"].as_array().unwrap().len(), 15);
    let access = |number: usize| -> Vec<String> {
        let access = image(&data, &id(number))["access"].as_array().unwrap();
        let text = |one: &Value| {
            let reasons: Vec<&str> = one["reasons"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one.as_str().unwrap())
                .collect();
            format!(
                "{} {}: {}",
                one["standing"].as_str().unwrap(),
                one["grantee"].as_str().unwrap(),
                reasons.join("; ")
            )
        };
        access.iter().map(text).collect()
    };
    assert_eq!(access(1), ["keeps all: ", "keeps 444455556666: "]);
    assert_eq!(
        access(2),
        [
            "keeps 222233334444: ".to_owned(),
            format!("keeps {ORGANIZATION}: rule \"golden images to the organization\"")
        ]
    );
    assert_eq!(
        access(3),
        [
            "keeps 444455556666: tag ami-warden:launch-permission, group data-teams",
            "added 555566667777: tag ami-warden:launch-permission, group data-teams",
            "removed 777788889999: tag ami-warden:launch-permission",
        ]
    );
    assert_eq!(access(4), ["added all: tag ami-warden:launch-permission"]);
    assert_eq!(
        access(7),
        ["keeps 444455556666: tag ami-warden:launch-permission"],
        "also on hold"
    );
    assert_eq!(access(9).len(), 40);
    let encrypted = image(&data, &id(5));
    assert_eq!(
        (&encrypted["keys"][0], &encrypted["locked"][0]),
        (&KEY.into(), &"555566667777".into())
    );
    assert_eq!(
        data["keys"][KEY],
        "its policies and grants name 111122223333, 444455556666"
    );
    assert_eq!(
        image(&data, &id(6))["refusals"][0]["code"],
        "encrypted-snapshot"
    );
    assert_eq!(image(&data, &id(14))["name"], VANDAL);
    assert_eq!(page.matches("<script").count(), 2);
}
