"""Every event pattern against every event, in a matcher that agrees with EventBridge's own."""

import json

import pytest
import yaml

import template

TABLE = yaml.safe_load((template.ROOT / "deploy/tests/expected.yaml").read_text(encoding="utf-8"))
FOLDERS = {"events/": template.ROOT / "events", "": template.ROOT / "deploy/tests/events"}
FILES = {prefix + path.stem: path for prefix, folder in FOLDERS.items() for path in sorted(folder.glob("**/*.json"))}
STACKS = {
    "tags": {"CloudTrailEvents": "true"},
    "policy": {
        "CloudTrailEvents": "true", "PolicyPath": "/ami-warden", "AllowedGranteesParameter": "/security/ami-grantees", "StatusTag": "image-status",
    },
}  # fmt: skip
# Where an event says nothing else, it happened where the stack is.
HOME = {"AWS::AccountId": template.PSEUDO["AWS::AccountId"], "AWS::Region": template.PSEUDO["AWS::Region"]}


def matched(matcher, stack, event) -> list[str]:
    """The rules that an event wakes."""
    return sorted(
        name
        for name, pattern in stack.patterns().items()
        if matcher.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))["Result"]
    )


def deployed_where(event: dict, own: bool) -> dict:
    """Account and Region of the stack. An event from events/ is tested in its own; ours may come from elsewhere on purpose."""
    return {} if own else {"AWS::AccountId": event["account"], "AWS::Region": event["region"]}


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("which", sorted(STACKS))
def test_an_event_wakes_the_rules_that_the_table_says_and_no_other(matcher, plain, name, which):
    event = template.event(FILES[name])
    if not isinstance(event, dict) or "detail-type" not in event:
        return  # an invocation by hand: EventBridge never sees it
    own = not name.startswith("events/")
    stack = template.Stack(plain, STACKS[which], deployed_where(event, own))
    record = event["detail"].get("requestContext", {}) if isinstance(event["detail"], dict) else {}
    if not own and "functionArn" in record:
        # The function of an example has another name than ours; the record is of the function it names.
        name, _, qualifier = record["functionArn"].partition(":function:")[2].partition(":")
        record["functionArn"] = stack._attribute("Function", "Arn") + (qualifier and f":{qualifier}")
    found = matched(matcher, stack, event)
    assert name in TABLE, f"say in deploy/tests/expected.yaml which rules {FILES[name].name} must wake (now, under `{which}`: {found})"
    expected = TABLE[name] if isinstance(TABLE[name], list) else TABLE[name][which]
    assert found == sorted(expected)


def test_every_line_of_the_table_has_its_event():
    assert set(TABLE) <= set(FILES)


def test_every_rule_with_a_pattern_is_woken_by_some_event(stack):
    woken = {rule for line in TABLE.values() for rules in (line.values() if isinstance(line, dict) else [line]) for rule in rules}
    assert woken == set(stack(**STACKS["policy"]).patterns())


def test_without_a_trail_a_policy_or_a_schedule_their_rules_do_not_exist(stack):
    always = ["ContinueRule", "ImageStateRule", "ImageTagRule", "RequestRule"]
    assert sorted(stack(SweepSchedule="").patterns()) == always
    assert sorted(stack().patterns()) == sorted([*always, "DeploymentRule"])
    assert sorted(stack(PolicyPath="/ami-warden").patterns()) == sorted([*always, "DeploymentRule", "PolicyRule"])


def test_the_policy_and_the_allowed_grantees_are_watched_each_without_the_other(matcher, stack):
    events = {name: template.event(FILES[name]) for name in ("parameter-group-changed", "parameter-allowed-grantees-changed", "parameter-elsewhere")}
    for parameters, expected in [
        ({"PolicyPath": "/ami-warden"}, {"parameter-group-changed"}),
        ({"AllowedGranteesParameter": "/security/ami-grantees"}, {"parameter-allowed-grantees-changed"}),
    ]:
        rules = stack(**parameters)
        assert {name for name, event in events.items() if matched(matcher, rules, event)} == expected


def test_with_a_policy_and_no_status_tag_any_tag_change_is_looked_at(matcher, stack):
    rules = stack(PolicyPath="/ami-warden", CloudTrailEvents="true")
    for name in ("tag-other-changed", "tag-status-alone-changed"):
        assert matched(matcher, rules, template.event(FILES[name])) == ["ImageTagRule"]
    for name in ("call-create-tags-other", "call-create-tags-status-alone", "call-delete-tags-all"):
        assert matched(matcher, rules, template.event(FILES[name])) == ["TagCallRule"]
    for name in ("call-create-tags-on-instance", "call-create-tags-failed", "tag-of-instance-changed", "tag-shared-alone-changed", "call-create-tags-shared-alone"):
        assert matched(matcher, rules, template.event(FILES[name])) == []


def test_without_a_policy_the_status_tag_wakes_nothing(matcher, stack):
    rules = stack(StatusTag="image-status", CloudTrailEvents="true")
    for name in ("tag-status-alone-changed", "tag-status-and-other-changed", "call-create-tags-status-alone"):
        assert matched(matcher, rules, template.event(FILES[name])) == []
    assert matched(matcher, rules, template.event(FILES["tag-status-and-directive-changed"])) == ["ImageTagRule"]


def test_another_prefix_reaches_the_patterns(matcher, stack):
    rules = stack(TagPrefix="share/", CloudTrailEvents="true")
    event = template.event(FILES["tag-directive-changed"])
    assert matched(matcher, rules, event) == []
    event["detail"]["changed-tag-keys"] = ["share/launch-permission"]
    assert matched(matcher, rules, event) == ["ImageTagRule"]
    call = template.event(FILES["call-create-tags-directive"])
    assert matched(matcher, rules, call) == []
    call["detail"]["requestParameters"]["tagSet"]["items"][0]["key"] = "share/description"
    assert matched(matcher, rules, call) == ["TagCallRule"]


def test_a_pattern_fits_into_eventbridges_2048_characters(stack):
    longest = stack(
        TagPrefix="p" * 64, StatusTag="s" * 127, PolicyPath="/" + "p" * 299, AllowedGranteesParameter="/" + "a" * 1010, CloudTrailEvents="true"
    )  # fmt: skip
    for name, pattern in longest.patterns().items():
        assert len(json.dumps(pattern)) <= 2048, name


def test_a_record_with_work_left_becomes_a_custom_event_and_nothing_but_its_continue_gets_in(stack):
    target = stack().resources()["ContinueRule"]["Properties"]["Targets"][0]["InputTransformer"]
    assert target["InputPathsMap"] == {"continue": "$.detail.responsePayload.Continue"}
    record = template.event(FILES["record-continue-both"])
    left = record["detail"]["responsePayload"]["Continue"]
    event = json.loads(target["InputTemplate"].replace("<continue>", json.dumps(left)))
    assert event == {"source": "ami-warden", "detail-type": "Continue", "detail": left}


def test_the_alarm_pattern_in_the_documentation_tells_the_function_from_everyone_else(matcher, stack):
    readme = (template.ROOT / "deploy/README.md").read_text(encoding="utf-8")
    start = readme.index('{ "source": ["aws.ec2"]')
    pattern = json.loads(readme[start : readme.index("\n\n", start)])

    def noticed(event):
        return matcher.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))["Result"]

    call = template.event(FILES["call-modify-image-attribute"])
    assert noticed(call), "a user"
    call["detail"]["userIdentity"] = {
        "type": "AssumedRole",
        "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/developer"}},
    }
    assert noticed(call), "a role"
    call["detail"]["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] = stack()._attribute("Role", "Arn")
    assert not noticed(call), "the function"
