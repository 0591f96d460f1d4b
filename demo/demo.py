#!/usr/bin/env python3
"""What ami-warden does, shown on a few images, on this machine alone.

    make demo                                      at a glance; exits with an error if it is not as it must be
    make demo DETAILS=1                            the same, with every event, refusal and request
    make invoke EVENT=events/look.json             one event, and the answer as it is

The function runs as Lambda runs it, under the real Runtime Interface Emulator. EC2 is the project's emulator, which refuses what EC2
refuses. Python's standard library is all this needs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import signal
import sys
import tempfile
from pathlib import Path

import show
from world import ACCOUNT, ORGANIZATION, REGION, ROOT, SETTINGS, Trouble, World, logs

SHARED = "ami-0123456789abcdef0"  # the image of most files in events/
ENCRYPTED = "ami-0fedcba9876543210"
PRODUCT = "ami-0aaaabbbbccccdddd"
WATERMARKED = "ami-0ddddccccbbbbaaaa"
KEYED = "ami-0777766665555444a"
CORRECTED = "ami-0abcabcabcabcabca"
PENDING = "ami-0123abcd0123abcd0"
FOREIGN = "ami-0999988887777666a"
GUIDE = "ami-0abcdef1234567890"  # the image of the EC2 User Guide's own examples

SHARE_TAG, DESCRIPTION_TAG = "ami-warden:launch-permission", "ami-warden:description"
RELEASE_TAG, SHARED_RELEASE_TAG = "ami-warden:shared-tag:release", "ec2:SharedTag/release"
STATUS_TAG = SETTINGS["STATUS_TAG"]

ALICE, BOB = "444455556666", "222233334444"

# A key that nobody outside its account can use.
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0f0f0f0f-1111-2222-3333-444455556666"
KEY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"},
    ],
}
KEYS = [{"Arn": KEY, "Policies": {"default": json.dumps(KEY_POLICY)}}]


def encrypted(snapshot: str, **more: str) -> list[dict]:
    return [{"DeviceName": "/dev/xvda", "SnapshotId": snapshot, "Encrypted": True, **more}]


# Tags that the demo's events bring are not here yet.
IMAGES = [
    {
        "ImageId": SHARED,
        "Name": "golden-ubuntu",
        "Tags": {
            "release": "stable",
            SHARE_TAG: f"{ALICE} o-exampleorgid",
            DESCRIPTION_TAG: "{Name}, release {tag:release}",
            RELEASE_TAG: "{tag:release}",
        },
    },
    {"ImageId": ENCRYPTED, "Name": "payroll", "BlockDevices": encrypted("snap-0fedcba9876543210")},
    {"ImageId": PRODUCT, "Name": "marketplace", "ProductCodes": ["774F4FF8"]},
    {"ImageId": WATERMARKED, "Name": "approved-base", "Watermarks": [{"WatermarkKey": f"{ACCOUNT}:approved"}]},
    {"ImageId": KEYED, "Name": "vault", "BlockDevices": encrypted("snap-0777766665555444a", KmsKeyId=KEY)},
    {"ImageId": CORRECTED, "Name": "nightly"},
    {"ImageId": PENDING, "Name": "in-the-making", "State": "pending", "Tags": {SHARE_TAG: ALICE}},
    {"ImageId": FOREIGN, "Name": "someone-elses", "OwnerId": "999988887777", "Tags": {SHARE_TAG: "all"}},
    {"ImageId": GUIDE, "Name": "by-hand"},
]

# Only for `make invoke`, so that each file in events/ finds its image.
MORE_IMAGES = [{"ImageId": image_id, "Name": image_id} for image_id in ("ami-61a54008", "ami-5731123e")]

WHY = {
    "deferred": "the image is still pending; EC2's own event will bring it back when it is available",
    "not-found": "this account owns no image of this id, and nobody else's is ever touched",
    "no-directives": "no tag says anything about this image, so nothing is touched",
}


class Check:
    """What must be so. It is all looked at before the end, and said."""

    def __init__(self) -> None:
        self.done, self.wrong = 0, []

    def equal(self, what: str, found: object, expected: object) -> None:
        self.done += 1
        if found != expected:
            self.wrong.append(f"{what}: expected {expected!r}, found {found!r}")


class Demo:
    def __init__(self, world: World) -> None:
        self.world, self.check = world, Check()
        self.rows: dict[str, list[list[str]]] = {}
        self.requests: list[tuple[str, list[dict]]] = []

    def run(self, details: bool) -> bool:
        """Plays the whole story, shows it at a glance, and then, if it is asked for or something is wrong, in full."""
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            self.play()
            self.count()
        show.table(["image", "asked for", "outcome", "may launch"], list(self.rows.values()))
        print()
        good = self.verdict()
        if details or not good:
            print(told.getvalue(), end="")
        else:
            show.says("More: make demo DETAILS=1 shows each event, refusal and request.")
        return good

    def play(self) -> None:
        self.world.seed(IMAGES, KEYS)

        self.act("ami-available.json", "EC2 says: an image has become available", event("ami-available"))
        self.expect(SHARED, "applied", after=[ALICE, ORGANIZATION], note="shared tag release=stable")
        self.check.equal("the shared tag", self.world.image(SHARED)["Tags"].get(SHARED_RELEASE_TAG), "stable")
        self.log(event("ami-available")["id"])

        named = [ENCRYPTED, PRODUCT, WATERMARKED, FOREIGN]
        tagged = event("call-create-tags")
        tagged["detail"]["requestParameters"]["resourcesSet"]["items"] = [{"resourceId": each} for each in named]
        tagged["detail"]["requestParameters"]["tagSet"]["items"] = [{"key": SHARE_TAG, "value": "all"}]
        self.act("call-create-tags.json", 'CloudTrail says: four images were tagged "all"', tagged, adapted=True)
        mark = f"{ACCOUNT}:approved"
        self.expect(ENCRYPTED, "refused", ["encrypted-snapshot"], status="encrypted-snapshot:snap-0fedcba9876543210")
        self.expect(PRODUCT, "refused", ["product-code"], status="product-code:774F4FF8")
        self.expect(WATERMARKED, "refused", ["watermark"], status=f"watermark:{mark}")
        self.expect(FOREIGN, "skipped", asked="all (its owner)")

        self.act("tag-changed.json", "EC2 says: tags changed, on an encrypted image", tag_change(KEYED, ALICE), adapted=True)
        self.expect(KEYED, "refused", ["key-not-shared"], status=f"key-not-shared:{ALICE}")

        # The tag is corrected while the function obeys the mistaken one; no event tells it.
        mistaken, right = f"= {BOB}", f"= {ALICE}"
        correction = {"AddTags": {"Id": CORRECTED, "Tags": {SHARE_TAG: right}}}
        self.world.at_call("ModifyImageAttribute", {"ImageId": CORRECTED}, correction)
        self.act("tag-changed.json", "A tag is corrected while it is obeyed", tag_change(CORRECTED, mistaken), adapted=True)
        self.expect(CORRECTED, "applied", after=[ALICE], wanted=[mistaken, right], note="the corrected wish wins")

        created = event("call-create-image")
        created["detail"]["responseElements"]["imageId"] = PENDING
        self.act("call-create-image.json", "CloudTrail says: an image is being made", created, adapted=True)
        self.expect(PENDING, "deferred")

        for name, title, outcome, after in [
            ("guide-1-make-public", "By hand: make it public", "applied", ["all"]),
            ("guide-2-verify", "By hand: look at it", "skipped", ["all"]),
            ("guide-3-make-private-again", "By hand: make it private", "applied", []),
        ]:
            request = event(name)
            self.act(f"{name}.json", title, request)
            self.expect(GUIDE, outcome, after=after, asked=json.dumps(request), row=title.removeprefix("By hand: "))

        self.act("sweep.json", "By hand: look at every image once more", event("sweep"))
        self.check.equal("the sweep's summary", self.answer.get("Summary"), {"deferred": 1, "refused": 4, "unchanged": 2})
        show.line("answer", f"Summary: {json.dumps(self.answer.get('Summary'))}")
        again = [call["Action"] for call in self.requests[-1][1] if call["Action"] in show.WRITES]
        self.check.equal("the sweep's writes", again, [])
        show.line("", "What is settled stays as it is. What was refused is refused again, its status tag stays.")
        show.line("", "No request that changes anything.")

        show.heading("Every request that reached EC2 and KMS, in order")
        for name, calls in self.requests:
            print(show.paint(f"events/{name}", "title"))
            for call in calls:
                show.request(call)

    def act(self, name: str, title: str, payload: dict, adapted: bool = False) -> None:
        """Sends one event and keeps what came of it."""
        show.heading(f"{title}  (events/{name}{', with the ids below' if adapted else ''})")
        self.world.happen(payload)
        self.before = {image["ImageId"]: self.world.image(image["ImageId"]).get("LaunchPermissions", []) for image in IMAGES}
        self.answer, calls = self.world.invoke(payload)
        self.requests.append((name, calls))
        self.first = True
        if not isinstance(self.answer, dict) or "errorType" in self.answer:
            raise Trouble(f"events/{name}: the invocation failed: {json.dumps(self.answer)}")

    def expect(
        self,
        image_id: str,
        outcome: str,
        codes: list[str] = (),
        after: list[str] = (),
        asked: str | None = None,
        row: str | None = None,
        status: str | None = None,
        wanted: list[str] | None = None,
        note: str | None = None,
    ) -> None:
        """Shows what became of one image, and checks it against what must become of it."""
        image = self.world.image(image_id)
        before, now = self.before[image_id], image.get("LaunchPermissions", [])
        entry = next((entry for entry in self.answer["Images"] if entry["ImageId"] == image_id), {})
        found_codes = [refusal["Code"] for refusal in entry.get("Refusals", [])]
        self.check.equal(f"{image_id}, outcome", entry.get("Outcome"), outcome)
        self.check.equal(f"{image_id}, refusals", found_codes, list(codes))
        self.check.equal(f"{image_id}, launch permissions", now, list(after))
        tag = image.get("Tags", {}).get(STATUS_TAG)
        self.check.equal(f"{image_id}, status tag", tag, status)

        if not self.first:
            print()
        self.first = False
        verdict = " ".join([entry.get("Outcome", "no answer").upper(), *found_codes, *filter(None, [entry.get("Reason")])])
        left = f"  {image_id}  {image['Name']}"
        print(show.paint(left, "title") + " " * max(2, show.WIDTH - len(left) - len(verdict)) + show.outcome(verdict)[1])
        wishes = {key: value for key, value in image.get("Tags", {}).items() if key.startswith("ami-warden:")}
        if row:
            show.line("asked", asked or "")
        if wanted:
            wishes[SHARE_TAG] = ", then ".join(wanted)
        for index, (key, value) in enumerate(wishes.items()):
            show.line("" if index else "asked", f"{key} = {value}")
        self.tell(entry)
        if tag is not None:
            show.line("status tag", f"{STATUS_TAG} = {tag}")
        if now == before:
            show.line("may launch", f"before and after: {show.grantees(now)}", show.danger(now))
        else:
            show.line("may launch", f"before: {show.grantees(before)}", show.danger(before))
            show.line("", f"after:  {show.grantees(now)}", show.danger(now) or "add")

        if wanted is None:
            wanted = [row or asked] if row or asked else wishes.get(SHARE_TAG, "").split()
        self.rows[f"{image_id} {row}"] = [
            [show.plain(image["Name"])],
            [show.plain(text) for text in wanted],
            [show.outcome(verdict.lower()), *([show.plain(note)] if note else [])],
            [show.launcher(each) for each in now] or [show.plain(show.OWNER_ONLY)],
        ]

    def log(self, event_id: str) -> None:
        """Shows two of the lines that the function logged for the first event, shortened, and checks them."""
        changes = [line for line in self.world.log_lines("change") if line["Attribute"] == "launchPermission"]
        metrics = self.world.log_lines("metrics")
        self.check.equal("lines of launch permissions changed, and of metrics", (len(changes), len(metrics)), (1, 1))
        show.heading("What the log says of it")
        for label, lines, expected in [
            (
                "trail",
                changes,
                {
                    "event": "change",
                    "ImageId": SHARED,
                    "Attribute": "launchPermission",
                    "Before": [],
                    "After": ["444455556666", ORGANIZATION],
                    "EventId": event_id,
                },
            ),
            ("metrics", metrics, {"event": "metrics", "Applied": 1, "Refused": 0, "Failed": 0, "GranteesAdded": 2, "AwsCalls": 7}),
        ]:
            found = {key: value for key, value in (lines or [{}])[0].items() if key in expected}
            self.check.equal(f"the log's line, {label}", found, expected)
            show.line(label, ", ".join(f"{json.dumps(key)}: {json.dumps(found[key])}" for key in expected if key in found) + ", …")
        directive = (metrics or [{}])[0].get("_aws", {}).get("CloudWatchMetrics", [{}])[0]
        named = [metric["Name"] for metric in directive.get("Metrics", [])]
        self.check.equal("the metrics' namespace", directive.get("Namespace"), "AmiWarden")
        self.check.equal("the logged numbers that CloudWatch makes metrics of", {"Applied", "GranteesAdded", "AwsCalls"} <= {*named}, True)
        show.line("", f"{len(named)} metrics in the namespace {directive.get('Namespace')}")

    def tell(self, entry: dict) -> None:
        label = "did"
        for change in entry.get("Changes", []):
            if change["Attribute"] == "launchPermission":
                signs = [f"+ {show.grantee(each)}" for each in change["Add"]] + [f"- {show.grantee(each)}" for each in change["Remove"]]
                show.line(label, f"launchPermission: {'  '.join(signs)}{'  (read back: confirmed)' if change.get('Confirmed') else ''}")
            else:
                show.line(label, f"{change['Attribute']}: {json.dumps(change['From'])} → {json.dumps(change['To'])}")
            label = ""
        label = "refused"
        for refusal in entry.get("Refusals", []):
            show.line(label, f"{refusal['Code']}: {refusal['Message']}", "refuse")
            label = ""
        why = WHY.get(entry.get("Reason") or entry.get("Outcome", ""))
        if why:
            show.line("why", why)
        if "Public" in entry:
            show.line("answer", f"Public: {json.dumps(entry['Public'])}")
        for index, note in enumerate(entry.get("Notes", [])):
            show.line("" if index else "note", note)

    def count(self) -> None:
        """Looks once more at what EC2 has, and at what it was asked."""
        expected = {SHARED: [ALICE, ORGANIZATION], CORRECTED: [ALICE]}
        for image in IMAGES:
            image_id = image["ImageId"]
            found = self.world.image(image_id).get("LaunchPermissions", [])
            self.check.equal(f"{image_id}, launch permissions in the end", found, expected.get(image_id, []))
        calls = [call for _, calls in self.requests for call in calls]
        writes = [call for call in calls if call["Action"] in show.WRITES]
        modified = [call["Params"]["ImageId"] for call in writes if call["Action"] == "ModifyImageAttribute"]
        self.check.equal(
            "the images that EC2 was asked to change, in order", modified, [SHARED, SHARED, CORRECTED, CORRECTED, GUIDE, GUIDE]
        )
        tagged = [(call["Params"]["ResourceId.1"], call["Params"]["Tag.1.Key"]) for call in writes if "Tag.1.Key" in call["Params"]]
        refused = [(image_id, STATUS_TAG) for image_id in (ENCRYPTED, PRODUCT, WATERMARKED, KEYED)]
        self.check.equal("the tags written", sorted(tagged), sorted([(SHARED, SHARED_RELEASE_TAG), *refused]))
        self.check.equal("requests that AWS refused", [call["Action"] for call in calls if call["ErrorCode"]], [])
        self.counts = f"{len(calls)} requests, {len(writes)} of them writes"

    def verdict(self) -> bool:
        """Says whether it is as it must be."""
        for wrong in self.check.wrong:
            show.says(f"WRONG  {wrong}", "danger")
        if self.check.wrong:
            return False
        show.says(
            f"As it must be: {self.check.done} checks of outcomes, refusals, launch permissions, tags and the log passed; "
            f"{self.counts}, none refused by AWS.",
            "add",
        )
        return True


def tag_change(image_id: str, value: str) -> dict:
    """The event of a changed tag, about this image."""
    change = event("tag-changed")
    change["resources"] = [f"arn:aws:ec2:{REGION}:{ACCOUNT}:image/{image_id}"]
    change["detail"]["tags"] = {SHARE_TAG: value}
    return change


def event(name: str) -> dict:
    return json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))


def read_event(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise Trouble(f"{path}: {error}") from None


def invoke(world: World, payload: object) -> bool:
    """One event: the answer as it is, and the requests to EC2. False if the invocation failed."""
    world.seed(IMAGES + MORE_IMAGES, KEYS)
    world.happen(payload)
    answer, calls = world.invoke(payload)
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    print(show.paint("\nrequests to EC2:", "title", "aside") + ("" if calls else " none"))
    for call in calls:
        show.request(call)
    return isinstance(answer, dict) and "errorType" not in answer


def stop(number: int, _frame: object) -> None:
    # As an exception, so that everything that was started is ended on the way out.
    sys.exit(128 + number)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--function", type=Path, required=True, help="the built function")
    arguments.add_argument("--emulator", type=Path, required=True, help="the built EC2 emulator")
    arguments.add_argument("--rie", type=Path, required=True, help="the Runtime Interface Emulator")
    arguments.add_argument("--event", type=Path, help="send only this event and print the answer")
    arguments.add_argument("--details", action="store_true", help="show each event, refusal and request, too")
    options = arguments.parse_args()
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    programs = [path.resolve() for path in (options.function, options.emulator, options.rie)]
    try:
        payload = read_event(options.event) if options.event else None
        with tempfile.TemporaryDirectory(prefix="ami-warden-demo-") as work, World(*programs, Path(work), SETTINGS) as world:
            try:
                good = invoke(world, payload) if options.event else Demo(world).run(options.details)
            except Trouble as trouble:
                raise Trouble(f"{trouble}\n{logs(world.work)}") from None
            if not good and not options.event:
                print(logs(world.work), file=sys.stderr)
    except Trouble as trouble:
        print(f"demo: {trouble}", file=sys.stderr)
        return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
