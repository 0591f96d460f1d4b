#!/usr/bin/env python3
"""Break the template on purpose, one thing at a time, and see that the checks notice.

    python deploy/tests/mutations.py

Each mutation is a text to find in template.yaml, a text to put in its place, and what that would mean in an account. The checks
run on the broken copy; a mutation that none of them notices is an error.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from template import ROOT, SOURCE

# What tests the scripts and the policies of deploy/iam/, and does not ask the template.
WITHOUT_TEMPLATE = ["test_check.py", "test_redrive.py", "test_simulation.py"]

MUTATIONS = [
    # patterns
    ("State: [available]", "state: [available]", "no new image is ever looked at"),
    ("            resourcesSet: { items: { resourceId: [prefix: ami-] } }\n", "", "every tagged instance wakes the function"),
    ("          eventName: [CreateTags, DeleteTags]\n          errorCode: [exists: false]\n", "          eventName: [CreateTags, DeleteTags]\n", "refused calls wake the function"),
    ("[anything-but: [!Ref StatusTag]]", "[exists: true]", "the function wakes itself by its status tag"),
    ("key: [exists: false, prefix: !Ref TagPrefix]", "key: [prefix: !Ref TagPrefix]", "nobody notices that all tags were deleted"),
    ("name: [prefix: !Sub '${PolicyPath}/']", "name: [prefix: !Ref PolicyPath]", "parameters beside the path start a sweep"),
    ("- Continue: { Sweep: { After: [prefix: ami-] } }", "- Continue: { Sweep: [exists: true] }", "a long sweep stops half-way in silence"),
    ("functionArn: [!GetAtt Function.Arn, !Sub '${Function.Arn}:$LATEST']", "functionArn: [prefix: !GetAtt Function.Arn]", "another function's answers are taken for its own"),
    ('"detail": <continue>', '"detail": "<continue>"', "a Continue arrives as text and is no event"),
    ("        account: [!Ref AWS::AccountId]\n        region: [!Ref AWS::Region]\n        source: [aws.ec2]\n        detail-type: [EC2 AMI State Change]", "        source: [aws.ec2]\n        detail-type: [EC2 AMI State Change]", "forwarded events start searches in vain"),
    # permissions
    ("                Action: ec2:ModifyImageAttribute\n", "                Action: ec2:*\n", "the role may do anything to an image"),
    ("Sid: ModifyOwnImages\n                Effect: Allow\n                Action: ec2:ModifyImageAttribute\n                Resource: !Sub arn:${AWS::Partition}:ec2:${AWS::Region}::image/*", "Sid: ModifyOwnImages\n                Effect: Allow\n                Action: ec2:ModifyImageAttribute\n                Resource: !Sub arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:image/*", "the ARN of no image: nothing is permitted"),
    ("                  Condition:\n                    ForAllValues:StringEquals: { aws:TagKeys: [!Ref StatusTag] }\n                    'Null': { aws:TagKeys: 'false' }\n", "                  Condition:\n                    ForAllValues:StringEquals: { aws:TagKeys: [!Ref StatusTag] }\n", "the role may delete all tags of an image at once"),
    ("StringEqualsIfExists: { events:source: lambda }", "StringEqualsIfExists: { events:sources: lambda }", "a condition on a key that does not exist"),
    ("parameter${PolicyPath}/*", "parameter/*", "the role may read every parameter"),
    ("                  - !GetAtt ContinueRule.Arn\n", "", "a Continue that cannot be delivered is lost"),
    # properties
    ("Runtime: provided.al2023", "Runtime: provided.al2032", "no such runtime; the SAM linter lets it pass"),
    ("      MemorySize: !Ref MemorySize\n", "      MemorySise: !Ref MemorySize\n", "a misspelt property"),
    ("          MAX_REMOVALS: !Ref MaxRemovals\n", "", "a setting that never arrives"),
    ("SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false", "events lie about unencrypted"),
    ("            InputTemplate:", "            InputTemplates:", "a property that does not exist, deep inside a rule"),
    ("            Type: SQS\n            Destination: !GetAtt InvocationDeadLetterQueue.Arn", "            Type: SQS\n            Destination: !GetAtt DeliveryDeadLetterQueue.Arn", "failed events in the wrong queue, where the role may not write"),
    ("  AllowPublic:\n    Type: String\n    Default: 'false'", "  AllowPublic:\n    Type: String\n    Default: 'true'", "public by default"),
    ("ApplicationLogLevel: INFO", "ApplicationLogLevel: ERROR", "no metric is ever written"),
]  # fmt: skip


def checks(template: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", ROOT / "deploy/tests",
            *(f"--ignore={ROOT / 'deploy/tests' / name}" for name in WITHOUT_TEMPLATE),
        ],
        env=os.environ | {"AMI_WARDEN_TEMPLATE": str(template)}, capture_output=True, text=True,
    )  # fmt: skip


def main() -> int:
    source = SOURCE.read_text(encoding="utf-8")
    unnoticed = []
    if (whole := checks(SOURCE)).returncode:
        sys.exit(f"the template fails before anything is broken:\n{whole.stdout[-2000:]}")
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "template.yaml"
        for find, put, meaning in MUTATIONS:
            if find not in source:
                sys.exit(f"template.yaml no longer has: {find}")
            broken.write_text(source.replace(find, put, 1), encoding="utf-8")
            run = checks(broken)
            by = re.search(r"(?m)^(?:FAILED|ERROR) [^:]*::(\S+)", run.stdout)
            if run.returncode == 0:
                unnoticed.append(meaning)
            print(f"{'noticed  ' if run.returncode else 'UNNOTICED'}  {meaning}: {by[1] if by else ''}", flush=True)
    print(f"{len(MUTATIONS) - len(unnoticed)} of {len(MUTATIONS)} noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
