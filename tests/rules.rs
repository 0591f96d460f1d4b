//! The parser of rules says of every case what the JSON Schema for editors says: `deploy/tests/test_rules_schema.py` runs the same cases.

use ami_warden::policy::Policy;
use serde_json::Value;

fn parses(rules: &Value) -> bool {
    Policy::parse("/ami-warden", [("/ami-warden/rules".to_owned(), rules.to_string())]).is_ok()
}

fn cases(kind: &str) -> Vec<Value> {
    let cases: Value = serde_json::from_str(include_str!("../deploy/tests/rules.json")).unwrap();
    cases[kind].as_array().unwrap().clone()
}

#[test]
fn the_parser_accepts_what_the_schema_accepts() {
    for rules in cases("valid") {
        assert!(parses(&rules), "{rules}");
    }
}

#[test]
fn the_parser_refuses_what_the_schema_refuses() {
    for rules in cases("invalid") {
        assert!(!parses(&rules), "{rules}");
    }
}
