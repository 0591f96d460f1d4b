"""deploy/redrive.py: nothing that is kept is lost, stops another, or is sent twice; whatever it holds, it is shown as text."""

import argparse
import itertools
import json
import subprocess
import sys
import time
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

import template

sys.path.insert(0, str(template.ROOT / "deploy"))
import redrive  # noqa: E402
import stacks  # noqa: E402

DELIVERY, INVOCATION = "https://sqs/delivery", "https://sqs/invocation"
IMAGE, OTHER = "ami-00000000000000001", "ami-00000000000000002"


REQUEST_IDS = (f"e4b46cbf-{number}" for number in itertools.count())


def state_change(image=IMAGE, **more):
    return {"source": "aws.ec2", "detail-type": "EC2 AMI State Change", "detail": {"ImageId": image, "State": "available"}, **more}


def scheduled():
    return {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}


def carried_on(work):
    return {"source": "ami-warden", "detail-type": "Continue", "detail": work}


def failure(payload, **answer):
    """What Lambda keeps of an invocation that failed to its end."""
    return {
        "version": "1.0",
        "requestContext": {"requestId": next(REQUEST_IDS), "functionArn": "arn", "condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": payload,
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
        "responsePayload": {"errorType": "InvalidPolicy", "errorMessage": "the rules", **answer},
    }


def success(answer, payload=None):
    return {
        "version": "1.0",
        "requestContext": {"requestId": "e4b46cbf", "functionArn": "arn", "condition": "Success", "approximateInvokeCount": 1},
        "requestPayload": payload or scheduled(),
        "responseContext": {"statusCode": 200},
        "responsePayload": answer,
    }


class FakeSqs:
    """Two queues with a clock of their own: a message that was read is hidden for a while, and each takes some time to hand out."""

    def __init__(self, seconds_each=0.0):
        self.clock = 1_000_000.0
        self.seconds_each = seconds_each
        self.messages = {}
        self.undeletable = set()
        self.broken = set()
        self.headers = {}

    def keep(self, body, queue=INVOCATION, attributes=None, sent_at=None):
        key = str(uuid.uuid4())
        self.messages[key] = {
            "queue": queue, "visible_at": 0.0, "handle": None,
            "Body": body if isinstance(body, str) else json.dumps(body),
            "MessageAttributes": {name: {"StringValue": value, "DataType": "String"} for name, value in (attributes or {}).items()},
            "SentTimestamp": str(1_000 + len(self.messages) if sent_at is None else int(sent_at)),
        }  # fmt: skip
        return key

    def receive_message(self, QueueUrl, MaxNumberOfMessages, VisibilityTimeout, **_):
        if QueueUrl in self.broken:
            raise ClientError({"Error": {"Code": "AWS.SimpleQueueService.NonExistentQueue", "Message": "gone"}}, "ReceiveMessage")
        self.clock += self.seconds_each
        visible = [key for key, each in self.messages.items() if each["queue"] == QueueUrl and each["visible_at"] <= self.clock]
        answer = []
        for key in visible[:MaxNumberOfMessages]:
            self.clock += self.seconds_each
            each = self.messages[key]
            each["visible_at"], each["handle"] = self.clock + VisibilityTimeout, f"{key} {self.clock}"
            answer.append(
                {
                    "MessageId": key, "ReceiptHandle": each["handle"], "Body": each["Body"],
                    "Attributes": {"SentTimestamp": each["SentTimestamp"]}, "MessageAttributes": each["MessageAttributes"],
                }
            )  # fmt: skip
        return {"ResponseMetadata": {"HTTPHeaders": self.headers}, **({"Messages": answer} if answer else {})}

    def change_message_visibility_batch(self, QueueUrl, Entries):
        assert len(Entries) <= 10
        for entry in Entries:
            self.messages[entry["ReceiptHandle"].split()[0]]["visible_at"] = self.clock + entry["VisibilityTimeout"]
        return {}

    def change_message_visibility(self, QueueUrl, ReceiptHandle, VisibilityTimeout):
        self.messages[ReceiptHandle.split()[0]]["visible_at"] = self.clock + VisibilityTimeout

    def delete_message_batch(self, QueueUrl, Entries):
        assert 0 < len(Entries) <= 10
        failed = []
        for entry in Entries:
            key = entry["ReceiptHandle"].split()[0]
            if key in self.undeletable:
                failed.append({"Id": entry["Id"], "Code": "InternalError", "Message": "try later", "SenderFault": False})
            else:
                assert self.messages.pop(key)["queue"] == QueueUrl
        return {"Failed": failed} if failed else {}

    def visible(self):
        return [each["Body"] for each in self.messages.values() if each["visible_at"] <= self.clock]


class FakeLambda:
    """A function that takes every invocation, but those whose payload it is told to refuse."""

    class exceptions:
        class ResourceNotFoundException(ClientError):
            pass

    def __init__(self, alias=True):
        self.alias = alias
        self.calls = []
        self.refuse = lambda payload: False

    def invoke(self, FunctionName, InvocationType, Payload, Qualifier=None):
        assert FunctionName == "ami-warden-Function" and InvocationType == "Event"
        if Qualifier and not self.alias:
            raise self.exceptions.ResourceNotFoundException({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "Invoke")
        payload = json.loads(Payload)
        if self.refuse(payload):
            raise ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "later"}}, "Invoke")
        self.calls.append((Qualifier, payload))
        return {"StatusCode": 202}

    def payloads(self):
        return [payload for _, payload in self.calls]


@pytest.fixture
def sqs():
    return FakeSqs()


@pytest.fixture
def function():
    return FakeLambda()


@pytest.fixture
def run(sqs, function, capsys, monkeypatch):
    """`run("--list")`: the exit code and what was printed, of a stack with the two fakes."""
    outputs = {"FunctionName": "ami-warden-Function", "DeliveryDeadLetterQueueUrl": DELIVERY, "InvocationDeadLetterQueueUrl": INVOCATION}
    stack = stacks.Stack("ami-warden", "eu-west-1", "111122223333", outputs, lambda service: {"sqs": sqs, "lambda": function}[service])
    monkeypatch.setattr(stacks, "find", lambda options: ([stack], []))

    def run(*arguments):
        code = redrive.main(list(arguments))
        return code, capsys.readouterr().out

    return run


def test_every_one_of_400_messages_is_shown_however_long_a_queue_takes(sqs, run):
    sqs.seconds_each = 0.04
    for number in range(400):
        sqs.keep(failure(state_change(f"ami-{number:017x}")))
    code, out = run("--list")
    assert code == 0
    assert [f"ami-{number:017x}" for number in range(400) if f"ami-{number:017x}" not in out] == []
    assert "400 kept" in out
    assert len(sqs.visible()) == 400, "shown again at the end"


def test_requests_that_stay_do_not_hide_the_events_behind_them(sqs, function, run):
    sqs.seconds_each = 0.04
    for number in range(300):
        sqs.keep(failure({"ImageId": f"ami-{number:017x}", "Description": {"Value": "x"}}))
    for number in range(100):
        sqs.keep(failure(state_change(f"ami-{number:017x}")))
    code, out = run()
    assert code == 0
    assert len(function.calls) == 100
    assert "300 requests by hand, left in place" in out
    assert len(sqs.visible()) == 300 == len(sqs.messages)


@pytest.mark.parametrize(
    "body",
    [
        "5", "[{}]", '"text"', "null", "not json", "", "[" * 100_000,
        json.dumps(failure(None)), json.dumps(failure("text")), json.dumps(failure([])),
        json.dumps(success({"Continue": 5})), json.dumps(success({"Continue": {"Sweep": None}})), json.dumps(success({"Continue": []})),
        json.dumps({"source": "lambda", "detail-type": "Lambda Function Invocation Result - Success", "detail": "text"}),
        json.dumps({"requestContext": 5, "requestPayload": None}),
    ],
    ids=lambda body: body[:60],
)  # fmt: skip
def test_what_cannot_be_read_stays_is_reported_and_stops_nothing(sqs, function, run, body):
    sqs.keep(state_change(), DELIVERY)
    sqs.keep(body)
    sqs.keep(failure(state_change(OTHER)))
    for mode in ("--list", "--dry-run", None):
        code, out = run(*filter(None, [mode]))
        assert code == 1
        assert "This message stays: it" in out
    assert function.payloads() == [state_change(), state_change(OTHER)]
    assert sqs.visible() == [body]


@pytest.mark.parametrize("answer", ["a text", 5, None, [], {}, {"errorMessage": 5}, {"errorType": "ImagesFailed", "errorMessage": '{"Images": 5}'}])
def test_an_answer_of_any_shape_does_not_keep_an_event_from_being_sent(sqs, function, run, answer):
    sqs.keep({**failure(state_change()), "responsePayload": answer})
    code, _ = run()
    assert (code, function.payloads(), sqs.messages) == (0, [state_change()], {})


WORK = {"Sweep": {"After": IMAGE}, "ImageIds": [OTHER], "DryRun": True}


@pytest.mark.parametrize(
    "kept",
    [
        success({"Trigger": "schedule", "Continue": WORK}),
        {"source": "lambda", "detail-type": "Lambda Function Invocation Result - Success", "detail": success({"Continue": WORK})},
        failure({"source": "lambda", "detail-type": "Lambda Function Invocation Result - Success", "detail": success({"Continue": WORK})}),
        carried_on(WORK),
        failure(carried_on(WORK)),
    ],
    ids=["record", "record on the bus", "record that failed", "event", "event that failed"],
)
def test_a_chain_goes_on_where_it_stopped_and_not_where_it_began(sqs, function, run, kept):
    sqs.keep(kept, DELIVERY)
    code, _ = run()
    assert (code, sqs.messages) == (0, {})
    assert function.calls == [("events", carried_on(WORK))]


def test_the_record_of_a_success_without_work_left_is_done_with(sqs, function, run):
    sqs.keep(success({"Trigger": "schedule", "Summary": {}}))
    code, out = run()
    assert (code, function.calls, sqs.messages) == (0, [], {})
    assert "the record of a success without work left" in out


def test_many_sweeps_are_sent_as_one(sqs, function, run):
    changed = {"source": "aws.ssm", "detail-type": "Parameter Store Change", "detail": {"name": "/ami-warden/rules"}}
    by_scheduler = {"source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": "{}"}
    for event in (scheduled(), changed, by_scheduler, {"Sweep": {}}, carried_on({"Sweep": {"After": OTHER}, "ImageIds": [IMAGE]})):
        sqs.keep(failure(event))
    code, out = run()
    assert (code, sqs.messages) == (0, {})
    assert function.calls == [("events", {"source": "ami-warden", "detail-type": "Sweep", "detail": {"Sweep": {}}})]
    assert "5 kept; 5 sent, as 1 event\n" in out
    assert "for 5 kept events" in out
    assert "InvalidPolicy: the rules (5 times)" in out


def test_a_lone_sweep_is_sent_as_it_was(sqs, function, run):
    sqs.keep(failure(scheduled()))
    assert run()[0] == 0
    assert function.payloads() == [scheduled()]


def test_sweeps_that_were_cut_short_go_on_at_the_earliest_place_with_every_image_they_carried(sqs, function, run):
    carried = [f"ami-{number:017x}" for number in range(1, 1202)]
    sqs.keep(failure(carried_on({"Sweep": {"After": OTHER}, "ImageIds": carried[:700]})))
    sqs.keep(failure(carried_on({"Sweep": {"After": IMAGE}, "ImageIds": carried[600:]})))
    assert run()[0] == 0
    assert [payload["detail"] for payload in function.payloads()] == [
        {"Sweep": {"After": IMAGE}}, {"ImageIds": carried[:1000]}, {"ImageIds": carried[1000:]},
    ]  # fmt: skip
    assert sqs.messages == {}


def test_a_message_that_needs_two_events_stays_until_both_are_accepted(sqs, function, run):
    for after in (IMAGE, OTHER):
        sqs.keep(failure(carried_on({"Sweep": {"After": after}, "ImageIds": [IMAGE]})))
    function.refuse = lambda payload: "ImageIds" in payload["detail"]
    code, out = run()
    assert code == 1
    assert len(sqs.visible()) == 2
    assert "2 not sent" in out


def test_a_dry_run_is_neither_lost_in_a_real_one_nor_made_one(sqs, function, run):
    look, sweep = {"ImageId": IMAGE}, {"Sweep": {}}
    for event in (look, {**look, "DryRun": True}, sweep, sweep, {**sweep, "DryRun": True}, {**sweep, "DryRun": True}):
        sqs.keep(failure(event))
    run()
    assert function.payloads() == [
        look, {**look, "DryRun": True},
        {"source": "ami-warden", "detail-type": "Sweep", "detail": sweep},
        {"source": "ami-warden", "detail-type": "Sweep", "detail": {**sweep, "DryRun": True}},
    ]  # fmt: skip


def tag_event(image, version):
    return {
        "source": "aws.tag", "detail-type": "Tag Change on Resource", "resources": [f"arn:aws:ec2:eu-west-1::image/{image}"],
        "detail": {"service": "ec2", "resource-type": "image", "version": version},
    }  # fmt: skip


def call_event(*ids):
    items = [{"resourceId": each} for each in ids]
    detail = {"eventName": "CreateTags", "requestParameters": {"resourcesSet": {"items": items}}}
    return {"source": "aws.ec2", "detail-type": "AWS API Call via CloudTrail", "detail": detail}


def test_looks_at_the_same_image_are_sent_as_one_the_newest(sqs, function, run):
    sqs.keep(failure(tag_event(IMAGE, 1)))
    sqs.keep(state_change(), DELIVERY)
    sqs.keep(failure({"ImageIds": [IMAGE]}))
    sqs.keep(failure(call_event(IMAGE, "i-00000000000000001")))
    sqs.keep(failure(tag_event(IMAGE, 2)))
    sqs.keep(failure(call_event(IMAGE, OTHER)))
    code, out = run()
    assert (code, sqs.messages) == (0, {})
    assert function.payloads() == [tag_event(IMAGE, 2), call_event(IMAGE, OTHER)]
    assert "6 kept; 6 sent, as 2 events" in out


def test_an_event_that_names_no_image_is_sent_as_it_was_and_its_copies_once(sqs, function, run):
    event = {"source": "ami-warden", "detail-type": "x", "detail": {"ImageId": "not an image"}}
    for number in range(3):
        sqs.keep(failure({**event, "id": str(number), "time": str(number)}))
    assert run()[0] == 0
    assert function.payloads() == [{**event, "id": "2", "time": "2"}]


def test_requests_are_sent_only_when_asked_for_in_their_order_and_to_the_function_itself(sqs, function, run):
    requests = [{"ImageId": IMAGE, "LaunchPermission": {verb: [{"UserId": "111122223333"}]}} for verb in ("Add", "Remove")]
    requests = [*requests, {"ImageId": IMAGE, "Description": {"Value": "x"}}]
    for request in requests:
        sqs.keep(failure(request))
    sqs.keep(failure(state_change()))
    code, out = run()
    assert (code, function.calls) == (0, [("events", state_change())])
    assert len(sqs.visible()) == 3
    assert "3 requests by hand, left in place (--requests sends requests)" in out
    code, _ = run("--requests")
    assert (code, sqs.messages) == (0, {})
    assert function.calls[1:] == [(None, request) for request in requests]


def test_an_event_is_never_sent_past_the_alias_that_takes_no_requests(sqs, function, run):
    planted = {**state_change(), "LaunchPermission": {"Add": [{"UserId": "444455556666"}]}, "ImageId": IMAGE}
    sqs.keep(planted)
    run("--requests")
    assert function.calls == [("events", planted)]


def test_a_stack_without_the_alias_gets_its_events_directly(sqs, function, run):
    function.alias = False
    sqs.keep(failure(state_change()))
    sqs.keep(failure(scheduled()))
    assert run()[0] == 0
    assert function.calls == [(None, state_change()), (None, scheduled())]


def test_what_lambda_does_not_take_stays_and_the_others_go_on(sqs, function, run):
    for image in (IMAGE, OTHER):
        sqs.keep(failure(state_change(image)))
    function.refuse = lambda payload: payload["detail"]["ImageId"] == IMAGE
    code, out = run()
    assert code == 1
    assert function.payloads() == [state_change(OTHER)]
    assert [json.loads(body)["requestPayload"] for body in sqs.visible()] == [state_change()]
    assert "NOT SENT" in out and "TooManyRequestsException: later" in out


def test_what_was_sent_and_could_not_be_deleted_is_said(sqs, function, run):
    sqs.undeletable.add(sqs.keep(failure(state_change())))
    sqs.keep(failure(state_change(OTHER)))
    code, out = run()
    assert code == 1
    assert len(sqs.visible()) == 1
    assert "SENT, AND STILL KEPT" in out and "InternalError: try later" in out


def test_one_queue_that_cannot_be_read_does_not_keep_the_other_from_being_sent(sqs, function, run):
    sqs.broken.add(DELIVERY)
    sqs.keep(failure(state_change()))
    code, out = run()
    assert (code, function.payloads()) == (1, [state_change()])
    assert "NonExistentQueue" in out


def test_what_fails_again_meanwhile_is_left_for_the_next_time(sqs, function, run):
    sqs.keep(failure(state_change()))
    sqs.keep(failure(state_change(OTHER)), sent_at=(time.time() + 60) * 1000)
    assert run()[0] == 0
    assert function.payloads() == [state_change()]
    assert len(sqs.visible()) == 1


def test_the_clock_of_the_queue_decides_what_came_later_and_not_the_clock_of_this_machine(sqs, function, run):
    kept_at = 1_900_000_000  # in 2030, by the queue's clock
    sqs.headers = {"date": "Sun, 17 Mar 2030 17:46:40 GMT"}
    sqs.keep(failure(state_change()), sent_at=kept_at * 1000 + 900)
    sqs.keep(failure(state_change(OTHER)), sent_at=(kept_at + 5) * 1000)
    assert run()[0] == 0
    assert function.payloads() == [state_change()]
    assert len(sqs.visible()) == 1


def test_a_dry_run_sends_nothing_and_leaves_everything(sqs, function, run):
    for image in (IMAGE, IMAGE, OTHER):
        sqs.keep(failure(state_change(image)))
    code, out = run("--dry-run")
    assert (code, function.calls, len(sqs.visible())) == (0, [], 3)
    assert out.count("would send") == 2
    assert "3 kept; 3 would be sent, as 2 events" in out


def test_an_empty_queue_is_said_to_be_empty(run):
    code, out = run()
    assert (code, out) == (0, "ami-warden in eu-west-1 of 111122223333\n  nothing is kept\n")


def test_the_reasons_of_eventbridge_and_of_lambda_are_shown(sqs, run):
    sqs.keep(
        state_change(), DELIVERY,
        {"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "Lambda refused", "RULE_ARN": "arn:aws:events:eu-west-1:1:rule/ImageStateRule", "RETRY_ATTEMPTS": "3"},
    )  # fmt: skip
    sqs.keep(state_change(OTHER), INVOCATION, {"RequestID": "1f2e", "ErrorCode": "200", "ErrorMessage": "Task timed out"})
    images = json.dumps({"Images": [{"ImageId": IMAGE, "Outcome": "failed", "Error": "ModifyImageAttribute failed with X"}] * 5})
    sqs.keep(failure(tag_event("ami-00000000000000003", 1), errorType="ImagesFailed", errorMessage=images))
    for mode in ("--list", "--dry-run"):
        _, out = run(mode)
        assert "EventBridge: NO_PERMISSIONS; Lambda refused; rule ImageStateRule; 3 retries" in out
        assert "Lambda: 200; Task timed out; request 1f2e" in out
        assert f"Lambda: RetriesExhausted; ImagesFailed: {IMAGE} ModifyImageAttribute failed with X, " in out
        assert "and 2 more; request e4b46cbf-" in out


def test_text_from_a_message_reaches_the_terminal_as_text(sqs, run):
    evil = "\x1b[2J\r\n\u202e\x9b\ud800"
    sqs.keep({"source": "ami-warden", "detail-type": evil, "detail": {"ImageId": evil}}, DELIVERY, {"ERROR_CODE": evil, "ERROR_MESSAGE": evil})
    sqs.keep(failure({"ImageId": evil, "x": evil}, errorType=evil, errorMessage=evil))
    sqs.keep(evil)
    sqs.keep(failure({"ImageIds": [f"ami-{evil}"]}))
    for mode in ("--list", "--dry-run", "--requests"):
        _, out = run(mode)
        assert [char for char in out if not char.isprintable() and char != "\n"] == []
        assert "\\x1b[2J\\r\\n\\u202e\\x9b\\ud800" in out


def test_a_message_is_hidden_anew_before_it_is_sent_late(sqs, function, run, monkeypatch):
    sqs.keep(failure(state_change()))
    clock = itertools.count(step=redrive.HIDE_SECONDS)
    monkeypatch.setattr(redrive.time, "monotonic", lambda: float(next(clock)))
    renewed = []
    monkeypatch.setattr(sqs, "change_message_visibility", lambda **call: renewed.append(call["VisibilityTimeout"]))
    assert run()[0] == 0
    assert renewed == [redrive.HIDE_SECONDS]
    assert function.payloads() == [state_change()]


# --- With an emulated account -----------------------------------------------------------------------------------------------------------


STACK = {
    "Resources": {
        "Delivery": {"Type": "AWS::SQS::Queue"},
        "Invocation": {"Type": "AWS::SQS::Queue"},
    },
    "Outputs": {
        "FunctionName": {"Value": "ami-warden-Function"},
        "DeliveryDeadLetterQueueUrl": {"Value": {"Ref": "Delivery"}},
        "InvocationDeadLetterQueueUrl": {"Value": {"Ref": "Invocation"}},
    },
}


@pytest.fixture
def account(monkeypatch):
    for name, value in {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(redrive, "WAIT_SECONDS", 0)
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield


def deploy(region, name="ami-warden", alias=True):
    """A stack with its two queues, and the function: its invocations are counted by what they were sent through."""
    boto3.client("cloudformation", region).create_stack(StackName=name, TemplateBody=json.dumps(STACK))
    (stack,) = boto3.client("cloudformation", region).describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return outputs["InvocationDeadLetterQueueUrl"]


def keep(region, queue, *bodies):
    for body in bodies:
        boto3.client("sqs", region).send_message(QueueUrl=queue, MessageBody=json.dumps(body))


def left(region, queue):
    attributes = boto3.client("sqs", region).get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]), int(attributes["ApproximateNumberOfMessagesNotVisible"])


@pytest.fixture
def invoked(monkeypatch):
    calls = []

    def send(self, parcel):
        calls.append((self.client.meta.region_name, None if parcel.is_request else self.alias, parcel.event))

    monkeypatch.setattr(redrive.Function, "send", send)
    return calls


def test_several_regions_at_once_and_one_without_the_stack_stops_no_other(account, invoked, capsys):
    queues = {region: deploy(region) for region in ("eu-west-1", "us-east-1")}
    for region, queue in queues.items():
        keep(region, queue, failure(state_change(IMAGE if region == "eu-west-1" else OTHER)))
    code = redrive.main(["--region", "eu-west-1", "--region", "eu-central-1", "--region", "us-east-1"])
    told = capsys.readouterr()
    assert code == 1
    assert sorted(invoked) == [("eu-west-1", "events", state_change()), ("us-east-1", "events", state_change(OTHER))]
    assert "eu-central-1: ValidationError: Stack with id ami-warden does not exist" in told.err
    assert [left(region, queue) for region, queue in queues.items()] == [(0, 0), (0, 0)]


def test_every_stack_of_a_name_with_a_wildcard_is_emptied_and_no_other(account, invoked, capsys):
    mine = [deploy("eu-west-1", f"StackSet-ami-warden-{number}") for number in (1, 2)]
    others = deploy("eu-west-1", "another")
    nothing = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    boto3.client("cloudformation", "eu-west-1").create_stack(StackName="StackSet-ami-warden-policy", TemplateBody=nothing)
    for queue in (*mine, others):
        keep("eu-west-1", queue, failure(state_change()))
    assert redrive.main(["--stack-name", "StackSet-ami-warden-*", "--stack-name", "StackSet-ami-warden-1"]) == 0
    assert len(invoked) == 2
    assert capsys.readouterr().out.count("StackSet-ami-warden-1 in eu-west-1") == 1
    assert [left("eu-west-1", queue) for queue in (*mine, others)] == [(0, 0), (0, 0), (1, 0)]


def test_each_profile_is_asked_in_its_own_account(account, invoked, monkeypatch, tmp_path, capsys):
    configuration = tmp_path / "config"
    keys = "aws_access_key_id = testing\naws_secret_access_key = testing\n"
    configuration.write_text("".join(f"[profile {name}]\nregion = {region}\n{keys}" for name, region in (("one", "eu-west-1"), ("two", "us-east-1"))))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(configuration))
    for region in ("eu-west-1", "us-east-1"):
        keep(region, deploy(region), failure(scheduled()))
    monkeypatch.delenv("AWS_DEFAULT_REGION")  # it would win over the Region of a profile
    assert redrive.main(["--profile", "one", "--profile", "two", "--profile", "three"]) == 1
    told = capsys.readouterr()
    assert sorted(region for region, _, _ in invoked) == ["eu-west-1", "us-east-1"]
    assert "profile three: ProfileNotFound: The config profile (three) could not be found" in told.err


def test_a_queue_of_an_emulated_account_is_read_to_its_end_and_what_stays_is_shown_again(account, invoked, capsys):
    queue = deploy("eu-west-1")
    requests = [failure({"ImageId": f"ami-{number:017x}", "Description": {"Value": "x"}}) for number in range(60)]
    events = [failure(state_change(f"ami-{number:017x}")) for number in range(60)]
    keep("eu-west-1", queue, *requests, *events)
    assert redrive.main(["--list"]) == 0
    assert "120 kept" in capsys.readouterr().out
    assert left("eu-west-1", queue) == (120, 0)
    assert redrive.main([]) == 0
    assert len(invoked) == 60
    assert left("eu-west-1", queue) == (60, 0)


def test_a_stack_that_is_not_ami_warden_is_named(account, capsys):
    boto3.client("cloudformation", "eu-west-1").create_stack(
        StackName="ami-warden", TemplateBody=json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    )
    assert redrive.main([]) == 1
    assert "The stack ami-warden has no output FunctionName" in capsys.readouterr().out
    assert redrive.main(["--stack-name", "StackSet-*"]) == 1
    assert "No stack of ami-warden is named like StackSet-* in eu-west-1." in capsys.readouterr().err


def test_events_go_to_the_alias_of_an_emulated_account_and_requests_to_the_function(account):
    iam, client = boto3.client("iam"), boto3.client("lambda", "eu-west-1")
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    client.create_function(FunctionName="ami-warden-Function", Runtime="provided.al2023", Handler="x", Role=role, Code={"ZipFile": b"x"})
    calls = []
    client.meta.events.register("provide-client-params.lambda.Invoke", lambda params, **_: calls.append(params.get("Qualifier")))
    parcel = redrive.Parcel(state_change(), [])
    client.create_alias(FunctionName="ami-warden-Function", Name="events", FunctionVersion="$LATEST")
    function = redrive.Function(client, "ami-warden-Function")
    function.send(parcel)
    function.send(redrive.Parcel({"ImageId": IMAGE, "Description": {"Value": "x"}}, [], is_request=True))
    assert calls == ["events", None]


@pytest.mark.parametrize("alias", [True, False], ids=["by its alias", "without an alias"])
def test_a_function_of_an_emulated_account_that_runs_gets_what_was_kept(deployed, monkeypatch, capsys, alias):
    monkeypatch.setattr(redrive, "WAIT_SECONDS", 0)
    if alias:
        deployed("lambda").create_alias(FunctionName="ami-warden-Function", Name="events", FunctionVersion="$LATEST")
    (stack,) = deployed("cloudformation").describe_stacks(StackName="ami-warden")["Stacks"]
    queue = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}["InvocationDeadLetterQueueUrl"]
    for image in (IMAGE, IMAGE, OTHER):
        deployed("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(failure(state_change(image))))
    code = redrive.main([])
    assert (code, capsys.readouterr().out.count("sent  EC2 AMI State Change")) == (0, 2)
    deadline = time.monotonic() + 20
    looked = set()
    while looked != {IMAGE, OTHER} and time.monotonic() < deadline:
        lines = deployed("logs").filter_log_events(logGroupName="ami-warden")["events"]
        looked = {json.loads(line["message"])["ImageId"] for line in lines if line["message"].startswith("{")}
    assert looked == {IMAGE, OTHER}
    assert redrive.main([]) == 0
    assert "nothing is kept" in capsys.readouterr().out


# --- Without boto3 ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["redrive.py", "check.py"])
def test_without_boto3_the_help_is_shown_and_a_run_says_what_is_missing(script):
    def run(*arguments):
        # -S and -I: no package of this environment is found.
        path = template.ROOT / "deploy" / script
        code = f"import sys, runpy; sys.path.insert(0, {str(path.parent)!r}); sys.argv = {[script, *arguments]!r}; runpy.run_path({str(path)!r}, run_name='__main__')"
        return subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)

    helped = run("--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--stack-name" in helped.stdout
    ran = run()
    assert (ran.returncode, ran.stderr) == (2, "This needs boto3, which is not installed: python3 -m pip install boto3\n")


def test_a_mode_is_chosen_once(capsys):
    with pytest.raises(SystemExit):
        redrive.main(["--list", "--dry-run"])
    assert "not allowed with" in capsys.readouterr().err


def test_a_missing_region_is_named_with_the_way_to_set_it(monkeypatch):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    options = argparse.Namespace(stack_name=None, profile=None, region=None)
    assert stacks.find(options) == ([], ["here: No Region is set. Name one with --region, or set AWS_DEFAULT_REGION."])
