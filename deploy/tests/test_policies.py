"""IAM: what the role may do, what the shipped policies deny, and that every condition key exists."""

import json

import parliament
import pytest

import iam
import template

EVERYTHING = {
    "PolicyPath": "/ami-warden", "StatusTag": "image-status", "AllowedGranteesParameter": "/security/ami-grantees", "CloudTrailEvents": "true",
    "AllowedCopiers": "222233334444, 333344445555", "SharedTags": "release,os-*", "KeyCheck": "warn",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
}  # fmt: skip
SHIPPED = sorted((template.ROOT / "deploy/iam").glob("*.json"))
IMAGE = "arn:aws:ec2:eu-west-1::image/ami-0123456789abcdef0"
SNAPSHOT = "arn:aws:ec2:eu-west-1::snapshot/snap-0123456789abcdef0"
OWN = {"ec2:Owner": "111122223333", "ec2:Region": "eu-west-1"}


def role(stack, **parameters):
    return stack(**parameters).policies()["Role/ami-warden"]


def actions(document) -> set[str]:
    return {action for statement in iam.statements(document) for action in iam.listed(statement["Action"])}


def test_the_linter_sees_what_it_is_for():
    """A linter that finds nothing proves nothing: each of these is a mistake that IAM accepts in silence."""

    def findings(**changes):
        statement = {
            "Sid": "x", "Effect": "Allow", "Action": "ec2:ModifyImageAttribute", "Resource": "arn:aws:ec2:eu-west-1::image/*",
            "Condition": {"StringEquals": {"ec2:Owner": "111122223333"}}, **changes,
        }  # fmt: skip
        return iam.lint({"Version": "2012-10-17", "Statement": [statement]})

    assert findings() == []
    assert findings(Action="ec2:ModifyImageAttributes")
    assert findings(Action="ec2:Modify*")
    assert findings(Resource="*")
    assert findings(Resource="arn:aws:ec2:eu-west-1:111122223333:image/*"), "image ARNs have no account"
    assert findings(Condition={"StringEquals": {"ec2:Add/group": "all"}}), "documented for snapshots only"
    assert findings(Action="ec2:DeleteTags"), "DeleteTags has no ec2:Owner"
    assert findings(Condition={"StringSame": {"ec2:Owner": "111122223333"}})
    assert findings(Action="ec2:CreateTags", Condition={"ForAllValues:StringEquals": {"aws:TagKeys": "x"}})
    assert findings(Effect="Deny", Action="iam:Putt*", Resource="arn:aws:iam::*:role/x", Condition={})
    assert findings(Effect="Deny", Action="iam:Put*", Resource="arn:aws:sqs:*:*:x", Condition={})
    assert findings(Effect="Deny", Action="iam:Put*", Resource="arn:aws:iam::*:role/x", Condition={}) == []
    broad = {"Sid": "x", "Effect": "Deny", "NotAction": ["lambda:Gett*"], "Resource": "arn:aws:lambda:*:*:function:x"}
    assert iam.lint({"Version": "2012-10-17", "Statement": [broad]})
    assert iam.lint({"Version": "2012-10-17", "Statement": [{**broad, "NotAction": ["lambda:Get*"]}]}) == []
    assert iam.lint({"Version": "2012-10-17", "Statement": [{**broad, "NotAction": ["lambda:Get*"], "Effect": "Allow"}]})


@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_every_policy_of_the_template_names_actions_resources_and_keys_that_exist(stack, parameters):
    policies = stack(**parameters).policies()
    assert {"Role/ami-warden", "Role/trust", "DeliveryDeadLetterQueuePolicy", "InvocationDeadLetterQueuePolicy"} == set(policies)
    assert {name: findings for name, policy in policies.items() if (findings := iam.lint(policy))} == {}


@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_a_second_linter_has_nothing_to_say_about_the_role(stack, parameters):
    findings = parliament.analyze_policy_string(json.dumps(role(stack, **parameters))).findings
    assert [str(finding) for finding in findings] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_policy_names_actions_resources_and_keys_that_exist(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    assert iam.lint(document, least_privilege=path.stem == "iam-publisher") == []
    findings = parliament.analyze_policy_string(json.dumps(document)).findings
    # Its list of actions is older than some that are denied here; iam.lint knows them all.
    assert [str(finding) for finding in findings if finding.issue != "UNKNOWN_ACTION"] == []
    assert len(path.read_text(encoding="utf-8")) <= 5120, "a service control policy has at most 5,120 characters, blanks included"


ALWAYS = {
    "ec2:DescribeImages", "ec2:DescribeImageAttribute", "ec2:DescribeSnapshots", "ec2:GetImageBlockPublicAccessState",
    "ec2:ModifyImageAttribute", "ec2:EnableImageDeprecation", "ec2:DisableImageDeprecation", "events:PutEvents", "sqs:SendMessage",
    "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords",
}  # fmt: skip
KEYS = {"kms:DescribeKey", "kms:ListKeyPolicies", "kms:GetKeyPolicy", "kms:ListGrants"}
# Which permissions come with which setting, and with no other.
WITH = [
    ({}, set()),
    ({"StatusTag": "image-status"}, {"ec2:CreateTags", "ec2:DeleteTags"}),
    ({"SharedTags": "release"}, {"ec2:CreateTags", "ec2:DeleteTags"}),
    ({"PolicyPath": "/ami-warden"}, {"ssm:GetParametersByPath"}),
    ({"AllowedGranteesParameter": "/security/x"}, {"ssm:GetParameter"}),
    ({"AllowedCopiers": "222233334444"}, {"ec2:DescribeSnapshotAttribute", "ec2:ModifySnapshotAttribute"}),
    ({"KeyCheck": "warn"}, KEYS),
    ({"KeyCheck": "refuse"}, KEYS),
    ({"KmsKeyArn": EVERYTHING["KmsKeyArn"]}, {"kms:GenerateDataKey", "kms:Decrypt"}),
    ({"AllowPublic": "true", "AllowedGrantees": "*", "ShareBackups": "true", "MaxFindingSeverity": "low", "MaxRemovals": "1", "DryRun": "true"}, set()),
]


@pytest.mark.parametrize(("parameters", "more"), WITH, ids=lambda value: "+".join(value) if isinstance(value, dict) else "")
def test_the_role_may_do_exactly_what_the_settings_need(stack, parameters, more):
    assert actions(role(stack, **parameters)) == ALWAYS | more


def test_every_statement_of_the_role_has_a_comment_and_a_line_in_the_documentation(source):
    text = source.read_text(encoding="utf-8")
    readme = (template.ROOT / "deploy/README.md").read_text(encoding="utf-8")
    document = template.Stack(template.transform(template.load(source)), EVERYTHING).policies()["Role/ami-warden"]
    lines = text.splitlines()
    for statement in iam.statements(document):
        at = next(number for number, line in enumerate(lines) if line.strip() == f"- Sid: {statement['Sid']}")
        while "#" not in lines[at - 1] and "If" in lines[at - 1] + lines[at - 2]:
            at -= 1
        assert lines[at - 1].strip().startswith("#"), statement["Sid"]
        assert f"`{statement['Sid']}`" in readme, statement["Sid"]
        for action in iam.listed(statement["Action"]):
            assert f"`{action}`" in readme, action


def test_the_role_modifies_images_of_this_account_only(stack):
    document = role(stack)
    assert iam.decision(document, "ec2:ModifyImageAttribute", IMAGE, OWN) == "Allow"
    assert iam.decision(document, "ec2:ModifyImageAttribute", IMAGE, {**OWN, "ec2:Owner": "444455556666"}) == "Silent"
    elsewhere = IMAGE.replace("eu-west-1", "us-east-1")
    assert iam.decision(document, "ec2:ModifyImageAttribute", elsewhere, OWN) == "Silent"
    for action in ("ec2:EnableImageDeprecation", "ec2:DisableImageDeprecation", "ec2:DescribeImageAttribute"):
        assert iam.decision(document, action, IMAGE, OWN) == "Allow"
        assert iam.decision(document, action, IMAGE, {**OWN, "ec2:Owner": "444455556666"}) == "Silent"


def test_the_role_writes_the_status_tag_and_no_other(stack):
    document = role(stack, StatusTag="image-status")
    for action in ("ec2:CreateTags", "ec2:DeleteTags"):
        assert iam.decision(document, action, IMAGE, {**OWN, "aws:TagKeys": ["image-status"]}) == "Allow"
        assert iam.decision(document, action, IMAGE, {**OWN, "aws:TagKeys": ["ami-warden:launch-permission"]}) == "Silent"
        assert iam.decision(document, action, IMAGE, {**OWN, "aws:TagKeys": ["image-status", "Name"]}) == "Silent"
        assert iam.decision(document, action, IMAGE, OWN) == "Silent", "all tags at once"
        instance = "arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0"
        assert iam.decision(document, action, instance, {**OWN, "aws:TagKeys": ["image-status"]}) == "Silent"


def test_the_role_writes_the_shared_tags_that_the_setting_names_and_no_other(stack):
    document = role(stack, SharedTags="release, os-* ,cost centre")
    for action in ("ec2:CreateTags", "ec2:DeleteTags"):
        for keys in (["ec2:SharedTag/release"], ["ec2:SharedTag/os-family"], ["ec2:SharedTag/cost centre", "ec2:SharedTag/release"]):
            assert iam.decision(document, action, IMAGE, {**OWN, "aws:TagKeys": keys}) == "Allow", keys
        for keys in (["ec2:SharedTag/releases"], ["release"], ["ec2:SharedTag/"], ["ec2:SharedTag/release", "Name"], ["os-family"]):
            assert iam.decision(document, action, IMAGE, {**OWN, "aws:TagKeys": keys}) == "Silent", keys
        assert iam.decision(document, action, IMAGE, OWN) == "Silent", "all tags at once"
    someone = {**OWN, "ec2:Owner": "444455556666", "aws:TagKeys": ["ec2:SharedTag/release"]}
    assert iam.decision(document, "ec2:CreateTags", IMAGE, someone) == "Silent"
    any_key = role(stack, SharedTags="*")
    assert iam.decision(any_key, "ec2:CreateTags", IMAGE, {**OWN, "aws:TagKeys": ["ec2:SharedTag/x"]}) == "Allow"
    assert iam.decision(any_key, "ec2:CreateTags", IMAGE, {**OWN, "aws:TagKeys": ["Name"]}) == "Silent"


def test_the_role_lets_the_named_accounts_copy_and_never_everybody(stack):
    for copiers in ("222233334444, 333344445555", "222233334444 333344445555", "222233334444,333344445555"):
        document = role(stack, AllowedCopiers=copiers)
        for accounts in (["222233334444"], ["333344445555", "222233334444"]):
            assert iam.decision(document, "ec2:ModifySnapshotAttribute", SNAPSHOT, {**OWN, "ec2:Add/userId": accounts}) == "Allow"
        for accounts in (["444455556666"], ["222233334444", "444455556666"]):
            assert iam.decision(document, "ec2:ModifySnapshotAttribute", SNAPSHOT, {**OWN, "ec2:Add/userId": accounts}) == "Silent"
    for copiers in ("222233334444", "*"):
        document = role(stack, AllowedCopiers=copiers)
        assert iam.decision(document, "ec2:ModifySnapshotAttribute", SNAPSHOT, {**OWN, "ec2:Add/group": "all"}) == "Silent"
        both = {**OWN, "ec2:Add/group": "all", "ec2:Add/userId": ["222233334444"]}
        assert iam.decision(document, "ec2:ModifySnapshotAttribute", SNAPSHOT, both) == "Silent"
        someone = {"ec2:Owner": "444455556666", "ec2:Region": "eu-west-1"}
        for context in ({"ec2:Add/userId": ["222233334444"]}, {"ec2:Remove/userId": ["222233334444"]}, {}):
            assert iam.decision(document, "ec2:ModifySnapshotAttribute", SNAPSHOT, {**someone, **context}) == "Silent"
            assert iam.decision(document, "ec2:DescribeSnapshotAttribute", SNAPSHOT, {**someone, **context}) == "Silent"
    anyone = role(stack, AllowedCopiers="*")
    assert iam.decision(anyone, "ec2:ModifySnapshotAttribute", SNAPSHOT, {**OWN, "ec2:Add/userId": ["444455556666"]}) == "Allow"


def test_the_role_takes_the_permission_to_copy_from_anybody(stack):
    document = role(stack, AllowedCopiers="222233334444")
    for context in ({"ec2:Remove/userId": ["444455556666"]}, {"ec2:Remove/group": "all"}):
        assert iam.decision(document, "ec2:ModifySnapshotAttribute", SNAPSHOT, {**OWN, **context}) == "Allow"


def test_the_role_looks_at_keys_of_any_account_and_at_policies_of_its_own(stack):
    document = role(stack, KeyCheck="refuse")
    own, foreign = (f"arn:aws:kms:eu-west-1:{account}:key/1234abcd" for account in ("111122223333", "444455556666"))
    assert iam.decision(document, "kms:DescribeKey", own, {}) == iam.decision(document, "kms:DescribeKey", foreign, {}) == "Allow"
    for action in KEYS - {"kms:DescribeKey"}:
        assert iam.decision(document, action, own, {}) == "Allow"
        assert iam.decision(document, action, foreign, {}) == "Silent"


def test_the_role_uses_the_key_of_the_queues_by_way_of_sqs_alone(stack):
    document, key = role(stack, KmsKeyArn=EVERYTHING["KmsKeyArn"]), EVERYTHING["KmsKeyArn"]
    for action in ("kms:GenerateDataKey", "kms:Decrypt"):
        assert iam.decision(document, action, key, {"kms:ViaService": "sqs.eu-west-1.amazonaws.com"}) == "Allow"
        assert iam.decision(document, action, key, {"kms:ViaService": "ec2.eu-west-1.amazonaws.com"}) == "Silent"
        assert iam.decision(document, action, key, {}) == "Silent"
        assert iam.decision(document, action, key + "0", {"kms:ViaService": "sqs.eu-west-1.amazonaws.com"}) == "Silent"


def test_the_role_reads_parameters_below_the_policy_path_only(stack):
    document = role(stack, PolicyPath="/ami-warden", AllowedGranteesParameter="/security/ami-grantees")
    parameter = "arn:aws:ssm:eu-west-1:111122223333:parameter"
    for name in ("/ami-warden", "/ami-warden/groups/engineering"):
        assert iam.decision(document, "ssm:GetParametersByPath", parameter + name, {}) == "Allow"
    for name in ("/", "/ami-warden-old", "/security"):
        assert iam.decision(document, "ssm:GetParametersByPath", parameter + name, {}) == "Silent"
    assert iam.decision(document, "ssm:GetParameter", parameter + "/security/ami-grantees", {}) == "Allow"
    assert iam.decision(document, "ssm:GetParameter", parameter + "/security/ami-grantees-2", {}) == "Silent"


def test_the_role_puts_no_events_in_anothers_name(stack):
    bus = "arn:aws:events:eu-west-1:111122223333:event-bus/default"
    assert iam.decision(role(stack), "events:PutEvents", bus, {"events:source": "lambda"}) == "Allow"
    assert iam.decision(role(stack), "events:PutEvents", bus, {}) == "Allow", "Lambda's check when the destination is set"
    assert iam.decision(role(stack), "events:PutEvents", bus, {"events:source": "payments"}) == "Silent"


def test_the_dead_letter_queue_takes_events_from_exactly_the_rules_of_the_stack(stack):
    for parameters in ({}, EVERYTHING, {"SweepSchedule": ""}, {"AllowedGranteesParameter": "/security/x"}):
        deployed = stack(**parameters)
        allow = deployed.policies()["DeliveryDeadLetterQueuePolicy"]["Statement"][0]
        rules = {deployed._attribute(name, "Arn") for name in deployed.resources("AWS::Events::Rule")}
        assert set(allow["Condition"]["ArnEquals"]["aws:SourceArn"]) == rules


def test_every_resource_that_the_shipped_policies_guard_has_the_name_of_the_stack_in_its_own(plain):
    """CloudFormation makes such a name where the template gives none, also in a StackSet: the policies look for it."""
    guarded = {
        "AWS::Lambda::Function": "FunctionName",
        "AWS::Events::Rule": "Name",
        "AWS::SQS::Queue": "QueueName",
        "AWS::Logs::LogGroup": "LogGroupName",
        "AWS::CloudWatch::Alarm": "AlarmName",
    }
    found = set()
    for name, resource in plain["Resources"].items():
        if key := guarded.get(resource["Type"]):
            found.add(resource["Type"])
            assert "AWS::StackName" in json.dumps(resource["Properties"].get(key, "AWS::StackName")), name
    assert found == set(guarded)


def test_the_shipped_policies_know_the_role_of_the_function_by_its_path(stack):
    assert stack().resources()["Role"]["Properties"]["Path"] == "/ami-warden/"
    sharing = json.loads((template.ROOT / "deploy/iam/scp-sharing.json").read_text(encoding="utf-8"))
    exempt = sharing["Statement"][0]["Condition"]["ArnNotLike"]["aws:PrincipalArn"]
    assert "arn:aws:iam::*:role/ami-warden/*" in exempt
    assert ":role/ami-warden/" in stack()._attribute("Role", "Arn")
