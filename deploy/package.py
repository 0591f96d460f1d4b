#!/usr/bin/env python3
"""Write ami-warden as a plain CloudFormation template, without the SAM transform.

Service-managed StackSets, which deploy to every account of an organization by themselves, refuse templates with a
transform. This does the transformation here, once, and leaves one question open: where the code is. A function's code
must be in a bucket of its own Region, so the template asks for a prefix and a key, and takes the code from

    s3://PREFIX-REGION/KEY

With `--code`, as for a release, the template knows the key of the zip of each architecture and the hash of its content:
no other content can be deployed by it. Without, it asks for the key.

Needs Python 3.9 or newer with `PyYAML` and `aws-sam-translator` (deploy/tests/requirements.txt has the versions that the
checks use):

    pip install PyYAML aws-sam-translator
    python deploy/package.py --output ami-warden.yaml
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import sys
from pathlib import Path

try:
    import yaml
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator
except ModuleNotFoundError as missing:
    sys.exit(f"package.py needs PyYAML and aws-sam-translator ({missing}). Install them with: pip install PyYAML aws-sam-translator")

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURES = ("x86_64", "arm64")
# What `aws cloudformation` and the StackSets API take as a text; a longer template must lie in a bucket.
LONGEST = 51_200


# --- reading and writing CloudFormation's YAML ---------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """CloudFormation's YAML: `!Ref x` and its like are written out as `Ref: x`."""


def _construct(loader: yaml.Loader, suffix: str, node: yaml.Node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _construct)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_str)


class _Short:
    """A function in its short form: `!Ref x`."""

    def __init__(self, name: str, value):
        self.name, self.value = name, value


class _OneLine(dict):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """CloudFormation does not understand YAML aliases, so nothing is written as one."""

    def ignore_aliases(self, data) -> bool:
        return True


def _represent_short(dumper: yaml.Dumper, short: _Short) -> yaml.Node:
    if isinstance(short.value, list):
        return dumper.represent_sequence(f"!{short.name}", short.value, flow_style=True)
    return dumper.represent_scalar(f"!{short.name}", short.value)


_Dumper.add_representer(_Short, _represent_short)
_Dumper.add_representer(_OneLine, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True))
_Dumper.add_representer(list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True))


def load(path: Path) -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)


def _shorten(node, blocks: int, in_condition: bool = False):
    """Functions in their short forms, and every mapping below `blocks` levels on one line."""
    if isinstance(node, list):
        return [_shorten(each, 0, in_condition) for each in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        ((name, value),) = node.items()
        if name == "Ref" or (name == "Condition" and in_condition):
            return _Short(name, value)
        if name == "Fn::GetAtt":
            return _Short("GetAtt", ".".join(value) if isinstance(value, list) else value)
        if name.startswith("Fn::") and isinstance(value, (str, list)):
            return _Short(name[4:], _shorten(value, 0, in_condition or name in ("Fn::And", "Fn::Or", "Fn::Not")))
    shortened = {key: _shorten(value, blocks - 1) for key, value in node.items()}
    return shortened if blocks > 0 else _OneLine(shortened)


def text(plain: dict) -> str:
    written = yaml.dump(_shorten(plain, 4), Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True)
    # PyYAML puts quotes round every value with a tag.
    written = re.sub(r"(!(?:Ref|GetAtt|Condition)) '([A-Za-z0-9:.]+)'", r"\1 \2", written)
    return "# Written by deploy/package.py from template.yaml, where the comments are.\n" + written


# --- the transformation --------------------------------------------------------------------------------------------------------------


def transform(sam: dict, release: dict[str, tuple[str, str]] | None = None) -> dict:
    """What CloudFormation makes of a SAM template, with the code left open.

    `release` has key and content hash (SHA-256 in base64) of the zip of each architecture.
    """
    # The translator asks boto3 for a Region, only to choose the partition of managed policies.
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

    sam = json.loads(json.dumps(sam))  # the translator changes what it is given
    # SAM wants a place that looks like one; it is replaced below.
    for resource in sam["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "bucket", "Key": "key"}
    # The translator writes the Region and partition of its caller into some values. This keeps them open.
    itself = {name: "${%s}" % name for name in ("AWS::Region", "AWS::Partition")}
    plain = Translator({}, Parser()).translate(sam, itself)
    for resource in plain["Resources"].values():
        _take_out_what_sam_adds(resource)
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            body = resource["Properties"]["DashboardBody"]
            body["Fn::Sub"] = json.dumps(json.loads(body["Fn::Sub"]), separators=(",", ":"))
    plain.pop("Transform", None)
    plain["Metadata"].pop("AWS::ServerlessRepo::Application", None)
    plain["Metadata"].pop("cfn-lint", None)
    _ask_for_the_code(plain, release)
    order = ["AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules", "Conditions", "Resources", "Outputs"]
    return {key: plain[key] for key in order}


def _take_out_what_sam_adds(resource: dict) -> None:
    properties = resource.get("Properties", {})
    if resource["Type"] == "AWS::Lambda::Function":
        tags = [tag for tag in properties.pop("Tags", []) if tag["Key"] != "lambda:createdBy"]
        if tags:
            properties["Tags"] = tags
    for key in ("BuildMethod", "BuildProperties", "SamResourceId"):
        resource.get("Metadata", {}).pop(key, None)
    if not resource.get("Metadata", True):
        del resource["Metadata"]


def _ask_for_the_code(plain: dict, release: dict[str, tuple[str, str]] | None) -> None:
    """Parameters for where the code is and what it must be, and the properties that they fill."""
    parameters = {
        "CodeBucketPrefix": {
            "Type": "String",
            "Description": "The code is read from the bucket PREFIX-REGION, so that one template serves every Region.",
            "AllowedPattern": r"^[a-z0-9][a-z0-9.\-]{1,45}$",
        },
        "CodeKey": {
            "Type": "String",
            "Description": "Key of the zip in that bucket. A new version needs a new key, or CloudFormation sees no change.",
            "MinLength": 1,
        },
        "CodeObjectVersion": {
            "Type": "String",
            "Default": "",
            "Description": "Version of that object, in a bucket that keeps versions (replication keeps their ids). Empty: the newest.",
            "AllowedPattern": r"^[A-Za-z0-9._+/=\-]{0,1024}$",
        },
        "CodeSha256": {
            "Type": "String",
            "Default": "",
            "Description": "SHA-256 of the zip in base64. A deployment with other content fails. Empty: the content is not compared.",
            "AllowedPattern": "^$|^[A-Za-z0-9+/]{43}=$",
        },
        "CodeSigningProfileVersionArn": {
            "Type": "String",
            "Default": "",
            "Description": "Profile of AWS Signer by which the zip must be signed, in this Region. Empty: no signature is asked for.",
            "AllowedPattern": r"^$|^arn:aws[a-z-]*:signer:[a-z0-9-]+:[0-9]{12}:/signing-profiles/[A-Za-z0-9_]+/[A-Za-z0-9]+$",
        },
    }
    given = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeKey"}, ""]}]}
    compared = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeSha256"}, ""]}]}
    key, content = {"Ref": "CodeKey"}, {"Ref": "CodeSha256"}
    if release:
        of_architecture = [{"Fn::If": ["IsArm64", release["arm64"][part], release["x86_64"][part]]} for part in (0, 1)]
        parameters["CodeKey"] = {
            "Type": "String",
            "Default": "",
            "Description": "Key of another zip in that bucket than the one of this release for the Architecture.",
            "AllowedPattern": "^.{0,1024}$",
        }
        plain["Conditions"]["IsArm64"] = {"Fn::Equals": [{"Ref": "Architecture"}, "arm64"]}
        plain["Conditions"]["NamesCode"] = given
        key, content = ({"Fn::If": ["NamesCode", mine, its]} for mine, its in zip((key, content), of_architecture))
        compared = {"Fn::Or": [{"Fn::Not": [{"Condition": "NamesCode"}]}, compared]}
    plain["Parameters"] = {**parameters, **plain["Parameters"]}
    groups = plain["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    groups.insert(0, {"Label": {"default": "Where the code is"}, "Parameters": list(parameters)})

    nothing = {"Ref": "AWS::NoValue"}
    plain["Conditions"]["NamesObjectVersion"] = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeObjectVersion"}, ""]}]}
    plain["Conditions"]["IsSigned"] = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeSigningProfileVersionArn"}, ""]}]}
    plain["Conditions"]["ComparesContent"] = compared
    (function,) = (each for each in plain["Resources"].values() if each["Type"] == "AWS::Lambda::Function")
    function["Properties"]["Code"] = {
        "S3Bucket": {"Fn::Sub": "${CodeBucketPrefix}-${AWS::Region}"},
        "S3Key": key,
        "S3ObjectVersion": {"Fn::If": ["NamesObjectVersion", {"Ref": "CodeObjectVersion"}, nothing]},
    }
    function["Properties"]["CodeSigningConfigArn"] = {"Fn::If": ["IsSigned", {"Ref": "CodeSigning"}, nothing]}
    plain["Resources"]["CodeSigning"] = {
        "Type": "AWS::Lambda::CodeSigningConfig",
        "Condition": "IsSigned",
        "Properties": {
            "AllowedPublishers": {"SigningProfileVersionArns": [{"Ref": "CodeSigningProfileVersionArn"}]},
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"},
        },
    }
    # Lambda publishes a version only of the content that is named, so a deployment with other content fails here.
    plain["Resources"]["CodeIsWhatWasNamed"] = {
        "Type": "AWS::Lambda::Version",
        "Condition": "ComparesContent",
        "Properties": {"FunctionName": {"Ref": "Function"}, "CodeSha256": content},
    }


# --- the command ---------------------------------------------------------------------------------------------------------------------


def content_hash(zip_file: Path) -> str:
    """SHA-256 in base64, as Lambda says it (`CodeSha256`)."""
    return base64.b64encode(hashlib.sha256(zip_file.read_bytes()).digest()).decode()


def _code(argument: str) -> tuple[str, Path]:
    architecture, _, path = argument.partition("=")
    if architecture not in ARCHITECTURES or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"expected x86_64=ZIP or arm64=ZIP with a ZIP that exists, got {argument}")
    return architecture, Path(path)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--template", type=Path, default=ROOT / "template.yaml", help="the SAM template (default: %(default)s)")
    arguments.add_argument("--output", type=Path, help="where to write (default: standard output)")
    arguments.add_argument(
        "--code", type=_code, action="append", metavar="ARCHITECTURE=ZIP",
        help="the zip of x86_64 or of arm64; give both. Its name becomes its key, and its content the only one that can be deployed",
    )  # fmt: skip
    options = arguments.parse_args()
    code = dict(options.code or [])
    if code and set(code) != set(ARCHITECTURES):
        arguments.error(f"--code is needed for both {' and '.join(ARCHITECTURES)}, or not at all")
    release = {architecture: (path.name, content_hash(path)) for architecture, path in code.items()}
    written = text(transform(load(options.template), release))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(written, encoding="utf-8")
        print(f"{options.output}: {len(written.encode()):,} bytes", file=sys.stderr)
    else:
        sys.stdout.write(written)
    if len(written.encode()) > LONGEST:
        print(f"It is longer than {LONGEST:,} bytes: put it into a bucket and name it by --template-url.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
