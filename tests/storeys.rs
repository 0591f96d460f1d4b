//! The house as its map (`src/lib.rs`, `core/src/lib.rs`) draws it: files import downwards only,
//! and never in a circle.
//!
//! The core is a package of its own, so the compiler keeps it apart from the function. Within a
//! package Rust lets every module import every other: there this test keeps the order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A package, its rooms (the folders and files of its root), and the rooms that each may import.
struct House {
    /// The folder of its source.
    root: &'static str,
    /// Its name in the paths of other packages.
    name: &'static str,
    /// From the bottom. None: its order is that of its files.
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
        ("event", &["model", "json"]),
        // Builders for tests, which lie outside the storeys.
        ("testing", &["model"]),
        ("lib", &["event", "decide", "wish", "model", "json"]),
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
        ("lib", &["run", "tell", "act", "aws"]),
    ],
};

const PLAN_COMMAND: House = House {
    root: "cli/src",
    name: "ami_warden_plan",
    rooms: &[],
};

const HOUSES: [&House; 3] = [&CORE, &FUNCTION, &PLAN_COMMAND];

/// A folder of a house and its files, from the bottom: each imports only files before it.
const ORDERS: [(&House, &str, &str); 2] = [
    (
        &FUNCTION,
        "act",
        "call_error ports script record pace retry rulebook facts reads status_tag observe work \
         reconcile crowd sweep",
    ),
    (
        &PLAN_COMMAND,
        "",
        "words access key_policy usage setting_options failure groups survey json text html \
         options main",
    ),
];

/// The files of `act` that `aws` may import: the ports that it implements, and their errors.
const AWS_MAY_IMPORT: [&str; 2] = ["act/ports", "act/call_error"];

/// Packages, by how their names begin, that only these files may name.
const OUTSIDERS: [(&str, &[&str]); 4] = [
    ("aws_config", &["src/aws/"]),
    ("aws_sdk_", &["src/aws/"]),
    ("aws_smithy_", &["src/aws/"]),
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

/// How the names of packages begin that the core may not stand on, by whatever way.
const NOT_BELOW_CORE: [&str; 6] = [
    "tokio",
    "tracing",
    "lambda_runtime",
    "aws-config",
    "aws-sdk-",
    "aws-smithy-",
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
                    paths: paths(&text),
                });
            }
        }
    }
    assert!(sources.len() > 10, "{} has too few files", house.root);
    sources
}

/// The words and signs of code, without comments, literals, and items for tests alone.
fn words(code: TokenStream, words: &mut Vec<String>) {
    let mut trees = code.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Literal(_) => {}
            TokenTree::Ident(word) => words.push(word.to_string()),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    _ => ("(", ")"),
                };
                words.push(open.to_owned());
                self::words(group.stream(), words);
                words.push(close.to_owned());
            }
            TokenTree::Punct(sign) => {
                let next = trees.peek().map(ToString::to_string);
                match (sign.as_char(), next.as_deref()) {
                    (':', Some(":")) => {
                        trees.next();
                        words.push("::".to_owned());
                    }
                    ('#', Some("[cfg (test)]")) => {
                        let _body = trees.find(|tree| match tree {
                            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                            tree => tree.to_string() == ";",
                        });
                    }
                    (sign, _) => words.push(sign.to_string()),
                }
            }
        }
    }
}

/// Every path with `::` in it or behind `use`, its lists spelt out.
fn paths(text: &str) -> BTreeSet<Vec<String>> {
    let mut words = Vec::new();
    self::words(text.parse().unwrap(), &mut words);
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let mut paths = BTreeSet::new();
    let mut at = 0;
    while at < words.len() {
        let is_use = word(at) == "use" || (word(at) == "extern" && word(at + 1) == "crate");
        // What follows a type, as in `<T as Trait>::NAME`, is no path.
        let is_rest = at > 1 && word(at - 1) == "::" && word(at - 2) == ">";
        if is_use && word(at + 1) != "<" {
            at += if word(at) == "use" { 1 } else { 2 };
            at = read_path(&words, at, &mut Vec::new(), &mut paths);
        } else if word(at + 1) == "::" && is_word(word(at)) && !is_rest {
            at = read_path(&words, at, &mut Vec::new(), &mut paths);
        } else {
            at += 1;
        }
    }
    paths
}

fn is_word(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads the path that begins here, and every branch of its list. The place behind it.
fn read_path(
    words: &[String],
    mut at: usize,
    before: &mut Vec<String>,
    paths: &mut BTreeSet<Vec<String>>,
) -> usize {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let length = before.len();
    if word(at) == "::" {
        at += 1; // `::tokio`
    }
    loop {
        if word(at) == "{" {
            at += 1;
            while !matches!(word(at), "}" | "") {
                at = read_path(words, at, before, paths);
                while !matches!(word(at), "," | "}" | "") {
                    at += 1; // `as name`
                }
                at += usize::from(word(at) == ",");
            }
            at += 1;
            break;
        }
        // Not `*`, nor the type in `Vec::<T>`, nor the `self` of a list.
        if is_word(word(at)) && (before.is_empty() || word(at) != "self") {
            before.push(word(at).to_owned());
        }
        at += 1;
        if word(at) != "::" {
            paths.insert(before.clone());
            break;
        }
        at += 1;
    }
    before.truncate(length);
    at
}

/// From file to file, each by its place.
type Arrows = BTreeMap<String, BTreeSet<String>>;

fn arrows(house: &House, sources: &[Source]) -> Arrows {
    let places: BTreeSet<&[String]> = sources.iter().map(|source| &*source.place).collect();
    let mut arrows = Arrows::new();
    for source in sources {
        let from = source.place.join("/");
        for path in &source.paths {
            let Some(mut to) = absolute(house, &places, &source.place, path) else {
                continue;
            };
            // The longest beginning that is a file: what follows are its items.
            while !to.is_empty() && !places.contains(&*to) {
                to.pop();
            }
            if to.is_empty() {
                to.push("lib".to_owned());
            }
            if to != source.place {
                let arrows = arrows.entry(from.clone()).or_default();
                arrows.insert(to.join("/"));
            }
        }
    }
    arrows
}

/// The path from the root of the house; `None` for one that leads out of it.
fn absolute(
    house: &House,
    places: &BTreeSet<&[String]>,
    place: &[String],
    path: &[String],
) -> Option<Vec<String>> {
    let is_root = matches!(place, [file] if file == "lib" || file == "main");
    let module = if is_root { &[] } else { place };
    let supers = path.iter().take_while(|step| *step == "super").count();
    let child = [module, &path[..1]].concat();
    let (base, own) = match path[0].as_str() {
        "super" => (&module[..module.len().saturating_sub(supers)], supers),
        "self" => (module, 1),
        name if name == "crate" || name == house.name => (&[][..], 1),
        _ if places.contains(&*child) => (module, 0),
        _ => return None,
    };
    Some([base, &path[own..]].concat())
}

fn room(place: &str) -> &str {
    place.split('/').next().unwrap()
}

/// The arrows between files that import each other in a circle.
fn circles(mut arrows: Arrows) -> Arrows {
    loop {
        let before = arrows.clone();
        let imported: BTreeSet<&String> = before.values().flatten().collect();
        arrows.retain(|file, imports| {
            imports.retain(|import| before.contains_key(import));
            imported.contains(file) && !imports.is_empty()
        });
        if arrows == before {
            return arrows;
        }
    }
}

/// Fails with all offences at once.
fn nobody_offends(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn imports_go_downwards_only() {
    let mut offences = Vec::new();
    for house in [&CORE, &FUNCTION] {
        let sources = sources(house);
        let arrows = arrows(house, &sources);
        for Source { file, place, .. } in &sources {
            let from = room(&place[0]);
            let Some((_, below)) = house.rooms.iter().find(|(name, _)| *name == from) else {
                offences.push(format!("{file}: the map has no room {from}"));
                continue;
            };
            for to in arrows.get(&place.join("/")).into_iter().flatten() {
                if room(to) != from && !below.contains(&room(to)) {
                    offences.push(format!("{file} imports {to}, which is not below {from}"));
                }
            }
        }
    }
    nobody_offends(&offences);
}

#[test]
fn files_with_an_order_import_only_files_before_them() {
    let mut offences = Vec::new();
    for (house, folder, order) in ORDERS {
        let sources = sources(house);
        let arrows = arrows(house, &sources);
        let rank = |place: &str| {
            let name = place.strip_prefix(folder)?.trim_start_matches('/');
            order.split(' ').position(|listed| listed == name)
        };
        for Source { file, place, .. } in &sources {
            let place = place.join("/");
            if !folder.is_empty() && (room(&place) != folder || place == folder) {
                continue;
            }
            let Some(own) = rank(&place) else {
                offences.push(format!("{file} has no place in the order"));
                continue;
            };
            for to in arrows.get(&place).into_iter().flatten() {
                if rank(to).is_none_or(|other| other > own) {
                    offences.push(format!("{file} imports {to}, which is not before it"));
                }
            }
        }
    }
    nobody_offends(&offences);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut offences = Vec::new();
    for house in HOUSES {
        let sources = sources(house);
        let arrows = arrows(house, &sources);
        let number: usize = arrows.values().map(BTreeSet::len).sum();
        let (root, files) = (house.root, sources.len());
        println!("proof: {root}: {number} imports between {files} files");
        for (file, imports) in circles(arrows) {
            offences.push(format!("{root}: {file} imports {imports:?}, in a circle"));
        }
    }
    nobody_offends(&offences);
}

#[test]
fn aws_implements_the_ports_and_imports_nothing_else_of_the_function() {
    let mut offences = Vec::new();
    for (from, to) in arrows(&FUNCTION, &sources(&FUNCTION)) {
        for to in to.iter().filter(|to| room(to) == "act") {
            if room(&from) == "aws" && !AWS_MAY_IMPORT.contains(&to.as_str()) {
                offences.push(format!("src: {from} imports {to}"));
            }
        }
    }
    nobody_offends(&offences);
}

#[test]
fn only_the_aws_room_knows_the_sdk_and_only_the_edge_the_lambda_runtime() {
    let mut offences = Vec::new();
    for Source { file, paths, .. } in HOUSES.into_iter().flat_map(sources) {
        for (outsider, rooms) in OUTSIDERS {
            let is_named = paths.iter().any(|path| path[0].starts_with(outsider));
            if is_named && !rooms.iter().any(|room| file.starts_with(room)) {
                offences.push(format!("{file} names {outsider}"));
            }
        }
    }
    nobody_offends(&offences);
}

#[test]
fn the_core_knows_no_clock_no_environment_and_no_network() {
    let mut offences = Vec::new();
    for Source { file, place, paths } in sources(&CORE) {
        let is_for_tests = room(&place[0]) == "testing";
        for path in paths.iter().filter(|_| !is_for_tests) {
            let is_named = NOT_IN_CORE.iter().any(|name| {
                // A path that ends early leads there: `use std::time;`.
                name.iter().take(path.len()).eq(path)
                    || path.windows(name.len()).any(|part| part == *name)
            });
            if is_named {
                offences.push(format!("{file} names {}", path.join("::")));
            }
        }
    }
    nobody_offends(&offences);
}

/// Optional dependencies and those of tests are left aside, which Cargo.lock does not tell apart.
#[test]
fn the_core_stands_on_no_runtime_no_log_and_no_sdk() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args("tree --locked --offline --package ami-warden-core".split(' '))
        .args("--edges normal --prefix none --format {p}".split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{cargo:?}: {said}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let packages: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(packages.contains("serde_json"), "{cargo:?}: {tree}");
    let is_refused = |package: &&&str| NOT_BELOW_CORE.iter().any(|name| package.starts_with(name));
    let offences: Vec<String> = packages
        .iter()
        .filter(is_refused)
        .map(|package| format!("core/Cargo.toml brings {package}"))
        .collect();
    println!("proof: the core stands on {} packages", packages.len() - 1);
    nobody_offends(&offences);
}

#[test]
fn the_reader_of_paths_finds_them_all() {
    let code = r##"
        use tokio as t;
        use {serde, ::log::{self, info as i}};
        extern crate aws_config as a;
        use crate::{model::{image::{Image, State}, key}, wish::tags as t};
        use super::super::json::*;
        // use crate::no::comment;
        const TEXT: &str = "crate::no::text \" crate::no::more";
        const RAW: &str = r#"crate::no::raw "quoted" "#;
        #[cfg(test)] mod tests { use crate::no::test; }
        #[cfg(test)] use crate::no::test_alone;
        #[allow(dead_code)]
        fn f<'a>(c: char) -> Vec<tokio::time::Instant> { if c == '"' || c == '\'' {} ami::x() }
        fn g() -> impl Sized + use<'a> { ::std::env::vars(); v![<A as b::C>::D, Vec::<e::F>::new()] }
    "##;
    let found: Vec<String> = paths(code).iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        [
            "Vec",
            "ami::x",
            "aws_config",
            "b::C",
            "crate::model::image::Image",
            "crate::model::image::State",
            "crate::model::key",
            "crate::wish::tags",
            "e::F",
            "log",
            "log::info",
            "serde",
            "std::env::vars",
            "super::super::json",
            "tokio",
            "tokio::time::Instant",
        ]
    );
}
