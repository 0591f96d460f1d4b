//! Statements for the policies of keys, so that recipients can use the image.
//!
//! A recipient needs the key of every encrypted snapshot, and an IAM policy in their own account
//! that allows the same. The calls are those of
//! <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-modifying-snapshot-permissions.html#share-kms-key>.

use std::collections::{BTreeMap, BTreeSet};

use ami_warden_core::{AccountId, Grantee, ImageId, KeyFacts, LaunchPermissions};
use serde::Serialize;
use serde_json::{Value, json};

/// The most bytes of a key policy:
/// <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>.
pub const POLICY_BYTES_MAX: usize = 32_768;

/// The use of a key by EC2 for a recipient.
const USE_ACTIONS: [&str; 4] = [
    "kms:DescribeKey",
    "kms:Decrypt",
    "kms:ReEncrypt*",
    "kms:GenerateDataKey*",
];

/// The operations of a grant for Auto Scaling's role:
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html>.
const AUTO_SCALING_OPERATIONS: [&str; 8] = [
    "Encrypt",
    "Decrypt",
    "ReEncryptFrom",
    "ReEncryptTo",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "DescribeKey",
    "CreateGrant",
];

/// Auto Scaling's role in the account of the person who makes the grant, with any suffix of its
/// name.
const AUTO_SCALING_ROLE: &str = "iam::${aws:PrincipalAccount}:\
    role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling*";

/// A statement of a key policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    sid: String,
    effect: &'static str,
    principal: Value,
    action: Value,
    /// In a key policy: this key.
    resource: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    condition: Value,
}

/// A key, and the statements for the recipients that need it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyAdvice {
    /// The ARN of the key.
    #[serde(rename = "KeyId")]
    pub key: String,
    /// The images with snapshots under it.
    #[serde(serialize_with = "texts")]
    pub images: BTreeSet<ImageId>,
    /// The grantees that may launch these images, or would be let in.
    #[serde(serialize_with = "texts")]
    pub grantees: LaunchPermissions,
    /// Those among them who certainly cannot use the key now.
    #[serde(serialize_with = "texts", skip_serializing_if = "BTreeSet::is_empty")]
    pub without_key: LaunchPermissions,
    /// Sentences that a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The statements to add to the key's policy.
    #[serde(rename = "Statement")]
    pub statements: Vec<Statement>,
}

fn texts<T: ToString, S: serde::Serializer>(
    items: &BTreeSet<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(ToString::to_string))
}

/// The need for a key: who needs it, for which images.
#[derive(Debug, Clone, Default)]
pub struct Need {
    /// The images with snapshots under the key.
    pub images: BTreeSet<ImageId>,
    /// The grantees that may launch these images, or would be let in.
    pub grantees: LaunchPermissions,
}

/// The advice for each key that somebody needs.
pub fn advice(
    needs: &BTreeMap<String, Need>,
    facts: &BTreeMap<String, KeyFacts>,
    owner: &AccountId,
) -> Vec<KeyAdvice> {
    let mut advice = Vec::new();
    for (key, need) in needs {
        let mut one = KeyAdvice {
            key: key.clone(),
            images: need.images.clone(),
            grantees: need.grantees.clone(),
            without_key: LaunchPermissions::new(),
            notes: Vec::new(),
            statements: statements(partition(key), owner, &need.grantees),
        };
        if account(key) != owner.as_str() {
            let account = account(key);
            one.notes.push(format!(
                "The key belongs to account {account}: change its policy there."
            ));
        }
        if need.grantees.contains(&Grantee::All) {
            one.notes
                .push("A public image needs unencrypted snapshots.".to_owned());
        }
        judge(&mut one, facts.get(key), owner);
        let bytes = serde_json::to_string(&one.statements).map_or(0, |json| json.len());
        if bytes > POLICY_BYTES_MAX {
            one.notes.push(format!(
                "The statements have {bytes} bytes, and a key policy holds {POLICY_BYTES_MAX}: \
                 share with an organization or its units instead of with single accounts."
            ));
        }
        advice.push(one);
    }
    advice
}

/// Takes in the facts about the key.
fn judge(advice: &mut KeyAdvice, facts: Option<&KeyFacts>, owner: &AccountId) {
    match facts {
        Some(KeyFacts::Known(key)) if key.aws_managed => {
            advice.statements.clear();
            advice.notes.push(
                "AWS manages this key, so nobody else can use it: copy the images with a customer \
                 managed key, and share the copies."
                    .to_owned(),
            );
        }
        Some(KeyFacts::Known(key)) => {
            if key.is_unusable() {
                advice
                    .notes
                    .push(format!("The key is {}: nobody can use it.", key.state));
            }
            if let Some(reach) = &key.reach {
                let cannot = |grantee: &&Grantee| !reach.could_reach(grantee, owner);
                advice.without_key = advice.grantees.iter().filter(cannot).cloned().collect();
            }
        }
        Some(KeyFacts::Unknown(reason)) => {
            advice
                .notes
                .push(format!("The key was not looked at: {reason}."));
        }
        None => {}
    }
}

/// The statements that let these grantees launch from snapshots under a key, on their own, through
/// EC2 and through Auto Scaling. None for the owner, whom the key's own policy concerns, and for
/// `all`.
pub fn statements(
    partition: &str,
    owner: &AccountId,
    grantees: &LaunchPermissions,
) -> Vec<Statement> {
    let mut accounts = Vec::new();
    let mut organizations = Vec::new();
    let mut units = Vec::new();
    for grantee in grantees {
        match grantee {
            Grantee::Account(account) if account == owner => {}
            Grantee::Account(account) => accounts.push(account.as_str()),
            Grantee::Organization(arn) => organizations.push(id(arn).to_owned()),
            Grantee::OrganizationalUnit(arn) => units.extend(paths(arn)),
            Grantee::All => {}
        }
    }
    let mut statements = Vec::new();
    if !accounts.is_empty() {
        let root = |account: &&str| format!("arn:{partition}:iam::{account}:root");
        let roots: Vec<String> = accounts.iter().map(root).collect();
        let principal = json!({ "AWS": roots });
        statements.extend(three("Accounts", partition, &principal, &Value::Null));
    }
    let anybody = json!({ "AWS": "*" });
    if !organizations.is_empty() {
        let members = json!({ "StringEquals": { "aws:PrincipalOrgID": organizations } });
        statements.extend(three("Organizations", partition, &anybody, &members));
    }
    if !units.is_empty() {
        let members = json!({ "ForAnyValue:StringLike": { "aws:PrincipalOrgPaths": units } });
        statements.extend(three("OrganizationalUnits", partition, &anybody, &members));
    }
    statements
}

/// The use of the key; the grants that EC2 makes for a launch; and the grant that somebody must
/// make by hand for Auto Scaling's role. No AWS service makes that one, so a statement with
/// `kms:GrantIsForAWSResource` would not allow it.
fn three(party: &str, partition: &str, principal: &Value, members: &Value) -> [Statement; 3] {
    let statement = |purpose: &str, action: Value, condition: Value| Statement {
        sid: format!("AmiWarden{party}{purpose}"),
        effect: "Allow",
        principal: principal.clone(),
        action,
        resource: "*",
        condition: merged([members.clone(), condition]),
    };
    let role = format!("arn:{partition}:{AUTO_SCALING_ROLE}");
    let for_aws = json!({ "Bool": { "kms:GrantIsForAWSResource": "true" } });
    let for_auto_scaling = json!({
        "StringLike": { "kms:GranteePrincipal": role },
        "ForAllValues:StringEquals": { "kms:GrantOperations": AUTO_SCALING_OPERATIONS },
        // Without a value the operator above would hold.
        "Null": { "kms:GrantOperations": "false" },
    });
    [
        statement("Use", json!(USE_ACTIONS), Value::Null),
        statement("Attach", json!("kms:CreateGrant"), for_aws),
        statement("AutoScaling", json!("kms:CreateGrant"), for_auto_scaling),
    ]
}

/// Both conditions in one; null without any. They have no operator in common.
fn merged(conditions: [Value; 2]) -> Value {
    let mut all = serde_json::Map::new();
    for condition in conditions {
        if let Value::Object(operators) = condition {
            all.extend(operators);
        }
    }
    if all.is_empty() {
        Value::Null
    } else {
        Value::Object(all)
    }
}

/// The last part of an ARN's resource.
fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

/// The paths of the accounts in an organizational unit and in the units below it. Its ARN does not
/// say where the unit lies below the root, so a wildcard stands there; no other unit's id can end
/// in this one's, since ids hold no further `ou-`.
fn paths(arn: &str) -> Option<String> {
    let (rest, unit) = arn.rsplit_once('/')?;
    let organization = id(rest);
    let root = unit.strip_prefix("ou-")?.split('-').next()?;
    Some(format!("{organization}/r-{root}/*{unit}/*"))
}

/// `aws` of `arn:aws:kms:eu-west-1:111122223333:key/…`
fn partition(key: &str) -> &str {
    key.split(':').nth(1).unwrap_or("aws")
}

/// The account of a key's ARN.
fn account(key: &str) -> &str {
    key.split(':').nth(4).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ami_warden_core::{
        Key, KeyReach,
        testing::{accounts, grantees, image},
    };

    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/00000000-1111-2222-3333-444444444444";
    const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
    const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";

    fn owner() -> AccountId {
        "111122223333".parse().unwrap()
    }

    fn sids(list: &str) -> Vec<String> {
        statements("aws", &owner(), &grantees(list))
            .into_iter()
            .map(|one| one.sid)
            .collect()
    }

    fn advice_for(list: &str, key: &str, facts: KeyFacts) -> KeyAdvice {
        let need = Need {
            images: BTreeSet::from([image().id]),
            grantees: grantees(list),
        };
        let facts = BTreeMap::from([(key.to_owned(), facts)]);
        advice(&BTreeMap::from([(key.to_owned(), need)]), &facts, &owner()).remove(0)
    }

    fn known(aws_managed: bool, state: &str, reach: Option<&str>) -> KeyFacts {
        let reach = reach.map(|list| KeyReach {
            anybody: false,
            accounts: accounts(list),
        });
        KeyFacts::Known(Key {
            aws_managed,
            state: state.into(),
            reach,
        })
    }

    /// After a change, write the file anew (`UPDATE_KEY_POLICY=1 cargo test key_policy`) and read
    /// the difference. `deploy/tests/test_key_policy.py` judges it with a policy simulator.
    #[test]
    fn the_statements_for_every_kind_of_grantee_are_those_of_the_file() {
        let everybody = format!("444455556666 555566667777 {ORGANIZATION} {UNIT}");
        let statements = statements("aws", &owner(), &grantees(&everybody));
        let written = serde_json::to_string_pretty(&statements).unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/key_policy.json");
        if std::env::var_os("UPDATE_KEY_POLICY").is_some() {
            fs::write(path, &written).unwrap();
        }
        assert_eq!(written, fs::read_to_string(path).unwrap());
    }

    #[test]
    fn there_are_statements_for_those_who_need_them_and_for_nobody_else() {
        assert_eq!(sids("111122223333 all"), [""; 0]);
        assert_eq!(
            sids("111122223333 444455556666"),
            [
                "AmiWardenAccountsUse",
                "AmiWardenAccountsAttach",
                "AmiWardenAccountsAutoScaling"
            ]
        );
        assert_eq!(
            sids(&format!("{ORGANIZATION} {UNIT} 444455556666")).len(),
            9
        );
    }

    #[test]
    fn the_partition_is_that_of_the_key() {
        let key = KEY.replace("aws", "aws-cn");
        let advice = advice_for("444455556666", &key, known(false, "Enabled", None));
        assert_eq!(
            advice.statements[0].principal,
            json!({ "AWS": ["arn:aws-cn:iam::444455556666:root"] })
        );
    }

    #[test]
    fn a_unit_is_found_wherever_it_lies_below_the_root() {
        assert_eq!(
            paths(UNIT).unwrap(),
            "o-exampleorgid/r-ab12/*ou-ab12-cdef3456/*"
        );
    }

    #[test]
    fn those_who_certainly_cannot_use_the_key_now_are_named() {
        let advice = advice_for(
            "444455556666 555566667777",
            KEY,
            known(false, "Enabled", Some("444455556666")),
        );
        assert_eq!(advice.without_key, grantees("555566667777"));
        assert_eq!(advice.notes, [""; 0]);
        let advice = advice_for("444455556666", KEY, known(false, "Enabled", None));
        assert_eq!(
            advice.without_key,
            grantees(""),
            "an unread policy proves nothing"
        );
    }

    #[test]
    fn a_key_that_no_statement_helps_has_a_note() {
        let aws_managed = advice_for("444455556666", KEY, known(true, "Enabled", None));
        assert!(
            aws_managed.statements.is_empty() && aws_managed.notes[0].contains("copy the images")
        );
        for (key, facts, words) in [
            (
                KEY,
                known(false, "PendingDeletion", None),
                "The key is PendingDeletion",
            ),
            (
                KEY,
                KeyFacts::Unknown("DescribeKey failed".into()),
                "not looked at: DescribeKey failed",
            ),
            (
                &*KEY.replace("1111", "9999"),
                known(false, "Enabled", None),
                "belongs to account 99992222",
            ),
        ] {
            let advice = advice_for("444455556666", key, facts);
            assert!(advice.notes[0].contains(words), "{:?}", advice.notes);
            assert_eq!(advice.statements.len(), 3);
        }
    }

    #[test]
    fn statements_that_no_key_policy_can_hold_are_told() {
        let many: Vec<String> = (1..1000).map(|number| format!("{number:012}")).collect();
        let advice = advice_for(&many.join(" "), KEY, known(false, "Enabled", None));
        assert!(
            advice.notes[0].contains("a key policy holds 32768"),
            "{:?}",
            advice.notes
        );
    }
}
