#!/usr/bin/env python3
"""Send the events that ami-warden kept in its dead-letter queues to the function again, after the fix.

    python3 deploy/redrive.py --stack-name ami-warden            send them
    python3 deploy/redrive.py --stack-name ami-warden --list     only show them, with the error each one met

SQS's own redrive (StartMessageMoveTask) is for queues behind other queues; for those of Lambda and EventBridge it answers an
error. A message is deleted only after Lambda has accepted its event. Events ask for a look, so sending one too many does no
harm; requests by hand (bare JSON, without `detail-type`) carry their own changes and stay where they are, unless asked for.

Needs boto3, and permission for cloudformation:DescribeStacks, lambda:InvokeFunction, and sqs:ReceiveMessage, sqs:DeleteMessage
and sqs:ChangeMessageVisibility on the two queues.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator

import boto3

QUEUES = ("DeliveryDeadLetterQueueUrl", "InvocationDeadLetterQueueUrl")


def payload(body: str) -> tuple[dict, str]:
    """The event inside a message, and what went wrong with it. Lambda keeps a record around the event, EventBridge the event alone."""
    message = json.loads(body)
    if "requestContext" in message and "requestPayload" in message:
        error = message.get("responsePayload") or {}
        return message["requestPayload"], f"{error.get('errorType', message['requestContext'].get('condition'))}: {error.get('errorMessage', '')}"
    return message, "not delivered"


def messages(sqs, queue: str, before: float) -> Iterator[dict]:
    """Every message that was there at the beginning, once. What fails again comes back later, and is for the next time."""
    seen: set[str] = set()
    while True:
        batch = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=2, VisibilityTimeout=120, AttributeNames=["SentTimestamp"]
        ).get("Messages", [])
        new = [each for each in batch if each["MessageId"] not in seen]
        if not new:
            return
        seen |= {each["MessageId"] for each in new}
        for each in new:
            if int(each["Attributes"]["SentTimestamp"]) <= before * 1000:
                yield each


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--stack-name", default="ami-warden", help="default: %(default)s")
    arguments.add_argument("--list", action="store_true", help="show what is kept and send nothing")
    arguments.add_argument("--requests", action="store_true", help="also send requests by hand")
    options = arguments.parse_args()

    stack = boto3.client("cloudformation").describe_stacks(StackName=options.stack_name)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    sqs, function = boto3.client("sqs"), boto3.client("lambda")
    now, sent, left = time.time(), 0, 0
    for queue in (outputs[name] for name in QUEUES):
        for message in messages(sqs, queue, now):
            event, error = payload(message["Body"])
            by_hand = "detail-type" not in event
            send = not options.list and (options.requests or not by_hand)
            what = "request by hand" if by_hand else event["detail-type"]
            print(f"{'sent' if send else 'kept'}  {what}  {json.dumps(event.get('detail', event))[:200]}  ({error[:200]})")
            if send:
                function.invoke(FunctionName=outputs["FunctionName"], InvocationType="Event", Payload=json.dumps(event))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                sent += 1
            else:
                sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=5)
                left += 1
    print(f"{sent} sent, {left} kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
