"""Cloud Custodian with the policy that does the nearest to it, as its users run it."""

import json
import resource
import sys
import tempfile

from c7n.cli import main

POLICY = {
    "name": "share-tagged-images",
    "resource": "aws.ami",
    "filters": [{"tag:ami-warden:launch-permission": "444455556666"}],
    "actions": [{"type": "set-permissions", "add": ["444455556666"]}],
}

with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/policy.json"
    with open(path, "w", encoding="utf-8") as policies:
        json.dump({"policies": [POLICY]}, policies)
    sys.argv = ["custodian", "run", "--cache-period", "0", "--region", "us-east-1", "--output-dir", folder, path]
    try:
        main()
    except SystemExit as end:
        print("custodian ended with", end.code)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
