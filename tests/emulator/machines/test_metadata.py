"""The metadata server of a workload, asked by Google's own library."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from provision.emulator.machines.loop import LoopThread, Site
from provision.emulator.machines.metadata import Machine, Metadata
from provision.emulator.machines.registry import Registry
from tests.conftest import NUMBER, PROJECT
from tests.emulator.machines.conftest import Running

ACCOUNT = f"mlflow-server@{PROJECT}.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def metadata(real: Running) -> Iterator[Site]:
    with real.world.transaction():
        real.world.table("iam.accounts")[ACCOUNT] = {"email": ACCOUNT, "projectId": PROJECT, "uniqueId": "1" * 21}
    registry = Registry(real.world)
    loop = LoopThread("metadata")
    application = Metadata(
        Machine(PROJECT, NUMBER, "europe-west1-b", "aef-mlflow-v1", ACCOUNT),
        lambda: (registry.access_token(ACCOUNT), 3599),
        lambda audience: registry.id_token(ACCOUNT, audience),
    )
    site = Site(loop, application)
    yield site
    site.close()
    loop.close()


def got(site: Site, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        headers = {"Metadata-Flavor": "Google"} if headers is None else headers
        return client.get(f"http://127.0.0.1:{site.port}{path}", headers=headers)


def test_googles_library_finds_project_account_and_tokens(real: Running, metadata: Site) -> None:
    """google.auth.default() in a process of its own: an access token that the emulator knows, and an ID token."""
    script = f"""
import json, google.auth, google.auth.transport.requests, google.oauth2.id_token
request = google.auth.transport.requests.Request()
credentials, project = google.auth.default()
credentials.refresh(request)
identity = google.oauth2.id_token.fetch_id_token(request, "client.example")
certificates = {real.url!r} + "/www.googleapis.com/oauth2/v1/certs"
claims = google.oauth2.id_token.verify_token(identity, request, "client.example", certs_url=certificates)
print(json.dumps([project, credentials.service_account_email, credentials.token, claims]))
"""
    host = f"127.0.0.1:{metadata.port}"
    environment = {"PATH": "/usr/bin", "HOME": "/nonexistent", "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}
    done = subprocess.run([sys.executable, "-c", script], check=False, env=environment, capture_output=True, text=True)
    project, account, token, claims = json.loads(done.stdout)
    with real.world.transaction():
        member = real.world.table("tokens")[token]["member"]

    assert (project, account) == (PROJECT, ACCOUNT)
    assert member == f"serviceAccount:{ACCOUNT}"
    assert (claims["email"], claims["sub"]) == (ACCOUNT, "1" * 21)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("/computeMetadata/v1/project/project-id", PROJECT, id="the project's ID"),
        pytest.param("/computeMetadata/v1/project/numeric-project-id", NUMBER, id="the project's number"),
        pytest.param("/computeMetadata/v1/instance/zone", f"projects/{NUMBER}/zones/europe-west1-b", id="the zone"),
        pytest.param("/computeMetadata/v1/instance/service-accounts/default/email", ACCOUNT, id="the account"),
        pytest.param(f"/computeMetadata/v1/instance/service-accounts/{ACCOUNT}/email", ACCOUNT, id="by its own name"),
        pytest.param("/computeMetadata/v1/universe/universe-domain", "googleapis.com", id="the universe"),
        pytest.param(
            "/computeMetadata/v1/project/", "numeric-project-id\nproject-id\n", id="what there is in a folder"
        ),
    ],
)
def test_a_value_is_plain_text(metadata: Site, path: str, text: str) -> None:
    """Each key answers as documented."""
    answer = got(metadata, path)

    assert (answer.status_code, answer.text, answer.headers["metadata-flavor"]) == (200, text, "Google")


def test_recursive_answers_json(metadata: Site) -> None:
    """?recursive=true shows everything below."""
    account: dict[str, Any] = got(
        metadata, "/computeMetadata/v1/instance/service-accounts/default/?recursive=true"
    ).json()

    assert account["email"] == ACCOUNT
    assert account["aliases"] == ["default"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        pytest.param("/computeMetadata/v1/project/project-id", {}, 403, id="without the header"),
        pytest.param("/computeMetadata/v1/project/project-id", {"Metadata-Flavor": "Google", "X-Forwarded-For": "1.2.3.4"}, 403,
                     id="passed on by a proxy"),
        pytest.param("/computeMetadata/v1/instance/nothing", {"Metadata-Flavor": "Google"}, 404, id="a key that is not there"),
        pytest.param("/computeMetadata/v1/instance/service-accounts/other@x.example/token", {"Metadata-Flavor": "Google"}, 404,
                     id="another account's token"),
        pytest.param("/computeMetadata/v1/instance/service-accounts/default/identity", {"Metadata-Flavor": "Google"}, 400,
                     id="an ID token for nobody"),
    ],
)  # fmt: skip
def test_what_the_real_one_refuses_is_refused(metadata: Site, path: str, headers: dict[str, str], status: int) -> None:
    """Pages in a browser can not send the header, so they get no token."""
    assert got(metadata, path, headers).status_code == status


def test_there_is_an_answer_to_who_only_looks_whether_there_is_one(metadata: Site) -> None:
    """Libraries ask for the root and look at the header of the answer."""
    assert got(metadata, "/", {}).headers["metadata-flavor"] == "Google"
