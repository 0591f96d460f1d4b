#!/usr/bin/env python3
"""Make the files of a release: `make release VERSION=0.2.0` calls this, and so does the workflow that a tag starts.

    python deploy/release.py --version 0.2.0 --output target/release-files --cargo-bin DIR

Builds the function for both architectures, and writes into --output

    ami-warden-VERSION-x86_64.zip, ami-warden-VERSION-arm64.zip   the function
    ami-warden-VERSION.yaml                                       the plain template, which knows both by name and content
    ami-warden-VERSION-deploy.zip                                 documents, policies, scripts, and the other templates
    ami-warden-VERSION.cdx.json                                   the SBOM, in CycloneDX
    SHA256SUMS                                                    of all of these

Two runs on the same commit give the same bytes: deploy/zip.py packs without times, and the compiler is told to write no path of this
machine into the program. Needs cargo-lambda and cargo-cyclonedx in --cargo-bin or on PATH, and what deploy/package.py needs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "ami-warden"
ARCHITECTURES = {"x86_64": [], "arm64": ["--arm64"]}
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
# The documents and everything they link to, so that each link still leads somewhere.
SHIPPED = [
    "CHANGELOG.md", "CONTRIBUTING.md", "DESIGN.md", "LICENSE", "README.md", "SECURITY.md", "deploy/README.md", "deploy/answer.schema.json",
    "deploy/cdk", "deploy/check.py", "deploy/fleet-member.yaml", "deploy/fleet.yaml", "deploy/iam", "deploy/plan.schema.json", "deploy/policy.yaml",
    "deploy/redrive.py",
    "deploy/rules.schema.json", "deploy/stacks.py", "deploy/terraform", "deploy/tests/iam-simulation/rows.yaml", "docs", "events",
]  # fmt: skip
NOT_SHIPPED = {"node_modules", "cdk.out", "__pycache__", ".terraform", ".terraform.lock.hcl"}


def _load(name: str):
    """A script beside this one, as a module (`zip` is the name of something else in Python)."""
    specification = importlib.util.spec_from_file_location(f"deploy_{name}", ROOT / "deploy" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def mismatches(version: str, root: Path = ROOT) -> list[str]:
    """What says another version than the one that is to be released, a sentence each."""
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", version):
        return [f"VERSION must be like 0.2.0, not {version!r}."]

    def first(pattern: str, path: str) -> str:
        match = re.search(pattern, (root / path).read_text(encoding="utf-8"), re.MULTILINE)
        return match[1] if match else "nothing"

    said = {
        "Cargo.toml": first(r'^version = "([^"]+)"', "Cargo.toml"),
        "template.yaml (SemanticVersion)": first(r"^ *SemanticVersion: (\S+)", "template.yaml"),
        "CHANGELOG.md (newest heading after Unreleased)": first(r"^## \[?(\d[^\s\]]*)", "CHANGELOG.md"),
    }
    return [f"{place} says {found}, not {version}." for place, found in said.items() if found != version]


def build(architecture: str, folder: Path, environment: dict[str, str]) -> Path:
    """Compiles the function; the path of the program."""
    home = environment.get("CARGO_HOME", str(Path.home() / ".cargo"))
    prefixes = {home: "/cargo", str(ROOT): f"/{NAME}"}
    rust = " ".join(f"--remap-path-prefix={path}={name}" for path, name in prefixes.items())
    c = " ".join(f"-ffile-prefix-map={path}={name}" for path, name in prefixes.items())
    subprocess.run(
        ["cargo", "lambda", "build", "--locked", "--release", "--bin", NAME, "--lambda-dir", folder, *ARCHITECTURES[architecture]],
        check=True, cwd=ROOT, env=environment | {"RUSTFLAGS": rust, "CFLAGS": c},
    )  # fmt: skip
    return folder / NAME / "bootstrap"


def compiled(environment: dict[str, str]) -> set[tuple[str, str]]:
    """Name and version of every crate that is compiled into the function, for either architecture."""
    found = set()
    for target in TARGETS:
        run = subprocess.run(
            ["cargo", "tree", "--locked", "--edges", "normal", "--package", NAME, "--target", target, "--prefix", "none", "--format", "{p}"],
            check=True, cwd=ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        found |= {(line.split()[0], line.split()[1].removeprefix("v")) for line in run.stdout.splitlines() if line.strip()}
    return found


def write_sbom(output: Path, environment: dict[str, str]) -> None:
    """Every crate that is compiled into the function. The tool writes a file beside each Cargo.toml of the workspace; one is kept.

    It knows the features of the whole workspace, tests included, so what is not compiled is taken out again. It also writes where the
    workspace lies, when it was asked and a random number: none of these is a matter of the commit.
    """
    name = "sbom-of-the-release"
    try:
        subprocess.run(
            [
                "cargo", "cyclonedx", "--format", "json", "--spec-version", "1.5", "--target", "all", "--no-build-deps",
                "--override-filename", name, "--quiet",
            ],
            check=True, cwd=ROOT, env=environment,
        )  # fmt: skip
        sbom = json.loads((ROOT / f"{name}.json").read_text(encoding="utf-8").replace(str(ROOT), f"/{NAME}"))
    finally:
        for path in ROOT.glob(f"**/{name}.json"):
            if "target" not in path.parts:
                path.unlink()
    crates = compiled(environment)
    sbom["components"] = [each for each in sbom["components"] if (each["name"], each["version"]) in crates]
    known = {sbom["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in sbom["components"])}
    sbom["dependencies"] = [
        {**each, "dependsOn": [ref for ref in each.get("dependsOn", []) if ref in known]} for each in sbom["dependencies"] if each["ref"] in known
    ]
    sbom.pop("serialNumber", None)
    committed = datetime.fromtimestamp(int(environment["SOURCE_DATE_EPOCH"]), timezone.utc)
    sbom["metadata"]["timestamp"] = committed.isoformat(timespec="seconds").replace("+00:00", "Z")
    output.write_text(json.dumps(sbom, indent=2) + "\n", encoding="utf-8")


def shipped(root: Path = ROOT) -> list[tuple[str, Path]]:
    found = []
    for each in SHIPPED:
        path = root / each
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        found += [(file.relative_to(root).as_posix(), file) for file in files if not NOT_SHIPPED & set(file.relative_to(root).parts)]
    return found


def assemble(version: str, programs: dict[str, Path], output: Path) -> None:
    """All files but the SBOM and the checksums, from the compiled programs."""
    zip_, package = _load("zip"), _load("package")
    output.mkdir(parents=True, exist_ok=True)
    release = {}
    for architecture, program in programs.items():
        archive = output / f"{NAME}-{version}-{architecture}.zip"
        zip_.pack(archive, [("bootstrap", program)], ["bootstrap"])
        release[architecture] = (archive.name, package.content_hash(archive))
    template = package.text(package.transform(package.load(ROOT / "template.yaml"), release))
    (output / f"{NAME}-{version}.yaml").write_text(template, encoding="utf-8")
    scripts = [name for name, _ in shipped() if name.endswith(".py")]
    zip_.pack(output / f"{NAME}-{version}-deploy.zip", [(f"{NAME}-{version}/{name}", path) for name, path in shipped()], [f"{NAME}-{version}/{name}" for name in scripts])


def write_checksums(output: Path) -> None:
    files = sorted(path for path in output.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (output / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--version", required=True, help="the version to release, as Cargo.toml, template.yaml and CHANGELOG.md say it")
    arguments.add_argument("--output", type=Path, required=True, help="an empty or absent folder for the files")
    arguments.add_argument("--cargo-bin", type=Path, action="append", default=[], help="a folder with cargo-lambda or cargo-cyclonedx")
    options = arguments.parse_args()
    if wrong := mismatches(options.version):
        sys.exit("\n".join(["This is not the commit of that release:", *wrong]))
    output = options.output.absolute()
    if output.exists() and any(output.iterdir()):
        sys.exit(f"{output} is not empty. Remove it, so that nothing old is released with the new.")
    path = os.pathsep.join([*(str(each.absolute()) for each in options.cargo_bin), os.environ["PATH"]])
    when = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    environment = os.environ | {"PATH": path, "SOURCE_DATE_EPOCH": when.stdout.strip() or "315532800"}
    with tempfile.TemporaryDirectory() as folder:
        programs = {}
        for architecture in ARCHITECTURES:
            print(f"==> building for {architecture}", flush=True)
            programs[architecture] = build(architecture, Path(folder) / architecture, environment)
        assemble(options.version, programs, output)
        print("==> listing what is in it", flush=True)
        write_sbom(output / f"{NAME}-{options.version}.cdx.json", environment)
    write_checksums(output)
    print((output / "SHA256SUMS").read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
