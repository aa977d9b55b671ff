"""After a death or a lost answer at any point of `up`, the same command again is all it takes, and `down` empties.

The machines behind the emulator are off; steps, engine, journal and Google's client libraries are the real ones. Rows
are worked on one at a time, so that the points of one run are the points of the next.
"""

import collections
import contextlib

import pytest
import requests

from tests.journey.deploy import NUMBER, PROJECT, Death, Deployment, DyingStore

EMPTY_PROJECT = [{"projectId": PROJECT, "projectNumber": NUMBER, "services": []}]

# What the emulator keeps beside the project's resources: its own settings, and histories that only grow.
NO_RESOURCES = {"operations", "settings", "tokens", "storage.noncurrent", "storage.looks", "sql.reserved", "calls"}


def census(deployment: Deployment) -> collections.Counter[str]:
    """How many resources of each kind the project has, the ledger's bucket aside."""
    rows = deployment.emulator.world._database.execute("SELECT kind, key FROM rows")
    return collections.Counter(kind for kind, key in rows if kind not in NO_RESOURCES and "-provision-" not in key)


def empty(deployment: Deployment) -> None:
    """A project as it is on its first day: no API is switched on."""
    deployment.emulator.reset(EMPTY_PROJECT)


@pytest.fixture(scope="module")
def deployment(shared_emulator):
    """One deployment for all points; each starts from an empty project."""
    made = Deployment(shared_emulator, workers=1)
    yield made
    made.gcp.close()


@pytest.fixture(scope="module")
def undisturbed(deployment):
    """What a run without any fault makes, what it leaves, how often it saves, and what it changes in which order."""
    empty(deployment)
    store = DyingStore(deployment.store())
    requests.delete(f"{deployment.emulator.url}/emulator/calls", timeout=10)
    deployment.up(store)
    calls = requests.get(f"{deployment.emulator.url}/emulator/calls", timeout=10).json()["calls"]
    changes = [call["id"] for call in calls if call["write"] and "-provision-" not in call["path"]]
    made = census(deployment)
    deployment.down()
    return made, census(deployment), store.saves, changes


def recovered(deployment: Deployment, made: collections.Counter[str], left: collections.Counter[str]) -> None:
    """What must hold after the plain second command: converged, nothing doubled or orphaned, and gone after `down`."""
    assert deployment.drift() == []
    assert all(record.pending is None for record in deployment.ledger().records.values())
    assert census(deployment) == made

    deployment.down()

    assert deployment.ledger().records == {}
    assert census(deployment) == left


@pytest.mark.parametrize(
    "after_effect",
    [pytest.param(False, id="the save is lost"), pytest.param(True, id="the save is the last that happens")],
)
def test_a_death_at_every_save_of_the_ledger(deployment, undisturbed, after_effect):
    """`kill -9` at each save, before and after its effect: nothing is lost."""
    made, left, saves, _ = undisturbed
    for number in range(1, saves + 1):
        empty(deployment)
        with contextlib.suppress(Death):
            deployment.up(DyingStore(deployment.store(), die_at=number, after_effect=after_effect))
        deployment.up()

        recovered(deployment, made, left)

    assert saves > 30


def test_a_lost_answer_at_every_change(deployment, undisturbed):
    """The connection breaks after each change has had its effect: the run itself finds out and goes on."""
    made, left, _, changes = undisturbed
    before: collections.Counter[str] = collections.Counter()

    for method in changes:
        empty(deployment)
        deployment.store()
        requests.delete(f"{deployment.emulator.url}/emulator/faults", timeout=10)
        fault = {"method": method, "when": "after", "drop": True, "skip": before[method]}
        requests.post(f"{deployment.emulator.url}/emulator/faults", json=[fault], timeout=10).raise_for_status()
        before[method] += 1
        deployment.up()

        recovered(deployment, made, left)

    assert len(changes) > 30
