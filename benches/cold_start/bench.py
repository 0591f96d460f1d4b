#!/usr/bin/env python3
"""Cold start, warm time and memory of ami-warden beside what a user would pick instead: `make bench`.

Every function runs as Lambda runs it, under AWS's own Runtime Interface Emulator, gets the same event, and talks to the same EC2 emulator
over HTTPS. Each round starts every function afresh, one after the other, so that whatever else the machine does hits all of them alike.

    cold start   from sending the event to its answer; the Runtime Interface Emulator starts the function when the first event comes
    init         from starting the process to its asking for the first event, without the Runtime Interface Emulator
    warm         the same event again, in the process that is there
    processor    what the process used, all threads and the kernel's part included, up to the answer to the first event
    memory       the most that was resident at the end of the round

A peer in Python is one file in peers/: a handler, with its packages in a comment as PEP 723 has them.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import certifi
import trustme

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "demo"))
from world import ACCOUNT, Trouble, free_port, logs, spawn, wait_for  # noqa: E402

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

IMAGE = "ami-0123456789abcdef0"
SHARED_WITH = "444455556666"
OTHER = "ami-0fedcba9876543210"
SEED = {
    "Images": [
        {"ImageId": IMAGE, "Name": "golden-ubuntu", "Tags": {"ami-warden:launch-permission": SHARED_WITH}},
        {
            "ImageId": OTHER,
            "Name": "payroll-server",
            "BlockDevices": [{"DeviceName": "/dev/xvda", "SnapshotId": "snap-0fedcba9876543210", "Encrypted": True}],
            "Tags": {"ami-warden:launch-permission": "all"},
        },
    ]
}

# The part of a processor that Lambda gives to so many MB: 1,769 MB are one.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
MEMORY_OF_ONE_PROCESSOR = 1769
# Lambda does not say in which slices it gives it. Shorter ones than the kernel's 100 ms are harder on a short start.
PERIOD_US = 20_000

# What Lambda's Python runtime brings, so that no package has to.
IN_THE_RUNTIME = {"awslambdaric", "boto3", "botocore", "jmespath", "pip", "python_dateutil", "s3transfer", "setuptools", "simplejson", "six", "urllib3"}

WARM = 20  # events after the first of each round


@dataclass
class Peer:
    name: str
    command: list[str]
    package_mb: float
    note: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    calls_ec2: bool = True


@dataclass
class Round:
    cold_ms: float
    processor_ms: float
    memory_mb: float
    calls: list[str]
    warm_ms: list[float]
    warm_calls: int


# --- The functions ------------------------------------------------------------------------------------------------------------------------


def rust(name: str, package: Path, work: Path, **more) -> Peer:
    """A function in a zip as it is uploaded."""
    with zipfile.ZipFile(package) as archive:
        archive.extract("bootstrap", work / name)
    program = work / name / "bootstrap"
    program.chmod(0o755)
    return Peer(name, [str(program)], package.stat().st_size / 1e6, **more)


def python(handler: Path, venvs: Path, work: Path) -> Peer:
    """A handler in Python with the packages that its first lines name, in an environment of its own."""
    header = re.search(r"^# /// script\n(.*?)^# ///$", handler.read_text(encoding="utf-8"), re.M | re.S)
    if header is None:
        raise Trouble(f"{handler} does not name its packages in a comment as PEP 723 has them")
    packages = tomllib.loads(re.sub(r"^# ?", "", header[1], flags=re.M))["dependencies"]
    venv = venvs / handler.stem
    done = venv / ".done"
    if not done.exists() or done.read_text() != str(packages):
        print(f"    setting up {handler.name}: {', '.join(packages)}", flush=True)
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        done.write_text(str(packages))
    (site,) = venv.glob("lib/python*/site-packages")
    package = work / f"{handler.stem}.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(handler, handler.name)
        for path in site.rglob("*"):
            top = re.split(r"[-.]", path.relative_to(site).parts[0])[0].lower()
            if path.is_file() and "__pycache__" not in path.parts and top not in IN_THE_RUNTIME:
                archive.write(path, path.relative_to(site))
    command = [str(venv / "bin/python"), "-m", "awslambdaric", f"{handler.stem}.handler"]
    environment = {"PYTHONPATH": str(handler.parent), "LAMBDA_TASK_ROOT": str(handler.parent), "AWS_LAMBDA_FUNCTION_HANDLER": f"{handler.stem}.handler"}
    return Peer(handler.stem.removesuffix("_handler"), command, package.stat().st_size / 1e6, packages[0].replace("==", " "), environment)


# --- What they run in ---------------------------------------------------------------------------------------------------------------------


class Bench:
    """The EC2 emulator over HTTPS, and all that a function needs to reach it."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options, self.work = options, work
        self.stack = contextlib.ExitStack()
        # A certificate as EC2's: RSA, with an authority in between.
        root = trustme.CA(key_type=trustme.KeyType.RSA)
        certificate = root.create_child_ca(key_type=trustme.KeyType.RSA).issue_cert("localhost", key_type=trustme.KeyType.RSA)
        # And all the authorities that a machine trusts, which every function reads at its start.
        self.authorities = work / "authorities.pem"
        self.authorities.write_text(Path(certifi.where()).read_text(encoding="utf-8"), encoding="utf-8")
        root.cert_pem.write_to_path(self.authorities, append=True)
        self.tls = ssl.create_default_context(cafile=str(self.authorities))
        self.chain, self.key = work / "chain.pem", work / "key.pem"
        for part in certificate.cert_chain_pems:
            part.write_to_path(self.chain, append=True)
        certificate.private_key_pem.write_to_path(self.key)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def ec2(self, latency_ms: int = 0) -> int:
        """Starts an EC2 that takes so long for each answer; its port."""
        port = free_port()
        seed = self.work / "seed.json"
        seed.write_text(json.dumps(SEED), encoding="utf-8")
        command = [
            self.options.emulator, "--listen", f"127.0.0.1:{port}", "--account", ACCOUNT, "--seed", seed,
            "--tls", f"{self.chain},{self.key}", "--latency-ms", latency_ms,
        ]  # fmt: skip
        process = spawn(self.stack, self.work, "ec2-emulator", command, {})
        wait_for(("127.0.0.1", port), process, self.work)
        return port

    def environment(self, peer: Peer, ec2: int) -> dict[str, str]:
        return {
            "AWS_LAMBDA_FUNCTION_NAME": peer.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": "120",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_ENDPOINT_URL": f"https://localhost:{ec2}",
            # For the SDK of Rust, and for boto3.
            "SSL_CERT_FILE": str(self.authorities),
            "AWS_CA_BUNDLE": str(self.authorities),
            "ALLOW_PUBLIC": "true",
            "ALLOWED_GRANTEES": SHARED_WITH,
            **peer.environment,
        }

    def control(self, ec2: int, method: str, path: str):
        connection = http.client.HTTPSConnection("localhost", ec2, context=self.tls, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, f"/_emulator/{path}")
            return json.loads(connection.getresponse().read())

    @contextlib.contextmanager
    def function(self, peer: Peer, ec2: int, limit: Path | None = None) -> Iterator[Function]:
        """The function under the Runtime Interface Emulator, which starts it when the first event comes."""
        port, runtime_api = free_port(), free_port()
        command = [
            self.options.rie, "--runtime-interface-emulator-address", f"127.0.0.1:{port}",
            "--runtime-api-address", f"127.0.0.1:{runtime_api}", *peer.command,
        ]  # fmt: skip
        with contextlib.ExitStack() as stack:
            process = spawn(stack, self.work, peer.name, command, self.environment(peer, ec2))
            wait_for(("127.0.0.1", port), process, self.work)
            if limit:
                # On Lambda the server of the Runtime API is in the same virtual machine, so it is limited too. What it starts stays with it.
                (limit / "cgroup.procs").write_text(str(process.pid))
            yield Function(process.pid, port)


@dataclass
class Function:
    rie: int
    port: int

    def invoke(self, event: bytes) -> tuple[float, object]:
        """The milliseconds it took, and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=130)
        with contextlib.closing(connection):
            connection.connect()
            begin = time.perf_counter()
            connection.request("POST", "/2015-03-31/functions/function/invocations", event)
            body = connection.getresponse().read()
            took = (time.perf_counter() - begin) * 1000
        return took, json.loads(body)

    @property
    def pid(self) -> int:
        (child,) = (child for task in Path(f"/proc/{self.rie}/task").glob("*/children") for child in task.read_text().split())
        return int(child)

    def processor_ms(self) -> float:
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


# --- Limits of the processor ----------------------------------------------------------------------------------------------------------------


class NoControlGroup(Exception):
    """This machine does not let us limit a processor."""


@contextlib.contextmanager
def limited(memory_mb: int) -> Iterator[Path]:
    """A new control group with the part of a processor that Lambda gives to so much memory."""
    quota = round(PERIOD_US * memory_mb / MEMORY_OF_ONE_PROCESSOR)
    old, new = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    with contextlib.ExitStack() as stack:
        try:
            group = Path(tempfile.mkdtemp(prefix="ami-warden-bench-", dir=old if old.is_dir() else new))
            stack.callback(remove, group)
            if old.is_dir():
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (new / "cgroup.subtree_control").write_text("+cpu")
                (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        except OSError as error:
            raise NoControlGroup(f"no control group, so nothing is measured with a limited processor (as root it works): {error}") from None
        yield group


def remove(group: Path) -> None:
    """Removes a control group once its processes are gone."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            return group.rmdir()
        time.sleep(0.1)


# --- Measuring --------------------------------------------------------------------------------------------------------------------------------


def one_round(bench: Bench, peer: Peer, ec2: int, event: bytes, warm: int, limit: Path | None = None) -> Round:
    bench.control(ec2, "POST", "reset")
    with bench.function(peer, ec2, limit) as function:
        cold, answer = function.invoke(event)
        processor = function.processor_ms()
        calls = [call["Action"] for call in bench.control(ec2, "GET", "calls")]
        state = bench.control(ec2, "GET", "state")["Images"]
        shared = next(image for image in state if image["ImageId"] == IMAGE).get("LaunchPermissions")
        if isinstance(answer, dict) and "errorType" in answer or peer.calls_ec2 and shared != [SHARED_WITH]:
            raise Trouble(f"{peer.name} did not do the job: {json.dumps(answer)}; shared with {shared}\n{logs(bench.work)}")
        bench.control(ec2, "DELETE", "calls")
        times = [function.invoke(event)[0] for _ in range(warm)]
        warm_calls = len(bench.control(ec2, "GET", "calls"))
        return Round(cold, processor, function.memory_mb(), calls, times, warm_calls // warm if warm else 0)


def init(bench: Bench, peer: Peer, ec2: int) -> float:
    """Milliseconds from starting the process to its asking for an event."""
    with contextlib.ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        environment = {**bench.environment(peer, ec2), "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.getsockname()[1]}"}
        begin = time.perf_counter()
        spawn(stack, bench.work, peer.name, peer.command, environment)
        connection, _ = server.accept()
        request = connection.recv(100)
        took = (time.perf_counter() - begin) * 1000
        connection.close()
    if b"/runtime/invocation/next" not in request:
        raise Trouble(f"{peer.name} asked the Runtime API for {request!r}")
    return took


def overlap(bench: Bench, peer: Peer, rounds: int) -> dict[str, float]:
    """Medians of warm events when EC2 takes 20 ms for each answer."""
    ec2 = bench.ec2(latency_ms=20)
    result = {}
    for what, image in [("a settled image", IMAGE), ("an image that asks to be public", OTHER)]:
        with bench.function(peer, ec2) as function:
            event = json.dumps({"ImageId": image}).encode()
            function.invoke(event)
            bench.control(ec2, "DELETE", "calls")
            times = [function.invoke(event)[0] for _ in range(rounds)]
            calls = len(bench.control(ec2, "GET", "calls")) // rounds
        result[f"{what} ({calls} calls)"] = statistics.median(times)
    return result


# --- Telling ----------------------------------------------------------------------------------------------------------------------------------


def quantile(values: list[float], part: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, round(part * (len(values) - 1)))]


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    """The median, and in brackets where eight of ten lie."""
    return f"{number(statistics.median(values))} ({number(quantile(values, 0.1))} to {number(quantile(values, 0.9))})"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def picture(target: Path, peers: list[Peer], cold: dict[str, dict[str, list[float]]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plot

    plot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ami-warden", "font.family": "sans-serif", "font.size": 10})
    figure, axes = plot.subplots(len(cold), 1, figsize=(8, 1.0 + 1.25 * len(cold)), sharex=True, constrained_layout=True)
    colours = {"ami-warden": "#d9730d", "floor": "#9aa0a6"}
    for axis, (title, times) in zip(axes if len(cold) > 1 else [axes], cold.items()):
        shown = [peer for peer in peers if peer.name in times]
        middle = [statistics.median(times[peer.name]) for peer in shown]
        low = [value - quantile(times[peer.name], 0.1) for peer, value in zip(shown, middle)]
        high = [quantile(times[peer.name], 0.9) - value for peer, value in zip(shown, middle)]
        bars = axis.barh(
            [peer.name for peer in shown], middle, xerr=[low, high],
            color=[colours.get(peer.name, "#4a7fb5") for peer in shown], error_kw={"lw": 0.8, "capsize": 2},
        )  # fmt: skip
        axis.bar_label(bars, [f" {number(value)} ms" for value in middle], padding=4)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xscale("log")
        axis.set_xlim(1, 40_000)
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("cold start, milliseconds, logarithmic: median, and where eight of ten lie", fontsize=9)
    figure.savefig(target, metadata={"Date": None})


def machine() -> str:
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} processors {model[1] if model else platform.machine()}, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


def run(options: argparse.Namespace, work: Path) -> None:
    peers = [
        rust("ami-warden", options.function, work),
        rust("floor", options.floor, work, calls_ec2=False),
        *(python(handler, options.venvs, work) for handler in sorted((HERE / "peers").glob("*.py"))),
    ]
    event = json.loads((ROOT / "events/call-create-tags.json").read_text(encoding="utf-8"))
    event["detail"]["requestParameters"]["resourcesSet"]["items"] = [{"resourceId": IMAGE}]
    event = json.dumps(event).encode()

    with Bench(options, work) as bench:
        ec2 = bench.ec2()
        for peer in peers:  # files into the page cache, bytecode where there is any
            one_round(bench, peer, ec2, event, warm=1)

        print(f"    full processor: {options.rounds} rounds", flush=True)
        full: dict[str, list[Round]] = {peer.name: [] for peer in peers}
        inits: dict[str, list[float]] = {peer.name: [] for peer in peers}
        for _ in range(options.rounds):
            for peer in peers:
                full[peer.name].append(one_round(bench, peer, ec2, event, WARM))
                inits[peer.name].append(init(bench, peer, ec2))

        slow: dict[int, dict[str, list[Round]]] = {}
        for memory in (256, 128):
            try:
                part = memory / MEMORY_OF_ONE_PROCESSOR
                print(f"    {part:.1%} of a processor, as Lambda gives to {memory} MB: {options.limited_rounds} rounds", flush=True)
                times: dict[str, list[Round]] = {peer.name: [] for peer in peers}
                for _ in range(options.limited_rounds):
                    for peer in peers:
                        # A group of its own: to end the process of the round before takes processor time too.
                        with limited(memory) as limit:
                            times[peer.name].append(one_round(bench, peer, ec2, event, 0, limit))
                slow[memory] = times
            except NoControlGroup as error:
                print(f"    {error}", flush=True)
                break
        overlapping = overlap(bench, peers[0], options.rounds)

    rows = []
    for peer in peers:
        rounds = full[peer.name]
        warm = [value for each in rounds for value in each.warm_ms]
        rows.append([
            f"{peer.name}{f' ({peer.note})' if peer.note else ''}",
            spread([each.cold_ms for each in rounds]),
            spread(inits[peer.name]),
            spread([each.processor_ms for each in rounds]),
            *(spread([each.cold_ms for each in slow[memory][peer.name]]) for memory in slow),
            number(statistics.median(warm)),
            number(quantile(warm, 0.99)),
            number(max(each.memory_mb for each in rounds)),
            number(peer.package_mb),
            f"{len(rounds[0].calls)} / {rounds[0].warm_calls}",
        ])  # fmt: skip
    head = ["function", "cold start, ms", "init alone, ms", "processor time, ms", *(f"cold at {memory} MB, ms" for memory in slow)]
    head += ["warm p50, ms", "warm p99, ms", "peak memory, MB", "package, MB", "EC2 calls, cold / warm"]
    print(f"\n{date.today()}, {machine()}; {options.rounds} rounds, {options.limited_rounds} with a limited processor\n")
    print(table(head, rows))
    print("\nami-warden, warm, when EC2 takes 20 ms for each answer\n")
    print(table(["what is looked at", "p50, ms"], [[what, number(value)] for what, value in overlapping.items()]))

    cold = {"full processor": {peer.name: [each.cold_ms for each in full[peer.name]] for peer in peers}}
    for memory, rounds in slow.items():
        title = f"{memory / MEMORY_OF_ONE_PROCESSOR:.0%} of a processor, as Lambda gives to {memory} MB"
        cold[title] = {peer.name: [each.cold_ms for each in rounds[peer.name]] for peer in peers}
    picture(options.picture, peers, cold)
    print(f"\nThe picture is in {options.picture}")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--function", type=Path, required=True, help="ami-warden as a zip, as it is deployed")
    arguments.add_argument("--floor", type=Path, required=True, help="the function that calls nothing, as a zip")
    arguments.add_argument("--emulator", type=Path, required=True, help="the EC2 emulator, built with the feature `tls`")
    arguments.add_argument("--rie", type=Path, required=True, help="the Runtime Interface Emulator")
    arguments.add_argument("--venvs", type=Path, required=True, help="where peers in Python have their packages")
    arguments.add_argument("--picture", type=Path, required=True, help="where to draw the picture (SVG)")
    arguments.add_argument("--rounds", type=int, default=40)
    arguments.add_argument("--limited-rounds", type=int, default=15)
    options = arguments.parse_args()
    for name in ("function", "floor", "emulator", "rie", "venvs"):
        setattr(options, name, getattr(options, name).resolve())
    if sys.platform != "linux":
        print("bench: the Runtime Interface Emulator runs on Linux only", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="ami-warden-bench-") as work:
            run(options, Path(work))
    except Trouble as trouble:
        print(f"bench: {trouble}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
