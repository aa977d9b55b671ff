"""A project that nobody pays for, quotas that are used up, and too many requests in a short time."""

import pytest

from provision import operations
from provision.errors import NoBilling, QuotaExceeded, SeveralFailed
from provision.patience import Patience
from state.files import FileStore
from tests.journey.deploy import PROJECT


def test_13_nobody_pays_for_the_project(rehearsal):
    """The first thing that costs money is the bucket of the ledger: nothing is made, and it is said what to type."""
    rehearsal.plays("no-billing")
    with pytest.raises(NoBilling, match="has not configured billing") as told:
        rehearsal.up()

    assert rehearsal.waited() < 3
    assert "gcloud billing projects link" in told.value.hint
    assert rehearsal.called("storage.buckets.insert") == [403]
    assert rehearsal.made() == {"serviceusage.services.enable"}


def test_13_nobody_pays_and_the_ledger_lies_here(rehearsal, tmp_path):
    """Then it is the APIs that cost money."""
    rehearsal.plays("no-billing")
    with pytest.raises(NoBilling, match="Billing account for project"):
        rehearsal.deployment.up(FileStore(tmp_path / "ledger.json"))

    assert rehearsal.waited() < 1
    assert rehearsal.called("serviceusage.services.batchEnable") == [400]
    assert rehearsal.made() == set()


def test_13_nobody_pays_any_more(rehearsal):
    """What is deployed stays, and the next `up` says at once what is the matter."""
    rehearsal.up()
    rehearsal.calls.clear()
    rehearsal.plays("no-billing")
    since = rehearsal.waited()
    with pytest.raises(SeveralFailed, match="requires billing to be enabled") as told:
        rehearsal.up()

    assert {type(error) for error in told.value.errors} == {NoBilling}
    assert rehearsal.waited() - since < 1
    assert rehearsal.made() == set()


def test_13_the_billing_account_pays_for_as_many_projects_as_it_may(rehearsal):
    """Linking is the user's own doing, so it is the missing account that is told; Google's words for linking are known."""
    rehearsal.plays("billing-quota")
    gcp = rehearsal.deployment.gcp
    patience = Patience(gcp, rehearsal.place.clock)
    on = gcp.serviceusage.services().enable(name=f"projects/{PROJECT}/services/cloudbilling.googleapis.com", body={})
    patience.until_over(operations.started("serviceusage", on.execute()))
    account = {"billingAccountName": "billingAccounts/000000-AAAAAA-BBBBBB"}
    link = gcp.billing.projects().updateBillingInfo(name=f"projects/{PROJECT}", body=account)
    with pytest.raises(NoBilling):
        rehearsal.up()
    with pytest.raises(QuotaExceeded, match=r"Cloud billing quota exceeded: https://support\.google\.com"):
        patience.with_("linking", link.execute)

    assert rehearsal.waited() < 3


@pytest.mark.parametrize(("metric", "limit"), [("CPUS", 24), ("IN_USE_ADDRESSES", 8)])
def test_13_a_quota_of_the_region_is_used_up(rehearsal, calm, metric, limit):
    """Waiting would not help: metric and limit are told, and what does not need it is made all the same."""
    rehearsal.plays("quota-used-up", metric=metric, limit=limit)
    with pytest.raises(QuotaExceeded, match=rf"{metric} \(quota: {limit}, used: {limit}") as told:
        rehearsal.up()
    spent = rehearsal.waited()
    region = rehearsal.deployment.gcp.compute.regions().get(project=PROJECT, region="europe-west1").execute()
    rehearsal.over()
    rehearsal.up()

    assert {"metric": metric, "limit": limit, "usage": limit} in region["quotas"]
    assert spent < calm + 3
    assert "Ask for a higher quota" in told.value.hint
    assert rehearsal.called("appengine.apps.services.versions.create")[:2] == [400, 200]
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


HOSTS = ["artifactregistry.googleapis.com", "compute.googleapis.com", "sqladmin.googleapis.com", "iam.googleapis.com"]


@pytest.mark.parametrize("host", HOSTS)
def test_13_too_many_requests_in_a_short_time(rehearsal, calm, host):
    """They are let rest, and then it goes on."""
    rehearsal.plays("rate-limited", host=host, seconds=60)
    waited = rehearsal.up()

    assert 40 <= waited < calm + 1.2 * 60
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []
