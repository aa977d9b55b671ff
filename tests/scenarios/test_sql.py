"""Cloud SQL: names that stay taken, one operation at a time, instances that take long, fail, or grow."""

import pytest

from provision import replacement
from provision.config import Config
from provision.errors import BeyondRepair, OperationFailed, SettingRefused
from tests.journey.deploy import BASE

INSERT, DELETE, PATCH = "sql.instances.insert", "sql.instances.delete", "sql.instances.patch"
INSTANCES = "sql.instances"


def test_08_a_name_is_still_reserved(rehearsal, calm):
    """The next one is taken at once: nobody waits a week, and nobody asks twice."""
    rehearsal.plays("database-name-kept", times=2)
    waited = rehearsal.up()
    (name,) = rehearsal.table(INSTANCES)

    assert name.endswith("-3")
    assert waited < calm + 5
    assert rehearsal.called(INSERT) == [409, 409, 200]
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


@pytest.mark.parametrize("free", [False, True], ids=["the name stays reserved", "the name is free at once"])
def test_08_an_instance_that_is_gone(rehearsal, calm, free):
    """Whatever Google does with its name: the next one gets another."""
    rehearsal.up()
    (first,) = rehearsal.table(INSTANCES)
    if free:
        rehearsal.plays("database-name-free")
    where = {"project": first.split("/")[1], "instance": first.split("/")[3]}
    rehearsal.deployment.gcp.sql.instances().delete(**where).execute()
    rehearsal.place.clock.sleep(1)
    waited = rehearsal.up()

    assert list(rehearsal.table(INSTANCES)) == [f"{first}-2"]
    assert waited < calm + 5
    assert 409 not in rehearsal.called(INSERT)
    assert rehearsal.deployment.drift() == []


@pytest.mark.parametrize("status", [409, 403])
def test_08_another_operation_is_in_progress(rehearsal, calm, status):
    """It is waited for, whichever status says so."""
    rehearsal.plays("database-busy", seconds=300, status=status)
    waited = rehearsal.up()

    assert 300 <= waited < calm + 300 + 20
    assert status in rehearsal.called("sql.databases.insert")
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_08_an_operation_that_takes_an_hour_and_a_half(rehearsal, calm):
    """There is no time-out of ours."""
    rehearsal.plays("database-takes-long", seconds=5400)
    waited = rehearsal.up()

    assert 5400 <= waited < calm + 5400 + 20
    assert rehearsal.called(INSERT) == [200]
    assert rehearsal.deployment.drift() == []


def test_08_an_operation_that_outlives_the_client(rehearsal, calm):
    """The next `up` goes on waiting for the same operation."""
    rehearsal.plays("database-takes-long", seconds=1200)
    rehearsal.killed(after=600)
    waited = rehearsal.up()

    assert 1200 - 620 <= waited < calm + 1200 - 600 + 20
    assert rehearsal.called(INSERT) == [200]
    assert rehearsal.deployment.drift() == []


def test_08_an_operation_whose_name_was_never_heard(rehearsal, calm):
    """The instance says that it is being made, and Cloud SQL by which operation."""
    rehearsal.plays("database-takes-long", seconds=1200)
    rehearsal.place.control.faults.order([{"method": INSERT, "when": "after", "drop": True}])
    waited = rehearsal.up()

    assert 1200 <= waited < calm + 1200 + 20
    assert rehearsal.called(INSERT) == [0]
    assert rehearsal.deployment.drift() == []


def test_08_an_instance_that_failed_to_be_made(rehearsal, calm):
    """It holds nothing: the next `up` makes another one, and takes it away."""
    rehearsal.plays("database-fails")
    with pytest.raises(OperationFailed, match="Failed to create instance"):
        rehearsal.up()
    (failed,) = rehearsal.table(INSTANCES)
    waited = rehearsal.up()

    assert list(rehearsal.table(INSTANCES)) == [f"{failed}-2"]
    assert waited < calm + 5
    assert rehearsal.deployment.drift() == []


def test_08_an_instance_that_fails_while_nobody_waits_for_it(rehearsal):
    """Neither the operation nor its end was ever heard of; still it is mended."""
    rehearsal.plays("database-fails", seconds=1200)
    rehearsal.place.control.faults.order([{"method": INSERT, "when": "after", "drop": True}])
    rehearsal.killed(after=600)
    (failed,) = rehearsal.table(INSTANCES)
    rehearsal.place.clock.sleep(3600)
    rehearsal.up()

    assert list(rehearsal.table(INSTANCES)) == [f"{failed}-2"]
    assert rehearsal.deployment.drift() == []


@pytest.mark.parametrize(
    ("state", "told"),
    [("SUSPENDED", "is SUSPENDED BILLING_ISSUE"), ("FAILED", "is FAILED")],
    ids=["suspended", "failed"],
)
def test_08_a_database_that_was_once_good(rehearsal, state, told):
    """It holds data: it is told, and never deleted."""
    rehearsal.up()
    before = list(rehearsal.table(INSTANCES))
    rehearsal.plays("database-suspended", state=state)
    with pytest.raises(BeyondRepair, match=told) as error:
        rehearsal.up()

    assert list(rehearsal.table(INSTANCES)) == before
    assert rehearsal.called(DELETE) == []
    assert "up --replace projects/" in error.value.hint


def test_08_a_database_that_has_failed_is_replaced(rehearsal):
    """As the error says: Google takes no user of it away any more, so it goes with all that is in it."""
    rehearsal.up()
    (failed,) = rehearsal.table(INSTANCES)
    rehearsal.plays("database-suspended", state="FAILED")
    engine = rehearsal.deployment.engine(rehearsal.deployment.store())
    replacement.ask(engine, [failed], engine.rows(()))
    engine.up(rehearsal.deployment.config)
    replacement.settle(engine)
    engine.journal.flush()

    assert list(rehearsal.table(INSTANCES)) == [f"{failed}-2"]
    assert rehearsal.deployment.drift() == []


def forget_what_came_after(deployment, early):
    """Put an earlier ledger in the place of the newest, as `state restore` does."""
    journal = deployment.engine(deployment.store()).journal

    def put_back(ledger):
        for name in set(type(ledger).model_fields) - {"serial"}:
            setattr(ledger, name, getattr(early, name))

    journal.note(put_back)
    journal.flush()


def forget_the_database(deployment, early):
    """Let the ledger not know of the instance and what lies in it, as `release` does."""
    deeds = deployment.engine(deployment.store()).deeds
    (instance,) = (ref for ref, record in deployment.ledger().records.items() if record.step == "sql_instance")
    for ref in deployment.ledger().records:
        if f"{ref}/".startswith(f"{instance}/"):
            deeds.forget(ref)
    deeds.journal.flush()


@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED"])
@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(forget_what_came_after, id="the ledger is one of when it was being made"),
        pytest.param(forget_the_database, id="the ledger has let it go"),
    ],
)
def test_08_a_database_that_was_once_good_and_the_ledger_does_not_know(rehearsal, lose, state):
    """That it never came to be is Google's to say: what the ledger does not know of may hold data all the same."""
    rehearsal.plays("database-takes-long", seconds=1200)
    rehearsal.killed(after=600)
    early = rehearsal.deployment.ledger()
    rehearsal.up()
    before = list(rehearsal.table(INSTANCES))
    lose(rehearsal.deployment, early)
    rehearsal.plays("database-suspended", state=state)
    with pytest.raises(BeyondRepair, match=state):
        rehearsal.up()

    assert list(rehearsal.table(INSTANCES)) == before
    assert rehearsal.called(DELETE) == []
    assert rehearsal.called(INSERT) == [200]


def test_08_a_tier_that_the_edition_does_not_have(rehearsal):
    """Said at once, with the setting to change; with another one the same command goes on."""
    rehearsal.plays("tier-refused", tier="db-f1-micro")
    with pytest.raises(SettingRefused, match=r"Invalid Tier \(db-f1-micro\) for \(ENTERPRISE_PLUS\) Edition"):
        rehearsal.up()
    refused_after = rehearsal.place.clock.monotonic()
    rehearsal.deployment.config = Config.model_validate({**BASE, "database": {"tier": "db-custom-1-3840"}})
    rehearsal.up()
    (row,) = rehearsal.table(INSTANCES).values()

    assert refused_after < 60
    assert row["settings"]["tier"] == "db-custom-1-3840"
    assert rehearsal.called(INSERT) == [400, 200]
    assert rehearsal.deployment.drift() == []


def test_08_a_disk_that_google_has_made_larger(rehearsal, calm):
    """No drift, nothing to do, and a change of something else does not ask for the old size."""
    rehearsal.plays("disk-grows", gigabytes=10)
    waited = rehearsal.up()
    drift = rehearsal.deployment.drift()
    rehearsal.up()
    untouched = rehearsal.called(PATCH)
    rehearsal.deployment.config = Config.model_validate({**BASE, "database": {"high_availability": True}})
    rehearsal.up()
    (row,) = rehearsal.table(INSTANCES).values()

    assert waited < calm + 5
    assert (drift, untouched) == ([], [])
    assert rehearsal.called(PATCH) == [200]
    assert row["settings"]["availabilityType"] == "REGIONAL"
    assert int(row["settings"]["dataDiskSizeGb"]) > 10
