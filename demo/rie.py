#!/usr/bin/env python3
"""Fetch AWS's Runtime Interface Emulator: the program that runs a function the way Lambda does.

    python rie.py FILE        run by a virtual environment's Python, whose pip does the downloading

AWS ships it inside the wheel of the SAM CLI. Only that one file is taken out, and nothing is installed. The version of the SAM CLI is the one that
the template's tests pin.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PINS = Path(__file__).resolve().parents[1] / "deploy/tests/requirements-sam.txt"
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def main(target: Path) -> None:
    architecture = ARCHITECTURES.get(platform.machine().lower())
    if sys.platform != "linux" or architecture is None:
        sys.exit(
            f"The Runtime Interface Emulator runs on Linux, x86_64 or arm64, and this is {platform.system()} {platform.machine()}. "
            "`make test-core` works here; `make demo` works in a Linux container or virtual machine."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
            "--constraint", str(PINS), "--dest", folder, "aws-sam-cli",
        ]  # fmt: skip
        if subprocess.run(command).returncode != 0:
            sys.exit("The wheel of aws-sam-cli could not be downloaded; pip says why above.")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            program = archive.read(f"samcli/local/rapid/aws-lambda-rie-{architecture}")
        unfinished = Path(folder) / "aws-lambda-rie"
        unfinished.write_bytes(program)
        unfinished.chmod(0o755)
        unfinished.replace(target)  # in one step, so that half a file is never taken for a whole one


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
