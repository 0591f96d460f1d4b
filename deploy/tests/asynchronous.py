"""ministack, with Lambda's asynchronous invocation completed.

On AWS an event that EventBridge hands to a function waits in Lambda's own queue: the invocation is tried again when it fails,
then goes to the failure destination, and a success goes to the success destination, each as the name that was invoked (the function, or an
alias of it) is configured. ministack 1.5.33 calls the function once and forgets it, knows no success destination, and does not tell the function
by which name it was invoked. This starts it with all three fixed, so that the template's dead-letter queue, its Continue loop and its alias can
be seen to work. What stays: ministack asks no resource policy, so a rule could invoke the function by its own name too.
"""

from __future__ import annotations

import json
import os
import threading
import time

import boto3
from ministack import app
from ministack.services import eventbridge, lambda_svc

PAUSE = 0.2  # between attempts, where Lambda takes one and two minutes


def invoke(function: dict, event: dict) -> None:
    threading.Thread(target=_until_done, args=(function, event), daemon=True).start()


def _until_done(function: dict, event: dict) -> None:
    arn = function["config"]["FunctionArn"]
    qualifier = arn.split(":")[7] if arn.count(":") > 6 else "$LATEST"
    configuration = (function.get("event_invoke_configs") or {}).get(qualifier)
    if not configuration and qualifier == "$LATEST":
        configuration = function.get("event_invoke_config")
    configuration = configuration or {}
    destinations = configuration.get("DestinationConfig") or {}
    attempts = int(configuration.get("MaximumRetryAttempts", 2)) + 1
    for attempt in range(attempts):
        if attempt:
            time.sleep(PAUSE)
        result = lambda_svc._execute_function_with_config_scope(function, event)
        if not result.get("error"):
            break
    condition = "RetriesExhausted" if result.get("error") else "Success"
    destination = (destinations.get("OnFailure" if result.get("error") else "OnSuccess") or {}).get("Destination")
    if not destination:
        return
    record = {
        "version": "1.0",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "requestContext": {
            "requestId": "e4b46cbf-b738-4000-8880-a18cdf61200e",
            "functionArn": arn if qualifier != "$LATEST" else f"{arn}:$LATEST",
            "condition": condition,
            "approximateInvokeCount": attempt + 1,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"}
        | ({"functionError": "Unhandled"} if result.get("error") else {}),
        "responsePayload": result.get("body"),
    }
    region = destination.split(":")[3]
    own = {"endpoint_url": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}", "region_name": region}
    if ":sqs:" in destination:
        sqs = boto3.client("sqs", **own)
        url = sqs.get_queue_url(QueueName=destination.split(":")[-1])["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(record))
    elif ":events:" in destination:
        entry = {
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {'Failure' if result.get('error') else 'Success'}",
            "Detail": json.dumps(record),
            "Resources": [record["requestContext"]["functionArn"], destination],
            "EventBusName": destination,
        }
        answer = boto3.client("events", **own).put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            raise RuntimeError(answer)
    else:
        raise NotImplementedError(destination)


def hand_over(arn: str, payload: str) -> None:
    function, configuration, name = lambda_svc._get_func_record_for_ref(arn)
    if not function:
        raise RuntimeError(f"a rule's target is not there: {name}")
    # The function is told the name by which it was invoked, with the alias if there is one.
    invoke(lambda_svc._execution_record_for_config(function, {**configuration, "FunctionArn": arn}), json.loads(payload))


if __name__ == "__main__":
    lambda_svc.invoke_async_with_retry = invoke
    eventbridge._dispatch_to_lambda = hand_over
    app.main()
