"""The launch-permission scenarios against stock moto, as a second opinion beside the project's own EC2 emulator.

The built function runs as Lambda runs it, fed by a small Runtime API, with AWS_ENDPOINT_URL at moto_server. What counts is what boto3
reads afterwards: nothing here knows which requests the function makes.

moto is right about launch permissions. It accepts what EC2 refuses and ignores changes of description and IMDS support, so none of
that is tested here. It does not know GetImageBlockPublicAccessState, which is asked before an image is made public: a proxy in
front of it answers that one action with "unblocked", and passes everything else on as it is.

    make test-moto
"""

import contextlib
import json
import os
import pathlib
import queue
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3

ROOT = pathlib.Path(__file__).parent.parent.parent
BINARY = os.environ.get("AMI_WARDEN_BINARY", str(ROOT / "target/debug/ami-warden"))
REGION = "us-east-1"
PATIENCE = 60

ALICE, BOB = "444455556666", "222233334444"
ORGANIZATION = "arn:aws:organizations::111122223333:organization/o-exampleorgid"
UNIT = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456"
EVERYONE = [ALICE, BOB, "all", ORGANIZATION, UNIT]

# The key of an entry of LaunchPermission and the list of the other style, by the kind of grantee.
KINDS = {
    ALICE: ("UserId", "UserIds"),
    BOB: ("UserId", "UserIds"),
    "all": ("Group", "UserGroups"),
    ORGANIZATION: ("OrganizationArn", "OrganizationArns"),
    UNIT: ("OrganizationalUnitArn", "OrganizationalUnitArns"),
}


def entries(grantees):
    return [{KINDS[grantee][0]: grantee} for grantee in grantees]


def first_style(add=(), remove=()):
    return {"LaunchPermission": {"Add": entries(add), "Remove": entries(remove)}}


def second_style(operation, grantees):
    lists = {}
    for grantee in grantees:
        lists.setdefault(KINDS[grantee][1], []).append(grantee)
    return {"OperationType": operation, **lists}


def tags(*values):
    """Directive tags: the first value without a suffix, the others each with one."""
    keys = ["ami-warden:launch-permission", *(f"ami-warden:launch-permission:{n}" for n in range(1, len(values)))]
    return dict(zip(keys, values, strict=True))


def scenarios():
    """Name, settings, tags, who has access before, request (none: a look), outcome, who has access after."""
    anything = {"ALLOW_PUBLIC": "true", "ALLOWED_GRANTEES": "*"}
    for grantee in EVERYONE:
        kind = KINDS[grantee][0]
        yield f"a tag adds a {kind}", anything, tags(grantee), [], None, "applied", [grantee]
        yield f"a tag removes a {kind}", {}, tags(f"-{grantee}"), EVERYONE, None, "applied", without(grantee)
        yield f"a tag keeps a {kind} that has access", {}, tags(grantee), [grantee], None, "unchanged", [grantee]
        other = ALICE if grantee == BOB else BOB
        yield f"a tag adds no {kind} by default", {}, tags(grantee), [other], None, "refused", [other]
        yield f"the first style adds a {kind}", anything, {}, [], first_style(add=[grantee]), "applied", [grantee]
        yield f"the first style removes a {kind}", {}, {}, EVERYONE, first_style(remove=[grantee]), "applied", without(grantee)
        yield f"the second style adds a {kind}", anything, {}, [], second_style("add", [grantee]), "applied", [grantee]
        yield (
            f"the second style removes a {kind}",
            {},
            {},
            EVERYONE,
            second_style("remove", [grantee]),
            "applied",
            without(grantee),
        )
    yield "a tag adds one and removes another", anything, tags(f"{ALICE} -{BOB} -all"), [BOB, "all"], None, "applied", [ALICE]
    yield "several tags count as one", anything, tags(ALICE, f"{BOB} {UNIT}"), ["all"], None, "applied", [ALICE, BOB, UNIT, "all"]
    yield "exactly these", anything, tags(f"= {ALICE} {ORGANIZATION}"), [BOB, "all", UNIT], None, "applied", [ALICE, ORGANIZATION]
    yield "exactly nobody", {}, tags("="), EVERYONE, None, "applied", []
    yield "exactly these is refused whole", {}, tags(f"= {ALICE}"), [BOB], None, "refused", [BOB]
    yield "exactly those who have access", {}, tags(f"= {' '.join(EVERYONE)}"), EVERYONE, None, "unchanged", EVERYONE
    short = {**anything, "ORGANIZATION_ARN": ORGANIZATION}
    yield "short forms are completed", short, tags("o-exampleorgid ou-ab12-cdef3456"), [], None, "applied", [ORGANIZATION, UNIT]
    yield "one refused addition refuses all", {"ALLOWED_GRANTEES": ALICE}, tags(f"{ALICE} {BOB}"), [], None, "refused", []
    yield "removals go on beside a refused addition", {}, tags(f"{ALICE} -{BOB}"), [BOB], None, "applied", []
    yield "too many removals", {"MAX_REMOVALS": "1"}, tags("="), [ALICE, BOB], None, "refused", [ALICE, BOB]
    yield "an image on hold", anything, {**tags("all"), "ami-warden:hold": "yes"}, [BOB], None, "skipped", [BOB]
    yield "a setting for a dry run", {**anything, "DRY_RUN": "true"}, tags(ALICE), [BOB], None, "planned", [BOB]
    yield "a request leaves tags aside", anything, tags("all"), [BOB], second_style("add", [ALICE]), "applied", [BOB, ALICE]
    both = first_style(add=[ALICE, UNIT], remove=["all", BOB])
    yield "the first style adds and removes at once", anything, {}, [BOB, "all"], both, "applied", [ALICE, UNIT]
    yield "the second style adds several kinds", anything, {}, [], second_style("add", EVERYONE), "applied", EVERYONE
    yield "a request for a dry run", anything, {}, [BOB], {**both, "DryRun": True}, "planned", [BOB]
    yield "a request under default settings", {}, {}, [BOB], first_style(add=[ALICE]), "refused", [BOB]


def without(grantee):
    return [other for other in EVERYONE if other != grantee]


class Moto:
    """A moto_server of its own, without the images it brings."""

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/moto-api/data.json", timeout=PATIENCE).close()
                return self
            time.sleep(0.1)
        self.process.kill()
        raise SystemExit("moto_server does not start")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A function that is killed leaves its connections open: no reason for a traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"


def proxy(moto):
    """moto, and the one action it does not know."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if b"Action=GetImageBlockPublicAccessState" in body:
                state = "<imageBlockPublicAccessState>unblocked</imageBlockPublicAccessState>"
                namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"
                name = "GetImageBlockPublicAccessStateResponse"
                return self.answer(200, f'<{name} xmlns="{namespace}"><requestId>1</requestId>{state}</{name}>'.encode())
            request = urllib.request.Request(f"{moto}{self.path}", data=body, headers=dict(self.headers))
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                    return self.answer(response.status, response.read())
            except urllib.error.HTTPError as error:
                return self.answer(error.code, error.read())

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("content-type", "text/xml;charset=UTF-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Server(("127.0.0.1", 0), Proxy)


class Function:
    """The built function as a process, and the Lambda Runtime API that feeds it."""

    def __init__(self, endpoint, settings):
        self.events, self.answers = queue.Queue(), queue.Queue()
        function = self

        class RuntimeApi(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                event = function.events.get()
                if event is None:
                    return
                self.send_response(200)
                self.send_header("lambda-runtime-aws-request-id", "request-1")
                self.send_header("lambda-runtime-deadline-ms", str(int((time.time() + PATIENCE) * 1000)))
                self.send_header(
                    "lambda-runtime-invoked-function-arn", f"arn:aws:lambda:{REGION}:123456789012:function:ami-warden"
                )
                self.send_header("content-length", str(len(event)))
                self.end_headers()
                self.wfile.write(event)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()
                function.answers.put((self.path.rsplit("/", 1)[-1], json.loads(body)))

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), RuntimeApi).__enter__()
        environment = {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_LAMBDA_FUNCTION_NAME": "ami-warden",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_RUNTIME_API": self.server.address,
            **settings,
        }
        self.process = subprocess.Popen([BINARY], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def invoke(self, event):
        self.events.put(json.dumps(event).encode())
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(queue.Empty):
                return self.answers.get(timeout=1)
        self.process.kill()
        return "no answer", self.process.stdout.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.events.put(None)
        self.server.__exit__()


def register(ec2, number, image_tags):
    """An image of this account. Its id is moto's choice."""
    volume = ec2.create_volume(Size=8, AvailabilityZone=f"{REGION}a")["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    image = ec2.register_image(
        Name=f"golden-{number}",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeSize": 8}}],
    )["ImageId"]
    if image_tags:
        ec2.create_tags(Resources=[image], Tags=[{"Key": key, "Value": value} for key, value in image_tags.items()])
    return image


def grantees(ec2, image):
    permissions = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")["LaunchPermissions"]
    return sorted(value for permission in permissions for value in permission.values())


def play(ec2, endpoint, number, scenario):
    """What is different from what the scenario expects; nothing if it passes."""
    _, settings, image_tags, before, request, outcome, after = scenario
    image = register(ec2, number, image_tags)
    if before:
        ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": entries(before)})
    if grantees(ec2, image) != sorted(before):
        return f"moto has {grantees(ec2, image)} before, not {sorted(before)}"
    with Function(endpoint, settings) as function:
        # Once, and once more: a settled image stays as it is.
        for expected in [outcome, "unchanged" if outcome == "applied" else outcome]:
            kind, answer = function.invoke({"ImageId": image, **(request or {})})
            if kind != "response":
                return f"{kind}: {answer}"
            seen = [entry["Outcome"] for entry in answer["Images"]]
            if expected == "unchanged" and answer["Images"][0].get("Refusals"):
                expected = "refused"
            if seen != [expected]:
                return f"{seen}, not {expected}: {json.dumps(answer)}"
            if any(change.get("Confirmed") is False for change in answer["Images"][0]["Changes"]):
                return f"not confirmed: {json.dumps(answer)}"
            if grantees(ec2, image) != sorted(after):
                return f"{grantees(ec2, image)} have access, not {sorted(after)}"
    return None


def main():
    if not os.access(BINARY, os.X_OK):
        raise SystemExit(f"{BINARY} is not there: run `make test-moto`, or name another in AMI_WARDEN_BINARY")
    passed = failed = 0
    with Moto() as moto, proxy(moto.url) as front:
        ec2 = boto3.client(
            "ec2",
            endpoint_url=moto.url,
            region_name=REGION,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",
        )
        for number, scenario in enumerate(scenarios()):
            difference = play(ec2, f"http://{front.address}", number, scenario)
            if difference is None:
                passed += 1
            else:
                failed += 1
                print(f"FAILED  {scenario[0]}\n        {difference}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
