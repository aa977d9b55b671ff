"""Refusals: another run at work (4), and what is not ours or cannot be (5). One message, and nothing is touched."""

import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from provision import bootstrap
from state.files import FileStore
from state.journal import read_ledger
from state.ledger import Ledger, Record, dumps
from state.lock import Lease
from tests.provision.conftest import NUMBER, PROJECT
from tests.provision.terminal import Folder

STATE = ("--state", "./ledger.json")
NETWORK = Record(ref=f"projects/{PROJECT}/global/networks/mlflow", step="network")
LEDGER = Ledger(
    deployment="0a1b2c3d",
    salt="x7f2",
    project=PROJECT,
    project_number=NUMBER,
    region="europe-west1",
    records={NETWORK.ref: NETWORK},
)


@contextlib.contextmanager
def another_run(folder: Folder) -> Iterator[None]:
    """A run of somebody else, in this process, that holds the lease of the ledger in the folder's file."""
    with Lease(FileStore(folder.path / "ledger.json"), run="run-of-grace", who="user:grace@example.com") as lease:
        lease.doing = "Cloud SQL for PostgreSQL"
        lease.beat()
        yield


@pytest.mark.parametrize("words", [pytest.param(("up",), id="up"), pytest.param(("down", "--yes"), id="down")])
def test_another_run_is_at_work(folder, cloud, words):
    """Exit code 4; who it is, where, since when and with what; the other run is not disturbed."""
    folder.write(dumps(LEDGER).decode(), "ledger.json")
    with another_run(folder):
        told = folder.type(*words, "--local", *STATE, "--lock-timeout", "0", code=4)
        status = folder.type("status", "--local", *STATE)

    assert told.err.startswith("LockedByAnotherRun: Another run is at work on this deployment: user:grace@example.com")
    assert "run run-of-grace" in told.err
    assert "busy with: Cloud SQL for PostgreSQL" in told.err
    assert "--lock-timeout" in told.err
    assert "held by      user:grace@example.com" in status.out
    assert cloud.writes() == []


def test_two_first_runs_that_mean_different_regions(folder, cloud):
    """The one that waited finds a ledger where there was none, and is told like any later run: nothing is moved."""
    folder.write(f'project = "{PROJECT}"\nregion = "us-central1"\n')
    with another_run(folder):
        waiting = folder.start("up", "--local", *STATE)
        waiting.until("another run is at work")
        folder.write(dumps(LEDGER).decode(), "ledger.json")
    told = waiting.ended()

    assert told.code == 5
    assert "the deployment lies in europe-west1, and nothing of it can be moved" in told.err
    assert read_ledger(FileStore(folder.path / "ledger.json")).region == "europe-west1"
    assert cloud.writes() == []


def test_a_wait_that_is_too_short(folder, cloud):
    """It is told once for whom, and it ends after the time that was given, not after that of the lease."""
    folder.write(dumps(LEDGER).decode(), "ledger.json")
    begun = time.monotonic()
    with another_run(folder):
        told = folder.type("up", "--local", *STATE, "--lock-timeout", "1", code=4)

    assert told.err.count("another run is at work  (user:grace@example.com on ") == 1
    assert time.monotonic() - begun < 10
    assert cloud.writes() == []


def strangers_network(cloud):
    """A network of the name that ours would have."""
    path = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks"
    cloud.google("POST", path, {"name": "mlflow", "autoCreateSubnetworks": False})


def strangers_state_bucket(cloud):
    """A bucket of the name that the ledger's would have, without our label."""
    body = {"name": bootstrap.state_bucket(bootstrap.Project(PROJECT, NUMBER)), "location": "EU"}
    cloud.google("POST", "storage.googleapis.com/storage/v1/b", body, project=PROJECT)


def application_elsewhere(cloud):
    """The project's App Engine application, in another region."""
    cloud.google("POST", "appengine.googleapis.com/v1/apps", {"id": PROJECT, "locationId": "us-central"})


def no_project(cloud):
    """The id of a project that is not there; not the one that a local run would make."""
    cloud.world.reset([])
    cloud.fails(method="cloudresourcemanager.projects.get", status=403, times=5)


def dying_project(cloud):
    """A project that its owner has shut down."""
    cloud.google("DELETE", f"cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}")


@pytest.mark.parametrize(
    ("circumstance", "error", "says"),
    [
        pytest.param(
            strangers_network, "NotOurs", [f"projects/{PROJECT}/global/networks/mlflow", "our mark"], id="a network"
        ),
        pytest.param(
            application_elsewhere, "WrongRegion", ["lies in us-central", "not in europe-west"], id="an application elsewhere"
        ),
        pytest.param(
            strangers_state_bucket, "StateBucketTaken", ["-provision-", "--state gs://"], id="the ledger's bucket"
        ),
        pytest.param(no_project, "ProjectNotUsable", ["does not exist, or you may not see it"], id="no such project"),
        pytest.param(dying_project, "ProjectNotUsable", ["DELETE_REQUESTED"], id="a project that is being deleted"),
    ],
)  # fmt: skip
def test_what_is_not_ours_or_cannot_be(folder, cloud, circumstance, error, says):
    """Exit code 5; what it is about is named and left as it is."""
    circumstance(cloud)
    told = folder.type("up", "--local", code=5)

    assert f"{error}: " in told.err
    assert [words for words in says if words not in told.err] == []
    assert told.err.count("\nNext: ") == 1


@pytest.mark.parametrize("command", ["up", "plan"])
def test_a_network_that_is_not_there(folder, cloud, command):
    """Told before anything is made for its sake, the place of the ledger too; not after a quarter of an hour."""
    folder.write(f'project = "{PROJECT}"\nnetwork = {{ name = "corporate", subnet = "data" }}\n')
    told = folder.type(command, "--local", code=5)

    assert told.err.startswith("NetworkNotUsable: network.name = 'corporate': ")
    assert cloud.writes() == []
    assert cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT).get("items", []) == []


def test_a_network_in_a_project_that_is_not_there(folder, cloud):
    """Then that is what is wrong."""
    no_project(cloud)
    folder.write(f'project = "{PROJECT}"\nnetwork = {{ name = "corporate", subnet = "data" }}\n')

    assert folder.type("plan", "--local", code=5).err.startswith("ProjectNotUsable: ")


def test_a_network_where_compute_engine_is_off(folder, cloud):
    """There is none to be looked at: the one named default comes when the API is switched on."""
    cloud.empty(services=[])
    folder.write(f'project = "{PROJECT}"\nnetwork = {{ name = "default", subnet = "default" }}\n')
    told = folder.type("plan", "--local", code=2)

    assert "NetworkNotUsable" not in told.err


def test_plan_tells_beforehand_what_is_not_ours(folder, cloud):
    """So that nobody has to run into it."""
    strangers_network(cloud)
    told = folder.type("plan", "--local", code=2)

    assert "  ! global/networks/mlflow is not ours (exists already and does not carry our mark)" in told.out
    assert "1 not ours" in told.out


def test_a_deployment_cannot_move(folder, cloud):
    """Another region in the settings is refused before anything is done about it."""
    folder.write(dumps(LEDGER).decode(), "ledger.json")
    folder.write(f'project = "{PROJECT}"\nregion = "us-central1"\n')

    assert "the deployment lies in europe-west1" in folder.type("up", "--local", *STATE, code=5).err
    assert "the deployment lies in europe-west1" in folder.type("plan", "--local", *STATE, code=5).err
    assert cloud.writes() == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('project = "another-project"', "project = 'another-project', but the ledger", id="project"),
        pytest.param(f'project = "{PROJECT}"\nenv = "staging"', "env = 'staging', but the ledger", id="env"),
    ],
)
def test_the_ledger_of_something_else(folder, cloud, text, says):
    """It is not overwritten with what is not meant: exit code 3, since the settings are wrong."""
    folder.write(dumps(LEDGER).decode(), "ledger.json")
    folder.write(text)
    told = folder.type("up", "--local", *STATE, code=3)

    assert says in told.err
    assert cloud.writes() == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("release projects/p", "python -m provision state list {} shows what is."),
        ("up --replace projects/p", "python -m provision state list {} shows what is."),
        ("state show projects/p", "python -m provision state list {} tells all."),
        ("state push older.json", "Look with python -m provision state history {} what was done since"),
        ("token", "Run python -m provision up {} to its end."),
        ("verify", "Run python -m provision up {} to its end."),
    ],
)
def test_what_a_hint_says_to_type_can_be_typed(folder, cloud, words, told):
    """It means the same deployment, whoever gives it: also a part of the program that does not know where it is."""
    folder.write(dumps(LEDGER.model_copy(update={"serial": 3})).decode(), "ledger.json")
    folder.write(dumps(LEDGER).decode(), "older.json")
    where = ("--local", "--config", "mine.toml", *STATE)
    folder.write(f'project = "{PROJECT}"\n', "mine.toml")

    assert told.format(" ".join(where)) in folder.type(*words.split(), *where, code=3).err


@pytest.mark.parametrize("said", [("--env", "staging"), ("--project", "another-project")], ids=" ".join)
@pytest.mark.parametrize(
    "words",
    [
        "down --yes",
        "rollback --yes",
        "release projects/p",
        "drift",
        "status",
        "token",
        "verify",
        "up",
        "plan",
        "state list",
        "state restore 1 --yes",
        "state destroy --yes",
    ],
)
def test_the_ledger_of_something_else_than_the_command_line_says(folder, cloud, words, said):
    """Whoever names two things that contradict each other is asked which is meant; nothing is touched."""
    folder.write(dumps(LEDGER).decode(), "ledger.json")
    told = folder.type(*words.split(), "--local", *STATE, *said, code=3).err

    assert told.startswith(f"BadUsage: {' '.join(said)} contradicts the ledger at ")
    assert f"Leave {said[0]} out if that ledger is meant" in told
    assert (folder.path / "ledger.json").read_bytes() == dumps(LEDGER)
    assert cloud.writes() == []


def test_the_command_line_that_says_what_the_ledger_says(folder, cloud):
    """Then nothing is in the way."""
    folder.write(dumps(LEDGER).decode(), "ledger.json")

    folder.type("status", "--local", *STATE, "--project", PROJECT, "--env", "default")


def test_a_pipeline_that_acts_as_itself(folder):
    """An outside identity without an account is told what it needs, before a request is sent to Google."""
    file = folder.path / "credentials.json"
    said = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/providers/ci",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(folder.path / "token")},
    }
    file.write_text(json.dumps(said))
    folder.variables |= {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "GOOGLE_CLOUD_PROJECT": "some-project"}
    told = folder.type("up", "--project", "some-project", code=5)

    assert told.err.startswith("NeedsAnAccount: The credentials are those of a workload identity that acts as itself.")
    assert "--service-account=EMAIL" in told.err


@pytest.mark.parametrize("command", ["up", "plan", "status"])
def test_nobody_has_signed_in(folder, command):
    """Without credentials for Google, it is told how to come by them."""
    folder.variables["GOOGLE_APPLICATION_CREDENTIALS"] = str(folder.path / "missing.json")
    told = folder.type(command, "--project", "some-project", code=5)

    assert told.err.startswith("NotSignedIn: Google does not know who you are")
    assert "gcloud auth application-default login" in told.err
