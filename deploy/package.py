#!/usr/bin/env python3
"""Write ami-warden as a plain CloudFormation template, without the SAM transform.

Service-managed StackSets, which deploy to every account of an organization by themselves, refuse templates with a
transform. This does the transformation here, once, and leaves one question open: where the code is. A function's code
must be in a bucket of its own Region, so the template asks for a prefix and a key, and takes the code from

    s3://PREFIX-REGION/KEY

Needs Python 3.9 or newer with `aws-sam-translator` (deploy/tests/requirements.txt has the version the checks use).

    python deploy/package.py --output ami-warden.yaml
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


class _Loader(yaml.SafeLoader):
    """CloudFormation's YAML: `!Ref x` and its like are written out as `Ref: x`."""


def _tag(loader: yaml.Loader, suffix: str, node: yaml.Node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tag)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_str)


class _Dumper(yaml.SafeDumper):
    """CloudFormation does not understand YAML aliases, so nothing is written as one."""

    def ignore_aliases(self, data) -> bool:
        return True


def load(path: Path) -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)


def transform(sam: dict) -> dict:
    """What CloudFormation makes of a SAM template, with the code left open as CodeBucketPrefix and CodeKey."""
    # The translator asks boto3 for a Region, only to choose the partition of managed policies.
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    sam = yaml.safe_load(yaml.dump(sam, Dumper=_Dumper))  # the translator changes what it is given
    # SAM wants a place that looks like one; it is replaced below.
    for resource in sam["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "bucket", "Key": "key"}
    # The translator writes the Region and partition of whoever runs it into some values. This keeps them open.
    itself = {name: "${%s}" % name for name in ("AWS::Region", "AWS::Partition")}
    plain = Translator({}, Parser()).translate(sam, itself)
    for resource in plain["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Code"] = {
                "S3Bucket": {"Fn::Sub": "${CodeBucketPrefix}-${AWS::Region}"},
                "S3Key": {"Ref": "CodeKey"},
            }
            # What SAM adds for itself.
            resource["Properties"]["Tags"] = [
                tag for tag in resource["Properties"].get("Tags", []) if tag["Key"] != "lambda:createdBy"
            ]
            if not resource["Properties"]["Tags"]:
                del resource["Properties"]["Tags"]
        for key in ("BuildMethod", "BuildProperties", "SamResourceId"):
            resource.get("Metadata", {}).pop(key, None)
        if not resource.get("Metadata", True):
            del resource["Metadata"]
    plain.pop("Transform", None)
    plain["Metadata"].pop("AWS::ServerlessRepo::Application", None)
    plain["Metadata"].pop("cfn-lint", None)
    plain["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"].insert(
        0, {"Label": {"default": "Where the code is"}, "Parameters": ["CodeBucketPrefix", "CodeKey"]}
    )
    plain["Parameters"] = {
        "CodeBucketPrefix": {
            "Type": "String",
            "Description": "The code is read from the bucket PREFIX-REGION, so that one template serves every Region.",
            "AllowedPattern": r"^[a-z0-9][a-z0-9.\-]{1,45}$",
        },
        "CodeKey": {
            "Type": "String",
            "Description": "Key of the zip file in that bucket. A new version needs a new key, or CloudFormation sees no change.",
            "MinLength": 1,
        },
        **plain["Parameters"],
    }
    return plain


def text(plain: dict) -> str:
    return "# Written by deploy/package.py from template.yaml, where the comments are.\n" + yaml.dump(
        plain, Dumper=_Dumper, sort_keys=False, width=120
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--template", type=Path, default=ROOT / "template.yaml", help="the SAM template (default: %(default)s)")
    arguments.add_argument("--output", type=Path, help="where to write (default: standard output)")
    options = arguments.parse_args()
    written = text(transform(load(options.template)))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(written, encoding="utf-8")
        print(f"{options.output}: {len(written.encode()):,} bytes", file=sys.stderr)
    else:
        sys.stdout.write(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
