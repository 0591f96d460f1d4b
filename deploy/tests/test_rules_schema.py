"""The JSON Schema for rules and the function's own parser agree: tests/rules.rs runs the same cases."""

import json
import pathlib

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "deploy/rules.schema.json").read_text())
CASES = json.loads((ROOT / "deploy/tests/rules.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("rules", CASES["valid"], ids=json.dumps)
def test_the_schema_accepts_what_the_parser_accepts(rules):
    VALIDATOR.validate(rules)


@pytest.mark.parametrize("rules", CASES["invalid"], ids=json.dumps)
def test_the_schema_refuses_what_the_parser_refuses(rules):
    assert not VALIDATOR.is_valid(rules)
