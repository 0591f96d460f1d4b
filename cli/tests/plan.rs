//! The built tool, run as people and pipelines run it, against the EC2 emulator over HTTP.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use ec2_emulator::{Config, Emulator, Fault, Image, ParameterType, Snapshot};
use serde_json::{Value, json};

const SHARED: &str = "ami-0aaaaaaaaaaaaaaaa";
const PUBLIC: &str = "ami-0bbbbbbbbbbbbbbbb";
const MISTYPED: &str = "ami-0cccccccccccccccc";
const SETTLED: &str = "ami-0dddddddddddddddd";
const HELD: &str = "ami-0eeeeeeeeeeeeeeee";
const LEAKED: &str = "ami-0ffffffffffffffff";
const PENDING: &str = "ami-00000000000000001";
const PLAIN: &str = "ami-00000000000000002";

/// All calls that the tool may make: those that its help names.
const READS: [&str; 6] = [
    "DescribeImages",
    "DescribeImageAttribute",
    "DescribeSnapshots",
    "GetImageBlockPublicAccessState",
    "GetParametersByPath",
    "GetParameter",
];

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
            .image(Image::new(PUBLIC).name("appliance").encrypted().granted("222233334444").tag(permissions, "all -222233334444"))
            .image(Image::new(MISTYPED).name("build-7").tag("ami-warden:launch-permissions", "444455556666"))
            .image(Image::new(SETTLED).name("golden-debian-12").granted("444455556666").tag(permissions, "444455556666"))
            .image(Image::new(HELD).name("experiment").tag(permissions, "all").tag("ami-warden:hold", "until Friday"))
            .image(Image::new(LEAKED).name("old-demo").granted("all"))
            .image(Image::new(PENDING).name("golden-fedora-43").pending().tag(permissions, "444455556666"))
            .image(Image::new(PLAIN).name("scratch"))
            .var("ALLOW_PUBLIC", "true")
            .var("ALLOWED_GRANTEES", "444455556666, o-exampleorgid")
            .var("ORGANIZATION_ARN", "arn:aws:organizations::111122223333:organization/o-exampleorgid")
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

    /// Runs the tool, in a pipe as every test does. Whatever it is asked, it only reads.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_ami-warden-plan"))
            .args(args)
            .env_clear()
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        for call in self.emulator.calls() {
            assert!(READS.contains(&call.action.as_str()), "{} is no call of a plan", call.action);
        }
        Run {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
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
    assert!(run.out.contains("+ launchPermission  444455556666  (tag team/launch-permission)"), "{run:?}");

    let world = world.var("TAG_PREFIX", "team/").var("ALLOWED_GRANTEES_PARAMETER", "/security/amis");
    world.emulator.put_parameter("/security/amis", "444455556666", ParameterType::StringList);
    assert_eq!(world.text(&[]).code, Some(2));
    let run = world.text(&["--allowed-grantees", "222233334444"]);
    assert!(run.out.contains("! launchPermission  grantee-not-allowed 444455556666"), "an option replaces the variable: {run:?}");
    assert_eq!(world.text(&["--tag-prefix", "other:"]).code, Some(0));
}

#[test]
fn every_option_for_a_setting_counts() {
    let shared = Image::new(PLAIN).granted("222233334444").tag("ami-warden:launch-permission", "-222233334444");
    let world = World::new().image(shared).image(Image::new(PUBLIC).tag("ami-warden:launch-permission", "all @team"));
    world.emulator.put_parameter("/policy/groups/team", "o-exampleorgid", ParameterType::StringList);
    world.emulator.put_parameter("/allowed", "o-exampleorgid", ParameterType::StringList);
    let run = world.text(&[
        "--allow-public",
        "--policy-path=/policy",
        "--allowed-grantees-parameter=/allowed",
        "--organization-arn=arn:aws:organizations::111122223333:organization/o-exampleorgid",
        "--max-removals=0",
    ]);
    assert!(run.out.contains("+ launchPermission  all"), "{run:?}");
    assert!(run.out.contains("+ launchPermission  arn:aws:organizations::111122223333:organization/o-exampleorgid"), "{run:?}");
    assert!(run.out.contains("! launchPermission  too-many-removals"), "{run:?}");
}

#[test]
fn in_a_pipe_it_is_the_answer_of_a_dry_run() {
    let world = World::seeded();
    let run = world.run(&[]);
    let answer = run.json();
    assert_eq!((&answer["Trigger"], &answer["DryRun"]), (&json!("request"), &json!(true)));
    assert_eq!(answer["Summary"], json!({ "planned": 2, "refused": 1, "deferred": 1, "skipped": 2, "unchanged": 1 }));
    let entry = answer["Images"].as_array().unwrap().iter().find(|entry| entry["ImageId"] == PUBLIC).unwrap();
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
    let gone = "ami-09999999999999999";
    let run = world.text(&["--image-id", SETTLED, "--image-id", HELD, "--image-id", gone, "--image-id", SETTLED]);
    assert_eq!(
        run.out,
        "Looked at 3 images in us-east-1. Nothing was changed.\n\n\
         ami-09999999999999999\n  skipped: not-found\n\n\
         ami-0dddddddddddddddd  golden-debian-12\n  as wanted\n\n\
         ami-0eeeeeeeeeeeeeeee  experiment\n  skipped: hold\n\n\
         Plan: 0 images to change, 0 grantees to add, 0 to remove, 0 refusals; 1 unchanged, 2 skipped.\n"
    );
    let actions: BTreeSet<String> = world.emulator.calls().into_iter().map(|call| call.action).collect();
    assert_eq!(actions, ["DescribeImageAttribute", "DescribeImages"].map(String::from).into());
}

#[test]
fn the_exit_code_says_what_a_pipeline_has_to_know() {
    let world = World::seeded();
    let code = |args: &[&str]| world.run(args).code;
    assert_eq!(code(&["--image-id", SETTLED]), Some(0));
    assert_eq!(code(&["--image-id", SHARED]), Some(2));
    assert_eq!(code(&["--image-id", MISTYPED]), Some(3));
    assert_eq!(code(&["--image-id", PUBLIC]), Some(3), "also when something else would change");
    assert_eq!(code(&["--image-id", "golden"]), Some(1));
    assert_eq!(code(&["--no-such-option"]), Some(1));
    assert_eq!(code(&["--text", "--json"]), Some(1));
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
}

#[test]
fn help_tells_exit_codes_permissions_and_every_setting() {
    let help = World::new().run(&["--help"]).out;
    let settings = [
        "allow-public",
        "allowed-grantees",
        "allowed-grantees-parameter",
        "max-removals",
        "organization-arn",
        "policy-path",
        "tag-prefix",
    ];
    let calls = READS.map(|action| if action.contains("Parameter") { format!("ssm:{action}") } else { format!("ec2:{action}") });
    for words in settings.map(|option| format!("--{option} ")).into_iter().chain(calls).chain(["Exit codes:".to_owned()]) {
        assert!(help.contains(&words), "{words}: {help}");
    }
}

#[test]
fn rules_from_a_file_take_the_place_of_those_that_are_stored() {
    let rules =
        file("rules.json", r#"[{ "Name": "scratch to the team", "Match": { "Name": "scratch" }, "LaunchPermission": "@team" }]"#);
    let world = World::new().image(Image::new(PLAIN).name("scratch")).var("ALLOWED_GRANTEES", "*");
    let run = world.text(&["--rules", &rules]);
    assert!(run.out.contains("names a group, and no policy is set up (POLICY_PATH)"), "{run:?}");

    world.emulator.put_parameter("/ami-warden/groups/team", "444455556666", ParameterType::StringList);
    world.emulator.put_parameter("/ami-warden/rules", "broken", ParameterType::String);
    let world = world.var("POLICY_PATH", "/ami-warden");
    let run = world.text(&["--rules", &rules]);
    assert!(run.out.contains("+ launchPermission  444455556666  (rule \"scratch to the team\")"), "{run:?}");
    assert_eq!(run.code, Some(2));

    let stored = world.text(&[]);
    assert_eq!((stored.code, stored.out.as_str()), (Some(1), ""));
    assert!(stored.err.starts_with("error: /ami-warden/rules: "), "{stored:?}");
}

#[test]
fn rules_that_cannot_be_used_are_an_error_that_names_the_file_and_the_place() {
    let world = World::new();
    let broken = file("broken.json", r#"[{ "Match": {}, "LaunchPermission": "bob" }]"#);
    let run = world.run(&["--rules", &broken]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(run.err.starts_with(&format!("error: {broken}: [0].LaunchPermission: \"bob\"")), "{run:?}");
    let run = world.run(&["--rules", "/no/such/file"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.starts_with("error: /no/such/file cannot be read: "), "{run:?}");
}

#[test]
fn a_bad_setting_is_an_error_that_says_what_is_allowed_and_nothing_is_called() {
    let world = World::new();
    for (option, words) in [
        ("--allow-public=yes", "ALLOW_PUBLIC=\"yes\" is not allowed: expected true or false"),
        ("--max-removals=many", "MAX_REMOVALS=\"many\" is not allowed: expected a whole number"),
        ("--allowed-grantees=bob", "ALLOWED_GRANTEES=\"bob\" is not allowed"),
        ("--image-id=golden", "\"golden\" is not an image id"),
    ] {
        let run = world.run(&[option]);
        assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
        assert!(run.err.starts_with("error: ") && run.err.contains(words), "{run:?}");
    }
    assert_eq!(world.emulator.calls(), []);
}

#[test]
fn a_call_that_is_denied_is_told_by_operation_and_code() {
    let world = World::seeded();
    world.emulator.fault(Fault::error("DescribeImageAttribute", "UnauthorizedOperation"));
    let run = world.text(&["--image-id", SHARED, "--image-id", MISTYPED]);
    assert_eq!(run.code, Some(1), "although something is refused as well");
    assert!(run.out.contains("  error: DescribeImageAttribute failed with UnauthorizedOperation: "), "{run:?}");
    assert!(run.out.contains("! ami-warden:launch-permissions  invalid-directive"), "the other image is shown: {run:?}");
    assert!(run.out.ends_with("0 skipped, 1 failed.\n"), "{run:?}");

    world.emulator.fault(Fault::error("DescribeImages", "UnauthorizedOperation"));
    let run = world.run(&[]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(run.err.starts_with("error: DescribeImages failed with UnauthorizedOperation: "), "{run:?}");
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
    let mut world = World::new().image(
        Image::new(PLAIN)
            .tag("ami-warden:launch-permission", "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid"),
    );
    world.vars.retain(|(name, _)| *name != "AWS_REGION");
    let config = file("profile", "[profile china]\nregion = cn-north-1\n");
    let world = world.var("AWS_CONFIG_FILE", &config).var("AWS_PROFILE", "china").var("ALLOWED_GRANTEES", "*");
    let run = world.text(&[]);
    assert!(run.out.starts_with("Looked at 1 image in cn-north-1."), "{run:?}");
    assert_eq!(run.code, Some(2), "{run:?}");
}

#[test]
fn colours_are_for_terminals_or_on_request() {
    let world = World::seeded();
    assert!(!world.text(&[]).out.contains('\u{1b}'));
    assert!(!world.text(&["--color", "never"]).out.contains('\u{1b}'));
    let colored = world.text(&["--color", "always"]).out;
    for line in ["\u{1b}[32m+ launchPermission  444455556666\u{1b}[0m", "\u{1b}[31m- launchPermission  all\u{1b}[0m"] {
        assert!(colored.contains(line), "{colored}");
    }
    assert!(!world.run(&["--json", "--color", "always"]).out.contains('\u{1b}'));
}

#[test]
fn what_stands_in_tags_does_not_drive_the_terminal() {
    let world = World::new().image(Image::new(PLAIN).tag("ami-warden:\u{202e}", "x"));
    let run = world.text(&[]);
    assert!(run.out.contains("ami-warden:\\u{202e}") && !run.out.contains('\u{202e}'), "{run:?}");
}

#[test]
fn a_parameter_that_counts_for_nothing_is_told() {
    let world = World::new().var("POLICY_PATH", "/ami-warden");
    world.emulator.put_parameter("/ami-warden/group/team", "444455556666", ParameterType::StringList);
    let run = world.run(&[]);
    assert!(run.err.contains("/ami-warden/group/team") && run.err.contains("not used"), "{run:?}");
    assert_eq!(run.code, Some(0));
}

#[test]
fn more_images_than_one_call_describes() {
    let world = World::new().var("ALLOWED_GRANTEES", "*");
    for number in 0..450 {
        let image = Image::new(format!("ami-{number:017x}")).name(&format!("image-{number}"));
        let snapshot = Snapshot::new(&format!("snap-{number:017x}"));
        world.emulator.add(image.snapshots([snapshot]).tag("ami-warden:launch-permission", "444455556666"));
    }
    let run = world.run(&[]);
    assert_eq!(run.json()["Summary"], json!({ "planned": 450 }));
    let ids: Vec<String> =
        run.json()["Images"].as_array().unwrap().iter().map(|entry| entry["ImageId"].as_str().unwrap().to_owned()).collect();
    assert!(ids.is_sorted());
}
