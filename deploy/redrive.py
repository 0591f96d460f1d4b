#!/usr/bin/env python3
"""Send the events that ami-warden kept in its dead-letter queues to the function again, after the fix.

    python3 deploy/redrive.py --list        show what is kept, and why
    python3 deploy/redrive.py --dry-run     show what would be sent
    python3 deploy/redrive.py               send it

Several stacks, accounts and Regions at once: --stack-name, --profile and --region may be given again.

SQS's own redrive (StartMessageMoveTask) is for queues behind other queues; for those of Lambda and EventBridge it answers an
error. A message is deleted only after Lambda has accepted what it asks for. Events ask for a look, so sending one too many does
no harm, and several that ask for the same are sent as one. Requests by hand (bare JSON that names a change) carry their own
changes, and stay unless you add --requests. A message that cannot be read stays as well, and the exit code is 1.

Needs boto3, and permission for cloudformation:DescribeStacks, lambda:InvokeFunction, and sqs:ReceiveMessage, sqs:DeleteMessage
and sqs:ChangeMessageVisibility on the two queues.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import stacks
from stacks import Stack, plain

QUEUES = {"DeliveryDeadLetterQueueUrl": "not delivered", "InvocationDeadLetterQueueUrl": "failed"}
ALIAS = "events"  # takes looks and sweeps, and no requests; stacks of older versions have none

HIDE_SECONDS = 1800
"""How long a message that was read stays hidden, unless this ends sooner and shows it again."""
WAIT_SECONDS = 2  # any at all has SQS ask all its servers, so that an empty answer means an empty queue
EMPTY_ANSWERS = 2
BATCH = 10  # of SQS, for each of its batch calls
LOOK_IDS_MAX = 1000  # in one event that this makes; AWS's events name as many at most
RECORD = "Lambda Function Invocation Result"


# --- What a message asks for --------------------------------------------------------------------------------------------------------


@dataclass
class Kept:
    """One message of a dead-letter queue."""

    queue: str
    id: str
    handle: str
    hidden_at: float
    """When it was read, by the clock that only goes forward."""
    sent_at: int
    """When it was kept, in milliseconds since 1970."""
    is_later: bool = False
    """Whether it was kept after this began: it has failed again, and is for the next time."""
    reasons: list[str] = field(default_factory=list)
    event: dict | None = None
    trouble: str | None = None
    """Why it cannot be read."""
    ask: Ask | None = None


@dataclass(frozen=True)
class Ask:
    """What an event asks the function for."""

    kind: str
    """`look`, `sweep`, `event` (one whose images this does not know), `request`, or `done`."""
    dry_run: bool = False
    images: frozenset[str] = frozenset()
    after: str | None = None
    """Where a sweep goes on; `None` for one from the beginning."""


class Unreadable(Exception):
    """A message that holds nothing to send."""


def path(value: Any, *keys: str) -> Any:
    """What is at the end of a path through objects, or `None`."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def image_ids(values: Any) -> frozenset[str]:
    values = values if isinstance(values, list) else [values]
    return frozenset(value for value in values if isinstance(value, str) and value.startswith("ami-"))


def unwrap(value: Any, reasons: list[str]) -> dict | None:
    """The event inside what was kept, and why it was kept; `None` where nothing is left to do.

    Lambda keeps a record around the event, EventBridge the event as it was, which may itself be the record of a success: that one
    goes on where it stopped.
    """
    for _ in range(4):  # a record of a record of an event, and one more
        if not isinstance(value, dict):
            raise Unreadable(f"it holds {json.dumps(value)[:40]}, which is not an event")
        if value.get("source") == "lambda" and str(value.get("detail-type")).startswith(RECORD):
            value = value.get("detail")
            continue
        if "requestContext" not in value or not {"requestPayload", "responsePayload"} & set(value):
            return value
        carried_on = path(value, "responsePayload", "Continue")
        if carried_on is not None:
            return {"source": "ami-warden", "detail-type": "Continue", "detail": left_work(carried_on)}
        if path(value, "requestContext", "condition") == "Success":
            return None
        reasons.append(reason_of(value))
        value = value.get("requestPayload")
    raise Unreadable("it holds records of records")


def left_work(carried_on: Any) -> dict:
    sweep, ids = path(carried_on, "Sweep"), path(carried_on, "ImageIds")
    if isinstance(sweep, dict) or image_ids(ids):
        return carried_on
    raise Unreadable(f"it says to continue with {json.dumps(carried_on)[:80]}, which is neither a sweep nor images")


def reason_of(record: dict) -> str:
    """Why Lambda kept it, from the record of a failure."""
    answer, context = record.get("responsePayload"), record.get("requestContext")
    words = [f"Lambda: {path(context, 'condition') or 'kept'}"]
    if isinstance(answer, dict):
        words.append(f"{answer.get('errorType') or 'an error'}: {failed_images(answer) or answer.get('errorMessage') or ''}".strip())
    elif answer is not None:
        words.append(json.dumps(answer))
    if request := path(context, "requestId"):
        words.append(f"request {request}")
    return "; ".join(words)


def failed_images(answer: dict) -> str | None:
    """The message of `ImagesFailed` is JSON; its images and their errors are what a person looks for."""
    if answer.get("errorType") != "ImagesFailed":
        return None
    try:
        images = json.loads(answer["errorMessage"])["Images"]
        named = [f"{image['ImageId']} {image['Error'] if isinstance(image['Error'], str) else json.dumps(image['Error'])}" for image in images]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")


def attribute_reasons(message: dict) -> Iterator[str]:
    """Why EventBridge or Lambda kept it, from the message's attributes."""
    named = {key: value.get("StringValue", "") for key, value in message.get("MessageAttributes", {}).items()}
    if "ERROR_CODE" in named or "RULE_ARN" in named:
        words = [f"EventBridge: {named.get('ERROR_CODE', 'no code')}", named.get("ERROR_MESSAGE", "")]
        words.append(f"rule {named['RULE_ARN'].rsplit('/', 1)[-1]}" if named.get("RULE_ARN") else "")
        words.append(f"{named['RETRY_ATTEMPTS']} retries" if named.get("RETRY_ATTEMPTS") else "")
        yield "; ".join(filter(None, words))
    if "ErrorCode" in named or "RequestID" in named:
        words = [f"Lambda: {named.get('ErrorCode', 'no code')}", named.get("ErrorMessage", "")]
        words.append(f"request {named['RequestID']}" if named.get("RequestID") else "")
        yield "; ".join(filter(None, words))


def asked(event: dict) -> Ask:
    """What an event asks for, as far as this knows; the function alone decides what it does with it."""
    kind = event.get("detail-type")
    if kind is None:
        return by_hand(event)
    detail = event.get("detail")
    if isinstance(detail, str):  # EventBridge Scheduler's is text
        try:
            detail = json.loads(detail)
        except ValueError:
            detail = None
    if event.get("source") == "ami-warden":
        found = wish(detail)
        return found if found else Ask("event")
    if kind in ("Scheduled Event", "Parameter Store Change"):
        return Ask("sweep")
    images: frozenset[str] = frozenset()
    if kind == "EC2 AMI State Change":
        images = image_ids(path(detail, "ImageId"))
    elif kind == "AWS API Call via CloudTrail":
        items = path(detail, "requestParameters", "resourcesSet", "items")
        named = [path(item, "resourceId") for item in items] if isinstance(items, list) else []
        images = image_ids(named) | image_ids(path(detail, "responseElements", "imageId"))
    elif kind == "Tag Change on Resource":
        arns = event.get("resources")
        images = image_ids([str(arn).rsplit("image/", 1)[-1] for arn in arns] if isinstance(arns, list) else [])
    return Ask("look", images=images) if images else Ask("event")


def by_hand(event: dict) -> Ask:
    """Bare JSON: a look or a sweep, and everything else is a request, which carries changes of its own."""
    if event and set(event) <= {"ImageId", "ImageIds", "Sweep", "DryRun"}:
        return wish(event) or Ask("event")
    return Ask("request", dry_run=event.get("DryRun") is True)


def wish(detail: Any) -> Ask | None:
    images = image_ids(path(detail, "ImageIds")) | image_ids(path(detail, "ImageId"))
    sweep, dry_run = path(detail, "Sweep"), path(detail, "DryRun") is True
    if isinstance(sweep, dict):
        after = sweep.get("After")
        return Ask("sweep", dry_run, images, after if isinstance(after, str) else None)
    return Ask("look", dry_run, images) if images else None


def understand(message: dict, queue: str, now: float) -> Kept:
    """A message as SQS handed it out. Whatever it holds, this returns."""
    sent = message.get("Attributes", {}).get("SentTimestamp", "0")
    kept = Kept(queue, message["MessageId"], message["ReceiptHandle"], now, int(sent))
    kept.reasons.extend(attribute_reasons(message))
    try:
        event = unwrap(json.loads(message["Body"]), kept.reasons)
        canonical(event or {})  # what cannot be written cannot be sent
        kept.ask = asked(event) if event is not None else Ask("done")
        kept.event = event
    except Unreadable as unreadable:
        kept.trouble = f"This message stays: {unreadable}."
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        kept.trouble = f"This message stays: it is not an event in JSON ({type(error).__name__}): {message['Body'][:60]}"
    return kept


# --- What is sent ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Parcel:
    """One invocation, and the messages that it answers."""

    event: dict
    kept: list[Kept]
    is_request: bool = False


def newest(kept: list[Kept]) -> Kept:
    return max(kept, key=lambda each: each.sent_at)


def parcels(messages: list[Kept], requests: bool) -> list[Parcel]:
    """What to send: each look once, one sweep for many, and requests, if they are wanted, last and in their order."""
    looks: dict[Any, list[Kept]] = {}
    sweeps: dict[bool, list[Kept]] = {}
    found: list[Parcel] = []
    for each in messages:
        ask = each.ask
        if ask is None or each.event is None:
            continue
        if ask.kind == "sweep":
            sweeps.setdefault(ask.dry_run, []).append(each)
        elif ask.kind == "look":
            looks.setdefault((ask.dry_run, ask.images), []).append(each)
        elif ask.kind == "event":
            looks.setdefault(canonical(each.event), []).append(each)
    for same in looks.values():
        found.append(Parcel(newest(same).event or {}, same))
    for dry_run, same in sweeps.items():
        found.extend(sweep_parcels(same, dry_run))
    if requests:
        wanted = [each for each in messages if each.ask and each.ask.kind == "request" and each.event is not None]
        found.extend(Parcel(each.event or {}, [each], is_request=True) for each in sorted(wanted, key=lambda each: each.sent_at))
    return found


def canonical(event: dict) -> str:
    """The same for the same event delivered twice, whatever its id and time."""
    return json.dumps({key: value for key, value in event.items() if key not in ("id", "time")}, sort_keys=True)


def sweep_parcels(same: list[Kept], dry_run: bool) -> Iterator[Parcel]:
    """One sweep instead of all: from the beginning if one of them is, else from the earliest place where one stopped.

    The images that a chain carried along are looked at too, unless the sweep meets them anyway.
    """
    asks = [each.ask for each in same if each.ask]
    if len(same) == 1:
        yield Parcel(same[0].event or {}, same)
        return
    marks = {"DryRun": True} if dry_run else {}
    places = [ask.after for ask in asks if ask.after is not None]
    begins = len(places) < len(asks)
    sweep = {} if begins else {"After": min(places)}
    yield custom("Sweep", {"Sweep": sweep, **marks}, same)
    carried = sorted(frozenset().union(*(ask.images for ask in asks)))
    for start in range(0, 0 if begins else len(carried), LOOK_IDS_MAX):
        yield custom("Look", {"ImageIds": carried[start : start + LOOK_IDS_MAX], **marks}, same)


def custom(kind: str, detail: dict, same: list[Kept]) -> Parcel:
    return Parcel({"source": "ami-warden", "detail-type": kind, "detail": detail}, same)


# --- The queues -----------------------------------------------------------------------------------------------------------------------


def batches(values: list, size: int = BATCH) -> Iterator[list]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def clock_of(answer: dict) -> float:
    """What SQS's clock says, in milliseconds: it stamps the messages, and the clock of this machine may be wrong."""
    date = path(answer, "ResponseMetadata", "HTTPHeaders", "date")
    try:
        return (parsedate_to_datetime(date).timestamp() + 1) * 1000  # the header has whole seconds
    except (TypeError, ValueError):
        return time.time() * 1000


def collect(sqs: Any, queue: str, found: dict[str, Kept]) -> None:
    """Reads every message of a queue into `found`, by its id, until only those answer that were kept after this began.

    What was read stays hidden until the end: a queue that shows it again would answer with the same messages for ever.
    """
    empty = 0
    began: float | None = None
    while empty < EMPTY_ANSWERS:
        answer = sqs.receive_message(
            QueueUrl=queue,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=WAIT_SECONDS,
            VisibilityTimeout=HIDE_SECONDS,
            AttributeNames=["SentTimestamp"],
            MessageAttributeNames=["All"],
        )
        began = began or clock_of(answer)
        new = 0
        for message in answer.get("Messages", []):
            kept = understand(message, queue, time.monotonic())
            kept.is_later = kept.sent_at > began
            new += kept.id not in found and not kept.is_later
            found[kept.id] = kept  # the newest handle is the one that counts
        empty = 0 if new else empty + 1


def show_again(sqs: Any, kept: Iterable[Kept]) -> None:
    """Ends the hiding of what stays. Where that fails it ends by itself, after `HIDE_SECONDS`."""
    from botocore.exceptions import BotoCoreError, ClientError

    by_queue: dict[str, list[Kept]] = {}
    for each in kept:
        by_queue.setdefault(each.queue, []).append(each)
    for queue, messages in by_queue.items():
        for batch in batches(messages):
            entries = [{"Id": str(n), "ReceiptHandle": each.handle, "VisibilityTimeout": 0} for n, each in enumerate(batch)]
            try:
                sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
            except (BotoCoreError, ClientError):
                continue


def delete(sqs: Any, kept: list[Kept]) -> list[tuple[Kept, str]]:
    """Deletes what is done, and returns what could not be deleted, with the reason."""
    from botocore.exceptions import BotoCoreError, ClientError

    left: list[tuple[Kept, str]] = []
    by_queue: dict[str, list[Kept]] = {}
    for each in kept:
        by_queue.setdefault(each.queue, []).append(each)
    for queue, messages in by_queue.items():
        for batch in batches(messages):
            entries = [{"Id": str(n), "ReceiptHandle": each.handle} for n, each in enumerate(batch)]
            try:
                answer = sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
            except (BotoCoreError, ClientError) as error:
                left.extend((each, stacks.error_text(error)) for each in batch)
                continue
            left.extend((batch[int(fault["Id"])], f"{fault['Code']}: {fault.get('Message', '')}") for fault in answer.get("Failed", []))
    return left


def hide_longer(sqs: Any, parcel: Parcel) -> None:
    """Renews the hiding of what was read long ago, so that nobody else sends it meanwhile."""
    for each in parcel.kept:
        if time.monotonic() - each.hidden_at > HIDE_SECONDS / 2:
            sqs.change_message_visibility(QueueUrl=each.queue, ReceiptHandle=each.handle, VisibilityTimeout=HIDE_SECONDS)
            each.hidden_at = time.monotonic()


class Function:
    """The function of a stack, invoked as EventBridge does: by its alias where it has one."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.alias: str | None = ALIAS

    def send(self, parcel: Parcel) -> None:
        """Raises what boto3 raises, unless Lambda has accepted it."""
        call = {"FunctionName": self.name, "InvocationType": "Event", "Payload": json.dumps(parcel.event)}
        if parcel.is_request or self.alias is None:
            self.client.invoke(**call)
            return
        try:
            self.client.invoke(**call, Qualifier=self.alias)
        except self.client.exceptions.ResourceNotFoundException:
            self.client.invoke(**call)
            self.alias = None


# --- What is told ---------------------------------------------------------------------------------------------------------------------


def describe(event: dict | None, ask: Ask | None) -> str:
    if ask is None or event is None:
        return "nothing left to do" if ask else "cannot be read"
    what = plain(event.get("detail-type") or f"{ask.kind} by hand", 60)
    about = []
    if ask.kind == "sweep":
        about.append(f"every image after {plain(ask.after, 30)}" if ask.after else "every image")
    if ask.images:
        ids = sorted(ask.images)
        about.append(plain(", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else ""), 120))
    if ask.kind in ("request", "event"):
        about.append(plain(json.dumps(event.get("detail", event)), 200))
    if ask.dry_run:
        about.append("dry run")
    return ": ".join([what, ", ".join(about)]) if about else what


def reason_lines(kept: list[Kept]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for each in kept:
        for reason in each.reasons:
            # Of many, each failed in a request of its own, and for few reasons.
            reason = reason.split("; request ")[0] if len(kept) > 1 else reason
            counts[reason] = counts.get(reason, 0) + 1
    for shown, (reason, count) in enumerate(counts.items()):
        if shown == 3:
            yield f"        … and {len(counts) - 3} other reasons"
            return
        yield f"        {plain(reason)}{f' ({count} times)' if count > 1 else ''}"


def tell_kept(messages: list[Kept], say: Callable[[str], None], names: dict[str, str], mark: str = "") -> None:
    for each in messages:
        since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(each.sent_at / 1000))
        say(f"{mark}{since}  {names[each.queue]}  {describe(each.event, each.ask)}")
        for line in reason_lines([each]):
            say(line)
        if each.trouble:
            say(f"        {plain(each.trouble)}")


@dataclass
class Tally:
    """What became of the messages that were to be sent."""

    done: list[Kept] = field(default_factory=list)
    not_sent: list[Kept] = field(default_factory=list)
    parcels: int = 0


def send_all(function: Function, sqs: Any, messages: list[Kept], options: argparse.Namespace, say: Callable[[str], None]) -> Tally:
    """Sends what is to be sent, and goes on whatever fails."""
    from botocore.exceptions import BotoCoreError, ClientError

    sent: dict[str, Kept] = {}
    failed: dict[str, Kept] = {}
    accepted = 0
    for parcel in parcels(messages, options.requests):
        many = f"  (for {len(parcel.kept)} kept events)" if len(parcel.kept) > 1 else ""
        what = f"{describe(parcel.event, asked(parcel.event))}{many}"
        try:
            if not options.dry_run:
                hide_longer(sqs, parcel)
                function.send(parcel)
            say(f"{'would send' if options.dry_run else 'sent'}  {what}")
            sent |= {each.id: each for each in parcel.kept}
            accepted += 1
        except (BotoCoreError, ClientError) as error:
            say(f"NOT SENT  {what}: {plain(stacks.error_text(error))}")
            failed |= {each.id: each for each in parcel.kept}
        for line in reason_lines(parcel.kept):
            say(line)
    for each in messages:
        if each.ask and each.ask.kind == "done":
            say("done  the record of a success without work left")
            sent[each.id] = each
    # A message may be in two parcels, and is done with when both were accepted.
    return Tally([each for each in sent.values() if each.id not in failed], list(failed.values()), accepted)


def redrive(stack: Stack, options: argparse.Namespace, say: Callable[[str], None]) -> bool:
    """One stack. True if everything that was to be sent was sent, and nothing was unreadable."""
    from botocore.exceptions import BotoCoreError, ClientError

    sqs = stack.client("sqs")
    function = Function(stack.client("lambda"), stack.output("FunctionName"))
    names = {stack.output(key): name for key, name in QUEUES.items()}
    hidden: dict[str, Kept] = {}
    good = True
    try:
        for queue, name in names.items():
            try:
                collect(sqs, queue, hidden)
            except (BotoCoreError, ClientError) as error:
                good = False
                say(f"NOT READ TO ITS END  the queue of what was {name}: {plain(stacks.error_text(error))}")
        messages = sorted((kept for kept in hidden.values() if not kept.is_later), key=lambda kept: kept.sent_at)
        if options.list:
            tell_kept(messages, say, names)
            say(f"{len(messages)} kept")
            return good and not any(each.trouble for each in messages)
        return handle(function, sqs, messages, hidden, options, lambda kept, mark: tell_kept(kept, say, names, mark), say) and good
    finally:
        show_again(sqs, hidden.values())


def handle(
    function: Function,
    sqs: Any,
    messages: list[Kept],
    hidden: dict[str, Kept],
    options: argparse.Namespace,
    tell: Callable[[list[Kept], str], None],
    say: Callable[[str], None],
) -> bool:
    """Sends what is to be sent and deletes what is done; `hidden` then holds what stays."""
    unreadable = [each for each in messages if each.trouble]
    requests = [] if options.requests else [each for each in messages if each.ask and each.ask.kind == "request"]
    tally = send_all(function, sqs, messages, options, say)
    undeleted = [] if options.dry_run else delete(sqs, tally.done)
    if not options.dry_run:
        for each in tally.done:
            hidden.pop(each.id, None)
    for each, why in undeleted:
        hidden[each.id] = each
        say(f"SENT, AND STILL KEPT  {describe(each.event, each.ask)}: {plain(why)}. The next run sends it once more.")
    tell(unreadable, "STAYS  ")
    tell(requests, "stays  ")
    say(summary(messages, tally, unreadable, requests, options.dry_run))
    return not (unreadable or undeleted or tally.not_sent)


def summary(messages: list[Kept], tally: Tally, unreadable: list[Kept], requests: list[Kept], dry_run: bool) -> str:
    if not messages:
        return "nothing is kept"
    words = [f"{len(messages)} kept", f"{len(tally.done)} {'would be ' if dry_run else ''}sent, as {counted(tally.parcels, 'event')}"]
    if tally.not_sent:
        words.append(f"{len(tally.not_sent)} not sent")
    if unreadable:
        words.append(f"{len(unreadable)} unreadable, left in place")
    if requests:
        words.append(f"{counted(len(requests), 'request')} by hand, left in place (--requests sends requests)")
    return "; ".join(words)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="Needs boto3.")
    stacks.add_arguments(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="show what is kept, and why, and send nothing")
    what.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    parser.add_argument("--requests", action="store_true", help="also send requests by hand, which carry changes of their own")
    options = parser.parse_args(arguments)
    return stacks.run(options, lambda stack, say: redrive(stack, options, say))


if __name__ == "__main__":
    sys.exit(main())
