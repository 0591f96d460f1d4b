//! The documents name nothing that is not there: no test, target of `make`, file, heading, command,
//! refusal code, setting, error, metric or alarm. And they leave none of the latter out.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use ami_warden::{
    Answer, CallError, InvocationError, InvocationMetrics, Metrics, RulebookError, settings,
};
use ami_warden_core::{DecodeContext, Event, Malformed, PolicyFault, RefusalCode};
use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The parts of a line that stand between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether this file has a test of this name that runs, and not just a function.
fn has_test(file: &str, name: &str) -> bool {
    let text = read(file);
    if file.ends_with(".py") {
        return text.contains(&format!("def {name}("));
    }
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let before = before.trim_end().trim_end_matches("async").trim_end();
    let attributes: Vec<&str> = before
        .lines()
        .rev()
        .map(str::trim)
        .take_while(|line| line.starts_with("#["))
        .collect();
    let is_test = |line: &&str| *line == "#[test]" || line.starts_with("#[tokio::test");
    attributes.iter().any(is_test) && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

/// The source files below a folder.
fn sources(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files.extend(sources(&path));
        } else if path.ends_with(".rs") || path.ends_with(".py") {
            files.push(path);
        }
    }
    files
}

/// The file of a module that a document names by the end of its path: `plan`, `decide/plan`.
fn module(name: &str) -> String {
    let mut found = Vec::new();
    for folder in ["core/src", "src", "tests", "cli", "deploy/tests", "proof"] {
        if exists(folder) {
            found.extend(sources(folder));
        }
    }
    let ends = [
        format!("/{name}.rs"),
        format!("/{name}.py"),
        format!("/{name}/mod.rs"),
    ];
    // Of `tests/model.rs` too the whole path may be named.
    found.retain(|path| ends.iter().any(|end| format!("/{path}").ends_with(end)));
    match found.as_slice() {
        [only] => only.clone(),
        [] => panic!("no module {name}"),
        several => panic!("{name} may be any of {several:?}: name more of its path"),
    }
}

/// Whether `make` has this target.
fn is_target(name: &str) -> bool {
    read("Makefile")
        .lines()
        .any(|line| line.starts_with(&format!("{name}:")))
}

/// Whether the proof that a threat is met, as `SECURITY.md` names it, is there. `place` is the file
/// of the proof before.
fn is_there(proof: &str, place: &mut String) -> bool {
    if let Some(target) = proof.strip_prefix("make ") {
        return is_target(target);
    }
    if let Some(target) = proof.strip_prefix("fuzz: ") {
        return exists(&format!("fuzz/fuzz_targets/{target}.rs"));
    }
    if let Some(group) = proof.strip_prefix("rows: ") {
        return read("deploy/tests/iam-simulation/rows.yaml")
            .lines()
            .any(|line| line.trim_start() == format!("- about: {group}"));
    }
    if let Some((module, test)) = proof.split_once("::") {
        if !module.is_empty() {
            *place = format!("tests/e2e/{module}.rs");
        }
        return has_test(place, test);
    }
    if let Some((name, test)) = proof.split_once(": ") {
        *place = module(name);
        return has_test(place, test);
    }
    false
}

/// The threats of `SECURITY.md`: an attacker's heading, and one item with what it says and what
/// proves it.
fn threats() -> Vec<(String, String)> {
    let text = read("SECURITY.md");
    let (_, threats) = text
        .split_once("\n## Threats\n")
        .expect("SECURITY.md has a heading for threats");
    let threats = threats.split("\n## ").next().unwrap_or_default();
    let mut found = Vec::new();
    for section in threats.split("\n### ").skip(1) {
        let (attacker, rest) = section.split_once('\n').unwrap();
        let items: Vec<&str> = rest.split("\n* ").skip(1).collect();
        assert!(
            !items.is_empty(),
            "SECURITY.md: nothing stands below {attacker}"
        );
        found.extend(
            items
                .into_iter()
                .map(|item| (attacker.to_owned(), item.to_owned())),
        );
    }
    found
}

#[test]
fn every_threat_in_security_md_names_what_proves_it_and_that_is_there() {
    let threats = threats();
    assert!(
        threats.len() >= 30,
        "the threats were not found: {} of them",
        threats.len()
    );
    let mut proofs = 0;
    for (attacker, threat) in &threats {
        assert!(
            threat.starts_with("**"),
            "SECURITY.md, {attacker}: it does not say first what is tried: {threat}"
        );
        let Some((_, proven_by)) = threat.split_once("\n  Proof: ") else {
            panic!("SECURITY.md, {attacker}: nothing proves it: {threat}")
        };
        let mut place = String::new();
        let named: Vec<&str> = quoted(proven_by).collect();
        assert!(
            !named.is_empty(),
            "SECURITY.md, {attacker}: nothing proves it: {threat}"
        );
        for proof in &named {
            assert!(
                is_there(proof, &mut place),
                "SECURITY.md: there is no `{proof}` in {place:?}"
            );
        }
        proofs += named.len();
    }
    println!(
        "proof: {} threats in SECURITY.md, {proofs} proofs named there, and all of them are there",
        threats.len()
    );
}

/// The documents, with their texts.
fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<String> = [
        "README.md",
        "DESIGN.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ]
    .map(Into::into)
    .into();
    for folder in [
        "docs",
        "deploy",
        "deploy/cdk",
        "deploy/iam",
        "deploy/terraform",
        "ec2-emulator",
        "events",
    ] {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        paths.extend(
            names
                .filter(|name| Path::new(name).extension().is_some_and(|end| end == "md"))
                .map(|name| format!("{folder}/{name}")),
        );
    }
    paths
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    headings
        .map(|heading| {
            heading
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_target_of_make_and_every_file_and_heading_that_a_document_points_to_is_there() {
    for (document, text) in documents() {
        let shown = text
            .lines()
            .filter_map(|line| line.strip_prefix("    make "));
        for target in quoted(&text)
            .filter_map(|code| code.strip_prefix("make "))
            .chain(shown)
        {
            let target = target.split_whitespace().next().unwrap();
            assert!(
                target == "TARGET" || is_target(target),
                "{document}: make has no {target}"
            );
        }
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link);
        for link in links.filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if path.is_empty() {
                Path::new(&document).into()
            } else {
                Path::new(&document).with_file_name(path)
            };
            let file = file.to_str().unwrap();
            assert!(exists(file), "{document}: there is no {link}");
            assert!(
                anchor.is_empty() || anchors(&read(file)).iter().any(|is| is == anchor),
                "{document}: no heading for {link}"
            );
        }
    }
}

/// Every link of a document to a file, as a path from the root, without its anchor.
fn links(document: &str, text: &str) -> BTreeSet<String> {
    let folder = Path::new(document).parent().unwrap();
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    let mut found = BTreeSet::new();
    for (link, _) in links.filter(|(link, _)| !link.starts_with("http")) {
        let mut path = folder.to_path_buf();
        for part in link.split('#').next().unwrap_or_default().split('/') {
            if part == ".." {
                path.pop();
            } else {
                path.push(part);
            }
        }
        found.insert(path.to_str().unwrap().to_owned());
    }
    found
}

#[test]
fn the_readme_links_to_every_page_of_docs_and_leads_to_every_document() {
    let documents = documents();
    let from_readme = links("README.md", &read("README.md"));
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    loop {
        let before = reached.len();
        for (document, text) in &documents {
            if reached.contains(document) {
                reached.extend(links(document, text));
            }
        }
        if reached.len() == before {
            break;
        }
    }
    let mut missing = Vec::new();
    for (document, _) in &documents {
        if !reached.contains(document) {
            missing.push(format!("no link leads to {document}"));
        }
        if document.starts_with("docs/") && !from_readme.contains(document) {
            missing.push(format!("README.md does not link to {document}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The texts that follow `before` in a text, up to the first character that no version has.
fn versions<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for rest in text.split(before).skip(1) {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let version = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
        if version.matches('.').count() == 2 {
            found.push(version);
        }
    }
    found
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const LOCKED: &str = "name = \"ami-warden-core\"\nversion = \"";

/// The files that name the version, with the text before it.
const NAMED: [(&str, &str); 11] = [
    ("Cargo.lock", LOCKED),
    ("fuzz/Cargo.lock", LOCKED),
    ("proof/Cargo.lock", LOCKED),
    ("template.yaml", "SemanticVersion: "),
    ("Makefile", "make release VERSION="),
    ("deploy/README.md", "make release VERSION="),
    ("CONTRIBUTING.md", "make release VERSION="),
    ("CONTRIBUTING.md", "Push a tag `v"),
    ("deploy/cdk/README.md", "TEMPLATE=ami-warden-"),
    ("deploy/cdk/ami-warden.mjs", "TEMPLATE=ami-warden-"),
    ("deploy/terraform/README.md", "ami-warden-"),
];

#[test]
fn every_place_that_names_the_version_names_the_same() {
    for (file, before) in NAMED {
        let text = read(file);
        let found = versions(&text, before);
        assert!(!found.is_empty(), "{file}: no version after {before:?}");
        for version in found {
            assert_eq!(version, VERSION, "{file}, after {before:?}");
        }
    }
    let changelog = read("CHANGELOG.md");
    let newest = versions(&changelog, "\n## ");
    assert_eq!(newest.first(), Some(&VERSION), "CHANGELOG.md");
}

/// The tables of all documents whose first column holds names: the document and the names.
fn tables() -> Vec<(String, Vec<String>)> {
    let mut tables = Vec::new();
    for (document, text) in documents() {
        let mut rows = Vec::new();
        for line in text.lines().chain([""]) {
            if line.starts_with("| `") {
                let first = line.split(" | ").next().unwrap_or_default();
                rows.extend(quoted(first).map(ToOwned::to_owned));
            } else if !rows.is_empty() {
                tables.push((document.clone(), std::mem::take(&mut rows)));
            }
        }
    }
    tables
}

fn error_types() -> BTreeSet<String> {
    let malformed = Malformed {
        path: String::new(),
        message: String::new(),
    };
    let policy = RulebookError::new("", PolicyFault::Secure);
    // Does not compile when a kind is missing here.
    let kind = |error: &InvocationError| match error {
        InvocationError::NotJson(_)
        | InvocationError::InvalidEvent(_)
        | InvocationError::InvalidRequest(_)
        | InvocationError::InvalidPolicy(_)
        | InvocationError::ImagesFailed(_)
        | InvocationError::SweepFailed(_) => error.kind().to_owned(),
    };
    let errors = [
        InvocationError::InvalidEvent(malformed.clone()),
        InvocationError::InvalidRequest(malformed),
        InvocationError::InvalidPolicy(policy),
        InvocationError::ImagesFailed(Box::new(Answer::ignored("", false))),
        InvocationError::SweepFailed(CallError::timeout("DescribeImages")),
    ];
    errors.iter().map(kind).collect()
}

fn metric_names() -> BTreeSet<String> {
    let invocation = InvocationMetrics {
        function_name: None,
        calls: 0,
        duration: Duration::ZERO,
        cold_start: false,
        sweep_finished: true,
    };
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let line = Metrics::default().lines(&invocation, now).remove(0);
    let line: Value = serde_json::from_str(&line).unwrap();
    let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
        .as_array()
        .unwrap();
    let mut names: BTreeSet<String> = metrics
        .iter()
        .map(|metric| metric["Name"].as_str().unwrap().to_owned())
        .collect();
    // A line of its own for each code, where there is one.
    names.insert("Refusals".to_owned());
    names
}

fn alarms() -> BTreeSet<String> {
    let template = read("template.yaml");
    let lines: Vec<&str> = template.lines().collect();
    let is_alarm = |pair: &&[&str]| pair[1].trim() == "Type: AWS::CloudWatch::Alarm";
    let name = |pair: &[&str]| pair[0].trim().trim_end_matches(':').to_owned();
    lines.windows(2).filter(is_alarm).map(name).collect()
}

/// The documents that need a row for each of the kind.
fn needed_in(kind: &str) -> &'static [&'static str] {
    match kind {
        // The README says when it occurs, the other what to do.
        "refusal code" => &["README.md", "docs/refusals.md"],
        "setting" => &["README.md"],
        _ => &[],
    }
}

/// Other names that may stand in a table of the kind.
fn companions(kind: &str) -> &'static [&'static str] {
    match kind {
        // Errors stand beside the outcomes of images.
        "error type" => &["errorType"],
        _ => &[],
    }
}

#[test]
fn every_code_error_setting_metric_and_alarm_has_its_row_and_no_row_is_of_something_else() {
    let codes = RefusalCode::ALL
        .iter()
        .map(|code| code.as_str().to_owned())
        .collect();
    let settings = settings::ALL
        .iter()
        .map(|setting| setting.variable.to_owned())
        .collect();
    let kinds: [(&str, BTreeSet<String>); 5] = [
        ("refusal code", codes),
        ("error type", error_types()),
        ("setting", settings),
        ("metric", metric_names()),
        ("alarm", alarms()),
    ];
    let tables = tables();
    // All of them at once: a person adds the rows of a setting or a refusal in one go.
    let mut missing = Vec::new();
    for (kind, names) in &kinds {
        assert!(
            names.len() >= 5,
            "only {} of the kind {kind} were found: {names:?}",
            names.len()
        );
        for name in names {
            let needed = needed_in(kind);
            if needed.is_empty() && !tables.iter().any(|(_, rows)| rows.contains(name)) {
                missing.push(format!("no table has a row for the {kind} {name}"));
            }
            for needed in needed {
                let has_it = |(document, rows): &(String, Vec<String>)| {
                    document == needed && rows.contains(name)
                };
                if !tables.iter().any(has_it) {
                    missing.push(format!("{needed} has no row for the {kind} {name}"));
                }
            }
        }
        for (document, rows) in &tables {
            let known = rows.iter().filter(|row| names.contains(*row)).count();
            // A table is one of this kind when most of its names are.
            if known * 2 <= rows.len() {
                continue;
            }
            for row in rows {
                let is_known = names.contains(row) || companions(kind).contains(&row.as_str());
                if !is_known {
                    missing.push(format!("{document}: there is no {kind} {row}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_setting_is_a_parameter_of_the_template() {
    let template = read("template.yaml");
    let mut missing = Vec::new();
    for setting in settings::ALL {
        let (variable, parameter) = (setting.variable, setting.parameter);
        if !template.contains(&format!("\n  {parameter}:\n")) {
            missing.push(format!("template.yaml has no parameter {parameter}"));
        }
        if !template.contains(&format!("          {variable}: !")) {
            missing.push(format!(
                "the function of template.yaml does not get {variable}"
            ));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_refusal_code_and_setting_is_in_an_end_to_end_test() {
    let tests: String = sources("tests/e2e").iter().map(|file| read(file)).collect();
    let mut names: Vec<&str> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
    names.extend(settings::ALL.map(|setting| setting.variable));
    names.retain(|name| !tests.contains(&format!("\"{name}\"")));
    assert!(names.is_empty(), "no file of tests/e2e has {names:?}");
}

/// The number that a terminal knows a colour of `cli/src/text.rs` by.
fn terminal_code(style: &str) -> &'static str {
    match style {
        "Style::new().bold()" => "1",
        "Style::new().dimmed()" => "2",
        "AnsiColor::Green.on_default()" => "32",
        "AnsiColor::Yellow.on_default()" => "33",
        "AnsiColor::Magenta.on_default()" => "35",
        "AnsiColor::Cyan.on_default()" => "36",
        "AnsiColor::Red.on_default().bold()" => "1;31",
        other => panic!("which number has {other}?"),
    }
}

#[test]
fn the_demo_shows_each_meaning_in_the_colour_of_the_plan_command() {
    let plan = read("cli/src/text.rs");
    let (_, palette) = plan.split_once("pub const SOME: Self = Self {").unwrap();
    let (palette, _) = palette.split_once("};").unwrap();
    let meanings = palette
        .lines()
        .filter_map(|line| line.trim().split_once(": "));
    let mut written = Vec::new();
    for (meaning, style) in meanings {
        let code = terminal_code(style.trim_end_matches(','));
        written.push(format!("\"{meaning}\": \"{code}\""));
    }
    assert_eq!(written.len(), 7, "{written:?}");
    let expected = format!("_PALETTE = {{{}}}", written.join(", "));
    let demo = read("demo/show.py");
    assert!(demo.contains(&expected), "show.py has not {expected}");
    for (outcome, meaning) in [
        ("applied", "add"),
        ("refused", "refuse"),
        ("failed", "danger"),
    ] {
        let expected = format!("\"{outcome}\": \"{meaning}\"");
        assert!(demo.contains(&expected), "show.py has not {expected}");
    }
}

/// What tries a command.
#[derive(Clone, Copy)]
enum Tried {
    /// The test below has `make` say what it would do.
    Make,
    /// This file, in which this text stands.
    In(&'static str, &'static str),
    /// Nothing here can, and why.
    Nothing(#[expect(dead_code, reason = "for readers")] &'static str),
}
use Tried::{In, Make, Nothing};

/// How the commands that documents show begin, and what tries each.
const COMMANDS: &[(&str, Tried)] = &[
    ("git clone ", Nothing("it goes over the network")),
    (
        "target/debug/ami-warden-plan --allow-public ",
        In("cli/tests/plan.rs", "--allow-public"),
    ),
    (
        "target/debug/ami-warden-plan --inventory ",
        In("cli/tests/plan.rs", "--inventory"),
    ),
    (
        "target/debug/ami-warden-plan --policy-path ",
        In("cli/tests/plan.rs", "--rules"),
    ),
    (
        "cargo lambda build --release --output-format zip",
        In(
            "Makefile",
            "cargo lambda build --locked --release --output-format zip",
        ),
    ),
    ("make plan", Make),
    ("make help", Make),
    ("make test-core", Make),
    ("make check", Make),
    ("make invoke EVENT=events/look.json", Make),
    ("sam build", In("deploy/tests/e2e.py", "\"build\"")),
    ("sam deploy --guided", Nothing("it asks a person")),
    (
        "python3 deploy/package.py ",
        In("deploy/tests/template.py", "\"package.py\""),
    ),
    (
        "python3 deploy/redrive.py",
        In("deploy/tests/test_redrive.py", "redrive.main"),
    ),
    (
        "python3 deploy/check.py ",
        In("deploy/tests/test_check.py", "check.main"),
    ),
    (
        "DRY_RUN=true cargo lambda watch",
        Nothing("it asks real EC2, with a person's credentials"),
    ),
    (
        "cargo lambda invoke ami-warden --data-file ",
        Nothing("it goes with `cargo lambda watch`"),
    ),
    ("sam remote invoke ", Nothing("it needs a function on AWS")),
    ("aws lambda invoke ", Nothing("it needs a function on AWS")),
    ("aws ssm put-parameter ", Nothing("it needs an AWS account")),
    ("aws s3 cp ", Nothing("it needs an AWS account")),
    ("aws ec2 create-tags ", Nothing("it needs an AWS account")),
    ("aws ec2 copy-image ", Nothing("it needs an AWS account")),
    (
        "aws ec2 describe-images ",
        Nothing("it needs an AWS account"),
    ),
    (
        "aws cloudtrail lookup-events ",
        Nothing("it needs an AWS account"),
    ),
    (
        "aws cloudformation deploy ",
        Nothing("it needs an AWS account"),
    ),
];

#[test]
fn every_command_that_a_document_shows_is_known_with_what_tries_it() {
    const PROGRAMS: [&str; 8] = [
        "make ",
        "cargo ",
        "aws ",
        "sam ",
        "python3 ",
        "git ",
        "DRY_RUN=true ",
        "target/debug/ami-warden-plan ",
    ];
    let documents = documents();
    let lines = documents
        .iter()
        .flat_map(|(document, text)| text.lines().map(move |line| (document, line)));
    let shown: Vec<(&String, &str)> = lines
        .filter_map(|(document, line)| Some((document, line.strip_prefix("    ")?)))
        .filter(|(_, command)| PROGRAMS.iter().any(|program| command.starts_with(program)))
        .collect();
    for (document, command) in &shown {
        assert!(
            COMMANDS.iter().any(|(begin, _)| command.starts_with(begin)),
            "{document}: nothing tries `{command}`"
        );
    }
    for (begin, tried) in COMMANDS {
        assert!(
            shown.iter().any(|(_, command)| command.starts_with(begin)),
            "no document shows `{begin}` any more"
        );
        match tried {
            Make => {
                let mut make = Command::new("make");
                make.arg("--dry-run")
                    .args(begin.split(' ').skip(1))
                    .current_dir(env!("CARGO_MANIFEST_DIR"));
                assert!(
                    make.output().unwrap().status.success(),
                    "`{begin}` is nothing that make can do"
                );
            }
            In(file, text) => assert!(
                read(file).contains(text),
                "{file} does not try `{begin}` any more"
            ),
            Nothing(_) => {}
        }
    }
}

#[test]
fn every_path_that_a_document_names_is_there() {
    const FOLDERS: [&str; 13] = [
        ".cargo/",
        ".ci/",
        "benches/",
        "cli/",
        "core/",
        "demo/",
        "deploy/",
        "docs/",
        "ec2-emulator/",
        "events/",
        "fuzz/",
        "src/",
        "tests/",
    ];
    const MADE: [&str; 1] = ["fuzz/artifacts"];
    let mut found = 0;
    for (document, text) in documents() {
        for line in text.lines() {
            let paths =
                quoted(line).filter(|path| FOLDERS.iter().any(|folder| path.starts_with(folder)));
            for path in paths.filter(|path| {
                !path.contains([' ', '*', '{', ':'])
                    && !MADE.iter().any(|made| path.starts_with(made))
            }) {
                assert!(exists(path), "{document}: there is no {path}");
                found += 1;
            }
        }
    }
    assert!(found > 40, "only {found} paths were found");
}

#[test]
fn every_request_that_a_document_shows_whole_is_one_the_function_takes() {
    let mut shown = Vec::new();
    for (_, text) in documents() {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("    {\"ImageId\": "));
        shown.extend(lines.map(|rest| format!("{{\"ImageId\": {rest}")));
    }
    assert!(shown.len() >= 4, "only {} requests were found", shown.len());
    for request in shown {
        let json: Value =
            serde_json::from_str(&request).unwrap_or_else(|error| panic!("{request}: {error}"));
        let context = DecodeContext {
            policy_path: None,
            allow_list_parameter: None,
            partition: "aws",
            requests_allowed: true,
        };
        let event = Event::parse(&json, &context);
        assert!(matches!(event, Ok(Event::Job(_))), "{request}: {event:?}");
    }
}
