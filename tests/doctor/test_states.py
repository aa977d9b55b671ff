"""What was made and does not work any more: told from its state, with the error that `up` would end with, or mend."""

import pytest

from provision import session
from provision.bootstrap import Project
from provision.config import Config
from provision.emulator import scenarios
from state.ledger import Deed, Record
from steps import sql_instance
from tests.provision.conftest import NUMBER, PROJECT

DEED = Deed(run="r", serial=1, verb="create", at="2026-09-01T08:00:00+00:00")


def play(patient, name, **options):
    """Switch a scenario on."""
    with patient.cloud.world.transaction():
        scenarios.switch_on(patient.cloud.world, name, options)


@pytest.fixture
def database(patient):
    """The ref of the database, which an earlier run has begun to make."""
    known = session.first_ledger(Project(PROJECT, NUMBER), Config.model_validate(patient.settings))
    patient.ledger = lambda project: known
    ref = sql_instance.ref(patient.facts().deployment)
    known.records[ref] = Record(ref=ref, step="sql_instance", pending=DEED)
    return ref


@pytest.fixture
def made(patient, database):
    """The ref of the database, which an earlier run has made."""
    ledger = patient.ledger(None)
    ledger.records[database] = ledger.records[database].model_copy(update={"pending": None, "done": DEED})
    make(patient, database)
    return database


def make(patient, ref):
    """Have Cloud SQL make it, and look whether it has."""
    labels = patient.facts().deployment.labels
    asked = {
        "name": ref.rpartition("/")[2], "databaseVersion": "POSTGRES_18", "region": "europe-west1",
        "settings": {"tier": "db-f1-micro", "edition": "ENTERPRISE", "userLabels": labels},
    }  # fmt: skip
    patient.cloud.google("POST", f"sqladmin.googleapis.com/sql/v1beta4/projects/{PROJECT}/instances", asked)
    patient.cloud.google("GET", f"sqladmin.googleapis.com/sql/v1beta4/{ref}")


def test_a_database_that_runs(patient, made):
    """All is well."""
    assert patient.told("states") == [("ok", f"{made}: all is well.")]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        pytest.param("SUSPENDED", "is SUSPENDED BILLING_ISSUE.", id="suspended"),
        pytest.param("FAILED", "is FAILED.", id="failed"),
    ],
)
def test_a_database_that_was_once_good(patient, made, state, told):
    """It is the error of `up`, which would touch nothing; and what to do."""
    play(patient, "database-suspended", state=state)
    found = next(finding for finding in patient.examined() if finding.check == "states")

    assert found.why == f"The database instance {made} {told}"
    assert type(found.error).__name__ == "BeyondRepair"
    assert f"python -m provision up --replace {made} makes another one, which is empty." in found.todo
    assert found.todo.endswith("--despite states")


def test_a_database_that_is_to_be_replaced(patient, made):
    """Its state is of no interest any more."""
    play(patient, "database-suspended")

    assert patient.told("states", replaces=[made])[0][0] == "ok"


def test_a_database_that_somebody_has_stopped(patient, made):
    """Google calls it RUNNABLE; `up` starts it again."""
    patient.cloud.google(
        "PATCH", f"sqladmin.googleapis.com/sql/v1beta4/{made}", {"settings": {"activationPolicy": "NEVER"}}
    )

    assert patient.told("states") == [("warning", f"{made}: it is stopped, and up mends that.")]


def test_a_database_that_is_gone(patient, made):
    """Whoever starts `up` knows that there will be an empty one."""
    patient.cloud.google("DELETE", f"sqladmin.googleapis.com/sql/v1beta4/{made}")

    assert patient.told("states") == [("warning", f"{made} is gone, with all that it held; up makes another one.")]


def test_a_database_that_google_failed_to_make(patient, database):
    """It holds nothing, so `up` makes another one."""
    play(patient, "database-fails")
    make(patient, database)
    ((status, why),) = patient.told("states")

    assert status == "warning"
    assert why == f"The database instance {database} is FAILED. It never came to be, so up makes another one."


def test_a_database_that_may_not_be_looked_at(patient, made):
    """Nobody can tell."""
    patient.holds("user:grace@example.com", "roles/browser")
    ((status, why),) = patient.told("states")

    assert status == "unchecked"
    assert why.startswith(f"{made}: Google does not tell: ")
