"""What the demo runs in: the EC2 emulator, and the built function under Lambda's own Runtime Interface Emulator.

Only this machine is used. Every process is started here, on a free port of 127.0.0.1, with an environment that is written out below and
inherits nothing: credentials or endpoints of the person who runs this can reach neither the function nor the emulator.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = "111122223333"
REGION = "us-east-1"
ORGANIZATION = f"arn:aws:organizations::{ACCOUNT}:organization/o-exampleorgid"

# What a deployment would set: public images are allowed, two accounts and one organization may be let in, if they can use the key; one
# tag may be shown to them; and refusals are tagged.
SETTINGS = {
    "ALLOW_PUBLIC": "true",
    "ALLOWED_GRANTEES": "222233334444 444455556666 o-exampleorgid",
    "SHARED_TAGS": "release",
    "KEY_CHECK": "refuse",
    "ORGANIZATION_ARN": ORGANIZATION,
    "STATUS_TAG": "ami-warden-status",
}

TIMEOUT = 60  # seconds for one invocation


class Trouble(Exception):
    """Something that must be told to a person, without a traceback."""


class World:
    """Both processes, while a `with` block runs."""

    def __init__(self, function: Path, emulator: Path, rie: Path, work: Path, settings: dict[str, str]) -> None:
        self.function, self.emulator, self.rie, self.work, self.settings = function, emulator, rie, work, settings
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> World:
        try:
            self._ec2 = self._start_emulator()
            self._lambda = self._start_lambda()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def seed(self, images: list[dict], keys: list[dict]) -> None:
        self._known = {image["ImageId"] for image in images}
        _json(self._ec2, "POST", "/_emulator/seed", {"Images": images, "Keys": keys})

    def happen(self, event: object) -> None:
        """Lets the world be as an event about tags says: the function waits for those tags."""
        if acts := [act for act in tag_acts(event) if next(iter(act.values()))["Id"] in self._known]:
            _json(self._ec2, "POST", "/_emulator/acts", acts)

    def at_call(self, action: str, match: dict[str, str], act: dict) -> None:
        """Does something by hand right after the next such call."""
        _json(self._ec2, "POST", "/_emulator/triggers", {"Action": action, "Match": match, "At": "after", "Acts": [act]})

    def image(self, image_id: str) -> dict:
        """The image as EC2 has it now."""
        images = _json(self._ec2, "GET", "/_emulator/state")["Images"]
        return next(image for image in images if image["ImageId"] == image_id)

    def invoke(self, event: object) -> tuple[object, list[dict]]:
        """What the function answers to an event, and the requests that reached AWS meanwhile, in their order."""
        _json(self._ec2, "DELETE", "/_emulator/calls")
        answer = _json(self._lambda, "POST", "/2015-03-31/functions/function/invocations", event)
        return answer, _json(self._ec2, "GET", "/_emulator/calls")

    def log_lines(self, event: str) -> list[dict]:
        """The JSON lines with this `event` that the function has logged so far."""
        lines = []
        for text in (self.work / "lambda.log").read_text(errors="replace").splitlines():
            if text.startswith("{"):
                with contextlib.suppress(json.JSONDecodeError):
                    lines.append(json.loads(text))
        return [line for line in lines if line.get("event") == event]

    def _start_emulator(self) -> tuple[str, int]:
        address = ("127.0.0.1", free_port())
        listen = f"{address[0]}:{address[1]}"
        command = [self.emulator, "--listen", listen, "--account", ACCOUNT, "--region", REGION]
        wait_for(address, spawn(self._stack, self.work, "ec2-emulator", command, {}), self.work)
        return address

    def _start_lambda(self) -> tuple[str, int]:
        address = ("127.0.0.1", free_port())
        runtime_api = f"127.0.0.1:{free_port()}"
        listen = f"{address[0]}:{address[1]}"
        command = [
            self.rie, "--runtime-interface-emulator-address", listen, "--runtime-api-address", runtime_api, self.function,
        ]  # fmt: skip
        environment = {
            "AWS_LAMBDA_FUNCTION_NAME": "ami-warden",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(TIMEOUT),
            "AWS_ENDPOINT_URL": f"http://{self._ec2[0]}:{self._ec2[1]}",
            **self.settings,
        }
        wait_for(address, spawn(self._stack, self.work, "lambda", command, environment), self.work)
        return address


def tag_acts(event: object) -> list[dict]:
    """What an event about tags says that has happened, as acts of the emulator; nothing for other events."""
    detail = event.get("detail") if isinstance(event, dict) else None
    if not isinstance(detail, dict):
        return []
    if event.get("detail-type") == "Tag Change on Resource":
        images = [arn.rsplit("/", 1)[-1] for arn in event.get("resources", [])]
        return [{"SetTags": {"Id": image, "Tags": detail.get("tags", {})}} for image in images]
    parameters = detail.get("requestParameters") or {}
    if detail.get("eventName") not in ("CreateTags", "DeleteTags") or detail.get("errorCode"):
        return []
    images = [item["resourceId"] for item in parameters["resourcesSet"]["items"]]
    tags = {item["key"]: item.get("value", "") for item in parameters["tagSet"]["items"]}
    if detail["eventName"] == "CreateTags":
        return [{"AddTags": {"Id": image, "Tags": tags}} for image in images]
    return [{"DeleteTags": {"Id": image, "Keys": list(tags)}} for image in images]


def spawn(stack: contextlib.ExitStack, work: Path, name: str, command: list, environment: dict[str, str]) -> subprocess.Popen:
    """Starts a process that writes to NAME.log in `work` and ends with the stack."""
    environment = {
        "PATH": os.defpath,
        "HOME": str(work),
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "opens-nothing",
        "AWS_SESSION_TOKEN": "opens-nothing",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        **environment,
    }
    with (work / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,  # so that what it starts in turn is ended with it, and Ctrl-C is ours to handle
        )  # fmt: skip
    stack.callback(end, process)
    return process


def end(process: subprocess.Popen) -> None:
    """Ends a process and those it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
            return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def logs(work: Path) -> str:
    """The last of what the processes in `work` wrote, for when something is wrong."""
    tails = [(log.name, log.read_text(errors="replace")[-3000:].rstrip()) for log in sorted(work.glob("*.log"))]
    return "\n".join(f"--- {name}\n{text}" for name, text in tails if text)


def wait_for(address: tuple[str, int], process: subprocess.Popen, work: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise Trouble(f"{Path(process.args[0]).name} does not listen on {address[0]}:{address[1]}\n{logs(work)}")
        time.sleep(0.02)


def _json(address: tuple[str, int], method: str, path: str, body: object = None):
    # http.client takes no notice of proxies, which is what we want for 127.0.0.1.
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT + 15)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    if response.status != 200:
        raise Trouble(f"{method} {path} was answered with {response.status}: {text}")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise Trouble(f"{method} {path} was answered with what is not JSON: {text}") from None
