"""What the proofs of recovery have in common: how a project is counted, and what must hold after every recovery."""

import collections
from dataclasses import dataclass

from tests.journey.deploy import NUMBER, PROJECT, Deployment

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


@dataclass
class Undisturbed:
    """A run without any fault.

    Args:
        made: What it makes, counted by kind.
        left: What `down` leaves of it.
        saves: How often it saves the ledger.
        changes: What it changes, in order, by method id.
    """

    made: collections.Counter[str]
    left: collections.Counter[str]
    saves: int
    changes: list[str]


def recovered(deployment: Deployment, undisturbed: Undisturbed) -> None:
    """What must hold after the plain second command: converged, nothing doubled or orphaned, and gone after `down`."""
    assert deployment.drift() == []
    assert all(record.pending is None for record in deployment.ledger().records.values())
    assert census(deployment) == undisturbed.made

    deployment.down()

    assert deployment.ledger().records == {}
    assert census(deployment) == undisturbed.left
