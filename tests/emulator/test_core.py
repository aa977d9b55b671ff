"""The emulator's core, seen through Google's own client libraries."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.api_core import exceptions
from googleapiclient.errors import HttpError

from provision.emulator import discovery, tokens
from provision.emulator.schema import masked
from tests.conftest import NUMBER, PROJECT, ThisTestTriedToReachTheRealCloud


def error_of(caught: pytest.ExceptionInfo[HttpError]) -> dict[str, Any]:
    return json.loads(caught.value.content)["error"]


def test_a_project_is_read_by_id_and_by_number(google):
    """GAPIC's REST transport reaches the emulator by its endpoint alone."""
    gapic = google.projects()

    assert gapic.get_project(name=f"projects/{PROJECT}").name == f"projects/{NUMBER}"
    assert gapic.get_project(name=f"projects/{NUMBER}").project_id == PROJECT


def test_a_project_that_is_not_there_answers_403_and_never_404(google):
    """Nobody can find out which project IDs are taken."""
    with pytest.raises(exceptions.Forbidden, match="The caller does not have permission"):
        google.projects().get_project(name="projects/nobody-has-this")


@pytest.mark.unimplemented
def test_what_is_not_implemented_says_its_method_id(google):
    """501 names what is missing, so that nobody takes it for Google's word."""
    with pytest.raises(HttpError) as caught:
        google.discovery("cloudresourcemanager", "v3").folders().get(name="folders/1").execute()

    assert caught.value.status_code == 501
    assert "cloudresourcemanager.folders.get" in error_of(caught)["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            {"policy": {"bindings": [{"rol": "x"}]}},
            "Invalid JSON payload received. Unknown name \"rol\" at 'policy.bindings[0]': Cannot find field.",
            id="a field with a typo, deep inside",
        ),
        pytest.param(
            {"polcy": {}},
            'Invalid JSON payload received. Unknown name "polcy": Cannot find field.',
            id="a field with a typo at the top",
        ),
        pytest.param(
            {"policy": {"bindings": [{"role": 5}]}},
            "Invalid value at 'policy.bindings[0].role' (TYPE_STRING), 5",
            id="a number where text is wanted",
        ),
    ],
)
def test_a_body_that_does_not_fit_the_schema_is_refused_in_googles_words(emulator, body, message):
    """The schema is that of the discovery document."""
    answer = httpx.post(
        f"{emulator.url}/cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}:setIamPolicy", json=body
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == message
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "body", [b"{", b'{"policy":' + b"[" * 100_000], ids=["cut off", "a hundred thousand levels deep"]
)
def test_a_body_that_is_no_json_is_refused(emulator, body):
    """400 and no defect, however long Python could go on reading it."""
    answer = httpx.post(
        f"{emulator.url}/cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}:setIamPolicy", content=body
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Invalid JSON payload received.")


def test_an_api_that_is_off_answers_service_disabled_in_both_families(emulator, google):
    """One Platform puts the reason into details, the older APIs into errors[0]."""
    emulator.reset([{"projectId": PROJECT, "projectNumber": NUMBER, "services": []}])

    with pytest.raises(exceptions.Forbidden) as new:
        google.projects().get_project(name=f"projects/{PROJECT}")
    with pytest.raises(HttpError) as old:
        google.discovery("compute", "v1").networks().list(project=PROJECT).execute()

    assert new.value.reason == "SERVICE_DISABLED"
    assert new.value.metadata["consumer"] == f"projects/{NUMBER}"
    assert error_of(old)["errors"][0]["reason"] == "accessNotConfigured"
    assert "status" not in error_of(old)


def test_a_fault_before_the_effect_and_one_after_it(emulator):
    """The first leaves the policy alone; after the second it is written although the answer says 503."""
    url = f"{emulator.url}/cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"
    policy = {"policy": {"bindings": [{"role": "roles/viewer", "members": ["user:a@example.com"]}]}}
    fault = {"method": "cloudresourcemanager.projects.setIamPolicy"}
    httpx.post(
        f"{emulator.url}/emulator/faults", json=[fault | {"when": "before"}, fault | {"when": "after", "status": 500}]
    )

    before = httpx.post(f"{url}:setIamPolicy", json=policy)
    untouched = httpx.post(f"{url}:getIamPolicy", json={}).json()
    after = httpx.post(f"{url}:setIamPolicy", json=policy)
    written = httpx.post(f"{url}:getIamPolicy", json={}).json()

    assert (before.status_code, after.status_code) == (503, 500)
    assert untouched == {"etag": "ACAB"}
    assert written["bindings"] == policy["policy"]["bindings"]


@pytest.mark.source("https://github.com/GoogleCloudPlatform/k8s-config-connector")
def test_too_many_requests_are_told_with_the_limit(emulator):
    """429 says which limit of which service, and not when to come again."""
    url = f"{emulator.url}/cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}"
    httpx.post(f"{emulator.url}/emulator/faults", json=[{"method": "cloudresourcemanager.projects.get", "status": 429}])

    refused = httpx.get(url)
    error = refused.json()["error"]

    assert (error["status"], error["errors"][0]["reason"]) == ("RESOURCE_EXHAUSTED", "rateLimitExceeded")
    assert "limit 'Requests per minute' of service 'cloudresourcemanager.googleapis.com'" in error["message"]
    assert "retry-after" not in refused.headers
    assert httpx.get(url).status_code == 200


@pytest.mark.source("https://docs.cloud.google.com/storage/quotas.md.txt")
def test_too_many_writes_of_an_object_are_told_in_the_older_form(emulator):
    """429 without a status, by the rate limit of one object."""
    fault = {"method": "storage.objects.insert", "status": 429}
    httpx.post(f"{emulator.url}/emulator/faults", json=[fault])

    error = httpx.post(f"{emulator.url}/storage.googleapis.com/upload/storage/v1/b/b/o?uploadType=media&name=o").json()

    assert "status" not in error["error"]
    assert error["error"]["errors"][0]["reason"] == "rateLimitExceeded"
    assert "rate limit for object mutation" in error["error"]["message"]


def test_a_dropped_answer_closes_the_connection_after_the_effect(emulator):
    """What a client sees when the network breaks at the worst moment."""
    url = f"{emulator.url}/cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"
    fault = {"method": "cloudresourcemanager.projects.setIamPolicy", "when": "after", "drop": True}
    httpx.post(f"{emulator.url}/emulator/faults", json=[fault])

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{url}:setIamPolicy", json={"policy": {"bindings": []}})

    assert httpx.post(f"{url}:getIamPolicy", json={}).json()["etag"] != "ACAB"


def test_a_torn_answer_breaks_off_in_the_middle(emulator):
    """Headers promise more than comes."""
    url = f"{emulator.url}/cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}"
    fault = {"method": "cloudresourcemanager.projects.get", "tear": True}
    httpx.post(f"{emulator.url}/emulator/faults", json=[fault])

    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        httpx.get(url)

    assert httpx.get(url).status_code == 200


def test_the_journal_tells_reads_from_writes(emulator):
    """POSTs that only read are no writes."""
    url = f"{emulator.url}/cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"
    httpx.post(f"{url}:getIamPolicy", json={})
    httpx.post(f"{url}:setIamPolicy", json={"policy": {}})

    calls = httpx.get(f"{emulator.url}/emulator/calls").json()["calls"]

    assert [(c["id"].rsplit(".", 1)[-1], c["write"]) for c in calls] == [
        ("getIamPolicy", False),
        ("setIamPolicy", True),
    ]


def test_a_web_page_cannot_command_the_emulator(emulator):
    """A browser says in Origin that a page is behind the request."""
    answer = httpx.post(f"{emulator.url}/emulator/reset", json={}, headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403
    assert PROJECT in emulator.world.projects


def test_a_token_that_was_never_given_is_refused_and_one_that_expired_too(emulator):
    """401, as from Google; the emulator's clock decides what has expired."""
    url = f"{emulator.url}/cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}"
    token = tokens.issue(emulator.world, "user:someone@example.com", 60)

    unknown = httpx.get(url, headers={"Authorization": "Bearer ya29.forged"})
    known = httpx.get(url, headers={"Authorization": f"Bearer {token}"})
    httpx.post(f"{emulator.url}/emulator/clock", json={"advance": 61})
    expired = httpx.get(url, headers={"Authorization": f"Bearer {token}"})

    assert (unknown.status_code, known.status_code, expired.status_code) == (401, 403, 401)


def test_a_caller_may_do_what_its_role_allows_and_nothing_else(emulator):
    """Viewer reads the project and cannot write its policy."""
    url = f"{emulator.url}/cloudresourcemanager.googleapis.com"
    binding = {"role": "roles/viewer", "members": ["user:someone@example.com"]}
    httpx.post(f"{url}/v1/projects/{PROJECT}:setIamPolicy", json={"policy": {"bindings": [binding]}})
    headers = {"Authorization": "Bearer " + tokens.issue(emulator.world, "user:someone@example.com")}

    read = httpx.get(f"{url}/v3/projects/{PROJECT}", headers=headers)
    write = httpx.post(f"{url}/v3/projects/{PROJECT}:setIamPolicy", json={"policy": {}}, headers=headers)

    assert read.status_code == 200
    assert write.status_code == 403
    assert write.json()["error"]["details"][0]["reason"] == "IAM_PERMISSION_DENIED"


def test_an_unknown_query_parameter_is_refused(emulator):
    """One Platform binds query parameters to the request message."""
    answer = httpx.get(f"{emulator.url}/cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}?colour=red")

    assert answer.status_code == 400
    assert 'Unknown name "colour"' in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        pytest.param("items/name", {"items": [{"name": "a"}]}, id="one field of each item"),
        pytest.param("items(name,id),next", {"items": [{"name": "a", "id": 1}], "next": "t"}, id="several in brackets"),
        pytest.param("next", {"next": "t"}, id="a single field"),
        pytest.param("*", {"items": [{"name": "a", "id": 1, "x": {}}], "next": "t"}, id="everything"),
    ],
)
def test_a_fields_mask_leaves_only_what_it_names(fields, left):
    """Partial responses, as Cloud Storage's client asks for them."""
    assert masked({"items": [{"name": "a", "id": 1, "x": {}}], "next": "t"}, fields) == left


@pytest.mark.parametrize("host", sorted(discovery.DOCUMENTS))
def test_every_served_api_is_routed_from_its_discovery_document(host):
    """Each method of each document is found again at its own address, or at one that another version of it shares."""
    api = discovery.api(host)
    assert api is not None
    for rows in api._by_shape.values():
        for segments, route in rows:
            path = "/".join(segments)
            assert path
            assert route.pattern.pattern


def test_state_survives_a_kill(tmp_path: Path):
    """What was answered is there after kill -9 and a new start on the same folder."""
    command = [sys.executable, "-m", "provision.emulator", "--no-machines", "--data", str(tmp_path)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    url = first.stdout.readline().split()[-1]
    facts = json.loads((tmp_path / "emulator.json").read_text())
    seed = {"projects": [{"projectId": PROJECT, "projectNumber": NUMBER}]}

    refused = httpx.post(f"{url}/emulator/reset", json=seed)
    allowed = httpx.post(f"{url}/emulator/reset", json=seed, headers={"X-Emulator-Token": facts["token"]})
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first.stdout.close()
    second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    url = second.stdout.readline().split()[-1]
    answer = httpx.get(f"{url}/cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}")
    second.send_signal(signal.SIGTERM)

    assert second.wait(10) == 0
    second.stdout.close()
    assert (refused.status_code, allowed.status_code, answer.status_code) == (403, 200, 200)
    assert json.loads((tmp_path / "emulator.json").read_text())["token"] == facts["token"]
    assert json.loads((tmp_path / "credentials.json").read_text())["token_url"].startswith(url)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.json")} == {0o600}


def test_the_guard_speaks_when_a_test_leaves_this_machine():
    """No test can reach Google by accident."""
    with pytest.raises((ThisTestTriedToReachTheRealCloud, httpx.ConnectError)) as caught:
        httpx.get("https://storage.googleapis.com/")

    assert "storage.googleapis.com" in str(caught.value)
