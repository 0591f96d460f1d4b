"""The JSON Schema of answers says what the function's own examples say: src/tell/answer.rs writes tests/answers.json."""

import copy
import json
import pathlib

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "deploy/answer.schema.json").read_text())
ANSWERS = json.loads((ROOT / "tests/answers.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def objects(schema):
    """Every schema of an object with named keys, with its place."""
    stack = [("", schema)]
    while stack:
        place, part = stack.pop()
        if isinstance(part, dict):
            # Conditions repeat keys; the objects themselves close the list of their keys.
            if part.get("additionalProperties") is False:
                yield place, part
            stack += [(f"{place}/{key}", value) for key, value in part.items()]
        elif isinstance(part, list):
            stack += [(f"{place}/{number}", value) for number, value in enumerate(part)]


def values(answer):
    """Every object in an answer."""
    stack = [answer]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            yield part
        if isinstance(part, (dict, list)):
            stack += part.values() if isinstance(part, dict) else part


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ANSWERS)
def test_the_schema_accepts_every_answer(name):
    VALIDATOR.validate(ANSWERS[name])


def test_every_key_of_the_schema_occurs_in_an_answer():
    examples = [value for answer in ANSWERS.values() for value in values(answer)]
    missing = []
    for place, schema in objects(SCHEMA):
        validator = jsonschema.Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]})
        mine = [value for value in examples if validator.is_valid(value)]
        missing += [f"{place}: {key}" for key in schema["properties"] if not any(key in value for value in mine)]
    assert not missing


def edited(name, edit):
    answer = copy.deepcopy(ANSWERS[name])
    edit(answer)
    return answer


WRONG = {
    "an unknown key": lambda answer: answer.update(Sumary={}),
    "no summary": lambda answer: answer.pop("Summary"),
    "an unknown outcome": lambda answer: answer["Images"][0].update(Outcome="done"),
    "a failed image without an error": lambda answer: answer["Images"][1].update(Outcome="failed"),
    "a refused image without a refusal": lambda answer: answer["Images"][0].update(Refusals=[]),
    "an unknown code": lambda answer: answer["Images"][0]["Refusals"][0].update(Code="no"),
    "a refusal of EC2 without its code": lambda answer: answer["Images"][0]["Refusals"][0].pop("Ec2Code"),
    "an unknown attribute": lambda answer: answer["Images"][2]["Changes"][0].update(Attribute="kernel"),
    "a grantee that is none": lambda answer: answer["Images"][2]["Changes"][-1].update(Add=["bob"]),
    "a change of permissions without its end": lambda answer: answer["Images"][2]["Changes"][-1].pop("After"),
    "a skipped image without a reason": lambda answer: answer["Images"][-1].pop("Reason"),
    "more of a list that is not there": lambda answer: answer.update(More={"Images": 1}),
    "nothing left to do": lambda answer: answer.update(Continue={}),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_schema_refuses(name):
    assert not VALIDATOR.is_valid(edited("look", WRONG[name]))
