"""The template as its readers see it: transformed from SAM to CloudFormation, and with parameters filled in.

Used by the tests, by the mutations and by the end-to-end run; `deploy/package.py` does the transformation.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "template.yaml"

# What CloudFormation fills in itself. Events are tested as if the stack were where the event happened.
PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Region": "eu-west-1",
    "AWS::Partition": "aws",
    "AWS::StackName": "ami-warden",
    "AWS::StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/ami-warden/6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "AWS::URLSuffix": "amazonaws.com",
}

_spec = importlib.util.spec_from_file_location("package", ROOT / "deploy" / "package.py")
package = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(package)


def load(path: Path = SOURCE) -> dict:
    """The SAM template, short forms such as `!Ref` written out."""
    return package.load(path)


def transform(sam: dict) -> dict:
    """The CloudFormation template that SAM makes of it."""
    return package.transform(sam)


class Missing(Exception):
    """A parameter that has no default and was not given."""


NO_VALUE = object()


class Stack:
    """A transformed template with its parameters, as CloudFormation would resolve it.

    References to resources become names and ARNs that are made up, but always the same.
    """

    def __init__(self, template: dict, parameters: dict[str, Any] | None = None, pseudo: dict[str, str] | None = None):
        self.template = template
        self.pseudo = {**PSEUDO, **(pseudo or {})}
        unknown = set(parameters or {}) - set(template["Parameters"])
        if unknown:
            raise Missing(f"no such parameter: {sorted(unknown)}")
        self.parameters = {
            name: str((parameters or {}).get(name, declaration.get("Default", "")))
            for name, declaration in template["Parameters"].items()
        }
        self.conditions = {name: self._condition(value) for name, value in template.get("Conditions", {}).items()}

    def resources(self, kind: str | None = None) -> dict[str, dict]:
        """The resources that exist under these parameters, resolved."""
        return {
            name: self.resolve(resource)
            for name, resource in self.template["Resources"].items()
            if self.conditions.get(resource.get("Condition"), True) and kind in (None, resource["Type"])
        }

    def patterns(self) -> dict[str, dict]:
        """The event pattern of every rule that has one."""
        return {
            name: rule["Properties"]["EventPattern"]
            for name, rule in self.resources("AWS::Events::Rule").items()
            if "EventPattern" in rule["Properties"]
        }

    def policies(self) -> dict[str, dict]:
        """Every IAM policy document of the stack: of roles, trust, and queues."""
        found = {}
        for name, resource in self.resources().items():
            properties = resource.get("Properties", {})
            for policy in properties.get("Policies") or []:
                found[f"{name}/{policy['PolicyName']}"] = policy["PolicyDocument"]
            if "AssumeRolePolicyDocument" in properties:
                found[f"{name}/trust"] = properties["AssumeRolePolicyDocument"]
            if "PolicyDocument" in properties:
                found[name] = properties["PolicyDocument"]
        return found

    def violated_rules(self) -> list[str]:
        """The assertions of the section `Rules` that these parameters break."""
        return [
            assertion["AssertDescription"]
            for rule in self.template.get("Rules", {}).values()
            if self._condition(rule.get("RuleCondition", True))
            for assertion in rule["Assertions"]
            if not self._condition(assertion["Assert"])
        ]

    def refused(self) -> list[str]:
        """What refuses these parameters: broken rules, and by name the parameters that Parameter Store would not take."""
        return self.violated_rules() + [
            name
            for name, resource in self.resources("AWS::SSM::Parameter").items()
            if not re.fullmatch(resource["Properties"]["AllowedPattern"], resource["Properties"]["Value"])
        ]

    def accepts(self, name: str, value: str) -> bool:
        """Whether the declaration of a parameter lets a value pass."""
        declaration = self.template["Parameters"][name]
        if "AllowedValues" in declaration and value not in [str(allowed) for allowed in declaration["AllowedValues"]]:
            return False
        if "AllowedPattern" in declaration and not re.fullmatch(declaration["AllowedPattern"], value):
            return False
        if "MinLength" in declaration and len(value) < int(declaration["MinLength"]):
            return False
        if "MaxLength" in declaration and len(value) > int(declaration["MaxLength"]):
            return False
        if declaration["Type"] == "Number":
            low, high = declaration.get("MinValue", "-inf"), declaration.get("MaxValue", "inf")
            return float(low) <= float(value) <= float(high)
        return True

    def resolve(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (key, argument), = node.items()
            if key == "Ref":
                return self._ref(argument)
            if key == "Fn::GetAtt":
                return self._attribute(*(argument.split(".", 1) if isinstance(argument, str) else argument))
            if key == "Fn::If":
                condition, yes, no = argument
                return self.resolve(yes if self.conditions[condition] else no)
            if key == "Fn::Sub":
                return self._sub(argument)
            if key == "Fn::Join":
                separator, parts = argument
                return separator.join(map(str, self.resolve(parts)))
            if key == "Fn::Split":
                separator, text = argument
                return self.resolve(text).split(separator)
            if key == "Fn::Select":
                index, values = argument
                return self.resolve(values)[int(index)]
            if key == "Fn::FindInMap":
                name, *keys = map(self.resolve, argument)
                return self.template["Mappings"][name][keys[0]][keys[1]]
            if key.startswith("Fn::"):
                raise NotImplementedError(key)
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            is_list = self.template["Parameters"][name]["Type"] == "CommaDelimitedList"
            return self.parameters[name].split(",") if is_list else self.parameters[name]
        if name in self.template["Resources"]:
            resource = self.template["Resources"][name]
            if resource["Type"] == "AWS::SNS::Topic":  # its reference is its ARN, as that of an alias is
                return f"arn:{self.pseudo['AWS::Partition']}:sns:{self.pseudo['AWS::Region']}:{self.pseudo['AWS::AccountId']}:ami-warden-{name}-1ABC"
            if resource["Type"] == "AWS::Lambda::Alias":
                return f"{self._attribute(resource['Properties']['FunctionName']['Ref'], 'Arn')}:{resource['Properties']['Name']}"
            return f"ami-warden-{name}-1ABC"
        raise Missing(name)

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self.template["Resources"][name]["Type"]
        physical = self._ref(name)
        if attribute != "Arn":
            return physical
        where = f"{self.pseudo['AWS::Region']}:{self.pseudo['AWS::AccountId']}"
        partition = self.pseudo["AWS::Partition"]
        return {
            "AWS::Lambda::Function": f"arn:{partition}:lambda:{where}:function:{physical}",
            "AWS::Events::EventBus": f"arn:{partition}:events:{where}:event-bus/{physical}",
            "AWS::Events::Rule": f"arn:{partition}:events:{where}:rule/{physical}",
            "AWS::SQS::Queue": f"arn:{partition}:sqs:{where}:{physical}",
            "AWS::Logs::LogGroup": f"arn:{partition}:logs:{where}:log-group:{physical}:*",
            "AWS::IAM::Role": f"arn:{partition}:iam::{self.pseudo['AWS::AccountId']}:role/ami-warden/{physical}",
        }[kind]

    def _sub(self, argument: Any) -> str:
        text, values = argument if isinstance(argument, list) else (argument, {})

        def value(match: re.Match) -> str:
            name = match.group(1)
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in values:
                return str(self.resolve(values[name]))
            if "." in name:
                return self._attribute(*name.split(".", 1))
            return str(self._ref(name))

        return re.sub(r"\$\{(![^}]+|[A-Za-z0-9:._]+)\}", value, text)

    def _condition(self, node: Any) -> bool:
        if isinstance(node, bool):
            return node
        (key, argument), = node.items()
        if key == "Fn::Equals":
            left, right = map(self.resolve, argument)
            return str(left) == str(right)
        if key == "Fn::Not":
            return not self._condition(argument[0])
        if key == "Fn::And":
            return all(map(self._condition, argument))
        if key == "Fn::Or":
            return any(map(self._condition, argument))
        if key == "Condition":
            return self._condition(self.template["Conditions"][argument])
        raise NotImplementedError(key)


class Deployed(Stack):
    """The same for linters: parameters and conditions are filled in, and resources still refer to each other."""

    def resolve(self, node: Any) -> Any:
        if isinstance(node, dict) and len(node) == 1:
            ((key, argument),) = node.items()
            if key == "Fn::GetAtt" or (key == "Ref" and argument in self.template["Resources"]):
                return node
        return super().resolve(node)

    def plain(self) -> dict:
        """A template without parameters and conditions."""
        resources = self.resources()
        for resource in resources.values():
            resource.pop("Condition", None)
        return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}


def event(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def dump(template: dict) -> str:
    return yaml.safe_dump(template, sort_keys=False)
