//! The parser of rules and the JSON Schema for editors agree on every case of
//! `deploy/tests/rules.json`; `deploy/tests/test_rules_schema.py` runs the same cases.

use ami_warden_core::{Policy, StoredParameter, StoredValue};
use serde_json::Value;

fn parses(rules: &Value) -> bool {
    let parameter = StoredParameter {
        name: "/ami-warden/rules".to_owned(),
        value: StoredValue::Text(rules.to_string()),
        modified: None,
    };
    Policy::parse("/ami-warden", vec![parameter], None).is_ok()
}

fn cases(kind: &str) -> Vec<Value> {
    let cases: Value = serde_json::from_str(include_str!("../deploy/tests/rules.json")).unwrap();
    cases[kind].as_array().unwrap().clone()
}

#[test]
fn the_parser_accepts_every_case_that_the_schema_accepts() {
    for rules in cases("valid") {
        assert!(parses(&rules), "{rules}");
    }
}

#[test]
fn the_parser_refuses_every_case_that_the_schema_refuses() {
    for rules in cases("invalid") {
        assert!(!parses(&rules), "{rules}");
    }
}
