"""The template itself: what is in it, and what it lets pass."""

import io
import json
import re
import subprocess
import zipfile

import pytest

import emulators
import template

SETTINGS = {
    "TAG_PREFIX": "ami-warden:",
    "ALLOW_PUBLIC": "false",
    "ALLOWED_GRANTEES": "",
    "ALLOWED_GRANTEES_PARAMETER": "",
    "ORGANIZATION_ARN": "",
    "POLICY_PATH": "",
    "MAX_REMOVALS": "",
    "DRY_RUN": "false",
    "STATUS_TAG": "",
}
DEPLOYMENT = {
    "Architecture", "CloudTrailEvents", "SweepSchedule", "LogRetentionDays", "AlarmTopicArn", "MemorySize", "ReservedConcurrency",
}  # fmt: skip
CODE = {"CodeBucketPrefix": "code", "CodeKey": "ami-warden.zip"}


def camel(setting: str) -> str:
    return "".join(word.capitalize() for word in setting.split("_"))


def lint(path) -> str:
    """cfn-lint's findings, in words."""
    return subprocess.run([emulators.beside_python("cfn-lint"), "--template", path], capture_output=True, text=True).stdout


def test_cfn_lint_has_nothing_to_say_about_the_source(source):
    assert lint(source) == ""


def test_cfn_lint_has_nothing_to_say_about_what_sam_makes_of_it(plain, tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text(template.package.text(plain), encoding="utf-8")
    assert lint(path) == ""


def test_the_plain_template_has_no_transform_and_fits_into_a_stackset(plain):
    assert "Transform" not in plain
    assert not [name for name, resource in plain["Resources"].items() if resource["Type"].startswith("AWS::Serverless")]
    assert len(template.package.text(plain).encode()) <= 51_200, "the most that CloudFormation takes without a bucket"


def test_the_plain_template_is_for_every_region_and_partition(plain):
    """SAM's translator likes to write in the Region of whoever runs it."""

    def texts(node, key=None):
        if isinstance(node, dict):
            for name, value in node.items():
                yield from texts(value, name)
        elif isinstance(node, list):
            for value in node:
                yield from texts(value, key)
        else:
            yield key, str(node)

    for key, value in texts(plain["Resources"]):
        assert not re.search(r"\b(us|eu|ap)-[a-z]+-[0-9]\b|arn:aws:", value), value
        assert "${" not in value or key == "Fn::Sub", value


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {
            "PolicyPath": "/ami-warden", "StatusTag": "image-status", "AllowedGranteesParameter": "/security/ami-grantees", "SweepSchedule": "",
            "CloudTrailEvents": "true", "ReservedConcurrency": "1", "AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms",
        },
    ],
    ids=["defaults", "everything"],
)  # fmt: skip
def test_the_plain_template_can_be_deployed_as_a_stackset_would(aws, plain, parameters):
    s3, cloudformation = aws("s3"), aws("cloudformation")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("bootstrap", "#!/bin/sh\n")
    prefix = f"code{len(parameters)}"
    s3.create_bucket(Bucket=f"{prefix}-eu-west-1", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=f"{prefix}-eu-west-1", Key="ami-warden.zip", Body=code.getvalue())
    stack = f"warden-{len(parameters)}"
    cloudformation.create_stack(
        StackName=stack,
        TemplateBody=template.package.text(plain),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in (CODE | {"CodeBucketPrefix": prefix} | parameters).items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    (deployed,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    assert {output["OutputKey"] for output in deployed["Outputs"]} == set(plain["Outputs"])


def test_the_source_has_no_yaml_aliases(source):
    """CloudFormation does not understand them, though every linter does."""
    assert not re.search(r"(?m)^[^#]*[:-] [&*][A-Za-z]", source.read_text(encoding="utf-8"))


def test_every_setting_is_a_variable_and_a_parameter_with_its_default(plain, stack):
    function = stack().resources("AWS::Lambda::Function")["Function"]["Properties"]
    variables = dict(function["Environment"]["Variables"])
    assert variables.pop("SSL_CERT_FILE").startswith("/etc/pki/")
    assert variables == SETTINGS
    assert set(plain["Parameters"]) == {camel(setting) for setting in SETTINGS} | DEPLOYMENT | set(CODE)


def test_every_parameter_reaches_its_variable(stack):
    for setting in SETTINGS:
        variables = stack(**{camel(setting): "something"}).resources()["Function"]["Properties"]["Environment"]["Variables"]
        assert variables[setting] == "something"


def test_every_setting_is_one_the_code_reads():
    path = template.ROOT / "src/settings.rs"
    if not path.exists():
        pytest.skip("no src/settings.rs")
    code = path.read_text(encoding="utf-8")
    assert [setting for setting in SETTINGS if setting not in code] == []


def test_every_parameter_says_what_it_is_for_and_is_asked_for_in_a_group(plain):
    groups = plain["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(plain["Parameters"])
    for name, declaration in plain["Parameters"].items():
        assert len(declaration["Description"]) > 40, name
        assert "Default" in declaration or name in CODE
        checks = {"AllowedValues", "AllowedPattern", "MinValue", "MinLength"}
        assert checks & set(declaration), f"{name} takes anything"


def test_every_default_is_accepted(plain, stack):
    deployed = stack(**CODE)
    for name in plain["Parameters"]:
        assert deployed.accepts(name, deployed.parameters[name]), name
    assert deployed.violated_rules() == []


ORGANIZATION = "arn:aws:organizations::123456789012:organization/o-exampleorgid"
UNIT = "arn:aws:organizations::123456789012:ou/o-exampleorgid/ou-ab12-11111111"
ACCEPTED = {
    "TagPrefix": ["ami-warden:", "share/", "my team:"],
    "AllowedGrantees": [
        "", "*", "111122223333", "111122223333 444455556666", "111122223333,o-exampleorgid", f"{ORGANIZATION} {UNIT}", "ou-ab12-11111111, *",
        "arn:aws-us-gov:organizations::123456789012:organization/o-exampleorgid",
    ],
    "AllowedGranteesParameter": ["", "/security/ami-grantees"],
    "OrganizationArn": ["", ORGANIZATION],
    "PolicyPath": ["", "/ami-warden", "/platform/ami-warden"],
    "MaxRemovals": ["", "0", "25"],
    "StatusTag": ["", "image-status"],
    "ReservedConcurrency": ["", "0", "1"],
    "SweepSchedule": ["", "rate(6 hours)", "rate(1 day)", "cron(15 2 * * ? *)", "cron(0/30 8-18 ? * MON-FRI *)"],
    "AlarmTopicArn": ["", "arn:aws:sns:eu-west-1:111122223333:alarms"],
    "MemorySize": ["128", "3008"],
}  # fmt: skip
REFUSED = {
    "TagPrefix": ["", "aws:", "ec2:SharedTag/", 'a"b', "a,b", "a{b"],
    "AllowPublic": ["yes", "True"],
    "DryRun": ["1"],
    "AllowedGrantees": ["all", "12345", "@group", "o-x", "111122223333444455556666", "111122223333;444455556666"],
    "AllowedGranteesParameter": ["ami-grantees", "/security/"],
    "OrganizationArn": ["o-exampleorgid", UNIT],
    "PolicyPath": ["/", "/ami-warden/", "ami-warden", "/ami*"],
    "MaxRemovals": ["-1", "many"],
    "StatusTag": ["aws:status"],
    "Architecture": ["amd64"],
    "SweepSchedule": ["6 hours", "rate(0 hours)", "at(2026-01-01T00:00:00)"],
    "AlarmTopicArn": ["alarms"],
    "MemorySize": ["64"],
    "LogRetentionDays": ["42"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ACCEPTED.items() for value in values])
def test_a_good_value_is_accepted(stack, name, value):
    assert stack().accepts(name, value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_a_bad_value_is_refused_before_anything_is_deployed(stack, name, value):
    assert not stack().accepts(name, value)


@pytest.mark.parametrize(
    "parameters",
    [
        {"AllowPublic": "true"},
        {"AllowedGrantees": "*", "AllowedGranteesParameter": "/security/ami-grantees"},
        {"AllowedGranteesParameter": "/ami-warden", "PolicyPath": "/ami-warden"},
        {"StatusTag": "ami-warden:", "TagPrefix": "ami-warden:"},
    ],
    ids=lambda parameters: "+".join(parameters),
)
def test_parameters_that_do_not_go_together_are_refused(stack, parameters):
    assert stack(**parameters).violated_rules()


@pytest.mark.parametrize(
    "parameters",
    [
        {"AllowPublic": "true", "AllowedGrantees": "111122223333"},
        {"AllowPublic": "true", "AllowedGranteesParameter": "/security/ami-grantees"},
        {"PolicyPath": "/ami-warden", "AllowedGranteesParameter": "/security/ami-grantees", "StatusTag": "image-status"},
    ],
    ids=lambda parameters: "+".join(parameters),
)
def test_parameters_that_go_together_are_accepted(stack, parameters):
    assert stack(**parameters).violated_rules() == []


def test_nothing_has_a_fixed_name(plain):
    names = {
        "AWS::Lambda::Function": "FunctionName", "AWS::IAM::Role": "RoleName", "AWS::Events::Rule": "Name", "AWS::SQS::Queue": "QueueName",
        "AWS::Logs::LogGroup": "LogGroupName", "AWS::CloudWatch::Alarm": "AlarmName", "AWS::CloudWatch::Dashboard": "DashboardName",
    }  # fmt: skip
    for name, resource in plain["Resources"].items():
        assert names.get(resource["Type"]) not in resource.get("Properties", {}), name
    assert not any("Export" in output for output in plain["Outputs"].values())


EVERYTHING = {"PolicyPath": "/ami-warden", "CloudTrailEvents": "true"}


def test_every_rule_retries_and_has_a_dead_letter_queue_and_may_invoke_the_function(stack):
    deployed = stack(**EVERYTHING)
    rules = deployed.resources("AWS::Events::Rule")
    assert len(rules) == 8
    queue, function = deployed._attribute("DeliveryDeadLetterQueue", "Arn"), deployed._attribute("Function", "Arn")
    for name, rule in rules.items():
        (target,) = rule["Properties"]["Targets"]
        assert target["Arn"] == function, name
        assert target["DeadLetterConfig"]["Arn"] == queue, name
        assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}, name
    permissions = {each["Properties"]["SourceArn"]: each["Properties"] for each in deployed.resources("AWS::Lambda::Permission").values()}
    assert set(permissions) == {deployed._attribute(name, "Arn") for name in rules}
    assert {each["Principal"] for each in permissions.values()} == {"events.amazonaws.com"}


def test_failed_invocations_are_kept_and_successes_go_to_the_bus(stack):
    deployed = stack()
    (config,) = deployed.resources("AWS::Lambda::EventInvokeConfig").values()
    assert config["Properties"]["MaximumRetryAttempts"] == 2
    assert config["Properties"]["DestinationConfig"] == {
        "OnFailure": {"Destination": deployed._attribute("InvocationDeadLetterQueue", "Arn")},
        "OnSuccess": {"Destination": "arn:aws:events:eu-west-1:111122223333:event-bus/default"},
    }


def test_both_dead_letter_queues_are_encrypted_and_keep_events_for_two_weeks(stack):
    queues = stack().resources("AWS::SQS::Queue")
    assert len(queues) == 2
    for queue in queues.values():
        assert queue["Properties"] == {"SqsManagedSseEnabled": True, "MessageRetentionPeriod": 1209600}


def test_the_function_is_what_the_build_makes_and_writes_to_its_own_log(sam, stack):
    properties = sam["Resources"]["Function"]
    assert properties["Metadata"] == {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": "ami-warden"}}
    function = stack(Architecture="arm64").resources()["Function"]["Properties"]
    assert (function["Runtime"], function["Handler"], function["Architectures"]) == ("provided.al2023", "bootstrap", ["arm64"])
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert function["LoggingConfig"]["ApplicationLogLevel"] in ("TRACE", "DEBUG", "INFO"), "metrics are lines without a level"
    assert function["LoggingConfig"]["LogGroup"] == stack()._ref("LogGroup")
    assert stack().resources()["LogGroup"]["Properties"]["RetentionInDays"] == "90"


def test_concurrency_is_reserved_only_when_asked_for(stack):
    assert "ReservedConcurrentExecutions" not in stack().resources()["Function"]["Properties"]
    assert stack(ReservedConcurrency="0").resources()["Function"]["Properties"]["ReservedConcurrentExecutions"] == "0"


def test_alarms_watch_queues_errors_throttles_and_refusals_and_tell_the_topic_if_there_is_one(stack):
    topic = "arn:aws:sns:eu-west-1:111122223333:alarms"
    alarms = stack(AlarmTopicArn=topic).resources("AWS::CloudWatch::Alarm")
    assert len(alarms) == 6
    for alarm in alarms.values():
        assert alarm["Properties"]["AlarmActions"] == alarm["Properties"]["OKActions"] == [topic]
        assert alarm["Properties"]["TreatMissingData"] == "notBreaching"
    for alarm in stack().resources("AWS::CloudWatch::Alarm").values():
        assert "AlarmActions" not in alarm["Properties"]


def test_the_dashboard_is_json_and_names_resources_of_the_stack(stack):
    body = json.loads(stack().resources()["Dashboard"]["Properties"]["DashboardBody"])
    assert len(body["widgets"]) == 7
    assert "${" not in json.dumps(body)
    for widget in body["widgets"]:
        if widget["type"] == "log":
            assert f"SOURCE '{stack()._ref('LogGroup')}'" in widget["properties"]["query"]


def test_the_files_that_the_serverless_application_repository_shows_exist(sam):
    metadata = sam["Metadata"]["AWS::ServerlessRepo::Application"]
    for key in ("LicenseUrl", "ReadmeUrl"):
        assert (template.ROOT / metadata[key]).exists(), f"{key}: {metadata[key]}"
