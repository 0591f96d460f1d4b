"""deploy/iam/, judged row by row: who can do what below these policies, and whether every part of every policy is needed for that."""

import json

import pytest

import simulation
import template

ROWS = simulation.rows()
BOUND_DEVELOPER = [row for row in ROWS if row.who == "developer" and not row.identity]
POLICIES = simulation.policies()
# The management account's default takes the fifth of the five places that a root, an OU or an account has.
OPTIONAL = {"scp-rule-matches", "scp-image-names"}
PLACES = 5


@pytest.fixture(scope="session")
def table(plain):
    everything = {
        "PolicyPath": "/ami-warden", "StatusTag": "image-status", "AllowedGranteesParameter": "/security/ami-grantees",
    }  # fmt: skip
    identities = {"the role of the template": template.Stack(plain, everything).policies()["Role/ami-warden"]}
    organization = [simulation.request(row, POLICIES, identities) for row in ROWS]
    # The same, attached to the developer in one account without an organization.
    attached = simulation.organization(POLICIES)
    full = {"name": "full", "policy": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}}
    alone = [
        simulation.request(row, POLICIES, identities) | {"id": alone_id(row), "identity": [full, *attached], "organization": None}
        for row in BOUND_DEVELOPER
    ]
    return organization + alone


def alone_id(row):
    return f"attached: {row.id}"


@pytest.fixture(scope="session")
def verdicts(table):
    return simulation.judge({"rows": table, "mutants": []})["verdicts"]


def test_every_row_is_said_once():
    ids = [row.id for row in ROWS]
    assert sorted({each for each in ids if ids.count(each) > 1}) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_below_the_service_control_policies(row, verdicts):
    answer = verdicts[row.id]
    assert answer["why"] == ""
    assert answer["ignored"] == [], "the request cannot have these keys, so the row proves nothing"
    if row.allowed:
        assert answer["verdict"] == "Allowed", answer["deniedBy"]
    else:
        assert answer["verdict"] in ("ExplicitlyDenied", "ImplicitlyDenied")
        assert answer["deniedBy"] or row.identity or row.asks_key


@pytest.mark.parametrize("row", BOUND_DEVELOPER, ids=lambda row: row.id)
def test_attached_to_a_developer_in_one_account_the_same_policies_decide_the_same(row, verdicts):
    assert (verdicts[alone_id(row)]["verdict"] == "Allowed") == row.allowed


def test_every_part_of_every_policy_makes_a_row_true(table, verdicts):
    """A statement, an action, a resource, a condition or an exempt role that could go without a row noticing is not tested."""
    documents = POLICIES | {"key": simulation.key_policy()}
    bound = [row for row in table if not row["id"].startswith("attached: ")]
    noticed = simulation.try_mutants(bound, verdicts, documents)
    assert len(noticed) > 150
    assert [mutant for mutant, row in noticed.items() if row is None] == []


def test_the_engine_is_pinned_by_hash_and_to_no_registry():
    lock = json.loads((simulation.FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) >= 4
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, f"{name}: install with the .npmrc of this folder"


def test_the_policies_fit_on_one_target_beside_the_default():
    always = [name for name in POLICIES if name.startswith("scp-") and name not in OPTIONAL]
    assert len(always) + 1 <= PLACES
