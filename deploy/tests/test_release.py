"""A release: the same bytes from the same program, one version everywhere, and whole by itself."""

import hashlib
import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
import time
import zipfile

import pytest

import template


def script(name):
    specification = importlib.util.spec_from_file_location(f"deploy_{name}", template.ROOT / "deploy" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


zip_, release = script("zip"), script("release")


@pytest.fixture
def programs(tmp_path):
    """Two files that stand for the function, as a compiler leaves them."""
    found = {}
    for architecture in release.ARCHITECTURES:
        found[architecture] = tmp_path / architecture / "bootstrap"
        found[architecture].parent.mkdir()
        found[architecture].write_bytes(b"\x7fELF" + architecture.encode() * 5000)
    return found


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_packagings_of_the_same_program_are_the_same_bytes(tmp_path):
    archives = []
    for when, mode in ((0, 0o755), (2_000_000_000, 0o600)):
        program = tmp_path / str(when) / "bootstrap"
        program.parent.mkdir()
        program.write_bytes(b"a program" * 1000)
        os.utime(program, (when, when))
        program.chmod(mode)
        zip_.pack(tmp_path / f"{when}.zip", [("bootstrap", program)], ["bootstrap"])
        archives.append((tmp_path / f"{when}.zip").read_bytes())
    assert archives[0] == archives[1]


def test_the_order_in_which_files_are_named_does_not_matter(tmp_path):
    files = [(name, tmp_path / name) for name in ("b", "a", "c")]
    for _, path in files:
        path.write_text(path.name)
    zip_.pack(tmp_path / "one.zip", files)
    zip_.pack(tmp_path / "two.zip", reversed(files))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_lambda_may_run_what_is_packed(tmp_path):
    (tmp_path / "program").write_bytes(b"x")
    zip_.pack(tmp_path / "f.zip", [("bootstrap", tmp_path / "program"), ("notes", tmp_path / "program")], ["bootstrap"])
    with zipfile.ZipFile(tmp_path / "f.zip") as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert modes == {"bootstrap": stat.S_IFREG | 0o755, "notes": stat.S_IFREG | 0o644}


def test_two_releases_of_one_commit_are_the_same_bytes(tmp_path, programs):
    for name in ("one", "two"):
        release.assemble("0.2.0", programs, tmp_path / name)
        release.write_checksums(tmp_path / name)
        time.sleep(0.01)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert set(contents(tmp_path / "one")) == {
        "ami-warden-0.2.0-x86_64.zip", "ami-warden-0.2.0-arm64.zip", "ami-warden-0.2.0.yaml", "ami-warden-0.2.0-deploy.zip", "SHA256SUMS",
    }  # fmt: skip


def test_the_checksums_are_those_that_sha256sum_takes(tmp_path, programs):
    release.assemble("0.2.0", programs, tmp_path / "files")
    release.write_checksums(tmp_path / "files")
    for line in (tmp_path / "files/SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "files" / name).read_bytes()).hexdigest() == digest


def test_the_template_of_a_release_knows_each_zip_by_name_and_content_and_asks_for_nothing_but_the_bucket(tmp_path, programs):
    release.assemble("0.2.0", programs, tmp_path / "files")
    plain = template.load(tmp_path / "files/ami-warden-0.2.0.yaml")
    assert [name for name, declaration in plain["Parameters"].items() if "Default" not in declaration] == ["CodeBucketPrefix"]
    for architecture in ("x86_64", "arm64"):
        deployed = template.Stack(plain, {"CodeBucketPrefix": "code", "Architecture": architecture}).resources()
        archive = tmp_path / f"files/ami-warden-0.2.0-{architecture}.zip"
        assert deployed["Function"]["Properties"]["Code"] == {"S3Bucket": "code-eu-west-1", "S3Key": archive.name}
        assert deployed["CodeIsWhatWasNamed"]["Properties"]["CodeSha256"] == template.package.content_hash(archive)
    size = len((tmp_path / "files/ami-warden-0.2.0.yaml").read_bytes())
    assert size <= template.package.LONGEST, f"{size} bytes are more than CloudFormation takes without a bucket"


def test_other_code_can_be_deployed_by_the_template_of_a_release_with_and_without_its_content(tmp_path, programs):
    release.assemble("0.2.0", programs, tmp_path / "files")
    plain = template.load(tmp_path / "files/ami-warden-0.2.0.yaml")
    own = {"CodeBucketPrefix": "code", "CodeKey": "mine.zip", "CodeObjectVersion": "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"}
    function = template.Stack(plain, own).resources()["Function"]["Properties"]
    assert function["Code"] == {"S3Bucket": "code-eu-west-1", "S3Key": "mine.zip", "S3ObjectVersion": own["CodeObjectVersion"]}
    assert "CodeIsWhatWasNamed" not in template.Stack(plain, own).resources()
    content = "AmOCmYm2/ZVPcrqvL8ZLwuLwHWktTecphuqAj26ZgT8="
    assert template.Stack(plain, own | {"CodeSha256": content}).resources()["CodeIsWhatWasNamed"]["Properties"]["CodeSha256"] == content


def test_a_signature_is_asked_for_only_where_a_profile_is_named(plain):
    profile = "arn:aws:signer:eu-west-1:111122223333:/signing-profiles/amis/1a2b3c4d5e"
    code = {"CodeBucketPrefix": "code", "CodeKey": "k.zip"}
    signed = template.Stack(plain, code | {"CodeSigningProfileVersionArn": profile})
    assert signed.resources()["Function"]["Properties"]["CodeSigningConfigArn"] == signed._ref("CodeSigning")
    assert signed.resources()["CodeSigning"]["Properties"] == {
        "AllowedPublishers": {"SigningProfileVersionArns": [profile]}, "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"},
    }  # fmt: skip
    unsigned = template.Stack(plain, code).resources()
    assert "CodeSigning" not in unsigned and "CodeSigningConfigArn" not in unsigned["Function"]["Properties"]


def test_the_template_of_a_release_deploys_with_the_bucket_alone(aws, tmp_path, programs):
    """Lambda compares the content when the version is published (CodeSha256); this emulator publishes any, so that is not seen here."""
    release.assemble("0.2.0", programs, tmp_path / "files")
    s3, cloudformation = aws("s3"), aws("cloudformation")
    s3.create_bucket(Bucket="released-eu-west-1", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.upload_file(str(tmp_path / "files/ami-warden-0.2.0-x86_64.zip"), "released-eu-west-1", "ami-warden-0.2.0-x86_64.zip")
    cloudformation.create_stack(
        StackName="released",
        TemplateBody=(tmp_path / "files/ami-warden-0.2.0.yaml").read_text(),
        Parameters=[{"ParameterKey": "CodeBucketPrefix", "ParameterValue": "released"}],
        Capabilities=["CAPABILITY_IAM"],
    )
    while (stack := cloudformation.describe_stacks(StackName="released")["Stacks"][0])["StackStatus"].endswith("_IN_PROGRESS"):
        time.sleep(0.2)
    assert stack["StackStatus"] == "CREATE_COMPLETE"


def test_what_is_shipped_is_whole_every_link_of_every_document_in_it_leads_somewhere():
    names = {name for name, _ in release.shipped()}
    for each in release.SHIPPED:
        assert any(name == each or name.startswith(f"{each}/") for name in names), each
    folders = {parent for name in names for parent in parents(name)}
    dangling = []
    for name, path in release.shipped():
        if not name.endswith(".md"):
            continue
        for link in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            target = os.path.normpath(os.path.join(os.path.dirname(name), link))
            if not link.startswith("http") and target not in names | folders:
                dangling.append(f"{name} links to {link}")
    about_the_code = ("docs/comparison.md", "docs/performance.md", "docs/proof.md")  # which is in the repository alone
    assert [each for each in dangling if not each.startswith(about_the_code)] == []


def parents(name):
    while "/" in name:
        name = name.rsplit("/", 1)[0]
        yield name


def test_nothing_that_tests_or_builds_is_shipped():
    names = {name for name, _ in release.shipped()}
    tests = {name for name in names if name.startswith(("deploy/tests/", "src/", "tests/"))}
    assert tests == {"deploy/tests/iam-simulation/rows.yaml"}, "the table of what the policies allow and deny, which SECURITY.md points to"
    assert not [name for name in names if "__pycache__" in name or "node_modules" in name]


def test_a_release_has_one_version_everywhere(tmp_path):
    for name, text in {
        "Cargo.toml": '[package]\nname = "x"\nversion = "0.2.0"\n', "template.yaml": "    SemanticVersion: 0.2.0\n",
        "CHANGELOG.md": "## Unreleased\n\n## [0.2.0] 2026-12-01\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    assert release.mismatches("0.2.0", tmp_path) == []
    assert release.mismatches("0.3.0", tmp_path) == [
        "Cargo.toml says 0.2.0, not 0.3.0.",
        "template.yaml (SemanticVersion) says 0.2.0, not 0.3.0.",
        "CHANGELOG.md (newest heading after Unreleased) says 0.2.0, not 0.3.0.",
    ]
    assert release.mismatches("v0.2.0", tmp_path) == ["VERSION must be like 0.2.0, not 'v0.2.0'."]


def test_the_template_and_the_crate_have_the_same_version(sam):
    said = re.search(r'(?m)^version = "([^"]+)"', (template.ROOT / "Cargo.toml").read_text())[1]
    assert sam["Metadata"]["AWS::ServerlessRepo::Application"]["SemanticVersion"] == said


# Stands for cargo: `cyclonedx` writes what the tool writes, beside each Cargo.toml, with path, time, number and a crate of the tests;
# `tree` says what is compiled.
CARGO = """\
#!{python}
import json, os, sys
root = os.getcwd()
if sys.argv[1] == "tree":
    print(f"ami-warden v0.2.0 ({{root}})\\nserde v1.0.0 (*)\\ntokio v1.48.0")
else:
    crates = [("serde", "1.0.0"), ("tokio", "1.48.0"), ("proptest", "1.12.0")]
    own = f"path+file://{{root}}#0.2.0"
    for folder in (".", "cli"):
        json.dump(
            {{
                "bomFormat": "CycloneDX", "serialNumber": f"urn:uuid:{{root}}",
                "metadata": {{"timestamp": root, "component": {{"bom-ref": own, "name": "ami-warden", "version": "0.2.0"}}}},
                "components": [{{"bom-ref": name, "name": name, "version": version}} for name, version in crates],
                "dependencies": [{{"ref": own, "dependsOn": ["serde", "proptest"]}}, {{"ref": "proptest", "dependsOn": ["tokio"]}}, {{"ref": "serde"}}],
            }},
            open(f"{{folder}}/sbom-of-the-release.json", "w"),
        )
"""


def test_the_sbom_names_what_is_compiled_and_is_the_same_wherever_and_whenever_it_is_made(tmp_path, monkeypatch):
    sboms = []
    for place in ("here", "there"):
        root = tmp_path / place
        (root / "cli").mkdir(parents=True)
        cargo = root / "bin/cargo"
        cargo.parent.mkdir()
        cargo.write_text(CARGO.format(python=sys.executable))
        cargo.chmod(0o755)
        monkeypatch.setattr(release, "ROOT", root)
        release.write_sbom(root / "x.cdx.json", {"PATH": f"{cargo.parent}:/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1764547200"})
        sboms.append((root / "x.cdx.json").read_text())
        assert [path.name for path in root.glob("**/*.json")] == ["x.cdx.json"], "what the tool wrote elsewhere is gone"
    assert sboms[0] == sboms[1]
    own = "path+file:///ami-warden#0.2.0"
    assert json.loads(sboms[0]) == {
        "bomFormat": "CycloneDX",
        "metadata": {"timestamp": "2025-12-01T00:00:00Z", "component": {"bom-ref": own, "name": "ami-warden", "version": "0.2.0"}},
        "components": [{"bom-ref": name, "name": name, "version": version} for name, version in [("serde", "1.0.0"), ("tokio", "1.48.0")]],
        "dependencies": [{"ref": own, "dependsOn": ["serde"]}, {"ref": "serde", "dependsOn": []}],
    }


def test_package_says_what_it_lacks(tmp_path):
    """Run where neither PyYAML nor the translator is installed."""
    run = subprocess.run(
        [sys.executable, "-I", "-S", template.ROOT / "deploy/package.py"], capture_output=True, text=True, cwd=tmp_path
    )
    assert run.returncode == 1
    assert "pip install PyYAML aws-sam-translator" in run.stderr and "Traceback" not in run.stderr
