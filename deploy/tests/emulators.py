"""Processes that stand in for AWS while a test runs: started on a free port of this machine, ended by their own id."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

# Credentials that open nothing: the emulators take any.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without anything that points at a real account."""
    return {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | CREDENTIALS | more


@contextlib.contextmanager
def running(command: list[str | Path], environment: dict[str, str], url: str, log: Path) -> Iterator[str]:
    """A process, once it answers on its address; ended afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended at once:\n{log.read_text(errors='replace')[-2000:]}")
            try:
                urllib.request.urlopen(url, timeout=2).close()
                break
            except urllib.error.HTTPError:
                break  # it speaks HTTP, so it runs
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not answer on {url}; see {log}") from None
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def beside_python(name: str) -> Path:
    """A program of the same virtual environment."""
    return Path(sys.executable).parent / name


@contextlib.contextmanager
def ministack(log: Path, *program: str | Path, **environment: str) -> Iterator[str]:
    """ministack; `program` starts it in another way than its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "BIND_HOST": "127.0.0.1",  # it binds every address unless told otherwise
        "GATEWAY_PORT": str(port),
        "EDGE_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",  # a listener on a fixed port that nobody here needs
    }
    command = list(program) or [beside_python("ministack")]
    with running(command, clean_environment(**settings, **environment), url, log):
        yield url
