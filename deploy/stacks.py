"""What the scripts of this folder share: which stacks they are asked about, and how text is shown on a terminal.

Needs boto3, which is imported only when a stack is asked for: `--help` works without it.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

TARGETS_AT_ONCE = 8
"""Stacks that are handled at the same time. Each waits for AWS nearly always."""


class Trouble(Exception):
    """Something a person has to put right; the message is the sentence to show."""


@dataclass(frozen=True)
class Stack:
    """One deployment of ami-warden, in one account and Region."""

    name: str
    region: str
    account: str
    outputs: dict[str, str]
    client: Callable[..., Any]
    """A client of a service there, for example `stack.client("sqs")`; further arguments of boto3 may follow."""

    def __str__(self) -> str:
        return f"{self.name} in {self.region} of {self.account}"

    def output(self, key: str) -> str:
        """What the stack says of itself. Raises `Trouble` where it does not: then it is not ami-warden."""
        if key not in self.outputs:
            raise Trouble(f"The stack {self.name} has no output {key}. Name a stack of ami-warden by --stack-name.")
        return self.outputs[key]


def add_arguments(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument(
        "--stack-name",
        action="append",
        metavar="NAME",
        help="the stack (default: ami-warden). May be given again, and may hold *: 'StackSet-ami-warden-*'",
    )
    arguments.add_argument("--profile", action="append", help="a profile of your AWS configuration, one for each account. May be given again")
    arguments.add_argument("--region", action="append", help="a Region. May be given again")


def plain(text: object, limit: int = 300) -> str:
    """Text from outside, safe on a terminal and in one line: what cannot be printed is shown by its number."""
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in str(text))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def error_text(error: Exception) -> str:
    """What AWS answered, or why it could not be asked, with its code first."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict) and "Error" in answer:
        return f"{answer['Error'].get('Code')}: {answer['Error'].get('Message')}"
    return f"{type(error).__name__}: {error}"


def need_boto3() -> Any:
    """boto3, or an end with a sentence that says how to get it."""
    try:
        import boto3
    except ImportError:
        print("This needs boto3, which is not installed: python3 -m pip install boto3", file=sys.stderr)
        sys.exit(2)
    return boto3


def _find(session: Any, names: list[str]) -> list[Stack]:
    """The stacks of these names that one session sees. Raises `Trouble` for a name without a stack."""
    if session.region_name is None:
        raise Trouble("No Region is set. Name one with --region, or set AWS_DEFAULT_REGION.")
    # A session makes one client at a time; its clients may be used at the same time (boto3, "Multithreading").
    lock = threading.Lock()

    def make(service: str, **settings: Any) -> Any:
        with lock:
            return session.client(service, **settings)

    client = make("cloudformation")
    found = []
    for name in names:
        if "*" in name:
            pages = client.get_paginator("describe_stacks").paginate()
            described = [each for page in pages for each in page["Stacks"] if fnmatch.fnmatchcase(each["StackName"], name)]
            described = [each for each in described if "FunctionName" in _outputs(each)]
        else:
            described = client.describe_stacks(StackName=name)["Stacks"]
        if not described:
            raise Trouble(f"No stack of ami-warden is named like {name} in {client.meta.region_name}.")
        for each in described:
            _, _, _, region, account, _ = each["StackId"].split(":", 5)
            found.append(Stack(each["StackName"], region, account, _outputs(each), make))
    return found


def _outputs(described: dict) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def _attempt(work: Callable[[], list[Stack]], where: str) -> list[Stack] | str:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return work()
    except Trouble as trouble:
        return f"{where}: {trouble}"
    except (BotoCoreError, ClientError) as error:
        return f"{where}: {error_text(error)}"


def find(options: argparse.Namespace) -> tuple[list[Stack], list[str]]:
    """The stacks that were asked for, and a sentence for each place where one could not be found."""
    boto3 = need_boto3()
    names = options.stack_name or ["ami-warden"]
    places = [(profile, region) for profile in options.profile or [None] for region in options.region or [None]]

    def look(place: tuple[str | None, str | None]) -> list[Stack] | str:
        profile, region = place
        where = " ".join(filter(None, [profile and f"profile {profile}", region])) or "here"
        return _attempt(lambda: _find(boto3.Session(profile_name=profile, region_name=region), names), plain(where))

    stacks, troubles = [], []
    with ThreadPoolExecutor(TARGETS_AT_ONCE) as pool:
        for found in pool.map(look, places):
            if isinstance(found, str):
                troubles.append(found)
            else:
                stacks.extend(found)
    # Two names, or two profiles, may lead to the same stack.
    unique = {(stack.account, stack.region, stack.name): stack for stack in stacks}
    return list(unique.values()), troubles


Work = Callable[[Stack, Callable[[str], None]], bool]
"""What is done for a stack, with a function that says a line of it. True if it went well."""


def run(options: argparse.Namespace, work: Work) -> int:
    """Does the work for every stack that was asked for. The exit code: 0 if all went well."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    found, troubles = find(options)
    good = _for_each(found, work)
    for trouble in troubles:
        print(plain(trouble), file=sys.stderr)
    return 0 if good and not troubles else 1


def _for_each(stacks: Iterable[Stack], work: Work) -> bool:
    """Does the work for every stack, several at a time, and shows what each says together. True if all went well."""

    def one(stack: Stack) -> tuple[list[str], bool]:
        from botocore.exceptions import BotoCoreError, ClientError

        lines: list[str] = []
        try:
            went_well = work(stack, lines.append)
        except Trouble as trouble:
            lines.append(str(trouble))
            went_well = False
        except (BotoCoreError, ClientError) as error:
            lines.append(plain(error_text(error)))
            went_well = False
        return lines, went_well

    good = True
    stacks = list(stacks)
    with ThreadPoolExecutor(TARGETS_AT_ONCE) as pool:
        # One alone stays in this thread, where Ctrl-C reaches it.
        answers = map(one, stacks) if len(stacks) == 1 else pool.map(one, stacks)
        for stack, (lines, went_well) in zip(stacks, answers, strict=True):
            print("\n".join([str(stack), *(f"  {line}" for line in lines)]), flush=True)
            good = good and went_well
    return good
