#!/usr/bin/env python3
"""Prove that a deployment of ami-warden works, without changing an image.

    python3 deploy/check.py                                  after each deployment
    python3 deploy/check.py --alarm                          and let an alarm ring
    python3 deploy/check.py --image-id ami-0123456789abcdef0 with this image of yours

Several stacks, accounts and Regions at once: --stack-name, --profile and --region may be given again.

It invokes the function with a look at an image that does not exist (it starts, and reads its policy), and with requests for an
image of yours in a dry run (EC2 says whether the role may make the calls, and makes none). It puts an event on the bus and waits for
the function's log line about it. With --alarm it sets one alarm of the stack to ALARM, and sees that its message was sent:
CloudWatch sets the alarm right again by itself. The exit code is 1 if anything failed.

Needs boto3, and permission for cloudformation:DescribeStacks, lambda:GetFunctionConfiguration, lambda:GetFunctionConcurrency,
lambda:InvokeFunction, ec2:DescribeImages, events:PutEvents, logs:FilterLogEvents and sqs:GetQueueAttributes; with --alarm also
cloudformation:ListStackResources, cloudwatch:DescribeAlarms, cloudwatch:SetAlarmState, cloudwatch:DescribeAlarmHistory and
sns:GetTopicAttributes.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import stacks
from stacks import Stack, plain

LAMBDA_SECONDS = 310  # a function may take 300, and a second try of a slow invocation would be a second invocation
POLL_SECONDS = 2.0
NOBODY = "000000000000"  # an account that no image is shared with, so that taking it away changes nothing
REASON = "deploy/check.py tries whether this alarm is heard. Nothing is wrong."


@dataclass(frozen=True)
class Finding:
    """What one step found."""

    verdict: str
    """`ok`, `FAILED` or `not tried`."""
    text: str


def ok(text: str) -> Finding:
    return Finding("ok", text)


def failed(text: str) -> Finding:
    return Finding("FAILED", text)


def not_tried(text: str) -> Finding:
    return Finding("not tried", text)


def unused_image_id() -> str:
    """An id that no image has: one of 2^68, so that its log line is found by it."""
    return f"ami-{secrets.randbits(68):017x}"


# --- The steps ------------------------------------------------------------------------------------------------------------------------


def check_stack(stack: Stack, _: argparse.Namespace) -> Iterator[Finding]:
    (described,) = stack.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"]
    status = described["StackStatus"]
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"):
        yield ok(f"the stack is deployed ({status})")
    elif status == "UPDATE_ROLLBACK_COMPLETE":
        yield failed("the last update was rolled back (UPDATE_ROLLBACK_COMPLETE): what runs is the version before it")
    else:
        yield failed(f"the stack is not deployed ({status})")


def check_function(stack: Stack, options: argparse.Namespace) -> Iterator[Finding]:
    client, name = stack.client("lambda"), stack.output("FunctionName")
    deadline = time.monotonic() + options.timeout
    while True:
        configuration = client.get_function_configuration(FunctionName=name)
        state = configuration.get("State", "Active")
        update = configuration.get("LastUpdateStatus", "Successful")
        # Lambda goes on for a moment after CloudFormation is done.
        if (state != "Pending" and update != "InProgress") or time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    if state not in ("Active", "Inactive") or update != "Successful":
        why = configuration.get("StateReason") or configuration.get("LastUpdateStatusReason") or ""
        yield failed(f"Lambda does not run the function: state {state}, last update {update}. {why}")
        return
    reserved = client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
    if reserved == 0:
        yield failed("ReservedConcurrency is 0: Lambda runs no event and keeps each in the dead-letter queue. Use DryRun to stop writes.")
    dry_run = configuration.get("Environment", {}).get("Variables", {}).get("DRY_RUN") == "true"
    yield ok(f"Lambda runs the function{' (DryRun is true: it plans and changes nothing)' if dry_run else ''}")


class Invocation:
    """One synchronous invocation, and what became of its image."""

    def __init__(self, stack: Stack, request: dict) -> None:
        from botocore.config import Config

        settings = Config(read_timeout=LAMBDA_SECONDS, retries={"total_max_attempts": 1})
        answer = stack.client("lambda", config=settings).invoke(
            FunctionName=stack.output("FunctionName"), InvocationType="RequestResponse", Payload=json.dumps(request)
        )
        body = answer["Payload"].read()
        try:
            self.answer: Any = json.loads(body)
        except ValueError:
            self.answer = body.decode(errors="replace")
        self.error = self._error() if answer.get("FunctionError") else None

    def _error(self) -> str:
        if not isinstance(self.answer, dict):
            return str(self.answer)
        return f"{self.answer.get('errorType')}: {self.answer.get('errorMessage')}"

    def image(self) -> dict:
        """What the answer says of the one image that was asked about."""
        images = self.answer.get("Images") if isinstance(self.answer, dict) else None
        return images[0] if isinstance(images, list) and images and isinstance(images[0], dict) else {}

    def unexpected(self) -> str:
        return self.error or f"an unexpected answer: {json.dumps(self.answer)}"


def check_start(stack: Stack, _: argparse.Namespace) -> Iterator[Finding]:
    invocation = Invocation(stack, {"ImageId": unused_image_id(), "DryRun": True})
    if invocation.image().get("Reason") == "not-found":
        yield ok("the function starts, reads its settings and policy, and asks EC2 for an image")
    else:
        yield failed(f"the function does not do its work: {invocation.unexpected()}")


def own_image(stack: Stack, options: argparse.Namespace) -> str | None:
    if options.image_id:
        return options.image_id
    pages = stack.client("ec2").get_paginator("describe_images")
    available = [{"Name": "state", "Values": ["available"]}]
    # A filtered page may be empty and not the last.
    for page in pages.paginate(Owners=["self"], Filters=available, PaginationConfig={"PageSize": 100}):
        if page["Images"]:
            return page["Images"][0]["ImageId"]
    return None


def check_permissions(stack: Stack, options: argparse.Namespace) -> Iterator[Finding]:
    image = own_image(stack, options)
    if image is None:
        yield not_tried("permissions on images: this account has none here. Make one, or name one by --image-id")
        return
    writes = Invocation(stack, {"ImageId": image, "Description": {"Value": f"check {secrets.token_hex(4)}"}, "DryRun": True})
    if writes.image().get("Outcome") == "planned":
        yield ok(f"the role may modify {image} (EC2's DryRun; nothing was changed)")
    else:
        yield failed(f"the role could not modify {image}: {writes.unexpected()}")
    reads = Invocation(stack, {"ImageId": image, "LaunchPermission": {"Remove": [{"UserId": NOBODY}]}, "DryRun": True})
    if reads.image().get("Outcome") == "unchanged":
        yield ok(f"the role may read who can launch {image}")
    else:
        yield failed(f"the role could not read who can launch {image}: {reads.unexpected()}")


def check_event(stack: Stack, options: argparse.Namespace) -> Iterator[Finding]:
    image, began = unused_image_id(), time.time()
    entry = {"Source": "ami-warden", "DetailType": "Check", "Detail": json.dumps({"ImageId": image, "DryRun": True})}
    answer = stack.client("events").put_events(Entries=[entry])
    if answer["FailedEntryCount"]:
        yield failed(f"EventBridge did not take the event: {json.dumps(answer['Entries'][0])}")
        return
    logs, group = stack.client("logs"), stack.output("LogGroupName")
    while True:
        # A minute early: the clocks of this machine and of Lambda may differ.
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, filterPattern=f'"{image}"', startTime=int((began - 60) * 1000)
        )
        if any(page["events"] for page in pages):
            yield ok(f"an event on the bus reached the function (its log line was there after {time.time() - began:.0f} s)")
            return
        if time.time() - began > options.timeout:
            break
        time.sleep(POLL_SECONDS)
    queue = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.output("DeliveryDeadLetterQueueUrl"), AttributeNames=["ApproximateNumberOfMessages"]
    )
    kept = queue["Attributes"]["ApproximateNumberOfMessages"]
    yield failed(
        f"an event on the bus did not reach the function within {options.timeout} s: {group} has no line about {image}. "
        f"{kept} events are kept as not delivered (deploy/redrive.py --list shows why); see also that the rules are enabled"
    )


def check_alarm(stack: Stack, options: argparse.Namespace) -> Iterator[Finding]:
    if not options.alarm:
        yield not_tried("an alarm: add --alarm, which lets one ring")
        return
    pages = stack.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack.name)
    names = [
        each["PhysicalResourceId"]
        for page in pages
        for each in page["StackResourceSummaries"]
        if each["ResourceType"] == "AWS::CloudWatch::Alarm" and each.get("PhysicalResourceId")
    ]
    client = stack.client("cloudwatch")
    alarms = client.describe_alarms(AlarmNames=sorted(names)[:100])["MetricAlarms"] if names else []
    audible = [alarm for alarm in alarms if alarm.get("AlarmActions") and alarm.get("ActionsEnabled")]
    if not audible:
        yield failed(f"none of the {len(alarms)} alarms of the stack tells anybody: deploy it with AlarmTopicArn, and enable their actions")
        return
    alarm = audible[0]
    began = datetime.now(timezone.utc)
    client.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="ALARM", StateReason=REASON)
    yield rang(client, alarm["AlarmName"], began, options.timeout)
    for topic in alarm["AlarmActions"]:
        if ":sns:" in topic:
            yield heard(stack, topic)


def rang(client: Any, name: str, began: datetime, timeout: float) -> Finding:
    """Whether CloudWatch says that it sent the message."""
    deadline = time.monotonic() + timeout
    while True:
        items = client.describe_alarm_history(AlarmName=name, HistoryItemType="Action", StartDate=began)["AlarmHistoryItems"]
        for item in items:
            summary = item.get("HistorySummary", "")
            if summary.startswith("Successfully"):
                return ok(f"the alarm {name} sent its message ({summary})")
            if summary.startswith("Failed"):
                return failed(f"the alarm {name} could not send its message: {summary}")
        if time.monotonic() > deadline:
            return failed(f"the alarm {name} was set and sent no message within {timeout} s")
        time.sleep(POLL_SECONDS)


def heard(stack: Stack, topic: str) -> Finding:
    """Whether anybody has subscribed to a topic."""
    from botocore.exceptions import ClientError

    region = topic.split(":")[3]
    try:
        attributes = stack.client("sns", region_name=region).get_topic_attributes(TopicArn=topic)["Attributes"]
    except ClientError as error:
        return not_tried(f"who hears {topic}: {stacks.error_text(error)}. Ask there whether the message came")
    confirmed = int(attributes.get("SubscriptionsConfirmed", 0))
    if confirmed:
        return ok(f"{topic} has {confirmed} confirmed subscriptions")
    return failed(f"nobody hears {topic}: it has no confirmed subscription")


STEPS: list[Callable[[Stack, argparse.Namespace], Iterator[Finding]]] = [
    check_stack, check_function, check_start, check_permissions, check_event, check_alarm,
]  # fmt: skip


def check(stack: Stack, options: argparse.Namespace, say: Callable[[str], None]) -> bool:
    """All steps for one stack; one that cannot be made stops no other. True if none failed."""
    from botocore.exceptions import BotoCoreError, ClientError

    good = True
    for step in STEPS:
        try:
            findings = list(step(stack, options))
        except (BotoCoreError, ClientError) as error:
            findings = [failed(f"{step.__name__.removeprefix('check_')}: {stacks.error_text(error)}")]
        except stacks.Trouble as trouble:
            findings = [failed(str(trouble))]
        for finding in findings:
            good = good and finding.verdict != "FAILED"
            say(f"{finding.verdict:9}  {plain(finding.text, 600)}")
    return good


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="Needs boto3.")
    stacks.add_arguments(parser)
    parser.add_argument("--image-id", help="an image of yours to try the role's permissions on (default: any)")
    parser.add_argument("--alarm", action="store_true", help="let an alarm of the stack ring, and see that its message was sent")
    parser.add_argument("--timeout", type=int, default=120, help="seconds to wait for an event or a message (default: %(default)s)")
    options = parser.parse_args(arguments)
    return stacks.run(options, lambda stack, say: check(stack, options, say))


if __name__ == "__main__":
    sys.exit(main())
