#!/usr/bin/env python3
"""Synthesize the example of deploy/cdk/ from the template of a release, and see that it deploys just that.

    python deploy/tests/cdk_example.py --cdk .venv/cdk        (make lint-deploy sets it up)
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import emulators
import template
from test_template import EVERYTHING

RELEASE = {architecture: (f"ami-warden-0.2.0-{architecture}.zip", "h0KPxSKAPTEGXnvOPPA/5HUJZjHl4Hu9eg/eYMTPJcc=") for architecture in ("x86_64", "arm64")}
OF_CDK = {"Parameters": ["BootstrapVersion"], "Rules": ["CheckBootstrapVersion"]}  # how the CDK sees that an account is prepared for it


def resolved(template_: dict, parameters: dict[str, str]) -> dict:
    resources = template.Stack(template_, parameters).resources()
    for resource in resources.values():
        if isinstance(resource.get("DependsOn"), str):
            resource["DependsOn"] = [resource["DependsOn"]]
    return resources


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--cdk", type=Path, required=True, help="a folder with the example and the CDK")
    options = arguments.parse_args()
    released = template.package.transform(template.load(), RELEASE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ami-warden.yaml"
        path.write_text(template.package.text(released), encoding="utf-8")
        environment = emulators.clean_environment(TEMPLATE=str(path), CODE_BUCKET_PREFIX="example", CDK_OUTDIR=f"{folder}/out")
        run = subprocess.run(["node", "ami-warden.mjs"], cwd=options.cdk, env=environment, capture_output=True, text=True)
        if run.returncode:
            sys.exit(run.stderr)
        synthesized = json.loads((Path(folder) / "out/ami-warden.template.json").read_text())
    for section, names in OF_CDK.items():
        for name in names:
            synthesized.get(section, {}).pop(name, None)
    source = (template.ROOT / "deploy/cdk/ami-warden.mjs").read_text(encoding="utf-8")
    given = dict(re.findall(r"^    (\w+): '([^']*)',$", source, re.MULTILINE)) | {"CodeBucketPrefix": "example"}
    wanted = json.loads(json.dumps(released))
    for name, value in given.items():
        wanted["Parameters"][name]["Default"] = value
    for section in ("Parameters", "Rules"):
        if synthesized[section] != wanted[section]:
            sys.exit(f"The example has other {section} than the release")
    # The CDK writes functions in other forms, so what they come to is compared.
    for parameters in ({}, EVERYTHING):
        ours, theirs = (resolved(each, parameters) for each in (wanted, synthesized))
        if different := sorted(name for name in set(ours) | set(theirs) if ours.get(name) != theirs.get(name)):
            sys.exit(f"The example deploys other resources than the release: {different}")
    if refused := template.Stack(synthesized, {}).refused():
        sys.exit(f"The example's parameters are refused: {refused}")
    print(f"The CDK example deploys the release as it is, with {', '.join(sorted(given))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
