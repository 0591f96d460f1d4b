"""The templates for many accounts: what they say, and that an alarm finds its way from a member to the topic."""

import json
import subprocess

import pytest

import emulators
import iam
import template

FLEET, MEMBER = (template.ROOT / "deploy" / name for name in ("fleet.yaml", "fleet-member.yaml"))
BUS = "arn:aws:events:eu-west-1:999988887777:event-bus/ami-warden-alarms"


@pytest.fixture
def fleet():
    return template.Stack(template.load(FLEET), {"OrganizationId": "o-exampleorgid", "Regions": "eu-west-1,us-east-1,us-west-2"})


@pytest.fixture
def member():
    return template.Stack(template.load(MEMBER), {"AlarmBusArn": BUS})


def alarm(name: str, state: str = "ALARM", **envelope: str) -> dict:
    """The event of CloudWatch's documentation, as far as a pattern looks."""
    return {
        "version": "0",
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": "111122223333",
        "time": "2026-03-25T16:30:25Z",
        "region": "eu-west-1",
        "resources": [f"arn:aws:cloudwatch:eu-west-1:111122223333:alarm:{name}"],
        "detail": {
            "alarmName": name,
            "state": {"value": state, "reason": "Threshold Crossed", "timestamp": "2026-03-25T16:30:25.123+0000"},
            "previousState": {"value": "OK", "timestamp": "2026-03-25T10:30:25.123+0000"},
            "configuration": {"metrics": []},
        },
        **envelope,
    }


def test_cfn_lint_has_nothing_to_say():
    run = subprocess.run([emulators.beside_python("cfn-lint"), "--template", FLEET, MEMBER], capture_output=True, text=True)
    assert run.stdout == ""


def test_a_member_sends_the_alarms_of_its_own_stacks_to_the_bus_and_no_others(matcher, member):
    (rule,) = member.resources("AWS::Events::Rule").values()
    pattern = json.dumps(rule["Properties"]["EventPattern"])

    def sent(event):
        return matcher.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]

    name = "StackSet-ami-warden-0b8ea0f9-SweepAlarm-1ABC"
    assert sent(alarm(name)) and sent(alarm(name, "OK"))
    assert not sent(alarm(name, "INSUFFICIENT_DATA"))
    assert not sent(alarm("StackSet-payments-0b8ea0f9-SweepAlarm-1ABC"))
    assert not sent(alarm(name, account="444455556666")), "forwarded from elsewhere"
    (target,) = rule["Properties"]["Targets"]
    assert target["Arn"] == BUS
    assert target["RoleArn"] == member._attribute("Role", "Arn")
    assert target["DeadLetterConfig"]["Arn"] == member._attribute("UndeliveredAlarms", "Arn")


def test_the_bus_takes_events_of_the_organizations_members_by_that_role_alone(fleet, member):
    (policy,) = fleet.resources("AWS::Events::EventBusPolicy").values()
    statement = policy["Properties"]["Statement"]
    role = member._attribute("Role", "Arn")
    assert statement["Action"] == "events:PutEvents" and statement["Resource"] == fleet._attribute("AlarmBus", "Arn")
    inside = {"aws:PrincipalOrgID": "o-exampleorgid", "aws:PrincipalArn": role}
    document = {"Statement": [statement]}
    assert iam.decision(document, "events:PutEvents", statement["Resource"], inside) == "Allow"
    for outside in ({**inside, "aws:PrincipalOrgID": "o-another"}, {**inside, "aws:PrincipalArn": "arn:aws:iam::111122223333:role/developer"}):
        assert iam.decision(document, "events:PutEvents", statement["Resource"], outside) == "Silent"


def test_what_arrives_becomes_a_sentence_for_the_topic(matcher, fleet):
    (rule,) = fleet.resources("AWS::Events::Rule").values()
    event = alarm("StackSet-ami-warden-0b8ea0f9-SweepAlarm-1ABC")
    assert matcher.test_event_pattern(EventPattern=json.dumps(rule["Properties"]["EventPattern"]), Event=json.dumps(event))["Result"]
    (target,) = rule["Properties"]["Targets"]
    text = target["InputTransformer"]["InputTemplate"]
    for name, path in target["InputTransformer"]["InputPathsMap"].items():
        value = event
        for key in path.removeprefix("$.").split("."):
            value = value[key]
        text = text.replace(f"<{name}>", value)
    assert json.loads(text).startswith(
        "StackSet-ami-warden-0b8ea0f9-SweepAlarm-1ABC is ALARM (was OK) since 2026-03-25T16:30:25Z, in account 111122223333, Region eu-west-1."
    )
    topic = fleet.policies()["AlarmTopicPolicy"]
    assert topic["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"] == fleet._attribute("AlarmRule", "Arn")
    assert target["DeadLetterConfig"]["Arn"] == fleet._attribute("UndeliveredAlarms", "Arn")


def test_no_policy_names_what_does_not_exist(fleet, member):
    for stack in (fleet, member):
        for name, document in stack.policies().items():
            assert iam.lint(document) == [], name


def test_the_dashboard_shows_every_account_and_the_region_that_is_chosen(fleet):
    body = json.loads(fleet.resources()["Dashboard"]["Properties"]["DashboardBody"])
    (choice,) = body["variables"]
    assert [each["value"] for each in choice["values"]] == ["eu-west-1", "us-east-1", "us-west-2"]
    assert (choice["property"], choice["defaultValue"]) == ("region", "eu-west-1")
    for widget in body["widgets"]:
        assert widget["properties"]["region"] == "eu-west-1"
        assert "SEARCH('{AmiWarden," in json.dumps(widget["properties"]["metrics"])
