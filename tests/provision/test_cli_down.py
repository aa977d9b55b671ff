"""`down` and the data of the users: what it asks, what it keeps, and that it tells both."""

import json

import pytest

from tests.provision.conftest import PROJECT, folder_in


def buckets(cloud):
    found = cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT)
    return [item["name"] for item in found.get("items", [])]


def accounts(cloud):
    found = cloud.google("GET", f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts")
    return [item["email"] for item in found.get("accounts", []) if item["email"].startswith("mlflow-")]


def with_a_model(folder, cloud):
    """Deploy, and lay a model into the artifact bucket; the bucket's name."""
    folder.type("up", "--local")
    bucket = next(name for name in buckets(cloud) if "-artifacts-" in name)
    path = f"storage.googleapis.com/upload/storage/v1/b/{bucket}/o"
    cloud.google("POST", path, {"weights": [1.5] * 1000}, uploadType="media", name="artifacts/model.json")
    return bucket


@pytest.fixture(scope="module")
def deployed(shared_cloud, tmp_path_factory):
    """A folder with a deployment that holds a model; the last test that uses it takes it down."""
    shared_cloud.empty()
    made = folder_in(tmp_path_factory.mktemp("down") / "folder", shared_cloud)
    with_a_model(made, shared_cloud)
    return made


@pytest.mark.parametrize("words", ["down", "down --delete-data", "rollback"])
def test_a_program_is_not_asked(deployed, shared_cloud, words):
    """Also at a terminal, --json means that nobody reads the question, and that standard output is one object or none."""
    shared_cloud.writes()
    told = deployed.at_a_terminal(*words.split(), "--local", "--json").ended()

    assert told.code == 3
    assert [json.loads(line)["hint"] for line in told.out.splitlines()] == ["Add --yes."]
    assert shared_cloud.writes() == []


@pytest.mark.parametrize("answer", ["", "yes", "local"])
def test_another_answer_than_the_project(deployed, shared_cloud, answer):
    """Nothing is touched."""
    shared_cloud.writes()
    screen = deployed.at_a_terminal("down", "--local")
    screen.until(f"This takes down MLflow in project {PROJECT}. Type the project's id to go on: ")
    screen.type(answer)
    told = screen.ended()

    assert told.code == 3
    assert "Not confirmed; nothing was touched." in told.out
    assert shared_cloud.writes() == []


def test_the_data_is_asked_for_by_itself(deployed, shared_cloud):
    """How many objects and bytes; without the right word nothing at all is touched."""
    shared_cloud.writes()
    screen = deployed.at_a_terminal("down", "--local", "--delete-data")
    screen.until("to go on: ")
    screen.type(PROJECT)
    screen.until(" holds 1 object, 5.0 kB. Type delete to lose them: ")
    screen.type("yes")
    told = screen.ended()

    assert told.code == 3
    assert shared_cloud.writes() == []


def test_ctrl_c_at_a_question(deployed, shared_cloud):
    """Ends it at once: nothing has begun."""
    shared_cloud.writes()
    screen = deployed.at_a_terminal("down", "--local")
    screen.until("to go on: ")
    screen.insist("\x03")
    told = screen.ended()

    assert told.code == 130
    assert shared_cloud.writes() == []


def test_the_right_answers(deployed, shared_cloud):
    """Everything goes; what stays is listed, and how to end the emulator is told."""
    screen = deployed.at_a_terminal("down", "--local", "--delete-data")
    screen.until("to go on: ")
    screen.type(PROJECT)
    screen.until("Type delete to lose them: ")
    screen.type("delete")
    told = screen.ended()
    stays = told.out.partition("What stays, and why:")[2]

    assert told.code == 0
    assert "apps/local-mlflow  The App Engine application: Google lets nobody delete one." in stays
    assert "-artifacts-" not in stays
    assert "python -m provision stop --local" in stays
    assert [name for name in buckets(shared_cloud) if "-provision-" not in name] == []


def test_what_holds_data_is_kept(folder, cloud):
    """Released from the ledger and reported, with what is in it and how to lose it; only the first time."""
    bucket = with_a_model(folder, cloud)
    told = folder.type("down", "--local", "--yes")
    again = folder.type("down", "--local", "--yes", "--json").json

    assert bucket in buckets(cloud)
    assert f"  buckets/{bucket}  It holds 1 object, 5.0 kB; down --delete-data" in told.out
    assert accounts(cloud) == []
    assert again["deleted"] == []
    assert [item["why"] for item in again["stays"]] == ["The ledger: it tells a later up what was here."]


def test_what_takes_two_calls_is_deleted_once(folder, cloud):
    """Google's own protection of the database is switched off first; that is no deletion of its own."""
    folder.write(f'project = "{PROJECT}"\ndatabase.deletion_protection = true\n')
    folder.type("up", "--local")
    told = folder.type("down", "--local", "--yes", "--json")
    events = [json.loads(line) for line in told.err.splitlines()]
    logged = [event["ref"] for event in events if event["event"] == "resource.deleted"]

    assert len([ref for ref in logged if "/instances/" in ref and ref.count("/") == 3]) == 1
    assert sorted(logged) == sorted(set(told.json["deleted"]))
    assert len(told.json["deleted"]) == len(set(told.json["deleted"]))


def test_it_is_deleted_where_that_is_said(folder, cloud):
    """`--yes --delete-data` does not ask; machines are told what was deleted."""
    bucket = with_a_model(folder, cloud)
    told = folder.type("down", "--local", "--yes", "--delete-data", "--json").json

    assert bucket not in buckets(cloud)
    assert f"projects/_/buckets/{bucket}" in told["deleted"]
    assert not [item for item in told["stays"] if bucket in item["ref"]]
