"""The statements that `ami-warden-plan --key-policy` prints, judged by the engine that also judges deploy/iam/.

They stand in cli/tests/key_policy.json, which a test of cli/src/key_policy.rs keeps: for two accounts, an organization and one of its units.
"""

from __future__ import annotations

import json

import simulation
from template import ROOT

KEY = "arn:aws:kms:eu-west-1:111122223333:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
STATEMENTS = json.loads((ROOT / "cli/tests/key_policy.json").read_text(encoding="utf-8"))
OWN = {"Sid": "Own", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kms:*", "Resource": "*"}
NAMED, MEMBER, IN_UNIT, STRANGER = "444455556666", "777788889999", "888899990000", "999900001111"
ORGANIZATION = {"aws:PrincipalOrgID": "o-exampleorgid"}
PATHS = {
    MEMBER: {**ORGANIZATION, "aws:PrincipalOrgPaths": ["o-exampleorgid/r-ab12/ou-ab12-00000000/"]},
    IN_UNIT: {**ORGANIZATION, "aws:PrincipalOrgPaths": ["o-exampleorgid/r-ab12/ou-ab12-00000000/ou-ab12-cdef3456/ou-ab12-99999999/"]},
    STRANGER: {"aws:PrincipalOrgID": "o-anotherorgid", "aws:PrincipalOrgPaths": ["o-anotherorgid/r-ab12/ou-ab12-cdef3456/"]},
}
USE = ["DescribeKey", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"]
OPERATIONS = ["Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "DescribeKey", "CreateGrant"]


def role(account: str, name: str = "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling") -> str:
    return f"arn:aws:iam::{account}:role/aws-service-role/{name}"


def by_ec2() -> dict:
    return {"kms:GrantIsForAWSResource": "true", "kms:GrantOperations": ["Decrypt", "CreateGrant"]}


def by_hand(grantee: str, operations: list[str] = OPERATIONS) -> dict:
    return {"kms:GrantIsForAWSResource": "false", "kms:GranteePrincipal": grantee, "kms:GrantOperations": operations}


def verdicts(party: str, asked: list[tuple[str, str, dict]]) -> list[bool]:
    """Whether these requests are allowed by the statements for one kind of grantee."""
    statements = [statement for statement in STATEMENTS if statement["Sid"] in {f"AmiWarden{party}{purpose}" for purpose in PURPOSES}]
    assert len(statements) == 3
    rows = []
    for number, (account, action, context) in enumerate(asked):
        principal = f"arn:aws:iam::{account}:role/launcher"
        always = {"aws:PrincipalArn": principal, "aws:PrincipalAccount": account, **PATHS.get(account, {})}
        rows.append(
            {
                "id": str(number),
                "request": {
                    "principal": principal,
                    "action": f"kms:{action}",
                    "resource": {"resource": KEY, "accountId": "111122223333"},
                    "contextVariables": {**always, **context},
                },
                "identity": None,
                "organization": None,
                "resourcePolicy": {"Version": "2012-10-17", "Statement": [OWN, *statements]},
            }
        )
    answers = simulation.judge({"rows": rows, "mutants": []})["verdicts"]
    for row in rows:
        assert answers[row["id"]]["verdict"] != "Error", answers[row["id"]]["why"]
        assert answers[row["id"]]["ignored"] == [], row
    return [answers[row["id"]]["verdict"] == "Allowed" for row in rows]


PURPOSES = ("Use", "Attach", "AutoScaling")


def check(party: str, inside: str, outside: list[str]) -> None:
    asked = []
    for account in [inside, *outside]:
        asked += [(account, action, {}) for action in USE]
        asked += [(account, "CreateGrant", by_ec2()), (account, "CreateGrant", by_hand(role(account)))]
    asked += [(inside, "CreateGrant", by_hand(role(inside) + "_team"))]
    wrong = [
        (inside, "PutKeyPolicy", {}),
        (inside, "Encrypt", {}),
        (inside, "CreateGrant", by_hand(role("123412341234"))),
        (inside, "CreateGrant", by_hand(role(inside, "spot.amazonaws.com/AWSServiceRoleForEC2Spot"))),
        (inside, "CreateGrant", by_hand(f"arn:aws:iam::{inside}:role/launcher")),
        (inside, "CreateGrant", by_hand(role(inside), [*OPERATIONS, "Sign"])),
        (inside, "CreateGrant", {"kms:GrantIsForAWSResource": "false", "kms:GranteePrincipal": role(inside)}),
    ]
    told = verdicts(party, asked + wrong)
    expected = [account == inside for account, _, _ in asked] + [False] * len(wrong)
    assert [(a, t) for a, t, e in zip(asked + wrong, told, expected, strict=True) if t != e] == []


def test_a_named_account_can_launch_and_grant_to_its_own_auto_scaling_and_no_more() -> None:
    check("Accounts", NAMED, [MEMBER, STRANGER])


def test_an_account_of_the_organization_can_and_no_other() -> None:
    check("Organizations", MEMBER, [STRANGER])


def test_an_account_of_the_unit_and_of_units_below_it_can_and_no_other_of_the_organization() -> None:
    check("OrganizationalUnits", IN_UNIT, [MEMBER, STRANGER])
