"""Services, billing, projects and logs, through Google's own client libraries."""

import json

import pytest
from googleapiclient.errors import HttpError

from provision.emulator import filters
from provision.emulator.apis import logging
from tests.conftest import NUMBER, PROJECT


def error_of(caught):
    return json.loads(caught.value.content)["error"]


@pytest.fixture
def services(emulator, google):
    """Services of a project that has switched nothing on."""
    emulator.reset([{"projectId": PROJECT, "projectNumber": NUMBER, "services": []}])
    return google.discovery("serviceusage", "v1")


def enabled(services):
    rows = services.services().list(parent=f"projects/{PROJECT}", filter="state:ENABLED").execute()
    return [row["config"]["name"] for row in rows.get("services", [])]


def test_a_batch_of_services_is_switched_on_by_an_operation(services):
    """The first answer is not done; the names hold the project's number."""
    names = ["compute.googleapis.com", "sqladmin.googleapis.com"]
    first = services.services().batchEnable(parent=f"projects/{PROJECT}", body={"serviceIds": names}).execute()
    done = services.operations().get(name=first["name"]).execute()

    assert "done" not in first
    assert [s["name"] for s in done["response"]["services"]] == [f"projects/{NUMBER}/services/{n}" for n in names]
    assert enabled(services) == names


def test_a_batch_of_one_and_a_batch_of_21_are_refused(services):
    """One service is enabled by services.enable."""
    for names in (["compute.googleapis.com"], [f"x{n}.googleapis.com" for n in range(21)]):
        with pytest.raises(HttpError) as caught:
            services.services().batchEnable(parent=f"projects/{PROJECT}", body={"serviceIds": names}).execute()
        assert caught.value.status_code == 400


def test_a_service_that_is_on_already_is_answered_done(services):
    """Nothing to wait for."""
    name = f"projects/{PROJECT}/services/iam.googleapis.com"
    first = services.services().enable(name=name, body={}).execute()
    services.operations().get(name=first["name"]).execute()
    second = services.services().enable(name=name, body={}).execute()

    assert second["done"] is True
    assert second["response"]["service"]["state"] == "ENABLED"


def test_an_unknown_service_is_refused_by_name(services):
    """A typo is no service."""
    with pytest.raises(HttpError) as caught:
        services.services().enable(name=f"projects/{PROJECT}/services/sqladmn.googleapis.com", body={}).execute()

    assert error_of(caught)["status"] == "PERMISSION_DENIED"
    assert "sqladmn.googleapis.com" in error_of(caught)["message"]


def test_a_paid_service_wants_billing(services, google):
    """400 with a reason that no retry heals; after linking an account it works."""
    on = services.services().enable(name=f"projects/{PROJECT}/services/cloudbilling.googleapis.com", body={}).execute()
    services.operations().get(name=on["name"]).execute()
    billing = google.discovery("cloudbilling", "v1")
    account = billing.billingAccounts().list().execute()["billingAccounts"][0]["name"]
    billing.projects().updateBillingInfo(name=f"projects/{PROJECT}", body={"billingAccountName": ""}).execute()
    name = f"projects/{PROJECT}/services/compute.googleapis.com"
    with pytest.raises(HttpError) as caught:
        services.services().enable(name=name, body={}).execute()
    info = (
        billing.projects().updateBillingInfo(name=f"projects/{PROJECT}", body={"billingAccountName": account}).execute()
    )

    assert error_of(caught)["details"][1]["reason"] == "UREQ_PROJECT_BILLING_NOT_FOUND"
    assert info["billingEnabled"] is True
    assert "name" in services.services().enable(name=name, body={}).execute()


def test_nothing_that_costs_money_works_without_billing(google):
    """Buckets say so in words of their own (https://github.com/forseti-security/forseti-security/issues/1465), the others
    alike (https://cloud.google.com/billing/docs/how-to/verify-billing-enabled)."""
    billing = google.discovery("cloudbilling", "v1")
    billing.projects().updateBillingInfo(name=f"projects/{PROJECT}", body={"billingAccountName": ""}).execute()
    with pytest.raises(HttpError) as of_storage:
        google.discovery("storage", "v1").buckets().insert(project=PROJECT, body={"name": "made"}).execute()
    with pytest.raises(HttpError) as of_compute:
        google.discovery("compute", "v1").networks().list(project=PROJECT).execute()

    assert error_of(of_storage)["errors"][0]["reason"] == "accountDisabled"
    assert error_of(of_compute)["details"][0]["reason"] == "BILLING_DISABLED"


def test_a_service_agent_is_made_once(services, google):
    """generateServiceIdentity answers the same agent however often it is asked."""
    beta = google.discovery("serviceusage", "v1beta1").services()
    parent = f"projects/{NUMBER}/services/servicenetworking.googleapis.com"
    first, second = (beta.generateServiceIdentity(parent=parent).execute()["response"] for _ in range(2))

    assert first == second
    assert first["email"] == f"service-{NUMBER}@service-networking.iam.gserviceaccount.com"


@pytest.mark.source("https://github.com/GoogleCloudPlatform/k8s-config-connector/issues/815")
def test_a_project_is_made_found_changed_and_marked_for_deletion(emulator, google):
    """v3, with operations; a taken ID is refused."""
    client = google.discovery("cloudresourcemanager", "v3")
    projects = client.projects()
    body = {"projectId": "new-project-7", "displayName": "New", "parent": "organizations/123456789012"}
    operation = projects.create(body=body).execute()
    made = client.operations().get(name=operation["name"]).execute()["response"]
    with pytest.raises(HttpError) as taken:
        projects.create(body=body).execute()
    projects.patch(name=made["name"], updateMask="labels", body={"labels": {"a": "b"}}).execute()
    found = projects.search(query="labels.a:b").execute()["projects"]
    projects.delete(name=made["name"]).execute()

    assert taken.value.status_code == 409
    assert [p["projectId"] for p in found] == ["new-project-7"]
    assert projects.get(name="projects/new-project-7").execute()["state"] == "DELETE_REQUESTED"


ENTRY = {
    "severity": "ERROR",
    "timestamp": "2026-11-23T08:00:00Z",
    "resource": {"type": "gae_app", "labels": {"module_id": "mlflow", "version_id": "mlflow-1"}},
    "textPayload": "no database yet",
    "jsonPayload": {"step": 3, "ok": False, "huge": 10**400},
}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        pytest.param("", True, id="no filter at all"),
        pytest.param('resource.type="gae_app" AND resource.labels.module_id="mlflow"', True, id="two that hold"),
        pytest.param('resource.type="gae_app"\nresource.labels.module_id=other', False, id="lines are joined by AND"),
        pytest.param("severity>=WARNING", True, id="severities are ordered"),
        pytest.param("severity>ERROR OR textPayload:database", True, id="one of two"),
        pytest.param("NOT textPayload:database", False, id="a negation"),
        pytest.param('-textPayload:"database"', False, id="a negation by a dash"),
        pytest.param('timestamp>="2026-11-23T07:59:59.5Z"', True, id="times of another precision"),
        pytest.param("jsonPayload.step<10", True, id="numbers are compared as numbers"),
        pytest.param("jsonPayload.huge>10", True, id="numbers beyond all fractions too"),
        pytest.param("(" * 40 + "database" + ")" * 40, True, id="brackets in brackets"),
        pytest.param("jsonPayload.ok=true", False, id="truth values"),
        pytest.param("(severity=INFO OR severity=ERROR) textPayload=~no.*yet", True, id="brackets and a pattern"),
        pytest.param("resource.labels.version_id=(a OR mlflow-1)", True, id="one of several values"),
        pytest.param("DATABASE", True, id="a bare word, in any case"),
        pytest.param("httpRequest.status!=200", True, id="unequal holds for what is absent"),
    ],
)
def test_a_log_filter(text, fits):
    """The query language as people use it."""
    assert filters.compile_filter(text)(ENTRY) is fits


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("severity>=", id="no value"),
        pytest.param('textPayload=~"*"', id="a pattern that is none"),
        pytest.param('textPayload!~"["', id="the same, negated"),
        pytest.param("(" * 60 + "a" + ")" * 60, id="many brackets"),
        pytest.param("(" * 5000 + "a" + ")" * 5000, id="more brackets than Python nests"),
        pytest.param("NOT " * 5000 + "a", id="thousands of negations"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(google, text):
    """400, instead of no entries, whether there are any or not."""
    with pytest.raises(HttpError) as caught:
        google.discovery("logging", "v2").entries().list(
            body={"resourceNames": [f"projects/{PROJECT}"], "filter": text}
        ).execute()

    assert error_of(caught)["status"] == "INVALID_ARGUMENT"


def test_entries_are_written_and_listed_newest_first(emulator, google):
    """What a service writes, and what a person looks for."""
    entries = google.discovery("logging", "v2").entries()
    common = {"logName": f"projects/{PROJECT}/logs/app", "resource": {"type": "global"}}
    rows = [{"textPayload": text, "timestamp": f"2026-11-23T08:00:0{n}Z"} for n, text in enumerate("abc")]
    entries.write(body=common | {"entries": rows}).execute()
    with emulator.world.transaction():
        logging.record(emulator.world, PROJECT, "cloudbuild", {"type": "build"}, {"textPayload": "Step #0"})
    wanted = {"resourceNames": [f"projects/{NUMBER}"], "filter": "resource.type=global", "orderBy": "timestamp desc"}
    page = entries.list(body=wanted | {"pageSize": 2}).execute()
    rest = entries.list(body=wanted | {"pageToken": page["nextPageToken"]}).execute()

    assert [e["textPayload"] for e in page["entries"]] == ["c", "b"]
    assert [e["textPayload"] for e in rest["entries"]] == ["a"]
