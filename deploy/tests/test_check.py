"""deploy/check.py: what works is told to work, and each thing that does not is told by its step, while the others are tried."""

import io
import json
import sys
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

import template

sys.path.insert(0, str(template.ROOT / "deploy"))
import check  # noqa: E402
import stacks  # noqa: E402

IMAGE = "ami-0123456789abcdef0"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:alarms"


def denied(operation):
    return ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)


class FakePages:
    def __init__(self, *pages):
        self.pages = pages

    def paginate(self, **_):
        return iter(self.pages)


class World:
    """An account in which all is well, unless a test says otherwise."""

    def __init__(self):
        self.status = "UPDATE_COMPLETE"
        self.configuration = {"State": "Active", "LastUpdateStatus": "Successful"}
        self.pending = 0
        self.concurrency = {}
        self.images = [IMAGE]
        self.invoked = []
        self.looks = lambda request: {"Images": [{"ImageId": request["ImageId"], "Outcome": "skipped", "Reason": "not-found"}]}
        self.writes = lambda request: {"Images": [{"ImageId": request["ImageId"], "Outcome": "planned"}]}
        self.reads = lambda request: {"Images": [{"ImageId": request["ImageId"], "Outcome": "unchanged"}]}
        self.failing = set()
        self.bus = []
        self.lines = lambda pattern: [{"message": pattern}]
        self.rejected = 0
        self.alarms = [{"AlarmName": "ami-warden-ErrorAlarm", "AlarmActions": [TOPIC], "ActionsEnabled": True}]
        self.set_alarms = []
        self.history = [{"HistorySummary": f"Successfully executed action {TOPIC}"}]
        self.subscriptions = "1"

    # lambda
    def get_function_configuration(self, **_):
        self.pending -= 1
        if self.pending >= 0:
            return {"State": "Pending", "LastUpdateStatus": "InProgress", "StateReason": "The function is being created."}
        return self.configuration

    def get_function_concurrency(self, **_):
        return self.concurrency

    def invoke(self, FunctionName, InvocationType, Payload):
        assert (FunctionName, InvocationType) == ("ami-warden-Function", "RequestResponse")
        request = json.loads(Payload)
        assert request["DryRun"] is True, "nothing may be changed"
        self.invoked.append(request)
        answer = self.writes if "Description" in request else self.reads if "LaunchPermission" in request else self.looks
        payload = answer(request)
        error = {"FunctionError": "Unhandled"} if isinstance(payload, dict) and "errorType" in payload else {}
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return {"StatusCode": 200, "Payload": io.BytesIO(body), **error}

    # everything else
    def describe_stacks(self, **_):
        return {"Stacks": [{"StackStatus": self.status}]}

    def get_paginator(self, operation):
        if operation in self.failing:
            raise denied(operation)
        if operation == "describe_images":
            return FakePages({"Images": []}, {"Images": [{"ImageId": each} for each in self.images]})
        if operation == "list_stack_resources":
            named = [{"ResourceType": "AWS::CloudWatch::Alarm", "PhysicalResourceId": each["AlarmName"]} for each in self.alarms]
            return FakePages({"StackResourceSummaries": [{"ResourceType": "AWS::SQS::Queue", "PhysicalResourceId": "q"}, *named]})
        assert operation == "filter_log_events"
        return SimpleNamespace(paginate=lambda logGroupName, filterPattern, startTime: iter([{"events": self.lines(filterPattern)}]))

    def put_events(self, Entries):
        self.bus += Entries
        return {"FailedEntryCount": self.rejected, "Entries": [{"ErrorCode": "InternalFailure"}] if self.rejected else []}

    def get_queue_attributes(self, **_):
        return {"Attributes": {"ApproximateNumberOfMessages": "7"}}

    def describe_alarms(self, AlarmNames):
        return {"MetricAlarms": [each for each in self.alarms if each["AlarmName"] in AlarmNames]}

    def set_alarm_state(self, **call):
        self.set_alarms.append(call)

    def describe_alarm_history(self, AlarmName, HistoryItemType, StartDate):
        assert (AlarmName, HistoryItemType) == ("ami-warden-ErrorAlarm", "Action")
        return {"AlarmHistoryItems": self.history}

    def get_topic_attributes(self, TopicArn):
        assert TopicArn == TOPIC
        if self.subscriptions is None:
            raise denied("GetTopicAttributes")
        return {"Attributes": {"SubscriptionsConfirmed": self.subscriptions}}


@pytest.fixture
def world():
    return World()


@pytest.fixture
def run(world, capsys, monkeypatch):
    """`run("--alarm")`: the exit code, and by verdict what was said."""
    outputs = {"FunctionName": "ami-warden-Function", "LogGroupName": "group", "DeliveryDeadLetterQueueUrl": "https://sqs/delivery"}
    stack = stacks.Stack("ami-warden", "eu-west-1", "111122223333", outputs, lambda service, **_: world)
    monkeypatch.setattr(stacks, "find", lambda options: ([stack], []))
    monkeypatch.setattr(check, "POLL_SECONDS", 0)

    def run(*arguments):
        code = check.main(["--timeout", "0", *arguments])
        told = {"ok": [], "FAILED": [], "not tried": []}
        for line in capsys.readouterr().out.splitlines()[1:]:
            verdict = line[2:11].strip()
            told[verdict].append(line[13:])
        return code, told

    return run


def test_a_deployment_that_works_is_told_to_work_and_nothing_is_changed(world, run):
    code, told = run("--alarm")
    assert (code, told["FAILED"], told["not tried"]) == (0, [], [])
    assert len(told["ok"]) == 8
    look, write, read = world.invoked
    assert look["ImageId"] != world.invoked[1]["ImageId"] == IMAGE
    assert set(write) == {"ImageId", "Description", "DryRun"}
    assert read == {"ImageId": IMAGE, "LaunchPermission": {"Remove": [{"UserId": "000000000000"}]}, "DryRun": True}
    (event,) = world.bus
    assert event["Source"] == "ami-warden"
    assert json.loads(event["Detail"])["DryRun"] is True
    (rung,) = world.set_alarms
    assert (rung["AlarmName"], rung["StateValue"]) == ("ami-warden-ErrorAlarm", "ALARM")
    assert "Nothing is wrong" in rung["StateReason"]


def test_no_alarm_rings_unless_it_is_asked_for(world, run):
    code, told = run()
    assert (code, world.set_alarms) == (0, [])
    assert told["not tried"] == ["an alarm: add --alarm, which lets one ring"]


@pytest.mark.parametrize("status", ["UPDATE_ROLLBACK_COMPLETE", "ROLLBACK_COMPLETE", "UPDATE_IN_PROGRESS", "DELETE_FAILED"])
def test_a_stack_that_is_not_deployed_is_told(world, run, status):
    world.status = status
    code, told = run()
    assert code == 1
    assert [status in line for line in told["FAILED"]] == [True]
    assert ("the last update was rolled back" in told["FAILED"][0]) == (status == "UPDATE_ROLLBACK_COMPLETE")
    assert len(told["ok"]) == 5, "the other steps are tried"


def test_a_function_that_lambda_does_not_run_is_told(world, run):
    world.configuration = {"State": "Failed", "StateReason": "no key", "LastUpdateStatus": "Successful"}
    code, told = run()
    assert code == 1
    assert told["FAILED"] == ["Lambda does not run the function: state Failed, last update Successful. no key"]
    world.configuration = {"State": "Active", "LastUpdateStatus": "Failed", "LastUpdateStatusReason": "bad zip"}
    assert "bad zip" in run()[1]["FAILED"][0]


def test_a_function_that_lambda_still_prepares_is_waited_for(world, run):
    world.pending = 2
    assert run("--timeout", "10")[0] == 0
    world.pending = 1000
    code, told = run("--timeout", "0")
    assert code == 1
    assert told["FAILED"] == ["Lambda does not run the function: state Pending, last update InProgress. The function is being created."]


def test_a_function_without_concurrency_is_told(world, run):
    world.concurrency = {"ReservedConcurrentExecutions": 0}
    code, told = run()
    assert code == 1
    assert "ReservedConcurrency is 0" in told["FAILED"][0]
    world.concurrency = {"ReservedConcurrentExecutions": 1}
    assert run()[0] == 0


def test_a_deployment_in_dry_run_is_told(world, run):
    world.configuration["Environment"] = {"Variables": {"DRY_RUN": "true"}}
    assert any("DryRun is true" in line for line in run()[1]["ok"])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"errorType": "Runtime.ExitError", "errorMessage": "ALLOWED_GRANTEES: \x1b[31mx"}, r"Runtime.ExitError: ALLOWED_GRANTEES: \x1b[31mx"),
        ({"errorType": "InvalidPolicy", "errorMessage": "/ami-warden/rules"}, "InvalidPolicy: /ami-warden/rules"),
        ({"Images": []}, "an unexpected answer"),
        ({"Images": [{"Outcome": "applied"}]}, "an unexpected answer"),
        ([], "an unexpected answer"),
        (b"not json", "an unexpected answer"),
        (None, "an unexpected answer"),
    ],
)
def test_a_function_that_does_not_start_or_answers_something_else_is_told(world, run, answer, said):
    world.looks = lambda request: answer
    code, told = run()
    assert code == 1
    assert [said in line for line in told["FAILED"]] == [True]


def test_a_role_that_may_not_modify_images_is_told(world, run):
    world.writes = lambda request: {"errorType": "ImagesFailed", "errorMessage": "ModifyImageAttribute failed with UnauthorizedOperation"}
    code, told = run()
    assert code == 1
    assert told["FAILED"] == [f"the role could not modify {IMAGE}: ImagesFailed: ModifyImageAttribute failed with UnauthorizedOperation"]


def test_a_role_that_may_not_read_launch_permissions_is_told(world, run):
    world.reads = lambda request: {"errorType": "ImagesFailed", "errorMessage": "DescribeImageAttribute failed with UnauthorizedOperation"}
    code, told = run()
    assert code == 1
    assert told["FAILED"][0].startswith(f"the role could not read who can launch {IMAGE}")


def test_an_account_without_images_has_its_permissions_not_tried(world, run):
    world.images = []
    code, told = run()
    assert code == 0
    assert told["not tried"][0].startswith("permissions on images: this account has none here")


def test_an_image_that_is_named_is_the_one_that_is_tried(world, run):
    run("--image-id", "ami-00000000000000002")
    assert world.invoked[1]["ImageId"] == world.invoked[2]["ImageId"] == "ami-00000000000000002"


def test_an_event_that_does_not_arrive_is_told_with_what_to_look_at(world, run):
    world.lines = lambda pattern: []
    code, told = run()
    assert code == 1
    assert "did not reach the function within 0 s" in told["FAILED"][0]
    assert "7 events are kept as not delivered" in told["FAILED"][0]


def test_a_bus_that_takes_no_event_is_told(world, run):
    world.rejected = 1
    code, told = run()
    assert code == 1
    assert "InternalFailure" in told["FAILED"][0]


def test_the_event_is_found_by_an_image_id_that_no_other_line_has(world, run):
    patterns = []
    world.lines = lambda pattern: patterns.append(pattern) or [{}]
    run()
    run()
    assert patterns[0] != patterns[1]
    assert patterns[0] == f'"{json.loads(world.bus[0]["Detail"])["ImageId"]}"'


@pytest.mark.parametrize("alarms", [[], [{"AlarmName": "a", "AlarmActions": [], "ActionsEnabled": True}], [{"AlarmName": "a", "AlarmActions": [TOPIC], "ActionsEnabled": False}]])
def test_alarms_that_tell_nobody_are_told(world, run, alarms):
    world.alarms = alarms
    code, told = run("--alarm")
    assert (code, world.set_alarms) == (1, [])
    assert told["FAILED"][0].startswith(f"none of the {len(alarms)} alarms of the stack tells anybody")


@pytest.mark.parametrize(("history", "said"), [([], "sent no message within 0 s"), ([{"HistorySummary": "Failed to execute action x"}], "Failed to execute")])
def test_an_alarm_that_does_not_get_its_message_out_is_told(world, run, history, said):
    world.history = history
    code, told = run("--alarm")
    assert code == 1
    assert said in told["FAILED"][0]


def test_a_topic_that_nobody_hears_is_told_and_one_in_another_account_is_left_to_a_person(world, run):
    world.subscriptions = "0"
    code, told = run("--alarm")
    assert (code, told["FAILED"]) == (1, [f"nobody hears {TOPIC}: it has no confirmed subscription"])
    world.subscriptions = None
    code, told = run("--alarm")
    assert (code, told["FAILED"]) == (0, [])
    assert "Ask there whether the message came" in told["not tried"][0]


def test_a_step_that_is_denied_is_told_and_stops_no_other(world, run):
    world.failing = {"describe_images"}
    code, told = run()
    assert (code, told["FAILED"]) == (1, ["permissions: AccessDenied: no"])
    assert len(told["ok"]) == 4


# --- With a function that runs ----------------------------------------------------------------------------------------------------------

def test_a_function_in_an_emulated_account_starts_and_hears_of_an_event(deployed, capsys):
    code = check.main(["--image-id", IMAGE, "--timeout", "30"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "an event on the bus reached the function" in out
    assert out.count("  ok ") == 6


def test_a_disabled_rule_in_an_emulated_account_is_noticed(deployed, capsys):
    deployed("events").disable_rule(Name="RequestRule")
    assert check.main(["--image-id", IMAGE, "--timeout", "2"]) == 1
    out = capsys.readouterr().out
    assert "an event on the bus did not reach the function within 2 s" in out
    assert "0 events are kept as not delivered" in out


def test_a_stack_that_is_not_there_is_told(deployed, capsys):
    assert check.main(["--stack-name", "another"]) == 1
    assert "another" in capsys.readouterr().err
