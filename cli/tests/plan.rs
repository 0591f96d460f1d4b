//! The built tool, run as people and pipelines run it, against the EC2 emulator over HTTP.

#[path = "../../tests/schema/mod.rs"]
mod schema;

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command, sync::LazyLock};

use ami_warden::settings::ALL;
use ec2_emulator::{
    Config, Emulator, Fault, Image, Key, ParameterType, ReportPace, Snapshot, Usage,
};
use serde_json::{Value, json};

use schema::Schema;

const SHARED: &str = "ami-0aaaaaaaaaaaaaaaa";
const PUBLIC: &str = "ami-0bbbbbbbbbbbbbbbb";
const MISTYPED: &str = "ami-0cccccccccccccccc";
const SETTLED: &str = "ami-0dddddddddddddddd";
const HELD: &str = "ami-0eeeeeeeeeeeeeeee";
const LEAKED: &str = "ami-0ffffffffffffffff";
const PENDING: &str = "ami-00000000000000001";
const PLAIN: &str = "ami-00000000000000002";

/// All calls that the tool may make: those that its help names.
const CALLS: [&str; 14] = [
    "ec2:DescribeImages",
    "ec2:DescribeImageAttribute",
    "ec2:DescribeSnapshots",
    "ec2:DescribeSnapshotAttribute",
    "ec2:GetImageBlockPublicAccessState",
    "ec2:CreateImageUsageReport",
    "ec2:DescribeImageUsageReports",
    "ec2:DescribeImageUsageReportEntries",
    "ssm:GetParametersByPath",
    "ssm:GetParameter",
    "kms:DescribeKey",
    "kms:ListKeyPolicies",
    "kms:GetKeyPolicy",
    "kms:ListGrants",
];

/// The schema of the tool's JSON.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::of_file(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/plan.schema.json"
    ))
});

/// An EC2, and an environment that inherits nothing.
struct World {
    emulator: Emulator,
    vars: Vec<(&'static str, String)>,
}

/// What a run of the tool gave.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl World {
    fn new() -> Self {
        let emulator = Emulator::spawn(Config::default()).unwrap();
        let vars = vec![
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "opens-nothing".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_ENDPOINT_URL", emulator.url()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ];
        Self { emulator, vars }
    }

    /// One image of each kind.
    fn seeded() -> Self {
        let permissions = "ami-warden:launch-permission";
        Self::new()
            .image(
                Image::new(SHARED)
                    .name("golden-ubuntu-24.04")
                    .description("build 1812")
                    .granted("all")
                    .granted("222233334444")
                    .tag(permissions, "= 444455556666 o-exampleorgid 222233334444")
                    .tag("ami-warden:description", "{Name}, {tag:version}")
                    .tag("ami-warden:imds-support", "v2.0")
                    .tag("version", "24.04.3"),
            )
            .image(
                Image::new(PUBLIC)
                    .name("appliance")
                    .encrypted()
                    .granted("222233334444")
                    .tag(permissions, "all -222233334444"),
            )
            .image(
                Image::new(MISTYPED)
                    .name("build-7")
                    .tag("ami-warden:launch-permissions", "444455556666"),
            )
            .image(
                Image::new(SETTLED)
                    .name("golden-debian-12")
                    .granted("444455556666")
                    .tag(permissions, "444455556666"),
            )
            .image(
                Image::new(HELD)
                    .name("experiment")
                    .tag(permissions, "all")
                    .tag("ami-warden:hold", "until Friday"),
            )
            .image(Image::new(LEAKED).name("old-demo").granted("all"))
            .image(
                Image::new(PENDING)
                    .name("golden-fedora-43")
                    .pending()
                    .tag(permissions, "444455556666"),
            )
            .image(Image::new(PLAIN).name("scratch"))
            .var("ALLOW_PUBLIC", "true")
            .var("ALLOWED_GRANTEES", "444455556666, o-exampleorgid")
            .var(
                "ORGANIZATION_ARN",
                "arn:aws:organizations::111122223333:organization/o-exampleorgid",
            )
    }

    fn image(self, image: Image) -> Self {
        self.emulator.add(image);
        self
    }

    fn var(mut self, name: &'static str, value: &str) -> Self {
        self.vars.retain(|(known, _)| *known != name);
        self.vars.push((name, value.to_owned()));
        self
    }

    /// Runs the tool, in a pipe as every test does. Whatever it is asked, it only reads, and its
    /// JSON is as the schema says.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Run {
        let before = self.emulator.calls().len();
        let output = Command::new(env!("CARGO_BIN_EXE_ami-warden-plan"))
            .args(args)
            .env_clear()
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let asks_for_reports = args.contains(&"--usage");
        for call in self.emulator.calls().into_iter().skip(before) {
            let named = |known: &&str| known.split(':').nth(1) == Some(&call.action);
            // Everybody may ask STS who they are.
            let is_known = call.action == "GetCallerIdentity" || CALLS.iter().any(named);
            assert!(is_known, "{} is no call of a plan", call.action);
            assert!(
                asks_for_reports || !call.action.starts_with("Create"),
                "{}",
                call.action
            );
        }
        let run = Run {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        if run.out.starts_with('{') {
            SCHEMA.assert_takes(&run.json());
        }
        run
    }

    #[track_caller]
    fn text(&self, args: &[&str]) -> Run {
        self.run(&[&["--text"], args].concat())
    }
}

impl Run {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A file of this test run.
fn file(name: &str, content: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_text_says_what_would_be_added_removed_changed_and_refused_and_why() {
    let run = World::seeded().text(&[]);
    assert_eq!(run.out, include_str!("plan.txt"));
    assert_eq!((run.code, run.err.as_str()), (Some(3), ""));
}

#[test]
fn what_the_settings_cover_follows_the_options_and_then_the_environment() {
    let world = World::new().image(Image::new(PLAIN).tag("team/launch-permission", "444455556666"));
    assert_eq!(world.text(&["--tag-prefix", "team/"]).code, Some(3));
    let run = world.text(&["--tag-prefix=team/", "--allowed-grantees", "*"]);
    assert!(
        run.out
            .contains("+ launchPermission  444455556666  (tag team/launch-permission)"),
        "{run:?}"
    );

    let world = world
        .var("TAG_PREFIX", "team/")
        .var("ALLOWED_GRANTEES_PARAMETER", "/security/amis");
    world
        .emulator
        .put_parameter("/security/amis", "444455556666", ParameterType::StringList);
    assert_eq!(world.text(&[]).code, Some(2));
    let run = world.text(&["--allowed-grantees", "222233334444"]);
    let refused = "! grantee-not-allowed  launchPermission\n";
    assert!(
        run.out.contains(refused),
        "an option replaces the variable: {run:?}"
    );
    assert!(
        run.out
            .contains("ami-00000000000000002  image-00000000000000002  444455556666\n"),
        "{run:?}"
    );
    assert_eq!(world.text(&["--tag-prefix", "other:"]).code, Some(0));
}

#[test]
fn every_option_for_a_setting_counts() {
    let shared = Image::new(PLAIN)
        .granted("222233334444")
        .tag("ami-warden:launch-permission", "-222233334444");
    let world = World::new()
        .image(shared)
        .image(Image::new(PUBLIC).tag("ami-warden:launch-permission", "all @team"));
    world.emulator.put_parameter(
        "/policy/groups/team",
        "o-exampleorgid",
        ParameterType::StringList,
    );
    world
        .emulator
        .put_parameter("/allowed", "o-exampleorgid", ParameterType::StringList);
    let run = world.text(&[
        "--allow-public",
        "--policy-path=/policy",
        "--allowed-grantees-parameter=/allowed",
        "--organization-arn=arn:aws:organizations::111122223333:organization/o-exampleorgid",
        "--max-removals=0",
    ]);
    assert!(
        run.out
            .contains("+ launchPermission  PUBLIC: every AWS account"),
        "{run:?}"
    );
    assert!(
        run.out.contains(
            "+ launchPermission  arn:aws:organizations::111122223333:organization/o-exampleorgid"
        ),
        "{run:?}"
    );
    assert!(
        run.out.contains("! too-many-removals  launchPermission"),
        "{run:?}"
    );
}

#[test]
fn in_a_pipe_it_is_the_answer_of_a_dry_run() {
    let world = World::seeded();
    let run = world.run(&[]);
    let answer = run.json();
    assert_eq!(
        (&answer["Trigger"], &answer["DryRun"]),
        (&json!("request"), &json!(true))
    );
    assert_eq!(
        (&answer["Account"], &answer["Region"]),
        (&json!("111122223333"), &json!("us-east-1"))
    );
    assert_eq!(answer["PublicWithoutDirectives"], json!([LEAKED]));
    assert_eq!(
        answer["Summary"],
        json!({ "planned": 2, "refused": 1, "deferred": 1, "skipped": 2, "unchanged": 1 })
    );
    let listed: Vec<&Value> = answer["Images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["Outcome"])
        .collect();
    assert_eq!(
        listed,
        ["refused", "deferred", "planned", "planned"],
        "as in a sweep, neither skipped nor unchanged images"
    );
    let entry = answer["Images"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["ImageId"] == PUBLIC)
        .unwrap();
    assert_eq!(
        entry["Changes"],
        json!([{ "Attribute": "launchPermission", "Add": [], "Remove": ["222233334444"], "After": [] }])
    );
    assert_eq!(entry["Refusals"][0]["Code"], "encrypted-snapshot");
    assert_eq!(run.code, Some(3));
    assert_eq!(world.run(&["--json"]).json(), answer);
}

#[test]
fn only_the_images_that_are_named_are_looked_at_and_all_of_them_are_shown() {
    let world = World::seeded();
    let run = world.text(&[
        "--image-id",
        SETTLED,
        "--image-id",
        HELD,
        "--image-id",
        PLAIN,
        "--image-id",
        SETTLED,
    ]);
    assert_eq!(
        run.out,
        "Account 111122223333, Region us-east-1: looked at 3 images. Nothing was changed.\n\n\
         As wanted\n  ami-0dddddddddddddddd  golden-debian-12\n\n\
         Skipped: no tag and no rule says anything\n  ami-00000000000000002  scratch\n\n\
         Skipped: the tag hold says so\n  ami-0eeeeeeeeeeeeeeee  experiment\n\n\
         Plan: 0 images to change; 0 grantees to add, 0 to remove; 0 refusals; 1 unchanged, 2 skipped.\n"
    );
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    let actions: BTreeSet<String> = world
        .emulator
        .calls()
        .into_iter()
        .map(|call| call.action)
        .collect();
    assert_eq!(
        actions,
        ["DescribeImageAttribute", "DescribeImages"]
            .map(String::from)
            .into()
    );
}

#[test]
fn an_image_that_is_not_there_is_an_error_and_the_others_are_shown() {
    let world = World::seeded();
    let gone = "ami-09999999999999999";
    let run = world.text(&["--image-id", gone, "--image-id", SHARED]);
    assert_eq!(
        (run.code, run.err.as_str()),
        (
            Some(1),
            "error: ami-09999999999999999 is not an image of account 111122223333 in us-east-1. Check the id, \
             the profile and the Region\n"
        )
    );
    assert!(
        run.out.contains("+ launchPermission  444455556666"),
        "{run:?}"
    );
    let run = world.run(&["--image-id", gone]);
    assert_eq!(run.code, Some(1), "in a pipe too");
    assert_eq!(
        run.json()["Images"],
        json!([{ "ImageId": gone, "Outcome": "skipped", "Reason": "not-found", "Changes": [], "Refusals": [] }])
    );
    assert!(
        run.err.contains("account 111122223333"),
        "STS tells where no image does: {run:?}"
    );
}

#[test]
fn the_exit_code_says_what_a_pipeline_has_to_know() {
    let world = World::seeded();
    let code = |args: &[&str]| world.run(args).code;
    assert_eq!(code(&["--image-id", SETTLED]), Some(0));
    assert_eq!(code(&["--image-id", SHARED]), Some(2));
    assert_eq!(code(&["--image-id", MISTYPED]), Some(3));
    assert_eq!(
        code(&["--image-id", PUBLIC]),
        Some(3),
        "also when something else would change"
    );
    assert_eq!(code(&["--image-id", "golden"]), Some(1));
    assert_eq!(code(&["--no-such-option"]), Some(1));
    assert_eq!(code(&["--text", "--json"]), Some(1));
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
}

#[test]
fn help_tells_exit_codes_permissions_and_every_setting() {
    let help = World::new().run(&["--help"]).out;
    let options = ALL.map(|setting| setting.variable.to_lowercase().replace('_', "-"));
    let options = options.map(|option| format!("--{option}"));
    let more = [
        "Exit codes:",
        "--profile",
        "--region",
        "--inventory",
        "--usage",
        "--key-policy",
        "--html",
    ];
    for words in options.iter().map(String::as_str).chain(CALLS).chain(more) {
        assert!(help.contains(words), "{words}: {help}");
    }
}

#[test]
fn rules_from_a_file_take_the_place_of_those_that_are_stored() {
    let rules = file(
        "rules.json",
        r#"[{ "Name": "scratch to the team", "Match": { "Name": "scratch" }, "LaunchPermission": "@team" }]"#,
    );
    let world = World::new()
        .image(Image::new(PLAIN).name("scratch"))
        .var("ALLOWED_GRANTEES", "*");
    let run = world.text(&["--rules", &rules]);
    assert!(
        run.out
            .contains("names a group, and no policy is set up (POLICY_PATH)"),
        "{run:?}"
    );

    world.emulator.put_parameter(
        "/ami-warden/groups/team",
        "444455556666",
        ParameterType::StringList,
    );
    world
        .emulator
        .put_parameter("/ami-warden/rules", "broken", ParameterType::String);
    let world = world.var("POLICY_PATH", "/ami-warden");
    let run = world.text(&["--rules", &rules]);
    assert!(
        run.out
            .contains("+ launchPermission  444455556666  (rule \"scratch to the team\")"),
        "{run:?}"
    );
    assert_eq!(run.code, Some(2));

    let stored = world.text(&[]);
    assert_eq!((stored.code, stored.out.as_str()), (Some(1), ""));
    assert!(
        stored.err.starts_with("error: /ami-warden/rules: "),
        "{stored:?}"
    );
}

#[test]
fn rules_that_cannot_be_used_are_an_error_that_names_the_file_and_the_place() {
    let world = World::new();
    let broken = file(
        "broken.json",
        r#"[{ "Match": {}, "LaunchPermission": "bob" }]"#,
    );
    let run = world.run(&["--rules", &broken]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(
        run.err
            .starts_with(&format!("error: {broken}: [0].LaunchPermission: \"bob\"")),
        "{run:?}"
    );
    let run = world.run(&["--rules", "/no/such/file"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.err.starts_with("error: /no/such/file cannot be read: "),
        "{run:?}"
    );
}

#[test]
fn a_bad_setting_is_an_error_that_says_what_is_allowed_and_nothing_is_called() {
    let world = World::new();
    for (option, words) in [
        (
            "--allow-public=yes",
            "--allow-public=\"yes\" is not allowed: expected true or false",
        ),
        (
            "--max-removals=many",
            "--max-removals=\"many\" is not allowed: expected a whole number",
        ),
        (
            "--allowed-grantees=bob",
            "--allowed-grantees=\"bob\" is not allowed",
        ),
        ("--image-id=golden", "\"golden\" is not an image id"),
    ] {
        let run = world.run(&[option]);
        assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
        assert!(
            run.err.starts_with("error: ") && run.err.contains(words),
            "{run:?}"
        );
    }
    assert_eq!(world.emulator.calls(), []);
}

#[test]
fn a_call_that_is_denied_is_told_by_operation_and_code() {
    let world = World::seeded();
    world.emulator.fault(Fault::error(
        "DescribeImageAttribute",
        "UnauthorizedOperation",
    ));
    let run = world.text(&["--image-id", SHARED, "--image-id", MISTYPED]);
    assert_eq!(run.code, Some(1), "although something is refused as well");
    assert!(
        run.out
            .contains("  x DescribeImageAttribute  UnauthorizedOperation\n"),
        "{run:?}"
    );
    assert!(run.out.contains("--help lists the"), "{run:?}");
    assert!(
        run.out
            .contains("! invalid-directive  ami-warden:launch-permissions"),
        "the other image is shown: {run:?}"
    );
    assert!(run.out.ends_with("0 skipped, 1 failed.\n"), "{run:?}");

    world
        .emulator
        .fault(Fault::error("DescribeImages", "UnauthorizedOperation"));
    let run = world.run(&[]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(
        run.err
            .starts_with("error: DescribeImages failed with UnauthorizedOperation: "),
        "{run:?}"
    );
}

#[test]
fn without_a_region_it_says_how_to_set_one() {
    let mut world = World::new();
    world.vars.retain(|(name, _)| *name != "AWS_REGION");
    let run = world.run(&[]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("AWS_REGION"), "{run:?}");
}

#[test]
fn the_region_of_a_profile_counts_and_decides_the_partition() {
    let mut world = World::new().image(Image::new(PLAIN).tag(
        "ami-warden:launch-permission",
        "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid",
    ));
    world.vars.retain(|(name, _)| *name != "AWS_REGION");
    let config = file("profile", "[profile china]\nregion = cn-north-1\n");
    let world = world
        .var("AWS_CONFIG_FILE", &config)
        .var("AWS_PROFILE", "china")
        .var("ALLOWED_GRANTEES", "*");
    let run = world.text(&[]);
    assert!(
        run.out
            .starts_with("Account 111122223333, Region cn-north-1: looked at 1 image."),
        "{run:?}"
    );
    assert_eq!(run.code, Some(2), "{run:?}");
}

#[test]
fn colours_are_for_terminals_or_on_request() {
    let world = World::seeded();
    assert!(!world.text(&[]).out.contains('\u{1b}'));
    assert!(!world.text(&["--color", "never"]).out.contains('\u{1b}'));
    let colored = world.text(&["--color", "always"]).out;
    for line in [
        "\u{1b}[32m+ launchPermission  444455556666\u{1b}[0m",
        "\u{1b}[33m- launchPermission  PUBLIC: every AWS account\u{1b}[0m",
    ] {
        assert!(colored.contains(line), "{colored}");
    }
    assert!(
        !world
            .run(&["--json", "--color", "always"])
            .out
            .contains('\u{1b}')
    );
}

#[test]
fn what_stands_in_tags_does_not_drive_the_terminal() {
    let world = World::new().image(Image::new(PLAIN).tag("ami-warden:\u{202e}", "x"));
    let run = world.text(&[]);
    assert!(
        run.out.contains("ami-warden:\\u{202e}") && !run.out.contains('\u{202e}'),
        "{run:?}"
    );
}

#[test]
fn a_parameter_that_counts_for_nothing_is_told() {
    let world = World::new().var("POLICY_PATH", "/ami-warden");
    world.emulator.put_parameter(
        "/ami-warden/group/team",
        "444455556666",
        ParameterType::StringList,
    );
    let run = world.run(&[]);
    assert!(
        run.err.contains("/ami-warden/group/team") && run.err.contains("not used"),
        "{run:?}"
    );
    assert_eq!(run.code, Some(0));
}

#[test]
fn more_images_than_one_call_describes() {
    let world = World::new().var("ALLOWED_GRANTEES", "*");
    for number in 0..450 {
        let image = Image::new(format!("ami-{number:017x}")).name(&format!("image-{number}"));
        let snapshot = Snapshot::new(&format!("snap-{number:017x}"));
        world.emulator.add(
            image
                .snapshots([snapshot])
                .tag("ami-warden:launch-permission", "444455556666"),
        );
    }
    let run = world.run(&[]);
    assert_eq!(run.json()["Summary"], json!({ "planned": 450 }));
    let ids: Vec<String> = run.json()["Images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["ImageId"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.is_sorted());
}

const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/00000000-1111-2222-3333-444444444444";

#[test]
fn making_an_image_public_is_red_in_words_first_and_counted_on_its_own() {
    let world = World::new()
        .image(Image::new(PLAIN).tag("ami-warden:launch-permission", "444455556666"))
        .image(Image::new(PUBLIC).tag("ami-warden:launch-permission", "all"))
        .var("ALLOW_PUBLIC", "true")
        .var("ALLOWED_GRANTEES", "*");
    let out = world.text(&["--color", "always"]).out;
    let red = "\u{1b}[1m\u{1b}[31m";
    assert!(
        out.contains(&format!(
            "  {red}+ launchPermission  PUBLIC: every AWS account\u{1b}[0m"
        )),
        "{out}"
    );
    assert!(out.find(PUBLIC) < out.find(PLAIN), "{out}");
    let ends = format!(
        "2 images to change; {red}1 to make PUBLIC\u{1b}[0m, 1 grantee to add, 0 to remove; 0 refusals; 0 unchanged, 0 skipped.\n"
    );
    assert!(out.ends_with(&ends), "{out}");
}

#[test]
fn a_thousand_equal_refusals_are_one_message_and_a_number() {
    let world = World::new();
    for number in 0..300 {
        let image = Image::new(format!("ami-{number:017x}"));
        world
            .emulator
            .add(image.tag("ami-warden:launch-permission", &format!("{number:012}")));
    }
    let run = world.text(&[]);
    assert!(
        run.out
            .contains("  ! grantee-not-allowed  launchPermission  (300 times)\n"),
        "{run:?}"
    );
    assert_eq!(
        run.out.matches("ALLOWED_GRANTEES does not cover").count(),
        1,
        "{run:?}"
    );
    assert!(
        run.out.contains("… and 280 more; --json lists them all"),
        "{run:?}"
    );
    assert!(run.out.lines().count() < 40, "{}", run.out);
    assert!(run.out.lines().all(|line| line.len() <= 100), "{}", run.out);
    assert_eq!(
        world.run(&["--json"]).json()["Images"]
            .as_array()
            .unwrap()
            .len(),
        300
    );
}

#[test]
fn the_inventory_says_who_may_launch_what_and_why() {
    let policy = "ami-warden:launch-permission";
    let world = World::new()
        .image(
            Image::new(SHARED)
                .name("golden")
                .granted("444455556666")
                .granted("222233334444")
                .granted("888899990000")
                .tag(policy, "@team -888899990000"),
        )
        .image(
            Image::new(LEAKED)
                .name("old-demo")
                .granted("all")
                .granted("444455556666"),
        )
        .image(Image::new(PLAIN).name("scratch"))
        .var("POLICY_PATH", "/ami-warden")
        .var("ALLOWED_GRANTEES", "*");
    world.emulator.put_parameter(
        "/ami-warden/groups/team",
        "444455556666",
        ParameterType::StringList,
    );
    let run = world.text(&["--inventory"]);
    let inventory = "\
Who may launch what, now: 2 of 3 images shared
  PUBLIC: every AWS account  1 image
      ami-0ffffffffffffffff  old-demo  (nobody says why)
  222233334444  1 image
      ami-0aaaaaaaaaaaaaaaa  golden  (nobody says why)
  444455556666  2 images
      ami-0aaaaaaaaaaaaaaaa  golden  (tag ami-warden:launch-permission, group team)
      ami-0ffffffffffffffff  old-demo  (nobody says why)
  888899990000  1 image
      ami-0aaaaaaaaaaaaaaaa  golden  (would lose access: tag ami-warden:launch-permission)
";
    assert!(run.out.contains(inventory), "{}", run.out);
    let answer = world.run(&["--inventory"]).json();
    let of = |id: &str| {
        let entries = answer["Images"].as_array().unwrap();
        entries.iter().find(|entry| entry["ImageId"] == id).unwrap()["LaunchPermissions"].clone()
    };
    assert_eq!(of(LEAKED), json!(["444455556666", "all"]));
    assert_eq!(of(PLAIN), json!([]));
}

#[test]
fn the_key_policy_is_printed_for_those_who_have_access_and_those_who_are_let_in() {
    let policy = r#"{ "Statement": [{ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::444455556666:root" }, "Action": "kms:*", "Resource": "*" }] }"#;
    let image = Image::new(SHARED)
        .name("golden")
        .encrypted_with(KEY)
        .granted("444455556666");
    let world = World::new()
        .image(image.tag("ami-warden:launch-permission", "555566667777"))
        .var("ALLOWED_GRANTEES", "*");
    world.emulator.add_key(Key::new(KEY).policy(policy));
    let answer = world.run(&["--key-policy"]).json();
    let key = &answer["KeyPolicies"][0];
    assert_eq!(key["KeyId"], KEY);
    assert_eq!(
        (&key["Images"], &key["WithoutKey"]),
        (&json!([SHARED]), &json!(["555566667777"]))
    );
    let roots =
        ["444455556666", "555566667777"].map(|account| format!("arn:aws:iam::{account}:root"));
    assert_eq!(key["Statement"][0]["Principal"], json!({ "AWS": roots }));
    let run = world.text(&["--key-policy"]);
    assert!(
        run.out
            .contains("  certainly cannot use it now: 555566667777\n"),
        "{run:?}"
    );
    let (_, json) = run.out.split_once("\n[\n").unwrap();
    let (json, _) = json.split_once("\n]\n").unwrap();
    let pasted: Value = serde_json::from_str(&format!("[{json}]")).unwrap();
    assert_eq!(pasted, key["Statement"]);

    let plain = World::new().image(Image::new(PLAIN).granted("444455556666"));
    let run = plain.text(&["--key-policy", "--image-id", PLAIN]);
    assert!(
        run.out.contains("No image that was looked at needs a key."),
        "{run:?}"
    );
}

#[test]
fn usage_tells_who_would_be_hit_and_makes_no_report_where_one_is() {
    let image = Image::new(SHARED)
        .name("golden")
        .granted("444455556666")
        .granted("222233334444");
    let world = World::new()
        .image(image.tag("ami-warden:launch-permission", "-444455556666"))
        .image(Image::new(PLAIN).tag("ami-warden:launch-permission", "444455556666"))
        .var("ALLOWED_GRANTEES", "*");
    world.emulator.edit(|state| {
        state.report_pace = ReportPace {
            describes: 1,
            ms: 0,
        };
        state.usage = vec![
            Usage::new(SHARED, "444455556666", "ec2:Instance", 15),
            Usage::new(SHARED, "444455556666", "ec2:LaunchTemplate", 4),
            Usage::new(SHARED, "222233334444", "ec2:Instance", 7),
        ];
    });
    let run = world.text(&["--usage"]);
    assert!(
        run.out
            .contains("      444455556666: 15 instances, 4 launch templates\n"),
        "{run:?}"
    );
    assert!(
        !run.out.contains("7 instances"),
        "222233334444 keeps its access: {run:?}"
    );
    let created = |world: &World| {
        let calls = world.emulator.calls();
        let creating = calls
            .iter()
            .filter(|call| call.action == "CreateImageUsageReport");
        creating.count()
    };
    assert_eq!(
        created(&world),
        1,
        "for the image from which access is taken alone"
    );
    let answer = world.run(&["--usage"]).json();
    assert_eq!(created(&world), 1, "the report is used again");
    let usage = &answer["Usage"][0];
    assert_eq!(
        (&usage["ImageId"], &usage["State"]),
        (&json!(SHARED), &json!("available"))
    );
    assert_eq!(
        usage["Accounts"],
        json!([
            { "AccountId": "222233334444", "Resources": { "ec2:Instance": 7 }, "LosesAccess": false },
            {
                "AccountId": "444455556666",
                "Resources": { "ec2:Instance": 15, "ec2:LaunchTemplate": 4 },
                "LosesAccess": true
            },
        ])
    );
    assert_eq!(world.text(&[]).code, Some(2));
    assert!(
        !world.text(&[]).out.contains("In use by"),
        "not without being asked"
    );
}

#[test]
fn usage_that_ec2_does_not_tell_is_unknown_for_a_reason() {
    let image = Image::new(SHARED).granted("444455556666");
    let world = World::new().image(image.tag("ami-warden:launch-permission", "-444455556666"));
    let fault = Fault::error("CreateImageUsageReport", "UnauthorizedOperation");
    world.emulator.fault(fault);
    let answer = world.run(&["--usage"]).json();
    let usage = &answer["Usage"][0];
    assert_eq!(
        (&usage["ImageId"], &usage["State"]),
        (&json!(SHARED), &json!("unknown"))
    );
    let reason = usage["Reason"].as_str().unwrap();
    let begins = "CreateImageUsageReport failed with UnauthorizedOperation: ";
    assert!(reason.starts_with(begins), "{reason}");
}

/// An answer with everything that an answer can have.
fn whole_answer() -> Value {
    let owned = "arn:aws:kms:us-east-1:999900001111:key/00000000-1111-2222-3333-444444444444";
    let shared = "= 555566667777 o-exampleorgid";
    let world = World::seeded()
        .image(
            Image::new(PLAIN)
                .encrypted_with(owned)
                .granted("444455556666"),
        )
        .image(
            Image::new(SETTLED)
                .encrypted_with(KEY)
                .granted("444455556666")
                .tag("ami-warden:launch-permission", shared),
        )
        .var("ALLOWED_GRANTEES", "*");
    let policy = r#"{ "Statement": [{ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::444455556666:root" }, "Action": "kms:*", "Resource": "*" }] }"#;
    world.emulator.add_key(Key::new(KEY).policy(policy));
    world
        .emulator
        .edit(|state| state.usage = vec![Usage::new(SHARED, "222233334444", "ec2:Instance", 15)]);
    world
        .run(&["--usage", "--key-policy", "--inventory"])
        .json()
}

/// Every answer that differs from this one by one key: without it, or with another beside it.
fn edited(answer: &Value) -> Vec<(String, Value)> {
    fn walk(value: &Value, place: &str, found: &mut Vec<(String, Option<String>)>) {
        match value {
            Value::Object(object) => {
                found.push((place.to_owned(), None));
                for (key, value) in object {
                    found.push((place.to_owned(), Some(key.clone())));
                    walk(value, &format!("{place}/{key}"), found);
                }
            }
            Value::Array(list) => {
                for (number, value) in list.iter().enumerate() {
                    walk(value, &format!("{place}/{number}"), found);
                }
            }
            _ => {}
        }
    }
    let mut places = Vec::new();
    walk(answer, "", &mut places);
    let mut answers = Vec::new();
    for (place, key) in places {
        let mut other = answer.clone();
        let object = other.pointer_mut(&place).unwrap().as_object_mut().unwrap();
        let edit = match key {
            Some(key) => {
                object.remove(&key);
                format!("{place}/{key} absent")
            }
            None => {
                object.insert("Other".into(), json!("x"));
                format!("{place}/Other added")
            }
        };
        answers.push((edit, other));
    }
    answers
}

#[test]
fn the_schema_refuses_what_differs_from_a_plan_in_one_place() {
    let answer = whole_answer();
    // The function's own tests look at images, and IAM at principals and conditions.
    let is_of_others = |place: &str| {
        place.starts_with("/Images/")
            || place.contains("/Principal/")
            || place.contains("/Condition/")
    };
    let may_lack = |place: &str, key: &str| {
        place.starts_with("/Summary/")
            || place.contains("/Resources/")
            || [
                "PublicWithoutDirectives",
                "Usage",
                "KeyPolicies",
                "WithoutKey",
                "Notes",
                "Condition",
            ]
            .contains(&key)
    };
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (edit, other) in edited(&answer) {
        let (place, what) = edit.split_once(' ').unwrap();
        if is_of_others(place) {
            continue;
        }
        let key = place.rsplit('/').next().unwrap();
        let expected = what == "absent" && may_lack(place, key);
        if SCHEMA.check(&other).is_ok() != expected {
            wrong.push(edit.clone());
        }
        seen.insert(key.to_owned());
    }
    for (pointer, value) in [
        ("/Trigger", json!("schedule")),
        ("/DryRun", json!(false)),
        ("/Account", json!("me")),
        ("/Region", json!("")),
        ("/Images/0/Outcome", json!("done")),
        ("/Summary/planned", json!(0)),
        ("/PublicWithoutDirectives/0", json!("ami-1")),
        ("/PublicWithoutDirectives", json!([])),
        ("/Usage", json!([])),
        ("/Usage/0/ImageId", json!("ami-1")),
        ("/Usage/0/State", json!("pending")),
        ("/Usage/0/State", json!("unknown")),
        ("/Usage/0/ReportTime", json!("yesterday")),
        ("/Usage/0/Accounts/0/AccountId", json!("444")),
        ("/Usage/0/Accounts/0/LosesAccess", json!("yes")),
        ("/Usage/0/Accounts/0/Resources/ec2:Instance", json!(-1)),
        ("/KeyPolicies/0/KeyId", json!("alias/images")),
        ("/KeyPolicies/0/Images", json!([])),
        ("/KeyPolicies/0/Grantees/0", json!("bob")),
        ("/KeyPolicies/0/Grantees", json!([])),
        ("/KeyPolicies/0/WithoutKey", json!([])),
        ("/KeyPolicies/0/Statement/0/Sid", json!("Other")),
        ("/KeyPolicies/0/Statement/0/Effect", json!("Deny")),
        ("/KeyPolicies/0/Statement/0/Principal", json!("*")),
        ("/KeyPolicies/0/Statement/0/Action", json!(null)),
        ("/KeyPolicies/0/Statement/0/Resource", json!(KEY)),
        ("/KeyPolicies/0/Statement/1/Condition", json!({})),
    ] {
        let mut other = answer.clone();
        *other
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("no {pointer}: {answer:#}")) = value;
        if SCHEMA.check(&other).is_ok() {
            wrong.push(format!("{pointer} changed"));
        }
    }
    for (usage, is_taken) in [
        (json!({ "State": "pending" }), true),
        (json!({ "State": "pending", "Reason": "No." }), false),
        (json!({ "State": "pending", "Accounts": [] }), false),
        (json!({ "State": "unknown", "Reason": "No." }), true),
        (json!({ "State": "unknown" }), false),
    ] {
        let mut other = answer.clone();
        other["Usage"][0] = usage.clone();
        other["Usage"][0]["ImageId"] = json!(SHARED);
        if SCHEMA.check(&other).is_ok() != is_taken {
            wrong.push(usage.to_string());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?} {answer:#}");
    for key in ["Usage", "KeyPolicies", "WithoutKey", "Notes", "Condition"] {
        assert!(seen.contains(key), "{key}: {answer:#}");
    }
}

#[test]
fn without_credentials_it_names_profiles_and_the_sign_in() {
    let mut world = World::seeded();
    world
        .vars
        .retain(|(name, _)| !name.starts_with("AWS_ACCESS") && !name.starts_with("AWS_SECRET"));
    let run = world.run(&[]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    for words in ["AWS_PROFILE", "aws sso login", "no AWS credentials"] {
        assert!(run.err.contains(words), "{run:?}");
    }
    assert!(!run.err.contains("\\n"), "{run:?}");
    assert_eq!(run.err.lines().count(), 1, "{run:?}");
}

#[test]
fn a_mistake_in_the_rules_is_told_without_credentials_and_region() {
    let mut world = World::seeded();
    world.vars.retain(|(name, _)| !name.starts_with("AWS_"));
    let rules = file("broken.json", r#"[{"Launch": "all"}]"#);
    let run = world.run(&["--policy-path", "/ami-warden", "--rules", &rules]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(run.err.contains("[0]"), "{run:?}");
}

#[test]
fn a_profile_and_a_region_that_are_typed_count_before_the_environment() {
    let config = file(
        "profiles",
        "[profile other]\nregion = eu-west-3\naws_access_key_id = AKIDOTHER\naws_secret_access_key = x\n",
    );
    let mut world = World::seeded().var("AWS_CONFIG_FILE", &config);
    let run = world.text(&["--profile", "other", "--region", "eu-central-1"]);
    assert!(run.out.contains("Region eu-central-1:"), "{run:?}");
    let keys = |world: &World| world.emulator.calls().last().unwrap().access_key_id.clone();
    assert_eq!(keys(&world).as_deref(), Some("AKIDOTHER"));
    world.vars.retain(|(name, _)| *name != "AWS_REGION");
    let run = world.text(&["--profile", "other"]);
    assert!(run.out.contains("Region eu-west-3:"), "{run:?}");
}

#[test]
fn a_profile_that_does_not_exist_is_told_with_those_that_do() {
    let config = file(
        "known-profiles",
        "[profile team]\n[default]\n[profile other]\n",
    );
    let mut world = World::seeded().var("AWS_CONFIG_FILE", &config);
    let error = "error: the profile \"nope\" does not exist: name one of your AWS configuration \
        files with --profile or AWS_PROFILE: default, other, team\n";
    let outcome = |world: &World, args: &[&str]| {
        let run = world.run(args);
        assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
        run.err
    };
    assert_eq!(outcome(&world, &["--profile", "nope"]), error);
    world.vars.retain(|(name, _)| *name != "AWS_REGION");
    assert_eq!(outcome(&world, &["--profile", "nope"]), error);
    let world = world.var("AWS_PROFILE", "nope");
    assert_eq!(outcome(&world, &[]), error);
    let told = outcome(&world, &["--profile", "team"]);
    assert!(told.starts_with("error: no Region is set."), "{told}");
    let told = outcome(&world, &["--profile", "team", "--region", "eu-west-3"]);
    assert!(told.starts_with("error: no AWS credentials: "), "{told}");
    let world = world.var("AWS_CONFIG_FILE", &file("no-profiles", ""));
    let told = outcome(&world, &[]);
    assert!(
        told.contains("AWS_CONFIG_FILE") && told.contains("have none"),
        "{told}"
    );
}

#[test]
fn a_bad_setting_is_told_without_region_and_credentials() {
    let mut world = World::new();
    world.vars.retain(|(name, _)| !name.starts_with("AWS_"));
    let run = world.run(&["--max-removals=many"]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    let begins = "error: --max-removals=\"many\" is not allowed: ";
    assert!(run.err.starts_with(begins), "{run:?}");
}

#[test]
fn a_page_that_cannot_be_written_is_an_error_before_anything_is_read() {
    let world = World::seeded();
    let run = world.run(&["--html", "/no/such/folder/page.html"]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(
        run.err
            .starts_with("error: /no/such/folder/page.html cannot be written: "),
        "{run:?}"
    );
    assert_eq!(world.emulator.calls(), []);
}
