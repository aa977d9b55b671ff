"""Who runs a command, as Google sees it."""

import base64
import json

import pytest
from google.auth import compute_engine, impersonated_credentials
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials

from provision import identity
from provision.emulator import tokens
from provision.gcp import Gcp
from tests.journey.deploy import SkippingClock
from tests.provision.conftest import PROJECT

DEPLOYER = f"deployer@{PROJECT}.iam.gserviceaccount.com"
SCOPES = [tokens.CLOUD]


def test_whose_token_it_is(cloud):
    """In the form in which policies name members."""
    with cloud.world.lock:
        token = tokens.issue(cloud.world, "user:ada@example.com")

    assert identity.runner(Gcp(PROJECT, Credentials(token), cloud.url), SkippingClock()) == "user:ada@example.com"


def made(cloud):
    """The account that a pipeline deploys as."""
    return cloud.google("POST", f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts", {"accountId": "deployer"})


def by_key(cloud):
    """From the file of a key."""
    key = cloud.google("POST", f"iam.googleapis.com/v1/{made(cloud)['name']}/keys", {})
    info = json.loads(base64.b64decode(key["privateKeyData"])) | {
        "token_uri": f"{cloud.url}/oauth2.googleapis.com/token"
    }
    return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)


def acting_as_it(cloud):
    """Of somebody who has signed in and acts as it."""
    made(cloud)
    url = f"{cloud.url}/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{DEPLOYER}:generateAccessToken"
    source = Credentials(cloud.world.token)
    return impersonated_credentials.Credentials(source, DEPLOYER, SCOPES, iam_endpoint_override=url)


@pytest.mark.source("https://github.com/google/adk-python/issues/4721")
@pytest.mark.parametrize("signs_in", [by_key, acting_as_it], ids=["by a key", "somebody acts as it"])
def test_an_account_whose_token_does_not_say_whose_it_is(cloud, signs_in):
    """Google tells the address of none that was asked for as its libraries do; the credentials themselves know it.

    Nobody but them can: without a runner the account is not let sign for the clients, and the proof at the end of its
    first `up` fails.
    """
    clients = Gcp(PROJECT, signs_in(cloud), cloud.url)
    who = identity.runner(clients, SkippingClock())
    token = clients.credentials.token
    clients.close()
    told = cloud.google("GET", "oauth2.googleapis.com/tokeninfo", access_token=token)

    assert "email" not in told
    assert who == f"serviceAccount:{DEPLOYER}"


def test_a_machine_that_has_not_asked_yet_which_account_is_its_own():
    """It is called "default" until then, and that is nobody's address."""
    assert Gcp(PROJECT, compute_engine.Credentials()).credentials.account == ""


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
