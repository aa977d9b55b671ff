"""Who types the commands: nobody, somebody whose sign-in has expired, an account that is acted as, a pipeline."""

import base64
import json
import time

import google.auth.exceptions
import pytest
from google.auth import identity_pool, impersonated_credentials
from google.oauth2.credentials import Credentials

from provision import identity
from provision.emulator import iam, tokens
from provision.errors import NeedsAnAccount, NotSignedIn, PermissionDenied, QuotaProjectMissing
from provision.gcp import Gcp
from tests.journey.deploy import PROJECT

CI = "pipelines"
DEPLOYER = f"deployer@{CI}.iam.gserviceaccount.com"
ADA = "user:ada@example.com"
POOL = "iam.googleapis.com/projects/555555555555/locations/global/workloadIdentityPools/ci"
WORKLOAD = f"principal://{POOL}/subject/repo:acme/models:ref:refs/heads/main"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def as_(rehearsal, credentials):
    """Let the commands be typed with some credentials."""
    rehearsal.deployment.gcp.close()
    rehearsal.deployment.gcp = Gcp(PROJECT, credentials, rehearsal.place.url)


def token_of(rehearsal, member, *, refresh=None):
    """A sign-in of somebody who owns the project."""
    world = rehearsal.place.world
    with world.transaction():
        iam.put_policy(world, f"projects/{PROJECT}", {"bindings": [{"role": "roles/owner", "members": [member]}]})
        if refresh:
            world.table("refresh_tokens")[refresh] = {"member": member}
        return tokens.issue(world, member, 10**6)


def deployer(rehearsal, member, role):
    """An account in a project of pipelines that owns ours, and that somebody may act as."""
    world = rehearsal.place.world
    with world.transaction():
        world.add_project({"projectId": CI})
        world.table("iam.accounts")[DEPLOYER] = {"projectId": CI, "uniqueId": "1" * 21, "email": DEPLOYER}
        owners = [{"role": "roles/owner", "members": [f"serviceAccount:{DEPLOYER}"]}]
        iam.put_policy(world, f"projects/{PROJECT}", {"bindings": owners})
        given = [{"role": role, "members": [member]}] if role else []
        iam.put_policy(world, f"projects/{CI}/serviceAccounts/{DEPLOYER}", {"bindings": given})
    host = f"{rehearsal.place.url}/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
    return f"{host}/{DEPLOYER}:generateAccessToken"


def impersonated(rehearsal, role):
    """The credentials of somebody who signs in and acts as the deployer."""
    url = deployer(rehearsal, ADA, role)
    with rehearsal.place.world.transaction():
        source = Credentials(tokens.issue(rehearsal.place.world, ADA, 10**6))
    return impersonated_credentials.Credentials(source, DEPLOYER, SCOPES, iam_endpoint_override=url)


def federated(rehearsal, tmp_path, url=None):
    """The credentials of a pipeline, as its file of credentials describes them."""
    said = {"iss": "https://ci.example", "sub": WORKLOAD.partition("/subject/")[2], "exp": int(time.time()) + 3600}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, said)
    ]
    (tmp_path / "token").write_text(".".join([*parts, "c2ln"]))
    return identity_pool.Credentials(
        audience=f"//{POOL}/providers/ci",
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url=f"{rehearsal.place.url}/sts.googleapis.com/v1/token",
        credential_source={"file": str(tmp_path / "token")},
        service_account_impersonation_url=url,
        scopes=SCOPES,
    )


def test_20_nobody_has_signed_in(rehearsal, tmp_path, monkeypatch):
    """The command line says what to type (see also tests/provision/test_cli_refusals.py)."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    rehearsal.deployment.gcp = Gcp(PROJECT, None, rehearsal.place.url)
    with pytest.raises(google.auth.exceptions.DefaultCredentialsError):
        rehearsal.up()

    assert rehearsal.calls.all() == []


@pytest.mark.parametrize(
    "refresh", [pytest.param("1//gone", id="that may not be renewed"), pytest.param(None, id="that cannot be")]
)
def test_20_a_sign_in_that_has_expired(rehearsal, refresh):
    """It is told at once, and what to type."""
    token, uri = token_of(rehearsal, ADA, refresh=refresh), f"{rehearsal.place.url}/oauth2.googleapis.com/token"
    as_(rehearsal, Credentials(token, refresh, token_uri=uri, client_id="id", client_secret="secret"))
    rehearsal.plays("credentials-expired")
    with pytest.raises(NotSignedIn) as told:
        rehearsal.up()

    assert "gcloud auth application-default login" in told.value.hint
    assert token not in str(told.value)
    assert rehearsal.made() == set()
    assert rehearsal.waited() < 1


def test_20_a_token_that_has_expired(rehearsal, calm):
    """The library gets another one, and nobody notices."""
    token, uri = token_of(rehearsal, ADA, refresh="1//good"), f"{rehearsal.place.url}/oauth2.googleapis.com/token"
    as_(rehearsal, Credentials(token, "1//good", token_uri=uri, client_id="id", client_secret="secret"))
    rehearsal.plays("credentials-expired", renewable=1)
    waited = rehearsal.up()

    assert waited < calm + 3
    assert identity.runner(rehearsal.deployment.gcp, rehearsal.place.clock) == ADA
    assert rehearsal.deployment.drift() == []


@pytest.mark.parametrize("named", [pytest.param(None, id="none"), pytest.param(PROJECT, id="the deployed one")])
def test_20_the_project_that_pays_for_the_calls(rehearsal, calm, named):
    """Without one Google asks one of its own: what to type is told, and with it all goes well."""
    rehearsal.plays("foreign-quota-project")
    as_(rehearsal, Credentials(token_of(rehearsal, ADA), quota_project_id=named))
    if named is None:
        with pytest.raises(QuotaProjectMissing) as told:
            rehearsal.up()
        assert "gcloud auth application-default set-quota-project" in told.value.hint
        assert rehearsal.made() == set()
    else:
        rehearsal.up()

    assert rehearsal.waited() < calm + 3


def test_20_somebody_acts_as_an_account(rehearsal, calm):
    """It is the account that deploys, and that gets the right to sign for the clients."""
    as_(rehearsal, impersonated(rehearsal, "roles/iam.serviceAccountTokenCreator"))
    waited = rehearsal.up()

    assert waited < calm + 3
    assert identity.runner(rehearsal.deployment.gcp, rehearsal.place.clock) == f"serviceAccount:{DEPLOYER}"
    assert rehearsal.deployment.drift() == []


def test_20_somebody_may_not_act_as_an_account(rehearsal):
    """Whoever has signed in need not do it again: the right on the account is missing."""
    as_(rehearsal, impersonated(rehearsal, ""))
    with pytest.raises(PermissionDenied, match=f"iam.serviceAccounts.getAccessToken.*{DEPLOYER}"):
        rehearsal.up()

    assert rehearsal.waited() < 1
    assert rehearsal.made() == set()


def test_20_a_pipeline_acts_as_an_account(rehearsal, calm, tmp_path):
    """Workload identity federation needs no key, and the account that it acts as can do all that a person can."""
    url = deployer(rehearsal, WORKLOAD, "roles/iam.workloadIdentityUser")
    as_(rehearsal, federated(rehearsal, tmp_path, url))
    waited = rehearsal.up()

    assert waited < calm + 3
    assert identity.runner(rehearsal.deployment.gcp, rehearsal.place.clock) == f"serviceAccount:{DEPLOYER}"
    assert rehearsal.deployment.drift() == []


def test_20_a_pipeline_acts_as_itself(rehearsal, tmp_path):
    """It could deploy all and then not pass the door: it is told before anything is made."""
    token_of(rehearsal, WORKLOAD)
    as_(rehearsal, federated(rehearsal, tmp_path))
    with pytest.raises(NeedsAnAccount, match="workload identity that acts as itself") as told:
        identity.runner(rehearsal.deployment.gcp, rehearsal.place.clock)

    assert "roles/iam.workloadIdentityUser" in told.value.hint
    assert rehearsal.calls.all() == []
