"""The template itself: what is in it, and what it lets pass."""

import io
import json
import re
import subprocess
import time
import zipfile

import pytest

import emulators
import template

# Values of every setting; the tests of src/run/settings.rs hold them against the function.
SETTINGS = json.loads((template.ROOT / "deploy/tests/settings.json").read_text(encoding="utf-8"))
DEPLOYMENT = {
    "Architecture", "CloudTrailEvents", "SweepSchedule", "LogRetentionDays", "AlarmTopicArn", "MemorySize", "ReservedConcurrency",
    "PermissionsBoundaryArn", "PermissionsBoundaryName", "KmsKeyArn", "Dashboard", "Alarms",
}  # fmt: skip
CODE = {"CodeBucketPrefix": "code", "CodeKey": "ami-warden.zip"}
OPTIONAL_CODE = {"CodeObjectVersion", "CodeSha256", "CodeSigningProfileVersionArn"}


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
    assert len(plain["Parameters"]) <= 200 and len(plain["Resources"]) <= 500


def test_the_plain_template_is_for_every_region_and_partition(plain):
    """SAM's translator likes to write in the Region of its caller."""

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


# Of the two lists of grantees only one can be set.
EVERYTHING = {camel(name): setting["accepted"][0] for name, setting in SETTINGS.items() if name != "ALLOWED_GRANTEES"} | {
    "CloudTrailEvents": "true",
    "ReservedConcurrency": "1",
    "PermissionsBoundaryName": "team/boundary",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms",
}
NOTHING = {"SweepSchedule": "", "Alarms": "false", "Dashboard": "false"}


@pytest.fixture
def deploy(aws, plain):
    """Deploys the plain template as a StackSet would, from a bucket: `deploy("name", {"PolicyPath": "/ami-warden"})`."""

    def stack(name, parameters):
        s3, cloudformation = aws("s3"), aws("cloudformation")
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("bootstrap", "#!/bin/sh\n")
        bucket = f"{name}-eu-west-1"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_object(Bucket=bucket, Key="ami-warden.zip", Body=code.getvalue())
        given = CODE | {"CodeBucketPrefix": name} | parameters
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=template.package.text(plain),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        while (deployed := cloudformation.describe_stacks(StackName=name)["Stacks"][0])["StackStatus"].endswith("_IN_PROGRESS"):
            time.sleep(0.2)
        return deployed

    return stack


@pytest.mark.parametrize("parameters", [{}, EVERYTHING, NOTHING], ids=["defaults", "everything", "nothing"])
def test_the_plain_template_can_be_deployed_as_a_stackset_would(deploy, plain, parameters):
    deployed = deploy(f"warden{len(parameters)}", parameters)
    assert deployed["StackStatus"] == "CREATE_COMPLETE", deployed
    outputs = set(plain["Outputs"]) - ({"DashboardUrl"} if parameters is NOTHING else set())
    assert {output["OutputKey"] for output in deployed["Outputs"]} == outputs


def test_the_deployed_rules_invoke_the_alias_which_alone_lets_eventbridge_in(aws, deploy):
    outputs = {each["OutputKey"]: each["OutputValue"] for each in deploy("alias", {})["Outputs"]}
    functions, events = aws("lambda"), aws("events")
    alias = functions.get_alias(FunctionName=outputs["FunctionName"], Name="events")
    assert (alias["FunctionVersion"], alias["AliasArn"]) == ("$LATEST", outputs["EventsAliasArn"])
    rules = {rule["Name"]: rule["Arn"] for rule in events.list_rules()["Rules"] if rule["Name"].startswith("alias-")}
    targets = {target["Arn"] for name in rules for target in events.list_targets_by_rule(Rule=name)["Targets"]}
    assert targets == {outputs["EventsAliasArn"]}
    policy = json.loads(functions.get_policy(FunctionName=outputs["FunctionName"], Qualifier="events")["Policy"])
    assert {each["Condition"]["ArnLike"]["AWS:SourceArn"] for each in policy["Statement"]} == set(rules.values())
    whole = json.loads(functions.get_policy(FunctionName=outputs["FunctionName"])["Policy"])
    assert {each["Resource"] for each in whole["Statement"]} == {outputs["EventsAliasArn"]}, "a caller with the name of the function alone is refused"
    for qualifier in ("events", "$LATEST"):
        config = functions.get_function_event_invoke_config(FunctionName=outputs["FunctionName"], Qualifier=qualifier)
        assert config["DestinationConfig"]["OnFailure"]["Destination"].startswith("arn:aws:sqs:")
        assert config["MaximumRetryAttempts"] == 2


def test_the_source_has_no_yaml_aliases(source):
    """CloudFormation does not understand them, though every linter does."""
    assert not re.search(r"(?m)^[^#]*[:-] [&*][A-Za-z]", source.read_text(encoding="utf-8"))


def test_every_setting_is_a_variable_and_a_parameter_with_its_default(plain, stack):
    function = stack().resources("AWS::Lambda::Function")["Function"]["Properties"]
    variables = dict(function["Environment"]["Variables"])
    assert variables.pop("SSL_CERT_FILE").startswith("/etc/pki/")
    assert variables == {name: setting["default"] for name, setting in SETTINGS.items() if "default" in setting}
    assert set(plain["Parameters"]) == {camel(setting) for setting in SETTINGS} | DEPLOYMENT | set(CODE) | OPTIONAL_CODE
    assert {name: plain["Parameters"][camel(name)]["Default"] for name in SETTINGS} == {name: setting.get("default", "") for name, setting in SETTINGS.items()}


def test_every_parameter_reaches_its_variable(stack):
    variables = stack(**{camel(setting): f"value of {setting}" for setting in SETTINGS}).resources()["Function"]["Properties"]["Environment"]["Variables"]
    assert {name: value for name, value in variables.items() if name in SETTINGS} == {name: f"value of {name}" for name in SETTINGS}


def test_all_variables_at_their_greatest_length_fit_into_lambdas_four_kilobytes(plain, stack):
    """Lambda measures the variables as JSON. Of the two lists of grantees only one can be set."""

    def longest(name):
        declaration = plain["Parameters"][name]
        values = declaration.get("AllowedValues") or ["x" * declaration.get("MaxLength", 4 if name == "MaxRemovals" else 100_000)]
        return max(map(str, values), key=len)

    for either in ("AllowedGrantees", "AllowedGranteesParameter"):
        settings = {camel(setting) for setting in SETTINGS} - ({"AllowedGrantees", "AllowedGranteesParameter"} - {either})
        deployed = stack(**{name: longest(name) for name in settings})
        variables = deployed.resources()["Function"]["Properties"]["Environment"]["Variables"]
        assert len(json.dumps(variables)) <= 4096


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
    assert deployed.refused() == []


ORGANIZATION = "arn:aws:organizations::123456789012:organization/o-exampleorgid"
UNIT = "arn:aws:organizations::123456789012:ou/o-exampleorgid/ou-ab12-11111111"
# What CloudFormation must take and refuse beside the values of settings.
ACCEPTED = {
    "AllowedGrantees": [" ".join(["111122223333"] * 150)],
    "Alarms": ["true", "false"],
    "Dashboard": ["true", "false"],
    "PermissionsBoundaryArn": [
        "", "arn:aws:iam::111122223333:policy/boundary", "arn:aws-cn:iam::111122223333:policy/team/boundary",
        "arn:aws:iam::aws:policy/PowerUserAccess",
    ],
    "PermissionsBoundaryName": ["", "boundary", "team/boundary"],
    "KmsKeyArn": ["", "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"],
    "ReservedConcurrency": ["", "0", "1"],
    "SweepSchedule": [
        "", "rate(6 hours)", "rate(1 hour)", "rate(84 hours)", "rate(1 day)", "rate(7 days)", "rate(1 minute)", "rate(90 minutes)", "rate(720 minutes)",
        "cron(15 2 * * ? *)", "cron(0/30 8-18 ? * MON-FRI *)", "cron(0 10 L * ? *)", "cron(0 10 LW * ? *)", "cron(0 9 ? * 2#1 *)",
        "cron(0 12 1,15 JAN-MAR,7 ? 2026-2030)", "cron(*/5 * * * ? *)", "cron(0 0 ? * SAT,SUN *)", "cron(0 18 ? * 6L *)",
    ],
    "AlarmTopicArn": ["", "arn:aws:sns:eu-west-1:111122223333:alarms"],
    "MemorySize": ["128", "3008"],
}  # fmt: skip
REFUSED = {
    "TagPrefix": [""],
    "AllowedGrantees": [" ".join(["111122223333"] * 155)],
    "AllowedCopiers": [" ".join(["111122223333"] * 51)],
    "AllowedGranteesParameter": ["/" + "a" * 1011],
    "OrganizationArn": [ORGANIZATION.replace("aws", "aws-" + "x" * 60)],
    "PolicyPath": ["/" + "p" * 300],
    "SharedTags": [",".join(["release"] * 45)],
    "ShareBackups": [""],
    "Alarms": ["no"],
    "Dashboard": ["no"],
    "PermissionsBoundaryArn": ["boundary", "arn:aws:iam::111122223333:role/boundary"],
    "KmsKeyArn": ["alias/ami-warden", "arn:aws:kms:eu-west-1:111122223333:alias/ami-warden"],
    "Architecture": ["amd64"],
    "SweepSchedule": [
        "6 hours", "rate(0 hours)", "rate(1 hours)", "rate(2 hour)", "rate(1 days)", "rate(1.5 hours)", "rate(85 hours)", "rate(721 minutes)", "rate(8 days)",
        "at(2026-01-01T00:00:00)", "cron(x)", "cron()", "cron(15 2 * * * *)", "cron(15 2 ? * ? *)", "cron(60 2 * * ? *)", "cron(15 24 * * ? *)",
        "cron(15 2 * * ?)", "cron(15 2 32 * ? *)", "cron(15 2 * 13 ? *)", "cron(15 2 ? * 8 *)", "cron(15, 2 * * ? *)", "cron(15 2 * * ? * *)",
    ],
    "AlarmTopicArn": ["alarms"],
    "MemorySize": ["64"],
    "LogRetentionDays": ["42"],
}  # fmt: skip


def pairs(values, of_settings):
    """Each parameter with each value: these, and those that the settings have in this list."""
    values = [*values.items(), *((camel(name), setting.get(of_settings, [])) for name, setting in SETTINGS.items())]
    return [(name, value) for name, several in values for value in several]


@pytest.mark.parametrize(("name", "value"), pairs(ACCEPTED, "accepted"))
def test_a_good_value_is_accepted(stack, name, value):
    assert stack().accepts(name, value)


@pytest.mark.parametrize(("name", "value"), pairs(REFUSED, "function_only"))
def test_a_bad_value_is_refused_before_anything_is_deployed(stack, name, value):
    assert not stack().accepts(name, value)


@pytest.mark.parametrize(("name", "refused"), pairs({}, "refused"))
def test_what_the_function_refuses_is_refused_before_anything_is_deployed(stack, name, refused):
    value, allowed = refused
    # A value that is refused because of another setting may be refused by a rule or a resource.
    assert not stack().accepts(name, value) or (allowed in SETTINGS and stack(**{name: value}).refused() != [])


@pytest.mark.parametrize(
    "parameters",
    [
        {"AllowPublic": "true"},
        {"AllowedGrantees": "*", "AllowedGranteesParameter": "/security/ami-grantees"},
        {"AllowedGranteesParameter": "/ami-warden", "PolicyPath": "/ami-warden"},
        {"AllowedGranteesParameter": "/ami-warden/grantees", "PolicyPath": "/ami-warden"},
        {"AllowedGranteesParameter": "/a/b/c/d/e", "PolicyPath": "/a/b/c/d"},
        {"AllowedGrantees": "o-exampleorgid"},
        {"AllowedGrantees": "ou-ab12-11111111"},
        {"AllowedGrantees": "111122223333,o-exampleorgid"},
        {"AllowedGrantees": f"{ORGANIZATION} -ou-ab12-11111111"},
        {"AllowedGrantees": "* -o-exampleorgid"},
        {"StatusTag": "team:", "TagPrefix": "team:"},
        {"StatusTag": "team:status", "TagPrefix": "team:"},
        {"StatusTag": "share/status", "TagPrefix": "share/"},
        {"StatusTag": "team:ami:status", "TagPrefix": "team:ami:"},
        {"StatusTag": "team/ami/status", "TagPrefix": "team/ami/"},
        {"StatusTag": "team/ami:status", "TagPrefix": "team/ami:"},
        {"StatusTag": "share-status", "TagPrefix": "share-"},
        {"StatusTag": "share", "TagPrefix": "share"},
        {"StatusTag": "c++/status", "TagPrefix": "c++/"},
        {"PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/x", "PermissionsBoundaryName": "x"},
    ],
    ids=lambda parameters: "+".join(f"{name}={value}" for name, value in parameters.items()),
)
def test_parameters_that_do_not_go_together_are_refused(stack, parameters):
    assert len(stack(**parameters).refused()) >= 1


@pytest.mark.parametrize(
    "parameters",
    [
        {"AllowPublic": "true", "AllowedGrantees": "111122223333"},
        {"AllowPublic": "true", "AllowedGranteesParameter": "/security/ami-grantees"},
        {"PolicyPath": "/ami-warden", "AllowedGranteesParameter": "/security/ami-grantees", "StatusTag": "image-status"},
        {"PolicyPath": "/ami-warden", "AllowedGranteesParameter": "/ami-warden-allowed"},
        {"PolicyPath": "/a/b", "AllowedGranteesParameter": "/a/c"},
        {"PolicyPath": "/a/b/c", "AllowedGranteesParameter": "/a/b"},
        {"AllowedGrantees": "o-exampleorgid -ou-ab12-11111111", "OrganizationArn": ORGANIZATION},
        {"AllowedGrantees": f"{ORGANIZATION},{UNIT} -{UNIT} 111122223333"},
        {"StatusTag": "team", "TagPrefix": "team:"},
        {"StatusTag": "teams:status", "TagPrefix": "team:"},
        {"StatusTag": "team:status", "TagPrefix": "team:ami:"},
        {"StatusTag": "team/status", "TagPrefix": "team:"},
        {"TagPrefix": "team:ami:"},
        {"TagPrefix": "share", "StatusTag": "image-share"},
        {"TagPrefix": "+share:", "StatusTag": "image-status"},
        EVERYTHING,
        NOTHING,
    ],
    ids=lambda parameters: "+".join(f"{name}={value}" for name, value in list(parameters.items())[:3]),
)
def test_parameters_that_go_together_are_accepted(stack, parameters):
    assert stack(**parameters).refused() == []


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ShortFormsNeedOrganizationArn", {"AllowedGrantees": "o-exampleorgid"}),
        ("AllowedGranteesParameterMustBeOutsidePolicyPath", {"AllowedGranteesParameter": "/ami-warden/grantees", "PolicyPath": "/ami-warden"}),
        ("StatusTagMustBeOutsideTagPrefix", {"StatusTag": "share/status", "TagPrefix": "share/"}),
    ],
)
def test_where_no_rule_can_say_it_a_resource_fails_whose_name_says_what_is_wrong(stack, name, parameters):
    assert stack(**parameters).refused() == [name]


def test_nothing_is_kept_in_parameter_store_where_nothing_can_go_wrong(stack):
    organization = {"AllowedGrantees": "o-exampleorgid", "OrganizationArn": ORGANIZATION, "PolicyPath": "/ami-warden"}
    for parameters in ({}, organization):
        assert stack(**parameters).resources("AWS::SSM::Parameter") == {}


def test_nothing_has_a_fixed_name(plain):
    names = {
        "AWS::Lambda::Function": "FunctionName", "AWS::IAM::Role": "RoleName", "AWS::Events::Rule": "Name", "AWS::SQS::Queue": "QueueName",
        "AWS::Logs::LogGroup": "LogGroupName", "AWS::CloudWatch::Alarm": "AlarmName", "AWS::CloudWatch::Dashboard": "DashboardName",
    }  # fmt: skip
    for name, resource in plain["Resources"].items():
        assert names.get(resource["Type"]) not in resource.get("Properties", {}), name
    assert not any("Export" in output for output in plain["Outputs"].values())


def test_every_rule_invokes_the_alias_retries_and_has_a_dead_letter_queue(stack):
    deployed = stack(**EVERYTHING)
    rules = deployed.resources("AWS::Events::Rule")
    assert len(rules) == 9
    queue, function = deployed._attribute("DeliveryDeadLetterQueue", "Arn"), deployed._attribute("Function", "Arn")
    for name, rule in rules.items():
        (target,) = rule["Properties"]["Targets"]
        assert target["Arn"] == f"{function}:events", name
        assert target["DeadLetterConfig"]["Arn"] == queue, name
        assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}, name


@pytest.mark.parametrize("parameters", [{}, EVERYTHING, NOTHING], ids=["defaults", "everything", "nothing"])
def test_exactly_the_rules_of_the_stack_may_invoke_the_alias_and_nothing_may_invoke_the_function(stack, parameters):
    deployed = stack(**parameters)
    permissions = [each["Properties"] for each in deployed.resources("AWS::Lambda::Permission").values()]
    alias = f"{deployed._attribute('Function', 'Arn')}:events"
    assert [each["SourceArn"] for each in permissions] != []
    assert {each["SourceArn"] for each in permissions} == {deployed._attribute(name, "Arn") for name in deployed.resources("AWS::Events::Rule")}
    for permission in permissions:
        assert permission == {
            "FunctionName": alias, "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com", "SourceArn": permission["SourceArn"],
        }  # fmt: skip


def test_the_alias_is_the_latest_code(stack):
    assert stack().resources("AWS::Lambda::Alias")["EventsAlias"]["Properties"]["FunctionVersion"] == "$LATEST"


def test_failed_invocations_are_kept_and_successes_go_to_the_bus_by_either_name_of_the_function(stack):
    deployed = stack()
    configs = {each["Properties"]["Qualifier"]: each for each in deployed.resources("AWS::Lambda::EventInvokeConfig").values()}
    assert set(configs) == {"events", "$LATEST"}
    assert configs["events"]["DependsOn"] == "EventsAlias"
    for config in configs.values():
        assert config["Properties"]["FunctionName"] == deployed._ref("Function")
        assert config["Properties"]["MaximumRetryAttempts"] == 2
        assert config["Properties"]["MaximumEventAgeInSeconds"] == 21600
        assert config["Properties"]["DestinationConfig"] == {
            "OnFailure": {"Destination": deployed._attribute("InvocationDeadLetterQueue", "Arn")},
            "OnSuccess": {"Destination": "arn:aws:events:eu-west-1:111122223333:event-bus/default"},
        }


def test_a_deployment_starts_a_sweep_and_nothing_else(stack):
    rule = stack().resources()["DeploymentRule"]["Properties"]
    assert rule["EventPattern"]["detail"] == {
        "stack-id": [template.PSEUDO["AWS::StackId"]], "status-details": {"status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"]},
    }  # fmt: skip
    assert json.loads(rule["Targets"][0]["Input"]) == {"source": "ami-warden", "detail-type": "Deployed", "detail": {"Sweep": {}}}
    assert "DeploymentRule" not in stack(SweepSchedule="").resources()


def test_both_dead_letter_queues_are_encrypted_keep_events_for_two_weeks_and_stay_when_the_stack_goes(stack):
    key = EVERYTHING["KmsKeyArn"]
    for parameters, encryption in [({}, {"SqsManagedSseEnabled": True}), (EVERYTHING, {"KmsMasterKeyId": key})]:
        queues = stack(**parameters).resources("AWS::SQS::Queue")
        assert len(queues) == 2
        for queue in queues.values():
            assert queue["Properties"] == {**encryption, "MessageRetentionPeriod": 1209600}
            assert (queue["DeletionPolicy"], queue["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_the_queues_refuse_everything_that_is_not_encrypted_on_its_way(stack):
    deployed = stack()
    for name in ("DeliveryDeadLetterQueue", "InvocationDeadLetterQueue"):
        denied = [each for each in deployed.policies()[f"{name}Policy"]["Statement"] if each["Effect"] == "Deny"]
        assert [{key: each[key] for key in ("Principal", "Action", "Resource", "Condition")} for each in denied] == [
            {
                "Principal": "*", "Action": "sqs:*", "Resource": deployed._attribute(name, "Arn"),
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ]  # fmt: skip


def test_the_log_is_encrypted_with_the_key_and_stays_when_the_stack_goes(stack):
    for parameters, key in [({}, None), (EVERYTHING, EVERYTHING["KmsKeyArn"])]:
        group = stack(**parameters).resources()["LogGroup"]
        assert group["Properties"].get("KmsKeyId") == key
        assert (group["DeletionPolicy"], group["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_the_role_has_the_boundary_that_is_demanded(stack):
    for parameters, boundary in [
        ({}, None),
        ({"PermissionsBoundaryArn": "arn:aws:iam::aws:policy/PowerUserAccess"}, "arn:aws:iam::aws:policy/PowerUserAccess"),
        ({"PermissionsBoundaryName": "team/boundary"}, "arn:aws:iam::111122223333:policy/team/boundary"),
    ]:
        assert stack(**parameters).resources()["Role"]["Properties"].get("PermissionsBoundary") == boundary


def test_the_function_is_what_the_build_makes_and_writes_to_its_own_log(sam, stack):
    properties = sam["Resources"]["Function"]
    assert properties["Metadata"] == {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": "ami-warden"}}
    function = stack(Architecture="arm64").resources()["Function"]["Properties"]
    assert (function["Runtime"], function["Handler"], function["Architectures"]) == ("provided.al2023", "bootstrap", ["arm64"])
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert function["LoggingConfig"]["ApplicationLogLevel"] in ("TRACE", "DEBUG", "INFO"), "metrics are lines without a level"
    assert function["LoggingConfig"]["SystemLogLevel"] in ("DEBUG", "INFO"), "the report of memory and time is a line of level INFO"
    assert function["LoggingConfig"]["LogGroup"] == stack()._ref("LogGroup")
    assert function["RecursiveLoop"] == "Allow", "a chain of links is a loop by design"
    assert stack().resources()["LogGroup"]["Properties"]["RetentionInDays"] == "90"


def test_concurrency_is_reserved_only_when_asked_for(stack):
    assert "ReservedConcurrentExecutions" not in stack().resources()["Function"]["Properties"]
    assert stack(ReservedConcurrency="0").resources()["Function"]["Properties"]["ReservedConcurrentExecutions"] == "0"


TOPIC = "arn:aws:sns:eu-west-1:111122223333:alarms"


def watched(alarm) -> tuple[str, str, str, str]:
    """What an alarm watches: namespace, metric, and its one dimension."""
    properties = alarm["Properties"]
    (dimension,) = properties["Dimensions"]
    return properties["Namespace"], properties["MetricName"], dimension["Name"], dimension["Value"]


def test_there_is_an_alarm_for_each_way_in_which_something_can_go_unnoticed(stack):
    alarms = stack(**EVERYTHING).resources("AWS::CloudWatch::Alarm")
    assert {name: watched(alarm)[:2] for name, alarm in alarms.items()} == {
        "SweepAlarm": ("AmiWarden", "SweepFinished"),
        "DeliveryDeadLetterAlarm": ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        "InvocationDeadLetterAlarm": ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        "DeliveryAgeAlarm": ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        "InvocationAgeAlarm": ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        "FailedDeliveryAlarm": ("AWS/Events", "FailedInvocations"),
        "LostDeliveryAlarm": ("AWS/Events", "InvocationsFailedToBeSentToDlq"),
        "DroppedEventsAlarm": ("AWS/Lambda", "AsyncEventsDropped"),
        "DestinationAlarm": ("AWS/Lambda", "DestinationDeliveryFailures"),
        "ErrorAlarm": ("AWS/Lambda", "Errors"),
        "ThrottleAlarm": ("AWS/Lambda", "Throttles"),
        "UnconfirmedAlarm": ("AmiWarden", "Unconfirmed"),
        "RefusalAlarm": ("AmiWarden", "Refused"),
    }


@pytest.mark.parametrize("parameters", [{}, EVERYTHING, {"SweepSchedule": ""}], ids=["defaults", "everything", "no sweeps"])
def test_alarms_watch_this_stack_and_no_other(stack, parameters):
    deployed = stack(**parameters)
    own = {
        "AmiWarden": ("FunctionName", {deployed._ref("Function")}),
        "AWS/Lambda": ("FunctionName", {deployed._ref("Function")}),
        "AWS/Events": ("RuleName", {deployed._ref(name) for name in deployed.resources("AWS::Events::Rule")}),
        "AWS/SQS": ("QueueName", {deployed._ref(name) for name in deployed.resources("AWS::SQS::Queue")}),
    }
    for name, alarm in deployed.resources("AWS::CloudWatch::Alarm").items():
        namespace, _, dimension, value = watched(alarm)
        assert dimension == own[namespace][0] and value in own[namespace][1], name
    assert deployed.resources("AWS::Logs::MetricFilter") == {}, "a metric made from log lines has no dimension that tells stacks apart"


def test_each_queue_is_watched_for_its_first_event_and_for_its_last_days(stack):
    deployed = stack()
    alarms = [alarm["Properties"] for alarm in deployed.resources("AWS::CloudWatch::Alarm").values() if alarm["Properties"]["Namespace"] == "AWS/SQS"]
    kept = {queue["Properties"]["MessageRetentionPeriod"] for queue in deployed.resources("AWS::SQS::Queue").values()}
    for queue in ("DeliveryDeadLetterQueue", "InvocationDeadLetterQueue"):
        of_queue = {each["MetricName"]: each["Threshold"] for each in alarms if each["Dimensions"][0]["Value"] == deployed._ref(queue)}
        assert of_queue == {"ApproximateNumberOfMessagesVisible": 0, "ApproximateAgeOfOldestMessage": 10 * 86_400}
        assert kept == {14 * 86_400}


def test_alarms_tell_the_topic_if_there_is_one_when_they_begin_and_when_they_are_over(stack):
    for alarm in stack(AlarmTopicArn=TOPIC).resources("AWS::CloudWatch::Alarm").values():
        assert alarm["Properties"]["AlarmActions"] == alarm["Properties"]["OKActions"] == [TOPIC]
    for alarm in stack().resources("AWS::CloudWatch::Alarm").values():
        assert not {"AlarmActions", "OKActions"} & set(alarm["Properties"])


def test_silence_is_good_news_except_of_sweeps(stack):
    for name, alarm in stack().resources("AWS::CloudWatch::Alarm").items():
        assert alarm["Properties"]["TreatMissingData"] == ("breaching" if name == "SweepAlarm" else "notBreaching"), name


@pytest.mark.parametrize(
    ("schedule", "hours", "window"),
    [
        ("rate(1 minute)", 1 / 60, 2 / 60),
        ("rate(30 minutes)", 0.5, 1),
        ("rate(720 minutes)", 12, 24),
        ("rate(1 hour)", 1, 2),
        ("rate(6 hours)", 6, 12),
        ("rate(11 hours)", 11, 22),
        ("rate(84 hours)", 84, 168),
        ("rate(1 day)", 24, 48),
        ("rate(2 days)", 48, 48),
        ("rate(7 days)", 168, 168),
        ("cron(15 2 * * ? *)", 24, 48),
        ("cron(0/30 * * * ? *)", 0.5, 48),
        ("cron(0/30 8-18 ? * MON-FRI *)", 62, 168),
        ("cron(0 4 ? * SUN *)", 168, 168),
    ],
)
def test_the_heartbeat_is_missed_when_the_schedules_time_has_passed_twice_or_as_far_as_cloudwatch_looks_back(stack, schedule, hours, window):
    deployed = stack(SweepSchedule=schedule)
    assert deployed.accepts("SweepSchedule", schedule)
    alarm = deployed.resources()["SweepAlarm"]["Properties"]
    period, periods = int(alarm["Period"]), int(alarm["EvaluationPeriods"])
    assert (alarm["MetricName"], alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == ("SweepFinished", "Sum", "LessThanThreshold", 1)
    assert period * periods == window * 3600 >= hours * 3600
    assert period % 60 == 0 and period * periods <= (604_800 if period >= 3600 else 86_400), "the longest that CloudWatch looks back"


def test_the_heartbeat_of_the_default_schedule_is_what_its_words_say(plain):
    """The template writes its values out; the others are worked out from the words of the schedule."""
    default = template.Stack(plain, {}).resources()["SweepAlarm"]["Properties"]
    reckoned = template.Stack({**plain, "Conditions": plain["Conditions"] | {"SweepsEverySixHours": False}}, {}).resources()["SweepAlarm"]["Properties"]
    assert [int(default[key]) for key in ("Period", "EvaluationPeriods")] == [int(reckoned[key]) for key in ("Period", "EvaluationPeriods")]


def test_without_sweeps_none_is_missed(stack):
    assert "SweepAlarm" not in stack(SweepSchedule="").resources()


def test_an_event_that_waits_out_all_its_time_is_heard_by_the_error_alarm(stack):
    """Three errors: the tries and the pauses between them must fit into the alarm's period."""
    deployed = stack()
    alarm, timeout = deployed.resources()["ErrorAlarm"]["Properties"], deployed.resources()["Function"]["Properties"]["Timeout"]
    assert alarm["Threshold"] == 3
    assert alarm["Period"] * alarm["EvaluationPeriods"] >= 3 * timeout + 60 + 120


def test_standing_refusals_ring_once_and_not_with_each_sweep_that_meets_them(stack):
    """CloudWatch's rule: the alarm is on while `DatapointsToAlarm` of the last `EvaluationPeriods` days are above the threshold."""
    alarm = stack().resources()["RefusalAlarm"]["Properties"]
    assert alarm["Period"] == 86_400 and alarm["Statistic"] == "Maximum" and alarm["ComparisonOperator"] == "GreaterThanThreshold"

    def states(refused_each_day):
        days = [value > alarm["Threshold"] for value in refused_each_day]
        return [sum(days[max(0, day - alarm["EvaluationPeriods"] + 1) : day + 1]) >= alarm["DatapointsToAlarm"] for day in range(len(days))]

    assert states([0, 0, 1, 1, 1, 3, 3, 0, 0]) == [False, False, True, True, True, True, True, True, False]
    assert states([2, 0, 2, 0, 2]) == [True] * 5, "a sweep that is a little late leaves a day without one"


def test_alarms_and_dashboard_can_be_left_out(stack):
    deployed = stack(Alarms="false", Dashboard="false")
    assert deployed.resources("AWS::CloudWatch::Alarm") == deployed.resources("AWS::CloudWatch::Dashboard") == {}


def test_the_dashboard_is_json_and_names_resources_of_the_stack(stack):
    body = json.loads(stack().resources()["Overview"]["Properties"]["DashboardBody"])
    assert len(body["widgets"]) == 7
    assert "${" not in json.dumps(body)
    for widget in body["widgets"]:
        if widget["type"] == "log":
            assert f"SOURCE '{stack()._ref('LogGroup')}'" in widget["properties"]["query"]
        else:
            own = [stack()._ref(name) for name in ("Function", "DeliveryDeadLetterQueue", "InvocationDeadLetterQueue")]
            assert any(name in json.dumps(widget["properties"]["metrics"]) for name in own), widget["properties"]["title"]


def test_what_the_serverless_application_repository_asks_for_is_complete(sam):
    """Limits: https://docs.aws.amazon.com/serverlessrepo/latest/devguide/serverlessrepo-quotas.html and its CreateApplication."""
    metadata = sam["Metadata"]["AWS::ServerlessRepo::Application"]
    assert set(metadata) == {
        "Name", "Description", "Author", "SpdxLicenseId", "LicenseUrl", "ReadmeUrl", "Labels", "HomePageUrl", "SourceCodeUrl", "SemanticVersion",
    }  # fmt: skip
    for key in ("LicenseUrl", "ReadmeUrl"):
        assert (template.ROOT / metadata[key]).exists(), f"{key}: {metadata[key]}"
    assert re.fullmatch("[a-zA-Z0-9-]{1,140}", metadata["Name"])
    assert len(metadata["Description"]) <= 256 and re.fullmatch("[A-Za-z0-9 -]{1,127}", metadata["Author"])
    assert len(metadata["Labels"]) <= 10 and all(re.fullmatch("[a-zA-Z0-9+_:/@-]{1,127}", label) for label in metadata["Labels"])
