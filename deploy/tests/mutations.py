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
WITHOUT_TEMPLATE = ["test_check.py", "test_fleet.py", "test_redrive.py", "test_simulation.py"]

MUTATIONS = [
    # patterns
    ("State: [available]", "state: [available]", "no new image is ever looked at"),
    ("            resourcesSet: { items: { resourceId: [prefix: ami-] } }\n", "", "every tagged instance wakes the function"),
    ("          eventName: [CreateTags, DeleteTags]\n          errorCode: [exists: false]\n", "          eventName: [CreateTags, DeleteTags]\n", "refused calls wake the function"),
    ("wildcard: ['ec2:SharedTag/*', !If [UsesStatusTag, !Ref StatusTag, !Ref AWS::NoValue]]", "wildcard: ['ec2:SharedTag/*']", "the function wakes itself by its status tag"),
    ("wildcard: ['ec2:SharedTag/*', !If [UsesStatusTag, !Ref StatusTag, !Ref AWS::NoValue]]", "wildcard: [!If [UsesStatusTag, !Ref StatusTag, nothing]]", "the function wakes itself by its shared tags"),
    ("key: [exists: false, prefix: !Ref TagPrefix]", "key: [prefix: !Ref TagPrefix]", "nobody notices that all tags were deleted"),
    ("{ prefix: !Sub '${PolicyPath}/' }", "{ prefix: !Ref PolicyPath }", "parameters beside the path start a sweep"),
    ("            - !If [UsesGranteesParameter, !Ref AllowedGranteesParameter, !Ref AWS::NoValue]\n", "", "a wider allow-list starts nothing"),
    ("  PolicyRule:\n    Type: AWS::Events::Rule\n    Condition: WatchesParameters", "  PolicyRule:\n    Type: AWS::Events::Rule\n    Condition: UsesPolicy", "an allow-list without a policy is not watched"),
    ("status: [CREATE_COMPLETE, UPDATE_COMPLETE]", "status: [CREATE_COMPLETE]", "new settings wait for the next sweep"),
    ("stack-id: [!Ref AWS::StackId]", "stack-id: [exists: true]", "every stack of the account starts sweeps"),
    ('"detail": {"Sweep": {}}}', '"detail": {}}', "a deployment sends an event that asks for nothing"),
    ("- Continue: { Sweep: { After: [prefix: ami-] } }", "- Continue: { Sweep: [exists: true] }", "a long sweep stops half-way in silence"),
    ("functionArn: [!Ref EventsAlias, !GetAtt Function.Arn, !Sub '${Function.Arn}:$LATEST']", "functionArn: [prefix: !GetAtt Function.Arn]", "another function's answers are taken for its own"),
    ("functionArn: [!Ref EventsAlias, !GetAtt Function.Arn", "functionArn: [!GetAtt Function.Arn", "a sweep that a rule began stops after one link"),
    # the alias
    ("          Arn: !Ref EventsAlias\n", "          Arn: !GetAtt Function.Arn\n", "a rule's constant input is carried out as a request"),
    ("FunctionName: !Ref EventsAlias, Action", "FunctionName: !Ref Function, Action", "EventBridge may send requests"),
    ("      Qualifier: events\n      MaximumRetryAttempts: 2\n", "      Qualifier: event\n      MaximumRetryAttempts: 2\n", "what the rules sent and failed is lost"),
    ("      FunctionVersion: $LATEST\n", "      FunctionVersion: '1'\n", "the rules invoke old code"),
    ("        OnFailure: { Destination: !GetAtt InvocationDeadLetterQueue.Arn }\n", "", "what the rules sent and failed is lost, again"),
    ('"detail": <continue>', '"detail": "<continue>"', "a Continue arrives as text and is no event"),
    ("        account: [!Ref AWS::AccountId]\n        region: [!Ref AWS::Region]\n        source: [aws.ec2]\n        detail-type: [EC2 AMI State Change]", "        source: [aws.ec2]\n        detail-type: [EC2 AMI State Change]", "forwarded events start searches in vain"),
    # permissions
    ("                Action: ec2:ModifyImageAttribute\n", "                Action: ec2:*\n", "the role may do anything to an image"),
    ("Sid: ModifyOwnImages\n                Effect: Allow\n                Action: ec2:ModifyImageAttribute\n                Resource: !Sub arn:${AWS::Partition}:ec2:${AWS::Region}::image/*", "Sid: ModifyOwnImages\n                Effect: Allow\n                Action: ec2:ModifyImageAttribute\n                Resource: !Sub arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:image/*", "the ARN of no image: nothing is permitted"),
    ("                  Condition:\n                    ForAllValues:StringEquals: { aws:TagKeys: [!Ref StatusTag] }\n                    'Null': { aws:TagKeys: 'false' }\n", "                  Condition:\n                    ForAllValues:StringEquals: { aws:TagKeys: [!Ref StatusTag] }\n", "the role may delete all tags of an image at once"),
    ("StringEqualsIfExists: { events:source: lambda }", "StringEqualsIfExists: { events:sources: lambda }", "a condition on a key that does not exist"),
    ("parameter${PolicyPath}/*", "parameter/*", "the role may read every parameter"),
    ("{ ec2:Add/userId: 'false', ec2:Add/group: 'true' }", "{ ec2:Add/userId: 'false' }", "the role may let everybody copy, beside an account"),
    ("{ ec2:Add/userId: 'false', ec2:Add/group: 'true' }", "{ ec2:Add/group: 'true' }", "a condition that is true of no account at all"),
    ("{ ec2:Add/userId: 'true', ec2:Add/group: 'true' }", "{ ec2:Add/group: 'true' }", "the role may let any account copy"),
    ("ec2:Add/userId: !Split [' ', !Join [' ', !Split [',', !Join [',', !Split [', ', !Ref AllowedCopiers]]]]]", "ec2:Add/userId: !Split [',', !Ref AllowedCopiers]", "of two accounts that may copy, IAM forbids both"),
    ("                - ChecksKeys\n                - Sid: ReadKeys\n", "                - UsesPolicy\n                - Sid: ReadKeys\n", "the key check has no permission, and the policy one that it does not need"),
    ("kms:${AWS::Region}:${AWS::AccountId}:key/*", "kms:${AWS::Region}:*:key/*", "the role may ask for other accounts' key policies"),
    ("!Split [', ', !Join [',', !Split [' ,', !Ref SharedTags]]]", "!Split [';', !Join [',', !Split [' ,', !Ref SharedTags]]]", "a blank behind a comma becomes a part of the next key"),
    ("Action: [ec2:EnableImageDeprecation, ec2:DisableImageDeprecation]", "Action: ec2:EnableImageDeprecation", "a deprecation that cannot be taken back"),
    ("                  Condition: { StringEquals: { kms:ViaService: !Sub 'sqs.${AWS::Region}.${AWS::URLSuffix}' } }\n", "", "the role may decrypt whatever the key protects"),
    ("          - !Ref PermissionsBoundaryArn\n", "          - !Ref AWS::NoValue\n", "no boundary where one is demanded"),
    ("Action: sqs:*", "Action: [sqs:SendMessage, sqs:ReceiveMessage]", "a queue may be deleted over a plain connection"),
    ("                  - !GetAtt ContinueRule.Arn\n", "", "a Continue that cannot be delivered is lost"),
    # properties
    ("Runtime: provided.al2023", "Runtime: provided.al2032", "no such runtime; the SAM linter lets it pass"),
    ("      MemorySize: !Ref MemorySize\n", "      MemorySise: !Ref MemorySize\n", "a misspelt property"),
    ("          MAX_REMOVALS: !If [LimitsRemovals, !Ref MaxRemovals, !Ref AWS::NoValue]\n", "", "a setting that never arrives"),
    ("KEY_CHECK: !If [ChecksKeys, !Ref KeyCheck", "KEY_CHECK: !If [ChecksKeys, !Ref ShareBackups", "a setting with the value of another"),
    ("SqsManagedSseEnabled: !If [HasKey, !Ref AWS::NoValue, true]", "SqsManagedSseEnabled: false", "events lie about unencrypted"),
    ("      KmsMasterKeyId: !If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n", "", "a key that is given and not used"),
    ("      KmsKeyId: !If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n", "", "a log that is not encrypted with the key that is given"),
    ("    Type: AWS::SQS::Queue\n    DeletionPolicy: RetainExceptOnCreate\n", "    Type: AWS::SQS::Queue\n", "kept events go with the stack"),
    ("RecursiveLoop: Allow", "RecursiveLoop: Terminate", "Lambda may cut a long sweep"),
    ("SystemLogLevel: INFO", "SystemLogLevel: WARN", "nobody can see how much memory was used"),
    ("            InputTemplate:", "            InputTemplates:", "a property that does not exist, deep inside a rule"),
    ("            Type: SQS\n            Destination: !GetAtt InvocationDeadLetterQueue.Arn", "            Type: SQS\n            Destination: !GetAtt DeliveryDeadLetterQueue.Arn", "failed events in the wrong queue, where the role may not write"),
    ("  AllowPublic:\n    Type: String\n    Default: 'false'", "  AllowPublic:\n    Type: String\n    Default: 'true'", "public by default"),
    ("ApplicationLogLevel: INFO", "ApplicationLogLevel: ERROR", "no metric is ever written"),
    # what is refused at deployment
    ("      AllowedPattern: '^[ ,]*((\\*|-?([0-9]{12}|arn:[^ ,]+))([ ,]+|$))*$'\n", "      AllowedPattern: '^.*$'\n", "short forms without an organization: it never starts"),
    ("      AllowedPattern: !Sub '^(?!${PolicyPath}(/|$)).*$'\n", "      AllowedPattern: '^.*$'\n", "an allow-list below the policy: it never starts"),
    ("!Join ['', ['^(?!', !Join ['[+]', !Split [+, !Ref TagPrefix]], ').*$']]", "'^.*$'", "a status tag below the prefix: it never starts"),
    ("!Join ['[+]', !Split [+, !Ref TagPrefix]]", "!Ref TagPrefix", "a prefix that is no pattern"),
    ("      - Assert: !Equals [!Ref AllowedGrantees, '']\n        AssertDescription: Give AllowedGrantees or AllowedGranteesParameter, not both.\n", "", "both allow-lists: it never starts"),
    ("      - Assert: !Equals [!Ref PermissionsBoundaryArn, '']", "      - Assert: !Equals [!Ref PermissionsBoundaryName, !Ref PermissionsBoundaryName]", "a boundary that is given and not used"),
    ("    MaxLength: 2000\n", "    MaxLength: 4000\n", "more than Lambda's 4 KB of variables"),
    ("(1 (minute|hour|day)|", "([0-9]+ (minute|hour|day)|", "rate(2 hour), which EventBridge does not take"),
    ("(?=\\S+ \\S+ (\\? \\S+ [^? ]+|[^? ]+ \\S+ \\?) )", "", "cron with both days"),
    ("(?!Name$)", "", "the status tag takes the place of the name"),
    ("    AllowedValues: ['', none, informational, low, medium, high]\n", "", "a severity that does not exist"),
    ("  ShareBackups:\n    Type: String\n    Default: 'false'", "  ShareBackups:\n    Type: String\n    Default: 'true'", "backups are shared by default"),
    # alarms
    ("      TreatMissingData: breaching\n", "      TreatMissingData: notBreaching\n", "nobody notices that sweeps stopped"),
    ("      Period: !If [SweepsEverySixHours, 7200, ", "      Period: !If [SweepsEverySixHours, 3600, ", "the heartbeat is missed before the next sweep is due"),
    ("!Join ['%2 86400', !Split ['rate(1 day)', ", "!Join ['%1 86400', !Split ['rate(1 day)', ", "a daily sweep that is a minute late rings"),
    ("      MetricName: Refused\n      Dimensions: [{ Name: FunctionName, Value: !Ref Function }]\n", "      MetricName: Refused\n", "an alarm for a metric that does not exist"),
    ("      MetricName: InvocationsFailedToBeSentToDlq\n      Dimensions: [{ Name: RuleName, Value: !Ref SweepRule }]\n", "      MetricName: InvocationsFailedToBeSentToDlq\n      Dimensions: [{ Name: RuleName, Value: sweep }]\n", "an alarm for another stack's rule"),
    ("      DatapointsToAlarm: 1\n", "", "an alarm that needs refusals on two days"),
    ("      Period: 1800\n", "      Period: 900\n", "three errors that never fall into one period"),
    ("  DroppedEventsAlarm:\n    Type: AWS::CloudWatch::Alarm\n    Condition: HasAlarms\n", "  DroppedEventsAlarm:\n    Type: AWS::CloudWatch::Alarm\n", "an alarm that cannot be left out"),
    ("    Type: AWS::CloudWatch::Dashboard\n    Condition: HasDashboard\n", "    Type: AWS::CloudWatch::Dashboard\n", "a dashboard that cannot be left out"),
    ("      OKActions: !If [HasAlarmTopic, [!Ref AlarmTopicArn], !Ref AWS::NoValue]\n", "", "nobody hears that it is over"),
]  # fmt: skip


# What needs neither an emulator nor another program, and so takes seconds, is asked first.
QUICK = [ROOT / "deploy/tests" / name for name in ("test_policies.py", "test_template.py")]
NOT_QUICK = "lint or as_a_stackset_would or the_deployed_rules"


def pytest(template: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *arguments],
        env=os.environ | {"AMI_WARDEN_TEMPLATE": str(template)}, capture_output=True, text=True,
    )  # fmt: skip


def checks(template: Path) -> subprocess.CompletedProcess:
    quick = pytest(template, *QUICK, "-k", f"not ({NOT_QUICK})")
    if quick.returncode:
        return quick
    return pytest(template, ROOT / "deploy/tests", *(f"--ignore={ROOT / 'deploy/tests' / name}" for name in WITHOUT_TEMPLATE))


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
