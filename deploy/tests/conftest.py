"""One template and one emulator for all tests of a run."""

import io
import json
import os
import sys
import textwrap
import zipfile
from pathlib import Path

import boto3
import pytest

import emulators
import template


@pytest.fixture(scope="session")
def source() -> Path:
    """The template under test; the mutations put a broken one in its place."""
    return Path(os.environ.get("AMI_WARDEN_TEMPLATE", template.SOURCE))


@pytest.fixture(scope="session")
def sam(source) -> dict:
    return template.load(source)


@pytest.fixture(scope="session")
def plain(sam) -> dict:
    return template.transform(sam)


@pytest.fixture
def stack(plain):
    """A deployed stack: `stack(PolicyPath="/ami-warden")`."""
    return lambda **parameters: template.Stack(plain, parameters)


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    """Clients of an emulated account: `aws("events")`."""
    with emulators.ministack(tmp_path_factory.mktemp("ministack") / "log", MINISTACK_REGION="eu-west-1") as url:
        session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="eu-west-1")
        yield lambda service: session.client(service, endpoint_url=url)


@pytest.fixture(scope="session")
def matcher(aws):
    """EventBridge's TestEventPattern, in an emulator that agrees with AWS's own matcher."""
    return aws("events")


# Answers as ami-warden does, and writes its log lines itself: the emulator does not keep a bootstrap's output.
BOOTSTRAP = """\
    #!{python}
    import json, os, time, urllib.request
    import boto3
    door = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2018-06-01/runtime/invocation"
    while True:
        with urllib.request.urlopen(f"{{door}}/next") as following:
            key, event = following.headers["Lambda-Runtime-Aws-Request-Id"], json.load(following)
        image = event.get("detail", event)["ImageId"]
        outcome = {{"Outcome": "planned"}} if "Description" in event else {{"Outcome": "unchanged"}} if "LaunchPermission" in event else {{"Outcome": "skipped", "Reason": "not-found"}}
        entry = {{"ImageId": image, **outcome}}
        logs = boto3.client("logs", endpoint_url="{url}", region_name="eu-west-1", aws_access_key_id="testing", aws_secret_access_key="testing")
        try:
            logs.create_log_stream(logGroupName="ami-warden", logStreamName=key)
        except logs.exceptions.ResourceAlreadyExistsException:
            pass
        line = {{"timestamp": int(time.time() * 1000), "message": json.dumps({{"event": "image", **entry}})}}
        logs.put_log_events(logGroupName="ami-warden", logStreamName=key, logEvents=[line])
        urllib.request.urlopen(f"{{door}}/{{key}}/response", data=json.dumps({{"Images": [entry]}}).encode()).close()
    """


@pytest.fixture
def deployed(aws, monkeypatch):
    """A stack in an emulated account whose function runs, behind a rule for custom events."""
    url = aws("sts").meta.endpoint_url
    for name, value in {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, textwrap.dedent(BOOTSTRAP).format(python=sys.executable, url=url))
    aws("logs").create_log_group(logGroupName="ami-warden")
    function = aws("lambda").create_function(
        FunctionName="ami-warden-Function", Runtime="provided.al2023", Handler="bootstrap", Timeout=30,
        Role="arn:aws:iam::000000000000:role/r", Code={"ZipFile": code.getvalue()},
    )["FunctionArn"]  # fmt: skip
    aws("events").put_rule(Name="RequestRule", EventPattern=json.dumps({"source": ["ami-warden"]}))
    aws("events").put_targets(Rule="RequestRule", Targets=[{"Id": "Function", "Arn": function}])
    aws("cloudformation").create_stack(
        StackName="ami-warden",
        TemplateBody=json.dumps(
            {
                "Resources": {"Delivery": {"Type": "AWS::SQS::Queue"}, "Invocation": {"Type": "AWS::SQS::Queue"}},
                "Outputs": {
                    "FunctionName": {"Value": "ami-warden-Function"},
                    "LogGroupName": {"Value": "ami-warden"},
                    "DeliveryDeadLetterQueueUrl": {"Value": {"Ref": "Delivery"}},
                    "InvocationDeadLetterQueueUrl": {"Value": {"Ref": "Invocation"}},
                },
            }
        ),
    )
    yield aws
    aws("events").remove_targets(Rule="RequestRule", Ids=["Function"])
    aws("events").delete_rule(Name="RequestRule")
    aws("cloudformation").delete_stack(StackName="ami-warden")
    aws("lambda").delete_function(FunctionName="ami-warden-Function")
    aws("logs").delete_log_group(logGroupName="ami-warden")
