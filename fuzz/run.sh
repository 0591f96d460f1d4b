#!/usr/bin/env bash
# Fuzzes every target for so many seconds each: fuzz/run.sh [SECONDS]. Needs a nightly compiler and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-30}

# Seeds, made anew from the project's own examples.
mkdir -p fuzz/corpus/{event,tags,description,policy}
cp events/*.json fuzz/corpus/event/
python3 - <<'PYTHON'
import json
from pathlib import Path

corpus = Path("fuzz/corpus")
for index, case in enumerate(sum(json.loads(Path("deploy/tests/rules.json").read_text()).values(), [])):
    (corpus / "policy" / f"rules-{index}").write_text(json.dumps(case) + "\n---\nteam=111122223333,@other\nother=@team,all\n")
tags = [
    "launch-permission=111122223333 -all", "launch-permission== 222233334444", "launch-permission=o-exampleorgid ou-ab12-cdef3456 @team",
    "launch-permission:2=-arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456", "imds-support=v2.0", "hold=x",
    "description={Name} {ImageId} {tag:version}", "shared-tag:release={tag:version}\nshared-tag:old=-", "copy-permission=444455556666 -@team",
    "deprecate-at=180d", "deprecate-at=2027-06-30T12:00:00Z", "launch-permission=444455556666\nlaunch-permission:x=-222233334444,all\ntypo=",
]
for index, text in enumerate(tags):
    (corpus / "tags" / f"seed-{index}").write_text(text)
templates = ["{Name}, {tag:version}\n1.2", "{ImageId} {CreationDate} {SourceImageId} {Architecture}\nx", "{{Name}}\n{Name}", "}{\n", "{tag:}\nä"]
for index, text in enumerate(templates):
    (corpus / "description" / f"seed-{index}").write_text(text)
PYTHON

for target in event tags description policy; do
    echo "==> $target: $seconds seconds"
    log=$(mktemp)
    if ! cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -print_final_stats=1 -max_len=4096 >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "$target failed; an input that does it is in fuzz/artifacts/$target"
        exit 1
    fi
    grep -E 'DONE|^Done|^stat::(number|average)' "$log"
    rm "$log"
done
