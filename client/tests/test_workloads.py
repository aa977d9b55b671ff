"""Programs that are signed in as a service account: on Google Cloud, and by federation from elsewhere."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from conftest import EXAMPLES, Place
from google.oauth2.credentials import Credentials

from mlflow_iap_auth import identity, settings, signatures
from mlflow_iap_auth.errors import NotAllowed

POOL = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github"
SUBJECT = "repo:acme/train:ref:refs/heads/main"


def on_google_cloud(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vertex AI, GKE, Cloud Build and virtual machines: their metadata server says who they are."""
    monkeypatch.delenv("NO_GCE_CHECK")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(folder / "nothing"))
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, place.metadata)


def in_github_actions(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What google-github-actions/auth writes: a token of GitHub's, and where it is exchanged."""
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, {"sub": SUBJECT})]
    token = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in [*parts, b"signature"])
    (folder / "token").write_bytes(token)
    account = f"iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{place.trainer}"
    credentials = {
        "type": "external_account",
        "audience": f"{POOL}/providers/actions",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{place.emulator}/sts.googleapis.com/v1/token",
        "service_account_impersonation_url": f"{place.emulator}/{account}:generateAccessToken",
        "credential_source": {"file": str(folder / "token")},
    }
    (folder / "github.json").write_text(json.dumps(credentials))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "github.json"))
    subject = f"principal:{POOL}/subject/{SUBJECT}"
    binding = {"role": "roles/iam.workloadIdentityUser", "members": [subject]}
    account = f"iam.googleapis.com/v1/projects/-/serviceAccounts/{place.trainer}"
    place.owner("POST", f"{account}:setIamPolicy", json={"policy": {"bindings": [binding]}})


SignIn = Callable[[Place, Path, pytest.MonkeyPatch], None]


@pytest.mark.parametrize("sign_in", [on_google_cloud, in_github_actions], ids=["on Google Cloud", "in GitHub Actions"])
def test_a_program_logs_as_a_service_account_that_was_let_in(place, run, tmp_path, monkeypatch, sign_in: SignIn):
    """It signs for the log pusher as a person would, and has no key."""
    sign_in(place, tmp_path, monkeypatch)
    checked = run("-m", "mlflow_iap_auth")
    ran = run(str(EXAMPLES / "log_a_run.py"))

    assert checked.stdout == f"You are {place.trainer}, and log as {place.account}.\n{place.origin}\n", checked.stderr
    assert "\nLogged run " in ran.stdout, ran.stderr


# -- as oneself, by an ID token for the door's OAuth client
LOGS_A_METRIC = """
import mlflow
with mlflow.start_run():
    mlflow.log_metric("loss", 0.5)
    mlflow.log_text("a file", "a.txt")
"""


@pytest.fixture
def own(place, tmp_path, monkeypatch):
    """A workload that comes as itself, since it may sign for nobody."""
    on_google_cloud(place, tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "own")
    monkeypatch.setenv("MLFLOW_IAP_CLIENT_ID", place.client_id)
    with place.without_signatures():
        yield


@pytest.mark.usefixtures("own")
def test_a_workload_comes_as_itself(place, run):
    """The door lets it in by its own name; nobody signs anything."""
    ran = run("-m", "mlflow_iap_auth")

    assert ran.stdout == f"You are {place.trainer}, and log as {place.trainer}.\n{place.origin}\n", ran.stderr
    assert place.asked("signJwt") + place.asked("generateIdToken") == 0


@pytest.mark.usefixtures("own")
def test_files_then_need_a_right_of_ones_own(place, run):
    """Google names who lacks it; with it, all goes well."""
    refused = run("-c", LOGS_A_METRIC)
    binding = {"role": "roles/storage.objectUser", "members": [f"serviceAccount:{place.trainer}"]}
    bucket = f"storage.googleapis.com/storage/v1/b/{place.bucket}/iam"
    before = place.owner("GET", bucket)
    place.owner("PUT", bucket, json={"bindings": [*before["bindings"], binding]})
    ran = run("-c", LOGS_A_METRIC)
    place.owner("PUT", bucket, json={"bindings": before["bindings"]})

    assert place.trainer in refused.stderr
    assert "storage.objects.create" in refused.stderr
    assert ran.returncode == 0, ran.stderr


@pytest.mark.usefixtures("own")
def test_the_door_does_not_know_who_comes_as_themselves(place, run):
    """It is not the log pusher whom an owner has to let in."""
    with place.without_role():
        ran = run("-m", "mlflow_iap_auth")

    assert ran.returncode == 1
    assert ran.stderr.startswith("The front door does not let you in: ")
    assert place.trainer in ran.stderr


def test_a_person_comes_as_themselves(place):
    """Where they signed in by an OAuth client that the door takes, which is not gcloud's own."""
    audience = f"{place.origin}/*"
    yours = Credentials("token", id_token=signatures.door_token(place.here, time.time()).text)

    assert identity.own_id_token(yours, audience) == yours.id_token
    with pytest.raises(NotAllowed, match=rf"by which you signed in, {place.origin}/[\s\S]*--client-id-file"):
        identity.own_id_token(yours, place.client_id)


def test_a_sign_in_without_an_id_token(place, monkeypatch):
    """It is told so, and not sent anything that the door would refuse."""
    monkeypatch.setenv("MLFLOW_IAP_SOURCE", "own")
    monkeypatch.setenv("MLFLOW_IAP_CLIENT_ID", place.client_id)
    here = settings.of(mlflow.get_tracking_uri())

    with pytest.raises(NotAllowed, match="comes without an ID token of your own"):
        signatures.door_token(here, time.time())
