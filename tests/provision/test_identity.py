"""Who runs a command, as Google sees it."""

import pytest
from google.oauth2.credentials import Credentials

from provision import identity
from provision.emulator import tokens
from provision.gcp import Gcp
from tests.journey.deploy import SkippingClock
from tests.provision.conftest import PROJECT


@pytest.mark.parametrize(
    "member",
    [
        pytest.param("user:ada@example.com", id="a person"),
        pytest.param(f"serviceAccount:deployer@{PROJECT}.iam.gserviceaccount.com", id="a pipeline's account"),
    ],
)
def test_whose_token_it_is(cloud, member):
    """In the form in which policies name members."""
    with cloud.world.lock:
        token = tokens.issue(cloud.world, member)

    assert identity.runner(Gcp(PROJECT, Credentials(token), cloud.url), SkippingClock()) == member


def test_the_owner_of_the_emulator(cloud):
    """Who holds the token of its folder."""
    assert (
        identity.runner(Gcp(PROJECT, Credentials(cloud.world.token), cloud.url), SkippingClock())
        == "user:owner@example.com"
    )


def test_a_token_that_google_does_not_explain(cloud):
    """Nobody then; the deployment goes on without a right for its runner."""
    assert identity.runner(Gcp(PROJECT, Credentials("an opaque token"), cloud.url), SkippingClock()) == ""


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 503}, id="Google is busy"),
        pytest.param({"status": 429}, id="too many requests"),
        pytest.param({"drop": True}, id="no answer comes"),
        pytest.param({"tear": True}, id="half an answer comes"),
    ],
)
def test_who_it_is_when_google_is_busy(cloud, fault):
    """Asked again: without a runner, a right of theirs would be missing until the next `up`."""
    cloud.fails(method="oauth2.tokeninfo", **fault)

    assert identity.runner(Gcp(PROJECT, Credentials(cloud.world.token), cloud.url), SkippingClock()) == (
        "user:owner@example.com"
    )
