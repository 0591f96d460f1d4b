//! What the documents point to is there: `SECURITY.md` every test, and every document the targets of `make` and the files it links to.

use std::{fs, path::Path};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The parts of a line that stand between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether this file has a test of this name, and not just a function.
fn has_test(file: &str, name: &str) -> bool {
    let text = read(file);
    if file.ends_with(".py") {
        return text.contains(&format!("def {name}("));
    }
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    before.trim_end().ends_with("#[test]")
}

/// Whether `make` has this target.
fn is_target(name: &str) -> bool {
    read("Makefile").lines().any(|line| line.starts_with(&format!("{name}:")))
}

/// What proves that a threat is met, as `SECURITY.md` writes it, and whether it is there. `place` is where the one before it was.
fn is_there(proof: &str, place: &mut String) -> bool {
    if let Some(target) = proof.strip_prefix("make ") {
        return is_target(target);
    }
    if let Some(target) = proof.strip_prefix("fuzz: ") {
        return exists(&format!("fuzz/fuzz_targets/{target}.rs"));
    }
    if let Some((module, test)) = proof.split_once("::") {
        if !module.is_empty() {
            *place = format!("tests/e2e/{module}.rs");
        }
        return has_test(place, test);
    }
    if let Some((module, test)) = proof.split_once(": ") {
        let places = [format!("src/{module}.rs"), format!("tests/{module}.rs"), format!("tests/template/{module}.py")];
        *place = places.into_iter().find(|place| exists(place)).unwrap_or_else(|| panic!("no module {module}: {proof}"));
        return has_test(place, test);
    }
    false
}

#[test]
fn every_threat_in_security_md_names_what_proves_it_and_that_is_there() {
    let text = read("SECURITY.md");
    let threats: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(threats.len() >= 15, "the table of threats was not found: {} rows", threats.len());
    let mut proofs = 0;
    for threat in &threats {
        let cells: Vec<&str> = threat.trim_matches('|').split(" | ").collect();
        let [_, _, _, proven_by] = cells.as_slice() else { panic!("not four columns: {threat}") };
        let mut place = String::new();
        let named: Vec<&str> = quoted(proven_by).collect();
        assert!(!named.is_empty(), "nothing proves it: {threat}");
        for proof in &named {
            assert!(is_there(proof, &mut place), "SECURITY.md: there is no `{proof}` in {place:?}");
        }
        proofs += named.len();
    }
    println!("proof: {} threats in SECURITY.md, {proofs} proofs named there, and all of them are there", threats.len());
}

#[test]
fn every_target_of_make_and_every_file_that_a_document_points_to_is_there() {
    let mut documents = vec!["README.md".to_owned(), "DESIGN.md".into(), "CONTRIBUTING.md".into(), "SECURITY.md".into()];
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        documents.push(format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    for document in documents {
        let text = read(&document);
        for target in quoted(&text).filter_map(|code| code.strip_prefix("make ")) {
            let target = target.split_whitespace().next().unwrap();
            assert!(is_target(target), "{document}: make has no {target}");
        }
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
            let file = Path::new(&document).with_file_name(link.split('#').next().unwrap());
            assert!(exists(file.to_str().unwrap()), "{document}: there is no {link}");
        }
    }
}
