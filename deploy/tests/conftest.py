"""One template and one emulator for all tests of a run."""

import os
from pathlib import Path

import boto3
import pytest

import emulators
import template


@pytest.fixture(scope="session")
def source() -> Path:
    """The template under test; the mutations put a broken one in its place."""
    return Path(os.environ.get("AMI_WARDEN_TEMPLATE", template.SOURCE))


@pytest.fixture(scope="session")
def sam(source) -> dict:
    return template.load(source)


@pytest.fixture(scope="session")
def plain(sam) -> dict:
    return template.transform(sam)


@pytest.fixture
def stack(plain):
    """A deployed stack: `stack(PolicyPath="/ami-warden")`."""
    return lambda **parameters: template.Stack(plain, parameters)


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    """Clients of an emulated account: `aws("events")`."""
    with emulators.ministack(tmp_path_factory.mktemp("ministack") / "log", MINISTACK_REGION="eu-west-1") as url:
        session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="eu-west-1")
        yield lambda service: session.client(service, endpoint_url=url)


@pytest.fixture(scope="session")
def matcher(aws):
    """EventBridge's TestEventPattern, in an emulator that agrees with AWS's own matcher."""
    return aws("events")
