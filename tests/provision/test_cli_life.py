"""From an empty project to an empty project: what the commands do where nothing is, and what `down` leaves."""

import json
import shutil

import pytest

from tests.provision.conftest import PROJECT, Answering, folder_in, running_cloud
from tests.tracking import Tracking, served

STATE = ("--state", "./ledger.json")


def test_plan_of_a_project_in_which_nothing_is_on(folder, cloud):
    """All that would be made, by what it is for; nothing is switched on, made or written."""
    cloud.empty(services=[])
    told = folder.type("plan", "--local", code=2)
    found = folder.type("plan", "--local", "--json", code=2).json["findings"]

    assert cloud.writes() == []
    assert "network  A VPC network of our own" in told.out
    assert "  + global/networks/mlflow\n" in told.out
    assert "Make it so: python -m provision up --local" in told.out
    assert {"apis", "project_roles", "sql_instance", "server", "door_access"} <= {item["step"] for item in found}
    assert {item["kind"] for item in found} == {"create", "update", "later"}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("status",), id="status"),
        pytest.param(("drift",), id="drift"),
        pytest.param(("token",), id="token"),
        pytest.param(("verify",), id="verify"),
        pytest.param(("down", "--yes"), id="down"),
        pytest.param(("status", *STATE), id="a file that is not there"),
        pytest.param(("down", "--yes", "--state", "gs://somewhere-else/ledger"), id="a bucket that is not there"),
    ],
)
@pytest.mark.parametrize("services", [None, []], ids=["every API is on", "no API is on"])
def test_where_nothing_is_deployed(folder, cloud, words, services):
    """Said in one message with what to type next; nothing is touched."""
    if services is not None:
        cloud.empty(services=services)
    told = folder.type(*words, "--local", code=3)

    assert told.err.startswith("NothingDeployed: ")
    assert told.err.count("\nNext: ") == 1
    assert told.out == ""
    assert cloud.writes() == []


@pytest.mark.parametrize("words", ["plan", "status", "drift", "verify", "token", "down --yes"])
def test_where_no_emulator_runs(folder, words):
    """Nothing is started only to be asked."""
    shutil.rmtree(folder.path / ".provision" / "data")
    told = folder.type(*words.split(), "--local", code=3)

    assert "No emulator runs for this folder." in told.err
    assert "python -m provision up --local" in told.err
    assert not (folder.path / ".provision" / "data").exists()


def test_stop_where_nothing_runs(tmp_path, cloud):
    """That is what was wanted."""
    folder = folder_in(tmp_path / "folder", cloud)
    (folder.path / ".provision" / "data" / "emulator.json").unlink()

    assert folder.type("stop").out == "Nothing was running.\n"
    assert folder.type("stop", "--json").json == {"stopped": False}


def test_two_folders_do_not_disturb_each_other(folder, cloud, tmp_path):
    """What is typed in one is not seen in the other."""
    with running_cloud() as other:
        other.empty()
        neighbour = folder_in(tmp_path / "neighbour", other)
        folder.type("up", "--local")
        neighbour.type("status", "--local", code=3)
        neighbour.type("up", "--local")
        cloud.writes()
        neighbour.type("down", "--local", "--yes")
        folder.type("drift", "--local")

    assert cloud.writes() == []


def test_another_program_has_taken_the_port_of_mlflow(folder, cloud, monkeypatch):
    """Then the door is elsewhere, and `up` brings the server there."""
    folder.type("up", "--local")
    with served(Tracking()) as second:
        monkeypatch.setattr(cloud.world, "machines", Answering(second))
        drift = folder.type("drift", "--local", "--json", code=2).json["findings"]
        told = folder.type("up", "--local", "--json").json
        status = folder.type("status", "--local", "--json").json
        after = folder.type("drift", "--local", "--json").json["findings"]

    assert [item["step"] for item in drift] == ["server"]
    assert told["url"] == status["url"] == f"http://127.0.0.1:{second.port}"
    assert after == []


@pytest.mark.parametrize(
    ("transfer", "told"),
    [
        pytest.param("direct", "", id="straight to the bucket: nothing"),
        pytest.param(
            "signed",
            " MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=16777216",
            id="by links: from half of what the front door takes",
        ),
    ],
)
def test_up_tells_what_a_client_is_to_set(folder, cloud, transfer, told):
    """In one line that can be typed as it stands: the address, a token, how files travel, where the bucket is."""
    folder.write(f'project = "{PROJECT}"\nartifacts.transfer = "{transfer}"\n')
    (line,) = [line for line in folder.type("up", "--local").out.splitlines() if "log from here" in line]

    assert line.partition("export ")[2].partition(" ")[2] == (
        f'MLFLOW_TRACKING_TOKEN="$(python -m provision token --local)"{told}'
        f" STORAGE_EMULATOR_HOST={cloud.url}/storage.googleapis.com"
    )


def test_a_whole_life_with_the_ledger_in_a_file(folder, cloud):
    """The file is all that the other commands need to know, and no bucket is made for a ledger."""
    folder.write(f'project = "{PROJECT}"\n')
    told = folder.type("up", "--local", *STATE)
    (folder.path / "provision.toml").unlink()
    status = folder.type("status", "--local", *STATE, "--json").json
    folder.type("drift", "--local", *STATE)
    folder.type("token", "--local", *STATE)
    buckets = [name for name in bucket_names(cloud) if "-provision-" in name]
    down = folder.type("down", "--local", *STATE, "--yes")

    assert "python -m provision drift --local --state ./ledger.json" in told.out
    assert status["ledger"] == str(folder.path / "ledger.json")
    assert status["project"] == PROJECT
    assert buckets == []
    assert str(folder.path / "ledger.json") in down.out
    assert json.loads((folder.path / "ledger.json").read_text())["records"] == {}


def bucket_names(cloud):
    found = cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT)
    return [item["name"] for item in found.get("items", [])]
