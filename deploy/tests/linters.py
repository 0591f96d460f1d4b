#!/usr/bin/env python3
"""Ask checkov, cdk-nag, cfn-lint and zizmor about the templates and workflows, and compare with what is accepted.

    python deploy/tests/linters.py --lint .venv/lint --cdk .venv/cdk        (make lint-deploy sets both up)

Each finding is fixed, or is in accepted-findings.yaml with its reason. The linters are given templates as CloudFormation resolves them:
they do not look into SAM's resources, and take what they cannot resolve for a finding.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

import emulators
import template
from test_template import CODE, EVERYTHING

ACCEPTED = template.ROOT / "deploy/tests/accepted-findings.yaml"
Finding = tuple[str, str, str, str]  # tool, rule, where, resource


def templates() -> dict[str, dict]:
    plain = template.transform(template.load())
    fleet, member = (template.load(template.ROOT / f"deploy/{name}.yaml") for name in ("fleet", "fleet-member"))
    return {
        "plain": template.Deployed(plain, CODE).plain(),
        "everything": template.Deployed(plain, CODE | EVERYTHING).plain(),
        "fleet": template.Deployed(fleet, {"OrganizationId": "o-exampleorgid"}).plain(),
        "fleet-member": template.Deployed(member, {"AlarmBusArn": "arn:aws:events:eu-west-1:999988887777:event-bus/ami-warden-alarms"}).plain(),
    }


def asked(command: list[str | Path], **options) -> str:
    """What a linter writes; that it finds something is no failure, that it writes nothing is one."""
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=emulators.clean_environment(), **options)
    if not run.stdout.strip():
        sys.exit(f"{command[0]} said nothing: {run.stderr[-2000:]}")
    return run.stdout


def checkov(lint: Path, where: str, path: Path) -> list[Finding]:
    said = json.loads(
        asked([lint / "bin/checkov", "-f", path, "--quiet", "--compact", "--skip-download", "--framework", "cloudformation", "-o", "json"])
    )
    reports = said if isinstance(said, list) else [said]
    failed = [check for report in reports for check in report.get("results", {}).get("failed_checks", [])]
    return [("checkov", check["check_id"], where, check["resource"].rpartition(".")[2]) for check in failed]


def cdk_nag(cdk: Path, where: str, path: Path) -> list[Finding]:
    said = json.loads(asked(["node", "nag.mjs", path], cwd=cdk))
    return [("cdk-nag", finding["rule"], where, finding["resource"]) for finding in said]


def cfn_lint(where: str, path: Path) -> list[Finding]:
    said = json.loads(asked([emulators.beside_python("cfn-lint"), "--format", "json", "--template", path]))
    return [("cfn-lint", finding["Rule"]["Id"], where, str(finding["Location"]["Path"][1:2])) for finding in said]


def zizmor(lint: Path) -> list[Finding]:
    said = json.loads(asked([lint / "bin/zizmor", "--offline", "--persona", "auditor", "--format", "json", template.ROOT / ".github"]))
    return [
        ("zizmor", finding["ident"], "workflows", Path(finding["locations"][0]["symbolic"]["key"]["Local"]["verbatim_path"]).name)
        for finding in said
    ]


def accepted() -> set[Finding]:
    return {
        (tool, rule, where, resource)
        for entry in yaml.safe_load(ACCEPTED.read_text(encoding="utf-8"))
        for tool in entry["tools"]
        for rule in entry["rules"]
        if rule.startswith("CKV_") == (tool == "checkov")
        for where, resources in entry["where"].items()
        for resource in resources
    }


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--lint", type=Path, required=True, help="an environment with checkov and zizmor")
    arguments.add_argument("--cdk", type=Path, required=True, help="a folder with nag.mjs and its packages")
    options = arguments.parse_args()
    lint, cdk = options.lint.absolute(), options.cdk.absolute()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        work = [pool.submit(zizmor, lint)]
        for where, resolved in templates().items():
            path = Path(folder) / f"{where}.json"
            path.write_text(json.dumps(resolved), encoding="utf-8")
            work += [pool.submit(checkov, lint, where, path), pool.submit(cdk_nag, cdk, where, path), pool.submit(cfn_lint, where, path)]
        found = {finding for each in work for finding in each.result()}
    new, gone = sorted(found - accepted()), sorted(accepted() - found)
    for tool, rule, where, resource in new:
        print(f"NEW   {tool} {rule} on {resource} ({where}): fix it, or accept it in {ACCEPTED.name} with the reason")
    for tool, rule, where, resource in gone:
        print(f"GONE  {tool} {rule} on {resource} ({where}): take it out of {ACCEPTED.name}")
    print(f"{len(found)} findings, {len(found) - len(new)} of them accepted")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
