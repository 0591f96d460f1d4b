//! The house as its map (`src/lib.rs`, `core/src/lib.rs`) draws it: files import downwards only, and
//! never in a circle.
//!
//! The core is a package of its own, so the compiler keeps it apart from the function. Within a
//! package Rust lets every module import every other: there this test keeps the order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A package, its rooms (the folders and files of its root), and the rooms that each may import.
struct House {
    /// The folder of its source.
    root: &'static str,
    /// Its name in the paths of other packages.
    name: &'static str,
    /// From the bottom.
    rooms: &'static [(&'static str, &'static [&'static str])],
}

const CORE: House = House {
    root: "core/src",
    name: "ami_warden_core",
    rooms: &[
        ("json", &[]),
        ("model", &[]),
        ("wish", &["model", "json"]),
        ("decide", &["wish", "model"]),
        ("event", &["wish", "model", "json"]),
        // Builders for tests, which lie outside the storeys.
        ("testing", &["model"]),
        ("lib", &["json"]),
    ],
};

const FUNCTION: House = House {
    root: "src",
    name: "ami_warden",
    rooms: &[
        ("act", &[]),
        ("aws", &["act"]),
        ("tell", &["act"]),
        ("run", &["tell", "act"]),
        ("main", &["lib", "aws"]),
        ("lib", &[]),
    ],
};

/// The files of `act` that `aws` may import: the ports that it implements, and their errors.
const AWS_MAY_IMPORT: [&str; 2] = ["act/ports", "act/call_error"];

/// Packages that only these files may name.
const OUTSIDERS: [(&str, &[&str]); 4] = [
    ("aws_config", &["src/aws/", "src/main.rs"]),
    ("aws_sdk_", &["src/aws/", "src/main.rs"]),
    ("aws_smithy_", &["src/aws/", "src/main.rs"]),
    ("lambda_runtime", &["src/run/lambda.rs", "src/main.rs"]),
];

/// Names that no file of the core may use: it knows no clock, no environment and no network.
const NOT_IN_CORE: [&[&str]; 11] = [
    &["tokio"],
    &["tracing"],
    &["lambda_runtime"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["Utc", "now"],
];

/// A source file: its path, its place among the modules, and every path that it names.
struct Source {
    file: String,
    place: Vec<String>,
    paths: BTreeSet<Vec<String>>,
}

/// The source files of a house, without those of its tests.
fn sources(house: &House) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![house.root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)).unwrap();
        for entry in entries {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let file = format!("{folder}/{name}");
            if entry.file_type().unwrap().is_dir() {
                if name != "tests" {
                    folders.push(file);
                }
            } else if let Some(stem) = name.strip_suffix(".rs")
                && stem != "tests"
            {
                let text = fs::read_to_string(entry.path()).unwrap();
                let place = file.strip_prefix(house.root).unwrap();
                let place = place.trim_start_matches('/').trim_end_matches(".rs");
                let mut place: Vec<String> = place.split('/').map(str::to_owned).collect();
                if stem == "mod" {
                    place.pop();
                }
                sources.push(Source {
                    file,
                    place,
                    paths: paths(&tokens(&text)),
                });
            }
        }
    }
    assert!(
        sources.len() > 10,
        "{} has only {} files",
        house.root,
        sources.len()
    );
    sources
}

/// The words and signs of a file's code, up to its unit tests. No comment, and no text in quotes.
fn tokens(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#") => raw_text(rest),
            '"' => plain_text(rest),
            '\'' => character(rest),
            _ if first.is_alphanumeric() || first == '_' => {
                let is_other = |c: char| !c.is_alphanumeric() && c != '_';
                let end = rest.find(is_other).unwrap_or(rest.len());
                tokens.push(rest[..end].to_owned());
                end
            }
            ':' if rest.starts_with("::") => {
                tokens.push("::".to_owned());
                2
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(first.to_string());
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn plain_text(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    rest.len()
}

fn raw_text(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 1; // a raw identifier
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    rest[start..]
        .find(&end)
        .map_or(rest.len(), |at| start + at + end.len())
}

/// A character, or the tick of a lifetime.
fn character(rest: &str) -> usize {
    let mut inner = rest[1..].char_indices();
    match (inner.next(), inner.next()) {
        (Some((_, '\\')), _) => 1 + rest[3..].find('\'').map_or(2, |at| at + 3),
        (Some(_), Some((at, '\''))) => 1 + at + 1,
        _ => 1,
    }
}

/// Every path with `::` in it, the lists of `use` spelt out.
fn paths(tokens: &[String]) -> BTreeSet<Vec<String>> {
    let mut paths = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let follows = tokens.get(at + 1).is_some_and(|next| next == "::");
        let continues = at > 0 && tokens[at - 1] == "::";
        if follows && !continues && is_word(&tokens[at]) {
            at = read_path(tokens, at, &mut Vec::new(), &mut paths);
        } else {
            at += 1;
        }
    }
    paths
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads the path that begins here, and every branch of its list. The place behind it.
fn read_path(
    tokens: &[String],
    mut at: usize,
    before: &mut Vec<String>,
    paths: &mut BTreeSet<Vec<String>>,
) -> usize {
    let length = before.len();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    let begun = at;
                    at = read_path(tokens, at, before, paths);
                    while tokens
                        .get(at)
                        .is_some_and(|token| token != "," && token != "}")
                    {
                        at += 1; // `as name`
                    }
                    if tokens.get(at).is_some_and(|token| token == ",") {
                        at += 1;
                    }
                    assert!(at > begun, "no progress at {before:?}");
                }
                at += 1;
                break;
            }
            Some(word) if is_word(word) => {
                before.push(word.to_owned());
                at += 1;
            }
            _ => at += 1, // `*`, or the type in `Vec::<T>`
        }
        if tokens.get(at).is_none_or(|token| token != "::") {
            paths.insert(before.clone());
            break;
        }
        at += 1;
    }
    before.truncate(length);
    at
}

/// The arrows of a house, from file to file, each by the file's place.
fn arrows(house: &House, sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let places: BTreeSet<&[String]> = sources.iter().map(|source| &*source.place).collect();
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let from = source.place.join("/");
        for path in &source.paths {
            let Some(mut absolute) = absolute(house, &source.place, path) else {
                continue;
            };
            // The longest beginning that is a file: what follows are its items.
            while !absolute.is_empty() && !places.contains(&*absolute) {
                absolute.pop();
            }
            let to = if absolute.is_empty() {
                "lib".to_owned()
            } else {
                absolute.join("/")
            };
            if to != from {
                arrows.entry(from.clone()).or_default().insert(to);
            }
        }
    }
    arrows
}

/// The path from the root of the house; `None` for one that leads out of it.
fn absolute(house: &House, place: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut base = match path[0].as_str() {
        "crate" => Vec::new(),
        "super" | "self" => place.to_vec(),
        name if name == house.name => Vec::new(),
        _ => return None,
    };
    let supers = path.iter().take_while(|step| *step == "super").count();
    base.truncate(base.len().saturating_sub(supers));
    base.extend(
        path[supers.max(usize::from(path[0] != "super"))..]
            .iter()
            .cloned(),
    );
    Some(base)
}

fn room(place: &str) -> &str {
    place.split('/').next().unwrap()
}

/// A circle of files, if there is one.
fn circle(arrows: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        at: &str,
        arrows: &BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = way.iter().position(|passed| passed == at) {
            return Some([&way[begin..], &[at.to_owned()]].concat());
        }
        if !done.insert(at.to_owned()) {
            return None;
        }
        way.push(at.to_owned());
        for next in arrows.get(at).into_iter().flatten() {
            if let Some(circle) = visit(next, arrows, way, done) {
                return Some(circle);
            }
        }
        way.pop();
        None
    }
    let mut done = BTreeSet::new();
    arrows
        .keys()
        .find_map(|from| visit(from, arrows, &mut Vec::new(), &mut done))
}

#[test]
fn imports_go_downwards_only() {
    for house in [&CORE, &FUNCTION] {
        let sources = sources(house);
        for source in &sources {
            let room = room(&source.place[0]);
            let known = house.rooms.iter().any(|(name, _)| *name == room);
            assert!(known, "{}: the map has no room {room}", source.file);
        }
        for (from, to) in &arrows(house, &sources) {
            let (_, may_import) = house
                .rooms
                .iter()
                .find(|(name, _)| *name == room(from))
                .unwrap();
            for to in to {
                let is_allowed = room(from) == room(to) || may_import.contains(&room(to));
                assert!(
                    is_allowed,
                    "{}: {from} imports {to}, which is not below it",
                    house.root
                );
            }
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for house in [&CORE, &FUNCTION] {
        let sources = sources(house);
        let arrows = arrows(house, &sources);
        let number: usize = arrows.values().map(BTreeSet::len).sum();
        let files = sources.len();
        println!(
            "proof: {}: {number} imports between {files} files, no circle",
            house.root
        );
        if let Some(circle) = circle(&arrows) {
            panic!("{}: {}", house.root, circle.join(" → "));
        }
    }
}

#[test]
fn aws_implements_the_ports_and_imports_nothing_else_of_the_function() {
    let arrows = arrows(&FUNCTION, &sources(&FUNCTION));
    for (from, to) in arrows.iter().filter(|(from, _)| room(from) == "aws") {
        for to in to.iter().filter(|to| room(to) == "act") {
            assert!(
                AWS_MAY_IMPORT.contains(&to.as_str()),
                "src: {from} imports {to}"
            );
        }
    }
}

#[test]
fn only_the_aws_room_and_the_cold_start_know_the_sdk() {
    for house in [&CORE, &FUNCTION] {
        for Source { file, paths, .. } in sources(house) {
            for (outsider, rooms) in OUTSIDERS {
                let names = paths.iter().any(|path| path[0].starts_with(outsider));
                let may_name = rooms.iter().any(|room| file.starts_with(room));
                assert!(!names || may_name, "{file} names {outsider}");
            }
        }
    }
}

#[test]
fn the_core_knows_no_clock_no_environment_and_no_network() {
    for Source { file, place, paths } in sources(&CORE) {
        let is_for_tests = room(&place[0]) == "testing";
        for path in paths.iter().filter(|_| !is_for_tests) {
            for name in NOT_IN_CORE {
                let found = path.windows(name.len()).any(|part| part == name);
                assert!(!found, "{file} names {}", name.join("::"));
            }
        }
    }
}

#[test]
fn the_reader_of_paths_finds_them_all() {
    let code = r##"
        use crate::{model::{image::{Image, State}, key}, wish::tags as t};
        use super::super::json::*;
        // use crate::no::comment;
        const TEXT: &str = "crate::no::text \" crate::no::more";
        const RAW: &str = r#"crate::no::raw "quoted" "#;
        fn f<'a>(c: char) -> Vec<tokio::time::Instant> { if c == '"' || c == '\'' {} ami::x() }
        #[cfg(test)]
mod tests { use crate::no::test; }
    "##;
    let found: Vec<String> = paths(&tokens(code))
        .iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        found,
        [
            "ami::x",
            "crate::model::image::Image",
            "crate::model::image::State",
            "crate::model::key",
            "crate::wish::tags",
            "super::super::json",
            "tokio::time::Instant",
        ]
    );
}
