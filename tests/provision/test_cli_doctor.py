"""`doctor` as it is typed, and what `up` makes of it: nothing is changed while something stands in the way."""

import json
import re

import pytest
import requests

from provision.emulator import iam, scenarios, tokens
from tests.provision.conftest import PROJECT

GRACE = "user:grace@example.com"
STATE = ("--state", "./ledger.json")


def without_billing(cloud):
    """Nobody pays for the project."""
    cloud.world.projects[PROJECT] = cloud.world.projects[PROJECT] | {"billing": ""}


def application_elsewhere(cloud):
    """The project's App Engine application, in another region."""
    cloud.google("POST", "appengine.googleapis.com/v1/apps", {"id": PROJECT, "locationId": "us-central"})


def strangers_network(cloud):
    """A network of the name that ours would have."""
    path = f"compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks"
    cloud.google("POST", path, {"name": "mlflow", "autoCreateSubnetworks": False})


def test_a_project_that_is_well(folder, cloud):
    """Exit code 0; each line says what was looked at and how it is; no ledger is begun."""
    cloud.writes()
    told = folder.type("doctor", "--local")

    assert "ok         project        local-mlflow is there and active" in told.out
    assert re.fullmatch(r"\d+ ok\.", told.out.splitlines()[-1])
    assert cloud.writes() == []
    assert cloud.google("GET", "storage.googleapis.com/storage/v1/b", project=PROJECT).get("items", []) == []


def test_warnings_stop_nobody(folder, cloud):
    """Exit code 0, and what to do is said."""
    folder.write(f'project = "{PROJECT}"\naccess = {{ users = ["eve@partner.example"] }}\n')
    told = folder.type("doctor", "--local")

    assert "warning    door           user:eve@partner.example: not of example.com" in told.out
    assert re.fullmatch(r"\d+ ok, 1 warning\.", told.out.splitlines()[-1])


def test_everything_that_stands_in_the_way_is_told_at_once(folder, cloud):
    """Three defects, three lines; exit code 5."""
    cloud.empty(parent=None)
    application_elsewhere(cloud)
    strangers_network(cloud)
    told = folder.type("doctor", "--local", code=5)
    blocked = [line.split()[1] for line in told.out.splitlines() if line.startswith("blocked")]

    assert blocked == ["names", "application", "door"]
    assert "3 blocked." in told.out


def test_what_has_one_cause_is_told_once(folder, cloud):
    """Nobody pays, so next to nothing can be asked: the cause by its own check, the others in one line."""
    without_billing(cloud)
    told = folder.type("doctor", "--local", code=5).out
    unchecked = [line for line in told.splitlines() if line.startswith("unchecked")]

    assert unchecked == [
        "unchecked  quotas         Not checked until billing is well. The same goes for region, names, application."
    ]
    assert "requires billing to be enabled" not in told


def test_as_json(folder, cloud):
    """One object: what, how it is, why, what to do, and which error `up` would end with."""
    without_billing(cloud)
    found = {line["check"]: line for line in folder.type("doctor", "--local", "--json", code=5).json["findings"]}

    assert found["billing"]["status"] == "blocked"
    assert found["billing"]["error"] == "NoBilling"
    assert found["billing"]["todo"].startswith("Type this. ")
    assert found["billing"]["commands"][0].startswith(f"gcloud billing projects link {PROJECT} --billing-account=")
    assert found["project"] == {
        "check": "project", "status": "ok", "error": None, "todo": "", "commands": [],
        "why": f"{PROJECT} is there and active; its number is 123456789012.",
    }  # fmt: skip


def test_what_cannot_be_asked_is_said_to_be_unchecked(folder, cloud):
    """In a new project most APIs are off; that is no reason to stop."""
    cloud.empty(services=["cloudresourcemanager", "serviceusage"])
    told = folder.type("doctor", "--local")

    assert "unchecked  billing        Cloud Billing API is off in the project, which up switches on." in told.out
    assert "unchecked  application    App Engine Admin API is off" in told.out


def test_up_changes_nothing_while_something_stands_in_the_way(folder, cloud):
    """No API is switched on, no bucket is made for the ledger; all of it is told at once."""
    cloud.empty(services=["cloudresourcemanager", "serviceusage", "cloudbilling", "appengine"], parent=None)
    without_billing(cloud)
    cloud.writes()
    told = folder.type("up", "--local", code=5)

    assert told.err.startswith(f"SeveralFailed: Project {PROJECT} has no billing account.")
    assert "belongs to no organization" in told.err
    assert "python -m provision doctor --local tells what to do about each." in told.err
    assert cloud.writes() == []
    assert not cloud.world.projects[PROJECT]["services"].get("storage.googleapis.com")


def test_up_of_a_new_project_looks_again_once_apis_are_on(folder, cloud):
    """Before, there was nobody to ask; then APIs are on, and nothing else is made."""
    cloud.empty(services=[])
    cloud.world.projects[PROJECT] = cloud.world.projects[PROJECT] | {"quotas": {"CPUS": 0.0}}
    cloud.writes()
    told = folder.type("up", "--local", *STATE, code=5)

    assert "QuotaExceeded: The quota CPUS in europe-west1 is 0, 0 are used, and 1 more are needed." in told.err
    assert set(cloud.writes()) == {"serviceusage.services.enable", "serviceusage.services.batchEnable"}


@pytest.mark.parametrize("state", [(), STATE], ids=["the ledger in a bucket", "the ledger on this machine"])
def test_up_of_a_new_project_that_nobody_pays_for(folder, cloud, state):
    """Whatever costs money first is refused; the user is told which account could pay, as the check would have."""
    cloud.empty(services=[])
    without_billing(cloud)
    told = folder.type("up", "--local", *state, code=5)

    assert f"\nNoBilling: Project {PROJECT} has no billing account.\n" in told.err
    assert f"gcloud billing projects link {PROJECT} --billing-account=000000-AAAAAA-BBBBBB" in told.err
    assert not cloud.world.projects[PROJECT]["services"].get("compute.googleapis.com")
    assert dict(cloud.world.table("storage.buckets")) == {}


def test_what_up_had_switched_on_is_undone_when_the_second_look_finds_something(folder, cloud):
    """With --rollback-on-failure, which is about all that a run changes."""
    cloud.empty(services=["cloudresourcemanager", "serviceusage", "storage"])
    cloud.world.projects[PROJECT] = cloud.world.projects[PROJECT] | {"quotas": {"CPUS": 0.0}}
    told = folder.type("up", "--local", "--rollback-on-failure", code=5)
    known = folder.type("state", "list", "--local", "--json").json

    assert "The quota CPUS in europe-west1 is 0" in told.err
    assert "What this run had changed is undone." in told.err
    assert known["records"] == []


def test_a_check_that_is_wrong_can_be_overruled(folder, cloud):
    """By its name, which its hint says; it warns then, and `up` goes on."""
    cloud.world.projects[PROJECT] = cloud.world.projects[PROJECT] | {"quotas": {"CPUS": 0.0}}
    refused = folder.type("up", "--local", *STATE, code=5)
    told = folder.type("up", "--local", *STATE, "--despite", "quotas")

    assert "If you know better: python -m provision up --local --state ./ledger.json --despite quotas" in refused.err
    assert "! warning  quotas  (The quota CPUS" in told.err
    assert "MLflow is up" in told.out


@pytest.mark.parametrize("name", ["project", "weather"])
def test_a_check_that_cannot_be_overruled(folder, cloud, name):
    """Because there is none, or because `up` could get no further; those that can are named."""
    told = folder.type("up", "--local", "--despite", name, code=3)

    assert f"--despite '{name}' is no check that can be overruled." in told.err
    assert "Next: quota-project, billing, permissions, " in told.err


def test_what_somebody_may_not_do_is_told_with_lines_to_paste(folder, cloud):
    """Each on a line of its own, by `doctor` and by `up`; nothing is made."""
    cloud.world.reset([{"projectId": PROJECT, "projectNumber": "123456789012"}])
    iam.put_policy(cloud.world, f"projects/{PROJECT}", {"bindings": [{"role": "roles/browser", "members": [GRACE]}]})
    note = folder.path / ".provision" / "data" / "emulator.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "token": tokens.issue(cloud.world, GRACE)}))
    line = f"gcloud projects add-iam-policy-binding {PROJECT} --member={GRACE} --role=roles/cloudsql.admin"
    cloud.writes()

    assert line in map(str.strip, folder.type("doctor", "--local", code=5).out.splitlines())
    assert line in map(str.strip, folder.type("up", "--local", code=5).err.splitlines())
    assert cloud.writes() == []


def test_a_database_that_is_suspended(folder, cloud):
    """The ledger is complete, and only the state tells: `up` stops before it begins, but for what it says to type."""
    folder.type("up", "--local", *STATE)
    with cloud.world.transaction():
        scenarios.switch_on(cloud.world, "database-suspended", {})
    cloud.writes()
    found = {
        line["check"]: line for line in folder.type("doctor", "--local", *STATE, "--json", code=5).json["findings"]
    }
    refused = folder.type("up", "--local", *STATE, code=5)
    told = folder.type("drift", "--local", *STATE, code=2)
    writes, (ref,) = cloud.writes(), cloud.world.table("sql.instances")
    folder.type("up", "--local", *STATE, "--replace", ref)

    assert found["states"]["error"] == "BeyondRepair"
    assert [name for name, line in found.items() if line["status"] != "ok"] == ["states"]
    assert refused.err.startswith(f"BeyondRepair: The database instance {ref} is SUSPENDED BILLING_ISSUE.")
    assert f"python -m provision up --local --state ./ledger.json --replace {ref} makes another one" in refused.err
    assert "up does not mend it. See to what Google has suspended it for" in told.out
    assert f"python -m provision up --local --state ./ledger.json --replace {ref} makes another one" in told.out
    assert writes == []
    assert list(cloud.world.table("sql.instances")) == [f"{ref}-2"]


def test_a_part_of_the_table_needs_less(folder, cloud):
    """What hangs on rows that are left out is not looked at."""
    application_elsewhere(cloud)
    told = folder.type("up", "--local", *STATE, "--only", "network")

    assert "+ created  network" in told.err


def test_of_what_is_deployed_less_is_asked(folder, cloud):
    """A policy or a quota stands in nobody's way who makes nothing: so an `up` with nothing to do costs little more."""
    folder.type("up", "--local", *STATE)
    cloud.world.projects[PROJECT] = cloud.world.projects[PROJECT] | {"quotas": {"CPUS": 0.0}}
    requests.delete(f"{cloud.url}/emulator/calls", timeout=10)
    told = folder.type("doctor", "--local", *STATE)
    calls = requests.get(f"{cloud.url}/emulator/calls", timeout=10).json()["calls"]

    assert "ok         quotas         Nothing is to be made that takes any." in told.out
    assert len(calls) < 20
