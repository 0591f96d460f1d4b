# /// script
# dependencies = ["c7n==0.9.53", "awslambdaric==4.2.2"]
# ///
"""Cloud Custodian's own entry point, with the policy that does the nearest to it: share an image whose tag names the account."""

import json
import os
import tempfile

from c7n import handler as c7n_handler

POLICY = {
    "name": "share-tagged-images",
    "resource": "aws.ami",
    "mode": {
        "type": "cloudtrail",
        "role": "arn:aws:iam::111122223333:role/c7n",
        "events": [
            {"source": "ec2.amazonaws.com", "event": "CreateTags", "ids": "requestParameters.resourcesSet.items[].resourceId"}
        ],
    },
    "filters": [{"tag:ami-warden:launch-permission": "444455556666"}],
    "actions": [{"type": "set-permissions", "add": ["444455556666"]}],
}

# As `c7n` packages it: the policy in config.json, beside the code.
os.chdir(tempfile.mkdtemp())
with open("config.json", "w", encoding="utf-8") as config:
    json.dump({"execution-options": {"account_id": "111122223333"}, "policies": [POLICY]}, config)


def handler(event, context):
    return c7n_handler.dispatch_event(event, context)
