"""The table of deploy/tests/iam-simulation/rows.yaml, and its judge: an engine that knows service control policies and condition keys.

The engine runs under Node, once for the whole table and once more for all broken policies. It knows which condition keys a request
can have, and leaves out those that it cannot: a row with such a key is an error here, since it would prove nothing.
"""

from __future__ import annotations

import copy
import fnmatch
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

import iam
from template import ROOT

FOLDER = ROOT / "deploy/tests/iam-simulation"
INSTALLED = ROOT / ".venv/node"
SHIPPED = sorted((ROOT / "deploy/iam").glob("*.json"))
ACCOUNT = "111122223333"
OWN_ACCOUNT = "ThisAccountDecidesByIam"  # what every key policy begins with; not what is tested here


@dataclass(frozen=True)
class Row:
    """One line of the table: a request, and whether it must be allowed."""

    about: str
    who: str
    allowed: bool
    action: str
    to: str | None
    principal: str
    resource: str
    context: dict = field(hash=False)
    note: str
    identity: str | None
    """A policy that the principal has instead of `Allow *`."""
    asks_key: bool
    """The key policy of deploy/README.md answers."""

    @property
    def id(self) -> str:
        words = [self.who, "can" if self.allowed else "cannot", self.action]
        words += ["on the", self.to] if self.to else []
        return f"{self.about}: {' '.join(words)}{f', {self.note}' if self.note else ''}"

    @property
    def is_bound(self) -> bool:
        """No service control policy binds a service-linked role (Organizations User Guide, orgs_manage_policies_scps)."""
        return ":role/aws-service-role/" not in self.principal and f"::{ACCOUNT}:" in self.principal


def rows() -> list[Row]:
    table = yaml.safe_load((FOLDER / "rows.yaml").read_text(encoding="utf-8"))
    found = []
    for group in table["groups"]:
        for line in group["rows"]:
            unknown = set(line) - {"can", "cannot", "do", "to", "with", "note"}
            assert not unknown and ("can" in line) != ("cannot" in line), f"{group['about']}: {line}"
            for who in line.get("can") or line["cannot"]:
                for action in line["do"]:
                    for to in line.get("to", [None]):
                        found.append(
                            Row(
                                about=group["about"],
                                who=who,
                                allowed="can" in line,
                                action=action,
                                to=to,
                                principal=table["principals"][who],
                                resource=table["resources"][to] if to else "*",
                                context=line.get("with", {}),
                                note=line.get("note", ""),
                                identity=group.get("identity"),
                                asks_key=group.get("key", False),
                            )
                        )
    return found


def policies() -> dict[str, dict]:
    """The shipped policies by the names of their files."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in SHIPPED}


def organization(documents: dict[str, dict]) -> list[dict]:
    return [{"name": name, "policy": document} for name, document in documents.items() if name.startswith("scp-")]


@cache
def key_policy() -> dict:
    """The statements that deploy/README.md gives for a key, below the one that lets the key's own account decide by IAM."""
    text = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r'(?m)^ +\{ "Sid": "LaunchSharedImages",.*(?:\n +.*)*?(?=\n\n)', text)
    own = {
        "Sid": OWN_ACCOUNT,
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return {"Version": "2012-10-17", "Statement": [own, *json.loads(f"[{block}]")]}


def request(row: Row, documents: dict[str, dict], identities: dict[str, dict]) -> dict:
    """What the engine is asked. The context has what AWS itself always puts there, and what the row names."""
    context = {"aws:PrincipalArn": row.principal, "aws:PrincipalAccount": row.principal.split(":")[4], **row.context}
    identity = identities | documents
    return {
        "id": row.id,
        "request": {
            "principal": row.principal,
            "action": row.action,
            "resource": {"resource": row.resource, "accountId": ACCOUNT},
            "contextVariables": context,
        },
        "identity": [{"name": row.identity, "policy": identity[row.identity]}] if row.identity else None,
        "organization": organization(documents) if row.is_bound else None,
        "resourcePolicy": key_policy() if row.asks_key else None,
    }


def judge(table: dict) -> dict:
    node = shutil.which("node")
    assert node, "Node is not installed: on Debian and Ubuntu `apt install nodejs npm`"
    assert (INSTALLED / ".done").exists(), "the engine is not installed: `make .venv/node/.done`"
    run = subprocess.run(
        [node, FOLDER / "simulate.mjs", INSTALLED], input=json.dumps(table), capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


# --- Policies broken on purpose -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """A policy without one of its parts."""

    policy: str
    sid: str
    what: str
    statement: dict | None = field(hash=False)
    """What is left of the statement; `None` where all of it is taken out."""
    widens: bool
    """Whether it can only match more than before, and not less."""

    @property
    def id(self) -> str:
        return f"{self.policy}/{self.sid} without {self.what}"


def mutants(policy: str, document: dict) -> Iterator[Mutant]:
    for statement in document["Statement"]:
        sid = statement["Sid"]
        if sid == OWN_ACCOUNT:
            continue
        yield Mutant(policy, sid, "all of it", None, widens=False)
        for key in ("Action", "Resource", "NotAction"):
            values = statement.get(key)
            if isinstance(values, list):
                for value in values:
                    rest = {**statement, key: [other for other in values if other != value]}
                    yield Mutant(policy, sid, f"{key} {value}", rest, widens=key == "NotAction")
        for operator, tests in statement.get("Condition", {}).items():
            for key, values in tests.items():
                broken = copy.deepcopy(statement)
                del broken["Condition"][operator][key]
                if not broken["Condition"][operator]:
                    del broken["Condition"][operator]
                yield Mutant(policy, sid, f"{operator} {key}", broken, widens=True)
                if isinstance(values, list) and len(values) > 1:
                    for value in values:
                        broken = copy.deepcopy(statement)
                        broken["Condition"][operator][key] = [other for other in values if other != value]
                        yield Mutant(policy, sid, f"{key} {value}", broken, widens="Not" in operator)


def concerns(statement: dict, request: dict) -> bool:
    """Whether a statement could speak of a request, conditions aside. It only saves time: a row left out wrongly fails the test."""

    def like(value: str, patterns: str | list[str]) -> bool:
        return any(fnmatch.fnmatch(value.lower(), pattern.lower()) for pattern in iam.listed(patterns))

    return like(request["action"], statement.get("Action", "*")) and like(request["resource"]["resource"], statement["Resource"])


def try_mutants(table: list[dict], answers: dict, documents: dict[str, dict]) -> dict[str, str | None]:
    """By mutant the row that notices it, or `None`.

    Where a statement denies less, only a row that this statement alone denied can change; where it denies more, only a row that was
    allowed can, and this statement alone decides. So a mutant of a service control policy is tried without the others. Statements that
    allow (the publishers', the key's) are tried on the rows that ask them.
    """
    trials = []
    for policy, document in documents.items():
        for mutant in mutants(policy, document):
            left = [mutant.statement] if mutant.statement else []
            if policy.startswith("scp-"):
                put = {"organization": [{"name": policy, "policy": {**document, "Statement": left}}] if left else []}
                denied = f"{policy}/{mutant.sid}"
                asked = [
                    row["id"]
                    for row in table
                    if row["organization"] is not None
                    and (
                        answers[row["id"]]["verdict"] == "Allowed" and concerns(mutant.statement, row["request"])
                        if mutant.widens
                        else set(answers[row["id"]]["deniedBy"]) == {denied}
                    )
                ]
            else:
                statements = [other for other in document["Statement"] if other["Sid"] != mutant.sid] + left
                broken = {**document, "Statement": statements}
                if policy == "key":
                    put = {"resourcePolicy": broken}
                    asked = [row["id"] for row in table if row["resourcePolicy"]]
                else:
                    put = {"identity": [{"name": policy, "policy": broken}]}
                    asked = [row["id"] for row in table if row["identity"] and row["identity"][0]["name"] == policy]
            trials.append({"id": mutant.id, "rows": asked, "put": put})
    return judge({"rows": table, "mutants": trials})["noticed"]
