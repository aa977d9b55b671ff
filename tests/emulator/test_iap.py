"""Policies and settings of Identity-Aware Proxy, through the discovery client."""

import json

import pytest
from googleapiclient.errors import HttpError

from provision.emulator import tokens
from tests.conftest import NUMBER, PROJECT

DOOR = f"projects/{NUMBER}/iap_web/appengine-{PROJECT}/services/mlflow"
ACCESSOR = "roles/iap.httpsResourceAccessor"
READ = {"options": {"requestedPolicyVersion": 3}}


@pytest.fixture
def iap(google):
    return google.discovery("iap", "v1").v1()


def grant(iap, members, **more):
    body = {"policy": {"version": 3, "bindings": [{"role": ACCESSOR, "members": members}], **more}}
    return iap.setIamPolicy(resource=DOOR, body=body).execute()


@pytest.mark.source("https://github.com/hashicorp/terraform-provider-google/issues/8809")
def test_a_fresh_door_lets_nobody_in(iap):
    """Its policy is an etag and nothing else."""
    assert iap.getIamPolicy(resource=DOOR, body=READ).execute() == {"etag": "ACAB"}


@pytest.mark.source("https://docs.cloud.google.com/iap/docs/managing-access")
def test_a_grant_is_read_back_by_number_and_by_id(iap):
    """It is one resource under both names, and no other service has the policy."""
    grant(iap, ["user:ann@example.com"])
    other = DOOR.replace("/mlflow", "/default")

    for name in (DOOR, DOOR.replace(NUMBER, PROJECT, 1)):
        policy = iap.getIamPolicy(resource=name, body=READ).execute()
        assert policy["bindings"] == [{"role": ACCESSOR, "members": ["user:ann@example.com"]}]
    assert "bindings" not in iap.getIamPolicy(resource=other, body=READ).execute()


@pytest.mark.source("https://github.com/pulumi/pulumi-gcp/issues/1028")
def test_a_stale_etag_is_aborted(iap):
    """Somebody else's change is not written over."""
    stale = iap.getIamPolicy(resource=DOOR, body=READ).execute()["etag"]
    grant(iap, ["user:ann@example.com"], etag=stale)
    with pytest.raises(HttpError) as caught:
        grant(iap, ["user:bob@example.com"], etag=stale)

    error = json.loads(caught.value.content)["error"]
    assert (error["code"], error["status"]) == (409, "ABORTED")
    assert error["message"].startswith("There were concurrent policy changes.")


@pytest.mark.source("https://docs.cloud.google.com/iap/docs/managing-access")
@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(f"projects/{NUMBER}/iap_webs/appengine-{PROJECT}", id="a misspelt collection"),
        pytest.param(f"projects/{NUMBER}/iap_web/appengine-{PROJECT}/versions/v", id="a version without a service"),
    ],
)
def test_other_resources_have_no_door(iap, resource):
    """400 names what was asked for."""
    with pytest.raises(HttpError, match="Invalid resource name") as caught:
        iap.getIamPolicy(resource=resource, body=READ).execute()

    assert caught.value.status_code == 400


@pytest.mark.source("https://docs.cloud.google.com/iap/docs/managing-access")
def test_who_may_not_change_a_door_is_told_so(emulator, google):
    """An editor of nothing gets 403; with roles/iap.admin on the project it works."""
    from google.oauth2.credentials import Credentials

    with emulator.world.transaction():
        token = tokens.issue(emulator.world, "user:eve@example.com", 3600)
    eve = google.discovery("iap", "v1", credentials=Credentials(token)).v1()
    with pytest.raises(HttpError) as caught:
        grant(eve, ["user:eve@example.com"])

    assert caught.value.status_code == 403
    admin = {"policy": {"bindings": [{"role": "roles/iap.admin", "members": ["user:eve@example.com"]}]}}
    resources = google.discovery("cloudresourcemanager", "v3").projects()
    resources.setIamPolicy(resource=f"projects/{PROJECT}", body=admin).execute()
    assert grant(eve, ["user:eve@example.com"])["bindings"][0]["role"] == ACCESSOR


@pytest.mark.source(
    "https://github.com/twistedpair/google-cloud-sdk/blob/master/google-cloud-sdk/lib/googlecloudsdk/command_lib/iap/util.py"
)
def test_settings_are_masked_or_replaced(iap):
    """With a mask only the named field changes; without one everything does."""
    clients = {"accessSettings": {"oauthSettings": {"programmaticClients": ["a"]}}}
    mask = "iapSettings.accessSettings.oauthSettings.programmaticClients"
    iap.updateIapSettings(name=DOOR, body={"applicationSettings": {"cookieDomain": ".example.com"}}).execute()
    both = iap.updateIapSettings(name=DOOR, body=clients, updateMask=mask).execute()

    assert both == {"name": DOOR, **clients, "applicationSettings": {"cookieDomain": ".example.com"}}
    iap.updateIapSettings(name=DOOR, body=clients).execute()
    assert iap.getIapSettings(name=DOOR).execute() == {"name": DOOR, **clients}
    assert iap.getIapSettings(name=f"projects/{PROJECT}").execute() == {"name": f"projects/{NUMBER}"}


@pytest.mark.source("https://docs.cloud.google.com/iap/docs/deprecations/migrate-oauth-client")
@pytest.mark.unimplemented
def test_oauth_brands_are_not_made_by_api(google):
    """The OAuth Admin API was shut down; the emulator does not have it."""
    with pytest.raises(HttpError) as caught:
        google.discovery("iap", "v1").projects().brands().list(parent=f"projects/{PROJECT}").execute()

    assert caught.value.status_code == 501
