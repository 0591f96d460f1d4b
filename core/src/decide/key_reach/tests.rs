//! A table of policies as people write them, and properties.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::testing::{accounts, cases};

/// One row of the table.
#[derive(Deserialize)]
struct Row {
    name: String,
    /// Objects, or a string behind `TEXT:` if it is not to be JSON, or not to be written anew.
    policies: Vec<Value>,
    /// The grantees of grants.
    grants: Vec<String>,
    /// `anybody`, or the accounts.
    reach: Value,
}

fn table() -> Vec<Row> {
    serde_json::from_str(include_str!("../../../tests/key-policies.json")).unwrap()
}

fn text(policy: &Value) -> String {
    match policy {
        Value::String(text) => text.strip_prefix("TEXT:").unwrap().to_owned(),
        policy => policy.to_string(),
    }
}

impl Row {
    fn read(&self) -> KeyReach {
        let policies: Vec<String> = self.policies.iter().map(text).collect();
        key_reach(&policies, &self.grants)
    }
}

#[test]
fn policies_of_real_shapes_reach_these_accounts() {
    let table = table();
    assert!(table.len() >= 60);
    for row in table {
        let reach = row.read();
        match &row.reach {
            Value::String(word) if word == "anybody" => assert!(reach.anybody, "{}", row.name),
            reached => {
                let expected: Vec<String> = serde_json::from_value(reached.clone()).unwrap();
                assert!(!reach.anybody, "{}", row.name);
                let expected = accounts(&expected.join(" "));
                assert_eq!(reach.accounts, expected, "{}", row.name);
            }
        }
    }
}

const OWNER: &str = "111122223333";
const GRANTEES: [&str; 5] = [
    OWNER,
    "444455556666",
    "222233334444",
    "arn:aws:organizations::999988887777:organization/o-exampleorgid",
    "all",
];

/// For each of [`GRANTEES`], whether somebody in it could use the key.
fn could(policies: &[String], grants: &[String]) -> [bool; 5] {
    let reach = key_reach(policies, grants);
    let owner = OWNER.parse().unwrap();
    GRANTEES.map(|grantee| reach.could_reach(&grantee.parse().unwrap(), &owner))
}

fn any_principal() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("*")),
        Just(json!({"AWS": "arn:aws:iam::111122223333:root"})),
        Just(json!({"AWS": "444455556666"})),
        Just(json!({"AWS": ["arn:aws:iam::222233334444:role/a", "444455556666"]})),
        Just(json!({"AWS": "arn:aws:iam::222233334444:role/*"})),
        Just(json!({"Service": "ec2.amazonaws.com"})),
        Just(json!({"AWS": "AIDACKCEVSQ6C2EXAMPLE"})),
        Just(json!({})),
        Just(json!(null)),
    ]
}

fn any_statement() -> impl Strategy<Value = Value> {
    let effect = prop_oneof![5 => Just("Allow"), 2 => Just("Deny"), 1 => Just("allow")];
    let key = prop_oneof![8 => Just("Principal"), 1 => Just("NotPrincipal"), 1 => Just("x")];
    (effect, key, any_principal()).prop_map(|(effect, key, principal)| {
        let mut statement = json!({"Effect": effect, "Action": "kms:*", "Resource": "*"});
        statement[key] = principal;
        statement
    })
}

fn any_grant() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("arn:aws:iam::111122223333:role/a".to_owned()),
        Just("arn:aws:iam::444455556666:role/a".to_owned()),
        Just("ec2.amazonaws.com".to_owned()),
    ]
}

fn policy(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// The policy with all keys in another case.
fn in_another_case(value: &Value, upper: bool) -> Value {
    match value {
        Value::Object(members) => {
            let recased = members.iter().map(|(key, value)| {
                let key = if upper {
                    key.to_uppercase()
                } else {
                    key.to_lowercase()
                };
                (key, in_another_case(value, upper))
            });
            Value::Object(recased.collect())
        }
        Value::Array(items) => items
            .iter()
            .map(|item| in_another_case(item, upper))
            .collect(),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn another_statement_policy_or_grant_never_turns_could_into_cannot(
        statements in prop::collection::vec(any_statement(), 1..4),
        grants in prop::collection::vec(any_grant(), 0..2),
        statement in any_statement(),
        grant in any_grant(),
    ) {
        let before = could(&[policy(&statements)], &grants);
        let more_statements = [statements.clone(), vec![statement.clone()]].concat();
        let more_grants = [grants.clone(), vec![grant]].concat();
        let two = [policy(&statements), policy(&[statement])];
        for after in [
            could(&[policy(&more_statements)], &grants),
            could(&[policy(&statements)], &more_grants),
            could(&two, &grants),
        ] {
            prop_assert!(before.iter().zip(after).all(|(before, after)| after || !before));
        }
    }

    #[test]
    fn conditions_names_order_and_the_case_of_keys_mean_nothing(
        statements in prop::collection::vec(any_statement(), 1..5),
        condition in prop_oneof![
            Just(json!({"StringEquals": {"aws:PrincipalOrgID": "o-exampleorgid"}})),
            Just(json!({"Bool": {"kms:GrantIsForAWSResource": [true]}})),
            Just(json!("unclear")),
        ],
        upper in any::<bool>(),
    ) {
        let plain = could(&[policy(&statements)], &[]);
        let mut other: Vec<Value> = statements.iter().rev().cloned().collect();
        for (number, statement) in other.iter_mut().enumerate() {
            statement["Sid"] = json!(format!("Statement{number}"));
            statement["Condition"] = condition.clone();
            statement["Action"] = json!(["kms:DescribeKey", "kms:CreateGrant"]);
        }
        prop_assert_eq!(could(&[policy(&other)], &[]), plain);
        let all: Value = serde_json::from_str(&policy(&other)).unwrap();
        prop_assert_eq!(could(&[in_another_case(&all, upper).to_string()], &[]), plain);
    }

    #[test]
    fn whatever_is_read_nothing_panics(text in ".{0,60}", grant in ".{0,30}") {
        let reach = key_reach(std::slice::from_ref(&text), &[]);
        prop_assert!(reach.anybody || serde_json::from_str::<Value>(&text).is_ok());
        let _ = key_reach(&[policy(&[json!({"Principal": {"AWS": text}})])], &[grant]);
    }
}
