#!/usr/bin/env python3
"""The whole path without an AWS account.

`sam build` and `sam deploy` put the function into an emulated account; an event on its bus wakes it through the deployed
rule; the launch permission of an image changes; an event that fails lands in the dead-letter queue and is sent again.

    python deploy/tests/e2e.py [--sam PATH] [--emulator PATH] [--bootstrap PATH]
    python deploy/tests/e2e.py --release FOLDER

The second form starts from the files of a release, copied into an empty folder: nothing else of this repository is deployed or run there.

EC2 is the project's own strict emulator (`make e2e` builds it), everything else is ministack, which runs the very
bootstrap that Lambda would (asynchronous.py gives it Lambda's retries and destinations). What this cannot show: ministack, like AWS,
takes no events in the name of aws.* services, so those patterns are tested in test_patterns.py; and no function here runs long enough
to leave work, so the record of one that does is put on the bus by hand, in Lambda's form.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import boto3

import emulators
from template import ROOT

REGION = "eu-west-1"
ACCOUNT = "000000000000"  # ministack's
STACK = "ami-warden-e2e"
GRANTEE = "444455556666"
BY_RULE, BY_CONTINUE, BROKEN = (f"ami-{number:017x}" for number in (0xA, 0xB, 0xC))
TAGS = {"ami-warden:launch-permission": GRANTEE}


def step(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def call(url: str, path: str, body: dict | None = None, method: str | None = None):
    """The EC2 emulator's own door."""
    request = urllib.request.Request(
        f"{url}/_emulator/{path}", method=method, data=None if body is None else json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def grantees(ec2: str, image: str) -> list[str]:
    images = {each["ImageId"]: each for each in call(ec2, "state")["Images"]}
    return images[image].get("LaunchPermissions", [])


def eventually(what: str, found: Callable[[], object], seconds: float = 60):
    """Waits until it is true; says what never was."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: after {seconds:.0f} s still not: {what}")
        time.sleep(0.2)
    step(f"    ok: {what}")
    return value


def build(options, work: Path, environment: dict) -> Path:
    """A template whose code is built: by SAM, or from a bootstrap that is there already."""
    if not options.bootstrap:
        step("sam build")
        subprocess.run(
            [options.sam, "build", "--template", ROOT / "template.yaml", "--build-dir", work / "build"],
            check=True, env=environment, cwd=ROOT,
        )  # fmt: skip
        return work / "build" / "template.yaml"
    step(f"taking {options.bootstrap} instead of sam build")
    code = work / "code.zip"
    with zipfile.ZipFile(code, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, Path(options.bootstrap).read_bytes())
    text = (ROOT / "template.yaml").read_text(encoding="utf-8").replace("CodeUri: .\n", "CodeUri: code.zip\n")
    (work / "template.yaml").write_text(text, encoding="utf-8")
    for name in ("README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, work / name)
    return work / "template.yaml"


def deploy(options, template: Path, work: Path, environment: dict) -> None:
    step("sam deploy")
    subprocess.run(
        [
            options.sam, "deploy", "--template-file", template, "--stack-name", STACK, "--region", REGION, "--resolve-s3",
            "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar",
            "--parameter-overrides", f"AllowedGrantees={GRANTEE}",
        ],
        check=True, env=environment, cwd=work,
    )  # fmt: skip


def deploy_release(folder: Path, work: Path, session: boto3.Session, aws: str) -> Path:
    """Deploys the files of a release as deploy/README.md says; the folder with its scripts."""
    files = work / "release"
    shutil.copytree(folder, files)
    step(f"in an empty folder: {', '.join(sorted(path.name for path in files.iterdir()))}")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], check=True, cwd=files)
    (code,) = files.glob("ami-warden-*-x86_64.zip")
    (template,) = files.glob("ami-warden-*.yaml")
    (scripts,) = files.glob("ami-warden-*-deploy.zip")
    shutil.unpack_archive(scripts, files)
    bucket = f"{STACK}-{REGION}"
    s3, cloudformation = (session.client(name, endpoint_url=aws) for name in ("s3", "cloudformation"))
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.upload_file(str(code), bucket, code.name)
    step(f"deploying {template.name}")
    given = {"CodeBucketPrefix": STACK, "AllowedGrantees": GRANTEE}
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=template.read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return files / scripts.name.removesuffix("-deploy.zip") / "deploy"


def run(options, work: Path) -> None:
    seed = work / "seed.json"
    seed.write_text(json.dumps({"Images": [{"ImageId": image, "Tags": TAGS} for image in (BY_RULE, BY_CONTINUE, BROKEN)]}))
    port = emulators.free_port()
    emulator = [options.emulator, "--listen", f"127.0.0.1:{port}", "--account", ACCOUNT, "--region", REGION, "--seed", seed]
    with (
        emulators.running(emulator, emulators.clean_environment(), f"http://127.0.0.1:{port}", work / "ec2.log") as ec2,
        emulators.ministack(
            work / "ministack.log",
            sys.executable,
            ROOT / "deploy/tests/asynchronous.py",
            # The bootstrap inherits this: EC2 is the strict emulator, the rest is ministack.
            AWS_ENDPOINT_URL_EC2=ec2,
            MINISTACK_REGION=REGION,
        ) as aws,
    ):
        environment = emulators.clean_environment(
            AWS_ENDPOINT_URL=aws, AWS_DEFAULT_REGION=REGION, SAM_CLI_TELEMETRY="0",
            PATH=f"{options.sam.parent}{os.pathsep}{os.environ['PATH']}",  # cargo-lambda is installed beside sam
        )  # fmt: skip
        session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION)
        scripts = ROOT / "deploy"
        if options.release:
            scripts = deploy_release(options.release, work, session, aws)
        else:
            deploy(options, build(options, work, environment), work, environment)
        client = {name: session.client(name, endpoint_url=aws) for name in ("cloudformation", "events", "lambda", "sqs")}
        (stack,) = client["cloudformation"].describe_stacks(StackName=STACK)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        fit_to_this_machine(client["lambda"], outputs["FunctionName"])

        def put(source: str, detail_type: str, detail: dict) -> None:
            entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail)}
            answer = client["events"].put_events(Entries=[entry])
            assert answer["FailedEntryCount"] == 0, answer

        def waiting(queue: str) -> int:
            attributes = client["sqs"].get_queue_attributes(QueueUrl=outputs[queue], AttributeNames=["All"])["Attributes"]
            return int(attributes["ApproximateNumberOfMessages"])

        step(f"an event on the bus asks for a look at {BY_RULE}")
        put("ami-warden", "Image published", {"ImageId": BY_RULE})
        eventually(f"{GRANTEE} may launch {BY_RULE}", lambda: grantees(ec2, BY_RULE) == [GRANTEE])

        step("a record with work left comes back as an event")
        answer = {"Trigger": "schedule", "DryRun": False, "Images": [], "Summary": {}, "Continue": {"ImageIds": [BY_CONTINUE]}}
        record = {
            "version": "1.0",
            "requestContext": {"functionArn": outputs["EventsAliasArn"], "condition": "Success", "approximateInvokeCount": 1},
            "requestPayload": {},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": answer,
        }
        put("lambda", "Lambda Function Invocation Result - Success", record)
        eventually(f"{GRANTEE} may launch {BY_CONTINUE}", lambda: grantees(ec2, BY_CONTINUE) == [GRANTEE])

        step("EC2 says that the role may not modify images, as after a broken deployment")
        call(ec2, "faults", {"Action": "ModifyImageAttribute", "Kind": {"Error": {"Code": "UnauthorizedOperation"}}, "Times": "forever"}, "POST")
        put("ami-warden", "Image published", {"ImageId": BROKEN})
        eventually("the event is in the dead-letter queue", lambda: waiting("InvocationDeadLetterQueueUrl") == 1)
        assert grantees(ec2, BROKEN) == []

        step("the deployment is repaired, and the event sent again")
        call(ec2, "faults", method="DELETE")
        subprocess.run([sys.executable, scripts / "redrive.py", "--stack-name", STACK], check=True, env=environment, cwd=work)
        eventually(f"{GRANTEE} may launch {BROKEN}", lambda: grantees(ec2, BROKEN) == [GRANTEE])
        eventually("the dead-letter queue is empty", lambda: waiting("InvocationDeadLetterQueueUrl") == 0)

        step("an event that names nothing is kept too")
        put("ami-warden", "Image published", {"ImageId": "not an image"})
        eventually("the event is in the dead-letter queue", lambda: waiting("InvocationDeadLetterQueueUrl") == 1)
        (message,) = client["sqs"].receive_message(QueueUrl=outputs["InvocationDeadLetterQueueUrl"], VisibilityTimeout=0)["Messages"]
        kept = json.loads(message["Body"])
        assert kept["requestPayload"]["detail"] == {"ImageId": "not an image"}, kept
        assert kept["responsePayload"]["errorType"] == "InvalidEvent", kept
        step(f"    ok: with its error: {kept['responsePayload']['errorMessage']}")
        assert waiting("DeliveryDeadLetterQueueUrl") == 0

        step("somebody gives a rule of the stack a request as constant input")
        rule = next(each["Name"] for each in client["events"].list_rules()["Rules"] if "-RequestRule-" in each["Name"])
        (target,) = client["events"].list_targets_by_rule(Rule=rule)["Targets"]
        assert target["Arn"] == outputs["EventsAliasArn"], target
        request = {"ImageId": BROKEN, "LaunchPermission": {"Remove": [{"UserId": GRANTEE}]}}
        client["events"].put_targets(Rule=rule, Targets=[{**target, "Input": json.dumps(request)}])
        put("ami-warden", "Image published", {"ImageId": BY_RULE})
        eventually("the alias refuses it, and it is kept", lambda: waiting("InvocationDeadLetterQueueUrl") == 2)
        assert grantees(ec2, BROKEN) == [GRANTEE], "the request was carried out"


def fit_to_this_machine(client, name: str) -> None:
    """SSL_CERT_FILE names a file that Lambda's image has; where this machine has it elsewhere, the deployed function is told so."""
    function = client.get_function_configuration(FunctionName=name)
    variables = function["Environment"]["Variables"]
    if not Path(variables["SSL_CERT_FILE"]).exists():
        step(f"this machine has no {variables['SSL_CERT_FILE']}: the deployed function reads the certificates where they are")
        del variables["SSL_CERT_FILE"]
        client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--sam", type=Path, default=ROOT / ".venv/sam/bin/sam", help="the SAM command line (default: %(default)s)")
    arguments.add_argument(
        "--emulator", type=Path, default=ROOT / "target/debug/ec2-emulator", help="the EC2 emulator (default: %(default)s)"
    )
    arguments.add_argument("--bootstrap", type=Path, help="deploy this executable instead of building with SAM")
    arguments.add_argument("--release", type=Path, help="deploy the files of a release in this folder instead of building with SAM")
    arguments.add_argument("--keep", action="store_true", help="keep the working directory with the logs")
    options = arguments.parse_args()
    # The steps run in other directories.
    options.sam, options.emulator = options.sam.absolute(), options.emulator.absolute()
    options.bootstrap = options.bootstrap and options.bootstrap.absolute()
    options.release = options.release and options.release.absolute()
    work = Path(tempfile.mkdtemp(prefix="ami-warden-e2e-"))
    try:
        run(options, work)
    except BaseException:
        print(f"logs are kept in {work}", file=sys.stderr)
        raise
    if options.keep:
        print(f"logs are kept in {work}")
    else:
        shutil.rmtree(work)
    step("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
