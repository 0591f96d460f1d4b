"""The other ways in: a Terraform module and a CDK example, both thin; and what the workflows and the bot are told."""

import json
import re

import hcl2
import pytest
import yaml

import template

MODULE = template.ROOT / "deploy/terraform"
WORKFLOWS = sorted((template.ROOT / ".github/workflows").glob("*.yml"))


def snake(parameter: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", parameter).lower()


@pytest.fixture(scope="module")
def module():
    merged = {}
    for path in sorted(MODULE.glob("*.tf")):
        for kind, blocks in hcl2.loads(path.read_text(encoding="utf-8")).items():
            merged.setdefault(kind, []).extend(blocks)
    return merged


def unquoted(name: str) -> str:
    return name.strip('"')


def test_the_module_has_a_variable_for_each_parameter_and_no_other(module, plain):
    variables = {unquoted(name): block for each in module["variable"] for name, block in each.items()}
    own = {"template_file", "name", "tags"}
    assert set(variables) == {snake(name) for name in plain["Parameters"]} | own
    for name, block in variables.items():
        required = name in ("template_file", "code_bucket_prefix")
        assert ("default" in block) != required, name
        assert len(unquoted(block["description"])) > 15, name


def test_the_module_hands_every_variable_over_by_the_parameters_name_and_leaves_out_what_is_not_set(plain):
    source = (MODULE / "main.tf").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^    ([A-Z]\w+) += (.+)$", source, re.MULTILINE))
    assert set(lines) == set(plain["Parameters"])
    for name, expression in lines.items():
        variable = f"var.{snake(name)}"
        forms = (variable, f"{variable} == null ? null : tostring({variable})", *(f'{variable} == null ? null : join("{separator}", {variable})' for separator in ", "))
        assert expression in forms, name
    assert "for name, value in local.parameters : name => value if value != null" in source


def test_lists_are_joined_as_the_template_takes_them(stack):
    source = (MODULE / "main.tf").read_text(encoding="utf-8")
    for name, items in {"AllowedGrantees": ["111122223333", "o-exampleorgid"], "AllowedCopiers": ["111122223333", "444455556666"], "SharedTags": ["cost centre", "os"]}.items():
        (separator,) = re.findall(rf'{name} += .*join\("(.)"', source)
        assert stack().accepts(name, separator.join(items))


def test_the_module_deploys_the_template_as_it_is(module):
    (resource,) = (block for each in module["resource"] for block in each.values())
    (stack,) = resource.values()
    assert set(stack) - {"__is_block__"} == {"name", "template_body", "capabilities", "parameters", "tags"}
    assert "file(var.template_file)" in stack["template_body"]


def test_the_example_names_the_cdk_that_it_is_tested_with():
    example, tested = (json.loads((template.ROOT / path).read_text()) for path in ("deploy/cdk/package.json", "deploy/tests/cdk/package.json"))
    for package, version in example["dependencies"].items():
        assert tested["dependencies"][package] == version


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_with_their_version_beside(path):
    uses = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert uses
    for action, comment in uses:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_one_action_has_one_version_everywhere():
    pins = {}
    for path in WORKFLOWS:
        for action, commit in re.findall(r"uses: (\S+)@([0-9a-f]{40})", path.read_text(encoding="utf-8")):
            pins.setdefault(action, set()).add(commit)
    assert {action: commits for action, commits in pins.items() if len(commits) > 1} == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_have_the_permissions_that_they_name_and_no_more(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job, name
        writes = {permission for permission, level in job["permissions"].items() if level == "write"} if "permissions" in job else set()
        assert writes == ({"contents", "id-token", "attestations"} if name == "publish" else set()), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_only_targets_that_make_has(path):
    targets = set(re.findall(r"(?m)^([a-z0-9-]+):", (template.ROOT / "Makefile").read_text(encoding="utf-8")))
    assert set(re.findall(r"\bmake ([a-z0-9-]+)", path.read_text(encoding="utf-8"))) <= targets


def test_the_bot_looks_at_every_folder_with_pins():
    bot = yaml.safe_load((template.ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))
    watched = {folder for update in bot["updates"] for folder in update.get("directories", [update.get("directory")])}
    pins = {f"/{path.parent.relative_to(template.ROOT)}" for name in ("requirements*.txt", "package.json") for path in template.ROOT.glob(f"**/{name}") if ".venv" not in path.parts and "node_modules" not in path.parts and "target" not in path.parts}
    assert pins <= watched
